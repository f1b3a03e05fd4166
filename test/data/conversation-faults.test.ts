import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConversationDataset, type ConversationOptions } from '../../src/data/conversations/conversation-dataset.js';
import { JsonRowFile } from '../../src/data/conversations/json-rows.js';
import type { ImageInput, LazyImage, SftExample } from '../../src/data/types.js';
import { ConfigError, DataError, ImageError } from '../../src/errors.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'conversation-faults-'));
  await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } }).toFile(join(dir, '1.png'));
  await writeFile(join(dir, 'empty.png'), '');
  await writeFile(join(dir, 'notes.png'), 'not an image at all');
  const whole = await sharp({ create: { width: 99, height: 99, channels: 3, background: 'red' } })
    .jpeg()
    .toBuffer();
  await writeFile(join(dir, 'cut.jpg'), whole.subarray(0, 300));
});
afterAll(() => rm(dir, { recursive: true }));

const load = async (content: string | Buffer, options: ConversationOptions = {}, name = 'rows.jsonl') => {
  const path = join(dir, name);
  await writeFile(path, content);
  return ConversationDataset.fromFile(path, { onWarning: () => {}, ...options });
};
const loadRows = (rows: readonly unknown[], options: ConversationOptions = {}) =>
  load(rows.map((row) => JSON.stringify(row)).join('\n'), options);
const ask = (content: unknown, more: object = {}) => ({ role: 'user', content, ...more });
const answer = (content: unknown, more: object = {}) => ({ role: 'assistant', content, ...more });
const plain = { messages: [ask('Which?'), answer('cat')] };
const sharegpt = (value: string, more: object = {}) => ({
  conversations: [
    { from: 'human', value },
    { from: 'gpt', value: 'no' },
  ],
  ...more,
});

describe('columns that nothing reads', () => {
  const cases: readonly [name: string, row: object, message: RegExp][] = [
    [
      'imgs',
      { imgs: ['1.png'], ...plain },
      /unknown key `imgs`; did you mean `images`\? \(1 row, first rows\.jsonl:1\)/,
    ],
    ['image_path', { image_path: '1.png', ...plain }, /unknown key `image_path`; did you mean `images`/],
    ['Images', { Images: ['1.png'], ...plain }, /unknown key `Images`; did you mean `images`/],
    ['tool', { tool: [], ...plain }, /unknown key `tool`; did you mean `tools`/],
    ['functions', { functions: [{ name: 'f' }], ...plain }, /`functions` is the older way to describe tools/],
    ['inputs', { instruction: 'a', inputs: 'b', output: 'c' }, /unknown key `inputs`; did you mean `input`/],
    ['video', { videos: ['a.mp4'], ...plain }, /`videos` is not supported: the models take text and images/],
    ['chosen', { prompt: 'a', chosen: 'b', rejected: 'c' }, /row of preferences \(`chosen`, `rejected`\)/],
    [
      'message',
      { message: plain.messages },
      /no known form: its turns are in the column `message`, expected in `messages`/,
    ],
    [
      'query',
      { query: 'a', response: 'b' },
      /did you mean `prompt` by `query`\?; did you mean `completion` by `response`/,
    ],
    ['prompt', { prompt: 'a', response: 'b' }, /`completion` is missing; did you mean `completion` by `response`/],
    ['output', { instruction: 'a', response: 'b' }, /columns instruction, response; `output` is missing\n/],
    ['nothing', {}, /it has no columns/],
    ['two forms', { ...plain, text: 'a' }, /columns of two forms: messages \(messages\) and text \(text\)/],
  ];
  it.each(cases)('%s', async (_, row, message) => {
    await expect(loadRows([row])).rejects.toThrow(message);
    await expect(loadRows([row])).rejects.toThrow(DataError);
  });

  it('are all listed, with what leaves them out', async () => {
    const rows = [
      { ...plain, source: 'a', category: 1 },
      { ...plain, source: 'b' },
      { ...plain, source: null },
    ];
    const failure = await loadRows(rows).catch((error: unknown) => error as DataError);
    expect((failure as DataError).message).toMatch(
      /unknown key `source` \(2 rows.*\n.*unknown key `category` \(1 row/s,
    );
    expect((failure as DataError).hint).toContain("`ignoreColumns: ['source', 'category']`");
    const read = await loadRows(rows, { ignoreColumns: ['source', 'category'] });
    expect(read.length).toBe(3);
    expect(Object.keys(await read.get(0))).toEqual(['messages', 'id']);
    await expect(loadRows(rows, { ignoreColumns: ['source', 'category', 'sources'] })).rejects.toThrow(
      /no row has the column `sources`.*\n.*did you mean `source`/,
    );
  });

  it('may be left out of messages and parts by their path', async () => {
    const row = {
      messages: [ask([{ type: 'text', text: 'a', cache_control: {} }], { timestamp: 1 }), answer('b')],
    };
    await expect(loadRows([row])).rejects.toThrow(/message 0: unknown key `timestamp`/);
    await expect(loadRows([row])).rejects.toThrow(/ignoreColumns: \['messages\.timestamp'\]/);
    const ignoreColumns = ['messages.timestamp'];
    await expect(loadRows([row], { ignoreColumns })).rejects.toThrow(/part 0: unknown key `cache_control`/);
    const read = await loadRows([row], { ignoreColumns: [...ignoreColumns, 'messages.content.cache_control'] });
    expect((await read.get(0)) as SftExample).toMatchObject({
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'a' }] },
        { role: 'assistant', content: 'b' },
      ],
    });
  });

  it('of another form are left out where the form is given', async () => {
    const row = { instruction: 'a', input: 'b', output: 'c', text: 'all' };
    await expect(loadRows([row])).rejects.toThrow(/two forms: text \(text\) and alpaca \(instruction, output\)/);
    const read = await loadRows([row], { form: 'alpaca' });
    expect(read.form).toBe('alpaca');
    expect(read.notes.join()).toMatch(/columns of other forms are left out/);
    expect(await read.get(0)).toEqual({ messages: [ask('a\nb'), answer('c')], id: 'rows.jsonl:1' });
    expect(await (await loadRows([row], { form: 'text' })).get(0)).toEqual({ text: 'all', id: 'rows.jsonl:1' });
    await expect(loadRows([plain], { form: 'sharegpt' })).resolves.toBeDefined();
    await expect(loadRows([plain], { form: 'alpaca' })).rejects.toThrow(/not of the form alpaca.*columns messages/);
  });
});

