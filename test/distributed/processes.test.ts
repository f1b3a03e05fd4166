/** Ranks in processes of their own, which end in all ways that processes do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';
import { onPosix } from '../where.js';
import { freePort } from './join-ranks.js';

let program: ChildProgram;
const children: ChildProcess[] = [];
beforeAll(async () => {
  program = await childProgram('test/distributed/rank-program.ts');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => program.remove());

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string[];
  readonly err: string;
}

/** @param roles by rank @param awaited ranks whose end is waited for; default all */
async function start(
  roles: readonly string[],
  settings: NodeJS.ProcessEnv = {},
  awaited = roles.map((_, rank) => rank),
): Promise<Ended[]> {
  const port = String(await freePort());
  const ends = roles.map((role, rank) => {
    const place = { RANK: String(rank), WORLD_SIZE: String(roles.length), MASTER_ADDR: '127.0.0.1', MASTER_PORT: port };
    const env = { ...process.env, ...place, ...settings };
    const child = spawn(process.execPath, [program.path, role], { env });
    children.push(child);
    let [out, err] = ['', ''];
    child.stdout.on('data', (text) => (out += text));
    child.stderr.on('data', (text) => (err += text));
    return new Promise<Ended>((resolve) => {
      child.on('close', (code, signal) => resolve({ code, signal, out: out.trim().split('\n'), err }));
    });
  });
  return Promise.all(awaited.map((rank) => ends[rank]!));
}

const SHORT = { SHORT_BEATS: '1' };

describe('ranks in processes', () => {
  it('give their values, and end by themselves', async () => {
    const ended = await start(['gather', 'gather', 'gather']);
    for (const { code, out, err } of ended) expect([code, out, err]).toEqual([0, ['joined', '[0,1,2]'], '']);
  });

  it.each([
    [
      'an error that nobody catches',
      'throw',
      'it ended with an error that nobody caught: TypeError: x is not a function',
    ],
    ['process.exit', 'exit', 'it ended with exit code 7'],
  ])('hear of %s on another', async (_, role, how) => {
    const [main, other] = await start(['wait', role]);
    const said = /^failure: rank 1 \(process \d+ on host ".*"\) was lost during training: (.*)$/.exec(
      main!.out.at(-1)!,
    );
    expect(said?.[1]).toBe(how);
    expect([main!.code, other!.code]).toEqual([4, role === 'exit' ? 7 : 1]);
  });

  onPosix.it('hear of a killed one, rank 0 or another', async () => {
    const [main, other] = await Promise.all([start(['wait', 'wait', 'kill']), start(['kill', 'wait'])]);
    expect(main[0]!.out.at(-1)).toMatch(/^failure: rank 2 .*was lost during training: it closed its connection/);
    expect(main[1]!.out.at(-1)).toBe(main[0]!.out.at(-1));
    expect(other[1]!.out.at(-1)).toMatch(/^failure: rank 0 was lost during training: it closed its connection/);
    expect([...main, ...other].map(({ code }) => code)).toEqual([4, 4, null, null, 4]);
  });

  onPosix.it('hear of a stopped one, rank 0 or another', async () => {
    const [main, other] = await Promise.all([start(['wait', 'stop'], SHORT, [0]), start(['stop', 'wait'], SHORT, [1])]);
    expect(main[0]!.out.at(-1)).toMatch(/^failure: rank 1 .*was lost during training: it gave no sign of life for /);
    expect(other[0]!.out.at(-1)).toMatch(/^failure: rank 0 was lost during training: it gave no sign of life for /);
  });

  onPosix.it('are ended by their own thread where they hang, once another has failed', async () => {
    const [main, other] = await start(['exit', 'hang']);
    expect(main!.code).toBe(7);
    expect(other!.signal).toBe('SIGKILL');
    expect(other!.err).toMatch(
      /^ministral-tune: rank 1 has not answered for 0.3 s .*: its process is ended by SIGKILL\n$/,
    );
  });

  it('say whom they wait for, and for whom they waited in vain', async () => {
    const settings = { EARLY_NOTICE: '1', MINISTRAL_TUNE_RENDEZVOUS_SECONDS: '2' };
    const [main, joined, never] = await start(['gather', 'gather', 'never'], settings);
    expect(main!.err).toContain('ministral-tune: waiting for rank 2 of 3\n');
    for (const { code, err } of [main!, joined!]) {
      expect(code).toBe(1);
      expect(err).toContain('DistributedError: rank 2 of 3 did not come within 2 s\n  hint: ');
    }
    expect(never!.err).toContain('before it joined');
  });
});
