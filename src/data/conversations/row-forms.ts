/** The forms of a row: which columns tell it, and the sample that it becomes. */
import { oneLine } from '../../messages/one-line.js';
import { describeKind, isRecord, meantKey } from '../known-keys.js';
import { partsOf, textOf } from '../sft-messages.js';
import type { ImageInput, Message, SftExample, TrainingExample } from '../types.js';
import type { TurnEvidence } from './content-parts.js';
import type { ConversationForm } from './form-names.js';
import { foreignMarkersIn, placeImages } from './image-markers.js';
import type { RowContext } from './row-context.js';
import { mismatch, RowFault } from './row-fault.js';
import { readTools } from './tools.js';
import { readTurns } from './turns.js';

type Family = 'messages' | 'conversations' | 'prompt-completion' | 'text' | 'alpaca';

/** Columns without which a row is not of the form, and those that it may have beside them. */
const FAMILIES: Readonly<Record<Family, { readonly needs: readonly string[]; readonly may: readonly string[] }>> = {
  messages: { needs: ['messages'], may: ['system', 'tools', 'parallel_tool_calls'] },
  conversations: { needs: ['conversations'], may: ['system', 'tools', 'parallel_tool_calls'] },
  'prompt-completion': { needs: ['prompt', 'completion'], may: ['tools'] },
  text: { needs: ['text'], may: [] },
  alpaca: { needs: ['instruction', 'output'], may: ['input', 'system', 'history', 'tools'] },
};
const COMMON = ['images', 'image', 'id', 'conversation_id'];

const FORM_FAMILIES: Readonly<Record<ConversationForm, readonly Family[]>> = {
  messages: ['messages', 'conversations'],
  openai: ['messages'],
  mistral: ['messages'],
  trl: ['messages', 'prompt-completion'],
  'prompt-completion': ['prompt-completion'],
  text: ['text'],
  sharegpt: ['conversations', 'messages'],
  alpaca: ['alpaca'],
};

const LONE_SURROGATE = /\p{Surrogate}/u;

const FAMILY_COLUMNS = Object.values(FAMILIES).flatMap(({ needs, may }) => [...needs, ...may]);

interface ReadRow {
  readonly example: TrainingExample;
  readonly form: ConversationForm;
  /** Columns with a value that nothing reads. */
  readonly unknown: readonly string[];
  /** Those that its form has. */
  readonly known: readonly string[];
}

/**
 * @param form the user's, if it was given: then columns of other forms are left out
 * @throws RowFault
 */
export function readRow(value: unknown, form: ConversationForm | undefined, context: RowContext): ReadRow {
  if (!isRecord(value)) {
    const hint = Array.isArray(value)
      ? 'wrap the turns: { "messages": [...] }'
      : 'each row is an object, for example { "messages": [...] }';
    throw new RowFault(`expected an object, got ${describeKind(value)}`, hint);
  }
  const row: Record<string, unknown> = Object.fromEntries(
    Object.entries(value).filter(([key, cell]) => cell !== null && cell !== undefined && !context.ignored.has(key)),
  );
  const family = familyOf(row, form);
  const { needs, may } = FAMILIES[family];
  const known = [...needs, ...may, ...COMMON];
  const others = new Set(form === undefined ? [] : FAMILY_COLUMNS);
  if (Object.keys(row).some((key) => !known.includes(key) && others.has(key))) context.note('otherForm');
  const unknown = Object.keys(row).filter(
    (key) => !known.includes(key) && !others.has(key) && !refuseMedia(key, row[key]),
  );
  const seen: TurnEvidence = {};
  const example = READERS[family](row, context, seen);
  if (hasEmptyAnswer(example)) context.note('emptyAnswer');
  if (hasImageInAnswer(example)) context.note('imageInAnswer');
  for (const text of textsOf(example)) noteText(text, context);
  const id = row['id'] ?? row['conversation_id'];
  const name = typeof id === 'string' || typeof id === 'number' ? { id: String(id) } : {};
  return { example: { ...example, ...name }, form: formOf(family, row, seen), unknown, known };
}

