/**
 * Pairs of processes that want the same folder: training runs, saves, merges and downloads, at the same time or one
 * after the other was killed or suspended, in one PID namespace and in two. Whatever happens, one owns the folder, the
 * other is told, and what lies there is that of a process that was alone.
 *
 *   npx tsx test/crash/owners.ts [--pairs 12] [--spaces 10] [--stale-ms 3000]
 *
 * Prints a line for each pair and a RESULT line; fails at the first thing that is not as it must be. The pairs in two
 * namespaces need root.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { SafetensorsFile } from '../../src/formats/safetensors.js';
import { writeTinyModel } from '../e2e/tiny-model.js';
import { ScriptedServer } from '../servers/scripted-server.js';
import { canMakeSpaces, OwnerProcess, type Space } from './owner-process.js';

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '12' },
    spaces: { type: 'string', default: '10' },
    'stale-ms': { type: 'string', default: '3000' },
  },
});
const [pairs, spacePairs, staleMs] = [values.pairs, values.spaces, values['stale-ms']].map(Number) as [
  number,
  number,
  number,
];
const STEPS = 6;
const RATES = [0.02, 0.03] as const;
const dir = await mkdtemp(join(tmpdir(), 'owners-'));
const checkpoint = join(dir, 'model');
await writeTinyModel(checkpoint);
const counts = {
  pairs: 0,
  refused: 0,
  killed: 0,
  takenOver: 0,
  suspended: 0,
  checkpointsCompared: 0,
  adaptersCompared: 0,
  mergesCompared: 0,
  downloadsCompared: 0,
};
const takeovers: number[] = [];
const started = performance.now();

function check(condition: unknown, text: string): asserts condition {
  if (!condition) throw new Error(text);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Digest of the adapter's values in a folder. */
async function adapterDigest(folder: string): Promise<string> {
  const files = ['adapter_config.json', 'adapter_model.safetensors'].map((name) => readFile(join(folder, name)));
  return sha256(Buffer.concat(await Promise.all(files)));
}

/** Digest of each checkpoint's parameters, by step. */
async function checkpointDigests(out: string): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (const name of await readdir(out)) {
    const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
    if (!step) continue;
    const file = await SafetensorsFile.open(join(out, name, 'training-state.safetensors'));
    const { buffer, byteOffset, byteLength } = await file.readFloat32('parameters');
    await file.close();
    found.set(
      Number(step),
      sha256(new Uint8Array(buffer, byteOffset, byteLength)) + (await adapterDigest(join(out, name))),
    );
  }
  return found;
}

interface Alone {
  readonly final: string;
  readonly checkpoints: Map<number, string>;
}

/** What runs of each rate give that nobody disturbs. */
const alone = new Map<number, Alone>();
for (const rate of RATES) {
  const [out, final] = [join(dir, `alone-${rate}`), join(dir, `alone-${rate}-final`)];
  const run = await new OwnerProcess('host', { task: 'train', out, final, checkpoint, rate, steps: STEPS }).go();
  const { code, errors } = await run.end;
  check(code === 0, `the run alone failed: ${errors}`);
  alone.set(rate, { final: await adapterDigest(final), checkpoints: await checkpointDigests(out) });
}
check(alone.get(RATES[0])!.final !== alone.get(RATES[1])!.final, 'both rates give the same adapter');

let folders = 0;
const newFolder = (): string => join(dir, `out-${++folders}`);

function train(space: Space, out: string, rate: number, more: Record<string, string | number> = {}): OwnerProcess {
  const args = {
    task: 'train',
    out,
    rate,
    checkpoint,
    steps: STEPS,
    'stale-ms': staleMs,
    final: `${newFolder()}-final`,
  };
  const started = new OwnerProcess(space, { ...args, ...more });
  finals.set(started, String(more.final ?? args.final));
  return started;
}
const finals = new WeakMap<OwnerProcess, string>();

