import { describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { Dataset, Message, SftExample, TrainingExample } from '../../src/data/types.js';
import { compareDatasets, fingerprintDataset } from '../../src/train/dataset-fingerprint.js';

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
      const words = `has other texts or image files than before, in sample ${at}`;
      expect(compareDatasets(before, await mark(changed))).toBe(words);
    }
  });

  it.each([0, 977, 19_999])('places a change of sample %i of 20,000 within twenty', async (at) => {
    const text = (i: number): SftExample => ({ messages: [{ role: 'assistant', content: `answer ${i}` }] });
    const set = (changed: number) => new IndexedDataset(20_000, (i) => text(i === changed ? -1 : i));
    const words = compareDatasets(await fingerprintDataset(set(-1)), await fingerprintDataset(set(at)));
    const [, first, last] = /from sample (\d+) to (\d+)$/.exec(words!)!;
    expect(Number(first)).toBeLessThanOrEqual(at);
    expect(Number(last)).toBeGreaterThanOrEqual(at);
    expect(Number(last) - Number(first)).toBeLessThan(20);
  });

  it('says where several samples changed, and how many', async () => {
    const before = await mark(samples(50));
    const edited = (...indices: number[]) => {
      const list = samples(50);
      for (const i of indices) list[i] = { messages: [{ role: 'assistant', content: 'other' }] };
      return mark(list);
    };
    expect(compareDatasets(before, await edited(1, 7, 9))).toMatch(/in the samples 1, 7, 9$/);
    expect(compareDatasets(before, await edited(1, 7, 9, 20, 21, 49))).toMatch(
      /somewhere from sample 1 to 49: in 6 samples, 1 the first$/,
    );
    expect(compareDatasets(before, await mark(samples(50).reverse()))).toMatch(/somewhere from sample 0 to 49$/);
  });

  it('tells a swap, other images beside the messages, and another length', async () => {
    const before = await mark(samples(50));
    expect(compareDatasets(before, before)).toBeUndefined();
    const swapped = samples(50);
    [swapped[3], swapped[40]] = [swapped[40]!, swapped[3]!];
    expect(compareDatasets(before, await mark(swapped))).toMatch(/in the samples 3, 40$/);
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

  it('compares with what earlier versions wrote by that alone', async () => {
    const { length, digests } = await mark(samples(50));
    const old = { length, digests };
    expect(compareDatasets(old, await mark(samples(50)))).toBeUndefined();
    const edited = samples(50);
    edited[20] = samples(60)[59]!;
    const words = compareDatasets(old, await mark(edited));
    const [, first, last] = /from sample (\d+) to (\d+)$/.exec(words!)!;
    expect([Number(first) <= 20, Number(last) >= 20, Number(last) - Number(first) < 4]).toEqual([true, true, true]);
  });

  it('tells spaces, characters of two forms, new keys and other fields apart', async () => {
    const turn = (content: string, more: object = {}): SftExample => ({
      messages: [{ role: 'assistant', content, ...more } as Message],
    });
    const part = (more: object) => ({
      messages: [{ role: 'user', content: [{ type: 'text', text: 'a', ...more }] } as unknown as Message],
    });
    const variants: TrainingExample[] = [
      turn('a'),
      turn('a '),
      turn('A'),
      turn('\u00e9'),
      turn('e\u0301'),
      turn('a', { prefix: true }),
      turn('a', { reasoning_content: 'b' }),
      turn('a', { cached: 'b' }),
      part({}),
      part({ cache_control: 'b' }),
      turn('a', { tool_calls: [{ function: { name: 'zoom', arguments: { by: 10n } } }] }),
      turn('a', { tool_calls: [{ function: { name: 'zoom', arguments: { by: 11n } } }] }),
      { messages: [{ role: 'system', content: 'Be brief.' }, ...turn('a').messages] },
      { messages: [{ role: 'system', content: 'Be  brief.' }, ...turn('a').messages] },
    ];
    const marks = await Promise.all(variants.map(async (variant) => (await mark([variant as SftExample])).texts));
    expect(new Set(marks).size).toBe(variants.length);
  });

  it('looks at every sample, but at 10,000 where they take too long to make', async () => {
    const made = new Set<number>();
    const set = (length: number) =>
      new IndexedDataset(length, (i): SftExample => {
        made.add(i);
        return { messages: [{ role: 'assistant', content: String(i) }] };
      });
    expect(await fingerprintDataset(set(20_000))).not.toHaveProperty('looked');
    expect(made.size).toBe(20_000);
    made.clear();
    const slow = await fingerprintDataset(set(1_000_000), undefined, { maxSeconds: 0 });
    expect(slow).toMatchObject({ length: 1_000_000, looked: 10_000 });
    expect(made.size).toBeLessThan(12_000);
    expect(JSON.stringify(slow).length).toBeLessThan(20_000);
    // What only one of them knows cannot be compared; the rest is.
    const all = await fingerprintDataset(set(20_000));
    const some = await fingerprintDataset(set(20_000), undefined, { maxSeconds: 0 });
    expect(some.looked).toBe(10_000);
    expect(compareDatasets(all, some)).toBeUndefined();
    // A resume looks as the run before did, so that nothing goes uncompared because a disk is faster by now.
    expect(await fingerprintDataset(set(20_000), undefined, { before: some })).toEqual(some);
    expect(await fingerprintDataset(set(20_001), undefined, { before: some })).not.toHaveProperty('looked');
    expect(compareDatasets({ ...all, digests: slow.digests }, some)).toMatch(/from sample 0 to 19999/);
  });

  it('looks at what only a collator of one’s own reads, but not where it is drawn anew each time', async () => {
    const sample = (ids: number[]) => ({ inputIds: Int32Array.from(ids), weight: 1 }) as unknown as TrainingExample;
    const of = (list: TrainingExample[]) => fingerprintDataset(IndexedDataset.from(list));
    const before = await of([sample([1, 2]), sample([3, 4])]);
    expect(compareDatasets(before, await of([sample([1, 2]), sample([3, 4])]))).toBeUndefined();
    expect(compareDatasets(before, await of([sample([1, 2]), sample([3, 5])]))).toBe(
      'has other values beside its messages than before, in sample 1',
    );
    // Content in a form that is not known here, whose end would be cut off in a message.
    const odd = (end: string) => ({ messages: [{ role: 'user', content: null, more: `${'x'.repeat(300)}${end}` }] });
    const [was, is] = [odd('a'), odd('b')].map((value) => value as unknown as TrainingExample);
    expect(compareDatasets(await of([was!]), await of([is!]))).toContain('in sample 0');
    const get = async () => ({ pixels: Float32Array.of(Math.random()) });
    const drawn = { length: 3, get } as unknown as Dataset<TrainingExample>;
    expect(compareDatasets(await fingerprintDataset(drawn), await fingerprintDataset(drawn))).toBeUndefined();
  });

  it('hears an abort', async () => {
    const stop = new AbortController();
    const set = new IndexedDataset(1_000_000, (i): SftExample => {
      if (i === 100) stop.abort(new Error('enough'));
      return { messages: [{ role: 'assistant', content: String(i) }] };
    });
    await expect(fingerprintDataset(set, stop.signal)).rejects.toThrow('enough');
    const late = new AbortController();
    const stuck = new IndexedDataset(3, (): Promise<SftExample> => {
      setImmediate(() => late.abort(new Error('too slow')));
      return new Promise(() => undefined);
    });
    await expect(fingerprintDataset(stuck, late.signal)).rejects.toThrow('too slow');
  });
});
