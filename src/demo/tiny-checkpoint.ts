/**
 * Makes the checkpoint of the demonstration: the architecture of Ministral 3 in a size that a laptop trains in a minute, in
 * the file layout of the published models. Its weights are random numbers drawn from a seed; nothing was trained, so
 * all that the model can do afterwards, it learned through its LoRA adapter.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { lazySchema, parseOptions, pathOption } from '../config.js';
import { TUTORIAL_TEMPLATE } from '../data/chat-template.js';
import { classPrompt } from '../data/class-example.js';
import { makeOutputFolder } from '../files/disk-errors.js';
import { writeSafetensors } from '../formats/safetensors.js';
import { counterHash, MersenneTwister } from '../random.js';
import { requireOneObject } from '../require-given.js';
import { DEMONSTRATION_SEED, FRACTURE_CLASSES } from './radiographs.js';
import { CONTROL_TOKENS, trainTinyTokenizer } from './tiny-tokenizer.js';

/** Sizes of the two towers. */
const TEXT = { hidden: 64, feedForward: 64, layers: 2, heads: 4, kvHeads: 2, headDim: 16 };
const VISION = { hidden: 64, feedForward: 256, layers: 2, heads: 4, patch: 14, merge: 2, longestEdge: 112 };

/**
 * Standard deviations of the random weights, times 1/√(inputs) for linear layers. The embeddings are small beside
 * what attention adds, so that the image, a tenth of the tokens, is not drowned by the prompt; the head is large
 * enough for confident answers from a normalised state.
 */
const INIT = { embedding: 0.05, head: 0.2, linear: 1, projectorOut: 1.5 };

/** Options of {@link writeTinyCheckpoint}. */
export interface TinyCheckpointOptions {
  /** Folder that receives the files; made if it does not exist. Required. */
  readonly outputDir: string;
  /** Of the random weights: a whole number from 0. Default: 42. */
  readonly seed?: number | undefined;
  /**
   * Texts to learn the vocabulary from: the prompt and the answers. Other texts are read as well, in more tokens. Default:
   * the plain prompt for class folders, with the classes of `drawRadiographs`.
   */
  readonly corpus?: readonly string[] | undefined;
}

const schema = lazySchema(() =>
  z.strictObject({
    outputDir: pathOption(),
    seed: z.int().min(0).optional(),
    corpus: z.array(z.string()).optional(),
  } satisfies Record<keyof TinyCheckpointOptions, z.ZodType>),
);

const ALIASES: Readonly<Record<string, string>> = { dir: 'outputDir', out: 'outputDir', folder: 'outputDir' };

/**
 * Writes a checkpoint of the architecture of Ministral 3 with two layers in each tower, 1 MB: config, float32 weights,
 * tokenizer, processor and chat template, in the files of the published models, as `fromPretrained` reads them. For tests
 * and demonstrations: its weights are random. The same options give the same bytes.
 *
 * ```ts
 * await writeTinyCheckpoint({ outputDir: 'tiny-model' });
 * const { model, processor } = await fromPretrained('tiny-model');
 * ```
 * @throws ConfigError for wrong options
 */
export async function writeTinyCheckpoint(options: TinyCheckpointOptions): Promise<void> {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'writeTinyCheckpoint', 'await writeTinyCheckpoint({ outputDir })');
  const {
    outputDir,
    seed = DEMONSTRATION_SEED,
    ...given
  } = parseOptions(schema, options, 'writeTinyCheckpoint', ALIASES);
  const { corpus = [classPrompt(FRACTURE_CLASSES), ...FRACTURE_CLASSES] } = given;
  const tokenizer = trainTinyTokenizer(corpus);
  const vocabSize = Object.keys((tokenizer.model as { vocab: object }).vocab).length;
  await makeOutputFolder(outputDir, 'writeTinyCheckpoint: `outputDir`');
  const json = (name: string, value: unknown) =>
    writeFile(join(outputDir, name), `${JSON.stringify(value, null, 2)}\n`);
  await Promise.all([
    json('config.json', modelConfig(vocabSize)),
    json('generation_config.json', { bos_token_id: 1, eos_token_id: 2, max_length: 16384, pad_token_id: 11 }),
    json('tokenizer.json', tokenizer),
    json('tokenizer_config.json', tokenizerConfig()),
    json('processor_config.json', processorConfig()),
    writeFile(join(outputDir, 'chat_template.jinja'), TUTORIAL_TEMPLATE),
    writeSafetensors(join(outputDir, 'model.safetensors'), randomWeights(vocabSize, seed), { format: 'pt' }),
  ]);
}

