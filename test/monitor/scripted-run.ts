/** Events of a run as a callback gets them, without a run. */
import type { TrainerCallback, TrainingControl } from '../../src/train/callbacks.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { parseSftConfig } from '../../src/train/sft-config.js';

type StartEvent = Extract<TrainingEvent, { type: 'start' }>;

export function startEvent(changes: Partial<StartEvent> = {}): StartEvent {
  const config = parseSftConfig({ outputDir: 'outputs/fractures' });
  return { type: 'start', config, samples: 100, totalSteps: 1000, trainableParameters: 3, step: 0, ...changes };
}

export function stepEvent(step: number, loss = 1 / step): TrainingEvent {
  const values = { loss, gradNorm: 0.5, learningRate: 1e-4, tokens: 100, sharedTokens: 0, labels: 10 };
  return { type: 'step', step, epoch: step / 10, ...values };
}

export function logEvent(step: number): TrainingEvent {
  const values = { loss: 1, gradNorm: 0.5, learningRate: 1e-4, tokensPerSecond: 1000 + step, seconds: 1 };
  return { type: 'log', step, epoch: step / 10, ...values, dataWaitShare: 0, memoryBytes: 1e9, peakMemoryBytes: 2e9 };
}

export function evaluateEvent(step: number, metrics: Readonly<Record<string, number>> = {}): TrainingEvent {
  return { type: 'evaluate', step, epoch: step / 10, evalLoss: 0.5, evalRuntime: 1, evalSamplesPerSecond: 1, metrics };
}

/** A run that is only said to be held or stopped. */
export class ScriptedControl implements TrainingControl {
  isPaused = false;
  /** Reasons of `stop`. */
  readonly stops: (string | undefined)[] = [];

  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  stop(reason?: string): void {
    this.stops.push(reason);
  }
}

export async function begin(callback: TrainerCallback, changes: Partial<StartEvent> = {}): Promise<ScriptedControl> {
  const control = new ScriptedControl();
  const event = startEvent(changes);
  await callback.onStart?.(event, control);
  await callback.onEvent?.(event);
  return control;
}
