/** The group as one rank sees it, over whatever carries its messages to the hub. */
import { onAbort } from '../async/on-abort.js';
import { DistributedError, reasonOf, TuneError } from '../errors.js';
import {
  decodeValue,
  encodeValue,
  type Failure,
  type Fault,
  type FromRank,
  type Piece,
  piecesOf,
  type RankIdentity,
  type ToRank,
} from './messages.js';
import { notice } from './notice.js';
import type { ProcessGroup, RankPlace } from './process-group.js';

/** Carries messages to the hub and back. */
interface GroupLink {
  /** @param transfer buffers that may be moved */
  send(message: FromRank, transfer?: ArrayBuffer[]): void;
  /** Whether the process must stay for an answer. */
  keepAlive(isNeeded: boolean): void;
  /** Leaves; resolves when what was sent has gone out. */
  close(): Promise<void>;
}

interface PendingCall {
  readonly what: string;
  readonly parts: (Uint8Array | undefined)[];
  missing: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** What a call comes to: the values of all ranks, or one body with the pieces for this one. */
interface Answer {
  readonly parts: readonly Uint8Array[];
  readonly from: readonly Piece[];
}

/** What a call gives: its value, or pieces for some ranks. */
interface Given {
  readonly body: Uint8Array;
  readonly to?: readonly Piece[] | undefined;
}

export class GroupMember implements ProcessGroup {
  readonly rank: number;
  readonly worldSize: number;
  readonly localRank: number;
  readonly localWorldSize: number;
  readonly isMain: boolean;
  readonly failure: AbortSignal;
  readonly #controller = new AbortController();
  readonly #identities: readonly RankIdentity[];
  readonly #link: GroupLink;
  readonly #calls = new Map<number, PendingCall>();
  readonly #gone = new Set<number>();
  readonly #begun: string[] = [];
  #sequence = 0;
  #isClosed = false;

  constructor(place: RankPlace, identities: readonly RankIdentity[], link: GroupLink) {
    this.rank = place.rank;
    this.worldSize = place.worldSize;
    this.localRank = place.localRank;
    this.localWorldSize = place.localWorldSize;
    this.isMain = place.rank === 0;
    this.failure = this.#controller.signal;
    this.#identities = identities;
    this.#link = link;
  }

  async allGather<T>(what: string, value: T, signal?: AbortSignal): Promise<T[]> {
    const { parts } = await this.#call(what, { body: encodeValue(value) }, signal);
    return parts.map((part) => decodeValue(part) as T);
  }

  async allGatherBytes(what: string, value: Uint8Array, signal?: AbortSignal): Promise<Uint8Array[]> {
    // A copy: the caller's bytes may change while they wait.
    const { parts } = await this.#call(what, { body: new Uint8Array(value) }, signal);
    return [...parts];
  }

  async exchangeBytes(
    what: string,
    parts: ReadonlyMap<number, Uint8Array>,
    signal?: AbortSignal,
  ): Promise<Map<number, Uint8Array>> {
    const to = [...parts].map(([rank, bytes]): Piece => [rank, bytes.length]);
    const stray = to.find(([rank]) => !(Number.isInteger(rank) && rank >= 0 && rank < this.worldSize));
    if (stray) {
      throw new DistributedError(
        `${what}: expected parts for ranks 0 to ${this.worldSize - 1}, got one for ${stray[0]}`,
      );
    }
    const body = new Uint8Array(to.reduce((sum, [, bytes]) => sum + bytes, 0));
    let at = 0;
    for (const bytes of parts.values()) {
      body.set(bytes, at);
      at += bytes.length;
    }
    const { parts: got, from } = await this.#call(what, { body, to }, signal);
    return new Map(piecesOf(from, got[0]!).map(({ rank, bytes }) => [rank, bytes]));
  }

  async broadcast<T>(what: string, value: T | undefined, signal?: AbortSignal): Promise<T> {
    const { parts } = await this.#call(what, { body: encodeValue(this.isMain ? value : undefined) }, signal);
    return decodeValue(parts[0]!) as T;
  }

