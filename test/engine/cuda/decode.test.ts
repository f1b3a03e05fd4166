import { describe, expect, it } from 'vitest';
import type { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { buildDecodeWork } from '../../../src/engine/cuda/operations/attention-work.js';
import type { CudaTensor } from '../../../src/engine/cuda/tensors.js';
import { type StackPlace, sizeOf } from '../../../src/formats/weight-source.js';
import { type Launch, recordingEngine } from '../recording-engine.js';

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

describe('products of few rows', () => {
  it('with an adapter are one launch, whose count of blocks goes on from launch to launch', async () => {
    const { engine, launches } = recordingEngine();
    const part = await adapted(engine, 2000, 64, 20);
    const x = engine.fromArray(new Float32Array(3 * 64), [3, 64]);
    const run = () => engine.operations.linear.forward([x], { parts: [part] }, false);
    run();
    launches.length = 0;
    run();
    run();
    expect(launches.map(({ name }) => name)).toEqual(['small_linear_8', 'small_linear_8']);
    // 32 padded columns of u: 4 groups of 8 in 4 splits, and 250 blocks for 2000 rows.
    for (const { grid } of launches) expect(grid).toEqual([16 + 250]);
    expect(launches.map(({ parameters }) => parameters.target)).toEqual([32, 48]);
    expect(launches[0]!.parameters).toMatchObject({ M: 3, N: 2000, K: 64, E: 32 });
    await engine.dispose();
  });

  it('take the two-step way where backward or dropout needs u, or rows are many', async () => {
    const { engine, launches } = recordingEngine();
    const part = await adapted(engine, 64, 64, 16);
    const names = (rows: number, record: boolean, dropout = 0): string[] => {
      const x = engine.fromArray(new Float32Array(rows * 64), [rows, 64]);
      const rowKeys = dropout > 0 ? new Int32Array(rows) : undefined;
      const parts = [{ ...part, lora: { ...part.lora, dropout, rowKeys } }];
      engine.operations.linear.forward([x], { parts }, record);
      // The second time, the adapter has its copies and x its room.
      launches.length = 0;
      engine.operations.linear.forward([x], { parts }, record);
      return launches.map(({ name }) => name).filter((name) => name !== 'copy_bf16' && name !== 'dropout_bits');
    };
    expect(names(16, false)).toEqual(['small_linear_16']);
    expect(names(3, true)).toEqual(['product', 'product']);
    expect(names(17, false)).toEqual(['product', 'product']);
    expect(names(17, false, 0.1)).toEqual(['lora_down_16', 'product']);
    expect(names(513, false)).toEqual(['lora_down_16', 'product']);
    await engine.dispose();
  });

  it('keep a copy of u where backward needs it', async () => {
    const { engine, launches } = recordingEngine();
    const part = await adapted(engine, 64, 64, 16);
    const x = engine.fromArray(new Float32Array(17 * 64), [17, 64]);
    const run = () => engine.operations.linear.forward([x], { parts: [part] }, true).saved[1] as CudaTensor;
    run();
    launches.length = 0;
    const u = run();
    const [product, copy] = launches.slice(-3);
    expect([product!.name, copy!.name]).toEqual(['product', 'copy_bf16']);
    expect(copy!.parameters).toMatchObject({ out: u.address, x: product!.parameters.d, rows: 17, columns: 16 });
    await engine.dispose();
  });
});

describe('a row on its way through a layer', () => {
  async function layer() {
    const recorder = recordingEngine();
    const { engine } = recorder;
    const load = (name: string, shape: readonly number[], stack?: StackPlace) =>
      engine.loadWeight({ name, shape, dtype: 'bf16', byteLength: 2 * sizeOf(shape), read: async () => {}, stack });
    const norm = await load('norm', [64]);
    const gate = await load('gate', [96, 64], { name: 'gate-up', row: 0, rows: 192 });
    const up = await load('up', [96, 64], { name: 'gate-up', row: 96, rows: 192 });
    const down = await load('down', [64, 96]);
    const one = engine.fromArray(new Float32Array(64), [1, 64]);
    const two = engine.fromArray(new Float32Array(64), [1, 64]);
    const { operations } = engine;
    // As bf16, so that no conversions are among the launches.
    operations.add.forward([one, two], {}, false);
    const pair = { parts: [{ weight: gate }, { weight: up }] };
    const normed = () => operations.rmsNorm.forward([one, two], { weight: norm, eps: 1e-5 }, false).outputs;
    recorder.launches.length = 0;
    return { ...recorder, operations, normed, pair, down };
  }
  const names = (launches: readonly Launch[]): string[] => launches.map(({ name }) => name);

  it('is normalised, multiplied and gated in one launch, which writes the sum', async () => {
    const { engine, launches, operations, normed, pair, down } = await layer();
    const before = engine.memory().bytesInUse;
    const [y, sum] = normed();
    const [gate, up] = operations.linear.forward([y!], pair, false).outputs;
    const [gated] = operations.gatedActivation.forward([gate!, up!], { activation: 'gelu' }, false).outputs;
    const [out] = operations.linear.forward([gated!], { parts: [{ weight: down }] }, false).outputs;
    expect(names(launches)).toEqual(['small_linear_norm', 'small_linear_8']);
    const [fused] = launches;
    expect(fused).toMatchObject({ grid: [24], parameters: { N: 96, K: 64, activation: 1 } });
    launches.length = 0;
    // The sum has been made, the outputs of the pair have not.
    const doubled = operations.add.forward([sum!, sum!], {}, false).outputs;
    expect(names(launches)).toEqual(['add']);
    const made = fused!.parameters.sum;
    expect(launches[0]!.parameters).toMatchObject({ a: made, b: made });
    for (const tensor of [y, sum, gate, up, gated, out, ...doubled]) engine.release(tensor!);
    expect(engine.memory().bytesInUse).toBe(before);
    await engine.dispose();
  });

  it('is computed step by step for whoever reads what lies between', async () => {
    const { engine, launches, operations, normed, pair } = await layer();
    const before = engine.memory().bytesInUse;
    const [y, sum] = normed();
    const [gate, up] = operations.linear.forward([y!], pair, false).outputs;
    const read = operations.add.forward([gate!, gate!], {}, false).outputs;
    expect(names(launches)).toEqual(['small_linear_norm', 'add']);
    launches.length = 0;
    const again = operations.add.forward([y!, sum!], {}, false).outputs;
    const gated = operations.gatedActivation.forward([gate!, up!], { activation: 'silu' }, false).outputs;
    expect(names(launches)).toEqual(['rms_norm_forward', 'add', 'gated_activation_forward']);
    for (const tensor of [y, sum, gate, up, ...read, ...again, ...gated]) engine.release(tensor!);
    launches.length = 0;
    const [unread, alone] = normed();
    engine.release(unread!);
    const sums = operations.add.forward([alone!, alone!], {}, false).outputs;
    expect(names(launches)).toEqual(['add', 'add']);
    for (const tensor of [alone, ...sums]) engine.release(tensor!);
    launches.length = 0;
    for (const tensor of normed()) engine.release(tensor);
    expect(launches).toEqual([]);
    expect(engine.memory().bytesInUse).toBe(before);
    await engine.dispose();
  });

  it('is recorded without shortcuts', async () => {
    const { engine, launches, operations, normed, pair } = await layer();
    const [gate, up] = operations.linear.forward([normed()[0]!], pair, true).outputs;
    operations.gatedActivation.forward([gate!, up!], { activation: 'silu' }, true);
    expect(names(launches)).toEqual(['rms_norm_forward', 'small_linear_8', 'gated_activation_forward']);
    await engine.dispose();
  });
});

describe('attendCached', () => {
  const options = (engine: CudaEngine, starts: readonly number[], lengths: readonly number[], rows: number[]) => {
    const count = starts.at(-1)!;
    const tensor = (columns: number, of = count) => engine.fromArray(new Float32Array(of * columns), [of, columns]);
    const keyStarts = Int32Array.from(lengths, (_, s) => s * 100);
    return {
      inputs: [tensor(4 * 16), tensor(2 * 16), tensor(2 * 16)] as const,
      rest: {
        cache: { keys: engine.zeros([300, 32]), values: engine.zeros([300, 32]), rows: Int32Array.from(rows) },
        rotary: { headDim: 16, cos: tensor(8), sin: tensor(8) },
        attention: {
          heads: 4,
          kvHeads: 2,
          headDim: 16,
          scale: 0.25,
          causal: true,
          segments: { queryStarts: Int32Array.from(starts), keyStarts, keyLengths: Int32Array.from(lengths) },
        },
      },
    };
  };

  it('is one launch where every sequence has at most one new row', async () => {
    const { engine, launches } = recordingEngine();
    const { inputs, rest } = options(engine, [0, 1, 1, 2], [80, 5, 3], [79, 202]);
    const bf16 = inputs.map((tensor) => engine.operations.add.forward([tensor, tensor], {}, false).outputs[0]!);
    launches.length = 0;
    const attended = engine.attendCached(bf16[0]!, bf16[1]!, bf16[2]!, rest);
    expect(attended?.shape).toEqual([2, 64]);
    expect(launches.map(({ name }) => name)).toEqual(['attention_decode']);
    await engine.dispose();
  });

  it('does nothing for prompts, and refuses rows that are not the last keys', async () => {
    const { engine, launches } = recordingEngine();
    const prompt = options(engine, [0, 2, 3], [2, 1], [0, 1, 100]);
    launches.length = 0;
    expect(engine.attendCached(...prompt.inputs, prompt.rest)).toBeUndefined();
    expect(launches).toEqual([]);
    const wrong = options(engine, [0, 1], [80], [78]);
    expect(() => engine.attendCached(...wrong.inputs, wrong.rest)).toThrow('cache row 78');
    await engine.dispose();
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
