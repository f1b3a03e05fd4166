/**
 * A frozen matrix in e4m3, with the stored scales or, if quantised while it is loaded, one per row. Bytes: header,
 * codes, scales.
 */
import { quantizeRows, readScale, refuseNaN } from '../../formats/float8.js';
import { widen } from '../../formats/half-precision.js';
import { dequantizedSource } from '../../formats/held-source.js';
import { DTYPE_BYTES, requireBytes, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import type { CpuRuntime } from './cpu-runtime.js';
import { readPieces, StoredWeight } from './stored-weight.js';

/** E4M3 of wasm/widen.ts. */
const KERNEL_FORMAT = 4;
/** Four fields: stageE4m3 of wasm/widen-quantized.ts. */
const HEADER_BYTES = 16;

/** Scales of blocks of rows and columns, `across` of them side by side. */
type Scales = Awaited<ReturnType<typeof readScale>>;

export class E4m3Weight extends StoredWeight {
  readonly #scales: Scales;
  readonly #scalesAt: number;

  private constructor(runtime: CpuRuntime, source: WeightSource, scales: Scales) {
    const { name, shape, dtype } = source;
    const scalesAt = 4 * Math.ceil((HEADER_BYTES + sizeOf(shape)) / 4);
    super(runtime, name, shape, dtype === 'f32' || dtype === 'f16' ? dtype : 'bf16', {
      held: 'f8_e4m3',
      kernelFormat: KERNEL_FORMAT,
      rowBytes: shape.at(-1)!,
      byteLength: scalesAt + 4 * scales.factors.length,
    });
    this.#scales = scales;
    this.#scalesAt = scalesAt;
  }

  static override async load(runtime: CpuRuntime, stored: WeightSource): Promise<E4m3Weight> {
    const source = stored.dtype === 'f8_e4m3' ? stored : dequantizedSource(stored);
    requireBytes(source);
    return new E4m3Weight(runtime, source, await scalesOf(source)).fill(source);
  }

  protected override async read(source: WeightSource): Promise<void> {
    const { name, dtype, columns } = this;
    const { factors, block, across } = this.#scales;
    const codes = this.bytes.subarray(HEADER_BYTES, HEADER_BYTES + sizeOf(this.shape));
    if (source.dtype === 'f8_e4m3') {
      await readPieces(source, 1, (piece, at) => {
        if (piece.some((code) => (code & 0x7f) === 0x7f)) refuseNaN(name);
        codes.set(piece, at);
      });
    } else {
      const rowBytes = columns * DTYPE_BYTES[dtype];
      await readPieces(source, rowBytes, (piece, at) => {
        const row = at / rowBytes;
        quantizeRows(name, widen(piece, dtype), columns, codes.subarray(row * columns), factors.subarray(row));
      });
    }
    new Int32Array(this.buffer, 0, 4).set([...block, across, this.#scalesAt]);
    new Float32Array(this.buffer, this.#scalesAt).set(factors);
  }
}

/** Scales of the source, or zeros, one per row, to be filled by quantising. */
async function scalesOf(source: WeightSource): Promise<Scales> {
  if (source.dtype === 'f8_e4m3') return readScale(source);
  const columns = source.shape.at(-1)!;
  return { factors: new Float32Array(sizeOf(source.shape.slice(0, -1))), block: [1, columns], across: 1 };
}
