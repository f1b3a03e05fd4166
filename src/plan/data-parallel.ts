/**
 * Time of a run on several cards, one process each: the slowest rank's passes, what is left of the all-reduce when backward
 * has ended, and what ranks cost each other. Computed, with shares from measured runs; docs/planning.md says on what the
 * figures rest.
 */
import type { PassCosts } from '../model/network/pass-costs.js';
import type { PlannerEngine } from '../train/pass-planner.js';
import type { SftConfig } from '../train/sft-config.js';
import { planWindows } from './card-run.js';
import { type DealtWindows, rankWindows } from './dealt-windows.js';
import { allReduceSeconds, type Link } from './links.js';
import type { StepBatch } from './run-windows.js';
import { secondsOfPass, type TimedRun } from './step-time.js';
import type { DataParallelPlan, RunTimes } from './training-plan.js';

/** Gradients are float32. */
const GRADIENT_BYTES = 4;
/** The flat gradient is summed in a few pieces, the last layers' first: at most so many, each of at least so many bytes. */
const PIECES = 8;
const PIECE_BYTES = 4 * 2 ** 20;
/** A sum that takes less goes out when backward has ended, as `SIZES.overlap` of the engine's gradient-sum.ts has it. */
const EARLY_SECONDS = 0.01;
/**
 * Share of a pass that is backward, at least: LoRA's backward multiplies by each frozen matrix as often as forward does, and
 * its attention and recomputed layers take more.
 */
const BACKWARD_SHARE = 0.5;
/**
 * Of the slowest rank's passes, where sums wait for the end of backward. Fitted to two points on two H200 of one host (NV18,
 * driver 580.159.04, 2 × 4 a card): beside imbalance and sum a step of 3B took 1.4 % more than on one card, one of 14B 0.4 %
 * less, and 3.1 % more than by the fastest run of the day on one card. For more cards it is extrapolated.
 */
const MUTUAL_SHARE = 0.02;
/**
 * The same where sums go out during backward, and take processors from it: 3B took 4.2 and 5.3 % more on the same cards, 14B
 * 6.8 %. For more cards, PCI Express and networks it is extrapolated.
 */
const EARLY_MUTUAL_SHARE = 0.055;

interface ParallelRun {
  readonly engine: PlannerEngine;
  readonly costs: PassCosts;
  readonly config: SftConfig;
  readonly timed: TimedRun;
  readonly trainableParameters: number;
  /** On one card. */
  readonly single: Pick<RunTimes, 'samplesPerSecond'>;
  readonly pricePerHour?: number | undefined;
}

/** The pieces of a flat gradient of so many bytes, the seconds of one sum, and whether they go out during backward. */
function piecesOf(bytes: number, gpus: number, link: Link): { count: number; seconds: number; areEarly: boolean } {
  const count = Math.min(PIECES, Math.max(1, Math.floor(bytes / PIECE_BYTES)));
  const seconds = allReduceSeconds(bytes / count, gpus, link);
  return { count, seconds, areEarly: count * seconds >= EARLY_SECONDS };
}

/**
 * What is left of the sum of a flat gradient when the backward in which it becomes final has ended: all of it where it is
 * fast. Else pieces are final one after the other, evenly over backward, and are summed one after the other meanwhile: the
 * last is never hidden.
 */
export function exposedSeconds(bytes: number, backwardSeconds: number, gpus: number, link: Link): number {
  const { count, seconds, areEarly } = piecesOf(bytes, gpus, link);
  if (!areEarly) return count * seconds;
  return Math.max(seconds, backwardSeconds / count + count * seconds - backwardSeconds);
}

