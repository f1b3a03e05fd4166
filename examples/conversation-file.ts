/**
 * Trains on a file of conversations, JSON Lines in the form of OpenAI, Mistral, TRL, ShareGPT, LLaVA or Alpaca:
 * `npx tsx examples/conversation-file.ts --data train.jsonl --model NAME`. By default it writes such a file about drawn
 * X-rays, and trains a tiny model of random weights.
 */
import { readdir, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { applyLora, ConversationDataset, fromPretrained, SftTrainer, VlmCollator } from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    model: { type: 'string' },
    out: { type: 'string', default: 'runs/conversations' },
  },
});
const question = 'What do you see?';
const wanted = { data: !values.data, model: !values.model, trainPerClass: 8, testPerClass: 1, prompt: question };
const drawn = await prepareDemonstration({ outputDir: values.out, ...wanted });
const file = values.data ?? (await writeConversations(drawn.data, join(values.out, 'train.jsonl')));

// Every row is read once, now: a wrong one, a missing image, a column that nobody reads is an error with its line.
const conversations = await ConversationDataset.fromFile(file);
console.log(conversations.description);
const { train, test } = await conversations.split({ test: 0.1 });

const { model, processor } = await fromPretrained(values.model ?? drawn.model);
const collator = new VlmCollator(processor); // with the chat template of the model
applyLora(model, { r: 16, alpha: 32 });
const trainer = new SftTrainer({
  model,
  collator,
  trainDataset: train,
  evalDataset: test,
  config: {
    ...(values.model ? { learningRate: 2e-4, numTrainEpochs: 1 } : DEMONSTRATION_CONFIG),
    outputDir: join(values.out, 'checkpoints'),
    // The loss of what was held out, after each epoch; the step that was best at it is kept.
    evalStrategy: 'epoch',
    saveStrategy: 'epoch',
    loadBestModelAtEnd: true,
  },
});
const { best } = await trainer.train();
await trainer.saveModel(join(values.out, 'adapter'));
console.log(`loss of ${test?.length} held-out conversations: ${best?.value.toFixed(4)} at step ${best?.step}`);
await model.dispose();

/** One conversation an image, in OpenAI's form; paths are relative to the file. */
async function writeConversations(folder: string, path: string): Promise<string> {
  const names = await readdir(folder, { recursive: true });
  const rows = names
    .filter((name) => name.endsWith('.png'))
    .sort()
    .map((name) => {
      const url = relative(resolve(path, '..'), resolve(folder, name));
      const content = [
        { type: 'text', text: question },
        { type: 'image_url', image_url: { url } },
      ];
      const kind = name.split(/[\\/]/)[0]!;
      return {
        messages: [
          { role: 'user', content },
          { role: 'assistant', content: kind },
        ],
      };
    });
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}
