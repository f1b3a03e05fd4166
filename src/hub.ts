/** `ministral-tune/hub`: repositories of the Hugging Face Hub, downloaded into the cache that Python's tools share. */
export { snapshotDownload } from './hub/snapshot-download.js';
export { MODEL_FILES } from './pretrained/from-pretrained.js';
export type { HubConnectionOptions, HubDownloadOptions, HubProgress } from './hub/hub-options.js';
export type { PushProgress, PushResult } from './hub/push-files.js';
export type { SnapshotDownloadOptions } from './hub/snapshot-download.js';
