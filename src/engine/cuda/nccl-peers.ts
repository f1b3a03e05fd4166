/** What ranks must have alike, or apart, before NCCL connects them: its own words for it say little. */
import type { ProcessGroup } from '../../distributed/process-group.js';
import { DistributedError, reasonOf } from '../../errors.js';
import { type NcclLibrary, ncclVersion } from './nccl.js';

/** A rank's card, as the others compare it. */
interface CardPlace {
  /** The same for one card, whatever process sees it. */
  readonly id: string;
  readonly name: string;
  /** Its number among the cards that the process sees. */
  readonly ordinal: number;
}

interface Peer {
  /** Why the rank has no NCCL. */
  readonly fault?: string | undefined;
  readonly version: number;
  readonly path: string;
  readonly card: CardPlace;
  readonly localRank: number;
  readonly visibleDevices: string | null;
  /** By which NCCL tells machines apart, where it was set. */
  readonly hostId: string | null;
  /** Whether the user lets several ranks have one card. */
  readonly sharesCard: boolean;
  /** Elements of the flat gradient, and where it is cut. */
  readonly cuts: readonly number[];
}

/**
 * Loads NCCL on each rank and compares what the ranks have.
 * @param load gives the library @param cuts see `Peer`
 * @throws EngineError if this rank has no NCCL; DistributedError for another rank's fault, or a difference
 */
export async function requireSamePeers(
  group: ProcessGroup,
  load: () => NcclLibrary,
  card: CardPlace,
  cuts: readonly number[],
  signal?: AbortSignal,
): Promise<NcclLibrary> {
  let library: NcclLibrary | undefined;
  let failure: unknown;
  try {
    library = load();
  } catch (error) {
    failure = error;
  }
  const { env } = process;
  const own: Peer = {
    ...(library ? {} : { fault: reasonOf(failure) }),
    version: library?.version ?? 0,
    path: library?.path ?? '',
    card,
    localRank: group.localRank,
    visibleDevices: env.CUDA_VISIBLE_DEVICES ?? null,
    hostId: env.NCCL_HOSTID ?? null,
    sharesCard: env.NCCL_MULTI_RANK_GPU_ENABLE === '1',
    cuts,
  };
  // Also without the library: else the others would wait.
  const peers = await group.allGather('NCCL', own, signal);
  if (!library) throw failure;
  comparePeers(peers);
  return library;
}

/** @throws DistributedError naming the ranks and what they have */
function comparePeers(peers: readonly Peer[]): void {
  const faulty = peers.findIndex(({ fault }) => fault !== undefined);
  if (faulty >= 0) {
    throw new DistributedError(`rank ${faulty} has no NCCL: ${peers[faulty]!.fault}`, {
      rank: faulty,
      hint: `Rank 0 has ${peers[0]!.path || 'none'}. Install the same version on all machines.`,
    });
  }
  const versions = byValue(peers.map(({ version, path }) => `NCCL ${ncclVersion(version)} (${path})`));
  if (new Set(peers.map(({ version }) => version)).size > 1) {
    throw new DistributedError(`the ranks have different versions of NCCL:\n${versions.join('\n')}`, {
      hint: 'Install the same version for all ranks, or let LD_LIBRARY_PATH name the folder of one version.',
    });
  }
  const cuts = byValue(peers.map((peer) => peer.cuts.join(' ')));
  if (cuts.length > 1) {
    const sizes = byValue(peers.map((peer) => `${peer.cuts[0]} trainable values in ${peer.cuts.length - 1} pieces`));
    throw new DistributedError(`the ranks train different parameters:\n${sizes.join('\n')}`, {
      hint: 'Give all ranks the same model and the same LoraConfig.',
    });
  }
  for (const [rank, { card, hostId, sharesCard }] of peers.entries()) {
    const other = peers.findIndex((peer) => peer.card.id === card.id && peer.hostId === hostId);
    if (other === rank || sharesCard) continue;
    const described = [other, rank].map((one) => `  ${describePlace(one, peers[one]!)}`);
    throw new DistributedError(
      `ranks ${other} and ${rank} have the same card (${card.name}), but each needs one of its own:\n${described.join('\n')}`,
      {
        rank,
        hint:
          'Start as many ranks as the machine has cards. Where each rank sees all cards, createEngine takes the one ' +
          'numbered LOCAL_RANK; leave out `device`, or give each rank another.',
      },
    );
  }
}

function describePlace(rank: number, { card, localRank, visibleDevices }: Peer): string {
  const visible = visibleDevices === null ? 'CUDA_VISIBLE_DEVICES not set' : `CUDA_VISIBLE_DEVICES=${visibleDevices}`;
  return `rank ${rank}: card ${card.ordinal} of those it sees, LOCAL_RANK ${localRank}, ${visible}`;
}

/** A line for each value, with the ranks that have it. */
function byValue(values: readonly string[]): string[] {
  const ranks = new Map<string, number[]>();
  for (const [rank, value] of values.entries()) ranks.set(value, [...(ranks.get(value) ?? []), rank]);
  return [...ranks].map(([value, own]) => `  rank${own.length > 1 ? 's' : ''} ${own.join(', ')}: ${value}`);
}
