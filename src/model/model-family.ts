import type { Json } from './config-fields.js';
import type { TextConfig } from './model-config.js';

/**
 * Checkpoints of one `model_type`. All so far have the `mistral3` form: a Pixtral tower, a projector that merges patches
 * and a decoder. Everything else follows from the `ModelConfig` that is read with it.
 */
export interface ModelFamily {
  /** For people. */
  readonly name: string;
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** `model_type` of `text_config`. */
  readonly textModelType: string;
  /** A repository on the Hub. */
  readonly example: string;
  /** What the decoder has where config.json says nothing. */
  readonly textDefaults: TextDefaults;
}

/** A family's decoder where its `text_config` says nothing: as transformers' class for it. */
export interface TextDefaults extends Pick<TextConfig, 'vocabSize' | 'layers' | 'normEps' | 'maxPositions'> {
  /** Default: hidden size / heads. */
  readonly headDim?: number;
  /** `rope_parameters` of a file without any. */
  readonly rope: Json;
  /** Whether queries may be scaled with their position. */
  readonly hasQueryScaling: boolean;
  /** A window that is on unless the file has `"sliding_window": null`. */
  readonly slidingWindow?: number;
}
