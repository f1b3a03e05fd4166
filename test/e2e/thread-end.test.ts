import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { EngineError } from '../../src/errors.js';
import { evaluateLoss } from '../../src/train/evaluate-loss.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, makeTinyWorld, type TinyWorld } from './tiny-model.js';

vi.mock('../../src/generated/pool-worker.js', async (original) => {
  const { dyingWorker } = await import('../engine/cpu/dying-worker.js');
  return { default: dyingWorker((await original<{ default: string }>()).default) };
});

/** Trains until a thread dies in a kernel. */
async function train(world: TinyWorld, out: string): Promise<{ error: EngineError; events: TrainingEvent[] }> {
  const adapter = makeAdapter(world.model, 0);
  const trainer = new SftTrainer({
    model: world.model,
    trainDataset: makeDataset(8),
    collator: world.collator,
    config: {
      ...{ outputDir: out, progress: 'none', saveStrategy: 'steps', saveSteps: 100_000, loggingSteps: 1 },
      ...{ perDeviceTrainBatchSize: 2, maxSteps: 2000, learningRate: 1e-3 },
    },
  });
  const run = trainer.train();
  const error = (await run.result.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as EngineError;
  const events: TrainingEvent[] = [];
  const read = async () => {
    for await (const event of run) events.push(event);
  };
  await read().catch(() => undefined);
  adapter.dispose();
  return { error, events };
}

describe('a run whose engine loses a thread', () => {
  let world: TinyWorld;
  beforeAll(async () => {
    process.env.TEST_POOL = 'exit:matmulTiles:400';
    world = await makeTinyWorld({ threads: 2 });
  });
  afterAll(async () => {
    delete process.env.TEST_POOL;
    await world.dispose();
  });

  it('says so, saves its last whole step, and later work is refused', async () => {
    const out = join(world.dir, 'out');
    await rm(out, { recursive: true, force: true });
    const { error, events } = await train(world, out);
    expect(error).toBeInstanceOf(EngineError);
    expect(error.message).toMatch(/a thread of the cpu engine ended/);
    expect(error.hint).toMatch(/resumeFromCheckpoint/);
    const steps = events.filter((event) => event.type === 'log').length;
    const saved = (await readdir(out)).filter((name) => name.startsWith('checkpoint-'));
    expect(steps).toBeGreaterThan(0);
    expect(saved).toEqual([`checkpoint-${steps}`]);
    const batch = await world.collator.collate([await makeDataset(1).get(0)]);
    await expect(evaluateLoss(world.model, batch)).rejects.toThrow(/a thread of the cpu engine ended/);
  });
});
