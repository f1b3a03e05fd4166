/** What an engine does beside its operations: memory as the tape and the model use it, weights, parameters, optimizers. */
import assert from 'node:assert/strict';
import { patchesLength, writePatches } from '../../../src/batch/packed-images.js';
import type { Engine, OptimizerStep } from '../../../src/engine/engine.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import { EngineError } from '../../../src/errors.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import { dropoutMask, MersenneTwister } from '../../../src/random.js';
import { Laboratory } from './laboratory.js';
import { expectSame, relativeError } from './measure.js';

interface EngineCheck {
  readonly title: string;
  /** @param tolerance relative L2 error of what is computed twice */
  run(engine: Engine, tolerance: number): Promise<void>;
}

const STEP = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };

async function copies(engine: Engine): Promise<void> {
  const before = engine.memory().bytesInUse;
  const lab = new Laboratory(engine, 5);
  const target = await lab.tensor([9, 13]);
  const source = await lab.tensor([3, 13]);
  engine.writeRows(target.tensor, source.tensor, Int32Array.of(8, 0, 4));
  const expected = target.values.slice();
  for (const [i, row] of [8, 0, 4].entries()) expected.set(source.values.subarray(13 * i, 13 * (i + 1)), 13 * row);
  expectSame(await engine.read(target.tensor), expected);
  const ones = engine.fromArray(new Float32Array(39).fill(1), [3, 13]);
  engine.retain(ones);
  engine.release(ones);
  engine.addInPlace(ones, ones);
  expectSame(await engine.read(ones), new Float32Array(39).fill(2));
  const zeros = engine.zeros([3, 13]);
  expectSame(await engine.read(zeros), new Float32Array(39));
  engine.release(zeros);
  engine.release(ones);
  lab.clear();
  assert.equal(engine.memory().bytesInUse, before);
}

/** Those that the host writes, rounded as the engine rounds: without padding, padded at the right, and at the bottom. */
async function patches(engine: Engine): Promise<void> {
  if (!engine.imagePatches) return;
  const before = engine.memory().bytesInUse;
  const grids = Int32Array.of(2, 3, 4, 2, 1, 5, 3, 3);
  const padding = [0, 0, 0, 3, 2, 0, 1, 5];
  for (const patchSize of [2, 14]) {
    const random = new MersenneTwister(patchSize);
    const images = [0, 1, 2, 3].map((n) => {
      const height = grids[2 * n]! * patchSize + padding[2 * n]!;
      const width = grids[2 * n + 1]! * patchSize + padding[2 * n + 1]!;
      const pixels = Float32Array.from({ length: 7 + 3 * height * width }, () => random.nextNormal());
      return { pixels, offset: 7, channels: 3, height, width };
    });
    const starts = Int32Array.of(0, 6, 14, 19, 28);
    const packed = { images, patchSize, grids, starts, tokenRows: new Int32Array(0) };
    const expected = new Float32Array(patchesLength(packed));
    writePatches(packed, expected);
    const shape = [28, 3 * patchSize ** 2];
    const cut: Tensor = engine.imagePatches(packed);
    const written = engine.fromArray(expected, shape);
    assert.deepEqual(cut.shape, shape);
    // Addition takes both as the engine stores them.
    const zeros = engine.zeros(shape);
    engine.addInPlace(zeros, written);
    expectSame(await engine.read(cut), await engine.read(zeros));
    for (const tensor of [cut, written, zeros]) engine.release(tensor);
  }
  assert.equal(engine.memory().bytesInUse, before);
}

async function weights(engine: Engine, dtype: 'f32' | 'bf16' | 'f16'): Promise<void> {
  const before = engine.memory().bytesInUse;
  const lab = new Laboratory(engine, 6);
  for (const shape of [[67], [33, 129]]) {
    const { weight, values } = await lab.weight('weight', shape, dtype);
    assert.deepEqual({ shape: weight.shape, dtype: weight.dtype }, { shape, dtype });
    expectSame(await engine.readWeight(weight), values);
  }
  assert.ok(engine.memory().bytesInUse > before);
  lab.clear();
  assert.equal(engine.memory().bytesInUse, before);
}

