/** Threads that run kernels over one shared memory. The thread that makes the pool is one of them. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { EngineError } from '../../errors.js';
import program from '../../generated/pool-worker.js';
import {
  ARGS,
  CHUNK,
  CONTROL_WORDS,
  COUNT,
  EPOCH_STEP,
  FAILED,
  JOINED_MASK,
  KERNEL,
  LEFT,
  MAX_ARGS,
  NEXT,
  OPEN,
  runChunks,
  SCRATCH_BYTES,
  SLEEPERS,
  STATE,
  WEIGHTS,
} from './control.js';
import type { Heap } from './heap.js';
import { KernelInstance, kernelNames, type WeightBytes } from './kernel-instance.js';
import type { PoolMessage, PoolWorkerData } from './pool-worker.js';

/** Chunks per thread: enough to even out threads of unequal speed. */
const CHUNKS_PER_THREAD = 4;

interface PoolThread {
  readonly worker: Worker;
  readonly port: MessagePort;
}

export interface PoolOptions {
  /** Threads in all, with the calling one. */
  readonly threads: number;
  /** How often a worker looks for a new task before it goes to sleep; 4000 is some tens of microseconds. */
  readonly spins: number;
}

export class Pool {
  readonly threads: number;
  /** Resolves when every worker is running. Tasks before that are done by the threads that are there. */
  readonly ready: Promise<void>;
  readonly #main: KernelInstance;
  readonly #control: Int32Array;
  readonly #slots: Int32Array;
  readonly #floatSlots: Float32Array;
  readonly #names: Map<string, number>;
  readonly #workers: PoolThread[] = [];
  readonly #spins: number;
  #lost: EngineError | undefined;
  #disposed = false;

