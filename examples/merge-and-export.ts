/**
 * Folds an adapter into its base model, for what serves whole models: `npx tsx examples/merge-and-export.ts --adapter NAME`.
 * The copy has the layout of the base: transformers and vLLM load its folder, and llama.cpp converts it to GGUF. By
 * default a tiny adapter is made first.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  applyLora,
  classificationExample,
  fromPretrained,
  generateText,
  ImageFolder,
  mergeAdapter,
  pushToHub,
  SftTrainer,
  VlmCollator,
} from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';
import { showProgress } from 'ministral-tune/monitor';

const { values } = parseArgs({
  options: {
    adapter: { type: 'string' },
    'push-to-hub': { type: 'string' },
    out: { type: 'string', default: 'runs/merge' },
  },
});
const question = 'Which kind of fracture does this X-ray show?';
const drawn = await prepareDemonstration({
  outputDir: values.out,
  trainPerClass: 4,
  testPerClass: 1,
  prompt: question,
});
const outputDir = join(values.out, 'merged');
const adapterDir = values.adapter ?? (await trainOne(join(values.out, 'adapter')));

// On the CPU: the weights are only read, changed and written.
const { model, processor, adapter } = await fromPretrained(adapterDir, { engine: 'cpu' });
const { folder } = model;
if (!adapter || !folder) throw new Error(`${adapterDir} is no adapter`);
const merged = await mergeAdapter({
  adapter,
  checkpointDir: folder,
  outputDir,
  processor,
  onProgress: showProgress('merge'),
});
console.log(`${merged.mergedModules} layers changed, ${merged.files.length} files in ${merged.outputDir}`);

// The merged model answers as base and adapter do.
const data = await ImageFolder.load(drawn.data);
const probe = classificationExample(question)(await data.test.get(0));
const ask = async ({ model, processor }: Pick<Awaited<ReturnType<typeof fromPretrained>>, 'model' | 'processor'>) => {
  const collator = new VlmCollator(processor);
  const prompts = await collator.collatePrompts([probe]);
  return generateText(model, processor.tokenizer, prompts, { maxNewTokens: 16 });
};
const whole = await fromPretrained(outputDir, { engine: 'cpu' });
const [before, after] = [await ask({ model, processor }), await ask(whole)];
console.log(before[0] === after[0] ? 'both answer the same' : `answers differ: ${before[0]} / ${after[0]}`);
await Promise.all([model.dispose(), whole.model.dispose()]);

console.log(`
transformers   AutoModelForImageTextToText.from_pretrained('${outputDir}')
vLLM           vllm serve ${outputDir}
llama.cpp      python convert_hf_to_gguf.py ${outputDir} --outfile model.gguf; once more with --mmproj for the images`);
if (values['push-to-hub']) console.log((await pushToHub(outputDir, values['push-to-hub'])).url);

async function trainOne(folder: string): Promise<string> {
  await rm(outputDir, { recursive: true, force: true }); // of an earlier demonstration: a merge overwrites nothing
  const tiny = await fromPretrained(drawn.model);
  applyLora(tiny.model, { r: 4, alpha: 8 });
  const images = await ImageFolder.load(drawn.data);
  const trainer = new SftTrainer({
    model: tiny.model,
    collator: new VlmCollator({ ...tiny.processor, chatTemplate: 'tutorial' }),
    trainDataset: images.train.map(classificationExample(question)),
    config: { ...DEMONSTRATION_CONFIG, outputDir: join(values.out, 'checkpoints'), saveStrategy: 'no' },
  });
  await trainer.train();
  await trainer.saveModel(folder);
  await tiny.model.dispose();
  return folder;
}
