import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { TrainingEvent } from '../../src/train/events.js';
import { GuardedOutput, guardedOutput, type ProgressStream } from '../../src/train/guarded-output.js';
import { Progress } from '../../src/train/progress.js';

const warning = (message: string): TrainingEvent => ({ type: 'warning', step: 1, message });
const failure = (code: string): Error => Object.assign(new Error(`write ${code}`), { code });

/** A run of four lines on a stream. */
async function show(stream: ProgressStream): Promise<void> {
  const progress = new Progress('lines', stream);
  for (const message of ['a', 'b', 'c', 'd']) {
    progress.show(warning(message));
    await sleep(1);
  }
  await progress.close();
}

describe('progress on a stream that fails', () => {
  it('falls silent after a write that throws', async () => {
    let calls = 0;
    await show({
      write: () => {
        calls++;
        throw failure('EPIPE');
      },
    });
    expect(calls).toBe(1);
  });

  it('falls silent after a write whose promise fails', async () => {
    let calls = 0;
    await show({ write: async () => Promise.reject(failure(`E${++calls}`)) });
    expect(calls).toBe(1);
  });

  it.each(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED', 'ECONNRESET', 'anything else'])(
    'falls silent after %s, which a stream says later',
    async (code) => {
      let calls = 0;
      const stream = new Writable({
        autoDestroy: false,
        write(_chunk, _encoding, done) {
          calls++;
          setImmediate(() => done(failure(code)));
        },
      });
      await show(stream);
      await sleep(5);
      expect(calls).toBe(1);
      expect(guardedOutput(stream).isGone).toBe(true);
      expect(stream.listenerCount('error')).toBe(1);
    },
  );

  it('takes errors that an emitter without callbacks says at any time, after the run too', async () => {
    let calls = 0;
    const stream = Object.assign(new EventEmitter(), { write: () => ++calls });
    await show(stream);
    expect(() => stream.emit('error', failure('EPIPE'))).not.toThrow();
    await show(stream);
    expect(calls).toBe(4);
    expect(stream.listenerCount('error')).toBe(1);
  });

  it.each(['EAGAIN', 'ENOSPC'])('loses what meets %s, and shows what comes after', async (code) => {
    const written: string[] = [];
    await show({
      write: (text) => {
        if (text.includes('b')) throw failure(code);
        written.push(text);
      },
    });
    expect(written).toEqual(['warning: a\n', 'warning: c\n', 'warning: d\n']);
  });

  it.each([
    ['ended', (stream: Writable) => stream.end()],
    ['destroyed', (stream: Writable) => stream.destroy()],
  ])('writes nothing to a stream that was %s', async (_, end) => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done() });
    end(stream);
    await sleep(1);
    await show(stream);
    expect(guardedOutput(stream).isGone).toBe(true);
  });

  it('keeps no more than a megabyte for a reader that has stopped', () => {
    let kept = 0;
    const stream = new Writable({ highWaterMark: 1, write: () => undefined });
    const output = new GuardedOutput(stream);
    for (let i = 0; i < 40; i++) output.write('x'.repeat(100_000));
    kept = stream.writableLength;
    expect(kept).toBeGreaterThan(1_000_000);
    expect(kept).toBeLessThan(1_200_000);
  });
});

describe('standard error beside a run', () => {
  it('is listened to once, however many runs there are, and no longer than they last', async () => {
    const listeners = () => process.stderr.listenerCount('error');
    // A run that another test has left unfinished in this process is listened for already.
    const before = listeners();
    const first = new Progress('none');
    const held = listeners();
    expect([before, before + 1]).toContain(held);
    expect(held).toBeGreaterThan(0);
    const runs = Array.from({ length: 14 }, () => new Progress('none'));
    expect(listeners()).toBe(held);
    await Promise.all([first, ...runs].map((run) => run.close()));
    expect(listeners()).toBe(before);
  });

  it('has its other errors as ever: to those who listen, else thrown', async () => {
    const others = process.stderr.rawListeners('error') as ((error: Error) => void)[];
    process.stderr.removeAllListeners('error');
    const progress = new Progress('none');
    try {
      expect(() => process.stderr.emit('error', new Error('of other code'))).toThrow('of other code');
      const heard: string[] = [];
      const listener = (error: Error) => void heard.push(error.message);
      process.stderr.on('error', listener);
      process.stderr.emit('error', new Error('of other code'));
      process.stderr.off('error', listener);
      expect(heard).toEqual(['of other code']);
    } finally {
      await progress.close();
      for (const other of others) process.stderr.on('error', other);
    }
  });
});
