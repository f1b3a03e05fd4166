/**
 * The suite that every engine passes: each operation forward against plain double-precision loops, backward against
 * central differences of those loops, and the rules of src/engine/operations.ts. Errors are relative L2 errors.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import type { Operation, OperationName } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { EngineError } from '../../../src/errors.js';
import { CASES, type Case, type Trial } from './cases.js';
import { Laboratory } from './laboratory.js';

export interface ConformanceOptions {
  /** Largest relative L2 error of an output. Default 2e-6. */
  readonly forwardTolerance?: number;
  /** Largest relative L2 error of a gradient. Default 1e-5. */
  readonly backwardTolerance?: number;
  /** Operations that this engine cannot run here, each with the reason. */
  readonly skip?: Partial<Record<OperationName, string>>;
}

/** Step of the central differences; the reference is smooth and in double, so their error is about 1e-8. */
const STEP = 1e-4;

export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let difference = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  // NaN must not pass for small; an expected zero must be met exactly.
  if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
  return size === 0 ? Math.sqrt(difference) : Math.sqrt(difference / size);
}

/** Bit for bit; vitest's own comparison takes seconds for long arrays. */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what = 'numbers'): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let differing = -1;
  for (let i = 0; i < expected.length && differing < 0; i++) if (!Object.is(actual[i], expected[i])) differing = i;
  expect(
    differing < 0 ? undefined : { at: differing, is: actual[differing], was: expected[differing] },
    what,
  ).toBeUndefined();
}

/** Where gradients flow: each input, and the parameters as one more. */
function places<A>(trial: Trial<A>): Float64Array[] {
  const inputs = trial.inputs.map(({ values }) => values);
  return trial.parameters && trial.parameters.values.length > 0 ? [...inputs, trial.parameters.values] : inputs;
}

/** Σ weights · outputs, where place `index` holds other numbers. */
function objective<A>(
  trial: Trial<A>,
  weights: readonly (Float64Array | undefined)[],
  index: number,
  values: Float64Array,
): number {
  const all = places(trial).map((own, i) => (i === index ? values : own));
  const outputs = trial.reference(all.slice(0, trial.inputs.length), all[trial.inputs.length] ?? new Float64Array(0));
  let sum = 0;
  for (const [i, weight] of weights.entries()) {
    if (weight) for (let j = 0; j < weight.length; j++) sum += weight[j]! * outputs[i]![j]!;
  }
  return sum;
}

/**
 * Relative L2 error of a gradient, estimated without one difference for each element: along random directions u with
 * independent unit-normal elements, the mean of (gradient·u - difference)² is the squared L2 error. A few single
 * elements, the first and the last among them, are compared as well.
 */
function gradientError<A>(
  lab: Laboratory,
  trial: Trial<A>,
  weights: readonly (Float64Array | undefined)[],
  index: number,
  gradient: Float32Array,
): number {
  const values = places(trial)[index]!;
  expect(gradient.length).toBe(values.length);
  const slope = (direction: (i: number) => number): number => {
    const ahead = values.map((value, i) => value + STEP * direction(i));
    const behind = values.map((value, i) => value - STEP * direction(i));
    return (objective(trial, weights, index, ahead) - objective(trial, weights, index, behind)) / (2 * STEP);
  };
  let total = 0;
  let size = 0;
  const directions = 3;
  for (let k = 0; k < directions; k++) {
    const u = Float64Array.from(lab.numbers(values.length));
    const own = gradient.reduce((sum, g, i) => sum + g * u[i]!, 0);
    const expected = slope((i) => u[i]!);
    total += (own - expected) ** 2 / directions;
    size += expected ** 2 / directions;
  }
  // Along few directions the size may come out small by chance; the gradient's own norm does not. A gradient that
  // vanishes (attention to a single key) is measured by the one that came in: what is left of it is rounding.
  const incoming = Math.hypot(...weights.map((weight) => (weight ? Math.hypot(...weight) : 0)));
  const norm = Math.max(Math.sqrt(size), Math.hypot(...gradient), 1e-2 * incoming);
  let worst = Math.sqrt(total);
  const picked = [0, values.length - 1, lab.random.nextUint32() % values.length];
  for (const at of picked) worst = Math.max(worst, Math.abs(gradient[at]! - slope((i) => (i === at ? 1 : 0))));
  return Number.isNaN(worst) ? Number.POSITIVE_INFINITY : norm === 0 ? worst : worst / norm;
}

