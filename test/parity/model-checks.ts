/** Forward pass, LoRA gradients, merged weights, generation. */
import type { VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { Engine } from '../../src/engine/engine.js';
import { runAtOnce, Tape } from '../../src/engine/tape.js';
import type { Tensor } from '../../src/engine/tensor.js';
import { type SafetensorsFile, ShardedCheckpoint } from '../../src/formats/safetensors.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { mergedWeight } from '../../src/lora/merged-weight.js';
import { adapterData } from '../../src/lora/read-adapter.js';
import { generateTokens } from '../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { RopeConfig } from '../../src/model/model-config.js';
import { textFrequencies } from '../../src/model/network/rope.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { parseGenerationConfig, processLogits, softmax } from '../../src/model/sampling.js';
import { indexByMemoryName } from '../../src/model/tensor-names.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { type CheckList, relativeL2, sameNumbers } from './check-list.js';
import { exampleOf } from './data-checks.js';
import type { Judge } from './judge.js';
import { type ReferenceFolder, type ReferenceJson, realRows } from './reference-folder.js';

const FORWARD = 1e-5;
const GRADIENT = 1e-4;

/** Of the published sizes, by their keys in rope_real.json: Ministral 3B and 8B, 14B, Mistral Small. */
const YARN = {
  type: 'yarn',
  factor: 16,
  originalMaxPositions: 16384,
  betaFast: 32,
  betaSlow: 1,
  truncate: true,
} as const;
const REAL_ROPES: Readonly<Record<string, Partial<RopeConfig>>> = {
  theta1e6: { ...YARN, theta: 1e6 },
  theta1e9: { ...YARN, theta: 1e9 },
  plain1e9: { type: 'default', theta: 1e9 },
};

interface Observed {
  readonly hidden: Map<string, Float32Array>;
  readonly logits: Float32Array;
  readonly loss: number;
}

/** Runs a batch and keeps every hidden state. */
async function observe(model: VisionLanguageModel, engine: Engine, batch: VlmBatch): Promise<Observed> {
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
  const loss = runAtOnce(model.lossSteps(tape, packed, 1 / packed.labelRows.length, {}))!;
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
  judge: Judge,
  reference: ReferenceFolder,
  json: ReferenceJson,
  engine: Engine,
): Promise<void> {
  const model = await loadModel(reference.path('checkpoint'), { engine });
  const { text } = model.config;
  const checkLogits = async (
    what: string,
    group: string,
    actual: Float32Array,
    all: Float32Array,
    batch: VlmBatch,
  ): Promise<void> => {
    const pick = (values: Float32Array): Float32Array => realRows(values, batch, text.vocabSize);
    await judge.array(what, actual, pick(all), { key: `${group}/logits`, bound: FORWARD, pick });
  };
  const checkLoss = async (
    what: string,
    group: string,
    { loss, logits }: { loss: number; logits: Float32Array },
    file: SafetensorsFile,
    batch: VlmBatch,
  ): Promise<void> => {
    const expected = await file.readFloat32('loss');
    if (judge.isFloat32) return checks.atMost(what, Math.abs(loss - expected[0]!), 1e-5);
    const { labelRows, labelTargets } = model.pack(batch);
    const tokenLosses = (real: Float32Array): Float32Array =>
      crossEntropies(real, text.vocabSize, labelRows, labelTargets);
    const pick = (values: Float32Array): Float32Array => tokenLosses(realRows(values, batch, text.vocabSize));
    const yardstick = { key: `${group}/logits`, bound: FORWARD, pick };
    const exact = pick(await file.readFloat32('logits'));
    await judge.array(`${what} of each token`, tokenLosses(logits), exact, yardstick);
    // Their mean is one number, which may come out exact by chance.
    const floor = 2 * (await judge.meanDeviation(exact, yardstick));
    await judge.losses(what, [loss], expected, { key: `${group}/loss` }, floor);
  };
  for (const [name, { inv_freq }] of Object.entries(json.ropeReal)) {
    const rope = { ...text.rope, ...REAL_ROPES[name]! };
    checks.atMost(`rope: real frequencies, ${name}`, relativeL2(textFrequencies(rope, 128), inv_freq), 1e-6);
  }
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
        const pick = (values: Float32Array): Float32Array => realRows(values, batch, text.hiddenSize);
        const yardstick = { key: `forward/hidden.${i}`, bound: FORWARD, pick };
        await judge.array(`hidden.${i}`, seen.hidden.get(name)!, expected, yardstick);
      }
      for (let i = 0; i <= model.config.visionFeatureLayer; i++) {
        const expected = await file.readFloat32(`vision_hidden.${i}`);
        const yardstick = { key: `forward/vision_hidden.${i}`, bound: FORWARD };
        await judge.array(`vision_hidden.${i}`, seen.hidden.get(`vision_tower.${i}`)!, expected, yardstick);
      }
      const features = seen.hidden.get('image_features')!;
      let at = 0;
      for (let i = 0; file.tensors.has(`image_features.${i}`); i++) {
        const expected = await file.readFloat32(`image_features.${i}`);
        const yardstick = { key: `forward/image_features.${i}`, bound: FORWARD };
        await judge.array(`image_features.${i}`, features.subarray(at, at + expected.length), expected, yardstick);
        at += expected.length;
      }
      checks.exact('image features: all compared', at === features.length);
      await checkLogits('logits', 'forward', seen.logits, await file.readFloat32('logits'), batch);
      await checkLoss('loss', 'forward', seen, file, batch);
    }),
  );
  const adapter = await loadAdapter(reference.path('adapter'), model);
  await checks.group('lora', () =>
    reference.arrays('lora_forward_backward.safetensors', async (file) => {
      const batch = await reference.arrays('forward.safetensors', (forward) => reference.batch(forward));
      const seen = await observe(model, engine, batch);
      await checkLogits('lora logits', 'lora', seen.logits, await file.readFloat32('logits'), batch);
      for (const gradientCheckpointing of [false, true]) {
        const kind = gradientCheckpointing ? ' with checkpointing' : '';
        engine.zeroGradients(adapter.parameters);
        const loss = await accumulateGradients(model, [batch], {
          labelCount: countLabels(batch),
          dropoutSeeds: [1],
          gradientCheckpointing,
        });
        await checkLoss(`lora loss${kind}`, 'lora', { ...seen, loss: await loss() }, file, batch);
        const gradients = await engine.readGradients(adapter.parameters);
        const tensors: { name: string; actual: Float32Array; expected: Float32Array }[] = [];
        for (const { name, offset, size } of adapter.parameters.parameters) {
          const actual = gradients.subarray(offset, offset + size);
          if (file.tensors.has(name)) tensors.push({ name, actual, expected: await file.readFloat32(name) });
          else {
            checks.exact(
              `gradient${kind} ${name}: none`,
              actual.every((value) => value === 0),
            );
          }
        }
        await judge.adapterTensors(`gradient${kind}`, tensors, { key: 'lora', bound: GRADIENT });
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
    const { greedy } = json.generate;
    const width = text.vocabSize;
    await reference.arrays('generate_logits.safetensors', async (file) => {
      const expected = await file.readFloat32('logits');
      const parting = greedy.findIndex((id, i) => ids[i] !== id);
      const common = parting < 0 || judge.isFloat32 ? greedy.length : parting + 1;
      const pick = (values: Float32Array): Float32Array => values.subarray(0, common * width);
      const yardstick = { key: 'greedy/logits', bound: FORWARD, pick };
      if (judge.isFloat32 || parting < 0) {
        checks.exact(`greedy: ${greedy.length} ids`, sameNumbers(ids, greedy), `${ids} against ${greedy}`);
      } else {
        // Two tokens that are nearer to each other than bfloat16 can tell: the answers part there.
        const scores = expected.subarray(parting * width, (parting + 1) * width);
        const margin = scores[greedy[parting]!]! - scores[ids[parting]!]!;
        const bound = 2 * (await judge.largestGap(pick(expected), yardstick));
        checks.atMost(`greedy: ${parting} ids are the same, then a near tie of two, apart by`, margin, bound);
      }
      const joined = new Float32Array(common * width);
      for (const [i, own] of logits.slice(0, common).entries()) joined.set(own, i * width);
      await judge.array('greedy: logits of each step', joined, pick(expected), yardstick);
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
      const actual = softmax(processLogits(Float32Array.from(json.generate.sampling_logits), config));
      checks.atMost(`sampling ${name}`, Math.max(...actual.map((p, i) => Math.abs(p - expected[i]!))), 1e-6);
    }
  });
  adapter.dispose();
  model.dispose();
}

/** -log softmax(logits)[target] at the given rows of [T, V]. */
function crossEntropies(logits: Float32Array, width: number, rows: Int32Array, targets: Int32Array): Float32Array {
  return Float32Array.from(rows, (row, i) => {
    const scores = logits.subarray(row * width, (row + 1) * width);
    const top = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
    const sum = scores.reduce((total, score) => total + Math.exp(score - top), 0);
    return top + Math.log(sum) - scores[targets[i]!]!;
  });
}
