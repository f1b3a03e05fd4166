import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FILE_OF, type KernelProgram, Kernels, PLAIN_PROGRAMS, SIGNATURES } from '../../../src/engine/cuda/kernels.js';
import { AttentionKernels, usualAttentionPrograms } from '../../../src/engine/cuda/operations/attention-kernels.js';
import { KERNEL_SOURCES } from '../../../src/generated/cuda-kernels.js';

const LETTERS: Readonly<Record<string, string>> = { int: 'i', u32: 'u', i64: 'l', float: 'f' };

/** Kernels that stand in a source under their own names, macros aside. */
function kernelsIn(source: string): string[] {
  const pattern = /(?:KERNEL|__global__ void)\s+__launch_bounds__\([^)]*\)\s+(\w+)\(/g;
  return [...source.matchAll(pattern)].map(([, name]) => name!);
}

const ALL_KERNELS = Object.entries(KERNEL_SOURCES).flatMap(([file, source]) =>
  kernelsIn(source).map((name) => ({ file, name })),
);

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

  it('are all checked by the tests in Python', () => {
    const folder = new URL('./card/', import.meta.url);
    const tests = readdirSync(folder).filter((name) => /^(test|check|attention|kernel)_.*\.py$/.test(name));
    const text = tests.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
    const names = [...new Set([...SIGNATURES.keys(), ...ALL_KERNELS.map(({ name }) => name)])];
    expect(names.length).toBeGreaterThan(SIGNATURES.size);
    // A name with a width may be put together: f'lora_down_{W}'.
    const isNamed = (name: string): boolean =>
      new RegExp(`\\b(${name}|${name.replace(/\d+$/, '')}\\{\\w+\\})['"]`).test(text);
    expect(names.filter((name) => !isNamed(name))).toEqual([]);
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
      launch: () => {},
    };
    const kernels = new Kernels(driver as never, compiler as never);
    await kernels.prepare(PLAIN_PROGRAMS);
    for (const name of SIGNATURES.keys()) kernels.run(name as never, [1], 32, []);
    expect(compiled.length).toBe(new Set(FILE_OF.values()).size);
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
    readonly signature: string;
    readonly values: readonly number[];
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
        variant: ({ files, defines }: KernelProgram, name: string) => {
          return { name, file: files.at(-1)!, program: programOf({ files, defines }) };
        },
        launch: (
          kernel: Pick<Launch, 'name' | 'file' | 'program'>,
          grid: readonly number[],
          _block: number,
          signature: string,
          values: number[],
        ) => found.push({ ...kernel, grid, signature, values }),
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

  it('are launched with the parameters of their sources', () => {
    const made = [...launches(false), ...launches(true)];
    for (const { file, name, signature, values } of made) {
      expect([name, signatureIn(KERNEL_SOURCES[file]!, name)]).toEqual([name, signature]);
      expect([name, values.length]).toEqual([name, signature.length]);
    }
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
