/**
 * `checkpoint-{step}` folders: the adapter, `trainer-state.json`, and `training-state.safetensors` with the flat
 * parameters and the optimizer's moments. A folder gets its name when everything in it is written.
 *
 * There is no random state to keep: the order of the samples and the dropout masks follow from the seed and the step.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../atomic-file.js';
import { type SafetensorsDType, SafetensorsFile, writeSafetensors } from '../engine/safetensors.js';
import { CheckpointError } from '../errors.js';
import { type BestModelState, judgeOf } from './best-model.js';
import { checkpointName, writeCheckpointFolder } from './checkpoint-folder.js';
import { compareDatasets, type DatasetFingerprint } from './dataset-fingerprint.js';
import type { EvalEntry, LogEntry } from './events.js';
import { RESUME_MAY_CHANGE, type SftConfig } from './sft-config.js';
import type { MetricsState } from './step-metrics.js';

const STATE_FILE = 'trainer-state.json';
const TENSOR_FILE = 'training-state.safetensors';
const PARAMETERS = 'parameters';
const OPTIMIZER = 'optimizer.';
const FORMAT = 2;
const MAX_LISTED = 20;

/** What the code below relies on; the rest is compared or handed on. */
const fingerprintSchema = z.looseObject({ length: z.int(), digests: z.array(z.string()) });
const stateSchema = z.looseObject({
  globalStep: z.int().nonnegative(),
  epoch: z.number().nonnegative(),
  config: z.looseObject({}),
  dataset: fingerprintSchema,
  evalDataset: fingerprintSchema.optional(),
  parameters: z.array(z.looseObject({ name: z.string(), shape: z.array(z.int()) })),
  metrics: z.looseObject({ totalLoss: z.number(), totalSteps: z.number() }),
  best: z.looseObject({ metric: z.string(), greaterIsBetter: z.boolean(), withoutGain: z.int() }).optional(),
  logHistory: z.array(z.looseObject({ step: z.int() })),
});

/** What must be the same for a run to go on as if it had not stopped. */
export interface RunIdentity {
  readonly config: SftConfig;
  readonly dataset: DatasetFingerprint;
  /** Missing without an evaluation set. */
  readonly evalDataset?: DatasetFingerprint | undefined;
  /** Trainable tensors in order. */
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** Where a run is, as `trainer-state.json` holds it. */
export interface TrainerState extends RunIdentity {
  readonly formatVersion: typeof FORMAT;
  /** Optimizer steps done. */
  readonly globalStep: number;
  readonly totalSteps: number;
  readonly epoch: number;
  readonly metrics: MetricsState;
  /** Missing until there was an evaluation. */
  readonly best?: BestModelState | undefined;
  /** The run was stopped before or in the evaluation that was due after this step. */
  readonly evaluationDue?: true | undefined;
  readonly logHistory: readonly (LogEntry | EvalEntry)[];
}

/** The numbers of a checkpoint. */
export interface TrainingTensors {
  readonly parameters: Float32Array;
  readonly optimizer: Record<string, Float32Array | Uint8Array>;
}

/**
 * Writes `checkpoint-{step}` below `outputDir`; one of that name from an earlier run is replaced.
 * @param saveAdapter writes the adapter's files into the folder that it is given
 * @returns the folder
 * @throws CheckpointError if anything cannot be written; then no half-written folder stays, and what was there before does
 */
export async function writeCheckpoint(
  outputDir: string,
  state: Omit<TrainerState, 'formatVersion'>,
  tensors: TrainingTensors,
  saveAdapter?: (directory: string) => Promise<void>,
): Promise<string> {
  const step = state.globalStep;
  try {
    return await writeCheckpointFolder(outputDir, step, async (folder) => {
      await saveAdapter?.(folder);
      const arrays = [
        [PARAMETERS, tensors.parameters] as const,
        ...Object.entries(tensors.optimizer).map(([key, data]) => [OPTIMIZER + key, data] as const),
      ];
      await writeSafetensors(
        join(folder, TENSOR_FILE),
        arrays.map(([key, data]) => {
          const dtype: SafetensorsDType = data instanceof Float32Array ? 'F32' : 'U8';
          return { name: key, dtype, shape: [data.length], data };
        }),
        { format: 'ministral-tune' },
      );
      const json = `${JSON.stringify({ formatVersion: FORMAT, ...state }, null, 2)}\n`;
      await writeFileAtomically(join(folder, STATE_FILE), json);
    });
  } catch (cause) {
    const path = join(outputDir, checkpointName(step));
    throw new CheckpointError(`cannot write ${path}: ${(cause as Error).message}`, {
      cause,
      hint: 'Check the free space and the rights of `outputDir`. Earlier checkpoints are untouched.',
      details: { path, step },
    });
  }
}

/** Checkpoints below a folder by their step, oldest first; `[]` if there is no such folder. */
export async function listCheckpoints(outputDir: string): Promise<{ path: string; step: number }[]> {
  const names = await readdir(outputDir).catch(() => [] as string[]);
  const found: { path: string; step: number }[] = [];
  for (const name of names) {
    const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
    const path = join(outputDir, name);
    if (step && (await isCheckpoint(path))) found.push({ path, step: Number(step) });
  }
  return found.sort((a, b) => a.step - b.step);
}

/** Whether a folder holds the files of a checkpoint; their content is not looked at. */
export async function isCheckpoint(path: string): Promise<boolean> {
  const files = [STATE_FILE, TENSOR_FILE].map((name) => stat(join(path, name)).catch(() => undefined));
  return (await Promise.all(files)).every((file) => file?.isFile());
}

/**
 * Reads a checkpoint for a run that must be the one that wrote it.
 * @throws CheckpointError if it cannot be read, or with `details.differences` listing everything in which the runs differ
 */
export async function readCheckpoint(
  path: string,
  run: RunIdentity,
): Promise<{ state: TrainerState; tensors: TrainingTensors }> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(join(path, STATE_FILE), 'utf8'));
  } catch (cause) {
    throw new CheckpointError(`${path} is no checkpoint: ${(cause as Error).message}`, { cause, details: { path } });
  }
  const { formatVersion } = (json ?? {}) as Partial<TrainerState>;
  if (formatVersion !== FORMAT) {
    throw new CheckpointError(`${path}: expected format version ${FORMAT}, found ${String(formatVersion)}`);
  }
  const faults = stateSchema.safeParse(json).error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  if (faults) {
    throw new CheckpointError(`${join(path, STATE_FILE)} is damaged:\n  - ${faults.join('\n  - ')}`, {
      hint: 'Resume from another checkpoint.',
      details: { path, faults },
    });
  }
  const state = json as TrainerState;
  const differences = compareRuns(state, run);
  if (differences.length > 0) {
    throw new CheckpointError(`${path} belongs to another run:\n  - ${differences.join('\n  - ')}`, {
      hint: 'Resume with the same settings and data, or start a new run from the saved adapter.',
      details: { path, differences },
    });
  }
  const size = run.parameters.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
  return { state, tensors: await readTensors(path, size) };
}

