/** The images of a data set on the Hub, as one folder: the snapshot itself, or one with its zip archives unpacked. */
import { createHash, randomUUID } from 'node:crypto';
import { copyFile, readdir, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ArchiveError } from '../archive/archive-error.js';
import { extractZip } from '../archive/extract-zip.js';
import { ConfigError } from '../errors.js';
import { writeError } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { hubCacheFolder } from '../hub/environment.js';
import { selectPaths } from '../hub/file-patterns.js';
import type { HubDownload } from '../hub/hub-options.js';
import { cacheName } from '../hub/repo-kind.js';
import { datasetSnapshot, type FileSelection, type Snapshot } from '../hub/snapshot-download.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { withLock } from '../transfer/lock.js';
import { IMAGE_ENDING } from './folder-tree.js';
import { exportImages, type ParquetSource } from './parquet/export-images.js';
import { type ChosenColumns, findImageColumns } from './parquet/image-columns.js';
import { ParquetFile } from './parquet/parquet-file.js';

interface ImageFilesOptions extends ChosenColumns {
  readonly dataDir: string | undefined;
  readonly ignorePatterns: string | readonly string[] | undefined;
  readonly allowCaseConflicts: boolean;
}

const IMAGE_ENDINGS = 'jpg jpeg jfif png webp gif bmp tif tiff heic avif'.split(' ');
/** What is fetched beside images: tables of classes, names of classes, archives, tables of images. */
const OTHER_ENDINGS = 'csv tsv jsonl ndjson json txt zip parquet'.split(' ');

/**
 * Brings the images and tables of a data set into the cache.
 * @returns a folder to be read
 * @throws HubError if the data set has none, saying what it has; ArchiveError for one that is not unpacked
 */
export async function downloadImageFiles(
  repoId: string,
  download: HubDownload,
  options: ImageFilesOptions,
): Promise<string> {
  const dataDir = folderIn(options.dataDir);
  const within = dataDir === '' ? '' : `${escapePattern(dataDir)}/`;
  const selection: FileSelection = {
    allowPatterns: [...IMAGE_ENDINGS, ...OTHER_ENDINGS].map((ending) => `${within}*.${anyCase(ending)}`),
    ignorePatterns: options.ignorePatterns,
    within: dataDir === '' ? undefined : dataDir,
    refuse: (paths) => refuse(paths, dataDir),
  };
  const { folder, commit } = await fetchAfterLook(repoId, download, selection, options);
  const root = join(folder, ...dataDir.split('/'));
  const paths = await filesBelow(root);
  const cache = join(hubCacheFolder(download.cacheDir), cacheName(`datasets/${repoId}`), 'unpacked');
  const unpacking = new Unpacking(cache, `${repoId} ${commit}`, download, options);
  const tables = paths.filter(isImageTable);
  if (tables.length > 0) {
    const others = paths.filter((path) => IMAGE_ENDING.test(path) || isZip(path)).length;
    const warn = download.onWarning ?? ((line: string) => process.emitWarning(line, 'HubWarning'));
    if (others > 0)
      warn(`${repoId}: its Parquet files are read, and ${others} images and archives beside them are not`);
    return unpacking.exportTables(root, tables);
  }
  return paths.some(isZip) ? unpacking.run(root, paths) : root;
}

const isZip = (path: string): boolean => /\.zip$/i.test(path);
/** Of images, or so it seems; a metadata.parquet is beside images. */
const isImageTable = (path: string): boolean => /\.parquet$/i.test(path) && !/(^|\/)metadata\.parquet$/i.test(path);

/** Where the data are in Parquet files, one of them tells whether they are images before all are fetched. */
async function fetchAfterLook(
  repoId: string,
  download: HubDownload,
  selection: FileSelection,
  columns: ChosenColumns,
): Promise<Snapshot> {
  let first: string | undefined;
  let refusal: string | undefined;
  let revision: string | undefined;
  const refuseOnce = (paths: readonly string[], commit: string): string | undefined => {
    revision = commit;
    refusal = selection.refuse?.(paths, commit);
    first = selectPaths(paths, selection.allowPatterns, selection.ignorePatterns).filter(isImageTable).sort()[0];
    return refusal ?? (first === undefined ? undefined : 'one of its Parquet files is looked at first');
  };
  try {
    return await datasetSnapshot(repoId, download, { ...selection, refuse: refuseOnce });
  } catch (error) {
    if (first === undefined || revision === undefined || refusal !== undefined) throw error;
    const { folder } = await datasetSnapshot(
      repoId,
      { ...download, revision },
      { allowPatterns: escapePattern(first), within: selection.within },
    );
    const file = await ParquetFile.open(join(folder, ...first.split('/')));
    try {
      findImageColumns(file, columns);
    } finally {
      await file.close();
    }
    return datasetSnapshot(repoId, download, selection);
  }
}

