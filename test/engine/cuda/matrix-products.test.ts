import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AlgorithmStore } from '../../../src/engine/cuda/algorithm-store.js';
import type { Algorithm } from '../../../src/engine/cuda/cublas-lt.js';
import {
  largestOf,
  MatrixProducts,
  type Product,
  type ProductLibrary,
  sizeBucket,
} from '../../../src/engine/cuda/matrix-products.js';
import type { DeviceAllocator } from '../../../src/engine/cuda/memory.js';

const algorithm = (id: number): Algorithm => BigUint64Array.from([id, 0, 0, 0, 0, 0, 0, 0].map(BigInt));
const idOf = (of: Algorithm): number => Number(of[0]);

/** A device whose products take the time that their algorithm says, and which is done when told so. */
class FakeDevice {
  readonly stream = 1;
  launches = 0;
  readonly launched: number[] = [];
  now = 0;
  isIdle = true;
  refused = new Set<number>();
  failing = new Set<number>();
  candidateCount = 4;
  /** Rows and columns of the layouts made, and columns (a product's rows) of the results that candidates were asked for. */
  readonly layouts: [number, number][] = [];
  readonly asked: number[] = [];
  readonly #times = new Map<number, number>();
  #events = 0;

  createEvent(): number {
    return ++this.#events;
  }
  recordEvent(event: number): void {
    this.#times.set(event, this.now);
  }
  eventDone(): boolean {
    return this.isIdle;
  }
  elapsedMilliseconds(start: number, end: number): number {
    return this.#times.get(end)! - this.#times.get(start)!;
  }
  destroyEvent(): void {}

  readonly library: ProductLibrary = {
    descriptor: () => 1,
    createLayout: (_, rows, columns) => {
      this.layouts.push([rows, columns]);
      return this.layouts.length;
    },
    destroyLayout: () => {},
    candidates: ({ d }) => {
      this.asked.push(this.layouts[d - 1]![1]);
      return Array.from({ length: this.candidateCount }, (_, i) => ({
        algorithm: algorithm(i + 1),
        workspaceBytes: 0,
      }));
    },
    check: (_, of) => (this.refused.has(idOf(of)) ? undefined : 0),
    matmul: (_, of) => {
      if (this.failing.has(idOf(of))) return 15;
      this.launched.push(idOf(of));
      // Number 3 is the fastest.
      this.now += 10 + Math.abs(idOf(of) - 3);
      return 0;
    },
    dispose: () => {},
  };
}

const allocator = { allocate: () => ({ address: 0 }) } as unknown as DeviceAllocator;
const product = (m: number): Product => ({ m, n: 4096, k: 4096, a: 0, lda: 4096, b: 0, ldb: 4096, d: 0, ldd: 4096 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'products-'));
  process.env.MINISTRAL_TUNE_CACHE = folder;
});
afterEach(() => {
  delete process.env.MINISTRAL_TUNE_CACHE;
  rmSync(folder, { recursive: true });
});
const make = (device: FakeDevice, isTimed = true): MatrixProducts =>
  new MatrixProducts(device, device.library, allocator, new AlgorithmStore('card', 1), { isTimed });

