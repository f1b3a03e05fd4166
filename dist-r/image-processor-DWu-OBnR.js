import { h as union, l as number, p as strictObject, r as array, s as literal, t as _enum, u as object } from "./zod-CVDjCv3S.js";
import { m as reasonOf, n as ConfigError, p as TuneError, r as DataError, s as ImageError, u as TextError, x as oneLine } from "./errors-D4G-NQir.js";
import { a as parseOptions, b as showValue, g as describeGiven, h as requireText, m as requireSignal, n as checkNames, o as requirePath, v as isObject$1 } from "./config-BAD1VLMT.js";
import { _ as findUnknownKey, b as unknownKey, c as imageName, g as describeKind, h as aliases, v as isRecord } from "./image-cells-BdLZPrXr.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
import { n as MAX_CONFIG_BYTES, r as parseJson } from "./read-json-BUQErRHs.js";
import { t as decodeWithin } from "./decode-budget-DsPqpzwm.js";
import { n as tokenBytes, t as BYTE_TO_CHAR } from "./byte-alphabet-DPuatloH.js";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { Script, createContext } from "node:vm";
import { Tokenizer } from "@huggingface/tokenizers";
// src/data/check-message.ts
const ROLES = [
	"system",
	"user",
	"assistant",
	"tool"
];
const SAMPLE_KEYS = [
	"messages",
	"images",
	"tools",
	"id",
	"prompt",
	"completion",
	"text"
];
const MESSAGE_KEYS = [
	"role",
	"content",
	"tool_calls",
	"tool_call_id",
	"name",
	"weight",
	"train",
	"prefix"
];
const PART_KEYS = {
	text: ["type", "text"],
	image: ["type", "image"],
	thinking: [
		"type",
		"thinking",
		"closed"
	]
};
const KEY_ROLES = {
	tool_calls: ["assistant"],
	reasoning_content: ["assistant"],
	weight: ["assistant"],
	train: ["assistant"],
	prefix: ["assistant"],
	tool_call_id: ["tool"],
	name: ["tool"]
};
const OTHER_ROLES = aliases({
	user: "human",
	assistant: "gpt bot ai model",
	system: "developer",
	tool: "function observation"
});
const LOADER = "ConversationDataset.fromRows reads the forms of OpenAI, Mistral, TRL, ShareGPT and LLaMA-Factory";
function requireSample(sample) {
	if (isRecord(sample) && !(sample instanceof Promise)) return;
	throw new DataError(`expected { messages: [...], images? }, got ${describeKind(sample)}`, { hint: Array.isArray(sample) ? "wrap the list: { messages: [...] }" : "let the data set yield samples in the form of SftExample" });
}
function checkSample(example) {
	const sample = example;
	requireSample(sample);
	const fault = (message, hint) => {
		throw new DataError(message, hint === void 0 ? {} : { hint });
	};
	const unknown = findUnknownKey(sample, SAMPLE_KEYS);
	if (unknown !== void 0) {
		const value = unknown === "image" ? "write `images: [image]`; " : "";
		throw fault(unknownKey(unknown, SAMPLE_KEYS), `${value}take keys that are not part of the sample out of it. ${LOADER}.`);
	}
	const { images, tools } = sample;
	if (images !== void 0 && images !== null && !Array.isArray(images)) throw fault(`\`images\`: expected a list, got ${describeKind(images)}`, "write `images: [image]` for one");
	for (const [i, image] of (images ?? []).entries()) checkImage(image, `\`images[${i}]\``, fault);
	if (tools === void 0 || tools === null) return;
	const isTool = (tool) => isRecord(tool) && isRecord(tool["function"]) && typeof tool["function"]["name"] === "string";
	const bad = Array.isArray(tools) ? tools.findIndex((tool) => !isTool(tool)) : 0;
	if (Array.isArray(tools) && bad < 0) return;
	throw fault(`${Array.isArray(tools) ? `\`tools[${bad}]\`` : "`tools`"}: expected a tool, got ${describeKind(Array.isArray(tools) ? tools[bad] : tools)}`, "write tools: [{ type: \"function\", function: { name, description, parameters } }]");
}
function checkMessage(message, index) {
	const given = message;
	const role = isRecord(given) ? given["role"] : void 0;
	let part;
	const fault = (what, hint = "expected { role, content }, content a string or a list of { type: \"text\", text } and { type: \"image\" }") => {
		const shown = typeof role === "string" ? oneLine(role) : role && showValue(role);
		return new TextError(`message ${index} (${shown}) is malformed${part === void 0 ? "" : ` in part ${part} of its content`}: ${what}`, {
			hint,
			details: {
				index,
				role,
				...part !== void 0 && { part }
			}
		});
	};
	if (!isRecord(given)) throw fault(`expected { role, content }, got ${describeKind(given)}`);
	const unknown = findUnknownKey(given, MESSAGE_KEYS);
	if (unknown !== void 0) throw fault(unknownKey(unknown, MESSAGE_KEYS), `remove or rename the key. ${LOADER}.`);
	if (typeof role !== "string") throw fault(role === void 0 ? "`role` is missing" : "`role` is no string");
	if (!ROLES.includes(role)) {
		const other = OTHER_ROLES.get(role.toLowerCase()) ?? ROLES.find((known) => known === role.toLowerCase());
		throw fault(`there is no role ${showValue(role)}${other ? `; did you mean "${other}"?` : ""}`, `roles: ${ROLES.join(", ")}. ${LOADER}.`);
	}
	checkKeysOfRole(given, role, fault);
	const { content } = given;
	if (typeof content === "string") return;
	if (!Array.isArray(content)) {
		if (content === void 0) throw fault("`content` is missing", "give its text; an answer without text is content: \"\" beside `tool_calls`");
		throw fault(`\`content\`: expected text or a list of parts, got ${describeKind(content)}`);
	}
	for (part = 0; part < content.length; part++) checkPart(content[part], role, fault);
}
function checkKeysOfRole(message, role, fault) {
	for (const [key, roles] of Object.entries(KEY_ROLES)) {
		const value = message[key];
		if (value === void 0 || value === null) continue;
		const saysNothing = key === "weight" && value === 0 || key === "train" && value === false;
		if (!roles.includes(role) && !saysNothing) throw fault(`\`${key}\` is a key of ${roles[0] === "tool" ? "a tool’s message" : "an assistant’s message"}`, "remove it, or correct the role: only the assistant’s messages are learned", key);
		if (key === "weight" && value !== 0 && value !== 1) throw fault(`\`weight\`: expected 0 or 1, got ${showValue(value)}`, "0: the answer is not learned");
		if ((key === "train" || key === "prefix") && typeof value !== "boolean") throw fault(`\`${key}\`: expected true or false, got ${showValue(value)}`, "write it without quotes");
		if ((key === "tool_call_id" || key === "name") && typeof value !== "string") throw fault(`\`${key}\`: expected text, got ${showValue(value)}`, "the id of the call and the name of the tool are text");
	}
	const { weight, train, tool_calls: calls } = message;
	if (weight === 0 && train === true || weight === 1 && train === false) throw fault(`\`weight: ${weight}\` and \`train: ${train}\` say opposite things`, "keep one of them");
	if (calls === void 0 || calls === null) return;
	const hint = "write tool_calls: [{ id, type: \"function\", function: { name, arguments } }], arguments JSON text or an object";
	if (!Array.isArray(calls)) throw fault(`\`tool_calls\`: expected a list, got ${describeKind(calls)}`, hint);
	for (const [i, call] of calls.entries()) {
		const called = isRecord(call) ? call["function"] : void 0;
		const args = isRecord(called) ? called["arguments"] : void 0;
		if (!isRecord(call) || !isRecord(called) || typeof called["name"] !== "string" || !(typeof args === "string" || isRecord(args))) throw fault(`\`tool_calls[${i}]\`: expected a call, got ${showValue(call)}`, hint);
		const unknown = findUnknownKey(call, [
			"id",
			"type",
			"function"
		]) ?? findUnknownKey(called, ["name", "arguments"]);
		if (unknown !== void 0) throw fault(`\`tool_calls[${i}]\`: ${unknownKey(unknown, [
			"id",
			"type",
			"function",
			"name",
			"arguments"
		])}`, hint);
	}
}
function checkPart(part, role, fault) {
	if (!isRecord(part)) throw fault(`expected { type: "text", text } or { type: "image" }, got ${describeKind(part)}`);
	const { type } = part;
	const known = typeof type === "string" && Object.hasOwn(PART_KEYS, type) ? PART_KEYS[type] : void 0;
	if (!known) {
		const hint = `parts have the type "text", "image" or "thinking". ${LOADER}.`;
		throw fault(type === void 0 ? "`type` is missing" : `unknown type ${showValue(type)}`, hint);
	}
	const unknown = findUnknownKey(part, known);
	if (unknown !== void 0) throw fault(type === "image" && /^(url|path|src|source|bytes|base64|data|file|images|image_?\w+)$/i.test(unknown) ? `unknown key \`${oneLine(unknown)}\`; did you mean \`image\`?` : unknownKey(unknown, known), `remove or rename the key. ${LOADER}.`);
	if (type === "text" && typeof part["text"] !== "string") throw fault(`\`text\`: expected text, got ${describeKind(part["text"])}`);
	if (type === "image" && part["image"] !== void 0 && part["image"] !== null) checkImage(part["image"], "`image`", fault);
	if (type === "thinking") {
		if (typeof part["thinking"] !== "string") throw fault(`\`thinking\`: expected text, got ${describeKind(part["thinking"])}`, "write { type: \"thinking\", thinking: \"...\" }");
		if (part["closed"] !== void 0 && part["closed"] !== null && typeof part["closed"] !== "boolean") throw fault(`\`closed\`: expected true or false, got ${showValue(part["closed"])}`, "write it without quotes");
		if (role !== "assistant" && role !== "system") throw fault("a `thinking` part belongs into an assistant’s or a system message", "give it as text, or correct the role");
	}
}
function checkImage(image, where, fault) {
	if (typeof image === "string" && image !== "") return;
	if (image instanceof Uint8Array) return;
	if (isRecord(image) && (typeof image["decode"] === "function" || "width" in image || "data" in image)) return;
	const hint = "give a path, encoded bytes, { width, height, data } or a lazy image";
	throw fault(`${where}: expected an image, got ${describeKind(image)}`, isRecord(image) && ("bytes" in image || "url" in image) ? `${hint}. ${LOADER}.` : hint);
}
// src/async/time-limit.ts
const context = createContext({ work: void 0 });
const script = new Script("work()");
function withinTime(milliseconds, work, onTimeout) {
	const outer = context.work;
	context.work = work;
	try {
		return script.runInContext(context, { timeout: milliseconds });
	} catch (error) {
		if (error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") throw onTimeout();
		throw error;
	} finally {
		context.work = outer;
	}
}
// src/data/tokenizer-files.ts
const MAX_TOKENIZER_BYTES = 50331648;
const MAX_ID = 4194303;
const MAX_ADDED_TOKENS = 2e4;
const MAX_TOKEN_LENGTH = 256;
const MAX_PATTERN_LENGTH = 4096;
const MAX_STEPS = 16;
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const KNOWN_PATTERNS = new Set([GPT2_PATTERN, "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"]);
function parseTokenizerJson(json, what = "tokenizer.json") {
	if (!isObject(json) || !isObject(json.model)) throw new TextError(`${what}: expected an object with \`model\`, \`pre_tokenizer\` and \`added_tokens\``, { hint: "give the parsed tokenizer.json of the model folder, not tekken.json or tokenizer_config.json" });
	const model = json.model;
	const refuse = (part, expected, found) => {
		throw new TextError(`${what}: \`${part}\` must be ${expected}, found ${showValue(found)}`, {
			hint: "only the byte-level BPE tokenizers of the Ministral family are supported",
			details: {
				part,
				found: showValue(found)
			}
		});
	};
	if (model.type !== void 0 && model.type !== "BPE") refuse("model.type", "\"BPE\"", model.type);
	if (!isObject(model.vocab)) refuse("model.vocab", "an object of token: id", typeof model.vocab);
	if (!Array.isArray(model.merges)) refuse("model.merges", "a list", typeof model.merges);
	if (model.byte_fallback === true) refuse("model.byte_fallback", "false", true);
	for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"]) if (model[affix]) refuse(`model.${affix}`, "empty", model[affix]);
	if (json.normalizer != null) refuse("normalizer", "null", json.normalizer);
	const decoder = json.decoder;
	if (!isObject(decoder) || decoder.type !== "ByteLevel") refuse("decoder", "of type ByteLevel", decoder);
	const listed = Array.isArray(json.added_tokens) ? json.added_tokens : [];
	if (listed.length > MAX_ADDED_TOKENS) refuse("added_tokens", `at most ${MAX_ADDED_TOKENS} tokens`, listed.length);
	const addedTokens = listed.map((entry) => {
		const { id, content } = entry ?? {};
		if (!isId(id) || typeof content !== "string" || content === "" || content.length > MAX_TOKEN_LENGTH) return refuse("added_tokens", `a list of { id, content }, contents of 1 to ${MAX_TOKEN_LENGTH} characters`, entry);
		for (const flag of [
			"lstrip",
			"rstrip",
			"single_word"
		]) if (entry?.[flag] === true) refuse(`added_tokens["${content}"].${flag}`, "false", true);
		return {
			id,
			content,
			special: entry?.special === true
		};
	});
	checkIds$1(model.vocab, addedTokens, refuse);
	checkMerges(model.merges, model.vocab, refuse);
	const vocab = { ...model.vocab };
	for (const token of addedTokens) if (token.special) delete vocab[token.content];
	const missing = BYTE_TO_CHAR.findIndex((char) => vocab[char] === void 0);
	if (missing >= 0) refuse("model.vocab", "complete", `no entry for byte 0x${missing.toString(16)}`);
	const around = postProcessorTokens(json.post_processor, refuse);
	return {
		vocab,
		model: {
			...model,
			vocab
		},
		...checkPreTokenizer(json, refuse),
		addedTokens,
		...around
	};
}
function checkPreTokenizer(json, refuse) {
	const top = json.pre_tokenizer;
	if (!isObject(top)) return refuse("pre_tokenizer", "a ByteLevel, or a Sequence that ends in one", top);
	const steps = top.type === "Sequence" && Array.isArray(top.pretokenizers) ? top.pretokenizers : [top];
	const last = steps.at(-1);
	if (!isObject(last) || last.type !== "ByteLevel") return refuse("pre_tokenizer", "a ByteLevel, or a Sequence that ends in one", top);
	if (last.add_prefix_space !== false) refuse("pre_tokenizer.add_prefix_space", "false", last.add_prefix_space);
	if (steps.length > MAX_STEPS) refuse("pre_tokenizer", `of at most ${MAX_STEPS} steps`, steps.length);
	for (const step of steps.slice(0, -1)) {
		if (!isObject(step)) return refuse("pre_tokenizer", "made of isolating Split steps", step);
		if (!(step.type === "Split" && showValue(step.behavior).toLowerCase() === "\"isolated\"") || step.invert === true) refuse("pre_tokenizer", "made of isolating Split steps", step);
		const pattern = isObject(step.pattern) ? step.pattern.Regex ?? step.pattern.String : void 0;
		if (typeof pattern !== "string" || pattern === "" || pattern.length > MAX_PATTERN_LENGTH) refuse("pre_tokenizer.pattern", `a Regex or String of 1 to ${MAX_PATTERN_LENGTH} characters`, step.pattern);
	}
	const usesRegex = last.use_regex !== false;
	const split = {
		type: "Split",
		pattern: { Regex: GPT2_PATTERN },
		behavior: "Isolated",
		invert: false
	};
	const pretokenizers = [
		...steps.slice(0, -1),
		...usesRegex ? [split] : [],
		{
			...last,
			use_regex: false
		}
	];
	const hasKnownPatterns = steps.slice(0, -1).every((step) => {
		const { Regex: regex } = step.pattern;
		return regex === void 0 || KNOWN_PATTERNS.has(regex);
	});
	return {
		preTokenizer: {
			type: "Sequence",
			pretokenizers
		},
		hasKnownPatterns
	};
}
function isId(id) {
	return Number.isInteger(id) && id >= 0 && id <= MAX_ID;
}
function checkIds$1(vocab, addedTokens, refuse) {
	const tokens = new Map();
	const claim = (token, id, part) => {
		if (!isId(id)) refuse(part, `ids from 0 to ${MAX_ID}`, {
			token,
			id
		});
		const other = tokens.get(id);
		if (other !== void 0 && other !== token) refuse(part, "unique ids", {
			id,
			tokens: [other, token]
		});
		tokens.set(id, token);
	};
	for (const token of Object.keys(vocab)) claim(token, vocab[token], "model.vocab");
	const added = new Map();
	for (const { content, id } of addedTokens) {
		claim(content, id, "added_tokens");
		const known = added.get(content) ?? (Object.hasOwn(vocab, content) ? vocab[content] : id);
		if (known !== id) refuse("added_tokens", "one id for each token", {
			token: content,
			ids: [known, id]
		});
		added.set(content, id);
	}
}
function checkMerges(merges, vocab, refuse) {
	const isPair = Array.isArray(merges[0]);
	for (const merge of merges) {
		const parts = isPair ? merge : typeof merge === "string" ? merge.split(" ") : void 0;
		const [left, right, rest] = Array.isArray(parts) ? parts : [];
		if (typeof left !== "string" || typeof right !== "string" || rest !== void 0) refuse("model.merges", "a list of pairs of tokens, all written in one way", merge);
		else if (![
			left,
			right,
			left + right
		].every((token) => Object.hasOwn(vocab, token))) refuse("model.merges", "made of tokens of the vocabulary", merge);
	}
}
function postProcessorTokens(processor, refuse) {
	if (processor == null) return {
		prefix: [],
		suffix: []
	};
	if (!isObject(processor)) return refuse("post_processor", "an object", processor);
	const { type } = processor;
	if (type === "ByteLevel") return {
		prefix: [],
		suffix: []
	};
	if (type === "Sequence") {
		if (!Array.isArray(processor.processors)) return refuse("post_processor.processors", "a list", processor.processors);
		const parts = processor.processors.map((part) => postProcessorTokens(part, refuse));
		return {
			prefix: parts.toReversed().flatMap((p) => p.prefix),
			suffix: parts.flatMap((p) => p.suffix)
		};
	}
	if (type !== "TemplateProcessing") return refuse("post_processor.type", "TemplateProcessing or ByteLevel", type);
	const prefix = [];
	const suffix = [];
	let side = prefix;
	if (!Array.isArray(processor.single)) return refuse("post_processor.single", "a list", processor.single);
	for (const item of processor.single) {
		const token = isObject(item) && isObject(item.SpecialToken) ? item.SpecialToken.id : void 0;
		if (isObject(item) && item.Sequence) side = suffix;
		else if (typeof token === "string") side.push(token);
		else refuse("post_processor.single", "made of Sequence and SpecialToken", item);
	}
	return {
		prefix,
		suffix
	};
}
async function readJsonFile(dir, name) {
	const isTokenizer = name === "tokenizer.json";
	const bytes = await readBytes(dir, name, isTokenizer ? MAX_TOKENIZER_BYTES : MAX_CONFIG_BYTES);
	if (bytes === void 0) return void 0;
	try {
		return parseJson(bytes, { anyKey: isTokenizer });
	} catch (cause) {
		throw new TextError(`${join(dir, name)} is not valid JSON: ${cause.message}`, {
			hint: "the file may be cut short; download it again",
			details: { path: join(dir, name) },
			cause
		});
	}
}
async function readTextFile(dir, name) {
	return (await readBytes(dir, name, MAX_CONFIG_BYTES))?.toString("utf8");
}
async function readBytes(dir, name, maxBytes) {
	try {
		return await readRegularFile(join(dir, name), maxBytes);
	} catch (cause) {
		if (cause.code === "ENOENT") return void 0;
		throw new TextError(`cannot read ${join(dir, name)}: ${cause.message}`, { cause });
	}
}
function configuredToken(config, name) {
	const value = isObject(config) ? config[name] : void 0;
	if (typeof value === "string") return value;
	return isObject(value) && typeof value.content === "string" ? value.content : void 0;
}
function isObject(value) {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}
// src/data/sample-error.ts
function nameSample(error, sample) {
	if (error instanceof Error && error.name === "AbortError") return error;
	const who = `sample ${oneLine(String(sample))}`;
	if (!(error instanceof TuneError)) return new DataError(`${who}: ${reasonOf(error)}`, {
		details: { sample },
		cause: error
	});
	if (error.details.sample !== void 0) return error;
	return error.with({
		summary: `${who}: ${error.summary}`,
		details: {
			...error.details,
			sample
		}
	});
}
var SkippableImage = class extends Error {
	cause;
	constructor(cause) {
		super(cause.summary);
		this.cause = cause;
	}
};
function nothingToLearn(messages) {
	return new DataError("there is nothing to learn: every label is -100", {
		hint: "a training sample needs an assistant message with text, not masked by `weight: 0` or `train: false`, and a template that renders it",
		details: { roles: messages.map((message) => message.role) }
	});
}
// src/data/tokenizer-digest.ts
const PER_STRING = 4096;
function tokenizerDigest(tokens, model, others) {
	const { vocab: _, type: __, merges, ...rest } = model;
	const settings = Object.entries(rest).filter(([, value]) => value).sort(([a], [b]) => a < b ? -1 : 1);
	const hash = createHash("sha256").update(JSON.stringify([
		settings,
		others,
		tokens.length
	]));
	const add = (values, text) => {
		for (let i = 0; i < values.length; i += PER_STRING) hash.update(`${values.slice(i, i + PER_STRING).map(text).join("\n")}\n\n`);
	};
	add(tokens, (token) => token ?? "");
	add(Array.isArray(merges) ? merges : [], (merge) => Array.isArray(merge) ? merge.join(" ") : String(merge));
	return hash.digest("hex").slice(0, 16);
}
// src/data/tokenizer.ts
const MAX_MILLISECONDS = 700;
const CHARACTERS_A_MILLISECOND = 20;
const ENCODE_OPTIONS = {
	addSpecialTokens: false,
	parseSpecialTokens: false
};
const DECODE_OPTIONS = { skipSpecialTokens: false };
const ONE_TEXT = "Several texts: texts.map((text) => tokenizer.encode(text)); conversations: chatTemplate.render(messages).";
var MinistralTokenizer = class MinistralTokenizer {
	bosTokenId;
	eosTokenId;
	padTokenId;
	imageTokenId;
	imageBreakTokenId;
	imageEndTokenId;
	bosToken;
	eosToken;
	vocabSize;
	specialTokenIds;
	#bpe;
	#hasKnownPatterns;
	#ids;
	#tokens = [];
	#plainAdded;
	#allAdded;
	#prefix;
	#suffix;
	#digest;
	constructor(tokenizerJson, tokenizerConfig = {}, processorConfig = {}) {
		for (const [name, config] of Object.entries({
			tokenizerConfig,
			processorConfig
		})) {
			if (isObject$1(config)) continue;
			throw new TextError(`MinistralTokenizer: \`${name}\`: expected the parsed JSON of a file, got ${describeGiven(config)}`);
		}
		const spec = parseTokenizerJson(tokenizerJson);
		try {
			this.#bpe = new Tokenizer({
				model: spec.model,
				pre_tokenizer: spec.preTokenizer,
				normalizer: null,
				post_processor: null,
				decoder: null,
				added_tokens: []
			}, {});
		} catch (cause) {
			throw new TextError(`tokenizer.json: no tokenizer can be made of it: ${cause.message}`, {
				hint: "the regular expressions of its pre_tokenizer may be damaged; download the file again",
				cause
			});
		}
		this.#hasKnownPatterns = spec.hasKnownPatterns;
		this.#ids = new Map(Object.entries(spec.vocab));
		for (const { content, id } of spec.addedTokens) this.#ids.set(content, id);
		for (const [token, id] of this.#ids) this.#tokens[id] = token;
		this.vocabSize = this.#tokens.length;
		this.specialTokenIds = new Set(spec.addedTokens.filter((token) => token.special).map((token) => token.id));
		this.#plainAdded = new TokenMatcher(spec.addedTokens.filter((token) => !token.special));
		this.#allAdded = new TokenMatcher(spec.addedTokens);
		this.bosToken = configuredToken(tokenizerConfig, "bos_token") ?? "<s>";
		this.eosToken = configuredToken(tokenizerConfig, "eos_token") ?? "</s>";
		this.bosTokenId = this.#requireId(this.bosToken, "bos_token");
		this.eosTokenId = this.#requireId(this.eosToken, "eos_token");
		const pad = configuredToken(tokenizerConfig, "pad_token");
		this.padTokenId = pad ? this.#requireId(pad, "pad_token") : this.#ids.get("<pad>") ?? this.eosTokenId;
		const imageToken = (name, fallback) => {
			const given = configuredToken(processorConfig, name);
			return given ? this.#requireId(given, name) : this.#ids.get(fallback);
		};
		this.imageTokenId = imageToken("image_token", "[IMG]");
		this.imageBreakTokenId = imageToken("image_break_token", "[IMG_BREAK]");
		this.imageEndTokenId = imageToken("image_end_token", "[IMG_END]");
		const config = tokenizerConfig;
		const explicit = config.add_bos_token !== void 0 || config.add_eos_token !== void 0;
		const prefix = explicit ? config.add_bos_token ? [this.bosToken] : [] : spec.prefix;
		const suffix = explicit ? config.add_eos_token ? [this.eosToken] : [] : spec.suffix;
		this.#prefix = prefix.map((token) => this.#requireId(token, "post_processor"));
		this.#suffix = suffix.map((token) => this.#requireId(token, "post_processor"));
		const { bosTokenId, eosTokenId, padTokenId, imageTokenId, imageBreakTokenId, imageEndTokenId } = this;
		const named = [
			bosTokenId,
			eosTokenId,
			padTokenId,
			imageTokenId,
			imageBreakTokenId,
			imageEndTokenId
		];
		const added = spec.addedTokens.map(({ content, id, special }) => [
			id,
			content,
			special
		]);
		added.sort(([a], [b]) => a - b);
		this.#digest = () => tokenizerDigest(this.#tokens, spec.model, [
			spec.preTokenizer,
			added,
			named
		]);
	}
	get digest() {
		if (typeof this.#digest !== "string") this.#digest = this.#digest();
		return this.#digest;
	}
	static async fromFolder(dir) {
		requirePath(dir, "MinistralTokenizer.fromFolder");
		const [json, config, processor] = await Promise.all([
			readJsonFile(dir, "tokenizer.json"),
			readJsonFile(dir, "tokenizer_config.json"),
			readJsonFile(dir, "processor_config.json")
		]);
		if (json === void 0) throw new TextError(`no tokenizer.json in ${dir}`, {
			hint: "tekken.json alone is not enough: take tokenizer.json and tokenizer_config.json from a repository of the same model that has them; those of mistralai/Mistral-Small-3.1-24B-Instruct-2503 fit Mistral Small 3.2 as well (fromPretrained: `processor`)",
			details: { path: dir }
		});
		return new MinistralTokenizer(json, config ?? {}, processor ?? {});
	}
	encode(text, options = {}) {
		requireText(text, "tokenizer.encode: `text`", ONE_TEXT);
		checkNames(options, ENCODE_OPTIONS, "tokenizer.encode");
		const { addSpecialTokens = false, parseSpecialTokens = false } = options;
		const ids = (parseSpecialTokens ? this.splitControlTokens(text) : [{ text }]).flatMap((piece) => piece.id === void 0 ? this.encodeText(piece.text).ids : piece.id);
		return addSpecialTokens ? [
			...this.#prefix,
			...ids,
			...this.#suffix
		] : ids;
	}
	encodeText(text) {
		requireText(text, "tokenizer.encodeText: `text`", ONE_TEXT);
		const ids = [];
		const byteEnds = [];
		let end = 0;
		for (const piece of this.#plainAdded.split(text)) {
			if (piece.id !== void 0) {
				ids.push(piece.id);
				end += Buffer.byteLength(this.#tokens[piece.id]);
				byteEnds.push(end);
				continue;
			}
			for (const token of this.#tokenize(piece.text)) {
				ids.push(this.#ids.get(token));
				end += token.length;
				byteEnds.push(end);
			}
		}
		if (end !== Buffer.byteLength(text)) throw new TextError(`the tokenizer covers ${end} of the ${Buffer.byteLength(text)} bytes of a text`, {
			hint: "its merges yield tokens that its vocabulary lacks: the tokenizer.json is damaged",
			details: { text: text.slice(0, 200) }
		});
		return {
			ids,
			byteEnds
		};
	}
	splitControlTokens(text) {
		requireText(text, "tokenizer.splitControlTokens: `text`");
		return this.#allAdded.split(text);
	}
	decode(ids, options = {}) {
		checkIds(ids);
		const decoder = this.streamingDecoder(options);
		let text = "";
		for (let i = 0; i < ids.length; i++) text += decoder.push(ids[i]);
		return text + decoder.end();
	}
	streamingDecoder(options = {}) {
		checkNames(options, DECODE_OPTIONS, "tokenizer.streamingDecoder");
		const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
		return {
			push: (id) => {
				const token = this.#tokens[id];
				if (token === void 0 || options.skipSpecialTokens && this.specialTokenIds.has(id)) return "";
				return utf8.decode(tokenBytes(token) ?? Buffer.from(token), { stream: true });
			},
			end: () => utf8.decode()
		};
	}
	tokenToId(token) {
		return this.#ids.get(token);
	}
	idToToken(id) {
		return this.#tokens[id];
	}
	#tokenize(text) {
		if (this.#hasKnownPatterns) return this.#bpe.tokenize(text);
		const tooLong = () => new TextError("splitting a text by the regular expressions of tokenizer.json takes too long", {
			hint: "they are not those of the Ministral family, and backtrack without end; use the original tokenizer.json",
			details: { text: text.slice(0, 200) }
		});
		try {
			return withinTime(MAX_MILLISECONDS + Math.ceil(text.length / CHARACTERS_A_MILLISECOND), () => this.#bpe.tokenize(text), tooLong);
		} catch (cause) {
			if (cause instanceof TextError) throw cause;
			throw new TextError(`tokenizer.json cannot split a text: ${cause.message}`, { cause });
		}
	}
	#requireId(token, role) {
		const id = this.#ids.get(token);
		if (id === void 0) throw new TextError(`${role}: "${token}" is not a token of this tokenizer`, {
			hint: "tokenizer.json and tokenizer_config.json (or processor_config.json) must come from the same model",
			details: {
				role,
				token
			}
		});
		return id;
	}
};
var TokenMatcher = class {
	#root = { next: new Map() };
	constructor(tokens) {
		for (const { content, id } of tokens) {
			let node = this.#root;
			for (let i = 0; i < content.length; i++) {
				const code = content.charCodeAt(i);
				const next = node.next.get(code) ?? { next: new Map() };
				node.next.set(code, next);
				node = next;
			}
			node.id = id;
		}
	}
	split(text) {
		const pieces = [];
		let start = 0;
		for (let i = 0; i < text.length && this.#root.next.size > 0;) {
			const { id, end } = this.#longestAt(text, i);
			if (id === void 0) {
				i++;
				continue;
			}
			if (i > start) pieces.push({ text: text.slice(start, i) });
			pieces.push({ id });
			start = i = end;
		}
		if (start < text.length) pieces.push({ text: text.slice(start) });
		return pieces;
	}
	#longestAt(text, start) {
		let found = {
			id: void 0,
			end: start
		};
		let node = this.#root.next.get(text.charCodeAt(start));
		for (let i = start + 1; node; node = node.next.get(text.charCodeAt(i++))) if (node.id !== void 0) found = {
			id: node.id,
			end: i
		};
		return found;
	}
};
function checkIds(ids) {
	const isList = Array.isArray(ids) || ArrayBuffer.isView(ids) && !(ids instanceof DataView);
	const list = isList ? ids : [];
	let wrong = 0;
	while (wrong < list.length && typeof list[wrong] === "number") wrong++;
	if (isList && wrong === list.length) return;
	const came = isList ? `${describeGiven(list[wrong])} at position ${wrong}` : describeGiven(ids);
	throw new ConfigError(`tokenizer.decode: \`ids\`: expected a list of token ids, got ${came}`, { hint: isList ? "Several lists: lists.map((ids) => tokenizer.decode(ids))." : "Write decode([id]) for one." });
}
// src/data/resample.ts
function cubic(distance) {
	const a = -.5;
	const x = Math.abs(distance);
	if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
	if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
	return 0;
}
function axisWeights(inputSize, outputSize) {
	const scale = inputSize / outputSize;
	const support = 2 * Math.max(scale, 1);
	const inverse = scale >= 1 ? 1 / scale : 1;
	const capacity = Math.ceil(support) * 2 + 1;
	const first = new Int32Array(outputSize);
	const count = new Int32Array(outputSize);
	const real = new Float64Array(outputSize * capacity);
	let largest = 0;
	let taps = 0;
	for (let i = 0; i < outputSize; i++) {
		const centre = scale * (i + .5);
		const low = Math.max(Math.trunc(centre - support + .5), 0);
		const high = Math.min(Math.trunc(centre + support + .5), inputSize);
		const used = Math.min(Math.max(high - low, 0), capacity);
		const row = i * capacity;
		let total = 0;
		for (let j = 0; j < used; j++) {
			const weight = cubic((j + low - centre + .5) * inverse);
			real[row + j] = weight;
			total += weight;
		}
		for (let j = 0; j < used; j++) {
			const weight = total === 0 ? real[row + j] : real[row + j] / total;
			real[row + j] = weight;
			if (weight > largest) largest = weight;
		}
		first[i] = low;
		count[i] = used;
		if (used > taps) taps = used;
	}
	taps = Math.ceil(taps / 4) * 4;
	let precision = 0;
	while (precision < 22 && Math.trunc(.5 + largest * 2 ** (precision + 1)) < 32768) precision++;
	const one = 2 ** precision;
	const weights = new Int32Array(outputSize * taps);
	for (let i = 0; i < outputSize; i++) for (let j = 0; j < count[i]; j++) {
		const weight = real[i * capacity + j] * one;
		weights[i * taps + j] = Math.trunc(weight < 0 ? weight - .5 : weight + .5);
	}
	return {
		taps,
		first,
		count,
		weights,
		precision
	};
}
const CACHED_AXES = 256;
const cache = new Map();
function cachedAxisWeights(inputSize, outputSize) {
	const key = `${inputSize}>${outputSize}`;
	let axis = cache.get(key);
	if (axis) cache.delete(key);
	else axis = axisWeights(inputSize, outputSize);
	cache.set(key, axis);
	if (cache.size > CACHED_AXES) cache.delete(cache.keys().next().value);
	return axis;
}
function horizontalPass(input, height, inputWidth, outputWidth) {
	const axis = cachedAxisWeights(inputWidth, outputWidth);
	const bytes = new Uint8Array(height * outputWidth * 3);
	const output = new Uint8ClampedArray(bytes.buffer);
	if (axis.taps === 4 && inputWidth >= 4) fourTapRows(input, output, height, inputWidth, outputWidth, axis);
	else anyTapRows(input, output, height, inputWidth, outputWidth, axis);
	return bytes;
}
function anyTapRows(input, output, height, inputWidth, outputWidth, { taps, first, count, weights, precision }) {
	const half = 1 << precision >> 1;
	let to = 0;
	for (let y = 0; y < height; y++) {
		const rowStart = y * inputWidth * 3;
		for (let x = 0; x < outputWidth; x++) {
			let from = rowStart + first[x] * 3;
			let w = x * taps;
			const end = w + count[x];
			let red = half;
			let green = half;
			let blue = half;
			for (; w < end; w++, from += 3) {
				const weight = weights[w];
				red += Math.imul(weight, input[from]);
				green += Math.imul(weight, input[from + 1]);
				blue += Math.imul(weight, input[from + 2]);
			}
			output[to] = red >> precision;
			output[to + 1] = green >> precision;
			output[to + 2] = blue >> precision;
			to += 3;
		}
	}
}
function fourTapRows(input, output, height, inputWidth, outputWidth, { first, count, weights, precision }) {
	const half = 1 << precision >> 1;
	const starts = new Int32Array(outputWidth);
	const shifted = new Int32Array(outputWidth * 4);
	for (let x = 0; x < outputWidth; x++) {
		const start = Math.min(first[x], inputWidth - 4);
		starts[x] = start * 3;
		for (let j = 0; j < count[x]; j++) shifted[x * 4 + first[x] - start + j] = weights[x * 4 + j];
	}
	let to = 0;
	for (let y = 0; y < height; y++) {
		const rowStart = y * inputWidth * 3;
		for (let x = 0; x < outputWidth; x++) {
			const p = rowStart + starts[x];
			const w = x << 2;
			const a = shifted[w];
			const b = shifted[w + 1];
			const c = shifted[w + 2];
			const d = shifted[w + 3];
			output[to] = half + Math.imul(a, input[p]) + Math.imul(b, input[p + 3]) + Math.imul(c, input[p + 6]) + Math.imul(d, input[p + 9]) >> precision;
			output[to + 1] = half + Math.imul(a, input[p + 1]) + Math.imul(b, input[p + 4]) + Math.imul(c, input[p + 7]) + Math.imul(d, input[p + 10]) >> precision;
			output[to + 2] = half + Math.imul(a, input[p + 2]) + Math.imul(b, input[p + 5]) + Math.imul(c, input[p + 8]) + Math.imul(d, input[p + 11]) >> precision;
			to += 3;
		}
	}
}
function verticalPass(input, inputHeight, outputHeight, stride) {
	const { taps, first, count, weights, precision } = cachedAxisWeights(inputHeight, outputHeight);
	const bytes = new Uint8Array(outputHeight * stride);
	const output = new Uint8ClampedArray(bytes.buffer);
	const half = 1 << precision >> 1;
	const sums = new Int32Array(stride);
	const rows = new Int32Array(4);
	for (let y = 0; y < outputHeight; y++) {
		sums.fill(half);
		const to = y * stride;
		for (let tap = 0; tap < count[y]; tap += 4) {
			const last = tap + 4 >= count[y];
			for (let j = 0; j < 4; j++) rows[j] = Math.min(first[y] + tap + j, inputHeight - 1) * stride;
			const [a, b, c, d] = rows;
			const w = y * taps + tap;
			const w0 = weights[w];
			const w1 = weights[w + 1];
			const w2 = weights[w + 2];
			const w3 = weights[w + 3];
			for (let x = 0; x < stride; x++) {
				const upper = Math.imul(w0, input[a + x]) + Math.imul(w1, input[b + x]);
				const lower = Math.imul(w2, input[c + x]) + Math.imul(w3, input[d + x]);
				const sum = sums[x] + upper + lower;
				if (last) output[to + x] = sum >> precision;
				else sums[x] = sum;
			}
		}
	}
	return bytes;
}
function resampleBicubic(image, width, height) {
	let data = image.data;
	if (width !== image.width) data = horizontalPass(data, image.height, image.width, width);
	if (height !== image.height) data = verticalPass(data, image.height, height, width * 3);
	return data === image.data ? image : {
		width,
		height,
		data
	};
}
// src/data/process-pixels.ts
function resizedSize(width, height, { longestEdge, cellSize }) {
	const ratio = Math.max(height / longestEdge, width / longestEdge);
	const wholeCells = (side) => (Math.floor(((ratio > 1 ? Math.floor(side / ratio) : side) - 1) / cellSize) + 1) * cellSize;
	return {
		width: wholeCells(width),
		height: wholeCells(height)
	};
}
function normalisationTable({ imageMean, imageStd, rescaleFactor }) {
	const { fround } = Math;
	const inverse = fround(1 / rescaleFactor);
	const table = new Float32Array(768);
	for (let channel = 0; channel < 3; channel++) {
		const mean = fround(fround(imageMean[channel]) * inverse);
		const std = fround(fround(imageStd[channel]) * inverse);
		for (let level = 0; level < 256; level++) table[channel * 256 + level] = fround(level - mean) / std;
	}
	return table;
}
function processPixels(image, settings) {
	const target = resizedSize(image.width, image.height, settings);
	const { width, height, data } = resampleBicubic(image, target.width, target.height);
	const table = normalisationTable(settings);
	const [red, green, blue] = [
		table.subarray(0, 256),
		table.subarray(256, 512),
		table.subarray(512)
	];
	const plane = width * height;
	const pixelValues = new Float32Array(3 * plane);
	for (let i = 0, from = 0; i < plane; i++, from += 3) {
		pixelValues[i] = red[data[from]];
		pixelValues[plane + i] = green[data[from + 1]];
		pixelValues[2 * plane + i] = blue[data[from + 2]];
	}
	return {
		pixelValues,
		height,
		width
	};
}
// src/data/image-processor.ts
const MAX_PATCH = 128;
const MAX_MERGE = 16;
const MAX_EDGE = 65536;
const triple = array(number()).length(3, "expected three numbers, for red, green and blue");
const imageProcessorSchema = strictObject({
	longestEdge: number().int().positive().max(MAX_EDGE).default(1540),
	patchSize: number().int().positive().max(MAX_PATCH).default(14),
	spatialMergeSize: number().int().positive().max(MAX_MERGE).default(2),
	imageMean: triple.default([
		.48145466,
		.4578275,
		.40821073
	]),
	imageStd: triple.refine((std) => std.every((value) => value > 0), "expected positive numbers").default([
		.26862954,
		.26130258,
		.27577711
	]),
	rescaleFactor: number().positive().default(1 / 255)
});
const imageFieldsSchema = object({
	image_processor_type: _enum(["PixtralImageProcessor", "PixtralImageProcessorFast"], { error: ({ input }) => `expected PixtralImageProcessor or PixtralImageProcessorFast, got ${showValue(input)}; others compute other pixels` }).optional(),
	size: union([
		number().int().positive(),
		object({ longest_edge: number().int().positive() }),
		object({
			height: number().int().positive(),
			width: number().int().positive()
		}).refine((size) => size.height === size.width)
	], { error: "expected { \"longest_edge\": pixels }, or an equal height and width" }).transform((size) => typeof size === "number" ? size : "longest_edge" in size ? size.longest_edge : size.height),
	patch_size: union([number().int().positive(), object({
		height: number().int().positive(),
		width: number().int().positive()
	}).refine((size) => size.height === size.width)], { error: "expected a number of pixels, or an equal height and width" }).transform((size) => typeof size === "number" ? size : size.height).nullish(),
	resample: only(3, "only 3 (bicubic) is implemented"),
	do_resize: only(true, "the vision tower needs resized images"),
	do_rescale: only(true, "only rescaling together with normalising is implemented"),
	do_normalize: only(true, "only rescaling together with normalising is implemented"),
	do_convert_rgb: only(true, "images are always converted to RGB"),
	do_center_crop: only(false, "cropping is not implemented"),
	data_format: only("channels_first", "the vision tower takes channels first"),
	rescale_factor: number().positive().nullish(),
	image_mean: triple.nullish(),
	image_std: triple.nullish()
});
function only(value, why) {
	return literal(value, { error: ({ input }) => `expected ${JSON.stringify(value)}, got ${showValue(input)}: ${why}` }).nullish();
}
const processorFieldsSchema = object({
	patch_size: number().int().positive().nullish(),
	spatial_merge_size: number().int().positive().nullish()
});
var ImageProcessor = class ImageProcessor {
	longestEdge;
	patchSize;
	spatialMergeSize;
	imageMean;
	imageStd;
	rescaleFactor;
	constructor(options = {}) {
		const parsed = parseOptions(imageProcessorSchema, options, "ImageProcessor");
		this.longestEdge = parsed.longestEdge;
		this.patchSize = parsed.patchSize;
		this.spatialMergeSize = parsed.spatialMergeSize;
		this.imageMean = parsed.imageMean;
		this.imageStd = parsed.imageStd;
		this.rescaleFactor = parsed.rescaleFactor;
	}
	static fromConfig(config, options = {}) {
		checkNames(options, {
			processorConfig: false,
			spatialMergeSize: false
		}, "ImageProcessor.fromConfig");
		const nested = typeof config === "object" && config !== null && "image_processor" in config;
		const what = nested ? "processor_config.json" : "preprocessor_config.json";
		const schema = nested ? processorFieldsSchema.extend({ image_processor: imageFieldsSchema }) : imageFieldsSchema;
		const parsed = parseOptions(schema, config, what);
		const beside = parseOptions(processorFieldsSchema, options.processorConfig ?? {}, "processor_config.json");
		const image = "image_processor" in parsed ? parsed.image_processor : parsed;
		const outer = "image_processor" in parsed ? parsed : beside;
		const patchSize = outer.patch_size ?? beside.patch_size ?? image.patch_size;
		const spatialMergeSize = outer.spatial_merge_size ?? beside.spatial_merge_size ?? options.spatialMergeSize;
		const missing = [...patchSize == null ? ["patch_size"] : [], ...spatialMergeSize == null ? ["spatial_merge_size"] : []];
		if (patchSize == null || spatialMergeSize == null) throw new ConfigError(`${what}: ${missing.join(" and ")} missing`, {
			hint: "Give the processor_config.json beside it, or `spatialMergeSize` from the config.json of the model.",
			details: { missing }
		});
		return new ImageProcessor({
			longestEdge: image.size,
			patchSize,
			spatialMergeSize,
			...image.image_mean ? { imageMean: image.image_mean } : {},
			...image.image_std ? { imageStd: image.image_std } : {},
			...image.rescale_factor ? { rescaleFactor: image.rescale_factor } : {}
		});
	}
	get settings() {
		const { longestEdge, imageMean, imageStd, rescaleFactor } = this;
		return {
			longestEdge,
			cellSize: this.patchSize * this.spatialMergeSize,
			imageMean,
			imageStd,
			rescaleFactor
		};
	}
	resizedSize(width, height, name = "image") {
		if (!(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0)) throw new ImageError(`${name}: expected a width and a height of whole pixels, got ${showValue(width)} and ${showValue(height)}`, { details: { path: name } });
		const size = resizedSize(width, height, this.settings);
		if (size.width === 0 || size.height === 0) throw new ImageError(`${name}: ${width} × ${height} pixels: shrunk to a longest edge of ${this.longestEdge} the image has no ${size.width === 0 ? "width" : "height"} left`, {
			hint: "Crop the image, or leave it out.",
			details: {
				path: name,
				width,
				height
			}
		});
		return size;
	}
	gridOf(width, height) {
		const size = this.resizedSize(width, height);
		const cell = this.patchSize * this.spatialMergeSize;
		const rows = size.height / cell;
		const cols = size.width / cell;
		return {
			rows,
			cols,
			tokens: rows * (cols + 1)
		};
	}
	async process(input, options = {}) {
		checkNames(options, { signal: false }, "ImageProcessor.process");
		requireSignal(options.signal, "ImageProcessor.process");
		options.signal?.throwIfAborted();
		const { image, release } = await decodeWithin(input, options.signal);
		try {
			options.signal?.throwIfAborted();
			this.resizedSize(image.width, image.height, imageName(input));
			return processPixels(image, this.settings);
		} finally {
			release();
		}
	}
};
export { nothingToLearn as a, readTextFile as c, checkMessage as d, checkSample as f, nameSample as i, withinTime as l, MinistralTokenizer as n, configuredToken as o, requireSample as p, SkippableImage as r, readJsonFile as s, ImageProcessor as t, checkKeysOfRole as u };
