/** From the name of an adapter on the Hub, or a folder, to the folder with its files. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { HubDownload } from '../hub/hub-options.js';
import { localFolder } from '../hub/repo-id.js';
import { type FileSelection, fetchSnapshot } from '../hub/snapshot-download.js';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';

/** @throws as `snapshotDownload` does */
export async function adapterFolder(idOrFolder: string, options: HubDownload): Promise<string> {
  return (await localFolder(idOrFolder)) ?? (await fetchSnapshot(idOrFolder, options, ADAPTER_SELECTION)).folder;
}

const ADAPTER_SELECTION: FileSelection = {
  allowPatterns: [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE],
  refuse: (paths) => {
    if (!paths.includes(ADAPTER_CONFIG_FILE)) return `it holds no adapter: there is no ${ADAPTER_CONFIG_FILE}`;
    if (paths.includes(ADAPTER_WEIGHTS_FILE)) return undefined;
    if (!paths.includes('adapter_model.bin')) return `it has no ${ADAPTER_WEIGHTS_FILE}`;
    return 'it holds adapter_model.bin, a Python pickle, which is never read; saved again by PEFT it is safetensors';
  },
  missingFrom: async (folder) => {
    const names = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE];
    const there = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
    return names.filter((_, i) => !there[i]);
  },
};
