/** The seeking side of the rendezvous: looks for the hub on all ports that it may listen on, and joins it. */
import { connect, type Socket } from 'node:net';
import { introduction, jobMark, keyOf, newChallenge, parseGreeting, parseReply, type Session } from './handshake.js';
import { type HubAnswer, RendezvousError } from './hub-server.js';
import type { Failure, RankIdentity } from './messages.js';
import type { RendezvousSettings } from './rendezvous.js';
import { readSecret, secretPath } from './secret-file.js';

/** What a port has. */
type Finding =
  | { readonly socket: Socket; readonly rest: Buffer }
  | { readonly refused: Omit<Failure, 'gone'> }
  /** Why it is no hub to join, for messages. */
  | string;

const OTHER_SECRET = 'a hub of this job with another secret';
const NO_SECRET = 'a hub of this job whose file with the secret this process cannot read';
const FIRST_RETRY_MS = 50;

export class HubClient {
  readonly #settings: RendezvousSettings;
  readonly #own: RankIdentity;
  readonly #mark: Buffer;
  readonly #open = new Set<Socket>();
  /** What each port had at the last look. */
  readonly #findings = new Map<number, string>();
  #isClosed = false;

  constructor(settings: RendezvousSettings, own: RankIdentity) {
    this.#settings = settings;
    this.#own = own;
    this.#mark = jobMark(settings.masterPort, settings.jobId);
  }

  /** Looks until it has joined. @throws RendezvousError if it is refused, or nobody there has its secret */
  join(): Promise<{ readonly socket: Socket; readonly rest: Buffer }> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        if (this.#isClosed) return;
        this.#isClosed = true;
        settle();
      };
      for (const port of this.#settings.ports) {
        void this.#watch(port, (finding) => {
          if ('socket' in finding) {
            end(() => {
              this.#open.delete(finding.socket);
              resolve(finding);
            });
            for (const other of this.#open) other.destroy();
          } else {
            end(() => reject(new RendezvousError(finding.refused)));
            this.close();
          }
        });
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    for (const socket of this.#open) socket.destroy();
  }

  /** What was found so far, for messages. */
  get findings(): string {
    const kinds = new Map<string, number[]>();
    for (const [port, what] of this.#findings) kinds.set(what, [...(kinds.get(what) ?? []), port]);
    // What most ports have says least.
    const parts = [...kinds].sort(([, a], [, b]) => a.length - b.length);
    return parts
      .map(([what, ports]) => `${ports.length === 1 ? `port ${ports[0]}` : `${ports.length} ports`}: ${what}`)
      .join('; ');
  }

  timeoutError(): RendezvousError {
    const { masterAddr, ports, seconds } = this.#settings;
    const { rank, worldSize } = this.#own;
    return new RendezvousError({
      rank: 0,
      message:
        `rank ${rank} of ${worldSize} did not find rank 0 at ${masterAddr}, ports ${ports[0]} to ${ports.at(-1)}, within ` +
        `${seconds} s (${this.findings})`,
      hint:
        'Is rank 0 running, or did it end with an error of its own? Are MASTER_ADDR and MASTER_PORT the same for all ranks, ' +
        'and do firewalls let these ports through?',
    });
  }

  async #watch(port: number, found: (finding: Exclude<Finding, string>) => void): Promise<void> {
    const { retryMs, otherSecretMs } = this.#settings.times;
    let pause = FIRST_RETRY_MS;
    let otherSince: number | undefined;
    while (!this.#isClosed) {
      const finding = await this.#look(port);
      if (this.#isClosed) return;
      if (typeof finding !== 'string') return found(finding);
      this.#findings.set(port, finding);
      const isOther = finding === OTHER_SECRET || finding === NO_SECRET;
      otherSince = isOther ? (otherSince ?? Date.now()) : undefined;
      if (otherSince !== undefined && Date.now() - otherSince >= otherSecretMs) {
        return found({
          refused: {
            rank: this.#own.rank,
            message: `rank ${this.#own.rank} of ${this.#own.worldSize} finds at ${this.#settings.masterAddr}, port ${port}, ${finding}`,
            hint: 'Set MINISTRAL_TUNE_SECRET to the same long random text for all ranks.',
          },
        });
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, retryMs);
    }
  }

  #look(port: number): Promise<Finding> {
    const { isLocal, masterAddr, times } = this.#settings;
    return new Promise((resolve) => {
      const socket = connect({ port, host: isLocal ? '127.0.0.1' : masterAddr });
      this.#open.add(socket);
      let bytes = Buffer.alloc(0);
      let session: Session | undefined;
      const leave = (finding: string): void => {
        if (resolved) return;
        resolved = true;
        clearTimeout(timer);
        this.#open.delete(socket);
        socket.destroy();
        resolve(finding);
      };
      let resolved = false;
      const timer = setTimeout(() => leave(session ? 'no answer' : 'no hub'), times.helloMs);
      socket.on('error', (error: NodeJS.ErrnoException) => leave(error.code ?? 'no connection'));
      socket.on('close', () => leave('closed the connection'));
      socket.on('data', (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
        if (!session) {
          const parsed = parseGreeting(bytes);
          if (parsed === 'more') return;
          if (!parsed) return leave('another program');
          if (!parsed.mark.equals(this.#mark)) return leave('another job');
          const secret = this.#settings.secret ?? readSecret(secretPath(port));
          if (secret === undefined) return leave(NO_SECRET);
          session = { key: keyOf(secret), mark: this.#mark, asked: parsed.challenge, own: newChallenge() };
          bytes = Buffer.alloc(0);
          socket.write(introduction(session, this.#own));
          return;
        }
        const answer = parseReply(bytes, session);
        if (answer === 'more') return;
        if (answer === 'foreign') return leave('another program');
        if (answer === 'unproven') return leave(OTHER_SECRET);
        resolved = true;
        clearTimeout(timer);
        const value = answer.value as HubAnswer;
        socket.removeAllListeners();
        socket.on('error', () => undefined);
        if ('joined' in value) {
          socket.pause();
          resolve({ socket, rest: answer.rest });
        } else {
          this.#open.delete(socket);
          socket.destroy();
          resolve({ refused: value.refused });
        }
      });
    });
  }
}
