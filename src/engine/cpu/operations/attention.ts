/** Attention by segment. Saves q, k, v, the output and the log-sum-exp [H, T]; wasm/attention.ts has the arithmetic. */
import type { Operation, OperationAttributes, Segments } from '../../operations.js';
import { checkAttention } from '../../row-lists.js';
import type { CpuTensor, TensorStore } from '../tensor-store.js';

const OPERATION = 'attention';
/** Query rows of a tile (BLOCK in wasm/attention.ts). */
const TILE_ROWS = 64;
/** A thread's scratch area holds blocks of heads up to this size. */
const MAX_HEAD_DIM = 512;
/** Multiplications that are worth a thread's attention. */
const GRAIN = 200_000;

type Attributes = OperationAttributes['attention'];

/** (segment, first query row) pairs. */
function tilesOf({ queryStarts, keyStarts }: Segments): number[] {
  const tiles: number[] = [];
  for (let s = 0; s < keyStarts.length; s++) {
    for (let row = queryStarts[s]!; row < queryStarts[s + 1]!; row += TILE_ROWS) tiles.push(s, row);
  }
  return tiles;
}

function overlaps({ keyStarts, keyLengths }: Segments): boolean {
  const order = [...keyStarts.keys()].filter((s) => keyLengths[s]! > 0).sort((a, b) => keyStarts[a]! - keyStarts[b]!);
  return order.some((s, i) => i > 0 && keyStarts[order[i - 1]!]! + keyLengths[order[i - 1]!]! > keyStarts[s]!);
}

function grainOf(multiplications: number, items: number): number {
  return Math.max(1, Math.floor((GRAIN * items) / Math.max(1, multiplications)));
}

/** Products of all query-key pairs of one head. */
function pairsOf({ queryStarts, keyLengths }: Segments): number {
  return keyLengths.reduce((sum, length, s) => sum + length * (queryStarts[s + 1]! - queryStarts[s]!), 0);
}

export function attention(store: TensorStore): Operation<Attributes> {
  return {
    forward(inputs, attributes, record) {
      const { heads, kvHeads, headDim, scale, causal, segments } = attributes;
      const q = store.matrix(inputs[0], OPERATION, 'q', { columns: heads * headDim });
      const k = store.matrix(inputs[1], OPERATION, 'k', { columns: kvHeads * headDim });
      const v = store.matrix(inputs[2], OPERATION, 'v', { rows: k.shape[0]!, columns: kvHeads * headDim });
      const rows = q.shape[0]!;
      checkAttention(attributes, rows, k.shape[0]!, MAX_HEAD_DIM);
      const { queryStarts, keyStarts, keyLengths } = segments;
      const tiles = tilesOf(segments);
      const items = (tiles.length / 2) * heads;
      const out = store.create(q.shape);
      const lse = record ? store.saved(store.create([heads, rows])) : undefined;
      store.withTable([...tiles, ...queryStarts, ...keyStarts, ...keyLengths], (table) => {
        const starts = table + 4 * tiles.length;
        const keys = starts + 4 * queryStarts.length;
        const tables = [table, starts, keys, keys + 4 * keyStarts.length];
        const pointers = [q.ptr, k.ptr, v.ptr, out.ptr, lse?.ptr ?? 0, ...tables];
        const grain = grainOf(2 * pairsOf(segments) * heads * headDim, items);
        store.runtime.parallel(
          'attention',
          items,
          grain,
          [...pointers, heads, kvHeads, headDim, rows, causal ? 1 : 0],
          [scale],
        );
      });
      return { outputs: [out], saved: lse ? [q, k, v, out, lse] : [] };
    },
    backward(saved, [gradient], attributes, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined, undefined];
      const { heads, kvHeads, headDim, scale, causal, segments } = attributes;
      const { queryStarts, keyStarts, keyLengths } = segments;
      const tensors = saved.map((tensor) => store.use(tensor, OPERATION));
      const rows = tensors[0]!.shape[0]!;
      const dout = store.matrix(gradient, OPERATION, 'output gradient', { rows, columns: heads * headDim });
      // Rows outside all segments' keys have zero gradients; the kernel adds to the others.
      const results = [0, 1, 2].map((i) => (needs[i] ? store.zeros(tensors[i]!.shape) : undefined));
      const rowSums: CpuTensor = store.create([heads, rows]);
      // Segments that share keys add to the same rows: one item takes them all, in order.
      const count = keyStarts.length;
      const perItem = overlaps(segments) ? count : 1;
      const items = Math.ceil(count / perItem) * kvHeads;
      store.withTable([...queryStarts, ...keyStarts, ...keyLengths], (table) => {
        const keys = table + 4 * queryStarts.length;
        const pointers = [...tensors, dout, ...results, rowSums].map((tensor) => tensor?.ptr ?? 0);
        const tables = [table, keys, keys + 4 * count];
        const sizes = [heads, kvHeads, headDim, rows, causal ? 1 : 0, count, perItem];
        const grain = grainOf(5 * pairsOf(segments) * heads * headDim, items);
        store.runtime.parallel('attentionBackward', items, grain, [...pointers, ...tables, ...sizes], [scale]);
      });
      store.release(rowSums);
      return results;
    },
  };
}
