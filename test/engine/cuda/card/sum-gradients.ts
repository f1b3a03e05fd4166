/**
 * Sums of gradients over ranks through NCCL, and what becomes of them when a rank is lost.
 *
 *   npx tsx test/engine/cuda/card/sum-gradients.ts [--ranks 2] [--one-card] [--mib 64,270] [--sums 20] [--losses 1] [--lost 1]
 *
 * Each rank has a card of its own; with --one-card all share card 0 and meet over sockets. Checked: the sums, value by
 * value; the same bits on all ranks; pieces that leave early; a window that is begun again. Then, in new processes, a
 * rank is killed while the others wait for its sum, and in the middle of sums; and the same with updates queued behind
 * the sums, which must leave values and moments as they were. Ends with `N passed, N failed`.
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createCudaEngine } from '../../../../src/engine/cuda/cuda-engine.js';
import type { OptimizerStep } from '../../../../src/engine/engine.js';
import type { ParameterSet } from '../../../../src/engine/tensor.js';
import { DistributedError } from '../../../../src/errors.js';
import { CheckList } from '../../../parity/check-list.js';
import { forkedGroup, forkRanks } from './forked-group.js';

const { values: options } = parseArgs({
  options: {
    ranks: { type: 'string', default: '2' },
    'one-card': { type: 'boolean', default: false },
    mib: { type: 'string', default: '64,270' },
    sums: { type: 'string', default: '20' },
    losses: { type: 'string', default: '1' },
    lost: { type: 'string', default: '1' },
    /** Of a forked rank. */
    work: { type: 'string' },
  },
});
const STEP: OptimizerStep = {
  kind: 'adamw',
  ...{ learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 },
};
const LOST = Number(options.lost);
const LAYERS = 40;
const KINDS = ['q_proj', 'down_proj'];
/** Milliseconds after which a rank is killed, and seconds in which the other must end. */
const [BEFORE_LOSS, MOST_SECONDS] = [1500, 15];
/** Milliseconds in which steps are queued whose sums do not come. */
const MOST_QUEUEING = 500;

function report(line: string): void {
  console.log(`rank ${process.env.RANK}: ${line}`);
}

const now = (): number => performance.now();

function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
}

class RankWork {
  readonly group = forkedGroup();
  readonly engine = createCudaEngine({ memoryBudget: 8 * 2 ** 30 });
  readonly checks = new CheckList();

  set(mib: number): ParameterSet {
    const size = Math.floor((mib * 2 ** 18) / (LAYERS * KINDS.length));
    const initial = new Float32Array(size);
    const names = Array.from({ length: LAYERS }, (_, i) => KINDS.map((kind) => `model.layers.${i}.${kind}.lora_A`));
    return this.engine.createParameters(names.flat().map((name) => ({ name, shape: [size], initial })));
  }

  /** Exact in float32, and other values on each rank. @param scale makes sums round */
  value(i: number, rank: number, scale = 1): number {
    return Math.fround(scale * (((i * 31 + rank * 17) % 2001) - 1000));
  }

  give(set: ParameterSet, scale = 1): void {
    const { rank } = this.group;
    for (const { offset, size, shape, grad } of set.parameters) {
      const data = Float32Array.from({ length: size }, (_, i) => this.value(offset + i, rank, scale));
      const tensor = this.engine.fromArray(data, shape);
      this.engine.addInPlace(grad, tensor);
      this.engine.release(tensor);
    }
  }

  async compare(set: ParameterSet, what: string, scale = 1): Promise<void> {
    const gradients = await this.engine.readGradients(set);
    let wrong = 0;
    const ranks = Array.from({ length: this.group.worldSize }, (_, rank) => rank);
    for (let i = 0; i < gradients.length; i++) {
      const sum = ranks.reduce((total, rank) => total + this.value(i, rank, scale), 0);
      if (Math.abs(gradients[i]! - sum) > (scale === 1 ? 0 : 1e-6 * Math.abs(sum) + 2e-2)) wrong++;
    }
    this.checks.exact(`${what}: the sums`, wrong === 0, `in ${wrong} of ${gradients.length}`);
    const digest = createHash('sha256').update(new Uint8Array(gradients.buffer)).digest('hex');
    const all = await this.group.allGather('digests', digest);
    this.checks.exact(`${what}: the bits of the ranks`, new Set(all).size === 1);
  }

