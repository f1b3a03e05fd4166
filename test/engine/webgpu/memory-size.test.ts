import { describe, expect, it } from 'vitest';
import { type MachineFacts, memorySize } from '../../../src/engine/webgpu/memory-size.js';

const GIB = 2 ** 30;
const NVIDIA = { vendor: 'nvidia', device: 'NVIDIA GeForce RTX 4080', description: 'NVIDIA driver 550' };

function bytesOf(info: object, given: Partial<MachineFacts> = {}, isSoftware = false) {
  const facts: MachineFacts = {
    ...{ platform: 'linux', systemBytes: 32 * GIB },
    nvidiaSmi: () => Promise.reject(new Error('ENOENT')),
    amdMemory: () => Promise.resolve([]),
    ...given,
  };
  return memorySize({ info, isSoftware }, facts);
}

describe('memory of a GPU', () => {
  it('is a share of what it shares with the system', async () => {
    expect((await bytesOf({ vendor: 'apple' }, { platform: 'darwin', systemBytes: 24 * GIB })).bytes).toBe(16 * GIB);
    expect((await bytesOf({ vendor: 'intel', description: 'Intel(R) Iris(R) Xe Graphics' })).bytes).toBe(16 * GIB);
    expect(
      (await bytesOf({ vendor: 'amd', device: 'AMD Radeon 780M' }, { amdMemory: async () => [GIB / 2] })).bytes,
    ).toBe(16 * GIB);
    expect((await bytesOf(NVIDIA, {}, true)).source).toBe("half of the system's memory");
  });

  it("is most of a card's own, and what is free of it", async () => {
    const lines = 'NVIDIA A2, 15356, 15000\nNVIDIA GeForce RTX 4080, 16376, 16000\n';
    expect(await bytesOf(NVIDIA, { nvidiaSmi: async () => lines })).toEqual({
      bytes: Math.floor(0.92 * 16376 * 2 ** 20),
      source: '92 % of what nvidia-smi says the card has',
    });
    const busy = lines.replace('16000', '4000');
    expect((await bytesOf(NVIDIA, { nvidiaSmi: async () => busy })).bytes).toBe(Math.floor(0.92 * 4000 * 2 ** 20));
    // Without the name, the smallest.
    const unnamed = { vendor: 'nvidia' };
    expect((await bytesOf(unnamed, { nvidiaSmi: async () => lines })).bytes).toBe(Math.floor(0.92 * 15356 * 2 ** 20));
    const amd = { vendor: 'amd', description: 'radv: AMD Radeon RX 7900' };
    expect((await bytesOf(amd, { amdMemory: async () => [GIB / 2, 20 * GIB] })).bytes).toBe(0.92 * 20 * GIB);
  });

  it('is a guess that says so where nothing is known', async () => {
    for (const [info, facts] of [
      [NVIDIA, {}],
      [NVIDIA, { nvidiaSmi: async () => 'No devices were found\n' }],
      [{ vendor: 'amd' }, { platform: 'win32' }],
      [{ vendor: 'amd' }, { amdMemory: () => Promise.reject(new Error('ENOENT')) }],
      [{ vendor: 'intel', description: 'Intel(R) Arc(TM) A770 Graphics' }, {}],
      [{}, {}],
    ] as const) {
      const { bytes, source } = await bytesOf(info, facts);
      expect(bytes).toBe(6 * GIB);
      expect(source).toMatch(/guess.*set memoryBudget/);
    }
    expect((await bytesOf({}, { systemBytes: 8 * GIB })).bytes).toBe(4 * GIB);
  });
});
