/** The checkpoints of one run: writes new ones, removes the oldest beyond the limit, opens one to resume from. */
import { basename, dirname, join, resolve } from 'node:path';
import { CheckpointError, reasonOf } from '../errors.js';
import type { BestModel, BestModelState, BestModelTracker, BestStep } from './best-model.js';
import {
  isCheckpoint,
  listCheckpoints,
  OtherRunError,
  type ReadCheckpoint,
  readCheckpoint,
  readCheckpointParameters,
  requireCheckpointOf,
  writeCheckpoint,
} from './checkpoint.js';
import type { CheckpointAdapter } from './checkpoint-adapter.js';
import type { RunCourse } from './checkpoint-checks.js';
import { checkpointName, removeCheckpointFolder, tidyCheckpointFolders } from './checkpoint-folder.js';
import type { RunIdentity, RunState, TrainingTensors } from './checkpoint-state.js';
import { shareBest, shareCheckpoint } from './rank-checkpoint.js';
import type { RankExchange } from './rank-exchange.js';
import { explainVanished } from './run-folder.js';

interface Place {
  readonly path: string;
  readonly step: number;
}

interface OpenedCheckpoint extends ReadCheckpoint {
  /** Newer checkpoints that were passed over because they cannot be read, and why. */
  readonly damaged: readonly string[];
}

/** Where a run is; what it is stays the same. */
export type Progress = Omit<RunState, keyof RunIdentity>;

/** A checkpoint that was written, what made way for it, and why something could not. */
export interface SavedCheckpoint {
  readonly path: string;
  readonly step: number;
  readonly removed: readonly string[];
  readonly notRemoved: string | undefined;
}

/** The best step so far, in memory. */
interface BestCopy {
  readonly step: number;
  readonly parameters: Float32Array;
  /** What its checkpoint holds besides, until that is written. */
  unsaved?: { readonly progress: Progress; readonly tensors: TrainingTensors } | undefined;
}

export class CheckpointManager {
  readonly #run: RunIdentity;
  readonly #course: RunCourse | undefined;
  readonly #writeAdapter: CheckpointAdapter | undefined;
  readonly #ranks: RankExchange | undefined;
  #kept: Place[] = [];
  #latest: Place | undefined;
  #best: BestCopy | undefined;

  /** @param ranks of which the first has the files; undefined where one process trains alone */
  constructor(run: RunIdentity, writeAdapter?: CheckpointAdapter, course?: RunCourse, ranks?: RankExchange) {
    this.#run = run;
    this.#writeAdapter = writeAdapter;
    this.#course = course;
    this.#ranks = ranks;
  }

  /** On the rank that has the files, of several. */
  #onMain<T>(what: string, work: () => Promise<T>): Promise<T> {
    return this.#ranks ? this.#ranks.fromMain(what, work) : work();
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

