/** From samples (messages and pictures) to batches: template, tokens, image tokens, labels, padding. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { ConfigError, DataError, ImageError } from '../errors.js';
import type { ChatTemplate } from './chat-template.js';
import { type EncodedConversation, encodeConversation } from './encode-conversation.js';
import { type EncodedSample, type PaddingSide, padBatch } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';
import { nameSample } from './sample-error.js';
import { attachImages, keepUserText, promptOf, userTextLength } from './sft-messages.js';
import type { MinistralTokenizer } from './tokenizer.js';
import {
  IGNORE_INDEX,
  type ImageInput,
  type Message,
  type SftExample,
  type SkippedSample,
  type VlmBatch,
} from './types.js';

/** What the collator needs of an image processor; `ImageProcessor` is one. */
export interface ImagePreprocessor {
  /** The normalised pixels, both sides multiples of `patchSize` × `spatialMergeSize`: others are refused. */
  process(input: ImageInput, options?: { readonly signal?: AbortSignal }): Promise<ProcessedImage>;
  /** Side of a patch in pixels. */
  readonly patchSize: number;
  /** Patches along each side of an image token. */
  readonly spatialMergeSize: number;
  /** What decides the pixels, as JSON: a resumed training refuses other values. */
  readonly settings?: object | undefined;
}

export const vlmCollatorOptionsSchema = z.strictObject({
  /** Most tokens a sample may have, image tokens included. Default: no limit. */
  maxLength: z.int().positive().optional(),
  /**
   * What becomes of a longer sample. `error` (default): it is named and collating stops. `drop`: it is left out of the
   * batch and reported to `onDropped`. `truncateText`: its user text is cut, from the end of the last user text
   * backwards, until it fits; image tokens, system text, answers and the template's own tokens are never cut.
   */
  overlong: z.enum(['error', 'drop', 'truncateText']).default('error'),
  /** Where padding goes in training batches. Default `right`. Prompts are padded at the left unless asked otherwise. */
  paddingSide: z.enum(['right', 'left']).default('right'),
  /**
   * True (default): only answers, with the EOS that closes each, are labelled. False: everything is labelled but
   * padding and `[IMG]` tokens (`[IMG_BREAK]` and `[IMG_END]` are), as common tutorial collators do.
   */
  maskPrompt: z.boolean().default(true),
});

/** Conversations whose tokens are kept: classes and questions of a data set come again and again. */
const KEPT_CONVERSATIONS = 256;
/** Longer ones hardly come again. In characters of JSON. */
const LONGEST_KEPT = 65_536;

/** A sample that was left out because it is too long. */
export interface DroppedSample {
  /** As in `SkippedSample`. */
  readonly sampleId: string;
  /** Its length in tokens. */
  readonly length: number;
  /** The collator's option, in tokens. */
  readonly maxLength: number;
}

/** The options of a collator and what it works with. */
export interface VlmCollatorOptions extends z.input<typeof vlmCollatorOptionsSchema> {
  /** Of the model's checkpoint: `loadProcessor` gives all three. */
  readonly tokenizer: MinistralTokenizer;
  /** Base checkpoints have none: `new ChatTemplate(TUTORIAL_TEMPLATE)`. */
  readonly chatTemplate: ChatTemplate;
  /** Says the sizes of patches; makes the pixels, unless `imagePool` does. */
  readonly imageProcessor: ImagePreprocessor;
  /** Processes the pictures in place of `imageProcessor.process`, e.g. an `ImagePool` with its worker threads. */
  readonly imagePool?: Pick<ImagePreprocessor, 'process'>;
  /** Called for each sample that `overlong: 'drop'` leaves out. */
  readonly onDropped?: (sample: DroppedSample) => void;
}

