/** One repository in the cache folder that Python's tools share: names and layout are theirs. */
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { sweepOnce, temporaryName, writeFileAtomically } from '../atomic-file.js';
import { writeError } from '../transfer/partial-file.js';
import { blobName, formatTree, isCommit, parseTree, type RepoFile, type RepoTree } from './repo-tree.js';

/**
 * ```
 * models--OWNER--NAME/
 *   refs/REVISION               the commit that a branch or tag stood for, last time it was asked
 *   trees/COMMIT.json           all files of a commit, with sizes and digests
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
    const name = ['models', ...repoId.split('/')].join('--');
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
    const text = await readFile(this.#ref(revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    await this.#writing(() => writeFileAtomically(this.#ref(revision), commit));
  }

  async readTree(commit: string): Promise<RepoTree | undefined> {
    const text = await readFile(this.#tree(commit), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : parseTree(text);
  }

  async writeTree(commit: string, tree: RepoTree): Promise<void> {
    await this.#writing(() => writeFileAtomically(this.#tree(commit), formatTree(tree)));
  }

  /** Commits of which something is there. */
  async commits(): Promise<string[]> {
    return (await readdir(join(this.#folder, 'snapshots')).catch((): string[] => [])).filter(isCommit);
  }

  async hasSnapshot(commit: string): Promise<boolean> {
    return (await stat(this.snapshot(commit)).catch(() => undefined))?.isDirectory() ?? false;
  }

  /** Those of the paths that a snapshot lacks, or has in another size. */
  async missing(commit: string, tree: RepoTree, paths: readonly string[]): Promise<string[]> {
    const there = await Promise.all(
      paths.map((path) => hasSize(join(this.snapshot(commit), path), tree.get(path)!.size)),
    );
    return paths.filter((_, i) => !there[i]);
  }

  hasBlob(file: RepoFile): Promise<boolean> {
    return hasSize(this.blob(file), file.size);
  }

  /**
   * Puts a content into a snapshot.
   * @param fresh it was fetched just now and no other snapshot has it: without links it is moved, not copied
   */
  async link(commit: string, path: string, file: RepoFile, fresh: boolean): Promise<void> {
    const target = join(this.snapshot(commit), path);
    const blob = this.blob(file);
    const temporary = temporaryName(target);
    await this.#writing(async () => {
      await mkdir(dirname(target), { recursive: true });
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

  #tree(commit: string): string {
    return join(this.#folder, 'trees', `${commit}.json`);
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      throw writeError(cause, this.#folder);
    }
  }
}

async function hasSize(path: string, size: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && found.size === size;
}
