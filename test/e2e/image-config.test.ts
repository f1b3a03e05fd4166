/** How images were resized in training goes with an adapter, and with the model that it is merged into. */
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { loadProcessor } from '../../src/model/load.js';
import { fromPretrained } from '../../src/pretrained/from-pretrained.js';
import { dir, options, silent, useAdapterWorld, world } from './adapter-world.js';
import { makeAdapter } from './tiny-model.js';

useAdapterWorld();

type Json = Record<string, unknown>;
const jsonOf = async (folder: string, name: string): Promise<Json> =>
  JSON.parse(await readFile(join(folder, name), 'utf8')) as Json;
const smaller = (): ImageProcessor => new ImageProcessor({ ...world.processor.imageProcessor, longestEdge: 57 });
const edgeOf = async (folder: string): Promise<number> => (await loadProcessor(folder)).imageProcessor.longestEdge;

describe('an adapter', () => {
  it('keeps how its images were resized, whatever is loaded and saved again', async () => {
    const adapter = makeAdapter(world.model);
    const collator = new VlmCollator({ ...world.processor, chatTemplate: 'tutorial', imageProcessor: smaller() });
    await saveAdapter(adapter, dir, { processor: collator, ...silent });
    const own = await jsonOf(world.checkpoint, 'processor_config.json');
    expect(await jsonOf(dir, 'processor_config.json')).toEqual({
      ...own,
      image_processor: { ...(own.image_processor as Json), size: { longest_edge: 57 } },
    });
    adapter.dispose();

    const loaded = await fromPretrained(dir, options);
    expect(loaded.processor.imageProcessor.settings).toEqual(smaller().settings);
    const again = join(dir, 'again');
    await saveAdapter(loaded.adapter!, again, silent);
    expect(await jsonOf(again, 'processor_config.json')).toEqual(await jsonOf(dir, 'processor_config.json'));
    // Trained on with the base's own: what lies there would say otherwise.
    await saveAdapter(loaded.adapter!, again, { processor: world.processor, ...silent });
    expect(await jsonOf(again, 'processor_config.json')).toEqual(own);
    await loaded.model.dispose();

    const warnings: string[] = [];
    const { origin } = await loadAdapter(dir, world.model, { onWarning: (line) => warnings.push(line) });
    expect(origin.imageProcessor?.longestEdge).toBe(57);
    expect(warnings.join('\n')).toMatch(/at most 57 pixels a side.*imageProcessor: adapter\.origin\.imageProcessor/);
  });

  it('has no file for what its base model says itself, and none for a processor of another making', async () => {
    const adapter = makeAdapter(world.model);
    await saveAdapter(adapter, dir, { processor: world.processor, ...silent });
    const { patchSize, spatialMergeSize } = world.processor.imageProcessor;
    const imageProcessor = { patchSize, spatialMergeSize, process: () => Promise.reject(new Error('not asked')) };
    await saveAdapter(adapter, join(dir, 'other'), { processor: { ...world.processor, imageProcessor }, ...silent });
    for (const folder of [dir, join(dir, 'other')])
      expect(await readdir(folder)).not.toContain('processor_config.json');
  });
});

describe('a merged model', () => {
  const checkpointDir = (): string => world.checkpoint;

  it('resizes as the adapter did, from its files or in memory', async () => {
    const adapter = makeAdapter(world.model);
    await saveAdapter(adapter, dir, { processor: { imageProcessor: smaller() }, ...silent });
    await mergeAdapter({ checkpointDir: checkpointDir(), adapterDir: dir, outputDir: `${dir}-merged`, ...silent });
    expect(await edgeOf(`${dir}-merged`)).toBe(57);
    const processor = { imageProcessor: smaller() };
    await mergeAdapter({ checkpointDir: checkpointDir(), adapter, outputDir: `${dir}-held`, processor, ...silent });
    expect(await jsonOf(`${dir}-held`, 'processor_config.json')).toEqual(await jsonOf(dir, 'processor_config.json'));
    await mergeAdapter({ checkpointDir: checkpointDir(), adapter, outputDir: `${dir}-plain`, ...silent });
    expect(await edgeOf(`${dir}-plain`)).toBe(world.processor.imageProcessor.longestEdge);
  });

  it('keeps the older form of the files', async () => {
    const older = `${dir}-older`;
    await cp(world.checkpoint, older, { recursive: true });
    const { image_processor: image, ...outer } = await jsonOf(older, 'processor_config.json');
    await writeFile(join(older, 'preprocessor_config.json'), JSON.stringify(image));
    await writeFile(join(older, 'processor_config.json'), JSON.stringify(outer));
    const adapter = makeAdapter(world.model);
    const processor = { imageProcessor: smaller() };
    await mergeAdapter({ checkpointDir: older, adapter, outputDir: `${dir}-merged`, processor, ...silent });
    expect(await jsonOf(`${dir}-merged`, 'preprocessor_config.json')).toEqual({
      ...(image as Json),
      size: { longest_edge: 57 },
    });
    expect(await jsonOf(`${dir}-merged`, 'processor_config.json')).toEqual(outer);
  });
});
