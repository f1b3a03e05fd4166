/**
 * Cross-entropy from hidden rows and the head. Logits exist for one block of rows at a time; where a gradient will be
 * needed that of the hidden rows is computed in the same pass, block by block, and saved in place of the logits.
 */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkRows, checkRowWeights } from '../../row-lists.js';
import type { TensorStore } from '../tensor-store.js';

const OPERATION = 'crossEntropy';
/** Most logits held at once: 64 MiB, 128 rows of Ministral's vocabulary. Fewer rows read the head more often. */
export const MAX_LOGITS = 1 << 24;

export function crossEntropy(store: TensorStore): Operation<OperationAttributes['crossEntropy']> {
  return {
    forward([input], { head, targets, scale, smoothing = 0, weights }, record) {
      const hidden = store.matrix(input, OPERATION, 'hidden');
      const [rows, columns] = hidden.shape as [number, number];
      const weight = store.weights.useMatrix(head, columns, OPERATION);
      const vocabulary = weight.rows;
      if (targets.length !== rows) throw new EngineError(`${OPERATION}: ${targets.length} targets for ${rows} rows`);
      checkRows(targets, vocabulary, OPERATION);
      checkRowWeights(weights, rows, OPERATION);
      const loss = store.create([1]);
      const rowLoss = store.create([rows]);
      const gradient = record ? store.saved(store.create(hidden.shape)) : undefined;
      const block = Math.max(1, Math.min(rows, Math.floor(MAX_LOGITS / vocabulary)));
      const logits = store.create([block, vocabulary]);
      const factors = weights && store.create([rows]);
      if (factors) store.values(factors).set(weights);
      store.withTable(targets, (table) => {
        for (let row = 0; row < rows; row += block) {
          const m = Math.min(block, rows - row);
          const a = hidden.ptr + 4 * row * columns;
          weight.product(m, a, logits.ptr);
          const factor = factors ? factors.ptr + 4 * row : 0;
          const ints = [logits.ptr, vocabulary, table + 4 * row, rowLoss.ptr + 4 * row, gradient ? 1 : 0, factor];
          store.byRows('softmaxLoss', m, 8 * vocabulary, ints, [scale, smoothing]);
          if (!gradient) continue;
          weight.transposedProduct(m, logits.ptr, gradient.ptr + 4 * row * columns);
        }
      });
      store.release(logits);
      if (factors) store.release(factors);
      const total = store
        .values(rowLoss)
        .reduce((sum, value, row) => sum + (weights ? weights[row]! * value : value), 0);
      store.values(loss)[0] = scale * total;
      return { outputs: [loss, rowLoss], saved: gradient ? [gradient] : [] };
    },
    backward([saved], [lossGradient], _attributes, needs) {
      if (!lossGradient || !needs[0]) return [undefined];
      const gradient = store.use(saved!, OPERATION);
      const factor = store.values(store.use(lossGradient, OPERATION))[0]!;
      const dx = store.create(gradient.shape);
      store.elementwise('multiply', gradient.size, [gradient.ptr, dx.ptr], [factor]);
      return [dx];
    },
  };
}
