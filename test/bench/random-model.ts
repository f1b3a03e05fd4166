/** The published models in their real sizes with random weights, for benchmarks: weights do not change speed. */
import type { Engine } from '../../src/engine/engine.js';
import { sizeOf, type WeightSource } from '../../src/formats/weight-source.js';
import type { ModelConfig } from '../../src/model/model-config.js';
import { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { parseModelConfig } from '../../src/model/parse-config.js';
import { parseQuantizationOption } from '../../src/model/quantization.js';
import { QuantizationPlan } from '../../src/model/quantization-plan.js';

export const SIZES = {
  '3B': { hidden_size: 3072, intermediate_size: 9216, num_hidden_layers: 26, theta: 1e6, tied: true },
  '8B': { hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 34, theta: 1e6, tied: false },
  '14B': { hidden_size: 5120, intermediate_size: 16384, num_hidden_layers: 40, theta: 1e9, tied: false },
  /** Mistral Small 3.1 and 3.2. */
  '24B': { hidden_size: 5120, intermediate_size: 32768, num_hidden_layers: 40, theta: 1e9, tied: false },
} as const;

export type Size = keyof typeof SIZES;

/** Fewer layers than the size has, for benchmarks of single operations. */
export interface FewerLayers {
  readonly text: number;
  readonly vision?: number;
}

export function configOf(size: Size, fewer?: FewerLayers): ModelConfig {
  return parseModelConfig(configJson(size, fewer));
}

/** config.json of that size. */
export function configJson(size: Size, fewer?: FewerLayers): Record<string, unknown> {
  const { theta, tied: _, ...text } = SIZES[size];
  const yarn = { rope_type: 'yarn', factor: 16, original_max_position_embeddings: 16384, beta_fast: 32, beta_slow: 1 };
  const ministral = {
    model_type: 'ministral3',
    rope_parameters: { ...yarn, rope_theta: theta, mscale: 1, mscale_all_dim: 1, llama_4_scaling_beta: 0.1 },
  };
  const small = { model_type: 'mistral', vocab_size: 131072, head_dim: 128, rms_norm_eps: 1e-5, rope_theta: theta };
  return {
    model_type: 'mistral3',
    text_config: {
      ...(size === '24B' ? { ...small, sliding_window: null } : ministral),
      ...text,
      ...(fewer ? { num_hidden_layers: fewer.text } : {}),
    },
    vision_config: {
      ...{ model_type: 'pixtral', patch_size: 14, hidden_act: 'silu' },
      ...(fewer?.vision ? { num_hidden_layers: fewer.vision } : {}),
    },
  };
}

/** What is taken from the block in one piece; even, as numbers have two bytes. */
const CHUNK_BYTES = 1 << 20;

/** bfloat16 numbers uniform in ±√3·0.02 (standard deviation 0.02) from a block that is repeated at odd offsets. */
export function randomBlock(): Uint8Array {
  const block = new Uint16Array((1 << 22) + 12345);
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  let state = 0x9e3779b9;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    value[0] = (state / 2 ** 31 - 1) * 0.0346;
    block[i] = bits[0]! >>> 16;
  }
  return new Uint8Array(block.buffer);
}

