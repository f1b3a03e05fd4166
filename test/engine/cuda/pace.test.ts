import { describe, expect, it } from 'vitest';
import { Pace } from '../../../src/engine/cuda/pace.js';

/** A card that has done what it is told it has. */
function card() {
  const recorded: number[] = [];
  const waits: { readonly event: number; readonly resolve: () => void }[] = [];
  const done = new Set<number>();
  const driver = {
    launches: 0,
    createEvent: () => 100 + recorded.length,
    recordEvent: (event: number) => {
      done.delete(event);
      recorded.push(event);
    },
    destroyEvent: (event: number) => {
      destroyed.push(event);
    },
  };
  const destroyed: number[] = [];
  const staging = {
    passed: (event: number) =>
      done.has(event) ? Promise.resolve() : new Promise<void>((resolve) => waits.push({ event, resolve })),
  };
  const pass = (event: number) => {
    done.add(event);
    for (const wait of waits) if (wait.event === event) wait.resolve();
  };
  return { driver, pace: new Pace(driver, staging), recorded, destroyed, pass };
}
const settled = async (promise: Promise<void>): Promise<boolean> => {
  const turn = new Promise<'later'>((resolve) => setImmediate(() => resolve('later')));
  return (await Promise.race([promise, turn])) !== 'later';
};

describe('Pace', () => {
  it('lets work be queued until the card has much to do, then waits for the oldest', async () => {
    const { driver, pace, recorded, pass } = card();
    for (let i = 0; i < 6; i++) {
      driver.launches += 100;
      expect(await settled(pace.keep())).toBe(true);
    }
    driver.launches += 100;
    const seventh = pace.keep();
    expect(await settled(seventh)).toBe(false);
    pass(recorded[1]!);
    expect(await settled(seventh)).toBe(false);
    pass(recorded[0]!);
    expect(await settled(seventh)).toBe(true);
  });

  it('does not wait for the last stretch alone, however long it is', async () => {
    const { driver, pace, recorded, pass } = card();
    driver.launches = 300;
    await pace.keep();
    driver.launches = 5000;
    const keeping = pace.keep();
    expect(await settled(keeping)).toBe(false);
    pass(recorded[0]!);
    expect(await settled(keeping)).toBe(true);
  });

  it('records nothing where nothing was queued, and uses events again', async () => {
    const { driver, pace, recorded, destroyed, pass } = card();
    await pace.keep();
    expect(recorded).toEqual([]);
    for (let i = 0; i < 20; i++) {
      driver.launches += 400;
      const keeping = pace.keep();
      for (const event of recorded.slice(0, -1)) pass(event);
      await keeping;
      await pace.keep();
    }
    expect(recorded).toHaveLength(20);
    pace.dispose();
    expect(destroyed.length).toBeLessThanOrEqual(4);
    expect(new Set(recorded)).toEqual(new Set(destroyed));
  });

  it('serves two callers at once', async () => {
    const { driver, pace, recorded, pass } = card();
    driver.launches = 700;
    await pace.keep();
    driver.launches = 1400;
    const both = [pace.keep(), pace.keep()];
    expect(await settled(both[1]!)).toBe(false);
    pass(recorded[0]!);
    await Promise.all(both);
  });
});
