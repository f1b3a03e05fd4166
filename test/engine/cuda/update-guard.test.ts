import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { EngineError } from '../../../src/errors.js';
import { MemoryWorld } from '../../distributed/memory-group.js';
import { where } from '../../where.js';
import { emulatedEngine, hasCompiler } from './emulated-card.js';
import { FakeWorld } from './fake-nccl.js';
import { LateRank, lateEngines } from './late-cards.js';

/** The first has 8-bit moments. */
const SIZES = [4100, 7];

beforeEach(() => vi.stubEnv('NCCL_SOCKET_IFNAME', undefined));
afterEach(() => vi.unstubAllEnvs());

async function ranks(worldSize: number, kind: 'adamw' | 'adamw8bit', seed = 3) {
  const world = new FakeWorld(worldSize, seed);
  const groups = new MemoryWorld(worldSize);
  const engines = await lateEngines(world);
  const all = engines.map((engine, rank) => new LateRank(engine, rank, kind, SIZES));
  for (const [rank, one] of all.entries()) {
    world.cards[rank]!.origin = (one.set as unknown as { gradients: { address: number } }).gradients.address;
  }
  await Promise.all(all.map((one, rank) => one.join(groups.groups[rank]!)));
  for (const group of groups.groups) group.begin('training');
  world.sums.length = 0;
  return { world, groups, all };
}

/** Waits for a step of all ranks. */
async function stepAll(all: readonly LateRank[]): Promise<number[]> {
  const norms = await Promise.all(all.map((one) => one.step()));
  return Promise.all(norms.map((norm) => norm()));
}

where(hasCompiler(), 'needs g++').describe('an update behind sums of several ranks', () => {
  it('is queued before they have arrived, and is the same on all ranks', async () => {
    const { world, all } = await ranks(2, 'adamw');
    const norm = await all[0]!.step();
    // The other one has not come to it.
    expect(world.sums).toEqual([]);
    expect(all[0]!.sum.isUnderWay).toBe(true);
    const other = await all[1]!.step();
    const norms = [await norm(), await other()];
    expect(norms[0]).toBeGreaterThan(0);
    expect(norms[1]).toBe(norms[0]);
    await Promise.all(all.map(({ sum }) => sum.arrived()));
    expect(all[0]!.sum.isUnderWay).toBe(false);
    expect(await all[1]!.content()).toEqual(await all[0]!.content());
    await Promise.all(all.map(({ sum }) => sum.close()));
    // The guard goes with the sum.
    expect((all[0]!.set as unknown as { guard: unknown }).guard).toBeUndefined();
    await Promise.all(all.map(({ engine }) => engine.dispose()));
  });

  for (const kind of ['adamw', 'adamw8bit'] as const) {
    it(`is the same by bits in a world of one as without, ${kind}`, async () => {
      const { all } = await ranks(1, kind);
      const plain = new LateRank(await emulatedEngine(), 0, kind, SIZES);
      for (let i = 0; i < 3; i++) expect(await stepAll(all)).toEqual(await stepAll([plain]));
      expect(await all[0]!.content()).toEqual(await plain.content());
    });

    for (const inFlight of [1, 2]) {
      it(`changes nothing where a rank is lost, ${inFlight} under way, ${kind}`, async () => {
        const { world, groups, all } = await ranks(2, kind);
        const [first] = all as [LateRank, LateRank];
        await stepAll(all);
        const before = await first.content();
        expect(before.steps).toEqual([1, 1]);
        world.lost.add(1);
        const norms: (() => Promise<number>)[] = [];
        for (let i = 0; i < inFlight; i++) norms.push(await first.step());
        groups.kill(1);
        for (const norm of norms) expect(await norm()).toBeNaN();
        expect(await first.content()).toEqual(before);
        await expect(first.sum.arrived()).rejects.toThrow('rank 1 was lost during training');
        await first.sum.close();
        expect(await first.content()).toEqual(before);
        await first.engine.dispose();
      });
    }

    it(`is whole where its sums had arrived, and only the one after it is void, ${kind}`, async () => {
      const { world, groups, all } = await ranks(2, kind);
      const [first] = all as [LateRank, LateRank];
      const twice = await ranks(2, kind);
      for (let i = 0; i < 2; i++) await stepAll(twice.all);
      await stepAll(all);
      const norm = await first.step();
      await all[1]!.step();
      await norm();
      world.lost.add(1);
      const broken = await first.step();
      groups.kill(1);
      expect(await broken()).toBeNaN();
      expect(await first.content()).toEqual(await twice.all[0]!.content());
    });
  }

  it('changes nothing where NCCL itself fails, though nobody waits for the sums', async () => {
    const { world, groups, all } = await ranks(2, 'adamw');
    const [first] = all as [LateRank, LateRank];
    await stepAll(all);
    const before = await first.content();
    const norm = await first.step();
    world.errors.set(0, new EngineError('NCCL: ncclRemoteError'));
    expect(await norm()).toBeNaN();
    expect(await first.content()).toEqual(before);
    setTimeout(() => groups.groups[0]!.fail(new Error('of the run')), 10);
    await expect(first.sum.arrived()).rejects.toThrow();
    expect(world.cards[0]!.log.filter((line) => line === 'abort')).toHaveLength(1);
  });

  it('is left out on all ranks for a gradient that is not finite on one, and the next is taken', async () => {
    const { all } = await ranks(2, 'adamw');
    await stepAll(all);
    const before = await all[0]!.content();
    const { engine, set } = all[1]!;
    const broken = engine.fromArray(new Float32Array(7).fill(Number.NaN), [7]);
    engine.addInPlace(set.parameters[1]!.grad, broken);
    for (const norm of await stepAll(all)) expect(norm).toBeNaN();
    for (const one of all) expect(await one.content()).toEqual(before);
    for (const norm of await stepAll(all)) expect(norm).toBeGreaterThan(0);
    expect((await all[0]!.content()).steps).toEqual([2, 2]);
    expect(await all[1]!.content()).toEqual(await all[0]!.content());
  });
});