describe('MatrixProducts', () => {
  it('gives every candidate four turns, and one more where it is new, then stays with the fastest', () => {
    const device = new FakeDevice();
    const products = make(device);
    for (let i = 0; i < 24; i++) products.run(product(2048));
    const turn = [1, 2, 3, 4];
    expect(device.launched).toEqual([turn, turn, turn, turn, turn, turn.map(() => 3)].flat());
  });

  it('goes on with the first choice while the device has not done the trials', () => {
    const device = new FakeDevice();
    device.isIdle = false;
    const products = make(device);
    for (let i = 0; i < 22; i++) products.run(product(2048));
    expect(device.launched.slice(20)).toEqual([1, 1]);
    device.isIdle = true;
    products.run(product(2048));
    expect(device.launched.at(-1)).toBe(3);
  });

  it('shares the trial and the winner among the sizes of a bucket, and keeps the winner on disk', () => {
    const device = new FakeDevice();
    const products = make(device);
    for (let i = 0; i < 20; i++) products.run(product(2048 - i));
    products.run(product(1930));
    expect(device.launched.slice(16)).toEqual([1, 2, 3, 4, 3]);
    products.dispose();
    const next = new FakeDevice();
    make(next).run(product(2000));
    expect(next.launched).toEqual([3]);
  });

  it('takes a winner of the neighbouring bucket as a candidate of its own', () => {
    const device = new FakeDevice();
    device.candidateCount = 3;
    const products = make(device);
    for (let i = 0; i < 16; i++) products.run(product(2048));
    device.launched.length = 0;
    for (let i = 0; i < 13; i++) products.run(product(2049));
    // First its own first choice, then the neighbour's winner, then the rest; all of them are known by now.
    expect(device.launched).toEqual([1, 3, 2, 1, 3, 2, 1, 3, 2, 1, 3, 2, 3]);
  });

  it('does the product with its own choice where a candidate does not run', () => {
    const device = new FakeDevice();
    device.refused.add(2);
    device.failing.add(4);
    const products = make(device);
    for (let i = 0; i < 21; i++) products.run(product(2048));
    expect(device.launched.slice(0, 4)).toEqual([1, 1, 3, 1]);
    expect(device.launched.slice(16)).toEqual([1, 1, 3, 1, 3]);
  });

  it('stays with the first choice where no other is clearly faster, whatever a single timing says', () => {
    const device = new FakeDevice();
    const products = make(device);
    let turns = 0;
    const { matmul } = device.library;
    Object.assign(device.library, {
      matmul: (...args: Parameters<typeof matmul>) => {
        device.launched.push(idOf(args[1]));
        // All alike, but for clocks that fall now and then.
        device.now += turns++ % 5 === 0 ? 12 : 10;
        return 0;
      },
    });
    for (let i = 0; i < 21; i++) products.run(product(2048));
    expect(device.launched.at(-1)).toBe(1);
  });

  it('tries nothing where timings do not decide, or for small products', () => {
    const device = new FakeDevice();
    const fixed = make(device, false);
    for (let i = 0; i < 5; i++) fixed.run(product(2048));
    expect(device.launched).toEqual([1, 1, 1, 1, 1]);
    const products = make(device);
    products.run({ ...product(32), n: 512 });
    products.run({ ...product(32), n: 512 });
    expect(device.launched.slice(5)).toEqual([1, 1]);
  });
});

describe('MatrixProducts without timings', () => {
  it('asks the library once a bucket, for its largest size, whatever comes first', () => {
    const device = new FakeDevice();
    const products = make(device, false);
    for (const m of [2000, 2048, 1921, 100, 105]) products.run(product(m));
    expect(device.asked).toEqual([2048, 107]);
    expect(device.launches).toBe(5);
  });

  it('asks for the very size where the choice of the bucket does not run', () => {
    const device = new FakeDevice();
    device.library.check = (handles) => (device.layouts[handles.d - 1]![1] === 2000 ? undefined : 0);
    const products = make(device, false);
    products.run(product(2000));
    expect(device.asked).toEqual([2048, 2000]);
    products.run(product(2010));
    expect(device.asked).toEqual([2048, 2000]);
  });
});

describe('sizeBucket', () => {
  it('holds sizes up to largestOf', () => {
    for (let size = 1; size <= 5000; size++) {
      const largest = largestOf(sizeBucket(size));
      expect(largest).toBeGreaterThanOrEqual(size);
      expect(sizeBucket(largest)).toBe(sizeBucket(size));
      expect(sizeBucket(largest + 1)).toBeGreaterThan(sizeBucket(size));
    }
  });

  it('puts large sizes together that fill as many tiles of 128 rows', () => {
    expect(sizeBucket(2048)).toBe(sizeBucket(1921));
    expect(sizeBucket(2049)).toBe(sizeBucket(2048) + 1);
  });

  it('grows with the size, without a gap where the rule changes', () => {
    for (let size = 2; size <= 4096; size++) {
      const step = sizeBucket(size) - sizeBucket(size - 1);
      expect(step).toBeGreaterThanOrEqual(0);
      if (size > 16) expect(step).toBeLessThanOrEqual(1);
    }
  });
});
