/** Sums that several blocks share: each adds up a range of rows (or columns), the last one adds up what they have. */
import type { TensorStore } from '../tensor-store.js';

/** Rows that a block has at a time. */
const TILE = 64;

/** A sum over rows in ranges: rows of a range, a multiple of 64, and ranges. */
interface RowSplit {
  readonly rows: number;
  readonly splits: number;
}

/**
 * The number of row ranges with which the card is done first: whole waves of blocks, and few partial sums to add.
 * @param strips blocks of one range
 * @param partialCost what a block's partial sums take to write and read, in tiles of its rows
 */
export function splitRows(
  store: TensorStore,
  rows: number,
  strips: number,
  blocksPerMultiprocessor: number,
  partialCost: number,
): RowSplit {
  const slots = blocksPerMultiprocessor * store.kernels.multiprocessors;
  const tiles = Math.max(1, Math.ceil(rows / TILE));
  let best = { rows: TILE * tiles, splits: 1 };
  let least = Number.POSITIVE_INFINITY;
  for (let wanted = 1; wanted <= Math.min(tiles, 32); wanted++) {
    const depth = Math.ceil(tiles / wanted);
    const splits = Math.ceil(tiles / depth);
    // A block's own tiles, and about two more to start and end.
    const cost = Math.ceil((strips * splits) / slots) * (depth + 2) + (splits * strips * partialCost) / slots;
    if (cost < least) [best, least] = [{ rows: TILE * depth, splits }, cost];
  }
  return best;
}
