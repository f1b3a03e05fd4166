/**
 * Whether an engine learns, and whether it does so twice alike: eight drawn radiographs, trained on until their loss is
 * under a tenth of the first step's.
 *
 *   npm run overfit -- [--engine cpu | cuda | tfjs] [--size tiny | 3B | 8B | 14B] [--steps 60] [--rate R] [--seed 1]
 *                      [--twice]
 *
 * `tiny` is the example's random checkpoint; the others are random weights in the real shapes. The learning rate is
 * 2e-3 for the tiny one and 1e-4 for wide ones. With --twice the whole run, engine and all, is made again from the
 * same seed: every loss and every number of the adapter must be equal. `tfjs` takes the installation that
 * MINISTRAL_TUNE_TFJS names. The exit status is 1 if a check fails.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FRACTURE_CLASSES } from '../../src/demo/radiographs.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { randomModel, type Size } from '../bench/random-model.js';
import { findTfjs } from '../engine/tfjs/installation.js';
import { CheckList } from './check-list.js';
import { difference, type LearningRun, OVERFIT_PROMPT, overfit } from './learning-runs.js';

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: 'cpu' },
    size: { type: 'string', default: 'tiny' },
    steps: { type: 'string', default: '60' },
    rate: { type: 'string' },
    seed: { type: 'string', default: '1' },
    twice: { type: 'boolean', default: false },
  },
});
const seed = Number(options.seed);
const SAMPLES = 8;

async function openEngine(): Promise<Engine> {
  if (options.engine !== 'tfjs') return createEngine(options.engine as EngineChoice);
  const found = await findTfjs();
  if (typeof found === 'string') throw new Error(found);
  return found.createEngine(found.backends[0]!);
}

async function run(dir: string, announce: boolean): Promise<LearningRun> {
  const engine = await openEngine();
  if (announce) console.log(engine.description);
  const isTiny = options.size === 'tiny';
  const model = isTiny ? await loadModel(dir, { engine }) : await randomModel(engine, options.size as Size);
  const learningRate = Number(options.rate ?? (isTiny ? 2e-3 : 1e-4));
  const config = { maxSteps: Number(options.steps), learningRate };
  const outcome = await overfit(model, { processor: await loadProcessor(dir), dir, seed, samples: SAMPLES, config });
  model.dispose();
  await engine.dispose();
  return outcome;
}

const checks = new CheckList();
const dir = await mkdtemp(join(tmpdir(), 'overfit-'));
try {
  await writeTinyCheckpoint({ outputDir: dir, seed: 1, corpus: [OVERFIT_PROMPT, ...FRACTURE_CLASSES] });
  const outcome = await run(dir, true);
  const { losses, seconds } = outcome;
  const [first, last] = [losses[0]!, losses.at(-1)!];
  const reached = losses.findIndex((loss) => loss < first / 10) + 1;
  console.log(
    `${options.size}, ${SAMPLES} samples, ${losses.length} steps in ${seconds.toFixed(1)} s: first loss ${first}, last ` +
      `loss ${last}; ${reached > 0 ? `under a tenth at step ${reached}` : 'never under a tenth'}`,
  );
  checks.atMost('overfit: last loss by the first', last / first, 0.1);
  if (options.twice) {
    const apart = difference(outcome, await run(dir, false));
    checks.exact(`twice: ${losses.length} losses, gradient norms and the adapter`, apart === '', apart);
  }
  console.log(
    `RESULT ${JSON.stringify({ bench: 'overfit', engine: options.engine, size: options.size, steps: losses.length, first, last, reached, seconds, adapter: outcome.adapterHash.slice(0, 16), twice: options.twice })}`,
  );
} finally {
  await rm(dir, { recursive: true, force: true });
}
console.log(checks.summary());
process.exitCode = checks.failed > 0 ? 1 : 0;