it('an answer without text is a warning', async () => {
  const rows = [
    { instruction: 'a', output: '' },
    { prompt: 'a', completion: '' },
    { messages: [ask('a'), answer([])] },
    { messages: [ask('a'), answer([{ type: 'text', text: ' \n' }])] },
    { messages: [ask('a'), answer('', { weight: 0 }), ask('b'), answer('c')] },
    { messages: [ask('a'), answer('', { tool_calls: [{ function: { name: 'f', arguments: {} } }] })] },
  ];
  const warnings: string[] = [];
  await loadRows(rows, { onWarning: (line) => warnings.push(line) });
  expect(warnings).toEqual([
    expect.stringMatching(
      /an answer without text: nothing is learned of it, or white space alone: 4 rows \(first rows\.jsonl:1\)/,
    ),
  ]);
});

describe('turns and parts that are wrong', () => {
  const part = (value: unknown) => [{ messages: [ask([value]), answer('a')] }];
  const turns = (...messages: unknown[]) => [{ messages }];
  const cases: readonly [name: string, rows: readonly unknown[], message: RegExp][] = [
    [
      'weight of a user',
      turns(ask('a', { weight: 1 }), answer('b')),
      /message 0 \(user\): `weight` is a key of an assistant’s/,
    ],
    ['train of a user', turns(ask('a', { train: true })), /`train` is a key of an assistant’s message/],
    [
      'half a weight',
      turns(ask('a'), answer('b', { weight: 0.5 })),
      /message 1 \(assistant\): `weight`: expected 0 or 1, got 0\.5/,
    ],
    ['train as text', turns(ask('a'), answer('b', { train: 'false' })), /`train`: expected true or false, got "false"/],
    ['two opinions', turns(ask('a'), answer('b', { train: true, weight: 0 })), /say opposite things/],
    [
      'calls of a user',
      turns(ask('a', { tool_calls: [{ name: 'f', arguments: {} }] })),
      /`tool_calls` is a key of an assistant’s/,
    ],
    ['a name of an answer', turns(ask('a'), answer('b', { name: 'Bob' })), /`name` is a key of a tool’s message/],
    [
      'an older call',
      turns(ask('a'), answer(null, { function_call: { name: 'f' } })),
      /`function_call` is the older way/,
    ],
    ['an older answer', turns(ask('a'), { role: 'function', content: 'a' }), /no role "function"[\s\S]*write "tool"/],
    ['a refusal', turns(ask('a'), answer(null, { refusal: 'I cannot.' })), /it is a `refusal`/],
    ['another role', turns({ role: 'judge', content: 'a' }), /message 0 \(judge\): there is no role "judge"/],
    ['a role misspelt', [{ conversations: [{ from: 'gtp', value: 'a' }] }], /no role "gtp"; did you mean "gpt"/],
    ['no role', turns({ content: 'a' }), /message 0: `role` is missing/],
    ['no content', turns(ask('a'), { role: 'assistant' }), /message 1 \(assistant\): `content` is missing/],
    ['a number', turns(ask('a'), answer(5)), /`content`: expected text or a list of parts, got 5/],
    ['no turn', turns(null), /message 0: expected an object, got null/],
    ['no turns', [{ messages: [] }], /`messages` is empty/],
    ['turns as text', [{ messages: '[]' }], /`messages`: expected a list, got "\[\]"/],
    ['an unknown key', turns(ask('a', { contents: 'b' })), /message 0: unknown key `contents`; did you mean `content`/],
    ['no value', [{ conversations: [{ from: 'human' }] }], /message 0 \(human\): its text is missing/],
    ['a call that is text', [{ conversations: [{ from: 'function_call', value: 'zoom(1)' }] }], /the text is no JSON/],
    [
      'arguments that are text',
      turns(ask('a'), answer('', { tool_calls: [{ function: { name: 'f', arguments: '{box: 1}' } }] })),
      /`arguments`: the text is no JSON/,
    ],
    [
      'a call without name',
      turns(ask('a'), answer('', { tool_calls: [{ function: { arguments: {} } }] })),
      /the call has no `name`/,
    ],
    [
      'tools without name',
      [{ ...plain, tools: [{ type: 'function', function: {} }] }],
      /`tools\[0\]`: expected a tool/,
    ],
    ['an unknown part', part({ type: 'video', video: 'a.mp4' }), /part 0: `video` is not supported/],
    [
      'a part of another API',
      part({ type: 'input_text', text: 'a' }),
      /unknown type "input_text"[\s\S]*write "type": "text"/,
    ],
    ['a part without type', part({ text: 'a' }), /`type` is missing; it has text/],
    ['a bare text', part('a'), /part 0: expected an object, got "a"/],
    ['a part without text', part({ type: 'text' }), /`text`: expected text, got nothing/],
    ['a key of a part', part({ type: 'text', text: 'a', txt: 'b' }), /unknown key `txt`; did you mean `text`/],
    ['an image without address', part({ type: 'image_url' }), /`image_url` is missing/],
    [
      'an unknown detail',
      part({ type: 'image_url', image_url: { url: '1.png', detail: 'huge' } }),
      /expected auto, low or high, got "huge"/,
    ],
    ['two images in one', part({ type: 'image', image: '1.png', url: '1.png' }), /image and url for one image/],
    ['a thinking user', part({ type: 'thinking', thinking: 'a' }), /only an assistant’s or a system message thinks/],
    [
      'both thoughts',
      turns(ask('a'), answer([{ type: 'thinking', thinking: 'a' }], { reasoning_content: 'b' })),
      /beside `thinking` parts/,
    ],
    ['a list as row', [[ask('a')]], /it is a turn, not a conversation[\s\S]*wrap the turns/],
    ['history', [{ instruction: 'a', output: 'b', history: ['c'] }], /`history`: expected pairs of texts/],
    ['two kinds', [{ prompt: 'a', completion: [answer('b')] }], /`prompt` is "a" and `completion` a list of 1/],
    ['nothing to learn', [{ prompt: [ask('a')], completion: [ask('b')] }], /no assistant’s message in `completion`/],
    ['an image of a text', [{ text: 'a', images: ['1.png'] }], /`images` beside plain text/],
    [
      'two systems',
      [{ system: 'a', messages: [{ role: 'system', content: 'b' }] }],
      /`system` beside a system message/,
    ],
  ];
  it.each(cases)('%s', async (_, rows, message) => {
    await expect(loadRows(rows)).rejects.toThrow(message);
    await expect(loadRows(rows)).rejects.toThrow(/^rows\.jsonl:1: /);
    await expect(loadRows(rows)).rejects.toThrow(DataError);
  });

  it('are listed together, up to ten', async () => {
    const bad = { messages: [{ role: 'judge', content: 'a' }] };
    const three = await loadRows([bad, plain, bad, bad]).catch((error: unknown) => (error as Error).message);
    expect(three).toMatch(/3 rows are wrong\n {2}- rows\.jsonl:1: .*\n {2}- rows\.jsonl:3: .*\n {2}- rows\.jsonl:4: /);
    await expect(loadRows(new Array(50).fill(bad))).rejects.toThrow(/more than 10 rows are wrong/);
  });
});

