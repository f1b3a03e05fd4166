/**
 * NormalFloat of four bits (QLoRA, Dettmers et al. 2023) as bitsandbytes has it: 16 values, and the largest magnitude
 * of each block of consecutive values, row-major. Double quantisation keeps these magnitudes in 8 bits. Arithmetic is
 * in float32, each operation rounded, so that codes and values are the same bits on every engine.
 */
import { CheckpointError, EngineError } from '../errors.js';
import { BitView } from './bit-view.js';
import { DynamicMap } from './dynamic-map.js';
import { float32ToBfloat16 } from './half-precision.js';
import { firstCodes } from './nearest-code.js';
import { type Nf4Absmax, sizeOf, type WeightSource } from './weight-source.js';

/** Values of the codes 0 to 15, to be multiplied with the absmax of their block. */
export const NF4_VALUES: Float32Array = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
);

/** A value's code is the number of midpoints below it, so a tie gets the lower code; Infinity ends a search. */
const MIDPOINTS = Float32Array.of(
  ...[-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984],
  ...[-0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668],
  ...[0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784181118011, Infinity],
);

/** Values of absmax that share one of the second level, in double quantisation. */
export const NESTED_BLOCK_SIZE = 256;

/** See `firstCodes`; made on first use. */
let codesByBits: Uint8Array | undefined;

/** Of bitsandbytes' signed dynamic map, which double quantisation uses. */
let nestedMap: DynamicMap | undefined;

/** Quantises the values of one weight, pushed in order, in pieces of any length. */
export class Nf4Quantizer {
  /** Two codes a byte, the even element in the high half; the odd half of a last byte holds the code of 0. */
  readonly codes: Uint8Array;
  readonly absmax: Float32Array;
  readonly #name: string;
  readonly #size: number;
  /** Values of the current block, then divided by its absmax. */
  readonly #block: BitView;
  #done = 0;
  #filled = 0;

  /**
   * @param name of the weight, for messages
   * @param size values of the weight
   * @param codes to be filled, (size + 1) / 2 bytes, in shared memory too. Default: an array of its own
   */
  constructor(name: string, size: number, blockSize: number, codes: Uint8Array = new Uint8Array(Math.ceil(size / 2))) {
    this.#name = name;
    this.#size = size;
    this.#block = new BitView(blockSize);
    this.codes = codes;
    this.absmax = new Float32Array(Math.ceil(size / blockSize));
  }

