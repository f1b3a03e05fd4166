import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { Message } from '../../src/data/types.js';
import { TextError } from '../../src/errors.js';
import { message, TURNS_TEMPLATE } from './conversations.js';

const tutorial = new ChatTemplate(TUTORIAL_TEMPLATE);
const turns = new ChatTemplate(TURNS_TEMPLATE);
const question: Message = { role: 'user', content: [{ type: 'text', text: 'Is it broken?\n' }, { type: 'image' }] };
const answer: Message = { role: 'assistant', content: [{ type: 'text', text: 'yes' }] };

describe('ChatTemplate.render', () => {
  it('writes the tutorial’s form, with and without the generation prompt', () => {
    expect(tutorial.render([question, answer])).toBe('<s>[INST]\nIs it broken?\n[IMG][/INST]yes</s>');
    expect(tutorial.render([question], { addGenerationPrompt: true })).toBe('<s>[INST]\nIs it broken?\n[IMG][/INST]');
    expect(tutorial.render([question, answer], { addGenerationPrompt: true })).toBe(
      '<s>[INST]\nIs it broken?\n[IMG][/INST]',
    );
    expect(tutorial.render([message('user', ' a '), message('assistant', ' b\n')])).toBe(
      '<s>[INST]\n a [/INST] b\n</s>',
    );
  });

  it('keeps to trim_blocks, lstrip_blocks and one dropped newline at the end, whatever the line ends', () => {
    const source = 'a\n  {% if true %}\n b {{ bos_token }}\n{# note #}\n\t{% endif %}\nc\n\n';
    // jinja2 3.1 with trim_blocks and lstrip_blocks.
    expect(new ChatTemplate(source).render([])).toBe('a\n b <s>\nc\n');
    expect(new ChatTemplate(source.replaceAll('\n', '\r\n')).render([])).toBe('a\n b <s>\nc\n');
  });

  it('passes the names of BOS and EOS, and no tools', () => {
    const source = '{{ bos_token }}{% if tools is not none %}tools{% endif %}{{ eos_token }}';
    expect(new ChatTemplate(source, { bosToken: '<b>', eosToken: '<e>' }).render([])).toBe('<b><e>');
  });

  it('surfaces the template’s own error', () => {
    const render = () => turns.render([message('assistant', 'hi')]);
    expect(render).toThrow(TextError);
    expect(render).toThrow(/roles must alternate/);
    const malformed = [
      [{ role: 'user' }, /message 0 \(user\) is malformed/],
      [{ role: 'user', content: [{ type: 'image' }, { type: 'text' }] }, /malformed in part 1 of its content/],
      [{ role: 'user', content: [{ type: 'image_url', image_url: 'x' }] }, /malformed in part 0/],
      [null, /message 0 is malformed/],
    ] as const;
    for (const [bad, text] of malformed) {
      expect(() => turns.render([bad as unknown as Message])).toThrow(TextError);
      expect(() => turns.render([bad as unknown as Message])).toThrow(text);
    }
    expect(() => new ChatTemplate('{% if %}')).toThrow(/cannot be parsed/);
  });
});

describe('ChatTemplate.fromFolder', () => {
  const folders: string[] = [];
  const folder = async (files: Record<string, unknown>): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'template-'));
    folders.push(dir);
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
    }
    return dir;
  };
  afterAll(() => Promise.all(folders.map((dir) => rm(dir, { recursive: true }))));

  it('prefers chat_template.jinja, then chat_template.json, then tokenizer_config.json', async () => {
    const config = {
      bos_token: '<b>',
      eos_token: { content: '<e>' },
      chat_template: 'config {{ bos_token }}{{ eos_token }}',
    };
    const files: Record<string, unknown> = { 'tokenizer_config.json': config };
    const render = async () => (await ChatTemplate.fromFolder(await folder(files))).render([]);
    expect(await render()).toBe('config <b><e>');
    files['chat_template.json'] = { chat_template: 'json {{ bos_token }}' };
    expect(await render()).toBe('json <b>');
    files['chat_template.jinja'] = 'jinja {{ eos_token }}';
    expect(await render()).toBe('jinja <e>');
  });

  it('takes the default of several, and says when there is none', async () => {
    const named = [
      { name: 'rag', template: '{{ "rag" }}' },
      { name: 'default', template: '{{ "plain" }}' },
    ];
    const dir = await folder({ 'tokenizer_config.json': { chat_template: named } });
    expect((await ChatTemplate.fromFolder(dir)).render([])).toBe('plain');
    await expect(ChatTemplate.fromFolder(await folder({}))).rejects.toThrow(/no chat template in/);
  });
});

