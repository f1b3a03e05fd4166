/** Trees of small files for tests of folders: images where nothing else is said. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { ImageFolder, type ImageFolderOptions, type ImageTableOptions } from '../../src/data/image-folder.js';

const image = sharp({ create: { width: 1, height: 1, channels: 3, background: '#358' } })
  .png()
  .toBuffer();

/** Writes files below `dir`. `name=text` is a text file, any other name an image. */
export async function plant(dir: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    const [name, ...text] = file.split('=');
    const path = join(dir, name!);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text.length > 0 ? text.join('=') : await image);
  }
}

/** Counts by split and class, the warnings, or the message of the error. The root is written as `.` */
export interface Outcome {
  readonly counts?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly warnings: string;
  readonly message: string;
}

export function countsOf(folder: ImageFolder): Record<string, Record<string, number>> {
  return Object.fromEntries([...folder.splits].map(([name, set]) => [name, Object.fromEntries(set.classCounts())]));
}

export async function outcomeOf(
  dir: string,
  load: (onWarning: (line: string) => void) => Promise<ImageFolder>,
): Promise<Outcome> {
  const warnings: string[] = [];
  const short = (text: string) => text.replaceAll(dir, '.');
  try {
    const folder = await load((line) => warnings.push(line));
    return { counts: countsOf(folder), warnings: short(warnings.join('\n')), message: '' };
  } catch (error) {
    return { warnings: short(warnings.join('\n')), message: short((error as Error).message) };
  }
}

export function loadFolder(dir: string, options: ImageFolderOptions = {}): Promise<Outcome> {
  return outcomeOf(dir, (onWarning) => ImageFolder.load(dir, { ...options, onWarning }));
}

export function loadTable(
  dir: string,
  path: string | readonly string[],
  options: ImageTableOptions = {},
): Promise<Outcome> {
  const paths = typeof path === 'string' ? join(dir, path) : path.map((one) => join(dir, one));
  return outcomeOf(dir, (onWarning) => ImageFolder.fromTable(paths, { ...options, onWarning }));
}
