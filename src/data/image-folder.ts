/** A folder of pictures sorted into class folders, as data sets are published, to train and test splits. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { DataError, ImageError } from '../errors.js';
import { oneLine } from '../one-line.js';
import { ClassLabel, LabelledDataset } from './dataset.js';
import { type DecodeOptions, decodeImage, ImageFile, type ImageFileOptions } from './decode-image.js';
import { emptySplitFolders, type PlacedPicture, placePictures, type SplitName } from './folder-layout.js';
import { forEachConcurrently, readFolderTree } from './folder-tree.js';
import { READ_FORMATS } from './image-format.js';
import { DepthWatch } from './sample-depth.js';
import type { LazyImage } from './types.js';

export const imageFolderSchema = z.strictObject({
  /**
   * What to do with a file that is no readable picture though its name says so: stop with an error that names all of
   * them, or leave them out and list them in `skipped`. A file that becomes unreadable later stops the training at its
   * batch, with a checkpoint, or is left out of that batch with a warning. Default 'error'.
   */
  onBadImage: z.enum(['error', 'skip']).default('error'),
  /**
   * Decode every picture while loading, so that a damaged one is found before training and not in the middle of it.
   * Without it only the first bytes of each file are read, and a damaged file is named by the ImageError that
   * `image.decode()` throws. Default: true with `onBadImage: 'skip'`, else false.
   */
  verify: z.boolean().optional(),
  /** Refuse pictures of more pixels than this. Default 178,956,970. */
  maxPixels: z.number().int().positive().optional(),
  /**
   * Refuse images whose longer side is more than this many times the shorter one. Shrunk to the image processor's longest
   * edge, nothing would be left of them. Default 1540, the processor's default edge.
   */
  maxAspectRatio: z.number().min(1).default(1540),
  /**
   * Bits that the samples of 16-bit PNG and TIFF files really use, 8 to 16: of 12, a sample of 4,095 becomes 255. Give
   * `decodeImage` the same for images that the model sees later. Default 16, with a warning where samples look like
   * fewer.
   */
  bitDepth: z.number().int().min(8).max(16).optional(),
});

/** Options of `ImageFolder.load`. */
export type ImageFolderOptions = z.input<typeof imageFolderSchema>;

/** A picture of a class. */
export interface ImageSample {
  /** Reads the file at `path` anew each time it is decoded. */
  readonly image: LazyImage;
  /** Position of `className` in the folder's `classNames`. */
  readonly label: number;
  /** Name of the class folder. */
  readonly className: string;
  /** Absolute path. */
  readonly path: string;
}

/** A file that is named or begins like a picture and cannot be read as one. */
export interface SkippedImage {
  /** Absolute path. */
  readonly path: string;
  /** What is wrong, in one line without the path. */
  readonly reason: string;
}

/** What an `ImageFolder` is made of. */
export interface ImageFolderContent {
  /** Absolute path. */
  readonly dir: string;
  /** Classes of all splits, sorted by code unit; one stays whose pictures were all skipped. */
  readonly classLabel: ClassLabel;
  /** Those with pictures, in the order train, test, validation. */
  readonly splits: ReadonlyMap<SplitName, LabelledDataset<ImageSample>>;
  /** By path; empty with `onBadImage: 'error'`. */
  readonly skipped: readonly SkippedImage[];
}

/**
 * Pictures in class folders. Three layouts are told apart, each below any number of wrapping folders:
 *
 * - `<class>/<split>/**` as on Kaggle, e.g. `Hairline Fracture/Train/1.jpg`
 * - `<split>/<class>/**`, e.g. `train/cat/1.jpg`
 * - `<class>/**`, all of it train
 *
 * Split folders: train, training; test, testing; val, valid, validation; upper and lower case do not matter. Pictures
 * are told by content (JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF); other files, and names that start with a dot, are passed over. Samples
 * are in order of class, then of path, both by code unit.
 */
export class ImageFolder {
  /** Absolute path. */
  readonly dir: string;
  /** Classes of all splits; every split shares it. */
  readonly classLabel: ClassLabel;
  /** Those with pictures; `train`, `test` and `validation` are short for its values. */
  readonly splits: ReadonlyMap<SplitName, LabelledDataset<ImageSample>>;
  /** Files left out by `onBadImage: 'skip'`, with the reason. */
  readonly skipped: readonly SkippedImage[];

  constructor(content: ImageFolderContent) {
    this.dir = content.dir;
    this.classLabel = content.classLabel;
    this.splits = content.splits;
    this.skipped = content.skipped;
  }

  /**
   * @throws DataError for a folder that is missing, unreadable, of no known layout, or with an empty split, and
   *   ImageError for bad pictures; ConfigError for bad options
   */
  static async load(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
    return new ImageFolder(await readImageFolder(dir, options));
  }

  /** Sorted by code unit; the position is the label. */
  get classNames(): readonly string[] {
    return this.classLabel.names;
  }

  /** @throws DataError if the folder has no such split */
  get train(): LabelledDataset<ImageSample> {
    return this.#split('train');
  }

  /** @throws DataError if the folder has no such split */
  get test(): LabelledDataset<ImageSample> {
    return this.#split('test');
  }

