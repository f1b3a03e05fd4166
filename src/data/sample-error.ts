/** Errors about a sample name the sample. */
import { DataError, type ImageError, reasonOf, TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import type { Message } from './types.js';

/**
 * The same error with the sample's name in front. Errors that name one already, and those of an aborted operation, stay
 * as they are; unknown errors become a DataError.
 */
export function nameSample(error: unknown, sample: string): unknown {
  if (error instanceof Error && error.name === 'AbortError') return error;
  // Rows of JSON may have numbers for names.
  const who = `sample ${oneLine(String(sample))}`;
  if (!(error instanceof TuneError))
    return new DataError(`${who}: ${reasonOf(error)}`, { details: { sample }, cause: error });
  if (error.details.sample !== undefined) return error;
  return error.with({ summary: `${who}: ${error.summary}`, details: { ...error.details, sample } });
}

/** An image cannot be read, and its handle says that its sample may be left out. */
export class SkippableImage extends Error {
  override readonly cause: ImageError;
  constructor(cause: ImageError) {
    super(cause.summary);
    this.cause = cause;
  }
}

export function nothingToLearn(messages: readonly Message[]): DataError {
  return new DataError('there is nothing to learn: every label is -100', {
    hint:
      'a training sample needs an assistant message with text, not masked by `weight: 0` or `train: false`, ' +
      'and a template that renders it',
    details: { roles: messages.map((message) => message.role) },
  });
}
