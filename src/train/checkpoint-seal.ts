/** Each file of a checkpoint is read back and digested before its folder gets its name, and checked before it is read. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import {
  changedFiles,
  type DigestFault,
  FAILING_DISK,
  FileDigests,
  findFaults,
  listFiles,
  MANIFEST_FILE,
  readManifest,
  writeManifest,
} from '../files/file-digests.js';
import { SafetensorsFile } from '../formats/safetensors.js';

/** Nothing is computed from these: a change is reported and no more. */
const NOTES = /\.md$/i;
const ANOTHER = 'Resume from another checkpoint: `resumeFromCheckpoint: true` takes the newest that is sound.';
/** Few calls, and other work can be done between them. */
const PIECE = 8_388_608;

/** Compares files with what they were to hold, and digests them while others are still being written. */
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

  /** @throws CheckpointError if a file of tensors does not hold these arrays to the bit */
  async requireTensors(name: string, arrays: ReadonlyMap<string, ArrayBufferView>): Promise<void> {
    const file = await SafetensorsFile.open(join(this.#folder, name));
    const piece = Buffer.allocUnsafeSlow(PIECE);
    try {
      for (const [key, array] of arrays) {
        const expected = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
        for (let at = 0; at < expected.length; at += PIECE) {
          const found = piece.subarray(0, Math.min(PIECE, expected.length - at));
          await file.readBytes(key, found, at);
          if (!found.equals(expected.subarray(at, at + found.length))) throw unfaithful(file.path, `"${key}"`);
        }
      }
    } finally {
      await file.close();
    }
  }

  async requireText(name: string, text: string): Promise<void> {
    const path = join(this.#folder, name);
    if (!(await readFile(path)).equals(Buffer.from(text))) throw unfaithful(path, 'it');
  }

  async end(): Promise<void> {
    await this.begin();
    const names = [...this.#found.keys()].sort();
    const found = await Promise.all(names.map(async (name) => [name, await this.#found.get(name)!] as const));
    await writeManifest(this.#folder, new Map(found));
  }

  close(): Promise<void> {
    return this.#digests.close();
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
  /** Without a list, as checkpoints of format 2: nothing can be checked. */
  readonly hasManifest: boolean;
  readonly warnings: readonly string[];
}

/**
 * Compares all files of a checkpoint with its list; others in the folder are not looked at.
 * @param required files that the list must name
 * @param use what is taken from it: `parameters` alone need no more than the required files, and the rest is reported
 * @throws CheckpointError naming each file that is missing or is not as it was written
 */
export async function checkSeal(
  folder: string,
  required: readonly string[],
  use: 'everything' | 'parameters',
): Promise<SealFindings> {
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
  const isSerious = ({ name }: DigestFault) => (use === 'everything' ? !NOTES.test(name) : required.includes(name));
  const serious = faults.filter(isSerious);
  if (serious.length > 0) throw changedFiles(folder, serious, ANOTHER, required);
  return { hasManifest: true, warnings: faults.map(({ text }) => `${folder}: ${text}; nothing is read from it here`) };
}
