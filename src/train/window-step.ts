/**
 * One optimizer step: pack a window of micro-batches, plan its passes, run each forward and backward, clip and update. A
 * window that runs out of memory is begun again in smaller passes.
 */

import { eventLoopTurn } from '../async/event-loop.js';
import { afterAbort } from '../async/or-aborted.js';
import { PackedWindow, type WindowSample } from '../batch/packed-window.js';
import type { VlmBatch } from '../data/types.js';
import type { GradientSum } from '../distributed/process-group.js';
import { exclusively, runPass } from '../engine/computation.js';
import type { Deferred, Engine, OptimizerState, OptimizerStep } from '../engine/engine.js';
import { HeldDeviceError } from '../engine/held-device.js';
import { changesOf, type ParameterLease, requireOwnCall } from '../engine/parameter-lease.js';
import type { ParameterSet, Tensor } from '../engine/tensor.js';
import { OutOfMemoryError, TrainingError } from '../errors.js';
import { counterHash } from '../random.js';
import { GradientCoverage } from './gradient-coverage.js';
import { learningRateFactors } from './learning-rate-factors.js';
import type { PlannedPass } from './pass-plan.js';
import { PassPlanner } from './pass-planner.js';
import { preparePrecision } from './precision.js';
import type { RankExchange } from './rank-exchange.js';
import { gatherLosses, NO_GRADIENTS, sumGradients, total } from './rank-window.js';
import { optimizerKind, type SftConfig } from './sft-config.js';
import type { RankShare } from './step-metrics.js';
import { type AccumulateOptions, countLabels, type PassSummary, type TrainableModel } from './trainable-model.js';
import type { TrainingWindow } from './training-window.js';

/** Milliseconds that an engine's own end is waited for when the run is to stop. */
export const MODEL_GRACE = 1_000;

/** By model: they remember what turned out too large. */
const planners = new WeakMap<TrainableModel, PassPlanner>();

/**
 * Adds the gradient of the window's loss to that of the parameters, which must be zero: a window that runs out of memory
 * is begun again from zero. Packed passes, as few as fit, with the result of running the micro-batches one by one.
 * @returns the window's loss, fetched late
 * @throws OutOfMemoryError if nothing that the options allow fits; TrainingError if a run trains the
 *   parameters, or the seeds do not match the micro-batches; the signal's reason
 */
export async function accumulateGradients(
  model: TrainableModel,
  microBatches: readonly VlmBatch[],
  options: AccumulateOptions,
): Promise<Deferred<number>> {
  requireOwnCall(model.trainable, options, 'accumulateGradients');
  return forwardBackward(model, packWindow(model, microBatches, options), options);
}

function packWindow(
  model: TrainableModel,
  microBatches: readonly VlmBatch[],
  { dropoutSeeds: seeds, sharePrefix = true, neftuneNoiseAlpha = 0 }: AccumulateOptions,
): PackedWindow {
  if (seeds.length !== microBatches.length) {
    throw new TrainingError(`${seeds.length} dropoutSeeds for ${microBatches.length} micro-batches, expected one each`);
  }
  const packed = microBatches.map((batch, i) => model.pack(batch, { seed: seeds[i]! }));
  return new PackedWindow(packed, {
    sharePrefix: sharePrefix && neftuneNoiseAlpha === 0 && model.sharesPrefixes === true,
  });
}