function hasImageInAnswer(example: TrainingExample): boolean {
  if (!('messages' in example)) return false;
  return example.messages.some(
    ({ role, content }) => role === 'assistant' && partsOf(content).some(({ type }) => type === 'image'),
  );
}

function textsOf(example: TrainingExample): string[] {
  if ('text' in example) return [example.text];
  if (!('messages' in example)) {
    return [example.prompt, example.completion].filter((text) => typeof text === 'string');
  }
  return example.messages.flatMap(({ content }) => partsOf(content).flatMap((part) => textOf(part) ?? []));
}

function noteText(text: string, context: RowContext): void {
  if (LONE_SURROGATE.test(text)) context.note('brokenText');
  if (context.imageMarker === undefined) return;
  const foreign = foreignMarkersIn(text).find((found) => found !== context.imageMarker);
  if (foreign !== undefined) context.note('foreignMarker', foreign);
}

function hasEmptyAnswer(example: TrainingExample): boolean {
  const isBlank = (text: unknown) => typeof text === 'string' && text.trim() === '';
  if (!('messages' in example)) return 'completion' in example && isBlank(example.completion);
  return example.messages.some(({ role, content, tool_calls, weight, train }) => {
    const isEmpty = partsOf(content).every((part) => isBlank(textOf(part)));
    return isEmpty && role === 'assistant' && !tool_calls && weight !== 0 && train !== false;
  });
}

function familyOf(row: Record<string, unknown>, form: ConversationForm | undefined): Family {
  const allowed = form === undefined ? (Object.keys(FAMILIES) as Family[]) : FORM_FAMILIES[form];
  const found = allowed.filter((family) => FAMILIES[family].needs.every((key) => row[key] !== undefined));
  if (row['chosen'] !== undefined || row['rejected'] !== undefined) {
    throw new RowFault(
      'it is a row of preferences (`chosen`, `rejected`), which supervised fine-tuning does not read',
      'keep the conversation of `chosen`, as { "messages": [...] }',
    );
  }
  if (found.length === 1) return found[0]!;
  const keys = Object.keys(row);
  if (found.length > 1) {
    const named = found.map((family) => `${family} (${FAMILIES[family].needs.join(', ')})`).join(' and ');
    const [first, ...rest] = found.map((family) => FAMILIES[family].needs[0]!);
    const dropped = rest.concat(first!).map((key) => `'${key}'`);
    throw new RowFault(
      `it has the columns of two forms: ${named}`,
      `leave out those that are not to be read with \`ignoreColumns\`, for example [${dropped[0]}]`,
    );
  }
  throw noForm(row, keys, form);
}

function noForm(row: Record<string, unknown>, keys: readonly string[], form: ConversationForm | undefined): RowFault {
  if (['role', 'from'].some((key) => typeof row[key] === 'string')) {
    return new RowFault('it is a turn, not a conversation', 'wrap the turns: a row is { "messages": [...] }');
  }
  const turns = keys.find((key) => {
    const first: unknown = Array.isArray(row[key]) ? (row[key] as unknown[])[0] : undefined;
    return isRecord(first) && ['role', 'from'].some((name) => typeof first[name] === 'string');
  });
  if (turns !== undefined && form === undefined) {
    const name =
      isRecord((row[turns] as unknown[])[0]) && 'from' in (row[turns] as object[])[0]! ? 'conversations' : 'messages';
    return new RowFault(
      `no known form: its turns are in the column \`${oneLine(turns)}\`, expected in \`${name}\``,
      `rename the column to \`${name}\``,
    );
  }
  const shown = keys.length === 0 ? 'no columns' : `the columns ${keys.slice(0, 30).map(oneLine).join(', ')}`;
  const wrapped = keys.find(
    (key) => Array.isArray(row[key]) && isRecord((row[key] as unknown[])[0]) && keys.length <= 3,
  );
  const missing = Object.values(FAMILIES).flatMap(({ needs }) => {
    const lacking = needs.filter((key) => row[key] === undefined);
    return lacking.length < needs.length ? lacking : [];
  });
  const half = missing.map((key) => `\`${key}\` is missing`);
  const names = missing.length > 0 ? missing : Object.values(FAMILIES).flatMap(({ needs }) => needs);
  const near = keys.flatMap((key) => {
    const meant = FAMILY_COLUMNS.includes(key) ? undefined : meantKey(key, names);
    return meant === undefined ? [] : [`did you mean \`${meant}\` by \`${oneLine(key)}\`?`];
  });
  const wanted = form === undefined ? 'no known form' : `not of the form ${form}`;
  const facts = [...half, ...near];
  return new RowFault(
    `${wanted}: it has ${shown}${facts.length > 0 ? `; ${facts.join('; ')}` : ''}`,
    wrapped !== undefined && near.length === 0 && half.length === 0
      ? `if the rows are in the list \`${oneLine(wrapped)}\`, let the file hold that list alone`
      : 'forms: messages; conversations (ShareGPT); prompt, completion; instruction, output (alpaca); text. Rename the columns',
  );
}

