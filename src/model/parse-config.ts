/**
 * Reads config.json strictly: every field that changes the result is honoured or refused by name. Defaults are those of
 * transformers' Mistral3Config and PixtralVisionConfig, and of the class for the family's decoder.
 */

import { ConfigError } from '../errors.js';
import { parseQuantization } from '../formats/quantized-checkpoint.js';
import { showValue } from '../messages/show-value.js';
import { ConfigFields, MOST } from './config-fields.js';
import { familyOf } from './families.js';
import type { ModelConfig, VisionConfig } from './model-config.js';
import { readText } from './text-config.js';

/**
 * Reads a parsed config.json.
 * @throws ConfigError for a `model_type` that is not supported, or listing every field that is wrong or asks for
 *   something else than the model computes
 */
export function parseModelConfig(json: unknown, path = 'config.json'): ModelConfig {
  const faults: string[] = [];
  const top = new ConfigFields(json, '', faults);
  const textFields = new ConfigFields(top.raw('text_config'), 'text_config', faults);
  const family = familyOf(top, textFields, path);
  if (faults.length === 0 && top.raw('text_config') === undefined) faults.push('text_config: missing');
  const text = readText(textFields, family.textDefaults, faults);
  const vision = parseVision(top.raw('vision_config'), faults);
  // Two names of one field, of which transformers takes this one.
  const imageToken = top.raw('image_token_index');
  if (typeof imageToken === 'number') top.only('image_token_id', imageToken);
  const config: ModelConfig = {
    text,
    vision,
    imageTokenId: top.number(
      top.raw('image_token_index') === undefined ? 'image_token_id' : 'image_token_index',
      10,
      (value) => Number.isInteger(value) && value >= 0 && value < text.vocabSize,
      'a token id',
    ),
    spatialMergeSize: top.count('spatial_merge_size', 2, MOST.merge),
    projectorActivation: top.activation('projector_hidden_act', 'gelu'),
    projectorBias: top.boolean('multimodal_projector_bias', false),
    visionFeatureLayer: parseFeatureLayer(top, vision.layers, faults),
    mayTieEmbeddings: top.boolean('tie_word_embeddings', true),
    eosTokenIds: parseEos(textFields),
    quantization: parseQuantization(top.raw('quantization_config'), faults),
  };
  if (faults.length > 0) {
    throw new ConfigError(`${path} cannot be used:\n  - ${faults.join('\n  - ')}`, {
      details: { path, faults },
      hint: `It was read as that of ${family.name}, e.g. ${family.example}: take the config.json of the checkpoint as it was published.`,
    });
  }
  return config;
}

function parseVision(json: unknown, faults: string[]): VisionConfig {
  const fields = new ConfigFields(json, 'vision_config', faults);
  if (json === undefined) faults.push('vision_config: missing');
  fields.only('model_type', 'pixtral');
  fields.only('attention_dropout', 0);
  fields.only('num_channels', 3);
  fields.only('rope_scaling');
  const hiddenSize = fields.count('hidden_size', 1024, MOST.width);
  const heads = fields.count('num_attention_heads', 16, MOST.heads);
  if (hiddenSize % heads !== 0 || (hiddenSize / heads) % 4 !== 0) {
    fields.fault('num_attention_heads', `a number that splits hidden_size ${hiddenSize} into heads of a multiple of 4`);
  }
  const rope = new ConfigFields(fields.raw('rope_parameters'), 'vision_config.rope_parameters', faults);
  rope.only('rope_type', 'default', 'axial');
  return {
    hiddenSize,
    intermediateSize: fields.count('intermediate_size', 4096, MOST.width),
    layers: fields.count('num_hidden_layers', 24, MOST.layers),
    heads,
    headDim: hiddenSize / heads,
    activation: fields.activation('hidden_act', 'gelu'),
    patchSize: fields.count('patch_size', 16, MOST.patch),
    ropeTheta:
      rope.raw('rope_theta') === undefined ? fields.positive('rope_theta', 10000) : rope.positive('rope_theta', 10000),
  };
}

function parseEos(fields: ConfigFields): number[] {
  const ids: unknown[] = [fields.raw('eos_token_id') ?? 2].flat();
  const valid = ids.every((id): id is number => typeof id === 'number' && Number.isSafeInteger(id) && id >= 0);
  if (valid && ids.length > 0 && ids.length <= MOST.eosTokens) return ids;
  fields.fault('eos_token_id', 'a token id or a list of them');
  return [];
}

/** vision_feature_layer indexes the layers + 1 hidden states, from either end. */
function parseFeatureLayer(top: ConfigFields, layers: number, faults: string[]): number {
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
