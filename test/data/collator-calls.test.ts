/** Calls of a collator and their answers, on their own: what is refused, what is measured, what prompts say. */
import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { hasLabels } from '../../src/data/sample-trace.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ImageInput, Message, RgbImage, SftExample, TrainingExample } from '../../src/data/types.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { ConfigError, DataError, ImageError } from '../../src/errors.js';
import { caught } from './caught.js';
import { message, TOOLS_TEMPLATE } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerJson, tinyTokenizerWith } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerWith('[ARGS]', '[THINK]', '[/THINK]', '<|im_end|>'), TINY_CONFIG);
const pixels = (width: number, height: number): RgbImage => ({
  width,
  height,
  data: new Uint8Array(3 * width * height),
});
/** Takes images as they are; their sides are to be multiples of 4. */
const imageProcessor = {
  patchSize: 2,
  spatialMergeSize: 2,
  async process(input: ImageInput, _options?: { readonly signal?: AbortSignal }) {
    const { width, height } =
      'decode' in (input as object)
        ? await (input as never as { decode(): Promise<RgbImage> }).decode()
        : (input as RgbImage);
    return { pixelValues: new Float32Array(3 * width * height), height, width };
  },
};
const chatTemplate = new ChatTemplate(TUTORIAL_TEMPLATE);
const make = (options: object = {}) =>
  new VlmCollator({ tokenizer, chatTemplate, imageProcessor, ...options } as VlmCollatorOptions);
const sample = (more: object = {}, ...images: ImageInput[]): SftExample => ({
  messages: [
    message('user', [{ type: 'text', text: 'Is it?' }, ...images.map((image) => ({ type: 'image', image }) as const)]),
    message('assistant', 'yes'),
  ],
  ...more,
});
const failing = (error: unknown, more: object = {}) => ({
  path: 'a.png',
  decode: () => Promise.reject(error),
  ...more,
});

describe('a collator', () => {
  const make = (options: unknown) => () => new VlmCollator(options as never);

  it('names the parts that are missing', () => {
    for (const given of [undefined, {}]) {
      const error = caught(make(given));
      expect(error).toBeInstanceOf(ConfigError);
      expect(error.message).toContain('VlmCollator: missing `tokenizer`, `chatTemplate`, `imageProcessor`');
      expect(error.hint).toBe('The processor of fromPretrained has all three: new VlmCollator(processor).');
    }
    expect(caught(make({ tokenizer, imageProcessor }))).toMatchObject({
      summary: 'VlmCollator: missing `chatTemplate`',
      hint:
        'A checkpoint without a chat template needs one: new VlmCollator({ ...processor, chatTemplate: "tutorial" }), ' +
        'or one of your own.',
    });
  });

  it('says what of its parts is of another kind', () => {
    const parts = { tokenizer, imageProcessor, chatTemplate };
    expect(caught(make(Promise.resolve(parts))).message).toMatch(/^VlmCollator: expected .* got a promise/i);
    for (const name of Object.keys(parts)) {
      expect(caught(make({ ...parts, [name]: { a: 1 } })).message).toMatch(new RegExp(`^VlmCollator: \`${name}\``));
    }
    for (const imagePool of [null, {}]) {
      const error = caught(make({ ...parts, imagePool }));
      expect([error.name, error.message]).toEqual(['ConfigError', expect.stringMatching(/^VlmCollator: `imagePool`/)]);
    }
    expect(caught(make({ ...parts, onDropped: 5 })).message).toMatch(/^VlmCollator: `onDropped`/);
  });

  it('takes one object, and no contradiction in it', () => {
    const Collator = VlmCollator as unknown as new (...given: unknown[]) => VlmCollator;
    const parts = { tokenizer, imageProcessor, chatTemplate };
    expect(caught(() => new Collator(parts, { maxLength: 5 }, 1))).toMatchObject({
      summary: 'VlmCollator: expected one object of options, got 3 arguments',
      hint: 'Write new VlmCollator({ ...processor, maxLength: 4096 }).',
    });
    expect(caught(make({ ...parts, maskHistory: true, maskPrompt: false }))).toMatchObject({
      summary: expect.stringMatching(/`maskHistory` masks earlier answers, `maskPrompt: false` labels everything$/),
      hint: 'leave `maskPrompt` at true to learn the last answer alone',
    });
  });

  it('shows what it works with', () => {
    const made = new VlmCollator({ tokenizer, imageProcessor, chatTemplate });
    expect(made.chatTemplate).toBe(chatTemplate);
    expect(made.tokenizer).toBe(tokenizer);
    expect(made.tokenizerDigest).toBe(tokenizer.digest);
  });

  it('names the method that was called wrongly', async () => {
    const collator = make({ tokenizer, imageProcessor, chatTemplate })();
    await expect(collator.collate(sample() as never)).rejects.toThrow(/^collator\.collate: expected a list of samples/);
    await expect(collator.collatePrompts(sample() as never)).rejects.toThrow(
      /^collator\.collatePrompts: expected a list/,
    );
    await expect(collator.encode(sample(), { sgnal: 1 } as never)).rejects.toThrow(/collator\.encode.*`signal`/s);
    await expect(collator.measure(sample(), { paddingSide: 'left' } as never)).rejects.toThrow(/collator\.measure/);
    await expect(collator.measure(sample(), { signal: 5 } as never)).rejects.toThrow(/collator\.measure.*signal/s);
  });
});

