/** One repository in the cache folder that Python's tools share: names and layout are theirs. */
import { createHash } from 'node:crypto';
import { copyFile, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { HubError } from '../errors.js';
import { sweepOnce, temporaryName, writeFileAtomically } from '../files/atomic-file.js';
import { writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { readRegularFile } from '../files/regular-file.js';
import { cacheName } from './repo-kind.js';
import { blobName, formatTree, isCommit, parseTree, type RepoFile, type RepoTree } from './repo-tree.js';

/** Bytes of a file that names a commit, and of one that lists a commit's files. */
const MAX_REF_BYTES = 256;
const MAX_TREE_BYTES = 64 * 2 ** 20;

/**
 * The folder of the repository may be a link that its owner has made. A link below it that leads out of it is never
 * written through, and what it leads to is not taken for a file of the repository.
 * ```
 * models--OWNER--NAME/          datasets--OWNER--NAME/ for a data set
 *   refs/REVISION               the commit that a branch or tag stood for, last time it was asked
 *   trees/COMMIT.json           all files of a commit, with sizes and digests
 *   trees/COMMIT-FOLDER.json    those of one folder, where all are too many
 *   blobs/DIGEST                contents
 *   snapshots/COMMIT/PATH       link to a blob; the blob itself, or a copy, where links cannot be made
 * .locks/models--OWNER--NAME/   as long as a content is on its way
 * ```
 */
export class RepoCache {
  readonly root: string;
  readonly #folder: string;
  readonly #locks: string;

  constructor(root: string, repoId: string) {
    this.root = root;
    const name = cacheName(repoId);
    this.#folder = join(root, name);
    this.#locks = join(root, '.locks', name);
  }

  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit);
  }

  blob(file: RepoFile): string {
    return join(this.#folder, 'blobs', blobName(file));
  }

  /** Named apart from Python's, which locks by other means: both may fetch the same content, neither harms the other. */
  lock(file: RepoFile): string {
    return join(this.#locks, `${blobName(file)}.download.lock`);
  }

  /** The commit that a revision stands for, as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const bytes = await readRegularFile(this.#ref(revision), MAX_REF_BYTES).catch(() => undefined);
    const text = bytes?.toString('utf8').trim() ?? '';
    return isCommit(text) ? text : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    await this.#writing(this.#ref(revision), () => writeFileAtomically(this.#ref(revision), commit));
  }

  /** @param within a folder: its own list counts where there is none of all files */
  async readTree(commit: string, within?: string): Promise<RepoTree | undefined> {
    for (const path of [this.#tree(commit), ...(within === undefined ? [] : [this.#tree(commit, within)])]) {
      const bytes = await readRegularFile(path, MAX_TREE_BYTES).catch(() => undefined);
      const tree = bytes && parseTree(bytes);
      if (tree) return tree;
    }
    return undefined;
  }

  /** Whether it has lists of single folders: of the others nothing is known. */
  async hasPartOfTree(commit: string): Promise<boolean> {
    const names = await readdir(join(this.#folder, 'trees')).catch((): string[] => []);
    return names.some((name) => name.startsWith(`${commit}-`));
  }

  async writeTree(commit: string, tree: RepoTree, within?: string): Promise<void> {
    const path = this.#tree(commit, within);
    await this.#writing(path, () => writeFileAtomically(path, formatTree(tree)));
  }

  /** Commits of which it has files. */
  async commits(): Promise<string[]> {
    return (await readdir(join(this.#folder, 'snapshots')).catch((): string[] => [])).filter(isCommit);
  }

  async hasSnapshot(commit: string): Promise<boolean> {
    const found = await stat(this.snapshot(commit)).catch(() => undefined);
    return found?.isDirectory() === true && (await this.#holds(this.snapshot(commit)));
  }

  /** Those of the paths that a snapshot lacks, or has in another size. */
  async missing(commit: string, tree: RepoTree, paths: readonly string[]): Promise<string[]> {
    const there = await Promise.all(
      paths.map((path) => this.#hasSize(join(this.snapshot(commit), path), tree.get(path)!.size)),
    );
    return paths.filter((_, i) => !there[i]);
  }

  hasBlob(file: RepoFile): Promise<boolean> {
    return this.#hasSize(this.blob(file), file.size);
  }

  /** @throws HubError if a link leads what is to be written at `path` out of the cache */
  async requireInside(path: string): Promise<void> {
    const folder = path.startsWith(this.#locks) ? this.root : this.#folder;
    const [real, root] = await Promise.all([realParent(dirname(path)), realParent(folder)]);
    if (isBelow(real, root)) return;
    throw new HubError(`${path}: a link in the cache leads out of it, to ${real}; nothing is written there`, {
      hint: `Remove the link, or name another folder as \`cacheDir\`. The whole of ${this.#folder} may be a link.`,
      details: { path, leadsTo: real },
    });
  }

  /** Whether the disk of the cache takes names that differ by case alone for the same. */
  async ignoresCase(): Promise<boolean> {
    await makeFolder(join(this.#folder, 'blobs')).catch(() => undefined);
    const [one, other] = await Promise.all(
      ['blobs', 'BLOBS'].map((name) => stat(join(this.#folder, name)).catch(() => undefined)),
    );
    return one !== undefined && other !== undefined && one.ino === other.ino && one.dev === other.dev;
  }

  /**
   * Puts a content into a snapshot.
   * @param fresh it was fetched just now and no other snapshot has it: without links it is moved, not copied
   */
  async link(commit: string, path: string, file: RepoFile, fresh: boolean): Promise<void> {
    const target = join(this.snapshot(commit), path);
    const blob = this.blob(file);
    const temporary = temporaryName(target);
    await this.#writing(target, async () => {
      await makeFolder(dirname(target));
      await sweepOnce(dirname(target));
      try {
        try {
          await symlink(relative(dirname(target), blob), temporary);
        } catch {
          await (fresh ? rename(blob, temporary) : copyFile(blob, temporary));
        }
        await rename(temporary, target);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  #ref(revision: string): string {
    return join(this.#folder, 'refs', ...revision.split('/'));
  }

  #tree(commit: string, within?: string): string {
    const part = within === undefined ? '' : `-${createHash('sha256').update(within).digest('hex').slice(0, 16)}`;
    return join(this.#folder, 'trees', `${commit}${part}.json`);
  }

  async #writing(path: string, work: () => Promise<void>): Promise<void> {
    await this.requireInside(path);
    await writing(this.#folder, work);
  }

  async #hasSize(path: string, size: number): Promise<boolean> {
    const found = await stat(path).catch(() => undefined);
    return found?.isFile() === true && found.size === size && (await this.#holds(path));
  }

  /** Whether a path that exists lies in the folder of the repository, all links followed. */
  async #holds(path: string): Promise<boolean> {
    const [real, folder] = await Promise.all([path, this.#folder].map((one) => realpath(one).catch(() => undefined)));
    return real !== undefined && folder !== undefined && isBelow(real, folder);
  }
}

/** Where a path leads, as far as there is something. */
async function realParent(path: string): Promise<string> {
  for (let part = path; ; part = dirname(part)) {
    const real = await realpath(part).catch(() => undefined);
    if (real !== undefined) return join(real, relative(part, path));
    if (part === dirname(part)) return path;
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}
