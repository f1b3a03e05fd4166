/** What an engine's results are compared with: the exact ones, and the bfloat16 composition's. */
import assert from 'node:assert/strict';
import type { Engine } from '../../../src/engine/engine.js';
import type { HeldFormat } from '../../../src/formats/weight-source.js';
import { Laboratory } from './laboratory.js';
import type { Meter } from './measure.js';
import { type Gradients, type Plain, type PlainRun, plainRun, type Values } from './plain-reference.js';

export interface Tolerances {
  readonly forward: number;
  readonly backward: number;
}

/** Exact values, and those of the bfloat16 composition where the engine is one of bfloat16. */
export class References {
  readonly exact: Plain;
  readonly #rounded: Plain | undefined;
  readonly #runs: readonly PlainRun[];

  constructor(lab: Laboratory, parameters: Values, make: (run: PlainRun) => Plain) {
    const [exact, rounded] = [plainRun(parameters, false), plainRun(parameters, true)];
    this.#runs = [exact, rounded];
    this.exact = make(exact);
    this.#rounded = lab.isBfloat16 ? make(rounded) : undefined;
  }

  compareOutputs(meter: Meter, outputs: readonly ArrayLike<number>[], tolerance: number): void {
    assert.equal(outputs.length, this.exact.outputs.length, 'number of outputs');
    for (const [i, output] of outputs.entries()) {
      meter.compare(`output ${i}`, output, this.exact.outputs[i]!, this.#rounded?.outputs[i], tolerance);
    }
  }

  /** Of the inputs, then of the parameters if there are any. */
  gradients(incoming: Gradients): { exact: readonly Values[]; rounded: readonly Values[] | undefined } {
    const [exact, rounded] = [this.exact, this.#rounded].map((plain, i) => {
      const { parameterGradients } = this.#runs[i]!;
      parameterGradients.fill(0);
      const inputs = plain?.backward(incoming);
      return inputs && (parameterGradients.length > 0 ? [...inputs, parameterGradients.slice()] : [...inputs]);
    });
    return { exact: exact!, rounded };
  }

  compareGradients(
    meter: Meter,
    incoming: Gradients,
    actual: readonly (ArrayLike<number> | undefined)[],
    tolerance: number,
    what: string,
  ): void {
    const { exact, rounded } = this.gradients(incoming);
    // A gradient that vanishes (attention to a single key) is measured by the one that came in.
    const scale = 1e-2 * Math.hypot(...incoming.map((values) => (values ? Math.hypot(...values) : 0)));
    for (const [i, gradient] of actual.entries()) {
      if (gradient) meter.compare(`${what} ${i}`, gradient, exact[i]!, rounded?.[i], tolerance, scale);
    }
  }
}

/** Random gradients of the first `count` outputs, as the engine holds them. */
export async function outputGradients(lab: Laboratory, plain: Plain, count = plain.outputs.length): Promise<Values[]> {
  const made: Values[] = [];
  for (const output of plain.outputs.slice(0, count)) made.push((await lab.tensor([1, output.length])).values);
  return made;
}

/** Runs `body` with a laboratory and expects all of the engine's memory back. */
export async function inLaboratory(
  engine: Engine,
  seed: number,
  body: (lab: Laboratory) => Promise<void>,
  hold?: HeldFormat,
): Promise<void> {
  const before = engine.memory().bytesInUse;
  const lab = new Laboratory(engine, seed, undefined, hold);
  try {
    await body(lab);
  } finally {
    lab.clear();
  }
  assert.equal(engine.memory().bytesInUse, before, 'bytes in use afterwards');
}
