import { describe, expect, it } from 'vitest';
import { recordingEngine } from './recording-engine.js';

describe('CudaEngine.keepPace', () => {
  it('waits until the device has done the stretch before the last one', async () => {
    const recorded: number[] = [];
    const done = new Set<number>();
    const { engine } = recordingEngine(
      {},
      { recordEvent: (event) => recorded.push(event), eventDone: (event) => done.has(event) },
    );
    await engine.keepPace();
    let isPast = false;
    const second = engine.keepPace().then(() => {
      isPast = true;
    });
    expect(recorded).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(isPast).toBe(false);
    done.add(recorded[0]!);
    await second;
    // The first event is free to be recorded again, the second one is not.
    done.add(recorded[1]!);
    await engine.keepPace();
    expect(recorded[2]).toBe(recorded[0]);
    await engine.dispose();
  });
});

describe('CudaEngine.areZero', () => {
  it('tells by the largest magnitude of each chunk of each parameter', async () => {
    let answer: readonly number[] = [];
    const { engine, launches } = recordingEngine(
      {},
      { downloadAsync: (target) => new Float32Array(target.buffer, target.byteOffset, answer.length).set(answer) },
    );
    const sizes = [3000, 10, 2048];
    const set = engine.createParameters(
      sizes.map((size, i) => ({ name: `p${i}`, shape: [size], initial: new Float32Array(size) })),
    );
    // Two chunks, one, one.
    answer = [0, 2, 0, Number.NaN];
    expect(await engine.areZero(set, 'gradients')).toEqual([false, true, false]);
    const [launch] = launches.filter(({ name }) => name === 'largest_magnitude');
    expect(launch!.grid).toEqual([4]);
    answer = [0, 0, 0, 0];
    expect(await engine.areZero(set, 'values')).toEqual([true, true, true]);
    const addresses = launches.filter(({ name }) => name === 'largest_magnitude').map(({ values }) => values[1]);
    expect(new Set(addresses).size).toBe(2);
    await engine.dispose();
  });
});
