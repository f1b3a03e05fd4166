/**
 * Linear layers with optional low-rank additions. With x' = dropout(x) and u = x'·Aᵀ:
 * y = x·Wᵀ + bias + scale·u·Bᵀ;  du = scale·dy·B;  dB += scale·dyᵀ·u;  dA += duᵀ·x';  dx = dy·W + mask(du·A).
 * Of the low-rank path only u [T, R] is saved. Dropout masks are those of every engine, so they are made on the host
 * for each use (TensorFlow.js has no unsigned 32-bit arithmetic): slow, a few nanoseconds for each element of x.
 */

import { dropoutMask } from '../../../random.js';
import type { LinearPart, LoraPart, Operation, OperationAttributes } from '../../operations.js';
import { rowKeysOf } from '../../row-lists.js';
import type { Tensor } from '../../tensor.js';
import type { FrozenWeight } from '../frozen-weight.js';
import type { TensorStore } from '../tensor-store.js';
import { product, type TfNamespace, type TfTensor } from '../tf-namespace.js';

const OPERATION = 'linear';

/** The low-rank pair of a part, checked against the layer. */
function pairOf(store: TensorStore, lora: LoraPart, weight: FrozenWeight): { a: TfTensor; b: TfTensor } {
  const { name, rows: out, columns: inner } = weight;
  const rank = lora.a.shape[0] ?? 0;
  const a = store.matrix(lora.a.value, OPERATION, `A of ${name}`, { rows: rank, columns: inner }).data;
  const b = store.matrix(lora.b.value, OPERATION, `B of ${name}`, { rows: out, columns: rank }).data;
  return { a, b };
}

/** mask·x / (1 - p) */
function dropout(tf: TfNamespace, x: TfTensor, { dropout: p, seed, rowKeys }: LoraPart): TfTensor {
  if (p === 0) return x;
  return tf.mul(x, tf.tensor(dropoutMask(rowKeys!, x.shape[1]!, seed, p), x.shape, 'float32'));
}

function forwardPart(
  store: TensorStore,
  tf: TfNamespace,
  x: TfTensor,
  { weight: frozen, bias, lora }: LinearPart,
): { y: TfTensor; low: TfTensor | undefined } {
  const weight = store.weights.useMatrix(frozen, x.shape[1]!, OPERATION);
  let y = weight.product(x);
  if (bias) y = tf.add(y, store.vector(bias, weight.rows, OPERATION));
  if (!lora) return { y, low: undefined };
  const { a, b } = pairOf(store, lora, weight);
  const low = product(tf, dropout(tf, x, lora), a, false, true);
  return { y: tf.add(y, product(tf, tf.mul(low, lora.scale), b, false, true)), low };
}

/** Gradients of A, B and, where wanted, the low-rank share of dx. */
function backwardLora(
  store: TensorStore,
  tf: TfNamespace,
  x: TfTensor,
  low: TfTensor,
  dy: TfTensor,
  { weight: frozen, lora }: LinearPart & { lora: LoraPart },
  needsInput: boolean,
): { da: TfTensor; db: TfTensor; dx: TfTensor | undefined } {
  const { a, b } = pairOf(store, lora, store.weights.use(frozen, OPERATION));
  const dLow = tf.mul(product(tf, dy, b), lora.scale);
  const db = product(tf, dy, tf.mul(low, lora.scale), true, false);
  const da = product(tf, dLow, dropout(tf, x, lora), true, false);
  return { da, db, dx: needsInput ? dropout(tf, product(tf, dLow, a), lora) : undefined };
}

export function linear(store: TensorStore): Operation<OperationAttributes['linear']> {
  return {
    forward(inputs, { parts }, record) {
      const x = store.matrix(inputs[0], OPERATION, 'x');
      rowKeysOf(parts, x.shape[0]!);
      const made = store.run(OPERATION, (tf) => {
        const results = parts.map((part) => forwardPart(store, tf, x.data, part));
        const lows = record ? results.flatMap(({ low }) => (low ? [low] : [])) : [];
        return [...results.map(({ y }) => y), ...lows];
      });
      const lows = made.splice(parts.length);
      // Without a low-rank part, backward needs no more than the weights.
      return { outputs: made, saved: lows.length > 0 ? [x, ...lows.map((low) => store.saved(low))] : [] };
    },
    backward(saved, outputGradients, { parts }, needs) {
      const needsInput = needs[0] === true;
      const gradients: Tensor[] = [];
      const made = store.run(OPERATION, (tf) => {
        let dx: TfTensor | undefined;
        const results: TfTensor[] = [];
        let at = 1;
        for (const [i, part] of parts.entries()) {
          const { lora } = part;
          const low = lora ? saved[at++] : undefined;
          const gradient = outputGradients[i];
          if (!gradient) continue;
          const weight = store.weights.use(part.weight, OPERATION);
          const dy = store.matrix(gradient, OPERATION, 'output gradient', { columns: weight.rows }).data;
          const include = (share: TfTensor): TfTensor => (dx ? tf.add(dx, share) : share);
          if (needsInput) dx = include(weight.transposedProduct(dy));
          if (!lora) continue;
          const rows = dy.shape[0]!;
          const x = store.matrix(saved[0], OPERATION, 'saved x', { rows, columns: weight.columns }).data;
          const u = store.matrix(low, OPERATION, 'saved u', { rows }).data;
          const { da, db, dx: share } = backwardLora(store, tf, x, u, dy, { ...part, lora }, needsInput);
          if (share) dx = include(share);
          gradients.push(lora.a.grad, lora.b.grad);
          results.push(da, db);
        }
        return dx ? [dx, ...results] : results;
      });
      const dx = made.length > gradients.length ? made.shift() : undefined;
      for (const [i, addition] of made.entries()) store.accumulate(gradients[i]!, addition, OPERATION);
      return [dx];
    },
  };
}
