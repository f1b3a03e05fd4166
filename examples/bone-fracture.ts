/**
 * Teaches a Ministral 3 model to name the kind of fracture on an X-ray, from a folder of images to an evaluated
 * LoRA adapter. For education only: nothing here is fit for medical use.
 *
 * `npm run example -- --help` tells the options.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  abortOnSignals,
  applyLora,
  checkPushAccess,
  classificationExample,
  compareReports,
  createEngine,
  type EngineChoice,
  type EvaluationReport,
  Evaluator,
  formatReport,
  fromPretrained,
  ImagePool,
  type ImageSample,
  type IndexedDataset,
  type LoraConfigOptions,
  loadAdapter,
  loadTfjs,
  pushToHub,
  randomPermutation,
  type SftConfigInput,
  SftTrainer,
  saveAdapter,
  streamText,
  type TfjsPackage,
  type TrainingEvent,
  VlmCollator,
  verifyAdapter,
} from 'ministral-tune';
import { auditDataset, auditThumbnails, formatAudit } from 'ministral-tune/audit';
import { barChart, confusionChart, lineChart, renderPng, writeContactSheet } from 'ministral-tune/charts';
import { formatMask, maskView } from 'ministral-tune/data';
import { DEMONSTRATION_CONFIG, FRACTURE_CLASSES, prepareDemonstration } from 'ministral-tune/demo';
import { compareSubsets, writePredictions } from 'ministral-tune/eval';
import { livePage, showProgress, tensorBoard } from 'ministral-tune/monitor';
import { formatTrainingPlan, plan } from 'ministral-tune/plan';
import { writeRunReport } from 'ministral-tune/report';
import { endWithMessage, plain, readCommandLine } from './command-line.js';
import { fractureCard } from './fracture-card.js';
import { fracturePrompt } from './fracture-prompt.js';
import { loadImages } from './load-images.js';

endWithMessage();
const options = readCommandLine();
const out = options.out;
await mkdir(out, { recursive: true });
// Before the training, not after.
if (options['push-to-hub']) console.log(`will push to ${await checkPushAccess(options['push-to-hub'])}`);
const heading = (text: string): void => console.log(`\n── ${text}`);

const KAGGLE_DATASET = 'pkdarabi/bone-break-classification-image-dataset';

/** What the tutorial trains with; the tiny model of the demonstration needs other numbers. */
const TUTORIAL = {
  numTrainEpochs: 1,
  perDeviceTrainBatchSize: 2,
  perDeviceEvalBatchSize: 2,
  gradientAccumulationSteps: 4,
  learningRate: 2e-4,
  warmupSteps: 25,
  maxNewTokens: 100,
};
const settings = options.model ? TUTORIAL : { ...TUTORIAL, ...DEMONSTRATION_CONFIG, maxNewTokens: 12 };

const page = options.live ? livePage({ title: 'Kinds of bone fractures' }) : undefined;
await page?.open();

heading('Engine');
const engine = options.engine.startsWith('tfjs')
  ? await createEngine('tfjs', { tf: await loadTfjs(options.engine as TfjsPackage) })
  : await createEngine(options.engine as EngineChoice, { onChoice: console.log });
console.log(engine.description);

heading('Data');
const demonstration = await prepareDemonstration({
  outputDir: out,
  data: !options.data && !options.kaggle,
  model: !options.model,
  prompt: fracturePrompt(FRACTURE_CLASSES),
  onNote: console.log,
});
const data = await loadImages(options.data ?? demonstration.data, {
  kaggle: options.kaggle ? { name: KAGGLE_DATASET, onProgress: showProgress('download') } : undefined,
  labels: options.labels,
  holdout: options.holdout,
});
const limit = options.limit ?? Number.POSITIVE_INFINITY;
const take = (set: typeof data.train): IndexedDataset<ImageSample> =>
  set.select(
    randomPermutation(set.length, 42)
      .slice(0, limit)
      .sort((a, b) => a - b),
  );
const [train, test] = [take(data.train), take(data.test)];
const counts = data.train.classCounts();
console.log(`${data.classNames.length} classes, ${data.train.length} training and ${data.test.length} test samples`);
for (const [name, count] of counts) console.log(`  ${plain(name).padEnd(24)} ${count}`);

heading('A look at the data');
const bySplit = [data.train, data.test].map((set) => [...set.classCounts().values()]);
await renderPng(
  barChart({
    title: 'Samples of each class',
    labels: data.classNames,
    series: [
      { name: 'train', values: bySplit[0]! },
      { name: 'test', values: bySplit[1]! },
    ],
  }),
  join(out, 'class-counts.png'),
);
const four = await Promise.all(
  randomPermutation(train.length, 420)
    .slice(0, 4)
    .map((i) => train.get(i)),
);
const images = await Promise.all(
  four.map(async ({ image, className }) => ({ image: await image.decode(), caption: className })),
);
await writeContactSheet(images, join(out, 'samples.png'), { columns: 4, title: 'Four training samples' });
console.log(`${join(out, 'class-counts.png')}, ${join(out, 'samples.png')}`);

