/**
 * Reads the bindings and the uniforms of the WGSL kernels and writes a typed constant for each, so that what a kernel and
 * TypeScript must agree on is written once, in the .wgsl file:
 *
 *   struct Params { rows: u32, eps: f32 }                     uniforms, in order: u32, i32 or f32
 *   @group(0) @binding(0) var<uniform> params: Params;        always binding 0
 *   @group(0) @binding(1) var<storage, read_write> x: array<f32>;
 *
 * One kernel a file, entry point `main`; files without `fn main` are included by others.
 */
import { basename } from 'node:path';

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)\s*:/g;

function camelCase(file) {
  return file.replace(/\.wgsl$/, '').replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
}

/** The text with the files that it includes. */
function joined(file, texts, seen = new Set()) {
  if (seen.has(file)) return '';
  seen.add(file);
  const text = texts[file];
  // A name that only a launch knows: files of that pattern declare the same bindings.
  if (text === undefined) return '';
  return text.replace(/^\s*\/\/#include\s+(\S+)\s*$/gm, (_, other) => joined(other, texts, seen));
}

function kernelOf(file, texts) {
  const text = joined(file, texts);
  if (!/^\s*fn main\(/m.test(text.replace(/@compute[^\n]*\n?/g, ''))) return undefined;
  const bindings = new Map();
  for (const [, index, access, name] of text.matchAll(BINDING)) {
    const known = bindings.get(Number(index));
    if (known && (known.name !== name || known.access !== access))
      throw new Error(`${file}: binding ${index} is both ${known.name} and ${name}`);
    bindings.set(Number(index), { index: Number(index), name, access });
  }
  const [, struct = ''] = /struct Params\s*\{([^}]*)\}/.exec(text) ?? [];
  const uniforms = [...struct.replace(/\/\/[^\n]*/g, '').matchAll(/(\w+)\s*:\s*(\w+)/g)].map(([, name, type]) => {
    if (!['u32', 'i32', 'f32'].includes(type))
      throw new Error(`${file}: the uniform ${name} is ${type}, expected u32, i32 or f32`);
    return { name, type };
  });
  // What stands inside a condition is not part of every variant.
  let depth = 0;
  const always = new Set();
  for (const line of text.split('\n')) {
    if (/^\s*\/\/#if/.test(line)) depth++;
    else if (/^\s*\/\/#endif/.test(line)) depth--;
    else if (depth === 0) for (const [, index] of line.matchAll(BINDING)) always.add(Number(index));
  }
  const own = [...bindings.values()].sort((a, b) => a.index - b.index);
  return {
    name: camelCase(file),
    file,
    uniforms,
    bindings: own.map((b) => ({ ...b, isOptional: !always.has(b.index) })),
  };
}

/** @param texts by file name */
export function wgslKernels(texts) {
  const kernels = Object.keys(texts)
    .map((file) => kernelOf(basename(file), texts))
    .filter((kernel) => kernel !== undefined);
  const lines = kernels.map(({ name, file, uniforms, bindings }) => {
    const type = [
      ...bindings.map(
        (b) => `readonly ${b.name}${b.isOptional ? '?' : ''}: BufferRange${b.isOptional ? ' | undefined' : ''}`,
      ),
      ...uniforms.map((u) => `readonly ${u.name}: number`),
    ].join('; ');
    const value = JSON.stringify({
      file,
      bindings: bindings.map(({ index, name, access }) => ({ index, name, access })),
      uniforms,
    });
    return `  ${name}: ${value} as Kernel<{ ${type} }>,`;
  });
  return `import type { BufferRange } from '../engine/webgpu/gpu-types.js';\nimport type { Kernel } from '../engine/webgpu/kernels.js';\n\n/** The WebGPU kernels by name. */\nexport const WGSL = {\n${lines.join('\n')}\n} as const;\n`;
}
