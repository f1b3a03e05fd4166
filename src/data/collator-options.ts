/** Options of a collator, and what it works with. */
import { z } from 'zod';
import type { ChatTemplate, ChatTemplateName } from './chat-template.js';
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
  /** True: of several answers in a conversation only the last is learned, as `mask_history` of LLaMA-Factory. Default false. */
  maskHistory: z.boolean().default(false),
  /**
   * True: in samples of plain strings (`prompt` and `completion`, or `text`) names of control tokens are control tokens,
   * as in TRL: for rows that were rendered before. Default false: they are ordinary characters. Messages are not affected.
   */
  parseSpecialTokens: z.boolean().default(false),
});

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
  /** Of the model's checkpoint: the `processor` of `fromPretrained` has this and the next two. */
  readonly tokenizer: MinistralTokenizer;
  /**
   * What conversations are written with: a template, or `tutorial` for a short one. A processor's own is undefined for Base
   * checkpoints, which have none: that is an error here.
   */
  readonly chatTemplate: ChatTemplate | ChatTemplateName | undefined;
  /** Says the sizes of patches; makes the pixels, unless `imagePool` does. */
  readonly imageProcessor: ImagePreprocessor;
  /** Processes the images in place of `imageProcessor.process`, e.g. an `ImagePool` with its worker threads. */
  readonly imagePool?: Pick<ImagePreprocessor, 'process'>;
  /** Called for each sample that `overlong: 'drop'` leaves out. */
  readonly onDropped?: (sample: DroppedSample) => void;
}

/** Options of the methods of `VlmCollator` that make batches. */
export interface CollateOptions {
  /** Stops waiting for images; the call then fails with the signal's reason. */
  readonly signal?: AbortSignal;
}
