import type { TextDefaults } from './text-config.js';

/**
 * Checkpoints of one `model_type`. All have the `mistral3` form: a Pixtral tower, a projector that merges patches and a
 * decoder, of which the family brings what is its own. What is computed, its names and its costs follow from the
 * `ModelConfig` that is read by it.
 */
export interface ModelFamily {
  /** For people. */
  readonly name: string;
  /** `model_type` of `text_config`. */
  readonly textModelType: string;
  /** A repository on the Hub. */
  readonly example: string;
  /** What the decoder has where config.json says nothing. */
  readonly textDefaults: TextDefaults;
}
