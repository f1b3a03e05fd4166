import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { ShardedCheckpoint, writeSafetensors } from '../../src/formats/safetensors.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import {
  baseName,
  freeFolder,
  mergedCard,
  ownFiles,
  requireCheckpoint,
  smallFiles,
} from '../../src/lora/merge-files.js';
import { MergeOutput } from '../../src/lora/merge-output.js';
import { trained } from './adapter-folder.js';
import { someNumbers } from './fake-engine.js';

let root: string;
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'merge-files-')));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const Q = 'model.language_model.layers.0.self_attn.q_proj';
const EMBEDDING = 'model.language_model.embed_tokens.weight';

/** A tied model of one layer in two shards. */
async function writeBase({ config = '{}' as string | undefined, dtype = 'F32' as 'F32' | 'I64', rows = 16 } = {}) {
  const dir = join(root, 'base');
  await mkdir(dir);
  const data = dtype === 'F32' ? someNumbers(rows * 12, 1) : new BigInt64Array(rows * 12);
  const first = { name: `${Q}.weight`, dtype, shape: [rows, 12], data } as const;
  const second = { name: EMBEDDING, dtype: 'F32', shape: [5, 12], data: someNumbers(60, 2) } as const;
  const files = { 'model-00001-of-00002.safetensors': first, 'model-00002-of-00002.safetensors': second };
  for (const [name, tensor] of Object.entries(files)) await writeSafetensors(join(dir, name), [tensor]);
  const weightMap = Object.fromEntries(Object.entries(files).map(([file, { name }]) => [name, file]));
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  if (config !== undefined) await writeFile(join(dir, 'config.json'), config);
  return dir;
}

async function writeAdapter(): Promise<string> {
  const dir = join(root, 'adapter');
  await saveAdapter(trained({ r: 2, targetModules: [Q] }), dir);
  return dir;
}

