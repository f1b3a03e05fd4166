/** Asks a model for the class of every sample of a data set, reads the answers, and counts. */
import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import { checkNames } from '../config.js';
import type { Dataset, SftExample } from '../data/types.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { requireCallback, requireInteger, requireOneObject } from '../require-given.js';
import { bootstrapIntervals } from './bootstrap.js';
import { buildReport } from './build-report.js';
import {
  GENERATE_HINT,
  requireAnswers,
  requireChoices,
  requireClassNames,
  requireEvaluation,
  requireExample,
  requireItem,
  requireModeOptions,
  requireScores,
  SCORE_HINT,
} from './check-evaluation.js';
import { requireClasses, requireSamples } from './check-report.js';
import type { EvaluatedSample, EvaluationMode, EvaluationReport } from './evaluation-report.js';
import type {
  EvaluateOptions,
  EvaluationProgress,
  EvaluatorMetrics,
  EvaluatorMetricsOptions,
  EvaluatorOptions,
  GenerateAnswers,
  LabelledItem,
  ScoreClasses,
} from './evaluator-options.js';
import { answersOfModel, scoresOfModel } from './model-answers.js';
import { type AnswerMode, type AnswerParser, createAnswerParser } from './parse-answer.js';
import { argmax, softmax } from './probabilities.js';
import { type AnsweredBatch, answerTogether, evaluationGroup } from './shared-evaluation.js';

/** Samples of an evaluation up to which intervals are made without being asked for: they take at most half a second. */
const MOST_RESAMPLED = 10_000;
const METRICS_OPTIONS = {
  toExample: true,
  limit: false,
  onProgress: false,
  intervals: false,
  onReport: false,
} as const;

/**
 * Asks a model for the class of every sample of a data set.
 * @example
 * ```ts
 * const evaluator = new Evaluator({ model, collator, classNames: data.classNames });
 * const report = await evaluator.evaluate(test, { toExample });
 * console.log(report.accuracy, report.macroF1);
 * ```
 */
export class Evaluator {
  /** Index = label; a copy of the option. */
  readonly classNames: readonly string[];
  /** How the model is asked. */
  readonly mode: EvaluationMode;
  readonly #labels: ReadonlyMap<string, number>;
  readonly #generate: GenerateAnswers | undefined;
  readonly #score: ScoreClasses | undefined;
  readonly #toPrompt: (example: SftExample) => SftExample;
  readonly #batchSize: number;
  readonly #answerMode: AnswerMode;
  readonly #parse: AnswerParser;
  readonly #group: ProcessGroup | undefined;

