import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { explainEmpty, explainKeys, explainNames } from '../../src/lora/explain-keys.js';
import { refuseForeignConfig, requireAdapterFolder, requireAdapterWeights } from '../../src/lora/foreign-adapter.js';

const KNOWN = new Set([
  'model.language_model.layers.0.self_attn.q_proj',
  'model.language_model.layers.11.self_attn.q_proj',
]);
const LAYER = 'model.language_model.layers.0.self_attn.q_proj';
const explain = (key: string, all = 4, base?: string) => explainKeys([key], all, KNOWN, base);

describe('keys that do not fit are explained, with what to do', () => {
  it.each([
    ['layers.0.self_attn.q_proj.lora_a', 'an mlx adapter', 'Fuse it into its model with mlx'],
    ['layers.0.self_attn.q_proj.A', 'an mlx-vlm adapter', 'Fuse it into its model with mlx'],
    ['layers.10.attn.q_proj.lora_a.weight', 'a torchtune adapter', 'FullModelHFCheckpointer'],
    ['layers.10.attention.wq.lora_A.weight', 'Mistral’s own layout', 'merge_lora'],
    ['layers.0.feed_forward.w1.lora_B.weight', 'Mistral’s own layout', 'again on the Hugging Face files'],
    ['vision.layers.3.attention.wo.lora_A.weight', 'Mistral’s own layout', 'another order'],
    ['decoder.layers.0.self_attention.linear_qkv.adapter.x', 'a NeMo or Megatron model', 'q, k and v are one layer'],
    ['base_model.model.model.layers.10.self_attn.q_proj.lora_A.weight', 'a text-only model', 'towers: "language"'],
    [
      'model.model.layers.0.mlp.up_proj.lora_B.weight',
      'a text-only model',
      'the decoder is called model.language_model',
    ],
    [`base_model.model.${LAYER}.modules_to_save.weight`, 'trained beside LoRA', 'merge_and_unload'],
    [`base_model.model.${LAYER}.original_module.weight`, 'trained beside LoRA', 'without modules_to_save'],
    ['base_model.model.model.embed_tokens.weight', 'trained beside LoRA', 'merge_and_unload'],
    ['base_model.model.model.norm.bias', 'trained beside LoRA', 'merge_and_unload'],
    ['base_model.model.model.embed_tokens.lora_embedding_A', 'matrices of the embeddings', 'without embed_tokens'],
    [`base_model.model.${LAYER}.lora_B.bias`, 'biases of B', 'without lora_bias'],
    [`base_model.model.${LAYER}.lora_B.default.bias`, 'biases of B', 'without lora_bias'],
    [`base_model.model.${LAYER}.lora_magnitude_vector`, 'another method than LoRA', 'Merge it into its base model'],
    [`base_model.model.${LAYER}.hada_w1_a`, 'another method than LoRA', 'Merge it into its base model'],
    ['lora_unet_down_blocks_0.lora_down.weight', 'a diffusion model', 'another kind of model'],
    ['te.block.lora.up.weight', 'a diffusion model', 'another kind of model'],
    ['lora_te_text_model.alpha', 'a diffusion model', 'another kind of model'],
    ['transformer.blocks.0.attn.lora_A.weight', 'a diffusion model', 'another kind of model'],
    ['model.embed_tokens.weight', 'a checkpoint, not an adapter', 'fromPretrained or loadModel'],
    ['model.layer.weight_scale_inv', 'a checkpoint, not an adapter', 'fromPretrained or loadModel'],
    ['module.base.lora_A.weight', 'a wrapped model', 'Unwrap the model before saving it'],
    ['a._orig_mod.b.lora_A.weight', 'a wrapped model', 'Unwrap the model before saving it'],
    ['a._fsdp_wrapped_module.b.lora_A.weight', 'a wrapped model', 'Unwrap the model before saving it'],
  ])('%s', (key, what, hint) => {
    const found = explain(key)!;
    expect(found.reason).toMatch(/^1 of 4 keys are /);
    expect(found.reason).toContain(what);
    expect(found.reason).toContain(`, e.g. ${key}`);
    expect(found.hint).toContain(hint);
  });

  it('as the output head, before anything else', () => {
    for (const name of ['lm_head', 'model.lm_head']) {
      const keys = [`base_model.model.${name}.lora_A.weight`, 'layers.0.q_proj.lora_a'];
      const { reason, hint } = explainKeys(keys, 9, KNOWN)!;
      expect(reason).toBe('1 of 9 keys are LoRA matrices of the output head (lm_head)');
      expect(hint).toContain('mergeAdapter folds such an adapter into its base checkpoint');
      expect(hint).toContain('Or train it without lm_head.');
    }
    for (const name of ['x.lm_head', 'lm_head.x']) {
      expect(explain(`base_model.model.${name}.lora_A.weight`)).toBeUndefined();
    }
  });

  it('as layers under another prefix', () => {
    const keys = [
      'base_model.model.decoder.layers.11.self_attn.q_proj.lora_A.weight',
      'base_model.model.decoder.layers.5.self_attn.q_proj.lora_A.weight',
      'no key of an adapter',
    ];
    expect(explainKeys(keys, 5, KNOWN)).toEqual({
      reason: '1 of 5 keys spell the layers otherwise: "decoder." where this model has "model.language_model."',
      hint: 'Rename the keys in adapter_model.safetensors: PEFT writes base_model.model.model.language_model.… for this model.',
    });
  });

  it('as layers that the configuration does not choose', () => {
    const key = `base_model.model.${LAYER}.lora_A.weight`;
    expect(explain(key)).toEqual({
      reason: `1 of 4 keys are of layers that adapter_config.json does not choose, e.g. ${key}`,
      hint: 'Name them in its target_modules, as they were in training: the two files belong to different adapters.',
    });
  });

  it('as those of another model only if none fits', () => {
    const key = 'base_model.model.visual.blocks.0.qkv.lora_A.weight';
    expect(explain(key)).toBeUndefined();
    expect(explainKeys([], 0, KNOWN)).toBeUndefined();
    expect(explain(key, 1)).toEqual({
      reason: `none of its 1 keys is of a layer of this model, e.g. ${key}`,
      hint: 'It was trained on another kind of model: load it onto that one.',
    });
    expect(explain(key, 1, 'a/model')!.hint).toBe(
      'It was trained on another kind of model, "a/model": load it onto that one.',
    );
  });

  it('as several adapters in one file', () => {
    expect(explainNames(new Set(['a']))).toBeUndefined();
    expect(explainNames(new Set([undefined]))).toBeUndefined();
    expect(explainNames(new Set(['a', undefined]))).toEqual({
      reason: 'the file holds several adapters: "a", one without a name',
      hint: 'PEFT writes each into a folder of its own: model.save_pretrained(folder, selected_adapters=[…]).',
    });
  });

  it('as empty', () => {
    expect(explainEmpty([{ shape: [1] }])).toBeUndefined();
    expect(explainEmpty([])!.reason).toBe('the file holds no tensor');
    expect(explainEmpty([{ shape: [2] }, { shape: [0, 2] }])).toEqual({
      reason: '1 of 2 tensors hold no element',
      hint: expect.stringContaining('ZeRO-3'),
    });
  });
});

