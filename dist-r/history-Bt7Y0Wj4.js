import { c as looseObject, f as record, g as unknown, i as boolean, l as number, m as string, o as int, r as array, s as literal, u as object } from "./zod-CVDjCv3S.js";
import { S as printable, d as TrainingError, m as reasonOf, n as ConfigError, p as TuneError, t as CheckpointError } from "./errors-D4G-NQir.js";
import { b as showValue, o as requirePath } from "./config-BAD1VLMT.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
import { i as readJson } from "./read-json-BUQErRHs.js";
import { t as firstLines } from "./short-list-DyTENnB8.js";
import { a as makeFolder, c as sweepTemporaries, d as writeFileAtomically, n as flushFolder, r as flushTree, t as flushFile } from "./atomic-file-D2Hfhe-X.js";
import { i as lockTimes, n as OwnerLock, r as describeOwner, t as HeldError } from "./owner-lock-DpVSmANJ.js";
import { a as findFaults, c as readManifest, i as changedFiles, n as FileDigests, r as MANIFEST_FILE, s as listFiles, t as FAILING_DISK, u as writeManifest } from "./file-digests-DzAwU2JM.js";
import { n as orAborted } from "./or-aborted-C0Ixy3mg.js";
import { i as findNotFinite, n as eventLoopTurn, r as findIndexInTurns } from "./event-loop-Cd695Vob.js";
import { i as SafetensorsFile, l as writeTensorFile } from "./safetensors-Cc_Zl7Xi.js";
import { r as parseSftConfig, t as RESUME_MAY_CHANGE } from "./sft-config-CSEWV3ou.js";
import { i as openToDigest, n as digestFile, r as imageSource, t as ImageDigester } from "./image-digest-B3cEY8GR.js";
import { basename, dirname, join, resolve } from "node:path";
import { appendFile, mkdir, open, readFile, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { createHash, randomBytes } from "node:crypto";
// src/train/best-model.ts
const LESS_IS_BETTER = new Set("loss losses error errors err cost costs risk perplexity ppl nll brier distance mae mse rmse mape wer cer ece mce invalid".split(" "));
function judgeOf(config) {
	const { loadBestModelAtEnd, metricForBestModel, earlyStoppingPatience, saveStrategy, greaterIsBetter } = config;
	if (!(loadBestModelAtEnd || earlyStoppingPatience !== void 0 || saveStrategy === "best") && metricForBestModel === void 0) return void 0;
	const metric = metricForBestModel === void 0 || metricForBestModel === "loss" || metricForBestModel === "eval_loss" ? "evalLoss" : metricForBestModel;
	const isNamedLoss = metric.toLowerCase().endsWith("loss");
	if (greaterIsBetter === void 0 && !isNamedLoss && wordsOf(metric).some((word) => LESS_IS_BETTER.has(word))) throw new ConfigError(`\`metricForBestModel\` is ${showValue(metric)}: expected \`greaterIsBetter\` beside it`, { hint: "Write `greaterIsBetter: false` if less is better, else true. Only names that end in \"loss\" say it themselves." });
	return {
		metric,
		greaterIsBetter: greaterIsBetter ?? !isNamedLoss
	};
}
function wordsOf(name) {
	return name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase().split(/[^a-z]+/);
}
var BestModelTracker = class {
	#judge;
	#patience;
	#threshold;
	#state;
	#before;
	constructor(judge, config, restored) {
		this.#judge = judge;
		this.#patience = config.earlyStoppingPatience ?? Number.POSITIVE_INFINITY;
		this.#threshold = config.earlyStoppingThreshold;
		this.#state = restored ?? {
			...judge,
			withoutGain: 0
		};
		this.#before = this.#state;
	}
	get state() {
		return this.#state;
	}
	get best() {
		const { best } = this.#state;
		return best && {
			metric: this.#judge.metric,
			value: best.value,
			step: best.step,
			checkpoint: best.checkpoint
		};
	}
	get isExhausted() {
		return this.#state.withoutGain >= this.#patience;
	}
	judge(step, checkpoint, result) {
		const value = this.#valueOf(result);
		const { best, saved, bestValue, withoutGain } = this.#state;
		const isNumber = Number.isFinite(value);
		const isFirst = isNumber && bestValue === void 0;
		const isBetter = isFirst || isNumber && bestValue !== void 0 && this.#isBetter(value, bestValue);
		const hasGain = isFirst || isBetter && Math.abs(value - bestValue) > this.#threshold;
		const isBest = isNumber && (best === void 0 || this.#isBetter(value, best.value));
		this.#before = this.#state;
		const lastSaved = isBest && best?.checkpoint !== void 0 ? best : saved;
		this.#state = {
			...this.#judge,
			best: isBest ? {
				step,
				value,
				checkpoint
			} : best,
			...lastSaved && { saved: lastSaved },
			bestValue: isBetter ? value : bestValue,
			withoutGain: hasGain ? 0 : withoutGain + 1
		};
		return isBest;
	}
	unsaved(isKept) {
		if (isKept) this.moved(void 0);
		else this.#set(this.#before);
	}
	moved(checkpoint) {
		const { best, saved } = this.#state;
		if (!best) return;
		const { step, value } = best;
		if (checkpoint === void 0) this.#set({
			best: {
				step,
				value
			},
			saved
		});
		else this.#set({ best: {
			step,
			value,
			checkpoint
		} });
	}
	lost(instead) {
		this.#set({ best: instead });
	}
	#set({ best, saved }) {
		const { best: _best, saved: _saved, ...others } = this.#state;
		this.#state = {
			...others,
			...best && { best },
			...saved && { saved }
		};
	}
	#isBetter(value, than) {
		return this.#judge.greaterIsBetter ? value > than : value < than;
	}
	#valueOf({ evalLoss, metrics }) {
		const { metric } = this.#judge;
		const name = [
			metric,
			metric.replace(/^eval_/, ""),
			`eval_${metric}`
		].find((key) => Object.hasOwn(metrics ?? {}, key));
		const value = metric === "evalLoss" ? evalLoss : metrics?.[name ?? metric];
		if (value !== void 0) return value;
		const known = ["evalLoss", ...Object.keys(metrics ?? {})];
		throw new TrainingError(`\`metricForBestModel\`: the evaluation has no "${metric}"; it has ${known.join(", ")}`, {
			hint: "Other metrics than the loss are what `computeMetrics` returns.",
			details: {
				metric,
				known
			}
		});
	}
};
// src/train/checkpoint-checks.ts
const MAX_LISTED$3 = 20;
const RULES = {
	m: {
		holds: Number.isFinite,
		what: "a finite first moment"
	},
	v: {
		holds: isMagnitude,
		what: "a second moment, which is never negative"
	},
	scalesM: {
		holds: isMagnitude,
		what: "the scale of a block of first moments, which is never negative"
	},
	scalesV: {
		holds: isMagnitude,
		what: "the scale of a block of second moments, which is never negative"
	}
};
function isMagnitude(value) {
	return value >= 0;
}
async function checkOptimizer(path, state, { parameters, optimizer }) {
	const faults = [];
	const { steps, m, v, codesM, codesV } = optimizer;
	const same = (a, b) => {
		const [left, right] = [optimizer[a], optimizer[b]];
		if (!left || !right || left.length === right.length) return;
		faults.push(`${a} has ${left.length} values, ${b} has ${right.length}: expected as many`);
	};
	same("m", "v");
	same("codesM", "codesV");
	same("scalesM", "scalesV");
	const moments = (m?.length ?? 0) + (codesM?.length ?? 0);
	if ((m || v || codesM || codesV) && moments !== parameters.length) faults.push(`there are moments of ${moments} values, expected those of ${parameters.length} parameters`);
	for (const [name, rule] of Object.entries(RULES)) {
		const array = optimizer[name];
		if (!array) continue;
		if (!(array instanceof Float32Array)) {
			faults.push(`${name} holds bytes, expected float32`);
			continue;
		}
		const bad = await findIndexInTurns(array, (value) => !rule.holds(value));
		if (bad >= 0) faults.push(`${name}[${bad}] is ${show(array[bad])}, expected ${rule.what}`);
	}
	for (const [name, array] of Object.entries({
		codesM,
		codesV
	})) if (array && !(array instanceof Uint8Array)) faults.push(`${name} holds float32, expected bytes`);
	if (steps) {
		const most = state.globalStep;
		const bad = steps.findIndex((value) => !(Number.isInteger(value) && value >= 0 && value <= most));
		if (bad >= 0) faults.push(`steps[${bad}] is ${show(steps[bad])}, expected a whole number from 0 to ${most}`);
	}
	refuse(path, "the optimizer's state holds what no run can write", faults);
}
function checkCourse(path, state, run) {
	const { globalStep, totalSteps, epoch, metrics, best, logHistory } = state;
	const faults = [];
	const atMost = (name, value, limit, limitName) => {
		if (value !== void 0 && value > limit) faults.push(`${name} is ${value}, beyond ${limitName}, ${limit}`);
	};
	atMost("metrics.totalSteps + metrics.skippedSteps", metrics.totalSteps + metrics.skippedSteps, globalStep, "globalStep");
	atMost("metrics.stepsSinceLog", metrics.stepsSinceLog, metrics.totalSteps, "metrics.totalSteps");
	atMost("best.withoutGain", best?.withoutGain, globalStep, "globalStep");
	atMost("best.best.step", best?.best?.step, globalStep, "globalStep");
	atMost("best.saved.step", best?.saved?.step, globalStep, "globalStep");
	let before = 0;
	for (const [i, { step, epoch: at }] of logHistory.entries()) {
		atMost(`logHistory[${i}].step`, step, globalStep, "globalStep");
		atMost(`logHistory[${i}].epoch`, at, epoch, "epoch");
		if (step < before) faults.push(`logHistory[${i}].step is ${step}, after one of step ${before}`);
		before = step;
	}
	if (run) {
		if (totalSteps !== run.totalSteps) faults.push(`totalSteps is ${totalSteps}, this run has ${run.totalSteps}`);
		const expected = run.epochAfter(globalStep);
		if (epoch !== expected) faults.push(`epoch is ${epoch}, after step ${globalStep} it is ${expected}`);
	}
	refuse(path, "its state holds what no run can write", faults);
}
function refuse(path, what, faults) {
	if (faults.length === 0) return;
	const listed = firstLines(faults, MAX_LISTED$3);
	throw new CheckpointError(`${path}: ${what}:\n  - ${listed.join("\n  - ")}`, {
		hint: "It was made or changed by something else than a run of this package; resume from another checkpoint.",
		details: {
			path,
			faults: listed
		}
	});
}
function show(value) {
	return Object.is(value, -0) ? "-0" : String(value);
}
// src/train/run-folder.ts
const RUN_LOCK = ".ministral-tune.lock";
const TRACE = /^\.ministral-tune\.lock\.(taken-[\w-]+|[0-9a-f]{8}\.gone)$/;
const TRACE_MS = 6048e5;
const owned = new Map();
var RunFolder = class {
	outputDir;
	#lock;
	#made;
	#lost;
	constructor(outputDir, lock, made) {
		this.outputDir = outputDir;
		this.#lock = lock;
		this.#made = made && resolve(made);
	}
	async require() {
		if (this.#lost) throw this.#lost;
		const reason = await this.#lock.check();
		if (reason === void 0) return;
		const { staleMs } = lockTimes;
		const seconds = Math.round(staleMs / 1e3);
		this.#lost ??= new TrainingError(`${this.outputDir} is no longer this run's: ${reason}. It gave no sign of life for more than ${seconds} s, as when a process is suspended or its file server cannot be reached. The run stops before it writes there again`, {
			hint: "The parameters of the last step are in memory: save them elsewhere with saveAdapter. Resume from an earlier checkpoint with an `outputDir` of its own.",
			details: { path: this.outputDir }
		});
		throw this.#lost;
	}
	async release() {
		const key = keyOf(this.outputDir);
		if (owned.get(key) === this) owned.delete(key);
		await this.#lock.release();
		for (let at = resolve(this.outputDir); this.#made !== void 0; at = dirname(at)) if (!await rmdir(at).then(() => true, () => false) || at === this.#made) return;
	}
};
async function claimRunFolder(outputDir, { signal, onWait } = {}) {
	const path = join(outputDir, RUN_LOCK);
	try {
		const made = await mkdir(outputDir, { recursive: true });
		const seconds = Math.round(lockTimes.staleMs / 1e3);
		const folder = new RunFolder(outputDir, await OwnerLock.take(resolve(path), {
			...RUN,
			signal,
			onWait: (owner) => onWait?.(`${outputDir} was left by ${describeOwner(owner)}; waiting to see whether it still lives, ${seconds} s at most`)
		}), made);
		owned.set(keyOf(outputDir), folder);
		await sweep(outputDir);
		return folder;
	} catch (cause) {
		if (cause instanceof HeldError) throw heldError(outputDir, cause);
		if (cause instanceof TuneError || signal?.aborted) throw cause;
		throw new CheckpointError(`cannot write ${path}: ${cause.message}`, {
			cause,
			hint: "Choose another `outputDir`: a folder that can be written to, on a disk with free space.",
			details: {
				path,
				code: cause.code
			}
		});
	}
}
const RUN = {
	what: "training run",
	whenHeld: "refuse",
	leaveTrace: true
};
function heldError(outputDir, { owner }) {
	return new CheckpointError(`${outputDir} is in use by ${describeOwner(owner)}`, {
		hint: "Give this run an `outputDir` of its own, or start it when the other one has ended. Nothing was changed.",
		details: {
			path: outputDir,
			owner: owner && {
				host: owner.host,
				pid: owner.pid,
				since: owner.since,
				program: owner.program
			}
		}
	});
}
function keyOf(outputDir) {
	return dirname(join(outputDir, RUN_LOCK));
}
async function requireOwned(outputDir) {
	await owned.get(keyOf(outputDir))?.require();
}
async function requireUnused(checkpoint) {
	const owner = await OwnerLock.ownerOf(resolve(checkpoint, RUN_LOCK));
	if (owner) throw heldError(checkpoint, new HeldError(checkpoint, owner));
}
async function underOwnership(outputDir, work) {
	let lock;
	try {
		lock = await OwnerLock.take(resolve(outputDir, RUN_LOCK), RUN);
	} catch {
		return;
	}
	try {
		await work();
	} finally {
		await lock.release();
	}
}
async function explainVanished(path, error) {
	const owner = await OwnerLock.ownerOf(resolve(dirname(path), RUN_LOCK));
	if (!owner) return error;
	return new CheckpointError(`${path} is gone or not whole: its folder is in use by ${describeOwner(owner)}`, {
		hint: "That run removes its oldest checkpoints (`saveTotalLimit`). Choose its newest one, copy it elsewhere first, or wait until the run has ended.",
		details: {
			path,
			owner: {
				host: owner.host,
				pid: owner.pid
			}
		},
		cause: error
	});
}
async function sweep(outputDir) {
	await sweepTemporaries(outputDir);
	for (const name of await readdir(outputDir).catch(() => [])) {
		if (!TRACE.test(name)) continue;
		const path = join(outputDir, name);
		const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
		if (Date.now() - mtimeMs > TRACE_MS) await rm(path, { force: true }).catch(() => void 0);
	}
}
// src/train/checkpoint-folder.ts
const HIDDEN = /^\.(checkpoint-\d+)\.(replaced-|removed-)?(\d+-[0-9a-f]{8})\.tmp$/;
const ownMarks = new Set();
function checkpointName(step) {
	return `checkpoint-${step}`;
}
async function writeCheckpointFolder(outputDir, step, fill) {
	const name = checkpointName(step);
	const target = join(outputDir, name);
	await requireOwned(outputDir);
	return withMark(async (mark) => {
		const temporary = join(outputDir, `.${name}.${mark}.tmp`);
		try {
			await makeFolder(temporary);
			await fill(temporary);
			await flushTree(temporary);
			await requireOwned(outputDir);
			await requireUnused(target);
			await takeName(temporary, target, join(outputDir, `.${name}.replaced-${mark}.tmp`));
		} catch (error) {
			await rm(temporary, {
				recursive: true,
				force: true
			}).catch(() => {});
			await requireOwned(outputDir);
			throw error;
		}
		return target;
	});
}
async function takeName(temporary, target, replaced) {
	const existed = await rename(target, replaced).then(() => true, (error) => {
		if (error.code === "ENOENT") return false;
		throw error;
	});
	try {
		await rename(temporary, target);
	} catch (error) {
		if (existed) await rename(replaced, target);
		throw error;
	}
	await flushFolder(dirname(target));
	if (existed) await rm(replaced, {
		recursive: true,
		force: true
	}).catch(() => {});
}
async function removeCheckpointFolder(path) {
	await requireOwned(dirname(path));
	await requireUnused(path);
	await withMark(async (mark) => {
		const hidden = join(dirname(path), `.${basename(path)}.removed-${mark}.tmp`);
		try {
			await rename(path, hidden);
		} catch (error) {
			if (error.code === "ENOENT") return;
			throw error;
		}
		await rm(hidden, {
			recursive: true,
			force: true
		});
	});
}
async function tidyCheckpointFolders(outputDir, isOwner = false) {
	if (!(await namesIn(outputDir)).some((name) => HIDDEN.test(name))) return;
	if (isOwner) await tidy(outputDir);
	else await underOwnership(outputDir, () => tidy(outputDir));
}
async function tidy(outputDir) {
	const names = await namesIn(outputDir);
	const present = new Set(names);
	const hidden = names.flatMap((name) => {
		const [, target, kind, mark] = HIDDEN.exec(name) ?? [];
		return target ? [{
			name,
			target,
			kind,
			mark
		}] : [];
	});
	for (const { name, target, kind, mark } of hidden) {
		if (kind !== "replaced-" || present.has(target) || ownMarks.has(mark)) continue;
		const successor = `.${target}.${mark}.tmp`;
		const from = present.has(successor) ? successor : name;
		await rename(join(outputDir, from), join(outputDir, target)).catch(() => {});
		present.add(target);
		present.delete(from);
	}
	for (const { name, mark } of hidden) {
		if (!present.has(name) || ownMarks.has(mark)) continue;
		await rm(join(outputDir, name), {
			recursive: true,
			force: true
		}).catch(() => {});
	}
}
function namesIn(folder) {
	return readdir(folder).catch(() => []);
}
async function withMark(work) {
	const mark = `${process.pid}-${randomBytes(4).toString("hex")}`;
	ownMarks.add(mark);
	try {
		return await work(mark);
	} finally {
		ownMarks.delete(mark);
	}
}
// src/train/checkpoint-seal.ts
const NOTES = /\.md$/i;
const ANOTHER = "Resume from another checkpoint: `resumeFromCheckpoint: true` takes the newest that is sound.";
const PIECE = 8388608;
var CheckpointSeal = class {
	#folder;
	#digests = new FileDigests();
	#found = new Map();
	constructor(folder) {
		this.#folder = folder;
	}
	async begin() {
		for (const name of await listFiles(this.#folder)) {
			if (this.#found.has(name)) continue;
			const digest = this.#digests.digest(join(this.#folder, name));
			digest.catch(() => void 0);
			this.#found.set(name, digest);
		}
	}
	async requireTensors(name, arrays) {
		const file = await SafetensorsFile.open(join(this.#folder, name));
		const piece = Buffer.allocUnsafeSlow(PIECE);
		try {
			for (const [key, array] of arrays) {
				const expected = Buffer.from(array.buffer, array.byteOffset, array.byteLength);
				for (let at = 0; at < expected.length; at += PIECE) {
					const found = piece.subarray(0, Math.min(PIECE, expected.length - at));
					await file.readBytes(key, found, at);
					if (!found.equals(expected.subarray(at, at + found.length))) throw unfaithful(file.path, `"${key}"`);
				}
			}
		} finally {
			await file.close();
		}
	}
	async requireText(name, text) {
		const path = join(this.#folder, name);
		if (!(await readFile(path)).equals(Buffer.from(text))) throw unfaithful(path, "it");
	}
	async end() {
		await this.begin();
		const names = [...this.#found.keys()].sort();
		const found = await Promise.all(names.map(async (name) => [name, await this.#found.get(name)]));
		await writeManifest(this.#folder, new Map(found));
	}
	close() {
		return this.#digests.close();
	}
};
function unfaithful(path, what) {
	return new CheckpointError(`${path} was not written faithfully: ${what} holds other bytes than were to be written`, {
		hint: FAILING_DISK,
		details: { path }
	});
}
async function checkSeal(folder, required, use) {
	const manifest = await readManifest(folder);
	if (!manifest) return {
		hasManifest: false,
		warnings: []
	};
	const missing = required.filter((name) => !manifest.has(name));
	if (missing.length > 0) throw new CheckpointError(`${join(folder, MANIFEST_FILE)} is damaged: it does not name ${missing.join(" and ")}`, {
		hint: ANOTHER,
		details: {
			path: folder,
			missing
		}
	});
	const faults = await findFaults(folder, manifest, manifest.keys());
	const isSerious = ({ name }) => use === "everything" ? !NOTES.test(name) : required.includes(name);
	const serious = faults.filter(isSerious);
	if (serious.length > 0) throw changedFiles(folder, serious, ANOTHER, required);
	return {
		hasManifest: true,
		warnings: faults.map(({ text }) => `${folder}: ${text}; nothing is read from it here`)
	};
}
// src/train/checkpoint-state.ts
const fingerprintSchema = looseObject({
	length: int().min(0),
	digests: array(string())
});
const stateSchema = looseObject({
	globalStep: int().min(0),
	totalSteps: int().min(0),
	epoch: number().min(0),
	config: record(string(), unknown()),
	settings: record(string(), unknown()).optional(),
	dataset: fingerprintSchema,
	evalDataset: fingerprintSchema.optional(),
	parameters: array(object({
		name: string(),
		shape: array(int().min(0)).max(8)
	})),
	metrics: looseObject({
		totalLoss: number(),
		totalSteps: int().min(0),
		lossSinceLog: number(),
		stepsSinceLog: int().min(0),
		skippedSteps: int().min(0)
	}),
	best: looseObject({
		metric: string(),
		greaterIsBetter: boolean(),
		withoutGain: int().min(0),
		bestValue: number().optional(),
		best: looseObject({
			step: int().min(0),
			value: number(),
			checkpoint: string().optional()
		}).optional(),
		saved: looseObject({
			step: int().min(0),
			value: number(),
			checkpoint: string()
		}).optional()
	}).optional(),
	evaluationDue: literal(true).optional(),
	logHistory: array(looseObject({
		step: int().min(0),
		epoch: number().min(0)
	}))
}).refine(({ globalStep, totalSteps }) => globalStep <= totalSteps, {
	path: ["globalStep"],
	message: "beyond totalSteps"
});
// src/train/sample-content.ts
function sampleText(index, example) {
	return json([index, ...contentOf(example)]);
}
function sampleExtras(example) {
	const extras = messagesOf(example).flatMap((message, i) => {
		const content = message?.content;
		if (!Array.isArray(content)) return [];
		return content.flatMap((part, j) => {
			const held = Object.entries(part ?? {}).filter(([key, value]) => !USUAL_KEYS.has(key) && isHeld(value));
			return held.length > 0 ? [[
				i,
				j,
				held.sort(byKey)
			]] : [];
		});
	});
	return extras.length > 0 ? json(extras) : "";
}
function sampleOthers(example) {
	try {
		contentOfSample(example);
	} catch {
		return wholeText(example);
	}
	const others = Object.entries(example).filter(([key, value]) => !SAMPLE_KEYS.has(key) && isHeld(value));
	return others.length > 0 ? wholeText(others.sort(byKey)) : "";
}
const SAMPLE_KEYS = new Set([...[
	"messages",
	"images",
	"tools",
	"prompt",
	"completion",
	"text"
], "id"]);
function wholeText(value) {
	try {
		return JSON.stringify(value, function(key, held) {
			const own = this[key];
			if (ArrayBuffer.isView(own)) {
				const bytes = new Uint8Array(own.buffer, own.byteOffset, own.byteLength);
				return [own.constructor.name, createHash("sha256").update(bytes).digest("base64")];
			}
			if (own instanceof Map || own instanceof Set) return [...own];
			return typeof held === "bigint" ? `${held}n` : held;
		}) ?? "";
	} catch {
		return showValue(value);
	}
}
const USUAL_KEYS = new Set([
	"type",
	"text",
	"thinking",
	"closed",
	"image"
]);
function sampleImages(example) {
	const inParts = messagesOf(example).flatMap((message) => {
		const content = message?.content;
		if (!Array.isArray(content)) return [];
		return content.flatMap((part) => {
			return part?.type === "image" && part.image !== void 0 ? [part.image] : [];
		});
	});
	const { images } = example ?? {};
	return Array.isArray(images) ? [...inParts, ...images] : inParts;
}
function messagesOf(example) {
	const { messages, prompt, completion } = example ?? {};
	return [
		messages,
		prompt,
		completion
	].flatMap((list) => Array.isArray(list) ? list : []);
}
function contentOf(example) {
	try {
		return contentOfSample(example);
	} catch {
		return [showValue(example)];
	}
}
function contentOfSample(example) {
	const { messages, images, prompt, completion, text, tools } = example;
	const texts = (messages ?? []).map(contentOfMessage);
	const rest = {
		...tools && { tools },
		...prompt !== void 0 && { prompt: typeof prompt === "string" ? prompt : prompt.map(contentOfMessage) },
		...completion !== void 0 && { completion: typeof completion === "string" ? completion : completion.map(contentOfMessage) },
		...text !== void 0 && { text }
	};
	return [
		texts,
		(images ?? []).map(nameOf),
		...Object.keys(rest).length > 0 ? [rest] : []
	];
}
function contentOfMessage(message) {
	const { role, content, ...others } = message;
	const parts = typeof content === "string" ? content : content.map((part) => {
		if (part.type === "text") return part.text;
		if (part.type === "thinking") return {
			thinking: part.thinking,
			closed: part.closed
		};
		return [part.image === void 0 ? null : nameOf(part.image)];
	});
	const held = Object.entries(others).filter(([, value]) => isHeld(value)).sort(byKey);
	return held.length > 0 ? [
		role,
		parts,
		held
	] : [role, parts];
}
const isHeld = (value) => value !== void 0 && value !== null;
const byKey = ([a], [b]) => a < b ? -1 : 1;
function nameOf(image) {
	if (typeof image === "string") return basename(image);
	return "path" in image ? basename(image.path) : null;
}
function json(value) {
	try {
		return JSON.stringify(value);
	} catch {
		try {
			return JSON.stringify(value, (_, held) => typeof held === "bigint" ? `${held}n` : held);
		} catch {
			return showValue(value);
		}
	}
}
// src/train/image-looker.ts
const FILES_AT_ONCE = 16;
const DECODED = 128;
const DECODED_FILES = 16;
const MADE_TWICE$1 = 8;
var ImageLooker = class {
	#count;
	#signal;
	#digester = new ImageDigester();
	#jobs = [];
	hasFiles = false;
	#hasMade = false;
	#varies = false;
	constructor(count, signal) {
		this.#count = count;
		this.#signal = signal;
	}
	get hasMade() {
		return this.#hasMade && !this.#varies;
	}
	async begin(place, example, again) {
		const digests = {
			files: [],
			made: []
		};
		const sources = sampleImages(example).map(imageSource);
		for (const [at, source] of sources.entries()) {
			digests.files.push(null);
			digests.made.push(inMemory(source, this.#digester));
			if (source.kind === "file" || source.kind === "handle") this.#jobs.push({
				source,
				place,
				digests,
				at
			});
			if (source.kind === "file") this.hasFiles = true;
			else if (source.kind !== "none") this.#hasMade = true;
		}
		if (sources.some(({ kind }) => kind !== "file" && kind !== "none") && !this.#varies && isSpread(place, this.#count, MADE_TWICE$1)) {
			const first = await shown(sources);
			const second = await shown(sampleImages(await again()).map(imageSource));
			this.#varies = JSON.stringify(first) !== JSON.stringify(second);
		}
		return digests;
	}
	async finish() {
		const jobs = this.#jobs;
		this.#jobs = [];
		for (let from = 0; from < jobs.length; from += FILES_AT_ONCE) {
			this.#signal?.throwIfAborted();
			const group = jobs.slice(from, from + FILES_AT_ONCE);
			const opened = await Promise.all(group.map(({ source }) => openToDigest(source.path)));
			const ranges = opened.map((file) => typeof file === "string" ? [] : this.#digester.ranges(file.size));
			await Promise.all(group.map(async ({ source, digests, at }, i) => {
				const file = opened[i];
				const isFile = typeof file !== "string";
				if (!isFile && source.kind === "handle") return;
				const bitDepth = source.kind === "file" ? source.bitDepth : void 0;
				digests.files[at] = isFile ? await digestFile(file, ranges[i], bitDepth) : file;
				this.hasFiles = true;
			}));
			for (const { source, digests, at, place } of group) {
				if (source.kind !== "handle" || this.#varies) continue;
				const most = digests.files[at] === null ? DECODED : DECODED_FILES;
				if (isSpread(place, this.#count, most)) digests.made[at] = await decoded(source, this.#digester);
			}
		}
	}
};
function isSpread(place, count, most) {
	return place === 0 || Math.floor(place * most / count) !== Math.floor((place - 1) * most / count);
}
function inMemory(source, digester) {
	if (source.kind === "bytes") return digester.ofBytes(source.bytes);
	return source.kind === "pixels" ? digester.ofPixels(source.image) : null;
}
async function decoded({ decode }, digester) {
	try {
		return digester.ofPixels(await decode());
	} catch {
		return "unreadable";
	}
}
async function shown(sources) {
	const digests = [];
	for (const source of sources) {
		const digester = new ImageDigester();
		digests.push(source.kind === "handle" ? await decoded(source, digester) : inMemory(source, digester));
	}
	return digests;
}
// src/train/dataset-fingerprint.ts
const PROBES = 1e4;
const MAX_SECONDS = 120;
const PER_ESTIMATE = 1e3;
const BLOCKS = 1024;
const DIGEST_LENGTH = 8;
const OLD_BLOCKS = 16;
const PER_TURN = 32;
const MAX_LISTED$2 = 5;
const MADE_TWICE = 8;
async function fingerprintDataset(dataset, signal, { maxSeconds = MAX_SECONDS, before } = {}) {
	const { length } = dataset;
	const looked = async () => {
		if (before?.length === length && before.looked === PROBES) return await look(dataset, PROBES, signal);
		if (length <= PROBES) return await look(dataset, length, signal);
		return await look(dataset, length, signal, maxSeconds) ?? await look(dataset, PROBES, signal);
	};
	return orAborted(looked(), signal);
}
async function look(dataset, count, signal, maxSeconds = Number.POSITIVE_INFINITY) {
	const { length } = dataset;
	const oldCount = Math.min(PROBES, length);
	const old = new BlockDigests(oldCount, OLD_BLOCKS, (hash) => hash.digest("hex").slice(0, 16));
	const [texts, images, pixels, others] = [
		0,
		1,
		2,
		3
	].map(() => new BlockDigests(count, BLOCKS, shortDigest));
	let [hasOthers, othersVary] = [false, false];
	const looker = new ImageLooker(count, signal);
	const start = performance.now();
	for (let place = 0; place < count;) {
		const turn = [];
		for (const end = Math.min(count, place + PER_TURN); place < end; place++) {
			const index = Math.floor(place * length / count);
			const example = await dataset.get(index);
			const text = sampleText(index, example);
			if (index === Math.floor(old.next * length / oldCount)) old.add(text);
			texts.add(`${text}${sampleExtras(example)}\n`);
			const other = sampleOthers(example);
			others.add(`${other}\n`);
			if (other !== "") {
				hasOthers = true;
				if (!othersVary && isSpread(place, count, MADE_TWICE)) othersVary = sampleOthers(await dataset.get(index)) !== other;
			}
			turn.push(await looker.begin(place, example, () => dataset.get(index)));
		}
		await looker.finish();
		for (const { files, made } of turn) {
			images.add(`${JSON.stringify(files)}\n`);
			pixels.add(`${JSON.stringify(made)}\n`);
		}
		await eventLoopTurn();
		signal?.throwIfAborted();
		const seconds = (performance.now() - start) / 1e3;
		if (place >= PER_ESTIMATE && seconds * count / place > maxSeconds) return void 0;
	}
	return {
		length,
		digests: old.done,
		...count < length && { looked: count },
		...length > 0 && { texts: texts.done.join("") },
		...looker.hasFiles && { images: images.done.join("") },
		...looker.hasMade && { pixels: pixels.done.join("") },
		...hasOthers && !othersVary && { others: others.done.join("") }
	};
}
const shortDigest = (hash) => hash.digest("base64url").slice(0, DIGEST_LENGTH);
var BlockDigests = class {
	#count;
	#blocks;
	#digest;
	done = [];
	#hash = createHash("sha256");
	next = 0;
	constructor(count, most, digest) {
		this.#count = count;
		this.#blocks = Math.min(most, count);
		this.#digest = digest;
	}
	add(text) {
		this.#hash.update(text);
		this.next++;
		if (this.next < firstOf(this.done.length + 1, this.#blocks, this.#count)) return;
		this.done.push(this.#digest(this.#hash));
		this.#hash = createHash("sha256");
	}
};
function firstOf(block, blocks, count) {
	return Math.ceil(block * count / blocks);
}
function compareDatasets(before, now) {
	if (before.length !== now.length) return `had ${before.length} samples, now ${now.length}`;
	const { length } = now;
	if (!(before.looked === now.looked && typeof before.texts === "string")) {
		const { digests } = now;
		const where = placed(digests.flatMap((digest, block) => digest === before.digests[block] ? [] : [block]), digests.length, Math.min(PROBES, length), length);
		return where && `has other texts or image files than before, ${where}`;
	}
	const count = now.looked ?? length;
	const blocks = Math.min(BLOCKS, count);
	const texts = changedBlocks(before.texts, now.texts);
	const differences = [];
	for (const [what, changed] of [
		["other texts or image files than before", texts],
		["image files with other contents than before (or another `bitDepth`)", changedBlocks(before.images, now.images)],
		["other images in memory than before", changedBlocks(before.pixels, now.pixels)],
		["other values beside its messages than before", changedBlocks(before.others, now.others)]
	]) {
		const where = placed(changed === texts ? changed : changed.filter((block) => !texts.includes(block)), blocks, count, length);
		if (where) differences.push(`has ${what}, ${where}`);
	}
	return differences.length > 0 ? differences.join("; it ") : void 0;
}
function changedBlocks(before, now) {
	if (typeof before !== "string" || now === void 0) return [];
	const at = (joined, block) => joined.slice(block * DIGEST_LENGTH, (block + 1) * DIGEST_LENGTH);
	return Array.from({ length: now.length / DIGEST_LENGTH }, (_, block) => block).filter((block) => at(before, block) !== at(now, block));
}
function placed(changed, blocks, count, length) {
	if (changed.length === 0) return void 0;
	const startOf = (block) => Math.floor(firstOf(block, blocks, count) * length / count);
	const first = startOf(changed[0]);
	const range = `somewhere from sample ${first} to ${startOf(changed.at(-1) + 1) - 1}`;
	if (blocks === length) {
		if (changed.length === 1) return `in sample ${first}`;
		if (changed.length <= MAX_LISTED$2) return `in the samples ${changed.join(", ")}`;
		return changed.length === length ? range : `${range}: in ${changed.length} samples, ${first} the first`;
	}
	return changed.length === 1 ? range : `${range}, the first of them up to ${startOf(changed[0] + 1) - 1}`;
}
// src/train/compare-runs.ts
const MAX_LISTED$1 = 20;
const BASE_MODEL = "model.base";
const TOKENIZER = "collator.tokenizer";
function runSettings(model, collator) {
	const { baseModel, nameOrPath } = model;
	const owners = {
		model: model.trainingSettings,
		collator: collator.settings
	};
	const named = Object.entries(owners).flatMap(([owner, settings]) => Object.entries(settings ?? {}).map(([name, value]) => [`${owner}.${name}`, value]));
	return {
		...Object.fromEntries(named),
		...baseModel && { [BASE_MODEL]: {
			...baseModel,
			...nameOrPath !== void 0 && { name: nameOrPath }
		} },
		...collator.tokenizerDigest !== void 0 && { [TOKENIZER]: collator.tokenizerDigest }
	};
}
const SETTINGS_BEFORE = {
	...parseSftConfig(),
	sharePrefix: false
};
function compareRuns(saved, now) {
	const differences = [
		...compareSettings(comparable({
			...SETTINGS_BEFORE,
			...saved.config
		}), comparable(now.config), RESUME_MAY_CHANGE, Object.keys(SETTINGS_BEFORE).filter((name) => !(name in saved.config))),
		...compareSettings(saved.settings ?? {}, now.settings ?? {}, new Set([
			...SETTINGS_MAY_CHANGE,
			BASE_MODEL,
			TOKENIZER
		])),
		...compareParts(saved.settings ?? {}, now.settings ?? {})
	];
	const change = compareDatasets(saved.dataset, now.dataset);
	if (change) differences.push({
		of: "training set",
		text: `the training set ${change}`
	});
	differences.push(...compareParameters(saved.parameters, now.parameters));
	if (saved.best) differences.push(...compareJudges(saved, now));
	return differences;
}
function evaluationWarnings(saved, now) {
	if (saved.best && compareJudges(saved, now).length > 0) return [];
	const [was, is] = [saved.evalDataset, now.evalDataset];
	const change = was && is && compareDatasets(was, is);
	if (change) return [`the evaluation set ${change}: losses of evaluations before and after cannot be compared`];
	if (was && !is) return [`until here the run was evaluated, on ${was.length} samples; from here it is not`];
	if (!was && is && saved.dataset.texts !== void 0) return [`until here the run was not evaluated; from here it is, on ${is.length} samples`];
	return [];
}
function comparable({ warmupRatio, warmupSteps, ...others }) {
	return {
		...others,
		warmupSteps: warmupRatio || warmupSteps
	};
}
function compareSettings(saved, now, mayChange, added = []) {
	const differences = [];
	for (const key of new Set([...Object.keys(saved), ...Object.keys(now)])) {
		if (mayChange.has(key) || JSON.stringify(saved[key]) === JSON.stringify(now[key])) continue;
		const [was, is] = [saved[key], now[key]].map((value) => value === void 0 ? "not set" : showValue(value));
		const version = added.includes(key) ? " (the version that started the run did not have this option)" : "";
		differences.push({
			of: "setting",
			name: key,
			text: `\`${key}\` was ${was}, now ${is}${version}`
		});
	}
	return differences;
}
function compareParts(saved, now) {
	const differences = [];
	const [was, is] = [saved[BASE_MODEL], now[BASE_MODEL]].map((value) => typeof value === "object" && value !== null ? value : void 0);
	if (was && is) {
		const parts = Object.keys(PART_NAMES).filter((part) => was[part] !== is[part]);
		if (parts.length > 0) {
			const names = [was, is].map(({ name }) => typeof name === "string" ? showValue(name) : "one without a name");
			const listed = parts.map((part) => PART_NAMES[part]).join(", ");
			const text = `the base model was another, ${names[0]}, now ${names[1]}: it differs in ${listed}`;
			differences.push({
				of: "base model",
				text
			});
		}
	}
	const [before, after] = [saved[TOKENIZER], now[TOKENIZER]];
	if (typeof before === "string" && after !== void 0 && before !== after) differences.push({
		of: "tokenizer",
		text: "the tokenizer was another: it gives other tokens or other ids"
	});
	return differences;
}
const PART_NAMES = {
	config: "config.json",
	language: "weights of the language model",
	vision: "weights of the vision tower",
	projector: "weights of the projector",
	other: "weights of the output head"
};
function compareJudges(saved, now) {
	const judge = judgeOf(now.config);
	if (!judge || !saved.best) return [];
	if (saved.best.bestValue === void 0 && saved.best.withoutGain === 0) return [];
	const texts = [];
	const [before, after] = [saved.best, judge].map(({ metric, greaterIsBetter }) => {
		return `${metric} (${greaterIsBetter ? "greater" : "less"} is better)`;
	});
	if (before !== after) texts.push(`the best model was chosen by ${before}, now by ${after}`);
	const [was, is] = [saved.evalDataset, now.evalDataset];
	const change = was && is && compareDatasets(was, is);
	if (change) texts.push(`the evaluation set, which decides the best model, ${change}`);
	return texts.map((text) => ({
		of: "best model",
		text
	}));
}
function compareParameters(saved, now) {
	if (saved.length !== now.length) return [{
		of: "adapter",
		text: `there were ${saved.length} trainable tensors, now ${now.length}`
	}];
	const texts = [];
	saved.forEach((before, i) => {
		const [was, is] = [before, now[i]].map(({ name, shape }) => `${name} [${shape}]`);
		if (was !== is) texts.push(`trainable tensor ${i} was ${was}, now ${is}`);
	});
	return firstLines(texts, MAX_LISTED$1, "trainable tensors").map((text) => ({
		of: "adapter",
		text
	}));
}
const SETTINGS_MAY_CHANGE = new Set([
	"collator.maxLength",
	"collator.overlong",
	"collator.longestEdge"
]);
function changedSettings(saved, now, step) {
	const changes = [...SETTINGS_MAY_CHANGE].flatMap((name) => {
		if (JSON.stringify(saved[name]) === JSON.stringify(now[name])) return [];
		const [was, is] = [saved[name], now[name]].map((value) => value === void 0 ? "not set" : showValue(value));
		return [`\`${name}\` was ${was}, now ${is}`];
	});
	if (changes.length === 0) return [];
	return [`${changes.join("; ")}: the batches from here on are made so, those of the ${step} steps before were not`];
}
const WAY_ON = {
	"training set": "The training set: the order of the samples follows from it, so give it as it was. A sample that is too long can be left out by the collator (`overlong: \"drop\"` or \"truncateText\", or another `maxLength` or `longestEdge`), and an unreadable image by `onBadImage: \"skip\"` of its folder: these may change.",
	"base model": "The base model: load the one that the checkpoint was trained on.",
	tokenizer: "The tokenizer: give the one that the checkpoint was trained with.",
	adapter: "The adapter: apply it with the configuration as it was.",
	"best model": "How the best is chosen: as it was, or without `loadBestModelAtEnd` and whatever else asks for a best."
};
function wayOn(differences) {
	const names = differences.flatMap(({ name }) => name ?? []);
	const settings = names.map((name) => `\`${name}\``).join(", ");
	const kinds = new Set(differences.map((difference) => difference.of));
	return [
		...names.length > 0 ? [`${settings}: part of every step so far; set it back to go on.`] : [],
		...Object.entries(WAY_ON).flatMap(([kind, text]) => kinds.has(kind) ? [text] : []),
		"Or begin a new run with what was learned: loadAdapter(checkpoint, model), then train() without `resumeFromCheckpoint`, in another `outputDir`.",
		`A resume may change: ${[...RESUME_MAY_CHANGE, ...SETTINGS_MAY_CHANGE].join(", ")}.`
	].join("\n    ");
}
// src/train/checkpoint.ts
const STATE_FILE = "trainer-state.json";
const TENSOR_FILE = "training-state.safetensors";
const PARAMETERS = "parameters";
const OPTIMIZER = "optimizer.";
const REQUIRED = [STATE_FILE, TENSOR_FILE];
const MAX_LISTED = 20;
const MAX_STATE_BYTES = 134217728;
async function writeCheckpoint(outputDir, state, tensors, writeAdapter, makeSeal = (folder) => new CheckpointSeal(folder)) {
	const step = state.globalStep;
	try {
		return await writeCheckpointFolder(outputDir, step, async (folder) => {
			const seal = makeSeal(folder);
			const path = join(folder, TENSOR_FILE);
			const arrays = namedArrays(tensors);
			const underWay = [];
			try {
				await writeAdapter?.(folder);
				await seal.begin();
				await writeArrays(path, arrays);
				underWay.push(flushFile(path), seal.begin(), seal.requireTensors(TENSOR_FILE, arrays));
				const json = `${JSON.stringify({
					formatVersion: 3,
					digests: MANIFEST_FILE,
					...state
				}, null, 2)}\n`;
				underWay.push(writeFileAtomically(join(folder, STATE_FILE), json));
				await Promise.all(underWay);
				await seal.requireText(STATE_FILE, json);
				await seal.end();
			} finally {
				await Promise.allSettled(underWay);
				await seal.close();
			}
		});
	} catch (cause) {
		if (cause instanceof TrainingError) throw cause;
		const path = join(outputDir, checkpointName(step));
		throw new CheckpointError(`cannot write ${path}: ${reasonOf(cause)}`, {
			cause,
			hint: "Check the free space and the rights of `outputDir`. Earlier checkpoints are untouched.",
			details: {
				path,
				step
			}
		});
	}
}
function namedArrays({ parameters, optimizer }) {
	const moments = Object.entries(optimizer).map(([key, data]) => [OPTIMIZER + key, data]);
	return new Map([[PARAMETERS, parameters], ...moments]);
}
async function writeArrays(path, arrays) {
	const tensors = [...arrays].map(([name, data]) => {
		return {
			name,
			dtype: data instanceof Float32Array ? "F32" : "U8",
			shape: [data.length],
			data
		};
	});
	await writeTensorFile(path, tensors, { format: "ministral-tune" }, false);
}
async function listCheckpoints(outputDir) {
	const names = await readdir(outputDir).catch(() => []);
	const found = [];
	for (const name of names) {
		const step = /^checkpoint-(\d+)$/.exec(name)?.[1];
		const path = join(outputDir, name);
		if (step && await isCheckpoint(path)) found.push({
			path,
			step: Number(step)
		});
	}
	return found.sort((a, b) => a.step - b.step);
}
async function isCheckpoint(path) {
	const files = [STATE_FILE, TENSOR_FILE].map((name) => stat(join(path, name)).catch(() => void 0));
	return (await Promise.all(files)).every((file) => file?.isFile());
}
async function savedFingerprints(path) {
	return await readJson(join(path, STATE_FILE), { maxBytes: MAX_STATE_BYTES }).catch(() => void 0) ?? {};
}
var OtherRunError = class extends CheckpointError {};
async function readCheckpoint(path, run, course) {
	const { state, warnings } = await readSound(path, "everything");
	const differences = compareRuns(state, run);
	if (differences.length > 0) {
		const texts = differences.map(({ text }) => text);
		throw new OtherRunError(`${path} belongs to another run:\n  - ${texts.join("\n  - ")}`, {
			hint: wayOn(differences),
			details: {
				path,
				differences: texts
			}
		});
	}
	checkCourse(path, state, course);
	const tensors = await readTensors(path, run.parameters.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0));
	await checkOptimizer(path, state, tensors);
	return {
		state,
		tensors,
		warnings
	};
}
async function readSound(path, use) {
	const findings = await checkSeal(path, REQUIRED, use);
	const state = await readState(path, findings);
	const warnings = [...findings.warnings];
	if (!findings.hasManifest) warnings.push(`${path} was written by an earlier version, without digests: whether it is damaged is not known`);
	return {
		state,
		warnings
	};
}
async function readTensors(path, size) {
	const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
	try {
		const optimizer = {};
		for (const { name, dtype } of file.tensors.values()) {
			const key = name.startsWith(OPTIMIZER) ? name.slice(10) : void 0;
			if (!(name === PARAMETERS ? dtype === "F32" : key && /^[a-z]\w*$/i.test(key) && /^(F32|U8)$/.test(dtype))) throw new CheckpointError(`${file.path}: expected the parameters in F32 and the optimizer's arrays in F32 or U8`, {
				hint: "The checkpoint is damaged or was not written by this package; resume from another one.",
				details: {
					path,
					name,
					dtype
				}
			});
			if (key) optimizer[key] = await file.readArray(name);
		}
		return {
			parameters: await readParameters(file, size),
			optimizer
		};
	} finally {
		await file.close();
	}
}
async function readCheckpointParameters(path, size, judged) {
	const { state, warnings } = await readSound(path, "parameters");
	requireJudged(path, state, judged);
	const file = await SafetensorsFile.open(join(path, TENSOR_FILE));
	try {
		return {
			parameters: await readParameters(file, size),
			warnings
		};
	} finally {
		await file.close();
	}
}
async function requireCheckpointOf(path, judged) {
	requireJudged(path, await readState(path, {
		hasManifest: await readManifest(path) !== void 0,
		warnings: []
	}), judged);
}
function requireJudged(path, state, { run, step, value }) {
	const fault = (why) => {
		return new CheckpointError(`${path} is not the checkpoint of step ${step} that was evaluated: ${why}`, {
			hint: "Another run has written there, or somebody has renamed or copied folders.",
			details: {
				path,
				step
			}
		});
	};
	if (state.globalStep !== step) throw fault(`it is of step ${state.globalStep}`);
	const own = state.best?.best;
	if (own?.step === step && own.value !== value) throw fault(`its evaluation gave ${own.value}, expected ${value}`);
	const [difference] = compareRuns(state, run);
	if (difference !== void 0) throw fault(`it belongs to another run: ${difference.text}`);
}
async function readParameters(file, size) {
	const parameters = await file.readFloat32(PARAMETERS);
	if (parameters.length !== size) throw new CheckpointError(`${file.path}: expected ${size} parameters, found ${parameters.length}`, { details: {
		path: file.path,
		expected: size,
		found: parameters.length
	} });
	const bad = await findNotFinite(parameters);
	if (bad < 0) return parameters;
	throw new CheckpointError(`${file.path}: parameter ${bad} is ${parameters[bad]}, which is not finite`, {
		hint: "The training had diverged, or the file is damaged; resume from an earlier checkpoint.",
		details: { path: file.path }
	});
}
async function readState(path, { hasManifest }) {
	const json = await readJson(join(path, STATE_FILE), { maxBytes: MAX_STATE_BYTES }).catch((cause) => {
		throw new CheckpointError(`${path} is no checkpoint: ${reasonOf(cause)}`, {
			hint: "Expected a folder checkpoint-N of `outputDir`, or true for the latest one there.",
			details: { path },
			cause
		});
	});
	const { formatVersion: version, digests } = json ?? {};
	if (version !== 3 && version !== 2) {
		const expected = `2 or 3`;
		throw new CheckpointError(`${path}: expected format version ${expected}, found ${showValue(version)}`, {
			hint: "Another version of this package wrote it: resume with that one, or from another checkpoint.",
			details: {
				path,
				expected,
				found: version
			}
		});
	}
	if (version === 3 !== (digests === "checkpoint.sha256") || version !== 3 && digests !== void 0) throw new CheckpointError(`${join(path, STATE_FILE)} is damaged: format version ${version} with \`digests\` ${showValue(digests)}`, {
		hint: "Resume from another checkpoint.",
		details: { path }
	});
	if (version === 3 && !hasManifest) throw new CheckpointError(`${path} is not whole: ${MANIFEST_FILE} is missing, with the digests of its files`, {
		hint: "Copy the folder with all of its files, or resume from another checkpoint.",
		details: {
			path,
			missing: [MANIFEST_FILE]
		}
	});
	const { error } = stateSchema.safeParse(json);
	if (!error) return json;
	const faults = error.issues.slice(0, MAX_LISTED).map((issue) => `${issue.path.map(String).join(".")}: ${issue.message}`);
	throw new CheckpointError(`${join(path, STATE_FILE)} is damaged:\n  - ${faults.join("\n  - ")}`, {
		hint: "Resume from another checkpoint.",
		details: {
			path,
			faults
		}
	});
}
// src/train/history.ts
const HISTORY_FILE = "train-log.jsonl";
const MAX_BYTES = 268435456;
var TrainHistory = class {
	path;
	#outputDir;
	#mayBeCut = true;
	constructor(outputDir) {
		this.#outputDir = outputDir;
		this.path = join(outputDir, HISTORY_FILE);
	}
	async append(event) {
		let line;
		let before = "";
		if (event.type === "log" || event.type === "evaluate") line = event;
		else if (event.type === "start") {
			await makeFolder(dirname(this.path));
			line = {
				type: "start",
				step: event.step,
				totalSteps: event.totalSteps,
				time: new Date().toISOString()
			};
		} else return;
		await requireOwned(this.#outputDir);
		if (this.#mayBeCut && !await endsLine(this.path)) before = "\n";
		this.#mayBeCut = true;
		await appendFile(this.path, `${before}${JSON.stringify(line)}\n`);
		this.#mayBeCut = false;
	}
};
var RunLog = class {
	#history;
	#show;
	#entries = [];
	#saidNoHistory = false;
	constructor(outputDir, show) {
		this.#history = new TrainHistory(outputDir);
		this.#show = show;
	}
	get entries() {
		return this.#entries;
	}
	restore(entries) {
		this.#entries = [...entries];
	}
	async emit(event) {
		await this.#append(event);
		if (event.type === "log" || event.type === "evaluate") this.#entries.push(withoutType(event));
		await this.#show(event);
	}
	warn(step, message) {
		return this.emit({
			type: "warning",
			step,
			message: printable(`step ${step}: ${message}`)
		});
	}
	async #append(event) {
		try {
			await this.#history.append(event);
		} catch (cause) {
			if (cause instanceof TrainingError) throw cause;
			const message = printable(`cannot write ${this.#history.path}: ${reasonOf(cause)}`);
			if (event.type === "start") throw new CheckpointError(message, {
				cause,
				hint: "Choose another `outputDir`."
			});
			if (this.#saidNoHistory) return;
			this.#saidNoHistory = true;
			await this.#show({
				type: "warning",
				step: event.step,
				message
			});
		}
	}
};
async function readHistory(path) {
	requirePath(path, "readHistory");
	let entries = [];
	const bytes = await readRegularFile(path, MAX_BYTES).catch((cause) => {
		throw new CheckpointError(`${path} cannot be read: ${cause.message}`, {
			hint: `Give the file ${HISTORY_FILE} of a run's \`outputDir\`.`,
			cause,
			details: { path }
		});
	});
	let known = 0;
	for (const text of bytes.toString().split("\n")) {
		const line = parseLine(text);
		if (!line) continue;
		known++;
		if (line.type === "start") entries = entries.filter((entry) => entry.step <= line.step);
		else {
			const last = entries.at(-1);
			if (last?.type === line.type && last.step === line.step) entries.pop();
			entries.push(line);
		}
	}
	if (known === 0 && bytes.includes(10)) throw new CheckpointError(`${path} is no log of a training run: none of its lines is an entry`, {
		hint: `Give the file ${HISTORY_FILE} of a run's \`outputDir\`.`,
		details: { path }
	});
	const logs = [];
	const evaluations = [];
	for (const entry of entries) if (entry.type === "log") logs.push(withoutType(entry));
	else if (entry.type === "evaluate") evaluations.push(withoutType(entry));
	return {
		logs,
		evaluations
	};
}
function withoutType(event) {
	const { type, ...values } = event;
	return values;
}
async function endsLine(path) {
	const file = await open(path, "r").catch(() => void 0);
	if (!file) return true;
	try {
		const { size } = await file.stat();
		if (size === 0) return true;
		const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
		return buffer.toString() === "\n";
	} finally {
		await file.close();
	}
}
function parseLine(text) {
	try {
		const line = text.trim() === "" ? void 0 : JSON.parse(text);
		return typeof line?.step === "number" ? line : void 0;
	} catch {
		return;
	}
}
export { tidyCheckpointFolders as _, listCheckpoints as a, BestModelTracker as b, requireCheckpointOf as c, changedSettings as d, evaluationWarnings as f, removeCheckpointFolder as g, checkpointName as h, isCheckpoint as i, savedFingerprints as l, fingerprintDataset as m, readHistory as n, readCheckpoint as o, runSettings as p, OtherRunError as r, readCheckpointParameters as s, RunLog as t, writeCheckpoint as u, claimRunFolder as v, judgeOf as x, explainVanished as y };
