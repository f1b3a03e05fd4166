/**
 * Cross-entropy from hidden rows and the head. Logits exist for one block of rows at a time; where a gradient will be
 * needed that of the hidden rows, scale·(softmax·head - wanted·head), is computed in the same pass and saved: `wanted`
 * gives smoothing/V to each word and the rest to the target.
 */
import { EngineError } from '../../../errors.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkRows, checkRowWeights } from '../../row-lists.js';
import type { FrozenWeight } from '../frozen-weight.js';
import type { TensorStore } from '../tensor-store.js';
import { type TfTensor, takeRows } from '../tf-namespace.js';

const OPERATION = 'crossEntropy';

/** @param maxLogits most logits of a block, unless a single row has more; about four such arrays live at a time */
export function crossEntropy(store: TensorStore, maxLogits: number): Operation<OperationAttributes['crossEntropy']> {
  const { tf } = store;

  /** Losses [m], and with `record` the gradient of the sum of the losses [m, C]. */
  const block = (
    hidden: TfTensor,
    head: FrozenWeight,
    targets: Int32Array,
    smoothing: number,
    record: boolean,
  ): TfTensor[] => {
    const rows = targets.length;
    const vocabulary = head.rows;
    const logits = head.product(hidden);
    const shifted = tf.sub(logits, tf.max(logits, 1, true));
    const exponentials = tf.exp(shifted);
    const total = tf.sum(exponentials, 1, true);
    const places = targets.map((target, row) => row * vocabulary + target);
    const smooth = (own: TfTensor, mean: () => TfTensor): TfTensor =>
      smoothing === 0 ? own : tf.add(tf.mul(own, 1 - smoothing), tf.mul(mean(), smoothing));
    const chosen = smooth(takeRows(tf, tf.reshape(shifted, [rows * vocabulary]), places), () =>
      tf.mean(shifted, 1, false),
    );
    const losses = tf.sub(tf.reshape(tf.log(total), [rows]), chosen);
    if (!record) return [losses];
    const mean = tf.div(head.transposedProduct(exponentials), total);
    return [
      losses,
      tf.sub(
        mean,
        smooth(head.gatherRows(targets), () =>
          head.transposedProduct(
            tf.tensor(new Float32Array(vocabulary).fill(1 / vocabulary), [1, vocabulary], 'float32'),
          ),
        ),
      ),
    ];
  };

  return {
    forward([input], { head, targets, scale, smoothing = 0, weights }, record) {
      const hidden = store.matrix(input, OPERATION, 'hidden');
      const [rows, columns] = hidden.shape as [number, number];
      const weight = store.weights.useMatrix(head, columns, OPERATION);
      const vocabulary = weight.rows;
      if (targets.length !== rows) throw new EngineError(`${OPERATION}: ${targets.length} targets for ${rows} rows`);
      checkRows(targets, vocabulary, OPERATION);
      checkRowWeights(weights, rows, OPERATION);
      const step = Math.max(1, Math.floor(maxLogits / vocabulary));
      const made = store.run(OPERATION, () => {
        const losses: TfTensor[] = [];
        const gradients: TfTensor[] = [];
        for (let row = 0; row < rows; row += step) {
          const m = Math.min(step, rows - row);
          const [loss, gradient] = store.part(() => {
            const part = m === rows ? hidden.data : tf.slice(hidden.data, [row, 0], [m, columns]);
            return block(part, weight, targets.subarray(row, row + m), smoothing, record);
          });
          losses.push(loss!);
          if (gradient) gradients.push(gradient);
        }
        // The wasm backend's sum of nothing is not zero.
        if (rows === 0) return [tf.zeros([1]), tf.zeros([0]), ...(record ? [tf.zeros([0, columns])] : [])];
        const rowLoss = tf.concat(losses, 0);
        const counted = weights ? tf.mul(rowLoss, tf.tensor(weights, [rows], 'float32')) : rowLoss;
        const loss = tf.reshape(tf.mul(tf.sum(counted, 0, false), scale), [1]);
        if (!record) return [loss, rowLoss];
        const factor = weights
          ? tf.tensor(
              weights.map((weight) => scale * weight),
              [rows, 1],
              'float32',
            )
          : scale;
        return [loss, rowLoss, tf.mul(tf.concat(gradients, 0), factor)];
      });
      const [loss, rowLoss, gradient] = made;
      return { outputs: [loss!, rowLoss!], saved: gradient ? [store.saved(gradient)] : [] };
    },
    backward([saved], [lossGradient], _attributes, needs) {
      if (!lossGradient || !needs[0]) return [undefined];
      const gradient = store.use(saved, OPERATION, 'saved gradient');
      const factor = store.use(lossGradient, OPERATION, 'gradient of the loss');
      return [store.one(OPERATION, () => tf.mul(gradient.data, factor.data))];
    },
  };
}
