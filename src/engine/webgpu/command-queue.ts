/**
 * What is sent to the device, in order: launches gather in one command buffer with their uniforms and small tables, and go
 * out together. A freed range may be written by what comes next, as everything runs in this order.
 */
import { eventLoopTurn } from '../../async/event-loop.js';
import { EngineError, type OutOfMemoryError, reasonOf } from '../../errors.js';
import { DeviceFailures } from './device-failures.js';
import {
  BUFFER_USAGE,
  type BufferRange,
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuComputePass,
  type GpuDevice,
} from './gpu-types.js';

/** Bytes of the uniforms of a launch: the alignment that every device takes. */
export const UNIFORM_BYTES = 256;
/** Launches after which a batch goes out. */
const LAUNCHES = 128;
/** Bytes of the tables of a batch; longer ones take memory of their own. */
export const TABLE_BYTES = 4 << 20;
/** Bytes of writes that may wait for the device: its binding keeps a copy of each until it has run. */
const UPLOADS_AHEAD = 128 << 20;
/** Batches under way at most when more is queued: enough to keep the device busy, few enough to stop soon. */
const BATCHES_AHEAD = 6;

export class CommandQueue {
  readonly #device: GpuDevice;
  readonly uniforms: GpuBuffer;
  readonly #tables: GpuBuffer;
  readonly #uniformBytes = new Uint8Array(UNIFORM_BYTES * LAUNCHES);
  readonly #tableBytes = new Uint8Array(TABLE_BYTES);
  #launches = 0;
  #tableEnd = 0;
  /** Tables that launches still to come refer to. */
  #pins = 0;
  #encoder: GpuCommandEncoder | undefined;
  #pass: GpuComputePass | undefined;
  /** Ends of the batches under way, oldest first. */
  readonly #underWay: Promise<unknown>[] = [];
  /** For reading back, by size. */
  readonly #idleReads = new Map<number, GpuBuffer[]>();
  #uploadedBytes = 0;
  /** Settles when the writes before it have arrived. */
  #uploads: Promise<unknown> | undefined;
  /** Number of the batch that gathers. */
  #batch = 0;
  readonly failures: DeviceFailures;