describe('images that cannot be read', () => {
  const broken = new ImageError('a.png: not an image', { details: { path: 'a.png' } });
  const skipped = failing(broken, { onBadImage: 'skip' });

  it('are left out with their reason where they may be', async () => {
    const batch = await make().collate([sample({ id: 'a' }, skipped), sample({ id: 'b' })]);
    expect(batch.sampleIds).toEqual(['b']);
    expect(batch.skipped).toEqual([{ sampleId: 'a', reason: 'a.png: not an image' }]);
    expect('skipped' in (await make().collate([sample()]))).toBe(false);
    expect(await make().measure(sample({ id: 'a' }, skipped))).toEqual({
      sampleId: 'a',
      reason: 'a.png: not an image',
    });
    expect((await make().trace(sample({}, skipped))).status).toBe('skipped');
  });

  it('stop it elsewhere, by the name of the sample', async () => {
    const collator = make();
    const whole = sample({}, failing(broken));
    await expect(collator.collate([sample(), whole])).rejects.toThrow('sample 1 of the batch: a.png: not an image');
    await expect(collator.measure(whole)).rejects.toThrow('sample 0 of the batch: a.png: not an image');
    // Not every fault is one of the image.
    const fault = failing(new TypeError('a fault'), { onBadImage: 'skip' });
    await expect(collator.measure(sample({ id: 'c' }, fault))).rejects.toThrow(DataError);
    await expect(collator.measure(sample({ id: 'c' }, fault))).rejects.toThrow('sample c: a fault');
    await expect(collator.measure(undefined as never)).rejects.toThrow(/^sample 0 of the batch: /);
  });

  it('hand the signal to whatever processes them', async () => {
    const { signal } = new AbortController();
    const given: unknown[] = [];
    const imagePool = {
      process: (input: ImageInput, options: unknown) => {
        given.push(options);
        return imageProcessor.process(input);
      },
    };
    await make({ imagePool }).encode(sample({}, pixels(4, 4)), { signal });
    await make({ imagePool }).encode(sample({}, pixels(4, 4)));
    expect(given).toEqual([{ signal }, undefined]);
    expect((given[0] as { signal: AbortSignal }).signal).toBe(signal);
  });
});

