/** From samples (messages and images) to batches: template, tokens, image tokens, labels, padding. */
import { createHash } from 'node:crypto';
import { checkNames, parseOptions, type WithDefaults } from '../config.js';
import { ConfigError, DataError, ImageError } from '../errors.js';
import { isPromise } from '../messages/given-kind.js';
import { requireCallback, requireKind, requireObject, requireOneObject, requireSignal } from '../require-given.js';
import { ChatTemplate, namedTemplate } from './chat-template.js';
import { COLLATE_OPTIONS, checkCall, requireNoneMasked } from './check-collate.js';
import {
  type CollateOptions,
  type CollatorSettings,
  type DroppedSample,
  type ImagePreprocessor,
  type VlmCollatorOptions,
  vlmCollatorOptionsSchema,
} from './collator-options.js';
import { imageName, imageSize } from './decode-image.js';
import { answerEndIds, answerFrame, type EncodedConversation, encodeConversation } from './encode-conversation.js';
import { type EncodedSample, type ImageExtents, type MeasuredSample, type PaddingSide, padBatch } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';
import { nameSample, nothingToLearn, SkippableImage } from './sample-error.js';
import { inspectConversation, type SampleInspection, spelledTokens } from './sample-inspection.js';
import { hasLabels, type PreparedSample, type SampleTrace, traceSample } from './sample-trace.js';
import { keepUserText, partsOf, promptOf, userText } from './sft-messages.js';
import type { MinistralTokenizer } from './tokenizer.js';
import { isPlainSample, PLAIN_TEMPLATE, rowOf, type TrainingRow, unlearned } from './training-rows.js';
import {
  IGNORE_INDEX,
  type ImageInput,
  type Message,
  type SkippedSample,
  type TrainingExample,
  type VlmBatch,
} from './types.js';

export type { CollateOptions, DroppedSample, ImagePreprocessor, VlmCollatorOptions } from './collator-options.js';

/** Conversations whose tokens are kept: classes and questions of a data set come again and again. */
const KEPT_CONVERSATIONS = 256;
/** Longer ones hardly come again. In characters of JSON. */
const LONGEST_KEPT = 65_536;

/**
 * Makes batches of samples, for training and for generation.
 * @example
 * ```ts
 * const collator = new VlmCollator({ tokenizer, imageProcessor, chatTemplate, maxLength: 2048 });
 * const batch = await collator.collate(examples);
 * console.log(batch.inputIds.shape, countLabels(batch)); // [B, T], and how many tokens are learned
 * ```
 */
export class VlmCollator {
  /** With the defaults filled in; without tokenizer, template, image processor and callback. */
  readonly options: WithDefaults<CollatorSettings, 'maxLength'>;
  /** The options that decide a batch, the image settings, and a digest of the template. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly #tokenizer: MinistralTokenizer;
  readonly #chatTemplate: ChatTemplate;
  readonly #plainTemplate: ChatTemplate;
  readonly #images: Pick<ImagePreprocessor, 'process'>;
  readonly #processor: ImagePreprocessor;
  readonly #cellSize: number;
  readonly #onDropped: ((sample: DroppedSample) => void) | undefined;
  /** By roles and texts, least recently used first. Undefined where the template may write the time. */
  readonly #encoded: Map<string, EncodedConversation> | undefined;

