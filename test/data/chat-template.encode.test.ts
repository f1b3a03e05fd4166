import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { encodeConversation } from '../../src/data/encode-conversation.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { Message } from '../../src/data/types.js';
import { message, TURNS_TEMPLATE } from './conversations.js';
import { CONTROL_TOKENS, TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const tutorial = new ChatTemplate(TUTORIAL_TEMPLATE);
const turns = new ChatTemplate(TURNS_TEMPLATE);
const encode = (template: ChatTemplate, messages: Message[], addGenerationPrompt = false) =>
  encodeConversation(tokenizer, template, messages, { addGenerationPrompt });
const learned = ({ ids, isAnswer }: ReturnType<typeof encode>): string =>
  tokenizer.decode(ids.filter((_, i) => isAnswer[i]));

describe('encodeConversation', () => {
  it('gives the ids of the rendered text: BPE merges over the border of template and message', () => {
    const user = message('user', [{ type: 'text', text: '\nIs it broken?' }, { type: 'image' }]);
    const encoded = encode(tutorial, [user, message('assistant', 'yes')]);
    // Rust tokenizers 0.23 on the rendered string; 312 is the two newlines, one of them the template's.
    expect(encoded.ids).toEqual([1, 3, 312, 291, 293, 299, 83, 10, 4, 301, 2]);
    expect(encoded.isAnswer.map(Number)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    expect(encoded.imagePositions).toEqual([7]);
  });

  it('marks the answers of every turn, each with its EOS', () => {
    const encoded = encode(turns, [
      message('system', 'Be brief.'),
      message('user', [{ type: 'text', text: 'Is it broken?' }, { type: 'image' }]),
      message('assistant', 'yes.\n\n'),
      message('user', ' it?\n'),
      message('assistant', [{ type: 'text', text: 'no' }]),
    ]);
    // Rust tokenizers 0.23 on the rendered string.
    expect(encoded.ids).toEqual([
      1, 17, 86, 121, 295, 125, 121, 122, 66, 18, 3, 291, 293, 299, 83, 10, 4, 301, 66, 312, 2, 3, 293, 83, 30, 4, 302,
      2,
    ]);
    expect(learned(encoded)).toBe('yes.\n\n</s>no</s>');
    expect(encoded.isAnswer.map((is, i) => (is ? i : -1)).filter((i) => i >= 0)).toEqual([17, 18, 19, 20, 26, 27]);
  });

  it('learns what the template puts between the parts of an answer and before its EOS, nothing after', () => {
    const spaced = new ChatTemplate(
      `{{ bos_token }}{% for m in messages %}{{ '[INST]' if m.role == 'user' }}{% for p in m.content %}` +
        `{{ p.text }}{{ '\n' }}{% endfor %}{{ '[/INST]' if m.role == 'user' else eos_token + '\n\n' }}{% endfor %}`,
    );
    const parts = (...texts: string[]) => texts.map((text) => ({ type: 'text', text }) as const);
    const ask = message('user', parts('Is it?'));
    expect(learned(encode(spaced, [ask, message('assistant', parts('yes', 'no')), ask]))).toBe('yes\nno\n</s>');
  });

  it('learns no EOS that belongs to something else', () => {
    const open = new ChatTemplate(
      `{{ bos_token }}{% for m in messages %}{{ '[INST]' if m.role == 'user' }}{{ m.content }}` +
        `{{ '[/INST]' if m.role == 'user' else '[PREFIX]' + eos_token }}{% endfor %}`,
    );
    expect(learned(encode(open, [message('user', 'Is it?'), message('assistant', 'yes')]))).toBe('yes');
  });

  it('counts a token that is shared by prompt and answer as answer', () => {
    const joined = new ChatTemplate(`{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{{ eos_token }}`);
    const encoded = encode(joined, [message('user', 'frac'), message('assistant', 'ture')]);
    expect(encoded.ids).toEqual([1, 282, 2]);
    expect(encoded.isAnswer).toEqual([false, true, true]);
  });

  it('has exactly one BOS, in front', () => {
    const of = (source: string) => encode(new ChatTemplate(source), [message('user', 'yes')]);
    expect(of('[INST]{{ messages[0].content }}').ids).toEqual([1, 3, 301]);
    expect(of('{{ bos_token }}{{ messages[0].content }}').ids).toEqual([1, 301]);
    expect(() => of('{{ bos_token }}<s>{{ messages[0].content }}')).toThrow(/emits <s> 2 times/);
    expect(() => of('\n\n{{ bos_token }}{{ messages[0].content }}')).toThrow(/emits <s> at token 1/);
  });

  it('refuses a template with other names for BOS and EOS', () => {
    const other = new ChatTemplate(TUTORIAL_TEMPLATE, { eosToken: '<end>' });
    expect(() => encode(other, [message('user', 'Is'), message('assistant', 'no')])).toThrow(
      /eosToken is "<end>" in the chat template, "<\/s>" in the tokenizer/,
    );
  });

  it('has the same control tokens, answers and images whatever the texts say', () => {
    const hostile = fc
      .array(
        fc.oneof(fc.constantFrom(...CONTROL_TOKENS, '[', 'INST]', '</', ' ', '\n'), fc.string({ unit: 'binary' })),
        {
          maxLength: 8,
        },
      )
      .map((parts) => parts.join(''));
    const controls = (encoded: ReturnType<typeof encode>) =>
      encoded.ids.filter((id) => tokenizer.specialTokenIds.has(id));
    fc.assert(
      fc.property(hostile, hostile, hostile, (system, asked, answered) => {
        const conversation = (a: string, b: string, c: string) => [
          message('system', a),
          message('user', [{ type: 'image' }, { type: 'text', text: b }]),
          message('assistant', `.${c}`),
        ];
        const encoded = encode(turns, conversation(system, asked, answered));
        expect(controls(encoded)).toEqual(controls(encode(turns, conversation('no', 'no', 'no'))));
        expect(learned(encoded)).toBe(`.${answered}</s>`);
        expect(encoded.imagePositions).toHaveLength(1);
        // Training and generation see the same prompt.
        const prompt = encode(turns, conversation(system, asked, '').slice(0, 2), true);
        expect(encoded.ids.slice(0, prompt.ids.length)).toEqual(prompt.ids);
        expect(encoded.isAnswer.indexOf(true)).toBe(prompt.ids.length);
      }),
      { numRuns: 40 },
    );
  });
});
