/** What the conformance suite does not ask of the operations: tensors without rows, tensors given twice, tables in parts. */
import { afterAll, beforeAll, expect } from 'vitest';
import type { ForwardResult } from '../../../src/engine/operations.js';
import type { Tensor } from '../../../src/engine/tensor.js';
import type { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { EngineError } from '../../../src/errors.js';
import { uniformNoise } from '../../../src/random.js';
import { where } from '../../where.js';
import { Laboratory } from '../conformance/laboratory.js';
import { expectSame } from '../conformance/measure.js';
import { missingForSoftware, openTestEngine } from './open.js';

const missing = missingForSoftware();
const { describe, it } = where(missing === undefined, missing ?? '');

describe('operations of webgpu', () => {
  let engine: WebgpuEngine;
  beforeAll(async () => {
    engine = await openTestEngine();
  });
  afterAll(() => engine.dispose());

  const matrix = (rows: number, columns: number, seed = 0): Tensor =>
    engine.fromArray(
      Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(1 + seed + i)),
      [rows, columns],
    );

  /** Values of the outputs, which are released. */
  async function outputsOf({ outputs }: ForwardResult): Promise<Float32Array[]> {
    const values = await Promise.all(outputs.map((output) => engine.read(output)));
    for (const output of outputs) engine.release(output);
    return values;
  }

  it('take tensors without rows', async () => {
    const lab = new Laboratory(engine, 1);
    const { weight } = await lab.weight('norm', [8], 'f32');
    const { weight: table } = await lab.weight('table', [3, 8], 'bf16');
    const mark = engine.mark();
    const [empty, x] = [engine.zeros([0, 8]), matrix(3, 8)];
    const none = new Int32Array(0);
    const { operations } = engine;
    const noise = { rowKeys: none, bounds: new Float32Array(0) };
    const results = [
      operations.embedding.forward([], { table, ids: none }, true),
      operations.embedding.forward([], { table, ids: none, noise }, true),
      operations.add.forward([empty, empty], {}, true),
      operations.activation.forward([empty], { activation: 'gelu' }, true),
      operations.gatedActivation.forward([empty, empty], { activation: 'silu' }, true),
      operations.gatherRows.forward([x], { rows: none }, false),
      operations.rmsNorm.forward([empty, empty], { weight, eps: 1e-5 }, false),
      operations.mergePatches.forward([empty], { grids: none, merge: 2 }, true),
    ];
    for (const result of results) {
      for (const values of await outputsOf(result)) expect(values.length).toBe(0);
    }
    const untouched = operations.scatterRows.forward([x, empty], { rows: none }, true);
    expectSame((await outputsOf(untouched))[0]!, await engine.read(x));
    engine.writeRows(x, empty, none);
    const [shape] = operations.gatherRows.forward([x], { rows: none }, true).saved;
    const [dx] = operations.gatherRows.backward([shape!], [empty], { rows: none }, [true]);
    expectSame(await engine.read(dx!), new Float32Array(24));
    engine.addInPlace(empty, empty);
    expect(await engine.rowMaxima(empty)).toEqual({ values: new Float32Array(0), indices: none });
    const patches = engine.imagePatches({ images: [], patchSize: 14, grids: none });
    expect(patches.shape).toEqual([0, 0]);
    const set = engine.createParameters([]);
    expect(await engine.areZero(set, 'values')).toEqual([]);
    engine.releaseParameters(set);
    engine.releaseSince(mark);
    lab.clear();
  });

  it('take one tensor in two places', async () => {
    const lab = new Laboratory(engine, 2);
    const { weight } = await lab.weight('norm', [8], 'f32');
    const mark = engine.mark();
    const x = matrix(5, 8);
    const values = await engine.read(x);
    const rows = Int32Array.of(4, 2, 0, 1, 3);
    const { operations } = engine;
    const [sum] = await outputsOf(operations.add.forward([x, x], {}, false));
    expectSame(
      sum!,
      values.map((value) => 2 * value),
    );
    const twin = matrix(5, 8);
    const gated = operations.gatedActivation;
    const [own] = await outputsOf(gated.forward([x, x], { activation: 'silu' }, false));
    expectSame(own!, (await outputsOf(gated.forward([x, twin], { activation: 'silu' }, false)))[0]!);
    const same = gated.backward([x, x], [x], { activation: 'silu' }, [true, true]);
    const other = gated.backward([x, twin], [matrix(5, 8)], { activation: 'silu' }, [true, true]);
    for (const i of [0, 1]) expectSame(await engine.read(same[i]!), await engine.read(other[i]!));
    const norm = { weight, eps: 1e-5 };
    const [normed, added] = await outputsOf(operations.rmsNorm.forward([x, x], norm, false));
    expectSame(normed!, (await outputsOf(operations.rmsNorm.forward([x, twin], norm, false)))[0]!);
    expectSame(added!, sum!);
    const [scattered] = await outputsOf(operations.scatterRows.forward([x, x], { rows }, false));
    const expected = new Float32Array(40);
    for (const [i, row] of rows.entries()) expected.set(values.subarray(8 * i, 8 * i + 8), 8 * row);
    expectSame(scattered!, expected);
    engine.writeRows(x, x, rows);
    expectSame(await engine.read(x), expected);
    engine.releaseSince(mark);
    lab.clear();
  });

  it('look rows up in a table of several parts, with noise', async () => {
    const lab = new Laboratory(engine, 3);
    const columns = 6;
    const halves = [await lab.weight('first', [4, columns], 'bf16'), await lab.weight('second', [3, columns], 'bf16')];
    const [first, second] = halves.map(({ weight }) => engine.store.weights.use(weight, 'test'));
    const parts = [first!.parts[0]!, { ...second!.parts[0]!, firstRow: 4 }];
    const table = engine.store.weights.add({ ...first!, shape: [7, columns], rows: 7, parts });
    const all = Float32Array.from(halves.flatMap(({ values }) => [...values]));
    expectSame(await engine.readWeight(table), all);
    const ids = Int32Array.of(6, 0, 3, 4, 4);
    const noise = { rowKeys: lab.rowKeys(5), bounds: Float32Array.of(0.5, 0, 0.25, 2, 1) };
    const rows = Float32Array.from([...ids].flatMap((id) => [...all.subarray(columns * id, columns * (id + 1))]));
    const { embedding } = engine.operations;
    expectSame((await outputsOf(embedding.forward([], { table, ids }, false)))[0]!, rows);
    const [noisy] = await outputsOf(embedding.forward([], { table, ids, noise }, false));
    const added = uniformNoise(noise, columns);
    for (const [i, value] of noisy!.entries()) expect(Math.abs(value - rows[i]! - added[i]!)).toBeLessThan(1e-6);
    expect(() => embedding.forward([], { table, ids: Int32Array.of(7) }, false)).toThrow(EngineError);
    engine.store.weights.take(table, 'test');
    lab.clear();
  });
});
