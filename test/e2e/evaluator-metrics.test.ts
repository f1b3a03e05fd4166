import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import type { EvaluationReport } from '../../src/eval/evaluation-report.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { generateText } from '../../src/model/generate.js';
import { scoreLabels } from '../../src/model/score-labels.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { ANSWERS, makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
beforeAll(async () => {
  world = await makeTinyWorld();
}, 120_000);
afterAll(() => world?.dispose());

describe('an evaluator as `computeMetrics` of a run on the cpu engine', () => {
  it('keeps the step with the best accuracy', async () => {
    const { model, collator, dir, processor } = world;
    const { tokenizer } = processor;
    makeAdapter(model);
    const evaluator = new Evaluator({
      ...{ classNames: ANSWERS, mode: 'scored', batchSize: 6 },
      score: async (examples, names, signal) =>
        scoreLabels(model, tokenizer, await collator.collatePrompts(examples), names, { signal }),
    });
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
    // The other modes, on the same model.
    const answers: (string[] | undefined)[] = [];
    for (const mode of ['constrained', 'free'] as const) {
      const other = new Evaluator({
        ...{ classNames: ANSWERS, mode, batchSize: 4 },
        generate: async (examples, signal, choices) => {
          const prompts = await collator.collatePrompts(examples);
          return generateText(model, tokenizer, prompts, { choices, maxNewTokens: 12, signal });
        },
      });
      const { samples, invalid } = await other.evaluate(validation, { toExample });
      expect(invalid).toBe(samples.filter(({ answer }) => !ANSWERS.includes(answer)).length);
      answers.push(samples.map(({ answer }) => answer));
    }
    expect(ANSWERS).toEqual(expect.arrayContaining(answers[0]!));
    expect(answers[1]).not.toEqual(answers[0]);
  });
});
