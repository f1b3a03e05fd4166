/** The group of the environment: joined once, by whoever needs it first. */
import { checkNames } from '../config.js';
import { GroupMember } from './group-member.js';
import { GroupHub } from './hub.js';
import { ownRank } from './own-rank.js';
import type { ProcessGroup } from './process-group.js';
import { type LaunchPlace, rankPlace } from './rank-place.js';

/** Options of {@link processGroup}. */
export interface ProcessGroupOptions {
  /**
   * How long the ranks wait for each other, in seconds. Default: MINISTRAL_TUNE_RENDEZVOUS_SECONDS, else 600.
   */
  readonly rendezvousSeconds?: number | undefined;
  /** Ends the wait for the others, with its reason. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The ranks that a launcher has started with this process (torchrun, accelerate, Ray, Kubeflow, srun, mpirun,
 * `npx ministral-tune launch`), met over the network by the first call; later calls give the same group.
 * @returns undefined where the environment has no launcher's variables: the process trains alone
 */
export async function processGroup(options: ProcessGroupOptions = {}): Promise<ProcessGroup | undefined> {
  checkNames(options, { rendezvousSeconds: false, signal: false }, 'processGroup');
  const place = rankPlace();
  if (!place) return undefined;
  options.signal?.throwIfAborted();
  joined ??= join(place);
  return joined;
}

let joined: Promise<ProcessGroup> | undefined;

async function join(place: LaunchPlace): Promise<ProcessGroup> {
  if (place.worldSize === 1) return groupOfOne(place);
  throw new Error('not yet');
}

/** Without a second process there is nobody to talk to. */
function groupOfOne(place: LaunchPlace): ProcessGroup {
  const identities = [ownRank(place)];
  const hub = new GroupHub(identities, [{ send: (message) => member.receive(message) }]);
  const member: GroupMember = new GroupMember(place, identities, {
    send: (message) => hub.receive(0, message),
    keepAlive: () => undefined,
    close: () => Promise.resolve(),
  });
  return member;
}
