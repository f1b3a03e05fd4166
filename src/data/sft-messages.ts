/** Small, pure operations on the messages of a training sample. */
import { DataError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { checkMessage, checkSample } from './check-message.js';
import { describeKind, isRecord } from './known-keys.js';
import type { ContentPart, Message, SftExample } from './types.js';

export { checkMessage };

/**
 * The messages with an image in each image part: those beside the messages fill the empty parts in order. If no part
 * is an image part, they go before the text of the first user message, where TRL puts them. Keys without a value go.
 * @throws DataError if the sample is none, if the numbers differ or there are no messages, TextError if a message is
 *   malformed
 */
export function attachImages(example: SftExample): Message[] {
  checkSample(example);
  if (!Array.isArray(example.messages) || example.messages.length === 0) {
    const { messages } = example as { messages?: unknown };
    const got =
      messages === undefined
        ? `an object with ${Object.keys(example).map(oneLine).join(', ') || 'no keys'}`
        : describeKind(messages);
    throw new DataError(`expected { messages: [...], images? } with at least one message, got ${got}`, {
      hint: 'let the data set yield samples in the form of SftExample',
    });
  }
  let messages: Message[] = example.messages.map(withoutEmptyKeys);
  messages.forEach(checkMessage);
  const given = example.images ?? [];
  const hasImageParts = messages.some(({ content }) => partsOf(content).some((part) => part.type === 'image'));
  const firstUser = messages.findIndex((message) => message.role === 'user');
  const question = messages[firstUser];
  if (given.length > 0 && !hasImageParts && question) {
    const { content } = question;
    const placed: ContentPart[] = [...given.map(() => ({ type: 'image' }) as const), ...partsOf(content)];
    messages = messages.with(firstUser, { ...question, content: placed });
  }
  let used = 0;
  const attached = messages.map((message): Message => {
    const { content } = message;
    if (typeof content === 'string') return message;
    return {
      ...message,
      content: content.map((part) => {
        if (part.type !== 'image' || (part.image ?? undefined) !== undefined) return part;
        // A missing one is counted, so that the error can tell how many.
        return { type: 'image', image: given[used++]! };
      }),
    };
  });
  if (used !== given.length) {
    throw new DataError(`${given.length} images in \`images\` for ${used} image parts without one of their own`, {
      hint: 'give as many `images` as the messages have image parts that hold no `image`',
      details: { images: given.length, imageParts: used },
    });
  }
  return attached;
}

/** The content as parts: a string is one text part. */
export function partsOf(content: Message['content']): readonly ContentPart[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content;
}

export function textOf(part: ContentPart): string | undefined {
  return part.type === 'text' ? part.text : part.type === 'thinking' ? part.thinking : undefined;
}

/** Tables of Hugging Face fill the keys that a message does not have with null; OpenAI's calls come without a text. */
function withoutEmptyKeys(message: Message): Message {
  if (!isRecord(message)) return message;
  const entries = Object.entries(message);
  const hasCalls = Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
  if (!entries.some(([, value]) => value === null || value === undefined) && !(hasCalls && !('content' in message))) {
    return message;
  }
  const filled = entries.filter(([key, value]) => key === 'content' || (value !== null && value !== undefined));
  const kept = Object.fromEntries(filled) as unknown as Message;
  return hasCalls && (kept.content ?? null) === null ? { ...kept, content: '' } : kept;
}

/**
 * The conversation up to the answer that is to be generated: without the assistant messages at its end, unless the last
 * one is the beginning of that answer (`prefix: true`).
 * @throws DataError if nothing is asked
 */
export function promptOf(messages: readonly Message[]): Message[] {
  const continued = messages.at(-1)?.prefix === true;
  const end = messages.findLastIndex((message) => message.role !== 'assistant') + 1;
  if (end === 0) throw new DataError('there is no question to answer: no user message');
  if (continued) return [...messages];
  return messages.slice(0, end);
}

/** All user text in its order, as `keepUserText` counts it. */
export function userText(messages: readonly Message[]): string {
  let all = '';
  mapUserText(messages, (text) => {
    all += text;
    return text;
  });
  return all;
}

/** Keeps the first `keep` UTF-16 units of the user text and empties the rest; never cuts a surrogate pair. */
export function keepUserText(messages: readonly Message[], keep: number): Message[] {
  let left = keep;
  return mapUserText(messages, (text) => {
    let end = Math.min(left, text.length);
    left -= end;
    if (text.codePointAt(end - 1)! > 0xffff) end--;
    return text.slice(0, end);
  });
}

function mapUserText(messages: readonly Message[], change: (text: string) => string): Message[] {
  return messages.map((message) => {
    if (message.role !== 'user') return message;
    const { content } = message;
    if (typeof content === 'string') return { ...message, content: change(content) };
    return {
      ...message,
      content: content.map((part) => (part.type === 'text' ? { ...part, text: change(part.text) } : part)),
    };
  });
}
