/**
 * Attention by segment, in blocks of query rows so that the scores of all heads [H, rows, keys] stay within bounds.
 * Saves q, k, v, the output and each block's log-sum-exp; with P = exp(S - lse), D = rowsum(dO ⊙ O):
 * dV = Pᵀ·dO,  dS = P ⊙ (dO·Vᵀ - D),  dQ = scale·dS·K,  dK = scale·dSᵀ·Q.
 */
import type { Operation, OperationAttributes } from '../../operations.js';
import { checkAttention } from '../../row-lists.js';
import type { TensorStore } from '../tensor-store.js';
import { product, type TfNamespace, type TfTensor } from '../tf-namespace.js';

const OPERATION = 'attention';
/** Added to the scores of hidden keys; its exponential is 0. */
const HIDDEN = -1e30;

type Attributes = OperationAttributes['attention'];

/** Query rows that are computed together, and the keys that the last of them sees. Rows that see no key are in none. */
interface Block {
  readonly segment: number;
  readonly firstRow: number;
  readonly rows: number;
  readonly firstKey: number;
  readonly keys: number;
}

interface Piece {
  readonly start: number;
  readonly data: TfTensor;
}

function blocksOf({ heads, causal, segments }: Attributes, maxScores: number): Block[] {
  const { queryStarts, keyStarts, keyLengths } = segments;
  const blocks: Block[] = [];
  for (let segment = 0; segment < keyStarts.length; segment++) {
    const length = keyLengths[segment]!;
    if (length === 0) continue;
    const end = queryStarts[segment + 1]!;
    const step = Math.max(1, Math.floor(maxScores / (heads * length)));
    const sighted = causal ? Math.max(queryStarts[segment]!, end - length) : queryStarts[segment]!;
    for (let firstRow = sighted; firstRow < end; firstRow += step) {
      const rows = Math.min(step, end - firstRow);
      const keys = causal ? length - (end - firstRow - rows) : length;
      blocks.push({ segment, firstRow, rows, firstKey: keyStarts[segment]!, keys });
    }
  }
  return blocks;
}

function rowsOf(tf: TfNamespace, x: TfTensor, first: number, count: number): TfTensor {
  return count === x.shape[0] ? x : tf.slice(x, [first, 0], [count, x.shape[1]!]);
}

/** [T, K·G·D] → [K, G·T, D]: the query rows of the G heads that share a key head are stacked. */
function splitHeads(tf: TfNamespace, x: TfTensor, kvHeads: number, headDim: number): TfTensor {
  const [rows, columns] = x.shape as [number, number];
  const group = columns / (kvHeads * headDim);
  if (group === 1) return tf.transpose(tf.reshape(x, [rows, kvHeads, headDim]), [1, 0, 2]);
  const turned = tf.transpose(tf.reshape(x, [rows, kvHeads, group, headDim]), [1, 2, 0, 3]);
  return tf.reshape(turned, [kvHeads, group * rows, headDim]);
}

/** The inverse of `splitHeads`. */
function joinHeads(tf: TfNamespace, x: TfTensor, rows: number): TfTensor {
  const [kvHeads, stacked, headDim] = x.shape as [number, number, number];
  const group = stacked / rows;
  const turned =
    group === 1
      ? tf.transpose(x, [1, 0, 2])
      : tf.transpose(tf.reshape(x, [kvHeads, group, rows, headDim]), [2, 0, 1, 3]);
  return tf.reshape(turned, [rows, kvHeads * group * headDim]);
}

/** Scores [H, rows, keys] of a block, with hidden keys far below the others. */
function scoresOf(tf: TfNamespace, q: TfTensor, k: TfTensor, block: Block, { heads, causal }: Attributes): TfTensor {
  const { rows, keys } = block;
  const scores = tf.reshape(product(tf, q, k, false, true), [heads, rows, keys]);
  if (!causal || rows === 1) return scores;
  const mask = new Float32Array(rows * keys);
  for (let row = 0; row < rows; row++) mask.fill(HIDDEN, row * keys + keys - rows + row + 1, (row + 1) * keys);
  return tf.add(scores, tf.tensor(mask, [rows, keys], 'float32'));
}

/** Puts pieces into an array of zeros; where they overlap they are added. */
function assemble(tf: TfNamespace, pieces: readonly Piece[], rows: number, columns: number): TfTensor {
  let rest = [...pieces].sort((a, b) => a.start - b.start);
  let total: TfTensor | undefined;
  while (rest.length > 0) {
    const layer: TfTensor[] = [];
    const later: Piece[] = [];
    let at = 0;
    for (const piece of rest) {
      if (piece.start < at) {
        later.push(piece);
        continue;
      }
      if (piece.start > at) layer.push(tf.zeros([piece.start - at, columns]));
      layer.push(piece.data);
      at = piece.start + piece.data.shape[0]!;
    }
    if (at < rows) layer.push(tf.zeros([rows - at, columns]));
    const joined = layer.length === 1 ? layer[0]! : tf.concat(layer, 0);
    total = total ? tf.add(total, joined) : joined;
    rest = later;
  }
  return total ?? tf.zeros([rows, columns]);
}

