import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const root = new URL('.', import.meta.url).pathname;
/** Where a reason is part of what they do. */
const WITH_REASONS = ['where.ts', 'skips.test.ts', 'engine/conformance/conformance.ts'];

it('leaves no test out without a reason', () => {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.ts') && !WITH_REASONS.includes(path));
  const found = files.flatMap((path) =>
    [...readFileSync(root + path, 'utf8').matchAll(/\b(it|test|describe)\.(skip|skipIf|runIf|todo|only)\b/g)].map(
      ([call]) => `${path}: ${call}`,
    ),
  );
  expect(found).toEqual([]);
  expect(files.length).toBeGreaterThan(100);
});
