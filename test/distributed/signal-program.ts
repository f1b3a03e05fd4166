/**
 * Trains the model of three parameters on the ranks of its environment until something ends it. Argument: JSON of
 * {@link SignalJob}. Writes `under way` when some steps are taken.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainProcess } from '../../src/distributed/main-process.js';
import { rankPlace } from '../../src/distributed/rank-place.js';
import { linearModel, linearTrainer } from '../train/linear-model.js';
import { withLoopback } from './loopback-sum.js';

export interface SignalJob {
  readonly outputDir: string;
  /**
   * `listens`: to SIGTERM itself; `stays`: rank 1 goes on after its run; `slow`: each save takes a while; `saves`: after a
   * few steps rank 0 alone calls `saveModel`; `saves and goes on`: rank 1 evaluates meanwhile.
   */
  readonly way?: 'listens' | 'stays' | 'slow' | 'saves' | 'saves and goes on';
}

const { outputDir, way } = JSON.parse(process.argv[2]!) as SignalJob;
const saves = way === 'saves' || way === 'saves and goes on';
const model = linearModel();
withLoopback(model.engine, model.gradients);
model.onWindow = () => sleep(2);
if (way === 'listens') process.on('SIGTERM', () => process.exit(7));
const saveAdapter = async (): Promise<void> => {
  if (way !== 'slow') return;
  process.stdout.write('saving\n');
  await sleep(700);
};
const trainer = linearTrainer(
  model,
  {
    ...{ outputDir, maxSteps: saves ? 3 : 1e6, gradientAccumulationSteps: 1, loggingSteps: 1e6, saveSteps: 1e6 },
    saveStrategy: saves ? 'no' : 'steps',
  },
  {
    saveAdapter,
    callbacks: [{ onEvent: ({ type, step }) => void (type === 'step' && step === 3 && console.log('under way')) }],
  },
);
if (way === 'stays' && rankPlace()?.rank === 1) {
  await trainer.train().catch(() => undefined);
  setInterval(() => undefined, 1000);
} else await trainer.train();
if (saves && isMainProcess()) await trainer.saveModel(join(outputDir, 'model'));
if (way === 'saves and goes on') await trainer.evaluate([{ id: '0', messages: [] }]);