/** @param maxScores most scores of a block, unless a single row has more; about four such arrays live at a time */
export function attention(store: TensorStore, maxScores: number): Operation<Attributes> {
  return {
    forward(inputs, attributes, record) {
      const { heads, kvHeads, headDim, scale } = attributes;
      const q = store.matrix(inputs[0], OPERATION, 'q', { columns: heads * headDim });
      const k = store.matrix(inputs[1], OPERATION, 'k', { columns: kvHeads * headDim });
      const v = store.matrix(inputs[2], OPERATION, 'v', { rows: k.shape[0]!, columns: kvHeads * headDim });
      const rows = q.shape[0]!;
      checkAttention(attributes, rows, k.shape[0]!);
      const made = store.run(OPERATION, (tf) => {
        const pieces: Piece[] = [];
        const sums: TfTensor[] = [];
        for (const block of blocksOf(attributes, maxScores)) {
          const [data, lse] = store.part(() => {
            const part = (x: TfTensor): TfTensor =>
              splitHeads(tf, rowsOf(tf, x, block.firstKey, block.keys), kvHeads, headDim);
            const query = tf.mul(
              splitHeads(tf, rowsOf(tf, q.data, block.firstRow, block.rows), kvHeads, headDim),
              scale,
            );
            const scores = scoresOf(tf, query, part(k.data), block, attributes);
            const peak = tf.max(scores, 2, true);
            const exponentials = tf.exp(tf.sub(scores, peak));
            const total = tf.sum(exponentials, 2, true);
            const stacked = [kvHeads, (heads / kvHeads) * block.rows];
            const mixed = product(tf, tf.reshape(exponentials, [...stacked, block.keys]), part(v.data));
            const out = joinHeads(tf, tf.div(mixed, tf.reshape(total, [...stacked, 1])), block.rows);
            return record ? [out, tf.add(tf.log(total), peak)] : [out];
          });
          pieces.push({ start: block.firstRow, data: data! });
          if (lse) sums.push(lse);
        }
        return [assemble(tf, pieces, rows, heads * headDim), ...sums];
      });
      const [out, ...sums] = made;
      return { outputs: [out!], saved: record ? [q, k, v, out!, ...sums.map((lse) => store.saved(lse))] : [] };
    },
    backward(saved, [gradient], attributes, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined, undefined];
      const { heads, kvHeads, headDim, scale } = attributes;
      const [q, k, v, out, ...sums] = saved.map((tensor) => store.use(tensor, OPERATION).data);
      const [rows, keyRows] = [q!.shape[0]!, k!.shape[0]!];
      const dout = store.matrix(gradient, OPERATION, 'output gradient', { rows, columns: heads * headDim }).data;
      const made = store.run(OPERATION, (tf) => {
        const queryPieces: Piece[] = [];
        /** Of k and v: one piece for each segment. */
        const keyPieces = [new Map<number, Piece>(), new Map<number, Piece>()];
        for (const [i, block] of blocksOf(attributes, maxScores).entries()) {
          const results = store.part(() => {
            const stacked = [kvHeads, (heads / kvHeads) * block.rows, block.keys];
            const byRow = (x: TfTensor): TfTensor =>
              splitHeads(tf, rowsOf(tf, x, block.firstRow, block.rows), kvHeads, headDim);
            const byKey = (x: TfTensor): TfTensor =>
              splitHeads(tf, rowsOf(tf, x, block.firstKey, block.keys), kvHeads, headDim);
            const [query, key, dOut] = [tf.mul(byRow(q!), scale), byKey(k!), byRow(dout)];
            const scores = scoresOf(tf, query, key, block, attributes);
            const weights = tf.reshape(tf.exp(tf.sub(scores, sums[i]!)), stacked);
            const dv = needs[2] ? [joinHeads(tf, product(tf, weights, dOut, true, false), block.keys)] : [];
            if (!needs[0] && !needs[1]) return dv;
            const rowSum = tf.sum(tf.mul(dOut, byRow(out!)), 2, true);
            const dScores = tf.mul(weights, tf.sub(product(tf, dOut, byKey(v!), false, true), rowSum));
            const dq = needs[0] ? [joinHeads(tf, tf.mul(product(tf, dScores, key), scale), block.rows)] : [];
            const dk = needs[1] ? [joinHeads(tf, product(tf, dScores, query, true, false), block.keys)] : [];
            return [...dq, ...dk, ...dv];
          });
          const parts = [...results];
          if (needs[0]) queryPieces.push({ start: block.firstRow, data: parts.shift()! });
          for (const [j, pieces] of keyPieces.entries()) {
            if (!needs[j + 1]) continue;
            const data = parts.shift()!;
            const before = pieces.get(block.segment);
            const both = before ? store.part(() => [addToFirstRows(tf, data, before.data)])[0]! : data;
            if (before) for (const tensor of [before.data, data]) tensor.dispose();
            pieces.set(block.segment, { start: block.firstKey, data: both });
          }
        }
        const dq = needs[0] ? [assemble(tf, queryPieces, rows, heads * headDim)] : [];
        const others = keyPieces.flatMap((pieces, j) =>
          needs[j + 1] ? [assemble(tf, [...pieces.values()], keyRows, kvHeads * headDim)] : [],
        );
        return [...dq, ...others];
      });
      return needs.map((need) => (need ? made.shift() : undefined));
    },
  };
}

/** a + b, where b has fewer rows: later blocks of a segment see more keys. */
function addToFirstRows(tf: TfNamespace, a: TfTensor, b: TfTensor): TfTensor {
  const [rows, columns] = a.shape as [number, number];
  const missing = rows - b.shape[0]!;
  return tf.add(a, missing === 0 ? b : tf.concat([b, tf.zeros([missing, columns])], 0));
}
