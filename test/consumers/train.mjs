/** One step of the tiny model on texts, on two threads: a program that needs no image package and no card. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  applyLora,
  ChatTemplate,
  ConversationDataset,
  createEngine,
  fromPretrained,
  LoraConfig,
  SftTrainer,
  TUTORIAL_TEMPLATE,
  VlmCollator,
} from 'ministral-tune';
import { writeTinyCheckpoint } from 'ministral-tune/demo';

const folder = await mkdtemp(join(tmpdir(), 'ministral-tune-consumer-'));
try {
  const corpus = ['What do you see?', 'A fracture of the wrist.'];
  await writeTinyCheckpoint({ outputDir: join(folder, 'model'), seed: 1, corpus });
  const engine = await createEngine('cpu', { threads: 2 });
  const { model, processor } = await fromPretrained(join(folder, 'model'), { engine });
  applyLora(model, new LoraConfig({ r: 4 }));
  const { tokenizer, imageProcessor } = processor;
  const chatTemplate = processor.chatTemplate ?? new ChatTemplate(TUTORIAL_TEMPLATE);
  const collator = new VlmCollator({ tokenizer, imageProcessor, chatTemplate });
  const messages = corpus.map((content, i) => ({ role: i === 0 ? 'user' : 'assistant', content }));
  const trainDataset = ConversationDataset.fromRows([{ messages }, { messages }]);
  const config = { maxSteps: 1, outputDir: join(folder, 'run'), progress: 'none', saveStrategy: 'no' };
  const { globalStep, trainingLoss } = await new SftTrainer({
    model,
    collator,
    trainDataset: await trainDataset,
    config,
  }).train();
  await engine.dispose();
  assert.equal(globalStep, 1);
  assert.ok(Number.isFinite(trainingLoss) && trainingLoss > 0, `the loss is ${trainingLoss}`);
  console.log(`trained ${globalStep} step`);
} finally {
  await rm(folder, { recursive: true });
}
