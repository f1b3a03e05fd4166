/** What generation and scoring are called with, checked at the public edge. */

import { requireBatch } from '../batch/require-batch.js';
import { ConfigError } from '../errors.js';
import { requireKind } from '../require-given.js';

/** What a call was given; `tokenizer` in it, if it takes one. */
interface GivenParts {
  readonly model: unknown;
  readonly prompts: unknown;
  readonly tokenizer?: unknown;
}

/**
 * @param name of the function
 * @param call how the whole call is written
 * @throws ConfigError for parts that are something else, or in another order, and for a batch with answers in it
 */
export function requirePrompts(name: string, call: string, given: GivenParts): void {
  const { model, prompts } = given;
  requireKind('model', model, `${name}: \`model\``, call);
  if ('tokenizer' in given) requireKind('tokenizer', given.tokenizer, `${name}: \`tokenizer\``, call);
  requireBatch(prompts, `${name}: \`prompts\``, call);
  if (!prompts.labels) return;
  throw new ConfigError(
    `${name}: \`prompts\`: expected a batch of prompts, got one to train on, with the answers in it`,
    { hint: 'Write collator.collatePrompts(samples) in place of collator.collate(samples).' },
  );
}
