/**
 * Several images in one sample: here pairs, and whether both show the same class. `npx tsx examples/several-images.ts
 * --data DIR --model NAME`; by default on drawn X-rays and a tiny model. A part of a message is a text or an image, in any
 * number and order; a sample with more images takes more tokens (`collator.measure` says how many).
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  applyLora,
  fromPretrained,
  generateText,
  ImageFolder,
  type ImageSample,
  IndexedDataset,
  type LabelledDataset,
  type SftExample,
  SftTrainer,
  VlmCollator,
} from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: { data: { type: 'string' }, model: { type: 'string' }, out: { type: 'string', default: 'runs/pairs' } },
});
const question = 'Do both X-rays show the same kind of fracture? Answer yes or no.';
const wanted = {
  data: !values.data,
  model: !values.model,
  trainPerClass: 4,
  testPerClass: 2,
  prompt: `${question} yes no`,
};
const drawn = await prepareDemonstration({ outputDir: values.out, ...wanted });
const data = await ImageFolder.load(values.data ?? drawn.data);

/** Each image beside its neighbour (of the same class, but at its end) and beside one from half the set away. */
function pairsOf(images: LabelledDataset<ImageSample>): IndexedDataset<SftExample> {
  return new IndexedDataset(2 * images.length, async (index) => {
    const at = index >> 1;
    const beside = (at + (index % 2 === 0 ? 1 : images.length >> 1)) % images.length;
    const [one, other] = await Promise.all([images.get(at), images.get(beside)]);
    return {
      id: `${one.path} and ${other.path}`,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'First:' },
            { type: 'image', image: one.image },
            { type: 'text', text: 'Second:' },
            { type: 'image', image: other.image },
            { type: 'text', text: question },
          ],
        },
        { role: 'assistant', content: one.className === other.className ? 'yes' : 'no' },
      ],
    };
  });
}

const { model, processor } = await fromPretrained(values.model ?? drawn.model);
const collator = new VlmCollator({ ...processor, chatTemplate: 'tutorial' });
const train = pairsOf(data.train);
const sample = await collator.encode(await train.get(0));
console.log(`a sample has ${sample.images.length} images and ${sample.inputIds.length} tokens`);

applyLora(model, { r: 16, alpha: 32 });
const trainer = new SftTrainer({
  model,
  collator,
  trainDataset: train,
  config: {
    ...(values.model
      ? { learningRate: 2e-4, perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 }
      : DEMONSTRATION_CONFIG),
    numTrainEpochs: 1,
    outputDir: join(values.out, 'checkpoints'),
  },
});
await trainer.train();
await trainer.saveModel(join(values.out, 'adapter'));

const asked = await Promise.all([0, 1].map((index) => pairsOf(data.test).get(index)));
const prompts = await collator.collatePrompts(asked); // without the answers
const answers = await generateText(model, collator.tokenizer, prompts, { choices: ['yes', 'no'] });
for (const [i, { id }] of asked.entries()) console.log(`${id}: ${answers[i]}`);
await model.dispose();
