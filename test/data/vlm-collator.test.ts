import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packImages, patchesLength, writePatches } from '../../src/batch/packed-images.js';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { unpaddedImages } from '../../src/data/pad-batch.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ImageInput, RgbImage, SftExample, VlmBatch } from '../../src/data/types.js';
import { type DroppedSample, VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { ConfigError, DataError, ImageError, TextError } from '../../src/errors.js';
import { message, TURNS_TEMPLATE } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const [BOS, EOS, IMG, PAD, BREAK, END] = [1, 2, 10, 11, 12, 13];

/** Takes images whose sides are multiples of 4 as they are; a value tells image, channel, row and column. */
const imageProcessor = {
  patchSize: 2,
  spatialMergeSize: 2,
  async process(input: ImageInput) {
    if (typeof input === 'string') throw new ImageError(`${input}: not an image`, { details: { path: input } });
    const { width, height, data } = input as RgbImage;
    const values = Array.from({ length: 3 * height * width }, (_, i) => data[0]! * 1000 + i + 1);
    return { pixelValues: Float32Array.from(values), height, width };
  },
};

const pixels = (width: number, height: number, mark = 1): RgbImage => ({ width, height, data: Uint8Array.of(mark) });

const make = (options: Partial<VlmCollatorOptions> = {}) =>
  new VlmCollator({ tokenizer, chatTemplate: new ChatTemplate(TUTORIAL_TEMPLATE), imageProcessor, ...options });
const turns = new ChatTemplate(TURNS_TEMPLATE);

const example = (text: string, answer: string, image?: RgbImage, id?: string): SftExample => ({
  messages: [
    message('user', [{ type: 'text', text }, ...(image ? [{ type: 'image', image } as const] : [])]),
    message('assistant', [{ type: 'text', text: answer }]),
  ],
  ...(id !== undefined && { id }),
});

const rows = (array: { data: ArrayLike<number>; shape: readonly number[] } | undefined): number[][] => {
  const [B = 0, T = 0] = array?.shape ?? [];
  return Array.from({ length: B }, (_, b) => Array.from(array!.data).slice(b * T, (b + 1) * T));
};
/** Ids or labels of each row without its padding. */
const unpadded = (batch: VlmBatch, key: 'inputIds' | 'labels' = 'inputIds') => {
  const masks = rows(batch.attentionMask);
  return rows(batch[key]).map((row, b) => row.filter((_, t) => masks[b]![t] === 1));
};

describe('VlmCollator.collate', () => {
  it('expands images, pads at the right and labels only the answers', async () => {
    const batch = await make().collate([
      example('Is it broken?', 'yes', pixels(12, 8), 'a.png'),
      example(' it?', 'no fracture', undefined, 'b'),
    ]);
    const image = [IMG, IMG, IMG, BREAK, IMG, IMG, IMG, END];
    const prompt = [BOS, 3, 30, 291, 293, 299, 83, ...image, 4];
    const short = [BOS, 3, 30, 293, 83, 4, 302, 290, EOS];
    expect(batch.inputIds.shape).toEqual([2, 18]);
    expect(rows(batch.inputIds)).toEqual([
      [...prompt, 301, EOS],
      [...short, ...new Array(9).fill(PAD)],
    ]);
    expect(rows(batch.attentionMask)).toEqual([
      new Array(18).fill(1),
      [...new Array(9).fill(1), ...new Array(9).fill(0)],
    ]);
    expect(rows(batch.labels)).toEqual([
      [...new Array(16).fill(-100), 301, EOS],
      [...new Array(6).fill(-100), 302, 290, EOS, ...new Array(9).fill(-100)],
    ]);
    expect(batch.imageSizes).toEqual({ data: Int32Array.of(8, 12), shape: [1, 2] });
    expect(batch.sampleIds).toEqual(['a.png', 'b']);
  });

  it('labels all but padding and [IMG] when the prompt is not masked', async () => {
    const batch = await make({ maskPrompt: false }).collate([
      example('Is it broken?', 'yes', pixels(8, 8)),
      example('Is', 'no'),
    ]);
    const first = [BOS, 3, 30, 291, 293, 299, 83, -100, -100, BREAK, -100, -100, END, 4, 301, EOS];
    expect(rows(batch.labels)).toEqual([first, [BOS, 3, 30, 291, 4, 302, EOS, ...new Array(9).fill(-100)]]);
  });

  it('pads images with zeros at the right and the bottom, and has no pixel values without images', async () => {
    const batch = await make().collate([
      example('Is', 'no', pixels(4, 8, 1)),
      example('Is', 'no'),
      example('Is', 'no', pixels(8, 4, 2)),
    ]);
    expect(batch.pixelValues?.shape).toEqual([2, 3, 8, 8]);
    expect(rows(batch.imageSizes)).toEqual([
      [8, 4],
      [4, 8],
    ]);
    const at = (n: number, c: number, y: number, x: number) => batch.pixelValues!.data[((n * 3 + c) * 8 + y) * 8 + x];
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          expect(at(0, c, y, x)).toBe(x < 4 ? 1000 + (c * 8 + y) * 4 + x + 1 : 0);
          expect(at(1, c, y, x)).toBe(y < 4 ? 2000 + (c * 4 + y) * 8 + x + 1 : 0);
        }
      }
    }
    const text = await make().collate([example('Is', 'no')]);
    expect(text.pixelValues).toBeUndefined();
    expect(text.imageSizes).toBeUndefined();
  });

  it('takes images beside the messages, in order, also for text without places for them', async () => {
    const images = [pixels(4, 4, 5), pixels(8, 4, 6)];
    const parts: SftExample = {
      messages: [
        message('user', [
          { type: 'image' },
          { type: 'text', text: 'Is' },
          { type: 'image', image: pixels(4, 8, 7) },
          { type: 'image' },
        ]),
        message('assistant', 'no'),
      ],
      images,
    };
    const batch = await make().collate([parts]);
    expect(rows(batch.imageSizes)).toEqual([
      [4, 4],
      [8, 4],
      [4, 8],
    ]);
    for (const question of ['Is', [{ type: 'text', text: 'Is' } as const]]) {
      const plain = await make().collate([
        { messages: [message('user', question), message('assistant', 'no')], images },
      ]);
      expect(unpadded(plain)).toEqual([[BOS, 3, 30, IMG, END, IMG, IMG, END, 291, 4, 302, EOS]]);
    }
  });

  it('uses the pool in place of the processor', async () => {
    const imagePool = { process: async () => imageProcessor.process(pixels(8, 4, 9)) };
    const batch = await make({ imagePool }).collate([example('Is', 'no', pixels(4, 4))]);
    expect(rows(batch.imageSizes)).toEqual([[4, 8]]);
  });

  it('takes the package’s own image processor', async () => {
    const real = new ImageProcessor({ longestEdge: 84, patchSize: 14, spatialMergeSize: 2 });
    const input = { width: 100, height: 30, data: new Uint8Array(100 * 30 * 3).fill(128) };
    const batch = await make({ imageProcessor: real }).collate([example('Is', 'no', input)]);
    const { rows: lines, cols, tokens } = real.gridOf(100, 30);
    expect(rows(batch.imageSizes)).toEqual([[lines * 28, cols * 28]]);
    const ids = unpadded(batch)[0]!;
    expect(ids.filter((id) => id === IMG || id === BREAK || id === END)).toHaveLength(tokens);
  });

  const shape = fc.record({
    text: fc.string({ unit: 'binary', maxLength: 20 }),
    answer: fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
    size: fc.option(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))),
  });

  it('holds its invariants for any samples, and pads both sides alike', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(shape, { minLength: 1, maxLength: 4 }), async (shapes) => {
        const examples = shapes.map(({ text, answer, size }) =>
          example(text, answer, size ? pixels(size[0] * 4, size[1] * 4) : undefined),
        );
        const right = await make().collate(examples);
        const left = await make({ paddingSide: 'left' }).collate(examples);
        shapes.forEach(({ text, answer, size }, b) => {
          const ids = unpadded(right)[b]!;
          const labels = unpadded(right, 'labels')[b]!;
          const [columns, lines] = size ?? [0, 0];
          const count = (id: number) => ids.filter((other) => other === id).length;
          expect(count(IMG!) + count(BREAK!) + count(END!)).toBe(lines * (columns + 1));
          expect([count(IMG!), count(END!), count(BOS!)]).toEqual([lines * columns, size ? 1 : 0, 1]);
          expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(`\n${text}${answer}`);
          expect(tokenizer.decode(labels.filter((label) => label !== -100))).toBe(`${answer}</s>`);
          const firstLabel = labels.findIndex((label) => label !== -100);
          expect(labels.slice(firstLabel)).toEqual(ids.slice(firstLabel));
        });
        expect(unpadded(left)).toEqual(unpadded(right));
        expect(unpadded(left, 'labels')).toEqual(unpadded(right, 'labels'));
        expect(left.pixelValues).toEqual(right.pixelValues);
        rows(left.attentionMask).forEach((mask, b) => {
          expect(mask).toEqual(mask.toSorted((x, y) => x - y));
          expect(rows(right.attentionMask)[b]).toEqual(mask.toReversed());
          expect(
            rows(left.inputIds)
              [b]!.filter((_, t) => mask[t] === 0)
              .every((id) => id === PAD),
          ).toBe(true);
          expect(
            rows(left.labels)
              [b]!.filter((_, t) => mask[t] === 0)
              .every((label) => label === -100),
          ).toBe(true);
        });
      }),
      { numRuns: 40 },
    );
  });
});

