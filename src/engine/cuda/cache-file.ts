/**
 * What the engine keeps between runs: compiled kernels, measured rates. A file that cannot be read,
 * is not of this user, or is no regular file is as good as none: its contents are recomputed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeFolderSync } from '../../files/make-folder.js';

/** A kernel takes some 100 kB. */
const MAX_BYTES = 67_108_864;
const DIGEST_BYTES = 32;

/** Where compiled kernels are kept: MINISTRAL_TUNE_CACHE, else XDG_CACHE_HOME or ~/.cache. */
export function kernelCacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const own = environment.MINISTRAL_TUNE_CACHE;
  const base = own ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ministral-tune');
  return join(base, 'kernels');
}

/** The bytes of a file of the cache; undefined if there is none that can be trusted. */
export function readCacheFile(path: string): Buffer | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const entry = fstatSync(file);
    const user = process.getuid?.();
    // Code that another user could put there would run with the rights of this one.
    const isForeign = user !== undefined && entry.uid !== user && entry.uid !== 0;
    if (!entry.isFile() || entry.size > MAX_BYTES || isForeign) return undefined;
    return readFileSync(file);
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** The JSON of a file of the cache; undefined if there is none, or it is damaged. */
export function readCacheJson(path: string): unknown {
  try {
    return JSON.parse((readCacheFile(path) ?? '').toString());
  } catch {
    return undefined;
  }
}

/** Writes a file of the cache so that a reader sees all of it or nothing; a read-only home is no error. */
export function writeCacheFile(path: string, contents: string | Uint8Array): void {
  try {
    makeFolderSync(dirname(path));
    const temporary = `${path}.${randomBytes(4).toString('hex')}`;
    writeFileSync(temporary, contents);
    renameSync(temporary, path);
  } catch {
    // It only costs the work again.
  }
}

/** As {@link writeCacheFile}, with a digest in front: damaged machine code could take the process down. */
export function writeCheckedFile(path: string, code: Uint8Array): void {
  writeCacheFile(path, Buffer.concat([digestOf(code), code]));
}

/** What {@link writeCheckedFile} wrote; undefined if there is nothing, or not all of it. */
export function readCheckedFile(path: string): Uint8Array | undefined {
  const bytes = readCacheFile(path);
  if (!bytes || bytes.length <= DIGEST_BYTES) return undefined;
  // A copy, aligned as drivers expect machine code to be.
  const code = Uint8Array.from(bytes.subarray(DIGEST_BYTES));
  return digestOf(code).equals(bytes.subarray(0, DIGEST_BYTES)) ? code : undefined;
}

function digestOf(code: Uint8Array): Buffer {
  return createHash('sha256').update(code).digest();
}
