/** One instance of the kernels: each thread has its own, over the same memory. */

export type Kernel = (args: number, start: number, end: number) => void;

/** A frozen weight as the threads see it: rows of bytes outside the wasm memory. */
export interface WeightBytes {
  readonly id: number;
  readonly buffer: SharedArrayBuffer;
  readonly rowBytes: number;
}

export class KernelInstance {
  readonly #memory: WebAssembly.Memory;
  readonly #exports: WebAssembly.Exports;
  readonly #weights = new Map<number, { bytes: Uint8Array; rowBytes: number }>();
  #heap: Uint8Array;

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, scratch: number) {
    this.#memory = memory;
    this.#heap = new Uint8Array(memory.buffer);
    const copyRows = this.#copyRows.bind(this);
    const abort = (): never => {
      throw new Error('a kernel aborted');
    };
    this.#exports = new WebAssembly.Instance(module, { env: { memory, abort }, host: { copyRows } }).exports;
    (this.#exports.setScratch as (base: number) => void)(scratch);
  }

  kernel(name: string): Kernel | undefined {
    const found = this.#exports[name];
    return typeof found === 'function' ? (found as Kernel) : undefined;
  }

  addWeight(weight: WeightBytes): void {
    this.#weights.set(weight.id, { bytes: new Uint8Array(weight.buffer), rowBytes: weight.rowBytes });
  }

  dropWeight(id: number): void {
    this.#weights.delete(id);
  }

  /** Called by the kernels: `bytes` bytes from byte `start` of each of `rows` rows, one after the other, to `target`. */
  #copyRows(id: number, row: number, rows: number, start: number, bytes: number, target: number): void {
    const weight = this.#weights.get(id);
    if (!weight) throw new Error(`frozen weight ${id} is not registered with this thread`);
    let to = target >>> 0;
    const end = to + rows * bytes;
    // Another thread may have grown the memory.
    if (end > this.#heap.length) this.#heap = new Uint8Array(this.#memory.buffer);
    let from = row * weight.rowBytes + start;
    if (from < 0 || from + (rows - 1) * weight.rowBytes + bytes > weight.bytes.length) {
      throw new Error(`row ${row} of frozen weight ${id} does not exist`);
    }
    if (bytes === weight.rowBytes) {
      this.#heap.set(weight.bytes.subarray(from, from + rows * bytes), to);
      return;
    }
    for (; to < end; to += bytes, from += weight.rowBytes) {
      this.#heap.set(weight.bytes.subarray(from, from + bytes), to);
    }
  }
}

/** Names of the exported functions in the module's order: a kernel's index is the same in every thread. */
export function kernelNames(module: WebAssembly.Module): string[] {
  return WebAssembly.Module.exports(module)
    .filter((entry) => entry.kind === 'function')
    .map((entry) => entry.name);
}
