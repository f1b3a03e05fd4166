/** Ranks of one group in this process, over the loopback device. */
import { createServer } from 'node:net';
import { joinGroup } from '../../src/distributed/join-group.js';
import type { ProcessGroup } from '../../src/distributed/process-group.js';
import type { LaunchPlace } from '../../src/distributed/rank-place.js';

type JoinOptions = Parameters<typeof joinGroup>[1];

export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function placeOf(rank: number, worldSize: number, masterPort: number): LaunchPlace {
  return {
    ...{ launcher: 'torchrun', rank, worldSize, localRank: rank, localWorldSize: worldSize },
    ...{ masterAddr: '127.0.0.1', masterPort, jobId: '', isPortTaken: false },
  };
}

/** @param changes of some ranks */
export async function joinRanks(
  worldSize: number,
  options: JoinOptions = {},
  changes: Readonly<Record<number, Partial<LaunchPlace>>> = {},
): Promise<ProcessGroup[]> {
  const port = await freePort();
  const places = Array.from({ length: worldSize }, (_, rank) => ({
    ...placeOf(rank, worldSize, port),
    ...changes[rank],
  }));
  return Promise.all(places.map((place) => joinGroup(place, { env: {}, times: { retryMs: 50 }, ...options })));
}

export async function closeAll(groups: readonly ProcessGroup[]): Promise<void> {
  await Promise.all(groups.map((group) => group.close()));
}
