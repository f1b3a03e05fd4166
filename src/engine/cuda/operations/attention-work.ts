/**
 * What the attention kernels need from the host: tile sizes (macros at compile time), bytes of shared memory at launch,
 * and the work lists. A block does one item for one head; heaviest items come first, so that the last ones to start are
 * short and all multiprocessors end together.
 */
import type { Segments } from '../../operations.js';

export interface AttentionTiles {
  readonly WARPS: number;
  readonly ROW_FRAGMENTS: number;
  readonly STREAM_TILE: number;
  readonly MIN_BLOCKS: number;
  /** Teams of warps that share the query heads of a key head; only in backwardKeyValue more than 1. */
  readonly HEAD_SPLIT: number;
}

/** Of the kernels with warpgroup products; warpgroup-tiles.cuh has the meanings. */
export interface WarpgroupTiles {
  readonly WARPS: number;
  readonly STREAM_TILE: number;
  readonly MIN_BLOCKS: number;
  /** Query heads of a key head whose rows share a tile. */
  readonly GROUP: number;
  readonly OWN_IN_REGISTERS: number;
  /** Teams of warps that share the query tiles of a key tile; only in backwardKeyValue more than 1. */
  readonly TEAMS: number;
  /** Tiles of the other side that are in shared memory at a time. */
  readonly STAGES: number;
}

export type AttentionKernel = 'forward' | 'backwardQuery' | 'backwardKeyValue' | 'decode';

const tiles = (
  WARPS: number,
  ROW_FRAGMENTS: number,
  STREAM_TILE: number,
  MIN_BLOCKS: number,
  HEAD_SPLIT = 1,
): AttentionTiles => ({ WARPS, ROW_FRAGMENTS, STREAM_TILE, MIN_BLOCKS, HEAD_SPLIT });

/** By shared memory: large (H100, 227 KB a block), middle (A100, 163 KB), small (sm_86, sm_89, 99 KB); D up to 64, then 128. */
const TILES = {
  forward: {
    large: [tiles(4, 2, 64, 2), tiles(4, 2, 64, 2)],
    middle: [tiles(4, 2, 64, 2), tiles(4, 2, 32, 2)],
    small: [tiles(8, 1, 32, 1), tiles(8, 1, 32, 1)],
  },
  backwardQuery: {
    large: [tiles(4, 2, 32, 2), tiles(4, 2, 32, 2)],
    middle: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
    small: [tiles(8, 1, 32, 1), tiles(8, 1, 16, 1)],
  },
  backwardKeyValue: {
    large: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
    middle: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
    small: [tiles(8, 1, 32, 1), tiles(8, 1, 16, 1)],
  },
  decode: {
    large: [tiles(4, 1, 16, 3), tiles(4, 1, 16, 3)],
    middle: [tiles(4, 1, 16, 3), tiles(4, 1, 16, 2)],
    small: [tiles(4, 1, 16, 2), tiles(4, 1, 16, 1)],
  },
} as const;

const warpgroupTiles = (
  WARPS: number,
  STREAM_TILE: number,
  MIN_BLOCKS: number,
  GROUP: number,
  OWN_IN_REGISTERS: number,
  TEAMS = 1,
  STAGES = 2,
): WarpgroupTiles => ({ WARPS, STREAM_TILE, MIN_BLOCKS, GROUP, OWN_IN_REGISTERS, TEAMS, STAGES });

/** The fastest of each on an H100 or H200, by head size. */
const WARPGROUP_TILES: Partial<Record<AttentionKernel, Readonly<Record<number, WarpgroupTiles>>>> = {
  forward: { 64: warpgroupTiles(16, 64, 1, 1, 1, 1, 3), 128: warpgroupTiles(8, 32, 2, 4, 0, 1, 3) },
  backwardQuery: { 64: warpgroupTiles(8, 64, 2, 1, 0, 1, 4), 128: warpgroupTiles(8, 64, 1, 4, 0, 1, 3) },
  backwardKeyValue: { 64: warpgroupTiles(4, 64, 3, 1, 0, 1, 3), 128: warpgroupTiles(4, 64, 1, 4, 0, 2, 3) },
};

/**
 * Tiles of the kernel with warpgroup products, if there is one for these heads.
 * @param group query heads of a key head
 */
export function attentionWarpgroupTiles(
  kernel: AttentionKernel,
  headDim: number,
  group: number,
): WarpgroupTiles | undefined {
  const found = WARPGROUP_TILES[kernel]?.[headDim];
  return found && group % found.GROUP === 0 ? found : undefined;
}

/** @param group query heads of a key head */
export function attentionTiles(
  kernel: AttentionKernel,
  capability: number,
  headDim: number,
  group: number,
): AttentionTiles {
  const size =
    capability >= 90 && capability < 120 ? 'large' : capability === 80 || capability === 87 ? 'middle' : 'small';
  const found: AttentionTiles = TILES[kernel][size][headDim > 64 ? 1 : 0];
  if (kernel !== 'backwardKeyValue' || size !== 'large' || headDim <= 64 || group % 2 !== 0) return found;
  // With grouped heads a block has so many query tiles to pass over that the longest one decides: two teams share them.
  return tiles(4, 1, 32, 1, 2);
}

/** Positions of the tile that a block owns: of queries, or of keys in backwardKeyValue. */
export function attentionTileRows(kernel: AttentionKernel, of: AttentionTiles | WarpgroupTiles): number {
  if ('GROUP' in of) return (16 * of.WARPS) / (kernel === 'backwardKeyValue' ? 1 : of.GROUP);
  return 16 * of.WARPS * of.ROW_FRAGMENTS;
}

