/**
 * What flows between the parts of the data side. Host memory only: bytes and typed arrays, no tensors.
 */

/** A decoded image: 8-bit RGB, row-major, three bytes a pixel, no padding between rows. */
export interface RgbImage {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/** An image that is decoded only when it is asked for. */
export interface LazyImage {
  /** Where it comes from, for messages. */
  readonly path: string;
  /** What becomes of a training sample whose image cannot be read when it is needed. Default 'error'. */
  readonly onBadImage?: 'error' | 'skip' | undefined;
  /** Called each time the pixels are needed. Rejects with an ImageError: `onBadImage` skips nothing else. */
  decode(): Promise<RgbImage>;
}

/** Anything that stands for an image: a file path, encoded bytes, decoded pixels, or a lazy handle. */
export type ImageInput = string | Uint8Array | RgbImage | LazyImage;

/** A stretch of text in a message. */
export interface TextPart {
  /** Tells it from an `ImagePart`. */
  readonly type: 'text';
  /** Plain text: names of control tokens in it stay ordinary characters. */
  readonly text: string;
}

/** `image` may be left out when the images are given beside the messages, in order. */
export interface ImagePart {
  /** Tells it from a `TextPart`. */
  readonly type: 'image';
  /** Default: the next of the sample's `images`. */
  readonly image?: ImageInput;
}

/** What a reasoning model thinks before it answers, in an assistant or system message. */
export interface ThinkingPart {
  /** Distinguishes it from the other parts. */
  readonly type: 'thinking';
  /** Plain text, as in a `TextPart`. */
  readonly thinking: string;
  /** False where the thought is to go on. Default true. */
  readonly closed?: boolean;
}

/** A piece of a message's content, told apart by `type`. */
export type ContentPart = TextPart | ImagePart | ThinkingPart;

/** A call of a tool by the assistant, as OpenAI, Mistral and transformers write it. */
export interface ToolCall {
  /** Ties the call to its result; Mistral's are nine letters or digits. */
  readonly id?: string;
  /** The only kind that there is. */
  readonly type?: 'function';
  /** What is called. */
  readonly function: {
    /** One of the sample's `tools`. */
    readonly name: string;
    /** JSON text, or the object itself. */
    readonly arguments: string | Readonly<Record<string, unknown>>;
  };
}

/** A tool that the model may call, as OpenAI, Mistral and transformers describe it. */
export interface Tool {
  /** The only kind that there is. */
  readonly type: 'function';
  /** What it is called and takes. */
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** JSON Schema of the arguments. */
    readonly parameters?: Readonly<Record<string, unknown>>;
    /** Handed to the template as it is. */
    readonly strict?: boolean;
  };
}

/** One turn of a conversation. Keys are those of the JSON that people have, so they are in snake_case. */
export interface Message {
  /** Which of them may follow which is up to the chat template. Answers are the assistant's. */
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  /** Text, or texts and images in their order. May be empty beside `tool_calls`. */
  readonly content: string | readonly ContentPart[];
  /** Of an assistant's message: the tools that it calls. They are learned as text is. */
  readonly tool_calls?: readonly ToolCall[];
  /** Of a tool's message: the call that it answers. */
  readonly tool_call_id?: string;
  /** Of a tool's message: the tool's name. */
  readonly name?: string;
  /** Of an assistant's message: 0 if it is not to be learned, as OpenAI and Mistral have it. Default 1; others may say 0. */
  readonly weight?: 0 | 1;
  /** The same as a boolean. Default true; others may say false. */
  readonly train?: boolean;
  /** Of the last message, in generation: the answer begins with it and is continued. Default false. */
  readonly prefix?: boolean;
}

/** A conversation to learn from: the usual form of a training sample, as TRL has it. */
export interface SftExample {
  /** At least one. To train with `maskPrompt`, one must be an assistant's. */
  readonly messages: readonly Message[];
  /** Images for the image parts that hold none, in order of appearance. */
  readonly images?: readonly ImageInput[];
  /** Tools that the assistant may call, for the chat template. */
  readonly tools?: readonly Tool[];
  /** A name for messages: a file path, an index. */
  readonly id?: string;
}

