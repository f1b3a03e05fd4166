/**
 * config.json of a Ministral 3 checkpoint, read strictly: every field that changes the result is honoured or refused
 * by name. Defaults are those of transformers' Mistral3Config, Ministral3Config and PixtralVisionConfig.
 */

import type { Activation } from '../../engine/operations.js';
import { ConfigError } from '../../errors.js';
import { type Fp8Quantization, parseQuantization } from '../../formats/fp8-checkpoint.js';
import { showValue } from '../../messages/show-value.js';

/** `text_config.rope_parameters`, in older files `rope_scaling`: positions of the decoder. */
export interface RopeConfig {
  /** `rope_type`, in older files `type`. Default: `default`; `yarn` if config.json has neither object. */
  readonly type: 'default' | 'yarn';
  /** `rope_theta`, there or in `text_config` itself. Default 1e6. */
  readonly theta: number;
  /**
   * `factor`: how many times longer YaRN makes the context. Default `maxPositions / originalMaxPositions`; 16 if
   * config.json has neither object.
   */
  readonly factor: number;
  /** `original_max_position_embeddings`, in tokens. Default `maxPositions`; 16384 if config.json has neither object. */
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
   * either type. Default 0: off; 0.1 if config.json has neither object.
   */
  readonly queryScalingBeta: number;
}

/** `text_config` of config.json: the decoder. */
export interface TextConfig {
  /** `vocab_size`: token ids are below. Default 131072. */
  readonly vocabSize: number;
  /** `hidden_size`: width of the residual stream. Default 4096. */
  readonly hiddenSize: number;
  /** `intermediate_size`: width of the MLP. Default 14336. */
  readonly intermediateSize: number;
  /** `num_hidden_layers`. Default 34. */
  readonly layers: number;
  /** `num_attention_heads`: heads of the queries. Default 32. */
  readonly heads: number;
  /** `num_key_value_heads`: heads of keys and values, a divisor of `heads`. Default 8. */
  readonly kvHeads: number;
  /** `head_dim`, even; `heads` times it need not be `hiddenSize`. Default 128. */
  readonly headDim: number;
  /** `hidden_act`, of the gate. Default `silu`. */
  readonly activation: Activation;
  /** `rms_norm_eps`: of all norms of the decoder, and of the projector's. Default 1e-5. */
  readonly normEps: number;
  /** `max_position_embeddings`: most tokens of a sequence in generation, answer included. Default 262144. */
  readonly maxPositions: number;
  /** `rope_parameters`. Default: the YaRN settings of transformers' Ministral3Config. */
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
export interface Ministral3Config {
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
  /** `quantization_config`: how linear layers are stored in 8-bit floats; undefined in an ordinary checkpoint. */
  readonly quantization: Fp8Quantization | undefined;
}

type Json = Record<string, unknown>;

/** Far above the largest published models: 126 layers, a width of 18,432, a vocabulary of 262,144. */
const MAX_LAYERS = 1024;
const MAX_WIDTH = 262_144;
const MAX_HEADS = 4096;
const MAX_VOCABULARY = 4_194_304;
const MAX_POSITIONS = 2 ** 31 - 1;
const MAX_PATCH = 128;
const MAX_MERGE = 16;
const MAX_EOS_TOKENS = 64;

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_new: 'gelu_tanh',
  relu: 'relu',
};

/** Reads fields of one JSON object and collects what is wrong with them. */
class FieldReader {
  readonly #object: Json;
  readonly #where: string;
  readonly #faults: string[];

  constructor(object: unknown, where: string, faults: string[]) {
    const valid = typeof object === 'object' && object !== null && !Array.isArray(object);
    if (!valid && object !== undefined)
      faults.push(`${where || 'config.json'}: expected an object, got ${showValue(object)}`);
    this.#object = valid ? (object as Json) : {};
    this.#where = where ? `${where}.` : '';
    this.#faults = faults;
  }

  raw(key: string): unknown {
    const value = Object.hasOwn(this.#object, key) ? this.#object[key] : undefined;
    return value === null ? undefined : value;
  }

  fault(key: string, expected: string): void {
    this.#faults.push(`${this.#where}${key}: expected ${expected}, got ${showValue(this.raw(key))}`);
  }

  number(key: string, fallback: number, accept: (value: number) => boolean, expected: string): number {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'number' && Number.isFinite(value) && accept(value)) return value;
    this.fault(key, expected);
    return fallback;
  }

  /** @param most what no model comes near: a claimed size must not decide how much memory is taken */
  count(key: string, fallback: number, most: number): number {
    const accept = (value: number): boolean => Number.isInteger(value) && value > 0 && value <= most;
    return this.number(key, fallback, accept, `a whole number from 1 to ${most}`);
  }

