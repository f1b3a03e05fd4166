import { afterEach, describe, expect, it } from 'vitest';
import type { ProcessGroup } from '../../src/distributed/process-group.js';
import { closeAll, joinRanks } from './join-ranks.js';

let groups: ProcessGroup[] = [];
afterEach(() => closeAll(groups));

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
  });
});
