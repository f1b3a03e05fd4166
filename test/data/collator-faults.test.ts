import { describe, expect, it } from 'vitest';
import { ChatTemplate } from '../../src/data/chat-template.js';
import { checkCall, requireNoneMasked } from '../../src/data/check-collate.js';
import { answerEndIds, answerFrame, closingIds, encodeConversation } from '../../src/data/encode-conversation.js';
import { padBatch, unpaddedImages } from '../../src/data/pad-batch.js';
import { nameSample, nothingToLearn } from '../../src/data/sample-error.js';
import { attachImages, keepUserText, promptOf, textOf, userText } from '../../src/data/sft-messages.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { isPlainSample, rowOf, unlearned } from '../../src/data/training-rows.js';
import type { Message, TrainingExample } from '../../src/data/types.js';
import { DataError, ImageError, TextError, type TuneError } from '../../src/errors.js';
import { caught } from './caught.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = () => new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const user = (content: Message['content']): Message => ({ role: 'user', content });
const assistant = (content: Message['content']): Message => ({ role: 'assistant', content });

describe('a call of the collator', () => {
  const sample = { messages: [{ role: 'user', content: 'a' }] };
  const check =
    (examples: unknown, options: object = {}) =>
    () =>
      checkCall(examples, options, 'collate');

  it('takes lists', () => {
    expect(check([])()).toBeUndefined();
    for (const paddingSide of ['left', 'right', undefined]) expect(check([], { paddingSide })()).toBeUndefined();
  });

  it('says what else came, and what to write', () => {
    expect(caught(check(sample)).message).toMatch(
      /^collator\.collate: expected a list of samples, got .*\n {2}hint: Write collate\(\[sample\]\)\.$/m,
    );
    expect(caught(check(Promise.resolve([])))).toMatchObject({ hint: 'Await it.' });
    const dataset = { length: 1, get: () => sample };
    expect(caught(check(dataset)).hint).toMatch(/^Write collate\(\[await dataset\.get\(0\)\]\), or let a DataLoader/);
    expect(caught(check('text')).hint).toBe(
      "Write collate([{ messages: [{ role: 'user', content: 'What is it?' }] }]).",
    );
    expect(caught(check([], { paddingSide: 'middle' })).message).toBe(
      'collator.collate: `paddingSide`: expected "left" or "right", got "middle"',
    );
    expect(check([], { padding: 'left' })).toThrow(/collator\.collate.*paddingSide/s);
    expect(check([], { signal: 5 })).toThrow(/collator\.collate.*signal/s);
  });

  it('that labels everything has no message that is masked', () => {
    const masked = (more: object) => () => requireNoneMasked({ messages: [user('a'), { ...assistant('b'), ...more }] });
    expect(masked({})()).toBeUndefined();
    expect(masked({ weight: 1, train: true })()).toBeUndefined();
    expect(() => requireNoneMasked({ text: 'a' } as TrainingExample)).not.toThrow();
    const error = caught(masked({ weight: 0 }));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain(
      'message 1 (assistant) has `weight: 0`, but `maskPrompt: false` labels every message',
    );
    expect(error.hint).toContain('leave `maskPrompt` at true');
    expect(error.hint).toContain('`prompt` and `completion` have it on the answers of the prompt');
    expect(error.details).toEqual({ index: 1, role: 'assistant' });
    expect(caught(masked({ train: false })).message).toContain('has `train: false`');
    expect(() => requireNoneMasked({ messages: [{ ...user('a'), weight: 0 }] })).toThrow(/message 0 \(user\)/);
  });
});

describe('an error of a sample', () => {
  it('names the sample, once', () => {
    const named = nameSample(
      new DataError('too long', { hint: 'cut it', details: { length: 5 } }),
      'a\nb',
    ) as TuneError;
    expect(named).toBeInstanceOf(DataError);
    expect([named.summary, named.hint, named.details]).toEqual([
      expect.stringMatching(/^sample a.*b: too long$/),
      'cut it',
      { length: 5, sample: 'a\nb' },
    ]);
    expect(nameSample(named, 'other')).toBe(named);
    expect((nameSample(new ImageError('broken'), 7 as never) as Error).message).toBe('sample 7: broken');
    const abort = new DOMException('stopped', 'AbortError');
    expect(nameSample(abort, 'a')).toBe(abort);
    const unknown = nameSample(new RangeError('out of range'), 'a') as TuneError;
    expect(unknown).toBeInstanceOf(DataError);
    expect([unknown.summary, unknown.details, unknown.cause]).toEqual([
      'sample a: out of range',
      { sample: 'a' },
      expect.any(RangeError),
    ]);
    expect((nameSample('a text', 'a') as Error).message).toContain('sample a: a text');
  });

  it('of which nothing is learned lists its roles', () => {
    const error = nothingToLearn([user('a'), assistant('')]);
    expect(error.message).toContain('there is nothing to learn: every label is -100');
    expect(error.hint).toMatch(/an assistant message with text, not masked .* and a template that renders it$/);
    expect(error.details).toEqual({ roles: ['user', 'assistant'] });
  });
});

