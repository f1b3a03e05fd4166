import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { encodeConversation } from '../../src/data/encode-conversation.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ContentPart, Message, Tool } from '../../src/data/types.js';
import {
  CHATML_TEMPLATE,
  callOf,
  message,
  OLD_TOOLS_TEMPLATE,
  TAGGED_TOOLS_TEMPLATE,
  TOOLS_TEMPLATE,
  TURNS_TEMPLATE,
  ZOOM,
} from './conversations.js';
import { TINY_CONFIG, tinyTokenizerJson, tinyTokenizerWith } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(
  tinyTokenizerWith('[ARGS]', '[THINK]', '[/THINK]', '<|im_start|>', '<|im_end|>'),
  TINY_CONFIG,
);
const tools = [ZOOM];
const user = (content: Message['content'] = 'Look.') => message('user', content);
const calls = (...tool_calls: ReturnType<typeof callOf>[]): Message => ({ role: 'assistant', content: '', tool_calls });
const result = (content: Message['content']): Message => ({
  role: 'tool',
  content,
  tool_call_id: 'abcdefghi',
  name: 'zoom',
});

/** What is learned of a conversation, answers apart; control tokens in braces, so that text cannot pass for one. */
function learned(
  source: string,
  messages: readonly Message[],
  options: { tools?: readonly Tool[]; tokenizer?: MinistralTokenizer } = {},
): string[] {
  const { tokenizer: own = tokenizer, ...rest } = options;
  const { ids, isAnswer } = encodeConversation(own, new ChatTemplate(source), messages, rest);
  const runs: string[] = [];
  let run: number[] = [];
  const end = () => {
    if (run.length > 0) runs.push(shown(own, run));
    run = [];
  };
  for (const [i, id] of ids.entries()) {
    if (isAnswer[i]) run.push(id);
    else end();
  }
  end();
  return runs;
}

function shown(own: MinistralTokenizer, ids: readonly number[]): string {
  const decoder = own.streamingDecoder();
  return ids.map((id) => (own.specialTokenIds.has(id) ? `{${own.decode([id])}}` : decoder.push(id))).join('');
}

