/** A run on the embedded engine: what its reader does, and what others do to its model, engine and adapter meanwhile. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { readAdapter } from '../../src/lora/read-adapter.js';
import { generateText } from '../../src/model/generate.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let dir: string;
let adapter: LoraAdapter;
const silent = { onWarning: () => undefined };

beforeAll(async () => {
  world = await makeTinyWorld();
}, 120_000);
afterAll(() => world.dispose());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'run-owner-'));
  adapter = makeAdapter(world.model);
});
afterEach(async () => {
  adapter.dispose();
  await rm(dir, { recursive: true, force: true });
});

function trainer(name: string, model: VisionLanguageModel = world.model, seed = 42, maxSteps = 4): SftTrainer {
  return new SftTrainer({
    model,
    collator: world.collator,
    trainDataset: makeDataset(8),
    evalDataset: makeDataset(2, 9),
    config: {
      outputDir: join(dir, name),
      progress: 'none',
      perDeviceTrainBatchSize: 1,
      gradientAccumulationSteps: 2,
      learningRate: 0.01,
      maxSteps,
      seed,
      saveStrategy: 'no',
      loggingSteps: 1,
    },
  });
}

const lossesOf = async (run: ReturnType<SftTrainer['train']>) => {
  const { logHistory } = await run;
  return logHistory.map((entry) => ('loss' in entry ? entry.loss : Number.NaN));
};

describe('a run on the embedded engine', () => {
  it('is not disturbed by what its reader does, and shows the parameters of each event', async () => {
    const start = await world.engine.readParameters(adapter.parameters);
    const alone = await lossesOf(trainer('alone').train());
    const values = await adapter.readValues();
    world.engine.writeParameters(adapter.parameters, start);
    const shared = trainer('read');
    const saved = new Map<number, Float32Array>();
    const losses: number[] = [];
    const prompts = await world.collator.collatePrompts(makeExamples(1));
    for await (const event of shared.train()) {
      if (event.type === 'log') losses.push(event.loss);
      if (event.type !== 'step') continue;
      const before = await world.engine.readParameters(adapter.parameters);
      await saveAdapter(adapter, join(dir, `step-${event.step}`), silent);
      const { evalLoss } = await shared.evaluate();
      await generateText(world.model, world.processor.tokenizer, prompts, { maxNewTokens: 2 });
      const base = await adapter.withDisabled(async () => (await shared.evaluate()).evalLoss);
      expect(base).not.toBe(evalLoss);
      expect((await shared.evaluate()).evalLoss).toBe(evalLoss);
      // What was computed on the way is computed again where a reader takes it away.
      if (event.step === 2) world.engine.zeroGradients(adapter.parameters);
      expect(await world.engine.readParameters(adapter.parameters)).toEqual(before);
      saved.set(event.step, before);
    }
    expect(losses).toEqual(alone);
    expect(await adapter.readValues()).toEqual(values);
    for (const [step, before] of saved) {
      const { values: onDisk } = await readAdapter(
        join(dir, `step-${step}`),
        world.model.linearModules.map(({ name, weight }) => ({ name, shape: weight.shape })),
      );
      const flat = Float32Array.from(adapter.parameters.parameters.flatMap(({ name }) => [...onDisk.get(name)!]));
      expect(flat).toEqual(before);
    }
  });

  it('refuses what would end or change it, and goes on as if nothing had been', async () => {
    const start = await world.engine.readParameters(adapter.parameters);
    const alone = await lossesOf(trainer('alone').train());
    world.engine.writeParameters(adapter.parameters, start);
    const other = applyLora(world.model, { r: 2, targetModules: ['q_proj'] }, { adapterName: 'other', ...silent });
    const batch = await world.collator.collate(makeExamples(1));
    const losses: number[] = [];
    for await (const event of trainer('first').train()) {
      if (event.type === 'log') losses.push(event.loss);
      if (event.type !== 'step') continue;
      const refusal = (what: string) => new RegExp(`^${what}.*: a run in ".*first", ${event.step} of 4 steps done`);
      expect(() => deleteAdapter(world.model, adapter.name)).toThrow(
        refusal('dispose: the adapter "default" is being'),
      );
      expect(() => adapter.dispose()).toThrow(refusal('dispose: the adapter "default"'));
      expect(() => setAdapter(world.model, 'other')).toThrow(refusal('setAdapter: the adapter "default"'));
      expect(setAdapter(world.model, adapter.name)).toBe(adapter);
      expect(() => world.model.dispose()).toThrow(refusal('model.dispose: its adapter'));
      await adapter.withDisabled(() => expect(() => world.model.dispose()).toThrow(refusal('model.dispose')));
      await expect(world.engine.dispose()).rejects.toThrow(refusal('engine.dispose'));
      expect(() => world.engine.releaseParameters(adapter.parameters)).toThrow(refusal('releaseParameters'));
      const options = { labelCount: 1, dropoutSeeds: [1], gradientCheckpointing: false };
      await expect(accumulateGradients(world.model, [batch], options)).rejects.toThrow(refusal('accumulateGradients'));
      await expect(trainer('second').train()).rejects.toThrow(refusal('train: the model is training already'));
      expect([adapter.isActive, adapter.isDisposed, world.model.isDisposed]).toEqual([true, false, false]);
    }
    expect(losses).toEqual(alone);
    other.dispose();
  });

  it('goes as it would alone beside one of another model on the same engine, also where that one is stopped', async () => {
    const model = await loadModel(world.checkpoint, { engine: world.engine });
    const second = makeAdapter(model, 0.1);
    try {
      const sets = [adapter.parameters, second.parameters];
      const starts = await Promise.all(sets.map((set) => world.engine.readParameters(set)));
      const alone = [await lossesOf(trainer('a').train()), await lossesOf(trainer('b', model, 7).train())];
      const reset = () => sets.forEach((set, i) => void world.engine.writeParameters(set, starts[i]!));
      reset();
      expect(await Promise.all([lossesOf(trainer('c').train()), lossesOf(trainer('d', model, 7).train())])).toEqual(
        alone,
      );
      reset();
      const controller = new AbortController();
      const stopped = trainer('e', model, 7).train({ signal: controller.signal });
      stopped.result.catch(() => {});
      const kept = trainer('f');
      const losses: number[] = [];
      for await (const event of kept.train()) {
        if (event.type === 'log') losses.push(event.loss);
        if (event.type === 'step' && event.step === 1) setImmediate(() => controller.abort(new Error('enough')));
      }
      await expect(stopped).rejects.toThrow('enough');
      expect(losses).toEqual(alone[0]);
    } finally {
      second.dispose();
      model.dispose();
    }
  });
});
