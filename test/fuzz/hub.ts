/**
 * A download from a Hub that means harm, in every way that is known here. Each case must end with a TuneError within its
 * limit, take less than 100 MB of memory above the start, and write nothing outside of the cache. The Hub runs in a
 * process of its own. Prints a line for each case; exits with 1 if one failed. The limits of time are short ones, as a
 * caller may set them; `--real` takes the package's own, which takes half an hour.
 *
 *   npm run fuzz:hub -- [--only TEXT] [--real]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DiskError, HubError, TuneError } from '../../src/errors.js';
import { snapshotDownload } from '../../src/hub/snapshot-download.js';
import { HubServer } from '../servers/hub-server.js';
import { HUB_CASES } from './hub-cases.js';

const MOST_MEGABYTES = 100;
/** For two processes to begin, on a busy machine; no part of a case's time. */
const START_SECONDS = 120;
const SHORT = { timeoutMs: 2000, maxAttempts: 3, retryDelayMs: 10, minBytesPerSecond: 10_000, speedWindowMs: 2000 };

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    real: { type: 'boolean', default: false },
    serve: { type: 'string' },
  },
});

/** The hostile Hub, in a process of its own. */
async function serve(index: number): Promise<void> {
  const server = await HubServer.start();
  server.commit('org/model', { 'config.json': '{}', 'model.safetensors': Buffer.alloc(1_000_000, 'w') });
  const { route, handler } = HUB_CASES[index]!;
  const answerWith = handler();
  server.fault(route, (request, response) => answerWith(request, response), 0);
  // Whoever asked may be gone by now.
  process.send!(server.endpoint, () => undefined);
}

/** Resident memory now, in bytes. */
const resident = (): number => process.memoryUsage.rss();

/**
 * Gives the peak above the start in bytes. Linux keeps it, and begins anew on request; elsewhere the use is looked at
 * often, and what a single long computation takes is not seen.
 */
function watchPeak(): () => number {
  const before = resident();
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return () => kernelPeak() - before;
  } catch {
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, resident());
    }, 5);
    return () => {
      clearInterval(timer);
      return Math.max(most, resident()) - before;
    };
  }
}

function kernelPeak(): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** One case, in this process, which is a fresh one. */
async function run(index: number): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', String(index)], { execArgv: process.execArgv });
  const [endpoint] = (await once(child, 'message')) as [string];
  const outer = await mkdtemp(join(tmpdir(), 'fuzz-hub-'));
  const cacheDir = join(outer, 'cache');
  // What is loaded when first used is no part of the answer's memory.
  await snapshotDownload('org/nothing', {
    endpoint: 'http://127.0.0.1:1',
    cacheDir,
    maxAttempts: 1,
    token: false,
  }).catch(() => undefined);
  globalThis.gc?.();
  const memory = watchPeak();
  const start = performance.now();
  const options = values.real ? { retryDelayMs: 10 } : SHORT;
  const error = await snapshotDownload('org/model', {
    endpoint,
    cacheDir,
    token: false,
    ...options,
    onWarning: () => undefined,
  }).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  const seconds = (performance.now() - start) / 1000;
  const megabytes = memory() / 1e6;
  child.kill('SIGKILL');
  const outside = (await readdir(outer)).filter((name) => name !== 'cache');
  await rm(outer, { recursive: true, force: true });
  const said =
    error === undefined ? 'downloaded' : error instanceof TuneError ? error.summary : `NO TuneError: ${String(error)}`;
  const known = error === undefined || error instanceof HubError || error instanceof DiskError;
  process.send!({ seconds, megabytes, said, known, outside });
  process.disconnect();
}

interface Outcome {
  readonly seconds: number;
  readonly megabytes: number;
  readonly said: string;
  readonly known: boolean;
  readonly outside: readonly string[];
}

async function main(): Promise<number> {
  let [failed, count, most, longest] = [0, 0, 0, 0];
  for (const [index, { name, within = 5 }] of HUB_CASES.entries()) {
    if (!name.includes(values.only)) continue;
    const args = ['--serve', `run ${index}`, ...(values.real ? ['--real'] : [])];
    const child = fork(fileURLToPath(import.meta.url), args, { execArgv: [...process.execArgv, '--expose-gc'] });
    const limit = values.real ? 900 : within;
    const timer = setTimeout(() => child.kill('SIGKILL'), (limit + START_SECONDS) * 1000);
    const [outcome] = (await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [])])) as [Outcome?];
    clearTimeout(timer);
    count++;
    if (!outcome) {
      failed++;
      console.log(`FAILED  ${name}: it did not end`);
      continue;
    }
    const { seconds, megabytes, said, known, outside } = outcome;
    [most, longest] = [Math.max(most, megabytes), Math.max(longest, seconds)];
    const good = known && outside.length === 0 && seconds <= limit && megabytes < MOST_MEGABYTES;
    if (!good) failed++;
    const figures = `${seconds.toFixed(2).padStart(7)} s ${megabytes.toFixed(0).padStart(4)} MB`;
    console.log(
      `${good ? '' : 'FAILED '}${figures}  ${name.padEnd(46)} ${said.replace(/http:\/\/127[^ ]*?(?=[:,] )/, 'URL').slice(0, 150)}`,
    );
  }
  console.log(
    `${count} cases, ${failed} failed; the longest ${longest.toFixed(1)} s, the most ${most.toFixed(0)} MB above the start`,
  );
  return failed === 0 ? 0 : 1;
}

const [, index] = /^run (\d+)$/.exec(values.serve ?? '') ?? [];
if (index !== undefined) await run(Number(index));
else if (values.serve !== undefined) await serve(Number(values.serve));
else process.exitCode = await main();
