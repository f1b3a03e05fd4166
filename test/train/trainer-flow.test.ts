import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearDataset, linearModel, linearTrainer } from './linear-model.js';

interface Flow {
  readonly config: {
    readonly samples: number;
    readonly batch: number;
    readonly dropLast: boolean;
    readonly accumulation: number;
    readonly maxSteps: number;
    readonly epochs: number;
    readonly evalStrategy: 'no' | 'steps' | 'epoch';
    readonly evalSteps: number | null;
    readonly saveStrategy: 'no' | 'steps' | 'epoch' | 'best';
    readonly saveSteps: number;
    readonly loggingSteps: number;
    readonly loggingFirstStep: boolean;
    readonly evalDelay: number;
    readonly evalOnStart: boolean;
    readonly patience: number | null;
    readonly threshold: number;
    readonly loadBest: boolean;
  };
  /** What the evaluations give, one after the other; less is better. */
  readonly metrics: readonly number[];
  /** Name, steps done, epochs done. */
  readonly events: readonly (readonly [string, number, number])[];
  readonly bestStep: number | null;
  readonly steps: number;
  readonly totalSteps: number;
}

/** Made by test/fixtures/make-trainer-flow.py from the control flow of transformers 5.17. */
const path = new URL('../fixtures/trainer-flow.json', import.meta.url);
const flows = JSON.parse(await readFile(path, 'utf8')) as Flow[];

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'trainer-flow-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

function configOf({ config }: Flow): SftConfigInput {
  const { patience, threshold, evalSteps, loadBest, samples, batch, dropLast, accumulation, epochs, ...same } = config;
  const judged = patience !== null || loadBest || same.saveStrategy === 'best';
  return {
    ...same,
    outputDir,
    numTrainEpochs: epochs,
    perDeviceTrainBatchSize: batch,
    gradientAccumulationSteps: accumulation,
    dataloaderDropLast: dropLast,
    loadBestModelAtEnd: loadBest,
    ...(evalSteps === null ? {} : { evalSteps }),
    ...(patience === null ? {} : { earlyStoppingPatience: patience, earlyStoppingThreshold: threshold }),
    ...(judged ? { metricForBestModel: 'own', greaterIsBetter: false } : {}),
  };
}

/** `save 3`, and with the epochs for what tells of them. */
const named = (name: string, step: number, epoch: number) =>
  name === 'save' ? `save ${step}` : `${name} ${step} of epoch ${epoch.toFixed(6)}`;

describe('logs, evaluations and saves come as in transformers', () => {
  it.each(flows.map((flow, i) => [i, flow] as const))('configuration %i', async (_, flow) => {
    const { config } = flow;
    const values = [...flow.metrics];
    const trainer = linearTrainer(linearModel(), configOf(flow), {
      trainDataset: linearDataset(config.samples),
      evalDataset: linearDataset(1, 20),
      computeMetrics: () => ({ own: values.shift()! }),
    });
    const course: string[] = [];
    const run = trainer.train();
    for await (const event of run) {
      if (event.type === 'log' || event.type === 'evaluate') course.push(named(event.type, event.step, event.epoch));
      if (event.type === 'save') course.push(named('save', event.step, 0));
    }
    const { globalStep, best } = await run;
    expect([trainer.totalSteps, globalStep]).toEqual([flow.totalSteps, flow.steps]);
    const wanted = flow.events.map((event) => named(...event));
    const isSave = (what: string) => what.startsWith('save');
    // By intent a run that is over before its first log is due is logged at its end.
    const logs = flow.events.filter(([name]) => name === 'log').map(([, step]) => step);
    const isShort =
      Math.ceil(config.loggingSteps < 1 ? config.loggingSteps * flow.totalSteps : config.loggingSteps) >
      flow.totalSteps;
    if (logs.length === 0 || (isShort && globalStep === flow.totalSteps && !logs.includes(globalStep))) {
      const added = course.findIndex((what) => what.startsWith(`log ${globalStep} `));
      expect(course.splice(added, 1)).toEqual([expect.stringMatching(`^log ${globalStep} `)]);
    }
    expect(course.filter((what) => !isSave(what))).toEqual(wanted.filter((what) => !isSave(what)));
    // By intent there are more saves: of each new best that is to be loaded, and after an early stop.
    const isEarly = flow.steps < flow.totalSteps && config.saveStrategy === 'steps';
    if (!config.loadBest && !isEarly) expect(course).toEqual(wanted);
    else expect(course.filter(isSave)).toEqual(expect.arrayContaining(wanted.filter(isSave)));
    if (config.loadBest || config.saveStrategy === 'best') expect(best?.step).toBe(flow.bestStep ?? undefined);
    if (isEarly) expect(course.filter(isSave).at(-1)).toBe(`save ${flow.steps}`);
  });
});