/** Checks one case of one operation. */
class CaseRun<A> {
  readonly engine: Engine;
  readonly operation: Operation<A>;
  readonly lab: Laboratory;
  readonly trial: Trial<A>;

  constructor(engine: Engine, operation: Operation<A>, lab: Laboratory, trial: Trial<A>) {
    this.engine = engine;
    this.operation = operation;
    this.lab = lab;
    this.trial = trial;
  }

  get tensors(): Tensor[] {
    return this.trial.inputs.map(({ tensor }) => tensor);
  }

  async expectInputsUnchanged(): Promise<void> {
    for (const { tensor, values } of this.trial.inputs) {
      expectSame(await this.engine.read(tensor), values, 'input');
    }
  }

  /** Forward without recording: outputs are right, nothing is saved. */
  async forward(tolerance: number): Promise<void> {
    const { outputs, saved } = this.operation.forward(this.tensors, this.trial.attributes, false);
    expect(saved).toEqual([]);
    const parameters = this.trial.parameters?.values ?? new Float64Array(0);
    const expected = this.trial.reference(
      this.trial.inputs.map(({ values }) => values),
      parameters,
    );
    expect(outputs.length).toBe(expected.length);
    for (const [i, output] of outputs.entries()) {
      const error = relativeError(await this.engine.read(output), expected[i]!);
      expect(error, `output ${i}`).toBeLessThanOrEqual(tolerance);
    }
    for (const output of outputs) this.engine.release(output);
    await this.expectInputsUnchanged();
  }

  /** Forward and backward as the tape runs them; gives the gradients of the inputs and of the parameters. */
  async backward(
    weights: readonly (Float64Array | undefined)[],
    needs: readonly boolean[],
  ): Promise<(Float32Array | undefined)[]> {
    const { engine, trial } = this;
    const { outputs, saved } = this.operation.forward(this.tensors, trial.attributes, true);
    for (const tensor of saved) engine.retain(tensor);
    const shapes = outputs.map(({ shape }) => shape);
    for (const output of outputs) engine.release(output);
    const gradients = weights.map((weight, i) => weight && engine.fromArray(Float32Array.from(weight), shapes[i]!));
    const results = this.operation.backward(saved, gradients, trial.attributes, needs);
    for (const tensor of saved) engine.release(tensor);
    const read: (Float32Array | undefined)[] = [];
    for (const [i, result] of results.entries()) {
      if (result) expect(result.shape).toEqual(trial.inputs[i]!.tensor.shape);
      read.push(result && (await engine.read(result)));
      // An incoming gradient may be handed on as a result: it must still hold its numbers.
      if (result) engine.release(result);
    }
    for (const [i, gradient] of gradients.entries()) {
      if (!gradient) continue;
      expectSame(await engine.read(gradient), weights[i]!, 'output gradient');
      engine.release(gradient);
    }
    await this.expectInputsUnchanged();
    return read;
  }

  /** Random output gradients, as the engine holds them. */
  async outputGradients(): Promise<Float64Array[]> {
    const parameters = this.trial.parameters?.values ?? new Float64Array(0);
    const expected = this.trial.reference(
      this.trial.inputs.map(({ values }) => values),
      parameters,
    );
    const carrying = expected.slice(0, this.trial.gradientOutputs ?? expected.length);
    const weights: Float64Array[] = [];
    for (const output of carrying) weights.push((await this.lab.tensor([output.length])).values);
    return weights;
  }

  async parameterGradients(): Promise<Float32Array | undefined> {
    const parameters = this.trial.parameters;
    return parameters && parameters.values.length > 0 ? await this.engine.readGradients(parameters.set) : undefined;
  }
}

