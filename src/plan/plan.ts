/** What a run takes, before a card is rented: from texts, headers of images and the configuration of the model. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { ChatTemplateName } from '../data/chat-template.js';
import type { ImageFolder } from '../data/image-folder.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import type { VlmCollator } from '../data/vlm-collator.js';
import type { CudaEngineOptions } from '../engine/cuda/cuda-options.js';
import type { WebgpuEngineOptions } from '../engine/webgpu/create-webgpu.js';
import { ConfigError } from '../errors.js';
import { sizeOf } from '../formats/weight-source.js';
import { LAYER_PROJECTIONS, LoraConfig, type LoraConfigOptions } from '../lora/lora-config.js';
import { describeGiven } from '../messages/given-kind.js';
import { wantedWeights } from '../model/network/modules.js';
import { requireCallback, requireOneObject } from '../require-given.js';
import { parseSftConfig, type SftConfig, type SftConfigInput } from '../train/sft-config.js';
import type { PlannedRun } from './card-run.js';
import { type Card, cardNamed, MEASURED_CARD, USUAL_CARDS } from './cards.js';
import { trainingData } from './data-source.js';
import { LINK_NAMES, type LinkName, linkNamed } from './links.js';
import { notesOfMachines, wantedMachines } from './machines.js';
import { collatorFrom, plannedModel } from './model-source.js';
import { dealtRuns, gpusSchema, notesOfSeveral, wantedGpus } from './planned-gpus.js';
import { type RunWindows, runWindows } from './run-windows.js';
import { measureData } from './sample-tokens.js';
import type { PlannedEngine, TrainingPlan, WeightFormat } from './training-plan.js';

/** Options of {@link plan}. */
export interface TrainingPlanOptions {
  /**
   * What `SftTrainer` takes, or a list of samples; an image folder, of which the train split counts; or a name: a
   * folder of images, a file of conversations (JSON, JSON Lines), `kaggle:OWNER/NAME` or `hub:OWNER/NAME`, which are
   * downloaded into their caches. Required.
   */
  readonly trainDataset: Dataset<TrainingExample> | readonly TrainingExample[] | ImageFolder | string;
  /**
   * `3B`, `8B` or `14B`; or a folder with the config.json of a checkpoint, or its name on the Hub. Weights are
   * neither read nor fetched. Required.
   */
  readonly model: '3B' | '8B' | '14B' | (string & {});
  /** The collator of the run. Default: one of `processor`, with the defaults of `VlmCollator`. */
  readonly collator?: VlmCollator | undefined;
  /**
   * Instead of a collator: a folder, or a name on the Hub, with tokenizer.json and the image processor's configuration.
   * Default: `model`; for a size, its repository on the Hub.
   */
  readonly processor?: string | undefined;
  /** Instead of a collator: the checkpoint's own chat template, or that of this name. Default: `own`. */
  readonly chatTemplate?: 'own' | ChatTemplateName | undefined;
  /** Instead of a collator: its `maxLength`, with `overlong: 'drop'`: longer samples are left out. Default: no limit. */
  readonly maxLength?: number | undefined;
  /** The question before each image of an image folder, of none else. Default: a plain one that lists the classes. */
  readonly prompt?: string | undefined;
  /** As `SftTrainer` takes it. Default: its defaults. */
  readonly config?: SftConfigInput | undefined;
  /** As `applyLora` takes it. Default: r 16, alpha 32, dropout 0.05, on the seven linear layers of both towers. */
  readonly lora?: LoraConfigOptions | undefined;
  /** Which engine trains. Default: `webgpu` where `machines` or `webgpu` is given, else `cuda`. */
  readonly engine?: PlannedEngine | undefined;
  /**
   * As `createEngine('cuda', { cuda })` takes it; `memoryBudget` holds for each card, `device` says nothing.
   * Default: none.
   */
  readonly cuda?: CudaEngineOptions | undefined;
  /**
   * As `createEngine('webgpu', { webgpu })` takes it; `memoryBudget` holds for each machine, `software` says nothing.
   * Default: none.
   */
  readonly webgpu?: Omit<WebgpuEngineOptions, 'device'> | undefined;
  /**
   * Formats of the decoder's linear layers: `bf16`, `fp8` (e4m3), `nf4`, each with the defaults of `quantization`: NF4 in
   * blocks of 64 with double quantisation. Default: all three.
   */
  readonly formats?: readonly WeightFormat[] | undefined;
  /** Names of cards, also as `h200`. Default: one each of 12, 16, 24, 40, 48, 80 and 141 GB. */
  readonly cards?: readonly string[] | undefined;
  /**
   * For the `webgpu` engine, machines by the memory that their GPU has: `mac16` is a Mac with 16 GB, `card24` a GPU with
   * 24 GB of its own, `integrated32` one that shares the 32 GB of its system. Default: what `webgpu.memoryBudget` says;
   * without it Macs of 16, 24, 32 and 64 GB and cards of 8, 12, 16 and 24 GB.
   */
  readonly machines?: readonly string[] | undefined;
  /**
   * Numbers of cards, from 1 to 64, of which to compute runs with one process each: `CardRun.dataParallel`.
   * `gradientAccumulationSteps` is per device, so the effective batch grows with them; both are planned, and the batch of
   * each device that keeps the effective one. More than 8 need a network as `link`. Default: one card.
   */
  readonly gpus?: number | readonly number[] | undefined;
  /**
   * What the slowest link between these cards is: `nvlink3` to `nvlink5` or `pcie4`, `pcie5` in a machine, `25gbit`,
   * `100gbit`, `400gbit` between machines. Needs `gpus`. Default: NVLink for A100 SXM, H100, H200 and B200, PCI Express for
   * all others.
   */
  readonly link?: LinkName | undefined;
  /** Of one card, in any currency: gives `cost` for each of `gpus`, which it needs. Default: no cost. */
  readonly pricePerHour?: number | undefined;
  /** Stops the work; `plan` then fails with its reason. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Receives what is worth knowing of the data set, a line each; they are among the `notes` too. Default: nothing. */
  readonly onNote?: ((line: string) => void) | undefined;
}

