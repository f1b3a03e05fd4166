/**
 * Memory of the process on the card as nvidia-smi shows it: the engine's pools, plus context, loaded code and library
 * allocations. Read from NVML, as nvidia-smi does.
 */
import type { ForeignFunction } from './foreign-calls.js';
import { foreignFunctions, loadLibrary } from './library-search.js';

interface ProcessMemory {
  /** Device memory that the process takes now, pools included; undefined if it cannot be measured. */
  usedBytes(): number | undefined;
}

/** nvmlProcessInfo_t: pid, padding, used bytes, two instance ids. */
const PROCESS_BYTES = 24;
const MOST_PROCESSES = 256;
/** NVML_VALUE_NOT_AVAILABLE */
const NOT_AVAILABLE = 2n ** 64n - 1n;

interface ProcessEntry {
  readonly pid: number;
  readonly bytes: number;
}

/**
 * The entry of this process. In a container NVML may list it by another pid; then it is the entry that appeared with
 * the context.
 * @param before the processes listed before the context was created
 */
export function ownEntry(
  pid: number,
  before: readonly ProcessEntry[],
  now: readonly ProcessEntry[],
): ProcessEntry | undefined {
  const own = now.find((entry) => entry.pid === pid);
  if (own) return own;
  const added = now.filter((entry) => before.every((other) => other.pid !== entry.pid));
  return added.length === 1 ? added[0] : undefined;
}

/** By card: the pid under which NVML lists this process, once found. */
const ownIds = new Map<string, number>();

export class NvmlProcess implements ProcessMemory {
  readonly #busId: string;
  readonly #call: ((name: string, parameters: readonly string[]) => ForeignFunction) | undefined;
  #device = 0n;
  readonly #before: readonly ProcessEntry[];
  readonly #usedBefore: number | undefined;
  /** Bytes of the context: how much the card's used memory grew while it was created. */
  #context: number | undefined;

  /**
   * To be constructed before the context, to tell this process from others by what changes.
   * @param busId PCI address of the card
   */
  constructor(busId: string) {
    this.#busId = busId;
    this.#call = this.#open();
    this.#before = this.#list() ?? [];
    this.#usedBefore = this.#cardUsed();
  }

  usedBytes(): number | undefined {
    const list = this.#list();
    if (!list) return undefined;
    const known = ownIds.get(this.#busId);
    const own = known === undefined ? ownEntry(process.pid, this.#before, list) : list.find(({ pid }) => pid === known);
    if (own && known === undefined) ownIds.set(this.#busId, own.pid);
    return own && own.bytes > 0 ? own.bytes : undefined;
  }

  /** To be called once the context is created: measures it, for drivers that list no processes. */
  noteContext(): void {
    const [before, after] = [this.#usedBefore, this.#cardUsed()];
    if (before !== undefined && after !== undefined && after > before) this.#context = after - before;
  }

  /** Bytes of the context, if other programs allocated nothing meanwhile; undefined if not measured. */
  get contextBytes(): number | undefined {
    return this.#context;
  }

  #open(): ReturnType<typeof foreignFunctions> | undefined {
    try {
      const call = foreignFunctions(loadLibrary('nvml').library);
      const out = new BigUint64Array(1);
      if (call('nvmlInit_v2', [])() !== 0) return undefined;
      if (call('nvmlDeviceGetHandleByPciBusId_v2', ['str', 'void*'])(this.#busId, out) !== 0) return undefined;
      this.#device = out[0]!;
      return call;
    } catch {
      // The library comes with the driver, but not into every container.
      return undefined;
    }
  }

  #list(): ProcessEntry[] | undefined {
    for (const version of ['_v3', '_v2']) {
      const entries = this.#listBy(`nvmlDeviceGetComputeRunningProcesses${version}`);
      if (entries) return entries;
    }
    return undefined;
  }

  #listBy(name: string): ProcessEntry[] | undefined {
    if (!this.#call) return undefined;
    const count = Uint32Array.of(MOST_PROCESSES);
    const infos = new DataView(new ArrayBuffer(PROCESS_BYTES * MOST_PROCESSES));
    try {
      if (this.#call(name, ['uint64', 'void*', 'void*'])(this.#device, count, infos) !== 0) return undefined;
    } catch {
      // An older driver has no function of this name.
      return undefined;
    }
    return Array.from({ length: count[0]! }, (_, i) => {
      const bytes = infos.getBigUint64(PROCESS_BYTES * i + 8, true);
      return {
        pid: infos.getUint32(PROCESS_BYTES * i, true),
        bytes: bytes === NOT_AVAILABLE ? 0 : Number(bytes),
      };
    });
  }

  #cardUsed(): number | undefined {
    if (!this.#call) return undefined;
    // total, free, used
    const memory = new BigUint64Array(3);
    const status = this.#call('nvmlDeviceGetMemoryInfo', ['uint64', 'void*'])(this.#device, memory);
    return status === 0 ? Number(memory[2]) : undefined;
  }
}

/** Overhead where nothing can be measured: more than any context measured so far. */
const ASSUMED_BYTES = 640 << 20;
/** Kernels and libraries load code on first use: reserved beyond the first measurement. */
const LATER_BYTES = 128 << 20;
/** Rounded up to multiples of this, so that two runs on one machine plan alike. */
const STEP_BYTES = 32 << 20;
/** Milliseconds for which a measurement is reused. */
const FRESH = 1000;

/** Device memory of the process outside the engine's pools. */
export class Overhead {
  readonly #process: ProcessMemory | undefined;
  #measured: number;
  #counted: number;
  #at = Number.NEGATIVE_INFINITY;

  /**
   * @param process undefined: no overhead is counted, as on an emulated card
   * @param contextBytes bytes of the context, used where the process cannot be measured
   */
  constructor(process?: ProcessMemory, contextBytes = ASSUMED_BYTES) {
    this.#process = process;
    this.#measured = process ? (process.usedBytes() ?? contextBytes) : 0;
    this.#counted = process ? stepped(this.#measured) + LATER_BYTES : 0;
  }

  /** The last measurement. */
  get bytes(): number {
    return this.#measured;
  }

  /** Bytes set aside of a budget: constant unless a measurement exceeds it. */
  get counted(): number {
    return this.#counted;
  }

  /** @param poolBytes current size of the pools */
  measure(poolBytes: number, now = performance.now()): void {
    if (!this.#process || now - this.#at < FRESH) return;
    this.#at = now;
    const used = this.#process.usedBytes();
    if (used === undefined || used < poolBytes) return;
    this.#measured = used - poolBytes;
    this.#counted = Math.max(this.#counted, stepped(this.#measured));
  }
}

function stepped(bytes: number): number {
  return Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
}
