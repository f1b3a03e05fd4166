/**
 * Short marks of a data set's content, so that a resume does not go on with other data. Every sample counts, and what
 * its images hold; of a set whose samples take minutes to make, those of evenly spread ones.
 */
import { createHash, type Hash } from 'node:crypto';
import { eventLoopTurn } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import { type ImageDigests, ImageLooker, isSpread } from './image-looker.js';
import { sampleExtras, sampleOthers, sampleText } from './sample-content.js';

/** Samples that are looked at in a set of any size, whatever that takes. */
const PROBES = 10_000;
/** All of a larger set are, if that takes no longer; estimated after so many. */
const MAX_SECONDS = 120;
const PER_ESTIMATE = 1000;
/** Each has digests of its own, so that a difference can be placed: to the sample in sets of up to so many. */
const BLOCKS = 1024;
/** Characters of such a digest: 48 bits. */
const DIGEST_LENGTH = 8;
/** In `digests`. */
const OLD_BLOCKS = 16;
/** Samples whose image files are read together. */
const PER_TURN = 32;
const MAX_LISTED = 5;
/** Samples that are made a second time where they hold keys of the caller's own. */
const MADE_TWICE = 8;

export interface DatasetFingerprint {
  readonly length: number;
  /**
   * Of up to 16 equal blocks of up to 10,000 evenly spread samples, the start of a SHA-256 over roles, texts, calls, tools
   * and image file names without folders, so that the data may move. All that earlier versions wrote.
   */
  readonly digests: readonly string[];
  /** Number of evenly spread samples that the rest is about; missing where it is all. */
  readonly looked?: number | undefined;
  /** As `digests`, of up to 1024 blocks, eight characters each. */
  readonly texts?: string | undefined;
  /** The same of the contents of image files; missing where there are none. */
  readonly images?: string | undefined;
  /** The same of images that are no files; missing where there are none, or where they are drawn anew each time. */
  readonly pixels?: string | undefined;
  /** The same of keys that a collator of the caller's own may read; missing as `pixels`. */
  readonly others?: string | undefined;
}

/** How a set is looked at. */
interface FingerprintOptions {
  /** Of a set of more than 10,000 samples, those are looked at instead where all would take longer. Default 120. */
  readonly maxSeconds?: number | undefined;
  /** What it is to be compared with: where that is about 10,000 samples, so is this. */
  readonly before?: Partial<DatasetFingerprint> | undefined;
}

/**
 * Makes every sample of the set, and reads its image files.
 * @throws what making a sample throws; the signal's reason
 */
export async function fingerprintDataset(
  dataset: Dataset<TrainingExample>,
  signal?: AbortSignal,
  { maxSeconds = MAX_SECONDS, before }: FingerprintOptions = {},
): Promise<DatasetFingerprint> {
  const { length } = dataset;
  const looked = async (): Promise<DatasetFingerprint> => {
    // Looked at in another way, images could not be compared.
    if (before?.length === length && before.looked === PROBES) return (await look(dataset, PROBES, signal))!;
    if (length <= PROBES) return (await look(dataset, length, signal))!;
    return (await look(dataset, length, signal, maxSeconds)) ?? (await look(dataset, PROBES, signal))!;
  };
  // The signal is heard while a sample or an image of the caller's own is made, too, however long that takes.
  return orAborted(looked(), signal);
}

/** @returns undefined if it would take longer than `maxSeconds` */
async function look(
  dataset: Dataset<TrainingExample>,
  count: number,
  signal: AbortSignal | undefined,
  maxSeconds = Number.POSITIVE_INFINITY,
): Promise<DatasetFingerprint | undefined> {
  const { length } = dataset;
  const oldCount = Math.min(PROBES, length);
  const old = new BlockDigests(oldCount, OLD_BLOCKS, (hash) => hash.digest('hex').slice(0, 16));
  const [texts, images, pixels, others] = [0, 1, 2, 3].map(() => new BlockDigests(count, BLOCKS, shortDigest)) as [
    BlockDigests,
    BlockDigests,
    BlockDigests,
    BlockDigests,
  ];
  let [hasOthers, othersVary] = [false, false];
  const looker = new ImageLooker(count, signal);
  const start = performance.now();
  for (let place = 0; place < count; ) {
    const turn: ImageDigests[] = [];
    for (const end = Math.min(count, place + PER_TURN); place < end; place++) {
      const index = Math.floor((place * length) / count);
      const example = await dataset.get(index);
      const text = sampleText(index, example);
      if (index === Math.floor((old.next * length) / oldCount)) old.add(text);
      texts.add(`${text}${sampleExtras(example)}\n`);
      const other = sampleOthers(example);
      others.add(`${other}\n`);
      if (other !== '') {
        hasOthers = true;
        // They may be drawn anew each time, as images may.
        if (!othersVary && isSpread(place, count, MADE_TWICE)) {
          othersVary = sampleOthers(await dataset.get(index)) !== other;
        }
      }
      turn.push(await looker.begin(place, example, () => dataset.get(index)));
    }
    await looker.finish();
    for (const { files, made } of turn) {
      images.add(`${JSON.stringify(files)}\n`);
      pixels.add(`${JSON.stringify(made)}\n`);
    }
    // A turn for signals and for whatever else waits.
    await eventLoopTurn();
    signal?.throwIfAborted();
    const seconds = (performance.now() - start) / 1000;
    if (place >= PER_ESTIMATE && (seconds * count) / place > maxSeconds) return undefined;
  }
  return {
    length,
    digests: old.done,
    ...(count < length && { looked: count }),
    ...(length > 0 && { texts: texts.done.join('') }),
    ...(looker.hasFiles && { images: images.done.join('') }),
    ...(looker.hasMade && { pixels: pixels.done.join('') }),
    ...(hasOthers && !othersVary && { others: others.done.join('') }),
  };
}

