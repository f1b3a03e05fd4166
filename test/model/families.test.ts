import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { TuneError } from '../../src/errors.js';
import { queryScale, textFrequencies } from '../../src/model/network/rope.js';
import { parseModelConfig } from '../../src/model/parse-config.js';

type Json = Record<string, unknown>;
const VISION = { model_type: 'pixtral', hidden_act: 'silu', patch_size: 14 };
const parse = (text: Json, top: Json = {}) =>
  parseModelConfig({ model_type: 'mistral3', text_config: text, vision_config: VISION, ...top });
const faultOf = (work: () => unknown): TuneError => {
  try {
    work();
  } catch (error) {
    if (error instanceof TuneError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};
const PLAIN = { model_type: 'mistral', sliding_window: null };

/** As Mistral Small 3.1 and 3.2 publish it. */
const SMALL = {
  attention_dropout: 0,
  head_dim: 128,
  hidden_act: 'silu',
  hidden_size: 5120,
  initializer_range: 0.02,
  intermediate_size: 32768,
  max_position_embeddings: 131072,
  model_type: 'mistral',
  num_attention_heads: 32,
  num_hidden_layers: 40,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_theta: 1e9,
  sliding_window: null,
  use_cache: true,
  vocab_size: 131072,
};

describe('the family of a config.json', () => {
  it('reads a Mistral Small as it is published, and as transformers 5 writes it', () => {
    const { text, mayTieEmbeddings, eosTokenIds } = parse(SMALL);
    expect(text).toMatchObject({ hiddenSize: 5120, headDim: 128, heads: 32, kvHeads: 8, layers: 40 });
    expect(text).toMatchObject({ intermediateSize: 32768, vocabSize: 131072, maxPositions: 131072, normEps: 1e-5 });
    expect(text.rope).toMatchObject({ type: 'default', theta: 1e9, attentionFactor: 1, queryScalingBeta: 0 });
    expect([mayTieEmbeddings, eosTokenIds]).toEqual([true, [2]]);
    const { rope_theta, ...rest } = SMALL;
    expect(parse({ ...rest, rope_parameters: { rope_theta, rope_type: 'default' } }).text).toEqual(text);
    expect(textFrequencies(text.rope, 128)[32]).toBe(Math.fround(1 / Math.fround(1e9 ** 0.5)));
    expect(queryScale(text.rope, Int32Array.of(131071))).toBeUndefined();
  });

  it("takes transformers' defaults of each decoder", () => {
    const plain = parse(PLAIN).text;
    expect(plain).toMatchObject({ vocabSize: 32000, hiddenSize: 4096, intermediateSize: 14336, layers: 32 });
    expect(plain).toMatchObject({ heads: 32, kvHeads: 8, headDim: 128, activation: 'silu', normEps: 1e-6 });
    expect([plain.maxPositions, plain.rope.theta, plain.rope.type]).toEqual([131072, 10000, 'default']);
    // No size of its own: that of the hidden state, split.
    expect(parse({ ...PLAIN, hidden_size: 5120 }).text.headDim).toBe(160);
    // A decoder that does not say what it is.
    expect(parse({ sliding_window: null }).text).toEqual(plain);
    const ministral = parse({ model_type: 'ministral3' }).text;
    expect(ministral).toMatchObject({
      vocabSize: 131072,
      layers: 34,
      headDim: 128,
      normEps: 1e-5,
      maxPositions: 262144,
    });
    const yarn = { type: 'yarn', theta: 1e6, factor: 16, originalMaxPositions: 16384, queryScalingBeta: 0.1 };
    expect(ministral.rope).toMatchObject({ ...yarn, attentionFactor: 1 });
    const empty = parse({ model_type: 'ministral3', rope_parameters: { rope_type: 'default' } }).text.rope;
    expect(empty).toMatchObject({ type: 'default', theta: 10000, queryScalingBeta: 0 });
    expect(parse({ model_type: 'ministral3', rope_scaling: {} }).text).toEqual(ministral);
  });

  it('honours YaRN on a Mistral Small, and refuses what it does not compute', () => {
    const rope = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32768, rope_theta: 1e6 };
    expect(parse({ ...PLAIN, rope_scaling: rope }).text.rope).toMatchObject({ type: 'yarn', factor: 4, theta: 1e6 });
    const faults = (text: Json): unknown => faultOf(() => parse(text)).details['faults'];
    expect(faults({ model_type: 'mistral' })).toEqual([expect.stringMatching(/sliding_window.*4096 tokens/)]);
    expect(faults({ ...PLAIN, sliding_window: 4096 })).toEqual([expect.stringMatching(/sliding_window.*got 4096/)]);
    expect(faults({ ...PLAIN, rope_parameters: { llama_4_scaling_beta: 0.1 } })).toEqual([
      expect.stringMatching(/llama_4_scaling_beta: expected 0 .*got 0.1/),
    ]);
    expect(faults({ ...PLAIN, attention_dropout: 0.1, partial_rotary_factor: 0.5 })).toHaveLength(2);
    expect(faults({ ...PLAIN, rope_parameters: rope, rope_scaling: rope })).toEqual([
      expect.stringMatching(/rope_scaling: expected none beside rope_parameters/),
    ]);
    expect(parse({ ...PLAIN, rope_parameters: rope, original_max_position_embeddings: 32768 }).text.rope.factor).toBe(
      4,
    );
    expect(faults({ ...PLAIN, rope_parameters: rope, original_max_position_embeddings: 4096 })).toEqual([
      expect.stringMatching(/original_max_position_embeddings: expected 32768 .*got 4096/),
    ]);
    const other = {
      image_token_index: 10,
      image_token_id: 12,
      vision_config: { ...VISION, rope_scaling: { factor: 2 } },
    };
    expect(faultOf(() => parse(PLAIN, other)).details['faults']).toEqual([
      expect.stringMatching(/^vision_config\.rope_scaling: expected null/),
      expect.stringMatching(/^image_token_id: expected 10 .*got 12/),
    ]);
    expect(parse(PLAIN, { ...other, image_token_id: 10, vision_config: VISION }).imageTokenId).toBe(10);
  });

  it('is one of those that are supported, which an error names', () => {
    const llava = faultOf(() => parse(PLAIN, { model_type: 'llava' }));
    expect(llava.message).toMatch(
      /config\.json: model_type "llava" is not supported\n.*Ministral 3 \("mistral3" around "ministral3".*Mistral Small 3\.1 and 3\.2 \("mistral3" around "mistral"/,
    );
    expect(llava.details).toMatchObject({
      modelType: 'llava',
      supported: [expect.arrayContaining(['ministral3']), ['mistral3', 'mistral']],
    });
    expect(faultOf(() => parse({ model_type: 'qwen3' })).message).toMatch(/text_config\.model_type "qwen3" is not/);
    for (const type of ['mistral', 'ministral3']) {
      expect(faultOf(() => parseModelConfig({ ...SMALL, model_type: type })).message).toMatch(
        /model_type "\w+" is not supported\n.*a model for text alone: take its vision-language checkpoint/,
      );
    }
  });

  it('is asked for in the fixture of a Mistral Small', async () => {
    const path = new URL('../fixtures/mistral-small/config.json', import.meta.url);
    expect(parseModelConfig(JSON.parse(await readFile(path, 'utf8'))).text.rope.theta).toBe(1e9);
  });
});
