/** The secret of ranks on one machine: a file that rank 0 makes and only the same user can read. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MAX_BYTES = 256;

/** Where the secret of the hub on this port lies. */
export function secretPath(port: number, folder: string = secretFolder()): string {
  return join(folder, `rendezvous-${port}`);
}

function secretFolder(): string {
  return join(tmpdir(), `ministral-tune-${process.getuid?.() ?? 'user'}`);
}

/** Makes a new one. @throws what the file system throws; an Error that says what is wrong with the folder */
export function writeSecret(path: string): string {
  const folder = join(path, '..');
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || !isPrivate(stat)) {
    throw new Error(`${folder} is no folder that belongs to this user alone`);
  }
  // Of a process that has ended: whoever listens on the port owns the name.
  rmSync(path, { force: true });
  const secret = randomBytes(32).toString('hex');
  const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    writeSync(file, secret);
  } finally {
    closeSync(file);
  }
  return secret;
}

/** @returns undefined if there is none that this user alone can have written */
export function readSecret(path: string): string | undefined {
  let file: number;
  try {
    // Not that of Windows, which has no such links and no owners.
    file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch {
    return undefined;
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || !isPrivate(stat)) return undefined;
    const bytes = Buffer.alloc(MAX_BYTES);
    const text = bytes.subarray(0, readSync(file, bytes, 0, MAX_BYTES, 0)).toString();
    return /^[0-9a-f]{64}$/.test(text) ? text : undefined;
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

function isPrivate({ uid, mode }: { readonly uid: number; readonly mode: number }): boolean {
  return process.getuid === undefined || (uid === process.getuid() && (mode & 0o077) === 0);
}
