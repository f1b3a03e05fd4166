/** From the name of a data set on the Hub to what an `ImageFolder` holds; loaded with the first download. */
import { z } from 'zod';
import { parseOptions, requirePath } from '../config.js';
import { ConfigError } from '../errors.js';
import { patternsSchema } from '../hub/file-patterns.js';
import { hubDownloadSchema } from '../hub/hub-options.js';
import { parseDatasetName } from '../hub/repo-kind.js';
import { downloadImageFiles } from './hub-image-files.js';
import type { HubImageFolderOptions } from './hub-image-folder.js';
import type { ImageFolderContent } from './image-folder-options.js';
import { imageFolderSchema, readImageFolder } from './read-image-folder.js';

const ownSchema = z.strictObject({
  dataDir: z.string().min(1).optional(),
  ignorePatterns: patternsSchema.optional(),
  allowCaseConflicts: z.boolean().default(false),
  imageColumn: z.string().min(1).optional(),
  labelColumn: z.string().min(1).optional(),
});
const schema = hubDownloadSchema.extend(imageFolderSchema.shape).extend(ownSchema.shape);

/** See `HubImageFolder.download`. */
export async function readHubFolder(name: string, options: HubImageFolderOptions): Promise<ImageFolderContent> {
  const parsed = parseOptions(schema, options, 'HubImageFolder.download');
  requirePath(name, 'HubImageFolder.download');
  const named = parseDatasetName(name);
  const of = (shape: object) => Object.fromEntries(Object.entries(parsed).filter(([key]) => Object.hasOwn(shape, key)));
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
