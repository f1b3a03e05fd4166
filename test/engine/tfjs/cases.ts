/** What the `tfjs` engine does beyond the suite that every engine passes; the oracle is the `cpu` engine. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../../src/data/types.js';
import { writeTinyCheckpoint } from '../../../src/demo/tiny-checkpoint.js';
import { type CpuEngine, createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../../src/engine/engine.js';
import type { Operation } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { createTfjsEngine, type TfjsEngine } from '../../../src/engine/tfjs/tfjs-engine.js';
import { EngineError } from '../../../src/errors.js';
import { applyLora } from '../../../src/lora/apply-lora.js';
import { loadModel } from '../../../src/model/load.js';
import { countLabels } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { expectSame, relativeError } from '../conformance/conformance.js';
import { Laboratory } from '../conformance/laboratory.js';
import type { TfjsInstallation } from './installation.js';

/** Outputs, then gradients of the inputs, of one operation on random inputs; everything is freed. */
async function resultsOf<A>(
  lab: Laboratory,
  operation: Operation<A>,
  shapes: readonly (readonly number[])[],
  attributes: A,
): Promise<Float32Array[]> {
  const { engine } = lab;
  const inputs: Tensor[] = [];
  for (const shape of shapes) inputs.push((await lab.tensor(shape)).tensor);
  const { outputs, saved } = operation.forward(inputs, attributes, true);
  for (const tensor of saved) engine.retain(tensor);
  const gradients: Tensor[] = [];
  for (const output of outputs) gradients.push((await lab.tensor(output.shape)).tensor);
  const needs = inputs.map(() => true);
  const back = operation.backward(saved, gradients, attributes, needs);
  const numbers: Float32Array[] = [];
  for (const tensor of [...outputs, ...back]) {
    numbers.push(await engine.read(tensor!));
    engine.release(tensor!);
  }
  for (const tensor of saved) engine.release(tensor);
  return numbers;
}

async function attentionOn(engine: Engine): Promise<Float32Array[]> {
  const lab = new Laboratory(engine, 3);
  // The second and the third segment share key rows, the fourth sees none, the fifth has more queries than keys.
  const segments = {
    queryStarts: Int32Array.of(0, 30, 50, 61, 63, 70),
    keyStarts: Int32Array.of(2, 30, 41, 0, 66),
    keyLengths: Int32Array.of(28, 20, 25, 0, 4),
  };
  const attributes = { heads: 4, kvHeads: 2, headDim: 8, scale: 0.3, causal: true, segments };
  const shapes = [
    [70, 32],
    [72, 16],
    [72, 16],
  ];
  const causal = await resultsOf(lab, engine.operations.attention, shapes, attributes);
  const full = await resultsOf(lab, engine.operations.attention, shapes, { ...attributes, causal: false });
  lab.clear();
  return [...causal, ...full];
}

async function crossEntropyOn(engine: Engine): Promise<Float32Array[]> {
  const lab = new Laboratory(engine, 4);
  const { weight } = await lab.weight('head', [50, 12], 'bf16');
  const targets = Int32Array.from({ length: 33 }, (_, i) => (i * 7) % 50);
  const attributes = { head: weight, targets, scale: 0.1 };
  const numbers = await resultsOf(lab, engine.operations.crossEntropy, [[33, 12]], attributes);
  lab.clear();
  return numbers;
}

