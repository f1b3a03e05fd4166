/** The six-step run of transformers.Trainer, repeated. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { Engine } from '../../src/engine/engine.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { loadMinistral3, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { type CheckList, relativeL2, sameNumbers } from './check-list.js';
import { exampleOf } from './data-checks.js';
import { type ReferenceFolder, type ReferenceJson, withSecondBos } from './reference-folder.js';

export async function checkTraining(
  checks: CheckList,
  reference: ReferenceFolder,
  json: ReferenceJson,
  engine: Engine,
): Promise<void> {
  const outputDir = await mkdtemp(join(tmpdir(), 'parity-'));
  try {
    await checks.group('training', async () => {
      const model = await loadMinistral3(reference.path('checkpoint'), { engine });
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
        'training: sample order of every micro-batch',
        JSON.stringify(seen) === JSON.stringify(json.trainer.micro_batches),
        JSON.stringify(seen),
      );
      const logs = output.logHistory.filter((entry) => 'loss' in entry);
      const expected = json.trainer.log_history.filter((entry) => entry.loss !== undefined);
      checks.exact(
        'training: number of steps',
        logs.length === expected.length,
        `${logs.length} against ${expected.length}`,
      );
      for (const [i, entry] of expected.entries()) {
        const log = logs[i]!;
        checks.atMost(`training step ${i + 1}: loss`, Math.abs(log.loss / entry.loss! - 1), 1e-4);
        checks.atMost(`training step ${i + 1}: gradient norm`, Math.abs(log.gradNorm / entry.grad_norm - 1), 1e-4);
        checks.exact(
          `training step ${i + 1}: learning rate`,
          Math.abs(log.learningRate - entry.learning_rate) <= 1e-12,
        );
      }
      const flat = await engine.readParameters(adapter.parameters);
      await reference.arrays('adapter_after_training/adapter_model.safetensors', async (file) => {
        let worst = 0;
        for (const { name, offset, size } of adapter.parameters.parameters) {
          worst = Math.max(worst, relativeL2(flat.subarray(offset, offset + size), await file.readFloat32(name)));
        }
        checks.exact(
          'training: same adapter tensors',
          sameNumbers([adapter.parameters.parameters.length], [file.tensors.size]),
        );
        checks.atMost('training: final adapter, worst tensor', worst, 1e-3);
      });
      adapter.dispose();
      model.dispose();
    });
  } finally {
    await rm(outputDir, { recursive: true, force: true });
  }
}
