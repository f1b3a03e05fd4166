import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GroupMember } from '../../src/distributed/group-member.js';
import { encodeValue, type RankIdentity } from '../../src/distributed/messages.js';
import { notice } from '../../src/distributed/notice.js';
import { DistributedError } from '../../src/errors.js';

vi.mock('../../src/distributed/notice.js', () => ({ notice: vi.fn() }));
beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.mocked(notice).mockReset();
  vi.useRealTimers();
});

/** Rank 0 of two, whose hub never answers by itself. */
function member(): GroupMember {
  const place = { rank: 0, worldSize: 2, localRank: 0, localWorldSize: 2 };
  const identities = [0, 1].map((rank): RankIdentity => {
    return { ...place, rank, version: '1', host: 'here', pid: rank, machine: 'here' };
  });
  return new GroupMember(place, identities, {
    send: () => undefined,
    keepAlive: () => undefined,
    close: async () => undefined,
  });
}

describe('a rank that waits', () => {
  it('says so after a minute, then ever less often, until the others have come', async () => {
    const group = member();
    const told = group.allGather('saveModel', 'own');
    await vi.advanceTimersByTimeAsync(59_000);
    expect(notice).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200_000);
    const texts = vi.mocked(notice).mock.calls.map(([text]) => text);
    expect(texts).toEqual(
      [60, 120, 240].map((seconds) => `rank 0 has waited ${seconds} s for the others to come to saveModel`),
    );
    for (const rank of [0, 1]) group.receive({ type: 'part', sequence: 0, rank, body: encodeValue(`of ${rank}`) });
    expect(await told).toEqual(['of 0', 'of 1']);
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect(notice).toHaveBeenCalledTimes(3);
  });
});

describe('a group that has failed', () => {
  it('begins nothing else, and says that the processes are to be started anew', () => {
    const group = member();
    group.receiveFailure(new DistributedError('rank 1 was lost', { rank: 1, hint: 'Look at its output.' }));
    const begin = () => group.begin('training');
    expect(begin).toThrow(DistributedError);
    expect(begin).toThrow(/^training cannot begin: the ranks have lost each other before: rank 1 was lost\n.*anew/);
  });
});
