/**
 * Training on several ranks: is it that of one process, how fast is it, and how does it end where a rank is lost?
 *
 *   node --import tsx test/bench/ranks.ts --ranks N --size 3B | 8B | 14B | tiny --workload FILE [--steps 30] [--micro 8]
 *        [--accumulation 1] [--one-card] [--out DIR] [--engine cuda | cpu] [--budget GIB] [--optim adamw_8bit]
 *        [--fault kill | stop | delay | throw | nan | abort --at STEP --fault-rank 1] [--times 1] [--resume DIR]
 *        [--compare FILE --tolerance 1e-3] [--save-steps N] [--dropout 0.05]
 *
 * --ranks         processes; each gets the variables of a launcher. 0: one process without any
 * --one-card      all of them share card 0, and meet over sockets (another NCCL_HOSTID each)
 * --accumulation  micro-batches of each rank in a step: ranks times accumulation must be the same to be compared
 * --fault         what happens on one rank when step AT is reported: SIGKILL, SIGSTOP, 15 s of nothing, an error, a loss
 *                 that is NaN, an abort
 * --times         repeats it with a new output folder each time
 * --compare       losses of another run of this program (its OUT/losses.json): the largest difference is told
 *
 * Prints the loss of each step of rank 0, a RESULT line, how each rank ended and after how many seconds from the fault on,
 * and whether the checkpoint that is left loads. Exits with 1 where something is not as it must be.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { rankPlace } from '../../src/distributed/rank-place.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { DistributedError } from '../../src/errors.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import type { TrainerCallback } from '../../src/train/callbacks.js';
import { listCheckpoints } from '../../src/train/checkpoint.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { withLoopback } from '../distributed/loopback-sum.js';
import { makeExamples, writeTinyModel } from '../e2e/tiny-model.js';
import { randomModel, type Size } from './random-model.js';
import { workloadSet } from './workload.js';

const { values } = parseArgs({
  options: {
    ranks: { type: 'string', default: '2' },
    size: { type: 'string', default: '3B' },
    workload: { type: 'string' },
    steps: { type: 'string', default: '30' },
    micro: { type: 'string', default: '8' },
    accumulation: { type: 'string', default: '1' },
    engine: { type: 'string', default: 'cuda' },
    budget: { type: 'string' },
    optim: { type: 'string', default: 'adamw_8bit' },
    dropout: { type: 'string', default: '0' },
    'one-card': { type: 'boolean', default: false },
    out: { type: 'string', default: '/tmp/bench-ranks' },
    fault: { type: 'string' },
    at: { type: 'string', default: '5' },
    'fault-rank': { type: 'string', default: '1' },
    times: { type: 'string', default: '1' },
    resume: { type: 'string' },
    compare: { type: 'string' },
    tolerance: { type: 'string', default: '2e-2' },
    'save-steps': { type: 'string', default: '1000' },
  },
});
const ranks = Number(values.ranks);
const steps = Number(values.steps);
/** Seconds from the fault on within which all ranks must have ended. */
const LIMIT = 30;

const isChild = process.env.BENCH_RANKS_OUT !== undefined;
if (isChild || ranks === 0) await child(process.env.BENCH_RANKS_OUT ?? values.out);
else {
  let isGood = true;
  for (let time = 0; time < Number(values.times); time++) {
    isGood = (await parent(Number(values.times) > 1 ? join(values.out, String(time)) : values.out)) && isGood;
  }
  process.exitCode = isGood ? 0 : 1;
}

interface Ended {
  readonly rank: number;
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: number;
}

async function parent(out: string): Promise<boolean> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const port = 20_000 + (process.pid % 20_000);
  const own = (rank: number): Record<string, string> => ({
    ...{ RANK: String(rank), LOCAL_RANK: String(rank), WORLD_SIZE: String(ranks), LOCAL_WORLD_SIZE: String(ranks) },
    ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port), BENCH_RANKS_OUT: out },
    ...(values['one-card'] && {
      ...{ CUDA_VISIBLE_DEVICES: process.env.CUDA_VISIBLE_DEVICES ?? '0', NCCL_HOSTID: `rank-${rank}` },
      ...{ NCCL_SOCKET_IFNAME: 'lo', NCCL_IB_DISABLE: '1' },
    }),
  });
  const children = Array.from({ length: ranks }, (_, rank) => {
    return spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...process.argv.slice(2)], {
      env: { ...process.env, ...own(rank) },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  });
  const ends = await Promise.all(
    children.map(
      (one, rank) =>
        new Promise<Ended>((ended) => {
          one.once('exit', (code, signal) => {
            ended({ rank, code, signal, at: Date.now() });
            // One that is stopped ends with the others.
            const left = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
            if (values.fault === 'stop' && left.length === 1) left[0]!.kill('SIGKILL');
          });
        }),
    ),
  );
  return judge(out, ends);
}

