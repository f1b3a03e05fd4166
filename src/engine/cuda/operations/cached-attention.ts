/**
 * Attention to a key/value cache by one kernel that turns q and k by their positions, appends k and v and attends:
 * where every sequence has one new row.
 */
import { EngineError } from '../../../errors.js';
import type { KeyValueRows, OperationAttributes } from '../../operations.js';
import { checkAttention } from '../../row-lists.js';
import { requireMatrix } from '../../tensor.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { type AttentionOperation, MAX_HEAD_DIM } from './attention.js';
import { withTables } from './rotary.js';

const OPERATION = 'attentionBlock';

/** The attended rows, or undefined where one kernel cannot do it: nothing has been done then. */
export function decodeCached(
  store: TensorStore,
  { kernels }: AttentionOperation,
  [q, k, v]: readonly [CudaTensor, CudaTensor, CudaTensor],
  cache: KeyValueRows,
  rotary: OperationAttributes['rotary'],
  attention: OperationAttributes['attention'],
): CudaTensor | undefined {
  const { heads, kvHeads, headDim, causal, segments } = attention;
  if (!causal || headDim % 8 !== 0 || !kernels.isDecode(segments, heads, kvHeads)) return undefined;
  const extents = { rows: q.rows, columns: kvHeads * headDim };
  requireMatrix(q, OPERATION, 'q', { rows: q.rows, columns: heads * headDim });
  requireMatrix(k, OPERATION, 'k', extents);
  requireMatrix(v, OPERATION, 'v', extents);
  const keys = store.matrix(cache.keys, OPERATION, 'cached keys', { columns: k.columns });
  const values = store.matrix(cache.values, OPERATION, 'cached values', { rows: keys.rows, columns: v.columns });
  checkAttention(attention, q.rows, keys.rows, MAX_HEAD_DIM);
  const { queryStarts, keyStarts, keyLengths } = segments;
  for (let s = 0; s < keyStarts.length; s++) {
    const row = queryStarts[s]!;
    if (queryStarts[s + 1] === row) continue;
    if (cache.rows[row] !== keyStarts[s]! + keyLengths[s]! - 1) {
      throw new EngineError(`${OPERATION}: row ${row} goes to cache row ${cache.rows[row]}, not to its last key`);
    }
  }
  let out!: CudaTensor;
  withTables(store, rotary, q.rows, (tables) => {
    out = store.createInput(q.shape);
    kernels.decode({ out, q, k: keys, v: values }, attention, { k, v, ...tables });
  });
  return out;
}
