/** A plan of passes in words: what was chosen, what it costs, and what would be next with less memory. */
import type { StorageCosts } from '../engine/engine.js';
import { formatBytes } from '../messages/format-bytes.js';
import type { Costs, Misfit, PassPlan } from './pass-plan.js';

/** A plan for this share of the memory stands for what would be next. */
export const LESS_MEMORY = 0.85;

interface DescribedPlan {
  readonly plan: PassPlan;
  readonly costs: Costs;
  readonly storage: Pick<StorageCosts, 'streamedBytes'>;
  /** Bytes that a pass may take. */
  readonly freeBytes: number;
  /** The plan for less memory, or what is in its way. */
  readonly next: PassPlan | Misfit;
}

/** One line. */
export function describePlan({ plan, costs, storage, freeBytes, next }: DescribedPlan): string {
  const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
  const free = Number.isFinite(freeBytes) ? ` of the ${formatBytes(freeBytes)} that are free` : '';
  const { streamedBytes = 0 } = storage;
  const parts = [`${chosen(plan, costs)}, each within ${formatBytes(most)}${free}`];
  if (streamedBytes > 0) {
    parts.push(`${formatBytes(streamedBytes)} of layers come from host memory, forward and backward of each pass`);
  }
  const less = `with ${Math.round(100 * (1 - LESS_MEMORY))} % less`;
  parts.push('passes' in next ? `${less}: ${chosen(next, costs)}` : `${less} nothing that the options allow would fit`);
  return parts.join('; ');
}

/** `2 passes, up to 12 of 24 vision and 40 of 40 decoder layers recomputed (16 % more time)` */
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
  const moved = hostBytes > 0 ? `, up to ${formatBytes(hostBytes)} of their inputs in host memory` : '';
  return (
    `${count}, up to ${vision} of ${layers.vision} vision and ${text} of ${layers.text} decoder layers recomputed${moved} ` +
    `(about ${Math.round((100 * extra) / whole)} % more time)`
  );
}
