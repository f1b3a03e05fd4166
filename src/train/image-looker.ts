/** The contents of a data set's images as digests, sample by sample, in bounded memory and with few open files. */
import { digestFile, ImageDigester, type ImageSource, imageSource, openToDigest } from '../data/image-digest.js';
import type { TrainingExample } from '../data/types.js';
import { sampleImages } from './sample-content.js';

/** Files that are open at once. */
const FILES_AT_ONCE = 16;
/** Samples whose own handles are decoded, evenly spread: of handles that name no file, and of those that do. */
const DECODED = 128;
const DECODED_FILES = 16;
/** Samples that are made a second time where their images are not files: they may be drawn anew each time. */
const MADE_TWICE = 8;

/** Digests of the images of one sample, in their order; null for none of the kind. */
export interface ImageDigests {
  /** Of files, and of encoded images that came in the rows of a file. */
  readonly files: (string | null)[];
  /** Of bytes and pixels that the caller's own code made. */
  readonly made: (string | null)[];
}

type Handle = Extract<ImageSource, { kind: 'handle' }>;

/** A file to be digested, and where the answer goes. */
interface FileJob {
  readonly source: Extract<ImageSource, { kind: 'file' | 'handle' }>;
  readonly place: number;
  readonly digests: ImageDigests;
  readonly at: number;
}

export class ImageLooker {
  readonly #count: number;
  readonly #signal: AbortSignal | undefined;
  readonly #digester = new ImageDigester();
  #jobs: FileJob[] = [];
  hasFiles = false;
  #hasMade = false;
  #varies = false;

  /** @param count samples that will be looked at */
  constructor(count: number, signal: AbortSignal | undefined) {
    this.#count = count;
    this.#signal = signal;
  }

  /** Whether there were images that are no files, the same each time. */
  get hasMade(): boolean {
    return this.#hasMade && !this.#varies;
  }

  /**
   * Begins with a sample: images in memory are digested now, so that nobody holds them; files by `finish`.
   * @param again makes the sample a second time
   */
  async begin(place: number, example: TrainingExample, again: () => Promise<TrainingExample>): Promise<ImageDigests> {
    const digests: ImageDigests = { files: [], made: [] };
    const sources = sampleImages(example).map(imageSource);
    for (const [at, source] of sources.entries()) {
      digests.files.push(null);
      digests.made.push(inMemory(source, this.#digester));
      if (source.kind === 'file' || source.kind === 'handle') this.#jobs.push({ source, place, digests, at });
      if (source.kind === 'file') this.hasFiles = true;
      else if (source.kind !== 'none') this.#hasMade = true;
    }
    const isOwn = sources.some(({ kind }) => kind !== 'file' && kind !== 'none');
    if (isOwn && !this.#varies && isSpread(place, this.#count, MADE_TWICE)) {
      const first = await shown(sources);
      const second = await shown(sampleImages(await again()).map(imageSource));
      this.#varies = JSON.stringify(first) !== JSON.stringify(second);
    }
    return digests;
  }

  /** Reads the files of all samples that were begun. @throws the signal's reason */
  async finish(): Promise<void> {
    const jobs = this.#jobs;
    this.#jobs = [];
    for (let from = 0; from < jobs.length; from += FILES_AT_ONCE) {
      this.#signal?.throwIfAborted();
      const group = jobs.slice(from, from + FILES_AT_ONCE);
      const opened = await Promise.all(group.map(({ source }) => openToDigest(source.path)));
      const ranges = opened.map((file) => (typeof file === 'string' ? [] : this.#digester.ranges(file.size)));
      await Promise.all(
        group.map(async ({ source, digests, at }, i) => {
          const file = opened[i]!;
          const isFile = typeof file !== 'string';
          if (!isFile && source.kind === 'handle') return;
          const bitDepth = source.kind === 'file' ? source.bitDepth : undefined;
          digests.files[at] = isFile ? await digestFile(file, ranges[i]!, bitDepth) : file;
          this.hasFiles = true;
        }),
      );
      for (const { source, digests, at, place } of group) {
        if (source.kind !== 'handle' || this.#varies) continue;
        const most = digests.files[at] === null ? DECODED : DECODED_FILES;
        if (isSpread(place, this.#count, most)) digests.made[at] = await decoded(source, this.#digester);
      }
    }
  }
}

/** Whether a place is one of `most` evenly spread ones of `count`. */
export function isSpread(place: number, count: number, most: number): boolean {
  return place === 0 || Math.floor((place * most) / count) !== Math.floor(((place - 1) * most) / count);
}

function inMemory(source: ImageSource, digester: ImageDigester): string | null {
  if (source.kind === 'bytes') return digester.ofBytes(source.bytes);
  return source.kind === 'pixels' ? digester.ofPixels(source.image) : null;
}

async function decoded({ decode }: Handle, digester: ImageDigester): Promise<string> {
  try {
    return digester.ofPixels(await decode());
  } catch {
    return 'unreadable';
  }
}

/** What images that are no files hold now, each looked at whole or not as if it were the first. */
async function shown(sources: readonly ImageSource[]): Promise<(string | null)[]> {
  const digests: (string | null)[] = [];
  for (const source of sources) {
    const digester = new ImageDigester();
    digests.push(source.kind === 'handle' ? await decoded(source, digester) : inMemory(source, digester));
  }
  return digests;
}