describe('mergeAdapter', () => {
  it('says which argument is wrong', async () => {
    const given = { checkpointDir: 'base', adapterDir: 'adapter', outputDir: 'out' };
    const merge = (changes: object) => mergeAdapter({ ...given, ...changes } as never);
    const adapter = trained({ r: 2 });
    await expect(mergeAdapter('base' as never)).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringContaining('mergeAdapter: expected an object of options, got "base"'),
      hint: 'Write mergeAdapter({ checkpointDir, adapterDir, outputDir }): folders of the base model, the adapter, the result.',
    });
    await expect(merge({ adapterDir: undefined })).rejects.toThrow(
      'mergeAdapter: give either `adapterDir` or `adapter`, got neither',
    );
    await expect(merge({ adapter })).rejects.toThrow('mergeAdapter: give either `adapterDir` or `adapter`, got both');
    await expect(merge({ checkpointDir: 5 })).rejects.toThrow(/mergeAdapter: `checkpointDir`/);
    await expect(merge({ outputDir: 5 })).rejects.toThrow(/mergeAdapter: `outputDir`/);
    await expect(merge({ adapterDir: 5 })).rejects.toThrow(/mergeAdapter: `adapterDir`/);
    await expect(merge({ outputdir: 'x' })).rejects.toThrow(/mergeAdapter.*outputdir/);
    await expect(merge({ adapterDir: undefined, adapter: {} })).rejects.toThrow(
      /^mergeAdapter: expected the adapter that[\s\S]*mergeAdapter\(\{ adapter, checkpointDir, outputDir \}\)/,
    );
    await expect(merge({ chatTemplate: 'a file' })).rejects.toThrow(
      /mergeAdapter[\s\S]*chatTemplate[\s\S]*not the path/,
    );
    await expect(merge({ processor: 5 })).rejects.toThrow(/mergeAdapter[\s\S]*expected a processor/);
  });

  it('refuses what does not fit, by layer', async () => {
    const adapterDir = await writeAdapter();
    const merge = (checkpointDir: string) => mergeAdapter({ checkpointDir, adapterDir, outputDir: join(root, 'out') });
    await expect(merge(await writeBase({ dtype: 'I64' }))).rejects.toMatchObject({
      message: expect.stringContaining(
        `the adapter cannot be merged:\n  - ${Q}.weight: stored as I64, expected F32, BF16, F16, F8_E4M3 or NF4`,
      ),
      hint: 'Merge into the base model that the adapter was trained on.',
      details: { faults: [expect.any(String)] },
    });
    const base = await writeBaseAgain({ rows: 8 });
    const adapter = trained({ r: 2, targetModules: ['q_proj', 'k_proj'], towers: 'language' });
    await expect(mergeAdapter({ checkpointDir: base, adapter, outputDir: join(root, 'out') })).rejects.toThrow(
      new RegExp(
        `cannot be merged:\n {2}- ${Q}: the adapter was made for another shape than \\[8, 12\\]\n {2}- .*k_proj: the checkpoint has no such layer`,
      ),
    );
  });

  it('writes what the base and the adapter bring, and says what it did', async () => {
    const checkpointDir = await writeBase();
    const adapterDir = await writeAdapter();
    for (const [dir, name] of [
      [checkpointDir, 'tokenizer.json'],
      [adapterDir, 'tokenizer.json'],
      [checkpointDir, 'notes.txt'],
    ] as const) {
      await writeFile(join(dir, name), `of ${dir}`);
    }
    const seen: unknown[] = [];
    const lines: string[] = [];
    const json = JSON.parse(await readFile(join(adapterDir, 'adapter_config.json'), 'utf8'));
    await writeFile(
      join(adapterDir, 'adapter_config.json'),
      JSON.stringify({ ...json, base_model_name_or_path: 'a/other' }),
    );
    const result = await mergeAdapter({
      ...{ checkpointDir, adapterDir, outputDir: join(root, 'out'), chatTemplate: '{{ a }}' },
      onProgress: (progress) => seen.push(progress),
      onWarning: (line) => lines.push(line),
    });
    const bytes = 4 * (16 * 12 + 60);
    expect(result).toEqual({
      ...{ outputDir: join(root, 'out'), mergedModules: 1, tensors: 2, bytes },
      files: [
        ...['README.md', 'chat_template.jinja', 'config.json', 'model-00001-of-00002.safetensors'],
        ...['model-00002-of-00002.safetensors', 'model.safetensors.index.json', 'notes.txt', 'tokenizer.json'],
      ],
    });
    expect(seen).toEqual([
      { tensor: `${Q}.weight`, bytesDone: 4 * 16 * 12, bytesTotal: bytes },
      { tensor: EMBEDDING, bytesDone: bytes, bytesTotal: bytes },
    ]);
    const text = (name: string) => readFile(join(root, 'out', name), 'utf8');
    expect([await text('tokenizer.json'), await text('chat_template.jinja')]).toEqual([`of ${adapterDir}`, '{{ a }}']);
    expect(await text('README.md')).toContain('base_model: "a/other"');
    expect(lines).toEqual([expect.stringContaining('was trained on "a/other" and is put onto')]);
  });

  it('gives a tied head that is adapted a tensor of its own', async () => {
    const checkpointDir = await writeBase({
      config: JSON.stringify({ text_config: { tie_word_embeddings: true, a: 1 } }),
    });
    const checkpoint = await ShardedCheckpoint.open(checkpointDir);
    const untied = { name: 'lm_head.weight', embedding: EMBEDDING };
    const output = await MergeOutput.of(checkpoint, { changes: true, untied });
    expect([...output.tensors.keys()]).toEqual([`${Q}.weight`, EMBEDDING, 'lm_head.weight']);
    expect(output.inFile('/x/model-00002-of-00002.safetensors').map(({ name }) => name)).toEqual([
      EMBEDDING,
      'lm_head.weight',
    ]);
    expect([output.source('lm_head.weight').name, output.source(EMBEDDING).name]).toEqual([
      'lm_head.weight',
      EMBEDDING,
    ]);
    expect(output.bytes).toBe(4 * (16 * 12 + 60 + 60));
    await output.writeJson(root);
    const json = async (name: string) => JSON.parse(await readFile(join(root, name), 'utf8'));
    expect(await json('config.json')).toEqual({
      text_config: { tie_word_embeddings: false, a: 1 },
      tie_word_embeddings: false,
    });
    expect(await json('model.safetensors.index.json')).toEqual({
      metadata: { total_size: output.bytes },
      weight_map: {
        [`${Q}.weight`]: 'model-00001-of-00002.safetensors',
        [EMBEDDING]: 'model-00002-of-00002.safetensors',
        'lm_head.weight': 'model-00002-of-00002.safetensors',
      },
    });
    await checkpoint.close();
  });

  it('needs a configuration that can be read where the head changes', async () => {
    for (const [config, message] of [
      ['{', /config\.json, which says whether embedding and output head are tied, cannot be read as JSON: /],
      ['5', /config\.json holds no JSON object/],
      ['null', /config\.json holds no JSON object/],
    ] as const) {
      const checkpoint = await ShardedCheckpoint.open(await writeBaseAgain({ config }));
      await expect(MergeOutput.of(checkpoint, { changes: true })).rejects.toThrow(message);
      if (config === '{') {
        await expect(MergeOutput.of(checkpoint, { changes: true })).rejects.toMatchObject({ cause: expect.any(Error) });
      }
      // Nobody asks what stays as it is.
      const output = await MergeOutput.of(checkpoint);
      await output.writeJson(join(root, 'nowhere'));
      await checkpoint.close();
    }
    for (const text_config of [null, 5, { a: 1 }]) {
      const checkpoint = await ShardedCheckpoint.open(
        await writeBaseAgain({ config: JSON.stringify({ text_config }) }),
      );
      await (await MergeOutput.of(checkpoint, { changes: true })).writeJson(root);
      await checkpoint.close();
      const written = JSON.parse(await readFile(join(root, 'config.json'), 'utf8'));
      expect(written).toEqual({ text_config, tie_word_embeddings: false });
    }
  });
});

