/** Does every trainable tensor learn? A tensor that is cut off from the loss trains on in silence otherwise. */

import type { Engine } from '../engine/engine.js';
import type { Parameter, ParameterSet } from '../engine/tensor.js';
import { TrainingError } from '../errors.js';
import { shortList } from '../messages/short-list.js';

const LISTED = 5;

/**
 * Looks at the gradients twice in a run, each time before the optimizer step. At the first step a tensor that is all
 * zero, in LoRA B, must receive a gradient. That of A passes through B and is zero as long as B is: it is looked at
 * after the first update that moved B (with a warm-up the first has rate 0).
 */
export class GradientCoverage {
  #phase: 'first' | 'wait' | 'second' | 'done' = 'first';
  #silent: readonly Parameter[] = [];
  /** Were all zero at the first step and had a gradient: what the silent ones wait for. */
  #awaited: readonly Parameter[] = [];

  get isDone(): boolean {
    return this.#phase === 'done';
  }

  /**
   * Call with the gradients of a window complete, before the optimizer step with that rate.
   * @returns a warning, or undefined
   * @throws TrainingError at the first step if no tensor at all received a gradient
   */
  async check(engine: Engine, set: ParameterSet, step: number, learningRate: number): Promise<string | undefined> {
    let warning: string | undefined;
    if (this.#phase === 'first') {
      const hasNone = await areZero(engine, set, 'gradients');
      this.#silent = set.parameters.filter((_, i) => hasNone[i]);
      if (this.#silent.length === set.parameters.length) {
        throw new TrainingError(`step ${step}: none of ${set.parameters.length} trainable tensors got a gradient`, {
          hint: 'The adapter is not connected to the loss: check that the targeted modules are used by the model.',
          details: { step },
        });
      }
      if (this.#silent.length > 0) {
        const isZero = await areZero(engine, set, 'values');
        const dead = set.parameters.filter((_, i) => hasNone[i] && isZero[i]);
        this.#silent = set.parameters.filter((_, i) => hasNone[i] && !isZero[i]);
        this.#awaited = set.parameters.filter((_, i) => !hasNone[i] && isZero[i]);
        warning = describe(dead, set);
      }
      this.#phase = this.#silent.length > 0 ? 'wait' : 'done';
    } else if (this.#phase === 'second') {
      const isZero = new Map((await areZero(engine, set, 'values')).map((zero, i) => [set.parameters[i]!, zero]));
      const moved = this.#awaited.length === 0 || this.#awaited.some((parameter) => !isZero.get(parameter));
      if (!moved) return undefined;
      const hasNone = await areZero(engine, set, 'gradients');
      const silent = new Set(this.#silent);
      warning = describe(
        set.parameters.filter((parameter, i) => silent.has(parameter) && hasNone[i]),
        set,
      );
      this.#phase = 'done';
    }
    if (this.#phase === 'wait' && learningRate > 0) this.#phase = 'second';
    return warning;
  }
}

async function areZero(engine: Engine, set: ParameterSet, of: 'values' | 'gradients'): Promise<readonly boolean[]> {
  if (engine.areZero) return engine.areZero(set, of);
  const flat = await (of === 'values' ? engine.readParameters(set) : engine.readGradients(set));
  return set.parameters.map(({ offset, size }) => flat.subarray(offset, offset + size).every((value) => value === 0));
}

function describe(dead: readonly Parameter[], set: ParameterSet): string | undefined {
  if (dead.length === 0) return undefined;
  return (
    `${dead.length} of ${set.parameters.length} trainable tensors got no gradient and learn nothing ` +
    `(${shortList(dead, LISTED, ({ name }) => name)}); expected only if the step's samples do not use them, such as a vision tower without images`
  );
}
