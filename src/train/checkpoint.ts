/**
 * `checkpoint-{step}` folders: the adapter, `trainer-state.json`, `training-state.safetensors` with the flat parameters
 * and the optimizer's moments, and `checkpoint.sha256` with the digests of all files. No random state is saved: sample
 * order and dropout masks follow from seed and step.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findNotFinite } from '../async/event-loop.js';
import { CheckpointError, reasonOf, TrainingError } from '../errors.js';
import { flushFile, writeFileAtomically } from '../files/atomic-file.js';
import { describeFolder } from '../files/describe-folder.js';
import { MANIFEST_FILE, readManifest } from '../files/file-digests.js';
import { readJson } from '../files/read-json.js';
import { type SafetensorsDType, SafetensorsFile, writeTensorFile } from '../formats/safetensors.js';
import { showValue } from '../messages/show-value.js';
import { checkCourse, checkOptimizer, type RunCourse } from './checkpoint-checks.js';
import { checkpointName, writeCheckpointFolder } from './checkpoint-folder.js';
import { CheckpointSeal, checkSeal, type SealFindings } from './checkpoint-seal.js';
import {
  FORMAT,
  OLDER_FORMAT,
  type RunIdentity,
  type RunState,
  stateSchema,
  type TrainerState,
  type TrainingTensors,
} from './checkpoint-state.js';
import { compareRuns, wayOn } from './compare-runs.js';

const STATE_FILE = 'trainer-state.json';
const TENSOR_FILE = 'training-state.safetensors';
const PARAMETERS = 'parameters';
const OPTIMIZER = 'optimizer.';
const REQUIRED = [STATE_FILE, TENSOR_FILE];
const MAX_LISTED = 20;
/** A log entry takes some 400 bytes. */
const MAX_STATE_BYTES = 134_217_728;

/**
 * Writes `checkpoint-{step}` below `outputDir`; one of that name from an earlier run is replaced.
 * @param writeAdapter writes the adapter's files into the folder that it is given
 * @param makeSeal reads back and digests what was written; for measurements of what that costs
 * @returns the folder
 * @throws CheckpointError if anything cannot be written, or is not on the disk as it was to be; then no half-written
 *   folder stays, and what was there before does
 */
