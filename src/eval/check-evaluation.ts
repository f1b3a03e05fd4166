/** What an evaluator is given, and what a user's functions give it. */
import { checkNames, parseOptions } from '../config.js';
import type { SftExample } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import {
  requireBoolean,
  requireCallback,
  requireInteger,
  requireKind,
  requireList,
  requireSignal,
  requireText,
} from '../require-given.js';
import { bootstrapSchema } from './bootstrap.js';
import type { EvaluatedSample, EvaluationMode } from './evaluation-report.js';
import type { EvaluatorOptions } from './evaluator-options.js';

/** How `generate` is written. */
export const GENERATE_HINT =
  'generate: async (examples) => generateText(model, tokenizer, await collator.collatePrompts(examples)).';

/** How `score` is written. */
export const SCORE_HINT =
  'score: async (examples, classNames, signal) => scoreLabels(model, tokenizer, await collator.collatePrompts(examples), classNames, { signal }).';

const EVALUATE_OPTIONS = { toExample: true, limit: false, onProgress: false, signal: false, intervals: false } as const;
const MODES: readonly string[] = ['free', 'constrained', 'scored'] satisfies EvaluationMode[];

/**
 * The mode, and that each option has an effect in it: a function that is never called would be a misunderstanding.
 * @throws ConfigError
 */
export function requireModeOptions(options: EvaluatorOptions): EvaluationMode {
  const mode = isObject(options) ? (options.mode ?? 'free') : 'free';
  const isScored = mode === 'scored';
  const asksModel = isObject(options) && (options.model !== undefined || options.collator !== undefined);
  checkNames(
    options,
    {
      classNames: true,
      mode: false,
      model: asksModel,
      collator: asksModel,
      maxNewTokens: false,
      sharePrefix: false,
      generate: false,
      score: false,
      toPrompt: false,
      batchSize: false,
      answerMode: false,
      processGroup: false,
    },
    'Evaluator',
  );
  if (!MODES.includes(mode)) {
    throw new ConfigError(`Evaluator: \`mode\`: expected one of ${MODES.join(', ')}, got ${describeGiven(mode)}`);
  }
  if (options.answerMode !== undefined && mode !== 'free') throw idleError('answerMode', mode);
  if (asksModel) {
    requireModelOptions(options, isScored);
    return mode as EvaluationMode;
  }
  const unused = isScored ? 'generate' : 'score';
  const needed = isScored ? 'score' : 'generate';
  if (options[needed] === undefined && options[unused] === undefined) {
    throw new ConfigError(`Evaluator: \`${needed}\` is missing, and so are \`model\` and \`collator\` in its place`, {
      hint: `Write new Evaluator({ model, collator, classNames${isScored ? ", mode: 'scored'" : ''} }).`,
    });
  }
  for (const name of ['maxNewTokens', 'sharePrefix'] as const) {
    if (options[name] === undefined) continue;
    throw new ConfigError(`Evaluator: \`${name}\` has no effect without \`model\``, {
      hint: `Give it to what \`${needed}\` calls.`,
    });
  }
  if (options[unused] !== undefined) {
    throw new ConfigError(`Evaluator: \`${unused}\` has no effect in mode '${mode}'`, {
      hint: isScored ? "Leave it out, or choose mode 'free' or 'constrained'." : "Set mode: 'scored', or leave it out.",
    });
  }
  return mode as EvaluationMode;
}

/** For options of answers that are texts. */
function idleError(name: string, mode: EvaluationMode): ConfigError {
  return new ConfigError(`Evaluator: \`${name}\` has no effect in mode '${mode}'`, {
    hint: 'Answers are class names there; leave it out.',
  });
}

/** @throws ConfigError */
function requireModelOptions(options: EvaluatorOptions, isScored: boolean): void {
  requireKind('model', options.model, 'Evaluator: `model`');
  requireKind('collator', options.collator, 'Evaluator: `collator`');
  if (typeof options.collator?.collatePrompts !== 'function') {
    throw new ConfigError('Evaluator: `collator`: expected a VlmCollator, got one without `collatePrompts`', {
      hint: 'For a collator of your own give `generate` or `score` in place of `model` and `collator`.',
    });
  }
  for (const name of ['generate', 'score'] as const) {
    if (options[name] === undefined) continue;
    throw new ConfigError(`Evaluator: \`${name}\` is given beside \`model\``, {
      hint: 'The model is asked by itself: leave out the function, or `model` and `collator`.',
    });
  }
  if (isScored && options.maxNewTokens !== undefined) throw idleError('maxNewTokens', 'scored');
  if (options.maxNewTokens !== undefined) requireInteger(options.maxNewTokens, 'Evaluator: `maxNewTokens`', 1);
  if (options.sharePrefix !== undefined) requireBoolean(options.sharePrefix, 'Evaluator: `sharePrefix`');
}

/** @throws ConfigError */
export function requireClassNames(names: unknown, who = 'Evaluator'): void {
  const what = `${who}: \`classNames\``;
  requireList(
    names,
    what,
    'class names',
    'Give `classNames` of the image folder, or `classLabel.names` of a data set.',
  );
  for (const [label, name] of names.entries()) requireText(name, `${what}[${label}]`);
}

