import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Kernels, PLAIN_PROGRAMS, plainKernels } from '../../../src/engine/cuda/kernels.js';
import {
  type DevicePointer,
  type Kernel,
  type KernelProgram,
  offset,
  ofWidth,
  ParameterBlock,
} from '../../../src/engine/cuda/launch.js';
import { AttentionKernels, usualAttentionPrograms } from '../../../src/engine/cuda/operations/attention-kernels.js';
import { KERNEL_SOURCES } from '../../../src/generated/cuda-kernels.js';
import { KERNELS } from '../../../src/generated/kernel-launchers.js';

const READER = new URL('../../../scripts/kernel-launchers.mjs', import.meta.url).href;

/** As they are written; those of the package have no comments. */
const SOURCES = Object.fromEntries(
  Object.keys(KERNEL_SOURCES).map((file) => {
    return [file, readFileSync(new URL(`../../../src/engine/cuda/kernels/${file}`, import.meta.url), 'utf8')];
  }),
);

/** Kernels that stand in a source under their own names, macros aside. */
function kernelsIn(source: string): string[] {
  const pattern = /(?:KERNEL|__global__ void)\s+__launch_bounds__\([^)]*\)\s+(\w+)\(/g;
  return [...source.matchAll(pattern)].map(([, name]) => name!);
}

const ALL_KERNELS = Object.entries(KERNEL_SOURCES).flatMap(([file, source]) =>
  kernelsIn(source).map((name) => ({ file, name })),
);

