/** How the windows of a run go on a card: passes, memory by part, time. */
import type { PackedSize, PackedWindow, WindowSample } from '../batch/packed-window.js';
import { OutOfMemoryError } from '../errors.js';
import type { PassCosts } from '../model/network/pass-costs.js';
import type { PassPlan, PlannedPass } from '../train/pass-plan.js';
import { PassPlanner, type PlannerEngine } from '../train/pass-planner.js';
import type { SftConfig } from '../train/sft-config.js';
import { type Rehearsal, RUNNING_CONTEXT_BYTES } from './rehearsal.js';
import type { MemoryPlan } from './training-plan.js';

type MemoryOptions = Pick<SftConfig, 'gradientCheckpointing' | 'autoMicroBatch' | 'memoryBudget'>;

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

/** Memory of the run at its worst moment, by part. */
export function memoryOf(rehearsal: Rehearsal, { size, recompute, bytes }: PlannedPass): MemoryPlan {
  const { costs, weightBytes, adapterBytes, optimizerBytes, copyBytes } = rehearsal;
  const { headBytes, workspaceBytes } = costs.partsOf(size, recompute);
  const held = weightBytes + adapterBytes + optimizerBytes + copyBytes;
  return {
    weightBytes,
    adapterBytes,
    optimizerBytes,
    activationBytes: Math.round(bytes - headBytes - workspaceBytes),
    headBytes: Math.round(headBytes),
    workspaceBytes: Math.round(workspaceBytes) + copyBytes,
    contextBytes: RUNNING_CONTEXT_BYTES,
    totalBytes: Math.round(held + bytes + RUNNING_CONTEXT_BYTES),
  };
}

/** Whether the error says that something does not fit. */
export function misfitOf(error: unknown): string | undefined {
  return error instanceof OutOfMemoryError ? error.summary : undefined;
}
