/**
 * Linear layers with optional low-rank additions. With x' = dropout(x) and u = x'·Aᵀ:
 * y = x·Wᵀ + bias + scale·u·Bᵀ;  du = scale·dy·B;  dB += scale·dyᵀ·u;  dA += duᵀ·x';  dx = dy·W + mask(du·A).
 * Of the low-rank path only u [T, R] is saved; x' is recomputed from x and the seed.
 */

import { dropoutScale, dropoutThreshold } from '../../../random.js';
import type { LinearPart, LoraPart, Operation, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import type { FrozenWeight } from '../frozen-weight.js';
import type { CpuTensor, TensorStore } from '../tensor-store.js';

const OPERATION = 'linear';

/** Addresses and rank of a part's low-rank pair, checked against the layer. */
function loraOf(store: TensorStore, lora: LoraPart, weight: FrozenWeight): { rank: number; a: number; b: number } {
  const rank = lora.a.shape[0] ?? 0;
  store.matrix(lora.a.value, OPERATION, `A of ${weight.name}`, { rows: rank, columns: weight.columns });
  store.matrix(lora.b.value, OPERATION, `B of ${weight.name}`, { rows: weight.rows, columns: rank });
  return { rank, a: store.use(lora.a.value, OPERATION).ptr, b: store.use(lora.b.value, OPERATION).ptr };
}

/** out = mask·x / (1 - p), or out += that. */
function dropout(store: TensorStore, lora: LoraPart, x: CpuTensor, out: CpuTensor, accumulate: boolean): void {
  const [rows, columns] = x.shape as [number, number];
  store.withTable(lora.rowKeys!, (keys) => {
    const ints = [x.ptr, out.ptr, keys, columns, lora.seed, dropoutThreshold(lora.dropout), accumulate ? 1 : 0];
    store.byRows('dropout', rows, columns, ints, [dropoutScale(lora.dropout)]);
  });
}

/** Calls `body` with dropout(x), which is x itself without dropout. */
function withDropped(store: TensorStore, lora: LoraPart, x: CpuTensor, body: (dropped: CpuTensor) => void): void {
  if (lora.dropout === 0) body(x);
  else {
    const dropped = store.create(x.shape);
    dropout(store, lora, x, dropped, false);
    body(dropped);
    store.release(dropped);
  }
}

function forwardPart(store: TensorStore, x: CpuTensor, part: LinearPart): { y: CpuTensor; low: CpuTensor | undefined } {
  const [m, k] = x.shape as [number, number];
  const weight = store.weights.useMatrix(part.weight, k, OPERATION);
  const n = weight.rows;
  const lora = part.lora;
  const pair = lora && loraOf(store, lora, weight);
  const bias = part.bias && store.vector(part.bias, n, OPERATION);
  const y = store.create([m, n]);
  weight.product(m, x.ptr, y.ptr);
  if (bias !== undefined) store.byRows('addBias', m, n, [y.ptr, bias, n]);
  if (!lora || !pair) return { y, low: undefined };
  const { runtime } = store;
  const { rank, a, b } = pair;
  const low = store.saved(store.create([m, rank]));
  withDropped(store, lora, x, (dropped) => {
    runtime.matmul({ m, n: rank, k, a: dropped.ptr, b: a, transB: true, c: low.ptr });
  });
  runtime.matmul({ m, n, k: rank, a: low.ptr, b, transB: true, c: y.ptr, alpha: lora.scale, beta: 1 });
  return { y, low };
}

/** Gradients of A and B, and the low-rank share of dx, added to it. */
function backwardLora(
  store: TensorStore,
  x: CpuTensor,
  low: CpuTensor,
  dy: CpuTensor,
  weight: FrozenWeight,
  lora: LoraPart,
  dx: CpuTensor | undefined,
): void {
  const [m, k] = x.shape as [number, number];
  const n = weight.rows;
  const { runtime } = store;
  const { rank, a, b } = loraOf(store, lora, weight);
  const dLow = store.create([m, rank]);
  runtime.matmul({ m, n: rank, k: n, a: dy.ptr, b, c: dLow.ptr, alpha: lora.scale });
  const [gradA, gradB] = [lora.a.grad, lora.b.grad].map((grad) => {
    const tensor = store.use(grad, OPERATION);
    tensor.isTouched = true;
    return tensor.ptr;
  }) as [number, number];
  runtime.matmul({ m: n, n: rank, k: m, a: dy.ptr, transA: true, b: low.ptr, c: gradB, alpha: lora.scale, beta: 1 });
  withDropped(store, lora, x, (dropped) => {
    runtime.matmul({ m: rank, n: k, k: m, a: dLow.ptr, transA: true, b: dropped.ptr, c: gradA, beta: 1 });
  });
  if (dx && lora.dropout === 0) runtime.matmul({ m, n: k, k: rank, a: dLow.ptr, b: a, c: dx.ptr, beta: 1 });
  else if (dx) {
    const share = store.create(x.shape);
    runtime.matmul({ m, n: k, k: rank, a: dLow.ptr, b: a, c: share.ptr });
    dropout(store, lora, share, dx, true);
    store.release(share);
  }
  store.release(dLow);
}

export function linear(store: TensorStore): Operation<OperationAttributes['linear']> {
  return {
    forward(inputs, { parts }, record) {
      const x = store.matrix(inputs[0], OPERATION, 'x');
      rowKeysOf(parts, x.shape[0]!);
      const results = parts.map((part) => forwardPart(store, x, part));
      const saved: Tensor[] = [];
      // Without a low-rank part, backward needs no more than the weights.
      if (record && results.some(({ low }) => low)) saved.push(x);
      for (const { low } of results) {
        if (low && record) saved.push(low);
        else if (low) store.release(low);
      }
      return { outputs: results.map(({ y }) => y), saved };
    },
    backward(saved, outputGradients, { parts }, needs) {
      const gradients = outputGradients.map((dy) => dy && store.matrix(dy, OPERATION, 'output gradient'));
      const known = gradients.find((dy) => dy);
      if (!known) return [undefined];
      const m = known.shape[0]!;
      let dx: CpuTensor | undefined;
      let low = 1;
      for (const [i, part] of parts.entries()) {
        const u = part.lora ? saved[low++] : undefined;
        const dy = gradients[i];
        if (!dy) continue;
        const weight = store.weights.use(part.weight, OPERATION);
        const k = weight.columns;
        if (needs[0]) {
          const beta = dx ? 1 : 0;
          dx ??= store.create([m, k]);
          weight.transposedProduct(m, dy.ptr, dx.ptr, beta);
        }
        if (!part.lora) continue;
        const x = store.matrix(saved[0], OPERATION, 'saved x', { rows: m, columns: k });
        const lowRank = store.matrix(u, OPERATION, 'saved u', { rows: m });
        backwardLora(store, x, lowRank, dy, weight, part.lora, dx);
      }
      return [dx];
    },
  };
}