describe('a configuration', () => {
  const refusal = (json: unknown) => () => refuseForeignConfig(json, 'adapter_config.json');

  it.each([
    [{ lora_parameters: {} }, /of an mlx adapter, not of PEFT[\s\S]*Fuse it/],
    [{ lora_layers: 8 }, /of an mlx adapter/],
    [{ num_layers: 8 }, /of an mlx adapter/],
    [{ fine_tune_type: 'lora' }, /of an mlx adapter/],
    [{ rank: 8, alpha: 16 }, /of an mlx-vlm adapter, not of PEFT[\s\S]*Fuse it/],
    [{ rank: 8, scale: 2 }, /of an mlx-vlm adapter/],
    [{ model_type: 'mistral3' }, /is a model's config.json[\s\S]*Put adapter_config.json of the adapter there/],
    [{ architectures: [] }, /is a model's config.json/],
    [{ text_config: {} }, /is a model's config.json/],
    [{ base_model: 'a' }, /of a training tool, not of PEFT[\s\S]*the adapter_config.json that PEFT wrote/],
    [{ adapter: 'lora' }, /of a training tool/],
    [{ datasets: [] }, /of a training tool/],
    [{ sequence_len: 1 }, /of a training tool/],
  ])('of another tool is named: %j', (json, message) => {
    expect(refusal(json)).toThrow(ConfigError);
    expect(refusal(json)).toThrow(message);
  });

  it.each([
    [{ peft_type: 'LORA', num_layers: 8 }],
    [{ rank: 8 }],
    [{ rank: 8, alpha: 1, r: 8 }],
    [{ rank: 8, alpha: 1, lora_alpha: 8 }],
    [{ r: 8 }],
    [null],
    ['text'],
    [[]],
  ])('that may be PEFT’s is left to its reader: %j', (json) => {
    expect(refusal(json)()).toBeUndefined();
  });
});

describe('a folder', () => {
  let root: string;
  let made = 0;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'foreign-'));
  });
  afterAll(() => rm(root, { recursive: true }));

  const folder = async (...names: string[]): Promise<string> => {
    const dir = join(root, `${made++}`);
    await mkdir(dir);
    for (const name of names) {
      await mkdir(join(dir, name, '..'), { recursive: true });
      await writeFile(join(dir, name), '');
    }
    return dir;
  };

  it('with the two files is one of an adapter', async () => {
    const dir = await folder('adapter_config.json', 'adapter_model.safetensors');
    await requireAdapterFolder(dir);
    await requireAdapterWeights(dir);
  });

  it.each([
    [['config.json', 'model.safetensors'], /That is a model: fromPretrained loads it\. Give the folder of an adapter/],
    [['a.png', 'b.png', 'c.png'], /That is a data set: ImageFolder.load reads it\. Give the folder of an adapter/],
    [['adapters.safetensors'], /Export it in PEFT's format with the tool that made it\. Give the folder/],
    [['adapter_0.pt'], /Export it in PEFT's format with the tool that made it/],
    [
      ['checkpoint-5/adapter_config.json', 'checkpoint-5/adapter_model.safetensors'],
      /the subfolder, e\.g\. checkpoint-5\./,
    ],
    [['adapter_model.safetensors'], /Copy adapter_config.json beside the weights: it says their rank/],
    [[], /hint: Give the folder of an adapter: adapter_config.json and adapter_model.safetensors\.$/m],
  ])('without a configuration says what it is: %j', async (names, message) => {
    const dir = await folder(...names);
    await expect(requireAdapterFolder(dir)).rejects.toThrow(message);
    await expect(requireAdapterFolder(dir)).rejects.toMatchObject({
      message: expect.stringContaining(`cannot read ${join(dir, 'adapter_config.json')}: the folder `),
      details: { path: dir, kind: expect.any(String) },
    });
  });

  it('that is not there says where to look', async () => {
    const missing = requireAdapterFolder(join(root, 'nowhere'));
    await expect(missing).rejects.toThrow(/Check the path; for a repository on the Hub, snapshotDownload/);
  });

  it.each([
    ['adapter_model.bin', /a Python pickle, which is never read[\s\S]*save it again: that writes/],
    ['adapters.safetensors', /holds adapters.safetensors, the weights of an mlx adapter[\s\S]*Fuse it/],
    ['adapter_model-00001-of-00012.safetensors', /in several files \(adapter_model-0[\s\S]*max_shard_size/],
    ['adapter_model.safetensors.index.json', /in several files/],
    ['adapter_12.pt', /holds adapter_12.pt, the weights of an adapter in the layout of another tool[\s\S]*Export it/],
    ['lora.safetensors', /layout of another tool/],
    ['pytorch_lora_weights.safetensors', /layout of another tool/],
    ['x-adapter_model-1-of-2.safetensors', /adapter_config.json but no adapter_model.safetensors[\s\S]*not finished/],
    ['adapter_model-1-of-2.safetensors.tmp', /but no adapter_model.safetensors/],
    ['my_adapter_1.pt', /but no adapter_model.safetensors/],
    ['lora.safetensors.part', /but no adapter_model.safetensors/],
  ])('without weights says what they are: %s', async (name, message) => {
    const dir = await folder(name);
    await expect(requireAdapterWeights(dir)).rejects.toThrow(CheckpointError);
    await expect(requireAdapterWeights(dir)).rejects.toMatchObject({
      message: expect.stringMatching(message),
      details: { path: dir },
    });
  });

  it('that cannot be listed holds no weights', async () => {
    await expect(requireAdapterWeights(join(root, 'nowhere'))).rejects.toThrow(/but no adapter_model.safetensors/);
  });
});
