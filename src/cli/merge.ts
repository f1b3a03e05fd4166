/** `merge` with what its command line says. */
import { ConfigError } from '../errors.js';
import { hubDownloadSchema } from '../hub/hub-options.js';
import { plainRepoName } from '../hub/repo-id.js';
import { MODEL_FILES, snapshotDownload } from '../hub/snapshot-download.js';
import { adapterFolder } from '../lora/adapter-folder.js';
import { mergeAdapter } from '../lora/merge-adapter.js';
import { readAdapterConfig } from '../lora/read-adapter.js';
import { formatBytes } from '../messages/format-bytes.js';
import { showProgress } from '../monitor/show-progress.js';
import type { MergeFlags } from './command-flags.js';
import { isFolder, modelName, requireAdapterName, requireModelName } from './open-model.js';
import { requireOption } from './option-values.js';
import { nextCommands, shellWord } from './run-summary.js';
import { untilStopped } from './until-stopped.js';
import type { Output } from './usage.js';

/** @returns the exit code */
export async function mergeFromFlags(flags: MergeFlags, output: Output): Promise<number> {
  const adapter = requireOption(flags.adapter, 'merge', '--adapter');
  const outputDir = requireOption(flags.output, 'merge', '--output');
  const work = async (signal: AbortSignal): Promise<number> => {
    await requireAdapterName(adapter, 'merge');
    if (flags.model !== undefined) await requireModelName(flags.model, 'merge');
    const adapterDir = await adapterFolder(adapter, hubDownloadSchema().parse({ signal }));
    const checkpointDir = await baseFolder(adapterDir, flags.model, signal);
    output.print(`base model: ${checkpointDir}`);
    const merged = await mergeAdapter({
      ...{ checkpointDir, adapterDir, outputDir, signal },
      onProgress: showProgress('merge'),
      onWarning: (line) => output.printError(`note: ${line}`),
    });
    const { mergedModules, bytes } = merged;
    output.print(`${merged.outputDir}: ${formatBytes(bytes)}, ${mergedModules} layers merged`);
    for (const line of nextCommands([`push ${shellWord(outputDir)} USER/NAME`])) output.print(line);
    if (flags.json) output.print(JSON.stringify(merged));
    return 0;
  };
  return untilStopped(output, work, { stopping: 'stopping', stopped: () => 'stopped: nothing was written' });
}

/** Folder of the base model: the one named, or that of the adapter's configuration, fetched if it is on the Hub. */
async function baseFolder(adapterDir: string, given: string | undefined, signal: AbortSignal): Promise<string> {
  const { origin } = await readAdapterConfig(adapterDir);
  const named = origin.baseModelNameOrPath;
  const name = given === undefined ? named && plainRepoName(named) : modelName(given);
  if (!name) {
    throw new ConfigError(`merge: ${adapterDir} names no base model`, {
      hint: 'Give it: --model OWNER/NAME or a folder.',
      details: { folder: adapterDir },
    });
  }
  if (await isFolder(name)) return name;
  return snapshotDownload(name, {
    ...{ allowPatterns: [...MODEL_FILES], signal, onProgress: showProgress('download') },
    ...(given === undefined && origin.revision ? { revision: origin.revision } : {}),
  });
}
