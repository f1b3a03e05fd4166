/** A frozen linear layer of the model, and the low-rank addition that may sit on it. */
import type { Parameter, Weight } from '../engine/tensor.js';

/** The addition scale · B·A·x to a linear layer. */
export interface LoraWeights {
  /** [R, in] */
  readonly a: Parameter;
  /** [out, R] */
  readonly b: Parameter;
  /** alpha / r, or alpha / √r with rsLoRA. */
  readonly scale: number;
  /** Dropout probability on A's input in training. */
  readonly dropout: number;
  /** True once the memory of A and B is freed. */
  isReleased?: boolean;
}

/** A frozen linear layer, and its adapter if it has one. */
export interface LinearModule {
  /** Name in transformers' memory, e.g. `model.language_model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  /** Position among all linear modules of the model; makes dropout masks of modules independent. */
  readonly index: number;
  /** [out, in] */
  readonly weight: Weight;
  /** [out]; only `linear_1` and `linear_2` of the projector may have one. */
  readonly bias: Weight | undefined;
  /** Set by `applyLora`; undefined without an adapter, and again when that is disposed of. */
  lora: LoraWeights | undefined;
}

/**
 * Writes the files of an adapter with these values [trainable.size] into a checkpoint's folder, unless it has an adapter
 * already; with `replaces` it makes way, as in a folder that is not a checkpoint's. `maker` of the batches: its chat
 * template goes beside the adapter, where it has one.
 */
export type WriteAdapter = (
  directory: string,
  parameters: Float32Array,
  maker?: unknown,
  replaces?: boolean,
) => Promise<void>;
