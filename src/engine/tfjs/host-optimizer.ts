/** AdamW on the host over flat arrays: moments, and a count of steps for each parameter. */
import { EngineError } from '../../errors.js';
import {
  AdamW8bitState,
  applyAdamW,
  applyAdamW8bit,
  clipScale,
  gradientNorm,
  requireArrays,
} from '../cpu/optimizer.js';
import { learningRateOf, type OptimizerArrays, type OptimizerState, type OptimizerStep } from '../engine.js';
import type { Parameter } from '../tensor.js';

type Moments = { readonly m: Float32Array; readonly v: Float32Array } | AdamW8bitState;

export class HostOptimizer implements OptimizerState {
  readonly kind: OptimizerStep['kind'];
  /** For each parameter how many steps it has taken part in. */
  readonly #steps: Float32Array;
  readonly #moments: Moments;
  readonly parameters: readonly Pick<Parameter, 'offset' | 'size'>[];

  constructor(kind: OptimizerStep['kind'], parameters: readonly Pick<Parameter, 'offset' | 'size'>[]) {
    this.kind = kind;
    this.parameters = parameters;
    this.#steps = new Float32Array(parameters.length);
    const size = parameters.reduce((sum, parameter) => sum + parameter.size, 0);
    const moments: { readonly [K in OptimizerStep['kind']]: () => Moments } = {
      adamw: () => ({ m: new Float32Array(size), v: new Float32Array(size) }),
      adamw8bit: () => new AdamW8bitState(parameters.map((parameter) => parameter.size)),
    };
    this.#moments = moments[kind]();
  }

  /**
   * Changes `values` and the moments of the parameters that are `touched`; of none if the norm is not finite.
   * @returns the norm of all gradients before clipping, and whether anything was changed
   */
  step(
    values: Float32Array,
    gradients: Float32Array,
    touched: readonly boolean[],
    options: OptimizerStep,
  ): { norm: number; changed: boolean } {
    if (options.kind !== this.kind) {
      throw new EngineError(`optimizerStep: the state is of ${this.kind}, the step of ${options.kind}`);
    }
    const norm = gradientNorm(gradients);
    const scale = clipScale(norm, options.maxGradNorm);
    if (Number.isNaN(scale)) return { norm, changed: false };
    const steps = this.#steps.map((_, i) => (touched[i] ? ++this.#steps[i]! : 0));
    if (this.#moments instanceof AdamW8bitState) {
      applyAdamW8bit(values, gradients, this.#moments, { ...options, step: 0 }, scale, steps);
    } else {
      const { m, v } = this.#moments;
      for (const [i, { offset, size }] of this.parameters.entries()) {
        if (steps[i] === 0) continue;
        const part = (flat: Float32Array): Float32Array => flat.subarray(offset, offset + size);
        const step = { ...options, learningRate: learningRateOf(options, i), step: steps[i]! };
        applyAdamW(part(values), part(gradients), part(m), part(v), step, scale);
      }
    }
    return { norm, changed: true };
  }

  /** Copies of everything that a bit-equal resume needs. */
  toArrays(): OptimizerArrays {
    const moments = this.#moments instanceof AdamW8bitState ? this.#moments.toArrays() : this.#moments;
    return Object.fromEntries(Object.entries({ steps: this.#steps, ...moments }).map(([name, a]) => [name, a.slice()]));
  }

  /** @throws EngineError if an array is missing or has another length: then nothing was copied */
  fromArrays(arrays: OptimizerArrays): void {
    const targets = { steps: this.#steps, ...(this.#moments instanceof AdamW8bitState ? {} : this.#moments) };
    requireArrays(arrays, targets);
    if (this.#moments instanceof AdamW8bitState) this.#moments.fromArrays(arrays);
    for (const [name, target] of Object.entries(targets)) target.set(arrays[name]!);
  }
}
