/** Learning-rate schedules of `transformers.optimization`: the factor of step k, counted from 0. */
import { counted } from '../messages/counted.js';

/** Names of transformers' schedules; `reduce_lr_on_plateau` and `greedy`, which depend on results, are not offered. */
export const LR_SCHEDULER_TYPES = [
  ...(['linear', 'cosine', 'cosine_with_restarts', 'polynomial', 'constant', 'constant_with_warmup'] as const),
  ...(['inverse_sqrt', 'cosine_with_min_lr', 'cosine_warmup_with_min_lr', 'warmup_stable_decay'] as const),
] as const;

/** Name of a learning-rate schedule. @useDeclaredType */
export type LrSchedulerType = (typeof LR_SCHEDULER_TYPES)[number];

/** Course of the warm-up or the decay of `warmup_stable_decay`. */
export type RampType = 'linear' | 'cosine' | '1-sqrt';

/** For `cosine`. */
export interface CosineKwargs {
  /** Waves of the cosine; a half falls from the peak to 0. Default: 0.5. */
  readonly numCycles?: number | undefined;
}

/** For `cosine_with_restarts`. */
export interface CosineWithRestartsKwargs {
  /** How often the rate falls from the peak to 0: a whole number. Default: 1. */
  readonly numCycles?: number | undefined;
}

/** For `polynomial`. */
export interface PolynomialKwargs {
  /** Rate at the end, below `learningRate`. Default: 1e-7. */
  readonly lrEnd?: number | undefined;
  /** Exponent of the decay; 1 is a straight line. Default: 1. */
  readonly power?: number | undefined;
}

/** For `inverse_sqrt`. */
export interface InverseSqrtKwargs {
  /** Steps after which the rate has fallen to 1/√2 of the peak. Default: the warm-up steps, without any 10,000. */
  readonly timescale?: number | undefined;
}

/** For `cosine_with_min_lr`: one of `minLr` and `minLrRate` must be given. */
export interface CosineWithMinLrKwargs extends CosineKwargs {
  /** Learning rate that the cosine falls to, at most `learningRate`; or `minLrRate`: one of the two. Default: none. */
  readonly minLr?: number | undefined;
  /** The same as a share of `learningRate`, 0 to 1. Default: none. */
  readonly minLrRate?: number | undefined;
}

/** For `cosine_warmup_with_min_lr`: one of `minLr` and `minLrRate` must be given. */
export interface CosineWarmupWithMinLrKwargs extends CosineWithMinLrKwargs {
  /** Where the warm-up begins, as a share of `learningRate`. Default: 1 / warm-up steps. */
  readonly warmupLrRate?: number | undefined;
}

/** For `warmup_stable_decay`: `numDecaySteps` must be given. */
export interface WarmupStableDecayKwargs extends CosineKwargs {
  /** Steps of the decay, at the end. Required. */
  readonly numDecaySteps: number;
  /** Steps at the peak; what follows warm-up, peak and decay runs at the lowest rate. Default: all that the others leave. */
  readonly numStableSteps?: number | undefined;
  /** Lowest rate, where the warm-up begins and the decay ends, as a share of `learningRate`. Default: 0. */
  readonly minLrRatio?: number | undefined;
  /** Course of the warm-up. Default: `linear`. */
  readonly warmupType?: RampType | undefined;
  /** Course of the decay. Default: `cosine`. */
  readonly decayType?: RampType | undefined;
}

/** For schedules without settings. */
export type NoKwargs = Readonly<Record<string, never>>;

