/** `precision` of a run, for products with frozen weights: checked against the engine, and prepared once per model. */
import type { Engine } from '../engine/engine.js';
import type { Precision } from '../engine/operations.js';
import { ConfigError } from '../errors.js';
import type { TrainableModel } from './trainable-model.js';

/** Precision that each model was last prepared for. */
const prepared = new WeakMap<TrainableModel, Precision>();

/** @throws ConfigError for a precision that the engine does not support, naming those it does */
export function requirePrecision({ name, description, precisions = [] }: Engine, precision: Precision): void {
  if (precision === 'bf16' || precisions.includes(precision)) return;
  const others = precisions.map((other) => `, "${other}"`).join('');
  throw new ConfigError(`\`precision\` is "${precision}", which the ${name} engine does not support here`, {
    hint:
      `It supports "bf16"${others}: leave \`precision\` out or set it to "bf16". e4m3 products need the cuda engine and a ` +
      'card of compute capability 8.9 or more.',
    details: { precision, engine: description },
  });
}

/**
 * Called before the first window of a run is planned, as the copies that an engine makes for a precision count as memory
 * in use. Does nothing if the model is prepared already.
 */
export function preparePrecision(model: TrainableModel, precision: Precision): void {
  requirePrecision(model.engine, precision);
  if ((prepared.get(model) ?? 'bf16') === precision) return;
  model.preparePrecision?.(precision);
  prepared.set(model, precision);
}
