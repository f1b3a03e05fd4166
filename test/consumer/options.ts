/** Calls as users write them: an editor must document every option in them. See hover.mjs. */
import {
  applyLora,
  createEngine,
  type Dataset,
  Evaluator,
  fromPretrained,
  generateText,
  ImageFolder,
  type ImageSample,
  KaggleImageFolder,
  LAYER_PROJECTIONS,
  LoraConfig,
  loadAdapter,
  mergeAdapter,
  pushToHub,
  type SftExample,
  SftTrainer,
  saveAdapter,
  scoreLabels,
  VlmCollator,
} from 'ministral-tune';
import { auditDataset } from 'ministral-tune/audit';
import { ImageProcessor, maskView } from 'ministral-tune/data';
import { snapshotDownload } from 'ministral-tune/hub';
import { livePage } from 'ministral-tune/monitor';
import { plan } from 'ministral-tune/plan';

export async function train(dir: string, toExample: (sample: ImageSample) => SftExample, signal: AbortSignal) {
  const data = await ImageFolder.load(dir, { layout: 'class/split', onBadImage: 'skip', maxPixels: 1e8 });
  const engine = await createEngine('cpu', { threads: 4 });
  const { model, processor } = await fromPretrained('mistralai/Ministral-3-3B-Instruct-2512-BF16', {
    engine,
    quantization: { method: 'nf4', blockSize: 64 },
    timeoutMs: 10_000,
    signal,
  });
  const { tokenizer, imageProcessor, chatTemplate } = processor;
  if (!chatTemplate) throw new Error('no chat template');
  const collator = new VlmCollator({ tokenizer, imageProcessor, chatTemplate, maxLength: 2048, overlong: 'drop' });
  const adapter = applyLora(
    model,
    { r: 16, alpha: 32, dropout: 0.05, targetModules: ['q_proj', 'k_proj'], towers: 'language', useRslora: true },
    { seed: 1, adapterName: 'one' },
  );
  const trainDataset: Dataset<SftExample> = data.train.map(toExample);
  const trainer = new SftTrainer({
    model,
    collator,
    trainDataset,
    config: {
      learningRate: 2e-4,
      warmupSteps: 25,
      perDeviceTrainBatchSize: 2,
      gradientAccumulationSteps: 4,
      maxGradNorm: 0.3,
      optim: 'adamw_8bit',
      numTrainEpochs: 1,
      lrSchedulerType: 'cosine_with_min_lr',
      lrSchedulerKwargs: { minLrRate: 0.1, numCycles: 0.5 },
      metricForBestModel: 'accuracy',
      memoryBudget: 20e9,
    },
    callbacks: [livePage({ port: 7070, keepOpen: true })],
  });
  await trainer.train({ resumeFromCheckpoint: true, signal });
  await saveAdapter(adapter, 'adapter', { processor });
  const generate = async (examples: readonly SftExample[]) =>
    generateText(model, tokenizer, await collator.collatePrompts(examples), {
      maxNewTokens: 20,
      temperature: 0.7,
      doSample: true,
      stopStrings: ['\n'],
      sharePrefix: false,
    });
  const evaluator = new Evaluator({ classNames: data.classNames, generate, batchSize: 4 });
  await evaluator.evaluate(data.test, { toExample, limit: 10, intervals: { resamples: 500, confidenceLevel: 0.9 } });
  await scoreLabels(model, tokenizer, await collator.collatePrompts([]), data.classNames, { normalizeLength: true });
  return evaluator;
}

export async function others(data: Dataset<ImageSample>, collator: VlmCollator, samples: SftExample[]) {
  await KaggleImageFolder.download('owner/name', { forceDownload: true, retryDelayMs: 100, layout: 'class' });
  await snapshotDownload('owner/name', { allowPatterns: ['*.json'], revision: 'main' });
  await auditDataset(data, { minCorrelation: 0.9, darkLevel: 40 });
  await maskView(samples, collator, { imageEdge: 256 });
  await mergeAdapter({ checkpointDir: 'a', adapterDir: 'b', outputDir: 'c' });
  await pushToHub('adapter', 'owner/name', { private: true, modelCard: { license: 'apache-2.0', tags: ['x-ray'] } });
  new ImageProcessor({ longestEdge: 1024, patchSize: 14 });
  return new LoraConfig({ targetModules: LAYER_PROJECTIONS, rankPattern: { q_proj: 4 } });
}

export const folder = (dir: string) => ImageFolder.fromTable(dir, { fileColumn: 'file', header: true });
export const adapterOf = loadAdapter;
export const planned = plan;