  /**
   * @throws ConfigError for class names that cannot be told apart, a batch size below 1, or nothing to ask
   */
  constructor(options: EvaluatorOptions) {
    // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
    requireOneObject(arguments.length, 'Evaluator', 'new Evaluator({ model, collator, classNames })');
    this.mode = requireModeOptions(options);
    requireClassNames(options.classNames);
    const { classNames, model, collator, maxNewTokens, sharePrefix } = options;
    const asked = model && collator && { model, collator, classNames, maxNewTokens, sharePrefix };
    const isScored = this.mode === 'scored';
    this.#generate = asked && !isScored ? answersOfModel(asked) : options.generate;
    this.#score = asked && isScored ? scoresOfModel(asked) : options.score;
    if (isScored) requireCallback(this.#score, 'Evaluator: `score`', SCORE_HINT);
    else requireCallback(this.#generate, 'Evaluator: `generate`', GENERATE_HINT);
    requireCallback(options.toPrompt, 'Evaluator: `toPrompt`', 'It takes an example and gives the prompt.', true);
    this.classNames = [...options.classNames];
    this.#labels = new Map(this.classNames.map((name, label) => [name, label]));
    this.#toPrompt = options.toPrompt ?? withoutAnswer;
    this.#group = options.processGroup;
    this.#batchSize = positiveInteger('batchSize', options.batchSize ?? 8);
    this.#answerMode = options.answerMode ?? (this.mode === 'free' ? 'normalized' : 'exact');
    this.#parse = createAnswerParser(this.classNames, this.#answerMode);
  }

  /**
   * Answers every sample, then counts.
   * @throws DataError for an empty data set, a label or class name that is no class of `classNames`, or answers that do
   *   not match the prompts
   */
  async evaluate<T extends LabelledItem>(dataset: Dataset<T>, options: EvaluateOptions<T>): Promise<EvaluationReport> {
    requireEvaluation(dataset, options);
    const samples: EvaluatedSample[] = [];
    let seconds = 0;
    for await (const progress of this.stream(dataset, options)) {
      samples.push(...progress.samples);
      seconds = progress.seconds;
      options.onProgress?.(progress);
    }
    const report = this.report(samples, { datasetLength: dataset.length, seconds });
    const { intervals = report.count > MOST_RESAMPLED ? false : {}, signal } = options;
    if (intervals === false) return report;
    return { ...report, intervals: await bootstrapIntervals(report.confusion, intervals, signal) };
  }

  /**
   * `computeMetrics` of a trainer: evaluates the model as it is then, and gives `accuracy`, `balancedAccuracy`,
   * `macroPrecision`, `macroRecall`, `macroF1`, `weightedF1`, `matthewsCorrcoef`, `validShare` (of answers that are a class),
   * and in mode `scored` `logLoss` and `brierScoreLoss`. `metricForBestModel` may name any of them: the greater the
   * better, but for names that end in Loss. Bootstrap intervals are made only if `intervals` is given.
   * @example
   * ```ts
   * const { train, validation } = await data.split({ validation: 0.2 });
   * const trainer = new SftTrainer({
   *   model, collator, trainDataset: train.map(toExample), evalDataset,
   *   computeMetrics: evaluator.asMetrics(validation, { toExample }),
   *   config: { evalStrategy: 'epoch', metricForBestModel: 'accuracy', loadBestModelAtEnd: true },
   * });
   * ```
   */
  asMetrics<T extends LabelledItem>(dataset: Dataset<T>, options: EvaluatorMetricsOptions<T>): EvaluatorMetrics {
    checkNames(options, METRICS_OPTIONS, 'asMetrics');
    const { onReport, ...others } = options;
    requireCallback(onReport, 'asMetrics: `onReport`', undefined, true);
    requireEvaluation(dataset, others, 'asMetrics');
    requireSamplesToAsk(dataset);
    return async ({ signal } = {}) => {
      const report = await this.evaluate(dataset, { intervals: false, ...others, signal });
      await onReport?.(report);
      return metricsOf(report);
    };
  }

  /** The same, batch by batch, for those who would rather iterate; `onProgress` is not called. */
  stream<T extends LabelledItem>(
    dataset: Dataset<T>,
    options: EvaluateOptions<T>,
  ): AsyncGenerator<EvaluationProgress, void, void> {
    requireEvaluation(dataset, options);
    return this.#stream(dataset, options);
  }

  async *#stream<T extends LabelledItem>(
    dataset: Dataset<T>,
    options: EvaluateOptions<T>,
  ): AsyncGenerator<EvaluationProgress, void, void> {
    requireSamplesToAsk(dataset);
    const names = (dataset as Dataset<T> & Partial<Labelled>).classLabel?.names;
    const indices = evenlySpaced(dataset.length, options.limit);
    const { signal } = options;
    const start = performance.now();
    const count = Math.ceil(indices.length / this.#batchSize);
    const answer = async (batch: number): Promise<AnsweredBatch> => {
      // Functions that answer at once give nobody else a turn.
      if (isTurnDue()) await eventLoopTurn();
      signal?.throwIfAborted();
      const from = batch * this.#batchSize;
      const prompts = await this.#prompts(dataset, indices.slice(from, from + this.#batchSize), names, options);
      const samples = await this.#answer(prompts, signal);
      return { samples, seconds: (performance.now() - start) / 1000 };
    };
    const group = await evaluationGroup(this.#group, signal);
    let correct = 0;
    let done = 0;
    for await (const { samples, seconds } of group
      ? answerTogether(group, count, answer, signal)
      : eachOf(count, answer)) {
      correct += samples.filter((one) => one.predicted === one.expected).length;
      done += samples.length;
      yield { done, total: indices.length, correct, samples, seconds };
    }
  }

  #prompts<T extends LabelledItem>(
    dataset: Dataset<T>,
    indices: readonly number[],
    names: readonly string[] | undefined,
    { toExample, signal }: EvaluateOptions<T>,
  ): Promise<{ readonly id: string; readonly label: number; readonly prompt: SftExample }[]> {
    return orAborted(
      Promise.all(
        indices.map(async (index) => {
          const item = await dataset.get(index);
          signal?.throwIfAborted();
          requireItem(item, index);
          const label = this.#labelOf(item, index, names);
          const example = requireExample(await toExample(item), index, 'toExample');
          const prompt = requireExample(this.#toPrompt(example), index, 'toPrompt');
          return { label, id: example.id ?? String(index), prompt };
        }),
      ),
      signal,
    );
  }

  async #answer(
    batch: readonly { readonly id: string; readonly label: number; readonly prompt: SftExample }[],
    signal: AbortSignal | undefined,
  ): Promise<EvaluatedSample[]> {
    const prompts = batch.map((one) => one.prompt);
    const ids = batch.map((one) => one.id);
    if (this.mode === 'scored') {
      const given = await orAborted(this.#score!(prompts, this.classNames, signal), signal);
      return requireScores(given, ids, this.classNames.length).map((scores, i) => {
        const predicted = argmax(scores);
        const { id, label: expected } = batch[i]!;
        const answer = this.classNames[predicted]!;
        return { id, expected, predicted, answer, scores, confidence: softmax(scores)[predicted]! };
      });
    }
    const isConstrained = this.mode === 'constrained';
    const answers = await orAborted(
      isConstrained ? this.#generate!(prompts, signal, this.classNames) : this.#generate!(prompts, signal),
      signal,
    );
    requireAnswers(answers, ids);
    const samples = batch.map(({ id, label }, i) => {
      const answer = answers[i]!;
      return { id, expected: label, predicted: this.#parse(answer) ?? null, answer };
    });
    if (isConstrained) requireChoices(samples);
    return samples;
  }

  /**
   * Counts samples that are already answered, e.g. collected from `stream`, or read with `readPredictions`. Intervals are
   * what `bootstrapIntervals(report.confusion)` gives.
   */
  report(samples: readonly EvaluatedSample[], run: { datasetLength: number; seconds: number }): EvaluationReport {
    requireSamples(samples, 'evaluator.report: `samples`');
    requireClasses(samples, this.classNames.length, 'evaluator.report: `samples`');
    checkNames(run, { datasetLength: true, seconds: true }, 'evaluator.report');
    requireInteger(run.datasetLength, 'evaluator.report: `datasetLength`', 0);
    if (!Number.isFinite(run.seconds)) {
      throw new ConfigError(`evaluator.report: \`seconds\`: expected a number, got ${describeGiven(run.seconds)}`);
    }
    const { classNames, mode } = this;
    return buildReport(samples, { classNames, mode, answerMode: this.#answerMode, ...run });
  }

  #labelOf(item: LabelledItem, index: number, names: readonly string[] | undefined): number {
    const name = typeof item.className === 'string' ? item.className : names?.[item.label];
    if (name === undefined) {
      const { label } = item;
      if (Number.isInteger(label) && label >= 0 && label < this.classNames.length) return label;
      throw new DataError(
        `evaluation: expected a label from 0 to ${this.classNames.length - 1}, got ${describeGiven(label)} at sample ${index}`,
        { hint: 'The data set and `classNames` must have the same classes in the same order.' },
      );
    }
    const label = this.#labels.get(name);
    if (label !== undefined) return label;
    throw new DataError(`evaluation: sample ${index} is of class ${showValue(name)}, which is not in \`classNames\``, {
      hint: `Classes of the evaluator: ${this.classNames.slice(0, 20).map(oneLine).join(', ')}. Load both data sets with the same \`classes\`; names of your own: \`dataset.map\` with another \`className\`.`,
      details: { index, className: name, classNames: this.classNames },
    });
  }
}

async function* eachOf<T>(count: number, make: (index: number) => Promise<T>): AsyncGenerator<T, void, void> {
  for (let index = 0; index < count; index++) yield await make(index);
}

interface Labelled {
  readonly classLabel: { readonly names: readonly string[] };
}

/**
 * The conversation without its final assistant turn, so that the model is never shown the answer.
 * @throws DataError if no user turn is left at the end
 */
export function withoutAnswer(example: SftExample): SftExample {
  const messages = example.messages.at(-1)?.role === 'assistant' ? example.messages.slice(0, -1) : example.messages;
  if (messages.at(-1)?.role !== 'user')
    throw new DataError(
      `evaluation: expected sample ${oneLine(example.id ?? '(no id)')} to end with a user turn, found ${messages.at(-1)?.role ?? 'no turn'}`,
    );
  return { ...example, messages };
}

function requireSamplesToAsk({ length }: { readonly length: number }): void {
  if (length === 0) throw new DataError('evaluation: the data set is empty');
}

/** `limit` indices of 0 .. length - 1 in rising order: the middle of each of `limit` equal parts. */
function evenlySpaced(length: number, limit: number | undefined): number[] {
  const count = limit === undefined ? length : Math.min(length, limit);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * length) / count));
}

/** Of a report what a trainer compares evaluations by: the greater the better, or named as a loss. */
function metricsOf(report: EvaluationReport): Record<string, number> {
  const { accuracy, balancedAccuracy, macroPrecision, macroRecall, macroF1, weightedF1, matthewsCorrcoef } = report;
  const { probabilities } = report;
  return {
    ...{ accuracy, balancedAccuracy, macroPrecision, macroRecall, macroF1, weightedF1, matthewsCorrcoef },
    validShare: 1 - report.invalidShare,
    ...(probabilities && { logLoss: probabilities.logLoss, brierScoreLoss: probabilities.brierScoreLoss }),
  };
}

function positiveInteger(name: string, value: number): number {
  requireInteger(value, `Evaluator: \`${name}\``, 1);
  return value;
}
