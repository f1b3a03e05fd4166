/**
 * Options of supervised fine-tuning, named after `transformers.TrainingArguments` and TRL's `SFTConfig` in camelCase.
 * The interface documents each option, the schema checks it; types and tests keep them equal.
 */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions, pathOption, type WithDefaults } from '../config.js';
import type { OptimizerStep } from '../engine/engine.js';
import { budgetUnitFault } from '../engine/memory-budget.js';
import {
  LR_SCHEDULER_TYPES,
  type LrSchedule,
  type LrSchedulerKwargs,
  type LrSchedulerType,
  type NoKwargs,
  type ScheduleRun,
} from './schedule.js';
import { scheduleFaults, scheduleNameFault } from './schedule-config.js';

const count = (what: string) => z.number().int(`${what} is a whole number`).positive(`${what} is at least 1`);
/** A number of steps, or a share of all steps if below 1 (rounded up). */
const stepsOrRatio = lazySchema(() =>
  z
    .number()
    .positive('a number of steps (1, 2, ...) or a share of all steps (above 0, below 1)')
    .refine((value) => value < 1 || Number.isInteger(value), 'from 1 on this is a whole number of steps'),
);

/** Name of an optimizer; those with `torch`, `bnb` and `paged` are transformers' for the same arithmetic. */
export type OptimizerName =
  | ('adamw' | 'adamw_8bit')
  | ('adamw_torch' | 'adamw_torch_fused' | 'adamw_bnb_8bit' | 'paged_adamw_8bit');

const OPTIMIZERS = {
  adamw: 'adamw',
  adamw_torch: 'adamw',
  adamw_torch_fused: 'adamw',
  adamw_8bit: 'adamw_8bit',
  adamw_bnb_8bit: 'adamw_8bit',
  paged_adamw_8bit: 'adamw_8bit',
} as const satisfies Record<OptimizerName, SftConfig['optim']>;
/** The engine's names. */
const ENGINE_KINDS: Readonly<Record<SftConfig['optim'], OptimizerStep['kind']>> = {
  adamw: 'adamw',
  adamw_8bit: 'adamw8bit',
};

function optimizerFault(name: unknown): string | undefined {
  if (name !== 'adam' && name !== 'adam_8bit') return undefined;
  const own = name === 'adam' ? 'adamw' : 'adamw_8bit';
  return `there is no "${name}"; "${own}" with \`weightDecay: 0\` is the same`;
}