/** The folder and the adapter at the end are those of a run alone, and nothing else is left. */
async function checkRun(run: OwnerProcess, out: string, rate: number): Promise<void> {
  const { code, errors, lines } = await run.end;
  check(code === 0, `a run failed (${code}): ${errors} ${lines.at(-1)}`);
  const expected = alone.get(rate)!;
  check((await adapterDigest(finals.get(run)!)) === expected.final, `${out}: the adapter is not that of a run alone`);
  const found = await checkpointDigests(out);
  check(found.has(STEPS), `${out}: the last checkpoint is missing`);
  for (const [step, digest] of found) {
    check(digest === expected.checkpoints.get(step), `${out}: checkpoint ${step} is not that of a run alone`);
    counts.checkpointsCompared++;
  }
  counts.adaptersCompared++;
  const others = (await readdir(out)).filter((name) => !/^(checkpoint-\d+|train-log\.jsonl|.*\.taken-.*)$/.test(name));
  check(others.length === 0, `${out} still holds ${others.join(', ')}`);
}

/** It ended with an error that names the owner, and wrote nothing. */
async function checkRefused(run: OwnerProcess, owner: RegExp): Promise<void> {
  const { code, lines, errors } = await run.end;
  const last = lines.at(-1) ?? '';
  check(
    code === 3 && /refused CHECKPOINT .* is in use by a training run: /.test(last),
    `not refused: ${last} ${errors}`,
  );
  check(owner.test(last), `the owner is not named: ${last}`);
  check(
    !lines.some((line) => /^(step|saving|saved)/.test(line)),
    `it trained before it was refused: ${lines.join('; ')}`,
  );
  counts.refused++;
}

/** Both begin at once: whoever loses the race is refused. */
async function race(a: OwnerProcess, b: OwnerProcess, out: string, rates: readonly [number, number]): Promise<void> {
  await Promise.all([a.said(/^ready/), b.said(/^ready/)]);
  await Promise.all([a.go(), b.go()]);
  const ends = await Promise.all([a.end, b.end]);
  const winners = ends.filter(({ code }) => code === 0).length;
  check(
    winners === 1,
    `${winners} of two runs trained: ${ends.map(({ lines, errors }) => `${lines.at(-1)} ${errors}`).join(' | ')}`,
  );
  const [winner, loser, rate] = ends[0].code === 0 ? [a, b, rates[0]] : [b, a, rates[1]];
  await checkRefused(loser, new RegExp(`process \\d+ on host "(${hostname()}|other)"`));
  await checkRun(winner, out, rate);
}

/** The first one ends by a signal in a save or between two; then the second takes up the folder. */
async function afterKill(
  first: OwnerProcess,
  second: OwnerProcess,
  out: string,
  rate: number,
  inSave: boolean,
): Promise<number> {
  await second.said(/^ready/);
  await first.go();
  await first.said(inSave ? /^saving/ : /^saved/, 2);
  if (inSave) await sleep(20);
  first.signal('SIGKILL');
  await first.end;
  counts.killed++;
  const begin = performance.now();
  await second.go();
  await second.said(/^step/);
  const tookMs = performance.now() - begin;
  await checkRun(second, out, rate);
  counts.takenOver++;
  return tookMs;
}

async function inOneSpace(i: number): Promise<string> {
  const out = newFolder();
  const kind = i % 6;
  if (kind === 4 || kind === 5) {
    const rate = kind === 4 ? RATES[0] : RATES[1];
    const second = train('host', out, rate, kind === 4 ? { resume: 'true' } : {});
    const ms = await afterKill(train('host', out, RATES[0], { 'save-ms': 60 }), second, out, rate, i % 4 < 2);
    // Known at once to be dead.
    check(ms < staleMs, `a run killed on this host was waited for: ${ms.toFixed(0)} ms`);
    return `killed, then ${kind === 4 ? 'resumed' : 'begun anew with other settings'}: first step after ${ms.toFixed(0)} ms`;
  }
  const rates = kind === 1 || kind === 3 ? RATES : ([RATES[0], RATES[0]] as const);
  let [path, cwd] = [out, '.'];
  if (kind === 2) {
    path = `${out}-link`;
    await mkdir(out);
    await symlink(out, path);
  }
  if (kind === 3) [path, cwd] = [`./../${basename(dirname(out))}/${basename(out)}/`, dirname(out)];
  await race(train('host', out, rates[0]), train('host', path, rates[1], { cwd }), out, rates);
  return `at once, ${['same settings', 'other settings', 'through a link', 'by a relative path'][kind]}: one trained, one was refused`;
}

