import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CpuRuntime } from '../../../src/engine/cpu/cpu-runtime.js';
import { Heap } from '../../../src/engine/cpu/heap.js';
import { StoredWeight } from '../../../src/engine/cpu/stored-weight.js';
import { ConfigError, EngineError } from '../../../src/errors.js';

const MIB = 1 << 20;

describe('Heap', () => {
  it('never hands out overlapping, unaligned or outside blocks, and joins what is freed', () => {
    const operation = fc.oneof(
      { weight: 3, arbitrary: fc.record({ alloc: fc.oneof(fc.nat(300), fc.nat(100_000), fc.nat(3_000_000)) }) },
      { weight: 2, arbitrary: fc.record({ free: fc.nat() }) },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const heap = new Heap(512 * MIB);
        const live: { ptr: number; bytes: number; mark: number }[] = [];
        let mark = 0;
        for (const step of operations) {
          if ('alloc' in step) {
            const ptr = heap.alloc(step.alloc);
            expect(ptr % 64).toBe(0);
            expect(ptr).toBeGreaterThanOrEqual(65536);
            expect(ptr + step.alloc).toBeLessThanOrEqual(heap.memory.buffer.byteLength);
            mark = (mark + 1) & 255;
            heap.u8.fill(mark, ptr, ptr + step.alloc);
            live.push({ ptr, bytes: step.alloc, mark });
          } else if (live.length > 0) {
            const [block] = live.splice(step.free % live.length, 1);
            heap.free(block!.ptr);
          }
        }
        // Whoever wrote last into a shared byte would show here.
        for (const { ptr, bytes, mark: written } of live) {
          const wrong = heap.u8.subarray(ptr, ptr + bytes).findIndex((byte) => byte !== written);
          expect(wrong).toBe(-1);
        }
        expect(heap.bytesInUse).toBe(
          live.reduce((sum, { bytes }) => sum + Math.max(64, Math.ceil(bytes / 64) * 64), 0),
        );
        for (const { ptr } of live) heap.free(ptr);
        expect(heap.bytesInUse).toBe(0);
        // All of it is one free block again: no growth is needed to take it whole.
        const before = heap.memory.buffer.byteLength;
        heap.alloc(before - 65536);
        expect(heap.memory.buffer.byteLength).toBe(before);
      }),
      { numRuns: 40 },
    );
  });

  it('counts the peak and says what was asked and in use when it is exhausted', () => {
    const heap = new Heap(8 * MIB);
    const first = heap.alloc(5 * MIB);
    heap.free(first);
    heap.alloc(2 * MIB);
    expect(heap.peakBytes).toBe(5 * MIB);
    heap.resetPeak();
    expect(heap.peakBytes).toBe(2 * MIB);
    expect(() => heap.alloc(7 * MIB)).toThrow(/7\.00 MiB asked, 2\.00 MiB in use[\s\S]*gradientCheckpointing/);
    expect(() => heap.alloc(7 * MIB)).toThrow(EngineError);
    // A failure costs nothing.
    heap.free(heap.alloc(5 * MIB));
  });

  it('refuses to free what is not in use', () => {
    const heap = new Heap(8 * MIB);
    const ptr = heap.alloc(100);
    heap.free(ptr);
    expect(() => heap.free(ptr)).toThrow(EngineError);
    expect(() => heap.free(12)).toThrow(EngineError);
    expect(() => heap.alloc(-1)).toThrow(EngineError);
  });

  it('keeps earlier views valid when it grows', () => {
    const heap = new Heap(64 * MIB);
    const ptr = heap.alloc(400);
    const view = heap.f32.subarray(ptr / 4, ptr / 4 + 100);
    view.fill(3);
    const before = heap.memory.buffer.byteLength;
    heap.alloc(32 * MIB);
    expect(heap.memory.buffer.byteLength).toBeGreaterThan(before);
    view[7] = 5;
    expect(heap.f32[ptr / 4 + 7]).toBe(5);
    expect(heap.f32[ptr / 4 + 6]).toBe(3);
  });
});