describe('images and their places', () => {
  it('must be as many as the markers', async () => {
    await expect(loadRows([sharegpt('<image> and <image>', { images: ['1.png'] })])).rejects.toThrow(
      /rows\.jsonl:1: 1 image for 2 <image> markers in the text/,
    );
    await expect(loadRows([sharegpt('<image>', { images: ['1.png', '1.png'] })])).rejects.toThrow(
      /2 images for 1 <image> marker in/,
    );
    const parts = { messages: [ask([{ type: 'image' }, { type: 'image' }]), answer('a')], images: ['1.png'] };
    await expect(loadRows([parts])).rejects.toThrow(/1 images in `images` for 2 image parts/);
  });

  it('are not given twice', async () => {
    const part = { type: 'image_url', image_url: { url: '1.png' } };
    const row = { messages: [ask([part, { type: 'text', text: 'a' }]), answer('b')], image: '1.png' };
    await expect(loadRows([row])).rejects.toThrow(/1 image beside image parts that all have one of their own/);
    await expect(loadRows([{ ...row, images: ['1.png'] }])).rejects.toThrow(/`image` beside `images`/);
  });

  it('missing beside a marker is an error where other rows have them, and a warning where none has', async () => {
    const rows = [sharegpt('<image> a', { image: '1.png' }), sharegpt('<image> b', { images: [] })];
    await expect(loadRows(rows)).rejects.toThrow(/1 row has <image> in the text but no image, first rows\.jsonl:2/);
    const warnings: string[] = [];
    const read = await loadRows([sharegpt('How does <image> work in SVG?')], {
      onWarning: (line) => warnings.push(line),
    });
    expect(warnings).toEqual([expect.stringMatching(/<image> in a text without images: it stays text: 1 row/)]);
    expect(((await read.get(0)) as SftExample).messages[0]!.content).toBe('How does <image> work in SVG?');
  });

  it('follow another marker, or none', async () => {
    const row = { image: '1.png', messages: [ask('a <image> [IMG] b'), answer('c')] };
    const contentWith = async (imageMarker: string | false) => {
      const { content } = ((await (await loadRows([row], { imageMarker })).get(0)) as SftExample).messages[0]!;
      return (content as readonly { type: string; text?: string }[]).map((part) => part.text ?? part.type);
    };
    expect(await contentWith('[IMG]')).toEqual(['a <image> ', 'image', ' b']);
    expect(await contentWith(false)).toEqual(['image', 'a <image> [IMG] b']);
  });

  it('of an answer are placed only where the questions have none', async () => {
    const row = (question: string, reply: string) => ({ image: '1.png', messages: [ask(question), answer(reply)] });
    const kinds = async (rows: unknown[]) => {
      const { messages } = (await (await loadRows(rows)).get(0)) as SftExample;
      return messages.map(({ content }) => (typeof content === 'string' ? content : content.map(({ type }) => type)));
    };
    expect(await kinds([row('a <image>', 'b <image>')])).toEqual([['text', 'image'], 'b <image>']);
    expect(await kinds([row('a', 'b <image>')])).toEqual(['a', ['text', 'image']]);
  });

  const cases: readonly [name: string, image: unknown, message: RegExp][] = [
    [
      'a web address',
      'https://example.org/a.png',
      /https:\/\/example\.org\/a\.png is an address.*\n.*download the images/,
    ],
    ['a bucket', 's3://bucket/a.png', /is an address/],
    ['an empty path', '', /the path is empty/],
    ['a number', 5, /expected an image, got 5/],
    ['an empty cell', { bytes: null, path: null }, /neither `bytes` nor `path` has a value/],
    ['another cell', { bytes: 'AAAA', name: 'a' }, /unknown key `name`/],
    ['a vector image', 'data:image/svg+xml;base64,AAAA', /no data: URL of an image that is read here/],
    ['an image without base64', 'data:image/png,AAAA', /no data: URL/],
    ['no base64', 'data:image/png;base64,AA*A', /it is not base64/],
    ['an empty one', 'data:image/png;base64,', /nothing behind the comma/],
  ];
  it.each(cases)('refuses %s', async (_, image, message) => {
    await expect(loadRows([{ ...plain, images: [image] }])).rejects.toThrow(message);
    await expect(loadRows([{ ...plain, images: [image] }])).rejects.toThrow(/rows\.jsonl:1: images\[0\]/);
    const part = { type: 'image_url', image_url: { url: image } };
    if (typeof image === 'string') {
      await expect(loadRows([{ messages: [ask([part]), answer('a')] }])).rejects.toThrow(message);
    }
  });

  it('that cannot be read are all named, or left out by the policy of image folders', async () => {
    const base64 = Buffer.from('no image').toString('base64');
    const images = ['1.png', 'gone.png', 'empty.png', 'notes.png', `data:image/png;base64,${base64}`, 'cut.jpg'];
    const rows = images.map((image) => ({ ...plain, image }));
    const failure = await loadRows(rows).catch((error: unknown) => error as ImageError);
    expect(failure).toBeInstanceOf(ImageError);
    const { message } = failure as ImageError;
    expect(message).toMatch(/the images of 4 rows cannot be read/);
    expect(message).toMatch(/rows\.jsonl:2: .*gone\.png: no such file/);
    expect(message).toMatch(/rows\.jsonl:3: .*empty\.png: the file is empty/);
    expect(message).toMatch(/rows\.jsonl:4: .*notes\.png: not a JPEG/);
    expect(message).toMatch(/rows\.jsonl:5, image: 8 bytes that are no JPEG/);
    await expect(loadRows(rows, { verify: true })).rejects.toThrow(/the images of 5 rows[\s\S]*cut\.jpg/);
    const warnings: string[] = [];
    const read = await loadRows(rows, { onBadImage: 'skip', onWarning: (line) => warnings.push(line) });
    expect(read.length).toBe(1);
    expect(read.skipped.map(({ sampleId }) => sampleId)).toEqual([2, 3, 4, 5, 6].map((line) => `rows.jsonl:${line}`));
    expect(warnings.join()).toMatch(/5 rows are left out, as an image cannot be read: rows\.jsonl:2/);
    const parts = ((await read.get(0)) as SftExample).messages[0]!.content as readonly { image?: ImageInput }[];
    expect((parts[0]!.image as LazyImage).onBadImage).toBe('skip');
    await expect(loadRows(rows.slice(1), { onBadImage: 'skip' })).rejects.toThrow(/all the images[\s\S]*imageRoot/);
  });

  it('are looked for below `imageRoot`', async () => {
    await mkdir(join(dir, 'data'), { recursive: true });
    const rows = JSON.stringify({ ...plain, image: '1.png' });
    await expect(load(rows, {}, 'data/rows.jsonl')).rejects.toThrow(/data.1\.png: no such file/);
    expect((await load(rows, { imageRoot: dir }, 'data/rows.jsonl')).length).toBe(1);
    const back = JSON.stringify({ ...plain, image: 'data\\1.png' });
    if (process.platform !== 'win32') await expect(load(back)).rejects.toThrow(/not by a backslash/);
  });
});

