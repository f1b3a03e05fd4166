import { a as custom } from "./zod-CVDjCv3S.js";
import { S as printable, n as ConfigError } from "./errors-D4G-NQir.js";
// src/messages/show-value.ts
const MAX_LENGTH = 120;
const MAX_DEPTH = 3;
const MAX_ITEMS = 8;
function showValue(value) {
	const text = printable(write(value, 0));
	return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}
function write(value, depth) {
	if (typeof value === "string") return JSON.stringify(value.length > MAX_LENGTH ? value.slice(0, MAX_LENGTH) : value);
	if (value === void 0) return "nothing";
	if (typeof value === "bigint") return `${value}n`;
	if (typeof value === "function") return showFunction(value);
	if (typeof value !== "object" || value === null) return String(value);
	const isList = Array.isArray(value);
	const name = isList ? void 0 : className(value);
	if (ArrayBuffer.isView(value)) return `${name ?? "an array"}(${value.length ?? value.byteLength})`;
	if (name !== void 0) return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name === "Promise" ? "promise" : name}`;
	const [open, close] = isList ? "[]" : "{}";
	const keys = isList ? [] : Object.keys(value);
	const length = isList ? value.length : keys.length;
	if (length === 0) return `${open}${close}`;
	if (depth === MAX_DEPTH) return `${open}…${close}`;
	return `${open}${Array.from({ length: Math.min(length, MAX_ITEMS) }, (_, i) => {
		if (isList) return write(value[i], depth + 1);
		return `${write(keys[i], depth)}:${write(value[keys[i]], depth + 1)}`;
	}).join(",")}${length > MAX_ITEMS ? ",…" : ""}${close}`;
}
function className(value) {
	const prototype = Object.getPrototypeOf(value);
	if (prototype === null || Object.getPrototypeOf(prototype) === null) return void 0;
	const name = prototype.constructor?.name;
	return typeof name === "string" && name !== "" ? name : "value of a class without a name";
}
function showFunction({ name, prototype }) {
	return typeof prototype === "object" && prototype !== null && /^[A-Z]/.test(name) ? `the class ${name}` : "a function";
}
// src/messages/given-kind.ts
const isObject = (value) => typeof value === "object" && value !== null;
const isPromise = (value) => isObject(value) && typeof value.then === "function";
const can = (value, ...names) => names.every((name) => typeof value[name] === "function");
const isDataset = (value) => isObject(value) && can(value, "get") && typeof value.length === "number" && !Array.isArray(value);
const KINDS = {
	promise: ["a promise", (value) => can(value, "then")],
	model: ["a model", (value) => can(value, "lossSteps") || Array.isArray(value.linearModules)],
	engine: ["an engine", (value) => can(value, "createParameters", "loadWeight")],
	adapter: ["an adapter", (value) => Array.isArray(value.modules) && isObject(value.parameters)],
	pretrained: ["all that fromPretrained gives", (value) => isObject(value.model) && isObject(value.processor) && "folder" in value],
	tokenizer: ["a tokenizer", (value) => can(value, "encode", "decode", "streamingDecoder")],
	chatTemplate: ["a chat template", (value) => can(value, "render", "segments")],
	imagePool: ["an image pool", (value) => can(value, "process", "close")],
	imageProcessor: ["an image processor", (value) => can(value, "process") && "patchSize" in value],
	collator: ["a collator", (value) => can(value, "collate")],
	processor: ["a processor", (value) => isObject(value.tokenizer) && isObject(value.imageProcessor)],
	trainer: ["a trainer", (value) => can(value, "train", "evaluate")],
	evaluator: ["an evaluator", (value) => can(value, "evaluate", "stream", "report")],
	dataset: ["a data set", isDataset],
	imageFolder: ["an image folder", (value) => isDataset(value.train) || isDataset(value.test)],
	batch: ["a batch", (value) => "inputIds" in value && "attentionMask" in value],
	report: ["an evaluation report", (value) => "confusion" in value && "perClass" in value],
	sample: ["a sample", (value) => Array.isArray(value.messages) || "prompt" in value && "completion" in value],
	folderSample: ["a sample of an image folder", (value) => isObject(value.image) && "label" in value],
	samples: ["a list of samples", (value) => Array.isArray(value) && Array.isArray(value[0]?.messages)],
	messages: ["a list of messages", (value) => Array.isArray(value) && isObject(value[0]) && "role" in value[0]],
	image: ["an image", (value) => can(value, "decode") || value.data instanceof Uint8Array && "width" in value && "height" in value],
	loraConfig: ["a LoraConfig", (value) => can(value, "forModule", "toPeft")],
	controller: ["an AbortController", (value) => can(value, "abort") && isObject(value.signal)]
};
function isKind(value, kind) {
	return isObject(value) && KINDS[kind][1](value);
}
function kindOf(value) {
	if (!isObject(value)) return void 0;
	return Object.keys(KINDS).find((kind) => isKind(value, kind));
}
const nameOfKind = (kind) => KINDS[kind][0];
function describeGiven(value) {
	const kind = kindOf(value);
	if (kind !== void 0) return nameOfKind(kind);
	if (typeof value === "string") return value === "" ? "an empty string" : showValue(value);
	return showValue(value);
}
// src/require-given.ts
const SOURCES = {
	model: "const { model, processor } = await fromPretrained(…) gives one.",
	engine: "await createEngine('auto') makes one.",
	adapter: "applyLora and loadAdapter give one.",
	tokenizer: "It is `processor.tokenizer` of fromPretrained and loadProcessor.",
	chatTemplate: "It is `processor.chatTemplate`; new ChatTemplate(TUTORIAL_TEMPLATE) makes another one.",
	imageProcessor: "It is `processor.imageProcessor` of fromPretrained and loadProcessor.",
	imagePool: "new ImagePool(processor.imageProcessor) makes one.",
	collator: "new VlmCollator(processor) makes one.",
	dataset: "ImageFolder, ConversationDataset and IndexedDataset.from(array) give one.",
	batch: "Make one: await collator.collate([{ messages }]), or collator.collatePrompts([{ messages }]) to generate from.",
	report: "await evaluator.evaluate(dataset, { toExample }) gives one; from a file it is JSON.parse of its text.",
	loraConfig: "new LoraConfig({ r: 16, alpha: 32 }) makes one."
};
const INSTEAD = {
	"model<pretrained": "Take the model out of it: const { model, processor } = await fromPretrained(…).",
	"model<adapter": "Give the model itself; its adapter is on it.",
	"model<engine": "Load a model onto it: await fromPretrained(name, { engine }).",
	"model<string": "Load it first: const { model } = await fromPretrained(name).",
	"model<trainer": "Give the model that it trains.",
	"engine<string": "await createEngine(name) makes one.",
	"engine<model": "Give its `engine`.",
	"adapter<model": "It is what applyLora and loadAdapter return: const adapter = applyLora(model, config).",
	"tokenizer<processor": "Give its `tokenizer`.",
	"tokenizer<pretrained": "Give its `processor.tokenizer`.",
	"chatTemplate<processor": "Give its `chatTemplate`.",
	"chatTemplate<string": "Make one of the text: new ChatTemplate(text); of a folder: await ChatTemplate.fromFolder(folder).",
	"imageProcessor<processor": "Give its `imageProcessor`.",
	"imageProcessor<pretrained": "Give its `processor.imageProcessor`.",
	"imageProcessor<imagePool": "Give its `processor`, and the pool as `imagePool`.",
	"collator<processor": "Write new VlmCollator(processor).",
	"dataset<imageFolder": "Give one of its splits, e.g. `folder.test`.",
	"dataset<samples": "Write IndexedDataset.from(samples).",
	"batch<string": "Make a batch: await collator.collatePrompts([{ messages: [{ role: 'user', content: 'What is it?' }] }]).",
	"batch<sample": "Make a batch of it: await collator.collatePrompts([sample]); collator.collate([sample]) to train.",
	"batch<samples": "Make a batch of them: await collator.collatePrompts(samples); collator.collate(samples) to train.",
	"batch<messages": "Make a batch of them: await collator.collatePrompts([{ messages }]).",
	"batch<dataset": "Make a batch of some samples: await collator.collatePrompts([sample]).",
	"batch<folderSample": "Map it to its messages, and make a batch: await collator.collatePrompts([toExample(sample)])."
};
const ANYWHERE = { promise: "Await it." };
function requireKind(kind, value, what, call) {
	if (isKind(value, kind) && !isPromise(value)) {
		if ((kind === "model" || kind === "adapter") && value.isDisposed === true) throw new ConfigError(`${what}: the ${kind} is disposed of: its values are gone`, { hint: `Call dispose() after the last use, or load the ${kind} again.` });
		return;
	}
	const came = kindOf(value) ?? typeof value;
	const special = ANYWHERE[came] ?? INSTEAD[`${kind}<${came}`];
	const hint = [special ?? SOURCES[kind], special === void 0 && call ? `Write ${call}.` : void 0];
	throw wrong(what, nameOfKind(kind), value, hint.filter((line) => line !== void 0).join(" "));
}
function requireText(value, what, hint) {
	if (typeof value !== "string") throw wrong(what, "a string", value, hint);
}
function requireList(value, what, of, hint) {
	if (Array.isArray(value)) return;
	const single = isObject(value) && !isPromise(value) ? "Write one as [one]." : void 0;
	throw wrong(what, `a list of ${of}`, value, hint ?? single);
}
function requireCallback(value, what, hint, isOptional = false) {
	if (typeof value === "function" || isOptional && value === void 0) return;
	throw wrong(what, "a function", value, hint);
}
function requireInteger(value, what, min, max = Number.MAX_SAFE_INTEGER) {
	if (Number.isSafeInteger(value) && value >= min && value <= max) return;
	const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
	const quoted = typeof value === "string" ? "Write it without quotes." : void 0;
	throw wrong(what, `a whole number ${range}`, value, quoted);
}
function requireSignal(signal, what) {
	if (signal === void 0 || isObject(signal) && typeof signal.addEventListener === "function") return;
	const inner = isObject(signal) && "signal" in signal ? "Give its `signal`." : "AbortSignal.timeout(1000) makes one, in milliseconds.";
	throw wrong(`${what}: \`signal\``, "an AbortSignal", signal, inner);
}
function requireBoolean(value, what) {
	if (typeof value !== "boolean") throw wrong(what, "true or false", value, void 0);
}
function requireOptions(options, what) {
	if (options !== void 0) requireObject(options, what);
}
function requireObject(options, what) {
	if (!isOptions(options)) throw wrong(what, "an object of options", options, optionsHint(options));
}
function isContainer(value) {
	return value instanceof Map || value instanceof Set || value instanceof Date;
}
function isOptions(value) {
	if (!isObject(value) || Array.isArray(value) || isContainer(value)) return false;
	const kind = kindOf(value);
	return kind === void 0 || kind === "processor" || kind === "pretrained";
}
function optionsHint(value) {
	if (isPromise(value)) return ANYWHERE.promise;
	if (isObject(value) && typeof value["addEventListener"] === "function") return "Write { signal }.";
	return isKind(value, "controller") ? "Write { signal: controller.signal }." : void 0;
}
function wrong(what, expected, value, hint) {
	const known = isPromise(value) ? ANYWHERE.promise : hint;
	return new ConfigError(`${what}: expected ${expected}, got ${describeGiven(value)}`, known ? { hint: known } : {});
}
// src/config.ts
function parseOptions(schema, input, what, aliases = {}, shown = {}) {
	if (isPromise(input) || isContainer(input)) requireObject(input, what);
	const result = schema.safeParse(input, { error: () => "" });
	if (result.success) return result.data;
	if (kindOf(input) !== void 0 || typeof input === "function") requireObject(input, what);
	const faults = result.error.issues.slice(0, MAX_FAULTS).flatMap((issue) => {
		const path = issue.path.map((key, i) => i === 0 ? shown[String(key)] ?? String(key) : String(key)).join(".");
		const rename = (name) => Object.hasOwn(shown, name) ? shown[name] : name;
		return describeIssue(issue, path, schema, input, aliases).map((fault) => fault.replace(/\b[a-z]+[A-Z]\w*/g, rename));
	});
	if (faults.length > MAX_FAULTS) faults.splice(MAX_FAULTS, faults.length, "and more");
	const count = faults.length === 1 ? "" : `${faults.length} faults\n  - `;
	throw new ConfigError(`${what}: ${count}${faults.join("\n  - ")}`, {
		details: { faults },
		cause: result.error
	});
}
function functionOption() {
	return custom((value) => typeof value === "function", "expected a function");
}
function callback() {
	return functionOption();
}
function checkNames(options, names, what, aliases = {}) {
	requireObject(options, what);
	const known = Object.keys(names);
	const faults = [...known.filter((name) => names[name] && options[name] === void 0).map((name) => `\`${name}\` is missing`), ...Object.keys(options).flatMap((name) => Object.hasOwn(names, name) ? [] : unknownName(name, name, known, aliases))];
	if (faults.length > 0) throw new ConfigError(`${what}: ${faults.join("; ")}`, { details: { faults } });
}
function requirePath(path, what) {
	if (typeof path === "string" && path !== "") return;
	const given = path === "" ? "an empty one" : describeGiven(path);
	throw new ConfigError(`${what}: expected a path, got ${given}`, { hint: optionsHint(path) });
}
function unknownName(key, shown, known, aliases = {}) {
	const plain = key.toLowerCase().replaceAll("_", "");
	const near = Object.hasOwn(aliases, plain) ? aliases[plain] : nearestName(key, known);
	return `unknown option \`${shown}\`${near ? `; did you mean \`${near}\`?` : `; known: ${known.join(", ")}`}`;
}
const MAX_COMPARED = 300;
const MAX_KNOWN = 2e4;
const MAX_FAULTS = 30;
function describeIssue(issue, path, schema, input, aliases) {
	if (issue.code === "unrecognized_keys") {
		const known = knownKeys(schema, issue.path);
		return issue.keys.slice(0, 31).map((key) => unknownName(key, path ? `${path}.${key}` : key, known, aliases));
	}
	const fault = describeFault(issue, schemaAt(schema, issue.path), valueAt(input, issue.path));
	return [path ? `\`${path}\`: ${fault}` : fault];
}
function valueAt(input, path) {
	return path.reduce((value, key) => value?.[key], input);
}
function describeFault(issue, schema, value) {
	const { message } = issue;
	if (message !== "") return !message.startsWith("expected") || message.includes(", got ") ? message : `${message}, got ${showGiven(value)}`;
	if (issue.code === "invalid_key") return `expected a name of ${expectation(issue.issues[0], void 0)}`;
	const expected = expectation(issue, schema);
	if (value === void 0) return `is missing: expected ${expected}`;
	const words = wordsOf(issue);
	const near = typeof value === "string" && (words.length > 1 || issue.code === "invalid_union") ? nearestName(value, words) : void 0;
	return `expected ${expected}, got ${showGiven(value)}${near ? `; did you mean ${JSON.stringify(near)}?` : ""}`;
}
function showGiven(value) {
	return `${typeof value === "string" ? "the string " : ""}${showValue(value)}`;
}
const TYPES = {
	number: "a number",
	int: "a whole number",
	string: "a string",
	boolean: "true or false",
	array: "a list",
	object: "an object",
	record: "an object of names and values",
	map: "a Map",
	date: "a Date",
	function: "a function"
};
const UNITS = {
	array: ["entry", "entries"],
	string: ["character", "characters"]
};
function expectation(issue, schema) {
	switch (issue.code) {
		case "invalid_type": {
			const isInt = definition(schema)?.format === "safeint";
			if (issue.expected === "number" && "received" in issue) return `a finite number${isInt ? " without fraction" : ""}`;
			return isInt ? TYPES.int : TYPES[issue.expected] ?? issue.expected;
		}
		case "invalid_value": {
			const values = issue.values.map((value) => JSON.stringify(value));
			return values.length === 1 ? values[0] : `one of ${values.join(", ")}`;
		}
		case "too_small":
		case "too_big": {
			const [limit, low] = issue.code === "too_small" ? [issue.minimum, true] : [issue.maximum, false];
			const unit = UNITS[issue.origin];
			if (unit) return `at ${low ? "least" : "most"} ${limit} ${unit[limit === 1 ? 0 : 1]}`;
			if (issue.inclusive) return `at ${low ? "least" : "most"} ${limit}`;
			return `${low ? "more" : "less"} than ${limit}`;
		}
		case "invalid_union": {
			const options = definition(schema)?.["options"] ?? [];
			const faults = issue.errors.flatMap(([error], i) => error ? [{
				error,
				schema: bare(options[i])
			}] : []);
			const near = faults.filter(({ error }) => error.code !== "invalid_type" && error.code !== "invalid_value");
			const expected = (near.length > 0 ? near : faults).map((fault) => expectation(fault.error, fault.schema));
			return [...new Set(expected)].join(" or ");
		}
		default: return issue.message || "another value";
	}
}
function wordsOf(issue) {
	if (issue.code === "invalid_union") return issue.errors.flatMap((errors) => errors[0] ? wordsOf(errors[0]) : []);
	return issue.code === "invalid_value" ? issue.values.filter((value) => typeof value === "string") : [];
}
const definition = (schema) => schema?._zod?.def;
function bare(schema) {
	let inner = schema;
	for (let def = definition(inner); def; def = definition(inner)) {
		const next = def["innerType"] ?? def["in"];
		if (!next || "shape" in def) break;
		inner = next;
	}
	return inner;
}
function schemaAt(schema, path) {
	return bare(path.reduce((current, key) => {
		const def = definition(bare(current));
		return (def?.["shape"])?.[String(key)] ?? def?.["element"] ?? def?.["valueType"];
	}, schema));
}
function knownKeys(schema, path) {
	return Object.keys(definition(schemaAt(schema, path))?.["shape"] ?? {});
}
function nearestName(name, known) {
	if (name.length > MAX_COMPARED || known.length > MAX_KNOWN) return void 0;
	let best;
	let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
	for (const candidate of known) {
		const distance = editDistance(plainName(name), plainName(candidate));
		if (distance < bestDistance) {
			best = candidate;
			bestDistance = distance;
		}
	}
	return best;
}
const plainName = (name) => name.toLowerCase().replace(/[_-]/g, "");
function editDistance(a, b) {
	let row = Array.from({ length: b.length + 1 }, (_, j) => j);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
		row = next;
	}
	return row[b.length];
}
export { isKind as _, parseOptions as a, showValue as b, requireBoolean as c, requireKind as d, requireList as f, describeGiven as g, requireText as h, nearestName as i, requireCallback as l, requireSignal as m, checkNames as n, requirePath as o, requireOptions as p, functionOption as r, isOptions as s, callback as t, requireInteger as u, isObject as v, isPromise as y };
