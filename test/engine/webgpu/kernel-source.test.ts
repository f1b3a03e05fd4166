import { describe, expect, it } from 'vitest';
import { kernelSource } from '../../../src/engine/webgpu/kernel-source.js';
import { flat } from '../../../src/engine/webgpu/kernels.js';

const take = (text: string, defines = {}, others: Record<string, string> = {}): string =>
  kernelSource({ ...others, 'main.wgsl': text }, 'main.wgsl', defines);

describe('the text of a kernel', () => {
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
