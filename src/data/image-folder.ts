/** A folder of pictures sorted into class folders, as data sets are published, to train and test splits. */
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { oneLine, warningLine } from '../messages/one-line.js';
import type { TableRow } from './csv.js';
import type { ClassLabel, LabelledDataset } from './dataset.js';
import { listNames, type SplitName } from './folder-evidence.js';
import { readImageFolder, readImageTable } from './read-image-folder.js';
import type { SplitOptions } from './split-dataset.js';
import type { LazyImage } from './types.js';

/** What `ImageFolder.load` and `ImageFolder.fromTable` have in common. */
export interface ImageReadOptions {
  /**
   * What to do with a file that is no readable image though its name says so: stop with an error that names all of
   * them, or leave them out and list them in `skipped`. A file that becomes unreadable later stops the training at its
   * batch, with a checkpoint, or is left out of that batch with a warning. Default 'error'.
   */
  readonly onBadImage?: 'error' | 'skip' | undefined;
  /**
   * Decode every image while loading, so that a damaged one is found before training and not in the middle of it.
   * Without it only the first bytes of each file are read, and a damaged file is named by the ImageError that
   * `image.decode()` throws. Default: true with `onBadImage: 'skip'`, else false.
   */
  readonly verify?: boolean | undefined;
  /** Refuse images of more pixels than this. Default 178,956,970. */
  readonly maxPixels?: number | undefined;
  /**
   * Refuse images whose longer side is more than this many times the shorter one. Shrunk to the image processor's longest
   * edge, nothing would be left of them. Default 1540, the processor's default edge.
   */
  readonly maxAspectRatio?: number | undefined;
  /**
   * Bits that the samples of 16-bit PNG and TIFF files really use, 8 to 16: of 12, a sample of 4,095 becomes 255. Give
   * `decodeImage` the same for images that the model sees later. Default 16, with a warning where samples look like
   * fewer.
   */
  readonly bitDepth?: number | undefined;
  /**
   * Files and folders to pass over: names, or paths below the root; `*` stands for any letters, as in `*_mask.png`.
   * These are passed over always: names that start with a dot, and what systems
   * leave, as `__MACOSX`, `@eaDir`, `$RECYCLE.BIN`.
   */
  readonly ignore?: readonly string[] | undefined;
  /**
   * Which split a folder, or a cell of a split column, stands for: `{ holdout: 'test' }`. False: the folder is no split,
   * as a class that is called `train`. Default: by the words train, training, test, testing, val, valid, validation.
   */
  readonly splits?: Readonly<Record<string, SplitName | false>> | undefined;
  /**
   * The classes to take, in the order of their labels, such as another folder's `classNames`; or a new name for each
   * class to take, where equal names become one class: `{ cats: 'cat', kittens: 'cat' }`. Others are left out.
   * Default: all, sorted by code unit, or by number where a table has numbers.
   */
  readonly classes?: readonly string[] | Readonly<Record<string, string>> | undefined;
  /** Receives each of `warnings` in one line. Default: `process.emitWarning`. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** Options of `ImageFolder.load`. */
export interface ImageFolderOptions extends ImageReadOptions {
  /**
   * What the folders are, from the top, below wrapping folders: `class`, `split`, or `*` for a folder that says nothing.
   * Examples: 'class', 'split/class', 'class/split', '*\/class'. Default: detected from the folders.
   */
  readonly layout?: string | undefined;
  /**
   * The class of an image, from its path below the folder with `/` on every system; undefined leaves the image out.
   * For classes in file names and for deep folders. Splits are still told by folders.
   */
  readonly classOf?: ((path: string) => string | undefined) | undefined;
}

/** Options of `ImageFolder.fromTable`. Columns are named, or counted from 0. */
export interface ImageTableOptions extends ImageReadOptions {
  /** Folder that holds the images, at any depth. Default: the table's. */
  readonly imageDir?: string | undefined;
  /** Column of paths, file names, or ids without an ending. Default: the one whose values are files there. */
  readonly fileColumn?: string | number | undefined;
  /** Column of classes, or a list of columns with a 1 for the class. Default: by usual names, such as `label`. */
  readonly labelColumn?: string | number | readonly string[] | undefined;
  /** Column of splits. Default: `split` and the like; else by the folders and the table's name, else all is train. */
  readonly splitColumn?: string | number | undefined;
  /** The class of a row, instead of `labelColumn`; undefined leaves the row out. */
  readonly labelOf?: ((row: TableRow) => string | undefined) | undefined;
  /** The split of a row, instead of `splitColumn`; undefined: by the folders and the table's name. */
  readonly splitOf?: ((row: TableRow) => SplitName | undefined) | undefined;
  /** Between fields, e.g. ' '. Default: by the first line, one of comma, semicolon, tab, bar. */
  readonly separator?: string | undefined;
  /** Whether the first line names the columns. Default true. */
  readonly header?: boolean | undefined;
}

/** A picture of a class. */
export interface ImageSample {
  /** Reads the file at `path` anew each time it is decoded. */
  readonly image: LazyImage;
  /** Position of `className` in the folder's `classNames`. */
  readonly label: number;
  /** Name of the class, mostly that of its folder. */
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
  /** What was doubtful or left out, a line each. Default: nothing. */
  readonly warnings?: readonly string[];
}

/**
 * Images with classes, from folders or from a table. Three layouts of folders are recognised, each below any number of
 * wrapping folders:
 *
 * - `<class>/<split>/**` as on Kaggle, e.g. `Hairline Fracture/Train/1.jpg`
 * - `<split>/<class>/**`, e.g. `train/cat/1.jpg`
 * - `<class>/**`, all of it train
 *
 * Split folders have train, training, test, testing, val, valid or validation in their names, in any case, as in
 * `seg_train`. A `metadata.csv` or `metadata.jsonl` with files and labels, as Hugging Face has them, goes before folders.
 * What allows two readings is refused with a message that says what to write; what is doubtful, or left out, is in
 * `warnings`. Images are recognised by content (JPEG, PNG, WebP, GIF, TIFF,
 * BMP, AVIF). Samples are in order of class, then of path.
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
  /** What was doubtful or left out while loading, a line each with counts and names. */
  readonly warnings: readonly string[];

