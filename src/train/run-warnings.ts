/** What in the settings of a run has another effect than it seems to, and what its few samples do to them. */
import { counted } from '../messages/counted.js';
import { judgeOf } from './best-model.js';
import type { Sampler } from './sampler.js';
import { learningRateFactor, scheduleWarnings } from './schedule.js';
import { scheduleOf } from './schedule-config.js';
import { resolveSteps, type SftConfig, type SftConfigInput, scheduleRun } from './sft-config.js';

/** A smaller evaluation set says little: one sample more or less would change what it says. */
const FEW_EVALUATED = 10;
/** Share of the samples of an epoch that `dataloaderDropLast` may leave out without a word. */
const DROPPED_SHARE = 0.1;
/** Share of the steps that a warm-up may leave at a rate of 0 without a word. */
const IDLE_SHARE = 0.2;
/** LoRA is trained with 1e-5 to 1e-3; tiny models from random weights bear more. */
const HIGH_RATE = 0.1;
/** A learning rate that is 0 for so many steps and not throughout is a matter of the schedule. */
const PROBED_STEPS = 1000;

interface RunSettings {
  /** Every default filled in. */
  readonly config: SftConfig;
  /** As it was written: what was left out is no mistake. */
  readonly given: SftConfigInput;
  readonly sampler: Sampler;
  /** Samples of the evaluation set, if there is one. */
  readonly evalLength: number | undefined;
  /** The evaluation set is the training set. */
  readonly evaluatesTraining: boolean;
}

/**
 * A line each, to be shown once at the start of a run.
 * @param isResumed what was said when the run began, and changes nothing in what is left of it, is not said again
 */
export function runWarnings(settings: RunSettings, isResumed = false): string[] {
  const idle = idleSteps(settings.config, settings.sampler.totalSteps);
  const lasting = [...rateWarnings(settings, idle), ...delayWarnings(settings)];
  if (isResumed) return lasting;
  return [
    ...lasting,
    ...highRateWarnings(settings.config),
    ...idleWarnings(settings, idle),
    ...setWarnings(settings.sampler),
    ...intervalWarnings(settings),
    ...evaluationWarnings(settings),
    ...overridden(settings),
  ];
}

function rateWarnings({ config, sampler }: RunSettings, idle: number): string[] {
  const { totalSteps } = sampler;
  const run = scheduleRun(config, totalSteps);
  if (config.learningRate === 0 || idle === totalSteps) {
    const why =
      config.learningRate === 0 ? '' : `, which ${run.warmupSteps > 0 ? 'the warm-up takes' : 'is how it ends'}`;
    return [`the learning rate is 0 in ${all(totalSteps)}${why}: nothing is learned`];
  }
  return scheduleWarnings(scheduleOf(config), run);
}

/** Steps with a learning rate of 0; of a long run none are counted. */
function idleSteps(config: SftConfig, totalSteps: number): number {
  if (totalSteps > PROBED_STEPS) return 0;
  const schedule = scheduleOf(config);
  const run = scheduleRun(config, totalSteps);
  const isZero = (_: unknown, step: number) => learningRateFactor(schedule, step, run) === 0;
  return Array.from({ length: totalSteps }).filter(isZero).length;
}

function highRateWarnings({ learningRate }: SftConfig): string[] {
  if (learningRate <= HIGH_RATE) return [];
  return [`\`learningRate\` is ${learningRate}: LoRA is trained with 1e-5 to 1e-3, e.g. 2e-4; so high it diverges`];
}

/** A short warm-up is much of a run of few steps. */
function idleWarnings({ config, sampler: { totalSteps } }: RunSettings, idle: number): string[] {
  if (config.learningRate === 0 || idle === totalSteps || idle <= IDLE_SHARE * totalSteps) return [];
  return [`the learning rate is 0 in ${idle} of the ${counted(totalSteps, 'step')}: nothing is learned there`];
}

/** What few samples do to batches. */
function setWarnings({ options, stepsPerEpoch }: Sampler): string[] {
  const { length, batchSize, gradientAccumulationSteps, dropLast } = options;
  const warnings: string[] = [];
  if (stepsPerEpoch === 1) {
    const step =
      batchSize >= length || gradientAccumulationSteps === 1
        ? `\`perDeviceTrainBatchSize\` is ${batchSize}`
        : `a step takes ${gradientAccumulationSteps} micro-batches of ${batchSize}`;
    warnings.push(`an epoch is one step: there are ${counted(length, 'training sample')}, and ${step}`);
  }
  const dropped = dropLast ? length % batchSize : 0;
  if (dropped > DROPPED_SHARE * length) {
    warnings.push(`\`dataloaderDropLast\` leaves out ${dropped} of the ${counted(length, 'sample')} in each epoch`);
  }
  return warnings;
}

