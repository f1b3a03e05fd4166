/** Thrift's compact protocol, in which Parquet writes its metadata. Untrusted: bounded in elements and depth. */

type ThriftValue = number | bigint | boolean | Buffer | ThriftStruct | readonly ThriftValue[];

export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

const MAX_DEPTH = 24;
/** A footer of a thousand columns and a thousand row groups has some twenty million; those are no images. */
const MAX_ELEMENTS = 4_000_000;

/** Reads structs from a buffer, one after the other. @throws Error, for the caller to explain */
export class ThriftReader {
  readonly #bytes: Buffer;
  #at = 0;
  #elements = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get position(): number {
    return this.#at;
  }

  struct(depth = 0): ThriftStruct {
    if (depth > MAX_DEPTH) throw new Error('metadata nested too deeply');
    const fields = new Map<number, ThriftValue>();
    for (let id = 0; ; ) {
      const head = this.#byte();
      if (head === 0) return fields;
      const type = head & 15;
      id = head >> 4 === 0 ? Number(this.#zigzag()) : id + (head >> 4);
      // A boolean field is its type.
      fields.set(id, type === 1 || type === 2 ? type === 1 : this.#value(type, depth));
    }
  }

  #value(type: number, depth: number): ThriftValue {
    if (++this.#elements > MAX_ELEMENTS) throw new Error('more metadata than images need');
    switch (type) {
      case 1:
      case 2:
        return this.#byte() === 1;
      case 3:
        return (this.#byte() << 24) >> 24;
      case 4:
      case 5:
      case 6: {
        const value = this.#zigzag();
        const number = Number(value);
        return Number.isSafeInteger(number) ? number : value;
      }
      case 7: {
        const value = this.#take(8).readDoubleLE();
        return value;
      }
      case 8:
        return this.#take(this.#length());
      case 9:
      case 10: {
        const head = this.#byte();
        const count = head >> 4 === 15 ? this.#length() : head >> 4;
        const items: ThriftValue[] = [];
        for (let i = 0; i < count; i++) {
          items.push((head & 15) === 12 ? this.struct(depth + 1) : this.#value(head & 15, depth + 1));
        }
        return items;
      }
      case 11: {
        const count = this.#length();
        const kinds = count > 0 ? this.#byte() : 0;
        for (let i = 0; i < 2 * count; i++) this.#value(i % 2 === 0 ? kinds >> 4 : kinds & 15, depth + 1);
        return [];
      }
      case 12:
        return this.struct(depth + 1);
      default:
        throw new Error(`metadata of an unknown type ${type}`);
    }
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw new Error('metadata that breaks off');
    return this.#bytes[this.#at++]!;
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new Error('metadata that breaks off');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Of a text or a list, which has at least a byte for each element. */
  #length(): number {
    const length = Number(this.#varint());
    if (length > this.#bytes.length) throw new Error('metadata that breaks off');
    return length;
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new Error('a number that does not end');
  }

  #zigzag(): bigint {
    const value = this.#varint();
    return (value >> 1n) ^ -(value & 1n);
  }
}

export function numberIn(struct: ThriftStruct | undefined, id: number): number | undefined {
  const value = struct?.get(id);
  return typeof value === 'number' ? value : undefined;
}

export function structIn(struct: ThriftStruct | undefined, id: number): ThriftStruct | undefined {
  const value = struct?.get(id);
  return value instanceof Map ? (value as ThriftStruct) : undefined;
}

export function textIn(struct: ThriftStruct | undefined, id: number): string | undefined {
  const value = struct?.get(id);
  return Buffer.isBuffer(value) ? value.toString('utf8') : undefined;
}

export function listIn(struct: ThriftStruct | undefined, id: number): readonly ThriftValue[] {
  const value = struct?.get(id);
  return Array.isArray(value) ? value : [];
}
