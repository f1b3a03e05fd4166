/** The program of a worker that digests files: their reading and hashing would hold up everything else for seconds. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import type { WorkerReply } from '../async/worker-threads.js';

const PIECE = 4_194_304;

const port = parentPort;
port?.on('message', (path: string) => {
  try {
    port.postMessage({ result: digest(path) } satisfies WorkerReply<string>);
  } catch (error) {
    port.postMessage({ error } satisfies WorkerReply<string>);
  }
});

function digest(path: string): string {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafeSlow(PIECE);
  const file = openSync(path, 'r');
  try {
    for (;;) {
      const count = readSync(file, piece, 0, PIECE, null);
      if (count === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, count));
    }
  } finally {
    closeSync(file);
  }
}
