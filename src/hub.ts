/** `ministral-tune/hub`: repositories of the Hugging Face Hub, downloaded into the cache that Python's tools share. */
export { MODEL_FILES, snapshotDownload } from './hub/snapshot-download.js';
export type { HubConnectionOptions, HubDownloadOptions, HubProgress } from './hub/hub-options.js';
export type { PushOptions, PushProgress, PushResult } from './hub/push-files.js';
export type { SnapshotDownloadOptions } from './hub/snapshot-download.js';
