/** Products as each backend of TensorFlow.js is asked for them, on a namespace of plain arrays. */
import { describe, expect, it } from 'vitest';
import { product, type TfNamespace, type TfTensor } from '../../../src/engine/tfjs/tf-namespace.js';

interface Plain {
  readonly shape: number[];
  readonly values: readonly number[];
}

const plain = (tensor: TfTensor): Plain => tensor as unknown as Plain;
const make = (shape: number[], values: readonly number[]): TfTensor => ({ shape, values }) as unknown as TfTensor;

/** Of the last two axes. */
function swapped(x: Plain): TfTensor {
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const values = x.values.map((_, i) => {
    const [batch, within] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
    return x.values[batch * rows * columns + (within % rows) * columns + Math.floor(within / rows)]!;
  });
  return make([...x.shape.slice(0, -2), columns, rows], values);
}

function multiplied(a: Plain, b: Plain): TfTensor {
  const [m, inner, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const batches = a.shape.slice(0, -2).reduce((product, extent) => product * extent, 1);
  const values = Array.from({ length: batches * m * n }, (_, at) => {
    const [batch, row, column] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
    let sum = 0;
    for (let k = 0; k < inner; k++) {
      sum += a.values[(batch * m + row) * inner + k]! * b.values[(batch * inner + k) * n + column]!;
    }
    return sum;
  });
  return make([...a.shape.slice(0, -1), n], values);
}

/** What the products were asked for is noted in `calls`. */
function namespace(backend: string, calls: [rank: number, transA: boolean, transB: boolean][]): TfNamespace {
  return {
    getBackend: () => backend,
    matMul: (a: TfTensor, b: TfTensor, transA: boolean, transB: boolean) => {
      calls.push([a.shape.length, transA, transB]);
      return multiplied(plain(transA ? swapped(plain(a)) : a), plain(transB ? swapped(plain(b)) : b));
    },
    transpose: (x: TfTensor, permutation: number[]) => {
      expect(permutation).toEqual(x.shape.length === 3 ? [0, 2, 1] : [1, 0]);
      return swapped(plain(x));
    },
    unstack: (x: TfTensor) => {
      const [count, ...shape] = x.shape as [number, ...number[]];
      const size = plain(x).values.length / count;
      return Array.from({ length: count }, (_, i) => make(shape, plain(x).values.slice(i * size, (i + 1) * size)));
    },
    stack: (tensors: TfTensor[]) =>
      make(
        [tensors.length, ...tensors[0]!.shape],
        tensors.flatMap((tensor) => plain(tensor).values),
      ),
  } as unknown as TfNamespace;
}

const numbers = (shape: number[], seed: number): TfTensor =>
  make(
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7 + seed) % 11) - 5),
  );

describe.each(['tensorflow', 'cpu', 'wasm', 'webgpu'])('product on backend %s', (backend) => {
  it.each([
    ['a·b', false, false],
    ['a·bᵀ', false, true],
    ['aᵀ·b', true, false],
    ['aᵀ·bᵀ', true, true],
  ])('gives %s of matrices and of batches', (_name, transA, transB) => {
    for (const batch of [[], [2]]) {
      const a = numbers([...batch, 3, 5], 1);
      const b = numbers([...batch, 5, 4], 2);
      const calls: [number, boolean, boolean][] = [];
      const tf = namespace(backend, calls);
      const turned = (x: TfTensor, turn: boolean): TfTensor => (turn ? swapped(plain(x)) : x);
      expect(product(tf, turned(a, transA), turned(b, transB), transA, transB)).toEqual(multiplied(plain(a), plain(b)));
      if (backend === 'webgpu') expect(calls).toEqual([[2 + batch.length, transA, false]]);
      else if (backend === 'wasm') expect(calls).toEqual(Array(batch[0] ?? 1).fill([2, false, false]));
      else expect(calls).toEqual([[2 + batch.length, transA, transB]]);
    }
  });
});