describe('the pixels of a batch', () => {
  const batchOf = () => make().collate([example('a', 'yes', pixels(12, 8)), example('b', 'no', pixels(8, 12, 2))]);
  const patchesOf = (batch: VlmBatch) => {
    const tokens = batch.inputIds.data.filter((id) => id === IMG);
    const images = packImages(batch, tokens, { patchSize: 2, mergeSize: 2 })!;
    const patches = new Float32Array(patchesLength(images));
    writePatches(images, patches);
    return patches;
  };

  it('are padded when they are read, and are the same patches before and after', async () => {
    const batch = await batchOf();
    expect(unpaddedImages(batch)).toHaveLength(2);
    const before = patchesOf(batch);
    expect(unpaddedImages(batch)).toHaveLength(2);
    expect(batch.pixelValues!.shape).toEqual([2, 3, 12, 12]);
    expect(batch.pixelValues).toBe(batch.pixelValues);
    expect(unpaddedImages(batch)).toBeUndefined();
    expect(patchesOf(batch)).toEqual(before);
    expect(new Set(before).size).toBe(before.length);
  });

  it('count as they are once they were read, or are put into another batch', async () => {
    const batch = await batchOf();
    const before = patchesOf(batch);
    batch.pixelValues!.data[0] = -1;
    expect(patchesOf(batch)[0]).toBe(-1);
    const other = await batchOf();
    const pixelValues = { ...other.pixelValues!, data: other.pixelValues!.data.map((value) => -value) };
    expect(patchesOf({ ...other, pixelValues })).toEqual(before.map((value) => -value));
  });
});

