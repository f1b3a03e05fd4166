/**
 * The `cuda` engine on a card that only keeps the books: all memory is accounted for as on a real one, nothing is
 * computed. What a step of a real-sized model takes can so be measured without a card.
 */
import {
  CudaEngine,
  type CudaEngineOptions,
  type CudaParts,
  type EngineDriver,
} from '../../../src/engine/cuda/cuda-engine.js';
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

function nothing(): void {}

/** Nobody reads what lies in large parts of host memory: they all lie in one, and the largest have none. */
const LARGE = new Uint8Array(64 << 20);

function pinned(bytes: number): Uint8Array {
  if (bytes <= 1 << 20) return new Uint8Array(bytes);
  return LARGE.subarray(0, bytes > LARGE.length ? 0 : bytes);
}

function standInParts(memory: FakeMemory): CudaParts {
  let next = 1;
  const driver: EngineDriver = {
    device: {
      ordinal: 0,
      name: 'stand-in',
      capability: 90,
      multiprocessors: 132,
      totalBytes: memory.total,
      driverVersion: 13000,
      hasVirtualMemory: true,
    },
    stream: 1,
    launches: 0,
    copyStream: 2,
    allocatePinned: (bytes) => ({ bytes: pinned(bytes), free: nothing }),
    upload: nothing,
    uploadRows: nothing,
    downloadAsync: (target) => new Uint8Array(target.buffer, target.byteOffset, target.byteLength).fill(0),
    createEvent: () => next++,
    recordEvent: nothing,
    eventDone: () => true,
    synchronizeEvent: nothing,
    elapsedMilliseconds: () => 1,
    destroyEvent: nothing,
    waitEvent: nothing,
    copy: nothing,
    copyRows: nothing,
    fillBytes: nothing,
    clearRows: nothing,
    synchronize: nothing,
    dispose: nothing,
  };
  return {
    driver,
    memory,
    kernels: {
      multiprocessors: 132,
      hasWarpgroups: true,
      launch: nothing,
      dispose: nothing,
    },
    library: {
      version: 0,
      descriptor: () => 1,
      e4m3Descriptor: () => 2,
      setScales: () => {},
      createLayout: () => next++,
      destroyLayout: nothing,
      firstChoice: () => new BigUint64Array(8),
      check: () => 0,
      matmul: () => 0,
      dispose: nothing,
    },
    compilerVersion: 'none',
  };
}

/** @param totalBytes memory of the card */
export function standInEngine(
  totalBytes: number,
  options: CudaEngineOptions = {},
): { engine: CudaEngine; memory: FakeMemory } {
  const memory = new FakeMemory(totalBytes);
  return { engine: new CudaEngine(standInParts(memory), options), memory };
}

/** A model of real size whose weights are never read. @param quantization as the option of `loadModel` */
export function standInModel(engine: CudaEngine, size: Size, quantization?: string): Promise<VisionLanguageModel> {
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
