/**
 * How good is an adapter, and how much of that is its own? `npx tsx examples/evaluate-adapter.ts --adapter NAME --data DIR`.
 * An adapter names its base model and brings its chat template, so its folder, or its name on the Hub, is all that is
 * needed. By default a tiny one is trained first, on drawn X-rays.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  applyLora,
  classificationExample,
  compareReports,
  Evaluator,
  formatReport,
  fromPretrained,
  ImageFolder,
  SftTrainer,
  VlmCollator,
  writeReport,
} from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: { data: { type: 'string' }, adapter: { type: 'string' }, out: { type: 'string', default: 'runs/evaluate' } },
});
const question = 'Which kind of fracture does this X-ray show?'; // as it was trained
const wanted = { data: !values.data, model: !values.adapter, trainPerClass: 8, testPerClass: 3, prompt: question };
const drawn = await prepareDemonstration({ outputDir: values.out, ...wanted });
const data = await ImageFolder.load(values.data ?? drawn.data);
const toExample = classificationExample(question);

const { model, processor, adapter } = await fromPretrained(
  values.adapter ?? (await trainOne(join(values.out, 'adapter'))),
);
if (!adapter) throw new Error(`${values.adapter} is a model without an adapter`);
const collator = new VlmCollator(processor); // with the chat template beside the adapter

// `scored` compares the probabilities of all classes, so that each answer is a class, with a confidence.
const evaluator = new Evaluator({ model, collator, classNames: data.classNames, mode: 'scored', batchSize: 16 });
const base = await adapter.withDisabled(() => evaluator.evaluate(data.test, { toExample }));
const adapted = await evaluator.evaluate(data.test, { toExample });
console.log(formatReport(adapted));
console.log(compareReports(base, adapted));
await writeReport(adapted, join(values.out, 'report.json'));
await model.dispose();

async function trainOne(folder: string): Promise<string> {
  const tiny = await fromPretrained(drawn.model);
  applyLora(tiny.model, { r: 16, alpha: 32 });
  const trainer = new SftTrainer({
    model: tiny.model,
    collator: new VlmCollator({ ...tiny.processor, chatTemplate: 'tutorial' }),
    trainDataset: data.train.map(toExample),
    config: { ...DEMONSTRATION_CONFIG, outputDir: join(values.out, 'checkpoints'), saveStrategy: 'no' },
  });
  await trainer.train();
  await trainer.saveModel(folder);
  await tiny.model.dispose();
  return folder;
}