/** @throws RowFault for what the models cannot take; false for anything else */
function refuseMedia(key: string, cell: unknown): boolean {
  if (!/^(videos?|audios?)$/.test(key)) return false;
  if ((Array.isArray(cell) && cell.length === 0) || cell === '') return true;
  throw new RowFault(`\`${key}\` is not supported: the models take text and images`, `leave the row out`);
}

function formOf(family: Family, row: Record<string, unknown>, seen: TurnEvidence): ConversationForm {
  if (family === 'alpaca' || family === 'text') return family;
  if (family === 'prompt-completion') return typeof row['prompt'] === 'string' ? family : 'trl';
  if (seen.shareGpt) return 'sharegpt';
  if (seen.mistral) return 'mistral';
  if (seen.openai) return 'openai';
  if (seen.trl || row['images'] !== undefined || row['image'] !== undefined) return 'trl';
  const hasWeights = (row['messages'] ?? row['conversations']) as readonly unknown[];
  const isOpenai = hasWeights.some(
    (turn) => isRecord(turn) && ((turn['weight'] ?? null) !== null || isFilled(turn['tool_calls'])),
  );
  return isOpenai || row['parallel_tool_calls'] !== undefined ? 'openai' : 'messages';
}

const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0;
const isFilled = (value: unknown): boolean => Array.isArray(value) && value.length > 0;

type Reader = (row: Record<string, unknown>, context: RowContext, seen: TurnEvidence) => TrainingExample;

const READERS: Readonly<Record<Family, Reader>> = {
  messages: (row, context, seen) => readConversation(row, 'messages', context, seen),
  conversations: (row, context, seen) => readConversation(row, 'conversations', context, seen),
  'prompt-completion': readPromptCompletion,
  text: readText,
  alpaca: readAlpaca,
};

function readConversation(
  row: Record<string, unknown>,
  column: 'messages' | 'conversations',
  context: RowContext,
  seen: TurnEvidence,
): SftExample {
  if (row['functions'] !== undefined) {
    throw new RowFault(
      '`functions` is the older way to describe tools',
      'write "tools": [{ "type": "function", "function": { ... } }]',
    );
  }
  if (row['parallel_tool_calls'] !== undefined) context.note('parallelToolCalls');
  const messages = withSystem(row['system'], readTurns(row[column], column, context, seen));
  return finish(messages, row, seen.shareGpt === true, context);
}

