/**
 * What makes a checkpoint's folder one that can be relied on: each file is read back and digested before the folder gets
 * its name, and all of them are looked at again before anything is taken from it.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsFile } from '../engine/safetensors.js';
import { CheckpointError } from '../errors.js';
import {
  changedFiles,
  FAILING_DISK,
  FileDigests,
  findFaults,
  listFiles,
  MANIFEST_FILE,
  readManifest,
  writeManifest,
} from '../file-digests.js';

/** Nothing is computed from these: a change is reported and no more. */
const NOTES = /\.md$/i;
const ANOTHER = 'Resume from another checkpoint: `resumeFromCheckpoint: true` takes the newest that is sound.';
/** Few calls, and other work can be done between them. */
const PIECE = 8_388_608;

/** Digests files while others are still being written. */
export class CheckpointSeal {
  readonly #folder: string;
  readonly #digests = new FileDigests();
  readonly #found = new Map<string, Promise<string>>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Begins with every file that has come since; those that are there must be whole. */
  async begin(): Promise<void> {
    for (const name of await listFiles(this.#folder)) {
      if (this.#found.has(name)) continue;
      const digest = this.#digests.digest(join(this.#folder, name));
      // Whoever waits for it hears of it.
      digest.catch(() => undefined);
      this.#found.set(name, digest);
    }
  }

  /** Writes the list of all files. */
  async end(): Promise<void> {
    await this.begin();
    const names = [...this.#found.keys()].sort();
    const found = await Promise.all(names.map(async (name) => [name, await this.#found.get(name)!] as const));
    await writeManifest(this.#folder, new Map(found));
  }

  /** Ends what is under way. */
  close(): Promise<void> {
    return this.#digests.close();
  }
}

/** @throws CheckpointError if a file of tensors does not hold these arrays to the bit */
export async function requireTensors(path: string, arrays: ReadonlyMap<string, ArrayBufferView>): Promise<void> {
  const file = await SafetensorsFile.open(path);
  const piece = Buffer.allocUnsafeSlow(PIECE);
  try {
    for (const [name, array] of arrays) {
      const expected = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
      for (let at = 0; at < expected.length; at += PIECE) {
        const found = piece.subarray(0, Math.min(PIECE, expected.length - at));
        await file.readBytes(name, found, at);
        if (!found.equals(expected.subarray(at, at + found.length))) throw unfaithful(path, `"${name}"`);
      }
    }
  } finally {
    await file.close();
  }
}

/** @throws CheckpointError if a file does not hold this text to the bit */
export async function requireText(path: string, text: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    if (!(await file.readFile()).equals(Buffer.from(text))) throw unfaithful(path, 'it');
  } finally {
    await file.close();
  }
}

function unfaithful(path: string, what: string): CheckpointError {
  return new CheckpointError(`${path} was not written faithfully: ${what} holds other bytes than were to be written`, {
    hint: FAILING_DISK,
    details: { path },
  });
}

/** What is known of a folder whose digests were looked at. */
export interface SealFindings {
  /** Without a list, as checkpoints of format 2: nothing can be told. */
  readonly hasManifest: boolean;
  readonly warnings: readonly string[];
}

/**
 * Compares all files of a checkpoint with its list. Files that the list does not name are somebody else's, but for those
 * that every checkpoint has.
 * @throws CheckpointError naming each file that is missing or is not as it was written
 */
export async function checkSeal(folder: string, required: readonly string[]): Promise<SealFindings> {
  const manifest = await readManifest(folder);
  if (!manifest) return { hasManifest: false, warnings: [] };
  const missing = required.filter((name) => !manifest.has(name));
  if (missing.length > 0) {
    throw new CheckpointError(`${join(folder, MANIFEST_FILE)} is damaged: it does not name ${missing.join(' and ')}`, {
      hint: ANOTHER,
      details: { path: folder, missing },
    });
  }
  const faults = await findFaults(folder, manifest, manifest.keys());
  const notes = faults.filter(({ name }) => NOTES.test(name));
  const serious = faults.filter(({ name }) => !NOTES.test(name));
  if (serious.length > 0) {
    throw changedFiles(folder, serious, ANOTHER, required);
  }
  return { hasManifest: true, warnings: notes.map(({ text }) => `${folder}: ${text}; nothing is read from it`) };
}
