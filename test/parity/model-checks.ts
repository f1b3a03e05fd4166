/** Forward pass, LoRA gradients, merged weights, generation. */
import type { VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { Engine } from '../../src/engine/engine.js';
import { ShardedCheckpoint } from '../../src/engine/safetensors.js';
import { Tape } from '../../src/engine/tape.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { adapterData, loadAdapter } from '../../src/lora/adapter-file.js';
import { mergedWeight } from '../../src/lora/merge-adapter.js';
import { generateTokens } from '../../src/model/generate.js';
import { loadMinistral3, loadProcessor } from '../../src/model/load.js';
import type { Ministral3 } from '../../src/model/ministral3/model.js';
import { textFrequencies } from '../../src/model/ministral3/rope.js';
import { parseGenerationConfig, probabilities } from '../../src/model/sampling.js';
import { indexByMemoryName } from '../../src/model/tensor-names.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { type CheckList, relativeL2, sameNumbers } from './check-list.js';
import { exampleOf } from './data-checks.js';
import { type ReferenceFolder, type ReferenceJson, realRows } from './reference-folder.js';

const FORWARD = 1e-5;
const GRADIENT = 1e-4;

interface Observed {
  readonly hidden: Map<string, Float32Array>;
  readonly logits: Float32Array;
  readonly loss: number;
}

/** Runs a batch and keeps every hidden state. */
async function observe(model: Ministral3, engine: Engine, batch: VlmBatch): Promise<Observed> {
  const tape = new Tape(engine, { record: false });
  const seen: [string, Tensor][] = [];
  const packed = model.pack(batch);
  const hidden = model.hidden(tape, packed, {
    observe: (name, tensor) => {
      engine.retain(tensor);
      seen.push([name, tensor]);
    },
  });
  const rows = Int32Array.from({ length: packed.ids.length }, (_, i) => i);
  const logits = await engine.read(model.logits(tape, hidden, rows));
  const loss = model.loss(tape, packed, 1 / packed.labelRows.length, {})!;
  const result: Observed = { hidden: new Map(), logits, loss: (await engine.read(loss))[0]! };
  for (const [name, tensor] of seen) {
    result.hidden.set(name, await engine.read(tensor));
    engine.release(tensor);
  }
  tape.dispose();
  return result;
}

export async function checkModel(
  checks: CheckList,
  reference: ReferenceFolder,
  json: ReferenceJson,
  engine: Engine,
): Promise<void> {
  const model = await loadMinistral3(reference.path('checkpoint'), { engine });
  const { text } = model.config;
  checks.atMost(
    'rope: real frequencies, theta 1e6 and 1e9',
    Math.max(
      ...Object.entries({ theta1e6: 1e6, theta1e9: 1e9 }).map(([name, theta]) =>
        relativeL2(
          textFrequencies(
            {
              ...text.rope,
              theta,
              factor: 16,
              originalMaxPositions: 16384,
              type: 'yarn',
              betaFast: 32,
              betaSlow: 1,
              truncate: true,
            },
            128,
          ),
          json.ropeReal[name]!.inv_freq,
        ),
      ),
    ),
    1e-6,
  );
  await checks.group('forward', () =>
    reference.arrays('forward.safetensors', async (file) => {
      const batch = await reference.batch(file);
      const seen = await observe(model, engine, batch);
      checks.atMost(
        'rope.inv_freq',
        relativeL2(textFrequencies(text.rope, text.headDim), await file.readFloat32('rope.inv_freq')),
        1e-6,
      );
      for (let i = 0; i <= text.layers; i++) {
        const name = i < text.layers ? `language_model.${i}` : 'language_model.norm';
        const expected = realRows(await file.readFloat32(`hidden.${i}`), batch, text.hiddenSize);
        checks.atMost(`hidden.${i}`, relativeL2(seen.hidden.get(name)!, expected), FORWARD);
      }
      for (let i = 0; i <= model.config.visionFeatureLayer; i++) {
        const expected = await file.readFloat32(`vision_hidden.${i}`);
        checks.atMost(`vision_hidden.${i}`, relativeL2(seen.hidden.get(`vision_tower.${i}`)!, expected), FORWARD);
      }
      const features = seen.hidden.get('image_features')!;
      let at = 0;
      for (let i = 0; file.tensors.has(`image_features.${i}`); i++) {
        const expected = await file.readFloat32(`image_features.${i}`);
        checks.atMost(
          `image_features.${i}`,
          relativeL2(features.subarray(at, at + expected.length), expected),
          FORWARD,
        );
        at += expected.length;
      }
      checks.exact('image features: all compared', at === features.length);
      checks.atMost(
        'logits',
        relativeL2(seen.logits, realRows(await file.readFloat32('logits'), batch, text.vocabSize)),
        FORWARD,
      );
      checks.atMost('loss', Math.abs(seen.loss - (await file.readFloat32('loss'))[0]!), 1e-5);
    }),
  );
  const adapter = await loadAdapter(reference.path('adapter'), model);
  await checks.group('lora', () =>
    reference.arrays('lora_forward_backward.safetensors', async (file) => {
      const batch = await reference.arrays('forward.safetensors', (forward) => reference.batch(forward));
      const seen = await observe(model, engine, batch);
      checks.atMost(
        'lora logits',
        relativeL2(seen.logits, realRows(await file.readFloat32('logits'), batch, text.vocabSize)),
        FORWARD,
      );
      for (const gradientCheckpointing of [false, true]) {
        const kind = gradientCheckpointing ? ' with checkpointing' : '';
        engine.zeroGradients(adapter.parameters);
        const loss = await model.accumulateGradients([batch], {
          labelCount: countLabels(batch),
          dropoutSeeds: [1],
          gradientCheckpointing,
        });
        checks.atMost(`lora loss${kind}`, Math.abs((await loss()) - (await file.readFloat32('loss'))[0]!), 1e-5);
        const gradients = await engine.readGradients(adapter.parameters);
        for (const { name, offset, size } of adapter.parameters.parameters) {
          const actual = gradients.subarray(offset, offset + size);
          if (file.tensors.has(name))
            checks.atMost(`gradient${kind} ${name}`, relativeL2(actual, await file.readFloat32(name)), GRADIENT);
          else
            checks.exact(
              `gradient${kind} ${name}: none`,
              actual.every((value) => value === 0),
            );
        }
      }
      engine.zeroGradients(adapter.parameters);
    }),
  );
  await checks.group('merge', () =>
    reference.arrays('merged_layer0.safetensors', async (file) => {
      const checkpoint = await ShardedCheckpoint.open(reference.path('checkpoint'));
      const stored = indexByMemoryName(checkpoint.tensors.keys());
      const modules = new Map((await adapterData(adapter)).modules.map((module) => [module.name, module]));
      for (const [key, { shape }] of file.tensors) {
        const module = modules.get(key.replace(/\.weight$/, ''));
        const base = await checkpoint.readFloat32(stored.get(key)!);
        const merged = module ? mergedWeight(base, shape[1]!, module) : base;
        checks.atMost(`merged ${key}`, relativeL2(merged, await file.readFloat32(key)), GRADIENT);
      }
      await checkpoint.close();
    }),
  );
  await checks.group('generation', async () => {
    const processor = await loadProcessor(reference.path('checkpoint'));
    const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
    const index = json.collated.findIndex(({ image }) => image === json.generate.image);
    const prompts = await collator.collatePrompts([exampleOf(reference, json, index)]);
    const ids: number[] = [];
    const logits: Float32Array[] = [];
    for await (const token of generateTokens(model, prompts, { maxNewTokens: 24 })) {
      ids.push(token.id);
      logits.push(token.logits);
    }
    checks.exact(
      `greedy: ${json.generate.greedy.length} ids`,
      sameNumbers(ids, json.generate.greedy),
      `${ids} against ${json.generate.greedy}`,
    );
    await reference.arrays('generate_logits.safetensors', async (file) => {
      const joined = new Float32Array(logits.length * text.vocabSize);
      for (const [i, scores] of logits.entries()) joined.set(scores, i * text.vocabSize);
      checks.atMost('greedy: logits of each step', relativeL2(joined, await file.readFloat32('logits')), FORWARD);
    });
    for (const [name, expected] of Object.entries(json.generate.sampling_probs)) {
      const value = (key: string): number | undefined => {
        const found = new RegExp(`${key}([0-9.]+)`).exec(name)?.[1];
        return found === undefined ? undefined : Number(found);
      };
      const config = parseGenerationConfig({
        doSample: true,
        temperature: value('temperature') ?? 1,
        topK: value('top_k') ?? 0,
        topP: value('top_p') ?? 1,
        minP: value('min_p') ?? 0,
      });
      const actual = probabilities(Float32Array.from(json.generate.sampling_logits), config);
      checks.atMost(`sampling ${name}`, Math.max(...actual.map((p, i) => Math.abs(p - expected[i]!))), 1e-6);
    }
  });
  adapter.dispose();
  model.dispose();
}