describe('VlmCollator and conversations that come again', () => {
  /** A template that counts how often it is rendered. */
  const counting = (source = TUTORIAL_TEMPLATE) => {
    const chatTemplate = new ChatTemplate(source);
    const segments = chatTemplate.segments.bind(chatTemplate);
    const count = { value: 0 };
    chatTemplate.segments = (...args) => {
      count.value++;
      return segments(...args);
    };
    return { chatTemplate, count };
  };

  it('encodes their text once, whatever the images, and gives what it would have given', async () => {
    const { chatTemplate, count } = counting();
    const collator = make({ chatTemplate });
    const samples = [pixels(12, 8), pixels(8, 8, 2), undefined].map((image) => example('Is it?', 'yes', image));
    for (const sample of [...samples, ...samples]) {
      expect(await collator.collate([sample])).toEqual(await make().collate([sample]));
    }
    // With and without an image.
    expect(count.value).toBe(2);
    await collator.collate([example('Is it?', 'no', pixels(8, 8))]);
    expect(count.value).toBe(3);
    await collator.collatePrompts(samples.slice(0, 2));
    expect(count.value).toBe(4);
  });

  it('goes by what the template sees: not by images', async () => {
    const { chatTemplate, count } = counting();
    const collator = make({ chatTemplate });
    const costly = Object.assign(pixels(8, 8), {
      toJSON: () => {
        throw new Error('looked at');
      },
    });
    for (let i = 0; i < 2; i++) await collator.collate([example('Is it?', 'yes', costly)]);
    expect(count.value).toBe(1);
  });

  it('keeps a bounded number', async () => {
    const { chatTemplate, count } = counting();
    const collator = make({ chatTemplate });
    const samples = Array.from({ length: 300 }, (_, i) => example(`Is it ${i}?`, 'yes'));
    await collator.collate(samples);
    await collator.collate(samples.slice(-10));
    expect(count.value).toBe(300);
    await collator.collate(samples.slice(0, 10));
    expect(count.value).toBe(310);
  });

  it('keeps none where the template may write the time', async () => {
    const { chatTemplate, count } = counting(`{# strftime_now #}${TUTORIAL_TEMPLATE}`);
    const collator = make({ chatTemplate });
    for (let i = 0; i < 3; i++) await collator.collate([example('Is it?', 'yes')]);
    expect(count.value).toBe(3);
  });
});

