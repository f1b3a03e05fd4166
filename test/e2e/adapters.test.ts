/** Adapters as users keep them: loaded with their base, switched off, several by name, merged; with what goes along. */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Collator } from '../../src/data/data-loader.js';
import { ConfigError } from '../../src/errors.js';
import {
  SafetensorsFile,
  ShardedCheckpoint,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/formats/safetensors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { activeAdapter, adaptersOf, deleteAdapter, setAdapter } from '../../src/lora/adapter-slots.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { verifyAdapter } from '../../src/lora/verify-adapter.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import {
  base,
  batch,
  dir,
  logits,
  OWN_TEMPLATE,
  readConfig,
  saved,
  silent,
  useAdapterWorld,
  world,
} from './adapter-world.js';
import { makeAdapter, makeDataset } from './tiny-model.js';

useAdapterWorld();

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
          ? /setAdapter: the adapter "default" is being trained: a run in .*, 2 of 12 steps done[\s\S]*Nothing was changed/
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
    expect(expected.every((value, i) => Math.abs(got[i]! - value) < 1e-5)).toBe(true);
    await Promise.all([before!.close(), after!.close()]);
    expect(JSON.parse(await readFile(join(outputDir, 'config.json'), 'utf8'))).toMatchObject({
      tie_word_embeddings: false,
    });
    await (await loadModel(outputDir, { engine: world.engine })).dispose();
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
    expect(plus(embedding.data, lora).every((value, i) => Math.abs(head[i]! - value) < 1e-5)).toBe(true);
    await after.close();
    const model = await loadModel(outputDir, { engine: world.engine });
    expect(model.modules.tied).toBe(false);
    await model.dispose();

    // Without the head a tied one stays tied.
    const plain = `${dir}-plain-${inShards}`;
    await saved({}, plain);
    await mergeAdapter({ checkpointDir: tied, adapterDir: plain, outputDir: `${plain}-merged`, ...silent });
    const again = await loadModel(`${plain}-merged`, { engine: world.engine });
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
