/**
 * A device that keeps bytes and copies them, and runs no kernels: for what an engine does around its launches. Like Dawn it
 * reports errors late, and leaves a whole batch out if one of its commands uses a buffer that is not there.
 */
import type {
  GpuBuffer,
  GpuCommandEncoder,
  GpuComputePass,
  GpuDevice,
  GpuLimits,
} from '../../../src/engine/webgpu/gpu-types.js';

type Command = () => void;
type Listener = (event: { readonly error: { readonly message: string } }) => void;

class FakeBuffer implements GpuBuffer {
  readonly size: number;
  readonly bytes: Uint8Array;
  readonly isMissing: boolean;
  isDestroyed = false;
  isMapped = false;
  readonly #device: FakeDevice;

  constructor(device: FakeDevice, size: number, isMissing: boolean) {
    this.#device = device;
    this.size = size;
    this.isMissing = isMissing;
    this.bytes = new Uint8Array(isMissing || !device.keepsBytes ? 0 : size);
  }

  async mapAsync(): Promise<void> {
    await this.#device.queue.onSubmittedWorkDone();
    if (this.isDestroyed || this.#device.isDestroyed) throw new DOMException('', 'AbortError');
    this.isMapped = true;
  }

  getMappedRange(offset = 0, size = this.size - offset): ArrayBuffer {
    if (!this.isMapped) throw new Error('the buffer is not mapped');
    return this.#device.keepsBytes ? this.bytes.slice(offset, offset + size).buffer : new ArrayBuffer(size);
  }

  unmap(): void {
    this.isMapped = false;
  }

  destroy(): void {
    if (!this.isDestroyed) this.#device.buffers.delete(this);
    this.isDestroyed = true;
  }
}

class FakeEncoder implements GpuCommandEncoder {
  readonly uses: FakeBuffer[] = [];
  readonly commands: Command[] = [];
  readonly #device: FakeDevice;

  constructor(device: FakeDevice) {
    this.#device = device;
  }

  beginComputePass(): GpuComputePass {
    let bound: readonly FakeBuffer[] = [];
    const launches = this.#device.launches;
    return {
      setPipeline: () => {},
      setBindGroup: (_, group) => {
        bound = (group as { readonly buffers: readonly FakeBuffer[] }).buffers;
      },
      dispatchWorkgroups: (x, y = 1, z = 1) => {
        this.uses.push(...bound);
        this.commands.push(() => launches.push([x, y, z]));
      },
      end: () => {},
    };
  }

  copyBufferToBuffer(from: GpuBuffer, fromOffset: number, to: GpuBuffer, toOffset: number, size: number): void {
    const [source, target] = [from as FakeBuffer, to as FakeBuffer];
    this.uses.push(source, target);
    this.commands.push(() => target.bytes.set(source.bytes.subarray(fromOffset, fromOffset + size), toOffset));
  }

  clearBuffer(buffer: GpuBuffer, offset = 0, size = buffer.size - offset): void {
    const target = buffer as FakeBuffer;
    this.uses.push(target);
    this.commands.push(() => target.bytes.fill(0, offset, offset + size));
  }

  finish(): object {
    return this;
  }
}

export class FakeDevice implements GpuDevice {
  readonly features = new Set<string>();
  readonly limits: GpuLimits;
  readonly adapterInfo = { vendor: 'test', description: 'a device for tests' };
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  /** Not destroyed yet. */
  readonly buffers = new Set<FakeBuffer>();
  /** Workgroups of the launches that ran. */
  readonly launches: (readonly number[])[] = [];
  isDestroyed = false;
  submitted = 0;
  /** Bytes that the device has. */
  memoryBytes: number;
  /** Else buffers have a size alone, and all values are zero: for models of real size. */
  readonly keepsBytes: boolean;
  #lose: (lost: { readonly reason: string; readonly message: string }) => void = () => {};
  readonly #listeners = new Set<Listener>();
  readonly #scopes: (string | undefined)[] = [];

