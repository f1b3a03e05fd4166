/**
 * Operations that move rows: embedding lookup, gather, scatter, patch merging. All are gathers of the right rows, in
 * both directions: TensorFlow.js's own scatter updates are missing or wrong on some backends.
 */
import { uniformNoise } from '../../../random.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import {
  checkDistinctRows,
  checkNoise,
  checkRows,
  patchOrder,
  type RowPlaces,
  repeatedPlaces,
} from '../../row-lists.js';
import type { TensorStore } from '../tensor-store.js';
import { type TfNamespace, type TfTensor, takeRows } from '../tf-namespace.js';

/** `base` with row rows[i] replaced by row i of `source`. */
export function replaceRows(tf: TfNamespace, base: TfTensor, source: TfTensor, rows: Int32Array): TfTensor {
  const count = base.shape[0]!;
  const from = Int32Array.from({ length: count }, (_, i) => i);
  for (const [i, row] of rows.entries()) from[row] = count + i;
  return takeRows(tf, tf.concat([base, source], 0), from);
}

/** y[r] = Σ x[place] over the places of r, with as many gathers as the most repeated row has places. */
function sumRows(store: TensorStore, x: TfTensor, { starts, places }: RowPlaces): TfTensor {
  const { tf } = store;
  const [count, columns] = x.shape as [number, number];
  const padded = tf.concat([x, tf.zeros([1, columns])], 0);
  const times = starts.subarray(1).map((end, row) => end - starts[row]!);
  const layers = times.reduce((a, b) => Math.max(a, b), 0);
  let sum: TfTensor | undefined;
  for (let layer = 0; layer < layers; layer++) {
    const from = times.map((own, row) => (layer < own ? places[starts[row]! + layer]! : count));
    const before = sum;
    [sum] = store.part(() => {
      const rows = takeRows(tf, padded, from);
      return [before ? tf.add(before, rows) : rows];
    });
    before?.dispose();
  }
  return sum ?? tf.zeros([times.length, columns]);
}

export function embedding(store: TensorStore): Operation<OperationAttributes['embedding']> {
  return {
    forward(_inputs, { table, ids, noise }) {
      const weight = store.weights.use(table, 'embedding');
      checkRows(ids, weight.rows, 'embedding');
      if (noise) checkNoise(noise, ids.length);
      const shape = [ids.length, weight.columns];
      const rows = store.one('embedding', (tf) => {
        const taken = weight.gatherRows(ids);
        return noise ? tf.add(taken, tf.tensor(uniformNoise(noise, shape[1]!), shape, 'float32')) : taken;
      });
      return { outputs: [rows], saved: [] };
    },
    backward: () => [],
  };
}

export function gatherRows(store: TensorStore): Operation<OperationAttributes['gatherRows']> {
  const operation = 'gatherRows';
  // Backward does not receive the row count of x; a tensor without elements carries it.
  return {
    forward([input], { rows }, record) {
      const x = store.matrix(input, operation, 'x');
      const count = x.shape[0]!;
      checkRows(rows, count, operation);
      const [y, shape] = store.run(operation, (tf) => [
        takeRows(tf, x.data, rows),
        ...(record ? [tf.zeros([0, count])] : []),
      ]);
      return { outputs: [y!], saved: shape ? [store.saved(shape)] : [] };
    },
    backward([shape], [gradient], { rows }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, operation, 'output gradient', { rows: rows.length });
      const count = shape!.shape[1]!;
      const repeated = repeatedPlaces(rows, count, operation);
      if (repeated) return [store.one(operation, () => sumRows(store, dy.data, repeated))];
      const from = new Int32Array(count).fill(rows.length);
      for (const [i, row] of rows.entries()) from[row] = i;
      const dx = store.one(operation, (tf) => takeRows(tf, tf.concat([dy.data, tf.zeros([1, dy.shape[1]!])], 0), from));
      return [dx];
    },
  };
}

export function scatterRows(store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  const operation = 'scatterRows';
  return {
    forward(inputs, { rows }) {
      const base = store.matrix(inputs[0], operation, 'base');
      const source = store.matrix(inputs[1], operation, 'source', { rows: rows.length, columns: base.shape[1]! });
      checkDistinctRows(rows, base.shape[0]!, operation);
      return { outputs: [store.one(operation, (tf) => replaceRows(tf, base.data, source.data, rows))], saved: [] };
    },
    backward(_saved, [gradient], { rows }, needs) {
      if (!gradient) return [undefined, undefined];
      const dy = store.matrix(gradient, operation, 'output gradient');
      const [count, columns] = dy.shape as [number, number];
      const dBase = (tf: TfNamespace): TfTensor => replaceRows(tf, dy.data, tf.zeros([rows.length, columns]), rows);
      checkRows(rows, count, operation);
      const made = store.run(operation, (tf) => [
        ...(needs[0] ? [dBase(tf)] : []),
        ...(needs[1] ? [takeRows(tf, dy.data, rows)] : []),
      ]);
      return needs.map((need) => (need ? made.shift() : undefined));
    },
  };
}

export function mergePatches(store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  const operation = 'mergePatches';
  return {
    forward([input], attributes) {
      const x = store.matrix(input, operation, 'x');
      const [patches, columns] = x.shape as [number, number];
      const block = attributes.merge ** 2;
      const order = patchOrder(attributes, patches);
      const y = store.one(operation, (tf) => {
        const blocks = tf.reshape(takeRows(tf, x.data, order), [patches / block, block, columns]);
        return tf.reshape(tf.transpose(blocks, [0, 2, 1]), [patches / block, columns * block]);
      });
      return { outputs: [y], saved: [] };
    },
    backward(_saved, [gradient], attributes, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, operation, 'output gradient');
      const block = attributes.merge ** 2;
      const [rows, wide] = dy.shape as [number, number];
      const patches = rows * block;
      const back = new Int32Array(patches);
      for (const [i, patch] of patchOrder(attributes, patches).entries()) back[patch] = i;
      const dx = store.one(operation, (tf) => {
        const blocks = tf.transpose(tf.reshape(dy.data, [rows, wide / block, block]), [0, 2, 1]);
        return takeRows(tf, tf.reshape(blocks, [patches, wide / block]), back);
      });
      return [dx];
    },
  };
}