async function judge(out: string, ends: readonly Ended[]): Promise<boolean> {
  const fault = existsSync(join(out, 'fault')) ? statSync(join(out, 'fault')).mtimeMs : undefined;
  const culprit = Number(values['fault-rank']);
  let isGood = true;
  const bad = (why: string): void => {
    isGood = false;
    console.log(`BAD ${why}`);
  };
  for (const { rank, code, signal, at } of ends) {
    const after = fault === undefined ? undefined : (at - fault) / 1000;
    const said = existsSync(join(out, `error-${rank}`)) ? readFileSync(join(out, `error-${rank}`), 'utf8') : '';
    const when = after === undefined ? '' : `, ${after.toFixed(1)} s after the fault`;
    console.log(`rank ${rank} ended with ${signal ?? code}${when}${said && `: ${said.split('\n')[0]}`}`);
    const isLost = rank === culprit && (values.fault === 'kill' || values.fault === 'stop');
    const mustFail = values.fault !== undefined && values.fault !== 'delay';
    if (mustFail && !isLost && after !== undefined && after > LIMIT) bad(`rank ${rank} took ${after.toFixed(1)} s`);
    if (mustFail && !isLost && !said) bad(`rank ${rank} did not hear of the fault`);
    if (!mustFail && code !== 0) bad(`rank ${rank} failed`);
  }
  if (values.fault !== undefined && fault === undefined) bad('the fault did not happen');
  const saved = await listCheckpoints(join(out, 'run'));
  console.log(`checkpoints: ${saved.map(({ step }) => step).join(', ') || 'none'}`);
  if (values.fault && values.fault !== 'nan' && saved.length === 0) bad('nothing was saved');
  if (values.fault && values.fault !== 'delay' && saved.length > 0) {
    // By one process, which reads it as any resume does.
    const accumulation = ranks * Number(values.accumulation);
    const more = [
      `--ranks=0`,
      `--resume=${saved.at(-1)!.path}`,
      `--accumulation=${accumulation}`,
      `--out=${out}-resumed`,
    ];
    const kept = process.argv.slice(2).filter((word, i, all) => {
      const previous = all[i - 1] ?? '';
      return (
        !/^--(ranks|fault|at|fault-rank|times|out|accumulation|one-card|steps)/.test(word) &&
        !/^--(ranks|fault|at|fault-rank|times|out|accumulation|steps)$/.test(previous)
      );
    });
    const one = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...kept, ...more, `--steps=${steps}`], {
      env: { ...process.env, BENCH_ONLY_LOAD: '1' },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const code = await new Promise<number | null>((ended) => one.once('exit', ended));
    if (code !== 0) bad('the checkpoint does not load');
  }
  if (values.compare && existsSync(join(out, 'losses.json'))) {
    const [before, now] = [values.compare, join(out, 'losses.json')].map(
      (path) => JSON.parse(readFileSync(path, 'utf8')) as number[],
    );
    const most = Math.max(...now!.map((loss, i) => Math.abs(loss - before![i]!) / Math.abs(before![i]!)));
    console.log(`largest relative difference of the losses of ${now!.length} steps: ${most}`);
    if (!(most <= Number(values.tolerance)) || now!.length !== before!.length) bad(`losses differ by ${most}`);
  }
  return isGood;
}

