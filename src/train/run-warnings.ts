/** What in a configuration has another effect than it seems to, reported at the start of a run. */
import type { Sampler } from './sampler.js';
import { scheduleWarnings } from './schedule.js';
import { scheduleOf } from './schedule-config.js';
import { type SftConfig, scheduleRun } from './sft-config.js';

/** One line for each; none for a configuration without doubts. */
export function runWarnings(config: SftConfig, sampler: Sampler): string[] {
  const { totalSteps } = sampler;
  const warnings = scheduleWarnings(scheduleOf(config), scheduleRun(config, totalSteps));
  if (config.warmupRatio > 0) {
    warnings.push(`\`warmupRatio\` is the older name: write \`warmupSteps: ${config.warmupRatio}\`, a share below 1`);
  }
  const byEpoch = config.evalStrategy === 'epoch';
  const end = byEpoch ? sampler.place(totalSteps - 1).epochAfter : totalSteps;
  if (config.evalDelay > end) {
    const length = `${Number(end.toFixed(2))} ${byEpoch ? 'epochs' : 'steps'}`;
    warnings.push(`the run has ${length} and \`evalDelay\` is ${config.evalDelay}: nothing is ever evaluated`);
  }
  return warnings;
}