/** Options of the methods of `VlmCollator` that make batches. */
export interface CollateOptions {
  /** Stops waiting for pictures; the call then fails with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Makes batches of samples, for training and for generation. */
export class VlmCollator {
  /** With the defaults filled in; without tokenizer, template, image processor and callback. */
  readonly options: z.output<typeof vlmCollatorOptionsSchema>;
  /** The options that decide a batch, the picture settings, and a digest of the template. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly #tokenizer: MinistralTokenizer;
  readonly #chatTemplate: ChatTemplate;
  readonly #images: Pick<ImagePreprocessor, 'process'>;
  /** Side in pixels of what one image token stands for. */
  readonly #cellSize: number;
  readonly #onDropped: ((sample: DroppedSample) => void) | undefined;
  /** By roles and texts, least recently used first. Undefined where the template may write the time. */
  readonly #encoded: Map<string, EncodedConversation> | undefined;

  /** @throws ConfigError listing every wrong option */
  constructor(options: VlmCollatorOptions) {
    const { tokenizer, chatTemplate, imageProcessor, imagePool, onDropped, ...plain } = options ?? {};
    const missing = Object.entries({ tokenizer, chatTemplate, imageProcessor }).filter(([, part]) => !part);
    if (missing.length > 0) {
      throw new ConfigError(`VlmCollator: missing ${missing.map(([name]) => `\`${name}\``).join(', ')}`, {
        hint: 'loadProcessor gives all three; a checkpoint without a chat template needs one of your own.',
      });
    }
    this.options = parseOptions(vlmCollatorOptionsSchema, plain, 'VlmCollator options');
    const template = createHash('sha256').update(chatTemplate.source).digest('hex').slice(0, 16);
    this.settings = { ...this.options, chatTemplate: template, ...imageProcessor.settings };
    this.#tokenizer = tokenizer;
    this.#chatTemplate = chatTemplate;
    this.#images = imagePool ?? imageProcessor;
    this.#cellSize = imageProcessor.patchSize * imageProcessor.spatialMergeSize;
    this.#onDropped = onDropped;
    this.#encoded = chatTemplate.source.includes('strftime_now') ? undefined : new Map();
  }

  /**
   * A training batch: [B, T] ids, mask and labels; [N, 3, H, W] pictures in the order of their image tokens. With
   * `overlong: 'drop'`, or a picture of `onBadImage: 'skip'` that cannot be read (see `skipped` of the batch), B may be
   * smaller than the number of examples, down to 0.
   * @throws DataError, TextError or ImageError naming the sample: too long, nothing to learn, pictures that do not match
   */
  async collate(examples: readonly SftExample[], options: CollateOptions = {}): Promise<VlmBatch> {
    const skipped: SkippedSample[] = [];
    const samples = await this.#encodeAll(examples, false, options.signal, skipped);
    const kept = samples.filter((sample) => !this.#drops(sample));
    return padBatch(kept, this.#tokenizer.padTokenId, this.options.paddingSide, skipped);
  }

  /**
   * Whether anything of a sample would be labelled, told from its text alone: no picture is read.
   * @throws DataError or TextError if it cannot be encoded
   */
  hasLabels(example: SftExample): boolean {
    const messages = attachImages(example);
    const { ids, isAnswer } = this.#encodeMessages(messages, imagesOf(messages).length, false);
    const { maskPrompt } = this.options;
    return ids.some((id, i) => i > 0 && (maskPrompt ? isAnswer[i] : id !== this.#tokenizer.imageTokenId));
  }

  /**
   * A batch to generate from: each conversation without its last answer, ending where the model is to speak; no labels.
   * No sample is ever dropped, so that row b belongs to example b; `overlong: 'drop'` acts as `error`.
   */
  async collatePrompts(
    examples: readonly SftExample[],
    options: CollateOptions & { readonly paddingSide?: PaddingSide } = {},
  ): Promise<VlmBatch> {
    const samples = await this.#encodeAll(examples, true, options.signal);
    return padBatch(samples, this.#tokenizer.padTokenId, options.paddingSide ?? 'left');
  }

  /** One sample before padding, for plans and inspection. With `overlong: 'drop'` it may exceed `maxLength`. */
  async encode(example: SftExample, options: CollateOptions = {}): Promise<EncodedSample> {
    const [sample] = await this.#encodeAll([example], false, options.signal);
    return sample!;
  }

  async #encodeAll(
    examples: readonly SftExample[],
    prompt: boolean,
    signal: AbortSignal | undefined,
    skipped?: SkippedSample[],
  ): Promise<EncodedSample[]> {
    const encoded = await Promise.all(
      examples.map(async (example, i) => {
        const sampleId = example?.id ?? `${i} of the batch`;
        try {
          return await this.#encode(example, sampleId, prompt, signal);
        } catch (error) {
          if (signal?.aborted) throw error;
          if (skipped && error instanceof SkippablePicture) return { sampleId, reason: error.message };
          throw nameSample(error instanceof SkippablePicture ? error.cause : error, sampleId);
        }
      }),
    );
    return encoded.filter((sample) => {
      if ('inputIds' in sample) return true;
      skipped!.push(sample);
      return false;
    }) as EncodedSample[];
  }

  async #encode(
    example: SftExample,
    id: string,
    prompt: boolean,
    signal: AbortSignal | undefined,
  ): Promise<EncodedSample> {
    signal?.throwIfAborted();
    const whole = attachImages(example);
    const messages = prompt ? promptOf(whole) : whole;
    const inputs = imagesOf(messages);
    const conversation = this.#encodeMessages(messages, inputs.length, prompt);
    const images = await Promise.all(inputs.map((input) => this.#process(input, signal)));
    const blocks = images.map((image) => this.#imageTokens(image));
    const extra = blocks.reduce((sum, block) => sum + block.length - 1, 0);
    const fitting = this.#fit(conversation, extra, messages, inputs.length, prompt);
    const { inputIds, labels } = this.#expand(fitting, blocks);
    if (prompt) return { id, inputIds, images };
    // The first token is never predicted, so its label does not count.
    if (!labels.some((label, i) => i > 0 && label !== IGNORE_INDEX)) {
      throw new DataError('there is nothing to learn: every label is -100', {
        hint: 'a training sample needs an assistant message with text, and a template that renders it',
        details: { roles: messages.map((message) => message.role) },
      });
    }
    return { id, inputIds, labels, images };
  }

  #encodeMessages(messages: readonly Message[], imageCount: number, prompt: boolean): EncodedConversation {
    const conversation = this.#conversationOf(messages, prompt);
    const places = conversation.imagePositions.length;
    if (places !== imageCount) {
      throw new DataError(`${imageCount} pictures for ${places} image tokens in the rendered conversation`, {
        hint: 'the chat template must write one image token for each image part, and the tokenizer must know it',
        details: { pictures: imageCount, imageTokens: places },
      });
    }
    return conversation;
  }

  /** Encoding takes milliseconds of the thread that feeds the engine, looking up a few microseconds. */
  #conversationOf(messages: readonly Message[], prompt: boolean): EncodedConversation {
    const encode = () =>
      encodeConversation(this.#tokenizer, this.#chatTemplate, messages, { addGenerationPrompt: prompt });
    if (!this.#encoded) return encode();
    // What a template sees of a conversation. Pictures are not looked at: some have a costly toJSON.
    const seen = messages.map(({ role, content }) => [
      role,
      typeof content === 'string' ? content : content.map((part) => (part.type === 'text' ? [part.text] : 0)),
    ]);
    const key = `${prompt} ${JSON.stringify(seen)}`;
    const conversation = this.#encoded.get(key) ?? encode();
    this.#encoded.delete(key);
    if (key.length <= LONGEST_KEPT) this.#encoded.set(key, conversation);
    if (this.#encoded.size > KEPT_CONVERSATIONS) this.#encoded.delete(this.#encoded.keys().next().value!);
    return conversation;
  }

  async #process(input: ImageInput, signal: AbortSignal | undefined): Promise<ProcessedImage> {
    const image = await this.#images.process(input, signal && { signal }).catch((error: unknown) => {
      const isSkippable = error instanceof ImageError && typeof input === 'object' && 'onBadImage' in input;
      throw isSkippable && input.onBadImage === 'skip' ? new SkippablePicture(error) : error;
    });
    const { pixelValues, height, width } = image;
    const cell = this.#cellSize;
    if (pixelValues.length !== 3 * height * width || height % cell !== 0 || width % cell !== 0) {
      throw new ImageError(
        `the image processor gave ${pixelValues.length} values for ${height} x ${width} pixels; ` +
          `expected 3 for each pixel, and sides that are multiples of ${cell}`,
        { details: { height, width, cellSize: cell } },
      );
    }
    return image;
  }

  /** Rows of `[IMG]`, each closed by `[IMG_BREAK]`, the last by `[IMG_END]` (transformers `processing_pixtral.py`). */
  #imageTokens({ height, width }: ProcessedImage): number[] {
    const { imageTokenId, imageBreakTokenId, imageEndTokenId } = this.#tokenizer;
    if (imageTokenId === undefined || imageBreakTokenId === undefined || imageEndTokenId === undefined) {
      throw new DataError('the tokenizer has no image tokens', { hint: 'use the tokenizer of a vision model' });
    }
    const row = [...new Array<number>(width / this.#cellSize).fill(imageTokenId), imageBreakTokenId];
    const tokens = new Array<number[]>(height / this.#cellSize).fill(row).flat();
    tokens[tokens.length - 1] = imageEndTokenId;
    return tokens;
  }

  /** Applies `overlong`, except for `drop`, which the caller sees to. */
  #fit(
    conversation: EncodedConversation,
    extra: number,
    messages: readonly Message[],
    imageCount: number,
    prompt: boolean,
  ): EncodedConversation {
    const { maxLength, overlong } = this.options;
    const length = conversation.ids.length + extra;
    if (maxLength === undefined || length <= maxLength || (overlong === 'drop' && !prompt)) return conversation;
    const details = { length, maxLength, imageTokens: extra + imageCount };
    if (overlong !== 'truncateText') {
      throw new DataError(`${length} tokens, ${details.imageTokens} of them for pictures; maxLength is ${maxLength}`, {
        hint: 'raise maxLength, use smaller pictures, or set overlong to "drop" or "truncateText"',
        details,
      });
    }
    // The most user text that fits, by bisection: each try is a whole, properly encoded conversation.
    let best: EncodedConversation | undefined;
    let low = 0;
    let high = userTextLength(messages) - 1;
    while (low <= high) {
      const keep = best === undefined && low === 0 ? 0 : (low + high + 1) >> 1;
      const shorter = this.#encodeMessages(keepUserText(messages, keep), imageCount, prompt);
      if (shorter.ids.length + extra <= maxLength) {
        best = shorter;
        low = keep + 1;
      } else high = keep - 1;
    }
    if (best) return best;
    throw new DataError(`${length} tokens, and more than maxLength ${maxLength} even without any user text`, {
      hint: 'pictures, answers and the template itself are never cut: raise maxLength or use smaller pictures',
      details,
    });
  }

  /** Puts the blocks of image tokens in their places, and makes the labels. */
  #expand({ ids, isAnswer, imagePositions }: EncodedConversation, blocks: readonly number[][]) {
    const inputIds: number[] = [];
    const labels: number[] = [];
    const { imageTokenId } = this.#tokenizer;
    const { maskPrompt } = this.options;
    let next = 0;
    ids.forEach((id, i) => {
      const tokens = i === imagePositions[next] ? blocks[next++]! : [id];
      for (const token of tokens) {
        const learned = maskPrompt ? isAnswer[i] : token !== imageTokenId;
        inputIds.push(token);
        labels.push(learned ? token : IGNORE_INDEX);
      }
    });
    return { inputIds, labels };
  }

  #drops(sample: EncodedSample): boolean {
    const { maxLength } = this.options;
    const length = sample.inputIds.length;
    if (maxLength === undefined || length <= maxLength) return false;
    this.#onDropped?.({ sampleId: sample.id, length, maxLength });
    return true;
  }
}

/** A picture cannot be read, and its handle says that its sample may be left out. */
class SkippablePicture extends Error {
  override readonly cause: ImageError;
  constructor(cause: ImageError) {
    super(cause.message.split('\n')[0]!);
    this.cause = cause;
  }
}

function imagesOf(messages: readonly Message[]): ImageInput[] {
  return messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content.flatMap((part) => (part.type === 'image' ? part.image! : [])),
  );
}
