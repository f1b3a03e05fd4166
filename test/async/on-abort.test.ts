import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAbort } from '../../src/async/on-abort.js';
import { ImagePool } from '../../src/data/image-pool.js';
import { ImageProcessor } from '../../src/data/image-processor.js';

describe('onAbort', () => {
  it('has one listener for all that wait, and none when nobody does', () => {
    const { signal } = new AbortController();
    const ends = Array.from({ length: 20 }, () => onAbort(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const end of ends) end();
    for (const end of ends) end();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    onAbort(signal, () => undefined)();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    onAbort(undefined, () => undefined)();
  });

  it('calls each of those that still wait once, also where one ends another', () => {
    const stop = new AbortController();
    const called: string[] = [];
    onAbort(stop.signal, () => called.push('a'))();
    const both = () => called.push('b');
    onAbort(stop.signal, both);
    onAbort(stop.signal, both);
    onAbort(stop.signal, () => endLast());
    const endLast = onAbort(stop.signal, () => called.push('last'));
    stop.abort();
    expect(called).toEqual(['b', 'b']);
  });
});

it('images of a pool wait for one signal with one listener, and leave none', async () => {
  const warned: Error[] = [];
  const note = (warning: Error): void => void warned.push(warning);
  process.on('warning', note);
  const stop = new AbortController();
  const pool = new ImagePool(new ImageProcessor({ longestEdge: 56 }), { workers: 1 });
  const image = { width: 20, height: 20, data: new Uint8Array(1200) };
  const all = Promise.all(Array.from({ length: 30 }, () => pool.process(image, { signal: stop.signal })));
  expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1);
  await all;
  expect(getEventListeners(stop.signal, 'abort')).toHaveLength(0);
  await pool.close();
  process.off('warning', note);
  expect(warned).toEqual([]);
});