async function inTwoSpaces(i: number): Promise<string> {
  const out = newFolder();
  const [a, b]: [Space, Space] = [i % 2 ? 'pid' : 'host', i % 3 === 2 ? 'uts' : 'pid'];
  const where = `${a} and ${b}`;
  const kind = i % 5;
  if (kind < 2) {
    const rates = kind === 0 ? ([RATES[0], RATES[0]] as const) : RATES;
    // Long enough for a sign of life to be seen.
    const slow = { 'step-ms': staleMs / 6 };
    await race(train(a, out, rates[0], slow), train(b, out, rates[1], slow), out, rates);
    return `${where}, at once: one trained, one was refused`;
  }
  if (kind === 2) {
    // A save under way, for longer than others wait for signs.
    const first = train(a, out, RATES[0], { 'save-ms': staleMs * 1.5, steps: 1 });
    const second = train(b, out, RATES[1], { steps: 1 });
    await second.said(/^ready/);
    await first.go();
    await first.said(/^saving/);
    await second.go();
    await checkRefused(second, /process \d+ on host/);
    const { code, errors } = await first.end;
    check(code === 0, `the run that was saving failed: ${errors}`);
    const found = await checkpointDigests(out);
    const expected = train('host', newFolder(), RATES[0], { steps: 1 });
    await (await expected.go()).end;
    check(
      found.size === 1 && (await adapterDigest(finals.get(first)!)) === (await adapterDigest(finals.get(expected)!)),
      'disturbed',
    );
    counts.adaptersCompared++;
    return `${where}, while the other saves: refused, and the save was not disturbed`;
  }
  if (kind === 3) {
    const first = train(a, out, RATES[0], { 'save-ms': 60 });
    const second = train(b, out, RATES[0], { resume: 'true' });
    const ms = await afterKill(first, second, out, RATES[0], i % 2 === 0);
    check(ms < staleMs * 2 + 2000, `taken over after ${ms.toFixed(0)} ms`);
    takeovers.push(ms);
    return `${where}, killed: taken over, first step after ${ms.toFixed(0)} ms of ${staleMs}`;
  }
  // Suspended, taken for dead, and awake again while the other one trains or after it has ended.
  const first = train('host', out, RATES[1], { 'save-ms': 60, 'step-ms': 100 });
  const second = train(b, out, RATES[0], { 'step-ms': i === 4 ? 400 : 0 });
  await second.said(/^ready/);
  await first.go();
  await first.said(/^saved/, 2);
  first.signal('SIGSTOP');
  await second.go();
  if (i === 4) await second.said(/^step/, 2);
  else await second.end;
  first.signal('SIGCONT');
  const { lines, errors } = await first.end;
  check(
    /refused TRAINING .*no longer this run's/.test(lines.at(-1) ?? ''),
    `woke and went on: ${lines.at(-1)} ${errors}`,
  );
  counts.suspended++;
  const { code } = await second.end;
  check(code === 0, 'the second run was disturbed');
  // What the first had saved before it was suspended may stay; the second wrote over the same steps.
  await checkRun(second, out, RATES[0]);
  counts.takenOver++;
  return `host and ${b}, suspended: the first stopped when it woke ${i === 4 ? 'beside the second' : 'after the second had ended'}`;
}

