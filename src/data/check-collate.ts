/** What the collator is called with, checked. */
import { checkNames } from '../config.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind, isPromise } from '../messages/given-kind.js';
import { requireSignal } from '../require-given.js';
import type { CollateOptions } from './collator-options.js';
import type { PaddingSide } from './pad-batch.js';
import type { SftExample, TrainingExample } from './types.js';

export const COLLATE_OPTIONS = { signal: false, paddingSide: false } as const;

/** @throws DataError for what is no list of samples; what is in it is looked at one by one */
export function checkCall(
  examples: unknown,
  options: CollateOptions & { paddingSide?: PaddingSide },
  name: string,
): void {
  const what = `collator.${name}`;
  checkNames(options, COLLATE_OPTIONS, what);
  requireSignal(options.signal, what);
  const { paddingSide } = options;
  if (paddingSide !== undefined && paddingSide !== 'left' && paddingSide !== 'right') {
    throw new ConfigError(`${what}: \`paddingSide\`: expected "left" or "right", got ${describeGiven(paddingSide)}`);
  }
  if (Array.isArray(examples)) return;
  const hint = isPromise(examples)
    ? 'Await it.'
    : isKind(examples, 'sample')
      ? `Write ${name}([sample]).`
      : isKind(examples, 'dataset')
        ? `Write ${name}([await dataset.get(0)]), or let a DataLoader make the batches.`
        : `Write ${name}([{ messages: [{ role: 'user', content: 'What is it?' }] }]).`;
  throw new DataError(`${what}: expected a list of samples, got ${describeGiven(examples)}`, { hint });
}

/** @throws DataError if a message is said not to be learned, where all of the conversation is */
export function requireNoneMasked(example: TrainingExample): void {
  const { messages = [] } = example as Partial<SftExample>;
  const index = messages.findIndex(({ weight, train }) => weight === 0 || train === false);
  if (index < 0) return;
  const { role, weight } = messages[index]!;
  const key = weight === 0 ? 'weight: 0' : 'train: false';
  throw new DataError(`message ${index} (${role}) has \`${key}\`, but \`maskPrompt: false\` labels every message`, {
    hint:
      'leave `maskPrompt` at true, where only answers are learned that no such key masks, or remove the key; files of ' +
      '`prompt` and `completion` have it on the answers of the prompt',
    details: { index, role },
  });
}
