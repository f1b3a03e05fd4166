import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const root = new URL('..', import.meta.url).pathname;
const source = `${root}src/`;
const files = readdirSync(`${root}test`, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.ts'))
  .map((path) => `test/${path.replaceAll('\\', '/')}`);
/** A module that is replaced must not be loaded yet. */
const replacesModules = (path: string): boolean =>
  /\bvi\.(doMock|mock|resetModules)\(/.test(readFileSync(root + path, 'utf8'));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^ministral-tune$/, replacement: `${source}index.ts` },
      { find: /^ministral-tune\/(\w+)$/, replacement: `${source}$1.ts` },
    ],
  },
  test: {
    root,
    testTimeout: 60_000,
    // The engine itself uses every core, so files run a few at a time.
    pool: 'forks',
    maxWorkers: 2,
    // Loading the library takes longer than most files' tests: a process loads it once, for all of its files.
    projects: [
      {
        extends: true,
        test: { name: 'shared', isolate: false, include: files.filter((path) => !replacesModules(path)) },
      },
      { extends: true, test: { name: 'isolated', isolate: true, include: files.filter(replacesModules) } },
    ],
  },
});
