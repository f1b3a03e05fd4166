/** Operations that move rows: embedding lookup, gather, scatter, patch merging. They save nothing: shapes suffice. */
import type { RowNoise } from '../../../random.js';
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
import type { CpuTensor, TensorStore } from '../tensor-store.js';

function gather(store: TensorStore, source: CpuTensor, rows: Int32Array): CpuTensor {
  const columns = source.shape[1]!;
  const out = store.create([rows.length, columns]);
  store.withTable(rows, (table) => {
    store.byRows('gatherRows', rows.length, columns, [source.ptr, table, out.ptr, columns]);
  });
  return out;
}

/** target[rows[i]] = source[i], or zeros without a source. */
export function scatter(store: TensorStore, source: CpuTensor | undefined, rows: Int32Array, target: CpuTensor): void {
  const columns = target.shape[1]!;
  store.withTable(rows, (table) => {
    store.byRows('scatterRows', rows.length, columns, [source?.ptr ?? 0, table, target.ptr, columns]);
  });
}

/** dx[r] = the sum of its rows of dy, in order. */
function sumRows(store: TensorStore, dy: CpuTensor, { starts, places }: RowPlaces): CpuTensor {
  const [rows, columns] = [starts.length - 1, dy.shape[1]!];
  const dx = store.create([rows, columns]);
  store.withTable([...starts, ...places], (table) => {
    const ints = [dy.ptr, table, table + 4 * starts.length, dx.ptr, columns];
    store.byRows('sumRows', rows, columns * Math.ceil(places.length / Math.max(1, rows)), ints);
  });
  return dx;
}

/** On this thread: a hash an element is little beside the passes of this engine. */
function addNoise(values: Float32Array, noise: RowNoise): void {
  const added = uniformNoise(noise, values.length / noise.rowKeys.length);
  for (let i = 0; i < values.length; i++) values[i]! += added[i]!;
}

export function embedding(store: TensorStore): Operation<OperationAttributes['embedding']> {
  return {
    forward(_inputs, { table, ids, noise }) {
      const weight = store.weights.use(table, 'embedding');
      checkRows(ids, weight.rows, 'embedding');
      if (noise) checkNoise(noise, ids.length);
      const out = store.create([ids.length, weight.columns]);
      weight.gatherRows(ids, out.ptr);
      if (noise) addNoise(store.values(out), noise);
      return { outputs: [out], saved: [] };
    },
    backward: () => [],
  };
}

export function gatherRows(store: TensorStore): Operation<OperationAttributes['gatherRows']> {
  // Backward does not receive the row count of x; a tensor without elements carries it.
  return {
    forward([input], { rows }, record) {
      const x = store.matrix(input, 'gatherRows', 'x');
      checkRows(rows, x.shape[0]!, 'gatherRows');
      return { outputs: [gather(store, x, rows)], saved: record ? [store.saved(store.create([0, x.shape[0]!]))] : [] };
    },
    backward([shape], [gradient], { rows }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, 'gatherRows', 'output gradient', { rows: rows.length });
      const count = shape!.shape[1]!;
      const repeated = repeatedPlaces(rows, count, 'gatherRows');
      if (repeated) return [sumRows(store, dy, repeated)];
      const dx = store.zeros([count, dy.shape[1]!]);
      scatter(store, dy, rows, dx);
      return [dx];
    },
  };
}

export function scatterRows(store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  return {
    forward(inputs, { rows }) {
      const base = store.matrix(inputs[0], 'scatterRows', 'base');
      const source = store.matrix(inputs[1], 'scatterRows', 'source', { rows: rows.length, columns: base.shape[1]! });
      checkDistinctRows(rows, base.shape[0]!, 'scatterRows');
      const out = store.create(base.shape);
      store.values(out).set(store.values(base));
      scatter(store, source, rows, out);
      return { outputs: [out], saved: [] };
    },
    backward(_saved, [gradient], { rows }, needs) {
      if (!gradient) return [undefined, undefined];
      const dy = store.matrix(gradient, 'scatterRows', 'output gradient');
      let dBase: CpuTensor | undefined;
      if (needs[0]) {
        dBase = store.create(dy.shape);
        store.values(dBase).set(store.values(dy));
        scatter(store, undefined, rows, dBase);
      }
      return [dBase, needs[1] ? gather(store, dy, rows) : undefined];
    },
  };
}

export function mergePatches(store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  return {
    forward([input], attributes) {
      const x = store.matrix(input, 'mergePatches', 'x');
      const [patches, columns] = x.shape as [number, number];
      const block = attributes.merge ** 2;
      const order = patchOrder(attributes, patches);
      const out = store.create([patches / block, columns * block]);
      store.withTable(order, (table) => {
        const ints = [x.ptr, table, out.ptr, columns, block];
        store.byRows('mergePatches', patches / block, columns * block * 4, ints);
      });
      return { outputs: [out], saved: [] };
    },
    backward(_saved, [gradient], attributes, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, 'mergePatches', 'output gradient');
      const block = attributes.merge ** 2;
      const [rows, wide] = dy.shape as [number, number];
      const dx = store.create([rows * block, wide / block]);
      store.withTable(patchOrder(attributes, rows * block), (table) => {
        store.byRows('splitPatches', rows, wide * 4, [dy.ptr, table, dx.ptr, wide / block, block]);
      });
      return [dx];
    },
  };
}
