/** The six-step run of transformers.Trainer, repeated, with and without shared prefixes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { Engine } from '../../src/engine/engine.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { type CheckList, relativeL2, sameNumbers } from './check-list.js';
import { exampleOf } from './data-checks.js';
import type { Judge } from './judge.js';
import { type ReferenceFolder, type ReferenceJson, withSecondBos } from './reference-folder.js';

export async function checkTraining(
  checks: CheckList,
  judge: Judge,
  reference: ReferenceFolder,
  json: ReferenceJson,
  engine: Engine,
): Promise<void> {
  for (const sharePrefix of [true, false]) await checkRun(checks, judge, { reference, json, engine, sharePrefix });
}

interface RunParts {
  readonly reference: ReferenceFolder;
  readonly json: ReferenceJson;
  readonly engine: Engine;
  readonly sharePrefix: boolean;
}

async function checkRun(checks: CheckList, judge: Judge, parts: RunParts): Promise<void> {
  const { reference, json, engine, sharePrefix } = parts;
  const outputDir = await mkdtemp(join(tmpdir(), 'parity-'));
  const title = sharePrefix ? 'training' : 'training, unshared';
  try {
    await checks.group(title, async () => {
      const model = await loadModel(reference.path('checkpoint'), { engine });
      const adapter = await loadAdapter(reference.path('adapter'), model);
      const processor = await loadProcessor(reference.path('checkpoint'));
      const plain = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate!, maskPrompt: false });
      const args = json.trainer.args as Record<string, number>;
      const count = new Set(json.trainer.micro_batches.flat()).size;
      const samples = Array.from({ length: count }, (_, i) => exampleOf(reference, json, i));
      const seen: number[][] = [];
      const trainer = new SftTrainer({
        model,
        trainDataset: IndexedDataset.from(samples),
        collator: {
          collate: async (examples: readonly SftExample[]) => {
            seen.push(examples.map((example) => samples.findIndex(({ id }) => id === example.id)));
            return withSecondBos(await plain.collate(examples), processor.tokenizer.bosTokenId);
          },
        },
        config: {
          outputDir,
          numTrainEpochs: args['num_train_epochs']!,
          perDeviceTrainBatchSize: args['per_device_train_batch_size']!,
          gradientAccumulationSteps: args['gradient_accumulation_steps']!,
          learningRate: args['learning_rate']!,
          weightDecay: args['weight_decay']!,
          maxGradNorm: args['max_grad_norm']!,
          warmupSteps: args['warmup_steps']!,
          adamBeta1: args['adam_beta1']!,
          adamBeta2: args['adam_beta2']!,
          adamEpsilon: args['adam_epsilon']!,
          loggingSteps: args['logging_steps']!,
          seed: args['seed']!,
          sharePrefix,
          lrSchedulerType: 'linear',
          optim: 'adamw_torch',
          saveStrategy: 'no',
          gradientCheckpointing: false,
          dataloaderPrefetch: 0,
          progress: 'none',
        },
      });
      const output = await trainer.train();
      checks.exact(
        `${title}: sample order of every micro-batch`,
        JSON.stringify(seen) === JSON.stringify(json.trainer.micro_batches),
        JSON.stringify(seen),
      );
      const logs = output.logHistory.filter((entry) => 'loss' in entry);
      const shares = logs.map(({ sharedTokenShare = 0 }) => `${(100 * sharedTokenShare).toFixed(0)} %`);
      console.log(`${title}: shared tokens of the steps ${shares.join(', ')}`);
      const expected = json.trainer.log_history.filter((entry) => entry.loss !== undefined);
      checks.exact(
        `${title}: number of steps`,
        logs.length === expected.length,
        `${logs.length} against ${expected.length}`,
      );
      for (const [i, entry] of expected.entries()) {
        const log = logs[i]!;
        if (judge.isFloat32) {
          checks.atMost(`${title}, step ${i + 1}: loss`, Math.abs(log.loss / entry.loss! - 1), 1e-4);
          checks.atMost(`${title}, step ${i + 1}: gradient norm`, Math.abs(log.gradNorm / entry.grad_norm - 1), 1e-4);
        }
        checks.exact(
          `${title}, step ${i + 1}: learning rate`,
          Math.abs(log.learningRate - entry.learning_rate) <= 1e-12,
        );
      }
      if (!judge.isFloat32) {
        const lossesSeen = logs.map(({ loss }) => loss);
        const expectedLosses = Float32Array.from(expected, ({ loss }) => loss!);
        await judge.losses(`${title}: losses`, lossesSeen, expectedLosses, { key: 'training/loss' });
        const norms = Float32Array.from(logs, ({ gradNorm }) => gradNorm);
        const expectedNorms = Float32Array.from(expected, ({ grad_norm }) => grad_norm);
        await judge.array(`${title}: gradient norms`, norms, expectedNorms, { key: 'training/grad_norm', bound: 1e-4 });
      }
      const flat = await engine.readParameters(adapter.parameters);
      await reference.arrays('adapter_after_training/adapter_model.safetensors', async (file) => {
        const tensors: { name: string; actual: Float32Array; expected: Float32Array }[] = [];
        for (const { name, offset, size } of adapter.parameters.parameters) {
          tensors.push({ name, actual: flat.subarray(offset, offset + size), expected: await file.readFloat32(name) });
        }
        checks.exact(`${title}: same adapter tensors`, sameNumbers([tensors.length], [file.tensors.size]));
        if (judge.isFloat32) {
          const errors = tensors.map(({ actual, expected }) => relativeL2(actual, expected));
          checks.atMost(`${title}: final adapter, worst tensor`, Math.max(...errors), 1e-3);
        } else await judge.adapterTensors(`${title}: final`, tensors, { key: 'training', bound: 1e-3 });
      });
      adapter.dispose();
      model.dispose();
    });
  } finally {
    await rm(outputDir, { recursive: true, force: true });
  }
}
