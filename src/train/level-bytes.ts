/** Float32 planes that hold few different values, as a table and a byte for each: exact, also for NaN and -0. */

interface CodedLevels {
  /** [planes × 256] values by code; unused ones are 0. */
  readonly table: Float32Array;
  /** A code for each value, in the order of the planes. */
  readonly codes: Uint8Array;
}

const LEVELS = 256;
/** Slots of the hash table: a multiple of the levels, so that most are found at once. */
const SLOT_BITS = 11;
const SLOTS = 2 ** SLOT_BITS;
/** 2^32 divided by the golden ratio: spreads bits that differ in few places. */
const SPREAD = 0x9e3779b1;
const NONE = -1;

/** @returns undefined if a plane has more than 256 different values */
export function encodeLevels(values: Float32Array, planes: number): CodedLevels | undefined {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const table = new Float32Array(planes * LEVELS);
  const tableBits = new Int32Array(table.buffer);
  const codes = new Uint8Array(values.length);
  const size = values.length / planes;
  for (let plane = 0; plane < planes; plane++) {
    const levels = tableBits.subarray(plane * LEVELS, (plane + 1) * LEVELS);
    if (!encodePlane(bits.subarray(plane * size, (plane + 1) * size), levels, codes.subarray(plane * size)))
      return undefined;
  }
  return { table, codes };
}

/** @param levels receives the bits of each value by its code @returns whether the codes were enough */
function encodePlane(bits: Int32Array, levels: Int32Array, codes: Uint8Array): boolean {
  const keys = new Int32Array(SLOTS);
  const codeOf = new Int16Array(SLOTS).fill(NONE);
  // An empty slot has a key of another slot, so that the first look needs no other question.
  keys[slotOf(0)] = 1;
  let count = 0;
  for (let i = 0; i < bits.length; i++) {
    const key = bits[i]!;
    let slot = slotOf(key);
    if (keys[slot]! !== key) {
      while (codeOf[slot]! !== NONE && keys[slot]! !== key) slot = (slot + 1) & (SLOTS - 1);
      if (codeOf[slot]! === NONE) {
        if (count === LEVELS) return false;
        keys[slot] = key;
        codeOf[slot] = count;
        levels[count++] = key;
      }
    }
    codes[i] = codeOf[slot]!;
  }
  return true;
}

function slotOf(key: number): number {
  return Math.imul(key, SPREAD) >>> (32 - SLOT_BITS);
}

export function decodeLevels({ table, codes }: CodedLevels, planes: number): Float32Array {
  const values = new Float32Array(codes.length);
  const bits = new Int32Array(values.buffer);
  const size = codes.length / planes;
  for (let plane = 0; plane < planes; plane++) {
    const levels = new Int32Array(table.buffer, table.byteOffset + 4 * plane * LEVELS, LEVELS);
    for (let i = plane * size; i < (plane + 1) * size; i++) bits[i] = levels[codes[i]!]!;
  }
  return values;
}