  constructor(content: ImageFolderContent) {
    if (!isObject(content) || typeof content.dir !== 'string' || !(content.splits instanceof Map)) {
      throw new ConfigError(`ImageFolder: expected what was read of a folder, got ${describeGiven(content)}`, {
        hint: 'Write await ImageFolder.load(folder); `new` is for those who read folders themselves.',
      });
    }
    this.dir = content.dir;
    this.classLabel = content.classLabel;
    this.splits = content.splits;
    this.skipped = content.skipped;
    this.warnings = content.warnings ?? [];
  }

  /**
   * @throws DataError for a folder that is missing, unreadable, of no known layout, with two readings, or with an empty
   *   split, and ImageError for bad pictures; ConfigError for bad options
   */
  static async load(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
    return new ImageFolder(await readImageFolder(dir, options));
  }

  /**
   * Reads classes from a table of files and labels, as Kaggle competitions have them.
   *
   * ```ts
   * const data = await ImageFolder.fromTable('ham10000/HAM10000_metadata.csv', { labelColumn: 'dx' });
   * ```
   *
   * CSV with comma, semicolon, tab or bar, JSON Lines, or a JSON list. Files are found below the table's folder by path,
   * name, or id without an ending. Numbers get names from a JSON file beside the table that has one for each. Rows
   * without a file, files without a row, and rows without a label are left out, and counted in `warnings`.
   * @param path a table, a folder that holds one, or several tables, e.g. of train and test
   * @throws DataError naming table, row or column: a column that is not clear, several labels or files for one row,
   *   rows that contradict each other; ImageError and ConfigError as `load`
   */
  static async fromTable(path: string | readonly string[], options: ImageTableOptions = {}): Promise<ImageFolder> {
    return new ImageFolder(await readImageTable(path, options));
  }

  /**
   * Holds out a part of `train`: `(await ImageFolder.load(dir)).split({ test: 0.2 })`. Each class keeps its share in
   * every part, and one of too few images stays in `train`, which is in `warnings`; the same seed gives the same parts.
   * This folder stays as it is.
   * @throws DataError if there is such a split already, or too few images; ConfigError for shares that are none
   */
  async split(options: SplitOptions<ImageSample>): Promise<ImageFolder> {
    const present = (['test', 'validation'] as const).find(
      (name) => options?.[name] !== undefined && this.splits.has(name),
    );
    if (present) {
      throw new DataError(
        `${oneLine(this.dir)}: there is a ${present} split already, of ${this.splits.get(present)!.length} images`,
        { hint: `Use it, or divide the images of one split: \`data.train.split(…)\`.`, details: { path: this.dir } },
      );
    }
    const { train, test, validation } = await this.train.split(options);
    const splits = new Map(this.splits).set('train', train);
    if (test) splits.set('test', test);
    if (validation) splits.set('validation', validation);
    const { dir, classLabel, skipped } = this;
    const warnings = [...this.warnings];
    for (const [name, part] of Object.entries({ test, validation })) {
      const counts = part?.classCounts();
      const missing = counts ? [...train.classCounts()].filter(([one, n]) => n > 0 && counts.get(one) === 0) : [];
      if (missing.length === 0) continue;
      const names = listNames(missing.map(([one]) => one));
      warnings.push(warningLine(`the split left no image of ${names} in ${name}`));
      process.emitWarning(`${oneLine(dir)}: ${warnings.at(-1)}`, 'ImageFolderWarning');
    }
    const order = (['train', 'test', 'validation'] as const).filter((name) => splits.has(name));
    return new ImageFolder({
      dir,
      classLabel,
      skipped,
      warnings,
      splits: new Map(order.map((name) => [name, splits.get(name)!])),
    });
  }

  /** The position is the label. */
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
      hint:
        name === 'train'
          ? '`splits.has(name)` tells.'
          : `\`splits.has(name)\` tells. To hold out a part of train: \`await data.split({ ${name}: 0.2 })\`.`,
      details: { path: this.dir, splits: known },
    });
  }
}
