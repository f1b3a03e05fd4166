/**
 * From a folder of images to an evaluated adapter, as short as it gets: `npx tsx examples/quickstart.ts`.
 * By default on a few drawn X-rays and a tiny model of random weights, so that nothing is downloaded: that shows how it
 * goes, and learns next to nothing. With images and a model of your own, the folder as `<class>/{train,test}/*`:
 * `npx tsx examples/quickstart.ts --data DIR --model mistralai/Ministral-3-3B-Instruct-2512-BF16`.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  applyLora,
  classificationExample,
  Evaluator,
  formatReport,
  fromPretrained,
  ImageFolder,
  SftTrainer,
  VlmCollator,
} from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: { data: { type: 'string' }, model: { type: 'string' }, out: { type: 'string', default: 'runs/quickstart' } },
});
const question = 'Which kind of fracture does this X-ray show?';
const wanted = { data: !values.data, model: !values.model, trainPerClass: 12, testPerClass: 4, prompt: question };
const drawn = await prepareDemonstration({ outputDir: values.out, ...wanted });

// Data: class folders, and each image as a question with its class as the answer.
const data = await ImageFolder.load(values.data ?? drawn.data);
const toExample = classificationExample(question);

// Model: on the card if there is one, else on the CPU; `applyLora` adds the parameters that are trained.
const { model, processor } = await fromPretrained(values.model ?? drawn.model);
console.log(model.engine.description);
const collator = new VlmCollator({ ...processor, chatTemplate: 'tutorial' });
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05 });
console.log(adapter.description);

// Training: logs to stderr and ends with a summary. The defaults are those of TRL.
const forPretrained = {
  numTrainEpochs: 1,
  learningRate: 2e-4,
  perDeviceTrainBatchSize: 2,
  gradientAccumulationSteps: 4,
};
const trainer = new SftTrainer({
  model,
  collator,
  trainDataset: data.train.map(toExample),
  config: { outputDir: join(values.out, 'checkpoints'), ...(values.model ? forPretrained : DEMONSTRATION_CONFIG) },
});
await trainer.train();
await trainer.saveModel(join(values.out, 'adapter')); // as PEFT writes it: transformers and vLLM load it

// Evaluation: the answers to the test images, compared with their classes.
const evaluator = new Evaluator({ model, collator, classNames: data.classNames });
const report = await evaluator.evaluate(data.test, { toExample });
console.log(formatReport(report));
await model.dispose();
