/** How much memory decoded images take at a time, over the whole process: whoever needs more waits for its turn. */
import { onAbort } from '../async/on-abort.js';
import { openRegularFile } from '../files/regular-file.js';
import { EmbeddedImage } from './conversations/image-cells.js';
import { decodeImage, ImageFile, type OpenedImage, openImage } from './decode-image.js';
import type { ImageInput, RgbImage } from './types.js';

/** Some fourteen photographs of twelve megapixels, each with the copy that a worker gets. */
const LIMIT_BYTES = 1_073_741_824;
/** What an image is taken to need that says nothing before it is decoded. */
const UNKNOWN_BYTES = 67_108_864;

interface Lease {
  /** Whether it now covers so many bytes: not if others hold too much. */
  tryResize(bytes: number): boolean;
  /** Covers so many bytes, also beyond the limit: they are taken already. */
  resize(bytes: number): void;
  /** May be called twice. */
  release(): void;
}

interface Waiter {
  readonly bytes: number;
  readonly grant: () => void;
}

/** Bytes are given in the order in which they were asked for. Whoever needs more than all gets them alone. */
export class DecodeBudget {
  readonly limit: number;
  #used = 0;
  readonly #waiting: Waiter[] = [];

  constructor(limit: number = LIMIT_BYTES) {
    this.limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  /** @throws the signal's reason, while it waits */
  acquire(bytes: number, signal?: AbortSignal): Promise<Lease> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#waiting.length === 0 && this.#fits(bytes)) return Promise.resolve(this.#lease(bytes));
    return new Promise((resolve, reject) => {
      const forget = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal!.reason);
        this.#next();
      });
      const waiter: Waiter = {
        bytes,
        grant: () => {
          forget();
          resolve(this.#lease(bytes));
        },
      };
      this.#waiting.push(waiter);
    });
  }

  #fits(bytes: number, others: number = this.#used): boolean {
    return others === 0 || others + bytes <= this.limit;
  }

  #lease(bytes: number): Lease {
    let held = bytes;
    this.#used += bytes;
    const resize = (to: number): void => {
      this.#used += to - held;
      const isLess = to < held;
      held = to;
      if (isLess) this.#next();
    };
    return {
      tryResize: (to) => {
        if (to > held && !this.#fits(to, this.#used - held)) return false;
        resize(to);
        return true;
      },
      resize,
      release: () => resize(0),
    };
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) this.#waiting.shift()!.grant();
  }
}

const processBudget = new DecodeBudget();

/** Pixels, and the memory that is theirs until it is released. */
export interface HeldImage {
  readonly image: RgbImage;
  readonly release: () => void;
}

/**
 * As `decodeImage`, when there is memory for it.
 * @throws as there; the signal's reason, while it waits
 */
export async function decodeWithin(
  input: ImageInput,
  signal?: AbortSignal,
  budget: DecodeBudget = processBudget,
): Promise<HeldImage> {
  const isFile = typeof input === 'string' || input instanceof ImageFile;
  // A file may be as large as its pixels, or as a thousand times less: both are known only one after the other.
  const fileBytes = isFile ? await sizeOfFile(typeof input === 'string' ? input : input.path) : 0;
  const hasHeader = isFile || input instanceof Uint8Array || input instanceof EmbeddedImage;
  let lease = await budget.acquire(hasHeader ? fileBytes : bytesOf(input), signal);
  try {
    let opened = await opener(input);
    if (opened) {
      const bytes = fileBytes + opened.bytes;
      if (!lease.tryResize(bytes)) {
        // Whoever waits holds nothing: the file is read again.
        opened = undefined;
        lease.release();
        lease = await budget.acquire(bytes, signal);
        opened = (await opener(input))!;
      }
      signal?.throwIfAborted();
    }
    const image = opened ? await opened.decode() : await decodeImage(input);
    if (!opened) lease.resize(bytesOf(image));
    const { release } = lease;
    return { image, release };
  } catch (error) {
    lease.release();
    throw error;
  }
}

async function opener(input: ImageInput): Promise<OpenedImage | undefined> {
  if (input instanceof ImageFile || input instanceof EmbeddedImage) return input.open();
  return typeof input === 'string' || input instanceof Uint8Array ? openImage(input) : undefined;
}

/** Pixels and the copy that a worker gets; what is expected of a handle. */
function bytesOf(image: ImageInput): number {
  return typeof image === 'object' && 'data' in image && image.data instanceof Uint8Array
    ? 2 * image.data.length
    : UNKNOWN_BYTES;
}

/** 0 for a file that cannot be read: whoever reads it reports that. */
async function sizeOfFile(path: string): Promise<number> {
  try {
    const { file, size } = await openRegularFile(path);
    await file.close();
    return size;
  } catch {
    return 0;
  }
}
