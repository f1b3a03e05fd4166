/**
 * The CUDA driver API through FFI: one context, one compute stream and one copy stream, every status checked.
 * Handles and device pointers are plain numbers (below 2^53). Source: CUDA Driver API reference.
 */
import { EngineError, OutOfMemoryError } from '../../errors.js';
import { type ForeignFunction, foreignCalls } from './foreign-calls.js';
import { type DevicePointer, type Grid, ParameterBlock } from './launch.js';
import { foreignFunctions, loadLibrary, outHandle } from './library-search.js';
import { ownCard } from './own-card.js';
import { NvmlProcess } from './process-memory.js';

const CUDA_ERROR_OUT_OF_MEMORY = 2;
const CUDA_ERROR_NOT_READY = 600;

/** Device attributes, by their numbers in CUdevice_attribute. */
const ATTRIBUTES = {
  multiprocessors: 16,
  major: 75,
  minor: 76,
  virtualMemory: 102,
} as const;
const FUNC_MAX_DYNAMIC_SHARED = 8;
const STREAM_NON_BLOCKING = 1;
const EVENT_DISABLE_TIMING = 2;
const MEMORY_HOST = 1;
const MEMORY_DEVICE = 2;
const LAUNCH_TYPES = ['uint64', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint', 'uint64', 'void*', 'void*'];

interface DeviceInfo {
  readonly ordinal: number;
  readonly name: string;
  /** Compute capability, e.g. 90. */
  readonly capability: number;
  readonly multiprocessors: number;
  readonly totalBytes: number;
  readonly driverVersion: number;
  /** Whether address ranges can be reserved and backed apart. */
  readonly hasVirtualMemory: boolean;
}

export interface KernelFunction {
  readonly name: string;
  readonly handle: number;
}

/** Page-locked host memory; uploads from it and downloads to it do not block. */
export interface PinnedBlock {
  readonly bytes: Uint8Array;
  free(): void;
}

/** The context that this thread's calls go to: with several cards each call makes its own current first. */
let current: number | undefined;

export class CudaDriver {
  readonly device: DeviceInfo;
  readonly context: number;
  /** Kernels and products are queued here, in order. */
  readonly stream: number;
  /** Uploads that run beside the compute stream. */
  readonly copyStream: number;
  /** Device memory of this process. */
  readonly process: NvmlProcess;
  /** Kernels and products queued so far. */
  launches = 0;
  readonly #function: ReturnType<typeof foreignFunctions>;
  readonly #deviceHandle: number;
  /** Of the next launch. One block serves them all: the driver copies it before cuLaunchKernel returns. */
  readonly parameters = new ParameterBlock();
  readonly #pointers: BigUint64Array;
  readonly #launch: ForeignFunction;
  /** Passed when what was queued before a copy to or from another card is done. */
  #handover: number | undefined;
  /** CUDA_MEMCPY2D: sixteen 8-byte fields. */
  readonly #copyBlock = new DataView(new ArrayBuffer(128));

  /** @param given which card, as nvidia-smi counts them; CUDA_VISIBLE_DEVICES applies. Default: that of `ownCard` */
  constructor(given?: number) {
    this.#function = foreignFunctions(loadLibrary('driver').library);
    this.#plainCall('cuInit', ['uint'], 0);
    const ordinal = given ?? ownCard(this.#outInt((out) => this.#plainCall('cuDeviceGetCount', ['void*'], out)));
    const device = this.#outInt((out) => this.#plainCall('cuDeviceGet', ['void*', 'int'], out, ordinal));
    this.#deviceHandle = device;
    this.process = new NvmlProcess(this.#busId(device));
    this.context = outHandle((out) => this.#plainCall('cuDevicePrimaryCtxRetain', ['void*', 'int'], out, device));
    current = undefined;
    this.makeCurrent();
    this.device = this.#describe(device, ordinal);
    this.stream = this.createStream();
    this.copyStream = this.createStream();
    this.process.noteContext();
    const { bytes } = this.parameters;
    const base = foreignCalls().address(bytes);
    this.#pointers = BigUint64Array.from({ length: bytes.length / 8 }, (_, i) => base + BigInt(8 * i));
    this.#launch = this.#function('cuLaunchKernel', LAUNCH_TYPES);
  }

  /** Calls of this thread go to this card's context from here on; the driver's own methods see to it themselves. */
  makeCurrent(): void {
    if (current === this.context) return;
    this.#plainCall('cuCtxSetCurrent', ['uint64'], this.context);
    current = this.context;
  }

  createStream(): number {
    return outHandle((out) => this.call('cuStreamCreate', ['void*', 'uint'], out, STREAM_NON_BLOCKING));
  }

  destroyStream(stream: number): void {
    this.call('cuStreamDestroy_v2', ['uint64'], stream);
  }

  /** Of the card itself, also for a part of one (MIG): the same for all processes of all machines. */
  cardId(): string {
    const id = new Uint8Array(16);
    this.call('cuDeviceGetUuid', ['void*', 'int'], id, this.#deviceHandle);
    return Buffer.from(id).toString('hex');
  }

  /** @throws OutOfMemoryError for a full card; EngineError */
  allocate(bytes: number): DevicePointer {
    return outHandle((out) => this.call('cuMemAlloc_v2', ['void*', 'size_t'], out, bytes)) as DevicePointer;
  }

  free(pointer: number): void {
    this.call('cuMemFree_v2', ['uint64'], pointer);
  }

  allocatePinned(bytes: number): PinnedBlock {
    const types = ['void*', 'size_t', 'uint'];
    const address = outHandle((out) => this.call('cuMemHostAlloc', types, out, bytes, 0));
    const view = new Uint8Array(foreignCalls().view(BigInt(address), bytes));
    return { bytes: view, free: () => this.call('cuMemFreeHost', ['uint64'], address) };
  }

  memoryInfo(): { free: number; total: number } {
    const out = [new BigUint64Array(1), new BigUint64Array(1)] as const;
    this.call('cuMemGetInfo_v2', ['void*', 'void*'], out[0], out[1]);
    return { free: Number(out[0][0]), total: Number(out[1][0]) };
  }

  /** Queues a copy. `source` stays as it is until the stream has passed it, or is pageable and read at once. */
  upload(target: DevicePointer, source: ArrayBufferView, stream = this.stream): void {
    if (source.byteLength === 0) return;
    const types = ['uint64', 'void*', 'size_t', 'uint64'];
    this.call('cuMemcpyHtoDAsync_v2', types, target, source, source.byteLength, stream);
  }

  /** Queues a copy of `rows` packed host rows of `rowBytes` to device rows that lie `pitch` bytes apart. */
  uploadRows(
    target: DevicePointer,
    pitch: number,
    source: Uint8Array,
    rowBytes: number,
    rows: number,
    stream = this.stream,
  ): void {
    if (rows === 0 || rowBytes === 0) return;
    this.#copy2D(MEMORY_HOST, Number(foreignCalls().address(source)), rowBytes, target, pitch, rowBytes, rows, stream);
  }

  /** Queues a copy of `rows` rows of `rowBytes` between device rows of different strides (bytes). */
  copyRows(
    target: DevicePointer,
    targetPitch: number,
    source: DevicePointer,
    sourcePitch: number,
    rowBytes: number,
    rows: number,
  ): void {
    if (rows === 0 || rowBytes === 0) return;
    if (targetPitch === rowBytes && sourcePitch === rowBytes) this.copy(target, source, rowBytes * rows);
    else this.#copy2D(MEMORY_DEVICE, source, sourcePitch, target, targetPitch, rowBytes, rows, this.stream);
  }

  downloadAsync(target: ArrayBufferView, source: DevicePointer, stream = this.stream): void {
    if (target.byteLength === 0) return;
    const types = ['void*', 'uint64', 'size_t', 'uint64'];
    this.call('cuMemcpyDtoHAsync_v2', types, target, source, target.byteLength, stream);
  }

  copy(target: DevicePointer, source: DevicePointer, bytes: number): void {
    if (bytes === 0) return;
    this.call('cuMemcpyDtoDAsync_v2', ['uint64', 'uint64', 'size_t', 'uint64'], target, source, bytes, this.stream);
  }

  /**
   * Queues a copy from another card, behind what is queued on both: that one goes on when the copy is done. Where cards do
   * not reach each other, the driver copies through host memory.
   */
  copyFromPeer(target: DevicePointer, source: DevicePointer, bytes: number, peer: object): void {
    if (!(peer instanceof CudaDriver)) throw new EngineError('copyFromPeer: the other engine has no card');
    if (bytes === 0) return;
    peer.#orderBefore(this);
    if (peer.context === this.context) this.copy(target, source, bytes);
    else {
      const types = ['uint64', 'uint64', 'uint64', 'uint64', 'size_t', 'uint64'];
      this.call('cuMemcpyPeerAsync', types, target, this.context, source, peer.context, bytes, this.stream);
    }
    this.#orderBefore(peer);
  }

  /** What is queued there from here on waits for what is queued here. */
  #orderBefore(other: CudaDriver): void {
    this.#handover ??= this.createEvent();
    this.recordEvent(this.#handover);
    other.waitEvent(this.#handover);
  }

  fillBytes(target: DevicePointer, value: number, bytes: number): void {
    if (bytes === 0) return;
    this.call('cuMemsetD8Async', ['uint64', 'uint8', 'size_t', 'uint64'], target, value, bytes, this.stream);
  }

  /** Queues zeros into `rows` rows of `rowBytes` that lie `pitch` bytes apart. */
  clearRows(target: DevicePointer, pitch: number, rowBytes: number, rows: number): void {
    if (rows === 0 || rowBytes === 0) return;
    const types = ['uint64', 'size_t', 'uint8', 'size_t', 'size_t', 'uint64'];
    this.call('cuMemsetD2D8Async', types, target, pitch, 0, rowBytes, rows, this.stream);
  }

  synchronize(stream = this.stream): void {
    this.call('cuStreamSynchronize', ['uint64'], stream);
  }

  createEvent(timing = false): number {
    const flags = timing ? 0 : EVENT_DISABLE_TIMING;
    return outHandle((out) => this.call('cuEventCreate', ['void*', 'uint'], out, flags));
  }

  recordEvent(event: number, stream = this.stream): void {
    this.call('cuEventRecord', ['uint64', 'uint64'], event, stream);
  }

  waitEvent(event: number, stream = this.stream): void {
    this.call('cuStreamWaitEvent', ['uint64', 'uint64', 'uint'], stream, event, 0);
  }

  eventDone(event: number): boolean {
    this.makeCurrent();
    const status = this.#function('cuEventQuery', ['uint64'])(event);
    if (status === 0) return true;
    if (status === CUDA_ERROR_NOT_READY) return false;
    throw this.#failure('cuEventQuery', status);
  }

  synchronizeEvent(event: number): void {
    this.call('cuEventSynchronize', ['uint64'], event);
  }

  elapsedMilliseconds(start: number, end: number): number {
    const out = new Float32Array(1);
    this.call('cuEventElapsedTime', ['void*', 'uint64', 'uint64'], out, start, end);
    return out[0]!;
  }

  destroyEvent(event: number): void {
    this.call('cuEventDestroy_v2', ['uint64'], event);
  }

  loadModule(code: Uint8Array): number {
    return outHandle((out) => this.call('cuModuleLoadData', ['void*', 'void*'], out, code));
  }

  kernel(module: number, name: string, dynamicSharedBytes = 0): KernelFunction {
    const types = ['void*', 'uint64', 'str'];
    const handle = outHandle((out) => this.call('cuModuleGetFunction', types, out, module, name));
    if (dynamicSharedBytes > 48 << 10) {
      this.call('cuFuncSetAttribute', ['uint64', 'int', 'int'], handle, FUNC_MAX_DYNAMIC_SHARED, dynamicSharedBytes);
    }
    return { name, handle };
  }

  /** Queues a kernel with the values in `parameters`. */
  launch(kernel: KernelFunction, grid: Grid, block: number, sharedBytes: number): void {
    const x = grid[0];
    const y = grid[1] ?? 1;
    const z = grid[2] ?? 1;
    if (x === 0 || y === 0 || z === 0) return;
    this.launches++;
    this.makeCurrent();
    const status = this.#launch(kernel.handle, x, y, z, block, 1, 1, sharedBytes, this.stream, this.#pointers, null);
    if (status !== 0) throw this.#failure(`launch of ${kernel.name}, grid ${grid.join('×')}, block ${block}`, status);
  }

  /** Gives the context back; everything allocated must be freed before, as others may share it. */
  dispose(): void {
    this.synchronize();
    if (this.#handover !== undefined) this.destroyEvent(this.#handover);
    for (const stream of [this.stream, this.copyStream]) this.destroyStream(stream);
    this.call('cuDevicePrimaryCtxRelease_v2', ['int'], this.#deviceHandle);
    // The context may be gone: the next call of any card sets its own.
    current = undefined;
  }

  /** Any other function of the driver. @throws EngineError if its status is not 0 */
  call(name: string, parameters: readonly string[], ...values: unknown[]): void {
    this.makeCurrent();
    this.#plainCall(name, parameters, ...values);
  }

  #plainCall(name: string, parameters: readonly string[], ...values: unknown[]): void {
    const status = this.#function(name, parameters)(...values);
    if (status !== 0) throw this.#failure(name, status);
  }

  #copy2D(
    sourceType: number,
    source: number,
    sourcePitch: number,
    target: number,
    targetPitch: number,
    rowBytes: number,
    rows: number,
    stream: number,
  ): void {
    const isHost = sourceType === MEMORY_HOST;
    // srcX, srcY, type, host, device, array, pitch; the same of the target; width, height.
    const source8 = [0, 0, sourceType, isHost ? source : 0, isHost ? 0 : source, 0, sourcePitch];
    const target8 = [0, 0, MEMORY_DEVICE, 0, target, 0, targetPitch];
    for (const [i, value] of [...source8, ...target8, rowBytes, rows].entries()) {
      this.#copyBlock.setUint32(8 * i, value % 4294967296, true);
      this.#copyBlock.setUint32(8 * i + 4, Math.floor(value / 4294967296), true);
    }
    this.call('cuMemcpy2DAsync_v2', ['void*', 'uint64'], this.#copyBlock, stream);
  }

  /** PCI address, e.g. 0000:1B:00.0 */
  #busId(device: number): string {
    const text = new Uint8Array(32);
    this.#plainCall('cuDeviceGetPCIBusId', ['void*', 'int', 'int'], text, text.length, device);
    return Buffer.from(text.subarray(0, text.indexOf(0))).toString();
  }

  #describe(device: number, ordinal: number): DeviceInfo {
    const name = new Uint8Array(128);
    this.call('cuDeviceGetName', ['void*', 'int', 'int'], name, name.length, device);
    const attribute = (id: number): number =>
      this.#outInt((out) => this.call('cuDeviceGetAttribute', ['void*', 'int', 'int'], out, id, device));
    return {
      ordinal,
      name: Buffer.from(name.subarray(0, name.indexOf(0))).toString(),
      capability: 10 * attribute(ATTRIBUTES.major) + attribute(ATTRIBUTES.minor),
      multiprocessors: attribute(ATTRIBUTES.multiprocessors),
      totalBytes: outHandle((out) => this.call('cuDeviceTotalMem_v2', ['void*', 'int'], out, device)),
      driverVersion: this.#outInt((out) => this.call('cuDriverGetVersion', ['void*'], out)),
      hasVirtualMemory: attribute(ATTRIBUTES.virtualMemory) === 1,
    };
  }

  #failure(what: string, status: number): EngineError {
    const message = new BigUint64Array(1);
    let text = `error ${status}`;
    if (this.#function('cuGetErrorString', ['int', 'void*'])(status, message) === 0 && message[0]) {
      text = `${status} (${foreignCalls().decode(message, 'str')})`;
    }
    const Class = status === CUDA_ERROR_OUT_OF_MEMORY ? OutOfMemoryError : EngineError;
    const hint = status === 100 ? 'no NVIDIA card is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES' : undefined;
    return new Class(`CUDA: ${what} failed: ${text}`, { hint, status });
  }

  #outInt(body: (out: Int32Array) => void): number {
    const out = new Int32Array(1);
    body(out);
    return out[0]!;
  }
}
