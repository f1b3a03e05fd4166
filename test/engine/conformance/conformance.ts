/** The suite of suite.ts as tests of vitest. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.js';
import type { Precision } from '../../../src/engine/operations.js';
import { where } from '../../where.js';
import { Meter } from './measure.js';
import { type ConformanceOptions, cannotHold, conformanceChecks } from './suite.js';

export { expectSame, relativeError } from './measure.js';

/** @param options.precisions those beside bf16, where they are known: checks of others are no part of the suite */
export function describeConformance(
  name: string,
  createEngine: () => Engine | Promise<Engine>,
  { precisions, ...options }: ConformanceOptions & { readonly precisions?: readonly Precision[] } = {},
): void {
  describe(`engine ${name}`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await createEngine();
    }, 600_000);
    afterAll(() => engine?.dispose());

    const checks = conformanceChecks(options).filter(
      ({ precision }) => precision === undefined || precisions === undefined || precisions.includes(precision),
    );
    if (precisions !== undefined) {
      it(`has products in ${['bf16', ...precisions].join(', ')} and in nothing else`, () => {
        expect(engine.precisions ?? []).toEqual(precisions);
      });
    }
    for (const group of new Set(checks.map((check) => check.group))) {
      describe(group, () => {
        for (const check of checks.filter((one) => one.group === group)) {
          const { title, skipped, run } = check;
          if (skipped) where(false, skipped).it(title, () => {});
          else {
            it(title, ({ skip }) => {
              skip(cannotHold(engine, check) !== undefined, cannotHold(engine, check));
              return run(engine, new Meter());
            });
          }
        }
      });
    }
  });
}
