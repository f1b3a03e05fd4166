import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { float32ToBfloat16 } from '../../../src/engine/half-precision.js';
import { SafetensorsFile, type TensorToWrite, writeSafetensors } from '../../../src/engine/safetensors.js';
import { CheckpointError, ConfigError, TuneError } from '../../../src/errors.js';
import { loadAdapter, saveAdapter } from '../../../src/lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../../src/lora/lora-config.js';
import { isTarget, type PeftRules } from '../../../src/lora/peft-rules.js';
import { moduleNames } from '../../../src/lora/peft-targets.js';
import { type FakeModel, fakeModel, someNumbers } from './fake-engine.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'adapter-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** An adapter whose A and B all have values. */
function trained(options: LoraConfigOptions, model: FakeModel = fakeModel()): LoraAdapter {
  const adapter = applyLora(model, options);
  model.engine.writeParameters(adapter.parameters, someNumbers(adapter.parameters.size, 3));
  return adapter;
}

/** Renames, drops or reshapes the tensors of a saved adapter. */
async function rewrite(change: (tensor: TensorToWrite & { data: Float32Array }) => TensorToWrite[]): Promise<void> {
  const path = join(folder, 'adapter_model.safetensors');
  const file = await SafetensorsFile.open(path);
  const tensors: TensorToWrite[] = [];
  for (const { name, dtype, shape } of file.tensors.values()) {
    tensors.push(...change({ name, dtype, shape, data: await file.readFloat32(name) }));
  }
  await file.close();
  await writeSafetensors(path, tensors);
}

async function rewriteConfig(changes: Record<string, unknown>): Promise<void> {
  const path = join(folder, 'adapter_config.json');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...changes }));
}

/** The spelling of transformers up to 4.51. */
const oldName = (name: string): string =>
  name
    .replace('base_model.model.model.language_model.', 'base_model.model.language_model.model.')
    .replace('base_model.model.model.vision_tower.', 'base_model.model.vision_tower.')
    .replace('base_model.model.model.multi_modal_projector.', 'base_model.model.multi_modal_projector.');

describe('hostile adapters', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY])(
    'with the number %s are refused by the name of the tensor',
    async (bad) => {
      await saveAdapter(trained({ r: 2 }), folder);
      await rewrite((tensor) => {
        if (tensor.name.includes('layers.1.mlp.up_proj.lora_B')) tensor.data[7] = bad;
        return [tensor];
      });
      const error = await loadAdapter(folder, fakeModel()).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toMatch(/layers\.1\.mlp\.up_proj\.lora_B\.weight: element 7 is (NaN|Infinity)/);
    },
  );

  it('that claim a huge rank are refused before memory is taken', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    await rewriteConfig({ r: 60_000 });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/shape \[2, 12\], expected \[60000, 12\]/);
    await rewriteConfig({ r: 1e9 });
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(ConfigError);
  });

  it('with keys that JavaScript takes for its own are refused', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    const path = join(folder, 'adapter_config.json');
    await writeFile(
      path,
      (await readFile(path, 'utf8')).replace('"rank_pattern": {}', '"rank_pattern": {"__proto__": 7}'),
    );
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/__proto__/);
    await writeFile(path, `{"r": ${'['.repeat(2_000_000)}`);
    await expect(loadAdapter(folder, fakeModel())).rejects.toThrow(/cannot read .*bytes, at most/);
  });
});

