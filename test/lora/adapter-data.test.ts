import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { adapterData, readAdapter, readAdapterConfig, readChatTemplate } from '../../src/lora/read-adapter.js';
import { writeIntoFolder } from '../../src/lora/write-adapter.js';
import { folder, oldName, rewrite, rewriteConfig, trained, useAdapterFolder } from './adapter-folder.js';
import { fakeModel, linearShapes, someNumbers } from './fake-engine.js';

useAdapterFolder();
afterEach(() => vi.restoreAllMocks());

const OPTIONS = { r: 2, targetModules: ['q_proj'], towers: 'language' as const };
const Q = 'model.language_model.layers.0.self_attn.q_proj';
const key = (module: string, factor: 'A' | 'B') => `base_model.model.${module}.lora_${factor}.weight`;
const linears = linearShapes(2).map(([name, out, inner]) => ({ name, shape: [out, inner] }));

describe('the data of an adapter', () => {
  it('is the same from its folder and from the model that it sits on', async () => {
    const adapter = trained({ ...OPTIONS, alpha: 8 });
    await saveAdapter(adapter, folder);
    const read = await readAdapter(folder, linears);
    const own = await adapterData(adapter);
    expect(read.values).toEqual(own.values);
    expect(read.modules).toEqual(own.modules);
    expect(read.modules[0]).toEqual({
      ...{ name: Q, r: 2, scale: 4 },
      ...{ a: read.values.get(key(Q, 'A')), b: read.values.get(key(Q, 'B')) },
    });
    expect([read.warnings, own.warnings]).toEqual([[], []]);
  });

  it('names its base model, trimmed, where the file says one', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    const origin = async (changes: object) => {
      await rewriteConfig(changes as Record<string, unknown>);
      return (await readAdapterConfig(folder)).origin;
    };
    expect(await origin({ base_model_name_or_path: ' a/b\n', revision: ' main ' })).toEqual({
      ...{ baseModelNameOrPath: 'a/b', revision: 'main', chatTemplate: undefined },
    });
    const none = { baseModelNameOrPath: undefined, revision: undefined, chatTemplate: undefined };
    expect(await origin({ base_model_name_or_path: '  ', revision: 5 })).toEqual(none);
    expect(await origin({ base_model_name_or_path: null, revision: null })).toEqual(none);
  });

  it('of one tensor under two names is refused by both', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    await rewrite((tensor) =>
      tensor.name === key(Q, 'A') ? [tensor, { ...tensor, name: oldName(tensor.name) }] : [tensor],
    );
    const reading = readAdapter(folder, linears);
    await expect(reading).rejects.toThrow(/: the same as base_model\.model\./);
    await expect(reading).rejects.not.toThrow(/several adapters/);
  });

  it('says of layers that the rules leave out, and of those that the model lacks, which is which', async () => {
    await saveAdapter(trained({ ...OPTIONS, targetModules: ['q_proj', 'v_proj'] }), folder);
    await rewriteConfig({ target_modules: ['q_proj'] });
    await expect(readAdapter(folder, linears)).rejects.toThrow(
      /v_proj\.lora_A\.weight: unexpected, adapter_config\.json does not choose this layer/,
    );
    const fewer = linears.filter(({ name }) => !name.endsWith('v_proj'));
    await expect(readAdapter(folder, fewer)).rejects.toThrow(
      /v_proj\.lora_A\.weight: unexpected, the model has no such/,
    );
  });

  it('of a model with an output head has one only where the file has', async () => {
    const withHead = [...linears, { name: 'lm_head', shape: [30, 12] }];
    await saveAdapter(trained({ ...OPTIONS, towers: 'both' as const }), folder);
    await rewriteConfig({ target_modules: ['q_proj', 'lm_head'], exclude_modules: null });
    expect((await readAdapter(folder, withHead)).modules.map(({ name }) => name)).not.toContain('lm_head');
    await rewrite((tensor) => {
      if (tensor.name !== key(Q, 'A')) return [tensor];
      const head = (factor: 'A' | 'B', shape: number[]) => ({
        ...{ ...tensor, name: key('lm_head', factor), shape },
        data: new Float32Array(shape[0]! * shape[1]!).fill(1),
      });
      return [tensor, head('A', [2, 12]), head('B', [30, 2])];
    });
    expect((await readAdapter(folder, withHead)).modules.at(-1)).toMatchObject({ name: 'lm_head', r: 2 });
  });

  it('under older names keeps other ranks and alphas by current names', async () => {
    const patterns = {
      rankPattern: { [`${Q.replaceAll('.', '\\.')}`]: 3 },
      alphaPattern: { 'layers\\.1\\.self_attn\\.q_proj': 7 },
    };
    const adapter = trained({ ...OPTIONS, alpha: 4, ...patterns });
    await saveAdapter(adapter, folder);
    await rewrite((tensor) => [{ ...tensor, name: oldName(tensor.name) }]);
    await rewriteConfig({
      target_modules: ['q_proj'],
      exclude_modules: '.*vision_tower.*',
      rank_pattern: { 'layers.0.self_attn.q_proj': 3 },
    });
    const { config, modules } = await readAdapter(folder, linears);
    expect(modules.map(({ name, r, scale }) => [name, r, scale])).toEqual([
      [Q, 3, 4 / 3],
      [Q.replace('layers.0', 'layers.1'), 2, 7 / 2],
    ]);
    expect(config.rankPattern).toEqual({ [Q.replaceAll('.', '\\.')]: 3 });
    expect(config.alphaPattern).toEqual({ [Q.replace('layers.0', 'layers.1').replaceAll('.', '\\.')]: 7 });
    expect([config.targetModules, config.excludeModules]).toEqual([modules.map(({ name }) => name), undefined]);
  });

  it('that does not fit at all shows which model it is of', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    const other = [{ name: 'visual.blocks.0.qkv', shape: [4, 4] }];
    const error = await readAdapter(folder, other).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/does not fit the model; none of its 4 keys is of a layer of this model/),
      details: { path: join(folder, 'adapter_model.safetensors'), reason: expect.stringMatching(/^none of its 4/) },
      cause: expect.any(Error),
    });
  });
});

