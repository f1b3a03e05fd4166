/**
 * A training run of the tiny model in a process of its own, for tests that end it.
 *
 *   tsx test/crash/train-child.ts --out DIR --checkpoint DIR [--engine cpu] [--steps 24] [--save-steps 1]
 *                                 [--resume true|DIR] [--step-ms 0] [--save-ms 0] [--judge loss|score]
 *                                 [--final DIR]
 *
 * Writes a line for each thing that happens: `start STEP`, `step STEP`, `saving`, `saved STEP`, `warning TEXT`,
 * `stopped NAME`, and at the end `best STEP VALUE` and `end STEP`, with the adapter in `--final`. With `--judge score` the
 * best step is told by `computeMetrics`, the run stops early and keeps two checkpoints. SIGINT and SIGTERM stop it as they stop the
 * example.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { abortOnSignals } from '../../src/train/abort-on-signals.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeDataset } from '../e2e/tiny-model.js';
import { childParts, say } from './child-parts.js';

const { values } = parseArgs({
  options: {
    out: { type: 'string' },
    checkpoint: { type: 'string' },
    engine: { type: 'string', default: 'cpu' },
    steps: { type: 'string', default: '24' },
    'save-steps': { type: 'string', default: '1' },
    resume: { type: 'string' },
    'step-ms': { type: 'string', default: '0' },
    'save-ms': { type: 'string', default: '0' },
    judge: { type: 'string', default: 'loss' },
    final: { type: 'string' },
  },
});
const outputDir = values.out!;
// Threads would wait in loops for kernels that are too small for them, beside other tests.
const engine = await createEngine(values.engine as EngineChoice, values.engine === 'cpu' ? { threads: 1 } : {});
const { adapter, parts } = await childParts(values.checkpoint!, engine, 8, values);
/** Follows from the bits of the parameters alone, grows with them, and is rough, so that the best comes at any time. */
async function score(): Promise<number> {
  const values = await engine.readParameters(adapter.parameters);
  const rough = createHash('sha256').update(new Uint8Array(values.buffer)).digest()[0]! / 256;
  return Math.log(values.reduce((sum, value) => sum + value * value, 0)) + 0.5 * rough;
}
const isScored = values.judge === 'score';
const stop = abortOnSignals({ onStop: (name) => say(`stopped ${name}`) });
const trainer = new SftTrainer({
  ...parts,
  trainDataset: makeDataset(14),
  evalDataset: makeDataset(4, 11),
  ...(isScored && { computeMetrics: async () => ({ score: await score() }) }),
  config: {
    outputDir,
    progress: 'none',
    maxSteps: Number(values.steps),
    perDeviceTrainBatchSize: 2,
    gradientAccumulationSteps: 2,
    optim: 'adamw_8bit',
    learningRate: 0.02,
    lrSchedulerType: 'cosine',
    warmupSteps: 3,
    loggingSteps: 2,
    evalStrategy: 'steps',
    evalSteps: isScored ? 1 : 5,
    saveSteps: Number(values['save-steps']),
    saveTotalLimit: isScored ? 2 : 3,
    loadBestModelAtEnd: true,
    earlyStoppingPatience: isScored ? 5 : 100,
    ...(isScored && { metricForBestModel: 'score' }),
  },
});
const resumeFromCheckpoint = values.resume === 'true' ? true : values.resume;
for await (const event of trainer.train({ signal: stop.signal, resumeFromCheckpoint })) {
  if (event.type === 'start' || event.type === 'step') say(`${event.type} ${event.step}`);
  if (event.type === 'save') say(`saved ${event.step}`);
  if (event.type === 'warning') say(`warning ${event.message}`);
  if (event.type === 'end') {
    await saveAdapter(adapter, values.final ?? join(outputDir, 'final'));
    const { best } = event.output;
    say(`best ${best?.step} ${best?.value}`);
    say(`end ${event.step}`);
  }
}
stop.dispose();
await engine.dispose();
