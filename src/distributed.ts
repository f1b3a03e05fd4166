/**
 * `ministral-tune/distributed`: the ranks of a training on several GPUs, one process each. `SftTrainer` and `Evaluator` find
 * the others by themselves; what is here is for what a program does besides.
 */
export { type ProcessGroupOptions, processGroup } from './distributed/join-group.js';
export { isMainProcess, mainProcessFirst, onMainProcess } from './distributed/main-process.js';
export type { GradientSum, ProcessGroup, RankPlace } from './distributed/process-group.js';
export { type LaunchEnvironment, type LaunchPlace, rankPlace } from './distributed/rank-place.js';
