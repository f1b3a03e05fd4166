/**
 * Tile sizes of the attention kernels, and the lists of tiles that they work through: heaviest first, so that the last ones
 * to start are short and all of the device ends together.
 */
import type { Segments } from '../../operations.js';
import type { Defines } from '../kernel-source.js';

/** See kernels/attention-tiles.wgsl. */
export interface AttentionTiles {
  /** Own rows of a thread. */
  readonly ROWS: number;
  /** Groups of 16 threads in a workgroup. */
  readonly GROUPS: number;
  readonly DEPTH4: number;
  readonly STEPS4: number;
  readonly PAD: number;
  readonly DEPTH_UNROLL: number;
  readonly STEP_UNROLL: number;
}

export type AttentionPass = 'forward' | 'backwardQuery' | 'backwardKeyValue';

/** Head sizes up to this: two vec4 columns of each of 16 lanes. */
export const MAX_HEAD_DIM = 128;
const LANES = 16;
const VEC4_BYTES = 16;

/**
 * Of every pass: within the workgroups of all WebGPU devices, and as fast on an H200 as any that take more memory, or
 * faster, as more workgroups are at work at once.
 */
export const TILES: AttentionTiles = {
  ...{ ROWS: 4, GROUPS: 8, DEPTH4: 4, STEPS4: 2, PAD: 0, DEPTH_UNROLL: 1, STEP_UNROLL: 1 },
};

/** @param headDim a multiple of 4 */
export function attentionDefines(of: AttentionTiles, headDim: number) {
  const { ROWS, GROUPS, DEPTH4, STEPS4 } = of;
  const HEAD4 = headDim / 4;
  const COLUMNS = Math.ceil(HEAD4 / LANES);
  return {
    ...of,
    HEAD4,
    COLUMNS,
    OWN_LOADS: (ROWS * DEPTH4) / LANES,
    STREAM_LOADS: (4 * DEPTH4) / GROUPS,
    VALUE_LOADS: (4 * STEPS4 * COLUMNS) / GROUPS,
    STREAM_SIZE: 4 * Math.max(DEPTH4, STEPS4 * COLUMNS) + 1,
  } satisfies Defines & { [K in keyof AttentionTiles]: number };
}

/** Bytes of workgroup memory. */
export function attentionBytes(of: AttentionTiles, headDim: number): number {
  const { ROWS, GROUPS, DEPTH4, PAD, STREAM_SIZE } = attentionDefines(of, headDim);
  return VEC4_BYTES * (GROUPS * ROWS * DEPTH4 + LANES * STREAM_SIZE + GROUPS * LANES * (ROWS + PAD));
}

/** Own rows of a workgroup. */
export function tileRows({ ROWS, GROUPS }: AttentionTiles): number {
  return ROWS * GROUPS;
}

interface Range {
  readonly queryStart: number;
  readonly queryEnd: number;
  readonly keyStart: number;
  readonly keyEnd: number;
}

function rangesOf({ queryStarts, keyStarts, keyLengths }: Segments): Range[] {
  return Array.from(keyStarts, (keyStart, s) => {
    return { queryStart: queryStarts[s]!, queryEnd: queryStarts[s + 1]!, keyStart, keyEnd: keyStart + keyLengths[s]! };
  });
}

/** (first row, end of the segment's rows, its first key, end of its keys) of each tile of queries. */
export function queryWork(segments: Segments, rows: number, causal: boolean): Int32Array {
  const items: Item[] = [];
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let first = queryStart; first < queryEnd; first += rows) {
      const end = Math.min(first + rows, queryEnd);
      const seen = causal ? keyEnd - (queryEnd - end) - keyStart : keyEnd - keyStart;
      items.push({ words: [first, queryEnd, keyStart, keyEnd], weight: Math.max(0, seen) });
    }
  }
  return heaviestFirst(items);
}

