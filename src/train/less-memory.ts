/** What the options of a run can do where an engine is out of memory: the engine itself knows nothing of them. */
import { OutOfMemoryError } from '../errors.js';

const LESS = {
  step:
    'Set gradientCheckpointing: "auto" or true, autoMicroBatch: true, or lower perDeviceTrainBatchSize (and raise ' +
    'gradientAccumulationSteps as much), ',
  evaluation: 'Lower perDeviceEvalBatchSize, ',
};

/** The same error with a hint at these options; others stay as they are. */
export function withLessMemory(error: unknown, work: keyof typeof LESS): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const hint = `${LESS[work]}the collator's maxLength or the image processor's longestEdge.`;
  return error.with({ hint: error.hint === undefined ? hint : `${hint} ${error.hint}` });
}
