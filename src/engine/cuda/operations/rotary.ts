/** Rotary position embedding of queries and keys, in float32 tables. The gradient turns the other way. */
import { EngineError } from '../../../errors.js';
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { rotaryHeads } from '../../rotary.js';
import { requireMatrix, type Tensor } from '../../tensor.js';
import type { DevicePointer } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';

const OPERATION = 'rotary';

type Attributes = OperationAttributes['rotary'];

function headsOf(x: CudaTensor | undefined, headDim: number): number {
  return x ? rotaryHeads(x.columns, headDim) : 0;
}

/** Turns q and k, either of which may be absent, into the given outputs; with a sign of -1 the other way round. */
export function turn(
  store: TensorStore,
  [q, k]: readonly (CudaTensor | undefined)[],
  [qOut, kOut]: readonly (CudaTensor | undefined)[],
  attributes: Attributes,
  sign: number,
): void {
  const { headDim } = attributes;
  const rows = (q ?? k)!.rows;
  const [heads, kvHeads] = [headsOf(q, headDim), headsOf(k, headDim)];
  const units = (heads + kvHeads) * Math.ceil(headDim / 16);
  const block = Math.min(256, 32 * Math.ceil(units / 32));
  withTables(store, attributes, rows, (tables) => {
    // biome-ignore format: parameters by operand
    const parameters = {
      qOut: qOut?.address, kOut: kOut?.address, q: q?.address, k: k?.address,
      ldqOut: qOut?.ld ?? 0, ldkOut: kOut?.ld ?? 0, ldq: q?.ld ?? 0, ldk: k?.ld ?? 0,
      ...tables, rows, heads, kvHeads, D: headDim, sign,
    };
    store.kernels.launch(KERNELS.rotary, [rows], parameters, block);
  });
}

interface TableAddresses {
  readonly cos: DevicePointer;
  readonly sin: DevicePointer;
  readonly queryScale: DevicePointer | undefined;
}

/**
 * Calls `body` with the tables as float32.
 * @throws EngineError if a table does not have a row for each of `rows`
 */
export function withTables(
  store: TensorStore,
  { headDim, cos, sin, queryScale }: Attributes,
  rows: number,
  body: (tables: TableAddresses) => void,
): void {
  for (const table of [cos, sin]) {
    requireMatrix(store.use(table, OPERATION), OPERATION, 'cos or sin', { rows, columns: headDim / 2 });
  }
  if (queryScale && queryScale.size !== rows) {
    throw new EngineError(`${OPERATION}: queryScale has ${queryScale.size} of ${rows} rows`);
  }
  store.withF32(cos, OPERATION, (cosines) => {
    store.withF32(sin, OPERATION, (sines) => {
      const run = (scale?: DevicePointer): void => body({ cos: cosines, sin: sines, queryScale: scale });
      if (queryScale) store.withF32(queryScale, OPERATION, run);
      else run();
    });
  });
}

/** The tensors that backward reads, for an operation to save. */
export function tablesOf({ cos, sin, queryScale }: Attributes): readonly Tensor[] {
  return [cos, sin, ...(queryScale ? [queryScale] : [])];
}

export function rotary(store: TensorStore): Operation<Attributes> {
  return {
    forward(inputs, attributes, record) {
      const q = store.matrix(inputs[0], OPERATION, 'q');
      const k = store.matrix(inputs[1], OPERATION, 'k', { rows: q.rows });
      const outputs = [store.create(q.shape), store.create(k.shape)];
      turn(store, [q, k], outputs, attributes, 1);
      return { outputs, saved: record ? tablesOf(attributes) : [] };
    },
    backward(_saved, gradients, attributes, needs) {
      const wanted = [0, 1].map((i) => {
        const gradient = needs[i] ? gradients[i] : undefined;
        return gradient && store.matrix(gradient, OPERATION, 'output gradient');
      });
      if (!wanted.some((gradient) => gradient)) return [undefined, undefined];
      const results = wanted.map((gradient) => gradient && store.create(gradient.shape));
      turn(store, wanted, results, attributes, -1);
      return results;
    },
  };
}
