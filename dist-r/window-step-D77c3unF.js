import { d as TrainingError, l as OutOfMemoryError, n as ConfigError, r as DataError } from "./errors-D4G-NQir.js";
import { c as requireBoolean, m as requireSignal, n as checkNames } from "./config-BAD1VLMT.js";
import { r as counterHash } from "./random-BGUvVUOv.js";
import { n as shortList } from "./short-list-DyTENnB8.js";
import { n as orAborted, t as afterAbort } from "./or-aborted-C0Ixy3mg.js";
import { _ as sharePrefixes, d as exclusively, f as infer, g as PackedWindow, i as withLessMemory, p as runPass, r as PassPlanner, t as preparePrecision } from "./precision-D37VSOAP.js";
import { a as isTurnDue, n as eventLoopTurn } from "./event-loop-Cd695Vob.js";
import { h as changesOf, y as requireOwnCall } from "./reserve-D5uVrLtm.js";
import { n as optimizerKind } from "./sft-config-CSEWV3ou.js";
// src/train/evaluate-loss.ts
async function evaluateLoss(model, batch, options = {}) {
	checkNames(options, {
		labelSmoothing: false,
		sharePrefix: false,
		signal: false
	}, "evaluateLoss");
	const { labelSmoothing, sharePrefix = true, signal } = options;
	requireSignal(signal, "evaluateLoss");
	requireBoolean(sharePrefix, "evaluateLoss: `sharePrefix`");
	const whole = model.pack(batch);
	const labelCount = whole.labelRows.length;
	if (labelCount === 0) return {
		lossSum: 0,
		labelCount
	};
	const packed = sharePrefix && model.sharesPrefixes ? sharePrefixes(whole) : whole;
	const adapter = model.adapterView?.();
	const requireParts = () => adapter && model.requireParts?.(adapter);
	return {
		lossSum: (await infer(model.engine, {
			signal,
			requireParts
		}, (tape) => {
			return model.lossSteps(tape, packed, 1, {
				labelSmoothing,
				adapter
			});
		}))[0],
		labelCount
	};
}
async function evaluateDataset(model, parts) {
	const { loader, length, batchSize, labelSmoothing, sharePrefix, signal, onSkipped, onBatch, onProgress } = parts;
	const start = performance.now();
	let lossSum = 0;
	let labelCount = 0;
	let skipped = 0;
	let done = 0;
	onProgress?.(0, length);
	for await (const batch of loader.batches(consecutive(length, batchSize), signal && { signal })) {
		if (batch.skipped?.length) onSkipped?.(batch.skipped);
		skipped += batch.skipped?.length ?? 0;
		done = Math.min(length, done + batchSize);
		if (batch.inputIds.shape[0] === 0) continue;
		onBatch?.();
		const loss = evaluateLoss(model, batch, {
			labelSmoothing,
			sharePrefix,
			signal
		}).catch((error) => {
			throw withLessMemory(error, "evaluation");
		});
		const result = await orAborted(loss, signal);
		if (isTurnDue()) await eventLoopTurn();
		lossSum += result.lossSum;
		labelCount += result.labelCount;
		onProgress?.(done, length);
	}
	if (labelCount === 0) {
		const unread = skipped > 0 ? `; ${skipped} of them cannot be read` : "";
		throw new DataError(`no token of the ${length} evaluation samples carries a label${unread}`, {
			hint: skipped > 0 ? "Is the folder of the images still there?" : "Each sample needs an assistant message; an over-long prompt may have pushed the answer out.",
			details: {
				samples: length,
				skipped
			}
		});
	}
	const evalRuntime = (performance.now() - start) / 1e3;
	return {
		evalLoss: lossSum / labelCount,
		evalRuntime,
		evalSamplesPerSecond: (length - skipped) / Math.max(evalRuntime, 1e-9)
	};
}
function consecutive(length, batchSize) {
	return Array.from({ length: Math.ceil(length / batchSize) }, (_, b) => Array.from({ length: Math.min(batchSize, length - b * batchSize) }, (_, i) => b * batchSize + i));
}
// src/train/gradient-coverage.ts
const LISTED = 5;
var GradientCoverage = class {
	#phase = "first";
	#silent = [];
	#awaited = [];
	async check(engine, set, step, learningRate) {
		let warning;
		if (this.#phase === "first") {
			const hasNone = await areZero(engine, set, "gradients");
			this.#silent = set.parameters.filter((_, i) => hasNone[i]);
			if (this.#silent.length === set.parameters.length) throw new TrainingError(`step ${step}: none of ${set.parameters.length} trainable tensors got a gradient`, {
				hint: "The adapter is not connected to the loss: check that the targeted modules are used by the model.",
				details: { step }
			});
			if (this.#silent.length > 0) {
				const isZero = await areZero(engine, set, "values");
				const dead = set.parameters.filter((_, i) => hasNone[i] && isZero[i]);
				this.#silent = set.parameters.filter((_, i) => hasNone[i] && !isZero[i]);
				this.#awaited = set.parameters.filter((_, i) => !hasNone[i] && isZero[i]);
				warning = describe(dead, set);
			}
			this.#phase = this.#silent.length > 0 ? "wait" : "done";
		} else if (this.#phase === "second") {
			const isZero = new Map((await areZero(engine, set, "values")).map((zero, i) => [set.parameters[i], zero]));
			if (!(this.#awaited.length === 0 || this.#awaited.some((parameter) => !isZero.get(parameter)))) return void 0;
			const hasNone = await areZero(engine, set, "gradients");
			const silent = new Set(this.#silent);
			warning = describe(set.parameters.filter((parameter, i) => silent.has(parameter) && hasNone[i]), set);
			this.#phase = "done";
		}
		if (this.#phase === "wait" && learningRate > 0) this.#phase = "second";
		return warning;
	}
};
async function areZero(engine, set, of) {
	if (engine.areZero) return engine.areZero(set, of);
	const flat = await (of === "values" ? engine.readParameters(set) : engine.readGradients(set));
	return set.parameters.map(({ offset, size }) => flat.subarray(offset, offset + size).every((value) => value === 0));
}
function describe(dead, set) {
	if (dead.length === 0) return void 0;
	return `${dead.length} of ${set.parameters.length} trainable tensors got no gradient and learn nothing (${shortList(dead, LISTED, ({ name }) => name)}); expected only if the step's samples do not use them, such as a vision tower without images`;
}
// src/train/window-step.ts
const MODEL_GRACE = 1e3;
const planners = new WeakMap();
async function accumulateGradients(model, microBatches, options) {
	requireOwnCall(model.trainable, options, "accumulateGradients");
	return forwardBackward(model, packWindow(model, microBatches, options), options);
}
function packWindow(model, microBatches, { dropoutSeeds: seeds, sharePrefix = true, neftuneNoiseAlpha = 0 }) {
	if (seeds.length !== microBatches.length) throw new TrainingError(`${seeds.length} dropoutSeeds for ${microBatches.length} micro-batches, expected one each`);
	const packed = microBatches.map((batch, i) => model.pack(batch, { seed: seeds[i] }));
	return new PackedWindow(packed, { sharePrefix: sharePrefix && neftuneNoiseAlpha === 0 && model.sharesPrefixes === true });
}
function forwardBackward(model, window, options) {
	const { engine, trainable } = model;
	const { signal, labelCount, labelSmoothing, neftuneNoiseAlpha, precision = "bf16" } = options;
	const adapter = model.adapterView?.();
	const requireParts = () => adapter && model.requireParts?.(adapter);
	const planner = planners.get(model) ?? new PassPlanner(engine);
	planners.set(model, planner);
	return exclusively(engine, signal, async () => {
		preparePrecision(model, precision);
		const costs = model.passCosts(precision);
		const planned = {
			...options,
			sizeOf: (samples) => window.sizeOf(samples)
		};
		let plan = planner.plan(window.samples, costs, planned);
		for (;;) {
			const current = plan;
			const describe = () => planner.describe(current, window.samples, costs, planned);
			options.onPlan?.(plan.passes.map(summaryOf), describe);
			const mark = engine.mark();
			const losses = [];
			try {
				for (const { samples, recompute } of plan.passes) await runPass(engine, {
					signal,
					requireParts,
					record: true
				}, async (pass) => {
					const settings = {
						recompute,
						labelSmoothing,
						neftuneNoiseAlpha,
						precision,
						adapter
					};
					const loss = await pass.run(model.lossSteps(pass.tape, window.join(samples), 1 / labelCount, settings));
					if (!loss) return;
					engine.retain(loss);
					losses.push(loss);
					await pass.pause();
					await pass.backward(loss);
					await pass.pause();
				});
				return lateSum(engine, losses);
			} catch (error) {
				engine.releaseSince(mark);
				if (!(error instanceof OutOfMemoryError)) throw error;
				engine.zeroGradients(trainable);
				plan = planner.planSmaller(plan, error, window.samples, costs, planned);
			}
		}
	});
}
function lateSum(engine, losses) {
	const sum = async () => {
		let total = 0;
		for (const loss of losses.splice(0)) {
			total += (await engine.read(loss))[0];
			engine.release(loss);
		}
		return total;
	};
	unread.register(sum, {
		engine,
		losses
	});
	return sum;
}
const unread = new FinalizationRegistry(({ engine, losses }) => {
	for (const loss of losses.splice(0)) try {
		engine.release(loss);
	} catch {}
});
function summaryOf({ samples, size, recompute, bytes }) {
	const tokens = samples.reduce((sum, sample) => sum + sample.size.tokens, 0);
	const sharedTokens = tokens - size.tokens;
	const { patches } = size;
	return {
		samples: samples.length,
		tokens,
		sharedTokens,
		patches,
		recomputedLayers: recompute,
		bytes
	};
}
const LORA_B = /(^|\.)lora_B(\.|$)/;
function learningRateFactors(set, ratio) {
	if (ratio === 1) return void 0;
	const isB = set.parameters.map(({ name }) => LORA_B.test(name));
	if (isB.includes(true)) return isB.map((b) => b ? ratio : 1);
	throw new ConfigError(`\`loraplusLrRatio\` is ${ratio}, but no trainable parameter is a lora_B`, { details: {
		ratio,
		first: set.parameters.slice(0, 3).map(({ name }) => name)
	} });
}
var WindowStep = class {
	#parts;
	#coverage = new GradientCoverage();
	#factors;
	#hasPlan = false;
	unanswered;
	constructor(parts) {
		this.#parts = parts;
		this.#factors = learningRateFactors(parts.trainable, parts.config.loraplusLrRatio);
	}
	prepare() {
		const { model, trainable, config, signal } = this.#parts;
		const { engine } = model;
		if (!engine.prepareTraining) return;
		const work = exclusively(engine, signal, async () => {
			preparePrecision(model, config.precision);
			for (const _ of engine.prepareTraining(trainable)) {
				await eventLoopTurn();
				signal.throwIfAborted();
			}
		});
		this.#leave(work);
	}
	#leave(work) {
		const answered = () => {
			if (this.unanswered === left) this.unanswered = void 0;
		};
		const left = work.then(answered, answered);
		this.unanswered = left;
	}
	async take(step, window, learningRate, meanwhile, onWarning) {
		const { model, trainable, optimizer, config, lease, answer } = this.#parts;
		const { engine } = model;
		const { loss: late, flops, sharedTokens, plan } = await this.#gradients(step, window, meanwhile, onWarning);
		const value = config.onNonFiniteLoss === "skip" ? await answer(late()) : void 0;
		const loss = value === void 0 ? late : async () => value;
		let gradNorm = async () => NaN;
		if (value === void 0 || Number.isFinite(value)) {
			const warning = await answer(this.#coverage.check(engine, trainable, step, learningRate));
			if (warning) onWarning(warning);
			const update = {
				kind: optimizerKind(config),
				learningRate,
				beta1: config.adamBeta1,
				beta2: config.adamBeta2,
				eps: config.adamEpsilon,
				weightDecay: config.weightDecay,
				maxGradNorm: config.maxGradNorm,
				learningRateFactors: this.#factors
			};
			gradNorm = await exclusively(engine, void 0, () => engine.optimizerStep(trainable, optimizer, lease.own(update)));
		}
		engine.zeroGradients(trainable);
		return {
			loss,
			gradNorm,
			flops,
			sharedTokens,
			...plan === void 0 ? {} : { plan }
		};
	}
	async #gradients(step, { batches, labelCount, dropoutSlots }, meanwhile, onWarning) {
		const { model, trainable, config, signal } = this.#parts;
		const { labelSmoothingFactor: labelSmoothing, neftuneNoiseAlpha, sharePrefix, precision } = config;
		const { gradientCheckpointing, memoryBudget, autoMicroBatch } = config;
		const dropoutSeeds = dropoutSlots.map((slot) => counterHash(config.seed, slot));
		const memory = {
			gradientCheckpointing,
			memoryBudget,
			autoMicroBatch
		};
		let plan;
		for (;;) {
			this.requireSameParameters(step);
			let sharedTokens = 0;
			const onPlan = (passes, describe) => {
				sharedTokens = passes.reduce((sum, pass) => sum + pass.sharedTokens, 0);
				if (!this.#hasPlan) plan = describe();
			};
			const options = {
				labelCount,
				dropoutSeeds,
				labelSmoothing,
				neftuneNoiseAlpha,
				sharePrefix,
				precision,
				...memory,
				signal,
				onWarning,
				onPlan
			};
			const packed = packWindow(model, batches, options);
			const work = forwardBackward(model, packed, options);
			this.#leave(work);
			const loss = await afterAbort(work, signal, MODEL_GRACE);
			const changes = changesOf(trainable);
			try {
				await meanwhile();
				signal.throwIfAborted();
				this.requireSameParameters(step);
				if (changesOf(trainable) === changes) {
					this.#hasPlan = true;
					const described = plan === void 0 ? {} : { plan };
					return {
						loss,
						flops: model.trainingFlops?.(packed.size),
						sharedTokens,
						...described
					};
				}
			} catch (error) {
				discard(loss);
				throw error;
			}
			discard(loss);
			model.engine.zeroGradients(trainable);
		}
	}
	requireSameParameters(step) {
		if (this.#parts.model.trainable === this.#parts.trainable) return;
		throw new TrainingError(`step ${step}: another adapter became active while this run was training`, {
			hint: "Call setAdapter after the run. To compute without the adapter meanwhile, use withDisabled between two steps.",
			details: { step }
		});
	}
};
function discard(loss) {
	loss().catch(() => {});
}
export { evaluateDataset as a, learningRateFactors as i, WindowStep as n, evaluateLoss as o, accumulateGradients as r, MODEL_GRACE as t };
