/** Plans for the `webgpu` engine: by its own books, and beside what it took on a card. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { TrainingExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { createWebgpuEngine } from '../../src/engine/webgpu/create-webgpu.js';
import { ConfigError } from '../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { displayWidth } from '../../src/messages/display-width.js';
import { formatTrainingPlan } from '../../src/plan/format-training-plan.js';
import { plan, type TrainingPlanOptions } from '../../src/plan/plan.js';
import type { TrainingPlan, WeightFormat } from '../../src/plan/training-plan.js';
import { configJson, randomModel } from '../bench/random-model.js';
import { TINY_CONFIG, tinyTokenizerJson } from '../data/tiny-tokenizer.js';
import { standInAdapter } from '../engine/cuda/stand-in.js';
import { FakeDevice } from '../engine/webgpu/fake-device.js';

const GIB = 2 ** 30;
const collator = new VlmCollator({
  tokenizer: new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG),
  chatTemplate: new ChatTemplate(TUTORIAL_TEMPLATE),
  imageProcessor: new ImageProcessor({ longestEdge: 616 }),
});
const LORA = { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] };
const RUN = {
  perDeviceTrainBatchSize: 2,
  gradientAccumulationSteps: 4,
  optim: 'adamw_8bit',
  autoMicroBatch: true,
} as const;
let trainDataset: TrainingExample[] = [];
let folder = '';

const told = (options: Partial<TrainingPlanOptions>): Promise<TrainingPlan> =>
  plan({ trainDataset, model: '3B', collator, config: RUN, lora: LORA, ...options });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-plan-'));
  const blank = { channels: 3, background: '#808080' } as const;
  const jpeg = (width: number, height: number) =>
    sharp({ create: { width, height, ...blank } })
      .jpeg()
      .toBuffer();
  const images = await Promise.all([jpeg(616, 616), jpeg(560, 616), jpeg(616, 448), jpeg(532, 588)]);
  trainDataset = Array.from({ length: 16 }, (_, i): TrainingExample => {
    const image = { type: 'image', image: images[i % images.length]! } as const;
    const user = { role: 'user', content: [{ type: 'text', text: 'Is it broken?' }, image] } as const;
    return { id: String(i), messages: [user, { role: 'assistant', content: [{ type: 'text', text: 'yes' }] }] };
  });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('plan for webgpu', () => {
  it('tells the memory that nvidia-smi showed on an H200, docs/performance-webgpu.md', async () => {
    for (const [format, budget, mib] of [
      ['bf16', 13.2, 12_620],
      ['nf4', 7.3, 6_727],
    ] as const) {
      const { cards } = await told({ webgpu: { memoryBudget: budget * GIB }, formats: [format] });
      const { totalBytes } = cards[0]!.run!.memory;
      expect(Math.abs(totalBytes / 2 ** 20 / mib - 1), `${format}: ${totalBytes / GIB}`).toBeLessThan(0.04);
      expect(totalBytes).toBeLessThan(budget * GIB);
    }
  });

  it('holds what the engine holds, and says nothing of times', async () => {
    const formats: WeightFormat[] = ['bf16', 'nf4'];
    // One layer of each tower: whole weights are read and sent here.
    const fewer = { text: 1, vision: 1 };
    await writeFile(join(folder, 'config.json'), JSON.stringify(configJson('3B', fewer)));
    const { cards, engine } = await told({ model: folder, machines: ['mac16'], formats });
    expect(engine).toBe('webgpu');
    const device = new FakeDevice({ bindingBytes: 2 ** 31, keepsBytes: false });
    const real = await createWebgpuEngine({ device, memoryBudget: 4 * GIB });
    const model = await randomModel(real, '3B', fewer);
    const weights = real.memory().bytesInUse;
    const adapter = standInAdapter(model, LORA);
    real.createOptimizerState(adapter.parameters, 'adamw8bit');
    const { memory, samplesPerSecond, seconds, basis } = cards[0]!.run!;
    // A weight in parts of a binding each ends at a vector of its own.
    expect(Math.abs(memory.weightBytes - weights)).toBeLessThan(1e5);
    expect(memory.adapterBytes + memory.optimizerBytes).toBe(real.memory().bytesInUse - weights);
    expect([samplesPerSecond, seconds, basis]).toEqual([undefined, undefined, undefined]);
    const { totalBytes, ...parts } = memory;
    expect(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)).toBeCloseTo(totalBytes, -1);
    // The adapter is made once, and counts the same with each format.
    expect(cards[1]!.run!.memory).toMatchObject({
      adapterBytes: memory.adapterBytes,
      optimizerBytes: memory.optimizerBytes,
    });
    await real.dispose();
  });

  it('takes the budgets of machines, and says what does not fit', async () => {
    const plan = await told({ machines: ['mac16', 'Mac 16GB', 'card-8gb', 'integrated32'], formats: ['bf16', 'nf4'] });
    const [mac, , card, , integrated] = plan.cards;
    expect(plan.cards.map(({ card, format }) => `${card} ${format}`)).toEqual(
      ['Mac 16GB', 'card 8GB', 'integrated 32GB'].flatMap((name) => [`${name} bf16`, `${name} nf4`]),
    );
    expect([mac, card, integrated].map((one) => one!.budgetBytes! / GIB)).toEqual([32 / 3, 0.92 * 8, 16]);
    expect(card!.misfit).toMatch(/weights take 7.17 GiB/);
    for (const { run, budgetBytes } of plan.cards) if (run) expect(run.memory.totalBytes).toBeLessThan(budgetBytes!);
    const text = formatTrainingPlan(plan);
    expect(text).toContain('no time is told');
    expect(text).not.toMatch(/samples\/s|% time/);
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it('takes a budget for each machine, that of the run too', async () => {
    const formats: WeightFormat[] = ['nf4'];
    const { cards } = await told({ machines: ['mac16', 'mac64'], webgpu: { memoryBudget: 20 * GIB }, formats });
    expect(cards[0]!.misfit).toMatch(/more than it has/);
    expect(cards[1]).toMatchObject({ cardBytes: 64 * GIB, budgetBytes: 20 * GIB });
    const less = await told({ machines: ['mac16'], formats, config: { ...RUN, memoryBudget: 8 * GIB } });
    expect(less.cards[0]!.run!.memory.totalBytes).toBeLessThan(8 * GIB);
    const [alone] = (await told({ webgpu: { memoryBudget: 10 * GIB }, formats })).cards;
    expect(alone).toMatchObject({ card: '10 GiB', cardBytes: 10 * GIB });
    const small = await told({ webgpu: { memoryBudget: 10 * GIB, tokensPerPass: 512 }, formats });
    expect(small.cards[0]!.run!.passes).toBeGreaterThan(alone!.run!.passes);
  });

  it('has room for the packed operands of products on subgroup matrices, unless they are off', async () => {
    const formats: WeightFormat[] = ['nf4'];
    const memoryBudget = 20 * GIB;
    const on = await told({ webgpu: { memoryBudget, tokensPerPass: 512 }, formats });
    const off = await told({ webgpu: { memoryBudget, tokensPerPass: 512, subgroupMatrices: false }, formats });
    const [packed, plain] = [on.cards[0]!.run!.memory, off.cards[0]!.run!.memory];
    expect(packed.workspaceBytes - plain.workspaceBytes).toBe(128 << 20);
    expect(packed.totalBytes - plain.totalBytes).toBe(128 << 20);
  });

  it('refuses what has no effect, and names that it does not know', async () => {
    for (const [options, message] of [
      [{ machines: ['mac16'], cards: ['h100'] }, /`cards` has no effect with the webgpu engine/],
      [{ engine: 'webgpu', gpus: 2 }, /`gpus` has no effect with the webgpu engine/],
      [{ engine: 'cuda', machines: ['mac16'] }, /`machines` has no effect with the cuda engine/],
      [{ engine: 'metal' as 'cuda' }, /expected "cuda" or "webgpu"/],
      [{ machines: ['m3 max'] }, /`machines`: expected a kind and its gigabytes, got "m3 max"/],
      [{ machines: ['mac0'] }, /got "mac0"/],
      [{ webgpu: { memoryBudget: 10 } }, /number of bytes/],
      [{ machines: ['mac64'], config: { ...RUN, precision: 'fp8' } }, /the webgpu engine does not support/],
    ] as const) {
      const failure = await told(options as Partial<TrainingPlanOptions>).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ConfigError);
      expect((failure as Error).message).toMatch(message);
    }
  });
});
