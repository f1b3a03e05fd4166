/**
 * Loads kernels of libraries before their first launch. The driver loads each kernel's code when it is first launched,
 * milliseconds in which the host queues nothing.
 */
import type { CudaDriver } from './driver.js';

/** CU_STREAM_CAPTURE_MODE_RELAXED: the library may allocate meanwhile. */
const RELAXED = 2;
/** CU_GRAPH_NODE_TYPE_KERNEL */
const KERNEL_NODE = 0;
const MOST_NODES = 64;
/** CUDA_KERNEL_NODE_PARAMS_v2, of which the first field is the function. */
const PARAMETERS_BYTES = 72;

type LoadingDriver = Pick<CudaDriver, 'call' | 'createStream'>;

/** Handles of the kernels that `queue` would launch on the stream that it is given; nothing runs. */
export function queuedKernels(driver: LoadingDriver, stream: number, queue: (stream: number) => void): number[] {
  const graph = new BigUint64Array(1);
  driver.call('cuStreamBeginCapture_v2', ['uint64', 'int'], stream, RELAXED);
  try {
    queue(stream);
  } finally {
    driver.call('cuStreamEndCapture', ['uint64', 'void*'], stream, graph);
  }
  try {
    const nodes = new BigUint64Array(MOST_NODES);
    const count = BigUint64Array.of(BigInt(MOST_NODES));
    driver.call('cuGraphGetNodes', ['uint64', 'void*', 'void*'], graph[0], nodes, count);
    const kernels: number[] = [];
    for (const node of nodes.subarray(0, Number(count[0]))) {
      const type = new Int32Array(1);
      driver.call('cuGraphNodeGetType', ['uint64', 'void*'], node, type);
      if (type[0] !== KERNEL_NODE) continue;
      const parameters = new BigUint64Array(PARAMETERS_BYTES / 8);
      driver.call('cuGraphKernelNodeGetParams_v2', ['uint64', 'void*'], node, parameters);
      kernels.push(Number(parameters[0]));
    }
    return kernels;
  } finally {
    driver.call('cuGraphDestroy', ['uint64'], graph[0]);
  }
}

/** Loads the kernels that work would launch, without running it. */
export class KernelLoader {
  readonly #driver: LoadingDriver;
  #stream: number | undefined;
  readonly #loaded = new Set<number>();
  #isSupported = true;

  constructor(driver: LoadingDriver) {
    this.#driver = driver;
  }

  /** @param queue queues work on the stream that it is given. Does nothing with drivers before CUDA 12.4. */
  load(queue: (stream: number) => void): void {
    if (!this.#isSupported) return;
    try {
      this.#stream ??= this.#driver.createStream();
      for (const kernel of queuedKernels(this.#driver, this.#stream, queue)) {
        if (kernel === 0 || this.#loaded.has(kernel)) continue;
        this.#driver.call('cuFuncLoad', ['uint64'], kernel);
        this.#loaded.add(kernel);
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
