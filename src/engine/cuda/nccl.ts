/**
 * NCCL through FFI: what the sum of gradients over ranks needs of it. All communicators are non-blocking, as only those
 * can be given up while a rank is lost: what a call has begun is finished when `isReady` says so. Source: nccl.h.
 */
import { EngineError, reasonOf } from '../../errors.js';
import { type ForeignFunction, foreignCalls } from './foreign-calls.js';
import type { DevicePointer } from './launch.js';
import { foreignFunctions, libraryNeeds, loadLibrary, outHandle } from './library-search.js';

/** NCCL as the engine uses it; a test gives a stand-in. Communicators are numbers. */
export interface NcclLibrary {
  /** As `ncclGetVersion` gives it, e.g. 22803 for 2.28.3. */
  readonly version: number;
  readonly path: string;
  /** By which ranks find each other: one of them makes it and gives it to all. */
  uniqueId(): Uint8Array;
  /** Begins to connect this rank, on the card whose context is current. */
  begin(worldSize: number, id: Uint8Array, rank: number): number;
  /** Whether what was begun is through. @throws EngineError if it, or the connection, has failed */
  isReady(communicator: number): boolean;
  /** The card of a communicator that is ready, among those that are visible. */
  device(communicator: number): number;
  /** Begins to queue, on the stream, the sum of float32 values over all ranks, in place. */
  allReduce(communicator: number, values: DevicePointer, count: number, stream: number): void;
  /** Begins the orderly end. */
  finalize(communicator: number): void;
  /** Frees one that has come to its orderly end. */
  destroy(communicator: number): void;
  /** Ends kernels and connections at once and frees it; nothing else may be called with it from now on. */
  abort(communicator: number): Promise<void>;
}

/** The first with non-blocking communicators. */
const OLDEST = 21400;
const UNIQUE_ID_BYTES = 128;
/** ncclConfig_t of 2.14: later libraries take what it lacks as not set. */
const CONFIG_BYTES = 24;
const CONFIG_MAGIC = 0xcafebeef;
const [FLOAT32, SUM] = [7, 0];
const [SUCCESS, IN_PROGRESS] = [0, 7];
const RESULTS = [
  'ncclSuccess',
  'ncclUnhandledCudaError',
  'ncclSystemError',
  'ncclInternalError',
  'ncclInvalidArgument',
  'ncclInvalidUsage',
  'ncclRemoteError',
  'ncclInProgress',
  'ncclTimeout',
];

export class Nccl implements NcclLibrary {
  readonly version: number;
  readonly path: string;
  readonly #function: ReturnType<typeof foreignFunctions>;
  readonly #text: (name: 'ncclGetErrorString' | 'ncclGetLastError', value: number) => string;
  /** Out-parameters: the library writes into that of `begin` until it is ready. */
  readonly #handles = new Map<number, BigUint64Array>();