/** @param quantization as the option of `loadModel`: nf4, fp8 or none */
export async function randomModel(
  engine: Engine,
  size: Size,
  fewer?: FewerLayers,
  quantization?: string,
): Promise<VisionLanguageModel> {
  const block = randomBlock();
  const ones = new Uint8Array(Uint16Array.from({ length: 1 << 15 }, () => 0x3f80).buffer);
  const config = configOf(size, fewer);
  const shapes = shapesOf(config, SIZES[size].tied);
  const option = parseQuantizationOption(quantization, 'randomModel');
  const stored = [...shapes].map(([name, shape]) => ({ name, shape, stored: undefined, bytes: 2 * sizeOf(shape) }));
  const plan = new QuantizationPlan(engine, stored, option, 'randomModel');
  if (plan.notice !== undefined) console.log(`random ${size}: ${plan.notice}`);
  const source = (name: string): WeightSource => {
    const shape = shapes.get(name)!;
    const from = shape.length === 1 ? ones : block;
    const first = [...name].reduce((hash, letter) => (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0, 7) % 1_000_003;
    return {
      name,
      shape,
      dtype: 'bf16',
      byteLength: 2 * sizeOf(shape),
      // By name and place alone: tensors are read in an order that depends on timing.
      read: async (target, offset = 0) => {
        for (let at = 0; at < target.length; ) {
          const chunk = Math.floor((offset + at) / CHUNK_BYTES);
          const within = (offset + at) % CHUNK_BYTES;
          const start = shape.length === 1 ? 0 : (2 * (7919 * (first + chunk) + within / 2)) % (block.length - 2);
          const most = Math.min(from.length - start, CHUNK_BYTES - within, target.length - at);
          target.set(from.subarray(start, start + most), at);
          at += most;
        }
      },
    };
  };
  return VisionLanguageModel.load(engine, config, {
    has: (name) => shapes.has(name),
    source: (name) => plan.apply(name, source(name)),
    description: `random ${size}`,
  });
}

/** Every tensor by its name in memory. */
export function shapesOf(config: ModelConfig, tied: boolean): Map<string, number[]> {
  const { text, vision } = config;
  const shapes = new Map<string, number[]>();
  const layer = (
    prefix: string,
    [n1, attention, n2, mlp]: readonly string[],
    s: { q: number; kv: number; c: number; f: number },
  ) => {
    shapes.set(`${prefix}.${n1}.weight`, [s.c]);
    shapes.set(`${prefix}.${attention}.q_proj.weight`, [s.q, s.c]);
    shapes.set(`${prefix}.${attention}.k_proj.weight`, [s.kv, s.c]);
    shapes.set(`${prefix}.${attention}.v_proj.weight`, [s.kv, s.c]);
    shapes.set(`${prefix}.${attention}.o_proj.weight`, [s.c, s.q]);
    shapes.set(`${prefix}.${n2}.weight`, [s.c]);
    shapes.set(`${prefix}.${mlp}.gate_proj.weight`, [s.f, s.c]);
    shapes.set(`${prefix}.${mlp}.up_proj.weight`, [s.f, s.c]);
    shapes.set(`${prefix}.${mlp}.down_proj.weight`, [s.c, s.f]);
  };
  const v = vision.hiddenSize;
  const h = text.hiddenSize;
  shapes.set('model.vision_tower.patch_conv.weight', [v, 3, vision.patchSize, vision.patchSize]);
  shapes.set('model.vision_tower.ln_pre.weight', [v]);
  for (let i = 0; i < vision.layers; i++) {
    const names = ['attention_norm', 'attention', 'ffn_norm', 'feed_forward'];
    layer(`model.vision_tower.transformer.layers.${i}`, names, { q: v, kv: v, c: v, f: vision.intermediateSize });
  }
  shapes.set('model.multi_modal_projector.norm.weight', [v]);
  shapes.set('model.multi_modal_projector.patch_merger.merging_layer.weight', [v, 4 * v]);
  shapes.set('model.multi_modal_projector.linear_1.weight', [h, v]);
  shapes.set('model.multi_modal_projector.linear_2.weight', [h, h]);
  shapes.set('model.language_model.embed_tokens.weight', [text.vocabSize, h]);
  for (let i = 0; i < text.layers; i++) {
    const names = ['input_layernorm', 'self_attn', 'post_attention_layernorm', 'mlp'];
    const widths = { q: text.heads * text.headDim, kv: text.kvHeads * text.headDim, c: h, f: text.intermediateSize };
    layer(`model.language_model.layers.${i}`, names, widths);
  }
  shapes.set('model.language_model.norm.weight', [h]);
  if (!tied) shapes.set('lm_head.weight', [text.vocabSize, h]);
  return shapes;
}
