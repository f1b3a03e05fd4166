/**
 * The `webgpu` engine in software, with a `webgpu` package that this one does not depend on:
 *
 *   MINISTRAL_TUNE_WEBGPU=DIR npx vitest run --config test/vitest.config.ts test/engine/webgpu/conformance.test.ts
 *
 * DIR/node_modules holds it. `npm run conformance -- --engine webgpu` runs the same on a GPU; with --software, which is much
 * faster, in small tiles.
 */
import { leftOut } from '../../where.js';
import { describeConformance } from '../conformance/conformance.js';
import { missingForSoftware, openTestEngine } from './open.js';

const missing = missingForSoftware();

if (missing === undefined) describeConformance('webgpu, in software', () => openTestEngine());
else leftOut('engine webgpu', missing);
