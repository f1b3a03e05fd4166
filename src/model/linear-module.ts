/** A frozen linear layer of the model, and the low-rank addition that may sit on it. */
import type { Parameter, Weight } from '../engine/tensor.js';

export interface LoraWeights {
  /** [R, in] */
  readonly a: Parameter;
  /** [out, R] */
  readonly b: Parameter;
  /** alpha / r, or alpha / √r with rsLoRA. */
  readonly scale: number;
  /** Dropout probability on A's input in training. */
  readonly dropout: number;
}

export interface LinearModule {
  /** Name in transformers' memory, e.g. `model.language_model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  /** Position among all linear modules of the model; makes dropout masks of modules independent. */
  readonly index: number;
  /** [out, in] */
  readonly weight: Weight;
  readonly bias: Weight | undefined;
  lora: LoraWeights | undefined;
}
