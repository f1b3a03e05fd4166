/**
 * Cuts the window of an optimizer step into packed passes and chooses the layers to recompute, so that every pass fits
 * into a number of bytes: as few passes and as little recomputation as fit, by estimated time. Pure: sizes in, plan out.
 */
import { type PackedSize, sumOfSizes, type WindowSample } from '../batch/packed-window.js';
import type { RecomputedLayers } from '../model/network/layers.js';
import type { PassCosts } from '../model/network/pass-costs.js';

export interface PlannedPass {
  /** In the order of the window. */
  readonly samples: readonly WindowSample[];
  readonly size: PackedSize;
  /** The first layers of each tower that are run again in backward. */
  readonly recompute: RecomputedLayers;
  /** Estimate of what the pass takes above what is held between passes. */
  readonly bytes: number;
}

export interface PassPlan {
  readonly passes: readonly PlannedPass[];
  /** Samples of a micro-batch that the plan is made for: fewer than were written if that did not fit. */
  readonly microBatchSize: number;
}

export interface PlanOptions {
  /** Most bytes that a pass may take above what is held between passes. */
  readonly budgetBytes: number;
  /** Passes of up to about so many tokens are preferred; 0 prefers the micro-batches as written. */
  readonly tokensPerPass: number;
  /** true: recompute everything; false: nothing; auto: what is needed. */
  readonly gradientCheckpointing: boolean | 'auto';
  /** May more passes be made than there are micro-batches, where they do not fit? */
  readonly autoMicroBatch: boolean;
}

export interface Misfit {
  readonly neededBytes: number;
  readonly size: PackedSize;
  readonly samples: number;
}

/** What the planner asks of a model: time and bytes of its passes. */
export type Costs = Pick<PassCosts, 'layers' | 'peakBytes' | 'weight' | 'recomputeTime' | 'tileTime' | 'passTime'>;

const NO_LAYERS: RecomputedLayers = { vision: 0, text: 0 };
/** How much heavier than the heaviest of an even deal a pass may be, to fill tiles of rows better. */
const UNEVENNESS = 1.06;

/** @returns a plan, or what was in the way of any */
export function planPasses(samples: readonly WindowSample[], costs: Costs, options: PlanOptions): PassPlan | Misfit {
  if (samples.length === 0) return { passes: [], microBatchSize: 0 };
  const rows = new Map<number, number>();
  for (const { microBatch } of samples) rows.set(microBatch, (rows.get(microBatch) ?? 0) + 1);
  const written = Math.max(...rows.values());
  const preferred = preferredPasses(samples, rows.size, options.tokensPerPass);
  let from = preferred;
  let misfit: Misfit | undefined;
  for (let microBatchSize = written; microBatchSize >= 1; microBatchSize = Math.floor(microBatchSize / 2)) {
    // A pass holds a micro-batch at least: those of this size set how many passes there may be.
    const count = [...rows.values()].reduce((sum, size) => sum + Math.ceil(size / microBatchSize), 0);
    let best: { plan: PassPlan; time: number } | undefined;
    for (let n = from; n <= Math.max(count, preferred); n++) {
      for (const parts of partitions(samples, n, costs, options.tokensPerPass === 0 && n === rows.size)) {
        const passes = parts.map((part) => planPass(part, costs, options));
        const time = passes.reduce((sum, pass) => sum + costs.recomputeTime(pass.size, pass.recompute), 0);
        const total = time + n * costs.passTime;
        const largest = passes.reduce((max, pass) => (pass.bytes > max.bytes ? pass : max));
        if (largest.bytes > options.budgetBytes) {
          misfit = { neededBytes: largest.bytes, size: largest.size, samples: largest.samples.length };
        } else if (!best || total < best.time) best = { plan: { passes, microBatchSize }, time: total };
      }
      // More passes cannot save recomputation that is not there, or is wanted anyhow.
      const isDone = best && (options.gradientCheckpointing !== 'auto' || best.time <= n * costs.passTime);
      if (isDone) break;
    }
    if (best) return best.plan;
    if (!options.autoMicroBatch) break;
    from = Math.max(count, preferred) + 1;
  }
  return misfit!;
}

export function isPlan(result: PassPlan | Misfit): result is PassPlan {
  return 'passes' in result;
}

function preferredPasses(samples: readonly WindowSample[], microBatches: number, tokensPerPass: number): number {
  if (tokensPerPass === 0) return microBatches;
  const tokens = samples.reduce((sum, { size }) => sum + size.tokens, 0);
  return Math.min(samples.length, Math.max(1, Math.ceil(tokens / tokensPerPass)));
}

/** Ways to deal the samples to `n` passes that are worth a look, the better one first. */
function partitions(
  samples: readonly WindowSample[],
  n: number,
  costs: Costs,
  asWritten: boolean,
): (readonly WindowSample[])[][] {
  const even = evenly(samples, n, costs);
  if (!asWritten) return [even];
  const byBatch = new Map<number, WindowSample[]>();
  for (const sample of samples) {
    const batch = byBatch.get(sample.microBatch);
    if (batch) batch.push(sample);
    else byBatch.set(sample.microBatch, [sample]);
  }
  return [[...byBatch.values()], even];
}

