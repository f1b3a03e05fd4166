import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { Tape } from '../../src/engine/tape.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { relativeL2 } from '../parity/check-list.js';

// Values of transformers and peft, made by test/fixtures/make-golden.py.
const folder = new URL('../fixtures/golden/', import.meta.url).pathname;
const engine = createCpuEngine();
let file: SafetensorsFile;
let model: VisionLanguageModel;
let adapter: LoraAdapter;
let batch: VlmBatch;

beforeAll(async () => {
  file = await SafetensorsFile.open(`${folder}expected.safetensors`);
  const integers = async (name: string) => ({
    data: Int32Array.from((await file.readArray(name)) as Iterable<number | bigint>, Number),
    shape: file.info(name).shape,
  });
  batch = {
    inputIds: await integers('input_ids'),
    attentionMask: await integers('attention_mask'),
    labels: await integers('labels'),
    pixelValues: { data: await file.readFloat32('pixel_values'), shape: file.info('pixel_values').shape },
    imageSizes: await integers('image_sizes'),
  };
  model = await loadModel(`${folder}checkpoint`, { engine });
  adapter = await loadAdapter(`${folder}adapter`, model);
});
afterAll(async () => {
  await file.close();
  await engine.dispose();
});

async function accumulate(): Promise<number> {
  engine.zeroGradients(adapter.parameters);
  const options = { labelCount: countLabels(batch), dropoutSeeds: [0], gradientCheckpointing: false };
  return (await accumulateGradients(model, [batch], options))();
}

describe('a small model computes what transformers and peft compute', () => {
  it('logits of every real token', async () => {
    const tape = new Tape(engine, { record: false });
    const packed = model.pack(batch);
    const rows = Int32Array.from({ length: packed.ids.length }, (_, i) => i);
    const actual = await engine.read(model.logits(tape, model.hidden(tape, packed, {}), rows));
    tape.dispose();
    const padded = await file.readFloat32('logits');
    const width = model.config.text.vocabSize;
    const expected = [...batch.attentionMask.data].flatMap((real, i) =>
      real ? [...padded.subarray(i * width, (i + 1) * width)] : [],
    );
    expect(expected).toHaveLength(43 * width);
    expect(relativeL2(actual, expected)).toBeLessThan(1e-5);
  });

  it('loss, and the gradient of every adapter tensor', async () => {
    expect(Math.abs((await accumulate()) - (await file.readFloat32('loss'))[0]!)).toBeLessThan(1e-5);
    const gradients = await engine.readGradients(adapter.parameters);
    let compared = 0;
    for (const { name, offset, size } of adapter.parameters.parameters) {
      const actual = gradients.subarray(offset, offset + size);
      if (!file.tensors.has(`gradient.${name}`)) {
        expect([name, actual.every((value) => value === 0)]).toEqual([name, true]);
        continue;
      }
      compared++;
      expect([name, relativeL2(actual, await file.readFloat32(`gradient.${name}`)) < 1e-4]).toEqual([name, true]);
    }
    // The third vision layer lies past the one that is read: 7 modules without gradient.
    expect(compared).toBe(2 * (35 - 7));
  });

  it('three clipped AdamW steps, layers without gradient left alone', async () => {
    const state = engine.createOptimizerState(adapter.parameters, 'adamw');
    const options = {
      kind: 'adamw',
      learningRate: 1e-2,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0.1,
      maxGradNorm: 0.3,
    } as const;
    for (const expected of await file.readFloat32('norms')) {
      await accumulate();
      const norm = await engine.optimizerStep(adapter.parameters, state, options)();
      expect(Math.abs(norm / expected - 1)).toBeLessThan(1e-4);
    }
    const values = await engine.readParameters(adapter.parameters);
    for (const { name, offset, size } of adapter.parameters.parameters) {
      const error = relativeL2(values.subarray(offset, offset + size), await file.readFloat32(`trained.${name}`));
      expect([name, error < 1e-3]).toEqual([name, true]);
    }
  });
});