  async sums(mib: number, count: number): Promise<void> {
    const { engine, group, checks } = this;
    const set = this.set(mib);
    const free = engine.memory().deviceBytes ?? 0;
    let start = now();
    const sum = await engine.joinGroup(group, set);
    const taken = ((engine.memory().deviceBytes ?? 0) - free) / 2 ** 20;
    report(`${mib} MiB: joined in ${(now() - start).toFixed(0)} ms, NCCL takes about ${taken.toFixed(0)} MiB`);
    const touched = set.parameters.map(() => true);
    const names = set.parameters.map(({ name }) => name).reverse();
    for (const scale of [1, Math.PI]) {
      engine.zeroGradients(set);
      this.give(set, scale);
      checks.exact('all gradients were given', sum.touched().every(Boolean));
      await sum.finish(touched);
      await this.compare(set, `${mib} MiB times ${scale.toFixed(2)}`, scale);
    }
    engine.zeroGradients(set);
    this.give(set);
    // Rank 0 lets all layers go early, the others none; then it runs out of memory and begins again.
    if (group.isMain) {
      const early = sum.overlap();
      for (const name of names.slice(0, names.length / 2)) early?.final([name]);
      const started = now();
      await sum.restart();
      report(`${mib} MiB: half of it kept on the host in ${(now() - started).toFixed(0)} ms`);
      engine.zeroGradients(set);
      this.give(set);
      const again = sum.overlap();
      for (const name of names) again?.final([name]);
    }
    await sum.finish(touched);
    await this.compare(set, `${mib} MiB, begun again`);
    for (const isEarly of [false, true]) {
      engine.zeroGradients(set);
      this.give(set);
      engine.synchronize();
      const times: number[] = [];
      for (let i = 0; i < count; i++) {
        await group.allGather('next', i);
        start = now();
        if (isEarly) {
          const early = sum.overlap();
          for (const name of names) early?.final([name]);
        }
        await sum.finish(touched);
        await sum.arrived();
        engine.synchronize();
        times.push(now() - start);
      }
      const shown = `median ${median(times).toFixed(2)} ms, ${Math.min(...times).toFixed(2)} to ${Math.max(...times).toFixed(2)}`;
      report(`${mib} MiB: ${count} sums${isEarly ? ', told layer by layer' : ''}: ${shown}`);
    }
    start = now();
    await sum.close();
    report(`${mib} MiB: closed in ${(now() - start).toFixed(0)} ms`);
    engine.releaseParameters(set);
  }

  /** A rank is killed from outside: while it does nothing, or in the middle of sums. */
  async lose(isMidSum: boolean): Promise<void> {
    const { engine, group, checks } = this;
    const set = this.set(64);
    const sum = await engine.joinGroup(group, set);
    await group.allGather('ready', 0);
    const touched = set.parameters.map(() => true);
    if (!isMidSum && group.rank === LOST) await new Promise((resolve) => setTimeout(resolve, 60_000));
    const start = now();
    let caught: unknown;
    try {
      for (;;) {
        await sum.finish(touched);
        await sum.arrived();
      }
    } catch (error) {
      caught = error;
    }
    const seconds = (now() - start - BEFORE_LOSS) / 1000;
    report(
      `ended ${seconds.toFixed(2)} s after the loss: ${caught instanceof Error ? caught.message : String(caught)}`,
    );
    checks.exact('a DistributedError names the rank', caught instanceof DistributedError && caught.rank === LOST);
    checks.atMost('seconds until the survivor ends', seconds, MOST_SECONDS);
    const values = await engine.readParameters(set);
    checks.exact(
      'parameters that are read afterwards',
      values.every((value) => value === 0),
    );
    await sum.close();
    report(`closed ${((now() - start - BEFORE_LOSS) / 1000).toFixed(2)} s after the loss`);
  }

