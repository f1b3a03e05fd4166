/** What is known of mutants: the latest result of each, scores, and those that no test has noticed. */
import { existsSync, readFileSync } from 'node:fs';

const keyOf = ({ fileName, location, mutatorName, replacement }) =>
  JSON.stringify([fileName, location, mutatorName, replacement]);

/** @param file lines of reporter.mjs; a later line of a mutant replaces an earlier one */
export function readResults(file) {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return [...new Map(lines.map((line) => JSON.parse(line)).map((mutant) => [keyOf(mutant), mutant])).values()];
}

/** As Stryker counts: endless loops are noticed, mutants that no test reaches are not. */
export const isKilled = ({ status }) => status === 'Killed' || status === 'Timeout';

export const survivorsOf = (mutants) =>
  mutants
    .filter(({ status }) => status === 'Survived' || status === 'NoCoverage')
    .sort((a, b) => a.fileName.localeCompare(b.fileName) || a.location.start.line - b.location.start.line);

export function scoreOf(mutants) {
  const killed = mutants.filter(isKilled).length;
  const total = killed + survivorsOf(mutants).length;
  return { killed, total, percent: total === 0 ? 0 : (100 * killed) / total };
}

/** One line: where, which, and what it replaces with what. */
export function describe({ fileName, location, mutatorName, replacement, status }) {
  const { start, end } = location;
  const lines = readFileSync(fileName, 'utf8').split('\n');
  const last = start.line === end.line ? end.column - 1 : undefined;
  const original = lines[start.line - 1].slice(start.column - 1, last) + (last === undefined ? ' …' : '');
  const shorten = (text) => text.replace(/\s+/g, ' ').slice(0, 100);
  const by = `${shorten(original)} → ${shorten(replacement ?? '')}`;
  return `${fileName}:${start.line}:${start.column} ${mutatorName}${status === 'NoCoverage' ? ' (no test)' : ''}: ${by}`;
}
