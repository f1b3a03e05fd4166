/**
 * Arguments at the public edge, checked by what they are: each error says who wants what, what came, and what to write.
 * Only what is cheap to see is looked at, so that the checks cost nothing beside the work.
 */
import { ConfigError } from './errors.js';
import {
  describeGiven,
  type GivenKind,
  isKind,
  isObject,
  isPromise,
  kindOf,
  nameOfKind,
} from './messages/given-kind.js';

/** Where one comes from. */
const SOURCES: Readonly<Partial<Record<GivenKind, string>>> = {
  model: 'const { model, processor } = await fromPretrained(…) gives one.',
  engine: "await createEngine('auto') makes one.",
  adapter: 'applyLora and loadAdapter give one.',
  tokenizer: 'It is `processor.tokenizer` of fromPretrained and loadProcessor.',
  chatTemplate: 'It is `processor.chatTemplate`; a collator takes "tutorial" too.',
  imageProcessor: 'It is `processor.imageProcessor` of fromPretrained and loadProcessor.',
  imagePool: 'new ImagePool(processor.imageProcessor) makes one.',
  collator: 'new VlmCollator(processor) makes one.',
  dataset: 'ImageFolder, ConversationDataset and IndexedDataset.from(array) give one.',
  batch:
    'Make one: await collator.collate([{ messages }]), or collator.collatePrompts([{ messages }]) to generate from.',
  report: 'await evaluator.evaluate(dataset, { toExample }) gives one; from a file it is JSON.parse of its text.',
  loraConfig: 'new LoraConfig({ r: 16, alpha: 32 }) makes one.',
};

const TO_PROMPTS =
  "Make a batch: await collator.collatePrompts([{ messages: [{ role: 'user', content: 'What is it?' }] }]).";

/** What to do where a certain thing came in place of another. */
const INSTEAD: Readonly<Record<string, string>> = {
  'model<pretrained': 'Take the model out of it: const { model, processor } = await fromPretrained(…).',
  'model<adapter': 'Give the model itself; its adapter is on it.',
  'model<engine': 'Load a model onto it: await fromPretrained(name, { engine }).',
  'model<string': 'Load it first: const { model } = await fromPretrained(name).',
  'model<trainer': 'Give the model that it trains.',
  'engine<string': 'await createEngine(name) makes one.',
  'engine<model': 'Give its `engine`.',
  'adapter<model': 'It is what applyLora and loadAdapter return: const adapter = applyLora(model, config).',
  'tokenizer<processor': 'Give its `tokenizer`.',
  'tokenizer<pretrained': 'Give its `processor.tokenizer`.',
  'chatTemplate<processor': 'Give its `chatTemplate`.',
  'chatTemplate<string':
    'The only name is "tutorial". Of Jinja text: new ChatTemplate(text); of a folder: await ChatTemplate.fromFolder(folder).',
  'imageProcessor<processor': 'Give its `imageProcessor`.',
  'imageProcessor<pretrained': 'Give its `processor.imageProcessor`.',
  'imageProcessor<imagePool': 'Give its `processor`, and the pool as `imagePool`.',
  'collator<processor': 'Write new VlmCollator(processor).',
  'dataset<imageFolder': 'Give one of its splits, e.g. `folder.test`.',
  'dataset<samples': 'Write IndexedDataset.from(samples).',
  'batch<string': TO_PROMPTS,
  'batch<sample': 'Make a batch of it: await collator.collatePrompts([sample]); collator.collate([sample]) to train.',
  'batch<samples': 'Make a batch of them: await collator.collatePrompts(samples); collator.collate(samples) to train.',
  'batch<messages': 'Make a batch of them: await collator.collatePrompts([{ messages }]).',
  'batch<dataset': 'Make a batch of some samples: await collator.collatePrompts([sample]).',
  'batch<folderSample': 'Map it to its messages, and make a batch: await collator.collatePrompts([toExample(sample)]).',
};

/** What to do with it where it is not wanted, whatever is. */
const ANYWHERE: Readonly<Partial<Record<GivenKind, string>>> = { promise: 'Await it.' };

/**
 * @param what who wants it and as what, e.g. ``generateText: `model` ``
 * @param call how the whole call is written: shown where another argument of it came, or nothing
 * @throws ConfigError if it is of another kind, or a model or adapter that was disposed of
 */
