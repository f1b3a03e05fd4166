import { afterEach, describe, expect, it } from 'vitest';
import { abortOnSignals, type SignalWatch } from '../../../src/train/abort-on-signals.js';

let watch: SignalWatch | undefined;
const exitListeners = process.listeners('exit');
afterEach(() => {
  watch?.dispose();
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
    const before = [process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')];
    watch = abortOnSignals();
    expect(process.listenerCount('SIGINT')).toBe(before[0]! + 1);
    watch[Symbol.dispose]();
    expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual(before);
  });

  it('gives the signals back to the system soon after the first', async () => {
    const before = process.listenerCount('SIGINT');
    watch = abortOnSignals();
    process.emit('SIGINT', 'SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});
