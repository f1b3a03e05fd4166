/** The folder of a run: what an earlier one left there is neither mixed with a new run nor lost without a word. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../errors.js';
import { exists } from '../files/regular-file.js';
import { oneLine } from '../messages/one-line.js';
import { listCheckpoints } from '../train/checkpoint.js';
import { removeCheckpointFolder } from '../train/checkpoint-folder.js';
import { claimRunFolder } from '../train/run-folder.js';
import { BEFORE_FILE } from './first-measures.js';

export const adapterDirOf = (outputDir: string): string => join(outputDir, 'adapter');
export const checkpointsDirOf = (outputDir: string): string => join(outputDir, 'checkpoints');

/** Results of a run, which would be those of another adapter beside a new one. */
const RESULTS = ['report.html', 'predictions.csv', 'report.json', BEFORE_FILE];

/**
 * Before anything is read or started.
 * @param way `new`: an earlier run there is an error; `resume`: one that cannot be gone on with is
 * @param hint for an earlier run
 * @throws ConfigError
 */
export async function checkOutputFolder(
  outputDir: string,
  way: 'new' | 'overwrite' | 'resume',
  hint = '--resume goes on with it, --output-dir takes another folder, --overwrite replaces it.',
): Promise<void> {
  const checkpoints = await listCheckpoints(checkpointsDirOf(outputDir));
  if (way === 'resume' && checkpoints.length === 0) {
    throw new ConfigError(`train: --resume: ${oneLine(outputDir)} holds no checkpoint to go on from`, {
      hint: 'Give the folder of the run by --output-dir, or leave out --resume to begin one.',
      details: { path: outputDir },
    });
  }
  if (way !== 'new') return;
  const found = [
    ...((await exists(adapterDirOf(outputDir))) ? ['an adapter'] : []),
    ...(checkpoints.length > 0 ? [`checkpoints up to step ${checkpoints.at(-1)!.step}`] : []),
  ];
  if (found.length === 0) return;
  throw new ConfigError(`${oneLine(outputDir)} holds ${found.join(' and ')} of an earlier run`, {
    hint,
    details: { path: outputDir },
  });
}

async function removeResults(outputDir: string): Promise<void> {
  for (const name of RESULTS) await rm(join(outputDir, name), { force: true });
}

/**
 * Removes the checkpoints and the results of an earlier run; its adapter is replaced when the new one is there.
 * @throws CheckpointError if a run is using the folder
 */
export async function clearOutputFolder(outputDir: string): Promise<void> {
  const folder = checkpointsDirOf(outputDir);
  const checkpoints = await listCheckpoints(folder);
  if (!(await exists(folder))) return removeResults(outputDir);
  const claim = await claimRunFolder(folder);
  try {
    await removeResults(outputDir);
    for (const { path } of checkpoints) await removeCheckpointFolder(path);
  } finally {
    await claim.release();
  }
}
