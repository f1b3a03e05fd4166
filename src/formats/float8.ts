/**
 * 8-bit floats: e4m3 with the range of torch.float8_e4m3fn (four bits of exponent, three of mantissa, largest value 448,
 * no infinities; 0x7f and 0xff are NaN). A matrix comes with scales.
 */
import { CheckpointError } from '../errors.js';
import { BitView } from './bit-view.js';
import { float32ToBfloat16 } from './half-precision.js';
import { matrixShape, type WeightScale, type WeightSource } from './weight-source.js';

/** The largest value of e4m3. */
const E4M3_MAX = 448;

/** The number behind a code. */
export function e4m3ToNumber(code: number): number {
  const exponent = (code >>> 3) & 0xf;
  const mantissa = code & 7;
  if (isNaNCode(code)) return Number.NaN;
  const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

/** The code nearest to x as float32, ties to even, saturating at 448. NaN gives 0x7f. */
export function numberToE4m3(x: number): number {
  const view = new BitView(1);
  view.floats[0] = x;
  return e4m3OfBits(view.bits[0]!);
}

/** float32 bit pattern → code. */
function e4m3OfBits(bits: number): number {
  const sign = (bits >>> 24) & 0x80;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7f;
  // From 448 on; values between 432 and 448 round to it below.
  if (magnitude >= 0x43e00000) return sign | 0x7e;
  if (magnitude >= 0x3c800000) return sign | ((magnitude - 0x3c000000 + 0x7ffff + ((magnitude >>> 20) & 1)) >>> 20);
  // Below 2⁻⁶ the result is a multiple of 2⁻⁹.
  const shift = 141 - (magnitude >>> 23);
  if (shift > 24) return sign;
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const quotient = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0));
}

/**
 * Quantises whole rows: each has the scale amax / 448, and the codes of x / scale, both rounded to float32. A row of
 * zeros has the scale 1.
 * @param values some rows
 * @param codes filled from its beginning on
 * @param scales filled from its beginning on, one a row
 * @throws CheckpointError for a value that is not finite
 */
export function quantizeRows(
  name: string,
  values: Float32Array,
  columns: number,
  codes: Uint8Array,
  scales: Float32Array,
): void {
  const view = new BitView(columns);
  const { floats, bits } = view;
  for (let row = 0, start = 0; start < values.length; row++, start += columns) {
    let top = 0;
    let areFinite = true;
    for (let i = 0; i < columns; i++) {
      const magnitude = Math.abs(values[start + i]!);
      if (magnitude > top) top = magnitude;
      // NaN for infinities and NaNs, 0 for all others.
      if (magnitude - magnitude !== 0) areFinite = false;
    }
    if (!areFinite) {
      throw new CheckpointError(`${name}: a value is not finite, so it cannot be quantised`, {
        hint: 'The checkpoint is damaged: download it again.',
        details: { name },
      });
    }
    // The scale of a row with a maximum below some 10⁻⁴² would round to 0.
    const scale = Math.fround(top / E4M3_MAX) || 1;
    scales[row] = scale;
    for (let i = 0; i < columns; i++) floats[i] = values[start + i]! / scale;
    for (let i = 0; i < columns; i++) codes[start + i] = e4m3OfBits(bits[i]!);
  }
}

function isNaNCode(code: number): boolean {
  return (code & 0x7f) === 0x7f;
}

/** The bf16 pattern of code · factor for every code: the product in float32, rounded once more to bf16. */
function tableOf(factor: number): Uint16Array {
  return float32ToBfloat16(Float32Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code) * factor));
}

/** values[i] = table[codes[i]] for start ≤ i < end; false if a code is NaN. */
function lookUp(values: Uint16Array, codes: Uint8Array, table: Uint16Array, start: number, end: number): boolean {
  let isWhole = true;
  for (let i = start; i < end; i++) {
    const code = codes[i]!;
    if (isNaNCode(code)) isWhole = false;
    values[i] = table[code]!;
  }
  return isWhole;
}

/**
 * The scale factors of an 8-bit weight, and how they lie.
 * @throws CheckpointError if there are too few or too many, or one is not finite
 */
export async function readScale(source: WeightSource): Promise<{
  factors: Float32Array;
  block: WeightScale['block'];
  /** Blocks side by side. */
  across: number;
}> {
  const { name, scale, shape } = source;
  const [rows, columns] = matrixShape(shape);
  if (!scale) throw new CheckpointError(`${name}: 8-bit floats came without their scale`);
  const [blockRows, blockColumns] = scale.block;
  const across = Math.ceil(columns / blockColumns);
  const needed = across * Math.ceil(rows / blockRows);
  const factors = await scale.read();
  if (factors.length !== needed) {
    throw new CheckpointError(
      `${name}: ${factors.length} scale factors for [${shape.join(', ')}] in blocks of ${blockRows} × ${blockColumns}, ` +
        `expected ${needed}`,
    );
  }
  const bad = factors.find((factor) => !Number.isFinite(factor));
  if (bad !== undefined) throw new CheckpointError(`${name}: a scale factor is ${bad}`, { hint: DAMAGED });
  return { factors, block: scale.block, across };
}

const DAMAGED = 'The quantised checkpoint is damaged: download it again, or use the bfloat16 one.';

/** @throws CheckpointError always: the weight holds a NaN */
export function refuseNaN(name: string): never {
  throw new CheckpointError(`${name}: its 8-bit floats hold the code 0x7f or 0xff, which is NaN`, {
    hint: DAMAGED,
    details: { name },
  });
}

/** Fills `values` with the bf16 patterns of elements `start` to `start + codes.length` of an 8-bit weight. */
export function dequantizeRun(
  codes: Uint8Array,
  start: number,
  values: Uint16Array,
  source: WeightSource,
  { factors, block, across }: Awaited<ReturnType<typeof readScale>>,
  tables: Uint16Array[],
): void {
  const [, columns] = matrixShape(source.shape);
  for (let i = 0; i < codes.length; ) {
    // A run of codes with one factor.
    const row = Math.floor((start + i) / columns);
    const column = (start + i) % columns;
    const run = Math.min(columns - column, block[1] - (column % block[1]), codes.length - i);
    const index = Math.floor(row / block[0]) * across + Math.floor(column / block[1]);
    tables[index] ??= tableOf(factors[index]!);
    if (!lookUp(values, codes, tables[index], i, i + run)) refuseNaN(source.name);
    i += run;
  }
}
