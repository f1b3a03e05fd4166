import { f as record, g as unknown, h as union, i as boolean, l as number$1, m as string, o as int, p as strictObject, s as literal, t as _enum } from "./zod-CVDjCv3S.js";
import { a as parseOptions, b as showValue, i as nearestName } from "./config-BAD1VLMT.js";
// src/train/schedule.ts
const LR_SCHEDULER_TYPES = [...[
	"linear",
	"cosine",
	"cosine_with_restarts",
	"polynomial",
	"constant",
	"constant_with_warmup"
], ...[
	"inverse_sqrt",
	"cosine_with_min_lr",
	"cosine_warmup_with_min_lr",
	"warmup_stable_decay"
]];
function learningRateFactor(schedule, step, run) {
	const { warmupSteps, totalSteps, learningRate } = run;
	const rise = step / Math.max(1, warmupSteps);
	const isWarmup = step < warmupSteps;
	const length = Math.max(1, totalSteps - warmupSteps);
	const progress = (step - warmupSteps) / length;
	switch (schedule.lrSchedulerType) {
		case "constant": return 1;
		case "constant_with_warmup": return isWarmup ? rise : 1;
		case "linear": return isWarmup ? rise : Math.max(0, (totalSteps - step) / length);
		case "cosine": return isWarmup ? rise : Math.max(0, wave(progress, schedule.lrSchedulerKwargs?.numCycles));
		case "cosine_with_restarts": {
			if (isWarmup) return rise;
			const cycles = schedule.lrSchedulerKwargs?.numCycles ?? 1;
			return progress >= 1 ? 0 : Math.max(0, wave(cycles * progress % 1));
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
		case "warmup_stable_decay": return warmupStableDecay(schedule.lrSchedulerKwargs, step, run);
	}
}
function warmupStableDecay(kwargs, step, run) {
	const { numDecaySteps, minLrRatio = 0, warmupType = "linear", decayType = "cosine", numCycles } = kwargs;
	const { warmupSteps } = run;
	if (step < warmupSteps) {
		const progress = step / warmupSteps;
		return Math.max(0, above(minLrRatio, {
			linear: () => progress,
			cosine: () => .5 * (1 - Math.cos(Math.PI * progress)),
			"1-sqrt": () => 1 - Math.sqrt(1 - progress)
		}[warmupType]()));
	}
	const firstOfDecay = warmupSteps + stableSteps(kwargs, run);
	if (step < firstOfDecay) return 1;
	if (step >= firstOfDecay + numDecaySteps) return minLrRatio;
	const progress = (step - firstOfDecay) / numDecaySteps;
	return Math.max(0, above(minLrRatio, {
		linear: () => 1 - progress,
		cosine: () => wave(progress, numCycles),
		"1-sqrt": () => 1 - Math.sqrt(progress)
	}[decayType]()));
}
function stableSteps({ numStableSteps, numDecaySteps }, run) {
	return numStableSteps ?? run.totalSteps - run.warmupSteps - numDecaySteps;
}
function wave(progress, cycles = .5) {
	return .5 * (1 + Math.cos(Math.PI * cycles * 2 * progress));
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
	if (warmupSteps >= totalSteps && warmupSteps > 0) return [`${`the run has ${steps$1(totalSteps)} and the warm-up ${warmupSteps}`}: the learning rate never reaches its peak of ${run.learningRate}`];
	if (schedule.lrSchedulerType !== "warmup_stable_decay") return [];
	const { numDecaySteps, minLrRatio = 0 } = schedule.lrSchedulerKwargs;
	const stable = stableSteps(schedule.lrSchedulerKwargs, run);
	const planned = warmupSteps + Math.max(0, stable) + numDecaySteps;
	const parts = `"warmup_stable_decay": the run has ${steps$1(totalSteps)}, warm-up, peak and decay together ${planned}`;
	if (stable < 0) return [`${parts}: the first ${steps$1(-stable)} of the decay are left out`];
	if (planned < totalSteps) return [`${parts}: the last ${steps$1(totalSteps - planned)} run at ${minLrRatio} of the learning rate`];
	return planned > totalSteps ? [`${parts}: the last ${steps$1(planned - totalSteps)} of the decay never come`] : [];
}
function steps$1(count) {
	return `${count} step${count === 1 ? "" : "s"}`;
}
// src/train/schedule-config.ts
const number = number$1("a number");
const share = number.min(0, "a share of `learningRate`, 0 to 1").max(1, "a share of `learningRate`, 0 to 1");
const steps = int("a whole number of steps");
const cycles = number.positive("above 0");
const ramp = _enum([
	"linear",
	"cosine",
	"1-sqrt"
], "one of \"linear\", \"cosine\", \"1-sqrt\"");
const minLr = {
	numCycles: cycles.optional(),
	minLr: number.nonnegative("a learning rate, not below 0").optional(),
	minLrRate: share.optional()
};
const SCHEMAS = {
	linear: strictObject({}),
	cosine: strictObject({ numCycles: cycles.optional() }),
	cosine_with_restarts: strictObject({ numCycles: int("a whole number of cycles").positive("a whole number of cycles, at least 1").optional() }),
	polynomial: strictObject({
		lrEnd: number.nonnegative("a learning rate, not below 0").optional(),
		power: number.positive("above 0").optional()
	}),
	constant: strictObject({}),
	constant_with_warmup: strictObject({}),
	inverse_sqrt: strictObject({ timescale: number.positive("a number of steps, above 0").optional() }),
	cosine_with_min_lr: strictObject(minLr),
	cosine_warmup_with_min_lr: strictObject({
		...minLr,
		warmupLrRate: share.optional()
	}),
	warmup_stable_decay: strictObject({
		numDecaySteps: steps.positive("a whole number of steps, at least 1"),
		numStableSteps: steps.nonnegative("a whole number of steps").optional(),
		minLrRatio: share.optional(),
		warmupType: ramp.optional(),
		decayType: ramp.optional(),
		numCycles: cycles.optional()
	})
};
function scheduleNameFault(name) {
	if (typeof name !== "string") return void 0;
	if (name === "reduce_lr_on_plateau" || name === "greedy") return `"${name}", which steers by results, is not offered; known: ${LR_SCHEDULER_TYPES.join(", ")}`;
	const near = name === "wsd" ? "warmup_stable_decay" : nearestName(name, LR_SCHEDULER_TYPES);
	const known = near ? `did you mean "${near}"?` : `known: ${LR_SCHEDULER_TYPES.join(", ")}`;
	return `there is no schedule ${showValue(name)}; ${known}`;
}
function scheduleFaults({ lrSchedulerType, lrSchedulerKwargs, learningRate }) {
	const given = { ...lrSchedulerKwargs };
	const known = Object.keys(SCHEMAS[lrSchedulerType].shape);
	const at = (name, message) => ({
		path: ["lrSchedulerKwargs", name],
		message
	});
	const faults = Object.keys(given).filter((name) => !known.includes(name)).map((name) => at(name, unknownSetting(name, lrSchedulerType, known)));
	const own = Object.fromEntries(Object.entries(given).filter(([name]) => known.includes(name)));
	const { error } = SCHEMAS[lrSchedulerType].safeParse(own);
	for (const issue of error?.issues ?? []) {
		const name = String(issue.path[0]);
		const came = own[name];
		if (came !== void 0) faults.push(at(name, `${issue.message}, got ${showValue(came)}`));
		else faults.push(missing(`"${lrSchedulerType}" needs \`${name}\`: ${issue.message}`));
	}
	if (faults.length > 0) return faults;
	const { minLr, minLrRate, lrEnd = 1e-7 } = own;
	if (known.includes("minLr")) {
		const both = "one of `minLr` (a learning rate) and `minLrRate` (a share of `learningRate`)";
		if (minLr === void 0 && minLrRate === void 0) faults.push(missing(`"${lrSchedulerType}" needs ${both}`));
		if (minLr !== void 0 && minLrRate !== void 0) faults.push(at("minLrRate", `given beside \`minLr\`: ${both}`));
		if (minLr !== void 0 && learningRate === 0) faults.push(at("minLr", "has no meaning with a `learningRate` of 0; write `minLrRate`"));
		else if (minLr !== void 0 && minLr > learningRate) faults.push(at("minLr", `${minLr} is above \`learningRate\`, which is ${learningRate}`));
	}
	if (lrSchedulerType === "polynomial" && !(lrEnd < learningRate)) {
		const from = own.lrEnd === void 0 ? ", its default," : "";
		faults.push(at("lrEnd", `${lrEnd}${from} must be below \`learningRate\`, which is ${learningRate}`));
	}
	return faults;
}
function missing(message) {
	return {
		path: ["lrSchedulerKwargs"],
		message
	};
}
function unknownSetting(name, type, known) {
	const near = nearestName(name, known);
	if (near) return `unknown setting of "${type}"; did you mean \`${near}\`?`;
	const camel = name.replace(/_+(\w)/g, (_, letter) => letter.toUpperCase());
	const others = LR_SCHEDULER_TYPES.filter((other) => camel in SCHEMAS[other].shape);
	return `unknown setting of "${type}", ${known.length === 0 ? "which has no settings" : `which has ${known.join(", ")}`}${others.length > 0 ? `; it is one of ${others.map((other) => `"${other}"`).join(", ")}` : ""}`;
}
function scheduleOf({ lrSchedulerType, lrSchedulerKwargs }) {
	return {
		lrSchedulerType,
		lrSchedulerKwargs
	};
}
// src/train/sft-config.ts
const count = (what) => number$1().int(`${what} is a whole number`).positive(`${what} is at least 1`);
const stepsOrRatio = number$1().positive("a number of steps (1, 2, ...) or a share of all steps (above 0, below 1)").refine((value) => value < 1 || Number.isInteger(value), "from 1 on this is a whole number of steps");
const OPTIMIZERS = {
	adamw: "adamw",
	adamw_torch: "adamw",
	adamw_torch_fused: "adamw",
	adamw_8bit: "adamw_8bit",
	adamw_bnb_8bit: "adamw_8bit",
	paged_adamw_8bit: "adamw_8bit"
};
const ENGINE_KINDS = {
	adamw: "adamw",
	adamw_8bit: "adamw8bit"
};
function optimizerFault(name) {
	if (name !== "adam" && name !== "adam_8bit") return void 0;
	return `there is no "${name}"; "${name === "adam" ? "adamw" : "adamw_8bit"}" with \`weightDecay: 0\` is the same`;
}
function normalSettings(given) {
	const entries = Object.entries(given ?? {}).filter(([, value]) => value !== void 0);
	if (entries.length === 0) return void 0;
	return Object.fromEntries(entries.sort(([a], [b]) => a < b ? -1 : 1));
}
const sftConfigSchema = strictObject({
	outputDir: string().min(1).default("outputs"),
	numTrainEpochs: number$1().positive().default(3),
	maxSteps: number$1().int().refine((value) => value === -1 || value > 0, "a positive number of optimizer steps, or -1 for none").default(-1),
	perDeviceTrainBatchSize: count("a batch size").default(8),
	perDeviceEvalBatchSize: count("a batch size").default(8),
	gradientAccumulationSteps: count("a number of micro-batches").default(1),
	dataloaderDropLast: boolean().default(false),
	dataloaderPrefetch: number$1().int().nonnegative().optional(),
	optim: _enum(Object.keys(OPTIMIZERS), { error: ({ input }) => optimizerFault(input) }).default("adamw").transform((name) => OPTIMIZERS[name]),
	learningRate: number$1().nonnegative().default(2e-5),
	loraplusLrRatio: number$1().positive("a ratio above 0").default(1),
	weightDecay: number$1().nonnegative().default(0),
	adamBeta1: number$1().min(0).lt(1).default(.9),
	adamBeta2: number$1().min(0).lt(1).default(.999),
	adamEpsilon: number$1().positive().default(1e-8),
	maxGradNorm: number$1().nonnegative().default(1),
	lrSchedulerType: _enum(LR_SCHEDULER_TYPES, { error: ({ input }) => scheduleNameFault(input) }).default("linear"),
	lrSchedulerKwargs: record(string(), unknown(), "an object of settings, such as { numCycles: 1 }").optional().transform(normalSettings),
	warmupSteps: number$1().nonnegative().refine((value) => value < 1 || Number.isInteger(value), "from 1 on this is a whole number of steps").default(0),
	warmupRatio: number$1().min(0).lt(1).default(0),
	loggingSteps: stepsOrRatio.default(10),
	loggingFirstStep: boolean().default(false),
	progress: _enum([
		"auto",
		"bar",
		"lines",
		"none"
	]).default("auto"),
	labelSmoothingFactor: number$1().min(0).lt(1, "a share from 0 to below 1").default(0),
	neftuneNoiseAlpha: number$1().nonnegative().default(0),
	sharePrefix: boolean().default(true),
	precision: _enum([
		"bf16",
		"fp8-backward",
		"fp8"
	]).default("bf16"),
	evalStrategy: _enum([
		"no",
		"steps",
		"epoch"
	]).default("no"),
	evalSteps: stepsOrRatio.optional(),
	evalDelay: number$1().nonnegative().default(0),
	evalOnStart: boolean().default(false),
	saveStrategy: _enum([
		"no",
		"steps",
		"epoch",
		"best"
	]).default("steps"),
	saveSteps: stepsOrRatio.default(500),
	saveTotalLimit: count("a number of checkpoints").optional(),
	loadBestModelAtEnd: boolean().default(false),
	metricForBestModel: string().min(1, "the name of a metric").optional(),
	greaterIsBetter: boolean().optional(),
	earlyStoppingPatience: count("a number of evaluations").optional(),
	earlyStoppingThreshold: number$1().nonnegative().default(0),
	onNonFiniteLoss: _enum(["stop", "skip"]).default("stop"),
	maxSkippedSteps: count("a number of steps").default(10),
	seed: number$1().int().min(0).max(4294967295).default(42),
	dataSeed: number$1().int().min(0).max(4294967295).optional(),
	gradientCheckpointing: union([boolean(), literal("auto")]).default("auto"),
	memoryBudget: number$1().positive().optional(),
	autoMicroBatch: boolean().default(false)
});
const ALIASES = {
	bf16: "precision",
	fp16: "precision",
	fp8: "precision",
	mixedprecision: "precision"
};
const RESUME_MAY_CHANGE = new Set([
	...[
		"outputDir",
		"perDeviceEvalBatchSize",
		"dataloaderPrefetch",
		"loggingSteps",
		"loggingFirstStep"
	],
	...[
		"progress",
		"evalStrategy",
		"evalSteps",
		"evalDelay",
		"evalOnStart",
		"saveStrategy",
		"saveSteps"
	],
	...[
		"saveTotalLimit",
		"loadBestModelAtEnd",
		"metricForBestModel",
		"greaterIsBetter"
	],
	...[
		"earlyStoppingPatience",
		"earlyStoppingThreshold",
		"onNonFiniteLoss",
		"maxSkippedSteps"
	],
	...[
		"gradientCheckpointing",
		"memoryBudget",
		"autoMicroBatch"
	]
]);
function parseSftConfig(input = {}) {
	const schema = sftConfigSchema.superRefine((config, context) => {
		const fault = (name, message) => {
			context.addIssue({
				code: "custom",
				path: [name],
				message
			});
		};
		if (config.warmupSteps !== 0 && config.warmupRatio !== 0) fault("warmupRatio", "given beside `warmupSteps`; one of the two says how long the warm-up is");
		for (const { path, message } of scheduleFaults(config)) context.addIssue({
			code: "custom",
			path: [...path],
			message
		});
		if (config.evalStrategy === "no") {
			const needs = "needs evaluations: set `evalStrategy` to \"steps\" or \"epoch\"";
			if (config.loadBestModelAtEnd) fault("loadBestModelAtEnd", needs);
			if (config.saveStrategy === "best") fault("saveStrategy", `"best" ${needs}`);
			if (config.earlyStoppingPatience !== void 0) fault("earlyStoppingPatience", needs);
			if (config.evalDelay > 0) fault("evalDelay", needs);
		}
		if (config.loadBestModelAtEnd && config.saveStrategy === "no") fault("loadBestModelAtEnd", "needs checkpoints: set `saveStrategy`, for instance to \"best\"");
		if (config.earlyStoppingThreshold > 0 && config.earlyStoppingPatience === void 0) fault("earlyStoppingThreshold", "has no effect without `earlyStoppingPatience`");
	});
	return parseOptions(schema, input, "SftConfig", ALIASES);
}
function resolveSteps(value, totalSteps) {
	return value < 1 ? Math.ceil(totalSteps * value) : value;
}
function scheduleRun({ warmupSteps, warmupRatio, learningRate }, totalSteps) {
	return {
		warmupSteps: resolveSteps(warmupRatio || warmupSteps, totalSteps),
		totalSteps,
		learningRate
	};
}
function optimizerKind(config) {
	return ENGINE_KINDS[config.optim];
}
export { scheduleRun as a, learningRateFactor as c, resolveSteps as i, scheduleWarnings as l, optimizerKind as n, sftConfigSchema as o, parseSftConfig as r, scheduleOf as s, RESUME_MAY_CHANGE as t };
