/** The thread's side of a rank that talks to the hub over a connection, and of rank 0, which has the hub. */

import type { Framed } from './frames.js';
import { GroupHub } from './hub.js';
import { HubClient } from './hub-client.js';
import { type Arrival, HubServer, RendezvousError } from './hub-server.js';
import type { FromRank, Piece, RankIdentity, ToRank } from './messages.js';
import { answersTo, describeRank, listRanks } from './messages.js';
import { Peer } from './peer.js';
import type { WorkerSettings } from './worker-protocol.js';

/** What both sides do for their main thread. */
export interface Side {
  /** @returns all ranks, when they have met @throws RendezvousError */
  join(): Promise<readonly RankIdentity[]>;
  send(message: FromRank): void;
  /** The last message; resolves when all has gone out. */
  leave(message: FromRank): Promise<void>;
  /** Who is missing, for a notice. */
  readonly waitingFor: string;
  /** The end of the wait; undefined where another decides about it. */
  timeoutError(): RendezvousError | undefined;
}

/** Frames of the rendezvous itself; all others are the hub's and its ranks'. */
type Complete = { readonly type: 'complete'; readonly identities: readonly RankIdentity[] };

export class HubSide implements Side {
  readonly #settings: WorkerSettings;
  readonly #receive: (message: ToRank) => void;
  readonly #server: HubServer;
  readonly #peers = new Map<number, Peer>();
  #hub: GroupHub | undefined;
  #complete: ((identities: readonly RankIdentity[]) => void) | undefined;
  #fail: ((error: RendezvousError) => void) | undefined;

