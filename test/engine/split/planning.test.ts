/** Real sizes over cards that only keep the books: placement, budgets of each card, and the planner's estimates. */
import { describe, expect, it } from 'vitest';
import type { CudaEngineOptions } from '../../../src/engine/cuda/cuda-options.js';
import { cutStages } from '../../../src/engine/split/place-stages.js';
import { SplitEngine } from '../../../src/engine/split/split-engine.js';
import { OutOfMemoryError } from '../../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import type { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import type { PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import type { Size } from '../../bench/random-model.js';
import { standInAdapter, standInEngine, standInModel, textBatch } from '../cuda/stand-in.js';

const GIB = 2 ** 30;
const CARD = 80 * GIB;

function cards(budgets: readonly number[], options: CudaEngineOptions = {}) {
  const parts = budgets.map((memoryBudget) => standInEngine(CARD, { memoryBudget, ...options }));
  return { engine: new SplitEngine(parts.map(({ engine }) => engine)), memories: parts.map(({ memory }) => memory) };
}

/** How many layers of each tower lie on each card. */
function layersOn({ engine, modules }: VisionLanguageModel): number[][] {
  return engine.devices!.map((device) =>
    [modules.visionLayers, modules.textLayers].map(
      (layers) => layers.filter(({ down }) => device.holds(down.weight)).length,
    ),
  );
}

/** A window of a model over cards with these budgets in bytes. */
async function train(
  budgets: readonly number[],
  tokens: readonly number[],
  { size = '14B', memoryBudget, quantization }: { size?: Size; memoryBudget?: number; quantization?: string } = {},
) {
  const { engine, memories } = cards(budgets);
  try {
    const model = await standInModel(engine, size, quantization);
    const layers = layersOn(model);
    const adapter = standInAdapter(model, { r: 16, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
    engine.createOptimizerState(adapter.parameters, 'adamw8bit');
    let passes: readonly PassSummary[] = [];
    const held = engine.devices!.map((device) => device.memory());
    const free = Math.min(...held.map(({ limitBytes, bytesInUse }) => limitBytes - bytesInUse));
    engine.resetPeak();
    const loss = await accumulateGradients(model, tokens.map(textBatch), {
      labelCount: 40 * tokens.length,
      dropoutSeeds: tokens.map((_, i) => i),
      gradientCheckpointing: 'auto',
      memoryBudget,
      sharePrefix: false,
      onPlan: (planned) => {
        passes = planned;
      },
    });
    await loss();
    /** What a pass was planned to leave free on the fullest card, and did. */
    const planned = free - Math.max(...passes.map(({ bytes }) => bytes));
    const peaks = engine.devices!.map((device) => device.memory());
    const left = Math.min(...peaks.map(({ limitBytes, peakBytes }) => limitBytes - peakBytes));
    const taken = memories.map((memory) => CARD - memory.memoryInfo().free);
    const recomputed = Math.max(...passes.map(({ recomputedLayers }) => recomputedLayers.text));
    const { streamedBytes = 0 } = engine.storage;
    return { layers, planned, left, taken, passes: passes.length, recomputed, streamedBytes };
  } finally {
    await engine.dispose();
  }
}

const USUAL = [900, 950, 1000, 1050, 1100];

describe('a model over cards of so many GiB', () => {
  it.each<[Size, number[], string]>([
    ['14B', [20, 20], '24+19, 0+21'],
    ['14B', [16, 24], '24+14, 0+26'],
    ['14B', [12, 12, 12], '24+11, 0+15, 0+14'],
    // Its embedding is the head, too.
    ['3B', [7, 7], '24+9, 0+17'],
  ])(
    '%s over %j lies on them in proportion, and passes are planned for the fullest',
    async (size, gibibytes, expected) => {
      const budgets = gibibytes.map((each) => each * GIB);
      const { layers, planned, left, taken, recomputed, streamedBytes } = await train(budgets, USUAL, { size });
      expect(layers.map((towers) => towers.join('+')).join(', ')).toBe(expected);
      expect([streamedBytes, recomputed]).toEqual([0, 0]);
      for (const [i, bytes] of taken.entries()) expect(bytes).toBeLessThanOrEqual(budgets[i]!);
      // Never less than planned, nor much more.
      expect(left).toBeGreaterThanOrEqual(planned);
      expect(left - planned).toBeLessThan(0.4 * GIB);
    },
  );

  it('lays 4-bit weights by what they take', async () => {
    const { layers, taken, planned, left, streamedBytes } = await train([9 * GIB, 9 * GIB], USUAL, {
      quantization: 'nf4',
    });
    // The tower beside the first layers stays in 16 bits.
    expect(layers.map((towers) => towers.join('+')).join(', ')).toBe('24+16, 0+24');
    expect(streamedBytes).toBe(0);
    for (const bytes of taken) expect(bytes).toBeLessThanOrEqual(9 * GIB);
    expect(left).toBeGreaterThanOrEqual(planned);
  });

  it('recomputes layers, then streams them, where one card is too small', async () => {
    const tight = await train([20 * GIB, 20 * GIB], USUAL, { memoryBudget: 16 * GIB });
    expect(tight.recomputed).toBeGreaterThan(0);
    expect(tight.left - 4 * GIB).toBeGreaterThan(0);
    const small = await train([8 * GIB, 8 * GIB], USUAL.slice(3), { size: '8B' });
    expect(small.streamedBytes).toBeGreaterThan(0);
    expect(Math.max(...small.taken)).toBeLessThanOrEqual(8 * GIB);
  });

  it('says which card the weights do not fit', async () => {
    const error = await train([2 * GIB, 2 * GIB], USUAL).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect((error as OutOfMemoryError).message).toMatch(/^device \d: the weights do not fit: /);
  });
});

describe('stages', () => {
  const cut = (sizes: readonly number[], rooms: readonly number[]): number[] =>
    cutStages(sizes.length, rooms, (from, to) => sizes.slice(from, to).reduce((sum, size) => sum + size, 0));

  it.each([
    [
      [1, 1, 1, 1],
      [4, 4],
      [2, 4],
    ],
    [
      [1, 1, 1, 1],
      [1, 3],
      [1, 4],
    ],
    [
      [5, 1, 1, 1],
      [4, 4],
      [1, 4],
    ],
    [
      [1, 1, 5],
      [4, 4],
      [2, 3],
    ],
    [
      [2, 2],
      [1, 1, 1],
      [1, 2, 2],
    ],
    [
      [1, 1],
      [0, 4],
      [0, 2],
    ],
    [[], [4, 4], [0, 0]],
  ])('of %j go to devices with %j in the order of the model', (sizes, rooms, ends) => {
    expect(cut(sizes, rooms)).toEqual(ends);
  });
});
