/** The first directory of a TIFF file or of an EXIF block, which has the same form. */

/** Entries of the first directory, and the values of those with a single number. */
interface TiffTags {
  /** By tag; only single whole numbers, whatever type they are stored as. */
  readonly numbers: ReadonlyMap<number, number>;
  /** Where the entry of each tag that is present begins. */
  readonly entries: ReadonlyMap<number, number>;
}

export const TAG = { subfileType: 254, orientation: 274, subIfds: 330, dngVersion: 50706 } as const;

/** A directory has some twenty entries; a count from a damaged file may be anything. */
const MAX_ENTRIES = 4096;

/** Reads what is there: a directory that is cut short gives the entries before the cut. */
export function readTiffTags(block: Uint8Array): TiffTags {
  const numbers = new Map<number, number>();
  const entries = new Map<number, number>();
  const tags = { numbers, entries };
  const bytes = withoutExifPrefix(block);
  if (bytes.length < 8) return tags;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const order = view.getUint16(0);
  if (order !== 0x4949 && order !== 0x4d4d) return tags;
  const little = order === 0x4949;
  const isBig = view.getUint16(2, little) === 43;
  const wide = (at: number) => Number(view.getBigUint64(at, little));
  if (isBig && bytes.length < 16) return tags;
  const start = isBig ? wide(8) : view.getUint32(4, little);
  const [countSize, entrySize, valueAt] = isBig ? [8, 20, 12] : [2, 12, 8];
  if (start + countSize > bytes.length) return tags;
  const count = Math.min(isBig ? wide(start) : view.getUint16(start, little), MAX_ENTRIES);
  for (let i = 0; i < count; i++) {
    const at = start + countSize + i * entrySize;
    if (at + entrySize > bytes.length) break;
    const tag = view.getUint16(at, little);
    entries.set(tag, at);
    const length = isBig ? wide(at + 4) : view.getUint32(at + 4, little);
    const value = length === 1 ? numberAt(view, at, at + valueAt, little, isBig) : undefined;
    if (value === undefined) numbers.delete(tag);
    else numbers.set(tag, value);
  }
  return tags;
}

/** The same file with the orientation 1, for a decoder that refuses values that mean nothing. */
export function withoutOrientation(bytes: Uint8Array): Uint8Array {
  const at = readTiffTags(bytes).entries.get(TAG.orientation);
  if (at === undefined) return bytes;
  const changed = Buffer.from(bytes);
  const isBig = changed[2] === 43 || changed[3] === 43;
  const length = isBig ? 8 : 4;
  const value = at + 4 + length;
  changed.fill(0, at + 2, value + length);
  const one = changed[0] === 0x49 ? 0 : 1;
  changed[at + 2 + one] = 3;
  changed[at + 4 + one * (length - 1)] = 1;
  changed[value + one] = 1;
  return changed;
}

function numberAt(view: DataView, entry: number, at: number, little: boolean, isBig: boolean): number | undefined {
  const type = view.getUint16(entry + 2, little);
  if (type === 3) return view.getUint16(at, little);
  if (type === 4) return view.getUint32(at, little);
  if (type === 6) return view.getInt8(at);
  if (type === 8) return view.getInt16(at, little);
  if (type === 9) return view.getInt32(at, little);
  if (type === 16 && isBig) return Number(view.getBigUint64(at, little));
  if (type === 5 || type === 10) {
    const place = isBig ? at : view.getUint32(at, little);
    if (place + 8 > view.byteLength) return undefined;
    return view.getInt32(place, little) / view.getInt32(place + 4, little);
  }
  return undefined;
}

function withoutExifPrefix(block: Uint8Array): Uint8Array {
  let bytes = block;
  while (bytes.length >= 6 && Buffer.from(bytes.subarray(0, 6)).toString('latin1') === 'Exif\0\0') {
    bytes = bytes.subarray(6);
  }
  return bytes;
}
