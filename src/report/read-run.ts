/** What a run's folder says of it: its log, its events if they were kept, and its newest checkpoint. */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError, DataError, reasonOf } from '../errors.js';
import { MAX_CONFIG_BYTES, readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { isObject } from '../messages/given-kind.js';
import { warningLine } from '../messages/one-line.js';
import { isCheckpoint, listCheckpoints } from '../train/checkpoint.js';
import type { TrainingEvent } from '../train/events.js';
import { readHistory } from '../train/history.js';
import { courseOfEvents, readEvents } from './event-course.js';
import type { RunProvenance, TrainingCourse } from './report-parts.js';

/** As a run and the callback `jsonLines` name them. */
const HISTORY_FILE = 'train-log.jsonl';
const EVENTS_FILE = 'events.jsonl';
const STATE_FILE = 'trainer-state.json';
const ADAPTER_FILE = 'adapter_config.json';
const MAX_STATE_BYTES = 134_217_728;

type Fields = Readonly<Record<string, unknown>>;

/** What was found. */
interface FoundRun {
  readonly training: TrainingCourse | undefined;
  readonly provenance: RunProvenance;
  /** Files that exist and cannot be read. */
  readonly warnings: readonly string[];
}

/**
 * @param folder `outputDir` of a run, or one of its checkpoints
 * @param given its events, or the file that has them; by default `events.jsonl` in the folder, if there is one
 * @throws DataError if the folder holds no run
 */
export async function readRun(folder: string, given?: readonly TrainingEvent[] | string): Promise<FoundRun> {
  await requireFolder(folder);
  const warnings: string[] = [];
  const attempt = async <T>(path: string, read: () => Promise<T>): Promise<T | undefined> => {
    if (!(await exists(path))) return undefined;
    return read().catch((error: unknown) => {
      warnings.push(warningLine(`left out ${path}: ${reasonOf(error)}`));
      return undefined;
    });
  };
  const history = await attempt(join(folder, HISTORY_FILE), () => readHistory(join(folder, HISTORY_FILE)));
  const eventsFile = typeof given === 'string' ? given : join(folder, EVENTS_FILE);
  const events =
    given === undefined
      ? await attempt(eventsFile, () => readEvents(eventsFile))
      : typeof given === 'string'
        ? await readEvents(given)
        : given;
  const checkpoint = (await isCheckpoint(folder)) ? folder : (await listCheckpoints(folder)).at(-1)?.path;
  const statePath = join(checkpoint ?? folder, STATE_FILE);
  const state = await attempt(statePath, () => readFields(statePath, MAX_STATE_BYTES));
  const adapterPath = join(checkpoint ?? folder, ADAPTER_FILE);
  const adapter = await attempt(adapterPath, () => readFields(adapterPath, MAX_CONFIG_BYTES));
  if (!history && !events && !state && warnings.length === 0) throw await noRun(folder);
  const course = events && courseOfEvents(events);
  const logged = state ? logOf(state) : undefined;
  const hasLog = history !== undefined && history.logs.length + history.evaluations.length > 0;
  const training: TrainingCourse = {
    ...(state && settingsOf(state)),
    ...course,
    // Events may be those of a part of the run: the log that says more counts.
    ...longest([hasLog ? history : undefined, course, logged]),
  };
  return {
    training: training.logs === undefined ? undefined : training,
    provenance: originOf(state, adapter),
    warnings,
  };
}

type Log = Pick<TrainingCourse, 'logs' | 'evaluations'>;

function longest(logs: readonly (Log | undefined)[]): Log {
  const size = (log: Log | undefined): number => (log ? log.logs.length + log.evaluations.length : -1);
  const found = logs.reduce((most, log) => (size(log) > size(most) ? log : most), undefined);
  return { logs: found?.logs ?? [], evaluations: found?.evaluations ?? [] };
}

async function readFields(path: string, maxBytes: number): Promise<Fields> {
  const json = await readJson(path, { maxBytes });
  if (!isObject(json) || Array.isArray(json)) throw new CheckpointError(`${path} is no object of JSON`);
  return json;
}

/** The log that a checkpoint carries, for a run whose log file is gone. */
function logOf(state: Fields): Log {
  const entries = Array.isArray(state['logHistory']) ? state['logHistory'].filter(isObject) : [];
  const of = (key: string): Fields[] => entries.filter((entry) => typeof entry['step'] === 'number' && key in entry);
  return { logs: of('loss') as unknown as Log['logs'], evaluations: of('evalLoss') as unknown as Log['evaluations'] };
}

function settingsOf({ config, globalStep, totalSteps, dataset, parameters }: Fields): Partial<TrainingCourse> {
  const length = isObject(dataset) ? dataset['length'] : undefined;
  const sizes = (Array.isArray(parameters) ? parameters : []).map((one) =>
    isObject(one) && Array.isArray(one['shape'])
      ? one['shape'].reduce<number>((size, edge) => size * Number(edge), 1)
      : 0,
  );
  const size = sizes.reduce((a, b) => a + b, 0);
  return {
    ...(isObject(config) && { config }),
    ...(typeof globalStep === 'number' && { stepsDone: globalStep }),
    ...(typeof totalSteps === 'number' && { totalSteps }),
    ...(typeof length === 'number' && { samples: length }),
    ...(size > 0 && { trainableParameters: size }),
  };
}

const BASE_MODEL = 'model.base';

function originOf(state: Fields | undefined, adapter: Fields | undefined): RunProvenance {
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const settings = isObject(state?.['settings']) ? state['settings'] : undefined;
  const base = settings?.[BASE_MODEL];
  const found = {
    baseModel: text(adapter?.['base_model_name_or_path']) ?? text(isObject(base) ? base['name'] : undefined),
    baseRevision: text(adapter?.['revision']),
    dataset: fingerprint(state?.['dataset']),
    evalDataset: fingerprint(state?.['evalDataset']),
    settings,
    adapter,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** One short mark for the many that a checkpoint keeps of a data set. */
function fingerprint(value: unknown): RunProvenance['dataset'] {
  if (!isObject(value) || typeof value['length'] !== 'number') return undefined;
  const digest = createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
  return { samples: value['length'], digest };
}

async function requireFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new DataError(
    `writeRunReport: expected the folder of a run, ${folder} ${found ? 'is a file' : 'does not exist'}`,
    {
      hint: 'Give the `outputDir` of the run, or one of its checkpoints.',
      details: { path: folder },
    },
  );
}

async function noRun(folder: string): Promise<DataError> {
  const names = await readdir(folder).catch((): string[] => []);
  const inside: string[] = [];
  for (const name of names.slice(0, 100)) if (await exists(join(folder, name, HISTORY_FILE))) inside.push(name);
  const there = inside.length > 0 ? ` There is one in ${join(folder, inside[0]!)}.` : '';
  return new DataError(`writeRunReport: ${folder} holds no run: neither ${HISTORY_FILE} nor a checkpoint`, {
    hint: `Give the \`outputDir\` of the run.${there} Without a folder: renderRunReport.`,
    details: { path: folder },
  });
}
