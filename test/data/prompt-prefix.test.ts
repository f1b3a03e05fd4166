/** A prompt is the beginning of what training shows, up to the answer: what is learned is what is to be generated. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { encodeConversation } from '../../src/data/encode-conversation.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ContentPart, Message } from '../../src/data/types.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { ConfigError, DataError, TextError } from '../../src/errors.js';
import { checkLabels } from '../../src/train/label-check.js';
import { CHATML_TEMPLATE, message, TOOLS_TEMPLATE, TURNS_TEMPLATE } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerWith } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(
  tinyTokenizerWith('[ARGS]', '[THINK]', '[/THINK]', '<|im_start|>', '<|im_end|>'),
  TINY_CONFIG,
);
const make = (source: string, options: Partial<VlmCollatorOptions> = {}) =>
  new VlmCollator({
    tokenizer,
    chatTemplate: new ChatTemplate(source),
    imageProcessor: {
      patchSize: 2,
      spatialMergeSize: 2,
      process: async () => ({ pixelValues: new Float32Array(48), height: 4, width: 4 }),
    },
    ...options,
  });
/** In the style of Llama 2 and of the older templates of Mistral: a space before each answer. */
const SPACED_TEMPLATE =
  `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content.strip() + ' [/INST]' }}` +
  `{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}`;
/** An empty thought before the last answer, as templates of hybrid models write it. */
const THOUGHT_TEMPLATE =
  `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}` +
  `{% else %}{{ '[PREFIX]' }}{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m.content + eos_token }}{% endif %}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '[PREFIX]' }}{% endif %}`;
const OPENED_TEMPLATE =
  `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}` +
  `{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}`;
