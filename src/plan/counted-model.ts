/** A model, and its adapter, in an engine that only keeps the books: shapes and bytes, no values. */
import type { Engine } from '../engine/engine.js';
import type { Parameter, ParameterSet } from '../engine/tensor.js';
import { EngineError } from '../errors.js';
import { sizeOf } from '../formats/weight-source.js';
import type { LoraConfig } from '../lora/lora-config.js';
import type { LoraEngine } from '../lora/lora-host.js';
import { selectTargetModules } from '../lora/target-modules.js';
import type { LinearModule } from '../model/linear-module.js';
import type { ModelConfig } from '../model/model-config.js';
import { loadModules, type ModelModules, wantedWeights } from '../model/network/modules.js';
import { trainingBytes } from '../model/network/training-bytes.js';
import { parseQuantizationOption, type QuantizationOptions } from '../model/quantization.js';
import { QuantizationPlan } from '../model/quantization-plan.js';
import { adapterTensorName } from '../model/tensor-names.js';
import type { WeightFormat } from './training-plan.js';

/** The model that is planned for. */
export interface PlannedModel {
  /** Name, for messages. */
  readonly name: string;
  readonly config: ModelConfig;
  /** Whether the embedding is the output head as well. */
  readonly tied: boolean;
}

const METHODS = { bf16: 'none', fp8: 'fp8', nf4: 'nf4' } as const;

/**
 * Loads the model into an engine that only keeps the books: no weight is read.
 * @throws OutOfMemoryError if the weights do not fit
 */
export async function loadCounted(
  engine: Engine,
  { config, tied, name }: PlannedModel,
  format: WeightFormat,
  quantization?: QuantizationOptions,
): Promise<ModelModules> {
  const shapes = new Map(wantedWeights(config, tied).map((wanted) => [wanted.name, wanted.shape]));
  const tensors = [...shapes].map(([tensor, shape]) => {
    return { name: tensor, shape, bytes: 2 * sizeOf(shape), stored: undefined };
  });
  const method = METHODS[format];
  const option = parseQuantizationOption({ ...quantization, method }, 'plan');
  const plan = new QuantizationPlan(engine, tensors, option, 'plan');
  const provider = {
    description: name,
    has: (tensor: string) => shapes.has(tensor),
    source: (tensor: string) => {
      const shape = shapes.get(tensor)!;
      const byteLength = 2 * sizeOf(shape);
      return plan.apply(tensor, { name: tensor, shape, dtype: 'bf16', byteLength, read: async () => {} });
    },
  };
  const estimate = (modules: ModelModules) => trainingBytes(config, modules, engine);
  return (await loadModules(engine, config, provider, estimate, false)).modules;
}

/** The start of an adapter that nobody computes with: drawing one takes longer than all else. */
export function zeroValues(linear: readonly LinearModule[], lora: LoraConfig): Map<string, Float32Array> {
  const modules = new Map(linear.map((module) => [module.name, module]));
  const sizes = selectTargetModules([...modules.keys()], lora).matched.flatMap((name) => {
    const [out, input] = modules.get(name)!.weight.shape as readonly [number, number];
    const { r } = lora.forModule(name);
    return [
      { name: adapterTensorName(name, 'A'), size: r * input },
      { name: adapterTensorName(name, 'B'), size: out * r },
    ];
  });
  const zeros = new Float32Array(Math.max(0, ...sizes.map(({ size }) => size)));
  return new Map(sizes.map(({ name, size }) => [name, zeros.subarray(0, size)]));
}

/**
 * Makes parameters of which only the shapes exist.
 * @param allocate takes their bytes
 */
export function withoutValues(allocate: () => void): LoraEngine {
  const refuse = (): never => {
    throw new EngineError('a rehearsal has no values');
  };
  return {
    createParameters: (specs) => {
      allocate();
      const parameters = specs.map(({ name, shape }) => ({ name, shape, size: sizeOf(shape) }) as unknown as Parameter);
      const size = parameters.reduce((sum, parameter) => sum + parameter.size, 0);
      return { parameters, size } as unknown as ParameterSet;
    },
    readParameters: refuse,
    writeParameters: refuse,
    releaseParameters: refuse,
  };
}
