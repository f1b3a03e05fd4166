/** Errors about a sample name the sample. */
import { DataError, reasonOf, TuneError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';

/**
 * The same error with the sample's name in front. Errors that name one already, and those of an aborted operation, stay
 * as they are; unknown errors become a DataError.
 */
export function nameSample(error: unknown, sample: string): unknown {
  if (error instanceof Error && error.name === 'AbortError') return error;
  const who = `sample ${oneLine(sample)}`;
  if (!(error instanceof TuneError))
    return new DataError(`${who}: ${reasonOf(error)}`, { details: { sample }, cause: error });
  if (error.details.sample !== undefined) return error;
  return error.with({ summary: `${who}: ${error.summary}`, details: { ...error.details, sample } });
}
