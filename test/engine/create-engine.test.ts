import { describe, expect, it, vi } from 'vitest';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { EngineError } from '../../src/errors.js';
import { fromPretrained } from '../../src/pretrained/from-pretrained.js';

describe('createEngine', () => {
  it('says which engine auto took, and why', async () => {
    const lines: string[] = [];
    const engine = await createEngine('auto', { threads: 1, onChoice: (line) => lines.push(line) });
    expect(lines).toEqual([expect.stringMatching(new RegExp(`^auto: ${engine.name}, because .+`))]);
    await engine.dispose();
  });

  it('gives the engine that is asked for', async () => {
    const engine = await createEngine('cpu', { threads: 1 });
    expect(engine.description).toMatch(/^cpu: float32, 1 thread, /);
    await engine.dispose();
  });

  it('needs cards for a model over several, and one way to write their numbers', async () => {
    // Before gigabytes are downloaded.
    const call = fromPretrained('somebody/some-model', { engine: 'cpu', deviceMap: 'auto' });
    await expect(call).rejects.toThrow('fromPretrained: `deviceMap` is for cards, and the cpu engine uses none');
    const twice = createEngine('cuda', { deviceMap: 'auto', maxMemory: { 0: 2 ** 34, '00': 2 ** 34 } as never });
    await expect(twice).rejects.toThrow('got the key "00"');
  });

  it('lays no model over all cards for one of several processes', async () => {
    const ranks = { RANK: '0', LOCAL_RANK: '0', WORLD_SIZE: '2', LOCAL_WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1' };
    for (const [name, value] of Object.entries({ ...ranks, MASTER_PORT: '29500' })) vi.stubEnv(name, value);
    try {
      const call = createEngine('cuda', { deviceMap: 'auto' });
      await expect(call).rejects.toThrow("deviceMap: 'auto' takes all cards for one process, and WORLD_SIZE is 2");
      // Cards of its own are another matter: here there are none.
      const own = createEngine('cuda', { deviceMap: 'auto', maxMemory: { 97: 2 ** 34, 98: 2 ** 34 } });
      await expect(own).rejects.toThrow(/finds no card|names card 97, 98|needs|runs on/);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('refuses what it does not know, and tfjs without a namespace', async () => {
    if (process.platform === 'linux') {
      for (const choice of ['auto', 'cuda'] as const) {
        await expect(createEngine(choice, { cuda: { memoryBudgte: 1 } as object })).rejects.toThrow(
          'cuda engine: unknown option `memoryBudgte`; did you mean `memoryBudget`?',
        );
      }
    }
    await expect(createEngine('gpu' as EngineChoice)).rejects.toThrow(/no engine "gpu"[\s\S]*auto, cpu, cuda, tfjs/);
    await expect(createEngine('tfjs')).rejects.toThrow(EngineError);
  });
});
