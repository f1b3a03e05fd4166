/**
 * The `cuda` engine on a card that only keeps the books: all memory is accounted for as on a real one, nothing is
 * computed. What a step of a real-sized model takes can so be measured without a card.
 */
import type { VlmBatch } from '../../../src/data/types.js';
import { countingParts } from '../../../src/engine/cuda/counting-card.js';
import { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../../../src/engine/cuda/cuda-options.js';
import type { Engine } from '../../../src/engine/engine.js';
import { sizeOf } from '../../../src/formats/weight-source.js';
import { applyLora, type LoraAdapter } from '../../../src/lora/apply-lora.js';
import { LoraConfig, type LoraConfigOptions } from '../../../src/lora/lora-config.js';
import { selectTargetModules } from '../../../src/lora/target-modules.js';
import type { WeightProvider } from '../../../src/model/network/load-weights.js';
import { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import { parseQuantizationOption } from '../../../src/model/quantization.js';
import { QuantizationPlan } from '../../../src/model/quantization-plan.js';
import { adapterTensorName } from '../../../src/model/tensor-names.js';
import { configOf, SIZES, type Size, shapesOf } from '../../bench/random-model.js';
import { FakeMemory } from './fake-memory.js';

const CARD = { name: 'stand-in', capability: 90, multiprocessors: 132 };

/** @param totalBytes memory of the card */
export function standInEngine(
  totalBytes: number,
  options: CudaEngineOptions = {},
): { engine: CudaEngine; memory: FakeMemory } {
  const memory = new FakeMemory(totalBytes);
  return { engine: new CudaEngine(countingParts(CARD, memory), options), memory };
}

/** A model of real size whose weights are never read. @param quantization as the option of `loadModel` */
export function standInModel(engine: Engine, size: Size, quantization?: string): Promise<VisionLanguageModel> {
  const config = configOf(size);
  const shapes = shapesOf(config, SIZES[size].tied);
  const stored = [...shapes].map(([name, shape]) => ({ name, shape, bytes: 2 * sizeOf(shape), stored: undefined }));
  const plan = new QuantizationPlan(engine, stored, parseQuantizationOption(quantization, 'stand-in'), 'stand-in');
  const provider: WeightProvider = {
    has: (name) => shapes.has(name),
    source: (name) => {
      const shape = shapes.get(name)!;
      return plan.apply(name, { name, shape, dtype: 'bf16', byteLength: 2 * sizeOf(shape), read: async () => {} });
    },
    description: `stand-in ${size}`,
  };
  return VisionLanguageModel.load(engine, config, provider);
}

const [IMAGE, BREAK] = [10, 12];

/** Samples of `rows` × `columns` image tokens and 166 of text, all of the text labelled. */
export function batchOf(...grids: readonly (readonly [number, number])[]): VlmBatch {
  const sequences = grids.map(([rows, columns]) => {
    const line = [...new Array<number>(columns).fill(IMAGE), BREAK];
    return [...new Array<number>(162).fill(1000), ...Array.from({ length: rows }, () => line).flat(), 5, 6, 7, 2];
  });
  const width = Math.max(...sequences.map(({ length }) => length));
  const [inputIds, attentionMask, labels] = [0, 0, -100].map((fill) =>
    new Int32Array(grids.length * width).fill(fill),
  ) as [Int32Array, Int32Array, Int32Array];
  for (const [b, ids] of sequences.entries()) {
    inputIds.set(ids, b * width);
    attentionMask.fill(1, b * width, b * width + ids.length);
    labels.set(
      ids.map((id) => (id === IMAGE ? -100 : id)),
      b * width,
    );
  }
  const [h, w] = [0, 1].map((side) => 28 * Math.max(...grids.map((grid) => grid[side]!))) as [number, number];
  const shape = [grids.length, width];
  return {
    inputIds: { data: inputIds, shape },
    attentionMask: { data: attentionMask, shape },
    labels: { data: labels, shape },
    pixelValues: { data: new Float32Array(grids.length * 3 * h * w), shape: [grids.length, 3, h, w] },
    imageSizes: {
      data: Int32Array.from(grids.flatMap(([rows, columns]) => [28 * rows, 28 * columns])),
      shape: [grids.length, 2],
    },
  };
}

/** An adapter whose values are all zero, which takes no time to draw: nothing computes with them. */
export function standInAdapter(model: VisionLanguageModel, options: LoraConfigOptions): LoraAdapter {
  const config = new LoraConfig(options);
  const modules = new Map(model.linearModules.map((module) => [module.name, module]));
  const sizes = selectTargetModules([...modules.keys()], config).matched.flatMap((name) => {
    const [out, inner] = modules.get(name)!.weight.shape as readonly [number, number];
    const { r } = config.forModule(name);
    return [
      { name: adapterTensorName(name, 'A'), size: r * inner },
      { name: adapterTensorName(name, 'B'), size: out * r },
    ];
  });
  const zeros = new Float32Array(Math.max(...sizes.map(({ size }) => size)));
  return applyLora(model, config, { values: new Map(sizes.map(({ name, size }) => [name, zeros.subarray(0, size)])) });
}

/** One text of so many tokens, of which the last 40 are learned. */
export function textBatch(tokens: number) {
  const shape = [1, tokens];
  const data = new Int32Array(tokens).fill(1000);
  const labels = new Int32Array(tokens).fill(-100).fill(7, tokens - 40);
  return {
    inputIds: { data, shape },
    attentionMask: { data: new Int32Array(tokens).fill(1), shape },
    labels: { data: labels, shape },
  };
}
