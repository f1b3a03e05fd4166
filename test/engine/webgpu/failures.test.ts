/** What goes wrong on a device, on one that only keeps bytes. */
import { describe, expect, it } from 'vitest';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import { EngineError, OutOfMemoryError } from '../../../src/errors.js';
import type { WeightSource } from '../../../src/formats/weight-source.js';
import { FakeDevice } from './fake-device.js';

const MIB = 2 ** 20;

async function engineOn(device: FakeDevice, memoryBudget = 512 * MIB) {
  return createWebgpuEngine({ device, memoryBudget });
}

describe('memory that the device has not', () => {
  it('is thrown once, by the next wait, and the engine goes on with what there is', async () => {
    const device = new FakeDevice({ memoryBytes: 100 * MIB });
    const engine = await engineOn(device);
    const kept = engine.fromArray(new Float32Array([1, 2, 3]), [3]);
    const mark = engine.mark();
    const read = engine.read(kept);
    // 32 MiB slabs: the third of these does not fit.
    for (let i = 0; i < 4; i++) engine.fromArray(new Float32Array(7 * MIB).fill(i), [7 * MIB]);
    const late = engine.zeros([5]);
    engine.addInPlace(late, engine.zeros([5]));
    await expect(engine.keepPace()).rejects.toThrow(OutOfMemoryError);
    await engine.keepPace();
    expect([...(await read)]).toEqual([1, 2, 3]);
    engine.releaseSince(mark);
    expect(engine.memory().limitBytes).toBeLessThan(100 * MIB);
    const again = engine.fromArray(new Float32Array([4, 5]), [2]);
    expect([...(await engine.read(again))]).toEqual([4, 5]);
    expect([...(await engine.read(kept))]).toEqual([1, 2, 3]);
    await engine.keepPace();
    await engine.dispose();
  });

  it('leaves no value that was computed without it', async () => {
    const device = new FakeDevice({ memoryBytes: 100 * MIB });
    const engine = await engineOn(device);
    const mark = engine.mark();
    for (let i = 0; i < 4; i++) engine.zeros([7 * MIB]);
    const value = engine.read(engine.zeros([2]));
    const failing = expect(value).rejects.toThrow(OutOfMemoryError);
    await expect(engine.keepPace()).rejects.toThrow(OutOfMemoryError);
    await failing;
    engine.releaseSince(mark);
    expect([...(await engine.read(engine.zeros([2])))]).toEqual([0, 0]);
    await engine.dispose();
  });

  it('sends what came before it without what it spoils', async () => {
    const device = new FakeDevice({ memoryBytes: 40 * MIB });
    const engine = await engineOn(device);
    const kept = engine.zeros([4]);
    const copy = engine.store.copy(engine.store.use(kept, 'test'));
    const before = device.launches.length;
    // Does not fit: the copy must have gone out.
    engine.zeros([7 * MIB]);
    engine.zeros([7 * MIB]);
    expect(device.launches.length).toBe(before + 1);
    await expect(engine.keepPace()).rejects.toThrow(OutOfMemoryError);
    engine.release(copy);
    await engine.dispose();
  });

  it('is said by loadWeight, which frees what it has', async () => {
    const device = new FakeDevice({ memoryBytes: 10 * MIB });
    const engine = await engineOn(device);
    const before = engine.memory().bytesInUse;
    const bytes = new Uint8Array(8 * MIB);
    const read = async (target: Uint8Array, offset = 0) => target.set(bytes.subarray(offset, offset + target.length));
    const source = { name: 'big', shape: [2048, 1024], dtype: 'f32', byteLength: bytes.length, read } as const;
    await expect(engine.loadWeight(source)).rejects.toThrow(/the GPU has no 8.*left/);
    expect(engine.memory().bytesInUse).toBe(before);
    await engine.keepPace();
    await engine.dispose();
  });

  it('gives slabs back that are free when a weight needs the room', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device, 64 * MIB);
    engine.release(engine.zeros([8 * MIB - 128]));
    const used = device.usedBytes;
    const read = async (): Promise<void> => {};
    const weight = (mib: number): WeightSource => {
      return { name: 'w', shape: [mib, MIB / 4], dtype: 'f32', byteLength: mib * MIB, read };
    };
    const first = await engine.loadWeight(weight(40));
    expect(device.usedBytes).toBe(used - 32 * MIB + 40 * MIB);
    await expect(engine.loadWeight(weight(40))).rejects.toThrow(OutOfMemoryError);
    engine.releaseWeight(first);
    await engine.keepPace();
    await engine.dispose();
  });
});

