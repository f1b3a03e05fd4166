/**
 * A model loaded onto a card that only keeps the books: placement of weights, the adapter, the optimizer and the plan of
 * passes are the engine's and the trainer's own, so there is no second estimate of them.
 */

import { roundUp } from '../engine/arena.js';
import { CountedMemory, countingParts } from '../engine/cuda/counting-card.js';
import { CudaEngine } from '../engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../engine/cuda/cuda-options.js';
import { DeviceAllocator } from '../engine/cuda/memory.js';
import { Overhead } from '../engine/cuda/process-memory.js';
import { placeWeights } from '../engine/cuda/weight-placement.js';
import type { Precision } from '../engine/operations.js';
import { OutOfMemoryError } from '../errors.js';
import type { WeightSource } from '../formats/weight-source.js';
import { applyLora } from '../lora/apply-lora.js';
import type { LoraConfig } from '../lora/lora-config.js';
import { modulesOf } from '../model/network/modules.js';
import { PassCosts } from '../model/network/pass-costs.js';
import type { QuantizationOptions } from '../model/quantization.js';
import type { PlannerEngine } from '../train/pass-planner.js';
import { requirePrecision } from '../train/precision.js';
import { optimizerKind, type SftConfig } from '../train/sft-config.js';
import type { HeldParts } from './card-run.js';
import type { Card } from './cards.js';
import { loadCounted, type PlannedModel, withoutValues, zeroValues } from './counted-model.js';
import type { WeightFormat } from './training-plan.js';

const MIB = 2 ** 20;
/**
 * Context, code and buffers of libraries on an H200 with driver 580: when the engine is made, and during a run. It differs
 * little from card to card.
 */
const CONTEXT_BYTES = 536 * MIB;
const RUNNING_CONTEXT_BYTES = 600 * MIB;

interface RehearsalOptions {
  readonly model: PlannedModel;
  readonly lora: LoraConfig;
  readonly config: Pick<SftConfig, 'optim' | 'precision'>;
  readonly format: WeightFormat;
  readonly quantization?: QuantizationOptions | undefined;
  readonly card: Card;
  /** Most bytes of the process on the card, if that is less than it has. */
  readonly memoryBudget?: number | undefined;
  readonly engine?: Omit<CudaEngineOptions, 'device' | 'memoryBudget'> | undefined;
  /** What the same adapter and optimizer took elsewhere: they are then not made again. */
  readonly known?: Pick<Rehearsal, 'adapterBytes' | 'optimizerBytes'> | undefined;
}

/** Keeps what the placement of weights was decided by. */
class RehearsalEngine extends CudaEngine {
  placed: { readonly sources: readonly WeightSource[]; readonly trainingBytes: TrainingBytes } | undefined;

  override placeWeights(sources: readonly WeightSource[], trainingBytes: TrainingBytes): void {
    this.placed = { sources, trainingBytes };
    super.placeWeights(sources, trainingBytes);
  }
}

type TrainingBytes = (tokens: number, offloadInputs?: boolean) => number;

/** Everything is loaded, nothing computed. */
export interface Rehearsal extends HeldParts {
  readonly engine: RehearsalEngine;
  readonly options: RehearsalOptions;
}

/**
 * @throws OutOfMemoryError if not even the weights fit; EngineError for a precision that the card does not support;
 *   ConfigError if no layer is to be adapted
 */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const { model, lora, config, card, format, quantization, memoryBudget, known } = options;
  const memory = new CountedMemory(card.memoryBytes, CONTEXT_BYTES);
  const engine = new RehearsalEngine(countingParts(card, memory, CONTEXT_BYTES), {
    ...options.engine,
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
    adapterRank: rankOf(options),
  });
  let held = 0;
  const grown = (): number => {
    const before = held;
    held = engine.memory().bytesInUse;
    return held - before;
  };
  try {
    const modules = await loadCounted(engine, model, format, quantization);
    const weightBytes = grown();
    const host = known ? withoutValues(() => engine.allocator.allocate(known.adapterBytes, 'adapter')) : engine;
    const adapter = applyLora({ engine: host, linearModules: modules.linear }, lora, {
      values: zeroValues(modules.linear, lora),
      onWarning: () => undefined,
    });
    const adapterBytes = grown();
    if (known) engine.allocator.allocate(known.optimizerBytes, 'optimizer');
    else engine.createOptimizerState(adapter.parameters, optimizerKind(config));
    const optimizerBytes = grown();
    const precision: Precision = config.precision;
    requirePrecision(engine, precision);
    if (precision !== 'bf16') {
      engine.preparePrecision(
        modules.textLayers.flatMap(modulesOf).map(({ weight }) => weight),
        precision,
      );
    }
    const copyBytes = grown();
    return {
      engine,
      options,
      modules,
      costs: new PassCosts(model.config, modules, engine.storage, precision),
      weightBytes,
      adapterBytes,
      optimizerBytes,
      copyBytes,
      contextBytes: RUNNING_CONTEXT_BYTES,
      trainableParameters: adapter.parameters.size,
    };
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

/** A higher rank than the engine's costs a copy of each matrix at the first pass: in the end it is as if it had been known. */
function rankOf({ lora, engine }: RehearsalOptions): number {
  return Math.max(engine?.adapterRank ?? 16, lora.r, ...Object.values(lora.rankPattern));
}

/** The engine as it is now: asked once, and not for each window. */
export function asLoaded({ engine }: Pick<Rehearsal, 'engine'>): PlannerEngine {
  const { tokensPerPass, storage } = engine;
  const memory = engine.memory();
  return { tokensPerPass, storage, memory: () => memory };
}

/**
 * The engine as it would be on another card, if it kept all weights there too; undefined if it would move some to host
 * memory, or keep other copies for e4m3 products.
 */
export function onCard(
  { engine, options }: Rehearsal,
  card: Card,
  memoryBudget = Number.POSITIVE_INFINITY,
): PlannerEngine | undefined {
  if (options.config.precision !== 'bf16' || !engine.placed) return undefined;
  const { offload = 'auto', tokensPerPass } = options.engine ?? {};
  const allocator = new DeviceAllocator(
    new CountedMemory(card.memoryBytes, CONTEXT_BYTES),
    memoryBudget,
    new Overhead({ usedBytes: () => CONTEXT_BYTES }),
  );
  const { limitBytes, overheadBytes = 0 } = allocator.memory();
  allocator.dispose();
  try {
    const { embedding, layers } = placeWeights(engine.placed.sources, {
      offload,
      roomBytes: limitBytes,
      overheadBytes,
      spareColumns: roundUp(rankOf(options), 16),
      trainingBytes: engine.placed.trainingBytes,
    });
    if (embedding || layers.size > 0) return undefined;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return undefined;
    throw error;
  }
  const memory = { ...engine.memory(), limitBytes, overheadBytes };
  return { tokensPerPass: tokensPerPass ?? engine.tokensPerPass, storage: engine.storage, memory: () => memory };
}
