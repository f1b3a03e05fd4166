/**
 * One LoRA training step (forward, backward, optimizer) of a tiny checkpoint: the cpu engine against the same step
 * composed from TensorFlow.js, on each backend of the installation that MINISTRAL_TUNE_TFJS names.
 *
 *   [MINISTRAL_TUNE_TFJS=DIR] npx tsx test/bench/step.ts [--checkpoint DIR] [--runs 20] [--dropout 0]
 *
 * The engines take turns, step by step, in one process; figures are medians. Both start from the same adapter and see
 * the same batch of two pictures, so their losses must agree after all steps.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ContentPart, RgbImage, SftExample, VlmBatch } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { createTfjsEngine } from '../../src/engine/tfjs/tfjs-engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { findTfjs } from '../engine/tfjs/installation.js';
import { median } from './median.js';

const PROMPT = 'Look at the bone. Which fracture is it? Choose one: hairline, spiral, oblique, greenstick, impacted.';
const ANSWERS = ['hairline', 'greenstick'];
const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
const WARM_UP = 3;

interface Contender {
  readonly name: string;
  readonly engine: Engine;
  /** Makes this engine's backend the current one; TensorFlow.js has one choice for all. */
  prepare(): Promise<void>;
  /** One step; gives its loss. */
  step(): Promise<number>;
  readonly milliseconds: number[];
  loss: number;
}

function picture(seed: number): RgbImage {
  const [width, height] = [84, 112];
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * (31 + seed) + ((i * i) >> 7)) % 256);
  return { width, height, data };
}

async function collate(dir: string): Promise<VlmBatch> {
  const processor = await loadProcessor(dir);
  const { chatTemplate } = processor;
  if (!chatTemplate) throw new Error(`${dir} has no chat template`);
  const samples = ANSWERS.map((answer, i): SftExample => {
    const question: ContentPart[] = [
      { type: 'text', text: PROMPT },
      { type: 'image', image: picture(i) },
    ];
    const reply: ContentPart[] = [{ type: 'text', text: answer }];
    return {
      messages: [
        { role: 'user', content: question },
        { role: 'assistant', content: reply },
      ],
    };
  });
  return new VlmCollator({ ...processor, chatTemplate }).collate(samples);
}

async function contender(
  name: string,
  engine: Engine,
  prepare: () => Promise<void>,
  dir: string,
  batch: VlmBatch,
  dropout: number,
): Promise<Contender> {
  await prepare();
  const model = await loadModel(dir, { engine });
  applyLora(model, { r: 16, alpha: 32, dropout, targetModules: TARGETS });
  const state = engine.createOptimizerState(model.trainable, 'adamw');
  let steps = 0;
  const step = async (): Promise<number> => {
    const loss = await accumulateGradients(model, [batch], {
      labelCount: countLabels(batch),
      dropoutSeeds: [++steps],
      gradientCheckpointing: false,
    });
    const norm = engine.optimizerStep(model.trainable, state, {
      kind: 'adamw',
      learningRate: 2e-4,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      weightDecay: 0,
      maxGradNorm: 0.3,
    });
    engine.zeroGradients(model.trainable);
    await norm();
    return loss();
  };
  return { name, engine, prepare, step, milliseconds: [], loss: Number.NaN };
}

async function compare(dir: string, runs: number, dropout: number): Promise<void> {
  const batch = await collate(dir);
  const cpu = createCpuEngine();
  const contenders = [await contender('cpu engine', cpu, async () => {}, dir, batch, dropout)];
  const found = await findTfjs();
  if (typeof found === 'string') console.log(`without TensorFlow.js: ${found}`);
  else {
    for (const backend of found.backends) {
      const engine = await found.createEngine(backend);
      const use = () => found.use(backend);
      contenders.push(await contender(`tfjs ${backend}`, engine, use, dir, batch, dropout));
      if (backend !== 'wasm') continue;
      // The engine knows that this backend is slow at transposed and batched products; most programs do not.
      const tf = Object.create(found.tf, { getBackend: { value: () => 'wasm, products as written' } });
      contenders.push(await contender('tfjs wasm plain', await createTfjsEngine({ tf }), use, dir, batch, dropout));
    }
  }
  const real = batch.attentionMask.data.reduce((sum, value) => sum + value, 0);
  console.log(`${batch.inputIds.shape[0]} samples, ${real} tokens, ${countLabels(batch)} labels, dropout ${dropout}`);
  // The pure JavaScript backend takes a second a step and leaves much garbage: it gets a phase of its own.
  const slow = contenders.filter(({ name }) => name === 'tfjs cpu');
  for (const phase of [contenders.filter((one) => !slow.includes(one)), slow]) {
    for (let run = -WARM_UP; run < runs; run++) {
      for (const one of phase) {
        await one.prepare();
        const start = performance.now();
        one.loss = await one.step();
        if (run >= 0) one.milliseconds.push(performance.now() - start);
      }
    }
  }
  const own = contenders[0]!;
  const figures = contenders.map(({ name, engine, milliseconds, loss }) => {
    const ms = median(milliseconds);
    return { name, ms, ratio: ms / median(own.milliseconds), loss, description: engine.description };
  });
  for (const { name, ms, ratio, loss, description } of figures) {
    const columns = [name.padEnd(16), `${ms.toFixed(2).padStart(9)} ms a step`, `${ratio.toFixed(2).padStart(8)} ×`];
    console.log(`${columns.join(' ')}   loss ${loss.toFixed(6)}   (${description})`);
  }
  for (const { engine } of contenders) await engine.dispose();
  console.log(`RESULT ${JSON.stringify({ tokens: real, runs, dropout, node: process.version, figures })}`);
  const wrong = figures.filter(({ loss }) => !(Math.abs(loss - own.loss) <= 1e-4 * Math.abs(own.loss)));
  if (wrong.length > 0)
    throw new Error(`other losses than the cpu engine's: ${wrong.map(({ name }) => name).join(', ')}`);
}

const { values } = parseArgs({
  args: process.argv.slice(2).filter((argument) => argument !== '--'),
  options: { checkpoint: { type: 'string' }, runs: { type: 'string' }, dropout: { type: 'string' } },
});
const runs = Math.max(10, Number(values.runs ?? 20));
const dir = values.checkpoint ?? (await mkdtemp(join(tmpdir(), 'step-bench-')));
try {
  if (!values.checkpoint) await writeTinyCheckpoint({ outputDir: dir, seed: 1, corpus: [PROMPT, ...ANSWERS] });
  await compare(dir, runs, Number(values.dropout ?? 0));
} finally {
  if (!values.checkpoint) await rm(dir, { recursive: true, force: true });
}
