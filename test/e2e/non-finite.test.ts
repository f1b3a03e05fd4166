import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Collator } from '../../src/data/data-loader.js';
import { TrainingError } from '../../src/errors.js';
import type { TrainOutput } from '../../src/train/events.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
beforeAll(async () => {
  world = await makeTinyWorld();
});
afterAll(() => world.dispose());

type Optimizer = 'adamw' | 'adamw_8bit';

async function train(collator: Collator, optim: Optimizer, onNonFiniteLoss: 'stop' | 'skip') {
  const adapter = makeAdapter(world.model, 0.1);
  const trainer = new SftTrainer({
    model: world.model,
    trainDataset: makeDataset(12),
    collator,
    config: {
      ...{ outputDir: join(world.dir, 'out'), progress: 'none', saveStrategy: 'no', dataloaderPrefetch: 0 },
      ...{ perDeviceTrainBatchSize: 2, numTrainEpochs: 1, learningRate: 0.01, loggingSteps: 1, optim, onNonFiniteLoss },
    },
  });
  try {
    const output = await trainer.train();
    return { output, values: await world.engine.readParameters(adapter.parameters) };
  } finally {
    adapter.dispose();
  }
}

type Collate = Collator['collate'];

/** Changes the third micro-batch of a run. */
function third(change: (collate: Collate, ...given: Parameters<Collate>) => ReturnType<Collate>): Collator {
  let batches = 0;
  const collate: Collate = (examples, options) => world.collator.collate(examples, options);
  return { collate: (...given) => (++batches === 3 ? change(collate, ...given) : collate(...given)) };
}

/** A pixel that is no number: it reaches every token after the image. */
const poisoned = () =>
  third(async (collate, examples, options) => {
    const batch = await collate(examples, options);
    batch.pixelValues!.data[0] = Number.NaN;
    return batch;
  });
/** No sample at all: the step counts and nothing is learned. */
const empty = () => third((collate, _, options) => collate([], options));

const losses = ({ logHistory }: TrainOutput) => {
  return logHistory.map((entry) => ('loss' in entry ? [entry.step, entry.loss, entry.gradNorm] : []));
};

describe('a loss that is NaN on the embedded engine', () => {
  it.each(['adamw', 'adamw_8bit'] as const)('leaves no trace when its step is left out (%s)', async (optim) => {
    const skipped = await train(poisoned(), optim, 'skip');
    const reference = await train(empty(), optim, 'stop');
    expect(skipped.output.skippedSteps).toBe(1);
    expect(losses(skipped.output).map(([step]) => step)).toEqual([1, 2, 4, 5, 6]);
    expect(losses(skipped.output)).toEqual(losses(reference.output));
    expect(skipped.values).toEqual(reference.values);
    expect(skipped.values.every(Number.isFinite)).toBe(true);
  });

  it('stops the run otherwise, and names its samples', async () => {
    const error = await train(poisoned(), 'adamw', 'stop').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TrainingError);
    expect((error as TrainingError).message).toMatch(/^step 3: the loss is NaN; samples: sample \d+, sample \d+/);
  });
});
