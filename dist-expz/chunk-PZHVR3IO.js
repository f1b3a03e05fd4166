import {
  _enum,
  boolean,
  int,
  literal,
  nearestName,
  number,
  parseOptions,
  record,
  showValue,
  strictObject,
  string,
  union,
  unknown
} from "./chunk-NY3EPE2R.js";

// src/train/schedule.ts
var LR_SCHEDULER_TYPES = [
  ...["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"],
  ...["inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"]
];
function learningRateFactor(schedule, step, run) {
  const { warmupSteps, totalSteps, learningRate } = run;
  const rise = step / Math.max(1, warmupSteps);
  const isWarmup = step < warmupSteps;
  const length = Math.max(1, totalSteps - warmupSteps);
  const progress = (step - warmupSteps) / length;
  switch (schedule.lrSchedulerType) {
    case "constant":
      return 1;
    case "constant_with_warmup":
      return isWarmup ? rise : 1;
    case "linear":
      return isWarmup ? rise : Math.max(0, (totalSteps - step) / length);
    case "cosine":
      return isWarmup ? rise : Math.max(0, wave(progress, schedule.lrSchedulerKwargs?.numCycles));
    case "cosine_with_restarts": {
      if (isWarmup) return rise;
      const cycles2 = schedule.lrSchedulerKwargs?.numCycles ?? 1;
      return progress >= 1 ? 0 : Math.max(0, wave(cycles2 * progress % 1));
    }
    case "polynomial": {
      if (isWarmup) return rise;
      const { lrEnd = 1e-7, power = 1 } = schedule.lrSchedulerKwargs ?? {};
      if (step > totalSteps) return lrEnd / learningRate;
      return ((learningRate - lrEnd) * (1 - progress) ** power + lrEnd) / learningRate;
    }
    case "inverse_sqrt": {
      if (isWarmup) return rise;
      const timescale = schedule.lrSchedulerKwargs?.timescale ?? (warmupSteps || 1e4);
      return 1 / Math.sqrt((step + timescale - warmupSteps) / timescale);
    }
    case "cosine_with_min_lr": {
      if (isWarmup) return rise;
      const { numCycles } = schedule.lrSchedulerKwargs ?? {};
      return Math.max(0, above(lowest(schedule.lrSchedulerKwargs, learningRate), wave(progress, numCycles)));
    }
    case "cosine_warmup_with_min_lr": {
      const { numCycles, warmupLrRate } = schedule.lrSchedulerKwargs ?? {};
      if (isWarmup && warmupLrRate === void 0) return (step + 1) / Math.max(1, warmupSteps);
      if (isWarmup) return warmupLrRate + (1 - warmupLrRate) * step / Math.max(1, warmupSteps - 1);
      const factor = wave((step - warmupSteps + 1) / length, numCycles);
      return Math.max(0, above(lowest(schedule.lrSchedulerKwargs, learningRate), factor));
    }
    case "warmup_stable_decay":
      return warmupStableDecay(schedule.lrSchedulerKwargs, step, run);
  }
}
function warmupStableDecay(kwargs, step, run) {
  const { numDecaySteps, minLrRatio = 0, warmupType = "linear", decayType = "cosine", numCycles } = kwargs;
  const { warmupSteps } = run;
  if (step < warmupSteps) {
    const progress2 = step / warmupSteps;
    const ramps2 = {
      linear: () => progress2,
      cosine: () => 0.5 * (1 - Math.cos(Math.PI * progress2)),
      "1-sqrt": () => 1 - Math.sqrt(1 - progress2)
    };
    return Math.max(0, above(minLrRatio, ramps2[warmupType]()));
  }
  const firstOfDecay = warmupSteps + stableSteps(kwargs, run);
  if (step < firstOfDecay) return 1;
  if (step >= firstOfDecay + numDecaySteps) return minLrRatio;
  const progress = (step - firstOfDecay) / numDecaySteps;
  const ramps = {
    linear: () => 1 - progress,
    cosine: () => wave(progress, numCycles),
    "1-sqrt": () => 1 - Math.sqrt(progress)
  };
  return Math.max(0, above(minLrRatio, ramps[decayType]()));
}
function stableSteps({ numStableSteps, numDecaySteps }, run) {
  return numStableSteps ?? run.totalSteps - run.warmupSteps - numDecaySteps;
}
function wave(progress, cycles2 = 0.5) {
  return 0.5 * (1 + Math.cos(Math.PI * cycles2 * 2 * progress));
}
function above(low, factor) {
  return factor * (1 - low) + low;
}
function lowest(kwargs, learningRate) {
  return kwargs?.minLrRate ?? kwargs.minLr / learningRate;
}
function scheduleWarnings(schedule, run) {
  const { lrSchedulerType: type } = schedule;
  const { warmupSteps, totalSteps } = run;
  if (type === "constant") {
    if (warmupSteps === 0) return [];
    return [`\`warmupSteps\` has no effect with "constant"; "constant_with_warmup" has a warm-up`];
  }
  if (warmupSteps >= totalSteps && warmupSteps > 0) {
    const peak = `the run has ${steps(totalSteps)} and the warm-up ${warmupSteps}`;
    return [`${peak}: the learning rate never reaches its peak of ${run.learningRate}`];
  }
  if (schedule.lrSchedulerType !== "warmup_stable_decay") return [];
  const { numDecaySteps, minLrRatio = 0 } = schedule.lrSchedulerKwargs;
  const stable = stableSteps(schedule.lrSchedulerKwargs, run);
  const planned = warmupSteps + Math.max(0, stable) + numDecaySteps;
  const parts = `"warmup_stable_decay": the run has ${steps(totalSteps)}, warm-up, peak and decay together ${planned}`;
  if (stable < 0) return [`${parts}: the first ${steps(-stable)} of the decay are left out`];
  if (planned < totalSteps) {
    return [`${parts}: the last ${steps(totalSteps - planned)} run at ${minLrRatio} of the learning rate`];
  }
  return planned > totalSteps ? [`${parts}: the last ${steps(planned - totalSteps)} of the decay never come`] : [];
}
function steps(count2) {
  return `${count2} step${count2 === 1 ? "" : "s"}`;
}

