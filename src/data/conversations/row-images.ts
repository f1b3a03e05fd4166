/** Whether the images of rows can be read: each file is looked at once, whatever the number of rows that show it. */
import { sep } from 'node:path';
import { ImageError } from '../../errors.js';
import { openRegularFile } from '../../files/regular-file.js';
import { oneLine } from '../../messages/one-line.js';
import { decodeWithin } from '../decode-budget.js';
import { IMAGE_HEADER_BYTES, ImageFile, imageFormatOf } from '../decode-image.js';
import type { ImageInput } from '../types.js';
import { EmbeddedImage } from './image-cells.js';

export class ImageChecks {
  readonly #decodes: boolean;
  readonly #faults = new Map<string, Promise<string | undefined>>();

  constructor(decodes: boolean) {
    this.#decodes = decodes;
  }

  /** What is wrong with an image, in one line that names it; undefined for a good one. */
  async faultOf(image: ImageInput): Promise<string | undefined> {
    if (image instanceof EmbeddedImage) {
      if (image.fault) return `${image.path}: ${image.fault}`;
      return this.#decodes ? faultOfDecoding(image) : undefined;
    }
    if (!(image instanceof ImageFile)) return this.#decodes ? faultOfDecoding(image) : undefined;
    let fault = this.#faults.get(image.path);
    if (fault === undefined) {
      fault = this.#decodes ? faultOfDecoding(image) : faultOfFile(image.path);
      this.#faults.set(image.path, fault);
    }
    return fault;
  }
}

async function faultOfDecoding(image: ImageInput): Promise<string | undefined> {
  try {
    (await decodeWithin(image)).release();
    return undefined;
  } catch (error) {
    if (error instanceof ImageError) return error.summary;
    throw error;
  }
}

async function faultOfFile(path: string): Promise<string | undefined> {
  const shown = oneLine(path);
  try {
    const { file } = await openRegularFile(path);
    try {
      const head = Buffer.alloc(IMAGE_HEADER_BYTES);
      const { bytesRead } = await file.read(head, 0, head.length, 0);
      if (bytesRead === 0) return `${shown}: the file is empty`;
      return imageFormatOf(head) ? undefined : `${shown}: not a JPEG, PNG, WebP or GIF image`;
    } finally {
      await file.close();
    }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const slash = path.includes('\\') && sep === '/' ? ' (folders are parted by /, not by a backslash)' : '';
    return `${shown}: ${code === 'ENOENT' ? `no such file${slash}` : message}`;
  }
}
