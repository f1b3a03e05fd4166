/** A folder of images sorted into class folders, as data sets are published, to train and test splits. */
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { oneLine, warningLine } from '../messages/one-line.js';
import type { ClassLabel, LabelledDataset } from './dataset.js';
import { listNames, type SplitName } from './folder-evidence.js';
import type {
  ImageFolderContent,
  ImageFolderOptions,
  ImageSample,
  ImageTableOptions,
  SkippedImage,
} from './image-folder-options.js';
import type { SplitOptions } from './split-dataset.js';

export type { ImageFolderOptions, ImageSample, ImageTableOptions, SkippedImage };

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
  /** Those with images; `train`, `test` and `validation` are short for its values. */
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
   *   split, and ImageError for bad images; ConfigError for bad options
   * @example
   * ```ts
   * const data = await ImageFolder.load('xrays');
   * console.log(data.classNames, data.train.length, data.test.length);
   * const { train, validation } = await data.split({ validation: 0.1 });
   * ```
   */
  static async load(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
    const { readImageFolder } = await import('./read-image-folder.js');
    return new ImageFolder(await readImageFolder(dir, options));
  }

  /** `load` by the name that it has beside `fromTable`, and in the classes of Kaggle and the Hub. */
  static async fromFolder(dir: string, options: ImageFolderOptions = {}): Promise<ImageFolder> {
    return ImageFolder.load(dir, options);
  }

  /**
   * Reads classes from a table of files and labels, as Kaggle competitions have them.
   *
   * CSV with comma, semicolon, tab or bar, JSON Lines, or a JSON list. Files are found below the table's folder by path,
   * name, or id without an ending. Numbers get names from a JSON file beside the table that has one for each. Rows
   * without a file, files without a row, and rows without a label are left out, and counted in `warnings`.
   * @param path a table, a folder that holds one, or several tables, e.g. of train and test
   * @throws DataError naming table, row or column: a column that is not clear, several labels or files for one row,
   *   rows that contradict each other; ImageError and ConfigError as `load`
   * @example
   * ```ts
   * const data = await ImageFolder.fromTable('labels.csv', { labelColumn: 'fracture' });
   * ```
   */
  static async fromTable(path: string | readonly string[], options: ImageTableOptions = {}): Promise<ImageFolder> {
    const { readImageTable } = await import('./read-image-folder.js');
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
