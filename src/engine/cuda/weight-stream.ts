/**
 * Streams a stored weight into its rows on the device. A format that is held as stored is copied in place; others are
 * copied to scratch and converted by a kernel. Large weights pass in pieces through a ring of page-locked blocks, on
 * the copy stream; small ones at once, on the compute stream.
 */
import { CheckpointError, EngineError } from '../../errors.js';
import { readScale, refuseNaN } from '../../formats/float8.js';
import { DTYPE_BYTES, type StoredDType, type WeightSource } from '../../formats/weight-source.js';
import { KERNELS } from '../../generated/kernel-launchers.js';
import type { CudaDriver } from './driver.js';
import { type DevicePointer, grid2, type KernelLauncher } from './launch.js';
import type { DeviceBlock } from './memory.js';
import type { Staging } from './staging.js';
import type { TensorStore } from './tensor-store.js';
import { type RingDriver, UploadRing } from './upload-ring.js';

export type WeightDriver = RingDriver & Pick<CudaDriver, 'uploadRows' | 'upload'>;

/** Bytes of a piece: large, so that calls and copies cost little beside the bytes. */
const PIECE_BYTES = 32 << 20;
/** Weights of up to this part of a piece would waste a block of the ring. */
const SMALL_PART = 1 / 32;

/** Destination of the rows of a weight, in the format they are held in. */
export interface WeightTarget {
  readonly rows: number;
  readonly columns: number;
  /** Pieces start at multiples of this many rows. Default 1. */
  readonly rowMultiple?: number;
  /** Whether values are quantised: ones that are not finite are then refused. */
  readonly quantizes?: boolean;
  /** Whether values stored as `dtype` are held unchanged, through `upload`; others are passed to `convert`. */
  holds(dtype: StoredDType): boolean;
  upload(driver: WeightDriver, row: number, rows: number, bytes: Uint8Array, stream?: number): void;
  /** Queues a conversion on the compute stream. */
  convert(stored: StoredRows): void;
  /** Called after all rows; queues work on the compute stream. */
  finish?(scale: Scale | undefined): void;
  /** Frees temporary memory, also after a failure. */
  release?(): void;
}

/** Rows on the device as the checkpoint stores them, packed. */
export interface StoredRows {
  readonly address: DevicePointer;
  /** First row, counted from that of the weight. */
  readonly row: number;
  readonly rows: number;
  readonly columns: number;
  readonly dtype: StoredDType;
  /** Scales of e4m3 values. */
  readonly scale: Scale | undefined;
  /** One word, set to 1 by a NaN code or a value that cannot be quantised. */
  readonly flag: DevicePointer | undefined;
}

/** Stored scales of an e4m3 weight on the device, as `readScale` gives them. */
export interface Scale {
  readonly factors: DeviceBlock;
  readonly block: readonly [rows: number, columns: number];
  readonly across: number;
}

export class WeightStream {
  readonly #store: TensorStore;
  readonly #driver: WeightDriver;
  readonly #staging: Staging;
  readonly #ring: UploadRing;
  readonly #active = new Set<Promise<void>>();
  /** Orders the two streams; made with the first weight. */
  #order: number | undefined;

  /** @param pieceBytes a test makes it small */
  constructor(store: TensorStore, driver: WeightDriver, staging: Staging, pieceBytes = PIECE_BYTES) {
    this.#store = store;
    this.#driver = driver;
    this.#staging = staging;
    this.#ring = new UploadRing(driver, staging, store.allocator, pieceBytes);
  }

