/** What an evaluator is given, and what a user's functions give it. */
import { checkNames } from '../config.js';
import type { SftExample } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { requireCallback, requireKind, requireList, requireSignal, requireText } from '../require-given.js';

/** How `generate` is written. */
export const GENERATE_HINT =
  'generate: async (examples) => generateText(model, tokenizer, await collator.collatePrompts(examples)).';

const EVALUATE_OPTIONS = { toExample: true, limit: false, onProgress: false, signal: false } as const;

/** @throws ConfigError */
export function requireClassNames(names: unknown): void {
  const what = 'Evaluator: `classNames`';
  requireList(
    names,
    what,
    'class names',
    'Give `classNames` of the image folder, or `classLabel.names` of a data set.',
  );
  for (const [label, name] of names.entries()) requireText(name, `${what}[${label}]`);
}

/** @throws ConfigError for what is no data set, or other options */
export function requireEvaluation(dataset: unknown, options: unknown): void {
  const call = 'evaluator.evaluate(dataset, { toExample })';
  requireKind('dataset', dataset, 'evaluate: `dataset`', call);
  if (typeof options === 'function') {
    throw new ConfigError('evaluate: expected an object of options, got a function', { hint: `Write ${call}.` });
  }
  checkNames(options as object, EVALUATE_OPTIONS, 'evaluate');
  const { toExample, onProgress, signal } = options as Readonly<Record<string, unknown>>;
  requireCallback(toExample, 'evaluate: `toExample`', 'It takes an item and gives { messages }.');
  requireCallback(onProgress, 'evaluate: `onProgress`', undefined, true);
  requireSignal(signal, 'evaluate');
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
