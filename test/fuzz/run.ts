/**
 * Feeds mutated files to everything that reads files of strangers: safetensors, a tenth as many configurations, and
 * half as many of those again in pictures. Each must be read or refused with a TuneError, within
 * a second, and without taking more than twice its length of memory on top of a fixed allowance. Prints counts; exits
 * with 1 if a case failed.
 *
 *   npm run fuzz -- [--count 20000] [--configs 2000] [--seed 1] [--keep FOLDER]
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fuzzConfigs, fuzzPictures, fuzzSafetensors } from './fuzz.js';
import type { Tally } from './measure.js';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20000' },
    configs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'string' },
  },
});

/** A heap that a runaway case cannot but exhaust. The measurements see what is left after a case, this sees its peak. */
const HEAP_MEGABYTES = 256;

async function main(): Promise<number> {
  const count = Number(values.count);
  const configs = Number(values.configs ?? Math.ceil(count / 10));
  const seed = Number(values.seed);
  if (![count, configs, seed].every((value) => Number.isInteger(value) && value >= 0)) {
    console.error('--count, --configs and --seed take whole numbers');
    return 2;
  }
  if (values.keep) mkdirSync(values.keep, { recursive: true });
  const options = { seed, ...(values.keep && { keepIn: values.keep }) };
  console.log(`seed ${seed}; limits: 1 s, 2 × the file and an allowance, a heap of ${HEAP_MEGABYTES} MB`);
  const tallies = new Map([['safetensors', await fuzzSafetensors({ ...options, count })]]);
  for (const [name, tally] of await fuzzConfigs({ ...options, count: configs })) tallies.set(name, tally);
  const pictures = Math.ceil(configs / 2);
  for (const [name, tally] of await fuzzPictures({ ...options, count: pictures })) tallies.set(name, tally);
  return report(tallies);
}

function report(tallies: ReadonlyMap<string, Tally>): number {
  const row = (...cells: (string | number)[]): string =>
    cells.map((cell, i) => (i === 0 ? String(cell).padEnd(40) : String(cell).padStart(10))).join('');
  console.log(row('file', 'cases', 'read', 'refused', 'failed', 'slowest', 'memory'));
  let failed = 0;
  for (const [name, { cases, accepted, refused, failures, slowest, mostBytes }] of tallies) {
    const memory = `${(Math.max(0, mostBytes) / 1e6).toFixed(1)} MB`;
    console.log(row(name, cases, accepted, refused, failures.length, `${slowest.toFixed(0)} ms`, memory));
    failed += failures.length;
    for (const { index, why } of failures.slice(0, 5)) console.log(`  case ${index}: ${why}`);
  }
  const all = [...tallies.values()].reduce((sum, { cases }) => sum + cases, 0);
  console.log(failed === 0 ? `${all} cases, none failed` : `${failed} of ${all} cases failed`);
  return failed === 0 ? 0 : 1;
}

if ('gc' in globalThis) process.exitCode = await main();
else {
  const flags = ['--expose-gc', `--max-old-space-size=${HEAP_MEGABYTES}`];
  const { status } = spawnSync(process.execPath, [...flags, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}
