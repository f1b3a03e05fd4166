import { afterEach, describe, expect, it, vi } from 'vitest';
import { fitPieces } from '../../src/messages/fit-pieces.js';
import { TerminalLine } from '../../src/train/terminal-line.js';

/** A terminal as one sees it: two streams that print on it. */
class Screen {
  readonly rows: string[] = [''];
  column = 0;
  readonly stdout = this.#stream();
  readonly stderr = this.#stream();

  #stream() {
    return { isTTY: true, columns: 40, write: (text: string) => this.#put(text) };
  }

  #put(text: string): boolean {
    for (const part of text.replaceAll('\x1b[2K', '\f').split(/([\r\n\f])/)) {
      if (part === '\n') {
        this.rows.push('');
        this.column = 0;
      } else if (part === '\r') this.column = 0;
      else if (part === '\f') this.rows[this.rows.length - 1] = '';
      else {
        const row = this.rows.at(-1)!.padEnd(this.column);
        this.rows[this.rows.length - 1] = row.slice(0, this.column) + part + row.slice(this.column + part.length);
        this.column += part.length;
      }
    }
    return true;
  }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

function lineOn(screen: Screen): TerminalLine {
  const line = new TerminalLine(screen.stderr, [screen.stdout, screen.stderr]);
  line.hold();
  return line;
}

describe('TerminalLine', () => {
  it('stays below what others print', async () => {
    const screen = new Screen();
    const line = lineOn(screen);
    line.draw('one', 0);
    screen.stdout.write('from stdout\n');
    expect(screen.rows).toEqual(['from stdout', '']);
    await nextTurn();
    expect(screen.rows).toEqual(['from stdout', 'one']);
    screen.stderr.write('from stderr\n');
    line.draw('two', 200);
    line.print('a line');
    line.draw('three', 400);
    await line.release();
    expect(screen.rows).toEqual(['from stdout', 'from stderr', 'a line', 'three', '']);
  });

  it('waits for the end of a line that others have begun', async () => {
    const screen = new Screen();
    const line = lineOn(screen);
    line.draw('one', 0);
    screen.stdout.write('tok');
    await nextTurn();
    line.draw('two', 200);
    screen.stdout.write('en');
    await nextTurn();
    expect(screen.rows).toEqual(['token']);
    screen.stdout.write('s\n');
    await nextTurn();
    expect(screen.rows).toEqual(['tokens', 'two']);
    screen.stdout.write('half');
    line.print('a line');
    expect(screen.rows).toEqual(['tokens', 'half', 'a line', '']);
    await line.release();
  });

  it('is gone before a warning of the process, which is printed past the streams', async () => {
    const screen = new Screen();
    const line = lineOn(screen);
    line.draw('one', 0);
    const others = process.listeners('warning');
    const seen: string[] = [];
    // The first listener is the line's; Node's own comes later.
    (others[0] as (warning: Error) => void)(new Error('careful'));
    seen.push(screen.rows.at(-1)!);
    await nextTurn();
    seen.push(screen.rows.at(-1)!);
    expect(seen).toEqual(['', 'one']);
    await line.release();
    expect(process.listeners('warning')).toEqual(others.slice(1));
  });

  it('leaves the streams as they were', async () => {
    const screen = new Screen();
    const { write } = screen.stdout;
    const line = lineOn(screen);
    line.draw('one', 0);
    expect(screen.stdout.write).not.toBe(write);
    await line.release();
    expect(screen.stdout.write).toBe(write);
    // What somebody else put over it stays, and is passed on.
    line.hold();
    line.draw('two', 1000);
    const below = screen.stdout.write;
    const later = vi.fn((text: string) => below(text));
    screen.stdout.write = later;
    await line.release();
    screen.stdout.write('still heard\n');
    expect(later).toHaveBeenCalledOnce();
    expect(screen.rows.slice(-2)).toEqual(['still heard', '']);
  });

  it('is let go by the last of those that hold it', async () => {
    const screen = new Screen();
    const line = lineOn(screen);
    line.hold();
    line.draw('one', 0);
    await line.release();
    screen.stdout.write('other\n');
    await nextTurn();
    expect(screen.rows).toEqual(['other', 'one']);
    await line.release();
    expect(screen.rows).toEqual(['other', 'one', '']);
  });

  it('is drawn ten times a second at most, and knows what fits', async () => {
    const screen = new Screen();
    const line = lineOn(screen);
    const written = vi.spyOn(screen.stderr, 'write');
    for (let now = 1000; now < 2000; now += 10) line.draw(`${now}`, now);
    expect(written).toHaveBeenCalledTimes(10);
    line.draw('due', 1995, true);
    expect(screen.rows).toEqual(['due']);
    await line.release();
    expect(line.columns).toBe(39);
    expect(new TerminalLine({ isTTY: true, write: () => true }).columns).toBe(79);
    expect(new TerminalLine({ write: () => true }).columns).toBe(Number.POSITIVE_INFINITY);
  });
});

afterEach(() => void vi.restoreAllMocks());

describe('fitPieces', () => {
  it('measures wide characters, and cuts between characters', () => {
    const pieces = [
      { text: '骨折.jpg', rank: 1 },
      { text: '3s left', rank: 0 },
    ];
    const fit = (columns: number) => fitPieces(pieces, { columns, usesColor: false });
    expect([17, 16, 7].map(fit)).toEqual(['骨折.jpg  3s left', '3s left', '3s left']);
    const name = [{ text: '👩‍🔬骨折', rank: 0 }];
    expect([5, 4, 3, 2, 1].map((columns) => fitPieces(name, { columns, usesColor: false }))).toEqual([
      '👩‍🔬骨',
      '👩‍🔬骨',
      '👩‍🔬',
      '👩‍🔬',
      '👩‍🔬',
    ]);
  });
});