/** One layer with dropout, twice backward, an optimizer step on one of two pairs; gives all the numbers it leaves. */
async function stepOn(engine: Engine, kind: 'adamw' | 'adamw8bit'): Promise<Float32Array[]> {
  const lab = new Laboratory(engine, 5);
  const { weight } = await lab.weight('w', [90, 70], 'bf16', 0.1);
  const { set, byName } = lab.parameters([
    { name: 'a', shape: [8, 70], deviation: 0.1 },
    { name: 'b', shape: [90, 8], deviation: 0.1 },
    { name: 'idle', shape: [3, 5], deviation: 1 },
    { name: 'wide', shape: [50, 100], deviation: 1 },
  ]);
  const state = engine.createOptimizerState(set, kind);
  const { tensor: x } = await lab.tensor([9, 70]);
  const numbers: Float32Array[] = [];
  for (const seed of [1, 2]) {
    engine.zeroGradients(set);
    const tape = new Tape(engine);
    const rowKeys = new Laboratory(engine, seed).rowKeys(9);
    const lora = { a: byName('a'), b: byName('b'), scale: 2, dropout: 0.3, seed, rowKeys };
    const [hidden] = tape.apply('linear', [x], { parts: [{ weight, lora }] });
    const { weight: head } = await lab.weight('head', [11, 90], 'f32', 0.1);
    const targets = Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 10);
    tape.backward(tape.apply('crossEntropy', [hidden!], { head, targets, scale: 1 })[0]!);
    tape.dispose();
    const wide = engine.fromArray(new Laboratory(engine, seed).numbers(5000), [50, 100]);
    engine.addInPlace(byName('wide').grad, wide);
    engine.release(wide);
    const options = { kind, learningRate: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
    numbers.push(Float32Array.of(await engine.optimizerStep(set, state, options)()));
    numbers.push(await engine.readParameters(set), await engine.readGradients(set));
    numbers.push(await engine.read(byName('b').value));
  }
  const arrays = await engine.readOptimizerState(set, state);
  for (const name of Object.keys(arrays).filter((name) => arrays[name] instanceof Float32Array)) {
    numbers.push(arrays[name] as Float32Array);
  }
  engine.writeOptimizerState(set, state, arrays);
  expect(() => engine.writeOptimizerState(set, state, {})).toThrow(EngineError);
  engine.releaseOptimizerState(set, state);
  lab.clear();
  return numbers;
}

/** Losses and the last gradient norm of three steps of a model with a picture; afterwards only the model is held. */
async function trainTiny(engine: Engine, dir: string, afterStep: () => void): Promise<number[]> {
  const model = await loadModel(dir, { engine });
  const adapter = applyLora(model, { r: 4, alpha: 8, dropout: 0.1, targetModules: ['q_proj', 'down_proj'] });
  const ids = [1, 3, 10, 10, 13, 40, 41, 4, 42, 2, 1, 3, 43, 4, 44, 2, 0, 0, 0, 0];
  const batch: VlmBatch = {
    inputIds: { data: Int32Array.from(ids), shape: [2, 10] },
    attentionMask: { data: Int32Array.from(ids, (_, i) => (i < 16 ? 1 : 0)), shape: [2, 10] },
    labels: { data: Int32Array.from(ids, (id) => (id > 42 || id === 2 ? id : -100)), shape: [2, 10] },
    pixelValues: { data: Float32Array.from({ length: 3 * 28 * 56 }, (_, i) => Math.sin(i)), shape: [1, 3, 28, 56] },
    imageSizes: { data: Int32Array.of(28, 56), shape: [1, 2] },
  };
  const state = engine.createOptimizerState(model.trainable, 'adamw');
  const numbers: number[] = [];
  for (const step of [1, 2, 3]) {
    const loss = await accumulateGradients(model, [batch], {
      labelCount: countLabels(batch),
      dropoutSeeds: [step],
      gradientCheckpointing: step === 2,
    });
    const options = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
    const norm = engine.optimizerStep(model.trainable, state, { ...options, kind: 'adamw' });
    engine.zeroGradients(model.trainable);
    numbers.push(await loss(), await norm());
    afterStep();
  }
  engine.releaseOptimizerState(model.trainable, state);
  adapter.dispose();
  model.dispose();
  return numbers;
}

