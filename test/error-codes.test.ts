/**
 * Every class of error and every code, thrown by a call that fails as a user's would, and shown in each way that one sees
 * it: its message, what JSON.stringify and a console make of it. A new code or class does not compile or pass without one.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { extractZip } from '../src/archive/extract-zip.js';
import { decodeImage } from '../src/data.js';
import { joinGroup } from '../src/distributed/join-group.js';
import * as errors from '../src/errors.js';
import { snapshotDownload } from '../src/hub.js';
import {
  ArchiveError,
  ChatTemplate,
  createEngine,
  ImageFolder,
  KaggleImageFolder,
  LoraConfig,
  SftTrainer,
  TuneError,
  type TuneErrorCode,
} from '../src/index.js';
import { SafetensorsFile } from '../src/safetensors.js';
import { downloadFile } from '../src/transfer/download-file.js';
import { standInEngine } from './engine/cuda/stand-in.js';
import { linearModel } from './train/linear-model.js';

let dir: string;
/** A service that refuses everything. */
let endpoint: string;
const server = createServer((_, response) => response.writeHead(403).end('{"error": "no"}'));

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'error-codes-'));
  await writeFile(join(dir, 'damaged.zip'), 'not a zip');
  await mkdir(join(dir, 'file.bin'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

const service = () => ({ endpoint, maxAttempts: 1, cacheDir: join(dir, 'cache') });

/** By code: the type has a new one in it before this does. */
const BY_CODE: Readonly<Record<TuneErrorCode, () => unknown>> = {
  CONFIG: () => new LoraConfig({ r: 0 }),
  DATA: () => ImageFolder.load(join(dir, 'nowhere')),
  IMAGE: () => decodeImage(Uint8Array.of(1, 2, 3)),
  TEXT: () => new ChatTemplate('{% for message in messages %}'),
  CHECKPOINT: () => SafetensorsFile.open(join(dir, 'nowhere.safetensors')),
  ENGINE: () => createEngine('gpu' as 'cuda'),
  TRAINING: () => {
    const model = linearModel();
    const collator = { collate: () => Promise.reject(new Error('never called')) };
    return new SftTrainer({
      model: { ...model, trainable: { ...model.trainable, size: 0 } },
      collator,
      trainDataset: [],
    });
  },
  DISTRIBUTED: () => {
    const place = { rank: 0, worldSize: 4, localRank: 0, localWorldSize: 2 };
    const meeting = { masterAddr: 'gpu-1', masterPort: 29_500, jobId: '', isPortTaken: false };
    return joinGroup({ ...place, ...meeting, launcher: 'torchrun' }, { env: {} });
  },
  DISK: () => downloadFile({ url: `${endpoint}/x`, path: join(dir, 'damaged.zip', 'below') }),
  TRANSFER: () => downloadFile({ url: `${endpoint}/x`, path: join(dir, 'x'), retry: { maxAttempts: 1 } }),
  HUB: () => snapshotDownload('owner/name', { ...service(), token: false }),
  KAGGLE: () => KaggleImageFolder.download('owner/set', { ...service(), login: { token: 'KGAT_secret' } }),
};

/** Classes that share the code of another. */
const BY_CLASS: Readonly<Record<string, () => unknown>> = {
  ArchiveError: () => extractZip(join(dir, 'damaged.zip'), join(dir, 'out')),
  OutOfMemoryError: () => standInEngine(2 ** 20).engine,
};

async function thrownBy(call: () => unknown): Promise<TuneError> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(TuneError);
    return error as TuneError;
  }
  throw new Error('nothing was thrown');
}

const CLASSES: readonly { readonly name: string }[] = [...Object.values(errors), ArchiveError].filter(
  (one) => one.prototype instanceof TuneError,
);
const seen = new Set<string>();

describe.each(Object.entries({ ...BY_CODE, ...BY_CLASS }))('%s', (key, call) => {
  it('is a message for people, fields for programs, and JSON for logs', async () => {
    const error = await thrownBy(call);
    seen.add(error.name);
    if (key in BY_CODE) expect(error.code).toBe(key);
    else expect(error.name).toBe(key);
    expect(error.constructor.name).toBe(error.name);
    const { summary, hint, message } = error;
    expect(summary.length).toBeGreaterThan(10);
    expect(message.startsWith(summary)).toBe(true);
    if (hint !== undefined) expect(message).toContain(`\n  hint: ${hint}`);
    // In a console: the class, the message, and where it was thrown.
    expect(String(error)).toBe(`${error.name}: ${message}`);
    expect(inspect(error)).toContain(message);
    expect(message).not.toMatch(/undefined|\[object|NaN|secret/);
    const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>;
    expect(json).toMatchObject({ name: error.name, code: error.code, message, summary, details: {} });
    if (hint !== undefined) expect(json['hint']).toBe(hint);
    expect(inspect(error, { depth: 9 })).not.toContain('KGAT_secret');
    // What it came from is a reason, not the whole of it.
    if (error.cause !== undefined) expect(error.cause).toBeInstanceOf(Error);
  });
});

it('is shown of every class', () => {
  expect(CLASSES.map(({ name }) => name).sort()).toEqual([...seen].sort());
});
