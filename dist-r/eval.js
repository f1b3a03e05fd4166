import { A as accuracyScore, B as occurringClasses, C as mcnemarExact, F as confusionMatrix, H as sum, N as balancedAccuracyScore, P as cohenKappaScore, R as matthewsCorrcoef, S as mcnemarChiSquare, T as wilsonInterval, V as precisionRecallFscoreSupport, _ as signed, b as requireReport, c as textTable, f as between, g as points, h as percent, j as averageMetrics, n as compareSamples, p as decimals, s as markdownTable, w as pairedDifferenceInterval, y as requireMatrix, z as normalizeConfusion } from "./report-BTHP2jM-.js";
import { _ as calibrationCurve, a as requireClassNames, d as buildReport, g as topKAccuracyScore, h as softmax, m as logLoss, p as brierScoreLoss, v as bootstrapIntervals } from "./check-evaluation-D11ct8Gu.js";
import { C as tableCell, n as ConfigError, r as DataError, x as oneLine } from "./errors-D4G-NQir.js";
import { b as showValue, g as describeGiven, o as requirePath, v as isObject } from "./config-BAD1VLMT.js";
import { i as thresholdForRisk, n as riskCoverageArea, r as riskCoverageCurve, t as abstainBelow } from "./risk-coverage-Dih9Y-dd.js";
import { f as writeNamedFile } from "./atomic-file-D2Hfhe-X.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
// src/eval/error-cost.ts
function errorCost(report, costs, invalidCost) {
	requireMatrix(report, "errorCost: `report`");
	const { counts, unparsed } = report.confusion;
	const size = counts.length;
	if (!Array.isArray(costs) || costs.length !== size) throw new ConfigError(`errorCost: \`costs\`: expected ${size} rows, one a class, got ${describeGiven(costs)}`, { hint: "Write a row for each true class, with the cost of each answer in it." });
	const rows = costs.map((row, i) => requireCosts(row, size, `\`costs[${i}]\``));
	const invalid = sum(unparsed);
	if (invalidCost === void 0 && invalid > 0) throw new ConfigError(`errorCost: ${invalid} answers are no class, and \`invalidCost\` is missing`, { hint: "Give the cost of such an answer: errorCost(report, costs, 1)." });
	const ofInvalid = requireCosts(typeof invalidCost === "object" ? invalidCost : new Array(size).fill(invalidCost ?? 0), size, "`invalidCost`").map((cost, i) => unparsed[i] === 0 ? 0 : cost * unparsed[i]);
	const perClass = rows.map((row, r) => sum(row.map((cost, c) => cost * counts[r][c])) + ofInvalid[r]);
	const samples = sum(counts.map(sum)) + invalid;
	const total = sum(perClass);
	return {
		total,
		mean: samples === 0 ? 0 : total / samples,
		perClass,
		invalid: sum(ofInvalid)
	};
}
function requireCosts(values, size, what) {
	if (Array.isArray(values) && values.length === size && Array.from(values).every(Number.isFinite)) return values;
	throw new ConfigError(`errorCost: ${what}: expected ${size} finite numbers, one a class, got ${describeGiven(values)}`);
}
// src/eval/subset-report.ts
function subsetReport(report, selection) {
	requireReport(report, "subsetReport");
	const { samples, classNames, mode = "free", answerMode, seconds } = report;
	const chosen = samplesOf(report, selection);
	return buildReport(samples.filter((one) => chosen.has(one)), {
		classNames,
		mode,
		answerMode,
		datasetLength: chosen.size,
		seconds: seconds * chosen.size / samples.length
	});
}
function samplesOf(report, selection) {
	const { samples } = report;
	if (typeof selection === "string" || typeof selection?.[Symbol.iterator] !== "function") throw new DataError(`subsetReport: expected a list of ids or indices, got ${describeGiven(selection)}`, { hint: "Ids are those of the examples, as in `report.samples`." });
	const keys = [...selection];
	if (keys.length === 0) throw new DataError("subsetReport: no sample is selected");
	const isByIndex = keys.every((key) => typeof key === "number");
	if (isByIndex && report.count !== report.datasetLength) throw new DataError(`subsetReport: indices are those of the data set, of which ${report.count} of ${report.datasetLength} samples were evaluated`, { hint: "Select by the ids of samples." });
	const byId = new Map();
	for (const one of samples) {
		const same = byId.get(one.id);
		if (same) same.push(one);
		else byId.set(one.id, [one]);
	}
	const chosen = new Set();
	const unknown = [];
	for (const key of keys) {
		const at = isByIndex ? samples[key] : void 0;
		const found = at ? [at] : byId.get(key);
		if (found) for (const one of found) chosen.add(one);
		else unknown.push(typeof key === "string" ? oneLine(key) : describeGiven(key));
	}
	if (unknown.length > 0) {
		const more = unknown.length > 5 ? `, … ${unknown.length} in all` : "";
		throw new DataError(`subsetReport: these samples are not in the report: ${unknown.slice(0, 5).join(", ")}${more}`, {
			hint: isByIndex ? `Indices go from 0 to ${samples.length - 1}.` : "Ids are those of the examples, as in `report.samples`.",
			details: { unknown }
		});
	}
	return chosen;
}
// src/eval/compare-subsets.ts
function compareSubsets(report, subsets) {
	return textTable(...table(report, subsets, "compareSubsets"));
}
function subsetsMarkdown(report, subsets) {
	return markdownTable(...table(report, subsets, "subsetsMarkdown"));
}
function table(report, subsets, what) {
	requireReport(report, what);
	if (!isObject(subsets) || Array.isArray(subsets)) throw new ConfigError(`${what}: expected lists of samples by name, got ${describeGiven(subsets)}`, { hint: `Write ${what}(report, { 'leak-free': ids }).` });
	const parts = Object.entries(subsets);
	const whole = subsetReport(report, report.samples.map((one) => one.id));
	const all = [whole, ...parts.map(([, selection]) => subsetReport(report, selection))];
	const row = (name, value, format, change) => [name, ...all.map((one, i) => {
		const text = format(value(one));
		return i > 0 && change ? `${text} (${signed(value(one) - value(whole), change)})` : text;
	})];
	const rows = [
		row("samples", (one) => one.count, String),
		row("accuracy", (one) => one.accuracy, percent, points),
		["95 % interval", ...all.map((one) => between(one.accuracyInterval, percent))],
		row("balanced accuracy", (one) => one.balancedAccuracy, percent, points),
		row("macro F1, classes that occur", (one) => one.macroF1Occurring, decimals, decimals),
		row("weighted F1", (one) => one.weightedF1, decimals, decimals),
		row("answers that are no class", (one) => one.invalidShare, percent, points)
	];
	const names = ["all", ...parts.map(([name]) => tableCell(name))];
	return [
		["", ...names],
		rows,
		["left", ...names.map(() => "right")]
	];
}
// src/eval/csv-records.ts
function parseCsv(text, path) {
	const records = [];
	let line = 1;
	for (let at = 0; at < text.length;) {
		const begin = line;
		const fail = (message) => {
			throw new DataError(`${oneLine(path)}, line ${begin}: ${message}`, {
				hint: "Fields with quotes are written as \"a \"\"quoted\"\" word\".",
				details: {
					path,
					line: begin
				}
			});
		};
		const fields = [];
		for (let isLast = false; !isLast;) {
			let field = "";
			if (text[at] === "\"") {
				let end = text.indexOf("\"", at + 1);
				while (end >= 0 && text[end + 1] === "\"") end = text.indexOf("\"", end + 2);
				if (end < 0) fail("a quote is not closed");
				field = text.slice(at + 1, end).replaceAll("\"\"", "\"");
				at = end + 1;
			} else {
				const start = at;
				while (at < text.length && text[at] !== "," && text[at] !== "\n") at++;
				field = text.slice(start, at);
				if (text[at] !== "," && field.endsWith("\r")) field = field.slice(0, -1);
			}
			for (let next = field.indexOf("\n"); next >= 0; next = field.indexOf("\n", next + 1)) line++;
			fields.push(field);
			if (text[at] === "\r" && text[at + 1] === "\n") at++;
			isLast = at >= text.length || text[at] === "\n";
			if (!isLast && text[at] !== ",") fail("there is text behind a closed quote");
			at++;
		}
		line++;
		if (fields.length > 1 || fields[0] !== "") records.push({
			line: begin,
			fields
		});
	}
	return records;
}
// src/eval/predictions.ts
const COLUMNS = [
	"id",
	"expected",
	"predicted",
	"correct",
	"confidence",
	"answer",
	"scores"
];
const MAX_BYTES = 1073741824;
function predictionsCsv(report) {
	requireReport(report, "predictionsCsv");
	const rows = report.samples.map((sample) => {
		const one = predictionOf(sample, report.classNames);
		return COLUMNS.map((column) => csvField(one[column])).join(",");
	});
	return [
		COLUMNS.join(","),
		...rows,
		""
	].join("\r\n");
}
function predictionsJsonl(report) {
	requireReport(report, "predictionsJsonl");
	return report.samples.map((sample) => `${JSON.stringify(predictionOf(sample, report.classNames))}\n`).join("");
}
async function writePredictions(report, path) {
	requireReport(report, "writePredictions");
	const text = isCsv(path, "writePredictions") ? predictionsCsv(report) : predictionsJsonl(report);
	await writeNamedFile(path, text, "writePredictions");
}
async function readPredictions(path, classNames) {
	const csv = isCsv(path, "readPredictions");
	requireClassNames(classNames, "readPredictions");
	let text;
	try {
		text = new TextDecoder("utf-8", { fatal: true }).decode(await readRegularFile(path, MAX_BYTES));
	} catch (cause) {
		const why = cause.code === "ENOENT" ? "no such file" : cause.message;
		throw new DataError(`${oneLine(path)}: cannot read the predictions: ${why}`, {
			details: { path },
			cause
		});
	}
	const labels = new Map(classNames.map((name, label) => [name, label]));
	return (csv ? csvRows(text, path) : jsonRows(text, path)).map(([line, row]) => sampleOf(row, labels, new Place(path, line)));
}
function isCsv(path, what) {
	requirePath(path, `${what}: \`path\``);
	const ending = /\.(csv|jsonl|ndjson)$/i.exec(path)?.[1]?.toLowerCase();
	if (ending !== void 0) return ending === "csv";
	throw new ConfigError(`${what}: expected a file that ends with .csv, .jsonl or .ndjson, got ${showValue(path)}`);
}
function predictionOf(sample, classNames) {
	const { id, expected, predicted, confidence, answer, scores } = sample;
	return {
		id,
		expected: classNames[expected],
		predicted: predicted === null ? null : classNames[predicted],
		correct: predicted === expected,
		confidence: confidence ?? null,
		answer,
		scores: scores ?? null
	};
}
const FORMULA = /^(?:\s*[=+\-@＝＋－＠]|[\t\r\n'])/;
function csvField(value) {
	if (value === null) return "";
	if (typeof value === "number" || typeof value === "boolean") return String(value);
	const text = typeof value === "string" ? value : JSON.stringify(value);
	return `"${(FORMULA.test(text) ? `'${text}` : text).replaceAll("\"", "\"\"")}"`;
}
var Place = class {
	path;
	line;
	constructor(path, line) {
		this.path = path;
		this.line = line;
	}
	fault(message, hint) {
		return new DataError(`${oneLine(this.path)}, line ${this.line}: ${message}`, {
			hint: hint ?? "Files of predictions are those that writePredictions writes.",
			details: {
				path: this.path,
				line: this.line
			}
		});
	}
};
function csvRows(text, path) {
	const [header, ...records] = parseCsv(text, path);
	const missing = COLUMNS.filter((column) => !header?.fields.includes(column));
	if (!header || missing.length > 0) throw new Place(path, 1).fault(`the columns ${missing.join(", ")} are missing`);
	const index = COLUMNS.map((column) => header.fields.indexOf(column));
	return records.map(({ line, fields }) => {
		const place = new Place(path, line);
		if (fields.length !== header.fields.length) throw place.fault(`expected ${header.fields.length} fields, got ${fields.length}`);
		const cell = Object.fromEntries(COLUMNS.map((column, i) => [column, fields[index[i]]]));
		const unguarded = (field) => field.startsWith("'") ? field.slice(1) : field;
		const value = (field) => field === "" ? null : parseValue(field, place);
		return [line, {
			id: unguarded(cell.id),
			expected: unguarded(cell.expected),
			predicted: cell.predicted === "" ? null : unguarded(cell.predicted),
			confidence: value(cell.confidence),
			answer: unguarded(cell.answer),
			scores: value(cell.scores)
		}];
	});
}
function jsonRows(text, path) {
	return text.split("\n").flatMap((content, i) => {
		if (content.trim() === "") return [];
		const place = new Place(path, i + 1);
		const row = parseValue(content, place);
		if (typeof row !== "object" || row === null || Array.isArray(row)) throw place.fault("expected an object");
		return [[i + 1, row]];
	});
}
function parseValue(text, place) {
	try {
		return JSON.parse(text);
	} catch {
		throw place.fault(`expected JSON, got ${showValue(text)}`);
	}
}
function sampleOf(row, labels, place) {
	const text = (column) => {
		const value = row[column];
		if (typeof value === "string") return value;
		throw place.fault(`\`${column}\`: expected a string, got ${showValue(value)}`);
	};
	const label = (column) => {
		const found = labels.get(text(column));
		if (found !== void 0) return found;
		throw place.fault(`\`${column}\`: ${showValue(row[column])} is not in \`classNames\``, "Give the class names of the report that the file was written from.");
	};
	const { confidence, scores, predicted } = row;
	const isShare = typeof confidence === "number" && confidence >= 0 && confidence <= 1;
	if (confidence !== null && !isShare) throw place.fault(`\`confidence\`: expected a number from 0 to 1, got ${showValue(confidence)}`);
	const isList = Array.isArray(scores) && scores.length === labels.size && scores.every(Number.isFinite);
	if (scores !== null && !isList) throw place.fault(`\`scores\`: expected a list of ${labels.size} numbers, got ${showValue(scores)}`);
	return {
		id: text("id"),
		expected: label("expected"),
		predicted: predicted === null ? null : label("predicted"),
		answer: text("answer"),
		...isList && { scores },
		...isShare && { confidence }
	};
}
export { abstainBelow, accuracyScore, averageMetrics, balancedAccuracyScore, bootstrapIntervals, brierScoreLoss, calibrationCurve, cohenKappaScore, compareSamples, compareSubsets, confusionMatrix, errorCost, logLoss, matthewsCorrcoef, mcnemarChiSquare, mcnemarExact, normalizeConfusion, occurringClasses, pairedDifferenceInterval, precisionRecallFscoreSupport, predictionsCsv, predictionsJsonl, readPredictions, riskCoverageArea, riskCoverageCurve, softmax, subsetReport, subsetsMarkdown, thresholdForRisk, topKAccuracyScore, wilsonInterval, writePredictions };
