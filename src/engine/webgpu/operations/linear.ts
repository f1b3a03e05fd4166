/**
 * Linear layers with optional low-rank additions: the maths is that of the cpu engine's linear.ts. The low-rank product is
 * added inside the kernel of the frozen one; of that path only u [T, R] is saved.
 */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import { dropoutScale, dropoutThreshold } from '../../../random.js';
import type { LinearPart, LoraPart, Operation, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import type { WebgpuWeight } from '../frozen-weight.js';
import type { BufferRange } from '../gpu-types.js';
import type { LowRank } from '../product.js';
import { backwardProduct, forwardProduct, product } from '../products.js';
import { blocks, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

const OPERATION = 'linear';

interface Pair {
  readonly rank: number;
  readonly a: BufferRange;
  readonly b: BufferRange;
}

/** A part's low-rank pair, checked against the layer. */
function pairOf(store: TensorStore, lora: LoraPart, weight: WebgpuWeight): Pair {
  const rank = lora.a.shape[0] ?? 0;
  const { name, rows, columns } = weight;
  const a = store.matrix(lora.a.value, OPERATION, `A of ${name}`, { rows: rank, columns });
  const b = store.matrix(lora.b.value, OPERATION, `B of ${name}`, { rows, columns: rank });
  return { rank, a: a.range, b: b.range };
}

/** Calls `body` with dropout(x), which is x itself without dropout. */
function withDropped(
  store: TensorStore,
  { dropout, seed }: LoraPart,
  keys: BufferRange | undefined,
  x: WebgpuTensor,
  body: (dropped: BufferRange) => void,
): void {
  if (dropout === 0) {
    body(x.range);
    return;
  }
  const [rows, columns] = x.shape as [number, number];
  const dropped = store.create(x.shape);
  store.kernels.launch(WGSL.dropoutRows, blocks(x.size), {
    ...{ out: dropped.range, x: x.range, row_keys: keys!, rows, columns, seed: seed >>> 0 },
    ...{ threshold: dropoutThreshold(dropout), scale: dropoutScale(dropout) },
  });
  body(dropped.range);
  store.release(dropped);
}

/** Calls `body` with the keys of the rows on the device, where a part drops anything. */
function withKeys<T>(store: TensorStore, keys: Int32Array | undefined, body: (keys?: BufferRange) => T): T {
  return keys && keys.length > 0 ? store.withTable(keys, body) : body();
}

function forwardPart(
  store: TensorStore,
  x: WebgpuTensor,
  part: LinearPart,
  keys: BufferRange | undefined,
): { y: WebgpuTensor; u: WebgpuTensor | undefined } {
  const [m, k] = x.shape as [number, number];
  const weight = store.weights.useMatrix(part.weight, k, OPERATION);
  const n = weight.rows;
  const { lora } = part;
  const pair = lora && pairOf(store, lora, weight);
  const bias = part.bias && store.vector(part.bias, n, OPERATION);
  const y = store.create([m, n]);
  let u: WebgpuTensor | undefined;
  let low: LowRank | undefined;
  if (lora && pair) {
    const { rank, a, b } = pair;
    const lowRank = store.saved(store.create([m, rank]));
    u = lowRank;
    withDropped(store, lora, keys, x, (dropped) => {
      product(store, { m, n: rank, k, a: { range: dropped }, b: a, transB: true, c: { range: lowRank.range } });
    });
    low = { u: lowRank.range, b, rank, scale: lora.scale };
  }
  forwardProduct(store, weight, { range: x.range }, m, { range: y.range }, { bias, low });
  return { y, u };
}

/** Adds to the gradients of A and B. Gives du, the gradient of u, for that of x. */
function backwardPair(
  store: TensorStore,
  x: WebgpuTensor,
  u: WebgpuTensor,
  dy: WebgpuTensor,
  pair: Pair,
  lora: LoraPart,
  keys: BufferRange | undefined,
): WebgpuTensor {
  const [m, k] = x.shape as [number, number];
  const n = dy.shape[1]!;
  const { rank, b } = pair;
  const { scale } = lora;
  const du = store.create([m, rank]);
  product(store, { m, n: rank, k: n, a: { range: dy.range }, b, c: { range: du.range }, alpha: scale });
  const [gradA, gradB] = [lora.a.grad, lora.b.grad].map((grad) => {
    const tensor = store.use(grad, OPERATION);
    tensor.isTouched = true;
    return { range: tensor.range };
  }) as [{ range: BufferRange }, { range: BufferRange }];
  if (m === 0) return du;
  const dyRows = { range: dy.range };
  product(store, { m: n, n: rank, k: m, a: dyRows, transA: true, b: u.range, c: gradB, alpha: scale, beta: 1 });
  withDropped(store, lora, keys, x, (dropped) => {
    product(store, { m: rank, n: k, k: m, a: { range: du.range }, transA: true, b: dropped, c: gradA, beta: 1 });
  });
  return du;
}

export function linear(store: TensorStore): Operation<OperationAttributes['linear']> {
  return {
    forward(inputs, { parts }, record) {
      const x = store.matrix(inputs[0], OPERATION, 'x');
      const rowKeys = rowKeysOf(parts, x.shape[0]!);
      const results = withKeys(store, rowKeys, (keys) => parts.map((part) => forwardPart(store, x, part, keys)));
      const saved: Tensor[] = [];
      // Without a low-rank part, backward needs no more than the weights.
      if (record && results.some(({ u }) => u)) saved.push(x);
      for (const { u } of results) {
        if (u && record) saved.push(u);
        else if (u) store.release(u);
      }
      return { outputs: results.map(({ y }) => y), saved };
    },
    backward(saved, outputGradients, { parts }, needs) {
      const gradients = outputGradients.map((dy) => dy && store.matrix(dy, OPERATION, 'output gradient'));
      const known = gradients.find((dy) => dy);
      if (!known) return [undefined];
      const m = known.shape[0]!;
      let dx: WebgpuTensor | undefined;
      let next = 1;
      withKeys(store, rowKeysOf(parts, m), (keys) => {
        for (const [i, part] of parts.entries()) {
          const { lora } = part;
          const saveU = lora ? saved[next++] : undefined;
          const dy = gradients[i];
          if (!dy) continue;
          const weight = store.weights.use(part.weight, OPERATION);
          const k = weight.columns;
          let du: WebgpuTensor | undefined;
          let low: LowRank | undefined;
          if (lora) {
            const x = store.matrix(saved[0], OPERATION, 'saved x', { rows: m, columns: k });
            const u = store.matrix(saveU, OPERATION, 'saved u', { rows: m });
            const pair = pairOf(store, lora, weight);
            du = backwardPair(store, x, u, dy, pair, lora, keys);
            const { dropout, seed } = lora;
            const mask = dropout > 0 && keys ? { dropout, seed, rowKeys: keys } : undefined;
            low = { u: du.range, b: pair.a, rank: pair.rank, scale: 1, mask };
          }
          if (needs[0]) {
            const beta = dx ? 1 : 0;
            dx ??= store.create([m, k]);
            backwardProduct(store, weight, { range: dy.range }, m, { range: dx.range }, { beta, low });
          }
          if (du) store.release(du);
        }
      });
      return [dx];
    },
  };
}
