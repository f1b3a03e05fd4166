/** One optimizer step over several ranks: what each of them has of its window becomes what all of them know. */

import { orAborted } from '../async/or-aborted.js';
import type { Deferred, EngineMemory } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { DistributedError, type TuneError } from '../errors.js';
import type { LogEntry } from './events.js';
import type { RankExchange } from './rank-exchange.js';
import type { StepMetrics } from './step-metrics.js';
import type { TrainingWindow } from './training-window.js';

/** What a rank has made of its share of a window. */
interface OwnGradients {
  /** Undefined where it has no sample in it. */
  readonly loss: Deferred<number> | undefined;
  readonly flops: number | undefined;
  readonly sharedTokens: number;
  /** The parameters were changed meanwhile. */
  readonly hasChanged: boolean;
  readonly warnings: readonly string[];
}

/** What all ranks together have made of it. */
interface JoinedGradients {
  readonly loss: number;
  readonly losses: readonly number[];
  readonly flops: number | undefined;
  readonly sharedTokens: number;
  /** What had to change on some ranks for the window to fit. */
  readonly warnings: readonly string[];
}

/**
 * Sums the gradients of all ranks, in place; the device has computed them then.
 * @param answer waits for the engine, as long as the run is to go on
 * @returns undefined if the parameters of a rank were changed meanwhile: all compute the window again
 */
export async function joinGradients(
  ranks: RankExchange,
  step: number,
  set: ParameterSet,
  own: OwnGradients,
  answer: <T>(value: Promise<T>) => Promise<T>,
): Promise<JoinedGradients | undefined> {
  if (await sumGradients(ranks, step, set, own.hasChanged)) return undefined;
  const { loss, flops, sharedTokens, warnings } = own;
  const value = loss ? await answer(loss()) : 0;
  const hasFlops = loss === undefined || flops !== undefined;
  const all = await ranks.gather(`loss ${step}`, {
    ...{ loss: value, sharedTokens, warnings: [...warnings] },
    ...(hasFlops && { flops: flops ?? 0 }),
  });
  const losses = all.map((rank) => rank.loss);
  return {
    losses,
    loss: losses.reduce((total, one) => total + one, 0),
    flops: all.every((rank) => rank.flops !== undefined) ? all.reduce((n, rank) => n + rank.flops!, 0) : undefined,
    sharedTokens: all.reduce((n, rank) => n + rank.sharedTokens, 0),
    warnings: joinWarnings(all.map((rank) => rank.warnings)),
  };
}

/**
 * What a device has begun it must bring to its end, also where the run ends in this window.
 * @returns whether the parameters of a rank were changed meanwhile
 */
export async function sumGradients(
  ranks: RankExchange,
  step: number,
  { parameters }: ParameterSet,
  hasChanged: boolean,
): Promise<boolean> {
  const { sum } = ranks;
  const touched = bitsOf(sum?.touched() ?? []);
  // Nobody leaves in between: a device waits for the sums of all that it has begun.
  const told = await ranks.gather(`gradients ${step}`, { touched, hasChanged }, true);
  const union = parameters.map((_, i) => told.some((rank) => rank.touched[i] === '1'));
  await orAborted(sum?.finish(union), ranks.group.failure);
  ranks.signal.throwIfAborted();
  return told.some((rank) => rank.hasChanged);
}

function bitsOf(flags: readonly boolean[]): string {
  return flags.map(Number).join('');
}

/** By rank; what all of them say is said once. */
function joinWarnings(byRank: readonly (readonly string[])[]): string[] {
  const [first = []] = byRank;
  const common = first.filter((message) => byRank.every((messages) => messages.includes(message)));
  const others = byRank.flatMap((messages, rank) =>
    messages.filter((message) => !common.includes(message)).map((message) => `rank ${rank}: ${message}`),
  );
  return [...common, ...others];
}

/**
 * Compares the norm of a step's gradients over the ranks: bit for bit, as each has the same sums.
 * @returns an error if they differ: their parameters do from here on, and none of them is to be saved
 */
export async function compareNorms(ranks: RankExchange, step: number, norm: number): Promise<TuneError | undefined> {
  if (ranks.isAlone) return undefined;
  const norms = await ranks.gather(`norm ${step}`, norm, true);
  const other = norms.findIndex((one) => !Object.is(one, norms[0]));
  if (other < 0) return undefined;
  const values = `${norms[0]} on rank 0 and ${norms[other]} on rank ${other}`;
  return ranks.agreed(
    new DistributedError(`step ${step}: the gradient norm is ${values}: the ranks no longer have the same parameters`, {
      rank: other,
      hint:
        'Resume from the last checkpoint. If it comes again: does a reader or a callback change the parameters on one rank ' +
        'alone, or is a card defective?',
      details: { step, norms },
    }),
  );
}

/** The log line of rank 0, on all of them, with the memory of the rank that holds most. */
export async function takeLogOf(
  ranks: RankExchange,
  metrics: StepMetrics,
  memory: EngineMemory,
  matrixTflops: number | undefined,
): Promise<LogEntry | undefined> {
  const { worldSize } = ranks.group;
  const take = (all: readonly Pick<EngineMemory, 'bytesInUse' | 'peakBytes'>[]) => {
    const most = (of: 'bytesInUse' | 'peakBytes') => Math.max(...all.map((one) => one[of]));
    const largest = { ...memory, bytesInUse: most('bytesInUse'), peakBytes: most('peakBytes') };
    return metrics.takeLog(largest, matrixTflops === undefined ? undefined : worldSize * matrixTflops);
  };
  if (ranks.isAlone) return take([memory]);
  const { bytesInUse, peakBytes } = memory;
  const entry = take(await ranks.gather('memory', { bytesInUse, peakBytes }, true));
  return ranks.fromMain('log', async () => entry);
}

/** Where a loss that is not finite came from: the ranks, and what they had in the window. */
export function blame(
  losses: readonly number[],
  { idsByRank, sampleIds }: TrainingWindow,
): { readonly where: string; readonly sampleIds: readonly string[] } {
  const bad = losses.flatMap((loss, rank) => (Number.isFinite(loss) ? [] : [rank]));
  if (bad.length === 0 || bad.length === losses.length || !idsByRank) return { where: '', sampleIds };
  const where = ` on ${bad.length === 1 ? 'rank' : 'ranks'} ${bad.join(', ')}`;
  return { where, sampleIds: bad.flatMap((rank) => idsByRank[rank]!) };
}
