/** From a handle of Kaggle to what an `ImageFolder` holds; loaded with the first download. */
import { parseOptions } from '../config.js';
import { downloadKaggleDataset, type KaggleDownloadOptions, kaggleDownloadSchema } from '../kaggle/download-dataset.js';
import type { ImageFolderContent, ImageFolderOptions } from './image-folder-options.js';
import { imageFolderSchema, readImageFolder } from './read-image-folder.js';

const downloadSchema = kaggleDownloadSchema.extend(imageFolderSchema.shape);

/** See `KaggleImageFolder.download`. */
export async function readKaggleFolder(
  handle: string,
  options: KaggleDownloadOptions & ImageFolderOptions,
): Promise<ImageFolderContent> {
  const parsed = parseOptions(downloadSchema, options, 'KaggleImageFolder.download');
  const ofFolder = new Set(Object.keys(imageFolderSchema.shape));
  const pick = (isOfFolder: boolean) =>
    Object.fromEntries(Object.entries(parsed).filter(([name]) => ofFolder.has(name) === isOfFolder));
  const { onWarning } = parsed;
  const dir = await downloadKaggleDataset(handle, { ...pick(false), onWarning });
  return readImageFolder(dir, pick(true));
}
