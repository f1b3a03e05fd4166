/** The files of a merged checkpoint beside its weights, and the folder that it is written into. */

import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { CheckpointError } from '../errors.js';
import { describeFolder } from '../files/describe-folder.js';
import { readJson } from '../files/read-json.js';
import type { ShardedCheckpoint } from '../formats/safetensors.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { baseOf, cachedRepo } from './base-model.js';
import type { LoraAdapter } from './lora-adapter.js';
import type { AdapterData } from './read-adapter.js';

/** Names a folder that cannot be a checkpoint. @throws CheckpointError */
export async function requireCheckpoint(directory: string): Promise<void> {
  const { kind, text, children } = await describeFolder(directory);
  if (['model', 'other', 'mistral'].includes(kind)) return requireUnquantized(directory);
  const subfolder = kind === 'parent' ? `Give the subfolder, e.g. ${children[0]}.` : undefined;
  throw new CheckpointError(`mergeAdapter: \`checkpointDir\`, ${directory}, is no model: it ${text}`, {
    hint: subfolder ?? 'Give the folder of the base model; `adapterDir` is that of the adapter.',
    details: { path: directory, kind },
  });
}

/** Only 16-bit, FP8 and bitsandbytes weights can be dequantised and merged. @throws CheckpointError for others */
async function requireUnquantized(directory: string): Promise<void> {
  const path = join(directory, 'config.json');
  // Whether it can be read matters to those who need it.
  const json = (await readJson(path).catch(() => undefined)) as { quantization_config?: { quant_method?: unknown } };
  const method = json?.quantization_config?.quant_method;
  if (method === undefined || method === 'fp8' || method === 'bitsandbytes') return;
  throw new CheckpointError(
    `${path}: the weights are quantised (${showValue(method)}), a method that cannot be merged into`,
    {
      hint: 'Merge into the base model in 16 bits, FP8 or NF4: its shapes are the same, and the adapter fits it.',
      details: { path },
    },
  );
}

/** Weights in other forms, and files about the base model that would mislead beside the merged one. */
const NOT_COPIED =
  /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx|npz)$|\.index\.json$|^(params\.json|README\.md|adapter_config\.json|\..*)$/i;

/**
 * Name and real path of everything beside the weights that belongs to the model, and of the shards' index. A link must
 * stay in the folder or its store in the Hub's cache: another could publish a private file with the merged model.
 * @throws CheckpointError naming a link that leads elsewhere
 */
export async function smallFiles({ directory, indexFile }: ShardedCheckpoint): Promise<[name: string, path: string][]> {
  const names = (await readdir(directory)).filter((name) => !NOT_COPIED.test(name) || name === indexFile);
  return ownFiles(directory, names);
}

/** Those of the names that are files of the folder itself, or links into the Hub's store of it. @throws as smallFiles */
export async function ownFiles(directory: string, wanted: readonly string[]): Promise<[name: string, path: string][]> {
  const home = await realpath(directory);
  const stores = [home, resolve(home, '..', '..', 'blobs')];
  const files: [string, string][] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const { name } = entry;
    if (!wanted.includes(name)) continue;
    const path = join(directory, name);
    if (entry.isFile()) files.push([name, path]);
    if (!entry.isSymbolicLink()) continue;
    const real = await realpath(path).catch((cause: Error) => {
      throw new CheckpointError(`${path}: a symbolic link that cannot be followed: ${cause.message}`, { cause });
    });
    if (!stores.some((store) => real.startsWith(store + sep))) {
      throw new CheckpointError(`${path}: a symbolic link to ${real}, which does not belong to the checkpoint`, {
        hint: 'Remove the link, or put the file itself in its place if it is to be part of the merged model.',
        details: { path, real },
      });
    }
    if ((await stat(real)).isFile()) files.push([name, real]);
  }
  return files;
}

/** The output folder's real path, after checking that it is empty or absent and lies in none of the sources. */
export async function freeFolder(outputDir: string, sources: readonly string[]): Promise<string> {
  const output = await realParent(outputDir);
  for (const source of sources) {
    const real = await realpath(source).catch(() => resolve(source));
    if (output === real || output.startsWith(real + sep)) {
      throw new CheckpointError(`${outputDir} lies in the source folder ${source}`, {
        hint: 'Give a folder of its own for the merged model.',
      });
    }
  }
  const entries = await readdir(outputDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new CheckpointError(`${outputDir} is not a folder`, { cause: error });
  });
  if (entries.length > 0) {
    throw new CheckpointError(`${outputDir} is not empty: it holds ${entries.slice(0, 5).map(oneLine).join(', ')}`, {
      hint: 'Give a new folder, so that files of two models cannot mix.',
    });
  }
  return output;
}

/** The real path of a folder that need not exist: links in the part that exists are resolved. */
async function realParent(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real !== undefined) return real;
  const parent = dirname(path);
  return parent === path ? path : join(await realParent(parent), basename(path));
}

/** The base model's name on the Hub, where it is known. */
export function baseName(
  adapter: LoraAdapter | undefined,
  { origin }: AdapterData,
  checkpointDir: string,
): string | undefined {
  const names = [
    cachedRepo(resolve(checkpointDir))?.name,
    adapter && baseOf(adapter.model).name,
    origin.baseModelNameOrPath,
  ];
  return names.find((name) => name !== undefined && /^[\w.-]+\/[\w.-]+$/.test(name));
}

/** What the Hub and people learn of a merged model: which one it was made of. */
export function mergedCard(base: string | undefined): string | undefined {
  if (base === undefined) return undefined;
  return [
    '---',
    `base_model: ${JSON.stringify(base)}`,
    'base_model_relation: finetune',
    'library_name: transformers',
    'pipeline_tag: image-text-to-text',
    'tags:',
    '  - "ministral-tune"',
    '---',
    '',
    `[${base}](https://huggingface.co/${base}) with a LoRA adapter merged into its weights by ministral-tune.`,
    '',
  ].join('\n');
}