describe('a device that is lost or fails', () => {
  it('ends the engine with what happened and what is left', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device);
    const tensor = engine.zeros([4]);
    device.lose('the driver was reset');
    await Promise.resolve();
    const error = await engine.keepPace().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toMatch(/the GPU was lost: the driver was reset[\s\S]*last checkpoint/);
    await expect(engine.read(tensor)).rejects.toThrow('the GPU was lost');
    expect(() => engine.zeros([4])).toThrow('the GPU was lost');
    await engine.dispose();
  });

  it('is noticed when it is destroyed from outside', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device);
    const read = engine.read(engine.zeros([4]));
    device.destroy();
    await expect(read).rejects.toThrow('the GPU was lost');
    await expect(engine.keepPace()).rejects.toThrow(/the GPU was lost[\s\S]*Something called destroy\(\)/);
    await engine.dispose();
  });

  it('throws errors that no scope caught', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device);
    device.raise('a shader did what it may not');
    await expect(engine.keepPace()).rejects.toThrow('WebGPU: a shader did what it may not');
    await engine.dispose();
  });

  it('stays open if it is the user’s, without what the engine made, and may be disposed of twice', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device);
    const read = async (): Promise<void> => {};
    await engine.loadWeight({ name: 'w', shape: [4, 4], dtype: 'f32', byteLength: 64, read });
    engine.zeros([10]);
    await engine.dispose();
    await engine.dispose();
    expect(device.isDestroyed).toBe(false);
    expect(device.buffers.size).toBe(0);
    expect(device.listeners).toBe(0);
    expect(() => engine.zeros([4])).toThrow('the engine was disposed');
    const own = new FakeDevice();
    const other = await createWebgpuEngine({ memoryBudget: 64 * MIB }, async () => ({
      device: own,
      info: {},
      isSoftware: false,
    }));
    await other.dispose();
    expect(own.isDestroyed).toBe(true);
  });
});

describe('tensors of another engine of the kind', () => {
  it('are refused by name before the device sees them', async () => {
    const device = new FakeDevice();
    const [one, other] = [await engineOn(device), await engineOn(device)];
    const foreign = other.zeros([4]);
    await expect(one.read(foreign)).rejects.toThrow('read: the tensor belongs to another engine');
    expect(() => one.addInPlace(one.zeros([4]), foreign)).toThrow('addInPlace: source belongs to another engine');
    expect(() => one.release(foreign)).toThrow('release: the tensor belongs to another engine');
    expect([...(await other.read(foreign))]).toEqual([0, 0, 0, 0]);
    await one.keepPace();
    const own = other.zeros([2]);
    await Promise.all([one.dispose(), other.dispose()]);
    // Whoever tidies up afterwards need not know.
    other.release(own);
  });
});

describe('tables', () => {
  it('stay in place while launches to come refer to them', async () => {
    const device = new FakeDevice();
    const engine = await engineOn(device);
    const { queue } = engine.store;
    const target = engine.store.use(engine.zeros([2]), 'test').range;
    queue.withTable(Int32Array.of(1, 2), (first) => {
      queue.copy(first, target, 8);
      // Sends the batch.
      queue.upload({ ...target, offset: target.offset + 256 }, new Float32Array(1));
      queue.withTable(Int32Array.of(3, 4), (second) => {
        expect(second.offset).not.toBe(first.offset);
        queue.copy(first, target, 8);
      });
    });
    const values = await queue.download(target, 8)();
    expect([...new Int32Array(values)]).toEqual([1, 2]);
    await engine.dispose();
  });
});
