/** The directives of the WGSL sources. */
import { describe, expect, it } from 'vitest';
import { kernelSource } from '../../../src/engine/webgpu/kernel-source.js';
import { flat } from '../../../src/engine/webgpu/kernels.js';

/** What stands for the value of a name. */
const placeholder = (name: string): string => `$\{${name}}`;
const text = (...lines: string[]): string => lines.join('\n');

describe('kernelSource', () => {
  it('repeats the lines of loops, one in another, with the number of the round', () => {
    const main = text(
      '//#for I 2',
      `row ${placeholder('I')}`,
      `  //#for J ${placeholder('N')}`,
      `at ${placeholder('I')} ${placeholder('J')}`,
      '  //#endfor',
      '//#endfor',
      'end',
    );
    expect(kernelSource({ main }, 'main', { N: 2 }).split('\n')).toEqual([
      ...['row 0', 'at 0 0', 'at 0 1', 'row 1', 'at 1 0', 'at 1 1', 'end'],
    ]);
    expect(kernelSource({ main }, 'main', { N: 0 })).toBe(text('row 0', 'row 1', 'end'));
  });

  it('chooses by the number of the round, and leaves out loops of branches that are not taken', () => {
    const main = text('//#for I 3', '//#if I == 1', 'one', '//#else', 'other', '//#endif', '//#endfor');
    expect(kernelSource({ main }, 'main')).toBe(text('other', 'one', 'other'));
    // COUNT is not defined, and nobody asks for it.
    const idle = text('//#if FAST', `//#for I ${placeholder('COUNT')}`, 'x', '//#endfor', '//#endif', 'y');
    expect(kernelSource({ main: idle }, 'main')).toBe('y');
    expect(kernelSource({ main: idle }, 'main', { FAST: true, COUNT: 1 })).toBe(text('x', 'y'));
  });

  it('takes a file in once, and gives its name and line where something does not match', () => {
    const sources = {
      main: text('//#include part', '//#include part', 'main'),
      part: 'part',
      open: text('a', '//#for I 2', 'b'),
      crossed: text('//#for I 2', '//#if I', '//#endfor', '//#endif'),
      uncounted: text('a', '//#for I many', '//#endfor'),
      negative: text('//#for I -1', '//#endfor'),
      inside: text('a', '//#for I 1', '//#endif', '//#endfor'),
    };
    expect(kernelSource(sources, 'main')).toBe(text('part', 'main'));
    expect(() => kernelSource(sources, 'open')).toThrow('open:2: "//#for I 2"');
    expect(() => kernelSource(sources, 'crossed')).toThrow('crossed: an //#if has no //#endif');
    expect(() => kernelSource(sources, 'uncounted')).toThrow('uncounted:2: "//#for I many" needs a name and a count');
    expect(() => kernelSource(sources, 'negative')).toThrow('negative:1');
    expect(() => kernelSource(sources, 'inside')).toThrow('inside:3: "//#endif"');
    expect(() => kernelSource(sources, 'absent')).toThrow('absent is not in this build');
    expect(() => kernelSource({ main: placeholder('N') }, 'main')).toThrow('main: N is not defined');
  });
});

const take = (text: string, defines = {}, others: Record<string, string> = {}): string =>
  kernelSource({ ...others, 'main.wgsl': text }, 'main.wgsl', defines);

describe('includes, branches and names', () => {
  it('takes a file in once, whoever includes it', () => {
    const others = { 'a.wgsl': 'a\n//#include b.wgsl', 'b.wgsl': 'b' };
    expect(take('//#include a.wgsl\n//#include b.wgsl\nmain', {}, others)).toBe('a\nb\nmain');
    expect(take(`//#include \${WHICH}.wgsl`, { WHICH: 'b' }, others)).toBe('b');
    expect(take('//#if NO\n//#include gone.wgsl\n//#endif\nmain')).toBe('main');
  });

  it('chooses by what is defined', () => {
    const text = '//#if F == nf4\n4\n//#elif F == e4m3\n8\n//#else\n16\n//#endif';
    expect([take(text, { F: 'nf4' }), take(text, { F: 'e4m3' }), take(text, { F: 'bf16' }), take(text)]).toEqual([
      ...['4', '8', '16', '16'],
    ]);
    expect(take('//#if BIAS\nb\n//#endif\nx', { BIAS: true })).toBe('b\nx');
    expect(take('//#if BIAS\nb\n//#endif\nx', { BIAS: false })).toBe('x');
    // Inside of a branch that is left out, nothing is taken.
    expect(take('//#if A\n//#if B\nb\n//#else\nc\n//#endif\n//#endif\nx', { B: 1 })).toBe('x');
  });

  it('puts values in for names', () => {
    expect(take(`const N = \${N}u; // \${N}`, { N: 16 })).toBe('const N = 16u; // 16');
  });

  it('refuses what does not match', () => {
    expect(() => take('//#include gone.wgsl')).toThrow('the WGSL source gone.wgsl is not in this build');
    expect(() => take(`\${N}`)).toThrow('main.wgsl: N is not defined');
    expect(() => take('x\n//#endif')).toThrow('main.wgsl:2');
    expect(() => take('//#else')).toThrow('main.wgsl:1');
    expect(() => take('//#if A')).toThrow('an //#if has no //#endif');
    expect(() => take('//#ifdef A')).toThrow('main.wgsl:1');
  });
});

it('workgroups beyond one dimension cover every item', () => {
  for (const count of [0, 1, 65_535, 65_536, 65_537, 200_000, 10_000_019]) {
    const [x, y] = flat(count);
    expect(x).toBeLessThanOrEqual(65_535);
    expect(x * y).toBeGreaterThanOrEqual(count);
    expect(x * y - count).toBeLessThan(Math.max(1, y));
  }
});
