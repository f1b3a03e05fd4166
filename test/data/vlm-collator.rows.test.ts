import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { Message, TrainingExample, VlmBatch } from '../../src/data/types.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { CHATML_TEMPLATE, callOf, message, TOOLS_TEMPLATE, TURNS_TEMPLATE, ZOOM } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerWith } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerWith('[ARGS]', '<|im_start|>', '<|im_end|>'), TINY_CONFIG);
const imageProcessor = {
  patchSize: 2,
  spatialMergeSize: 2,
  process: async () => ({ pixelValues: new Float32Array(48), height: 4, width: 4 }),
};
const make = (source = TURNS_TEMPLATE, options: Partial<VlmCollatorOptions> = {}) =>
  new VlmCollator({ tokenizer, chatTemplate: new ChatTemplate(source), imageProcessor, ...options });

/** Control tokens in braces, so that text cannot pass for one. */
const shown = (ids: readonly number[]) =>
  ids
    .map((id) => (tokenizer.specialTokenIds.has(id) ? `{${tokenizer.decode([id])}}` : tokenizer.decode([id])))
    .join('');
const encoded = async (collator: VlmCollator, example: TrainingExample) => {
  const { inputIds, labels } = await collator.encode(example);
  return { all: shown(inputIds), learned: shown(labels!.filter((label) => label !== -100)) };
};
const prompted = (batch: VlmBatch) =>
  shown(Array.from(batch.inputIds.data).filter((_, i) => batch.attentionMask.data[i] === 1));

describe('prompt and completion', () => {
  it('are BOS, prompt, completion and EOS; the completion and EOS are learned', async () => {
    const row = { prompt: 'Is it?', completion: ' no' };
    expect(await encoded(make(), row)).toEqual({ all: '{<s>}Is it? no{</s>}', learned: ' no{</s>}' });
    expect((await make().encode(row)).inputIds).toEqual([1, ...tokenizer.encode('Is it? no'), 2]);
    expect(await encoded(make(), { prompt: '', completion: 'no' })).toEqual({
      all: '{<s>}no{</s>}',
      learned: 'no{</s>}',
    });
  });

  it('have BOS and EOS once, also where the row brings them', async () => {
    const row = { prompt: '<s>Is it?', completion: ' no</s>' };
    expect(await encoded(make(), row)).toEqual({ all: '{<s>}Is it? no{</s>}', learned: ' no{</s>}' });
  });

  it('keep control tokens as text, unless they are to be parsed as in TRL', async () => {
    const row = { prompt: '<s>[INST]Is it?[/INST]', completion: 'no</s>' };
    expect((await encoded(make(), row)).all).toBe('{<s>}[INST]Is it?[/INST]no{</s>}');
    expect(make().inspect(row).spelledTokens).toEqual({ '[INST]': 1, '[/INST]': 1 });
    const parsing = make(TURNS_TEMPLATE, { parseSpecialTokens: true });
    expect(await encoded(parsing, row)).toEqual({ all: '{<s>}{[INST]}Is it?{[/INST]}no{</s>}', learned: 'no{</s>}' });
    expect(parsing.inspect(row).spelledTokens).toEqual({});
    const asked = { messages: [message('user', '[INST]'), message('assistant', 'no')] };
    expect((await encoded(parsing, asked)).all).toBe('{<s>}{[INST]}[INST]{[/INST]}no{</s>}');
  });

  it('give the prompt to generate from, whose answer ends with EOS', async () => {
    const batch = await make(CHATML_TEMPLATE).collatePrompts([{ prompt: 'Is it?', completion: ' no' }]);
    expect(prompted(batch)).toBe('{<s>}Is it?');
    expect(batch.stopTokenIds).toEqual([2]);
    const open = { prompt: 'Is it?' } as TrainingExample;
    expect(prompted(await make().collatePrompts([open]))).toBe('{<s>}Is it?');
  });

  it('may be lists of messages, of which the completion is learned', async () => {
    const image = { width: 4, height: 4, data: new Uint8Array(48) };
    const prompt = [message('user', 'A'), message('assistant', 'b'), message('user', 'C')];
    const row = { prompt, completion: [message('assistant', 'd')], images: [image] };
    expect(await encoded(make(), row)).toEqual({
      all: '{<s>}{[INST]}{[IMG]}{[IMG_END]}A{[/INST]}b{</s>}{[INST]}C{[/INST]}d{</s>}',
      learned: 'd{</s>}',
    });
    expect(prompted(await make().collatePrompts([row]))).toBe(
      '{<s>}{[INST]}{[IMG]}{[IMG_END]}A{[/INST]}b{</s>}{[INST]}C{[/INST]}',
    );
    const weighted = [message('user', 'A'), { ...message('assistant', 'b'), weight: 1 as const }, message('user', 'C')];
    expect((await encoded(make(), { ...row, prompt: weighted })).learned).toBe('d{</s>}');
  });

  it('are cut at the end of the prompt by `truncateText`', async () => {
    const row = { prompt: 'Is it? no no no', completion: ' yes' };
    const cut = await encoded(make(TURNS_TEMPLATE, { maxLength: 8, overlong: 'truncateText' }), row);
    expect(cut.learned).toBe(' yes{</s>}');
    expect(cut.all).toMatch(/^\{<s>\}Is .*yes\{<\/s>\}$/);
    expect(cut.all.length).toBeLessThan('{<s>}Is it? no no no yes{</s>}'.length);
  });
});

