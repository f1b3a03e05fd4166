import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createEngine } from '../../../src/engine/create-engine.js';
import { createWebgpuEngine } from '../../../src/engine/webgpu/create-webgpu.js';
import type { GpuAdapter } from '../../../src/engine/webgpu/gpu-types.js';
import { loadWebgpu, openDevice } from '../../../src/engine/webgpu/load-webgpu.js';
import { MATRIX_FEATURES } from '../../../src/engine/webgpu/matrix-unit.js';
import { ConfigError } from '../../../src/errors.js';
import { FakeDevice } from './fake-device.js';

/** Stand-ins for `auto`. */
const cuda = vi.hoisted(() => ({ createCudaEngine: vi.fn() }));
const webgpu = vi.hoisted(() => ({ createWebgpuEngine: vi.fn(), requireDevice: vi.fn() }));

let project: string;

async function install(program: string): Promise<void> {
  const folder = join(project, 'node_modules/webgpu');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{ "name": "webgpu", "type": "module", "main": "index.js" }');
  await writeFile(join(folder, 'index.js'), program);
}

const adapterOf = (device: FakeDevice, info: object): GpuAdapter => ({
  ...{ features: new Set(['subgroups', 'depth-clip-control']), limits: device.limits, info },
  requestDevice: async () => device,
});
const SOFTWARE = { vendor: 'google', architecture: 'swiftshader', description: 'SwiftShader' };

describe('loadWebgpu', () => {
  beforeEach(async () => {
    project = await mkdtemp(join(tmpdir(), 'load-webgpu-'));
  });
  afterEach(() => rm(project, { recursive: true, force: true }));

  it("gives the GPU object of the project's own package", async () => {
    await install('export const create = (flags) => ({ flags });');
    expect(await loadWebgpu(project, ['backend=null'])).toEqual({ flags: ['backend=null'] });
  });

  it('says how to install what is missing or broken', async () => {
    await expect(loadWebgpu(project)).rejects.toThrow(
      new RegExp(`the package webgpu is not installed for ${project}[\\s\\S]*npm install webgpu`),
    );
    await install('throw new Error("no binary for this system");');
    await expect(loadWebgpu(project)).rejects.toThrow(
      'webgpu is installed but cannot be loaded: no binary for this system',
    );
    await expect(loadWebgpu(3 as never)).rejects.toThrow('loadWebgpu: `from`');
    for (const flags of ['backend=vulkan', [1]]) {
      await expect(loadWebgpu(project, flags as never)).rejects.toThrow(
        'loadWebgpu: `flags`: expected a list of strings',
      );
    }
  });
});

