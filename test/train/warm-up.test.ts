import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CudaEngineOptions } from '../../src/engine/cuda/cuda-engine.js';
import { OutOfMemoryError } from '../../src/errors.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { standInEngine, standInModel } from '../engine/cuda/stand-in.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

const GIB = 2 ** 30;
/** A 3B model on a card that keeps the books; what happens, in order. */
async function setUp(bytes: number, options: CudaEngineOptions = {}) {
  const { engine } = standInEngine(bytes, { tokensPerPass: 5000, ...options });
  const model = await standInModel(engine, '3B');
  const adapter = applyLora(model, { r: 1, targetModules: ['q_proj'] });
  const events: string[] = [];
  const zero = engine.zeroGradients.bind(engine);
  Object.assign(engine, {
    zeroGradients: (set: typeof adapter.parameters) => {
      events.push('gradients are zero');
      zero(set);
    },
    *prepareLargerPasses(growth: number) {
      events.push(`prepares ${growth}`);
      yield;
    },
  });
  const run = async (): Promise<void> => {
    const late = await accumulateGradients(model, [model.sampleBatch()], {
      labelCount: 32,
      dropoutSeeds: [1],
      gradientCheckpointing: 'auto',
      onPlan: () => events.push('plans'),
    });
    await late();
  };
  return { engine, model, events, run };
}

describe('what runs before the first window', () => {
  it('is a small pass, after which the engine prepares and gradients are zero', async () => {
    const { events, run } = await setUp(64 * GIB);
    await run();
    expect(events).toEqual(['prepares 50', 'gradients are zero', 'plans']);
    await run();
    expect(events.slice(3)).toEqual(['plans']);
  });

  it('holds no memory afterwards that a window does not', async () => {
    const [prepared, other] = [await setUp(64 * GIB), await setUp(64 * GIB)];
    Object.assign(other.engine, { prepareLargerPasses: undefined });
    for (const { run } of [prepared, other]) await run();
    expect(prepared.engine.memory().bytesInUse).toBe(other.engine.memory().bytesInUse);
  });

  it('is left out where there is no memory for it', async () => {
    const { engine, model, events, run } = await setUp(64 * GIB);
    const steps = model.lossSteps.bind(model);
    const { bytesInUse } = engine.memory();
    model.lossSteps = function* () {
      model.lossSteps = steps;
      engine.zeros([1000, 1000]);
      yield 0;
      throw new OutOfMemoryError('no room');
    };
    const zero = engine.zeroGradients.bind(engine);
    engine.zeroGradients = (set) => {
      expect(engine.memory().bytesInUse).toBe(bytesInUse);
      zero(set);
    };
    await run();
    expect(events).toEqual(['gradients are zero', 'plans']);
  });

  it('is left out where layers are streamed', async () => {
    const { engine, events, run } = await setUp(64 * GIB, { offload: { layers: 2 } });
    expect(engine.storage.streamedBytes).toBeGreaterThan(0);
    await run();
    expect(events).toEqual(['plans']);
  });
});

describe('a run on an engine that prepares', () => {
  const train = async (fails = false) => {
    const model = linearModel();
    const sample = await linearCollator.collate([await linearDataset(1).get(0)]);
    let failures = fails ? 2 : 0;
    model.sampleBatch = () => ({ ...sample, sampleIds: ['made up'] });
    Object.assign(model.engine, {
      // biome-ignore lint/correctness/useYield: it may have nothing to do
      *prepareLargerPasses() {
        if (failures-- > 0) throw new TypeError('broken');
      },
    });
    const outputDir = await mkdtemp(join(tmpdir(), 'warm-up-'));
    try {
      await linearTrainer(model, { outputDir, maxSteps: 3, saveStrategy: 'no' }).train();
    } finally {
      await rm(outputDir, { recursive: true });
    }
    return model;
  };

  it('runs the made-up samples before all others, once', async () => {
    const model = await train();
    expect(model.seen[0]).toEqual(['made up']);
    expect(model.seen.filter(([id]) => id === 'made up')).toHaveLength(1);
  });

  it('learns the same', async () => {
    const other = linearModel();
    const outputDir = await mkdtemp(join(tmpdir(), 'warm-up-'));
    await linearTrainer(other, { outputDir, maxSteps: 3, saveStrategy: 'no' }).train();
    await rm(outputDir, { recursive: true });
    expect((await train()).values).toEqual(other.values);
  });

  it('fails with its error where preparing fails again in the first step', async () => {
    await expect(train(true)).rejects.toThrow('broken');
  });
});