describe('VlmCollator.measure', () => {
  /** As the package's own: it says beforehand what becomes of a size, here half of each side. */
  const halving = {
    ...imageProcessor,
    resizedSize: (width: number, height: number, name?: string) => {
      if (width > 80) throw new ImageError(`${name}: too wide`);
      return { width: width / 2, height: height / 2 };
    },
    process: async (input: ImageInput) =>
      imageProcessor.process(pixels((input as RgbImage).width / 2, (input as RgbImage).height / 2)),
  };

  it('is a sample as it is encoded, with sizes in place of pixels', async () => {
    const images = [pixels(8, 16), pixels(16, 8)];
    for (const processor of [imageProcessor, halving]) {
      for (const options of [{ imageProcessor: processor }, { imagePool: Object.assign({ processor }, processor) }]) {
        const collator = make(options);
        const whole = await collator.encode(sample({ id: 'a' }, ...images));
        const measured = await collator.measure(sample({ id: 'a' }, ...images));
        expect(measured).toStrictEqual({
          ...whole,
          images: whole.images.map(({ height, width }, i) => ({ height, width, input: images[i]! })),
        });
      }
    }
    expect(await make().measure(sample())).toMatchObject({ id: '0 of the batch', images: [] });
  });

  it('reads no pixels where a size is enough', async () => {
    const collator = make({ imageProcessor: { ...halving, process: () => Promise.reject(new Error('read')) } });
    expect(await collator.measure(sample({}, pixels(8, 16)))).toMatchObject({ images: [{ height: 8, width: 4 }] });
    await expect(collator.measure(sample({ id: 'a' }, pixels(88, 4)))).rejects.toThrow(
      'sample a: image given as pixels: too wide',
    );
    const gone = failing(new ImageError('a.png: gone'), { onBadImage: 'skip' });
    expect(await collator.measure(sample({ id: 'a' }, gone))).toEqual({ sampleId: 'a', reason: 'a.png: gone' });
  });

  it('stops with the reason of its signal, also while an image is read', async () => {
    const reason = new Error('enough');
    const collator = make({ imageProcessor: halving });
    await expect(collator.measure(sample(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const late = {
      path: 'a.png',
      decode: () => Promise.resolve(pixels(88, 8)).finally(() => controller.abort(reason)),
    };
    await expect(collator.measure(sample({}, late), { signal: controller.signal })).rejects.toBe(reason);
  });
});

describe('a sample that is inspected or traced', () => {
  it('is too long beyond `maxLength`, unless it is cut', async () => {
    const { length } = (await make().encode(sample())).inputIds;
    const tooLong = (options: object) => make(options).inspect(sample()).tooLong;
    const maxLength = length - 1;
    expect(tooLong({ maxLength })).toEqual({ length, maxLength, isDropped: false });
    expect(tooLong({ maxLength, overlong: 'drop' })).toEqual({ length, maxLength, isDropped: true });
    for (const options of [{}, { maxLength: length }, { maxLength, overlong: 'truncateText' }]) {
      expect('tooLong' in make(options).inspect(sample())).toBe(false);
    }
  });

  it('has the name it was given, and a reason where it is not learned', async () => {
    const trace = await make().trace(sample({ id: 'a' }));
    expect(Object.keys(trace)).toEqual(['status', 'sample']);
    expect(trace.sample!.id).toBe('a');
    expect((await make().trace(sample())).sample!.id).toBe('');
    const reason = new DataError('enough');
    await expect(make().trace(sample(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const fault = new TypeError('a fault');
    await expect(make().trace(sample({}, failing(fault)))).rejects.toBe(fault);
    expect(await make().trace({} as never)).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('messages'),
    });
  });

  it('has labels where a token behind the first is learned', async () => {
    expect([[5], [5, -100], [-100, 5], []].map(hasLabels)).toEqual([false, false, true, false]);
    const bare = new ChatTemplate(
      '{{ bos_token }}{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}[IMG]{% endif %}{% endfor %}',
    );
    const collator = make({ chatTemplate: bare, maskPrompt: false });
    const silent = { messages: [message('user', '')] };
    expect(collator.hasLabels(silent)).toBe(false);
    await expect(collator.encode(silent)).rejects.toThrow('there is nothing to learn');
    // Of an image the token that ends it is learned.
    const image = { messages: [message('user', [{ type: 'image', image: pixels(4, 4) }])] };
    expect(collator.hasLabels(image)).toBe(true);
    expect((await collator.encode(image)).labels).toEqual([1, -100, 13]);
    expect(make({ chatTemplate: bare }).hasLabels(image)).toBe(false);
  });
});

it('a tokenizer without the tokens of images takes texts alone', async () => {
  const json = tinyTokenizerJson();
  const rename = (token: { content: string }) => ({
    ...token,
    content: token.content === '[IMG_END]' ? '[OTHER]' : token.content,
  });
  json.added_tokens = json.added_tokens.map(rename);
  json.model.vocab = Object.fromEntries(
    Object.entries(json.model.vocab).map(([content, id]) => [rename({ content }).content, id]),
  );
  const collator = make({ tokenizer: new MinistralTokenizer(json, TINY_CONFIG) });
  expect((await collator.encode(sample())).inputIds.length).toBeGreaterThan(3);
  await expect(collator.encode(sample({ id: 'a' }, pixels(4, 4)))).rejects.toMatchObject({
    summary: 'sample a: the tokenizer has no image tokens',
    hint: 'use the tokenizer of a vision model',
  });
});

describe('prompts', () => {
  /** White space around an answer, as the first templates of Mistral have it. */
  const SPACED =
    `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}` +
    `{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}`;
  const framesOf = async (messages: Message[], source = SPACED, more: object = {}) =>
    (await make({ chatTemplate: new ChatTemplate(source) }).collatePrompts([{ messages, ...more }])).answerFrames;
  const asked = [message('user', 'a'), message('assistant', 'b'), message('user', 'c')];
  const begun = (content: Message['content']): Message => ({ ...message('assistant', content), prefix: true });

  it('say what stands around an answer, and before one that has begun nothing', async () => {
    const frame = { before: ' ', after: '', end: 2 };
    expect(await framesOf(asked)).toEqual([frame]);
    expect(await framesOf([...asked, message('assistant', 'd')])).toEqual([frame]);
    expect(await framesOf([...asked, begun('')])).toEqual([frame]);
    expect(await framesOf([...asked, begun('It is')])).toEqual([{ ...frame, before: '' }]);
    const collator = make({ chatTemplate: new ChatTemplate(SPACED) });
    const { answerFrames } = await collator.collatePrompts([
      { prompt: [...asked, begun('It is')] } as unknown as TrainingExample,
      { prompt: asked, completion: [message('assistant', 'd')] },
      { prompt: 'a', completion: 'b' },
    ]);
    expect(answerFrames).toEqual([{ ...frame, before: '' }, frame, { before: '', after: '', end: 2 }]);
  });

  it('keep thoughts apart that differ alone', async () => {
    const collator = make({ chatTemplate: new ChatTemplate(TOOLS_TEMPLATE) });
    const thought = (thinking: string, closed: boolean) => [...asked, begun([{ type: 'thinking', thinking, closed }])];
    const lengths = [thought('Hm', true), thought('Hm', false), thought('Hm so', false)].map(
      async (messages) => (await collator.collatePrompts([{ messages }])).inputIds.shape[1],
    );
    const [closed, open, longer] = await Promise.all(lengths);
    expect([open! - closed!, longer! - open!]).toEqual([-1, 3]);
  });
});