// src/train/schedule-config.ts
var number2 = number("a number");
var share = number2.min(0, "a share of `learningRate`, 0 to 1").max(1, "a share of `learningRate`, 0 to 1");
var steps2 = int("a whole number of steps");
var cycles = number2.positive("above 0");
var ramp = _enum(["linear", "cosine", "1-sqrt"], 'one of "linear", "cosine", "1-sqrt"');
var minLr = {
  numCycles: cycles.optional(),
  minLr: number2.nonnegative("a learning rate, not below 0").optional(),
  minLrRate: share.optional()
};
var SCHEMAS = {
  linear: strictObject({}),
  cosine: strictObject({ numCycles: cycles.optional() }),
  cosine_with_restarts: strictObject({
    numCycles: int("a whole number of cycles").positive("a whole number of cycles, at least 1").optional()
  }),
  polynomial: strictObject({
    lrEnd: number2.nonnegative("a learning rate, not below 0").optional(),
    power: number2.positive("above 0").optional()
  }),
  constant: strictObject({}),
  constant_with_warmup: strictObject({}),
  inverse_sqrt: strictObject({ timescale: number2.positive("a number of steps, above 0").optional() }),
  cosine_with_min_lr: strictObject(minLr),
  cosine_warmup_with_min_lr: strictObject({ ...minLr, warmupLrRate: share.optional() }),
  warmup_stable_decay: strictObject({
    numDecaySteps: steps2.positive("a whole number of steps, at least 1"),
    numStableSteps: steps2.nonnegative("a whole number of steps").optional(),
    minLrRatio: share.optional(),
    warmupType: ramp.optional(),
    decayType: ramp.optional(),
    numCycles: cycles.optional()
  })
};
function scheduleNameFault(name) {
  if (typeof name !== "string") return void 0;
  if (name === "reduce_lr_on_plateau" || name === "greedy") {
    return `"${name}", which steers by results, is not offered; known: ${LR_SCHEDULER_TYPES.join(", ")}`;
  }
  const near = name === "wsd" ? "warmup_stable_decay" : nearestName(name, LR_SCHEDULER_TYPES);
  const known = near ? `did you mean "${near}"?` : `known: ${LR_SCHEDULER_TYPES.join(", ")}`;
  return `there is no schedule ${showValue(name)}; ${known}`;
}
function scheduleFaults({ lrSchedulerType, lrSchedulerKwargs, learningRate }) {
  const given = { ...lrSchedulerKwargs };
  const known = Object.keys(SCHEMAS[lrSchedulerType].shape);
  const at = (name, message) => ({ path: ["lrSchedulerKwargs", name], message });
  const unknown2 = Object.keys(given).filter((name) => !known.includes(name));
  const faults = unknown2.map((name) => at(name, unknownSetting(name, lrSchedulerType, known)));
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => known.includes(name)));
  const { error } = SCHEMAS[lrSchedulerType].safeParse(own);
  for (const issue of error?.issues ?? []) {
    const name = String(issue.path[0]);
    const came = own[name];
    if (came !== void 0) faults.push(at(name, `${issue.message}, got ${showValue(came)}`));
    else faults.push(missing(`"${lrSchedulerType}" needs \`${name}\`: ${issue.message}`));
  }
  if (faults.length > 0) return faults;
  const { minLr: minLr2, minLrRate, lrEnd = 1e-7 } = own;
  if (known.includes("minLr")) {
    const both = "one of `minLr` (a learning rate) and `minLrRate` (a share of `learningRate`)";
    if (minLr2 === void 0 && minLrRate === void 0) faults.push(missing(`"${lrSchedulerType}" needs ${both}`));
    if (minLr2 !== void 0 && minLrRate !== void 0) faults.push(at("minLrRate", `given beside \`minLr\`: ${both}`));
    if (minLr2 !== void 0 && learningRate === 0) {
      faults.push(at("minLr", "has no meaning with a `learningRate` of 0; write `minLrRate`"));
    } else if (minLr2 !== void 0 && minLr2 > learningRate) {
      faults.push(at("minLr", `${minLr2} is above \`learningRate\`, which is ${learningRate}`));
    }
  }
  if (lrSchedulerType === "polynomial" && !(lrEnd < learningRate)) {
    const from = own.lrEnd === void 0 ? ", its default," : "";
    faults.push(at("lrEnd", `${lrEnd}${from} must be below \`learningRate\`, which is ${learningRate}`));
  }
  return faults;
}
function missing(message) {
  return { path: ["lrSchedulerKwargs"], message };
}
function unknownSetting(name, type, known) {
  const near = nearestName(name, known);
  if (near) return `unknown setting of "${type}"; did you mean \`${near}\`?`;
  const camel = name.replace(/_+(\w)/g, (_, letter) => letter.toUpperCase());
  const others = LR_SCHEDULER_TYPES.filter((other) => camel in SCHEMAS[other].shape);
  const has = known.length === 0 ? "which has no settings" : `which has ${known.join(", ")}`;
  const of = others.length > 0 ? `; it is one of ${others.map((other) => `"${other}"`).join(", ")}` : "";
  return `unknown setting of "${type}", ${has}${of}`;
}
function scheduleOf({ lrSchedulerType, lrSchedulerKwargs }) {
  return { lrSchedulerType, lrSchedulerKwargs };
}

