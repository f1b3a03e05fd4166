import { beforeEach, describe, expect, it } from 'vitest';
import type { E4m3Matrix } from '../../../src/engine/cuda/e4m3-matrix.js';
import { DeviceAllocator } from '../../../src/engine/cuda/memory.js';
import type { Nf4Matrix } from '../../../src/engine/cuda/nf4-matrix.js';
import { Staging } from '../../../src/engine/cuda/staging.js';
import { TensorStore } from '../../../src/engine/cuda/tensor-store.js';
import { type DeviceWeight, WeightStore } from '../../../src/engine/cuda/weights.js';
import { CheckpointError, EngineError } from '../../../src/errors.js';
import { quantizeRows } from '../../../src/formats/float8.js';
import { widen } from '../../../src/formats/half-precision.js';
import { quantizedSource } from '../../../src/formats/held-source.js';
import { Nf4Quantizer, quantizeAbsmax } from '../../../src/formats/nf4.js';
import {
  type DType,
  type HeldFormat,
  type Nf4Absmax,
  sizeOf,
  type WeightSource,
} from '../../../src/formats/weight-source.js';
import type {
  AbsmaxMean,
  AbsmaxQuantize,
  E4m3Copy,
  E4m3Quantize,
  ExpandScales,
  Nf4Quantize,
} from '../../../src/generated/kernel-launchers.js';
import { FakeCard, physical } from './fake-card.js';

/** Bytes of a piece; weights of up to a 32nd of it are small. */
const PIECE = 64 << 10;
const KINDS: readonly DType[] = ['f32', 'bf16', 'f16'];
const WIDTHS = [4, 2, 2];
const NF4: HeldFormat = { format: 'nf4', blockSize: 64, doubleQuantization: true };
const PLAIN_NF4: HeldFormat = { format: 'nf4', blockSize: 128, doubleQuantization: false };
const E4M3: HeldFormat = { format: 'f8_e4m3' };