function modelConfig(vocabSize: number): Record<string, unknown> {
  return {
    architectures: ['Mistral3ForConditionalGeneration'],
    dtype: 'float32',
    image_token_index: CONTROL_TOKENS.indexOf('[IMG]'),
    model_type: 'mistral3',
    multimodal_projector_bias: false,
    projector_hidden_act: 'gelu',
    spatial_merge_size: VISION.merge,
    text_config: {
      attention_dropout: 0,
      bos_token_id: 1,
      eos_token_id: 2,
      head_dim: TEXT.headDim,
      hidden_act: 'silu',
      hidden_size: TEXT.hidden,
      initializer_range: 0.02,
      intermediate_size: TEXT.feedForward,
      max_position_embeddings: 16384,
      model_type: 'ministral3',
      num_attention_heads: TEXT.heads,
      num_hidden_layers: TEXT.layers,
      num_key_value_heads: TEXT.kvHeads,
      pad_token_id: 11,
      rms_norm_eps: 1e-5,
      rope_parameters: {
        beta_fast: 32,
        beta_slow: 1,
        factor: 16,
        llama_4_scaling_beta: 0.1,
        max_position_embeddings: 16384,
        mscale: 1,
        mscale_all_dim: 1,
        original_max_position_embeddings: 1024,
        rope_theta: 1e6,
        rope_type: 'yarn',
        type: 'yarn',
      },
      sliding_window: null,
      tie_word_embeddings: false,
      use_cache: true,
      vocab_size: vocabSize,
    },
    tie_word_embeddings: false,
    vision_config: {
      attention_dropout: 0,
      head_dim: VISION.hidden / VISION.heads,
      hidden_act: 'silu',
      hidden_size: VISION.hidden,
      image_size: VISION.longestEdge,
      initializer_range: 0.02,
      intermediate_size: VISION.feedForward,
      model_type: 'pixtral',
      num_attention_heads: VISION.heads,
      num_channels: 3,
      num_hidden_layers: VISION.layers,
      patch_size: VISION.patch,
      rope_parameters: { rope_theta: 10000, rope_type: 'default' },
    },
    vision_feature_layer: -1,
  };
}

function tokenizerConfig(): Record<string, unknown> {
  return {
    bos_token: '<s>',
    eos_token: '</s>',
    model_max_length: 16384,
    pad_token: '<pad>',
    padding_side: 'right',
    processor_class: 'PixtralProcessor',
    tokenizer_class: 'PreTrainedTokenizerFast',
    unk_token: '<unk>',
  };
}

function processorConfig(): Record<string, unknown> {
  return {
    image_break_token: '[IMG_BREAK]',
    image_end_token: '[IMG_END]',
    image_processor: {
      do_convert_rgb: true,
      do_normalize: true,
      do_rescale: true,
      do_resize: true,
      image_mean: [0.48145466, 0.4578275, 0.40821073],
      image_processor_type: 'PixtralImageProcessor',
      image_std: [0.26862954, 0.26130258, 0.27577711],
      patch_size: { height: VISION.patch, width: VISION.patch },
      resample: 3,
      rescale_factor: 1 / 255,
      size: { longest_edge: VISION.longestEdge },
    },
    image_token: '[IMG]',
    patch_size: VISION.patch,
    processor_class: 'PixtralProcessor',
    spatial_merge_size: VISION.merge,
  };
}