  /** @throws CheckpointError for a value that is not finite */
  push(values: Float32Array): void {
    const { floats } = this.#block;
    for (let i = 0; i < values.length; ) {
      const count = Math.min(values.length - i, floats.length - this.#filled);
      for (let k = 0; k < count; k++) floats[this.#filled + k] = values[i + k]!;
      this.#filled += count;
      i += count;
      if (this.#filled === floats.length || this.#done + this.#filled === this.#size) this.#finishBlock();
    }
  }

  /** What the codes are multiplied with, after all values. @param doubleQuantization 8 bits an absmax */
  finish(doubleQuantization: boolean): Nf4Absmax {
    return doubleQuantization ? quantizeAbsmax(this.absmax) : { absmax: this.absmax };
  }

  #finishBlock(): void {
    const { floats, bits } = this.#block;
    const { codes } = this;
    codesByBits ??= firstCodes(MIDPOINTS);
    const count = this.#filled;
    // Magnitudes of floats compare as their bits do; infinities and NaNs are the largest.
    let top = 0;
    let at = 0;
    for (let i = 0; i < count; i++) {
      const magnitude = bits[i]! & 0x7fffffff;
      if (magnitude > top) [top, at] = [magnitude, i];
    }
    if (top >= 0x7f800000) {
      const bad = this.#done + floats.subarray(0, count).findIndex((value) => !Number.isFinite(value));
      throw new CheckpointError(`${this.#name}: value ${bad} is not finite, so it cannot be quantised`, {
        hint: 'The checkpoint is damaged: download it again.',
        details: { name: this.#name },
      });
    }
    const absmax = Math.abs(floats[at]!);
    this.absmax[this.#done / floats.length] = absmax;
    // Infinity for a block of zeros: its products are NaN and its codes 0, as in bitsandbytes.
    const reciprocal = Math.fround(1 / absmax);
    if (count % 2 !== 0) floats[count] = 0;
    const padded = count + (count % 2);
    for (let i = 0; i < padded; i++) floats[i] = floats[i]! * reciprocal;
    for (let i = 0, byte = this.#done / 2; i < padded; i += 2, byte++) {
      let high = codesByBits[bits[i]! >>> 16]!;
      while (floats[i]! > MIDPOINTS[high]!) high++;
      let low = codesByBits[bits[i + 1]! >>> 16]!;
      while (floats[i + 1]! > MIDPOINTS[low]!) low++;
      codes[byte] = (high << 4) | low;
    }
    this.#done += count;
    this.#filled = 0;
  }
}

/**
 * Double quantisation: absmax - offset in 8 bits, in blocks of 256. The offset is their mean, summed in float64 in order.
 */
export function quantizeAbsmax(absmax: Float32Array): Nf4Absmax {
  nestedMap ??= new DynamicMap(true);
  let sum = 0;
  for (let i = 0; i < absmax.length; i++) sum += absmax[i]!;
  const offset = Math.fround(absmax.length === 0 ? 0 : sum / absmax.length);
  const codes = new Uint8Array(absmax.length);
  const nestedAbsmax = new Float32Array(Math.ceil(absmax.length / NESTED_BLOCK_SIZE));
  const block = new BitView(NESTED_BLOCK_SIZE);
  const { floats } = block;
  for (let start = 0; start < absmax.length; start += NESTED_BLOCK_SIZE) {
    const count = Math.min(NESTED_BLOCK_SIZE, absmax.length - start);
    let top = 0;
    for (let i = 0; i < count; i++) {
      floats[i] = absmax[start + i]! - offset;
      top = Math.max(top, Math.abs(floats[i]!));
    }
    nestedAbsmax[start / NESTED_BLOCK_SIZE] = top;
    const reciprocal = Math.fround(1 / top);
    for (let i = 0; i < count; i++) floats[i] = floats[i]! * reciprocal;
    nestedMap.encode(block, count, codes, start);
  }
  return { codes, map: nestedMap.values, nestedAbsmax, nestedBlockSize: NESTED_BLOCK_SIZE, offset };
}

/** Values that share an absmax, and absmax that share a nested one: 0 without double quantisation. */
export interface Nf4Blocks {
  readonly blockSize: number;
  readonly nestedBlockSize: number;
}

/** Kernels shift instead of dividing. @throws EngineError for block sizes that are not powers of two */
export function requireNf4Blocks(name: string, { blockSize, nestedBlockSize }: Nf4Blocks): void {
  const isPower = (size: number): boolean => Number.isInteger(Math.log2(size));
  if (blockSize >= 32 && blockSize <= 4096 && isPower(blockSize)) {
    if (nestedBlockSize === 0 || (nestedBlockSize <= 65536 && isPower(nestedBlockSize))) return;
  }
  throw new EngineError(
    `loadWeight: ${name} in blocks of ${blockSize} values and ${nestedBlockSize} absmax: expected powers of two, the ` +
      `first from 32 to 4096`,
  );
}

/**
 * The quant state of a weight that is stored as nf4.
 * @throws EngineError if it is missing, or has other blocks than the weight; what the source throws
 */
export async function readNf4State({
  name,
  shape,
  quantState,
}: WeightSource): Promise<Nf4Blocks & { absmax: Nf4Absmax }> {
  if (!quantState) throw new EngineError(`loadWeight: ${name} has 4-bit values but no quant state`);
  const absmax = await quantState.read();
  const blocks = { blockSize: quantState.blockSize, nestedBlockSize: 'absmax' in absmax ? 0 : absmax.nestedBlockSize };
  requireNf4Blocks(name, blocks);
  const count = Math.ceil(sizeOf(shape) / blocks.blockSize);
  const nested = blocks.nestedBlockSize === 0 ? 0 : Math.ceil(count / blocks.nestedBlockSize);
  const [given, givenNested] =
    'absmax' in absmax ? [absmax.absmax.length, 0] : [absmax.codes.length, absmax.nestedAbsmax.length];
  if (given === count && givenNested === nested) return { ...blocks, absmax };
  throw new EngineError(
    `loadWeight: ${name} [${shape.join(', ')}] came with ${given} absmax and ${givenNested} nested ones, expected ` +
      `${count} and ${nested} in blocks of ${blocks.blockSize} and ${blocks.nestedBlockSize}`,
  );
}

/** The factor of each block, as float32. */
export function expandAbsmax(state: Nf4Absmax): Float32Array {
  if ('absmax' in state) return state.absmax;
  const { codes, map, nestedAbsmax, nestedBlockSize, offset } = state;
  const absmax = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    const nested = nestedAbsmax[Math.floor(i / nestedBlockSize)]!;
    absmax[i] = Math.fround(map[codes[i]!]! * nested) + offset;
  }
  return absmax;
}

/**
 * Elements `start` to `start + values.length` as bf16: code's value times absmax in float32, then rounded once.
 * @param codes from the byte that holds element `start` on
 * @param absmax of all blocks
 */
export function dequantizeNf4(
  codes: Uint8Array,
  absmax: Float32Array,
  blockSize: number,
  start: number,
  values: Uint16Array,
): void {
  const products = new Float32Array(16);
  const table = new Uint16Array(16);
  const first = start - (start % 2);
  for (let i = 0; i < values.length; ) {
    const element = start + i;
    const factor = absmax[Math.floor(element / blockSize)]!;
    for (let code = 0; code < 16; code++) products[code] = NF4_VALUES[code]! * factor;
    float32ToBfloat16(products, table);
    const end = Math.min(values.length, i + blockSize - (element % blockSize));
    for (; i < end; i++) {
      const at = start + i - first;
      const pair = codes[at >>> 1]!;
      values[i] = table[(at & 1) === 0 ? pair >>> 4 : pair & 15]!;
    }
  }
}
