/**
 * What scoring all classes costs beside one prefill of the same prompts: a real-sized model with random weights, adapter
 * not merged, prompts with the sizes of the X-rays.
 *
 *   npm run bench:score -- --workload FILE --tokenizer FOLDER [--size 14B] [--prompts 140] [--batch 70] [--repeat 3]
 *                          [--quantization nf4|fp8] [--engine cuda|cpu] [--layers N]
 *
 * The RESULT line has seconds for all prompts, medians of the repetitions: prefill (the first token of a greedy answer),
 * scores of ten classes, and answers held to these classes; and by how much scores differ from those of each label alone.
 */
import { parseArgs } from 'node:util';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import type { VlmBatch } from '../../src/data/types.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generate } from '../../src/model/generate.js';
import { scoreLabels } from '../../src/model/score-labels.js';
import { median } from './median.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    tokenizer: { type: 'string' },
    prompts: { type: 'string', default: '140' },
    batch: { type: 'string', default: '70' },
    repeat: { type: 'string', default: '3' },
    quantization: { type: 'string' },
    engine: { type: 'string', default: 'cuda' },
    layers: { type: 'string' },
  },
});
const CLASSES = [
  ...['Avulsion fracture', 'Comminuted fracture', 'Fracture Dislocation', 'Greenstick fracture', 'Hairline Fracture'],
  ...['Impacted fracture', 'Longitudinal fracture', 'Oblique fracture', 'Pathological fracture', 'Spiral Fracture'],
];
const IMAGE_END = 13;

const tokenizer = await MinistralTokenizer.fromFolder(values.tokenizer!);
const closing = tokenizer.tokenToId('[/INST]')!;

/** The prompts of a batch: nothing behind the token that follows the image. */
function promptsOf({ labels: _, ...batch }: VlmBatch): VlmBatch {
  const [rows, columns] = batch.inputIds.shape as [number, number];
  for (let b = 0; b < rows; b++) {
    const end = batch.inputIds.data.subarray(b * columns, (b + 1) * columns).lastIndexOf(IMAGE_END);
    batch.inputIds.data[b * columns + end + 1] = closing;
    batch.attentionMask.data.fill(0, b * columns + end + 2, (b + 1) * columns);
  }
  return batch;
}

const engine = await createEngine(values.engine as EngineChoice);
console.log(engine.description);
const fewer = values.layers ? { text: Number(values.layers), vision: Number(values.layers) } : undefined;
const model = await randomModel(engine, values.size as Size, fewer, values.quantization);
applyLora(model, { r: 16, alpha: 32, targetModules: [...LAYER_PROJECTIONS] });
// Made before the clock starts: random pixels take longer than what they stand for.
const batches = workloadBatches(values.workload!, Number(values.batch));
const all: VlmBatch[] = [];
for (let count = 0; count < Number(values.prompts); count += all.at(-1)!.inputIds.shape[0]!) {
  all.push(promptsOf(batches.next().value as VlmBatch));
}

async function seconds(work: (prompts: VlmBatch) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (const prompts of all) await work(prompts);
  return (performance.now() - start) / 1000;
}

const prefill = (prompts: VlmBatch) => generate(model, prompts, { maxNewTokens: 1 });
const score = (prompts: VlmBatch) => scoreLabels(model, tokenizer, prompts, CLASSES);
const choose = (prompts: VlmBatch) => generate(model, prompts, { choices: CLASSES, tokenizer });
const timed = { prefill, score, choose };
for (const work of Object.values(timed)) await work(all[0]!);
const times: Record<keyof typeof timed, number[]> = { prefill: [], score: [], choose: [] };
for (let i = 0; i < Number(values.repeat); i++) {
  for (const [name, work] of Object.entries(timed)) times[name as keyof typeof timed].push(await seconds(work));
}
engine.resetPeak();
const together = await score(all[0]!);
const peakGiB = engine.memory().peakBytes / 2 ** 30;
const alone = await scoreLabels(model, tokenizer, all[0]!, CLASSES.slice(1, 2));
const difference = Math.max(...alone.map(([value], b) => Math.abs(value! - together[b]![1]!)));
const [ofPrefill, ofScore, ofChoose] = [times.prefill, times.score, times.choose].map(median) as [
  number,
  number,
  number,
];
const count = all.reduce((sum, { inputIds }) => sum + inputIds.shape[0]!, 0);
const setting = { bench: 'score', size: values.size, quantization: values.quantization ?? 'bf16', prompts: count };
const figures = { prefill: ofPrefill, score: ofScore, choose: ofChoose, ratio: ofScore / ofPrefill };
console.log(
  `RESULT ${JSON.stringify({ ...setting, batch: Number(values.batch), classes: CLASSES.length, ...figures, runs: times, example: together[0], difference, peakGiB })}`,
);
await engine.dispose();