describe('the files of an adapter that cannot be read', () => {
  it('are named', async () => {
    await saveAdapter(trained(OPTIONS), folder);
    await mkdir(join(folder, 'chat_template.jinja'));
    await expect(readChatTemplate(folder)).rejects.toMatchObject({
      message: expect.stringContaining(`cannot read ${join(folder, 'chat_template.jinja')}: a folder, not a file`),
      details: { path: join(folder, 'chat_template.jinja') },
    });
    await rm(join(folder, 'chat_template.jinja'), { recursive: true });
    expect(await readChatTemplate(folder)).toBeUndefined();
    await writeFile(join(folder, 'adapter_config.json'), '{');
    await expect(readAdapterConfig(folder)).rejects.toMatchObject({
      message: expect.stringContaining(`cannot read ${join(folder, 'adapter_config.json')}: `),
      hint: 'Give the folder of an adapter: adapter_config.json and adapter_model.safetensors.',
      details: { path: join(folder, 'adapter_config.json') },
    });
  });
});

describe('saveAdapter', () => {
  it('needs a path', async () => {
    await expect(saveAdapter(trained(OPTIONS), '')).rejects.toThrow('saveAdapter: expected a path, got an empty one');
    await expect(saveAdapter(undefined as never, folder)).rejects.toThrow(/^saveAdapter: expected the adapter/);
    await expect(saveAdapter(trained(OPTIONS), folder, { basemodel: 'a' } as never)).rejects.toThrow(
      /saveAdapter[\s\S]*baseModelNameOrPath/,
    );
  });

  it('says where training has diverged, and what stands in the way', async () => {
    const model = fakeModel();
    const adapter = trained(OPTIONS, model);
    const numbers = someNumbers(adapter.parameters.size, 3);
    numbers[0] = Number.NaN;
    model.engine.writeParameters(adapter.parameters, numbers);
    await expect(saveAdapter(adapter, folder)).rejects.toMatchObject({
      message: expect.stringContaining(`${key(Q, 'A')} holds NaN`),
      hint: expect.stringContaining('Its training has diverged'),
      details: { name: key(Q, 'A') },
    });
    await writeFile(join(folder, 'file'), '');
    await expect(saveAdapter(trained(OPTIONS), join(folder, 'file'))).rejects.toMatchObject({
      hint: 'An adapter is saved into a folder of its own.',
      details: { path: join(folder, 'file') },
    });
    await expect(saveAdapter(trained(OPTIONS), `${folder}/a\0b`)).rejects.toThrow(
      /cannot make the folder .*: (?!a file)/,
    );
  });

  it('warns of a base model that only this machine has', async () => {
    const save = async (baseModelNameOrPath?: string) => {
      const lines: string[] = [];
      const model = Object.assign(fakeModel(), { nameOrPath: folder });
      const options = {
        onWarning: (line: string) => lines.push(line),
        ...(baseModelNameOrPath && { baseModelNameOrPath }),
      };
      await saveAdapter(trained(OPTIONS, model), join(folder, 'saved'), options as never);
      const json = JSON.parse(await readFile(join(folder, 'saved', 'adapter_config.json'), 'utf8'));
      return [json.base_model_name_or_path, json.revision, lines];
    };
    expect(await save()).toEqual([
      folder,
      null,
      [
        `the adapter names "${folder}", a folder of this machine, as its base model: nobody else can load that; the option ` +
          'baseModelNameOrPath of saveAdapter gives its name on the Hub',
      ],
    ]);
    expect(await save('a/b')).toEqual(['a/b', null, []]);
  });

  it.each<[string, (file: SafetensorsFile) => object, RegExp]>([
    [
      'a tensor less',
      (file) => ({ tensors: new Map([...file.tensors].slice(1)) }),
      /is missing\n.*it holds 3 tensors, expected 4/,
    ],
    [
      'one more',
      (file) => ({ tensors: new Map<string, unknown>([...file.tensors, ['x', {}]]) }),
      /- it holds 5 tensors, expected 4/,
    ],
    [
      'another type',
      (file) => ({ tensors: changed(file, { dtype: 'F16' }) }),
      /" is F16 \[2,12\], expected F32 \[2,12\]/,
    ],
    [
      'another shape',
      (file) => ({ tensors: changed(file, { shape: [12, 2] }) }),
      /" is F32 \[12,2\], expected F32 \[2,12\]/,
    ],
    [
      'another value',
      (file) => ({
        readFloat32: async (name: string) =>
          (await file.readFloat32(name)).map((value, i) => (i === 5 ? value + 1 : value)),
      }),
      /" holds other values\n/,
    ],
  ])('refuses a disk that gives back %s, and keeps what was there', async (_, change, message) => {
    await saveAdapter(trained(OPTIONS), folder);
    const before = await readFile(join(folder, 'adapter_model.safetensors'));
    const open = SafetensorsFile.open.bind(SafetensorsFile);
    vi.spyOn(SafetensorsFile, 'open').mockImplementation(async (path) => {
      const file = await open(path);
      const same = { tensors: file.tensors, readFloat32: file.readFloat32.bind(file), close: file.close.bind(file) };
      return { ...same, ...change(file) } as never;
    });
    const saving = saveAdapter(trained({ ...OPTIONS, alpha: 9 }), folder);
    await expect(saving).rejects.toThrow(message);
    await expect(saving).rejects.toMatchObject({
      hint: 'The disk may be full or failing; save again elsewhere.',
      details: { path: join(folder, 'adapter_model.safetensors'), faults: expect.any(Array) },
    });
    expect(await readFile(join(folder, 'adapter_model.safetensors'))).toEqual(before);
  });
});

