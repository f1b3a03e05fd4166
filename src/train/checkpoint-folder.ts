/**
 * Checkpoint folders that survive a kill or a power cut: filled under a hidden name, flushed, then renamed to
 * `checkpoint-{step}`. An existing one is first renamed to a hidden name, since a folder cannot be renamed onto another;
 * after a death between the two renames `tidyCheckpointFolders` gives the new one its name. Folders are removed under a
 * hidden name as well, so that what is called `checkpoint-{step}` is always whole.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { flushFolder, flushTree, makeFlushedFolder } from '../files/atomic-file.js';
import { requireOwned, requireUnused, underOwnership } from './run-folder.js';

/** `.checkpoint-7.1234-0a1b2c3d.tmp`: being written by process 1234; with `replaced-` or `removed-`: on its way out. */
const HIDDEN = /^\.(checkpoint-\d+)\.(replaced-|removed-)?(\d+-[0-9a-f]{8})\.tmp$/;

const ownMarks = new Set<string>();

export function checkpointName(step: number): string {
  return `checkpoint-${step}`;
}

/**
 * Makes `checkpoint-{step}` below `outputDir`; one of that name from an earlier run is replaced.
 * @param fill writes the files into the folder that it is given
 * @returns the folder
 */
export async function writeCheckpointFolder(
  outputDir: string,
  step: number,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const name = checkpointName(step);
  const target = join(outputDir, name);
  await requireOwned(outputDir);
  return withMark(async (mark) => {
    const temporary = join(outputDir, `.${name}.${mark}.tmp`);
    try {
      await makeFlushedFolder(temporary);
      await fill(temporary);
      await flushTree(temporary);
      // A run that was suspended may have lost its folder meanwhile.
      await requireOwned(outputDir);
      await requireUnused(target);
      await takeName(temporary, target, join(outputDir, `.${name}.replaced-${mark}.tmp`));
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      // A new owner has removed what was being written: report that instead.
      await requireOwned(outputDir);
      throw error;
    }
    return target;
  });
}

async function takeName(temporary: string, target: string, replaced: string): Promise<void> {
  const existed = await rename(target, replaced).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
  try {
    await rename(temporary, target);
  } catch (error) {
    if (existed) await rename(replaced, target);
    throw error;
  }
  await flushFolder(dirname(target));
  // The checkpoint is in place; the remains of the old one can wait for the next start.
  if (existed) await rm(replaced, { recursive: true, force: true }).catch(() => {});
}

/** Removes a checkpoint's folder; none is no error. */
export async function removeCheckpointFolder(path: string): Promise<void> {
  await requireOwned(dirname(path));
  await requireUnused(path);
  await withMark(async (mark) => {
    const hidden = join(dirname(path), `.${basename(path)}.removed-${mark}.tmp`);
    try {
      await rename(path, hidden);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(hidden, { recursive: true, force: true });
  });
}

/**
 * Finishes what a dead process left half-done: a checkpoint that was being replaced gets its name back, half-written
 * and half-removed ones go. A folder that a living run owns is not touched.
 * @param isOwner the caller owns the folder; else it becomes its owner for the while
 */
export async function tidyCheckpointFolders(outputDir: string, isOwner = false): Promise<void> {
  const isNeeded = (await namesIn(outputDir)).some((name) => HIDDEN.test(name));
  if (!isNeeded) return;
  if (isOwner) await tidy(outputDir);
  else await underOwnership(outputDir, () => tidy(outputDir));
}

async function tidy(outputDir: string): Promise<void> {
  const names = await namesIn(outputDir);
  const present = new Set(names);
  const hidden = names.flatMap((name) => {
    const [, target, kind, mark] = HIDDEN.exec(name) ?? [];
    return target ? [{ name, target, kind, mark: mark! }] : [];
  });
  for (const { name, target, kind, mark } of hidden) {
    if (kind !== 'replaced-' || present.has(target) || ownMarks.has(mark)) continue;
    // The old one made way only after the new one was whole.
    const successor = `.${target}.${mark}.tmp`;
    const from = present.has(successor) ? successor : name;
    await rename(join(outputDir, from), join(outputDir, target)).catch(() => {});
    present.add(target);
    present.delete(from);
  }
  for (const { name, mark } of hidden) {
    if (!present.has(name) || ownMarks.has(mark)) continue;
    await rm(join(outputDir, name), { recursive: true, force: true }).catch(() => {});
  }
}

function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function withMark<T>(work: (mark: string) => Promise<T>): Promise<T> {
  const mark = `${process.pid}-${randomBytes(4).toString('hex')}`;
  ownMarks.add(mark);
  try {
    return await work(mark);
  } finally {
    ownMarks.delete(mark);
  }
}
