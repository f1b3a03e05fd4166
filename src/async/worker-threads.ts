/** Threads of one program that answers one message at a time. */
import { Worker } from 'node:worker_threads';
import { onAbort } from './on-abort.js';

/** What such a program posts for each message. */
export type WorkerReply<Result> = { readonly result: Result } | { readonly error: unknown };

interface Job<Message, Result> {
  readonly message: Message;
  readonly transfer: readonly ArrayBuffer[];
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
  /** Nobody waits for it any more: its thread may never answer. */
  isAbandoned: boolean;
}

/** Threads start with the first messages, and idle ones do not keep the process alive. */
export class WorkerThreads<Message, Result> {
  /** Most threads. */
  readonly count: number;
  readonly #program: string;
  readonly #workerData: unknown;
  readonly #waiting: Job<Message, Result>[] = [];
  readonly #threads = new Map<Worker, Job<Message, Result> | undefined>();
  #isClosed = false;

  /** @param program source of the program, as src/generated/*-worker.ts have it */
  constructor(program: string, count: number, workerData?: unknown) {
    this.#program = program;
    this.count = count;
    this.#workerData = workerData;
  }

  /** Whether a message would be taken at once. */
  get hasIdle(): boolean {
    return this.#threads.size < this.count || [...this.#threads.values()].includes(undefined);
  }

  /**
   * The program's answer; messages wait for a thread in their order.
   * @param transfer moved and not copied
   * @param signal rejects with its reason at once; a thread that has begun finishes, and nobody waits for it
   * @param whenBegun what the abort of a message does that a thread has begun: `wait` gives its answer all the same, for
   *   whoever accounts for its memory, and keeps no process alive for that
   */
  run(
    message: Message,
    transfer: readonly ArrayBuffer[] = [],
    signal?: AbortSignal,
    whenBegun: 'reject' | 'wait' = 'reject',
  ): Promise<Result> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        job.isAbandoned = true;
        const at = this.#waiting.indexOf(job);
        if (at >= 0) this.#waiting.splice(at, 1);
        if (at >= 0 || whenBegun === 'reject') job.reject(signal!.reason);
        this.#updateRefs();
      };
      const settle = <T>(answer: (value: T) => void) => {
        return (value: T): void => {
          forget();
          answer(value);
        };
      };
      const answers = { resolve: settle(resolve), reject: settle(reject) };
      const job: Job<Message, Result> = { message, transfer, ...answers, isAbandoned: false };
      const forget = onAbort(signal, abort);
      this.#waiting.push(job);
      this.#dispatch();
    });
  }

  /** Ends the threads. What they have not answered is rejected with `reason`. */
  async close(reason: Error): Promise<void> {
    this.#isClosed = true;
    for (const job of [...this.#waiting.splice(0), ...this.#threads.values()]) job?.reject(reason);
    const threads = [...this.#threads.keys()];
    this.#threads.clear();
    // Idle threads keep no process alive: without this one could end before whoever awaits them goes on.
    const alive = setInterval(() => undefined, 60_000);
    try {
      await Promise.all(threads.map((worker) => worker.terminate()));
    } finally {
      clearInterval(alive);
    }
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      let worker: Worker | undefined;
      try {
        worker = this.#idleWorker();
      } catch (cause) {
        // The system gives no further thread. Those that run take the next job as they get free.
        if (this.#threads.size > 0) return;
        for (const job of this.#waiting.splice(0)) job.reject(new Error('no worker thread can be started', { cause }));
        return;
      }
      if (!worker) break;
      const job = this.#waiting.shift()!;
      this.#threads.set(worker, job);
      try {
        worker.postMessage(job.message, job.transfer);
      } catch (error) {
        // What cannot be sent is not answered.
        this.#answer(worker, (its) => its.reject(error));
      }
    }
    this.#updateRefs();
  }

  /**
   * A thread that works keeps the process alive, or a promise that somebody awaits would never settle. Not one that may
   * never answer, unless others wait for it.
   */
  #updateRefs(): void {
    for (const [worker, job] of this.#threads) {
      if (job && (!job.isAbandoned || this.#waiting.length > 0)) worker.ref();
      else worker.unref();
    }
  }

  /** Settles the job of a thread, which is then idle. */
  #answer(worker: Worker, settle: (job: Job<Message, Result>) => void): void {
    const job = this.#threads.get(worker);
    if (!job) return;
    this.#threads.set(worker, undefined);
    worker.unref();
    settle(job);
  }

  #idleWorker(): Worker | undefined {
    for (const [worker, job] of this.#threads) if (job === undefined) return worker;
    if (this.#threads.size >= this.count) return undefined;
    // No flags of this process: a loader of TypeScript, say, has nothing to do there.
    const worker = new Worker(this.#program, { eval: true, workerData: this.#workerData, execArgv: [] });
    this.#threads.set(worker, undefined);
    worker.on('message', (reply: WorkerReply<Result>) => {
      this.#answer(worker, (job) => {
        if ('result' in reply) job.resolve(reply.result);
        else job.reject(reply.error);
      });
      this.#dispatch();
    });
    // An answer that cannot be read, for want of memory as a rule.
    worker.on('messageerror', (error) => {
      this.#answer(worker, (job) => job.reject(error));
      this.#dispatch();
    });
    let failure: unknown;
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', (code) => {
      const job = this.#threads.get(worker);
      this.#threads.delete(worker);
      job?.reject(failure ?? new Error(`the worker thread ended with code ${code}`));
      this.#dispatch();
    });
    return worker;
  }
}
