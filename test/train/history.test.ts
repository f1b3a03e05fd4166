import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { RunLog, readHistory, TrainHistory } from '../../src/train/history.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'history-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const path = () => join(folder, 'train-log.jsonl');
const start = (step = 0) => ({ type: 'start', step, totalSteps: 9 }) as unknown as TrainingEvent;
const log = (step: number, more: object = {}) => ({ type: 'log', step, loss: 1, ...more }) as unknown as TrainingEvent;
const evaluation = (step: number) => ({ type: 'evaluate', step, evalLoss: 2 }) as unknown as TrainingEvent;
const written = async () => (await readFile(path(), 'utf8')).split('\n').filter(Boolean);

describe('the log of a run', () => {
  const runLog = (outputDir = folder) => {
    const shown: TrainingEvent[] = [];
    const run = new RunLog(outputDir, async (event) => void shown.push(event));
    return { run, shown };
  };

  it('shows every event, writes the beginnings, log lines and evaluations, and keeps the last two', async () => {
    const { run, shown } = runLog(join(folder, 'new'));
    const events = [start(), log(1), { type: 'save', step: 1 } as unknown as TrainingEvent, evaluation(2)];
    for (const event of events) await run.emit(event);
    expect(shown).toEqual(events);
    expect(run.entries).toStrictEqual([
      { step: 1, loss: 1 },
      { step: 2, evalLoss: 2 },
    ]);
    const lines = (await readFile(join(folder, 'new', 'train-log.jsonl'), 'utf8')).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { type: 'start', step: 0, totalSteps: 9, time: expect.stringMatching(/^\d{4}-.*Z$/) },
      events[1],
      events[3],
    ]);
    const kept = [...run.entries];
    run.restore(kept);
    kept.pop();
    expect(run.entries).toHaveLength(2);
  });

  it('makes a warning printable', async () => {
    const { run, shown } = runLog();
    await run.warn(3, 'a\x1b[31mb');
    expect(shown).toEqual([{ type: 'warning', step: 3, message: expect.stringMatching(/^step 3: a/) }]);
    expect((shown[0] as { message: string }).message).not.toContain('\x1b');
  });

  it('that cannot be written is an error at the start, and one warning later', async () => {
    await mkdir(path());
    const { run, shown } = runLog();
    await expect(run.emit(start())).rejects.toMatchObject({
      name: 'CheckpointError',
      message: expect.stringMatching(/^cannot write .*train-log\.jsonl: EISDIR/),
      hint: 'Choose another `outputDir`.',
      cause: { code: 'EISDIR' },
    });
    expect(shown).toEqual([]);
    const events = [log(1), log(2), evaluation(2)];
    for (const event of events) await run.emit(event);
    const warning = { type: 'warning', step: 1, message: expect.stringMatching(/^cannot write .*: EISDIR/) };
    expect(shown).toEqual([warning, ...events]);
    expect(run.entries).toHaveLength(3);
  });
});

describe('a history', () => {
  it('has each entry whole, whatever a crash left before it', async () => {
    const history = new TrainHistory(folder);
    await history.append(log(1));
    await history.append(log(2));
    expect(await written()).toHaveLength(2);
    await writeFile(path(), '');
    await new TrainHistory(folder).append(log(1));
    expect((await readFile(path(), 'utf8')).startsWith('{')).toBe(true);
    await writeFile(path(), '{"type":"log","st');
    await new TrainHistory(folder).append(log(2));
    expect((await readHistory(path())).logs).toEqual([{ step: 2, loss: 1 }]);
    expect(await written()).toHaveLength(2);
  });

  it('reads as that of the run that was resumed', async () => {
    const history = new TrainHistory(folder);
    const events = [
      start(),
      log(1),
      log(2),
      evaluation(2),
      log(3),
      start(2),
      evaluation(2),
      log(3, { loss: 5 }),
      log(4),
    ];
    for (const event of events) await history.append(event);
    await writeFile(path(), `${await readFile(path(), 'utf8')}null\n\n5\n{"step":"x"}\n{}\n{"type":"log","st`);
    expect(await readHistory(path())).toStrictEqual({
      logs: [
        { step: 1, loss: 1 },
        { step: 2, loss: 1 },
        { step: 3, loss: 5 },
        { step: 4, loss: 1 },
      ],
      evaluations: [{ step: 2, evalLoss: 2 }],
    });
    // Two evaluations in a row are of two steps; a log line of the same step is no evaluation.
    await writeFile(path(), [log(1), evaluation(1), evaluation(2)].map((line) => JSON.stringify(line)).join('\n'));
    const { logs, evaluations } = await readHistory(path());
    expect([logs.length, evaluations.length]).toEqual([1, 2]);
  });

  it('that is none is refused, and an empty or begun one is not', async () => {
    for (const text of ['', '{"type":"sta']) {
      await writeFile(path(), text);
      expect(await readHistory(path())).toEqual({ logs: [], evaluations: [] });
    }
    await writeFile(path(), 'a table\nof others\n');
    const none = await readHistory(path()).catch((error: unknown) => error);
    expect(none).toBeInstanceOf(CheckpointError);
    const hint = "Give the file train-log.jsonl of a run's `outputDir`.";
    expect(none).toMatchObject({
      message: expect.stringContaining(`${path()} is no log of a training run: none of its lines is an entry`),
      hint,
      details: { path: path() },
    });
    await expect(readHistory(join(folder, 'none'))).rejects.toMatchObject({
      name: 'CheckpointError',
      message: expect.stringMatching(/none cannot be read: /),
      hint,
      details: { path: join(folder, 'none') },
      cause: expect.any(Error),
    });
    await expect(readHistory(5 as never)).rejects.toThrow(/^readHistory/);
  });
});
