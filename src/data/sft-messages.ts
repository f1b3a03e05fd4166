/** Small, pure operations on the messages of a training sample. */
import { DataError, TextError } from '../errors.js';
import type { ContentPart, Message, SftExample } from './types.js';

/**
 * Messages often come straight from a JSON file, where the compiler has not seen them.
 * @throws TextError naming the message and the part
 */
export function checkMessage(message: Message, index: number): void {
  const content: unknown = message?.content;
  const parts: unknown[] = Array.isArray(content) ? content : [];
  const bad = parts.findIndex((part) => {
    const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown };
    return type !== 'image' && (type !== 'text' || typeof text !== 'string');
  });
  if (typeof message?.role === 'string' && (typeof content === 'string' || Array.isArray(content)) && bad < 0) return;
  throw new TextError(
    `message ${index} (${message?.role}) is malformed${bad < 0 ? '' : ` in part ${bad} of its content`}`,
    {
      hint: 'expected { role, content }, content a string or a list of { type: "text", text } and { type: "image" }',
      details: { index, role: message?.role, ...(bad >= 0 && { part: bad }) },
    },
  );
}

/**
 * The messages with a picture in each image part: those beside the messages fill the empty parts in order. If no part
 * is an image part, they go before the text of the first user message, where TRL puts them.
 * @throws DataError if the numbers differ or there are no messages, TextError if a message is malformed
 */
export function attachImages(example: SftExample): Message[] {
  if ((example.messages?.length ?? 0) === 0) {
    throw new DataError('expected { messages: [...], images? } with at least one message', {
      hint: 'let the data set yield samples in the form of SftExample',
    });
  }
  example.messages.forEach(checkMessage);
  const given = example.images ?? [];
  const hasImageParts = example.messages.some(
    ({ content }) => typeof content !== 'string' && content.some((part) => part.type === 'image'),
  );
  let messages = example.messages;
  const firstUser = messages.findIndex((message) => message.role === 'user');
  const question = messages[firstUser];
  if (given.length > 0 && !hasImageParts && question) {
    const { content } = question;
    const placed: ContentPart[] = [
      ...given.map(() => ({ type: 'image' }) as const),
      ...(typeof content === 'string' ? [{ type: 'text', text: content } as const] : content),
    ];
    messages = messages.with(firstUser, { role: 'user', content: placed });
  }
  let used = 0;
  const attached = messages.map(({ role, content }): Message => {
    if (typeof content === 'string') return { role, content };
    return {
      role,
      content: content.map((part) => {
        if (part.type !== 'image' || part.image !== undefined) return part;
        const image = given[used++];
        // A missing one is counted, so that the error can tell how many.
        return image === undefined ? part : { type: 'image', image };
      }),
    };
  });
  if (used !== given.length) {
    throw new DataError(`${given.length} pictures in \`images\` for ${used} image parts without one of their own`, {
      hint: 'give as many `images` as the messages have image parts that hold no `image`',
      details: { pictures: given.length, imageParts: used },
    });
  }
  return attached;
}

/** The conversation up to the answer that is to be generated: without the assistant messages at its end. */
export function promptOf(messages: readonly Message[]): Message[] {
  const end = messages.findLastIndex((message) => message.role !== 'assistant') + 1;
  if (end === 0) throw new DataError('there is no question to answer: no user message');
  return messages.slice(0, end);
}

/** Length of all user text, in UTF-16 units. */
export function userTextLength(messages: readonly Message[]): number {
  let length = 0;
  mapUserText(messages, (text) => {
    length += text.length;
    return text;
  });
  return length;
}

/** Keeps the first `keep` UTF-16 units of the user text and empties the rest; never cuts a surrogate pair. */
export function keepUserText(messages: readonly Message[], keep: number): Message[] {
  let left = keep;
  return mapUserText(messages, (text) => {
    let end = Math.min(left, text.length);
    left -= end;
    if (end > 0 && end < text.length && text.codePointAt(end - 1)! > 0xffff) end--;
    return text.slice(0, end);
  });
}

function mapUserText(messages: readonly Message[], change: (text: string) => string): Message[] {
  return messages.map((message) => {
    if (message.role !== 'user') return message;
    const { role, content } = message;
    if (typeof content === 'string') return { role, content: change(content) };
    return {
      role,
      content: content.map((part) => (part.type === 'text' ? { ...part, text: change(part.text) } : part)),
    };
  });
}
