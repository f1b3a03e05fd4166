import { afterAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { Tape } from '../../src/engine/tape.js';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { loadModel } from '../../src/model/load.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { relativeL2 } from '../parity/check-list.js';

const folder = new URL('../fixtures/golden/', import.meta.url).pathname;
const file = await SafetensorsFile.open(`${folder}expected.safetensors`);
const engines: CpuEngine[] = [];
afterAll(async () => {
  await file.close();
  for (const engine of engines) await engine.dispose();
});

async function readBatch(): Promise<VlmBatch> {
  const integers = async (name: string) => ({
    data: Int32Array.from((await file.readArray(name)) as Iterable<number | bigint>, Number),
    shape: file.info(name).shape,
  });
  return {
    inputIds: await integers('input_ids'),
    attentionMask: await integers('attention_mask'),
    labels: await integers('labels'),
    pixelValues: { data: await file.readFloat32('pixel_values'), shape: file.info('pixel_values').shape },
    imageSizes: await integers('image_sizes'),
  };
}

/**
 * Logits, losses of some steps and the gradients of the first.
 * @param isHeld else the engine is given the values that the quantised weights stand for, as bf16
 */
async function train(quantization: 'nf4' | 'fp8', isHeld: boolean) {
  const engine = createCpuEngine({ threads: 2 });
  engines.push(engine);
  const held: string[] = [];
  const load = engine.loadWeight.bind(engine);
  engine.loadWeight = async (source) => {
    const weight = await load(isHeld ? source : dequantizedSource(await quantizedSource(source)));
    if (weight.held) held.push(weight.name);
    return weight;
  };
  const model = await loadModel(`${folder}checkpoint`, { engine, quantization });
  const adapter = await loadAdapter(`${folder}adapter`, model);
  const batch = await readBatch();
  const tape = new Tape(engine, { record: false });
  const packed = model.pack(batch);
  const rows = Int32Array.from({ length: packed.ids.length }, (_, i) => i);
  const logits = await engine.read(model.logits(tape, model.hidden(tape, packed, {}), rows));
  tape.dispose();
  const state = engine.createOptimizerState(adapter.parameters, 'adamw');
  const losses: number[] = [];
  let gradients: Float32Array | undefined;
  for (let step = 0; step < 6; step++) {
    engine.zeroGradients(adapter.parameters);
    const options = { labelCount: countLabels(batch), dropoutSeeds: [0], gradientCheckpointing: false };
    losses.push(await (await accumulateGradients(model, [batch], options))());
    gradients ??= await engine.readGradients(adapter.parameters);
    const rates = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
    await engine.optimizerStep(adapter.parameters, state, { kind: 'adamw', ...rates })();
  }
  return { held, logits, losses, gradients: gradients! };
}

describe('a base held in fewer bits', () => {
  it.each(['nf4', 'fp8'] as const)('trains as its dequantised values do: %s', async (quantization) => {
    const held = await train(quantization, true);
    const plain = await train(quantization, false);
    expect(held.held.length).toBeGreaterThan(10);
    expect(plain.held).toEqual([]);
    expect(relativeL2(held.logits, plain.logits)).toBeLessThan(1e-6);
    expect(relativeL2(held.gradients, plain.gradients)).toBeLessThan(1e-6);
    for (const [step, loss] of held.losses.entries()) expect(Math.abs(loss - plain.losses[step]!)).toBeLessThan(1e-6);
    expect(held.losses.at(-1)).toBeLessThan(held.losses[0]! - 0.1);
    // They are other values than those of the checkpoint.
    const whole = await file.readFloat32('logits');
    expect(relativeL2(held.logits, whole.subarray(0, held.logits.length))).toBeGreaterThan(1e-3);
  });
});