const GENERATION_TEMPLATE =
  `{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}` +
  `{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}` +
  `{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

const templates = {
  TURNS_TEMPLATE,
  TOOLS_TEMPLATE,
  CHATML_TEMPLATE,
  SPACED_TEMPLATE,
  THOUGHT_TEMPLATE,
  GENERATION_TEMPLATE,
};

const runsOf = (ids: readonly number[], isAnswer: readonly boolean[]) => {
  const runs: number[][] = [];
  ids.forEach((id, i) => {
    if (!isAnswer[i]) return;
    if (!isAnswer[i - 1]) runs.push([]);
    runs.at(-1)!.push(id);
  });
  return runs.map((run) => tokenizer.decode(run));
};

describe('a prompt and its answer', () => {
  // No line end at its beginning: BPE may merge that with one of the template, here as in transformers.
  const word = fc
    .oneof(
      fc.constantFrom(
        'yes',
        'été 日本',
        '</s>',
        '[/INST]',
        '<|im_end|>',
        '{{ x }}',
        '{% if %}',
        '\ue000\ue001',
        'a\0b',
        '3',
      ),
      fc.string({ maxLength: 8 }),
    )
    .map((text) => text.trim())
    .filter((text) => text !== '');
  const turns = fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 3 });

  it.each(Object.entries(templates))('are what training shows: %s', (name, source) => {
    const template = new ChatTemplate(source);
    fc.assert(
      fc.property(turns, (pairs) => {
        const messages = pairs.flatMap(([question, reply]) => [message('user', question), message('assistant', reply)]);
        const { ids, isAnswer } = encodeConversation(tokenizer, template, messages);
        const prompt = encodeConversation(tokenizer, template, messages.slice(0, -1), { addGenerationPrompt: true });
        expect(ids.slice(0, prompt.ids.length)).toEqual(prompt.ids);
        const start = isAnswer.lastIndexOf(false, isAnswer.lastIndexOf(true)) + 1;
        expect(start).toBe(prompt.ids.length);
        expect(
          template
            .segments(messages)
            .map(({ text }) => text)
            .join(''),
        ).toBe(template.render(messages));
        const end = source.includes('im_end') ? '<|im_end|>' : '</s>';
        const before = name === 'SPACED_TEMPLATE' ? ' ' : '';
        const thought = name === 'THOUGHT_TEMPLATE' ? '<think>\n\n</think>\n\n' : '';
        expect(runsOf(ids, isAnswer)).toEqual(
          pairs.map(([, reply], i) => {
            const lead = i === pairs.length - 1 ? thought : '';
            return `${before}${lead}${reply}${before}${end}`;
          }),
        );
      }),
      { numRuns: 60 },
    );
  });

  it('that differ by a generation prompt which training does not show are warned of', async () => {
    expect(new ChatTemplate(OPENED_TEMPLATE).promptFault()).toMatch(/^it ends a prompt with "<think>\\n"/);
    const headless = CHATML_TEMPLATE.slice(0, CHATML_TEMPLATE.indexOf('{% if add'));
    expect(new ChatTemplate(headless).promptFault()).toMatch(
      /^it writes "<\|im_start\|>assistant\\n" before an answer, but not at the end of a prompt$/,
    );
    for (const source of [...Object.values(templates), TUTORIAL_TEMPLATE]) {
      expect(new ChatTemplate(source).promptFault()).toBeUndefined();
    }
    const rows = new IndexedDataset(2, async () => ({ messages: [message('user', 'a'), message('assistant', 'b')] }));
    const [line, ...others] = await checkLabels(rows, make(OPENED_TEMPLATE), undefined);
    expect(line).toMatch(
      /another way than training shows.*it ends a prompt with "<think>\\n", which does not stand before an answer\./,
    );
    expect(others).toEqual([]);
  });
});

describe('images of several questions', () => {
  const image: ContentPart = { type: 'image', image: { width: 4, height: 4, data: new Uint8Array(48) } };
  const first = [message('user', [{ type: 'text', text: 'a' }, image]), message('assistant', 'b')];

  it('are refused where the template puts one before an earlier answer', async () => {
    const messages = [...first, message('user', [image]), message('assistant', 'c')];
    const failing = make(TUTORIAL_TEMPLATE).collate([{ messages }]);
    await expect(failing).rejects.toThrow(/puts an image of a later message before message 1 \(assistant\)/);
    await expect(failing).rejects.toThrow(TextError);
    expect((await make(TURNS_TEMPLATE).encode({ messages })).images).toHaveLength(2);
  });

  it('are not learned in an answer, and do not open it', async () => {
    const answer = message('assistant', [{ type: 'text', text: 'yes' }, image, { type: 'text', text: 'no' }]);
    const sample = { messages: [message('user', 'a'), answer] };
    const collator = make(TURNS_TEMPLATE);
    const { labels } = await collator.encode(sample);
    const kept = labels!.filter((label) => label !== -100);
    expect(tokenizer.decode(kept)).toBe('yesno</s>');
    expect(collator.inspect(sample)).toMatchObject({ labels: kept.length, openAnswers: 0 });
  });
});

describe('a question without a text of its own between two answers', () => {
  // The tokenizer takes these for ordinary text, so no control token parts the turns.
  const source =
    `{% for m in messages %}{{ '<turn>' + m.role + '>' }}{% if m.content is string %}{{ m.content }}{% else %}` +
    `{% for p in m.content %}{{ '[IMG]' if p.type == 'image' else p.text }}{% endfor %}{% endif %}{{ '<end>' }}{% endfor %}` +
    `{% if add_generation_prompt %}{{ '<turn>assistant>' }}{% endif %}`;
  const plain = source.replace('[IMG]', '(image)');
  const learned = (template: string, question: Message, options = {}) => {
    const messages = [message('user', 'a'), message('assistant', 'b'), question, message('assistant', 'c')];
    const { ids, isAnswer } = encodeConversation(tokenizer, new ChatTemplate(template), messages, options);
    return runsOf(ids, isAnswer);
  };

  it('is not learned', () => {
    const image: ContentPart = { type: 'image', image: new Uint8Array(1) };
    expect(learned(source, message('user', [image]))).toEqual(['b', 'c']);
    expect(learned(plain, message('user', [image]))).toEqual(['b', 'c']);
    expect(learned(plain, message('user', ''))).toEqual(['b', 'c']);
    // A number is not marked, as templates may write it as one.
    expect(learned(plain, message('tool', '42'))).toEqual(['b', 'c']);
    expect(learned(plain, message('user', 'text'))).toEqual(['b', 'c']);
  });

  it('is none where two answers follow each other', () => {
    expect(learned(plain, message('assistant', 'x'))).toEqual(['b<end><turn>assistant>x<end><turn>assistant>c']);
  });
});

describe('turns that are not learned, where everything is', () => {
  const messages: Message[] = [{ role: 'user', content: 'a', weight: 0 }, message('assistant', 'b')];

  it('are a contradiction', async () => {
    const { labels } = await make(TURNS_TEMPLATE).encode({ messages });
    expect(tokenizer.decode(labels!.filter((label) => label !== -100))).toBe('b</s>');
    const all = make(TURNS_TEMPLATE, { maskPrompt: false });
    await expect(all.encode({ messages })).rejects.toThrow(
      /message 0 \(user\) has `weight: 0`, but `maskPrompt: false`/,
    );
    expect(() => all.hasLabels({ messages })).toThrow(DataError);
    const masked = [message('user', 'a'), { ...message('assistant', 'b'), train: false }];
    expect(() => all.inspect({ messages: masked })).toThrow(/message 1 \(assistant\) has `train: false`/);
    expect(() => make(TURNS_TEMPLATE, { maskPrompt: false, maskHistory: true })).toThrow(ConfigError);
  });
});

it('markers of other tools in texts are counted', () => {
  const messages = [message('user', '<|image_1|> and <image>'), message('assistant', 'b')];
  expect(make(TURNS_TEMPLATE).inspect({ messages }).spelledTokens).toEqual({ '<|image_1|>': 1, '<image>': 1 });
});