/** Intervals that the run does not reach. */
function intervalWarnings({ config, given, sampler: { totalSteps } }: RunSettings): string[] {
  const isOver = (interval: number): boolean => resolveSteps(interval, totalSteps) > totalSteps;
  const { loggingSteps, saveSteps, evalSteps = loggingSteps } = config;
  const warnings: string[] = [];
  const say = (name: string, interval: number, what: string): void => {
    warnings.push(
      `the run has ${counted(totalSteps, 'step')} and \`${name}\` is ${interval}: ${what} once, at the end`,
    );
  };
  // The end is logged, saved and evaluated anyway; who has written an interval expects more.
  if (given.loggingSteps !== undefined && isOver(loggingSteps)) say('loggingSteps', loggingSteps, 'it is logged');
  const isEvaluated = config.evalStrategy === 'steps' && config.evalDelay <= totalSteps;
  if (given.evalSteps !== undefined && isEvaluated && isOver(evalSteps)) {
    say('evalSteps', evalSteps, 'the evaluation set is measured');
  }
  if (given.saveSteps !== undefined && config.saveStrategy === 'steps' && isOver(saveSteps)) {
    say('saveSteps', saveSteps, 'a checkpoint is written');
  }
  return warnings;
}

function evaluationWarnings({ config, sampler, evalLength, evaluatesTraining }: RunSettings): string[] {
  const { evalStrategy, evalDelay, evalOnStart, earlyStoppingPatience: patience } = config;
  if (evalStrategy === 'no' && !evalOnStart) return [];
  const { totalSteps } = sampler;
  const warnings: string[] = [];
  if (evaluatesTraining) {
    warnings.push('the evaluation set is the training set: its loss says nothing about other data');
  } else if (evalLength !== undefined && evalLength < FEW_EVALUATED) {
    warnings.push(`the evaluation set has ${counted(evalLength, 'sample')}: its loss says little about other data`);
  }
  if (patience !== undefined) {
    const { byEpoch, end } = evaluationEnd(config, sampler);
    const interval = byEpoch ? 1 : resolveSteps(config.evalSteps ?? config.loggingSteps, totalSteps);
    const evaluations = Math.ceil(end / interval) - Math.max(0, Math.ceil(evalDelay / interval) - 1);
    if (evaluations <= patience + 1) {
      warnings.push(
        `the run has ${counted(evaluations, 'evaluation')} and \`earlyStoppingPatience\` is ${patience}: it never stops early`,
      );
    }
  }
  return warnings;
}

function delayWarnings({ config, sampler }: RunSettings): string[] {
  const { byEpoch, end } = evaluationEnd(config, sampler);
  if (config.evalDelay <= end) return [];
  const length = `${Number(end.toFixed(2))} ${byEpoch ? 'epochs' : 'steps'}`;
  return [`the run has ${length} and \`evalDelay\` is ${config.evalDelay}: nothing is ever evaluated`];
}

/** The end of the run in what `evalDelay` counts. */
function evaluationEnd({ evalStrategy }: SftConfig, sampler: Sampler): { byEpoch: boolean; end: number } {
  const { totalSteps } = sampler;
  const byEpoch = evalStrategy === 'epoch';
  return { byEpoch, end: byEpoch ? sampler.place(totalSteps - 1).epochAfter : totalSteps };
}

/** What was written and has no effect beside something else. */
function overridden({ config, given }: RunSettings): string[] {
  const warnings: string[] = [];
  if (given.maxSteps !== undefined && given.maxSteps > 0 && given.numTrainEpochs !== undefined) {
    warnings.push(`\`maxSteps\` of ${given.maxSteps} goes before \`numTrainEpochs\`, which has no effect`);
  }
  for (const [name, strategy] of [
    ['saveSteps', 'saveStrategy'],
    ['evalSteps', 'evalStrategy'],
  ] as const) {
    if (given[name] === undefined || config[strategy] === 'steps') continue;
    warnings.push(`\`${name}\` has no effect: \`${strategy}\` is "${config[strategy]}"`);
  }
  const idle = (name: keyof SftConfigInput, why: string): void => {
    if (given[name] !== undefined) warnings.push(`\`${name}\` has no effect: ${why}`);
  };
  if (config.saveStrategy === 'no') idle('saveTotalLimit', '`saveStrategy` is "no"');
  if (config.onNonFiniteLoss === 'stop') idle('maxSkippedSteps', '`onNonFiniteLoss` is "stop"');
  if (config.evalStrategy === 'no') idle('metricForBestModel', '`evalStrategy` is "no"');
  if (config.evalStrategy === 'no' || judgeOf(config) === undefined) idle('greaterIsBetter', 'no best step is chosen');
  if (config.warmupRatio > 0) {
    const share = `\`warmupSteps: ${config.warmupRatio}\``;
    warnings.push(`\`warmupRatio\` is the older name: write ${share}, a share below 1`);
  }
  return warnings;
}

function all(steps: number): string {
  return steps === 1 ? 'the only step' : `all ${steps} steps`;
}
