/** Embedding lookup: rows of a frozen table in its stored format, with uniform noise where it is given. */
import { WGSL } from '../../../generated/wgsl-kernels.js';
import { NOISE_SEED, type RowNoise } from '../../../random.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkNoise, checkRows } from '../../row-lists.js';
import type { WebgpuWeight } from '../frozen-weight.js';
import type { BufferRange } from '../gpu-types.js';
import { blocks, lanesOf, type TensorStore, type WebgpuTensor } from '../tensor-store.js';
import { isWide, weightParameters } from '../weight-reader.js';

interface NoiseTables {
  readonly row_keys: BufferRange;
  readonly bounds: BufferRange;
}

function lookUp(
  store: TensorStore,
  weight: WebgpuWeight,
  out: WebgpuTensor,
  ids: BufferRange,
  noise: NoiseTables | undefined,
): void {
  const { width, defines } = lanesOf(isWide(weight) ? weight.columns : 1);
  const [n, columns] = [out.size / width, weight.columns / width];
  for (const part of weight.parts) {
    const variant = {
      defines: { ...defines, FORMAT: weight.format, FACTORS: part.factors !== undefined, NOISE: noise !== undefined },
    };
    const rows = { n, columns, first_row: part.firstRow, part_rows: part.rows, noise_seed: NOISE_SEED };
    const parameters = { out: out.range, ids, ...noise, ...rows, ...weightParameters(weight, part) };
    store.kernels.launch(WGSL.embedding, blocks(n), parameters, variant);
  }
}

function withNoise(
  store: TensorStore,
  noise: RowNoise | undefined,
  body: (tables: NoiseTables | undefined) => void,
): void {
  if (!noise) body(undefined);
  else
    store.withTable(noise.rowKeys, (row_keys) => {
      store.withTable(noise.bounds, (bounds) => body({ row_keys, bounds }));
    });
}

export function embedding(store: TensorStore): Operation<OperationAttributes['embedding']> {
  return {
    forward(_inputs, { table, ids, noise }) {
      const weight = store.weights.use(table, 'embedding');
      checkRows(ids, weight.rows, 'embedding');
      if (noise) checkNoise(noise, ids.length);
      const out = store.create([ids.length, weight.columns]);
      store.withTable(ids, (idTable) => {
        withNoise(store, noise, (tables) => lookUp(store, weight, out, idTable, tables));
      });
      return { outputs: [out], saved: [] };
    },
    backward: () => [],
  };
}
