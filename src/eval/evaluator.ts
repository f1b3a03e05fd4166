/** Asks a model for the class of every sample of a data set, reads the answers, and counts. */
import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { orAborted } from '../async/or-aborted.js';
import { checkNames } from '../config.js';
import type { Dataset, SftExample } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { requireCallback, requireInteger } from '../require-given.js';
import {
  GENERATE_HINT,
  requireAnswers,
  requireClassNames,
  requireEvaluation,
  requireExample,
  requireItem,
} from './check-evaluation.js';
import { requireSamples } from './check-report.js';
import {
  accuracy,
  type ClassMetrics,
  type ConfusionMatrix,
  confusionMatrix,
  correctCount,
  type Interval,
  macroF1,
  occurringClasses,
  perClassMetrics,
  wilsonInterval,
} from './metrics.js';
import { type AnswerMode, type AnswerParser, createAnswerParser } from './parse-answer.js';

/** Gives the answer texts of a batch of prompts, in the same order, without special tokens. */
export type GenerateAnswers = (examples: readonly SftExample[], signal?: AbortSignal) => Promise<readonly string[]>;

/** Options of {@link Evaluator}. */
export interface EvaluatorOptions {
  /** Index = label. */
  readonly classNames: readonly string[];
  /** Called with at most `batchSize` prompts, one call after the other; must give as many answers. */
  readonly generate: GenerateAnswers;
  /** Turns an example into what the model is shown. Default `withoutAnswer`. */
  readonly toPrompt?: (example: SftExample) => SftExample;
  /** Samples per call of `generate`. Default 8. */
  readonly batchSize?: number;
  /** How answers are compared with class names. Default 'normalized'. */
  readonly answerMode?: AnswerMode;
}

/** Options of one evaluation, for a data set of `T`. */
export interface EvaluateOptions<T> {
  /** Turns an item into a conversation; a final assistant turn is cut off by `toPrompt`. */
  readonly toExample: (item: T) => SftExample | Promise<SftExample>;
  /** At most this many samples, spread evenly over the data set so that sorted classes all have a part. Default: all. */
  readonly limit?: number | undefined;
  /** Called by `evaluate` alone, after each batch. */
  readonly onProgress?: ((progress: EvaluationProgress) => void) | undefined;
  /**
   * Rejects with its reason at once, whatever is waited for: the data set, `toExample`, or `generate`, which is handed
   * the signal so that it stops as well.
   */
  readonly signal?: AbortSignal | undefined;
}

const EVALUATOR_OPTIONS = {
  classNames: true,
  generate: true,
  toPrompt: false,
  batchSize: false,
  answerMode: false,
} as const;

/** One answered sample. */
export interface EvaluatedSample {
  /** That of the example, else its index in the data set as text. */
  readonly id: string;
  /** True class. */
  readonly expected: number;
  /** Answered class; null if the answer is no class. */
  readonly predicted: number | null;
  /** The text as it was generated. */
  readonly answer: string;
}

/** Reported after each batch. */
export interface EvaluationProgress {
  /** Samples answered so far. */
  readonly done: number;
  /** Samples to answer. */
  readonly total: number;
  /** Right answers so far. */
  readonly correct: number;
  /** The samples of the batch just answered. */
  readonly samples: readonly EvaluatedSample[];
  /** Since the evaluation began. */
  readonly seconds: number;
}

/** Plain data: goes through JSON unchanged. */
export interface EvaluationReport {
  /** In the order of `perClass` and `confusion`. */
  readonly classNames: readonly string[];
  /** How an answer was read as a class. */
  readonly answerMode: AnswerMode;
  /** Samples evaluated. */
  readonly count: number;
  /** Samples in the data set. */
  readonly datasetLength: number;
  /** Right answers. */
  readonly correct: number;
  /** `correct / count`. */
  readonly accuracy: number;
  /** Wilson's 95 % interval of the accuracy. */
  readonly accuracyInterval: Interval;
  /** Unweighted mean over all classes, those without samples included. */
  readonly macroF1: number;
  /** The same over the classes that occur in truth or answers, as scikit-learn has it by default. */
  readonly macroF1Occurring: number;
  /** In class order. */
  readonly perClass: readonly (ClassMetrics & {
    /** As in `classNames`. */
    readonly name: string;
  })[];
  /** True against answered class. */
  readonly confusion: ConfusionMatrix;
  /** In data set order. */
  readonly samples: readonly EvaluatedSample[];
  /** Seconds of the whole evaluation. */
  readonly seconds: number;
}

/**
 * @example
 * const evaluator = new Evaluator({ classNames, generate });
 * const report = await evaluator.evaluate(test, { toExample });
 */
export class Evaluator {
  /** Index = label; a copy of the option. */
  readonly classNames: readonly string[];
  readonly #labels: ReadonlyMap<string, number>;
  readonly #generate: GenerateAnswers;
  readonly #toPrompt: (example: SftExample) => SftExample;
  readonly #batchSize: number;
  readonly #answerMode: AnswerMode;
  readonly #parse: AnswerParser;

  /** @throws ConfigError for class names that cannot be told apart, or a batch size below 1 */
  constructor(options: EvaluatorOptions) {
    checkNames(options, EVALUATOR_OPTIONS, 'Evaluator');
    requireClassNames(options.classNames);
    requireCallback(options.generate, 'Evaluator: `generate`', GENERATE_HINT);
    requireCallback(options.toPrompt, 'Evaluator: `toPrompt`', 'It takes an example and gives the prompt.', true);
    this.classNames = [...options.classNames];
    this.#labels = new Map(this.classNames.map((name, label) => [name, label]));
    this.#generate = options.generate;
    this.#toPrompt = options.toPrompt ?? withoutAnswer;
    this.#batchSize = positiveInteger('batchSize', options.batchSize ?? 8);
    this.#answerMode = options.answerMode ?? 'normalized';
    this.#parse = createAnswerParser(this.classNames, this.#answerMode);
  }

