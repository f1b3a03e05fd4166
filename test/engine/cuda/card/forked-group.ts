/** A group of ranks that one program forks, which carries their messages: for programs that try the card alone. */
import { type ChildProcess, fork } from 'node:child_process';
import type { ProcessGroup } from '../../../../src/distributed/process-group.js';
import { DistributedError } from '../../../../src/errors.js';

interface Gather {
  readonly what: string;
  readonly values: unknown[];
  arrived: number;
}

/** Messages of a rank to the program, and back. */
type Said = { readonly value: unknown; readonly what: string; readonly at: number };
type Heard = { readonly values: unknown[]; readonly at: number } | { readonly lost: number };

export interface ForkedRanks {
  readonly children: readonly ChildProcess[];
  /** Exit codes or signals, by rank. */
  readonly ends: Promise<(number | string | null)[]>;
}

/** @param environmentOf of each rank, over that of this process */
export function forkRanks(
  worldSize: number,
  args: readonly string[],
  environmentOf: (rank: number) => Record<string, string>,
): ForkedRanks {
  const gathers = new Map<number, Gather>();
  const children = Array.from({ length: worldSize }, (_, rank) => {
    const places = { RANK: rank, LOCAL_RANK: rank, WORLD_SIZE: worldSize, LOCAL_WORLD_SIZE: worldSize };
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      MASTER_ADDR: '127.0.0.1',
      MASTER_PORT: '29500',
      ...environmentOf(rank),
    };
    for (const [name, value] of Object.entries(places)) env[name] = String(value);
    return fork(process.argv[1]!, [...args], { env, serialization: 'advanced' });
  });
  const tell = (heard: Heard): void => {
    for (const child of children) if (child.connected) child.send(heard, () => {});
  };
  const ends = children.map((child, rank) => {
    child.on('message', ({ value, what, at }: Said) => {
      const gather = gathers.get(at) ?? { what, values: [], arrived: 0 };
      gathers.set(at, gather);
      if (gather.what !== what) throw new Error(`rank ${rank} says ${what}, another ${gather.what}`);
      gather.values[rank] = value;
      if (++gather.arrived === worldSize) tell({ values: gather.values, at });
    });
    return new Promise<number | string | null>((resolve) => {
      child.on('exit', (code, signal) => {
        if (code !== 0) tell({ lost: rank });
        resolve(signal ?? code);
      });
    });
  });
  return { children, ends: Promise.all(ends) };
}

/** That of a forked rank. */
export function forkedGroup(): ProcessGroup {
  const { RANK, WORLD_SIZE } = process.env;
  const [rank, worldSize] = [Number(RANK), Number(WORLD_SIZE)];
  const failure = new AbortController();
  const waiting = new Map<number, { resolve(values: unknown[]): void; reject(error: unknown): void }>();
  let calls = 0;
  process.on('message', (heard: Heard) => {
    if ('values' in heard) {
      waiting.get(heard.at)?.resolve(heard.values);
      waiting.delete(heard.at);
      return;
    }
    const { lost } = heard;
    failure.abort(new DistributedError(`rank ${lost} was lost: its connection closed`, { rank: lost }));
    for (const { reject } of waiting.values()) reject(failure.signal.reason);
    waiting.clear();
  });
  const gather = (what: string, value: unknown): Promise<unknown[]> => {
    const at = calls++;
    return new Promise((resolve, reject) => {
      failure.signal.throwIfAborted();
      waiting.set(at, { resolve, reject });
      process.send!({ value, what, at } satisfies Said);
    });
  };
  return {
    ...{ rank, worldSize, localRank: rank, localWorldSize: worldSize, isMain: rank === 0 },
    allGather: <T>(what: string, value: T) => gather(what, value) as Promise<T[]>,
    allGatherBytes: (what, value) => gather(what, value) as Promise<Uint8Array[]>,
    broadcast: async <T>(what: string, value: T | undefined) => (await gather(what, value))[0] as T,
    begin: () => ({ end: () => {} }),
    failure: failure.signal,
    fail: (error) => failure.abort(error),
    isRescuer: rank === 0,
    close: async () => process.disconnect(),
  };
}