  /** As `lose`, with updates behind the sums: two where the lost rank does not come to them, else one after the other. */
  async guard(isMidSum: boolean): Promise<void> {
    const { engine, group, checks } = this;
    const set = this.set(4);
    const state = engine.createOptimizerState(set, STEP.kind);
    const sum = await engine.joinGroup(group, set);
    const touched = set.parameters.map(() => true);
    const given = set.parameters.map(({ offset, size, shape, grad }) => {
      const values = Float32Array.from({ length: size }, (_, i) => this.value(offset + i, group.rank));
      return { grad, tensor: engine.fromArray(values, shape) };
    });
    const step = async (): Promise<() => Promise<number>> => {
      engine.zeroGradients(set);
      for (const { grad, tensor } of given) engine.addInPlace(grad, tensor);
      await sum.finish(touched);
      return engine.optimizerStep(set, state, STEP);
    };
    const content = async (): Promise<string> => {
      const hash = createHash('sha256');
      const arrays = { ...(await engine.readOptimizerState(set, state)), values: await engine.readParameters(set) };
      for (const [name, array] of Object.entries(arrays)) {
        hash.update(name).update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
      }
      return hash.digest('hex');
    };
    const start = await content();
    checks.exact('the norm of the first step', Number.isFinite(await (await step())()));
    let before = await content();
    checks.exact('the first step changes values and moments', before !== start);
    const all = await group.allGather('contents', before);
    checks.exact('they are those of all ranks', new Set(all).size === 1);
    await group.allGather('ready', 0);
    if (!isMidSum && group.rank === LOST) await new Promise((resolve) => setTimeout(resolve, 60_000));
    let broken: readonly number[] = [];
    let steps = 0;
    for (; broken.length === 0; steps++) {
      const norms: (() => Promise<number>)[] = [];
      const from = now();
      try {
        for (let i = 0; i < (isMidSum ? 1 : 2); i++) norms.push(await step());
      } catch (error) {
        report(`a step was refused: ${error instanceof Error ? error.message : String(error)}`);
        break;
      }
      if (!isMidSum) checks.atMost('milliseconds to queue two steps that do not come', now() - from, MOST_QUEUEING);
      const found = await Promise.all(norms.map((norm) => norm()));
      if (found.every(Number.isFinite)) before = await content();
      else broken = found;
    }
    report(`after ${steps} rounds the norms are ${broken.join(', ') || 'of none'}`);
    if (!isMidSum) checks.exact('both updates are void', broken.length === 2 && broken.every(Number.isNaN));
    checks.exact('values, moments and counts of steps are those before', (await content()) === before);
    const caught = await sum.arrived().catch((error: unknown) => error);
    checks.exact('a DistributedError names the rank', caught instanceof DistributedError && caught.rank === LOST);
    await sum.close();
    checks.exact('they stay so', (await content()) === before);
    engine.releaseOptimizerState(set, state);
  }

  async run(work: string): Promise<void> {
    if (work === 'sums') for (const mib of options.mib.split(',')) await this.sums(Number(mib), Number(options.sums));
    else if (work.startsWith('guard')) await this.guard(work === 'guard-mid-sum');
    else await this.lose(work === 'mid-sum');
    await this.engine.dispose();
    const { passed, failed } = this.checks;
    report(`${passed} passed, ${failed} failed`);
    process.exitCode = failed === 0 ? 0 : 1;
    await this.group.close();
  }
}

async function forkWork(work: string): Promise<boolean> {
  const ranks = Number(options.ranks);
  const isShared = options['one-card'];
  const environment = (rank: number): Record<string, string> =>
    isShared
      ? {
          ...{ NCCL_HOSTID: `rank${rank}`, NCCL_SOCKET_IFNAME: 'lo', NCCL_IB_DISABLE: '1' },
          CUDA_VISIBLE_DEVICES: process.env.CUDA_VISIBLE_DEVICES ?? '0',
        }
      : {};
  const { children, ends } = forkRanks(ranks, [...process.argv.slice(2), '--work', work], environment);
  if (work !== 'sums') {
    const isReady = new Promise<void>((resolve) => {
      let ready = 0;
      for (const child of children) {
        child.on('message', ({ what }: { what: string }) => {
          if (what === 'ready' && ++ready === ranks) resolve();
        });
      }
    });
    await isReady;
    setTimeout(() => children[LOST]!.kill('SIGKILL'), BEFORE_LOSS);
  }
  const found = await ends;
  const expected = found.map((_, rank) => (work !== 'sums' && rank === LOST ? 'SIGKILL' : 0));
  const isRight = found.every((end, rank) => end === expected[rank]);
  console.log(`${work}: ranks ended with ${found.join(', ')}${isRight ? '' : `; expected ${expected.join(', ')}`}`);
  return isRight;
}

if (options.work === undefined) {
  const works = ['sums'];
  if (Number(options.ranks) > 1)
    for (let i = 0; i < Number(options.losses); i++) {
      works.push('waiting', 'mid-sum', 'guard', 'guard-mid-sum');
    }
  let failed = 0;
  for (const work of works) if (!(await forkWork(work))) failed++;
  console.log(`${works.length - failed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
} else {
  await new RankWork().run(options.work);
}