/** Alone on the engine, with the adapter that is on now. @param sum of the gradients of all ranks, if there are several */
function forwardBackward(
  model: TrainableModel,
  window: PackedWindow,
  options: AccumulateOptions,
  sum?: GradientSum,
): Promise<Deferred<number>> {
  const { engine, trainable } = model;
  const { signal, labelCount, labelSmoothing, neftuneNoiseAlpha, precision = 'bf16' } = options;
  const adapter = model.adapterView?.();
  const requireParts = () => adapter && model.requireParts?.(adapter);
  const planner = planners.get(model) ?? new PassPlanner(engine);
  planners.set(model, planner);
  return exclusively(engine, signal, async () => {
    preparePrecision(model, precision);
    const costs = model.passCosts(precision, options.memoryBudget);
    const planned = { ...options, sizeOf: (samples: readonly WindowSample[]) => window.sizeOf(samples) };
    let plan = planner.plan(window.samples, costs, planned);
    for (;;) {
      const current = plan;
      const describe = () => planner.describe(current, window.samples, costs, planned);
      options.onPlan?.(plan.passes.map(summaryOf), describe);
      const mark = engine.mark();
      const losses: Tensor[] = [];
      let hasTold = false;
      try {
        for (const [i, { samples, recompute }] of plan.passes.entries()) {
          await runPass(engine, { signal, requireParts, record: true }, async (pass) => {
            const settings = { recompute, labelSmoothing, neftuneNoiseAlpha, precision, adapter };
            const loss = await pass.run(model.lossSteps(pass.tape, window.join(samples), 1 / labelCount, settings));
            if (!loss) return;
            engine.retain(loss);
            losses.push(loss);
            await pass.pause();
            const early = i === plan.passes.length - 1 ? sum?.overlap?.() : undefined;
            hasTold = early !== undefined;
            await pass.backward(loss, early && { set: trainable, final: (names) => early.final(names) });
            await pass.pause();
          });
        }
        if (!hasTold) callFinal(sum, trainable);
        return lateSum(engine, losses);
      } catch (error) {
        engine.releaseSince(mark);
        const isHeld = error instanceof HeldDeviceError;
        if (!isHeld && !(error instanceof OutOfMemoryError)) throw error;
        if (isHeld) await engine.whenFree?.();
        await sum?.restart?.();
        engine.zeroGradients(trainable);
        if (!isHeld) plan = planner.planSmaller(plan, error, window.samples, costs, planned);
      }
    }
  });
}

/**
 * All gradients of this rank are final, as it has no pass that would say so: a rank that begins its window again first waits
 * for sums that it has begun.
 */
function callFinal(sum: GradientSum | undefined, { parameters }: ParameterSet): void {
  sum?.overlap?.()?.final(parameters.map(({ name }) => name));
}

/** Read when it is asked for: until then the engine may still be computing. */
function lateSum(engine: Engine, losses: Tensor[]): Deferred<number> {
  const sum = async (): Promise<number> => {
    let total = 0;
    for (const loss of losses.splice(0)) {
      total += (await engine.read(loss))[0]!;
      engine.release(loss);
    }
    return total;
  };
  unread.register(sum, { engine, losses });
  return sum;
}

/** Frees losses that nobody asked for: those of a run that failed before. */
const unread = new FinalizationRegistry<{ readonly engine: Engine; readonly losses: Tensor[] }>(
  ({ engine, losses }) => {
    for (const loss of losses.splice(0)) {
      try {
        engine.release(loss);
      } catch {
        // The engine has gone.
      }
    }
  },
);

function summaryOf({ samples, size, recompute, bytes }: PlannedPass): PassSummary {
  const tokens = samples.reduce((sum, sample) => sum + sample.size.tokens, 0);
  const sharedTokens = tokens - size.tokens;
  const { patches } = size;
  return { samples: samples.length, tokens, sharedTokens, patches, recomputedLayers: recompute, bytes };
}

/** What the steps of a run work with. */
interface StepParts {
  readonly model: TrainableModel;
  /** The model's when the run began: another adapter may become active meanwhile. */
  readonly trainable: ParameterSet;
  readonly optimizer: OptimizerState;
  readonly config: SftConfig;
  readonly lease: ParameterLease;
  readonly signal: AbortSignal;
  /** Waits for the engine, as long as the run is to go on. */
  readonly answer: <T>(value: Promise<T>) => Promise<T>;
  /** Undefined where one process trains alone. */
  readonly ranks?: RankExchange | undefined;
}

/** What a run does while the engine works on the gradients of a step. */
interface BesideStep {
  /** Called once the first pass is being queued, and where a window is computed again once more. */
  begin(): void;
  /** Runs when all passes are queued, before the update. */
  meanwhile(): Promise<void>;
}

/** An optimizer step that was given to the engine. */
export interface TakenStep {
  /** On one of several ranks that of its own samples. */
  readonly loss: Deferred<number>;
  /** NaN if the update was left out, as the loss was not finite. */
  readonly gradNorm: Deferred<number>;
  /** Operations that the model asks for; undefined if it does not count. */
  readonly flops: number | undefined;
  /** Tokens that were reused from the common prefix of another sample. */
  readonly sharedTokens: number;
  /** Of the first step, as text. */
  readonly plan?: string;
  /** On one of several ranks. */
  readonly share?: RankShare;
}

