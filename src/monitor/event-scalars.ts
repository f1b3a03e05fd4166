/** The values of an event under the names that trackers of experiments know. */
import type { TrainingEvent } from '../train/events.js';

/**
 * The values of an event by the tags of transformers, for TensorBoard and other trackers. Of `log`: `train/loss`,
 * `train/grad_norm`, `train/learning_rate`, `train/epoch`, `train/tokens_per_second` and `train/peak_memory_gib`; of `evaluate`:
 * `eval/loss`, `eval/runtime` (s), `eval/samples_per_second`, and `eval/` with the name of each metric (`eval/metrics/` if
 * it has the name of one of these three); of `end`: `train/train_loss` and `train/train_runtime` (s). Other events have none.
 * @param every `step`: the first four come from each `step` in place of each `log`. Default `log`
 */
export function scalarsOf(event: TrainingEvent, every: 'log' | 'step' = 'log'): Readonly<Record<string, number>> {
  switch (event.type) {
    case 'step':
      return every === 'step' ? learningOf(event) : {};
    case 'log':
      return {
        ...(every === 'log' ? learningOf(event) : {}),
        'train/tokens_per_second': event.tokensPerSecond,
        'train/peak_memory_gib': event.peakMemoryBytes / 2 ** 30,
      };
    case 'evaluate': {
      const own: Record<string, number> = {
        'eval/loss': event.evalLoss,
        'eval/runtime': event.evalRuntime,
        'eval/samples_per_second': event.evalSamplesPerSecond,
      };
      const metrics = Object.entries(event.metrics ?? {}).map(([name, value]) => {
        const tag = `eval/${name}`;
        return [tag in own ? `eval/metrics/${name}` : tag, value] as const;
      });
      return { ...own, ...Object.fromEntries(metrics) };
    }
    case 'end': {
      const { trainLoss, trainRuntime } = event.output.metrics;
      return { 'train/train_loss': trainLoss, 'train/train_runtime': trainRuntime };
    }
    default:
      return {};
  }
}

function learningOf(event: Extract<TrainingEvent, { type: 'log' | 'step' }>): Record<string, number> {
  return {
    'train/loss': event.loss,
    'train/grad_norm': event.gradNorm,
    'train/learning_rate': event.learningRate,
    'train/epoch': event.epoch,
  };
}
