/**
 * Whether the suite sees what it is there for: plants defects in the sources of fused kernels, one at a time, as text that
 * the compiler is given, and runs the checks of the blocks that these kernels are of.
 *
 *   npm run conformance:defects -- [--emulated]
 *
 * It exits with 1 if a defect passes all of them.
 */
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

const { values: options } = parseArgs({ options: { emulated: { type: 'boolean', default: false } } });

async function openEngine(): Promise<Engine> {
  if (!options.emulated) return createEngine('cuda');
  const { emulatedEngine } = await import('../cuda/emulated-card.js');
  return emulatedEngine();
}

/** Checks that fail; the first one with what it says. */
async function failures(group: string): Promise<{ run: number; failed: number; first: string }> {
  const engine = await openEngine();
  const checks = conformanceChecks().filter((check) => check.group === group && !cannotHold(engine, check));
  let failed = 0;
  let first = '';
  for (const { title, run } of checks) {
    try {
      await run(engine, new Meter());
    } catch (error) {
      failed++;
      first ||= `${title}: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}`;
    }
  }
  await engine.dispose();
  return { run: checks.length, failed, first };
}

const sources = KERNEL_SOURCES as Record<string, string>;
let missed = 0;
for (const group of new Set(DEFECTS.map((defect) => defect.group))) {
  const { run, failed, first } = await failures(group);
  console.log(`as they are, ${group}: ${failed} of ${run} checks fail${failed ? `; ${first}` : ''}`);
  if (failed > 0) missed++;
}
for (const { name, file, from, to, group } of DEFECTS) {
  const whole = sources[file];
  if (!whole || !from.test(whole)) throw new Error(`${file} has no ${from}: the defect "${name}" cannot be planted`);
  sources[file] = whole.replace(from, to);
  const { run, failed, first } = await failures(group);
  sources[file] = whole;
  if (failed === 0) missed++;
  console.log(`${failed > 0 ? 'caught' : 'MISSED'}  ${name}: ${failed} of ${run} checks of ${group} fail; ${first}`);
}
console.log(missed === 0 ? `all ${DEFECTS.length} defects are caught` : `${missed} faults in this run`);
process.exitCode = missed > 0 ? 1 : 0;
