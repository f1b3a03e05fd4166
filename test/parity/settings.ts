/**
 * Whether a model learns as well in each setting as in bfloat16: products in e4m3, a base held in 4 or 8 bits, and
 * prefixes that are not shared.
 *
 *   npm run settings -- [--engine cuda | cpu] [--emulated] [--only NAME,NAME] [--samples 8] [--steps 60]
 *                        [--train 240] [--test 50] [--seeds 3] [--first-seed 42]
 *
 * In each setting that the engine has, --samples are overfitted twice from one seed, which must give equal losses,
 * gradient norms and adapters; then the example's demonstration is trained, with --train images of each class (0: not
 * at all), and asked for the class of --test others. The loss of the overfitted samples must come within one percent of
 * the first step's to that of bf16 and under a tenth of it. Accuracies scatter by a point or two with the order of the
 * samples, the dropout and mere rounding: each setting is trained from --seeds, and its mean may be a point and one
 * standard error of the difference below that of bf16. The error comes from the scatter within all settings. With fewer
 * steps or images nothing is learned, and no loss or accuracy judged. The exit status is 1 if a check fails. On a card
 * one training takes about four seconds.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fracturePrompt } from '../../examples/fracture-prompt.js';
import type { ProcessedImage } from '../../src/data/process-pixels.js';
import type { ImageInput, SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { TRAIN_PER_CLASS } from '../../src/demo/demonstration.js';
import { DEMONSTRATION_SEED, FRACTURE_CLASSES } from '../../src/demo/radiographs.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import type { Precision } from '../../src/engine/operations.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import type { QuantizationMethod } from '../../src/model/quantization.js';
import { CheckList } from './check-list.js';
import { type DrawnImage, drawImages, drawShare } from './demonstration-images.js';
import { demonstrate, difference, exampleOf, imageOf, OVERFIT_PROMPT, overfit } from './learning-runs.js';

interface Setting {
  readonly name: string;
  readonly quantization?: QuantizationMethod;
  readonly precision?: Precision;
  readonly sharePrefix?: boolean;
}

/** The first is what the others are compared with. */
const SETTINGS: readonly [Setting, ...Setting[]] = [
  { name: 'bf16' },
  { name: 'bf16 unshared', sharePrefix: false },
  { name: 'fp8-backward', precision: 'fp8-backward' },
  { name: 'fp8', precision: 'fp8' },
  { name: 'held nf4', quantization: 'nf4' },
  { name: 'held fp8', quantization: 'fp8' },
  { name: 'held fp8 + fp8', quantization: 'fp8', precision: 'fp8' },
  { name: 'held nf4 + fp8-backward', quantization: 'nf4', precision: 'fp8-backward' },
];
const OVERFIT_SEED = 1;
/** With fewer the samples are not learned. */
const LEAST_STEPS = 60;

await drawShare();
const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: 'cuda' },
    emulated: { type: 'boolean', default: false },
    only: { type: 'string' },
    samples: { type: 'string', default: '8' },
    steps: { type: 'string', default: String(LEAST_STEPS) },
    train: { type: 'string', default: String(TRAIN_PER_CLASS) },
    test: { type: 'string', default: '50' },
    seeds: { type: 'string', default: '3' },
    'first-seed': { type: 'string', default: String(DEMONSTRATION_SEED) },
  },
});
const [trainPerClass, testPerClass] = [Number(options.train), Number(options.test)];
const seconds = (): string => `${(performance.now() / 1000).toFixed(1)} s`;

async function openEngine(): Promise<Engine> {
  if (!options.emulated) return createEngine(options.engine as EngineChoice);
  const { emulatedEngine } = await import('../engine/cuda/emulated-card.js');
  return emulatedEngine({ capability: 90 });
}

/** Why the engine cannot run a setting, or '' if it can. */
function lack({ precisions = [], heldFormats = [] }: Engine, { quantization, precision = 'bf16' }: Setting): string {
  const format = quantization === 'nf4' ? 'nf4' : 'f8_e4m3';
  if (quantization && !heldFormats.includes(format)) return `it does not hold ${quantization}`;
  return precision === 'bf16' || precisions.includes(precision) ? '' : `it has no products in ${precision}`;
}

