import { describe, expect, it } from 'vitest';
import type { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { buildDecodeWork } from '../../../src/engine/cuda/operations/attention-work.js';
import type { LinearPart } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Weight } from '../../../src/engine/tensor.js';
import { EngineError } from '../../../src/errors.js';
import { type HeldFormat, type StackPlace, sizeOf } from '../../../src/formats/weight-source.js';
import { recordingEngine } from '../recording-engine.js';

async function adapted(engine: CudaEngine, rows: number, columns: number, rank: number) {
  const weight = await engine.loadWeight({
    name: `w${rows}x${columns}`,
    shape: [rows, columns],
    dtype: 'bf16',
    byteLength: 2 * rows * columns,
    read: async () => {},
  });
  const set = engine.createParameters([
    { name: 'a', shape: [rank, columns], initial: new Float32Array(rank * columns) },
    { name: 'b', shape: [rows, rank], initial: new Float32Array(rows * rank) },
  ]);
  const [a, b] = set.parameters;
  return { weight, lora: { a: a!, b: b!, scale: 2, dropout: 0, seed: 0 } };
}

/** Weights of a layer on a card that computes nothing. */
async function layer() {
  const recorder = recordingEngine();
  const { engine } = recorder;
  const load = (name: string, shape: readonly number[], stack?: StackPlace) =>
    engine.loadWeight({ name, shape, dtype: 'bf16', byteLength: 2 * sizeOf(shape), read: async () => {}, stack });
  const norm = { weight: await load('norm', [64]), eps: 1e-5 };
  const stacked = async (name: string, widths: readonly number[]) => {
    const rows = widths.reduce((a, b) => a + b);
    let row = 0;
    const parts: { weight: Weight }[] = [];
    for (const [i, width] of widths.entries()) {
      parts.push({ weight: await load(`${name}${i}`, [width, 64], { name, row, rows }) });
      row += width;
    }
    return parts;
  };
  const tensor = (rows: number, columns: number) => engine.fromArray(new Float32Array(rows * columns), [rows, columns]);
  const input = (rows: number) => {
    const x = tensor(rows, 64);
    return engine.operations.add.forward([x, x], {}, false).outputs[0]!;
  };
  return { ...recorder, norm, stacked, load, tensor, input };
}

describe('attentionBlock with a cache', () => {
  const prepare = async () => {
    const world = await layer();
    const { engine, tensor, input } = world;
    const projections = (await world.stacked('qkv', [64, 32, 32])) as [LinearPart, LinearPart, LinearPart];
    const cache = { keys: engine.zeros([300, 32]), values: engine.zeros([300, 32]) };
    const run = (starts: readonly number[], lengths: readonly number[], rows: readonly number[]) => {
      const count = starts.at(-1)!;
      const inputs = [input(count)];
      const keyStarts = Int32Array.from(lengths, (_, s) => s * 100);
      const segments = { queryStarts: Int32Array.from(starts), keyStarts, keyLengths: Int32Array.from(lengths) };
      const attributes = {
        ...{ norm: world.norm, projections, cache: { ...cache, rows: Int32Array.from(rows) } },
        rotary: { headDim: 16, cos: tensor(count, 8), sin: tensor(count, 8) },
        attention: { heads: 4, kvHeads: 2, headDim: 16, scale: 0.25, causal: true, segments },
      };
      return { inputs, attributes, forward: () => engine.operations.attentionBlock.forward(inputs, attributes, false) };
    };
    return { ...world, run };
  };

  it('refuses rows that are not the last keys', async () => {
    const { engine, run } = await prepare();
    expect(run([0, 1], [80], [78]).forward).toThrow(EngineError);
    await engine.dispose();
  });

  it('takes no part in a recorded pass with adapters', async () => {
    const { engine, run } = await prepare();
    const part = await adapted(engine, 32, 64, 16);
    const { inputs, attributes } = run([0, 1], [1], [0]);
    const [q, , v] = attributes.projections;
    const tape = new Tape(engine);
    const recorded = { ...attributes, projections: [q, part, v] as [LinearPart, LinearPart, LinearPart] };
    expect(() => tape.apply('attentionBlock', inputs, recorded)).toThrow(
      /no gradient flows through a key\/value cache/,
    );
    await engine.dispose();
  });
});

