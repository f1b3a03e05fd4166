/** Values of weights held in 4 or 8 bits: the algorithms of bitsandbytes and e4m3, value by value. */
import { DynamicMap } from '../../../src/formats/dynamic-map.js';
import { e4m3ToNumber } from '../../../src/formats/float8.js';
import type { HeldFormat, Nf4Absmax } from '../../../src/formats/weight-source.js';
import { roundBfloat16 } from './plain-reference.js';

const { fround } = Math;

const NF4 = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
].map(fround);

/** Thresholds of bitsandbytes' kernel. */
const NF4_THRESHOLDS = [
  ...[-0.8480964004, -0.6106329262, -0.4599952698, -0.3396794349, -0.234607406, -0.1379117332, -0.0455250181],
  ...[0.0397901498, 0.1202552505, 0.2035212517, 0.2920137718, 0.3893125355, 0.5016634166, 0.6427869201, 0.8614784178],
].map(fround);

const MAP = new DynamicMap(true).values;
const MAP_THRESHOLDS = Array.from({ length: 255 }, (_, i) => fround(fround(MAP[i]! + MAP[i + 1]!) / 2));

/** Number of thresholds below x. @param thresholds ascending */
function codeOf(x: number, thresholds: readonly number[]): number {
  let code = 0;
  while (code < thresholds.length && x > thresholds[code]!) code++;
  return code;
}

function largest(values: ArrayLike<number>, start: number, end: number): number {
  let most = 0;
  for (let i = start; i < Math.min(end, values.length); i++) most = Math.max(most, Math.abs(values[i]!));
  return most;
}

/** Blocks of `size` as multiples of their largest magnitude, each as a code. */
function quantize(values: ArrayLike<number>, size: number, thresholds: readonly number[]) {
  const absmax = Float32Array.from({ length: Math.ceil(values.length / size) }, (_, block) =>
    largest(values, block * size, (block + 1) * size),
  );
  const codes = Uint8Array.from(values, (value, i) =>
    codeOf(fround(value * fround(1 / absmax[Math.floor(i / size)]!)), thresholds),
  );
  return { codes, absmax };
}

/** One code an element. */
export function plainNf4(values: ArrayLike<number>, blockSize: number, isDouble: boolean) {
  const { codes, absmax } = quantize(values, blockSize, NF4_THRESHOLDS);
  if (!isDouble) return { codes, absmax: { absmax } satisfies Nf4Absmax };
  const offset = fround(absmax.reduce((sum, value) => sum + value, 0) / absmax.length);
  const nested = quantize(
    Array.from(absmax, (value) => fround(value - offset)),
    256,
    MAP_THRESHOLDS,
  );
  const second = { codes: nested.codes, map: MAP, nestedAbsmax: nested.absmax, nestedBlockSize: 256, offset };
  return { codes, absmax: second satisfies Nf4Absmax };
}

/** The values of codes, one an element. */
export function plainNf4Values(codes: Uint8Array, blockSize: number, state: Nf4Absmax): Float64Array {
  const absmaxOf = (block: number): number => {
    if ('absmax' in state) return state.absmax[block]!;
    const nested = state.nestedAbsmax[Math.floor(block / state.nestedBlockSize)]!;
    return fround(fround(state.map[state.codes[block]!]! * nested) + state.offset);
  };
  const products = Float64Array.from(codes, (code, i) => fround(NF4[code]! * absmaxOf(Math.floor(i / blockSize))));
  return roundBfloat16(products);
}

const E4M3 = Array.from({ length: 0x7f }, (_, code) => e4m3ToNumber(code));

/** The code of the nearest value, the even one at a tie. */
function e4m3CodeOf(x: number): number {
  const magnitude = Math.abs(x);
  let best = 0;
  for (let code = 1; code < E4M3.length; code++) {
    const closer = Math.abs(E4M3[best]! - magnitude) - Math.abs(E4M3[code]! - magnitude);
    // They ascend: those behind are further away still.
    if (closer < 0) break;
    if (closer > 0 || (closer === 0 && code % 2 === 0)) best = code;
  }
  return x < 0 || Object.is(x, -0) ? best | 0x80 : best;
}

/** e4m3 with a scale per row. */
function plainE4m3Values(values: ArrayLike<number>, columns: number): Float64Array {
  const scales = Float32Array.from(
    { length: values.length / columns },
    (_, row) => largest(values, row * columns, (row + 1) * columns) / 448 || 1,
  );
  const scaled = Float64Array.from({ length: values.length }, (_, i) => {
    const scale = scales[Math.floor(i / columns)]!;
    return fround(e4m3ToNumber(e4m3CodeOf(fround(values[i]! / scale))) * scale);
  });
  return roundBfloat16(scaled);
}

/** Values of a float32 matrix after quantising to the format. */
export function plainHeldValues(values: ArrayLike<number>, columns: number, hold: HeldFormat): Float64Array {
  if (hold.format === 'f8_e4m3') return plainE4m3Values(values, columns);
  const { codes, absmax } = plainNf4(values, hold.blockSize, hold.doubleQuantization);
  return plainNf4Values(codes, hold.blockSize, absmax);
}

export function describeHold(hold: HeldFormat): string {
  if (hold.format === 'f8_e4m3') return 'e4m3';
  return `nf4 in blocks of ${hold.blockSize}${hold.doubleQuantization ? ', double' : ''}`;
}
