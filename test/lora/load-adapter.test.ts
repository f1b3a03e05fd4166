import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError, TuneError } from '../../src/errors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { folder, rewrite, rewriteConfig, trained, useAdapterFolder } from './adapter-folder.js';
import { fakeModel } from './fake-engine.js';

useAdapterFolder();

describe('loadAdapter', () => {
  it('lists missing, unexpected and misshapen tensors at once, and leaves the model alone', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    await rewrite((tensor) => {
      if (tensor.name.endsWith('layers.0.self_attn.q_proj.lora_A.weight')) return [];
      if (tensor.name.endsWith('layers.1.mlp.up_proj.lora_B.weight')) return [{ ...tensor, shape: [2, 20] }];
      if (tensor.name.endsWith('layers.1.attention.v_proj.lora_B.weight')) {
        return [tensor, { ...tensor, name: tensor.name.replace('layers.1', 'layers.9') }];
      }
      if (tensor.name.endsWith('layers.0.mlp.gate_proj.lora_A.weight')) {
        return [tensor, { ...tensor, name: 'base_model.model.lm_head.lora_embedding_A' }];
      }
      return [tensor];
    });
    const model = fakeModel();
    const error = await loadAdapter(folder, model).catch((caught) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error.details.faults).toHaveLength(4);
    expect(error.message).toMatch(/q_proj.lora_A.weight: missing, expected \[2, 12\]/);
    expect(error.message).toMatch(/up_proj.lora_B.weight: shape \[2, 20\], expected \[20, 2\]/);
    expect(error.message).toMatch(/layers.9.*: unexpected/);
    expect(error.message).toMatch(/lora_embedding_A: unexpected/);
    expect(model.linearModules.some(({ lora }) => lora)).toBe(false);
  });

  it('refuses an adapter of another rank, and one whose layers the model lacks', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    await rewriteConfig({ r: 4 });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/56 bad tensors/);
    await rewriteConfig({ r: 2 });
    await expect(loadAdapter(folder, fakeModel({ layers: 1 }))).rejects.toThrow(/28 bad tensors.*28 expected, 56/);
  });

  it('says how to load half an adapter, and does it when asked', async () => {
    const adapter = trained({ r: 2, towers: 'language' });
    await saveAdapter(adapter, folder);
    await rewriteConfig({ exclude_modules: null });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/missing[\s\S]*`towers`/);
    const loaded = await loadAdapter(folder, fakeModel(), { towers: 'language' });
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
  });

  it('refuses files of a prefix that is not the model’s', async () => {
    await saveAdapter(trained({ r: 2, towers: 'language' }), folder);
    await rewrite((tensor) => [{ ...tensor, name: tensor.name.replace('model.language_model.', 'model.') }]);
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/model.layers.0.*unexpected/);
  });

  const rename = (from: string | RegExp, to: string) => () =>
    rewrite((tensor) => [{ ...tensor, name: tensor.name.replace(from, to) }]);
  it.each<[string, () => Promise<void>, RegExp]>([
    [
      'of a text-only model',
      rename('model.language_model.', 'model.'),
      /28 of 28 keys are those of a text-only model \(model.layers…\), e.g. base_model.*\n[\s\S]*hint: .*language model alone.*towers: "language"/,
    ],
    [
      'of a text-only model without the wrapper',
      rename('base_model.model.model.language_model.', 'model.'),
      /text-only model/,
    ],
    ['of a text-only model, bare', rename('base_model.model.model.language_model.', ''), /text-only model/],
    [
      'of a text-only model, with its own rules',
      async () => {
        await rename('model.language_model.', 'model.')();
        await rewriteConfig({ target_modules: ['model.layers.0.self_attn.q_proj'], exclude_modules: null });
      },
      /does not fit the model; 28 of 28 keys are those of a text-only model/,
    ],
    ['of mlx', rename(/lora_A\.weight$/, 'lora_a'), /14 of 28 keys are those of an mlx adapter/],
    ['of a module saved beside', rename(/lora_A\.weight$/, 'modules_to_save.weight'), /14 of 28 keys are whole layers/],
    ['of a checkpoint', rename(/^base_model\.model\.(.*)\.lora_([AB])/, '$1.$2'), /a checkpoint, not an adapter/],
    ['of an embedding', rename(/lora_([AB])\.weight$/, 'lora_embedding_$1'), /LoRA matrices of the embeddings/],
    ['of DoRA', rename(/lora_A\.weight$/, 'lora_magnitude_vector'), /14 of 28 keys are parameters of another method/],
    ['of diffusion', rename(/lora_A\.weight$/, 'lora_down.weight'), /those of a diffusion model/],
    [
      'of a server with another prefix',
      rename('model.language_model.', 'model.language_model.model.'),
      /28 of 28 keys spell the layers otherwise: "model.language_model.model." where this model has "model.language_model."[\s\S]*Rename the keys/,
    ],
    [
      'of layers that the model lacks',
      rename('layers.1.', 'layers.7.'),
      /layers\.7.*unexpected[\s\S]*belongs to another model/,
    ],
    ['of a wrapped model', rename(/^/, 'module.'), /those of a wrapped model/],
    ['of FSDP', rename('layers.0.', 'layers.0._fsdp_wrapped_module.'), /14 of 28 keys are those of a wrapped model/],
    [
      'of checkpointed layers',
      rename('layers.0.', 'layers.0._checkpoint_wrapped_module.'),
      /14 of 28 keys are those of a wrapped model/,
    ],
    ['of mlx-vlm', rename(/lora_([AB])\.weight$/, '$1'), /28 of 28 keys are those of an mlx-vlm adapter/],
    [
      'of torchtune',
      rename(/^base_model\.model\.model\.language_model\.(.*)lora_A/, 'decoder.$1lora_a'),
      /14 of 28 keys are those of a torchtune adapter/,
    ],
    [
      'of mistral-finetune',
      rename(/^.*(layers\.\d\.)self_attn\.(.)_proj/, '$1attention.w$2'),
      /16 of 28 keys are those of Mistral’s own layout/,
    ],
    [
      'of NeMo',
      rename(/self_attn\.q_proj/, 'self_attention.linear_qkv'),
      /4 of 28 keys are those of a NeMo or Megatron/,
    ],
    [
      'of diffusers',
      rename(/^base_model\.model\.(.*)lora_A/, 'unet.$1lora.down'),
      /14 of 28 keys are those of a diffusion model/,
    ],
    ['of B with a bias', rename('q_proj.lora_B.weight', 'q_proj.lora_B.bias'), /2 of 28 keys are biases of B/],
    [
      'of layers that the rules leave out',
      () => rewriteConfig({ target_modules: ['q_proj', 'v_proj'] }),
      /20 of 28 keys are of layers that adapter_config.json does not choose[\s\S]*target_modules/,
    ],
    [
      'of another kind of model',
      async () => {
        await rename('model.language_model.layers.', 'model.visual.blocks.')();
        await rewriteConfig({ target_modules: ['qkv'], exclude_modules: null, base_model_name_or_path: 'a/other-vl' });
      },
      /none of its \d+ keys is of a layer of this model[\s\S]*"a\/other-vl"/,
    ],
    [
      'of two adapters',
      () =>
        rewrite((tensor) =>
          ['one', 'two'].map((name) => ({ ...tensor, name: tensor.name.replace('.weight', `.${name}.weight`) })),
        ),
      /the file holds several adapters: "one", "two"/,
    ],
    [
      'without elements',
      () => rewrite((tensor) => [{ ...tensor, shape: [0], data: new Float32Array(0) }]),
      /28 of 28 tensors hold no element[\s\S]*ZeRO-3/,
    ],
    ['not there at all', () => rewrite(() => []), /the file holds no tensor/],
    ['of PEFT twice', rename(/^base_model\.model\./, 'base_model.model.base_model.model.'), /those of a wrapped model/],
  ])('says what keys %s are', async (_, change, message) => {
    await saveAdapter(trained({ r: 2, towers: 'language' }), folder);
    await change();
    const error = await loadAdapter(folder, fakeModel()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  it('reads keys that hold the name of the adapter, and names it', async () => {
    const adapter = trained({ r: 2 });
    await saveAdapter(adapter, folder);
    for (const name of ['default', 'mine']) {
      await rewrite((tensor) => [{ ...tensor, name: tensor.name.replace(/\.weight$/, `.${name}.weight`) }]);
      const lines: string[] = [];
      const loaded = await loadAdapter(folder, fakeModel(), { onWarning: (line) => lines.push(line) });
      expect(await loaded.readValues()).toEqual(await adapter.readValues());
      expect(lines).toContainEqual(expect.stringMatching(`the adapter's name \\(lora_A.${name}.weight\\)`));
      await rewrite((tensor) => [{ ...tensor, name: tensor.name.replace(`.${name}.weight`, '.weight') }]);
    }
  });

  it('reads the folders that training tools leave, with all that lies beside', async () => {
    const adapter = trained({ r: 2 });
    await saveAdapter(adapter, folder);
    for (const name of ['README.md', 'tokenizer.json', 'training_args.bin', 'trainer_state.json', 'all_results.json']) {
      await writeFile(join(folder, name), 'x');
    }
    await mkdir(join(folder, 'checkpoint-20'));
    const loaded = await loadAdapter(folder, fakeModel());
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
  });

  it.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'an adapter of mlx',
      async () => {
        const json = { fine_tune_type: 'lora', num_layers: 16, lora_parameters: { rank: 8, scale: 20 } };
        await writeFile(join(folder, 'adapter_config.json'), JSON.stringify(json));
        await writeFile(join(folder, 'adapters.safetensors'), 'x');
      },
      /is the configuration of an mlx adapter, not of PEFT[\s\S]*fuse/i,
    ],
    [
      'a model',
      async () => {
        await writeFile(join(folder, 'config.json'), '{}');
        await writeFile(join(folder, 'model.safetensors'), 'x');
      },
      /the folder holds a model[\s\S]*fromPretrained loads it/,
    ],
    [
      'the folder above checkpoints',
      async () => {
        await saveAdapter(trained({ r: 2 }), join(folder, 'checkpoint-10'));
        await saveAdapter(trained({ r: 2 }), join(folder, 'checkpoint-20'));
      },
      /subfolders: checkpoint-10, checkpoint-20 \(adapter\)[\s\S]*Give the subfolder, e.g. checkpoint-10/,
    ],
    [
      'an image folder',
      async () => {
        await mkdir(join(folder, 'cats'));
        await writeFile(join(folder, 'cats', 'a.jpg'), 'x');
      },
      /the folder holds images[\s\S]*ImageFolder/,
    ],
    ['weights alone', () => writeFile(join(folder, 'adapter_model.safetensors'), 'x'), /but no adapter_config.json/],
    [
      'a configuration alone',
      async () => {
        await saveAdapter(trained({ r: 2 }), folder);
        await rm(join(folder, 'adapter_model.safetensors'));
      },
      /holds adapter_config.json but no adapter_model.safetensors/,
    ],
    [
      "a model's configuration",
      () => writeFile(join(folder, 'adapter_config.json'), '{"model_type": "mistral3"}'),
      /is a model's config.json/,
    ],
    ['nothing', async () => undefined, /the folder is empty/],
  ])('names what a folder holds instead: %s', async (_, make, message) => {
    await make();
    const error = await loadAdapter(folder, fakeModel()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TuneError);
    expect((error as Error).message).toMatch(message);
  });

  it('explains folders that hold no adapter that it can read', async () => {
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/cannot read .*adapter_config.json/);
    await saveAdapter(trained({ r: 2 }), folder);
    await rewriteConfig({ use_dora: true });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(ConfigError);
    await rewriteConfig({ use_dora: false });
    await rm(join(folder, 'adapter_model.safetensors'));
    await writeFile(join(folder, 'adapter_model.bin'), 'x');
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/pickle/);
  });

  it('names weights in several files, in the layout of another tool, or not fetched', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    const weights = join(folder, 'adapter_model.safetensors');
    const refused = (message: RegExp) => expect(loadAdapter(folder, fakeModel())).rejects.toThrow(message);
    await writeFile(weights, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
    await refused(/adapter_model.safetensors.* it is a pointer of Git LFS[\s\S]*git lfs pull/);
    await writeFile(weights, '<!DOCTYPE html><title>Sign in</title>');
    await refused(/it is a web page/);
    await rm(weights);
    for (const [name, message] of [
      ['adapter_0.pt', /holds adapter_0.pt, the weights of an adapter in the layout of another tool/],
      ['pytorch_lora_weights.safetensors', /in the layout of another tool/],
      ['adapter_model-00001-of-00002.safetensors', /in several files \(adapter_model-00001-of-00002.safetensors\)/],
    ] as const) {
      await writeFile(join(folder, name), 'x');
      await refused(message);
      await rm(join(folder, name));
    }
    await writeFile(join(folder, 'adapter_config.json'), 'version https://git-lfs.github.com/spec/v1\n');
    await refused(/adapter_config.json: it is a pointer of Git LFS/);
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ rank: 8, alpha: 16, dropout: 0 }));
    await refused(/the configuration of an mlx-vlm adapter/);
    await rm(join(folder, 'adapter_config.json'));
    await writeFile(join(folder, 'params.json'), '{}');
    await writeFile(join(folder, 'lora.safetensors'), 'x');
    await refused(/the folder holds an adapter of mistral-finetune \(lora.safetensors\)/);
  });

  it('says of values that are not finite that its training has diverged', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    await rewrite((tensor) => {
      (tensor.data as Float32Array)[1] = Number.NaN;
      return [tensor];
    });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/element 1 is NaN[\s\S]*training has diverged/);
  });
});
