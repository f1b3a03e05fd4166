/** A model and an adapter by their names on a Hub of this machine, and what saved adapters do when they come back. */
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { MODEL_FILES } from '../../src/hub/snapshot-download.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { verifyAdapter } from '../../src/lora/verify-adapter.js';
import { loadProcessor } from '../../src/model/load.js';
import { type FromPretrainedOptions, fromPretrained } from '../../src/pretrained/from-pretrained.js';
import { HubServer } from '../servers/hub-server.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let server: HubServer;
let files: Record<string, Buffer>;
let options: FromPretrainedOptions;
beforeAll(async () => {
  world = await makeTinyWorld();
  server = await HubServer.start();
  files = {};
  for (const name of await readdir(world.checkpoint)) files[name] = await readFile(join(world.checkpoint, name));
  options = {
    engine: world.engine,
    endpoint: server.endpoint,
    cacheDir: join(world.dir, 'cache'),
    token: false,
    retryDelayMs: 1,
  };
});
afterAll(async () => {
  await server.close();
  await world.dispose();
});
afterEach(() => server.reset());

it('fromPretrained gives the model that the folder gives, and fetches only what it reads', async () => {
  server.commit('org/tiny', {
    ...files,
    'consolidated.safetensors': Buffer.alloc(10),
    'params.json': '{}',
    'README.md': '#',
  });
  const { model, processor, folder, commit } = await fromPretrained('org/tiny', options);
  expect(commit).toBe(server.head('org/tiny').oid);
  const names = await readdir(folder);
  expect(names).not.toContain('consolidated.safetensors');
  expect(names).not.toContain('README.md');
  // The tiny checkpoint has nothing that is not needed: all of it is there.
  expect(names.sort()).toEqual(Object.keys(files).sort());
  expect(MODEL_FILES).toContain('config.json');
  const batch = await world.collator.collatePrompts(makeExamples(2));
  expect(await model.lastLogits(batch)).toEqual(await world.model.lastLogits(batch));
  expect(processor.tokenizer.encode('left hand')).toEqual(world.processor.tokenizer.encode('left hand'));
  model.dispose();

  server.api.requests.length = 0;
  const own = await fromPretrained(world.checkpoint, options);
  expect(own).toMatchObject({ folder: world.checkpoint, commit: undefined });
  own.model.dispose();
  const again = await fromPretrained('org/tiny', { ...options, revision: commit! });
  again.model.dispose();
  expect(server.asked()).toEqual([]);
});

it('fromPretrained says what a repository is instead of a model', async () => {
  const named = async (repository: Record<string, Buffer | string>, wrong: RegExp): Promise<void> => {
    server.reset();
    server.commit('org/other', repository);
    await expect(fromPretrained('org/other', options)).rejects.toThrow(wrong);
    expect(server.asked().some((path) => path.includes('/resolve/'))).toBe(false);
  };
  await named({ 'consolidated.safetensors': 'x', 'params.json': '{}' }, /only the Mistral-native files/);
  await named({ 'adapter_config.json': '{}' }, /it has no adapter_model.safetensors/);
  await named({ 'adapter_config.json': '{}', 'adapters.safetensors': 'x' }, /it holds an adapter of mlx/);
  await named({ 'model.gguf': 'x' }, /GGUF files, which are not read/);
  // What may have been meant as a folder says that there is none.
  await expect(fromPretrained('models/none-7f3a', options)).rejects.toThrow(
    /models\/none-7f3a[\s\S]*If a folder was meant: there is none at .*none-7f3a/,
  );
  await expect(fromPretrained('org/other', { ...options, localFileOnly: true } as never)).rejects.toThrow(
    /did you mean `localFilesOnly`/,
  );
});

it('fromPretrained without a network names what the cache lacks, also one that Python filled', async () => {
  const { oid } = server.commit('org/python', files);
  const { folder } = await fromPretrained('org/python', options).then(({ model, ...rest }) => {
    model.dispose();
    return rest;
  });
  // Older versions of Python's tools keep no list of the files.
  await rm(join(folder, '../../trees', `${oid}.json`));
  const offline = { ...options, localFilesOnly: true };
  (await fromPretrained('org/python', offline)).model.dispose();
  const weights = (await readdir(folder)).filter((name) => name.endsWith('.safetensors'));
  await rename(join(folder, weights[0]!), join(folder, 'elsewhere'));
  await rm(join(folder, 'tokenizer.json'));
  const error = await fromPretrained('org/python', offline).catch((caught: Error) => caught);
  expect((error as Error).message).toMatch(/lack tokenizer\.json, .*model.*, and the Hub is not asked/);
});

