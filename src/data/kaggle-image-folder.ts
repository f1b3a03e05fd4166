/** An image data set of Kaggle, in the form in which its archive unpacks. */
import { requirePath } from '../config.js';
import type { KaggleDownloadOptions } from '../kaggle/download-dataset.js';
import { ImageFolder, type ImageFolderOptions } from './image-folder.js';

/**
 * An `ImageFolder` that comes from Kaggle: `<class>/{Train,Test}/*` below wrapping folders, often two of the same
 * name. Same interface, same errors.
 */
export class KaggleImageFolder extends ImageFolder {
  /**
   * Downloads a data set, or the files of a competition, or takes them from the cache, and reads their folder.
   *
   * The cache is shared with Python's kagglehub. An interrupted download goes on where it stopped; the archive is
   * checked before it is unpacked, and the unpacked folder appears when it is whole. An archive that is whole and not
   * unpacked (names equal but for case, encrypted, no zip archive) is kept, and not downloaded again. Credentials go to
   * Kaggle and nowhere else.
   * @param handle `owner/dataset` for the current version, `owner/dataset/versions/N` for a certain one, which then
   *   needs no network once it is in the cache, or `competitions/NAME`, whose rules must be accepted on Kaggle. The
   *   address of the page, Kaggle's command line and kagglehub's line of Python mean the same
   * @throws ConfigError for a bad handle, bad options or credentials that cannot be read; KaggleError if the download
   *   fails; DataError for an archive that is damaged or not unpacked, saying where it lies, and like `fromFolder`; the
   *   signal's reason
   * @example
   * ```ts
   * const data = await KaggleImageFolder.download('pkdarabi/bone-break-classification-image-dataset');
   * ```
   */
  static async download(
    handle: string,
    options: KaggleDownloadOptions & ImageFolderOptions = {},
  ): Promise<KaggleImageFolder> {
    const { readKaggleFolder } = await import('./read-kaggle-folder.js');
    return new KaggleImageFolder(await readKaggleFolder(handle, options));
  }

  /** From the folder into which the archive was unpacked. */
  static override async fromFolder(dir: string, options: ImageFolderOptions = {}): Promise<KaggleImageFolder> {
    requirePath(dir, 'KaggleImageFolder.fromFolder');
    const { readImageFolder } = await import('./read-image-folder.js');
    return new KaggleImageFolder(await readImageFolder(dir, options));
  }
}