describe('the messages of a sample', () => {
  const image = new Uint8Array(1);

  it('are said to be missing, with what came', () => {
    const error = (example: unknown) => caught(() => attachImages(example as never));
    expect(error({}).message).toContain('at least one message, got an object with no keys');
    expect(error({ id: 'a', images: [] }).message).toContain('got an object with id, images');
    expect(error({ messages: [] }).message).toMatch(/with at least one message, got (?!an object with)/);
    expect(error({ messages: 'a' }).hint).toBe('let the data set yield samples in the form of SftExample');
  });

  it('get as many images as they have places for', () => {
    const parts = [{ type: 'image' }, { type: 'text', text: 'a' }] as never;
    const attach = (images: unknown[]) => attachImages({ messages: [user(parts)], images } as never);
    expect(attach([image])[0]!.content).toEqual([
      { type: 'image', image },
      { type: 'text', text: 'a' },
    ]);
    const error = caught(() => attach([]));
    expect(error.message).toContain('0 images in `images` for 1 image parts without one of their own');
    expect(error.hint).toBe('give as many `images` as the messages have image parts that hold no `image`');
    expect(error.details).toEqual({ images: 0, imageParts: 1 });
    expect(() => attach([image, image])).toThrow(/2 images in `images` for 1 image parts/);
    const own = attachImages({ messages: [user([{ type: 'image', image }] as never)] });
    expect(own[0]!.content).toEqual([{ type: 'image', image }]);
  });

  it('of tables lose the keys without a value', () => {
    const calls = [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }];
    const attach = (message: object) => attachImages({ messages: [message] } as never)[0];
    expect(attach({ role: 'user', content: 'a', tool_calls: null, name: undefined })).toStrictEqual({
      role: 'user',
      content: 'a',
    });
    expect(attach({ role: 'user', content: 'a', name: undefined })).toStrictEqual({ role: 'user', content: 'a' });
    expect(attach({ role: 'assistant', tool_calls: calls })).toMatchObject({ content: '', tool_calls: calls });
    expect(attach({ role: 'assistant', content: null, tool_calls: calls })).toMatchObject({ content: '' });
    expect(attach({ role: 'assistant', content: 'x', tool_calls: calls, name: null })).toMatchObject({ content: 'x' });
    expect(() => attach({ role: 'assistant', content: null, tool_calls: [] })).toThrow(TextError);
    expect(() => attach({ role: 'user', content: null })).toThrow(TextError);
  });

  it('may be of a class whose texts are no keys of their own', () => {
    class Turn {
      readonly role = 'assistant';
      readonly tool_calls = [{ id: 'call00001', type: 'function', function: { name: 'f', arguments: '{}' } }];
      get content() {
        return 'a';
      }
    }
    const turn = new Turn() as never as Message;
    expect(attachImages({ messages: [turn] })).toEqual([turn]);
    expect(attachImages({ messages: [turn] })[0]!.content).toBe('a');
  });

  it('have texts in their texts and thoughts', () => {
    expect(textOf({ type: 'text', text: 'a' })).toBe('a');
    expect(textOf({ type: 'thinking', thinking: 'b' })).toBe('b');
    expect(textOf({ type: 'image', image })).toBeUndefined();
  });

  it('up to an answer end where it begins', () => {
    const messages = [user('a'), assistant('b'), user('c'), assistant('d'), assistant('e')];
    expect(promptOf(messages)).toEqual(messages.slice(0, 3));
    const begun = [user('a'), { ...assistant('b'), prefix: true }];
    expect(promptOf(begun)).toEqual(begun);
    expect(promptOf([...messages, user('f'), begun[1]!])).toHaveLength(7);
    expect(() => promptOf([assistant('a')])).toThrow('there is no question to answer: no user message');
    expect(() => promptOf([])).toThrow('there is no question to answer');
  });

  it('are shortened in user text alone, never within a character', () => {
    const parts = [
      { type: 'text', text: 'b🦴' },
      { type: 'image', image },
      { type: 'text', text: 'cd' },
    ] as never;
    const messages = [user('a'), assistant('xyz'), user(parts)];
    expect(userText(messages)).toBe('ab🦴cd');
    const kept = (keep: number) => userText(keepUserText(messages, keep));
    expect([0, 1, 2, 3, 4, 5, 6, 9].map(kept)).toEqual(['', 'a', 'ab', 'ab', 'ab🦴', 'ab🦴c', 'ab🦴cd', 'ab🦴cd']);
    // The last character of one unit is whole by itself.
    expect(userText(keepUserText([user('a\uffffb')], 2))).toBe('a\uffff');
    expect(keepUserText(messages, 0)[1]).toEqual(assistant('xyz'));
    expect(keepUserText(messages, 2)[2]!.content).toEqual([
      { type: 'text', text: 'b' },
      { type: 'image', image },
      { type: 'text', text: '' },
    ]);
  });
});

