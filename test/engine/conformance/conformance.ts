/** The suite of suite.ts as tests of vitest. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import { Meter } from './measure.js';
import { type ConformanceOptions, conformanceChecks } from './suite.js';

export { expectSame, relativeError } from './measure.js';

export function describeConformance(
  name: string,
  createEngine: () => Engine | Promise<Engine>,
  options: ConformanceOptions = {},
): void {
  describe(`engine ${name}`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine();
    }, 600_000);
    afterAll(() => engine?.dispose());

    const checks = conformanceChecks(options);
    for (const group of new Set(checks.map((check) => check.group))) {
      describe(group, () => {
        for (const { title, skipped, lacks, run } of checks.filter((check) => check.group === group)) {
          if (skipped) it.skip(`${title}: ${skipped}`, () => {});
          else {
            it(title, (context) => {
              const reason = lacks?.(engine);
              if (reason) context.skip(reason);
              return run(engine, new Meter());
            });
          }
        }
      });
    }
  });
}
