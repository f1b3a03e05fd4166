/** Mutation tests of one area, which test/mutation/run.mjs names: see docs/mutation-testing.md. */
import { AREAS } from './test/mutation/areas.mjs';

const { MUTATION_AREA, MUTATION_FILES, MUTATION_CONCURRENCY } = process.env;

export default {
  mutate: MUTATION_FILES?.split(',') ?? AREAS[MUTATION_AREA].mutate.map((path) => `src/${path}`),
  // Not copied into the sandbox, beside what Stryker leaves out by itself.
  ignorePatterns: ['.stryker-tmp', 'dist', 'docs', 'runs', 'coverage', 'reports'],
  testRunner: 'vitest-files',
  plugins: ['./test/mutation/runner.mjs', './test/mutation/reporter.mjs'],
  vitest: { configFile: 'test/mutation/vitest.config.mjs', related: false },
  coverageAnalysis: 'perTest',
  concurrency: Number(MUTATION_CONCURRENCY ?? 1),
  // vitest does not check types.
  disableTypeChecks: false,
  timeoutMS: 8000,
  timeoutFactor: 2,
  dryRunTimeoutMinutes: 5,
  reporters: ['lines', 'progress-append-only'],
  tempDirName: `.stryker-tmp/${MUTATION_AREA}`,
  cleanTempDir: 'always',
  allowConsoleColors: false,
};