function checkCase<A>(engine: () => Engine, name: OperationName, testCase: Case<A>, options: ConformanceOptions): void {
  const { forwardTolerance = 2e-6, backwardTolerance = 1e-5 } = options;
  const withRun = async (body: (run: CaseRun<A>) => Promise<void>): Promise<void> => {
    const before = engine().memory().bytesInUse;
    const lab = new Laboratory(engine(), testCase.title.length + name.length);
    try {
      const operation = engine().operations[name] as unknown as Operation<A>;
      await body(new CaseRun(engine(), operation, lab, await testCase.prepare(lab)));
    } finally {
      lab.clear();
    }
    expect(engine().memory().bytesInUse, 'bytes in use afterwards').toBe(before);
  };

  it(`${testCase.title}: forward`, () => withRun((run) => run.forward(forwardTolerance)));

  if (name === 'embedding') return;

  it(`${testCase.title}: backward`, () =>
    withRun(async (run) => {
      const { trial, lab } = run;
      const all = trial.inputs.map(() => true);
      const weights = await run.outputGradients();
      const check = (
        gradients: readonly (Float32Array | undefined)[],
        of: readonly (Float64Array | undefined)[],
        what: string,
      ): void => {
        for (const [i, gradient] of gradients.entries()) {
          expect(gradient, `${what}: gradient ${i}`).toBeDefined();
          const error = gradientError(lab, trial, of, i, gradient!);
          expect(error, `${what}: gradient ${i}`).toBeLessThanOrEqual(backwardTolerance);
        }
      };
      const full = await run.backward(weights, all);
      const first = await run.parameterGradients();
      check(first ? [...full, first] : full, weights, 'all');
      if (first) {
        await run.backward(weights, all);
        const twice = await run.parameterGradients();
        const error = relativeError(
          twice!,
          first.map((value) => 2 * value),
        );
        expect(error, 'gradients add up').toBeLessThanOrEqual(backwardTolerance);
      }
      // Not needed: nothing comes, and the others are what they were.
      for (const skipped of all.keys()) {
        const needs = all.map((_, i) => i !== skipped);
        const some = await run.backward(weights, needs);
        for (const [i, gradient] of some.entries()) {
          if (needs[i]) expect(relativeError(gradient!, full[i]!)).toBeLessThanOrEqual(backwardTolerance / 10);
          else expect(gradient).toBeUndefined();
        }
      }
      // An output without a gradient counts as zero.
      for (const missing of weights.length > 1 ? weights.keys() : []) {
        if (trial.parameters) run.engine.zeroGradients(trial.parameters.set);
        const of = weights.map((weight, i) => (i === missing ? undefined : weight));
        const gradients = await run.backward(of, all);
        const own = await run.parameterGradients();
        for (const [i, gradient] of [...gradients, ...(own ? [own] : [])].entries()) {
          const values = gradient ?? new Float32Array(places(trial)[i]!.length);
          const error = gradientError(lab, trial, of, i, values);
          expect(error, `without output ${missing}: gradient ${i}`).toBeLessThanOrEqual(backwardTolerance);
        }
      }
      for (const gradient of await run.backward(
        weights.map(() => undefined),
        all,
      )) {
        expect(gradient === undefined || gradient.every((value) => value === 0)).toBe(true);
      }
    }));
}

