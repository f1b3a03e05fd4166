/**
 * The `tfjs` engine on every backend of a TensorFlow.js installation, which this package does not depend on:
 *
 *   MINISTRAL_TUNE_TFJS=DIR npx vitest run --config test/vitest.config.ts test/engine/tfjs/conformance.test.ts
 *
 * DIR/node_modules holds `@tensorflow/tfjs-node`, or `@tensorflow/tfjs` with or without `tfjs-backend-wasm`.
 */
import { describe, expect, it } from 'vitest';
import { asTfNamespace } from '../../../src/engine/tfjs/tf-namespace.js';
import { EngineError } from '../../../src/errors.js';
import { leftOut } from '../../where.js';
import { describeConformance } from '../conformance/conformance.js';
import { describeTfjs } from './cases.js';
import { findTfjs } from './installation.js';

const found = await findTfjs();

describe('tfjs namespace', () => {
  it('names the functions that are missing', () => {
    expect(() => asTfNamespace({ add: () => 0, default: { sub: () => 0 } })).toThrow(EngineError);
    expect(() => asTfNamespace({ add: () => 0 })).toThrow(/it has no ready, .*matMul/);
  });
});

if (typeof found === 'string') leftOut('engine tfjs', found);
else {
  for (const backend of found.backends) {
    describeConformance(`tfjs, backend ${backend}`, () => found.createEngine(backend));
    describeTfjs(found, backend);
  }
}
