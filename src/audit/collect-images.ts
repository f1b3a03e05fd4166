/** Every sample of the splits, and every image once: what the rest of an audit works on. */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { posix, sep, win32 } from 'node:path';
import { imageSource } from '../data/image-digest.js';
import type { Dataset, ImageInput } from '../data/types.js';
import { reasonOf, TuneError } from '../errors.js';
import { type MeasuredImage, measureImage } from './measure-image.js';
import { factsOf, pathOf, type SampleReaders } from './sample-images.js';

/** A sample as it was read. */
export interface CollectedSample {
  readonly split: number;
  readonly index: number;
  readonly name: string;
  readonly label: string | undefined;
  /** Digest of its question; equal questions have equal ones. */
  readonly question: string;
  /** Indices of its images. */
  readonly images: readonly number[];
}

/** An image as it was first met in a split: the file counts once there, however many samples use it. */
interface CollectedImage {
  readonly split: number;
  readonly index: number;
  readonly position: number;
  readonly name: string;
  readonly measured: MeasuredImage;
}

/** In the order of splits, samples and positions. */
export interface CollectedData {
  readonly samples: readonly CollectedSample[];
  readonly images: readonly CollectedImage[];
}

interface CollectOptions<T> extends SampleReaders<T> {
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal | undefined;
}

interface ReadSample {
  readonly label: string | undefined;
  readonly question: string;
  readonly id: string | undefined;
  readonly images: readonly { readonly path: string | undefined; readonly measured: MeasuredImage }[];
}

/** @throws the signal's reason; DataError for samples of an unknown kind; what making a sample throws, unless it is an image */
export async function collectImages<T>(
  splits: readonly (readonly [name: string, dataset: Dataset<T>])[],
  options: CollectOptions<T>,
): Promise<CollectedData> {
  const total = splits.reduce((sum, [, { length }]) => sum + length, 0);
  const byPath = new Map<string, Promise<MeasuredImage>>();
  const read: ReadSample[][] = [];
  let done = 0;
  for (const [, dataset] of splits) {
    const samples: ReadSample[] = new Array(dataset.length);
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < dataset.length) {
        const index = next++;
        options.signal?.throwIfAborted();
        samples[index] = await readSample(dataset, index, byPath, options);
        options.onProgress(++done, total);
      }
    };
    await Promise.all(Array.from({ length: 2 * availableParallelism() }, work));
    read.push(samples);
  }
  return arrange(read);
}

async function readSample<T>(
  dataset: Dataset<T>,
  index: number,
  byPath: Map<string, Promise<MeasuredImage>>,
  { images, label, signal }: CollectOptions<T>,
): Promise<ReadSample> {
  let sample: T;
  try {
    sample = await dataset.get(index);
  } catch (error) {
    // A row that cannot be read is one image that cannot.
    if (!(error instanceof TuneError) || (error.code !== 'IMAGE' && error.code !== 'DATA')) throw error;
    return {
      label: undefined,
      question: '',
      id: undefined,
      images: [{ path: undefined, measured: lost(reasonOf(error)) }],
    };
  }
  const facts = factsOf(sample, index, { images, label });
  const measure = (image: ImageInput): Promise<MeasuredImage> => {
    const path = pathOf(image);
    // A path that a handle of the caller's own says may stand for several images.
    if (path === undefined || imageSource(image).kind !== 'file') return measureImage(image, signal);
    const before = byPath.get(path);
    if (before) return before;
    const measured = measureImage(image, signal);
    byPath.set(path, measured);
    return measured;
  };
  const measured = await Promise.all(
    facts.images.map(async (image) => ({ path: pathOf(image), measured: await measure(image) })),
  );
  const question = createHash('sha1').update(facts.question).digest('base64');
  // Without images only what is the same to the last word is a copy.
  const whole = measured.length === 0 ? `${question} ${facts.label ?? ''}` : question;
  return { label: facts.label, question: whole, id: facts.id, images: measured };
}

const lost = (fault: string): MeasuredImage => ({
  ...{ width: 0, height: 0, format: undefined, mode: undefined, digest: undefined, content: undefined },
  fault,
});

function arrange(read: readonly (readonly ReadSample[])[]): CollectedData {
  const folder = commonFolder(read.flat().flatMap(({ images }) => images.flatMap(({ path }) => path ?? [])));
  const samples: CollectedSample[] = [];
  const images: CollectedImage[] = [];
  for (const [split, list] of read.entries()) {
    const known = new Map<MeasuredImage, number>();
    for (const [index, { label, question, id, images: own }] of list.entries()) {
      const names = own.map(({ path }) => (path === undefined ? (id ?? `sample ${index}`) : path.slice(folder.length)));
      const places = own.map(({ measured }, position) => {
        const before = known.get(measured);
        if (before !== undefined) return before;
        known.set(measured, images.length);
        return images.push({ split, index, position, name: names[position]!, measured }) - 1;
      });
      samples.push({ split, index, name: names[0] ?? id ?? `sample ${index}`, label, question, images: places });
    }
  }
  return { samples, images };
}

/** The longest beginning of all paths that ends with a separator; nothing for a single one. */
export function commonFolder(paths: readonly string[]): string {
  const [first = ''] = paths;
  let { length } = first;
  for (const path of paths) {
    let same = 0;
    while (same < length && path[same] === first[same]) same++;
    length = same;
  }
  // lastIndexOf takes a negative position for 0.
  if (length === 0) return '';
  const separators = sep === win32.sep ? [win32.sep, posix.sep] : [posix.sep];
  return first.slice(0, Math.max(...separators.map((one) => first.lastIndexOf(one, length - 1) + 1)));
}