const bytesOf = (array: Uint8Array | Float32Array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Kernels of quantization.cu by the algorithms of the host. */
function addKernels(card: FakeCard): void {
  const floats = (address: number, count: number) => new Float32Array(card.at(address, 4 * count).slice().buffer);
  const values = (x: number, kind: number, count: number) =>
    widen(card.at(x, WIDTHS[kind]! * count).slice(), KINDS[kind]!);
  const whole = (flag: number, run: () => void) => {
    try {
      run();
    } catch {
      card.at(flag, 4).set([1, 0, 0, 0]);
    }
  };
  const kernels = {
    nf4_quantize: ({ codes, absmax, x, n, kind, blockSize, flag }: Nf4Quantize) =>
      whole(flag, () => {
        const quantizer = new Nf4Quantizer('piece', n, blockSize);
        quantizer.push(values(x, kind, n));
        card.at(codes, Math.ceil(n / 2)).set(quantizer.codes);
        card.at(absmax, 4 * quantizer.absmax.length).set(bytesOf(quantizer.absmax));
      }),
    absmax_mean: ({ mean, x, n }: AbsmaxMean) => {
      const { offset } = quantizeAbsmax(floats(x, n)) as { offset: number };
      card.at(mean, 4).set(bytesOf(Float32Array.of(offset)));
    },
    absmax_quantize: ({ codes, nested, absmax, table, n }: AbsmaxQuantize) => {
      const state = quantizeAbsmax(floats(absmax, n)) as Exclude<Nf4Absmax, { absmax: Float32Array }>;
      expect([...floats(table, 257)]).toEqual([...state.map, state.offset]);
      card.at(codes, n).set(state.codes);
      card.at(nested, 4 * state.nestedAbsmax.length).set(bytesOf(state.nestedAbsmax));
    },
    e4m3_quantize: ({ codes, scales, x, kind, columns, ldc, flag }: E4m3Quantize, rows: number) =>
      whole(flag, () => {
        const [packed, factors] = [new Uint8Array(rows * columns), new Float32Array(rows)];
        quantizeRows('piece', values(x, kind, rows * columns), columns, packed, factors);
        for (let row = 0; row < rows; row++)
          card.at(codes + row * ldc, columns).set(packed.subarray(row * columns, (row + 1) * columns));
        card.at(scales, 4 * rows).set(bytesOf(factors));
      }),
    e4m3_copy: ({ out, x, rows, columns, ldo, flag }: E4m3Copy) => {
      for (let row = 0; row < rows; row++) {
        const codes = card.at(x + row * columns, columns);
        if (codes.some((code) => (code & 0x7f) === 0x7f)) card.at(flag, 4).set([1, 0, 0, 0]);
        card.at(out + row * ldo, columns).set(codes);
      }
    },
    expand_scales: ({ scales, factors, rows, blockRows }: ExpandScales) => {
      const all = floats(factors, Math.ceil(rows / blockRows));
      const expanded = Float32Array.from({ length: rows }, (_, row) => all[Math.floor(row / blockRows)]!);
      card.at(scales, 4 * rows).set(bytesOf(expanded));
    },
  };
  for (const [name, kernel] of Object.entries(kernels)) card.kernels.set(name, kernel as never);
}

let card: FakeCard;
let allocator: DeviceAllocator;
let weights: WeightStore;
beforeEach(() => {
  card = new FakeCard();
  addKernels(card);
  allocator = new DeviceAllocator(physical(card));
  const staging = new Staging(card);
  const kernels = {
    multiprocessors: 1,
    hasWarpgroups: false,
    launch: ({ name }: { name: string }, grid: readonly unknown[], parameters: unknown) =>
      card.run(name, parameters as never, grid[0] as number),
  };
  const products = { run: () => {} };
  const store = new TensorStore({ driver: card, kernels, allocator, products, staging }, { rematerialize: true });
  weights = new WeightStore(store, card, staging, 16, PIECE);
});

/** Pseudo-random finite values. */
function stored(name: string, shape: readonly number[], dtype: DType, hold: HeldFormat): WeightSource {
  const size = sizeOf(shape);
  const width = dtype === 'f32' ? 4 : 2;
  const bytes = new Uint8Array(size * width);
  for (let i = 0; i < size; i++) {
    const random = Math.imul(i + name.length, 2654435761) >>> 16;
    if (width === 4) new DataView(bytes.buffer).setFloat32(4 * i, random / 65536 - 0.5, true);
    // Exponents in the middle of both formats.
    else new DataView(bytes.buffer).setUint16(2 * i, 0x3800 | (random & 0x83ff), true);
  }
  const read = async (target: Uint8Array, offset = 0): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, offset % 3));
    target.set(bytes.subarray(offset, offset + target.length));
  };
  return { name, shape, dtype, byteLength: bytes.length, hold, read };
}

