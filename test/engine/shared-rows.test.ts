import { afterAll, describe, expect, it } from 'vitest';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { CudaEngineOptions } from '../../src/engine/cuda/cuda-options.js';
import type { Engine } from '../../src/engine/engine.js';
import type { LinearPart } from '../../src/engine/operations.js';
import { Tape } from '../../src/engine/tape.js';
import { EngineError } from '../../src/errors.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import { sharedLayout } from './conformance/shared-rows.js';
import { recordingEngine } from './recording-engine.js';

const COLUMNS = 64;

function load(engine: Engine, name: string, shape: readonly number[], stack?: { row: number; rows: number }) {
  const place = stack && { name: 'qkv', ...stack };
  const read = async (): Promise<void> => {};
  return engine.loadWeight({ name, shape, dtype: 'bf16', byteLength: 2 * sizeOf(shape), read, stack: place });
}

/** An attention block with two key heads of 16 and adapters, on so many rows. */
async function block(engine: Engine, rows: number) {
  const projections: LinearPart[] = [];
  const widths = [64, 32, 32];
  const set = engine.createParameters(
    widths.flatMap((width, i) => [
      { name: `a${i}`, shape: [8, COLUMNS], initial: new Float32Array(8 * COLUMNS) },
      { name: `b${i}`, shape: [width, 8], initial: new Float32Array(8 * width) },
    ]),
  );
  let row = 0;
  for (const [i, width] of widths.entries()) {
    const [a, b] = set.parameters.slice(2 * i);
    const weight = await load(engine, `w${i}`, [width, COLUMNS], { row, rows: 128 });
    projections.push({ weight, lora: { a: a!, b: b!, scale: 2, dropout: 0, seed: 0 } });
    row += width;
  }
  const table = (): ReturnType<Engine['fromArray']> => engine.fromArray(new Float32Array(8 * rows), [rows, 8]);
  const attributes = {
    norm: { weight: await load(engine, 'norm', [COLUMNS]), eps: 1e-5 },
    projections: projections as [LinearPart, LinearPart, LinearPart],
    rotary: { headDim: 16, cos: table(), sin: table() },
  };
  const x = engine.fromArray(new Float32Array(rows * COLUMNS), [rows, COLUMNS]);
  const attention = (queries: readonly number[], keys: readonly number[]) => {
    const sums = (of: readonly number[]): Int32Array =>
      Int32Array.from([0, ...of.map((_, i) => of.slice(0, i + 1).reduce((a, b) => a + b))]);
    const segments = {
      queryStarts: sums(queries),
      keyStarts: sums(keys).slice(0, -1),
      keyLengths: Int32Array.from(keys),
    };
    return { heads: 4, kvHeads: 2, headDim: 16, scale: 0.25, causal: true, segments };
  };
  return { attributes, x, attention };
}

const LAYOUT = sharedLayout([{ prefix: 6, own: [2, 3, 1] }]);