/** 8-bit floats with a factor for each block of rows and columns; all products are exact in bfloat16. */
async function scaledWeight(engine: Engine): Promise<void> {
  const shape = [70, 40];
  const block = [32, 16] as const;
  const codes = Uint8Array.from({ length: 2800 }, (_, i) => ((i * 31) % 127) | ((i & 1) << 7));
  const factors = Float32Array.from({ length: 9 }, (_, i) => 0.5 + 0.25 * i);
  const weight = await engine.loadWeight({
    ...{ name: 'weight', shape, dtype: 'f8_e4m3', byteLength: codes.length },
    scale: { block, read: async () => factors },
    read: async (target, offset = 0) => target.set(codes.subarray(offset, offset + target.length)),
  });
  const expected = Float64Array.from(codes, (code, i) => {
    const at = Math.floor(Math.floor(i / 40) / block[0]) * 3 + Math.floor((i % 40) / block[1]);
    return e4m3ToNumber(code) * factors[at]!;
  });
  expectSame(await engine.readWeight(weight), expected);
  engine.releaseWeight(weight);
}

/** Also where a single element far inside is not zero. */
async function zeroParameters(engine: Engine): Promise<void> {
  if (!engine.areZero) return;
  const lab = new Laboratory(engine, 14);
  const specs = ['a', 'b', 'c'].map((name) => ({ name, shape: [60, 50], deviation: 0 }));
  const { set } = lab.parameters(specs);
  assert.deepEqual(await engine.areZero(set, 'values'), [true, true, true]);
  const values = new Float32Array(9000);
  values[5990] = -1e-30;
  engine.writeParameters(set, values);
  assert.deepEqual(await engine.areZero(set, 'values'), [true, false, true]);
  assert.deepEqual(await engine.areZero(set, 'gradients'), [true, true, true]);
  const ones = await lab.tensor([60, 50]);
  engine.addInPlace(set.parameters[2]!.grad, ones.tensor);
  assert.deepEqual(await engine.areZero(set, 'gradients'), [true, true, false]);
  lab.clear();
}

/** Ties, NaN and infinities; float32 and rows that an operation has made. */
async function rowMaxima(engine: Engine): Promise<void> {
  if (!engine.rowMaxima) return;
  const columns = 9001;
  const plain = Float32Array.from({ length: columns }, (_, i) => ((i * 37) % 101) / 64 - 2);
  const row = (changes: Record<number, number>) => Object.assign(plain.slice(), changes);
  const cases: [Float32Array, number, number][] = [
    [plain, 100 / 64 - 2, plain.indexOf(100 / 64 - 2)],
    [row({ 9000: 5 }), 5, 9000],
    [row({ 8191: 5, 17: 5, 8200: 5 }), 5, 17],
    [row({ 8192: Number.NaN, 4097: Number.NaN, 3: 7 }), Number.NaN, 4097],
    [row({ 5: Number.POSITIVE_INFINITY }), Number.POSITIVE_INFINITY, 5],
    [plain.map(() => Number.NEGATIVE_INFINITY), Number.NEGATIVE_INFINITY, 0],
    [plain.map(() => -3), -3, 0],
  ];
  const all = new Float32Array(cases.length * columns);
  for (const [i, [values]] of cases.entries()) all.set(values, i * columns);
  const given = engine.fromArray(all, [cases.length, columns]);
  const [copied] = engine.operations.gatherRows.forward(
    [given],
    { rows: Int32Array.from(cases.keys()) },
    false,
  ).outputs;
  const wide = engine.fromArray(all, [cases.length, columns]);
  for (const tensor of [copied!, wide]) {
    const { values, indices } = await engine.rowMaxima(tensor);
    assert.deepEqual(
      [...values],
      cases.map(([, value]) => value),
    );
    assert.deepEqual(
      [...indices],
      cases.map(([, , index]) => index),
    );
  }
  for (const tensor of [given, copied!, wide]) engine.release(tensor);
}

async function marks(engine: Engine): Promise<void> {
  const before = engine.fromArray(Float32Array.of(1, 2, 3, 4), [2, 2]);
  const { bytesInUse, limitBytes } = engine.memory();
  assert.ok(limitBytes > bytesInUse);
  const mark = engine.mark();
  const made = engine.fromArray(Float32Array.of(5, 6, 7, 8), [2, 2]);
  engine.retain(made);
  engine.operations.add.forward([before, made], {}, true);
  assert.ok(engine.memory().bytesInUse > bytesInUse);
  engine.releaseSince(mark);
  assert.ok(engine.memory().bytesInUse <= bytesInUse);
  assert.deepEqual(Array.from(await engine.read(before)), [1, 2, 3, 4]);
  engine.release(before);
}

