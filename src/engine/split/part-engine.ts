/** What an engine offers beside `Engine` to be one of several that a model lies on. */
import type { WeightSource } from '../../formats/weight-source.js';
import type { Deferred, Engine, OptimizerState, OptimizerStep } from '../engine.js';
import type { ParameterSet, Tensor } from '../tensor.js';

/** Sums of the squares of a set's gradients, as an engine has them; opaque to others. */
export interface SquaredGradients {
  /** Blocks that were summed. */
  readonly count: number;
}

export interface PartEngine extends Engine {
  /**
   * A copy, with a count of 1, of a tensor of another engine of the same kind. It is queued behind the work on both: nothing
   * waits here.
   */
  receive(tensor: Tensor, from: PartEngine): Tensor;
  /** Bytes of the weight when it is loaded here. */
  weightBytes(source: WeightSource): number;
  /** Queues the sums for the next step of this set. */
  squaredGradients(set: ParameterSet, state: OptimizerState): SquaredGradients;
  /**
   * As that of `Engine`, for one part of a set.
   * @param parts the sums of all parts, in one order: their norm is what clips, and decides whether anything is updated
   */
  optimizerStep(
    set: ParameterSet,
    state: OptimizerState,
    options: OptimizerStep,
    parts?: readonly SquaredGradients[],
  ): Deferred<number>;
}
