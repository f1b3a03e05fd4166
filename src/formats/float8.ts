/**
 * 8-bit floats of quantised checkpoints: e4m3 with the range of torch.float8_e4m3fn (four bits of exponent, three of
 * mantissa, largest value 448, no infinities; 0x7f and 0xff are NaN), stored with scales.
 */
import { CheckpointError } from '../errors.js';
import { float32ToBfloat16 } from './half-precision.js';
import { type DType, sizeOf, type WeightScale, type WeightSource } from './weight-source.js';

/** A weight in a format that engines on the host keep. */
export type HeldSource = WeightSource & { readonly dtype: DType };

/** The number behind a code. */
export function e4m3ToNumber(code: number): number {
  const exponent = (code >>> 3) & 0xf;
  const mantissa = code & 7;
  if (isNaNCode(code)) return Number.NaN;
  const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
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

/**
 * The same weight as bf16, converted on the host while it is read; other weights as they are. Offsets and lengths are
 * those of the bf16 values.
 */
export function dequantizedSource(source: WeightSource): HeldSource {
  if (source.dtype !== 'f8_e4m3') return source as HeldSource;
  const { name, shape, stack, byteLength } = source;
  if (byteLength !== sizeOf(shape)) {
    throw new CheckpointError(
      `${name} has ${byteLength} bytes, [${shape.join(', ')}] of f8_e4m3 needs ${sizeOf(shape)}`,
    );
  }
  const [, columns] = matrixShape(shape);
  let scale: ReturnType<typeof readScale> | undefined;
  const tables: Uint16Array[] = [];
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    scale ??= readScale(source);
    const { factors, block, across } = await scale;
    const codes = new Uint8Array(target.length / 2);
    await source.read(codes, offset / 2);
    const values = new Uint16Array(target.buffer, target.byteOffset, codes.length);
    for (let i = 0; i < codes.length; ) {
      // A run of codes with one factor.
      const row = Math.floor((offset / 2 + i) / columns);
      const column = (offset / 2 + i) % columns;
      const run = Math.min(columns - column, block[1] - (column % block[1]), codes.length - i);
      const index = Math.floor(row / block[0]) * across + Math.floor(column / block[1]);
      tables[index] ??= tableOf(factors[index]!);
      if (!lookUp(values, codes, tables[index], i, i + run)) refuseNaN(name);
      i += run;
    }
  };
  return { name, shape, dtype: 'bf16', byteLength: 2 * byteLength, stack, read };
}

function matrixShape(shape: readonly number[]): [rows: number, columns: number] {
  return [sizeOf(shape.slice(0, -1)), shape.at(-1) ?? 1];
}
