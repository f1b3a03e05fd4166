/**
 * A model laid over several cards gives the bits of one that lies on one: losses and gradients with and without
 * recomputation, updates that are clipped and such that are left out, the optimizer's arrays, generation.
 *
 *   npx tsx test/engine/cuda/card/check-split.ts [--emulated] [--devices 0,1] [--format bf16|nf4|fp8]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../../../src/data/types.js';
import { VlmCollator } from '../../../../src/data/vlm-collator.js';
import type { Engine } from '../../../../src/engine/engine.js';
import type { PartEngine } from '../../../../src/engine/split/part-engine.js';
import { SplitEngine } from '../../../../src/engine/split/split-engine.js';
import { generate } from '../../../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../../../src/model/load.js';
import { countLabels } from '../../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../../src/train/window-step.js';
import { makeAdapter, makeExamples, writeTinyModel } from '../../../e2e/tiny-model.js';

const { values: options } = parseArgs({
  options: {
    emulated: { type: 'boolean', default: false },
    devices: { type: 'string', default: '0,0' },
    format: { type: 'string', default: 'bf16' },
  },
});

async function card(device: number): Promise<PartEngine> {
  if (options.emulated) return (await import('../emulated-card.js')).emulatedEngine({ capability: 90 });
  const { createCudaEngine } = await import('../../../../src/engine/cuda/cuda-engine.js');
  return createCudaEngine({ device });
}

const dir = await mkdtemp(join(tmpdir(), 'ministral-tune-split-'));
await writeTinyModel(dir);
const processor = await loadProcessor(dir);
const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
const examples = makeExamples(4, 9);
const batches = await Promise.all([0, 2].map((i) => collator.collate(examples.slice(i, i + 2))));
const { labels: _, ...prompt } = await collator.collate(examples.slice(0, 2));

async function results(engine: Engine): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>();
  const model = await loadModel(dir, {
    engine,
    ...(options.format === 'bf16' ? {} : { quantization: options.format as 'nf4' }),
    onNotice: () => {},
  });
  if (engine.devices) {
    const places = [...model.modules.visionLayers, ...model.modules.textLayers].map(({ down }) =>
      engine.devices!.findIndex((device) => device.holds(down.weight)),
    );
    console.log(`layers on devices ${places.join('')}`);
  }
  for (const kind of ['adamw', 'adamw8bit'] as const) {
    const adapter = makeAdapter(model, 0.1);
    const set = adapter.parameters;
    const state = engine.createOptimizerState(set, kind);
    for (const [step, gradientCheckpointing] of [false, true, 'auto'].entries()) {
      const loss = await accumulateGradients(model, batches, {
        labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
        dropoutSeeds: [10 * step, 10 * step + 1],
        gradientCheckpointing: gradientCheckpointing as boolean,
      });
      found.set(`${kind}, step ${step}: loss`, await loss());
      found.set(`${kind}, step ${step}: gradients`, await engine.readGradients(set));
      const settings = { learningRate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };
      const norm = await engine.optimizerStep(set, state, { kind, ...settings, maxGradNorm: step === 2 ? 0 : 0.5 })();
      found.set(`${kind}, step ${step}: norm`, norm);
      engine.zeroGradients(set);
      found.set(`${kind}, step ${step}: values`, await engine.readParameters(set));
    }
    for (const [name, array] of Object.entries(await engine.readOptimizerState(set, state))) {
      found.set(`${kind}: ${name}`, array);
    }
    const answers = await generate(model, prompt as VlmBatch, { maxNewTokens: 6, eosTokenIds: [1_000_000] });
    found.set(`${kind}: generated`, JSON.stringify(answers));
    found.set(`${kind}: logits`, await model.lastLogits(prompt as VlmBatch));
    engine.releaseOptimizerState(set, state);
    adapter.dispose();
  }
  await model.dispose();
  await engine.dispose();
  return found;
}

const devices = options.devices.split(',').map(Number);
const one = await results(await card(devices[0]!));
const several = await results(new SplitEngine(await Promise.all(devices.map(card))));
let failed = 0;
for (const [name, expected] of one) {
  const got = several.get(name);
  const bytes = (value: unknown): Buffer =>
    ArrayBuffer.isView(value)
      ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      : Buffer.from(typeof value === 'number' ? String(Math.fround(value)) : String(value));
  const isSame = bytes(got).equals(bytes(expected));
  if (!isSame) failed++;
  console.log(
    `${isSame ? 'ok' : 'FAIL'} ${name}${isSame || typeof got !== 'number' ? '' : `: ${got}, not ${expected}`}`,
  );
}
console.log(`${one.size - failed} passed, ${failed} failed`);
await rm(dir, { recursive: true, force: true });
process.exitCode = failed > 0 ? 1 : 0;
