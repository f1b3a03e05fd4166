import { a as custom, m as string, n as _instanceof, o as int, p as strictObject, r as array, t as _enum } from "./zod-CVDjCv3S.js";
import { a as EngineError, l as OutOfMemoryError, m as reasonOf, n as ConfigError, p as TuneError, r as DataError, s as ImageError, x as oneLine } from "./errors-D4G-NQir.js";
import { _ as isKind, a as parseOptions, b as showValue, g as describeGiven, i as nearestName, l as requireCallback } from "./config-BAD1VLMT.js";
import { T as IndexedDataset } from "./image-cells-BdLZPrXr.js";
import { t as exists } from "./regular-file-BhWpSxEj.js";
import { i as readJson } from "./read-json-BUQErRHs.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { $ as HubImageFolder, C as LAYER_PROJECTIONS, Q as KaggleImageFolder, X as ChatTemplate, Y as VlmCollator, Z as TUTORIAL_TEMPLATE, a as loadProcessor, c as QuantizationPlan, d as parseModelConfig, et as ImageFolder, nt as ConversationDataset, p as trainingBytes, t as Sampler, u as parseQuantizationOption, w as LoraConfig, x as selectTargetModules, y as applyLora } from "./sampler-DEcpnHov.js";
import { M as hubDownloadSchema, r as folderOrSnapshot } from "./snapshot-download-D96EO7UI.js";
import "./or-aborted-C0Ixy3mg.js";
import { T as adapterTensorName, a as PassCosts, b as joinPacked, c as modulesOf, g as PackedWindow, l as wantedWeights, n as requirePrecision, o as trainingFlops, r as PassPlanner, s as loadModules } from "./precision-D37VSOAP.js";
import { u as sizeOf } from "./half-precision-CIC2zd88.js";
import { t as displayWidth } from "./display-width-D3AspX99.js";
import { t as splitText } from "./wrap-text-DMjKL7h-.js";
import { n as optimizerKind, r as parseSftConfig } from "./sft-config-CSEWV3ou.js";
import { a as DeviceAllocator, i as placeWeights, o as Overhead, r as requireCudaOptions, s as roundUp, t as CudaEngine } from "./cuda-engine-C3P_kk9g.js";
import { join } from "node:path";
import { stat } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
// src/plan/format-training-plan.ts
const WIDTH = 80;
const GIB = 2 ** 30;
const LISTED = 10;
function formatTrainingPlan(plan) {
	return [
		...dataLines(plan.data),
		"",
		...runLines(plan),
		...plan.formats.flatMap((format) => ["", ...formatLines(format)]),
		"",
		...cardLines(plan.cards),
		...memoryLines(plan.cards),
		"",
		...plan.notes.flatMap((note) => wrapped(`- ${oneLine(note)}`, "  "))
	].join("\n");
}
function dataLines({ samples, trainedSamples, images, perSample, ...data }) {
	const lengths = perSample.map(({ tokens }) => tokens).sort((a, b) => a - b);
	const shared = perSample.reduce((sum, { prefixTokens }) => sum + prefixTokens, 0);
	const at = (share) => lengths[Math.floor(share * (lengths.length - 1))] ?? 0;
	const longest = perSample.reduce((most, one) => one.tokens > most.tokens ? one : most, perSample[0]);
	return [
		`Data        ${count(trainedSamples)} of ${count(samples)} samples are trained on, ${count(images)} images`,
		...wrapped(`Tokens      ${count(data.tokens)}: ${count(data.imageTokens)} of images, ${count(data.labels)} learned; ${percent(shared / Math.max(1, data.tokens))} in prefixes that samples have in common`, " ".repeat(12)),
		...lengths.length === 0 ? [] : [`Length      least ${count(at(0))}, median ${count(at(.5))}, 95 % ${count(at(.95))}, most ${count(at(1))}:`, `            ${longest.id}`],
		...faultLines("too long", data.overlong),
		...faultLines("nothing to learn", data.unlearnable),
		...faultLines("unreadable", data.unreadable)
	];
}
function faultLines(what, faults) {
	if (faults.length === 0) return [];
	const stopping = faults.filter(({ isLeftOut }) => !isLeftOut).length;
	const effect = stopping === 0 ? "left out by the run" : stopping === faults.length ? "the run would stop there" : `${stopping} would stop the run`;
	const more = faults.length - LISTED;
	return [
		`${count(faults.length)} ${faults.length === 1 ? "sample" : "samples"} ${what}: ${effect}`,
		...faults.slice(0, LISTED).flatMap(({ id, reason }) => {
			const line = `  ${id}: ${oneLine(reason)}`;
			return displayWidth(line) <= WIDTH ? [line] : [`  ${id}:`, ...wrapped(`    ${oneLine(reason)}`, "    ")];
		}),
		...more > 0 ? [`  and ${count(more)} more`] : []
	];
}
function runLines(plan) {
	const share = plan.trainableParameters / Math.max(1, plan.parameters);
	return [
		...wrapped(`Model       ${oneLine(plan.model)}: ${billions(plan.parameters)} parameters, ${billions(plan.trainableParameters)} trained (${(100 * share).toFixed(2)} %)`, " ".repeat(12)),
		`Run         ${count(plan.steps)} optimizer steps of ${count(plan.effectiveBatchSize)} samples, ${count(plan.runTokens)} tokens`,
		`            ${percent(plan.sharedTokenShare)} of them reused from common prefixes; ${operations(plan.flops)} operations`
	];
}
function formatLines({ format, weightBytes, recomputation }) {
	return [`Weights in ${format}: ${formatBytes(weightBytes)}; without a limit, by what is recomputed (GiB):`, ...recomputation.map(({ recompute, activationBytes, totalBytes, relativeTime }) => {
		const extra = Math.round(100 * (relativeTime - 1));
		return row([
			[`  ${recompute}`, 35],
			[`pass ${gib(activationBytes)}`, -15],
			[`in all ${gib(totalBytes)}`, -17],
			[extra === 0 ? "" : `+${extra} % time`, -13]
		]);
	})];
}
const COLUMNS = [
	16,
	8,
	-6,
	-11,
	-9,
	-8,
	-12,
	-10
];
function cardLines(cards) {
	const line = (...cells) => row(cells.map((cell, i) => [cell, COLUMNS[i]]));
	const lines = cards.map(({ card, format, run, misfit }) => {
		if (!run) return wrapped(`${line(card, format)} does not run: ${oneLine(misfit ?? "")}`, " ".repeat(24));
		const { vision, text } = run.recomputedLayers;
		const about = run.basis === "measured" ? "" : "~";
		return [line(card, format, (run.memory.totalBytes / GIB).toFixed(1), `${about}${rate(run.samplesPerSecond)}`, `${about}${duration(run.seconds)}`, String(run.passes), vision + text > 0 ? `${vision}+${text}` : "-", run.streamedBytes > 0 ? (run.streamedBytes / GIB).toFixed(1) : "-")];
	});
	return [
		line("Card", "weights", "GiB", "samples/s", "time", "passes", "recomputed", "streamed"),
		"─".repeat(WIDTH),
		...lines.flat(),
		...wrapped("GiB as nvidia-smi shows them; ~ scaled by data sheets; recomputed: layers of the vision tower + the decoder; streamed: GiB of weights copied from host memory in each forward and each backward", "")
	];
}
function memoryLines(cards) {
	return [...new Map(cards.flatMap((card) => card.run ? [[card.format, card]] : [])).values()].flatMap(({ card, format, run }) => {
		const { memory } = run;
		return ["", ...wrapped(`Memory of ${format} on ${card}, GiB: ${[
			["weights", memory.weightBytes],
			["adapter and gradients", memory.adapterBytes],
			["optimizer", memory.optimizerBytes],
			["activations", memory.activationBytes],
			["head", memory.headBytes],
			["workspace", memory.workspaceBytes],
			["context", memory.contextBytes]
		].filter(([, bytes]) => bytes > 0).map(([what, bytes]) => `${what} ${gib(bytes)}`).join(", ")}; in all ${gib(memory.totalBytes)}`, "  ")];
	});
}
function row(cells) {
	return cells.map(([text, width]) => width < 0 ? text.padStart(-width) : text.padEnd(width)).join("").trimEnd();
}
function wrapped(text, indent) {
	const lines = [];
	let line;
	for (const word of text.split(" ").flatMap((one) => splitText(one, WIDTH - indent.length))) if (line === void 0) line = word;
	else if (line.trim() !== "" && displayWidth(line) + 1 + displayWidth(word) > WIDTH) {
		lines.push(line);
		line = `${indent}${word}`;
	} else line = `${line} ${word}`;
	return [...lines, line ?? ""];
}
function count(value) {
	return value.toLocaleString("en");
}
function percent(share) {
	return `${(100 * share).toFixed(0)} %`;
}
function rate(value) {
	return value < 100 ? value.toPrecision(3) : value.toFixed(0);
}
function gib(bytes) {
	return (bytes / GIB).toFixed(2);
}
function billions(value) {
	return value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(2)} G`;
}
function operations(flops) {
	return flops === 0 ? "no" : flops.toExponential(2).replace("e+", "e");
}
function duration(seconds) {
	if (seconds < 1) return "<1 s";
	if (seconds < 90) return `${seconds.toFixed(0)} s`;
	if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
	return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
}
// src/engine/cuda/counting-card.ts
const SHARED_BYTES = 32 << 20;
const READ_BYTES = 65536;
let shared;
const LIBRARY_VERSION = 13e4;
function nothing() {}
function countingParts(card, memory, overheadBytes) {
	const pinned = (bytes) => {
		shared ??= new Uint8Array(SHARED_BYTES);
		return shared.subarray(0, bytes > SHARED_BYTES ? 0 : bytes);
	};
	let next = 1;
	return {
		driver: {
			device: {
				ordinal: 0,
				...card,
				totalBytes: memory.memoryInfo().total,
				driverVersion: 13e3,
				hasVirtualMemory: true
			},
			stream: 1,
			launches: 0,
			copyStream: 2,
			allocatePinned: (bytes) => ({
				bytes: pinned(bytes),
				free: nothing
			}),
			upload: nothing,
			uploadRows: nothing,
			downloadAsync: ({ buffer, byteOffset, byteLength }) => {
				if (byteLength <= READ_BYTES) new Uint8Array(buffer, byteOffset, byteLength).fill(0);
			},
			createEvent: () => next++,
			recordEvent: nothing,
			eventDone: () => true,
			synchronizeEvent: nothing,
			elapsedMilliseconds: () => 1,
			destroyEvent: nothing,
			waitEvent: nothing,
			copy: nothing,
			copyRows: nothing,
			fillBytes: nothing,
			clearRows: nothing,
			synchronize: nothing,
			dispose: nothing
		},
		memory,
		...overheadBytes === void 0 ? {} : { overhead: new Overhead({ usedBytes: () => overheadBytes }) },
		kernels: {
			multiprocessors: card.multiprocessors,
			hasWarpgroups: card.capability === 90,
			launch: nothing,
			dispose: nothing
		},
		library: {
			version: LIBRARY_VERSION,
			descriptor: () => 1,
			e4m3Descriptor: () => 2,
			setScales: nothing,
			createLayout: () => next++,
			destroyLayout: nothing,
			firstChoice: () => new BigUint64Array(8),
			check: () => 0,
			matmul: () => 0,
			dispose: nothing
		},
		compilerVersion: "none"
	};
}
var CountedMemory = class {
	isVirtual = true;
	granularity = 2 << 20;
	#total;
	#used;
	#next = 2 ** 40;
	constructor(total, used = 0) {
		this.#total = total;
		this.#used = used;
	}
	reserve(bytes) {
		const address = this.#next;
		this.#next += bytes;
		return address;
	}
	map(address, bytes) {
		if (this.#used + bytes > this.#total) throw new OutOfMemoryError("the card has no more memory");
		this.#used += bytes;
		return {
			address,
			handle: address
		};
	}
	move() {}
	release({ bytes }) {
		this.#used -= bytes;
	}
	dispose() {}
	synchronize() {}
	memoryInfo() {
		return {
			free: this.#total - this.#used,
			total: this.#total
		};
	}
};
// src/plan/rehearsal.ts
const MIB$1 = 2 ** 20;
const CONTEXT_BYTES = 536 * MIB$1;
const RUNNING_CONTEXT_BYTES = 600 * MIB$1;
var RehearsalEngine = class extends CudaEngine {
	placed;
	placeWeights(sources, trainingBytes) {
		this.placed = {
			sources,
			trainingBytes
		};
		super.placeWeights(sources, trainingBytes);
	}
};
async function rehearse(options) {
	const { model, lora, config, card, memoryBudget, known } = options;
	const engine = new RehearsalEngine(countingParts(card, new CountedMemory(card.memoryBytes, CONTEXT_BYTES), CONTEXT_BYTES), {
		...options.engine,
		...memoryBudget === void 0 ? {} : { memoryBudget },
		adapterRank: rankOf(options)
	});
	let held = 0;
	const grown = () => {
		const before = held;
		held = engine.memory().bytesInUse;
		return held - before;
	};
	try {
		const modules = await load(engine, options);
		const weightBytes = grown();
		const host = known ? withoutValues(engine, known.adapterBytes) : engine;
		const adapter = applyLora({
			engine: host,
			linearModules: modules.linear
		}, lora, {
			values: zeroValues(modules.linear, lora),
			onWarning: () => void 0
		});
		const adapterBytes = grown();
		if (known) engine.allocator.allocate(known.optimizerBytes, "optimizer");
		else engine.createOptimizerState(adapter.parameters, optimizerKind(config));
		const optimizerBytes = grown();
		const precision = config.precision;
		requirePrecision(engine, precision);
		if (precision !== "bf16") engine.preparePrecision(modules.textLayers.flatMap(modulesOf).map(({ weight }) => weight), precision);
		const copyBytes = grown();
		return {
			engine,
			options,
			modules,
			costs: new PassCosts(model.config, modules, engine.storage, precision),
			weightBytes,
			adapterBytes,
			optimizerBytes,
			copyBytes,
			trainableParameters: adapter.parameters.size
		};
	} catch (error) {
		await engine.dispose();
		throw error;
	}
}
function rankOf({ lora, engine }) {
	return Math.max(engine?.adapterRank ?? 16, lora.r, ...Object.values(lora.rankPattern));
}
function withoutValues({ allocator }, bytes) {
	const refuse = () => {
		throw new EngineError("a rehearsal has no values");
	};
	return {
		createParameters: (specs) => {
			allocator.allocate(bytes, "adapter");
			const parameters = specs.map(({ name, shape }) => ({
				name,
				shape,
				size: sizeOf(shape)
			}));
			return {
				parameters,
				size: parameters.reduce((sum, parameter) => sum + parameter.size, 0)
			};
		},
		readParameters: refuse,
		writeParameters: refuse,
		releaseParameters: refuse
	};
}
function asLoaded({ engine }) {
	const { tokensPerPass, storage } = engine;
	const memory = engine.memory();
	return {
		tokensPerPass,
		storage,
		memory: () => memory
	};
}
function onCard({ engine, options }, card, memoryBudget = Number.POSITIVE_INFINITY) {
	if (options.config.precision !== "bf16" || !engine.placed) return void 0;
	const { offload = "auto", tokensPerPass } = options.engine ?? {};
	const allocator = new DeviceAllocator(new CountedMemory(card.memoryBytes, CONTEXT_BYTES), memoryBudget, new Overhead({ usedBytes: () => CONTEXT_BYTES }));
	const { limitBytes, overheadBytes = 0 } = allocator.memory();
	allocator.dispose();
	try {
		const { embedding, layers } = placeWeights(engine.placed.sources, {
			offload,
			roomBytes: limitBytes,
			overheadBytes,
			spareColumns: roundUp(rankOf(options), 16),
			trainingBytes: engine.placed.trainingBytes
		});
		if (embedding || layers.size > 0) return void 0;
	} catch (error) {
		if (error instanceof OutOfMemoryError) return void 0;
		throw error;
	}
	const memory = {
		...engine.memory(),
		limitBytes,
		overheadBytes
	};
	return {
		tokensPerPass: tokensPerPass ?? engine.tokensPerPass,
		storage: engine.storage,
		memory: () => memory
	};
}
const METHODS = {
	bf16: "none",
	fp8: "fp8",
	nf4: "nf4"
};
async function load(engine, { model: { config, tied, name }, format, quantization }) {
	const shapes = new Map(wantedWeights(config, tied).map((wanted) => [wanted.name, wanted.shape]));
	const tensors = [...shapes].map(([tensor, shape]) => {
		return {
			name: tensor,
			shape,
			bytes: 2 * sizeOf(shape),
			stored: void 0
		};
	});
	const method = METHODS[format];
	const option = parseQuantizationOption({
		...quantization,
		method
	}, "plan");
	const plan = new QuantizationPlan(engine, tensors, option, "plan");
	const provider = {
		description: name,
		has: (tensor) => shapes.has(tensor),
		source: (tensor) => {
			const shape = shapes.get(tensor);
			const byteLength = 2 * sizeOf(shape);
			return plan.apply(tensor, {
				name: tensor,
				shape,
				dtype: "bf16",
				byteLength,
				read: async () => {}
			});
		}
	};
	const estimate = (modules) => trainingBytes(config, modules, engine);
	return (await loadModules(engine, config, provider, estimate, false)).modules;
}
function zeroValues(linear, lora) {
	const modules = new Map(linear.map((module) => [module.name, module]));
	const sizes = selectTargetModules([...modules.keys()], lora).matched.flatMap((name) => {
		const [out, input] = modules.get(name).weight.shape;
		const { r } = lora.forModule(name);
		return [{
			name: adapterTensorName(name, "A"),
			size: r * input
		}, {
			name: adapterTensorName(name, "B"),
			size: out * r
		}];
	});
	const zeros = new Float32Array(Math.max(0, ...sizes.map(({ size }) => size)));
	return new Map(sizes.map(({ name, size }) => [name, zeros.subarray(0, size)]));
}
// src/plan/card-run.ts
function planWindows(engine, costs, windows, options) {
	const planner = new PassPlanner(engine);
	return windows.map((window) => {
		const sizeOf = (samples) => window.sizeOf(samples);
		return {
			window,
			plan: planner.plan(window.samples, costs, {
				...options,
				sizeOf
			})
		};
	});
}
function largestPassOf(planned) {
	return planned.flatMap(({ plan }) => plan.passes).reduce((most, pass) => pass.bytes > most.bytes ? pass : most);
}
function memoryOf(rehearsal, { size, recompute, bytes }) {
	const { costs, weightBytes, adapterBytes, optimizerBytes, copyBytes } = rehearsal;
	const { headBytes, workspaceBytes } = costs.partsOf(size, recompute);
	const held = weightBytes + adapterBytes + optimizerBytes + copyBytes;
	return {
		weightBytes,
		adapterBytes,
		optimizerBytes,
		activationBytes: Math.round(bytes - headBytes - workspaceBytes),
		headBytes: Math.round(headBytes),
		workspaceBytes: Math.round(workspaceBytes) + copyBytes,
		contextBytes: RUNNING_CONTEXT_BYTES,
		totalBytes: Math.round(held + bytes + RUNNING_CONTEXT_BYTES)
	};
}
function misfitOf(error) {
	return error instanceof OutOfMemoryError ? error.summary : void 0;
}
// src/plan/cards.ts
const MIB = 2 ** 20;
const ADA = "NVIDIA Ada GPU Architecture white paper, appendix A";
const GA102 = "NVIDIA Ampere GA102 GPU Architecture white paper, appendix";
const CARDS = [
	{
		name: "RTX 3060 12GB",
		memoryBytes: 12288 * MIB,
		capability: 86,
		multiprocessors: 28,
		bf16Tflops: 25.5,
		memoryGbs: 360,
		hostGbs: 32,
		source: `${GA102}; GeForce RTX 3060 specifications`
	},
	{
		name: "RTX 4080 16GB",
		memoryBytes: 16376 * MIB,
		capability: 89,
		multiprocessors: 76,
		bf16Tflops: 97.5,
		fp8Tflops: 195,
		memoryGbs: 716.8,
		hostGbs: 32,
		source: ADA
	},
	{
		name: "RTX 3090 24GB",
		memoryBytes: 24576 * MIB,
		capability: 86,
		multiprocessors: 82,
		bf16Tflops: 71,
		memoryGbs: 936,
		hostGbs: 32,
		source: GA102
	},
	{
		name: "RTX 4090 24GB",
		memoryBytes: 24564 * MIB,
		capability: 89,
		multiprocessors: 128,
		bf16Tflops: 165.2,
		fp8Tflops: 330.3,
		memoryGbs: 1008,
		hostGbs: 32,
		source: ADA
	},
	{
		name: "L4 24GB",
		memoryBytes: 23034 * MIB,
		capability: 89,
		multiprocessors: 58,
		bf16Tflops: 121,
		fp8Tflops: 242,
		memoryGbs: 300,
		hostGbs: 32,
		source: "NVIDIA L4 data sheet"
	},
	{
		name: "RTX 5090 32GB",
		memoryBytes: 32607 * MIB,
		capability: 120,
		multiprocessors: 170,
		bf16Tflops: 209.5,
		fp8Tflops: 419,
		memoryGbs: 1792,
		hostGbs: 64,
		source: "NVIDIA RTX Blackwell GPU Architecture white paper, appendix A",
		isUntried: true
	},
	{
		name: "A100 PCIe 40GB",
		memoryBytes: 40960 * MIB,
		capability: 80,
		multiprocessors: 108,
		bf16Tflops: 312,
		memoryGbs: 1555,
		hostGbs: 32,
		source: "NVIDIA A100 data sheet"
	},
	{
		name: "L40S 48GB",
		memoryBytes: 46068 * MIB,
		capability: 89,
		multiprocessors: 142,
		bf16Tflops: 362,
		fp8Tflops: 733,
		memoryGbs: 864,
		hostGbs: 32,
		source: "NVIDIA L40S data sheet"
	},
	{
		name: "A100 SXM 80GB",
		memoryBytes: 81920 * MIB,
		capability: 80,
		multiprocessors: 108,
		bf16Tflops: 312,
		memoryGbs: 2039,
		hostGbs: 32,
		source: "NVIDIA A100 data sheet"
	},
	{
		name: "H100 SXM 80GB",
		memoryBytes: 81559 * MIB,
		capability: 90,
		multiprocessors: 132,
		bf16Tflops: 989,
		fp8Tflops: 1979,
		memoryGbs: 3350,
		hostGbs: 64,
		source: "NVIDIA H100 data sheet"
	},
	{
		name: "H200 SXM 141GB",
		memoryBytes: 143771 * MIB,
		capability: 90,
		multiprocessors: 132,
		bf16Tflops: 989,
		fp8Tflops: 1979,
		memoryGbs: 4800,
		hostGbs: 64,
		source: "NVIDIA H200 data sheet"
	},
	{
		name: "B200 SXM 180GB",
		memoryBytes: 183359 * MIB,
		capability: 100,
		multiprocessors: 148,
		bf16Tflops: 2250,
		fp8Tflops: 4500,
		memoryGbs: 8e3,
		hostGbs: 64,
		source: "NVIDIA HGX B200 and DGX B200 data sheets",
		isUntried: true
	}
];
const MEASURED_CARD = "H200 SXM 141GB";
const USUAL_CARDS = [
	"RTX 3060 12GB",
	"RTX 4080 16GB",
	"RTX 4090 24GB",
	"A100 PCIe 40GB",
	"L40S 48GB",
	"H100 SXM 80GB",
	"H200 SXM 141GB"
];
const SMI_WORDS = /\b(nvidia|geforce|hbm\d\w?)\b/g;
function cardNamed(name, what) {
	const wanted = name.toLowerCase().replace(SMI_WORDS, "").replace(/\bsxm\d\b/g, "sxm").replace(/[^a-z0-9]/g, "");
	const found = CARDS.filter((card) => {
		const words = card.name.toLowerCase().split(" ");
		return wanted !== "" && new RegExp(`^${words.map((word) => `(?:${word})?`).join("")}$`).test(wanted);
	});
	if (found.length === 1) return found[0];
	const names = CARDS.map((card) => card.name);
	const near = nearestName(name, names);
	throw new ConfigError(found.length > 1 ? `${what}: "${name}" may be ${found.map((card) => card.name).join(" or ")}` : `${what}: the card ${showValue(name)} is not in the table${near ? `; did you mean "${near}"?` : ""}`, {
		hint: `Known are ${names.join(", ")}.`,
		details: { known: names }
	});
}
// src/plan/step-time.ts
const SHARES = {
	text: .61,
	vision: .223,
	fp8: .526,
	attention: .35,
	memory: .77,
	widening: .4,
	host: .82
};
const TIMES_MOVED = 2;
const UNHIDDEN = .25;
const WIDENED_BYTES = {
	bf16: 0,
	fp8: 3,
	nf4: 2.5
};
const QUEUEING = {
	pass: .004,
	layer: .0014
};
function secondsOf(windows, run) {
	let seconds = 0;
	for (const { plan } of windows) for (const pass of plan.passes) seconds += secondsOfPass(pass, run);
	return seconds;
}
function computationSeconds(pass, run) {
	const { card, costs, format, precision, heldValues } = run;
	const { size, recompute } = pass;
	const { textOperations, visionOperations, savedBytes } = costs.workOf(size, recompute);
	const bf16 = 0xe8d4a51000 * card.bf16Tflops * SHARES.text;
	const fp8 = 0xe8d4a51000 * (card.fp8Tflops ?? card.bf16Tflops) * SHARES.fp8;
	const [forward, backward] = {
		bf16: [bf16, bf16],
		"fp8-backward": [bf16, fp8],
		fp8: [fp8, fp8]
	}[precision];
	const text = textOperations / 2 / forward + textOperations / 2 / backward;
	const vision = visionOperations / (0xe8d4a51000 * card.bf16Tflops * SHARES.vision);
	const moved = TIMES_MOVED * savedBytes / (1e9 * card.memoryGbs * SHARES.memory);
	const share = costs.layers.text === 0 ? 0 : recompute.text / costs.layers.text;
	const widened = (2 + share) * WIDENED_BYTES[format] * heldValues / (1e9 * card.memoryGbs * SHARES.widening);
	const attention = attentionOperations(pass, run) / (0xe8d4a51000 * card.bf16Tflops * SHARES.attention);
	const read = (2 + share) * run.weightBytes / (1e9 * card.memoryGbs * SHARES.memory);
	return Math.max(text + vision, read) + moved + widened + attention;
}
function secondsOfPass(pass, run) {
	const { card, costs, storage } = run;
	const queueing = QUEUEING.pass + QUEUEING.layer * (costs.layers.text + costs.layers.vision);
	const computation = Math.max(computationSeconds(pass, run), queueing);
	const offloaded = costs.hostBytes(pass.size, pass.recompute);
	const copies = 2 * ((storage.streamedBytes ?? 0) + offloaded) / (1e9 * card.hostGbs * SHARES.host);
	const [shorter, longer] = computation < copies ? [computation, copies] : [copies, computation];
	return longer + UNHIDDEN * shorter * (shorter / longer) ** 2;
}
function attentionOperations({ samples, recompute }, { model: { text, vision, visionFeatureLayer }, imageShare }) {
	let operations = 0;
	for (const { size } of samples) {
		const onText = 2 * text.heads * text.headDim * size.tokens ** 2;
		const onVision = 4 * vision.hiddenSize * imageShare * size.patches ** 2;
		operations += onText * (3.5 * text.layers + recompute.text);
		operations += onVision * (3.5 * visionFeatureLayer + recompute.vision);
	}
	return operations;
}
// src/plan/card-plan.ts
const ROOMY_BYTES = 2 ** 41;
async function rehearseFormat(format, common, known) {
	const { model, lora, config, engine, run } = common;
	const card = {
		...cardNamed(MEASURED_CARD, "plan"),
		memoryBytes: ROOMY_BYTES
	};
	const rehearsal = await rehearse({
		model,
		lora,
		config,
		format,
		engine,
		card,
		known
	});
	const { costs, modules } = rehearsal;
	const planned = planWindows(asLoaded(rehearsal), costs, run.windows, {
		gradientCheckpointing: config.gradientCheckpointing,
		autoMicroBatch: config.autoMicroBatch
	});
	const evenly = planned.slice(0, run.representative);
	const passes = evenly.flatMap(({ plan }) => plan.passes);
	const flops = passes.reduce((sum, { size }) => sum + trainingFlops(model.config, modules, size), 0);
	const tokens = evenly.reduce((sum, { window }) => sum + window.size.tokens, 0);
	const computed = passes.reduce((sum, { size }) => sum + size.tokens, 0);
	return {
		format,
		rehearsal,
		trainableParameters: rehearsal.trainableParameters,
		flops: tokens === 0 ? 0 : flops * run.tokens / tokens,
		sharedTokenShare: tokens === 0 ? 0 : 1 - computed / tokens,
		plan: {
			format,
			weightBytes: rehearsal.weightBytes,
			recomputation: planned.length === 0 ? [] : waysOf(rehearsal, largestPassOf(planned), timed(format, card, rehearsal, common))
		}
	};
}
async function planOnCard(first, card, common) {
	const { model, lora, config, engine, memoryBudget } = common;
	const { format } = first;
	const budget = Math.min(memoryBudget ?? card.memoryBytes, config.memoryBudget ?? card.memoryBytes);
	const what = {
		card: card.name,
		format,
		cardBytes: card.memoryBytes,
		...budget >= card.memoryBytes ? {} : { budgetBytes: budget }
	};
	if (common.run.windows.length === 0) return {
		...what,
		misfit: "no sample is left to train on"
	};
	let own;
	try {
		const same = onCard(first.rehearsal, card, memoryBudget);
		if (!same) own = await rehearse({
			model,
			lora,
			config,
			format,
			engine,
			card,
			memoryBudget,
			known: first.rehearsal
		});
		const rehearsal = own ?? first.rehearsal;
		return {
			...what,
			run: runOn(card, format, rehearsal, same ?? asLoaded(rehearsal), common)
		};
	} catch (error) {
		const isUnsupported = error instanceof EngineError || error instanceof ConfigError;
		const misfit = misfitOf(error) ?? (isUnsupported ? error.summary : void 0);
		if (misfit === void 0) throw error;
		return {
			...what,
			misfit
		};
	} finally {
		await own?.engine.dispose();
	}
}
function runOn(card, format, rehearsal, engine, common) {
	const { config, run } = common;
	const planned = planWindows(engine, rehearsal.costs, run.windows, config);
	const all = planned.flatMap(({ plan }) => plan.passes);
	const most = (value) => all.reduce((max, pass) => Math.max(max, value(pass)), 0);
	const evenly = planned.slice(0, run.representative);
	const seconds = secondsOf(evenly, timed(format, card, {
		...rehearsal,
		storage: engine.storage
	}, common));
	const tokens = evenly.reduce((sum, { window }) => sum + window.size.tokens, 0);
	const total = tokens === 0 ? 0 : seconds * run.tokens / tokens;
	return {
		memory: memoryOf(rehearsal, largestPassOf(planned)),
		passes: planned.reduce((max, { plan }) => Math.max(max, plan.passes.length), 0),
		microBatchSize: planned.reduce((least, { plan }) => Math.min(least, plan.microBatchSize), Number.POSITIVE_INFINITY),
		recomputedLayers: {
			vision: most(({ recompute }) => recompute.vision),
			text: most(({ recompute }) => recompute.text)
		},
		offloadsInputs: all.some(({ recompute }) => recompute.offloadInputs === true),
		streamedBytes: engine.storage.streamedBytes ?? 0,
		samplesPerSecond: total === 0 ? 0 : run.samples / total,
		tokensPerSecond: total === 0 ? 0 : run.tokens / total,
		seconds: total,
		basis: card.name === "H200 SXM 141GB" ? "measured" : "estimated"
	};
}
function timed(format, card, { costs, modules, engine, weightBytes, storage = engine.storage }, { config, model, imageShare }) {
	const held = modules.textLayers.flatMap(modulesOf).filter(({ weight }) => weight.held !== void 0);
	return {
		card,
		format,
		precision: config.precision,
		model: model.config,
		costs,
		storage,
		weightBytes: weightBytes + (storage.streamedBytes ?? 0),
		heldValues: held.reduce((sum, { weight }) => sum + sizeOf(weight.shape), 0),
		imageShare
	};
}
function waysOf(rehearsal, pass, run) {
	const { costs } = rehearsal;
	const { vision, text } = costs.layers;
	const ways = [
		["nothing", {
			vision: 0,
			text: 0
		}],
		["vision tower", {
			vision,
			text: 0
		}],
		["decoder", {
			vision: 0,
			text
		}],
		["everything", {
			vision,
			text
		}],
		["everything, inputs in host memory", {
			vision,
			text,
			offloadInputs: true
		}]
	];
	const seconds = (recompute) => computationSeconds({
		...pass,
		recompute
	}, run);
	const shortest = seconds({
		vision: 0,
		text: 0
	});
	return ways.map(([name, recompute]) => {
		const { activationBytes, totalBytes } = memoryOf(rehearsal, {
			...pass,
			recompute,
			bytes: costs.peakBytes(pass.size, recompute)
		});
		return {
			recompute: name,
			activationBytes,
			totalBytes,
			relativeTime: seconds(recompute) / shortest
		};
	});
}
function imageShareOf(packed) {
	let [images, samples] = [0, 0];
	for (const sample of packed) {
		const starts = sample?.images?.starts;
		if (!starts) continue;
		samples += starts.at(-1) ** 2;
		for (let n = 1; n < starts.length; n++) images += (starts[n] - starts[n - 1]) ** 2;
	}
	return samples === 0 ? 1 : images / samples;
}
// src/plan/data-source.ts
async function trainingData(given, options) {
	if (typeof given === "string") return fromName(given, options);
	if (isKind(given, "imageFolder")) return fromFolder(given, options);
	requireNoPrompt(options);
	if (Array.isArray(given)) return IndexedDataset.from(given);
	if (isKind(given, "dataset")) return given;
	throw new ConfigError(`plan: \`trainDataset\`: expected a data set, a list of samples or a name, got ${describeGiven(given)}`, { hint: "Give what SftTrainer takes, a folder of images, a file of conversations, kaggle:OWNER/NAME or hub:OWNER/NAME." });
}
async function fromName(name, options) {
	const { signal, onNote } = options;
	const [, scheme, rest] = /^(kaggle|hub):(.+)$/s.exec(name) ?? [];
	const reading = {
		onWarning: onNote,
		...signal ? { signal } : {}
	};
	if (scheme === "kaggle") return fromFolder(await KaggleImageFolder.download(rest, reading), options);
	if (scheme === "hub") return fromFolder(await HubImageFolder.download(rest, reading), options);
	const found = await stat(name).catch(() => void 0);
	if (!found) throw new ConfigError(`plan: there is no file or folder ${oneLine(name)}`, {
		hint: "A data set of a service is written kaggle:OWNER/NAME or hub:OWNER/NAME.",
		details: { path: name }
	});
	if (found.isDirectory()) return fromFolder(await ImageFolder.load(name, { onWarning: onNote }), options);
	requireNoPrompt(options);
	return ConversationDataset.fromFile(name);
}
function requireNoPrompt({ prompt }) {
	if (prompt === void 0) return;
	throw new ConfigError("plan: `prompt` has no effect: only images of a folder are asked for with it", { hint: "Samples bring their own prompts: leave it out." });
}
function fromFolder(folder, { prompt, onNote }) {
	if (!folder.splits.has("train")) throw new DataError(`${folder.dir}: there are no training images`, { hint: "Name a folder of them `train`, or give a data set of samples." });
	const text = prompt ?? `Name the class of this image. Answer with one of: ${folder.classNames.join(", ")}`;
	if (prompt === void 0) onNote("no prompt was given: each image is asked for with a plain one that lists the classes, which counts as tokens");
	return folder.train.map(({ image, path, className }) => ({
		id: path,
		messages: [{
			role: "user",
			content: [{
				type: "text",
				text
			}, {
				type: "image",
				image
			}]
		}, {
			role: "assistant",
			content: [{
				type: "text",
				text: className
			}]
		}]
	}));
}
// src/model/ministral3/sizes.ts
const ROPE = {
	rope_type: "yarn",
	factor: 16,
	original_max_position_embeddings: 16384,
	beta_fast: 32,
	beta_slow: 1,
	mscale: 1,
	mscale_all_dim: 1,
	llama_4_scaling_beta: .1
};
const SIZES = {
	"3B": {
		hidden_size: 3072,
		intermediate_size: 9216,
		num_hidden_layers: 26,
		rope_theta: 1e6,
		tied: true
	},
	"8B": {
		hidden_size: 4096,
		intermediate_size: 14336,
		num_hidden_layers: 34,
		rope_theta: 1e6,
		tied: false
	},
	"14B": {
		hidden_size: 5120,
		intermediate_size: 16384,
		num_hidden_layers: 40,
		rope_theta: 1e9,
		tied: false
	}
};
const MINISTRAL_SIZES = Object.keys(SIZES);
function repositoryOf(size) {
	return `mistralai/Ministral-3-${size}-Instruct-2512-BF16`;
}
function configJsonOf(size) {
	const { rope_theta, tied, ...text } = SIZES[size];
	return {
		model_type: "mistral3",
		tie_word_embeddings: tied,
		text_config: {
			model_type: "ministral3",
			...text,
			rope_parameters: {
				...ROPE,
				rope_theta
			}
		},
		vision_config: {
			model_type: "pixtral",
			patch_size: 14,
			hidden_act: "silu"
		}
	};
}
// src/plan/model-source.ts
const SMALL_FILES = [
	"config.json",
	"generation_config.json",
	"tokenizer.json",
	"tokenizer_config.json",
	"special_tokens_map.json",
	"processor_config.json",
	"preprocessor_config.json",
	"chat_template.*",
	"model.safetensors.index.json"
];
function isSize(model) {
	return MINISTRAL_SIZES.includes(model);
}
async function plannedModel(model, signal) {
	if (isSize(model)) {
		const json = configJsonOf(model);
		return {
			name: `Ministral 3 ${model}`,
			config: parseModelConfig(json),
			tied: json.tie_word_embeddings === true
		};
	}
	if (!model.includes("/") && !await exists(model)) {
		const near = nearestName(model, MINISTRAL_SIZES);
		throw new ConfigError(`plan: \`model\`: ${showValue(model)} is neither a size nor a folder${near ? `; did you mean "${near}"?` : ""}`, {
			hint: `Sizes are ${MINISTRAL_SIZES.join(", ")}; a name on the Hub is OWNER/NAME.`,
			details: { model }
		});
	}
	const path = join(await smallFilesOf(model, ["config.json"], signal), "config.json");
	const json = await readJson(path).catch((cause) => {
		throw new ConfigError(`${path} cannot be read: ${reasonOf(cause)}`, {
			hint: `Give a folder with the config.json of a checkpoint, a name on the Hub, or a size: ${MINISTRAL_SIZES.join(", ")}.`,
			cause
		});
	});
	return {
		name: model,
		config: parseModelConfig(json, path),
		tied: await isTied(json, path)
	};
}
async function isTied(json, configPath) {
	const index = configPath.replace(/config\.json$/, "model.safetensors.index.json");
	if (await exists(index)) {
		const { weight_map: names = {} } = await readJson(index);
		return !Object.keys(names).some((name) => name.endsWith("lm_head.weight"));
	}
	const text = json.text_config;
	return (json.tie_word_embeddings ?? text?.tie_word_embeddings ?? true) === true;
}
async function collatorFrom(from, template, options, signal) {
	const processor = await loadProcessor(await smallFilesOf(from, ["tokenizer.json"], signal));
	return new VlmCollator({
		...options,
		...options.maxLength === void 0 ? {} : { overlong: "drop" },
		...partsOf(processor, template, from)
	});
}
function partsOf({ tokenizer, imageProcessor, chatTemplate }, template, from) {
	const { bosToken, eosToken } = tokenizer;
	if (template === "tutorial") return {
		tokenizer,
		imageProcessor,
		chatTemplate: new ChatTemplate(TUTORIAL_TEMPLATE, {
			bosToken,
			eosToken
		})
	};
	if (chatTemplate) return {
		tokenizer,
		imageProcessor,
		chatTemplate
	};
	throw new ConfigError(`${from} has no chat template`, { hint: "Give a `collator` with the template of the run, or `template: \"tutorial\"` (--template tutorial)." });
}
async function smallFilesOf(name, needed, signal) {
	const from = isSize(name) ? repositoryOf(name) : name;
	const download = hubDownloadSchema.parse(signal ? { signal } : {});
	const { folder } = await folderOrSnapshot(from, download, {
		allowPatterns: SMALL_FILES,
		missingFrom: async (dir) => {
			const found = await Promise.all(needed.map((file) => exists(join(dir, file))));
			return needed.filter((_, i) => !found[i]);
		}
	});
	return folder;
}
// src/plan/run-windows.ts
const MOST_WINDOWS = 128;
const HEAVIEST = 4;
function runWindows(packed, config, most = MOST_WINDOWS) {
	const { perDeviceTrainBatchSize, gradientAccumulationSteps, dataloaderDropLast, seed, dataSeed } = config;
	const sampler = new Sampler({
		length: packed.length,
		batchSize: perDeviceTrainBatchSize,
		gradientAccumulationSteps,
		dropLast: dataloaderDropLast,
		seed: dataSeed ?? seed,
		numTrainEpochs: config.numTrainEpochs,
		maxSteps: config.maxSteps
	});
	const sizes = Array.from(packed, (sample) => {
		return {
			tokens: sample?.ids.length ?? 0,
			patches: sample?.images?.starts.at(-1) ?? 0
		};
	});
	const { totalSteps } = sampler;
	const all = [];
	const looked = Math.min(totalSteps, Math.max(sampler.stepsPerEpoch, most));
	for (let step = 0; step < looked; step++) {
		let [tokens, patches, samples] = [
			0,
			0,
			0
		];
		for (const index of sampler.window(step).microBatches.flat()) {
			tokens += sizes[index].tokens;
			patches += sizes[index].patches;
			if (packed[index]) samples++;
		}
		all.push({
			step,
			tokens,
			patches,
			samples
		});
	}
	const full = all.filter(({ samples }) => samples > 0);
	const count = Math.min(most, full.length);
	const chosen = Array.from({ length: count }, (_, i) => full[Math.floor(i * full.length / count)].step);
	const heaviest = ["tokens", "patches"].flatMap((what) => [...full].sort((a, b) => b[what] - a[what]).slice(0, HEAVIEST));
	const others = new Set(heaviest.map(({ step }) => step).filter((step) => !chosen.includes(step)));
	const sharePrefix = config.sharePrefix && config.neftuneNoiseAlpha === 0;
	const windows = [...chosen, ...others].map((step) => {
		const microBatches = sampler.window(step).microBatches.flatMap((indices) => {
			const samples = indices.flatMap((index) => packed[index] ?? []);
			return samples.length === 0 ? [] : [joinPacked(samples)];
		});
		return new PackedWindow(microBatches, { sharePrefix });
	});
	const perStep = (what) => all.length === 0 ? 0 : all.reduce((sum, one) => sum + one[what], 0) * totalSteps / all.length;
	return {
		steps: totalSteps,
		windows,
		representative: chosen.length,
		tokens: Math.round(perStep("tokens")),
		samples: Math.round(perStep("samples"))
	};
}
// src/plan/sample-tokens.ts
const AT_ONCE = 8;
async function measureData(dataset, { collator, model, signal }) {
	const measured = new Array(dataset.length).fill(void 0);
	const faults = {
		overlong: [],
		unlearnable: [],
		unreadable: []
	};
	let next = 0;
	const work = async () => {
		for (let index = next++; index < dataset.length; index = next++) {
			signal?.throwIfAborted();
			const example = await dataset.get(index);
			const id = oneLine(String(example?.id ?? index));
			try {
				if (!collator.hasLabels(example)) {
					faults.unlearnable.push({
						index,
						id,
						reason: "no token of it is learned: it has no answer, or all are masked",
						isLeftOut: false
					});
					continue;
				}
				const sample = await collator.measure(example, signal && { signal });
				if ("reason" in sample) {
					faults.unreadable.push({
						index,
						id,
						reason: oneLine(sample.reason),
						isLeftOut: true
					});
					continue;
				}
				const fault = lengthFault(sample.inputIds.length, collator, model);
				if (fault) {
					faults.overlong.push({
						index,
						id,
						...fault,
						tokens: sample.inputIds.length
					});
					continue;
				}
				measured[index] = measureOf(index, id, sample, model);
			} catch (error) {
				if (signal?.aborted || !(error instanceof TuneError)) throw error;
				const { length } = error.details;
				const reason = error instanceof ImageError ? error.reason : error.summary;
				if (typeof length === "number" && error.details.maxLength !== void 0) faults.overlong.push({
					index,
					id,
					reason,
					isLeftOut: false,
					tokens: length
				});
				else faults.unreadable.push({
					index,
					id,
					reason: oneLine(reason),
					isLeftOut: false
				});
			}
			if (index % 64 === 0) await setImmediate();
		}
	};
	const stopping = async () => {
		await work().catch((error) => {
			next = dataset.length;
			throw error;
		});
	};
	await Promise.all(Array.from({ length: AT_ONCE }, stopping));
	const kept = measured.flatMap((one) => one ?? []);
	const prefixes = prefixTokens(kept.map(({ packed }) => packed));
	const perSample = kept.map(({ planned }, i) => ({
		...planned,
		prefixTokens: prefixes[i]
	}));
	const sum = (value) => perSample.reduce((total, sample) => total + value(sample), 0);
	const inOrder = (list) => list.sort((a, b) => a.index - b.index);
	return {
		plan: {
			samples: dataset.length,
			trainedSamples: kept.length,
			images: kept.reduce((total, { packed }) => total + (packed.images?.images.length ?? 0), 0),
			tokens: sum(({ tokens }) => tokens),
			imageTokens: sum(({ imageTokens }) => imageTokens),
			labels: sum(({ labels }) => labels),
			perSample,
			overlong: inOrder(faults.overlong),
			unlearnable: inOrder(faults.unlearnable),
			unreadable: inOrder(faults.unreadable)
		},
		packed: measured.map((one) => one?.packed)
	};
}
function lengthFault(length, { options: { maxLength } }, { text: { maxPositions } }) {
	if (maxLength !== void 0 && length > maxLength) return {
		reason: `${length} tokens, maxLength is ${maxLength}`,
		isLeftOut: true
	};
	if (length <= maxPositions) return void 0;
	return {
		reason: `${length} tokens, the model has ${maxPositions} positions`,
		isLeftOut: false
	};
}
function measureOf(index, id, { inputIds, labels = [], images }, { vision: { patchSize }, spatialMergeSize, imageTokenId }) {
	const labelRows = [];
	const tokenRows = [];
	for (const [t, id] of inputIds.entries()) {
		if (t > 0 && labels[t] !== -100) labelRows.push(t - 1);
		if (id === imageTokenId) tokenRows.push(t);
	}
	const grids = images.flatMap(({ height, width }) => [height / patchSize, width / patchSize]);
	const starts = [0];
	let rows = 0;
	for (const { height, width } of images) {
		starts.push(starts.at(-1) + height * width / patchSize ** 2);
		rows += height / (patchSize * spatialMergeSize);
	}
	const none = new Float32Array(0);
	const packedImages = images.map(({ height, width, input }, n) => {
		return {
			name: nameOf(input) ?? `${index}/${n}`,
			pixels: none,
			offset: 0,
			channels: 3,
			height,
			width
		};
	});
	const packed = {
		ids: Int32Array.from(inputIds),
		positions: positionsUpTo(inputIds.length),
		starts: Int32Array.of(0, inputIds.length),
		labelRows: Int32Array.from(labelRows),
		labelTargets: Int32Array.from(labelRows, (row) => labels[row + 1]),
		images: images.length === 0 ? void 0 : {
			images: packedImages,
			patchSize,
			grids: Int32Array.from(grids),
			starts: Int32Array.from(starts),
			tokenRows: Int32Array.from(tokenRows)
		}
	};
	return {
		planned: {
			index,
			id,
			tokens: inputIds.length,
			imageTokens: tokenRows.length + rows,
			labels: labelRows.length,
			patches: starts.at(-1),
			prefixTokens: 0
		},
		packed
	};
}
let positions = new Int32Array(0);
function positionsUpTo(length) {
	if (positions.length < length) positions = Int32Array.from({ length: 2 * length }, (_, t) => t);
	return positions.subarray(0, length);
}
function nameOf(input) {
	if (typeof input === "string") return input;
	return "path" in input && typeof input.path === "string" ? input.path : void 0;
}
function prefixTokens(samples) {
	const images = new Map();
	const keys = samples.map(({ ids, images: own }) => {
		if (!own) return ids;
		const key = ids.slice();
		const perFeature = own.starts.at(-1) / own.tokenRows.length;
		for (const [n, { name = "" }] of own.images.entries()) {
			const known = images.get(name) ?? images.size + 1;
			images.set(name, known);
			key[own.tokenRows[own.starts[n] / perFeature]] = -known;
		}
		return key;
	});
	const order = keys.map((_, i) => i).sort((a, b) => compare(keys[a], keys[b]));
	const found = new Array(samples.length).fill(0);
	for (let i = 1; i < order.length; i++) {
		const [a, b] = [order[i - 1], order[i]];
		const common = commonLength(keys[a], keys[b]);
		for (const [one, other] of [[a, b], [b, a]]) {
			const shared = Math.min(common, keys[one].length - 1, keys[other].length);
			if (shared >= 16) found[one] = Math.max(found[one], shared);
		}
	}
	return found;
}
function commonLength(a, b) {
	const most = Math.min(a.length, b.length);
	let length = 0;
	while (length < most && a[length] === b[length]) length++;
	return length;
}
function compare(a, b) {
	const at = commonLength(a, b);
	return (a[at] ?? Number.MIN_SAFE_INTEGER) - (b[at] ?? Number.MIN_SAFE_INTEGER);
}
// src/plan/plan.ts
const given = custom((value) => value !== void 0, "is missing");
const schema = strictObject({
	trainDataset: given,
	model: string({ error: "expected a size (3B, 8B, 14B), a folder or a name on the Hub" }).min(1),
	collator: custom().optional(),
	processor: string().min(1).optional(),
	template: _enum(["own", "tutorial"]).optional(),
	maxLength: int().positive().optional(),
	prompt: string().optional(),
	config: custom().optional(),
	lora: custom().optional(),
	cuda: custom((value) => typeof value === "object" && value !== null).optional(),
	formats: array(_enum([
		"bf16",
		"fp8",
		"nf4"
	])).min(1).optional(),
	cards: array(string()).min(1).optional(),
	signal: _instanceof(AbortSignal).optional(),
	onNote: custom().optional()
});
const ALIASES = {
	dataset: "trainDataset",
	data: "trainDataset",
	args: "config",
	quantization: "formats",
	gpus: "cards",
	card: "cards"
};
const FORMATS = [
	"bf16",
	"fp8",
	"nf4"
];
const USUAL_LORA = {
	r: 16,
	alpha: 32,
	dropout: .05,
	targetModules: [...LAYER_PROJECTIONS]
};
const FEW_COMBINATIONS = 3;
const WINDOWS_OF_FEW = 128;
const WINDOWS_OF_MANY = 12;
async function plan(options) {
	const parsed = parseOptions(schema, options, "plan", ALIASES);
	const { signal } = parsed;
	const formats = [...new Set(parsed.formats ?? FORMATS)];
	requireCallback(parsed.onNote, "plan: `onNote`", void 0, true);
	if (parsed.collator !== void 0 && typeof parsed.collator?.measure !== "function") throw new ConfigError(`plan: \`collator\`: expected a VlmCollator, got ${describeGiven(parsed.collator)}`, { hint: "Tokens are counted by VlmCollator alone: write new VlmCollator({ ...processor })." });
	for (const name of [
		"processor",
		"template",
		"maxLength"
	]) {
		if (parsed.collator === void 0 || parsed[name] === void 0) continue;
		throw new ConfigError(`plan: \`${name}\` has no effect beside \`collator\``, { hint: "Give it to the collator itself, or leave the collator out." });
	}
	if (parsed.cuda !== void 0) requireCudaOptions(parsed.cuda, "plan: `cuda`");
	const cards = [...new Set((parsed.cards ?? USUAL_CARDS).map((name) => cardNamed(name, "plan")))];
	const config = parseSftConfig(parsed.config);
	const lora = parsed.lora instanceof LoraConfig ? parsed.lora : new LoraConfig(parsed.lora ?? USUAL_LORA);
	const notes = [];
	const onNote = (line) => {
		notes.push(line);
		parsed.onNote?.(line);
	};
	const model = await plannedModel(parsed.model, signal);
	const collator = parsed.collator ?? await collatorFrom(parsed.processor ?? parsed.model, parsed.template ?? "own", { maxLength: parsed.maxLength }, signal);
	const data = await measureData(await trainingData(parsed.trainDataset, {
		prompt: parsed.prompt,
		signal,
		onNote
	}), {
		collator,
		model: model.config,
		signal
	});
	const few = cards.length * formats.length <= FEW_COMBINATIONS;
	const run = runWindows(data.packed, config, few ? WINDOWS_OF_FEW : WINDOWS_OF_MANY);
	const { memoryBudget, device: _, ...engine } = parsed.cuda ?? {};
	const common = {
		model,
		lora,
		config,
		engine,
		memoryBudget,
		run,
		imageShare: imageShareOf(data.packed)
	};
	const planned = {
		formats: [],
		cards: []
	};
	let trainableParameters = 0;
	let flops = 0;
	let sharedTokenShare = 0;
	let known;
	for (const format of formats) {
		signal?.throwIfAborted();
		const first = await rehearseFormat(format, common, known);
		known ??= first.rehearsal;
		planned.formats.push(first.plan);
		({trainableParameters, flops, sharedTokenShare} = first);
		for (const card of cards) {
			signal?.throwIfAborted();
			planned.cards.push(await planOnCard(first, card, common));
		}
		await first.rehearsal.engine.dispose();
	}
	const order = (name) => cards.findIndex((card) => card.name === name);
	return {
		model: model.name,
		parameters: wantedWeights(model.config, model.tied).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
		trainableParameters,
		data: data.plan,
		steps: run.steps,
		effectiveBatchSize: config.perDeviceTrainBatchSize * config.gradientAccumulationSteps,
		runTokens: run.tokens,
		sharedTokenShare,
		flops,
		formats: planned.formats,
		cards: planned.cards.sort((a, b) => order(a.card) - order(b.card)),
		notes: [...notes, ...notesOf(cards, run, config)]
	};
}
function notesOf(cards, { windows, steps, representative }, { onNonFiniteLoss }) {
	const notes = ["images were read up to their headers: damage behind them is found by `verify`, or in the run"];
	if (representative < steps) notes.push(`${windows.length} of ${steps} optimizer steps were planned, the heaviest among them`);
	if (cards.some(({ name }) => name !== "H200 SXM 141GB")) notes.push(`times on cards other than ${MEASURED_CARD} are scaled by data sheets from those measured on it`);
	const untried = cards.filter(({ isUntried }) => isUntried).map(({ name }) => name);
	if (untried.length > 0) notes.push(`never tried: the kernels compile for ${untried.join(" and ")}, but have not run there`);
	if (onNonFiniteLoss === "skip") notes.push("`onNonFiniteLoss: \"skip\"` waits for each loss: its steps do not overlap and take longer than told");
	notes.push("times leave out loading, evaluation, saving, and the first steps, in which the card loads code");
	return notes;
}
export { formatTrainingPlan as n, plan as t };
