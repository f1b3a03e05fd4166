/** Rows merged in worker threads: a large model has billions of them to add to, and one thread takes minutes. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import program from '../generated/merge-worker.js';
import type { MergeReply } from './merge-worker.js';
import type { MergedRows, RowsToMerge } from './merged-weight.js';

/** More of them wait for the disk. */
const MOST_WORKERS = 16;

interface Job {
  readonly rows: RowsToMerge;
  readonly resolve: (result: MergedRows) => void;
  readonly reject: (error: unknown) => void;
}

export class MergePool {
  /** Worker threads at most; they start with the first rows. */
  readonly workers: number;
  readonly #waiting: Job[] = [];
  readonly #threads = new Map<Worker, Job | undefined>();
  #isClosed = false;

  constructor(workers: number = Math.min(MOST_WORKERS, availableParallelism())) {
    this.workers = workers;
  }

  /** Moves `rows.bytes` away. */
  merge(rows: RowsToMerge): Promise<MergedRows> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ rows, resolve, reject });
      this.#dispatch();
    });
  }

  /** Ends the workers; what they have not answered is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const ended = new Error('the merge has ended');
    for (const job of [...this.#waiting.splice(0), ...this.#threads.values()]) job?.reject(ended);
    const threads = [...this.#threads.keys()];
    this.#threads.clear();
    await Promise.all(threads.map((worker) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const worker = this.#idleWorker();
      if (!worker) return;
      const job = this.#waiting.shift()!;
      this.#threads.set(worker, job);
      worker.postMessage(job.rows, [job.rows.bytes.buffer]);
    }
  }

  #idleWorker(): Worker | undefined {
    for (const [worker, job] of this.#threads) if (job === undefined) return worker;
    if (this.#threads.size >= this.workers) return undefined;
    // No flags of this process: a loader of TypeScript, say, has nothing to do there.
    const worker = new Worker(program, { eval: true, execArgv: [] });
    this.#threads.set(worker, undefined);
    worker.on('message', (reply: MergeReply) => {
      const job = this.#threads.get(worker);
      if (!job) return;
      this.#threads.set(worker, undefined);
      if ('result' in reply) job.resolve(reply.result);
      else job.reject(reply.error);
      this.#dispatch();
    });
    let failure: unknown;
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', (code) => {
      const job = this.#threads.get(worker);
      this.#threads.delete(worker);
      job?.reject(failure ?? new Error(`a merging thread ended with code ${code}`));
      this.#dispatch();
    });
    return worker;
  }
}