// src/train/sft-config.ts
var count = (what) => number().int(`${what} is a whole number`).positive(`${what} is at least 1`);
var stepsOrRatio = number().positive("a number of steps (1, 2, ...) or a share of all steps (above 0, below 1)").refine((value) => value < 1 || Number.isInteger(value), "from 1 on this is a whole number of steps");
var OPTIMIZERS = {
  adamw: "adamw",
  adamw_torch: "adamw",
  adamw_torch_fused: "adamw",
  adamw_8bit: "adamw_8bit",
  adamw_bnb_8bit: "adamw_8bit",
  paged_adamw_8bit: "adamw_8bit"
};
var ENGINE_KINDS = {
  adamw: "adamw",
  adamw_8bit: "adamw8bit"
};
function optimizerFault(name) {
  if (name !== "adam" && name !== "adam_8bit") return void 0;
  const own = name === "adam" ? "adamw" : "adamw_8bit";
  return `there is no "${name}"; "${own}" with \`weightDecay: 0\` is the same`;
}
function normalSettings(given) {
  const entries = Object.entries(given ?? {}).filter(([, value]) => value !== void 0);
  if (entries.length === 0) return void 0;
  return Object.fromEntries(entries.sort(([a], [b]) => a < b ? -1 : 1));
}
var sftConfigSchema = strictObject({
  /**
   * Folder of checkpoints and of `train-log.jsonl`, of one run at a time: a second one, in any process that shares the
   * disk, is refused at its start. Default: `outputs`.
   */
  outputDir: string().min(1).default("outputs"),
  /** Passes over the training set; may be fractional. Default: 3. */
  numTrainEpochs: number().positive().default(3),
  /** Optimizer steps in all; overrides `numTrainEpochs`. -1: not set. Default: -1. */
  maxSteps: number().int().refine((value) => value === -1 || value > 0, "a positive number of optimizer steps, or -1 for none").default(-1),
  /** Samples of a micro-batch. Default: 8. */
  perDeviceTrainBatchSize: count("a batch size").default(8),
  /** Samples of a batch in evaluation. Default: 8. */
  perDeviceEvalBatchSize: count("a batch size").default(8),
  /** Micro-batches of an optimizer step. The last step of an epoch takes the rest. Default: 1. */
  gradientAccumulationSteps: count("a number of micro-batches").default(1),
  /** Leave out a last micro-batch that is not full. Default: false. */
  dataloaderDropLast: boolean().default(false),
  /** Micro-batches that are read and collated ahead while the engine works. Default: those of two optimizer steps. */
  dataloaderPrefetch: number().int().nonnegative().optional(),
  /**
   * `adamw`: 32-bit moments, also as `adamw_torch`, `adamw_torch_fused`. `adamw_8bit`: block-wise 8-bit moments as in
   * bitsandbytes, also as `adamw_bnb_8bit`, `paged_adamw_8bit`. Default: `adamw`.
   */
  optim: _enum(Object.keys(OPTIMIZERS), {
    error: ({ input }) => optimizerFault(input)
  }).default("adamw").transform((name) => OPTIMIZERS[name]),
  /** Peak learning rate, of LoRA's A where `loraplusLrRatio` is set. Default: 2e-5. */
  learningRate: number().nonnegative().default(2e-5),
  /**
   * LoRA+: the learning rate of LoRA's B over that of A, as PEFT's `create_loraplus_optimizer`; its paper suggests 2 to
   * 16. The logged rate is A's. `weightDecay` holds for both (PEFT has `loraplus_weight_decay` instead), times each matrix's
   * own rate. Default: 1.
   */
  loraplusLrRatio: number().positive("a ratio above 0").default(1),
  /** Decoupled decay of every trainable parameter. Default: 0. */
  weightDecay: number().nonnegative().default(0),
  /** Decay of the first moment. Default: 0.9. */
  adamBeta1: number().min(0).lt(1).default(0.9),
  /** Decay of the second moment. Default: 0.999. */
  adamBeta2: number().min(0).lt(1).default(0.999),
  /** Added to the square root of the second moment. Default: 1e-8. */
  adamEpsilon: number().positive().default(1e-8),
  /** Largest L2 norm of all gradients; 0: no clipping. Default: 1. */
  maxGradNorm: number().nonnegative().default(1),
  /** Course of the learning rate after the warm-up, by the names of transformers. Default: `linear`. */
  lrSchedulerType: _enum(LR_SCHEDULER_TYPES, { error: ({ input }) => scheduleNameFault(input) }).default("linear"),
  /**
   * Settings of the schedule, in camelCase. `cosine_with_min_lr` and `cosine_warmup_with_min_lr` need `minLr` or
   * `minLrRate`, `warmup_stable_decay` needs `numDecaySteps`; the others need none. Default: none.
   */
  lrSchedulerKwargs: record(string(), unknown(), "an object of settings, such as { numCycles: 1 }").optional().transform(normalSettings),
  /** Steps in which the rate rises from 0 (so the first has rate 0), or a share of all steps if below 1. Default: 0. */
  warmupSteps: number().nonnegative().refine((value) => value < 1 || Number.isInteger(value), "from 1 on this is a whole number of steps").default(0),
  /**
   * The share alone, by its older name. Default: 0.
   * @deprecated as in transformers 5: `warmupSteps` takes a share too.
   */
  warmupRatio: number().min(0).lt(1).default(0),
  /** Log every so many steps, or every such share of all steps. Default: 10. */
  loggingSteps: stepsOrRatio.default(10),
  /** Log the first step as well. Default: false. */
  loggingFirstStep: boolean().default(false),
  /** On stderr: a bar, plain lines, or nothing. `auto`: a bar in a terminal, lines elsewhere. Default: `auto`. */
  progress: _enum(["auto", "bar", "lines", "none"]).default("auto"),
  /**
   * The share of probability that is spread evenly over the vocabulary instead of given to the label, 0 <= ε < 1: the
   * loss of a labelled token is 1 - ε of the usual one and ε of the mean over the vocabulary. Evaluations are measured in
   * the same way, as in transformers. Default: 0.
   */
  labelSmoothingFactor: number().min(0).lt(1, "a share from 0 to below 1").default(0),
  /**
   * NEFTune: in training adds noise to the embeddings of the tokens, uniform in ± alpha / √(L · C) with the tokens L of
   * the sample (transformers takes the padded length of its batch) and the width C. Images have none. 0: off. Default: 0.
   */
  neftuneNoiseAlpha: number().nonnegative().default(0),
  /**
   * Compute the common prefix of a pass’s samples only once, such as the same instruction before different images, in
   * training and evaluation. Prefixes are found in the data; loss and gradients equal those without sharing, within
   * rounding. LoRA dropout draws one mask for a shared token, not one for each sample of the optimizer step. Has no effect
   * on training with NEFTune. Default: true.
   */
  sharePrefix: boolean().default(true),
  /**
   * Number format of the decoder’s products with frozen weights. `fp8-backward`: gradients of activations in
   * e4m3, with a scale for each token. `fp8`: forward as well; a 14B model on an H200 then trains a third faster than in
   * `bf16`. On two small trained models LoRA gradients were off by 0.3 and 1.0 % in bf16, 0.5 and 1.1 % in `fp8-backward`,
   * 4 and 9 % in `fp8`; 200 steps reached the same accuracy within half a point, with an evaluation loss up to 3 %
   * (`fp8-backward`) and 5 % (`fp8`) above that of bf16. LoRA’s own products, the vision tower, the head, evaluation and
   * generation stay in bf16. Requires `cuda` and compute capability 8.9. Default: `bf16`.
   */
  precision: _enum(["bf16", "fp8-backward", "fp8"]).default("bf16"),
  /**
   * When the evaluation set is measured. `steps` and `epoch` also measure at the end. An evaluation comes before a save
   * of the same step, but by `epoch` it comes after a save by `steps`, as in transformers. Default: `no`.
   */
  evalStrategy: _enum(["no", "steps", "epoch"]).default("no"),
  /** For `evalStrategy: "steps"`. Default: `loggingSteps`. */
  evalSteps: stepsOrRatio.optional(),
  /** No evaluation before so many steps, or epochs if `evalStrategy` is `epoch`; not at the end either. Default: 0. */
  evalDelay: number().nonnegative().default(0),
  /**
   * Measure the evaluation set before the first step too, whatever `evalStrategy`. Not compared for the best, and not
   * repeated by a resume. Default: false.
   */
  evalOnStart: boolean().default(false),
  /**
   * When a checkpoint is written. `steps` and `epoch` also write one at the end, after `earlyStoppingPatience` too, where
   * transformers by `steps` writes one only if it is due. `best`: after each evaluation that is the best so far. A run that
   * is stopped writes one as well, except with `no`. Default: `steps`.
   */
  saveStrategy: _enum(["no", "steps", "epoch", "best"]).default("steps"),
  /** For `saveStrategy: "steps"`. Default: 500. */
  saveSteps: stepsOrRatio.default(500),
  /** Keep this many checkpoints of the run: the best, if one is chosen, and the newest. Default: all. */
  saveTotalLimit: count("a number of checkpoints").optional(),
  /**
   * Take the parameters of the best evaluation at the end. Each new best is saved, due or not, so that `saveSteps` need be
   * no multiple of `evalSteps` as in transformers; a copy of its parameters stays in memory, for a disk that is full or
   * fails. Default: false.
   */
  loadBestModelAtEnd: boolean().default(false),
  /**
   * What decides the best: `evalLoss`, also as `loss` or `eval_loss`, or a name that `computeMetrics` gives, with or without
   * `eval_` in front. Default: `evalLoss`.
   */
  metricForBestModel: string().min(1, "the name of a metric").optional(),
  /**
   * Which way `metricForBestModel` is read. Default: false for a name that ends in "loss", else true; must be given for one
   * such as `errorRate` or `cost`, of which less may be better.
   */
  greaterIsBetter: boolean().optional(),
  /** Stop after so many evaluations in a row without a gain, those that give no finite number included. Default: never. */
  earlyStoppingPatience: count("a number of evaluations").optional(),
  /** What `metricForBestModel` must gain on its best value to count, for `earlyStoppingPatience`. Default: 0. */
  earlyStoppingThreshold: number().nonnegative().default(0),
  /**
   * When a loss or a gradient norm is NaN or infinite: stop with the samples named, or leave out the step’s update and
   * go on with a warning. `skip` looks at each loss before its update, so steps no longer overlap. Default: `stop`.
   */
  onNonFiniteLoss: _enum(["stop", "skip"]).default("stop"),
  /** For `onNonFiniteLoss: "skip"`: stop when more steps of the run than this were left out. Default: 10. */
  maxSkippedSteps: count("a number of steps").default(10),
  /** Seeds dropout, and the order of the samples. Default: 42. */
  seed: number().int().min(0).max(4294967295).default(42),
  /** Seeds the order alone. Default: `seed`. */
  dataSeed: number().int().min(0).max(4294967295).optional(),
  /**
   * Recompute layers in the backward pass: less memory, up to half more work, the same gradients. true: all layers.
   * `auto`: as few as fit into the memory, for a step that runs in as few passes as fit. Default: `auto`.
   */
  gradientCheckpointing: union([boolean(), literal("auto")]).default("auto"),
  /**
   * Most bytes that `auto` and the passes of a step are planned for, weights included; on `cuda` all that the process
   * uses on the card, as nvidia-smi shows it. Default: the limit of the engine, which an own `memoryBudget` may set.
   */
  memoryBudget: number().positive().optional(),
  /**
   * Where a micro-batch does not fit into the memory, halve it until it does and run as many more: a warning says so,
   * effective batch and result stay the same. false: that is an error before the step. Default: false.
   */
  autoMicroBatch: boolean().default(false)
});
var ALIASES = {
  bf16: "precision",
  fp16: "precision",
  fp8: "precision",
  mixedprecision: "precision"
};
var RESUME_MAY_CHANGE = /* @__PURE__ */ new Set([
  ...["outputDir", "perDeviceEvalBatchSize", "dataloaderPrefetch", "loggingSteps", "loggingFirstStep"],
  ...["progress", "evalStrategy", "evalSteps", "evalDelay", "evalOnStart", "saveStrategy", "saveSteps"],
  ...["saveTotalLimit", "loadBestModelAtEnd", "metricForBestModel", "greaterIsBetter"],
  ...["earlyStoppingPatience", "earlyStoppingThreshold", "onNonFiniteLoss", "maxSkippedSteps"],
  ...["gradientCheckpointing", "memoryBudget", "autoMicroBatch"]
]);
function parseSftConfig(input = {}) {
  const schema = sftConfigSchema.superRefine((config, context) => {
    const fault = (name, message) => {
      context.addIssue({ code: "custom", path: [name], message });
    };
    if (config.warmupSteps !== 0 && config.warmupRatio !== 0) {
      fault("warmupRatio", "given beside `warmupSteps`; one of the two says how long the warm-up is");
    }
    for (const { path, message } of scheduleFaults(config))
      context.addIssue({ code: "custom", path: [...path], message });
    if (config.evalStrategy === "no") {
      const needs = 'needs evaluations: set `evalStrategy` to "steps" or "epoch"';
      if (config.loadBestModelAtEnd) fault("loadBestModelAtEnd", needs);
      if (config.saveStrategy === "best") fault("saveStrategy", `"best" ${needs}`);
      if (config.earlyStoppingPatience !== void 0) fault("earlyStoppingPatience", needs);
      if (config.evalDelay > 0) fault("evalDelay", needs);
    }
    if (config.loadBestModelAtEnd && config.saveStrategy === "no") {
      fault("loadBestModelAtEnd", 'needs checkpoints: set `saveStrategy`, for instance to "best"');
    }
    if (config.earlyStoppingThreshold > 0 && config.earlyStoppingPatience === void 0) {
      fault("earlyStoppingThreshold", "has no effect without `earlyStoppingPatience`");
    }
  });
  return parseOptions(schema, input, "SftConfig", ALIASES);
}
function resolveSteps(value, totalSteps) {
  return value < 1 ? Math.ceil(totalSteps * value) : value;
}
function scheduleRun({ warmupSteps, warmupRatio, learningRate }, totalSteps) {
  return { warmupSteps: resolveSteps(warmupRatio || warmupSteps, totalSteps), totalSteps, learningRate };
}
function optimizerKind(config) {
  return ENGINE_KINDS[config.optim];
}

export {
  learningRateFactor,
  scheduleWarnings,
  scheduleOf,
  sftConfigSchema,
  RESUME_MAY_CHANGE,
  parseSftConfig,
  resolveSteps,
  scheduleRun,
  optimizerKind
};