/** What the card holds of a weight, and what the host makes of its source. */
async function compare(weight: DeviceWeight, source: WeightSource): Promise<void> {
  const expected = await quantizedSource(source);
  const codes = new Uint8Array(expected.byteLength);
  await expected.read(codes, 0);
  const same = (address: number, array: Uint8Array | Float32Array, what: string) => {
    const bytes = bytesOf(array);
    expect([source.name, what, Buffer.from(card.at(address, bytes.length)).equals(bytes)]).toEqual([
      source.name,
      what,
      true,
    ]);
  };
  const { row, rows, columns } = weight;
  if (weight.held === 'f8_e4m3') {
    const matrix = weight.matrix as E4m3Matrix;
    for (let i = 0; i < rows; i++) {
      const line = new Uint8Array(matrix.ld);
      line.set(codes.subarray(i * columns, (i + 1) * columns));
      same(matrix.codesAt(row + i), line, `codes of row ${i}`);
    }
    const { block, read } = expected.scale!;
    const factors = await read();
    const scales = Float32Array.from({ length: rows }, (_, i) => factors[Math.floor(i / block[0])]!);
    same(matrix.scalesAt(row)!, scales, 'scales');
    return;
  }
  const { format, layout } = weight.matrix as Nf4Matrix;
  const block = layout.partBlocks[layout.partRows.indexOf(row)]!;
  const absmax = await expected.quantState!.read();
  // The half byte behind an odd number of values is nobody's.
  same(layout.codes + (block * format.blockSize) / 2, codes.subarray(0, Math.floor((rows * columns) / 2)), 'codes');
  if ('absmax' in absmax) same(layout.absmax + 4 * block, absmax.absmax, 'absmax');
  else {
    same(layout.absmaxCodes! + block, absmax.codes, 'codes of absmax');
    same(layout.absmax + (4 * block) / format.nestedBlockSize, absmax.nestedAbsmax, 'nested absmax');
    const table = layout.tables[layout.partRows.indexOf(row)]!;
    same(table, Float32Array.of(...absmax.map, absmax.offset), 'table');
  }
}

