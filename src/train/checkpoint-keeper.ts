/** The checkpoints of one run: writes new ones, removes the oldest beyond the limit, opens one to resume from. */
import { rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  findCheckpoint,
  listCheckpoints,
  type RunIdentity,
  readCheckpoint,
  type TrainerState,
  type TrainingTensors,
  writeCheckpoint,
} from './checkpoint.js';

export class CheckpointKeeper {
  readonly #run: RunIdentity;
  readonly #saveAdapter: ((directory: string) => Promise<void>) | undefined;
  #kept: { path: string; step: number }[] = [];
  #latest: { path: string; step: number } | undefined;

  constructor(run: RunIdentity, saveAdapter: ((directory: string) => Promise<void>) | undefined) {
    this.#run = run;
    this.#saveAdapter = saveAdapter;
  }

  /** The newest checkpoint of the run, which may be the one that it was resumed from. */
  get latest(): { readonly path: string; readonly step: number } | undefined {
    return this.#latest;
  }

  /** Checkpoints of the run in its output folder, oldest first. */
  get paths(): string[] {
    return this.#kept.map(({ path }) => path);
  }

  /**
   * Reads the checkpoint to go on from.
   * @param from its folder, or true for the newest in the output folder
   * @throws CheckpointError if there is none, it cannot be read, or it belongs to another run
   */
  async open(from: string | true): Promise<{ state: TrainerState; tensors: TrainingTensors }> {
    const { outputDir } = this.#run.config;
    const path = await findCheckpoint(from, outputDir);
    const read = await readCheckpoint(path, this.#run);
    const step = read.state.globalStep;
    this.#latest = { path, step };
    // Later ones are of a course that this run leaves; they are not its own to remove.
    if (resolve(dirname(path)) === resolve(outputDir)) {
      this.#kept = (await listCheckpoints(outputDir)).filter((checkpoint) => checkpoint.step <= step);
    }
    return read;
  }

  /** Writes a checkpoint, then removes those beyond `saveTotalLimit`: only ones that this run wrote or grew from. */
  async save(
    progress: Omit<TrainerState, keyof RunIdentity | 'formatVersion'>,
    tensors: TrainingTensors,
  ): Promise<{ path: string; removed: string[] }> {
    const { outputDir, saveTotalLimit } = this.#run.config;
    const path = await writeCheckpoint(outputDir, { ...this.#run, ...progress }, tensors, this.#saveAdapter);
    this.#latest = { path, step: progress.globalStep };
    this.#kept = [...this.#kept.filter((checkpoint) => checkpoint.step !== progress.globalStep), this.#latest];
    const removed: string[] = [];
    while (saveTotalLimit !== undefined && this.#kept.length > saveTotalLimit) {
      const oldest = this.#kept.shift()!;
      await rm(oldest.path, { recursive: true, force: true });
      removed.push(oldest.path);
    }
    return { path, removed };
  }
}
