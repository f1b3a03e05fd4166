import { afterEach, describe, expect, it } from 'vitest';
import type { ProcessGroup } from '../../src/distributed/process-group.js';
import { DistributedError, TrainingError } from '../../src/errors.js';
import { closeAll, joinRanks } from './join-ranks.js';

let groups: ProcessGroup[] = [];
afterEach(() => closeAll(groups));

/** What each rank's call comes to: its value, or the summary of its error. */
const outcomes = (calls: readonly Promise<unknown>[]): Promise<unknown[]> =>
  Promise.all(calls.map((call) => call.catch((error: DistributedError) => error.summary)));

describe('a group of three ranks', () => {
  it('gathers values by rank, whatever they are', async () => {
    groups = await joinRanks(3);
    expect(groups.map((group) => [group.rank, group.worldSize, group.isMain])).toEqual([
      [0, 3, true],
      [1, 3, false],
      [2, 3, false],
    ]);
    const values = [{ loss: Number.NaN, text: 'ä' }, [-0, Infinity, null], undefined];
    const answers = await Promise.all(groups.map((group) => group.allGather('values', values[group.rank])));
    for (const answer of answers) expect(answer).toEqual(values);
    expect(Object.is((answers[1]![1] as number[])[0], -0)).toBe(true);

    // Calls may overlap; each gets its own.
    const bytes = groups.flatMap((group) => [
      group.allGatherBytes('bytes', new Uint8Array(3_000_000 * group.rank).fill(group.rank)),
      group.broadcast('from rank 0', group.isMain ? ['x'] : undefined),
    ]);
    const [first, second, , , third, fourth] = (await Promise.all(bytes)) as [
      Uint8Array[],
      string[],
      ...Uint8Array[][],
    ];
    expect(first.map((part) => part.length)).toEqual([0, 3_000_000, 6_000_000]);
    expect(third![2]!.every((value) => value === 2)).toBe(true);
    expect([second, fourth]).toEqual([['x'], ['x']]);

    await expect(groups[1]!.allGather('never', 1, AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    const one = groups[1]!.begin('training');
    expect(() => one.end()).not.toThrow();
    expect(groups.map(({ isRescuer }) => isRescuer)).toEqual([true, false, false]);
    expect(groups.some(({ failure }) => failure.aborted)).toBe(false);
  });

  it('exchanges bytes from rank to rank, each for its receiver alone', async () => {
    groups = await joinRanks(3);
    const large = new Uint8Array(20_000_000).map((_, i) => i % 251);
    const given: ReadonlyMap<number, Uint8Array>[] = [
      new Map([
        [1, large],
        [2, Uint8Array.of(7)],
      ]),
      new Map([[2, large.subarray(1, 1_000_002)]]),
      new Map([
        [0, new Uint8Array(0)],
        [1, Uint8Array.of(9)],
      ]),
    ];
    const calls = groups.flatMap((group, rank) => [
      group.exchangeBytes!('moves', given[rank]!),
      // Calls may overlap, and nobody has to have anything.
      group.exchangeBytes!('nothing', new Map()),
      group.allGather('after', rank),
    ]);
    given[2]!.get(1)!.fill(0);
    const answers = await Promise.all(calls);
    const [first, second, third] = [0, 3, 6].map((at) => answers[at] as Map<number, Uint8Array>);
    expect([...first!]).toEqual([[2, new Uint8Array(0)]]);
    expect([...second!.keys()].sort()).toEqual([0, 2]);
    expect(Buffer.compare(second!.get(0)!, large)).toBe(0);
    expect(second!.get(2)).toEqual(Uint8Array.of(9));
    expect(third!.get(0)).toEqual(Uint8Array.of(7));
    expect(Buffer.compare(third!.get(1)!, large.subarray(1, 1_000_002))).toBe(0);
    expect([1, 4, 7].map((at) => (answers[at] as Map<number, Uint8Array>).size)).toEqual([0, 0, 0]);
    expect([2, 5, 8].map((at) => answers[at])).toEqual(Array(3).fill([0, 1, 2]));
    for (const stray of [3, -1, 0.5]) {
      const call = groups[0]!.exchangeBytes!('moves', new Map([[stray, Uint8Array.of(1)]]));
      await expect(call).rejects.toThrow(`expected parts for ranks 0 to 2, got one for ${stray}`);
    }
    // Which was no call of the group.
    expect(await Promise.all(groups.map((group) => group.allGather('later', 1)))).toHaveLength(3);
  });

  it('names who leaves before an exchange, and who asks for something else', async () => {
    groups = await joinRanks(3);
    const part = new Map([[2, Uint8Array.of(1)]]);
    const waiting = outcomes([0, 1].map((rank) => groups[rank]!.exchangeBytes!('moves of window 3', part)));
    await groups[2]!.close();
    for (const summary of await waiting) {
      expect(summary).toMatch(/rank 2 .* (did not come to|was lost before it came to) moves of window 3: it has left/);
    }
    await closeAll(groups);
    groups = await joinRanks(2);
    const given = [groups[0]!.exchangeBytes!('moves', new Map()), groups[1]!.allGather('window 4', 1)];
    for (const summary of await outcomes(given)) {
      expect(summary).toMatch(/^the ranks are not at the same point: rank . .* asks for (moves|window 4), rank . /);
    }
  });

  it('ends on all ranks with the error of one', async () => {
    groups = await joinRanks(3);
    const waiting = [0, 1].map((rank) => groups[rank]!.allGather('losses', 1));
    groups[2]!.fail(new TrainingError('the loss is NaN', { hint: 'Lower the learning rate.' }));
    const said = 'rank 2 (process';
    for (const summary of await outcomes(waiting)) {
      expect(summary).toContain(said);
      expect(summary).toContain('has failed: the loss is NaN');
    }
    const reasons = groups.map(({ failure }) => failure.reason as DistributedError);
    expect(reasons.map(({ rank }) => rank)).toEqual([2, 2, 2]);
    expect(reasons[0]).toBeInstanceOf(DistributedError);
    expect(reasons[0]!.hint).toBe('Lower the learning rate.');
    expect(reasons[2]!.cause).toBeInstanceOf(TrainingError);
    await expect(groups[0]!.allGather('later', 1)).rejects.toBe(reasons[0]);
    // The failed one lives, and rank 0 saves.
    expect(groups.map(({ isRescuer }) => isRescuer)).toEqual([true, false, false]);
  });

  it('names ranks that make different calls', async () => {
    groups = await joinRanks(2);
    const [one, other] = await outcomes([groups[0]!.allGather('losses', 1), groups[1]!.allGather('versions', 1)]);
    expect(one).toMatch(/^the ranks are not at the same point: rank . .* asks for (losses|versions), rank . /);
    expect(other).toBe(one);
  });

  it('counts on a rank from begin to end, and on each for its calls', async () => {
    groups = await joinRanks(3);
    // Has ended its part: the others go on.
    groups[1]!.begin('training').end();
    const training = groups[0]!.begin('training');
    await groups[1]!.close();
    await groups[2]!.allGather('x', 1, AbortSignal.timeout(50)).catch(() => undefined);
    // But not where it is needed.
    await expect(groups[0]!.allGather('x', 1)).rejects.toThrow(/rank 1 .* did not come to x: it has left the group/);
    training.end();
  });

  it('loses rank 0 and with it the hub: the lowest of each machine saves', async () => {
    groups = await joinRanks(3);
    groups[0]!.begin('training');
    const waiting = outcomes([1, 2].map((rank) => groups[rank]!.allGather('losses', 1)));
    await groups[0]!.close();
    for (const summary of await waiting) expect(summary).toMatch(/rank 0 .*was lost during training: it has left/);
    expect(groups.slice(1).map(({ isRescuer }) => isRescuer)).toEqual([true, false]);
  });
});
