/** What a run comes to, from what its parts have counted. */
import type { TrainOutput } from './events.js';
import type { StepMetrics } from './step-metrics.js';

interface RunCounts
  extends Pick<
    TrainOutput,
    'globalStep' | 'droppedSamples' | 'logHistory' | 'best' | 'outputDir' | 'adapterDir' | 'checkpoints'
  > {
  readonly epoch: number;
  /** Optimizer steps done before this call. */
  readonly firstStep: number;
  /** Of this call. */
  readonly seconds: number;
  readonly isStopped: boolean;
  readonly metrics: StepMetrics;
}

export function runOutput(counts: RunCounts): TrainOutput {
  const { globalStep, epoch, firstStep, seconds, isStopped, metrics, best, adapterDir, ...others } = counts;
  const perSecond = (count: number) => count / Math.max(seconds, 1e-9);
  const { meanLoss, samples, tokens, skippedSteps } = metrics;
  return {
    globalStep,
    trainingLoss: meanLoss,
    metrics: {
      trainRuntime: seconds,
      trainSamplesPerSecond: perSecond(samples),
      trainStepsPerSecond: perSecond(globalStep - firstStep),
      trainTokensPerSecond: perSecond(tokens),
      trainLoss: meanLoss,
      epoch,
    },
    samples,
    skippedSteps,
    ...metrics.lossEnds,
    ...others,
    ...(best ? { best } : {}),
    ...(adapterDir !== undefined ? { adapterDir } : {}),
    ...(isStopped ? { stopped: true as const } : {}),
  };
}
