import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownIdentity } from '../../src/files/process-identity.js';
import {
  describeOwner,
  HeldError,
  type LockOwner,
  lockTimes,
  OwnerLock,
  type TakeOptions,
} from '../../src/ownership/owner-lock.js';

const times = { ...lockTimes };
let folder: string;
let path: string;
beforeEach(async () => {
  Object.assign(lockTimes, { beatMs: 20, staleMs: 300, pollMs: 5 });
  folder = await mkdtemp(join(tmpdir(), 'owner-lock-'));
  path = join(folder, '.lock');
});
afterEach(async () => {
  Object.assign(lockTimes, times);
  await rm(folder, { recursive: true });
});

const refuse: TakeOptions = { what: 'test', whenHeld: 'refuse' };
const far = (token = 'far'): string => `${JSON.stringify({ token, host: 'elsewhere', pid: 7, space: 'x' })}\n0\n`;

describe('OwnerLock', () => {
  it('is taken once, and again when it was released', async () => {
    const lock = await OwnerLock.take(path, refuse);
    expect(await lock.check()).toBeUndefined();
    const error = await OwnerLock.take(path, refuse).catch((reason) => reason);
    expect(error).toBeInstanceOf(HeldError);
    expect(error.message).toContain(`a test: this process on host "${ownIdentity().host}", since 20`);
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
    await (await OwnerLock.take(path, refuse)).release();
  });

  it('has one winner among many', async () => {
    for (let round = 0; round < 10; round++) {
      // A dead owner's, to be taken over, in every second round.
      if (round % 2)
        await writeFile(path, JSON.stringify({ ...ownIdentity(), token: 'old', started: 1, pid: 4_000_000 }));
      const all = await Promise.allSettled(Array.from({ length: 12 }, () => OwnerLock.take(path, refuse)));
      const locks = all.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
      expect(locks).toHaveLength(1);
      expect(await locks[0]!.check()).toBeUndefined();
      await locks[0]!.release();
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it('shows signs of life', async () => {
    const lock = await OwnerLock.take(path, refuse);
    const first = await readFile(path, 'utf8');
    while ((await readFile(path, 'utf8')) === first) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await lock.check()).toBeUndefined();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it('learns that it was taken over, and leaves the other one alone', async () => {
    const lock = await OwnerLock.take(path, refuse);
    await writeFile(path, far());
    expect(await lock.check()).toContain('taken over by process 7 on host "elsewhere"');
    await lock.release();
    expect(await readFile(path, 'utf8')).toBe(far());
  });

  it('learns of an owner that has come and gone, and makes a lock again that was removed by hand', async () => {
    lockTimes.staleMs = 60_000;
    const lock = await OwnerLock.take(path, refuse);
    await rm(path);
    expect(await lock.check()).toBeUndefined();
    await expect(OwnerLock.take(path, refuse)).rejects.toThrow('held by');
    // Its signs may make it again at any time.
    await writeFile(`${path}.taken-${await tokenOf(lock)}`, '');
    await rm(path);
    expect(await lock.check()).toMatch(/took it over, and has ended/);
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  it('gets past a link that leads nowhere', async () => {
    await writeFile(`${path}.breaking`, '');
    for (const at of [path, `${path}.breaking`]) {
      if (at !== path) await writeFile(path, far());
      await rm(at, { force: true });
      await symlink(join(folder, 'nowhere'), at);
      await (await OwnerLock.take(path, refuse)).release();
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it('shows no control characters of a file that others wrote', async () => {
    const owner = {
      token: 't',
      host: 'h\u001b[31m',
      pid: 7,
      what: 'run\nERROR',
      since: '\u0007',
      program: '\u001b[2J',
    };
    await writeFile(path, `${JSON.stringify(owner)}\n`);
    let said = '';
    const onWait = (seen: LockOwner | undefined): void => {
      said = describeOwner(seen);
    };
    await (await OwnerLock.take(path, { ...refuse, onWait })).release();
    expect(said).toBe('a run\\nERROR: process 7 on host "h\\u001b[31m", since \\u0007, program \\u001b[2J');
  });

  it('leaves a trace where it is asked to, only for an owner that may be alive', async () => {
    await writeFile(path, far());
    await (await OwnerLock.take(path, { ...refuse, leaveTrace: true })).release();
    expect(await readdir(folder)).toEqual(['.lock.taken-far']);
    await rm(join(folder, '.lock.taken-far'));
    await writeFile(path, far());
    await (await OwnerLock.take(path, refuse)).release();
    await writeFile(path, JSON.stringify({ ...ownIdentity(), token: 'dead', pid: 4_000_000 }));
    await (await OwnerLock.take(path, { ...refuse, leaveTrace: true })).release();
    expect(await readdir(folder)).toEqual([]);
  });

  it('gets past a process that died while it removed a lock, here or elsewhere', async () => {
    const dead = JSON.stringify({ ...ownIdentity(), token: 'dead', pid: 4_000_000 });
    for (const breaking of [dead, far('breaker'), '']) {
      await writeFile(path, dead);
      await writeFile(`${path}.breaking`, breaking);
      await (await OwnerLock.take(path, refuse)).release();
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it('reads no more than a lock from whatever is in its place, and kills nothing', async () => {
    for (const text of [
      'x'.repeat(100_000),
      '{"token":"t","host":"h","pid":0}',
      '[]',
      '{"token":1,"host":"h","pid":1}',
    ]) {
      await writeFile(path, text);
      const taking = OwnerLock.take(path, refuse).then((lock) => lock.release());
      if (text.length > 5000) await expect(taking).rejects.toThrow('100000 bytes');
      else await taking;
      await rm(path, { force: true });
    }
    await mkdir(path);
    await expect(OwnerLock.take(path, refuse)).rejects.toThrow('a folder, not a file');
  });
});

async function tokenOf(lock: OwnerLock): Promise<string> {
  // It makes its lock again where it is gone.
  await lock.check();
  return JSON.parse((await readFile(path, 'utf8')).split('\n')[0]!).token;
}

describe('a process that ends or hangs', () => {
  let programs: string;
  let child: ChildProcess;
  beforeAll(async () => {
    programs = await mkdtemp(join(tmpdir(), 'owner-program-'));
    const source = fileURLToPath(new URL('../../src/ownership/owner-lock.ts', import.meta.url));
    const outfile = join(programs, 'owner-lock.mjs');
    await build({ entryPoints: [source], bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error' });
    await writeFile(
      join(programs, 'holder.mjs'),
      `import { lockTimes, OwnerLock } from './owner-lock.mjs';
      import { isMainThread, Worker, workerData } from 'node:worker_threads';
      const [path, end] = workerData ?? process.argv.slice(2);
      Object.assign(lockTimes, { beatMs: 20 });
      if (end === 'thread' && isMainThread) {
        const worker = new Worker(new URL(import.meta.url), { workerData: [path, end] });
        process.stdin.once('data', () => worker.terminate().then(() => process.stdout.write('ended\\n')));
      } else await OwnerLock.take(path, { what: 'test', whenHeld: 'refuse' });
      if (end !== 'thread' || !isMainThread) process.stdout.write('held\\n');
      if (end === 'thread') setInterval(() => undefined, 1000);
      if (end === 'exit') process.exit(0);
      if (end === 'throw') throw new Error('as asked');
      // Nothing runs in this thread from here on.
      if (end === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`,
    );
  });
  afterAll(() => rm(programs, { recursive: true }));
  afterEach(() => void child.kill('SIGKILL'));

  async function hold(end: string): Promise<Promise<unknown>> {
    child = spawn(process.execPath, [join(programs, 'holder.mjs'), path, end], { stdio: ['pipe', 'pipe', 'ignore'] });
    const exit = once(child, 'exit');
    await once(createInterface({ input: child.stdout! }), 'line');
    return { exit } as never;
  }

  it.each(['exit', 'throw', 'return'])('takes its lock with it: %s', async (end) => {
    const { exit } = (await hold(end)) as unknown as { exit: Promise<unknown> };
    await exit;
    expect(await readdir(folder)).toEqual([]);
  });

  it('keeps nothing that a worker thread of it held which was ended', async () => {
    await hold('thread');
    await expect(OwnerLock.take(path, refuse)).rejects.toThrow(`held by a test: process ${child.pid}`);
    child.stdin!.write('end it\n');
    await once(createInterface({ input: child.stdout! }), 'line');
    expect(await readdir(folder)).toEqual(['.lock']);
    await (await OwnerLock.take(path, refuse)).release();
    expect(child.exitCode).toBeNull();
  });

  it('shows signs of life while its main thread computes; killed, it is replaced at once', async () => {
    const { exit } = (await hold('block')) as unknown as { exit: Promise<unknown> };
    const seen = new Set<string>();
    while (seen.size < 5) {
      seen.add(await readFile(path, 'utf8'));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const error = await OwnerLock.take(path, refuse).catch((reason) => reason);
    expect(error.message).toMatch(new RegExp(`process ${child.pid} on host .*, program holder.mjs`));
    child.kill('SIGKILL');
    await exit;
    // Far longer than this test may take.
    lockTimes.staleMs = 3_600_000;
    if (process.platform === 'linux') await (await OwnerLock.take(path, refuse)).release();
  });
});