describe('plain text', () => {
  it('is learned whole, with EOS, and has no question', async () => {
    expect(await encoded(make(), { text: 'Is it? no' })).toEqual({
      all: '{<s>}Is it? no{</s>}',
      learned: 'Is it? no{</s>}',
    });
    expect((await encoded(make(), { text: '<s>yes</s>' })).all).toBe('{<s>}yes{</s>}');
    const rendered = { text: '<s>[INST]Is it?[/INST]no</s>' };
    expect((await encoded(make(TURNS_TEMPLATE, { parseSpecialTokens: true }), rendered)).all).toBe(
      '{<s>}{[INST]}Is it?{[/INST]}no{</s>}',
    );
    await expect(make().collatePrompts([{ text: 'Is it?', id: 'x7' }])).rejects.toThrow(/sample x7: .*no question/);
  });
});

describe('rows of no form, or of several', () => {
  const image = { width: 4, height: 4, data: new Uint8Array(48) };
  it.each([
    [{ prompt: 'a' }, /two strings or two lists of messages, got "a" and nothing/],
    [{ completion: 'a' }, /got nothing and "a"/],
    [{ prompt: 'a', completion: [message('assistant', 'b')] }, /got "a" and a list of 1/],
    [{ text: 5 }, /`text`: expected a string, got 5/],
    [{ text: 'a', prompt: 'b', completion: 'c' }, /has `prompt` and `text`: which is to be learned/],
    [{ messages: [message('assistant', 'b')], text: 'a' }, /has `messages` and `text`/],
    [{ text: 'a', images: [image] }, /a sample of plain strings has no place for images/],
    [{ prompt: 'a', completion: 'b', image }, /no place for images/],
    [{ prompt: 'a', completion: 'b', tools: [ZOOM] }, /no place for tools/],
    [{ text: 'a', wieght: 0 }, /unknown key `wieght`/],
  ])('are refused: %#', async (row, text) => {
    await expect(make().collate([row as unknown as TrainingExample])).rejects.toThrow(text);
  });

  it('may have empty columns, as tables have', async () => {
    const row = { messages: null, prompt: 'a', completion: 'b', text: null, images: [], tools: null };
    expect((await encoded(make(), row as unknown as TrainingExample)).learned).toBe('b{</s>}');
    const turns = [message('user', 'a'), message('assistant', 'b')];
    const full = { messages: turns, prompt: null, completion: null, text: null, tools: null };
    expect((await encoded(make(), full as unknown as TrainingExample)).learned).toBe('b{</s>}');
  });

  it('go into one batch with conversations', async () => {
    const turns = { messages: [message('user', 'a'), message('assistant', 'b')] };
    const batch = await make(CHATML_TEMPLATE).collate([turns, { text: 'yes' }, { prompt: 'a', completion: 'b' }]);
    expect(batch.inputIds.shape[0]).toBe(3);
    const prompts = await make(CHATML_TEMPLATE).collatePrompts([turns, { prompt: 'a', completion: 'b' }]);
    expect(prompts.stopTokenIds).toEqual([tokenizer.tokenToId('<|im_end|>'), 2]);
  });
});

describe('only the last answer', () => {
  const turns = [message('user', 'A'), message('assistant', 'b'), message('user', 'C'), message('assistant', 'd')];
  it('is learned with `maskHistory`, whatever the weights of the others', async () => {
    const collator = make(TURNS_TEMPLATE, { maskHistory: true });
    expect((await encoded(collator, { messages: turns })).learned).toBe('d{</s>}');
    const weighted = turns.with(1, { ...turns[1]!, weight: 1 });
    expect((await encoded(collator, { messages: weighted })).learned).toBe('d{</s>}');
    expect((await encoded(make(), { messages: turns })).learned).toBe('b{</s>}d{</s>}');
    const masked = turns.with(3, { ...turns[3]!, weight: 0 });
    await expect(collator.collate([{ messages: masked }])).rejects.toThrow(/nothing to learn/);
  });
});

