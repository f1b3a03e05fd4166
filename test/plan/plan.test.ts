import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { decodeImage } from '../../src/data/decode-image.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { ImageInput, TrainingExample } from '../../src/data/types.js';
import { VlmCollator, type VlmCollatorOptions } from '../../src/data/vlm-collator.js';
import { ConfigError, ImageError } from '../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { displayWidth } from '../../src/messages/display-width.js';
import { cardNamed } from '../../src/plan/cards.js';
import { formatTrainingPlan } from '../../src/plan/format-training-plan.js';
import { plan, type TrainingPlanOptions } from '../../src/plan/plan.js';
import type { TrainingPlan } from '../../src/plan/training-plan.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { TINY_CONFIG, tinyTokenizerJson } from '../data/tiny-tokenizer.js';
import { standInAdapter, standInEngine, standInModel } from '../engine/cuda/stand-in.js';

const GIB = 2 ** 30;
const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const imageProcessor = new ImageProcessor({ longestEdge: 280 });
const make = (options: Partial<VlmCollatorOptions> = {}) =>
  new VlmCollator({ tokenizer, chatTemplate: new ChatTemplate(TUTORIAL_TEMPLATE), imageProcessor, ...options });

function jpeg(width: number, height: number): Promise<Buffer> {
  const noise = { type: 'gaussian', mean: 128, sigma: 30 } as const;
  return sharp({ create: { width, height, channels: 3, background: '#808080', noise } })
    .jpeg()
    .toBuffer();
}

const PROMPT = 'Is it broken? Answer with yes or with no, and nothing else.';

function sample(id: string, image: ImageInput | undefined, answer = 'yes'): TrainingExample {
  return {
    id,
    messages: [
      {
        role: 'user',
        content: [{ type: 'text', text: PROMPT }, ...(image ? [{ type: 'image', image } as const] : [])],
      },
      { role: 'assistant', content: [{ type: 'text', text: answer }] },
    ],
  };
}

const LORA = { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] };
const RUN = {
  perDeviceTrainBatchSize: 2,
  gradientAccumulationSteps: 2,
  numTrainEpochs: 1,
  optim: 'adamw_8bit',
} as const;
const told = (
  options: Partial<TrainingPlanOptions> & Pick<TrainingPlanOptions, 'trainDataset'>,
): Promise<TrainingPlan> =>
  plan({ model: '3B', collator: make(), config: RUN, lora: LORA, cards: ['h200'], formats: ['bf16'], ...options });

