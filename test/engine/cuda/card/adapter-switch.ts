/**
 * Adapters that are switched between passes: base, A, B, A again, none. What is switched off must leave the base's own
 * logits to the bit, what is switched on again its own, also after the other one was trained and while generating.
 *
 *   npm run adapters -- [--engine cuda] [--checkpoint DIR]
 *
 * Without a checkpoint the tiny model of the tests is drawn. The same passes run on the cpu engine, and the logits of
 * both are compared (bfloat16 against float32). Ends with a RESULT line and `N passed, N failed`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../../../src/data/chat-template.js';
import type { VlmBatch } from '../../../../src/data/types.js';
import { VlmCollator } from '../../../../src/data/vlm-collator.js';
import { createEngine, type EngineChoice } from '../../../../src/engine/create-engine.js';
import type { Engine } from '../../../../src/engine/engine.js';
import { loadAdapter, saveAdapter } from '../../../../src/lora/adapter-file.js';
import { setAdapter } from '../../../../src/lora/adapter-slots.js';
import { applyLora } from '../../../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../../../src/lora/lora-config.js';
import { generate } from '../../../../src/model/generate.js';
import { loadModel, loadProcessor } from '../../../../src/model/load.js';
import type { VisionLanguageModel } from '../../../../src/model/network/vision-language-model.js';
import { MersenneTwister } from '../../../../src/random.js';
import { countLabels } from '../../../../src/train/trainable-model.js';
import { accumulateGradients } from '../../../../src/train/window-step.js';
import { makeExamples, writeTinyModel } from '../../../e2e/tiny-model.js';
import { CheckList, relativeL2, sameNumbers } from '../../../parity/check-list.js';

const { values: options } = parseArgs({
  options: { engine: { type: 'string', default: 'cuda' }, checkpoint: { type: 'string' } },
});
/** bfloat16 against float32, of the change that an adapter makes. */
const BOUND = 0.1;
/** A on everything, B on fewer layers with a higher rank: stacked layers change their columns at each switch. */
const CONFIGS: Readonly<Record<string, LoraConfigOptions>> = {
  a: { r: 8, alpha: 16, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] },
  b: { r: 24, alpha: 24, targetModules: ['v_proj', 'up_proj', 'down_proj'], towers: 'language', useRslora: true },
};

const checks = new CheckList();
const onWarning = (): void => undefined;
const folder = await mkdtemp(join(tmpdir(), 'adapter-switch-'));
const checkpoint = options.checkpoint ?? join(folder, 'checkpoint');
if (!options.checkpoint) await writeTinyModel(checkpoint);
const processor = await loadProcessor(checkpoint);
const chatTemplate = processor.chatTemplate ?? new ChatTemplate(TUTORIAL_TEMPLATE);
const collator = new VlmCollator({ ...processor, chatTemplate });
const prompts = await collator.collatePrompts(makeExamples(3));
const batch = await collator.collate(makeExamples(3));

/** Writes both adapters with values of a seed. */
async function writeAdapters(model: VisionLanguageModel): Promise<void> {
  for (const [name, config] of Object.entries(CONFIGS)) {
    const adapter = applyLora(model, config, { onWarning });
    const random = new MersenneTwister(name.charCodeAt(0));
    const values = Float32Array.from({ length: adapter.parameters.size }, () => 0.05 * random.nextNormal());
    model.engine.writeParameters(adapter.parameters, values);
    await saveAdapter(adapter, join(folder, name), { onWarning });
    adapter.dispose();
  }
}

async function step(model: VisionLanguageModel, engine: Engine, samples: VlmBatch): Promise<void> {
  const set = model.trainable;
  const state = engine.createOptimizerState(set, 'adamw');
  const settings = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 1 };
  const loss = await accumulateGradients(model, [samples], {
    labelCount: countLabels(samples),
    dropoutSeeds: [1],
    gradientCheckpointing: 'auto',
  });
  await engine.optimizerStep(set, state, { kind: 'adamw', learningRate: 1e-2, ...settings })();
  await loss();
  engine.zeroGradients(set);
  engine.releaseOptimizerState(set, state);
}