describe('the forms of a sample', () => {
  const names = { bosToken: '<s>', eosToken: '</s>' };
  const row = (example: object, forPrompt = false) => rowOf(example as TrainingExample, names, forPrompt);

  it('are one of three', () => {
    const error = caught(() => row({ messages: [user('a')], text: 'a', completion: 'b' }));
    expect(error.message).toContain('the sample has `messages` and `prompt` and `text`: which is to be learned?');
    expect(error.hint).toBe('keep one of { messages }, { prompt, completion } and { text }');
    expect(error.details).toEqual({ forms: ['messages', 'prompt', 'text'] });
    for (const other of [{ completion: 'b' }, { prompt: 'b' }, { text: 'b' }]) {
      expect(() => row({ messages: [user('a')], ...other })).toThrow(/which is to be learned/);
    }
    expect(row({ messages: [user('a')], text: null, prompt: null })).toEqual({ messages: [user('a')], isPlain: false });
    expect(() => row(undefined as never)).toThrow(DataError);
  });

  it('of text bring their own ends, or none', () => {
    for (const text of ['a', '<s>a', 'a</s>', '<s>a</s>']) {
      expect(row({ text })).toEqual({ messages: [assistant('a')], isPlain: true });
    }
    expect(() => row({ text: 5 })).toThrow(/`text`: expected a string, got/);
    const error = caught(() => row({ text: 'a' }, true));
    expect(error.message).toContain('a sample of plain `text` has no question to answer');
    expect(error.hint).toBe('give what is to be continued as { prompt, completion: "" }');
  });

  it('of prompt and completion learn the completion', () => {
    expect(row({ prompt: '<s>a', completion: 'b</s>' })).toEqual({
      messages: [user('a'), assistant('b')],
      isPlain: true,
    });
    expect(row({ prompt: 'a' }, true).messages).toEqual([user('a'), assistant('')]);
    expect(row({ prompt: [user('a')] }, true).messages).toEqual([user('a')]);
    expect(row({ prompt: 'a', completion: 'b', id: 'x' }).messages).toHaveLength(2);
    const tools = [{ type: 'function', function: { name: 'f' } }];
    const lists = { prompt: [user('a')], completion: [assistant('b')], images: null, tools, id: 'x' };
    expect(row(lists)).toMatchObject({ messages: [user('a'), assistant('b')], tools });
    expect(() => row({ ...lists, prompt: [null] })).toThrow(TextError);
    const chat = row({
      prompt: [user('a'), { ...assistant('b'), weight: 1 }, user('c')],
      completion: [assistant('d')],
    });
    expect(chat).toEqual({
      messages: [user('a'), { ...assistant('b'), train: false }, user('c'), assistant('d')],
      isPlain: false,
    });
    for (const wrong of [
      { prompt: 'a' },
      { completion: 'a' },
      { prompt: 'a', completion: [assistant('b')] },
      { prompt: [user('a')], completion: 'b' },
    ]) {
      expect(caught(() => row(wrong)).message).toMatch(
        /`prompt` and `completion`: expected two strings or two lists of messages, got .* and .*\n {2}hint: e\.g\. \{ prompt: "Which\?"/,
      );
    }
    expect(unlearned({ ...assistant('a'), weight: 1 })).toEqual({ ...assistant('a'), train: false });
  });

  it('of plain strings have no place for images and tools', () => {
    const tool = { type: 'function', function: { name: 'f' } };
    expect(caught(() => row({ text: 'a', images: [new Uint8Array(1)] })).message).toMatch(
      /`images`: a sample of plain strings has no place for images\n {2}hint: give it as \{ messages:/,
    );
    expect(() => row({ text: 'a', image: 'b' })).toThrow('`image`: a sample of plain strings has no place for images');
    expect(() => row({ prompt: 'a', completion: 'b', tools: [tool] })).toThrow('has no place for tools');
    for (const images of [null, undefined, []]) expect(row({ text: 'a', images }).isPlain).toBe(true);
    expect(caught(() => row({ text: 'a', txt: 'b' })).hint).toBe('take keys that are not part of the sample out of it');
    expect(row({ text: 'a', extra: [] }).isPlain).toBe(true);
    expect(() => row({ text: 'a', extra: [1] })).toThrow(/unknown key `extra`/);
    const examples = [
      { text: 'a' },
      { prompt: 'a', completion: 'b' },
      { messages: [] },
      { prompt: [], completion: [] },
    ];
    expect(examples.map((example) => isPlainSample(example as never))).toEqual([true, true, false, false]);
  });
});

describe('a template that does not fit the tokenizer', () => {
  const encode = (source: string, messages: Message[] = [user('a'), assistant('b')], options = {}) => {
    const own = tokenizer();
    return encodeConversation(
      own,
      new ChatTemplate(source, { bosToken: '<s>', eosToken: '</s>', ...options }),
      messages,
    );
  };
  const EACH = '{% for m in messages %}{{ m.content }}{% endfor %}';

  it('is refused for other names of BOS and EOS', () => {
    const error = caught(() => encode(EACH, undefined, { eosToken: '<end>' }));
    expect(error).toBeInstanceOf(TextError);
    expect(error.message).toContain('eosToken is "<end>" in the chat template, "</s>" in the tokenizer');
    expect(error.hint).toContain('load both from the same folder');
    expect(error.details).toEqual({ name: 'eosToken', template: '<end>', tokenizer: '</s>' });
    expect(() => encode(EACH, undefined, { bosToken: '<b>' })).toThrow(/bosToken is "<b>"/);
  });

  it('gets BOS where it has none, and has it once in front', () => {
    expect(encode(EACH).ids[0]).toBe(1);
    expect(encode(EACH).isAnswer[0]).toBe(false);
    expect(encode(`{{ bos_token }}${EACH}`).ids).toEqual(encode(EACH).ids);
    const twice = caught(() => encode(`{{ bos_token }}{{ bos_token }}${EACH}`));
    expect(twice.message).toContain('the chat template emits <s> 2 times, expected once');
    expect(twice.hint).toContain('begin with {{ bos_token }}');
    expect(twice.details).toEqual({ count: 2, first: 0 });
    const late = caught(() => encode(`x{{ bos_token }}${EACH}`));
    expect(late.message).toContain('the chat template emits <s> at token 1, expected it in front');
    expect(late.details).toEqual({ count: 1, first: 1 });
  });

  it('has the tokens that close an answer, and what stands around one', () => {
    const own = tokenizer();
    const template = (tail: string, lead = '') =>
      new ChatTemplate(
        `{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}${lead}{{ m.content }}${tail}{% endif %}{% endfor %}`,
        { bosToken: '<s>', eosToken: '</s>' },
      );
    const ends = (tail: string) => [...answerEndIds(own, template(tail))];
    expect([ends('</s>'), ends('[SUFFIX]</s>'), ends('[SUFFIX][PREFIX]'), ends(''), ends('<s>[SUFFIX]')]).toEqual([
      [2],
      [2],
      [16],
      [],
      [16],
    ]);
    expect([...closingIds(own, template('[SUFFIX]'))].sort((a, b) => a - b)).toEqual([2, 16]);
    expect(answerFrame(own, template('</s>'))).toEqual({ before: '', after: '', end: 2 });
    expect(answerFrame(own, template(' </s>', ' '))).toEqual({ before: ' ', after: ' ', end: 2 });
    expect(answerFrame(own, template('', "{{ '\\n' }}"))).toEqual({ before: '\n', after: '' });
    expect(answerFrame(own, template(' \n', 'Answer: '))).toStrictEqual({ before: '', after: '' });
    expect(answerFrame(own, template('[SUFFIX]</s>'))).toStrictEqual({ before: '', after: '', end: 2 });
    expect(answerFrame(own, template(' [SUFFIX][PREFIX]'))).toEqual({ before: '', after: ' ', end: 16 });
    const one = template('</s>');
    expect(answerFrame(own, one)).toBe(answerFrame(own, one));
  });

  it('has white space before an answer from where its prompt ends', () => {
    const lead = (turns: string, prompt = '') => {
      const source = `{% for m in messages %}${turns}{% endfor %}{% if add_generation_prompt %}${prompt}{% endif %}`;
      return answerFrame(tokenizer(), new ChatTemplate(source)).before;
    };
    const spaced = "{{ m.content if m.role == 'user' else '[PREFIX] ' + m.content }}";
    expect(lead(spaced, '[PREFIX]')).toBe(' ');
    // Text that a prompt lacks is a fault, of which a run is warned elsewhere.
    expect(lead(spaced)).toBe('');
    expect(lead(spaced, 'Answer:')).toBe('');
    expect(lead("{{ m.content if m.role == 'user' else ' ' }}")).toBe('');
    const asks = "{% if not m.content %}{{ raise_exception('no question') }}{% endif %}";
    expect(lead(`${asks}${spaced}`, '[PREFIX]')).toBe(' ');
    const never = "{% if m.role == 'user' %}{{ raise_exception('no questions') }}{% endif %}";
    expect(lead(`${never}${spaced}`, '[PREFIX]')).toBe('');
    const broken = new ChatTemplate(`{% for m in messages %}${spaced}{% endfor %}`);
    broken.render = () => {
      throw new TypeError('a fault');
    };
    expect(() => answerFrame(tokenizer(), broken)).toThrow(TypeError);
  });
});

describe('what a template does with a conversation', () => {
  const encode = (source: string, messages: Message[], options = {}) =>
    encodeConversation(tokenizer(), new ChatTemplate(source, { bosToken: '<s>', eosToken: '</s>' }), messages, options);
  const thinking = (text: string): Message =>
    assistant([
      { type: 'thinking', thinking: text },
      { type: 'text', text: 'b' },
    ] as never);
  const TEXTS =
    '{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}' +
    "{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}";
  const SHOWN = TEXTS.replace(
    '{% endif %}{% endfor %}{% endif %}',
    "{% elif p.type == 'thinking' %}{{ p.thinking }}{% endif %}{% endfor %}{% endif %}",
  );

  it('is said where it leaves thoughts, calls or tools out', () => {
    const last = [user('c'), assistant('d')];
    expect(encode(TEXTS, [user('a'), thinking('hm'), ...last]).leftOut).toEqual(['thoughts of earlier turns']);
    expect(encode(TEXTS, [user('a'), thinking(' '), ...last]).leftOut).toEqual([]);
    expect(encode(SHOWN, [user('a'), thinking(' hm '), ...last]).leftOut).toEqual([]);
    expect(encode(TEXTS, [user('a'), assistant('hm'), ...last]).leftOut).toEqual([]);
    const system = { ...thinking('hm'), role: 'system' } as Message;
    expect(encode(TEXTS, [system, user('a'), assistant('b')]).leftOut).toEqual([]);
    const tool = (name: string) => ({ type: 'function', function: { name, parameters: {} } });
    expect(encode(TEXTS, [user('a'), assistant('b')], { tools: [tool('look')] }).leftOut).toEqual(['the tools']);
    // A tool that is shown is not left out, and an answer may name one.
    expect(encode(TEXTS, [user('look'), assistant('b')], { tools: [tool('look'), tool('zoom')] }).leftOut).toEqual([]);
    const call = {
      ...assistant(''),
      tool_calls: [{ id: 'call00001', type: 'function', function: { name: 'f', arguments: '{}' } }],
    };
    const answer = { role: 'tool', content: 'e', tool_call_id: 'call00001', name: 'f' };
    expect(() => encode(TEXTS, [user('a'), call, answer, assistant('b')] as Message[])).toThrow(
      /the chat template leaves out a tool call of message 1/,
    );
  });

  it('is refused where it moves an image to another message', () => {
    const image = { type: 'image', image: new Uint8Array(1) } as const;
    const withImage = user([image, { type: 'text', text: 'a' }] as never);
    const LATE = `${TEXTS}{% for m in messages %}{% if m.content is not string %}{% for p in m.content %}{% if p.type == 'image' %}[IMG]{% endif %}{% endfor %}{% endif %}{% endfor %}`;
    const error = caught(() => encode(LATE, [withImage, assistant('b')]));
    expect(error).toBeInstanceOf(TextError);
    expect(error.message).toMatch(
      /the chat template puts an image of (an earlier|a later) message (behind|before) message \d/,
    );
    expect(error.hint).toBe('it is made for a single turn, or gives no image its place; use the template of the model');
    expect(error.details).toEqual({ index: expect.any(Number), role: expect.any(String) });
    expect(error.message).toContain('an earlier message behind message 1 (assistant)');
    // Also where every message has an image.
    expect(() => encode(LATE, [withImage, assistant([image, { type: 'text', text: 'b' }] as never)])).toThrow(
      'puts an image of an earlier message behind message 1 (assistant)',
    );
    const EARLY = LATE.slice(TEXTS.length) + TEXTS;
    expect(() => encode(EARLY, [user('c'), assistant('b'), withImage])).toThrow(
      'puts an image of a later message before message 0 (user)',
    );
    const system = { role: 'system', content: 's' } as const;
    const SYSTEM_LAST = `{% for m in messages %}{% if m.role != 'system' %}{% if loop.last %}{{ messages[0].content }}{% endif %}${TEXTS.slice(TEXTS.indexOf('%}') + 2, -'{% endfor %}'.length).replace('{% endif %}{% endfor %}', '{% else %}[IMG]{% endif %}{% endfor %}')}{% endif %}{% endfor %}`;
    expect(encode(SYSTEM_LAST, [system, withImage, assistant('b'), withImage]).imagePositions).toHaveLength(2);
    expect(encode(LATE, [withImage]).imagePositions).toHaveLength(1);
    // One that is missing is the collator's to report.
    expect(encode(TEXTS, [withImage, assistant('b')]).imagePositions).toEqual([]);
  });
});

describe('a batch', () => {
  const pixels = (height: number, width: number) => {
    const pixelValues = Float32Array.from({ length: 3 * height * width }, (_, i) => i + 1);
    return { height, width, pixelValues };
  };

  it('pads tokens on either side, and images at the right and the bottom', () => {
    const samples = [
      { id: 'a', inputIds: [1, 2, 3], labels: [-100, 2, 3], images: [pixels(1, 2)] },
      { id: 'b', inputIds: [4], labels: [4], images: [pixels(2, 1)] },
    ] as never;
    const right = padBatch(samples, 9, 'right');
    expect([...right.inputIds.data]).toEqual([1, 2, 3, 4, 9, 9]);
    expect([...right.attentionMask.data]).toEqual([1, 1, 1, 1, 0, 0]);
    expect([...right.labels!.data]).toEqual([-100, 2, 3, 4, -100, -100]);
    expect([...padBatch(samples, 9, 'left').inputIds.data]).toEqual([1, 2, 3, 9, 9, 4]);
    expect([right.inputIds.shape, right.imageSizes, Object.keys(right)]).toEqual([
      [2, 3],
      { data: Int32Array.of(1, 2, 2, 1), shape: [2, 2] },
      ['inputIds', 'attentionMask', 'labels', 'sampleIds', 'imageSizes', 'pixelValues'],
    ]);
    expect(unpaddedImages(right)).toHaveLength(2);
    expect([...right.pixelValues!.data]).toEqual([
      ...[1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0, 0],
      ...[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0],
    ]);
    expect(right.pixelValues).toBe(right.pixelValues);
    expect(unpaddedImages(right)).toBeUndefined();
  });

  it('has no labels where a sample has none, and says what was left out', () => {
    const samples = [
      { id: 'a', inputIds: [1], images: [] },
      { id: 'b', inputIds: [2], labels: [2], images: [] },
    ] as never;
    expect(Object.keys(padBatch(samples, 9, 'left'))).toEqual(['inputIds', 'attentionMask', 'sampleIds']);
    const skipped = [{ sampleId: 'c', reason: 'broken' }];
    expect(padBatch([], 9, 'left', skipped)).toMatchObject({ skipped, inputIds: { shape: [0, 0] }, sampleIds: [] });
  });
});
