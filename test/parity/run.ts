/**
 * Compares this package with transformers + peft on a folder of reference values.
 *
 *   npm run parity -- DIR [--engine cpu | cuda | tfjs | tfjs-node | tfjs-node-gpu]
 *
 * Prints a line per check and ends with `N passed, N failed`; the exit status is 1 if any failed.
 */
import { parseArgs } from 'node:util';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { loadTfjs, type TfjsPackage } from '../../src/engine/tfjs/load-tfjs.js';
import { CheckList } from './check-list.js';
import { checkData } from './data-checks.js';
import { checkModel } from './model-checks.js';
import { ReferenceFolder } from './reference-folder.js';
import { checkTraining } from './training-checks.js';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { engine: { type: 'string', default: 'cpu' } },
});
const dir = positionals[0];
if (!dir) {
  console.error('usage: npm run parity -- DIR   (a folder made by the reference script)');
  process.exit(2);
}
const reference = new ReferenceFolder(dir);
const checks = new CheckList();
const json = await reference.all();
const engine = values.engine.startsWith('tfjs')
  ? await createEngine('tfjs', { tf: await loadTfjs(values.engine as TfjsPackage) })
  : await createEngine(values.engine as EngineChoice);
console.log(engine.description);
await checkData(checks, reference, json);
await checkModel(checks, reference, json, engine);
await checkTraining(checks, reference, json, engine);
await engine.dispose();
console.log(checks.summary());
process.exitCode = checks.failed > 0 || checks.passed === 0 ? 1 : 0;