it('a Base model has no chat template', async () => {
  const base = join(world.dir, 'base');
  server.commit(
    'org/base',
    Object.fromEntries(Object.entries(files).filter(([name]) => !name.startsWith('chat_template'))),
  );
  const { model, processor } = await fromPretrained('org/base', { ...options, cacheDir: base });
  expect(processor.chatTemplate).toBeUndefined();
  model.dispose();
});

it('a repository with tekken.json alone is refused before its weights are fetched, unless a processor is named', async () => {
  const isProcessor = ([name]: [string, unknown]): boolean => /^(tokenizer|processor_config|chat_template)/.test(name);
  const weights = Object.entries(files).filter((file) => !isProcessor(file));
  server.commit('org/tekken', { ...Object.fromEntries(weights), 'tekken.json': '{}', 'params.json': '{}' });
  server.commit('org/processor', Object.fromEntries(Object.entries(files).filter(isProcessor)));
  const cacheDir = join(world.dir, 'tekken');
  await expect(fromPretrained('org/tekken', { ...options, cacheDir })).rejects.toThrow(
    /org\/tekken: it has no tokenizer\.json, only tekken\.json.*\{ processor: '/,
  );
  expect(await readdir(cacheDir, { recursive: true }).catch(() => [])).not.toContainEqual(
    expect.stringContaining('.safetensors'),
  );
  for (const localFilesOnly of [false, true]) {
    const { model, processor } = await fromPretrained('org/tekken', {
      ...{ ...options, cacheDir, localFilesOnly },
      processor: 'org/processor',
    });
    expect(processor.tokenizer.digest).toBe(world.processor.tokenizer.digest);
    expect([processor.chatTemplate?.source, model.nameOrPath]).toEqual([
      world.processor.chatTemplate!.source,
      'org/tekken',
    ]);
    model.dispose();
  }
});

it('verifyAdapter finds what a saved adapter does, and leaves the model as it was', async () => {
  const { model } = world;
  const { chatTemplate } = await loadProcessor(world.checkpoint);
  expect(chatTemplate).toBeDefined();
  const batch = await world.collator.collatePrompts(makeExamples(2));
  const base = await model.lastLogits(batch);
  const adapter = makeAdapter(model);
  const trained = await model.lastLogits(batch);
  const directory = join(world.dir, 'adapter');
  await saveAdapter(adapter, directory);
  const check = await verifyAdapter(model, directory, batch);
  expect(check).toMatchObject({ modules: adapter.modules.length, maxDeviation: 0 });
  expect(check.maxChange).toBeCloseTo(Math.max(...trained.map((value, i) => Math.abs(value - base[i]!))), 6);
  expect(await model.lastLogits(batch)).toEqual(trained);
  expect(model.trainable).toBe(adapter.parameters);

  // The adapter goes on being trained: the files are no longer what it is.
  const values = await model.engine.readParameters(adapter.parameters);
  model.engine.writeParameters(
    adapter.parameters,
    values.map((value) => value * 1.5),
  );
  await expect(verifyAdapter(model, directory, batch)).rejects.toThrow(
    /does not do what the adapter on the model does/,
  );
  model.engine.writeParameters(
    adapter.parameters,
    values.map(() => 1e30),
  );
  await saveAdapter(adapter, directory);
  await expect(verifyAdapter(model, directory, batch)).rejects.toThrow(/produces logits that are not finite/);
  adapter.dispose();

  // Without an adapter of its own the model is compared with itself.
  const fresh = applyLora(model, { r: 2 });
  await saveAdapter(fresh, directory);
  fresh.dispose();
  await expect(verifyAdapter(model, directory, batch)).rejects.toThrow(/changes no logit: it has not been trained/);
  expect(await model.lastLogits(batch)).toEqual(base);
  await writeFile(join(directory, 'adapter_config.json'), '{}');
  await expect(verifyAdapter(model, directory, batch)).rejects.toThrow();
  expect(model.linearModules.every(({ lora }) => lora === undefined)).toBe(true);
});
