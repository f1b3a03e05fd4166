/** The events of a run as JSON lines. */
import { join, resolve } from 'node:path';
import { checkNames, requirePath } from '../config.js';
import { requireOneObject } from '../require-given.js';
import type { TrainerCallback } from '../train/callbacks.js';
import type { TrainingEvent } from '../train/events.js';
import { AppendedFile } from './appended-file.js';
import { OneRun } from './one-run.js';

/** Options of {@link jsonLines}. */
export interface JsonLinesOptions {
  /** The file; it and its folders are made if need be. Default: `events.jsonl` in the run's `outputDir`. */
  readonly path?: string | undefined;
}

/**
 * Appends every event of a run to a file, a line of JSON each: the fields of `TrainingEvent`, and `time`, in ISO 8601. What
 * JSON has no word for (NaN, infinities) is null, and the last line has no `logHistory`: the lines before are that. A run
 * that is resumed goes on in the same file; its `start` says after which step. `readHistory` reads such a file too, as it
 * reads the `train-log.jsonl` that every run writes, which has no steps, saves and warnings.
 *
 * A disk that is full later is a warning, and no reason to lose the run.
 * @throws ConfigError for bad options; when the run begins, DiskError for a file that cannot be written, ConfigError if it
 * follows another run at that time
 * @example
 * ```ts
 * new SftTrainer({ model, trainDataset, collator, callbacks: [jsonLines()] });
 * ```
 */
export function jsonLines(options: JsonLinesOptions = {}): TrainerCallback {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'jsonLines', 'jsonLines({ path })');
  checkNames(options, { path: false }, 'jsonLines', { file: 'path', filename: 'path', folder: 'path' });
  if (options.path !== undefined) requirePath(options.path, 'jsonLines: `path`');
  // Where it was asked for, though the process changes its working directory.
  const path = options.path === undefined ? undefined : resolve(options.path);
  let file: AppendedFile | undefined;
  const run = new OneRun();
  return {
    name: 'jsonLines',
    isMainOnly: true,
    async onStart({ config }) {
      run.begin('jsonLines');
      file = await AppendedFile.open(path ?? join(config.outputDir, 'events.jsonl'));
      if (!(await file.endsLine())) await file.append('\n');
    },
    async onEvent(event) {
      await file?.append(`${JSON.stringify(lineOf(event))}\n`);
    },
    async onClose() {
      if (!run.end()) return;
      await file?.close();
      file = undefined;
    },
  };
}

function lineOf(event: TrainingEvent): object {
  const { type, ...fields } = event;
  const line = { type, time: new Date().toISOString(), ...fields };
  if (event.type !== 'end') return line;
  const { logHistory: _, ...output } = event.output;
  return { ...line, output };
}