  /** @throws ConfigError listing every wrong option */
  constructor(options: VlmCollatorOptions) {
    // A promise would be one without parts; options of their own would be passed over.
    if (isPromise(options)) requireObject(options, 'VlmCollator');
    const { tokenizer, chatTemplate: given, imageProcessor, imagePool, onDropped, ...plain } = options ?? {};
    const missing = Object.entries({ tokenizer, chatTemplate: given, imageProcessor }).filter(([, part]) => !part);
    if (missing.length > 0) {
      throw new ConfigError(`VlmCollator: missing ${missing.map(([name]) => `\`${name}\``).join(', ')}`, {
        hint:
          missing.length > 1
            ? 'The processor of fromPretrained has all three: new VlmCollator(processor).'
            : 'A checkpoint without a chat template needs one: new VlmCollator({ ...processor, chatTemplate: "tutorial" }), ' +
              'or one of your own.',
      });
    }
    // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
    requireOneObject(arguments.length, 'VlmCollator', 'new VlmCollator({ ...processor, maxLength: 4096 })');
    requireKind('tokenizer', tokenizer, 'VlmCollator: `tokenizer`');
    const chatTemplate = namedTemplate(given!, tokenizer);
    requireKind('chatTemplate', chatTemplate, 'VlmCollator: `chatTemplate`');
    requireKind('imageProcessor', imageProcessor, 'VlmCollator: `imageProcessor`');
    // Whatever processes images will do.
    if (imagePool !== undefined && typeof imagePool?.process !== 'function') {
      requireKind('imagePool', imagePool, 'VlmCollator: `imagePool`');
    }
    requireCallback(onDropped, 'VlmCollator: `onDropped`', undefined, true);
    this.options = parseOptions(vlmCollatorOptionsSchema, plain, 'VlmCollator options');
    if (this.options.maskHistory && !this.options.maskPrompt) {
      throw new ConfigError(
        'VlmCollator options: `maskHistory` masks earlier answers, `maskPrompt: false` labels everything',
        {
          hint: 'leave `maskPrompt` at true to learn the last answer alone',
        },
      );
    }
    const template = createHash('sha256').update(chatTemplate.source).digest('hex').slice(0, 16);
    // What is off decides nothing: checkpoints from before it existed go on.
    const { maskHistory, parseSpecialTokens, ...others } = this.options;
    const set = { ...others, ...(maskHistory && { maskHistory }), ...(parseSpecialTokens && { parseSpecialTokens }) };
    // A pool computes with the settings of its own processor.
    const pool = (imagePool as { readonly processor?: ImagePreprocessor } | undefined)?.processor;
    this.settings = { ...set, chatTemplate: template, ...imageProcessor.settings, ...pool?.settings };
    this.#tokenizer = tokenizer;
    this.#chatTemplate = chatTemplate;
    this.#plainTemplate = new ChatTemplate(PLAIN_TEMPLATE, tokenizer);
    this.#images = imagePool ?? imageProcessor;
    this.#processor = pool ?? imageProcessor;
    this.#cellSize = imageProcessor.patchSize * imageProcessor.spatialMergeSize;
    this.#onDropped = onDropped;
    this.#encoded = chatTemplate.source.includes('strftime_now') ? undefined : new Map();
  }

  /** As it was given: what conversations are formatted with. */
  get chatTemplate(): ChatTemplate {
    return this.#chatTemplate;
  }

  /** What images are resized and normalised with: that of the pool, where there is one. */
  get imageProcessor(): ImagePreprocessor {
    return this.#processor;
  }

  /** What texts are turned into tokens with. */
  get tokenizer(): MinistralTokenizer {
    return this.#tokenizer;
  }

  /** `digest` of the tokenizer. */
  get tokenizerDigest(): string | undefined {
    return this.#tokenizer.digest;
  }

  /**
   * A training batch: [B, T] ids, mask and labels; [N, 3, H, W] images in the order of their image tokens. With
   * `overlong: 'drop'`, or an image of `onBadImage: 'skip'` that cannot be read (see `skipped` of the batch), B may be
   * smaller than the number of examples, down to 0.
   * @throws DataError, TextError or ImageError naming the sample: too long, nothing to learn, images that do not match
   */
  async collate(examples: readonly TrainingExample[], options: CollateOptions = {}): Promise<VlmBatch> {
    checkCall(examples, options, 'collate');
    const skipped: SkippedSample[] = [];
    const samples = await this.#encodeAll(examples, false, options.signal, skipped);
    const kept = samples.filter((sample) => !this.#drops(sample));
    return padBatch(kept, this.#tokenizer.padTokenId, this.options.paddingSide, skipped);
  }

  /**
   * Whether anything of a sample would be labelled, told from its text alone: no image is read.
   * @throws DataError or TextError if it cannot be encoded
   */
  hasLabels(example: TrainingExample): boolean {
    const { messages, row } = this.#messagesOf(example, false);
    const { ids, isAnswer } = this.#encodeMessages(messages, row, false);
    const { maskPrompt } = this.options;
    // Of an image the token that ends it is learned where everything is.
    return ids.some((_, i) => i > 0 && (!maskPrompt || isAnswer[i]));
  }

  /**
   * What a run should know of a sample beforehand, from its text alone: no image is read.
   * @throws DataError or TextError if it cannot be encoded
   */
  inspect(example: TrainingExample): SampleInspection {
    const { messages, row } = this.#messagesOf(example, false);
    const encoded = this.#encodeMessages(messages, row, false);
    const template = this.#templateOf(row);
    const isParsed = row.isPlain && this.options.parseSpecialTokens;
    const { maxLength, overlong } = this.options;
    const { length } = encoded.ids;
    const isTooLong = maxLength !== undefined && length > maxLength && overlong !== 'truncateText';
    return {
      ...(isTooLong && { tooLong: { length, maxLength, isDropped: overlong === 'drop' } }),
      ...inspectConversation(this.#tokenizer, template, encoded, this.options.maskPrompt),
      spelledTokens: isParsed ? {} : spelledTokens(this.#tokenizer, messages, row.tools),
    };
  }

  /**
   * A batch to generate from: each conversation without its last answer, ending where the model is to speak; no labels.
   * A last message with `prefix: true` stays and is continued; of `prompt` and `completion` the prompt is taken. Its
   * `stopTokenIds` end an answer in generation, besides those of the model.
   * No sample is ever dropped, so that row b belongs to example b; `overlong: 'drop'` acts as `error`.
   */
  async collatePrompts(
    examples: readonly TrainingExample[],
    options: CollateOptions & { readonly paddingSide?: PaddingSide } = {},
  ): Promise<VlmBatch> {
    checkCall(examples, options, 'collatePrompts');
    const samples = await this.#encodeAll(examples, true, options.signal);
    const batch = padBatch(samples, this.#tokenizer.padTokenId, options.paddingSide ?? 'left');
    const templates = examples.map((example) => (isPlainSample(example) ? this.#plainTemplate : this.#chatTemplate));
    const ends = [...new Set(templates)].flatMap((template) => answerEndIds(this.#tokenizer, template));
    const answerFrames = templates.map((template, i) => {
      const frame = answerFrame(this.#tokenizer, template);
      // What stands before an answer stands before one that is continued already.
      return frame.before !== '' && isBegun(examples[i]!) ? { ...frame, before: '' } : frame;
    });
    // Not a copy: a batch makes its pixels when they are first read.
    return Object.assign(batch, { stopTokenIds: [...new Set(ends)], answerFrames });
  }

  /**
   * One sample before padding with what becomes of it, for `maskView`: what training would leave out or stop at is said
   * instead of thrown.
   */
  async trace(example: TrainingExample, options: CollateOptions = {}): Promise<SampleTrace> {
    const prepare = () =>
      this.#prepare(example, false, options.signal, (input) => this.#process(input, options.signal));
    const expand = (conversation: EncodedConversation, { blocks }: PreparedSample) =>
      this.#expand(conversation, blocks);
    const shorten = (prepared: PreparedSample) => this.#fit(prepared, false);
    return traceSample({ prepare, expand, shorten }, example, this.options.maxLength, options.signal);
  }

  /**
   * One sample as `encode` makes it, with the sizes of its images instead of their pixels: of an encoded image only the
   * header is read, so damage behind it is not seen. A sample that `collate` would leave out for a bad image is named.
   * @throws as `encode`
   */
  async measure(example: TrainingExample, options: CollateOptions = {}): Promise<MeasuredSample | SkippedSample> {
    checkNames(options, { signal: false }, 'collator.measure');
    const { signal } = options;
    requireSignal(signal, 'collator.measure');
    const sampleId = example?.id ?? '0 of the batch';
    const sizeOf = async (input: ImageInput): Promise<MeasuredSample['images'][number]> => {
      const { resizedSize } = this.#processor;
      // A processor of the caller's own may not say beforehand what becomes of a size.
      if (!resizedSize) return { ...extentsOf(await this.#process(input, signal)), input };
      const { width, height } = await imageSize(input).catch((error: unknown) => {
        throw skippable(input, error);
      });
      signal?.throwIfAborted();
      return { ...extentsOf(this.#processor.resizedSize!(width, height, imageName(input))), input };
    };
    try {
      return await this.#encode(example, sampleId, false, signal, sizeOf);
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error instanceof SkippableImage) return { sampleId, reason: error.message };
      throw nameSample(error, sampleId);
    }
  }

  /** One sample before padding, for plans and inspection. With `overlong: 'drop'` it may exceed `maxLength`. */
  async encode(example: TrainingExample, options: CollateOptions = {}): Promise<EncodedSample> {
    checkNames(options, COLLATE_OPTIONS, 'collator.encode');
    const [sample] = await this.#encodeAll([example], false, options.signal);
    return sample!;
  }

  async #encodeAll(
    examples: readonly TrainingExample[],
    prompt: boolean,
    signal: AbortSignal | undefined,
    skipped?: SkippedSample[],
  ): Promise<EncodedSample[]> {
    const encoded = await Promise.all(
      examples.map(async (example, i) => {
        const sampleId = example?.id ?? `${i} of the batch`;
        try {
          return await this.#encode(example, sampleId, prompt, signal, (input) => this.#process(input, signal));
        } catch (error) {
          if (signal?.aborted) throw error;
          if (skipped && error instanceof SkippableImage) return { sampleId, reason: error.message };
          throw nameSample(error instanceof SkippableImage ? error.cause : error, sampleId);
        }
      }),
    );
    return encoded.filter((sample) => {
      if ('inputIds' in sample) return true;
      skipped!.push(sample);
      return false;
    }) as EncodedSample[];
  }

  /** @param read makes of an image what its tokens are counted by, and what the sample gets */
  async #encode<I extends ImageExtents>(
    example: TrainingExample,
    id: string,
    prompt: boolean,
    signal: AbortSignal | undefined,
    read: (input: ImageInput) => Promise<I>,
  ): Promise<Omit<EncodedSample, 'images'> & { readonly images: readonly I[] }> {
    const prepared = await this.#prepare(example, prompt, signal, read);
    const { images } = prepared;
    const { inputIds, labels } = this.#expand(this.#fit(prepared, prompt).conversation, prepared.blocks);
    if (prompt) return { id, inputIds, images };
    if (!hasLabels(labels)) throw nothingToLearn(prepared.messages);
    return { id, inputIds, labels, images };
  }

  async #prepare<I extends ImageExtents>(
    example: TrainingExample,
    prompt: boolean,
    signal: AbortSignal | undefined,
    read: (input: ImageInput) => Promise<I>,
  ): Promise<PreparedSample<I>> {
    signal?.throwIfAborted();
    const { messages, row } = this.#messagesOf(example, prompt);
    const inputs = imagesOf(messages);
    const conversation = this.#encodeMessages(messages, row, prompt);
    const images = await Promise.all(inputs.map(read));
    return { messages, row, conversation, images, blocks: images.map((image) => this.#imageTokens(image)) };
  }

  /** The messages that are to be encoded, with what of the options decides which are learned. */
  #messagesOf(example: TrainingExample, prompt: boolean): { messages: Message[]; row: TrainingRow } {
    const row = rowOf(example, this.#tokenizer, prompt);
    if (prompt) return { messages: promptOf(row.messages), row };
    const continued = row.messages.findIndex((message) => message.prefix === true);
    if (continued >= 0) {
      throw new DataError(`message ${continued} has \`prefix: true\`: the rest of its answer is missing`, {
        hint: 'to learn it as a whole answer take `prefix` off; to continue it give the sample to collatePrompts',
        details: { index: continued },
      });
    }
    if (!this.options.maskPrompt) requireNoneMasked(example);
    if (!this.options.maskHistory) return { messages: row.messages, row };
    const last = row.messages.findLastIndex((message) => message.role === 'assistant');
    const isEarlier = ({ role }: Message, i: number) => role === 'assistant' && i < last;
    return { messages: row.messages.map((turn, i) => (isEarlier(turn, i) ? unlearned(turn) : turn)), row };
  }

  #templateOf(row: TrainingRow): ChatTemplate {
    return row.isPlain ? this.#plainTemplate : this.#chatTemplate;
  }

  #encodeMessages(messages: readonly Message[], row: TrainingRow, prompt: boolean): EncodedConversation {
    const conversation = this.#conversationOf(messages, row, prompt);
    const places = conversation.imagePositions.length;
    const imageCount = imagesOf(messages).length;
    if (places !== imageCount) {
      throw new DataError(`${imageCount} images for ${places} image tokens in the rendered conversation`, {
        hint: 'the chat template must write one image token for each image part, and the tokenizer must know it',
        details: { images: imageCount, imageTokens: places },
      });
    }
    return conversation;
  }

  /** Encoding takes milliseconds of the thread that feeds the engine, looking up a few microseconds. */
  #conversationOf(messages: readonly Message[], row: TrainingRow, prompt: boolean): EncodedConversation {
    const { tools, isPlain } = row;
    const begun = prompt && messages.at(-1)?.prefix === true ? messages.at(-1) : undefined;
    // An answer that is begun with nothing begins as any other.
    const isContinued = begun !== undefined && begun.content.length > 0;
    const asked = begun && !isContinued ? messages.slice(0, -1) : messages;
    const encode = () =>
      encodeConversation(this.#tokenizer, this.#templateOf(row), asked, {
        addGenerationPrompt: prompt && !isContinued,
        continueFinalMessage: isContinued,
        parseSpecialTokens: isPlain && this.options.parseSpecialTokens,
        ...(tools && { tools }),
      });
    if (!this.#encoded) return encode();
    const seen = asked.map(seenOf);
    const key = `${prompt} ${isPlain} ${isContinued} ${JSON.stringify(tools ? [seen, tools] : seen)}`;
    const conversation = this.#encoded.get(key) ?? encode();
    this.#encoded.delete(key);
    if (key.length <= LONGEST_KEPT) this.#encoded.set(key, conversation);
    if (this.#encoded.size > KEPT_CONVERSATIONS) this.#encoded.delete(this.#encoded.keys().next().value!);
    return conversation;
  }

  async #process(input: ImageInput, signal: AbortSignal | undefined): Promise<ProcessedImage> {
    const image = await this.#images.process(input, signal && { signal }).catch((error: unknown) => {
      throw skippable(input, error);
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
  #imageTokens({ height, width }: ImageExtents): number[] {
    const { imageTokenId, imageBreakTokenId, imageEndTokenId } = this.#tokenizer;
    if (imageTokenId === undefined || imageBreakTokenId === undefined || imageEndTokenId === undefined) {
      throw new DataError('the tokenizer has no image tokens', { hint: 'use the tokenizer of a vision model' });
    }
    const row = [...new Array<number>(width / this.#cellSize).fill(imageTokenId), imageBreakTokenId];
    const tokens = new Array<number[]>(height / this.#cellSize).fill(row).flat();
    tokens[tokens.length - 1] = imageEndTokenId;
    return tokens;
  }

  /** Applies `overlong`, except for `drop`, which the caller sees to. `keptText` is what is left of user text that was cut. */
  #fit(
    { conversation, messages, row, blocks }: PreparedSample<unknown>,
    prompt: boolean,
  ): { readonly conversation: EncodedConversation; readonly keptText?: string } {
    const { maxLength, overlong } = this.options;
    const extra = blocks.reduce((sum, block) => sum + block.length - 1, 0);
    const length = conversation.ids.length + extra;
    if (maxLength === undefined || length <= maxLength || (overlong === 'drop' && !prompt)) return { conversation };
    const details = { length, maxLength, imageTokens: extra + blocks.length };
    if (overlong !== 'truncateText') {
      throw new DataError(`${length} tokens, ${details.imageTokens} of them for images; maxLength is ${maxLength}`, {
        hint:
          'raise maxLength, use smaller images, or set overlong to "drop" or "truncateText"; a run that this stopped can ' +
          'be resumed with any of them',
        details,
      });
    }
    // The most user text that fits, by bisection: each try is a whole, properly encoded conversation.
    let best: { readonly conversation: EncodedConversation; readonly keptText: string } | undefined;
    let low = 0;
    let high = userText(messages).length - 1;
    while (low <= high) {
      const keep = best === undefined && low === 0 ? 0 : (low + high + 1) >> 1;
      const kept = keepUserText(messages, keep);
      const shorter = this.#encodeMessages(kept, row, prompt);
      if (shorter.ids.length + extra <= maxLength) {
        best = { conversation: shorter, keptText: userText(kept) };
        low = keep + 1;
      } else high = keep - 1;
    }
    if (best) return best;
    throw new DataError(`${length} tokens, and more than maxLength ${maxLength} even without any user text`, {
      hint: 'images, answers and the template itself are never cut: raise maxLength, use smaller images, or set overlong to "drop"',
      details,
    });
  }

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

function skippable(input: ImageInput, error: unknown): unknown {
  const isSkippable = error instanceof ImageError && typeof input === 'object' && 'onBadImage' in input;
  return isSkippable && input.onBadImage === 'skip' ? new SkippableImage(error) : error;
}

function extentsOf({ height, width }: ImageExtents): ImageExtents {
  return { height, width };
}

/** Whether the last message is an answer that is to be continued. */
function isBegun(example: TrainingExample): boolean {
  const { messages, prompt } = example as { readonly messages?: unknown; readonly prompt?: unknown };
  const last = ([messages, prompt].find(Array.isArray) as readonly Message[] | undefined)?.at(-1);
  return last?.prefix === true && last.content.length > 0;
}

/** What a template sees of a message, and what is learned of it. Images are left out: some have a costly toJSON. */
function seenOf(message: Message): unknown {
  const { role, content, tool_calls, tool_call_id, name, weight, train } = message;
  const seen =
    typeof content === 'string'
      ? content
      : content.map((part) => {
          if (part.type === 'text') return [part.text];
          return part.type === 'image' ? 0 : { thinking: part.thinking, closed: part.closed };
        });
  const isMasked = weight === 0 || train === false;
  if (!tool_calls && tool_call_id === undefined && name === undefined && !isMasked) return [role, seen];
  return [role, seen, { tool_calls, tool_call_id, name, isMasked }];
}

function imagesOf(messages: readonly Message[]): ImageInput[] {
  return messages.flatMap(({ content }) =>
    partsOf(content).flatMap((part) => (part.type === 'image' ? part.image! : [])),
  );
}
