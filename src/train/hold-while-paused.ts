import type { RunLog } from './history.js';
import type { StepMetrics } from './step-metrics.js';
import type { TrainingLoopOptions } from './training-loop-options.js';

/** Waits as long as a callback holds the run; the time counts for no step. */
export async function holdWhilePaused(
  { callbacks, signal, ranks }: Pick<TrainingLoopOptions, 'callbacks' | 'signal' | 'ranks'>,
  step: number,
  metrics: StepMetrics,
  log: RunLog,
): Promise<void> {
  // Several ranks end where all of them hear of it.
  while (callbacks?.isPaused && !signal.aborted && !ranks?.isAskedToStop) {
    await metrics.outside(async () => {
      const start = performance.now();
      await log.emit({ type: 'pause', step });
      await callbacks.whenResumed().catch((error: unknown) => {
        if (!ranks) throw error;
      });
      await log.emit({ type: 'resume', step, seconds: (performance.now() - start) / 1000 });
    });
  }
}
