/**
 * The part of a round trip that is done here: a sharded checkpoint is loaded, an adapter trained for two steps, saved,
 * read back and merged.
 *
 *   python3 test/parity/round-trip.py make DIR [--size 8B]
 *   npm run roundtrip -- DIR [--engine cuda]
 *   python3 test/parity/round-trip.py check DIR
 *
 * Writes DIR/adapter, DIR/merged and DIR/ours.safetensors (the logits of the labelled tokens, with the adapter that was
 * read back). Prints a RESULT line with the seconds of each part.
 */
import { rm } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { Tape } from '../../src/engine/tape.js';
import { writeSafetensors } from '../../src/formats/safetensors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { loadModel } from '../../src/model/load.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { ReferenceFolder } from './reference-folder.js';

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { engine: { type: 'string', default: 'cuda' } },
});
const dir = positionals[0];
if (!dir) {
  console.error('usage: npm run roundtrip -- DIR   (a folder made by test/parity/round-trip.py make)');
  process.exit(2);
}
const folder = new ReferenceFolder(dir);
const seconds: Record<string, number> = {};
async function timed<T>(part: string, body: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await body();
  seconds[part] = Number(((performance.now() - start) / 1000).toFixed(2));
  console.log(`${part}: ${seconds[part]} s`);
  return result;
}

const engine = await createEngine(options.engine as EngineChoice);
console.log(engine.description);
const checkpointDir = folder.path('checkpoint');
const model = await timed('load', () => loadModel(checkpointDir, { engine }));
const batch = await folder.arrays('batch.safetensors', (file) => folder.batch(file));
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
const losses: number[] = [];
await timed('two steps', async () => {
  for (let step = 1; step <= 2; step++) {
    const loss = await accumulateGradients(model, [batch], {
      labelCount: countLabels(batch),
      dropoutSeeds: [step],
      gradientCheckpointing: 'auto',
    });
    const settings = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, maxGradNorm: 0.3 };
    // Large steps, so that the adapter's effect stands out from the rounding of bfloat16.
    await engine.optimizerStep(adapter.parameters, state, { kind: 'adamw8bit', learningRate: 5e-3, ...settings })();
    engine.zeroGradients(adapter.parameters);
    losses.push(await loss());
  }
});
const adapterDir = folder.path('adapter');
await timed('save', () => saveAdapter(adapter, adapterDir, { baseModelNameOrPath: checkpointDir }));
adapter.dispose();

const again = await timed('read back', () => loadAdapter(adapterDir, model));
const tape = new Tape(engine, { record: false });
const packed = model.pack(batch);
const rows = model.logits(tape, model.hidden(tape, packed, {}), packed.labelRows);
const logits = await engine.read(rows);
tape.dispose();
await writeSafetensors(folder.path('ours.safetensors'), [
  { name: 'logits', dtype: 'F32', shape: [...rows.shape], data: logits },
  { name: 'float32', dtype: 'U8', shape: [1], data: Uint8Array.of(engine.name === 'cuda' ? 0 : 1) },
]);
again.dispose();
await rm(folder.path('merged'), { recursive: true, force: true });
const outputDir = folder.path('merged');
const { mergedModules, bytes } = await timed('merge', () => mergeAdapter({ checkpointDir, adapterDir, outputDir }));
console.log(
  `RESULT ${JSON.stringify({ test: 'round trip', engine: engine.name, losses, mergedModules, bytes, seconds })}`,
);
model.dispose();
await engine.dispose();