describe('plan', () => {
  it('counts the tokens that the collator makes, without decoding an image', async () => {
    const sizes = [
      [40, 300],
      [300, 40],
      [29, 28],
      [1000, 700],
    ] as const;
    const whole = await Promise.all(sizes.map(([width, height]) => jpeg(width, height)));
    // Decoding fails.
    const cut = whole.map((bytes) => bytes.subarray(0, 0.8 * bytes.length));
    await expect(decodeImage(cut[3]!)).rejects.toThrow('does not decode');
    const others: TrainingExample[] = [
      { id: 'pair', prompt: 'Is it broken?', completion: ' no' },
      { id: 'text', text: 'no fracture' },
    ];
    const samples = [...cut.map((bytes, i) => sample(`${i}.jpg`, bytes, i === 3 ? 'no' : 'yes')), ...others];
    const { data } = await told({ trainDataset: samples });
    const real = [...whole.map((bytes, i) => sample(`${i}.jpg`, bytes, i === 3 ? 'no' : 'yes')), ...others];
    expect(data.perSample.map(({ index, id }) => [index, id])).toEqual(real.map(({ id }, i) => [i, id]));
    for (const [i, example] of real.entries()) {
      const batch = await make().collate([example]);
      const [planned, ids] = [data.perSample[i]!, [...batch.inputIds.data]];
      expect(planned.tokens).toBe(ids.length);
      expect(planned.imageTokens).toBe(ids.filter((id) => [10, 12, 13].includes(id)).length);
      expect(planned.labels).toBe(countLabels(batch));
      const [height, width] = batch.imageSizes?.data ?? [0, 0];
      expect(planned.patches).toBe((height! * width!) / 14 ** 2);
    }
    // BOS, [INST] and the question; the last two samples share no 16 tokens.
    const question = [...(await make().collate([real[0]!])).inputIds.data].indexOf(10);
    expect(data.perSample.map(({ prefixTokens }) => prefixTokens)).toEqual([...sizes.map(() => question), 0, 0]);
    expect([data.images, data.tokens]).toEqual([4, data.perSample.reduce((sum, { tokens }) => sum + tokens, 0)]);
  });

  it('names samples that are too long, cannot be learned or cannot be read, and whether the run goes on', async () => {
    const good = await jpeg(56, 56);
    const bad = Buffer.from('no image');
    const skipped = {
      onBadImage: 'skip',
      decode: async () => {
        throw new ImageError('gone');
      },
    } as unknown as ImageInput;
    const long = sample('long', good, 'no '.repeat(60));
    const samples = [sample('good', good), long, sample('bad', bad), sample('mute', good, ''), sample('skip', skipped)];
    const { data } = await told({ trainDataset: samples, collator: make({ maxLength: 150, overlong: 'drop' }) });
    expect(data.perSample.map(({ id }) => id)).toEqual(['good']);
    expect(data.overlong).toMatchObject([{ index: 1, id: 'long', isLeftOut: true, tokens: expect.any(Number) }]);
    expect(data.overlong[0]!.tokens).toBe((await make().collate([long])).inputIds.data.length);
    expect(data.unreadable.map(({ id, isLeftOut }) => [id, isLeftOut])).toEqual([
      ['bad', false],
      ['skip', true],
    ]);
    // A row of JSON may have a number for its name.
    const numbered = { ...long, id: 7 as unknown as string };
    const stopping = await told({ trainDataset: [samples[0]!, numbered], collator: make({ maxLength: 150 }) });
    expect(stopping.data.overlong).toMatchObject([{ id: '7', isLeftOut: false }]);
    const text = formatTrainingPlan(stopping);
    expect(text).toContain('1 sample too long: the run would stop there');
  });

  it('lists a sample without an answer as one that teaches nothing', async () => {
    const masked: TrainingExample = {
      id: 'masked',
      messages: [
        { role: 'user', content: PROMPT },
        { role: 'assistant', content: 'yes', weight: 0 },
      ],
    };
    const { data } = await told({ trainDataset: [sample('a', undefined), masked] });
    expect(data.unlearnable).toMatchObject([{ index: 1, id: 'masked', isLeftOut: false }]);
  });

  it('adds up its memory, and takes less the more is recomputed', async () => {
    const image = await jpeg(280, 280);
    const plan = await told({
      trainDataset: Array.from({ length: 10 }, (_, i) => sample(String(i), image)),
      cards: ['h200', '3060'],
      formats: ['bf16', 'nf4'],
      cuda: { memoryBudget: 8 * GIB },
    });
    expect([plan.steps, plan.effectiveBatchSize]).toEqual([3, 4]);
    expect(plan.trainableParameters).toBeGreaterThan(3e7);
    expect(plan.parameters / 1e9).toBeCloseTo(3.85, 1);
    expect(plan.sharedTokenShare).toBeGreaterThan(0.1);
    for (const { run, budgetBytes } of plan.cards) {
      expect(budgetBytes).toBe(8 * GIB);
      const { totalBytes, ...parts } = run!.memory;
      const sum = Object.values(parts).reduce((total, bytes) => total + bytes, 0);
      expect(Math.abs(sum - totalBytes)).toBeLessThan(8);
      expect(totalBytes).toBeLessThan(8 * GIB);
    }
    expect(plan.cards.map(({ card, format, run }) => [card, format, run!.basis, run!.streamedBytes > 0])).toEqual([
      ['H200 SXM 141GB', 'bf16', 'measured', true],
      ['H200 SXM 141GB', 'nf4', 'measured', false],
      ['RTX 3060 12GB', 'bf16', 'estimated', true],
      ['RTX 3060 12GB', 'nf4', 'estimated', false],
    ]);
    const [bf16] = plan.formats;
    const bytes = bf16!.recomputation.map(({ totalBytes }) => totalBytes);
    expect(Math.min(...bytes.slice(0, 3))).toBeGreaterThan(bytes[3]!);
    expect(bf16!.recomputation.map(({ relativeTime }) => relativeTime! >= 1)).toEqual(bytes.map(() => true));
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it('says why a card does not take the run', async () => {
    const { cards, notes } = await told({
      trainDataset: [sample('a', undefined)],
      cards: ['a100 pcie', 'h100'],
      config: { ...RUN, precision: 'fp8' },
    });
    expect(cards[0]!.misfit).toContain('`precision` is "fp8"');
    expect(cards[1]!.run!.passes).toBe(1);
    expect(notes.join('\n')).toContain('scaled by data sheets');
    const tight = await told({ trainDataset: [sample('a', undefined)], cuda: { memoryBudget: GIB } });
    expect(tight.cards[0]!.misfit).toMatch(/do not fit|out of memory/);
    expect(formatTrainingPlan(tight)).toContain('does not run');
  });

  it('has no run to tell of where no sample is left', async () => {
    for (const trainDataset of [[], [sample('mute', undefined, '')]]) {
      const plan = await told({ trainDataset });
      expect(plan.cards[0]!.misfit).toBe('no sample is left to train on');
      expect(formatTrainingPlan(plan)).toContain(`0 of ${trainDataset.length} samples`);
    }
  });

  it('plans the passes and the memory that the trainer then takes', async () => {
    const text = (length: number): TrainingExample => ({ id: String(length), text: 'yesno'.repeat(length) });
    const samples = [700, 500, 620, 800].map(text);
    const memoryBudget = 8.5 * GIB;
    const planned = await told({ trainDataset: samples, cuda: { memoryBudget } });
    const { memory, passes, recomputedLayers } = planned.cards[0]!.run!;
    const { engine, memory: card } = standInEngine(139 * GIB, { memoryBudget: memoryBudget - 672 * 2 ** 20 });
    const model = await standInModel(engine, '3B');
    const adapter = standInAdapter(model, LORA);
    engine.createOptimizerState(adapter.parameters, 'adamw8bit');
    const held = engine.memory().bytesInUse;
    const batches = await Promise.all([samples.slice(0, 2), samples.slice(2)].map((pair) => make().collate(pair)));
    let taken: { passes: number; bytes: number; text: number } | undefined;
    const loss = await accumulateGradients(model, batches, {
      labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: [0, 1],
      gradientCheckpointing: 'auto',
      onPlan: (list) => {
        const bytes = Math.max(...list.map((pass) => pass.bytes));
        taken = { passes: list.length, bytes, text: Math.max(...list.map((pass) => pass.recomputedLayers.text)) };
      },
    });
    await loss();
    const devices = 139 * GIB - card.memoryInfo().free;
    await engine.dispose();
    expect([passes, recomputedLayers.text]).toEqual([taken!.passes, taken!.text]);
    // Which samples are in which window follows from the seed: sizes of passes differ a little.
    expect(Math.abs((memory.totalBytes - memory.contextBytes) / (held + taken!.bytes) - 1)).toBeLessThan(0.02);
    expect(Math.abs((memory.totalBytes - memory.contextBytes) / devices - 1)).toBeLessThan(0.05);
  });

  it('refuses what it cannot count with', async () => {
    const wrong = (options: object) => plan({ trainDataset: [], model: '3B', ...options } as TrainingPlanOptions);
    await expect(wrong({ dataset: [] })).rejects.toThrow(/unknown option `dataset`; did you mean `trainDataset`/);
    await expect(wrong({ collator: { collate: () => {} } })).rejects.toThrow(/expected a VlmCollator/);
    await expect(wrong({ collator: make(), cards: ['h300'] })).rejects.toThrow(/"h300" is not in the table/);
    await expect(wrong({ collator: make(), cards: ['a100'] })).rejects.toThrow(
      /may be A100 PCIe 40GB or A100 SXM 80GB/,
    );
    await expect(wrong({ collator: make(), trainDataset: 'nowhere/at/all' })).rejects.toThrow(/kaggle:OWNER\/NAME/);
    await expect(wrong({ collator: make(), trainDataset: 3 })).rejects.toThrow(ConfigError);
    await expect(wrong({ collator: make(), config: { batchSize: 2 } })).rejects.toThrow(/unknown option/);
    await expect(wrong({ model: '14C', collator: make() })).rejects.toThrow(
      /neither a size nor a folder; did you mean "14B"/,
    );
    await expect(wrong({ model: '/nowhere', collator: make() })).rejects.toThrow(/nowhere/);
    // What would be left unread is refused: its plan would be of another run.
    await expect(wrong({ collator: make(), cuda: { tokenPerPass: 1 } })).rejects.toThrow(/tokensPerPass/);
    await expect(wrong({ collator: make(), cuda: { memoryBudget: Number.NaN } })).rejects.toThrow(/memoryBudget/);
    for (const option of [{ maxLength: 9 }, { chatTemplate: 'tutorial' }, { processor: '/nowhere' }]) {
      await expect(wrong({ collator: make(), ...option })).rejects.toThrow(/has no effect beside `collator`/);
    }
    await expect(wrong({ collator: make(), prompt: 'Well?' })).rejects.toThrow(/`prompt` has no effect/);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(wrong({ collator: make(), trainDataset: [sample('a', undefined)], signal })).rejects.toThrow('enough');
  });
});

describe('cardNamed', () => {
  it('takes whole words, in the spelling of nvidia-smi too', () => {
    const known = {
      'rtx-4090': 'RTX 4090 24GB',
      'NVIDIA GeForce RTX 5090': 'RTX 5090 32GB',
      'NVIDIA A100-SXM4-80GB': 'A100 SXM 80GB',
      'NVIDIA H100 80GB HBM3': 'H100 SXM 80GB',
      b200: 'B200 SXM 180GB',
      l4: 'L4 24GB',
    };
    expect(Object.keys(known).map((name) => cardNamed(name, 'plan').name)).toEqual(Object.values(known));
    // Cards of their own, whose names begin like those of others.
    for (const name of ['h20', 'l40', 'gb200', '3090 Ti', 'H100 PCIe', '', '3'])
      expect(() => cardNamed(name, 'plan')).toThrow('is not in the table');
  });

  it('plans a card but once, by the budget of the run, and says what it leaves out', async () => {
    const { cards, notes } = await told({
      trainDataset: [sample('a', undefined)],
      cards: ['h200', 'H200 SXM', '5090'],
      config: { ...RUN, memoryBudget: 9 * GIB, onNonFiniteLoss: 'skip' },
    });
    expect(cards.map(({ card, run, budgetBytes }) => [card, run !== undefined, budgetBytes])).toEqual([
      ['H200 SXM 141GB', true, 9 * GIB],
      ['RTX 5090 32GB', true, 9 * GIB],
    ]);
    expect(notes.join('\n')).toContain('its steps do not overlap');
    expect(notes.join('\n')).toContain('compile for RTX 5090 32GB, but have not run there');
  });
});

describe('formatTrainingPlan', () => {
  it('keeps to 80 columns and shows what names hide', async () => {
    const hostile = '\u001b[31mred\nline';
    const plan = await told({
      trainDataset: [sample(hostile, undefined), sample('b', undefined)],
      cards: ['h200', 'l4'],
    });
    const lines = formatTrainingPlan(plan).split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.join('\n')).not.toContain('\u001b');
    expect(lines.some((line) => line.startsWith('L4 24GB         bf16'))).toBe(true);
    const reason = 'a reason of some length '.repeat(8);
    const unreadable = [{ index: 0, id: '骨折'.repeat(9), reason, isLeftOut: false }];
    const wide = { ...plan, data: { ...plan.data, unreadable }, notes: ['骨折 '.repeat(40), '骨折'.repeat(60)] };
    expect(
      formatTrainingPlan(wide)
        .split('\n')
        .filter((line) => displayWidth(line) > 80),
    ).toEqual([]);
  });
});
