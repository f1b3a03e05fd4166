import { describe, expect, it } from 'vitest';
import { CheckpointError, EngineError } from '../../src/errors.js';
import { CheckpointSaver, type CheckpointSaverParts } from '../../src/train/checkpoint-saver.js';

describe('CheckpointSaver', () => {
  const restore = (fault: Error) => {
    const written: unknown[] = [];
    const engine = {
      writeOptimizerState: () => {
        throw fault;
      },
      writeParameters: (...given: unknown[]) => written.push(given),
    };
    const parts = { engine, checkpoints: { latest: { path: 'run/checkpoint-3', step: 3 } } };
    const saver = new CheckpointSaver(parts as unknown as CheckpointSaverParts);
    const act = () => saver.restore({ parameters: new Float32Array(1), optimizer: {} });
    return { act, written };
  };

  it('refuses an optimizer’s state that the engine does not take, by the checkpoint, before it writes parameters', async () => {
    const { act, written } = restore(new EngineError('expected m as Float32Array(3), got nothing'));
    await expect(act()).rejects.toThrow(CheckpointError);
    await expect(act()).rejects.toThrow(
      /run\/checkpoint-3: its optimizer's state does not fit: expected m as Float32Array\(3\)/,
    );
    expect(written).toEqual([]);
  });

  it('passes on what is no fault of the checkpoint', async () => {
    const fault = new RangeError('something else');
    await expect(restore(fault).act()).rejects.toThrow(fault);
  });

  it('puts parameters into the engine behind the optimizer’s state', async () => {
    const calls: unknown[] = [];
    const engine = {
      writeOptimizerState: (...given: unknown[]) => calls.push(['optimizer', ...given]),
      writeParameters: (...given: unknown[]) => calls.push(['parameters', ...given]),
    };
    const parts = { engine, trainable: 'set', optimizer: 'state', checkpoints: {} };
    await new CheckpointSaver(parts as unknown as CheckpointSaverParts).restore({
      parameters: Float32Array.of(1),
      optimizer: { m: Float32Array.of(2) },
    });
    expect(calls).toEqual([
      ['optimizer', 'set', 'state', { m: Float32Array.of(2) }],
      ['parameters', 'set', Float32Array.of(1)],
    ]);
  });

  it('says which checkpoint an optimizer’s state came from, and what to do', async () => {
    const error = await restore(new EngineError('expected m'))
      .act()
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      hint: expect.stringContaining('resume from another checkpoint'),
      details: { path: 'run/checkpoint-3' },
      cause: expect.any(EngineError),
    });
  });
});

/** A run whose checkpoints are answers given beforehand. */
function world(checkpoints: object, best?: object) {
  const said: string[] = [];
  const moved: unknown[] = [];
  const parts = {
    engine: { readParameters: async () => 'p', readOptimizerState: async () => 'o', writeParameters: () => undefined },
    trainable: { size: 3 },
    totalSteps: 9,
    log: {
      entries: ['entry'],
      emit: async (event: object) => void said.push(JSON.stringify(event)),
      warn: async (step: number, line: string) => void said.push(`${step}: ${line}`),
    },
    metrics: { state: 'metrics', outside: (work: () => unknown) => work() },
    best: best && {
      state: 'state',
      moved: (path: unknown) => moved.push(path),
      unsaved: () => moved.push('unsaved'),
      ...best,
    },
    checkpoints,
    answer: (value: unknown) => value,
    whenRead: async () => void said.push('read'),
  };
  return { said, moved, saver: new CheckpointSaver(parts as unknown as CheckpointSaverParts) };
}

