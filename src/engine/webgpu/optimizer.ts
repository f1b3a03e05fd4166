/** AdamW on the device, over the flat blocks of a parameter set. */
import { EngineError } from '../../errors.js';
import type { Deferred, OptimizerArrays, OptimizerState, OptimizerStep } from '../engine.js';
import type { WebgpuParameterSet } from './parameters.js';
import type { TensorStore } from './tensor-store.js';

export class WebgpuOptimizerState implements OptimizerState {
  readonly kind: OptimizerStep['kind'];
  readonly set: WebgpuParameterSet;

  constructor(_store: TensorStore, set: WebgpuParameterSet, kind: OptimizerStep['kind']) {
    this.kind = kind;
    this.set = set;
  }

  step(_options: OptimizerStep): Deferred<number> {
    throw new EngineError('optimizerStep: to be written');
  }

  async read(): Promise<OptimizerArrays> {
    throw new EngineError('to be written');
  }

  write(_arrays: OptimizerArrays): void {
    throw new EngineError('to be written');
  }

  release(): void {}
}
