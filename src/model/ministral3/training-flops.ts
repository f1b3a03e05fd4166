/**
 * Operations that a training step asks of the model: the "4N" count. For each frozen weight of a linear layer and each
 * row that it is multiplied with, 2 operations forward and 2 for the gradient of the row, the latter only where one
 * flows. Rows: tokens in the decoder, patches in the vision layers that run, merged patches in the projector, labelled
 * rows in the head. Attention, norms, adapters and recomputation are left out.
 */
import type { PackedSize } from '../../batch/packed-window.js';
import type { LinearModule } from '../linear-module.js';
import type { Ministral3Config } from './config.js';
import type { LayerModules, Ministral3Modules } from './modules.js';

export function trainingFlops(
  config: Ministral3Config,
  modules: Ministral3Modules,
  { tokens, patches, features, labels }: PackedSize,
): number {
  const visionLinears = modules.visionLayers.slice(0, config.visionFeatureLayer).flatMap(linearsOf);
  const projector = [modules.mergingLayer, modules.linear1, modules.linear2];
  const count = (linears: readonly LinearModule[], flows: boolean): number =>
    (flows ? 4 : 2) * linears.reduce((sum, { weight }) => sum + weight.shape[0]! * weight.shape[1]!, 0);
  const isTrained = (linears: readonly LinearModule[]): boolean => linears.some(({ lora }) => lora !== undefined);
  const throughVision = isTrained(visionLinears);
  const throughProjector = throughVision || isTrained(projector);
  const textLinears = modules.textLayers.flatMap(linearsOf);
  const [vocabulary, hidden] = modules.lmHead.shape as [number, number];
  return (
    count(visionLinears, throughVision) * patches +
    count(projector, throughProjector) * features +
    count(textLinears, throughProjector || isTrained(textLinears)) * tokens +
    4 * vocabulary * hidden * labels
  );
}

function linearsOf({ attention, gate, up, down }: LayerModules): LinearModule[] {
  return [attention.q, attention.k, attention.v, attention.o, gate, up, down];
}
