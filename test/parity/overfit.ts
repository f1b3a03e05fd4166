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
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawRadiograph, FRACTURE_CLASSES, IMAGE_HEIGHT, IMAGE_WIDTH } from '../../examples/synthetic-radiographs.js';
import { writeTinyCheckpoint } from '../../examples/tiny-checkpoint.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { randomModel, type Size } from '../bench/random-model.js';
import { findTfjs } from '../engine/tfjs/installation.js';
import { CheckList } from './check-list.js';

const PROMPT = `Which fracture is it? Answer with one of: ${FRACTURE_CLASSES.join(', ')}.`;
const SAMPLES = 8;

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

async function openEngine(): Promise<Engine> {
  if (options.engine !== 'tfjs') return createEngine(options.engine as EngineChoice);
  const found = await findTfjs();
  if (typeof found === 'string') throw new Error(found);
  return found.createEngine(found.backends[0]!);
}

function samples(): SftExample[] {
  return Array.from({ length: SAMPLES }, (_, i): SftExample => {
    const className = FRACTURE_CLASSES[i % FRACTURE_CLASSES.length]!;
    const grey = drawRadiograph(className, 100 * seed + i);
    const data = Uint8Array.from({ length: 3 * grey.length }, (_value, at) => grey[Math.floor(at / 3)]!);
    return {
      id: `${i} ${className}`,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: PROMPT },
            { type: 'image', image: { width: IMAGE_WIDTH, height: IMAGE_HEIGHT, data } },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: className }] },
      ],
    };
  });
}

interface Outcome {
  readonly losses: number[];
  readonly gradNorms: number[];
  /** Of the adapter's float32 numbers. */
  readonly adapterHash: string;
  readonly seconds: number;
}

async function run(dir: string, announce: boolean): Promise<Outcome> {
  const engine = await openEngine();
  if (announce) console.log(engine.description);
  const isTiny = options.size === 'tiny';
  const model = isTiny ? await loadModel(dir, { engine }) : await randomModel(engine, options.size as Size);
  const adapter = applyLora(model, {
    ...{ r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] },
  });
  const processor = await loadProcessor(dir);
  const trainer = new SftTrainer({
    model,
    trainDataset: IndexedDataset.from(samples()),
    collator: new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! }),
    config: {
      outputDir: join(dir, 'run'),
      maxSteps: Number(options.steps),
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: SAMPLES / 2,
      learningRate: Number(options.rate ?? (isTiny ? 2e-3 : 1e-4)),
      lrSchedulerType: 'constant',
      optim: 'adamw_8bit',
      saveStrategy: 'no',
      progress: 'none',
      gradientCheckpointing: false,
      seed,
    },
  });
  const losses: number[] = [];
  const gradNorms: number[] = [];
  const start = performance.now();
  for await (const event of trainer.train()) {
    if (event.type !== 'step') continue;
    losses.push(event.loss);
    gradNorms.push(event.gradNorm);
  }
  const seconds = (performance.now() - start) / 1000;
  const values = await engine.readParameters(adapter.parameters);
  const adapterHash = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
  adapter.dispose();
  model.dispose();
  await engine.dispose();
  return { losses, gradNorms, adapterHash, seconds };
}

/** What differs between two runs, or '' if nothing does. */
function difference(a: Outcome, b: Outcome): string {
  const step = a.losses.findIndex((loss, i) => loss !== b.losses[i]);
  if (step >= 0) return `the losses part at step ${step + 1}: ${a.losses[step]} and ${b.losses[step]}`;
  const norm = a.gradNorms.findIndex((value, i) => value !== b.gradNorms[i]);
  if (norm >= 0) return `the gradient norms part at step ${norm + 1}: ${a.gradNorms[norm]} and ${b.gradNorms[norm]}`;
  return a.adapterHash === b.adapterHash ? '' : `the adapters differ after ${a.losses.length} equal losses`;
}

const checks = new CheckList();
const dir = await mkdtemp(join(tmpdir(), 'overfit-'));
try {
  await writeTinyCheckpoint({ dir, seed: 1, corpus: [PROMPT, ...FRACTURE_CLASSES] });
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