const given = z.custom<unknown>((value) => value !== undefined, 'is missing');

const schema = z.strictObject({
  trainDataset: given,
  model: z.string({ error: 'expected a size (3B, 8B, 14B), a folder or a name on the Hub' }).min(1),
  collator: z.custom<VlmCollator>().optional(),
  processor: z.string().min(1).optional(),
  chatTemplate: z.enum(['own', 'tutorial']).optional(),
  maxLength: z.int().positive().optional(),
  prompt: z.string().optional(),
  config: z.custom<SftConfigInput>().optional(),
  lora: z.custom<LoraConfigOptions>().optional(),
  engine: z.enum(['cuda', 'webgpu'], { error: 'expected "cuda" or "webgpu": plans are for these' }).optional(),
  cuda: z.custom<CudaEngineOptions>((value) => typeof value === 'object' && value !== null).optional(),
  webgpu: z
    .custom<Omit<WebgpuEngineOptions, 'device'>>((value) => typeof value === 'object' && value !== null)
    .optional(),
  formats: z
    .array(z.enum(['bf16', 'fp8', 'nf4']))
    .min(1)
    .readonly()
    .optional(),
  cards: z.array(z.string()).min(1).readonly().optional(),
  machines: z.array(z.string()).min(1).readonly().optional(),
  gpus: gpusSchema.optional(),
  link: z.enum(LINK_NAMES).optional(),
  pricePerHour: z.number().positive().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onNote: z.custom<(line: string) => void>().optional(),
} satisfies Record<keyof TrainingPlanOptions, z.ZodType>);
type _Input = NoMismatch<
  Mismatch<Given<Omit<z.input<typeof schema>, 'trainDataset'>>, Given<Omit<TrainingPlanOptions, 'trainDataset'>>>
>;

const ALIASES: Readonly<Record<string, string>> = {
  dataset: 'trainDataset',
  data: 'trainDataset',
  args: 'config',
  quantization: 'formats',
  worldsize: 'gpus',
  price: 'pricePerHour',
  card: 'cards',
  machine: 'machines',
  template: 'chatTemplate',
};