  constructor({ memoryBytes = Number.POSITIVE_INFINITY, bindingBytes = 1 << 27, keepsBytes = true } = {}) {
    this.keepsBytes = keepsBytes;
    this.memoryBytes = memoryBytes;
    this.limits = {
      maxBufferSize: bindingBytes,
      maxStorageBufferBindingSize: bindingBytes,
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16384,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      maxComputeWorkgroupsPerDimension: 65535,
    };
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
  }

  readonly queue = {
    writeBuffer: (
      buffer: GpuBuffer,
      offset: number,
      data: ArrayBuffer | SharedArrayBuffer | ArrayBufferView,
      dataOffset = 0,
      size?: number,
    ): void => {
      const target = buffer as FakeBuffer;
      const bytes = ArrayBuffer.isView(data)
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        : new Uint8Array(data);
      const part = bytes.subarray(dataOffset, size === undefined ? undefined : dataOffset + size);
      if (!this.keepsBytes) return;
      if (target.isMissing) this.raise('[Invalid Buffer] is invalid due to a previous error.');
      else if (part.length % 4 !== 0 || offset % 4 !== 0) this.raise(`a write of ${part.length} bytes at ${offset}`);
      else if (offset + part.length > target.size) this.raise('a write past the end of its buffer');
      else target.bytes.set(part, offset);
    },
    submit: (buffers: Iterable<object>): void => {
      for (const encoder of buffers as Iterable<FakeEncoder>) {
        this.submitted++;
        if (encoder.uses.some(({ isMissing }) => isMissing)) {
          this.raise('[Invalid CommandBuffer] is invalid due to a previous error.');
        } else if (encoder.uses.some(({ isDestroyed }) => isDestroyed)) {
          this.raise('[Buffer] used in submit while destroyed.');
        } else if (this.keepsBytes) for (const command of encoder.commands) command();
      }
    },
    onSubmittedWorkDone: async (): Promise<void> => {
      for (let turn = 0; turn < 3; turn++) await Promise.resolve();
    },
  };

  get usedBytes(): number {
    return [...this.buffers].reduce((sum, { size, isMissing }) => sum + (isMissing ? 0 : size), 0);
  }

  createBuffer({ size }: { size: number }): FakeBuffer {
    const isMissing = this.usedBytes + size > this.memoryBytes;
    if (isMissing) this.#scopes[this.#scopes.length - 1] = `no memory for ${size} bytes`;
    const buffer = new FakeBuffer(this, size, isMissing);
    this.buffers.add(buffer);
    return buffer;
  }

  createShaderModule(): object {
    return {};
  }

  createBindGroupLayout(): object {
    return {};
  }

  createPipelineLayout(): object {
    return {};
  }

  createComputePipeline(): object {
    return {};
  }

  createBindGroup({ entries }: { entries: Iterable<object> }): object {
    return {
      buffers: [...(entries as Iterable<{ resource: { buffer: FakeBuffer } }>)].map(({ resource }) => resource.buffer),
    };
  }

  createCommandEncoder(): FakeEncoder {
    return new FakeEncoder(this);
  }

  pushErrorScope(): void {
    this.#scopes.push(undefined);
  }

  async popErrorScope(): Promise<{ readonly message: string } | null> {
    const message = this.#scopes.pop();
    // Later than a few turns of whoever goes on at once.
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    return message === undefined ? null : { message };
  }

  addEventListener(_: 'uncapturederror', listener: Listener): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'uncapturederror', listener: Listener): void {
    this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** An error that no scope catches. */
  raise(message: string): void {
    for (const listener of this.#listeners) listener({ error: { message } });
  }

  lose(message: string): void {
    this.#lose({ reason: 'unknown', message });
  }

  destroy(): void {
    this.isDestroyed = true;
    this.#lose({ reason: 'destroyed', message: 'the device was destroyed' });
  }
}
