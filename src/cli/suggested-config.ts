/** What a run trains with where nothing else was asked for: the tutorial's settings, with passes and warm-up for the data. */
import type { LoraConfigOptions } from '../lora/lora-config.js';
import type { SftConfigInput } from '../train/sft-config.js';

/** Fewer optimizer steps than this hardly change a model: small data are gone through several times. */
const WANTED_STEPS = 60;
const MOST_EPOCHS = 10;
const WARMUP_STEPS = 25;

export const SUGGESTED_LORA = { r: 16, alpha: 32, dropout: 0.05 } satisfies LoraConfigOptions;

interface Suggestion {
  readonly config: SftConfigInput;
  /** What was chosen, a line each. */
  readonly lines: readonly string[];
}

const stepsText = (steps: number): string => `${steps} ${steps === 1 ? 'step' : 'steps'}`;

/**
 * @param samples of the training set
 * @param given options that hold in any case
 * @param ranks processes that train together: a step has the samples of all
 */
export function suggestedConfig(samples: number, given: SftConfigInput, ranks = 1): Suggestion {
  const perDeviceTrainBatchSize = given.perDeviceTrainBatchSize ?? 2;
  const gradientAccumulationSteps = given.gradientAccumulationSteps ?? 4;
  const ofStep = perDeviceTrainBatchSize * gradientAccumulationSteps * ranks;
  const stepsOfEpoch = Math.max(1, Math.ceil(samples / ofStep));
  const wanted = Math.min(MOST_EPOCHS, Math.max(1, Math.ceil(WANTED_STEPS / stepsOfEpoch)));
  const numTrainEpochs = given.numTrainEpochs ?? wanted;
  const isLimited = given.maxSteps !== undefined && given.maxSteps > 0;
  const steps = isLimited ? given.maxSteps! : Math.ceil(stepsOfEpoch * numTrainEpochs);
  // The rate rises for a fifth of the steps at most, so that a short run reaches its peak.
  const warmupSteps = given.warmupSteps ?? (given.warmupRatio ? 0 : Math.min(WARMUP_STEPS, Math.floor(steps / 5)));
  const learningRate = given.learningRate ?? 2e-4;
  const config = {
    optim: 'adamw_8bit',
    lrSchedulerType: 'linear',
    maxGradNorm: 0.3,
    autoMicroBatch: true,
    perDeviceEvalBatchSize: perDeviceTrainBatchSize,
    loggingSteps: 0.1,
    saveStrategy: 'epoch',
    saveTotalLimit: 1,
    ...given,
    ...{ perDeviceTrainBatchSize, gradientAccumulationSteps, warmupSteps, learningRate },
    // Beside a number of steps it has no effect, which a warning would say.
    ...(isLimited ? {} : { numTrainEpochs }),
  } as SftConfigInput;
  const epochs = isLimited ? '' : `, ${numTrainEpochs} ${numTrainEpochs === 1 ? 'epoch' : 'epochs'}`;
  const lines = [
    `${stepsText(steps)} of up to ${ofStep} samples${epochs}; learning rate ${learningRate}, warm-up ${stepsText(warmupSteps)}`,
  ];
  if (!isLimited && given.numTrainEpochs === undefined && wanted > 1) {
    lines.push(
      `${samples === 1 ? '1 sample is' : `${samples} samples are`} few, so the data are gone through ${wanted} times; --epochs sets another number of passes`,
    );
  }
  return { config, lines };
}
