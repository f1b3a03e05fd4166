/** One download of a file at a time, among all processes that share the disk. */
import { OwnerLock } from '../ownership/owner-lock.js';
import { writeError } from './partial-file.js';

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once if another holds the lock. */
  readonly onWait?: (() => void) | undefined;
  /** Between two looks at a lock that another holds, in milliseconds. Default 250. */
  readonly pollMs?: number | undefined;
}

/**
 * Runs `work` while holding the lock file `path`, and waits for others, in this process or another, to be done first.
 * A lock whose owner died is taken over: at once in the same container and on the same host, elsewhere after a minute
 * without a sign of life.
 * @throws what `work` throws; HubError if the file cannot be made; the signal's reason
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
  const lock = await OwnerLock.take(path, { what: 'download', whenHeld: 'wait', ...options }).catch((cause) => {
    throw writeError(cause, path);
  });
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
