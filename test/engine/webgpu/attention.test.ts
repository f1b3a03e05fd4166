/** What the conformance suite does not ask of attention: key ranges that overlap, nothing to see, few rows of many heads. */
import { afterAll, beforeAll, expect } from 'vitest';
import type { OperationAttributes } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import type { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { where } from '../../where.js';
import { expectSame, relativeError } from '../conformance/measure.js';
import { plainAttention, plainRun } from '../conformance/plain-reference.js';
import { missingForSoftware, openTestEngine } from './open.js';

const missing = missingForSoftware();
const { describe, it } = where(missing === undefined, missing ?? '');

type Attributes = OperationAttributes['attention'];

function attributesOf(
  heads: number,
  kvHeads: number,
  queries: readonly number[],
  keyStarts: readonly number[],
  keyLengths: readonly number[],
): Attributes {
  const queryStarts = Int32Array.from([0, ...queries.map((_, i) => queries.slice(0, i + 1).reduce((a, b) => a + b))]);
  const segments = { queryStarts, keyStarts: Int32Array.from(keyStarts), keyLengths: Int32Array.from(keyLengths) };
  return { heads, kvHeads, headDim: 8, scale: 0.4, causal: true, segments };
}

describe('attention of webgpu', () => {
  let engine: WebgpuEngine;
  beforeAll(async () => {
    engine = await openTestEngine();
  });
  afterAll(() => engine.dispose());

  const valuesOf = (rows: number, columns: number, seed: number): Float32Array =>
    Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(seed + 1.7 * i + 0.01 * i * i));

  /** Forward and, with `record`, backward: [out, dq, dk, dv]. */
  async function run(attributes: Attributes, inputs: readonly Tensor[], record: boolean, dOut?: Tensor) {
    const { attention } = engine.operations;
    const { outputs, saved } = attention.forward(inputs, attributes, record);
    for (const tensor of saved) engine.retain(tensor);
    const gradients = record ? attention.backward(saved, [dOut], attributes, [true, true, true]) : [];
    const results = [...outputs, ...gradients] as Tensor[];
    const read = await Promise.all(results.map((tensor) => engine.read(tensor)));
    for (const tensor of [...results, ...saved]) engine.release(tensor);
    return read;
  }

  /** The worst error relative to double precision. */
  async function errorOf(attributes: Attributes, keyRows: number, record: boolean): Promise<number> {
    const { heads, kvHeads, headDim, segments } = attributes;
    const rows = segments.queryStarts.at(-1)!;
    const [own, shared] = [heads * headDim, kvHeads * headDim];
    const [q, k, v, dOut] = [
      valuesOf(rows, own, 1),
      valuesOf(keyRows, shared, 2),
      valuesOf(keyRows, shared, 3),
      valuesOf(rows, own, 4),
    ] as const;
    const tensors = [engine.fromArray(q, [rows, own]), engine.fromArray(k, [keyRows, shared])];
    tensors.push(engine.fromArray(v, [keyRows, shared]), engine.fromArray(dOut, [rows, own]));
    const wide = [q, k, v].map((values) => Float64Array.from(values));
    const plain = plainAttention(plainRun(new Float64Array(0), false), wide, attributes);
    const expected = [...plain.outputs, ...(record ? plain.backward([Float64Array.from(dOut)]) : [])];
    const found = await run(attributes, tensors.slice(0, 3), record, tensors[3]);
    const again = await run(attributes, tensors.slice(0, 3), record, tensors[3]);
    for (const [i, values] of found.entries()) expectSame(again[i]!, values, 'the same once more');
    for (const tensor of tensors) engine.release(tensor);
    return Math.max(...found.map((values, i) => relativeError(values, expected[i]!)));
  }

  it('sums the gradients of keys that several segments see, and leaves zeros where none does', async () => {
    const attributes = attributesOf(4, 2, [40, 9, 11], [0, 30, 35], [66, 20, 50]);
    expect(await errorOf(attributes, 90, true)).toBeLessThan(2e-6);
  });

  it('computes a few rows of many query heads from parts of their keys', async () => {
    // 12 heads of one key head are no multiple of what a workgroup takes; 400 keys are several parts.
    const attributes = attributesOf(12, 1, [1, 3, 0], [3, 20, 0], [1, 400, 5]);
    expect(await errorOf(attributes, 430, false)).toBeLessThan(2e-6);
  });

  it('computes rows of so many heads that a workgroup passes over several blocks of their keys', async () => {
    const attributes = attributesOf(86, 86, [3], [5], [75]);
    expect(await errorOf(attributes, 80, false)).toBeLessThan(2e-6);
  });

  it('takes one tensor as q, k and v', async () => {
    const attributes = attributesOf(2, 2, [9], [0], [9]);
    const [values, gradient] = [valuesOf(9, 16, 5), valuesOf(9, 16, 6)];
    const [x, dOut] = [engine.fromArray(values, [9, 16]), engine.fromArray(gradient, [9, 16])];
    const apart = [0, 1, 2].map(() => engine.fromArray(values, [9, 16]));
    const expected = await run(attributes, apart, true, dOut);
    const found = await run(attributes, [x, x, x], true, dOut);
    for (const [i, of] of expected.entries()) expectSame(found[i]!, of);
    for (const tensor of [x, dOut, ...apart]) engine.release(tensor);
  });

  it('gives zeros to rows without keys and to keys without rows', async () => {
    const none = engine.zeros([0, 16]);
    const some = engine.fromArray(valuesOf(3, 16, 7), [3, 16]);
    const zeros = new Float32Array(48);
    const noKeys = await run(attributesOf(2, 2, [3], [0], [0]), [some, none, none], true, some);
    expectSame(noKeys[0]!, zeros);
    expectSame(noKeys[1]!, zeros);
    const noRows = await run(attributesOf(2, 2, [0], [0], [3]), [none, some, some], true, none);
    expect(noRows[0]!.length).toBe(0);
    expectSame(noRows[2]!, zeros);
    expectSame(noRows[3]!, zeros);
    const unseen = await run(attributesOf(2, 2, [3], [1], [0]), [some, some, some], true, some);
    for (const values of unseen) expectSame(values, zeros);
    const unseenDecode = await run(attributesOf(2, 2, [3], [1], [0]), [some, some, some], false);
    expectSame(unseenDecode[0]!, zeros);
  });

  it('refuses heads that are too wide', () => {
    const x = engine.zeros([1, 132]);
    const attributes = { ...attributesOf(1, 1, [1], [0], [1]), headDim: 132 };
    expect(() => engine.operations.attention.forward([x, x, x], attributes, false)).toThrow(/132, expected 1 to 128/);
    engine.release(x);
  });
});
