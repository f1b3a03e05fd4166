/** Rows merged in worker threads: a large model has billions of them to add to, and one thread takes minutes. */
import { availableParallelism } from 'node:os';
import { WorkerThreads } from '../async/worker-threads.js';
import program from '../generated/merge-worker.js';
import type { MergedRows, RowsToMerge } from './merged-weight.js';

/** More of them wait for the disk. */
const MOST_WORKERS = 16;

export class MergePool {
  /** Worker threads at most; they start with the first rows. */
  readonly workers: number;
  readonly #threads: WorkerThreads<RowsToMerge, MergedRows>;

  constructor(workers: number = Math.min(MOST_WORKERS, availableParallelism())) {
    this.workers = workers;
    this.#threads = new WorkerThreads(program, workers);
  }

  /** Moves `rows.bytes` away. @param signal rejects with its reason at once */
  merge(rows: RowsToMerge, signal?: AbortSignal): Promise<MergedRows> {
    return this.#threads.run(rows, [rows.bytes.buffer], signal);
  }

  /** Ends the workers; what they have not answered is rejected. */
  close(): Promise<void> {
    return this.#threads.close(new Error('the merge has ended'));
  }
}