  begin(what: string): { end(): void } {
    if (this.failure.aborted) {
      const reason = this.failure.reason as DistributedError;
      const message = `${what} cannot begin: the ranks have lost each other before: ${reason.summary}`;
      const hint = 'They do not come together again: start all processes anew. `resumeFromCheckpoint` goes on.';
      throw new DistributedError(message, { rank: reason.rank, hint, cause: reason });
    }
    this.#requireOpen(what);
    this.#begun.push(what);
    if (this.#begun.length === 1) this.#link.send({ type: 'begin', what });
    let isEnded = false;
    return {
      end: () => {
        if (isEnded) return;
        isEnded = true;
        this.#begun.pop();
        if (this.#begun.length === 0 && !this.#isClosed) this.#link.send({ type: 'end' });
      },
    };
  }

  fail(error: unknown): void {
    if (this.failure.aborted || this.#isClosed) return;
    this.#link.send({ type: 'fail', fault: faultOf(error) });
    const message = `rank ${this.rank} of ${this.worldSize} has failed: ${reasonOf(error)}`;
    this.receiveFailure(new DistributedError(message, { rank: this.rank, cause: error }));
  }

  get isRescuer(): boolean {
    const isLeft = (rank: number): boolean => !this.#gone.has(rank);
    const left = this.#identities.filter(({ rank }) => isLeft(rank));
    const { machine } = this.#identities[this.rank]!;
    const candidates = isLeft(0) ? left : left.filter((one) => one.machine === machine);
    return candidates[0]?.rank === this.rank;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const call of this.#calls.values()) {
      call.reject(new DistributedError(`this rank has left the group while it waited for ${call.what}`));
    }
    this.#calls.clear();
    await this.#link.close();
  }

  /** What the hub says. */
  receive(message: ToRank): void {
    if (message.type === 'part') this.#take(message.sequence, message.rank, message.body);
    else if (message.type === 'pieces') {
      this.#calls.get(message.sequence)?.resolve({ parts: [message.body], from: message.from });
    } else if (message.type === 'gone') this.#gone.add(message.rank);
    else if (message.type === 'failure') {
      for (const rank of message.failure.gone) this.#gone.add(rank);
      this.receiveFailure(errorOf(message.failure));
    }
  }

  /** The group has failed, whatever carries its messages. */
  receiveFailure(reason: DistributedError): void {
    if (this.failure.aborted) return;
    this.#controller.abort(reason);
    for (const call of [...this.#calls.values()]) call.reject(reason);
  }

  /** Whether the others count on this rank, or it on them. */
  get isBusy(): boolean {
    return this.#begun.length > 0 || this.#calls.size > 0;
  }

  #call(what: string, { body, to }: Given, signal?: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      this.#requireOpen(what);
      const sequence = this.#sequence++;
      const forget = onAbort(signal, () => settle(() => reject(signal!.reason)));
      const settle = (answer: () => void): void => {
        forget();
        clearTimeout(noticing);
        this.#calls.delete(sequence);
        this.#link.keepAlive(this.#calls.size > 0);
        answer();
      };
      // Slow ones are waited for; those that never come are a mistake of the program.
      let seconds = NOTICE_SECONDS;
      const say = (): void => {
        notice(`rank ${this.rank} has waited ${seconds} s for the others to come to ${what}`);
        noticing = setTimeout(say, seconds * 1000).unref();
        seconds *= 2;
      };
      let noticing = setTimeout(say, seconds * 1000).unref();
      this.#calls.set(sequence, {
        what,
        parts: new Array(this.worldSize).fill(undefined),
        missing: this.worldSize,
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      });
      this.#link.keepAlive(true);
      this.#link.send({ type: 'call', sequence, what, ...(to && { to }), body }, [body.buffer as ArrayBuffer]);
    });
  }

  #take(sequence: number, rank: number, body: Uint8Array): void {
    const call = this.#calls.get(sequence);
    if (!call || call.parts[rank] !== undefined) return;
    call.parts[rank] = body;
    call.missing--;
    if (call.missing === 0) call.resolve({ parts: call.parts as Uint8Array[], from: [] });
  }

  #requireOpen(what: string): void {
    this.failure.throwIfAborted();
    if (this.#isClosed) throw new DistributedError(`${what}: this rank has left the group`, { rank: this.rank });
  }
}

/** What the others learn of an error. */
export function faultOf(error: unknown): Fault {
  const message = reasonOf(error).slice(0, MAX_TEXT) || 'an error without a message';
  const name = error instanceof Error ? error.name : 'Error';
  if (!(error instanceof TuneError)) return { name, message: name === 'Error' ? message : `${name}: ${message}` };
  return { name, code: error.code, message, hint: error.hint?.slice(0, MAX_TEXT) };
}

export function errorOf({ rank, message, hint, fault }: Failure): DistributedError {
  return new DistributedError(message, {
    rank,
    hint: hint ?? fault?.hint,
    details: { ...(rank !== undefined && { rank }), ...(fault && { error: fault }) },
  });
}

/** After so long a rank says for what it waits; then after twice as long, and so on. */
const NOTICE_SECONDS = 60;
/** Far below what a message may hold. */
const MAX_TEXT = 4000;
