/** The listening side of the rendezvous, on rank 0: takes ranks that prove the secret, until all are there. */
import { createServer, type Server, type Socket } from 'node:net';
import { findHub } from './find-hub.js';
import { greeting, jobMark, keyOf, newChallenge, parseIntroduction, reply, type Session } from './handshake.js';
import { describeRank, type Failure, listRanks, type RankIdentity } from './messages.js';
import type { RendezvousSettings } from './rendezvous.js';
import { secretPath, writeSecret } from './secret-file.js';

/** A rank that has joined. */
export interface Arrival {
  readonly identity: RankIdentity;
  readonly socket: Socket;
  /** What it sent behind its introduction. */
  readonly rest: Buffer;
}

/** The rendezvous cannot succeed any more. */
export class RendezvousError extends Error {
  readonly failure: Failure;

  constructor(failure: Omit<Failure, 'gone'>) {
    super(failure.message);
    this.failure = { ...failure, gone: [] };
  }
}

/** What a rank gets for an answer. */
export type HubAnswer = { readonly joined: true } | { readonly refused: Omit<Failure, 'gone'> };

/** Connections that have not proven themselves: more are nobody's ranks. */
const MAX_STRANGERS = 256;

export class HubServer {
  readonly #settings: RendezvousSettings;
  readonly #own: RankIdentity;
  readonly #arrive: (arrival: Arrival) => void;
  readonly #fail: (error: RendezvousError) => void;
  readonly #mark: Buffer;
  readonly #identities = new Map<number, RankIdentity>();
  readonly #strangers = new Set<Socket>();
  /** Connections that were turned away, by why. */
  readonly #turnedAway = new Map<string, number>();
  #key: Buffer = Buffer.alloc(0);
  #failed: Omit<Failure, 'gone'> | undefined;
  #server: Server | undefined;

  /**
   * @param arrive called for each rank that joins
   * @param fail called if it becomes clear that the ranks do not belong together
   */
  constructor(
    settings: RendezvousSettings,
    own: RankIdentity,
    arrive: (arrival: Arrival) => void,
    fail: (error: RendezvousError) => void,
  ) {
    this.#settings = settings;
    this.#own = own;
    this.#arrive = arrive;
    this.#fail = fail;
    this.#mark = jobMark(settings.masterPort, settings.jobId);
    this.#identities.set(0, own);
  }