async function rowKeys(engine: Engine, tolerance: number): Promise<void> {
  const lab = new Laboratory(engine, 8);
  const [rows, k] = [12, 30];
  const x = await lab.tensor([rows, k]);
  const { weight } = await lab.weight('weight', [5, k], 'f32');
  const { byName } = lab.parameters([
    { name: 'a', shape: [4, k], deviation: 1 },
    { name: 'b', shape: [5, 4], deviation: 1 },
  ]);
  const lora = { a: byName('a'), b: byName('b'), scale: 1, dropout: 0.5, seed: 3 };
  const { linear } = engine.operations;
  const run = async (numbers: Float32Array, keys: Int32Array): Promise<Float32Array> => {
    const { tensor } = await lab.tensor([keys.length, k], numbers);
    const [y] = linear.forward([tensor], { parts: [{ weight, lora: { ...lora, rowKeys: keys } }] }, false).outputs;
    const values = await engine.read(y!);
    engine.release(y!);
    return values;
  };
  const keys = lab.rowKeys(rows);
  const whole = await run(Float32Array.from(x.values), keys);
  const part = await run(Float32Array.from(x.values.subarray(7 * k)), keys.slice(7));
  assert.ok(relativeError(part, whole.subarray(7 * 5)) <= tolerance);
  const others = await run(Float32Array.from(x.values), lab.rowKeys(rows));
  assert.ok(relativeError(others, whole) > 0.1);

  const refuses = (changes: { dropout?: number; rowKeys?: Int32Array }, then?: Int32Array): void => {
    const first = { weight, lora: { ...lora, ...changes } };
    const parts = then ? [first, { weight, lora: { ...lora, rowKeys: then } }] : [first];
    assert.throws(() => linear.forward([x.tensor], { parts }, false), EngineError);
  };
  refuses({});
  refuses({ rowKeys: keys.slice(1) });
  refuses({ rowKeys: keys, dropout: 1 });
  refuses({ rowKeys: keys, dropout: Number.NaN });
  refuses({ rowKeys: keys }, keys.slice());
  lab.clear();
}

/** With A and B the identity and no frozen weight, a layer gives its input as the mask leaves it. */
async function maskBits(engine: Engine): Promise<void> {
  const lab = new Laboratory(engine, 15);
  const [rows, k] = [37, 64];
  const identity = Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? 1 : 0));
  const { weight } = await lab.weight('weight', [k, k], 'bf16', 0);
  const { set, byName } = lab.parameters(['a', 'b'].map((name) => ({ name, shape: [k, k], deviation: 0 })));
  engine.writeParameters(set, Float32Array.from([...identity, ...identity]));
  const { tensor } = await lab.tensor([rows, k], new Float32Array(rows * k).fill(1));
  for (const dropout of [0.5, 6554 / 65536]) {
    const [keys, seed] = [lab.rowKeys(rows), lab.random.nextUint32()];
    const lora = { a: byName('a'), b: byName('b'), scale: 1, dropout, seed, rowKeys: keys };
    const [y] = engine.operations.linear.forward([tensor], { parts: [{ weight, lora }] }, false).outputs;
    const kept = Array.from(await engine.read(y!), (value) => (value === 0 ? 0 : 1));
    engine.release(y!);
    expectSame(
      kept,
      Array.from(dropoutMask(keys, k, seed, dropout), (value) => (value === 0 ? 0 : 1)),
      'mask',
    );
  }
  lab.clear();
}

async function parameters(engine: Engine): Promise<void> {
  const lab = new Laboratory(engine, 7);
  const { set, values, byName } = lab.parameters([
    { name: 'a', shape: [3, 5], deviation: 1 },
    { name: 'b', shape: [7, 2], deviation: 1 },
  ]);
  assert.equal(set.size, 29);
  assert.equal(byName('b').offset, 15);
  expectSame(await engine.readParameters(set), values);
  expectSame(await engine.readGradients(set), new Float32Array(29));
  const other = lab.numbers(29);
  engine.writeParameters(set, other);
  expectSame(await engine.readParameters(set), other);
  lab.clear();
}

type Kind = OptimizerStep['kind'];

