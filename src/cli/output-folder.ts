/** The folder of a run: what an earlier one left there is neither mixed with a new run nor lost without a word. */
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { exists } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';
import { listCheckpoints } from '../train/checkpoint.js';
import { removeCheckpointFolder } from '../train/checkpoint-folder.js';
import { claimRunFolder } from '../train/run-folder.js';

export const adapterDirOf = (outputDir: string): string => join(outputDir, 'adapter');
export const checkpointsDirOf = (outputDir: string): string => join(outputDir, 'checkpoints');

/**
 * @param way `new`: an earlier run there is an error; `overwrite`: its checkpoints are removed, its adapter is replaced
 *   when the new one is there
 * @throws ConfigError; CheckpointError if a run is using the folder
 */
export async function prepareOutputFolder(outputDir: string, way: 'new' | 'overwrite' | 'resume'): Promise<void> {
  if (way === 'resume') return;
  const folder = checkpointsDirOf(outputDir);
  const checkpoints = await listCheckpoints(folder);
  if (way === 'new') {
    const found = [
      ...((await exists(adapterDirOf(outputDir))) ? ['an adapter'] : []),
      ...(checkpoints.length > 0 ? [`checkpoints up to step ${checkpoints.at(-1)!.step}`] : []),
    ];
    if (found.length === 0) return;
    throw new ConfigError(`${oneLine(outputDir)} holds ${found.join(' and ')} of an earlier run`, {
      hint: '--resume goes on with it, --output-dir takes another folder, --overwrite replaces it.',
      details: { path: outputDir },
    });
  }
  if (checkpoints.length === 0) return;
  const claim = await claimRunFolder(folder);
  try {
    for (const { path } of checkpoints) await removeCheckpointFolder(path);
  } finally {
    await claim.release();
  }
}
