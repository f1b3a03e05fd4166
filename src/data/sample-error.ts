/** Errors about a sample name the sample. */

import { DataError, ImageError, TextError, TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';

/**
 * The same kind of error with the sample's name in front. Errors that name one already, and those of an aborted
 * operation, stay as they are; unknown errors become a DataError.
 */
export function nameSample(error: unknown, sample: string): unknown {
  if (error instanceof Error && error.name === 'AbortError') return error;
  if (!(error instanceof TuneError)) {
    const reason = error instanceof Error ? error.message : String(error);
    return new DataError(`sample ${oneLine(sample)}: ${reason}`, { details: { sample }, cause: error });
  }
  if (error.details.sample !== undefined) return error;
  const end = error.hint ? error.message.lastIndexOf('\n  hint: ') : error.message.length;
  const message = `sample ${oneLine(sample)}: ${error.message.slice(0, end)}`;
  const options = {
    details: { ...error.details, sample },
    cause: error,
    ...(error.hint !== undefined && { hint: error.hint }),
  };
  if (error instanceof ImageError) return new ImageError(message, options);
  if (error instanceof TextError) return new TextError(message, options);
  if (error instanceof DataError) return new DataError(message, options);
  return new TuneError(error.code, message, options);
}
