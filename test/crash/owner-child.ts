/**
 * One of two processes that want the same folder, for test/crash/owners.ts.
 *
 *   tsx test/crash/owner-child.ts --task train|merge|save|download --out DIR [--checkpoint DIR] [--adapter DIR]
 *       [--final DIR] [--cwd DIR] [--url URL] [--digest SHA256] [--rate 0.02] [--steps 8] [--resume true] [--step-ms 0]
 *       [--save-ms 0] [--stale-ms 60000]
 *
 * Says `ready` when all is loaded, begins when a line comes in, and says what happens, a line each: `step N`, `saving`,
 * `saved N`, `warning TEXT`, `progress`, and at the end `done` or `refused CODE TEXT`.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { TuneError } from '../../src/errors.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { lockTimes } from '../../src/ownership/owner-lock.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { downloadFile } from '../../src/transfer/download-file.js';
import { withLock } from '../../src/transfer/lock.js';
import { makeDataset } from '../e2e/tiny-model.js';
import { childParts, say } from './child-parts.js';

const { values } = parseArgs({
  options: {
    task: { type: 'string' },
    out: { type: 'string' },
    checkpoint: { type: 'string', default: '' },
    adapter: { type: 'string', default: '' },
    final: { type: 'string', default: '' },
    cwd: { type: 'string', default: '.' },
    url: { type: 'string', default: '' },
    digest: { type: 'string', default: '' },
    rate: { type: 'string', default: '0.02' },
    steps: { type: 'string', default: '8' },
    resume: { type: 'string' },
    'step-ms': { type: 'string', default: '0' },
    'save-ms': { type: 'string', default: '0' },
    'stale-ms': { type: 'string', default: '60000' },
  },
});
const staleMs = Number(values['stale-ms']);
Object.assign(lockTimes, { staleMs, beatMs: staleMs / 12 });
const out = values.out!;

/** What is to be done once it may begin. */
async function prepare(): Promise<() => Promise<void>> {
  if (values.task === 'download') {
    const path = join(out, 'file');
    const fetchOnce = async (): Promise<void> => {
      if (await stat(path).catch(() => undefined)) return;
      const onProgress = (): void => say('progress');
      await downloadFile({ url: values.url, path, digests: { sha256: values.digest }, onProgress });
      say('fetched');
    };
    return () => withLock(join(out, '.lock'), fetchOnce, { onWait: () => say('waiting') });
  }
  if (values.task === 'merge') {
    const { checkpoint: checkpointDir, adapter: adapterDir } = values;
    const onProgress = (): void => {
      say('progress');
      // Time for the other one, on a merge of a moment.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(values['step-ms']));
    };
    const onWarning = (line: string): void => say(`warning ${line}`);
    return async () => void (await mergeAdapter({ checkpointDir, adapterDir, outputDir: out, onProgress, onWarning }));
  }
  const engine = createCpuEngine();
  const rate = Number(values.rate);
  // Another adapter for another rate, so that halves of two would not fit.
  const { adapter, parts } = await childParts(values.checkpoint, engine, rate * 400, values);
  if (values.task === 'save') {
    return async () => {
      for (let i = 0; i < Number(values.steps); i++) {
        const array = new Float32Array(adapter.parameters.size).fill(rate);
        engine.writeParameters(adapter.parameters, array);
        await saveAdapter(adapter, out, { onWarning: () => undefined });
        say('saved 0');
      }
    };
  }
  const trainer = new SftTrainer({
    ...parts,
    trainDataset: makeDataset(14),
    config: {
      outputDir: out,
      progress: 'none',
      maxSteps: Number(values.steps),
      perDeviceTrainBatchSize: 2,
      learningRate: rate,
      loggingSteps: 2,
      saveSteps: 1,
    },
  });
  return async () => {
    for await (const event of trainer.train({ resumeFromCheckpoint: values.resume === 'true' })) {
      if (event.type === 'step') say(`step ${event.step}`);
      if (event.type === 'save') say(`saved ${event.step}`);
      if (event.type === 'warning') say(`warning ${event.message}`);
    }
    await saveAdapter(adapter, values.final);
  };
}

const begin = await prepare();
process.chdir(values.cwd);
say('ready');
const lines = createInterface({ input: process.stdin });
await new Promise((resolve) => lines.once('line', resolve));
lines.close();
process.stdin.destroy();
try {
  await begin();
  say('done');
  process.exit(0);
} catch (error) {
  if (!(error instanceof TuneError)) throw error;
  say(`refused ${error.code} ${error.message}`);
  process.exit(3);
}
