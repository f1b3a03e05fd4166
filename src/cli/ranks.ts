/** Of several ranks that run one command, rank 0 speaks and writes; what fails is said by each. */
import { processGroup } from '../distributed/join-group.js';
import { isMainProcess } from '../distributed/main-process.js';
import type { Output } from './usage.js';

export function outputOfRank(output: Output): Output {
  return isMainProcess() ? output : { print: () => undefined, printError: () => undefined };
}

/** What rank 0 finds, for all: what lies on its disk may lie on no other. */
export async function readByMain<T>(what: string, read: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const group = await processGroup({ signal });
  if (!group) return read();
  return group.broadcast(what, group.isMain ? await read() : undefined, signal);
}
