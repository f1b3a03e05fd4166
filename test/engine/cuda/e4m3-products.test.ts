import { describe, expect, it } from 'vitest';
import type { E4m3Scales } from '../../../src/engine/cuda/cublas-lt.js';
import { e4m3ScalesOf } from '../../../src/engine/cuda/e4m3-products.js';
import type { LoraPart, Precision } from '../../../src/engine/operations.js';
import { EngineError } from '../../../src/errors.js';
import { LAYER_PROJECTIONS } from '../../../src/lora/lora-config.js';
import type { PassSummary } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { Laboratory } from '../conformance/laboratory.js';
import { recordingEngine } from '../recording-engine.js';
import { standInAdapter, standInEngine, standInModel } from './stand-in.js';

const GIB = 2 ** 30;
/** Values of the decoder's linear layers of the 3B model. */
const DECODER = 26 * (3072 * (2 * 4096 + 2 * 1024) + 3 * 3072 * 9216);

/** Bytes in use beside the model's after each precision in turn. */
async function bytesOf(gib: number, precisions: readonly Precision[]) {
  const { engine } = standInEngine(gib * GIB);
  const model = await standInModel(engine, '3B');
  const { bytesInUse, limitBytes } = engine.memory();
  const scratch = engine.storage.scratchBytes;
  const steps = precisions.map((precision) => {
    model.preparePrecision(precision);
    return {
      copies: (engine.memory().bytesInUse - bytesInUse) / DECODER,
      scratch: engine.storage.scratchBytes - scratch,
    };
  });
  await engine.dispose();
  return { steps, share: (limitBytes - bytesInUse) / 3 / DECODER };
}

