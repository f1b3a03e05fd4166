/**
 * The suite that every engine passes: each operation forward and backward against plain double-precision loops, blocks of
 * a layer against the composition of those, and the rules of src/engine/operations.ts. It needs no test framework:
 * conformance.ts hands it to vitest, program.ts runs it by itself.
 */
import assert from 'node:assert/strict';
import type { Engine } from '../../../src/engine/engine.js';
import type { Operation, OperationName, Precision } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import type { HeldFormat } from '../../../src/formats/weight-source.js';
import { BLOCK_CASES, HELD_BLOCK_CASES, runBlock } from './blocks.js';
import { CACHE_CASES, runCache } from './cached-attention.js';
import { CASES, type Case, HELD_LINEAR_CASES, type Trial } from './cases.js';
import { ENGINE_CHECKS } from './engine-checks.js';
import { HELD_CHECKS } from './held-checks.js';
import type { Laboratory } from './laboratory.js';
import { expectSame, type Meter, relativeError } from './measure.js';
import { NON_FINITE_CHECKS } from './non-finite.js';
import { describeHold } from './plain-quantization.js';
import type { Gradients } from './plain-reference.js';
import { HELD_PRECISION_CASES, PRECISION_BLOCK_CHECKS, PRECISION_CASES } from './precision.js';
import { inLaboratory, outputGradients, References, type Tolerances } from './references.js';

export interface ConformanceOptions {
  /** Largest relative L2 error of an output of an engine of float32. Default 2e-6. */
  readonly forwardTolerance?: number;
  /** Largest relative L2 error of a gradient of such an engine. Default 1e-5. */
  readonly backwardTolerance?: number;
  /** Groups that this engine cannot run here, each with the reason. */
  readonly skip?: Readonly<Record<string, string>>;
}

export interface Check {
  /** An operation, a block, or `memory`. */
  readonly group: string;
  readonly title: string;
  /** Only for engines that hold matrices so: `cannotHold`. */
  readonly held?: HeldFormat['format'] | undefined;
  /** Why it is not run. */
  readonly skipped?: string | undefined;
  /** Only for engines with products in this precision: `cannotHold`. */
  readonly precision?: Precision | undefined;
  run(engine: Engine, meter: Meter): Promise<void>;
}

/** Why an engine does not run a check, if it is one of a format or a precision that it has not. */
export function cannotHold(engine: Engine, { held, precision }: Check): string | undefined {
  if (precision && !engine.precisions?.includes(precision))
    return `${engine.name} has no products in ${precision} here`;
  return held && !engine.heldFormats?.includes(held) ? `${engine.name} holds no ${held}` : undefined;
}

/** One case of one operation. */
class CaseRun<A> {
  readonly lab: Laboratory;
  readonly trial: Trial<A>;
  readonly references: References;
  readonly #engine: Engine;
  readonly #operation: Operation<A>;

  constructor(lab: Laboratory, operation: Operation<A>, trial: Trial<A>) {
    this.lab = lab;
    this.trial = trial;
    this.#engine = lab.engine;
    this.#operation = operation;
    const inputs = trial.inputs.map(({ values }) => values);
    const parameters = trial.parameters?.values ?? new Float64Array(0);
    this.references = new References(lab, parameters, (run) => trial.reference(run, inputs));
  }

