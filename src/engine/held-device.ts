import { EngineError } from '../errors.js';

/**
 * Memory can be had only by waiting for the device, which itself waits for other ranks: a thread that waited for it would
 * not hear that one of them is lost. Whoever computes begins again after `Engine.whenFree`.
 */
export class HeldDeviceError extends EngineError {
  constructor() {
    super('the device waits for gradients of other ranks, and memory is too full to compute on meanwhile', {
      hint: 'Compute between two steps of the training: await `engine.whenFree()` before.',
    });
  }
}
