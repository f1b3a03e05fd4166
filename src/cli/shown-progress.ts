/** How far downloads, weights and evaluations are: shown as the progress of training is, or not at all. */
import { isMainProcess } from '../distributed/main-process.js';
import { showProgress } from '../monitor/show-progress.js';
import type { RunSettings } from './run-settings.js';

/** @param label what is under way, in a word or two */
export function shownProgress({ config }: Pick<RunSettings, 'config'>, label: string): ReturnType<typeof showProgress> {
  return config.progress === 'none' || !isMainProcess() ? () => undefined : showProgress(label);
}
