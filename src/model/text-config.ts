/** `text_config` of config.json: what all decoders of the Mistral kind have in common. */

import { ConfigFields, MOST } from './config-fields.js';
import type { RopeConfig, TextConfig } from './model-config.js';
import type { TextDefaults } from './model-family.js';

/** What transformers takes where rope settings have no base. */
const DEFAULT_THETA = 10_000;

export function readText(fields: ConfigFields, defaults: TextDefaults, faults: string[]): TextConfig {
  fields.only('attention_dropout', 0);
  fields.only('sliding_window');
  if (defaults.slidingWindow !== undefined && !fields.has('sliding_window')) {
    faults.push(
      `text_config.sliding_window: expected null, got nothing, which means a window of ${defaults.slidingWindow} tokens`,
    );
  }
  fields.only('attention_bias', false);
  fields.only('mlp_bias', false);
  fields.only('partial_rotary_factor', 1);
  const layerTypes = fields.raw('layer_types');
  if (Array.isArray(layerTypes) && layerTypes.some((type) => type !== 'full_attention')) {
    fields.fault('layer_types', 'only "full_attention"');
  }
  const hiddenSize = fields.count('hidden_size', 4096, MOST.width);
  const heads = fields.count('num_attention_heads', 32, MOST.heads);
  // transformers reads null as: as many as queries.
  const kvHeads = fields.count('num_key_value_heads', fields.has('num_key_value_heads') ? heads : 8, MOST.heads);
  const headDim = fields.count('head_dim', defaults.headDim ?? Math.floor(hiddenSize / heads), MOST.width);
  if (heads % kvHeads !== 0) fields.fault('num_key_value_heads', `a divisor of num_attention_heads (${heads})`);
  if (headDim % 2 !== 0) fields.fault('head_dim', 'an even number');
  const maxPositions = fields.count('max_position_embeddings', defaults.maxPositions, MOST.positions);
  return {
    vocabSize: fields.count('vocab_size', defaults.vocabSize, MOST.vocabulary),
    hiddenSize,
    intermediateSize: fields.count('intermediate_size', 14336, MOST.width),
    layers: fields.count('num_hidden_layers', defaults.layers, MOST.layers),
    heads,
    kvHeads,
    headDim,
    activation: fields.activation('hidden_act', 'silu'),
    normEps: fields.positive('rms_norm_eps', defaults.normEps),
    maxPositions,
    rope: readRope(fields, maxPositions, defaults, faults),
  };
}

/** Rope settings are in rope_parameters, in older files in rope_scaling with a rope_theta beside it. */
function readRope(text: ConfigFields, maxPositions: number, defaults: TextDefaults, faults: string[]): RopeConfig {
  const keys = ['rope_parameters', 'rope_scaling'].filter((name) => text.raw(name) !== undefined);
  // As in transformers, an empty rope_scaling is none; empty rope_parameters are plain ones.
  if (JSON.stringify(text.raw('rope_scaling')) === '{}') keys.pop();
  if (keys.length > 1) text.fault('rope_scaling', 'none beside rope_parameters: only one of them can be meant');
  const [key] = keys;
  const rope = new ConfigFields(key ? text.raw(key) : defaults.rope, `text_config.${key ?? 'rope_parameters'}`, faults);
  const type = rope.raw('rope_type') ?? rope.raw('type') ?? 'default';
  if (type !== 'yarn' && type !== 'default')
    rope.fault(rope.raw('rope_type') === undefined ? 'type' : 'rope_type', '"yarn" or "default"');
  rope.only('partial_rotary_factor', 1);
  if (!defaults.hasQueryScaling) rope.only('llama_4_scaling_beta', 0);
  const originalMaxPositions = rope.count('original_max_position_embeddings', maxPositions, MOST.positions);
  // transformers lets one beside the rope settings win.
  if (type === 'yarn') text.only('original_max_position_embeddings', originalMaxPositions);
  const factor = rope.positive('factor', maxPositions / originalMaxPositions);
  const atLeastZero = (name: string): number => rope.number(name, 0, (value) => value >= 0, 'a number of at least 0');
  const mscale = atLeastZero('mscale');
  const mscaleAllDim = atLeastZero('mscale_all_dim');
  const gain = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  const inferred = mscale && mscaleAllDim ? gain(mscale) / gain(mscaleAllDim) : gain(1);
  return {
    type: type === 'yarn' ? 'yarn' : 'default',
    theta: (rope.raw('rope_theta') === undefined ? text : rope).positive('rope_theta', DEFAULT_THETA),
    factor,
    originalMaxPositions,
    betaFast: atLeastZero('beta_fast') || 32,
    betaSlow: atLeastZero('beta_slow') || 1,
    truncate: rope.boolean('truncate', true),
    attentionFactor: type === 'yarn' ? rope.positive('attention_factor', inferred) : 1,
    queryScalingBeta: atLeastZero('llama_4_scaling_beta'),
  };
}
