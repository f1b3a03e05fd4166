/**
 * Options of supervised fine-tuning, named after `transformers.TrainingArguments` and TRL's `SFTConfig` in camelCase.
 * The schema is the one place of names, defaults, ranges and meanings.
 */
import { z } from 'zod';
import { parseOptions } from '../config.js';
import type { OptimizerStep } from '../engine/engine.js';
import { budgetUnitFault } from '../engine/memory-budget.js';
import { LR_SCHEDULER_TYPES, type LrSchedule, type NoKwargs, type ScheduleRun } from './schedule.js';
import { scheduleFaults, scheduleNameFault } from './schedule-config.js';

const count = (what: string) => z.number().int(`${what} is a whole number`).positive(`${what} is at least 1`);
/** A number of steps, or a share of all steps if below 1 (rounded up). */
const stepsOrRatio = z
  .number()
  .positive('a number of steps (1, 2, ...) or a share of all steps (above 0, below 1)')
  .refine((value) => value < 1 || Number.isInteger(value), 'from 1 on this is a whole number of steps');

/** Names of transformers that mean the same arithmetic here. */
const OPTIMIZERS = {
  adamw: 'adamw',
  adamw_torch: 'adamw',
  adamw_torch_fused: 'adamw',
  adamw_8bit: 'adamw_8bit',
  adamw_bnb_8bit: 'adamw_8bit',
  paged_adamw_8bit: 'adamw_8bit',
} as const;
type OptimizerName = keyof typeof OPTIMIZERS;

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