interface Trained {
  readonly name: string;
  /** By seed. */
  readonly accuracies: readonly number[];
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The first is what the others are compared with. */
function judgeAccuracies(trained: readonly Trained[]): void {
  const seeds = trained[0]!.accuracies.length;
  if (seeds < 2) {
    console.log('accuracies of one seed are not judged: they scatter by more than a point');
    return;
  }
  const squares = trained.flatMap(({ accuracies }) => accuracies.map((value) => (value - mean(accuracies)) ** 2));
  const scatter = Math.sqrt(squares.reduce((sum, value) => sum + value, 0) / (trained.length * (seeds - 1)));
  const standardError = scatter * Math.sqrt(2 / seeds);
  const bf16 = mean(trained[0]!.accuracies);
  const points = (value: number): string => (100 * value).toFixed(2);
  console.log(
    `accuracies of one setting scatter by ${points(scatter)} points (standard deviation); the difference of two means of ` +
      `${seeds} seeds has a standard error of ${points(standardError)}`,
  );
  for (const { name, accuracies } of trained) {
    const apart = mean(accuracies) - bf16;
    console.log(`${name}: mean accuracy ${points(mean(accuracies))} %, ${points(apart)} points beside bf16`);
    if (name === trained[0]!.name) continue;
    checks.atLeast(`${name}: accuracy beside bf16`, 100 * apart, -1 - 100 * standardError, ' points');
  }
}

const checks = new CheckList({ quiet: true });
const dir = await mkdtemp(join(tmpdir(), 'settings-'));
const prompt = fracturePrompt(FRACTURE_CLASSES);
const toExamples = (images: readonly DrawnImage[]): SftExample[] =>
  images.map(({ className, grey }, i) => exampleOf(`${i}`, prompt, imageOf(grey), className));

try {
  const engine = await openEngine();
  console.log(`${engine.description}; ready after ${seconds()}`);
  await writeTinyCheckpoint({
    outputDir: dir,
    seed: DEMONSTRATION_SEED,
    corpus: [prompt, OVERFIT_PROMPT, ...FRACTURE_CLASSES],
  });
  const processor = await loadProcessor(dir);
  const { imageProcessor } = processor;
  const images = trainPerClass > 0 ? await drawImages({ Train: trainPerClass, Test: testPerClass }) : undefined;
  if (images) console.log(`${images.Train.length} + ${images.Test.length} images drawn after ${seconds()}`);
  const data = {
    train: toExamples(images?.Train ?? []),
    test: toExamples(images?.Test ?? []),
    testClasses: images?.Test.map(({ className }) => className) ?? [],
  };
  // Each image is processed once for all settings.
  const processed = new Map<ImageInput, Promise<ProcessedImage>>();
  const process = (input: ImageInput): Promise<ProcessedImage> => {
    const known = processed.get(input) ?? imageProcessor.process(input);
    processed.set(input, known);
    return known;
  };
  const imagePool = { process } as NonNullable<ConstructorParameters<typeof VlmCollator>[0]['imagePool']>;
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate!, imagePool });
  const withModel = async <T>({ quantization }: Setting, use: (model: VisionLanguageModel) => Promise<T>) => {
    const model = await loadModel(dir, { engine, quantization, onNotice: () => undefined });
    const result = await use(model);
    model.dispose();
    return result;
  };
  const learn = async (setting: Setting) => {
    const { precision = 'bf16', sharePrefix = true } = setting;
    const config = { precision, sharePrefix };
    const once = () =>
      withModel(setting, (model) =>
        overfit(model, {
          ...{ processor, dir, seed: OVERFIT_SEED, samples: Number(options.samples) },
          config: { ...config, maxSteps: Number(options.steps), learningRate: 2e-3 },
        }),
      );
    const begun = performance.now();
    const first = await once();
    const apart = difference(first, await once());
    const losses = { first: first.losses[0]!, last: first.losses.at(-1)! };
    console.log(
      `${setting.name}: overfit, loss ${losses.first.toFixed(4)} -> ${losses.last.toFixed(4)} in ${first.losses.length} ` +
        `steps, ${apart === '' ? 'twice equal' : `NOT equal: ${apart}`} (${((performance.now() - begun) / 1000).toFixed(1)} s)`,
    );
    checks.exact(`${setting.name}: two runs of one seed`, apart === '', apart);
    return losses;
  };
  /** @returns the accuracy */
  const train = async (setting: Setting, seed: number): Promise<number> => {
    const { name, precision, sharePrefix } = setting;
    const parts = { ...data, collator, processor, dir, config: { precision, sharePrefix, seed } };
    const from = performance.now();
    const { accuracy, losses } = await withModel(setting, (model) => demonstrate(model, parts));
    const end = losses.slice(-20);
    const loss = end.reduce((sum, value) => sum + value, 0) / end.length;
    console.log(
      `${name}: demonstration, seed ${seed}, ${losses.length} steps, loss ${loss.toFixed(4)} at the end, accuracy ` +
        `${accuracy.toFixed(4)} of ${data.test.length} (${((performance.now() - from) / 1000).toFixed(1)} s, ${seconds()} in all)`,
    );
    return accuracy;
  };

  const wanted = options.only?.split(',').map((name) => name.trim());
  const bf16 = await learn(SETTINGS[0]);
  const trained: Trained[] = [];
  const trainAll = async (setting: Setting): Promise<void> => {
    const accuracies: number[] = [];
    for (let i = 0; images && i < Number(options.seeds); i++) {
      accuracies.push(await train(setting, Number(options['first-seed']) + i));
    }
    trained.push({ name: setting.name, accuracies });
  };
  await trainAll(SETTINGS[0]);
  for (const setting of SETTINGS.slice(1)) {
    const { name } = setting;
    if (wanted && !wanted.includes(name)) continue;
    const missing = lack(engine, setting);
    if (missing !== '') {
      console.log(`${name}: skipped, ${missing}`);
      continue;
    }
    const losses = await learn(setting);
    if (Number(options.steps) >= LEAST_STEPS) {
      const apart = Math.abs(losses.last - bf16.last) / bf16.first;
      checks.atMost(`${name}: overfit, last loss beside that of bf16, by the first`, apart, 0.01);
      checks.atMost(`${name}: overfit, last loss by the first`, losses.last / losses.first, 0.1);
    }
    await trainAll(setting);
  }
  if (trainPerClass >= TRAIN_PER_CLASS) judgeAccuracies(trained);
  await engine.dispose();
} finally {
  await rm(dir, { recursive: true, force: true });
}
console.log(`${seconds()} in all\n${checks.summary()}`);
process.exitCode = checks.failed > 0 ? 1 : 0;