const FORMATS: readonly WeightFormat[] = ['bf16', 'fp8', 'nf4'];
const USUAL_LORA: LoraConfigOptions = { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] };
/** With fewer combinations of card and format there is time for more of the run. */
const FEW_COMBINATIONS = 3;
const WINDOWS_OF_FEW = 128;
const WINDOWS_OF_MANY = 12;

/**
 * Tells what a run takes: exact tokens of each sample, memory by part, operations, and on which cards it fits, how and how
 * fast. Reads texts and headers of images; no image is decoded, no weight is read, no card is needed. Memory and passes
 * are planned by the code that trains, on a card that only keeps the books. For the `webgpu` engine: what fits on machines
 * of so much memory, without times.
 * @throws ConfigError for wrong options; what the data set throws; HubError, explained, if small files of a model cannot be
 *   fetched; the signal's reason
 * @example
 * ```ts
 * const told = await plan({ trainDataset, collator, model: '14B', config, lora, cards: ['h100'] });
 * console.log(formatTrainingPlan(told));
 * ```
 */
export async function plan(options: TrainingPlanOptions): Promise<TrainingPlan> {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'plan', 'await plan({ model, trainDataset, collator, config })');
  const parsed = parseOptions(schema, options, 'plan', ALIASES);
  const { signal } = parsed;
  const formats = [...new Set(parsed.formats ?? FORMATS)];
  requireCallback(parsed.onNote, 'plan: `onNote`', undefined, true);
  if (parsed.collator !== undefined && typeof parsed.collator?.measure !== 'function') {
    throw new ConfigError(`plan: \`collator\`: expected a VlmCollator, got ${describeGiven(parsed.collator)}`, {
      hint: 'Tokens are counted by VlmCollator alone: write new VlmCollator({ ...processor }).',
    });
  }
  for (const name of ['processor', 'chatTemplate', 'maxLength'] as const) {
    if (parsed.collator === undefined || parsed[name] === undefined) continue;
    throw new ConfigError(`plan: \`${name}\` has no effect beside \`collator\``, {
      hint: 'Give it to the collator itself, or leave the collator out.',
    });
  }
  const engine = engineOf(parsed);
  if (parsed.cuda !== undefined) {
    const { requireCudaOptions } = await import('../engine/cuda/cuda-options.js');
    requireCudaOptions(parsed.cuda, 'plan: `cuda`');
  }
  if (parsed.webgpu !== undefined) {
    const { parseWebgpuOptions } = await import('../engine/webgpu/create-webgpu.js');
    parseWebgpuOptions(parsed.webgpu, 'plan: `webgpu`');
  }
  const wanted = wantedGpus(parsed);
  // Named twice, a card is still one.
  const cards = [...new Set((parsed.cards ?? USUAL_CARDS).map((name) => cardNamed(name, 'plan')))];
  const machines = engine === 'webgpu' ? wantedMachines(parsed) : [];
  const config = parseSftConfig(parsed.config);
  const lora = parsed.lora instanceof LoraConfig ? parsed.lora : new LoraConfig(parsed.lora ?? USUAL_LORA);
  const notes: string[] = [];
  const onNote = (line: string): void => {
    notes.push(line);
    parsed.onNote?.(line);
  };
  const model = await plannedModel(parsed.model, signal);
  // First what is on this machine.
  const dataset = await trainingData(parsed.trainDataset, { prompt: parsed.prompt, signal, onNote });
  const collator =
    parsed.collator ??
    (await collatorFrom(
      parsed.processor ?? parsed.model,
      parsed.chatTemplate ?? 'own',
      { maxLength: parsed.maxLength },
      signal,
    ));
  const data = await measureData(dataset, { collator, model: model.config, signal });
  const combinations = formats.length * (engine === 'webgpu' ? machines : cards).length;
  const most = combinations <= FEW_COMBINATIONS ? WINDOWS_OF_FEW : WINDOWS_OF_MANY;
  const run = runWindows(data.packed, config, most);
  const common = { model, lora, config, run };
  const parallel = wanted && {
    dealt: dealtRuns(wanted, data.packed, config, most),
    link: parsed.link && linkNamed(parsed.link),
    pricePerHour: parsed.pricePerHour,
  };
  const planned = await (engine === 'webgpu' ? onMachines() : onCards());

  // With the engine that it rehearses on, which is half of the package.
  async function onCards(): Promise<PlannedRun> {
    const { imageShareOf, planOnCards } = await import('./card-plan.js');
    const { memoryBudget, device: _, ...options } = parsed.cuda ?? {};
    const imageShare = imageShareOf(data.packed);
    return planOnCards(cards, formats, { ...common, engine: options, memoryBudget, imageShare, parallel }, signal);
  }

  async function onMachines(): Promise<PlannedRun> {
    const { planOnMachines } = await import('./machine-plan.js');
    const { memoryBudget, ...options } = parsed.webgpu ?? {};
    return planOnMachines(machines, formats, { ...common, engine: options, memoryBudget }, signal);
  }

  const names = (engine === 'webgpu' ? machines : cards).map(({ name }) => name);
  return {
    engine,
    model: model.name,
    parameters: wantedWeights(model.config, model.tied).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    trainableParameters: planned.trainableParameters,
    data: data.plan,
    steps: run.steps,
    effectiveBatchSize: config.perDeviceTrainBatchSize * config.gradientAccumulationSteps,
    runTokens: run.tokens,
    sharedTokenShare: planned.sharedTokenShare,
    flops: planned.flops,
    formats: planned.formats,
    cards: [...planned.cards].sort((a, b) => names.indexOf(a.card) - names.indexOf(b.card)),
    notes: [
      ...notes,
      ...notesOfData(run),
      ...(engine === 'webgpu' ? notesOfMachines(machines, parsed.webgpu?.memoryBudget) : notesOfCards(cards, config)),
      ...(parallel ? notesOfSeveral(parallel.dealt, config) : []),
    ],
  };
}

