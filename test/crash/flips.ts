/**
 * Single bits that are turned over at random places of all files of a checkpoint, which is then used in three ways:
 * resumed from, loaded as the best step at the end of a run, and read by loadAdapter.
 *
 *   npx tsx test/crash/flips.ts [--flips 500] [--seed 1]
 *
 * Prints the outcomes by file and a RESULT line. Each must be refused, or give what the whole checkpoint gives; fails at
 * the end if anything else came without a word.
 */
import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { TuneError } from '../../src/errors.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { MersenneTwister } from '../../src/random.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, writeTinyModel } from '../e2e/tiny-model.js';

const { values } = parseArgs({
  options: { flips: { type: 'string', default: '500' }, seed: { type: 'string', default: '1' } },
});
const [flips, seed] = [Number(values.flips), Number(values.seed)];
const random = new MersenneTwister(seed);
const below = (limit: number) => random.nextUint32() % limit;
const dir = await mkdtemp(join(tmpdir(), 'flips-'));
const start = performance.now();
await writeTinyModel(join(dir, 'model'));
const engine = createCpuEngine();
const model = await loadModel(join(dir, 'model'), { engine });
const processor = await loadProcessor(join(dir, 'model'));
const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
const adapter = makeAdapter(model, 0.1);
const initial = await engine.readParameters(adapter.parameters);
/** The best is step 2 of 5. */
const SCORES = [0.1, 0.9, 0.5, 0.4, 0.3];
const BEST = 2;

interface Outcome {
  readonly values: Float32Array;
  readonly losses: string;
  readonly warnings: readonly string[];
}

async function run(
  outputDir: string,
  config: SftTrainerOptions['config'],
  resumeFromCheckpoint?: string,
): Promise<Outcome> {
  engine.writeParameters(adapter.parameters, initial);
  let step = 0;
  const trainer = new SftTrainer({
    ...{ model, collator, trainDataset: makeDataset(6), evalDataset: makeDataset(2, 11) },
    computeMetrics: () => ({ score: SCORES[step - 1]! }),
    saveAdapter: (folder) => writeFile(join(folder, 'README.md'), '# The adapter of a run\n'),
    config: {
      ...{ outputDir, progress: 'none', maxSteps: SCORES.length, perDeviceTrainBatchSize: 2, learningRate: 0.02 },
      ...{ optim: 'adamw_8bit', loggingSteps: 1, evalStrategy: 'steps', evalSteps: 1, metricForBestModel: 'score' },
      ...config,
    },
  });
  const warnings: string[] = [];
  let losses = '';
  for await (const event of trainer.train({ resumeFromCheckpoint }) as AsyncIterable<TrainingEvent>) {
    if (event.type === 'warning') warnings.push(event.message);
    if (event.type === 'step') step = event.step;
    if (event.type === 'start') step = event.step;
    if (event.type !== 'end') continue;
    losses = JSON.stringify(event.output.logHistory, ['step', 'loss', 'gradNorm', 'evalLoss', 'metrics', 'score']);
  }
  return { values: await engine.readParameters(adapter.parameters), losses, warnings };
}

const whole = join(dir, 'whole');
const last = await run(whole, { saveSteps: 1 });
const best = await run(join(dir, 'best'), { saveSteps: 1, loadBestModelAtEnd: true });
// Not where the states say that the best is: a sound one would be found there.
const kept = join(dir, 'kept');
await rename(whole, kept);
const source = join(kept, `checkpoint-${BEST}`);
const names = (await readdir(source)).sort();
const loadedOf = async (folder: string): Promise<string> => {
  adapter.disable();
  try {
    const copy = await loadAdapter(folder, { engine, linearModules: model.linearModules }, { onWarning: () => {} });
    try {
      const numbers = [...(await copy.readValues())].map(([name, array]) => [
        name,
        Buffer.from(array.buffer).toString('hex'),
      ]);
      return JSON.stringify(
        [numbers, copy.modules.map(({ module, r, alpha }) => [module.name, r, alpha, module.lora]), copy.origin],
        (key, value) => (key === 'a' || key === 'b' ? undefined : (value as unknown)),
      );
    } finally {
      copy.dispose();
    }
  } finally {
    adapter.enable();
  }
};
const loaded = await loadedOf(source);

type Verdict = 'refused' | 'reported' | 'equal' | 'silentlyWrong';
const counts: Record<string, Record<Verdict, number>> = {};
const faults: string[] = [];

/** Refused with an error of ours, equal, or other than it should be: with a warning that names the file, or without. */
async function judge(use: () => Promise<{ isEqual: boolean; warnings: readonly string[] }>): Promise<Verdict> {
  try {
    const { isEqual, warnings } = await use();
    if (isEqual) return warnings.length > 0 ? 'reported' : 'equal';
    return warnings.some((line) => line.includes('is gone')) ? 'reported' : 'silentlyWrong';
  } catch (error) {
    if (error instanceof TuneError) return 'refused';
    throw error;
  }
}

for (let i = 1; i <= flips; i++) {
  const name = names[below(names.length)]!;
  const run1 = join(dir, 'flipped');
  await cp(source, join(run1, `checkpoint-${BEST}`), { recursive: true });
  await cp(join(kept, `checkpoint-${BEST + 1}`), join(run1, `checkpoint-${BEST + 1}`), { recursive: true });
  const folder = join(run1, `checkpoint-${BEST}`);
  const bytes = await readFile(join(folder, name));
  const bit = below(8 * bytes.length);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  await writeFile(join(folder, name), bytes);
  const uses = {
    resume: async () => {
      const found = await run(join(dir, 'out'), { saveStrategy: 'no' }, folder);
      const isEqual = same(found.values, last.values) && found.losses === last.losses;
      return { isEqual, warnings: found.warnings };
    },
    best: async () => {
      const config = { saveStrategy: 'best', loadBestModelAtEnd: true } as const;
      const found = await run(run1, config, join(run1, `checkpoint-${BEST + 1}`));
      return { isEqual: same(found.values, best.values), warnings: found.warnings };
    },
    loadAdapter: async () => ({ isEqual: (await loadedOf(folder)) === loaded, warnings: [] }),
  };
  for (const [use, work] of Object.entries(uses)) {
    const verdict = await judge(work);
    const key = `${use} ${name}`;
    counts[key] ??= { refused: 0, reported: 0, equal: 0, silentlyWrong: 0 };
    counts[key][verdict]++;
    if (verdict === 'silentlyWrong') faults.push(`flip ${i}: ${use}, bit ${bit} of ${name}`);
  }
  await rm(run1, { recursive: true });
  await rm(join(dir, 'out'), { recursive: true, force: true });
}
await engine.dispose();
await rm(dir, { recursive: true, force: true });

console.table(counts);
for (const fault of faults) console.log(`SILENTLY WRONG: ${fault}`);
const total = (verdict: Verdict) => Object.values(counts).reduce((sum, count) => sum + count[verdict], 0);
console.log(
  `RESULT ${JSON.stringify({
    ...{ test: 'flips', flips, seed, uses: 3 * flips, refused: total('refused'), reported: total('reported') },
    ...{ equal: total('equal'), silentlyWrong: total('silentlyWrong') },
    seconds: Math.round((performance.now() - start) / 1000),
  })}`,
);
if (faults.length > 0) process.exitCode = 1;

function same(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}