export function describeTfjs(installation: TfjsInstallation, backend: string): void {
  describe(`tfjs engine on ${backend}`, () => {
    const { tf } = installation;
    let engine: TfjsEngine;
    let cpu: CpuEngine;
    beforeAll(async () => {
      engine = await installation.createEngine(backend);
      cpu = createCpuEngine({ threads: 1 });
    });
    afterAll(async () => {
      await engine.dispose();
      await cpu.dispose();
    });

    it.each([1, 100, 1000, 1 << 24])('gives the same in blocks of %i numbers', async (blockElements) => {
      const before = tf.memory().numTensors;
      const blocked = await createTfjsEngine({ tf, blockElements });
      for (const run of [attentionOn, crossEntropyOn]) {
        const expected = await run(cpu);
        for (const [i, numbers] of (await run(blocked)).entries()) {
          expect(relativeError(numbers, expected[i]!), `${run.name}: result ${i}`).toBeLessThan(2e-6);
        }
      }
      expect(tf.memory().numTensors).toBe(before);
    });

    it.each(['adamw', 'adamw8bit'] as const)(
      'takes the steps of the cpu engine with %s and frees all',
      async (kind) => {
        const before = tf.memory().numTensors;
        const [own, expected] = [await stepOn(engine, kind), await stepOn(cpu, kind)];
        expect(own.length).toBe(expected.length);
        for (const [i, numbers] of own.entries()) {
          // A gradient's last bits may move an 8-bit moment to the next code.
          const limit = kind === 'adamw8bit' && i > 3 ? 1e-3 : 1e-5;
          expect(relativeError(numbers, expected[i]!), `array ${i}`).toBeLessThan(limit);
        }
        expect(tf.memory().numTensors).toBe(before);
      },
    );

    it('trains a model as the cpu engine does, and holds no more tensors after a step than before it', async () => {
      const dir = await mkdtemp(join(tmpdir(), 'tfjs-'));
      try {
        await writeTinyCheckpoint({ outputDir: dir, seed: 7, corpus: ['a picture of a bone', 'spiral'] });
        const before = tf.memory().numTensors;
        const counts: number[] = [];
        const own = await trainTiny(engine, dir, () => counts.push(tf.memory().numTensors));
        expect(relativeError(own, await trainTiny(cpu, dir, () => {}))).toBeLessThan(1e-5);
        expect(counts[0]).toBeGreaterThan(before);
        expect(counts).toEqual([counts[0], counts[0], counts[0]]);
        expect(tf.memory().numTensors).toBe(before);
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    });

    it('drops what the cpu engine drops', async () => {
      const masks: Float32Array[] = [];
      for (const one of [engine, cpu]) {
        const lab = new Laboratory(one, 6);
        const { weight } = await lab.weight('zero', [40, 40], 'f32', 0);
        const eye = Float32Array.from({ length: 1600 }, (_, i) => (i % 41 === 0 ? 1 : 0));
        const set = one.createParameters(['a', 'b'].map((name) => ({ name, shape: [40, 40], initial: eye })));
        const [a, b] = set.parameters as [(typeof set.parameters)[0], (typeof set.parameters)[0]];
        const { tensor } = await lab.tensor([60, 40], new Float32Array(2400).fill(1));
        const lora = { a, b, scale: 1, dropout: 0.4, seed: 0xfedcba98, rowKeys: lab.rowKeys(60) };
        const parts = [{ weight, lora }];
        const { outputs } = one.operations.linear.forward([tensor], { parts }, false);
        masks.push(await one.read(outputs[0]!));
        one.release(outputs[0]!);
        one.releaseParameters(set);
        lab.clear();
      }
      expectSame(masks[0]!, masks[1]!);
      expect(masks[0]!.filter((value) => value === 0).length / 2400).toBeCloseTo(0.4, 1);
    });

    it('takes empty inputs', async () => {
      const lab = new Laboratory(engine, 1);
      const { weight } = await lab.weight('w', [3, 4], 'bf16');
      const { tensor } = await lab.tensor([5, 4]);
      const rows = new Int32Array(0);
      const { outputs, saved } = engine.operations.gatherRows.forward([tensor], { rows }, true);
      for (const one of saved) engine.retain(one);
      expect(outputs[0]!.shape).toEqual([0, 4]);
      const [back] = engine.operations.gatherRows.backward(saved, outputs, { rows }, [true]);
      expect(await engine.read(back!)).toEqual(new Float32Array(20));
      const attributes = { head: weight, targets: rows, scale: 1 };
      const loss = engine.operations.crossEntropy.forward(outputs, attributes, true);
      expect(await engine.read(loss.outputs[0]!)).toEqual(Float32Array.of(0));
      for (const one of [...outputs, ...saved, back!, ...loss.outputs, ...loss.saved]) engine.release(one);
      lab.clear();
    });

    it('refuses a weight that does not fit, before it is read', async () => {
      const small = await createTfjsEngine({ tf, memoryBudget: 1000 });
      const read = () => Promise.reject(new Error('it was read'));
      const source = { name: 'w', shape: [20, 20], dtype: 'bf16', byteLength: 800, read } as const;
      await expect(small.loadWeight(source)).rejects.toThrow(/the weight w \(20 × 20 values of 4 bytes\) needs/);
      await expect(small.loadWeight({ ...source, shape: [2, 200] })).rejects.toThrow(EngineError);
      await expect(small.loadWeight({ ...source, shape: [2, 20] })).rejects.toThrow(/w has 800 bytes/);
      expect(() => small.fromArray(new Float32Array(300), [300])).toThrow(/more than/);
      const held = small.fromArray(new Float32Array(200), [20, 10]);
      expect(() => small.operations.add.forward([held, held], {}, false)).toThrow(EngineError);
      expect(small.memory().bytesInUse).toBe(800);
      await small.dispose();
      expect(small.memory().bytesInUse).toBe(0);
    });

    it('keeps to its budget when weights are loaded at the same time', async () => {
      const small = await createTfjsEngine({ tf, memoryBudget: 1000 });
      const source = { name: 'w', shape: [10, 10], dtype: 'f32', byteLength: 400, read: async () => {} } as const;
      const loads = await Promise.allSettled([1, 2, 3].map(() => small.loadWeight(source)));
      expect(loads.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
      expect(small.memory().bytesInUse).toBe(800);
      await small.dispose();
    });

    it('keeps its own copy of what it is given, and gives copies', async () => {
      const data = Float32Array.of(1, 2);
      const tensor = engine.fromArray(data, [1, 2]);
      data.fill(9);
      const numbers = await engine.read(tensor);
      expect(numbers).toEqual(Float32Array.of(1, 2));
      numbers.fill(9);
      expect(await engine.read(tensor)).toEqual(Float32Array.of(1, 2));
      engine.release(tensor);
    });

    it('names the operation that uses a freed or misshapen tensor', async () => {
      const before = tf.memory().numTensors;
      const x = engine.zeros([2, 3]);
      const y = engine.zeros([3, 2]);
      const { operations } = engine;
      expect(() => operations.add.forward([x, y], {}, false)).toThrow('add: b has shape [3, 2], expected [2, 3]');
      const twice = Int32Array.of(1, 1);
      expect(() => operations.scatterRows.forward([x, x], { rows: twice }, false)).toThrow('row 1 is listed twice');
      engine.release(x);
      engine.release(y);
      expect(() => operations.add.forward([x, x], {}, false)).toThrow(/add: tensor #\d+ \[2, 3\] is used after/);
      expect(() => engine.release(x)).toThrow(EngineError);
      const foreign = cpu.zeros([2, 3]);
      expect(() => engine.retain(foreign)).toThrow('belongs to another engine');
      cpu.release(foreign);
      expect(tf.memory().numTensors).toBe(before);
    });
  });
}
