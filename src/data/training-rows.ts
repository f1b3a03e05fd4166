/** The forms that a training sample may have, as one: messages, and whether they pass through the chat template. */
import { DataError } from '../errors.js';
import { describeKind, findUnknownKey, unknownKey } from './known-keys.js';
import { attachImages } from './sft-messages.js';
import type { Message, PromptCompletionExample, SftExample, Tool, TrainingExample } from './types.js';

/** Strings as they are, between BOS and EOS: a prompt is the user's message, what is learned the assistant's. */
export const PLAIN_TEMPLATE =
  '{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}' +
  '{% if not add_generation_prompt %}{{ eos_token }}{% endif %}';

export interface TrainingRow {
  /** With an image in each image part. */
  readonly messages: Message[];
  readonly tools?: readonly Tool[];
  /** Rendered with `PLAIN_TEMPLATE` instead of the chat template. */
  readonly isPlain: boolean;
}

interface Names {
  readonly bosToken: string;
  readonly eosToken: string;
}

/**
 * @param forPrompt a completion may be missing, as it is to be generated
 * @throws DataError or TextError if the sample has none of the forms, or several
 */
export function rowOf(example: TrainingExample, names: Names, forPrompt: boolean): TrainingRow {
  const given = (example ?? {}) as unknown as Record<string, unknown>;
  const has = (key: string) => given[key] !== undefined && given[key] !== null;
  const forms = ['messages', 'prompt', 'text'].filter((form) => has(form) || (form === 'prompt' && has('completion')));
  if (forms.length > 1) {
    throw new DataError(`the sample has ${forms.map((form) => `\`${form}\``).join(' and ')}: which is to be learned?`, {
      hint: 'keep one of { messages }, { prompt, completion } and { text }',
      details: { forms },
    });
  }
  if (forms[0] === 'text') return textRow(given, names, forPrompt);
  if (forms[0] === 'prompt') return promptRow(given, names, forPrompt);
  return conversationRow(example as SftExample);
}

function conversationRow(example: SftExample): TrainingRow {
  const messages = attachImages(example);
  // Tables fill empty columns with null.
  return example.tools ? { messages, tools: example.tools, isPlain: false } : { messages, isPlain: false };
}

function textRow(row: Record<string, unknown>, names: Names, forPrompt: boolean): TrainingRow {
  requireKeys(row, ['text', 'id']);
  const { text } = row;
  if (typeof text !== 'string') throw new DataError(`\`text\`: expected a string, got ${describeKind(text)}`);
  if (forPrompt) {
    throw new DataError('a sample of plain `text` has no question to answer', {
      hint: 'give what is to be continued as { prompt, completion: "" }',
    });
  }
  const content = withoutEos(withoutBos(text, names), names);
  return { messages: [{ role: 'assistant', content }], isPlain: true };
}

function promptRow(row: Record<string, unknown>, names: Names, forPrompt: boolean): TrainingRow {
  const { prompt, completion = forPrompt ? (Array.isArray(prompt) ? [] : '') : undefined } = row;
  if (Array.isArray(prompt) && Array.isArray(completion)) {
    requireKeys(row, ['prompt', 'completion', 'images', 'tools', 'id']);
    const { id, images, tools } = row as unknown as PromptCompletionExample;
    const asked = (prompt as Message[]).map((message) =>
      message?.role === 'assistant' ? unlearned(message) : message,
    );
    const example = { messages: [...asked, ...(completion as Message[])], images, tools, id };
    return rowOf(example as TrainingExample, names, forPrompt);
  }
  if (typeof prompt !== 'string' || typeof completion !== 'string') {
    throw new DataError(
      '`prompt` and `completion`: expected two strings or two lists of messages, ' +
        `got ${describeKind(prompt)} and ${describeKind(completion)}`,
      { hint: 'e.g. { prompt: "Which?", completion: " cat" }' },
    );
  }
  requireKeys(row, ['prompt', 'completion', 'id']);
  const content = withoutEos(completion, names);
  return {
    messages: [
      { role: 'user', content: withoutBos(prompt, names) },
      { role: 'assistant', content },
    ],
    isPlain: true,
  };
}

/** Whether a sample is made of plain strings, rendered with `PLAIN_TEMPLATE`. */
export function isPlainSample(example: TrainingExample): boolean {
  const { messages, prompt } = example as { messages?: unknown; prompt?: unknown };
  return !messages && !Array.isArray(prompt);
}

export function unlearned(message: Message): Message {
  const { weight: _, ...rest } = message;
  return { ...rest, train: false };
}

function requireKeys(row: Record<string, unknown>, known: readonly string[]): void {
  for (const key of ['images', 'image', 'tools']) {
    const value = row[key];
    if (known.includes(key) || value === undefined || value === null) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    throw new DataError(`\`${key}\`: a sample of plain strings has no place for ${key === 'tools' ? key : 'images'}`, {
      hint: 'give it as { messages: [{ role: "user", content: [{ type: "image", image }, { type: "text", text }] }, …] }',
    });
  }
  const rest = Object.fromEntries(Object.entries(row).filter(([, value]) => !Array.isArray(value) || value.length > 0));
  const unknown = findUnknownKey(rest, known);
  if (unknown !== undefined) {
    throw new DataError(unknownKey(unknown, known), { hint: 'take keys that are not part of the sample out of it' });
  }
}

/** Rows that were rendered before may bring BOS and EOS: neither comes twice. */
function withoutBos(text: string, { bosToken }: Names): string {
  return text.startsWith(bosToken) ? text.slice(bosToken.length) : text;
}

function withoutEos(text: string, { eosToken }: Names): string {
  return text.endsWith(eosToken) ? text.slice(0, -eosToken.length) : text;
}
