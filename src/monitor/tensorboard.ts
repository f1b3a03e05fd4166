/** The values of a run as event files of TensorBoard. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { checkNames, requirePath } from '../config.js';
import { ConfigError } from '../errors.js';
import { writing } from '../files/disk-errors.js';
import { makeFolder } from '../files/make-folder.js';
import { showValue } from '../messages/show-value.js';
import { requireOneObject } from '../require-given.js';
import type { TrainerCallback } from '../train/callbacks.js';
import { AppendedFile } from './appended-file.js';
import { purgeRecord, scalarsRecord, textRecord, versionRecord } from './event-record.js';
import { scalarsOf } from './event-scalars.js';
import { OneRun } from './one-run.js';

/** Options of {@link tensorBoard}. */
export interface TensorBoardOptions {
  /** For the event files, made if need be; one run each. Default: `runs` in the run's `outputDir`. */
  readonly folder?: string | undefined;
  /**
   * Where `train/loss`, `train/grad_norm` and `train/learning_rate` are taken from: each `log` event, whose loss is the
   * mean since the one before, or each `step`. Default: `log`.
   */
  readonly every?: 'log' | 'step' | undefined;
}

/**
 * Writes what `tensorboard --logdir FOLDER` shows: the values of {@link scalarsOf}, and as text the configuration
 * (`config`) and warnings. Values are 32-bit floats, as everywhere in TensorBoard.
 *
 * A run that is resumed writes a new file in the same folder, and what the run before had written after the checkpoint's
 * step is shown no more. So it is with a run that begins anew in a folder: to compare runs give each its own, and
 * TensorBoard the folder above. A disk that is full later is a warning, and no reason to lose the run.
 * @throws ConfigError for bad options; when the run begins, DiskError for a folder that cannot be written, ConfigError if it
 * follows another run at that time
 * @example
 * ```ts
 * new SftTrainer({ model, trainDataset, collator, callbacks: [tensorBoard({ folder: 'runs/first' })] });
 * ```
 */
export function tensorBoard(options: TensorBoardOptions = {}): TrainerCallback {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'tensorBoard', 'tensorBoard({ folder })');
  const aliases = { logdir: 'folder', loggingdir: 'folder', path: 'folder' };
  checkNames(options, { folder: false, every: false }, 'tensorBoard', aliases);
  const { every = 'log' } = options;
  if (options.folder !== undefined) requirePath(options.folder, 'tensorBoard: `folder`');
  if (every !== 'log' && every !== 'step') {
    throw new ConfigError(`tensorBoard: \`every\`: expected "log" or "step", got ${showValue(every)}`);
  }
  // Where it was asked for, though the process changes its working directory.
  const folder = options.folder === undefined ? undefined : resolve(options.folder);
  let file: AppendedFile | undefined;
  const run = new OneRun();
  return {
    name: 'tensorBoard',
    isMainOnly: true,
    async onStart({ config, step }) {
      run.begin('tensorBoard');
      file = await newEventFile(folder ?? join(config.outputDir, 'runs'));
      const time = now();
      // Step 0 itself is of the run before where a resumed one goes on from it.
      const purged = step === 0 ? 0 : step + 1;
      const text = asCode(JSON.stringify(config, undefined, 2));
      await file.append(
        Buffer.concat([versionRecord(time), purgeRecord(time, purged), textRecord(time, step, 'config', text)]),
      );
    },
    async onEvent(event) {
      if (event.type === 'warning') {
        await file?.append(textRecord(now(), event.step, 'warnings', asCode(event.message)));
      }
      const scalars = Object.entries(scalarsOf(event, every));
      if (scalars.length > 0) await file?.append(scalarsRecord(now(), event.step, scalars));
    },
    async onClose() {
      if (!run.end()) return;
      await file?.close();
      file = undefined;
    },
  };
}

const now = (): number => Date.now() / 1000;

const EVENT_FILE = /^events\.out\.tfevents\.(\d{10})\./;

/** Named as TensorFlow names them. Readers take the files of a folder in the order of their names. */
async function newEventFile(folder: string): Promise<AppendedFile> {
  const names = await writing(folder, async () => {
    await makeFolder(folder);
    return readdir(folder);
  });
  const others = names.map((name) => Number(EVENT_FILE.exec(name)?.[1] ?? 0));
  // After the files of a run that ended within this second, or before the clock was set back.
  const seconds = Math.max(Math.floor(now()), ...others.map((second) => second + 1));
  const host = hostname().replace(/[^\w.-]/g, '_');
  const unique = `${process.pid}.${randomBytes(3).toString('hex')}`;
  return AppendedFile.open(
    join(folder, `events.out.tfevents.${String(seconds).padStart(10, '0')}.${host}.${unique}`),
    true,
  );
}

/** Markdown that shows a text as it is. */
function asCode(text: string): string {
  return text.replace(/^/gm, '    ');
}
