import { describe, expect, it } from 'vitest';
import { FILE_OF, SIGNATURES } from '../../../src/engine/cuda/kernels.js';
import { KERNEL_SOURCES } from '../../../src/generated/cuda-kernels.js';

const LETTERS: Readonly<Record<string, string>> = { int: 'i', u32: 'u', i64: 'l', float: 'f' };

/** The signature as the source has it. */
function signatureIn(source: string, name: string): string | undefined {
  // The widths of lora_down share one body.
  const plain = name.startsWith('lora_down_') ? 'lora_down' : name;
  const inside = new RegExp(`\\b${plain}\\(((?:const |\\w+\\*|\\w+ )[^)]*)\\) \\{`).exec(source)?.[1];
  return inside
    ?.split(',')
    .map((parameter) => (parameter.includes('*') ? 'p' : LETTERS[parameter.trim().split(/\s+/).at(-2)!]))
    .join('');
}

describe('kernels', () => {
  it.each([...SIGNATURES])('%s takes (%s) in its source', (name, signature) => {
    const source = KERNEL_SOURCES[`${FILE_OF.get(name)}.cu`];
    expect(source, `${FILE_OF.get(name)}.cu`).toBeDefined();
    expect(signatureIn(source!, name)).toBe(signature);
  });
});