/** One process alone: what the plan of the card says. */
function onOne({ steps, samples, ...dealt }: DealtWindows, { single, pricePerHour }: ParallelRun): DataParallelPlan {
  const { samplesPerSecond } = single;
  const seconds = samples / samplesPerSecond;
  const none = { unevenSeconds: 0, allReduceSeconds: 0, exposedSeconds: 0, mutualSeconds: 0 };
  return {
    ...batchOf(dealt),
    steps,
    step: { computeSeconds: seconds / steps, ...none, seconds: seconds / steps },
    samplesPerSecond,
    speedup: 1,
    seconds,
    ...costOf(pricePerHour, 1, seconds),
    basis: 'computed',
  };
}

/**
 * What a step on several cards takes beside passes and sum. Messages between hosts are not in it: they pass while the cards
 * compute.
 * @param bytes of the flat gradient
 */
export function mutualSeconds(slowestSeconds: number, bytes: number, gpus: number, link: Link): number {
  return (piecesOf(bytes, gpus, link).areEarly ? EARLY_MUTUAL_SHARE : MUTUAL_SHARE) * slowestSeconds;
}

/** @throws OutOfMemoryError if the passes of a rank do not fit */
export function onSeveral(dealt: DealtWindows, link: Link, run: ParallelRun): DataParallelPlan {
  const { gpus, steps, windows } = dealt;
  if (gpus === 1) return onOne(dealt, run);
  const bytes = run.trainableParameters * GRADIENT_BYTES;
  let [slowest, mean, exposed, tokens] = [0, 0, 0, 0];
  for (const microBatches of windows) {
    const ranks = rankWindows(microBatches, gpus, run.config, run.costs);
    const times = planWindows(run.engine, run.costs, ranks, run.config).map(({ plan }) => {
      const passes = plan.passes.map((pass) => secondsOfPass(pass, run.timed));
      return { seconds: passes.reduce((sum, one) => sum + one, 0), last: passes.at(-1) ?? 0 };
    });
    const most = times.reduce((longest, one) => (one.seconds > longest.seconds ? one : longest));
    slowest += most.seconds;
    mean += times.reduce((sum, { seconds }) => sum + seconds, 0) / gpus;
    exposed += exposedSeconds(bytes, BACKWARD_SHARE * most.last, gpus, link);
    tokens += ranks.reduce((sum, { size }) => sum + size.tokens, 0);
  }
  // By tokens, as on one card: the windows that were looked at may be heavier than others.
  const mutual = mutualSeconds(slowest, bytes, gpus, link);
  const all = slowest + exposed + mutual;
  const seconds = (all * dealt.tokens) / tokens;
  const samplesPerSecond = dealt.samples / seconds;
  const perStep = dealt.tokens / tokens / steps;
  const pieces = piecesOf(bytes, gpus, link);
  return {
    ...batchOf(dealt),
    link: link.name,
    steps,
    step: {
      computeSeconds: mean * perStep,
      unevenSeconds: (slowest - mean) * perStep,
      allReduceSeconds: pieces.count * pieces.seconds,
      exposedSeconds: exposed * perStep,
      mutualSeconds: mutual * perStep,
      seconds: seconds / steps,
    },
    samplesPerSecond,
    speedup: samplesPerSecond / run.single.samplesPerSecond,
    seconds,
    ...costOf(run.pricePerHour, gpus, seconds),
    basis: 'computed',
  };
}

function batchOf({
  gpus,
  perDeviceTrainBatchSize,
  gradientAccumulationSteps,
}: Pick<DealtWindows, 'gpus' | keyof StepBatch>): Pick<
  DataParallelPlan,
  'gpus' | 'effectiveBatchSize' | keyof StepBatch
> {
  const effectiveBatchSize = perDeviceTrainBatchSize * gradientAccumulationSteps * gpus;
  return { gpus, perDeviceTrainBatchSize, gradientAccumulationSteps, effectiveBatchSize };
}

function costOf(pricePerHour: number | undefined, gpus: number, seconds: number): { cost?: number } {
  return pricePerHour === undefined ? {} : { cost: (pricePerHour * gpus * seconds) / 3600 };
}
