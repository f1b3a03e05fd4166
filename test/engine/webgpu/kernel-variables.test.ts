/**
 * Variables of the kernels: WGSL clears a `var` without an initialiser each time that it is reached, but what Dawn makes of
 * it for Vulkan clears it once in a function, so that in a loop it holds what the round before left.
 */
import { describe, expect, it } from 'vitest';
import { WGSL_SOURCES } from '../../../src/generated/wgsl-sources.js';

const VARIABLE = /\bvar\s+(\w+)\s*:[^=;]*;/g;

/** Names of variables without an initialiser in loops, and in functions other than `main`, which a loop may call. */
function unclearedIn(source: string): string[] {
  const found: string[] = [];
  const text = source
    .replace(/^\s*\/\/#(if|elif|else|endif).*$/gm, '#$1#')
    .replace(/\$\{\w+\}/g, '1')
    .replace(/\/\/[^\n]*/g, '');
  // What encloses a place: for each open brace, whether it repeats what is inside.
  let blocks: boolean[] = [];
  // Each branch of a condition begins with the braces that were open before it.
  const conditions: boolean[][] = [];
  let head = '';
  let isHeader = 0;
  for (const [token] of text.matchAll(/#\w+#|[{}();]|[^{}();#]+/g)) {
    if (token === '#if#') conditions.push([...blocks]);
    else if (token === '#endif#') conditions.pop();
    else if (token.startsWith('#')) blocks = [...conditions.at(-1)!];
    else head += token;
    if (token === '(') isHeader++;
    else if (token === ')') isHeader--;
    else if (token === '{') {
      blocks.push(/\b(for|while|loop)\b/.test(head) || (/\bfn\b/.test(head) && !/\bfn main\b/.test(head)));
      head = '';
    } else if (token === '}') {
      blocks.pop();
      head = '';
    } else if (token === ';' && isHeader === 0) {
      if (blocks.includes(true)) for (const [, name] of head.matchAll(VARIABLE)) found.push(name!);
      head = '';
    }
  }
  if (blocks.length > 0) throw new Error('braces do not match');
  return found;
}

describe('variables of the WebGPU kernels', () => {
  it.each(Object.keys(WGSL_SOURCES))('in loops and functions of %s have an initialiser', (file) => {
    expect(unclearedIn(WGSL_SOURCES[file]!)).toEqual([]);
  });

  it('are found wherever a loop reaches them', () => {
    const loops = [
      'fn main() { var a: f32; for (var i = 0u; i < 4u; i++) { if (i > 1u) { var b: array<f32, $' + '{N}>; } } }',
      'fn main() { while (true) { var c: vec2f; } loop { var d: f32; } var e: f32; }',
      'fn helper(x: f32) -> f32 { var f: f32; return f + x; }',
      'fn main() { for (var i = 0u; i < 4u; i++) { var g = array<f32, 4>(); var h: f32 = 0.0; } }',
      'var<workgroup> shared_values: array<f32, 4>;',
    ];
    expect(loops.map(unclearedIn)).toEqual([['b'], ['c', 'd'], ['f'], [], []]);
  });
});