describe('the webgpu engine', () => {
  it('needs a GPU', async () => {
    await expect(openDevice({ requestAdapter: async () => null })).rejects.toThrow(
      /WebGPU finds no GPU here[\s\S]*cpu/,
    );
  });

  it('asks for what the adapter offers of what it uses', async () => {
    const device = new FakeDevice();
    const adapter = adapterOf(device, SOFTWARE);
    const request = vi.spyOn(adapter, 'requestDevice');
    const opened = await openDevice({ requestAdapter: async () => adapter });
    expect(opened.isSoftware).toBe(true);
    expect(request).toHaveBeenCalledWith({
      requiredFeatures: ['subgroups'],
      requiredLimits: expect.objectContaining({ maxBufferSize: 1 << 27 }),
    });
  });

  it('opens without the features of subgroup matrices where the device refuses them', async () => {
    const device = new FakeDevice();
    const adapter = { ...adapterOf(device, {}), features: new Set(['subgroups', ...MATRIX_FEATURES]) };
    const request = vi.spyOn(adapter, 'requestDevice').mockRejectedValueOnce(new Error('an experiment failed'));
    expect((await openDevice({ requestAdapter: async () => adapter })).device).toBe(device);
    expect(request.mock.calls.map(([given]) => (given as { requiredFeatures: string[] }).requiredFeatures)).toEqual([
      ['subgroups', 'shader-f16', 'chromium-experimental-subgroup-matrix'],
      ['subgroups'],
    ]);
    // What fails without them as well is the user's to know.
    request.mockRejectedValue(new Error('no memory'));
    await expect(openDevice({ requestAdapter: async () => adapter })).rejects.toThrow(
      'WebGPU gives no device of the GPU: no memory',
    );
  });

  describe('with subgroup matrices', () => {
    const config = { M: 16, N: 16, K: 16, componentType: 'f16', resultComponentType: 'f32' };
    const info = { description: 'a card', subgroupMatrixConfigs: [config] };
    const REFUSED = 'a card, no subgroup matrices 16x16x16 (f16, split): ';
    const withMatrices = (): FakeDevice => {
      const device = new FakeDevice();
      const limits = { ...device.limits, maxComputeWorkgroupStorageSize: 32768 };
      return Object.assign(device, { features: new Set(MATRIX_FEATURES), limits });
    };

    it('uses them only where they compute what plain kernels do', async () => {
      const asked: boolean[] = [];
      const open = async (subgroupMatrices: boolean) => {
        asked.push(subgroupMatrices);
        return { device: withMatrices(), info, isSoftware: false };
      };
      // Its kernels compute nothing, so that both products are zero.
      const checked = await createWebgpuEngine({ memoryBudget: 2 ** 30 }, open);
      expect(checked.description).toContain(`${REFUSED}the check computed nothing, up`);
      expect(checked.store.matrices).toBeUndefined();
      const off = await createWebgpuEngine({ memoryBudget: 2 ** 30, subgroupMatrices: false }, open);
      expect(off.description).toContain('a card, subgroup matrices off, up');
      expect(asked).toEqual([true, false]);
    });

    it('opens the device again if it is lost in their check', async () => {
      const [lost, next] = [withMatrices(), withMatrices()];
      vi.spyOn(lost, 'createComputePipeline').mockImplementation(() => {
        lost.lose('a fault of its driver');
        return {};
      });
      const open = async (isFirst: boolean) => ({ device: isFirst ? lost : next, info, isSoftware: false });
      const engine = await createWebgpuEngine({ memoryBudget: 2 ** 30 }, open);
      expect(engine.description).toContain(`${REFUSED}the GPU was lost: a fault of its driver`);
      expect([lost.isDestroyed, next.isDestroyed]).toEqual([true, false]);
      expect(await engine.read(engine.fromArray(Float32Array.of(1, 2), [2]))).toEqual(Float32Array.of(1, 2));
      await expect(createWebgpuEngine({ device: lost, memoryBudget: 2 ** 30 })).rejects.toThrow('the GPU was lost');
    });
  });

  it('computes on the processor only if it is asked to', async () => {
    const device = new FakeDevice();
    const open = () => openDevice({ requestAdapter: async () => adapterOf(device, SOFTWARE) });
    await expect(createWebgpuEngine({}, open)).rejects.toThrow(
      /no GPU here, only SwiftShader, which computes on the processor[\s\S]*software: true/,
    );
    expect(device.isDestroyed).toBe(true);
    const engine = await createWebgpuEngine({ software: true, memoryBudget: 2 ** 30 }, open);
    expect(engine.description).toBe(
      'webgpu: float32 with weights as stored, SwiftShader, no subgroup matrices: no shader-f16, up to 1.1 GB (as memoryBudget says)',
    );
    expect(engine.memory().limitBytes).toBe(2 ** 30);
    await engine.dispose();
    const unlimited = await createWebgpuEngine({ device: new FakeDevice(), memoryBudget: Number.POSITIVE_INFINITY });
    expect(unlimited.description).toMatch(/, without a limit \(as memoryBudget says\)$/);
    await unlimited.dispose();
  });

  it("takes a device of one's own, and only where it is used", async () => {
    const device = new FakeDevice();
    const engine = await createEngine('webgpu', { device, webgpu: { memoryBudget: 2 ** 30, tokensPerPass: 100 } });
    expect(engine).toMatchObject({ name: 'webgpu', tokensPerPass: 100 });
    await engine.dispose();
    await expect(createEngine('cpu', { device })).rejects.toThrow(
      '`device` is a GPUDevice, which the cpu engine does not use',
    );
    for (const [given, message] of [
      [0, /expected a GPUDevice, got 0[\s\S]*cuda: \{ device \}/],
      [Promise.resolve(device), /got a promise[\s\S]*Await it/],
      [{}, /expected a GPUDevice/],
      [null, /expected a GPUDevice/],
    ] as const) {
      const call = createEngine('webgpu', { device: given as never });
      await expect(call).rejects.toThrow(ConfigError);
      await expect(call).rejects.toThrow(message);
    }
  });

  it('knows its options', async () => {
    for (const [webgpu, message] of [
      [{ memoryBudget: 8 }, 'write 8 GiB as 8 * 2 ** 30'],
      [{ memoryBudgte: 2 ** 33 }, 'did you mean `memoryBudget`?'],
      [{ tokensPerPass: 1.5 }, 'tokensPerPass'],
      [{ software: 'yes' }, 'software'],
      [{ subgroupMatrices: 'auto' }, 'subgroupMatrices'],
    ] as const) {
      await expect(createEngine('webgpu', { device: new FakeDevice(), webgpu: webgpu as object })).rejects.toThrow(
        message,
      );
    }
    await expect(createEngine('webgpu', { memoryBudget: 2 ** 33 } as object)).rejects.toThrow(
      /webgpu: \{ memoryBudget \} \}/,
    );
    await expect(createEngine('metal' as never)).rejects.toThrow('did you mean "webgpu"?');
  });
});

