/** The example's images: from Kaggle, from class folders, or from a table, with a test split held out where asked. */
import { DataError, ImageFolder, KaggleImageFolder, type KaggleProgress } from 'ministral-tune';

export interface LoadImagesOptions {
  readonly kaggle?: { readonly name: string; readonly onProgress: (progress: KaggleProgress) => void } | undefined;
  /** A table of the images' classes. */
  readonly labels?: string | undefined;
  /** Share of the training images that is kept for the test. */
  readonly holdout?: number | undefined;
}

/**
 * Damaged images are found now, named, and left out everywhere: training, evaluation and charts see the same samples.
 * @throws DataError if there is no test split and none is asked for, or the other way round
 */
export async function loadImages(dir: string, options: LoadImagesOptions): Promise<ImageFolder> {
  const { kaggle, labels, holdout } = options;
  const reading = { onBadImage: 'skip', onWarning: (line: string) => console.warn(`Note: ${line}`) } as const;
  const data = kaggle
    ? await KaggleImageFolder.download(kaggle.name, { ...reading, onProgress: kaggle.onProgress })
    : labels === undefined
      ? await ImageFolder.load(dir, reading)
      : await ImageFolder.fromTable(labels, { ...reading, imageDir: dir });
  const sizes = [...data.splits].map(([name, { length }]) => `${name} ${length}`).join(', ');
  if (!data.splits.has('train')) {
    throw new DataError(`${data.dir}: there are no training images, only: ${sizes}`, {
      hint: 'Name a folder of them `train`, or give the folder above.',
    });
  }
  if (holdout !== undefined && data.splits.has('test')) {
    throw new DataError(`${data.dir}: there is a test split already, of ${data.test.length} images`, {
      hint: 'Leave out --holdout, or give a folder of training images alone.',
    });
  }
  if (holdout !== undefined) return data.split({ test: holdout });
  if (data.splits.has('test')) return data;
  const instead = 'validation';
  throw new DataError(`${data.dir}: there are no test images, only: ${sizes}`, {
    hint: data.splits.has(instead)
      ? `Keep a share of the training images by --holdout 0.2, or rename the folder of ${instead} images to test.`
      : 'Keep a share of each class for the test: --holdout 0.2.',
  });
}