  positive(key: string, fallback: number): number {
    return this.number(key, fallback, (value) => value > 0, 'a positive number');
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'boolean') return value;
    this.fault(key, 'true or false');
    return fallback;
  }

  activation(key: string, fallback: Activation): Activation {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value === 'string' && Object.hasOwn(ACTIVATIONS, value)) return ACTIVATIONS[value]!;
    this.fault(key, `one of ${Object.keys(ACTIVATIONS).join(', ')}`);
    return fallback;
  }

  /** Refuses a feature that the model does not have, unless the field is absent or holds an allowed value. */
  only(key: string, ...allowed: (string | number | boolean)[]): void {
    const value = this.raw(key);
    if (value !== undefined && !(allowed as unknown[]).includes(value)) {
      this.fault(key, `${allowed.map(showValue).join(' or ') || 'null'} (nothing else is supported)`);
    }
  }
}

/**
 * Reads a parsed config.json.
 * @throws ConfigError listing every field that is wrong or asks for something else than this model
 */
export function parseMinistral3Config(json: unknown, path = 'config.json'): Ministral3Config {
  const faults: string[] = [];
  const top = new FieldReader(json, '', faults);
  top.only('model_type', 'mistral3');
  const quantization = parseQuantization(top.raw('quantization_config'), faults);
  const text = parseText(top.raw('text_config'), faults);
  const vision = parseVision(top.raw('vision_config'), faults);
  const config: Ministral3Config = {
    text,
    vision,
    imageTokenId: top.number(
      top.raw('image_token_index') === undefined ? 'image_token_id' : 'image_token_index',
      10,
      (value) => Number.isInteger(value) && value >= 0 && value < text.vocabSize,
      'a token id',
    ),
    spatialMergeSize: top.count('spatial_merge_size', 2, MAX_MERGE),
    projectorActivation: top.activation('projector_hidden_act', 'gelu'),
    projectorBias: top.boolean('multimodal_projector_bias', false),
    visionFeatureLayer: parseFeatureLayer(top, vision.layers, faults),
    mayTieEmbeddings: top.boolean('tie_word_embeddings', true),
    eosTokenIds: parseEos(top.raw('text_config'), faults),
    quantization,
  };
  if (faults.length > 0) {
    throw new ConfigError(`${path} cannot be used:\n  - ${faults.join('\n  - ')}`, {
      details: { path, faults },
      hint: 'a Ministral 3 checkpoint has model_type "mistral3" with a "ministral3" text_config and a "pixtral" vision_config',
    });
  }
  return config;
}

function parseText(json: unknown, faults: string[]): TextConfig {
  const fields = new FieldReader(json, 'text_config', faults);
  if (json === undefined) faults.push('text_config: missing');
  else if (fields.raw('model_type') !== 'ministral3') fields.fault('model_type', '"ministral3"');
  fields.only('attention_dropout', 0);
  fields.only('sliding_window');
  fields.only('attention_bias', false);
  fields.only('mlp_bias', false);
  const layerTypes = fields.raw('layer_types');
  if (Array.isArray(layerTypes) && layerTypes.some((type) => type !== 'full_attention')) {
    fields.fault('layer_types', 'only "full_attention"');
  }
  const hiddenSize = fields.count('hidden_size', 4096, MAX_WIDTH);
  const heads = fields.count('num_attention_heads', 32, MAX_HEADS);
  const kvHeads = fields.count('num_key_value_heads', 8, MAX_HEADS);
  const headDim = fields.count('head_dim', 128, MAX_WIDTH);
  if (heads % kvHeads !== 0) fields.fault('num_key_value_heads', `a divisor of num_attention_heads (${heads})`);
  if (headDim % 2 !== 0) fields.fault('head_dim', 'an even number');
  const maxPositions = fields.count('max_position_embeddings', 262144, MAX_POSITIONS);
  return {
    vocabSize: fields.count('vocab_size', 131072, MAX_VOCABULARY),
    hiddenSize,
    intermediateSize: fields.count('intermediate_size', 14336, MAX_WIDTH),
    layers: fields.count('num_hidden_layers', 34, MAX_LAYERS),
    heads,
    kvHeads,
    headDim,
    activation: fields.activation('hidden_act', 'silu'),
    normEps: fields.positive('rms_norm_eps', 1e-5),
    maxPositions,
    rope: parseRope(fields, maxPositions, faults),
  };
}