  constructor(module: WebAssembly.Module, heap: Heap, options: PoolOptions) {
    const { buffer } = heap.memory;
    this.threads = options.threads;
    this.#spins = options.spins;
    this.#control = new Int32Array(buffer, 0, CONTROL_WORDS);
    this.#slots = new Int32Array(buffer, ARGS, MAX_ARGS);
    this.#floatSlots = new Float32Array(buffer, ARGS, MAX_ARGS);
    this.#names = new Map(kernelNames(module).map((name, i) => [name, i]));
    this.#main = new KernelInstance(module, heap.memory, heap.alloc(SCRATCH_BYTES));
    const starting: Promise<void>[] = [];
    for (let i = 1; i < options.threads; i++) starting.push(this.#start(module, heap));
    this.ready = Promise.all(starting).then(() => undefined);
    // A thread that failed shows at the next task too, so nobody has to await this.
    this.ready.catch(() => undefined);
  }

  /** Makes a weight known to every thread. */
  addWeight(weight: WeightBytes): void {
    this.#main.addWeight(weight);
    this.#announce({ add: weight });
  }

  dropWeight(id: number): void {
    this.#main.dropWeight(id);
    this.#announce({ drop: id });
  }

  /**
   * Runs a kernel over items 0..count-1, in chunks of at least `grain` items, and returns when all are done.
   * @throws EngineError when the kernel is unknown or traps, in whichever thread
   */
  run(name: string, count: number, grain: number, ints: readonly number[], floats: readonly number[]): void {
    const kernel = this.#main.kernel(name);
    if (!kernel) throw new EngineError(`there is no kernel named ${name}`);
    if (ints.length + floats.length > MAX_ARGS)
      throw new EngineError(`kernel ${name}: more than ${MAX_ARGS} arguments`);
    if (this.#disposed) {
      throw new EngineError(`kernel ${name}: the engine was disposed`, {
        hint: 'Call engine.dispose() after the last use of its models, or make another engine and load the model on it.',
      });
    }
    if (this.#lost) throw this.#lost;
    if (count <= 0) return;
    for (let i = 0; i < ints.length; i++) this.#slots[i] = ints[i]!;
    for (let i = 0; i < floats.length; i++) this.#floatSlots[ints.length + i] = floats[i]!;
    if (this.#workers.length === 0 || count <= grain) {
      try {
        kernel(ARGS, 0, count);
      } catch (cause) {
        throw failed(name, 'failed', cause);
      }
      return;
    }
    const control = this.#control;
    control[KERNEL] = this.#names.get(name)!;
    control[COUNT] = count;
    control[CHUNK] = Math.max(1, grain, Math.ceil(count / (this.threads * CHUNKS_PER_THREAD)));
    control[NEXT] = 0;
    const chunks = Math.ceil(count / control[CHUNK]!);
    const state = (Atomics.load(control, STATE) & ~(EPOCH_STEP - 1)) + EPOCH_STEP;
    Atomics.store(control, STATE, state | OPEN);
    if (Atomics.load(control, SLEEPERS) > 0) Atomics.notify(control, STATE, Math.min(chunks - 1, this.#workers.length));
    let failure: unknown;
    try {
      runChunks(control, kernel);
    } catch (error) {
      failure = error;
      // Nobody needs to start on the rest.
      Atomics.store(control, NEXT, count);
    }
    this.#close();
    const failures = control[FAILED] === 0 ? [] : this.#failures();
    if (failure !== undefined) throw failed(name, 'failed', failure);
    if (failures.length > 0) throw failed(name, 'failed in a worker thread', failures[0]);
  }

  /** Ends the workers. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    // Idle threads keep no process alive: without this one could end before whoever awaits them goes on.
    const alive = setInterval(() => undefined, 60_000);
    try {
      await Promise.all(this.#workers.map(({ worker }) => worker.terminate()));
    } finally {
      clearInterval(alive);
    }
    for (const { port } of this.#workers) port.close();
    this.#workers.length = 0;
  }

  /** Closes the task to late workers and waits for those in it. */
  #close(): void {
    const control = this.#control;
    Atomics.and(control, STATE, ~OPEN);
    for (let i = 0; i < this.#spins; i++) if ((Atomics.load(control, STATE) & JOINED_MASK) === 0) return;
    for (;;) {
      const left = Atomics.load(control, LEFT);
      if ((Atomics.load(control, STATE) & JOINED_MASK) === 0) return;
      Atomics.wait(control, LEFT, left);
    }
  }

  /** What the workers said of the task that failed. */
  #failures(): Error[] {
    this.#control[FAILED] = 0;
    const failures: Error[] = [];
    for (const { port } of this.#workers) {
      for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) failures.push(got.message);
    }
    return failures;
  }

  #announce(message: PoolMessage): void {
    for (const { port } of this.#workers) port.postMessage(message);
    Atomics.add(this.#control, WEIGHTS, 1);
  }

  #start(module: WebAssembly.Module, heap: Heap): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    const workerData: PoolWorkerData = {
      module,
      memory: heap.memory,
      scratch: heap.alloc(SCRATCH_BYTES),
      port: port2,
      spins: this.#spins,
    };
    const worker = new Worker(program, { eval: true, workerData, transferList: [port2], name: 'cpu engine' });
    this.#workers.push({ worker, port: port1 });
    port1.unref();
    return new Promise((resolve, reject) => {
      worker.once('message', () => {
        // An idle thread keeps no process alive; one that is starting does, so that `ready` comes.
        // One that is being ended does too, or whoever awaits that would wait in a process that is gone.
        if (!this.#disposed) worker.unref();
        resolve();
      });
      const lose = (cause: unknown): void => {
        if (this.#disposed) {
          resolve();
          return;
        }
        this.#lost ??= new EngineError(
          `a thread of the cpu engine ended: ${cause instanceof Error ? cause.message : cause}`,
          {
            cause,
          },
        );
        reject(this.#lost);
      };
      worker.once('error', lose);
      worker.once('exit', (code) => lose(`exit code ${code}`));
    });
  }
}

function failed(kernel: string, how: string, cause: unknown): EngineError {
  return new EngineError(`kernel ${kernel} ${how}: ${cause instanceof Error ? cause.message : cause}`, { cause });
}