const shortDigest = (hash: Hash): string => hash.digest('base64url').slice(0, DIGEST_LENGTH);

/** Digests of equal blocks of `count` texts that come in order. */
class BlockDigests {
  readonly #count: number;
  readonly #blocks: number;
  readonly #digest: (hash: Hash) => string;
  readonly done: string[] = [];
  #hash = createHash('sha256');
  /** Texts so far. */
  next = 0;

  constructor(count: number, most: number, digest: (hash: Hash) => string) {
    this.#count = count;
    this.#blocks = Math.min(most, count);
    this.#digest = digest;
  }

  add(text: string): void {
    this.#hash.update(text);
    this.next++;
    if (this.next < firstOf(this.done.length + 1, this.#blocks, this.#count)) return;
    this.done.push(this.#digest(this.#hash));
    this.#hash = createHash('sha256');
  }
}

/** The first place in a block. */
function firstOf(block: number, blocks: number, count: number): number {
  return Math.ceil((block * count) / blocks);
}

/** What differs, in words that follow the name of the set; undefined if nothing does. */
export function compareDatasets(before: DatasetFingerprint, now: DatasetFingerprint): string | undefined {
  if (before.length !== now.length) return `had ${before.length} samples, now ${now.length}`;
  const { length } = now;
  const isAlike = before.looked === now.looked && typeof before.texts === 'string';
  if (!isAlike) {
    const { digests } = now;
    const changed = digests.flatMap((digest, block) => (digest === before.digests[block] ? [] : [block]));
    const where = placed(changed, digests.length, Math.min(PROBES, length), length);
    return where && `has other texts or image files than before, ${where}`;
  }
  const count = now.looked ?? length;
  const blocks = Math.min(BLOCKS, count);
  const texts = changedBlocks(before.texts, now.texts);
  const differences: string[] = [];
  for (const [what, changed] of [
    ['other texts or image files than before', texts],
    ['image files with other contents than before (or another `bitDepth`)', changedBlocks(before.images, now.images)],
    ['other images in memory than before', changedBlocks(before.pixels, now.pixels)],
    ['other values beside its messages than before', changedBlocks(before.others, now.others)],
  ] as const) {
    // Another file has other contents, too: once is enough.
    const news = changed === texts ? changed : changed.filter((block) => !texts.includes(block));
    const where = placed(news, blocks, count, length);
    if (where) differences.push(`has ${what}, ${where}`);
  }
  return differences.length > 0 ? differences.join('; it ') : undefined;
}

/** Blocks whose digests differ. What one of the two does not know cannot. */
function changedBlocks(before: unknown, now: string | undefined): readonly number[] {
  if (typeof before !== 'string' || now === undefined) return [];
  const at = (joined: string, block: number) => joined.slice(block * DIGEST_LENGTH, (block + 1) * DIGEST_LENGTH);
  const blocks = Array.from({ length: now.length / DIGEST_LENGTH }, (_, block) => block);
  return blocks.filter((block) => at(before, block) !== at(now, block));
}

/** Where changed blocks lie; undefined if there are none. */
function placed(changed: readonly number[], blocks: number, count: number, length: number): string | undefined {
  if (changed.length === 0) return undefined;
  const startOf = (block: number): number => Math.floor((firstOf(block, blocks, count) * length) / count);
  const first = startOf(changed[0]!);
  const last = startOf(changed.at(-1)! + 1) - 1;
  const range = `somewhere from sample ${first} to ${last}`;
  if (blocks === length) {
    if (changed.length === 1) return `in sample ${first}`;
    if (changed.length <= MAX_LISTED) return `in the samples ${changed.join(', ')}`;
    return changed.length === length ? range : `${range}: in ${changed.length} samples, ${first} the first`;
  }
  return changed.length === 1 ? range : `${range}, the first of them up to ${startOf(changed[0]! + 1) - 1}`;
}
