import { describe, expect, it } from 'vitest';
import { sumOfSizes } from '../../src/batch/packed-window.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { standInEngine, standInModel } from '../engine/cuda/stand-in.js';

describe('trainingFlops', () => {
  it('counts 4 a weight and row where a gradient flows, else 2', async () => {
    const { engine } = standInEngine(80 * 2 ** 30);
    const model = await standInModel(engine, '3B');
    const [tokens, patches, labels] = [300, 40, 2];
    const size = { tokens, patches, features: patches / 4, labels };
    // Weights of the linears of the 3B model (26 layers of 3072 and 9216; the tower's 24 of 1024 and 4096).
    const text = 26 * (2 * 3072 * 4096 + 2 * 3072 * 1024 + 3 * 3072 * 9216);
    const vision = 24 * (4 * 1024 ** 2 + 3 * 1024 * 4096);
    const projector = 4096 * 1024 + 1024 * 3072 + 3072 ** 2;
    const head = 131072 * 3072;
    const count = (v: number, p: number, t: number): number =>
      v * vision * patches + p * projector * (patches / 4) + t * text * tokens + 4 * head * labels;
    const both = applyLora(model, { r: 1, targetModules: [...LAYER_PROJECTIONS] });
    expect(model.trainingFlops(size)).toBe(count(4, 4, 4));
    expect(model.trainingFlops(sumOfSizes([size, size]))).toBe(2 * count(4, 4, 4));
    both.dispose();
    const decoder = applyLora(model, { r: 1, targetModules: ['q_proj'], towers: 'language' });
    expect(model.trainingFlops(size)).toBe(count(2, 2, 4));
    decoder.dispose();
    await engine.dispose();
  });
});
