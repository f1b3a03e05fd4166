import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { type ShownProgress, showProgress } from '../../src/monitor/show-progress.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** What is seen of progress that comes every so many milliseconds; `|` where a line is drawn anew. */
function seen(
  progress: readonly ShownProgress[],
  interval: number,
  stream: { isTTY?: boolean; columns?: number },
): string {
  let text = '';
  const show = showProgress('work', { stream: { ...stream, write: (part: string) => (text += part) } });
  for (const one of progress) {
    show(one);
    vi.advanceTimersByTime(interval);
  }
  const shown = stripVTControlCharacters(text.replaceAll('\r\u001b[2K', '|'));
  // Something else is next: what is not done lets go of the terminal.
  show({ files: 1, totalFiles: 1 });
  return shown;
}

const terminal = { isTTY: true, columns: 60 };
const MIB = 2 ** 20;

describe('showProgress', () => {
  it('shows samples with the share that is right and the time that is left, and at the end one line', () => {
    const progress = [0, 20, 40].map((done) => ({ done, total: 40, correct: done / 4 }));
    expect(seen(progress, 5000, terminal)).toBe(
      '|░░░░░░░░░░░░░░░░░░░░░░░░ work  0/40' +
        '|████████████░░░░░░░░░░░░ work  20/40  25.0 % right  5s left' +
        '|work: 40 done  25.0 % right  in 10s\n',
    );
  });

  it('shows bytes of downloads and of weights, with their rate', () => {
    const weights = [512, 1024, 2048].map((mib) => ({ bytesDone: mib * MIB, bytesTotal: 2048 * MIB }));
    const text = seen(weights, 2000, { ...terminal, columns: 90 });
    expect(text).toContain('|████████████░░░░░░░░░░░░ work  1.00 GiB of 2.00 GiB  256.00 MiB/s  4s left|');
    expect(text).toMatch(/\|work: 2\.00 GiB {2}in 4s\n$/);
    // The server does not say how much there is.
    const open = [0, 10, 20].map((mib) => ({ received: mib * MIB, total: undefined }));
    const extracted = { files: 3, totalFiles: 3 };
    expect(seen([...open, extracted], 1000, terminal)).toBe(
      '|work  0 bytes  0 bytes/s|work  10.00 MiB  10.00 MiB/s|work  20.00 MiB  10.00 MiB/s' +
        '|work: 20.00 MiB  in 3s\nwork: 3 files  in 0s\n',
    );
  });

  it('does not count what an interrupted download had received', () => {
    const progress = [900, 950].map((mib) => ({ received: mib * MIB, total: 1000 * MIB }));
    expect(seen(progress, 5000, { ...terminal, columns: 90 })).toContain('10.00 MiB/s  5s left');
  });

  it('says the end once, begins anew for what comes next, and says nothing of nothing', () => {
    const download = { received: 5, total: 5 };
    const files = [
      { files: 1, totalFiles: 2 },
      { files: 2, totalFiles: 2 },
    ];
    const text = seen([{ received: 0, total: 0 }, { received: 1, total: 5 }, download, download, ...files], 1000, {});
    expect(text).toBe('work: 5 bytes  in 1s\nwork: 2 files  in 1s\n');
    const twice = [
      { done: 3, total: 3 },
      { done: 3, total: 3 },
    ];
    expect(seen(twice, 1000, {})).toBe('work: 3 done  in 0s\nwork: 3 done  in 0s\n');
  });

  it('prints a line every 30 s where there is no terminal', () => {
    const progress = Array.from({ length: 8 }, (_, i) => ({ done: 10 * i, total: 70 }));
    expect(seen(progress, 11_000, {})).toBe('work  30/70  44s left\nwork  60/70  11s left\nwork: 70 done  in 1m 17s\n');
  });

  it('keeps the time that is left where the line is narrow', () => {
    const progress = [0, 10].map((done) => ({ done, total: 40 }));
    for (const columns of [12, 20, 40]) {
      const last = seen(progress, 90_000, { isTTY: true, columns }).split('|').at(-1)!;
      expect(last).toMatch(/4m 30s left$/);
      expect(last.length).toBeLessThan(columns);
    }
  });

  it('shows names as they are safe to show', () => {
    let text = '';
    showProgress('a\nb\u001b[2J', { stream: { write: (part: string) => (text += part) } })({ done: 1, total: 1 });
    expect(text).toBe('a\\nb\\u001b[2J: 1 done  in 0s\n');
  });

  it('checks what it is given', () => {
    expect(() => showProgress(3 as unknown as string)).toThrow(ConfigError);
    expect(() => showProgress('x', { out: process.stdout } as object)).toThrow(/`out`/);
    expect(() => showProgress('x')({ step: 3 } as unknown as ShownProgress)).toThrow(/\{ done, total \}/);
  });
});
