/**
 * The suite as one program, for a machine with a card: every operation and every fused path with its errors and limits.
 *
 *   npm run conformance -- [--engine cuda|cpu|webgpu] [--software] [--emulated [--capability 80|86|89|90]] [--only TEXT]
 *                          [--e4m3-scales rows|tensor]
 *
 * --software: the webgpu engine on the processor, with products in small tiles (../webgpu/software-tiles.ts).
 * It exits with 1 if a check fails, or if none reaches a kernel that this card can run. A whole run on a card with e4m3
 * scales for each row checks the products with one scale too. On machines without the modules for development, bundle it
 * with esbuild.
 */
import { parseArgs } from 'node:util';
import { createEngine } from '../../../src/engine/create-engine.js';
import type { E4m3Scales } from '../../../src/engine/cuda/cublas-lt.js';
import { createCudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { CudaDriver } from '../../../src/engine/cuda/driver.js';
import { plainKernels } from '../../../src/engine/cuda/kernels.js';
import type { Engine } from '../../../src/engine/engine.js';
import { Meter } from './measure.js';
import { cannotHold, conformanceChecks } from './suite.js';

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: 'cuda' },
    emulated: { type: 'boolean', default: false },
    capability: { type: 'string', default: '80' },
    only: { type: 'string' },
    'e4m3-scales': { type: 'string' },
    software: { type: 'boolean', default: false },
  },
});

/** Names of the kernels that the check under way has launched. */
let launched = new Set<string>();

const { launch } = CudaDriver.prototype;
CudaDriver.prototype.launch = function (kernel, ...rest) {
  launched.add(kernel.name);
  launch.call(this, kernel, ...rest);
};

async function openEngine(e4m3Scales: E4m3Scales | undefined): Promise<Engine> {
  if (options.emulated) {
    const card = await import('../cuda/emulated-card.js');
    launched = card.launched;
    return card.emulatedEngine({ capability: Number(options.capability) as 80 }, e4m3Scales);
  }
  if (options.engine === 'webgpu') {
    const { openTestEngine } = await import('../webgpu/open.js');
    if (options.software) (await import('../webgpu/software-tiles.js')).useSmallTiles();
    const engine = await openTestEngine({ software: options.software });
    engine.store.kernels.onLaunch = (file) => launched.add(file);
    return engine;
  }
  return e4m3Scales ? createCudaEngine({}, { e4m3Scales }) : createEngine(options.engine as 'cuda');
}

const all = new Set<string>();
let [passed, failed] = [0, 0];
const skipped: string[] = [];

async function runCheck(engine: Engine, check: ReturnType<typeof conformanceChecks>[number], name: string) {
  const reason = check.skipped ?? cannotHold(engine, check);
  if (reason) {
    skipped.push(`${name}: ${reason}`);
    return;
  }
  const meter = new Meter();
  launched.clear();
  const start = performance.now();
  let fault: unknown;
  try {
    await check.run(engine, meter);
    passed++;
  } catch (error) {
    fault = error;
    failed++;
  }
  const worst = meter.readings.reduce<number>((most, { error, limit }) => Math.max(most, error / limit), 0);
  const share =
    meter.readings.length > 0
      ? `, ${meter.readings.length} readings, worst ${(100 * worst).toFixed(0)} % of its limit`
      : '';
  console.log(`${fault ? 'FAILED' : 'ok'}  ${name} (${(performance.now() - start).toFixed(0)} ms${share})`);
  if (launched.size > 0) console.log(`      kernels: ${[...launched].join(', ')}`);
  for (const name of launched) all.add(name);
  for (const { what, error, limit } of meter.readings) {
    console.log(`      ${what}: ${error.toExponential(1)} of ${limit.toExponential(1)}`);
  }
  if (fault) console.log(`      ${fault instanceof Error ? (fault.stack ?? fault.message) : String(fault)}`);
}

const scales = options['e4m3-scales'] as E4m3Scales | undefined;
const engine = await openEngine(scales);
console.log(engine.description);
for (const check of conformanceChecks()) {
  const name = `${check.group}, ${check.title}`;
  if (!options.only || name.includes(options.only)) await runCheck(engine, check, name);
}
await engine.dispose();
const isWhole = engine.name === 'cuda' && !options.only && !scales;
if (isWhole && 'e4m3Scales' in engine && engine.e4m3Scales === 'rows') {
  const other = await openEngine('tensor');
  for (const check of conformanceChecks()) {
    if (check.group === 'precision') await runCheck(other, check, `precision with one scale, ${check.title}`);
  }
  await other.dispose();
}
for (const line of skipped) console.log(`skipped  ${line}`);
if (isWhole) {
  const hasPrecisions = (engine.precisions ?? []).length > 0;
  const hasRowScales = 'e4m3Scales' in engine && engine.e4m3Scales === 'rows';
  const idle = new Set(
    plainKernels()
      .filter(({ name, program }) => {
        const needsRowScales =
          name.startsWith('gated_backward_amax') ||
          program.files.some((file) => file === 'e4m3-fused.cu' || file === 'e4m3-low-rank.cu');
        if (needsRowScales) return hasRowScales;
        return hasPrecisions || !program.files.some((file) => file.startsWith('e4m3'));
      })
      .map(({ name }) => name)
      .filter((name) => !all.has(name)),
  );
  console.log(`${all.size} kernels ran${idle.size > 0 ? `, ${[...idle].join(', ')} did not` : ''}`);
  // What no check reaches is not known to be right.
  failed += idle.size;
}
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
