/** From the name of a data set on the Hub to what an `ImageFolder` holds; loaded with the first download. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions, requirePath } from '../config.js';
import { ConfigError } from '../errors.js';
import { patternsSchema } from '../hub/file-patterns.js';
import { type HubDownloadOptions, hubDownloadSchema } from '../hub/hub-options.js';
import { parseDatasetName } from '../hub/repo-kind.js';
import { downloadImageFiles } from './hub-image-files.js';
import type { ImageFolderContent, ImageFolderOptions } from './image-folder-options.js';
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
  ignorePatterns: patternsSchema().optional(),
  allowCaseConflicts: z.boolean().default(false),
  imageColumn: z.string().min(1).optional(),
  labelColumn: z.string().min(1).optional(),
});
const schema = hubDownloadSchema().extend(imageFolderSchema.shape).extend(ownSchema.shape);
type _Input = NoMismatch<Mismatch<Given<z.input<typeof schema>>, Given<HubImageFolderOptions>>>;

/** See `HubImageFolder.download`. */
export async function readHubFolder(name: string, options: HubImageFolderOptions): Promise<ImageFolderContent> {
  const parsed = parseOptions(schema, options, 'HubImageFolder.download');
  requirePath(name, 'HubImageFolder.download');
  const named = parseDatasetName(name);
  const of = (shape: object) => Object.fromEntries(Object.entries(parsed).filter(([key]) => Object.hasOwn(shape, key)));
  const ofFolder = of(imageFolderSchema.shape);
  const download = hubDownloadSchema().parse({
    ...of(hubDownloadSchema().shape),
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
  return readImageFolder(dir, ofFolder);
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
