/** Label smoothing and per-parameter rates on the cpu engine, against transformers and torch. */
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { relativeError } from './conformance/conformance.js';
import { Laboratory } from './conformance/laboratory.js';

interface Golden {
  /** [B, T, V] */
  readonly logits: number[][][];
  /** [B, T] */
  readonly labels: number[][];
  readonly results: readonly { readonly epsilon: number; readonly loss: number; readonly grad: number[][][] }[];
}

/** Printed by transformers 5.17's LabelSmoother: test/fixtures/make-schedules.py. */
const path = new URL('../fixtures/schedules.json', import.meta.url);
const { labelSmoothing } = JSON.parse(readFileSync(path, 'utf8')) as { labelSmoothing: Golden };

describe('label smoothing', () => {
  const engine = createCpuEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it.each(labelSmoothing.results)('of $epsilon has the loss and gradients of transformers', async (golden) => {
    const { logits, labels } = labelSmoothing;
    // A label is predicted by the token before it.
    const places = labels.flatMap((row, b) =>
      row.flatMap((label, t) => (t > 0 && label >= 0 ? [[b, t - 1, label]] : [])),
    );
    const vocabulary = logits[0]![0]!.length;
    const identity = Float32Array.from({ length: vocabulary ** 2 }, (_, i) => (i % (vocabulary + 1) === 0 ? 1 : 0));
    const read = async (target: Uint8Array, offset = 0): Promise<void> => {
      target.set(new Uint8Array(identity.buffer, offset, target.length));
    };
    const shape = [vocabulary, vocabulary];
    const source = { name: 'head', shape, dtype: 'f32' as const, byteLength: identity.byteLength, read };
    const head = await engine.loadWeight(source);
    const rows = places.flatMap(([b, t]) => logits[b!]![t!]!);
    const hidden = engine.fromArray(Float32Array.from(rows), [places.length, vocabulary]);
    const targets = Int32Array.from(places, ([, , label]) => label!);
    const attributes = { head, targets, scale: 1 / places.length, smoothing: golden.epsilon };
    const { crossEntropy } = engine.operations;
    const { outputs, saved } = crossEntropy.forward([hidden], attributes, true);
    expect((await engine.read(outputs[0]!))[0]).toBeCloseTo(golden.loss, 6);
    const one = engine.fromArray(Float32Array.of(1), [1]);
    const [gradient] = crossEntropy.backward(saved, [one, undefined], attributes, [true]);
    const wanted = places.flatMap(([b, t]) => golden.grad[b!]![t!]!);
    expect(relativeError(await engine.read(gradient!), wanted)).toBeLessThan(1e-6);
    // Rows whose successor has no label get none.
    expect(golden.grad.flat().filter((row) => row.some((value) => value !== 0))).toHaveLength(places.length);
  });

  it('of 0 changes no bit', async () => {
    const run = async (smoothing: number | undefined): Promise<Float32Array[]> => {
      const lab = new Laboratory(engine, 3);
      const { weight } = await lab.weight('head', [515, 24], 'bf16');
      const { tensor } = await lab.tensor([9, 24]);
      const attributes = {
        head: weight,
        targets: Int32Array.from({ length: 9 }, (_, i) => 57 * i),
        scale: 0.3,
        smoothing,
      };
      const { outputs, saved } = engine.operations.crossEntropy.forward([tensor], attributes, true);
      const results = await Promise.all([...outputs, ...saved].map((made) => engine.read(made)));
      lab.clear();
      return results;
    };
    const [plain, zero, some] = [await run(undefined), await run(0), await run(0.1)];
    expect(zero).toEqual(plain);
    expect(some).not.toEqual(plain);
  });
});
