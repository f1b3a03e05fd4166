/**
 * Whether the suite sees what it is there for: plants defects in the sources of fused kernels, one at a time, as text that
 * the compiler is given, and runs the checks of the blocks that these kernels are of.
 *
 *   npm run conformance:defects -- [--emulated]
 *
 * It exits with 1 if a defect passes all of them, or if a check fails by anything but its figures. Every defect has a process
 * of its own: what an engine has compiled and allocated is gone before the next.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEngine } from '../../../src/engine/create-engine.js';
import type { Engine } from '../../../src/engine/engine.js';
import { KERNEL_SOURCES } from '../../../src/generated/cuda-kernels.js';
import { Meter } from './measure.js';
import { cannotHold, conformanceChecks } from './suite.js';

interface Defect {
  readonly name: string;
  readonly file: string;
  readonly from: RegExp;
  readonly to: string;
  /** Of the checks that run. */
  readonly group: string;
}

const DEFECTS: readonly Defect[] = [
  {
    name: 'scale: the factor of kept elements is left out of the gated backward',
    file: 'gated-backward.cu',
    from: /__fmul_rn\((added\[j \/ 2\]\[i \* 2 \+ j % 2\]),\s*keep\)/,
    to: '$1',
    group: 'gatedBlock',
  },
  {
    name: "mask bit: a column's mask is its neighbour's in the gated backward",
    file: 'gated-backward.cu',
    from: /\(mask >> j\) & 1/,
    to: '(mask >> (j ^ 1)) & 1',
    group: 'gatedBlock',
  },
  {
    name: 'row offset: the low-rank input comes from the row after in the gated backward',
    file: 'gated-backward.cu',
    from: /row_of\(u, min\(r, end - 1\), ldu\)/,
    to: 'row_of(u, min(r + 1, end - 1), ldu)',
    group: 'gatedBlock',
  },
  {
    name: 'missing norm: a single row goes into its product as it is',
    file: 'generation-helpers.cuh',
    from: /const float scale = rsqrtf\([^;]*\);/,
    to: 'const float scale = 1.0f;',
    group: 'gatedBlock',
  },
  {
    name: 'repeats: only the first copy of a shared row has a gradient',
    file: 'rows.cu',
    from: /for \(int i = 0; i < count; i\+\+\)/,
    to: 'for (int i = 0; i < min(count, 1); i++)',
    group: 'attentionBlock',
  },
  {
    name: 'wrong transposition: the values of a tile are multiplied as if they were keys',
    file: 'attention-tiles.cuh',
    from: /load_matrices_transposed\(b,/,
    to: 'load_matrices(b,',
    group: 'attentionBlock',
  },
  {
    name: 'order of half bytes: the even code of a byte is taken from its low half',
    file: 'widening.cu',
    from: /values\[pair >> 4 & 15\] \* factor, values\[pair & 15\] \* factor/,
    to: 'values[pair & 15] * factor, values[pair >> 4 & 15] * factor',
    group: 'held weights',
  },
  {
    name: 'blocks: those of a weight below another one begin with the stack',
    file: 'widening.cu',
    from: /\(\(i64\)OF_PART\(part, part_block\) << block_shift\) \+ \(i64\)\(row - part_row\)/,
    to: '(i64)row',
    group: 'linear',
  },
  {
    name: 'scales: e4m3 rows take that of the row before',
    file: 'widening.cu',
    from: /\(\(row - part_row\) \/ OF_PART\(part, block_height\)\)/,
    to: '(max(row - part_row - 1, 0) / OF_PART(part, block_height))',
    group: 'linear',
  },
];

const { values: options } = parseArgs({
  options: { emulated: { type: 'boolean', default: false }, group: { type: 'string' }, defect: { type: 'string' } },
});
const sources = KERNEL_SOURCES as Record<string, string>;

async function openEngine(): Promise<Engine> {
  if (!options.emulated) return createEngine('cuda');
  const { emulatedEngine } = await import('../cuda/emulated-card.js');
  return emulatedEngine();
}

/** What a check throws about figures, beyond a limit or unequal; anything else that it throws is no finding. */
const OF_FIGURES = /error .+, limit | instead of -?\d/;

/** Runs the checks of a group and says how many fail: exit status 0 if none, 1 if some do by their figures, 2 otherwise. */
async function runGroup(group: string): Promise<number> {
  const engine = await openEngine();
  const checks = conformanceChecks().filter((check) => check.group === group && !cannotHold(engine, check));
  const failures: string[] = [];
  for (const { title, run } of checks) {
    try {
      await run(engine, new Meter());
    } catch (error) {
      failures.push(`${title}: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}`);
    }
  }
  await engine.dispose();
  const other = failures.find((failure) => !OF_FIGURES.test(failure));
  const shown = other ?? failures[0];
  console.log(`${failures.length} of ${checks.length} checks of ${group} fail${shown ? `; ${shown}` : ''}`);
  return other !== undefined ? 2 : Math.min(failures.length, 1);
}

/** The same in a process of its own. */
function run(...args: string[]): { status: number; said: string } {
  const emulated = options.emulated ? ['--emulated'] : [];
  const program = [...process.execArgv, fileURLToPath(import.meta.url), ...emulated, ...args];
  const child = spawnSync(process.execPath, program, { encoding: 'utf8' });
  const said = (child.stdout ?? '').trim().split('\n').at(-1) ?? '';
  const { status } = child;
  const known = status === 0 || status === 1 || status === 2;
  if (said && known) return { status, said };
  return { status: 2, said: `${child.stderr ?? ''}${child.error ?? ''}` };
}

function plant(name: string): void {
  const { file, from, to } = DEFECTS.find((defect) => defect.name === name)!;
  const whole = sources[file];
  if (!whole || !from.test(whole)) throw new Error(`${file} has no ${from}: the defect "${name}" cannot be planted`);
  sources[file] = whole.replace(from, to);
}

if (options.group !== undefined) {
  if (options.defect !== undefined) plant(options.defect);
  process.exitCode = await runGroup(options.group);
} else {
  let faults = 0;
  for (const group of new Set(DEFECTS.map((defect) => defect.group))) {
    const { status, said } = run('--group', group);
    if (status !== 0) faults++;
    console.log(`as they are: ${said}`);
  }
  for (const { name, group } of DEFECTS) {
    const { status, said } = run('--group', group, '--defect', name);
    if (status !== 1) faults++;
    console.log(`${['MISSED', 'caught', 'FAILED'][status]}  ${name}: ${said}`);
  }
  console.log(faults === 0 ? `all ${DEFECTS.length} defects are caught` : `${faults} faults in this run`);
  process.exitCode = faults > 0 ? 1 : 0;
}
