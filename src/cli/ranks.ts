/** A command that a launcher has started several times: the first process prints and writes, the others compute. */
import { processGroup } from '../distributed/join-group.js';
import { rankPlace } from '../distributed/rank-place.js';
import { DistributedError, reasonOf, TuneError } from '../errors.js';
import type { Output } from './usage.js';

/** Whether this process is the one that prints and writes. */
export function isMainRank(): boolean {
  return (rankPlace()?.rank ?? 0) === 0;
}

/** What a process prints: of several the first alone, but all of them their errors. */
export function outputOfRank(output: Output): Output {
  return isMainRank() ? output : { ...output, print: () => undefined };
}

/**
 * Work with files, which one process does while the others wait for it.
 * @returns what it gives on the first process; undefined on others
 * @throws DistributedError on the others, where it fails on the first
 */
export async function onMainRank<T>(
  what: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T | undefined> {
  if (!rankPlace()) return work();
  const group = await processGroup({ signal });
  if (!group) return work();
  const scope = group.begin(what);
  try {
    if (!group.isMain) {
      const fault = await group.broadcast<{ readonly message: string; readonly hint?: string } | null>(what, undefined);
      if (fault) throw new DistributedError(`rank 0: ${fault.message}`, { rank: 0, hint: fault.hint });
      return undefined;
    }
    let value: T;
    try {
      value = await work();
    } catch (error) {
      const hint = error instanceof TuneError ? error.hint : undefined;
      await group.broadcast(what, { message: reasonOf(error), ...(hint !== undefined && { hint }) });
      throw error;
    }
    await group.broadcast(what, null);
    return value;
  } finally {
    scope.end();
  }
}