/** (first key, end of the segment's keys, its first row, end of its rows) of each tile of keys. */
export function keyWork(segments: Segments, rows: number, causal: boolean): Int32Array {
  const items: Item[] = [];
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let first = keyStart; first < keyEnd; first += rows) {
      const seenFrom = causal ? Math.max(queryStart, first - (keyEnd - queryEnd)) : queryStart;
      items.push({ words: [first, keyEnd, queryStart, queryEnd], weight: Math.max(0, queryEnd - seenFrom) });
    }
  }
  return heaviestFirst(items);
}

export interface DecodeWork {
  /** (row, first key, end, slot) of each part of a row's keys. */
  readonly items: Int32Array;
  /** [rows] (first slot, parts) */
  readonly slots: Int32Array;
  readonly slotCount: number;
}

/** Keys that a workgroup of attention-decode.wgsl takes at a time. */
const DECODE_KEYS = 64;
/** Workgroups that keep a large device busy; smaller ones take them in turns. */
const DECODE_GROUPS = 512;

/** @param perItem workgroups of an item */
export function decodeWork(segments: Segments, causal: boolean, perItem: number): DecodeWork {
  const rows = segments.queryStarts[segments.keyStarts.length]!;
  const wanted = Math.max(1, Math.floor(DECODE_GROUPS / Math.max(1, rows * perItem)));
  const items: Item[] = [];
  const slots = new Int32Array(2 * rows);
  for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) {
    for (let row = queryStart; row < queryEnd; row++) {
      const end = causal ? keyEnd - (queryEnd - 1 - row) : keyEnd;
      const step = DECODE_KEYS * Math.max(1, Math.ceil((end - keyStart) / wanted / DECODE_KEYS));
      const firstSlot = items.length;
      for (let first = keyStart; first < end; first += step) {
        const last = Math.min(end, first + step);
        items.push({ words: [row, first, last, items.length], weight: last - first });
      }
      slots.set([firstSlot, items.length - firstSlot], 2 * row);
    }
  }
  const slotCount = items.length;
  return { items: heaviestFirst(items), slots, slotCount };
}

/** Whether the keys of the segments are all key rows, one after the other: then every row of dk and dv is written. */
export function coversKeys({ keyStarts, keyLengths }: Segments, keyRows: number): boolean {
  let next = 0;
  for (const [s, start] of keyStarts.entries()) {
    if (start !== next) return false;
    next += keyLengths[s]!;
  }
  return next === keyRows;
}

const groupsOf = new WeakMap<Segments, readonly Segments[]>();

/**
 * Segments in groups without overlapping key ranges, as one launch writes each key row once. The same groups for the same
 * segments, so that all layers share the lists that are kept by them.
 */
export function withoutOverlap(segments: Segments): readonly Segments[] {
  let groups = groupsOf.get(segments);
  if (!groups) {
    groups = grouped(segments);
    groupsOf.set(segments, groups);
  }
  return groups;
}

function grouped(segments: Segments): readonly Segments[] {
  const { queryStarts, keyStarts, keyLengths } = segments;
  // By their starts each range need only be compared with the last one of a group.
  const order = [...keyStarts.keys()].filter((s) => keyLengths[s]! > 0).sort((a, b) => keyStarts[a]! - keyStarts[b]!);
  const groups: { readonly members: Set<number>; end: number }[] = [];
  for (const s of order) {
    const group = groups.find(({ end }) => end <= keyStarts[s]!) ?? { members: new Set<number>(), end: 0 };
    if (group.members.size === 0) groups.push(group);
    group.members.add(s);
    group.end = keyStarts[s]! + keyLengths[s]!;
  }
  if (groups.length <= 1) return [segments];
  // A segment that is not in a group keeps its queries and gets no keys.
  return groups.map(({ members }) => ({
    queryStarts,
    keyStarts,
    keyLengths: keyLengths.map((length, s) => (members.has(s) ? length : 0)),
  }));
}

interface Item {
  readonly words: readonly [number, number, number, number];
  readonly weight: number;
}

/** Equal ones keep their order, so that neighbours share keys in the cache. */
function heaviestFirst(items: Item[]): Int32Array {
  items.sort((a, b) => b.weight - a.weight);
  const out = new Int32Array(4 * items.length);
  for (const [i, { words }] of items.entries()) out.set(words, 4 * i);
  return out;
}
