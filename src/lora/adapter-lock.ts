/** An adapter's files belong together: while one process writes them, or uploads them, no other writes there. */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CheckpointError } from '../errors.js';
import { exists } from '../files/regular-file.js';
import { describeOwner, OwnerLock } from '../ownership/owner-lock.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from './adapter-folder.js';
import { warnWith } from './lora-host.js';

/** In the folder while its files are written or uploaded. */
export const ADAPTER_LOCK = '.ministral-tune-adapter.lock';
const READ_ATTEMPTS = 5;

type OnWarning = ((line: string) => void) | undefined;

/**
 * @param work is given what to ask before it puts files in place: it throws if the folder is another's by then
 * @throws what `work` throws; CheckpointError if nothing can be written into the folder, or it was taken over meanwhile
 */
export async function whileWriting<T>(
  directory: string,
  onWarning: OnWarning,
  work: (requireOwned: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const lock = await take(directory, 'save of an adapter', onWarning).catch((cause: NodeJS.ErrnoException) => {
    throw new CheckpointError(`cannot write into ${directory}: ${cause.message}`, {
      hint: 'Choose a folder that can be written to, on a disk with free space.',
      details: { path: directory, code: cause.code },
      cause,
    });
  });
  const requireOwned = async (): Promise<void> => {
    const lost = await lock.check();
    if (lost === undefined) return;
    throw new CheckpointError(`${directory} is no longer this save's: ${lost}. Nothing of this save was put there`, {
      hint: 'The process was suspended for too long. Save again, into a folder of its own.',
      details: { path: directory },
    });
  };
  try {
    return await work(requireOwned).catch(async (error) => {
      // A new owner has removed what was being written: report that instead.
      await requireOwned();
      throw error;
    });
  } finally {
    await lock.release();
  }
}

/** Keeps others from writing while the files are read for long. A folder that cannot be written to needs nothing. */
export async function whileUploading<T>(
  directory: string,
  { onWarning, signal }: { onWarning?: OnWarning; signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  const isThere = await exists(join(directory, ADAPTER_CONFIG_FILE));
  const lock = isThere
    ? await take(directory, 'upload of an adapter', onWarning, signal).catch(() => undefined)
    : undefined;
  try {
    return await work();
  } finally {
    await lock?.release();
  }
}

/** Reads files of a folder again if they were replaced meanwhile: half of one adapter would fit half of another. */
export async function readTogether<T>(directory: string, read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const before = await stateOf(directory);
    const result = await read().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    const isSame = (await stateOf(directory)) === before;
    if (isSame && 'value' in result) return result.value;
    const isWritten = !isSame || (await OwnerLock.ownerOf(resolve(directory, ADAPTER_LOCK))) !== undefined;
    if (attempt === READ_ATTEMPTS || !isWritten) {
      if ('error' in result) throw result.error;
      throw new CheckpointError(`${directory}: its files change while they are read`, {
        hint: 'Another process saves into this folder again and again: load the adapter when it is done.',
        details: { path: directory },
      });
    }
    await delay(100 * attempt);
  }
}

function take(directory: string, what: string, onWarning: OnWarning, signal?: AbortSignal): Promise<OwnerLock> {
  return OwnerLock.take(resolve(directory, ADAPTER_LOCK), {
    what,
    whenHeld: 'wait',
    signal,
    onWait: (owner) => warnWith(onWarning, [`${directory} is in use by ${describeOwner(owner)}; waiting for it`]),
  });
}

async function stateOf(directory: string): Promise<string> {
  const files = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE].map(async (name) => {
    const found = await stat(join(directory, name)).catch(() => undefined);
    return found && `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`;
  });
  return (await Promise.all(files)).join();
}
