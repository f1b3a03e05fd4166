import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packBatch } from '../../src/batch/packed-batch.js';
import { SharedPrefixes } from '../../src/batch/shared-prefixes.js';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { IndexedDataset } from '../../src/data/dataset.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { type MaskedSample, type MaskView, maskView } from '../../src/data/mask-view.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { RgbImage, SftExample, TrainingExample } from '../../src/data/types.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { message, TURNS_TEMPLATE } from './conversations.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const imageProcessor = new ImageProcessor({ patchSize: 2, spatialMergeSize: 2, longestEdge: 24 });
const turns = new ChatTemplate(TURNS_TEMPLATE);
const make = (options: Partial<VlmCollatorOptions> = {}) =>
  new VlmCollator({ tokenizer, chatTemplate: turns, imageProcessor, ...options });
const PLAIN = { imageEdge: 0 } as const;

/** Of one level everywhere, or of two: left and right. */
const image = (width: number, height: number, left: number, right = left): RgbImage => ({
  width,
  height,
  data: Uint8Array.from({ length: 3 * width * height }, (_, i) =>
    Math.floor(i / 3) % width < width / 2 ? left : right,
  ),
});

const asked = (text: string, answer: string, ...images: RgbImage[]): SftExample => ({
  messages: [
    message('user', [{ type: 'text', text }, ...images.map((one) => ({ type: 'image', image: one }) as const)]),
    message('assistant', answer),
  ],
});

const rowsOf = (view: MaskView, key: 'id' | 'label') =>
  view.samples.filter(({ status }) => status === 'learned').map(({ tokens }) => tokens.map((token) => token[key]));

const rows = ({ data, shape }: { data: ArrayLike<number>; shape: readonly number[] }): number[][] =>
  Array.from({ length: shape[0]! }, (_, b) => Array.from(data).slice(b * shape[1]!, (b + 1) * shape[1]!));