describe('ChatTemplate.segments', () => {
  it('tells text of messages from text of the template', () => {
    expect(tutorial.segments([question, answer])).toEqual([
      { text: '<s>[INST]\n', fromTemplate: true, isAssistantText: false, isLearned: false },
      {
        text: 'Is it broken?\n',
        fromTemplate: false,
        messageIndex: 0,
        role: 'user',
        isAssistantText: false,
        isLearned: false,
      },
      { text: '[IMG][/INST]', fromTemplate: true, isAssistantText: false, isLearned: false },
      {
        text: 'yes',
        fromTemplate: false,
        messageIndex: 1,
        role: 'assistant',
        isAssistantText: true,
        isLearned: true,
        answerIndex: 1,
      },
      { text: '</s>', fromTemplate: true, isAssistantText: false, isLearned: false },
    ]);
  });

  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom(
      '',
      ' ',
      '[INST]',
      '</s>',
      '{{ bos_token }}',
      '\ue000',
      '\ue0000\ue001x\ue002',
      '0\ue001',
      '\n',
      '[IMG]',
    ),
  );

  it('joins to the rendered text and gives every text back, whatever it holds', () => {
    const conversation = fc.array(fc.tuple(hostile, hostile, fc.boolean()), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(hostile, conversation, (system, pairs) => {
        const messages: Message[] = [message('system', system)];
        for (const [asked, answered, withImage] of pairs) {
          const text = { type: 'text', text: asked } as const;
          messages.push({ role: 'user', content: withImage ? [text, { type: 'image' }] : asked });
          messages.push(message('assistant', `${answered}.`));
        }
        const segments = turns.segments(messages);
        expect(segments.map((segment) => segment.text).join('')).toBe(turns.render(messages));
        const texts = messages.flatMap(({ content }, i) => {
          const text = typeof content === 'string' ? content : (content[0] as { text: string }).text;
          return text === '' ? [] : [[i, text]];
        });
        const found = segments.filter((segment) => !segment.fromTemplate);
        expect(found.map((segment) => [segment.messageIndex, segment.text])).toEqual(texts);
      }),
    );
  });

  it('sees through a template that trims', () => {
    const trimming = new ChatTemplate('{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}');
    const segments = trimming.segments([message('user', ' a b '), message('assistant', '\n yes')]);
    expect(segments.map((segment) => segment.text)).toEqual(['[user]', 'a b', '[assistant]', 'yes']);
    expect(segments.map((segment) => segment.isAssistantText)).toEqual([false, false, false, true]);
  });

  it('refuses a template that changes, drops or reorders texts', () => {
    const make = (body: string) => new ChatTemplate(`{% for m in messages %}${body}{% endfor %}`);
    const pair = [message('user', 'ask'), message('assistant', 'yes')];
    expect(() => make('{{ m.content | upper }}').segments(pair)).toThrow(/changes the texts/);
    expect(() => make("{{ m.content | replace('s', 'z') }}").segments(pair)).toThrow(/changes the texts/);
    expect(() => make("{% if m.role == 'user' %}{{ m.content }}{% endif %}").segments(pair)).toThrow(
      /leaves out text of message 1 \(assistant\)/,
    );
    expect(() => tutorial.segments([message('system', 'Be brief.'), ...pair])).toThrow(
      /leaves out text of message 0 \(system\)/,
    );
    const twice = message('assistant', [
      { type: 'text', text: 'yes' },
      { type: 'text', text: 'yes' },
    ]);
    expect(() => tutorial.segments([pair[0]!, twice])).toThrow(/leaves out text of message 1/);
    expect(() => tutorial.segments([...pair, ...pair])).toThrow(/puts message 2 before message 1/);
  });

  it('lets a template leave out the answer that is to be generated', () => {
    const segments = tutorial.segments([question, answer], { addGenerationPrompt: true });
    expect(segments.map((segment) => segment.text).join('')).toBe('<s>[INST]\nIs it broken?\n[IMG][/INST]');
  });
});
