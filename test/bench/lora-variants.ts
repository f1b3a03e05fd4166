/** Times variants of the low-rank kernels. */
import { KernelCompiler } from '../../src/engine/cuda/compiler.js';
import { CudaDriver } from '../../src/engine/cuda/driver.js';
import { type DevicePointer, type Kernel, NULL_POINTER, offset, ParameterBlock } from '../../src/engine/cuda/launch.js';
import { KERNEL_SOURCES } from '../../src/generated/cuda-kernels.js';
import { KERNELS } from '../../src/generated/kernel-launchers.js';
import { BASE, FIRST } from './lora-variant-text.js';
import { median } from './median.js';

const isDry = process.argv.includes('--dry');
const driver = isDry
  ? ({
      createEvent: () => 0,
      allocate: () => 2 ** 40,
      fillBytes: () => {},
      recordEvent: () => {},
      launch: () => {},
      synchronize: () => {},
      elapsedMilliseconds: () => 1,
      loadModule: () => 0,
      kernel: () => ({}),
      parameters: new ParameterBlock(),
    } as unknown as CudaDriver)
  : new CudaDriver();
const compiler = isDry ? ({ compile: () => new Uint8Array() } as unknown as KernelCompiler) : new KernelCompiler();
const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
const room = driver.allocate(3 * 2 ** 30);
driver.fillBytes(room, 0, 3 * 2 ** 30);
let at = 0;
const take = (bytes: number): DevicePointer => {
  const p = offset(room, at);
  at += Math.ceil(bytes / 256) * 256;
  return p;
};
const modules = new Map<string, number>();
const source = (files: readonly string[]): string => files.map((file) => KERNEL_SOURCES[file]!).join('\n');
type Edit = (text: string) => string;
function once(from: string | RegExp, to: string): Edit {
  return (text) => {
    const next = text.replace(from, to);
    if (next === text) console.log(`NO CHANGE ${from}`);
    return next;
  };
}
function timer<P>(kernel: Kernel<P>, edit: Edit) {
  const text = edit(source(kernel.program.files));
  let module = modules.get(text);
  if (module === undefined)
    modules.set(text, (module = driver.loadModule(compiler.compile('variant', text, 90, {}, true))));
  const f = driver.kernel(module, kernel.name, 0);
  return (grid: [number, number, number], block: number, parameters: (i: number) => P): string => {
    const times: number[] = [];
    for (let i = 0; i < 12; i++) {
      driver.recordEvent(start);
      for (let j = 0; j < 4; j++) {
        kernel.pack(driver.parameters, parameters((4 * i + j) % 5));
        driver.launch(f, grid, block, 0);
      }
      driver.recordEvent(end);
      driver.synchronize();
      times.push(driver.elapsedMilliseconds(start, end));
    }
    return (250 * median(times)).toFixed(1);
  };
}
const cdiv = (a: number, b: number): number => Math.ceil(a / b);
const SIZES = [
  ['T', 2723, 5120, 48, 3],
  ['T', 2723, 5120, 32, 2],
  ['T', 2723, 4096, 16, 1],
  ['T', 2723, 5120, 64, 2],
  ['P', 9440, 1024, 48, 3],
  ['P', 9440, 1024, 32, 2],
  ['P', 9440, 1024, 16, 1],
] as const;
const counters = take(1 << 20);
const same: Edit = (text) => text;
const replaced =
  (by: string): Edit =>
  (text) =>
    text.slice(0, text.indexOf('// Prepended: common.cu, lora-helpers.cuh')) + by;