describe('auto', () => {
  beforeEach(() => {
    vi.resetModules();
    vi.doMock('../../../src/engine/cuda/cuda-engine.js', () => cuda);
    vi.doMock('../../../src/engine/webgpu/create-webgpu.js', () => webgpu);
    vi.stubGlobal('process', Object.create(process, { platform: { value: 'linux' } }));
  });
  afterEach(() => {
    vi.doUnmock('../../../src/engine/cuda/cuda-engine.js');
    vi.doUnmock('../../../src/engine/webgpu/create-webgpu.js');
    vi.unstubAllGlobals();
  });

  async function choose(outcomes: { cuda?: string; webgpu?: string; fault?: Error }) {
    const { createEngine: create } = await import('../../../src/engine/create-engine.js');
    const { EngineError: Fault } = await import('../../../src/errors.js');
    const make = (name: 'cuda' | 'webgpu') => async () => {
      if (outcomes.fault) throw outcomes.fault;
      if (outcomes[name]) throw new Fault(outcomes[name]);
      return { name, dispose: async () => {} };
    };
    cuda.createCudaEngine.mockImplementation(make('cuda'));
    webgpu.createWebgpuEngine.mockImplementation(make('webgpu'));
    const lines: string[] = [];
    const engine = await create('auto', { threads: 1, onChoice: (line) => lines.push(line) });
    await engine.dispose();
    return { name: engine.name, line: lines.join('\n') };
  }

  it('takes cuda, else a GPU through WebGPU, else the processor, and says why', async () => {
    expect(await choose({})).toEqual({ name: 'cuda', line: 'auto: cuda, because a card and its libraries were found' });
    expect(await choose({ cuda: 'there is no driver' })).toEqual({
      name: 'webgpu',
      line: 'auto: webgpu, because the package webgpu is installed and finds a GPU, and there is no driver',
    });
    expect(await choose({ cuda: 'there is no driver.', webgpu: 'webgpu is not installed' })).toEqual({
      name: 'cpu',
      line: 'auto: cpu, because there is no driver, and webgpu is not installed',
    });
  });

  it('asks for no software adapter', async () => {
    await choose({ cuda: 'no driver' });
    expect(webgpu.createWebgpuEngine).toHaveBeenLastCalledWith({});
  });
});