export async function writeCheckpoint(
  outputDir: string,
  state: RunState,
  tensors: TrainingTensors,
  writeAdapter?: (folder: string) => Promise<void>,
  makeSeal: (folder: string) => Seal = (folder) => new CheckpointSeal(folder),
): Promise<string> {
  const step = state.globalStep;
  try {
    return await writeCheckpointFolder(outputDir, step, async (folder) => {
      const seal = makeSeal(folder);
      const path = join(folder, TENSOR_FILE);
      const arrays = namedArrays(tensors);
      const underWay: Promise<unknown>[] = [];
      try {
        await writeAdapter?.(folder);
        await seal.begin();
        await writeArrays(path, arrays);
        // To flush a file is to wait for the disk: time to read it back and to digest it.
        underWay.push(flushFile(path), seal.begin(), seal.requireTensors(TENSOR_FILE, arrays));
        const json = `${JSON.stringify({ formatVersion: FORMAT, digests: MANIFEST_FILE, ...state }, null, 2)}\n`;
        underWay.push(writeFileAtomically(join(folder, STATE_FILE), json));
        await Promise.all(underWay);
        await seal.requireText(STATE_FILE, json);
        await seal.end();
      } finally {
        // Nothing reads or writes in the folder any more when it is taken away.
        await Promise.allSettled(underWay);
        await seal.close();
      }
    });
  } catch (cause) {
    // The folder is another run's by now: no later save can succeed.
    if (cause instanceof TrainingError) throw cause;
    const path = join(outputDir, checkpointName(step));
    throw new CheckpointError(`cannot write ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'Check the free space and the rights of `outputDir`. Earlier checkpoints are untouched.',
      details: { path, step },
    });
  }
}

type Seal = Pick<CheckpointSeal, 'begin' | 'requireTensors' | 'requireText' | 'end' | 'close'>;
type NamedArrays = ReadonlyMap<string, Float32Array | Uint8Array>;

function namedArrays({ parameters, optimizer }: TrainingTensors): NamedArrays {
  const moments = Object.entries(optimizer).map(([key, data]) => [OPTIMIZER + key, data] as const);
  return new Map([[PARAMETERS, parameters], ...moments]);
}

async function writeArrays(path: string, arrays: NamedArrays): Promise<void> {
  const tensors = [...arrays].map(([name, data]) => {
    const dtype: SafetensorsDType = data instanceof Float32Array ? 'F32' : 'U8';
    return { name, dtype, shape: [data.length], data };
  });
  await writeTensorFile(path, tensors, { format: 'ministral-tune' }, false);
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
 * What the state of a checkpoint says of the data sets, before it is checked: only to look at these in the same way.
 * `{}` where it cannot be read.
 */
export async function savedFingerprints(path: string): Promise<Partial<Pick<RunIdentity, 'dataset' | 'evalDataset'>>> {
  const json = await readJson(join(path, STATE_FILE), { maxBytes: MAX_STATE_BYTES }).catch(() => undefined);
  return (json ?? {}) as Partial<Pick<RunIdentity, 'dataset' | 'evalDataset'>>;
}

/** A checkpoint that was read, and what is to be known of it. */
export interface ReadCheckpoint {
  readonly state: TrainerState;
  readonly tensors: TrainingTensors;
  readonly warnings: readonly string[];
}

/** A sound checkpoint, of another run. */
export class OtherRunError extends CheckpointError {}

/**
 * Reads a checkpoint for a run that must be the one that wrote it.
 * @throws CheckpointError if it is damaged or cannot be read; OtherRunError with everything in which the runs differ
 */
export async function readCheckpoint(path: string, run: RunIdentity, course?: RunCourse): Promise<ReadCheckpoint> {
  const { state, warnings } = await readSound(path, 'everything');
  const differences = compareRuns(state, run);
  if (differences.length > 0) {
    const texts = differences.map(({ text }) => text);
    throw new OtherRunError(`${path} belongs to another run:\n  - ${texts.join('\n  - ')}`, {
      hint: wayOn(differences),
      details: { path, differences: texts },
    });
  }
  checkCourse(path, state, course);
  const size = run.parameters.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
  const tensors = await readTensors(path, size);
  await checkOptimizer(path, state, tensors);
  return { state, tensors, warnings };
}

/** The state of a checkpoint whose files are as they were written. @throws CheckpointError */
async function readSound(
  path: string,
  use: 'everything' | 'parameters',
): Promise<{ state: TrainerState; warnings: string[] }> {
  const findings = await checkSeal(path, REQUIRED, use);
  const state = await readState(path, findings);
  const warnings = [...findings.warnings];
  if (!findings.hasManifest) {
    warnings.push(`${path} was written by an earlier version, without digests: whether it is damaged is not known`);
  }
  return { state, warnings };
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

/** An evaluation that a run judged the best, and which of its checkpoints must therefore be there. */
interface JudgedStep {
  readonly run: RunIdentity;
  readonly step: number;
  /** Of the metric. */
  readonly value: number;
}

/**
 * The trainable parameters of the checkpoint of an evaluated step: [size]. `warnings` name other files that are damaged.
 * @throws CheckpointError if what they are in is damaged or cannot be read, if their count is another or one is not finite, or
 *   if the checkpoint is another one than that of the step
 */
export async function readCheckpointParameters(
  path: string,
  size: number,
  judged: JudgedStep,
): Promise<{ parameters: Float32Array; warnings: string[] }> {
  const { state, warnings } = await readSound(path, 'parameters');
  requireJudged(path, state, judged);
  const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
  try {
    return { parameters: await readParameters(file, size), warnings };
  } finally {
    await file.close();
  }
}

/** @throws CheckpointError if a folder's state is not that of the evaluated step: of another run, or renamed */
export async function requireCheckpointOf(path: string, judged: JudgedStep): Promise<void> {
  const manifest = await readManifest(path);
  requireJudged(path, await readState(path, { hasManifest: manifest !== undefined, warnings: [] }), judged);
}

function requireJudged(path: string, state: TrainerState, { run, step, value }: JudgedStep): void {
  const fault = (why: string): CheckpointError => {
    return new CheckpointError(`${path} is not the checkpoint of step ${step} that was evaluated: ${why}`, {
      hint: 'Another run has written there, or somebody has renamed or copied folders.',
      details: { path, step },
    });
  };
  if (state.globalStep !== step) throw fault(`it is of step ${state.globalStep}`);
  const own = state.best?.best;
  // One that was written before its evaluation says nothing of it.
  if (own?.step === step && own.value !== value) throw fault(`its evaluation gave ${own.value}, expected ${value}`);
  const [difference] = compareRuns(state, run);
  if (difference !== undefined) throw fault(`it belongs to another run: ${difference.text}`);
}

async function readParameters(file: SafetensorsFile, size: number): Promise<Float32Array> {
  const parameters = await file.readFloat32(PARAMETERS);
  if (parameters.length !== size) {
    throw new CheckpointError(`${file.path}: expected ${size} parameters, found ${parameters.length}`, {
      details: { path: file.path, expected: size, found: parameters.length },
    });
  }
  const bad = await findNotFinite(parameters);
  if (bad < 0) return parameters;
  throw new CheckpointError(`${file.path}: parameter ${bad} is ${parameters[bad]}, which is not finite`, {
    hint: 'The training had diverged, or the file is damaged; resume from an earlier checkpoint.',
    details: { path: file.path },
  });
}

/** A folder of something else is named as what it is. */
async function whyNoState(path: string, cause: Error): Promise<string> {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOTDIR') return 'it is a file, not a folder';
  if (code !== 'ENOENT') return reasonOf(cause);
  const { text } = await describeFolder(path);
  return `the folder ${text}, and no ${STATE_FILE}`.replace(/(is empty|does not exist or cannot be read),.*/, '$1');
}

async function readState(path: string, { hasManifest }: SealFindings): Promise<TrainerState> {
  const json = await readJson(join(path, STATE_FILE), { maxBytes: MAX_STATE_BYTES }).catch(async (cause: Error) => {
    throw new CheckpointError(`${path} is no checkpoint: ${await whyNoState(path, cause)}`, {
      hint: 'Expected a folder checkpoint-N of `outputDir`, or true for the latest one there.',
      details: { path },
      cause,
    });
  });
  const { formatVersion: version, digests } = (json ?? {}) as { formatVersion?: unknown; digests?: unknown };
  if (version !== FORMAT && version !== OLDER_FORMAT) {
    const expected = `${OLDER_FORMAT} or ${FORMAT}`;
    throw new CheckpointError(`${path}: expected format version ${expected}, found ${showValue(version)}`, {
      hint: 'Another version of this package wrote it: resume with that one, or from another checkpoint.',
      details: { path, expected, found: version },
    });
  }
  // The older format knows no such field: a 3 that became a 2 does not make up for the list.
  if ((version === FORMAT) !== (digests === MANIFEST_FILE) || (version !== FORMAT && digests !== undefined)) {
    throw new CheckpointError(
      `${join(path, STATE_FILE)} is damaged: format version ${version} with \`digests\` ${showValue(digests)}`,
      { hint: 'Resume from another checkpoint.', details: { path } },
    );
  }
  if (version === FORMAT && !hasManifest) {
    throw new CheckpointError(`${path} is not whole: ${MANIFEST_FILE} is missing, with the digests of its files`, {
      hint: 'Copy the folder with all of its files, or resume from another checkpoint.',
      details: { path, missing: [MANIFEST_FILE] },
    });
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
