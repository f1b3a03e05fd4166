/** Places images that were given beside the conversation: in empty image parts, at markers, or in front. */
import { partsOf } from '../sft-messages.js';
import type { ContentPart, ImageInput, Message } from '../types.js';
import type { RowContext } from './row-context.js';
import { RowFault } from './row-fault.js';

/**
 * @param images those beside the messages, in order
 * @param marked whether the form is one that marks the places of images
 * @throws RowFault if the counts differ
 */
export function placeImages(
  messages: readonly Message[],
  images: readonly ImageInput[],
  marked: boolean,
  context: RowContext,
): Message[] {
  const hasImages = count(messages, (part) => part.type === 'image') > 0;
  const slots = count(messages, (part) => part.type === 'image' && part.image === undefined);
  const { imageMarker: marker } = context;
  const inAnswers = marker === undefined ? 0 : markersIn(messages, marker, (role) => role === 'assistant');
  const inQuestions = marker === undefined ? 0 : markersIn(messages, marker, (role) => role !== 'assistant');
  const total = inAnswers + inQuestions;
  if (slots > 0) {
    if (slots !== images.length) {
      throw new RowFault(
        `${images.length} images in \`images\` for ${slots} image parts without one of their own`,
        'give as many `images` as the messages have empty image parts',
      );
    }
    if (total > 0) context.note('markerIsText');
    let next = 0;
    return mapParts(messages, (part) =>
      part.type === 'image' && part.image === undefined ? [{ type: 'image', image: images[next++]! }] : [part],
    );
  }
  if (images.length === 0) {
    if (total > 0) context.note(hasImages ? 'markerIsText' : 'strayMarker');
    return [...messages];
  }
  if (inQuestions === images.length || total === images.length) {
    // A marker that an answer spells beside one in a question for each image is text.
    const everywhere = inQuestions !== images.length;
    if (!everywhere && inAnswers > 0) context.note('markerIsText');
    context.note('markersPlaced');
    let next = 0;
    return messages.map((message) => {
      if (message.role === 'assistant' && !everywhere) return message;
      return withParts(message, (part) =>
        part.type === 'text' ? splitAt(part.text, marker!, () => images[next++]!) : [part],
      );
    });
  }
  if (inQuestions > 0) {
    const markers = `${total} ${marker} ${total === 1 ? 'marker' : 'markers'}`;
    throw new RowFault(
      `${images.length} ${images.length === 1 ? 'image' : 'images'} for ${markers} in the text`,
      'give one image for each marker; where the text only spells it, load with `imageMarker: false`',
    );
  }
  if (hasImages) {
    throw new RowFault(
      `${images.length} ${images.length === 1 ? 'image' : 'images'} beside image parts that all have one of their own`,
      'leave out `images`, or the images of the parts',
    );
  }
  if (inAnswers > 0) context.note('markerIsText');
  return inFront(messages, images, marked, context);
}

function inFront(
  messages: readonly Message[],
  images: readonly ImageInput[],
  marked: boolean,
  context: RowContext,
): Message[] {
  const first = messages.findIndex(({ role }) => role === 'user');
  if (first < 0)
    throw new RowFault('images, but no user message to show them in', 'add the question that they belong to');
  context.note(marked ? 'imagesFirstMarked' : 'imagesFirst');
  const { content } = messages[first]!;
  const text = content === '' ? [] : partsOf(content);
  const parts: ContentPart[] = [...images.map((image) => ({ type: 'image', image }) as const), ...text];
  return messages.map((message, i) => (i === first ? { ...message, content: parts } : message));
}

function splitAt(text: string, marker: string, next: () => ImageInput): ContentPart[] {
  return text
    .split(marker)
    .flatMap((piece, i): ContentPart[] => [
      ...(i > 0 ? [{ type: 'image', image: next() } as const] : []),
      ...textPart(piece),
    ]);
}

const textPart = (text: string): ContentPart[] => (text === '' ? [] : [{ type: 'text', text }]);

function mapParts(messages: readonly Message[], change: (part: ContentPart) => ContentPart[]): Message[] {
  return messages.map((message) => (typeof message.content === 'string' ? message : withParts(message, change)));
}

function withParts(message: Message, change: (part: ContentPart) => ContentPart[]): Message {
  const { content } = message;
  if (typeof content !== 'string') return { ...message, content: content.flatMap(change) };
  const parts = change({ type: 'text', text: content });
  return parts.some((part) => part.type !== 'text') ? { ...message, content: parts } : message;
}

function count(messages: readonly Message[], test: (part: ContentPart) => boolean): number {
  return messages.reduce((sum, { content }) => sum + partsOf(content).filter(test).length, 0);
}

function markersIn(messages: readonly Message[], marker: string, ofRole: (role: Message['role']) => boolean): number {
  let sum = 0;
  for (const { role, content } of messages) {
    if (!ofRole(role)) continue;
    for (const part of partsOf(content)) if (part.type === 'text') sum += part.text.split(marker).length - 1;
  }
  return sum;
}

/**
 * Image markers of other tools and models: numbered ones of InternVL, MMMU and Phi; Qwen's, Gemma's, DeepSeek's,
 * llama.cpp's; closing tags; other cases. Images are parts here, so these stay text.
 */
const FOREIGN_MARKER =
  /<\|?(?:image|img)[ _-]?\d{1,3}\|?>|<\|(?:image|image_pad|img|vision_start|vision_end)\|>|<(?:start|end)_of_image>|<image_(?:soft_token|placeholder|pad|token)>|<\/?img>|<\/image>|<(?:IMAGE|Image|IMG|Img|ImageHere|picture)>|\[img-\d{1,3}\]/g;

export function foreignMarkersIn(text: string): string[] {
  return text.includes('<') || text.includes('[img-') ? (text.match(FOREIGN_MARKER) ?? []) : [];
}
