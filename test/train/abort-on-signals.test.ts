import { afterEach, describe, expect, it, vi } from 'vitest';
import { abortOnSignals, type SignalWatch } from '../../src/train/abort-on-signals.js';
import { guardedOutput } from '../../src/train/guarded-output.js';

let watch: SignalWatch | undefined;
/** They would change this process's exit code. */
const exitListeners = process.listeners('exit');
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  watch?.dispose();
  // What a signal holds for good, other files of this process would find held.
  if (watch?.received) await Promise.all([process.stdout, process.stderr].map((one) => guardedOutput(one).release()));
  watch = undefined;
  for (const listener of process.listeners('exit')) {
    if (!exitListeners.includes(listener)) process.off('exit', listener);
  }
});

describe('abortOnSignals', () => {
  it('aborts with a reason that names the signal, once', () => {
    const names: string[] = [];
    watch = abortOnSignals({ onStop: (name) => names.push(name) });
    expect(watch.signal.aborted).toBe(false);
    expect(watch.received).toBeUndefined();
    process.emit('SIGTERM', 'SIGTERM');
    process.emit('SIGTERM', 'SIGTERM');
    expect(watch.received).toBe('SIGTERM');
    expect(names).toEqual(['SIGTERM']);
    expect(watch.signal.reason).toMatchObject({ name: 'AbortError', message: 'stopped by SIGTERM' });
  });

  it('leaves no listener behind', () => {
    const counts = () => (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((name) => process.listenerCount(name));
    const before = counts();
    watch = abortOnSignals();
    expect(counts()).toEqual(before.map((count) => count + 1));
    watch[Symbol.dispose]();
    expect(counts()).toEqual(before);
  });

  it('stops for a closed terminal, which may send more than one signal', () => {
    const names: string[] = [];
    watch = abortOnSignals({ onStop: (name) => names.push(name) });
    for (let i = 0; i < 3; i++) process.emit('SIGHUP', 'SIGHUP');
    process.emit('SIGTERM', 'SIGTERM');
    expect(names).toEqual(['SIGHUP']);
    expect(watch.received).toBe('SIGHUP');
    expect(watch.signal.reason).toMatchObject({ message: 'stopped by SIGHUP' });
  });

  it.each([
    ['throws', () => raise()],
    ['gives a promise that fails', async () => raise()],
  ])('stops the run even where `onStop` %s', async (_, onStop) => {
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
    watch = abortOnSignals({ onStop });
    process.emit('SIGINT', 'SIGINT');
    expect(watch.signal.aborted).toBe(true);
    expect((await warned).message).toBe('abortOnSignals: `onStop` failed: no terminal');
  });

  it('gives the signals back to the system soon after the first', async () => {
    const before = process.listenerCount('SIGINT');
    watch = abortOnSignals();
    process.emit('SIGINT', 'SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  it('is not hurried by a second SIGTERM in a process of a launcher', async () => {
    vi.stubEnv('RANK', '0');
    vi.stubEnv('WORLD_SIZE', '1');
    const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
    const counts = () => (['SIGINT', 'SIGTERM'] as const).map((name) => process.listenerCount(name));
    const before = counts();
    watch = abortOnSignals();
    process.emit('SIGTERM', 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(counts()).toEqual([before[0], before[1]! + 1]);
    process.emit('SIGTERM', 'SIGTERM');
    expect(exit).not.toHaveBeenCalled();
    watch.dispose();
    expect(counts()).toEqual(before);
  });
});

function raise(): never {
  throw new Error('no terminal');
}
