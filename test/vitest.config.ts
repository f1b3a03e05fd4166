import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { alias: { 'ministral-tune': new URL('../src/index.ts', import.meta.url).pathname } },
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    // The engine itself uses every core, so files run a few at a time.
    pool: 'forks',
    maxWorkers: 2,
  },
});
