/**
 * A frozen matrix in NF4, as stored or quantised while it is loaded. Bytes: header, then codes and absmax of the blocks
 * as in bitsandbytes, so blocks may cross rows.
 */
import { widen } from '../../formats/half-precision.js';
import { dequantizedSource } from '../../formats/held-source.js';
import {
  NESTED_BLOCK_SIZE,
  NF4_VALUES,
  type Nf4Blocks,
  Nf4Quantizer,
  readNf4State,
  requireNf4Blocks,
} from '../../formats/nf4.js';
import {
  type HeldFormat,
  type Nf4Absmax,
  requireBytes,
  sizeOf,
  type WeightSource,
} from '../../formats/weight-source.js';
import type { CpuRuntime } from './cpu-runtime.js';
import { readPieces, StoredWeight } from './stored-weight.js';

/** NF4 of wasm/widen.ts. */
const KERNEL_FORMAT = 3;
/** Eight fields, the 16 values, the map of double quantisation: stageNf4Rows of wasm/widen-quantized.ts. */
const HEADER_BYTES = 4 * (8 + 16 + 256);

export class Nf4Weight extends StoredWeight {
  readonly #blocks: Nf4Blocks;
  /** Set if the source is stored as nf4. */
  readonly #stored: Nf4Absmax | undefined;

  private constructor(runtime: CpuRuntime, source: WeightSource, blocks: Nf4Blocks, stored?: Nf4Absmax) {
    const { name, shape, dtype } = source;
    requireNf4Blocks(name, blocks);
    super(runtime, name, shape, dtype === 'f32' || dtype === 'f16' ? dtype : 'bf16', {
      held: 'nf4',
      kernelFormat: KERNEL_FORMAT,
      // Unused for rows of odd length, which may start inside a byte: the kernel computes the offset.
      rowBytes: Math.floor(shape.at(-1)! / 2),
      byteLength: layoutOf(sizeOf(shape), blocks).byteLength,
    });
    this.#blocks = blocks;
    this.#stored = stored;
  }

  static override async load(runtime: CpuRuntime, source: WeightSource): Promise<Nf4Weight> {
    if (source.dtype !== 'nf4') {
      const { blockSize, doubleQuantization } = source.hold as HeldFormat & { format: 'nf4' };
      const blocks = { blockSize, nestedBlockSize: doubleQuantization ? NESTED_BLOCK_SIZE : 0 };
      const values = dequantizedSource(source);
      requireBytes(values);
      return new Nf4Weight(runtime, values, blocks).fill(values);
    }
    requireBytes(source);
    const { absmax, ...blocks } = await readNf4State(source);
    return new Nf4Weight(runtime, source, blocks, absmax).fill(source);
  }

  protected override async read(source: WeightSource): Promise<void> {
    const { codesEnd } = layoutOf(sizeOf(this.shape), this.#blocks);
    const codes = this.bytes.subarray(HEADER_BYTES, codesEnd);
    if (this.#stored) {
      await readPieces(source, 1, (piece, at) => codes.set(piece, at));
      this.#writeFactors(this.#stored);
      return;
    }
    const quantizer = new Nf4Quantizer(this.name, sizeOf(this.shape), this.#blocks.blockSize, codes);
    await readPieces(source, 4, (piece) => quantizer.push(widen(piece, this.dtype)));
    this.#writeFactors(quantizer.finish(this.#blocks.nestedBlockSize > 0));
  }

  #writeFactors(absmax: Nf4Absmax): void {
    const { blockSize, nestedBlockSize } = this.#blocks;
    const { absmaxAt, nestedAt } = layoutOf(sizeOf(this.shape), this.#blocks);
    const fields = new Int32Array(this.buffer, 0, 8);
    const values = new Float32Array(this.buffer, 0, HEADER_BYTES / 4);
    fields.set([this.columns, Math.log2(blockSize), absmaxAt, nestedAt]);
    values.set(NF4_VALUES, 8);
    if ('absmax' in absmax) {
      new Float32Array(this.buffer, absmaxAt).set(absmax.absmax);
      return;
    }
    fields[4] = Math.log2(nestedBlockSize);
    values[5] = absmax.offset;
    values.set(absmax.map, 8 + 16);
    this.bytes.set(absmax.codes, absmaxAt);
    new Float32Array(this.buffer, nestedAt).set(absmax.nestedAbsmax);
  }
}

/** Byte offsets and lengths for a weight of `size` values; `nestedAt` is 0 without double quantisation. */
function layoutOf(size: number, { blockSize, nestedBlockSize }: Nf4Blocks) {
  const count = Math.ceil(size / blockSize);
  const codesEnd = HEADER_BYTES + Math.ceil(size / 2);
  const absmaxAt = 4 * Math.ceil(codesEnd / 4);
  if (nestedBlockSize === 0) {
    return { codesEnd, absmaxAt, nestedAt: 0, byteLength: absmaxAt + 4 * count };
  }
  const nested = Math.ceil(count / nestedBlockSize);
  const nestedAt = absmaxAt + 4 * Math.ceil(count / 4);
  return { codesEnd, absmaxAt, nestedAt, byteLength: nestedAt + 4 * nested };
}