/** Options of `SftTrainer`, one by one; the trainer also refuses some that contradict each other. */
export const sftConfigSchema = z.strictObject({
  /**
   * Folder of checkpoints and of `train-log.jsonl`, of one run at a time: a second one, in any process that shares the
   * disk, is refused at its start. Default: `outputs`.
   */
  outputDir: z.string().min(1).default('outputs'),

  /** Passes over the training set; may be fractional. Default: 3. */
  numTrainEpochs: z.number().positive().default(3),
  /** Optimizer steps in all; overrides `numTrainEpochs`. -1: not set. Default: -1. */
  maxSteps: z
    .number()
    .int()
    .refine((value) => value === -1 || value > 0, 'a positive number of optimizer steps, or -1 for none')
    .default(-1),
  /** Samples of a micro-batch. Default: 8. */
  perDeviceTrainBatchSize: count('a batch size').default(8),
  /** Samples of a batch in evaluation. Default: 8. */
  perDeviceEvalBatchSize: count('a batch size').default(8),
  /** Micro-batches of an optimizer step. The last step of an epoch takes the rest. Default: 1. */
  gradientAccumulationSteps: count('a number of micro-batches').default(1),
  /** Leave out a last micro-batch that is not full. Default: false. */
  dataloaderDropLast: z.boolean().default(false),
  /** Micro-batches that are read and collated ahead while the engine works. Default: those of two optimizer steps. */
  dataloaderPrefetch: z.number().int().nonnegative().optional(),

  /**
   * `adamw`: 32-bit moments, also as `adamw_torch`, `adamw_torch_fused`. `adamw_8bit`: block-wise 8-bit moments as in
   * bitsandbytes, also as `adamw_bnb_8bit`, `paged_adamw_8bit`. Default: `adamw`.
   */
  optim: z
    .enum(Object.keys(OPTIMIZERS) as [OptimizerName, ...OptimizerName[]], {
      error: ({ input }) => optimizerFault(input),
    })
    .default('adamw')
    .transform((name) => OPTIMIZERS[name]),
  /** Peak learning rate, of LoRA's A where `loraplusLrRatio` is set. Default: 2e-5. */
  learningRate: z.number().nonnegative().default(2e-5),
  /**
   * LoRA+: the learning rate of LoRA's B over that of A, as PEFT's `create_loraplus_optimizer`; its paper suggests 2 to
   * 16. The logged rate is A's. `weightDecay` holds for both (PEFT has `loraplus_weight_decay` instead), times each matrix's
   * own rate. Default: 1.
   */
  loraplusLrRatio: z.number().positive('a ratio above 0').default(1),
  /** Decoupled decay of every trainable parameter. Default: 0. */
  weightDecay: z.number().nonnegative().default(0),
  /** Decay of the first moment. Default: 0.9. */
  adamBeta1: z.number().min(0).lt(1).default(0.9),
  /** Decay of the second moment. Default: 0.999. */
  adamBeta2: z.number().min(0).lt(1).default(0.999),
  /** Added to the square root of the second moment. Default: 1e-8. */
  adamEpsilon: z.number().positive().default(1e-8),
  /** Largest L2 norm of all gradients; 0: no clipping. Default: 1. */
  maxGradNorm: z.number().nonnegative().default(1),
  /** Course of the learning rate after the warm-up, by the names of transformers. Default: `linear`. */
  lrSchedulerType: z.enum(LR_SCHEDULER_TYPES, { error: ({ input }) => scheduleNameFault(input) }).default('linear'),
  /**
   * Settings of the schedule, in camelCase. `cosine_with_min_lr` and `cosine_warmup_with_min_lr` need `minLr` or
   * `minLrRate`, `warmup_stable_decay` needs `numDecaySteps`; the others need none. Default: none.
   */
  lrSchedulerKwargs: z
    .record(z.string(), z.unknown(), 'an object of settings, such as { numCycles: 1 }')
    .optional()
    .transform(normalSettings),
  /** Steps in which the rate rises from 0 (so the first has rate 0), or a share of all steps if below 1. Default: 0. */
  warmupSteps: z
    .number()
    .nonnegative()
    .refine((value) => value < 1 || Number.isInteger(value), 'from 1 on this is a whole number of steps')
    .default(0),
  /**
   * The share alone, by its older name. Default: 0.
   * @deprecated as in transformers 5: `warmupSteps` takes a share too.
   */
  warmupRatio: z.number().min(0).lt(1).default(0),

  /** Log every so many steps, or every such share of all steps. Default: 10. */
  loggingSteps: stepsOrRatio.default(10),
  /** Log the first step as well. Default: false. */
  loggingFirstStep: z.boolean().default(false),
  /** On stderr: a bar, plain lines, or nothing. `auto`: a bar in a terminal, lines elsewhere. Default: `auto`. */
  progress: z.enum(['auto', 'bar', 'lines', 'none']).default('auto'),
  /**
   * The share of probability that is spread evenly over the vocabulary instead of given to the label, 0 <= ε < 1: the
   * loss of a labelled token is 1 - ε of the usual one and ε of the mean over the vocabulary. Evaluations are measured in
   * the same way, as in transformers. Default: 0.
   */
  labelSmoothingFactor: z.number().min(0).lt(1, 'a share from 0 to below 1').default(0),
  /**
   * NEFTune: in training adds noise to the embeddings of the tokens, uniform in ± alpha / √(L · C) with the tokens L of
   * the sample (transformers takes the padded length of its batch) and the width C. Images have none. 0: off. Default: 0.
   */
  neftuneNoiseAlpha: z.number().nonnegative().default(0),
  /**
   * Compute the common prefix of a pass’s samples only once, such as the same instruction before different images, in
   * training and evaluation. Prefixes are found in the data; loss and gradients equal those without sharing, within
   * rounding. LoRA dropout draws one mask for a shared token, not one for each sample of the optimizer step. Has no effect
   * on training with NEFTune. Default: true.
   */
  sharePrefix: z.boolean().default(true),
  /**
   * Number format of the decoder’s products with frozen weights. `fp8-backward`: gradients of activations in
   * e4m3, with a scale for each token. `fp8`: forward as well; a 14B model on an H200 then trains a third faster than in
   * `bf16`. On two small trained models LoRA gradients were off by 0.3 and 1.0 % in bf16, 0.5 and 1.1 % in `fp8-backward`,
   * 4 and 9 % in `fp8`; 200 steps reached the same accuracy within half a point, with an evaluation loss up to 3 %
   * (`fp8-backward`) and 5 % (`fp8`) above that of bf16. LoRA’s own products, the vision tower, the head, evaluation and
   * generation stay in bf16. Requires `cuda` and compute capability 8.9. Default: `bf16`.
   */
  precision: z.enum(['bf16', 'fp8-backward', 'fp8']).default('bf16'),

  /**
   * When the evaluation set is measured. `steps` and `epoch` also measure at the end. An evaluation comes before a save
   * of the same step, but by `epoch` it comes after a save by `steps`, as in transformers. Default: `no`.
   */
  evalStrategy: z.enum(['no', 'steps', 'epoch']).default('no'),
  /** For `evalStrategy: "steps"`. Default: `loggingSteps`. */
  evalSteps: stepsOrRatio.optional(),
  /** No evaluation before so many steps, or epochs if `evalStrategy` is `epoch`; not at the end either. Default: 0. */
  evalDelay: z.number().nonnegative().default(0),
  /**
   * Measure the evaluation set before the first step too, whatever `evalStrategy`. Not compared for the best, and not
   * repeated by a resume. Default: false.
   */
  evalOnStart: z.boolean().default(false),
  /**
   * When a checkpoint is written. `steps` and `epoch` also write one at the end, after `earlyStoppingPatience` too, where
   * transformers by `steps` writes one only if it is due. `best`: after each evaluation that is the best so far. A run that
   * is stopped writes one as well, except with `no`. Default: `steps`.
   */
  saveStrategy: z.enum(['no', 'steps', 'epoch', 'best']).default('steps'),
  /** For `saveStrategy: "steps"`. Default: 500. */
  saveSteps: stepsOrRatio.default(500),
  /** Keep this many checkpoints of the run: the best, if one is chosen, and the newest. Default: all. */
  saveTotalLimit: count('a number of checkpoints').optional(),
  /**
   * Take the parameters of the best evaluation at the end. Each new best is saved, due or not, so that `saveSteps` need be
   * no multiple of `evalSteps` as in transformers; a copy of its parameters stays in memory, for a disk that is full or
   * fails. Default: false.
   */
  loadBestModelAtEnd: z.boolean().default(false),
  /**
   * What decides the best: `evalLoss`, also as `loss` or `eval_loss`, or a name that `computeMetrics` gives, with or without
   * `eval_` in front. Default: `evalLoss`.
   */
  metricForBestModel: z.string().min(1, 'the name of a metric').optional(),
  /**
   * Which way `metricForBestModel` is read. Default: false for a name that ends in "loss", else true; must be given for one
   * such as `errorRate` or `cost`, of which less may be better.
   */
  greaterIsBetter: z.boolean().optional(),
  /** Stop after so many evaluations in a row without a gain, those that give no finite number included. Default: never. */
  earlyStoppingPatience: count('a number of evaluations').optional(),
  /** What `metricForBestModel` must gain on its best value to count, for `earlyStoppingPatience`. Default: 0. */
  earlyStoppingThreshold: z.number().nonnegative().default(0),

  /**
   * When a loss or a gradient norm is NaN or infinite: stop with the samples named, or leave out the step’s update and
   * go on with a warning. `skip` looks at each loss before its update, so steps no longer overlap. Default: `stop`.
   */
  onNonFiniteLoss: z.enum(['stop', 'skip']).default('stop'),
  /** For `onNonFiniteLoss: "skip"`: stop when more steps of the run than this were left out. Default: 10. */
  maxSkippedSteps: count('a number of steps').default(10),

  /** Seeds dropout, and the order of the samples. Default: 42. */
  seed: z.number().int().min(0).max(0xffffffff).default(42),
  /** Seeds the order alone. Default: `seed`. */
  dataSeed: z.number().int().min(0).max(0xffffffff).optional(),
  /**
   * Recompute layers in the backward pass: less memory, up to half more work, the same gradients. true: all layers.
   * `auto`: as few as fit into the memory, for a step that runs in as few passes as fit. Default: `auto`.
   */
  gradientCheckpointing: z.union([z.boolean(), z.literal('auto')]).default('auto'),
  /**
   * Most bytes that `auto` and the passes of a step are planned for, weights included; on `cuda` all that the process
   * uses on the card, as nvidia-smi shows it. Default: the limit of the engine, which an own `memoryBudget` may set.
   */
  memoryBudget: z
    .number()
    .positive()
    .refine((bytes) => budgetUnitFault(bytes) === undefined, { error: ({ input }) => budgetUnitFault(input) })
    .optional(),
  /**
   * Where a micro-batch does not fit into the memory, halve it until it does and run as many more: a warning says so,
   * effective batch and result stay the same. false: that is an error before the step. Default: false.
   */
  autoMicroBatch: z.boolean().default(false),
});

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
  device: 'createEngine has it',
  loadin4bit: "fromPretrained(name, { quantization: 'nf4' }) has it",
};

type PlainInput = z.input<typeof sftConfigSchema>;
type ScheduleInput =
  | LrSchedule
  | { readonly lrSchedulerType?: undefined; readonly lrSchedulerKwargs?: NoKwargs | undefined };

/** What a user may write: {@link SftConfig} documents each option. `lrSchedulerKwargs` goes by `lrSchedulerType`. */
export type SftConfigInput = Omit<PlainInput, 'lrSchedulerType' | 'lrSchedulerKwargs'> & ScheduleInput;
/** What the trainer works with: every default filled in. @useDeclaredType */
export type SftConfig = z.output<typeof sftConfigSchema>;

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
  const schema = sftConfigSchema.superRefine((config, context) => {
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
