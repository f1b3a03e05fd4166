/** fromPretrained of an adapter: its base comes along, from a folder or the Hub. */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HubError } from '../../src/errors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { fromPretrained } from '../../src/pretrained/from-pretrained.js';
import {
  base,
  dir,
  filesOf,
  logits,
  OWN_TEMPLATE,
  options,
  readConfig,
  saved,
  server,
  useAdapterWorld,
  world,
} from './adapter-world.js';
import { makeAdapter } from './tiny-model.js';

useAdapterWorld();

describe('fromPretrained of an adapter', () => {
  it('loads its base and puts it on, from folders', async () => {
    const trained = await saved();
    expect(await readConfig(dir)).toMatchObject({ base_model_name_or_path: world.checkpoint, revision: null });
    const warnings: string[] = [];
    const onWarning = (line: string): unknown => warnings.push(line);
    const { model, adapter, processor, folder, commit } = await fromPretrained(dir, { ...options, onWarning });
    expect(await logits(model)).toEqual(trained);
    expect([folder, commit, model.nameOrPath]).toEqual([dir, undefined, world.checkpoint]);
    expect(adapter!.modules).toHaveLength(28);
    expect(model.trainable).toBe(adapter!.parameters);
    expect(processor.chatTemplate!.source).toBe(world.processor.chatTemplate!.source);
    expect(warnings.filter((line) => /was trained on/.test(line))).toEqual([]);
    adapter!.dispose();
    expect(await logits(model)).toEqual(base);
    await model.dispose();

    const plain = await fromPretrained(world.checkpoint, options);
    expect(plain.adapter).toBeUndefined();
    await plain.model.dispose();
  });

  it('loads both from the Hub, the base at its revision, and again without a network', async () => {
    const files = await filesOf(world.checkpoint);
    const { oid } = server.commit('org/base', files, 'v1');
    server.commit('org/base', { 'config.json': '{}', 'model.safetensors': 'x' }, 'main');
    const trained = await saved({ baseModelNameOrPath: 'org/base', revision: 'v1', chatTemplate: OWN_TEMPLATE });
    server.commit('user/adapter', { ...(await filesOf(dir)), 'README.md': '#', 'optimizer.pt': 'x' });
    for (const localFilesOnly of [false, true]) {
      const { model, adapter, processor, folder, commit } = await fromPretrained('user/adapter', {
        ...options,
        localFilesOnly,
      });
      expect(await logits(model)).toEqual(trained);
      expect(commit).toBe(server.head('user/adapter').oid);
      expect((await readdir(folder)).sort()).toEqual([
        'adapter_config.json',
        'adapter_model.safetensors',
        'chat_template.jinja',
      ]);
      expect([model.nameOrPath, model.revision]).toEqual(['org/base', 'v1']);
      expect(processor.chatTemplate!.source).toBe(OWN_TEMPLATE);
      expect(adapter!.origin).toMatchObject({ baseModelNameOrPath: 'org/base', revision: 'v1' });
      // Saved again, all of it is still there.
      const again = join(dir, 'again');
      await saveAdapter(adapter!, again);
      expect(await readConfig(again)).toMatchObject({ base_model_name_or_path: 'org/base', revision: 'v1' });
      expect(await readFile(join(again, 'chat_template.jinja'), 'utf8')).toBe(OWN_TEMPLATE);
      await model.dispose();
    }
    const snapshot = join(options.cacheDir!, 'models--org--base', 'snapshots', oid);
    const { model } = await fromPretrained(snapshot, options);
    const adapter = makeAdapter(model);
    await saveAdapter(adapter, dir);
    expect(await readConfig(dir)).toMatchObject({ base_model_name_or_path: 'org/base', revision: oid });
    await model.dispose();
  });

  it('says what to pass where the base is missing, is elsewhere or is an adapter too', async () => {
    await saved();
    const rewrite = async (name: unknown): Promise<void> =>
      writeFile(
        join(dir, 'adapter_config.json'),
        JSON.stringify({ ...(await readConfig(dir)), base_model_name_or_path: name }),
      );
    await rewrite(null);
    const load = (more: object = {}) => fromPretrained(dir, { ...options, ...more });
    await expect(load()).rejects.toThrow(/an adapter whose adapter_config.json names no base model[\s\S]*baseModel/);
    const { model } = await load({ baseModel: world.checkpoint });
    await model.dispose();
    await rewrite('/home/somebody/models/base');
    await expect(load()).rejects.toThrow(
      /is an adapter of "\/home\/somebody\/models\/base", a folder that is not on this machine[\s\S]*baseModel/,
    );
    await rewrite('../checkpoint');
    await expect(load()).rejects.toThrow(/a relative path is read from .*; seen from the adapter it is .*checkpoint/);
    await rewrite('s3://bucket/base');
    await expect(load()).rejects.toThrow(/"s3:\/\/bucket\/base", which is neither a folder nor a name on the Hub/);
    await rewrite(' ');
    await expect(load()).rejects.toThrow(/names no base model/);
    await rewrite(dir);
    await expect(load()).rejects.toThrow(/names ".*" as its base model, which is an adapter too[\s\S]*merge/);
    for (const name of ['org/none', 'org/none/', 'https://huggingface.co/org/none', 'hf://org/none']) {
      await rewrite(name);
      const error = await load().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(HubError);
      expect((error as HubError).message).toMatch(/the base model of .*: org\/none: [\s\S]*baseModel/);
    }
    server.commit('user/other', { 'adapter_config.json': '{}', 'adapter_model.safetensors': 'x' });
    await rewrite('user/other');
    await expect(load()).rejects.toThrow(/user\/other: it holds an adapter, not a model/);
    await expect(load({ baseModel: '/nowhere-7f3a' })).rejects.toThrow(/there is no such folder/);
    await expect(load({ baseModl: 'x' })).rejects.toThrow(/did you mean `baseModel`/);
  });

  it('says that another form of the base may be given where the one that was trained on is not read', async () => {
    const quantised = `${dir}-bnb-4bit`;
    await cp(world.checkpoint, quantised, { recursive: true });
    const config = JSON.parse(await readFile(join(quantised, 'config.json'), 'utf8')) as object;
    const changed = { ...config, quantization_config: { quant_method: 'bitsandbytes', load_in_8bit: true } };
    await writeFile(join(quantised, 'config.json'), JSON.stringify(changed));
    await saved({ baseModelNameOrPath: quantised });
    await expect(fromPretrained(dir, options)).rejects.toThrow(
      /the base model of .*, ".*bnb-4bit", cannot be loaded: .*[\s\S]*LLM.int8[\s\S]*hint: Say another form of it.*baseModel/,
    );
    const { model } = await fromPretrained(dir, { ...options, baseModel: world.checkpoint });
    await model.dispose();
  });

  it('loads the base with the quantisation that is asked for', async () => {
    await saved();
    const engine = Object.create(options.engine as object, { heldFormats: { value: [] } }) as typeof options.engine;
    await expect(fromPretrained(dir, { ...options, engine, quantization: 'nf4' })).rejects.toThrow(
      /fromPretrained: the cpu engine does not hold matrices in nf4/,
    );
    await expect(fromPretrained('org/none', { ...options, quantization: 'nf8' as 'nf4' })).rejects.toThrow(
      /fromPretrained: `quantization`: expected one of "nf4"/,
    );
  });

  it('misses the weights of the adapter before it looks for the base', async () => {
    await saved({ baseModelNameOrPath: 'org/none' });
    await rm(join(dir, 'adapter_model.safetensors'));
    await expect(fromPretrained(dir, options)).rejects.toThrow(/adapter_config.json but no adapter_model.safetensors/);
  });

  it('disposes of a model whose adapter does not fit', async () => {
    await saved();
    await writeFile(join(dir, 'adapter_config.json'), JSON.stringify({ ...(await readConfig(dir)), r: 3 }));
    const before = world.engine.memory().bytesInUse;
    await expect(fromPretrained(dir, options)).rejects.toThrow(/bad tensors/);
    expect(world.engine.memory().bytesInUse).toBe(before);
  });

  it('takes tokenizer and processor of the adapter where it has them', async () => {
    await saved({ chatTemplate: OWN_TEMPLATE });
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      await cp(join(world.checkpoint, name), join(dir, name));
    const path = join(world.checkpoint, 'processor_config.json');
    const json = JSON.parse(await readFile(path, 'utf8')) as { image_processor: { size: { longest_edge: number } } };
    json.image_processor.size.longest_edge = 56;
    await writeFile(join(dir, 'processor_config.json'), JSON.stringify(json));
    const { model, processor } = await fromPretrained(dir, options);
    expect(processor.chatTemplate!.source).toBe(OWN_TEMPLATE);
    const image = { width: 200, height: 100, data: new Uint8Array(60_000) };
    const [own, its] = [processor, world.processor].map(({ imageProcessor }) => imageProcessor.process(image));
    expect((await own!).width).toBeLessThan((await its!).width);
    await model.dispose();
  });

  it('loads the model of a folder that holds both, and says so', async () => {
    const both = join(dir, 'both');
    await cp(world.checkpoint, both, { recursive: true });
    await saved({}, both);
    const notices: string[] = [];
    const { model, adapter } = await fromPretrained(both, { ...options, onNotice: (line) => notices.push(line) });
    expect(adapter).toBeUndefined();
    expect(notices).toEqual([expect.stringMatching(/holds a model and an adapter/)]);
    await model.dispose();
  });

  it('makes an engine by its name, which goes with the model', async () => {
    const { model } = await fromPretrained(world.checkpoint, { engine: 'cpu' });
    expect([model.engine.name, model.ownsEngine]).toEqual(['cpu', true]);
    const adapter = makeAdapter(model);
    await model.dispose();
    adapter.dispose();
    expect(() => applyLora(model, {})).toThrow(/applyLora: the model is disposed of/);
    await expect(loadAdapter(dir, model)).rejects.toThrow(/loadAdapter: the model is disposed of/);
    await expect(fromPretrained(world.checkpoint, { engine: 'gpu' } as never)).rejects.toThrow(/one of auto, cpu/);
    await expect(fromPretrained('')).rejects.toThrow(/got an empty string/);
    await expect(fromPretrained(join(world.checkpoint, 'config.json'))).rejects.toThrow(/is a file, not a folder/);
    await expect(fromPretrained(world.dir, options)).rejects.toThrow(
      /has its files in subfolders: [\s\S]*give the subfolder/,
    );
  });
});
