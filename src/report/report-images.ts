/** Small images for a report: of the samples that are worth a look first, as many as the page can carry. */
import { decodeImage } from '../data/decode-image.js';
import type { Dataset, ImageInput } from '../data/types.js';
import { reasonOf } from '../errors.js';
import type { EvaluatedSample, EvaluationReport } from '../eval/evaluation-report.js';
import { isKind, isObject } from '../messages/given-kind.js';
import { warningLine } from '../messages/one-line.js';
import { imageDataUri } from '../page/data-uri.js';
import { correctedOf, mistakesOf, pairSamples } from './paired-samples.js';
import type { ReportImage } from './report-parts.js';
import { MAX_CORRECTED, MAX_MISTAKES } from './samples-section.js';

/** An item that has an image; `path` or `id` is the `id` of its evaluated sample, else its index is. */
export interface ImageItem {
  readonly image: ImageInput;
  readonly path?: string | undefined;
  readonly id?: string | undefined;
}

/** Where the image of an evaluated sample comes from: the data set that was evaluated, or a function. */
export type ReportImageSource =
  | Dataset<ImageItem>
  | ((sample: EvaluatedSample) => ImageInput | undefined | Promise<ImageInput | undefined>);

interface ImageLimits {
  readonly maxImages: number;
  /** Of all data URIs together. */
  readonly maxImageBytes: number;
  /** Longest edge in pixels. */
  readonly imageEdge: number;
  readonly signal?: AbortSignal | undefined;
}

interface ReportImages {
  readonly images: Map<string, ReportImage>;
  /** Samples whose image is left out, as the page has enough of them. */
  readonly leftOut: number;
  readonly warnings: string[];
}

/** Images decoded at a time. */
const AT_A_TIME = 4;
const MAX_WARNINGS = 10;

/** Never rejects for an image that cannot be read: a warning says so. @throws the signal's reason */
export async function reportImages(
  before: EvaluationReport | undefined,
  after: EvaluationReport | undefined,
  source: ReportImageSource,
  { maxImages, maxImageBytes, imageEdge, signal }: ImageLimits,
): Promise<ReportImages> {
  const report = after ?? before;
  const pairs = report ? pairSamples(report, after && before) : [];
  const wanted = [...mistakesOf(pairs).slice(0, MAX_MISTAKES), ...correctedOf(pairs).slice(0, MAX_CORRECTED)];
  const samples = [...new Map(wanted.map(({ sample }) => [sample.id, sample])).values()];
  const images = new Map<string, ReportImage>();
  const faults: string[] = [];
  const find = typeof source === 'function' ? source : await finder(source, samples, signal);
  const make = async (sample: EvaluatedSample): Promise<ReportImage | undefined> => {
    try {
      const input = await find(sample);
      if (input === undefined) return undefined;
      const decoded = await decodeImage(input);
      const { width, height } = decoded;
      return { uri: await imageDataUri(decoded, imageEdge), width, height };
    } catch (error) {
      faults.push(warningLine(`no image of sample ${sample.id}: ${reasonOf(error)}`));
      return undefined;
    }
  };
  let bytes = 0;
  let seen = 0;
  let isFull = maxImages === 0;
  while (seen < samples.length && !isFull) {
    signal?.throwIfAborted();
    const some = samples.slice(seen, seen + Math.min(AT_A_TIME, maxImages - images.size));
    const made = await Promise.all(some.map(make));
    for (const [i, image] of made.entries()) {
      isFull ||= bytes + (image?.uri.length ?? 0) > maxImageBytes;
      if (isFull) break;
      seen++;
      if (!image) continue;
      bytes += image.uri.length;
      images.set(some[i]!.id, image);
    }
    isFull ||= images.size === maxImages;
  }
  const more = faults.length - MAX_WARNINGS;
  const warnings = [...faults.slice(0, MAX_WARNINGS), ...(more > 0 ? [`${more} more images cannot be read`] : [])];
  return { images, leftOut: samples.length - seen, warnings };
}

/** Finds items by what the evaluation calls them; only those that are wanted are kept. */
async function finder(
  dataset: Dataset<ImageItem>,
  samples: readonly EvaluatedSample[],
  signal: AbortSignal | undefined,
): Promise<(sample: EvaluatedSample) => ImageInput | undefined> {
  const wanted = new Set(samples.map(({ id }) => id));
  const found = new Map<string, ImageInput>();
  for (let i = 0; i < dataset.length && found.size < wanted.size; i++) {
    signal?.throwIfAborted();
    const item: unknown = await dataset.get(i);
    if (!isObject(item) || !isImage(item['image'])) continue;
    const names = [item['path'], item['id'], String(i)];
    const id = names.find((name): name is string => typeof name === 'string' && wanted.has(name));
    if (id !== undefined && !found.has(id)) found.set(id, item['image']);
  }
  return ({ id }) => found.get(id);
}

function isImage(value: unknown): value is ImageInput {
  return typeof value === 'string' || value instanceof Uint8Array || isKind(value, 'image');
}
