import { appendFile, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { jsonLines } from '../../src/monitor/json-lines.js';
import { tensorBoard } from '../../src/monitor/tensorboard.js';
import { readHistory } from '../../src/train/history.js';
import { parseSftConfig } from '../../src/train/sft-config.js';
import { follow } from '../train/follow.js';
import { linearModel, linearTrainer } from '../train/linear-model.js';
import { begin } from './scripted-run.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'json-lines-'));
});
afterEach(() => rm(outputDir, { recursive: true }));
afterEach(() => void vi.restoreAllMocks());

const SETTINGS = { saveStrategy: 'steps', saveSteps: 2, loggingSteps: 2 } as const;
const trainer = (path?: string) =>
  linearTrainer(linearModel(), { outputDir, ...SETTINGS }, { callbacks: [jsonLines({ path })] });
const linesOf = async (path: string): Promise<Record<string, unknown>[]> => {
  const text = await readFile(path, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
};

describe('jsonLines', () => {
  it('writes every event with its fields and the time', async () => {
    const before = Date.now();
    const { events } = await follow(trainer().train());
    const lines = await linesOf(join(outputDir, 'events.jsonl'));
    expect(lines).toHaveLength(events.length);
    for (const [i, { time, ...line }] of lines.entries()) {
      const event = JSON.parse(JSON.stringify(events[i])) as Record<string, unknown>;
      if (event.type === 'end') delete (event.output as Record<string, unknown>).logHistory;
      expect(line).toEqual(event);
      expect(Date.parse(time as string)).toBeGreaterThanOrEqual(before);
    }
  });

  it('goes on in the same file after a crash within a line and a resume, and reads as a history', async () => {
    const path = join(outputDir, 'logs', 'run.jsonl');
    await trainer(path).train();
    await appendFile(path, '{"type":"log","step":9,');
    await trainer(path).train({ resumeFromCheckpoint: join(outputDir, 'checkpoint-4') });
    const history = await readHistory(path);
    const own = await readHistory(join(outputDir, 'train-log.jsonl'));
    expect(history.logs).toMatchObject(own.logs);
    expect(own.logs.map(({ step }) => step)).toEqual([2, 4, 6]);
  });

  it('leaves out what a full disk does not take, with one warning, and writes whole lines later', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const path = join(outputDir, 'run.jsonl');
    const probe = await open(join(outputDir, 'probe'), 'w');
    const handle = Object.getPrototypeOf(probe) as { appendFile(bytes: Buffer): Promise<void> };
    await probe.close();
    const { appendFile: whole } = handle;
    let calls = 0;
    vi.spyOn(handle, 'appendFile').mockImplementation(async function (this: unknown, bytes: Buffer) {
      calls++;
      if (calls !== 3 && calls !== 5) return whole.call(this, bytes);
      await whole.call(this, bytes.subarray(0, 10));
      throw new Error('ENOSPC: no space left on device, write');
    });
    const { events } = await follow(trainer(path).train());
    const lines = await linesOf(path);
    const left = events.filter((_, i) => i !== 2 && i !== 4);
    expect(lines.map(({ type, step }) => [type, step])).toEqual(left.map(({ type, step }) => [type, step]));
    expect(warned.mock.calls).toEqual([
      [`${path} lacks events from here on: ENOSPC: no space left on device, write`, 'TrainerCallbackWarning'],
    ]);
  });

  it.each([jsonLines, tensorBoard])('follows one run at a time: the events of two would mix', async (make) => {
    const callback = make();
    await begin(callback, { config: parseSftConfig({ outputDir: join(outputDir, 'first') }) });
    const other = begin(callback, { config: parseSftConfig({ outputDir: join(outputDir, 'second') }) });
    await expect(other).rejects.toThrow(/follows another run already\n {2}hint: Make one for each run/);
    await callback.onClose?.();
    await callback.onClose?.();
    await begin(callback, { config: parseSftConfig({ outputDir: join(outputDir, 'third') }) });
    await callback.onClose?.();
    expect((await readdir(outputDir)).sort()).toEqual(['first', 'third']);
  });

  it('checks its options', () => {
    expect(() => jsonLines({ file: 'x' } as object)).toThrow(/`path`/);
    expect(() => jsonLines({ path: '' })).toThrow(ConfigError);
  });
});
