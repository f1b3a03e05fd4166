/** One download of a file at a time, among all processes that share the disk. */
import { TransferError } from '../errors.js';
import { writing } from '../files/disk-errors.js';
import { lockTimes, OwnerLock } from '../ownership/owner-lock.js';

interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once if another holds the lock. */
  readonly onWait?: (() => void) | undefined;
  /** Between two looks at a lock that another holds, in milliseconds. Default 250. */
  readonly pollMs?: number | undefined;
}

/**
 * Runs `work` while holding the lock file `path`; waits for others, in this process or another, to be done first.
 * `work` gets a signal that is aborted when the lock is lost, or by `options.signal`. A lock whose owner died is taken
 * over: at once on the same host and in the same container, elsewhere after a minute without a sign of life. A process
 * that was suspended for longer has lost its lock when it wakes.
 * @throws what `work` throws; DiskError if the file cannot be made; the signal's reason
 */
export async function withLock<T>(
  path: string,
  work: (signal: AbortSignal) => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const lock = await writing(path, () => OwnerLock.take(path, { what: 'download', whenHeld: 'wait', ...options }));
  const lost = new AbortController();
  const watch = setInterval(async () => {
    const reason = await lock.check().catch(() => undefined);
    if (reason === undefined) return;
    lost.abort(
      new TransferError(`${path}: this download is another process's by now: ${reason}`, { hint: 'Start it again.' }),
    );
  }, lockTimes.beatMs).unref();
  try {
    return await work(options.signal ? AbortSignal.any([options.signal, lost.signal]) : lost.signal);
  } finally {
    clearInterval(watch);
    await lock.release();
  }
}
