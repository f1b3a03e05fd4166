import { afterEach, describe, expect, it, vi } from 'vitest';
import { isMainProcess, mainProcessFirst, onMainProcess, processGroup } from '../../src/distributed.js';

const place = (variables: Readonly<Record<string, string>>): void => {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
};
afterEach(() => {
  vi.unstubAllEnvs();
  delete (globalThis as Record<symbol, unknown>)[Symbol.for('ministral-tune.processGroup')];
});

describe('what one process does for all', () => {
  it('is done by the one that there is', async () => {
    place({ RANK: '', WORLD_SIZE: '' });
    expect([isMainProcess(), onMainProcess(() => 1), await mainProcessFirst(() => 2)]).toEqual([true, 1, 2]);
    expect(await processGroup()).toBeUndefined();
  });

  it('is not done by other ranks', () => {
    place({ RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'h', MASTER_PORT: '1' });
    expect([isMainProcess(), onMainProcess(() => 1)]).toEqual([false, undefined]);
    place({ WORLD_SIZE: '1' });
    expect(() => isMainProcess()).toThrow('RANK=1 in the environment: expected 0 to 0, as WORLD_SIZE is 1');
  });

  it('has a group of one where a launcher says so, joined once', async () => {
    place({ RANK: '0', WORLD_SIZE: '1' });
    const group = (await processGroup())!;
    expect(await processGroup()).toBe(group);
    expect([group.rank, group.worldSize, group.isMain, group.isRescuer]).toEqual([0, 1, true, true]);
    expect(await mainProcessFirst(async () => 3)).toBe(3);
    expect(await group.allGather('x', 'y')).toEqual(['y']);
    await expect(
      mainProcessFirst(() => {
        throw new RangeError('no disk');
      }),
    ).rejects.toThrow(RangeError);
    group.fail(new Error('no more'));
    expect(group.failure.reason.summary).toBe('rank 0 of 1 has failed: no more');
    await expect(group.allGather('x', 'y')).rejects.toBe(group.failure.reason);
    await expect(processGroup({ timeout: 3 } as object)).rejects.toThrow('unknown option `timeout`');
  });
});
