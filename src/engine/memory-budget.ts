/** The option that bounds what an engine may hold. */
import { z } from 'zod';
import { showValue } from '../messages/show-value.js';

/** Bytes; Infinity is none. */
export const memoryBudgetSchema = z.custom<number>((bytes) => typeof bytes === 'number' && bytes > 0, {
  error: ({ input }) => `expected a number of bytes above 0, got ${showValue(input)}`,
});