describe('maskView', () => {
  it.each<[string, Partial<VlmCollatorOptions>]>([
    ['as it is', {}],
    ['padded at the left', { paddingSide: 'left' }],
    ['with the prompt', { maskPrompt: false }],
    ['the last answer alone', { maskHistory: true }],
    ['without what is too long', { maxLength: 24, overlong: 'drop' }],
    ['cut', { maxLength: 26, overlong: 'truncateText' }],
  ])('has the tokens and labels of a batch, %s', async (_, options) => {
    const collator = make(options);
    const samples: SftExample[] = [
      asked('Is it broken?', 'yes', image(12, 8, 40)),
      {
        messages: [
          ...asked('Is it', 'no').messages,
          ...asked(' a fracture? 骨折', ' fracture', image(4, 4, 9)).messages,
        ],
      },
      asked('no', 'yes'),
    ];
    const view = await maskView(samples, collator, PLAIN);
    const batch = await collator.collate(samples);
    expect(rowsOf(view, 'id')).toEqual(rows(batch.inputIds));
    expect(rowsOf(view, 'label')).toEqual(rows(batch.labels!));
    expect(view.length).toBe(batch.inputIds.shape[1]);
    const isPadding = view.samples.flatMap(({ status, tokens }) =>
      status === 'learned' ? tokens.map(({ kind }) => (kind === 'padding' ? 0 : 1)) : [],
    );
    expect(isPadding).toEqual([...batch.attentionMask.data]);
    for (const { tokens, labels } of view.samples) {
      expect(tokens.map(({ position }) => position)).toEqual(tokens.map((_, i) => i));
      expect(tokens.filter(({ isLearned }) => isLearned).length).toBe(labels);
    }
  });

  it('does not count the label of the first token, which nothing predicts', async () => {
    const { samples } = await maskView({ text: 'no' }, make({ maskPrompt: false, paddingSide: 'left' }), PLAIN);
    const [first, ...others] = samples[0]!.tokens;
    expect(first).toMatchObject({ id: tokenizer.bosTokenId, label: tokenizer.bosTokenId, isLearned: false });
    expect(others.every(({ isLearned }) => isLearned)).toBe(true);
  });

  it('gives each cell of each image its place', async () => {
    const sample = asked('Is it', 'yes', image(12, 8, 0, 255), image(4, 8, 100));
    const view = await maskView(
      [sample, asked('a longer question than the other, with no image?', 'no')],
      make({ paddingSide: 'left' }),
      PLAIN,
    );
    const { tokens, images } = view.samples[0]!;
    const shown = tokens.flatMap(({ kind, cell }) => (cell ? [[kind, cell.image, cell.row, cell.column]] : []));
    const row = (of: number, at: number, columns: number, close: string) => [
      ...Array.from({ length: columns }, (_, column) => ['cell', of, at, column]),
      [close, of, at, columns],
    ];
    expect(shown).toEqual([
      ...row(0, 0, 3, 'break'),
      ...row(0, 1, 3, 'end'),
      ...row(1, 0, 1, 'break'),
      ...row(1, 1, 1, 'end'),
    ]);
    expect(images).toMatchObject([
      { width: 12, height: 8, rows: 2, columns: 3, cellSize: 4, position: tokens.findIndex(({ cell }) => cell) },
      { width: 4, height: 8, rows: 2, columns: 1, cellSize: 4, brightness: [100, 100] },
    ]);
    expect(images[0]!.brightness).toEqual([0, 128, 255, 0, 128, 255]);
    expect(images.map(({ uri }) => uri)).toEqual([undefined, undefined]);
  });

  it('has the resized image in it, and survives JSON', async () => {
    const view = await maskView(asked('Is', 'no', image(48, 32, 80)), make());
    expect(view.samples[0]!.images[0]).toMatchObject({ width: 24, height: 16, brightness: new Array(24).fill(80) });
    expect(view.samples[0]!.images[0]!.uri).toMatch(/^data:image\/webp;base64,[A-Za-z0-9+/=]+$/);
    expect(JSON.parse(JSON.stringify(view))).toEqual(view);
  });

  it('stretches the pixels of a processor that does not say how it normalised', async () => {
    const own = {
      patchSize: 2,
      spatialMergeSize: 2,
      process: async () => ({
        width: 8,
        height: 4,
        pixelValues: Float32Array.from({ length: 96 }, (_, i) => (i % 8 < 4 ? -3 : 7)),
      }),
    };
    const view = await maskView(asked('Is', 'no', image(8, 4, 1)), make({ imageProcessor: own }), PLAIN);
    expect(view.samples[0]!.images[0]!.brightness).toEqual([0, 255]);
  });

  it('says what becomes of samples that are not learned', async () => {
    const lazy = { path: 'x.png', onBadImage: 'skip' as const, decode: () => Promise.reject(new Error('never')) };
    const collator = make({ maxLength: 12, overlong: 'drop' });
    const samples = [
      asked('Is', 'no'),
      { id: 'masked', messages: [message('user', 'Is'), { ...message('assistant', 'no'), weight: 0 }] },
      { id: 'long', ...asked('Is it broken?', 'yes', image(12, 12, 1)) },
      { id: 'no file', ...asked('Is', 'no'), images: ['/nowhere/none.png'] },
      {
        id: 'no image',
        ...asked('Is', 'no'),
        images: [{ ...lazy, decode: () => new ImageProcessor().process('/nowhere') }],
      },
      { id: 'nothing' },
    ] as TrainingExample[];
    const view = await maskView(samples, collator, PLAIN);
    const of = (id: string): MaskedSample => view.samples.find((sample) => sample.id === id)!;
    expect(view.samples.map(({ status }) => status)).toEqual([
      'learned',
      'empty',
      'dropped',
      'failed',
      'skipped',
      'failed',
    ]);
    expect(of('masked')).toMatchObject({ labels: 0, reason: 'there is nothing to learn: every label is -100' });
    expect(of('masked').tokens.length).toBeGreaterThan(4);
    expect(of('long').reason).toBe(`${of('long').tokens.length} tokens; maxLength is 12`);
    expect(of('no file')).toMatchObject({ tokens: [], length: 0 });
    expect(of('no file').reason).toContain('/nowhere/none.png');
    // Rows are as long as the longest that is in the batch.
    expect(view.length).toBe(of('0 of the batch').length);
    expect(view.maxLength).toBe(12);
    expect('reason' in of('0 of the batch')).toBe(false);
  });

  it('shares no prefix with a sample that is not in the batch, and places images behind padding at the left alone', async () => {
    const long = asked('Is it broken? no fracture here at all', 'yes', image(8, 8, 3));
    const masked = { messages: [long.messages[0]!, { ...long.messages[1]!, weight: 0 as const }] };
    const longer = asked('Is it broken? no fracture here at all', 'yes no fracture', image(8, 8, 3));
    const view = await maskView([masked, long, longer], make(), PLAIN);
    expect(view.samples.map(({ sharedPrefix }) => sharedPrefix > 0)).toEqual([false, false, true]);
    expect('maxLength' in view).toBe(false);
    for (const paddingSide of ['left', 'right'] as const) {
      const { samples } = await maskView([long, longer], make({ paddingSide }), PLAIN);
      for (const { tokens, images } of samples) {
        expect(images[0]!.position).toBe(tokens.findIndex(({ kind }) => kind === 'cell'));
      }
    }
  });

  it('keeps the tokens of a sample that is too long to go on, and says how many', async () => {
    const { samples } = await maskView(asked('Is it broken?', 'yes'), make({ maxLength: 6 }), PLAIN);
    expect(samples[0]).toMatchObject({ status: 'failed', reason: '9 tokens, 0 of them for images; maxLength is 6' });
    expect(samples[0]!.tokens).toHaveLength(9);
  });

  it('tells what was cut off', async () => {
    const { samples } = await maskView(
      asked('Is it broken?', 'yes'),
      make({ maxLength: 7, overlong: 'truncateText' }),
      PLAIN,
    );
    expect(samples[0]).toMatchObject({ status: 'learned', length: 7, truncated: { length: 9, text: ' broken?' } });
  });

  it('shares prefixes as passes do', async () => {
    const text = fc.constantFrom('Is it broken? no fracture here at all', 'Is it broken? no fracture yes', 'no');
    const shown = fc.array(fc.constantFrom(image(12, 8, 1), image(12, 8, 1), image(12, 8, 2), image(8, 8, 1)), {
      maxLength: 3,
    });
    const collator = make();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(text, shown, fc.constantFrom('yes', 'no')), { minLength: 2, maxLength: 4 }),
        async (given) => {
          const samples = given.map(([question, images, answer]) => ({
            messages: [
              message('user', [
                ...images.map((one) => ({ type: 'image', image: one }) as const),
                { type: 'text', text: question },
              ]),
              message('assistant', answer),
            ],
          }));
          const view = await maskView(samples, collator, PLAIN);
          const packed = await Promise.all(
            samples.map(async (sample) =>
              packBatch(await collator.collate([sample]), {
                patchSize: 2,
                mergeSize: 2,
                imageTokenId: tokenizer.imageTokenId!,
                vocabSize: tokenizer.vocabSize,
              }),
            ),
          );
          const prefixes = new SharedPrefixes(packed);
          // What a pass of the first samples shares, less that of one sample fewer, is what the last one shares.
          const sums = samples.map((_, i) => prefixes.sizeIn(samples.slice(0, i + 1).map((_, k) => k)).tokens);
          expect(view.samples.map(({ sharedPrefix }) => sharedPrefix)).toEqual(
            sums.map((sum, i) => sum - (sums[i - 1] ?? 0)),
          );
          for (const { tokens, sharedPrefix } of view.samples) {
            expect(tokens.filter(({ isShared }) => isShared).length).toBe(sharedPrefix);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('takes samples of a data set by their indices', async () => {
    const dataset = IndexedDataset.from(Array.from({ length: 6 }, () => asked('Is', 'no')));
    expect((await maskView(dataset, make(), PLAIN)).samples.map(({ id }) => id)).toEqual(['0', '1', '2', '3']);
    const view = await maskView(dataset, make(), { ...PLAIN, indices: [5, 2] });
    expect(view.samples.map(({ id }) => id)).toEqual(['5', '2']);
    await expect(maskView(dataset, make(), { indices: [6] })).rejects.toThrow('no sample 6 in a data set of 6');
    const named = IndexedDataset.from([{ id: 'x', ...asked('Is', 'no') }, undefined as never]);
    expect((await maskView(named, make(), PLAIN)).samples.map(({ id, status }) => [id, status])).toEqual([
      ['x', 'learned'],
      ['1', 'failed'],
    ]);
    const { samples } = await maskView([undefined as never, { id: 'x', ...asked('Is', 'no') }], make(), PLAIN);
    expect(samples.map(({ id }) => id)).toEqual(['0 of the batch', 'x']);
    expect((await maskView({ id: 'x', ...asked('Is', 'no') }, make(), PLAIN)).samples[0]!.id).toBe('x');
    expect((await maskView(asked('Is', 'no'), make(), PLAIN)).samples[0]!.id).toBe('0 of the batch');
  });

  it('has the findings of the inspection with it', async () => {
    const { samples } = await maskView(asked('[INST] Is', 'no'), make(), PLAIN);
    expect(samples[0]!.inspection).toMatchObject({ spelledTokens: { '[INST]': 1 }, endTokens: [{ token: '</s>' }] });
    const open = new ChatTemplate(TUTORIAL_TEMPLATE.replace('{{ eos_token }}', ''));
    const view = await maskView(asked('Is', 'no'), make({ chatTemplate: open }), PLAIN);
    expect(view.samples[0]!.inspection!.openAnswers).toBe(1);
  });

  it('refuses what it cannot show, and stops when it is told to', async () => {
    const bad = async (...args: unknown[]) => (maskView as (...given: unknown[]) => Promise<unknown>)(...args);
    await expect(bad('Is it?', make())).rejects.toThrow(DataError);
    await expect(bad({ image: {}, label: 0 }, make())).rejects.toThrow(/dataset\.map\(toExample\)/);
    for (const other of [null, 5]) {
      await expect(bad(other, make())).rejects.toThrow(
        /^maskView: expected a sample, a list of samples or a data set, got (null|5)/,
      );
    }
    await expect(bad(Promise.resolve([]), make())).rejects.toMatchObject({ hint: 'Await it.' });
    await expect(bad([], {})).rejects.toThrow(ConfigError);
    await expect(bad([], {})).rejects.toThrow(/^maskView: `collator`.*maskView\(samples, collator\)/s);
    await expect(bad([], make(), { signal: 5 })).rejects.toThrow(/^maskView: .*signal/);
    await expect(bad([], make(), { edge: 3 })).rejects.toThrow(/^maskView: .*unknown option.*edge/is);
    await expect(bad([], make(), { indices: [0] })).rejects.toMatchObject({
      message: expect.stringContaining('`indices` choose samples of a data set'),
      hint: 'Leave them out, and give the samples that are to be shown.',
    });
    await expect(bad([], make(), { imageEdge: -1 })).rejects.toThrow(ConfigError);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(maskView(asked('Is', 'no'), make(), { signal })).rejects.toThrow('enough');
    const controller = new AbortController();
    const reason = new DataError('enough');
    const late = {
      path: 'x.png',
      decode: () => Promise.resolve(image(8, 8, 1)).finally(() => controller.abort(reason)),
    };
    const stopped = maskView([{ ...asked('Is', 'no'), images: [late] }], make(), { signal: controller.signal });
    await expect(stopped).rejects.toBe(reason);
    const faulty = make();
    faulty.inspect = () => {
      throw new TypeError('a fault');
    };
    await expect(maskView(asked('Is', 'no'), faulty, PLAIN)).rejects.toThrow(TypeError);
  });
});
