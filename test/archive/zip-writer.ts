/** Writes zip archives, honest ones and others. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipItem {
  readonly name: string | Buffer;
  readonly content?: Buffer | string;
  /** Default: deflated (8) unless it is a folder. */
  readonly method?: number;
  /** Name in the header before the data, if it is another. */
  readonly localName?: string;
  /** Sizes and checksum as declared, if not the true ones. */
  readonly size?: number;
  readonly compressedSize?: number;
  readonly crc?: number;
  /** The bytes in the archive, if not the content as the method has it. */
  readonly data?: Buffer;
  /** Type and permissions of Unix. */
  readonly mode?: number;
  readonly flags?: number;
  /** Where the header is said to stand, if not where it does. */
  readonly offset?: number;
  /** Sizes and offset in a zip64 field. */
  readonly zip64?: boolean;
}

export interface ZipShape {
  /** Number of entries as declared. */
  readonly entryCount?: number;
  readonly directoryOffset?: number;
  readonly comment?: Buffer;
  /** With the records for archives above 4 GiB. */
  readonly zip64?: boolean;
  readonly zip64Offset?: bigint;
}

export function makeZip(items: readonly ZipItem[], shape: ZipShape = {}): Buffer {
  const pieces: Buffer[] = [];
  const directory: Buffer[] = [];
  let position = 0;
  for (const item of items) {
    const name = Buffer.from(item.name as string);
    const content = Buffer.from((item.content ?? '') as string);
    const method = item.method ?? (name.at(-1) === 47 ? 0 : 8);
    const data = item.data ?? (method === 8 ? deflateRawSync(content) : content);
    const localName = item.localName === undefined ? name : Buffer.from(item.localName);
    const size = item.size ?? content.length;
    const compressed = item.compressedSize ?? data.length;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(item.zip64 ? 45 : 20, 0);
    common.writeUInt16LE(item.flags ?? 0x800, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(item.crc ?? crc32(content), 10);
    common.writeUInt32LE(item.zip64 ? 0xffffffff : compressed, 14);
    common.writeUInt32LE(item.zip64 ? 0xffffffff : size, 18);
    const offset = item.offset ?? position;
    const extra = item.zip64 ? zip64Field([size, compressed, offset]) : Buffer.alloc(0);
    common.writeUInt16LE(extra.length, 24);

    const local = Buffer.concat([signature(0x04034b50), common, localName, extra, data]);
    local.writeUInt16LE(localName.length, 26);
    pieces.push(local);
    position += local.length;

    const end = Buffer.alloc(14);
    end.writeUInt32LE(((item.mode ?? 0) * 0x10000) >>> 0, 6);
    end.writeUInt32LE(item.zip64 ? 0xffffffff : offset, 10);
    const madeBy = Buffer.from([20, item.mode === undefined ? 0 : 3]);
    const header = Buffer.concat([signature(0x02014b50), madeBy, common, end, name, extra]);
    header.writeUInt16LE(name.length, 28);
    directory.push(header);
  }
  const table = Buffer.concat(directory);
  return Buffer.concat([...pieces, table, endRecords(items.length, position, table.length, shape)]);
}

function endRecords(items: number, position: number, length: number, shape: ZipShape): Buffer {
  const count = shape.entryCount ?? items;
  const offset = shape.directoryOffset ?? position;
  const comment = shape.comment ?? Buffer.alloc(0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(shape.zip64 ? 0xffff : count & 0xffff, 8);
  end.writeUInt16LE(shape.zip64 ? 0xffff : count & 0xffff, 10);
  end.writeUInt32LE(length, 12);
  end.writeUInt32LE(shape.zip64 ? 0xffffffff : offset >>> 0, 16);
  end.writeUInt16LE(comment.length, 20);
  if (!shape.zip64) return Buffer.concat([end, comment]);
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50, 0);
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(BigInt(count), 24);
  record.writeBigUInt64LE(BigInt(count), 32);
  record.writeBigUInt64LE(BigInt(length), 40);
  record.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(shape.zip64Offset ?? BigInt(position + length), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([record, locator, end, comment]);
}

function zip64Field(numbers: readonly number[]): Buffer {
  const field = Buffer.alloc(4 + 8 * numbers.length);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(8 * numbers.length, 2);
  for (const [i, number] of numbers.entries()) field.writeBigUInt64LE(BigInt(number), 4 + 8 * i);
  return field;
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