describe('kernels', () => {
  it('are all checked by the tests in Python', () => {
    const folder = new URL('./card/', import.meta.url);
    const tests = readdirSync(folder).filter((name) => /^(test|check|attention|kernel)_.*\.py$/.test(name));
    const text = tests.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
    const plain = plainKernels().map(({ name }) => name);
    const names = [...new Set([...plain, ...ALL_KERNELS.map(({ name }) => name)])];
    expect(names.length).toBeGreaterThan(plain.length);
    // A name with a width may be put together: f'lora_down_{W}'.
    const isNamed = (name: string): boolean =>
      new RegExp(`\\b(${name}|${name.replace(/\d+$/, '')}\\{\\w+\\})['"]`).test(text);
    expect(names.filter((name) => !isNamed(name))).toEqual([]);
  });

  it('are formatted: 120 columns, no tabs, no blanks at the end of a line', () => {
    const wrong = Object.entries(SOURCES).flatMap(([file, text]) =>
      text.split('\n').flatMap((line, i) => (line.length > 120 || /\t|\s$/.test(line) ? [`${file}:${i + 1}`] : [])),
    );
    expect(wrong).toEqual([]);
  });

  it('are in the package with the lines that they are written on', () => {
    const lines = (texts: Readonly<Record<string, string>>) => {
      return Object.entries(texts).map(([file, text]) => `${file}: ${text.split('\n').length}`);
    };
    expect(lines(KERNEL_SOURCES)).toEqual(lines(SOURCES));
    expect(Object.values(KERNEL_SOURCES).filter((text) => /\/\/(?! PTX (begin|end)\b)/m.test(text))).toEqual([]);
  });

  it('have their parameters and launches in the tables of the README', async () => {
    const { withTables } = (await import(READER)) as Record<string, (...texts: unknown[]) => unknown>;
    const readme = readFileSync(new URL('../../../src/engine/cuda/kernels/README.md', import.meta.url), 'utf8');
    expect(withTables!(readme, SOURCES)).toBe(readme);
    const rows = readme.match(/^\| \w+/gm)!.map((row) => row.slice(2));
    const missing = [...plainKernels(), ...ALL_KERNELS].filter(
      ({ name }) => !rows.includes(name) && !rows.includes(name.replace(/\d+$/, 'W')),
    );
    expect(missing).toEqual([]);
  });

  it('are all launched somewhere', () => {
    const folder = new URL('../../../src/engine/cuda/', import.meta.url);
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
    const text = files.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
    const unused = Object.keys(KERNELS).filter((name) => !new RegExp(`\\bKERNELS\\.${name}\\b`).test(text));
    expect(unused).toEqual([]);
  });

  it('need no headers', () => {
    const including = Object.entries(KERNEL_SOURCES).filter(([, text]) => /^\s*#\s*include\b/m.test(text));
    expect(including.map(([file]) => file)).toEqual([]);
  });
});

describe('Kernels', () => {
  it('prepares the very programs that it compiles later', async () => {
    const prepared: unknown[][] = [];
    const compiled: unknown[][] = [];
    const compiler = {
      prepare: async (...job: unknown[]) => {
        prepared.push(job);
      },
      compile: (...job: unknown[]) => {
        compiled.push(job);
        return new Uint8Array(1);
      },
    };
    const driver = {
      device: { capability: 80, multiprocessors: 108 },
      loadModule: () => 1,
      kernel: (_module: number, name: string) => ({ name, handle: 1 }),
      parameters: {},
      launch: () => {},
    };
    const kernels = new Kernels(driver as never, compiler as never);
    await kernels.prepare(PLAIN_PROGRAMS);
    for (const kernel of plainKernels()) kernels.launch({ ...kernel, pack: () => {} }, [1], {}, 32);
    expect(compiled.length).toBe(PLAIN_PROGRAMS.length);
    expect(prepared.map((job) => JSON.stringify(job)).sort()).toEqual(
      compiled.map((job) => JSON.stringify(job)).sort(),
    );
  });
});

describe('attention kernels', () => {
  interface Launch {
    readonly file: string;
    readonly name: string;
    readonly grid: readonly number[];
    /** Files and macros of its program. */
    readonly program: string;
  }

  function programOf({ files, defines }: Pick<KernelProgram, 'files' | 'defines'>): string {
    return JSON.stringify([files, defines]);
  }

  /** Every launch of a training pass and of decoding, with keys enough that their ranges are split. */
  function launches(hasWarpgroups: boolean, heads = 8): Launch[] {
    const found: Launch[] = [];
    const tensor = { address: 4096, ld: 1024, rows: 2 };
    const store = {
      kernels: {
        multiprocessors: 132,
        hasWarpgroups,
        launch: ({ name, program }: Kernel<unknown>, grid: readonly number[]) =>
          found.push({ name, file: program.files.at(-1)!, program: programOf(program), grid }),
      },
      table: () => ({ address: 8192 }),
      counters: () => 16384,
      createF32: () => tensor,
      release: () => {},
    };
    const kernels = new AttentionKernels(store as never, 90);
    const all = { out: tensor, lse: tensor, q: tensor, k: tensor, v: tensor, dq: tensor, dk: tensor, dv: tensor };
    const tensors = { ...all, dOut: tensor, delta: tensor } as never;
    const segments = {
      queryStarts: Int32Array.of(0, 1, 2),
      keyStarts: Int32Array.of(0, 999),
      keyLengths: Int32Array.of(999, 3),
    };
    const attributes = { heads, kvHeads: 2, headDim: 128, scale: 0.1, causal: true, segments } as never;
    kernels.forward(tensors, attributes);
    kernels.delta(tensor as never, tensor as never, tensor as never, attributes);
    kernels.backwardQuery(tensors, attributes);
    kernels.backwardKeyValue(tensors, attributes);
    kernels.decode(tensors, attributes);
    return found;
  }

  it('are all launched, each from its source', () => {
    const made = [...launches(false), ...launches(true)];
    const inSources = ALL_KERNELS.filter(({ file }) => file.startsWith('attention-'));
    expect(inSources.length).toBeGreaterThan(4);
    const nameOf = ({ file, name }: { file: string; name: string }): string => `${file} ${name}`;
    expect([...new Set(made.map(nameOf))].sort()).toEqual(inSources.map(nameOf).sort());
  });

  it.each([true, false])('are all prepared, with warpgroups: %s', (hasWarpgroups) => {
    const prepared = usualAttentionPrograms(90, hasWarpgroups).map(programOf);
    expect(new Set(prepared).size).toBe(prepared.length);
    expect(launches(hasWarpgroups).filter(({ program }) => !prepared.includes(program))).toEqual([]);
  });

  it('use warpgroups where card, compiler and head counts allow it', () => {
    const forward = (hasWarpgroups: boolean, heads?: number): unknown[] => {
      const { file, grid } = launches(hasWarpgroups, heads).find(({ name }) => name === 'attention_forward')!;
      return [file, grid[0]];
    };
    // Four query heads share a block.
    expect(forward(true)).toEqual(['attention-warpgroup-forward.cu', 2]);
    expect(forward(false)).toEqual(['attention-forward.cu', 8]);
    expect(forward(true, 12)).toEqual(['attention-forward.cu', 12]);
  });
});

describe('launchers', () => {
  const pointer = (2 ** 40) as DevicePointer;
  const packed = <P>(kernel: Kernel<P>, parameters: P): DataView => {
    const block = new ParameterBlock();
    kernel.pack(block, parameters);
    return new DataView(block.bytes.buffer);
  };

  it('pack parameters in the order of the source', () => {
    // biome-ignore format: parameters by operand
    const view = packed(KERNELS.rmsNormForward, {
      eps: 0.5, rows: 3, columns: 24, ldy: 1, ldsum: 2, ldx: 4, ldresidual: -5,
      y: pointer, sum: undefined, rstd: offset(pointer, 8), x: pointer, residual: undefined, weight: pointer,
    });
    const pointers = Array.from({ length: 6 }, (_, i) => Number(view.getBigUint64(8 * i, true)));
    expect(pointers).toEqual([2 ** 40, 0, 2 ** 40 + 8, 2 ** 40, 0, 2 ** 40]);
    const numbers = Array.from({ length: 6 }, (_, i) => view.getInt32(48 + 8 * i, true));
    expect(numbers).toEqual([3, 24, 1, 2, 4, -5]);
    expect(view.getFloat32(96, true)).toBe(0.5);
  });

  it('pack lists by the digits of their names, and every kind of number', () => {
    const lists = { grads: [pointer, undefined, pointer, undefined], ranks: [1, 2, 3, 4], factors: [1, 2, 3, 4] };
    const sizes = { N: 5, width: 6, splits: 7 };
    const view = packed(KERNELS.loraFinishB, { ...lists, ...sizes, partial: pointer, firstColumns: [0, 10, 20, 30] });
    expect(Number(view.getBigUint64(16, true))).toBe(2 ** 40);
    const numbers = Array.from({ length: 10 }, (_, i) => view.getInt32(40 + 8 * i, true));
    expect(numbers).toEqual([5, 6, 7, 10, 20, 30, 1, 2, 3, 4]);
    expect(view.getFloat32(120 + 24, true)).toBe(4);
    const flat = packed(KERNELS.addF32, { out: pointer, a: pointer, b: pointer, n: 2 ** 33 + 7 });
    expect(Number(flat.getBigUint64(24, true))).toBe(2 ** 33 + 7);
    const short = { ...lists, ...sizes, ranks: [1, 2], partial: pointer, firstColumns: [0, 10, 20, 30] };
    expect(() => packed(KERNELS.loraFinishB, short)).toThrow(/list of 4 values, got 2/);
  });

  it('exist for certain widths', () => {
    expect(ofWidth(KERNELS.loraDown, 48).name).toBe('lora_down_48');
    expect(() => ofWidth(KERNELS.loraDown, 24)).toThrow(/lora_down has the widths 16,32,48,64, not 24/);
  });

  it('do not compile with a parameter swapped, misspelt or missing', () => {
    const sizes = { rows: 1, columns: 8, ldo: 8, ldx: 8 };
    const check = <P>(_kernel: Kernel<P>, _parameters: NoInfer<P>): void => {};
    check(KERNELS.copyBf16, { ...sizes, out: pointer, x: pointer });
    // @ts-expect-error: a number for a pointer
    check(KERNELS.copyBf16, { ...sizes, out: 8, x: pointer });
    // @ts-expect-error: a pointer for a number
    check(KERNELS.copyBf16, { ...sizes, out: pointer, x: pointer, rows: pointer });
    // @ts-expect-error: a pointer moved without `offset`
    check(KERNELS.copyBf16, { ...sizes, out: pointer, x: pointer + 8 });
    // @ts-expect-error: misspelt
    check(KERNELS.copyBf16, { rows: 1, columns: 8, ldo: 8, ldX: 8, out: pointer, x: pointer });
    // @ts-expect-error: missing
    check(KERNELS.copyBf16, { ...sizes, out: pointer });
    // @ts-expect-error: absent where the kernel needs it
    check(KERNELS.copyBf16, { ...sizes, out: pointer, x: undefined });
    // @ts-expect-error: those of another kernel
    check(KERNELS.addBias, { ...sizes, out: pointer, x: pointer });
  });
});

describe('the reader of signatures', () => {
  it('takes one signature for all widths of a kernel, and no type that it does not know', async () => {
    const { kernelsIn: readKernels, kernelLaunchers } = (await import(READER)) as Record<
      string,
      (...sources: unknown[]) => unknown
    >;
    const kernel = (name: string, inside: string): string => `KERNEL __launch_bounds__(32) ${name}(${inside}) {}\n`;
    const source = kernel('sum_8', 'float* y, int n') + kernel('sum_16', 'float* y, int n');
    expect(readKernels!('sum.cu', source)).toMatchObject([{ name: 'sum', widths: [8, 16], block: 32 }]);
    const different = kernel('sum_8', 'float* y, int n') + kernel('sum_16', 'float* y, i64 n');
    expect(() => readKernels!('sum.cu', different)).toThrow(/sum_\* have different parameters/);
    expect(() => readKernels!('sum.cu', kernel('sum', 'short n'))).toThrow(/cannot read the parameter "short n"/);
    const list = { 'sum.cu': kernel('sum', 'int n0, int n2, int n3') };
    expect(() => kernelLaunchers!(list)).toThrow(/n2 does not follow n0/);
    const twice = { 'attention-a.cu': kernel('sum', 'int n'), 'attention-b.cu': kernel('sum', 'u32 n') };
    expect(() => kernelLaunchers!(twice)).toThrow(/attention-a.cu and attention-b.cu/);
  });
});