/** Options that say something for one of the engines alone. */
const OPTIONS_OF: Readonly<Record<PlannedEngine, readonly (keyof TrainingPlanOptions)[]>> = {
  cuda: ['cards', 'cuda', 'gpus', 'link', 'pricePerHour'],
  webgpu: ['machines', 'webgpu'],
};

/** @throws ConfigError for an option that the engine has no use for */
function engineOf(parsed: z.output<typeof schema>): PlannedEngine {
  const isGiven = (name: keyof TrainingPlanOptions): boolean => parsed[name] !== undefined;
  const { engine = OPTIONS_OF.webgpu.some(isGiven) ? 'webgpu' : 'cuda' } = parsed;
  const idle = OPTIONS_OF[engine === 'cuda' ? 'webgpu' : 'cuda'].find(isGiven);
  if (idle === undefined) return engine;
  throw new ConfigError(`plan: \`${idle}\` has no effect with the ${engine} engine`, {
    hint:
      engine === 'webgpu'
        ? 'Name its machines by their memory: `machines: ["mac16", "card24"]` (--machines mac16,card24).'
        : 'Cards of cuda are `cards`; for other GPUs plan for `engine: "webgpu"` (--engine webgpu).',
  });
}

/** What the figures rest on. */
function notesOfData({ windows, steps, representative }: RunWindows): string[] {
  const notes = ['images were read up to their headers: damage behind them is found by `verify`, or in the run'];
  if (representative < steps) {
    notes.push(`${windows.length} of ${steps} optimizer steps were planned, the heaviest among them`);
  }
  return notes;
}

function notesOfCards(cards: readonly Card[], { onNonFiniteLoss }: SftConfig): string[] {
  const notes: string[] = [];
  if (cards.some(({ name }) => name !== MEASURED_CARD)) {
    notes.push(`times on cards other than ${MEASURED_CARD} are scaled by data sheets from those measured on it`);
  }
  const untried = cards.filter(({ isUntried }) => isUntried).map(({ name }) => name);
  if (untried.length > 0) {
    notes.push(`never tried: the kernels compile for ${untried.join(' and ')}, but have not run there`);
  }
  if (onNonFiniteLoss === 'skip') {
    notes.push('`onNonFiniteLoss: "skip"` waits for each loss: its steps do not overlap and take longer than told');
  }
  notes.push('times leave out loading, evaluation, saving, and the first steps, in which the card loads code');
  return notes;
}
