import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';
import { Follower } from './live-client.js';

describe('the process of a live page', () => {
  let program: ChildProgram;
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    program = await childProgram('test/monitor/live-child.ts');
  });
  afterAll(() => program.remove());
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  function start(way: string) {
    const child = spawn(process.execPath, [program.path, way]);
    children.push(child);
    let output = '';
    let wake = (): void => {};
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        wake();
      });
    }
    const exit = new Promise<number | string | null>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal));
    });
    const said = async (pattern: RegExp): Promise<string> => {
      while (!pattern.test(output)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return pattern.exec(output)![1] ?? '';
    };
    return { child, exit, said };
  }

  it('is not kept by a page that was only opened', async () => {
    const { exit, said } = start('open');
    await said(/live page: (http:\S+)\n/);
    await said(/over/);
    expect(await exit).toBe(0);
  });

  it('is not kept by a browser that follows such a page', async () => {
    const { child, exit, said } = start('followed');
    const follower = await Follower.open(await said(/live page: (http:\S+)\n/));
    await follower.until(({ messages }) => messages.length >= 1);
    child.stdin.write('go on\n');
    expect(await exit).toBe(0);
  });

  it('ends after the run though browsers follow, which have the last message', async () => {
    const { child, exit, said } = start('run');
    const follower = await Follower.open(await said(/live page: (http:\S+)\n/));
    await follower.until(({ messages }) => messages.length >= 1);
    child.stdin.write('go on\n');
    expect(await exit).toBe(0);
    await follower.until(({ isEnded }) => isEnded);
    expect(follower.messages.at(-1)!.name).toBe('closed');
  });

  it('is kept open until a signal, if that is asked for', async () => {
    const { child, exit, said } = start('keep');
    const address = await said(/live page: (http:\S+)\n/);
    child.stdin.write('go on\n');
    await said(/over/);
    const follower = await Follower.open(address);
    await follower.until(({ messages }) => messages.length >= 1);
    expect(follower.last.status).toMatchObject({ state: 'finished' });
    child.kill('SIGINT');
    await follower.until(({ isEnded }) => isEnded);
    expect(follower.messages.at(-1)!.name).toBe('closed');
    expect(await exit).toBe(0);
  });
});