describe('CpuRuntime', () => {
  const runtimes: CpuRuntime[] = [];
  const make = (threads: number): CpuRuntime => {
    const runtime = new CpuRuntime({ threads });
    runtimes.push(runtime);
    return runtime;
  };
  afterAll(() => Promise.all(runtimes.map((runtime) => runtime.dispose())));

  it('does every item of a task once, with any number of threads and any grain', async () => {
    const rows = 1000;
    const columns = 24;
    for (const threads of [1, 2, 5]) {
      const runtime = make(threads);
      await runtime.ready;
      const from = runtime.alloc(4 * rows * columns);
      const to = runtime.alloc(4 * rows * columns);
      const source = runtime.f32(from, rows * columns);
      for (let i = 0; i < source.length; i++) source[i] = i;
      for (const grain of [1, 7, 62, 63, 1000]) {
        runtime.f32(to, rows * columns).fill(-1);
        runtime.parallel('transpose', Math.ceil(rows / 16), grain, [from, rows, columns, rows, to, columns]);
        const got = runtime.f32(to, rows * columns);
        const wrong = got.findIndex((value, i) => value !== (i % columns) * rows + Math.floor(i / columns));
        expect(wrong).toBe(-1);
      }
    }
  });

  it('hands many short tasks over without losing one', async () => {
    const runtime = make(3);
    await runtime.ready;
    const from = runtime.alloc(4 * 64 * 4);
    const to = runtime.alloc(4 * 64 * 4);
    const input = runtime.f32(from, 256);
    const output = runtime.f32(to, 256);
    for (let round = 0; round < 20_000; round++) {
      input[255] = round;
      input[16] = -round;
      runtime.parallel('transpose', 4, 1, [from, 64, 4, 64, to, 4]);
      if (output[255] !== round || output[64] !== -round) throw new Error(`round ${round} was not done on return`);
    }
  });

  it('reports a kernel that traps, in whichever thread, and goes on', async () => {
    const runtime = make(2);
    await runtime.ready;
    const weight = new StoredWeight(runtime, 'table', [64, 256], 'f32');
    new Float32Array(weight.buffer).fill(1.5);
    const ids = runtime.allocI32(Array.from({ length: 64 }, (_, i) => (i === 40 ? 64 : i)));
    const target = runtime.alloc(4 * 64 * 256);
    const seen = new Set<boolean>();
    const end = performance.now() + 20_000;
    while (seen.size < 2 && performance.now() < end) {
      let error: unknown;
      try {
        runtime.parallel('gatherWeightRows', 64, 1, [ids, 0, weight.id, 0, 256, target]);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(EngineError);
      expect((error as EngineError).message).toMatch(/gatherWeightRows failed.*: row 64 of frozen weight/);
      seen.add((error as EngineError).message.includes('worker thread'));
    }
    expect(seen).toEqual(new Set([true, false]));
    const outside = 0xfffe_0000;
    expect(() => runtime.parallel('transpose', 50, 1, [outside, 800, 16, 800, target, 16])).toThrow(EngineError);
    expect(() => runtime.parallel('transpose', 50, 50, [outside, 800, 16, 800, target, 16])).toThrow(
      /transpose failed/,
    );
    weight.widenRows(0, 64, target);
    expect(runtime.f32(target, 64 * 256).every((value) => value === 1.5)).toBe(true);
  });

  it('knows weights that were made before and after the threads started', async () => {
    const runtime = make(2);
    const early = new StoredWeight(runtime, 'early', [512, 64], 'f32');
    new Float32Array(early.buffer).set(Array.from({ length: early.rows * early.columns }, (_, i) => i));
    const gone = new StoredWeight(runtime, 'gone', [4], 'f32');
    gone.release();
    await runtime.ready;
    const late = new StoredWeight(runtime, 'late', [512, 64], 'f32');
    new Float32Array(late.buffer).set(Array.from({ length: late.rows * late.columns }, (_, i) => -i));
    expect(runtime.weightBytes).toBe(2 * 4 * 512 * 64);
    const target = runtime.alloc(4 * 512 * 64);
    for (let round = 0; round < 20; round++) {
      for (const [weight, sign] of [
        [early, 1],
        [late, -1],
      ] as const) {
        runtime.parallel('gatherWeightRows', 512, 1, [0, 0, weight.id, 0, 64, target]);
        expect(runtime.f32(target, 512 * 64).findIndex((value, i) => value !== sign * i)).toBe(-1);
      }
    }
    expect(() => late.gatherRows([1, 512], target)).toThrow(EngineError);
    expect(() => late.widenRows(500, 513, target)).toThrow(EngineError);
  });

  it('refuses unknown kernels, bad thread counts and work after dispose', async () => {
    const runtime = new CpuRuntime({ threads: 2 });
    expect(() => runtime.parallel('nosuch', 1, 1, [])).toThrow(/no kernel named nosuch/);
    await runtime.dispose();
    await runtime.ready;
    expect(() => runtime.parallel('transpose', 1, 1, [])).toThrow(/disposed/);
    expect(() => new CpuRuntime({ threads: 0 })).toThrow(ConfigError);
    expect(() => new CpuRuntime({ threads: 1.5 })).toThrow(ConfigError);
  });
});
