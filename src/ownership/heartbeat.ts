/** Signs of life for the locks that this process holds: one thread for all of them, as long as there are any. */
import { Worker } from 'node:worker_threads';
import program from '../generated/heartbeat-worker.js';
import { type Beating, beatAll, RELEASED } from './heartbeat-round.js';

const beating = new Map<string, Beating>();
let worker: Worker | undefined;
let timer: NodeJS.Timeout | undefined;

/** @param beatMs between two signs; that of the first lock holds for all */
export function startBeating(lock: Beating, beatMs: number): void {
  beating.set(lock.token, lock);
  worker?.postMessage({ add: lock });
  if (worker || timer) return;
  // Without a thread, signs with gaps are better than none.
  const without = (): void => {
    worker = undefined;
    if (beating.size > 0) timer ??= setInterval(() => beatAll(beating.values()), beatMs).unref();
  };
  try {
    const started = new Worker(program, { eval: true, workerData: beatMs, execArgv: [] });
    worker = started;
    started.unref();
    started.on('error', () => started === worker && without());
    started.postMessage({ add: lock });
  } catch {
    without();
  }
}

/** No lock is restored any more: at the end of the process. */
export function silence(): void {
  for (const { state } of beating.values()) Atomics.store(state, 0, RELEASED);
}

export function stopBeating(token: string): void {
  if (!beating.delete(token)) return;
  worker?.postMessage({ remove: token });
  if (beating.size > 0) return;
  void worker?.terminate();
  worker = undefined;
  clearInterval(timer);
  timer = undefined;
}
