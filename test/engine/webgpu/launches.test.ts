/** What launches share: programs, bind groups and tables. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { BindGroups } from '../../../src/engine/webgpu/bind-groups.js';
import { CommandQueue, TABLE_BYTES } from '../../../src/engine/webgpu/command-queue.js';
import type { BufferRange, GpuBuffer } from '../../../src/engine/webgpu/gpu-types.js';
import { type Kernel, Kernels } from '../../../src/engine/webgpu/kernels.js';
import { WebgpuMemory } from '../../../src/engine/webgpu/memory.js';
import { WebgpuEngine } from '../../../src/engine/webgpu/webgpu-engine.js';
import { WGSL } from '../../../src/generated/wgsl-kernels.js';
import { FakeDevice } from './fake-device.js';

let device: FakeDevice;
let queue: CommandQueue;
let kernels: Kernels;
let arena: GpuBuffer;
const at = (index: number, size = 256): BufferRange => ({ buffer: arena, offset: 256 * index, size });

beforeEach(() => {
  device = new FakeDevice();
  queue = new CommandQueue(device);
  kernels = new Kernels(device, queue);
  arena = device.createBuffer({ size: 1 << 16 });
  vi.spyOn(device, 'createBindGroup');
  vi.spyOn(device, 'createComputePipeline');
});

const add = (out: BufferRange, a: BufferRange, b: BufferRange, defines = { T: 'f32' }): void =>
  kernels.launch(WGSL.add, [1], { out, a, b, n: 1 }, { defines });

describe('programs', () => {
  it('are made once for the same values of the same names, whichever object has them', () => {
    const defines: Record<string, string | number> = { T: 'f32' };
    const launch = (): void =>
      kernels.launch(WGSL.add, [1], { out: at(0), a: at(1), b: at(2), n: 1 }, { defines, constants: {} });
    launch();
    add(at(0), at(1), at(2), { T: 'f32' });
    expect(device.createComputePipeline).toHaveBeenCalledTimes(1);
    defines['T'] = 'vec4f';
    launch();
    expect(device.createComputePipeline).toHaveBeenCalledTimes(2);
    defines['MORE'] = 1;
    launch();
    expect(device.createComputePipeline).toHaveBeenCalledTimes(3);
    for (const T of ['f32', 'vec4f', 'f32']) add(at(0), at(1), at(2), { T });
    expect(device.createComputePipeline).toHaveBeenCalledTimes(3);
  });

  it('differ by constants and by what is bound', () => {
    const kernel = WGSL.add as unknown as Kernel<object>;
    const launch = (given: object, constants?: Record<string, number>): void =>
      kernels.launch(kernel, [1], { n: 1, ...given }, { defines: { T: 'f32' }, ...(constants && { constants }) });
    launch({ out: at(0), a: at(1), b: at(2) });
    launch({ out: at(0), a: at(1), b: at(2) }, { SIZE: 1 });
    launch({ out: at(0), a: at(1), b: at(2) }, { SIZE: 2 });
    launch({ out: at(0), a: at(1) });
    launch({ out: at(0), b: at(1) });
    expect(device.createComputePipeline).toHaveBeenCalledTimes(5);
    launch({ out: at(0), a: at(1), b: at(2) }, { SIZE: 1 });
    expect(device.createComputePipeline).toHaveBeenCalledTimes(5);
  });
});

describe('bind groups', () => {
  it('are made anew for another offset, size or buffer', () => {
    const other = device.createBuffer({ size: 1 << 16 });
    for (let round = 0; round < 2; round++) {
      add(at(0), at(1), at(2));
      add(at(0), at(2), at(1));
      add(at(0), at(1), at(2, 128));
      add(at(0), at(1), at(3));
      add(at(0), at(1), { ...at(2), buffer: other });
      expect(device.createBindGroup).toHaveBeenCalledTimes(5);
    }
  });

  it('are refused where what is written overlaps, each time', () => {
    for (let round = 0; round < 2; round++) {
      expect(() => add(at(0, 512), at(1), at(2))).toThrow(/add.wgsl: out and a overlap/);
      const copy = { out: at(0), x: at(1), index: at(2), n: 1, columns: 1 };
      expect(() => kernels.launch(WGSL.gatherRows, [1], copy, { defines: { T: 'f32' } })).toThrow(/share a buffer/);
    }
    expect(device.createBindGroup).not.toHaveBeenCalled();
  });

  it('do not outlive a buffer of the memory', () => {
    const memory = new WebgpuMemory(device, queue, 1 << 30);
    const fixed = memory.createFixed(256);
    add(at(0), at(1), at(2));
    expect(queue.bindGroups.size).toBe(1);
    queue.flush();
    memory.freeFixed(fixed);
    expect(queue.bindGroups.size).toBe(0);
    add(at(0), at(1), at(2));
    expect(device.createBindGroup).toHaveBeenCalledTimes(2);
  });

  it('are kept in a bounded number, those that are used longest', () => {
    const groups = new BindGroups(device, at(0), 4);
    const layout = { number: 0, layout: {}, bindings: [{ index: 1, name: 'x' }] };
    const find = (index: number): object => groups.find(layout, { x: at(index) }, () => {});
    const first = find(0);
    for (let index = 1; index < 40; index++) {
      find(index);
      expect(find(0)).toBe(first);
      expect(groups.size).toBeLessThanOrEqual(8);
    }
    expect(device.createBindGroup).toHaveBeenCalledTimes(40);
    find(1);
    expect(device.createBindGroup).toHaveBeenCalledTimes(41);
  });
});

describe('tables', () => {
  /** What the device holds for a launch that takes the table. */
  function given(values: Int32Array): number[] {
    return queue.withTable(values, (index) => {
      const bindings = { out: at(0), x: at(1), index, n: 1, columns: 1 };
      kernels.launch(WGSL.gatherRows, [1], bindings, { defines: { T: 'f32' } });
      queue.flush();
      const { bytes } = index.buffer as unknown as { readonly bytes: Uint8Array };
      return [...new Int32Array(bytes.slice(index.offset, index.offset + values.byteLength).buffer)];
    });
  }
  const written = (): number => vi.mocked(device.queue.writeBuffer).mock.calls.length;

  it('are sent once, and again when their values have changed', () => {
    vi.spyOn(device.queue, 'writeBuffer');
    const values = Int32Array.of(1, 2, 3);
    expect(given(values)).toEqual([1, 2, 3]);
    const first = written();
    expect(given(values)).toEqual([1, 2, 3]);
    // Only the uniforms.
    expect(written()).toBe(first + 1);
    expect(device.createBindGroup).toHaveBeenCalledTimes(1);
    values[1] = 7;
    expect(given(values)).toEqual([1, 7, 3]);
    expect(given(Int32Array.of(1, 7, 3))).toEqual([1, 7, 3]);
  });

  it('that were overwritten by later ones are sent again', () => {
    const values = Int32Array.of(4, 5);
    expect(given(values)).toEqual([4, 5]);
    const long = TABLE_BYTES / 16;
    for (let i = 0; i < 20; i++) expect(given(new Int32Array(long).fill(i))[long - 1]).toBe(i);
    expect(given(values)).toEqual([4, 5]);
  });

  it('keep their values while others are taken inside of their call', () => {
    const outer = Int32Array.of(8, 9);
    queue.withTable(outer, (range) => {
      for (let i = 0; i < 6; i++) given(new Int32Array(TABLE_BYTES / 32).fill(i));
      const { bytes } = range.buffer as unknown as { readonly bytes: Uint8Array };
      expect([...new Int32Array(bytes.slice(range.offset, range.offset + 8).buffer)]).toEqual([8, 9]);
    });
  });
});

