/** The content of a message: text, or parts under the names that OpenAI, Mistral and transformers give them. */
import { oneLine } from '../../messages/one-line.js';
import { showValue } from '../../messages/show-value.js';
import { describeKind, isRecord } from '../known-keys.js';
import type { ContentPart, Message, ThinkingPart } from '../types.js';
import type { RowContext } from './row-context.js';
import { mismatch, RowFault, readRecord } from './row-fault.js';

export interface TurnEvidence {
  shareGpt?: boolean;
  openai?: boolean;
  mistral?: boolean;
  trl?: boolean;
  /** Number of image parts so far that take their image from beside the messages. */
  slots?: number;
}

interface Place {
  readonly role: Message['role'];
  readonly where: string;
  /** The column, as in `ignoreColumns`. */
  readonly path: string;
  readonly hasCalls: boolean;
}

const PART_HINT =
  'parts are { "type": "text", "text" }, { "type": "image_url", "image_url" } and { "type": "image", "image" }';

export function readContent(
  content: unknown,
  place: Place,
  context: RowContext,
  seen: TurnEvidence,
): Message['content'] {
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) {
    return content.map((part: unknown, i) => readPart(part, `${place.where}, part ${i}`, place, context, seen));
  }
  if (content === undefined && place.hasCalls) return '';
  if (content === undefined) {
    const what = place.role === 'assistant' ? 'the text of the answer' : 'its text';
    throw new RowFault(`${place.where}: \`content\` is missing`, `write ${what}; "" beside tool_calls`);
  }
  throw mismatch(`${place.where}: \`content\``, 'text or a list of parts', content, PART_HINT);
}

function readPart(value: unknown, where: string, place: Place, context: RowContext, seen: TurnEvidence): ContentPart {
  if (!isRecord(value)) {
    const hint = typeof value === 'string' ? 'write { "type": "text", "text": "..." }' : PART_HINT;
    throw mismatch(where, 'an object', value, hint);
  }
  const record = (...keys: string[]) =>
    readRecord(value, where, ['type', ...keys], context.ignored, `${place.path}.content`, PART_HINT);
  const { type } = value;
  switch (type) {
    case 'text': {
      // Tables of parts have the columns of images in texts too, without values.
      const { text } = record('text');
      if (typeof text === 'string') return { type, text };
      throw mismatch(`${where}: \`text\``, 'text', text, PART_HINT);
    }
    case 'image_url':
      return { type: 'image', image: context.image(readAddress(record('image_url'), where, context, seen), where) };
    case 'image': {
      seen.trl = true;
      const part = record('image', 'url', 'path', 'base64', 'source', 'index');
      const keys = ['image', 'url', 'path', 'base64', 'source'].filter((key) => part[key] !== undefined);
      if (keys.length > 1) throw new RowFault(`${where}: ${keys.join(' and ')} for one image`, 'keep one of them');
      if (keys.length === 0) {
        requireInOrder(part['index'], where, seen);
        return { type };
      }
      const cell = keys[0] === 'source' ? readSource(part['source'], where, context) : part[keys[0]!];
      return { type, image: context.image(keys[0] === 'base64' ? { bytes: cell } : cell, where) };
    }
    case 'thinking': {
      seen.mistral = true;
      requireThinker(place.role, where);
      const { thinking, closed } = record('thinking', 'closed');
      if (closed !== undefined && typeof closed !== 'boolean') {
        throw mismatch(`${where}: \`closed\``, 'true or false', closed, 'write it without quotes');
      }
      return { type, thinking: thinkingText(thinking, where), ...(closed !== undefined && { closed }) };
    }
    default:
      throw unknownType(value, where);
  }
}

/** The number that some tables give an image part: images are taken in order. */
function requireInOrder(index: unknown, where: string, seen: TurnEvidence): void {
  const slot = seen.slots ?? 0;
  seen.slots = slot + 1;
  if (index === undefined || index === slot) return;
  throw new RowFault(
    `${where}: \`index\` is ${showValue(index)} on image part ${slot} of the row: images are taken in the order of their parts`,
    "put `images` into that order, and leave the key out with `ignoreColumns: ['messages.content.index']`",
  );
}