heading('Data audit');
const splits = { train: data.train, test: data.test };
// Drawn images resemble each other on purpose.
const nearDuplicates = options.data !== undefined || options.kaggle;
const audit = await auditDataset(splits, { nearDuplicates, onProgress: showProgress('audit') });
console.log(formatAudit(audit, { maxGroups: 3 }));
// Where an image of the test has a copy in training, its answer says nothing about new images.
const leaks = audit.leaks.find(({ split }) => split === 'test')?.samples ?? [];
const copied = new Set(await Promise.all(leaks.map(async (index) => (await data.test.get(index)).path)));

heading('Prompt');
const prompt = fracturePrompt(data.classNames);
const toExample = classificationExample(prompt);
console.log(plain(prompt));

heading('Settings');
const modelName = options.model ?? demonstration.model;
const memoryBudget = options.memoryBudget && options.memoryBudget * 2 ** 30;
const lora: LoraConfigOptions = {
  r: 16,
  alpha: 32,
  dropout: 0.05,
  targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
  taskType: 'CAUSAL_LM',
};
const { maxNewTokens: _, ...trainSettings } = settings;
const stepsOfEpoch = Math.ceil(train.length / (settings.perDeviceTrainBatchSize * settings.gradientAccumulationSteps));
const steps = Math.ceil(stepsOfEpoch * (options.epochs ?? settings.numTrainEpochs));
const sftConfig: SftConfigInput = {
  ...trainSettings,
  // Few images end before the warm-up does: nothing would be learned.
  warmupSteps: Math.min(settings.warmupSteps, Math.floor(steps / 2)),
  ...(options.epochs ? { numTrainEpochs: options.epochs } : {}),
  ...(memoryBudget ? { memoryBudget } : {}),
  autoMicroBatch: true,
  precision: options.precision,
  sharePrefix: options.sharePrefix,
  outputDir: join(out, 'checkpoints'),
  optim: 'adamw_8bit',
  lrSchedulerType: 'linear',
  maxGradNorm: 0.3,
  loggingSteps: 0.1,
  saveStrategy: 'epoch',
  saveTotalLimit: 1,
};
console.log(`${steps} optimizer steps over ${train.length} samples`);
if (options.plan) {
  const { quantization } = options;
  const told = await plan({
    ...{ trainDataset: train.map(toExample), model: modelName, chatTemplate: 'tutorial', config: sftConfig, lora },
    ...(quantization ? { formats: [quantization === 'none' ? 'bf16' : quantization] } : {}),
    ...(memoryBudget ? { cuda: { memoryBudget } } : {}),
  });
  console.log(formatTrainingPlan(told));
  await engine.dispose();
  process.exit();
}

heading('Model');
const { model, processor } = await fromPretrained(modelName, {
  engine,
  quantization: options.quantization,
  onNotice: console.log,
  onProgress: showProgress('download'),
  onLoadProgress: showProgress('weights'),
});
const { tokenizer, imageProcessor } = processor;
const imagePool = new ImagePool(imageProcessor);
// The official chat template is long and makes the model follow its format instead of the image.
const collator = new VlmCollator({ ...processor, chatTemplate: 'tutorial', imagePool });
console.log(`${modelName}: ${model.config.text.layers} decoder and ${model.config.vision.layers} vision layers`);

heading('What is learned');
const masks = await maskView(train.map(toExample), collator, { indices: [0, train.length - 1] });
console.log(formatMask(masks));

heading('Before training');
const probe = await train.get(Math.min(200, train.length - 1));
process.stdout.write('What is the image about?  ');
const open = await collator.collatePrompts([classificationExample('What is the image about?')(probe)]);
for await (const piece of streamText(model, tokenizer, open, {
  doSample: true,
  temperature: 1.5,
  minP: 0.1,
  maxNewTokens: settings.maxNewTokens,
})) {
  process.stdout.write(plain(piece));
}
console.log(`\n(the truth is: ${plain(probe.className)})`);

const start = performance.now();
const { evaluate: mode, sharePrefix } = options;
const evaluator = new Evaluator({
  ...{ model, collator, classNames: data.classNames, mode, sharePrefix, batchSize: 20 },
  ...(mode === 'scored' ? {} : { maxNewTokens: settings.maxNewTokens }),
});
const evaluate = (what: string): Promise<EvaluationReport> =>
  evaluator.evaluate(test, { toExample, onProgress: showProgress(what) });
/** Some of the answers, with their images. */
const pictured = (samples: EvaluationReport['samples']) =>
  Promise.all(
    samples.map(async ({ id, answer, expected, predicted }) => {
      const sample = await (await test.filter(({ path }) => path === id)).get(0);
      const correct = predicted === expected;
      return { id, answer, expected: data.classNames[expected]!, correct, image: await sample.image.decode() };
    }),
  );
const before = await evaluate('before');
page?.showSamples(await pictured(before.samples.slice(0, 12)));
console.log(`accuracy ${before.accuracy.toFixed(3)}, macro-F1 ${before.macroF1.toFixed(3)}`);

heading('Training');
const note = (line: string): void => console.warn(`Note: ${line}.`);
const adapter = options.adapter
  ? await loadAdapter(options.adapter, model, { onWarning: note })
  : applyLora(model, lora, { onWarning: note });
