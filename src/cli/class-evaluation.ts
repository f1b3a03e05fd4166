/** How many images of a data set a model answers right. */
import { classExample } from '../data/class-example.js';
import type { IndexedDataset } from '../data/dataset.js';
import type { ImageSample } from '../data/image-folder-options.js';
import type { SftExample } from '../data/types.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { Evaluator } from '../eval/evaluator.js';
import type { ShownProgress } from '../monitor/show-progress.js';
import type { OpenModel } from './open-model.js';
import type { RunSettings } from './run-settings.js';

/** Samples that are asked at once. */
const BATCH_SIZE = 16;
/** Tokens that an answer may have beyond the longest class name. */
const SPARE_TOKENS = 8;

export interface ClassQuestion {
  readonly prompt: string;
  readonly system: string | undefined;
  readonly classNames: readonly string[];
}

export const exampleOf =
  ({ prompt, system }: ClassQuestion) =>
  (sample: ImageSample): SftExample =>
    classExample(sample, prompt, system);

/** Asks for the class of each image. */
export async function evaluateClasses(
  { model, collator }: Pick<OpenModel, 'model' | 'collator'>,
  test: IndexedDataset<ImageSample>,
  question: ClassQuestion,
  options: {
    readonly mode: RunSettings['mode'];
    readonly sharePrefix?: boolean | undefined;
    readonly signal: AbortSignal;
    readonly onProgress: (progress: ShownProgress) => void;
  },
): Promise<EvaluationReport> {
  const { classNames } = question;
  const { mode, sharePrefix, signal, onProgress } = options;
  const longest = Math.max(...classNames.map((name) => collator.tokenizer.encode(name).length));
  // A label is scored as it is, whatever its length.
  const length = mode === 'scored' ? {} : { maxNewTokens: longest + SPARE_TOKENS };
  const evaluator = new Evaluator({ model, collator, classNames, mode, batchSize: BATCH_SIZE, sharePrefix, ...length });
  return evaluator.evaluate(test, { toExample: exampleOf(question), signal, onProgress });
}
