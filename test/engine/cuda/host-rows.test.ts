import { describe, expect, it } from 'vitest';
import { EngineError } from '../../../src/errors.js';
import type { WeightSource } from '../../../src/formats/weight-source.js';
import { recordingEngine } from '../recording-engine.js';

const [ROWS, COLUMNS] = [50, 8];

/** A table of which row i has the values i, as a card gets it that keeps it in host memory. */
async function setUp() {
  const uploads: Uint16Array[] = [];
  const tables: Int32Array[] = [];
  const { engine, launches } = recordingEngine(
    { offload: { embedding: true } },
    {
      uploadRows: (_target, _pitch, source) => void uploads.push(new Uint16Array(source.slice().buffer)),
      upload: (_target, source) => {
        tables.push(new Int32Array(new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice().buffer));
      },
    },
  );
  const values = Uint16Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.floor(i / COLUMNS));
  const bytes = new Uint8Array(values.buffer);
  const source: WeightSource = {
    ...{ name: 'table', shape: [ROWS, COLUMNS], dtype: 'bf16', byteLength: bytes.length, usage: 'lookup' },
    read: async (target, offset = 0) => target.set(bytes.subarray(offset, offset + target.length)),
  };
  engine.placeWeights([source], () => 0);
  const before = engine.memory().bytesInUse;
  const table = await engine.loadWeight(source);
  expect([engine.memory().bytesInUse - before, uploads.length]).toEqual([0, 0]);
  return { engine, launches, table, uploads, tables };
}

describe('a table in host memory', () => {
  it('uploads each row that is used once', async () => {
    const { engine, launches, table, uploads, tables } = await setUp();
    const ids = Int32Array.of(7, 3, 3, 49, 7, 3);
    const [out] = engine.operations.embedding.forward([], { table, ids }, false).outputs;
    expect(out!.shape).toEqual([6, COLUMNS]);
    const rows = [7, 3, 49].flatMap((row) => Array.from({ length: COLUMNS }, () => row));
    expect(uploads.map((values) => [...values])).toEqual([rows]);
    expect(launches.map(({ name }) => name)).toEqual(['gather_rows']);
    expect([...tables.at(-1)!]).toEqual([0, 1, 1, 2, 0, 1]);
    await engine.dispose();
  });

  it('gives no products', async () => {
    const { engine, table } = await setUp();
    const x = engine.zeros([20, COLUMNS]);
    expect(() => engine.operations.linear.forward([x], { parts: [{ weight: table }] }, false)).toThrow(EngineError);
    await engine.dispose();
  });
});