async function readTensors(path: string, size: number): Promise<TrainingTensors> {
  const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
  try {
    const optimizer: Record<string, Float32Array | Uint8Array> = {};
    for (const name of file.tensors.keys()) {
      if (!name.startsWith(OPTIMIZER)) continue;
      optimizer[name.slice(OPTIMIZER.length)] = (await file.readArray(name)) as Float32Array | Uint8Array;
    }
    return { parameters: await readParameters(file, size), optimizer };
  } finally {
    await file.close();
  }
}

/**
 * The trainable parameters of a checkpoint alone: [size].
 * @throws CheckpointError if they cannot be read, or are another number
 */
export async function readCheckpointParameters(path: string, size: number): Promise<Float32Array> {
  const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
  try {
    return await readParameters(file, size);
  } finally {
    await file.close();
  }
}

async function readParameters(file: SafetensorsFile, size: number): Promise<Float32Array> {
  const parameters = await file.readFloat32(PARAMETERS);
  if (parameters.length === size) return parameters;
  throw new CheckpointError(`${file.path}: expected ${size} parameters, found ${parameters.length}`, {
    details: { path: file.path, expected: size, found: parameters.length },
  });
}

/** Everything in which a saved run and the present one differ, a line each. */
function compareRuns(saved: TrainerState, now: RunIdentity): string[] {
  const differences: string[] = [];
  const keys = new Set([...Object.keys(saved.config), ...Object.keys(now.config)]) as Set<keyof SftConfig>;
  for (const key of keys) {
    if (RESUME_MAY_CHANGE.has(key)) continue;
    const [before, after] = [saved.config[key], now.config[key]].map((value) => JSON.stringify(value) ?? 'not set');
    if (before !== after) differences.push(`\`${key}\` was ${before}, now ${after}`);
  }
  const change = compareDatasets(saved.dataset, now.dataset);
  if (change) differences.push(`the training set ${change}`);
  differences.push(...compareParameters(saved.parameters, now.parameters));
  if (saved.best) differences.push(...compareJudges(saved, now));
  return differences;
}

/** The best value so far says nothing to another metric or another evaluation set. */
function compareJudges(saved: TrainerState, now: RunIdentity): string[] {
  const judge = judgeOf(now.config);
  if (!judge || !saved.best) return [];
  const differences: string[] = [];
  const [before, after] = [saved.best, judge].map(({ metric, greaterIsBetter }) => {
    return `${metric} (${greaterIsBetter ? 'greater' : 'less'} is better)`;
  });
  if (before !== after) differences.push(`the best model was told by ${before}, now by ${after}`);
  const [was, is] = [saved.evalDataset, now.evalDataset];
  const change = was && is && compareDatasets(was, is);
  if (change) differences.push(`the evaluation set, which tells the best model, ${change}`);
  return differences;
}

function compareParameters(saved: RunIdentity['parameters'], now: RunIdentity['parameters']): string[] {
  if (saved.length !== now.length) return [`there were ${saved.length} trainable tensors, now ${now.length}`];
  const differences: string[] = [];
  saved.forEach((before, i) => {
    const after = now[i]!;
    const [was, is] = [before, after].map(({ name, shape }) => `${name} [${shape}]`);
    if (was !== is) differences.push(`trainable tensor ${i} was ${was}, now ${is}`);
  });
  const listed = differences.slice(0, MAX_LISTED);
  if (differences.length > MAX_LISTED) listed.push(`and ${differences.length - MAX_LISTED} more trainable tensors`);
  return listed;
}
