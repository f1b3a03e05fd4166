import { describe, expect, it } from 'vitest';
import { DataLoader } from '../../src/data/data-loader.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import type { EvaluateLossOptions } from '../../src/train/trainable-model.js';
import { linearCollator, linearDataset, linearModel } from './linear-model.js';

const reason = new Error('enough');

function evaluation(length: number, evaluate: (options?: EvaluateLossOptions) => Promise<unknown> | undefined) {
  const model = linearModel();
  const own = model.evaluateLoss.bind(model);
  model.evaluateLoss = (batch, options) => (evaluate(options) as ReturnType<typeof own>) ?? own(batch);
  const loader = new DataLoader({ dataset: linearDataset(length), collator: linearCollator, prefetch: 2 });
  return (signal: AbortSignal | undefined) => evaluateLoss(model, loader, length, 2, { labelSmoothing: 0 }, signal);
}

describe('the loss of an evaluation set', () => {
  it('ends with the reason of an abort although the model never answers, and hands the signal on', async () => {
    const controller = new AbortController();
    const seen: unknown[] = [];
    const run = evaluation(6, (options) => {
      seen.push(options);
      setImmediate(() => controller.abort(reason));
      return new Promise<never>(() => undefined);
    });
    await expect(run(controller.signal)).rejects.toBe(reason);
    expect(seen).toEqual([{ labelSmoothing: 0, signal: controller.signal }]);
  });

  it('hears a timer between batches of a model that never pauses', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 5);
    const run = evaluation(200_000, () => undefined);
    await expect(run(controller.signal)).rejects.toBe(reason);
  });

  it('is the same with a signal that is never aborted', async () => {
    const run = evaluation(6, () => undefined);
    const [one, other] = [await run(undefined), await run(new AbortController().signal)];
    expect(one.evalLoss).toBe(other.evalLoss);
  });
});
