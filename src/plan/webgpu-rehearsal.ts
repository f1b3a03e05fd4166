/**
 * A model loaded into the `webgpu` engine on a device that only keeps the books: bytes of weights, adapter and optimizer
 * are the engine's own, so there is no second estimate of them.
 */
import { CountingDevice } from '../engine/webgpu/counting-device.js';
import type { WebgpuEngineOptions } from '../engine/webgpu/create-webgpu.js';
import type { WebgpuWeight } from '../engine/webgpu/frozen-weight.js';
import { findUnit } from '../engine/webgpu/matrix-unit.js';
import { WebgpuEngine } from '../engine/webgpu/webgpu-engine.js';
import { weightBytes } from '../engine/webgpu/weight-room.js';
import { matrixShape, type WeightSource } from '../formats/weight-source.js';
import { applyLora } from '../lora/apply-lora.js';
import type { LoraConfig } from '../lora/lora-config.js';
import { PassCosts } from '../model/network/pass-costs.js';
import type { PlannerEngine } from '../train/pass-planner.js';
import { requirePrecision } from '../train/precision.js';
import { optimizerKind, type SftConfig } from '../train/sft-config.js';
import { type HeldParts, ROOMY_BYTES } from './card-run.js';
import { loadCounted, type PlannedModel, withoutValues, zeroValues } from './counted-model.js';
import type { WeightFormat } from './training-plan.js';

const MIB = 2 ** 20;
/** What the driver takes beside the engine's buffers: 90 to 170 MiB in three runs on an H200 through Vulkan. */
const DRIVER_BYTES = 120 * MIB;

type EngineOptions = Pick<WebgpuEngineOptions, 'tokensPerPass' | 'subgroupMatrices'>;

interface WebgpuRehearsalOptions {
  readonly model: PlannedModel;
  readonly lora: LoraConfig;
  readonly config: Pick<SftConfig, 'optim' | 'precision'>;
  readonly format: WeightFormat;
  readonly engine?: EngineOptions | undefined;
  /** What the same adapter and optimizer took in another format: they are then not made again. */
  readonly known?: Pick<WebgpuRehearsal, 'adapterBytes' | 'optimizerBytes'> | undefined;
}

/** Everything is loaded, nothing computed. */
export interface WebgpuRehearsal extends HeldParts {
  readonly sources: readonly WeightSource[];
  readonly heldBytes: number;
}

/** Takes weights without reading or quantising them. */
class CountedWebgpu extends WebgpuEngine {
  sources: readonly WeightSource[] = [];

  override placeWeights(sources: readonly WeightSource[]): void {
    this.sources = sources;
    super.placeWeights(sources);
  }

  override async loadWeight(source: WeightSource): Promise<WebgpuWeight> {
    const { name, shape, hold } = source;
    const isVector = shape.length <= 1;
    const [rows, columns] = isVector ? [1, shape[0] ?? 1] : matrixShape(shape);
    const values = this.store.memory.createFixed(weightBytes(source));
    return this.store.weights.add({
      ...{ name, shape, rows, columns, held: hold?.format, dtype: 'bf16' },
      format: isVector ? 'f32' : 'bf16',
      parts: [{ firstRow: 0, rows, values }],
      block: [1, columns],
    });
  }
}

/** With what products on subgroup matrices take: nobody knows whether a machine has them. */
function engineOf(bytes: number, { tokensPerPass, subgroupMatrices = true }: EngineOptions = {}): CountedWebgpu {
  const device = new CountingDevice();
  const info = device.adapterInfo;
  const engine = new CountedWebgpu(
    { device, info, isSoftware: false },
    { bytes, source: 'planned for' },
    tokensPerPass,
  );
  const unit = subgroupMatrices && findUnit(device, info);
  if (typeof unit === 'object') engine.store.matrices = unit;
  return engine;
}

/** @throws ConfigError for a precision that the engine does not have, or if no layer is to be adapted */
export async function rehearseOnWebgpu(options: WebgpuRehearsalOptions): Promise<WebgpuRehearsal> {
  const { model, lora, config, format, known } = options;
  const engine = engineOf(ROOMY_BYTES, options.engine);
  const { memory } = engine.store;
  let held = 0;
  const grown = (): number => {
    const before = held;
    held = memory.bytesInUse;
    return held - before;
  };
  try {
    requirePrecision(engine, config.precision);
    const modules = await loadCounted(engine, model, format);
    const weights = grown();
    const host = known ? withoutValues(() => memory.createFixed(known.adapterBytes)) : engine;
    const adapter = applyLora({ engine: host, linearModules: modules.linear }, lora, {
      values: zeroValues(modules.linear, lora),
      onWarning: () => undefined,
    });
    const adapterBytes = grown();
    if (known) memory.createFixed(known.optimizerBytes);
    else engine.createOptimizerState(adapter.parameters, optimizerKind(config));
    const optimizerBytes = grown();
    return {
      modules,
      costs: new PassCosts(model.config, modules, engine.storage, config.precision),
      weightBytes: weights,
      adapterBytes,
      optimizerBytes,
      copyBytes: 0,
      contextBytes: DRIVER_BYTES,
      trainableParameters: adapter.parameters.size,
      sources: engine.sources,
      heldBytes: held,
    };
  } finally {
    await engine.dispose();
  }
}

/**
 * The engine with this budget and the rehearsed model in it, as the planner of passes asks it.
 * @throws OutOfMemoryError if not even the weights fit
 */
export function webgpuWith(
  { sources, heldBytes }: WebgpuRehearsal,
  budgetBytes: number = ROOMY_BYTES,
  options: EngineOptions = {},
): PlannerEngine {
  const engine = engineOf(budgetBytes, options);
  engine.placeWeights(sources);
  const { tokensPerPass, storage } = engine;
  const memory = { ...engine.memory(), bytesInUse: heldBytes };
  return { tokensPerPass, storage, memory: () => memory };
}