describe('attentionBlock with key rows on the card', () => {
  const run = async (options: CudaEngineOptions, isShared: boolean) => {
    const { engine, launches } = recordingEngine(options);
    const { attributes, x, attention } = await block(engine, LAYOUT.rows);
    const given = isShared
      ? { ...attributes, attention: attention(LAYOUT.queries, LAYOUT.keys), keyRows: LAYOUT.keyRows }
      : { ...attributes, attention: attention(LAYOUT.queries, LAYOUT.queries) };
    const names = (): string[] => launches.splice(0).map(({ name }) => name);
    const gradient = engine.fromArray(new Float32Array(LAYOUT.rows * 64), [LAYOUT.rows, 64]);
    const pass = () => {
      const before = engine.memory().bytesInUse;
      names();
      const { outputs, saved } = engine.operations.attentionBlock.forward([x], given, true);
      for (const tensor of saved) engine.retain(tensor);
      for (const tensor of outputs) engine.release(tensor);
      const [kept, forward] = [engine.memory().bytesInUse - before, names()];
      const [dx] = engine.operations.attentionBlock.backward(saved, [gradient], given, [true]);
      for (const tensor of [...saved, dx!]) engine.release(tensor);
      return { forward, backward: names(), kept, left: engine.memory().bytesInUse - before };
    };
    // The first one brings inputs and adapters to the card's formats.
    pass();
    const second = pass();
    expect(second.left).toBe(0);
    return second;
  };
  const withoutFirst = (names: readonly string[], ...known: string[]): string[] =>
    names.filter((name) => !known.includes(name));

  it('is one copy more forward, two launches more backward, and keeps no more', async () => {
    const [alone, shared] = [await run({}, false), await run({}, true)];
    expect(shared.forward).toContain('gather_key_value');
    expect(withoutFirst(shared.forward, 'gather_key_value')).toEqual(alone.forward);
    expect(shared.backward.filter((name) => ['gather_key_value', 'sum_rows'].includes(name))).toEqual([
      'gather_key_value',
      'sum_rows',
    ]);
    expect(shared.backward.indexOf('sum_rows')).toBeLessThan(shared.backward.indexOf('rotary'));
    expect(shared.kept).toBe(alone.kept);
  });

  it('keeps the copies where nothing is recomputed', async () => {
    const { backward } = await run({ rematerialize: false }, true);
    expect(backward).not.toContain('gather_key_value');
    expect(backward).toContain('sum_rows');
  });

  it('needs a row of the cache for each', async () => {
    const { engine } = recordingEngine();
    const { attributes, x, attention } = await block(engine, LAYOUT.rows);
    const cache = { keys: engine.zeros([64, 32]), values: engine.zeros([64, 32]) };
    const given = { ...attributes, attention: attention(LAYOUT.queries, LAYOUT.keys), keyRows: LAYOUT.keyRows };
    const rows = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);
    const forward = (count: number) =>
      engine.operations.attentionBlock.forward([x], { ...given, cache: { ...cache, rows: rows(count) } }, false);
    expect(forward(LAYOUT.keyRows.length).outputs).toHaveLength(1);
    expect(() => forward(LAYOUT.rows)).toThrow('attentionBlock: 24 key rows for 12 rows of the cache');
    const twice = new Int32Array(LAYOUT.keyRows.length);
    const again = { ...given, cache: { ...cache, rows: twice } };
    expect(() => engine.operations.attentionBlock.forward([x], again, false)).toThrow('row 0 is listed twice');
    const beyond = { ...given, keyRows: Int32Array.from(LAYOUT.keyRows, (row) => row + 1) };
    expect(() => engine.operations.attentionBlock.forward([x], beyond, false)).toThrow(
      'attentionBlock: keyRows: index 12 at 23 lies outside 0..11',
    );
  });
});

describe('gatherRows on the card', () => {
  it('sums in a kernel of its own only where rows repeat', async () => {
    const { engine, launches } = recordingEngine();
    const x = engine.fromArray(new Float32Array(32), [4, 8]);
    const kernelOf = (rows: Int32Array): string => {
      const { saved } = engine.operations.gatherRows.forward([x], { rows }, true);
      const gradient = engine.fromArray(new Float32Array(8 * rows.length), [rows.length, 8]);
      engine.operations.gatherRows.backward(saved, [gradient], { rows }, [true]);
      return launches.at(-1)!.name;
    };
    expect(kernelOf(Int32Array.of(3, 0, 2))).toBe('select_rows');
    expect(kernelOf(Int32Array.of(3, 0, 3))).toBe('sum_rows');
  });
});

describe('on the cpu', () => {
  const engine = createCpuEngine({ threads: 1 });
  afterAll(() => engine.dispose());

  it('key rows are checked', async () => {
    const { attributes, x, attention } = await block(engine, LAYOUT.rows);
    const tape = new Tape(engine, { record: false });
    const given = { ...attributes, attention: attention(LAYOUT.queries, LAYOUT.keys) };
    const short = { ...given, keyRows: LAYOUT.keyRows.slice(1) };
    expect(() => tape.apply('attentionBlock', [x], short)).toThrow(EngineError);
    const beyond = { ...given, keyRows: Int32Array.from(LAYOUT.keyRows, (row) => row + 1) };
    expect(() => tape.apply('attentionBlock', [x], beyond)).toThrow('index 12 at 23 lies outside 0..11');
    tape.dispose();
  });

  it('weights of rows are as many as rows, and finite', async () => {
    const head = await load(engine, 'head', [8, 4]);
    const hidden = engine.fromArray(new Float32Array(12), [3, 4]);
    const loss = (weights: readonly number[]) =>
      engine.operations.crossEntropy.forward(
        [hidden],
        { head, targets: new Int32Array(3), scale: 1, weights: Float32Array.from(weights) },
        false,
      );
    expect(() => loss([1, 1])).toThrow('crossEntropy: 2 weights for 3 rows');
    expect(() => loss([1, Number.NaN, 1])).toThrow('the weight of row 1 is NaN, expected a finite number');
    const [sum] = loss([2, 0, 0.5]).outputs;
    expect((await engine.read(sum!))[0]).toBeCloseTo(2.5 * Math.log(8), 5);
  });
});