const backward: Record<string, Edit> = {
  first: replaced(FIRST),
  base: replaced(BASE),
  warps: same,
  warpsOne: (text) => text.replaceAll('__launch_bounds__(256, 2)', '__launch_bounds__(256, 1)'),
  warpsThree: (text) => text.replaceAll('__launch_bounds__(256, 2)', '__launch_bounds__(256, 3)'),
  noTranspose: once('asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));', 'y = x;'),
};
for (const [name, rows, K, E, parts] of SIZES) {
  const kb = 4 * cdiv(K, 32);
  const ld = K + E;
  at = 1 << 20;
  const [dx, x] = [take(5 * rows * ld * 2), take(5 * rows * ld * 2)];
  const [a, rstd, weight] = [take(E * K * 2), take(rows * 4), take(K * 2)];
  const bits = take(parts * rows * kb);
  const partial = take(64 * Math.max(E * K, rows * E) * 4);
  const grads = [0, 1, 2, 3].map((i) => (i < parts ? take((E / parts) * K * 4) : undefined));
  const keys = take(rows * 4);
  const starts = [0, 1, 2, 3].map((i) => Math.min(E, (i * E) / parts));
  const ranks = [0, 1, 2, 3].map((i) => (i < parts ? E / parts : 0));
  const keeps = [1.05, 1.05, 1.05, 1.05];
  for (const [variant, edit] of Object.entries(backward)) {
    const kernel = KERNELS.loraBackward[E]! as Kernel<never>;
    let run: ReturnType<typeof timer<never>>;
    try {
      run = timer(kernel, edit);
    } catch (error) {
      console.log(variant, String(error).slice(0, 200));
      continue;
    }
    const line: string[] = [];
    const each = (splitRows: number, over: object = {}): string =>
      run(
        [cdiv(K, 64), cdiv(rows, splitRows), 1],
        256,
        (i) =>
          ({
            grads,
            partial,
            counters,
            dx: offset(dx, i * rows * ld * 2),
            lddx: ld,
            x: offset(x, i * rows * ld * 2),
            ldx: ld,
            rstd: E > 16 ? rstd : undefined,
            weight: E > 16 ? weight : undefined,
            du: offset(dx, i * rows * ld * 2 + 2 * K),
            lddu: ld,
            a,
            lda: K,
            bits,
            kb,
            rows,
            K,
            starts,
            ranks,
            splitRows,
            keeps,
            ...over,
          }) as never,
      );
    const strips = cdiv(K, 64);
    for (const blocks of variant === 'warps' ? [132, 264, 396, 528] : variant === 'warpsThree' ? [396] : [264]) {
      const splits = Math.max(1, Math.floor(blocks / strips));
      const rowsOf = 64 * cdiv(cdiv(rows, 64), splits);
      line.push(`${splits} splits ${each(rowsOf)}`);
    }
    if (variant === 'warps') {
      const rowsOf = 64 * cdiv(cdiv(rows, 64), Math.max(1, Math.floor(264 / strips)));
      line.push(`no norm ${each(rowsOf, { rstd: undefined, weight: undefined })}`);
      line.push(`no bits ${each(rowsOf, { bits: undefined })}`);
    }
    console.log(`backward_${E} ${name} ${rows}x${K} ${variant}: ${line.join(', ')}`);
  }
  const down = timer(KERNELS.loraDown[E]! as Kernel<never>, same);
  const line: string[] = [];
  for (const blocks of [132, 264, 396, 528, 792]) {
    const tiles = cdiv(rows, 64);
    const splits = Math.max(1, Math.floor(blocks / tiles));
    const splitColumns = 64 * cdiv(cdiv(K, 64), splits);
    const each = (rowKeys: DevicePointer | undefined): string =>
      down(
        [tiles, 1, cdiv(K, splitColumns)],
        256,
        (i) =>
          ({
            u: offset(x, i * rows * ld * 2 + 2 * K),
            ldu: ld,
            saved: dx,
            ldsaved: E,
            partial,
            counters,
            x: offset(x, i * rows * ld * 2),
            ldx: ld,
            a,
            lda: K,
            bits: rowKeys && bits,
            rowKeys,
            kb,
            rows,
            K,
            E,
            splitColumns,
            starts,
            seeds: [1, 2, 3, 4],
            thresholds: [1 << 27, 1 << 27, 1 << 27, 1 << 27],
            keeps,
          }) as never,
      );
    line.push(`${cdiv(K, splitColumns)} splits ${each(keys)} (no dropout ${each(undefined)})`);
  }
  console.log(`down_${E} ${name} ${rows}x${K}: ${line.join(', ')}`);
}
void NULL_POINTER;