  /**
   * Reads the checkpoint to go on from.
   * @param from its folder, or true for the newest in the output folder that can be read
   * @throws CheckpointError if there is none, it cannot be read, or it belongs to another run
   */
  async open(from: string | true): Promise<OpenedCheckpoint> {
    if (!this.#ranks) return this.#open(from);
    const open = async () => ({ ...(await this.#open(from)), latest: this.#latest!, kept: this.#kept });
    const shared = await shareCheckpoint(this.#ranks, open, (path) => readCheckpoint(path, this.#run, this.#course));
    this.#latest = shared.latest;
    this.#kept = [...shared.kept];
    return shared;
  }

  async #open(from: string | true): Promise<OpenedCheckpoint> {
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
        return await this.#opened(path, damaged, true);
      } catch (error) {
        if (!(error instanceof CheckpointError) || error instanceof OtherRunError) throw error;
        first ??= error;
        damaged.push(reasonOf(error));
      }
    }
    if (first) throw first;
    throw new CheckpointError(`\`resumeFromCheckpoint: true\`, but ${outputDir} holds no checkpoint`, {
      hint: 'Start without it, or give the path of a checkpoint folder.',
      details: { outputDir },
    });
  }

  /** For a new run: what lies in its folder already may be what a later resume takes up. */
  warnOfOthers(): Promise<string[]> {
    return this.#onMain('earlier checkpoints', () => this.#warnOfOthers());
  }

  async #warnOfOthers(): Promise<string[]> {
    const { outputDir, saveStrategy } = this.#run.config;
    const newest = saveStrategy === 'no' ? undefined : (await listCheckpoints(outputDir)).at(-1);
    if (!newest) return [];
    return [
      `${outputDir} holds checkpoints of an earlier run, up to step ${newest.step}: \`resumeFromCheckpoint: true\` would ` +
        'take the newest; remove them or use another folder',
    ];
  }

  /** @param isByName its name alone says that it is the newest */
  async #opened(path: string, damaged: readonly string[], isByName = false): Promise<OpenedCheckpoint> {
    const { outputDir } = this.#run.config;
    const read = await readCheckpoint(path, this.#run, this.#course);
    const step = read.state.globalStep;
    if (isByName && basename(path) !== checkpointName(step)) {
      throw new CheckpointError(`${path} holds step ${step}: somebody has renamed it`, {
        hint: `Name it ${checkpointName(step)} again, or give the path of the checkpoint to go on from.`,
        details: { path, step },
      });
    }
    this.#latest = { path, step };
    // Later ones are of a course that this run leaves; they are not its own to remove.
    if (resolve(dirname(path)) === resolve(outputDir)) {
      this.#kept = (await listCheckpoints(outputDir)).filter((checkpoint) => checkpoint.step <= step);
    }
    return { ...read, damaged };
  }

  /**
   * Finds the best step's checkpoint of a resumed run, with `loadBestModelAtEnd` its parameters too; where it is gone the
   * best of the saved ones takes its place. @returns warnings
   */
  async takeUpBest(tracker: BestModelTracker, size: number): Promise<string[]> {
    if (!this.#ranks) return this.#takeUpBest(tracker, size);
    const { warnings, state } = await this.#ranks.fromMain('best step', async () => {
      return { warnings: await this.#takeUpBest(tracker, size), state: tracker.state };
    });
    tracker.take(state);
    return warnings;
  }

  async #takeUpBest(tracker: BestModelTracker, size: number): Promise<string[]> {
    const before = tracker.best;
    if (!before) return [];
    const [faults, warnings]: [string[], string[]] = [[], []];
    const found = await this.#findStep(before, size, faults, warnings);
    if (found !== undefined) {
      tracker.moved(found);
      return warnings;
    }
    const { saved } = tracker.state;
    const other = saved && (await this.#findStep(saved, size, faults, warnings));
    tracker.lost(other === undefined ? undefined : { ...saved!, checkpoint: other });
    const why = faults.length > 0 ? ` (${faults.join('; ')})` : '';
    const instead = tracker.best
      ? `; the best of the others is step ${tracker.best.step}, ${tracker.best.metric} ${tracker.best.value}`
      : '; the best is chosen anew from here';
    return [`the checkpoint of the best step so far, ${before.step}, is gone${why}${instead}`, ...warnings];
  }

  /** The checkpoint of a step: beside the one that was opened, or where it was written. */
  async #findStep(
    { step, value, checkpoint }: BestStep,
    size: number,
    faults: string[],
    warnings: string[],
  ): Promise<string | undefined> {
    const beside = this.#latest && join(this.#latest.path, '..', checkpointName(step));
    for (const path of new Set([beside, checkpoint])) {
      if (!path || !(await isCheckpoint(path))) continue;
      const judged = { run: this.#run, step, value };
      try {
        if (!this.#run.config.loadBestModelAtEnd) {
          await requireCheckpointOf(path, judged);
          return path;
        }
        const read = await readCheckpointParameters(path, size, judged);
        this.#best = { step, parameters: read.parameters };
        warnings.push(...read.warnings);
        return path;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        faults.push(reasonOf(error));
      }
    }
    return undefined;
  }

  /**
   * The parameters of the best step: [size], from its checkpoint if that is sound, else from memory with the `fault`.
   * @throws CheckpointError if they are in neither
   */
  async readBest(best: BestModel, size: number): Promise<{ parameters: Float32Array; fault: string | undefined }> {
    return this.#ranks ? shareBest(this.#ranks, () => this.#readBest(best, size)) : this.#readBest(best, size);
  }

  async #readBest(best: BestModel, size: number): Promise<{ parameters: Float32Array; fault: string | undefined }> {
    const copy = this.#best?.step === best.step ? this.#best.parameters : undefined;
    if (best.checkpoint === undefined) {
      if (copy) return { parameters: copy, fault: 'it could not be saved' };
      throw new CheckpointError(`the parameters of step ${best.step} were not saved`);
    }
    try {
      const { parameters } = await readCheckpointParameters(best.checkpoint, size, { run: this.#run, ...best });
      return { parameters, fault: undefined };
    } catch (error) {
      if (!copy || !(error instanceof CheckpointError)) throw error;
      return { parameters: copy, fault: reasonOf(error) };
    }
  }

  /** The best step, if it is in memory alone. */
  get unsavedBest(): number | undefined {
    return this.#best?.unsaved && this.#best.step;
  }

  /**
   * Writes a checkpoint, then removes those beyond `saveTotalLimit`: only ones that this run wrote or grew from, and
   * neither the newest nor the best. Where it cannot be written and is the best step, it stays in memory for `saveBest`.
   * @returns what was written and removed, and why one could not be removed
   * @throws CheckpointError if it cannot be written; nothing is removed then
   */
  async save(progress: Progress, tensors: TrainingTensors): Promise<SavedCheckpoint> {
    const step = progress.globalStep;
    const { loadBestModelAtEnd, saveStrategy } = this.#run.config;
    if (progress.best?.best?.step === step && (loadBestModelAtEnd || saveStrategy === 'best')) {
      // The log grows, and the state is that of this step.
      const unsaved = { progress: { ...progress, logHistory: [...progress.logHistory] }, tensors };
      this.#best = { step, parameters: tensors.parameters, unsaved };
    }
    const path = await this.#write(progress, tensors, true);
    this.#latest = { path, step };
    this.#nowSaved(step);
    return { path, step, ...(await this.#removeSurplus(progress.best)) };
  }

  /** Tries again to write the best step's checkpoint, if that failed before; undefined if nothing was written. */
  async saveBest(best: BestModelState): Promise<SavedCheckpoint | undefined> {
    const copy = this.#best;
    if (!copy?.unsaved || best.best?.step !== copy.step) return undefined;
    // Its values were on the rank that is lost.
    if (this.#ranks?.isAlone && !this.#ranks.isMain) return undefined;
    const { progress, tensors } = copy.unsaved;
    const { step } = copy;
    let path: string;
    try {
      path = await this.#write(progress, tensors, false);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      return undefined;
    }
    this.#latest ??= { path, step };
    this.#nowSaved(step);
    return { path, step, ...(await this.#removeSurplus({ ...best, best: { ...best.best, checkpoint: path } })) };
  }

  async #write(progress: Progress, tensors: TrainingTensors, isCurrent: boolean): Promise<string> {
    const { outputDir } = this.#run.config;
    const write = this.#writeAdapter;
    const step = progress.globalStep;
    const path = await this.#onMain(`checkpoint ${step}`, () =>
      writeCheckpoint(outputDir, { ...this.#run, ...progress }, tensors, (folder) =>
        Promise.resolve(write?.(folder, tensors.parameters, isCurrent)),
      ),
    );
    const others = this.#kept.filter((checkpoint) => checkpoint.step !== step);
    this.#kept = [...others, { path, step }].sort((a, b) => a.step - b.step);
    return path;
  }

  /** What is on the disk needs no second place; the parameters stay, for a disk may fail later. */
  #nowSaved(step: number): void {
    if (this.#best?.step !== step) return;
    const { parameters } = this.#best;
    this.#best = this.#run.config.loadBestModelAtEnd ? { step, parameters } : undefined;
  }

  async #removeSurplus(state: BestModelState | undefined): Promise<Pick<SavedCheckpoint, 'removed' | 'notRemoved'>> {
    const { saveTotalLimit } = this.#run.config;
    if (saveTotalLimit === undefined) return { removed: [], notRemoved: undefined };
    const { best, saved } = state ?? {};
    const safe = new Set([this.#latest?.step, best?.step]);
    // As long as the best is in memory alone, the best on the disk is what a killed process leaves.
    if (best?.checkpoint === undefined) safe.add(saved?.step);
    const others = this.#kept.filter(({ step }) => !safe.has(step));
    const surplus = others.slice(0, Math.max(0, this.#kept.length - saveTotalLimit));
    this.#kept = this.#kept.filter((checkpoint) => !surplus.includes(checkpoint));
    if (surplus.length === 0) return { removed: [], notRemoved: undefined };
    return this.#onMain('removed checkpoints', () => removeAll(surplus));
  }
}

async function removeAll(surplus: readonly Place[]): Promise<Pick<SavedCheckpoint, 'removed' | 'notRemoved'>> {
  const removed: string[] = [];
  let notRemoved: string | undefined;
  for (const old of surplus) {
    try {
      await removeCheckpointFolder(old.path);
      removed.push(old.path);
    } catch (error) {
      notRemoved ??= `cannot remove ${old.path}: ${(error as Error).message}`;
    }
  }
  return { removed, notRemoved };
}
