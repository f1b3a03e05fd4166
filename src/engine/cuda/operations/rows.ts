/** Operations that move rows: embedding lookup, gather, scatter, patch merging. They save nothing: shapes suffice. */
import { EngineError } from '../../../errors.js';
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { RowNoise } from '../../../random.js';
import { NOISE_SEED } from '../../../random.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkNoise, checkRows, patchOrder, type RowPlaces, repeatedPlaces } from '../../row-lists.js';
import { type DevicePointer, grid2, offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import type { WeightStore } from '../weights.js';

/** `checkRows`, and no index may come twice. Gives the inverse: the position of each row in the list, or -1. */
export function inverseOf(rows: Int32Array, count: number, operation: string): Int32Array {
  checkRows(rows, count, operation);
  const inverse = new Int32Array(count).fill(-1);
  for (const [i, row] of rows.entries()) {
    if (inverse[row]! >= 0) throw new EngineError(`${operation}: row ${row} is listed twice`);
    inverse[row] = i;
  }
  return inverse;
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
    // biome-ignore format: parameters by operand
    store.kernels.launch(KERNELS.selectRows, grid2(rows, columns), {
      out: out.address, base: base?.address, source: source?.address, map,
      rows, columns, ldo: out.ld, ldb: base?.ld ?? 0, lds: source?.ld ?? 0,
    });
  });
  return out;
}

/** Table for `sumRows`: starts [count + 1], then places. */
export function placeWords({ starts, places }: RowPlaces): Int32Array {
  return Int32Array.from([...starts, ...places]);
}

/** out[r] = Σ x[place] over the places of r; optionally of a second pair of matrices. @param table `placeWords` */
export function sumRows(
  store: TensorStore,
  [out, secondOut]: readonly [CudaTensor, CudaTensor?],
  [x, second]: readonly [CudaTensor, CudaTensor?],
  table: DevicePointer,
): void {
  const { rows, columns } = out;
  // biome-ignore format: parameters by operand
  store.kernels.launch(KERNELS.sumRows, grid2(rows, columns), {
    out: out.address, ldo: out.ld, secondOut: secondOut?.address, ldsecondOut: secondOut?.ld ?? 0,
    x: x.address, ldx: x.ld, second: second?.address, ldsecond: second?.ld ?? 0,
    starts: table, places: offset(table, 4 * (rows + 1)), rows, columns,
  });
}

/** target[rows[i]] = source[i], in place. */
export function writeRows(store: TensorStore, target: CudaTensor, source: CudaTensor, rows: Int32Array): void {
  inverseOf(rows, target.rows, 'writeRows');
  store.withTable(rows, (table) => {
    const { columns } = source;
    // biome-ignore format: parameters by operand
    store.kernels.launch(KERNELS.scatterRows, grid2(rows.length, columns), {
      target: target.address, source: source.address, index: table,
      n: rows.length, columns, ldt: target.ld, lds: source.ld,
    });
  });
}

function addNoise(store: TensorStore, { address, rows, columns, ld }: CudaTensor, noise: RowNoise): void {
  const bounds = new Int32Array(noise.bounds.buffer, noise.bounds.byteOffset, noise.bounds.length);
  store.withTable(noise.rowKeys, (keys) => {
    store.withTable(bounds, (limits) => {
      const parameters = { x: address, rowKeys: keys, bounds: limits, rows, K: columns, ld, seed: NOISE_SEED };
      store.kernels.launch(KERNELS.addNoise, grid2(rows, columns), parameters);
    });
  });
}

export function embedding(store: TensorStore, weights: WeightStore): Operation<OperationAttributes['embedding']> {
  return {
    forward(_inputs, { table, ids, noise }) {
      const weight = weights.use(table, 'embedding');
      checkRows(ids, weight.rows, 'embedding');
      if (noise) checkNoise(noise, ids.length);
      const out = weight.matrix.gatherRows(weight.row, ids);
      if (noise) addNoise(store, out, noise);
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
      checkRows(rows, x.rows, 'gatherRows');
      return { outputs: [store.gather(x, rows)], saved: record ? [store.shapeOf(x)] : [] };
    },
    backward([mark], [gradient], { rows }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const [count, columns] = mark!.shape as [number, number];
      const dy = store.matrix(gradient, 'gatherRows', 'output gradient', { rows: rows.length, columns });
      const repeated = repeatedPlaces(rows, count, 'gatherRows');
      if (repeated) {
        const dx = store.create([count, columns]);
        store.withTable(placeWords(repeated), (table) => sumRows(store, [dx], [dy], table));
        return [dx];
      }
      return [select(store, inverseOf(rows, count, 'gatherRows'), columns, undefined, dy)];
    },
  };
}

export function scatterRows(store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  return {
    forward(inputs, { rows }) {
      const base = store.matrix(inputs[0], 'scatterRows', 'base');
      const source = store.matrix(inputs[1], 'scatterRows', 'source', { rows: rows.length, columns: base.columns });
      const inverse = inverseOf(rows, base.rows, 'scatterRows');
      return { outputs: [select(store, inverse, base.columns, base, source)], saved: [] };
    },
    backward(_saved, [gradient], { rows }, needs) {
      if (!gradient) return [undefined, undefined];
      const dy = store.matrix(gradient, 'scatterRows', 'output gradient');
      const inverse = inverseOf(rows, dy.rows, 'scatterRows');
      return [
        needs[0] ? select(store, inverse, dy.columns, dy, undefined) : undefined,
        needs[1] ? store.gather(dy, rows) : undefined,
      ];
    },
  };
}

export function mergePatches(store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  return {
    forward([input], attributes) {
      const x = store.matrix(input, 'mergePatches', 'x');
      const { rows: patches, columns } = x;
      const block = attributes.merge ** 2;
      const order = patchOrder(attributes, patches);
      const out = store.createInput([patches / block, columns * block]);
      store.withTable(order, (table) => {
        // biome-ignore format: parameters by operand
        store.kernels.launch(KERNELS.mergePatchesForward, grid2(out.rows, columns), {
          out: out.address, x: x.address, order: table,
          outRows: out.rows, columns, block, ldo: out.ld, ldx: x.ld,
        });
      });
      return { outputs: [out], saved: [] };
    },
    backward(_saved, [gradient], attributes, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, 'mergePatches', 'output gradient');
      const block = attributes.merge ** 2;
      const columns = dy.columns / block;
      const dx = store.create([dy.rows * block, columns]);
      store.withTable(patchOrder(attributes, dx.rows), (table) => {
        // biome-ignore format: parameters by operand
        store.kernels.launch(KERNELS.mergePatchesBackward, grid2(dy.rows, columns), {
          dx: dx.address, dy: dy.address, order: table,
          outRows: dy.rows, columns, block, lddx: dx.ld, lddy: dy.ld,
        });
      });
      return [dx];
    },
  };
}