/** Largest first, each to the lightest pass: no pass is more than a third above the best that could be had. */
function evenly(samples: readonly WindowSample[], n: number, costs: Costs): WindowSample[][] {
  const order = samples.map((sample, at) => ({ sample, at, weight: costs.weight(sample.size) }));
  order.sort((a, b) => b.weight - a.weight || a.at - b.at);
  const passes = Array.from({ length: n }, () => ({ weight: 0, members: [] as typeof order }));
  for (const entry of order) {
    const lightest = passes.reduce((least, pass) => (pass.weight < least.weight ? pass : least));
    lightest.members.push(entry);
    lightest.weight += entry.weight;
  }
  fillTiles(passes, costs);
  const filled = passes.filter(({ members }) => members.length > 0);
  for (const { members } of filled) members.sort((a, b) => a.at - b.at);
  filled.sort((a, b) => a.members[0]!.at - b.members[0]!.at);
  return filled.map(({ members }) => members.map(({ sample }) => sample));
}

interface Deal {
  weight: number;
  members: { readonly sample: WindowSample; readonly at: number; readonly weight: number }[];
}

/** Exchanges samples between passes as long as that leaves fewer rows of tiles empty. */
function fillTiles(passes: readonly Deal[], costs: Costs): void {
  const most = UNEVENNESS * Math.max(...passes.map(({ weight }) => weight));
  const deal = (members: Deal['members']): Deal & { readonly time: number } => ({
    members,
    weight: members.reduce((sum, { weight }) => sum + weight, 0),
    time: costs.tileTime(sumOfSizes(members.map(({ sample }) => sample.size))),
  });
  for (const [i, a] of passes.entries()) {
    for (const b of passes.slice(i + 1)) {
      let time = deal(a.members).time + deal(b.members).time;
      // Each of one for none or one of the other; what is found is taken at once.
      for (const x of [undefined, ...a.members]) {
        for (const y of [undefined, ...b.members]) {
          const [from, to] = [a, b].map(({ members }, side) => {
            const [goes, comes] = side === 0 ? [x, y] : [y, x];
            return deal([...members.filter((member) => member !== goes), ...(comes ? [comes] : [])]);
          }) as [ReturnType<typeof deal>, ReturnType<typeof deal>];
          const isIn = (!x || a.members.includes(x)) && (!y || b.members.includes(y));
          const isFull = from.members.length > 0 && to.members.length > 0 && Math.max(from.weight, to.weight) <= most;
          if (!isIn || !isFull || from.time + to.time >= time) continue;
          time = from.time + to.time;
          [a.members, a.weight, b.members, b.weight] = [from.members, from.weight, to.members, to.weight];
        }
      }
    }
  }
}

/** The layers to recompute in a pass: the least time that fits, or all of them if nothing does. */
function planPass(samples: readonly WindowSample[], costs: Costs, options: PlanOptions): PlannedPass {
  const size = sumOfSizes(samples.map((sample) => sample.size));
  const { budgetBytes, gradientCheckpointing } = options;
  const pass = (recompute: RecomputedLayers): PlannedPass => {
    return { samples, size, recompute, bytes: costs.peakBytes(size, recompute) };
  };
  if (gradientCheckpointing === true) return pass(costs.layers);
  const none = pass(NO_LAYERS);
  if (gradientCheckpointing === false || none.bytes <= budgetBytes) return none;
  let best: PlannedPass | undefined;
  let bestTime = Number.POSITIVE_INFINITY;
  for (let vision = 0; vision <= costs.layers.vision; vision++) {
    const text = fewest(costs.layers.text, (n) => costs.peakBytes(size, { vision, text: n }) <= budgetBytes);
    if (text === undefined) continue;
    const recompute = { vision, text };
    const time = costs.recomputeTime(size, recompute);
    if (time < bestTime) [best, bestTime] = [pass(recompute), time];
  }
  return best ?? leastBytes(costs.layers, pass);
}

/** The pass that takes the least memory: with all layers recomputed the last one comes on top of nothing that it frees. */
function leastBytes(
  { vision, text }: RecomputedLayers,
  pass: (recompute: RecomputedLayers) => PlannedPass,
): PlannedPass {
  const counts = (layers: number): number[] => [layers, Math.max(0, layers - 1)];
  const passes = counts(vision).flatMap((v) => counts(text).map((t) => pass({ vision: v, text: t })));
  return passes.reduce((least, one) => (one.bytes < least.bytes ? one : least));
}

/** The smallest count up to `most` that fits, by bisection: each recomputed layer frees memory, but for the very last. */
function fewest(most: number, fits: (count: number) => boolean): number | undefined {
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (fits(middle)) high = middle;
    else low = middle + 1;
  }
  return fits(low) ? low : undefined;
}
