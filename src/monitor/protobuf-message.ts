/** Messages of Protocol Buffers, written field by field: https://protobuf.dev/programming-guides/encoding/ */

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** One message under way; fields are written in the order of the calls. */
export class ProtobufMessage {
  readonly #parts: Uint8Array[] = [];

  /** A whole number from 0 to 2^53 - 1: `int32`, `int64`, `uint64`, `enum`. */
  integer(field: number, value: number): this {
    this.#parts.push(varint(tag(field, VARINT)), varint(value));
    return this;
  }

  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    this.#parts.push(varint(tag(field, FIXED64)), bytes);
    return this;
  }

  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.#parts.push(varint(tag(field, FIXED32)), bytes);
    return this;
  }

  /** `string` as UTF-8, or `bytes`, or a message within this one. */
  bytes(field: number, value: string | Uint8Array | ProtobufMessage): this {
    const bytes = value instanceof ProtobufMessage ? value.encode() : Buffer.from(value as string);
    this.#parts.push(varint(tag(field, LENGTH_DELIMITED)), varint(bytes.length), bytes);
    return this;
  }

  encode(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function tag(field: number, wireType: number): number {
  return field * 8 + wireType;
}

/** Seven bits a byte, the lowest first; by division, as shifts have 32 bits. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
