/** A plan of passes in words: passes, recomputation and its cost, and the plan for less memory. */
import type { StorageCosts } from '../engine/engine.js';
import { LESS_MEMORY } from '../engine/reserve.js';
import { formatBytes } from '../messages/format-bytes.js';
import { OPERATIONS_PER_STREAMED_BYTE } from '../model/network/pass-costs.js';
import type { Costs, Misfit, PassPlan } from './pass-plan.js';

interface DescribedPlan {
  readonly plan: PassPlan;
  readonly costs: Costs;
  readonly storage: Pick<StorageCosts, 'streamedBytes' | 'nextStreamedBytes'>;
  /** Bytes available to a pass. */
  readonly freeBytes: number;
  /** The plan for less memory, or why there is none. */
  readonly next: PassPlan | Misfit;
}

/** One line. */
export function describePlan({ plan, costs, storage, freeBytes, next }: DescribedPlan): string {
  const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
  const free = Number.isFinite(freeBytes) ? ` of ${formatBytes(freeBytes)} free` : '';
  const { streamedBytes = 0, nextStreamedBytes = 0 } = storage;
  const parts = [`${chosen(plan, costs)}, at most ${formatBytes(most)} per pass${free}`];
  if (streamedBytes > 0) {
    const copies = 2 * plan.passes.length * streamedBytes * OPERATIONS_PER_STREAMED_BYTE;
    parts.push(
      `${formatBytes(streamedBytes)} of weights are streamed from host memory in each forward and each backward: copies ` +
        `that take about ${percent(copies / computation(plan, costs))} of the time of the computation, and overlap with it`,
    );
  }
  const less = `with ${percent(1 - LESS_MEMORY)} less memory`;
  parts.push('passes' in next ? `${less}: ${chosen(next, costs)}` : `${less}: no plan that the options allow`);
  if (nextStreamedBytes > streamedBytes) {
    parts.push(`a model loaded ${less} would have ${formatBytes(nextStreamedBytes)} of weights streamed`);
  }
  return parts.join('; ');
}

/** `2 passes, up to 12 of 24 vision and 40 of 40 decoder layers recomputed (about 16 % more time)` */
function chosen({ passes }: PassPlan, costs: Costs): string {
  const count = passes.length === 1 ? '1 pass' : `${passes.length} passes`;
  const recomputed = passes.map(({ recompute }) => recompute);
  const vision = Math.max(...recomputed.map((layers) => layers.vision));
  const text = Math.max(...recomputed.map((layers) => layers.text));
  if (vision + text === 0) return `${count}, nothing recomputed`;
  const extra = recomputation(passes, costs);
  const { layers } = costs;
  const hostBytes = Math.max(...passes.map(({ size, recompute }) => costs.hostBytes(size, recompute)));
  const moved = hostBytes > 0 ? `, up to ${formatBytes(hostBytes)} of their inputs offloaded to host memory` : '';
  return (
    `${count}, up to ${vision} of ${layers.vision} vision and ${text} of ${layers.text} decoder layers recomputed${moved} ` +
    `(about ${percent(extra / (computation({ passes }, costs) - extra))} more time)`
  );
}

/** Time of a step's computation, in operations. */
function computation({ passes }: Pick<PassPlan, 'passes'>, costs: Costs): number {
  // Backward through frozen weights takes as long as forward.
  const once = passes.reduce((sum, { size }) => sum + costs.recomputeTime(size, costs.layers), 0);
  return 2 * once + recomputation(passes, costs);
}

/** The part of it that is recomputation. */
function recomputation(passes: PassPlan['passes'], costs: Costs): number {
  return passes.reduce((sum, { size, recompute }) => sum + costs.recomputeTime(size, recompute), 0);
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}
