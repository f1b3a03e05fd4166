/**
 * What rank 0 keeps for all: the values of collective calls until every rank has given its own, who counts on whom, and
 * the first failure. It knows no sockets.
 */
import {
  describeRank,
  type Failure,
  type FromRank,
  listRanks,
  type Piece,
  piecesOf,
  type RankIdentity,
  type ToRank,
} from './messages.js';

/** How the hub reaches a rank. */
interface RankPort {
  send(message: ToRank): void;
  /** What was sent has left this process. */
  flushed?(): Promise<void>;
}

interface Call {
  readonly what: string;
  /** The rank that came first. */
  readonly first: number;
  readonly bodies: Map<number, Uint8Array>;
  /** What each rank has given for which: of an exchange. */
  readonly pieces: Map<number, Given[]> | undefined;
}

/** A piece for one rank. */
interface Given {
  readonly from: number;
  readonly bytes: Uint8Array;
}

export class GroupHub {
  readonly #identities: readonly RankIdentity[];
  readonly #ports: readonly RankPort[];
  readonly #calls = new Map<number, Call>();
  /** What the others count on a rank for. */
  readonly #busy = new Map<number, string>();
  /** Ranks that have ended, with what is known of how. */
  readonly #gone = new Map<number, string>();
  #failure: Failure | undefined;

  /** @param ports by rank, as the identities */
  constructor(identities: readonly RankIdentity[], ports: readonly RankPort[]) {
    this.#identities = identities;
    this.#ports = ports;
  }

  isGone(rank: number): boolean {
    return this.#gone.has(rank);
  }

  receive(rank: number, message: FromRank): void {
    if (this.#gone.has(rank)) return;
    if (message.type === 'call') this.#call(rank, message);
    else if (message.type === 'begin') this.#setBusy(rank, message.what);
    else if (message.type === 'end') this.#setBusy(rank, undefined);
    else if (message.type === 'fail') {
      const { fault } = message;
      this.#fail({ rank, message: `${this.#name(rank)} has failed: ${fault.message}`, fault });
    } else {
      const { fault, exitCode } = message;
      if (fault) this.lose(rank, `ended with an error that nobody caught: ${fault.message}`, fault);
      else this.lose(rank, exitCode === undefined ? 'has left the group' : `ended with exit code ${exitCode}`);
    }
  }

  /** A rank has ended, or must be taken for dead. @param how as `its connection closed` */
  lose(rank: number, how: string, fault?: Failure['fault'], hint?: string): void {
    if (this.#gone.has(rank)) return;
    const busy = this.#busy.get(rank);
    this.#gone.set(rank, how);
    this.#busy.delete(rank);
    const waiting = [...this.#calls.values()].find(({ bodies }) => !bodies.has(rank));
    const where = busy !== undefined ? ` during ${busy}` : waiting ? ` before it came to ${waiting.what}` : '';
    if (where) this.#fail({ rank, message: `${this.#name(rank)} was lost${where}: it ${how}`, fault, hint });
    this.#sendAll({ type: 'gone', rank });
  }

  #call(rank: number, { sequence, what, to, body }: FromRank & { type: 'call' }): void {
    if (this.#failure) return;
    let call = this.#calls.get(sequence);
    if (!call) {
      call = { what, first: rank, bodies: new Map(), pieces: to && new Map() };
      this.#calls.set(sequence, call);
    }
    if (call.what !== what || Boolean(call.pieces) !== Boolean(to)) {
      const others = `${this.#name(call.first)} asks for ${call.what}`;
      this.#fail({
        rank,
        message: `the ranks are not at the same point: ${this.#name(rank)} asks for ${what}, ${others}`,
        hint:
          'Every rank runs the same program with the same options, and makes the same calls in the same order: those of a ' +
          'trainer, an evaluator or the group do not belong within `if (isMainProcess())`.',
      });
      return;
    }
    call.bodies.set(rank, body);
    for (const { rank: receiver, bytes } of piecesOf(to ?? [], body)) {
      const given = call.pieces!.get(receiver) ?? [];
      call.pieces!.set(receiver, [...given, { from: rank, bytes }]);
    }
    const gone = [...this.#gone].find(([one]) => !call.bodies.has(one));
    if (gone) {
      const [lost, how] = gone;
      this.#fail({ rank: lost, message: `${this.#name(lost)} did not come to ${what}: it ${how}` });
    } else if (call.bodies.size === this.#identities.length) this.#answer(sequence, call);
  }

  #answer(sequence: number, { bodies, pieces }: Call): void {
    this.#calls.delete(sequence);
    const send = (to: RankPort, receiver: number): void => {
      if (pieces) to.send({ type: 'pieces', sequence, ...joined(pieces.get(receiver) ?? []) });
      else
        for (const [rank] of this.#ports.entries()) to.send({ type: 'part', sequence, rank, body: bodies.get(rank)! });
    };
    const [main, ...others] = this.#ports as [RankPort, ...RankPort[]];
    for (const [i, other] of others.entries()) send(other, i + 1);
    // Rank 0 may end its process with the answer: the others must have theirs by then.
    const flushes = others.flatMap((other, i) => (this.#gone.has(i + 1) ? [] : (other.flushed?.() ?? [])));
    if (flushes.length === 0) send(main, 0);
    else void Promise.allSettled(flushes).then(() => send(main, 0));
  }

  #setBusy(rank: number, what: string | undefined): void {
    if (what === undefined) this.#busy.delete(rank);
    else this.#busy.set(rank, what);
    if (rank === 0) this.#sendAll({ type: 'main', isBusy: what });
  }

  #fail(failure: Omit<Failure, 'gone'>): void {
    if (this.#failure) return;
    this.#failure = { ...failure, gone: [...this.#gone.keys()] };
    this.#calls.clear();
    this.#sendAll({ type: 'failure', failure: this.#failure });
  }

  #sendAll(message: ToRank): void {
    for (const port of this.#ports) port.send(message);
  }

  #name(rank: number): string {
    return describeRank(rank, this.#identities[rank]);
  }

  /** For the end of rank 0: whom it leaves alone. */
  get waiting(): string {
    const busy = [...this.#busy.keys()].filter((rank) => rank !== 0);
    return busy.length === 0 ? '' : listRanks(busy);
  }
}

/** The pieces for one rank as one body. */
function joined(given: readonly Given[]): { readonly from: readonly Piece[]; readonly body: Uint8Array } {
  const from = given.map(({ from, bytes }): Piece => [from, bytes.length]);
  if (given.length === 1) return { from, body: given[0]!.bytes };
  const body = new Uint8Array(from.reduce((sum, [, bytes]) => sum + bytes, 0));
  let at = 0;
  for (const { bytes } of given) {
    body.set(bytes, at);
    at += bytes.length;
  }
  return { from, body };
}
