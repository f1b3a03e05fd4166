import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { float32ToBfloat16 } from '../../src/formats/half-precision.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { isTarget, type PeftRules } from '../../src/lora/peft-rules.js';
import { moduleNames } from '../../src/lora/peft-targets.js';
import { folder, oldName, rewrite, rewriteConfig, trained, useAdapterFolder } from './adapter-folder.js';
import { fakeModel, someNumbers } from './fake-engine.js';

useAdapterFolder();

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
