/** A complete archive that is not unpacked yet: what is known of it, so that no call downloads it in vain. */
import { rm, stat } from 'node:fs/promises';
import { z } from 'zod';
import type { ArchiveError } from '../archive/archive-error.js';
import { DiskError } from '../errors.js';
import { writeFileAtomically } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';

const noteSchema = z.object({
  size: z.int().nonnegative(),
  modified: z.number(),
  /** Whether a digest of the server vouches for the bytes. */
  verified: z.boolean(),
  /** Times it was downloaded since it was found damaged first, this one included. */
  downloads: z.int().positive(),
  /** What is damaged, in words; a second look would find the same. */
  damage: z.string().optional(),
});

type Note = z.output<typeof noteSchema>;

/** `PATH.json` beside the archive is the note. Whoever repairs or replaces the archive makes the note void. */
export class KeptArchive {
  readonly path: string;
  /** Undefined while there is no archive. */
  #note: Note | undefined;

  private constructor(path: string) {
    this.path = path;
  }

  static async open(path: string): Promise<KeptArchive> {
    const archive = new KeptArchive(path);
    const found = await stat(path).catch(() => undefined);
    if (!found) return archive;
    if (!found.isFile()) {
      throw new DiskError(`${path}: a folder, a pipe or a device lies where the archive is kept`, {
        hint: 'Remove it.',
        details: { path },
      });
    }
    const note = await readNote(path);
    if (note?.size === found.size && note.modified === found.mtimeMs) {
      archive.#note = note;
    } else {
      // Without a note: not looked at yet. With one of other bytes: the user has put it there.
      const downloads = note ? MOST_DOWNLOADS : 1;
      archive.#note = { size: found.size, modified: found.mtimeMs, verified: false, downloads };
    }
    return archive;
  }

  get isThere(): boolean {
    return this.#note !== undefined;
  }

  /** What an earlier call has found damaged. */
  get damage(): string | undefined {
    return this.#note?.damage;
  }

  /** Whether another download may bring other bytes. */
  get isWorthAnother(): boolean {
    return this.#note !== undefined && !this.#note.verified && this.#note.downloads < MOST_DOWNLOADS;
  }

  /** After a download. @param verified whether a digest was compared */
  async arrived(verified: boolean): Promise<void> {
    const { size, mtimeMs } = await stat(this.path);
    const downloads = (this.#note?.downloads ?? 0) + 1;
    this.#note = { size, modified: mtimeMs, verified, downloads };
    // One that turns out to be sound needs no note.
    if (downloads > 1) await this.#write();
  }

  async foundDamaged(damage: string): Promise<void> {
    if (this.#note) this.#note = { ...this.#note, damage };
    await this.#write();
  }

  /** Another one is to be downloaded. */
  async forget(): Promise<void> {
    this.#note = undefined;
    await rm(`${this.path}.json`, { force: true }).catch(() => undefined);
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(`${this.path}.json`, { force: true });
  }

  /** The refusal for people: with where the archive lies, and what can be done. */
  refusal(error: ArchiveError): ArchiveError {
    const isDamaged = error.fault === 'damaged';
    const whole = this.#note?.verified ? 'It is as the server has it, by its digest, and' : 'It';
    const kept =
      `${isDamaged ? `${whole} is not downloaded again by itself; \`forceDownload: true\` does.` : 'The archive is kept and not downloaded again.'} ` +
      `It lies at ${this.path}: unpack it by other means and read the folder by KaggleImageFolder.fromFolder, or delete it.`;
    return error.with({
      hint: error.hint ? `${error.hint} ${kept}` : kept,
      details: { ...error.details, archive: this.path, verified: this.#note?.verified ?? false },
    });
  }

  /** The note saves work; on a full disk there may be none. */
  async #write(): Promise<void> {
    await writeFileAtomically(`${this.path}.json`, `${JSON.stringify(this.#note)}\n`).catch(() => undefined);
  }
}

/** A damaged archive that no digest vouches for is fetched a second time, and not a third. */
const MOST_DOWNLOADS = 2;

async function readNote(path: string): Promise<Note | undefined> {
  try {
    return noteSchema.parse(await readJson(`${path}.json`));
  } catch {
    return undefined;
  }
}
