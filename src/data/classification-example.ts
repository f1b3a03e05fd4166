/** From a labelled image to the conversation that teaches its class. */
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

/**
 * Makes the function that turns a labelled image into a conversation: the user gives the question and the image, the
 * assistant answers with the name of the class. For `map` of a data set, and as `toExample` of an evaluation, which cuts
 * the answer off.
 * @example
 * const toExample = classificationExample('Which fracture is it?');
 * const trainDataset = data.train.map(toExample);
 * @throws ConfigError for a question that is no text; the function throws a DataError for what is no labelled image
 */
export function classificationExample(question: string): (sample: ClassifiedImage) => SftExample {
  requireText(question, 'classificationExample', "e.g. classificationExample('Which animal is it?').");
  return (sample) => {
    if (!isObject(sample) || sample.image === undefined || typeof sample.className !== 'string') {
      throw new DataError(`classificationExample: expected { image, className }, got ${describeGiven(sample)}`, {
        hint: 'Samples of ImageFolder have both; map others first: { image: row.file, className: row.kind }.',
      });
    }
    const { image, className, path } = sample;
    return {
      ...(path !== undefined && { id: path }),
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: question },
            { type: 'image', image },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: className }] },
      ],
    };
  };
}