async function merges(a: Space, b: Space, kill: boolean): Promise<string> {
  const parent = newFolder();
  const out = join(parent, 'merged');
  const adapter = join(dir, `alone-${RATES[0]}-final`);
  const args = { task: 'merge', out, checkpoint, adapter, 'stale-ms': staleMs };
  const expected = await new OwnerProcess('host', { ...args, out: join(parent, 'alone') }).go();
  check((await expected.end).code === 0, `a merge alone failed: ${(await expected.end).errors}`);
  const slow = { 'step-ms': kill ? 100 : staleMs / 20 };
  const [first, second] = [new OwnerProcess(a, { ...args, ...slow }), new OwnerProcess(b, { ...args, ...slow })];
  await Promise.all([first.said(/^ready/), second.said(/^ready/)]);
  await first.go();
  let text = 'one merged, one was refused';
  if (kill) {
    await first.said(/^progress/, 3);
    first.signal('SIGKILL');
    await first.end;
    const left = (await readdir(parent)).filter((name) => name.endsWith('.partial'));
    check(
      left.length === 1 && !(await readdir(parent)).includes('merged'),
      `a killed merge left ${await readdir(parent)}`,
    );
    counts.killed++;
    await second.go();
    check(
      (await second.end).code === 0,
      `the merge after it failed: ${(await second.end).errors} ${second.lines.at(-1)}`,
    );
    text = 'killed: the next one removed what it left';
  } else {
    await second.go();
    const ends = await Promise.all([first.end, second.end]);
    check(
      ends
        .map(({ code }) => code)
        .sort()
        .join() === '0,3',
      `merges ended with ${ends.map((end) => `${end.code} ${end.lines.at(-1)} ${end.errors}`)}`,
    );
    const refused = ends.find(({ code }) => code === 3)!.lines.at(-1)!;
    check(/refused CHECKPOINT .*(being written by a merge|is not empty)/.test(refused), refused);
    counts.refused++;
  }
  check((await readdir(parent)).sort().join() === 'alone,merged', `left: ${await readdir(parent)}`);
  const names = (await readdir(out)).sort();
  check(
    names.join() === (await readdir(join(parent, 'alone'))).sort().join(),
    'other files than those of a merge alone',
  );
  for (const name of names) {
    check((await readFile(join(out, name))).equals(await readFile(join(parent, 'alone', name))), `${name} differs`);
  }
  counts.mergesCompared++;
  return `merges, ${a} and ${b}: ${text}`;
}

async function saves(a: Space, b: Space): Promise<string> {
  const out = newFolder();
  const children = [a, b].map((space, i) => {
    return new OwnerProcess(space, { task: 'save', out, checkpoint, rate: RATES[i]!, steps: 15, 'stale-ms': staleMs });
  });
  await Promise.all(children.map((child) => child.said(/^ready/)));
  await Promise.all(children.map((child) => child.go()));
  let looks = 0;
  while (!children.every((child) => child.hasEnded)) {
    const state = await mixed(out);
    check(state !== 'mixed', 'configuration and weights of two adapters');
    if (state === 'one') looks++;
    await sleep(5);
  }
  for (const { code, errors } of await Promise.all(children.map((child) => child.end)))
    check(code === 0, `a save failed: ${errors}`);
  check((await mixed(out)) === 'one', 'mixed at the end');
  check(
    (await readdir(out)).sort().join() === 'adapter_config.json,adapter_model.safetensors',
    `left: ${await readdir(out)}`,
  );
  return `saves, ${a} and ${b}: 30 into one folder, ${looks} looks, never mixed`;
}

/** Whether the files in a folder, read while they are replaced, are of one adapter. */
async function mixed(out: string): Promise<'one' | 'none' | 'mixed'> {
  const config = () => readFile(join(out, 'adapter_config.json'), 'utf8').catch(() => undefined);
  const before = await config();
  const file = await SafetensorsFile.open(join(out, 'adapter_model.safetensors')).catch(() => undefined);
  if (!before || !file) return file?.close().then(() => 'none') ?? 'none';
  const [value] = await file.readFloat32([...file.tensors.keys()][0]!);
  await file.close();
  // As loadAdapter: the weights count only if the configuration is still the one that was read.
  if ((await config()) !== before) return 'none';
  const { lora_alpha: alpha } = JSON.parse(before) as { lora_alpha: number };
  return Math.abs(alpha / 400 - value!) < 1e-6 ? 'one' : 'mixed';
}

