/**
 * `checkpoint-{step}` folders: the adapter, `trainer-state.json`, and `training-state.safetensors` with the flat
 * parameters and the optimizer's moments. A folder gets its name when everything in it is written.
 *
 * There is no random state to keep: the order of the samples and the dropout masks follow from the seed and the step.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../atomic-file.js';
import { type SafetensorsDType, SafetensorsFile, writeSafetensors } from '../engine/safetensors.js';
import { CheckpointError, TrainingError } from '../errors.js';
import { readJson } from '../read-json.js';
import { showValue } from '../show-value.js';
import { type BestModelState, judgeOf } from './best-model.js';
import { checkpointName, writeCheckpointFolder } from './checkpoint-folder.js';
import { compareDatasets, type DatasetFingerprint } from './dataset-fingerprint.js';
import type { EvalEntry, LogEntry } from './events.js';
import { parseSftConfig, RESUME_MAY_CHANGE, type SftConfig } from './sft-config.js';
import type { MetricsState } from './step-metrics.js';

const STATE_FILE = 'trainer-state.json';
const TENSOR_FILE = 'training-state.safetensors';
const PARAMETERS = 'parameters';
const OPTIMIZER = 'optimizer.';
const FORMAT = 2;
const MAX_LISTED = 20;
/** A log entry takes some 400 bytes. */
const MAX_STATE_BYTES = 134_217_728;

/** What a resume relies on; the rest is compared or handed on. */
const fingerprintSchema = z.looseObject({ length: z.int().min(0), digests: z.array(z.string()) });
const stateSchema = z
  .looseObject({
    globalStep: z.int().min(0),
    totalSteps: z.int().min(0),
    epoch: z.number().min(0),
    config: z.record(z.string(), z.unknown()),
    settings: z.record(z.string(), z.unknown()).optional(),
    dataset: fingerprintSchema,
    evalDataset: fingerprintSchema.optional(),
    parameters: z.array(z.object({ name: z.string(), shape: z.array(z.int().min(0)).max(8) })),
    metrics: z.looseObject({
      totalLoss: z.number(),
      totalSteps: z.int().min(0),
      lossSinceLog: z.number(),
      stepsSinceLog: z.int().min(0),
      skippedSteps: z.int().min(0),
    }),
    best: z
      .looseObject({
        metric: z.string(),
        greaterIsBetter: z.boolean(),
        withoutGain: z.int().min(0),
        bestValue: z.number().optional(),
        best: z.looseObject({ step: z.int().min(0), value: z.number(), checkpoint: z.string() }).optional(),
      })
      .optional(),
    logHistory: z.array(z.looseObject({ step: z.int().min(0), epoch: z.number().min(0) })),
  })
  .refine(({ globalStep, totalSteps }) => globalStep <= totalSteps, {
    path: ['globalStep'],
    message: 'beyond totalSteps',
  });

/** What must be the same for a run to go on as if it had not stopped. */
export interface RunIdentity {
  readonly config: SftConfig;
  /** Of the model and the collator, by name: what else decides the result, as JSON. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
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
    // The folder is another run's by now: no later save can succeed.
    if (cause instanceof TrainingError) throw cause;
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
  const state = await readState(path);
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
    for (const { name, dtype } of file.tensors.values()) {
      const key = name.startsWith(OPTIMIZER) ? name.slice(OPTIMIZER.length) : undefined;
      const isKnown =
        name === PARAMETERS ? dtype === 'F32' : key && /^[a-z]\w*$/i.test(key) && /^(F32|U8)$/.test(dtype);
      if (!isKnown) {
        throw new CheckpointError(
          `${file.path}: expected the parameters in F32 and the optimizer's arrays in F32 or U8`,
          {
            hint: 'The checkpoint is damaged or was not written by this package; resume from another one.',
            details: { path, name, dtype },
          },
        );
      }
      if (key) optimizer[key] = (await file.readArray(name)) as Float32Array | Uint8Array;
    }
    return { parameters: await readParameters(file, size), optimizer };
  } finally {
    await file.close();
  }
}

/**
 * The trainable parameters of a checkpoint alone: [size].
 * @throws CheckpointError if they cannot be read, are another number, or are no finite numbers
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
  if (parameters.length !== size) {
    throw new CheckpointError(`${file.path}: expected ${size} parameters, found ${parameters.length}`, {
      details: { path: file.path, expected: size, found: parameters.length },
    });
  }
  const bad = parameters.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return parameters;
  throw new CheckpointError(`${file.path}: parameter ${bad} is ${parameters[bad]}, no finite number`, {
    hint: 'The training had diverged, or the file is damaged; resume from an earlier checkpoint.',
    details: { path: file.path },
  });
}

async function readState(path: string): Promise<TrainerState> {
  const json = await readJson(join(path, STATE_FILE), { maxBytes: MAX_STATE_BYTES }).catch((cause: Error) => {
    throw new CheckpointError(`${path} is no checkpoint: ${cause.message}`, {
      hint: 'Expected a folder checkpoint-N of `outputDir`, or true for the latest one there.',
      details: { path },
      cause,
    });
  });
  const version = (json as { formatVersion?: unknown } | null)?.formatVersion;
  if (version !== FORMAT) {
    throw new CheckpointError(`${path}: expected format version ${FORMAT}, found ${showValue(version)}`);
  }
  const { error } = stateSchema.safeParse(json);
  if (!error) return json as TrainerState;
  const faults = error.issues
    .slice(0, MAX_LISTED)
    .map((issue) => `${issue.path.map(String).join('.')}: ${issue.message}`);
  throw new CheckpointError(`${join(path, STATE_FILE)} is damaged:\n  - ${faults.join('\n  - ')}`, {
    hint: 'Resume from another checkpoint.',
    details: { path, faults },
  });
}

/** Everything in which a saved run and the present one differ, a line each. */
function compareRuns(saved: TrainerState, now: RunIdentity): string[] {
  const differences = [
    // What an earlier version did not know it did as the default has it.
    ...compareSettings(comparable({ ...parseSftConfig(), ...saved.config }), comparable(now.config), RESUME_MAY_CHANGE),
    ...compareSettings(saved.settings ?? {}, now.settings ?? {}),
  ];
  const change = compareDatasets(saved.dataset, now.dataset);
  if (change) differences.push(`the training set ${change}`);
  differences.push(...compareParameters(saved.parameters, now.parameters));
  if (saved.best) differences.push(...compareJudges(saved, now));
  return differences;
}

/** Under one name what has two. */
function comparable({ warmupRatio, warmupSteps, ...others }: SftConfig): Readonly<Record<string, unknown>> {
  return { ...others, warmupSteps: warmupRatio || warmupSteps };
}

function compareSettings(
  saved: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  mayChange: ReadonlySet<string> = new Set(),
): string[] {
  const differences: string[] = [];
  for (const key of new Set([...Object.keys(saved), ...Object.keys(now)])) {
    if (mayChange.has(key) || JSON.stringify(saved[key]) === JSON.stringify(now[key])) continue;
    const [was, is] = [saved[key], now[key]].map((value) => (value === undefined ? 'not set' : showValue(value)));
    differences.push(`\`${key}\` was ${was}, now ${is}`);
  }
  return differences;
}

/** The best value so far says nothing to another metric or another evaluation set. */
function compareJudges(saved: TrainerState, now: RunIdentity): string[] {
  const judge = judgeOf(now.config);
  if (!judge || !saved.best) return [];
  // No evaluation has been judged yet: the next is the first.
  if (saved.best.bestValue === undefined && saved.best.withoutGain === 0) return [];
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
