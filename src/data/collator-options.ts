/** Options of a collator, and what it works with. */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch } from '../config.js';
import type { ChatTemplate, ChatTemplateName } from './chat-template.js';
import type { PaddingSide } from './pad-batch.js';
import type { ProcessedImage } from './process-pixels.js';
import type { MinistralTokenizer } from './tokenizer.js';
import type { ImageInput } from './types.js';

/** What the collator needs of an image processor; `ImageProcessor` is one. */
export interface ImagePreprocessor {
  /** The normalised pixels, both sides multiples of `patchSize` × `spatialMergeSize`: others are refused. */
  process(input: ImageInput, options?: { readonly signal?: AbortSignal }): Promise<ProcessedImage>;
  /** Size in pixels that it gives an image of this size; asked by `measure`, which else has each image processed. */
  resizedSize?(width: number, height: number, name?: string): Pick<ProcessedImage, 'height' | 'width'>;
  /** Side of a patch in pixels. */
  readonly patchSize: number;
  /** Patches along each side of an image token. */
  readonly spatialMergeSize: number;
  /** What decides the pixels, as JSON: a resumed training refuses other values. */
  readonly settings?: object | undefined;
}
/** Options of a collator that are values. */
export interface CollatorSettings {
  /** Most tokens a sample may have, image tokens included. Default: no limit. */
  maxLength?: number | undefined;
  /**
   * What becomes of a longer sample. `error`: it is named and collating stops. `drop`: it is left out of the batch and
   * reported to `onDropped`. `truncateText`: its user text is cut, from the end of the last user text backwards, until it
   * fits; image tokens, system text, answers and the template's own tokens are never cut. Default: `error`.
   */
  overlong?: 'error' | 'drop' | 'truncateText' | undefined;
  /** Where padding goes in training batches. Prompts are padded at the left unless asked otherwise. Default: `right`. */
  paddingSide?: PaddingSide | undefined;
  /**
   * True: only answers, with the EOS that closes each, are labelled. False: everything is labelled but padding and `[IMG]`
   * tokens (`[IMG_BREAK]` and `[IMG_END]` are), as common tutorial collators do. Default: true.
   */
  maskPrompt?: boolean | undefined;
  /**
   * True: of several answers in a conversation only the last is learned, as `mask_history` of LLaMA-Factory. Default: false.
   */
  maskHistory?: boolean | undefined;
  /**
   * True: in samples of plain strings (`prompt` and `completion`, or `text`) names of control tokens are control tokens,
   * as in TRL: for rows that were rendered before. False: they are ordinary characters. Messages are not affected.
   * Default: false.
   */
  parseSpecialTokens?: boolean | undefined;
}

/** Checks {@link CollatorSettings}. */
export const vlmCollatorOptionsSchema = lazySchema(() =>
  z.strictObject({
    maxLength: z.int().positive().optional(),
    overlong: z.enum(['error', 'drop', 'truncateText']).default('error'),
    paddingSide: z.enum(['right', 'left']).default('right'),
    maskPrompt: z.boolean().default(true),
    maskHistory: z.boolean().default(false),
    parseSpecialTokens: z.boolean().default(false),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof vlmCollatorOptionsSchema>>, CollatorSettings>>;

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
export interface VlmCollatorOptions extends CollatorSettings {
  /** Of the model's checkpoint: the `processor` of `fromPretrained` has this and the next two. Required. */
  readonly tokenizer: MinistralTokenizer;
  /**
   * What conversations are written with: a template, or `tutorial` for a short one. A processor's own is undefined for Base
   * checkpoints, which have none: that is an error here. Required.
   */
  readonly chatTemplate: ChatTemplate | ChatTemplateName | undefined;
  /** Says the sizes of patches; makes the pixels, unless `imagePool` does. Required. */
  readonly imageProcessor: ImagePreprocessor;
  /** Processes the images in place of `imageProcessor.process`, e.g. an `ImagePool` with its threads. Default: none. */
  readonly imagePool?: Pick<ImagePreprocessor, 'process'>;
  /** Called for each sample that `overlong: 'drop'` leaves out. Default: none. */
  readonly onDropped?: (sample: DroppedSample) => void;
}

/** Options of the methods of `VlmCollator` that make batches. */
export interface CollateOptions {
  /** Stops waiting for images; the call then fails with the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}
