/** The saves of a run: a failed one costs a warning, and never the best step. */

import { eventLoopTurn, isTurnDue } from '../async/event-loop.js';
import { exclusively } from '../engine/computation.js';
import type { Engine, OptimizerState } from '../engine/engine.js';
import type { ParameterSet } from '../engine/tensor.js';
import { CheckpointError, EngineError, reasonOf } from '../errors.js';
import type { BestModelTracker } from './best-model.js';
import type { CheckpointManager, Progress, SavedCheckpoint } from './checkpoint-manager.js';
import type { TrainingTensors } from './checkpoint-state.js';
import type { RunLog } from './history.js';
import type { RankExchange } from './rank-exchange.js';
import type { StepMetrics } from './step-metrics.js';

export interface CheckpointSaverParts {
  readonly engine: Engine;
  readonly trainable: ParameterSet;
  readonly optimizer: OptimizerState;
  readonly totalSteps: number;
  readonly log: RunLog;
  readonly metrics: StepMetrics;
  readonly best: BestModelTracker | undefined;
  readonly checkpoints: CheckpointManager;
  /** Waits for the engine, but not for ever once the run is to stop. */
  readonly answer: <T>(value: Promise<T>) => Promise<T>;
  /** Waits for readers that are handling an event: until then the parameters stay those of its step. */
  readonly whenRead: () => Promise<void>;
  /** Undefined where one process trains alone. */
  readonly ranks?: RankExchange | undefined;
}

/** On ranks that write nothing. */
const NOT_READ: TrainingTensors = { parameters: new Float32Array(0), optimizer: {} };

export class CheckpointSaver {
  readonly #parts: CheckpointSaverParts;

  constructor(parts: CheckpointSaverParts) {
    this.#parts = parts;
  }

  /** Puts what a checkpoint holds into the engine. @throws CheckpointError if it is of another optimizer */
  async restore({ parameters, optimizer: arrays }: TrainingTensors): Promise<void> {
    const { engine, trainable, optimizer, checkpoints } = this.#parts;
    try {
      engine.writeOptimizerState(trainable, optimizer, arrays);
    } catch (cause) {
      if (!(cause instanceof EngineError)) throw cause;
      throw new CheckpointError(`${checkpoints.latest?.path}: its optimizer's state does not fit: ${cause.summary}`, {
        hint: 'It was made or changed by something else than a run of this package; resume from another checkpoint.',
        details: { path: checkpoints.latest?.path },
        cause,
      });
    }
    // Each takes a while.
    if (isTurnDue()) await eventLoopTurn();
    engine.writeParameters(trainable, parameters);
  }

  /** Saves where the run is, everything settled. Gives whether it succeeded. */
  async save(at: Pick<Progress, 'globalStep' | 'epoch' | 'evaluationDue'>): Promise<boolean> {
    const { engine, trainable, optimizer, totalSteps, log, metrics, best, checkpoints, answer, ranks } = this.#parts;
    const step = at.globalStep;
    const isWriter = !ranks || ranks.isMain || ranks.isAlone;
    return metrics.outside(async () => {
      const progress: Progress = {
        ...at,
        totalSteps,
        metrics: metrics.state,
        ...(best ? { best: best.state } : {}),
        logHistory: log.entries,
      };
      const read = async (): Promise<TrainingTensors> => ({
        parameters: await answer(engine.readParameters(trainable, true)),
        optimizer: await answer(engine.readOptimizerState(trainable, optimizer)),
      });
      const tensors = isWriter ? await read() : NOT_READ;
      try {
        const saved = await checkpoints.save(progress, tensors);
        // The last save of a run that is stopped may be the second try.
        if (best?.best?.step === step) best.moved(saved.path);
        await this.#report(saved);
        return true;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        const last = checkpoints.latest;
        const kept = last ? `the last checkpoint is ${last.path}` : 'no checkpoint exists yet';
        const isBest = checkpoints.unsavedBest === step;
        const more = isBest ? '; this is the best step so far, and is kept in memory until then' : '';
        await log.warn(step, `${reasonOf(error)}\n  The run goes on; ${kept}; the next save tries again${more}.`);
        return false;
      }
    });
  }

  async #report({ path, step, removed, notRemoved }: SavedCheckpoint): Promise<void> {
    const { log } = this.#parts;
    await log.emit({ type: 'save', step, path, removed });
    if (notRemoved) await log.warn(step, notRemoved);
  }

  /** Writes the best step's checkpoint, where that failed when it was the newest. Another failure is no news. */
  async retryBest(): Promise<void> {
    const { metrics, best, checkpoints, whenRead } = this.#parts;
    if (!best || checkpoints.unsavedBest === undefined) return;
    // A user's `saveAdapter` finds its parameters in the model for a while.
    await whenRead();
    await metrics.outside(async () => {
      const saved = await checkpoints.saveBest(best.state);
      if (!saved) return;
      best.moved(saved.path);
      await this.#report(saved);
    });
  }

  /** For a run that is stopped: its memory goes with it. @param step optimizer steps done */
  async rescueBest(step: number): Promise<void> {
    const { log, checkpoints } = this.#parts;
    await this.retryBest();
    const lost = checkpoints.unsavedBest;
    if (lost === undefined) return;
    await log.warn(step, `the best step, ${lost}, could not be saved and ends with this process`);
  }

  /** The best step's parameters instead of the last one's. @param step optimizer steps done */
  async loadBest(step: number): Promise<boolean> {
    const { engine, trainable, log, best: tracker, checkpoints, answer, whenRead } = this.#parts;
    const best = tracker?.best;
    const instead = 'the parameters are those of the last step';
    const keepLast = async (why: string): Promise<false> => {
      await log.warn(step, `${why}; ${instead}`);
      return false;
    };
    if (!tracker || !best) return keepLast('no evaluated step was saved');
    let fault: string | undefined;
    try {
      const read = await checkpoints.readBest(best, trainable.size);
      await whenRead();
      // Not within a token or a batch of somebody else.
      await answer(exclusively(engine, undefined, () => engine.writeParameters(trainable, read.parameters)));
      fault = read.fault;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      return keepLast(`cannot load the best step: ${reasonOf(error)}`);
    }
    if (fault !== undefined) {
      tracker.unsaved(true);
      const why = `the parameters of the best step, ${best.step}, are loaded from memory: ${fault}`;
      await log.warn(step, `${why}\n  Save the adapter now: it is the only copy.`);
    }
    await log.emit({ type: 'loadBest', ...tracker.best! });
    return true;
  }
}
