/** Adapters as users keep them: loaded with their base, switched off, several by name, merged; with what goes along. */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { Collator } from '../../src/data/data-loader.js';
import type { VlmBatch } from '../../src/data/types.js';
import {
  SafetensorsFile,
  ShardedCheckpoint,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/engine/safetensors.js';
import { ConfigError, HubError } from '../../src/errors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { activeAdapter, adaptersOf, deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { verifyAdapter } from '../../src/lora/verify-adapter.js';
import { loadMinistral3, loadProcessor } from '../../src/model/load.js';
import { type FromPretrainedOptions, fromPretrained } from '../../src/pretrained/from-pretrained.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { HubServer } from '../servers/hub-server.js';
import { makeAdapter, makeDataset, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

const OWN_TEMPLATE = `${TUTORIAL_TEMPLATE}{# as trained #}`;

let world: TinyWorld;
let server: HubServer;
let batch: VlmBatch;
let base: Float32Array;
let dir: string;
let options: FromPretrainedOptions;
const silent = { onWarning: (): void => undefined };
beforeAll(async () => {
  world = await makeTinyWorld();
  server = await HubServer.start();
  batch = await world.collator.collatePrompts(makeExamples(2));
  base = await world.model.lastLogits(batch);
});
afterAll(async () => {
  await server.close();
  await world.dispose();
});
beforeEach(() => {
  dir = join(world.dir, `adapter-${Math.random().toString(36).slice(2)}`);
  const cacheDir = join(world.dir, 'cache');
  options = { engine: world.engine, endpoint: server.endpoint, cacheDir, token: false, retryDelayMs: 1, ...silent };
});
afterEach(() => {
  server.reset();
  for (const adapter of adaptersOf(world.model).values()) adapter.dispose();
});

const logits = (model = world.model): Promise<Float32Array> => model.lastLogits(batch);

/** Saves a trained adapter, takes it off again, and gives what the model answered with it. */
async function saved(
  more: { baseModelNameOrPath?: string; chatTemplate?: string; revision?: string } = {},
  to = dir,
): Promise<Float32Array> {
  const adapter = makeAdapter(world.model);
  const trained = await logits();
  await saveAdapter(adapter, to, { ...more, ...silent });
  adapter.dispose();
  expect(await logits()).toEqual(base);
  return trained;
}

async function readConfig(folder: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
}

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
    const changed = { ...config, quantization_config: { quant_method: 'bitsandbytes' } };
    await writeFile(join(quantised, 'config.json'), JSON.stringify(changed));
    await saved({ baseModelNameOrPath: quantised });
    await expect(fromPretrained(dir, options)).rejects.toThrow(
      /the base model of .*, ".*bnb-4bit", cannot be loaded: .*[\s\S]*bitsandbytes[\s\S]*hint: Say another form of it.*baseModel/,
    );
    const { model } = await fromPretrained(dir, { ...options, baseModel: world.checkpoint });
    await model.dispose();
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

describe('an adapter switched off', () => {
  it('leaves exactly the base, and comes back as it was', async () => {
    const adapter = makeAdapter(world.model);
    const trained = await logits();
    expect(trained).not.toEqual(base);
    expect(await adapter.withDisabled(() => logits())).toEqual(base);
    expect(await logits()).toEqual(trained);
    adapter.disable();
    adapter.disable();
    expect([adapter.isEnabled, adapter.isActive, await logits()]).toEqual([false, true, base]);
    expect(() => world.model.trainable).toThrow(/nothing to train[\s\S]*switched off/);
    await adapter.withDisabled(async () => expect(await logits()).toEqual(base));
    expect(adapter.isEnabled).toBe(false);
    await saveAdapter(adapter, dir, silent);
    adapter.enable();
    expect([adapter.isEnabled, await logits()]).toEqual([true, trained]);
    expect(world.model.trainable).toBe(adapter.parameters);
    expect((await verifyAdapter(world.model, dir, batch)).maxDeviation).toBe(0);
  });

  it('is on again after a failure, and after the last of overlapping calls', async () => {
    const adapter = makeAdapter(world.model);
    const trained = await logits();
    await expect(adapter.withDisabled(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    await expect(
      adapter.withDisabled(() => {
        throw new Error('mine too');
      }),
    ).rejects.toThrow('mine too');
    expect(await logits()).toEqual(trained);
    let finish = (): void => undefined;
    const long = adapter.withDisabled(() => new Promise<void>((resolve) => (finish = resolve)));
    await adapter.withDisabled(() => undefined);
    expect(await logits()).toEqual(base);
    finish();
    await long;
    expect(await logits()).toEqual(trained);
    await expect(adapter.withDisabled(undefined as never)).rejects.toThrow(/expected a function/);
    adapter.dispose();
    for (const use of [() => adapter.disable(), () => adapter.enable()]) {
      expect(use).toThrow(/the adapter "default" is disposed of/);
    }
    await expect(adapter.withDisabled(() => undefined)).rejects.toThrow(ConfigError);
    await expect(saveAdapter(adapter, dir)).rejects.toThrow(/saveAdapter: the adapter "default" is disposed of/);
    const merge = { checkpointDir: world.checkpoint, outputDir: dir, adapter };
    await expect(mergeAdapter(merge)).rejects.toThrow(/mergeAdapter: the adapter "default" is disposed of/);
  });
});

describe('several adapters by name', () => {
  it('keep their values, and one is active at a time', async () => {
    const first = await saved();
    const other = applyLora(world.model, { r: 2, targetModules: ['v_proj', 'down_proj'], towers: 'language' }, silent);
    world.engine.writeParameters(other.parameters, new Float32Array(other.parameters.size).fill(0.1));
    const second = await logits();
    await saveAdapter(other, join(dir, 'b'), silent);
    other.dispose();

    const a = await loadAdapter(dir, world.model, { adapterName: 'a', ...silent });
    expect(await logits()).toEqual(first);
    const b = await loadAdapter(join(dir, 'b'), world.model, { adapterName: 'b', ...silent });
    // As in PEFT, the one that is active stays so.
    expect([await logits(), activeAdapter(world.model)]).toEqual([first, a]);
    expect(setAdapter(world.model, 'b')).toBe(b);
    expect([await logits(), world.model.trainable === b.parameters]).toEqual([second, true]);
    expect(await b.withDisabled(() => logits())).toEqual(base);
    setAdapter(world.model, 'a');
    expect([await logits(), a.isActive, b.isActive]).toEqual([first, true, false]);
    expect([...adaptersOf(world.model).keys()]).toEqual(['a', 'b']);
    // What is not active may be switched, saved and taken off without a change.
    b.disable();
    expect(await logits()).toEqual(first);
    await saveAdapter(b, join(dir, 'c'), silent);
    expect(await readFile(join(dir, 'c', 'adapter_model.safetensors'))).toEqual(
      await readFile(join(dir, 'b', 'adapter_model.safetensors')),
    );
    setAdapter(world.model, 'b');
    expect(await logits()).toEqual(second);
    deleteAdapter(world.model, 'a');
    expect([await logits(), a.isDisposed]).toEqual([second, true]);
    deleteAdapter(world.model, 'b');
    expect([await logits(), activeAdapter(world.model)]).toEqual([base, undefined]);
  });

  it('are not changed under a run: what was trained is saved, and the other keeps its values', async () => {
    for (const change of ['switch', 'disable'] as const) {
      const trained = makeAdapter(world.model);
      const other = applyLora(world.model, { r: 2, targetModules: ['q_proj'] }, { adapterName: 'other', ...silent });
      const before = await other.readValues();
      let windows = 0;
      const collator: Collator = {
        collate: async (...given) => {
          if (++windows === 3) change === 'switch' ? setAdapter(world.model, 'other') : trained.disable();
          return world.collator.collate(...given);
        },
      };
      const config = {
        outputDir: join(dir, change),
        progress: 'none' as const,
        perDeviceTrainBatchSize: 2,
        dataloaderPrefetch: 0,
      };
      const trainDataset = makeDataset(8);
      const trainer = new SftTrainer({
        model: world.model,
        trainDataset,
        collator,
        config: { ...config, learningRate: 0.01 },
      });
      await expect(trainer.train()).rejects.toThrow(
        change === 'switch'
          ? /another adapter became active while this run was training[\s\S]*setAdapter/
          : /nothing to train/,
      );
      expect(await readdir(config.outputDir)).toContain('checkpoint-2');
      expect(await other.readValues()).toEqual(before);
      trained.dispose();
      other.dispose();
    }
  });

  it('are told by their names where one is wrong or taken', async () => {
    await saved();
    const load = (adapterName?: string) => loadAdapter(dir, world.model, { adapterName, ...silent });
    await load('first');
    await expect(load()).rejects.toThrow(/the model has an adapter already, on 28 layers[\s\S]*adapterName/);
    await expect(load('first')).rejects.toThrow(/has an adapter "first" already/);
    await expect(load('a/b')).rejects.toThrow(/`adapterName`: expected a name/);
    expect(() => setAdapter(world.model, 'frist')).toThrow(
      /no adapter "frist"; it has "first"[\s\S]*Did you mean "first"/,
    );
    expect(() => deleteAdapter(world.model, 'x')).toThrow(/deleteAdapter: the model has no adapter "x"/);
    expect(() => setAdapter(undefined as never, 'x')).toThrow(/setAdapter: expected a model/);
    // One that is made to be trained, and is not what the trainer would train.
    const lines: string[] = [];
    applyLora(
      world.model,
      { targetModules: ['q_proj'] },
      { adapterName: 'new', onWarning: (line) => lines.push(line) },
    );
    expect(lines.at(-1)).toMatch(/"new" is on the model but not active: "first" is; setAdapter\(model, "new"\)/);
  });
});

describe('the output head', () => {
  it('is named by a rule, and the adapter is saved, loaded, verified and merged all the same', async () => {
    for (const targetModules of [['q_proj', 'lm_head'], '.*(q_proj|lm_head)', 'all-linear']) {
      const folder = join(dir, String([targetModules].flat().length) + String(targetModules).replace(/\W/g, ''));
      const adapter = makeAdapter(world.model, 0, targetModules);
      const trained = await logits();
      await saveAdapter(adapter, folder, silent);
      expect(JSON.stringify((await readConfig(folder)).target_modules)).not.toContain('lm_head');
      await verifyAdapter(world.model, folder, batch);
      adapter.dispose();
      const loaded = await loadAdapter(folder, world.model, silent);
      expect(await logits()).toEqual(trained);
      loaded.dispose();
      const outputDir = join(folder, 'merged');
      await expect(
        mergeAdapter({ checkpointDir: world.checkpoint, adapterDir: folder, outputDir, ...silent }),
      ).rejects.toThrow(/lies in the source folder/);
      await mergeAdapter({
        checkpointDir: world.checkpoint,
        adapterDir: folder,
        outputDir: `${folder}-merged`,
        ...silent,
      });
    }
  });

  /** An adapter of PEFT on q_proj of the decoder and on the head. */
  async function headAdapter(): Promise<{ a: Float32Array; b: Float32Array; vocab: number; hidden: number }> {
    const adapter = makeAdapter(world.model, 0, ['q_proj']);
    await saveAdapter(adapter, dir, silent);
    adapter.dispose();
    const path = join(dir, 'adapter_model.safetensors');
    const file = await SafetensorsFile.open(path);
    const tensors: TensorToWrite[] = [];
    for (const { name, dtype, shape } of file.tensors.values()) {
      tensors.push({ name, dtype, shape, data: await file.readFloat32(name) });
    }
    await file.close();
    const [vocab, hidden] = world.model.modules.lmHead.shape as readonly [number, number];
    const a = Float32Array.from({ length: 4 * hidden }, (_, i) => Math.sin(i) / 8);
    const b = Float32Array.from({ length: 4 * vocab }, (_, i) => Math.cos(i) / 8);
    const key = 'base_model.model.lm_head.lora';
    tensors.push({ name: `${key}_A.weight`, dtype: 'F32', shape: [4, hidden], data: a });
    tensors.push({ name: `${key}_B.weight`, dtype: 'F32', shape: [vocab, 4], data: b });
    await writeSafetensors(path, tensors);
    const config = { ...(await readConfig(dir)), target_modules: ['q_proj', 'lm_head'] };
    await writeFile(join(dir, 'adapter_config.json'), JSON.stringify(config));
    return { a, b, vocab, hidden };
  }

  const plus = (w: Float32Array, { a, b, hidden }: { a: Float32Array; b: Float32Array; hidden: number }): number[] =>
    Array.from(w, (value, at) => {
      const [row, column] = [Math.floor(at / hidden), at % hidden];
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += b[row * 4 + k]! * a[k * hidden + column]!;
      return value + 2 * sum;
    });

  it('that another tool adapted is refused on a model with the way out, and merged', async () => {
    const lora = await headAdapter();
    await expect(loadAdapter(dir, world.model)).rejects.toThrow(
      /2 of \d+ keys are LoRA matrices of the output head \(lm_head\)[\s\S]*mergeAdapter folds/,
    );
    await expect(verifyAdapter(world.model, dir, batch)).rejects.toThrow(/output head/);
    expect(await logits()).toEqual(base);
    const outputDir = `${dir}-merged`;
    await mergeAdapter({ checkpointDir: world.checkpoint, adapterDir: dir, outputDir, ...silent });
    const [before, after] = await Promise.all(
      [world.checkpoint, outputDir].map((path) => ShardedCheckpoint.open(path)),
    );
    const name = [...before!.tensors.keys()].find((key) => key.endsWith('lm_head.weight'))!;
    const expected = plus(await before!.readFloat32(name), lora);
    const got = await after!.readFloat32(name);
    for (const [i, value] of expected.entries()) expect(Math.abs(got[i]! - value)).toBeLessThan(1e-5);
    await Promise.all([before!.close(), after!.close()]);
    expect(JSON.parse(await readFile(join(outputDir, 'config.json'), 'utf8'))).toMatchObject({
      tie_word_embeddings: false,
    });
    await (await loadMinistral3(outputDir, { engine: world.engine })).dispose();
  });

  it.each([false, true])('of a tied checkpoint becomes a tensor of its own (in shards: %s)', async (inShards) => {
    const lora = await headAdapter();
    const tied = `${dir}-tied`;
    await cp(world.checkpoint, tied, { recursive: true });
    const file = await SafetensorsFile.open(join(world.checkpoint, 'model.safetensors'));
    const kept = [...file.tensors.values()].filter(({ name }) => !name.endsWith('lm_head.weight'));
    const tensors: TensorToWrite[] = [];
    for (const { name, dtype, shape } of kept) tensors.push({ name, dtype, shape, data: await file.readFloat32(name) });
    await file.close();
    if (inShards) {
      await rm(join(tied, 'model.safetensors'));
      const weightMap: Record<string, string> = {};
      for (const i of [0, 1]) {
        const shard = `model-0000${i + 1}-of-00002.safetensors`;
        const part = tensors.filter((_, at) => at % 2 === i);
        await writeSafetensors(join(tied, shard), part);
        for (const { name } of part) weightMap[name] = shard;
      }
      await writeFile(join(tied, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    } else await writeSafetensors(join(tied, 'model.safetensors'), tensors);
    const config = JSON.parse(await readFile(join(tied, 'config.json'), 'utf8')) as object;
    await writeFile(join(tied, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true }));

    const outputDir = `${dir}-merged-${inShards}`;
    const result = await mergeAdapter({ checkpointDir: tied, adapterDir: dir, outputDir, ...silent });
    expect(result.tensors).toBe(tensors.length + 1);
    const embedding = tensors.find(({ name }) => name.endsWith('embed_tokens.weight')) as unknown as {
      name: string;
      data: Float32Array;
    };
    const after = await ShardedCheckpoint.open(outputDir);
    expect(await after.readFloat32(embedding.name)).toEqual(embedding.data);
    const head = await after.readFloat32('language_model.lm_head.weight');
    for (const [i, value] of plus(embedding.data, lora).entries())
      expect(Math.abs(head[i]! - value)).toBeLessThan(1e-5);
    await after.close();
    const model = await loadMinistral3(outputDir, { engine: world.engine });
    expect(model.modules.tied).toBe(false);
    await model.dispose();

    // Without the head a tied one stays tied.
    const plain = `${dir}-plain-${inShards}`;
    await saved({}, plain);
    await mergeAdapter({ checkpointDir: tied, adapterDir: plain, outputDir: `${plain}-merged`, ...silent });
    const again = await loadMinistral3(`${plain}-merged`, { engine: world.engine });
    expect(again.modules.tied).toBe(true);
    await again.dispose();
  });
});

describe('what goes along with an adapter', () => {
  it('reaches the merged model: the template as trained, the tokenizer of the adapter, the base’s name', async () => {
    await saved({ baseModelNameOrPath: 'org/base', chatTemplate: OWN_TEMPLATE });
    await writeFile(join(dir, 'special_tokens_map.json'), '{"of": "adapter"}');
    const merge = async (more: object = {}): Promise<string> => {
      const outputDir = `${dir}-${Math.random().toString(36).slice(2)}`;
      await mergeAdapter({ checkpointDir: world.checkpoint, adapterDir: dir, outputDir, ...silent, ...more });
      return outputDir;
    };
    const merged = await merge();
    expect((await loadProcessor(merged)).chatTemplate!.source).toBe(OWN_TEMPLATE);
    expect(await readFile(join(merged, 'special_tokens_map.json'), 'utf8')).toBe('{"of": "adapter"}');
    expect(await readFile(join(merged, 'README.md'), 'utf8')).toMatch(/^---\nbase_model: "org\/base"\n/);
    const other = await merge({ chatTemplate: '{{ bos_token }}' });
    expect(await readFile(join(other, 'chat_template.jinja'), 'utf8')).toBe('{{ bos_token }}');

    const adapter = await loadAdapter(dir, world.model, silent);
    const fromMemory = await merge({ adapterDir: undefined, adapter });
    expect((await loadProcessor(fromMemory)).chatTemplate!.source).toBe(OWN_TEMPLATE);
    const ofProcessor = await merge({ adapterDir: undefined, adapter, processor: world.processor });
    expect((await loadProcessor(ofProcessor)).chatTemplate!.source).toBe(world.processor.chatTemplate!.source);
    await expect(merge({ chatTemplate: './template.jinja' })).rejects.toThrow(/not the path of a file/);
    await expect(merge({ processor: 'x' })).rejects.toThrow(/`processor`: expected a processor/);
    await expect(merge({ adapter })).rejects.toThrow(/either `adapterDir` or `adapter`, got both/);
    await expect(merge({ checkpointDir: dir })).rejects.toThrow(/`checkpointDir`, .* is no model: it holds an adapter/);
    await expect(merge({ adapterDir: world.checkpoint })).rejects.toThrow(
      /holds a model[\s\S]*fromPretrained loads it/,
    );
    await expect(merge({ outputdir: 'x' })).rejects.toThrow(/did you mean `outputDir`/);
  });

  it('is a warning where the base is another: once, and not for another format of the same', async () => {
    const lines = async (trainedOn: string): Promise<string[]> => {
      await saved({ baseModelNameOrPath: trainedOn });
      const seen: string[] = [];
      (await loadAdapter(dir, world.model, { onWarning: (line) => seen.push(line) })).dispose();
      return seen.filter((line) => line.includes('trained on'));
    };
    expect(await lines('org/other-model')).toEqual([
      expect.stringMatching(/was trained on "org\/other-model" and is put onto ".*checkpoint"/),
    ]);
    expect(await lines('org/checkpoint')).toEqual([]);
    expect(await lines('unsloth/Checkpoint-unsloth-bnb-4bit')).toEqual([]);
    expect(await lines('/else/where/checkpoint-BF16/')).toEqual([]);
  });

  it('is a warning where the adapter has a template of its own that nobody uses yet', async () => {
    const lines = async (chatTemplate: string | undefined): Promise<string[]> => {
      await rm(dir, { recursive: true, force: true });
      await saved(chatTemplate === undefined ? {} : { chatTemplate });
      const seen: string[] = [];
      (await loadAdapter(dir, world.model, { onWarning: (line) => seen.push(line) })).dispose();
      return seen.filter((line) => line.includes('chat template'));
    };
    expect(await lines(OWN_TEMPLATE)).toEqual([expect.stringMatching(/adapter\.origin\.chatTemplate.*fromPretrained/)]);
    expect(await lines(world.processor.chatTemplate!.source)).toEqual([]);
    expect(await lines(undefined)).toEqual([]);
  });

  it('is a warning where the base is a folder of this machine', async () => {
    const adapter = makeAdapter(world.model);
    const lines: string[] = [];
    await saveAdapter(adapter, dir, { onWarning: (line) => lines.push(line) });
    expect(lines).toEqual([expect.stringMatching(/a folder of this machine, as its base model.*baseModelNameOrPath/)]);
    await saveAdapter(adapter, dir, { baseModelNameOrPath: 'org/base', onWarning: (line) => lines.push(line) });
    expect(lines).toHaveLength(1);
  });
});

it('a model whose adapter was saved under an older rule of many names is merged: lm_head without matrices', async () => {
  await saved();
  const config = {
    ...(await readConfig(dir)),
    target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj', 'lm_head'],
  };
  await writeFile(join(dir, 'adapter_config.json'), JSON.stringify(config));
  const outputDir = `${dir}-merged`;
  const { mergedModules } = await mergeAdapter({
    checkpointDir: world.checkpoint,
    adapterDir: dir,
    outputDir,
    ...silent,
  });
  expect(mergedModules).toBe(28);
  await expect(mergeAdapter({ checkpointDir: outputDir, outputDir: dir } as never)).rejects.toThrow(
    /either .*got neither/,
  );
});

async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isFile()) files[entry.name] = await readFile(join(folder, entry.name));
  }
  return files;
}
