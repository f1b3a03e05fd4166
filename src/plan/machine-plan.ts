/** A run with the `webgpu` engine on machines that are known by their memory: what fits, and how. Nothing is known of times. */
import type { WebgpuEngineOptions } from '../engine/webgpu/create-webgpu.js';
import type { LoraConfig } from '../lora/lora-config.js';
import type { SftConfig } from '../train/sft-config.js';
import {
  courseOf,
  largestPassOf,
  misfitOf,
  NO_SAMPLE,
  type PlannedRun,
  planUnlimited,
  planWindows,
  recomputationOf,
  type UnlimitedRun,
} from './card-run.js';
import type { PlannedModel } from './counted-model.js';
import type { Machine } from './machines.js';
import type { RunWindows } from './run-windows.js';
import type { CardPlan, FormatPlan, WeightFormat } from './training-plan.js';
import { rehearseOnWebgpu, type WebgpuRehearsal, webgpuWith } from './webgpu-rehearsal.js';

interface WebgpuRun {
  readonly model: PlannedModel;
  readonly lora: LoraConfig;
  readonly config: SftConfig;
  readonly run: RunWindows;
  readonly memoryBudget: number | undefined;
  readonly engine: Pick<WebgpuEngineOptions, 'tokensPerPass' | 'subgroupMatrices'>;
}

/**
 * Plans the run on each machine, with the decoder in each format; a run that does not fit is no error.
 * @throws ConfigError for a precision that the engine does not have; the signal's reason
 */
export async function planOnMachines(
  machines: readonly Machine[],
  formats: readonly WeightFormat[],
  common: WebgpuRun,
  signal?: AbortSignal,
): Promise<PlannedRun> {
  const { model, lora, config, engine } = common;
  const planned: { readonly formats: FormatPlan[]; readonly cards: CardPlan[] } = { formats: [], cards: [] };
  let known: WebgpuRehearsal | undefined;
  let unlimited: UnlimitedRun | undefined;
  for (const format of formats) {
    signal?.throwIfAborted();
    const rehearsal = await rehearseOnWebgpu({ model, lora, config, format, engine, known });
    known ??= rehearsal;
    unlimited = planUnlimited(webgpuWith(rehearsal, undefined, engine), rehearsal, common);
    const { planned: windows } = unlimited;
    const recomputation = windows.length === 0 ? [] : recomputationOf(rehearsal, largestPassOf(windows));
    planned.formats.push({ format, weightBytes: rehearsal.weightBytes, recomputation });
    for (const machine of machines) {
      signal?.throwIfAborted();
      planned.cards.push(planOnMachine(machine, format, rehearsal, common));
    }
  }
  const { flops, sharedTokenShare } = unlimited!;
  return { ...planned, flops, sharedTokenShare, trainableParameters: known!.trainableParameters };
}

function planOnMachine(
  { name, memoryBytes, budgetBytes }: Machine,
  format: WeightFormat,
  rehearsal: WebgpuRehearsal,
  { config, run, memoryBudget = budgetBytes, engine: options }: WebgpuRun,
): CardPlan {
  const budget = Math.min(memoryBudget, config.memoryBudget ?? Number.POSITIVE_INFINITY);
  const what = { card: name, format, cardBytes: memoryBytes, budgetBytes: budget };
  if (run.windows.length === 0) return { ...what, misfit: NO_SAMPLE };
  if (budget > memoryBytes) return { ...what, misfit: 'the memory budget is more than it has' };
  try {
    // SftConfig's budget bounds passes, which the planner sees; the weights know that of the engine alone.
    const engine = webgpuWith(rehearsal, memoryBudget, options);
    const planned = planWindows(engine, rehearsal.costs, run.windows, config);
    return { ...what, run: { ...courseOf(planned, rehearsal), streamedBytes: 0 } };
  } catch (error) {
    const misfit = misfitOf(error);
    if (misfit === undefined) throw error;
    return { ...what, misfit };
  }
}
