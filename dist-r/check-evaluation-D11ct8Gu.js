import { i as boolean, l as number, o as int, p as strictObject, t as _enum } from "./zod-CVDjCv3S.js";
import { n as ConfigError, r as DataError, x as oneLine } from "./errors-D4G-NQir.js";
import { _ as isKind, a as parseOptions, b as showValue, d as requireKind, f as requireList, g as describeGiven, h as requireText, l as requireCallback, m as requireSignal, n as checkNames, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { t as MersenneTwister } from "./random-BGUvVUOv.js";
import { a as isTurnDue, n as eventLoopTurn } from "./event-loop-Cd695Vob.js";
import { A as accuracyScore, B as occurringClasses, D as normalCdf, E as zOfLevel, F as confusionMatrix, H as sum, I as correctCount, L as macroF1Of, M as balancedAccuracyOf, N as balancedAccuracyScore, O as normalQuantile, P as cohenKappaScore, R as matthewsCorrcoef, T as wilsonInterval, U as talliesOf, V as precisionRecallFscoreSupport, W as weightedF1Of, j as averageMetrics, k as accuracyOf } from "./report-BTHP2jM-.js";
import { n as riskCoverageArea } from "./risk-coverage-Dih9Y-dd.js";
// src/eval/bootstrap.ts
const bootstrapSchema = strictObject({
	method: _enum(["bca", "percentile"]).default("bca"),
	confidenceLevel: number().gt(0).lt(1).default(.95),
	resamples: int().min(100).max(1e6).default(2e3),
	seed: int().default(0),
	stratified: boolean().default(false)
});
const METRICS = {
	accuracy: accuracyOf,
	balancedAccuracy: balancedAccuracyOf,
	macroF1: macroF1Of,
	weightedF1: weightedF1Of
};
const NAMES = Object.keys(METRICS);
async function bootstrapIntervals(matrix, options = {}, signal) {
	const settings = parseOptions(bootstrapSchema, options, "bootstrapIntervals");
	const cells = new Cells(matrix);
	const { count } = cells;
	const { right } = cells.tallies;
	const correct = right.reduce((a, b) => a + b, 0);
	if (correct === 0 || correct === count) {
		const same = wilsonInterval(correct, count, zOfLevel(settings.confidenceLevel));
		return {
			...settings,
			accuracy: same,
			balancedAccuracy: same,
			macroF1: same,
			weightedF1: same
		};
	}
	const found = NAMES.map((name) => METRICS[name](cells.tallies));
	const drawn = NAMES.map(() => new Float64Array(settings.resamples));
	const generator = new MersenneTwister(settings.seed);
	for (let b = 0; b < settings.resamples; b++) {
		if (isTurnDue()) await eventLoopTurn();
		signal?.throwIfAborted();
		cells.draw(generator, settings.stratified);
		for (const [m, name] of NAMES.entries()) drawn[m][b] = METRICS[name](cells.tallies);
	}
	const accelerations = settings.method === "bca" ? await cells.accelerations() : void 0;
	const intervals = drawn.map((values, m) => {
		return intervalOf(values.sort(), found[m], settings.confidenceLevel, accelerations?.[m]);
	});
	return {
		...settings,
		...Object.fromEntries(NAMES.map((name, m) => [name, intervals[m]]))
	};
}
var Cells = class {
	count;
	tallies;
	#kinds;
	#kindOf;
	#starts;
	constructor(matrix) {
		const { right, answered, support, count } = talliesOf(matrix);
		if (!Number.isSafeInteger(count) || matrix.counts.some((row) => !row.every(Number.isSafeInteger))) throw new ConfigError("bootstrapIntervals: expected whole counts: samples are drawn, which weights are not");
		this.count = count;
		this.tallies = {
			right: Float64Array.from(right),
			answered: Float64Array.from(answered),
			support: Float64Array.from(support),
			count
		};
		this.#kinds = matrix.counts.flatMap((row, truth) => [...row, matrix.unparsed[truth]].flatMap((times, answer) => times === 0 ? [] : [{
			truth,
			answer: answer < row.length ? answer : void 0,
			times
		}]));
		this.#kindOf = new Int32Array(count);
		let at = 0;
		for (const [kind, { times }] of this.#kinds.entries()) {
			this.#kindOf.fill(kind, at, at + times);
			at += times;
		}
		this.#starts = [0];
		for (const [truth, samples] of Array.from(support).entries()) this.#starts.push(this.#starts[truth] + samples);
	}
	draw(generator, stratified) {
		const drawn = new Int32Array(this.#kinds.length);
		const kindOf = this.#kindOf;
		const starts = stratified ? this.#starts : [0, this.count];
		for (let part = 1; part < starts.length; part++) {
			const [start, end] = [starts[part - 1], starts[part]];
			const scale = (end - start) / 2 ** 32;
			for (let i = start; i < end; i++) drawn[kindOf[start + Math.floor(generator.nextUint32() * scale)]]++;
		}
		this.#clear();
		for (let kind = 0; kind < drawn.length; kind++) this.#add(kind, drawn[kind]);
	}
	#clear() {
		const { right, answered, support } = this.tallies;
		for (const array of [
			right,
			answered,
			support
		]) array.fill(0);
	}
	#add(kind, times) {
		const { truth, answer } = this.#kinds[kind];
		const { right, answered, support } = this.tallies;
		support[truth] += times;
		if (answer === truth) right[truth] += times;
		if (answer !== void 0) answered[answer] += times;
	}
	async accelerations() {
		const { tallies } = this;
		this.#clear();
		for (const [kind, { times }] of this.#kinds.entries()) this.#add(kind, times);
		tallies.count = this.count - 1;
		const without = [];
		for (const [kind, { times }] of this.#kinds.entries()) {
			if (isTurnDue()) await eventLoopTurn();
			this.#add(kind, -1);
			without.push({
				times,
				values: NAMES.map((name) => METRICS[name](tallies))
			});
			this.#add(kind, 1);
		}
		tallies.count = this.count;
		return NAMES.map((_, m) => {
			const total = (of) => without.reduce((all, { times, values }) => all + times * of(values[m]), 0);
			const mean = total((value) => value) / this.count;
			const squares = total((value) => (mean - value) ** 2);
			return squares === 0 ? 0 : total((value) => (mean - value) ** 3) / (6 * squares ** 1.5);
		});
	}
};
function intervalOf(sorted, found, level, acceleration) {
	const tails = [(1 - level) / 2, (1 + level) / 2];
	const steps = new Steps(sorted);
	if (acceleration === void 0) return {
		low: steps.quantile(tails[0]),
		high: steps.quantile(tails[1])
	};
	const edge = .5 / sorted.length;
	const bias = normalQuantile(Math.min(1 - edge, Math.max(edge, steps.shareBelow(found))));
	const [low, high] = tails.map((tail) => {
		const shifted = bias + normalQuantile(tail);
		return steps.quantile(normalCdf(bias + shifted / Math.max(1e-9, 1 - acceleration * shifted)));
	});
	return {
		low,
		high
	};
}
var Steps = class {
	#values = [];
	#shares = [];
	constructor(sorted) {
		for (let from = 0, to = 0; from < sorted.length; from = to) {
			while (to < sorted.length && sorted[to] - sorted[from] < 1e-12) to++;
			this.#values.push(sorted[from]);
			this.#shares.push((from + to) / 2 / sorted.length);
		}
	}
	quantile(share) {
		return interpolate(this.#shares, this.#values, share);
	}
	shareBelow(value) {
		const near = this.#values.findIndex((one) => Math.abs(one - value) < 1e-12);
		if (near >= 0) return this.#shares[near];
		if (value < this.#values[0]) return 0;
		return value > this.#values.at(-1) ? 1 : interpolate(this.#values, this.#shares, value);
	}
};
function interpolate(xs, ys, x) {
	let [low, high] = [0, xs.length - 1];
	if (x <= xs[low]) return ys[low];
	if (x >= xs[high]) return ys[high];
	while (high - low > 1) {
		const middle = low + high >> 1;
		if (xs[middle] <= x) low = middle;
		else high = middle;
	}
	return ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / (xs[high] - xs[low]);
}
// src/eval/calibration.ts
function calibrationCurve(confidence, isRight, binCount = 10) {
	requireInteger(binCount, "calibrationCurve: `binCount`", 1, 1e4);
	if (confidence.length !== isRight.length) throw new DataError(`calibrationCurve: got ${confidence.length} confidences of ${isRight.length} answers`);
	const edges = Array.from({ length: binCount + 1 }, (_, i) => i === binCount ? 1 : i * (1 / binCount));
	const sums = edges.slice(1).map(() => ({
		count: 0,
		right: 0,
		confidence: 0
	}));
	for (const [i, value] of confidence.entries()) {
		if (!(value >= 0 && value <= 1)) throw new DataError(`calibrationCurve: expected confidences from 0 to 1, got ${value} at sample ${i}`);
		let bin = Math.min(binCount - 1, Math.floor(value * binCount));
		while (bin > 0 && value <= edges[bin]) bin--;
		while (bin < binCount - 1 && value > edges[bin + 1]) bin++;
		const into = sums[bin];
		into.count++;
		into.confidence += value;
		if (isRight[i]) into.right++;
	}
	let expected = 0;
	let maximum = 0;
	return {
		bins: sums.map(({ count, right, confidence: total }, i) => {
			const gap = count === 0 ? 0 : Math.abs(right - total) / count;
			expected += gap * count / confidence.length;
			maximum = Math.max(maximum, gap);
			const shares = count === 0 ? {
				confidence: null,
				accuracy: null
			} : {
				confidence: total / count,
				accuracy: right / count
			};
			return {
				low: edges[i],
				high: edges[i + 1],
				count,
				...shares
			};
		}),
		expectedCalibrationError: expected || 0,
		maximumCalibrationError: maximum
	};
}
// src/eval/probabilities.ts
function softmax(scores) {
	const most = scores[argmax(scores)];
	const shares = scores.map((score) => Math.exp(score - most));
	const total = shares.reduce((a, b) => a + b, 0);
	if (!(total >= 1)) throw new DataError(`expected natural-log probabilities of classes, got ${showValue(scores)}`);
	return shares.map((share) => share / total);
}
function argmax(scores) {
	let best = 0;
	for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
	return best;
}
function topKAccuracyScore(expected, scores, k) {
	requireInteger(k, "topKAccuracyScore: `k`", 1);
	return mean(expected, scores, (truth, row) => {
		const own = row[truth];
		let before = 0;
		for (let i = 0; i < row.length; i++) if (row[i] > own || row[i] === own && (row.length === 2 ? i < truth : i > truth)) before++;
		return before < k ? 1 : 0;
	});
}
function logLoss(expected, scores) {
	return mean(expected, scores, (truth, row) => {
		return -Math.log(Math.min(Math.max(softmax(row)[truth], Number.EPSILON), 1 - Number.EPSILON));
	});
}
function brierScoreLoss(expected, scores) {
	return mean(expected, scores, (truth, row) => {
		return softmax(row).map((share, i) => (share - (i === truth ? 1 : 0)) ** 2).reduce((a, b) => a + b, 0) / (row.length === 2 ? 2 : 1);
	});
}
function mean(expected, scores, of) {
	if (expected.length !== scores.length) throw new DataError(`expected scores of ${expected.length} samples, got those of ${scores.length}`);
	const classCount = scores[0]?.length ?? 0;
	let total = 0;
	for (const [i, row] of scores.entries()) {
		const truth = expected[i];
		if (row.length !== classCount || !(Number.isInteger(truth) && truth >= 0 && truth < classCount)) throw new DataError(`expected a class from 0 to ${classCount - 1} with ${classCount} scores, got ${truth} with ${row.length} at sample ${i}`);
		const at = row.findIndex(Number.isNaN);
		if (at >= 0) throw new DataError(`expected log-probabilities, got NaN for class ${at} at sample ${i}`);
		total += of(truth, row);
	}
	return expected.length === 0 ? 0 : total / expected.length;
}
// src/eval/build-report.ts
function buildReport(samples, run) {
	const confusion = confusionMatrix(samples.map((one) => one.expected), samples.map((one) => one.predicted), run.classNames.length);
	const perClass = precisionRecallFscoreSupport(confusion);
	const [macro, weighted] = [averageMetrics(perClass, "macro"), averageMetrics(perClass, "weighted")];
	const count = samples.length;
	const correct = correctCount(confusion);
	const invalid = sum(confusion.unparsed);
	const kappa = cohenKappaScore(confusion);
	const probabilities = probabilityMetrics(samples, run.classNames.length);
	return {
		classNames: run.classNames,
		mode: run.mode,
		answerMode: run.answerMode,
		count,
		datasetLength: run.datasetLength,
		correct,
		accuracy: accuracyScore(confusion),
		accuracyInterval: wilsonInterval(correct, count),
		invalid,
		invalidShare: count === 0 ? 0 : invalid / count,
		balancedAccuracy: balancedAccuracyScore(confusion),
		macroPrecision: macro.precision,
		macroRecall: macro.recall,
		macroF1: macro.f1,
		macroF1Occurring: averageMetrics(occurringClasses(confusion, perClass), "macro").f1,
		weightedPrecision: weighted.precision,
		weightedRecall: weighted.recall,
		weightedF1: weighted.f1,
		matthewsCorrcoef: matthewsCorrcoef(confusion),
		cohenKappa: Number.isNaN(kappa) ? null : kappa,
		perClass: perClass.map((metrics, i) => ({
			name: run.classNames[i],
			...metrics
		})),
		confusion,
		...probabilities && { probabilities },
		samples: [...samples],
		seconds: run.seconds
	};
}
const CALIBRATION_BINS = 10;
const MOST_K = 5;
function probabilityMetrics(samples, classCount) {
	if (samples.length === 0 || samples.some((one) => !one.scores || one.confidence === void 0)) return void 0;
	const expected = samples.map((one) => one.expected);
	const scores = samples.map((one) => one.scores);
	const { bins, ...errors } = calibrationCurve(samples.map((one) => one.confidence), samples.map((one) => one.predicted === one.expected), CALIBRATION_BINS);
	return {
		topKAccuracy: Array.from({ length: Math.min(classCount, MOST_K) }, (_, i) => topKAccuracyScore(expected, scores, i + 1)),
		logLoss: logLoss(expected, scores),
		brierScoreLoss: brierScoreLoss(expected, scores),
		...errors,
		calibration: bins,
		riskCoverageArea: riskCoverageArea(samples)
	};
}
// src/eval/check-evaluation.ts
const GENERATE_HINT = "generate: async (examples) => generateText(model, tokenizer, await collator.collatePrompts(examples)).";
const SCORE_HINT = "score: async (examples, classNames, signal) => scoreLabels(model, tokenizer, await collator.collatePrompts(examples), classNames, { signal }).";
const EVALUATE_OPTIONS = {
	toExample: true,
	limit: false,
	onProgress: false,
	signal: false,
	intervals: false
};
const MODES = [
	"free",
	"constrained",
	"scored"
];
function requireModeOptions(options) {
	const mode = isObject(options) ? options.mode ?? "free" : "free";
	const isScored = mode === "scored";
	checkNames(options, {
		classNames: true,
		mode: false,
		generate: !isScored && options.score === void 0,
		score: isScored,
		toPrompt: false,
		batchSize: false,
		answerMode: false
	}, "Evaluator");
	if (!MODES.includes(mode)) throw new ConfigError(`Evaluator: \`mode\`: expected one of ${MODES.join(", ")}, got ${describeGiven(mode)}`);
	const unused = isScored ? "generate" : "score";
	if (options[unused] !== void 0) throw new ConfigError(`Evaluator: \`${unused}\` has no effect in mode '${mode}'`, { hint: isScored ? "Leave it out, or choose mode 'free' or 'constrained'." : "Set mode: 'scored', or leave it out." });
	if (options.answerMode !== void 0 && mode !== "free") throw new ConfigError(`Evaluator: \`answerMode\` has no effect in mode '${mode}'`, { hint: "Answers are class names there; leave it out." });
	return mode;
}
function requireClassNames(names, who = "Evaluator") {
	const what = `${who}: \`classNames\``;
	requireList(names, what, "class names", "Give `classNames` of the image folder, or `classLabel.names` of a data set.");
	for (const [label, name] of names.entries()) requireText(name, `${what}[${label}]`);
}
function requireEvaluation(dataset, options, what = "evaluate") {
	const call = `evaluator.${what}(dataset, { toExample })`;
	requireKind("dataset", dataset, `${what}: \`dataset\``, call);
	if (typeof options === "function") throw new ConfigError(`${what}: expected an object of options, got a function`, { hint: `Write ${call}.` });
	checkNames(options, EVALUATE_OPTIONS, what);
	const { toExample, onProgress, signal, intervals, limit } = options;
	requireCallback(toExample, `${what}: \`toExample\``, "It takes an item and gives { messages }.");
	requireCallback(onProgress, `${what}: \`onProgress\``, void 0, true);
	requireSignal(signal, what);
	if (limit !== void 0) requireInteger(limit, `${what}: \`limit\``, 1);
	if (intervals !== void 0 && intervals !== false) parseOptions(bootstrapSchema, intervals, `${what}: \`intervals\``);
}
function requireItem(item, index) {
	if (isObject(item) && !isKind(item, "promise") && ("label" in item || "className" in item)) return;
	const hint = isKind(item, "sample") ? "Evaluate the data set itself: `map` is done by the option `toExample`." : "Items are those of an image folder, or have a `label` of their own.";
	throw new DataError(`evaluation: expected sample ${index} to have a label, got ${describeGiven(item)}`, {
		hint,
		details: { index }
	});
}
function requireExample(example, index, name) {
	if (isObject(example) && Array.isArray(example.messages)) return example;
	throw new DataError(`evaluation: expected { messages } from \`${name}\` for sample ${index}, got ${describeGiven(example)}`, {
		hint: example === void 0 ? `Does \`${name}\` return it?` : isKind(example, "promise") ? `\`${name}\` must not be asynchronous.` : Array.isArray(example) ? "Wrap the list: { messages: […] }." : `\`${name}\` gives { messages: [{ role, content }] }.`,
		details: { index }
	});
}
function requireAnswers(answers, ids) {
	if (!Array.isArray(answers)) {
		const hint = answers === void 0 ? `Does it return them? ${GENERATE_HINT}` : GENERATE_HINT;
		throw new DataError(`evaluation: expected ${ids.length} answers from \`generate\`, got ${describeGiven(answers)}`, { hint });
	}
	if (answers.length !== ids.length) throw new DataError(`evaluation: expected ${ids.length} answers from \`generate\`, got ${answers.length}`, { hint: "It gives one text for each prompt, in their order." });
	for (let i = 0; i < ids.length; i++) {
		const answer = answers[i];
		if (typeof answer === "string") continue;
		throw new DataError(`evaluation: expected a text as answer ${i} of \`generate\`, for sample ${oneLine(ids[i])}, got ${describeGiven(answer)}`, {
			hint: isKind(answer, "promise") ? "Await all of them: await Promise.all(answers)." : Array.isArray(answer) ? "Those of `generate` are token ids: generateText gives texts." : "Where the model says nothing, give an empty string.",
			details: { sample: ids[i] }
		});
	}
}
function requireChoices(samples) {
	const other = samples.find((one) => one.predicted === null);
	if (!other) return;
	throw new DataError(`evaluation: expected a class name as the constrained answer for sample ${oneLine(other.id)}, got ${describeGiven(other.answer)}`, {
		hint: "`generate` gets the class names as its third argument: pass them on as `choices`, with `maxNewTokens` enough for the longest.",
		details: {
			sample: other.id,
			answer: other.answer
		}
	});
}
function requireScores(scores, ids, classCount) {
	const what = "evaluation: expected from `score`";
	const hint = `It gives a list of log-probabilities, one a class, for each example. ${SCORE_HINT}`;
	if (!Array.isArray(scores) || scores.length !== ids.length) {
		const came = Array.isArray(scores) ? String(scores.length) : describeGiven(scores);
		throw new DataError(`${what} ${ids.length} lists of scores, got ${came}`, { hint });
	}
	return ids.map((id, i) => {
		const row = scores[i];
		const isList = Array.isArray(row) || row instanceof Float32Array || row instanceof Float64Array;
		const values = isList ? Array.from(row) : [];
		const fail = (expected, came, help = hint) => {
			throw new DataError(`${what} ${expected} for sample ${oneLine(id)}, got ${came}`, {
				hint: help,
				details: { sample: id }
			});
		};
		if (!isList) fail(`a list of ${classCount} numbers`, describeGiven(row));
		if (values.length !== classCount) fail(`${classCount} scores, one a class,`, String(values.length));
		const bad = values.findIndex((value) => !Number.isFinite(value));
		if (bad >= 0) fail("finite log-probabilities", `${describeGiven(values[bad])} for class ${bad}`, "Of a probability of 0 give a large negative value, such as -1e3.");
		const total = values.reduce((a, b) => a + b, 0);
		if (values.length > 1 && values.every((value) => value >= 0) && Math.abs(total - 1) < 1e-4) fail("log-probabilities", "what looks like probabilities: their sum is 1", "Give their natural logarithms: Math.log(p).");
		return values;
	});
}
export { calibrationCurve as _, requireClassNames as a, requireItem as c, buildReport as d, argmax as f, topKAccuracyScore as g, softmax as h, requireChoices as i, requireModeOptions as l, logLoss as m, SCORE_HINT as n, requireEvaluation as o, brierScoreLoss as p, requireAnswers as r, requireExample as s, GENERATE_HINT as t, requireScores as u, bootstrapIntervals as v };
