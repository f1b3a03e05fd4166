/** A local Hub, an empty cache, and the settings of the machine out of the way. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import type { TuneError } from '../../src/errors.js';
import { type SnapshotDownloadOptions, snapshotDownload } from '../../src/hub/snapshot-download.js';
import { HubServer } from '../servers/hub-server.js';

export const ID = 'org/model';

export interface HubTestBed {
  server: HubServer;
  /** An outer folder; the cache is the folder `cache` in it, so that what leaves the cache is seen. */
  outer: string;
  cacheDir: string;
  warnings: string[];
  download(options?: SnapshotDownloadOptions, id?: string): Promise<string>;
}

/** To be called once in a file of tests. */
export function hubTestBed(files: Readonly<Record<string, Buffer | string>>): HubTestBed {
  const bed = {} as HubTestBed;
  bed.download = (options = {}, id = ID) =>
    snapshotDownload(id, {
      endpoint: bed.server.endpoint,
      cacheDir: bed.cacheDir,
      retryDelayMs: 1,
      onWarning: (line) => bed.warnings.push(line),
      ...options,
    });
  beforeAll(async () => {
    bed.server = await HubServer.start();
  });
  afterAll(() => bed.server.close());
  beforeEach(async () => {
    bed.server.reset();
    bed.server.commit(ID, files);
    bed.outer = await mkdtemp(join(tmpdir(), 'hub-bed-'));
    bed.cacheDir = join(bed.outer, 'cache');
    bed.warnings = [];
    const names = ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_ENDPOINT'];
    for (const name of names) vi.stubEnv(name, '');
    vi.stubEnv('HF_HOME', bed.outer);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(bed.outer, { recursive: true, force: true });
  });
  return bed;
}

export async function failure(work: Promise<unknown>): Promise<TuneError> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toHaveProperty('code');
  return error as TuneError;
}

/** All files below a folder, by path. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  // The older name of the two is the only one in Node 20.10, and gone from later ones.
  const folderOf = (entry: object): string => Reflect.get(entry, 'parentPath') ?? Reflect.get(entry, 'path');
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(folderOf(entry), entry.name));
}
