import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { DistributedError } from '../../src/errors.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { dropping } from './dropping.js';
import { ofType, timeless, trainRanks } from './linear-ranks.js';
import { withLoopback } from './loopback-sum.js';
import { MemoryWorld } from './memory-group.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ranks-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('evaluation on several ranks', () => {
  it('gives the loss of one process, to the bit, whatever the lengths', async () => {
    for (const [length, perDeviceEvalBatchSize] of [
      [1, 4],
      [7, 1],
      [50, 1],
      [61, 2],
    ] as const) {
      const evalDataset = linearDataset(length, 5);
      const collator = dropping(linearCollator, (id) => Number(id) % 5 === 3);
      const config = { outputDir: dir, perDeviceEvalBatchSize };
      const [a, b, c] = [
        linearModel({ initialB: 0.3 }),
        linearModel({ initialB: 0.3 }),
        linearModel({ initialB: 0.3 }),
      ];
      const one = await linearTrainer(a, config, { evalDataset, collator }).evaluate();
      const many = await Promise.all(
        new MemoryWorld(2).groups.map((processGroup, rank) => {
          const model = [b, c][rank]!;
          withLoopback(model.engine, model.gradients);
          return linearTrainer(model, config, { evalDataset, collator, processGroup }).evaluate();
        }),
      );
      expect(many.map(({ evalLoss }) => evalLoss)).toEqual([one.evalLoss, one.evalLoss]);
      expect(many[0]!.evalRuntime).toBe(many[1]!.evalRuntime);
    }
  });

  it('lets rank 0 decide the best step, whose parameters all of them end with', async () => {
    const evalDataset = linearDataset(9, 3);
    const config: SftConfigInput = {
      ...{ outputDir: join(dir, 'many'), maxSteps: 6 },
      ...({ evalStrategy: 'steps', evalSteps: 1, saveStrategy: 'best' } as const),
      ...{ metricForBestModel: 'odd', greaterIsBetter: true, loadBestModelAtEnd: true, gradientAccumulationSteps: 1 },
      ...{ saveTotalLimit: 1 },
    };
    const runs = await Promise.all(
      trainRanks(3, config, {
        options: (rank) => {
          let count = 0;
          const values = [1, 5, 2, Number.NaN, 3, 4];
          return { evalDataset, computeMetrics: () => ({ odd: rank === 0 ? values[count++]! : 100 * count++ }) };
        },
      }),
    );
    for (const { error, events, output, model } of runs) {
      expect(error).toBeUndefined();
      expect(output!.best).toMatchObject({ step: 2, value: 5 });
      expect(ofType(events, 'loadBest')).toHaveLength(1);
      expect([...model.values]).toEqual([...runs[0]!.model.values]);
      expect(timeless(events)).toEqual(timeless(runs[0]!.events));
    }
    expect(ofType(runs[1]!.events, 'save').map(({ step }) => step)).toEqual([1, 2]);
  });
});

const classNames = ['cat', 'dog', 'owl'];
const items = (count: number) =>
  IndexedDataset.from(Array.from({ length: count }, (_, i) => ({ label: i % 3, text: `item ${i}` })));
const toExample = (item: { readonly text: string }): SftExample => ({
  id: item.text,
  messages: [
    { role: 'user', content: item.text },
    { role: 'assistant', content: 'x' },
  ],
});
const numberOf = ({ messages }: SftExample) => Number((messages[0]!.content as string).slice(5));

describe('an evaluator on several ranks', () => {
  it('asks for each sample once, and gives all answers in their order on all ranks', async () => {
    for (const worldSize of [1, 2, 3]) {
      for (const count of [1, 5, 29, 64]) {
        const asked: number[] = [];
        const ask = (processGroup?: MemoryWorld['groups'][number]) => {
          const evaluator = new Evaluator({
            classNames,
            mode: 'scored',
            batchSize: 2,
            ...(processGroup && { processGroup }),
            score: async (examples) => {
              if (processGroup) asked.push(...examples.map(numberOf));
              return examples.map((example) => {
                const n = numberOf(example);
                return n % 4 === 0 ? [-1e3, -0.1, -3 - n / 7] : [-0.3, -1 / (n + 1), -2];
              });
            },
          });
          return evaluator.evaluate(items(count), { toExample, intervals: false });
        };
        const { seconds: _, ...alone } = (await ask()) as { seconds?: number };
        const reports = await Promise.all(new MemoryWorld(worldSize).groups.map(ask));
        for (const report of reports) {
          const { seconds: __, ...others } = report as { seconds?: number };
          expect(JSON.stringify({ ...others, samplesPerSecond: 0 })).toBe(
            JSON.stringify({ ...alone, samplesPerSecond: 0 }),
          );
        }
        expect(asked.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      }
    }
  });

  it('tells all ranks what one of them threw', async () => {
    const ends = await Promise.allSettled(
      new MemoryWorld(2).groups.map((processGroup, rank) => {
        const generate = async (examples: readonly SftExample[]) => {
          if (rank === 1) throw new TypeError('no answer');
          return examples.map(() => 'cat');
        };
        const evaluator = new Evaluator({ classNames, generate, batchSize: 1, processGroup });
        return evaluator.evaluate(items(40), { toExample });
      }),
    );
    expect((ends[1] as PromiseRejectedResult).reason).toBeInstanceOf(TypeError);
    const { reason } = ends[0] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(DistributedError);
    expect(reason.message).toMatch('rank 1 has failed: no answer');
  });
});
