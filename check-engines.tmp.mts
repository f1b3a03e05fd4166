import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { createEngine } from './src/engine/create-engine.js';
import { loadTfjs } from './src/engine/tfjs/load-tfjs.js';
import { VlmCollator } from './src/data/vlm-collator.js';
import { loadModel, loadProcessor } from './src/model/load.js';
import { generate, generateText } from './src/model/generate.js';
import { scoreLabels } from './src/model/score-labels.js';
import { makeAdapter, makeExamples, writeTinyModel } from './test/e2e/tiny-model.js';
const dir = await mkdtemp('/tmp/gen-check-');
await writeTinyModel(dir);
const processor = await loadProcessor(dir);
const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
const LABELS = ['left hand', 'left', 'left foot', 'right foot', 'skull', 'skull of a whale', '手', 'x'];
const which = process.argv[2]!;
const quantization = process.argv[3];
async function open(name: string) {
  if (name === 'cpu') return createEngine('cpu');
  if (name === 'tfjs') { const { createRequire } = await import('node:module'); const req = createRequire('/tmp/tfjs/package.json'); const tf = req('@tensorflow/tfjs'); req('@tensorflow/tfjs-backend-wasm'); await tf.setBackend('wasm'); const { createTfjsEngine } = await import('./src/engine/tfjs/tfjs-engine.js'); return createTfjsEngine({ tf }); }
  const { emulatedEngine } = await import('./test/engine/cuda/emulated-card.js');
  return (await emulatedEngine()) as never;
}
async function run(name: string) {
  const engine = await open(name);
  console.log(name, engine.description);
  const model = await loadModel(dir, { engine, ...(quantization ? { quantization } : {}) } as never);
  makeAdapter(model);
  const prompts = await collator.collatePrompts(makeExamples(3));
  const scores = await scoreLabels(model, processor.tokenizer, prompts, LABELS);
  const alone = [];
  for (const l of LABELS) alone.push(await scoreLabels(model, processor.tokenizer, prompts, [l], { sharePrefix: false }));
  const diff = Math.max(...scores.flatMap((row, b) => row.map((s, i) => Math.abs(s - alone[i]![b]![0]!))));
  console.log(name, 'together vs alone', diff, scores[0]!.map((x) => x.toFixed(3)).join(' '));
  console.log(await generateText(model, processor.tokenizer, prompts, { choices: LABELS }), JSON.stringify(await generateText(model, processor.tokenizer, prompts, { maxNewTokens: 6, stopStrings: ['zz'] })));
  const ids = await generate(model, prompts, { maxNewTokens: 6, eosTokenIds: [9999] });
  const alones = [];
  for (const e of makeExamples(3)) alones.push((await generate(model, await collator.collatePrompts([e]), { maxNewTokens: 6, eosTokenIds: [9999] }))[0]);
  console.log('batched = alone', JSON.stringify(ids) === JSON.stringify(alones));
  await engine.dispose();
}
await run(which);
process.exit(0);
