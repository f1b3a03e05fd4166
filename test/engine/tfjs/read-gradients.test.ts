/** Gradients on a backend that is read asynchronously, as that of webgpu outside of a browser. */
import { describe, expect, it } from 'vitest';
import { createEngine } from '../../../src/engine/create-engine.js';
import type { TfjsEngineOptions } from '../../../src/engine/tfjs/tfjs-engine.js';
import { EngineError } from '../../../src/errors.js';

/** A tensor whose values can be had synchronously once they have been read. */
class AsynchronousTensor {
  readonly shape: number[];
  readonly size: number;
  readonly #values: Float32Array;
  #isRead = false;

  constructor(values: Float32Array, shape: number[]) {
    this.shape = shape;
    this.size = values.length;
    this.#values = values;
  }

  async data(): Promise<Float32Array> {
    this.#isRead = true;
    return this.#values;
  }

  dataSync(): Float32Array {
    if (!this.#isRead) throw new ReferenceError('OffscreenCanvas is not defined');
    return this.#values;
  }

  plus(other: AsynchronousTensor): AsynchronousTensor {
    return new AsynchronousTensor(
      this.#values.map((value, i) => value + other.#values[i]!),
      this.shape,
    );
  }

  dispose(): void {}
}

const known: Record<string, unknown> = {
  ready: async () => {},
  getBackend: () => 'webgpu',
  memory: () => ({ numTensors: 0, numBytes: 0 }),
  tidy: (body: () => void) => body(),
  keep: (tensor: unknown) => tensor,
  tensor: (values: Float32Array, shape: number[]) => new AsynchronousTensor(values, shape),
  add: (a: AsynchronousTensor, b: AsynchronousTensor) => a.plus(b),
};
const tf = new Proxy({}, { get: (_, key: string) => known[key] ?? (() => {}) }) as TfjsEngineOptions['tf'];

describe('gradients that are read asynchronously', () => {
  it('go to the optimizer once they have been read, and are asked for where they have not', async () => {
    const engine = await createEngine('tfjs', { tf });
    const set = engine.createParameters([
      { name: 'a', shape: [1, 2], initial: Float32Array.of(1, 2) },
      { name: 'idle', shape: [1, 1], initial: Float32Array.of(9) },
    ]);
    engine.addInPlace(set.parameters[0]!.grad, engine.fromArray(Float32Array.of(3, 4), [1, 2]));
    const state = engine.createOptimizerState(set, 'adamw');
    const options = { kind: 'adamw', learningRate: 0.5, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 } as const;
    const step = () => engine.optimizerStep(set, state, { ...options, maxGradNorm: 0 });
    expect(step).toThrow(EngineError);
    expect(step).toThrow(/synchronously: OffscreenCanvas is not defined/);
    expect(await engine.readParameters(set)).toEqual(Float32Array.of(1, 2, 9));
    expect(await engine.readGradients(set)).toEqual(Float32Array.of(3, 4, 0));
    expect(await step()()).toBe(5);
    // Adam's first step is the learning rate against the sign.
    const values = await engine.readParameters(set);
    expect(Array.from(values, (value) => Number(value.toFixed(5)))).toEqual([0.5, 1.5, 9]);
  });
});
