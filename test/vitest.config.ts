import { defineConfig } from 'vitest/config';

const source = new URL('../src/', import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [
      { find: /^ministral-tune$/, replacement: `${source}index.ts` },
      { find: /^ministral-tune\/(\w+)$/, replacement: `${source}$1.ts` },
    ],
  },
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    // The engine itself uses every core, so files run a few at a time.
    pool: 'forks',
    maxWorkers: 2,
  },
});
