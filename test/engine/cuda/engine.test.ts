import { describe, expect, it } from 'vitest';
import type { WeightSource } from '../../../src/formats/weight-source.js';
import { loadWeights } from '../../../src/model/network/load-weights.js';
import { recordingEngine } from '../recording-engine.js';
import { standInEngine } from './stand-in.js';

const EXTENTS = [8, 8];

function source(name: string, read: WeightSource['read'] = async () => {}, shape: readonly number[] = EXTENTS) {
  return { name, shape, dtype: 'bf16' as const, byteLength: 2 * shape.reduce((a, b) => a * b), read };
}

describe('CudaEngine.createParameters', () => {
  it('makes an empty set on an engine that holds nothing yet', async () => {
    const { engine } = standInEngine(2 ** 30);
    const set = engine.createParameters([]);
    expect([set.size, set.parameters]).toEqual([0, []]);
    engine.releaseParameters(set);
    await engine.dispose();
  });
});

describe('CudaEngine.areZero', () => {
  it('tells by the largest magnitude of each chunk of each parameter', async () => {
    let answer: readonly number[] = [];
    const { engine, launches } = recordingEngine(
      {},
      { downloadAsync: (target) => new Float32Array(target.buffer, target.byteOffset, answer.length).set(answer) },
    );
    const sizes = [3000, 10, 2048];
    const set = engine.createParameters(
      sizes.map((size, i) => ({ name: `p${i}`, shape: [size], initial: new Float32Array(size) })),
    );
    // Two chunks, one, one.
    answer = [0, 2, 0, Number.NaN];
    expect(await engine.areZero(set, 'gradients')).toEqual([false, true, false]);
    const [launch] = launches.filter(({ name }) => name === 'largest_magnitude');
    expect(launch!.grid).toEqual([4]);
    answer = [0, 0, 0, 0];
    expect(await engine.areZero(set, 'values')).toEqual([true, true, true]);
    const addresses = launches.filter(({ name }) => name === 'largest_magnitude').map(({ parameters }) => parameters.x);
    expect(new Set(addresses).size).toBe(2);
    await engine.dispose();
  });
});

describe('CudaEngine.loadWeight', () => {
  it('reads all weights while the kernels are being compiled, and waits for these at the end', async () => {
    let compiled = (): void => {};
    const prepared = new Promise<void>((resolve) => {
      compiled = resolve;
    });
    const { engine } = recordingEngine({}, {}, prepared);
    let read = 0;
    const wanted = Array.from({ length: 100 }, (_, i) => {
      return { name: `w${i}`, shape: EXTENTS, view: EXTENTS, stack: undefined };
    });
    const count = async (): Promise<void> => {
      read++;
    };
    const provider = { has: () => true, source: (name: string) => source(name, count), description: 'test' };
    let isLoaded = false;
    const loading = loadWeights(engine, provider, wanted).then(() => {
      isLoaded = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(read).toBe(100);
    expect(isLoaded).toBe(false);
    compiled();
    await loading;
    await engine.dispose();
  });

  it('waits for the kernels after a weight that failed', async () => {
    const { engine } = recordingEngine({}, {}, Promise.resolve());
    const failing = source('broken', () => Promise.reject(new Error('unreadable')));
    await expect(engine.loadWeight(failing)).rejects.toThrow('unreadable');
    expect((await engine.loadWeight(source('whole'))).name).toBe('whole');
    await engine.dispose();
  });
});

describe('CudaEngine.dispose', () => {
  it.each(['read', 'keepPace'] as const)('ends a %s that is under way without touching what is freed', async (what) => {
    let isDisposed = false;
    let late = 0;
    const { engine, driver } = recordingEngine(
      {},
      {
        eventDone: () => {
          if (isDisposed) late++;
          return isDisposed;
        },
        dispose: () => {
          isDisposed = true;
        },
      },
    );
    driver.launches += 1000;
    await engine.keepPace();
    driver.launches += 1000;
    const pending = what === 'read' ? engine.read(engine.zeros([4])) : engine.keepPace();
    const outcome = pending.then(
      () => 'done',
      (error: Error) => error.message,
    );
    await engine.dispose();
    expect(await outcome).toMatch(/disposed/);
    expect(late).toBe(0);
  });
});

describe('an adapter that does not fit', () => {
  it('leaves no memory behind', async () => {
    // Room for the matrix and the workspace of products, not for the wider copy that the rank asks for.
    const { engine } = recordingEngine({ memoryBudget: (64 + 32 + 16) << 20 });
    const shape = [2048, 4096];
    const weight = await engine.loadWeight(source('w', undefined, shape));
    const specs = [
      { name: 'a', shape: [64, 4096], initial: new Float32Array(64 * 4096) },
      { name: 'b', shape: [2048, 64], initial: new Float32Array(2048 * 64) },
    ];
    const set = engine.createParameters(specs);
    const [a, b] = set.parameters;
    const x = engine.zeros([32, 4096]);
    const before = engine.memory().bytesInUse;
    const lora = { a: a!, b: b!, scale: 1, dropout: 0, seed: 0 };
    for (let i = 0; i < 3; i++) {
      const mark = engine.mark();
      expect(() => engine.operations.linear.forward([x], { parts: [{ weight, lora }] }, true)).toThrow(/out of device/);
      engine.releaseSince(mark);
      expect(engine.memory().bytesInUse).toBe(before);
    }
    await engine.dispose();
  });
});

describe('parameters and moments that do not fit', () => {
  const MIB = 2 ** 20;
  /** Values and gradients take 16 MiB each, moments of 8 bits 8 MiB and their scales. */
  const specs = () => [{ name: 'a', shape: [1024, 4096], initial: new Float32Array(4 * MIB) }];

  it.each([
    // Beside the workspace of products: room for the values alone; then for both, but not for all moments.
    { room: 20, what: 'parameters' },
    { room: 38, what: 'moments' },
  ])('leave no memory behind: $what', async ({ room, what }) => {
    const { engine } = recordingEngine({ memoryBudget: (64 + room) * MIB });
    const set = what === 'moments' ? engine.createParameters(specs()) : undefined;
    const before = engine.memory().bytesInUse;
    for (let i = 0; i < 3; i++) {
      const make = () => (set ? engine.createOptimizerState(set, 'adamw8bit') : engine.createParameters(specs()));
      expect(make).toThrow(/out of device/);
      expect(engine.memory().bytesInUse).toBe(before);
    }
    await engine.dispose();
  });
});