function readPromptCompletion(row: Record<string, unknown>, context: RowContext, seen: TurnEvidence): TrainingExample {
  const { prompt, completion } = row;
  if (typeof prompt === 'string' && typeof completion === 'string') {
    if (row['tools'] !== undefined) {
      throw new RowFault('`tools` beside a prompt that is text', 'write prompt and completion as lists of messages');
    }
    refuseImages(row, 'write `prompt` and `completion` as lists of messages, the prompt with an image part');
    return { prompt, completion };
  }
  if (!Array.isArray(prompt) || !Array.isArray(completion)) {
    throw new RowFault(
      `\`prompt\` is ${describeKind(prompt)} and \`completion\` ${describeKind(completion)}`,
      'both are texts, or both lists of messages',
    );
  }
  const asked = readTurns(prompt, 'prompt', context, seen).map((message): Message => {
    if (message.role !== 'assistant') return message;
    const { weight: _, ...rest } = message;
    return { ...rest, train: false };
  });
  const answered = readTurns(completion, 'completion', context, seen);
  if (!answered.some(({ role }) => role === 'assistant')) {
    throw new RowFault('no assistant’s message in `completion`', 'the completion is what is learned: an answer');
  }
  return finish([...asked, ...answered], row, false, context);
}

function readText(row: Record<string, unknown>, context: RowContext): TrainingExample {
  const { text } = row;
  if (typeof text !== 'string') throw mismatch('`text`', 'text', text, 'give it as text');
  context.note('plainText');
  refuseImages(row, 'write the row as { "messages": [...] }, with the image in the question');
  return { text };
}

/** Text that does not pass through a chat template has no place for an image. */
function refuseImages(row: Record<string, unknown>, hint: string): void {
  const key = ['images', 'image'].find((name) => row[name] !== undefined && !isEmptyList(row[name]));
  if (key !== undefined) throw new RowFault(`\`${key}\` beside plain text, which has no place for an image`, hint);
}

function readAlpaca(row: Record<string, unknown>, context: RowContext): SftExample {
  const text = (key: string): string => {
    const value = row[key] ?? '';
    if (typeof value === 'string') return value;
    throw mismatch(`\`${key}\``, 'text', value, 'give it as text');
  };
  const history = row['history'] ?? [];
  const isPair = (pair: unknown) =>
    Array.isArray(pair) && pair.length === 2 && pair.every((turn) => typeof turn === 'string');
  if (!Array.isArray(history) || !history.every(isPair)) {
    throw new RowFault('`history`: expected pairs of texts', 'write "history": [["question", "answer"], ...]');
  }
  if (history.length > 0) context.note('history');
  const earlier = (history as [string, string][]).flatMap(([question, answer]): Message[] => [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ]);
  const question = [text('instruction'), text('input')].filter((piece) => piece !== '').join('\n');
  const messages: Message[] = [
    ...earlier,
    { role: 'user', content: question },
    { role: 'assistant', content: text('output') },
  ];
  return finish(withSystem(row['system'], messages), row, true, context);
}

function withSystem(system: unknown, messages: Message[]): Message[] {
  if (system === undefined || system === '') return messages;
  if (typeof system !== 'string') throw mismatch('`system`', 'text', system, 'give it as text');
  if (messages[0]?.role === 'system') {
    throw new RowFault(
      '`system` beside a system message',
      "keep one of them: `ignoreColumns: ['system']` leaves the column out",
    );
  }
  return [{ role: 'system', content: system }, ...messages];
}

function finish(messages: Message[], row: Record<string, unknown>, marked: boolean, context: RowContext): SftExample {
  const { images = [] } = imagesBeside(row, context);
  const tools = row['tools'] === undefined ? [] : readTools(row['tools']);
  return { messages: placeImages(messages, images, marked, context), ...(tools.length > 0 && { tools }) };
}

/** `images`, a list, or `image`, one; either may come in the form of the other. */
function imagesBeside(row: Record<string, unknown>, context: RowContext): { images?: ImageInput[] } {
  const columns = ['images', 'image'].filter((name) => row[name] !== undefined && !isEmptyList(row[name]));
  const [key] = columns;
  if (key === undefined) return {};
  if (columns.length > 1) throw new RowFault('`image` beside `images`', 'keep one of them');
  const cells = row[key];
  if (!Array.isArray(cells)) return { images: [context.image(cells, key)] };
  return { images: cells.map((cell: unknown, i) => context.image(cell, `${key}[${i}]`)) };
}