  /**
   * Answers every sample, then counts.
   * @throws DataError for an empty data set, a label or class name that is no class of `classNames`, or answers that do
   *   not match the prompts
   */
  async evaluate<
    T extends {
      /** True class: its index, in the data set's own `classLabel` where it has one, else in `classNames`. */
      readonly label: number;
      /** True class by name, which goes before `label`: two data sets may number their classes differently. */
      readonly className?: string;
    },
  >(dataset: Dataset<T>, options: EvaluateOptions<T>): Promise<EvaluationReport> {
    requireEvaluation(dataset, options);
    const samples: EvaluatedSample[] = [];
    let seconds = 0;
    for await (const progress of this.stream(dataset, options)) {
      samples.push(...progress.samples);
      seconds = progress.seconds;
      options.onProgress?.(progress);
    }
    return this.report(samples, { datasetLength: dataset.length, seconds });
  }

  /** The same, batch by batch, for those who would rather iterate; `onProgress` is not called. */
  stream<
    T extends {
      /** True class: its index, in the data set's own `classLabel` where it has one, else in `classNames`. */
      readonly label: number;
      /** True class by name, which goes before `label`: two data sets may number their classes differently. */
      readonly className?: string;
    },
  >(dataset: Dataset<T>, options: EvaluateOptions<T>): AsyncGenerator<EvaluationProgress, void, void> {
    requireEvaluation(dataset, options);
    return this.#stream(dataset, options);
  }

  async *#stream<T extends { readonly label: number; readonly className?: string }>(
    dataset: Dataset<T>,
    options: EvaluateOptions<T>,
  ): AsyncGenerator<EvaluationProgress, void, void> {
    if (dataset.length === 0) throw new DataError('evaluation: the data set is empty');
    const names = (dataset as Dataset<T> & Partial<Labelled>).classLabel?.names;
    const indices = evenlySpaced(dataset.length, options.limit);
    const { signal } = options;
    const start = performance.now();
    let correct = 0;
    for (let from = 0; from < indices.length; from += this.#batchSize) {
      // Functions that answer at once give nobody else a turn.
      if (isTurnDue()) await eventLoopTurn();
      signal?.throwIfAborted();
      const batch = await orAborted(
        Promise.all(
          indices.slice(from, from + this.#batchSize).map(async (index) => {
            const item = await dataset.get(index);
            signal?.throwIfAborted();
            requireItem(item, index);
            const label = this.#labelOf(item, index, names);
            const example = requireExample(await options.toExample(item), index, 'toExample');
            const prompt = requireExample(this.#toPrompt(example), index, 'toPrompt');
            return { label, id: example.id ?? String(index), prompt };
          }),
        ),
        signal,
      );
      const prompts = batch.map((one) => one.prompt);
      const answers = await orAborted(this.#generate(prompts, signal), signal);
      requireAnswers(
        answers,
        batch.map((one) => one.id),
      );
      const samples = batch.map(({ id, label }, i) => {
        const answer = answers[i]!;
        return { id, expected: label, predicted: this.#parse(answer) ?? null, answer };
      });
      correct += samples.filter((one) => one.predicted === one.expected).length;
      const seconds = (performance.now() - start) / 1000;
      yield { done: from + batch.length, total: indices.length, correct, samples, seconds };
    }
  }

  /** Counts samples that are already answered, e.g. collected from `stream`. */
  report(samples: readonly EvaluatedSample[], run: { datasetLength: number; seconds: number }): EvaluationReport {
    requireSamples(samples, 'evaluator.report: `samples`');
    checkNames(run, { datasetLength: true, seconds: true }, 'evaluator.report');
    requireInteger(run.datasetLength, 'evaluator.report: `datasetLength`', 0);
    if (!Number.isFinite(run.seconds)) {
      throw new ConfigError(`evaluator.report: \`seconds\`: expected a number, got ${describeGiven(run.seconds)}`);
    }
    const confusion = confusionMatrix(
      samples.map((one) => one.expected),
      samples.map((one) => one.predicted ?? undefined),
      this.classNames.length,
    );
    const perClass = perClassMetrics(confusion);
    const correct = correctCount(confusion);
    return {
      classNames: this.classNames,
      answerMode: this.#answerMode,
      count: samples.length,
      datasetLength: run.datasetLength,
      correct,
      accuracy: accuracy(confusion),
      accuracyInterval: wilsonInterval(correct, samples.length),
      macroF1: macroF1(perClass),
      macroF1Occurring: macroF1(occurringClasses(confusion, perClass)),
      perClass: perClass.map((metrics, i) => ({ name: this.classNames[i]!, ...metrics })),
      confusion,
      samples: [...samples],
      seconds: run.seconds,
    };
  }

  #labelOf(
    item: { readonly label: number; readonly className?: string },
    index: number,
    names: readonly string[] | undefined,
  ): number {
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

/** `limit` indices of 0 .. length - 1 in rising order: the middle of each of `limit` equal parts. */
function evenlySpaced(length: number, limit: number | undefined): number[] {
  const count = limit === undefined ? length : Math.min(length, positiveInteger('limit', limit));
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * length) / count));
}

function positiveInteger(name: string, value: number): number {
  requireInteger(value, `Evaluator: \`${name}\``, 1);
  return value;
}
