/** From the name of an adapter on the Hub, or a folder, to the folder with its files. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { HubDownload } from '../hub/hub-options.js';
import type { FileSelection } from '../hub/snapshot-download.js';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';

export async function adapterFolder(idOrFolder: string, options: HubDownload): Promise<string> {
  const { folderOrSnapshot } = await import('../hub/snapshot-download.js');
  return (await folderOrSnapshot(idOrFolder, options, ADAPTER_SELECTION)).folder;
}

/** The source of the chat template that an adapter was trained with, beside its files. */
export const CHAT_TEMPLATE_FILE = 'chat_template.jinja';

/** Files beside an adapter that say how its input is made. Where it has them, they win over those of its base model. */
export const PROCESSOR_FILES: readonly string[] = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'processor_config.json',
  'preprocessor_config.json',
  CHAT_TEMPLATE_FILE,
  'chat_template.json',
];

export const ADAPTER_SELECTION = {
  allowPatterns: [
    ...[ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, CHAT_TEMPLATE_FILE],
    ...['processor_config.json', 'preprocessor_config.json'],
  ],
  refuse: (paths: readonly string[]) => {
    if (paths.includes('adapters.safetensors')) return 'it holds an adapter of mlx, whose layout is another';
    if (!paths.includes(ADAPTER_CONFIG_FILE)) return `it holds no adapter: there is no ${ADAPTER_CONFIG_FILE}`;
    if (paths.includes(ADAPTER_WEIGHTS_FILE)) return undefined;
    if (!paths.includes('adapter_model.bin')) return `it has no ${ADAPTER_WEIGHTS_FILE}`;
    return 'it holds adapter_model.bin, a Python pickle, which is never read; saved again by PEFT it is safetensors';
  },
  missingFrom: async (folder: string) => {
    const names = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE];
    const there = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
    return names.filter((_, i) => !there[i]);
  },
} as const satisfies FileSelection;
