/** Who this process is, for the other ranks. */
import { ownIdentity } from '../files/process-identity.js';
import { VERSION } from '../generated/version.js';
import type { RankIdentity } from './messages.js';
import type { RankPlace } from './process-group.js';

export function ownRank({ rank, localRank, worldSize }: RankPlace): RankIdentity {
  const { host, pid, space = '' } = ownIdentity();
  return { rank, localRank, worldSize, version: VERSION, host, pid, machine: `${host} ${space}` };
}
