/**
 * Host memory: layers that are streamed, a table of which rows are looked up, and inputs of recomputed layers that
 * leave until backward give the bits of a model that lies on the card whole. Losses and gradients of windows with and
 * without recomputation, a changed adapter, one of a higher rank, evaluation, generation, and reading weights back.
 *
 *   npx tsx test/engine/cuda/card/check-offload.ts [--emulated] [--width 1024] [--layers 7] [--offload JSON]
 *                                                   [--format bf16|f32|nf4|fp8]
 */
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../../../src/data/types.js';
import type { CudaEngine } from '../../../../src/engine/cuda/cuda-engine.js';
import { createCudaEngine } from '../../../../src/engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../../../../src/engine/cuda/cuda-options.js';
import { DTYPE_BYTES, type DType, sizeOf } from '../../../../src/formats/weight-source.js';
import { applyLora } from '../../../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../../../src/lora/lora-config.js';
import { generate } from '../../../../src/model/generate.js';
import { VisionLanguageModel } from '../../../../src/model/network/vision-language-model.js';
import { parseQuantizationOption } from '../../../../src/model/quantization.js';
import { QuantizationPlan } from '../../../../src/model/quantization-plan.js';
import { MersenneTwister } from '../../../../src/random.js';
import { accumulateGradients } from '../../../../src/train/window-step.js';
import { configOf, shapesOf } from '../../../bench/random-model.js';

const { values: options } = parseArgs({
  options: {
    emulated: { type: 'boolean', default: false },
    width: { type: 'string' },
    layers: { type: 'string', default: '7' },
    /** One that is checked, instead of all. */
    offload: { type: 'string' },
    format: { type: 'string' },
  },
});
const width = Number(options.width ?? (options.emulated ? 64 : 1024));
const layers = Number(options.layers);

async function openEngine(given: CudaEngineOptions): Promise<CudaEngine> {
  if (!options.emulated) return createCudaEngine(given);
  const card = await import('../emulated-card.js');
  return card.emulatedEngine(given);
}

function bytesOf(name: string, shape: readonly number[], dtype: DType): Uint8Array {
  const random = new MersenneTwister(
    [...name].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) | 0, 7) >>> 0,
  );
  const scale = shape.length === 1 ? 0 : (shape.at(-1) ?? 1) ** -0.5;
  const values = Float32Array.from({ length: sizeOf(shape) }, () => (scale === 0 ? 1 : scale * random.nextNormal()));
  if (dtype === 'f32') return new Uint8Array(values.buffer);
  return new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
}

/** As the files store the weights, or how they are quantised. */
type Format = 'bf16' | 'f32' | 'nf4' | 'fp8';

async function makeModel(engine: CudaEngine, format: Format): Promise<VisionLanguageModel> {
  const base = configOf('8B', { text: layers, vision: 1 });
  const config = {
    ...base,
    text: {
      ...base.text,
      ...{ hiddenSize: width, intermediateSize: 2 * width, heads: width / 16, kvHeads: width / 32, headDim: 16 },
      vocabSize: 400,
    },
    vision: { ...base.vision, hiddenSize: 64, intermediateSize: 64, heads: 4, headDim: 16 },
  };
  const shapes = shapesOf(config, false);
  const dtype = format === 'f32' ? 'f32' : 'bf16';
  const quantization = format === 'nf4' || format === 'fp8' ? format : 'none';
  const stored = [...shapes].map(([name, shape]) => ({ name, shape, stored: undefined, bytes: 2 * sizeOf(shape) }));
  const plan = new QuantizationPlan(engine, stored, parseQuantizationOption(quantization, 'check'), 'check');
  return VisionLanguageModel.load(engine, config, {
    has: (name) => shapes.has(name),
    source: (name) => {
      const shape = shapes.get(name)!;
      const bytes = bytesOf(name, shape, dtype);
      return plan.apply(name, {
        ...{ name, shape, dtype, byteLength: DTYPE_BYTES[dtype] * sizeOf(shape) },
        read: async (target, offset = 0) => target.set(bytes.subarray(offset, offset + target.length)),
      });
    },
    description: 'random model',
  });
}

