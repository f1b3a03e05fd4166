/**
 * Compiles every kernel in every variant that the engine uses, for cards of compute capability 8.0 to 12.0.
 * It needs no GPU: NVRTC where it is found, as the engine uses it, else nvcc.
 *
 *   npx tsx test/engine/cuda/card/compile.ts [--compiler nvrtc | nvcc] [--keep DIR]
 *
 * With --keep, what nvcc makes is kept by compiler, options and source, so that only kernels that changed are compiled.
 * A program passes if it needs no headers, compiles, holds the kernels that the engine launches, fits the card's shared
 * memory and spills no registers. Prints the registers of each kernel and ends with `N passed, N failed`; the exit
 * status is 1 if any failed. Says so and exits with 0 where there is no compiler.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { readCheckedFile, writeCheckedFile } from '../../../../src/engine/cuda/cache-file.js';
import { KernelCompiler } from '../../../../src/engine/cuda/compiler.js';
import { PLAIN_PROGRAMS, plainKernels } from '../../../../src/engine/cuda/kernels.js';
import type { KernelProgram } from '../../../../src/engine/cuda/launch.js';
import { ATTENTION_FILES, attentionProgram } from '../../../../src/engine/cuda/operations/attention-kernels.js';
import type { AttentionKernel } from '../../../../src/engine/cuda/operations/attention-work.js';
import { cubinResources } from './cubin-resources.js';

/** Shared memory that a block may have, in bytes. */
const CARDS: ReadonlyMap<number, number> = new Map([
  [80, 163 << 10],
  [86, 99 << 10],
  [89, 99 << 10],
  [90, 227 << 10],
  [100, 227 << 10],
  [120, 99 << 10],
]);
/** Head size and query heads of a key head: of the text tower, of the vision tower, and odd ones. */
const HEADS = [
  [128, 4],
  [64, 1],
  [128, 1],
  [24, 1],
] as const;
const TOWERS = 2;
const NVCC_OPTIONS = ['-std=c++17', '--use_fast_math'];
const CAP_OF_TWO_BLOCKS = 'two blocks of 256 threads on a multiprocessor leave 128 registers to each';
const OUTSIDE_THE_LOOP = 'more blocks on a multiprocessor are worth a value that is put aside once for 16 rows';
const AS_MEASURED = 'so many blocks on a multiprocessor are what was measured';
const OF_ROW_SCALES = 'only cards of 9.0 have the row scales that it is for';
const NEVER_RUN = 'registers were chosen on cards of 8.0 and 9.0; this one was compiled for, never run on';
/** Bytes of stack that a kernel may take on a card, and why it is left at that. */
const KNOWN_STACKS: Readonly<Record<string, { bytes: number; reason: string }>> = {
  'lora_input_gradient sm_80': { bytes: 16, reason: CAP_OF_TWO_BLOCKS },
  'lora_input_gradient sm_86': { bytes: 16, reason: CAP_OF_TWO_BLOCKS },
  'lora_input_gradient sm_89': { bytes: 16, reason: CAP_OF_TWO_BLOCKS },
  'gated_backward_amax_32 sm_86': { bytes: 8, reason: OF_ROW_SCALES },
  'gated_backward_amax_32 sm_89': { bytes: 8, reason: OF_ROW_SCALES },
  'small_linear_norm_nf4 sm_80': { bytes: 16, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_nf4 sm_86': { bytes: 16, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_nf4 sm_89': { bytes: 16, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_nf4 sm_90': { bytes: 8, reason: AS_MEASURED },
  'small_linear_nf4_8 sm_90': { bytes: 24, reason: AS_MEASURED },
  'small_linear_nf4_8 sm_80': { bytes: 48, reason: AS_MEASURED },
  'small_linear_nf4_8 sm_86': { bytes: 48, reason: AS_MEASURED },
  'small_linear_nf4_8 sm_89': { bytes: 48, reason: AS_MEASURED },
  'small_linear_nf4_8 sm_100': { bytes: 16, reason: NEVER_RUN },
  'small_linear_nf4_8 sm_120': { bytes: 16, reason: NEVER_RUN },
  'small_linear_norm_e4m3 sm_80': { bytes: 16, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_e4m3 sm_86': { bytes: 24, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_e4m3 sm_89': { bytes: 24, reason: OUTSIDE_THE_LOOP },
  'small_linear_norm_e4m3 sm_90': { bytes: 16, reason: AS_MEASURED },
  'small_linear_norm_e4m3 sm_100': { bytes: 8, reason: NEVER_RUN },
  'small_linear_norm_e4m3 sm_120': { bytes: 24, reason: NEVER_RUN },
  'small_linear_e4m3_8 sm_80': { bytes: 16, reason: OUTSIDE_THE_LOOP },
  'small_linear_e4m3_8 sm_90': { bytes: 24, reason: AS_MEASURED },
  'small_linear_e4m3_8 sm_100': { bytes: 16, reason: NEVER_RUN },
  'small_linear_e4m3_8 sm_120': { bytes: 8, reason: NEVER_RUN },
  'small_linear_16 sm_120': { bytes: 8, reason: NEVER_RUN },
  'gated_backward_lora_16 sm_100': { bytes: 16, reason: NEVER_RUN },
  'gated_backward_lora_32 sm_100': { bytes: 16, reason: NEVER_RUN },
  'gated_backward_amax_32 sm_100': { bytes: 8, reason: NEVER_RUN },
  'rms_norm_backward_8192 sm_100': { bytes: 8, reason: NEVER_RUN },
  'lora_down_64 sm_100': { bytes: 32, reason: NEVER_RUN },
  'attention_forward HEAD_DIM 128 sm_100': { bytes: 24, reason: NEVER_RUN },
  'attention_backward_query HEAD_DIM 128 sm_100': { bytes: 8, reason: NEVER_RUN },
  'attention_decode HEAD_DIM 128 sm_100': { bytes: 16, reason: NEVER_RUN },
  'gated_backward_lora_16 sm_120': { bytes: 16, reason: NEVER_RUN },
  'gated_backward_lora_32 sm_120': { bytes: 24, reason: NEVER_RUN },
  'gated_backward_amax_32 sm_120': { bytes: 8, reason: NEVER_RUN },
  'lora_down_64 sm_120': { bytes: 32, reason: NEVER_RUN },
};

interface Program extends KernelProgram {
  readonly capability: number;
}

interface Compiler {
  readonly name: string;
  /** Programs that it compiles at a time. */
  readonly width: number;
  compile(program: Program, source: string): Promise<Uint8Array>;
}

const folder = fileURLToPath(new URL('../../../../src/engine/cuda/kernels', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'compile-kernels-'));
// Nothing may come from an earlier run.
process.env.MINISTRAL_TUNE_CACHE = join(scratch, 'cache');

function nvrtc(): Compiler {
  const compiler = new KernelCompiler();
  return {
    name: `NVRTC ${compiler.version}`,
    width: 1,
    compile: async ({ files, defines, capability, isSpecific }, source) =>
      compiler.compile(files.at(-1)!.replace(/\.cu$/, ''), source, capability, defines, isSpecific),
  };
}

/** @param kept folder of what earlier runs made */
async function nvcc(kept: string | undefined): Promise<Compiler> {
  const run = promisify(execFile);
  const roots = [process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].filter((root) => root !== undefined);
  const path = roots.map((root) => join(root, 'bin/nvcc')).find(existsSync) ?? 'nvcc';
  const { stdout } = await run(path, ['--version']);
  const intermediates = new Map<string, Promise<string>>();
  let count = 0;
  const call = async (from: string, to: string, options: readonly string[]): Promise<void> => {
    await run(path, [...options, '-o', to, from]);
  };
  // Most of the time goes into PTX, which is the same for several cards.
  const intermediate = async (macros: readonly string[], architecture: string, source: string): Promise<string> => {
    const base = join(scratch, String(count++));
    writeFileSync(`${base}.cu`, source);
    const options = ['-ptx', `-arch=compute_${architecture}`, ...NVCC_OPTIONS, ...macros];
    await call(`${base}.cu`, `${base}.ptx`, options);
    return `${base}.ptx`;
  };
  const keptFile = (parts: readonly unknown[]): string | undefined =>
    kept &&
    join(
      kept,
      `${createHash('sha256')
        .update(JSON.stringify([stdout, ...parts]))
        .digest('hex')}.cubin`,
    );
  return {
    name: `nvcc ${/release ([\d.]+)/.exec(stdout)?.[1]}`,
    width: availableParallelism(),
    compile: async ({ defines, capability, isSpecific }, source) => {
      const macros = Object.entries(defines).map(([key, value]) => `-D${key}=${value}`);
      const architecture = isSpecific ? `${capability}a` : String(leastWithSamePtx(capability, source));
      const file = keptFile([source, NVCC_OPTIONS, macros, architecture, capability, isSpecific]);
      const made = file && readCheckedFile(file);
      if (made) return made;
      const key = JSON.stringify([source, macros, architecture]);
      const known = intermediates.get(key) ?? intermediate(macros, architecture, source);
      intermediates.set(key, known);
      const cubin = join(scratch, `${count++}.cubin`);
      await call(await known, cubin, ['-cubin', `-arch=sm_${capability}${isSpecific ? 'a' : ''}`]);
      const code = readFileSync(cubin);
      if (file) writeCheckedFile(file, code);
      return code;
    },
  };
}

/** nvcc makes the same PTX for the cards up to 9.0, and for those after it, but where the source asks for one. */
function leastWithSamePtx(capability: number, source: string): number {
  const guards = [...source.matchAll(/__CUDA_ARCH__ >= (\d+)/g)].map(([, version]) => Number(version) / 10);
  const isAlike = (card: number): boolean =>
    card >= 100 === capability >= 100 && guards.every((guard) => card >= guard === capability >= guard);
  return [...CARDS.keys()].find(isAlike) ?? capability;
}

/** The compiler that is wanted or found, or the reasons why there is none. */
async function findCompiler(wanted: string | undefined, kept: string | undefined): Promise<Compiler | string> {
  const reasons: string[] = [];
  for (const [name, make] of Object.entries({ nvrtc, nvcc: () => nvcc(kept) })) {
    if (wanted && name !== wanted) continue;
    try {
      return await make();
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
    }
  }
  return reasons.join('; ') || `there is no compiler "${wanted}"`;
}

function programsFor(capability: number): Program[] {
  const plain = PLAIN_PROGRAMS.map((program) => ({ ...program, capability }));
  // A card of 9.0 runs the others too, where a compiler lacks sm_90a or the heads do not fit.
  // Those after it are compiled for the towers alone.
  const heads = HEADS.filter((_, i) => capability < 100 || i < TOWERS);
  const attention = (Object.keys(ATTENTION_FILES) as AttentionKernel[]).flatMap((kernel) =>
    heads.flatMap(([headDim, group]) =>
      (capability === 90 ? [false, true] : [false]).map((hasWarpgroups) => ({
        ...attentionProgram(kernel, capability, headDim, group, hasWarpgroups),
        capability,
      })),
    ),
  );
  // Most attention programs are the same for every group.
  return [...new Map([...plain, ...attention].map((program) => [JSON.stringify(program), program])).values()];
}

let passed = 0;
let failed = 0;
function check(what: string, faults: readonly string[]): void {
  if (faults.length === 0) passed++;
  else failed++;
  for (const fault of faults) console.log(`FAILED ${what}: ${fault}`);
}

/** Registers by kernel and variant, then by compute capability. */
const registers = new Map<string, Map<number, number>>();

async function checkProgram(compiler: Compiler, program: Program, texts: ReadonlyMap<string, string>): Promise<void> {
  const { files, defines, capability, sharedBytes, isSpecific } = program;
  const file = files.at(-1)!;
  const variant =
    defines.HEAD_DIM === undefined ? '' : ` HEAD_DIM ${defines.HEAD_DIM}${isSpecific ? ' warpgroups' : ''}`;
  const faults: string[] = [];
  try {
    const source = files.map((name) => texts.get(name) ?? '').join('\n');
    const kernels = cubinResources(await compiler.compile(program, source));
    for (const { name, registers: count, stackBytes } of kernels) {
      const key = `${name}${variant}`;
      registers.set(key, (registers.get(key) ?? new Map<number, number>()).set(capability, count));
      const known = KNOWN_STACKS[`${key} sm_${capability}`]?.bytes ?? 0;
      if (stackBytes > known) faults.push(`${name} spills: ${stackBytes} bytes of stack a thread, ${known} are known`);
    }
    for (const { name, program: home } of plainKernels()) {
      if (home.files.at(-1) === file && !kernels.some((kernel) => kernel.name === name))
        faults.push(`has no kernel ${name}`);
    }
    if (kernels.length === 0) faults.push('has no kernels');
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  const most = CARDS.get(capability)!;
  if (sharedBytes > most) faults.push(`takes ${sharedBytes} bytes of shared memory, a block has at most ${most}`);
  check(`${file}${variant} for sm_${capability}${isSpecific ? 'a' : ''}`, faults);
}

/** Texts by file name; no file may include another, and every file must belong to a program. */
function readTexts(programs: readonly Program[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const name of readdirSync(folder).filter((file) => /\.cuh?$/.test(file))) {
    const text = readFileSync(join(folder, name), 'utf8');
    texts.set(name, text);
    const faults: string[] = [];
    if (/^\s*#\s*include\b/m.test(text)) faults.push('has an #include; NVRTC must need no headers');
    if (!programs.some(({ files }) => files.includes(name))) faults.push('belongs to no program of the engine');
    check(name, faults);
  }
  return texts;
}

const { values } = parseArgs({ options: { compiler: { type: 'string' }, keep: { type: 'string' } } });
const compiler = await findCompiler(values.compiler, values.keep);
if (typeof compiler === 'string') {
  console.log(`The CUDA kernels were not compiled, no compiler is here. ${compiler}`);
  process.exitCode = values.compiler ? 1 : 0;
} else {
  const started = performance.now();
  const programs = [...CARDS.keys()].flatMap(programsFor);
  const texts = readTexts(programs);
  const waiting = [...programs];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await checkProgram(compiler, next, texts);
  };
  await Promise.all(Array.from({ length: compiler.width }, work));
  console.log(`registers a thread, sm_${[...CARDS.keys()].join(' / ')}:`);
  for (const [name, counts] of registers) {
    console.log(`  ${name.padEnd(44)} ${[...CARDS.keys()].map((card) => counts.get(card) ?? '-').join(' / ')}`);
  }
  for (const [name, { bytes, reason }] of Object.entries(KNOWN_STACKS)) {
    console.log(`  known: ${name} takes up to ${bytes} bytes of stack: ${reason}`);
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(`${programs.length} programs with ${compiler.name} in ${seconds.toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
rmSync(scratch, { recursive: true, force: true });