  /** @throws RendezvousError if no port is free, or another rank 0 of the same job listens there */
  async listen(): Promise<void> {
    const { ports, isLocal, secret } = this.#settings;
    for (const port of ports) {
      const server = await listenAt(port, isLocal ? '127.0.0.1' : undefined);
      if (!server) {
        if (!(await findHub(port, this.#mark))) continue;
        throw new RendezvousError({
          rank: 0,
          message: `another rank 0 with MASTER_PORT ${this.#settings.masterPort} listens on port ${port} of this machine`,
          hint: 'Two jobs on one machine need different values of MASTER_PORT, or the earlier one has not ended yet.',
        });
      }
      this.#server = server;
      try {
        this.#key = keyOf(secret ?? writeSecret(secretPath(port)));
      } catch (error) {
        throw new RendezvousError({
          rank: 0,
          message: `the file with the secret of the ranks cannot be made: ${(error as Error).message}`,
          hint: 'Set MINISTRAL_TUNE_SECRET to a long random text for all ranks, or TMPDIR to a folder of this user.',
        });
      }
      server.on('connection', (socket) => this.#greet(socket));
      server.on('error', () => undefined);
      return;
    }
    throw new RendezvousError({
      rank: 0,
      message: `rank 0 finds no free port among ${ports[0]} to ${ports.at(-1)}`,
      hint: 'Set MASTER_PORT to a free port of the machine of rank 0, the same for all ranks.',
    });
  }

  get missing(): number[] {
    const { worldSize } = this.#own;
    return Array.from({ length: worldSize }, (_, rank) => rank).filter((rank) => !this.#identities.has(rank));
  }

  get identities(): RankIdentity[] {
    return [...this.#identities.values()].sort((a, b) => a.rank - b.rank);
  }

  /** For messages: what came and was no rank of this job. */
  get others(): string {
    const kinds = [...this.#turnedAway].map(([why, count]) => `${count} ${why}`);
    return kinds.length > 0 ? ` (turned away: ${kinds.join(', ')})` : '';
  }

  /** Whoever still comes is told why there will be no group, as long as this process lives. */
  refuseAll({ failure }: RendezvousError): void {
    this.#failed ??= failure;
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#strangers) socket.destroy();
  }

  #greet(socket: Socket): void {
    const strangers = this.#strangers;
    // The oldest has had the most time.
    if (strangers.size >= MAX_STRANGERS) strangers.values().next().value!.destroy();
    strangers.add(socket);
    let bytes = Buffer.alloc(0);
    const forget = (): void => {
      strangers.delete(socket);
      clearTimeout(timer);
      socket.removeAllListeners('data');
    };
    const turnAway = (why: string): void => {
      forget();
      this.#turnedAway.set(why, (this.#turnedAway.get(why) ?? 0) + 1);
      socket.destroy();
    };
    // From the first byte to the last: a trickle does not hold the place.
    const timer = setTimeout(() => turnAway('without an introduction'), this.#settings.times.helloMs);
    socket.on('error', () => undefined);
    socket.on('close', forget);
    const challenge = newChallenge();
    socket.write(greeting(this.#mark, challenge));
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      const parsed = parseIntroduction(bytes, { key: this.#key, mark: this.#mark, asked: challenge });
      if (parsed === 'more') return;
      if (parsed === 'foreign') return turnAway('with foreign bytes');
      const { session, proven } = parsed;
      if (proven === 'unproven') {
        // Says so: an honest rank with another secret should not wait in vain.
        socket.write(reply(session, { refused: { message: 'the secret is another one' } }));
        forget();
        this.#turnedAway.set('with another secret', (this.#turnedAway.get('with another secret') ?? 0) + 1);
        socket.destroySoon();
        return;
      }
      forget();
      socket.pause();
      this.#introduce(socket, session, proven);
    });
  }

  #introduce(socket: Socket, session: Session, { value, rest }: { value: unknown; rest: Buffer }): void {
    const answer = (text: HubAnswer): void => void socket.write(reply(session, text));
    const refuse = (failure: Omit<Failure, 'gone'>): void => {
      answer({ refused: failure });
      socket.destroySoon();
    };
    const identity = checkedIdentity(value);
    if (!identity) {
      refuse({ message: 'it introduced itself in a form that rank 0 does not know' });
      return;
    }
    const fault = this.#faultOf(identity);
    if (fault) {
      refuse(fault);
      // A rank of this job that cannot join: the others would wait in vain.
      if (!fault.isAnother && this.missing.length > 0) this.#fail(new RendezvousError(fault));
      return;
    }
    this.#identities.set(identity.rank, identity);
    answer({ joined: true });
    this.#arrive({ identity, socket, rest });
  }

  #faultOf(identity: RankIdentity): (Omit<Failure, 'gone'> & { readonly isAnother?: boolean }) | undefined {
    if (this.#failed) return this.#failed;
    const { rank, worldSize, version } = identity;
    const name = describeRank(rank, identity);
    const main = describeRank(0, this.#own);
    if (version !== this.#own.version) {
      const message = `the ranks have different versions of ministral-tune: ${name} ${version}, ${main} ${this.#own.version}`;
      return { rank, message, hint: 'Install the same version on all machines.' };
    }
    if (worldSize !== this.#own.worldSize) {
      return {
        rank,
        message: `the ranks disagree about their number: WORLD_SIZE is ${worldSize} for ${name}, ${this.#own.worldSize} for ${main}`,
        hint: 'Start all of them with the same number of machines and of processes a machine.',
      };
    }
    const first = this.#identities.get(rank);
    if (first) {
      const message = `there are two of rank ${rank}: ${name} came after ${describeRank(rank, first)}`;
      const hint = 'Each process needs a RANK of its own; another job needs another MASTER_PORT.';
      return { rank, message, hint, isAnother: true };
    }
    const neighbour = this.identities.find(
      (one) => one.machine === identity.machine && one.localRank === identity.localRank,
    );
    if (!neighbour) return undefined;
    const pair = `${describeRank(neighbour.rank, neighbour)} and ${name}`;
    return {
      rank,
      message: `${pair} run on one machine, and both have LOCAL_RANK ${identity.localRank}`,
      hint: 'LOCAL_RANK counts the processes of a machine from 0, and LOCAL_WORLD_SIZE is their number: set both.',
    };
  }

  /** For the end of its time. */
  timeoutError(seconds: number): RendezvousError {
    const { missing } = this;
    const of = this.#own.worldSize;
    return new RendezvousError({
      rank: missing.length === 1 ? missing[0] : undefined,
      message: `${listRanks(missing)} of ${of} did not come within ${seconds} s${this.others}`,
      hint:
        'Are they running, and did they end with an error of their own? Do they reach ' +
        `${this.#settings.masterAddr}, ports ${this.#settings.ports[0]} to ${this.#settings.ports.at(-1)}, and have the ` +
        'same MASTER_PORT and MINISTRAL_TUNE_SECRET?',
    });
  }
}

/** @returns undefined if the port is taken, or not this user's to take */
function listenAt(port: number, host: string | undefined): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host, exclusive: true }, () => {
      server.removeAllListeners('error');
      resolve(server);
    });
  });
}

function checkedIdentity(value: unknown): RankIdentity | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { rank, localRank, worldSize, version, host, pid, machine } = value as Record<string, unknown>;
  const isCount = (number: unknown): number is number => Number.isInteger(number) && (number as number) >= 0;
  const isText = (text: unknown): text is string => typeof text === 'string' && text.length < 2000;
  if (!isCount(rank) || !isCount(localRank) || !isCount(worldSize) || !isCount(pid)) return undefined;
  if (!isText(version) || !isText(host) || !isText(machine)) return undefined;
  return { rank, localRank, worldSize, version, host, pid, machine };
}