  /** @param load a test gives a library of its own @throws EngineError if it is not found or too old */
  constructor(load: () => ReturnType<typeof loadLibrary> = () => loadLibrary('nccl')) {
    // Multicast objects take the GPUs of some hosts out of service; sums of this size gain nothing by them.
    process.env.NCCL_NVLS_ENABLE ??= '0';
    const { library, path } = load();
    this.path = path;
    this.#function = foreignFunctions(library);
    const texts: Readonly<Record<string, ForeignFunction>> = {
      ncclGetErrorString: library.func('ncclGetErrorString', 'uint64', ['int']),
      ncclGetLastError: library.func('ncclGetLastError', 'uint64', ['uint64']),
    };
    this.#text = (name, value) => {
      const address = BigInt(texts[name]!(value));
      return address === 0n ? '' : foreignCalls().decode(BigUint64Array.of(address), 'str');
    };
    const version = new Int32Array(1);
    this.#call('ncclGetVersion', ['void*'], version);
    this.version = version[0]!;
    if (this.version < OLDEST) {
      throw new EngineError(
        `training on several GPUs needs NCCL ${ncclVersion(OLDEST)} or later, but ${path} is ${ncclVersion(this.version)}`,
        { hint: libraryNeeds('nccl').cure },
      );
    }
    defineUniqueId();
  }

  uniqueId(): Uint8Array {
    const id = new Uint8Array(UNIQUE_ID_BYTES);
    this.#call('ncclGetUniqueId', ['void*'], id);
    return id;
  }

  begin(worldSize: number, id: Uint8Array, rank: number): number {
    const config = new DataView(new ArrayBuffer(CONFIG_BYTES));
    config.setBigUint64(0, BigInt(CONFIG_BYTES), true);
    config.setUint32(8, CONFIG_MAGIC, true);
    config.setUint32(12, OLDEST, true);
    // Not blocking.
    config.setInt32(16, 0, true);
    const types = ['void*', 'int', 'ncclUniqueId', 'int', 'void*'];
    let held!: BigUint64Array;
    const communicator = outHandle((out) => {
      held = out;
      this.#call('ncclCommInitRankConfig', types, out, worldSize, { internal: id }, rank, config);
    });
    this.#handles.set(communicator, held);
    return communicator;
  }

  isReady(communicator: number): boolean {
    const state = new Int32Array(1);
    this.#call('ncclCommGetAsyncError', ['uint64', 'void*'], communicator, state);
    if (state[0] === IN_PROGRESS) return false;
    if (state[0] !== SUCCESS) throw this.#failure('the connection of the ranks', state[0]!);
    return true;
  }

  device(communicator: number): number {
    const device = new Int32Array(1);
    this.#call('ncclCommCuDevice', ['uint64', 'void*'], communicator, device);
    return device[0]!;
  }

  allReduce(communicator: number, values: DevicePointer, count: number, stream: number): void {
    const types = ['uint64', 'uint64', 'size_t', 'int', 'int', 'uint64', 'uint64'];
    this.#call('ncclAllReduce', types, values, values, count, FLOAT32, SUM, communicator, stream);
  }

  finalize(communicator: number): void {
    this.#call('ncclCommFinalize', ['uint64'], communicator);
  }

  destroy(communicator: number): void {
    this.#call('ncclCommDestroy', ['uint64'], communicator);
    this.#handles.delete(communicator);
  }

  abort(communicator: number): Promise<void> {
    // It waits for kernels and threads to end: on another thread, so that this one can tell and save.
    return new Promise((resolve, reject) => {
      this.#function('ncclCommAbort', ['uint64']).async(communicator, (error: unknown, status: number) => {
        this.#handles.delete(communicator);
        if (error) reject(new EngineError(`NCCL: ncclCommAbort failed: ${reasonOf(error)}`, { cause: error }));
        else if (status !== SUCCESS && status !== IN_PROGRESS) reject(this.#failure('ncclCommAbort', status));
        else resolve();
      });
    });
  }

  /** @throws EngineError if it fails; what goes on is fine */
  #call(name: string, parameters: readonly string[], ...values: unknown[]): void {
    const status = this.#function(name, parameters)(...values);
    if (status !== SUCCESS && status !== IN_PROGRESS) throw this.#failure(name, status);
  }

  #failure(what: string, status: number): EngineError {
    const text = this.#text('ncclGetErrorString', status);
    // A library fault may have left no words, or those of an earlier one.
    const last = this.#text('ncclGetLastError', 0).trim();
    const result = RESULTS[status] ?? `result ${status}`;
    return new EngineError(`NCCL: ${what} failed: ${result} (${text})${last ? `; its last message: ${last}` : ''}`, {
      hint: 'NCCL_DEBUG=INFO makes NCCL print the cause on every rank.',
      status,
      details: { result },
    });
  }
}

/** 22803 → 2.28.3; up to 2.8 it had a digit less: 2708 → 2.7.8 */
export function ncclVersion(version: number): string {
  const major = version < 10_000 ? 1000 : 10_000;
  return `${Math.floor(version / major)}.${Math.floor((version % major) / 100)}.${version % 100}`;
}

let isDefined = false;

/** Types are known by their names, once. */
function defineUniqueId(): void {
  if (isDefined) return;
  const calls = foreignCalls();
  calls.struct('ncclUniqueId', { internal: calls.array('uint8', UNIQUE_ID_BYTES) });
  isDefined = true;
}
