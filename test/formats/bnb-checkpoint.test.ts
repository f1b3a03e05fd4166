import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import { parseQuantization, QuantizedCheckpoint } from '../../src/formats/quantized-checkpoint.js';
import { ShardedCheckpoint, writeSafetensors } from '../../src/formats/safetensors.js';
import type { WeightSource } from '../../src/formats/weight-source.js';
import { bnbTensors, type Stored } from './bnb-files.js';

const NAME = 'language_model.model.layers.0.self_attn.q_proj.weight';
const [ROWS, COLUMNS] = [40, 72];
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 13)));

let root: string;
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'bnb-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Runs `use` with a checkpoint of these tensors. */
async function checkpointOf<T>(
  tensors: Iterable<Stored>,
  use: (checkpoint: QuantizedCheckpoint) => Promise<T>,
): Promise<T> {
  const directory = join(root, String(count++));
  await mkdir(directory);
  await writeSafetensors(join(directory, 'model.safetensors'), tensors);
  const checkpoint = await ShardedCheckpoint.open(directory);
  try {
    return await use(await QuantizedCheckpoint.of(checkpoint, undefined));
  } finally {
    await checkpoint.close();
  }
}

async function bytesOf(source: WeightSource): Promise<Uint8Array> {
  const bytes = new Uint8Array(source.byteLength);
  await source.read(bytes);
  return bytes;
}

const stored = (options?: Parameters<typeof bnbTensors>[3]) => bnbTensors(NAME, [ROWS, COLUMNS], values, options);