async function child(out: string): Promise<void> {
  mkdirSync(out, { recursive: true });
  const rank = rankPlace()?.rank ?? 0;
  const isCulprit = rank === Number(values['fault-rank']);
  const engine = makeEngine();
  const { model, dataset, collator } = await makeModel(engine, out);
  applyLora(model, { r: 16, alpha: 32, dropout: Number(values.dropout), targetModules: [...LAYER_PROJECTIONS] });
  const losses: number[] = [];
  const times: number[] = [];
  const abort = new AbortController();
  const watch: TrainerCallback = {
    async onEvent(event) {
      if (event.type === 'warning' && rank === 0) console.log(`warning: ${event.message}`);
      if (event.type === 'save') console.log(`rank ${rank} saved ${event.path} ${new Date().toISOString()}`);
      if (event.type !== 'step') return;
      losses.push(event.loss);
      times.push(performance.now());
      if (rank === 0) console.log(`step ${event.step} loss ${event.loss} norm ${event.gradNorm}`);
      if (process.env.BENCH_ONLY_LOAD) abort.abort(new Error('it loads, and takes a step'));
      if (values.fault && isCulprit && event.step === Number(values.at)) await misbehave(out, engine, model, abort);
    },
  };
  const config = {
    outputDir: join(out, 'run'),
    maxSteps: steps,
    perDeviceTrainBatchSize: Number(values.micro),
    gradientAccumulationSteps: Number(values.accumulation),
    learningRate: 1e-4,
    optim: values.optim as 'adamw_8bit',
    loggingSteps: 10,
    saveSteps: Number(values['save-steps']),
    progress: 'none',
    seed: 7,
  } satisfies SftConfigInput;
  const trainer = new SftTrainer({ model, trainDataset: dataset, collator, config, callbacks: [watch] });
  const resumeFromCheckpoint = values.resume;
  try {
    const output = await trainer.train({ signal: abort.signal, ...(resumeFromCheckpoint && { resumeFromCheckpoint }) });
    const half = Math.min(3, times.length - 2);
    const measured = (times.at(-1)! - times[half]!) / 1000 / Math.max(1, times.length - 1 - half);
    const perStep = Math.max(1, ranks) * Number(values.micro) * Number(values.accumulation);
    if (rank === 0) {
      writeFileSync(join(out, 'losses.json'), JSON.stringify(losses));
      console.log(
        `RESULT ${JSON.stringify({
          ...{ bench: 'ranks', ranks, size: values.size, micro: config.perDeviceTrainBatchSize },
          ...{ accumulation: config.gradientAccumulationSteps, oneCard: values['one-card'], steps: output.globalStep },
          secondsPerStep: Number(measured.toFixed(4)),
          samplesPerSecond: Number((perStep / measured).toFixed(2)),
          peakGiB: Number((engine.memory().peakBytes / 2 ** 30).toFixed(2)),
          ...{ firstLoss: losses[0], lastLoss: losses.at(-1) },
        })}`,
      );
    }
  } catch (error) {
    if (process.env.BENCH_ONLY_LOAD && abort.signal.aborted) {
      console.log(`the checkpoint of step ${values.resume} loads, and the run goes on`);
      return;
    }
    const said = error instanceof DistributedError ? error.summary : String(error);
    writeFileSync(join(out, `error-${rank}`), said);
    appendFileSync(join(out, 'errors.txt'), `rank ${rank}: ${said}\n`);
    process.exitCode = 1;
    if (!values.fault) console.error(error);
  }
  // What the engine still computes must not keep the process.
  setTimeout(() => process.exit(), 2000).unref();
  await engine.dispose().catch(() => undefined);
}

async function misbehave(
  out: string,
  engine: Engine,
  model: VisionLanguageModel,
  abort: AbortController,
): Promise<void> {
  console.log(`rank ${values['fault-rank']}: ${values.fault} ${new Date().toISOString()}`);
  writeFileSync(join(out, 'fault'), '');
  switch (values.fault) {
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      break;
    case 'stop':
      process.kill(process.pid, 'SIGSTOP');
      break;
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, 15_000));
      break;
    case 'throw':
      throw new TypeError('as asked by --fault throw');
    case 'abort':
      abort.abort(new Error('as asked by --fault abort'));
      break;
    case 'nan': {
      const read = engine.read.bind(engine);
      engine.read = async (tensor) => (tensor.size === 1 ? Float32Array.of(Number.NaN) : read(tensor));
      break;
    }
    default:
      throw new Error(`--fault ${values.fault} is not known`);
  }
  void model;
}

function makeEngine(): Engine {
  if (values.engine === 'cpu') return withLoopback(createCpuEngine({ threads: 1 }));
  return createCudaEngine({
    ...(values['one-card'] && { device: 0 }),
    ...(values.budget && { memoryBudget: Number(values.budget) * 2 ** 30 }),
  });
}

async function makeModel(engine: Engine, out: string) {
  if (values.size !== 'tiny') {
    return { model: await randomModel(engine, values.size as Size), ...workloadSet(values.workload!) };
  }
  const folder = resolve(out, `tiny-${process.pid}`);
  await writeTinyModel(folder);
  const model = await loadModel(folder, { engine });
  const processor = await loadProcessor(folder);
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  return { model, dataset: makeExamples(61), collator };
}
