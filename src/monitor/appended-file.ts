/** A file that grows while a run goes on, a whole piece at a time. */
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { reasonOf } from '../errors.js';
import { writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { warningLine } from '../messages/one-line.js';

export class AppendedFile {
  readonly path: string;
  readonly #file: FileHandle;
  /** Bytes that are whole pieces. */
  #length: number;
  #saidFull = false;

  private constructor(path: string, file: FileHandle, length: number) {
    this.path = path;
    this.#file = file;
    this.#length = length;
  }

  /**
   * Opens a file, made with its folders if need be.
   * @param isNew whether a file of that name is an error
   * @throws DiskError
   */
  static open(path: string, isNew = false): Promise<AppendedFile> {
    return writing(path, async () => {
      await makeFolder(dirname(path));
      const file = await open(path, isNew ? 'ax+' : 'a+');
      const { size } = await file.stat();
      return new AppendedFile(path, file, size);
    });
  }

  /** Whether it is empty or ends with the end of a line: what a killed process or a full disk left may not. */
  async endsLine(): Promise<boolean> {
    if (this.#length === 0) return true;
    const { buffer } = await this.#file.read(Buffer.alloc(1), 0, 1, this.#length - 1);
    return buffer.toString() === '\n';
  }

  /** A full disk is no reason to lose a run: a piece that cannot be written is left out, with one warning. */
  async append(piece: string | Uint8Array): Promise<void> {
    const bytes = Buffer.from(piece as string);
    try {
      await this.#file.appendFile(bytes);
      this.#length += bytes.length;
    } catch (cause) {
      // Half a piece would make what follows unreadable.
      await this.#file.truncate(this.#length).catch(() => undefined);
      if (this.#saidFull) return;
      this.#saidFull = true;
      const message = `${this.path} lacks events from here on: ${reasonOf(cause)}`;
      process.emitWarning(warningLine(message), 'TrainerCallbackWarning');
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
