/** What an image folder is read with, and what comes out. */
import type { TableRow } from './csv.js';
import type { ClassLabel, LabelledDataset } from './dataset.js';
import type { SplitName } from './folder-evidence.js';
import type { LazyImage } from './types.js';

/** What `ImageFolder.load` and `ImageFolder.fromTable` have in common. */
export interface ImageReadOptions {
  /**
   * What to do with a file that is no readable image though its name says so: stop with an error that names all of
   * them, or leave them out and list them in `skipped`. A file that becomes unreadable later stops the training at its
   * batch, with a checkpoint, or is left out of that batch with a warning. Default: `error`.
   */
  readonly onBadImage?: 'error' | 'skip' | undefined;
  /**
   * Decode every image while loading, so that a damaged one is found before training and not in the middle of it.
   * Without it only the first bytes of each file are read, and a damaged file is named by the ImageError that
   * `image.decode()` throws. Default: true with `onBadImage: 'skip'`, else false.
   */
  readonly verify?: boolean | undefined;
  /** Refuse images of more pixels than this. Default: 178,956,970. */
  readonly maxPixels?: number | undefined;
  /**
   * Refuse images whose longer side is more than this many times the shorter one. Shrunk to the image processor's
   * longest edge, nothing would be left of them. Default: 1540, as the edge of the processor.
   */
  readonly maxAspectRatio?: number | undefined;
  /**
   * Bits that the samples of 16-bit PNG and TIFF files really use, 8 to 16: of 12, a sample of 4,095 becomes 255.
   * Give `decodeImage` the same for images that the model sees later. A warning says where samples look like fewer.
   * Default: 16.
   */
  readonly bitDepth?: number | undefined;
  /**
   * Files and folders to pass over: names, or paths below the root; `*` stands for any letters, as in `*_mask.png`.
   * These are passed over always: names that start with a dot, and what systems leave, as `__MACOSX`, `@eaDir`,
   * `$RECYCLE.BIN`. Default: these alone.
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

/** What folders are, from the top: usual layouts, or any other of `class`, `split` and `*`. */
export type FolderLayout = 'class' | 'split/class' | 'class/split' | '*/class' | (string & {});

/** Options of `ImageFolder.load`. */
export interface ImageFolderOptions extends ImageReadOptions {
  /**
   * What the folders are, from the top, below wrapping folders: `class`, `split`, or `*` for a folder that says nothing.
   * Examples: 'class', 'split/class', 'class/split', '*\/class'. Default: detected from the folders.
   */
  readonly layout?: FolderLayout | undefined;
  /**
   * The class of an image, from its path below the folder with `/` on every system; undefined leaves the image out.
   * For classes in file names and for deep folders. Splits are still told by folders. Default: by the folders.
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
  /** The class of a row, instead of `labelColumn`; undefined leaves the row out. Default: by `labelColumn`. */
  readonly labelOf?: ((row: TableRow) => string | undefined) | undefined;
  /**
   * The split of a row, instead of `splitColumn`; undefined: by the folders and the table's name. Default: by
   * `splitColumn`.
   */
  readonly splitOf?: ((row: TableRow) => SplitName | undefined) | undefined;
  /** Between fields, e.g. ' '. Default: by the first line, one of comma, semicolon, tab, bar. */
  readonly separator?: string | undefined;
  /** Whether the first line names the columns. Default: true. */
  readonly header?: boolean | undefined;
}

/** An image of a class. */
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

/** A file that is named or begins like an image and cannot be read as one. */
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
  /** Classes of all splits, sorted by code unit; one stays whose images were all skipped. */
  readonly classLabel: ClassLabel;
  /** Those with images, in the order train, test, validation. */
  readonly splits: ReadonlyMap<SplitName, LabelledDataset<ImageSample>>;
  /** By path; empty with `onBadImage: 'error'`. */
  readonly skipped: readonly SkippedImage[];
  /** What was doubtful or left out, a line each. Default: nothing. */
  readonly warnings?: readonly string[];
}
