/** A folder of images as it lies on the disk: which folders hold which image files, and what lies beside them. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { DataError } from '../errors.js';
import { openRegularFile } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';
import { describeFormat, IMAGE_HEADER_BYTES, imageFormatOf, READ_FORMATS } from './image-format.js';

/** A file whose content is an image, or whose name says so. */
export interface FoundFile {
  /** Absolute path. */
  readonly path: string;
  /** Path below the root, with `/` on every system: what order goes by. */
  readonly key: string;
  /** Why a file with an image's name is none. */
  fault?: string;
  /** A file without an image's name that is DICOM, which often has no ending. */
  isDicom?: boolean;
}

export interface FolderNode {
  readonly name: string;
  /** Absolute path. */
  readonly path: string;
  /** Images in this folder itself. */
  images: FoundFile[];
  /** Files in this folder itself that are no images and are not named like one. */
  others: FoundFile[];
  readonly folders: FolderNode[];
  /** Images in this folder and below. */
  total: number;
}

/** Ways by which symbolic links may lead to one folder. */
const MAX_VISITS = 16;

interface Walk {
  readonly candidates: { file: FoundFile; named: boolean }[];
  /** By real path. */
  readonly visits: Map<string, number>;
}

/** What systems and programs leave beside files: previews, waste bins, caches. Their images are copies. */
const SYSTEM_NAMES: ReadonlySet<string> = new Set(
  '__macosx|__pycache__|@eadir|#recycle|@recycle|@recently-snapshot|#snapshot|$recycle.bin|recycler|system volume information|lost+found'.split(
    '|',
  ),
);

export const IMAGE_ENDING = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|avif)$/i;

/**
 * Reads a folder and what is below it. Files are recognised by their first bytes; what is neither an image nor named like
 * one is left out, and so are names that start with a dot and those of systems, as `__MACOSX`. Symbolic links are followed.
 * @throws DataError for a folder that is missing, no folder, or unreadable, and for a loop of symbolic links
 */
export async function readFolderTree(dir: string): Promise<FolderNode> {
  const root = resolve(dir);
  let real: string;
  try {
    real = await realpath(root);
    if (!(await stat(root)).isDirectory()) {
      throw new DataError(`${oneLine(root)}: a file, where a folder of images was expected`, {
        hint: 'Give the folder of the images; a table of their classes is read by `ImageFolder.fromTable`.',
        details: { path: root },
      });
    }
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw folderError(root, cause);
  }
  const candidates: { file: FoundFile; named: boolean }[] = [];
  const node = await readFolder(root, '', [real], { candidates, visits: new Map() });
  const nonImages = new Set<FoundFile>();
  await forEachConcurrently(candidates, 32, async ({ file, named }) => {
    const fault = file.fault ?? (await faultOf(file.path));
    if (fault === undefined) return;
    if (named) file.fault = fault;
    else {
      nonImages.add(file);
      if (/\bDICOM\b/.test(fault)) file.isDicom = true;
    }
  });
  prune(node, nonImages);
  return node;
}

/** Runs `work` on all items, at most `limit` at a time. The first error ends it. */
export async function forEachConcurrently<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const item = items[next++]!;
      try {
        await work(item);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
}

/** @param lineage real paths of the folder and of all above it */
async function readFolder(path: string, key: string, lineage: readonly string[], walk: Walk): Promise<FolderNode> {
  // Links that fan out and meet again make no loop, but more ways than anyone can walk.
  const visits = (walk.visits.get(lineage.at(-1)!) ?? 0) + 1;
  walk.visits.set(lineage.at(-1)!, visits);
  if (visits > MAX_VISITS) throw manyWaysError(path);
  const node: FolderNode = { name: basename(path), path, images: [], others: [], folders: [], total: 0 };
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => {
    throw folderError(path, cause);
  });
  for (const entry of entries) {
    if (entry.name.startsWith('.') || SYSTEM_NAMES.has(entry.name.toLowerCase())) continue;
    const file: FoundFile = { path: join(path, entry.name), key: key ? `${key}/${entry.name}` : entry.name };
    const named = IMAGE_ENDING.test(entry.name);
    let kind: { isDirectory(): boolean; isFile(): boolean } = entry;
    if (entry.isSymbolicLink()) {
      try {
        kind = await stat(file.path);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ELOOP') throw loopError(file.path);
        if (!named) continue;
        file.fault = 'a symbolic link that leads nowhere';
      }
    }
    if (kind.isDirectory()) {
      const real = entry.isSymbolicLink() ? await realpath(file.path) : join(lineage.at(-1)!, entry.name);
      if (lineage.includes(real)) throw loopError(file.path);
      node.folders.push(await readFolder(file.path, file.key, [...lineage, real], walk));
    } else if (kind.isFile() || file.fault !== undefined) {
      node.images.push(file);
      walk.candidates.push({ file, named });
    } else if (named) {
      file.fault = 'a pipe, a socket or a device, not a file';
      node.images.push(file);
      walk.candidates.push({ file, named });
    }
  }
  return node;
}

async function faultOf(path: string): Promise<string | undefined> {
  try {
    const { file: handle } = await openRegularFile(path);
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(IMAGE_HEADER_BYTES), 0, IMAGE_HEADER_BYTES, 0);
      if (bytesRead === 0) return 'the file is empty';
      const start = buffer.subarray(0, bytesRead);
      return imageFormatOf(start) ? undefined : `the content is no ${READ_FORMATS} image, but ${describeFormat(start)}`;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    return `cannot be read: ${(cause as Error).message}`;
  }
}

function prune(node: FolderNode, nonImages: ReadonlySet<FoundFile>): void {
  node.others = node.images.filter((file) => nonImages.has(file));
  node.images = node.images.filter((file) => !nonImages.has(file));
  node.total = node.images.length;
  for (const folder of node.folders) {
    prune(folder, nonImages);
    node.total += folder.total;
  }
}

function loopError(path: string): DataError {
  return new DataError(`${oneLine(path)}: a symbolic link that leads back to a folder above it`, {
    hint: 'Remove the link, or load the folder that it points to.',
    details: { path },
  });
}

function manyWaysError(path: string): DataError {
  return new DataError(`${oneLine(path)}: symbolic links lead to this folder by more than ${MAX_VISITS} ways`, {
    hint: 'Remove the links, or load the folder that they point to.',
    details: { path },
  });
}

function folderError(path: string, cause: unknown): DataError {
  const code = (cause as NodeJS.ErrnoException).code;
  const why =
    code === 'ENOENT'
      ? 'no such folder'
      : code === 'EACCES' || code === 'EPERM'
        ? 'no permission to read this folder'
        : code === 'ELOOP'
          ? 'a loop of symbolic links'
          : `cannot read this folder: ${(cause as Error).message}`;
  return new DataError(`${oneLine(path)}: ${why}`, {
    ...(code === 'ENOENT' && {
      hint: 'Give the folder that holds the class folders, or download the data set first.',
    }),
    details: { path },
    cause,
  });
}
