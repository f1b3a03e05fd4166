/** Loads kernels of libraries while nothing is queued: their first launch would wait for all that is. */
import type { CudaDriver } from './driver.js';

/** CU_STREAM_CAPTURE_MODE_RELAXED: loading code is allowed meanwhile. */
const RELAXED = 2;

export class KernelLoader {
  readonly #driver: Pick<CudaDriver, 'call' | 'createStream'>;
  #stream: number | undefined;
  #isSupported = true;

  constructor(driver: Pick<CudaDriver, 'call' | 'createStream'>) {
    this.#driver = driver;
  }

  /**
   * Loads the kernels of what is queued on the stream that `queue` is given. It is captured and never runs, so pointers
   * need not point to anything.
   */
  load(queue: (stream: number) => void): void {
    if (!this.#isSupported) return;
    try {
      this.#stream ??= this.#driver.createStream();
      const graph = new BigUint64Array(1);
      this.#driver.call('cuStreamBeginCapture_v2', ['uint64', 'int'], this.#stream, RELAXED);
      try {
        queue(this.#stream);
      } finally {
        this.#driver.call('cuStreamEndCapture', ['uint64', 'void*'], this.#stream, graph);
        if (graph[0]) this.#driver.call('cuGraphDestroy', ['uint64'], graph[0]);
      }
    } catch {
      // Kernels are loaded when they are launched then, as ever.
      this.#isSupported = false;
    }
  }

  dispose(): void {
    if (this.#stream !== undefined) this.#driver.call('cuStreamDestroy_v2', ['uint64'], this.#stream);
    this.#stream = undefined;
  }
}
