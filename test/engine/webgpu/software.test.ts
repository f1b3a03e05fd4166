/** What only a real WebGPU shows, in software: see conformance.test.ts for how to run it. */
import { describe, expect, it } from 'vitest';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import { openDevice } from '../../../src/engine/webgpu/load-webgpu.js';
import { EngineError, OutOfMemoryError } from '../../../src/errors.js';
import { leftOut } from '../../where.js';
import { missingForSoftware, openTestEngine, testGpu } from './open.js';

const missing = missingForSoftware();

const cases = (): void => {
  it('goes on in what there is when the device has less than its budget', async () => {
    // SwiftShader gives no buffer of 1 GiB, a slab of this budget.
    const engine = await openTestEngine({ budget: 24e9 });
    const mark = engine.mark();
    engine.zeros([1 << 20]);
    await expect(engine.keepPace()).rejects.toThrow(OutOfMemoryError);
    engine.releaseSince(mark);
    const sum = engine.fromArray(Float32Array.of(1, 2, 3, 4), [4]);
    engine.addInPlace(sum, engine.fromArray(Float32Array.of(1, 1, 1, 1), [4]));
    await engine.keepPace();
    expect([...(await engine.read(sum))]).toEqual([2, 3, 4, 5]);
    expect(engine.memory().limitBytes).toBeLessThan(24e9);
    await engine.dispose();
  }, 60_000);

  it('ends with an EngineError when its device is destroyed from outside', async () => {
    const { device, gpu } = await openDevice(await testGpu());
    const engine = await createWebgpuEngine({ device, memoryBudget: 2 ** 28 });
    const tensor = engine.zeros([4]);
    await engine.read(tensor);
    const late = engine.read(tensor).catch((error: unknown) => error);
    device.destroy();
    await device.lost;
    const outcome = await late;
    if (!(outcome instanceof Float32Array)) expect(outcome).toBeInstanceOf(EngineError);
    await expect(engine.keepPace()).rejects.toThrow(/the GPU was lost[\s\S]*last checkpoint/);
    expect(() => engine.zeros([4])).toThrow('the GPU was lost');
    await engine.dispose();
    expect(gpu).toBeDefined();
  }, 60_000);

  it('leaves a device of the user as it was', async () => {
    const { device, gpu } = await openDevice(await testGpu());
    for (let round = 0; round < 2; round++) {
      const engine = await createWebgpuEngine({ device, memoryBudget: 2 ** 28 });
      expect([...(await engine.read(engine.fromArray(Float32Array.of(1, 2), [2])))]).toEqual([1, 2]);
      await engine.dispose();
    }
    device.destroy();
    expect(gpu).toBeDefined();
  }, 60_000);
};

if (missing === undefined) describe('engine webgpu, in software', cases);
else leftOut('engine webgpu, in software', missing);
