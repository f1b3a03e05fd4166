import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type CudaGradientSum, joinGradientSum } from '../../../src/engine/cuda/gradient-sum.js';
import { DistributedError, EngineError } from '../../../src/errors.js';
import { MemoryWorld } from '../../distributed/memory-group.js';
import { FakeWorld, fakeSet } from './fake-nccl.js';

/** Two parameters of so many values a layer, and pieces of at least 1000. */
const [LAYERS, VALUES] = [5, 400];
const SIZE = 2 * LAYERS * VALUES;
/** From the last layer to the first: two layers each, and what is left. */
const PIECES = [4 * VALUES, 4 * VALUES, 2 * VALUES];

// NCCL reads it; here nothing is set for other tests.
beforeEach(() => vi.stubEnv('NCCL_SOCKET_IFNAME', undefined));
afterEach(() => vi.unstubAllEnvs());

async function ranks(worldSize: number, seed = 1) {
  const world = new FakeWorld(worldSize, seed);
  const groups = new MemoryWorld(worldSize);
  const sets = groups.groups.map(() => fakeSet(LAYERS, VALUES));
  const join = () =>
    Promise.all(groups.groups.map((group, rank) => joinGradientSum(world.cards[rank]!.parts, group, sets[rank]!)));
  return { world, groups, sets, join };
}

/** Adds the rank's gradients, layer by layer as backward does, and tells the sum. */
function backward(world: FakeWorld, rank: number, sum: CudaGradientSum | undefined, layers = LAYERS, factor = 1): void {
  const card = world.cards[rank]!;
  const early = sum?.overlap();
  for (let layer = LAYERS - 1; layer >= LAYERS - layers; layer--) {
    const first = 2 * layer * VALUES;
    card.compute(() => {
      for (let i = first; i < first + 2 * VALUES; i++) card.gradients[i]! += factor * (rank + 1) * (1 + (i % 7));
    });
    early?.final(['up', 'down'].map((kind) => `model.layers.${layer}.${kind}.lora_A`));
  }
}

function zero(world: FakeWorld, rank: number): void {
  const card = world.cards[rank]!;
  card.compute(() => card.gradients.fill(0, 0, SIZE));
}

/** Whether the gradients are `factor` times the value of the place, on all ranks. */
function expectSums(world: FakeWorld, factor: number): void {
  while (world.step());
  for (const { gradients } of world.cards) {
    let wrong = 0;
    for (let i = 0; i < SIZE; i++) if (gradients[i] !== factor * (1 + (i % 7))) wrong++;
    expect(wrong).toBe(0);
  }
}

const touched = Array.from({ length: 2 * LAYERS }, () => true);

