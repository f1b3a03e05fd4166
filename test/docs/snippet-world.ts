/**
 * Where the documents' code runs: a folder with this package installed, images, conversations, and a Hub and a Kaggle of
 * this machine that answer with a tiny model. The code names real models and data sets, and none of them is asked for.
 */
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import manifest from '../../package.json' with { type: 'json' };
import { drawRadiographs, FRACTURE_CLASSES } from '../../src/demo/radiographs.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { makeZip } from '../archive/zip-writer.js';
import { HubServer } from '../servers/hub-server.js';
import { KaggleServer } from '../servers/kaggle-server.js';
import { filesBelow, root } from './snippets.js';

const SIZES = ['3B', '8B', '14B'];
/** Names that are answered with the tiny model. */
const MODELS = [
  ...SIZES.flatMap((size) => ['Instruct', 'Base', 'Reasoning'].map((kind) => `Ministral-3-${size}-${kind}-2512`)),
  ...SIZES.map((size) => `Ministral-3-${size}-Instruct-2512-BF16`),
].map((name) => `mistralai/${name}`);
const DATASET = 'pkdarabi/bone-break-classification-image-dataset';
const TRAIN_PER_CLASS = 4;
const TEST_PER_CLASS = 2;
const PROMPT = 'Which fracture is it?';

export interface SnippetWorld {
  readonly dir: string;
  /** Of the programs that run code here. */
  readonly env: NodeJS.ProcessEnv;
  /** Makes a working folder with `xrays/`, `labels.csv`, `train.jsonl`, `test.jsonl`, and a model in `models/ministral-3b`. */
  workingFolder(name: string): Promise<string>;
  close(): Promise<void>;
}

export async function makeSnippetWorld(): Promise<SnippetWorld> {
  const dir = await mkdtemp(join(tmpdir(), 'snippets-'));
  const data = join(dir, 'data');
  const drawing = {
    outputDir: join(data, 'xrays'),
    seed: 1,
    trainPerClass: TRAIN_PER_CLASS,
    testPerClass: TEST_PER_CLASS,
  };
  const checkpoint = { outputDir: join(dir, 'checkpoint'), seed: 1, corpus: [PROMPT, ...FRACTURE_CLASSES] };
  await Promise.all([install(dir), drawRadiographs(drawing), writeTinyCheckpoint(checkpoint)]);
  for (const split of ['Train', 'Test']) {
    await writeFile(join(data, `${split.toLowerCase()}.jsonl`), conversations(data, split));
  }
  const pngs = filesBelow(join(data, 'xrays'), '.');
  const rows = pngs.map((path) => `xrays/${path},${path.split('/')[0]}`);
  await writeFile(join(data, 'labels.csv'), ['image,fracture', ...rows, ''].join('\n'));
  const hub = await HubServer.start();
  const files: Record<string, Buffer> = {};
  for (const name of await readdir(checkpoint.outputDir))
    files[name] = await readFile(join(checkpoint.outputDir, name));
  for (const name of MODELS) hub.commit(name, files);
  const bytes = pngs.map((path) => readFileSync(join(data, 'xrays', path)));
  hub.commit('datasets:OWNER/NAME', Object.fromEntries(pngs.map((path, i) => [path, bytes[i]!])));
  hub.tokens.set('hf_snippets', 'USER');
  const kaggle = await KaggleServer.start({
    1: makeZip(pngs.map((path, i) => ({ name: `set/${path}`, content: bytes[i]! }))),
  });
  kaggle.handle = DATASET;
  const env: NodeJS.ProcessEnv = {
    ...{ PATH: process.env['PATH'], HOME: dir, USERPROFILE: dir, TMPDIR: dir, NO_COLOR: '1' },
    ...{ HF_ENDPOINT: hub.endpoint, HF_HOME: join(dir, 'huggingface'), HF_TOKEN: 'hf_snippets' },
    ...{ SNIPPETS_KAGGLE: kaggle.endpoint, KAGGLEHUB_CACHE: join(dir, 'kagglehub'), CUDA_VISIBLE_DEVICES: '' },
  };
  return {
    dir,
    env,
    async workingFolder(name) {
      const folder = join(dir, 'pages', name.replace(/\W+/g, '-'));
      await cp(data, folder, { recursive: true });
      await cp(checkpoint.outputDir, join(folder, 'models', 'ministral-3b'), { recursive: true });
      return folder;
    },
    async close() {
      await Promise.all([hub.close(), kaggle.close()]);
      await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** The package as npm would lay it, made of the present sources; its Kaggle is the one of this machine. */
async function install(dir: string): Promise<void> {
  const modules = join(dir, 'node_modules');
  const target = join(modules, 'ministral-tune');
  await mkdir(target, { recursive: true });
  const neighbours = (await readdir(join(root, 'node_modules'))).filter((name) => !name.startsWith('.'));
  await Promise.all([
    ...neighbours.map((name) => symlink(join(root, 'node_modules', name), join(modules, name))),
    writeFile(join(target, 'package.json'), JSON.stringify(manifest)),
    build({
      absWorkingDir: root,
      entryPoints: manifest.typedocOptions.entryPoints,
      outdir: join(target, 'dist'),
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      sourcemap: true,
      plugins: [
        {
          name: 'a Kaggle of this machine',
          setup: ({ onLoad }) =>
            onLoad({ filter: /kaggle[\\/]handle\.ts$/ }, async ({ path }) => ({
              loader: 'ts',
              contents: (await readFile(path, 'utf8')).replace(
                /(export const KAGGLE = )'[^']*'/,
                "$1process.env['SNIPPETS_KAGGLE']!",
              ),
            })),
        },
      ],
    }),
    build({
      absWorkingDir: root,
      entryPoints: ['test/docs/given.ts'],
      outfile: join(dir, 'given.mjs'),
      format: 'esm',
      sourcemap: true,
    }),
  ]);
}

function conversations(dir: string, split: string): string {
  const rows = filesBelow(dir, 'xrays')
    .filter((path) => path.includes(`/${split}/`))
    .map((image) => {
      const question = [
        { type: 'text', text: PROMPT },
        { type: 'image_url', image_url: { url: image } },
      ];
      const answer = image.split('/')[1]!;
      return {
        messages: [
          { role: 'user', content: question },
          { role: 'assistant', content: answer },
        ],
      };
    });
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}