describe("bitsandbytes' 4-bit checkpoints", () => {
  it.each([
    [true, 64],
    [true, 32],
    [false, 64],
    [false, 4096],
  ])('are read exactly (double quantisation %s, blocks of %i)', async (double, blockSize) => {
    const tensors = stored({ double, blockSize });
    await checkpointOf(tensors.values(), async (checkpoint) => {
      expect(checkpoint.formatOf(NAME)).toBe('nf4');
      expect(checkpoint.shapeOf(NAME)).toEqual([ROWS, COLUMNS]);
      const source = checkpoint.source(NAME);
      expect(source).toMatchObject({
        dtype: 'nf4',
        shape: [ROWS, COLUMNS],
        byteLength: 1440,
        quantState: { blockSize },
      });
      expect(await bytesOf(source)).toEqual(tensors.get('')!.data);
      const absmax = await source.quantState!.read();
      if (double) {
        expect(absmax).toMatchObject({
          codes: tensors.get('.absmax')!.data,
          map: tensors.get('.nested_quant_map')!.data,
          nestedAbsmax: tensors.get('.nested_absmax')!.data,
          nestedBlockSize: 256,
        });
      } else expect(absmax).toEqual({ absmax: tensors.get('.absmax')!.data });
      for (const suffix of tensors.keys()) expect(checkpoint.isCompanion(`${NAME}${suffix}`)).toBe(suffix !== '');
    });
  });

  it('have the values of the same matrix quantised while it is loaded', async () => {
    const hold = { format: 'nf4', blockSize: 64, doubleQuantization: true } as const;
    const plain: WeightSource = {
      ...{ name: NAME, shape: [ROWS, COLUMNS], dtype: 'f32', byteLength: values.byteLength, hold },
      read: async (target, offset = 0) =>
        target.set(new Uint8Array(values.buffer).subarray(offset, offset + target.length)),
    };
    const expected = await bytesOf(dequantizedSource(await quantizedSource(plain)));
    await checkpointOf(stored().values(), async (checkpoint) => {
      expect(await bytesOf(dequantizedSource(checkpoint.source(NAME)))).toEqual(expected);
    });
  });

  it('may have another number of magnitudes in a nested block', async () => {
    const tensors = stored({ state: { nested_blocksize: 16 } });
    const nested = { ...tensors.get('.nested_absmax')!, shape: [3], data: Float32Array.of(1, 2, 3) };
    await checkpointOf(
      [...tensors.values()].map((one) => (one.name === nested.name ? nested : one)),
      async (found) => {
        const absmax = await found.source(NAME).quantState!.read();
        expect(absmax).toMatchObject({ nestedBlockSize: 16, nestedAbsmax: Float32Array.of(1, 2, 3) });
      },
    );
  });

  const fault = async (change: (tensors: Map<string, Stored>) => void, options?: Parameters<typeof stored>[0]) => {
    const tensors = stored(options);
    change(tensors);
    const error = await checkpointOf(tensors.values(), async (checkpoint) => {
      const source = checkpoint.source(NAME);
      await source.quantState!.read();
    }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as CheckpointError).hint).toMatch(/bfloat16/);
    return (error as CheckpointError).message;
  };
  const replace = (suffix: string, changes: Partial<Stored>) => (tensors: Map<string, Stored>) => {
    tensors.set(suffix, { ...tensors.get(suffix)!, ...changes } as Stored);
  };
  const nothing = () => {};

  it.each([
    ['.absmax', /4 bits without ".*\.absmax"/],
    ['.quant_map', /4 bits without ".*\.quant_map"/],
    ['.nested_absmax', /4 bits without ".*\.nested_absmax"/],
    ['.nested_quant_map', /4 bits without ".*\.nested_quant_map"/],
    ['.quant_state.bitsandbytes__nf4', /stored as U8 without ".*\.quant_state\.bitsandbytes__nf4"/],
  ])('are refused without %s', async (suffix, message) => {
    expect(await fault((tensors) => tensors.delete(suffix))).toMatch(message);
  });

  it.each([
    [{ quant_type: 'fp4' }, /quant_type "fp4" in its quant state, expected "nf4"/],
    [{ blocksize: 16 }, /blocksize 16 .*a power of two from 32 to 4096/],
    [{ blocksize: 8192 }, /blocksize 8192/],
    [{ blocksize: 96 }, /blocksize 96/],
    [{ blocksize: '64' }, /blocksize "64"/],
    [{ dtype: 'int8' }, /dtype "int8"/],
    [{ shape: [ROWS * COLUMNS] }, /shape .*rows and columns/],
    [{ shape: [ROWS, -COLUMNS] }, /shape/],
    [{ shape: [2 ** 40, 2 ** 40] }, /shape/],
    [{ shape: [ROWS, COLUMNS + 1] }, /1440 bytes, \[40, 73\] in 4 bits needs 1460/],
    [{ nested_blocksize: 100 }, /nested_blocksize 100 .*a power of two/],
    [{ nested_offset: null }, /nested_offset null/],
    [{ nested_dtype: 'float16' }, /nested_dtype "float16"/],
    [{ blocksize: 128 }, /"\S+\.absmax" as U8 \[45\], expected 23 values of U8/],
  ])('are refused with the state %j', async (state, message) => {
    expect(await fault(nothing, { state })).toMatch(message);
  });

  it('are refused where a part does not fit or is not finite', async () => {
    const map = new Float32Array(16).map((_, i) => i / 15);
    expect(await fault(replace('.quant_map', { data: map }))).toMatch(
      /other values in ".*quant_map" than those of NF4/,
    );
    expect(await fault(replace('.nested_absmax', { data: Float32Array.of(Number.NaN) }))).toMatch(/value NaN in/);
    const infinite = new Float32Array(45).fill(Infinity);
    expect(await fault(replace('.absmax', { data: infinite }), { double: false })).toMatch(/value Infinity in/);
    expect(await fault(replace('.absmax', { dtype: 'F32', data: infinite }))).toMatch(
      /as F32 \[45\], expected 45 .*U8/,
    );
    const state = new TextEncoder().encode('{"quant_type": ');
    const suffix = '.quant_state.bitsandbytes__nf4';
    expect(await fault(replace(suffix, { shape: [state.length], data: state }))).toMatch(/no JSON in/);
    const list = new TextEncoder().encode('[1]');
    expect(await fault(replace(suffix, { shape: [3], data: list }))).toMatch(/no JSON object in/);
    const long = new Uint8Array(70_000).fill(0x20);
    expect(await fault(replace(suffix, { shape: [long.length], data: long }))).toMatch(/70000 bytes of U8/);
  });

  it('are refused in FP4 and LLM.int8', async () => {
    const asFp4 = (tensors: Map<string, Stored>): void => {
      const state = tensors.get('.quant_state.bitsandbytes__nf4')!;
      tensors.delete('.quant_state.bitsandbytes__nf4');
      tensors.set('fp4', { ...state, name: `${NAME}.quant_state.bitsandbytes__fp4` });
    };
    expect(await fault(asFp4)).toMatch(/the quant state of fp4, expected nf4/);
    const int8: Stored[] = [
      { name: NAME, dtype: 'I8', shape: [2, 2], data: new Int8Array(4) },
      { name: NAME.replace(/weight$/, 'SCB'), dtype: 'F32', shape: [2], data: new Float32Array(2) },
    ];
    await checkpointOf(int8, async (checkpoint) => {
      expect(checkpoint.isCompanion(int8[1]!.name)).toBe(true);
      expect(() => checkpoint.source(NAME)).toThrow(/stored as I8, as LLM.int8 does/);
    });
  });

  it('leave parts without a 4-bit weight to be reported', async () => {
    const tensors = stored();
    const plain: Stored = { name: NAME, dtype: 'F32', shape: [ROWS, COLUMNS], data: values };
    await checkpointOf([plain, ...[...tensors.values()].slice(1)], async (checkpoint) => {
      expect(checkpoint.formatOf(NAME)).toBeUndefined();
      expect(checkpoint.isCompanion(`${NAME}.absmax`)).toBe(false);
      expect(checkpoint.source(NAME)).toMatchObject({ dtype: 'f32' });
    });
  });
});

describe('quantization_config', () => {
  const parse = (json: unknown): unknown => {
    const faults: string[] = [];
    const parsed = parseQuantization(json, faults);
    return faults.length > 0 ? faults.join() : parsed;
  };

  it('of bitsandbytes is taken where the weights are NF4', () => {
    const config = {
      ...{ quant_method: 'bitsandbytes', _load_in_4bit: true, load_in_4bit: true, load_in_8bit: false },
      ...{ bnb_4bit_quant_type: 'nf4', bnb_4bit_use_double_quant: true, bnb_4bit_quant_storage: 'uint8' },
      ...{ bnb_4bit_compute_dtype: 'bfloat16', llm_int8_skip_modules: ['lm_head'] },
    };
    expect(parse(config)).toEqual({ method: 'bitsandbytes' });
    const { quant_method: _, ...unnamed } = config;
    expect(parse(unnamed)).toEqual({ method: 'bitsandbytes' });
    expect(parse({ ...config, load_in_8bit: true })).toMatch(/load_in_8bit: .*LLM.int8/);
    expect(parse({ ...config, bnb_4bit_quant_type: 'fp4' })).toMatch(/bnb_4bit_quant_type: expected "nf4", got "fp4"/);
    expect(parse({ ...config, bnb_4bit_quant_storage: 'bfloat16' })).toMatch(
      /bnb_4bit_quant_storage: expected "uint8"/,
    );
  });
});
