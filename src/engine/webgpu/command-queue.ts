/**
 * What is sent to the device, in order: launches gather in one command buffer with their uniforms and small tables, and go
 * out together. A freed range may be written by what comes next, as everything runs in this order.
 */
import { eventLoopTurn } from '../../async/event-loop.js';
import { EngineError, type OutOfMemoryError, reasonOf } from '../../errors.js';
import { BindGroups } from './bind-groups.js';
import { DeviceFailures } from './device-failures.js';
import {
  BUFFER_USAGE,
  type BufferRange,
  type GpuBindGroup,
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuComputePass,
  type GpuDevice,
  type GpuPipeline,
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

/** A table that is on the device until tables begin anew. */
interface HeldTable {
  readonly range: BufferRange;
  readonly byteLength: number;
  readonly round: number;
}

export class CommandQueue {
  readonly #device: GpuDevice;
  readonly uniforms: GpuBuffer;
  readonly #tables: GpuBuffer;
  readonly bindGroups: BindGroups;
  readonly #uniformBytes = new Uint8Array(UNIFORM_BYTES * LAUNCHES);
  /** The uniforms of the launches that gather, as f32 and as u32. Every machine that WebGPU runs on is little-endian. */
  readonly floats = new Float32Array(this.#uniformBytes.buffer);
  readonly words = new Uint32Array(this.#uniformBytes.buffer);
  /** Of the launch that is added. */
  readonly #offsets = [0];
  /** What `#tables` holds, or will with the next batch. */
  readonly #tableBytes = Buffer.alloc(TABLE_BYTES);
  #launches = 0;
  #tableEnd = 0;
  /** Bytes of the tables that are on the device. */
  #tablesSent = 0;
  /** How often tables have begun anew. */
  #tableRound = 0;
  readonly #heldTables = new WeakMap<ArrayBufferView, HeldTable>();
  /** Tables that launches still to come refer to. */
  #pins = 0;
  #encoder: GpuCommandEncoder | undefined;
  #pass: GpuComputePass | undefined;
  /** That the pass has set. */
  #pipeline: GpuPipeline | undefined;
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
    this.bindGroups = new BindGroups(device, { buffer: this.uniforms, offset: 0, size: UNIFORM_BYTES });
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

  /** Ends a buffer of `createStorage`. What has gathered must not use it. */
  destroyStorage(buffer: GpuBuffer): void {
    this.bindGroups.clear();
    buffer.destroy();
  }

  /** Room for the uniforms of the next launch: bytes from the start of `floats` and `words`. */
  reserve(): number {
    if (this.#launches >= LAUNCHES) this.flush();
    this.requireSound();
    return UNIFORM_BYTES * this.#launches++;
  }

  /** Adds a launch whose uniforms lie at the offset that `reserve` gave. */
  dispatch(pipeline: GpuPipeline, group: GpuBindGroup, offset: number, x: number, y: number, z: number): void {
    if (!this.#pass) {
      this.#pass = this.#commands().beginComputePass();
      this.#pipeline = undefined;
    }
    if (pipeline !== this.#pipeline) {
      this.#pass.setPipeline(pipeline);
      this.#pipeline = pipeline;
    }
    this.#offsets[0] = offset;
    this.#pass.setBindGroup(0, group, this.#offsets);
    this.#pass.dispatchWorkgroups(x, y, z);
  }

  /**
   * Calls `body` with a table that its launches may bind, read only; it is gone after it. An array with the values that it
   * had is still there from its last call, as layers share their lists. Longer tables than TABLE_BYTES throw:
   * `TensorStore.withTable` has a way for those.
   */
  withTable<T>(values: ArrayBufferView, body: (range: BufferRange) => T): T {
    const range = this.#heldTable(values) ?? this.#newTable(values);
    this.#pins++;
    try {
      return body(range);
    } finally {
      this.#pins--;
    }
  }

  #heldTable(values: ArrayBufferView): BufferRange | undefined {
    const held = this.#heldTables.get(values);
    if (held?.round !== this.#tableRound) return undefined;
    const { byteLength } = values;
    if (held.byteLength !== byteLength) return undefined;
    const { offset } = held.range;
    return this.#tableBytes.compare(bytesOf(values), 0, byteLength, offset, offset + byteLength) === 0
      ? held.range
      : undefined;
  }

  #newTable(values: ArrayBufferView): BufferRange {
    const { byteLength } = values;
    const size = 4 * Math.max(1, Math.ceil(byteLength / 4));
    if (this.#pins === 0 && this.#tableEnd + size > TABLE_BYTES / 2) {
      // Launches that have gathered read what is to be overwritten.
      this.flush();
      this.#tableEnd = 0;
      this.#tablesSent = 0;
      this.#tableRound++;
    }
    const offset = this.#tableEnd;
    if (offset + size > TABLE_BYTES) throw new EngineError(`tables of more than ${TABLE_BYTES} bytes at once`);
    this.#tableBytes.set(bytesOf(values), offset);
    this.#tableEnd = 256 * Math.ceil((offset + size) / 256);
    const range = { buffer: this.#tables, offset, size };
    this.#heldTables.set(values, { range, byteLength, round: this.#tableRound });
    return range;
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
    if (!this.#encoder) return;
    this.#endPass();
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    const { queue } = this.#device;
    if (this.#launches > 0) queue.writeBuffer(this.uniforms, 0, this.#uniformBytes, 0, UNIFORM_BYTES * this.#launches);
    const unsent = this.#tableEnd - this.#tablesSent;
    if (unsent > 0) queue.writeBuffer(this.#tables, this.#tablesSent, this.#tableBytes, this.#tablesSent, unsent);
    this.#tablesSent = this.#tableEnd;
    queue.submit([commands]);
    this.#batch++;
    this.#launches = 0;
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

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
