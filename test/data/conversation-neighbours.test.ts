/** Forms of rows near those that the documentation names: read as they are meant, or named in a warning. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConversationDataset } from '../../src/data/conversations/conversation-dataset.js';
import type { SftExample } from '../../src/data/types.js';

let dir: string;
let png: Buffer;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'conversation-neighbours-'));
  png = await sharp({ create: { width: 9, height: 9, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  for (const name of ['1.png', '2.png']) await writeFile(join(dir, name), png);
});
afterAll(() => rm(dir, { recursive: true }));

const load = async (row: object, options = {}) => {
  const path = join(dir, 'rows.jsonl');
  await writeFile(path, JSON.stringify(row));
  const warnings: string[] = [];
  const onWarning = (line: string) => warnings.push(line);
  const rows = await ConversationDataset.fromFile(path, { onWarning, ...options });
  return { messages: ((await rows.get(0)) as SftExample).messages, warnings };
};
const ask = (content: unknown, more: object = {}) => ({ role: 'user', content, ...more });
const answer = (content: unknown, more: object = {}) => ({ role: 'assistant', content, ...more });
const text = { type: 'text', text: 'Which?' };

describe('markers of other tools for an image', () => {
  it.each([
    '<image-1>',
    '<image 1>',
    '<|image_1|>',
    '<img>1.png</img>',
    '<start_of_image>',
    '<|vision_start|><|image_pad|><|vision_end|>',
    '<image_placeholder>',
    '<IMAGE>',
    '<ImageHere>',
    '[img-1]',
  ])('%s stays text, with a warning', async (marker) => {
    const question = ask(`${marker}\nWhich?`);
    for (const more of [{}, { images: ['1.png'] }]) {
      const { messages, warnings } = await load({ ...more, messages: [question, answer('cat')] });
      expect(JSON.stringify(messages[0])).toContain('Which?');
      expect(warnings).toEqual([expect.stringMatching(/in a text, as others mark the place.*first rows\.jsonl:1/)]);
      expect(warnings[0]).toContain(marker.slice(0, 5));
    }
    expect((await load({ messages: [question, answer('cat')] }, { imageMarker: false })).warnings).toEqual([]);
  });

  it('are places where they are named, and no words like them are markers', async () => {
    const row = { images: ['1.png'], messages: [ask('a <|image_1|> b'), answer('cat')] };
    const { messages, warnings } = await load(row, { imageMarker: '<|image_1|>' });
    expect(messages[0]!.content).toMatchObject([{ text: 'a ' }, { type: 'image' }, { text: ' b' }]);
    expect(warnings).toEqual([]);
    const html = '<img src="a.png"> <imagine> <image/> image_1 [1] a < b > c';
    expect((await load({ messages: [ask(html), answer('cat')] })).warnings).toEqual([]);
  });

  it('are warned of where an image comes to stand in an answer', async () => {
    const { warnings } = await load({ images: ['1.png'], messages: [ask('Which?'), answer('this: <image>')] });
    expect(warnings).toEqual([expect.stringMatching(/an image in an answer/)]);
  });
});

describe('weights on every turn, as axolotl has them', () => {
  it('change nothing where a question is not learned', async () => {
    const { messages } = await load({
      conversations: [
        { from: 'system', value: 's', weight: 0 },
        { from: 'human', value: 'a', weight: 0, train: false },
        { from: 'gpt', value: 'b', weight: 1 },
      ],
    });
    expect(messages.map(({ weight }) => weight)).toEqual([0, 0, 1]);
    await expect(load({ messages: [ask('a', { train: true }), answer('b')] })).rejects.toThrow(/`train` is a key of/);
  });
});

describe('images within parts', () => {
  const parts: readonly [name: string, part: () => object][] = [
    ['url of transformers', () => ({ url: '1.png' })],
    ['path of transformers', () => ({ path: '1.png' })],
    ['base64 of transformers', () => ({ base64: png.toString('base64') })],
    ['base64 as a data: URL', () => ({ base64: `data:image/png;base64,${png.toString('base64')}` })],
    ['image as base64', () => ({ image: png.toString('base64') })],
    [
      'source of Anthropic',
      () => ({ source: { type: 'base64', media_type: 'image/png', data: png.toString('base64') } }),
    ],
    ['file: of Qwen', () => ({ image: `file://${join(dir, '1.png')}` })],
  ];
  it.each(parts)('%s', async (_, part) => {
    const { messages, warnings } = await load({ messages: [ask([{ type: 'image', ...part() }, text]), answer('b')] });
    expect(messages[0]!.content).toMatchObject([{ type: 'image', image: expect.anything() }, text]);
    expect(warnings).toEqual([]);
  });

  it('take the numbers that some tables give them, in order', async () => {
    const content = [
      { type: 'image', index: 0, text: null },
      { ...text, index: null },
      { type: 'image', index: 1 },
    ];
    const { messages } = await load({ images: ['1.png', '2.png'], messages: [ask(content), answer('b')] });
    expect(messages[0]!.content).toMatchObject([{ type: 'image' }, text, { type: 'image' }]);
    const swapped = [
      { type: 'image', index: 1 },
      { type: 'image', index: 0 },
    ];
    const failing = load({ images: ['1.png', '2.png'], messages: [ask(swapped), answer('b')] });
    await expect(failing).rejects.toThrow(/part 0: `index` is 1 on image part 0/);
  });

  it('do not show a text of thousands of characters as a path', async () => {
    const failing = load({ messages: [ask([{ type: 'image', image: 'x'.repeat(9000) }]), answer('b')] });
    await expect(failing).rejects.toThrow(/a text of 9000 characters is no path: x{40}…\n.*data: URL/);
  });
});

describe('what is read with a warning', () => {
  it.each([
    ['a name of a user', { messages: [ask('a', { name: 'Bob' }), answer('b')] }, /`name` of a user or system message/],
    ['half a character', { messages: [ask('a\ud83d'), answer('b')] }, /half a character.*read as \ufffd/],
    [
      'arguments that a table filled up',
      { messages: [ask('a'), answer('', { tool_calls: [{ function: { name: 'f', arguments: { a: 1, b: null } } }] })] },
      /arguments of calls are null/,
    ],
  ])('%s', async (_, row, line) => {
    expect((await load(row)).warnings).toEqual([expect.stringMatching(line)]);
  });
});

it.each(['bing', 'bard', 'chatgpt', 'claude'])('answers of %s are the assistant’s', async (from) => {
  const { messages } = await load({
    conversations: [
      { from: 'human', value: 'a' },
      { from, value: 'b' },
    ],
  });
  expect(messages[1]).toEqual({ role: 'assistant', content: 'b' });
});

it.each([
  [{ id: 'x', items: [{ from: 'human', value: 'a' }] }, /column `items`, expected in `conversations`/],
  [{ chat: [{ role: 'user', content: 'a' }], source: 'x', score: 1, more: 2 }, /column `chat`, expected in `messages`/],
])('turns in another column are named', async (row, message) => {
  await expect(load(row)).rejects.toThrow(message);
});
