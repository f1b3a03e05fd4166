import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, DataError, TrainingError } from '../../src/errors.js';
import type { TrainerCallback, TrainingControl } from '../../src/train/callbacks.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftTrainer } from '../../src/train/sft-trainer.js';
import { follow } from './follow.js';
import { type LinearModel, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'callbacks-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

/** Six optimizer steps in three epochs. */
const SETTINGS = { saveStrategy: 'epoch', loggingSteps: 2, seed: 11, maxGradNorm: 0.3 } as const;

function trainer(
  model: LinearModel,
  callbacks: readonly TrainerCallback[],
  config: { readonly outputDir?: string } = {},
): SftTrainer {
  return linearTrainer(model, { outputDir, ...SETTINGS, ...config }, { callbacks });
}

/** Passes many turns of the event loop, in which a run that does not wait goes on. */
const manyTurns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};
const checkpoints = async () => (await readdir(outputDir)).filter((name) => name.startsWith('checkpoint')).sort();
const warnings = () => vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
afterEach(() => void vi.restoreAllMocks());

/** The parameters of a run that nobody listens to. */
async function valuesAlone(): Promise<number[]> {
  const model = linearModel();
  await trainer(model, [], { outputDir: join(outputDir, 'alone') }).train();
  return [...model.values];
}

/** Keeps its control, and calls `act` with each event. */
function controller(
  act: (event: TrainingEvent, control: TrainingControl) => void | Promise<void>,
  name = 'judge',
): TrainerCallback {
  let control: TrainingControl | undefined;
  return {
    name,
    onStart: (_, given) => {
      control = given;
    },
    onEvent: (event) => act(event, control!),
  };
}

