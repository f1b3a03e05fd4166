/** Folders are made here alone: Node's own `recursive` never ends where a system refuses a folder, as in /proc. */
import { mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder and those missing above it.
 * @returns the topmost that was made; undefined if all were there
 * @throws the system's error: EEXIST or ENOTDIR where a file is in the way, ENOENT where the system makes no folders
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    if (await isFolder(path)) return undefined;
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error;
    const first = await makeFolder(parent);
    // ENOENT again is a refusal; another process may have made it meanwhile.
    await mkdir(path).catch(async (refusal) => {
      if (!(await isFolder(path))) throw refusal;
    });
    return first ?? path;
  }
}

/** {@link makeFolder} for code that cannot wait. */
export function makeFolderSync(path: string): void {
  const isThere = () => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  try {
    mkdirSync(path);
  } catch (error) {
    if (isThere()) return;
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error;
    makeFolderSync(parent);
    if (!isThere()) mkdirSync(path);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
