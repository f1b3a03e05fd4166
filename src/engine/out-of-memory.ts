/** How every engine says that memory ran out, so that whoever planned the work can plan it smaller. */
import { EngineError } from '../errors.js';

/** The options that lower what training takes. */
export const LESS_MEMORY =
  'set gradientCheckpointing: "auto" or true, autoMicroBatch: true, or lower perDeviceTrainBatchSize (and raise ' +
  "gradientAccumulationSteps as much), the collator's maxLength or the image processor's longestEdge";

/** Whether an error says so: an EngineError with `details.outOfMemory`. */
export function isOutOfMemory(error: unknown): error is EngineError {
  return error instanceof EngineError && error.details.outOfMemory === true;
}
