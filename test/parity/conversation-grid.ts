/** Conversations of all shapes that chat templates meet, with and without tools and a generation prompt. */

type Message = Readonly<Record<string, unknown>>;

const user = (content: unknown): Message => ({ role: 'user', content });
const assistant = (content: unknown, more: Message = {}): Message => ({ role: 'assistant', content, ...more });
const system = (content: unknown): Message => ({ role: 'system', content });
const tool = (content: unknown, more: Message = {}): Message => ({ role: 'tool', content, ...more });
const text = (content: string): Message => ({ type: 'text', text: content });
const IMAGE: Message = { type: 'image' };

const TOOLS = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather of a "city"',
      parameters: {
        type: 'object',
        properties: {
          city: { type: 'string', description: 'Its name, e.g. Zürich' },
          days: { type: 'integer', default: 3, enum: [1, 3] },
          level: { type: 'number', minimum: 0.5 },
        },
        required: ['city'],
      },
    },
  },
];

const call = (args: unknown, id?: string): Message => ({
  ...(id && { id }),
  type: 'function',
  function: { name: 'get_weather', arguments: args },
});

const CONVERSATIONS: readonly (readonly Message[])[] = [
  [],
  [user('Hello')],
  [user('Hello'), assistant('Hi')],
  [system('Be brief.'), user('Hello'), assistant('Hi there'), user('And?'), assistant('No.')],
  [user([text('What is this?'), IMAGE]), assistant('A cat')],
  [user([IMAGE, text('Is it?')]), assistant([text('yes\nit is')]), user([text('sure?')])],
  [system([text('Look closely.')]), user([text('a'), IMAGE, text('b')]), assistant([text('c')])],
  [
    user('Weather?'),
    assistant('', { tool_calls: [call({ city: 'Zürich', days: 2 }, 'abcdefghi')] }),
    tool('{"t": 20.5}', { tool_call_id: 'abcdefghi', name: 'get_weather' }),
    assistant('20.5 degrees'),
  ],
  [
    user('Weather?'),
    assistant(null, { tool_calls: [call('{"city": "Paris"}', 'abcdefghi'), call({}, 'bcdefghij')] }),
    tool([text('20')], { tool_call_id: 'abcdefghi' }),
    tool('21', { tool_call_id: 'bcdefghij' }),
    assistant('warm'),
    user('thanks'),
    assistant('bye'),
  ],
  [user('Weather?'), assistant('I look.', { tool_calls: [call({ city: 'Rome' })] })],
  [
    user('  spaces \n\n lines\n'),
    assistant('\n trimmed? \n'),
    user('émoji 🎉 “q” \'x\' "y" <b>&\\n'),
    assistant('日本語\u2028'),
  ],
  [user('a'), user('b')],
  [assistant('first'), user('then')],
  [user('x'), assistant('')],
  [user(''), assistant('z')],
  [user(null), assistant('z')],
  [{ role: 'critic', content: '?' }],
  [{ role: 'developer', content: 'Obey.' }, user('q'), assistant('r')],
  [system('only this')],
  [user('t'), assistant('<think>\nhm\n</think>\n\nanswer'), user('more'), assistant('<think>deep</think>fine')],
  [user('t'), assistant('answer', { reasoning_content: 'because', weight: 1 }), user('2')],
  [user('t'), assistant([{ type: 'thinking', thinking: [text('deep')] }, text('ok')])],
  [{ ...user('named'), name: 'Ann' }, assistant('ok', { prefix: true })],
  [system('s'), user([text('one'), text('two')]), assistant('three', { tool_calls: [] })],
];

/** What templates are given, one for each combination. */
export function conversationGrid(): Record<string, unknown>[] {
  return CONVERSATIONS.flatMap((messages) =>
    [null, TOOLS].flatMap((tools) =>
      [false, true].map((prompt) => ({
        messages,
        tools,
        documents: null,
        add_generation_prompt: prompt,
        bos_token: '<s>',
        eos_token: '</s>',
      })),
    ),
  );
}
