/** A run on a card, with the decoder's weights in one format. */
import type { PackedBatch } from '../batch/packed-batch.js';
import type { CudaEngineOptions } from '../engine/cuda/cuda-options.js';
import type { StorageCosts } from '../engine/engine.js';
import { ConfigError, EngineError } from '../errors.js';
import { sizeOf } from '../formats/weight-source.js';
import type { LoraConfig } from '../lora/lora-config.js';
import { modulesOf } from '../model/network/modules.js';
import type { PlannedPass } from '../train/pass-plan.js';
import type { PlannerEngine } from '../train/pass-planner.js';
import type { SftConfig } from '../train/sft-config.js';
import {
  courseOf,
  largestPassOf,
  misfitOf,
  NO_SAMPLE,
  type PlannedRun,
  planUnlimited,
  planWindows,
  ROOMY_BYTES,
  recomputationOf,
  type UnlimitedRun,
} from './card-run.js';
import { type Card, cardNamed, MEASURED_CARD } from './cards.js';
import type { PlannedModel } from './counted-model.js';
import { onSeveral } from './data-parallel.js';
import type { DealtWindows } from './dealt-windows.js';
import { type Link, linkOf } from './links.js';
import { asLoaded, onCard, type Rehearsal, rehearse } from './rehearsal.js';
import type { RunWindows } from './run-windows.js';
import { computationSeconds, secondsOf, type TimedRun } from './step-time.js';
import type { CardPlan, CardRun, FormatPlan, RecomputationPlan, RunTimes, WeightFormat } from './training-plan.js';

/** What all cards and formats of a plan have in common. */
export interface CommonParts {
  readonly model: PlannedModel;
  readonly lora: LoraConfig;
  readonly config: SftConfig;
  readonly engine: Omit<CudaEngineOptions, 'device' | 'memoryBudget'>;
  readonly memoryBudget: number | undefined;
  readonly run: RunWindows;
  readonly imageShare: number;
  readonly parallel?: ParallelParts | undefined;
}

/** Several cards, where they were asked for. */
interface ParallelParts {
  readonly dealt: readonly DealtWindows[];
  /** Default: what links the cards in a machine. */
  readonly link: Link | undefined;
  readonly pricePerHour: number | undefined;
}

/** A format on a card without a limit: what the plans on real cards are compared with. */
interface RehearsedFormat {
  readonly format: WeightFormat;
  readonly plan: FormatPlan;
  readonly rehearsal: Rehearsal;
  readonly unlimited: UnlimitedRun;
}

/**
 * Plans the run on each card, with the decoder in each format.
 * @throws the signal's reason
 */
export async function planOnCards(
  cards: readonly Card[],
  formats: readonly WeightFormat[],
  common: CommonParts,
  signal?: AbortSignal,
): Promise<PlannedRun> {
  const planned: { readonly formats: FormatPlan[]; readonly cards: CardPlan[] } = { formats: [], cards: [] };
  let known: Rehearsal | undefined;
  let last: RehearsedFormat | undefined;
  for (const format of formats) {
    signal?.throwIfAborted();
    const first = await rehearseFormat(format, common, known);
    last = first;
    known ??= first.rehearsal;
    planned.formats.push(first.plan);
    for (const card of cards) {
      signal?.throwIfAborted();
      planned.cards.push(await planOnCard(first, card, common));
    }
    await first.rehearsal.engine.dispose();
  }
  const { flops, sharedTokenShare } = last!.unlimited;
  return { ...planned, flops, sharedTokenShare, trainableParameters: last!.rehearsal.trainableParameters };
}

/** Plans the run as if memory were no matter. @param known of another format, with the same adapter */
async function rehearseFormat(format: WeightFormat, common: CommonParts, known?: Rehearsal): Promise<RehearsedFormat> {
  const { model, lora, config, engine } = common;
  const card = { ...cardNamed(MEASURED_CARD, 'plan'), memoryBytes: ROOMY_BYTES };
  const rehearsal = await rehearse({ model, lora, config, format, engine, card, known });
  const unlimited = planUnlimited(asLoaded(rehearsal), rehearsal, common);
  const { planned } = unlimited;
  return {
    format,
    rehearsal,
    unlimited,
    plan: {
      format,
      weightBytes: rehearsal.weightBytes,
      recomputation:
        planned.length === 0 ? [] : waysOf(rehearsal, largestPassOf(planned), timed(format, card, rehearsal, common)),
    },
  };
}

