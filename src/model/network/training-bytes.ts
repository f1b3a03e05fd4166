/** Estimates what training takes beside the weights before there is an adapter, for engines that place weights. */
import type { Engine, TrainingBytes } from '../../engine/engine.js';
import { reserveFor } from '../../engine/reserve.js';
import type { Parameter, Weight } from '../../engine/tensor.js';
import type { LinearModule } from '../linear-module.js';
import type { ModelConfig } from '../model-config.js';
import type { ModelModules } from './modules.js';
import { PassCosts } from './pass-costs.js';

/** Of the usual adapter: on all linear layers, with dropout. */
const RANK = 16;
const DROPOUT = 0.05;
/** Value, gradient, two 8-bit moments, and a copy in the engine's format. */
const PARAMETER_BYTES = 4 + 4 + 2.1 + 2;

/** For each token of a usual sample: patches and features of its image, labels. */
const SHARES = { patches: 2.5, features: 0.625, labels: 0.1 } as const;

/**
 * Bytes of a pass by its tokens, with a usual adapter and every layer recomputed, inputs of layers offloaded or not.
 * @param modules only their shapes are read, the weights need not exist
 */
export function trainingBytes(
  config: ModelConfig,
  modules: ModelModules,
  { storage }: Pick<Engine, 'storage'>,
): TrainingBytes {
  const layers = (of: ModelModules['textLayers']) =>
    of.map((layer) => {
      const { attention, gate, up, down } = layer;
      const { q, k, v, o } = attention;
      return {
        ...layer,
        attention: { q: adapted(q), k: adapted(k), v: adapted(v), o: adapted(o) },
        gate: adapted(gate),
        up: adapted(up),
        down: adapted(down),
      };
    });
  const all: ModelModules = {
    ...modules,
    visionLayers: layers(modules.visionLayers),
    textLayers: layers(modules.textLayers),
    mergingLayer: adapted(modules.mergingLayer),
    linear1: adapted(modules.linear1),
    linear2: adapted(modules.linear2),
    linear: modules.linear.map(adapted),
  };
  const whole = new PassCosts(config, all, storage);
  return (tokens, offloadInputs = false, isHeld) => {
    const here = isHeld && ((weight: Weight): boolean => isHeld(weight.name));
    const costs = here ? new PassCosts(config, all, storage, 'bf16', here) : whole;
    let parameters = 0;
    for (const { weight } of modules.linear) {
      if (here?.(weight) ?? true) parameters += RANK * (weight.shape[0]! + weight.shape[1]!);
    }
    const { patches, features, labels } = SHARES;
    const size = { tokens, patches: patches * tokens, features: features * tokens, labels: Math.ceil(labels * tokens) };
    const pass = costs.peakBytes(size, { ...whole.layers, offloadInputs });
    return PARAMETER_BYTES * parameters + pass + reserveFor(storage, pass);
  };
}

function adapted(module: LinearModule): LinearModule {
  const [out, input] = module.weight.shape as [number, number];
  const parameter = (shape: readonly number[]): Parameter => ({ shape, size: shape[0]! * shape[1]! }) as Parameter;
  const lora = { a: parameter([RANK, input]), b: parameter([out, RANK]), scale: 1, dropout: DROPOUT };
  return { ...module, lora };
}
