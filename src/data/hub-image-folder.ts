/** An image data set on the Hugging Face Hub: images in folders, tables beside them, zip archives of both. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions, requirePath } from '../config.js';
import { ConfigError } from '../errors.js';
import { patternsSchema } from '../hub/file-patterns.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { parseDatasetName } from '../hub/repo-kind.js';
import { downloadImageFiles } from './hub-image-files.js';
import { ImageFolder, type ImageFolderOptions } from './image-folder.js';
import { imageFolderSchema, readImageFolder } from './read-image-folder.js';

/** What a user may write beside the options of every download and of every folder. */
export interface HubImageFolderOptions extends HubDownloadOptions, ImageFolderOptions {
  /** Folder of the repository that holds the images; others are not fetched. Default: all of it. */
  readonly dataDir?: string | undefined;
  /** Files that are not fetched: a pattern, or a list of them, as `snapshotDownload` has it. Default: none. */
  readonly ignorePatterns?: string | readonly string[] | undefined;
  /**
   * Unpack files of a zip archive whose names are equal but for case, where the disk tells them apart. Default: false.
   */
  readonly allowCaseConflicts?: boolean | undefined;
  /** Column of the images in Parquet files. Default: the one of that type, else by usual names, such as `image`. */
  readonly imageColumn?: string | undefined;
  /** Column of the classes in Parquet files. Default: the one of that type, else by usual names, such as `label`. */
  readonly labelColumn?: string | undefined;
  /** Receives each warning in one line. Default: `process.emitWarning`. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

const ownSchema = z.strictObject({
  dataDir: z.string().min(1).optional(),
  ignorePatterns: patternsSchema.optional(),
  allowCaseConflicts: z.boolean().default(false),
  imageColumn: z.string().min(1).optional(),
  labelColumn: z.string().min(1).optional(),
});
const schema = hubDownloadSchema.extend(imageFolderSchema.shape).extend(ownSchema.shape);
type _Input = NoMismatch<Mismatch<Given<z.input<typeof schema>>, Given<HubImageFolderOptions>>>;

/**
 * An `ImageFolder` that comes from the Hugging Face Hub, in the forms that `load_dataset('imagefolder')` reads there:
 * class folders below splits or alone, a `metadata.csv` or `metadata.jsonl` beside the images, zip archives of them, and
 * Parquet files with a column of images and one of classes. Same interface, same errors. Data sets in WebDataset or Arrow
 * files are named and refused.
 */
export class HubImageFolder extends ImageFolder {
  /**
   * Downloads the images and tables of a data set, or takes them from the cache, and reads them.
   *
   * The cache is shared with Python's tools. Zip archives are checked, and unpacked beside the snapshot: an archive is a
   * folder of its name, so that `data/train.zip` is the train split. Images in Parquet files are written as files there,
   * once; a class that is a number has the name that the file notes for it.
   * @param name `owner/name` of the data set, or the address of its page; `/tree/REVISION/FOLDER` in it stand for
   *   `revision` and `dataDir`
   * @throws ConfigError for a name of something else, or bad options; HubError, explained, if files cannot be fetched or
   *   are of another form; DataError for an archive that is not unpacked, and like `ImageFolder.load`; the signal's reason
   * @example
   * ```ts
   * const data = await HubImageFolder.download('OWNER/NAME', { revision: 'main' });
   * ```
   */
  static async download(name: string, options: HubImageFolderOptions = {}): Promise<HubImageFolder> {
    const parsed = parseOptions(schema, options, 'HubImageFolder.download');
    requirePath(name, 'HubImageFolder.download');
    const named = parseDatasetName(name);
    const of = (shape: object) =>
      Object.fromEntries(Object.entries(parsed).filter(([key]) => Object.hasOwn(shape, key)));
    const ofFolder = of(imageFolderSchema.shape);
    const download = hubDownloadSchema.parse({
      ...of(hubDownloadSchema.shape),
      ...said('revision', options.revision, named.revision, name),
    });
    const { dataDir } = { dataDir: parsed.dataDir, ...said('dataDir', parsed.dataDir, named.folder, name) };
    const { ignorePatterns, allowCaseConflicts, imageColumn, labelColumn } = parsed;
    const columns = { imageColumn, labelColumn };
    const dir = await downloadImageFiles(named.repoId, download, {
      dataDir,
      ignorePatterns,
      allowCaseConflicts,
      ...columns,
    });
    return new HubImageFolder(await readImageFolder(dir, ofFolder));
  }

  /** From a folder that is there already. */
  static async fromFolder(dir: string, options: ImageFolderOptions = {}): Promise<HubImageFolder> {
    requirePath(dir, 'HubImageFolder.fromFolder');
    return new HubImageFolder(await readImageFolder(dir, options));
  }
}

function said(
  option: 'revision' | 'dataDir',
  given: string | undefined,
  named: string | undefined,
  text: string,
): Record<string, string> {
  if (named === undefined || given === named) return {};
  if (given === undefined) return { [option]: named };
  throw new ConfigError(`HubImageFolder.download: \`${option}\` is "${given}", and the address says "${named}"`, {
    hint: 'Give one of them.',
    details: { given: text },
  });
}
