/** One optimizer step over several ranks: what each of them has of its window becomes what all of them know. */

import { orAborted } from '../async/or-aborted.js';
import { exclusively } from '../engine/computation.js';
import type { Engine, EngineMemory } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { DistributedError, type TuneError } from '../errors.js';
import type { LogEntry } from './events.js';
import type { RankExchange } from './rank-exchange.js';
import type { JoinedStep, RankShare, StepMetrics } from './step-metrics.js';
import type { TrainingWindow } from './training-window.js';

/** What the host of a rank knows of its share of a window, or the hosts of all of the whole, while devices may still compute it. */
interface HostGradients {
  readonly flops: number | undefined;
  readonly sharedTokens: number;
  /** The parameters were changed meanwhile: all ranks compute the window again. */
  readonly hasChanged: boolean;
  readonly warnings: readonly string[];
}

/** Of a window that is not to be learned from. */
export const NO_GRADIENTS: HostGradients = { flops: 0, sharedTokens: 0, hasChanged: false, warnings: [] };

/**
 * Queues the sums of the gradients of all ranks, in place: nothing here waits for a device. What a device has begun it
 * must bring to its end, also where the run ends in this window.
 */
export async function sumGradients(
  ranks: RankExchange,
  step: number,
  engine: Engine,
  set: ParameterSet,
  own: HostGradients,
): Promise<HostGradients> {
  const { sum } = ranks;
  const { hasChanged, flops, sharedTokens, warnings } = own;
  const touched = bitsOf(sum?.touched() ?? []);
  const known = { touched, hasChanged, sharedTokens, warnings: [...warnings], ...(flops !== undefined && { flops }) };
  // Nobody leaves in between: a device waits for the sums of all that it has begun.
  const told = await ranks.gather(`gradients ${step}`, known, true);
  const union = set.parameters.map((_, i) => told.some((rank) => rank.touched[i] === '1'));
  // Not within a token or a batch of somebody else, who may need memory that is to be waited for.
  const finished = sum && exclusively(engine, undefined, () => sum.finish(union));
  await orAborted(finished, ranks.group.failure);
  ranks.signal.throwIfAborted();
  return {
    hasChanged: told.some((rank) => rank.hasChanged),
    flops: told.every((rank) => rank.flops !== undefined) ? told.reduce((n, rank) => n + rank.flops!, 0) : undefined,
    sharedTokens: told.reduce((n, rank) => n + rank.sharedTokens, 0),
    warnings: joinWarnings(told.map((rank) => rank.warnings)),
  };
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

interface OwnResult {
  readonly step: number;
  readonly sampleIds: readonly string[];
  readonly share?: RankShare | undefined;
  readonly loss: number;
  readonly gradNorm: number;
}

/**
 * The loss of a step over all ranks. Its norm is compared bit for bit, as each rank has the same sums. After a failure the
 * losses of the others are lost with them: then it is the mean of this rank's samples, with a warning.
 * @throws where the sums of the step were given up
 */
export async function joinStep(ranks: RankExchange, own: OwnResult): Promise<JoinedStep> {
  const { step, gradNorm, sampleIds, share } = own;
  // Such a norm may be the guard's, and that of the others finite.
  if (!Number.isFinite(gradNorm)) await ranks.arrived();
  if (ranks.isAlone) return share?.losses ? { loss: total(share.losses) } : lossAlone(own);
  const told = await ranks.gather(`loss and norm ${step}`, { loss: own.loss, norm: gradNorm }, true);
  const losses = told.map((rank) => rank.loss);
  const loss = total(losses);
  const suspects = Number.isFinite(loss) ? {} : { suspects: blame(losses, { idsByRank: share?.idsByRank, sampleIds }) };
  const norms = told.map((rank) => rank.norm);
  const failure = compareNorms(ranks, step, norms);
  return { loss, ...suspects, ...(failure && { failure }) };
}

/** Losses of a step, by rank: asked for before the update where that may be left out. */
export async function gatherLosses(ranks: RankExchange, step: number, own: number): Promise<number[]> {
  return ranks.gather(`loss ${step}`, own);
}

function lossAlone({ step, loss, share }: OwnResult): JoinedStep {
  const labelShare = share?.labelShare ?? 1;
  if (labelShare === 1) return { loss };
  const warning = `step ${step}: the losses of the other ranks are lost with them; `;
  if (labelShare === 0) {
    return { loss: undefined, warning: `${warning}this rank had no sample in it, so its loss is not known` };
  }
  return { loss: loss / labelShare, warning: `${warning}its loss is the mean of the samples of this rank` };
}

export function total(losses: readonly number[]): number {
  return losses.reduce((sum, loss) => sum + loss, 0);
}

/** @returns an error if they differ: their parameters do from here on, and none of them is to be saved */
function compareNorms(ranks: RankExchange, step: number, norms: readonly number[]): TuneError | undefined {
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
  until?: number,
): Promise<LogEntry | undefined> {
  const { worldSize } = ranks.group;
  const take = (all: readonly Pick<EngineMemory, 'bytesInUse' | 'peakBytes'>[]) => {
    const most = (of: 'bytesInUse' | 'peakBytes') => Math.max(...all.map((one) => one[of]));
    const largest = { ...memory, bytesInUse: most('bytesInUse'), peakBytes: most('peakBytes') };
    return metrics.takeLog(largest, matrixTflops === undefined ? undefined : worldSize * matrixTflops, until);
  };
  if (ranks.isAlone) return take([memory]);
  const { bytesInUse, peakBytes } = memory;
  const entry = take(await ranks.gather('memory', { bytesInUse, peakBytes }, true));
  return ranks.fromMain('log', async () => entry);
}

/** Where a loss that is not finite came from: the ranks, and what they had in the window. */
function blame(
  losses: readonly number[],
  { idsByRank, sampleIds }: Pick<TrainingWindow, 'idsByRank' | 'sampleIds'>,
): { readonly where: string; readonly sampleIds: readonly string[] } {
  const bad = losses.flatMap((loss, rank) => (Number.isFinite(loss) ? [] : [rank]));
  if (bad.length === 0 || bad.length === losses.length || !idsByRank) return { where: '', sampleIds };
  const where = ` on ${bad.length === 1 ? 'rank' : 'ranks'} ${bad.join(', ')}`;
  return { where, sampleIds: bad.flatMap((rank) => idsByRank[rank]!) };
}