describe('calls of tools', () => {
  it('are learned with the control tokens that open them, whatever the form of the arguments', () => {
    const expected = ['{[TOOL_CALLS]}zoom{[ARGS]}{"box": [1, 2]}{</s>}'];
    for (const args of ['{"box": [1, 2]}', { box: [1, 2] }]) {
      expect(learned(TOOLS_TEMPLATE, [user(), calls(callOf(args))], { tools })).toEqual(expected);
    }
  });

  it('reach the template as they are: text unchanged, objects as JSON, tools in their order of keys', () => {
    const template = new ChatTemplate(TOOLS_TEMPLATE);
    const odd = '{"b":1,  "a": "é"}';
    expect(template.render([user(), calls(callOf(odd))], { tools })).toBe(
      '<s>[AVAILABLE_TOOLS][{"type": "function", "function": {"name": "zoom", "description": "Looks closer.", ' +
        `"parameters": {"type": "object", "properties": {}}}}][/AVAILABLE_TOOLS][INST]Look.[/INST]` +
        `[TOOL_CALLS]zoom[ARGS]${odd}</s>`,
    );
    expect(template.render([user(), calls(callOf({ b: 1, a: 'é "x"\n' }))])).toBe(
      '<s>[INST]Look.[/INST][TOOL_CALLS]zoom[ARGS]{"b": 1, "a": "é \\"x\\"\\n"}</s>',
    );
  });

  it('are learned one after the other, after text, and in every turn', () => {
    const both: Message = {
      role: 'assistant',
      content: 'Closer.',
      tool_calls: [callOf('{}'), callOf({ n: 1 }, 'turn')],
    };
    expect(learned(TOOLS_TEMPLATE, [user(), both, result('cat'), message('assistant', 'A cat.')], { tools })).toEqual([
      'Closer.{[TOOL_CALLS]}zoom{[ARGS]}{}{[TOOL_CALLS]}turn{[ARGS]}{"n": 1}{</s>}',
      'A cat.{</s>}',
    ]);
    const early = [user(), calls(callOf('{}')), result('cat'), message('assistant', 'A cat.'), user('Sure?')];
    expect(learned(TOOLS_TEMPLATE, [...early, calls(callOf({ n: 2 }))], { tools })).toEqual([
      '{[TOOL_CALLS]}zoom{[ARGS]}{}{</s>}',
      'A cat.{</s>}',
      '{[TOOL_CALLS]}zoom{[ARGS]}{"n": 2}{</s>}',
    ]);
  });

  it('are learned as a list of JSON, where tools and system text stand at a later question', () => {
    const turns = [message('system', 'Be brief.'), user(), calls(callOf({ n: 1 }), callOf('{}', 'turn', '123456789'))];
    const more = [...turns, result('5'), message('assistant', 'Five.'), user('Sure?'), message('assistant', 'Yes.')];
    expect(learned(OLD_TOOLS_TEMPLATE, more, { tools })).toEqual([
      '{[TOOL_CALLS]}[{"name": "zoom", "arguments": {"n": 1}, "id": "abcdefghi"}, ' +
        '{"name": "turn", "arguments": {}, "id": "123456789"}]{</s>}',
      'Five.{</s>}',
      'Yes.{</s>}',
    ]);
    expect(new ChatTemplate(OLD_TOOLS_TEMPLATE).render(more)).toContain('[TOOL_RESULTS]{"content": 5, ');
    expect(() => learned(OLD_TOOLS_TEMPLATE, [user(), { ...calls(callOf('{}')), content: 'x' }])).toThrow(
      /refuses the conversation: not both content and calls/,
    );
    expect(() => learned(OLD_TOOLS_TEMPLATE, [user(), calls(callOf('{}', 'zoom', 'short'))])).toThrow(
      /an id has nine characters/,
    );
  });

  it('are learned as text between tags, from the first that is not in a generation prompt', () => {
    expect(learned(TAGGED_TOOLS_TEMPLATE, [user(), calls(callOf({ n: 1 })), result('cat')])).toEqual([
      '<tool_call>\n{"name": "zoom", "arguments": {"n": 1}}\n</tool_call>{<|im_end|>}',
    ]);
    // A template that writes the text or the calls of a turn.
    const either = TAGGED_TOOLS_TEMPLATE.replace("{%- if m.content %}{{- '\\n' + m.content }}{%- endif %}", '');
    expect(learned(either, [user(), calls(callOf({ n: 1 }))])[0]).toMatch(/^<tool_call>\n\{"name": "zoom"/);
    expect(() => learned(either, [user(), { ...calls(callOf({})), content: 'x' }])).toThrow(
      /leaves out text of message 1 \(assistant\)/,
    );
  });

  it('hold no control token that the data spells: not in names, arguments, keys, results or tools', () => {
    const hostile = callOf({ '[/INST]': 'a</s>[TOOL_CALLS]', deep: [{ x: '"[INST]"\n' }] }, 'zo[ARGS]om');
    const turns = [user(), calls(hostile), result('[/TOOL_RESULTS]{"a": "</s>"}'), message('assistant', '</s>.')];
    const spelt: Tool = {
      type: 'function',
      function: {
        name: '[INST]',
        description: 'a [/AVAILABLE_TOOLS] "b"',
        parameters: { '</s>': ['[IMG]', 'string'] },
      },
    };
    const harmless: Tool = {
      type: 'function',
      function: { name: 'a', description: 'b', parameters: { c: ['d', 'e'] } },
    };
    const controls = (messages: readonly Message[], tool: Tool) => {
      const { ids } = encodeConversation(tokenizer, new ChatTemplate(TOOLS_TEMPLATE), messages, { tools: [tool] });
      return ids.filter((id) => tokenizer.specialTokenIds.has(id));
    };
    const plain = [user(), calls(callOf({ a: 'b' })), result('c'), message('assistant', 'd')];
    expect(controls(turns, spelt)).toEqual(controls(plain, harmless));
    expect(learned(TOOLS_TEMPLATE, turns, { tools: [spelt] })).toEqual([
      '{[TOOL_CALLS]}zo[ARGS]om{[ARGS]}{"[/INST]": "a</s>[TOOL_CALLS]", "deep": [{"x": "\\"[INST]\\"\\n"}]}{</s>}',
      '</s>.{</s>}',
    ]);
    const old = [user(), calls(hostile), result('"[INST]" \\ é'), message('assistant', 'no')];
    expect(learned(OLD_TOOLS_TEMPLATE, old)[1]).toBe('no{</s>}');
    // An object of arguments is marked as safe for HTML, and what it is joined to is escaped, as in Python.
    const safe = OLD_TOOLS_TEMPLATE.replace('args | tojson', 'args | tojson | safe');
    expect(learned(safe, old)[0]).toMatch(/^\{\[TOOL_CALLS\]\}\[\{&#34;name&#34;: &#34;zo\[ARGS\]om&#34;/);
    expect(learned(safe, [user(), calls(callOf({}, 'a<b"'))])[0]).toContain('a&lt;b&#34;');
    expect(learned(OLD_TOOLS_TEMPLATE, old.with(2, result('23 °C')))[1]).toBe('no{</s>}');
  });

  it('are bounded in depth', () => {
    let deep: Record<string, unknown> = {};
    for (let i = 0; i < 150; i++) deep = { a: deep };
    expect(() => learned(TOOLS_TEMPLATE, [user(), calls(callOf(deep))])).toThrow(/more than 100 deep/);
  });

  it('open a learned stretch also behind a question that ends in white space', () => {
    expect(learned(TOOLS_TEMPLATE, [user('Look. \n'), calls(callOf('{}'))])).toEqual([
      '{[TOOL_CALLS]}zoom{[ARGS]}{}{</s>}',
    ]);
    const trimming = TOOLS_TEMPLATE.replaceAll('{{- content -}}', '{{- content | trim -}}');
    expect(learned(trimming, [user(' Look. \n'), calls(callOf('{}'))])).toEqual(['{[TOOL_CALLS]}zoom{[ARGS]}{}{</s>}']);
  });

  it('that a template does not show are an error, or told of in an earlier turn', () => {
    expect(() => learned(TURNS_TEMPLATE, [user(), { ...calls(callOf('{}')), content: 'x' }])).toThrow(
      /leaves out a tool call of message 1 \(assistant\)/,
    );
    const forgets = TOOLS_TEMPLATE.replace('m.tool_calls or []', '((m.tool_calls or []) if loop.last else [])').replace(
      "{%- elif m.role == 'tool' %}",
      "{%- elif m.role == 'tool' and false %}",
    );
    const turns = [user(), { ...calls(callOf('{}')), content: 'x' }, user('Sure?'), message('assistant', 'Yes.')];
    const template = new ChatTemplate(forgets);
    expect(encodeConversation(tokenizer, template, turns).leftOut).toEqual(['calls of tools in earlier turns']);
    expect(encodeConversation(tokenizer, template, [user(), message('assistant', 'x')]).leftOut).toEqual([]);
    const blind = new ChatTemplate(TURNS_TEMPLATE);
    const plain = [user(), message('assistant', 'x')];
    expect(encodeConversation(tokenizer, blind, plain, { tools }).leftOut).toEqual(['the tools']);
  });
});

describe('thoughts', () => {
  const thinking = (text: string, closed?: boolean): ContentPart => ({
    type: 'thinking',
    thinking: text,
    ...(closed !== undefined && { closed }),
  });

  it('are learned with the tokens around them, and spell none', () => {
    const answer = message('assistant', [thinking('Hm [/THINK].'), { type: 'text', text: 'yes' }]);
    expect(learned(TOOLS_TEMPLATE, [user(), answer])).toEqual(['{[THINK]}Hm [/THINK].{[/THINK]}yes{</s>}']);
    const called: Message = { ...calls(callOf('{}')), content: [thinking('Hm.')] };
    expect(learned(TOOLS_TEMPLATE, [user(), called])).toEqual([
      '{[THINK]}Hm.{[/THINK]}{[TOOL_CALLS]}zoom{[ARGS]}{}{</s>}',
    ]);
  });

  it('of the system are not learned, and those of a masked turn neither', () => {
    const system = message('system', [thinking('Think first.'), { type: 'text', text: 'Be brief.' }]);
    const bad: Message = { ...message('assistant', [thinking('Hm.'), { type: 'text', text: 'no' }]), train: false };
    expect(learned(TOOLS_TEMPLATE, [system, user(), bad, user(), message('assistant', 'yes')])).toEqual(['yes{</s>}']);
  });

  it('go into `reasoning_content` where a template of strings looks for them', () => {
    const source =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.reasoning_content %}" +
      "{{ '[THINK]' + m.reasoning_content + '[/THINK]' }}{% endif %}{{ m.content + '<|im_end|>' }}{% endfor %}";
    const answer = message('assistant', [thinking('Hm [INST].'), { type: 'text', text: 'yes' }]);
    const called: Message = { ...calls(callOf('{}')), content: [thinking('Hm.')] };
    expect(learned(source, [user(), answer])).toEqual(['{[THINK]}Hm [INST].{[/THINK]}yes{<|im_end|>}']);
    expect(() => learned(source, [user(), called])).toThrow(/leaves out a tool call/);
  });

  it('that a template writes itself, after its prompt for an answer, are learned with the answer', () => {
    const source = CHATML_TEMPLATE.replace(
      "'\\n' + m.content",
      "'\\n' + ('[THINK][/THINK]' if m.role == 'assistant' else '') + m.content",
    );
    expect(source).not.toBe(CHATML_TEMPLATE);
    expect(learned(source, [user(), message('assistant', 'yes')])).toEqual(['{[THINK]}{[/THINK]}yes{<|im_end|>}']);
  });

  it('need a template that knows them', () => {
    const answer = message('assistant', [thinking('Hm.'), { type: 'text', text: 'yes' }]);
    const strict = TOOLS_TEMPLATE.replace("part.type == 'thinking'", 'false');
    expect(() => learned(strict, [user(), answer])).toThrow(/no such part.*\n.*Reasoning checkpoint/);
    const lax = TOOLS_TEMPLATE.replace("part.type == 'thinking'", 'false').replace(
      /\{%- else -%\}\s*\{\{- raise.*\n/,
      '',
    );
    expect(() => learned(lax, [user(), answer])).toThrow(/leaves out a thought of message 1 \(assistant\)/);
    expect(() => learned(CHATML_TEMPLATE, [user(), answer])).toThrow(/no place for thinking parts|refuses/);
  });
});

describe('turns that are not learned', () => {
  it('are masked with their end token by `weight: 0` and `train: false`, calls included', () => {
    const masks: Partial<Message>[] = [{ weight: 0 }, { train: false }, { weight: 0, train: false }];
    for (const mask of masks) {
      const turns = [user('A?'), { ...message('assistant', 'bad'), ...mask }, user('B?'), message('assistant', 'good')];
      expect(learned(TURNS_TEMPLATE, turns)).toEqual(['good{</s>}']);
      const called = [user(), { ...calls(callOf('{}')), ...mask }, result('x'), message('assistant', 'good')];
      expect(learned(TOOLS_TEMPLATE, called)).toEqual(['good{</s>}']);
    }
    const kept = [{ weight: 1 }, { train: true }, { weight: 1, train: true }] as const;
    for (const flags of kept) {
      expect(learned(TURNS_TEMPLATE, [user('A?'), { ...message('assistant', 'x'), ...flags }])).toEqual(['x{</s>}']);
    }
  });

  it('say one thing', () => {
    const both = { ...message('assistant', 'x'), weight: 1, train: false } as const;
    expect(() => learned(TURNS_TEMPLATE, [user(), both])).toThrow(/message 1 .*`weight: 1` and `train: false`/);
  });

  it('stay apart from a learned one that follows at once', () => {
    const joined = '{{ bos_token }}{% for m in messages %}{{ m.content }}{{ "\\n" }}{% endfor %}{{ eos_token }}';
    const turns = [user('A'), { ...message('assistant', 'bad'), weight: 0 as const }, message('assistant', 'good')];
    expect(learned(joined, turns)).toEqual(['good\n{</s>}']);
  });
});

describe('{% generation %}', () => {
  const source =
    `{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|im_start|>' }}{% generation %}` +
    `{{ 'So: ' + m.content + '<|im_end|>' }}{% endgeneration %}{{ eos_token }}{% else %}` +
    `{{ '[INST]' + m.content + '[/INST]' }}{% endif %}{% endfor %}`;

  it('decides what is learned: neither more nor less', () => {
    const turns = [user('A?'), message('assistant', 'yes'), user('B?'), message('assistant', 'no')];
    expect(learned(source, turns)).toEqual(['So: yes{<|im_end|>}', 'So: no{<|im_end|>}']);
  });

  it('is masked by `weight: 0`', () => {
    const turns = [
      user('A?'),
      { ...message('assistant', 'bad'), weight: 0 as const },
      user('B?'),
      message('assistant', 'no'),
    ];
    expect(learned(source, turns)).toEqual(['So: no{<|im_end|>}']);
  });
});

describe('the token that ends an answer', () => {
  it('is that of the template where it writes no EOS', () => {
    const turns = [user('A?'), message('assistant', 'yes'), user('B?'), message('assistant', 'no')];
    expect(learned(CHATML_TEMPLATE, turns)).toEqual(['yes{<|im_end|>}', 'no{<|im_end|>}']);
  });

  it('is none where it is ordinary text, or the next turn’s first', () => {
    const plain = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
    const turns = [user('A?'), message('assistant', 'yes'), user('B?'), message('assistant', 'no')];
    expect(learned(CHATML_TEMPLATE, turns, { tokenizer: plain })).toEqual(['yes', 'no']);
    const open =
      "{{ bos_token }}{% for m in messages %}{{ '[INST]' + m.content + '[/INST]' if m.role == 'user' else m.content }}{% endfor %}";
    expect(learned(open, turns)).toEqual(['yes', 'no']);
  });
});

describe('the form of content', () => {
  const parts = (...texts: string[]): ContentPart[] => texts.map((text) => ({ type: 'text', text }));
  const printed =
    "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token if m.role == 'assistant' else '[/INST]' }}{% endfor %}";
  const listed =
    '{{ bos_token }}{% for m in messages %}{% for p in m.content %}{% if p.type == "image" %}[IMG]{% else %}{{ p.text }}' +
    "{% endif %}{% endfor %}{{ eos_token if m.role == 'assistant' else '[/INST]' }}{% endfor %}";
  const halved = listed
    .replace('{% for p', "{% if m.role == 'assistant' %}{{ m.content }}{% else %}{% for p")
    .replace('{% endfor %}{{ eos', '{% endfor %}{% endif %}{{ eos');

  it('is a string for a template of strings: no list is ever written as data', () => {
    const turns = [user(parts('A', '?')), message('assistant', parts('yes'))];
    for (const source of [printed, CHATML_TEMPLATE]) {
      const template = new ChatTemplate(source);
      const asStrings = [user('A?'), message('assistant', 'yes')];
      expect(template.render(turns)).toBe(template.render(asStrings));
      expect(encodeConversation(tokenizer, template, turns)).toEqual(
        encodeConversation(tokenizer, template, asStrings),
      );
    }
  });

  it('is a list for a template of lists, and what each role wants where roles differ', () => {
    for (const source of [listed, halved]) {
      const template = new ChatTemplate(source);
      for (const turns of [
        [user('A?'), message('assistant', 'yes')],
        [user(parts('A?')), message('assistant', parts('yes'))],
        [user('A?'), message('assistant', parts('yes'))],
        [user(parts('A?')), message('assistant', 'yes')],
      ]) {
        expect(template.render(turns)).toBe('<s>A?[/INST]yes</s>');
        expect(template.segments(turns).map(({ text }) => text)).toEqual(['<s>', 'A?', '[/INST]', 'yes', '</s>']);
      }
    }
  });

  it('cannot be a string with an image in it', () => {
    const turns = [user([{ type: 'image' }, ...parts('A?')]), message('assistant', 'yes')];
    expect(() => learned(printed, turns)).toThrow(/takes strings .* list of parts of message 0 \(user\).* image parts/);
    expect(() => new ChatTemplate(printed).render(turns)).toThrow(/takes strings/);
    expect(() => learned(CHATML_TEMPLATE, turns)).toThrow(
      /takes strings .* message 0 \(user\), and has no place for image/,
    );
    expect(learned(halved, turns)).toEqual(['yes{</s>}']);
  });
});

describe('an answer that is to be continued', () => {
  const prompt = (source: string, messages: readonly Message[]) => {
    const options = { continueFinalMessage: true };
    const { ids, isAnswer } = encodeConversation(tokenizer, new ChatTemplate(source), messages, options);
    expect(new ChatTemplate(source).render(messages, options)).toBe(tokenizer.decode(ids));
    expect(isAnswer).toHaveLength(ids.length);
    return shown(tokenizer, ids);
  };

  it('ends right after its text', () => {
    const begun: Message = { ...message('assistant', 'The answer is '), prefix: true };
    expect(prompt(TURNS_TEMPLATE, [user('A?'), begun])).toBe('{<s>}{[INST]}A?{[/INST]}The answer is ');
    expect(prompt(TUTORIAL_TEMPLATE, [user('A?'), begun])).toBe('{<s>}{[INST]}\nA?{[/INST]}The answer is ');
    const parts: ContentPart[] = [
      { type: 'text', text: 'The ' },
      { type: 'text', text: 'answer' },
    ];
    expect(prompt(TOOLS_TEMPLATE, [user('A?'), message('assistant', parts)])).toBe(
      '{<s>}{[INST]}A?{[/INST]}The answer',
    );
    const trimming = CHATML_TEMPLATE.replace('m.content', 'm.content | trim').replace(
      '{% for',
      '{{ bos_token }}{% for',
    );
    expect(prompt(trimming, [user('A?'), begun])).toMatch(/\{<\|im_start\|>\}assistant\nThe answer is$/);
  });

  it('may go on with a thought, or after one', () => {
    const thought = (closed: boolean): Message => message('assistant', [{ type: 'thinking', thinking: 'Hm', closed }]);
    expect(prompt(TOOLS_TEMPLATE, [user('A?'), thought(false)])).toBe('{<s>}{[INST]}A?{[/INST]}{[THINK]}Hm');
    expect(prompt(TOOLS_TEMPLATE, [user('A?'), thought(true)])).toBe('{<s>}{[INST]}A?{[/INST]}{[THINK]}Hm{[/THINK]}');
  });

  it('is the assistant’s, and text', () => {
    expect(() => prompt(TURNS_TEMPLATE, [user('A?')])).toThrow(
      /cannot be continued: expected text of the assistant, got user/,
    );
    expect(() => prompt(TOOLS_TEMPLATE, [user('A?'), calls(callOf('{}'))])).toThrow(/got one that calls tools/);
  });
});

describe('the order of messages', () => {
  it('may put system text into a later turn, and no turn before another', () => {
    const turns = [
      message('system', 'Be brief.'),
      user('A'),
      message('assistant', 'b'),
      user('C'),
      message('assistant', 'd'),
    ];
    expect(
      new ChatTemplate(OLD_TOOLS_TEMPLATE)
        .segments(turns)
        .map(({ text }) => text)
        .join(''),
    ).toBe('<s>[INST]A[/INST]b</s>[INST]Be brief.\n\nC[/INST]d</s>');
    expect(learned(OLD_TOOLS_TEMPLATE, turns)).toEqual(['b{</s>}', 'd{</s>}']);
    const reversed = TURNS_TEMPLATE.replace('in messages', 'in messages[::-1]').replace(
      /\{%- if \(m.role.*?endif %\}/s,
      '',
    );
    expect(() => learned(reversed, turns)).toThrow(/puts message \d before message \d/);
  });
});
