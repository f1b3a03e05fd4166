import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { WorkerThreads } from '../../src/async/worker-threads.js';

/** Does what it is asked: answers, dies in two ways, or never answers. */
const PROGRAM = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', (message) => {
  if (message === 'exit') process.exit(7);
  if (message === 'crash') throw new Error('broken');
  if (message === 'silence') return;
  parentPort.postMessage(message === 'fail' ? { error: new Error('no') } : { result: message });
});
`;

describe('WorkerThreads', () => {
  let threads: WorkerThreads<unknown, unknown>;
  const make = (count: number, program = PROGRAM): WorkerThreads<unknown, unknown> => {
    threads = new WorkerThreads(program, count);
    return threads;
  };
  afterEach(() => threads.close(new Error('closed')));

  it('rejects the job of a thread that ends, and goes on with another', async () => {
    make(1);
    const jobs = ['a', 'exit', 'b', 'crash', 'fail', 'c'].map((message) => threads.run(message));
    const results = await Promise.allSettled(jobs);
    expect(results.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.message))).toEqual([
      'a',
      'the worker thread ended with code 7',
      'b',
      'broken',
      'no',
      'c',
    ]);
  });

  it('rejects what cannot be sent, and the thread is free again', async () => {
    make(1);
    await expect(threads.run({ f() {} })).rejects.toThrow(/could not be cloned/);
    expect(await threads.run('b')).toBe('b');
  });

  it('rejects every job where no thread lives long enough', async () => {
    make(2, 'process.exit(3)');
    const results = await Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((message) => threads.run(message)));
    expect(results.map((one) => one.status)).toEqual(Array(5).fill('rejected'));
  });

  it('rejects at once when aborted: before, while it waits, and while it is never answered', async () => {
    make(1);
    const reason = new Error('enough');
    await expect(threads.run('a', [], AbortSignal.abort(reason))).rejects.toBe(reason);
    const [running, waiting] = [new AbortController(), new AbortController()];
    const jobs = [threads.run('silence', [], running.signal), threads.run('b', [], waiting.signal), threads.run('c')];
    jobs[2]!.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    waiting.abort(reason);
    await expect(jobs[1]).rejects.toBe(reason);
    running.abort(reason);
    running.abort(new Error('again'));
    await expect(jobs[0]).rejects.toBe(reason);
    expect(threads.hasIdle).toBe(false);
  });

  it('lets a process end that gave up on a thread', async () => {
    make(1);
    const url = new URL('../../src/async/worker-threads.ts', import.meta.url).href;
    const script = `
      const { WorkerThreads } = await import(${JSON.stringify(url)});
      const threads = new WorkerThreads(${JSON.stringify(PROGRAM)}, 1);
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error('enough')), 50);
      await threads.run('silence', [], controller.signal).catch((error) => console.log(error.message));
    `;
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 50_000 });
    expect(stdout.trim()).toBe('enough');
  });

  it('or on several, also where others waited for theirs, and where an answer is awaited by nobody', async () => {
    make(1);
    const url = new URL('../../src/async/worker-threads.ts', import.meta.url).href;
    const script = `
      const { WorkerThreads } = await import(${JSON.stringify(url)});
      const threads = new WorkerThreads(${JSON.stringify(PROGRAM)}, 1);
      const [running, waiting] = [new AbortController(), new AbortController()];
      const jobs = [threads.run('silence', [], running.signal, 'wait'), threads.run('b', [], waiting.signal)];
      jobs[0].finally(() => console.log('answered'));
      setTimeout(() => running.abort(new Error('enough')), 50);
      setTimeout(() => waiting.abort(new Error('more')), 100);
      await jobs[1].catch((error) => console.log(error.message));
    `;
    const cwd = fileURLToPath(new URL('../..', import.meta.url));
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, timeout: 50_000 });
    expect(stdout.trim()).toBe('more');
  });

  it('gives the answer of a thread that has begun where that is wanted', async () => {
    make(1);
    const controller = new AbortController();
    const jobs = [
      threads.run('a', [], controller.signal, 'wait'),
      threads.run('b', [], controller.signal, 'wait').catch((error: Error) => error.message),
    ];
    controller.abort(new Error('enough'));
    expect(await Promise.all(jobs)).toEqual(['a', 'enough']);
  });
});
