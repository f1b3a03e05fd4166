/** What of a sample decides a run, as text: everything but the contents of its images, and no folder. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type {
  ContentPart,
  ImageInput,
  Message,
  PromptCompletionExample,
  SftExample,
  TextExample,
  TrainingExample,
} from '../data/types.js';
import { showValue } from '../messages/show-value.js';

type AnyExample = Partial<
  Pick<SftExample, 'messages' | 'images' | 'tools'> & PromptCompletionExample & TextExample
> | null;

/** @param index its place, so that samples that change places differ */
export function sampleText(index: number, example: TrainingExample): string {
  return json([index, ...contentOf(example)]);
}

/** What `sampleText` does not hold, as versions before did not: keys of parts beside the usual ones. Mostly empty. */
export function sampleExtras(example: TrainingExample): string {
  const extras = messagesOf(example).flatMap((message, i) => {
    const content = message?.content;
    if (!Array.isArray(content)) return [];
    return (content as (ContentPart | null)[]).flatMap((part, j) => {
      const held = Object.entries(part ?? {}).filter(([key, value]) => !USUAL_KEYS.has(key) && isHeld(value));
      return held.length > 0 ? [[i, j, held.sort(byKey)]] : [];
    });
  });
  return extras.length > 0 ? json(extras) : '';
}

/**
 * What neither holds: keys beside the usual ones, for a collator of the caller's own, and all of a sample that is in no
 * known form. Mostly empty.
 */
export function sampleOthers(example: TrainingExample): string {
  try {
    contentOfSample(example);
  } catch {
    return wholeText(example);
  }
  const others = Object.entries(example).filter(([key, value]) => !SAMPLE_KEYS.has(key) && isHeld(value));
  return others.length > 0 ? wholeText(others.sort(byKey)) : '';
}

const SAMPLE_KEYS: ReadonlySet<string> = new Set([
  ...['messages', 'images', 'tools', 'prompt', 'completion', 'text'],
  'id',
]);

/** Every value, typed arrays by their digest. */
function wholeText(value: unknown): string {
  try {
    return (
      JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, key, held: unknown) {
        const own = this[key];
        if (ArrayBuffer.isView(own)) {
          const bytes = new Uint8Array(own.buffer, own.byteOffset, own.byteLength);
          return [own.constructor.name, createHash('sha256').update(bytes).digest('base64')];
        }
        if (own instanceof Map || own instanceof Set) return [...own];
        return typeof held === 'bigint' ? `${held}n` : held;
      }) ?? ''
    );
  } catch {
    return showValue(value);
  }
}

const USUAL_KEYS: ReadonlySet<string> = new Set(['type', 'text', 'thinking', 'closed', 'image']);

/** All images of a sample, in order; a sample that is malformed may have anything there. */
export function sampleImages(example: TrainingExample): unknown[] {
  const inParts = messagesOf(example).flatMap((message) => {
    const content = message?.content;
    if (!Array.isArray(content)) return [];
    return (content as (ContentPart | null)[]).flatMap((part) => {
      return part?.type === 'image' && part.image !== undefined ? [part.image] : [];
    });
  });
  const { images } = (example ?? {}) as { images?: unknown };
  return Array.isArray(images) ? [...inParts, ...images] : inParts;
}

function messagesOf(example: TrainingExample): (Message | null | undefined)[] {
  const { messages, prompt, completion } = (example as AnyExample) ?? {};
  return [messages, prompt, completion].flatMap((list) => (Array.isArray(list) ? (list as Message[]) : []));
}

/** A sample that is malformed is the collator's to report, by name: here it must only not fail. */
function contentOf(example: TrainingExample): unknown[] {
  try {
    return contentOfSample(example);
  } catch {
    return [showValue(example)];
  }
}

function contentOfSample(example: TrainingExample): unknown[] {
  const { messages, images, prompt, completion, text, tools } = example as NonNullable<AnyExample>;
  const texts = (messages ?? []).map(contentOfMessage);
  const rest = {
    ...(tools && { tools }),
    ...(prompt !== undefined && { prompt: typeof prompt === 'string' ? prompt : prompt.map(contentOfMessage) }),
    ...(completion !== undefined && {
      completion: typeof completion === 'string' ? completion : completion.map(contentOfMessage),
    }),
    ...(text !== undefined && { text }),
  };
  return [texts, (images ?? []).map(nameOf), ...(Object.keys(rest).length > 0 ? [rest] : [])];
}

/** Role and content; what else a message holds only where it holds something: other fingerprints stay what they were. */
function contentOfMessage(message: Message): unknown[] {
  const { role, content, ...others } = message;
  const parts =
    typeof content === 'string'
      ? content
      : content.map((part) => {
          if (part.type === 'text') return part.text;
          if (part.type === 'thinking') return { thinking: part.thinking, closed: part.closed };
          return [part.image === undefined ? null : nameOf(part.image)];
        });
  const held = Object.entries(others)
    .filter(([, value]) => isHeld(value))
    .sort(byKey);
  return held.length > 0 ? [role, parts, held] : [role, parts];
}

const isHeld = (value: unknown): boolean => value !== undefined && value !== null;
const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** The name of an image's file; an image that is no file has none. */
function nameOf(image: ImageInput): string | null {
  if (typeof image === 'string') return basename(image);
  return 'path' in image ? basename(image.path) : null;
}

/** Arguments of tools may hold what JSON has no word for. */
function json(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    try {
      return JSON.stringify(value, (_, held) => (typeof held === 'bigint' ? `${held}n` : held));
    } catch {
      return showValue(value);
    }
  }
}