/** Rope settings stand in rope_parameters, in older files in rope_scaling with a rope_theta beside it. */
function parseRope(text: FieldReader, maxPositions: number, faults: string[]): RopeConfig {
  const absent = text.raw('rope_parameters') === undefined && text.raw('rope_scaling') === undefined;
  const key = text.raw('rope_parameters') === undefined ? 'rope_scaling' : 'rope_parameters';
  const defaults: Json = {
    rope_type: 'yarn',
    factor: 16,
    original_max_position_embeddings: 16384,
    mscale: 1,
    mscale_all_dim: 1,
    llama_4_scaling_beta: 0.1,
  };
  const rope = new FieldReader(absent ? defaults : text.raw(key), `text_config.${key}`, faults);
  const type = rope.raw('rope_type') ?? rope.raw('type') ?? 'default';
  if (type !== 'yarn' && type !== 'default')
    rope.fault(rope.raw('rope_type') === undefined ? 'type' : 'rope_type', '"yarn" or "default"');
  rope.only('partial_rotary_factor', 1);
  const theta =
    rope.raw('rope_theta') === undefined ? text.positive('rope_theta', 1e6) : rope.positive('rope_theta', 1e6);
  const originalMaxPositions = rope.count('original_max_position_embeddings', maxPositions, MAX_POSITIONS);
  const factor = rope.positive('factor', maxPositions / originalMaxPositions);
  const mscale = rope.number('mscale', 0, (value) => value >= 0, 'a number of at least 0');
  const mscaleAllDim = rope.number('mscale_all_dim', 0, (value) => value >= 0, 'a number of at least 0');
  const gain = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const inferred = mscale && mscaleAllDim ? gain(mscale) / gain(mscaleAllDim) : gain(1);
  return {
    type: type === 'yarn' ? 'yarn' : 'default',
    theta,
    factor,
    originalMaxPositions,
    betaFast: rope.number('beta_fast', 0, (value) => value >= 0, 'a number of at least 0') || 32,
    betaSlow: rope.number('beta_slow', 0, (value) => value >= 0, 'a number of at least 0') || 1,
    truncate: rope.boolean('truncate', true),
    attentionFactor: type === 'yarn' ? rope.positive('attention_factor', inferred) : 1,
    queryScalingBeta: rope.number('llama_4_scaling_beta', 0, (value) => value >= 0, 'a number of at least 0'),
  };
}

function parseVision(json: unknown, faults: string[]): VisionConfig {
  const fields = new FieldReader(json, 'vision_config', faults);
  if (json === undefined) faults.push('vision_config: missing');
  fields.only('model_type', 'pixtral');
  fields.only('attention_dropout', 0);
  fields.only('num_channels', 3);
  const hiddenSize = fields.count('hidden_size', 1024, MAX_WIDTH);
  const heads = fields.count('num_attention_heads', 16, MAX_HEADS);
  if (hiddenSize % heads !== 0 || (hiddenSize / heads) % 4 !== 0) {
    fields.fault('num_attention_heads', `a number that splits hidden_size ${hiddenSize} into heads of a multiple of 4`);
  }
  const rope = new FieldReader(fields.raw('rope_parameters'), 'vision_config.rope_parameters', faults);
  rope.only('rope_type', 'default', 'axial');
  return {
    hiddenSize,
    intermediateSize: fields.count('intermediate_size', 4096, MAX_WIDTH),
    layers: fields.count('num_hidden_layers', 24, MAX_LAYERS),
    heads,
    headDim: hiddenSize / heads,
    activation: fields.activation('hidden_act', 'gelu'),
    patchSize: fields.count('patch_size', 16, MAX_PATCH),
    ropeTheta:
      rope.raw('rope_theta') === undefined ? fields.positive('rope_theta', 10000) : rope.positive('rope_theta', 10000),
  };
}

function parseEos(text: unknown, faults: string[]): number[] {
  const fields = new FieldReader(text, 'text_config', faults);
  const ids: unknown[] = [fields.raw('eos_token_id') ?? 2].flat();
  const valid = ids.every((id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0);
  // Without any, an answer would never end.
  if (valid && ids.length > 0 && ids.length <= MAX_EOS_TOKENS) return ids;
  fields.fault('eos_token_id', 'a token id or a list of them');
  return [];
}

/** vision_feature_layer indexes the layers + 1 hidden states, from either end. */
function parseFeatureLayer(top: FieldReader, layers: number, faults: string[]): number {
  const raw = top.raw('vision_feature_layer') ?? -1;
  if (Array.isArray(raw) && raw.length > 1) {
    faults.push(
      `vision_feature_layer: ${showValue(raw)} concatenates several layers, which the projector's norm of one layer's width cannot take (transformers fails on it too)`,
    );
    return layers;
  }
  const value: unknown = Array.isArray(raw) ? raw[0] : raw;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -(layers + 1) || value > layers) {
    top.fault('vision_feature_layer', `a whole number from ${-(layers + 1)} to ${layers}`);
    return layers;
  }
  return value < 0 ? layers + 1 + value : value;
}