describe('callbacks of a run', () => {
  it('get every event in order, each after the one before has answered, and before the loops do', async () => {
    const said: string[] = [];
    const slow: TrainerCallback = {
      async onStart(event) {
        await manyTurns();
        said.push(`A start ${event.totalSteps}`);
      },
      async onEvent({ type, step }) {
        await manyTurns();
        said.push(`A ${type} ${step}`);
      },
      onClose: (error) => void said.push(`A close ${error}`),
    };
    const quick: TrainerCallback = {
      onEvent: ({ type, step }) => void said.push(`B ${type} ${step}`),
      onClose: () => void said.push('B close'),
    };
    const run = trainer(linearModel(), [slow, quick]).train();
    for await (const { type, step } of run) said.push(`loop ${type} ${step}`);
    const types = ['start 0', 'step 1', 'step 2', 'log 2', 'save 2', 'epoch 2', 'step 3', 'step 4', 'log 4'];
    types.push('save 4', 'epoch 4', 'step 5', 'step 6', 'log 6', 'save 6', 'epoch 6', 'end 6');
    const expected = types.flatMap((what) => [`A ${what}`, `B ${what}`, `loop ${what}`]);
    expect(said).toEqual(['A start 6', ...expected, 'A close undefined', 'B close']);
  });

  it('change nothing in what a run comes to', async () => {
    const model = linearModel();
    await trainer(model, [{ onEvent: manyTurns }]).train();
    expect([...model.values]).toEqual(await valuesAlone());
  });

  it('have their own `this`, and may be used in a second run', async () => {
    class Counter implements TrainerCallback {
      steps = 0;
      closed = 0;
      onEvent({ type }: TrainingEvent): void {
        if (type === 'step') this.steps++;
      }
      onClose(): void {
        this.closed++;
      }
    }
    const counter = new Counter();
    await trainer(linearModel(), [counter]).train();
    await trainer(linearModel(), [counter]).train();
    expect(counter).toMatchObject({ steps: 12, closed: 2 });
  });

  it('end the run when they fail, named, with the last whole step saved', async () => {
    const seen: unknown[] = [];
    const fault = new RangeError('no room\nfor more');
    const bad: TrainerCallback = {
      name: 'board\u001b[31m',
      onEvent: async ({ type, step }) => {
        seen.push(type);
        if (type === 'step' && step === 3) throw fault;
      },
      onClose: (error) => void seen.push(error),
    };
    const others: string[] = [];
    const good: TrainerCallback = { onEvent: ({ type, step }) => void others.push(`${type} ${step}`) };
    const { error, events } = await follow(trainer(linearModel(), [bad, good]).train());
    expect(error).toBeInstanceOf(TrainingError);
    expect(error).toMatchObject({
      summary: 'the callback "board\\u001b[31m" failed in the event `step` of step 3: no room',
      details: { callback: expect.stringMatching(/^board/), where: 'the event `step` of step 3' },
    });
    expect((error as Error).cause).toMatchObject({ constructor: RangeError });
    expect(seen.at(-1)).toBe(error);
    // It hears no more, and the others what became of the run.
    expect(seen.at(-2)).toBe('step');
    expect(others.at(-1)).toBe('save 3');
    expect(events.at(-1)).toMatchObject({ type: 'save', step: 3 });
    expect(await checkpoints()).toContain('checkpoint-3');

    const resumed = linearModel();
    await trainer(resumed, []).train({ resumeFromCheckpoint: true });
    expect([...resumed.values]).toEqual(await valuesAlone());
  });

  it.each(['save 6', 'epoch 6', 'step 6'])(
    'end the run when they fail at %s, when nothing is left to do',
    async (at) => {
      const bad: TrainerCallback = {
        onEvent: ({ type, step }) => {
          if (`${type} ${step}` === at) throw new Error('late');
        },
      };
      const { error, events } = await follow(trainer(linearModel(), [bad]).train());
      expect(error).toMatchObject({
        summary: `the callback callbacks[0] failed in the event \`${at.split(' ')[0]}\` of step 6: late`,
      });
      expect(events.some(({ type }) => type === 'end')).toBe(false);
      expect(await checkpoints()).toContain('checkpoint-6');
    },
  );

  it('end it before the first step when they fail in onStart', async () => {
    const model = linearModel();
    const bad: TrainerCallback = { onStart: () => Promise.reject(new DataError('no key', { hint: 'Set KEY.' })) };
    await expect(trainer(model, [bad]).train()).rejects.toMatchObject({
      summary: 'the callback callbacks[0] failed in onStart: no key',
      hint: 'Set KEY.',
    });
    expect(model.steps).toEqual([]);
  });

  it('warn of what fails at the end and in onClose: the run is whole', async () => {
    const warned = warnings();
    const bad: TrainerCallback = {
      name: 'bad',
      onEvent: ({ type }) => {
        if (type === 'end') throw new Error('one');
      },
      onClose: () => Promise.reject(new Error('two')),
    };
    const close = vi.fn();
    const output = await trainer(linearModel(), [bad, { onClose: close }]).train();
    expect(output.globalStep).toBe(6);
    expect(warned.mock.calls).toEqual([
      ['the callback "bad" failed in the event `end` of step 6: one', 'TrainerCallbackWarning'],
      ['the callback "bad" failed in onClose: two', 'TrainerCallbackWarning'],
    ]);
    expect(close).toHaveBeenCalledExactlyOnceWith(undefined);
  });

  it('are closed when the run does not even begin', async () => {
    const onStart = vi.fn();
    const onClose = vi.fn();
    const model = linearModel();
    const held = linearTrainer(
      model,
      { outputDir },
      { callbacks: [{ onStart, onClose }], trainDataset: linearDataset(7) },
    );
    const error = await held
      .train({ resumeFromCheckpoint: join(outputDir, 'none') })
      .then(undefined, (e: unknown) => e);
    expect(error).toBeInstanceOf(Error);
    expect(onStart).not.toHaveBeenCalled();
    expect(onClose).toHaveBeenCalledExactlyOnceWith(error);
  });

  it('do not keep a run that is aborted: an answer is waited for a while, and its lack is a warning', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const warned = warnings();
    const stop = new AbortController();
    let calls = 0;
    const stuck: TrainerCallback = {
      name: 'stuck',
      onEvent: ({ type }) => {
        if (type !== 'step') return;
        calls++;
        return new Promise(() => undefined);
      },
    };
    const run = trainer(linearModel(), [stuck]).train({ signal: stop.signal });
    const ended = run.then(undefined, (error: unknown) => error);
    while (calls === 0) await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('enough'));
    await vi.advanceTimersByTimeAsync(30_000);
    await manyTurns();
    vi.useRealTimers();
    expect(await ended).toMatchObject({ message: 'enough' });
    expect(calls).toBe(1);
    expect(warned.mock.calls[0]![0]).toBe(
      'the callback "stuck" failed in the event `step` of step 1: it did not answer within 30 s of the end of the run',
    );
  });

  it('that wait for the run itself are an error when nothing else is left', async () => {
    let run: PromiseLike<unknown> | undefined;
    const circular: TrainerCallback = {
      onEvent: async ({ type }) => {
        if (type === 'step') await run;
      },
    };
    run = trainer(linearModel(), [circular]).train();
    const ended = run.then(undefined, (error: unknown) => error);
    while (process.listenerCount('beforeExit') === 0) await new Promise((resolve) => setImmediate(resolve));
    process.emit('beforeExit', 0);
    expect(await ended).toMatchObject({
      summary: 'the callback callbacks[0] failed in the event `step` of step 1: it waits for what never comes',
      hint: 'A callback must not wait for the run itself: the run waits for the callback.',
    });
  });

  it('are checked', () => {
    const wrong = (callbacks: unknown): Error => {
      try {
        trainer(linearModel(), callbacks as readonly TrainerCallback[]);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        return error as Error;
      }
      throw new Error('accepted');
    };
    expect(wrong({ onEvent: () => undefined }).message).toMatch(
      /expected a list of callbacks.*\n.*Write one as \[one\]/,
    );
    expect(wrong([() => undefined]).message).toMatch(/callbacks`\[0\]: expected a callback, got a function\n.*Call it/);
    expect(wrong([{ onLog: () => undefined }]).message).toMatch(/without onStart, onEvent, onClose\n.*`event.type`/);
    expect(wrong([{ onEvent: 3 }]).message).toMatch(/\[0\]\.onEvent: expected a function, got 3/);
    expect(wrong([{ name: 3, onEvent: () => undefined }]).message).toMatch(/\[0\]\.name: expected a text, got 3/);
    expect(wrong([Promise.resolve({ onEvent: () => undefined })]).message).toMatch(/got a promise\n.*Await it/);
    expect(wrong([undefined]).message).toMatch(/got nothing/);
  });
});

describe('TrainingControl', () => {
  it('holds the run before the next step, which then goes on as if nothing had been', async () => {
    const model = linearModel();
    let control!: TrainingControl;
    const events: TrainingEvent[] = [];
    const run = trainer(model, [
      controller((event, given) => {
        control = given;
        events.push(event);
        if (event.type === 'step' && event.step % 2 === 1) given.pause();
      }),
    ]).train();
    const ended = run.then((output) => output);
    for (const step of [1, 3, 5]) {
      while (events.at(-1)?.type !== 'pause') await manyTurns();
      await manyTurns();
      expect(control.isPaused).toBe(true);
      expect(model.steps.length).toBe(step);
      expect(events.at(-1)).toEqual({ type: 'pause', step });
      control.pause();
      control.resume();
      control.resume();
      expect(control.isPaused).toBe(false);
      while (events.at(-1)?.type === 'pause') await manyTurns();
    }
    expect((await ended).globalStep).toBe(6);
    expect([...model.values]).toEqual(await valuesAlone());
    const resumes = events.filter(({ type }) => type === 'resume');
    expect(resumes.map(({ step }) => step)).toEqual([1, 3, 5]);
    control.pause();
    expect(control.isPaused).toBe(false);
  });

  it('holds before the first step, and counts the time for no step', async () => {
    const model = linearModel();
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const logs: TrainingEvent[] = [];
    const held = controller((event, control) => {
      if (event.type === 'log') logs.push(event);
      if (event.type === 'start') control.pause();
      if (event.type !== 'pause') return;
      expect(model.steps).toEqual([]);
      setImmediate(() => {
        now += 5000;
        control.resume();
      });
    });
    await trainer(model, [held]).train();
    expect(logs).toHaveLength(3);
    expect(logs[0]).toMatchObject({ step: 2, seconds: 0 });
  });

  it('ends a run that it stops, with a checkpoint from which it goes on as if nothing had been', async () => {
    const closed = vi.fn();
    const stops = controller(({ type, step }, control) => {
      if (type === 'step' && step === 3) control.stop('seen enough');
    });
    const { error, events } = await follow(trainer(linearModel(), [stops, { onClose: closed }]).train());
    expect(error).toMatchObject({ name: 'AbortError', message: 'stopped by the callback "judge": seen enough' });
    expect(events.at(-1)).toMatchObject({ type: 'save', step: 3 });
    expect(closed).toHaveBeenCalledExactlyOnceWith(error);
    const resumed = linearModel();
    await trainer(resumed, []).train({ resumeFromCheckpoint: true });
    expect([...resumed.values]).toEqual(await valuesAlone());
    expect(resumed.steps).toHaveLength(3);
  });

  it('ends a held run, by stop and by the signal', async () => {
    for (const way of ['stop', 'signal'] as const) {
      const stop = new AbortController();
      const model = linearModel();
      const held = controller(({ type, step }, control) => {
        if (type === 'step' && step === 3) control.pause();
        if (type === 'pause')
          setImmediate(() => (way === 'stop' ? control.stop() : stop.abort(new Error('by signal'))));
      });
      const { error, events } = await follow(trainer(model, [held]).train({ signal: stop.signal }));
      expect((error as Error).message).toBe(way === 'stop' ? 'stopped by the callback "judge"' : 'by signal');
      expect(events.slice(-2)).toMatchObject([
        { type: 'pause', step: 3 },
        { type: 'save', step: 3 },
      ]);
      expect(model.steps).toHaveLength(3);
    }
  });

  it('lets a reader leave a held run', async () => {
    const held = controller(({ type, step }, control) => {
      if (type === 'step' && step === 3) control.pause();
    });
    const run = trainer(linearModel(), [held]).train();
    for await (const { type } of run) if (type === 'pause') break;
    expect(await run).toMatchObject({ stopped: true, globalStep: 3 });
  });

  it('is heard while a loop is at work', async () => {
    let control!: TrainingControl;
    const run = trainer(linearModel(), [
      {
        onStart: (_, given) => {
          control = given;
        },
      },
    ]).train();
    let steps = 0;
    const read = async (): Promise<void> => {
      for await (const { type } of run) {
        if (type !== 'step') continue;
        steps++;
        control.stop();
        await run.result.catch(() => undefined);
      }
    };
    await expect(read()).rejects.toMatchObject({ name: 'AbortError' });
    expect(steps).toBe(1);
  });

  it('does nothing when the run is over', async () => {
    let control!: TrainingControl;
    const output = await trainer(linearModel(), [
      {
        onStart: (_, given) => {
          control = given;
        },
      },
    ]).train();
    control.stop();
    control.pause();
    control.resume();
    expect(output.stopped).toBeUndefined();
    expect(control.isPaused).toBe(false);
  });
});
