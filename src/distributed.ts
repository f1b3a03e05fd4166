/** `ministral-tune/distributed`: the ranks of a training on several GPUs, one process each. */
export { type ProcessGroupOptions, processGroup } from './distributed/join-group.js';
export type { ProcessGroup, RankPlace } from './distributed/process-group.js';
export { type LaunchEnvironment, type LaunchPlace, rankPlace } from './distributed/rank-place.js';
