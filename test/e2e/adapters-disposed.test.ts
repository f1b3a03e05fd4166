import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TrainingError } from '../../src/errors.js';
import { deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { collectGarbage } from '../collect-garbage.js';
import { makeAdapter, makeDataset, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
beforeAll(async () => {
  world = await makeTinyWorld();
});
afterAll(() => world.dispose());

function train(config: SftConfigInput, more: Partial<SftTrainerOptions> = {}, signal?: AbortSignal) {
  const { model, collator, dir } = world;
  const trainer = new SftTrainer({
    ...{ model, collator, trainDataset: makeDataset(4), evalDataset: makeDataset(2) },
    ...more,
    config: { progress: 'none', outputDir: dir, saveStrategy: 'no', maxSteps: 2, ...config },
  });
  return trainer.train(signal && { signal });
}
const other = (name: string): LoraAdapter =>
  applyLora(world.model, { r: 4 }, { adapterName: name, onWarning: () => undefined });
const settled = (run: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(run).then(
    () => undefined,
    (error: unknown) => error,
  );

/** What losses that nobody fetched take is given back with the functions that would fetch them. */
async function bytesInUse(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return world.engine.memory().bytesInUse;
}

describe('adapters that come and go within a run', () => {
  it('leave nothing in the engine when the run is aborted, at whatever moment', async () => {
    const before = await bytesInUse();
    for (const ticks of [0, 1, 4, 8, 12, 16, 20, 24, 28, 32, 40]) {
      const adapter = makeAdapter(world.model);
      const controller = new AbortController();
      const refusals: unknown[] = [];
      let left = ticks;
      const tick = (): void => {
        if (left-- > 0) return void setImmediate(tick);
        try {
          adapter.dispose();
        } catch (error) {
          refusals.push(error);
        }
        controller.abort();
      };
      setImmediate(tick);
      await settled(train({}, {}, controller.signal));
      left = 0;
      adapter.dispose();
      // It is the run's as long as that lasts.
      for (const error of refusals) expect(error).toBeInstanceOf(TrainingError);
    }
    expect(await bytesInUse()).toBe(before);
  });

  it('leave nothing where others come and go while one is trained', async () => {
    const before = await bytesInUse();
    const adapter = makeAdapter(world.model);
    const within: number[] = [];
    let count = 0;
    const computeMetrics = async () => {
      for (let i = 0; i < 3; i++) {
        const name = `other ${count++}`;
        other(name);
        expect(() => setAdapter(world.model, name)).toThrow(/is being trained/);
        deleteAdapter(world.model, name);
      }
      within.push(world.engine.memory().bytesInUse);
      return { count };
    };
    expect(await settled(train({ evalStrategy: 'steps', evalSteps: 1, maxSteps: 4 }, { computeMetrics }))).toBe(
      undefined,
    );
    expect(new Set(within).size).toBe(1);
    expect([within.length, count]).toEqual([4, 12]);
    adapter.dispose();
    expect(await bytesInUse()).toBe(before);
  });
});

it('an adapter that is made while a window is computed outlives the failure of the window', async () => {
  const { engine, model } = world;
  const before = await bytesInUse();
  const mark = engine.mark();
  const adapter = makeAdapter(model);
  const values = await adapter.readValues();
  const state = engine.createOptimizerState(adapter.parameters, 'adamw');
  engine.releaseSince(mark);
  expect(await adapter.readValues()).toEqual(values);
  await engine.readOptimizerState(adapter.parameters, state);
  engine.releaseOptimizerState(adapter.parameters, state);
  adapter.dispose();
  expect(await bytesInUse()).toBe(before);
});