describe('files', () => {
  const row = JSON.stringify(plain);
  it('are told by their content', async () => {
    for (const [content, name, length] of [
      [`${row}\n${row}\n`, 'a.jsonl', 2],
      [`\ufeff${row}\r\n\r\n${row}`, 'a.txt', 2],
      [`[${row},${row}]`, 'a.jsonl', 2],
      [`\n [ ${row} ,\n${row}\n]\n`, 'a.json', 2],
      [`${row}\n${row}`, 'a.json', 2],
      [JSON.stringify(plain, null, 2), 'a.json', 1],
      [`${JSON.stringify(plain, null, 2)}\n${JSON.stringify(plain, null, 2)}`, 'a.json', 2],
    ] as const) {
      const read = await load(content, {}, name);
      expect([content, read.length]).toEqual([content, length]);
      for (let i = 0; i < length; i++) expect((await read.get(i)) as SftExample).toMatchObject(plain);
    }
  });

  const cases: readonly [name: string, content: string | Buffer, message: RegExp][] = [
    ['empty', '', /there are no rows/],
    ['blank', '\n \n', /there are no rows/],
    ['an empty list', '[ ]', /there are no rows/],
    [
      'a comma too many',
      `${row}\n{"messages": [],}\n`,
      /line 2, column 17: no JSON: expected "name": value after the comma, found "}"/,
    ],
    ['a missing comma', `${row}\n{"a": 1 "b": 2}`, /line 2, column 9: no JSON: expected "," or "}", found "\\"b\\"/],
    [
      'a line that ends early',
      `${row}\n{"messages": [`,
      /line 2, column 15: no JSON: expected more: the text ends here/,
    ],
    ['single quotes', `{'messages': []}`, /line 1, column 2: no JSON: expected a name in double quotes/],
    ['NaN', `{"a": NaN}`, /line 1, column 7: no JSON: expected a value, found "NaN}"/],
    ['an object over lines', JSON.stringify(plain, null, 2), /line 1, column 2: no JSON[\s\S]*one object a line/],
    ['a list with a fault', `[\n${row},\n{"a" 1}\n]`, /line 3, column 6: no JSON: expected ":", found "1}"/],
    ['a list without an end', `[\n${row}\n`, /line 3, column 1: no JSON: the list has no end/],
    ['a list without commas', `[\n${row}\n${row}]`, /line 3, column 1: no JSON: expected "," or "]"/],
    ['two lists', `[${row}]\n[${row}]`, /line 2, column 1: no JSON: there is more behind the end/],
    ['a prototype', '{"__proto__": {}}', /line 1, column 1: no JSON: it has a key __proto__/],
    ['deep', `{"a": ${'['.repeat(200)}${']'.repeat(200)}}`, /it nests more than 100 deep/],
    ['Latin-1', Buffer.from('{"text": "\xe9"}', 'latin1'), /line 1, column 1: no JSON: it is not UTF-8/],
    ['UTF-16', Buffer.from(`\ufeff${row}`, 'utf16le'), /got UTF-16/],
    ['Parquet', 'PAR1....', /got a Parquet file[\s\S]*to_json/],
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0]), /compressed with gzip/],
    ['a pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0', /pointer of Git LFS/],
    ['a wrapped list', JSON.stringify({ data: [plain] }), /rows\.jsonl:1: no known form[\s\S]*in the list `data`/],
    ['a word', 'hello', /line 1, column 1: no JSON: expected a value, found "hello"/],
  ];
  it.each(cases)('refuses a file that is %s', async (_, content, message) => {
    await expect(load(content)).rejects.toThrow(message);
    await expect(load(content)).rejects.toThrow(DataError);
  });

  it('refuses what is no file, and wrong options', async () => {
    await expect(ConversationDataset.fromFile(join(dir, 'gone.jsonl'))).rejects.toThrow(/no such file/);
    await expect(ConversationDataset.fromFile(dir)).rejects.toThrow(/a folder, not a file of conversations/);
    await expect(ConversationDataset.fromFile(undefined as never)).rejects.toThrow(/expected a path, got nothing/);
    await expect(ConversationDataset.fromRows(plain as never)).rejects.toThrow(ConfigError);
    await expect(ConversationDataset.fromRows([])).rejects.toThrow(/there are no rows/);
    for (const [options, text] of [
      [{ removeColumns: [] }, /did you mean `ignoreColumns`/],
      [{ imageroot: '' }, /did you mean `imageRoot`/],
      [{ form: 'chatml' }, /`form`/],
    ] as const) {
      await expect(ConversationDataset.fromRows([plain], options as unknown as ConversationOptions)).rejects.toThrow(
        text,
      );
    }
  });

  it('are read again where they are large, and must then stay as they are', async () => {
    const path = join(dir, 'changing.jsonl');
    await writeFile(path, `${row}\n${row.replace('cat', 'dog')}`);
    const seen: unknown[] = [];
    const visit = (value: unknown) => void seen.push(value);
    const large = await JsonRowFile.scan(path, visit, 0);
    const small = await JsonRowFile.scan(path, visit);
    expect(seen).toEqual([...new Array(2)].flatMap(() => [plain, { messages: [ask('Which?'), answer('dog')] }]));
    expect([await large.read(1), await large.read(0)]).toEqual([seen[1], seen[0]]);
    await utimes(path, 1, 1);
    await expect(large.read(0)).rejects.toThrow(/changed after it was loaded/);
    await rm(path);
    await expect(large.read(0)).rejects.toThrow(/cannot be read any more/);
    expect([await small.read(1), await small.read(0)]).toEqual([seen[1], seen[0]]);
    const read = await load(row);
    await expect(read.get(1)).rejects.toThrow(/no item at index 1/);
  });
});
