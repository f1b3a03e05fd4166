/** Confidence intervals by the bootstrap (Efron 1979): metrics of samples drawn again from the samples, with replacement. */
import { z } from 'zod';
import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError } from '../errors.js';
import { MersenneTwister } from '../random.js';
import type { BootstrapIntervals, BootstrapMethod } from './evaluation-report.js';
import {
  accuracyOf,
  balancedAccuracyOf,
  type ConfusionMatrix,
  type Interval,
  macroF1Of,
  talliesOf,
  weightedF1Of,
} from './metrics.js';
import { normalCdf, normalQuantile } from './normal-distribution.js';
import { wilsonInterval, zOfLevel } from './significance.js';
/** Options of {@link bootstrapIntervals}. */
export interface BootstrapOptions {
  /**
   * `bca`: bias-corrected and accelerated (Efron 1987), which also holds for macro F1, whose estimate from few samples is
   * biased. `percentile`: the quantiles of the resampled values as they are. Default: `bca`.
   */
  method?: BootstrapMethod | undefined;
  /** Share of such intervals that hold the true value. Default: 0.95. */
  confidenceLevel?: number | undefined;
  /** Times that the samples are drawn again. Default: 2000. */
  resamples?: number | undefined;
  /** The same seed gives the same intervals. Default: 0. */
  seed?: number | undefined;
  /**
   * Draw within each true class, so that each keeps its number of samples: for a test set whose class counts were chosen.
   * False: the samples are a random part of what the model will see. Default: false.
   */
  stratified?: boolean | undefined;
}

