/** An image data set on the Hugging Face Hub: images in folders, tables beside them, zip archives of both. */
import { requirePath } from '../config.js';
import { ImageFolder, type ImageFolderOptions } from './image-folder.js';
import type { HubImageFolderOptions } from './read-hub-folder.js';

export type { HubImageFolderOptions };

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
    const { readHubFolder } = await import('./read-hub-folder.js');
    return new HubImageFolder(await readHubFolder(name, options));
  }

  /** From a folder that is there already. */
  static override async fromFolder(dir: string, options: ImageFolderOptions = {}): Promise<HubImageFolder> {
    requirePath(dir, 'HubImageFolder.fromFolder');
    const { readImageFolder } = await import('./read-image-folder.js');
    return new HubImageFolder(await readImageFolder(dir, options));
  }
}
