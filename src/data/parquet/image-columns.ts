/** Which columns of a Parquet file are images and classes: by the note of Hugging Face's `datasets`, else by names. */
import { DataError } from '../../errors.js';
import { oneLine } from '../../messages/one-line.js';
import { listNames } from '../folder-evidence.js';
import type { ParquetColumn, ParquetFile } from './parquet-file.js';

export interface ImageColumns {
  /** Encoded images. */
  readonly bytes: ParquetColumn;
  /** What the file of an image was called. */
  readonly path: ParquetColumn | undefined;
  readonly label: ParquetColumn;
  readonly classNames: readonly string[] | undefined;
}

export interface ChosenColumns {
  readonly imageColumn?: string | undefined;
  readonly labelColumn?: string | undefined;
}

interface Feature {
  readonly _type?: unknown;
  readonly names?: unknown;
}

const IMAGE_NAMES = /^(image|img|picture|photo|jpg|jpeg|png|pixel_values)$/i;
const LABEL_NAMES = /^(labels?|class|classes|category|target|fine_label|diagnosis|class_?name|label_?name)$/i;

/** @throws DataError naming the columns, where it is not clear which are meant */
export function findImageColumns(file: ParquetFile, chosen: ChosenColumns): ImageColumns {
  const features = featuresOf(file);
  const tops = [...new Set([...file.columns.keys()].map((path) => path.split('.')[0]!))];
  const ofType = (type: string): string[] => tops.filter((name) => features.get(name)?._type === type);
  const isImage = (name: string): boolean => file.columns.has(`${name}.bytes`);
  const images = ofType('Image').length > 0 ? ofType('Image') : tops.filter(isImage);
  const image = choose(
    file,
    chosen.imageColumn,
    images.length > 0 ? images : tops.filter((name) => IMAGE_NAMES.test(name)),
    {
      what: 'images',
      option: 'imageColumn',
      tops,
    },
  );
  const bytes = file.columns.get(`${image}.bytes`) ?? file.columns.get(image);
  if (!bytes || (bytes.type !== 6 && bytes.type !== 7)) {
    const isList = [...file.columns.values()].some(
      ({ path, isRepeated }) => isRepeated && path.startsWith(`${image}.`),
    );
    throw columnError(
      file,
      `the column "${image}" holds ${isList ? 'lists, where one image a row is expected' : 'no encoded images'}`,
      tops,
      'imageColumn',
    );
  }
  const others = tops.filter((name) => name !== image);
  const labels =
    ofType('ClassLabel').length > 0 ? ofType('ClassLabel') : others.filter((name) => LABEL_NAMES.test(name));
  const name = choose(file, chosen.labelColumn, labels, { what: 'classes', option: 'labelColumn', tops });
  const label = file.columns.get(name);
  if (!label || ![1, 2, 6, 0].includes(label.type)) {
    throw columnError(file, `the column "${name}" holds neither texts nor whole numbers`, tops, 'labelColumn');
  }
  const names = features.get(name)?.names;
  const isNames = Array.isArray(names) && names.every((one) => typeof one === 'string') && label.type !== 6;
  return { bytes, path: file.columns.get(`${image}.path`), label, classNames: isNames ? names : undefined };
}

interface Choice {
  readonly what: string;
  readonly option: string;
  readonly tops: readonly string[];
}

function choose(file: ParquetFile, given: string | undefined, found: readonly string[], choice: Choice): string {
  const { what, option, tops } = choice;
  if (given !== undefined) {
    if (tops.includes(given)) return given;
    throw columnError(file, `no column "${given}"`, tops, option);
  }
  if (found.length === 1) return found[0]!;
  const which =
    found.length === 0 ? `no column of ${what} by its name` : `several columns of ${what}: ${listNames(found)}`;
  throw columnError(file, which, tops, option);
}

function featuresOf({ notes }: ParquetFile): ReadonlyMap<string, Feature> {
  try {
    const note = JSON.parse(notes.get('huggingface') ?? '{}') as { info?: { features?: Record<string, Feature> } };
    return new Map(Object.entries(note.info?.features ?? {}));
  } catch {
    return new Map();
  }
}

function columnError({ path }: ParquetFile, why: string, tops: readonly string[], option: string): DataError {
  return new DataError(`${oneLine(path)}: ${oneLine(why)}; its columns: ${listNames(tops)}`, {
    hint: `Name it by the option \`${option}\`.`,
    details: { path, columns: tops },
  });
}