/** The logits of the base, A and B, after all checks on this engine. */
async function passes(engine: Engine, isFirst: boolean): Promise<Float32Array[]> {
  const model = await loadModel(checkpoint, { engine });
  if (isFirst) await writeAdapters(model);
  const logits = (): Promise<Float32Array> => model.lastLogits(prompts);
  const ids = (): Promise<number[][]> => generate(model, prompts, { maxNewTokens: 6, doSample: false });
  const same = (what: string, got: Float32Array, expected: Float32Array): void =>
    checks.exact(`${engine.name}: ${what}`, sameNumbers(got, expected), `by ${relativeL2(got, expected)}`);
  const fresh = await logits();
  const a = await loadAdapter(join(folder, 'a'), model, { adapterName: 'a', onWarning });
  const withA = await logits();
  // Once the layers have room for an adapter their rows lie elsewhere, and the library may choose other sums.
  const base = await a.withDisabled(logits);
  checks.atMost(`${engine.name}: base before and after room was made`, relativeL2(base, fresh), 0.02);
  const baseIds = await a.withDisabled(ids);
  const b = await loadAdapter(join(folder, 'b'), model, { adapterName: 'b', onWarning });
  same('A while B is there', await logits(), withA);
  setAdapter(model, 'b');
  const withB = await logits();
  const idsOfB = await ids();
  checks.exact(
    `${engine.name}: A, B and base differ`,
    relativeL2(withA, base) > 0.01 && relativeL2(withB, withA) > 0.01,
  );
  same('base while B is off', await b.withDisabled(logits), base);
  setAdapter(model, 'a');
  same('A again', await logits(), withA);
  a.disable();
  same('base while A is off', await logits(), base);
  checks.exact(`${engine.name}: tokens of the base`, JSON.stringify(await ids()) === JSON.stringify(baseIds));
  setAdapter(model, 'b');
  checks.exact(`${engine.name}: tokens of B`, JSON.stringify(await ids()) === JSON.stringify(idsOfB));
  await step(model, engine, batch);
  const trainedB = await logits();
  checks.exact(`${engine.name}: a step changes B`, !sameNumbers(trainedB, withB));
  setAdapter(model, 'a');
  same('A after a step of B', await logits(), withA);
  await step(model, engine, batch);
  checks.exact(`${engine.name}: a step changes A`, !sameNumbers(await logits(), withA));
  setAdapter(model, 'b');
  same('B after a step of A', await logits(), trainedB);
  b.dispose();
  same('base after B is gone', await logits(), base);
  a.dispose();
  same('base after both are gone', await logits(), base);
  await model.dispose();
  return [base, withA, withB];
}

const engines = [...new Set([options.engine, 'cpu'])] as EngineChoice[];
const results: Float32Array[][] = [];
for (const [i, name] of engines.entries()) {
  const engine = await createEngine(name);
  console.log(engine.description);
  results.push(await passes(engine, i === 0));
  await engine.dispose();
}
const [ours, reference] = results;
if (ours && reference) {
  const effect = (logits: readonly Float32Array[], i: number): Float32Array =>
    logits[i]!.map((value, at) => value - logits[0]![at]!);
  checks.atMost('base on both engines', relativeL2(ours[0]!, reference[0]!), BOUND);
  checks.atMost('effect of A on both engines', relativeL2(effect(ours, 1), effect(reference, 1)), BOUND);
  checks.atMost('effect of B on both engines', relativeL2(effect(ours, 2), effect(reference, 2)), BOUND);
}
await rm(folder, { recursive: true, force: true });
console.log(
  `RESULT ${JSON.stringify({ test: 'adapter switch', engines, passed: checks.passed, failed: checks.failed })}`,
);
console.log(checks.summary());
process.exitCode = checks.failed > 0 ? 1 : 0;
