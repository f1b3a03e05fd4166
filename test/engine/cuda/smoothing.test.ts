import { describe, expect, it } from 'vitest';
import { recordingEngine } from '../recording-engine.js';

const [T, C, V] = [5, 48, 64];

/** Launches of a cross-entropy with its gradient, and of an embedding, names with their last values. */
async function launchesOf(smoothing?: number, noisy = false) {
  const { engine, launches } = recordingEngine({ rematerialize: false });
  const read = async (): Promise<void> => {};
  const table = await engine.loadWeight({ name: 'table', shape: [V, C], dtype: 'bf16', byteLength: 2 * V * C, read });
  const hidden = engine.fromArray(new Float32Array(T * C), [T, C]);
  launches.length = 0;
  const ids = new Int32Array(T);
  const noise = { rowKeys: new Int32Array(T), bounds: new Float32Array(T) };
  engine.operations.crossEntropy.forward([hidden], { head: table, targets: ids, scale: 0.5, smoothing }, true);
  engine.operations.embedding.forward([], { table, ids, ...(noisy ? { noise } : {}) }, true);
  const own = launches.filter(({ name }) => name !== 'f32_to_bf16');
  return own.map(({ name, grid, parameters }) => ({ name, grid: grid[0], parameters }));
}

describe('on the card', () => {
  it('smoothing is one kernel more, and the shares of the gradient', async () => {
    const plain = await launchesOf();
    const names = ['product', 'cross_entropy_chunk', 'cross_entropy_gradient', 'product', 'cross_entropy_finish'];
    expect(plain.map(({ name }) => name)).toEqual([...names, 'gather_rows']);
    expect(plain[2]!.parameters).toMatchObject({ scale: 0.5, kind: 1, own: 1, other: 0 });
    expect((await launchesOf(0)).map(({ name }) => name)).toEqual(plain.map(({ name }) => name));
    const smooth = await launchesOf(0.25);
    expect(smooth.map(({ name }) => name)).toEqual([
      ...[...names.slice(0, 2), 'cross_entropy_smooth', ...names.slice(2)],
      'gather_rows',
    ]);
    expect(smooth[2]).toMatchObject({ grid: T });
    const shares = { own: 0.75, each: 0.25 / V };
    expect(smooth[2]!.parameters).toMatchObject({ rows: T, n: V, ld: V, ...shares, kind: 1 });
    const wanted = { own: 0.75 + 0.25 / V, other: 0.25 / V };
    expect(smooth[3]!.parameters).toMatchObject({ scale: 0.5, kind: 1, ...wanted });
  });

  it('noise is one kernel behind the lookup', async () => {
    const launches = await launchesOf(0, true);
    expect(launches.slice(-2).map(({ name }) => name)).toEqual(['gather_rows', 'add_noise']);
    expect(launches.at(-1)!.parameters).toMatchObject({ rows: T, K: C });
  });
});