function batchOf(seed: number): VlmBatch {
  const shape = [2, 24];
  const ids = Int32Array.from({ length: 48 }, (_, i) => 20 + ((i * (37 + seed)) % 350));
  const labels = ids.map((id, i) => (i % 24 > 16 ? id : -100));
  return {
    inputIds: { data: ids, shape },
    attentionMask: { data: new Int32Array(48).fill(1), shape },
    labels: { data: labels, shape },
  };
}

/** All that a model computes, by name. */
async function results(given: CudaEngineOptions, format: Format): Promise<Map<string, Float32Array>> {
  const engine = await openEngine(given);
  const model = await makeModel(engine, format);
  const found = new Map<string, Float32Array>();
  found.set('base logits', await model.lastLogits(batchOf(0)));
  for (const r of [16, 40]) {
    const adapter = applyLora(model, { r, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
    const random = new MersenneTwister(r);
    for (const step of [0, 1]) {
      const values = Float32Array.from({ length: adapter.parameters.size }, () => 0.05 * random.nextNormal());
      engine.writeParameters(adapter.parameters, values);
      for (const gradientCheckpointing of [true, false]) {
        const name = `rank ${r}, step ${step}, ${gradientCheckpointing ? 'recomputed' : 'kept'}`;
        const loss = await accumulateGradients(model, [batchOf(step), batchOf(step + 5)], {
          labelCount: 28,
          dropoutSeeds: [step, step + 1],
          gradientCheckpointing,
        });
        found.set(`${name}, loss`, Float32Array.of(await loss()));
        found.set(`${name}, gradients`, await engine.readGradients(adapter.parameters));
        engine.zeroGradients(adapter.parameters);
      }
      found.set(`rank ${r}, step ${step}, logits`, await model.lastLogits(batchOf(step)));
    }
    const { labels: _, ...prompts } = batchOf(3);
    const answers = await generate(model, prompts, { maxNewTokens: 4, doSample: false, eosTokenIds: [399] });
    found.set(`rank ${r}, answers`, Float32Array.from(answers.flat() as number[]));
    adapter.dispose();
  }
  for (const weight of [model.modules.textLayers[2]!.gate.weight, model.modules.embedTokens]) {
    found.set(weight.name, await engine.readWeight(weight));
  }
  console.log(`  streamed: ${engine.storage.streamedBytes ?? 0} bytes, in use: ${engine.memory().bytesInUse} bytes`);
  model.dispose();
  const { bytesInUse } = engine.memory();
  found.set('bytes that stay', Float32Array.of(bytesInUse));
  await engine.dispose();
  return found;
}

let failed = 0;
const everything = { embedding: true, layers, activations: true };
const all: NonNullable<CudaEngineOptions['offload']>[] = [
  { embedding: true },
  { layers: 3 },
  { activations: true },
  everything,
];
const offloads = options.offload === undefined ? all : [JSON.parse(options.offload) as (typeof all)[number]];
for (const format of ['bf16', 'f32', 'nf4', 'fp8'] as const) {
  if (options.format !== undefined && format !== options.format) continue;
  const expected = await results({ offload: 'none' }, format);
  for (const offload of offloads) {
    const found = await results({ offload }, format);
    for (const [name, values] of expected) {
      const other = found.get(name)!;
      const differences = values.reduce((sum, value, i) => sum + (Object.is(value, other[i]) ? 0 : 1), 0);
      const isSame = differences === 0 && values.length === other.length;
      if (!isSame) failed++;
      const hasValues = values.every(Number.isFinite);
      if (!hasValues) failed++;
      console.log(
        `${isSame && hasValues ? 'ok    ' : 'FAILED'} ${format}, ${JSON.stringify(offload)}: ${name}` +
          `${isSame ? '' : `, ${differences} of ${values.length} differ`}${hasValues ? '' : ', not finite'}`,
      );
    }
  }
}
process.exitCode = failed > 0 ? 1 : 0;
console.log(failed > 0 ? `${failed} FAILED` : 'all the same');
