/**
 * Compares this package with transformers + peft on a folder of reference values.
 *
 *   npm run parity -- DIR [--engine cpu | cuda | webgpu | tfjs | tfjs-node | tfjs-node-gpu] [--software] [--bfloat16 FILE]
 *                         [--quiet]
 *
 * The cuda engine computes in bfloat16. It is judged by the gap that transformers itself leaves there, in a file that
 * `python3 test/parity/add-bf16.py DIR` makes (default: DIR/bfloat16.safetensors).
 * `--engine webgpu --software` runs on SwiftShader (test/engine/webgpu/open.ts), with products in small tiles
 * (software-tiles.ts there); it takes several minutes.
 * Prints a line per check (with --quiet only the failed ones) and ends with `N passed, N failed`; the exit status is 1
 * if any failed.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { loadTfjs, type TfjsPackage } from '../../src/engine/tfjs/load-tfjs.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { openTestEngine } from '../engine/webgpu/open.js';
import { useSmallTiles } from '../engine/webgpu/software-tiles.js';
import { CheckList } from './check-list.js';
import { checkData } from './data-checks.js';
import { Judge } from './judge.js';
import { checkModel } from './model-checks.js';
import { ReferenceFolder } from './reference-folder.js';
import { checkTraining } from './training-checks.js';

async function openEngine(name: string): Promise<Engine> {
  if (name.startsWith('tfjs')) return createEngine('tfjs', { tf: await loadTfjs(name as TfjsPackage) });
  if (name === 'webgpu') {
    if (values.software) useSmallTiles();
    return openTestEngine({ software: values.software });
  }
  return createEngine(name as EngineChoice);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    engine: { type: 'string', default: 'cpu' },
    bfloat16: { type: 'string' },
    quiet: { type: 'boolean', default: false },
    software: { type: 'boolean', default: false },
  },
});
const dir = positionals[0];
if (!dir) {
  console.error('usage: npm run parity -- DIR   (a folder made by the reference script)');
  process.exit(2);
}
const reference = new ReferenceFolder(dir);
const checks = new CheckList({ quiet: values.quiet });
const json = await reference.all();
const engine = await openEngine(values.engine);
console.log(engine.description);
let theirs: SafetensorsFile | undefined;
if (engine.name === 'cuda') {
  const path = values.bfloat16 ?? reference.path('bfloat16.safetensors');
  if (!existsSync(path)) {
    console.error(`${path} is missing: make it with  python3 test/parity/add-bf16.py ${dir} --out ${path}`);
    process.exit(2);
  }
  theirs = await SafetensorsFile.open(path);
}
const judge = new Judge(checks, theirs);
await checkData(checks, reference, json);
await checkModel(checks, judge, reference, json, engine);
await checkTraining(checks, judge, reference, json, engine);
await theirs?.close();
await engine.dispose();
console.log(checks.summary());
process.exitCode = checks.failed > 0 || checks.passed === 0 ? 1 : 0;
