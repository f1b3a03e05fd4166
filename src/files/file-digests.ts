/**
 * SHA-256 of the files of a folder, in a list beside them that `sha256sum -c` reads too. A checkpoint carries one, so that
 * a flipped bit is found before anything is computed with it.
 *
 * The list has exactly one valid form. So a bit that flips in the list itself is found as well: it gives another digest,
 * the name of a missing file, or an invalid line.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { WorkerThreads } from '../async/worker-threads.js';
import { CheckpointError } from '../errors.js';
import program from '../generated/digest-worker.js';
import { showValue } from '../messages/show-value.js';
import { isTemporary, writeFileAtomically } from './atomic-file.js';
import { readRegularFile } from './regular-file.js';

/** The list of a checkpoint's folder. */
export const MANIFEST_FILE = 'checkpoint.sha256';

const MAX_MANIFEST_BYTES = 4_194_304;
/** Larger files are digested on other threads; to start one takes as long as to digest so many bytes here. */
const MAX_BYTES_HERE = 8_388_608;
/** A checkpoint has two large files. */
const MOST_WORKERS = 2;
const SHOWN_DIGITS = 16;
/** The lock of whoever writes into the folder, and its temporary files. */
const LOCK = /^\.ministral-tune[\w-]*\.lock/;
const LINE = /^(\\?)([0-9a-f]{64}) {2}(.+)$/s;

/** SHA-256 by path below the folder, with slashes. */
type Manifest = ReadonlyMap<string, string>;

/** A file that is not what its list says. */
export interface DigestFault {
  readonly name: string;
  readonly expected: string;
  /** Undefined if the file is missing or cannot be read. */
  readonly found: string | undefined;
  /** In words, with the name. */
  readonly text: string;
}

/** Digests files, large ones on other threads. */
export class FileDigests {
  #threads: WorkerThreads<string, string> | undefined;

  /**
   * SHA-256 of a regular file, in hexadecimal digits.
   * @throws Error if it cannot be read
   */
  async digest(path: string): Promise<string> {
    const entry = await stat(path);
    if (!entry.isFile()) throw new Error('not a regular file');
    if (entry.size <= MAX_BYTES_HERE) {
      return createHash('sha256')
        .update(await readRegularFile(path, MAX_BYTES_HERE))
        .digest('hex');
    }
    this.#threads ??= new WorkerThreads(program, Math.min(MOST_WORKERS, availableParallelism()));
    return this.#threads.run(path);
  }

  async close(reason = new Error('no digest is asked for any more')): Promise<void> {
    const threads = this.#threads;
    this.#threads = undefined;
    await threads?.close(reason);
  }
}

/** Sorted names of all regular files in and below a folder, with slashes, without the list, locks and temporary files. */
export async function listFiles(folder: string, below = ''): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const name = below + entry.name;
    if (entry.isDirectory()) names.push(...(await listFiles(folder, `${name}/`)));
    else if (entry.isFile() && name !== MANIFEST_FILE && !isTemporary(entry.name) && !LOCK.test(entry.name)) {
      names.push(name);
    }
  }
  return names.sort();
}

/** Writes the list of a folder. */
export async function writeManifest(folder: string, digests: Manifest): Promise<void> {
  const path = join(folder, MANIFEST_FILE);
  const text = [...digests].map(([name, digest]) => `${lineOf(name, digest)}\n`).join('');
  await writeFileAtomically(path, text);
  if ((await readFile(path, 'utf8')) !== text) {
    throw new CheckpointError(`${path} does not hold what was written to it`, { hint: FAILING_DISK });
  }
}

export const FAILING_DISK = 'The disk or its connection is failing: save elsewhere.';

/**
 * The list of a folder; undefined if it has none.
 * @throws CheckpointError if it is damaged
 */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_FILE);
  let text: string;
  try {
    const bytes = await readRegularFile(path, MAX_MANIFEST_BYTES);
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw damagedList(path, (cause as Error).message, cause);
  }
  if (text === '') throw damagedList(path, 'it is empty');
  const digests = new Map<string, string>();
  const lines = text.split('\n');
  if (lines.pop() !== '') throw damagedList(path, 'its last line is cut off');
  for (const [i, line] of lines.entries()) {
    const [, isEscaped, digest, written] = LINE.exec(line) ?? [];
    const name = written === undefined ? undefined : isEscaped ? unescaped(written) : written;
    // Another spelling of the same name may be a flipped bit.
    const isPlain = name !== undefined && lineOf(name, digest!) === line && !leadsOut(name) && !digests.has(name);
    if (!isPlain) throw damagedList(path, `line ${i + 1} is ${showValue(line)}, not a digest and the name of a file`);
    digests.set(name, digest!);
  }
  return digests;
}