/** What `lrSchedulerKwargs` may hold, by schedule. */
export interface LrSchedulerKwargs {
  /** From the peak to 0 in a straight line: no settings. */
  readonly linear: NoKwargs;
  /** Half a wave from the peak to 0: `numCycles`. */
  readonly cosine: CosineKwargs;
  /** Such half waves, each from the peak again: `numCycles`. */
  readonly cosine_with_restarts: CosineWithRestartsKwargs;
  /** A power of the remaining share of steps: `lrEnd`, `power`. */
  readonly polynomial: PolynomialKwargs;
  /** The peak from the first step, without a warm-up: no settings. */
  readonly constant: NoKwargs;
  /** The peak after the warm-up: no settings. */
  readonly constant_with_warmup: NoKwargs;
  /** Falls with one over the square root of the steps: `timescale`. */
  readonly inverse_sqrt: InverseSqrtKwargs;
  /** A cosine that ends above 0: `minLr` or `minLrRate`, `numCycles`. */
  readonly cosine_with_min_lr: CosineWithMinLrKwargs;
  /** The same, with a warm-up that begins above 0: `warmupLrRate`. */
  readonly cosine_warmup_with_min_lr: CosineWarmupWithMinLrKwargs;
  /** Warm-up, peak and decay: `numDecaySteps`, and how the first and the last run. */
  readonly warmup_stable_decay: WarmupStableDecayKwargs;
}

/** A schedule with its settings, as `SftConfig` names them. */
export type LrSchedule = {
  readonly [T in LrSchedulerType]: {
    /** Course of the learning rate after the warm-up, by the names of transformers. Default: `linear`. */
    readonly lrSchedulerType: T;
    /** Settings of the schedule, in camelCase: see {@link LrSchedulerKwargs}. Default: none. */
    readonly lrSchedulerKwargs?: LrSchedulerKwargs[T] | undefined;
  };
}[LrSchedulerType];

/** How long a run and its warm-up are, and its peak rate. */
export interface ScheduleRun {
  /** Optimizer steps of the rise from 0 to 1. */
  readonly warmupSteps: number;
  /** Optimizer steps of the whole run. */
  readonly totalSteps: number;
  /** Peak learning rate. */
  readonly learningRate: number;
}

/** The factor on the peak learning rate that optimizer step `step` (from 0) uses. With a warm-up the first is mostly 0. */
export function learningRateFactor(schedule: LrSchedule, step: number, run: ScheduleRun): number {
  const { warmupSteps, totalSteps, learningRate } = run;
  const rise = step / Math.max(1, warmupSteps);
  const isWarmup = step < warmupSteps;
  const length = Math.max(1, totalSteps - warmupSteps);
  const progress = (step - warmupSteps) / length;
  switch (schedule.lrSchedulerType) {
    case 'constant':
      return 1;
    case 'constant_with_warmup':
      return isWarmup ? rise : 1;
    case 'linear':
      return isWarmup ? rise : Math.max(0, (totalSteps - step) / length);
    case 'cosine':
      return isWarmup ? rise : Math.max(0, wave(progress, schedule.lrSchedulerKwargs?.numCycles));
    case 'cosine_with_restarts': {
      if (isWarmup) return rise;
      const cycles = schedule.lrSchedulerKwargs?.numCycles ?? 1;
      return progress >= 1 ? 0 : Math.max(0, wave((cycles * progress) % 1));
    }
    case 'polynomial': {
      if (isWarmup) return rise;
      const { lrEnd = 1e-7, power = 1 } = schedule.lrSchedulerKwargs ?? {};
      if (step > totalSteps) return lrEnd / learningRate;
      return ((learningRate - lrEnd) * (1 - progress) ** power + lrEnd) / learningRate;
    }
    case 'inverse_sqrt': {
      if (isWarmup) return rise;
      const timescale = schedule.lrSchedulerKwargs?.timescale ?? (warmupSteps || 10_000);
      return 1 / Math.sqrt((step + timescale - warmupSteps) / timescale);
    }
    case 'cosine_with_min_lr': {
      if (isWarmup) return rise;
      const { numCycles } = schedule.lrSchedulerKwargs ?? {};
      return Math.max(0, above(lowest(schedule.lrSchedulerKwargs, learningRate), wave(progress, numCycles)));
    }
    case 'cosine_warmup_with_min_lr': {
      const { numCycles, warmupLrRate } = schedule.lrSchedulerKwargs ?? {};
      if (isWarmup && warmupLrRate === undefined) return (step + 1) / Math.max(1, warmupSteps);
      if (isWarmup) return warmupLrRate! + ((1 - warmupLrRate!) * step) / Math.max(1, warmupSteps - 1);
      const factor = wave((step - warmupSteps + 1) / length, numCycles);
      return Math.max(0, above(lowest(schedule.lrSchedulerKwargs, learningRate), factor));
    }
    case 'warmup_stable_decay':
      return warmupStableDecay(schedule.lrSchedulerKwargs!, step, run);
  }
}

