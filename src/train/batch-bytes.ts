/**
 * Collated batches as bytes, for another process: all fields, also those of a collator of one's own, as long as they are
 * plain data. Typed arrays lie as they are behind a header of JSON; of images with at most 256 levels a channel, which is all
 * that come from 8 bits, each pixel takes a byte.
 */

import { unpaddedImages, withImages } from '../data/pad-batch.js';
import type { ProcessedImage } from '../data/process-pixels.js';
import type { VlmBatch } from '../data/types.js';
import { decodeValue, encodeValue } from '../distributed/messages.js';
import { decodeLevels, encodeLevels } from './level-bytes.js';

const KINDS = {
  ...{ Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array },
  ...{ Float32Array, Float64Array, BigInt64Array, BigUint64Array },
} as const;
type Kind = keyof typeof KINDS;
type TypedArray = InstanceType<(typeof KINDS)[Kind]>;

/** A batch taken apart, its arrays not copied. */
export interface BatchParts {
  /** JSON in which each array is its kind and length, in the order of `arrays`. */
  readonly fields: unknown;
  readonly arrays: readonly TypedArray[];
  /** Of a batch whose padded pixels nobody has read. */
  readonly images: readonly ProcessedImage[] | undefined;
  /** About what it takes on the way. */
  readonly bytes: number;
}

/** Stands for an array; an object of the batch with this key is not sent. */
const ARRAY = '$array';
/** As `encodeValue` writes numbers that JSON has not. */
const RESERVED = new Set([ARRAY, '$number', '__proto__']);
const MAX_DEPTH = 16;
/** Beside those in typed arrays: to take more apart takes longer than moving wins, and shared objects multiply. */
const MAX_VALUES = 10_000;
/** All arrays begin at a multiple of it. */
const ALIGNMENT = 8;
const PREFIX_BYTES = 8;

/** @returns undefined if something in the batch is not plain data or is computed when it is read, or it is too much */
export function partsOfBatch(batch: VlmBatch): BatchParts | undefined {
  const found: Found = { arrays: [], values: 0 };
  const { arrays } = found;
  const images = unpaddedImages(batch);
  try {
    const fields = plain(batch, found, 0, images ? ['pixelValues', 'imageSizes'] : []);
    const pixels = images?.reduce((sum, { pixelValues }) => sum + pixelValues.length, 0) ?? 0;
    return { fields, arrays, images, bytes: arrays.reduce((sum, { byteLength }) => sum + byteLength, pixels) };
  } catch (error) {
    if (error instanceof NotPlainError) return undefined;
    throw error;
  }
}

class NotPlainError extends Error {}

/** What a batch holds. */
interface Found {
  readonly arrays: TypedArray[];
  /** Those in typed arrays left out. */
  values: number;
}

function plain(value: unknown, found: Found, depth: number, left: readonly string[] = []): unknown {
  if (++found.values > MAX_VALUES) throw new NotPlainError();
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value;
  if (typeof value !== 'object' || depth > MAX_DEPTH) throw new NotPlainError();
  const kind = (Object.keys(KINDS) as Kind[]).find((name) => Object.getPrototypeOf(value) === KINDS[name].prototype);
  if (kind) {
    found.arrays.push(value as TypedArray);
    return { [ARRAY]: [kind, (value as TypedArray).length] };
  }
  const isList = Array.isArray(value);
  if (isList && value.length > MAX_VALUES) throw new NotPlainError();
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== (isList ? Array.prototype : Object.prototype)) throw new NotPlainError();
  const properties = Object.entries(Object.getOwnPropertyDescriptors(value)).filter(([name]) => !left.includes(name));
  if (Object.getOwnPropertySymbols(value).length > 0) throw new NotPlainError();
  const own = (isList ? properties.filter(([name]) => name !== 'length') : properties).map(([name, property]) => {
    if (!('value' in property) || !property.enumerable || RESERVED.has(name)) throw new NotPlainError();
    return [name, property.value] as const;
  });
  if (!isList) {
    const given = own.filter(([, inner]) => inner !== undefined);
    return Object.fromEntries(given.map(([name, inner]) => [name, plain(inner, found, depth + 1)]));
  }
  // A hole, or a name beside the places.
  if (own.length !== value.length || own.some(([name], i) => name !== String(i))) throw new NotPlainError();
  return own.map(([, inner]) => plain(inner, found, depth + 1));
}

/** Batches one after the other; their number of bytes is a multiple of 8. */
export function encodeBatches(batches: readonly BatchParts[]): Uint8Array {
  const pieces = batches.flatMap(({ fields, arrays, images }) => {
    const levels = images?.map(({ pixelValues }) => encodeLevels(pixelValues, 3));
    const sizes = images?.map(({ height, width }, n) => [height, width, levels![n] ? 1 : 0]);
    const pixels = images?.flatMap(({ pixelValues }, n) => {
      const coded = levels![n];
      return coded ? [coded.table, coded.codes] : [pixelValues];
    });
    const header = encodeValue({ fields, ...(sizes && { images: sizes }) });
    const body = [header, ...arrays, ...(pixels ?? [])].map(bytesOf);
    const prefix = new Uint8Array(PREFIX_BYTES);
    new DataView(prefix.buffer).setUint32(0, header.length, true);
    return [prefix, ...body];
  });
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + aligned(length), 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += aligned(piece.length);
  }
  return whole;
}

/** @param bytes of `encodeBatches`; arrays of the batches may lie in them */
export function decodeBatches(bytes: Uint8Array): VlmBatch[] {
  // Views of wider elements need their place to be a multiple of it.
  const whole = bytes.byteOffset % ALIGNMENT === 0 ? bytes : bytes.slice();
  const batches: VlmBatch[] = [];
  let at = 0;
  const take = (length: number): Uint8Array => {
    at += aligned(length);
    return whole.subarray(at - aligned(length), at - aligned(length) + length);
  };
  const array = (kind: Kind, length: number): TypedArray => {
    const { buffer, byteOffset } = take(length * KINDS[kind].BYTES_PER_ELEMENT);
    return new KINDS[kind](buffer as ArrayBuffer, byteOffset, length);
  };
  while (at < whole.length) {
    const { buffer, byteOffset } = take(PREFIX_BYTES);
    const header = take(new DataView(buffer, byteOffset).getUint32(0, true));
    const { fields, images } = decodeValue(header) as { fields: unknown; images?: readonly [number, number, number][] };
    const batch = withArrays(fields, array) as VlmBatch;
    const processed = images?.map(([height, width, isCoded]): ProcessedImage => {
      const count = 3 * height * width;
      if (!isCoded) return { pixelValues: array('Float32Array', count) as Float32Array, height, width };
      const table = array('Float32Array', 3 * 256) as Float32Array;
      return { pixelValues: decodeLevels({ table, codes: take(count) }, 3), height, width };
    });
    batches.push(processed ? withImages(batch, processed) : batch);
  }
  return batches;
}

/** Puts the arrays back, in the order in which they were taken out. */
function withArrays(fields: unknown, array: (kind: Kind, length: number) => TypedArray): unknown {
  if (Array.isArray(fields)) return fields.map((inner) => withArrays(inner, array));
  if (typeof fields !== 'object' || fields === null) return fields;
  const reference = (fields as Record<string, unknown>)[ARRAY];
  if (reference) return array(...(reference as [Kind, number]));
  return Object.fromEntries(Object.entries(fields).map(([name, inner]) => [name, withArrays(inner, array)]));
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
