/** Matrices held in 4 or 8 bits: the values after loading every kind of source, bit by bit. */
import assert from 'node:assert/strict';
import type { Engine } from '../../../src/engine/engine.js';
import { CheckpointError } from '../../../src/errors.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import {
  type DType,
  type HeldFormat,
  type Nf4Absmax,
  sizeOf,
  type WeightSource,
} from '../../../src/formats/weight-source.js';
import { encodeAll, Laboratory } from './laboratory.js';
import { expectSame } from './measure.js';
import { describeHold, plainHeldValues, plainNf4, plainNf4Values } from './plain-quantization.js';
import { roundBfloat16 } from './plain-reference.js';

export interface HeldCheck {
  readonly title: string;
  readonly format: HeldFormat['format'];
  run(engine: Engine): Promise<void>;
}

const nf4 = (blockSize: number, doubleQuantization: boolean): HeldFormat => ({
  format: 'nf4',
  blockSize,
  doubleQuantization,
});
const E4M3: HeldFormat = { format: 'f8_e4m3' };

/** Rows of whole blocks, of blocks that go over their ends, of odd length; more than one block of absmax. */
const SHAPES = [
  [24, 64],
  [20, 96],
  [33, 129],
  [300, 130],
] as const;

function sourceOf(bytes: Uint8Array, shape: readonly number[], rest: Partial<WeightSource>): WeightSource {
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return { name: 'weight', shape, dtype: 'bf16', byteLength: bytes.length, read, ...rest };
}

/** Loads, reads back and frees. */
async function roundTrip(engine: Engine, source: WeightSource, expected: ArrayLike<number>, what: string) {
  const before = engine.memory().bytesInUse;
  const weight = await engine.loadWeight(source);
  const { dtype } = source;
  assert.equal(weight.dtype, dtype === 'nf4' || dtype === 'f8_e4m3' ? 'bf16' : dtype, `${what}: dtype`);
  assert.equal(weight.held, source.hold?.format ?? (dtype === 'nf4' ? 'nf4' : undefined), `${what}: held`);
  expectSame(await engine.readWeight(weight), expected, what);
  engine.releaseWeight(weight);
  assert.equal(engine.memory().bytesInUse, before, `${what}: bytes in use`);
}

/** Values of a dtype with more bits than bfloat16; every third row is zeros. */
function stored(lab: Laboratory, shape: readonly number[], dtype: DType): { bytes: Uint8Array; values: number[] } {
  const columns = shape.at(-1)!;
  const numbers = lab.numbers(sizeOf(shape), 0.1).map((x, i) => (Math.floor(i / columns) % 3 === 1 ? 0 : x));
  return encodeAll(numbers, dtype);
}

async function quantizes(engine: Engine, hold: HeldFormat): Promise<void> {
  const lab = new Laboratory(engine, 21);
  for (const shape of SHAPES) {
    for (const dtype of ['f32', 'bf16', 'f16'] as const) {
      const { bytes, values } = stored(lab, shape, dtype);
      const expected = plainHeldValues(values, shape[1], hold);
      await roundTrip(engine, sourceOf(bytes, shape, { dtype, hold }), expected, `[${shape}] of ${dtype}`);
    }
  }
  const before = engine.memory().bytesInUse;
  for (const bits of [0x7f80, 0xffc0]) {
    const patterns = new Uint16Array(33 * 129).fill(0x3f00);
    patterns[1234] = bits;
    const source = sourceOf(new Uint8Array(patterns.buffer), [33, 129], { hold });
    await assert.rejects(() => engine.loadWeight(source), CheckpointError);
  }
  assert.equal(engine.memory().bytesInUse, before);
}

/** All codes but NaN, with scales whose products bfloat16 must round. */
function e4m3Of(shape: readonly [number, number], block: readonly [number, number]) {
  const codes = Uint8Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 31) % 127) | ((i & 1) << 7));
  const across = Math.ceil(shape[1] / block[1]);
  const factors = Float32Array.from({ length: across * Math.ceil(shape[0] / block[0]) }, (_, i) => 0.01 + 0.0037 * i);
  const products = Float64Array.from(codes, (code, i) => {
    const [row, column] = [Math.floor(i / shape[1]), i % shape[1]];
    const at = Math.floor(row / block[0]) * across + Math.floor(column / block[1]);
    return Math.fround(e4m3ToNumber(code) * factors[at]!);
  });
  const source = sourceOf(codes, shape, { dtype: 'f8_e4m3', scale: { block, read: async () => factors } });
  return { source, codes, values: roundBfloat16(products) };
}

/** One scale in all, one a row, blocks of both. */
const scaleBlocks = ([rows, columns]: readonly [number, number]) =>
  [
    [rows, columns],
    [1, columns],
    [32, 48],
  ] as const;

