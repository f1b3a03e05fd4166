import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import { CpuRuntime } from '../../../src/engine/cpu/cpu-runtime.js';
import { EngineError } from '../../../src/errors.js';

vi.mock('../../../src/generated/pool-worker.js', async (original) => {
  const { dyingWorker } = await import('./dying-worker.js');
  return { default: dyingWorker((await original<{ default: string }>()).default) };
});

const ROWS = 4096;
const COLUMNS = 64;

/** Runs the kernel until something happens: a thread may be late for a task. */
function repeat(runtime: CpuRuntime, from: number, to: number, until: () => boolean): unknown {
  const end = performance.now() + 30_000;
  while (performance.now() < end && !until()) {
    try {
      runtime.parallel('transpose', ROWS / 16, 1, [from, ROWS, COLUMNS, ROWS, to, COLUMNS]);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

describe('a thread that ends, or is slow, inside a kernel', () => {
  let runtime: CpuRuntime;
  let from: number;
  let to: number;
  const start = async (how: string): Promise<void> => {
    process.env.TEST_POOL = how;
    runtime = new CpuRuntime({ threads: 2, spins: 100 });
    await runtime.ready;
    from = runtime.alloc(4 * ROWS * COLUMNS);
    to = runtime.alloc(4 * ROWS * COLUMNS);
    runtime.f32(from, ROWS * COLUMNS).forEach((_, i, all) => {
      all[i] = i;
    });
  };
  afterEach(async () => {
    delete process.env.TEST_POOL;
    await runtime.dispose();
  });

  it('is an error at once and from then on, and nothing waits for it', async () => {
    await start('exit:transpose:3');
    const error = repeat(runtime, from, to, () => false) as EngineError;
    expect(error).toBeInstanceOf(EngineError);
    expect(error.message).toMatch(/a thread of the cpu engine ended: it was in kernel transpose/);
    expect(error.hint).toMatch(/resumeFromCheckpoint/);
    expect(() => runtime.parallel('transpose', 4, 1, [from, 64, 4, 64, to, 4])).toThrow(error);
    // What lies in memory can still be read.
    expect(runtime.f32(from, 4)[3]).toBe(3);
  });

  it('is waited for as long as it lives', async () => {
    await start('slow:transpose:1');
    const before = performance.now();
    expect(repeat(runtime, from, to, () => performance.now() - before > 800)).toBeUndefined();
    const got = runtime.f32(to, ROWS * COLUMNS);
    expect(got.findIndex((value, i) => value !== (i % COLUMNS) * ROWS + Math.floor(i / COLUMNS))).toBe(-1);
  });

  it('leaves the task though its error cannot be sent', async () => {
    await start('odd error:transpose:2');
    const error = repeat(runtime, from, to, () => false) as EngineError;
    expect(error.message).toMatch(/transpose failed in a worker thread: Symbol\(odd\)/);
    const before = performance.now();
    expect(repeat(runtime, from, to, () => performance.now() - before > 50)).toBeUndefined();
  });
});

describe('an optimizer step that a thread leaves half-way', () => {
  beforeEach(() => {
    process.env.TEST_POOL = 'exit:adamW:2';
  });
  afterEach(() => {
    delete process.env.TEST_POOL;
  });

  it('gives no parameters or moments to save, until others are written', async () => {
    const engine = createCpuEngine({ threads: 2, spins: 100 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const size = 1 << 20;
    const set = engine.createParameters([{ name: 'p', shape: [size], initial: new Float32Array(size).fill(1) }]);
    const state = engine.createOptimizerState(set, 'adamw');
    const step = { kind: 'adamw', learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0 } as const;
    const gradient = engine.fromArray(new Float32Array(size).fill(0.5), [size]);
    engine.addInPlace(set.parameters[0]!.grad, gradient);
    const whole = await engine.readOptimizerState(set, state);
    let error: unknown;
    const end = performance.now() + 30_000;
    while (!error && performance.now() < end) {
      try {
        engine.optimizerStep(set, state, { ...step, maxGradNorm: 0 });
      } catch (caught) {
        error = caught;
      }
    }
    expect((error as Error).message).toMatch(/a thread of the cpu engine ended/);
    await expect(engine.readParameters(set)).rejects.toThrow(/optimizer step failed half-way/);
    await expect(engine.readOptimizerState(set, state)).rejects.toThrow(/optimizer step failed half-way/);
    engine.writeParameters(set, new Float32Array(size).fill(2));
    engine.writeOptimizerState(set, state, whole);
    expect((await engine.readParameters(set))[5]).toBe(2);
    expect((await engine.readOptimizerState(set, state)).steps![0]).toBe(0);
    await engine.dispose();
  });
});