async function writeBaseAgain(options: Parameters<typeof writeBase>[0]): Promise<string> {
  await rm(join(root, 'base'), { recursive: true, force: true });
  return writeBase(options);
}

describe('the folder of the base', () => {
  it('is a model, in a form that can be merged into', async () => {
    const dir = await writeBase();
    await requireCheckpoint(dir);
    for (const method of ['fp8', 'bitsandbytes']) {
      await writeFile(join(dir, 'config.json'), JSON.stringify({ quantization_config: { quant_method: method } }));
      await requireCheckpoint(dir);
    }
    await writeFile(join(dir, 'config.json'), JSON.stringify({ quantization_config: { quant_method: 'awq' } }));
    await expect(requireCheckpoint(dir)).rejects.toMatchObject({
      message: expect.stringContaining('the weights are quantised ("awq"), a method that cannot be merged into'),
      hint: expect.stringContaining('in 16 bits, FP8 or NF4'),
      details: { path: join(dir, 'config.json') },
    });
    await writeFile(join(dir, 'config.json'), '{');
    await requireCheckpoint(dir);
    // In Mistral's own layout: what reads it says more of it.
    const own = join(root, 'own');
    await mkdir(own);
    for (const name of ['params.json', 'consolidated.safetensors']) await writeFile(join(own, name), '{}');
    await requireCheckpoint(own);
  });

  it('that is none is named, with where to look', async () => {
    const adapter = await writeAdapter();
    await expect(requireCheckpoint(adapter)).rejects.toMatchObject({
      message: expect.stringContaining(`mergeAdapter: \`checkpointDir\`, ${adapter}, is no model: it holds an adapter`),
      hint: 'Give the folder of the base model; `adapterDir` is that of the adapter.',
      details: { path: adapter, kind: 'adapter' },
    });
    await writeBase();
    await rm(adapter, { recursive: true });
    await expect(requireCheckpoint(root)).rejects.toMatchObject({ hint: 'Give the subfolder, e.g. base.' });
  });

  it('brings its own small files, not links that lead elsewhere', async () => {
    const dir = await writeBase();
    for (const name of ['tokenizer.json', 'a.gguf', '.hidden', 'README.md', 'x.index.json'])
      await writeFile(join(dir, name), '');
    await mkdir(join(dir, 'folder'));
    await symlink(join(dir, 'tokenizer.json'), join(dir, 'link.json'));
    await symlink(join(dir, 'folder'), join(dir, 'linked-folder'));
    const checkpoint = await ShardedCheckpoint.open(dir);
    expect((await smallFiles(checkpoint)).sort()).toEqual([
      ['config.json', join(dir, 'config.json')],
      ['link.json', join(dir, 'tokenizer.json')],
      ['model.safetensors.index.json', join(dir, 'model.safetensors.index.json')],
      ['tokenizer.json', join(dir, 'tokenizer.json')],
    ]);
    await checkpoint.close();
    expect(await ownFiles(dir, ['config.json', 'missing'])).toEqual([['config.json', join(dir, 'config.json')]]);

    await writeFile(join(root, 'private'), '');
    await symlink(join(root, 'private'), join(dir, 'out.json'));
    await expect(ownFiles(dir, ['out.json'])).rejects.toMatchObject({
      message: expect.stringContaining(`a symbolic link to ${join(root, 'private')}, which does not belong to the`),
      hint: expect.stringContaining('Remove the link'),
      details: { path: join(dir, 'out.json'), real: join(root, 'private') },
    });
    await symlink(join(root, 'nowhere'), join(dir, 'dangling.json'));
    await expect(ownFiles(dir, ['dangling.json'])).rejects.toMatchObject({
      message: expect.stringContaining('a symbolic link that cannot be followed: '),
      cause: expect.any(Error),
    });
  });

  it('may be a snapshot of the Hub’s cache, whose files are links', async () => {
    const snapshot = join(root, 'models--a--b', 'snapshots', 'c');
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(root, 'models--a--b', 'blobs'));
    await writeFile(join(root, 'models--a--b', 'blobs', 'x'), '');
    await symlink('../../blobs/x', join(snapshot, 'tokenizer.json'));
    const blob = join(root, 'models--a--b', 'blobs', 'x');
    expect(await ownFiles(snapshot, ['tokenizer.json'])).toEqual([['tokenizer.json', blob]]);
  });
});

