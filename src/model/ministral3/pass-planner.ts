/** Plans windows within the memory that is free, and remembers what turned out too large. */
import type { EngineMemory, StorageCosts } from '../../engine/engine.js';
import { OutOfMemoryError } from '../../errors.js';
import { formatBytes } from '../../messages/format-bytes.js';
import { withLessMemory } from '../../train/less-memory.js';
import type { AccumulateOptions } from '../../train/trainable-model.js';
import { type Costs, isPlan, type Misfit, type PassPlan, planPasses, type WindowSample } from './pass-plan.js';

/** After a pass ran out of memory, the next may take so much of what it was to take. */
const TIGHTER = 0.85;

export interface PlannerEngine {
  readonly tokensPerPass: number;
  readonly storage: StorageCosts;
  memory(): EngineMemory;
}

type PlannerOptions = Pick<
  AccumulateOptions,
  'gradientCheckpointing' | 'memoryBudget' | 'autoMicroBatch' | 'onWarning'
>;

export class PassPlanner {
  readonly #engine: PlannerEngine;
  /** Bytes that a pass may take, learned from one that did not fit. */
  #ceiling = Number.POSITIVE_INFINITY;
  /** The smallest micro-batch that was told of. */
  #toldMicroBatch = Number.POSITIVE_INFINITY;

  constructor(engine: PlannerEngine) {
    this.#engine = engine;
  }

  /** @throws OutOfMemoryError if nothing that the options allow fits */
  plan(samples: readonly WindowSample[], costs: Costs, options: PlannerOptions): PassPlan {
    const { gradientCheckpointing, autoMicroBatch = false } = options;
    const free = this.#freeBytes(options.memoryBudget);
    const { tokensPerPass } = this.#engine;
    const result = planPasses(samples, costs, {
      budgetBytes: Math.min(free, this.#ceiling),
      tokensPerPass,
      gradientCheckpointing,
      autoMicroBatch,
    });
    if (!isPlan(result)) throw withLessMemory(this.#tooLarge(result, Math.min(free, this.#ceiling), options), 'step');
    const written = Math.max(...samples.map(({ row }) => row + 1));
    const { microBatchSize } = result;
    if (microBatchSize < written && microBatchSize < this.#toldMicroBatch) {
      this.#toldMicroBatch = microBatchSize;
      options.onWarning?.(
        `micro-batches of ${written} samples do not fit into the ${formatBytes(Math.min(free, this.#ceiling))} that are ` +
          `free: micro-batches of at most ${microBatchSize} are run instead, so many more of them that the effective ` +
          'batch and its result stay the same',
      );
    }
    return result;
  }

  /** To be called when a pass of the plan ran out of memory: later plans are smaller. */
  tighten({ passes }: PassPlan): void {
    const largest = Math.max(...passes.map(({ bytes }) => bytes));
    this.#ceiling = TIGHTER * Math.min(this.#ceiling, largest);
  }

  /** What a pass may take at most, as far as is known. */
  get ceiling(): number {
    return this.#ceiling;
  }

  #freeBytes(memoryBudget = Number.POSITIVE_INFINITY): number {
    const { bytesInUse, limitBytes } = this.#engine.memory();
    return Math.max(0, Math.min(limitBytes, memoryBudget) - bytesInUse - this.#engine.storage.reserveBytes);
  }

  #tooLarge({ neededBytes, size, samples }: Misfit, free: number, options: PlannerOptions): OutOfMemoryError {
    const { gradientCheckpointing, memoryBudget } = options;
    const recomputed = gradientCheckpointing === false ? 'without recomputation' : 'with every layer recomputed';
    const { bytesInUse, limitBytes } = this.#engine.memory();
    const budget = Math.min(limitBytes, memoryBudget ?? limitBytes);
    return new OutOfMemoryError(
      `out of memory: ${samples} ${samples === 1 ? 'sample' : 'samples'} of ${size.tokens} tokens and ${size.patches} ` +
        `image patches need ${formatBytes(neededBytes)} ${recomputed}, ${formatBytes(free)} are free: of ` +
        `${formatBytes(budget)}, weights and training state hold ${formatBytes(bytesInUse)}, and ` +
        `${formatBytes(this.#engine.storage.reserveBytes)} are left alone because free memory lies in pieces`,
      {
        hint: 'Or raise memoryBudget.',
        neededBytes,
        freeBytes: free,
        limitBytes: budget,
        details: { heldBytes: bytesInUse, tokens: size.tokens, patches: size.patches, samples },
      },
    );
  }
}
