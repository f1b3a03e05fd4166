/** Ranks within one process, for tests: they hear each other as processes do, and are killed and stopped as these are. */
import { orAborted } from '../../src/async/or-aborted.js';
import { decodeValue, encodeValue } from '../../src/distributed/messages.js';
import type { ProcessGroup } from '../../src/distributed/process-group.js';
import { DistributedError, reasonOf } from '../../src/errors.js';

interface Call {
  readonly what: string;
  readonly values: unknown[];
  readonly waiting: { resolve(values: unknown[]): void; reject(error: unknown): void }[];
  missing: number;
}

/** What becomes of one rank. */
interface Member {
  readonly controller: AbortController;
  /** Calls that it has made. */
  calls: number;
  /** Nothing that it calls is answered any more, as of a process that is killed or stopped. */
  isGone: boolean;
  begun: string[];
}

export interface MemoryWorldOptions {
  /** The machine of each rank, by any name. Default: one for all. */
  readonly machines?: readonly string[];
}

/** Makes the groups of so many ranks. */
export class MemoryWorld {
  readonly groups: readonly ProcessGroup[];
  /** What each rank has called, in order, for tests of the order. */
  readonly log: string[][] = [];
  readonly #members: Member[];
  readonly #calls: Call[] = [];
  readonly #machines: readonly string[];
  #first: DistributedError | undefined;

  constructor(worldSize: number, { machines }: MemoryWorldOptions = {}) {
    this.#machines = machines ?? Array.from({ length: worldSize }, () => 'here');
    this.#members = Array.from({ length: worldSize }, () => {
      return { controller: new AbortController(), calls: 0, isGone: false, begun: [] };
    });
    this.groups = this.#members.map((_, rank) => this.#group(rank));
  }

  /** As SIGKILL: the connection closes at once. */
  kill(rank: number): void {
    this.#lose(rank, 'its connection was closed');
  }

  /** As SIGSTOP: no sign of life comes any more, which the others find out in a while. */
  stop(rank: number, afterMs = 5): void {
    this.#members[rank]!.isGone = true;
    setTimeout(() => this.#lose(rank, 'it has given no sign of life'), afterMs);
  }

  #lose(rank: number, why: string): void {
    const member = this.#members[rank]!;
    member.isGone = true;
    const [what] = member.begun;
    if (what === undefined) return;
    this.#failAll(new DistributedError(`rank ${rank} was lost during ${what}: ${why}`, { rank }));
  }

  #failAll(error: DistributedError): void {
    if (this.#first) return;
    this.#first = error;
    for (const call of this.#calls.splice(0)) for (const { reject } of call?.waiting ?? []) reject(error);
    for (const { controller, isGone } of this.#members) if (!isGone) controller.abort(error);
  }

  #call(rank: number, what: string, value: unknown): Promise<unknown[]> {
    const member = this.#members[rank]!;
    if (member.isGone) return new Promise(() => {});
    if (this.#first) return Promise.reject(this.#first);
    const at = member.calls++;
    this.log[rank] = [...(this.log[rank] ?? []), what];
    const { length } = this.#members;
    this.#calls[at] ??= { what, values: new Array(length), waiting: [], missing: length };
    const call = this.#calls[at]!;
    if (call.what !== what) {
      this.#failAll(new DistributedError(`rank ${rank} calls "${what}" where another calls "${call.what}"`, { rank }));
      return Promise.reject(this.#first);
    }
    call.values[rank] = value;
    return new Promise((resolve, reject) => {
      call.waiting.push({ resolve, reject });
      if (--call.missing > 0) return;
      delete this.#calls[at];
      // Not at once: a message takes its time, and each rank gets it at another.
      call.waiting.forEach(({ resolve: answer }) => {
        setImmediate(() => answer(call.values));
      });
    });
  }

  #group(rank: number): ProcessGroup {
    const world = this;
    const member = this.#members[rank]!;
    const here = this.#machines[rank];
    const sameMachine = this.#machines.flatMap((machine, other) => (machine === here ? [other] : []));
    const alive = (other: number): boolean => !world.#members[other]!.isGone;
    const own = <T>(value: T): T => decodeValue(encodeValue(value)) as T;
    return {
      rank,
      worldSize: this.#members.length,
      localRank: sameMachine.indexOf(rank),
      localWorldSize: sameMachine.length,
      isMain: rank === 0,
      allGather: async <T>(what: string, value: T, signal?: AbortSignal) => {
        const values = (await orAborted(this.#call(rank, what, own(value)), signal)) as T[];
        return values.map(own);
      },
      allGatherBytes: async (what, value) => {
        const values = (await this.#call(rank, what, value.slice())) as Uint8Array[];
        return values.map((bytes) => bytes.slice());
      },
      exchangeBytes: async (what, parts) => {
        const own = new Map([...parts].map(([to, bytes]) => [to, bytes.slice()]));
        const given = (await this.#call(rank, what, own)) as (typeof own)[];
        return new Map(given.flatMap((from, other) => (from.has(rank) ? [[other, from.get(rank)!] as const] : [])));
      },
      broadcast: async <T>(what: string, value: T | undefined) => {
        const values = (await this.#call(rank, what, own(value))) as T[];
        return own(values[0]!);
      },
      begin(what) {
        member.begun.push(what);
        let isOver = false;
        return {
          end: () => {
            if (!isOver) member.begun = member.begun.slice(0, -1);
            isOver = true;
          },
        };
      },
      failure: member.controller.signal,
      fail: (error) => {
        if (member.isGone) return;
        this.#failAll(
          error instanceof DistributedError
            ? error
            : new DistributedError(`rank ${rank} has failed: ${reasonOf(error)}`, { rank, cause: error }),
        );
      },
      get isRescuer() {
        const candidates = alive(0) ? world.#members.map((_, other) => other) : sameMachine;
        return candidates.find(alive) === rank;
      },
      close: async () => undefined,
    };
  }
}
