/** Operations that move rows: embedding lookup, gather, scatter, patch merging. They save nothing: shapes suffice. */
import { EngineError } from '../../../errors.js';
import type { RowNoise } from '../../../random.js';
import { NOISE_SEED } from '../../../random.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkNoise, checkRows, patchOrder } from '../../row-lists.js';
import { grid2 } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';

/** `checkRows`, and no index may come twice. Gives the inverse: the position of each row in the list, or -1. */
function inverseOf(rows: Int32Array, count: number, operation: string): Int32Array {
  checkRows(rows, count, operation);
  const inverse = new Int32Array(count).fill(-1);
  for (const [i, row] of rows.entries()) {
    if (inverse[row]! >= 0) throw new EngineError(`${operation}: row ${row} is listed twice`);
    inverse[row] = i;
  }
  return inverse;
}

/** Rows of a bf16 matrix at `address`, in the order of the list. */
function gather(store: TensorStore, address: number, ld: number, columns: number, rows: Int32Array): CudaTensor {
  const out = store.create([rows.length, columns]);
  store.withTable(rows, (table) => {
    const values = [out.address, address, table, rows.length, columns, out.ld, ld];
    store.kernels.run('gather_rows', grid2(rows.length, columns), 128, values);
  });
  return out;
}

/** out[r] = inverse[r] >= 0 ? source[inverse[r]] (or 0) : base[r] (or 0). */
function select(
  store: TensorStore,
  inverse: Int32Array,
  columns: number,
  base: CudaTensor | undefined,
  source: CudaTensor | undefined,
): CudaTensor {
  const rows = inverse.length;
  const out = store.create([rows, columns]);
  store.withTable(inverse, (map) => {
    store.kernels.run('select_rows', grid2(rows, columns), 128, [
      ...[out.address, base?.address ?? 0, source?.address ?? 0, map],
      ...[rows, columns, out.ld, base?.ld ?? 0, source?.ld ?? 0],
    ]);
  });
  return out;
}

/** target[rows[i]] = source[i], in place. */
export function writeRows(store: TensorStore, target: CudaTensor, source: CudaTensor, rows: Int32Array): void {
  inverseOf(rows, target.rows, 'writeRows');
  store.withTable(rows, (table) => {
    store.kernels.run('scatter_rows', grid2(rows.length, source.columns), 128, [
      ...[target.address, source.address, table, rows.length, source.columns, target.ld, source.ld],
    ]);
  });
}

function addNoise(store: TensorStore, { address, rows, columns, ld }: CudaTensor, noise: RowNoise): void {
  const bounds = new Int32Array(noise.bounds.buffer, noise.bounds.byteOffset, noise.bounds.length);
  store.withTable(noise.rowKeys, (keys) => {
    store.withTable(bounds, (limits) => {
      const values = [address, keys, limits, rows, columns, ld, NOISE_SEED];
      store.kernels.run('add_noise', grid2(rows, columns), 128, values);
    });
  });
}

export function embedding(store: TensorStore, weights: WeightStore): Operation<OperationAttributes['embedding']> {
  return {
    forward(_inputs, { table, ids, noise }) {
      const weight = weights.use(table, 'embedding');
      checkRows(ids, weight.rows, 'embedding');
      if (noise) checkNoise(noise, ids.length);
      const out = gather(store, weight.address, weight.ld, weight.columns, ids);
      if (noise) addNoise(store, out, noise);
      return { outputs: [out], saved: [] };
    },
    backward: () => [],
  };
}

export function gatherRows(store: TensorStore): Operation<OperationAttributes['gatherRows']> {
  // The number of rows of x is not among what backward is told, so a tensor without numbers carries it.
  return {
    forward([input], { rows }, record) {
      const x = store.matrix(input, -1, -1, 'gatherRows', 'x');
      inverseOf(rows, x.rows, 'gatherRows');
      return { outputs: [gather(store, x.address, x.ld, x.columns, rows)], saved: record ? [store.markOf(x)] : [] };
    },
    backward([mark], [gradient], { rows }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const [count, columns] = mark!.shape as [number, number];
      const dy = store.matrix(gradient, rows.length, columns, 'gatherRows', 'output gradient');
      return [select(store, inverseOf(rows, count, 'gatherRows'), columns, undefined, dy)];
    },
  };
}

export function scatterRows(store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  return {
    forward(inputs, { rows }) {
      const base = store.matrix(inputs[0], -1, -1, 'scatterRows', 'base');
      const source = store.matrix(inputs[1], rows.length, base.columns, 'scatterRows', 'source');
      const inverse = inverseOf(rows, base.rows, 'scatterRows');
      return { outputs: [select(store, inverse, base.columns, base, source)], saved: [] };
    },
    backward(_saved, [gradient], { rows }, needs) {
      if (!gradient) return [undefined, undefined];
      const dy = store.matrix(gradient, -1, -1, 'scatterRows', 'output gradient');
      const inverse = inverseOf(rows, dy.rows, 'scatterRows');
      return [
        needs[0] ? select(store, inverse, dy.columns, dy, undefined) : undefined,
        needs[1] ? gather(store, dy.address, dy.ld, dy.columns, rows) : undefined,
      ];
    },
  };
}

export function mergePatches(store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  return {
    forward([input], attributes) {
      const x = store.matrix(input, -1, -1, 'mergePatches', 'x');
      const { rows: patches, columns } = x;
      const block = attributes.merge ** 2;
      const order = patchOrder(attributes, patches);
      const out = store.createInput([patches / block, columns * block]);
      store.withTable(order, (table) => {
        const values = [out.address, x.address, table, out.rows, columns, block, out.ld, x.ld];
        store.kernels.run('merge_patches_forward', grid2(out.rows, columns), 128, values);
      });
      return { outputs: [out], saved: [] };
    },
    backward(_saved, [gradient], attributes, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, -1, -1, 'mergePatches', 'output gradient');
      const block = attributes.merge ** 2;
      const columns = dy.columns / block;
      const dx = store.create([dy.rows * block, columns]);
      store.withTable(patchOrder(attributes, dx.rows), (table) => {
        const values = [dx.address, dy.address, table, dy.rows, columns, block, dx.ld, dy.ld];
        store.kernels.run('merge_patches_backward', grid2(dy.rows, columns), 128, values);
      });
      return [dx];
    },
  };
}
