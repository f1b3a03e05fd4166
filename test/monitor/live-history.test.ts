import { describe, expect, it } from 'vitest';
import { RunHistory } from '../../src/monitor/live-history.js';
import {
  type LiveUpdate,
  LOG_COLUMNS,
  MAX_EVALUATIONS,
  MAX_ROWS,
  STEP_COLUMNS,
} from '../../src/monitor/live-protocol.js';
import { ThinnedTable } from '../../src/monitor/thinned-table.js';
import type { TrainOutput } from '../../src/train/events.js';
import { evaluateEvent, logEvent, startEvent, stepEvent } from './scripted-run.js';

function begun(changes: Parameters<typeof startEvent>[0] = {}): { history: RunHistory; clock: { now: number } } {
  const clock = { now: 0 };
  const history = new RunHistory(() => clock.now);
  history.begin(startEvent(changes), { controls: true });
  return { history, clock };
}

describe('the history of a live page', () => {
  it('foretells the time left from the steps of this run, pauses left out', () => {
    const { history, clock } = begun({ step: 100, totalSteps: 200 });
    expect(history.status()).toMatchObject({ step: 100, secondsLeft: null, seconds: 0 });
    clock.now = 10_000;
    history.add(stepEvent(110));
    expect(history.status()).toMatchObject({ seconds: 10, secondsLeft: 90 });
    history.setPaused(true);
    clock.now = 500_000;
    expect(history.status()).toMatchObject({ state: 'paused', seconds: 10, secondsLeft: 90 });
    history.setPaused(false);
    expect(history.status()).toMatchObject({ state: 'running', seconds: 10, secondsLeft: 90 });
    clock.now = 510_000;
    history.add(stepEvent(120));
    expect(history.status()).toMatchObject({ seconds: 20, secondsLeft: 80 });
    clock.now = 600_000;
    history.add(stepEvent(200));
    expect(history.status()).toMatchObject({ seconds: 110, secondsLeft: null });
  });

  it.each([
    [undefined, false, { state: 'finished' }],
    [new Error('boom'), false, { state: 'failed', reason: 'boom' }],
    [new DOMException('stopped by SIGINT', 'AbortError'), false, { state: 'stopped', reason: 'stopped by SIGINT' }],
    [new DOMException('its button', 'AbortError'), true, { state: 'stopped', reason: 'its button' }],
    // The button was pressed, and the run failed before it could end.
    [new Error('disk full'), true, { state: 'failed', reason: 'disk full' }],
    [undefined, true, { state: 'finished' }],
  ])('tells an end by %s (button: %s)', (error, isStopped, status) => {
    const { history } = begun();
    if (isStopped) history.setStopping();
    history.finish(error);
    expect(history.status()).toMatchObject(status);
    history.setPaused(true);
    expect(history.status()).toMatchObject(status);
  });

  it('tells a run that its reader has left from one that is finished', () => {
    const { history } = begun();
    history.add(stepEvent(3));
    history.add({ type: 'end', step: 3, output: { stopped: true } as TrainOutput });
    history.finish(undefined);
    expect(history.status()).toMatchObject({ state: 'stopped', step: 3 });
  });

  it('gives in updates what a snapshot has, however long the run', () => {
    const { history } = begun({ totalSteps: 10_000 });
    expect(history.take()?.name).toBe('snapshot');
    expect(history.take()).toBeUndefined();
    const steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
    const logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
    for (let step = 1; step <= 10_000; step++) {
      history.add(stepEvent(step));
      if (step % 2 === 0) history.add(logEvent(step));
      if (step % 10 === 0) history.add(evaluateEvent(step));
      if (step % 97 > 0) continue;
      const message = history.take()!;
      if (message.name !== 'update') throw new Error('everything again');
      for (const row of message.data.steps ?? []) steps.add(row);
      for (const row of message.data.logs ?? []) logs.add(row);
    }
    const last = history.take()!.data as LiveUpdate;
    for (const row of last.steps ?? []) steps.add(row);
    for (const row of last.logs ?? []) logs.add(row);
    const snapshot = history.snapshot();
    expect(steps.state()).toEqual(snapshot.steps);
    expect(logs.state()).toEqual(snapshot.logs);
    expect(snapshot.steps.rows.length).toBeLessThanOrEqual(MAX_ROWS);
    expect(snapshot.evaluations.length).toBeLessThanOrEqual(MAX_EVALUATIONS);
    expect(snapshot.evaluations.at(-1)!.step).toBe(10_000);
    expect(JSON.stringify(snapshot).length).toBeLessThan(400_000);
  });

  it('gives everything where more has come than a snapshot holds', () => {
    const { history } = begun();
    history.take();
    for (let step = 1; step <= MAX_ROWS + 10; step++) history.add(stepEvent(step));
    expect(history.take()?.name).toBe('snapshot');
    history.add(stepEvent(MAX_ROWS + 11));
    expect(history.take()).toMatchObject({ name: 'update', data: { status: { step: MAX_ROWS + 11 } } });
  });

  it('holds untrusted texts to a length, on one line where they are names', () => {
    const { history } = begun();
    history.add({ type: 'warning', step: 1, message: `\u001b[31m${'x'.repeat(5000)}` });
    history.add(evaluateEvent(1, Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`metric\n${i}`, i]))));
    const { notes, evaluations } = history.snapshot();
    expect(notes[0]!.text).toMatch(/^\\u001b\[31mx/);
    expect(notes[0]!.text.length).toBeLessThan(2100);
    expect(Object.keys(evaluations[0]!.metrics).length).toBe(24);
    expect(evaluations[0]!.moreMetrics).toBe(76);
    expect(Object.keys(evaluations[0]!.metrics)[0]).toBe('metric\\n0');
    for (let i = 0; i < 300; i++) history.add({ type: 'warning', step: 1, message: `${i}` });
    expect(history.snapshot().notes.map(({ text }) => text)).toEqual(
      Array.from({ length: 100 }, (_, i) => `${200 + i}`),
    );
  });
});
