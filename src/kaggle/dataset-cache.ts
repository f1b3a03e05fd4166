/** Where downloaded data sets lie, in the layout of Python's kagglehub, so that both find each other's. */

import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeFileAtomically } from '../atomic-file.js';
import { writeError } from '../transfer/partial-file.js';
import type { KaggleHandle } from './handle.js';

/** `option`, else `$KAGGLEHUB_CACHE`, else `~/.cache/kagglehub`. */
export function kaggleCacheFolder(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return resolve(option || env['KAGGLEHUB_CACHE'] || join(homedir(), '.cache', 'kagglehub'));
}

/**
 * The versions of one data set:
 *
 * ```
 * datasets/OWNER/DATASET/versions/N/...    the unpacked files
 * datasets/OWNER/DATASET/N.complete        empty; says that they are all there
 * ```
 */
export class DatasetCache {
  readonly #folder: string;

  constructor(root: string, { owner, dataset }: KaggleHandle) {
    this.#folder = join(root, 'datasets', owner, dataset);
  }

  folder(version: number): string {
    return join(this.#folder, 'versions', String(version));
  }

  /** A whole archive on its way from the download to its files; hidden. */
  archive(version: number): string {
    return join(this.#folder, `.${version}.zip`);
  }

  lock(version: number): string {
    return join(this.#folder, `.${version}.lock`);
  }

  async isComplete(version: number): Promise<boolean> {
    const marker = await stat(this.#marker(version)).catch(() => undefined);
    const folder = marker && (await stat(this.folder(version)).catch(() => undefined));
    return folder?.isDirectory() ?? false;
  }

  /** The highest complete version. */
  async latestComplete(): Promise<number | undefined> {
    const names = await readdir(this.#folder).catch((): string[] => []);
    const versions = names.flatMap((name) => /^(\d+)\.complete$/.exec(name)?.[1] ?? []).map(Number);
    for (const version of versions.sort((a, b) => b - a)) if (await this.isComplete(version)) return version;
    return undefined;
  }

  /**
   * Lets `fill` make the files of a version in a folder of its own, which takes the version's place when it is whole.
   * The caller holds the version's lock.
   */
  async replace(version: number, fill: (dir: string) => Promise<void>): Promise<void> {
    const folder = this.folder(version);
    const versions = join(this.#folder, 'versions');
    try {
      await mkdir(versions, { recursive: true });
      // Left behind by a process that died.
      const beginning = `.${version}.`;
      for (const name of await readdir(versions)) {
        if (name.startsWith(beginning)) await rm(join(versions, name), { recursive: true, force: true });
      }
    } catch (cause) {
      throw writeError(cause, folder);
    }
    const temporary = join(versions, `.${version}.${randomUUID()}`);
    try {
      await fill(temporary);
      await rm(this.#marker(version), { force: true });
      await rm(folder, { recursive: true, force: true });
      await rename(temporary, folder);
      await writeFileAtomically(this.#marker(version), '');
    } catch (cause) {
      await rm(temporary, { recursive: true, force: true });
      throw writeError(cause, folder);
    }
  }

  #marker(version: number): string {
    return join(this.#folder, `${version}.complete`);
  }
}
