/** What one process does for all of them. Without a launcher's variables the one process is the main one. */
import { DistributedError, reasonOf } from '../errors.js';
import { requireCallback } from '../require-given.js';
import { processGroup } from './join-group.js';
import { rankPlace } from './rank-place.js';

/**
 * Whether this is rank 0, the process that writes files and logs; true where there is one process. Waits for nobody.
 * @throws ConfigError for variables of a launcher that are incomplete
 * @example
 * ```ts
 * import { isMainProcess } from 'ministral-tune/distributed';
 *
 * if (isMainProcess()) console.log('only once');
 * ```
 */
export function isMainProcess(): boolean {
  return (rankPlace()?.rank ?? 0) === 0;
}

/**
 * Runs `work` on rank 0 alone. The others do not wait for it.
 * @returns what it gives; undefined on the other ranks
 * @throws what it throws; ConfigError for variables of a launcher that are incomplete
 * @example
 * ```ts
 * import { onMainProcess } from 'ministral-tune/distributed';
 *
 * onMainProcess(() => console.log('only once'));
 * ```
 */
export function onMainProcess<T>(work: () => T): T | undefined {
  requireCallback(work, 'onMainProcess: `work`', 'e.g. () => console.log(loss).');
  return isMainProcess() ? work() : undefined;
}

/**
 * Runs `work` on rank 0, and when it is done on all others: a download or a preprocessing whose files the others then find.
 * All ranks must call it.
 * @returns what `work` gives on this rank
 * @throws what it throws; DistributedError on the others where it failed on rank 0; what {@link processGroup} throws
 * @example
 * ```ts
 * import { fromPretrained } from 'ministral-tune';
 * import { mainProcessFirst } from 'ministral-tune/distributed';
 *
 * const { model } = await mainProcessFirst(() => fromPretrained('mistralai/Ministral-3-3B-Instruct-2512-BF16'));
 * console.log(model.config.text.layers);
 * ```
 */
export async function mainProcessFirst<T>(work: () => T | PromiseLike<T>): Promise<T> {
  requireCallback(work, 'mainProcessFirst: `work`', 'e.g. () => snapshotDownload(name).');
  const group = await processGroup();
  if (!group) return work();
  const what = 'mainProcessFirst';
  if (group.isMain) {
    let value: T;
    try {
      value = await work();
    } catch (error) {
      await group.broadcast(what, { failed: reasonOf(error) }).catch(() => undefined);
      throw error;
    }
    await group.broadcast(what, {});
    return value;
  }
  const { failed } = await group.broadcast<{ readonly failed?: string }>(what, undefined);
  if (failed !== undefined) {
    throw new DistributedError(`rank 0 failed in what it was to do first: ${failed}`, { rank: 0 });
  }
  return work();
}
