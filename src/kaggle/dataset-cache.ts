/** Where downloaded data sets lie, in the layout of Python's kagglehub, so that both find each other's. */

import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { writeFileAtomically } from '../files/atomic-file.js';
import { writeError, writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import type { KaggleDataset, KaggleSource } from './handle.js';

/** `option`, else `$KAGGLEHUB_CACHE`, else `~/.cache/kagglehub`. */
export function kaggleCacheFolder(
  option: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return resolve(option || env['KAGGLEHUB_CACHE'] || join(homedir(), '.cache', 'kagglehub'));
}

/**
 * The place of one version of a data set, or of the files of a competition, which have no versions:
 *
 * ```
 * datasets/OWNER/DATASET/versions/N/...    the unpacked files
 * datasets/OWNER/DATASET/N.complete        empty; says that they are all there
 * competitions/NAME/...
 * competitions/NAME.complete
 * ```
 */
export class CachePlace {
  /** Of the unpacked files. */
  readonly folder: string;
  /** A whole archive between its download and its files, or one that is not unpacked; hidden. */
  readonly archive: string;
  readonly lock: string;
  readonly #marker: string;
  readonly #temporary: string;

  /** @param source a data set with its version, or a competition */
  constructor(root: string, source: KaggleSource) {
    const [folder, files, name] =
      'competition' in source
        ? [join(root, 'competitions'), '', source.competition]
        : [datasetFolder(root, source), 'versions', String(source.version)];
    this.folder = join(folder, files, name);
    this.archive = join(folder, `.${name}.zip`);
    this.lock = join(folder, `.${name}.lock`);
    this.#marker = join(folder, `${name}.complete`);
    // Nothing else in that folder begins so: what an unpacking has left is found by it.
    this.#temporary = files === '' ? `.${name}.unpacking.` : `.${name}.`;
  }

  async isComplete(): Promise<boolean> {
    const marker = await stat(this.#marker).catch(() => undefined);
    const folder = marker && (await stat(this.folder).catch(() => undefined));
    return folder?.isDirectory() ?? false;
  }

  /**
   * Lets `fill` make the files in a folder of its own, which takes this place when it is whole. The caller holds the
   * lock.
   */
  async replace(fill: (dir: string) => Promise<void>): Promise<void> {
    const parent = dirname(this.folder);
    await writing(this.folder, async () => {
      await makeFolder(parent);
      // Left behind by a process that died.
      for (const name of await readdir(parent)) {
        if (name.startsWith(this.#temporary)) await rm(join(parent, name), { recursive: true, force: true });
      }
    });
    const temporary = join(parent, `${this.#temporary}${randomUUID()}`);
    try {
      await fill(temporary);
      await rm(this.#marker, { force: true });
      await rm(this.folder, { recursive: true, force: true });
      await rename(temporary, this.folder);
      await writeFileAtomically(this.#marker, '');
    } catch (cause) {
      await rm(temporary, { recursive: true, force: true });
      throw writeError(cause, this.folder);
    }
  }
}

/** The highest complete version of a data set. */
export async function latestComplete(root: string, dataset: KaggleDataset): Promise<number | undefined> {
  const names = await readdir(datasetFolder(root, dataset)).catch((): string[] => []);
  const versions = names.flatMap((name) => /^(\d+)\.complete$/.exec(name)?.[1] ?? []).map(Number);
  for (const version of versions.sort((a, b) => b - a)) {
    if (await new CachePlace(root, { ...dataset, version }).isComplete()) return version;
  }
  return undefined;
}

/** Under which name the cache has a source: Kaggle's addresses ignore case. */
export async function nameInCache(root: string, source: KaggleSource): Promise<KaggleSource> {
  if ('competition' in source) {
    return { competition: await sameName(join(root, 'competitions'), source.competition) };
  }
  const owner = await sameName(join(root, 'datasets'), source.owner);
  return { ...source, owner, dataset: await sameName(join(root, 'datasets', owner), source.dataset) };
}

async function sameName(folder: string, name: string): Promise<string> {
  const names = await readdir(folder).catch((): string[] => []);
  if (names.includes(name)) return name;
  return names.find((other) => other.toLowerCase() === name.toLowerCase()) ?? name;
}

function datasetFolder(root: string, { owner, dataset }: KaggleDataset): string {
  return join(root, 'datasets', owner, dataset);
}
