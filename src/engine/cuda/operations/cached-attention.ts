/**
 * Attention to a key/value cache that grows by the rows of this call. Where every sequence has one new row, one kernel
 * turns q and k by their positions, appends k and v and attends; otherwise the three operations follow each other.
 */
import { EngineError } from '../../../errors.js';
import type { BlockAttributes } from '../../operations.js';
import type { Tensor } from '../../tensor.js';
import type { TensorStore } from '../tensor-store.js';
import type { CudaTensor } from '../tensors.js';
import { type AttentionOperation, checkAttention } from './attention.js';
import { checkTables } from './rotary.js';

const OPERATION = 'attendCached';

export type CachedAttention = Required<Pick<BlockAttributes['attentionBlock'], 'rotary' | 'attention'>> & {
  readonly cache: NonNullable<BlockAttributes['attentionBlock']['cache']>;
};

/** The attended rows, or undefined where one kernel cannot do it: nothing has been done then. */
export function decodeCached(
  store: TensorStore,
  { kernels }: AttentionOperation,
  inputs: readonly [Tensor, Tensor, Tensor],
  { cache, rotary, attention }: CachedAttention,
): CudaTensor | undefined {
  const { heads, kvHeads, headDim, causal, segments } = attention;
  if (!causal || headDim % 8 !== 0 || !kernels.isDecode(segments, heads, kvHeads)) return undefined;
  const q = store.matrix(inputs[0], OPERATION, 'q', { columns: heads * headDim });
  const k = store.matrix(inputs[1], OPERATION, 'k', { rows: q.rows, columns: kvHeads * headDim });
  const v = store.matrix(inputs[2], OPERATION, 'v', { rows: q.rows, columns: kvHeads * headDim });
  const keys = store.matrix(cache.keys, OPERATION, 'cached keys', { columns: k.columns });
  const values = store.matrix(cache.values, OPERATION, 'cached values', { rows: keys.rows, columns: v.columns });
  checkAttention(attention, q.rows, keys.rows);
  const { queryStarts, keyStarts, keyLengths } = segments;
  for (const [s, start] of keyStarts.entries()) {
    const row = queryStarts[s]!;
    if (queryStarts[s + 1] === row) continue;
    if (cache.rows[row] !== start + keyLengths[s]! - 1) {
      throw new EngineError(`${OPERATION}: row ${row} goes to cache row ${cache.rows[row]}, not to its last key`);
    }
  }
  const { cos, sin, queryScale } = rotary;
  checkTables(store, rotary, q.rows);
  const out = store.createInput(q.shape);
  store.withF32(cos, OPERATION, (cosines) =>
    store.withF32(sin, OPERATION, (sines) => {
      const decode = (scale: number): void =>
        kernels.decode({ out, q, k: keys, v: values }, attention, {
          k,
          v,
          cos: cosines,
          sin: sines,
          queryScale: scale,
        });
      if (queryScale) store.withF32(queryScale, OPERATION, decode);
      else decode(0);
    }),
  );
  return out;
}
