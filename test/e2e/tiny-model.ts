/** A tiny checkpoint, its processor and a few samples for the end-to-end tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { RgbImage, SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { loadModel, loadProcessor, type ModelProcessor } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { MersenneTwister } from '../../src/random.js';

export interface TinyWorld {
  readonly dir: string;
  readonly checkpoint: string;
  readonly engine: CpuEngine;
  readonly model: VisionLanguageModel;
  readonly processor: ModelProcessor;
  readonly collator: VlmCollator;
  dispose(): Promise<void>;
}

const PROMPT = 'Which of these is it: left hand, right foot, or the skull of a whale?';
export const ANSWERS = ['left hand', 'right foot', 'skull'];

/** @param options.threads of the engine: more wait in loops for kernels that are too small for them, beside other tests */
export async function makeTinyWorld({ threads = 1 } = {}): Promise<TinyWorld> {
  const dir = await mkdtemp(join(tmpdir(), 'ministral-tune-e2e-'));
  const checkpoint = join(dir, 'checkpoint');
  await writeTinyModel(checkpoint);
  const engine = createCpuEngine({ threads });
  const model = await loadModel(checkpoint, { engine });
  const processor = await loadProcessor(checkpoint);
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const dispose = async (): Promise<void> => {
    model.dispose();
    await engine.dispose();
    await rm(dir, { recursive: true, force: true });
  };
  return { dir, checkpoint, engine, model, processor, collator, dispose };
}

/** Samples of several image sizes and answer lengths. */
export function makeExamples(count: number, seed = 5): SftExample[] {
  const random = new MersenneTwister(seed);
  return Array.from({ length: count }, (_, i) => {
    const width = 20 + (random.nextUint32() % 90);
    const height = 20 + (random.nextUint32() % 90);
    const data = Uint8Array.from(
      { length: width * height * 3 },
      (_, at) => (at * (i + 3) + (random.nextUint32() % 40)) % 256,
    );
    const image: RgbImage = { width, height, data };
    return {
      id: `sample ${i}`,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: PROMPT },
            { type: 'image', image },
          ],
        },
        { role: 'assistant', content: [{ type: 'text', text: ANSWERS[i % ANSWERS.length]! }] },
      ],
    };
  });
}

/** The same as a data set. */
export function makeDataset(count: number, seed?: number): IndexedDataset<SftExample> {
  return IndexedDataset.from(makeExamples(count, seed));
}

/** The files of the tiny model. */
export function writeTinyModel(dir: string): Promise<void> {
  return writeTinyCheckpoint({ outputDir: dir, seed: 3, corpus: [PROMPT, ...ANSWERS] });
}

/** An adapter, by default on both towers, whose B is not zero, so that every gradient is there. */
export function makeAdapter(
  model: VisionLanguageModel,
  dropout = 0,
  targetModules: string | string[] = [...LAYER_PROJECTIONS],
): LoraAdapter {
  const adapter = applyLora(model, { r: 4, alpha: 8, dropout, targetModules });
  const random = new MersenneTwister(17);
  const values = Float32Array.from({ length: adapter.parameters.size }, () => 0.05 * random.nextNormal());
  model.engine.writeParameters(adapter.parameters, values);
  return adapter;
}
