import { c as looseObject, l as number, m as string, o as int, r as array, t as _enum } from "./zod-CVDjCv3S.js";
import { a as parseOptions, d as requireKind, g as describeGiven, o as requirePath, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { C as tableCell, S as printable, b as distinctNames, n as ConfigError, r as DataError, x as oneLine } from "./errors-D4G-NQir.js";
import { f as writeNamedFile } from "./atomic-file-D2Hfhe-X.js";
import { t as displayWidth } from "./display-width-D3AspX99.js";
// src/eval/metrics.ts
function confusionMatrix(expected, predicted, classCount) {
	requireInteger(classCount, "confusion matrix: `classCount`", 0);
	if (expected.length !== predicted.length) throw new DataError(`confusion matrix: expected one answer per sample, got ${expected.length} samples and ${predicted.length} answers`);
	const counts = Array.from({ length: classCount }, () => new Array(classCount).fill(0));
	const unparsed = new Array(classCount).fill(0);
	for (let i = 0; i < expected.length; i++) {
		const truth = expected[i];
		const answer = predicted[i] ?? void 0;
		for (const label of [truth, answer]) if (label !== void 0 && !(Number.isInteger(label) && label >= 0 && label < classCount)) throw new DataError(`confusion matrix: expected classes 0 to ${classCount - 1}, got ${label} at sample ${i}`);
		if (answer === void 0) unparsed[truth]++;
		else counts[truth][answer]++;
	}
	return {
		counts,
		unparsed
	};
}
function normalizeConfusion(matrix, invalid = "counted") {
	requireConfusion(matrix);
	const isCounted = oneOf(invalid, ["counted", "left out"], "normalizeConfusion: `invalid`") === "counted";
	const totals = matrix.counts.map((row, i) => sum(row) + (isCounted ? matrix.unparsed[i] : 0));
	return {
		counts: matrix.counts.map((row, i) => row.map((count) => ratio(count, totals[i]))),
		unparsed: matrix.unparsed.map((count, i) => isCounted ? ratio(count, totals[i]) : 0)
	};
}
function talliesOf(matrix) {
	requireConfusion(matrix);
	const { counts, unparsed } = matrix;
	const support = counts.map((row, i) => sum(row) + unparsed[i]);
	const answered = new Array(counts.length).fill(0);
	for (const row of counts) for (const [i, count] of row.entries()) answered[i] += count;
	return {
		right: counts.map((row, i) => row[i]),
		answered,
		support,
		count: sum(support)
	};
}
function correctCount(matrix) {
	return sum(matrix.counts.map((row, i) => row[i]));
}
function accuracyScore(matrix) {
	return accuracyOf(talliesOf(matrix));
}
function balancedAccuracyScore(matrix) {
	return balancedAccuracyOf(talliesOf(matrix));
}
function precisionRecallFscoreSupport(matrix) {
	const { right, answered, support } = talliesOf(matrix);
	return matrix.counts.map((_, i) => ({
		precision: ratio(right[i], answered[i]),
		recall: ratio(right[i], support[i]),
		f1: ratio(2 * right[i], answered[i] + support[i]),
		support: support[i]
	}));
}
function occurringClasses(matrix, perClass) {
	const { answered } = talliesOf(matrix);
	return perClass.filter((one, i) => one.support > 0 || answered[i] > 0);
}
function averageMetrics(perClass, average) {
	const isMacro = oneOf(average, ["macro", "weighted"], "averageMetrics: `average`") === "macro";
	const weights = perClass.map((one) => isMacro ? 1 : one.support);
	const mean = (values) => ratio(sum(values.map((value, i) => value * weights[i])), sum(weights));
	return {
		precision: mean(perClass.map((one) => one.precision)),
		recall: mean(perClass.map((one) => one.recall)),
		f1: mean(perClass.map((one) => one.f1))
	};
}
function matthewsCorrcoef(matrix) {
	const { right, answered, support, count } = talliesOf(matrix);
	const invalid = sum(matrix.unparsed);
	const together = sum(matrix.counts.map((_, i) => answered[i] * support[i]));
	const squares = (of) => sum(Array.from(of, (value) => value * value));
	const covariance = sum(Array.from(right)) * count - together;
	const spread = (count ** 2 - squares(answered) - invalid ** 2) * (count ** 2 - squares(support));
	return spread === 0 ? 0 : covariance / Math.sqrt(spread);
}
function cohenKappaScore(matrix) {
	const { answered, support, count } = talliesOf(matrix);
	const byChance = sum(matrix.counts.map((_, i) => answered[i] * support[i])) / count;
	return 1 - (count - correctCount(matrix)) / (count - byChance);
}
function accuracyOf({ right, count }) {
	let all = 0;
	for (let i = 0; i < right.length; i++) all += right[i];
	return ratio(all, count);
}
function balancedAccuracyOf({ right, support }) {
	let recalls = 0;
	let classes = 0;
	for (let i = 0; i < right.length; i++) {
		if (support[i] === 0) continue;
		recalls += right[i] / support[i];
		classes++;
	}
	return ratio(recalls, classes);
}
function macroF1Of({ right, answered, support }) {
	let all = 0;
	for (let i = 0; i < right.length; i++) all += ratio(2 * right[i], answered[i] + support[i]);
	return ratio(all, right.length);
}
function weightedF1Of({ right, answered, support, count }) {
	let all = 0;
	for (let i = 0; i < right.length; i++) all += support[i] * ratio(2 * right[i], answered[i] + support[i]);
	return ratio(all, count);
}
function sum(values) {
	return values.reduce((a, b) => a + b, 0);
}
function ratio(part, whole) {
	return whole === 0 ? 0 : part / whole;
}
function requireConfusion(matrix) {
	const { counts, unparsed } = isObject(matrix) ? matrix : {};
	const isRow = (row) => Array.isArray(row) && row.length === counts.length && Array.from(row).every((one) => one >= 0);
	if (Array.isArray(counts) && [...counts, unparsed].every(isRow)) return;
	throw new ConfigError(`confusion matrix: expected { counts: [K][K], unparsed: [K] } of K classes, got ${describeGiven(matrix)}`, { hint: "confusionMatrix(expected, predicted, classCount) makes one; that of a report is `report.confusion`." });
}
function oneOf(value, known, what) {
	if (known.includes(value)) return value;
	throw new ConfigError(`${what}: expected one of ${known.join(", ")}, got ${describeGiven(value)}`);
}
// src/eval/normal-distribution.ts
function normalCdf(z) {
	return z < 0 ? erfc(-z / Math.SQRT2) / 2 : 1 - erfc(z / Math.SQRT2) / 2;
}
function normalQuantile(p) {
	if (!(p > 0)) return Number.NEGATIVE_INFINITY;
	if (!(p < 1)) return Number.POSITIVE_INFINITY;
	if (p > .5) return -normalQuantile(1 - p);
	let [low, high] = [-38, 0];
	for (let i = 0; i < 60; i++) {
		const middle = (low + high) / 2;
		if (normalCdf(middle) < p) low = middle;
		else high = middle;
	}
	return (low + high) / 2;
}
function erfc(x) {
	if (x < 2) {
		let term = x;
		let total = x;
		for (let n = 1; term > total * 1e-17; n++) {
			term *= 2 * x * x / (2 * n + 1);
			total += term;
		}
		return 1 - 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * total;
	}
	let fraction = 0;
	for (let n = 120; n > 0; n--) fraction = n / 2 / (x + fraction);
	return Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction));
}
// src/eval/significance.ts
const Z_95 = 1.959963984540054;
function wilsonInterval(successes, total, z = Z_95) {
	if (!(successes >= 0 && successes <= total)) throw new ConfigError(`wilsonInterval: expected 0 to ${total} successes of ${total} samples, got ${successes}`);
	if (total === 0) return {
		low: 0,
		high: 1
	};
	const p = successes / total;
	const centre = p + z * z / (2 * total);
	const spread = z * Math.sqrt(p * (1 - p) / total + z * z / (4 * total * total));
	const scale = 1 + z * z / total;
	return {
		low: successes === 0 ? 0 : (centre - spread) / scale,
		high: successes === total ? 1 : (centre + spread) / scale
	};
}
function zOfLevel(confidenceLevel) {
	return confidenceLevel === .95 ? Z_95 : -normalQuantile((1 - confidenceLevel) / 2);
}
function mcnemarExact(gained, lost) {
	requireChanges(gained, lost, "mcnemarExact");
	const n = gained + lost;
	let logTerm = -n * Math.LN2;
	let tail = 0;
	for (let i = 0; i <= Math.min(gained, lost); i++) {
		tail += Math.exp(logTerm);
		logTerm += Math.log((n - i) / (i + 1));
	}
	return Math.min(1, 2 * tail);
}
function mcnemarChiSquare(gained, lost, correction = true) {
	requireChanges(gained, lost, "mcnemarChiSquare");
	const difference = Math.max(0, Math.abs(gained - lost) - (correction ? 1 : 0));
	const statistic = gained + lost === 0 ? 0 : difference ** 2 / (gained + lost);
	return {
		statistic,
		pValue: erfc(Math.sqrt(statistic / 2))
	};
}
function pairedDifferenceInterval(gained, lost, total, z = Z_95) {
	requireChanges(gained, lost, "pairedDifferenceInterval");
	requireInteger(total, "pairedDifferenceInterval: `total`", gained + lost);
	const n = total + 2;
	const difference = (gained - lost) / n;
	const spread = z * Math.sqrt((gained + lost + 1) / n - difference ** 2) / Math.sqrt(n);
	return {
		low: Math.max(-1, difference - spread),
		high: Math.min(1, difference + spread)
	};
}
function requireChanges(gained, lost, what) {
	requireInteger(gained, `${what}: \`gained\``, 0);
	requireInteger(lost, `${what}: \`lost\``, 0);
}
// src/eval/check-report.ts
const count = int().nonnegative();
const share = number();
const interval = looseObject({
	low: share,
	high: share
});
const sampleSchema = looseObject({
	id: string(),
	expected: count,
	predicted: count.nullable(),
	answer: string(),
	scores: array(share).optional(),
	confidence: share.min(0).max(1).optional()
});
const reportSchema = looseObject({
	classNames: array(string()),
	mode: _enum([
		"free",
		"constrained",
		"scored"
	]).optional(),
	answerMode: _enum(["exact", "normalized"]).optional(),
	count,
	datasetLength: count,
	correct: count,
	accuracy: share,
	accuracyInterval: interval,
	macroF1: share,
	macroF1Occurring: share.optional(),
	perClass: array(looseObject({
		name: string(),
		precision: share,
		recall: share,
		f1: share,
		support: count
	})),
	confusion: looseObject({
		counts: array(array(count)),
		unparsed: array(count)
	}),
	probabilities: looseObject({
		topKAccuracy: array(share),
		logLoss: share,
		brierScoreLoss: share,
		expectedCalibrationError: share,
		riskCoverageArea: share
	}).optional(),
	intervals: looseObject({
		confidenceLevel: share,
		accuracy: interval,
		balancedAccuracy: interval,
		macroF1: interval,
		weightedF1: interval
	}).optional(),
	samples: array(sampleSchema),
	seconds: share
});
const matrixSchema = reportSchema.pick({
	classNames: true,
	confusion: true
});
function requireReport(report, what) {
	requireKind("report", report, what);
	const { classNames, confusion, perClass, samples } = parseOptions(reportSchema, report, what);
	requireSizes(classNames, confusion, what);
	if (perClass.length !== classNames.length) throw new ConfigError(`${what}: \`perClass\` is not of the ${classNames.length} \`classNames\` of the report`);
	requireClasses(samples, classNames.length, what);
}
function requireMatrix(report, what) {
	if (!isObject(report) || !("confusion" in report)) requireKind("report", report, what);
	const { classNames, confusion } = parseOptions(matrixSchema, report, what);
	requireSizes(classNames, confusion, what);
}
function requireSizes({ length }, confusion, what) {
	if ([
		confusion.unparsed,
		confusion.counts,
		...confusion.counts
	].map((row) => row.length).every((size) => size === length)) return;
	throw new ConfigError(`${what}: \`confusion\` is not of the ${length} \`classNames\` of the report`);
}
function requireSamples(samples, what) {
	const hint = "collect `samples` of what stream yields";
	parseOptions(array(sampleSchema, { error: () => `expected a list of answered samples, got ${describeGiven(samples)}; ${hint}` }), samples, what);
}
function requireClasses(samples, classCount, what) {
	for (const [i, { id, expected, predicted, scores }] of samples.entries()) {
		const label = [expected, predicted].find((one) => one !== null && one >= classCount);
		if (label === void 0 && (scores === void 0 || scores.length === classCount)) continue;
		const came = label === void 0 ? `${scores.length} scores` : `class ${label}`;
		throw new DataError(`${what}: expected one of ${classCount} classes for sample ${oneLine(id)}, got ${came} at ${i}`, { hint: "The samples must be of the same classes in the same order as `classNames`." });
	}
}
// src/eval/format-figures.ts
function headline(report) {
	const { low, high } = report.accuracyInterval;
	const unparsed = sum(report.confusion.unparsed);
	const part = report.count < report.datasetLength ? ` (of ${report.datasetLength})` : "";
	const occurring = occurringClasses(report.confusion, report.perClass);
	const ofOccurring = occurring.length < report.perClass.length ? ` (${averageMetrics(occurring, "macro").f1.toFixed(3)} over the ${occurring.length} of ${report.perClass.length} classes that occur)` : "";
	return [`Accuracy ${percent(report.accuracy)} (95 % interval ${percent(low)} to ${percent(high)}), macro F1 ${report.macroF1.toFixed(3)}${ofOccurring}`, `${report.correct} of ${report.count} samples${part} right, ${unparsed} ${unparsed === 1 ? "answer that is" : "answers that are"} no class name`];
}
function percent(value) {
	return `${(value * 100).toFixed(1)} %`;
}
function points(value) {
	return `${(value * 100).toFixed(1)} pp`;
}
function decimals(value) {
	return value.toFixed(3);
}
function signed(value, format) {
	const text = format(Math.abs(value));
	if (!/[1-9]/.test(text)) return text;
	return `${value > 0 ? "+" : "−"}${text}`;
}
function between({ low, high }, format) {
	return `${format(low)} to ${format(high)}`;
}
// src/messages/markdown.ts
function escapeMarkdown(text) {
	return onOneLine(text).replace(/[\\`*[\]~|$]/g, "\\$&").replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "\\_").replace(/&(?=#?\w+;)/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/:(?=\/\/)/g, "&#58;").replace(/\/\//g, "/&#47;").replace(/\b(www)\./gi, "$1&#46;").replace(/(^| )#/g, "$1\\#").replace(/^( *\d+)([.)])(?= |$)/, "$1\\$2").replace(/^( *)([-+])(?= |$|\2)/, "$1\\$2").replace(/^( *)=(?==* *$)/, "$1\\=");
}
function markdownCode(text) {
	const line = onOneLine(text);
	if (line.trim() === "" || /[`<]|\\\|/.test(line)) return `<code>${escapeMarkdown(line)}</code>`;
	return `\`${line.replaceAll("|", "\\|")}\``;
}
function yamlString(text) {
	return JSON.stringify(text.replace(/\p{Surrogate}/gu, "�")).replace(/[^\x20-\x7e\p{L}\p{M}\p{N}\p{P}\p{S}]/gu, (character) => {
		const code = character.codePointAt(0).toString(16);
		return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
	});
}
function onOneLine(text) {
	return printable(text.replaceAll("	", "\\t")).replaceAll("\n", "\\n");
}
// src/eval/text-table.ts
function textTable(header, rows, align) {
	const cells = [header, ...rows].map((row) => row.map(tableCell));
	const widths = header.map((_, column) => Math.max(...cells.map((row) => displayWidth(row[column] ?? ""))));
	const lines = cells.map((row) => row.map((cell, column) => pad(cell, widths[column], align[column] ?? "left")).join("  ").trimEnd());
	return [
		lines[0],
		widths.map((width) => "─".repeat(width)).join("  "),
		...lines.slice(1)
	].join("\n");
}
function markdownTable(header, rows, align) {
	const line = (cells) => `| ${cells.map((cell) => escapeMarkdown(tableCell(cell))).join(" | ")} |`;
	const rule = `|${header.map((_, i) => align[i] === "right" ? "---:" : "---").join("|")}|`;
	return [
		line(header),
		rule,
		...rows.map(line)
	].join("\n");
}
function pad(cell, width, align) {
	const space = " ".repeat(width - displayWidth(cell));
	return align === "right" ? space + cell : cell + space;
}
// src/eval/report.ts
const METRICS_ALIGN = [
	"left",
	"right",
	"right",
	"right",
	"right"
];
function formatReport(report) {
	requireReport(report, "formatReport");
	const seconds = report.seconds > 0 ? `, ${report.seconds.toFixed(1)} s` : "";
	const tables = [textTable(...classTable(report), METRICS_ALIGN), textTable(...metricTable(report))];
	return `${headline(report).join("\n")}${seconds}\n\n${tables.join("\n\n")}`;
}
function reportMarkdown(report) {
	requireReport(report, "reportMarkdown");
	const tables = [markdownTable(...classTable(report), METRICS_ALIGN), markdownTable(...metricTable(report))];
	return `${headline(report).join(". ")}.\n\n${tables.join("\n\n")}`;
}
function reportJson(report) {
	return `${JSON.stringify(report, null, 2)}\n`;
}
async function writeReport(report, path) {
	requireReport(report, "writeReport");
	requirePath(path, "writeReport: `path`");
	await writeNamedFile(path, reportJson(report), "writeReport");
}
function compareSamples(before, after) {
	requireReport(before, "compareSamples: `before`");
	requireReport(after, "compareSamples: `after`");
	if (before.classNames.join("\0") !== after.classNames.join("\0")) throw new DataError(`comparison: expected reports on the same classes, got ${listed(before.classNames)} and ${listed(after.classNames)}`);
	const earlier = new Map();
	for (const one of before.samples) {
		const same = earlier.get(one.id);
		if (same) same.push(one);
		else earlier.set(one.id, [one]);
	}
	const seen = new Map();
	let paired = 0;
	let mismatched = 0;
	let gained = 0;
	let lost = 0;
	for (const one of after.samples) {
		const place = seen.get(one.id) ?? 0;
		seen.set(one.id, place + 1);
		const other = earlier.get(one.id)?.[place];
		if (!other) continue;
		if (other.expected !== one.expected) {
			mismatched++;
			continue;
		}
		paired++;
		const isRight = one.predicted === one.expected;
		const wasRight = other.predicted === other.expected;
		if (isRight && !wasRight) gained++;
		if (wasRight && !isRight) lost++;
	}
	const delta = (metric) => metric(after.confusion) - metric(before.confusion);
	return {
		accuracyDelta: after.accuracy - before.accuracy,
		balancedAccuracyDelta: delta(balancedAccuracyScore),
		macroF1Delta: after.macroF1 - before.macroF1,
		weightedF1Delta: delta(weightedF1),
		paired,
		mismatched,
		gained,
		lost,
		pValue: mcnemarExact(gained, lost),
		chiSquare: mcnemarChiSquare(gained, lost),
		accuracyDeltaInterval: pairedDifferenceInterval(gained, lost, paired)
	};
}
function listed(names) {
	const more = names.length > 20 ? `, … ${names.length} in all` : "";
	return `[${names.slice(0, 20).map(oneLine).join(", ")}${more}]`;
}
function compareReports(before, after) {
	requireReport(before, "compareReports: `before`");
	requireReport(after, "compareReports: `after`");
	return `${textTable(...comparisonTable(before, after))}\n\n${pairedLine(before, after)}`;
}
function comparisonMarkdown(before, after) {
	requireReport(before, "comparisonMarkdown: `before`");
	requireReport(after, "comparisonMarkdown: `after`");
	return `${markdownTable(...comparisonTable(before, after))}\n\n${pairedLine(before, after)}`;
}
function classTable(report) {
	const names = distinctNames(report.perClass.map(({ name }) => name));
	return [[
		"class",
		"precision",
		"recall",
		"F1",
		"support"
	], report.perClass.map((one, i) => [
		names[i],
		one.precision.toFixed(3),
		one.recall.toFixed(3),
		one.f1.toFixed(3),
		String(one.support)
	])];
}
const weightedF1 = (confusion) => weightedF1Of(talliesOf(confusion));
function metricTable(report) {
	const { confusion, intervals, probabilities } = report;
	const row = (name, value, format, interval) => {
		return [
			name,
			format(value),
			...intervals ? [interval ? between(interval, format) : ""] : []
		];
	};
	const rows = [
		row("balanced accuracy", balancedAccuracyScore(confusion), percent, intervals?.balancedAccuracy),
		row("macro F1", macroF1Of(talliesOf(confusion)), decimals, intervals?.macroF1),
		row("weighted F1", weightedF1(confusion), decimals, intervals?.weightedF1)
	];
	if (probabilities) {
		for (const [i, share] of probabilities.topKAccuracy.entries()) if (i > 0) rows.push(row(`top-${i + 1} accuracy`, share, percent));
		rows.push(row("log loss", probabilities.logLoss, decimals), row("Brier score", probabilities.brierScoreLoss, decimals), row("calibration error (ECE)", probabilities.expectedCalibrationError, percent));
	}
	return [
		[
			"metric",
			"value",
			...intervals ? [`${Number((100 * intervals.confidenceLevel).toPrecision(4))} % bootstrap interval`] : []
		],
		rows,
		[
			"left",
			"right",
			"right"
		]
	];
}
function comparisonTable(before, after) {
	const row = (name, a, b, format, change = format) => [
		name,
		format(a),
		format(b),
		signed(b - a, change)
	];
	const of = (metric) => [metric(before.confusion), metric(after.confusion)];
	const names = distinctNames(after.perClass.map(({ name }) => name));
	return [
		[
			"",
			"before",
			"after",
			"change"
		],
		[
			row("accuracy", before.accuracy, after.accuracy, percent, points),
			row("balanced accuracy", ...of(balancedAccuracyScore), percent, points),
			row("macro F1", before.macroF1, after.macroF1, decimals),
			row("weighted F1", ...of(weightedF1), decimals),
			row("answers that are no class", ...of(({ unparsed }) => sum(unparsed)), String),
			...after.perClass.map((one, i) => row(`F1 ${names[i]}`, before.perClass[i].f1, one.f1, decimals))
		],
		[
			"left",
			"right",
			"right",
			"right"
		]
	];
}
function pairedLine(before, after) {
	const { paired, mismatched, gained, lost, pValue, accuracyDeltaInterval } = compareSamples(before, after);
	const others = mismatched > 0 ? `\nIds in both with another true class, left out: ${mismatched}. Are these the same samples?` : "";
	if (paired === 0) return `The reports share no samples, so the difference cannot be tested.${others}`;
	const p = pValue < .001 ? "p < 0.001" : `p = ${pValue.toFixed(3)}`;
	const { low, high } = accuracyDeltaInterval;
	return `Of ${paired} samples in both, ${gained} became right and ${lost} became wrong (McNemar's exact test: ${p}).\nOn them accuracy changed by ${`${signed((gained - lost) / paired, points)}, 95 % interval ${signed(low, points)} to ${signed(high, points)}`} (pp: percentage points).${others}`;
}
export { accuracyScore as A, occurringClasses as B, mcnemarExact as C, normalCdf as D, zOfLevel as E, confusionMatrix as F, sum as H, correctCount as I, macroF1Of as L, balancedAccuracyOf as M, balancedAccuracyScore as N, normalQuantile as O, cohenKappaScore as P, matthewsCorrcoef as R, mcnemarChiSquare as S, wilsonInterval as T, talliesOf as U, precisionRecallFscoreSupport as V, weightedF1Of as W, signed as _, reportMarkdown as a, requireReport as b, textTable as c, yamlString as d, between as f, points as g, percent as h, formatReport as i, averageMetrics as j, accuracyOf as k, escapeMarkdown as l, headline as m, compareSamples as n, writeReport as o, decimals as p, comparisonMarkdown as r, markdownTable as s, compareReports as t, markdownCode as u, requireClasses as v, pairedDifferenceInterval as w, requireSamples as x, requireMatrix as y, normalizeConfusion as z };