/** Plans the run on a card; a run that does not fit is no error. */
async function planOnCard(first: RehearsedFormat, card: Card, common: CommonParts): Promise<CardPlan> {
  const { model, lora, config, engine, memoryBudget } = common;
  const { format } = first;
  const budget = Math.min(memoryBudget ?? card.memoryBytes, config.memoryBudget ?? card.memoryBytes);
  const what = {
    card: card.name,
    format,
    cardBytes: card.memoryBytes,
    ...(budget >= card.memoryBytes ? {} : { budgetBytes: budget }),
  };
  if (common.run.windows.length === 0) return { ...what, misfit: NO_SAMPLE };
  let own: Rehearsal | undefined;
  try {
    const same = onCard(first.rehearsal, card, memoryBudget);
    if (!same)
      own = await rehearse({ model, lora, config, format, engine, card, memoryBudget, known: first.rehearsal });
    const rehearsal = own ?? first.rehearsal;
    return { ...what, run: runOn(card, format, rehearsal, same ?? asLoaded(rehearsal), common) };
  } catch (error) {
    const isUnsupported = error instanceof EngineError || error instanceof ConfigError;
    const misfit = misfitOf(error) ?? (isUnsupported ? error.summary : undefined);
    if (misfit === undefined) throw error;
    return { ...what, misfit };
  } finally {
    await own?.engine.dispose();
  }
}

function runOn(
  card: Card,
  format: WeightFormat,
  rehearsal: Rehearsal,
  engine: PlannerEngine,
  common: CommonParts,
): CardRun {
  const { config, run } = common;
  const planned = planWindows(engine, rehearsal.costs, run.windows, config);
  const evenly = planned.slice(0, run.representative);
  const time = timed(format, card, { ...rehearsal, storage: engine.storage }, common);
  const seconds = secondsOf(evenly, time);
  const tokens = evenly.reduce((sum, { window }) => sum + window.size.tokens, 0);
  const total = tokens === 0 ? 0 : (seconds * run.tokens) / tokens;
  const single: CardRun & RunTimes = {
    ...courseOf(planned, rehearsal),
    streamedBytes: engine.storage.streamedBytes ?? 0,
    samplesPerSecond: total === 0 ? 0 : run.samples / total,
    tokensPerSecond: total === 0 ? 0 : run.tokens / total,
    seconds: total,
    basis: card.name === MEASURED_CARD ? 'measured' : 'estimated',
  };
  if (!common.parallel || total === 0) return single;
  const { dealt, link = linkOf(card), pricePerHour } = common.parallel;
  const { costs, trainableParameters } = rehearsal;
  const several = { engine, costs, config, timed: time, trainableParameters, single, pricePerHour };
  return { ...single, dataParallel: dealt.map((windows) => onSeveral(windows, link, several)) };
}

function timed(
  format: WeightFormat,
  card: Card,
  { costs, modules, engine, weightBytes, storage = engine.storage }: Rehearsal & { readonly storage?: StorageCosts },
  { config, model, imageShare }: CommonParts,
): TimedRun {
  const held = modules.textLayers.flatMap(modulesOf).filter(({ weight }) => weight.held !== undefined);
  return {
    card,
    format,
    precision: config.precision,
    model: model.config,
    costs,
    storage,
    weightBytes: weightBytes + (storage.streamedBytes ?? 0),
    heldValues: held.reduce((sum, { weight }) => sum + sizeOf(weight.shape), 0),
    imageShare,
  };
}

/** What the pass takes, and how long, by what is recomputed. */
function waysOf(rehearsal: Rehearsal, pass: PlannedPass, run: TimedRun): RecomputationPlan[] {
  const seconds = (recompute: PlannedPass['recompute']): number => computationSeconds({ ...pass, recompute }, run);
  const shortest = seconds({ vision: 0, text: 0 });
  return recomputationOf(rehearsal, pass, ({ recompute }) => seconds(recompute) / shortest);
}

/** Σ (patches of an image)² over Σ (patches of a sample)²; 1 without images. */
export function imageShareOf(packed: readonly (PackedBatch | undefined)[]): number {
  let [images, samples] = [0, 0];
  for (const sample of packed) {
    const starts = sample?.images?.starts;
    if (!starts) continue;
    samples += starts.at(-1)! ** 2;
    for (let n = 1; n < starts.length; n++) images += (starts[n]! - starts[n - 1]!) ** 2;
  }
  return samples === 0 ? 1 : images / samples;
}
