/** The data of a run: images with classes, or conversations, in their parts. */
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { pathFault } from '../config.js';
import { ConversationDataset } from '../data/conversations/conversation-dataset.js';
import type { IndexedDataset } from '../data/dataset.js';
import { HubImageFolder } from '../data/hub-image-folder.js';
import { ImageFolder } from '../data/image-folder.js';
import type { ImageSample } from '../data/image-folder-options.js';
import { KaggleImageFolder } from '../data/kaggle-image-folder.js';
import type { TrainingExample } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { ShownProgress } from '../monitor/show-progress.js';
import { randomPermutation } from '../random.js';

/** Images in class folders, or with a table of their classes. */
interface ClassData {
  readonly kind: 'classes';
  readonly name: string;
  readonly folder: ImageFolder;
  readonly classNames: readonly string[];
  readonly train: IndexedDataset<ImageSample> | undefined;
  readonly test: IndexedDataset<ImageSample> | undefined;
  readonly validation: IndexedDataset<ImageSample> | undefined;
}

/** Conversations; what is kept for the test is measured by its loss. */
interface ConversationData {
  readonly kind: 'conversations';
  readonly name: string;
  readonly description: string;
  readonly train: IndexedDataset<TrainingExample>;
  readonly test: IndexedDataset<TrainingExample> | undefined;
}

export type RunData = ClassData | ConversationData;

interface LoadDataOptions {
  readonly labels?: string | undefined;
  /** Share of the training samples that is kept for the test. */
  readonly holdout?: number | undefined;
  /** Most samples of each part. */
  readonly limit?: number | undefined;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly note: (line: string) => void;
  /** Of a download. */
  readonly onProgress: (progress: ShownProgress) => void;
}

const TABLES = ['.csv', '.tsv'];

/**
 * Damaged images are found now, named, and left out everywhere.
 * @throws ConfigError for a name of nothing; DataError if a test part is asked for and is there already; what the data throw
 */
export async function loadData(name: string, options: LoadDataOptions): Promise<RunData> {
  const { labels, note, signal, onProgress } = options;
  const reading = { onBadImage: 'skip', onWarning: note } as const;
  const [, scheme, rest] = /^(kaggle|hub):(.+)$/s.exec(name) ?? [];
  if (scheme !== undefined) {
    if (labels !== undefined) {
      throw new ConfigError(`${oneLine(name)}: --labels goes with a folder, not with a data set of a service`, {
        hint: 'Its own tables of classes are found; for another, download the data set and give its folder.',
        details: { data: name },
      });
    }
    const download = { ...reading, signal, onProgress };
    const source = scheme === 'kaggle' ? KaggleImageFolder : HubImageFolder;
    return classData(name, await source.download(rest!, download), options);
  }
  const found = await stat(name).catch(() => undefined);
  if (!found) {
    throw new ConfigError(`there is no file or folder ${oneLine(name)}`, {
      hint: pathFault(name)?.hint ?? 'A data set of a service is written kaggle:OWNER/NAME or hub:OWNER/NAME.',
      details: { path: name },
    });
  }
  if (labels !== undefined) {
    return classData(name, await ImageFolder.fromTable(labels, { ...reading, imageDir: name }), options);
  }
  if (found.isDirectory()) return classData(name, await ImageFolder.load(name, reading), options);
  if (TABLES.includes(extname(name).toLowerCase())) {
    return classData(name, await ImageFolder.fromTable(name, reading), options);
  }
  return conversationData(name, await ConversationDataset.fromFile(name, reading), options);
}

async function classData(name: string, read: ImageFolder, options: LoadDataOptions): Promise<ClassData> {
  const { holdout, seed } = options;
  const folder = holdout === undefined || !read.splits.has('train') ? read : await heldOut(read, holdout, seed);
  const part = (split: 'train' | 'test' | 'validation') => limited(folder.splits.get(split), options);
  return {
    kind: 'classes',
    ...{ name, folder, classNames: folder.classNames },
    ...{ train: part('train'), test: part('test'), validation: part('validation') },
  };
}

async function heldOut(data: ImageFolder, holdout: number, seed: number): Promise<ImageFolder> {
  if (!data.splits.has('test')) return data.split({ test: holdout, seed });
  throw new DataError(`${oneLine(data.dir)}: there is a test split already, of ${data.test.length} images`, {
    hint: 'Leave out --holdout, or give a folder of training images alone.',
    details: { path: data.dir },
  });
}

async function conversationData(
  name: string,
  data: ConversationDataset,
  options: LoadDataOptions,
): Promise<ConversationData> {
  const { holdout, seed } = options;
  const parts: { train: IndexedDataset<TrainingExample>; test?: IndexedDataset<TrainingExample> } =
    holdout === undefined ? { train: data } : await data.split({ test: holdout, seed });
  return {
    kind: 'conversations',
    ...{ name, description: data.description },
    train: limited(parts.train, options)!,
    test: limited(parts.test, options),
  };
}

/** Some of the samples, drawn from all over the set, in its order. */
function limited<T>(
  set: IndexedDataset<T> | undefined,
  { limit, seed }: LoadDataOptions,
): IndexedDataset<T> | undefined {
  if (set === undefined || limit === undefined || limit >= set.length) return set;
  const chosen = randomPermutation(set.length, seed).slice(0, limit);
  return set.select([...chosen].sort((a, b) => a - b));
}
