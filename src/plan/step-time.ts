/**
 * Time of a run on a card: what its passes compute and move, by the card's data sheet and the shares of it that were
 * measured. See docs/planning.md for what was measured where.
 */
import type { StorageCosts } from '../engine/engine.js';
import type { Precision } from '../engine/operations.js';
import type { ModelConfig } from '../model/model-config.js';
import type { PassCosts } from '../model/network/pass-costs.js';
import type { PlannedPass } from '../train/pass-plan.js';
import type { PlannedWindow } from './card-run.js';
import type { Card } from './cards.js';
import type { WeightFormat } from './training-plan.js';

/**
 * Shares of what a data sheet promises, fitted to 21 measured runs of 3B, 8B and 14B on an H200 (docs/performance.md):
 * bf16, e4m3 and NF4 weights, bf16 and e4m3 products, with and without budgets. Each of them is met within 12 %.
 */
const SHARES = {
  /** Of bf16 products: the decoder's, and those of the vision tower, which are small. */
  text: 0.61,
  vision: 0.223,
  /** Of e4m3 products, with quantising. */
  fp8: 0.526,
  /** Of attention, by the rate of bf16 products. */
  attention: 0.35,
  /** Of the bandwidth of the memory, where layers write and read what they keep. */
  memory: 0.77,
  /** The same where held weights are widened. */
  widening: 0.4,
  /** Of the bandwidth from the host. */
  host: 0.82,
} as const;

/** What layers keep is written and read. */
const TIMES_MOVED = 2;
/** Copies from the host and computation overlap, but for this share of the shorter where both take as long. */
const UNHIDDEN = 0.25;
/** Bytes for each value of a held weight that is widened: read packed, written as bf16, in both directions. */
const WIDENED_BYTES: Readonly<Record<WeightFormat, number>> = { bf16: 0, fp8: 3, nf4: 2.5 };
/**
 * Seconds in which the host queues a pass and each layer of it, which a small model waits for: the example's own trains in
 * 9.7 ms a step on an H200 without the wait for data.
 */
const QUEUEING = { pass: 0.004, layer: 0.0014 } as const;
/** Backward of attention by its forward. */
const ATTENTION_BACKWARD = 2.5;

export interface TimedRun {
  readonly card: Card;
  readonly format: WeightFormat;
  readonly precision: Precision;
  readonly model: ModelConfig;
  readonly costs: PassCosts;
  readonly storage: StorageCosts;
  /** All weights, in host memory too: a pass reads each of them, forward and backward, however few its tokens. */
  readonly weightBytes: number;
  /** Values of the matrices that are held in `format`. */
  readonly heldValues: number;
  /** Σ (patches of an image)² over Σ (patches of a sample)²: below 1 where samples have several images. */
  readonly imageShare: number;
}

/** Seconds of the computation of these windows, and those of their copies from the host. */
export function secondsOf(windows: readonly PlannedWindow[], run: TimedRun): number {
  let seconds = 0;
  for (const { plan } of windows) {
    for (const pass of plan.passes) seconds += secondsOfPass(pass, run);
  }
  return seconds;
}

/** Seconds of the computation alone: by what is recomputed, for comparisons. */
export function computationSeconds(pass: Pick<PlannedPass, 'samples' | 'size' | 'recompute'>, run: TimedRun): number {
  const { card, costs, format, precision, heldValues } = run;
  const { size, recompute } = pass;
  const { textOperations, visionOperations, savedBytes } = costs.workOf(size, recompute);
  const bf16 = 1e12 * card.bf16Tflops * SHARES.text;
  const fp8 = 1e12 * (card.fp8Tflops ?? card.bf16Tflops) * SHARES.fp8;
  const rates = { bf16: [bf16, bf16], 'fp8-backward': [bf16, fp8], fp8: [fp8, fp8] } as const;
  const [forward, backward] = rates[precision];
  const text = textOperations / 2 / forward + textOperations / 2 / backward;
  const vision = visionOperations / (1e12 * card.bf16Tflops * SHARES.vision);
  const moved = (TIMES_MOVED * savedBytes) / (1e9 * card.memoryGbs * SHARES.memory);
  const share = costs.layers.text === 0 ? 0 : recompute.text / costs.layers.text;
  const widened = ((2 + share) * WIDENED_BYTES[format] * heldValues) / (1e9 * card.memoryGbs * SHARES.widening);
  const attention = attentionOperations(pass, run) / (1e12 * card.bf16Tflops * SHARES.attention);
  const read = ((2 + share) * run.weightBytes) / (1e9 * card.memoryGbs * SHARES.memory);
  return Math.max(text + vision, read) + moved + widened + attention;
}

/** Seconds of a pass with its copies from the host. */
export function secondsOfPass(pass: PlannedPass, run: TimedRun): number {
  const { card, costs, storage } = run;
  const queueing = QUEUEING.pass + QUEUEING.layer * (costs.layers.text + costs.layers.vision);
  const computation = Math.max(computationSeconds(pass, run), queueing);
  const offloaded = costs.hostBytes(pass.size, pass.recompute);
  const copies = (2 * ((storage.streamedBytes ?? 0) + offloaded)) / (1e9 * card.hostGbs * SHARES.host);
  const [shorter, longer] = computation < copies ? [computation, copies] : [copies, computation];
  return longer + UNHIDDEN * shorter * (shorter / longer) ** 2;
}

/** Of the scores and their products with the values: these grow with the square of the length. */
function attentionOperations(
  { samples, recompute }: Pick<PlannedPass, 'samples' | 'recompute'>,
  { model: { text, vision, visionFeatureLayer }, imageShare }: TimedRun,
): number {
  let operations = 0;
  for (const { size } of samples) {
    // Causal: half of the square.
    const onText = 2 * text.heads * text.headDim * size.tokens ** 2;
    const onVision = 4 * vision.hiddenSize * imageShare * size.patches ** 2;
    operations += onText * ((1 + ATTENTION_BACKWARD) * text.layers + recompute.text);
    operations += onVision * ((1 + ATTENTION_BACKWARD) * visionFeatureLayer + recompute.vision);
  }
  return operations;
}