function changed(file: SafetensorsFile, change: object): Map<string, object> {
  return new Map([...file.tensors].map(([name, info], i) => [name, i === 0 ? { ...info, ...change } : info]));
}

describe('an adapter in a checkpoint', () => {
  it('has the values of the step, unless a folder has one already', async () => {
    const adapter = trained(OPTIONS);
    const step = someNumbers(adapter.parameters.size, 9);
    const maker = { chatTemplate: { source: '{{ of the run }}' } };
    await writeIntoFolder(adapter, folder, step, maker);
    const values = await (await loadAdapter(folder, fakeModel())).readValues();
    for (const { name, offset, size } of adapter.parameters.parameters) {
      expect(values.get(name)).toEqual(step.slice(offset, offset + size));
    }
    expect(await readChatTemplate(folder)).toBe('{{ of the run }}');
    await writeIntoFolder(adapter, folder, someNumbers(adapter.parameters.size, 10), 'no maker');
    expect(await (await loadAdapter(folder, fakeModel())).readValues()).toEqual(values);
  });

  it('says nothing of the base model’s name', async () => {
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const adapter = trained(OPTIONS, Object.assign(fakeModel(), { nameOrPath: folder }));
    await writeIntoFolder(adapter, folder, someNumbers(adapter.parameters.size, 9), undefined);
    expect(emitted).not.toHaveBeenCalled();
    expect(await readChatTemplate(folder)).toBeUndefined();
  });
});
