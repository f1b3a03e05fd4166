/** Learning-rate schedules of `transformers.optimization`: the factor of step k, counted from 0. */

export type LrSchedulerType = 'linear' | 'cosine' | 'constant' | 'constant_with_warmup';

/**
 * The factor on the peak learning rate that optimizer step `step` (from 0) uses. With a warm-up the first is 0.
 * @param warmupSteps optimizer steps of the rise from 0 to 1
 * @param totalSteps optimizer steps of the whole run; linear and cosine reach 0 there
 */
export function learningRateFactor(
  type: LrSchedulerType,
  step: number,
  warmupSteps: number,
  totalSteps: number,
): number {
  if (type === 'constant') return 1;
  if (step < warmupSteps) return step / Math.max(1, warmupSteps);
  if (type === 'constant_with_warmup') return 1;
  const length = Math.max(1, totalSteps - warmupSteps);
  if (type === 'linear') return Math.max(0, (totalSteps - step) / length);
  // Half a cosine wave, from 1 to 0.
  return Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (step - warmupSteps)) / length)));
}
