import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Collator, DataLoader } from '../../src/data/data-loader.js';
import type { Dataset, SftExample, VlmBatch } from '../../src/data/types.js';
import { ConfigError, ImageError } from '../../src/errors.js';
import { message } from './conversations.js';

/** A data set that counts what it is asked for. */
class Samples implements Dataset<SftExample> {
  readonly length = 100;
  readonly asked: number[] = [];
  readonly faulty = new Set<number>();
  delay = 0;

  async get(index: number): Promise<SftExample> {
    this.asked.push(index);
    await sleep(this.delay);
    if (this.faulty.has(index)) throw new ImageError(`file ${index} is broken`, { hint: 'replace it' });
    return { messages: [message('user', `${index}`)], ...(index === 7 && { id: 'seven.png' }) };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SftExample> {
    for (let i = 0; i < this.length; i++) yield this.get(i);
  }
}

/** Puts the number in the text into the batch. */
const collator: Collator = {
  async collate(examples) {
    const ids = Int32Array.from(examples.map(({ messages }) => Number(messages[0]!.content)));
    const inputIds = { data: ids, shape: [ids.length, 1] };
    return { inputIds, attentionMask: inputIds, sampleIds: examples.map((example) => example.id!) };
  },
};

const numbers = (batch: VlmBatch): number[] => [...batch.inputIds.data];
const single = (count: number): number[][] => Array.from({ length: count }, (_, i) => [i]);

let unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);
beforeEach(() => {
  unhandled = [];
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  await sleep(20);
  process.off('unhandledRejection', note);
  vi.restoreAllMocks();
  expect(unhandled).toEqual([]);
});

describe('DataLoader', () => {
  it('yields the batches in the order given, epoch after epoch, with names', async () => {
    const loader = new DataLoader({ dataset: new Samples(), collator });
    const seen: number[][] = [];
    const names: string[] = [];
    for (const order of [[[3, 1], [7]], [[9], [2, 2, 0]], []]) {
      for await (const batch of loader.batches(order)) {
        seen.push(numbers(batch));
        names.push(...batch.sampleIds!);
      }
    }
    expect(seen).toEqual([[3, 1], [7], [9], [2, 2, 0]]);
    expect(names).toEqual(['3', '1', 'seven.png', '9', '2', '2', '0']);
  });

  it.each([0, 1, 3])('prepares at most %i batches ahead, and nothing before it is asked', async (prefetch) => {
    const dataset = new Samples();
    const batches = new DataLoader({ dataset, collator, prefetch }).batches(single(10));
    await sleep(5);
    expect(dataset.asked).toEqual([]);
    for (let i = 0; i < 10; i++) {
      expect(numbers((await batches.next()).value as VlmBatch)).toEqual([i]);
      await sleep(5);
      expect(dataset.asked.length).toBe(Math.min(10, i + 1 + prefetch));
    }
    expect((await batches.next()).done).toBe(true);
  });

  it('delivers an error at its batch, naming the sample, after all earlier batches', async () => {
    const dataset = new Samples();
    dataset.faulty.add(4).add(5);
    const seen: number[][] = [];
    const run = async () => {
      for await (const batch of new DataLoader({ dataset, collator, prefetch: 5 }).batches([
        [0, 1],
        [2],
        [3, 4],
        [5],
      ])) {
        seen.push(numbers(batch));
        await sleep(5);
      }
    };
    const failure = await run().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ImageError);
    expect(failure).toMatchObject({
      summary: 'sample 4: file 4 is broken',
      hint: 'replace it',
      details: { sample: '4' },
    });
    expect(seen).toEqual([[0, 1], [2]]);
  });

  it('refuses indices that the data set does not have', async () => {
    const loader = new DataLoader({ dataset: new Samples(), collator });
    for (const index of [100, -1, 0.5]) {
      await expect(loader.batches([[index]]).next()).rejects.toThrow(/no such index in a data set of 100 samples/);
    }
  });

  it('stops preparing when the loop is left', async () => {
    const dataset = new Samples();
    dataset.delay = 2;
    let signal: AbortSignal | undefined;
    const watching: Collator = {
      collate: (examples, options) => {
        signal = options?.signal;
        return collator.collate(examples);
      },
    };
    for await (const batch of new DataLoader({ dataset, collator: watching }).batches(single(50))) {
      if (numbers(batch)[0] === 2) break;
    }
    expect(signal?.aborted).toBe(true);
    const { length } = dataset.asked;
    await sleep(20);
    expect(dataset.asked.length).toBe(length);
    expect(length).toBeLessThanOrEqual(5);
  });

  it('stops at once when aborted, also while it waits, with the signal’s reason', async () => {
    const dataset = new Samples();
    const controller = new AbortController();
    const batches = new DataLoader({ dataset, collator }).batches(single(50), { signal: controller.signal });
    await batches.next();
    dataset.delay = 60_000_000;
    await batches.next();
    await batches.next();
    const waiting = batches.next();
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 5);
    await expect(waiting).rejects.toBe(reason);
    expect((await batches.next()).done).toBe(true);
    const refused = new DataLoader({ dataset, collator }).batches(single(1), { signal: controller.signal });
    await expect(refused.next()).rejects.toBe(reason);
  });

  it('measures the time that is spent waiting', async () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    let ready = 0;
    /** Each batch takes a second. */
    const slow: Collator = {
      collate: async (examples) => {
        await sleep(1);
        now += 1000;
        ready++;
        return collator.collate(examples);
      },
    };
    const waited = async (prefetch: number): Promise<number> => {
      ready = 0;
      const loader = new DataLoader({ dataset: new Samples(), collator: slow, prefetch });
      let taken = 0;
      for await (const _ of loader.batches(single(3))) {
        taken++;
        // Works until those ahead are ready, and as long again.
        while (ready < Math.min(3, taken + prefetch)) await sleep(1);
        now += 1000;
      }
      return loader.waitSeconds;
    };
    // Only the first batch is waited for, and the second where it comes before that one's time is taken.
    const eager = await waited(1);
    expect(eager).toBeGreaterThanOrEqual(1);
    expect(eager).toBeLessThan(3);
    expect(await waited(0)).toBe(3);
  });

  it('checks its options', () => {
    const dataset = new Samples();
    expect(() => new DataLoader({ dataset, collator, prefetch: -1 })).toThrow(ConfigError);
    expect(() => new DataLoader({ dataset, collator, prefetsh: 1 } as never)).toThrow(/did you mean `prefetch`/);
  });
});
