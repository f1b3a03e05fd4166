/** A file on its way: kept under a hidden name, with what is known of it beside, until it is whole. */
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { lazySchema } from '../config.js';
import { DiskError } from '../errors.js';
import { flushHandle, writeFileAtomically } from '../files/atomic-file.js';
import { writeError, writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { readJson } from '../files/read-json.js';
import { DIGEST_NAMES, digestsDiffer, type FileDigests } from './digests.js';

/** What a server says of a file, to recognise it later. */
export interface FileFacts {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
  /** Bytes of the whole file. */
  readonly size?: number | undefined;
  readonly digests: FileDigests;
}

const noteSchema = lazySchema(() =>
  z.strictObject({
    source: z.string(),
    etag: z.string().optional(),
    lastModified: z.string().optional(),
    size: z.number().int().nonnegative().optional(),
    digests: z.partialRecord(z.enum(DIGEST_NAMES), z.string()),
  }),
);

/**
 * `.NAME.partial` beside the final path, and `.NAME.partial.json`, which says whose bytes these are. Both outlive the
 * process. Bytes whose note is missing, unreadable or of another source are thrown away.
 */
export class PartialFile {
  /** Bytes so far. */
  size = 0;
  /** Of the file whose bytes these are; undefined before the first. */
  facts: FileFacts | undefined;
  readonly #path: string;
  readonly #source: string;
  readonly #temporary: string;
  #handle: FileHandle | undefined;

  private constructor(path: string, source: string) {
    this.#path = path;
    this.#source = source;
    this.#temporary = partialPath(path);
  }

  /**
   * @param path of the finished file; its folder is made if need be
   * @param source what is fetched, without secrets: bytes of another source are not continued
   */
  static async open(path: string, source: string): Promise<PartialFile> {
    const file = new PartialFile(path, source);
    try {
      await makeFolder(dirname(path));
      // A link in its place would lead the bytes elsewhere. Windows has no such flag.
      const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
      file.#handle = await open(file.#temporary, flags, 0o644);
      const entry = await file.#handle.stat();
      if (!entry.isFile()) {
        throw new DiskError(`${file.#temporary}: a pipe or a device lies where the file would arrive`, {
          hint: 'Remove it.',
          details: { path: file.#temporary },
        });
      }
      const { size } = entry;
      const facts = size > 0 ? await file.#readNote() : undefined;
      if (facts && (facts.size === undefined || size <= facts.size)) {
        file.facts = facts;
        file.size = size;
      } else if (size > 0) {
        await file.#handle.truncate(0);
      }
      return file;
    } catch (cause) {
      await file.close();
      throw writeError(cause, path);
    }
  }

  /** Where the bytes are, for checking them. */
  get temporaryPath(): string {
    return this.#temporary;
  }

  /** Whether the bytes so far may be continued: they belong to something that can be recognised. */
  resumable(expected: FileDigests): boolean {
    if (this.size === 0 || !this.facts) return false;
    const { etag, lastModified, digests } = this.facts;
    return (
      (etag !== undefined && !etag.startsWith('W/')) ||
      lastModified !== undefined ||
      Object.values({ ...digests, ...expected }).some((digest) => digest !== undefined)
    );
  }

  /** Whether an answer is about another file than the one whose bytes these are. */
  differsFrom(facts: FileFacts): boolean {
    const own = this.facts;
    if (!own) return true;
    const differ = (a: unknown, b: unknown): boolean => a !== undefined && b !== undefined && a !== b;
    return (
      differ(own.etag, facts.etag) ||
      differ(own.lastModified, facts.lastModified) ||
      differ(own.size, facts.size) ||
      digestsDiffer(own.digests, facts.digests)
    );
  }

  /** Throws the bytes away and begins those of a file of these facts. */
  async restart(facts: FileFacts): Promise<void> {
    await writing(this.#path, async () => {
      await this.#handle!.truncate(0);
      this.size = 0;
      this.facts = facts;
      const note = { source: this.#source, ...facts };
      await writeFileAtomically(`${this.#temporary}.json`, `${JSON.stringify(note)}\n`);
    });
  }

  async append(chunk: Uint8Array): Promise<void> {
    await writing(this.#path, async () => {
      for (let done = 0; done < chunk.length; ) {
        const { bytesWritten } = await this.#handle!.write(chunk, done, chunk.length - done, this.size);
        done += bytesWritten;
        this.size += bytesWritten;
      }
    });
  }

  /** Throws the bytes away. */
  async discard(): Promise<void> {
    this.size = 0;
    this.facts = undefined;
    await this.#handle!.truncate(0);
    await rm(`${this.#temporary}.json`, { force: true });
  }

  /** Flushes to the disk and gives the file its final name. */
  async finish(): Promise<void> {
    const handle = this.#handle!;
    this.#handle = undefined;
    await writing(this.#path, async () => {
      await flushHandle(handle).finally(() => handle.close());
      await rename(this.#temporary, this.#path);
      await rm(`${this.#temporary}.json`, { force: true });
    });
  }

  /** Received bytes stay for the next time; an empty file does not. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
    if (handle && this.size === 0) {
      await rm(this.#temporary, { force: true });
      await rm(`${this.#temporary}.json`, { force: true });
    }
  }

  async #readNote(): Promise<FileFacts | undefined> {
    try {
      const note = noteSchema().parse(await readJson(`${this.#temporary}.json`));
      return note.source === this.#source ? note : undefined;
    } catch {
      return undefined;
    }
  }
}

/** Bytes that an interrupted download of `path` has left; 0 if none. */
export async function partialBytes(path: string): Promise<number> {
  return stat(partialPath(path)).then(
    ({ size }) => size,
    () => 0,
  );
}

function partialPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.partial`);
}
