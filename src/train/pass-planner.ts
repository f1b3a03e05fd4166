/** Plans windows within the memory that is free, and remembers what turned out too large. */
import type { WindowSample } from '../batch/packed-window.js';
import type { Engine } from '../engine/engine.js';
import { LESS_MEMORY, largestPass, reserveFor } from '../engine/reserve.js';
import { OutOfMemoryError, reasonOf } from '../errors.js';
import { formatBytes } from '../messages/format-bytes.js';
import { describePlan } from './describe-plan.js';
import { type Costs, isPlan, type Misfit, type PassPlan, type PlanOptions, planPasses } from './pass-plan.js';
import type { AccumulateOptions } from './trainable-model.js';

/** After a pass ran out of memory, the next may take so much of what it was to take. */
const TIGHTER = 0.85;

export type PlannerEngine = Pick<Engine, 'tokensPerPass' | 'storage' | 'memory'>;

type PlannerOptions = Pick<
  AccumulateOptions,
  'gradientCheckpointing' | 'memoryBudget' | 'autoMicroBatch' | 'onWarning'
> &
  Pick<PlanOptions, 'sizeOf'>;

export class PassPlanner {
  readonly #engine: PlannerEngine;
  /** Bytes that a pass may take, learned from one that did not fit. */
  #ceiling = Number.POSITIVE_INFINITY;
  #warnedMicroBatch = Number.POSITIVE_INFINITY;

  constructor(engine: PlannerEngine) {
    this.#engine = engine;
  }

  /** @throws OutOfMemoryError if nothing that the options allow fits */
  plan(samples: readonly WindowSample[], costs: Costs, options: PlannerOptions): PassPlan {
    const { gradientCheckpointing, autoMicroBatch = false } = options;
    const free = this.#freeBytes(options.memoryBudget);
    const { tokensPerPass, storage } = this.#engine;
    const { offloadsInputs } = storage;
    const result = planPasses(samples, costs, {
      budgetBytes: Math.min(free, this.#ceiling),
      tokensPerPass,
      gradientCheckpointing,
      autoMicroBatch,
      offloadsInputs,
      sizeOf: options.sizeOf,
    });
    if (!isPlan(result)) throw withLessMemory(this.#tooLarge(result, Math.min(free, this.#ceiling), options), 'step');
    const written = Math.max(...samples.map(({ row }) => row + 1));
    const { microBatchSize } = result;
    if (microBatchSize < written && microBatchSize < this.#warnedMicroBatch) {
      this.#warnedMicroBatch = microBatchSize;
      options.onWarning?.(
        `micro-batches of ${written} samples do not fit into the ${formatBytes(Math.min(free, this.#ceiling))} that are ` +
          `free: micro-batches of at most ${microBatchSize} are run instead, so many more of them that the effective ` +
          'batch and its result stay the same',
      );
    }
    return result;
  }

  /** One line: the plan, what it costs, and the plan for less memory. */
  describe(plan: PassPlan, samples: readonly WindowSample[], costs: Costs, options: PlannerOptions): string {
    const { autoMicroBatch = false } = options;
    const { tokensPerPass, storage } = this.#engine;
    const freeBytes = Math.min(this.#freeBytes(options.memoryBudget), this.#ceiling);
    const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
    const budgetBytes = LESS_MEMORY * Math.min(freeBytes, most);
    const { offloadsInputs } = storage;
    const all = { ...options, budgetBytes, tokensPerPass, autoMicroBatch, offloadsInputs };
    const next = planPasses(samples, costs, all);
    return describePlan({ plan, costs, storage, freeBytes, next });
  }

  /**
   * A smaller plan, of which it warns, after a pass of `failed` ran out of memory; later plans are smaller too.
   * @throws the failure if nothing smaller is allowed
   */
  planSmaller(
    failed: PassPlan,
    failure: OutOfMemoryError,
    samples: readonly WindowSample[],
    costs: Costs,
    options: PlannerOptions,
  ): PassPlan {
    const largest = Math.max(...failed.passes.map(({ bytes }) => bytes));
    this.#ceiling = TIGHTER * Math.min(this.#ceiling, largest);
    let plan: PassPlan;
    try {
      plan = this.plan(samples, costs, options);
    } catch {
      throw withLessMemory(failure, 'step');
    }
    options.onWarning?.(
      `${reasonOf(failure)}; the step is begun again in ${plan.passes.length} passes of at most ` +
        `${formatBytes(this.#ceiling)} each, and so are later ones`,
    );
    return plan;
  }

  #freeBytes(memoryBudget = Number.POSITIVE_INFINITY): number {
    const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#engine.memory();
    const limit = Math.min(limitBytes, memoryBudget - overheadBytes);
    return largestPass(this.#engine.storage, limit - bytesInUse);
  }

  #tooLarge({ neededBytes, size, samples }: Misfit, free: number, options: PlannerOptions): OutOfMemoryError {
    const { gradientCheckpointing, memoryBudget } = options;
    const recomputed = gradientCheckpointing === false ? 'without recomputation' : 'with every layer recomputed';
    const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#engine.memory();
    const budget = Math.min(limitBytes + overheadBytes, memoryBudget ?? Number.POSITIVE_INFINITY);
    const reserveBytes = reserveFor(this.#engine.storage, neededBytes);
    const smallest = Math.ceil(overheadBytes + bytesInUse + neededBytes + reserveBytes);
    const beside = overheadBytes > 0 ? `, code and context ${formatBytes(overheadBytes)}` : '';
    return new OutOfMemoryError(
      `out of memory: ${samples} ${samples === 1 ? 'sample' : 'samples'} of ${size.tokens} tokens and ${size.patches} ` +
        `image patches need ${formatBytes(neededBytes)} ${recomputed}, ${formatBytes(free)} are free: of ` +
        `${formatBytes(budget)}, weights and training state hold ${formatBytes(bytesInUse)}${beside}, and ` +
        `${formatBytes(reserveBytes)} are left alone because free memory lies in pieces`,
      {
        hint: `Or raise memoryBudget to at least ${formatBytes(smallest)}.`,
        neededBytes: Math.ceil(neededBytes),
        freeBytes: Math.floor(free),
        limitBytes: budget,
        details: {
          heldBytes: bytesInUse,
          smallestBudgetBytes: smallest,
          tokens: size.tokens,
          patches: size.patches,
          samples,
        },
      },
    );
  }
}

/** What the options of a run can do where an engine is out of memory: the engine itself does not know them. */
const LESS = {
  step:
    'Set gradientCheckpointing: "auto" or true, autoMicroBatch: true, or lower perDeviceTrainBatchSize (and raise ' +
    'gradientAccumulationSteps as much), ',
  evaluation: 'Lower perDeviceEvalBatchSize, ',
};

/** The same error with a hint at these options; others stay as they are. */
export function withLessMemory(error: unknown, work: keyof typeof LESS): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const hint = `${LESS[work]}the collator's maxLength or the image processor's longestEdge.`;
  return error.with({ hint: error.hint === undefined ? hint : `${hint} ${error.hint}` });
}