/**
 * A question and its answer. As strings they do not pass through the chat template: BOS, `prompt`, `completion`, EOS;
 * only the completion and EOS are learned. As lists of messages they are one conversation, of which the completion is
 * learned.
 */
export interface PromptCompletionExample {
  /** Names of control tokens in it stay text, unless the collator's `parseSpecialTokens` is set. */
  readonly prompt: string | readonly Message[];
  /** Of the same kind as `prompt`. EOS is added unless it ends with it. */
  readonly completion: string | readonly Message[];
  /** Only beside messages: a string has no place for them. */
  readonly images?: readonly ImageInput[];
  /** Tools that the assistant may call; only beside messages. */
  readonly tools?: readonly Tool[];
  /** A name for messages: a file path, an index. */
  readonly id?: string;
}

/** A plain text, all of which is learned: BOS, `text`, EOS. It does not pass through the chat template. */
export interface TextExample {
  /** As in a `PromptCompletionExample`. */
  readonly text: string;
  /** A name for messages: a file path, an index. */
  readonly id?: string;
}

/** One training sample, in any of the forms that TRL uses. */
export type TrainingExample = SftExample | PromptCompletionExample | TextExample;

/** A sample that was left out because an image of it cannot be read. */
export interface SkippedSample {
  /** The sample's `id`; where it has none its index, from a `DataLoader`, else `<i> of the batch`. */
  readonly sampleId: string;
  /** First line of the ImageError. */
  readonly reason: string;
}

/** A dense array with its shape, outermost dimension first. */
export interface NdArray<T extends Float32Array | Int32Array | Uint8Array> {
  /** Row-major, without gaps. */
  readonly data: T;
  /** Its product is the length of `data`. */
  readonly shape: readonly number[];
}

/**
 * A collated batch, in the form that transformers users know. B samples, T tokens (padded), N images.
 */
export interface VlmBatch {
  /** [B, T] */
  readonly inputIds: NdArray<Int32Array>;
  /** [B, T], 1 on real tokens, 0 on padding. */
  readonly attentionMask: NdArray<Int32Array>;
  /** [B, T], -100 where nothing is learned. Absent at inference. */
  readonly labels?: NdArray<Int32Array>;
  /** [N, 3, Hmax, Wmax], normalised, zero-padded at the right and the bottom. Absent without images. */
  readonly pixelValues?: NdArray<Float32Array>;
  /** Height and width of each image before padding [N, 2], multiples of patch size × merge size. */
  readonly imageSizes?: NdArray<Int32Array>;
  /** Names of the samples, for messages. */
  readonly sampleIds?: readonly string[];
  /** Ids of the tokens that close an answer in the chat template: of a batch of prompts, generation stops at them too. */
  readonly stopTokenIds?: readonly number[];
  /** Of a batch of prompts: how the chat template frames the answer of each sample [B]. */
  readonly answerFrames?: readonly AnswerFrame[];
  /** Samples that are missing from the batch because an image cannot be read, by `onBadImage: 'skip'`. */
  readonly skipped?: readonly SkippedSample[];
}

/** What a model has to write around the text of an answer, as the chat template has it. */
export interface AnswerFrame {
  /** White space between the end of the prompt and the text; empty in most templates. */
  readonly before: string;
  /** Between the text and the token that closes the answer; empty in most templates. */
  readonly after: string;
  /** Id of the token that closes the answer; undefined if the template writes none. */
  readonly end?: number;
}

/** The label that the loss ignores. */
export const IGNORE_INDEX = -100;

/** A random-access, iterable collection whose items are made when they are asked for. */
export interface Dataset<T> extends AsyncIterable<T> {
  /** Number of items. */
  readonly length: number;
  /** The item at an index from 0 to `length - 1`. Called for further items while earlier calls are under way. */
  get(index: number): Promise<T>;
}