  constructor(settings: WorkerSettings, receive: (message: ToRank) => void) {
    this.#settings = settings;
    this.#receive = receive;
    this.#server = new HubServer(
      settings,
      settings.own,
      (arrival) => this.#arrive(arrival),
      (error) => this.#refuseAll(error),
    );
  }

  async join(): Promise<readonly RankIdentity[]> {
    const met = new Promise<readonly RankIdentity[]>((resolve, reject) => {
      this.#complete = resolve;
      this.#fail = reject;
    });
    met.catch(() => undefined);
    await this.#server.listen();
    return met;
  }

  send(message: FromRank): void {
    this.#hub?.receive(0, message);
  }

  async leave(message: FromRank): Promise<void> {
    if (this.#hub) this.#hub.receive(0, message);
    else this.#refuseAll(new RendezvousError({ rank: 0, message: endedEarly(message, this.#settings.own) }));
    this.#server.close();
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()));
  }

  get waitingFor(): string {
    return `waiting for ${listRanks(this.#server.missing)} of ${this.#settings.own.worldSize}${this.#server.others}`;
  }

  timeoutError(): RendezvousError {
    const error = this.#server.timeoutError(this.#settings.seconds);
    this.#refuseAll(error);
    return error;
  }

  #arrive({ identity, socket, rest }: Arrival): void {
    const { rank } = identity;
    const lost = (how: string): void => {
      if (this.#hub) {
        this.#hub.lose(rank, how);
        return;
      }
      const message = `${describeRank(rank, identity)} ended before all ranks had come: it ${how}`;
      this.#refuseAll(new RendezvousError({ rank, message, hint: 'Its own output says why.' }));
    };
    const peer = new Peer(socket, this.#settings.times, (message) => this.#hear(rank, message), lost, rest);
    this.#peers.set(rank, peer);
    if (this.#server.missing.length > 0) return;
    const { identities } = this.#server;
    const local = { send: this.#receive };
    this.#hub = new GroupHub(identities, [local, ...identities.slice(1).map((one) => this.#peers.get(one.rank)!)]);
    for (const one of this.#peers.values()) one.send({ type: 'complete', identities } satisfies Complete as Framed);
    this.#complete?.(identities);
  }

  #hear(rank: number, message: Framed): void {
    const known = checkedMessage(message, this.#settings.own.worldSize);
    if (known && this.#hub) this.#hub.receive(rank, known);
    else if (message.type === 'leave' || !known) {
      const how = known ? 'has left' : 'broke the protocol: it sent a message of an unknown form';
      if (this.#hub) this.#hub.lose(rank, how);
      else {
        const why = known?.type === 'leave' && known.fault ? `: ${known.fault.message}` : '';
        const name = describeRank(
          rank,
          this.#server.identities.find((one) => one.rank === rank),
        );
        this.#refuseAll(new RendezvousError({ rank, message: `${name} ended before all ranks had come${why}` }));
      }
    }
  }

  /** Ends a rendezvous that cannot succeed. */
  #refuseAll(error: RendezvousError): void {
    if (this.#hub) return;
    for (const peer of this.#peers.values()) peer.send({ type: 'failure', failure: error.failure } as Framed);
    for (const peer of this.#peers.values()) void peer.close();
    this.#server.refuseAll(error);
    this.#fail?.(error);
  }
}

export class RankSide implements Side {
  readonly #settings: WorkerSettings;
  readonly #receive: (message: ToRank) => void;
  readonly #client: HubClient;
  #peer: Peer | undefined;
  /** What the others count on rank 0 for. */
  #mainBusy: string | undefined;
  #isMainGone = false;
  readonly #asked = new Map<number, { readonly what: string; missing: number }>();

  constructor(settings: WorkerSettings, receive: (message: ToRank) => void) {
    this.#settings = settings;
    this.#receive = receive;
    this.#client = new HubClient(settings, settings.own);
  }

  async join(): Promise<readonly RankIdentity[]> {
    const { socket, rest } = await this.#client.join();
    return new Promise((resolve, reject) => {
      let isComplete = false;
      const hear = (message: Framed): void => {
        if (message.type === 'complete') {
          isComplete = true;
          resolve((message as unknown as Complete).identities);
        } else if (isComplete) this.#hear(message as ToRank);
        else if (message.type === 'failure') {
          reject(new RendezvousError((message as ToRank & { type: 'failure' }).failure));
        }
      };
      const lost = (how: string): void => {
        if (isComplete) this.#lose(how);
        else reject(new RendezvousError({ rank: 0, message: `rank 0 ended before all ranks had come: it ${how}` }));
      };
      this.#peer = new Peer(socket, this.#settings.times, hear, lost, rest);
    });
  }

  send(message: FromRank): void {
    if (message.type === 'call') {
      const { sequence, what } = message;
      this.#asked.set(sequence, { what, missing: answersTo(message, this.#settings.own.worldSize) });
      if (this.#isMainGone) this.#failMain(`rank 0 did not come to ${what}: it has ended`);
    }
    this.#peer?.send(message);
  }

  async leave(message: FromRank): Promise<void> {
    this.#client.close();
    this.#peer?.send(message);
    await this.#peer?.close();
  }

  get waitingFor(): string {
    const { own, masterAddr, ports } = this.#settings;
    if (this.#peer) return '';
    return `rank ${own.rank} of ${own.worldSize} looks for rank 0 at ${masterAddr}, ports ${ports[0]} to ${ports.at(-1)} (${this.#client.findings})`;
  }

  timeoutError(): RendezvousError | undefined {
    // Once it has joined, the hub says how it ends.
    if (this.#peer) return undefined;
    this.#client.close();
    return this.#client.timeoutError();
  }

  #hear(message: ToRank): void {
    if (message.type === 'main') this.#mainBusy = message.isBusy;
    else if (message.type === 'gone' && message.rank === 0) this.#isMainGone = true;
    else if (message.type === 'failure') this.#asked.clear();
    else if (message.type === 'part' || message.type === 'pieces') {
      const asked = this.#asked.get(message.sequence);
      if (asked && --asked.missing === 0) this.#asked.delete(message.sequence);
    }
    this.#receive(message);
  }

  /** The connection to the hub is no more. */
  #lose(how: string): void {
    const waiting = this.#asked.values().next().value?.what;
    const where = this.#mainBusy ? ` during ${this.#mainBusy}` : waiting ? ` before it came to ${waiting}` : '';
    if (where && !this.#isMainGone) this.#failMain(`rank 0 was lost${where}: it ${how}`);
    else if (waiting) this.#failMain(`rank 0 did not come to ${waiting}: it has ended`);
    this.#isMainGone = true;
    this.#receive({ type: 'gone', rank: 0 });
  }

  #failMain(message: string): void {
    this.#receive({ type: 'failure', failure: { rank: 0, message, gone: [0] } });
  }
}

/** Of a rank that has proven itself: a message that the hub knows. */
function checkedMessage(message: Framed, worldSize: number): FromRank | undefined {
  const { type, what, sequence, to, body, fault, exitCode } = message as Framed & Record<string, unknown>;
  const isText = typeof what === 'string' && what.length < 10_000;
  if (type === 'begin') return isText ? { type, what } : undefined;
  if (type === 'end') return { type };
  if (type === 'call') {
    if (!isText || !Number.isInteger(sequence) || !(body instanceof Uint8Array)) return undefined;
    if (to === undefined) return { type, what, sequence: sequence as number, body };
    return isPieces(to, body.length, worldSize) ? { type, what, sequence: sequence as number, to, body } : undefined;
  }
  const { name, code, message: text, hint } = (fault ?? {}) as Record<string, unknown>;
  const isOptional = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string';
  const isFault = typeof name === 'string' && typeof text === 'string' && isOptional(code) && isOptional(hint);
  if (type === 'fail') return isFault ? { type, fault: { name, code, message: text, hint } } : undefined;
  if (type !== 'leave') return undefined;
  const exit = Number.isInteger(exitCode) ? { exitCode: exitCode as number } : {};
  return { type, ...exit, ...(isFault ? { fault: { name, code, message: text, hint } } : {}) };
}

/** Whether these are pieces of a body of so many bytes, each for another rank. */
function isPieces(to: unknown, bytes: number, worldSize: number): to is Piece[] {
  if (!Array.isArray(to) || new Set(to.map((piece) => piece?.[0])).size !== to.length) return false;
  const isCount = (number: unknown): number is number => Number.isSafeInteger(number) && (number as number) >= 0;
  let sum = 0;
  for (const [rank, length] of to.map((piece) => (Array.isArray(piece) ? piece : []))) {
    if (!isCount(rank) || rank >= worldSize || !isCount(length)) return false;
    sum += length;
  }
  return sum === bytes;
}

function endedEarly(message: FromRank, own: RankIdentity): string {
  const why = message.type === 'leave' && message.fault ? `: ${message.fault.message}` : '';
  return `${describeRank(0, own)} ended before all ranks had come${why}`;
}