describe('WeightStore with held formats', () => {
  it.each([1, 2])(
    'quantises pieces as the host does, also where blocks go over rows (stream %i lags)',
    async (lazy) => {
      card.lazy = lazy;
      const shapes: [readonly number[], DType, HeldFormat][] = [
        [[8, 24], 'bf16', NF4],
        [[901, 203], 'bf16', NF4],
        [[410, 208], 'f32', NF4],
        [[701, 77], 'f16', PLAIN_NF4],
        [[5, 13], 'f32', E4M3],
        [[901, 203], 'bf16', E4M3],
        [[410, 208], 'f32', E4M3],
      ];
      const sources = shapes.map(([shape, dtype, hold], i) => stored(`w${i}`, shape, dtype, hold));
      const loaded = await Promise.all(sources.map((source) => weights.load(source)));
      card.synchronize();
      for (const [i, weight] of loaded.entries()) await compare(weight, sources[i]!);
      expect(loaded.map(({ held, dtype }) => [held, dtype]).slice(2, 5)).toEqual([
        ['nf4', 'f32'],
        ['nf4', 'f16'],
        ['f8_e4m3', 'f32'],
      ]);
      for (const weight of loaded) weights.release(weight);
      expect(allocator.memory().bytesInUse).toBe(0);
    },
  );

  it.each([1, 2])('streams layers as they are packed (stream %i lags)', async (lazy) => {
    card.lazy = lazy;
    const held = (layer: number, name: string, rows: number, hold: HeldFormat, row?: number): WeightSource => {
      const source = { ...stored(`${layer} ${name}`, [rows, 203], 'bf16', hold), usage: { layer } };
      return row === undefined ? source : { ...source, stack: { name: `${layer} stack`, row, rows: 600 } };
    };
    // 203 columns: rows of e4m3 are padded, and blocks of NF4 go over rows.
    const sources = [0, 1, 2, 3, 4].flatMap((layer) => [
      // Parts of a stack come in another order in every other layer.
      ...[held(layer, 'up', 250, NF4, 350), held(layer, 'gate', 350, NF4, 0)].sort(() => (layer % 2 === 0 ? 1 : -1)),
      held(layer, 'down', 901, E4M3),
    ]);
    weights.place(sources, { layers: 5 }, () => 0);
    const loaded = await Promise.all(sources.map((source) => weights.load(source)));
    card.synchronize();
    // The packed matrices of three layers, and scale·B of all.
    const slot = 203 * (600 / 2 + 901);
    expect(allocator.memory().bytesInUse).toBeLessThan(1.15 * (3 * slot + 5 * 2 * (3 * 16 * 600 + 16 * 901)));
    expect(weights.streamedBytes).toBeGreaterThan(5 * slot);
    for (const layer of [0, 1, 2, 3, 4, 3, 2, 1, 0]) {
      for (const i of [0, 1, 2].map((part) => 3 * layer + part)) {
        expect((loaded[i]!.matrix as Nf4Matrix).memory.address).toBeGreaterThan(0);
        card.synchronize();
        await compare(loaded[i]!, sources[i]!);
      }
    }
    for (const weight of loaded) weights.release(weight);
    expect([allocator.memory().bytesInUse, weights.streamedBytes]).toEqual([0, 0]);
  });

  it.each([NF4, PLAIN_NF4, E4M3])('keeps what is stored so, in stacks too: $format', async (hold) => {
    const parts = [0, 1, 2].map((i) => stored(`part ${'x'.repeat(i)}`, [200 + i, 205], 'bf16', hold));
    let row = 0;
    const sources = await Promise.all(
      parts.map(async (part, i) => {
        const stack = { name: 'qkv', row, rows: 603 };
        row += part.shape[0]!;
        // The second one is quantised on the card.
        return { ...(i === 1 ? part : { ...(await quantizedSource(part)), hold: undefined }), stack };
      }),
    );
    const held = sources.map((source) => ({ ...source, hold: source.dtype === 'f8_e4m3' ? hold : source.hold }));
    const loaded = await Promise.all([...held].reverse().map((source) => weights.load(source)));
    card.synchronize();
    loaded.reverse();
    expect(new Set(loaded.map(({ matrix }) => matrix)).size).toBe(1);
    for (const [i, weight] of loaded.entries()) await compare(weight, parts[i]!);
    expect(weights.scratchBytes).toBe(603 * 2 * (208 + 48));
  });

  it('gives a weight of another format than its stack a matrix of its own', async () => {
    const [first, second] = [stored('first', [24, 64], 'bf16', NF4), stored('second', [8, 64], 'bf16', PLAIN_NF4)];
    const place = (row: number) => ({ stack: { name: 'gate, up', row, rows: 32 } });
    const loaded = [await weights.load({ ...first, ...place(0) }), await weights.load({ ...second, ...place(24) })];
    card.synchronize();
    expect([loaded[0]!.matrix.rows, loaded[1]!.matrix.rows, loaded[1]!.row]).toEqual([32, 8, 0]);
    for (const [i, weight] of loaded.entries()) await compare(weight, [first, second][i]!);
  });

  it.each([NF4, E4M3])('refuses values that are not finite: $format', async (hold) => {
    const source = stored('broken', [300, 130], 'bf16', hold);
    const read = async (target: Uint8Array, offset?: number): Promise<void> => {
      await source.read(target, offset);
      target.set([0x80, 0x7f], target.length - 6);
    };
    await expect(weights.load({ ...source, read })).rejects.toThrow(CheckpointError);
    await expect(weights.load({ ...source, read })).rejects.toThrow('broken: a value is not finite');
    expect(allocator.memory().bytesInUse).toBe(0);
  });

  it('refuses what it cannot hold', async () => {
    const source = stored('w', [8, 64], 'bf16', NF4);
    const packed = { ...(await quantizedSource(source)), hold: undefined };
    const short = { blockSize: 64, read: async () => ({ absmax: new Float32Array(7) }) };
    const wrong: [WeightSource, string][] = [
      [{ ...source, hold: { ...NF4, blockSize: 48 } }, 'blocks of 48 values'],
      [{ ...packed, quantState: undefined }, '4-bit values without a quant state'],
      [{ ...packed, quantState: short }, '7 absmax for 4-bit values, expected 8'],
      [{ ...packed, hold: E4M3 }, 'cannot be held as f8_e4m3'],
    ];
    for (const [bad, message] of wrong) {
      await expect(weights.load(bad)).rejects.toThrow(message);
      await expect(weights.load(bad)).rejects.toThrow(EngineError);
    }
    expect(allocator.memory().bytesInUse).toBe(0);
  });
});