describe('a save', () => {
  const at = { globalStep: 4, epoch: 2, evaluationDue: true } as const;
  const saved = { path: 'run/checkpoint-4', step: 4, removed: ['run/checkpoint-2'], notRemoved: undefined };
  const event = '{"type":"save","step":4,"path":"run/checkpoint-4","removed":["run/checkpoint-2"]}';

  it('holds where the run is, and is an event', async () => {
    const given: unknown[] = [];
    const { saver, said, moved } = world(
      { save: async (...all: unknown[]) => given.push(...all) && saved },
      { best: { step: 3 } },
    );
    expect(await saver.save(at)).toBe(true);
    const progress = { ...at, totalSteps: 9, metrics: 'metrics', best: 'state', logHistory: ['entry'] };
    expect(given).toEqual([progress, { parameters: 'p', optimizer: 'o' }]);
    expect([said, moved]).toEqual([[event], []]);
    const plain = world({ save: async (progress: object) => ({ ...saved, path: Object.keys(progress).join() }) });
    await plain.saver.save(at);
    expect(plain.said[0]).toContain('globalStep,epoch,evaluationDue,totalSteps,metrics,logHistory');
  });

  it('of the best step tells where that is now', async () => {
    const { saver, moved } = world({ save: async () => saved }, { best: { step: 4 } });
    await saver.save(at);
    expect(moved).toEqual(['run/checkpoint-4']);
    const none = world({ save: async () => saved }, {});
    await none.saver.save(at);
    expect(none.moved).toEqual([]);
  });

  it('says what could not be removed', async () => {
    const { saver, said } = world({ save: async () => ({ ...saved, notRemoved: 'cannot remove it' }) });
    await saver.save(at);
    expect(said).toEqual([event, '4: cannot remove it']);
  });

  it('that fails costs a warning that says what is left', async () => {
    const failed = async (checkpoints: object) => {
      const save = async () => Promise.reject(new CheckpointError('disk full'));
      const { saver, said } = world({ save, ...checkpoints }, { best: { step: 4 } });
      expect(await saver.save(at)).toBe(false);
      return said;
    };
    expect(await failed({})).toEqual([
      '4: disk full\n  The run goes on; no checkpoint exists yet; the next save tries again.',
    ]);
    expect(await failed({ latest: { path: 'run/checkpoint-2' }, unsavedBest: 4 })).toEqual([
      '4: disk full\n  The run goes on; the last checkpoint is run/checkpoint-2; the next save tries again; this is the best ' +
        'step so far, and is kept in memory until then.',
    ]);
    const other = world({ save: async () => Promise.reject(new RangeError('a fault of the program')) });
    await expect(other.saver.save(at)).rejects.toThrow(RangeError);
  });
});

describe('the best step', () => {
  const saved = { path: 'run/checkpoint-3', step: 3, removed: [], notRemoved: undefined };

  it('that could not be saved is tried again, after readers have read', async () => {
    const { saver, said, moved } = world({ unsavedBest: 3, saveBest: async () => saved }, {});
    await saver.retryBest();
    expect(moved).toEqual(['run/checkpoint-3']);
    expect(said).toEqual(['read', '{"type":"save","step":3,"path":"run/checkpoint-3","removed":[]}']);
    const again = world({ unsavedBest: 3, saveBest: async () => undefined }, {});
    await again.saver.retryBest();
    expect([again.said, again.moved]).toEqual([['read'], []]);
  });

  it('that is saved, or that nobody asks for, needs nothing', async () => {
    for (const { saver, said } of [world({}, {}), world({ unsavedBest: 3 })]) {
      await saver.retryBest();
      expect(said).toEqual([]);
    }
    const { saver, said } = world({}, {});
    await saver.rescueBest(5);
    expect(said).toEqual([]);
  });

  it('that cannot be rescued is said to be lost', async () => {
    const { saver, said } = world({ unsavedBest: 3, saveBest: async () => undefined }, {});
    await saver.rescueBest(5);
    expect(said).toEqual(['read', '5: the best step, 3, could not be saved and ends with this process']);
  });

  it('is loaded, from memory where its checkpoint is damaged', async () => {
    const best = { best: { step: 3, metric: 'evalLoss', value: 1 } };
    const loaded = '{"type":"loadBest","step":3,"metric":"evalLoss","value":1}';
    const sound = world({ readBest: async () => ({ parameters: 'q', fault: undefined }) }, best);
    await sound.saver.loadBest(6);
    expect([sound.said, sound.moved]).toEqual([['read', loaded], []]);
    const damaged = world({ readBest: async () => ({ parameters: 'q', fault: 'it is damaged' }) }, best);
    await damaged.saver.loadBest(6);
    expect(damaged.moved).toEqual(['unsaved']);
    expect(damaged.said).toEqual([
      'read',
      '6: the parameters of the best step, 3, are loaded from memory: it is damaged\n  Save the adapter now: it is the only copy.',
      loaded,
    ]);
  });

  it('that is nowhere leaves the parameters of the last step, and says so', async () => {
    const instead = 'the parameters are those of the last step';
    for (const { saver, said } of [world({}), world({}, {})]) {
      await saver.loadBest(6);
      expect(said).toEqual([`6: no evaluated step was saved; ${instead}`]);
    }
    const best = { best: { step: 3 } };
    const gone = world({ readBest: async () => Promise.reject(new CheckpointError('it is gone')) }, best);
    await gone.saver.loadBest(6);
    expect(gone.said).toEqual([`6: cannot load the best step: it is gone; ${instead}`]);
    const broken = world({ readBest: async () => Promise.reject(new RangeError('a fault of the program')) }, best);
    await expect(broken.saver.loadBest(6)).rejects.toThrow(RangeError);
  });
});
