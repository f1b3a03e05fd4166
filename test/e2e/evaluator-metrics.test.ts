import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import type { EvaluationReport } from '../../src/eval/evaluation-report.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { ANSWERS, makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
beforeAll(async () => {
  world = await makeTinyWorld();
}, 120_000);
afterAll(() => world?.dispose());

describe('an evaluator as `computeMetrics` of a run on the cpu engine', () => {
  it('keeps the step with the best accuracy', async () => {
    const { model, collator, dir } = world;
    makeAdapter(model);
    const evaluator = new Evaluator({
      ...{ classNames: ANSWERS, mode: 'scored', batchSize: 6 },
      score: (prompts, names) =>
        Promise.all(prompts.map((prompt) => Promise.all(names.map((name) => logOf(prompt, name))))),
    });
    /** Of an answer, the sum over its tokens. */
    const logOf = async ({ messages }: SftExample, name: string): Promise<number> => {
      const answer = { role: 'assistant', content: [{ type: 'text', text: name }] } as const;
      return -(await evaluateLoss(model, await collator.collate([{ messages: [...messages, answer] }]))).lossSum;
    };
    // Of the three classes each has two images.
    const images = makeExamples(6, 11).map((example, i) => ({ label: i % 3, example }));
    const validation = IndexedDataset.from(images);
    const toExample = ({ example }: (typeof images)[number]): SftExample => example;
    const reports: EvaluationReport[] = [];
    const trainer = new SftTrainer({
      ...{ model, collator, trainDataset: makeDataset(6), evalDataset: validation.map(toExample) },
      computeMetrics: evaluator.asMetrics(validation, { toExample, onReport: (report) => void reports.push(report) }),
      config: {
        ...{
          outputDir: join(dir, 'run'),
          progress: 'none',
          maxSteps: 4,
          perDeviceTrainBatchSize: 2,
          learningRate: 0.05,
        },
        ...{ evalStrategy: 'steps', evalSteps: 1, saveStrategy: 'steps', saveSteps: 1 },
        ...{ metricForBestModel: 'accuracy', loadBestModelAtEnd: true },
      },
    });
    const { best, logHistory } = await trainer.train();
    const accuracies = reports.map((report) => report.accuracy);
    const highest = Math.max(...accuracies);
    const step = accuracies.indexOf(highest) + 1;
    expect(best).toEqual({
      metric: 'accuracy',
      value: highest,
      step,
      checkpoint: join(dir, 'run', `checkpoint-${step}`),
    });
    expect(Math.min(...accuracies)).toBeLessThan(highest);
    // The loss would have chosen another step.
    const losses = logHistory.flatMap((entry) => ('evalLoss' in entry ? [entry.evalLoss] : []));
    expect(losses).toHaveLength(4);
    expect(losses.indexOf(Math.min(...losses)) + 1).not.toBe(step);
    const kept = await evaluator.evaluate(validation, { toExample });
    expect(kept.samples).toEqual(reports[step - 1]!.samples);
    expect(kept.samples).not.toEqual(reports.at(-1)!.samples);
  });
});
