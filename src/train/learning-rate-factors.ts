/** Learning rates that differ between the parameters of a set. */
import type { ParameterSet } from '../engine/tensor.js';
import { ConfigError } from '../errors.js';

/** LoRA+ (Hayou et al. 2024), after PEFT's `create_loraplus_optimizer`: `lora_B` as a word of a tensor's name. */
const LORA_B = /(^|\.)lora_B(\.|$)/;

/**
 * What each parameter multiplies the learning rate with, in the order of the set; undefined if all have the same rate.
 * @throws ConfigError if a ratio is asked for and no parameter is a B
 */
export function learningRateFactors(set: ParameterSet, ratio: number): readonly number[] | undefined {
  if (ratio === 1) return undefined;
  const isB = set.parameters.map(({ name }) => LORA_B.test(name));
  if (isB.includes(true)) return isB.map((b) => (b ? ratio : 1));
  throw new ConfigError(`\`loraplusLrRatio\` is ${ratio}, but no trainable parameter is a lora_B`, {
    details: { ratio, first: set.parameters.slice(0, 3).map(({ name }) => name) },
  });
}
