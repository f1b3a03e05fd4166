/** Images, question and answer of a sample, whatever kind of data set it comes from. */
import type { ContentPart, ImageInput, Message } from '../data/types.js';
import { DataError } from '../errors.js';
import { describeGiven, isKind, isObject } from '../messages/given-kind.js';

/** What an audit compares of a sample. */
interface SampleFacts {
  readonly images: readonly ImageInput[];
  /** Name of the class, or the answers of a conversation. */
  readonly label: string | undefined;
  /** All texts but the answers; empty for images with classes. */
  readonly question: string;
  /** `id` of the sample. */
  readonly id: string | undefined;
}

/** How to read samples of a caller's own kind. */
export interface SampleReaders<T> {
  readonly images?: ((sample: T, index: number) => ImageInput | readonly ImageInput[]) | undefined;
  readonly label?: ((sample: T, index: number) => string | undefined) | undefined;
}

/** @throws DataError for a sample without anything that is known, and no function that says where its images are */
export function factsOf<T>(sample: T, index: number, readers: SampleReaders<T>): SampleFacts {
  const known = knownFacts(sample);
  if (!known && !readers.images) {
    throw new DataError(`sample ${index}: expected an image or a training sample, got ${describeGiven(sample)}`, {
      hint: 'Say where its images are: auditDataset(data, { images: (sample) => sample.photo }).',
      details: { index },
    });
  }
  const given = readers.images?.(sample, index);
  return {
    images: given === undefined ? (known?.images ?? []) : Array.isArray(given) ? given : [given as ImageInput],
    label: readers.label ? nameOf(readers.label(sample, index)) : known?.label,
    question: known?.question ?? '',
    id: known?.id,
  };
}

function knownFacts(sample: unknown): SampleFacts | undefined {
  if (typeof sample === 'string' || sample instanceof Uint8Array || isKind(sample, 'image')) {
    return { images: [sample as ImageInput], label: undefined, question: '', id: undefined };
  }
  if (!isObject(sample)) return undefined;
  const { messages, prompt, completion, text, image, label, className } = sample;
  const id = typeof sample.id === 'string' ? sample.id : undefined;
  if (messages !== undefined || prompt !== undefined || completion !== undefined || typeof text === 'string') {
    const turns = [...turnsOf(messages, 'user'), ...turnsOf(prompt, 'user'), ...turnsOf(completion, 'assistant')];
    const isAnswer = ({ role }: Message) => role === 'assistant';
    const answers = turns.filter(isAnswer).map(textOf).join('\n');
    const beside = Array.isArray(sample.images) ? (sample.images as ImageInput[]) : [];
    return {
      images: [...turns.flatMap(imagesOf), ...beside],
      label: answers === '' ? undefined : plain(answers),
      question: plain([...turns.filter((turn) => !isAnswer(turn)).map(textOf), text].join('\n')),
      id,
    };
  }
  if (image === undefined || image === null) return undefined;
  const name = typeof className === 'string' ? className : label;
  return {
    images: [image as ImageInput],
    label: nameOf(name),
    question: '',
    id,
  };
}

const nameOf = (label: unknown): string | undefined =>
  typeof label === 'string' || typeof label === 'number' ? String(label) : undefined;

/** Messages, or a text as one; what is malformed is the collator's to report. */
function turnsOf(list: unknown, role: Message['role']): Message[] {
  if (typeof list === 'string') return [{ role, content: list }];
  return Array.isArray(list) ? (list as unknown[]).filter((one): one is Message => isObject(one)) : [];
}

function partsOf({ content }: Message): readonly ContentPart[] {
  return Array.isArray(content) ? (content as unknown[]).filter((one): one is ContentPart => isObject(one)) : [];
}

function textOf(message: Message): string {
  if (typeof message.content === 'string') return message.content;
  return partsOf(message)
    .map((part) => (part.type === 'text' ? part.text : ''))
    .join('\n');
}

function imagesOf(message: Message): ImageInput[] {
  return partsOf(message).flatMap((part) => (part.type === 'image' && part.image !== undefined ? [part.image] : []));
}

const plain = (text: string): string => text.replace(/\s+/g, ' ').trim();

/** Path of an image's file; undefined if it is none. */
export function pathOf(image: unknown): string | undefined {
  if (typeof image === 'string') return image;
  return isObject(image) && typeof image.path === 'string' ? image.path : undefined;
}
