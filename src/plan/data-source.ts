/** The training samples that a plan is asked for: a data set, a list, or the name of one. */
import { stat } from 'node:fs/promises';
import { pathFault } from '../config.js';
import { classificationExample, classPrompt } from '../data/class-example.js';
import { ConversationDataset } from '../data/conversations/conversation-dataset.js';
import { IndexedDataset } from '../data/dataset.js';
import { HubImageFolder } from '../data/hub-image-folder.js';
import { ImageFolder } from '../data/image-folder.js';
import { KaggleImageFolder } from '../data/kaggle-image-folder.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';

interface DataSourceOptions {
  /** Before each image of an image folder. */
  readonly prompt?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onNote: (line: string) => void;
}

/** @throws ConfigError for what is no data set, and what the data set throws */
export async function trainingData(given: unknown, options: DataSourceOptions): Promise<Dataset<TrainingExample>> {
  if (typeof given === 'string') return fromName(given, options);
  if (isKind(given, 'imageFolder')) return fromFolder(given as ImageFolder, options);
  requireNoPrompt(options);
  if (Array.isArray(given)) return IndexedDataset.from(given as readonly TrainingExample[]);
  if (isKind(given, 'dataset')) return given as Dataset<TrainingExample>;
  throw new ConfigError(
    `plan: \`trainDataset\`: expected a data set, a list of samples or a name, got ${describeGiven(given)}`,
    {
      hint: 'Give what SftTrainer takes, a folder of images, a file of conversations, kaggle:OWNER/NAME or hub:OWNER/NAME.',
    },
  );
}

async function fromName(name: string, options: DataSourceOptions): Promise<Dataset<TrainingExample>> {
  const { signal, onNote } = options;
  const [, scheme, rest] = /^(kaggle|hub):(.+)$/s.exec(name) ?? [];
  const reading = { onWarning: onNote, ...(signal ? { signal } : {}) };
  if (scheme === 'kaggle') return fromFolder(await KaggleImageFolder.download(rest!, reading), options);
  if (scheme === 'hub') return fromFolder(await HubImageFolder.download(rest!, reading), options);
  const found = await stat(name).catch(() => undefined);
  if (!found) {
    throw new ConfigError(`plan: there is no file or folder ${oneLine(name)}`, {
      hint: pathFault(name)?.hint ?? 'A data set of a service is written kaggle:OWNER/NAME or hub:OWNER/NAME.',
      details: { path: name },
    });
  }
  if (found.isDirectory()) return fromFolder(await ImageFolder.load(name, { onWarning: onNote }), options);
  requireNoPrompt(options);
  return ConversationDataset.fromFile(name);
}

function requireNoPrompt({ prompt }: DataSourceOptions): void {
  if (prompt === undefined) return;
  throw new ConfigError('plan: `prompt` has no effect: only images of a folder are asked for with it', {
    hint: 'Samples bring their own prompts: leave it out.',
  });
}

function fromFolder(folder: ImageFolder, { prompt, onNote }: DataSourceOptions): Dataset<TrainingExample> {
  if (!folder.splits.has('train')) {
    throw new DataError(`${folder.dir}: there are no training images`, {
      hint: 'Name a folder of them `train`, or give a data set of samples.',
    });
  }
  const text = prompt ?? classPrompt(folder.classNames);
  if (prompt === undefined) {
    onNote(
      'no prompt was given: each image is asked for with a plain one that lists the classes, which counts as tokens',
    );
  }
  return folder.train.map(classificationExample(text));
}
