/** The option that bounds what an engine may hold. */
import { z } from 'zod';
import { lazySchema } from '../config.js';
import { showValue } from '../messages/show-value.js';

/** No budget is so few bytes: gigabytes were meant. */
const FEWEST_BYTES = 1000;

/** What is wrong with a budget that is a number of gigabytes, or undefined. */
export function budgetUnitFault(bytes: unknown): string | undefined {
  if (typeof bytes !== 'number' || !(bytes > 0 && bytes < FEWEST_BYTES)) return undefined;
  return `is a number of bytes: write ${bytes} GiB as ${bytes} * 2 ** 30, got ${bytes}`;
}

/** Bytes; Infinity is none. */
export const memoryBudgetSchema = lazySchema(() =>
  z.custom<number>((bytes) => typeof bytes === 'number' && bytes > 0 && budgetUnitFault(bytes) === undefined, {
    error: ({ input }) => budgetUnitFault(input) ?? `expected a number of bytes above 0, got ${showValue(input)}`,
  }),
);