async function rates(engine: Engine, kind: Kind): Promise<void> {
  // Of two sizes, so that 8-bit moments are quantised in one and not in the other.
  const specs = [
    { name: 'a', shape: [64, 70], deviation: 1 },
    { name: 'b', shape: [9, 5], deviation: 1 },
    { name: 'c', shape: [70, 64], deviation: 1 },
  ];
  const run = async (learningRate: number, learningRateFactors?: readonly number[]): Promise<Float32Array> => {
    const lab = new Laboratory(engine, 12);
    const { set } = lab.parameters(specs);
    const state = engine.createOptimizerState(set, kind);
    for (let step = 0; step < 3; step++) {
      engine.zeroGradients(set);
      for (const { grad, shape, size } of set.parameters) {
        const { tensor } = await lab.tensor(shape, lab.numbers(size));
        engine.addInPlace(grad, tensor);
      }
      await engine.optimizerStep(set, state, { ...STEP, kind, learningRate, learningRateFactors })();
    }
    const values = await engine.readParameters(set);
    engine.releaseOptimizerState(set, state);
    lab.clear();
    return values;
  };
  const [slow, fast, none] = [await run(0.01), await run(0.04), await run(0)];
  expectSame(await run(0.01, [1, 1, 1]), slow, 'factors of 1');
  const mixed = await run(0.01, [1, 4, 0]);
  const [b, c] = [64 * 70, 64 * 70 + 45];
  const wanted = [...slow.subarray(0, b), ...fast.subarray(b, c), ...none.subarray(c)];
  expectSame(mixed, Float32Array.from(wanted), 'factors of 1, 4 and 0');
  assert.ok(slow.some((value, i) => value !== fast[i] && value !== none[i]));
}

async function noise(engine: Engine): Promise<void> {
  const lab = new Laboratory(engine, 13);
  const { weight } = await lab.weight('table', [3, 8], 'f32');
  const given = { rowKeys: lab.rowKeys(2), bounds: new Float32Array(1) };
  const attributes = { table: weight, ids: Int32Array.of(0, 2), noise: given };
  assert.throws(() => engine.operations.embedding.forward([], attributes, false), EngineError);
  lab.clear();
}

async function states(engine: Engine, kind: Kind): Promise<void> {
  const before = engine.memory().bytesInUse;
  const lab = new Laboratory(engine, 10);
  const specs = [{ name: 'a', shape: [3, 5], deviation: 1 }];
  const [one, other] = [lab.parameters(specs).set, lab.parameters(specs).set];
  const state = engine.createOptimizerState(one, kind);
  const values = await engine.readParameters(other);
  assert.throws(() => engine.optimizerStep(other, state, { kind, ...STEP }), EngineError);
  await assert.rejects(async () => engine.readOptimizerState(other, state), EngineError);
  assert.throws(() => engine.writeOptimizerState(other, state, {}), EngineError);
  expectSame(await engine.readParameters(other), values);
  await engine.optimizerStep(one, state, { kind, ...STEP })();
  engine.releaseOptimizerState(one, state);
  engine.releaseOptimizerState(one, state);
  lab.clear();
  assert.equal(engine.memory().bytesInUse, before);
}

const KINDS = Object.keys({ adamw: true, adamw8bit: true } satisfies Record<Kind, true>) as Kind[];

export const ENGINE_CHECKS: readonly EngineCheck[] = [
  { title: 'finds the largest value of each row', run: rowMaxima },
  { title: 'cuts images into the patches that the host writes', run: patches },
  { title: 'copies rows, adds in place and counts references', run: copies },
  ...(['f32', 'bf16', 'f16'] as const).map((dtype) => ({
    title: `loads, widens and frees a weight of ${dtype}`,
    run: (engine: Engine) => weights(engine, dtype),
  })),
  { title: 'loads a weight of 8-bit floats with its scales', run: scaledWeight },
  { title: 'tells parameters that are zero, where it can', run: zeroParameters },
  { title: 'frees what was made since a mark, however it is counted, and nothing else', run: marks },
  { title: 'drops by the key of a row, wherever the row lies, and refuses rows without a key', run: rowKeys },
  { title: 'drops the very elements that random.ts tells', run: maskBits },
  { title: 'keeps parameters in order, float32, with gradients at zero', run: parameters },
  ...KINDS.map((kind) => ({
    title: `gives each parameter its own learning rate with ${kind}`,
    run: (engine: Engine) => rates(engine, kind),
  })),
  { title: 'refuses noise for another number of rows', run: noise },
  ...KINDS.map((kind) => ({
    title: `steps a set with its own state of ${kind} only`,
    run: (engine: Engine) => states(engine, kind),
  })),
];