function readSource(source: unknown, where: string, context: RowContext): unknown {
  const hint = 'write "source": { "type": "base64", "media_type", "data" }';
  const keys = ['type', 'media_type', 'data', 'url'];
  const { type, data, url } = readRecord(source, `${where}, source`, keys, context.ignored, 'source', hint);
  if (type === 'base64') return { bytes: data };
  if (type === 'url') return url;
  throw new RowFault(`${where}: \`source\` is of the type ${showValue(type)}, expected base64`, hint);
}

/** `image_url` as OpenAI has it, an object, or as Mistral has it, a string. */
function readAddress(part: Record<string, unknown>, where: string, context: RowContext, seen: TurnEvidence): unknown {
  const { image_url: address } = part;
  if (typeof address === 'string') {
    seen.mistral = true;
    return address;
  }
  seen.openai = true;
  if (address === undefined)
    throw new RowFault(`${where}: \`image_url\` is missing`, 'write "image_url": { "url": "..." }');
  const { url, detail } = readRecord(
    address,
    `${where}, image_url`,
    ['url', 'detail'],
    context.ignored,
    'image_url',
    PART_HINT,
  );
  if (detail !== undefined) {
    if (!['auto', 'low', 'high'].includes(detail as string)) {
      throw mismatch(`${where}: \`detail\``, 'auto, low or high', detail, 'leave it out');
    }
    if (detail !== 'auto') context.note('detail');
  }
  if (typeof url === 'string') return url;
  throw mismatch(`${where}: \`url\``, 'text', url, 'write a path or a data: URL');
}

export function readThinking(
  reasoning: unknown,
  content: Message['content'],
  where: string,
  seen: TurnEvidence,
): Message['content'] {
  if (reasoning === undefined || reasoning === '') return content;
  if (typeof reasoning !== 'string') {
    throw mismatch(`${where}: \`reasoning_content\``, 'text', reasoning, 'give it as text');
  }
  seen.mistral = true;
  const parts: readonly ContentPart[] =
    typeof content !== 'string' ? content : content === '' ? [] : [{ type: 'text', text: content }];
  if (parts.some((part) => part.type === 'thinking')) {
    throw new RowFault(`${where}: \`reasoning_content\` beside \`thinking\` parts`, 'keep one of them');
  }
  const thinking: ThinkingPart = { type: 'thinking', thinking: reasoning };
  return [thinking, ...parts];
}

function thinkingText(thinking: unknown, where: string): string {
  if (typeof thinking === 'string') return thinking;
  const hint = 'write { "type": "thinking", "thinking": "..." } or a list of text parts';
  if (!Array.isArray(thinking)) throw mismatch(`${where}: \`thinking\``, 'text', thinking, hint);
  return thinking
    .map((chunk: unknown) => {
      if (isRecord(chunk) && chunk['type'] === 'text' && typeof chunk['text'] === 'string') return chunk['text'];
      throw new RowFault(`${where}: \`thinking\` holds ${describeKind(chunk)}`, hint);
    })
    .join('');
}

function requireThinker(role: Message['role'], where: string): void {
  if (role === 'assistant' || role === 'system') return;
  throw new RowFault(
    `${where}: only an assistant’s or a system message thinks`,
    'correct the role, or give it as text',
  );
}

/** Parts that others have, and what to write instead. */
const OTHER_TYPES: Readonly<Record<string, string>> = {
  input_text: 'write "type": "text"',
  output_text: 'write "type": "text"',
  input_image: 'write { "type": "image_url", "image_url": "..." }',
  refusal: 'to learn it, write its text as a text part',
  tool_use: 'write `tool_calls` beside the content',
  tool_result: 'write a message with the role "tool"',
};

function unknownType(part: Record<string, unknown>, where: string): RowFault {
  const { type } = part;
  if (type === undefined || type === null) {
    return new RowFault(
      `${where}: \`type\` is missing; it has ${Object.keys(part).map(oneLine).join(', ') || 'no keys'}`,
      PART_HINT,
    );
  }
  const other = typeof type === 'string' && Object.hasOwn(OTHER_TYPES, type) ? OTHER_TYPES[type]! : PART_HINT;
  if (typeof type === 'string' && /audio|video|file|document/.test(type)) {
    return new RowFault(
      `${where}: \`${oneLine(type)}\` is not supported: the models take text and images`,
      'leave the row out',
    );
  }
  return new RowFault(`${where}: unknown type ${showValue(type)}`, other);
}
