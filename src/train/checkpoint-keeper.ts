/** The checkpoints of one run: writes new ones, removes the oldest beyond the limit, opens one to resume from. */
import { dirname, join, resolve } from 'node:path';
import { CheckpointError } from '../errors.js';
import type { BestModel, BestModelState } from './best-model.js';
import {
  isCheckpoint,
  listCheckpoints,
  type RunIdentity,
  readCheckpoint,
  readCheckpointParameters,
  type TrainerState,
  type TrainingTensors,
  writeCheckpoint,
} from './checkpoint.js';
import { checkpointName, removeCheckpointFolder, tidyCheckpointFolders } from './checkpoint-folder.js';
import { explainVanished } from './run-folder.js';

interface Place {
  readonly path: string;
  readonly step: number;
}

export interface OpenedCheckpoint {
  readonly state: TrainerState;
  readonly tensors: TrainingTensors;
  /** Newer checkpoints that were passed over because they cannot be read, and why. */
  readonly damaged: readonly string[];
}

export class CheckpointKeeper {
  readonly #run: RunIdentity;
  readonly #saveAdapter: ((directory: string) => Promise<void>) | undefined;
  #kept: Place[] = [];
  #latest: Place | undefined;

  constructor(run: RunIdentity, saveAdapter: ((directory: string) => Promise<void>) | undefined) {
    this.#run = run;
    this.#saveAdapter = saveAdapter;
  }

  /** The newest checkpoint of the run, which may be the one that it was resumed from. */
  get latest(): Place | undefined {
    return this.#latest;
  }

  /** Checkpoints of the run in its output folder, oldest first. */
  get paths(): string[] {
    return this.#kept.map(({ path }) => path);
  }

  /** Where a step is or would be saved. */
  pathOf(step: number): string {
    return join(this.#run.config.outputDir, checkpointName(step));
  }

  /** Puts the output folder in order after a process that was killed there. */
  tidy(): Promise<void> {
    return tidyCheckpointFolders(this.#run.config.outputDir, true);
  }

  /**
   * Reads the checkpoint to go on from.
   * @param from its folder, or true for the newest in the output folder that can be read
   * @throws CheckpointError if there is none, it cannot be read, or it belongs to another run
   */
  async open(from: string | true): Promise<OpenedCheckpoint> {
    const { outputDir } = this.#run.config;
    if (from !== true) {
      // A process may have been killed there while it replaced just this one.
      if (!(await isCheckpoint(from))) await tidyCheckpointFolders(dirname(resolve(from)));
      return this.#opened(from, []).catch(async (error) => {
        throw (await isCheckpoint(from)) ? error : await explainVanished(from, error);
      });
    }
    const candidates = (await listCheckpoints(outputDir)).reverse();
    const damaged: string[] = [];
    let first: unknown;
    for (const { path } of candidates) {
      try {
        return await this.#opened(path, damaged);
      } catch (error) {
        if (!(error instanceof CheckpointError) || error.details.differences !== undefined) throw error;
        first ??= error;
        damaged.push(error.message.split('\n')[0]!);
      }
    }
    if (first) throw first;
    throw new CheckpointError(`\`resumeFromCheckpoint: true\`, but ${outputDir} holds no checkpoint`, {
      hint: 'Start without it, or give the path of a checkpoint folder.',
      details: { outputDir },
    });
  }

  /** For a new run: what lies in its folder already may be what a later resume takes up. */
  async warnOfOthers(): Promise<string[]> {
    const { outputDir, saveStrategy } = this.#run.config;
    const newest = saveStrategy === 'no' ? undefined : (await listCheckpoints(outputDir)).at(-1);
    if (!newest) return [];
    return [
      `${outputDir} holds checkpoints of an earlier run, up to step ${newest.step}: \`resumeFromCheckpoint: true\` would ` +
        'take the newest; remove them or use another folder',
    ];
  }

  async #opened(path: string, damaged: readonly string[]): Promise<OpenedCheckpoint> {
    const { outputDir } = this.#run.config;
    const read = await readCheckpoint(path, this.#run);
    const step = read.state.globalStep;
    this.#latest = { path, step };
    // Later ones are of a course that this run leaves; they are not its own to remove.
    if (resolve(dirname(path)) === resolve(outputDir)) {
      this.#kept = (await listCheckpoints(outputDir)).filter((checkpoint) => checkpoint.step <= step);
    }
    return { ...read, damaged };
  }

  /** The checkpoint of the best step so far: beside the one that was opened, or where it was written. */
  async findBest({ best }: BestModelState): Promise<string | undefined> {
    if (!best) return undefined;
    const beside = this.#latest && join(dirname(this.#latest.path), checkpointName(best.step));
    for (const path of [beside, best.checkpoint]) if (path && (await isCheckpoint(path))) return path;
    return undefined;
  }

  /** The parameters of the best step: [size]. @throws CheckpointError if they cannot be read */
  readBest(best: BestModel, size: number): Promise<Float32Array> {
    return readCheckpointParameters(best.checkpoint, size);
  }

  /**
   * Writes a checkpoint, then removes those beyond `saveTotalLimit`: only ones that this run wrote or grew from, and
   * neither the newest nor the best.
   * @returns what was written and removed, and why one could not be removed
   * @throws CheckpointError if it cannot be written; nothing is removed then
   */
  async save(
    progress: Omit<TrainerState, keyof RunIdentity | 'formatVersion'>,
    tensors: TrainingTensors,
  ): Promise<{ path: string; removed: string[]; notRemoved: string | undefined }> {
    const { outputDir, saveTotalLimit } = this.#run.config;
    const path = await writeCheckpoint(outputDir, { ...this.#run, ...progress }, tensors, this.#saveAdapter);
    this.#latest = { path, step: progress.globalStep };
    this.#kept = [...this.#kept.filter((checkpoint) => checkpoint.step !== progress.globalStep), this.#latest];
    const removed: string[] = [];
    if (saveTotalLimit === undefined) return { path, removed, notRemoved: undefined };
    const best = progress.best?.best?.step;
    const isSafe = ({ step }: Place) => step === progress.globalStep || step === best;
    const others = this.#kept.filter((checkpoint) => !isSafe(checkpoint));
    const surplus = others.slice(0, Math.max(0, this.#kept.length - saveTotalLimit));
    let notRemoved: string | undefined;
    for (const old of surplus) {
      try {
        await removeCheckpointFolder(old.path);
        removed.push(old.path);
      } catch (error) {
        notRemoved ??= `cannot remove ${old.path}: ${(error as Error).message}`;
      }
      this.#kept = this.#kept.filter((checkpoint) => checkpoint !== old);
    }
    return { path, removed, notRemoved };
  }
}