function folderIn(dataDir: string | undefined): string {
  const parts = (dataDir ?? '')
    .replaceAll('\\', '/')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  if (!parts.includes('..') && !/^[A-Za-z]:$/.test(parts[0] ?? '')) return parts.join('/');
  throw new ConfigError('HubImageFolder.download: `dataDir` leads out of the repository', {
    hint: 'Give a folder of the repository, as in `dataDir: "data/images"`.',
  });
}

const anyCase = (ending: string): string => [...ending].map((letter) => `[${letter}${letter.toUpperCase()}]`).join('');
const escapePattern = (path: string): string => path.replace(/[[*?]/g, '[$&]');

/** Forms in which data sets are published that are no folders of images, by the endings of their files. */
const FORMS: readonly (readonly [ending: RegExp, what: string, advice: string])[] = [
  [/\.arrow$/i, 'Arrow files', 'load_dataset in Python reads them, and writes images'],
  [/\.tar$/i, 'tar archives (WebDataset)', 'unpack them'],
  [/\.(tgz|tar\.\w+|7z|rar|gz|bz2|xz|zst)$/i, 'archives other than zip', 'unpack them'],
  [/\.(tfrecords?|npz|npy|h5|hdf5|pkl|pt|mat)(-\d.*)?$/i, 'arrays', 'save them as images'],
  [/\.(dcm|dicom|nii)$/i, 'medical volumes (DICOM, NIfTI)', 'convert them to PNG with a chosen window'],
];

/** What is wrong with a data set whose files are these; undefined if it has images or archives. */
function refuse(paths: readonly string[], dataDir: string): string | undefined {
  const inside = dataDir === '' ? paths : paths.filter((path) => path.startsWith(`${dataDir}/`));
  if (inside.length === 0) {
    const folders = [...new Set(paths.flatMap((path) => (path.includes('/') ? [path.split('/')[0]!] : [])))];
    return `it has no folder "${dataDir}"${folders.length > 0 ? `, but ${list(folders)}` : ''}`;
  }
  const count = (pattern: RegExp): number => inside.filter((path) => pattern.test(path)).length;
  const images = count(IMAGE_ENDING);
  if (inside.some(isImageTable)) return undefined;
  // Beside tables that hold the images there are only those of the page.
  if (count(/\.arrow$/i) === 0 && (images > 0 || inside.some(isZip))) return undefined;
  const where = dataDir === '' ? 'it' : `its folder "${dataDir}"`;
  for (const [ending, what, advice] of FORMS) {
    const found = count(ending);
    if (found === 0) continue;
    return (
      `${where} has its data in ${found} ${what}, which are not read here; ${advice}, then ImageFolder.load(folder)` +
      (images > 0 ? `. The ${images} image files beside them are read with \`dataDir\`` : '')
    );
  }
  const hasScript = inside.some((path) => path.endsWith('.py'));
  if (hasScript) return `${where} has no images, but a loading script in Python, which is never run`;
  return `${where} has no images, but ${list(inside)}`;
}

function list(names: readonly string[]): string {
  return shortList(names, 5, (name) => JSON.stringify(name.slice(0, 100)));
}

async function filesBelow(dir: string, prefix = ''): Promise<string[]> {
  const entries = await readdir(join(dir, prefix), { withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const path = prefix ? `${prefix}/${entry.name}` : entry.name;
    if (entry.isDirectory()) found.push(...(await filesBelow(dir, path)));
    else found.push(path);
  }
  return found;
}

/**
 * ```
 * unpacked/DIGEST/...    the files of an archive of this content
 * unpacked/all-KEY/...   links to the files of a snapshot, and to the folders of its archives in their places
 * unpacked/images-KEY/.. the images of Parquet files of these contents
 * ```
 */
class Unpacking {
  readonly #cache: string;
  readonly #name: string;
  readonly #download: HubDownload;
  readonly #options: ImageFilesOptions;

  constructor(cache: string, name: string, download: HubDownload, options: ImageFilesOptions) {
    this.#cache = cache;
    this.#name = name;
    this.#download = download;
    this.#options = options;
  }

  /** @returns a folder with the images of Parquet files */
  async exportTables(root: string, paths: readonly string[]): Promise<string> {
    const { imageColumn, labelColumn } = this.#options;
    const sources: ParquetSource[] = [];
    const key = createHash('sha256').update(JSON.stringify([1, imageColumn, labelColumn]));
    for (const path of paths) {
      const real = await realpath(join(root, path));
      key.update(`${path}\0${this.#digest(path, real)}\0`);
      sources.push({ path: real, key: path });
    }
    const { signal } = this.#download;
    return this.#make(`images-${key.digest('hex').slice(0, 40)}`, (dir) =>
      exportImages(sources, dir, { imageColumn, labelColumn, signal }),
    );
  }

  /** @returns a folder that stands for `root` */
  async run(root: string, paths: readonly string[]): Promise<string> {
    const links = new Map<string, { target: string; isFolder: boolean }>();
    const taken = new Set(paths.flatMap((path) => path.split('/').map((_, i, parts) => parts.slice(0, i).join('/'))));
    for (const path of paths) {
      const real = await realpath(join(root, path));
      if (!isZip(path)) {
        links.set(path, { target: real, isFolder: false });
        continue;
      }
      const place = path.replace(/\.zip$/i, '');
      links.set(taken.has(place) ? path : place, { target: await this.#unpack(path, real), isFolder: true });
    }
    const key = createHash('sha256').update(this.#name).update('\0');
    for (const [path, { target }] of links) key.update(`${path}\0${target}\0`);
    return this.#make(`all-${key.digest('hex').slice(0, 40)}`, async (dir) => {
      for (const [path, { target, isFolder }] of links) await link(target, join(dir, ...path.split('/')), isFolder);
    });
  }

  /** A blob bears its digest; where links cannot be made, the snapshot's own file has another name. */
  #digest(path: string, real: string): string {
    if (/^[0-9a-f]{40,64}$/.test(basename(real))) return basename(real);
    return createHash('sha256').update(`${this.#name}\0${path}`).digest('hex');
  }

  async #unpack(path: string, real: string): Promise<string> {
    return this.#make(this.#digest(path, real), async (dir) => {
      try {
        const { signal } = this.#download;
        await extractZip(real, dir, { signal, allowCaseConflicts: this.#options.allowCaseConflicts });
      } catch (error) {
        if (!(error instanceof ArchiveError)) throw error;
        throw error.with({
          summary: `${this.#name.split(' ')[0]}: ${oneLine(path)}: ${error.reason}`,
          hint: `${error.hint} The archive is kept at ${real}: unpack it by other means and read the folder by ImageFolder.load.`,
          details: { ...error.details, archive: real },
        });
      }
    });
  }

  async #make(name: string, fill: (dir: string) => Promise<void>): Promise<string> {
    const folder = join(this.#cache, name);
    const exists = async (): Promise<boolean> => (await stat(folder).catch(() => undefined))?.isDirectory() ?? false;
    if (await exists()) return folder;
    const { signal, onWarning } = this.#download;
    const onWait = (): void => onWarning?.(`${this.#name.split(' ')[0]}: another process unpacks it; waiting`);
    const work = async (): Promise<void> => {
      if (await exists()) return;
      const beginning = `.${name}.unpacking.`;
      for (const left of await readdir(this.#cache)) {
        // Of a process that died.
        if (left.startsWith(beginning)) await rm(join(this.#cache, left), { recursive: true, force: true });
      }
      const temporary = join(this.#cache, `${beginning}${randomUUID()}`);
      try {
        await fill(temporary);
        await rename(temporary, folder);
      } catch (error) {
        await rm(temporary, { recursive: true, force: true });
        throw writeError(error, folder);
      }
    };
    await withLock(join(this.#cache, `.${name}.lock`), work, { signal, onWait });
    return folder;
  }
}

async function link(target: string, path: string, isFolder: boolean): Promise<void> {
  await makeFolder(dirname(path));
  try {
    // Windows lets everybody make junctions, but no other links.
    await symlink(target, path, isFolder ? 'junction' : 'file');
  } catch (error) {
    if (isFolder) throw error;
    await copyFile(target, path);
  }
}