/** Memory of the engine as the tape and the model use it. */
function checkEngine(engine: () => Engine, { forwardTolerance = 2e-6 }: ConformanceOptions): void {
  it('copies rows, adds in place and counts references', async () => {
    const before = engine().memory().bytesInUse;
    const lab = new Laboratory(engine(), 5);
    const target = await lab.tensor([9, 13]);
    const source = await lab.tensor([3, 13]);
    engine().writeRows(target.tensor, source.tensor, Int32Array.of(8, 0, 4));
    const expected = target.values.slice();
    for (const [i, row] of [8, 0, 4].entries()) expected.set(source.values.subarray(13 * i, 13 * (i + 1)), 13 * row);
    expectSame(await engine().read(target.tensor), expected);
    const ones = engine().fromArray(new Float32Array(39).fill(1), [3, 13]);
    engine().retain(ones);
    engine().release(ones);
    engine().addInPlace(ones, ones);
    expect(await engine().read(ones)).toEqual(new Float32Array(39).fill(2));
    const zeros = engine().zeros([3, 13]);
    expect(await engine().read(zeros)).toEqual(new Float32Array(39));
    engine().release(zeros);
    engine().release(ones);
    lab.clear();
    expect(engine().memory().bytesInUse).toBe(before);
  });

  it.each(['f32', 'bf16', 'f16'] as const)('loads, widens and frees a weight of %s', async (dtype) => {
    const before = engine().memory().bytesInUse;
    const lab = new Laboratory(engine(), 6);
    for (const shape of [[67], [33, 129]]) {
      const { weight, values } = await lab.weight('weight', shape, dtype);
      expect({ shape: weight.shape, dtype: weight.dtype }).toEqual({ shape, dtype });
      expectSame(await engine().readWeight(weight), values);
    }
    expect(engine().memory().bytesInUse).toBeGreaterThan(before);
    lab.clear();
    expect(engine().memory().bytesInUse).toBe(before);
  });

  it('frees what was made since a mark, however it is counted, and nothing else', async () => {
    const e = engine();
    const before = e.fromArray(Float32Array.of(1, 2, 3, 4), [2, 2]);
    const { bytesInUse, limitBytes } = e.memory();
    expect(limitBytes).toBeGreaterThan(bytesInUse);
    const mark = e.mark();
    const made = e.fromArray(Float32Array.of(5, 6, 7, 8), [2, 2]);
    e.retain(made);
    e.operations.add.forward([before, made], {}, true);
    expect(e.memory().bytesInUse).toBeGreaterThan(bytesInUse);
    e.releaseSince(mark);
    expect(e.memory().bytesInUse).toBeLessThanOrEqual(bytesInUse);
    expect(Array.from(await e.read(before))).toEqual([1, 2, 3, 4]);
    e.release(before);
  });

  it('drops by the key of a row, wherever the row lies, and refuses rows without a key', async () => {
    const lab = new Laboratory(engine(), 8);
    const [rows, k] = [12, 30];
    const x = await lab.tensor([rows, k]);
    const { weight } = await lab.weight('weight', [5, k], 'f32');
    const { byName } = lab.parameters([
      { name: 'a', shape: [4, k], deviation: 1 },
      { name: 'b', shape: [5, 4], deviation: 1 },
    ]);
    const lora = { a: byName('a'), b: byName('b'), scale: 1, dropout: 0.5, seed: 3 };
    const { linear } = engine().operations;
    const run = async (numbers: Float32Array, rowKeys: Int32Array): Promise<Float32Array> => {
      const { tensor } = await lab.tensor([rowKeys.length, k], numbers);
      const [y] = linear.forward([tensor], { parts: [{ weight, lora: { ...lora, rowKeys } }] }, false).outputs;
      const values = await engine().read(y!);
      engine().release(y!);
      return values;
    };
    const keys = lab.rowKeys(rows);
    const whole = await run(Float32Array.from(x.values), keys);
    const part = await run(Float32Array.from(x.values.subarray(7 * k)), keys.slice(7));
    expect(relativeError(part, whole.subarray(7 * 5))).toBeLessThanOrEqual(forwardTolerance);
    const others = await run(Float32Array.from(x.values), lab.rowKeys(rows));
    expect(relativeError(others, whole)).toBeGreaterThan(0.1);

    const forward = (changes: { dropout?: number; rowKeys?: Int32Array }, then?: Int32Array): unknown => {
      const first = { weight, lora: { ...lora, ...changes } };
      const parts = then ? [first, { weight, lora: { ...lora, rowKeys: then } }] : [first];
      return linear.forward([x.tensor], { parts }, false);
    };
    expect(() => forward({})).toThrow('linear: weight has dropout 0.5 and no row keys, expected 12');
    expect(() => forward({ rowKeys: keys.slice(1) })).toThrow('has dropout 0.5 and 11 row keys, expected 12');
    expect(() => forward({ rowKeys: keys, dropout: 1 })).toThrow('dropout of weight is 1, expected 0 <= p < 1');
    expect(() => forward({ rowKeys: keys, dropout: Number.NaN })).toThrow('dropout of weight is NaN');
    expect(() => forward({ rowKeys: keys }, keys.slice())).toThrow('has other row keys than the parts before it');
    lab.clear();
  });

  it('keeps parameters in order, float32, with gradients at zero', async () => {
    const lab = new Laboratory(engine(), 7);
    const { set, values, byName } = lab.parameters([
      { name: 'a', shape: [3, 5], deviation: 1 },
      { name: 'b', shape: [7, 2], deviation: 1 },
    ]);
    expect(set.size).toBe(29);
    expect(byName('b').offset).toBe(15);
    expectSame(await engine().readParameters(set), values);
    expect(await engine().readGradients(set)).toEqual(new Float32Array(29));
    const other = lab.numbers(29);
    engine().writeParameters(set, other);
    expect(await engine().readParameters(set)).toEqual(other);
    lab.clear();
  });

  it.each(['adamw', 'adamw8bit'] as const)('gives each parameter its own learning rate with %s', async (kind) => {
    const e = engine();
    const plain = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
    // Of two sizes, so that 8-bit moments are quantised in one and not in the other.
    const specs = [
      { name: 'a', shape: [64, 70], deviation: 1 },
      { name: 'b', shape: [9, 5], deviation: 1 },
      { name: 'c', shape: [70, 64], deviation: 1 },
    ];
    const run = async (learningRate: number, learningRateFactors?: readonly number[]): Promise<Float32Array> => {
      const lab = new Laboratory(e, 12);
      const { set } = lab.parameters(specs);
      const state = e.createOptimizerState(set, kind);
      for (let step = 0; step < 3; step++) {
        e.zeroGradients(set);
        for (const { grad, shape, size } of set.parameters) {
          const { tensor } = await lab.tensor(shape, lab.numbers(size));
          e.addInPlace(grad, tensor);
        }
        await e.optimizerStep(set, state, { ...plain, kind, learningRate, learningRateFactors })();
      }
      const values = await e.readParameters(set);
      e.releaseOptimizerState(set, state);
      lab.clear();
      return values;
    };
    const [slow, fast, none] = [await run(0.01), await run(0.04), await run(0)];
    expectSame(await run(0.01, [1, 1, 1]), slow, 'factors of 1');
    const mixed = await run(0.01, [1, 4, 0]);
    const [b, c] = [64 * 70, 64 * 70 + 45];
    const wanted = [...slow.subarray(0, b), ...fast.subarray(b, c), ...none.subarray(c)];
    expectSame(mixed, Float32Array.from(wanted), 'factors of 1, 4 and 0');
    expect(slow.some((value, i) => value !== fast[i] && value !== none[i])).toBe(true);
  });

  it('refuses noise for another number of rows', async () => {
    const lab = new Laboratory(engine(), 13);
    const { weight } = await lab.weight('table', [3, 8], 'f32');
    const noise = { rowKeys: lab.rowKeys(2), bounds: new Float32Array(1) };
    const attributes = { table: weight, ids: Int32Array.of(0, 2), noise };
    expect(() => engine().operations.embedding.forward([], attributes, false)).toThrow(
      'embedding: noise of 2 keys and 1 bounds for 2 rows',
    );
    lab.clear();
  });

  it.each(['adamw', 'adamw8bit'] as const)('steps a set with its own state of %s only', async (kind) => {
    const e = engine();
    const before = e.memory().bytesInUse;
    const lab = new Laboratory(e, 10);
    const specs = [{ name: 'a', shape: [3, 5], deviation: 1 }];
    const [one, other] = [lab.parameters(specs).set, lab.parameters(specs).set];
    const state = e.createOptimizerState(one, kind);
    const factors = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
    const values = await e.readParameters(other);
    expect(() => e.optimizerStep(other, state, { kind, ...factors })).toThrow(/belongs to another parameter set/);
    await expect((async () => e.readOptimizerState(other, state))()).rejects.toThrow(EngineError);
    expect(() => e.writeOptimizerState(other, state, {})).toThrow(/belongs to another parameter set/);
    expect(await e.readParameters(other)).toEqual(values);
    await e.optimizerStep(one, state, { kind, ...factors })();
    e.releaseOptimizerState(one, state);
    e.releaseOptimizerState(one, state);
    lab.clear();
    expect(e.memory().bytesInUse).toBe(before);
  });
}

export function describeConformance(
  name: string,
  createEngine: () => Engine | Promise<Engine>,
  options: ConformanceOptions = {},
): void {
  describe(`engine ${name}`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine();
    });
    afterAll(() => engine?.dispose());

    describe('memory', () => checkEngine(() => engine, options));
    for (const operation of Object.keys(CASES) as OperationName[]) {
      const reason = options.skip?.[operation];
      if (reason) {
        it.skip(`${operation}: ${reason}`, () => {});
        continue;
      }
      describe(operation, () => {
        for (const testCase of CASES[operation] as readonly Case<unknown>[]) {
          checkCase(() => engine, operation, testCase, options);
        }
      });
    }
  });
}
