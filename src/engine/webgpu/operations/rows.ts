/** Operations that move rows: gather, scatter, patch merging. Backward needs nothing but shapes. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkDistinctRows, checkRows, patchOrder, type RowPlaces, repeatedPlaces } from '../../row-lists.js';
import { blocks, lanesOf, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

function gather(store: TensorStore, source: WebgpuTensor, rows: Int32Array): WebgpuTensor {
  const out = store.create([rows.length, source.shape[1]!]);
  const { width, defines } = lanesOf(source.shape[1]!);
  const [n, columns] = [out.size / width, source.shape[1]! / width];
  store.withTable(rows, (index) => {
    store.kernels.launch(
      WGSL.gatherRows,
      blocks(n),
      { out: out.range, x: source.range, index, n, columns },
      { defines },
    );
  });
  return out;
}

/**
 * Rows of the base, the listed ones replaced by those of the source.
 * @param base zeros where it is missing, like the source
 */
function select(
  store: TensorStore,
  shape: readonly number[],
  rows: Int32Array,
  base: WebgpuTensor | undefined,
  source: WebgpuTensor | undefined,
): WebgpuTensor {
  const out = store.create(shape);
  const { width, defines } = lanesOf(shape[1]!);
  const index = new Int32Array(shape[0]!).fill(-1);
  for (let i = 0; i < rows.length; i++) index[rows[i]!] = i;
  // No binding is as short as an empty source: nothing is listed then.
  const given = source && source.size > 0 ? source : undefined;
  const [n, columns] = [out.size / width, shape[1]! / width];
  const variant = { defines: { ...defines, BASE: base !== undefined, SOURCE: given !== undefined } };
  store.withTable(index, (table) => {
    const bindings = { out: out.range, base: base?.range, source: given?.range, index: table };
    store.kernels.launch(WGSL.selectRows, blocks(n), { ...bindings, n, columns }, variant);
  });
  return out;
}

/** Row r of the result is the sum of its rows of dy, in order. */
function sumRows(store: TensorStore, dy: WebgpuTensor, { starts, places }: RowPlaces): WebgpuTensor {
  const out = store.create([starts.length - 1, dy.shape[1]!]);
  const { width, defines } = lanesOf(dy.shape[1]!);
  const [n, columns] = [out.size / width, dy.shape[1]! / width];
  store.withTable(starts, (startTable) => {
    store.withTable(places, (placeTable) => {
      const bindings = { out: out.range, x: dy.range, starts: startTable, places: placeTable };
      store.kernels.launch(WGSL.sumRows, blocks(n), { ...bindings, n, columns }, { defines });
    });
  });
  return out;
}

/** Copies source row i to row rows[i] of target. */
export function writeRows(store: TensorStore, target: WebgpuTensor, source: WebgpuTensor, rows: Int32Array): void {
  const { width, defines } = lanesOf(target.shape[1]!);
  const [n, columns] = [source.size / width, target.shape[1]! / width];
  store.withTable(rows, (index) => {
    store.apart([target, source], (out, x) => {
      store.kernels.launch(WGSL.writeRows, blocks(n), { out: out!, x: x!, index, n, columns }, { defines });
    });
  });
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
      return [repeated ? sumRows(store, dy, repeated) : select(store, [count, dy.shape[1]!], rows, undefined, dy)];
    },
  };
}

export function scatterRows(store: TensorStore): Operation<OperationAttributes['scatterRows']> {
  return {
    forward(inputs, { rows }) {
      const base = store.matrix(inputs[0], 'scatterRows', 'base');
      const source = store.matrix(inputs[1], 'scatterRows', 'source', { rows: rows.length, columns: base.shape[1]! });
      checkDistinctRows(rows, base.shape[0]!, 'scatterRows');
      // Distinct rows of a tensor that is its own source are all of its rows: nothing of the base is left.
      const left = source === base ? undefined : base;
      return { outputs: [select(store, base.shape, rows, left, source)], saved: [] };
    },
    backward(_saved, [gradient], { rows }, needs) {
      if (!gradient) return [undefined, undefined];
      const dy = store.matrix(gradient, 'scatterRows', 'output gradient');
      return [
        needs[0] ? select(store, dy.shape, rows, dy, undefined) : undefined,
        needs[1] ? gather(store, dy, rows) : undefined,
      ];
    },
  };
}

export function mergePatches(store: TensorStore): Operation<OperationAttributes['mergePatches']> {
  return {
    forward([input], attributes) {
      const x = store.matrix(input, 'mergePatches', 'x');
      const [patches, columns] = x.shape as [number, number];
      const order = patchOrder(attributes, patches);
      const block = attributes.merge ** 2;
      const out = store.create([patches / block, columns * block]);
      moveBlocks(store, x, out, { order, columns, block }, false);
      return { outputs: [out], saved: [] };
    },
    backward(_saved, [gradient], attributes, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const dy = store.matrix(gradient, 'mergePatches', 'output gradient');
      const block = attributes.merge ** 2;
      const [rows, wide] = dy.shape as [number, number];
      const order = patchOrder(attributes, rows * block);
      const dx = store.create([rows * block, wide / block]);
      moveBlocks(store, dy, dx, { order, columns: wide / block, block }, true);
      return [dx];
    },
  };
}

interface PatchBlocks {
  /** As `patchOrder`. */
  readonly order: Int32Array;
  /** Of a patch. */
  readonly columns: number;
  /** Patches of a block. */
  readonly block: number;
}

function moveBlocks(
  store: TensorStore,
  x: WebgpuTensor,
  out: WebgpuTensor,
  { order, columns, block }: PatchBlocks,
  isBackward: boolean,
): void {
  const n = x.size;
  store.withTable(order, (table) => {
    const parameters = { out: out.range, x: x.range, order: table, n, columns, block };
    store.kernels.launch(WGSL.mergePatches, blocks(n), parameters, { defines: { BACKWARD: isBackward } });
  });
}
