import type { TuneError } from '../../src/errors.js';

/** What the work throws. */
export const caught = (work: () => unknown): TuneError => {
  try {
    work();
  } catch (error) {
    return error as TuneError;
  }
  throw new Error('nothing was thrown');
};
