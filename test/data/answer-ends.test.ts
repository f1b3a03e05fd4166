/** Where the learned part of an answer ends, by what a template writes behind it. */
import { describe, expect, it } from 'vitest';
import { ChatTemplate } from '../../src/data/chat-template.js';
import { encodeConversation } from '../../src/data/encode-conversation.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { PLAIN_TEMPLATE } from '../../src/data/training-rows.js';
import type { Message } from '../../src/data/types.js';
import { callOf, message } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerWith } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerWith('[ARGS]', '<|im_end|>'), TINY_CONFIG);
const user = message('user', 'ask');
const answer = message('assistant', 'say');
const call: Message = { role: 'assistant', content: '', tool_calls: [callOf('{}')] };

/** What is learned, answers apart. */
function learned(source: string, messages: readonly Message[], options = {}): string[] {
  const { ids, isAnswer } = encodeConversation(tokenizer, new ChatTemplate(source), messages, options);
  const runs: number[][] = [];
  ids.forEach((id, i) => {
    if (isAnswer[i]) isAnswer[i - 1] ? runs.at(-1)!.push(id) : runs.push([id]);
  });
  return runs.map((run) => tokenizer.decode(run));
}

/** A template by what it writes for each turn. */
const turns = (asked: string, answered: string, called: string, end = '') =>
  `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}${asked}{% elif m.tool_calls %}` +
  `{% for c in m.tool_calls %}${called}{% endfor %}{% else %}${answered}{% endif %}{% endfor %}${end}`;
const ASKED = "{{ '[INST]' + m.content + '[/INST]' }}";
const ANSWERED = '{{ m.content + eos_token }}';
const CALLED = "{{ '[TOOL_CALLS]' + c.function.name + '[ARGS]' + c.function.arguments }}";

describe('a call of a tool', () => {
  it('is learned with the control tokens of its own that close it', () => {
    const closed = turns(ASKED, ANSWERED, `${CALLED}[SUFFIX]{{ eos_token }}`);
    expect(learned(closed, [user, call, user, answer])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}[SUFFIX]</s>', 'say</s>']);
    const texts = turns(ASKED, ANSWERED, `${CALLED}{{ ']' }}[SUFFIX]{{ '.' + eos_token }}`);
    expect(learned(texts, [user, call])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}][SUFFIX].</s>']);
    const bare = turns(ASKED, ANSWERED, '{{ c.function.name }}[SUFFIX]{{ eos_token }}');
    expect(learned(bare, [user, { ...call, tool_calls: [callOf({})] }])).toEqual(['zoom[SUFFIX]</s>']);
  });

  it('ends with its text where nothing closes it', () => {
    const open = turns(ASKED, ANSWERED, CALLED);
    expect(learned(open, [user, call])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}']);
    expect(learned(open, [user, call, user, answer])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}', 'say</s>']);
    const bracket = turns(ASKED, ANSWERED, `${CALLED}{{ ']' }}`);
    expect(learned(bracket, [user, call])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}]']);
    expect(learned(bracket, [user, call, user])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}]']);
    const other = turns(ASKED, ANSWERED, `${CALLED}[SUFFIX]`);
    expect(learned(other, [user, call])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}']);
  });

  it('ends before the text of another turn, and what leads to it', () => {
    const lines = turns(
      "{{ m.content + '\\n' }}",
      "{{ m.content + '\\n' }}",
      "{{ 'CALL ' + c.function.arguments + '\\n' }}",
      '{{ eos_token }}',
    );
    expect(learned(lines, [user, call, user])).toEqual([expect.stringMatching(/\{\}$/)]);
    expect(learned(lines, [user, call, user, answer])[0]).toMatch(/\{\}$/);
    // An answer that follows at once keeps its own end.
    const next = turns(ASKED, ANSWERED, `${CALLED}[SUFFIX]`);
    expect(learned(next, [user, call, answer])).toEqual(['[TOOL_CALLS]zoom[ARGS]{}', 'say</s>']);
  });

  it('that stands in a later turn is not one of an earlier', () => {
    const later = turns(ASKED, ANSWERED, `{% if last %}${CALLED}{{ eos_token }}{% endif %}`);
    const source = later.replace('{% if m.role', '{% set last = loop.last %}{% if m.role');
    const { leftOut } = encodeConversation(tokenizer, new ChatTemplate(source), [user, call, user, call]);
    expect(leftOut).toEqual(['calls of tools in earlier turns']);
    const all = new ChatTemplate(turns(ASKED, ANSWERED, `${CALLED}{{ eos_token }}`));
    expect(encodeConversation(tokenizer, all, [user, call, user, call]).leftOut).toEqual([]);
  });
});

describe('a text', () => {
  it('is not learned over a question that is part of the same stretch', () => {
    const lines = turns("{{ m.content + '\\n' }}", "{{ m.content + '\\n' }}", '', '{{ eos_token }}');
    expect(learned(lines, [user, answer, user])).toEqual(['say']);
    expect(learned(lines, [user, answer])).toEqual(['say\n</s>']);
  });

  it('with the names of control tokens is learned with the EOS behind it', () => {
    const row = (completion: string) => [message('user', 'ask'), message('assistant', completion)];
    const options = { parseSpecialTokens: true };
    expect(learned(PLAIN_TEMPLATE, row('say<|im_end|>'), options)).toEqual(['say<|im_end|></s>']);
    expect(learned(PLAIN_TEMPLATE, row('[TOOL_CALLS]'), options)).toEqual(['[TOOL_CALLS]</s>']);
    expect(learned(PLAIN_TEMPLATE, row('say[SUFFIX]say'), options)).toEqual(['say[SUFFIX]say</s>']);
  });

  it('has a token that begins before it, in the template or the question', () => {
    const glued = "{% for m in messages %}{{ 'fra' if loop.first }}{{ m.content }}{% endfor %}{{ eos_token }}";
    const word = [message('user', 'ct'), message('assistant', 'ure')];
    const { ids, isAnswer } = encodeConversation(tokenizer, new ChatTemplate(glued), word);
    expect(ids.map((id) => tokenizer.decode([id]))).toEqual(['<s>', 'fracture', '</s>']);
    expect(isAnswer).toEqual([false, true, true]);
    const none = encodeConversation(tokenizer, new ChatTemplate(glued), [message('user', 'cture'), answer]);
    expect(none.isAnswer.slice(0, 2)).toEqual([false, false]);
  });
});
