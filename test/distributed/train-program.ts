/**
 * Trains a tiny model on the ranks that its environment names, on `cpu`: samples are dropped, a step is skipped, and the
 * run may stop on the way. Argument: JSON of {@link Job}. The first rank writes what has come of it.
 */
import { writeFileSync } from 'node:fs';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { processGroup } from '../../src/distributed/join-group.js';
import { rankPlace } from '../../src/distributed/rank-place.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset } from '../e2e/tiny-model.js';
import { dropping } from './dropping.js';
import { withLoopback } from './loopback-sum.js';

export interface Job {
  readonly checkpoint: string;
  readonly outputDir: string;
  readonly result: string;
  readonly accumulation: number;
  readonly samples: number;
  /** Ids of samples that the collator leaves out. */
  readonly dropped: readonly string[];
  /** Updates after which a loss is not finite. */
  readonly broken: number;
  /** The step after which the run is stopped. */
  readonly stopAfter?: number;
  readonly resume?: boolean;
}

export interface Result {
  readonly losses: readonly (readonly [number, number])[];
  readonly values: readonly number[];
  readonly evalLosses: readonly number[];
  readonly skippedSteps: number | undefined;
  /** Micro-batches that the first rank has given away, or received: bytes. */
  readonly movedBytes: number;
}

const job = JSON.parse(process.argv[2]!) as Job;
const rank = rankPlace()?.rank ?? 0;
const engine = withLoopback(createCpuEngine({ threads: 1 }));
let updates = 0;
let isBroken = false;
const { read, optimizerStep } = engine;
engine.optimizerStep = (...given) => {
  updates++;
  return optimizerStep.apply(engine, given);
};
engine.read = async (tensor) => {
  // Of a loss on the first rank, once.
  if (tensor.size === 1 && rank === 0 && !isBroken && updates === job.broken) {
    isBroken = true;
    return Float32Array.of(Number.NaN);
  }
  return read.call(engine, tensor);
};
const model = await loadModel(job.checkpoint, { engine });
const processor = await loadProcessor(job.checkpoint);
const adapter = makeAdapter(model);
// As if the model were large: then micro-batches are worth their way to another rank.
const { passCosts } = model;
model.passCosts = (...given) => {
  const costs = passCosts.apply(model, given);
  const large = Object.create(costs) as typeof costs;
  for (const name of ['peakBytes', 'hostBytes', 'weight', 'tileTime'] as const) {
    Object.defineProperty(large, name, { value: costs[name].bind(costs) });
  }
  Object.defineProperties(large, {
    layers: { value: costs.layers },
    passTime: { value: costs.passTime },
    recomputeTime: { value: (...of: Parameters<typeof costs.recomputeTime>) => 1e9 * costs.recomputeTime(...of) },
  });
  return large;
};
const group = await processGroup();
let movedBytes = 0;
const exchangeBytes = group?.exchangeBytes?.bind(group);
if (exchangeBytes) {
  group!.exchangeBytes = async (...given) => {
    const got = await exchangeBytes(...given);
    for (const bytes of [...given[1].values(), ...got.values()]) movedBytes += bytes.length;
    return got;
  };
}
const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
const stop = new AbortController();
const losses: [number, number][] = [];
const evalLosses: number[] = [];
const trainer = new SftTrainer({
  model,
  trainDataset: makeDataset(job.samples),
  evalDataset: makeDataset(7, 9),
  collator: dropping(collator, (id) => job.dropped.includes(id)),
  config: {
    ...{ outputDir: job.outputDir, gradientAccumulationSteps: job.accumulation, perDeviceTrainBatchSize: 1 },
    ...{ numTrainEpochs: 3, learningRate: 1e-3, onNonFiniteLoss: 'skip', progress: 'none', loggingSteps: 1 },
    ...{ evalStrategy: 'epoch', perDeviceEvalBatchSize: 2, sharePrefix: false, seed: 5 },
  },
  callbacks: [
    {
      onEvent(event) {
        if (event.type === 'evaluate') evalLosses.push(event.evalLoss);
        if (event.type !== 'step') return;
        losses.push([event.step, event.loss]);
        if (event.step === job.stopAfter && rank === 0) stop.abort(new Error('asked to stop'));
      },
    },
  ],
});
let skippedSteps: number | undefined;
try {
  const run = trainer.train({ signal: stop.signal, resumeFromCheckpoint: job.resume === true });
  skippedSteps = (await run).skippedSteps;
} catch (error) {
  if (job.stopAfter === undefined) throw error;
}
const values = [...(await engine.readParameters(adapter.parameters))];
if (rank === 0)
  writeFileSync(job.result, JSON.stringify({ losses, values, evalLosses, skippedSteps, movedBytes } satisfies Result));
model.dispose();
await engine.dispose();
