/**
 * A run that is stopped and goes on: Ctrl-C saves the last step, and the same command with `--resume` takes it up:
 * `npx tsx examples/resume.ts --data DIR --model NAME [--resume]`. By default the example plays both parts itself: it
 * leaves the run at half, starts anew, and compares with a run that was never stopped: the same bytes on engine `cpu`.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  abortOnSignals,
  applyLora,
  classificationExample,
  fromPretrained,
  ImageFolder,
  type SftConfigInput,
  SftTrainer,
  VlmCollator,
} from 'ministral-tune';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    model: { type: 'string' },
    resume: { type: 'boolean', default: false },
    out: { type: 'string', default: 'runs/resume' },
  },
});
const question = 'Which kind of fracture does this X-ray show?';
const wanted = { data: !values.data, model: !values.model, trainPerClass: 8, testPerClass: 1, prompt: question };
const drawn = await prepareDemonstration({ outputDir: values.out, ...wanted });
const data = await ImageFolder.load(values.data ?? drawn.data);
const config: SftConfigInput = values.model
  ? { learningRate: 2e-4, numTrainEpochs: 1, saveSteps: 0.1 }
  : { ...DEMONSTRATION_CONFIG, numTrainEpochs: 1, loggingSteps: 2, saveSteps: 5 };

/** Model, adapter and trainer, as a new process makes them. */
async function prepare(outputDir: string) {
  const { model, processor } = await fromPretrained(values.model ?? drawn.model, {
    engine: values.model ? 'auto' : 'cpu',
  });
  applyLora(model, { r: 16, alpha: 32, dropout: 0.05 });
  const collator = new VlmCollator({ ...processor, chatTemplate: 'tutorial' });
  const trainDataset = data.train.map(classificationExample(question));
  return { model, trainer: new SftTrainer({ model, collator, trainDataset, config: { ...config, outputDir } }) };
}

const outputDir = join(values.out, 'checkpoints');
if (values.model) {
  // A signal ends the run with its last step saved; `kill -9` and a power cut cost the steps since the last save.
  const { model, trainer } = await prepare(outputDir);
  using stop = abortOnSignals({ onStop: (name) => console.error(`${name}: saving; --resume goes on from there`) });
  await trainer.train({ signal: stop.signal, resumeFromCheckpoint: values.resume });
  await trainer.saveModel(join(values.out, 'adapter'));
  await model.dispose();
} else {
  const whole = await prepare(join(values.out, 'never-stopped'));
  await whole.trainer.train();
  await whole.trainer.saveModel(join(values.out, 'adapter-never-stopped'));
  await whole.model.dispose();

  const first = await prepare(outputDir);
  const run = first.trainer.train();
  for await (const event of run) if (event.type === 'step' && event.step === 5) break; // stops the run, which saves
  const { checkpoints } = await run;
  await first.model.dispose();

  const second = await prepare(outputDir);
  const { globalStep, adapterDir } = await second.trainer.train({ resumeFromCheckpoint: checkpoints.at(-1) });
  await second.trainer.saveModel(join(values.out, 'adapter'));
  await second.model.dispose();

  const files = ['adapter-never-stopped', 'adapter'].map((name) => join(values.out, name, 'adapter_model.safetensors'));
  const [one, other] = await Promise.all(files.map((file) => readFile(file)));
  console.log(`${globalStep} steps, the last of them in ${adapterDir}`);
  console.log(one!.equals(other!) ? 'the adapter is that of a run that was never stopped' : 'the adapters differ');
}