/** Name and shape of every tensor, with the factor on its random numbers; 0 stands for a norm, which is all ones. */
function tensorPlan(vocabSize: number): [name: string, shape: number[], deviation: number][] {
  const linear = (out: number, inputs: number, gain = INIT.linear): [number[], number] => [
    [out, inputs],
    gain / Math.sqrt(inputs),
  ];
  const norm = (size: number): [number[], number] => [[size], 0];
  const block = (
    prefix: string,
    { hidden, feedForward, heads, kvHeads, headDim }: Omit<typeof TEXT, 'layers'>,
    names: { attention: string; attentionNorm: string; feedForward: string; feedForwardNorm: string },
  ): [string, number[], number][] => [
    [`${prefix}.${names.attentionNorm}.weight`, ...norm(hidden)],
    [`${prefix}.${names.attention}.q_proj.weight`, ...linear(heads * headDim, hidden)],
    [`${prefix}.${names.attention}.k_proj.weight`, ...linear(kvHeads * headDim, hidden)],
    [`${prefix}.${names.attention}.v_proj.weight`, ...linear(kvHeads * headDim, hidden)],
    [`${prefix}.${names.attention}.o_proj.weight`, ...linear(hidden, heads * headDim)],
    [`${prefix}.${names.feedForwardNorm}.weight`, ...norm(hidden)],
    [`${prefix}.${names.feedForward}.gate_proj.weight`, ...linear(feedForward, hidden)],
    [`${prefix}.${names.feedForward}.up_proj.weight`, ...linear(feedForward, hidden)],
    [`${prefix}.${names.feedForward}.down_proj.weight`, ...linear(hidden, feedForward)],
  ];
  const textNames = {
    attention: 'self_attn',
    attentionNorm: 'input_layernorm',
    feedForward: 'mlp',
    feedForwardNorm: 'post_attention_layernorm',
  };
  const visionNames = {
    attention: 'attention',
    attentionNorm: 'attention_norm',
    feedForward: 'feed_forward',
    feedForwardNorm: 'ffn_norm',
  };
  const eye = { ...VISION, kvHeads: VISION.heads, headDim: VISION.hidden / VISION.heads };
  const pixels = 3 * VISION.patch ** 2;
  return [
    ['language_model.model.embed_tokens.weight', [vocabSize, TEXT.hidden], INIT.embedding],
    ...Array.from({ length: TEXT.layers }, (_, i) => block(`language_model.model.layers.${i}`, TEXT, textNames)).flat(),
    ['language_model.model.norm.weight', ...norm(TEXT.hidden)],
    ['language_model.lm_head.weight', [vocabSize, TEXT.hidden], INIT.head],
    ['vision_tower.patch_conv.weight', [VISION.hidden, 3, VISION.patch, VISION.patch], 1 / Math.sqrt(pixels)],
    ['vision_tower.ln_pre.weight', ...norm(VISION.hidden)],
    ...Array.from({ length: VISION.layers }, (_, i) =>
      block(`vision_tower.transformer.layers.${i}`, eye, visionNames),
    ).flat(),
    ['multi_modal_projector.norm.weight', ...norm(VISION.hidden)],
    [
      'multi_modal_projector.patch_merger.merging_layer.weight',
      ...linear(VISION.hidden, VISION.hidden * VISION.merge ** 2),
    ],
    ['multi_modal_projector.linear_1.weight', ...linear(TEXT.hidden, VISION.hidden)],
    ['multi_modal_projector.linear_2.weight', ...linear(TEXT.hidden, TEXT.hidden, INIT.projectorOut)],
  ];
}

/** One stream of normal numbers a tensor, so that the size of one does not change the others. */
function randomWeights(vocabSize: number, seed: number) {
  return tensorPlan(vocabSize).map(([name, shape, deviation], index) => {
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(1);
    const random = new MersenneTwister(counterHash(seed, index));
    if (deviation > 0) for (let i = 0; i < data.length; i++) data[i] = deviation * random.nextNormal();
    return { name, dtype: 'F32' as const, shape, data };
  });
}