export function requireKind(kind: GivenKind, value: unknown, what: string, call?: string): void {
  if (isKind(value, kind) && !isPromise(value)) {
    if ((kind === 'model' || kind === 'adapter') && (value as { isDisposed?: unknown }).isDisposed === true) {
      throw new ConfigError(`${what}: the ${kind} is disposed of: its values are gone`, {
        hint: `Call dispose() after the last use, or load the ${kind} again.`,
      });
    }
    return;
  }
  const came = kindOf(value) ?? typeof value;
  const special = ANYWHERE[came as GivenKind] ?? INSTEAD[`${kind}<${came}`];
  const hint = [special ?? SOURCES[kind], special === undefined && call ? `Write ${call}.` : undefined];
  throw wrong(what, nameOfKind(kind), value, hint.filter((line) => line !== undefined).join(' '));
}

/** @throws ConfigError unless it is a string; an empty one is one */
export function requireText(value: unknown, what: string, hint?: string): void {
  if (typeof value !== 'string') throw wrong(what, 'a string', value, hint);
}

/** @throws ConfigError unless it is an array */
export function requireList(value: unknown, what: string, of: string, hint?: string): asserts value is unknown[] {
  if (Array.isArray(value)) return;
  const single = isObject(value) && !isPromise(value) ? 'Write one as [one].' : undefined;
  throw wrong(what, `a list of ${of}`, value, hint ?? single);
}

/** @throws ConfigError unless it is a function, or undefined where it may be left out */
export function requireCallback(value: unknown, what: string, hint?: string, isOptional = false): void {
  if (typeof value === 'function' || (isOptional && value === undefined)) return;
  throw wrong(what, 'a function', value, hint);
}

/** @throws ConfigError unless it is a whole number in the range */
export function requireInteger(value: unknown, what: string, min: number, max = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return;
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  const quoted = typeof value === 'string' ? 'Write it without quotes.' : undefined;
  throw wrong(what, `a whole number ${range}`, value, quoted);
}

/** @throws ConfigError if it is given and no AbortSignal */
export function requireSignal(signal: unknown, what: string): void {
  if (signal === undefined || (isObject(signal) && typeof signal.addEventListener === 'function')) return;
  const inner =
    isObject(signal) && 'signal' in signal
      ? 'Give its `signal`.'
      : 'AbortSignal.timeout(1000) makes one, in milliseconds.';
  throw wrong(`${what}: \`signal\``, 'an AbortSignal', signal, inner);
}

/**
 * For what takes one object: nothing would read a second one.
 * @param count how many arguments came
 * @param example how it is called
 * @throws ConfigError if they are more than one
 */
export function requireOneObject(count: number, what: string, example: string): void {
  if (count <= 1) return;
  throw new ConfigError(`${what}: expected one object of options, got ${count} arguments`, {
    hint: `Write ${example}.`,
  });
}

/** @throws ConfigError if it is neither true nor false */
export function requireBoolean(value: unknown, what: string): void {
  if (typeof value !== 'boolean') throw wrong(what, 'true or false', value, undefined);
}

/**
 * For options of one field or two, where no schema is needed.
 * @throws ConfigError unless it is an object of options, which may be left out
 */
export function requireOptions(options: unknown, what: string): void {
  if (options !== undefined) requireObject(options, what);
}

/** @throws ConfigError for what is no object of options at all, rather than a list of the names that it lacks */
export function requireObject(options: unknown, what: string): void {
  if (!isOptions(options)) throw wrong(what, 'an object of options', options, optionsHint(options));
}

/** What has no fields, so that every option would be missing. */
export function isContainer(value: unknown): boolean {
  return value instanceof Map || value instanceof Set || value instanceof Date;
}

/** Whether it may be an object of options: neither a list nor one of the package's own things. */
export function isOptions(value: unknown): boolean {
  if (!isObject(value) || Array.isArray(value) || isContainer(value)) return false;
  const kind = kindOf(value);
  return kind === undefined || kind === 'processor' || kind === 'pretrained';
}

/** What to write where something else came in place of options. */
export function optionsHint(value: unknown): string | undefined {
  if (isPromise(value)) return ANYWHERE.promise;
  if (isObject(value) && typeof value['addEventListener'] === 'function') return 'Write { signal }.';
  if (isKind(value, 'engine')) return 'Write { engine }.';
  return isKind(value, 'controller') ? 'Write { signal: controller.signal }.' : undefined;
}

function wrong(what: string, expected: string, value: unknown, hint: string | undefined): ConfigError {
  const known = isPromise(value) ? ANYWHERE.promise : hint;
  return new ConfigError(`${what}: expected ${expected}, got ${describeGiven(value)}`, known ? { hint: known } : {});
}
