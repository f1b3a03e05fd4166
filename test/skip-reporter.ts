/** Prints each test that was left out, with its reason, below vitest's own report: a check that did not run is known. */
import type { Reporter, TestCase, TestModule, TestSuite } from 'vitest/node';
import { SKIPPED } from './where.js';

/** [reason, tests] of all that were left out. */
export function skippedTests(modules: readonly TestModule[]): ReadonlyMap<string, readonly string[]> {
  const byReason = new Map<string, string[]>();
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const result = test.result();
      if (result.state !== 'skipped') continue;
      const reason = reasonOf(test, result.note);
      const name = `${module.relativeModuleId}: ${test.fullName.replace(SKIPPED + reason, '')}`;
      byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
    }
  }
  return byReason;
}

/** Of the test, or of a group around it. */
function reasonOf(test: TestCase, note: string | undefined): string {
  if (note) return note;
  for (let one: TestCase | TestSuite | TestModule = test; one.type !== 'module'; one = one.parent) {
    const at = one.name.indexOf(SKIPPED);
    if (at >= 0) return one.name.slice(at + SKIPPED.length);
  }
  return 'no reason is given';
}

/** A reporter of vitest. */
export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const byReason = skippedTests(modules);
    const count = [...byReason.values()].flat().length;
    if (count === 0) return;
    const lines = [`${count} tests were left out:`];
    for (const [reason, names] of byReason) {
      lines.push(`  ${reason} (${names.length})`, ...names.map((name) => `    ${name}`));
    }
    process.stdout.write(`\n${lines.join('\n')}\n`);
  }
}
