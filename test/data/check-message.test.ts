import { describe, expect, it } from 'vitest';
import { ChatTemplate } from '../../src/data/chat-template.js';
import { DataLoader } from '../../src/data/data-loader.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { attachImages, keepUserText, promptOf } from '../../src/data/sft-messages.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ImageInput, Message, SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { DataError, TextError } from '../../src/errors.js';
import { message, TURNS_TEMPLATE } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const collator = new VlmCollator({
  tokenizer: new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG),
  chatTemplate: new ChatTemplate(TURNS_TEMPLATE),
  imageProcessor: {
    patchSize: 2,
    spatialMergeSize: 2,
    process: async () => ({ pixelValues: new Float32Array(48), height: 4, width: 4 }),
  },
});
const question = message('user', 'Is it?');
const reply = message('assistant', 'yes');
const call = { id: 'abcdefghi', type: 'function', function: { name: 'zoom', arguments: '{}' } } as const;

describe('samples that are handed straight to the collator', () => {
  const messages = [question, reply];
  const samples: readonly [name: string, sample: unknown, text: RegExp][] = [
    ['nothing', undefined, /expected \{ messages: \[\.\.\.\], images\? \}, got nothing/],
    ['null', null, /got null/],
    ['a text', 'Is it?', /got "Is it\?"/],
    ['a list', messages, /got a list of 2[\s\S]*wrap the list/],
    ['a promise', Promise.resolve({ messages }), /got a promise: await it/],
    [
      'image',
      { messages, image: 'a.png' },
      /unknown key `image`; did you mean `images`\?[\s\S]*write `images: \[image\]`/,
    ],
    ['imgs', { messages, imgs: ['a.png'] }, /unknown key `imgs`; did you mean `images`/],
    ['message', { message: messages }, /unknown key `message`; did you mean `messages`/],
    [
      'conversations',
      { conversations: [] },
      /unknown key `conversations`; did you mean `messages`[\s\S]*ConversationDataset/,
    ],
    ['label', { messages, label: 3 }, /unknown key `label`; known: messages/],
    ['one image', { messages, images: 'a.png' }, /`images`: expected a list, got "a\.png"/],
    ['a hole', { messages, images: ['a.png', undefined] }, /`images\[1\]`: expected an image, got nothing/],
    [
      'a cell',
      { messages, images: [{ bytes: 'x', path: 'y' }] },
      /`images\[0\]`: expected an image, got an object with bytes, path/,
    ],
    ['a number', { messages, images: [5] }, /`images\[0\]`: expected an image, got 5/],
    ['tools', { messages, tools: {} }, /`tools`: expected a tool, got an object with no keys/],
    ['a bare tool', { messages, tools: [{ name: 'f' }] }, /`tools\[0\]`: expected a tool, got an object with name/],
    ['no messages', { messages: [] }, /at least one message, got a list of 0/],
    ['messages as text', { messages: 'a' }, /at least one message, got "a"/],
    ['messages of null', { messages: null }, /at least one message, got null/],
  ];
  it.each(samples)('%s', async (_, sample, text) => {
    const example = sample as SftExample;
    expect(() => attachImages(example)).toThrow(text);
    expect(() => attachImages(example)).toThrow(DataError);
    await expect(collator.collate([example])).rejects.toThrow(/sample .*:/);
    await expect(collator.collatePrompts([example])).rejects.toThrow(DataError);
  });

  const wrong: readonly [name: string, messages: unknown[], text: RegExp][] = [
    [
      'weight',
      [{ ...question, weight: 1 }, reply],
      /message 0 \(user\) is malformed: `weight` is a key of an assistant’s/,
    ],
    ['train', [{ ...question, train: true }], /`train` is a key of an assistant’s message/],
    ['tool_calls', [{ ...question, tool_calls: [call] }], /`tool_calls` is a key of an assistant’s message/],
    ['prefix', [{ ...question, prefix: true }], /`prefix` is a key of an assistant’s message/],
    ['name', [{ ...question, name: 'Bob' }], /`name` is a key of a tool’s message/],
    [
      'half a weight',
      [question, { ...reply, weight: 0.5 }],
      /message 1 \(assistant\) is malformed: `weight`: expected 0 or 1, got 0\.5/,
    ],
    ['train as text', [question, { ...reply, train: 'no' }], /`train`: expected true or false, got "no"/],
    ['two opinions', [question, { ...reply, weight: 0, train: true }], /say opposite things/],
    ['a call', [question, { ...reply, tool_calls: call }], /`tool_calls`: expected a list, got an object with id/],
    [
      'a plain call',
      [question, { ...reply, tool_calls: [{ name: 'f', arguments: {} }] }],
      /`tool_calls\[0\]`: expected a call/,
    ],
    [
      'calls without arguments',
      [question, { ...reply, tool_calls: [{ function: { name: 'f' } }] }],
      /`tool_calls\[0\]`: expected a call/,
    ],
    [
      'a key of a call',
      [question, { ...reply, tool_calls: [{ ...call, typ: 'x' }] }],
      /unknown key `typ`; did you mean `type`/,
    ],
    ['an unknown key', [{ role: 'user', contnet: 'a' }], /unknown key `contnet`; did you mean `content`/],
    ['ShareGPT', [{ from: 'human', value: 'a' }], /unknown key `from`; did you mean `role`[\s\S]*ConversationDataset/],
    ['undefined', [undefined], /message 0 is malformed: expected \{ role, content \}, got nothing/],
    ['null', [question, null], /message 1 is malformed: .*got null/],
    ['a text', ['Is it?'], /got "Is it\?"/],
    ['no role', [{ content: 'a' }], /`role` is missing/],
    ['a role', [{ role: 'Human', content: 'a' }], /there is no role "Human"; did you mean "user"/],
    ['capitals', [{ role: 'User', content: 'a' }], /did you mean "user"/],
    [
      'an answer',
      [question, { role: 'assistant', content: undefined }],
      /message 1 \(assistant\) is malformed: `content` is missing/,
    ],
    [
      'content of null',
      [question, { role: 'assistant', content: null }],
      /`content`: expected text or a list of parts, got null/,
    ],
    [
      'a part',
      [{ role: 'user', content: { type: 'text', text: 'a' } }],
      /`content`: expected text or a list of parts, got an object with type, text/,
    ],
  ];
  it.each(wrong)('messages: %s', async (_, given, text) => {
    const failing = collator.collate([{ messages: given as Message[], id: 's' }]);
    await expect(failing).rejects.toThrow(text);
    await expect(failing).rejects.toThrow(/^sample s: message \d/);
    await expect(failing).rejects.toThrow(TextError);
  });

  const parts: readonly [name: string, part: unknown, text: RegExp][] = [
    [
      'image_url',
      { type: 'image_url', image_url: { url: 'x' } },
      /in part 1 of its content: unknown type "image_url"[\s\S]*ConversationDataset/,
    ],
    ['no image_url', { type: 'image_url' }, /unknown type "image_url"/],
    ['url', { type: 'image', url: 'a.png' }, /unknown key `url`; did you mean `image`/],
    ['path', { type: 'image', path: 'a.png' }, /unknown key `path`; did you mean `image`/],
    ['img', { type: 'image', img: 'a.png' }, /unknown key `img`; did you mean `image`/],
    ['no image', { type: 'image', image: 7 }, /`image`: expected an image, got 7/],
    ['no text', { type: 'text' }, /`text`: expected text, got nothing/],
    ['txt', { type: 'text', text: 'a', txt: 'b' }, /unknown key `txt`; did you mean `text`/],
    ['no type', { text: 'a' }, /`type` is missing/],
    ['a text', 'a', /expected \{ type: "text", text \} or \{ type: "image" \}, got "a"/],
    ['null', null, /got null/],
    ['a thought', { type: 'thinking', thinking: 'a' }, /a `thinking` part belongs into an assistant’s/],
  ];
  it.each(parts)('parts: %s', async (_, part, text) => {
    const content = [{ type: 'text', text: 'a' }, part];
    const failing = collator.collate([{ messages: [{ role: 'user', content } as Message, reply] }]);
    await expect(failing).rejects.toThrow(text);
    await expect(failing).rejects.toThrow(/message 0 \(user\) is malformed in part 1/);
  });

  it('come through a loader with their index', async () => {
    const dataset = IndexedDataset.from([undefined as never]);
    const batches = new DataLoader({ dataset, collator }).batches([[0]]);
    await expect(batches.next()).rejects.toThrow(/sample 0: expected \{ messages/);
  });
});

describe('messages with their images', () => {
  it('keep what they hold beside their content', () => {
    const images: ImageInput[] = ['a.png'];
    const messages: Message[] = [
      message('system', 'S'),
      question,
      { role: 'assistant', content: '', tool_calls: [call] },
      { role: 'tool', content: 'cat', tool_call_id: 'abcdefghi', name: 'zoom' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 't' },
          { type: 'text', text: 'yes' },
        ],
        weight: 0,
      },
      { ...reply, train: false, prefix: true },
    ];
    const attached = attachImages({ messages, images });
    expect(attached[1]).toEqual({
      role: 'user',
      content: [
        { type: 'image', image: 'a.png' },
        { type: 'text', text: 'Is it?' },
      ],
    });
    expect(attached.filter((_, i) => i !== 1)).toEqual(messages.filter((_, i) => i !== 1));
    expect(keepUserText(attached, 2)[1]!.content).toEqual([
      { type: 'image', image: 'a.png' },
      { type: 'text', text: 'Is' },
    ]);
  });

  it('lose the keys that tables fill with null, and calls need no text', () => {
    const filled = { role: 'user', content: 'a', tool_calls: null, name: null, weight: undefined };
    const calls = { role: 'assistant', content: null, tool_calls: [call] };
    const bare = { role: 'assistant', tool_calls: [call] };
    const example = { messages: [filled, calls, bare], images: null, tools: null } as unknown as SftExample;
    const empty = { role: 'assistant', content: '', tool_calls: [call] };
    expect(attachImages(example)).toEqual([{ role: 'user', content: 'a' }, empty, empty]);
    const parts = [
      { type: 'image', image: null, text: null },
      { type: 'text', text: 'a', image: null },
    ];
    const given = { messages: [{ role: 'user', content: parts }], images: ['a.png'] } as unknown as SftExample;
    expect(attachImages(given)[0]!.content).toEqual([
      { type: 'image', image: 'a.png' },
      { type: 'text', text: 'a', image: null },
    ]);
  });

  it('end before the answer, unless it is begun', () => {
    expect(promptOf([question, reply])).toEqual([question]);
    const begun = { ...reply, prefix: true };
    expect(promptOf([question, begun])).toEqual([question, begun]);
    const used = [
      question,
      { role: 'assistant', content: '', tool_calls: [call] },
      message('tool', 'cat'),
    ] as Message[];
    expect(promptOf([...used, reply])).toEqual(used);
    expect(() => promptOf([begun])).toThrow(/no question/);
  });
});
