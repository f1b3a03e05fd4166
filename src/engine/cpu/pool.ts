/** Threads that run kernels over one shared memory. The thread that makes the pool is one of them. */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { EngineError, reasonOf } from '../../errors.js';
import program from '../../generated/pool-worker.js';
import {
  ARGS,
  CHUNK,
  CONTROL_WORDS,
  COUNT,
  EPOCH_STEP,
  FAILED,
  INSIDE,
  JOINED_MASK,
  KERNEL,
  LEFT,
  MAX_ARGS,
  NEXT,
  OPEN,
  OUTSIDE,
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

/** Milliseconds after which the main thread, while it waits for a task's end, looks whether the others are alive. */
const LOOK_MS = 200;

const LOST_HINT =
  'What it computed is lost. Make another engine, load the model again and go on from the last checkpoint ' +
  '(`resumeFromCheckpoint`). Threads end where memory runs out: fewer `threads` and smaller batches take less.';

interface PoolThread {
  readonly worker: Worker;
  readonly port: MessagePort;
  /** Whether its event loop was seen: from then on it shows if the thread ends. */
  isWatched: boolean;
}

interface PoolOptions {
  /** Threads in all, with the calling one. */
  readonly threads: number;
  /** How often a worker looks for a new task before it goes to sleep; 4000 is some tens of microseconds. */
  readonly spins: number;
}

export class Pool {
  readonly threads: number;
  /** Resolves when every worker is running. Earlier tasks run on the threads that have started. */
  readonly ready: Promise<void>;
  readonly #main: KernelInstance;
  readonly #control: Int32Array;
  readonly #slots: Int32Array;
  readonly #floatSlots: Float32Array;
  readonly #names: Map<string, number>;
  readonly #workers: PoolThread[] = [];
  readonly #places: Int32Array;
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
    this.#places = new Int32Array(new SharedArrayBuffer(4 * Math.max(1, options.threads - 1)));
    const starting: Promise<void>[] = [];
    for (let i = 1; i < options.threads; i++) starting.push(this.#start(module, heap, i - 1));
    this.ready = Promise.all(starting).then(() => undefined);
    // A thread that failed shows at the next task too, so nobody has to await this.
    this.ready.catch(() => undefined);
  }

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
    this.#close(name);
    const failures = control[FAILED] === 0 ? [] : this.#failures();
    if (failure !== undefined) throw failed(name, 'failed', failure);
    if (failures.length > 0) throw failed(name, 'failed in a worker thread', failures[0]);
  }

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

  /**
   * Closes the task to late workers and waits for those in it.
   * @throws EngineError if one of them has ended, however long the others take
   */
  #close(name: string): void {
    const control = this.#control;
    Atomics.and(control, STATE, ~OPEN);
    for (let i = 0; i < this.#spins; i++) if ((Atomics.load(control, STATE) & JOINED_MASK) === 0) return;
    let hasEnded = false;
    for (;;) {
      const left = Atomics.load(control, LEFT);
      if ((Atomics.load(control, STATE) & JOINED_MASK) === 0) return;
      if (Atomics.wait(control, LEFT, left, LOOK_MS) !== 'timed-out') continue;
      // Its end is known here before the event arrives, for this thread gives no event a turn. Seen twice: a thread that
      // is being ended may still write. Those that live must have left, for they write as well.
      const inside = this.#workers.filter((_, i) => Atomics.load(this.#places, i) === INSIDE);
      const dead = inside.filter(hasDied);
      if (dead.length === 0 || dead.length < inside.length) hasEnded = false;
      else if (!hasEnded) hasEnded = true;
      else throw this.#lose(`it was in kernel ${name}`);
    }
  }

  /** The pool is of no use any more: what was computed is incomplete. */
  #lose(cause: unknown): EngineError {
    this.#lost ??= new EngineError(`a thread of the cpu engine ended: ${reasonOf(cause)}`, { cause, hint: LOST_HINT });
    return this.#lost;
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

  #start(module: WebAssembly.Module, heap: Heap, index: number): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    const workerData: PoolWorkerData = {
      module,
      memory: heap.memory,
      scratch: heap.alloc(SCRATCH_BYTES),
      port: port2,
      spins: this.#spins,
      places: this.#places,
      index,
    };
    let worker: Worker;
    try {
      worker = new Worker(program, { eval: true, workerData, transferList: [port2], name: 'cpu engine' });
    } catch (cause) {
      port1.close();
      void this.dispose();
      throw new EngineError(
        `thread ${index + 2} of ${this.threads} of the cpu engine does not start: ${reasonOf(cause)}`,
        {
          cause,
          hint: 'The system allows this process no more threads, or has no memory for them. Ask for fewer `threads`.',
        },
      );
    }
    const thread: PoolThread = { worker, port: port1, isWatched: false };
    this.#workers.push(thread);
    port1.unref();
    return new Promise((resolve, reject) => {
      worker.once('message', () => {
        // An idle thread keeps no process alive; one that is starting does, so that `ready` comes.
        // One that is being ended does too, or whoever awaits that would wait in a process that is gone.
        if (!this.#disposed) worker.unref();
        thread.isWatched = worker.performance.eventLoopUtilization().active > 0;
        Atomics.store(this.#places, index, OUTSIDE);
        Atomics.notify(this.#places, index);
        resolve();
      });
      const lose = (cause: unknown): void => {
        if (this.#disposed) resolve();
        else reject(this.#lose(cause));
      };
      worker.on('error', lose);
      worker.once('exit', (code) => lose(`exit code ${code}`));
    });
  }
}

/** Whether the thread has ended; a slow or suspended one has not. */
function hasDied({ worker, isWatched }: PoolThread): boolean {
  if (!isWatched) return false;
  // Node gives an idle time of -1 for a thread that has stopped.
  const { idle, active } = worker.performance.eventLoopUtilization();
  return idle < 0 || active === 0;
}

function failed(kernel: string, how: string, cause: unknown): EngineError {
  return new EngineError(`kernel ${kernel} ${how}: ${reasonOf(cause)}`, { cause });
}