describe('saveAdapter and loadAdapter', () => {
  it('tell of a file in the place of the folder, and of arguments that are none', async () => {
    const file = join(folder, 'file');
    await writeFile(file, 'x');
    for (const path of [file, join(file, 'below')]) {
      await expect(saveAdapter(trained({ r: 2 }), path)).rejects.toThrow(
        /cannot make the folder .*: a file is in its place/,
      );
    }
    expect(await readFile(file, 'utf8')).toBe('x');
    await expect(saveAdapter(trained({ r: 2 }), undefined as never)).rejects.toThrow(
      'saveAdapter: expected a path, got nothing',
    );
    await expect(loadAdapter(fakeModel() as never, folder as never)).rejects.toThrow(
      /loadAdapter: expected a model, .*got "/,
    );
    await expect(loadAdapter(undefined as never, fakeModel())).rejects.toThrow(
      /expected "owner\/name" on the Hub or a folder/,
    );
  });

  it('leave what is on the disk as it is where the numbers have diverged', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    const before = await readFile(join(folder, 'adapter_model.safetensors'));
    const model = fakeModel();
    const adapter = trained({ r: 2 }, model);
    const numbers = someNumbers(adapter.parameters.size, 3);
    numbers[1] = Number.NaN;
    model.engine.writeParameters(adapter.parameters, numbers);
    await expect(saveAdapter(adapter, folder)).rejects.toThrow(/lora_A\.weight holds NaN: the adapter is not saved/);
    expect(await readFile(join(folder, 'adapter_model.safetensors'))).toEqual(before);
  });

  it('write what PEFT writes, and give every bit back', async () => {
    const adapter = trained({ r: 4, alpha: 16, dropout: 0.05, rankPattern: { q_proj: 2 }, useRslora: true });
    await saveAdapter(adapter, folder, { baseModelNameOrPath: 'org/base' });
    expect((await readdir(folder)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const file = await SafetensorsFile.open(join(folder, 'adapter_model.safetensors'));
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(file.tensors.size).toBe(56);
    expect(file.info('base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_A.weight')).toMatchObject({
      dtype: 'F32',
      shape: [2, 12],
    });
    expect(
      file.info('base_model.model.model.vision_tower.transformer.layers.0.feed_forward.down_proj.lora_B.weight').shape,
    ).toEqual([10, 4]);
    await file.close();
    const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    expect(json).toMatchObject({
      peft_type: 'LORA',
      task_type: 'CAUSAL_LM',
      base_model_name_or_path: 'org/base',
      inference_mode: true,
      lora_dropout: 0.05,
      use_rslora: true,
      rank_pattern: { q_proj: 2 },
    });

    const model = fakeModel();
    const loaded = await loadAdapter(folder, model);
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
    expect(loaded.config).toEqual(adapter.config);
    expect(model.linearModules.filter(({ lora }) => lora).map(({ lora }) => lora!.scale)).toEqual(
      adapter.modules.map(({ module }) => module.lora!.scale),
    );
  });

  it.each<LoraConfigOptions>([
    { targetModules: 'all-linear', towers: 'vision' },
    { targetModules: 'all-linear', excludeModules: ['linear_1'] },
    { towers: 'language', excludeModules: 'model.*layers.0.*' },
    { layersToTransform: [1] },
  ])('choose the same layers again: %j', async (options) => {
    const adapter = trained(options);
    await saveAdapter(adapter, folder);
    const loaded = await loadAdapter(folder, fakeModel());
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
  });

  it('write endings for "all-linear", as servers do not know the word', async () => {
    await saveAdapter(trained({ targetModules: 'all-linear', towers: 'language' }), folder);
    const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    expect(json.target_modules).toEqual(['down_proj', 'gate_proj', 'k_proj', 'o_proj', 'q_proj', 'up_proj', 'v_proj']);
  });

  it.each<[LoraConfigOptions, number]>([
    [{ targetModules: '.*language_model.*\\.(q|v)_proj' }, 4],
    [{ targetModules: '.*language_model.*' }, 14],
    [{ targetModules: ['q_proj', 'lm_head', 'embed_tokens'] }, 4],
    [{ targetModules: ['q_proj'], excludeModules: '.*vision.*' }, 2],
    [{ targetModules: ['q_proj'], layersToTransform: 1, layersPattern: 'layers' }, 2],
    [{ targetModules: '.*', towers: 'language' }, 14],
  ])('write rules by which PEFT chooses what was matched: %j', async (options, count) => {
    const adapter = trained(options);
    await saveAdapter(adapter, folder);
    const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    const rules: PeftRules = {
      targetModules: json.target_modules,
      excludeModules: json.exclude_modules ?? undefined,
      layersToTransform: json.layers_to_transform ?? undefined,
      layersPattern: json.layers_pattern ?? undefined,
    };
    const all = moduleNames(fakeModel().linearModules.map(({ name }) => name));
    expect(all).toEqual(
      expect.arrayContaining(['lm_head', 'model.language_model.norm', 'model.language_model.layers']),
    );
    expect(all.filter((name) => isTarget(rules, name)).sort()).toEqual(
      adapter.modules.map(({ module }) => module.name).sort(),
    );
    expect(adapter.modules).toHaveLength(count);
    expect(await (await loadAdapter(folder, fakeModel())).readValues()).toEqual(await adapter.readValues());
  });

  it('say what is wrong with arguments in each place', async () => {
    const model = fakeModel();
    const adapter = trained({ r: 2 }, model);
    const save = (...given: unknown[]) => saveAdapter(...(given as Parameters<typeof saveAdapter>));
    await expect(save(model, folder)).rejects.toThrow(
      /expected the adapter that applyLora or loadAdapter returned, got the model\n.*saveAdapter\(adapter, 'folder'\)/,
    );
    await expect(save(adapter)).rejects.toThrow(/expected a path, got nothing\n.*saveAdapter\(adapter, 'folder'\)/);
    await expect(save(adapter, model)).rejects.toThrow(/expected a path, got /);
    await expect(save(folder, adapter)).rejects.toThrow(/expected the adapter .*, got "/);
    await expect(save(undefined, folder)).rejects.toThrow(/expected the adapter .*, got nothing/);
    await expect(
      save(
        loadAdapter(folder, model).catch(() => undefined),
        folder,
      ),
    ).rejects.toThrow(/a promise: await it/);
    await expect(save(adapter, folder, { baseModel: 'x' })).rejects.toThrow(/did you mean `baseModelNameOrPath`/);
    await expect(save(adapter, folder, { chatTemplate: 'a.jinja' })).rejects.toThrow(/not the path of a file/);
    await expect(save(adapter, folder, { processor: { chatTemplate: 5 } })).rejects.toThrow(/expected a processor/);
    await expect(loadAdapter(folder, { model, processor: {} } as never)).rejects.toThrow(
      /expected a model.*got all that fromPretrained gives\n.*const \{ model, processor \}/,
    );
    await expect(loadAdapter(folder, { ...model, isDisposed: true })).rejects.toThrow(/the model is disposed of/);
    expect(await readdir(folder)).toEqual([]);
  });

  it('carry the chat template, given in any form, and keep it when saved again', async () => {
    const template = '{{ messages }}';
    for (const given of [
      { chatTemplate: template },
      { chatTemplate: { source: template } },
      { processor: { chatTemplate: { source: template } } },
      { chatTemplate: template, processor: { chatTemplate: { source: '{{ other }}' } } },
    ]) {
      await saveAdapter(trained({ r: 2 }), folder, given);
      expect(await readFile(join(folder, 'chat_template.jinja'), 'utf8')).toBe(template);
      await rm(join(folder, 'chat_template.jinja'));
    }
    await saveAdapter(trained({ r: 2 }), folder, { processor: { chatTemplate: undefined } });
    expect(await readdir(folder)).not.toContain('chat_template.jinja');
    await saveAdapter(trained({ r: 2 }), folder, {
      chatTemplate: template,
      baseModelNameOrPath: 'org/x',
      revision: 'v2',
    });
    const loaded = await loadAdapter(folder, fakeModel());
    expect(loaded.origin).toEqual({ baseModelNameOrPath: 'org/x', revision: 'v2', chatTemplate: template });
    await saveAdapter(loaded, join(folder, 'again'));
    expect(await readFile(join(folder, 'again', 'chat_template.jinja'), 'utf8')).toBe(template);
    const json = JSON.parse(await readFile(join(folder, 'again', 'adapter_config.json'), 'utf8'));
    expect(json).toMatchObject({ base_model_name_or_path: 'org/x', revision: 'v2' });
  });

  it('replace an adapter that is there, and leave no temporary files', async () => {
    await saveAdapter(trained({ r: 2 }), folder);
    await saveAdapter(trained({ r: 3 }), folder);
    expect(await readdir(folder)).toHaveLength(2);
    expect((await loadAdapter(folder, fakeModel())).config.r).toBe(3);
  });

  it('read the older names of both towers, with rules written for them, and save them as current ones', async () => {
    const options: LoraConfigOptions = {
      r: 2,
      targetModules: 'all-linear',
      rankPattern: { 'layers.0.mlp.up_proj': 3 },
    };
    const adapter = trained(options);
    await saveAdapter(adapter, folder);
    await rewrite((tensor) => [{ ...tensor, name: oldName(tensor.name) }]);
    await rewriteConfig({
      target_modules: '(language_model\\.model|vision_tower|multi_modal_projector)\\..*(proj|linear_\\d|merging_layer)',
      rank_pattern: { '^language_model.model.layers.0.mlp.up_proj': 3 },
    });
    const model = fakeModel();
    const loaded = await loadAdapter(folder, model);
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
    loaded.dispose();

    await saveAdapter(await loadAdapter(folder, model), folder);
    const again = await loadAdapter(folder, fakeModel());
    expect(await again.readValues()).toEqual(await adapter.readValues());
    expect(again.parameters.parameters[0]!.name).toContain('base_model.model.model.language_model');
  });

  it('widen adapters stored in half precision', async () => {
    const adapter = trained({ r: 2 });
    await saveAdapter(adapter, folder);
    await rewrite(({ name, shape, data }) => [{ name, shape, dtype: 'BF16', data: float32ToBfloat16(data) }]);
    const loaded = await (await loadAdapter(folder, fakeModel())).readValues();
    for (const [name, values] of await adapter.readValues()) {
      const error = values.reduce((most, value, i) => Math.max(most, Math.abs(value - loaded.get(name)![i]!)), 0);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThanOrEqual(2 ** -10);
    }
  });
});

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
