/** The program of a worker that merges: stored rows in, merged rows out, both moved and not copied. */
import { parentPort } from 'node:worker_threads';
import type { WorkerReply } from '../async/worker-threads.js';
import { type MergedRows, mergeRows, type RowsToMerge } from './merged-weight.js';

const port = parentPort;
port?.on('message', (rows: RowsToMerge) => {
  try {
    const result = mergeRows(rows);
    port.postMessage({ result } satisfies WorkerReply<MergedRows>, 'bytes' in result ? [result.bytes.buffer] : []);
  } catch (error) {
    port.postMessage({ error } satisfies WorkerReply<MergedRows>);
  }
});
