import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../../src/data/dataset.js';
import type { Message, SftExample, TrainingExample } from '../../../src/data/types.js';
import { compareDatasets, fingerprintDataset } from '../../../src/train/dataset-fingerprint.js';

const unread = (path: string) => ({ path, decode: () => Promise.reject(new Error('must not be read')) });

function samples(length: number, folder = '/data'): SftExample[] {
  return Array.from({ length }, (_, i) => ({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is it?' },
          { type: 'image', image: unread(`${folder}/${i}.png`) },
        ],
      },
      { role: 'assistant', content: i % 2 === 0 ? 'this' : 'that' },
    ],
  }));
}
const DIGESTS = ['8f1b8149ef01cc34', '1514a66ee4cd0cce', 'c35de2ee2cc218f5'];
const mark = (list: readonly SftExample[]) => fingerprintDataset(IndexedDataset.from(list));

describe('fingerprintDataset', () => {
  it('is the same for the same samples in another folder', async () => {
    expect(await mark(samples(50, '/other'))).toEqual(await mark(samples(50)));
    expect((await mark(samples(50))).digests).toHaveLength(16);
    expect((await mark(samples(3))).digests).toHaveLength(3);
    expect(await mark([])).toEqual({ length: 0, digests: [] });
  });

  it.each([0, 1, 24, 31, 48, 49])('places a change of sample %i', async (at) => {
    const before = await mark(samples(50));
    const answer = samples(50);
    answer[at] = { messages: [...answer[at]!.messages.slice(0, -1), { role: 'assistant', content: 'neither' }] };
    const file = samples(50);
    file[at] = {
      messages: samples(60)
        .at(59)!
        .messages.map((turn, i) => (i === 1 ? file[at]!.messages[1]! : turn)),
    };
    for (const changed of [answer, file]) {
      const words = compareDatasets(before, await mark(changed));
      const [, first, last] = /from sample (\d+) to (\d+)$/.exec(words!)!;
      expect(Number(first)).toBeLessThanOrEqual(at);
      expect(Number(last)).toBeGreaterThanOrEqual(at);
      expect(Number(last) - Number(first)).toBeLessThan(4);
    }
  });

  it('tells a swap, other pictures beside the messages, and another length', async () => {
    const before = await mark(samples(50));
    expect(compareDatasets(before, before)).toBeUndefined();
    const swapped = samples(50);
    [swapped[3], swapped[40]] = [swapped[40]!, swapped[3]!];
    expect(compareDatasets(before, await mark(swapped))).toMatch(/from sample 0 to 40$|from sample [0-3] to 4\d$/);
    const beside = (name: string) =>
      samples(50).map((sample) => ({ ...sample, images: [`/a/${name}`, Uint8Array.of(1)] }));
    expect(compareDatasets(await mark(beside('a')), await mark(beside('b')))).toContain('from sample 0 to 49');
    expect(compareDatasets(before, await mark(samples(51)))).toBe('had 50 samples, now 51');
  });

  it('tells other calls, tools, thoughts, masks and forms apart, and what was there before is as it was', async () => {
    const turns = (...answer: Partial<Message>[]) => ({
      messages: answer.map((part): Message => ({ role: 'assistant', content: '', ...part })),
    });
    const call = (args: string): Partial<Message> => ({
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'zoom', arguments: args } }],
    });
    const thought = (thinking: string): Partial<Message> => ({ content: [{ type: 'thinking', thinking }] });
    const variants: TrainingExample[] = [
      turns({}),
      turns(call('{}')),
      turns(call('{"a": 1}')),
      { ...turns(call('{}')), tools: [{ type: 'function', function: { name: 'zoom' } }] },
      turns(thought('Hm')),
      turns(thought('Ha')),
      turns({ weight: 0 }),
      turns({ train: false }),
      { prompt: 'a', completion: 'b' },
      { prompt: 'a', completion: 'c' },
      { prompt: 'ab', completion: 'b' },
      { prompt: [{ role: 'user', content: 'a' }], completion: [{ role: 'assistant', content: 'b' }] },
      { text: 'ab' },
      { text: 'abc' },
    ];
    const marks = await Promise.all(
      variants.map(async (variant) => (await fingerprintDataset(IndexedDataset.from([variant]))).digests[0]),
    );
    expect(new Set(marks).size).toBe(variants.length);
    // Of a version without any of these: checkpoints of then can be resumed.
    expect((await mark(samples(3))).digests).toEqual(DIGESTS);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['no content', { messages: [{ role: 'user' }] }],
    ['null as content', { messages: [{ role: 'assistant', content: null }] }],
    ['a message that is none', { messages: [undefined] }],
    ['a part that is none', { messages: [{ role: 'user', content: [null] }] }],
    ['an image that is none', { messages: [{ role: 'user', content: [{ type: 'image', image: 5 }] }] }],
    ['messages that are a text', { messages: 'x' }],
    ['a prompt that is a number', { prompt: 7, completion: 8 }],
    ['images that are a text', { messages: [], images: 'a.png' }],
  ])('leaves it to the collator to tell of %s', async (_, sample) => {
    const marked = await mark([sample as SftExample]);
    expect(marked).toEqual(await mark([sample as SftExample]));
    expect(marked.digests).not.toEqual((await mark([{ messages: [] }])).digests);
  });

  it('looks at a large set here and there', async () => {
    let made = 0;
    const large = new IndexedDataset(1_000_000, (i): SftExample => {
      made++;
      return { messages: [{ role: 'assistant', content: String(i) }] };
    });
    expect((await fingerprintDataset(large)).length).toBe(1_000_000);
    expect(made).toBe(10_000);
  });
});
