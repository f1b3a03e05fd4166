import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const root = new URL('..', import.meta.url).pathname;
const source = `${root}src/`;
const files = readdirSync(`${root}test`, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.ts'))
  .map((path) => `test/${path.replaceAll('\\', '/')}`);
/**
 * A module that is replaced must not be loaded yet; and all garbage is collected in a tenth of the time where other files
 * have left none.
 */
const needsOwnProcess = (path: string): boolean =>
  /\bvi\.(doMock|mock|resetModules)\(|\bcollectGarbage\(/.test(readFileSync(root + path, 'utf8'));

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
    hookTimeout: 60_000,
    // The second says which tests were left out, and why.
    reporters: ['default', './test/skip-reporter.ts'],
    // The engine itself uses every core, so files run a few at a time.
    pool: 'forks',
    maxWorkers: 2,
    coverage: {
      provider: 'v8',
      enabled: process.env.COVERAGE !== undefined,
      include: ['src/**/*.ts'],
      exclude: [
        // Made from the files that are counted.
        'src/generated/**',
        // AssemblyScript: runs as WebAssembly, where V8 counts no lines.
        'src/engine/cpu/wasm/**',
        // Runs in the browser; the live page is tested there.
        'src/monitor/browser/**',
        // First files of worker threads, which run from a bundled string: V8 sees that text and not these lines. They
        // only take messages; what they call is imported by tests and counted.
        'src/{data/image,engine/cpu/pool,files/digest,lora/merge,ownership/heartbeat}-worker.ts',
        // Types alone: nothing of them runs.
        'src/types.ts',
      ],
      reportsDirectory: 'coverage',
      reporter: ['text-summary', 'json-summary', ['text', { file: 'lines.txt', maxCols: 200 }]],
      reportOnFailure: true,
      thresholds: { lines: 90 },
    },
    // Loading the library takes longer than most files' tests: a process loads it once, for all of its files.
    projects: [
      {
        extends: true,
        test: { name: 'shared', isolate: false, include: files.filter((path) => !needsOwnProcess(path)) },
      },
      { extends: true, test: { name: 'isolated', isolate: true, include: files.filter(needsOwnProcess) } },
    ],
  },
});
