/** One run at a time in an output folder: two would end with each other's parameters. Locked from start to end. */
import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { CheckpointError, TrainingError, TuneError } from '../errors.js';
import { sweepTemporaries } from '../files/atomic-file.js';
import { makeFolder } from '../files/make-folder.js';
import { describeOwner, HeldError, lockTimes, OwnerLock, type TakeOptions } from '../ownership/owner-lock.js';

/** In the output folder while a run is under way. */
export const RUN_LOCK = '.ministral-tune.lock';

/** Traces of runs that lost their folder while they were suspended; they may still wake. */
const TRACE = /^\.ministral-tune\.lock\.(taken-[\w-]+|[0-9a-f]{8}\.gone)$/;
const TRACE_MS = 7 * 86_400_000;

/** Folders that runs of this thread own, by the path that each was given. */
const owned = new Map<string, RunFolder>();

/** The output folder of a run under way. */
export class RunFolder {
  readonly outputDir: string;
  readonly #lock: OwnerLock;
  /** The first of the folders that were made for it. */
  readonly #made: string | undefined;
  #lost: TrainingError | undefined;

  constructor(outputDir: string, lock: OwnerLock, made: string | undefined) {
    this.outputDir = outputDir;
    this.#lock = lock;
    this.#made = made && resolve(made);
  }

  /** By which another rank of the run knows its lock. */
  get token(): string {
    return this.#lock.token;
  }

  /** @throws TrainingError if the folder is another run's by now: the same one each time */
  async require(): Promise<void> {
    if (this.#lost) throw this.#lost;
    const reason = await this.#lock.check();
    if (reason === undefined) return;
    const { staleMs } = lockTimes;
    const seconds = Math.round(staleMs / 1000);
    this.#lost ??= new TrainingError(
      `${this.outputDir} is no longer this run's: ${reason}. It gave no sign of life for more than ${seconds} s, as ` +
        'when a process is suspended or its file server cannot be reached. The run stops before it writes there again',
      {
        hint:
          'The parameters of the last step are in memory: save them elsewhere with saveAdapter. ' +
          'Resume from an earlier checkpoint with an `outputDir` of its own.',
        details: { path: this.outputDir },
      },
    );
    throw this.#lost;
  }

  async release(): Promise<void> {
    const key = keyOf(this.outputDir);
    if (owned.get(key) === this) owned.delete(key);
    await this.#lock.release();
    // A run that failed before it wrote anything leaves no folders either.
    for (let at = resolve(this.outputDir); this.#made !== undefined; at = dirname(at)) {
      const isGone = await rmdir(at).then(
        () => true,
        () => false,
      );
      if (!isGone || at === this.#made) return;
    }
  }
}

interface ClaimOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onWait?: ((message: string) => void) | undefined;
  readonly heirOf?: string | undefined;
}

/**
 * Makes a run the owner of its output folder, which is made if need be.
 * @param onWait receives what it waits for: to see whether an owner in another container or on another host still lives
 * @param heirOf the token of an owner that is known to be lost, whatever its lock says
 * @throws CheckpointError if another run owns it, or nothing can be written there; the signal's reason
 */
export async function claimRunFolder(
  outputDir: string,
  { signal, onWait, heirOf }: ClaimOptions = {},
): Promise<RunFolder> {
  const path = join(outputDir, RUN_LOCK);
  try {
    const made = await makeFolder(outputDir);
    const seconds = Math.round(lockTimes.staleMs / 1000);
    const lock = await OwnerLock.take(resolve(path), {
      ...RUN,
      ...{ signal, heirOf },
      onWait: (owner) =>
        onWait?.(
          `${outputDir} was left by ${describeOwner(owner)}; waiting to see whether it still lives, ${seconds} s at most`,
        ),
    });
    const folder = new RunFolder(outputDir, lock, made);
    owned.set(keyOf(outputDir), folder);
    await sweep(outputDir);
    return folder;
  } catch (cause) {
    if (cause instanceof HeldError) throw heldError(outputDir, cause);
    if (cause instanceof TuneError || signal?.aborted) throw cause;
    const isFile = (await stat(outputDir).catch(() => undefined))?.isFile();
    const why = isFile ? `\`outputDir\` ${outputDir} is a file` : `cannot write ${path}: ${(cause as Error).message}`;
    throw new CheckpointError(why, {
      cause,
      hint: 'Choose another `outputDir`: a folder that can be written to, on a disk with free space.',
      details: { path, code: (cause as NodeJS.ErrnoException).code },
    });
  }
}

const RUN: TakeOptions = { what: 'training run', whenHeld: 'refuse', leaveTrace: true };

function heldError(outputDir: string, { owner }: HeldError): CheckpointError {
  return new CheckpointError(`${outputDir} is in use by ${describeOwner(owner)}`, {
    hint: 'Give this run an `outputDir` of its own, or start it when the other one has ended. Nothing was changed.',
    details: {
      path: outputDir,
      owner: owner && { host: owner.host, pid: owner.pid, since: owner.since, program: owner.program },
    },
  });
}

/** As `dirname` gives it of a checkpoint's path. */
function keyOf(outputDir: string): string {
  return dirname(join(outputDir, RUN_LOCK));
}

/** To be called before a change in a run's folder. Does nothing where no run of this process owns the folder. */
export async function requireOwned(outputDir: string): Promise<void> {
  await owned.get(keyOf(outputDir))?.require();
}

/** A checkpoint's folder may be another run's output folder: it is not taken from under it. @throws CheckpointError */
export async function requireUnused(checkpoint: string): Promise<void> {
  const owner = await OwnerLock.ownerOf(resolve(checkpoint, RUN_LOCK));
  if (owner) throw heldError(checkpoint, new HeldError(checkpoint, owner));
}

/** Runs `work` as the owner of a folder that the caller does not own. Does nothing if a living run owns it. */
export async function underOwnership(outputDir: string, work: () => Promise<void>): Promise<void> {
  let lock: OwnerLock;
  try {
    lock = await OwnerLock.take(resolve(outputDir, RUN_LOCK), RUN);
  } catch {
    // Held, or a folder that nobody may write to: there is nothing to put in order then.
    return;
  }
  try {
    await work();
  } finally {
    await lock.release();
  }
}

/** The error of a checkpoint that cannot be read, explained where another run may just have removed it. */
export async function explainVanished(path: string, error: unknown): Promise<unknown> {
  const owner = await OwnerLock.ownerOf(resolve(dirname(path), RUN_LOCK));
  if (!owner) return error;
  return new CheckpointError(`${path} is gone or not whole: its folder is in use by ${describeOwner(owner)}`, {
    hint:
      'That run removes its oldest checkpoints (`saveTotalLimit`). Choose its newest one, copy it elsewhere first, or ' +
      'wait until the run has ended.',
    details: { path, owner: { host: owner.host, pid: owner.pid } },
    cause: error,
  });
}

/** Removes what dead processes left of single files, and old traces. */
async function sweep(outputDir: string): Promise<void> {
  await sweepTemporaries(outputDir);
  for (const name of await readdir(outputDir).catch((): string[] => [])) {
    if (!TRACE.test(name)) continue;
    const path = join(outputDir, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > TRACE_MS) await rm(path, { force: true }).catch(() => undefined);
  }
}
