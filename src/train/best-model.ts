/** Which evaluation was the best so far, and whether it is time to stop: as in `transformers.Trainer`. */
import { ConfigError, TrainingError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import type { EvalResult } from './evaluate-loss.js';
import type { SftConfig } from './sft-config.js';

interface Judge {
  /** `evalLoss`, or a name that `computeMetrics` gives. */
  readonly metric: string;
  readonly greaterIsBetter: boolean;
}

/** The best step of a run. */
export interface BestModel {
  /** `evalLoss`, or a name that `computeMetrics` gives. */
  readonly metric: string;
  /** The metric there. */
  readonly value: number;
  /** Optimizer steps done then. */
  readonly step: number;
  /** Its folder; undefined as long as it could not be saved, or was damaged since: its parameters are kept in memory. */
  readonly checkpoint: string | undefined;
}

/** An evaluated step, as a checkpoint names it. */
export interface BestStep {
  /** Optimizer steps done then. */
  readonly step: number;
  /** The metric there. */
  readonly value: number;
  /** Its folder, if it was saved. */
  readonly checkpoint?: string | undefined;
}

/** As a checkpoint keeps it. */
export interface BestModelState extends Judge {
  readonly best?: BestStep | undefined;
  /** The best of those that were saved, where the best of all may not have been. */
  readonly saved?: BestStep | undefined;
  /** The best value of all, that of a step without a checkpoint included. */
  readonly bestValue?: number | undefined;
  /** Evaluations since the last gain of more than `earlyStoppingThreshold`. */
  readonly withoutGain: number;
}

/** Words of metrics of which less is better. `loss` decides only at the end of a name, as in transformers. */
const LESS_IS_BETTER: ReadonlySet<string> = new Set(
  'loss losses error errors err cost costs risk perplexity ppl nll brier distance mae mse rmse mape wer cer ece mce invalid'.split(
    ' ',
  ),
);

/**
 * What a configuration compares evaluations by; undefined if nothing in it asks for that.
 * @throws ConfigError for a name such as `errorRate` without `greaterIsBetter`: the worst step would be kept as the best
 */
export function judgeOf(config: SftConfig): Judge | undefined {
  const { loadBestModelAtEnd, metricForBestModel, earlyStoppingPatience, saveStrategy, greaterIsBetter } = config;
  const isAsked = loadBestModelAtEnd || earlyStoppingPatience !== undefined || saveStrategy === 'best';
  if (!isAsked && metricForBestModel === undefined) return undefined;
  const isLoss =
    metricForBestModel === undefined || metricForBestModel === 'loss' || metricForBestModel === 'eval_loss';
  const metric = isLoss ? 'evalLoss' : metricForBestModel;
  const isNamedLoss = metric.toLowerCase().endsWith('loss');
  if (greaterIsBetter === undefined && !isNamedLoss && wordsOf(metric).some((word) => LESS_IS_BETTER.has(word))) {
    throw new ConfigError(`\`metricForBestModel\` is ${showValue(metric)}: expected \`greaterIsBetter\` beside it`, {
      hint: 'Write `greaterIsBetter: false` if less is better, else true. Only names that end in "loss" say it themselves.',
    });
  }
  return { metric, greaterIsBetter: greaterIsBetter ?? !isNamedLoss };
}

/** Lower-case words of a name in camelCase, snake_case or with dashes. */
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/);
}

export class BestModelTracker {
  readonly #judge: Judge;
  readonly #patience: number;
  readonly #threshold: number;
  #state: BestModelState;
  #before: BestModelState;

  constructor(judge: Judge, config: SftConfig, restored?: BestModelState) {
    this.#judge = judge;
    this.#patience = config.earlyStoppingPatience ?? Number.POSITIVE_INFINITY;
    this.#threshold = config.earlyStoppingThreshold;
    this.#state = restored ?? { ...judge, withoutGain: 0 };
    this.#before = this.#state;
  }

  get state(): BestModelState {
    return this.#state;
  }

  /** Takes up what another rank has found. */
  take(state: BestModelState): void {
    this.#state = state;
    this.#before = state;
  }

  get best(): BestModel | undefined {
    const { best } = this.#state;
    return best && { metric: this.#judge.metric, value: best.value, step: best.step, checkpoint: best.checkpoint };
  }

  /** As many evaluations in a row as `earlyStoppingPatience` allows have brought no gain. */
  get isExhausted(): boolean {
    return this.#state.withoutGain >= this.#patience;
  }

  /**
   * Takes in an evaluation.
   * @param checkpoint where the step is saved if it is the best
   * @returns whether it is the best of those that are kept, and is to be saved
   * @throws TrainingError if the evaluation has no such metric
   */
  judge(step: number, checkpoint: string, result: EvalResult): boolean {
    const value = this.#valueOf(result);
    const { best, saved, bestValue, withoutGain } = this.#state;
    const isNumber = Number.isFinite(value);
    const isFirst = isNumber && bestValue === undefined;
    // An infinite value is no gain: JSON, of which checkpoints are, could not keep it.
    const isBetter = isFirst || (isNumber && bestValue !== undefined && this.#isBetter(value, bestValue));
    const hasGain = isFirst || (isBetter && Math.abs(value - bestValue!) > this.#threshold);
    const isBest = isNumber && (best === undefined || this.#isBetter(value, best.value));
    this.#before = this.#state;
    // What was saved before stays known until this one is.
    const lastSaved = isBest && best?.checkpoint !== undefined ? best : saved;
    this.#state = {
      ...this.#judge,
      best: isBest ? { step, value, checkpoint } : best,
      ...(lastSaved && { saved: lastSaved }),
      bestValue: isBetter ? value : bestValue,
      withoutGain: hasGain ? 0 : withoutGain + 1,
    };
    return isBest;
  }

  /** The step judged last was not saved. @param isKept its parameters are in memory, so it stays the best */
  unsaved(isKept: boolean): void {
    if (isKept) this.moved(undefined);
    else this.#set(this.#before);
  }

  /** The best step's checkpoint is here now; undefined: it is nowhere, its parameters are in memory. */
  moved(checkpoint: string | undefined): void {
    const { best, saved } = this.#state;
    if (!best) return;
    const { step, value } = best;
    if (checkpoint === undefined) this.#set({ best: { step, value }, saved });
    else this.#set({ best: { step, value, checkpoint } });
  }

  /** The best step is gone: another takes its place, or none. */
  lost(instead: BestStep | undefined): void {
    this.#set({ best: instead });
  }

  #set({ best, saved }: Pick<BestModelState, 'best' | 'saved'>): void {
    const { best: _best, saved: _saved, ...others } = this.#state;
    this.#state = { ...others, ...(best && { best }), ...(saved && { saved }) };
  }

  #isBetter(value: number, than: number): boolean {
    return this.#judge.greaterIsBetter ? value > than : value < than;
  }

  #valueOf({ evalLoss, metrics }: EvalResult): number {
    const { metric } = this.#judge;
    // As in transformers the prefix is optional.
    const name = [metric, metric.replace(/^eval_/, ''), `eval_${metric}`].find((key) =>
      Object.hasOwn(metrics ?? {}, key),
    );
    const value = metric === 'evalLoss' ? evalLoss : metrics?.[name ?? metric];
    if (value !== undefined) return value;
    const known = ['evalLoss', ...Object.keys(metrics ?? {})];
    throw new TrainingError(`\`metricForBestModel\`: the evaluation has no "${metric}"; it has ${known.join(', ')}`, {
      hint: 'Other metrics than the loss are what `computeMetrics` returns.',
      details: { metric, known },
    });
  }
}