/** Takes the steps of a run, on nobody's parameters but those that are trained. */
export class WindowStep {
  readonly #parts: StepParts;
  readonly #coverage = new GradientCoverage();
  /** Of the learning rates, where those of the parameters differ. */
  readonly #factors: readonly number[] | undefined;
  /** Whether a plan was reported: only the first is. */
  #hasPlan = false;
  /** What the engine is computing though nobody waits for it; settles with it, whatever the outcome. */
  unanswered: Promise<unknown> | undefined;

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#factors = learningRateFactors(parts.trainable, parts.config.loraplusLrRatio);
  }

  /**
   * Prepares the engine, and the model for its precision. The first step waits until it has ended, and does what failed
   * here itself.
   */
  prepare(): void {
    const { model, trainable, config, signal } = this.#parts;
    const { engine } = model;
    if (!engine.prepareTraining) return;
    const work = exclusively(engine, signal, async () => {
      preparePrecision(model, config.precision);
      for (const _ of engine.prepareTraining!(trainable)) {
        await eventLoopTurn();
        signal.throwIfAborted();
      }
    });
    this.#leave(work);
  }

  /** What is computed though nobody waits for it. */
  #leave(work: Promise<unknown>): void {
    const answered = () => {
      if (this.unanswered === left) this.unanswered = undefined;
    };
    const left: Promise<unknown> = work.then(answered, answered);
    this.unanswered = left;
  }

  /**
   * @param onWarning receives what had to change for the window to fit, and parameters without a gradient
   * @throws the signal's reason; TrainingError if another adapter became active, or nothing gets a gradient
   */
  async take(
    step: number,
    window: TrainingWindow,
    learningRate: number,
    beside: BesideStep,
    onWarning: (message: string) => void,
  ): Promise<TakenStep> {
    const { model, trainable, optimizer, config, lease, answer, ranks } = this.#parts;
    const { engine } = model;
    const { loss: late, ...made } = await this.#gradients(step, window, beside, onWarning);
    // Only where a step may be left out is the loss waited for before the update.
    const value = config.onNonFiniteLoss === 'skip' ? await answer(late()) : undefined;
    const loss = value === undefined ? late : async () => value;
    const losses = ranks && value !== undefined ? await gatherLosses(ranks, step, value) : undefined;
    const whole = losses ? total(losses) : value;
    let gradNorm: Deferred<number> = async () => Number.NaN;
    if (whole === undefined || Number.isFinite(whole)) {
      if (ranks && !this.#coverage.isDone) await answer(engine.whenFree?.() ?? Promise.resolve());
      const checked = this.#coverage.check(engine, trainable, step, learningRate);
      const warning = await answer(ranks ? ranks.alike(() => checked) : checked);
      if (warning) onWarning(warning);
      const update: OptimizerStep = {
        kind: optimizerKind(config),
        learningRate,
        beta1: config.adamBeta1,
        beta2: config.adamBeta2,
        eps: config.adamEpsilon,
        weightDecay: config.weightDecay,
        maxGradNorm: config.maxGradNorm,
        learningRateFactors: this.#factors,
      };
      // Not within a token or a batch of somebody else, who would compute with two states of the parameters.
      gradNorm = await exclusively(engine, undefined, () =>
        engine.optimizerStep(trainable, optimizer, lease.own(update)),
      );
    }
    engine.zeroGradients(trainable);
    return { ...made, loss, gradNorm, ...(ranks && { share: { ...shareOf(window), losses } }) };
  }

  /** Loss and gradients of the window; computed again if `meanwhile`, or a reader in it, changed the parameters. */
  async #gradients(
    step: number,
    window: TrainingWindow,
    beside: BesideStep,
    onWarning: (message: string) => void,
  ): Promise<Omit<TakenStep, 'gradNorm'>> {
    const { model, trainable, signal, ranks } = this.#parts;
    for (;;) {
      this.requireSameParameters(step);
      // Those of all ranks are told together.
      const warnings: string[] = [];
      const warn = ranks ? (message: string) => void warnings.push(message) : onWarning;
      const { loss, ...own } = await this.#compute(window, beside, warn);
      const changes = changesOf(trainable);
      try {
        await (ranks ? this.#meanwhile(ranks, step, beside) : beside.meanwhile());
        // Several ranks end together, with their sums queued.
        if (!ranks) signal.throwIfAborted();
        this.requireSameParameters(step);
        const hasChanged = changesOf(trainable) !== changes;
        const described = own.plan === undefined ? {} : { plan: own.plan };
        if (ranks) {
          const joined = await sumGradients(ranks, step, model.engine, trainable, { ...own, hasChanged, warnings });
          for (const message of joined.warnings) onWarning(message);
          if (!joined.hasChanged) {
            this.#hasPlan = true;
            const { flops, sharedTokens } = joined;
            return { loss: loss ?? (async () => 0), flops, sharedTokens, ...described };
          }
        } else if (!hasChanged) {
          this.#hasPlan = true;
          return { loss: loss!, flops: own.flops, sharedTokens: own.sharedTokens, ...described };
        }
      } catch (error) {
        if (loss) discard(loss);
        throw error;
      }
      if (loss) discard(loss);
      model.engine.zeroGradients(trainable);
    }
  }

  /** Where all ranks end the run here, their devices have begun sums. */
  async #meanwhile(ranks: RankExchange, step: number, beside: BesideStep): Promise<void> {
    try {
      await beside.meanwhile();
    } catch (error) {
      const { model, trainable } = this.#parts;
      if (ranks.isAgreed(error)) await sumGradients(ranks, step, model.engine, trainable, NO_GRADIENTS);
      throw error;
    }
  }

  /** Gradients of the batches that are here; without any, as on a rank at the end of an epoch, there is no loss. */
  async #compute(
    { batches, labelCount, dropoutSlots }: TrainingWindow,
    beside: BesideStep,
    onWarning: (message: string) => void,
  ): Promise<{
    readonly loss: Deferred<number> | undefined;
    readonly flops: number | undefined;
    readonly sharedTokens: number;
    readonly plan: string | undefined;
  }> {
    const { model, trainable, config, signal, ranks } = this.#parts;
    if (batches.length === 0) {
      callFinal(ranks?.sum, trainable);
      beside.begin();
      return { loss: undefined, flops: 0, sharedTokens: 0, plan: undefined };
    }
    const { labelSmoothingFactor: labelSmoothing, neftuneNoiseAlpha, sharePrefix, precision } = config;
    const { gradientCheckpointing, memoryBudget, autoMicroBatch } = config;
    const dropoutSeeds = dropoutSlots.map((slot) => counterHash(config.seed, slot));
    const memory = { gradientCheckpointing, memoryBudget, autoMicroBatch };
    let plan: string | undefined;
    let sharedTokens = 0;
    const onPlan: AccumulateOptions['onPlan'] = (passes, describe) => {
      sharedTokens = passes.reduce((sum, pass) => sum + pass.sharedTokens, 0);
      if (!this.#hasPlan) plan = describe();
    };
    const computed = { labelSmoothing, neftuneNoiseAlpha, sharePrefix, precision };
    const options = { labelCount, dropoutSeeds, ...computed, ...memory, signal, onWarning, onPlan };
    const packed = packWindow(model, batches, options);
    const work = forwardBackward(model, packed, options, ranks?.sum);
    this.#leave(work);
    beside.begin();
    const loss = await afterAbort(work, signal, MODEL_GRACE);
    return { loss, flops: model.trainingFlops?.(packed.size), sharedTokens, plan };
  }

  /** @throws TrainingError if the model would compute with another adapter than the one that is trained */
  requireSameParameters(step: number): void {
    if (this.#parts.model.trainable === this.#parts.trainable) return;
    throw new TrainingError(`step ${step}: another adapter became active while this run was training`, {
      hint: 'Call setAdapter after the run. To compute without the adapter meanwhile, use withDisabled between two steps.',
      details: { step },
    });
  }
}

function shareOf({ batches, labelCount, idsByRank }: TrainingWindow): RankShare {
  const own = batches.reduce((sum, batch) => sum + countLabels(batch), 0);
  return { idsByRank, labelShare: own / labelCount };
}

/** A loss that nobody will ask for still holds memory of the engine until it has come. */
function discard(loss: Deferred<number>): void {
  void loss().catch(() => {});
}
