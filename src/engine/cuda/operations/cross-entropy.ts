/**
 * Cross-entropy from hidden rows and the head. Logits (float32) exist for one block of rows at a time; where a gradient
 * will be needed, that of the hidden rows is computed in the same pass and saved in place of the logits. So the head is
 * multiplied twice a row, not three times as when the vocabulary is cut into chunks.
 */
import { EngineError } from '../../../errors.js';
import { KERNELS } from '../../../generated/kernel-launchers.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkRows, checkRowWeights } from '../../row-lists.js';
import { type DevicePointer, grid2, offset } from '../launch.js';
import type { TensorStore } from '../tensor-store.js';
import { rowRange } from '../tensors.js';
import type { WeightStore } from '../weights.js';

const OPERATION = 'crossEntropy';
/** Most logits held at once: 512 MiB, 1024 rows of Ministral's vocabulary. Products of few rows are bound by the head's bytes. */
export const MAX_LOGITS = 1 << 27;
type Triple = [DevicePointer, DevicePointer, DevicePointer];
/** `kind` of float32 logits. */
const KIND_F32 = 1;

export function crossEntropy(store: TensorStore, weights: WeightStore): Operation<OperationAttributes['crossEntropy']> {
  return {
    forward([input], { head, targets, scale, smoothing = 0, weights: rowWeights }, record) {
      const hidden = store.matrix(input, OPERATION, 'hidden');
      const { rows, columns } = hidden;
      const { matrix, row: headRow, rows: vocabulary } = weights.useMatrix(head, columns, OPERATION);
      if (targets.length !== rows) throw new EngineError(`${OPERATION}: ${targets.length} targets for ${rows} rows`);
      checkRows(targets, vocabulary, OPERATION);
      checkRowWeights(rowWeights, rows, OPERATION);
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
      const [maximum, sum, logit] = [0, 1, 2].map((i) => offset(running.address, 4 * i * rows)) as Triple;
      // What the target and every other word are to get of the probability.
      const wanted = { own: 1 - smoothing + smoothing / vocabulary, other: smoothing / vocabulary };
      const rowFactors = rowWeights && store.createF32([rows]);
      if (rowFactors) store.staging.upload(rowFactors.address, rowWeights);
      store.withTable(targets, (table) => {
        for (let row = 0; row < rows; row += block) {
          const m = Math.min(block, rows - row);
          const at = 4 * row;
          const [rowMax, rowSum, targetLogit] = [maximum, sum, logit].map((of) => offset(of, at)) as Triple;
          const chunk = { logits: logits.address, rows: m, n: vocabulary, ld: logits.ld, kind: KIND_F32 };
          const rowTargets = offset(table, at);
          matrix.product(headRow, rowRange(hidden, row, m), { ...rowRange(logits, 0, m), columns: vocabulary });
          store.kernels.launch(KERNELS.crossEntropyChunk, [m], {
            ...{ ...chunk, rowMax, rowSum, targetLogit, targets: rowTargets, firstColumn: 0, isFirst: 1 },
          });
          if (smoothing !== 0) {
            const shares = { own: 1 - smoothing, each: smoothing / vocabulary };
            store.kernels.launch(KERNELS.crossEntropySmooth, [m], { ...chunk, ...shares, targetLogit });
          }
          if (!gradient || !dLogits) continue;
          store.kernels.launch(KERNELS.crossEntropyGradient, grid2(m, vocabulary), {
            ...{ ...chunk, ...wanted, rowMax, rowSum, targets: rowTargets, firstColumn: 0 },
            weights: rowFactors && offset(rowFactors.address, at),
            ...{ dlogits: dLogits.address, ldd: dLogits.ld, lossGradient: undefined, scale },
          });
          matrix.transposedProduct(headRow, rowRange(dLogits, 0, m), rowRange(gradient, row, m));
        }
      });
      // biome-ignore format: parameters by operand
      store.kernels.launch(KERNELS.crossEntropyFinish, [1], {
        rowLoss: rowLoss.address, loss: loss.address,
        rowMax: maximum, rowSum: sum, targetLogit: logit, weights: rowFactors?.address, rows, scale,
      });
      for (const tensor of [logits, dLogits, running, rowFactors]) if (tensor) store.release(tensor);
      // On its way before the rest of the step is queued: whoever reads it later waits for no more than this.
      store.readAhead(loss);
      return { outputs: [loss, rowLoss], saved: gradient ? [gradient] : [] };
    },
    backward([saved], [lossGradient], _attributes, needs) {
      if (!lossGradient || !needs[0]) return [undefined];
      const gradient = store.use(saved!, OPERATION);
      const { rows, columns } = gradient;
      const dx = store.create(gradient.shape);
      store.withF32(lossGradient, OPERATION, (factor) => {
        // biome-ignore format: parameters by operand
        store.kernels.launch(KERNELS.scale, grid2(rows, columns), {
          out: dx.address, x: gradient.address, factorPointer: factor, factor: 1,
          rows, columns, ldo: dx.ld, ldx: gradient.ld,
        });
      });
      return [dx];
    },
  };
}