  /** @throws DataError if the folder has no such split */
  get validation(): LabelledDataset<ImageSample> {
    return this.#split('validation');
  }

  #split(name: SplitName): LabelledDataset<ImageSample> {
    const split = this.splits.get(name);
    if (split) return split;
    const known = [...this.splits.keys()];
    throw new DataError(`${oneLine(this.dir)}: no ${name} split; found: ${known.join(', ')}`, {
      hint: '`splits.has(name)` tells. A split of your own: `shuffle(seed)`, then `select(indices)`.',
      details: { path: this.dir, splits: known },
    });
  }
}

/** Everything of an `ImageFolder`; see there. */
export async function readImageFolder(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolderContent> {
  const parsed = parseOptions(imageFolderSchema, options, 'ImageFolder');
  const root = resolve(dir);
  const tree = await readFolderTree(root);
  if (tree.total === 0) {
    throw new DataError(`${oneLine(root)}: no pictures in this folder or below`, {
      hint: `Expected class folders of ${READ_FORMATS} files. Is the path right, the archive unpacked?`,
      details: { path: root },
    });
  }
  const placed = placePictures(tree);
  const depths = new DepthWatch(parsed.bitDepth);
  const limits: DecodeOptions = {
    maxPixels: parsed.maxPixels,
    maxAspectRatio: parsed.maxAspectRatio,
    bitDepth: parsed.bitDepth,
    onBrightestSample: (name, brightest) => depths.note(name, brightest),
  };
  const bad = await depths.during(() => findBadPictures(placed, parsed, limits));
  if (bad.length > 0 && parsed.onBadImage === 'error') throw badPicturesError(bad, root);

  const badPaths = new Set(bad.map(({ path }) => path));
  const classLabel = new ClassLabel([...new Set(placed.map(({ className }) => className))].sort(byCodeUnit));
  const splits = new Map<SplitName, LabelledDataset<ImageSample>>();
  for (const name of ['train', 'test', 'validation'] as const) {
    const ofSplit = placed.filter((picture) => picture.split === name);
    const good = ofSplit.filter(({ file }) => !badPaths.has(file.path));
    const empty = emptySplitFolders(tree, name);
    if (good.length > 0) splits.set(name, datasetOf(good, classLabel, { ...limits, onBadImage: parsed.onBadImage }));
    else if (ofSplit.length > 0 || empty.length > 0) throw emptySplitError(root, name, ofSplit.length, empty);
  }
  return { dir: root, classLabel, splits, skipped: bad };
}

type ParsedOptions = z.output<typeof imageFolderSchema>;

function datasetOf(
  pictures: readonly PlacedPicture[],
  classLabel: ClassLabel,
  options: ImageFileOptions,
): LabelledDataset<ImageSample> {
  const sorted = [...pictures].sort(
    (a, b) => byCodeUnit(a.className, b.className) || byCodeUnit(a.file.key, b.file.key),
  );
  const labels = sorted.map(({ className }) => classLabel.str2int(className));
  return new LabelledDataset<ImageSample>(classLabel, labels, (index) => {
    const { className, file } = sorted[index]!;
    const image = new ImageFile(file.path, options);
    return { image, label: labels[index]!, className, path: file.path };
  });
}

/** In order of path. */
async function findBadPictures(
  pictures: readonly PlacedPicture[],
  options: ParsedOptions,
  limits: DecodeOptions,
): Promise<SkippedImage[]> {
  const bad: SkippedImage[] = [];
  const whole: string[] = [];
  for (const { file } of pictures) {
    if (file.fault === undefined) whole.push(file.path);
    else bad.push({ path: file.path, reason: file.fault });
  }
  if (options.verify ?? options.onBadImage === 'skip') {
    await forEachConcurrently(whole, 4, async (path) => {
      try {
        await decodeImage(path, limits);
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        const [line] = error.message.split('\n');
        bad.push({
          path,
          reason: line!.startsWith(`${oneLine(path)}: `) ? line!.slice(oneLine(path).length + 2) : line!,
        });
      }
    });
  }
  return bad.sort((a, b) => byCodeUnit(a.path, b.path));
}

function badPicturesError(bad: readonly SkippedImage[], root: string): ImageError {
  const shown = bad.slice(0, 10).map(({ path, reason }) => `\n  - ${oneLine(path)}: ${reason}`);
  const more = bad.length > shown.length ? `\n  and ${bad.length - shown.length} more` : '';
  return new ImageError(
    `${oneLine(root)}: ${bad.length === 1 ? 'a file is' : `${bad.length} files are`} no readable picture${shown.join('')}${more}`,
    {
      hint: "Repair or remove them, or load with `onBadImage: 'skip'` to leave them out.",
      details: { path: bad[0]!.path, files: bad },
    },
  );
}

function emptySplitError(root: string, name: SplitName, skipped: number, folders: readonly string[]): DataError {
  const why =
    skipped > 0 ? `all ${skipped} of its pictures were skipped` : `no picture in ${folders.map(oneLine).join(', ')}`;
  return new DataError(`${oneLine(root)}: the ${name} split is empty: ${why}`, {
    hint: `Put pictures there, or remove the ${name} folders if there is no such split.`,
    details: { path: root, split: name },
  });
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
