import { describe, expect, it } from 'vitest';
import type { CudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { buildDecodeWork } from '../../../src/engine/cuda/operations/attention-work.js';
import type { CudaTensor } from '../../../src/engine/cuda/tensors.js';
import type { LinearPart } from '../../../src/engine/operations.js';
import { Tape } from '../../../src/engine/tape.js';
import type { Tensor, Weight } from '../../../src/engine/tensor.js';
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

/** A card that writes down launches, and weights of a layer on it. */
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
  /** As bf16, so that no conversions are among the launches. */
  const input = (rows: number) => {
    const x = tensor(rows, 64);
    return engine.operations.add.forward([x, x], {}, false).outputs[0]!;
  };
  const names = (): string[] => recorder.launches.splice(0).map(({ name }) => name);
  return { ...recorder, norm, stacked, load, tensor, input, names };
}

describe('gatedBlock', () => {
  const prepare = async () => {
    const world = await layer();
    const gateUp = (await world.stacked('gateUp', [96, 96])) as [LinearPart, LinearPart];
    const down = { weight: await world.load('down', [64, 96]) };
    const attributes = { norm: world.norm, gateUp, activation: 'gelu', down } as const;
    const run = (inputs: readonly Tensor[], record = false) => {
      world.launches.length = 0;
      return world.engine.operations.gatedBlock.forward(inputs, attributes, record);
    };
    return { ...world, run };
  };

  it('is two launches for a row: norm, product and activation in one, which writes the sum', async () => {
    const { engine, launches, input, run, names } = await prepare();
    const inputs = [input(1), input(1)];
    const before = engine.memory().bytesInUse;
    const { outputs } = run(inputs);
    const [fused, down] = launches as [Launch, Launch];
    expect(fused).toMatchObject({ grid: [24], parameters: { N: 96, K: 64, activation: 1 } });
    const [y, sum] = outputs as CudaTensor[];
    const residual = (inputs[1] as CudaTensor).address;
    expect(fused.parameters).toMatchObject({ sum: sum!.address, residual, y: down.parameters.x });
    expect(down.parameters.y).toBe(y!.address);
    expect(names()).toEqual(['small_linear_norm', 'small_linear_8']);
    for (const tensor of outputs) engine.release(tensor);
    expect(engine.memory().bytesInUse).toBe(before);
    await engine.dispose();
  });

  it('has its norm alone for several rows, and no shortcuts for many or where it is recorded', async () => {
    const { engine, input, run, names } = await prepare();
    run([input(3), input(3)]);
    expect(names()).toEqual(['rms_norm_forward', 'small_linear_8', 'small_linear_8']);
    run([input(17)]);
    expect(names()).toEqual(['rms_norm_forward', 'product', 'gated_activation_forward', 'product']);
    run([input(1)], true);
    expect(names()).toEqual(['rms_norm_forward', 'small_linear_8', 'gated_activation_forward', 'small_linear_8']);
    await engine.dispose();
  });
});

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
      world.launches.length = 0;
      const attributes = {
        ...{ norm: world.norm, projections, cache: { ...cache, rows: Int32Array.from(rows) } },
        rotary: { headDim: 16, cos: tensor(count, 8), sin: tensor(count, 8) },
        attention: { heads: 4, kvHeads: 2, headDim: 16, scale: 0.25, causal: true, segments },
      };
      return { inputs, attributes, forward: () => engine.operations.attentionBlock.forward(inputs, attributes, false) };
    };
    return { ...world, run };
  };

  it('is a product and one more launch where every sequence has at most one new row', async () => {
    const { engine, names, run } = await prepare();
    expect(run([0, 1, 1], [80, 5], [79]).forward().outputs[0]!.shape).toEqual([1, 64]);
    expect(names()).toEqual(['small_linear_norm', 'attention_decode']);
    expect(run([0, 1, 1, 2], [80, 5, 3], [79, 202]).forward().outputs[0]!.shape).toEqual([2, 64]);
    expect(names()).toEqual(['rms_norm_forward', 'small_linear_8', 'attention_decode']);
    await engine.dispose();
  });

  it('takes the steps apart for prompts, and refuses rows that are not the last keys', async () => {
    const { engine, names, run } = await prepare();
    run([0, 2, 3], [2, 1], [0, 1, 100]).forward();
    expect(names()).toEqual([
      ...['rms_norm_forward', 'small_linear_8', 'rotary', 'scatter_rows', 'scatter_rows', 'attention_forward'],
    ]);
    expect(run([0, 1], [80], [78]).forward).toThrow('cache row 78');
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
