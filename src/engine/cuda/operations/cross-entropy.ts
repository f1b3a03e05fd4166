/**
 * Cross-entropy from hidden rows and the head. Logits (float32) exist for one block of rows at a time; where a gradient
 * will be needed, that of the hidden rows is computed in the same pass and saved in place of the logits. So the head is
 * multiplied twice a row, not three times as when the vocabulary is cut into chunks.
 */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkRows } from '../../row-lists.js';
import { grid2 } from '../kernels.js';
import type { TensorStore } from '../tensor-store.js';
import { rowRange } from '../tensors.js';
import type { WeightStore } from '../weights.js';

const OPERATION = 'crossEntropy';
/** Most logits held at once: 512 MiB, 1024 rows of Ministral's vocabulary. Products of few rows are bound by the head's bytes. */
export const MAX_LOGITS = 1 << 27;
/** `kind` of float32 logits. */
const KIND_F32 = 1;

export function crossEntropy(store: TensorStore, weights: WeightStore): Operation<OperationAttributes['crossEntropy']> {
  return {
    forward([input], { head, targets, scale, smoothing = 0 }, record) {
      const hidden = store.matrix(input, OPERATION, 'hidden');
      const { rows, columns } = hidden;
      const { matrix, row: headRow, rows: vocabulary } = weights.useMatrix(head, columns, OPERATION);
      if (targets.length !== rows) throw new EngineError(`${OPERATION}: ${targets.length} targets for ${rows} rows`);
      checkRows(targets, vocabulary, OPERATION);
      const loss = store.createF32([1]);
      const rowLoss = store.createF32([rows]);
      const gradient = record ? store.saved(store.create(hidden.shape)) : undefined;
      if (rows === 0) {
        store.driver.fillBytes(loss.address, 0, 4);
        return { outputs: [loss, rowLoss], saved: gradient ? [gradient] : [] };
      }
      // Blocks of equal size, as the last one would be the least efficient.
      const most = Math.max(1, Math.floor(MAX_LOGITS / vocabulary));
      const block = Math.ceil(rows / Math.ceil(rows / most));
      const logits = store.createF32([block, Math.ceil(vocabulary / 4) * 4]);
      const dLogits = gradient && store.create([block, vocabulary]);
      // Running maximum, sum and the target's logit of each row.
      const running = store.createF32([3, rows]);
      const [rowMax, rowSum, target] = [0, 1, 2].map((i) => running.address + 4 * i * rows) as [number, number, number];
      // What the target and every other word are to get of the probability.
      const wanted = [1 - smoothing + smoothing / vocabulary, smoothing / vocabulary];
      store.withTable(targets, (table) => {
        for (let row = 0; row < rows; row += block) {
          const m = Math.min(block, rows - row);
          const at = 4 * row;
          matrix.product(headRow, rowRange(hidden, row, m), { ...rowRange(logits, 0, m), columns: vocabulary });
          store.kernels.run('cross_entropy_chunk', [m], 512, [
            ...[rowMax + at, rowSum + at, target + at, logits.address, table + at],
            ...[m, vocabulary, logits.ld, 0, 1, KIND_F32],
          ]);
          if (smoothing !== 0) {
            const shares = [1 - smoothing, smoothing / vocabulary];
            const values = [target + at, logits.address, m, vocabulary, logits.ld, ...shares, KIND_F32];
            store.kernels.run('cross_entropy_smooth', [m], 512, values);
          }
          if (!gradient || !dLogits) continue;
          store.kernels.run('cross_entropy_gradient', grid2(m, vocabulary), 128, [
            ...[dLogits.address, logits.address, rowMax + at, rowSum + at, table + at, 0],
            ...[m, vocabulary, dLogits.ld, logits.ld, 0, scale, KIND_F32, ...wanted],
          ]);
          matrix.transposedProduct(headRow, rowRange(dLogits, 0, m), rowRange(gradient, row, m));
        }
      });
      const finish = [rowLoss.address, loss.address, rowMax, rowSum, target, rows, scale];
      store.kernels.run('cross_entropy_finish', [1], 1024, finish);
      for (const tensor of [logits, dLogits, running]) if (tensor) store.release(tensor);
      // On its way before the rest of the step is queued: whoever reads it later waits for no more than this.
      loss.early = store.staging.download(loss.address, 4);
      return { outputs: [loss, rowLoss], saved: gradient ? [gradient] : [] };
    },
    backward([saved], [lossGradient], _attributes, needs) {
      if (!lossGradient || !needs[0]) return [undefined];
      const gradient = store.use(saved!, OPERATION);
      const { rows, columns } = gradient;
      const dx = store.create(gradient.shape);
      store.withF32(lossGradient, OPERATION, (factor) => {
        const values = [dx.address, gradient.address, factor, 1, rows, columns, dx.ld, gradient.ld];
        store.kernels.run('scale', grid2(rows, columns), 128, values);
      });
      return [dx];
    },
  };
}
