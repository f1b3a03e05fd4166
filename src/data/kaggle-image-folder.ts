/** An image data set of Kaggle, in the form in which its archive unpacks. */
import { ImageFolder, type ImageFolderOptions, readImageFolder } from './image-folder.js';

/**
 * An `ImageFolder` that comes from Kaggle: `<class>/{Train,Test}/*` below wrapping folders, often two of the same
 * name. Same interface, same errors.
 */
export class KaggleImageFolder extends ImageFolder {
  /** From the folder into which the archive was unpacked. */
  static async fromFolder(dir: string, options: ImageFolderOptions = {}): Promise<KaggleImageFolder> {
    return new KaggleImageFolder(await readImageFolder(dir, options));
  }
}
