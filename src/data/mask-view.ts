/** What of a sample is learned, token by token, with the cells of its images in place: as plain data. */
import type { PaddingSide } from './pad-batch.js';
import type { SampleInspection } from './sample-inspection.js';

/** A batch of samples, as training sees them. Plain data: it survives JSON. */
export interface MaskView {
  /** In the order in which they were given, those that are not in the batch included. */
  readonly samples: readonly MaskedSample[];
  /** Tokens of a row of the batch, padding included. */
  readonly length: number;
  /** On which side of a shorter sample the padding is. */
  readonly paddingSide: PaddingSide;
  /** The collator's option, in tokens; absent without a limit. */
  readonly maxLength?: number;
}

/** One sample of a `MaskView`. */
export interface MaskedSample {
  /** As in `SkippedSample`. */
  readonly id: string;
  /**
   * What becomes of it: `learned`; `empty`, nothing of it has a label; `dropped`, longer than `maxLength` and left out;
   * `skipped`, an image of it cannot be read and it is left out; `failed`, it stops the run.
   */
  readonly status: 'learned' | 'empty' | 'dropped' | 'skipped' | 'failed';
  /** Why it is not learned; absent of a learned one. */
  readonly reason?: string;
  /** The row of the batch, its padding included; empty if the sample cannot be encoded. */
  readonly tokens: readonly MaskToken[];
  /** In the order of their tokens. */
  readonly images: readonly MaskImage[];
  /** Tokens without padding. */
  readonly length: number;
  /** Tokens that are learned. */
  readonly labels: number;
  /** Tokens at its beginning that it shares with an earlier sample: `sharePrefix` computes them once in a pass. */
  readonly sharedPrefix: number;
  /** What `overlong: 'truncateText'` cut off; absent if nothing. */
  readonly truncated?: {
    /** Tokens before. */
    readonly length: number;
    /** The user text that is missing. */
    readonly text: string;
  };
  /** What `VlmCollator.inspect` finds; absent if the sample cannot be encoded. */
  readonly inspection?: SampleInspection;
}

/** One token of a `MaskedSample`. */
export interface MaskToken {
  /** Its index in the row of the batch. */
  readonly position: number;
  /** As in `inputIds`. */
  readonly id: number;
  /**
   * What it stands for, on one line: a space is `·`, a line end `↵`, a tab `⇥`; characters that nobody sees are written
   * as `\u200b`, bytes that are only a part of a character as `\xe6`.
   */
  readonly text: string;
  /** `control` is a control token other than those of images; `break` and `end` close a row of cells. */
  readonly kind: 'text' | 'control' | 'cell' | 'break' | 'end' | 'padding';
  /** As in `labels`: its id, or -100. */
  readonly label: number;
  /** Whether it is in the loss: it has a label and is not the first of its sample, which nothing predicts. */
  readonly isLearned: boolean;
  /** Whether an earlier sample has it in a prefix that both share. */
  readonly isShared: boolean;
  /** The characters that its bytes are a part of; absent if it has no part of one. */
  readonly partOf?: string;
  /** Of the tokens of an image. */
  readonly cell?: {
    /** Index in the sample's `images`. */
    readonly image: number;
    /** From the top, beginning with 0. */
    readonly row: number;
    /** From the left, beginning with 0; of `break` and `end` the number of cells of the row. */
    readonly column: number;
  };
}

/** An image of a `MaskedSample`, as the processor gives it. */
export interface MaskImage {
  /** Pixels after resizing. */
  readonly width: number;
  /** Pixels after resizing. */
  readonly height: number;
  /** Cells from top to bottom. */
  readonly rows: number;
  /** Cells from left to right. */
  readonly columns: number;
  /** Side of a cell in pixels. */
  readonly cellSize: number;
  /** Position of its first token in the row of the batch. */
  readonly position: number;
  /** [rows, columns] mean brightness of the cells, 0 (black) to 255. */
  readonly brightness: readonly number[];
  /** The resized image as a data URI, made smaller to `imageEdge` pixels; absent if that is 0. */
  readonly uri?: string;
}

/** Options of `maskView`. */
export interface MaskViewOptions {
  /** Longest edge in pixels of the images in the view; 0 leaves them out. Default 768. */
  readonly imageEdge?: number;
  /** Stops waiting for images. */
  readonly signal?: AbortSignal;
}