describe('VlmCollator and long samples', () => {
  const long = example('Is it broken? yes no'.repeat(5), 'yes', pixels(8, 8), 'long.png');
  const short = example('Is', 'no', undefined, 'short');

  it('names the sample, its length and the limit by default', async () => {
    const failing = make({ maxLength: 20 }).collate([short, long]);
    await expect(failing).rejects.toThrow(DataError);
    await expect(failing).rejects.toThrow(/sample long\.png: \d+ tokens, 6 of them for images; maxLength is 20/);
    const { inputIds } = await make().encode(long);
    await expect(failing).rejects.toMatchObject({
      details: { sample: 'long.png', length: inputIds.length, maxLength: 20 },
    });
    expect((await make({ maxLength: inputIds.length }).collate([long])).inputIds.shape).toEqual([1, inputIds.length]);
    await expect(make({ maxLength: inputIds.length - 1 }).collate([long])).rejects.toThrow(DataError);
  });

  it('drops and reports, down to an empty batch', async () => {
    const dropped: DroppedSample[] = [];
    const collator = make({ maxLength: 20, overlong: 'drop', onDropped: (sample) => dropped.push(sample) });
    expect((await collator.collate([long, short])).sampleIds).toEqual(['short']);
    const { length } = (await make().encode(long)).inputIds;
    expect(dropped).toEqual([{ sampleId: 'long.png', length, maxLength: 20 }]);
    const empty = await collator.collate([long]);
    expect([empty.inputIds.shape, empty.labels?.shape, empty.pixelValues]).toEqual([[0, 0], [0, 0], undefined]);
    await expect(collator.collatePrompts([long])).rejects.toThrow(/long\.png/);
  });

  it('shortens only user text, from its end, to the last token that fits', async () => {
    const text = 'é🦴 Is it broken? '.repeat(4);
    const full = (await make().encode(example(text, 'yes.', pixels(8, 8)))).inputIds.length;
    const bare = (await make().encode(example('', 'yes.', pixels(8, 8)))).inputIds.length;
    for (let maxLength = bare; maxLength < full; maxLength++) {
      const batch = await make({ maxLength, overlong: 'truncateText' }).collate([example(text, 'yes.', pixels(8, 8))]);
      const [ids] = unpadded(batch);
      expect(ids!.length).toBeLessThanOrEqual(maxLength);
      // A character takes at most four tokens here.
      expect(ids!.length).toBeGreaterThan(maxLength - 4);
      const kept = tokenizer.decode(ids!, { skipSpecialTokens: true }).slice(1, -4);
      expect(text.startsWith(kept)).toBe(true);
      expect(ids!.filter((id) => id === IMG)).toHaveLength(4);
      expect(ids!.slice(-4)).toEqual([4, 301, 66, EOS]);
      expect(rows(batch.labels)[0]!.slice(-3)).toEqual([301, 66, EOS]);
      expect(ids).toEqual((await make().encode(example(kept, 'yes.', pixels(8, 8)))).inputIds);
    }
    const hopeless = make({ maxLength: bare - 1, overlong: 'truncateText' }).collate([
      example(text, 'yes.', pixels(8, 8), 'long.png'),
    ]);
    await expect(hopeless).rejects.toThrow(/long\.png: .* even without any user text/);
  });

  it('cuts the last user text first, and neither system text nor answers', async () => {
    const collator = make({ maxLength: 40, overlong: 'truncateText', chatTemplate: turns });
    const messages = [
      message('system', 'no '.repeat(4)),
      message('user', 'Is it?'),
      message('assistant', 'yes yes'),
      message('user', 'broken '.repeat(20)),
      message('assistant', 'no no'),
    ];
    const { inputIds } = await collator.encode({ messages });
    const text = tokenizer.decode(inputIds);
    expect(inputIds.length).toBe(40);
    expect(text).toMatch(
      /^<s>\[SYSTEM_PROMPT\](no ){4}\[\/SYSTEM_PROMPT\]\[INST\]Is it\?\[\/INST\]yes yes<\/s>\[INST\]broken [brokenx ]*\[\/INST\]no no<\/s>$/,
    );
  });
});