function warpgroupSharedBytes(kernel: AttentionKernel, of: WarpgroupTiles, headDim: number): number {
  const own = 16 * of.WARPS;
  const streamed = of.TEAMS * of.STAGES * of.STREAM_TILE;
  if (kernel === 'forward') return (own + 2 * streamed) * 2 * headDim;
  // The key side has lse and delta beside its query rows.
  return (own + streamed) * 4 * headDim + (kernel === 'backwardKeyValue' ? 8 * streamed : 0);
}

/** Dynamic shared memory of a launch; the headers of the kernel files say the same. */
export function attentionSharedBytes(
  kernel: AttentionKernel,
  of: AttentionTiles | WarpgroupTiles,
  headDim: number,
): number {
  if ('GROUP' in of) return warpgroupSharedBytes(kernel, of, headDim);
  const rowBytes = 2 * Math.ceil(headDim / 16) * 16 + 16;
  const own = attentionTileRows(kernel, of);
  switch (kernel) {
    case 'forward':
      return (own + 4 * of.STREAM_TILE) * rowBytes;
    case 'backwardQuery':
      return (2 * own + 4 * of.STREAM_TILE) * rowBytes;
    case 'backwardKeyValue':
      return 2 * own * rowBytes + of.HEAD_SPLIT * (4 * rowBytes + 16) * of.STREAM_TILE;
    case 'decode':
      return of.WARPS * 4 * of.STREAM_TILE * rowBytes;
  }
}

function rangesOf({ queryStarts, keyStarts, keyLengths }: Segments) {
  return Array.from(keyStarts, (keyStart, s) => {
    return { queryStart: queryStarts[s]!, queryEnd: queryStarts[s + 1]!, keyStart, keyEnd: keyStart + keyLengths[s]! };
  });
}

/** int4 items for attention_forward and attention_backward_query: grid (H, items). */
export function buildAttentionWork(segments: Segments, tileRows: number, causal: boolean): Int32Array {
  const items: number[][] = [];
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let first = queryStart; first < queryEnd; first += tileRows) {
      const last = Math.min(first + tileRows, queryEnd);
      const seen = causal ? Math.min(keyEnd, last + keyEnd - queryEnd) : keyEnd;
      items.push([first, queryEnd, keyStart, keyEnd, Math.max(0, seen - keyStart)]);
    }
  }
  return heaviestFirst(items);
}

/**
 * int4 items for attention_backward_key_value: grid (K, items). Key ranges must not overlap; key rows outside all of
 * them get no gradient and are left as they were.
 */
export function buildAttentionKeyWork(segments: Segments, tileRows: number, causal: boolean): Int32Array {
  const items: number[][] = [];
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let first = keyStart; first < keyEnd; first += tileRows) {
      const seenFrom = causal ? Math.max(queryStart, first - (keyEnd - queryEnd)) : queryStart;
      items.push([first, keyEnd, queryStart, queryEnd, Math.max(0, queryEnd - seenFrom)]);
    }
  }
  return heaviestFirst(items);
}

interface DecodeWork {
  /** int4 items for attention_decode: grid (K, items). */
  readonly items: Int32Array;
  /** int2 by slot: first slot of the same query row, and their number; empty when nothing was split. */
  readonly shares: Int32Array;
  /** Partial results: fp32 [slots, H, D] and [slots, H]. */
  readonly slots: number;
}

/** Added to the query row of an item whose range ends with the last key of the segment. */
const LAST_KEY = 2 ** 30;
/** Keys below which a range is not split further: one tile for each of four warps. */
const SPLIT_KEYS = 64;

/** @param blocks how many blocks should be under way at once: about three times the multiprocessors */
export function buildDecodeWork(segments: Segments, kvHeads: number, causal: boolean, blocks: number): DecodeWork {
  const rows = segments.queryStarts[segments.keyStarts.length]!;
  const wanted = Math.max(1, Math.floor(blocks / Math.max(1, rows * kvHeads)));
  const items: number[][] = [];
  const shares: number[] = [];
  let slots = 0;
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let row = queryStart; row < queryEnd; row++) {
      const end = Math.max(keyStart, causal ? keyEnd - (queryEnd - 1 - row) : keyEnd);
      const length = Math.max(SPLIT_KEYS, SPLIT_KEYS * Math.ceil((end - keyStart) / wanted / SPLIT_KEYS));
      const count = Math.max(1, Math.ceil((end - keyStart) / length));
      const firstSlot = slots;
      for (let i = 0; i < count; i++) {
        const first = keyStart + i * length;
        const last = Math.min(end, first + length);
        const mark = last === keyEnd && last > first ? LAST_KEY : 0;
        items.push([row + mark, first, last, count > 1 ? slots++ : -1, last - first]);
        if (count > 1) shares.push(firstSlot, count);
      }
    }
  }
  return { items: heaviestFirst(items), shares: Int32Array.from(shares), slots };
}

/** [a, b, c, d, weight] to int4, by falling weight; equal ones keep their order, so that neighbours share keys in the cache. */
function heaviestFirst(items: number[][]): Int32Array {
  items.sort((a, b) => b[4]! - a[4]!);
  const out = new Int32Array(4 * items.length);
  for (const [i, item] of items.entries()) out.set(item.slice(0, 4), 4 * i);
  return out;
}