  constructor(device: GpuDevice) {
    this.#device = device;
    const { uniform, storage, copyTarget } = BUFFER_USAGE;
    this.uniforms = device.createBuffer({ size: this.#uniformBytes.length, usage: uniform | copyTarget });
    this.#tables = device.createBuffer({ size: TABLE_BYTES, usage: storage | copyTarget });
    this.failures = new DeviceFailures(device);
  }

  /** @throws what has gone wrong on the device for good */
  requireSound(): void {
    this.failures.requireSound();
  }

  /**
   * A buffer for storage. What has gathered goes out before, so that it does not share a batch with commands of a buffer
   * that may not be there.
   * @param shortage made if there is no memory for it: the next wait throws it
   */
  createStorage(size: number, shortage: (message: string) => OutOfMemoryError): GpuBuffer {
    this.flush();
    this.requireSound();
    const { storage, copySource, copyTarget } = BUFFER_USAGE;
    const descriptor = { size, usage: storage | copySource | copyTarget };
    return this.failures.createBuffer(descriptor, this.#batch, shortage);
  }

  /** Room for the uniforms of the next launch. Gives the offset in `uniforms`, to be handed to `dispatch`. */
  reserve(): { readonly offset: number; readonly view: DataView } {
    if (this.#launches >= LAUNCHES) this.flush();
    this.requireSound();
    const offset = UNIFORM_BYTES * this.#launches++;
    return { offset, view: new DataView(this.#uniformBytes.buffer, offset, UNIFORM_BYTES) };
  }

  /** The compute pass to add a launch to. */
  pass(): GpuComputePass {
    this.#pass ??= this.#commands().beginComputePass();
    return this.#pass;
  }

  /**
   * Calls `body` with a table that its launches may bind, read only; it is gone after it. Longer tables than TABLE_BYTES
   * throw: `TensorStore.withTable` has a way for those.
   */
  withTable<T>(values: ArrayBufferView, body: (range: BufferRange) => T): T {
    const size = 4 * Math.max(1, Math.ceil(values.byteLength / 4));
    if (this.#pins === 0 && this.#tableEnd + size > TABLE_BYTES / 2) this.flush();
    const offset = this.#tableEnd;
    if (offset + size > TABLE_BYTES) throw new EngineError(`tables of more than ${TABLE_BYTES} bytes at once`);
    this.#tableBytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), offset);
    this.#tableEnd = 256 * Math.ceil((offset + size) / 256);
    this.#pins++;
    try {
      return body({ buffer: this.#tables, offset, size });
    } finally {
      this.#pins--;
    }
  }

  /** Writes values as they are now. */
  upload({ buffer, offset }: BufferRange, data: ArrayBufferView): void {
    // Launches that wait here come before it, and may read what was there.
    this.flush();
    this.requireSound();
    this.#device.queue.writeBuffer(buffer, offset, data);
    this.#uploadedBytes += data.byteLength;
  }

  /** For whoever writes without end: resolves when only so much waits as keeps the device busy. */
  async keepUploads(): Promise<void> {
    if (this.#uploadedBytes >= UPLOADS_AHEAD) {
      this.#uploadedBytes = 0;
      const queued = this.#device.queue.onSubmittedWorkDone();
      this.#uploads = queued.then(
        () => {},
        () => {},
      );
    }
    await this.#uploads;
    this.requireSound();
  }

  clear({ buffer, offset, size }: BufferRange): void {
    this.requireSound();
    this.#commands().clearBuffer(buffer, offset, size);
  }

  /** Between two buffers. */
  copy(from: BufferRange, to: BufferRange, size: number): void {
    this.requireSound();
    this.#commands().copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, size);
  }

  /** Queues a copy of the range to the host. Gives what waits for it; it may be called late, and once. */
  download({ buffer, offset }: BufferRange, bytes: number): () => Promise<ArrayBuffer> {
    if (bytes === 0) return async () => new ArrayBuffer(0);
    this.requireSound();
    const size = Math.max(256, 2 ** Math.ceil(Math.log2(bytes)));
    const target = this.#idleReads.get(size)?.pop() ?? this.#readBuffer(size);
    this.#commands().copyBufferToBuffer(buffer, offset, target, 0, 4 * Math.ceil(bytes / 4));
    const batch = this.#batch;
    this.flush();
    const mapped = target.mapAsync(1, 0, size);
    mapped.catch(() => {});
    return async () => {
      try {
        await mapped;
        await this.failures.requireComputed(batch);
      } catch (cause) {
        target.destroy();
        if (cause instanceof EngineError) throw cause;
        // That the device is lost becomes known a little after what it did not give.
        await eventLoopTurn();
        await this.failures.requireComputed(batch);
        throw new EngineError(`the GPU did not give what was to be read: ${reasonOf(cause)}`, { cause });
      }
      const copy = target.getMappedRange(0, size).slice(0, bytes);
      target.unmap();
      const idle = this.#idleReads.get(size);
      if (size > 64 << 20) target.destroy();
      else if (idle) idle.push(target);
      else this.#idleReads.set(size, [target]);
      return copy;
    };
  }

  /** Sends what has gathered. */
  flush(): void {
    if (!this.#encoder) {
      if (this.#pins === 0) this.#tableEnd = 0;
      return;
    }
    this.#endPass();
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    const { queue } = this.#device;
    if (this.#launches > 0) queue.writeBuffer(this.uniforms, 0, this.#uniformBytes, 0, UNIFORM_BYTES * this.#launches);
    if (this.#tableEnd > 0) queue.writeBuffer(this.#tables, 0, this.#tableBytes, 0, this.#tableEnd);
    queue.submit([commands]);
    this.#batch++;
    this.#launches = 0;
    // Launches to come refer to tables that are pinned: those keep their places, and go out again with the next batch.
    if (this.#pins === 0) this.#tableEnd = 0;
    const ended = (): void => void this.#underWay.shift();
    const done = queue.onSubmittedWorkDone().then(ended, ended);
    this.#underWay.push(done);
  }

  /**
   * Sends what has gathered, and resolves when the device has only a few batches left.
   * @throws OutOfMemoryError if a buffer made since the last wait is missing; what has gone wrong for good
   */
  async keepPace(): Promise<void> {
    this.flush();
    while (this.#underWay.length > BATCHES_AHEAD) await this.#underWay[0];
    await this.failures.requireMemory(() => this.#lastBatch());
  }

  /** @throws OutOfMemoryError if the buffer of `createStorage` is not there; what has gone wrong for good */
  requireBuffer(buffer: GpuBuffer): Promise<void> {
    return this.failures.requireBuffer(buffer, () => this.#lastBatch());
  }

  dispose(): void {
    this.failures.dispose();
    this.uniforms.destroy();
    this.#tables.destroy();
    for (const buffers of this.#idleReads.values()) for (const buffer of buffers) buffer.destroy();
    this.#idleReads.clear();
  }

  #lastBatch(): number {
    this.flush();
    return this.#batch - 1;
  }

  #readBuffer(size: number): GpuBuffer {
    return this.#device.createBuffer({ size, usage: BUFFER_USAGE.mapRead | BUFFER_USAGE.copyTarget });
  }

  /** For commands that are no launches. */
  #commands(): GpuCommandEncoder {
    this.#endPass();
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