async function keepsE4m3(engine: Engine): Promise<void> {
  for (const shape of SHAPES) {
    for (const block of scaleBlocks(shape)) {
      const { source, values } = e4m3Of(shape, block);
      await roundTrip(engine, { ...source, hold: E4M3 }, values, `[${shape}], scales of [${block}]`);
    }
  }
  const before = engine.memory().bytesInUse;
  const { source, codes } = e4m3Of([33, 129], [33, 129]);
  codes[1234] = 0xff;
  await assert.rejects(() => engine.loadWeight({ ...source, hold: E4M3 }), CheckpointError);
  assert.equal(engine.memory().bytesInUse, before);
}

async function quantizesE4m3(engine: Engine, hold: HeldFormat): Promise<void> {
  for (const shape of SHAPES) {
    const { source, values } = e4m3Of(shape, [32, 48]);
    await roundTrip(engine, { ...source, hold }, plainHeldValues(values, shape[1], hold), `[${shape}]`);
  }
}

/** Two codes a byte, the even one in the high half. */
function packed(codes: Uint8Array): Uint8Array {
  return Uint8Array.from(
    { length: Math.ceil(codes.length / 2) },
    (_, i) => (codes[2 * i]! << 4) | (codes[2 * i + 1] ?? 7),
  );
}

async function keepsNf4(engine: Engine, blockSize: number, isDouble: boolean): Promise<void> {
  const lab = new Laboratory(engine, 22);
  for (const shape of SHAPES) {
    const { absmax } = plainNf4(lab.numbers(sizeOf(shape)), blockSize, isDouble);
    // Other ones than a quantiser would find.
    const codes = Uint8Array.from({ length: sizeOf(shape) }, () => lab.random.nextUint32() & 15);
    const expected = plainNf4Values(codes, blockSize, absmax);
    const quantState = { blockSize, read: async (): Promise<Nf4Absmax> => absmax };
    const source = sourceOf(packed(codes), shape, { dtype: 'nf4', quantState });
    await roundTrip(engine, source, expected, `[${shape}]`);
    await roundTrip(engine, { ...source, hold: nf4(blockSize, isDouble) }, expected, `[${shape}], asked for`);
  }
}

/** Each weight of a stack has blocks of its own, in whatever order they come, and is whole before the others are there. */
async function stacks(engine: Engine, hold: HeldFormat): Promise<void> {
  const before = engine.memory().bytesInUse;
  const lab = new Laboratory(engine, 23);
  const [columns, rows] = [72, 40];
  const made = [];
  for (const [row, height] of [
    [26, 14],
    [0, 21],
    [21, 5],
  ] as const) {
    const { bytes, values } = stored(lab, [height, columns], 'bf16');
    const stack = { name: 'stack', row, rows };
    const source = sourceOf(bytes, [height, columns], { name: `rows from ${row}`, stack, hold });
    made.push({ weight: await engine.loadWeight(source), expected: plainHeldValues(values, columns, hold) });
    for (const { weight, expected } of made) {
      assert.equal(weight.held, hold.format);
      expectSame(await engine.readWeight(weight), expected, `${weight.name}, ${made.length} loaded`);
    }
  }
  for (const { weight } of made) engine.releaseWeight(weight);
  assert.equal(engine.memory().bytesInUse, before);
}

async function vectors(engine: Engine, hold: HeldFormat): Promise<void> {
  const lab = new Laboratory(engine, 24);
  const { bytes, values } = stored(lab, [67], 'bf16');
  const weight = await engine.loadWeight(sourceOf(bytes, [67], { hold }));
  assert.equal(weight.held, undefined);
  expectSame(await engine.readWeight(weight), values);
  engine.releaseWeight(weight);
}

const HOLDS = [nf4(64, true), nf4(64, false), nf4(32, true), nf4(128, false), E4M3];

export const HELD_CHECKS: readonly HeldCheck[] = [
  ...HOLDS.map((hold) => ({
    title: `quantises a weight to ${describeHold(hold)}`,
    format: hold.format,
    run: (engine: Engine) => quantizes(engine, hold),
  })),
  ...HOLDS.slice(0, 2).map((hold) => ({
    title: `quantises 8-bit floats to ${describeHold(hold)}`,
    format: hold.format,
    run: (engine: Engine) => quantizesE4m3(engine, hold),
  })),
  { title: 'keeps stored e4m3, its scales too', format: 'f8_e4m3', run: keepsE4m3 },
  ...([64, 256] as const).flatMap((blockSize) =>
    [true, false].map((isDouble) => ({
      title: `keeps stored ${describeHold(nf4(blockSize, isDouble))}`,
      format: 'nf4' as const,
      run: (engine: Engine) => keepsNf4(engine, blockSize, isDouble),
    })),
  ),
  ...[nf4(64, true), E4M3].flatMap((hold) => [
    {
      title: `quantises the weights of a stack to ${describeHold(hold)}, each by itself`,
      format: hold.format,
      run: (engine: Engine) => stacks(engine, hold),
    },
    {
      title: `keeps a vector as it is where matrices are ${describeHold(hold)}`,
      format: hold.format,
      run: (engine: Engine) => vectors(engine, hold),
    },
  ]),
];
