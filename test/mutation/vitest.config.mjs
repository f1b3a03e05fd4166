/** The tests of one area, in one project, as Stryker's runner wants them: each mutant loads the library anew. */
import { defineConfig } from 'vitest/config';
import { AREAS } from './areas.mjs';

const root = new URL('../..', import.meta.url).pathname;

export default defineConfig({
  resolve: {
    alias: [
      { find: /^ministral-tune$/, replacement: `${root}src/index.ts` },
      { find: /^ministral-tune\/(\w+)$/, replacement: `${root}src/$1.ts` },
    ],
  },
  test: {
    root,
    isolate: true,
    testTimeout: 20_000,
    include: AREAS[process.env.MUTATION_AREA].tests.map((name) => `test/${name}.test.ts`),
  },
});
