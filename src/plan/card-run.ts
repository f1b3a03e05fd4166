/** How the windows of a run go on a card: passes, and memory by part. */
import type { PackedSize, PackedWindow, WindowSample } from '../batch/packed-window.js';
import { OutOfMemoryError } from '../errors.js';
import type { ModelConfig } from '../model/model-config.js';
import type { ModelModules } from '../model/network/modules.js';
import { type PassCosts, trainingFlops } from '../model/network/pass-costs.js';
import type { PassPlan, PlannedPass } from '../train/pass-plan.js';
import { PassPlanner, type PlannerEngine } from '../train/pass-planner.js';
import type { SftConfig } from '../train/sft-config.js';
import type { RunWindows } from './run-windows.js';
import type { CardPlan, CardRun, FormatPlan, MemoryPlan, RecomputationPlan } from './training-plan.js';

type MemoryOptions = Pick<SftConfig, 'gradientCheckpointing' | 'autoMicroBatch' | 'memoryBudget'>;

/** A model with its adapter and optimizer on a card: what holds memory between passes. */
export interface HeldParts {
  readonly modules: ModelModules;
  readonly costs: PassCosts;
  readonly weightBytes: number;
  readonly adapterBytes: number;
  readonly optimizerBytes: number;
  /** Copies of weights for e4m3 products. */
  readonly copyBytes: number;
  /** Of the driver and the code, during a run. */
  readonly contextBytes: number;
  readonly trainableParameters: number;
}

/** Bytes of a device on which memory is no matter: more than any model takes. */
export const ROOMY_BYTES = 2 ** 41;
/** Why there is no run where nothing can be learned from. */
export const NO_SAMPLE = 'no sample is left to train on';

/** A window with its passes. */
export interface PlannedWindow {
  readonly window: PackedWindow;
  readonly plan: PassPlan;
}

/**
 * Plans windows as the trainer does on that card.
 * @throws OutOfMemoryError if a window does not fit
 */
export function planWindows(
  engine: PlannerEngine,
  costs: PassCosts,
  windows: readonly PackedWindow[],
  options: MemoryOptions,
): PlannedWindow[] {
  const planner = new PassPlanner(engine);
  return windows.map((window) => {
    const sizeOf = (samples: readonly WindowSample[]): PackedSize => window.sizeOf(samples);
    return { window, plan: planner.plan(window.samples, costs, { ...options, sizeOf }) };
  });
}

/** The pass that takes the most memory. */
export function largestPassOf(planned: readonly PlannedWindow[]): PlannedPass {
  return planned.flatMap(({ plan }) => plan.passes).reduce((most, pass) => (pass.bytes > most.bytes ? pass : most));
}

/** A run on each card, with each format. */
export interface PlannedRun extends Omit<UnlimitedRun, 'planned'> {
  readonly formats: readonly FormatPlan[];
  readonly cards: readonly CardPlan[];
  readonly trainableParameters: number;
}

/** A run as if memory were no matter: what it computes. */
export interface UnlimitedRun {
  readonly planned: readonly PlannedWindow[];
  /** Of the run. */
  readonly flops: number;
  readonly sharedTokenShare: number;
}

/** Plans the run on an engine whose memory has no limit. */
export function planUnlimited(
  engine: PlannerEngine,
  { costs, modules }: HeldParts,
  { run, config, model }: { run: RunWindows; config: SftConfig; model: { readonly config: ModelConfig } },
): UnlimitedRun {
  const planned = planWindows(engine, costs, run.windows, {
    gradientCheckpointing: config.gradientCheckpointing,
    autoMicroBatch: config.autoMicroBatch,
  });
  const evenly = planned.slice(0, run.representative);
  const passes = evenly.flatMap(({ plan }) => plan.passes);
  const flops = passes.reduce((sum, { size }) => sum + trainingFlops(model.config, modules, size), 0);
  const tokens = evenly.reduce((sum, { window }) => sum + window.size.tokens, 0);
  const computed = passes.reduce((sum, { size }) => sum + size.tokens, 0);
  return {
    planned,
    flops: tokens === 0 ? 0 : (flops * run.tokens) / tokens,
    sharedTokenShare: tokens === 0 ? 0 : 1 - computed / tokens,
  };
}

/** Passes and memory of a run whose windows are planned. */
export function courseOf(
  planned: readonly PlannedWindow[],
  parts: HeldParts,
): Pick<CardRun, 'memory' | 'passes' | 'microBatchSize' | 'recomputedLayers' | 'offloadsInputs'> {
  const all = planned.flatMap(({ plan }) => plan.passes);
  const most = (value: (pass: PlannedPass) => number): number =>
    all.reduce((max, pass) => Math.max(max, value(pass)), 0);
  return {
    memory: memoryOf(parts, largestPassOf(planned)),
    passes: planned.reduce((max, { plan }) => Math.max(max, plan.passes.length), 0),
    microBatchSize: planned.reduce((least, { plan }) => Math.min(least, plan.microBatchSize), Number.POSITIVE_INFINITY),
    recomputedLayers: {
      vision: most(({ recompute }) => recompute.vision),
      text: most(({ recompute }) => recompute.text),
    },
    offloadsInputs: all.some(({ recompute }) => recompute.offloadInputs === true),
  };
}

/** Memory of the run at its worst moment, by part. */
export function memoryOf(parts: Omit<HeldParts, 'modules'>, { size, recompute, bytes }: PlannedPass): MemoryPlan {
  const { costs, weightBytes, adapterBytes, optimizerBytes, copyBytes, contextBytes } = parts;
  const { headBytes, workspaceBytes } = costs.partsOf(size, recompute);
  const held = weightBytes + adapterBytes + optimizerBytes + copyBytes;
  return {
    weightBytes,
    adapterBytes,
    optimizerBytes,
    activationBytes: Math.round(bytes - headBytes - workspaceBytes),
    headBytes: Math.round(headBytes),
    workspaceBytes: Math.round(workspaceBytes) + copyBytes,
    contextBytes,
    totalBytes: Math.round(held + bytes + contextBytes),
  };
}

/**
 * What the pass takes by what is recomputed, most first.
 * @param relativeTime of the same pass, by that without recomputation; undefined where inputs stay on the device and no
 *   time is known
 */
export function recomputationOf(
  parts: HeldParts,
  pass: PlannedPass,
  relativeTime?: (pass: PlannedPass) => number,
): RecomputationPlan[] {
  const { costs } = parts;
  const { vision, text } = costs.layers;
  const ways = [
    ['nothing', { vision: 0, text: 0 }],
    ['vision tower', { vision, text: 0 }],
    ['decoder', { vision: 0, text }],
    ['everything', { vision, text }],
    ...(relativeTime ? ([['everything, inputs in host memory', { vision, text, offloadInputs: true }]] as const) : []),
  ] as const;
  return ways.map(([name, recompute]) => {
    const way = { ...pass, recompute, bytes: costs.peakBytes(pass.size, recompute) };
    const { activationBytes, totalBytes } = memoryOf(parts, way);
    return {
      recompute: name,
      activationBytes,
      totalBytes,
      ...(relativeTime && { relativeTime: relativeTime(way) }),
    };
  });
}

/** Whether the error says that something does not fit. */
export function misfitOf(error: unknown): string | undefined {
  return error instanceof OutOfMemoryError ? error.summary : undefined;
}