describe('products of a few rows from held weights', () => {
  const formats = {
    nf4: { format: 'nf4', blockSize: 64, doubleQuantization: true },
    'nf4 in larger blocks': { format: 'nf4', blockSize: 128, doubleQuantization: true },
    f8_e4m3: { format: 'f8_e4m3' },
  } as const;
  const run = async (hold: HeldFormat, rows: number, columns: number) => {
    const { engine, launches } = recordingEngine();
    const weight = await engine.loadWeight({
      ...{ name: 'w', shape: [48, columns], dtype: 'bf16', byteLength: 96 * columns, read: async () => {}, hold },
    });
    const given = engine.fromArray(new Float32Array(rows * columns), [rows, columns]);
    const x = engine.operations.add.forward([given, given], {}, false).outputs[0]!;
    launches.length = 0;
    engine.operations.linear.forward([x], { parts: [{ weight }] }, false);
    const names = launches.map(({ name }) => name);
    await engine.dispose();
    return names;
  };

  it.each([
    ['nf4', 1, 128, 'small_linear_nf4_4'],
    ['nf4', 4, 256, 'small_linear_nf4_4'],
    ['nf4', 5, 128, 'small_linear_nf4_8'],
    ['nf4', 1, 192, 'small_linear_nf4_8'],
    ['nf4', 9, 128, 'small_linear_nf4_16'],
    ['f8_e4m3', 8, 80, 'small_linear_e4m3_8'],
    ['f8_e4m3', 16, 80, 'small_linear_e4m3_16'],
  ] as const)('%s, %i rows of %i columns: %s', async (format, rows, columns, kernel) => {
    expect(await run(formats[format], rows, columns)).toEqual([kernel]);
  });

  it.each([
    ['bf16', 1, 6],
    ['nf4', 1, 3],
    ['nf4', 8, 4],
    ['nf4', 16, 2],
    ['f8_e4m3', 1, 4],
  ] as const)(
    '%s, %i rows: %i blocks a multiprocessor take the rows of a wide matrix in turns',
    async (format, rows, blocks) => {
      const { engine, launches } = recordingEngine();
      const shape = [65536, 128];
      const weight = await engine.loadWeight({
        ...{
          name: 'w',
          shape,
          dtype: 'bf16',
          byteLength: 2 * sizeOf(shape),
          read: async () => {},
          hold: format === 'bf16' ? undefined : formats[format],
        },
      });
      const x = engine.fromArray(new Float32Array(rows * 128), [rows, 128]);
      engine.operations.linear.forward([x], { parts: [{ weight }] }, false);
      expect(launches.at(-1)!.grid).toEqual([132 * blocks]);
      await engine.dispose();
    },
  );

  it.each([
    ['nf4', 17, 128, 'widen_nf4'],
    ['nf4', 1, 96, 'widen_nf4'],
    ['nf4 in larger blocks', 1, 128, 'widen_nf4'],
    ['f8_e4m3', 1, 72, 'widen_e4m3'],
  ] as const)('%s, %i rows of %i columns: widened first', async (format, rows, columns, kernel) => {
    const names = await run(formats[format], rows, columns);
    expect(names).toContain(kernel);
    expect(names.some((name) => name.startsWith('small_linear'))).toBe(false);
  });
});

describe('buildDecodeWork', () => {
  it('covers every key once, marks the items with the newest key and tells each slot its neighbours', () => {
    const segments = {
      queryStarts: Int32Array.of(0, 1, 2, 2, 3),
      keyStarts: Int32Array.of(0, 700, 900, 1000),
      keyLengths: Int32Array.of(601, 1, 50, 129),
    };
    const { items, shares, slots } = buildDecodeWork(segments, 8, true, 396);
    expect(shares).toHaveLength(2 * slots);
    const keys = new Map<number, [number, number][]>();
    const marked: number[] = [];
    for (let i = 0; i < items.length; i += 4) {
      const [row, first, last, slot] = items.subarray(i, i + 4) as unknown as [number, number, number, number];
      const query = row & (2 ** 30 - 1);
      if (row >= 2 ** 30) marked.push(last - 1);
      keys.set(query, [...(keys.get(query) ?? []), [first, last]]);
      if (slot < 0) continue;
      const [from, count] = [shares[2 * slot]!, shares[2 * slot + 1]!];
      expect(slot >= from && slot < from + count).toBe(true);
    }
    for (const [query, s] of [
      [0, 0],
      [1, 1],
      [2, 3],
    ] as const) {
      const ranges = keys.get(query)!.sort((a, b) => a[0] - b[0]);
      let next = segments.keyStarts[s]!;
      for (const [first, last] of ranges) {
        expect(first).toBe(next);
        next = last;
      }
      expect(next).toBe(segments.keyStarts[s]! + segments.keyLengths[s]!);
    }
    expect(marked.sort((a, b) => a - b)).toEqual([600, 700, 1128]);
  });
});
