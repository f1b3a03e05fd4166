/** How every engine says that memory ran out, so that whoever planned the work can plan it smaller. */
import { z } from 'zod';
import { EngineError } from '../errors.js';
import { showValue } from '../messages/show-value.js';

/** Bytes; Infinity is none. */
export const memoryBudgetSchema = z.custom<number>((bytes) => typeof bytes === 'number' && bytes > 0, {
  error: ({ input }) => `expected a number of bytes above 0, got ${showValue(input)}`,
});

/** The options that lower what training takes. */
export const LESS_MEMORY =
  'set gradientCheckpointing: "auto" or true, autoMicroBatch: true, or lower perDeviceTrainBatchSize (and raise ' +
  "gradientAccumulationSteps as much), the collator's maxLength or the image processor's longestEdge";

/** Whether an error says so: an EngineError with `details.outOfMemory`. */
export function isOutOfMemory(error: unknown): error is EngineError {
  return error instanceof EngineError && error.details.outOfMemory === true;
}
