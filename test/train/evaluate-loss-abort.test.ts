import { describe, expect, it } from 'vitest';
import { DataLoader } from '../../src/data/data-loader.js';
import { evaluateDataset } from '../../src/train/evaluate-loss.js';
import { linearCollator, linearDataset, linearModel } from './linear-model.js';

const reason = new Error('enough');

function evaluation(length: number, onEvaluate: () => unknown) {
  const model = linearModel();
  model.onEvaluate = onEvaluate;
  const loader = new DataLoader({ dataset: linearDataset(length), collator: linearCollator, prefetch: 2 });
  return (signal: AbortSignal | undefined) => evaluateDataset(model, { loader, length, batchSize: 2, signal });
}

describe('the loss of an evaluation set', () => {
  it('ends with the reason of an abort although the engine never answers', async () => {
    const controller = new AbortController();
    const run = evaluation(6, () => {
      setImmediate(() => controller.abort(reason));
      return new Promise<never>(() => undefined);
    });
    await expect(run(controller.signal)).rejects.toBe(reason);
  });

  it('hears a timer between batches', async () => {
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
