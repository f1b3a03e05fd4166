/** config.json of a checkpoint, checked: all that the model, its costs and generation ask about it. */

import type { Activation } from '../engine/operations.js';
import type { StoredQuantization } from '../formats/quantized-checkpoint.js';

/** `text_config.rope_parameters`, in older files `rope_scaling`: positions of the decoder. */
export interface RopeConfig {
  /** `rope_type`, in older files `type`. Default: `default`; `yarn` in a Ministral 3 with neither object. */
  readonly type: 'default' | 'yarn';
  /** `rope_theta`, there or in `text_config` itself. Default 10000; 1e6 in a Ministral 3 with neither object. */
  readonly theta: number;
  /**
   * `factor`: how many times longer YaRN makes the context. Default `maxPositions / originalMaxPositions`; 16 in a
   * Ministral 3 with neither object.
   */
  readonly factor: number;
  /** `original_max_position_embeddings`, in tokens. Default `maxPositions`; 16384 in a Ministral 3 with neither. */
  readonly originalMaxPositions: number;
  /** `beta_fast`: YaRN leaves frequencies as they are from so many turns in the original context on. Default 32. */
  readonly betaFast: number;
  /** `beta_slow`: YaRN divides frequencies by `factor` up to so many turns, between the two in part. Default 1. */
  readonly betaSlow: number;
  /** `truncate`: round the two borders, as element numbers, outwards to whole ones. Default true. */
  readonly truncate: boolean;
  /** `attention_factor`: multiplies cos and sin. Default: of `factor`, `mscale`, `mscale_all_dim`. 1 without YaRN. */
  readonly attentionFactor: number;
  /**
   * `llama_4_scaling_beta`: queries at position p are multiplied by 1 + beta · ln(1 + ⌊p / originalMaxPositions⌋), with
   * either type. Default 0: off; 0.1 in a Ministral 3 with neither object. Always 0 in a Mistral Small.
   */
  readonly queryScalingBeta: number;
}

/** `text_config` of config.json: the decoder. */
export interface TextConfig {
  /** `vocab_size`: token ids are below. Default 131072, in a Mistral Small 32000. */
  readonly vocabSize: number;
  /** `hidden_size`: width of the residual stream. Default 4096. */
  readonly hiddenSize: number;
  /** `intermediate_size`: width of the MLP. Default 14336. */
  readonly intermediateSize: number;
  /** `num_hidden_layers`. Default 34, in a Mistral Small 32. */
  readonly layers: number;
  /** `num_attention_heads`: heads of the queries. Default 32. */
  readonly heads: number;
  /** `num_key_value_heads`: heads of keys and values, a divisor of `heads`. Default 8. */
  readonly kvHeads: number;
  /** `head_dim`, even; `heads` times it need not be `hiddenSize`. Default 128, in a Mistral Small `hiddenSize / heads`. */
  readonly headDim: number;
  /** `hidden_act`, of the gate. Default `silu`. */
  readonly activation: Activation;
  /** `rms_norm_eps`: of all norms of the decoder, and of the projector's. Default 1e-5, in a Mistral Small 1e-6. */
  readonly normEps: number;
  /**
   * `max_position_embeddings`: most tokens of a sequence in generation, answer included. Default 262144, in a Mistral
   * Small 131072.
   */
  readonly maxPositions: number;
  /** `rope_parameters`. Default: in a Ministral 3 YaRN as transformers' Ministral3Config has it, else plain. */
  readonly rope: RopeConfig;
}

/** `vision_config` of config.json: the Pixtral tower. The epsilon of its norms is always 1e-5. */
export interface VisionConfig {
  /** `hidden_size`: width of the residual stream. Default 1024. */
  readonly hiddenSize: number;
  /** `intermediate_size`: width of the MLP. Default 4096. */
  readonly intermediateSize: number;
  /** `num_hidden_layers`: those of the checkpoint; `visionFeatureLayer` says how many are run. Default 24. */
  readonly layers: number;
  /** `num_attention_heads`, of keys and values too. Default 16. */
  readonly heads: number;
  /** `hiddenSize / heads`, a multiple of 4; `head_dim` is not read. */
  readonly headDim: number;
  /** `hidden_act`, of the gate. Default `gelu`. */
  readonly activation: Activation;
  /** `patch_size`: pixels along the side of a patch. Default 16. */
  readonly patchSize: number;
  /** `rope_parameters.rope_theta`, in older files `rope_theta`. Default 10000. */
  readonly ropeTheta: number;
}

/** config.json of a checkpoint, checked, with the defaults of transformers filled in. */
export interface ModelConfig {
  /** `text_config`. */
  readonly text: TextConfig;
  /** `vision_config`. */
  readonly vision: VisionConfig;
  /** `image_token_index`, else `image_token_id`: the token that an image feature replaces. Default 10. */
  readonly imageTokenId: number;
  /** `spatial_merge_size`: a square of so many patches along its side becomes one feature. Default 2. */
  readonly spatialMergeSize: number;
  /** `projector_hidden_act`: between `linear_1` and `linear_2`. Default `gelu`. */
  readonly projectorActivation: Activation;
  /** `multimodal_projector_bias`: whether `linear_1` and `linear_2` have biases. Default false. */
  readonly projectorBias: boolean;
  /** `vision_feature_layer` as layers to run: 0 gives the embedded patches, k the output of layer k. Default: all. */
  readonly visionFeatureLayer: number;
  /** `tie_word_embeddings`, at the top level only. If false, the checkpoint must hold lm_head. Default true. */
  readonly mayTieEmbeddings: boolean;
  /** `text_config.eos_token_id`, default 2; generation_config.json overrides it. Any of these ends an answer. */
  readonly eosTokenIds: readonly number[];
  /** `quantization_config`: how linear layers are stored in 8 or 4 bits; undefined in an ordinary checkpoint. */
  readonly quantization: StoredQuantization | undefined;
}
