/**
 * `checkpoint-{step}` folders: the adapter, `trainer-state.json`, and `training-state.safetensors` with the flat
 * parameters and the optimizer's moments. A folder gets its name when everything in it is written.
 *
 * There is no random state to keep: the order of the samples and the dropout masks follow from the seed and the step.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../atomic-file.js';
import { type SafetensorsDType, SafetensorsFile, writeSafetensors } from '../engine/safetensors.js';
import { CheckpointError } from '../errors.js';
import type { DatasetFingerprint } from './dataset-fingerprint.js';
import type { EvalEntry, LogEntry } from './events.js';
import { RESUME_MAY_CHANGE, type SftConfig } from './sft-config.js';
import type { MetricsState } from './step-metrics.js';

const STATE_FILE = 'trainer-state.json';
const TENSOR_FILE = 'training-state.safetensors';
const PARAMETERS = 'parameters';
const OPTIMIZER = 'optimizer.';
const FORMAT = 1;
const MAX_LISTED = 20;

/** What must be the same for a run to go on as if it had not stopped. */
export interface RunIdentity {
  readonly config: SftConfig;
  readonly dataset: DatasetFingerprint;
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
 * @throws CheckpointError if anything cannot be written; no half-written folder stays
 */
export async function writeCheckpoint(
  outputDir: string,
  state: Omit<TrainerState, 'formatVersion'>,
  tensors: TrainingTensors,
  saveAdapter?: (directory: string) => Promise<void>,
): Promise<string> {
  const name = `checkpoint-${state.globalStep}`;
  const target = join(outputDir, name);
  const suffix = `${process.pid}-${randomBytes(4).toString('hex')}.tmp`;
  const temporary = join(outputDir, `.${name}.${suffix}`);
  try {
    await mkdir(temporary, { recursive: true });
    await saveAdapter?.(temporary);
    const arrays = [
      [PARAMETERS, tensors.parameters] as const,
      ...Object.entries(tensors.optimizer).map(([key, data]) => [OPTIMIZER + key, data] as const),
    ];
    await writeSafetensors(
      join(temporary, TENSOR_FILE),
      arrays.map(([key, data]) => {
        const dtype: SafetensorsDType = data instanceof Float32Array ? 'F32' : 'U8';
        return { name: key, dtype, shape: [data.length], data };
      }),
      { format: 'ministral-tune' },
    );
    const json = `${JSON.stringify({ formatVersion: FORMAT, ...state }, null, 2)}\n`;
    await writeFileAtomically(join(temporary, STATE_FILE), json);
    // A folder cannot be renamed onto another that is not empty.
    const replaced = join(outputDir, `.${name}.replaced-${suffix}`);
    const existed = await rename(target, replaced).then(
      () => true,
      () => false,
    );
    await rename(temporary, target);
    if (existed) await rm(replaced, { recursive: true, force: true });
    return target;
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw new CheckpointError(`cannot write ${target}: ${(cause as Error).message}`, {
      cause,
      hint: 'Check the free space and the rights of `outputDir`. Earlier checkpoints are untouched.',
      details: { path: target, step: state.globalStep },
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
    if (step && (await stat(join(path, STATE_FILE)).catch(() => undefined))) found.push({ path, step: Number(step) });
  }
  return found.sort((a, b) => a.step - b.step);
}

/**
 * The folder to resume from.
 * @param from a checkpoint folder, or true for the newest below `outputDir`
 * @throws CheckpointError if there is none
 */
export async function findCheckpoint(from: string | true, outputDir: string): Promise<string> {
  if (from !== true) return from;
  const newest = (await listCheckpoints(outputDir)).at(-1);
  if (newest) return newest.path;
  throw new CheckpointError(`\`resumeFromCheckpoint: true\`, but ${outputDir} holds no checkpoint`, {
    hint: 'Start without it, or give the path of a checkpoint folder.',
    details: { outputDir },
  });
}

/**
 * Reads a checkpoint for a run that must be the one that wrote it.
 * @throws CheckpointError if it cannot be read, or listing everything in which the runs differ
 */
export async function readCheckpoint(
  path: string,
  run: RunIdentity,
): Promise<{ state: TrainerState; tensors: TrainingTensors }> {
  let state: TrainerState;
  try {
    state = JSON.parse(await readFile(join(path, STATE_FILE), 'utf8')) as TrainerState;
  } catch (cause) {
    throw new CheckpointError(`${path} is no checkpoint: ${(cause as Error).message}`, { cause, details: { path } });
  }
  if (state.formatVersion !== FORMAT) {
    throw new CheckpointError(`${path}: expected format version ${FORMAT}, found ${String(state.formatVersion)}`);
  }
  const differences = compareRuns(state, run);
  if (differences.length > 0) {
    throw new CheckpointError(`${path} belongs to another run:\n  - ${differences.join('\n  - ')}`, {
      hint: 'Resume with the same settings and data, or start a new run from the saved adapter.',
      details: { path, differences },
    });
  }
  const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
  try {
    const optimizer: Record<string, Float32Array | Uint8Array> = {};
    for (const name of file.tensors.keys()) {
      if (!name.startsWith(OPTIMIZER)) continue;
      optimizer[name.slice(OPTIMIZER.length)] = (await file.readArray(name)) as Float32Array | Uint8Array;
    }
    return { state, tensors: { parameters: await file.readFloat32(PARAMETERS), optimizer } };
  } finally {
    await file.close();
  }
}

/** Everything in which a saved run and the present one differ, a line each. */
function compareRuns(saved: RunIdentity, now: RunIdentity): string[] {
  const differences: string[] = [];
  const keys = new Set([...Object.keys(saved.config), ...Object.keys(now.config)]) as Set<keyof SftConfig>;
  for (const key of keys) {
    if (RESUME_MAY_CHANGE.has(key)) continue;
    const [before, after] = [saved.config[key], now.config[key]].map((value) => JSON.stringify(value) ?? 'not set');
    if (before !== after) differences.push(`\`${key}\` was ${before}, now ${after}`);
  }
  if (saved.dataset.length !== now.dataset.length) {
    differences.push(`the training set had ${saved.dataset.length} samples, now ${now.dataset.length}`);
  } else if (saved.dataset.digest !== now.dataset.digest) {
    differences.push('the texts of the training set have changed');
  }
  differences.push(...compareParameters(saved.parameters, now.parameters));
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