  /**
   * Resolves when everything is queued and the source is no longer needed.
   * @param keep receives the stored bytes, which are then read in one piece
   */
  async fill(target: WeightTarget, source: WeightSource, keep?: (bytes: Uint8Array) => void): Promise<void> {
    const filling = this.#fill(target, source, keep);
    this.#active.add(filling);
    try {
      await filling;
    } finally {
      this.#active.delete(filling);
      if (this.#active.size === 0) this.#ring.clear();
    }
  }

  /** Waits for the weights on their way and frees what they needed. */
  async dispose(): Promise<void> {
    await Promise.allSettled(this.#active);
    if (this.#order !== undefined) this.#driver.destroyEvent(this.#order);
    this.#order = undefined;
  }

  async #fill(target: WeightTarget, source: WeightSource, keep?: (bytes: Uint8Array) => void): Promise<void> {
    const { name, dtype, byteLength } = source;
    const { allocator } = this.#store;
    let scale: Scale | undefined;
    let flag: DeviceBlock | undefined;
    try {
      if (dtype === 'f8_e4m3') scale = await this.#scale(source);
      if (scale || (target.quantizes && !target.holds(dtype))) flag = this.#flag();
      const tables = { scale, flag: flag?.address };
      if (keep || byteLength <= SMALL_PART * this.#ring.blockBytes)
        await this.#fillAtOnce(target, source, tables, keep);
      else await this.#fillInPieces(target, source, tables);
      target.finish?.(scale);
      if (flag) {
        const [word] = new Int32Array(await this.#staging.download(flag.address, 4).arrive());
        if (word !== 0) refuse(name, dtype);
      }
    } finally {
      target.release?.();
      for (const block of [scale?.factors, flag]) if (block) allocator.free(block);
    }
  }

  async #fillAtOnce(
    target: WeightTarget,
    source: WeightSource,
    tables: Pick<StoredRows, 'scale' | 'flag'>,
    keep?: (bytes: Uint8Array) => void,
  ): Promise<void> {
    const { dtype, byteLength } = source;
    if (byteLength === 0) return;
    const block = this.#staging.take(byteLength);
    try {
      const bytes = block.pinned.bytes.subarray(0, byteLength);
      await source.read(bytes, 0);
      keep?.(bytes);
      const { rows, columns } = target;
      if (target.holds(dtype)) {
        target.upload(this.#driver, 0, rows, bytes);
        return;
      }
      const { allocator } = this.#store;
      const stored = allocator.allocate(byteLength, 'weight conversion');
      this.#driver.upload(stored.address, bytes);
      target.convert({ address: stored.address, row: 0, rows, columns, dtype, ...tables });
      allocator.free(stored);
    } finally {
      this.#staging.giveBack(block);
    }
  }

  async #fillInPieces(
    target: WeightTarget,
    source: WeightSource,
    tables: Pick<StoredRows, 'scale' | 'flag'>,
  ): Promise<void> {
    const { rows, columns, rowMultiple = 1 } = target;
    const { stream, copyStream } = this.#driver;
    const { dtype } = source;
    const rowBytes = columns * DTYPE_BYTES[dtype];
    const pieceRows = rowMultiple * Math.floor(this.#ring.blockBytes / (rowMultiple * rowBytes));
    if (pieceRows === 0) return this.#fillAtOnce(target, source, tables);
    // What had the target's memory before is ahead on the compute stream.
    this.#follow(copyStream, stream);
    let hasFailed = false;
    const piece = async (row: number): Promise<void> => {
      const block = await this.#ring.take();
      let last = copyStream;
      try {
        // After a failure nothing more is read.
        if (hasFailed) return;
        const count = Math.min(pieceRows, rows - row);
        // Two 4-bit values share a byte.
        const bytes = block.pinned.bytes.subarray(0, Math.ceil(count * rowBytes));
        await source.read(bytes, row * rowBytes);
        if (target.holds(dtype)) target.upload(this.#driver, row, count, bytes, copyStream);
        else {
          const stored = this.#ring.scratch(block);
          this.#driver.upload(stored, bytes, copyStream);
          this.#driver.recordEvent(block.event, copyStream);
          this.#driver.waitEvent(block.event, stream);
          last = stream;
          target.convert({ address: stored, row, rows: count, columns, dtype, ...tables });
        }
      } catch (error) {
        hasFailed = true;
        throw error;
      } finally {
        this.#ring.giveBack(block, last);
      }
    };
    const pieces: Promise<void>[] = [];
    for (let row = 0; row < rows; row += pieceRows) pieces.push(piece(row));
    // All of them, as the memory that they write to may not be freed before.
    const results = await Promise.allSettled(pieces);
    this.#follow(stream, copyStream);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** What is queued on `stream` from now on runs after what is queued on `first`. */
  #follow(stream: number, first: number): void {
    this.#order ??= this.#driver.createEvent();
    this.#driver.recordEvent(this.#order, first);
    this.#driver.waitEvent(this.#order, stream);
  }

  async #scale(source: WeightSource): Promise<Scale> {
    const { factors, block, across } = await readScale(source);
    const table = this.#store.allocator.allocate(factors.byteLength, 'weight conversion');
    this.#staging.upload(table.address, factors);
    return { factors: table, block, across };
  }

  #flag(): DeviceBlock {
    const flag = this.#store.allocator.allocate(4, 'weight conversion');
    this.#store.driver.fillBytes(flag.address, 0, 4);
    return flag;
  }
}

/** @throws CheckpointError always */
function refuse(name: string, dtype: StoredDType): never {
  if (dtype === 'f8_e4m3') refuseNaN(name);
  throw new CheckpointError(`${name}: a value is not finite, so it cannot be quantised`, {
    hint: 'The checkpoint is damaged: download it again.',
    details: { name },
  });
}

/** `kind` of stored values in quantization.cu. */
const KINDS = { f32: 0, bf16: 1, f16: 2, f8_e4m3: 3 } as const;

/** Parameters of quantization.cu for stored rows. @throws EngineError for 4-bit values */
export function storedSource({ address, row, columns, dtype, scale, flag }: StoredRows) {
  if (dtype === 'nf4') throw new EngineError('loadWeight: expected 16- or 32-bit or e4m3 values to quantise, got nf4');
  const [blockRows, blockColumns] = scale?.block ?? [1, 1];
  return {
    ...{ x: address, kind: KINDS[dtype], first: row, columns, blockRows, blockColumns, across: scale?.across ?? 0 },
    ...{ factors: scale?.factors.address, flag: flag! },
  };
}

/** Queues the conversion of stored rows to bf16 rows at `target`. */
export function convertRows(
  kernels: KernelLauncher,
  target: { readonly address: DevicePointer; readonly ld: number },
  { address, row, rows, columns, dtype, scale, flag }: StoredRows,
): void {
  const plain = { out: target.address, x: address, rows, columns, ldo: target.ld, ldx: columns };
  const grid = grid2(rows, columns);
  if (!scale) kernels.launch(dtype === 'f32' ? KERNELS.f32ToBf16 : KERNELS.f16ToBf16, grid, plain);
  else {
    const [blockRows, blockColumns] = scale.block;
    kernels.launch(KERNELS.e4m3ToBf16, grid, {
      ...plain,
      ...{ factors: scale.factors.address, first: row, blockRows, blockColumns, across: scale.across },
      flag: flag!,
    });
  }
}
