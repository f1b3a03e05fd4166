/** A plan of passes in words: passes, recomputation and its cost, and the plan for less memory. */
import type { StorageCosts } from '../engine/engine.js';
import { formatBytes } from '../messages/format-bytes.js';
import type { Costs, Misfit, PassPlan } from './pass-plan.js';

/** Share of the memory for which the next smaller plan is described. */
export const LESS_MEMORY = 0.85;

interface DescribedPlan {
  readonly plan: PassPlan;
  readonly costs: Costs;
  readonly storage: Pick<StorageCosts, 'streamedBytes'>;
  /** Bytes available to a pass. */
  readonly freeBytes: number;
  /** The plan for less memory, or why there is none. */
  readonly next: PassPlan | Misfit;
}

/** One line. */
export function describePlan({ plan, costs, storage, freeBytes, next }: DescribedPlan): string {
  const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
  const free = Number.isFinite(freeBytes) ? ` of ${formatBytes(freeBytes)} free` : '';
  const { streamedBytes = 0 } = storage;
  const parts = [`${chosen(plan, costs)}, at most ${formatBytes(most)} per pass${free}`];
  if (streamedBytes > 0) {
    parts.push(
      `${formatBytes(streamedBytes)} of weights are streamed from host memory in each forward and each backward`,
    );
  }
  const less = `with ${Math.round(100 * (1 - LESS_MEMORY))} % less memory`;
  parts.push('passes' in next ? `${less}: ${chosen(next, costs)}` : `${less}: no plan that the options allow`);
  return parts.join('; ');
}

/** `2 passes, up to 12 of 24 vision and 40 of 40 decoder layers recomputed (about 16 % more time)` */
function chosen({ passes }: PassPlan, costs: Costs): string {
  const count = passes.length === 1 ? '1 pass' : `${passes.length} passes`;
  const recomputed = passes.map(({ recompute }) => recompute);
  const vision = Math.max(...recomputed.map((layers) => layers.vision));
  const text = Math.max(...recomputed.map((layers) => layers.text));
  if (vision + text === 0) return `${count}, nothing recomputed`;
  const extra = passes.reduce((sum, { size, recompute }) => sum + costs.recomputeTime(size, recompute), 0);
  // Backward through frozen weights takes as long as forward.
  const whole = 2 * passes.reduce((sum, { size }) => sum + costs.recomputeTime(size, costs.layers), 0);
  const { layers } = costs;
  const hostBytes = Math.max(...passes.map(({ size, recompute }) => costs.hostBytes(size, recompute)));
  const moved = hostBytes > 0 ? `, up to ${formatBytes(hostBytes)} of their inputs offloaded to host memory` : '';
  return (
    `${count}, up to ${vision} of ${layers.vision} vision and ${text} of ${layers.text} decoder layers recomputed${moved} ` +
    `(about ${Math.round((100 * extra) / whole)} % more time)`
  );
}