function warmupStableDecay(kwargs: WarmupStableDecayKwargs, step: number, run: ScheduleRun): number {
  const { numDecaySteps, minLrRatio = 0, warmupType = 'linear', decayType = 'cosine', numCycles } = kwargs;
  const { warmupSteps } = run;
  if (step < warmupSteps) {
    const progress = step / warmupSteps;
    const ramps = {
      linear: () => progress,
      cosine: () => 0.5 * (1 - Math.cos(Math.PI * progress)),
      '1-sqrt': () => 1 - Math.sqrt(1 - progress),
    };
    return Math.max(0, above(minLrRatio, ramps[warmupType]()));
  }
  const firstOfDecay = warmupSteps + stableSteps(kwargs, run);
  if (step < firstOfDecay) return 1;
  if (step >= firstOfDecay + numDecaySteps) return minLrRatio;
  const progress = (step - firstOfDecay) / numDecaySteps;
  const ramps = {
    linear: () => 1 - progress,
    cosine: () => wave(progress, numCycles),
    '1-sqrt': () => 1 - Math.sqrt(progress),
  };
  return Math.max(0, above(minLrRatio, ramps[decayType]()));
}

/** Negative if warm-up and decay overlap: the decay is then entered where it would be by then. */
function stableSteps({ numStableSteps, numDecaySteps }: WarmupStableDecayKwargs, run: ScheduleRun): number {
  return numStableSteps ?? run.totalSteps - run.warmupSteps - numDecaySteps;
}

function wave(progress: number, cycles = 0.5): number {
  return 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress));
}

function above(low: number, factor: number): number {
  return factor * (1 - low) + low;
}

function lowest(kwargs: CosineWithMinLrKwargs | undefined, learningRate: number): number {
  return kwargs?.minLrRate ?? kwargs!.minLr! / learningRate;
}

/** What in a schedule will not do what it seems to, for the run's length: each to be shown once. */
export function scheduleWarnings(schedule: LrSchedule, run: ScheduleRun): string[] {
  const { lrSchedulerType: type } = schedule;
  const { warmupSteps, totalSteps } = run;
  if (type === 'constant') {
    if (warmupSteps === 0) return [];
    return [`\`warmupSteps\` has no effect with "constant"; "constant_with_warmup" has a warm-up`];
  }
  if (warmupSteps >= totalSteps && warmupSteps > 0) {
    const peak = `the run has ${counted(totalSteps, 'step')} and the warm-up ${warmupSteps}`;
    return [`${peak}: the learning rate never reaches its peak of ${run.learningRate}`];
  }
  if (warmupSteps > totalSteps / 2) {
    return [`the warm-up takes ${warmupSteps} of the ${counted(totalSteps, 'step')}, more than half of the run`];
  }
  if (schedule.lrSchedulerType !== 'warmup_stable_decay') return [];
  const { numDecaySteps, minLrRatio = 0 } = schedule.lrSchedulerKwargs!;
  const stable = stableSteps(schedule.lrSchedulerKwargs!, run);
  const planned = warmupSteps + Math.max(0, stable) + numDecaySteps;
  const parts = `"warmup_stable_decay": the run has ${counted(totalSteps, 'step')}, warm-up, peak and decay together ${planned}`;
  if (stable < 0) return [`${parts}: the first ${counted(-stable, 'step')} of the decay are left out`];
  if (planned < totalSteps) {
    return [`${parts}: the last ${counted(totalSteps - planned, 'step')} run at ${minLrRatio} of the learning rate`];
  }
  return planned > totalSteps
    ? [`${parts}: the last ${counted(planned - totalSteps, 'step')} of the decay never come`]
    : [];
}