console.log(adapter.description);
// A callback, as a loop over the run would be left to print its losses.
const events: TrainingEvent[] = [];
const collect = { onEvent: (event: TrainingEvent) => void events.push(event) };
const trainer = new SftTrainer({
  model,
  trainDataset: train.map(toExample),
  collator,
  config: sftConfig,
  callbacks: [tensorBoard({ folder: join(out, 'tensorboard'), every: 'step' }), collect, ...(page ? [page] : [])],
});
const stop = abortOnSignals({ onStop: (name) => console.error(`\n${name}: saving; Ctrl-C ends it at once`) });
try {
  await trainer.train({ signal: stop.signal, resumeFromCheckpoint: options.resume });
} catch (error) {
  // By Ctrl-C, or on the live page.
  if (!stop.received && (error as Error).name !== 'AbortError') throw error;
  console.error('stopped; --resume goes on from here');
  process.exit();
}
stop.dispose();
const adapterDir = join(out, 'adapter');
await saveAdapter(adapter, adapterDir, { baseModelNameOrPath: modelName, processor: collator });
const losses = events.flatMap((event): [number, number][] => (event.type === 'step' ? [[event.step, event.loss]] : []));
await renderPng(
  lineChart({
    title: 'Training loss',
    xLabel: 'optimizer step',
    yLabel: 'loss per labelled token',
    series: [{ name: 'loss', points: losses }],
  }),
  join(out, 'loss.png'),
);
const probes = await Promise.all([0, train.length - 1].map(async (i) => toExample(await train.get(i))));
const check = await verifyAdapter(model, adapterDir, await collator.collatePrompts(probes));
console.log(
  `adapter saved in ${adapterDir}; read back, its ${check.modules} layers change logits by up to ` +
    `${check.maxChange.toPrecision(3)}, as the trained ones do (to ${check.maxDeviation!.toPrecision(3)})`,
);

heading('After training, with the adapter read back from the disk');
adapter.dispose();
await loadAdapter(adapterDir, model, { onWarning: () => undefined });
const after = await evaluate('after');
const seconds = (performance.now() - start) / 1000;
console.log(formatReport(after));

heading('Before and after');
console.log(compareReports(before, after));
const ownIds = after.samples.map(({ id }) => id).filter((id) => !copied.has(id));
if (copied.size > 0 && ownIds.length > 0) console.log(compareSubsets(after, { 'without copies': ownIds }));
await renderPng(confusionChart(after, 'Confusion matrix after training'), join(out, 'confusion.png'));
const shown = await pictured(
  randomPermutation(after.samples.length, 7)
    .slice(0, 8)
    .map((i) => after.samples[i]!),
);
const answers = shown.map(({ image, answer, expected, correct }) => ({
  ...{ image, correct, caption: `${expected}\n${correct ? 'answered right' : `answered "${answer}"`}` },
}));
await writeContactSheet(answers, join(out, 'answers.png'), { columns: 4, title: 'Answers after training' });
const scores = ({ accuracy, macroF1 }: EvaluationReport): object => ({ accuracy, macroF1 });
const summary = {
  engine: engine.name,
  samples: train.length,
  testSamples: test.length,
  seconds,
  before: scores(before),
  after: scores(after),
  losses: losses.map(([, loss]) => loss),
};
await writeFile(join(out, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);

heading('Report');
await writePredictions(after, join(out, 'predictions.csv'));
const written = await writeRunReport(join(out, 'checkpoints'), {
  title: 'Kinds of bone fractures',
  description: 'For education only: nothing here is fit for medical use.',
  file: join(out, 'report.html'),
  ...{ before, after, events, masks, images: test, engine: engine.description },
  audit: { report: audit, thumbnails: await auditThumbnails(splits, audit) },
});
for (const line of written.warnings) note(line);
console.log(`${written.path}: open it in a browser`);
const repoId = options['push-to-hub'];
if (repoId) {
  heading('Hub');
  const modelCard = fractureCard({
    out,
    source: options.kaggle
      ? `[Kaggle](https://www.kaggle.com/datasets/${KAGGLE_DATASET})`
      : options.data
        ? 'a folder of its author'
        : 'a program that draws them: no real X-rays',
    classNames: data.classNames,
    trainSamples: train.length,
    prompt,
    baseModel: options['base-model'],
    config: { ...sftConfig, outputDir: undefined },
    before,
    after,
  });
  const { url, changed } = await pushToHub(adapterDir, repoId, {
    modelCard,
    commitMessage: `Accuracy ${after.accuracy.toFixed(3)} on ${after.samples.length} test samples`,
  });
  console.log(changed ? `pushed to ${url}` : `${url} has this adapter already`);
}
console.log(`\n${seconds.toFixed(1)} s for training and both evaluations. Everything is in ${out}/`);
if (!options.model || !(options.data || options.kaggle)) {
  console.log('This was a demonstration: drawn images or a tiny random model. It says nothing about real X-rays.');
}
await imagePool.close();
model.dispose();
await engine.dispose();
