/**
 * What the process takes on the card as nvidia-smi shows it: beside the engine's pools the context, loaded code and what
 * libraries allocate. Read from NVML, which nvidia-smi reads as well.
 */
import type { ForeignFunction } from './library-search.js';
import { foreignFunctions, loadLibrary } from './library-search.js';

/** What the books of the card need to know about the process. */
interface ProcessMemory {
  /** Bytes of the card that the process takes now, its pools included; undefined if that cannot be told. */
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
 * The entry of this process, which in a container may go by another id than its own: the one that came with the context.
 * @param before those that were listed without a context of this process
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

/** By card: the id that NVML knows this process by, once it is known. */
const ownIds = new Map<string, number>();

export class NvmlProcess implements ProcessMemory {
  readonly #busId: string;
  readonly #call: ((name: string, parameters: readonly string[]) => ForeignFunction) | undefined;
  #device = 0n;
  readonly #before: readonly ProcessEntry[];
  readonly #usedBefore: number | undefined;
  /** Of the context alone, where NVML lists no process: what the card lost meanwhile. */
  #context: number | undefined;

  /**
   * To be made before the context, so that it can be told apart.
   * @param busId the card's PCI address
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

  /** To be called once the context is made: what it took of the card, for drivers that list no processes. */
  noteContext(): void {
    const [before, after] = [this.#usedBefore, this.#cardUsed()];
    if (before !== undefined && after !== undefined && after > before) this.#context = after - before;
  }

  /** Bytes of the context, if other programs were quiet while it was made. */
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

/** Overhead where nothing can be measured: more than contexts take on any card so far. */
const ASSUMED_BYTES = 640 << 20;
/** Code of kernels and libraries is loaded when it is first used: so much more than in the beginning is planned for. */
const LATER_BYTES = 128 << 20;
/** Counted in steps of this, so that two runs on one machine count alike. */
const STEP_BYTES = 32 << 20;
/** Milliseconds for which a measurement is good enough. */
const FRESH = 1000;

/** What the process takes beside the engine's pools. */
export class Overhead {
  readonly #process: ProcessMemory | undefined;
  #measured: number;
  #counted: number;
  #at = Number.NEGATIVE_INFINITY;

  /**
   * @param process undefined counts no overhead, as where nothing but the pools exists
   * @param contextBytes what the context takes, where the process cannot be measured
   */
  constructor(process?: ProcessMemory, contextBytes = ASSUMED_BYTES) {
    this.#process = process;
    this.#measured = process ? (process.usedBytes() ?? contextBytes) : 0;
    this.#counted = process ? stepped(this.#measured) + LATER_BYTES : 0;
  }

  /** As measured last. */
  get bytes(): number {
    return this.#measured;
  }

  /** What is set aside: constant, unless more was measured. */
  get counted(): number {
    return this.#counted;
  }

  /** @param poolBytes what the pools take now */
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
