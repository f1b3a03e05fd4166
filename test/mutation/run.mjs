/**
 * Mutation tests, area by area: `npm run mutation -- [AREA …] [--survivors] [--concurrency N]`. Each mutant's result goes
 * to reports/mutation/AREA.jsonl; --survivors tests again only those that no test noticed the last time.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { AREAS } from './areas.mjs';
import { describe, readResults, scoreOf, survivorsOf } from './results.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { survivors: { type: 'boolean' }, concurrency: { type: 'string' }, reports: { type: 'string' } },
});
const unknown = positionals.filter((area) => !(area in AREAS));
if (unknown.length > 0) throw new Error(`no area ${unknown.join(', ')}; known: ${Object.keys(AREAS).join(', ')}`);
const reports = values.reports ?? 'reports/mutation';
mkdirSync(reports, { recursive: true });

for (const area of positionals.length > 0 ? positionals : Object.keys(AREAS)) {
  const lines = `${reports}/${area}.jsonl`;
  const env = { ...process.env, MUTATION_AREA: area, MUTATION_REPORTS: reports };
  if (values.concurrency) env.MUTATION_CONCURRENCY = values.concurrency;
  if (values.survivors) {
    // Lines of the report count from 1, columns of a range from 0.
    const ranges = survivorsOf(readResults(lines)).map(({ fileName, location: { start, end } }) => {
      return `${fileName}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`;
    });
    if (ranges.length === 0) continue;
    env.MUTATION_FILES = [...new Set(ranges)].join(',');
  } else rmSync(lines, { force: true });
  const stryker = 'node_modules/@stryker-mutator/core/bin/stryker.js';
  spawnSync(process.execPath, [stryker, 'run', '.stryker.config.mjs'], { env, stdio: 'inherit' });

  const mutants = readResults(lines);
  const { killed, total, percent } = scoreOf(mutants);
  const survivors = survivorsOf(mutants).map(describe);
  writeFileSync(`${reports}/${area}.survivors.txt`, `${survivors.join('\n')}\n`);
  console.log(`${area}: ${killed} of ${total} killed, ${percent.toFixed(1)} %`);
}
