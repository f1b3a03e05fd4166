/** The program of the thread that shows signs of life: the main thread may compute for minutes without a pause. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Beating, beatAll } from './heartbeat-round.js';

const locks = new Map<string, Beating>();
parentPort?.on('message', (message: { readonly add: Beating } | { readonly remove: string }) => {
  if ('add' in message) locks.set(message.add.token, message.add);
  else locks.delete(message.remove);
});
setInterval(() => beatAll(locks.values()), workerData as number);