describe('the folder of a merged model', () => {
  it('is new or empty, and in no source', async () => {
    const source = join(root, 'source');
    await mkdir(join(source, 'below'), { recursive: true });
    await mkdir(join(root, 'source-too'));
    expect(await freeFolder(join(root, 'source-too'), [source])).toBe(join(root, 'source-too'));
    expect(await freeFolder(join(root, 'new', 'one'), [source, join(root, 'nowhere')])).toBe(join(root, 'new', 'one'));
    await symlink(source, join(root, 'link'));
    for (const path of [source, join(source, 'below'), join(root, 'link', 'new')]) {
      await expect(freeFolder(path, [source])).rejects.toMatchObject({
        message: expect.stringContaining(`${path} lies in the source folder ${source}`),
        hint: 'Give a folder of its own for the merged model.',
      });
    }
    await expect(freeFolder(join(root, 'nowhere'), [join(root, 'nowhere')])).rejects.toThrow(/lies in the source/);
  });

  it('that holds something is refused by some of its names', async () => {
    const dir = join(root, 'full');
    await mkdir(dir);
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) await writeFile(join(dir, name), '');
    await expect(freeFolder(dir, [])).rejects.toMatchObject({
      message: expect.stringMatching(/full is not empty: it holds \w, \w, \w, \w, \w\n/),
      hint: 'Give a new folder, so that files of two models cannot mix.',
    });
    await expect(freeFolder(join(dir, 'a'), [])).rejects.toThrow(CheckpointError);
    await expect(freeFolder(join(dir, 'a'), [])).rejects.toMatchObject({ cause: { code: 'ENOTDIR' } });
    await expect(freeFolder(join(dir, 'a'), [])).rejects.toThrow(/a is not a folder/);
  });

  it('names the base model where its name on the Hub is known', () => {
    const named = (nameOrPath?: string, inFile?: string, checkpointDir = '/base') =>
      baseName(
        nameOrPath === undefined ? undefined : ({ model: { nameOrPath } } as never),
        { origin: { baseModelNameOrPath: inFile } } as never,
        checkpointDir,
      );
    expect(named()).toBeUndefined();
    expect(named(undefined, 'a/b')).toBe('a/b');
    expect(named('c/d', 'a/b')).toBe('c/d');
    expect(named('/local/c/d', 'a/b')).toBe('a/b');
    expect(named('x/c/d', 'no name')).toBeUndefined();
    const commit = '0123456789abcdef0123456789abcdef01234567';
    expect(named('c/d', 'a/b', `/hub/models--e--f.g/snapshots/${commit}`)).toBe('e/f.g');
    expect(mergedCard(undefined)).toBeUndefined();
    expect(mergedCard('a/b')).toBe(
      '---\nbase_model: "a/b"\nbase_model_relation: finetune\nlibrary_name: transformers\n' +
        'pipeline_tag: image-text-to-text\ntags:\n  - "ministral-tune"\n---\n\n' +
        '[a/b](https://huggingface.co/a/b) with a LoRA adapter merged into its weights by ministral-tune.\n',
    );
  });
});
