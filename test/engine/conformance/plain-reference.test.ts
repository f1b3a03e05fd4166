import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import { BLOCK_CASES } from './blocks.js';
import { CASES, type Case } from './cases.js';
import { Laboratory } from './laboratory.js';
import { Meter } from './measure.js';
import { type Plain, type PlainRun, plainRun, roundBfloat16, type Values } from './plain-reference.js';

const engine = createCpuEngine({ threads: 1 });
afterAll(() => engine.dispose());

/** The references are smooth and in double: differences are right to about 1e-8. */
const STEP = 2e-5;

/** Relative difference of the gradients and differences along random directions, of inputs and parameters at once. */
function errorAlong(
  lab: Laboratory,
  inputs: readonly Values[],
  parameters: Values,
  outputs: number,
  reference: (run: PlainRun, inputs: readonly Values[]) => Plain,
): number {
  const run = plainRun(parameters, false);
  const plain = reference(run, inputs);
  const weights = plain.outputs.map((values, i) =>
    i < outputs ? Float64Array.from(lab.numbers(values.length)) : undefined,
  );
  const gradients = [...plain.backward(weights), run.parameterGradients.slice()];
  const places = [...inputs, parameters];
  let [worst, size] = [0, 0];
  for (let k = 0; k < 4; k++) {
    const directions = places.map((values) => lab.numbers(values.length));
    const moved = (step: number): number => {
      const [all, own] = [places.slice(), directions].map((lists) => lists);
      const at = all!.map((values, i) => (values as Values).map((value, j) => value + step * own![i]![j]!));
      const result = reference(plainRun(at.at(-1)!, false), at.slice(0, -1));
      return result.outputs.reduce((sum, values, i) => {
        const weight = weights[i];
        return weight ? sum + values.reduce((total, value, j) => total + value * weight[j]!, 0) : sum;
      }, 0);
    };
    const expected = (moved(STEP) - moved(-STEP)) / (2 * STEP);
    const actual = gradients.reduce(
      (sum, values, i) => sum + values.reduce((total, value, j) => total + value * directions[i]![j]!, 0),
      0,
    );
    worst = Math.max(worst, Math.abs(actual - expected));
    size = Math.max(size, Math.abs(expected));
  }
  return size === 0 ? worst : worst / size;
}

describe('gradients of the references are slopes of their results', () => {
  for (const [name, cases] of Object.entries(CASES)) {
    if (name === 'embedding') continue;
    for (const testCase of cases as readonly Case<unknown>[]) {
      it(`${name}: ${testCase.title}`, async () => {
        const lab = new Laboratory(engine, 1);
        const { inputs, parameters, reference, gradientOutputs = 9 } = await testCase.prepare(lab);
        const values = inputs.map((input) => input.values);
        const error = errorAlong(lab, values, parameters?.values ?? new Float64Array(0), gradientOutputs, reference);
        lab.clear();
        expect(error).toBeLessThan(1e-5);
      });
    }
  }
  for (const { block, title, shape, make } of BLOCK_CASES.filter(
    ({ shape, title }) => shape.rows * shape.columns < 1500 && !title.includes('relu'),
  )) {
    it(`${block}: ${title}`, async () => {
      const lab = new Laboratory(engine, 1);
      const { parameters, plain } = await make(lab);
      const inputs = Array.from({ length: shape.residual ? 2 : 1 }, () =>
        Float64Array.from(lab.numbers(shape.rows * shape.columns)),
      );
      const error = errorAlong(lab, inputs, parameters.values, 2, plain);
      lab.clear();
      expect(error).toBeLessThan(1e-5);
    });
  }
});

describe('roundBfloat16', () => {
  it('rounds to the nearest, ties to even, and keeps NaN', () => {
    const given = [
      1,
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -8 + 2 ** -16,
      -Math.PI,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ];
    const rounded = [1, 1, 1 + 2 ** -6, 1 + 2 ** -7, -3.140625, Number.NaN, Number.POSITIVE_INFINITY];
    expect(Array.from(roundBfloat16(given))).toEqual(rounded);
  });
});

describe('Meter', () => {
  it('fails beyond the limit and for what is no number', () => {
    const exact = Float64Array.of(1, -2, 3);
    const near = exact.map((value) => value * (1 + 2 ** -10));
    new Meter().compare('near', near, exact, exact, 0);
    expect(() => new Meter().compare('far', [1, -2, 3.1], exact, exact, 0)).toThrow(/far/);
    expect(() => new Meter().compare('nothing', [1, Number.NaN, 3], exact, exact, 0)).toThrow(/nothing/);
    expect(() => new Meter().compare('float32', near, exact, undefined, 1e-6)).toThrow(/float32/);
  });
});
