/** Which card a process takes that was not told. */
import type { RankPlace } from '../../distributed/process-group.js';
import { type LaunchEnvironment, rankPlace } from '../../distributed/rank-place.js';
import { ConfigError } from '../../errors.js';

/**
 * Ranks of one machine take a card each: that of their number where they see all cards, the only one where each is shown
 * its own.
 * @param visible cards that the process sees
 * @throws ConfigError for a rank without a card
 */
export function ownCard(visible: number, env: LaunchEnvironment = process.env): number {
  const place = placeOf(env);
  if (!place || visible <= 1) return 0;
  const { rank, localRank, localWorldSize } = place;
  if (localRank < visible) return localRank;
  const shown = env.CUDA_VISIBLE_DEVICES;
  throw new ConfigError(
    `rank ${rank} is number ${localRank} of ${localWorldSize} on this machine (LOCAL_RANK), but sees only ${visible} cards` +
      (shown === undefined ? '' : ` (CUDA_VISIBLE_DEVICES=${shown})`),
    {
      hint: "Start as many processes as there are cards, or give each its own: createEngine('cuda', { cuda: { device } }).",
      details: { rank, localRank, visible },
    },
  );
}

/** What is wrong with the variables matters to a training alone, which says so. */
function placeOf(env: LaunchEnvironment): RankPlace | undefined {
  try {
    return rankPlace(env);
  } catch {
    return undefined;
  }
}
