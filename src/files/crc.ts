/** Cyclic redundancy checks of 32 bits, piece by piece: that of zip archives and that of cloud storage. */

/** Polynomials, bits reversed. */
const POLYNOMIALS = { crc32: 0xedb88320, crc32c: 0x82f63b78 } as const;

type CrcName = keyof typeof POLYNOMIALS;

/** Eight tables of 256 entries: the check advances by eight bytes a step. */
const tables = new Map<CrcName, Uint32Array>();

export class Crc {
  readonly #table: Uint32Array;
  #state = 0xffffffff;

  constructor(name: CrcName) {
    this.#table = tables.get(name) ?? makeTable(name);
  }

  update(bytes: Uint8Array): this {
    const t = this.#table;
    let crc = this.#state;
    let i = 0;
    for (const end = bytes.length - 7; i < end; i += 8) {
      crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
      crc =
        t[1792 + (crc & 255)]! ^
        t[1536 + ((crc >>> 8) & 255)]! ^
        t[1280 + ((crc >>> 16) & 255)]! ^
        t[1024 + (crc >>> 24)]! ^
        t[768 + bytes[i + 4]!]! ^
        t[512 + bytes[i + 5]!]! ^
        t[256 + bytes[i + 6]!]! ^
        t[bytes[i + 7]!]!;
    }
    for (; i < bytes.length; i++) crc = t[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
    this.#state = crc;
    return this;
  }

  /** Of all bytes so far, unsigned 32 bits. */
  get value(): number {
    return (this.#state ^ 0xffffffff) >>> 0;
  }

  /** Eight hexadecimal digits, most significant first. */
  digest(): string {
    return this.value.toString(16).padStart(8, '0');
  }
}

function makeTable(name: CrcName): Uint32Array {
  const table = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIALS[name] : crc >>> 1;
    table[byte] = crc;
  }
  for (let i = 256; i < table.length; i++) table[i] = table[table[i - 256]! & 255]! ^ (table[i - 256]! >>> 8);
  tables.set(name, table);
  return table;
}
