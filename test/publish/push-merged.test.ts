import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../src/formats/safetensors.js';
import { type PushProgress, pushFiles, pushFilesSchema } from '../../src/hub/push-files.js';
import { mergedCard } from '../../src/lora/merge-files.js';
import { someNumbers } from '../lora/fake-engine.js';
import { parseYaml } from '../markup.js';
import { hangUp } from '../servers/scripted-server.js';
import { type PushBed, pushBed } from './push-bed.js';

const ID = 'user/bone-model';
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const WRITTEN = [...SHARDS, 'model.safetensors.index.json', 'config.json', 'tokenizer.json', 'LICENSE'];
const bed = pushBed(ID, ({ folder }) => writeModel(folder, 1));
const { push, card } = bed;

/** As `mergeAdapter` leaves one, with what does not belong to it beside it. */
async function writeModel(folder: PushBed['folder'], seed: number): Promise<void> {
  const weightMap: Record<string, string> = {};
  for (const [i, file] of SHARDS.entries()) {
    const name = `layers.${i}.weight`;
    weightMap[name] = file;
    await writeSafetensors(join(folder, file), [
      { name, dtype: 'F32', shape: [8, 4], data: someNumbers(32, seed + i) },
    ]);
  }
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  for (const name of ['config.json', 'tokenizer.json']) await writeFile(join(folder, name), '{}');
  await writeFile(join(folder, 'LICENSE'), 'Apache');
  await writeFile(join(folder, 'README.md'), mergedCard('org/base')!);
  for (const name of ['notes.txt', 'optimizer.pt', '.env', 'train-log.jsonl']) await writeFile(join(folder, name), 'x');
}

describe('pushToHub of a merged model', () => {
  it('uploads the checkpoint with a page of its own, and nothing else of the folder', async () => {
    const seen: PushProgress[] = [];
    const result = await push({ onProgress: (progress) => seen.push(progress) });
    expect([...result.uploaded].sort()).toEqual([...WRITTEN, 'README.md'].sort());
    expect(bed.server.head(ID).summary).toBe('Upload merged model with ministral-tune');
    expect(new Set(seen.map(({ file }) => file))).toContain(SHARDS[1]);
    expect(bed.warnings).toEqual([]);
    expect(await push()).toMatchObject({ changed: false, uploaded: [] });
    await writeModel(bed.folder, 2);
    expect((await push()).uploaded).toEqual(SHARDS);
  });

  it('says what it was made of, as the Hub reads it', async () => {
    await push({ modelCard: { prompt: 'Which one?', tags: ['medical'] } });
    const front = parseYaml(card().slice(4, card().indexOf('\n---\n', 4)));
    expect(front).toEqual({
      base_model: 'org/base',
      base_model_relation: 'finetune',
      library_name: 'transformers',
      pipeline_tag: 'image-text-to-text',
      tags: ['lora', 'ministral-tune', 'medical'],
    });
    expect(card()).toContain('# bone-model');
    expect(card()).toContain('| parameters | 64 |\n| stored as | F32 |\n| size of the weights | 256 bytes |');
    expect(card()).toContain('The model was trained with this prompt');
    expect(card()).not.toMatch(/adapter_|PeftModel|--enable-lora/);
    await push({ modelCard: { baseModel: 'org/other' } });
    expect(card()).toContain('base_model: "org/other"');
  });

  it('has no relation to a base model that nobody named', async () => {
    await rm(join(bed.folder, 'README.md'));
    await push();
    expect(card()).not.toContain('base_model');
    await expect(push({ modelCard: { baseModel: bed.folder } })).rejects.toThrow(
      /the model's base model .* is a folder/,
    );
  });

  it('keeps a page that people have edited', async () => {
    await push();
    bed.server.commit(ID, { 'README.md': '# Mine\n' });
    expect(await push({ modelCard: { title: 'New' } })).toMatchObject({ changed: false, kept: ['README.md'] });
    expect(bed.warnings).toHaveLength(1);
  });

  it.each([
    ['adapter_config.json', '{}'],
    ['model.safetensors', 'other weights'],
    ['model-00003-of-00003.safetensors', 'other weights'],
  ])('is refused where %s would be loaded with it', async (name, content) => {
    bed.server.commit(ID, { [name]: content });
    await expect(push()).rejects.toThrow(
      `it holds ${name}, which would be loaded with or in place of the merged model`,
    );
    expect(bed.commits()).toBe(1);
  });

  it('is refused before a file is digested, which may take minutes', async () => {
    // A folder in the place of a shard cannot be read.
    const files = [{ path: SHARDS[0]!, source: bed.folder }];
    const options = pushFilesSchema.parse({ endpoint: bed.server.endpoint, token: 'hf_writer' });
    await expect(pushFiles(ID, files, options, () => 'it holds others')).rejects.toThrow('it holds others');
    await expect(pushFiles(ID, files, options)).rejects.toThrow(/EISDIR/);
  });

  it('goes on after a broken connection, and stops when it is told to', async () => {
    bed.server.fault(/PUT \/put/, hangUp);
    expect(await push()).toMatchObject({ changed: true });
    await writeModel(bed.folder, 3);
    const controller = new AbortController();
    const reason = new Error('enough');
    bed.server.fault(/PUT \/put/, () => controller.abort(reason));
    await expect(push({ signal: controller.signal })).rejects.toBe(reason);
    await expect(push({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('is refused with a shard that is missing or damaged, before anything is sent', async () => {
    await writeFile(join(bed.folder, SHARDS[1]!), 'x');
    await expect(push()).rejects.toThrow(/model-00002-of-00002/);
    await rm(join(bed.folder, SHARDS[1]!));
    await expect(push()).rejects.toThrow(/model-00002-of-00002/);
    expect(bed.server.asked()).toEqual([]);
  });

  it('takes the chat template of the options in place of the folder’s', async () => {
    await writeFile(join(bed.folder, 'chat_template.jinja'), '{{ other }}');
    await push({ chatTemplate: '{{ messages }}' });
    expect(bed.text('chat_template.jinja')).toBe('{{ messages }}');
  });

  it('leaves an adapter in the folder the one that is meant', async () => {
    await bed.save({ r: 4, towers: 'language' }, 3);
    expect((await push()).uploaded).not.toContain(SHARDS[0]);
  });
});
