/** Files that appear under their name only when they are complete, and from then on outlast a power cut. */
import { randomBytes } from 'node:crypto';
import { fsync } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { requirePath } from '../config.js';
import { writing } from './disk-errors.js';
import { makeFolder } from './make-folder.js';
import { lifeOfPid, ownIdentity, spaceMark } from './process-identity.js';

/**
 * Writes a file under a temporary name in the target's folder (made if need be), flushes it to the disk, renames it to
 * `path` and flushes the folder. When anything fails the temporary file is removed, and the file at `path` stays
 * as it was.
 * @param content the whole content, or a function that writes it piece by piece
 * @param flush false for a file in a folder that is flushed as a whole before it is used
 */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array | ((file: FileHandle) => Promise<void>),
  { flush = true }: { readonly flush?: boolean } = {},
): Promise<void> {
  const folder = dirname(path);
  await makeFlushedFolder(folder);
  await sweepOnce(folder);
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'wx');
    try {
      if (typeof content === 'function') await content(file);
      else await file.writeFile(content);
      if (flush) await flushHandle(file);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    if (flush) await flushFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Flushes an open file or folder to the disk. The file handles of Yarn's PnP cannot; their descriptors can. */
export function flushHandle(file: FileHandle): Promise<void> {
  return process.versions.pnp === undefined ? file.sync() : promisify(fsync)(file.fd);
}

/** `.NAME.PID-START-SPACE-RANDOM.tmp`: the name identifies the process that writes it. */
const TEMPORARY = /^\..+\.(\d+)-([0-9a-z]+)-([0-9a-f]{8})-[0-9a-f]{8}\.tmp$/;
const DAY_MS = 86_400_000;

/** Whether a name is one of those that {@link temporaryName} makes: the file is gone, or has its own name, in a moment. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** A name for a file that is to become `path`, in the same folder. */
export function temporaryName(path: string): string {
  const own = ownIdentity();
  const mark = `${own.pid}-${own.started?.toString(36) ?? 'x'}-${spaceMark(own)}-${randomBytes(4).toString('hex')}`;
  return join(dirname(path), `.${basename(path)}.${mark}.tmp`);
}

/**
 * Removes the temporary files of a folder whose processes have ended. Those of another container or host stay: whether
 * their writers live cannot be known from a name.
 */
export async function sweepTemporaries(folder: string): Promise<void> {
  const own = ownIdentity();
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const [, pid, start, space] = TEMPORARY.exec(name) ?? [];
    if (pid === undefined || own.space === undefined || space !== spaceMark(own)) continue;
    const started = start === 'x' ? undefined : Number.parseInt(start!, 36);
    if (lifeOfPid(Number(pid), started) !== 'dead') continue;
    const path = join(folder, name);
    // Without a start time the name may be that of another host with the same host name.
    const age = started === undefined ? Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0) : DAY_MS;
    if (age >= DAY_MS) await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Removes the temporary files of the given files, whoever wrote them: for the one process that may write these. */
export async function sweepTemporariesOf(folder: string, names: readonly string[]): Promise<void> {
  for (const found of await readdir(folder).catch((): string[] => [])) {
    const isOne = TEMPORARY.test(found) && names.some((name) => found.replace(/^\.+/, '').startsWith(`${name}.`));
    if (isOne) await rm(join(folder, found), { force: true }).catch(() => undefined);
  }
}

/**
 * Replaces files that belong together, so that a process killed on the way leaves the old set, the new one, or a folder
 * that is recognisably incomplete: the last file is removed first, and comes back after all others.
 * @param files name → what writes the file to the path that it is given
 * @param mayReplace is asked when all are written, before the first is put in place; throws if they must not be
 */
export async function replaceTogether(
  folder: string,
  files: ReadonlyMap<string, (path: string) => Promise<void>>,
  mayReplace?: () => Promise<void>,
): Promise<void> {
  const staged = new Map([...files.keys()].map((name) => [name, temporaryName(join(folder, name))]));
  try {
    for (const [name, write] of files) await write(staged.get(name)!);
    const last = [...files.keys()].at(-1)!;
    await mayReplace?.();
    await rm(join(folder, last), { force: true });
    await flushFolder(folder);
    for (const [name, path] of staged) await rename(path, join(folder, name));
    await flushFolder(folder);
  } finally {
    for (const path of staged.values()) await rm(path, { force: true }).catch(() => undefined);
  }
}

/** Folders that this process has swept: a large one is not read for every file. */
const swept = new Set<string>();
const MAX_SWEPT = 1000;

/** `sweepTemporaries`, once in a process for each folder. */
export async function sweepOnce(folder: string): Promise<void> {
  const path = resolve(folder);
  if (swept.has(path)) return;
  if (swept.size >= MAX_SWEPT) swept.clear();
  swept.add(path);
  await sweepTemporaries(path);
}

/**
 * `writeFileAtomically` for a file that a caller names.
 * @param what the function that the caller called, e.g. `renderPng`
 * @throws ConfigError for what is no path; DiskError where no file can be written
 */
export async function writeNamedFile(path: string, content: string | Uint8Array, what: string): Promise<void> {
  requirePath(path, what);
  await writing(path, () => writeFileAtomically(path, content));
}

/** Makes a folder and those missing above it, and flushes them to the disk. */
export async function makeFlushedFolder(path: string): Promise<void> {
  const first = await makeFolder(path);
  if (first === undefined) return;
  // A name is part of the folder that holds it.
  for (let at = resolve(path); ; at = dirname(at)) {
    await flushFolder(dirname(at));
    if (at === resolve(first) || at === dirname(at)) return;
  }
}

/** Flushes the content of a file to the disk. */
export async function flushFile(path: string): Promise<void> {
  // Windows flushes only what is open for writing.
  const file = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    await flushHandle(file);
  } finally {
    await file.close();
  }
}

/** Flushes the names in a folder to the disk. Does nothing where the system cannot do that to a folder, as on Windows. */
export async function flushFolder(path: string): Promise<void> {
  let folder: FileHandle;
  try {
    folder = await open(path, 'r');
  } catch (error) {
    if (process.platform === 'win32') return;
    throw error;
  }
  try {
    await flushHandle(folder);
  } catch (error) {
    // Some network file systems have no such call.
    if (!['EINVAL', 'EPERM', 'ENOTSUP', 'EBADF'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await folder.close();
  }
}

/** Flushes every file and folder below a folder to the disk: not all of them were written by this package. */
export async function flushTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await flushTree(path);
    else if (entry.isFile()) await flushFile(path);
  }
  await flushFolder(folder);
}