/** Settings that mean the same are the same to a resume, in whatever order; none are undefined. */
function normalSettings(given: Record<string, unknown> | undefined): Record<string, unknown> | undefined {
  const entries = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return undefined;
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
/** Names that completion offers for `metricForBestModel`: the loss, and what `Evaluator.asMetrics` gives. */
export type MetricName =
  | ('evalLoss' | 'accuracy' | 'balancedAccuracy' | 'macroPrecision' | 'macroRecall' | 'macroF1' | 'weightedF1')
  | ('matthewsCorrcoef' | 'validShare' | 'logLoss' | 'brierScoreLoss')
  | (string & {});

/**
 * Options of `SftTrainer` but those of the schedule, which {@link LrScheduleOptions} has. Names are those of transformers
 * and TRL in camelCase.
 */
export interface SftConfigOptions {
  /**
   * Folder of checkpoints and of `train-log.jsonl`, of one run at a time: a second one, in any process that shares the
   * disk, is refused at its start. Default: `outputs`.
   */
  outputDir?: string | undefined;
  /** Passes over the training set, in epochs; may be fractional. Default: 3. */
  numTrainEpochs?: number | undefined;
  /** Optimizer steps in all; overrides `numTrainEpochs`. -1: not set. Default: -1. */
  maxSteps?: number | undefined;
  /** Samples of a micro-batch. Default: 8. */
  perDeviceTrainBatchSize?: number | undefined;
  /** Samples of a batch in evaluation. Default: 8. */
  perDeviceEvalBatchSize?: number | undefined;
  /** Micro-batches of an optimizer step. The last step of an epoch takes the rest. Default: 1. */
  gradientAccumulationSteps?: number | undefined;
  /** Leave out a last micro-batch that is not full. Default: false. */
  dataloaderDropLast?: boolean | undefined;
  /**
   * Micro-batches that are read and collated ahead while the engine works. 0: nothing is read before the step that needs it,
   * but for the next window of several ranks. Default: those of two optimizer steps.
   */
  dataloaderPrefetch?: number | undefined;

  /**
   * `adamw`: 32-bit moments, also as `adamw_torch`, `adamw_torch_fused`. `adamw_8bit`: block-wise 8-bit moments as in
   * bitsandbytes, also as `adamw_bnb_8bit`, `paged_adamw_8bit`. Default: `adamw`.
   */
  optim?: OptimizerName | undefined;
  /** Peak learning rate, of LoRA's A where `loraplusLrRatio` is set. Default: 2e-5. */
  learningRate?: number | undefined;
  /**
   * LoRA+: the ratio of the learning rate of LoRA's B to that of A, as PEFT's `create_loraplus_optimizer`; its paper
   * suggests 2 to 16. The logged rate is A's. `weightDecay` holds for both (PEFT has `loraplus_weight_decay` instead),
   * times each matrix's own rate. Default: 1.
   */
  loraplusLrRatio?: number | undefined;
  /** Decoupled decay of every trainable parameter, a share of `learningRate` × parameter. Default: 0. */
  weightDecay?: number | undefined;
  /** Decay of the first moment, from 0 to below 1. Default: 0.9. */
  adamBeta1?: number | undefined;
  /** Decay of the second moment, from 0 to below 1. Default: 0.999. */
  adamBeta2?: number | undefined;
  /** Added to the square root of the second moment. Default: 1e-8. */
  adamEpsilon?: number | undefined;
  /** Largest L2 norm of all gradients; 0: no clipping. Default: 1. */
  maxGradNorm?: number | undefined;
  /** Steps in which the rate rises from 0 (so the first has rate 0), or a share of all steps if below 1. Default: 0. */
  warmupSteps?: number | undefined;
  /**
   * The warm-up as a share of all steps, by its older name. Default: 0.
   * @deprecated as in transformers 5: `warmupSteps` takes a share too.
   */
  warmupRatio?: number | undefined;

  /**
   * Log every so many steps, or every such share of all steps if below 1. A line comes right after the event of its step, which
   * as a rule is told while the next one is computed. Default: 10.
   */
  loggingSteps?: number | undefined;
  /** Log the first step as well. Default: false. */
  loggingFirstStep?: boolean | undefined;
  /**
   * On stderr: a bar, plain lines, or nothing. `auto`: a bar in a terminal, lines elsewhere; where a loop iterates the run,
   * losses and evaluations are the loop's to print, and no line repeats them. Default: `auto`.
   */
  progress?: 'auto' | 'bar' | 'lines' | 'none' | undefined;
  /**
   * The share of probability that is spread evenly over the vocabulary instead of given to the label, 0 <= ε < 1: the
   * loss of a labelled token is 1 - ε of the usual one and ε of the mean over the vocabulary. Evaluations are measured in
   * the same way, as in transformers. Default: 0.
   */
  labelSmoothingFactor?: number | undefined;
  /**
   * NEFTune: in training adds noise to the embeddings of the tokens, uniform in ± alpha / √(L · C) with the tokens L of
   * the sample (transformers takes the padded length of its batch) and the width C. Images have none. 0: off. Default: 0.
   */
  neftuneNoiseAlpha?: number | undefined;
  /**
   * Compute the common prefix of a pass’s samples only once, such as the same instruction before different images, in
   * training and evaluation. Prefixes are found in the data; loss and gradients equal those without sharing, within
   * rounding. LoRA dropout draws one mask for a shared token, not one for each sample of the optimizer step. Has no effect
   * on training with NEFTune. Default: true.
   */
  sharePrefix?: boolean | undefined;
  /**
   * Number format of the decoder’s products with frozen weights. `fp8-backward`: gradients of activations in
   * e4m3, with a scale for each token. `fp8`: forward as well; a 14B model on an H200 then trains a third faster than in
   * `bf16`. On two small trained models LoRA gradients were off by 0.3 and 1.0 % in bf16, 0.5 and 1.1 % in `fp8-backward`,
   * 4 and 9 % in `fp8`; 200 steps reached the same accuracy within half a point, with an evaluation loss up to 3 %
   * (`fp8-backward`) and 5 % (`fp8`) above that of bf16. LoRA’s own products, the vision tower, the head, evaluation and
   * generation stay in bf16. Requires `cuda` and compute capability 8.9. Default: `bf16`.
   */
  precision?: 'bf16' | 'fp8-backward' | 'fp8' | undefined;

  /**
   * When the evaluation set is measured. `steps` and `epoch` also measure at the end. An evaluation comes before a save
   * of the same step, but by `epoch` it comes after a save by `steps`, as in transformers. Default: `no`.
   */
  evalStrategy?: 'no' | 'steps' | 'epoch' | undefined;
  /**
   * For `evalStrategy: "steps"`: measure every so many steps, or every such share of all steps if below 1.
   * Default: `loggingSteps`.
   */
  evalSteps?: number | undefined;
  /** No evaluation before so many steps, or epochs if `evalStrategy` is `epoch`; not at the end either. Default: 0. */
  evalDelay?: number | undefined;
  /**
   * Measure the evaluation set before the first step too, whatever `evalStrategy`. Not compared for the best, and not
   * repeated by a resume. Default: false.
   */
  evalOnStart?: boolean | undefined;
  /**
   * When a checkpoint is written. `steps` and `epoch` also write one at the end, after `earlyStoppingPatience` too, where
   * transformers by `steps` writes one only if it is due. `best`: after each evaluation that is the best so far. A run that
   * is stopped writes one as well, except with `no`. Default: `steps`.
   */
  saveStrategy?: 'no' | 'steps' | 'epoch' | 'best' | undefined;
  /**
   * For `saveStrategy: "steps"`: write one every so many steps, or every such share of all steps if below 1. Default: 500.
   */
  saveSteps?: number | undefined;
  /** Keep this many checkpoints of the run: the best, if one is chosen, and the newest. Default: all. */
  saveTotalLimit?: number | undefined;
  /**
   * Take the parameters of the best evaluation at the end. Each new best is saved, due or not, so that `saveSteps` need be
   * no multiple of `evalSteps` as in transformers; a copy of its parameters stays in memory, for a disk that is full or
   * fails. Default: false.
   */
  loadBestModelAtEnd?: boolean | undefined;
  /**
   * What decides the best: `evalLoss`, also as `loss` or `eval_loss`, or a name that `computeMetrics` gives, with or without
   * `eval_` in front. Default: `evalLoss`.
   */
  metricForBestModel?: MetricName | undefined;
  /**
   * Which way `metricForBestModel` is read. Must be given for one such as `errorRate` or `cost`, of which less may be
   * better. Default: false for a name that ends in "loss", else true.
   */
  greaterIsBetter?: boolean | undefined;
  /** Stop after so many evaluations in a row without a gain, those that give no finite number included. Default: never. */
  earlyStoppingPatience?: number | undefined;
  /**
   * What `metricForBestModel` must gain on its best value to count, in its own unit, for `earlyStoppingPatience`.
   * Default: 0.
   */
  earlyStoppingThreshold?: number | undefined;

  /**
   * When a loss or a gradient norm is NaN or infinite: stop with the samples named, or leave out the step’s update and
   * go on with a warning. `skip` looks at each loss before its update, so steps no longer overlap. Default: `stop`.
   */
  onNonFiniteLoss?: 'stop' | 'skip' | undefined;
  /** For `onNonFiniteLoss: "skip"`: stop when more steps of the run than this were left out. Default: 10. */
  maxSkippedSteps?: number | undefined;

  /** Seeds dropout, and the order of the samples. Default: 42. */
  seed?: number | undefined;
  /** Seeds the order of the samples alone. Default: `seed`. */
  dataSeed?: number | undefined;
  /**
   * Recompute layers in the backward pass: less memory, up to half more work, the same gradients. true: all layers.
   * `auto`: as few as fit into the memory, for a step that runs in as few passes as fit. Default: `auto`.
   */
  gradientCheckpointing?: boolean | 'auto' | undefined;
  /**
   * Most bytes that `auto` and the passes of a step are planned for, weights included; on `cuda` all that the process
   * uses on the card, as nvidia-smi shows it. Default: the limit of the engine, which an own `memoryBudget` may set.
   */
  memoryBudget?: number | undefined;
  /**
   * Where a micro-batch does not fit into the memory, halve it until it does and run as many more: a warning says so,
   * effective batch and result stay the same. false: that is an error before the step. Default: false.
   */
  autoMicroBatch?: boolean | undefined;
}

/** Schedule of the learning rate: what `lrSchedulerKwargs` may hold goes by `lrSchedulerType`. */
export type LrScheduleOptions = LrSchedule | DefaultLrSchedule;

/** The schedule where none is chosen. */
export interface DefaultLrSchedule {
  /** Course of the learning rate after the warm-up, by the names of transformers. Default: `linear`. */
  readonly lrSchedulerType?: undefined;
  /** Settings of the schedule, in camelCase: see {@link LrSchedulerKwargs}. Default: none. */
  readonly lrSchedulerKwargs?: NoKwargs | undefined;
}

/** What a user may write: {@link SftConfigOptions}, and a schedule with its settings ({@link LrScheduleOptions}). */
export type SftConfigInput = SftConfigOptions & LrScheduleOptions;

/** What the trainer works with: every default filled in. */
export type SftConfig = WithDefaults<
  Omit<SftConfigOptions, 'optim'>,
  | ('dataloaderPrefetch' | 'evalSteps' | 'saveTotalLimit' | 'metricForBestModel' | 'greaterIsBetter')
  | ('earlyStoppingPatience' | 'dataSeed' | 'memoryBudget')
> & {
  /** Moments of the optimizer: 32-bit (`adamw`) or block-wise 8-bit (`adamw_8bit`). Default: `adamw`. */
  optim: 'adamw' | 'adamw_8bit';
  /** Course of the learning rate after the warm-up, by the names of transformers. Default: `linear`. */
  lrSchedulerType: LrSchedulerType;
  /** Settings of the schedule, checked; see {@link LrSchedulerKwargs}. Default: none. */
  lrSchedulerKwargs: Record<string, unknown> | undefined;
};

/** Checks {@link SftConfigInput}, one option by one; the trainer also refuses some that contradict each other. */
export const sftConfigSchema = lazySchema(() =>
  z.strictObject({
    outputDir: pathOption().default('outputs'),

    numTrainEpochs: z.number().positive().default(3),
    maxSteps: z
      .number()
      .int()
      .refine((value) => value === -1 || value > 0, 'a positive number of optimizer steps, or -1 for none')
      .default(-1),
    perDeviceTrainBatchSize: count('a batch size').default(8),
    perDeviceEvalBatchSize: count('a batch size').default(8),
    gradientAccumulationSteps: count('a number of micro-batches').default(1),
    dataloaderDropLast: z.boolean().default(false),
    dataloaderPrefetch: z.number().int().nonnegative().optional(),

    optim: z
      .enum(Object.keys(OPTIMIZERS) as [OptimizerName, ...OptimizerName[]], {
        error: ({ input }) => optimizerFault(input),
      })
      .default('adamw')
      .transform((name) => OPTIMIZERS[name]),
    learningRate: z.number().nonnegative().default(2e-5),
    loraplusLrRatio: z.number().positive('a ratio above 0').default(1),
    weightDecay: z.number().nonnegative().default(0),
    adamBeta1: z.number().min(0).lt(1).default(0.9),
    adamBeta2: z.number().min(0).lt(1).default(0.999),
    adamEpsilon: z.number().positive().default(1e-8),
    maxGradNorm: z.number().nonnegative().default(1),
    lrSchedulerType: z.enum(LR_SCHEDULER_TYPES, { error: ({ input }) => scheduleNameFault(input) }).default('linear'),
    lrSchedulerKwargs: z
      .record(z.string(), z.unknown(), 'an object of settings, such as { numCycles: 1 }')
      .optional()
      .transform(normalSettings),
    warmupSteps: z
      .number()
      .nonnegative()
      .refine((value) => value < 1 || Number.isInteger(value), 'from 1 on this is a whole number of steps')
      .default(0),
    warmupRatio: z.number().min(0).lt(1).default(0),

    loggingSteps: stepsOrRatio().default(10),
    loggingFirstStep: z.boolean().default(false),
    progress: z.enum(['auto', 'bar', 'lines', 'none']).default('auto'),
    labelSmoothingFactor: z.number().min(0).lt(1, 'a share from 0 to below 1').default(0),
    neftuneNoiseAlpha: z.number().nonnegative().default(0),
    sharePrefix: z.boolean().default(true),
    precision: z.enum(['bf16', 'fp8-backward', 'fp8']).default('bf16'),

    evalStrategy: z.enum(['no', 'steps', 'epoch']).default('no'),
    evalSteps: stepsOrRatio().optional(),
    evalDelay: z.number().nonnegative().default(0),
    evalOnStart: z.boolean().default(false),
    saveStrategy: z.enum(['no', 'steps', 'epoch', 'best']).default('steps'),
    saveSteps: stepsOrRatio().default(500),
    saveTotalLimit: count('a number of checkpoints').optional(),
    loadBestModelAtEnd: z.boolean().default(false),
    metricForBestModel: z.string().min(1, 'the name of a metric').optional(),
    greaterIsBetter: z.boolean().optional(),
    earlyStoppingPatience: count('a number of evaluations').optional(),
    earlyStoppingThreshold: z.number().nonnegative().default(0),

    onNonFiniteLoss: z.enum(['stop', 'skip']).default('stop'),
    maxSkippedSteps: count('a number of steps').default(10),

    seed: z.number().int().min(0).max(0xffffffff).default(42),
    dataSeed: z.number().int().min(0).max(0xffffffff).optional(),
    gradientCheckpointing: z.union([z.boolean(), z.literal('auto')]).default('auto'),
    memoryBudget: z
      .number()
      .positive()
      .refine((bytes) => budgetUnitFault(bytes) === undefined, { error: ({ input }) => budgetUnitFault(input) })
      .optional(),
    autoMicroBatch: z.boolean().default(false),
  }),
);

/** Arguments of transformers and accelerate, by what they are called here. */
const ALIASES: Readonly<Record<string, string>> = {
  bf16: 'precision',
  fp16: 'precision',
  fp8: 'precision',
  mixedprecision: 'precision',
  lr: 'learningRate',
  batchsize: 'perDeviceTrainBatchSize',
  trainbatchsize: 'perDeviceTrainBatchSize',
  evalbatchsize: 'perDeviceEvalBatchSize',
  gradclip: 'maxGradNorm',
  scheduler: 'lrSchedulerType',
};

/** Arguments of transformers and TRL that belong to something else here, with where. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  maxlength: 'new VlmCollator({ …, maxLength }) has it',
  maxseqlength: 'new VlmCollator({ …, maxLength }) has it',
  assistantonlyloss: 'only answers are learned by default: `maskPrompt` of VlmCollator',
  completiononlyloss: 'only answers are learned by default: `maskPrompt` of VlmCollator',
  datasettextfield: 'samples are { messages }, { prompt, completion } or { text }',
  packing: 'leave it out: the samples of a step are packed already',
  padding: 'leave it out: the collator pads',
  reportto: 'new SftTrainer({ …, callbacks: [tensorBoard()] }) has it, from ministral-tune/monitor',
  loggingdir: 'tensorBoard({ folder }) among the trainer’s `callbacks` has it, from ministral-tune/monitor',
  pushtohub: 'await pushToHub(folder, name) does it after the run',
  peftconfig: 'applyLora(model, config) does it before the trainer is made',
  resumefromcheckpoint: 'trainer.train({ resumeFromCheckpoint }) has it',
  dataloadernumworkers: 'new ImagePool(imageProcessor, { workers }) has it',
  ddptimeout: 'leave it out: a rank that lives is waited for, at the sum of a step for 1800 s',
  ddpbackend: 'leave it out: NCCL sums the gradients',
  device: 'createEngine has it',
  loadin4bit: "fromPretrained(name, { quantization: 'nf4' }) has it",
};

type Schedule = 'lrSchedulerType' | 'lrSchedulerKwargs';
type _Input = NoMismatch<Mismatch<Omit<z.input<ReturnType<typeof sftConfigSchema>>, Schedule>, SftConfigOptions>>;
type _Output = NoMismatch<Mismatch<z.output<ReturnType<typeof sftConfigSchema>>, SftConfig>>;

/**
 * Options that a resumed run may change, as the parameters of a step do not depend on them; how the best is chosen only
 * where none has been. Listed here so that a new option is judged where it is written. Those of the collator:
 * `compare-runs.ts`.
 */
export const RESUME_MAY_CHANGE: ReadonlySet<string> = new Set<keyof SftConfig>([
  ...(['outputDir', 'perDeviceEvalBatchSize', 'dataloaderPrefetch', 'loggingSteps', 'loggingFirstStep'] as const),
  ...(['progress', 'evalStrategy', 'evalSteps', 'evalDelay', 'evalOnStart', 'saveStrategy', 'saveSteps'] as const),
  ...(['saveTotalLimit', 'loadBestModelAtEnd', 'metricForBestModel', 'greaterIsBetter'] as const),
  ...(['earlyStoppingPatience', 'earlyStoppingThreshold', 'onNonFiniteLoss', 'maxSkippedSteps'] as const),
  ...(['gradientCheckpointing', 'memoryBudget', 'autoMicroBatch'] as const),
]);

/**
 * Checks options and fills in the defaults.
 * @throws ConfigError listing every fault
 */
export function parseSftConfig(input: SftConfigInput = {}): SftConfig {
  const schema = sftConfigSchema().superRefine((config, context) => {
    const fault = (name: keyof SftConfig, message: string) => {
      context.addIssue({ code: 'custom', path: [name], message });
    };
    if (config.warmupSteps !== 0 && config.warmupRatio !== 0) {
      fault('warmupRatio', 'given beside `warmupSteps`; one of the two says how long the warm-up is');
    }
    for (const { path, message } of scheduleFaults(config))
      context.addIssue({ code: 'custom', path: [...path], message });
    if (config.evalStrategy === 'no') {
      const needs = 'needs evaluations: set `evalStrategy` to "steps" or "epoch"';
      if (config.loadBestModelAtEnd) fault('loadBestModelAtEnd', needs);
      if (config.saveStrategy === 'best') fault('saveStrategy', `"best" ${needs}`);
      if (config.earlyStoppingPatience !== undefined) fault('earlyStoppingPatience', needs);
      if (config.evalDelay > 0) fault('evalDelay', needs);
    }
    if (config.loadBestModelAtEnd && config.saveStrategy === 'no') {
      fault('loadBestModelAtEnd', 'needs checkpoints: set `saveStrategy`, for instance to "best"');
    }
    if (config.earlyStoppingThreshold > 0 && config.earlyStoppingPatience === undefined) {
      fault('earlyStoppingThreshold', 'has no effect without `earlyStoppingPatience`');
    }
  });
  return parseOptions(schema, input, 'SftConfig', ALIASES, {}, ELSEWHERE);
}

/** A number of steps from an option that may be a share of all steps, as transformers rounds it. */
export function resolveSteps(value: number, totalSteps: number): number {
  return value < 1 ? Math.ceil(totalSteps * value) : value;
}

/** What the schedule of a run of so many steps depends on. */
export function scheduleRun({ warmupSteps, warmupRatio, learningRate }: SftConfig, totalSteps: number): ScheduleRun {
  return { warmupSteps: resolveSteps(warmupRatio || warmupSteps, totalSteps), totalSteps, learningRate };
}

/** The engine's name of the optimizer. */
export function optimizerKind(config: Pick<SftConfig, 'optim'>): OptimizerStep['kind'] {
  return ENGINE_KINDS[config.optim];
}
