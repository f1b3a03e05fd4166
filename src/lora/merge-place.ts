/** Where a merge writes: a hidden folder beside its target, which it alone may fill, and which takes the target's name. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError, TuneError } from '../errors.js';
import { flushFolder, flushTree } from '../files/atomic-file.js';
import { describeOwner, HeldError, OwnerLock } from '../ownership/owner-lock.js';
import { warnWith } from './lora-host.js';

/** `.TARGET.merge.lock`, as long as a merge into TARGET is under way. */
const LOCK = /^\.(.+)\.merge\.lock$/;
/** `.TARGET.RANDOM.partial` */
const PARTIAL = /^\.(.+)\.[0-9a-f]{8}\.partial$/;

interface MergePlaceOptions {
  readonly onWarning?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class MergePlace {
  readonly #outputDir: string;
  readonly #parent: string;
  readonly #name: string;
  readonly #options: MergePlaceOptions;
  #lock: OwnerLock | undefined;
  #partial: string | undefined;

  constructor(outputDir: string, options: MergePlaceOptions) {
    this.#outputDir = outputDir;
    this.#parent = dirname(outputDir);
    this.#name = basename(outputDir);
    this.#options = options;
  }

  /**
   * Gives the folder to fill, after removing what killed merges left beside it.
   * @throws CheckpointError if another merge writes to the same target, or nothing can be written there
   */
  async open(): Promise<string> {
    const { onWarning, signal } = this.#options;
    const say = (text: string): void => warnWith(onWarning, [`mergeAdapter: ${this.#outputDir} ${text}`]);
    try {
      this.#lock = await OwnerLock.take(this.#lockOf(this.#name), {
        what: 'merge',
        whenHeld: 'refuse',
        signal,
        onWait: (owner) => say(`was left by ${describeOwner(owner)}; waiting to see whether it still lives`),
      });
      await this.#removePartials(this.#name);
      await this.#tidyOthers();
      const partial = join(this.#parent, `.${this.#name}.${randomBytes(4).toString('hex')}.partial`);
      await mkdir(partial);
      this.#partial = partial;
      return partial;
    } catch (cause) {
      throw signal?.aborted ? cause : this.#explained(cause);
    }
  }

  /** The folder is whole: it takes its name. */
  async finish(): Promise<void> {
    const partial = this.#partial!;
    await this.#requireOwned();
    await flushTree(partial);
    try {
      // The target is free or empty; an empty one makes way.
      await rmdir(this.#outputDir).catch(() => undefined);
      await rename(partial, this.#outputDir);
      this.#partial = undefined;
      await flushFolder(this.#parent);
    } catch (cause) {
      throw this.#explained(cause);
    }
  }

  /**
   * What to throw for an error on the way: that the folder is another merge's is the better reason, and that the disk is
   * full belongs to the folder.
   */
  async reasonOf(error: unknown): Promise<unknown> {
    if (this.#partial === undefined || this.#options.signal?.aborted) return error;
    const lost = await this.#requireOwned().catch((cause: unknown) => cause);
    if (lost instanceof CheckpointError) return lost;
    return (error as NodeJS.ErrnoException).syscall === undefined ? error : this.#explained(error);
  }

  /** Leaves nothing of a merge that has not finished. */
  async close(): Promise<void> {
    if (this.#partial !== undefined) await rm(this.#partial, { recursive: true, force: true });
    this.#partial = undefined;
    await this.#lock?.release();
  }

  /** A merge that was suspended for minutes may have been taken for dead. */
  async #requireOwned(): Promise<void> {
    const lost = await this.#lock!.check();
    if (lost === undefined) return;
    throw new CheckpointError(`${this.#outputDir} is no longer this merge's: ${lost}`, {
      hint: 'The process was suspended for too long. Merge again, into a folder that no other merge writes to.',
      details: { path: this.#outputDir },
    });
  }

  /** Merges into other targets that were killed on this host leave gigabytes, and may never be tried again. */
  async #tidyOthers(): Promise<void> {
    for (const file of await readdir(this.#parent)) {
      const [, name] = LOCK.exec(file) ?? [];
      if (name === undefined || name === this.#name || !(await OwnerLock.isDead(this.#lockOf(name)))) continue;
      const options = { what: 'merge', whenHeld: 'refuse' } as const;
      const lock = await OwnerLock.take(this.#lockOf(name), options).catch(() => undefined);
      if (!lock) continue;
      await this.#removePartials(name).finally(() => lock.release());
    }
  }

  async #removePartials(name: string): Promise<void> {
    for (const entry of await readdir(this.#parent, { withFileTypes: true })) {
      if (!entry.isDirectory() || PARTIAL.exec(entry.name)?.[1] !== name) continue;
      await rm(join(this.#parent, entry.name), { recursive: true, force: true });
    }
  }

  #lockOf(name: string): string {
    return join(this.#parent, `.${name}.merge.lock`);
  }

  #explained(cause: unknown): unknown {
    const details = { path: this.#outputDir };
    if (cause instanceof HeldError) {
      return new CheckpointError(`${this.#outputDir} is being written by ${describeOwner(cause.owner)}`, {
        hint: 'Wait until that merge has ended, or give another `outputDir`.',
        details,
      });
    }
    if (cause instanceof TuneError) return cause;
    return new CheckpointError(`${this.#outputDir} cannot be written: ${(cause as Error).message}`, {
      hint: 'Choose an `outputDir` in a folder that can be written to, on a disk with free space.',
      details,
      cause,
    });
  }
}