describe('the sum of gradients over ranks', () => {
  it.each([1, 2, 3])('goes out in the same pieces whoever is early, seed %i', async (seed) => {
    const { world, groups, sets, join } = await ranks(3, seed);
    const sums = await join();
    expect(new Set(world.ids).size).toBe(1);
    for (let window = 0; window < 2; window++) {
      world.sums.length = 0;
      // One tells its layers, one does not, and one has no sample.
      backward(world, 0, sums[0]);
      backward(world, 1, undefined);
      await Promise.all(
        sums.map(async (sum, rank) => {
          await sum.finish(touched.map((_, i) => i !== 3));
          expect(sets[rank]!.parameters.map(({ grad }) => grad.isTouched)).toEqual(touched.map((_, i) => i !== 3));
        }),
      );
      expectSums(world, 1 + 2);
      expect(world.sums).toEqual(PIECES);
      for (const rank of [0, 1, 2]) zero(world, rank);
    }
    await Promise.all(sums.map((sum) => sum.close()));
    for (const { log } of world.cards) {
      expect(log.slice(-4)).toEqual(['finalize', 'destroy', 'guard given back', 'taken -5000']);
      expect(log).toContain('taken 5000');
      // NCCL takes the card that is current.
      expect(log[0]).toBe('current');
    }
    expect(groups.log[0]).toEqual(['NCCL', 'the id for NCCL', 'the time of the sums']);
    // One machine: NCCL's sockets are not for others.
    expect(process.env.NCCL_SOCKET_IFNAME).toBe('lo');
  });

  it('leaves early, while backward still runs', async () => {
    const { world, join } = await ranks(2);
    const sums = await join();
    world.sums.length = 0;
    for (const rank of [0, 1]) backward(world, rank, sums[rank], 3);
    for (let i = 0; i < 200; i++) {
      world.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(world.sums).toEqual([PIECES[0]]);
  });

  it('waits for the end of backward where the links are fast: products need the whole card', async () => {
    const { world, join } = await ranks(2);
    world.isSlow = false;
    const sums = await join();
    world.sums.length = 0;
    expect(sums.map((sum) => sum.overlap())).toEqual([undefined, undefined]);
    for (const rank of [0, 1]) backward(world, rank, sums[rank]);
    for (let i = 0; i < 200; i++) {
      world.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(world.sums).toEqual([]);
    // One that begins again has nothing to keep, and waits for nobody.
    await sums[0]!.restart();
    zero(world, 0);
    backward(world, 0, sums[0]);
    await Promise.all(sums.map((sum) => sum.finish(touched)));
    expectSums(world, 1 + 2);
    expect(world.sums).toEqual(PIECES);
  });

  it('keeps what is summed when a window is begun again, and sums it once', async () => {
    const { world, join } = await ranks(2, 5);
    const sums = await join();
    world.sums.length = 0;
    // The second rank is late: what the first keeps are not its own gradients.
    const late = new Promise((resolve) => setTimeout(resolve, 5));
    const other = late.then(() => {
      backward(world, 1, sums[1]);
      return sums[1]!.finish(touched);
    });
    for (const [layers, factor] of [
      [3, 1],
      // Nothing of these values may get into the first piece.
      [5, 1],
    ] as const) {
      backward(world, 0, sums[0], layers, factor);
      await sums[0]!.restart();
      zero(world, 0);
    }
    expect(world.sums).toEqual(PIECES);
    backward(world, 0, sums[0], LAYERS, 100);
    await Promise.all([sums[0]!.finish(touched), other]);
    expectSums(world, 1 + 2);
    expect(world.sums).toEqual(PIECES);
    for (const rank of [0, 1]) zero(world, rank);
    backward(world, 0, sums[0]);
    await Promise.all(sums.map((sum) => sum.finish(touched)));
    expectSums(world, 1);
  });

  it('changes nothing alone, and is not waited for', async () => {
    const { world, join } = await ranks(1);
    const [sum] = await join();
    const { length } = world.sums;
    backward(world, 0, sum);
    await sum!.finish(touched);
    expect(world.sums.length).toBe(length);
    let before = 0;
    world.cards[0]!.compute(() => {
      before = world.sums.length;
    });
    expectSums(world, 1);
    // What is queued next runs after it all the same.
    expect([before, world.sums.slice(length)]).toEqual([length + 1, [SIZE]]);
  });

  it('ends with the cause when a rank is lost, and reads of the card go on', async () => {
    const { world, groups, join } = await ranks(2);
    const sums = await join();
    groups.groups[1]!.begin('training');
    backward(world, 0, sums[0]);
    world.lost.add(1);
    // It is queued, and no more.
    await sums[0]!.finish(touched);
    expect(sums[0]!.isUnderWay).toBe(true);
    setTimeout(() => groups.kill(1), 20);
    await expect(sums[0]!.arrived()).rejects.toThrow('rank 1 was lost during training: its connection was closed');
    expect(world.cards[0]!.log.at(-1)).toBe('abort');
    while (world.step());
    expect(sums[0]!.isUnderWay).toBe(false);
    await expect(sums[0]!.finish(touched)).rejects.toThrow(DistributedError);
    await sums[0]!.close();
    expect(world.cards[0]!.log.filter((line) => line === 'abort')).toHaveLength(1);
  });

  it('tells the failure of a rank where NCCL hears of it first', async () => {
    const { world, groups, join } = await ranks(2);
    const sums = await join();
    groups.groups[1]!.begin('training');
    world.lost.add(1);
    await sums[0]!.finish(touched);
    world.errors.set(0, new EngineError('NCCL: ncclRemoteError'));
    setTimeout(() => groups.kill(1), 50);
    await expect(sums[0]!.arrived()).rejects.toThrow('rank 1 was lost during training');
  });

  it('is queued without waiting for the others, window after window', async () => {
    const { world, sets, join } = await ranks(2);
    const sums = await join();
    world.sums.length = 0;
    const seen: number[] = [];
    for (let window = 0; window < 2; window++) {
      backward(world, 0, sums[0]);
      await sums[0]!.finish(touched);
      world.cards[0]!.compute(() => void seen.push(world.sums.length));
      zero(world, 0);
    }
    // The other rank has not come to any of them.
    expect([world.sums, seen]).toEqual([[], []]);
    for (let window = 0; window < 2; window++) {
      backward(world, 1, sums[1]);
      await sums[1]!.finish(touched);
      zero(world, 1);
    }
    await Promise.all(sums.map((sum) => sum.arrived()));
    while (world.step());
    // What is queued behind a window finds its sums.
    expect(seen).toEqual([PIECES.length, 2 * PIECES.length].map((least) => expect.toSatisfy((n) => n >= least)));
    expect(sets.map(({ guard }) => guard !== undefined)).toEqual([true, true]);
    await Promise.all(sums.map((sum) => sum.close()));
    expect(sets.map(({ guard }) => guard)).toEqual([undefined, undefined]);
  });

  it('gives up after half an hour though all ranks live, with nobody waiting', async () => {
    const { world, join } = await ranks(2);
    const sums = await join();
    await sums[0]!.finish(touched);
    const { now } = performance;
    const later = vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 1_801_000);
    await vi.waitFor(() => expect(world.cards[0]!.log.at(-1)).toBe('abort'));
    later.mockRestore();
    await expect(sums[0]!.arrived()).rejects.toThrow(
      'waited 1800 s for the sum of the gradients to arrive, though all ranks live',
    );
  });

  it('tries the connection, then takes the time of the pieces of a window', async () => {
    const world = new FakeWorld(2);
    const { groups } = new MemoryWorld(2);
    const sets = groups.map(() => fakeSet(1, 100));
    const sums = await Promise.all(
      groups.map((group, rank) => joinGradientSum(world.cards[rank]!.parts, group, sets[rank]!)),
    );
    expect(world.sums).toEqual([300, 200, 200, 200]);
    await Promise.all(sums.map((sum) => sum.close()));
  });

  it('gives up joining on an abort, and when a rank never comes', async () => {
    const { world, groups, sets } = await ranks(2);
    world.looks = Number.POSITIVE_INFINITY;
    const controller = new AbortController();
    const joined = groups.groups.map((group, rank) =>
      joinGradientSum(world.cards[rank]!.parts, group, sets[rank]!, rank === 0 ? controller.signal : undefined),
    );
    groups.groups[0]!.begin('training');
    setTimeout(() => controller.abort(new Error('stopped by the user')), 10);
    setTimeout(() => groups.kill(0), 30);
    const ends = await Promise.allSettled(joined);
    expect(ends.map((end) => String((end as PromiseRejectedResult).reason.message))).toEqual([
      'stopped by the user',
      'rank 0 was lost during training: its connection was closed',
    ]);
    expect(world.cards.map(({ log }) => log.at(-1))).toEqual(['abort', 'abort']);
  });

  it('takes sums that come out wrong for a broken path', async () => {
    const { world, join } = await ranks(2);
    const { parts } = world.cards[1]!;
    const { upload } = parts.staging;
    vi.spyOn(world.cards[1]!, 'parts', 'get').mockReturnValue({
      ...parts,
      staging: {
        ...parts.staging,
        upload: (target, source) => upload(target, new Float32Array(source.byteLength / 4)),
      },
    });
    await expect(join()).rejects.toThrow('NCCL sums wrongly: value 0 of a known sum is 0');
  });
});

describe('ranks that do not belong together', () => {
  it('are told their versions of NCCL', async () => {
    const { world, join } = await ranks(3);
    world.version = (rank) => (rank === 1 ? 22809 : 22803);
    await expect(join()).rejects.toThrow(
      'the ranks have different versions of NCCL:\n  ranks 0, 2: NCCL 2.28.3 (/lib/libnccl.so.2)\n' +
        '  rank 1: NCCL 2.28.9 (/lib/libnccl.so.2)',
    );
  });

  it('are told who has none', async () => {
    const { world, groups, sets } = await ranks(2);
    const missing = new EngineError('training on several GPUs needs libnccl.so.2');
    const load = () => {
      throw missing;
    };
    const joined = groups.groups.map((group, rank) => {
      const { parts } = world.cards[rank]!;
      return joinGradientSum(rank === 1 ? { ...parts, load } : parts, group, sets[rank]!);
    });
    const [first, second] = await Promise.allSettled(joined);
    expect((second as PromiseRejectedResult).reason).toBe(missing);
    expect((first as PromiseRejectedResult).reason).toMatchObject({ name: 'DistributedError', rank: 1 });
    expect(String((first as PromiseRejectedResult).reason)).toContain('rank 1 has no NCCL: training on several GPUs');
  });

  it('are told that they train other parameters', async () => {
    const { sets, join } = await ranks(2);
    sets[1] = fakeSet(LAYERS + 1, VALUES);
    await expect(join()).rejects.toThrow('the ranks train different parameters:\n  rank 0: 4000 trainable values');
  });

  it('may not share a card, but with NCCL’s own settings for it', async () => {
    vi.stubEnv('NCCL_HOSTID', undefined);
    vi.stubEnv('NCCL_MULTI_RANK_GPU_ENABLE', undefined);
    vi.stubEnv('CUDA_VISIBLE_DEVICES', '3');
    const shared = async () => {
      const made = await ranks(3);
      made.world.cards[2]!.id = made.world.cards[0]!.id;
      return made;
    };
    await expect((await shared()).join()).rejects.toThrow(
      'ranks 0 and 2 have the same card (fake), but each needs one of its own:\n' +
        '  rank 0: card 0 of those it sees, LOCAL_RANK 0, CUDA_VISIBLE_DEVICES=3\n' +
        '  rank 2: card 0 of those it sees, LOCAL_RANK 2, CUDA_VISIBLE_DEVICES=3',
    );
    vi.stubEnv('NCCL_MULTI_RANK_GPU_ENABLE', '1');
    await expect((await shared()).join()).resolves.toHaveLength(3);
  });
});
