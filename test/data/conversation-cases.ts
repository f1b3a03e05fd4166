import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ConversationForm } from '../../src/data/conversations/form-names.js';
import { dir, redJpeg, redPng } from './conversation-harness.js';

export interface FileCase {
  readonly name: string;
  readonly form: ConversationForm;
  /** Rows, as they are written. */
  readonly rows: () => unknown[];
  /** The messages of each row. */
  readonly gives: readonly (readonly string[])[];
  /** What is learned of each row. */
  readonly learned: readonly (readonly string[])[];
  /** A list over several lines in place of one row a line. */
  readonly asList?: boolean;
  readonly options?: object;
  readonly notes?: readonly RegExp[];
}

export const ask = (content: unknown) => ({ role: 'user', content });
export const answer = (content: unknown, more: object = {}) => ({ role: 'assistant', content, ...more });
export const text = (value: string) => ({ type: 'text', text: value });
export const zoom = { type: 'function', function: { name: 'zoom', description: 'd', parameters: { type: 'object' } } };
export const calls = [{ id: 'abcdefghi', type: 'function', function: { name: 'zoom', arguments: '{"box": [1, 2]}' } }];

export const FILES: readonly FileCase[] = [
  {
    name: 'openai-vision.jsonl',
    form: 'openai',
    rows: () => [
      {
        messages: [
          { role: 'developer', content: 'Be brief.' },
          ask([text('Which?'), { type: 'image_url', image_url: { url: '1.png', detail: 'low' } }]),
          answer('cat'),
        ],
      },
      {
        messages: [
          ask([
            { type: 'image_url', image_url: { url: `data:image/jpeg;base64,${redJpeg.toString('base64')}` } },
            text('or'),
            { type: 'image_url', image_url: { url: pathToFileURL(join(dir, '2.png')).href } },
          ]),
          answer([text('red')], { refusal: null, annotations: [], name: null }),
        ],
        parallel_tool_calls: false,
      },
    ],
    learned: [['cat</s>'], ['red</s>']],
    gives: [
      ['system: Be brief.', 'user: Which?{1.png}', 'assistant: cat'],
      ['user: {1.png}or{2.png}', 'assistant: red'],
    ],
    notes: [/`detail` is not used.*: 1 row \(first openai-vision\.jsonl:1\)/, /parallel_tool_calls/],
  },
  {
    name: 'openai-tools.ndjson',
    form: 'openai',
    rows: () => [
      {
        tools: [zoom],
        messages: [
          ask('Look.'),
          { role: 'assistant', content: null, tool_calls: calls },
          { role: 'tool', tool_call_id: 'abcdefghi', name: 'zoom', content: 'a cat' },
          answer('cat', { weight: 1 }),
        ],
      },
      { messages: [ask('A?'), answer('bad', { weight: 0 }), ask('B?'), answer('good', { weight: 1 })] },
    ],
    learned: [['[TOOL_CALLS]zoom[ARGS]{"box": [1, 2]}</s>', 'cat</s>'], ['good</s>']],
    gives: [
      [
        'tools: zoom',
        'user: Look.',
        `assistant:  ${JSON.stringify({ tool_calls: calls })}`,
        'tool: a cat {"tool_call_id":"abcdefghi","name":"zoom"}',
        'assistant: cat {"weight":1}',
      ],
      ['user: A?', 'assistant: bad {"weight":0}', 'user: B?', 'assistant: good {"weight":1}'],
    ],
  },
  {
    name: 'mistral-vision.jsonl',
    form: 'mistral',
    rows: () => [
      {
        messages: [
          ask([{ type: 'image_url', image_url: '3.png' }, text('Which?'), { type: 'image_url', image_url: '2.png' }]),
          answer('blue', { prefix: false, tool_calls: null }),
        ],
      },
    ],
    learned: [['blue</s>']],
    gives: [['user: {3.png}Which?{2.png}', 'assistant: blue']],
  },
  {
    name: 'mistral-reasoning.jsonl',
    form: 'mistral',
    rows: () => [
      {
        messages: [
          ask('2+2?'),
          answer([{ type: 'thinking', thinking: [text('Two '), text('and two.')] }, text('4')]),
          ask('More?'),
          answer('5', { reasoning_content: 'One more.' }),
        ],
      },
      {
        messages: [
          ask('Go on.'),
          answer([{ type: 'thinking', thinking: 'So', closed: false }], { prefix: true, weight: 0 }),
        ],
      },
    ],
    learned: [['[THINK]Two and two.[/THINK]4</s>', '[THINK]One more.[/THINK]5</s>'], ['a prefix is not learned']],
    gives: [
      ['user: 2+2?', 'assistant: (Two and two.)4', 'user: More?', 'assistant: (One more.)5'],
      ['user: Go on.', 'assistant: (So…) {"weight":0,"prefix":true}'],
    ],
  },
  {
    name: 'trl-images.jsonl',
    form: 'trl',
    rows: () => [
      {
        id: 7,
        images: ['2.png', '1.png'],
        messages: [
          ask([text('A'), { type: 'image' }, text('B')]),
          answer('x'),
          ask([{ type: 'image', text: null }, text('C')]),
          answer([{ type: 'text', text: 'y', image: null }]),
        ],
      },
      { images: [], messages: [ask('No image.'), answer('z')] },
    ],
    learned: [['x</s>', 'y</s>'], ['z</s>']],
    gives: [
      ['user: A{2.png}B', 'assistant: x', 'user: {1.png}C', 'assistant: y'],
      ['user: No image.', 'assistant: z'],
    ],
  },
  {
    name: 'trl-image.json',
    form: 'trl',
    asList: true,
    rows: () => [
      { image: '1.png', messages: [ask('Which?'), answer('cat')] },
      { images: ['2.png', '3.png'], messages: [{ role: 'system', content: 'S' }, ask([text('Both?')]), answer('no')] },
      {
        messages: [
          ask([
            { type: 'image', url: '3.png' },
            { type: 'image', path: '1.png' },
          ]),
          answer('two'),
        ],
      },
    ],
    learned: [['cat</s>'], ['no</s>'], ['two</s>']],
    gives: [
      ['user: {1.png}Which?', 'assistant: cat'],
      ['system: S', 'user: {2.png}{3.png}Both?', 'assistant: no'],
      ['user: {3.png}{1.png}', 'assistant: two'],
    ],
    notes: [/images go before the text of the first user message: 2 rows/],
  },
  {
    name: 'trl-prompt-completion.jsonl',
    form: 'trl',
    rows: () => [
      {
        image: '1.png',
        prompt: [ask('A?'), answer('old', { weight: 1 }), ask('B?')],
        completion: [answer('new')],
      },
    ],
    learned: [['new</s>']],
    gives: [['user: {1.png}A?', 'assistant: old {"train":false}', 'user: B?', 'assistant: new']],
  },
  {
    name: 'prompt-completion.jsonl',
    form: 'prompt-completion',
    rows: () => [{ prompt: 'The sky is', completion: ' blue.' }],
    learned: [[' blue.</s>']],
    gives: [['prompt: The sky is', 'completion:  blue.']],
  },
  {
    name: 'text.jsonl',
    form: 'text',
    rows: () => [{ text: 'One.', images: null }, { text: 'Two <image>.' }],
    learned: [['One.</s>'], ['Two <image>.</s>']],
    gives: [['text: One.'], ['text: Two <image>.']],
    notes: [/all of it is learned: 2 rows/],
  },
  {
    name: 'sharegpt.jsonl',
    form: 'sharegpt',
    rows: () => [
      {
        images: ['1.png', '2.png'],
        conversations: [
          { from: 'human', value: 'First <image> then <image>, same?' },
          { from: 'gpt', value: 'no' },
        ],
      },
      {
        system: 'S',
        images: ['3.png'],
        conversations: [
          { from: 'human', value: 'Hi' },
          { from: 'gpt', value: 'Hello', weight: 0 },
          { from: 'human', value: 'And <image>?' },
          { from: 'gpt', value: 'A tag like <image>.', weight: null },
        ],
      },
    ],
    learned: [['no</s>'], ['A tag like <image>.</s>']],
    gives: [
      ['user: First {1.png} then {2.png}, same?', 'assistant: no'],
      [
        'system: S',
        'user: Hi',
        'assistant: Hello {"weight":0}',
        'user: And {3.png}?',
        'assistant: A tag like <image>.',
      ],
    ],
    notes: [/where <image> marks their places: 2 rows/, /it stays text: 1 row \(first sharegpt\.jsonl:2\)/],
  },
  {
    name: 'llava.json',
    form: 'sharegpt',
    asList: true,
    rows: () => [
      {
        id: '000000033471',
        image: '1.png',
        conversations: [
          { from: 'human', value: '<image>\nWhich?' },
          { from: 'gpt', value: 'red' },
        ],
      },
      {
        id: 'text',
        conversations: [
          { from: 'human', value: 'Hi' },
          { from: 'gpt', value: 'Hello' },
        ],
      },
    ],
    learned: [['red</s>'], ['Hello</s>']],
    gives: [
      ['user: {1.png}\nWhich?', 'assistant: red'],
      ['user: Hi', 'assistant: Hello'],
    ],
  },
  {
    name: 'llama-factory-tools.json',
    form: 'sharegpt',
    asList: true,
    rows: () => [
      {
        tools: JSON.stringify([{ name: 'zoom', description: 'd', parameters: { type: 'object' } }]),
        images: ['1.png'],
        conversations: [
          { from: 'system', value: 'S' },
          { from: 'human', value: 'Look. <image>' },
          { from: 'function_call', value: '{"name": "zoom", "arguments": {"box": [1]}}' },
          { from: 'observation', value: 'a cat' },
          { from: 'gpt', value: 'cat' },
        ],
      },
    ],
    learned: [['[TOOL_CALLS]zoom[ARGS]{"box": [1]}</s>', 'cat</s>']],
    gives: [
      [
        'tools: zoom',
        'system: S',
        'user: Look. {1.png}',
        'assistant:  {"tool_calls":[{"type":"function","function":{"name":"zoom","arguments":{"box":[1]}}}]}',
        'tool: a cat',
        'assistant: cat',
      ],
    ],
  },
  {
    name: 'alpaca.json',
    form: 'alpaca',
    asList: true,
    rows: () => [
      {
        instruction: 'Compare <image>',
        input: 'with <image>.',
        output: 'no',
        system: 'S',
        history: [['Hi', 'Hello']],
        images: ['2.png', '3.png'],
      },
      { instruction: 'Say yes.', input: '', output: 'yes', system: '', history: [], images: [] },
      { instruction: 'Which?', output: 'red', images: ['1.png'] },
    ],
    learned: [['Hello</s>', 'no</s>'], ['yes</s>'], ['red</s>']],
    gives: [
      ['system: S', 'user: Hi', 'assistant: Hello', 'user: Compare {2.png}\nwith {3.png}.', 'assistant: no'],
      ['user: Say yes.', 'assistant: yes'],
      ['user: {1.png}Which?', 'assistant: red'],
    ],
    notes: [/answers of `history` are learned too: 1 row/, /without a <image> marker.*: 1 row/],
  },
  {
    name: 'llama-factory-messages.json',
    form: 'trl',
    asList: true,
    rows: () => [
      {
        messages: [ask('<image>Who is it?'), answer('A cat.'), ask('And <image>?'), answer('A dog.')],
        images: ['1.png', '3.png'],
      },
    ],
    learned: [['A cat.</s>', 'A dog.</s>']],
    gives: [['user: {1.png}Who is it?', 'assistant: A cat.', 'user: And {3.png}?', 'assistant: A dog.']],
    notes: [/where <image> marks their places/],
  },
  {
    name: 'hugging-face-cells.jsonl',
    form: 'trl',
    rows: () => [
      {
        messages: [
          { role: 'user', content: [{ type: 'image', text: null }, text('Which?')], tool_calls: null, weight: null },
          { role: 'assistant', content: [{ type: 'text', text: 'red' }], tool_calls: null, weight: null },
        ],
        images: [{ bytes: redPng.toString('base64'), path: 'gone.png' }],
        source: null,
      },
      { messages: [ask('Which?'), answer('blue')], images: [{ bytes: null, path: '3.png' }], source: null },
    ],
    learned: [['red</s>'], ['blue</s>']],
    gives: [
      ['user: {1.png}Which?', 'assistant: red'],
      ['user: {3.png}Which?', 'assistant: blue'],
    ],
  },
  {
    name: 'hugging-face-image.jsonl',
    form: 'sharegpt',
    rows: () => [
      {
        conversation_id: 'c1',
        category: 'animals',
        image: { bytes: { type: 'Buffer', data: [...redPng] }, path: null },
        conversations: [ask('Which? <image>'), { from: 'gpt', value: 'red' }],
      },
    ],
    learned: [['red</s>']],
    gives: [['user: Which? {1.png}', 'assistant: red']],
    options: { ignoreColumns: ['category'] },
  },
];
