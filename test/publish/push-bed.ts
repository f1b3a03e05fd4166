/** A local Hub and a folder to push to it, with the settings of the machine out of the way. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { type PushToHubOptions, pushToHub } from '../../src/publish/push-to-hub.js';
import { fakeModel, someNumbers } from '../lora/fake-engine.js';
import { HubServer } from '../servers/hub-server.js';

export interface PushBed {
  server: HubServer;
  folder: string;
  warnings: string[];
  push(options?: PushToHubOptions, id?: string): ReturnType<typeof pushToHub>;
  /** Text of a file of the repository. */
  text(path: string): string;
  card(): string;
  /** Commits on the main branch, the first, empty one included. */
  commits(): number;
  /** Saves an adapter into the folder. */
  save(options: LoraConfigOptions, seed: number, base?: string): Promise<LoraAdapter>;
}

/**
 * To be called once in a file of tests.
 * @param id the repository that is meant where none is named
 * @param fill puts into the folder what each test begins with
 */
export function pushBed(id: string, fill: (bed: PushBed) => Promise<unknown>): PushBed {
  const bed = {} as PushBed;
  bed.push = (options = {}, to = id) =>
    pushToHub(bed.folder, to, {
      endpoint: bed.server.endpoint,
      token: 'hf_writer',
      retryDelayMs: 1,
      onWarning: (line) => bed.warnings.push(line),
      ...options,
    });
  bed.text = (path) => bed.server.head(id).files.get(path)!.toString();
  bed.card = () => bed.text('README.md');
  bed.commits = () => bed.server.repos.get(id)!.branches.get('main')!.length;
  bed.save = async (options, seed, base = 'org/base') => {
    const model = fakeModel();
    const adapter = applyLora(model, options);
    model.engine.writeParameters(adapter.parameters, someNumbers(adapter.parameters.size, seed));
    await saveAdapter(adapter, bed.folder, { baseModelNameOrPath: base });
    return adapter;
  };
  beforeAll(async () => {
    bed.server = await HubServer.start();
  });
  afterAll(() => bed.server.close());
  beforeEach(async () => {
    bed.server.reset();
    bed.folder = await mkdtemp(join(tmpdir(), 'push-'));
    vi.stubEnv('HF_HOME', bed.folder);
    vi.stubEnv('HF_TOKEN', '');
    bed.warnings = [];
    await fill(bed);
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(bed.folder, { recursive: true, force: true });
  });
  return bed;
}
