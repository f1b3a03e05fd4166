/** What a caller gave, told by what it can do: its name in messages, and what to do with it instead. */
import { showValue } from './show-value.js';

type Fields = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
export const isPromise = (value: unknown): boolean => isObject(value) && typeof value.then === 'function';

const can = (value: Fields, ...names: string[]): boolean => names.every((name) => typeof value[name] === 'function');
const isDataset = (value: unknown): boolean =>
  isObject(value) && can(value, 'get') && typeof value.length === 'number' && !Array.isArray(value);

/** By name: how messages call it, and how it is told. The first that is true counts. */
const KINDS = {
  promise: ['a promise', (value) => can(value, 'then')],
  model: ['a model', (value) => can(value, 'lossSteps') || Array.isArray(value.linearModules)],
  engine: ['an engine', (value) => can(value, 'createParameters', 'loadWeight')],
  adapter: ['an adapter', (value) => Array.isArray(value.modules) && isObject(value.parameters)],
  pretrained: [
    'all that fromPretrained gives',
    (value) => isObject(value.model) && isObject(value.processor) && 'folder' in value,
  ],
  tokenizer: ['a tokenizer', (value) => can(value, 'encode', 'decode', 'streamingDecoder')],
  chatTemplate: ['a chat template', (value) => can(value, 'render', 'segments')],
  imagePool: ['an image pool', (value) => can(value, 'process', 'close')],
  imageProcessor: ['an image processor', (value) => can(value, 'process') && 'patchSize' in value],
  collator: ['a collator', (value) => can(value, 'collate')],
  processor: ['a processor', (value) => isObject(value.tokenizer) && isObject(value.imageProcessor)],
  trainer: ['a trainer', (value) => can(value, 'train', 'evaluate')],
  evaluator: ['an evaluator', (value) => can(value, 'evaluate', 'stream', 'report')],
  dataset: ['a data set', isDataset],
  imageFolder: ['an image folder', (value) => isDataset(value.train) || isDataset(value.test)],
  batch: ['a batch', (value) => 'inputIds' in value && 'attentionMask' in value],
  report: ['an evaluation report', (value) => 'confusion' in value && 'perClass' in value],
  sample: ['a sample', (value) => Array.isArray(value.messages) || ('prompt' in value && 'completion' in value)],
  folderSample: ['a sample of an image folder', (value) => isObject(value.image) && 'label' in value],
  samples: ['a list of samples', (value) => Array.isArray(value) && Array.isArray(value[0]?.messages)],
  messages: ['a list of messages', (value) => Array.isArray(value) && isObject(value[0]) && 'role' in value[0]],
  image: [
    'an image',
    (value) => can(value, 'decode') || (value.data instanceof Uint8Array && 'width' in value && 'height' in value),
  ],
  loraConfig: ['a LoraConfig', (value) => can(value, 'forModule', 'toPeft')],
  controller: ['an AbortController', (value) => can(value, 'abort') && isObject(value.signal)],
} satisfies Readonly<Record<string, readonly [string, (value: Fields) => boolean]>>;

/** What a function of this package takes or gives. */
export type GivenKind = keyof typeof KINDS;

/** Whether it is one, whatever its class: what a user's own object can do counts as well. */
export function isKind(value: unknown, kind: GivenKind): boolean {
  return isObject(value) && KINDS[kind][1](value);
}

/** The kind that it is known to be, or undefined for other values and for plain data. */
export function kindOf(value: unknown): GivenKind | undefined {
  if (!isObject(value)) return undefined;
  return (Object.keys(KINDS) as GivenKind[]).find((kind) => isKind(value, kind));
}

export const nameOfKind = (kind: GivenKind): string => KINDS[kind][0];

/** What came, in a few words: a kind by its name, other objects by their class, plain data as it is written. */
export function describeGiven(value: unknown): string {
  const kind = kindOf(value);
  if (kind !== undefined) return nameOfKind(kind);
  if (typeof value === 'string') return value === '' ? 'an empty string' : showValue(value);
  return showValue(value);
}
