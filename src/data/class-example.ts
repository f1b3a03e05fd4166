/** Labelled images as conversations: the question, the image, and its class as the answer. */
import { checkNames } from '../config.js';
import { DataError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { requireText } from '../require-given.js';
import type { ImageInput, SftExample } from './types.js';

/** An image with the name of its class; an `ImageSample` is one. */
export interface ClassifiedImage {
  /** What is shown after the question. */
  readonly image: ImageInput;
  /** The answer. */
  readonly className: string;
  /** Names the sample in messages. */
  readonly path?: string | undefined;
}

/** Options of {@link classificationExample}. */
export interface ClassificationExampleOptions {
  /** A system message before the question. Default: none. */
  readonly system?: string | undefined;
}

/** The plain question before each image, where no other was given. */
export function classPrompt(classNames: readonly string[]): string {
  return `Name the class of this image. Answer with one of: ${classNames.join(', ')}`;
}

/**
 * Makes the function that turns a labelled image into a conversation: the user gives the question and the image, the
 * assistant answers with the name of the class. For `map` of a data set, and as `toExample` of an evaluation, which cuts
 * the answer off.
 * @throws ConfigError for a question that is no text; the function throws a DataError for what is no labelled image
 * @example
 * ```ts
 * const toExample = classificationExample('Which fracture is it?');
 * const trainDataset = data.train.map(toExample);
 * ```
 */
export function classificationExample(
  question: string,
  options: ClassificationExampleOptions = {},
): (sample: ClassifiedImage) => SftExample {
  requireText(question, 'classificationExample', "e.g. classificationExample('Which animal is it?').");
  checkNames(options, { system: false }, 'classificationExample');
  const { system } = options;
  if (system !== undefined) requireText(system, 'classificationExample: `system`');
  return (sample) => {
    if (!isObject(sample) || sample.image === undefined || typeof sample.className !== 'string') {
      throw new DataError(`classificationExample: expected { image, className }, got ${describeGiven(sample)}`, {
        hint: 'Samples of ImageFolder have both; map others first: { image: row.file, className: row.kind }.',
      });
    }
    return classExample(sample, question, system);
  };
}

/** @param system a system message before the question */
export function classExample({ image, path, className }: ClassifiedImage, prompt: string, system?: string): SftExample {
  return {
    ...(path !== undefined && { id: path }),
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: [{ type: 'text', text: system }] } as const]),
      {
        role: 'user',
        content: [
          { type: 'text', text: prompt },
          { type: 'image', image },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: className }] },
    ],
  };
}
