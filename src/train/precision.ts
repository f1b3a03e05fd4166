/** The number format of a run's products with frozen weights: whether the engine has it, and what it wants beforehand. */
import type { Engine } from '../engine/engine.js';
import type { Precision } from '../engine/operations.js';
import { ConfigError } from '../errors.js';
import type { TrainableModel } from './trainable-model.js';

/** What models were prepared for. */
const prepared = new WeakMap<TrainableModel, Precision>();

/** @throws ConfigError for a precision that the engine has not, naming those that it has */
export function requirePrecision({ name, description, precisions = [] }: Engine, precision: Precision): void {
  if (precision === 'bf16' || precisions.includes(precision)) return;
  const others = precisions.map((other) => `, "${other}"`).join('');
  throw new ConfigError(`\`precision\` is "${precision}", which the ${name} engine does not have here`, {
    hint:
      `It has "bf16"${others}: leave \`precision\` out or set it to "bf16". e4m3 products need the cuda engine and a ` +
      'card of compute capability 8.9 or more.',
    details: { precision, engine: description },
  });
}

/**
 * Before the first window of a run is planned: what the engine makes for a precision counts as memory in use from then
 * on. Nothing where that has been done.
 */
export function preparePrecision(model: TrainableModel, precision: Precision): void {
  requirePrecision(model.engine, precision);
  if ((prepared.get(model) ?? 'bf16') === precision) return;
  model.preparePrecision?.(precision);
  prepared.set(model, precision);
}
