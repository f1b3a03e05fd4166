import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeTinyCheckpoint } from '../../../src/demo/tiny-checkpoint.js';
import { createEngine } from '../../../src/engine/create-engine.js';
import type { ModelShapes } from '../../../src/engine/engine.js';
import { freeHostMemory, hostMemory } from '../../../src/engine/host-memory.js';
import { largestPass } from '../../../src/engine/reserve.js';
import { float32Needs } from '../../../src/engine/tfjs/float32-needs.js';
import type { TfjsEngineOptions } from '../../../src/engine/tfjs/tfjs-engine.js';
import type { EngineError } from '../../../src/errors.js';
import { sizeOf } from '../../../src/formats/weight-source.js';
import { loadModel } from '../../../src/model/load.js';
import { linearModuleName } from '../../../src/model/tensor-names.js';
import { configOf, SIZES, type Size, shapesOf } from '../../bench/random-model.js';

function modelOf(size: Size): ModelShapes {
  const all = [...shapesOf(configOf(size), SIZES[size].tied)];
  const linear = all.filter(([name, shape]) => ![undefined, 'lm_head'].includes(linearModuleName(name, shape)));
  return { weights: all.map(([, shape]) => shape), linear: linear.map(([, shape]) => shape) };
}

interface Machine {
  backend?: string;
  isGpu?: boolean;
  isGpuPackage?: boolean;
}

/** A namespace that must not compute anything. */
function namespace({ backend = 'tensorflow', isGpu = false, isGpuPackage = false }: Machine): TfjsEngineOptions['tf'] {
  const known: Record<string, unknown> = {
    ready: async () => {},
    getBackend: () => backend,
    backend: () => ({ isGPUPackage: isGpuPackage, isUsingGpuDevice: isGpu }),
    version: { tfjs: '4.22.0' },
    default: undefined,
  };
  const fail = () => {
    throw new Error('TensorFlow.js was called');
  };
  return new Proxy({}, { get: (_, key: string) => (key in known ? known[key] : fail) }) as TfjsEngineOptions['tf'];
}

async function refusal(model: ModelShapes, machine: Machine, tfjs: Omit<TfjsEngineOptions, 'tf'>) {
  const engine = await createEngine('tfjs', { tf: namespace(machine), tfjs });
  try {
    engine.requireRoom!(model);
    return undefined;
  } catch (error) {
    return error as EngineError;
  }
}

describe('float32Needs', () => {
  const options = { rank: 16, blockElements: 1 << 24, onHost: true };

  it('counts weights, adapter and temporaries', () => {
    const small = { weights: [[10, 4], [7]], linear: [[10, 4]] };
    expect(float32Needs(small, { ...options, blockElements: 1 })).toEqual({
      weights: 4 * 47,
      adapter: 24 * 16 * 14,
      temporaries: 160,
    });
    const needs = float32Needs(small, { rank: 0, blockElements: 100, onHost: false });
    expect(needs).toEqual({ weights: 188, adapter: 0, temporaries: 1600 });
  });

  it.each(Object.keys(SIZES) as Size[])('gives the figures of docs/engines.md for %s', (size) => {
    const model = modelOf(size);
    const host = float32Needs(model, options);
    const card = float32Needs(model, { ...options, onHost: false });
    const sum = (needs: typeof host): number => needs.weights + needs.adapter + needs.temporaries;
    const numbers = model.weights.reduce((total, shape) => total + sizeOf(shape), 0);
    const cells = [numbers, host.weights, host.adapter, card.adapter, host.temporaries, sum(host), sum(card)];
    const row = `| ${size} | ${cells.map((cell, i) => (cell / 1e9).toFixed(i === 0 ? 2 : 1)).join(' | ')} |`;
    expect(readFileSync(new URL('../../../docs/engines.md', import.meta.url), 'utf8')).toContain(row);
  });
});

describe('engine tfjs', () => {
  it('refuses a 14B model where it cannot fit, with the arithmetic and what to do', async () => {
    const error = await refusal(modelOf('14B'), { isGpu: true }, { memoryBudget: 40e9 });
    expect(error?.message).toMatch(/float32 and needs 55\.8 GB for the weights alone \(13\.95 billion values/);
    expect(error?.message).toMatch(/adapter of rank 16 .*the memory budget leaves 40\.0 GB/);
    expect(error?.hint).toContain('use engine cuda (27.9 GB of weights, as bfloat16)');
    expect(error?.hint).not.toContain('adapterRank');
  });

  it('takes what the budget holds, and says when leaving the adapter out would help', async () => {
    expect(await refusal(modelOf('14B'), { isGpu: true }, { memoryBudget: 80e9 })).toBeUndefined();
    const { weights, temporaries } = float32Needs(modelOf('3B'), { rank: 0, blockElements: 1 << 24, onHost: true });
    const memoryBudget = weights + temporaries + 1000;
    const error = await refusal(modelOf('3B'), {}, { memoryBudget });
    expect(error?.hint).toContain('tfjs: { adapterRank: 0 }');
    expect(await refusal(modelOf('3B'), {}, { memoryBudget, adapterRank: 0 })).toBeUndefined();
  });

  it('without a budget goes by what the host has free, and on a GPU by nothing', async () => {
    const side = Math.ceil(Math.sqrt(hostMemory() / 4));
    const tooLarge = { weights: [[side, side]], linear: [] };
    expect(freeHostMemory()).toBeLessThanOrEqual(hostMemory());
    expect((await refusal(tooLarge, {}, {}))?.message).toContain('the host has free');
    expect(await refusal(tooLarge, { isGpu: true }, {})).toBeUndefined();
    const overWasm = { weights: [[1 << 15, 1 << 15]], linear: [] };
    expect((await refusal(overWasm, { backend: 'wasm' }, {}))?.message).toContain('budget leaves 3.2 GB');
  });

  it('without a bound has room for every pass, so that none is recomputed', async () => {
    const unbounded = await createEngine('tfjs', { tf: namespace({ isGpu: true }) });
    expect(largestPass(unbounded.storage, unbounded.memory().limitBytes)).toBe(Number.POSITIVE_INFINITY);
    const bounded = await createEngine('tfjs', { tf: namespace({ isGpu: true }), tfjs: { memoryBudget: 8e9 } });
    expect(largestPass(bounded.storage, bounded.memory().limitBytes)).toBe(7.2e9);
  });

  it('says where it computes and what it does not know', async () => {
    const describe_ = async (machine: Machine): Promise<string> =>
      (await createEngine('tfjs', { tf: namespace(machine) })).description;
    expect(await describe_({})).toMatch(/^tfjs: float32, TensorFlow\.js 4\.22\.0, .* on the CPU, up to [\d.]+ GB$/);
    expect(await describe_({ isGpuPackage: true })).toContain('found no GPU or not the libraries of CUDA 11.2');
    expect(await describe_({ isGpu: true, isGpuPackage: true })).toMatch(/on a GPU, memory unknown: set memoryBudget/);
  });

  it('refuses a checkpoint before it reads or computes anything', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'float32-needs-'));
    try {
      await writeTinyCheckpoint({ outputDir: dir, seed: 7, corpus: ['a picture of a bone'] });
      const engine = await createEngine('tfjs', { tf: namespace({}), tfjs: { memoryBudget: 1e5 } });
      await expect(loadModel(dir, { engine })).rejects.toMatchObject({
        name: 'OutOfMemoryError',
        message: expect.stringMatching(/the model does not fit: .* for the weights alone/),
        freeBytes: 1e5,
      });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