  get #tensors(): Tensor[] {
    return this.trial.inputs.map(({ tensor }) => tensor);
  }

  async #expectInputsUnchanged(): Promise<void> {
    for (const { tensor, values } of this.trial.inputs) {
      expectSame(await this.#engine.read(tensor), values, 'input');
    }
  }

  /** Without recording: outputs are right, nothing is saved. */
  async forward(): Promise<Float32Array[]> {
    const { outputs, saved } = this.#operation.forward(this.#tensors, this.trial.attributes, false);
    assert.deepEqual(saved, [], 'saved without recording');
    const read: Float32Array[] = [];
    for (const output of outputs) read.push(await this.#engine.read(output));
    for (const output of outputs) this.#engine.release(output);
    await this.#expectInputsUnchanged();
    return read;
  }

  /** Forward and backward as the tape runs them; gives the gradients of the inputs. */
  async backward(incoming: Gradients, needs: readonly boolean[]): Promise<(Float32Array | undefined)[]> {
    const [engine, { trial }] = [this.#engine, this];
    const { outputs, saved } = this.#operation.forward(this.#tensors, trial.attributes, true);
    for (const tensor of saved) engine.retain(tensor);
    const shapes = outputs.map(({ shape }) => shape);
    for (const output of outputs) engine.release(output);
    const gradients = incoming.map((values, i) => values && engine.fromArray(Float32Array.from(values), shapes[i]!));
    const results = this.#operation.backward(saved, gradients, trial.attributes, needs);
    for (const tensor of saved) engine.release(tensor);
    const read: (Float32Array | undefined)[] = [];
    for (const [i, result] of results.entries()) {
      if (result) assert.deepEqual(result.shape, trial.inputs[i]!.tensor.shape, `shape of gradient ${i}`);
      read.push(result && (await engine.read(result)));
      // An incoming gradient may be handed on as a result: it must still hold its numbers.
      if (result) engine.release(result);
    }
    for (const [i, gradient] of gradients.entries()) {
      if (!gradient) continue;
      expectSame(await engine.read(gradient), incoming[i]!, 'output gradient');
      engine.release(gradient);
    }
    await this.#expectInputsUnchanged();
    return read;
  }

  async parameterGradients(): Promise<Float32Array | undefined> {
    const set = this.trial.parameters?.set;
    return set && (await this.#engine.readGradients(set));
  }

  zeroGradients(): void {
    if (this.trial.parameters?.set) this.#engine.zeroGradients(this.trial.parameters.set);
  }
}

async function checkBackward<A>(run: CaseRun<A>, meter: Meter, tolerance: number): Promise<void> {
  const { trial, references } = run;
  const all = trial.inputs.map(() => true);
  const incoming = await outputGradients(run.lab, references.exact, trial.gradientOutputs);
  const full = await run.backward(incoming, all);
  assert.ok(
    full.every((gradient) => gradient !== undefined),
    'a gradient of each input',
  );
  const first = await run.parameterGradients();
  references.compareGradients(meter, incoming, first ? [...full, first] : full, tolerance, 'gradient');
  if (first) {
    await run.backward(incoming, all);
    const twice = await run.parameterGradients();
    meter.read(
      'gradients add up',
      relativeError(
        twice!,
        first.map((value) => 2 * value),
      ),
      1e-5,
    );
  }
  // Not needed: nothing comes, and the others are as right as they were.
  for (const skipped of all.keys()) {
    const needs = all.map((_, i) => i !== skipped);
    run.zeroGradients();
    const some = await run.backward(incoming, needs);
    assert.equal(some[skipped], undefined, 'a gradient that nobody needs');
    const own = await run.parameterGradients();
    references.compareGradients(
      meter,
      incoming,
      own ? [...some, own] : some,
      tolerance,
      `without ${skipped}: gradient`,
    );
  }
  // An output without a gradient counts as zero.
  for (const missing of incoming.length > 1 ? incoming.keys() : []) {
    run.zeroGradients();
    const of = incoming.map((values, i) => (i === missing ? undefined : values));
    const gradients = await run.backward(of, all);
    const own = await run.parameterGradients();
    const whole = gradients.map((gradient, i) => gradient ?? new Float32Array(trial.inputs[i]!.values.length));
    references.compareGradients(
      meter,
      of,
      own ? [...whole, own] : whole,
      tolerance,
      `output ${missing} missing: gradient`,
    );
  }
  const none = incoming.map(() => undefined);
  for (const gradient of await run.backward(none, all)) {
    assert.ok(gradient === undefined || gradient.every((value) => value === 0), 'a gradient of nothing');
  }
}

/** `hold`: matrices held so; what is expected are the results of the values that they then stand for. */
function caseChecks<A>(
  name: OperationName,
  testCase: Case<A>,
  { forward, backward }: Tolerances,
  hold?: HeldFormat,
): Check[] {
  const title = titleOf(testCase.title, hold);
  const seed = testCase.title.length + name.length;
  const within = (engine: Engine, body: (run: CaseRun<A>) => Promise<void>): Promise<void> =>
    inLaboratory(
      engine,
      seed,
      async (lab) =>
        body(new CaseRun(lab, engine.operations[name] as unknown as Operation<A>, await testCase.prepare(lab))),
      hold,
    );
  const checks: Check[] = [
    {
      group: name,
      held: hold?.format,
      title: `${title}: forward`,
      run: (engine, meter) =>
        within(engine, async (run) => run.references.compareOutputs(meter, await run.forward(), forward)),
    },
  ];
  if (name !== 'embedding') {
    checks.push({
      group: name,
      held: hold?.format,
      title: `${title}: backward`,
      run: (engine, meter) => within(engine, (run) => checkBackward(run, meter, backward)),
    });
  }
  return checks;
}

function precisionChecks(
  { precision, ...testCase }: (typeof PRECISION_CASES)[number],
  tolerances: Tolerances,
  hold?: HeldFormat,
): Check[] {
  return caseChecks('linear', testCase, tolerances, hold).map((check) => ({ ...check, group: 'precision', precision }));
}

/** All checks, in order. */
export function conformanceChecks(options: ConformanceOptions = {}): Check[] {
  const { forwardTolerance = 2e-6, backwardTolerance = 1e-5, skip = {} } = options;
  const tolerances: Tolerances = { forward: forwardTolerance, backward: backwardTolerance };
  const checks: Check[] = ENGINE_CHECKS.map(({ title, run }) => ({
    group: 'memory',
    title,
    run: (engine: Engine) => run(engine, forwardTolerance),
  }));
  for (const { title, format, run } of HELD_CHECKS) checks.push({ group: 'held weights', held: format, title, run });
  for (const name of Object.keys(CASES) as OperationName[]) {
    for (const testCase of CASES[name] as readonly Case<unknown>[]) {
      checks.push(...caseChecks(name, testCase, tolerances));
    }
  }
  for (const testCase of PRECISION_CASES) checks.push(...precisionChecks(testCase, tolerances));
  for (const { title, run } of [...PRECISION_BLOCK_CHECKS, ...NON_FINITE_CHECKS])
    checks.push({ group: 'precision', precision: 'fp8', title, run });
  for (const testCase of HELD_PRECISION_CASES) {
    for (const hold of HOLDS) checks.push(...precisionChecks(testCase, tolerances, hold));
  }
  checks.push(...blockChecks(tolerances));
  for (const hold of HOLDS) {
    for (const name of ['embedding', 'linear', 'crossEntropy'] as const) {
      const cases = name === 'linear' ? [...CASES.linear, ...HELD_LINEAR_CASES] : CASES[name];
      for (const testCase of cases as readonly Case<unknown>[]) {
        checks.push(...caseChecks(name, testCase, tolerances, hold));
      }
    }
    checks.push(...blockChecks(tolerances, hold));
  }
  return checks.map((check) => ({ ...check, skipped: skip[check.group] }));
}

/** One of each kernel: loading has the others. */
const HOLDS: readonly HeldFormat[] = [
  { format: 'nf4', blockSize: 64, doubleQuantization: true },
  { format: 'f8_e4m3' },
];

function titleOf(title: string, hold: HeldFormat | undefined): string {
  return hold ? `${title}, held in ${describeHold(hold)}` : title;
}

function blockChecks(tolerances: Tolerances, hold?: HeldFormat): Check[] {
  const check = (group: string, title: string, body: (lab: Laboratory, meter: Meter) => Promise<void>): Check => ({
    group,
    held: hold?.format,
    title: titleOf(title, hold),
    run: (engine, meter) => inLaboratory(engine, title.length, (lab) => body(lab, meter), hold),
  });
  return [
    ...[...BLOCK_CASES, ...(hold ? HELD_BLOCK_CASES : [])].map((testCase) =>
      check(testCase.block, testCase.title, (lab, meter) => runBlock(lab, meter, testCase, tolerances)),
    ),
    ...CACHE_CASES.map((testCase) =>
      check('attentionBlock', testCase.title, (lab, meter) => runCache(lab, meter, testCase, tolerances)),
    ),
  ];
}
