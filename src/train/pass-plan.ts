/**
 * Cuts the window of an optimizer step into packed passes and chooses the layers to recompute, so that every pass fits
 * into a number of bytes: as few passes and as little recomputation as fit, by estimated time. Pure: sizes in, plan out.
 */
import { type PackedSize, sumOfSizes, type WindowSample, windowParts } from '../batch/packed-window.js';
import type { StorageCosts } from '../engine/engine.js';
import type { RecomputedLayers } from '../model/network/layers.js';
import type { PassCosts } from '../model/network/pass-costs.js';

export interface PlannedPass {
  /** In the order of the window. */
  readonly samples: readonly WindowSample[];
  /** What is computed: what the samples share counts once. */
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
  /** Passes that compute up to about so many tokens are preferred; 0 prefers the micro-batches as written. */
  readonly tokensPerPass: number;
  /** true: recompute everything; false: nothing; auto: what is needed. */
  readonly gradientCheckpointing: boolean | 'auto';
  /** May more passes be made than there are micro-batches, where they do not fit? */
  readonly autoMicroBatch: boolean;
  /** Offload the inputs of recomputed layers to host memory: where a pass would not fit otherwise, or always. */
  readonly offloadsInputs?: StorageCosts['offloadsInputs'];
  /** What a pass of these samples, in the order of the window, computes. Default: the sum of their sizes. */
  readonly sizeOf?: ((samples: readonly WindowSample[]) => PackedSize) | undefined;
}

export interface Misfit {
  readonly neededBytes: number;
  readonly size: PackedSize;
  readonly samples: number;
}

/** What the planner asks of a model: time and bytes of its passes. */
export type Costs = Pick<
  PassCosts,
  'layers' | 'peakBytes' | 'hostBytes' | 'weight' | 'recomputeTime' | 'tileTime' | 'passTime'
>;

const NO_LAYERS: RecomputedLayers = { vision: 0, text: 0 };
const ON_HOST: Pick<RecomputedLayers, 'offloadInputs'> = { offloadInputs: true };
/** How much heavier than the heaviest of an even deal a pass may be, to fill tiles of rows better. */
const UNEVENNESS = 1.06;

/**
 * Plans a large window in parts, so that the work grows with its samples and not with their square.
 * @returns a plan, or what was in the way of any
 */
export function planPasses(samples: readonly WindowSample[], costs: Costs, options: PlanOptions): PassPlan | Misfit {
  if (samples.length === 0) return { passes: [], microBatchSize: 0 };
  const parts = windowParts(samples);
  if (parts.length === 1) return planPart(samples, costs, options);
  let microBatchSize = written(samples);
  const passes: PlannedPass[] = [];
  let misfit: Misfit | undefined;
  for (const part of parts) {
    const result = planPart(part, costs, options);
    if (isPlan(result)) {
      passes.push(...result.passes);
      if (result.microBatchSize < written(part)) microBatchSize = Math.min(microBatchSize, result.microBatchSize);
    } else if (!misfit || result.neededBytes > misfit.neededBytes) misfit = result;
  }
  return misfit ?? { passes, microBatchSize };
}

/** Samples of each micro-batch. */
function rowsOf(samples: readonly WindowSample[]): Map<number, number> {
  const rows = new Map<number, number>();
  for (const { microBatch } of samples) rows.set(microBatch, (rows.get(microBatch) ?? 0) + 1);
  return rows;
}

/** Samples of the largest micro-batch. */
function written(samples: readonly WindowSample[]): number {
  return Math.max(...rowsOf(samples).values());
}

