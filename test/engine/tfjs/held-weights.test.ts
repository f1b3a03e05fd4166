import { describe, expect, it } from 'vitest';
import { TensorStore } from '../../../src/engine/tfjs/tensor-store.js';
import type { TfNamespace } from '../../../src/engine/tfjs/tf-namespace.js';
import { EngineError } from '../../../src/errors.js';
import type { WeightSource } from '../../../src/formats/weight-source.js';
import { plainNf4, plainNf4Values } from '../conformance/plain-quantization.js';

/** What loading needs of TensorFlow.js. */
const tf = {
  tidy: (body: () => unknown) => body(),
  keep: (tensor: unknown) => tensor,
  reshape: (tensor: unknown) => tensor,
  tensor: (data: Float32Array) => ({ data: async () => data }),
} as unknown as TfNamespace;

const numbers = Float32Array.from({ length: 33 * 129 }, (_, i) => Math.sin(i));
const { codes, absmax } = plainNf4(numbers, 64, true);
const packed = Uint8Array.from({ length: 2129 }, (_, i) => (codes[2 * i]! << 4) | (codes[2 * i + 1] ?? 7));
const source: WeightSource = {
  ...{ name: 'w', shape: [33, 129], dtype: 'nf4', byteLength: packed.length },
  quantState: { blockSize: 64, read: async () => absmax },
  read: async (target, offset = 0) => target.set(packed.subarray(offset, offset + target.length)),
};

describe('weights in 4 bits on tfjs', () => {
  it('become float32 of the values that other engines hold', async () => {
    const weight = await new TensorStore(tf, 1e6).loadWeight(source);
    expect([weight.dtype, weight.held]).toEqual(['bf16', undefined]);
    expect(await weight.values().data()).toEqual(Float32Array.from(plainNf4Values(codes, 64, absmax)));
  });

  it('are not made of others', async () => {
    const store = new TensorStore(tf, 1e6);
    await expect(store.loadWeight({ ...source, hold: { format: 'f8_e4m3' } })).rejects.toThrow(EngineError);
    await expect(store.loadWeight({ ...source, hold: { format: 'f8_e4m3' } })).rejects.toThrow(/w .*tfjs/);
    expect(store.bytesInUse).toBe(0);
  });
});
