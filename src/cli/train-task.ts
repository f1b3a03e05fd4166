/** What a run learns and how it is judged: the class of an image, or the answers of conversations. */
import { classPrompt } from '../data/class-example.js';
import type { IndexedDataset } from '../data/dataset.js';
import type { ImageSample } from '../data/image-folder-options.js';
import type { SftExample, TrainingExample } from '../data/types.js';
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';
import { type ClassQuestion, exampleOf } from './class-evaluation.js';
import type { RunData } from './load-data.js';
import type { RunSettings } from './run-settings.js';
import { UsageError } from './usage.js';

export interface TrainTask {
  readonly train: IndexedDataset<TrainingExample>;
  /** Measured by its loss, after each epoch. */
  readonly evaluation: IndexedDataset<TrainingExample> | undefined;
  /** Test images and how they are asked for their class. */
  readonly classes:
    | { readonly question: ClassQuestion; readonly test: IndexedDataset<ImageSample> | undefined }
    | undefined;
  /** What the data are, a line each. */
  readonly lines: readonly string[];
}

/** @throws DataError without training samples; UsageError for a prompt beside conversations */
export function trainTask(data: RunData, settings: Pick<RunSettings, 'prompt' | 'system'>): TrainTask {
  return data.kind === 'classes' ? classTask(data, settings) : conversationTask(data, settings);
}

function classTask(
  data: Extract<RunData, { kind: 'classes' }>,
  { prompt, system }: Pick<RunSettings, 'prompt' | 'system'>,
): TrainTask {
  const { classNames, train, test, validation, folder } = data;
  if (train === undefined) {
    const found = [...folder.splits].map(([name, { length }]) => `${name} ${length}`).join(', ');
    throw new DataError(`${oneLine(folder.dir)}: there are no training images, only: ${found}`, {
      hint: 'Name a folder of them `train`, or give the folder above.',
      details: { path: folder.dir },
    });
  }
  const question = { prompt: prompt ?? classPrompt(classNames), system, classNames };
  const toExample = exampleOf(question);
  const names = shortList([...classNames], 5, oneLine);
  const parts = [...folder.splits].map(([name]) => {
    const part = { train, test, validation }[name];
    return `${part?.length ?? 0} ${name === 'train' ? 'training' : name}`;
  });
  return {
    train: train.map((sample): SftExample => toExample(sample)),
    evaluation: validation?.map((sample): SftExample => toExample(sample)),
    classes: { question, test },
    lines: [
      `${classNames.length} ${classNames.length === 1 ? 'class' : 'classes'} (${names}): ${parts.join(', ')} images`,
      ...(prompt === undefined ? [`asked with: ${oneLine(question.prompt)}`] : []),
      ...(test === undefined
        ? ['there are no test images, so accuracy is not measured; --holdout 0.2 keeps a fifth of each class for that']
        : []),
    ],
  };
}

function conversationTask(
  data: Extract<RunData, { kind: 'conversations' }>,
  settings: Pick<RunSettings, 'prompt' | 'system'>,
): TrainTask {
  for (const name of ['prompt', 'system'] as const) {
    if (settings[name] === undefined) continue;
    throw new UsageError(`train: --${name} has no effect: conversations bring their own`, { hint: 'Leave it out.' });
  }
  const { description, train, test } = data;
  const held = test === undefined ? [] : [`${train.length} training and ${test.length} test conversations`];
  return { train, evaluation: test, classes: undefined, lines: [oneLine(description), ...held] };
}
