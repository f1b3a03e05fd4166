import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import type { GenerateAnswers } from '../../src/eval/evaluator-options.js';

interface Item {
  readonly label: number;
}

const items: readonly Item[] = Array.from({ length: 6 }, (_, i) => ({ label: i % 2 }));
const example: SftExample = { messages: [{ role: 'user', content: 'which?' }] };
const never = () => new Promise<never>(() => undefined);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const evaluatorOf = (generate: GenerateAnswers, batchSize = 2) =>
  new Evaluator({ classNames: ['cat', 'dog'], generate, batchSize });
const answers: GenerateAnswers = async (examples) => examples.map(() => 'cat');
const dataset = IndexedDataset.from(items);

/** Aborts when asked and gives what the evaluation was rejected with. */
async function abortedAfter(run: (signal: AbortSignal, wasAsked: () => void) => Promise<unknown>): Promise<unknown> {
  const controller = new AbortController();
  let asked!: () => void;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const work = run(controller.signal, asked);
  const failed = work.catch((error: unknown) => error);
  await isAsked;
  await turn();
  controller.abort(reason);
  controller.abort(new Error('again'));
  return failed;
}
const reason = new Error('enough');

describe('an evaluation whose callbacks never answer', () => {
  it.each([
    [
      'the data set',
      (signal: AbortSignal, asked: () => void) => {
        const silent = Object.assign(Object.create(dataset) as typeof dataset, {
          length: 6,
          get: () => {
            asked();
            return never();
          },
        });
        return evaluatorOf(answers).evaluate(silent, { toExample: () => example, signal });
      },
    ],
    [
      'toExample',
      (signal: AbortSignal, asked: () => void) => {
        const toExample = () => {
          asked();
          return never();
        };
        return evaluatorOf(answers).evaluate(dataset, { toExample, signal });
      },
    ],
    [
      'generate',
      (signal: AbortSignal, asked: () => void) => {
        const generate = () => {
          asked();
          return never();
        };
        return evaluatorOf(generate).evaluate(dataset, { toExample: () => example, signal });
      },
    ],
    [
      'generate, through stream',
      async (signal: AbortSignal, asked: () => void) => {
        const generate = () => {
          asked();
          return never();
        };
        for await (const _ of evaluatorOf(generate).stream(dataset, { toExample: () => example, signal }));
      },
    ],
  ])('ends with the reason of an abort: %s', async (_, run) => {
    expect(await abortedAfter(run)).toBe(reason);
  });

  it('leaves no unhandled rejection where one of them fails later', async () => {
    let fail!: (error: Error) => void;
    const generate = () =>
      new Promise<never>((_, reject) => {
        fail = reject;
      });
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    const error = await abortedAfter((signal, asked) => {
      const given: GenerateAnswers = () => {
        asked();
        return generate();
      };
      return evaluatorOf(given).evaluate(dataset, { toExample: () => example, signal });
    });
    expect(error).toBe(reason);
    fail(new Error('too late'));
    await turn();
    await turn();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('asks nobody when it is aborted before', async () => {
    let asked = 0;
    const evaluator = evaluatorOf(async (examples) => {
      asked++;
      return examples.map(() => 'cat');
    });
    const signal = AbortSignal.abort(reason);
    await expect(evaluator.evaluate(dataset, { toExample: () => example, signal })).rejects.toBe(reason);
    expect(asked).toBe(0);
  });

  it('hears a timer and an abort though every answer comes at once', async () => {
    const many = IndexedDataset.from(Array.from({ length: 200_000 }, () => items[0]!));
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 5);
    const work = evaluatorOf(answers, 1).evaluate(many, { toExample: () => example, signal: controller.signal });
    await expect(work).rejects.toBe(reason);
  });

  it('removes its listeners from the signal', async () => {
    const { signal } = new AbortController();
    let listening = 0;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...given: Parameters<typeof add>) => {
      listening++;
      add(...given);
    };
    signal.removeEventListener = (...given: Parameters<typeof remove>) => {
      listening--;
      remove(...given);
    };
    const report = await evaluatorOf(answers).evaluate(dataset, { toExample: () => example, signal });
    await turn();
    expect(report.correct).toBe(3);
    expect(listening).toBe(0);
  });
});
