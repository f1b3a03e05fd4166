/**
 * Cross-entropy from hidden rows and the head. Logits exist for one block of rows at a time; where a gradient will be
 * needed that of the hidden rows is computed in the same pass, block by block, and saved in place of the logits.
 */
import { EngineError } from '../../../errors.js';
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkRows, checkRowWeights } from '../../row-lists.js';
import type { WebgpuWeight } from '../frozen-weight.js';
import type { BufferRange } from '../gpu-types.js';
import { flat } from '../kernels.js';
import { backwardProduct, forwardProduct } from '../products.js';
import { blocks, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

const OPERATION = 'crossEntropy';
/** Most logits held at once: 128 MiB, 256 rows of Ministral's vocabulary. Fewer rows read the head more often. */
export const MAX_LOGITS = 1 << 25;

interface Losses {
  readonly hidden: WebgpuTensor;
  readonly head: WebgpuWeight;
  readonly targets: BufferRange;
  readonly weights: BufferRange | undefined;
  readonly scale: number;
  readonly smoothing: number;
}

/** Fills rowLoss and, where it is given, the gradient of the hidden rows. */
function eachBlock(store: TensorStore, losses: Losses, rowLoss: WebgpuTensor, gradient: WebgpuTensor | undefined) {
  const { hidden, head, targets, weights, scale, smoothing } = losses;
  const [rows, columns] = hidden.shape as [number, number];
  const vocabulary = head.rows;
  const block = Math.max(1, Math.min(rows, Math.floor(MAX_LOGITS / vocabulary)));
  const logits = store.create([block, vocabulary]);
  const defines = { GRADIENT: gradient !== undefined, WEIGHTED: weights !== undefined };
  for (let row = 0; row < rows; row += block) {
    const m = Math.min(block, rows - row);
    const first = row * columns;
    forwardProduct(store, head, { range: hidden.range, first }, m, { range: logits.range });
    const uniforms = { rows: m, columns: vocabulary, first_row: row, scale, smoothing };
    const bindings = { logits: logits.range, row_loss: rowLoss.range, targets, weights };
    store.kernels.launch(WGSL.softmaxLoss, flat(m), { ...bindings, ...uniforms }, { defines });
    if (gradient) backwardProduct(store, head, { range: logits.range }, m, { range: gradient.range, first });
  }
  store.release(logits);
}

/** Calls `body` with the values on the device, where they are given. */
function withWeights(
  store: TensorStore,
  weights: Float32Array | undefined,
  body: (range: BufferRange | undefined) => void,
): void {
  if (weights) store.withTable(weights, body);
  else body(undefined);
}

export function crossEntropy(store: TensorStore): Operation<OperationAttributes['crossEntropy']> {
  return {
    forward([input], { head, targets, scale, smoothing = 0, weights }, record) {
      const hidden = store.matrix(input, OPERATION, 'hidden');
      const [rows, columns] = hidden.shape as [number, number];
      const weight = store.weights.useMatrix(head, columns, OPERATION);
      if (targets.length !== rows) throw new EngineError(`${OPERATION}: ${targets.length} targets for ${rows} rows`);
      checkRows(targets, weight.rows, OPERATION);
      checkRowWeights(weights, rows, OPERATION);
      const loss = store.create([1]);
      const rowLoss = store.create([rows]);
      const gradient = record ? store.saved(store.create(hidden.shape)) : undefined;
      store.withTable(targets, (targetRange) => {
        withWeights(store, weights, (weightRange) => {
          const losses = { hidden, head: weight, targets: targetRange, weights: weightRange, scale, smoothing };
          eachBlock(store, losses, rowLoss, gradient);
          const sum = { loss: loss.range, row_loss: rowLoss.range, weights: weightRange, rows, scale };
          store.kernels.launch(WGSL.sumLosses, [1], sum, { defines: { WEIGHTED: weights !== undefined } });
        });
      });
      return { outputs: [loss, rowLoss], saved: gradient ? [gradient] : [] };
    },
    backward([saved], [lossGradient], _attributes, needs) {
      if (!lossGradient || !needs[0]) return [undefined];
      const gradient = store.use(saved!, OPERATION);
      const factor = store.use(lossGradient, OPERATION);
      const dx = store.create(gradient.shape);
      store.kernels.launch(WGSL.scaleBy, blocks(dx.size), {
        ...{ out: dx.range, x: gradient.range, factor: factor.range, n: dx.size },
      });
      return [dx];
    },
  };
}