describe('VlmCollator and faulty samples', () => {
  const fails = (sample: SftExample, options: Partial<VlmCollatorOptions> = {}) =>
    make(options).collate([{ id: 'x7', ...sample }]);

  it('names a sample with nothing to learn', async () => {
    const open = { messages: [message('user', 'Is it?')] };
    await expect(fails(open)).rejects.toThrow(/sample x7: there is nothing to learn/);
    const silent = { messages: [message('user', 'Is'), message('assistant', '')] };
    await expect(fails(silent, { chatTemplate: turns })).rejects.toThrow(/sample x7: there is nothing to learn/);
  });

  it('tells from the text alone whether there is something to learn, as a batch would', async () => {
    const unread = { path: 'gone.png', decode: () => Promise.reject(new Error('must not be read')) };
    const question: SftExample = { messages: [message('user', [{ type: 'image', image: unread }])] };
    const answered: SftExample = { messages: [...question.messages, message('assistant', 'yes')] };
    const empty: SftExample = { messages: [message('user', 'Is it?'), message('assistant', '')] };
    const collator = make();
    expect(collator.hasLabels(answered)).toBe(true);
    expect(collator.hasLabels(question)).toBe(false);
    expect(make({ maskPrompt: false }).hasLabels(question)).toBe(true);
    for (const sample of [example('Is it?', 'no'), empty, { messages: [message('user', 'Is it?')] }]) {
      const learns = await collator.collate([sample]).then(
        () => true,
        () => false,
      );
      expect(collator.hasLabels(sample)).toBe(learns);
    }
  });

  it('names a sample whose images do not match', async () => {
    const withPart = [message('user', [{ type: 'image' }, { type: 'text', text: 'Is' }]), message('assistant', 'no')];
    await expect(fails({ messages: withPart })).rejects.toThrow(/sample x7: 0 images in `images` for 1 image parts/);
    const images = [pixels(4, 4), pixels(4, 4)];
    await expect(fails({ messages: withPart, images })).rejects.toThrow(/2 images in `images` for 1 image parts/);
    const blind = new ChatTemplate(
      '{{ bos_token }}{{ messages[0].content[1].text }}[/INST]{{ messages[1].content }}</s>',
    );
    await expect(fails({ messages: withPart, images: [pixels(4, 4)] }, { chatTemplate: blind })).rejects.toThrow(
      /1 images for 0 image tokens/,
    );
  });

  it('keeps the kind of error and its facts', async () => {
    const broken = { ...example('Is', 'no'), images: ['a/b.png'] };
    const image = fails({ ...broken, messages: [message('user', 'Is'), message('assistant', 'no')] });
    await expect(image).rejects.toThrow(ImageError);
    await expect(image).rejects.toThrow('sample x7: a/b.png: not an image');
    await expect(image).rejects.toMatchObject({ details: { path: 'a/b.png', sample: 'x7' } });
    await expect(fails({ messages: [message('assistant', 'no')] }, { chatTemplate: turns })).rejects.toThrow(TextError);
    const nothing = { messages: [{ role: 'user', content: null }] } as unknown as SftExample;
    await expect(fails(nothing)).rejects.toThrow(/sample x7: message 0 \(user\) is malformed/);
    await expect(fails({} as SftExample)).rejects.toThrow(/sample x7: expected \{ messages/);
  });

  it('refuses pixels that do not make whole tokens', async () => {
    await expect(fails(example('Is', 'no', pixels(6, 4)))).rejects.toThrow(/sides that are multiples of 4/);
  });

  it('lists wrong options, and stops when aborted', async () => {
    expect(() => make({ maxLenght: 5 } as object)).toThrow(/unknown option `maxLenght`; did you mean `maxLength`/);
    expect(() => make({ maxLength: 0, overlong: 'cut' } as object)).toThrow(ConfigError);
    const reason = new Error('enough');
    await expect(make().collate([example('Is', 'no')], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('VlmCollator.collatePrompts', () => {
  it('ends where the answer begins, pads at the left and has no labels', async () => {
    const samples = [example('Is it broken?', 'yes', pixels(8, 4)), example('Is', 'no')];
    for (const chatTemplate of [new ChatTemplate(TUTORIAL_TEMPLATE), turns]) {
      const collator = make({ chatTemplate });
      const prompts = await collator.collatePrompts(samples);
      expect(prompts.labels).toBeUndefined();
      expect(rows(prompts.inputIds).map((row) => row.at(-1))).toEqual([4, 4]);
      expect(rows(prompts.inputIds)[1]!.slice(0, 7)).toEqual([...new Array(6).fill(PAD), BOS]);
      const training = unpadded(await collator.collate(samples));
      unpadded(prompts).forEach((ids, b) => {
        expect(training[b]!.slice(0, ids.length)).toEqual(ids);
        expect(training[b]!.length).toBe(ids.length + 2);
      });
      const right = await collator.collatePrompts(samples, { paddingSide: 'right' });
      expect(rows(right.inputIds)[1]!.at(-1)).toBe(PAD);
    }
  });

  it('keeps earlier answers, and needs a question', async () => {
    const collator = make({ chatTemplate: turns });
    const messages = [
      message('user', 'Is'),
      message('assistant', 'yes'),
      message('user', ' it'),
      message('assistant', 'no'),
    ];
    const prompts = await collator.collatePrompts([{ messages }, { messages: messages.slice(0, 3) }]);
    expect(unpadded(prompts)[0]).toEqual([BOS, 3, 291, 4, 301, EOS, 3, 293, 4]);
    expect(unpadded(prompts)[1]).toEqual(unpadded(prompts)[0]);
    await expect(collator.collatePrompts([{ messages: [message('assistant', 'no')], id: 'q' }])).rejects.toThrow(
      /sample q: there is no question/,
    );
  });
});
