/** `ministral-tune/monitor`: callbacks that show or keep what a run does. */

export { scalarsOf } from './monitor/event-scalars.js';
export type { JsonLinesOptions } from './monitor/json-lines.js';
export { jsonLines } from './monitor/json-lines.js';
export type { LivePage, LivePageOptions, LiveSample } from './monitor/live-options.js';
export { livePage } from './monitor/live-page.js';
export type { ShownProgress, ShowProgressOptions } from './monitor/show-progress.js';
export { showProgress } from './monitor/show-progress.js';
export type { TensorBoardOptions } from './monitor/tensorboard.js';
export { tensorBoard } from './monitor/tensorboard.js';
export type { TrainerCallback, TrainingControl } from './train/callbacks.js';
export type { ProgressStream } from './train/guarded-output.js';
