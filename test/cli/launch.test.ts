import { writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { launch } from '../../src/cli/launch.js';
import { nodeArguments } from '../../src/cli/launch-program.js';
import { runCommand } from '../../src/cli/run-command.js';
import { onLinux, onPosix } from '../where.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'launch-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

let count = 0;
async function program(text: string): Promise<string> {
  const path = join(dir, `program-${count++}.mjs`);
  await writeFile(path, `const { RANK, LOCAL_RANK, WORLD_SIZE } = process.env;\n${text}`);
  return path;
}

interface Run {
  readonly code: number;
  readonly out: string[];
  readonly err: string[];
}

async function run(text: string, changes: Partial<Parameters<typeof launch>[0]> = {}): Promise<Run> {
  const out: string[] = [];
  const err: string[] = [];
  const request = { gpus: 2, program: await program(text), programArguments: [], allOutput: true, ...changes };
  const output = { print: (line: string) => void out.push(line), printError: (line: string) => void err.push(line) };
  return { code: await launch(request, output), out, err };
}

const QUICK = { graceMs: 150, killMs: 150, stoppedMs: 50, outputMs: 50, samePressMs: 30 };

/** End of a program whose rank 1 says once that both ranks have come so far; its argument is a file for it. */
const READY = `
  import { existsSync, writeFileSync } from 'node:fs';
  if (RANK === '0') writeFileSync(process.argv[2], '');
  let isSaid = false;
  setInterval(() => {
    if (RANK === '0' || isSaid || !existsSync(process.argv[2])) return;
    isSaid = true;
    console.error('ready');
  }, 20);`;

describe('launch', () => {
  it('gives each process its place, one secret and its arguments, and passes on what the others write', async () => {
    const text = `
      import { writeFileSync } from 'node:fs';
      const { MASTER_ADDR, MASTER_PORT, LOCAL_WORLD_SIZE, MINISTRAL_TUNE_SECRET } = process.env;
      const place = [RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, MINISTRAL_TUNE_SECRET];
      writeFileSync(process.argv[2] + RANK, JSON.stringify([place, process.argv.slice(3)]));
      if (RANK === '1') { process.stderr.write('one\\ntw'); process.stderr.write('o'); console.log('result'); }`;
    const place = join(dir, 'place-');
    const { code, out, err } = await run(text, { programArguments: [place, '--gpus', '9'] });
    expect([code, out]).toEqual([0, ['[rank 1] result']]);
    expect(err).toEqual(['[rank 1] one', '[rank 1] two']);
    const [first, second] = await Promise.all([0, 1].map(async (r) => JSON.parse(await readFile(place + r, 'utf8'))));
    expect(first[0].slice(0, 5)).toEqual(['0', '0', '2', '2', '127.0.0.1']);
    expect(second[0].slice(0, 5)).toEqual(['1', '1', '2', '2', '127.0.0.1']);
    expect(first[0].slice(5)).toEqual(second[0].slice(5));
    expect(first[0][6]).toMatch(/^[0-9a-f]{64}$/);
    expect(first[1]).toEqual(['--gpus', '9']);
  });

  onPosix.it('ends those that go on with SIGTERM and SIGKILL, and says which failed first', async () => {
    const text = `
      import { existsSync, writeFileSync } from 'node:fs';
      const ready = process.argv[2];
      if (RANK === '1') setInterval(() => { if (existsSync(ready)) process.exit(3); }, 20);
      else if (RANK === '0') process.on('SIGTERM', () => process.exit(4));
      else { process.on('SIGTERM', () => console.error('hears')); writeFileSync(ready, ''); }
      setInterval(() => {}, 1000);`;
    const programArguments = [join(dir, 'rank-2-is-ready')];
    const { code, err } = await run(text, { gpus: 3, times: QUICK, programArguments });
    expect(code).toBe(3);
    expect(err[0]).toBe('[rank 2] hears');
    expect(err.at(-1)).toMatch(
      /^launch: rank 1 of 3 ended with exit code 3 after \d+ s, the first that failed; ranks 0, 2 had to be ended$/,
    );
  });

  onLinux.it('kills a stopped one', async () => {
    const text = `
      import { existsSync, readFileSync, writeFileSync } from 'node:fs';
      const [, , pid] = process.argv;
      if (RANK === '1') { writeFileSync(pid, String(process.pid)); process.kill(process.pid, 'SIGSTOP'); }
      setInterval(() => {
        try { if (/ T /.test(readFileSync('/proc/' + readFileSync(pid) + '/stat'))) process.exit(6); } catch {}
      }, 20);`;
    const programArguments = [join(dir, 'pid-of-rank-1')];
    const { code, err } = await run(text, { times: { ...QUICK, graceMs: 60_000 }, programArguments });
    expect(code).toBe(6);
    expect(err.at(-1)).toMatch(/^launch: rank 0 of 2 ended with exit code 6 .*; rank 1 had to be ended$/);
  });

  onPosix.it('passes signals on, once', async () => {
    const ready = join(dir, 'rank-0-is-ready');
    const text = `
      import { existsSync, writeFileSync } from 'node:fs';
      let count = 0;
      process.on('SIGUSR2', () => { count++; setTimeout(() => process.exit(count === 1 ? 0 : 9), 50); });
      if (RANK === '0') writeFileSync(process.argv[2], '');
      setInterval(() => { if (RANK === '1' && existsSync(process.argv[2])) console.error('ready'); }, 20);`;
    let isSent = false;
    const request = { gpus: 2, program: await program(text), programArguments: [ready] };
    const printError = (line: string): void => {
      expect(line).toBe('[rank 1] ready');
      if (!isSent) process.kill(process.pid, 'SIGUSR2');
      isSent = true;
    };
    expect(await launch(request, { print: () => undefined, printError })).toBe(0);
  });

  onPosix.it('keeps a closed terminal from ranks that nohup was to keep it from', async () => {
    const ready = join(dir, 'rank-0-hears');
    const text = `
      process.on('SIGHUP', () => process.exit(9));
      process.on('SIGUSR2', () => process.exit(0));
      ${READY}`;
    const err: string[] = [];
    const printError = (line: string): void => {
      err.push(line);
      for (const name of ['SIGHUP', 'SIGUSR2'] as const) process.kill(process.pid, name);
    };
    const request = { gpus: 2, program: await program(text), programArguments: [ready], times: QUICK };
    vi.stubEnv('_', '/usr/bin/nohup');
    try {
      expect(await launch(request, { print: () => undefined, printError })).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
    expect(err).toEqual(['[rank 1] ready']);
  });

  async function pressCtrlC(samePressMs: number, code: number, heard: number): Promise<void> {
    const text = `
      let heard = 0;
      process.on('SIGINT', () => {
        if (RANK === '1') console.error(++heard);
      });
      process.on('SIGUSR2', () => process.exit(0));
      ${READY}`;
    const err: string[] = [];
    const printError = (line: string): void => {
      err.push(line);
      if (line === '[rank 1] 5') process.kill(process.pid, 'SIGUSR2');
      else if (line.startsWith('[rank 1]')) process.kill(process.pid, 'SIGINT');
    };
    const ready = join(dir, `rank-0-is-ready-${samePressMs}`);
    const request = { gpus: 2, program: await program(text), programArguments: [ready] };
    const times = { ...QUICK, samePressMs };
    expect(await launch({ ...request, times }, { print: () => undefined, printError })).toBe(code);
    expect(err.filter((line) => /^\[rank 1\] \d$/.test(line))).toHaveLength(heard);
    if (code > 0) expect(err.at(-1)).toMatch(/^launch: SIGINT was passed on: rank \d of 2 was ended by SIGKILL/);
  }

  onPosix.it('kills ranks that do not heed Ctrl-C at the third press', () => pressCtrlC(0, 137, 2));

  onPosix.it('takes what npm and a shell send at once for one press', () => pressCtrlC(60_000, 0, 5));

  onPosix.it('does not wait for a process that a rank leaves behind with its output', async () => {
    const text = `
      import { spawn } from 'node:child_process';
      if (RANK === '1') {
        const left = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 20_000)'], { detached: true, stdio: 'inherit' });
        process.stderr.write(left.pid + ' goes on', () => process.exit(7));
      }`;
    const { code, err } = await run(text, { times: QUICK });
    const left = err[0]!.match(/^\[rank 1\] (\d+) goes on$/);
    process.kill(Number(left![1]), 'SIGKILL');
    expect([code, err.at(-1)]).toEqual([7, expect.stringContaining('rank 1 of 2 ended with exit code 7')]);
  });

  onPosix.it('says when the first one failed, and not when the others had ended', async () => {
    const go = join(dir, 'go');
    const text = `
      import { existsSync } from 'node:fs';
      process.on('SIGTERM', () => { console.error('hears'); process.exit(0); });
      if (RANK === '1') console.error('ready');
      setInterval(() => { if (RANK === '0' && existsSync(process.argv[2])) process.exit(5); }, 20);`;
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
    const err: string[] = [];
    const printError = (line: string): void => {
      err.push(line);
      now = line.endsWith('ready') ? 2000 : 9_000_000;
      writeFileSync(go, '');
    };
    const request = { gpus: 2, program: await program(text), programArguments: [go], times: QUICK };
    const ended = launch(request, { print: () => undefined, printError }).finally(() => clock.mockRestore());
    expect(await ended).toBe(5);
    expect(err.slice(0, 2)).toEqual(['[rank 1] ready', '[rank 1] hears']);
    expect(err.at(-1)).toMatch(/^launch: rank 0 of 2 ended with exit code 5 after 2 s, the first that failed/);
  });

  it('is refused inside of a launcher, which starts it once for each rank', async () => {
    const ranks = [
      { RANK: '1' },
      { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '2' },
      { SLURM_PROCID: '3', SLURM_STEP_NUM_TASKS: '4' },
    ];
    for (const variables of ranks) {
      for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
      await expect(run('')).rejects.toThrow(
        `is a rank of a launcher already: ${Object.entries(variables)[0]!.join('=')}`,
      );
      vi.unstubAllEnvs();
    }
    // A batch script of Slurm, and the one task of a step, are no ranks.
    vi.stubEnv('SLURM_PROCID', '0');
    expect((await run('')).code).toBe(0);
    vi.stubEnv('SLURM_STEP_NUM_TASKS', '1');
    expect((await run('')).code).toBe(0);
    vi.unstubAllEnvs();
  });

  it('hands on arguments as they are, in a folder of any name', async () => {
    const folder = await mkdtemp(join(dir, 'with spaces; $(x) '));
    const path = join(folder, '--help.mjs');
    const place = join(folder, 'arguments');
    await writeFile(
      path,
      `import { readFileSync, writeFileSync } from 'node:fs';
      writeFileSync(process.argv[2], JSON.stringify([process.argv.slice(3), readFileSync(0, 'utf8')]));`,
    );
    const said: string[] = [];
    const output = {
      print: (line: string) => void said.push(line),
      printError: (line: string) => void said.push(line),
    };
    const args = ['--gpus', '2', '--', '-h', 'a b', '', '--gpus=3', '--all-output'];
    expect(await runCommand(['launch', '--gpus=1', path, place, ...args], output)).toBe(0);
    expect(JSON.parse(await readFile(place, 'utf8'))).toEqual([args, '']);
    expect(said).toEqual([]);
  });

  it('says what it starts, and what not', async () => {
    const path = await program('');
    expect(nodeArguments(path, ['a'], 'main.js')).toEqual([path, 'a']);
    expect(nodeArguments('train', ['--data', 'x'], 'main.js').slice(-4)).toEqual(['main.js', 'train', '--data', 'x']);
    expect(() => nodeArguments('demo', [], 'main.js')).toThrow(/demo runs in one process/);
    expect(() => nodeArguments('traim', [], 'main.js')).toThrow(/traim is not there/);
    expect(() => nodeArguments(dir, [], 'main.js')).toThrow(/is no file/);
    const said: string[] = [];
    const output = {
      print: (line: string) => void said.push(line),
      printError: (line: string) => void said.push(line),
    };
    expect(await runCommand(['launch', '--help'], output)).toBe(0);
    expect(said[0]).toContain('--all-output');
    expect(await runCommand(['launch', '--gpu', '2', path], output)).toBe(2);
    expect(said[1]).toContain('--gpus');
    expect(await runCommand(['launch', '--gpus', '0', path, '--help'], output)).toBe(2);
    expect(await runCommand(['launch'], output)).toBe(2);
    expect(await runCommand(['launch', '--gpus', '500', path], output)).toBe(2);
  });
});