describe('attention', () => {
  it('queues a launch forward and three backward, and sends its lists once for all layers', () => {
    const engine = new WebgpuEngine({ device, info: {}, isSoftware: true }, { bytes: 1 << 28, source: 'for a test' });
    const files: string[] = [];
    engine.store.kernels.onLaunch = (file) => files.push(file);
    const { attention } = engine.operations;
    const segments = {
      queryStarts: Int32Array.of(0, 40, 70),
      keyStarts: Int32Array.of(0, 40),
      keyLengths: Int32Array.of(40, 30),
    };
    const attributes = { heads: 2, kvHeads: 1, headDim: 8, causal: true, scale: 1, segments };
    const layer = (): void => {
      const [q, dOut] = [engine.zeros([70, 16]), engine.zeros([70, 16])];
      const [k, v] = [engine.zeros([70, 8]), engine.zeros([70, 8])];
      const { outputs, saved } = attention.forward([q, k, v], attributes, true);
      for (const tensor of saved) engine.retain(tensor);
      const gradients = attention.backward(saved, [dOut], attributes, [true, true, true]);
      for (const tensor of [...outputs, ...saved, ...gradients, q, k, v, dOut]) engine.release(tensor!);
    };
    layer();
    expect(files).toEqual([
      ...['attention-forward.wgsl', 'attention-sums.wgsl'],
      ...['attention-backward-query.wgsl', 'attention-backward-key-value.wgsl'],
    ]);
    engine.store.queue.flush();
    const buffers = device.buffers.size;
    const { submitted } = device;
    vi.spyOn(device.queue, 'writeBuffer');
    for (let i = 0; i < 20; i++) layer();
    expect(files.length).toBe(21 * 4);
    expect([device.buffers.size, device.submitted]).toEqual([buffers, submitted]);
    engine.store.queue.flush();
    // The uniforms of all of them.
    expect(device.queue.writeBuffer).toHaveBeenCalledTimes(1);
  });
});