/** @throws ConfigError for what is no data set, or other options */
export function requireEvaluation(dataset: unknown, options: unknown, what = 'evaluate'): void {
  const call = `evaluator.${what}(dataset, { toExample })`;
  requireKind('dataset', dataset, `${what}: \`dataset\``, call);
  if (typeof options === 'function') {
    throw new ConfigError(`${what}: expected an object of options, got a function`, { hint: `Write ${call}.` });
  }
  checkNames(options as object, EVALUATE_OPTIONS, what);
  const { toExample, onProgress, signal, intervals, limit } = options as Readonly<Record<string, unknown>>;
  requireCallback(toExample, `${what}: \`toExample\``, 'It takes an item and gives { messages }.');
  requireCallback(onProgress, `${what}: \`onProgress\``, undefined, true);
  requireSignal(signal, what);
  if (limit !== undefined) requireInteger(limit, `${what}: \`limit\``, 1);
  // Before hours of answers, not after.
  if (intervals !== undefined && intervals !== false) {
    parseOptions(bootstrapSchema, intervals, `${what}: \`intervals\``);
  }
}

/** @throws DataError for an item without a label */
export function requireItem(item: unknown, index: number): void {
  if (isObject(item) && !isKind(item, 'promise') && ('label' in item || 'className' in item)) return;
  const hint = isKind(item, 'sample')
    ? 'Evaluate the data set itself: `map` is done by the option `toExample`.'
    : 'Items are those of an image folder, or have a `label` of their own.';
  throw new DataError(`evaluation: expected sample ${index} to have a label, got ${describeGiven(item)}`, {
    hint,
    details: { index },
  });
}

/** @throws DataError for what a user's function gave in place of an example */
export function requireExample(example: unknown, index: number, name: string): SftExample {
  if (isObject(example) && Array.isArray(example.messages)) return example as unknown as SftExample;
  throw new DataError(
    `evaluation: expected { messages } from \`${name}\` for sample ${index}, got ${describeGiven(example)}`,
    {
      hint:
        example === undefined
          ? `Does \`${name}\` return it?`
          : isKind(example, 'promise')
            ? `\`${name}\` must not be asynchronous.`
            : Array.isArray(example)
              ? 'Wrap the list: { messages: […] }.'
              : `\`${name}\` gives { messages: [{ role, content }] }.`,
      details: { index },
    },
  );
}

/** @throws DataError for answers that are none, or not one for each prompt */
export function requireAnswers(answers: unknown, ids: readonly string[]): asserts answers is readonly string[] {
  if (!Array.isArray(answers)) {
    const hint = answers === undefined ? `Does it return them? ${GENERATE_HINT}` : GENERATE_HINT;
    throw new DataError(`evaluation: expected ${ids.length} answers from \`generate\`, got ${describeGiven(answers)}`, {
      hint,
    });
  }
  if (answers.length !== ids.length) {
    throw new DataError(`evaluation: expected ${ids.length} answers from \`generate\`, got ${answers.length}`, {
      hint: 'It gives one text for each prompt, in their order.',
    });
  }
  // Holes of a sparse array count as well.
  for (let i = 0; i < ids.length; i++) {
    const answer: unknown = answers[i];
    if (typeof answer === 'string') continue;
    throw new DataError(
      `evaluation: expected a text as answer ${i} of \`generate\`, for sample ${oneLine(ids[i]!)}, got ${describeGiven(answer)}`,
      {
        hint: isKind(answer, 'promise')
          ? 'Await all of them: await Promise.all(answers).'
          : Array.isArray(answer)
            ? 'Those of `generate` are token ids: generateText gives texts.'
            : 'Where the model says nothing, give an empty string.',
        details: { sample: ids[i] },
      },
    );
  }
}

/** @throws DataError for what a constrained generation cannot answer: its figures would be those of another mode */
export function requireChoices(samples: readonly EvaluatedSample[]): void {
  const other = samples.find((one) => one.predicted === null);
  if (!other) return;
  throw new DataError(
    `evaluation: expected a class name as the constrained answer for sample ${oneLine(other.id)}, got ${describeGiven(other.answer)}`,
    {
      hint: '`generate` gets the class names as its third argument: pass them on as `choices`, with `maxNewTokens` enough for the longest.',
      details: { sample: other.id, answer: other.answer },
    },
  );
}

/** @throws DataError for scores that are none, or not one for each prompt and class */
export function requireScores(scores: unknown, ids: readonly string[], classCount: number): number[][] {
  const what = 'evaluation: expected from `score`';
  const hint = `It gives a list of log-probabilities, one a class, for each example. ${SCORE_HINT}`;
  if (!Array.isArray(scores) || scores.length !== ids.length) {
    const came = Array.isArray(scores) ? String(scores.length) : describeGiven(scores);
    throw new DataError(`${what} ${ids.length} lists of scores, got ${came}`, { hint });
  }
  return ids.map((id, i) => {
    const row: unknown = scores[i];
    const isList = Array.isArray(row) || row instanceof Float32Array || row instanceof Float64Array;
    const values: number[] = isList ? Array.from(row as ArrayLike<number>) : [];
    const fail = (expected: string, came: string, help = hint): never => {
      throw new DataError(`${what} ${expected} for sample ${oneLine(id)}, got ${came}`, {
        hint: help,
        details: { sample: id },
      });
    };
    if (!isList) fail(`a list of ${classCount} numbers`, describeGiven(row));
    if (values.length !== classCount) fail(`${classCount} scores, one a class,`, String(values.length));
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      fail(
        'finite log-probabilities',
        `${describeGiven(values[bad])} for class ${bad}`,
        'Of a probability of 0 give a large negative value, such as -1e3.',
      );
    }
    const total = values.reduce((a, b) => a + b, 0);
    if (values.length > 1 && values.every((value) => value >= 0) && Math.abs(total - 1) < 1e-4) {
      fail(
        'log-probabilities',
        'what looks like probabilities: their sum is 1',
        'Give their natural logarithms: Math.log(p).',
      );
    }
    return values;
  });
}