async function downloads(a: Space, b: Space, kill: boolean): Promise<string> {
  const out = newFolder();
  const content = Buffer.alloc(3_000_000, (folders * 7919).toString());
  let sent = 0;
  const server = await ScriptedServer.start((request, response) => {
    // Slowly, so that both want it at the same time.
    const from = Number(/bytes=(\d+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const headers = { etag: '"one"', 'content-length': content.length - from, 'accept-ranges': 'bytes' };
    if (from > 0)
      response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
    else response.writeHead(200, headers);
    let at = from;
    const next = (): void => {
      if (at >= content.length || response.destroyed) return void response.end();
      const piece = content.subarray(at, at + 100_000);
      at += piece.length;
      sent += piece.length;
      response.write(piece);
      setTimeout(next, 40);
    };
    next();
  });
  try {
    const args = { task: 'download', out, url: `${server.url}/file`, digest: sha256(content), 'stale-ms': staleMs };
    const children = [new OwnerProcess(a, args), new OwnerProcess(b, args)] as const;
    await Promise.all(children.map((child) => child.said(/^ready/)));
    await children[0].go();
    if (kill) {
      await children[0].said(/^progress/, 3);
      children[0].signal('SIGKILL');
      await children[0].end;
      counts.killed++;
    }
    await children[1].go();
    const ends = await Promise.all(children.map((child) => child.end));
    check(
      ends[1]!.code === 0 && (kill || ends[0]!.code === 0),
      `a download failed: ${ends.map(({ errors, lines }) => `${lines.at(-1)} ${errors}`)}`,
    );
    check((await readFile(join(out, 'file'))).equals(content), 'other bytes');
    const fetched = ends.filter(({ lines }) => lines.includes('fetched')).length;
    check(fetched === 1, `${fetched} processes fetched it`);
    check(sent <= content.length + (kill ? 300_000 : 0), `${sent} bytes were sent for ${content.length}`);
    check((await readdir(out)).join() === 'file', `left: ${await readdir(out)}`);
    counts.downloadsCompared++;
    return `downloads, ${a} and ${b}: ${kill ? 'killed, and continued' : 'fetched once'}, ${sent} bytes sent of ${content.length}`;
  } finally {
    await server.close();
  }
}

async function pair(label: string, work: () => Promise<string>): Promise<void> {
  const text = await work().catch((error: Error) => {
    throw new Error(`${label}: ${error.message}`, { cause: error });
  });
  counts.pairs++;
  console.log(`${label}: ${text}`);
}

try {
  for (let i = 0; i < pairs; i++) await pair(`pair ${i + 1}`, () => inOneSpace(i));
  await pair('merge', () => merges('host', 'host', false));
  await pair('merge', () => merges('host', 'host', true));
  await pair('save', () => saves('host', 'host'));
  await pair('download', () => downloads('host', 'host', true));
  if (canMakeSpaces()) {
    for (let i = 0; i < spacePairs; i++) await pair(`spaces ${i + 1}`, () => inTwoSpaces(i));
    await pair('merge', () => merges('pid', 'pid', false));
    await pair('merge', () => merges('uts', 'host', true));
    await pair('save', () => saves('pid', 'uts'));
    await pair('download', () => downloads('pid', 'pid', false));
    await pair('download', () => downloads('uts', 'host', true));
  } else console.log('no PID namespaces can be made here: root is needed');
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `RESULT ${JSON.stringify({ test: 'owners', staleMs, ...counts, takeoverMs: takeovers.map(Math.round), seconds })}`,
  );
} finally {
  await rm(dir, { recursive: true, force: true });
}