/**
 * What of a folder is not as its list says.
 * @param names of the files that are looked at; those that the list does not have are somebody else's
 */
export async function findFaults(folder: string, manifest: Manifest, names: Iterable<string>): Promise<DigestFault[]> {
  const digests = new FileDigests();
  try {
    const looked = [...names].flatMap((name) => {
      const expected = manifest.get(name);
      return expected === undefined ? [] : [{ name, expected }];
    });
    const found = await Promise.all(
      looked.map(({ name }) => digests.digest(join(folder, name)).catch((error: NodeJS.ErrnoException) => error)),
    );
    return looked.flatMap(({ name, expected }, i): DigestFault[] => {
      const digest = found[i]!;
      if (digest === expected) return [];
      if (typeof digest !== 'string') {
        const why = digest.code === 'ENOENT' ? 'is missing' : `cannot be read: ${digest.message}`;
        return [{ name, expected, found: undefined, text: `${showName(name)} ${why}` }];
      }
      const [was, is] = [expected, digest].map((hex) => `${hex.slice(0, SHOWN_DIGITS)}…`);
      const text = `${showName(name)} has the SHA-256 ${is}, it was written with ${was}`;
      return [{ name, expected, found: digest, text }];
    });
  } finally {
    await digests.close();
  }
}

/**
 * Checks files of a folder against its list, where it has one; what the list does not name is not looked at.
 * @throws CheckpointError naming those that are not as they were written, with details.files
 */
export async function requireUnchanged(folder: string, names: readonly string[]): Promise<void> {
  const manifest = await readManifest(folder);
  const faults = manifest ? await findFaults(folder, manifest, names) : [];
  if (faults.length > 0) throw changedFiles(folder, faults, 'Take another checkpoint.');
}

/**
 * The error for files that are not as they were written.
 * @param advice what to do instead, a sentence
 * @param needed files that nobody may change
 */
export function changedFiles(
  folder: string,
  faults: readonly DigestFault[],
  advice: string,
  needed: readonly string[] = [],
): CheckpointError {
  const listed = faults.map(({ text }) => text).join('; ');
  const own = ` Where the change is your own, remove the line of that file from ${MANIFEST_FILE}.`;
  const mayBeOwn = !faults.some(({ name }) => needed.includes(name));
  return new CheckpointError(`${folder} is damaged: ${listed}`, {
    hint: `The disk, a copy or somebody has changed it since. ${advice}${mayBeOwn ? own : ''}`,
    details: { path: folder, files: faults.map(({ name, expected, found }) => ({ name, expected, found })) },
  });
}

/** Takes files out of the list of a folder before they are written anew. */
export async function forgetDigests(folder: string, names: readonly string[]): Promise<void> {
  const manifest = await readManifest(folder);
  if (!manifest || !names.some((name) => manifest.has(name))) return;
  await writeManifest(folder, new Map([...manifest].filter(([name]) => !names.includes(name))));
}

/** As sha256sum writes it: where a name has a backslash or the end of a line, both are escaped. */
function lineOf(name: string, digest: string): string {
  const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  return `${escaped === name ? '' : '\\'}${digest}  ${escaped}`;
}

function unescaped(name: string): string {
  return name.replace(/\\(.)/gs, (_, letter: string) => ({ n: '\n', r: '\r' })[letter] ?? letter);
}

function leadsOut(name: string): boolean {
  return name.split('/').some((part) => part === '' || part === '.' || part === '..') || name.includes('\0');
}

function showName(name: string): string {
  return showValue(name).slice(1, -1);
}

function damagedList(path: string, why: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`${path} is damaged: ${why}`, {
    hint: 'The digests of the checkpoint are in it; without them the rest cannot be checked. Take another one.',
    details: { path },
    cause,
  });
}