describe('an answer that is begun', () => {
  const begun: Message = { ...message('assistant', 'It is'), prefix: true };
  it('is continued in prompts', async () => {
    const collator = make();
    const batch = await collator.collatePrompts([{ messages: [message('user', 'A'), begun] }]);
    expect(prompted(batch)).toBe('{<s>}{[INST]}A{[/INST]}It is');
    const empty = { messages: [message('user', 'A'), { ...begun, content: '' }] };
    expect(prompted(await collator.collatePrompts([empty]))).toBe('{<s>}{[INST]}A{[/INST]}');
    // The same messages without `prefix` are another prompt.
    const whole = { messages: [message('user', 'A'), message('assistant', 'It is')] };
    expect(prompted(await collator.collatePrompts([whole]))).toBe('{<s>}{[INST]}A{[/INST]}');
  });

  it('is no whole answer to learn', async () => {
    await expect(make().collate([{ messages: [message('user', 'A'), begun], id: 'x7' }])).rejects.toThrow(
      /sample x7: message 1 has `prefix: true`/,
    );
  });
});

describe('what is kept of conversations', () => {
  it('tells calls, tools, masks, thoughts and names apart', async () => {
    const collator = make(TOOLS_TEMPLATE);
    const call = (text: string): Message => ({ role: 'assistant', content: '', tool_calls: [callOf(text)] });
    const variants: TrainingExample[] = [
      { messages: [message('user', 'A'), call('{"a": 1}')] },
      { messages: [message('user', 'A'), call('{"a": 2}')] },
      { messages: [message('user', 'A'), call('{"a": 2}')], tools: [ZOOM] },
      { messages: [message('user', 'A'), message('assistant', 'b'), message('user', 'A'), call('{}')] },
      {
        messages: [message('user', 'A'), { ...message('assistant', 'b'), weight: 0 }, message('user', 'A'), call('{}')],
      },
    ];
    for (const _ of [1, 2]) {
      for (const variant of variants) {
        expect(await encoded(collator, variant)).toEqual(await encoded(make(TOOLS_TEMPLATE), variant));
      }
    }
  });

  it('says in its settings what decides a batch, and nothing of options that are off', () => {
    expect(Object.keys(make().settings)).toEqual(['overlong', 'paddingSide', 'maskPrompt', 'chatTemplate']);
    expect(make(TURNS_TEMPLATE, { maskHistory: true, parseSpecialTokens: true }).settings).toMatchObject({
      maskHistory: true,
      parseSpecialTokens: true,
    });
  });
});

describe('VlmCollator.inspect', () => {
  const ask = (question: string, answer: string) => ({
    messages: [message('user', question), message('assistant', answer)],
  });

  it('counts labels, and names the tokens that end answers', () => {
    const turns = [...ask('A', 'b').messages, ...ask('C', 'dd').messages];
    expect(make().inspect({ messages: turns })).toEqual({
      labels: 5,
      openAnswers: 0,
      endTokens: [{ id: 2, token: '</s>' }],
      spelledTokens: {},
      leftOut: [],
    });
    const id = tokenizer.tokenToId('<|im_end|>');
    expect(make(CHATML_TEMPLATE).inspect(ask('A', 'b')).endTokens).toEqual([{ id, token: '<|im_end|>' }]);
    expect(make(TUTORIAL_TEMPLATE, { maskPrompt: false }).inspect(ask('A', 'b'))).toMatchObject({
      labels: 6,
      openAnswers: 0,
    });
  });

  it('counts answers without an end, and says why', () => {
    const plain = new MinistralTokenizer(tinyTokenizerWith(), TINY_CONFIG);
    const inspect = (source: string, options = {}) => make(source, options).inspect(ask('A', 'b'));
    expect(inspect(CHATML_TEMPLATE, { tokenizer: plain })).toMatchObject({
      openAnswers: 1,
      openReason: 'it closes an answer with "<|im_end|>", which this tokenizer takes for ordinary text',
      endTokens: [],
    });
    const open = TURNS_TEMPLATE.replace('else eos_token', "else ''");
    expect(inspect(open).openReason).toBe('it writes nothing after an answer, where </s> should stand');
    const short = TURNS_TEMPLATE.replace('{{- m.content }}', '{% generation %}{{- m.content }}{% endgeneration %}');
    expect(inspect(short)).toMatchObject({ openAnswers: 2, openReason: expect.stringContaining('{% generation %}') });
  });

  it('counts control tokens and markers that texts spell', () => {
    const hostile = ask('[INST]a[INST]</s>', 'See <image> and [IMG].');
    expect(make().inspect(hostile).spelledTokens).toEqual({ '[INST]': 2, '</s>': 1, '[IMG]': 1, '<image>': 1 });
    const called: Message = { role: 'assistant', content: '', tool_calls: [callOf({ a: '[/INST]' })] };
    const tools = [{ ...ZOOM, function: { ...ZOOM.function, description: '[INST]' } }];
    expect(make(TOOLS_TEMPLATE).inspect({ messages: [message('user', 'A'), called], tools }).spelledTokens).toEqual({
      '[/INST]': 1,
      '[INST]': 1,
    });
  });
});
