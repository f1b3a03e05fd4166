/** The group of the environment: joined once, by whoever needs it first. */
import { orAborted } from '../async/or-aborted.js';
import { checkNames } from '../config.js';
import { ConfigError, DistributedError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { GroupMember } from './group-member.js';
import { GroupHub } from './hub.js';
import { ownRank } from './own-rank.js';
import type { ProcessGroup } from './process-group.js';
import { isLoopback, type LaunchEnvironment, type LaunchPlace, rankPlace } from './rank-place.js';
import { type RendezvousTimes, rendezvousPorts } from './rendezvous.js';
import { joinOverNetwork } from './worker-link.js';

/** Options of {@link processGroup}. */
export interface ProcessGroupOptions {
  /** How long the ranks wait for each other, in seconds. Default: MINISTRAL_TUNE_RENDEZVOUS_SECONDS, else 600. */
  readonly rendezvousSeconds?: number | undefined;
  /** Ends the wait for the others, with its reason; they get an error that says so. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** In milliseconds, and beats; tests take shorter ones. */
const GROUP_TIMES: RendezvousTimes = {
  beatMs: 1000,
  lostBeats: 10,
  helloMs: 5000,
  retryMs: 1000,
  noticeMs: 10_000,
  otherSecretMs: 30_000,
  reactMs: 25_000,
};

const JOINED: unique symbol = Symbol.for('ministral-tune.processGroup');

/** Global, so that a second copy of this package in the process does not join a second time. */
const place = globalThis as { [JOINED]?: Promise<ProcessGroup> | undefined };

/**
 * The ranks that a launcher has started together with this process: torchrun, accelerate, Ray Train, Kubeflow, srun, mpirun
 * of Open MPI, or `npx ministral-tune launch`. The first call meets them over the network; later ones give the same group.
 * `SftTrainer` and `Evaluator` call it themselves.
 *
 * The ranks of one machine need no further setting. Across machines all need MINISTRAL_TUNE_SECRET, the same random text
 * of at least 16 characters; it is never sent. What ranks say to each other is not encrypted.
 * @returns undefined where the environment has no launcher's variables: the process trains alone
 * @throws ConfigError for variables that are incomplete or contradict each other; DistributedError if not all ranks come,
 * or they are of different jobs or versions; the signal's reason
 * @example
 * ```ts
 * import { processGroup } from 'ministral-tune/distributed';
 *
 * const group = await processGroup();
 * console.log(group ? `rank ${group.rank} of ${group.worldSize}` : 'one process');
 * if (group) {
 *   const pids = await group.allGather('process ids', process.pid);
 *   if (group.isMain) console.log(pids);
 * }
 * ```
 */
export async function processGroup(options: ProcessGroupOptions = {}): Promise<ProcessGroup | undefined> {
  checkNames(options, { rendezvousSeconds: false, signal: false }, 'processGroup');
  const { rendezvousSeconds, signal } = options;
  const launched = rankPlace();
  if (!launched) return undefined;
  signal?.throwIfAborted();
  if (place[JOINED]) return orAborted(place[JOINED], signal);
  const joining = joinGroup(launched, { rendezvousSeconds, signal });
  place[JOINED] = joining;
  joining.catch(() => {
    // A stop that was asked for; what failed otherwise would fail again.
    if (signal?.aborted && place[JOINED] === joining) place[JOINED] = undefined;
  });
  return joining;
}

/** What {@link joinGroup} may be given beside what users give. */
interface JoinOptions extends ProcessGroupOptions {
  readonly env?: LaunchEnvironment | undefined;
  readonly times?: Partial<RendezvousTimes> | undefined;
}

export async function joinGroup(launched: LaunchPlace, options: JoinOptions): Promise<ProcessGroup> {
  const { env = process.env, times = {}, signal } = options;
  const own = ownRank(launched);
  const { rank, worldSize, localWorldSize, masterAddr, masterPort, jobId, isPortTaken } = launched;
  const seconds = rendezvousLimit(options.rendezvousSeconds, env);
  if (worldSize === 1) return groupOfOne(launched);
  const isLocal = localWorldSize === worldSize;
  if (!isLocal && isLoopback(masterAddr)) {
    throw new ConfigError(
      `MASTER_ADDR=${masterAddr} in the environment: expected the host of rank 0, as the ranks run on several machines`,
      { hint: 'WORLD_SIZE ranks, LOCAL_WORLD_SIZE of them here. On one machine both are the same number.' },
    );
  }
  const secret = secretOf(env);
  if (!isLocal && secret === undefined) {
    throw new DistributedError(
      `MINISTRAL_TUNE_SECRET is missing: the ${worldSize} ranks run on several machines (${localWorldSize} on this one)`,
      {
        rank,
        hint:
          'Set it to the same long random text for all ranks: export MINISTRAL_TUNE_SECRET=… with what `openssl rand -hex 32` ' +
          'gives, before the launcher is started on each machine.',
      },
    );
  }
  const ports = rendezvousPorts(masterPort, isPortTaken);
  const pid = Number(env['MINISTRAL_TUNE_LAUNCHER']);
  // Of a program between the two nothing is known.
  const launcher = pid === process.ppid ? pid : undefined;
  const settings = { masterAddr, masterPort, ports, jobId, isLocal, secret, seconds, launcher };
  return joinOverNetwork(launched, own, { ...settings, times: { ...GROUP_TIMES, ...times } }, signal);
}

/** Without a second process there is nobody to talk to. */
function groupOfOne(launched: LaunchPlace): ProcessGroup {
  const identities = [ownRank(launched)];
  const hub = new GroupHub(identities, [{ send: (message) => queueMicrotask(() => member.receive(message)) }]);
  const member: GroupMember = new GroupMember(launched, identities, {
    send: (message) => hub.receive(0, message),
    keepAlive: () => undefined,
    close: () => Promise.resolve(),
  });
  return member;
}

function rendezvousLimit(given: number | undefined, env: LaunchEnvironment): number {
  const name = given === undefined ? 'MINISTRAL_TUNE_RENDEZVOUS_SECONDS' : 'processGroup: `rendezvousSeconds`';
  const value: unknown = given ?? (env['MINISTRAL_TUNE_RENDEZVOUS_SECONDS']?.trim() || DEFAULT_SECONDS);
  const seconds = typeof value === 'string' ? Number(value) : value;
  if (typeof seconds === 'number' && seconds > 0 && seconds <= MAX_SECONDS) return seconds;
  throw new ConfigError(`${name}: expected seconds above 0, at most ${MAX_SECONDS}, got ${showValue(value)}`);
}

function secretOf(env: LaunchEnvironment): string | undefined {
  const secret = env['MINISTRAL_TUNE_SECRET']?.trim() || undefined;
  if (secret === undefined || secret.length >= LEAST_SECRET) return secret;
  throw new ConfigError(
    `MINISTRAL_TUNE_SECRET in the environment: expected at least ${LEAST_SECRET} characters, got ${secret.length}`,
    { hint: '`openssl rand -hex 32` makes one.' },
  );
}

const DEFAULT_SECONDS = 600;
const MAX_SECONDS = 1_000_000;
const LEAST_SECRET = 16;