/** Checks {@link BootstrapOptions}. */
export const bootstrapSchema = lazySchema(() =>
  z.strictObject({
    method: z.enum(['bca', 'percentile']).default('bca'),
    confidenceLevel: z.number().gt(0).lt(1).default(0.95),
    resamples: z.int().min(100).max(1_000_000).default(2000),
    seed: z.int().default(0),
    stratified: z.boolean().default(false),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof bootstrapSchema>>, BootstrapOptions>>;

const METRICS = {
  accuracy: accuracyOf,
  balancedAccuracy: balancedAccuracyOf,
  macroF1: macroF1Of,
  weightedF1: weightedF1Of,
} as const;
const NAMES = Object.keys(METRICS) as (keyof typeof METRICS)[];

/**
 * Intervals of accuracy, balanced accuracy, macro and weighted F1. Where all answers are right, or all are wrong, drawing
 * again changes nothing: Wilson's interval of the accuracy stands for all four.
 * @param signal rejects with its reason
 * @throws ConfigError for bad options, and counts that are not whole
 */
export async function bootstrapIntervals(
  matrix: ConfusionMatrix,
  options: BootstrapOptions = {},
  signal?: AbortSignal,
): Promise<BootstrapIntervals> {
  const settings = parseOptions(bootstrapSchema, options, 'bootstrapIntervals');
  const cells = new Cells(matrix);
  const { count } = cells;
  const { right } = cells.tallies;
  const correct = right.reduce((a, b) => a + b, 0);
  if (correct === 0 || correct === count) {
    const same = wilsonInterval(correct, count, zOfLevel(settings.confidenceLevel));
    return { ...settings, accuracy: same, balancedAccuracy: same, macroF1: same, weightedF1: same };
  }
  const found = NAMES.map((name) => METRICS[name](cells.tallies));
  const drawn = NAMES.map(() => new Float64Array(settings.resamples));
  const generator = new MersenneTwister(settings.seed);
  for (let b = 0; b < settings.resamples; b++) {
    if (isTurnDue()) await eventLoopTurn();
    signal?.throwIfAborted();
    cells.draw(generator, settings.stratified);
    for (const [m, name] of NAMES.entries()) drawn[m]![b] = METRICS[name](cells.tallies);
  }
  const accelerations = settings.method === 'bca' ? await cells.accelerations() : undefined;
  const intervals = drawn.map((values, m) => {
    return intervalOf(values.sort(), found[m]!, settings.confidenceLevel, accelerations?.[m]);
  });
  return { ...settings, ...(Object.fromEntries(NAMES.map((name, m) => [name, intervals[m]!])) as Intervals) };
}

type Intervals = Record<keyof typeof METRICS, Interval>;

/** The samples by kind (true and answered class), and tallies of what was drawn last. */
class Cells {
  readonly count: number;
  readonly tallies: {
    readonly right: Float64Array;
    readonly answered: Float64Array;
    readonly support: Float64Array;
    count: number;
  };
  /** Kinds that occur, in the order of the true classes; answer undefined: no class. */
  readonly #kinds: { readonly truth: number; readonly answer: number | undefined; readonly times: number }[];
  /** [N] Kind of each sample. */
  readonly #kindOf: Int32Array;
  /** [K + 1] Where the samples of each true class begin. */
  readonly #starts: number[];

  constructor(matrix: ConfusionMatrix) {
    const { right, answered, support, count } = talliesOf(matrix);
    if (!Number.isSafeInteger(count) || matrix.counts.some((row) => !row.every(Number.isSafeInteger))) {
      throw new ConfigError('bootstrapIntervals: expected whole counts: samples are drawn, which weights are not');
    }
    this.count = count;
    this.tallies = {
      right: Float64Array.from(right),
      answered: Float64Array.from(answered),
      support: Float64Array.from(support),
      count,
    };
    this.#kinds = matrix.counts.flatMap((row, truth) =>
      [...row, matrix.unparsed[truth]!].flatMap((times, answer) =>
        times === 0 ? [] : [{ truth, answer: answer < row.length ? answer : undefined, times }],
      ),
    );
    this.#kindOf = new Int32Array(count);
    let at = 0;
    for (const [kind, { times }] of this.#kinds.entries()) {
      this.#kindOf.fill(kind, at, at + times);
      at += times;
    }
    this.#starts = [0];
    for (const [truth, samples] of Array.from(support).entries()) this.#starts.push(this.#starts[truth]! + samples);
  }

  draw(generator: MersenneTwister, stratified: boolean): void {
    const drawn = new Int32Array(this.#kinds.length);
    const kindOf = this.#kindOf;
    const starts = stratified ? this.#starts : [0, this.count];
    for (let part = 1; part < starts.length; part++) {
      const [start, end] = [starts[part - 1]!, starts[part]!];
      const scale = (end - start) / 2 ** 32;
      for (let i = start; i < end; i++) drawn[kindOf[start + Math.floor(generator.nextUint32() * scale)]!]!++;
    }
    this.#clear();
    for (let kind = 0; kind < drawn.length; kind++) this.#add(kind, drawn[kind]!);
  }

  #clear(): void {
    const { right, answered, support } = this.tallies;
    for (const array of [right, answered, support]) array.fill(0);
  }

  #add(kind: number, times: number): void {
    const { truth, answer } = this.#kinds[kind]!;
    const { right, answered, support } = this.tallies;
    support[truth]! += times;
    if (answer === truth) right[truth]! += times;
    if (answer !== undefined) answered[answer]! += times;
  }

  /** Of each metric: how its standard error changes with its value, from the metrics without one sample each. */
  async accelerations(): Promise<number[]> {
    const { tallies } = this;
    this.#clear();
    for (const [kind, { times }] of this.#kinds.entries()) this.#add(kind, times);
    tallies.count = this.count - 1;
    const without: { readonly times: number; readonly values: number[] }[] = [];
    for (const [kind, { times }] of this.#kinds.entries()) {
      if (isTurnDue()) await eventLoopTurn();
      this.#add(kind, -1);
      without.push({ times, values: NAMES.map((name) => METRICS[name](tallies)) });
      this.#add(kind, 1);
    }
    tallies.count = this.count;
    return NAMES.map((_, m) => {
      const total = (of: (value: number) => number) =>
        without.reduce((all, { times, values }) => all + times * of(values[m]!), 0);
      const mean = total((value) => value) / this.count;
      const squares = total((value) => (mean - value) ** 2);
      return squares === 0 ? 0 : total((value) => (mean - value) ** 3) / (6 * squares ** 1.5);
    });
  }
}

/**
 * @param sorted resampled values
 * @param acceleration undefined: the percentile interval
 */
function intervalOf(sorted: Float64Array, found: number, level: number, acceleration: number | undefined): Interval {
  const tails = [(1 - level) / 2, (1 + level) / 2];
  const steps = new Steps(sorted);
  if (acceleration === undefined) return { low: steps.quantile(tails[0]!), high: steps.quantile(tails[1]!) };
  // Where all resampled values lie on one side, half a value stands for the other.
  const edge = 0.5 / sorted.length;
  const bias = normalQuantile(Math.min(1 - edge, Math.max(edge, steps.shareBelow(found))));
  const [low, high] = tails.map((tail) => {
    const shifted = bias + normalQuantile(tail);
    // The correction has a pole, beyond which it would turn the interval round.
    return steps.quantile(normalCdf(bias + shifted / Math.max(1e-9, 1 - acceleration * shifted)));
  });
  return { low: low!, high: high! };
}

/**
 * The distribution of the resampled values. Accuracies of n samples lie on a grid, so many are equal: half of those that are
 * equal count as below, and between neighbours it is linear. Intervals on the grid itself would be too wide.
 */
class Steps {
  readonly #values: number[] = [];
  /** Share of the values below, and half of those equal. */
  readonly #shares: number[] = [];

  constructor(sorted: Float64Array) {
    for (let from = 0, to = 0; from < sorted.length; from = to) {
      // Sums in another order differ in the last digits.
      while (to < sorted.length && sorted[to]! - sorted[from]! < 1e-12) to++;
      this.#values.push(sorted[from]!);
      this.#shares.push((from + to) / 2 / sorted.length);
    }
  }

  quantile(share: number): number {
    return interpolate(this.#shares, this.#values, share);
  }

  shareBelow(value: number): number {
    const near = this.#values.findIndex((one) => Math.abs(one - value) < 1e-12);
    if (near >= 0) return this.#shares[near]!;
    if (value < this.#values[0]!) return 0;
    return value > this.#values.at(-1)! ? 1 : interpolate(this.#values, this.#shares, value);
  }
}

/** y at x, linear between the points, whose x rise; constant outside. */
function interpolate(xs: readonly number[], ys: readonly number[], x: number): number {
  let [low, high] = [0, xs.length - 1];
  if (x <= xs[low]!) return ys[low]!;
  if (x >= xs[high]!) return ys[high]!;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle]! <= x) low = middle;
    else high = middle;
  }
  return ys[low]! + ((ys[high]! - ys[low]!) * (x - xs[low]!)) / (xs[high]! - xs[low]!);
}
