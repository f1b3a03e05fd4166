/** What users do with a model, on one engine and over two: adapters, streams, scores, stops. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { VlmBatch } from '../../../src/data/types.js';
import { VlmCollator } from '../../../src/data/vlm-collator.js';
import { createCpuEngine } from '../../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../../src/engine/engine.js';
import { SplitEngine } from '../../../src/engine/split/split-engine.js';
import { loadAdapter } from '../../../src/lora/adapter-file.js';
import { deleteAdapter, setAdapter } from '../../../src/lora/adapter-slots.js';
import { applyLora } from '../../../src/lora/apply-lora.js';
import { saveAdapter } from '../../../src/lora/write-adapter.js';
import { generate } from '../../../src/model/generate.js';
import { loadModel, loadProcessor, type ModelProcessor } from '../../../src/model/load.js';
import type { VisionLanguageModel } from '../../../src/model/network/vision-language-model.js';
import { scoreLabels } from '../../../src/model/score-labels.js';
import { countLabels } from '../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../src/train/window-step.js';
import { ANSWERS, makeAdapter, makeExamples, writeTinyModel } from '../../e2e/tiny-model.js';

const MIB = 2 ** 20;
let dir: string;
let processor: ModelProcessor;
let prompts: VlmBatch;
let batches: VlmBatch[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ministral-tune-split-uses-'));
  await writeTinyModel(dir);
  processor = await loadProcessor(dir);
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const examples = makeExamples(4, 9);
  prompts = await collator.collatePrompts(examples.slice(0, 2));
  batches = await Promise.all([0, 2].map((i) => collator.collate(examples.slice(i, i + 2))));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const one = () => createCpuEngine({ threads: 1 });
const two = () => new SplitEngine([96, 64].map((room) => createCpuEngine({ threads: 1, maxBytes: room * MIB })));

async function withModel<T>(engine: Engine, body: (model: VisionLanguageModel) => Promise<T>): Promise<T> {
  const model = await loadModel(dir, { engine });
  const held = engine.devices?.map((device) => device.memory().bytesInUse);
  const result = await body(model);
  // What was put on the model is gone, on each device.
  expect(engine.devices?.map((device) => device.memory().bytesInUse)).toEqual(held);
  await model.dispose();
  await model.dispose();
  await engine.dispose();
  await engine.dispose();
  return result;
}

it('answers, streams and scores with one adapter, with another, and without', async () => {
  const { tokenizer } = processor;
  const onWarning = (): void => undefined;
  const use = async (model: VisionLanguageModel) => {
    const said: unknown[] = [];
    const ask = async (): Promise<void> => {
      const tokens: string[] = [];
      const answers = await generate(model, prompts, {
        ...{ maxNewTokens: 4, eosTokenIds: [1_000_000], doSample: true, temperature: 0.7, seed: 3 },
        ...{ tokenizer, onToken: ({ sequence, text }) => void tokens.push(`${sequence} ${text}`) },
      });
      said.push(answers, tokens, await scoreLabels(model, tokenizer, prompts, ANSWERS));
    };
    const first = makeAdapter(model);
    await ask();
    await first.withDisabled(ask);
    const folder = join(dir, `adapter-${model.engine.devices?.length ?? 1}`);
    await saveAdapter(first, folder, { baseModelNameOrPath: 'somebody/some-model' });
    applyLora(model, { r: 2, alpha: 8, targetModules: ['q_proj'] }, { adapterName: 'second', onWarning });
    setAdapter(model, 'second');
    await ask();
    deleteAdapter(model, 'default');
    await loadAdapter(folder, model, { adapterName: 'again', onWarning });
    setAdapter(model, 'again');
    await ask();
    expect(said.slice(9)).toEqual(said.slice(0, 3));
    for (const name of ['second', 'again']) deleteAdapter(model, name);
    return said;
  };
  expect(await withModel(two(), use)).toEqual(await withModel(one(), use));
});

it('leaves nothing of a window that is stopped in the middle, and trains on', async () => {
  const use = async (model: VisionLanguageModel) => {
    const adapter = makeAdapter(model, 0.1);
    const options = {
      labelCount: batches.reduce((sum, batch) => sum + countLabels(batch), 0),
      dropoutSeeds: [1, 2],
      gradientCheckpointing: true,
    };
    const held = model.engine.devices?.map((device) => device.memory().bytesInUse);
    const stop = new AbortController();
    const stopped = accumulateGradients(model, batches, { ...options, signal: stop.signal });
    setTimeout(() => stop.abort(new Error('stopped here')), 5);
    await expect(stopped).rejects.toThrow('stopped here');
    expect(model.engine.devices?.map((device) => device.memory().bytesInUse)).toEqual(held);
    model.engine.zeroGradients(adapter.parameters);
    const loss = await (await accumulateGradients(model, batches, options))();
    adapter.dispose();
    return loss;
  };
  expect(await withModel(two(), use)).toBe(await withModel(one(), use));
});
