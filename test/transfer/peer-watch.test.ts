import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { SilenceWatch } from '../../src/transfer/peer-watch.js';

/** As on a machine that does not run this process for a while. */
function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

it('expires once in silence', async () => {
  let expired = 0;
  await new Promise<void>((resolve) => {
    new SilenceWatch(20, () => {
      expired++;
      resolve();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(expired).toBe(1);
});

it('takes a process that stood still for no silent peer', async () => {
  let expired = false;
  const watch = new SilenceWatch(40, () => {
    expired = true;
  });
  for (let i = 0; i < 5; i++) {
    standStill(60);
    await nextTurn();
  }
  expect(expired).toBe(false);
  watch.stop();
});

it('begins anew when something comes, and ends when it is stopped', async () => {
  let expired = false;
  const watch = new SilenceWatch(8, () => {
    expired = true;
  });
  for (let i = 0; i < 40; i++) {
    watch.heard();
    await nextTurn();
  }
  watch.stop();
  watch.stop();
  await new Promise((resolve) => setTimeout(resolve, 40));
  expect(expired).toBe(false);
});
