/** What a folder seems to hold, for messages about one that is not what was expected. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { oneLine } from '../messages/one-line.js';
import { shortList } from '../messages/short-list.js';

/** What a folder's names tell, beside a sentence for people. */
export interface FolderDescription {
  readonly kind:
    | 'model'
    | 'adapter'
    | 'mlx'
    | 'mistral'
    | 'gguf'
    | 'foreign'
    | 'pickle'
    | 'images'
    | 'parent'
    | 'empty'
    | 'other'
    | 'none';
  /** Completes "the folder …", e.g. `holds an adapter (adapter_config.json)`. */
  readonly text: string;
  /** For `parent`: subfolders that hold what was asked about. */
  readonly children: readonly string[];
}

const MAX_ENTRIES = 2000;
const MAX_FOLDERS = 50;
const MAX_NAMED = 5;
const IMAGE = /\.(jpe?g|png|webp|gif|bmp|tiff?|dcm)$/i;

/** Looks at names alone, one level deep. Never fails. */
export async function describeFolder(directory: string): Promise<FolderDescription> {
  const entries = await list(directory);
  const answer = (
    kind: FolderDescription['kind'],
    text: string,
    children: readonly string[] = [],
  ): FolderDescription => ({ kind, text, children });
  if (!entries) return answer('none', 'does not exist or cannot be read');
  const names = entries.map(({ name }) => name);
  const kind = kindOf(names);
  if (kind) return answer(kind.kind, kind.text);

  const folders = entries.filter((entry) => entry.isDirectory()).slice(0, MAX_FOLDERS);
  const inside = await Promise.all(
    folders.map(async ({ name }) => {
      const below = (await list(join(directory, name))) ?? [];
      return { name, names: below.map((entry) => entry.name), folders: below.filter((entry) => entry.isDirectory()) };
    }),
  );
  const useful = inside.filter((folder) => ['model', 'adapter'].includes(kindOf(folder.names)?.kind ?? ''));
  if (useful.length > 0) {
    const children = useful.map(({ name }) => name);
    const what = [...new Set(useful.map((folder) => kindOf(folder.names)!.kind))].join(' or ');
    return answer('parent', `has its files in subfolders: ${shown(children)} (${what})`, children);
  }
  const images = [names, ...inside.map((folder) => folder.names)].flat().filter((name) => IMAGE.test(name)).length;
  if (images > 0) return answer('images', `holds images (${images} found), as a data set does`);
  if (inside.some((folder) => folder.folders.length > 0 && folder.names.length === folder.folders.length)) {
    const deeper = await Promise.all(
      inside.flatMap(({ name, folders: below }) =>
        below.slice(0, MAX_NAMED).map(async (folder) => {
          const path = join(name, folder.name);
          const deep = ((await list(join(directory, path))) ?? []).map((entry) => entry.name);
          return { path, kind: kindOf(deep)?.kind, hasImages: deep.some((entry) => IMAGE.test(entry)) };
        }),
      ),
    );
    const found = deeper.filter(({ kind }) => kind === 'model' || kind === 'adapter').map(({ path }) => path);
    if (found.length > 0) return answer('parent', `has its files in subfolders: ${shown(found)}`, found);
    if (deeper.some(({ hasImages }) => hasImages))
      return answer('images', 'holds folders of images, as a data set does');
  }
  if (names.length === 0) return answer('empty', 'is empty');
  return answer('other', `holds ${shown(names)}`);
}

/** [names of files, what they are] */
const FOREIGN_ADAPTERS: readonly (readonly [RegExp, string])[] = [
  [/^adapters\.safetensors$/, 'an adapter of mlx (adapters.safetensors)'],
  [/^lora\.safetensors$/, 'an adapter of mistral-finetune (lora.safetensors), in Mistral’s own layout'],
  [/^pytorch_lora_weights\./, 'an adapter of diffusers (pytorch_lora_weights), for another kind of model'],
  [/^adapter_\d+\.pt$/, 'an adapter of torchtune (adapter_N.pt), a Python pickle'],
  [/\.nemo$/, 'a NeMo archive'],
];

function kindOf(names: readonly string[]): { kind: FolderDescription['kind']; text: string } | undefined {
  const has = (pattern: RegExp): boolean => names.some((name) => pattern.test(name));
  if (has(/^config\.json$/) && has(/^model.*\.safetensors(\.index\.json)?$/)) {
    return { kind: 'model', text: 'holds a model (config.json and model*.safetensors)' };
  }
  if (has(/^adapter_config\.json$/)) {
    if (has(/^adapters\.safetensors$/)) return { kind: 'mlx', text: 'holds an adapter of mlx (adapters.safetensors)' };
    return { kind: 'adapter', text: 'holds an adapter (adapter_config.json)' };
  }
  if (has(/^adapter_model\.(safetensors|bin)$/)) {
    return { kind: 'adapter', text: 'holds the weights of an adapter but no adapter_config.json' };
  }
  const foreign = FOREIGN_ADAPTERS.find(([pattern]) => has(pattern));
  if (foreign && !has(/^consolidated.*\.safetensors$/)) return { kind: 'foreign', text: `holds ${foreign[1]}` };
  if (has(/^(params\.json|consolidated.*\.safetensors)$/)) {
    return {
      kind: 'mistral',
      text: 'holds Mistral-native files (params.json, consolidated*.safetensors), which are not read',
    };
  }
  if (has(/\.gguf$/i)) return { kind: 'gguf', text: 'holds GGUF files, which are not read' };
  if (has(/^pytorch_model.*\.bin(\.index\.json)?$/)) {
    return { kind: 'pickle', text: 'holds pytorch_model*.bin, Python pickles, which are never read' };
  }
  if (has(/^config\.json$/)) return { kind: 'other', text: `holds a config.json but no model*.safetensors` };
  return undefined;
}

async function list(directory: string) {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined);
  return entries?.slice(0, MAX_ENTRIES);
}

function shown(names: readonly string[]): string {
  return shortList([...names].sort(), MAX_NAMED, oneLine);
}