function planPart(samples: readonly WindowSample[], costs: Costs, options: PlanOptions): PassPlan | Misfit {
  const rows = rowsOf(samples);
  const { sizeOf = sumOfSamples } = options;
  const together = sizeOf(samples);
  const chain = together.tokens < sumOfSamples(samples).tokens ? chainBySharing(samples, sizeOf) : undefined;
  const preferred = preferredPasses(samples, rows.size, chain, costs, options);
  let from = preferred;
  let misfit: Misfit | undefined;
  for (let microBatchSize = written(samples); microBatchSize >= 1; microBatchSize = Math.floor(microBatchSize / 2)) {
    // A pass holds a micro-batch at least: those of this size set how many passes there may be.
    const count = [...rows.values()].reduce((sum, size) => sum + Math.ceil(size / microBatchSize), 0);
    let best: { plan: PassPlan; time: number } | undefined;
    for (let n = from; n <= Math.max(count, preferred); n++) {
      let least = Number.POSITIVE_INFINITY;
      for (const parts of partitions(
        samples,
        n,
        chain,
        costs,
        sizeOf,
        options.tokensPerPass === 0 && n === rows.size,
      )) {
        const passes = parts.map((part) => planPass(part, costs, options));
        const time = passes.reduce((sum, pass) => sum + costs.recomputeTime(pass.size, pass.recompute), 0);
        const around = n * costs.passTime + repeatedTime(passes, together, costs);
        const total = time + around;
        least = Math.min(least, around);
        const largest = passes.reduce((max, pass) => (pass.bytes > max.bytes ? pass : max));
        if (largest.bytes > options.budgetBytes) {
          misfit = { neededBytes: largest.bytes, size: largest.size, samples: largest.samples.length };
        } else if (!best || total < best.time) best = { plan: { passes, microBatchSize }, time: total };
      }
      // More passes cannot save recomputation that is not there, or is wanted anyhow.
      const isDone = best && (options.gradientCheckpointing !== 'auto' || best.time <= least);
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

type SizeOf = NonNullable<PlanOptions['sizeOf']>;

function sumOfSamples(samples: readonly WindowSample[]): PackedSize {
  return sumOfSizes(samples.map(({ size }) => size));
}

function preferredPasses(
  samples: readonly WindowSample[],
  microBatches: number,
  chain: Chain | undefined,
  costs: Costs,
  { tokensPerPass, sizeOf = sumOfSamples }: PlanOptions,
): number {
  if (tokensPerPass === 0) return microBatches;
  let passes = Math.max(1, Math.ceil(sizeOf(samples).tokens / tokensPerPass));
  if (!chain) return Math.min(samples.length, passes);
  // What samples of different passes share is computed in each.
  for (; passes > 1 && passes < samples.length; passes++) {
    const fits = (parts: readonly (readonly WindowSample[])[]): boolean =>
      parts.reduce((sum, part) => sum + sizeOf(part).tokens, 0) <= passes * tokensPerPass;
    if (fits(cut(chain, passes)) || fits(evenly(samples, passes, costs, sizeOf))) break;
  }
  return Math.min(samples.length, passes);
}

/** Time of what several passes compute again and a single pass would share, forward and backward. */
function repeatedTime(passes: readonly PlannedPass[], together: PackedSize, costs: Costs): number {
  const { tokens, patches } = sumOfSizes(passes.map(({ size }) => size));
  const repeated = { ...together, tokens: tokens - together.tokens, patches: patches - together.patches };
  return 2 * costs.recomputeTime(repeated, costs.layers);
}

/** Candidate partitions of the samples into `n` passes; at equal cost the first is taken. */
function partitions(
  samples: readonly WindowSample[],
  n: number,
  chain: Chain | undefined,
  costs: Costs,
  sizeOf: SizeOf,
  asWritten: boolean,
): (readonly WindowSample[])[][] {
  const even = [
    evenly(samples, n, costs, sizeOf, true),
    ...(chain && n > 1 && n < samples.length ? [cut(chain, n)] : []),
  ];
  if (!asWritten) return even;
  const byBatch = new Map<number, WindowSample[]>();
  for (const sample of samples) {
    const batch = byBatch.get(sample.microBatch);
    if (batch) batch.push(sample);
    else byBatch.set(sample.microBatch, [sample]);
  }
  return [[...byBatch.values()], ...even];
}

/** Samples ordered so that neighbours have long prefixes in common. */
type Chain = readonly WindowSample[];

/** Greedy: after each sample, the remaining one that shares most with it. */
function chainBySharing(samples: readonly WindowSample[], sizeOf: SizeOf): Chain {
  const left = [...samples];
  const chain = left.splice(0, 1);
  while (left.length > 0) {
    const last = chain.at(-1)!;
    // Tokens saved in one pass with the last, up to a constant.
    const gain = left.map((sample) => sample.size.tokens - sizeOf([last, sample].sort(inWindow)).tokens);
    chain.push(...left.splice(gain.indexOf(Math.max(...gain)), 1));
  }
  return chain;
}

/** Cuts the chain into passes of about equal numbers of tokens. */
function cut(chain: Chain, n: number): WindowSample[][] {
  const all = sumOfSamples(chain).tokens;
  const passes: WindowSample[][] = Array.from({ length: n }, () => []);
  let before = 0;
  for (const sample of chain) {
    const middle = before + sample.size.tokens / 2;
    passes[Math.min(n - 1, Math.floor((n * middle) / all))]!.push(sample);
    before += sample.size.tokens;
  }
  return passes.filter((pass) => pass.length > 0).map((pass) => pass.sort(inWindow));
}

function inWindow(a: WindowSample, b: WindowSample): number {
  return a.microBatch - b.microBatch || a.row - b.row;
}

/**
 * Largest first, each to the lightest pass: no pass is more than a third above the best that could be had.
 * @param fills whether samples are then exchanged to fill tiles, which takes most of the time of a plan
 */
function evenly(
  samples: readonly WindowSample[],
  n: number,
  costs: Costs,
  sizeOf: SizeOf,
  fills = false,
): WindowSample[][] {
  const order = samples.map((sample, at) => ({ sample, at, weight: costs.weight(sample.size) }));
  order.sort((a, b) => b.weight - a.weight || a.at - b.at);
  const deal = (members: readonly Member[]): Deal => {
    const size = sizeOf(inOrder(members));
    return { members, weight: costs.weight(size), time: costs.tileTime(size) };
  };
  const passes: Deal[] = Array.from({ length: n }, () => ({ members: [], weight: 0, time: 0 }));
  for (const entry of order) {
    // A sample adds least to a pass that holds its prefix already.
    const grown = passes.map(({ members }) => deal([...members, entry]));
    const lightest = grown.reduce((least, pass) => (pass.weight < least.weight ? pass : least));
    passes[grown.indexOf(lightest)] = lightest;
  }
  if (fills) fillTiles(passes, deal);
  const filled = passes.filter(({ members }) => members.length > 0);
  const first = ({ members }: Deal): number => Math.min(...members.map(({ at }) => at));
  filled.sort((a, b) => first(a) - first(b));
  return filled.map(({ members }) => inOrder(members));
}

interface Member {
  readonly sample: WindowSample;
  readonly at: number;
}

interface Deal {
  readonly weight: number;
  /** Lost to tiles of rows that are not full. */
  readonly time: number;
  readonly members: readonly Member[];
}

function inOrder(members: readonly Member[]): WindowSample[] {
  return [...members].sort((a, b) => a.at - b.at).map(({ sample }) => sample);
}

function exchange({ members }: Deal, removed: Member | undefined, added: Member | undefined): Member[] {
  const others = members.filter((member) => member !== removed);
  return added ? [...others, added] : others;
}

/** Exchanges samples between passes as long as that leaves fewer rows of tiles empty. */
function fillTiles(passes: Deal[], deal: (members: readonly Member[]) => Deal): void {
  const most = UNEVENNESS * Math.max(...passes.map(({ weight }) => weight));
  for (let i = 0; i < passes.length; i++) {
    for (let j = i + 1; j < passes.length; j++) {
      let [a, b] = [passes[i]!, passes[j]!];
      let time = a.time + b.time;
      // Each of one for none or one of the other; what is found is taken at once.
      for (const x of [undefined, ...a.members]) {
        for (const y of [undefined, ...b.members]) {
          if ((x && !a.members.includes(x)) || (y && !b.members.includes(y))) continue;
          const [fromMembers, toMembers] = [exchange(a, x, y), exchange(b, y, x)];
          if (fromMembers.length === 0 || toMembers.length === 0) continue;
          const from = deal(fromMembers);
          if (from.weight > most || from.time >= time) continue;
          const to = deal(toMembers);
          if (to.weight > most || from.time + to.time >= time) continue;
          time = from.time + to.time;
          [a, b] = [from, to];
          [passes[i], passes[j]] = [a, b];
        }
      }
    }
  }
}

/** The layers to recompute in a pass: the least time that fits, or all of them if nothing does. */
function planPass(samples: readonly WindowSample[], costs: Costs, options: PlanOptions): PlannedPass {
  const { budgetBytes, gradientCheckpointing, offloadsInputs, sizeOf = sumOfSamples } = options;
  const size = sizeOf(samples);
  const pass = (recompute: RecomputedLayers): PlannedPass => {
    return { samples, size, recompute, bytes: costs.peakBytes(size, recompute) };
  };
  const places = offloadsInputs === 'always' ? [ON_HOST] : offloadsInputs === 'auto' ? [{}, ON_HOST] : [{}];
  const fits = ({ bytes }: PlannedPass): boolean => bytes <= budgetBytes;
  if (gradientCheckpointing === true) {
    const passes = places.map((place) => pass({ ...costs.layers, ...place }));
    return passes.find(fits) ?? passes.at(-1)!;
  }
  const none = pass(NO_LAYERS);
  if (gradientCheckpointing === false || fits(none)) return none;
  for (const place of places) {
    let best: PlannedPass | undefined;
    let bestTime = Number.POSITIVE_INFINITY;
    for (let vision = 0; vision <= costs.layers.vision; vision++) {
      const text = fewest(costs.layers.text, (n) => fits(pass({ vision, text: n, ...place })));
      if (text === undefined) continue;
      const recompute = { vision, text, ...place };
      const time = costs.recomputeTime(size, recompute);
      if (time < bestTime) [best, bestTime] = [pass(recompute), time];
    }
    if (best) return best;
  }
  return leastBytes(costs.layers, (layers) => pass({ ...layers, ...places.at(-1) }));
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
