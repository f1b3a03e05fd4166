/** Which samples an optimizer step sees: the plan of a run, a pure function of lengths and seeds. */
import { packedPermutation } from '../random.js';

export interface SamplerOptions {
  readonly length: number;
  readonly batchSize: number;
  readonly gradientAccumulationSteps: number;
  readonly dropLast: boolean;
  /** Epoch e is ordered by `torch.randperm(length)` with seed `seed + e`. */
  readonly seed: number;
  readonly numTrainEpochs: number;
  /** Overrides the epochs; -1 if not set. */
  readonly maxSteps: number;
}

/** Where an optimizer step is in its run: known from lengths alone. */
interface StepPlace {
  /** From 0 over the whole run. */
  readonly step: number;
  readonly epoch: number;
  /** Epochs done after this step, a fraction. */
  readonly epochAfter: number;
  /** True for the last window of its epoch. */
  readonly endsEpoch: boolean;
  /** Micro-batches of the run before this window. */
  readonly firstMicroBatch: number;
}

/** The micro-batches of one optimizer step. */
export interface Window extends StepPlace {
  /** Sample indices of each micro-batch. */
  readonly microBatches: readonly (readonly number[])[];
  /** Place of each among all micro-batches of the run, where they do not follow one another: see `dealt`. */
  readonly places?: readonly number[] | undefined;
}

/** Which of several processes takes its share, of how many. */
interface DealtTo {
  readonly rank: number;
  readonly worldSize: number;
}

/**
 * What one of several ranks takes of a window: micro-batches are dealt round robin, as accelerate deals batches, but none
 * is repeated. At the end of an epoch a rank may get fewer than others, or none.
 */
export function dealt(window: Window, { rank, worldSize }: DealtTo): Window {
  const own = window.microBatches.flatMap((indices, m) => (m % worldSize === rank ? [{ indices, m }] : []));
  return {
    ...window,
    microBatches: own.map(({ indices }) => indices),
    places: own.map(({ m }) => window.firstMicroBatch + m),
  };
}

/**
 * The order of accelerate's seedable random sampler, cut as `transformers.Trainer` cuts it. Accumulation never crosses
 * an epoch: the last window of an epoch holds the micro-batches that are left.
 */
export class Sampler {
  readonly options: SamplerOptions;
  readonly microBatchesPerEpoch: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** Orders of the epoch at work and of the next, into which reading ahead may reach. */
  readonly #orders = new Map<number, Uint32Array>();

  constructor(options: SamplerOptions) {
    this.options = options;
    const batches = options.length / options.batchSize;
    this.microBatchesPerEpoch = options.dropLast ? Math.floor(batches) : Math.ceil(batches);
    this.stepsPerEpoch = Math.ceil(this.microBatchesPerEpoch / options.gradientAccumulationSteps);
    this.totalSteps = options.maxSteps > 0 ? options.maxSteps : Math.ceil(options.numTrainEpochs * this.stepsPerEpoch);
  }

  #order(epoch: number): Uint32Array {
    let order = this.#orders.get(epoch);
    if (!order) {
      order = packedPermutation(this.options.length, this.options.seed + epoch);
      for (const old of this.#orders.keys()) if (Math.abs(old - epoch) > 1) this.#orders.delete(old);
      this.#orders.set(epoch, order);
    }
    return order;
  }

  /** Where optimizer step `step` is, from 0; makes no order. */
  place(step: number): StepPlace {
    const epoch = Math.floor(step / this.stepsPerEpoch);
    const { first, last } = this.#range(step);
    return {
      step,
      epoch,
      epochAfter: epoch + last / this.microBatchesPerEpoch,
      endsEpoch: last === this.microBatchesPerEpoch,
      firstMicroBatch: epoch * this.microBatchesPerEpoch + first,
    };
  }

  /** The window of optimizer step `step`, from 0. */
  window(step: number): Window {
    const { batchSize } = this.options;
    const place = this.place(step);
    const { first, last } = this.#range(step);
    const order = this.#order(place.epoch);
    const microBatches: number[][] = [];
    for (let i = first; i < last; i++) microBatches.push([...order.subarray(i * batchSize, (i + 1) * batchSize)]);
    return { ...place, microBatches };
  }

  /** The micro-batches of every step from `step` on, made as they are asked for: a run may have any number of steps. */
  *microBatches(step: number, to?: DealtTo): Generator<readonly number[], void> {
    for (let next = step; next < this.totalSteps; next++) {
      const window = this.window(next);
      yield* (to ? dealt(window, to) : window).microBatches;
    }
  }

  /** Micro-batches of a step within its epoch. */
  #range(step: number): { first: number; last: number } {
    const { gradientAccumulationSteps } = this.options;
    const first = (step % this.stepsPerEpoch) * gradientAccumulationSteps;
    return { first, last: Math.min(first + gradientAccumulationSteps, this.microBatchesPerEpoch) };
  }
}
