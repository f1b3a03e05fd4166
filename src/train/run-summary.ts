/** The last lines of a run: what was done, what came of it, and where it lies. */
import { dirname } from 'node:path';
import { counted } from '../messages/counted.js';
import { formatDuration } from '../messages/format-duration.js';
import { oneLine } from '../messages/one-line.js';
import type { TrainOutput } from './events.js';

/** What the events before the end have said. */
interface RunPlace {
  /** Optimizer steps of the whole run. */
  readonly totalSteps: number;
  /** Optimizer steps done before this call. */
  readonly firstStep: number;
}

/** Lines for people, the first of which says the most. */
export function describeRun(output: TrainOutput, { totalSteps, firstStep }: RunPlace): string[] {
  const { globalStep, samples, metrics, stopped, droppedSamples, skippedSteps } = output;
  const { trainRuntime, trainSamplesPerSecond, trainTokensPerSecond } = metrics;
  const part = `${globalStep} of ${counted(totalSteps, 'step')}`;
  const isEarly = !stopped && globalStep < totalSteps;
  const early = `stopped early, as \`earlyStoppingPatience\` says: ${part}`;
  const steps = stopped ? `stopped: ${part}` : isEarly ? early : `done: ${counted(globalStep, 'step')}`;
  const own = firstStep > 0 ? `, ${globalStep - firstStep} of them now` : '';
  const lost = [
    ...(droppedSamples > 0 ? [`${droppedSamples} left out by the collator`] : []),
    ...(skippedSteps > 0 ? [`${counted(skippedSteps, 'step')} left out, not finite`] : []),
  ];
  const rates = `${rate(trainSamplesPerSecond)} samples/s, ${rate(trainTokensPerSecond)} tok/s`;
  return [
    `${steps}${own}, ${[counted(samples, 'sample'), ...lost].join(', ')} in ${formatDuration(trainRuntime)}; ${rates}`,
    ...lossLine(output),
    savedLine(output),
  ];
}

function lossLine({ firstLoss, lastLoss, trainingLoss, best }: TrainOutput): string[] {
  if (firstLoss === undefined || lastLoss === undefined) return [];
  const course = `loss ${firstLoss.toFixed(4)} → ${lastLoss.toFixed(4)}, mean ${trainingLoss.toFixed(4)}`;
  return [best ? `${course}; best ${oneLine(best.metric)} ${best.value.toPrecision(5)} at step ${best.step}` : course];
}

function savedLine({ adapterDir, checkpoints, outputDir }: TrainOutput): string {
  const last = checkpoints.at(-1);
  if (last === undefined) return 'nothing is saved: trainer.saveModel(folder) writes the adapter';
  if (adapterDir === undefined) return `${counted(checkpoints.length, 'checkpoint')} in ${outputDir}, the last ${last}`;
  const others = checkpoints.filter((path) => path !== adapterDir).length;
  return `adapter: ${adapterDir}${others > 0 ? `, beside ${counted(others, 'checkpoint')} in ${dirname(last)}` : ''}`;
}

/** Three digits of what is small. */
function rate(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