describe('e4m3 copies of weights', () => {
  it('are codes and their transposed bytes, or these alone; bf16 frees them', async () => {
    const { steps } = await bytesOf(80, ['fp8-backward', 'fp8', 'bf16']);
    expect(steps.map(({ copies }) => Number(copies.toFixed(2)))).toEqual([1, 2, 0]);
    expect(steps.map(({ scratch }) => scratch)).toEqual([0, 0, 0]);
  });

  it('take a third of the free memory at most, those of forward first; the largest of the others is planned for', async () => {
    const { steps, share } = await bytesOf(20, ['fp8']);
    expect(share).toBeGreaterThan(1);
    expect(share).toBeLessThan(2);
    expect(steps[0]!.copies).toBeGreaterThan(share - 0.05);
    expect(steps[0]!.copies).toBeLessThanOrEqual(share);
    const largest = 2 * 9216 * 3072;
    expect(steps[0]!.scratch).toBeGreaterThanOrEqual(largest);
    expect(steps[0]!.scratch).toBeLessThan(1.01 * largest);
  });

  it.each<[Precision, number]>([
    ['fp8', 80],
    ['fp8', 14],
    ['fp8-backward', 14],
  ])('are part of what is planned for (%s on %i GiB)', async (precision, gib) => {
    const { engine } = standInEngine(gib * GIB, { tokensPerPass: 8192 });
    const model = await standInModel(engine, '3B');
    standInAdapter(model, { r: 16, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
    const batch = {
      inputIds: { data: new Int32Array(3000).fill(1000), shape: [1, 3000] },
      attentionMask: { data: new Int32Array(3000).fill(1), shape: [1, 3000] },
      labels: { data: new Int32Array(3000).fill(7), shape: [1, 3000] },
    };
    const ratios: number[] = [];
    for (let step = 0; step < 2; step++) {
      let passes: readonly PassSummary[] = [];
      engine.resetPeak();
      const held = engine.memory().bytesInUse;
      const loss = await accumulateGradients(model, [batch], {
        ...{ labelCount: 2999, dropoutSeeds: [1], gradientCheckpointing: 'auto', precision },
        onPlan: (planned) => {
          passes = planned;
        },
        onWarning: (message) => expect.fail(message),
      });
      await loss();
      ratios.push(Math.max(...passes.map(({ bytes }) => bytes)) / (engine.memory().peakBytes - held));
    }
    await engine.dispose();
    expect(ratios[1]).toBeGreaterThanOrEqual(1);
    expect(ratios[1]).toBeLessThan(1.12);
  });
});

describe('precision', () => {
  it('has a scale a row on Hopper with cuBLAS 12.9, one for an operand elsewhere, and nothing before Ada', () => {
    const found = [
      ...[e4m3ScalesOf(80, 130100), e4m3ScalesOf(86, 130100), e4m3ScalesOf(89, 130100), e4m3ScalesOf(90, 120800)],
      ...[e4m3ScalesOf(90, 120900), e4m3ScalesOf(100, 130100), e4m3ScalesOf(120, 130100)],
    ];
    expect(found).toEqual([undefined, undefined, 'tensor', 'tensor', 'rows', 'tensor', 'tensor']);
  });

  it('is refused on cards without e4m3 products, saying which have them', async () => {
    const { device } = recordingEngine().driver;
    const { engine } = recordingEngine({}, { device: { ...device, capability: 86 } });
    expect(engine.precisions).toEqual([]);
    const lab = new Laboratory(engine, 1);
    const { weight } = await lab.weight('weight', [32, 32], 'bf16');
    const refusal = /'fp8' needs compute capability 8\.9 or more, this card has 8\.6/;
    expect(() => engine.preparePrecision([weight], 'fp8')).toThrow(refusal);
    const x = engine.zeros([4, 32]);
    const { linear } = engine.operations;
    const parts = [{ weight, precision: 'fp8' as const }];
    expect(() => linear.forward([x], { parts }, false)).toThrow(EngineError);
    expect(() => linear.forward([x], { parts }, false)).toThrow(refusal);
  });

  it('says what a linear layer launches', async () => {
    const { engine, launches } = recordingEngine();
    const lab = new Laboratory(engine, 1, false);
    const { weight } = await lab.weight('weight', [48, 32], 'bf16');
    const x = engine.zeros([20, 32]);
    const run = (precision: Precision): string[] => {
      launches.length = 0;
      const { outputs } = engine.operations.linear.forward([x], { parts: [{ weight, precision }] }, true);
      const dy = engine.zeros([20, 48]);
      engine.operations.linear.backward([], [dy], { parts: [{ weight, precision }] }, [true]);
      for (const tensor of [...outputs, dy]) engine.release(tensor);
      return launches.map(({ name }) => name);
    };
    expect(run('bf16')).toEqual(['product', 'product']);
    const back = ['quantize_e4m3_2', 'transpose_bytes', 'tensor_amax', 'quantize_e4m3_2', 'product'];
    expect(run('fp8-backward')).toEqual(['product', ...back]);
    const forward = ['tensor_amax', 'quantize_e4m3_2', 'quantize_e4m3_2', 'product', 'scale_columns'];
    expect(run('fp8')).toEqual([...forward, ...back]);
    engine.preparePrecision([weight], 'fp8');
    const kept = ['tensor_amax', 'quantize_e4m3_2', 'product'];
    expect(run('fp8')).toEqual([...kept, 'scale_columns', ...kept]);
  });

  it.each<[number, E4m3Scales, string[], string[]]>([
    [8, 'rows', ['low_rank_up_16', 'quantize_e4m3_2'], ['quantize_adapted_16']],
    [24, 'rows', ['low_rank_up_32', 'quantize_e4m3_2'], ['quantize_adapted_32']],
    [40, 'rows', ['quantize_e4m3_2'], ['quantize_e4m3_2']],
    [72, 'rows', ['quantize_e4m3_2'], ['quantize_e4m3_2']],
    [8, 'tensor', ['tensor_amax', 'quantize_e4m3_2', 'scale_columns'], ['tensor_amax', 'quantize_e4m3_2']],
  ])(
    'says what a linear layer with an adapter of rank %i launches, one scale for %s',
    async (rank, scales, up, down) => {
      const { engine, launches } = recordingEngine({}, {}, undefined, scales);
      const lab = new Laboratory(engine, 1, false);
      const { weight } = await lab.weight('weight', [48, 32], 'bf16');
      const set = engine.createParameters([
        { name: 'a', shape: [rank, 32], initial: new Float32Array(rank * 32) },
        { name: 'b', shape: [48, rank], initial: new Float32Array(48 * rank) },
      ]);
      const [a, b] = set.parameters as [LoraPart['a'], LoraPart['b']];
      engine.preparePrecision([weight], 'fp8');
      const parts = [{ weight, precision: 'fp8' as const, lora: { a, b, scale: 2, dropout: 0, seed: 0 } }];
      // Beside products and the kernels of any precision.
      const names = (): string[] =>
        launches.splice(0).flatMap(({ name }) => (/^(product$|lora_)/.test(name) ? [] : [name]));
      const x = engine.zeros([20, 32]);
      const dy = engine.zeros([20, 48]);
      // The first one brings adapters to the card's formats.
      engine.operations.linear.forward([x], { parts }, false);
      names();
      const { saved } = engine.operations.linear.forward([x], { parts }, true);
      expect(names()).toEqual(up);
      engine.operations.linear.backward(saved, [dy], { parts }, [true]);
      expect(names()).toEqual(down);
    },
  );
});
