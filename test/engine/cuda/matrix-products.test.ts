import { describe, expect, it } from 'vitest';
import type { Algorithm } from '../../../src/engine/cuda/cublas-lt.js';
import type { DevicePointer } from '../../../src/engine/cuda/launch.js';
import {
  largestOf,
  MatrixProducts,
  type Product,
  type ProductLibrary,
  sizeBucket,
  WORKSPACE_BYTES,
} from '../../../src/engine/cuda/matrix-products.js';
import type { DeviceAllocator } from '../../../src/engine/cuda/memory.js';

const algorithm = (id: number): Algorithm => BigUint64Array.from([id, 0, 0, 0, 0, 0, 0, 0].map(BigInt));

class FakeDevice {
  readonly stream = 1;
  launches = 0;
  /** Rows and columns of the layouts made, and columns (a product's rows) of the results that a choice was asked for. */
  readonly layouts: [number, number][] = [];
  readonly asked: number[] = [];

  readonly library: ProductLibrary = {
    descriptor: () => 1,
    e4m3Descriptor: () => 2,
    setScales: () => {},
    createLayout: (_, rows, columns) => {
      this.layouts.push([rows, columns]);
      return this.layouts.length;
    },
    destroyLayout: () => {},
    firstChoice: ({ d }) => {
      this.asked.push(this.layouts[d - 1]![1]);
      return algorithm(1);
    },
    check: () => 0,
    matmul: () => 0,
    dispose: () => {},
  };
}

const allocator = { allocate: () => ({ address: 0 }) } as unknown as DeviceAllocator;
const [a, b, d] = [256, 512, 768] as DevicePointer[] as [DevicePointer, DevicePointer, DevicePointer];
const product = (m: number): Product => ({ m, n: 4096, k: 4096, a, lda: 4096, b, ldb: 4096, d, ldd: 4096 });
const make = (device: FakeDevice): MatrixProducts => new MatrixProducts(device, device.library, allocator);

describe('MatrixProducts', () => {
  it('asks the library once a bucket, for its largest size, whatever comes first', () => {
    const device = new FakeDevice();
    const products = make(device);
    for (const m of [2000, 2048, 1921, 100, 105]) products.run(product(m));
    expect(device.asked).toEqual([2048, 107]);
    expect(device.launches).toBe(5);
  });

  it('asks for the very size where the choice of the bucket does not run', () => {
    const device = new FakeDevice();
    device.library.check = (handles) => (device.layouts[handles.d - 1]![1] === 2000 ? undefined : 0);
    const products = make(device);
    products.run(product(2000));
    expect(device.asked).toEqual([2048, 2000]);
    products.run(product(2010));
    expect(device.asked).toEqual([2048, 2000]);
  });

  it('computes our row-major product as the transposed column-major one of the library', () => {
    const device = new FakeDevice();
    const calls: number[][] = [];
    device.library.matmul = (_handles, _algorithm, ...values) => {
      calls.push(values);
      return 0;
    };
    const shape = { m: 3, n: 5, k: 7, lda: 8, ldb: 16, ldd: 24 };
    make(device).run({ ...shape, a, b, d, transB: true, alpha: 2, beta: 1 });
    expect(device.layouts.slice(0, 3)).toEqual([
      [7, 5],
      [7, 3],
      [5, 3],
    ]);
    expect(calls).toEqual([[2, 512, 256, 1, 768, 0, WORKSPACE_BYTES, 1]]);
  });

  it('says which product the library failed with', () => {
    const device = new FakeDevice();
    device.library.matmul = () => 15;
    expect(() => make(device).run(product(2048))).toThrow('product of [2048, 4096] and [4096, 4096]: status 15');
  });
});

describe('MatrixProducts.load', () => {
  it('queues what was used, as it was, on the stream that it is given', () => {
    const device = new FakeDevice();
    const descriptors: unknown[] = [];
    device.library.descriptor = (...transposed) => descriptors.push(transposed);
    device.library.e4m3Descriptor = (...kind) => descriptors.push(kind);
    const products = make(device);
    const factors = { scales: 'rows', a, b, isFast: true } as const;
    products.run({ ...product(100), transA: true, type: 'f32', beta: 1 });
    products.run({ ...product(100), transB: true, e4m3: factors });
    const used = [...products.used.values()];
    const layouts = device.layouts.splice(0);
    const made = descriptors.splice(0);
    const queued: unknown[][] = [];
    device.library.matmul = (_handles, chosen, _alpha, _a, _b, beta, ...rest) => {
      queued.push([chosen, beta, rest.at(-1)]);
      return 0;
    };
    for (const each of used) products.load(each, (queue) => queue(7));
    expect(queued).toEqual([
      [algorithm(1), 1, 7],
      [algorithm(1), 0, 7],
    ]);
    expect(layouts).toEqual(expect.arrayContaining(device.layouts));
    expect(made).toEqual(expect.arrayContaining(descriptors));
    expect(descriptors).toEqual([
      [false, true],
      ['rows', true],
    ]);
    expect(device.launches).toBe(2);
  });

  it('knows one product for each algorithm and kind', () => {
    const device = new FakeDevice();
    const products = make(device);
    for (const m of [100, 2000, 3000]) products.run(product(m));
    products.run({ ...product(100), beta: 1 });
    expect([...products.used.values()].map(({ sizes }) => sizes)).toEqual([
      [100, 4096, 4096, 4096, 4096, 4096, 0],
      [100, 4096, 4096, 4096, 4096, 4096, 8],
    ]);
  });

  it('queues nothing that the library does not support', () => {
    const device = new FakeDevice();
    const products = make(device);
    products.run(product(100));
    device.library.check = () => undefined;
    let loads = 0;
    for (const each of products.used.values()) products.load(each, () => loads++);
    expect(loads).toBe(0);
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
