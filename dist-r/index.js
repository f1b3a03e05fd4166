import { a as custom, f as record, g as unknown, i as boolean, l as number, m as string, o as int, p as strictObject, r as array, t as _enum } from "./zod-CVDjCv3S.js";
import { $ as HubImageFolder, A as requireAdapter, B as warnWith, C as LAYER_PROJECTIONS, D as deleteAdapter, E as adaptersOf, F as isLocalName, G as PROCESSOR_FILES, H as ADAPTER_SELECTION, I as otherBaseWarning, J as asTfNamespace, K as adapterFolder, L as readTogether, M as chatTemplateText, N as baseOf, O as setAdapter, P as cachedRepo, Q as KaggleImageFolder, R as whileUploading, S as visionServingAdvice, T as activeAdapter, U as ADAPTER_WEIGHTS_FILE, V as ADAPTER_CONFIG_FILE, W as CHAT_TEMPLATE_FILE, X as ChatTemplate, Y as VlmCollator, Z as TUTORIAL_TEMPLATE, _ as describeFolder, a as loadProcessor, b as putOn, et as ImageFolder, f as VisionLanguageModel, g as parseQuantization, h as QuantizedCheckpoint, i as loadModel, j as chatTemplateFields, k as saveAdapter, l as LOAD_ALIASES, m as requireBatch, n as findImageProcessor, nt as ConversationDataset, o as requireEngine, q as createEngine, r as loadFrom, s as requireModelFolder, t as Sampler, tt as ArchiveError, u as parseQuantizationOption, v as adapterNameSchema, w as LoraConfig, x as selectTargetModules, y as applyLora, z as requireLoraHost } from "./sampler-DEcpnHov.js";
import { E as LabelledDataset, T as IndexedDataset, c as imageName, d as requireImage } from "./image-cells-BdLZPrXr.js";
import { t as onAbort } from "./on-abort-CCSG5d53.js";
import { d as WorkerThreads, l as requireUnchanged } from "./file-digests-DzAwU2JM.js";
import { _ as isKind, a as parseOptions, b as showValue, c as requireBoolean, d as requireKind, g as describeGiven, l as requireCallback, m as requireSignal, n as checkNames, o as requirePath, s as isOptions, t as callback, u as requireInteger, v as isObject, y as isPromise } from "./config-BAD1VLMT.js";
import { S as printable, _ as redact, a as EngineError, c as KaggleError, d as TrainingError, f as TransferError, i as DiskError, l as OutOfMemoryError, m as reasonOf, n as ConfigError, o as HubError, p as TuneError, r as DataError, s as ImageError, t as CheckpointError, u as TextError, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { t as decodeWithin } from "./decode-budget-DsPqpzwm.js";
import { n as orAborted, t as afterAbort } from "./or-aborted-C0Ixy3mg.js";
import { c as randomPermutation, t as MersenneTwister } from "./random-BGUvVUOv.js";
import { i as nameSample, n as MinistralTokenizer } from "./image-processor-DWu-OBnR.js";
import { r as readRegularFile, t as exists } from "./regular-file-BhWpSxEj.js";
import { a as ShardedCheckpoint, c as writeSafetensors, i as SafetensorsFile, n as INDEX_FILE, o as engineDtype, s as readShardIndex, t as FILE_DTYPES } from "./safetensors-Cc_Zl7Xi.js";
import { A as formatHubProgress, C as withRetries, L as mayBeLoopback, M as hubDownloadSchema, N as requestSettings, O as authorization, P as SilenceWatch, S as RetryBudget, _ as sendRequest, a as parseRepoId, c as listTree, d as asHubError, f as askHub, j as hubConnectionSchema, k as connectHub, l as resolveRevision, m as requestJson, o as plainRepoName, p as explainAnswer, r as folderOrSnapshot, s as fileAddress, t as MODEL_FILES, u as parseRevision, y as errorOf } from "./snapshot-download-D96EO7UI.js";
import { a as isTurnDue, i as findNotFinite, n as eventLoopTurn } from "./event-loop-Cd695Vob.js";
import { i as readJson } from "./read-json-BUQErRHs.js";
import { n as shortList, t as firstLines } from "./short-list-DyTENnB8.js";
import { A as toDiskName, D as linearModuleName, M as dequantizedSource, O as modelPart, T as adapterTensorName, d as exclusively, g as PackedWindow, j as toMemoryName, k as parseAdapterTensorName, n as requirePrecision, v as windowParts } from "./precision-D37VSOAP.js";
import { d as writeFileAtomically, n as flushFolder, r as flushTree } from "./atomic-file-D2Hfhe-X.js";
import { i as float32ToFloat16, o as widen, r as float32ToBfloat16, s as DTYPE_BYTES } from "./half-precision-CIC2zd88.js";
import { n as OwnerLock, r as describeOwner, t as HeldError } from "./owner-lock-DpVSmANJ.js";
import { t as DataLoader } from "./data-loader-BwHdQ5Ss.js";
import { m as ParameterLease } from "./reserve-D5uVrLtm.js";
import { _ as tidyCheckpointFolders, a as listCheckpoints, b as BestModelTracker, c as requireCheckpointOf, d as changedSettings, f as evaluationWarnings, g as removeCheckpointFolder, h as checkpointName, i as isCheckpoint, l as savedFingerprints, m as fingerprintDataset, n as readHistory, o as readCheckpoint, p as runSettings, r as OtherRunError, s as readCheckpointParameters, t as RunLog, u as writeCheckpoint, v as claimRunFolder, x as judgeOf, y as explainVanished } from "./history-Bt7Y0Wj4.js";
import { a as evaluateDataset, i as learningRateFactors, n as WindowStep, t as MODEL_GRACE } from "./window-step-D77c3unF.js";
import { a as formatDuration, n as closeDeadTerminalsAtExit, o as fitPieces, r as guardStandardOutput, t as terminalLine } from "./terminal-line-Bc-vVh7b.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { n as styled } from "./terminal-color-B6tTStTQ.js";
import { a as scheduleRun, c as learningRateFactor, i as resolveSteps, l as scheduleWarnings, n as optimizerKind, o as sftConfigSchema, r as parseSftConfig, s as scheduleOf } from "./sft-config-CSEWV3ou.js";
import { a as requireClassNames, c as requireItem, d as buildReport, f as argmax$1, h as softmax$1, i as requireChoices, l as requireModeOptions, n as SCORE_HINT, o as requireEvaluation, r as requireAnswers, s as requireExample, t as GENERATE_HINT, u as requireScores, v as bootstrapIntervals } from "./check-evaluation-D11ct8Gu.js";
import { d as yamlString, i as formatReport, l as escapeMarkdown, o as writeReport, t as compareReports, u as markdownCode, v as requireClasses, x as requireSamples } from "./report-BTHP2jM-.js";
import { s as offlineReason, t as TOKEN_HINT } from "./token-0RQ7dBdg.js";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve, sep } from "node:path";
import { copyFile, mkdir, readFile, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { createReadStream, fstatSync, readFileSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { availableParallelism, constants as constants$2 } from "node:os";
import { createHash, randomBytes } from "node:crypto";
import * as util from "node:util";
import { AsyncLocalStorage } from "node:async_hooks";
import { HubApiError, commitIter, createRepo } from "@huggingface/hub";
// src/generated/image-worker.ts
var image_worker_default = "\"use strict\";\n\n// src/data/image-worker.ts\nvar import_node_worker_threads = require(\"node:worker_threads\");\n\n// src/data/resample.ts\nfunction cubic(distance) {\n  const a = -0.5;\n  const x = Math.abs(distance);\n  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;\n  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;\n  return 0;\n}\nfunction axisWeights(inputSize, outputSize) {\n  const scale = inputSize / outputSize;\n  const support = 2 * Math.max(scale, 1);\n  const inverse = scale >= 1 ? 1 / scale : 1;\n  const capacity = Math.ceil(support) * 2 + 1;\n  const first = new Int32Array(outputSize);\n  const count = new Int32Array(outputSize);\n  const real = new Float64Array(outputSize * capacity);\n  let largest = 0;\n  let taps = 0;\n  for (let i = 0; i < outputSize; i++) {\n    const centre = scale * (i + 0.5);\n    const low = Math.max(Math.trunc(centre - support + 0.5), 0);\n    const high = Math.min(Math.trunc(centre + support + 0.5), inputSize);\n    const used = Math.min(Math.max(high - low, 0), capacity);\n    const row = i * capacity;\n    let total = 0;\n    for (let j = 0; j < used; j++) {\n      const weight = cubic((j + low - centre + 0.5) * inverse);\n      real[row + j] = weight;\n      total += weight;\n    }\n    for (let j = 0; j < used; j++) {\n      const weight = total === 0 ? real[row + j] : real[row + j] / total;\n      real[row + j] = weight;\n      if (weight > largest) largest = weight;\n    }\n    first[i] = low;\n    count[i] = used;\n    if (used > taps) taps = used;\n  }\n  taps = Math.ceil(taps / 4) * 4;\n  let precision = 0;\n  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 32768) precision++;\n  const one = 2 ** precision;\n  const weights = new Int32Array(outputSize * taps);\n  for (let i = 0; i < outputSize; i++) {\n    for (let j = 0; j < count[i]; j++) {\n      const weight = real[i * capacity + j] * one;\n      weights[i * taps + j] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);\n    }\n  }\n  return { taps, first, count, weights, precision };\n}\nvar CACHED_AXES = 256;\nvar cache = /* @__PURE__ */ new Map();\nfunction cachedAxisWeights(inputSize, outputSize) {\n  const key = `${inputSize}>${outputSize}`;\n  let axis = cache.get(key);\n  if (axis) cache.delete(key);\n  else axis = axisWeights(inputSize, outputSize);\n  cache.set(key, axis);\n  if (cache.size > CACHED_AXES) cache.delete(cache.keys().next().value);\n  return axis;\n}\nfunction horizontalPass(input, height, inputWidth, outputWidth) {\n  const axis = cachedAxisWeights(inputWidth, outputWidth);\n  const bytes = new Uint8Array(height * outputWidth * 3);\n  const output = new Uint8ClampedArray(bytes.buffer);\n  if (axis.taps === 4 && inputWidth >= 4) fourTapRows(input, output, height, inputWidth, outputWidth, axis);\n  else anyTapRows(input, output, height, inputWidth, outputWidth, axis);\n  return bytes;\n}\nfunction anyTapRows(input, output, height, inputWidth, outputWidth, { taps, first, count, weights, precision }) {\n  const half = 1 << precision >> 1;\n  let to = 0;\n  for (let y = 0; y < height; y++) {\n    const rowStart = y * inputWidth * 3;\n    for (let x = 0; x < outputWidth; x++) {\n      let from = rowStart + first[x] * 3;\n      let w = x * taps;\n      const end = w + count[x];\n      let red = half;\n      let green = half;\n      let blue = half;\n      for (; w < end; w++, from += 3) {\n        const weight = weights[w];\n        red += Math.imul(weight, input[from]);\n        green += Math.imul(weight, input[from + 1]);\n        blue += Math.imul(weight, input[from + 2]);\n      }\n      output[to] = red >> precision;\n      output[to + 1] = green >> precision;\n      output[to + 2] = blue >> precision;\n      to += 3;\n    }\n  }\n}\nfunction fourTapRows(input, output, height, inputWidth, outputWidth, { first, count, weights, precision }) {\n  const half = 1 << precision >> 1;\n  const starts = new Int32Array(outputWidth);\n  const shifted = new Int32Array(outputWidth * 4);\n  for (let x = 0; x < outputWidth; x++) {\n    const start = Math.min(first[x], inputWidth - 4);\n    starts[x] = start * 3;\n    for (let j = 0; j < count[x]; j++) shifted[x * 4 + first[x] - start + j] = weights[x * 4 + j];\n  }\n  let to = 0;\n  for (let y = 0; y < height; y++) {\n    const rowStart = y * inputWidth * 3;\n    for (let x = 0; x < outputWidth; x++) {\n      const p = rowStart + starts[x];\n      const w = x << 2;\n      const a = shifted[w];\n      const b = shifted[w + 1];\n      const c = shifted[w + 2];\n      const d = shifted[w + 3];\n      output[to] = half + Math.imul(a, input[p]) + Math.imul(b, input[p + 3]) + Math.imul(c, input[p + 6]) + Math.imul(d, input[p + 9]) >> precision;\n      output[to + 1] = half + Math.imul(a, input[p + 1]) + Math.imul(b, input[p + 4]) + Math.imul(c, input[p + 7]) + Math.imul(d, input[p + 10]) >> precision;\n      output[to + 2] = half + Math.imul(a, input[p + 2]) + Math.imul(b, input[p + 5]) + Math.imul(c, input[p + 8]) + Math.imul(d, input[p + 11]) >> precision;\n      to += 3;\n    }\n  }\n}\nfunction verticalPass(input, inputHeight, outputHeight, stride) {\n  const { taps, first, count, weights, precision } = cachedAxisWeights(inputHeight, outputHeight);\n  const bytes = new Uint8Array(outputHeight * stride);\n  const output = new Uint8ClampedArray(bytes.buffer);\n  const half = 1 << precision >> 1;\n  const sums = new Int32Array(stride);\n  const rows = new Int32Array(4);\n  for (let y = 0; y < outputHeight; y++) {\n    sums.fill(half);\n    const to = y * stride;\n    for (let tap = 0; tap < count[y]; tap += 4) {\n      const last = tap + 4 >= count[y];\n      for (let j = 0; j < 4; j++) rows[j] = Math.min(first[y] + tap + j, inputHeight - 1) * stride;\n      const [a, b, c, d] = rows;\n      const w = y * taps + tap;\n      const w0 = weights[w];\n      const w1 = weights[w + 1];\n      const w2 = weights[w + 2];\n      const w3 = weights[w + 3];\n      for (let x = 0; x < stride; x++) {\n        const upper = Math.imul(w0, input[a + x]) + Math.imul(w1, input[b + x]);\n        const lower = Math.imul(w2, input[c + x]) + Math.imul(w3, input[d + x]);\n        const sum = sums[x] + upper + lower;\n        if (last) output[to + x] = sum >> precision;\n        else sums[x] = sum;\n      }\n    }\n  }\n  return bytes;\n}\nfunction resampleBicubic(image, width, height) {\n  let data = image.data;\n  if (width !== image.width) data = horizontalPass(data, image.height, image.width, width);\n  if (height !== image.height) data = verticalPass(data, image.height, height, width * 3);\n  return data === image.data ? image : { width, height, data };\n}\n\n// src/data/process-pixels.ts\nfunction resizedSize(width, height, { longestEdge, cellSize }) {\n  const ratio = Math.max(height / longestEdge, width / longestEdge);\n  const wholeCells = (side) => (Math.floor(((ratio > 1 ? Math.floor(side / ratio) : side) - 1) / cellSize) + 1) * cellSize;\n  return { width: wholeCells(width), height: wholeCells(height) };\n}\nfunction normalisationTable({ imageMean, imageStd, rescaleFactor }) {\n  const { fround } = Math;\n  const inverse = fround(1 / rescaleFactor);\n  const table = new Float32Array(3 * 256);\n  for (let channel = 0; channel < 3; channel++) {\n    const mean = fround(fround(imageMean[channel]) * inverse);\n    const std = fround(fround(imageStd[channel]) * inverse);\n    for (let level = 0; level < 256; level++) table[channel * 256 + level] = fround(level - mean) / std;\n  }\n  return table;\n}\nfunction processPixels(image, settings2) {\n  const target = resizedSize(image.width, image.height, settings2);\n  const { width, height, data } = resampleBicubic(image, target.width, target.height);\n  const table = normalisationTable(settings2);\n  const [red, green, blue] = [table.subarray(0, 256), table.subarray(256, 512), table.subarray(512)];\n  const plane = width * height;\n  const pixelValues = new Float32Array(3 * plane);\n  for (let i = 0, from = 0; i < plane; i++, from += 3) {\n    pixelValues[i] = red[data[from]];\n    pixelValues[plane + i] = green[data[from + 1]];\n    pixelValues[2 * plane + i] = blue[data[from + 2]];\n  }\n  return { pixelValues, height, width };\n}\n\n// src/data/image-worker.ts\nvar port = import_node_worker_threads.parentPort;\nvar settings = import_node_worker_threads.workerData;\nvar nowhere = new import_node_worker_threads.MessageChannel();\nnowhere.port2.close();\nport?.on(\"message\", (image) => {\n  try {\n    const result = processPixels(image, settings);\n    port.postMessage({ result }, [result.pixelValues.buffer]);\n  } catch (error) {\n    port.postMessage({ error });\n  }\n  nowhere.port1.postMessage(void 0, [image.data.buffer]);\n});\n";
// src/data/image-pool.ts
const imagePoolSchema = strictObject({ workers: number().int().min(1).max(64).optional() });
var ImagePool = class {
	processor;
	workers;
	#waiting = [];
	#decoded = [];
	#begun = new Set();
	#threads;
	#closed = false;
	constructor(processor, options = {}) {
		requireKind("imageProcessor", processor, "ImagePool");
		this.processor = processor;
		this.workers = parseOptions(imagePoolSchema, options, "ImagePool").workers ?? Math.min(4, Math.max(1, availableParallelism()));
		this.#threads = new WorkerThreads(image_worker_default, this.workers, processor.settings);
	}
	process(input, options = {}) {
		try {
			checkNames(options, { signal: false }, "ImagePool.process");
			requireSignal(options.signal, "ImagePool.process");
			requireImage(input, "ImagePool.process");
		} catch (error) {
			return Promise.reject(error);
		}
		const { signal } = options;
		if (this.#closed) return Promise.reject(closedError());
		if (signal?.aborted) return Promise.reject(signal.reason);
		return new Promise((resolve, reject) => {
			const abort = () => {
				job.reject(signal?.reason);
				job.stop.abort();
				this.#waiting = this.#waiting.filter((other) => other !== job);
				if (this.#decoded.includes(job)) {
					this.#decoded = this.#decoded.filter((other) => other !== job);
					this.#leave(job);
				}
			};
			const settle = (answer) => {
				return (value) => {
					if (job.settled) return;
					job.settled = true;
					forget();
					answer(value);
				};
			};
			const job = {
				input,
				name: imageName(input),
				settled: false,
				stop: new AbortController(),
				resolve: settle(resolve),
				reject: settle(reject)
			};
			const forget = onAbort(signal, abort);
			this.#waiting.push(job);
			this.#begin();
		});
	}
	async close() {
		this.#closed = true;
		for (const job of [...this.#waiting, ...this.#begun]) {
			job.reject(closedError());
			job.stop.abort();
		}
		this.#waiting = [];
		for (const job of this.#decoded) job.release?.();
		this.#decoded = [];
		this.#begun.clear();
		await this.#threads.close(closedError());
	}
	[Symbol.asyncDispose]() {
		return this.close();
	}
	#begin() {
		while (this.#begun.size < 2 * this.workers && this.#waiting.length > 0) {
			const job = this.#waiting.shift();
			this.#begun.add(job);
			this.#decode(job);
		}
	}
	async #decode(job) {
		try {
			const { image, release } = await decodeWithin(job.input, job.stop.signal);
			job.release = release;
			this.processor.resizedSize(image.width, image.height, job.name);
			if (!job.settled) job.image = {
				width: image.width,
				height: image.height,
				data: image.data.slice()
			};
		} catch (error) {
			job.reject(error);
		}
		if (job.settled) return this.#leave(job);
		this.#decoded.push(job);
		this.#dispatch();
	}
	#dispatch() {
		while (this.#decoded.length > 0 && !this.#closed && this.#threads.hasIdle) {
			const job = this.#decoded.shift();
			const image = job.image;
			delete job.image;
			this.#threads.run(image, [image.data.buffer], job.stop.signal, "wait").then(job.resolve, (error) => job.reject(workerError(job, error))).then(() => {
				this.#leave(job);
				this.#dispatch();
			});
		}
	}
	#leave(job) {
		delete job.image;
		job.release?.();
		this.#begun.delete(job);
		if (!this.#closed) this.#begin();
	}
};
function closedError() {
	return new DataError("the image pool is closed", { hint: "Await the images before the pool is closed." });
}
function workerError(job, cause) {
	return new ImageError(`${oneLine(job.name)}: processing the image failed: ${reasonOf(cause)}`, {
		details: { path: job.name },
		cause
	});
}
// src/train/trainable-model.ts
function countLabels(batch) {
	if (!batch.labels) return 0;
	const { data, shape } = batch.labels;
	const mask = batch.attentionMask.data;
	const columns = shape[1];
	let count = 0;
	for (let i = 0; i < data.length; i++) if (i % columns !== 0 && mask[i] && mask[i - 1] && data[i] !== -100) count++;
	return count;
}
// src/engine/tfjs/load-tfjs.ts
const PACKAGES = {
	"tfjs-node-gpu": "for an NVIDIA card under Linux or Windows on x64, with the libraries of CUDA 11.2 and cuDNN 8.1: those of CUDA 12 and 13 do not serve",
	"tfjs-node": "for the CPU"
};
const NODE_LIMIT = "Node 22 is the newest that they run on.";
const installing = (name) => `npm install @tensorflow/${name} (${PACKAGES[name]})`;
async function loadTfjs(choice = "tfjs", from = process.cwd()) {
	if (choice !== "tfjs" && !Object.hasOwn(PACKAGES, choice)) throw new EngineError(`there is no TensorFlow.js package ${describeGiven(choice)} to load`, { hint: "choose one of: tfjs, tfjs-node, tfjs-node-gpu; any other namespace is passed to createEngine as `tf`" });
	requirePath(from, "loadTfjs: `from`");
	const load = createRequire(resolve(from, "index.js"));
	const wanted = choice === "tfjs" ? Object.keys(PACKAGES) : [choice];
	const found = wanted.find((name) => isInstalled(load, name));
	if (!found) {
		const packages = wanted.map((one) => `@tensorflow/${one}`).join(" or ");
		throw new EngineError(`${packages} is not installed for ${from}`, {
			hint: `${wanted.map(installing).join(", or ")}. ${NODE_LIMIT}`,
			details: {
				from,
				packages: wanted
			}
		});
	}
	if (typeof util.isNullOrUndefined !== "function") throw new EngineError(`@tensorflow/${found} does not run on Node ${process.versions.node}: it calls util.isNullOrUndefined, which Node 23 removed`, { hint: "use Node 22 or 20 with engine tfjs, or engine cuda or cpu with this one" });
	try {
		return asTfNamespace(load(`@tensorflow/${found}`));
	} catch (cause) {
		if (cause instanceof EngineError) throw cause;
		throw new EngineError(`@tensorflow/${found} is installed but cannot be loaded: ${reasonOf(cause)}`, {
			hint: `its install script downloads or builds the native part (tfjs_binding.node, libtensorflow); if it was not run or had no network: npm rebuild @tensorflow/${found} --build-addon-from-source. It is ${PACKAGES[found]}. ${NODE_LIMIT}`,
			cause
		});
	}
}
function isInstalled(load, name) {
	try {
		load.resolve(`@tensorflow/${name}`);
		return true;
	} catch {
		return false;
	}
}
// src/lora/foreign-adapter.ts
const EXPECTED = `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`;
const MLX_HINT = "mlx keeps lora_a and lora_b transposed and under other names. Fuse it into its model with mlx (fuse --de-quantize), or convert it: lora_A = lora_aᵀ, lora_B = lora_bᵀ, keys base_model.model.NAME.lora_A.weight, lora_alpha = scale · rank.";
async function requireAdapterFolder(directory) {
	if (await exists(join(directory, "adapter_config.json"))) return;
	const { kind, text, children } = await describeFolder(directory);
	throw new CheckpointError(`cannot read ${join(directory, ADAPTER_CONFIG_FILE)}: the folder ${text}`, {
		hint: folderHint(kind, children),
		details: {
			path: directory,
			kind
		}
	});
}
function folderHint(kind, children) {
	if (kind === "model") return `That is a model: fromPretrained loads it. ${EXPECTED}`;
	if (kind === "images") return `That is a data set: ImageFolder.fromFolder reads it. ${EXPECTED}`;
	if (kind === "foreign" || kind === "mlx") return `Export it in PEFT's format with the tool that made it. ${EXPECTED}`;
	if (kind === "parent") return `Give the subfolder, e.g. ${children[0]}.`;
	if (kind === "adapter") return `Copy ${ADAPTER_CONFIG_FILE} beside the weights: it says their rank, alpha and targets.`;
	if (kind === "none") return `Check the path; for a repository on the Hub, snapshotDownload gives the folder. ${EXPECTED}`;
	return EXPECTED;
}
function refuseForeignConfig(json, path) {
	if (typeof json !== "object" || json === null || Array.isArray(json) || "peft_type" in json) return;
	const has = (...keys) => keys.some((key) => key in json);
	const refuse = (what, hint) => {
		throw new ConfigError(`${path} is ${what}`, {
			hint,
			details: { path }
		});
	};
	if (has("lora_parameters", "lora_layers", "num_layers", "fine_tune_type")) refuse("the configuration of an mlx adapter, not of PEFT", MLX_HINT);
	if (has("rank") && has("alpha", "scale") && !has("r", "lora_alpha")) refuse("the configuration of an mlx-vlm adapter, not of PEFT", MLX_HINT);
	if (has("model_type", "architectures", "text_config")) refuse("a model's config.json, not an adapter's configuration", `Put ${ADAPTER_CONFIG_FILE} of the adapter there.`);
	if (has("base_model", "adapter", "datasets", "sequence_len")) refuse("the configuration of a training tool, not of PEFT", `Its output folder holds the ${ADAPTER_CONFIG_FILE} that PEFT wrote.`);
}
async function requireAdapterWeights(directory) {
	if (await exists(join(directory, "adapter_model.safetensors"))) return;
	const has = (name) => exists(join(directory, name));
	const refuse = (what, hint) => {
		throw new CheckpointError(`${directory} holds ${what}`, {
			hint,
			details: { path: directory }
		});
	};
	if (await has("adapter_model.bin")) refuse("adapter_model.bin, a Python pickle, which is never read", "Load it in PEFT once and save it again: that writes adapter_model.safetensors.");
	if (await has("adapters.safetensors")) refuse("adapters.safetensors, the weights of an mlx adapter", MLX_HINT);
	const names = await readdir(directory).catch(() => []);
	const shard = names.find((name) => /^adapter_model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/.test(name));
	if (shard !== void 0) refuse(`the weights of an adapter in several files (${shard})`, "Save it in PEFT with a larger max_shard_size, so that it is one file.");
	const foreign = names.find((name) => /^(adapter_\d+\.pt|lora\.safetensors|pytorch_lora_weights\..*)$/.test(name));
	if (foreign !== void 0) refuse(`${foreign}, the weights of an adapter in the layout of another tool (torchtune, mistral-finetune, diffusers)`, `Export it in PEFT's format there: ${ADAPTER_WEIGHTS_FILE}.`);
	refuse(`${ADAPTER_CONFIG_FILE} but no ${ADAPTER_WEIGHTS_FILE}`, "The download or the save was not finished, or the weights lie in a checkpoint folder beside it.");
}
// src/lora/explain-keys.ts
const KEY_KINDS = [
	{
		matches: /\.lora_[ab]$/,
		what: "those of an mlx adapter (lora_a, lora_b)",
		hint: MLX_HINT
	},
	{
		matches: /_proj\.[AB]$/,
		what: "those of an mlx-vlm adapter (A, B)",
		hint: MLX_HINT
	},
	{
		matches: /\.lora_[ab]\.weight$/,
		what: "those of a torchtune adapter (lora_a, lora_b)",
		hint: "torchtune's FullModelHFCheckpointer saves PEFT's format too: adapter_model.safetensors with lora_A and lora_B."
	},
	{
		matches: /(^|\.)layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])\.lora_/,
		what: "those of Mistral’s own layout (attention.wq), as mistral-finetune writes them",
		hint: "Its layers have other names and its rows of wq and wk another order. Merge it there (merge_lora), or train it again on the Hugging Face files."
	},
	{
		matches: /\.(linear_(qkv|proj|fc1|fc2)|adapter)\./,
		what: "those of a NeMo or Megatron model (linear_qkv)",
		hint: "Export it to the Hugging Face layout with that tool: q, k and v are one layer there."
	},
	{
		matches: /^(base_model\.model\.)?(model\.){0,2}layers\.\d+\..*\.lora_[AB]\./,
		what: "those of a text-only model (model.layers…)",
		hint: "It was trained on the language model alone (a causal-LM class, a text-only Unsloth or mlx run, or a server’s renaming); here the decoder is called model.language_model. If its base is the decoder of this model, write \"base_model.model.model.language_model.layers\" for \"base_model.model.model.layers\" in all keys and load it with the option towers: \"language\"; else train it on the vision-language model."
	},
	{
		matches: /\.modules_to_save\.|\.original_module\.|^base_model\.model\.(?!.*\.lora_).*\.(weight|bias)$/,
		what: "whole layers that were trained beside LoRA (modules_to_save)",
		hint: "Merge it into its base model with PEFT (merge_and_unload), or train without modules_to_save."
	},
	{
		matches: /\.lora_embedding_[AB]/,
		what: "LoRA matrices of the embeddings",
		hint: "Embeddings cannot be adapted here. Merge it into its base model with PEFT, or train without embed_tokens."
	},
	{
		matches: /\.lora_B(\.[^.]+)?\.bias$/,
		what: "biases of B (lora_bias)",
		hint: "Merge it into its base model with PEFT, or train without lora_bias."
	},
	{
		matches: /\.(lora_magnitude_vector|lora_bias|ia3_l|hada_w\d|lokr_|oft_|vera_lambda)/,
		what: "parameters of another method than LoRA",
		hint: "Merge it into its base model with PEFT."
	},
	{
		matches: /lora[_.](down|up)\.|^lora_(unet|te)|^(unet|text_encoder|transformer|diffusion_model)\./,
		what: "those of a diffusion model (lora_down, unet, transformer)",
		hint: "That adapter is for another kind of model."
	},
	{
		matches: /^(?!.*lora).*\.(weight|bias|weight_scale_inv)$/,
		what: "whole weights, without LoRA matrices: a checkpoint, not an adapter",
		hint: "A full checkpoint is loaded with fromPretrained or loadModel."
	},
	{
		matches: /^(module|_orig_mod|base_model\.model\.(base_model|module|_orig_mod))\.|\._(fsdp|checkpoint)_wrapped_module\.|\._orig_mod\./,
		what: "those of a wrapped model (DDP, FSDP, torch.compile or PEFT twice)",
		hint: "Unwrap the model before saving it: the keys must begin with base_model.model.model."
	}
];
const NOT_FINITE = {
	reason: "it holds values that are not finite",
	hint: "Its training has diverged, or the file is damaged: use an earlier checkpoint, or download it again."
};
function explainEmpty(tensors) {
	const empty = tensors.filter(({ shape }) => shape.includes(0)).length;
	if (empty === 0 && tensors.length > 0) return void 0;
	return {
		reason: tensors.length === 0 ? "the file holds no tensor" : `${empty} of ${tensors.length} tensors hold no element`,
		hint: "Under DeepSpeed ZeRO-3 or FSDP the parameters have to be gathered before they are saved: save it again."
	};
}
function explainNames(names) {
	if (names.size < 2) return void 0;
	return {
		reason: `the file holds several adapters: ${[...names].map((name) => name === void 0 ? "one without a name" : `"${name}"`).join(", ")}`,
		hint: "PEFT writes each into a folder of its own: model.save_pretrained(folder, selected_adapters=[…])."
	};
}
function explainKeys(unfit, all, known, base) {
	const moduleOf = (key) => parseAdapterTensorName(key)?.module ?? "";
	const heads = unfit.filter((key) => /^(model\.)?lm_head$/.test(moduleOf(key)));
	if (heads.length > 0) return {
		reason: `${heads.length} of ${all} keys are LoRA matrices of the output head (lm_head)`,
		hint: "The output head cannot be adapted on a loaded model. mergeAdapter folds such an adapter into its base checkpoint: load the merged folder then. Or train it without lm_head."
	};
	for (const { matches, what, hint } of KEY_KINDS) {
		const found = unfit.filter((key) => matches.test(key));
		if (found.length > 0) return {
			reason: `${found.length} of ${all} keys are ${what}, e.g. ${found[0]}`,
			hint
		};
	}
	const spelled = explainPrefix(unfit, all, known);
	if (spelled) return spelled;
	const chosen = unfit.filter((key) => known.has(moduleOf(key)));
	if (chosen.length > 0) return {
		reason: `${chosen.length} of ${all} keys are of layers that adapter_config.json does not choose, e.g. ${chosen[0]}`,
		hint: "Name them in its target_modules, as they were in training: the two files belong to different adapters."
	};
	if (unfit.length < all || all === 0) return void 0;
	return {
		reason: `none of its ${all} keys is of a layer of this model, e.g. ${unfit[0]}`,
		hint: `It was trained on another kind of model${base === void 0 ? "" : `, "${base}"`}: load it onto that one.`
	};
}
function explainPrefix(unfit, all, known) {
	const prefixes = new Map();
	for (const name of known) {
		const [, prefix, tail] = SPLIT.exec(name) ?? [];
		if (tail !== void 0) prefixes.set(tail, prefix);
	}
	const found = unfit.filter((key) => {
		const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(key)?.module ?? "") ?? [];
		const here = prefixes.get(tail ?? "");
		return here !== void 0 && here !== prefix;
	});
	if (found.length === 0) return void 0;
	const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(found[0]).module);
	return {
		reason: `${found.length} of ${all} keys spell the layers otherwise: "${prefix}" where this model has "${prefixes.get(tail)}"`,
		hint: `Rename the keys in ${ADAPTER_WEIGHTS_FILE}: PEFT writes base_model.model.${prefixes.get(tail)}… for this model.`
	};
}
const SPLIT = /^(.*?)(layers\.\d+\..+)$/;
// src/lora/read-adapter.ts
const MAX_LISTED_FAULTS = 40;
const MAX_TEMPLATE_BYTES = 1048576;
const OUTPUT_HEAD = "lm_head";
function readAdapter(directory, linears, options = {}) {
	return readTogether(directory, () => readFiles(directory, linears, options));
}
async function readFiles(directory, linears, options) {
	const { config: stored, origin } = await readAdapterConfig(directory);
	const wanted = options.towers ? stored.with({ towers: options.towers }) : stored;
	const path = join(directory, ADAPTER_WEIGHTS_FILE);
	await requireSoundWeights(directory);
	const file = await SafetensorsFile.open(path);
	try {
		const faults = [];
		const unfit = [];
		const misfit = (key, why) => {
			unfit.push(key);
			faults.push(`${key}: ${why}`);
		};
		const keys = new Map();
		const adapterNames = new Set();
		let old = false;
		let hasHead = false;
		let isRepeated = false;
		for (const key of file.tensors.keys()) {
			const parsed = parseAdapterTensorName(key);
			const name = parsed && adapterTensorName(parsed.module, parsed.factor);
			if (!name) misfit(key, "unexpected, not a LoRA matrix of a linear layer");
			else {
				adapterNames.add(parsed.adapterName);
				const before = keys.get(name);
				if (before === void 0) keys.set(name, key);
				else {
					isRepeated = true;
					faults.push(`${key}: the same as ${before}`);
				}
			}
			old ||= parsed?.old === true;
			hasHead ||= parsed?.module === OUTPUT_HEAD;
		}
		const spelling = old ? toDiskName : (name) => name;
		const adaptable = hasHead ? linears : linears.filter(({ name }) => name !== OUTPUT_HEAD);
		let matched;
		try {
			({matched} = selectTargetModules(adaptable.map(({ name }) => name), wanted, spelling));
		} catch (cause) {
			const known = new Set(adaptable.map(({ name }) => name));
			const explained = explainKeys([...file.tensors.keys()].filter((key) => !known.has(parseAdapterTensorName(key)?.module ?? "")), file.tensors.size, known, origin.baseModelNameOrPath);
			if (!explained) throw cause;
			throw new CheckpointError(`${path} does not fit the model; ${explained.reason}`, {
				hint: explained.hint,
				details: {
					path,
					reason: explained.reason
				},
				cause
			});
		}
		const shapes = new Map(adaptable.map(({ name, shape }) => [name, shape]));
		const expected = new Map();
		for (const name of matched) {
			const { r } = wanted.forModule(spelling(name));
			const [out, inner] = shapes.get(name);
			expected.set(adapterTensorName(name, "A"), [r, inner]);
			expected.set(adapterTensorName(name, "B"), [out, r]);
		}
		let missing = 0;
		for (const [name, shape] of expected) {
			const key = keys.get(name);
			if (key === void 0) {
				missing++;
				faults.push(`${name}: missing, expected [${shape.join(", ")}]`);
			} else {
				const info = file.info(key);
				if (info.shape.join() !== shape.join()) faults.push(`${key}: shape [${info.shape.join(", ")}], expected [${shape.join(", ")}]`);
			}
		}
		for (const [name, key] of keys) {
			if (expected.has(name)) continue;
			misfit(key, shapes.has(parseAdapterTensorName(key).module) ? `unexpected, ${ADAPTER_CONFIG_FILE} does not choose this layer` : "unexpected, the model has no such layer");
		}
		const count = {
			expected: expected.size,
			found: file.tensors.size,
			missing
		};
		if (faults.length > 0) throw badTensors(path, faults, count, explainEmpty([...file.tensors.values()]) ?? (isRepeated ? explainNames(adapterNames) : void 0) ?? explainKeys(unfit, file.tensors.size, new Set(shapes.keys()), origin.baseModelNameOrPath));
		const values = new Map();
		for (const name of expected.keys()) {
			const key = keys.get(name);
			const array = await file.readFloat32(key);
			const bad = await findNotFinite(array);
			if (bad >= 0) faults.push(`${key}: element ${bad} is ${array[bad]}, which is not finite`);
			values.set(name, array);
		}
		if (faults.length > 0) throw badTensors(path, faults, count, NOT_FINITE);
		const modules = matched.map((name) => {
			const { r, scale } = wanted.forModule(spelling(name));
			const [a, b] = [values.get(adapterTensorName(name, "A")), values.get(adapterTensorName(name, "B"))];
			return {
				name,
				r,
				scale,
				a,
				b
			};
		});
		return {
			config: old ? inCurrentNames(wanted, matched) : wanted,
			modules,
			values,
			origin,
			warnings: oddNames(path, adapterNames)
		};
	} finally {
		await file.close();
	}
}
async function adapterData(adapter) {
	const values = await adapter.readValues();
	const modules = adapter.modules.map(({ module, r, a, b }) => {
		const { scale } = adapter.config.forModule(module.name);
		return {
			name: module.name,
			r,
			scale,
			a: values.get(a.name),
			b: values.get(b.name)
		};
	});
	return {
		config: adapter.config,
		modules,
		values,
		origin: adapter.origin,
		warnings: []
	};
}
async function requireSoundWeights(directory) {
	await requireAdapterWeights(directory);
	await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
}
async function readAdapterConfig(directory) {
	const path = join(directory, ADAPTER_CONFIG_FILE);
	await requireAdapterFolder(directory);
	await requireUnchanged(directory, [ADAPTER_CONFIG_FILE, ...PROCESSOR_FILES]);
	let json;
	try {
		json = await readJson(path);
	} catch (cause) {
		throw new CheckpointError(`cannot read ${path}: ${cause.message}`, {
			hint: `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`,
			cause,
			details: { path }
		});
	}
	refuseForeignConfig(json, path);
	const config = LoraConfig.fromPeft(json, path);
	const text = (key) => {
		const value = json[key];
		return typeof value === "string" && value.trim() !== "" ? value.trim() : void 0;
	};
	const chatTemplate = await readChatTemplate(directory);
	return {
		config,
		origin: {
			baseModelNameOrPath: text("base_model_name_or_path"),
			revision: text("revision"),
			chatTemplate
		}
	};
}
async function readChatTemplate(directory) {
	const path = join(directory, CHAT_TEMPLATE_FILE);
	try {
		return (await readRegularFile(path, MAX_TEMPLATE_BYTES)).toString("utf8");
	} catch (cause) {
		if (cause.code === "ENOENT") return void 0;
		throw new CheckpointError(`cannot read ${path}: ${cause.message}`, {
			cause,
			details: { path }
		});
	}
}
function inCurrentNames(config, matched) {
	const rankPattern = {};
	const alphaPattern = {};
	for (const name of matched) {
		const { r, alpha } = config.forModule(toDiskName(name));
		const pattern = name.replaceAll(".", "\\.");
		if (r !== config.r) rankPattern[pattern] = r;
		if (alpha !== config.alpha) alphaPattern[pattern] = alpha;
	}
	return config.with({
		targetModules: [...matched],
		excludeModules: void 0,
		layersToTransform: void 0,
		layersPattern: void 0,
		rankPattern,
		alphaPattern
	});
}
function oddNames(path, names) {
	const inside = [...names].filter((name) => name !== void 0);
	if (inside.length === 0) return [];
	return [`${path}: the keys hold the adapter's name (lora_A.${oneLine(inside[0])}.weight), which PEFT's own files never do; it is read as if they did not, and saved again without it`];
}
function badTensors(path, faults, { expected, found, missing }, explained) {
	const listed = firstLines(faults, MAX_LISTED_FAULTS);
	const reason = explained ? `; ${explained.reason}` : "";
	return new CheckpointError(`${path}: ${faults.length} bad tensors (${expected} expected, ${found} in the file)${reason}:\n  - ${listed.join("\n  - ")}`, {
		hint: explained?.hint ?? (faults.length === missing ? "If the adapter was trained on one tower only, say so with the option `towers`." : "The adapter belongs to another model or to another adapter_config.json."),
		details: {
			path,
			faults: listed,
			reason: explained?.reason
		}
	});
}
// src/lora/adapter-file.ts
const loadAdapterSchema = hubDownloadSchema.extend({
	towers: _enum([
		"both",
		"language",
		"vision"
	]).optional(),
	adapterName: adapterNameSchema.optional()
});
async function loadAdapter(idOrFolder, model, options = {}) {
	const { towers, adapterName, ...download } = parseOptions(loadAdapterSchema, options, "loadAdapter");
	requireLoraHost(model, "loadAdapter");
	const adapter = await putFilesOn(await adapterFolder(idOrFolder, download), model, {
		towers,
		adapterName,
		onWarning: download.onWarning
	});
	const template = adapter.origin.chatTemplate;
	if (template !== void 0 && template !== await templateOf(model)) warnWith(download.onWarning, [`${idOrFolder} has a chat template of its own, which it was trained with: format with new ChatTemplate(adapter.origin.chatTemplate), or load base and adapter with fromPretrained, which does`]);
	return adapter;
}
async function putFilesOn(directory, model, options) {
	const { towers, adapterName, onWarning } = options;
	const { config, values, origin, warnings } = await readAdapter(directory, model.linearModules.map(({ name, weight }) => ({
		name,
		shape: weight.shape
	})), { towers });
	const adapter = putOn(model, config, {
		seed: 0,
		values,
		adapterName,
		onWarning
	}, "loadAdapter", origin);
	const other = otherBaseWarning(origin.baseModelNameOrPath, model);
	warnWith(onWarning, other === void 0 ? warnings : [...warnings, other]);
	return adapter;
}
async function templateOf({ folder }) {
	return folder === void 0 ? void 0 : readChatTemplate(folder).catch(() => void 0);
}
// src/pretrained/from-pretrained.ts
const schema = hubDownloadSchema.extend({
	engine: custom((value) => value !== void 0, "expected an engine").optional(),
	baseModel: string().min(1).optional(),
	adapterName: adapterNameSchema.optional(),
	processor: string().min(1).optional(),
	quantization: custom((value) => value !== void 0).optional(),
	onNotice: callback().optional(),
	onLoadProgress: callback().optional()
});
async function fromPretrained(idOrFolder, options = {}) {
	const parsed = parseOptions(schema, options, "fromPretrained", LOAD_ALIASES);
	const { engine, quantization, onNotice, onLoadProgress, baseModel: _base, adapterName: _name, processor: from, ...download } = parsed;
	requireEngine(engine, "fromPretrained");
	parseQuantizationOption(quantization, "fromPretrained");
	const { folder, commit } = await folderOrSnapshot(idOrFolder, download, selectionOf(from));
	const isAdapter = await exists(join(folder, ADAPTER_CONFIG_FILE));
	if (isAdapter && !await hasModel(folder)) return loadWithAdapter(idOrFolder, folder, commit, parsed);
	if (isAdapter) (onNotice ?? ((line) => process.emitWarning(line, "AdapterBesideModel")))(warningLine(`${folder} holds a model and an adapter: the model is loaded, and loadAdapter puts the adapter on`));
	await requireModelFolder(folder);
	const processor = await processorOf(folder, from, download);
	download.signal?.throwIfAborted();
	return {
		model: await loadFrom(folder, {
			engine,
			quantization,
			onNotice,
			onLoadProgress
		}, originOf(idOrFolder, commit, download), "fromPretrained"),
		processor,
		adapter: void 0,
		folder,
		commit
	};
}
async function loadWithAdapter(idOrFolder, folder, commit, { engine, quantization, onNotice, onLoadProgress, baseModel, adapterName, processor: from, ...download }) {
	const { origin } = await readAdapterConfig(folder);
	await requireSoundWeights(folder);
	const name = baseModel ?? (origin.baseModelNameOrPath && plainRepoName(origin.baseModelNameOrPath));
	if (name === void 0) throw new ConfigError(`${idOrFolder} is an adapter whose ${ADAPTER_CONFIG_FILE} names no base model`, {
		hint: "Say it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
		details: { folder }
	});
	const isOwn = baseModel === void 0;
	const baseDownload = {
		...download,
		revision: isOwn && origin.revision || "main"
	};
	const base = await baseFolder(idOrFolder, name, baseDownload, isOwn, baseSelection(from));
	const [processor, own] = await Promise.all([processorOf(base.folder, from, download), ownProcessor(folder)]);
	download.signal?.throwIfAborted();
	const model = await loadFrom(base.folder, {
		engine,
		quantization,
		onNotice,
		onLoadProgress
	}, originOf(name, base.commit, baseDownload), "fromPretrained").catch((error) => {
		if (!isOwn || !(error instanceof ConfigError || error instanceof CheckpointError)) throw error;
		throw new CheckpointError(`the base model of ${idOrFolder}, "${name}", cannot be loaded: ${error.summary}`, {
			hint: "Say another form of it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
			details: error.details,
			cause: error
		});
	});
	try {
		const adapter = await putFilesOn(folder, model, {
			adapterName,
			onWarning: download.onWarning
		});
		return {
			model,
			processor: mergedProcessor(processor, own),
			adapter,
			folder,
			commit
		};
	} catch (error) {
		await model.dispose();
		throw error;
	}
}
async function baseFolder(adapter, name, download, isOwn, selection) {
	const hint = `Say where the base model is: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).`;
	const found = await folderOrSnapshot(name, download, selection).catch(async (error) => {
		if (!isOwn) throw error;
		if (error instanceof ConfigError) {
			const what = await isLocalName(name) ? "a folder that is not on this machine" : "which is neither a folder nor a name on the Hub";
			throw new ConfigError(`${adapter} is an adapter of "${name}", ${what}${await nearAdapter(name, adapter)}`, {
				hint,
				details: { baseModel: name },
				cause: error
			});
		}
		if (!(error instanceof HubError)) throw error;
		throw error.with({
			summary: `the base model of ${adapter} cannot be had: ${error.summary}`,
			details: {
				...error.details,
				baseModel: name
			},
			hint: error.hint === void 0 ? hint : `${error.hint} Or: ${hint}`
		});
	});
	if (await exists(join(found.folder, "adapter_config.json")) && !await hasModel(found.folder)) throw new CheckpointError(`${adapter} names "${name}" as its base model, which is an adapter too`, {
		hint: `An adapter on an adapter is not supported: merge that one into its base first. ${hint}`,
		details: { folder: found.folder }
	});
	await requireModelFolder(found.folder);
	return found;
}
async function nearAdapter(name, adapter) {
	if (/^([/\\~]|[A-Za-z]:|\w+:\/\/)/.test(name)) return "";
	const beside = resolve(adapter, name);
	const from = `; a relative path is read from ${process.cwd()}`;
	return await exists(join(beside, "config.json")) ? `${from}; seen from the adapter it is ${beside}` : from;
}
function originOf(name, commit, { revision }) {
	return {
		nameOrPath: name,
		revision: commit === void 0 || revision === "main" ? void 0 : revision
	};
}
async function ownProcessor(folder) {
	const hasTokenizer = await exists(join(folder, "tokenizer.json"));
	const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
		hasTokenizer ? MinistralTokenizer.fromFolder(folder) : void 0,
		findImageProcessor(folder),
		ChatTemplate.findInFolder(folder)
	]);
	return {
		tokenizer,
		imageProcessor,
		chatTemplate
	};
}
function mergedProcessor(base, own) {
	const tokenizer = own.tokenizer ?? base.tokenizer;
	const imageProcessor = own.imageProcessor ?? base.imageProcessor;
	const template = own.chatTemplate ?? base.chatTemplate;
	const { bosToken, eosToken } = tokenizer;
	const chatTemplate = template && new ChatTemplate(template.source, {
		bosToken,
		eosToken
	});
	return {
		tokenizer,
		imageProcessor,
		chatTemplate: own.chatTemplate || own.tokenizer ? chatTemplate : template
	};
}
async function hasModel(folder) {
	const names = await readdir(folder).catch(() => []);
	return names.includes("config.json") && names.some((name) => /^model.*\.safetensors(\.index\.json)?$/.test(name));
}
const isAdapterRepo = (paths) => paths.includes("adapter_config.json") && !paths.some((path) => /^model.*\.safetensors$/.test(path));
function baseSelection(from) {
	return {
		allowPatterns: MODEL_FILES,
		refuse: (paths) => {
			const has = (pattern) => paths.some((path) => pattern.test(path));
			if (has(/^config\.json$/) && has(/^model.*\.safetensors$/)) return from !== void 0 || has(/^tokenizer\.json$/) || !has(/^tekken\.json$/) ? void 0 : ONLY_TEKKEN;
			if (has(/^adapter_config\.json$/)) return "it holds an adapter, not a model; an adapter on an adapter is not supported";
			if (has(/^(params\.json|consolidated.*\.safetensors)$/)) return "it has only the Mistral-native files, which are not read";
			if (has(/\.gguf$/)) return "it has GGUF files, which are not read: take the repository that they were made from";
			return "it has no config.json with model*.safetensors";
		},
		missingFrom: async (folder) => {
			const names = new Set(await readdir(folder).catch(() => []));
			const missing = ["config.json"].filter((name) => !names.has(name));
			const weights = names.has("model.safetensors") ? [] : await indexedShards(folder);
			const processor = from === void 0 ? await PROCESSOR_SELECTION.missingFrom(folder) : [];
			return [
				...missing,
				...processor,
				...weights.filter((name) => !names.has(name))
			];
		}
	};
}
const ONLY_TEKKEN = "it has no tokenizer.json, only tekken.json, which is not read; say whose tokenizer to take, e.g. for Mistral Small 3.2: fromPretrained(name, { processor: 'mistralai/Mistral-Small-3.1-24B-Instruct-2503' })";
const PROCESSOR_SELECTION = {
	allowPatterns: PROCESSOR_FILES,
	missingFrom: async (folder) => {
		const names = await readdir(folder).catch(() => []);
		return [["tokenizer.json"], ["processor_config.json", "preprocessor_config.json"]].flatMap((either) => either.some((name) => names.includes(name)) ? [] : either[0]);
	}
};
async function processorOf(folder, from, download) {
	if (from === void 0) return loadProcessor(folder);
	const found = await folderOrSnapshot(from, {
		...download,
		revision: "main"
	}, PROCESSOR_SELECTION);
	return loadProcessor(found.folder);
}
async function indexedShards(folder) {
	try {
		return [...new Set((await readShardIndex(folder)).values())];
	} catch {
		return [INDEX_FILE];
	}
}
function selectionOf(from) {
	const base = baseSelection(from);
	return {
		allowPatterns: [...MODEL_FILES, ...ADAPTER_SELECTION.allowPatterns],
		refuse: (paths, commit) => isAdapterRepo(paths) ? ADAPTER_SELECTION.refuse(paths) : base.refuse?.(paths, commit),
		missingFrom: async (folder) => {
			const names = await readdir(folder).catch(() => []);
			return isAdapterRepo(names) ? ADAPTER_SELECTION.missingFrom(folder) : base.missingFrom(folder);
		}
	};
}
// src/model/old-names.ts
const Ministral3 = VisionLanguageModel;
const loadMinistral3 = loadModel;
// src/model/answer-text.ts
var AnswerText = class {
	#decoder;
	#stops;
	#held = "";
	#isStopped = false;
	constructor(tokenizer, stopStrings = []) {
		this.#decoder = tokenizer.streamingDecoder({ skipSpecialTokens: true });
		this.#stops = stopStrings;
	}
	get isStopped() {
		return this.#isStopped;
	}
	push(id) {
		return this.#isStopped ? "" : this.#release(this.#decoder.push(id));
	}
	end() {
		if (this.#isStopped) return "";
		const text = this.#release(this.#decoder.end());
		if (this.#isStopped) return text;
		const rest = this.#held;
		this.#held = "";
		return text + rest;
	}
	#release(added) {
		if (this.#stops.length === 0) return added;
		const text = this.#held + added;
		const stop = firstStop(text, this.#stops);
		if (stop !== void 0) {
			this.#isStopped = true;
			this.#held = "";
			return text.slice(0, stop);
		}
		const held = heldLength(text, this.#stops);
		this.#held = text.slice(text.length - held);
		return text.slice(0, text.length - held);
	}
};
function firstStop(text, stops) {
	let [start, end] = [Infinity, Infinity];
	for (const stop of stops) {
		const at = text.indexOf(stop);
		if (at < 0 || at + stop.length > end) continue;
		start = at + stop.length < end ? at : Math.min(start, at);
		end = at + stop.length;
	}
	return start === Infinity ? void 0 : start;
}
function heldLength(text, stops) {
	let most = 0;
	for (const stop of stops) for (let length = Math.min(stop.length - 1, text.length); length > most; length--) if (text.endsWith(stop.slice(0, length))) most = length;
	return most;
}
// src/model/answer-tree.ts
function answerTree(answers) {
	const root = { next: new Map() };
	for (const [i, ids] of answers.entries()) {
		let node = root;
		for (const id of ids) {
			let next = node.next.get(id);
			if (!next) {
				next = { next: new Map() };
				node.next.set(id, next);
			}
			node = next;
		}
		node.answer = i;
	}
	return root;
}
function allowedTokens(node, end) {
	return node.answer === void 0 ? [...node.next.keys()] : [...node.next.keys(), end];
}
// src/model/answer-tokens.ts
const NEAR = 64;
const NO_FRAME = {
	before: "",
	after: ""
};
function promptAnswers(tokenizer, prompts, texts, { config, eosTokenId }, what) {
	const known = new Map();
	const [rows, columns] = prompts.inputIds.shape;
	return Array.from({ length: rows }, (_, b) => {
		const ids = prompts.inputIds.data.subarray(b * columns, (b + 1) * columns);
		const mask = prompts.attentionMask.data.subarray(b * columns, (b + 1) * columns);
		const real = ids.filter((_, t) => mask[t]);
		const tail = Array.from(real.subarray(real.findLastIndex((id) => tokenizer.specialTokenIds.has(id)) + 1));
		const frame = prompts.answerFrames?.[b] ?? NO_FRAME;
		const key = JSON.stringify([tail, frame]);
		let answers = known.get(key);
		if (!answers) {
			const found = texts.map((text) => tokensBehind(tokenizer, tail, `${frame.before}${text}${frame.after}`));
			const close = eosTokenId ?? frame.end ?? config.eosTokenIds[0] ?? tokenizer.eosTokenId;
			requireKnown([...found.flat(), close], config.text.vocabSize, what);
			requireDistinct(found, texts, close, what);
			answers = {
				ids: found,
				tree: answerTree(found),
				end: close
			};
			known.set(key, answers);
		}
		return answers;
	});
}
function requireTexts(texts, what) {
	if (!Array.isArray(texts) || texts.length === 0) {
		const given = Array.isArray(texts) ? "an empty list" : describeGiven(texts);
		throw new ConfigError(`${what}: expected a list of texts, got ${given}`, { hint: "e.g. ['cat', 'dog']" });
	}
	const seen = new Map();
	for (const [i, text] of texts.entries()) {
		if (typeof text !== "string" || text === "") throw new ConfigError(`${what}: expected texts, got ${text === "" ? "an empty one" : describeGiven(text)} at ${i}`);
		const first = seen.get(text);
		if (first !== void 0) throw new ConfigError(`${what}: ${showValue(text)} is listed twice, at ${first} and ${i}`, { hint: "Each answer stands for one class; give each once." });
		seen.set(text, i);
	}
}
function tokensBehind(tokenizer, tail, text) {
	for (const end of tail.length > NEAR ? [tail.slice(-64), tail] : [tail]) {
		const ids = tokenizer.encode(tokenizer.decode(end) + text);
		if (ids.length > end.length && end.every((id, i) => id === ids[i])) return ids.slice(end.length);
	}
	return tokenizer.encode(text);
}
function requireKnown(ids, vocabSize, what) {
	const wrong = ids.find((id) => id >= vocabSize);
	if (wrong === void 0) return;
	throw new DataError(`${what}: token id ${wrong} is outside the model's vocabulary of ${vocabSize}`, { hint: "Use the tokenizer of the same checkpoint." });
}
function requireDistinct(answers, texts, end, what) {
	const seen = new Map();
	for (const [i, ids] of answers.entries()) {
		if (ids.includes(end)) throw new ConfigError(`${what}: ${showValue(texts[i])} contains token ${end}, which closes an answer`, { hint: "Set the token that closes answers (`eosTokenId`, `eosTokenIds`) to one that none of them contains." });
		const key = ids.join();
		const first = seen.get(key);
		if (first !== void 0) throw new ConfigError(`${what}: ${showValue(texts[first])} and ${showValue(texts[i])} are the same tokens for this tokenizer`, { hint: "No answer could tell them apart; rename one." });
		seen.set(key, i);
	}
}
// src/model/check-prompts.ts
function requirePrompts(name, call, given) {
	const { model, prompts } = given;
	requireKind("model", model, `${name}: \`model\``, call);
	if ("tokenizer" in given) requireKind("tokenizer", given.tokenizer, `${name}: \`tokenizer\``, call);
	requireBatch(prompts, `${name}: \`prompts\``, call);
	if (!prompts.labels) return;
	throw new ConfigError(`${name}: \`prompts\`: expected a batch of prompts, got one to train on, with the answers in it`, { hint: "Write collator.collatePrompts(samples) in place of collator.collate(samples)." });
}
// src/model/choices.ts
var ChoiceState = class {
	longest;
	#texts;
	#end;
	#node;
	#allowed;
	constructor({ ids, tree, end }, texts) {
		this.longest = Math.max(...ids.map(({ length }) => length)) + 1;
		this.#texts = texts;
		this.#end = end;
		this.#node = tree;
		this.#allowed = allowedTokens(tree, end);
	}
	get allowed() {
		return this.#allowed;
	}
	get forced() {
		return this.#allowed.length === 1 ? this.#allowed[0] : void 0;
	}
	advance(id) {
		const { next, answer } = this.#node;
		const node = next.get(id);
		if (node) {
			this.#node = node;
			this.#allowed = allowedTokens(node, this.#end);
			return "";
		}
		this.#allowed = [];
		return this.#texts[answer];
	}
};
function choiceStates({ choices, maxNewTokens }, model, prompts, tokenizer, eosTokenIds) {
	if (!choices || !tokenizer) return void 0;
	return promptAnswers(tokenizer, prompts, choices, {
		config: model.config,
		eosTokenId: eosTokenIds?.[0]
	}, "generation: `choices`").map((answers) => {
		const state = new ChoiceState(answers, choices);
		const { longest } = state;
		if (longest > maxNewTokens) throw new ConfigError(`generation: \`choices\`: the longest takes ${longest} tokens with its end, more than \`maxNewTokens\` ${maxNewTokens}`, { hint: "Raise `maxNewTokens`: an answer that is cut is none of them." });
		return state;
	});
}
// src/model/sampling.ts
const tokenId = int().min(0);
const DEFAULT_TOP_K = 50;
const generationConfigSchema = strictObject({
	maxNewTokens: int().min(1).default(256),
	minNewTokens: int().min(0).default(0),
	doSample: boolean().default(false),
	temperature: number().refine((value) => value > 0 && value < Infinity, { message: "expected a number above 0; for the likeliest token every time use `doSample: false` and no temperature" }).default(1),
	topK: int().min(0).default(DEFAULT_TOP_K),
	topP: number().min(0).max(1).default(1),
	minP: number().min(0).max(1).default(0),
	repetitionPenalty: number().positive().finite().default(1),
	eosTokenIds: array(tokenId).readonly().optional(),
	stopStrings: array(string().min(1)).readonly().optional(),
	choices: array(string().min(1)).min(1).readonly().optional(),
	padTokenId: tokenId.optional(),
	seed: int().min(0).max(4294967295).default(42)
}).superRefine((config, context) => {
	if (config.minNewTokens > config.maxNewTokens) context.addIssue({
		code: "custom",
		path: ["minNewTokens"],
		message: `${config.minNewTokens} is more than \`maxNewTokens\` ${config.maxNewTokens}`
	});
	if (config.choices) {
		const clashing = [["minNewTokens", config.minNewTokens > 0], ["stopStrings", config.stopStrings !== void 0]];
		for (const [name, isSet] of clashing) if (isSet) context.addIssue({
			code: "custom",
			path: [name],
			message: "expected nothing beside `choices`, which say where an answer ends"
		});
	}
	if (config.doSample) return;
	const idle = [
		["temperature", config.temperature !== 1],
		["topK", config.topK !== 0 && config.topK !== DEFAULT_TOP_K],
		["topP", config.topP !== 1],
		["minP", config.minP !== 0]
	];
	for (const [name, isSet] of idle) if (isSet) context.addIssue({
		code: "custom",
		path: [name],
		message: "does nothing without `doSample: true`"
	});
});
const OTHER_NAMES$2 = {
	maxtokens: "maxNewTokens",
	maxcompletiontokens: "maxNewTokens",
	maxlength: "maxNewTokens",
	numpredict: "maxNewTokens",
	mintokens: "minNewTokens",
	sample: "doSample",
	stop: "stopStrings",
	stopstring: "stopStrings",
	guidedchoice: "choices",
	choice: "choices",
	eostokenid: "eosTokenIds",
	stoptokenids: "eosTokenIds",
	repeatpenalty: "repetitionPenalty"
};
function parseGenerationConfig(options = {}, what = "GenerationConfig") {
	return parseOptions(generationConfigSchema, options, what, OTHER_NAMES$2);
}
function applyRepetitionPenalty(logits, tokens, penalty) {
	const scores = logits.slice();
	const factor = Math.fround(penalty);
	for (let i = 0; i < tokens.length; i++) {
		const token = tokens[i];
		const score = logits[token];
		if (score === void 0) throw new EngineError(`repetition penalty: token ${token} is outside the vocabulary of ${logits.length}`);
		scores[token] = score < 0 ? score * factor : score / factor;
	}
	return scores;
}
function suppressTokens(logits, tokens) {
	const scores = logits.slice();
	for (const token of tokens) if (token < scores.length) scores[token] = -Infinity;
	return scores;
}
function keepTokens(logits, tokens) {
	const scores = new Float32Array(logits.length).fill(-Infinity);
	for (const token of tokens) {
		const score = logits[token];
		if (score === void 0) throw new EngineError(`allowed tokens: token ${token} is outside the vocabulary of ${logits.length}`);
		scores[token] = score;
	}
	return scores;
}
function applyTemperature(logits, temperature) {
	const divisor = Math.fround(temperature);
	return logits.map((score) => score / divisor);
}
function applyTopK(logits, k) {
	if (k >= logits.length) return logits.slice();
	const threshold = kthLargest(logits, k);
	return logits.map((score) => score < threshold ? -Infinity : score);
}
function applyTopP(logits, p) {
	const sorted = logits.filter((score) => score > -Infinity).sort();
	const ascending = softmax(sorted);
	const border = Math.fround(1 - p);
	let removed = 0;
	for (let sum = ascending[0]; removed < sorted.length - 1 && Math.fround(sum) <= border; sum += ascending[removed]) removed++;
	const threshold = sorted[removed];
	let tiesToRemove = removed - sorted.indexOf(threshold);
	return logits.map((score) => score < threshold || score === threshold && tiesToRemove-- > 0 ? -Infinity : score);
}
function applyMinP(logits, minP) {
	const likelihood = softmax(logits);
	const threshold = Math.fround(Math.fround(minP) * likelihood[argmax(logits)]);
	return logits.map((score, i) => likelihood[i] < threshold ? -Infinity : score);
}
function softmax(logits) {
	const max = logits[argmax(logits)];
	const weights = new Float64Array(logits.length);
	let sum = 0;
	for (let i = 0; i < logits.length; i++) {
		if (logits[i] === -Infinity) continue;
		weights[i] = Math.exp(Math.fround(logits[i] - max));
		sum += weights[i];
	}
	const result = new Float32Array(logits.length);
	for (let i = 0; i < result.length; i++) result[i] = weights[i] / sum;
	return result;
}
function areAtMost(scores, i, most) {
	return scores[i] <= most && scores[i + 1] <= most && scores[i + 2] <= most && scores[i + 3] <= most && scores[i + 4] <= most && scores[i + 5] <= most && scores[i + 6] <= most && scores[i + 7] <= most;
}
function argmax(logits) {
	let best = -1;
	let bestScore = -Infinity;
	const { length } = logits;
	for (let i = 0; i < length; i++) {
		while (i + 8 <= length && areAtMost(logits, i, bestScore)) i += 8;
		if (i === length) break;
		const score = logits[i];
		if (score <= bestScore) continue;
		if (score > bestScore) {
			best = i;
			bestScore = score;
		} else return requireLargest(i, score, length);
	}
	return requireLargest(best, bestScore, length);
}
function requireLargest(index, score, length) {
	if (score - score === 0) return index;
	if (Number.isNaN(score)) throw new EngineError(`logits: expected finite scores, found NaN at token ${index} of ${length}`, {
		hint: "The weights or the adapter may be damaged, or activations overflowed.",
		details: { token: index }
	});
	throw new EngineError(score < 0 ? `logits: expected at least one finite score among ${length}, found none` : `logits: expected finite scores, found infinity at token ${index}`);
}
function processLogits(logits, config, state = {}) {
	let scores = logits.slice();
	if (config.repetitionPenalty !== 1) scores = applyRepetitionPenalty(scores, state.tokens ?? [], config.repetitionPenalty);
	if ((state.newTokenCount ?? 0) < config.minNewTokens) scores = suppressTokens(scores, config.eosTokenIds ?? []);
	if (state.allowed) scores = keepTokens(scores, state.allowed);
	if (!config.doSample) return scores;
	if (config.temperature !== 1) scores = applyTemperature(scores, config.temperature);
	if (config.topK > 0) scores = applyTopK(scores, config.topK);
	if (config.topP < 1) scores = applyTopP(scores, config.topP);
	if (config.minP > 0) scores = applyMinP(scores, config.minP);
	return scores;
}
function sample(weights, generator) {
	let total = 0;
	for (const weight of weights) total += weight;
	if (!(total > 0 && total < Infinity)) throw new EngineError(`sample: expected probabilities with a positive, finite sum, found a sum of ${total}`);
	const high = generator.nextUint32() >>> 5;
	const low = generator.nextUint32() >>> 6;
	const target = (high * 67108864 + low) / 2 ** 53 * total;
	let sum = 0;
	let last = 0;
	for (let i = 0; i < weights.length; i++) {
		if (weights[i] <= 0) continue;
		sum += weights[i];
		last = i;
		if (sum > target) break;
	}
	return last;
}
function takesLargest({ doSample, repetitionPenalty, minNewTokens }, { newTokenCount = 0, allowed }) {
	return !doSample && repetitionPenalty === 1 && newTokenCount >= minNewTokens && !allowed;
}
function nextToken(logits, config, state, generator) {
	if (takesLargest(config, state)) return argmax(logits);
	if (state.allowed?.length === 1) return state.allowed[0];
	const scores = processLogits(logits, config, state);
	return config.doSample ? sample(softmax(scores), generator) : argmax(scores);
}
function kthLargest(values, k) {
	const heap = values.slice(0, k).sort();
	for (let i = k; i < values.length; i++) {
		const value = values[i];
		if (value <= heap[0]) continue;
		let hole = 0;
		for (let child = 1; child < k; child = 2 * hole + 1) {
			if (child + 1 < k && heap[child + 1] < heap[child]) child++;
			if (heap[child] >= value) break;
			heap[hole] = heap[child];
			hole = child;
		}
		heap[hole] = value;
	}
	return heap[0];
}
// src/model/generate.ts
function generateTokens(model, prompts, options = {}) {
	return tokensOf(model, prompts, checkCall("generateTokens", model, prompts, options), true);
}
async function* tokensOf(model, prompts, { signal, sharePrefix, parsed, tokenizer, onToken }, withLogits = false) {
	const config = withEnds(parsed, model, prompts, tokenizer);
	const ends = config.eosTokenIds;
	const choices = choiceStates(config, model, prompts, tokenizer, parsed.eosTokenIds);
	const generator = new MersenneTwister(config.seed);
	const packed = model.pack(prompts);
	const sequences = Array.from({ length: packed.starts.length - 1 }, (_, i) => {
		const tokens = Array.from(packed.ids.subarray(packed.starts[i], packed.starts[i + 1]));
		return {
			tokens,
			promptLength: tokens.length,
			computed: tokens.length,
			choice: choices?.[i],
			text: tokenizer && !choices ? new AnswerText(tokenizer, config.stopStrings) : void 0
		};
	});
	const capacities = sequences.map(({ promptLength, choice }) => promptLength + (choice?.longest ?? config.maxNewTokens));
	const adapter = model.adapterView();
	const window = new PackedWindow([packed], {
		sharePrefix,
		isOnePass: true
	});
	const waiting = [sequences.map((_, i) => i)];
	let active = [];
	const cache = await exclusively(model.engine, signal, () => model.createCache(capacities));
	let isComputing = false;
	const abort = () => {
		if (!isComputing) cache.dispose();
	};
	signal?.addEventListener("abort", abort, { once: true });
	const take = (index, id) => {
		const { tokens, promptLength, choice, text } = sequences[index];
		tokens.push(id);
		const isEnd = ends.includes(id);
		const isFull = tokens.length - promptLength === config.maxNewTokens;
		if (choice) {
			const answer = choice.advance(id);
			return {
				sequence: index,
				id,
				text: answer,
				last: answer !== ""
			};
		}
		if (!text) return {
			sequence: index,
			id,
			last: isEnd || isFull
		};
		const piece = (isEnd || isFull) && prompts.stopTokenIds?.includes(id) ? "" : text.push(id);
		const last = isEnd || isFull || text.isStopped;
		return {
			sequence: index,
			id,
			text: last ? piece + text.end() : piece,
			last
		};
	};
	try {
		while (waiting.length > 0 || active.length > 0) {
			signal?.throwIfAborted();
			const prefilled = waiting.shift();
			const computed = prefilled ?? active;
			const step = prefilled ? promptStep(window, prefilled) : nextStep(sequences, active);
			isComputing = true;
			const rows = Int32Array.from(computed, (sequence) => step.starts[sequence + 1] - 1);
			const passOptions = {
				cache,
				adapter,
				signal
			};
			const isPlain = !withLogits && computed.every((i) => takesLargest(config, stateOf(sequences[i])));
			let maxima;
			let logits;
			try {
				maxima = isPlain ? await model.rowMaxima(step, rows, passOptions) : void 0;
				logits = maxima ? void 0 : await model.rowLogits(step, rows, passOptions);
			} catch (error) {
				if (!(error instanceof OutOfMemoryError) || !prefilled || prefilled.length === 1) throw error;
				cache.clear(prefilled);
				const half = Math.ceil(prefilled.length / 2);
				waiting.unshift(prefilled.slice(0, half), prefilled.slice(half));
				continue;
			} finally {
				isComputing = false;
			}
			const size = model.config.text.vocabSize;
			const ended = new Set();
			for (const [i, index] of computed.entries()) {
				const scores = logits?.subarray(i * size, (i + 1) * size);
				const sequence = sequences[index];
				sequence.computed = sequence.tokens.length;
				let id = scores ? nextToken(scores, config, stateOf(sequence), generator) : requireLargest(maxima.indices[i], maxima.values[i], size);
				for (; id !== void 0; id = withLogits ? void 0 : sequence.choice?.forced) {
					const token = take(index, id);
					if (token.last) ended.add(index);
					await onToken?.({
						sequence: index,
						id,
						text: token.text ?? "",
						last: token.last
					});
					yield scores ? {
						...token,
						logits: scores
					} : token;
					signal?.throwIfAborted();
					if (token.last) break;
				}
			}
			active = (prefilled ? [...active, ...prefilled] : active).filter((sequence) => !ended.has(sequence));
		}
	} finally {
		signal?.removeEventListener("abort", abort);
		cache.dispose();
	}
}
function stateOf({ tokens, promptLength, choice }) {
	return {
		tokens,
		newTokenCount: tokens.length - promptLength,
		allowed: choice?.allowed
	};
}
function withEnds(parsed, model, prompts, tokenizer) {
	const own = parsed.eosTokenIds ?? [...model.config.eosTokenIds, ...prompts.stopTokenIds ?? []];
	const named = (parsed.stopStrings ?? []).flatMap((stop) => {
		const id = tokenizer?.tokenToId(stop);
		return id !== void 0 && tokenizer?.specialTokenIds.has(id) ? id : [];
	});
	return {
		...parsed,
		eosTokenIds: [...new Set([...own, ...named])]
	};
}
async function generate(model, prompts, options = {}) {
	return idsOf(model, prompts, checkCall("generate", model, prompts, options));
}
async function idsOf(model, prompts, checked) {
	const result = Array.from({ length: prompts.inputIds.shape[0] }, () => []);
	for await (const { sequence, id } of tokensOf(model, prompts, checked)) result[sequence].push(id);
	return result;
}
async function generateText(model, tokenizer, prompts, options = {}) {
	const checked = checkCall("generateText", model, prompts, options, tokenizer);
	const texts = Array.from({ length: prompts.inputIds.shape[0] }, () => "");
	for await (const { sequence, text } of tokensOf(model, prompts, checked)) texts[sequence] += text;
	return texts;
}
function streamText(model, tokenizer, prompts, options = {}) {
	return piecesOf(model, prompts, checkCall("streamText", model, prompts, options, tokenizer));
}
async function* piecesOf(model, prompts, checked) {
	for await (const { sequence, text } of tokensOf(model, prompts, checked)) if (sequence === 0 && text) yield text;
}
function checkCall(name, model, prompts, options, ...given) {
	const isText = given.length > 0;
	requirePrompts(name, `${name}(model, ${isText ? "tokenizer, " : ""}await collator.collatePrompts([{ messages }]), { maxNewTokens: 20 })`, {
		model,
		prompts,
		...isText && { tokenizer: given[0] }
	});
	const { signal, sharePrefix = true, tokenizer: own, onToken, ...rest } = isOptions(options) ? options : {};
	requireSignal(signal, name);
	requireBoolean(sharePrefix, `${name}: \`sharePrefix\``);
	requireCallback(onToken, `${name}: \`onToken\``, "It takes { sequence, id, text, last }.", true);
	const parsed = parseGenerationConfig(isOptions(options) ? rest : options, name);
	if (own !== void 0) requireKind("tokenizer", own, `${name}: \`tokenizer\``);
	const tokenizer = isText ? given[0] : own;
	if (!tokenizer) requireNoTexts(name, {
		onToken,
		...parsed
	});
	if (parsed.choices) requireTexts(parsed.choices, `${name}: \`choices\``);
	return {
		signal,
		sharePrefix,
		parsed,
		tokenizer,
		onToken
	};
}
function requireNoTexts(name, options) {
	const wanting = [
		"stopStrings",
		"choices",
		"onToken"
	].find((option) => options[option] !== void 0);
	if (!wanting) return;
	throw new ConfigError(`${name}: \`${wanting}\` is about texts: expected \`tokenizer\` among the options, got nothing`, { hint: `${name}(model, prompts, { tokenizer: processor.tokenizer, … }); generateText and streamText have it already.` });
}
function promptStep(window, range) {
	const joined = window.join(range.map((i) => window.samples[i]));
	const count = window.samples.length;
	if (range.length === count) return joined;
	const first = range[0];
	const ofAll = (starts) => {
		return Int32Array.from({ length: count + 1 }, (_, i) => starts[Math.min(Math.max(0, i - first), range.length)]);
	};
	const { sharedKeys } = joined;
	return {
		...joined,
		starts: ofAll(joined.starts),
		sharedKeys: sharedKeys && {
			...sharedKeys,
			starts: ofAll(sharedKeys.starts)
		}
	};
}
function nextStep(sequences, active) {
	const added = sequences.map(() => 0);
	for (const i of active) added[i] = sequences[i].tokens.length - sequences[i].computed;
	const starts = new Int32Array(sequences.length + 1);
	for (const [i, count] of added.entries()) starts[i + 1] = starts[i] + count;
	return {
		ids: Int32Array.from(active.flatMap((i) => sequences[i].tokens.slice(sequences[i].computed))),
		positions: Int32Array.from(active.flatMap((i) => Array.from({ length: added[i] }, (_, t) => sequences[i].computed + t))),
		starts,
		labelRows: new Int32Array(0),
		labelTargets: new Int32Array(0),
		images: void 0
	};
}
// src/batch/answer-branches.ts
function withAnswers(packed, answers) {
	const builder = new AnswerRows();
	const labels = answers.map((ofPrompt, sample) => builder.add(packed, sample, ofPrompt));
	return {
		packed: builder.join(packed),
		labels
	};
}
var AnswerRows = class {
	#ids = [];
	#positions = [];
	#segments = [];
	#labelRows = [];
	#labelTargets = [];
	#rowOf = [];
	add(packed, sample, { tree, count, end }) {
		const [first, stop] = [packed.starts[sample], packed.starts[sample + 1]];
		for (let row = first; row < stop; row++) this.#rowOf.push(this.#push(packed.ids[row], packed.positions[row]));
		const { rows, starts } = packed.sharedKeys ?? {};
		const before = starts ? rows.subarray(starts[sample], starts[sample + 1]) : range(first, stop);
		const segment = {
			keys: Array.from(before, (row) => this.#rowOf[row]),
			own: stop - first
		};
		this.#segments.push(segment);
		const labels = Array.from({ length: count }, () => []);
		const waiting = [];
		for (let place = {
			node: tree,
			segment,
			path: void 0
		}; place;) {
			const { node, path } = place;
			const { keys } = place.segment;
			const row = keys.at(-1);
			if (node.answer !== void 0) labels[node.answer] = labelsOf(this.#label(row, end, path));
			const branches = Array.from(node.next, ([id, next], i) => {
				return {
					id,
					node: next,
					segment: i === 0 ? place.segment : {
						keys: [...keys],
						own: 0
					},
					path: this.#label(row, id, path)
				};
			});
			waiting.push(...branches.reverse());
			const next = waiting.pop();
			if (next) this.#extend(next);
			place = next;
		}
		return labels;
	}
	join({ images }) {
		const segments = this.#segments;
		return {
			ids: Int32Array.from(this.#ids),
			positions: Int32Array.from(this.#positions),
			starts: offsets(segments.map(({ own }) => own)),
			labelRows: Int32Array.from(this.#labelRows),
			labelTargets: Int32Array.from(this.#labelTargets),
			sharedKeys: {
				rows: Int32Array.from(segments.flatMap(({ keys }) => keys)),
				starts: offsets(segments.map(({ keys }) => keys.length))
			},
			images: images && {
				...images,
				tokenRows: images.tokenRows.map((row) => this.#rowOf[row])
			}
		};
	}
	#label(row, target, before) {
		this.#labelRows.push(row);
		return {
			label: this.#labelTargets.push(target) - 1,
			before
		};
	}
	#extend({ id, segment }) {
		if (segment.own === 0) this.#segments.push(segment);
		segment.keys.push(this.#push(id, this.#positions[segment.keys.at(-1)] + 1));
		segment.own++;
	}
	#push(id, position) {
		this.#positions.push(position);
		return this.#ids.push(id) - 1;
	}
};
function labelsOf(path) {
	const labels = [];
	for (let at = path; at; at = at.before) labels.push(at.label);
	return labels.reverse();
}
function range(from, to) {
	return Array.from({ length: to - from }, (_, i) => from + i);
}
function offsets(lengths) {
	const starts = new Int32Array(lengths.length + 1);
	for (const [i, length] of lengths.entries()) starts[i + 1] = starts[i] + length;
	return starts;
}
// src/model/score-labels.ts
const optionsSchema = strictObject({
	normalizeLength: boolean().default(false),
	eosTokenId: int().min(0).optional(),
	sharePrefix: boolean().default(true)
});
const OTHER_NAMES$1 = {
	lengthnormalization: "normalizeLength",
	normalize: "normalizeLength",
	eostokenids: "eosTokenId"
};
const TOKENS_PER_PASS = 2048;
const LARGEST_FACTOR = 4;
const SHARE_OF_FREE = .5;
const KEYS_PER_TOKEN = 32;
async function scoreLabels(model, tokenizer, prompts, labels, options = {}) {
	requirePrompts("scoreLabels", "scoreLabels(model, tokenizer, await collator.collatePrompts(examples), classNames)", {
		model,
		prompts,
		tokenizer
	});
	requireTexts(labels, "scoreLabels: `labels`");
	const { signal, ...rest } = isOptions(options) ? options : {};
	requireSignal(signal, "scoreLabels");
	const parsed = parseOptions(optionsSchema, isOptions(options) ? rest : options, "scoreLabels options", OTHER_NAMES$1);
	const answers = promptAnswers(tokenizer, prompts, labels, {
		config: model.config,
		eosTokenId: parsed.eosTokenId
	}, "scoreLabels: `labels`");
	const window = new PackedWindow([model.pack(prompts)], { sharePrefix: parsed.sharePrefix });
	requirePositions(model, window, answers, prompts);
	const most = tokensOfPass(model);
	const adapter = model.adapterView();
	const scores = answers.map(() => new Array(labels.length));
	for (const [from, to] of labelGroups(window, answers, most)) {
		const waiting = passesOf(window, answers.map((all) => partOf(all, from, to)), most).map((pass) => ({
			pass,
			from,
			to
		}));
		for (let work = waiting.shift(); work; work = waiting.shift()) {
			const { pass, from: first, to: end } = work;
			const answered = withAnswers(window.join(pass), pass.map(({ row }) => partOf(answers[row], first, end)));
			const losses = await model.labelLosses(answered.packed, {
				signal,
				adapter
			}).catch((error) => {
				if (!(error instanceof OutOfMemoryError)) throw error;
				waiting.unshift(...halvesOf(work, error));
			});
			if (!losses) continue;
			requireFinite(losses);
			for (const [i, ofPrompt] of answered.labels.entries()) for (const [k, ofLabel] of ofPrompt.entries()) {
				const sum = ofLabel.reduce((total, at) => total - losses[at], 0);
				scores[pass[i].row][first + k] = parsed.normalizeLength ? sum / ofLabel.length : sum;
			}
		}
	}
	return scores;
}
function halvesOf({ pass, from, to }, error) {
	if (pass.length > 1) {
		const half = Math.ceil(pass.length / 2);
		return [{
			pass: pass.slice(0, half),
			from,
			to
		}, {
			pass: pass.slice(half),
			from,
			to
		}];
	}
	if (to - from < 2) throw error;
	const half = Math.ceil((from + to) / 2);
	return [{
		pass,
		from,
		to: half
	}, {
		pass,
		from: half,
		to
	}];
}
function partOf({ ids: all, end }, from, to) {
	const ids = all.slice(from, to);
	const tokens = ids.reduce((sum, { length }) => sum + length, 0);
	return {
		tree: answerTree(ids),
		count: ids.length,
		end,
		tokens
	};
}
function tokensOfPass({ engine, config }) {
	const { tokensPerPass, storage } = engine;
	if (tokensPerPass === 0) return TOKENS_PER_PASS;
	const { bytesInUse, limitBytes } = engine.memory();
	const { text, vision, spatialMergeSize } = config;
	const row = (hidden, inner, heads) => storage.elementBytes * (8 * hidden + (3 + storage.temporaries) * inner + 4 * heads);
	const ofImage = spatialMergeSize ** 2 * row(vision.hiddenSize, vision.intermediateSize, vision.hiddenSize);
	const ofKeys = 64 * storage.elementBytes * text.kvHeads * text.headDim;
	const ofToken = row(text.hiddenSize, text.intermediateSize, text.heads * text.headDim) + ofImage + ofKeys;
	const fitting = Math.floor(SHARE_OF_FREE * (limitBytes - bytesInUse) / ofToken);
	return Math.max(tokensPerPass, TOKENS_PER_PASS, Math.min(LARGEST_FACTOR * tokensPerPass, fitting));
}
function labelGroups({ samples }, answers, most) {
	const { length } = answers[0]?.ids ?? [];
	const longest = Math.max(...answers.map(longestOf));
	const prompt = Math.max(...samples.map(({ size }) => size.tokens));
	const atOnce = Math.max(1, Math.min(Math.floor(most / longest), Math.floor(KEYS_PER_TOKEN * most / (prompt + longest))));
	const groups = Math.ceil(length / atOnce);
	return Array.from({ length: groups }, (_, i) => {
		return [Math.floor(i * length / groups), Math.floor((i + 1) * length / groups)];
	});
}
function longestOf({ ids }) {
	return ids.reduce((most, { length }) => Math.max(most, length), 0);
}
function passesOf(window, answers, most) {
	const fits = (pass) => {
		const { tokens, keys = tokens } = window.sizeOf(pass);
		const added = pass.reduce((sum, { row }) => sum + answers[row].tokens, 0);
		const copies = pass.reduce((sum, { row, size }) => sum + (answers[row].count - 1) * size.tokens, 0);
		return tokens + added <= most && keys + copies + added <= KEYS_PER_TOKEN * most;
	};
	const cut = (part, atMost) => {
		const passes = [[]];
		for (const sample of part) {
			const pass = passes.at(-1);
			if (pass.length === 0 || pass.length < atMost && fits([...pass, sample])) pass.push(sample);
			else passes.push([sample]);
		}
		return passes;
	};
	return windowParts(window.samples).flatMap((part) => {
		return cut(part, Math.ceil(part.length / cut(part, part.length).length));
	});
}
function requirePositions({ config }, { samples }, answers, { sampleIds }) {
	const { maxPositions } = config.text;
	for (const { row, size } of samples) {
		const length = size.tokens + longestOf(answers[row]);
		if (length <= maxPositions) continue;
		const name = oneLine(sampleIds?.[row] ?? String(row));
		throw new DataError(`scoreLabels: sample ${name} has ${length} tokens with its longest label, more than the model's ${maxPositions} positions`);
	}
}
function requireFinite(losses) {
	const at = losses.findIndex((loss) => !Number.isFinite(loss));
	if (at < 0) return;
	throw new EngineError(`scoreLabels: expected finite log-probabilities, found ${-losses[at]}`, { hint: "The weights or the adapter may be damaged, or activations overflowed." });
}
// src/lora/verify-adapter.ts
const TOLERANCE = .01;
async function verifyAdapter(model, directory, batch) {
	requireLoraHost(model, "verifyAdapter");
	requirePath(directory, "verifyAdapter: `directory`");
	requireKind("batch", batch, "verifyAdapter: `batch`", "verifyAdapter(model, directory, await collator.collate(samples))");
	const own = model.linearModules.map(({ lora }) => lora);
	const trained = own.some((lora) => lora) ? await model.lastLogits(batch) : void 0;
	for (const module of model.linearModules) module.lora = void 0;
	try {
		const base = await model.lastLogits(batch);
		const { engine, linearModules } = model;
		const copy = await loadAdapter(directory, {
			engine,
			linearModules
		}, { onWarning: () => void 0 });
		const modules = copy.modules.length;
		let loaded;
		try {
			loaded = await model.lastLogits(batch);
		} finally {
			copy.dispose();
		}
		const maxChange = largestDifference(loaded, base);
		const maxDeviation = trained && largestDifference(loaded, trained);
		const fault = faultOf(maxChange, maxDeviation);
		if (fault !== void 0) {
			const isOther = maxDeviation !== void 0 && Number.isFinite(maxChange) && maxChange > 0;
			throw new CheckpointError(`${directory}: the adapter of ${modules} layers ${fault}`, {
				...isOther && { hint: "Are these the files of the active adapter? setAdapter or disable changes which one is compared." },
				details: {
					directory,
					modules,
					maxChange,
					maxDeviation
				}
			});
		}
		return {
			modules,
			maxChange,
			maxDeviation
		};
	} finally {
		for (const [i, module] of model.linearModules.entries()) module.lora = own[i];
	}
}
function faultOf(maxChange, maxDeviation) {
	if (!Number.isFinite(maxChange)) return "produces logits that are not finite: its training has diverged";
	if (maxChange === 0) return "changes no logit: it has not been trained, or every B is zero";
	if (maxDeviation === void 0 || maxDeviation <= TOLERANCE * maxChange) return void 0;
	return `does not do what the adapter on the model does: logits differ by up to ${maxDeviation.toPrecision(3)}, where its whole effect is ${maxChange.toPrecision(3)}`;
}
function largestDifference(a, b) {
	let largest = 0;
	for (let i = 0; i < a.length; i++) {
		const difference = Math.abs(a[i] - b[i]);
		if (Number.isNaN(difference)) return NaN;
		largest = Math.max(largest, difference);
	}
	return largest;
}
// src/generated/merge-worker.ts
var merge_worker_default = "\"use strict\";\n\n// src/lora/merge-worker.ts\nvar import_node_worker_threads = require(\"node:worker_threads\");\n\n// src/formats/half-precision.ts\nvar scratch = new Float32Array(1);\nvar scratchBits = new Uint32Array(scratch.buffer);\nfunction bfloat16Bits(bits) {\n  if ((bits & 2147483647) > 2139095040) return bits >>> 16 | 64;\n  return bits + 32767 + (bits >>> 16 & 1) >>> 16 & 65535;\n}\nfunction float16Bits(bits) {\n  const sign = bits >>> 16 & 32768;\n  const magnitude = bits & 2147483647;\n  if (magnitude > 2139095040) return sign | 32256 | magnitude >>> 13 & 511;\n  if (magnitude >= 1199566848) return sign | 31744;\n  if (magnitude >= 947912704) return sign | magnitude - 939524096 + 4095 + (magnitude >>> 13 & 1) >>> 13;\n  if (magnitude <= 855638016) return sign;\n  const shift = 126 - (magnitude >>> 23);\n  const mantissa = magnitude & 8388607 | 8388608;\n  const quotient = mantissa >>> shift;\n  const rest = mantissa & (1 << shift) - 1;\n  const half = 1 << shift - 1;\n  return sign | quotient + (rest > half || rest === half && (quotient & 1) === 1 ? 1 : 0);\n}\nfunction bitsOf(values) {\n  return new Uint32Array(values.buffer, values.byteOffset, values.length);\n}\nfunction float32ToBfloat16(values, target = new Uint16Array(values.length)) {\n  const bits = bitsOf(values);\n  for (let i = 0; i < bits.length; i++) target[i] = bfloat16Bits(bits[i]);\n  return target;\n}\nfunction bfloat16ToFloat32(values, target = new Float32Array(values.length)) {\n  const bits = bitsOf(target);\n  for (let i = 0; i < values.length; i++) bits[i] = values[i] << 16;\n  return target;\n}\nfunction float32ToFloat16(values, target = new Uint16Array(values.length)) {\n  const bits = bitsOf(values);\n  for (let i = 0; i < bits.length; i++) target[i] = float16Bits(bits[i]);\n  return target;\n}\nfunction float16ToFloat32(values, target = new Float32Array(values.length)) {\n  const bits = bitsOf(target);\n  for (let i = 0; i < values.length; i++) {\n    const half = values[i];\n    const sign = (half & 32768) << 16;\n    const exponent = half >>> 10 & 31;\n    const mantissa = half & 1023;\n    if (exponent === 0) {\n      scratch[0] = mantissa * 2 ** -24;\n      bits[i] = scratchBits[0] | sign;\n    } else {\n      bits[i] = sign | (exponent === 31 ? 255 : exponent + 112) << 23 | mantissa << 13;\n    }\n  }\n  return target;\n}\nfunction widen({ buffer, byteOffset, byteLength }, dtype) {\n  if (dtype === \"f32\") return new Float32Array(buffer, byteOffset, byteLength / 4);\n  return (dtype === \"bf16\" ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(buffer, byteOffset, byteLength / 2));\n}\n\n// src/lora/merged-weight.ts\nfunction mergedWeight(weight, inFeatures, lora) {\n  const { scale } = lora;\n  const merged = new Float32Array(weight.length);\n  const rows = weight.length / inFeatures;\n  const padded = padRanks(lora, rows);\n  const sums = Array.from({ length: 4 }, () => new Float64Array(inFeatures));\n  for (let row = 0; row < rows; row += 4) {\n    for (const sum of sums) sum.fill(0);\n    for (let k = 0; k < padded.r; k += 4) addFourRanks(sums, padded, row, k, rows - 1);\n    for (let j = 0; j < 4 && row + j < rows; j++) {\n      const sum = sums[j];\n      for (let i = 0, at = (row + j) * inFeatures; i < inFeatures; i++, at++) {\n        merged[at] = weight[at] + Math.fround(scale * sum[i]);\n      }\n    }\n  }\n  return merged;\n}\nfunction padRanks({ r, a, b }, rows) {\n  const padded = Math.ceil(r / 4) * 4;\n  const wideA = new Float64Array(a.length / r * padded);\n  wideA.set(a);\n  const wideB = new Float64Array(rows * padded);\n  for (let row = 0; row < rows; row++) wideB.set(b.subarray(row * r, (row + 1) * r), row * padded);\n  return { r: padded, a: wideA, b: wideB };\n}\nfunction addFourRanks(sums, { r, a, b }, row, k, last) {\n  const [s0, s1, s2, s3] = sums;\n  const length = s0.length;\n  const at = (j) => Math.min(row + j, last) * r + k;\n  const [m, n, o, p] = [at(0), at(1), at(2), at(3)];\n  const [m0, m1, m2, m3] = [b[m], b[m + 1], b[m + 2], b[m + 3]];\n  const [n0, n1, n2, n3] = [b[n], b[n + 1], b[n + 2], b[n + 3]];\n  const [o0, o1, o2, o3] = [b[o], b[o + 1], b[o + 2], b[o + 3]];\n  const [p0, p1, p2, p3] = [b[p], b[p + 1], b[p + 2], b[p + 3]];\n  const first = k * length;\n  const [second, third, fourth] = [first + length, first + 2 * length, first + 3 * length];\n  for (let i = 0; i < length; i++) {\n    const a0 = a[first + i];\n    const a1 = a[second + i];\n    const a2 = a[third + i];\n    const a3 = a[fourth + i];\n    s0[i] += m0 * a0 + m1 * a1 + m2 * a2 + m3 * a3;\n    s1[i] += n0 * a0 + n1 * a1 + n2 * a2 + n3 * a3;\n    s2[i] += o0 * a0 + o1 * a1 + o2 * a2 + o3 * a3;\n    s3[i] += p0 * a0 + p1 * a1 + p2 * a2 + p3 * a3;\n  }\n}\nfunction mergeRows({ bytes, dtype, lora }) {\n  const merged = mergedWeight(widen(bytes, dtype), lora.a.length / lora.r, lora);\n  const beyond = firstBeyond(merged, ROUNDS_TO_INFINITY[dtype]);\n  return beyond === void 0 ? { bytes: narrow(merged, dtype) } : { beyond };\n}\nvar ROUNDS_TO_INFINITY = {\n  f32: Number.POSITIVE_INFINITY,\n  bf16: 2 ** 128 - 2 ** 119,\n  f16: 65520\n};\nfunction firstBeyond(values, bound) {\n  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]) < bound)) return values[i];\n  return void 0;\n}\nfunction narrow(values, dtype) {\n  const stored = dtype === \"f32\" ? values : (dtype === \"bf16\" ? float32ToBfloat16 : float32ToFloat16)(values);\n  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);\n}\n\n// src/lora/merge-worker.ts\nvar port = import_node_worker_threads.parentPort;\nport?.on(\"message\", (rows) => {\n  try {\n    const result = mergeRows(rows);\n    port.postMessage({ result }, \"bytes\" in result ? [result.bytes.buffer] : []);\n  } catch (error) {\n    port.postMessage({ error });\n  }\n});\n";
// src/lora/merge-files.ts
async function requireCheckpoint(directory) {
	const { kind, text, children } = await describeFolder(directory);
	if ([
		"model",
		"other",
		"mistral"
	].includes(kind)) return requireUnquantized(directory);
	const subfolder = kind === "parent" ? `Give the subfolder, e.g. ${children[0]}.` : void 0;
	throw new CheckpointError(`mergeAdapter: \`checkpointDir\`, ${directory}, is no model: it ${text}`, {
		hint: subfolder ?? "Give the folder of the base model; `adapterDir` is that of the adapter.",
		details: {
			path: directory,
			kind
		}
	});
}
async function requireUnquantized(directory) {
	const path = join(directory, "config.json");
	const method = (await readJson(path).catch(() => void 0))?.quantization_config?.quant_method;
	if (method === void 0 || method === "fp8" || method === "bitsandbytes") return;
	throw new CheckpointError(`${path}: the weights are quantised (${showValue(method)}), a method that cannot be merged into`, {
		hint: "Merge into the base model in 16 bits, FP8 or NF4: its shapes are the same, and the adapter fits it.",
		details: { path }
	});
}
const NOT_COPIED = /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx|npz)$|\.index\.json$|^(params\.json|README\.md|adapter_config\.json|\..*)$/i;
async function smallFiles({ directory, indexFile }) {
	return ownFiles(directory, (await readdir(directory)).filter((name) => !NOT_COPIED.test(name) || name === indexFile));
}
async function ownFiles(directory, wanted) {
	const home = await realpath(directory);
	const stores = [home, resolve(home, "..", "..", "blobs")];
	const files = [];
	for (const entry of await readdir(directory, { withFileTypes: true })) {
		const { name } = entry;
		if (!wanted.includes(name)) continue;
		const path = join(directory, name);
		if (entry.isFile()) files.push([name, path]);
		if (!entry.isSymbolicLink()) continue;
		const real = await realpath(path).catch((cause) => {
			throw new CheckpointError(`${path}: a symbolic link that cannot be followed: ${cause.message}`, { cause });
		});
		if (!stores.some((store) => real.startsWith(store + sep))) throw new CheckpointError(`${path}: a symbolic link to ${real}, which does not belong to the checkpoint`, {
			hint: "Remove the link, or put the file itself in its place if it is to be part of the merged model.",
			details: {
				path,
				real
			}
		});
		if ((await stat(real)).isFile()) files.push([name, real]);
	}
	return files;
}
async function freeFolder(outputDir, sources) {
	const output = await realParent(outputDir);
	for (const source of sources) {
		const real = await realpath(source).catch(() => resolve(source));
		if (output === real || output.startsWith(real + sep)) throw new CheckpointError(`${outputDir} lies in the source folder ${source}`, { hint: "Give a folder of its own for the merged model." });
	}
	const entries = await readdir(outputDir).catch((error) => {
		if (error.code === "ENOENT") return [];
		throw new CheckpointError(`${outputDir} is not a folder`, { cause: error });
	});
	if (entries.length > 0) throw new CheckpointError(`${outputDir} is not empty: it holds ${entries.slice(0, 5).map(oneLine).join(", ")}`, { hint: "Give a new folder, so that files of two models cannot mix." });
	return output;
}
async function realParent(path) {
	const real = await realpath(path).catch(() => void 0);
	if (real !== void 0) return real;
	const parent = dirname(path);
	return parent === path ? path : join(await realParent(parent), basename(path));
}
function baseName(adapter, { origin }, checkpointDir) {
	return [
		cachedRepo(resolve(checkpointDir))?.name,
		adapter && baseOf(adapter.model).name,
		origin.baseModelNameOrPath
	].find((name) => name !== void 0 && /^[\w.-]+\/[\w.-]+$/.test(name));
}
function mergedCard(base) {
	if (base === void 0) return void 0;
	return [
		"---",
		`base_model: ${JSON.stringify(base)}`,
		"base_model_relation: finetune",
		"library_name: transformers",
		"pipeline_tag: image-text-to-text",
		"tags:",
		"  - \"ministral-tune\"",
		"---",
		"",
		`[${base}](https://huggingface.co/${base}) with a LoRA adapter merged into its weights by ministral-tune.`,
		""
	].join("\n");
}
// src/lora/merge-output.ts
var MergeOutput = class MergeOutput {
	tensors;
	#checkpoint;
	#quantized;
	#config;
	#shards = new Map();
	#changesIndex;
	#untied;
	constructor(checkpoint, config, quantized, isQuantized, untied) {
		this.#checkpoint = checkpoint;
		this.#config = config;
		this.#quantized = quantized;
		this.#changesIndex = isQuantized || untied !== void 0;
		const tensors = new Map();
		for (const { name, dtype, shape, byteLength } of checkpoint.tensors.values()) {
			if (isQuantized && quantized.isCompanion(name)) continue;
			this.#shards.set(name, basename(checkpoint.fileOf(name).path));
			if (quantized.formatOf(name) || isQuantized && (dtype === "U8" || dtype === "I8")) {
				const held = this.source(name);
				const { shape, byteLength, read } = held;
				tensors.set(name, {
					name,
					dtype: FILE_DTYPES[held.dtype],
					shape,
					byteLength,
					read
				});
			} else {
				const file = checkpoint.fileOf(name);
				const read = (target, offset) => file.readBytes(name, target, offset);
				tensors.set(name, {
					name,
					dtype,
					shape,
					byteLength,
					read
				});
			}
		}
		if (untied) {
			tensors.set(untied.name, {
				...tensors.get(untied.embedding),
				name: untied.name
			});
			this.#shards.set(untied.name, this.#shards.get(untied.embedding));
		}
		this.tensors = tensors;
		this.#untied = untied;
	}
	static async of(checkpoint, head = { changes: false }) {
		const plain = await QuantizedCheckpoint.of(checkpoint, void 0);
		const isQuantized = plain.isQuantized;
		if (!isQuantized && !head.changes) return new MergeOutput(checkpoint, void 0, plain, false, void 0);
		const path = join(checkpoint.directory, "config.json");
		const what = isQuantized ? "how the weights are quantised" : "whether embedding and output head are tied";
		const json = await readJson(path).catch((cause) => {
			const reason = `cannot be read as JSON: ${cause.message}`;
			throw new CheckpointError(`${path}, which says ${what}, ${reason}`, { cause });
		});
		if (typeof json !== "object" || json === null) throw new CheckpointError(`${path} holds no JSON object`);
		const config = json;
		const faults = [];
		const quantization = isQuantized ? parseQuantization(config.quantization_config, faults) : void 0;
		if (faults.length > 0) throw new CheckpointError(`${path} cannot be used:\n  - ${faults.join("\n  - ")}`);
		const quantized = isQuantized ? await QuantizedCheckpoint.of(checkpoint, quantization) : plain;
		const { quantization_config: _, ...others } = config;
		const changed = {
			...isQuantized ? others : config,
			...head.changes ? untie(config) : {}
		};
		return new MergeOutput(checkpoint, changed, quantized, isQuantized, head.untied);
	}
	inFile(path) {
		const shard = basename(path);
		return [...this.tensors.values()].filter(({ name }) => this.#shards.get(name) === shard);
	}
	get bytes() {
		return [...this.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
	}
	source(name) {
		const stored = name === this.#untied?.name ? this.#untied.embedding : name;
		const source = dequantizedSource(this.#quantized.source(stored));
		return stored === name ? source : {
			...source,
			name
		};
	}
	async writeJson(folder) {
		if (!this.#config) return;
		const write = (name, value) => writeFileAtomically(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
		await write("config.json", this.#config);
		const { indexFile } = this.#checkpoint;
		if (indexFile === void 0 || !this.#changesIndex) return;
		const weightMap = Object.fromEntries([...this.tensors.keys()].map((name) => [name, this.#shards.get(name)]));
		await write(indexFile, {
			metadata: { total_size: this.bytes },
			weight_map: weightMap
		});
	}
};
function untie(config) {
	const text = config.text_config;
	return {
		tie_word_embeddings: false,
		...typeof text === "object" && text !== null && "tie_word_embeddings" in text ? { text_config: {
			...text,
			tie_word_embeddings: false
		} } : {}
	};
}
// src/lora/merge-place.ts
const LOCK = /^\.(.+)\.merge\.lock$/;
const PARTIAL = /^\.(.+)\.[0-9a-f]{8}\.partial$/;
var MergePlace = class {
	#outputDir;
	#parent;
	#name;
	#options;
	#lock;
	#partial;
	constructor(outputDir, options) {
		this.#outputDir = outputDir;
		this.#parent = dirname(outputDir);
		this.#name = basename(outputDir);
		this.#options = options;
	}
	async open() {
		const { onWarning, signal } = this.#options;
		const say = (text) => warnWith(onWarning, [`mergeAdapter: ${this.#outputDir} ${text}`]);
		try {
			this.#lock = await OwnerLock.take(this.#lockOf(this.#name), {
				what: "merge",
				whenHeld: "refuse",
				signal,
				onWait: (owner) => say(`was left by ${describeOwner(owner)}; waiting to see whether it still lives`)
			});
			await this.#removePartials(this.#name);
			await this.#tidyOthers();
			const partial = join(this.#parent, `.${this.#name}.${randomBytes(4).toString("hex")}.partial`);
			await mkdir(partial);
			this.#partial = partial;
			return partial;
		} catch (cause) {
			throw signal?.aborted ? cause : this.#explained(cause);
		}
	}
	async finish() {
		const partial = this.#partial;
		await this.#requireOwned();
		await flushTree(partial);
		try {
			await rmdir(this.#outputDir).catch(() => void 0);
			await rename(partial, this.#outputDir);
			this.#partial = void 0;
			await flushFolder(this.#parent);
		} catch (cause) {
			throw this.#explained(cause);
		}
	}
	async reasonOf(error) {
		if (this.#partial === void 0 || this.#options.signal?.aborted) return error;
		const lost = await this.#requireOwned().catch((cause) => cause);
		if (lost instanceof CheckpointError) return lost;
		return error.syscall === void 0 ? error : this.#explained(error);
	}
	async close() {
		if (this.#partial !== void 0) await rm(this.#partial, {
			recursive: true,
			force: true
		});
		this.#partial = void 0;
		await this.#lock?.release();
	}
	async #requireOwned() {
		const lost = await this.#lock.check();
		if (lost === void 0) return;
		throw new CheckpointError(`${this.#outputDir} is no longer this merge's: ${lost}`, {
			hint: "The process was suspended for too long. Merge again, into a folder that no other merge writes to.",
			details: { path: this.#outputDir }
		});
	}
	async #tidyOthers() {
		for (const file of await readdir(this.#parent)) {
			const [, name] = LOCK.exec(file) ?? [];
			if (name === void 0 || name === this.#name || !await OwnerLock.isDead(this.#lockOf(name))) continue;
			const lock = await OwnerLock.take(this.#lockOf(name), {
				what: "merge",
				whenHeld: "refuse"
			}).catch(() => void 0);
			if (!lock) continue;
			await this.#removePartials(name).finally(() => lock.release());
		}
	}
	async #removePartials(name) {
		for (const entry of await readdir(this.#parent, { withFileTypes: true })) {
			if (!entry.isDirectory() || PARTIAL.exec(entry.name)?.[1] !== name) continue;
			await rm(join(this.#parent, entry.name), {
				recursive: true,
				force: true
			});
		}
	}
	#lockOf(name) {
		return join(this.#parent, `.${name}.merge.lock`);
	}
	#explained(cause) {
		const details = { path: this.#outputDir };
		if (cause instanceof HeldError) return new CheckpointError(`${this.#outputDir} is being written by ${describeOwner(cause.owner)}`, {
			hint: "Wait until that merge has ended, or give another `outputDir`.",
			details
		});
		if (cause instanceof TuneError) return cause;
		return new CheckpointError(`${this.#outputDir} cannot be written: ${cause.message}`, {
			hint: "Choose an `outputDir` in a folder that can be written to, on a disk with free space.",
			details,
			cause
		});
	}
};
// src/lora/merged-weight.ts
function mergedWeight(weight, inFeatures, lora) {
	const { scale } = lora;
	const merged = new Float32Array(weight.length);
	const rows = weight.length / inFeatures;
	const padded = padRanks(lora, rows);
	const sums = Array.from({ length: 4 }, () => new Float64Array(inFeatures));
	for (let row = 0; row < rows; row += 4) {
		for (const sum of sums) sum.fill(0);
		for (let k = 0; k < padded.r; k += 4) addFourRanks(sums, padded, row, k, rows - 1);
		for (let j = 0; j < 4 && row + j < rows; j++) {
			const sum = sums[j];
			for (let i = 0, at = (row + j) * inFeatures; i < inFeatures; i++, at++) merged[at] = weight[at] + Math.fround(scale * sum[i]);
		}
	}
	return merged;
}
function padRanks({ r, a, b }, rows) {
	const padded = Math.ceil(r / 4) * 4;
	const wideA = new Float64Array(a.length / r * padded);
	wideA.set(a);
	const wideB = new Float64Array(rows * padded);
	for (let row = 0; row < rows; row++) wideB.set(b.subarray(row * r, (row + 1) * r), row * padded);
	return {
		r: padded,
		a: wideA,
		b: wideB
	};
}
function addFourRanks(sums, { r, a, b }, row, k, last) {
	const [s0, s1, s2, s3] = sums;
	const length = s0.length;
	const at = (j) => Math.min(row + j, last) * r + k;
	const [m, n, o, p] = [
		at(0),
		at(1),
		at(2),
		at(3)
	];
	const [m0, m1, m2, m3] = [
		b[m],
		b[m + 1],
		b[m + 2],
		b[m + 3]
	];
	const [n0, n1, n2, n3] = [
		b[n],
		b[n + 1],
		b[n + 2],
		b[n + 3]
	];
	const [o0, o1, o2, o3] = [
		b[o],
		b[o + 1],
		b[o + 2],
		b[o + 3]
	];
	const [p0, p1, p2, p3] = [
		b[p],
		b[p + 1],
		b[p + 2],
		b[p + 3]
	];
	const first = k * length;
	const [second, third, fourth] = [
		first + length,
		first + 2 * length,
		first + 3 * length
	];
	for (let i = 0; i < length; i++) {
		const a0 = a[first + i];
		const a1 = a[second + i];
		const a2 = a[third + i];
		const a3 = a[fourth + i];
		s0[i] += m0 * a0 + m1 * a1 + m2 * a2 + m3 * a3;
		s1[i] += n0 * a0 + n1 * a1 + n2 * a2 + n3 * a3;
		s2[i] += o0 * a0 + o1 * a1 + o2 * a2 + o3 * a3;
		s3[i] += p0 * a0 + p1 * a1 + p2 * a2 + p3 * a3;
	}
}
function mergeRows({ bytes, dtype, lora }) {
	const merged = mergedWeight(widen(bytes, dtype), lora.a.length / lora.r, lora);
	const beyond = firstBeyond(merged, ROUNDS_TO_INFINITY[dtype]);
	return beyond === void 0 ? { bytes: narrow(merged, dtype) } : { beyond };
}
const ROUNDS_TO_INFINITY = {
	f32: Number.POSITIVE_INFINITY,
	bf16: 2 ** 128 - 2 ** 119,
	f16: 65520
};
function firstBeyond(values, bound) {
	for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]) < bound)) return values[i];
}
function narrow(values, dtype) {
	const stored = dtype === "f32" ? values : (dtype === "bf16" ? float32ToBfloat16 : float32ToFloat16)(values);
	return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
// src/lora/merge-adapter.ts
const OPTIONS = {
	checkpointDir: false,
	adapterDir: false,
	adapter: false,
	outputDir: false,
	chatTemplate: false,
	processor: false,
	onWarning: false,
	onProgress: false,
	signal: false
};
const WORKERS = Math.min(16, availableParallelism());
const CHUNK_BYTES = 8388608;
const MERGE_CHUNK_BYTES = 4194304;
async function mergeAdapter(options) {
	checkNames(options, OPTIONS, "mergeAdapter");
	const { checkpointDir, adapterDir, adapter } = options;
	if (adapterDir === void 0 === (adapter === void 0)) throw new ConfigError(`mergeAdapter: give either \`adapterDir\` or \`adapter\`, got ${adapter !== void 0 ? "both" : "neither"}`);
	requirePath(checkpointDir, "mergeAdapter: `checkpointDir`");
	requirePath(options.outputDir, "mergeAdapter: `outputDir`");
	if (adapter === void 0) requirePath(adapterDir, "mergeAdapter: `adapterDir`");
	else requireAdapter(adapter, "mergeAdapter", "mergeAdapter({ adapter, checkpointDir, outputDir })");
	const { chatTemplate, processor } = options;
	const parsedTemplate = parseOptions(strictObject(chatTemplateFields), {
		chatTemplate,
		processor
	}, "mergeAdapter");
	const sources = [checkpointDir, ...adapterDir === void 0 ? [] : [adapterDir]];
	const outputDir = await freeFolder(resolve(options.outputDir), sources);
	await requireCheckpoint(checkpointDir);
	const checkpoint = await ShardedCheckpoint.open(checkpointDir);
	const threads = new WorkerThreads(merge_worker_default, WORKERS);
	const place = new MergePlace(outputDir, options);
	try {
		const quantized = await QuantizedCheckpoint.of(checkpoint, void 0);
		const { linears, untied } = linearTensors(checkpoint, quantized);
		const data = adapter ? await adapterData(adapter) : await readAdapter(adapterDir, [...linears.values()]);
		const merged = modulesByTensor(data, linears, checkpoint, quantized);
		const changes = data.modules.some(({ name }) => name === OUTPUT_HEAD);
		const output = await MergeOutput.of(checkpoint, {
			changes,
			untied: changes ? untied : void 0
		});
		const small = new Map(await smallFiles(checkpoint));
		if (adapterDir !== void 0) for (const [name, path] of await ownFiles(adapterDir, PROCESSOR_FILES)) small.set(name, path);
		const trainedOn = (adapter && baseOf(adapter.model).name) ?? data.origin.baseModelNameOrPath;
		const other = otherBaseWarning(trainedOn, { nameOrPath: resolve(checkpointDir) });
		warnWith(options.onWarning, other === void 0 ? data.warnings : [...data.warnings, other]);
		const template = chatTemplateText(parsedTemplate) ?? data.origin.chatTemplate;
		const partial = await place.open();
		await freeFolder(outputDir, sources);
		const bytesTotal = output.bytes;
		let bytesDone = 0;
		const progress = ({ name, byteLength }) => {
			bytesDone += byteLength;
			options.onProgress?.({
				tensor: name,
				bytesDone,
				bytesTotal
			});
		};
		for (const file of checkpoint.files) {
			const tensors = output.inFile(file.path).map((tensor) => {
				const { name, dtype, shape } = tensor;
				const chunks = async function* () {
					const module = merged.get(name);
					yield* module ? mergedRows(output.source(name), module, threads, options.signal) : copiedBytes(tensor, options.signal);
					progress(tensor);
				};
				return {
					name,
					dtype,
					shape,
					chunks
				};
			});
			await writeSafetensors(join(partial, basename(file.path)), tensors, file.metadata);
		}
		for (const [name, path] of small) await copyFile(path, join(partial, name));
		await output.writeJson(partial);
		if (template !== void 0) await writeFileAtomically(join(partial, CHAT_TEMPLATE_FILE), template);
		const card = mergedCard(baseName(adapter, data, checkpointDir));
		if (card !== void 0) await writeFileAtomically(join(partial, "README.md"), card);
		await place.finish();
		return {
			outputDir,
			mergedModules: merged.size,
			tensors: output.tensors.size,
			bytes: bytesTotal,
			files: (await readdir(outputDir)).sort()
		};
	} catch (error) {
		throw await place.reasonOf(error);
	} finally {
		await threads.close(new Error("the merge has ended"));
		await checkpoint.close();
		await place.close();
	}
}
function linearTensors(checkpoint, quantized) {
	const linears = new Map();
	let untied;
	for (const tensor of checkpoint.tensors.keys()) {
		const shape = quantized.shapeOf(tensor);
		const name = linearModuleName(tensor, shape);
		if (name !== void 0) linears.set(name, {
			name,
			shape,
			tensor
		});
	}
	const embedding = [...checkpoint.tensors.values()].find(({ name, shape }) => toMemoryName(name) === EMBEDDING && shape.length === 2);
	if (embedding && !linears.has("lm_head")) {
		untied = {
			name: embedding.name !== EMBEDDING ? toDiskName(`${OUTPUT_HEAD}.weight`) : `${OUTPUT_HEAD}.weight`,
			embedding: embedding.name
		};
		linears.set(OUTPUT_HEAD, {
			name: OUTPUT_HEAD,
			shape: embedding.shape,
			tensor: untied.name
		});
	}
	return {
		linears,
		untied
	};
}
const EMBEDDING = "model.language_model.embed_tokens.weight";
function modulesByTensor(data, linears, checkpoint, quantized) {
	const merged = new Map();
	const faults = [];
	for (const module of data.modules) {
		const linear = linears.get(module.name);
		if (!linear) {
			faults.push(`${module.name}: the checkpoint has no such layer`);
			continue;
		}
		const [out, inner] = linear.shape;
		const dtype = checkpoint.tensors.get(linear.tensor)?.dtype ?? "F32";
		if (module.a.length !== module.r * inner || module.b.length !== out * module.r) faults.push(`${module.name}: the adapter was made for another shape than [${out}, ${inner}]`);
		else if (!engineDtype(dtype) && !quantized.formatOf(linear.tensor)) faults.push(`${linear.tensor}: stored as ${dtype}, expected F32, BF16, F16, F8_E4M3 or NF4 of bitsandbytes`);
		merged.set(linear.tensor, module);
	}
	if (faults.length > 0) throw new CheckpointError(`${checkpoint.directory}: the adapter cannot be merged:\n  - ${faults.join("\n  - ")}`, {
		hint: "Merge into the base model that the adapter was trained on.",
		details: { faults }
	});
	return merged;
}
async function* mergedRows(source, module, threads, signal) {
	const { dtype, shape, byteLength } = source;
	const [, inner] = shape;
	const rowBytes = inner * DTYPE_BYTES[dtype];
	const chunkBytes = Math.max(1, Math.floor(MERGE_CHUNK_BYTES / rowBytes)) * rowBytes;
	const { r, scale, a, b } = module;
	const merge = async (offset) => {
		const bytes = new Uint8Array(Math.min(chunkBytes, byteLength - offset));
		await source.read(bytes, offset);
		const [first, end] = [offset / rowBytes, (offset + bytes.length) / rowBytes];
		const rows = {
			bytes,
			dtype,
			lora: {
				r,
				scale,
				a,
				b: b.slice(first * r, end * r)
			}
		};
		const result = byteLength < MERGE_CHUNK_BYTES ? mergeRows(rows) : await threads.run(rows, [bytes.buffer], signal);
		if ("bytes" in result) return result.bytes;
		throw beyondError(source, result.beyond);
	};
	const ahead = [];
	for (let offset = 0; offset < byteLength || ahead.length > 0;) {
		signal?.throwIfAborted();
		for (; offset < byteLength && ahead.length <= WORKERS; offset += chunkBytes) {
			const chunk = merge(offset);
			chunk.catch(() => void 0);
			ahead.push(chunk);
		}
		yield await ahead.shift();
	}
}
function beyondError({ name, dtype }, element) {
	return new CheckpointError(`${name}: the merged weight has an element ${element}`, {
		hint: Number.isFinite(element) ? `That is more than ${dtype} holds: the training has diverged, or the base is to be stored as bfloat16 first.` : "The base weight or the adapter holds values that are not finite. If its training has diverged, use an earlier checkpoint.",
		details: { name }
	});
}
async function* copiedBytes({ byteLength, read }, signal) {
	for (let offset = 0; offset < byteLength; offset += CHUNK_BYTES) {
		signal?.throwIfAborted();
		const bytes = new Uint8Array(Math.min(CHUNK_BYTES, byteLength - offset));
		await read(bytes, offset);
		yield bytes;
	}
}
// src/train/callback-runner.ts
const LAST_CALL_MS = 3e4;
const LONG_MS = 2 ** 30;
var CallbackRunner = class {
	#listed;
	#run;
	#failure;
	#isOver = false;
	#turn = Promise.resolve();
	#early = [];
	#resumed;
	constructor(callbacks, run) {
		this.#listed = callbacks.map((callback, i) => {
			return {
				callback,
				name: callback.name ? `"${oneLine(callback.name)}"` : `callbacks[${i}]`,
				hasFailed: false
			};
		});
		this.#run = run;
	}
	handle(event) {
		this.#turn = this.#turn.then(async () => {
			if (event.type === "start") await this.#start(event);
			else if (this.#early) this.#early.push(event);
			else await this.#deliver(event);
		});
		return this.#turn;
	}
	get isPaused() {
		return this.#resumed !== void 0;
	}
	async whenResumed() {
		const alive = setInterval(() => void 0, LONG_MS);
		try {
			await orAborted(this.#resumed?.promise ?? Promise.resolve(), this.#run.signal);
		} finally {
			clearInterval(alive);
		}
	}
	requireSound() {
		if (this.#failure) throw this.#failure;
		this.#isOver = true;
	}
	async close(error) {
		await this.#turn;
		this.#isOver = true;
		this.#resume();
		for (const listed of this.#listed) await this.#call(listed, "onClose", (callback) => callback.onClose?.(error));
	}
	async #start(event) {
		for (const listed of this.#listed) {
			const control = this.#controlOf(listed);
			await this.#call(listed, "onStart", (callback) => callback.onStart?.(event, control));
		}
		const early = this.#early ?? [];
		this.#early = void 0;
		for (const one of [event, ...early]) await this.#deliver(one);
	}
	async #deliver(event) {
		for (const listed of this.#listed) {
			if (listed.hasFailed) continue;
			await this.#call(listed, `the event \`${event.type}\` of step ${event.step}`, (c) => c.onEvent?.(event));
		}
	}
	async #call(listed, where, call) {
		try {
			const answer = call(listed.callback);
			if (typeof answer?.then === "function") await this.#answered(answer);
		} catch (error) {
			listed.hasFailed = true;
			this.#fail(listed, where, error);
		}
	}
	async #answered(answer) {
		let strand = () => {};
		const stranded = new Promise((_, reject) => {
			strand = () => reject(new TrainingError("it waits for what never comes", { hint: STRANDED }));
		});
		process.once("beforeExit", strand);
		const late = () => new TrainingError(`it did not answer within ${LAST_CALL_MS / 1e3} s of the end of the run`);
		try {
			await afterAbort(Promise.race([answer, stranded]), this.#run.signal, LAST_CALL_MS, late);
		} finally {
			process.off("beforeExit", strand);
		}
	}
	#fail({ callback, name }, where, error) {
		const message = `the callback ${name} failed in ${where}: ${reasonOf(error)}`;
		if (this.#isOver || this.#run.signal.aborted) {
			process.emitWarning(printable(message), "TrainerCallbackWarning");
			return;
		}
		const own = error instanceof TuneError ? error.hint : void 0;
		this.#failure = new TrainingError(message, {
			hint: own ?? "Mend it or leave it out of `callbacks`; `resumeFromCheckpoint` goes on from the last whole step.",
			details: {
				callback: callback.name ?? name,
				where
			},
			cause: error
		});
		this.#run.stop(this.#failure);
	}
	#controlOf({ name }) {
		const runner = this;
		return {
			get isPaused() {
				return runner.isPaused;
			},
			pause: () => {
				if (!this.#isOver && !this.#run.signal.aborted) this.#resumed ??= withResolvers();
			},
			resume: () => this.#resume(),
			stop: (reason) => {
				if (this.#isOver) return;
				const why = reason ? `: ${oneLine(reason)}` : "";
				this.#run.stop(new DOMException(`stopped by the callback ${name}${why}`, "AbortError"));
			}
		};
	}
	#resume() {
		const held = this.#resumed;
		this.#resumed = void 0;
		held?.resolve();
	}
};
const STRANDED = "A callback must not wait for the run itself: the run waits for the callback.";
function withResolvers() {
	let resolve = () => {};
	return {
		promise: new Promise((settle) => {
			resolve = settle;
		}),
		resolve
	};
}
// src/train/label-check.ts
const PROBES = 1e4;
const LISTED$1 = 10;
const PER_TURN = 64;
async function checkLabels(dataset, collator, signal, stopTokenIds) {
	if (!collator.hasLabels && !collator.inspect) return [];
	const unlabelled = [];
	const findings = new Findings(Math.min(PROBES, dataset.length), stopTokenIds);
	const count = await forProbes(dataset, signal, (example, id) => {
		try {
			const inspection = collator.inspect?.(example);
			if (inspection) findings.add(inspection, id);
			if (!(inspection ? inspection.labels > 0 : collator.hasLabels(example))) unlabelled.push(id);
		} catch (error) {
			throw nameSample(error, id);
		}
	});
	if (unlabelled.length === 0) {
		if (count === dataset.length) findings.requireOneThatFits(count);
		return findings.warnings();
	}
	throw new DataError(`there is nothing to learn in ${unlabelled.length} of ${count} samples, no token of which carries a label: ` + shortList(unlabelled, LISTED$1, oneLine), {
		hint: "Each needs an assistant message with text, and a template that renders it. Repair them or filter them out.",
		details: { samples: unlabelled }
	});
}
async function checkEvaluationSet(dataset, collator, signal) {
	if (!collator.inspect) return;
	let dropped = 0;
	let longest = 0;
	const count = await forProbes(dataset, signal, (example, id) => {
		const name = `${id} of the evaluation set`;
		try {
			const { labels, tooLong } = collator.inspect(example);
			if (tooLong && !tooLong.isDropped) throw tooLongError(tooLong);
			if (tooLong) dropped++;
			longest = Math.max(longest, tooLong?.length ?? 0);
			if (labels > 0) return;
		} catch (error) {
			throw nameSample(error, name);
		}
		throw new DataError(`sample ${oneLine(name)}: there is nothing to measure, no token of it carries a label`, {
			hint: "Each needs an assistant message with text, not masked by `weight: 0` or `train: false`.",
			details: { sample: name }
		});
	});
	if (dropped === dataset.length && count > 0) throw allTooLong("the evaluation set", count, longest);
}
function tooLongError({ length, maxLength }) {
	return new DataError(`${length} tokens by its text alone; maxLength is ${maxLength}`, {
		hint: "Raise `maxLength`, or set `overlong` of the collator to \"drop\" or \"truncateText\".",
		details: {
			length,
			maxLength
		}
	});
}
function allTooLong(which, count, longest) {
	return new DataError(`all ${count} samples of ${which} are longer than \`maxLength\`, and \`overlong: "drop"\` leaves them out; the longest has at least ${longest} tokens`, {
		hint: "Raise `maxLength`, or set `overlong: \"truncateText\"`.",
		details: {
			samples: count,
			longest
		}
	});
}
async function forProbes(dataset, signal, look) {
	const count = Math.min(PROBES, dataset.length);
	for (let i = 0; i < count; i++) {
		if (i % PER_TURN === 0) {
			await eventLoopTurn();
			signal?.throwIfAborted();
		}
		const index = Math.floor(i * dataset.length / count);
		const example = await orAborted(dataset.get(index), signal);
		look(example, example.id ?? String(index));
	}
	return count;
}
var Findings = class {
	#looked;
	#stopTokenIds;
	#open = new Map();
	#strange = new Map();
	#spelled = new Map();
	#promptFaults = new Set();
	#leftOut = new Map();
	#tooLong = new Map();
	#dropped = 0;
	#longest = 0;
	constructor(looked, stopTokenIds) {
		this.#looked = looked;
		this.#stopTokenIds = stopTokenIds && new Set(stopTokenIds);
	}
	add(inspection, id) {
		const { openAnswers, openReason, promptFault, endTokens, spelledTokens, leftOut, tooLong } = inspection;
		if (tooLong) {
			this.#longest = Math.max(this.#longest, tooLong.length);
			if (tooLong.isDropped) this.#dropped++;
			const fate = tooLong.isDropped ? "are dropped" : "stop the run when it comes to them";
			tally(this.#tooLong, `maxLength ${tooLong.maxLength} and ${fate}`, 1, id);
		}
		if (promptFault !== void 0) this.#promptFaults.add(promptFault);
		if (openAnswers > 0) tally(this.#open, openReason ?? "nothing closes it", openAnswers, id);
		for (const end of endTokens) if (this.#stopTokenIds && !this.#stopTokenIds.has(end.id)) tally(this.#strange, `${end.token} (${end.id})`, 1, id);
		for (const [token, times] of Object.entries(spelledTokens)) tally(this.#spelled, token, times, id);
		for (const what of leftOut) tally(this.#leftOut, what, 1, id);
	}
	requireOneThatFits(count) {
		if (count > 0 && this.#dropped === count) throw allTooLong("the training set", count, this.#longest);
	}
	warnings() {
		const of = ({ samples, first }) => `in ${samples} of ${this.#looked} samples (first: ${oneLine(first)})`;
		const lines = [];
		for (const [what, { samples, first }] of this.#tooLong) lines.push(`${samples} of ${this.#looked} samples are longer than ${what} (first: ${first}), by their text alone`);
		for (const [reason, found] of this.#open) lines.push(`the end of the answer is not learned ${of(found)}. Of the chat template: ${reason}. A model that never learns to stop answers without end; let the template write {{ eos_token }} after each answer`);
		for (const fault of this.#promptFaults) lines.push(`generation asks in another way than training shows. Of the chat template: ${fault}. Let it write the same in both, the prompt by {% if add_generation_prompt %}`);
		for (const [token, found] of this.#strange) {
			const known = [...this.#stopTokenIds].join(", ") || "none";
			lines.push(`answers end with ${token} ${of(found)}, which is none of the model’s end-of-sequence tokens (${known}): prompts of the collator stop at both; for other programs put it into eos_token_id of generation_config.json`);
		}
		if (this.#spelled.size > 0) {
			const tokens = Array.from(this.#spelled, ([token, { count, samples, first }]) => {
				return `${token} ${count === 1 ? "once" : `${count} times`} in ${samples} ${samples === 1 ? "sample" : "samples"} (first: ${oneLine(first)})`;
			});
			lines.push(`texts spell control tokens, which stay text: ${tokens.join("; ")}. If they are meant as such, give messages and images as parts, or set \`parseSpecialTokens\` for plain strings`);
		}
		for (const [what, found] of this.#leftOut) lines.push(`the chat template does not show ${what} ${of(found)}: nothing of them is seen or learned`);
		return lines;
	}
};
function tally(found, name, count, first) {
	const known = found.get(name) ?? {
		count: 0,
		samples: 0,
		first
	};
	known.count += count;
	known.samples++;
	found.set(name, known);
}
// src/train/progress.ts
const LINE_MS = 3e4;
var Progress = class {
	#line;
	#style;
	#now;
	#totalSteps = 0;
	#firstStep = 0;
	#startTime = 0;
	#tokens = 0;
	#saidShared = false;
	#evaluation;
	constructor(style, stream, now = () => performance.now()) {
		this.#line = terminalLine(stream);
		this.#line.hold();
		this.#style = style === "auto" ? this.#line.isLive ? "bar" : "lines" : style;
		this.#now = now;
	}
	show(event) {
		if (this.#style === "none") return;
		if (event.type !== "warning") this.#evaluation = void 0;
		switch (event.type) {
			case "start":
				this.#totalSteps = event.totalSteps;
				this.#firstStep = event.step;
				this.#startTime = this.#now();
				this.#print(`training: ${event.samples} samples, ${event.totalSteps} steps${event.step > 0 ? ` (${event.step} done)` : ""}, ${event.trainableParameters.toLocaleString("en-US")} trainable parameters`);
				if (event.step < event.totalSteps) this.#drawWork(event.step, "preparing the first step");
				break;
			case "step":
				this.#tokens += event.tokens;
				if (event.sharedTokens > 0 && !this.#saidShared) {
					this.#saidShared = true;
					const [shared, all] = [event.sharedTokens, event.tokens].map((count) => count.toLocaleString("en-US"));
					this.#print(`sharePrefix: step ${event.step} reused ${shared} of its ${all} tokens from common prefixes`);
				}
				if (event.plan !== void 0) this.#print(`step ${event.step}: ${event.plan}`);
				this.#drawStep(event);
				break;
			case "log":
				this.#printPieces(logPieces(event, this.#totalSteps, this.#secondsLeft(event.step), usePieces(event)));
				break;
			case "evaluate":
				this.#line.print(evalLine(event, this.#totalSteps, this.#line.usesColor));
				break;
			case "save":
				this.#print(`saved ${event.path}`, "green");
				break;
			case "loadBest":
				this.#print(`took the best step, ${event.step} (${event.metric} ${event.value.toPrecision(5)}), from ${event.checkpoint ?? "memory"}`);
				break;
			case "pause":
				this.#print(`paused after step ${event.step}: a callback holds the run`, "yellow");
				this.#drawWork(event.step, "paused");
				break;
			case "resume":
				this.#startTime += 1e3 * event.seconds;
				this.#print(`resumed after ${formatDuration(event.seconds)}`);
				break;
			case "warning":
				this.#print(`warning: ${event.message}`, "yellow");
				break;
			case "end": {
				const { trainLoss, trainRuntime, trainTokensPerSecond } = event.output.metrics;
				this.#print(`done: ${event.step} steps in ${formatDuration(trainRuntime)}, mean loss ${trainLoss.toFixed(4)}, ${trainTokensPerSecond.toFixed(0)} tok/s`, "bold");
				break;
			}
		}
	}
	evaluating(done, total) {
		if (this.#style === "none") return;
		const now = this.#now();
		this.#evaluation ??= {
			start: now,
			shown: now
		};
		const evaluation = this.#evaluation;
		const seconds = (now - evaluation.start) / 1e3;
		const left = done > 0 ? [{
			text: `${formatDuration(seconds / done * (total - done))} left`,
			rank: 0
		}] : [];
		const pieces = [
			{
				text: "evaluating",
				rank: 1
			},
			{
				text: `${done}/${total}`,
				rank: 1
			},
			...left
		];
		if (this.#style === "bar") this.#line.draw(this.#fitted(pieces, done / total), now, done === 0);
		else if (now - evaluation.shown >= LINE_MS) {
			evaluation.shown = now;
			this.#printPieces(pieces);
		}
	}
	measuring() {
		if (this.#style !== "bar") return;
		this.#line.draw(this.#fitted([{
			text: "evaluating",
			rank: 1
		}, {
			text: "computing metrics",
			rank: 0
		}], 1), this.#now(), true);
	}
	clear() {
		if (this.#style === "bar") this.#line.clear();
	}
	close() {
		return this.#line.release();
	}
	#secondsLeft(step) {
		const done = Math.max(1, step - this.#firstStep);
		return (this.#now() - this.#startTime) / 1e3 / done * (this.#totalSteps - step);
	}
	#drawStep(event) {
		if (this.#style !== "bar") return;
		const now = this.#now();
		const rate = this.#tokens / Math.max((now - this.#startTime) / 1e3, 1e-9);
		const pieces = logPieces({
			...event,
			tokensPerSecond: rate
		}, this.#totalSteps, this.#secondsLeft(event.step));
		this.#line.draw(this.#fitted(pieces, event.step / this.#totalSteps), now, event.step === this.#totalSteps);
	}
	#drawWork(step, text) {
		if (this.#style !== "bar") return;
		const pieces = [positionPiece(step, this.#totalSteps), {
			text,
			rank: 0
		}];
		this.#line.draw(this.#fitted(pieces, step / this.#totalSteps), this.#now(), true);
	}
	#fitted(pieces, share) {
		const { columns, usesColor } = this.#line;
		return fitPieces(pieces, {
			columns,
			share,
			usesColor
		});
	}
	#printPieces(pieces) {
		this.#line.print(this.#fitted(pieces));
	}
	#print(text, style) {
		this.#line.print(styled(style, printable(text), this.#line.usesColor));
	}
};
function logPieces(entry, totalSteps, secondsLeft, use = []) {
	return [
		positionPiece(entry.step, totalSteps),
		{
			text: `epoch ${entry.epoch.toFixed(2)}`,
			rank: 6
		},
		{
			text: `loss ${entry.loss.toFixed(4)}`,
			rank: 2,
			style: "bold"
		},
		{
			text: `lr ${entry.learningRate.toExponential(2)}`,
			rank: 5
		},
		{
			text: `grad ${entry.gradNorm.toPrecision(3)}`,
			rank: 7
		},
		{
			text: `${entry.tokensPerSecond.toFixed(0)} tok/s`,
			rank: 3
		},
		...use,
		{
			text: `${formatDuration(secondsLeft)} left`,
			rank: 0,
			style: "cyan"
		}
	];
}
function usePieces(entry) {
	const { modelTflops, modelFlopsUtilization, dataWaitShare, peakMemoryBytes } = entry;
	const percent = (share) => `${(100 * share).toFixed(0)} %`;
	const rate = modelTflops === void 0 ? [] : [`${formatRate(modelTflops)}FLOP/s`];
	if (modelFlopsUtilization !== void 0) rate.push(`(${percent(modelFlopsUtilization)})`);
	return [
		...rate.length > 0 ? [{
			text: rate.join(" "),
			rank: 8
		}] : [],
		{
			text: `data ${percent(dataWaitShare)}`,
			rank: 9
		},
		{
			text: formatBytes(peakMemoryBytes),
			rank: 4
		}
	];
}
function formatRate(tera) {
	return tera >= 1 ? `${tera.toFixed(0)} T` : `${(1e3 * tera).toPrecision(3)} G`;
}
function evalLine(entry, totalSteps, usesColor) {
	const metrics = Object.entries(entry.metrics ?? {}).map(([name, value]) => `${oneLine(name)} ${value.toPrecision(4)}`);
	return [
		positionPiece(entry.step, totalSteps).text,
		`epoch ${entry.epoch.toFixed(2)}`,
		styled("bold", `eval loss ${entry.evalLoss.toFixed(4)}`, usesColor),
		...metrics,
		formatDuration(entry.evalRuntime)
	].join("  ");
}
function positionPiece(step, totalSteps) {
	return {
		text: `step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}`,
		rank: 1
	};
}
// src/train/trainer-parts.ts
const OTHER_NAMES = {
	args: "config",
	dataCollator: "collator",
	data_collator: "collator",
	dataset: "trainDataset"
};
const isDataset = (value) => isKind(value, "dataset");
const isImageFolder = (value) => !isDataset(value) && isKind(value, "imageFolder");
function checkTrainerOptions(options, configNames) {
	if (isPromise(options)) throw wrong("SftTrainer", "an object of options", "a promise", "Await it.");
	if (isKind(options, "model")) throw wrong("SftTrainer", "one object of options", "a model", "Write new SftTrainer({ model, trainDataset, collator, config }).");
	if (!isObject(options)) return;
	const misplaced = configNames.filter((name) => name in options);
	if (misplaced.length > 0) {
		const names = misplaced.map((name) => `\`${name}\``).join(", ");
		throw new ConfigError(`SftTrainer: ${names}: ${misplaced.length === 1 ? "an option" : "options"} of \`config\``, {
			hint: `Write new SftTrainer({ model, trainDataset, collator, config: { ${misplaced[0]}: … } }).`,
			details: { misplaced }
		});
	}
	for (const [other, name] of Object.entries(OTHER_NAMES)) if (other in options) throw new ConfigError(`SftTrainer: \`${other}\` is called \`${name}\` here`);
	const { model, collator, config, saveAdapter, computeMetrics, callbacks } = options;
	if (model !== void 0) requireModel(model);
	if (collator !== void 0) requireCollator(collator);
	if (isPromise(config)) throw wrong("SftTrainer: `config`", "an object of options", "a promise", "Await it.");
	requireFunction(saveAdapter, "saveAdapter", "Write saveAdapter: (directory) => saveAdapter(adapter, directory).");
	requireFunction(computeMetrics, "computeMetrics", "It returns values by name, such as { accuracy: 0.9 }.");
	if (callbacks !== void 0) requireCallbacks(callbacks);
}
const CALLBACK_METHODS = [
	"onStart",
	"onEvent",
	"onClose"
];
function requireCallbacks(callbacks) {
	const what = "SftTrainer: `callbacks`";
	if (!Array.isArray(callbacks)) {
		const hint = isPromise(callbacks) ? "Await it." : "Write one as [one].";
		throw wrong(what, "a list of callbacks", isPromise(callbacks) ? "a promise" : describe$1(callbacks), hint);
	}
	for (let i = 0; i < callbacks.length; i++) {
		const callback = callbacks[i];
		const one = `${what}[${i}]`;
		const expected = "a callback";
		if (isPromise(callback)) throw wrong(one, expected, "a promise", "Await it.");
		if (typeof callback === "function") throw wrong(one, expected, "a function", "Call it, if it makes one; else write { onEvent: (event) => … }.");
		if (!isObject(callback)) throw wrong(one, expected, describe$1(callback), "Write { onEvent: (event) => … }.");
		const given = CALLBACK_METHODS.filter((name) => callback[name] !== void 0);
		if (given.length === 0) throw wrong(one, expected, `an object without ${CALLBACK_METHODS.join(", ")}`, "It has `onStart`, `onEvent` or `onClose`: what `event.type` tells apart all goes to `onEvent`.");
		for (const name of given) if (typeof callback[name] !== "function") throw wrong(`${one}.${name}`, "a function", describe$1(callback[name]), "Leave it out, or write a function.");
		if (callback.name !== void 0 && typeof callback.name !== "string") throw wrong(`${one}.name`, "a text", describe$1(callback.name), "It is the name in messages.");
	}
}
function requireModel(model) {
	const what = "SftTrainer: `model`";
	const expected = "a model with an adapter";
	if (isKind(model, "model")) {
		if (model.isDisposed !== true) return;
		throw new ConfigError(`${what}: the model was disposed of`, { hint: "Load it anew, and apply the adapter again." });
	}
	if (isPromise(model)) throw wrong(what, expected, "a promise", "Await it.");
	if (typeof model === "string") throw wrong(what, expected, showValue(model), "Load it first, with fromPretrained.");
	if (isKind(model, "engine")) throw wrong(what, expected, "an engine", "Load a model onto it, with fromPretrained.");
	if (isImageFolder(model) || isDataset(model)) throw wrong(what, expected, isDataset(model) ? "a data set" : "an image folder", "It belongs to `trainDataset`.");
	if (isObject(model)) {
		const hint = "Give the model itself; its adapter is on it.";
		if (isKind(model.model, "model")) throw wrong(what, expected, "an object that holds one", "Give its `model`.");
		if (isKind(model, "adapter")) throw wrong(what, expected, "an adapter", hint);
	}
	throw wrong(what, expected, describe$1(model), "Load one with fromPretrained and call applyLora.");
}
function requireCollator(collator) {
	const what = "SftTrainer: `collator`";
	const hint = "Write new VlmCollator({ ...processor }), with the processor of fromPretrained.";
	if (isObject(collator) && typeof collator.collate === "function") return;
	if (isPromise(collator)) throw wrong(what, "a VlmCollator", "a promise", "Await it.");
	if (typeof collator === "function") throw wrong(what, "a VlmCollator", "a function", "An own collator is an object with the method `collate`.");
	if (isObject(collator) && "tokenizer" in collator) throw wrong(what, "a VlmCollator", "a processor", hint);
	throw wrong(what, "a VlmCollator", describe$1(collator), hint);
}
function requireFunction(value, name, hint) {
	if (value === void 0 || typeof value === "function") return;
	throw wrong(`SftTrainer: \`${name}\``, "a function", isPromise(value) ? "a promise" : describe$1(value), hint);
}
function asDataset(given, name) {
	const what = `\`${name}\``;
	if (Array.isArray(given)) {
		for (let index = 0; index < given.length; index++) checkSample(given[index], `${name}[${index}]`);
		return new CheckedDataset(IndexedDataset.from(given), name);
	}
	if (isDataset(given)) {
		if (Number.isSafeInteger(given.length) && given.length >= 0) return new CheckedDataset(given, name);
		throw new ConfigError(`${what}: expected a data set with a whole number of samples, its length is ${given.length}`);
	}
	const expected = "a data set or an array of samples";
	if (isPromise(given)) throw wrong(what, expected, "a promise", "Await it.");
	if (isImageFolder(given)) {
		const { train, test } = given;
		throw wrong(what, expected, "an image folder", `Write ${name}: folder.${isDataset(test) && (name !== "trainDataset" || !isDataset(train)) ? "test" : "train"}.map(toExample).`);
	}
	if (typeof given === "string") throw wrong(what, expected, showValue(given), "Read the file or the folder first.");
	if (typeof given === "function") throw wrong(what, expected, "a function", "Call it.");
	if (isObject(given) && Symbol.iterator in given) throw wrong(what, expected, "an iterable", "Samples are read by index: write [...samples].");
	if (isObject(given) && Symbol.asyncIterator in given) throw wrong(what, expected, "an asynchronous iterable", "Samples are read by index: collect them in an array with `for await`.");
	if (isObject(given) && "messages" in given) throw wrong(what, expected, "a single sample", "Write [sample].");
	const split = isObject(given) && [
		"train",
		"test",
		"validation"
	].find((key) => Array.isArray(given[key]));
	if (split) throw wrong(what, expected, `an object of ${Object.keys(given).join(", ")}`, `Give its \`${split}\`.`);
	throw wrong(what, expected, describe$1(given), "A data set has `length` and `get(index)`, as those of ConversationDataset and ImageFolder have.");
}
function checkMetrics(given) {
	if (given === void 0 || given === null) return void 0;
	const what = "`computeMetrics`";
	const expected = "numbers by name, such as { accuracy: 0.9 }";
	if (given instanceof Map) throw wrong(what, expected, "a Map", "Write Object.fromEntries(map).");
	if (!isObject(given) || Array.isArray(given) || ArrayBuffer.isView(given)) throw wrong(what, expected, describe$1(given), "Give each value a name.");
	const bad = Object.entries(given).find(([, value]) => typeof value !== "number");
	if (!bad) return { ...given };
	throw wrong(`${what}: \`${bad[0]}\``, "a number", describe$1(bad[1]), "Leave out what is none, or write Number(…).");
}
function runWarnings(config, sampler) {
	const { totalSteps } = sampler;
	const warnings = scheduleWarnings(scheduleOf(config), scheduleRun(config, totalSteps));
	if (config.warmupRatio > 0) warnings.push(`\`warmupRatio\` is the older name: write \`warmupSteps: ${config.warmupRatio}\`, a share below 1`);
	const byEpoch = config.evalStrategy === "epoch";
	const end = byEpoch ? sampler.place(totalSteps - 1).epochAfter : totalSteps;
	if (config.evalDelay > end) {
		const length = `${Number(end.toFixed(2))} ${byEpoch ? "epochs" : "steps"}`;
		warnings.push(`the run has ${length} and \`evalDelay\` is ${config.evalDelay}: nothing is ever evaluated`);
	}
	return warnings;
}
var CheckedDataset = class {
	#given;
	#name;
	constructor(given, name) {
		this.#given = given;
		this.#name = name;
	}
	get length() {
		return this.#given.length;
	}
	async get(index) {
		const sample = await this.#given.get(index);
		checkSample(sample, `${this.#name}[${index}]`);
		return sample;
	}
	async *[Symbol.asyncIterator]() {
		for (let index = 0; index < this.length; index++) yield await this.get(index);
	}
};
function checkSample(sample, where) {
	const fault = (came, hint) => new DataError(`${where}: expected a sample { messages: […] }, got ${came}`, {
		hint,
		details: { where }
	});
	if (isPromise(sample)) throw fault("a promise", "Await all of them: await Promise.all(samples).");
	if (!isObject(sample)) {
		const hint = sample === void 0 ? "Does the function that makes it return it?" : "See `TrainingExample`.";
		throw fault(describe$1(sample), hint);
	}
	if ("messages" in sample) return;
	if ("image" in sample && "label" in sample) throw fault("one of an image folder", "Map it to its messages: map(toExample).");
	if (Array.isArray(sample)) throw fault("an array", "A list of messages is a sample as { messages }.");
}
function describe$1(value) {
	if (typeof value === "function") return "a function";
	return showValue(value);
}
function wrong(what, expected, came, hint) {
	return new ConfigError(`${what}: expected ${expected}, got ${came}`, { hint });
}
// src/train/checkpoint-adapter.ts
const ADAPTER_PATIENCE = 3e4;
var AdapterWriter = class {
	write;
	isSilent = false;
	constructor({ model, collator, saveAdapter, signal }) {
		const { engine, trainable } = model;
		const writeOwn = model.writeAdapter?.bind(model);
		const save = async (directory) => {
			await afterAbort(saveAdapter(directory), signal, ADAPTER_PATIENCE, () => {
				this.isSilent = true;
				return new CheckpointError(`\`saveAdapter\` has not answered within ${ADAPTER_PATIENCE / 1e3} s after the run was to stop`);
			});
		};
		this.write = async (folder, parameters, isCurrent) => {
			if (saveAdapter && !this.isSilent && isCurrent) await save(folder);
			else if (saveAdapter && !this.isSilent) {
				const current = await engine.readParameters(trainable);
				engine.writeParameters(trainable, parameters);
				try {
					await save(folder);
				} finally {
					engine.writeParameters(trainable, current);
				}
			}
			await writeOwn?.(folder, parameters, collator);
		};
	}
};
// src/train/checkpoint-manager.ts
var CheckpointManager = class {
	#run;
	#course;
	#writeAdapter;
	#kept = [];
	#latest;
	#best;
	constructor(run, writeAdapter, course) {
		this.#run = run;
		this.#writeAdapter = writeAdapter;
		this.#course = course;
	}
	get latest() {
		return this.#latest;
	}
	get paths() {
		return this.#kept.map(({ path }) => path);
	}
	pathOf(step) {
		return join(this.#run.config.outputDir, checkpointName(step));
	}
	async open(from) {
		const { outputDir } = this.#run.config;
		if (from !== true) {
			if (!await isCheckpoint(from)) await tidyCheckpointFolders(dirname(resolve(from)));
			return this.#opened(from, []).catch(async (error) => {
				throw await isCheckpoint(from) ? error : await explainVanished(from, error);
			});
		}
		const candidates = (await listCheckpoints(outputDir)).reverse();
		const damaged = [];
		let first;
		for (const { path } of candidates) try {
			return await this.#opened(path, damaged, true);
		} catch (error) {
			if (!(error instanceof CheckpointError) || error instanceof OtherRunError) throw error;
			first ??= error;
			damaged.push(reasonOf(error));
		}
		if (first) throw first;
		throw new CheckpointError(`\`resumeFromCheckpoint: true\`, but ${outputDir} holds no checkpoint`, {
			hint: "Start without it, or give the path of a checkpoint folder.",
			details: { outputDir }
		});
	}
	async warnOfOthers() {
		const { outputDir, saveStrategy } = this.#run.config;
		const newest = saveStrategy === "no" ? void 0 : (await listCheckpoints(outputDir)).at(-1);
		if (!newest) return [];
		return [`${outputDir} holds checkpoints of an earlier run, up to step ${newest.step}: \`resumeFromCheckpoint: true\` would take the newest; remove them or use another folder`];
	}
	async #opened(path, damaged, isByName = false) {
		const { outputDir } = this.#run.config;
		const read = await readCheckpoint(path, this.#run, this.#course);
		const step = read.state.globalStep;
		if (isByName && basename(path) !== checkpointName(step)) throw new CheckpointError(`${path} holds step ${step}: somebody has renamed it`, {
			hint: `Name it ${checkpointName(step)} again, or give the path of the checkpoint to go on from.`,
			details: {
				path,
				step
			}
		});
		this.#latest = {
			path,
			step
		};
		if (resolve(dirname(path)) === resolve(outputDir)) this.#kept = (await listCheckpoints(outputDir)).filter((checkpoint) => checkpoint.step <= step);
		return {
			...read,
			damaged
		};
	}
	async takeUpBest(tracker, size) {
		const before = tracker.best;
		if (!before) return [];
		const [faults, warnings] = [[], []];
		const found = await this.#findStep(before, size, faults, warnings);
		if (found !== void 0) {
			tracker.moved(found);
			return warnings;
		}
		const { saved } = tracker.state;
		const other = saved && await this.#findStep(saved, size, faults, warnings);
		tracker.lost(other === void 0 ? void 0 : {
			...saved,
			checkpoint: other
		});
		const why = faults.length > 0 ? ` (${faults.join("; ")})` : "";
		const instead = tracker.best ? `; the best of the others is step ${tracker.best.step}, ${tracker.best.metric} ${tracker.best.value}` : "; the best is chosen anew from here";
		return [`the checkpoint of the best step so far, ${before.step}, is gone${why}${instead}`, ...warnings];
	}
	async #findStep({ step, value, checkpoint }, size, faults, warnings) {
		const beside = this.#latest && join(this.#latest.path, "..", checkpointName(step));
		for (const path of new Set([beside, checkpoint])) {
			if (!path || !await isCheckpoint(path)) continue;
			const judged = {
				run: this.#run,
				step,
				value
			};
			try {
				if (!this.#run.config.loadBestModelAtEnd) {
					await requireCheckpointOf(path, judged);
					return path;
				}
				const read = await readCheckpointParameters(path, size, judged);
				this.#best = {
					step,
					parameters: read.parameters
				};
				warnings.push(...read.warnings);
				return path;
			} catch (error) {
				if (!(error instanceof CheckpointError)) throw error;
				faults.push(reasonOf(error));
			}
		}
	}
	async readBest(best, size) {
		const copy = this.#best?.step === best.step ? this.#best.parameters : void 0;
		if (best.checkpoint === void 0) {
			if (copy) return {
				parameters: copy,
				fault: "it could not be saved"
			};
			throw new CheckpointError(`the parameters of step ${best.step} were not saved`);
		}
		try {
			const { parameters } = await readCheckpointParameters(best.checkpoint, size, {
				run: this.#run,
				...best
			});
			return {
				parameters,
				fault: void 0
			};
		} catch (error) {
			if (!copy || !(error instanceof CheckpointError)) throw error;
			return {
				parameters: copy,
				fault: reasonOf(error)
			};
		}
	}
	get unsavedBest() {
		return this.#best?.unsaved && this.#best.step;
	}
	async save(progress, tensors) {
		const step = progress.globalStep;
		const { loadBestModelAtEnd, saveStrategy } = this.#run.config;
		if (progress.best?.best?.step === step && (loadBestModelAtEnd || saveStrategy === "best")) {
			const unsaved = {
				progress: {
					...progress,
					logHistory: [...progress.logHistory]
				},
				tensors
			};
			this.#best = {
				step,
				parameters: tensors.parameters,
				unsaved
			};
		}
		const path = await this.#write(progress, tensors, true);
		this.#latest = {
			path,
			step
		};
		this.#nowSaved(step);
		return {
			path,
			step,
			...await this.#removeSurplus(progress.best)
		};
	}
	async saveBest(best) {
		const copy = this.#best;
		if (!copy?.unsaved || best.best?.step !== copy.step) return void 0;
		const { progress, tensors } = copy.unsaved;
		const { step } = copy;
		let path;
		try {
			path = await this.#write(progress, tensors, false);
		} catch (error) {
			if (!(error instanceof CheckpointError)) throw error;
			return;
		}
		this.#latest ??= {
			path,
			step
		};
		this.#nowSaved(step);
		return {
			path,
			step,
			...await this.#removeSurplus({
				...best,
				best: {
					...best.best,
					checkpoint: path
				}
			})
		};
	}
	async #write(progress, tensors, isCurrent) {
		const { outputDir } = this.#run.config;
		const write = this.#writeAdapter;
		const path = await writeCheckpoint(outputDir, {
			...this.#run,
			...progress
		}, tensors, (folder) => Promise.resolve(write?.(folder, tensors.parameters, isCurrent)));
		const step = progress.globalStep;
		const others = this.#kept.filter((checkpoint) => checkpoint.step !== step);
		this.#kept = [...others, {
			path,
			step
		}].sort((a, b) => a.step - b.step);
		return path;
	}
	#nowSaved(step) {
		if (this.#best?.step !== step) return;
		const { parameters } = this.#best;
		this.#best = this.#run.config.loadBestModelAtEnd ? {
			step,
			parameters
		} : void 0;
	}
	async #removeSurplus(state) {
		const { saveTotalLimit } = this.#run.config;
		const removed = [];
		let notRemoved;
		if (saveTotalLimit === void 0) return {
			removed,
			notRemoved
		};
		const { best, saved } = state ?? {};
		const safe = new Set([this.#latest?.step, best?.step]);
		if (best?.checkpoint === void 0) safe.add(saved?.step);
		const surplus = this.#kept.filter(({ step }) => !safe.has(step)).slice(0, Math.max(0, this.#kept.length - saveTotalLimit));
		for (const old of surplus) {
			try {
				await removeCheckpointFolder(old.path);
				removed.push(old.path);
			} catch (error) {
				notRemoved ??= `cannot remove ${old.path}: ${error.message}`;
			}
			this.#kept = this.#kept.filter((checkpoint) => checkpoint !== old);
		}
		return {
			removed,
			notRemoved
		};
	}
};
// src/train/checkpoint-saver.ts
var CheckpointSaver = class {
	#parts;
	constructor(parts) {
		this.#parts = parts;
	}
	async restore({ parameters, optimizer: arrays }) {
		const { engine, trainable, optimizer, checkpoints } = this.#parts;
		try {
			engine.writeOptimizerState(trainable, optimizer, arrays);
		} catch (cause) {
			if (!(cause instanceof EngineError)) throw cause;
			throw new CheckpointError(`${checkpoints.latest?.path}: its optimizer's state does not fit: ${cause.summary}`, {
				hint: "It was made or changed by something else than a run of this package; resume from another checkpoint.",
				details: { path: checkpoints.latest?.path },
				cause
			});
		}
		if (isTurnDue()) await eventLoopTurn();
		engine.writeParameters(trainable, parameters);
	}
	async save(at) {
		const { engine, trainable, optimizer, totalSteps, log, metrics, best, checkpoints, answer } = this.#parts;
		const step = at.globalStep;
		return metrics.outside(async () => {
			const progress = {
				...at,
				totalSteps,
				metrics: metrics.state,
				...best ? { best: best.state } : {},
				logHistory: log.entries
			};
			const tensors = {
				parameters: await answer(engine.readParameters(trainable, true)),
				optimizer: await answer(engine.readOptimizerState(trainable, optimizer))
			};
			try {
				const saved = await checkpoints.save(progress, tensors);
				if (best?.best?.step === step) best.moved(saved.path);
				await this.#report(saved);
				return true;
			} catch (error) {
				if (!(error instanceof CheckpointError)) throw error;
				const last = checkpoints.latest;
				const kept = last ? `the last checkpoint is ${last.path}` : "no checkpoint exists yet";
				const more = checkpoints.unsavedBest === step ? "; this is the best step so far, and is kept in memory until then" : "";
				await log.warn(step, `${reasonOf(error)}\n  The run goes on; ${kept}; the next save tries again${more}.`);
				return false;
			}
		});
	}
	async #report({ path, step, removed, notRemoved }) {
		const { log } = this.#parts;
		await log.emit({
			type: "save",
			step,
			path,
			removed
		});
		if (notRemoved) await log.warn(step, notRemoved);
	}
	async retryBest() {
		const { metrics, best, checkpoints, whenRead } = this.#parts;
		if (!best || checkpoints.unsavedBest === void 0) return;
		await whenRead();
		await metrics.outside(async () => {
			const saved = await checkpoints.saveBest(best.state);
			if (!saved) return;
			best.moved(saved.path);
			await this.#report(saved);
		});
	}
	async rescueBest(step) {
		const { log, checkpoints } = this.#parts;
		await this.retryBest();
		const lost = checkpoints.unsavedBest;
		if (lost === void 0) return;
		await log.warn(step, `the best step, ${lost}, could not be saved and ends with this process`);
	}
	async loadBest(step) {
		const { engine, trainable, log, best: tracker, checkpoints, answer, whenRead } = this.#parts;
		const best = tracker?.best;
		const instead = "the parameters are those of the last step";
		if (!tracker || !best) return log.warn(step, `no evaluated step was saved; ${instead}`);
		let fault;
		try {
			const read = await checkpoints.readBest(best, trainable.size);
			await whenRead();
			await answer(exclusively(engine, void 0, () => engine.writeParameters(trainable, read.parameters)));
			fault = read.fault;
		} catch (error) {
			if (!(error instanceof CheckpointError)) throw error;
			return log.warn(step, `cannot load the best step: ${reasonOf(error)}; ${instead}`);
		}
		if (fault !== void 0) {
			tracker.unsaved(true);
			const why = `the parameters of the best step, ${best.step}, are loaded from memory: ${fault}`;
			await log.warn(step, `${why}\n  Save the adapter now: it is the only copy.`);
		}
		await log.emit({
			type: "loadBest",
			...tracker.best
		});
	}
};
// src/train/event-readers.ts
const FIRST_EVENT_PATIENCE = 3e4;
var ReaderLeft = class extends Error {
	constructor() {
		super("a reader left the events of the run");
	}
};
const loops = new AsyncLocalStorage();
var EventStream = class {
	events = [];
	#readers = new Set();
	#held = [];
	outcome;
	#isAwaited = false;
	async emit(event, signal) {
		this.events.push(event);
		for (const reader of this.#readers) reader.serve();
		if (event.type !== "end") await this.handled(event.step, signal);
	}
	async handled(step, signal) {
		if (signal?.aborted || !this.#isHeld) return;
		let resume = () => {};
		const stranded = () => this.#goOnWithout(step, () => true);
		const patience = setTimeout(() => {
			if (this.#isAwaited || this.#readers.size > 1) this.#goOnWithout(step, ({ taken }) => taken === 1);
		}, FIRST_EVENT_PATIENCE);
		patience.unref();
		await new Promise((resolve) => {
			resume = resolve;
			this.#held.push(resume);
			signal?.addEventListener("abort", resume, { once: true });
			process.once("beforeExit", stranded);
		});
		clearTimeout(patience);
		process.off("beforeExit", stranded);
		signal?.removeEventListener("abort", resume);
		this.#held = this.#held.filter((waiting) => waiting !== resume);
	}
	end(outcome) {
		this.outcome = outcome;
		for (const reader of this.#readers) reader.serve();
	}
	open(onLeave) {
		loops.run(loops.getStore() ?? [], () => void 0);
		const reader = new EventReader(this, onLeave);
		this.#readers.add(reader);
		return reader;
	}
	awaited() {
		this.#isAwaited = true;
		this.letGoOfLoops();
		for (const reader of this.#readers) if (reader.isBusy && reader.taken === 1) reader.letGo();
	}
	letGoOfLoops() {
		for (const reader of loops.getStore() ?? []) if (this.#readers.has(reader) && reader.isBusy) reader.letGo();
	}
	changed() {
		if (this.#held.length === 0 || this.#isHeld) return;
		for (const resume of this.#held) resume();
	}
	close(reader) {
		this.#readers.delete(reader);
		this.changed();
	}
	#goOnWithout(step, isMeant) {
		const message = `step ${step}: a reader of the run's events does not ask for the next one; the run goes on without it`;
		const readers = [...this.#readers].filter((reader) => reader.holds && isMeant(reader));
		if (readers.length > 0) this.events.push({
			type: "warning",
			step,
			message
		});
		for (const reader of this.#readers) reader.serve();
		for (const reader of readers) reader.letGo();
	}
	get #isHeld() {
		for (const reader of this.#readers) if (reader.holds) return true;
		return false;
	}
};
var EventReader = class {
	#stream;
	#onLeave;
	#asked = [];
	isOpen = true;
	#isLive = false;
	taken = 0;
	constructor(stream, onLeave) {
		this.#stream = stream;
		this.#onLeave = onLeave;
	}
	get holds() {
		return this.#isLive && (this.#asked.length === 0 || this.taken < this.#stream.events.length);
	}
	get isBusy() {
		return this.#asked.length === 0 && this.taken > 0;
	}
	next() {
		if (!this.isOpen) return Promise.resolve({
			done: true,
			value: void 0
		});
		if (this.taken > 0) this.#markLoop();
		return new Promise((resolve, reject) => {
			this.#asked.push({
				resolve,
				reject
			});
			this.serve();
			if (this.#asked.length > 0) this.#stream.letGoOfLoops();
		});
	}
	async return() {
		if (this.isOpen) {
			this.#close();
			this.#stream.awaited();
			await (this.#stream.outcome ?? this.#onLeave());
		}
		return {
			done: true,
			value: void 0
		};
	}
	async throw(error) {
		await this.return().catch(() => {});
		throw error;
	}
	[Symbol.asyncIterator]() {
		return this;
	}
	serve() {
		while (this.#asked.length > 0) {
			if (this.taken < this.#stream.events.length) {
				this.#asked.shift().resolve({
					done: false,
					value: this.#stream.events[this.taken++]
				});
				continue;
			}
			const { outcome } = this.#stream;
			if (!outcome) {
				this.#isLive = true;
				break;
			}
			const { resolve, reject } = this.#asked.shift();
			outcome.then(() => resolve({
				done: true,
				value: void 0
			}), reject);
			this.#close();
			return;
		}
		this.#stream.changed();
	}
	letGo() {
		this.#isLive = false;
		this.#stream.changed();
	}
	#close() {
		this.isOpen = false;
		for (const { resolve } of this.#asked.splice(0)) resolve({
			done: true,
			value: void 0
		});
		this.#stream.close(this);
	}
	#markLoop() {
		const known = loops.getStore() ?? [];
		if (!known.includes(this)) loops.enterWith([...known.filter((reader) => reader.isOpen), this]);
	}
};
// src/train/step-metrics.ts
var StepMetrics = class {
	#queue = [];
	#sums;
	#maxSkippedSteps;
	#tokensSinceLog = 0;
	#sharedSinceLog = 0;
	#waitSinceLog = 0;
	#flopsSinceLog = 0;
	#lastLog = performance.now();
	#last;
	#failure;
	tokens = 0;
	constructor(maxSkippedSteps, restored) {
		this.#maxSkippedSteps = maxSkippedSteps;
		const none = {
			totalLoss: 0,
			totalSteps: 0,
			lossSinceLog: 0,
			stepsSinceLog: 0,
			skippedSteps: 0
		};
		this.#sums = {
			...none,
			...restored
		};
	}
	add(step) {
		this.#queue.push({
			...step,
			loss: once(step.loss),
			gradNorm: once(step.gradNorm)
		});
	}
	async settle(lastCheckpoint, emit, wait) {
		if (this.#failure) throw this.#failure;
		while (this.#queue.length > 0) {
			const { loss, gradNorm, dataWait, flops, sampleIds, ...known } = this.#queue[0];
			const event = {
				type: "step",
				...known,
				loss: await wait(loss()),
				gradNorm: await wait(gradNorm())
			};
			this.#queue.shift();
			if (!Number.isFinite(event.loss) || !Number.isFinite(event.gradNorm)) {
				await this.#fail(event, sampleIds, lastCheckpoint, emit);
				continue;
			}
			this.#sums.totalLoss += event.loss;
			this.#sums.totalSteps++;
			this.#sums.lossSinceLog += event.loss;
			this.#sums.stepsSinceLog++;
			this.#tokensSinceLog += event.tokens;
			this.#sharedSinceLog += event.sharedTokens;
			this.#waitSinceLog += dataWait;
			this.#flopsSinceLog += flops ?? NaN;
			this.tokens += event.tokens;
			this.#last = event;
			await emit(event);
		}
	}
	async #fail(event, sampleIds, lastCheckpoint, emit) {
		const what = describeNonFinite(event, sampleIds);
		const { step } = event;
		if (this.#sums.skippedSteps < this.#maxSkippedSteps) {
			this.#sums.skippedSteps++;
			return emit({
				type: "warning",
				step,
				message: `step ${step}: ${what}; nothing was learned from it (${`step ${this.#sums.skippedSteps} of at most ${this.#maxSkippedSteps} that are left out`})`
			});
		}
		const where = lastCheckpoint ? `last checkpoint: ${lastCheckpoint}` : "no checkpoint was written yet";
		const others = this.#sums.skippedSteps > 0 ? ` after ${this.#sums.skippedSteps} steps that were left out` : "";
		this.#failure = new TrainingError(`step ${step}: ${what}${others}; ${where}`, {
			hint: "Look at these samples, then resume from the checkpoint; `onNonFiniteLoss: \"skip\"` leaves out a few such steps. If losses grew before, start anew with a lower `learningRate`.",
			details: {
				step,
				loss: event.loss,
				gradNorm: event.gradNorm,
				sampleIds,
				lastCheckpoint
			}
		});
		throw this.#failure;
	}
	takeLog({ bytesInUse, peakBytes }, matrixTflops) {
		if (!this.#last || this.#sums.stepsSinceLog === 0) return void 0;
		const { step, epoch, gradNorm, learningRate } = this.#last;
		const seconds = (performance.now() - this.#lastLog) / 1e3;
		const modelTflops = this.#flopsSinceLog / Math.max(seconds, 1e-9) / 0xe8d4a51000;
		const entry = {
			step,
			epoch,
			loss: this.#sums.lossSinceLog / this.#sums.stepsSinceLog,
			gradNorm,
			learningRate,
			tokensPerSecond: this.#tokensSinceLog / Math.max(seconds, 1e-9),
			...this.#sharedSinceLog > 0 && { sharedTokenShare: this.#sharedSinceLog / this.#tokensSinceLog },
			seconds,
			dataWaitShare: Math.min(1, this.#waitSinceLog / Math.max(seconds, 1e-9)),
			...Number.isNaN(modelTflops) ? {} : { modelTflops },
			...Number.isNaN(modelTflops) || !matrixTflops ? {} : { modelFlopsUtilization: modelTflops / matrixTflops },
			memoryBytes: bytesInUse,
			peakMemoryBytes: peakBytes
		};
		this.#sums.lossSinceLog = 0;
		this.#sums.stepsSinceLog = 0;
		this.#tokensSinceLog = 0;
		this.#sharedSinceLog = 0;
		this.#waitSinceLog = 0;
		this.#flopsSinceLog = 0;
		this.#lastLog = performance.now();
		return entry;
	}
	startClock() {
		this.#lastLog = performance.now();
	}
	async outside(work) {
		const start = performance.now();
		try {
			return await work();
		} finally {
			this.#lastLog += performance.now() - start;
		}
	}
	get meanLoss() {
		return this.#sums.totalSteps === 0 ? 0 : this.#sums.totalLoss / this.#sums.totalSteps;
	}
	get learnedSteps() {
		return this.#sums.totalSteps;
	}
	get skippedSteps() {
		return this.#sums.skippedSteps;
	}
	get state() {
		return { ...this.#sums };
	}
};
function once(value) {
	let asked;
	return () => {
		asked ??= value();
		return asked;
	};
}
function describeNonFinite(event, sampleIds) {
	const [what, value] = Number.isFinite(event.loss) ? ["gradient norm", event.gradNorm] : ["loss", event.loss];
	return `the ${what} is ${value}; samples: ${sampleIds.map(oneLine).join(", ")}`;
}
// src/train/training-window.ts
const LISTED = 5;
function describeWindow(plan, collated) {
	const batches = [];
	const dropoutSlots = [];
	const sampleIds = [];
	const unlabelled = [];
	let labelCount = 0;
	let tokens = 0;
	collated.forEach((batch, b) => {
		const rows = batch.inputIds.shape[0];
		if (rows === 0) return;
		batches.push(batch);
		dropoutSlots.push(plan.firstMicroBatch + b);
		const ids = batch.sampleIds ?? plan.microBatches[b].slice(0, rows).map(String);
		sampleIds.push(...ids);
		unlabelled.push(...unlabelledRows(batch).map((row) => oneLine(ids[row])));
		labelCount += countLabels(batch);
		for (const real of batch.attentionMask.data) tokens += real;
	});
	if (batches.length === 0) return void 0;
	if (labelCount === 0) throw new TrainingError(`step ${plan.step + 1}: no token of its ${sampleIds.length} samples carries a label`, {
		hint: "Each sample needs an assistant message; an over-long prompt may have pushed the answer out.",
		details: {
			step: plan.step + 1,
			sampleIds
		}
	});
	return {
		batches,
		dropoutSlots,
		labelCount,
		tokens,
		sampleIds,
		unlabelled
	};
}
function skippedSamples(collated) {
	return collated.flatMap(({ skipped }) => skipped ?? []);
}
function describeSkipped(samples) {
	const shown = shortList(samples, LISTED, ({ sampleId, reason }) => `${oneLine(sampleId)} (${oneLine(reason)})`);
	return `${samples.length === 1 ? "a sample cannot be read and is" : `${samples.length} samples cannot be read and are`} left out: ${shown}`;
}
function unlabelledRows(batch) {
	const [rows, columns] = batch.inputIds.shape;
	const found = [];
	for (let row = 0; row < rows; row++) if (!(batch.labels?.data.subarray(row * columns + 1, (row + 1) * columns))?.some((label) => label !== -100)) found.push(row);
	return found;
}
const MAX_UNREADABLE_STEPS = 3;
var LeftOutSteps = class {
	#unreadableInRow = 0;
	#unreadable = 0;
	#dropped = 0;
	add(collated, isEmpty) {
		const skipped = skippedSamples(collated);
		const isUnreadable = skipped.length > 0 && isEmpty;
		this.#unreadableInRow = isUnreadable ? this.#unreadableInRow + 1 : 0;
		if (isUnreadable) this.#unreadable++;
		else if (isEmpty) this.#dropped++;
		const warnings = skipped.length > 0 ? [describeSkipped(skipped)] : [];
		if (isUnreadable) warnings.push("none of its samples is left; nothing was learned");
		else if (isEmpty) warnings.push("all of its samples were dropped by the collator; nothing was learned");
		return warnings;
	}
	requireReadable(step, collated) {
		if (this.#unreadableInRow < MAX_UNREADABLE_STEPS) return;
		const skipped = skippedSamples(collated);
		throw new TrainingError(`step ${step}: no sample of ${MAX_UNREADABLE_STEPS} steps in a row can be read; ${describeSkipped(skipped)}`, {
			hint: "Is the folder of the images still there? Then go on with `resumeFromCheckpoint`.",
			details: {
				step,
				skipped
			}
		});
	}
	nothingLearned(step, notFinite) {
		const count = (steps) => steps === 1 ? "of 1 step" : `of ${steps} steps`;
		const reasons = [
			...this.#dropped > 0 ? [`the collator dropped all samples ${count(this.#dropped)}`] : [],
			...this.#unreadable > 0 ? [`no sample ${count(this.#unreadable)} can be read`] : [],
			...notFinite > 0 ? [`the loss or gradient norm ${count(notFinite)} was not finite`] : []
		];
		const hints = [
			...this.#dropped > 0 ? ["Samples longer than `maxLength` are dropped by `overlong: \"drop\"`: raise it, use \"truncateText\", or smaller images."] : [],
			...this.#unreadable > 0 ? ["Are the image files still there? `verify: true` reads them all beforehand."] : [],
			...notFinite > 0 ? ["Try a lower `learningRate`, and check the base model by an evaluation."] : []
		];
		return new TrainingError(`nothing was learned, up to step ${step} of the run: ${reasons.join("; ")}`, {
			hint: hints.join(" "),
			details: {
				step,
				droppedSteps: this.#dropped,
				unreadableSteps: this.#unreadable,
				notFiniteSteps: notFinite
			}
		});
	}
};
// src/train/training-loop.ts
const ENGINE_PATIENCE = 6e4;
var TrainingLoop = class {
	#options;
	#log;
	#schedule;
	#leftOut = new LeftOutSteps();
	#adapter;
	#metrics = new StepMetrics(0);
	#best;
	#checkpoints;
	#saver;
	#optimizer;
	#steps;
	#folder;
	#trainable;
	#globalStep = 0;
	#epoch = 0;
	#firstStep = 0;
	#samples = 0;
	#matrixTflops;
	#saidUnlabelled = false;
	#evaluationDue = false;
	#isStepOpen = false;
	#isEnding = false;
	constructor(options) {
		this.#options = options;
		this.#log = new RunLog(options.config.outputDir, options.show);
		this.#schedule = scheduleRun(options.config, options.sampler.totalSteps);
		this.#adapter = new AdapterWriter(options);
		this.#trainable = options.model.trainable;
	}
	get globalStep() {
		return this.#globalStep;
	}
	get unanswered() {
		return this.#steps?.unanswered;
	}
	async run(resumeFrom) {
		try {
			return await this.#run(resumeFrom);
		} finally {
			const made = this.#optimizer;
			if (made) this.#options.model.engine.releaseOptimizerState(this.#trainable, made);
			await this.#folder?.release();
		}
	}
	async #run(resumeFrom) {
		const { model, config, signal, loader, sampler } = this.#options;
		let start = performance.now();
		let isStopped = false;
		let batches;
		try {
			await this.#begin(resumeFrom);
			this.#matrixTflops = model.engine.matrixTflops?.();
			model.engine.resetPeak();
			start = performance.now();
			this.#metrics.startClock();
			batches = loader.batches(sampler.microBatches(this.#firstStep), { signal });
			this.#steps.prepare();
			if (config.evalOnStart && this.#globalStep === 0) await this.#evaluate(false);
			if (this.#evaluationDue) await this.#afterStep();
			while (!this.#isAtEnd) {
				signal.throwIfAborted();
				await this.#step(batches);
				await this.#afterStep();
			}
			await this.#settle();
			this.#options.callbacks?.requireSound();
		} catch (error) {
			await this.#rescue(error);
			if (!signal.aborted || error instanceof TuneError) throw error;
			if (!(signal.reason instanceof ReaderLeft)) throw signal.reason;
			isStopped = true;
		} finally {
			await batches?.return();
		}
		if (!isStopped || this.#globalStep > 0) {
			await this.#saver.retryBest();
			if (config.loadBestModelAtEnd) await this.#saver.loadBest(this.#globalStep);
		}
		const output = this.#output((performance.now() - start) / 1e3, isStopped);
		await this.#log.emit({
			type: "end",
			step: this.#globalStep,
			output
		});
		return output;
	}
	async #begin(resumeFrom) {
		const { model, config, sampler, dataset, signal } = this.#options;
		signal.throwIfAborted();
		const onWait = (message) => void this.#log.warn(0, message).catch(() => void 0);
		this.#folder = await claimRunFolder(config.outputDir, {
			signal,
			onWait
		});
		const doubts = await this.#options.checkData(signal);
		const found = await this.#prepare(resumeFrom);
		await this.#log.emit({
			type: "start",
			config,
			samples: dataset.length,
			totalSteps: sampler.totalSteps,
			trainableParameters: model.trainable.size,
			step: this.#firstStep
		});
		const warnings = new Set([
			...runWarnings(config, sampler),
			...doubts,
			...found
		]);
		for (const message of warnings) await this.#log.warn(this.#firstStep, message);
	}
	async #prepare(resumeFrom) {
		const { model, config, dataset, evalDataset, sampler, collator, lease, signal } = this.#options;
		const { engine } = model;
		const trainable = this.#trainable;
		const judge = judgeOf(config);
		const evaluated = config.evalStrategy !== "no" || config.evalOnStart ? evalDataset : void 0;
		const from = resumeFrom === true ? (await listCheckpoints(config.outputDir)).at(-1)?.path : resumeFrom;
		const saved = from === void 0 ? {} : await savedFingerprints(from);
		const identity = {
			config,
			settings: runSettings(model, collator),
			dataset: await fingerprintDataset(dataset, signal, { before: saved.dataset }),
			...evaluated && { evalDataset: await fingerprintDataset(evaluated, signal, { before: saved.evalDataset }) },
			parameters: trainable.parameters.map(({ name, shape }) => ({
				name,
				shape
			}))
		};
		this.#checkpoints = new CheckpointManager(identity, this.#adapter.write, {
			totalSteps: sampler.totalSteps,
			epochAfter: (steps) => steps === 0 ? 0 : sampler.place(steps - 1).epochAfter
		});
		await tidyCheckpointFolders(config.outputDir, true);
		const resumed = resumeFrom === void 0 ? void 0 : await orAborted(this.#checkpoints.open(resumeFrom), signal);
		this.#optimizer = engine.createOptimizerState(trainable, optimizerKind(config));
		engine.zeroGradients(trainable);
		this.#steps = new WindowStep({
			model,
			trainable,
			optimizer: this.#optimizer,
			config,
			lease,
			signal,
			answer: (value) => this.#answer(value)
		});
		const maxSkippedSteps = config.onNonFiniteLoss === "skip" ? config.maxSkippedSteps : 0;
		this.#metrics = new StepMetrics(maxSkippedSteps, resumed?.state.metrics);
		this.#best = judge && new BestModelTracker(judge, config, resumed?.state.best);
		this.#saver = new CheckpointSaver({
			engine,
			trainable,
			optimizer: this.#optimizer,
			totalSteps: sampler.totalSteps,
			log: this.#log,
			metrics: this.#metrics,
			best: this.#best,
			checkpoints: this.#checkpoints,
			answer: (value) => this.#answer(value),
			whenRead: () => this.#options.whenRead(this.#globalStep)
		});
		if (!resumed) return this.#checkpoints.warnOfOthers();
		const { state, tensors, damaged } = resumed;
		const warnings = damaged.map((reason) => `passed over a checkpoint that cannot be read: ${reason}`);
		warnings.push(...resumed.warnings, ...evaluationWarnings(state, identity));
		warnings.push(...changedSettings(state.settings ?? {}, identity.settings, state.globalStep));
		await this.#saver.restore(tensors);
		this.#log.restore(state.logHistory);
		this.#globalStep = state.globalStep;
		this.#firstStep = state.globalStep;
		this.#epoch = state.epoch;
		this.#evaluationDue = state.evaluationDue === true && config.evalStrategy !== "no";
		if (this.#best) warnings.push(...await this.#checkpoints.takeUpBest(this.#best, trainable.size));
		return warnings;
	}
	get #isAtEnd() {
		return this.#globalStep >= this.#options.sampler.totalSteps || this.#best?.isExhausted === true;
	}
	async #step(batches) {
		const { config, sampler, loader, signal } = this.#options;
		const plan = sampler.window(this.#globalStep);
		const step = plan.step + 1;
		const epoch = plan.epochAfter;
		const waited = loader.waitSeconds;
		const collated = [];
		while (collated.length < plan.microBatches.length) collated.push((await batches.next()).value);
		const dataWait = loader.waitSeconds - waited;
		const window = describeWindow(plan, collated);
		for (const message of this.#leftOut.add(collated, !window)) await this.#log.warn(step, message);
		this.#leftOut.requireReadable(step, collated);
		if (!window) {
			await this.#settle();
			signal.throwIfAborted();
			this.#count(step, epoch);
			return;
		}
		const { labelCount, tokens, sampleIds, unlabelled } = window;
		if (unlabelled.length > 0 && !this.#saidUnlabelled) {
			this.#saidUnlabelled = true;
			const names = unlabelled.join(", ");
			await this.#log.warn(step, `no token is labelled in ${names}; nothing is learned there (said once)`);
		}
		const learningRate = config.learningRate * learningRateFactor(scheduleOf(config), plan.step, this.#schedule);
		const warnings = [];
		const onWarning = (message) => void warnings.push(message);
		let taken;
		try {
			const meanwhile = async () => {
				await this.#settle();
				await this.#holdIfPaused();
			};
			taken = await this.#steps.take(step, window, learningRate, meanwhile, onWarning);
		} catch (error) {
			for (const message of warnings) await this.#log.warn(step, message);
			throw error;
		}
		this.#count(step, epoch);
		this.#samples += sampleIds.length;
		this.#metrics.add({
			step,
			epoch,
			learningRate,
			tokens,
			labels: labelCount,
			sampleIds,
			dataWait,
			...taken
		});
		if (config.onNonFiniteLoss === "skip") await this.#settle();
		for (const message of warnings) await this.#log.warn(step, message);
	}
	async #holdIfPaused() {
		const { callbacks, signal } = this.#options;
		const step = this.#globalStep;
		while (callbacks?.isPaused && !signal.aborted) await this.#metrics.outside(async () => {
			const start = performance.now();
			await this.#log.emit({
				type: "pause",
				step
			});
			await callbacks.whenResumed();
			await this.#log.emit({
				type: "resume",
				step,
				seconds: (performance.now() - start) / 1e3
			});
		});
	}
	#count(step, epoch) {
		this.#globalStep = step;
		this.#epoch = epoch;
		this.#isStepOpen = true;
	}
	#answer(value) {
		const { signal } = this.#options;
		if (!this.#isEnding) return afterAbort(value, signal, MODEL_GRACE);
		return afterAbort(value, AbortSignal.abort(), ENGINE_PATIENCE, () => {
			return new TrainingError(`the engine has not answered within ${ENGINE_PATIENCE / 1e3} s`);
		});
	}
	async #afterStep() {
		const { config } = this.#options;
		const step = this.#globalStep;
		const endsEpoch = this.#endsEpoch;
		const savesFirst = config.saveStrategy === "steps" && config.evalStrategy === "epoch";
		if (endsEpoch) {
			await this.#settle();
			const { learnedSteps, skippedSteps } = this.#metrics;
			if (learnedSteps === 0) throw this.#leftOut.nothingLearned(step, skippedSteps);
		}
		if (!this.#evaluationDue) {
			await this.#closeStep();
			if (savesFirst && this.#isDue("steps", config.saveSteps)) await this.#save();
		}
		const isEvaluated = this.#evaluationDue;
		const isBest = isEvaluated && await this.#evaluate();
		this.#evaluationDue = false;
		const savesBest = config.loadBestModelAtEnd || config.saveStrategy === "best";
		let isSaved = savesFirst && this.#checkpoints.latest?.step === step;
		const mustSave = isBest && savesBest || !isSaved && this.#isDue(config.saveStrategy, config.saveSteps);
		if (mustSave && await this.#save()) isSaved = true;
		if (isBest && isSaved) this.#best.moved(this.#checkpoints.pathOf(step));
		else if (isBest) this.#best.unsaved(savesBest);
		else if (isSaved || isEvaluated && !mustSave) await this.#saver.retryBest();
		if (endsEpoch) {
			await this.#settle();
			await this.#log.emit({
				type: "epoch",
				step,
				epoch: this.#epoch
			});
		}
	}
	async #closeStep() {
		const { config, model } = this.#options;
		const step = this.#globalStep;
		const isLogged = this.#isEvery(config.loggingSteps) || step === 1 && config.loggingFirstStep;
		if (isLogged) await this.#settle();
		this.#isStepOpen = false;
		const isLate = config.evalDelay <= (config.evalStrategy === "epoch" ? this.#epoch : step);
		this.#evaluationDue = isLate && this.#isDue(config.evalStrategy, config.evalSteps ?? config.loggingSteps);
		const entry = isLogged && this.#metrics.takeLog(model.engine.memory(), this.#matrixTflops);
		if (entry) await this.#log.emit({
			type: "log",
			...entry
		});
	}
	get #endsEpoch() {
		const { sampler } = this.#options;
		return this.#globalStep === sampler.totalSteps || sampler.place(this.#globalStep - 1).endsEpoch;
	}
	#isEvery(interval) {
		return this.#globalStep % resolveSteps(interval, this.#options.sampler.totalSteps) === 0;
	}
	#isDue(strategy, interval) {
		if (strategy === "steps") return this.#isAtEnd || this.#isEvery(interval);
		return strategy === "epoch" && (this.#isAtEnd || this.#endsEpoch);
	}
	async #evaluate(isJudged = true) {
		const step = this.#globalStep;
		await this.#settle();
		return this.#metrics.outside(async () => {
			const warnings = [];
			let result;
			try {
				const onBatch = () => this.#steps.requireSameParameters(step);
				result = await this.#options.evaluate(this.#options.signal, (message) => warnings.push(message), onBatch);
			} finally {
				for (const message of warnings) await this.#log.warn(step, message);
			}
			const isBest = (isJudged ? this.#best : void 0)?.judge(step, this.#checkpoints.pathOf(step), result) ?? false;
			await this.#log.emit({
				type: "evaluate",
				step,
				epoch: this.#epoch,
				...result
			});
			return isBest;
		});
	}
	async #save() {
		await this.#settle();
		return this.#saver.save({
			globalStep: this.#globalStep,
			epoch: this.#epoch,
			...this.#evaluationDue ? { evaluationDue: true } : {}
		});
	}
	async #rescue(error) {
		const { model, config } = this.#options;
		if (!this.#optimizer) return;
		this.#isEnding = true;
		try {
			model.engine.zeroGradients(this.#trainable);
			await this.#settle();
			if (this.#isStepOpen) await this.#closeStep();
			const isNew = this.#globalStep > this.#firstStep && this.#metrics.learnedSteps > 0;
			const unsaved = () => isNew && this.#checkpoints.latest?.step !== this.#globalStep;
			if (config.saveStrategy === "no") return;
			if (unsaved()) {
				if ((await this.#save() || this.#adapter.isSilent && await this.#save()) && this.#adapter.isSilent) await this.#log.warn(this.#globalStep, "`saveAdapter` does not answer; this save was made without what it writes");
			}
			if (!(this.#options.signal.reason instanceof ReaderLeft)) await this.#saver.rescueBest(this.#globalStep);
		} catch (fault) {
			const message = `cannot save the last step: ${reasonOf(fault)}`;
			if (fault !== error) await this.#log.warn(this.#globalStep, message);
		}
	}
	#settle() {
		const wait = (value) => this.#answer(value);
		return this.#metrics.settle(this.#checkpoints.latest?.path, this.#options.show, wait);
	}
	#output(seconds, isStopped) {
		const perSecond = (count) => count / Math.max(seconds, 1e-9);
		const { meanLoss, tokens, skippedSteps } = this.#metrics;
		return {
			globalStep: this.#globalStep,
			trainingLoss: meanLoss,
			metrics: {
				trainRuntime: seconds,
				trainSamplesPerSecond: perSecond(this.#samples),
				trainStepsPerSecond: perSecond(this.#globalStep - this.#firstStep),
				trainTokensPerSecond: perSecond(tokens),
				trainLoss: meanLoss,
				epoch: this.#epoch
			},
			logHistory: this.#log.entries,
			skippedSteps,
			...this.#best?.best ? { best: this.#best.best } : {},
			checkpoints: this.#checkpoints?.paths ?? [],
			...isStopped ? { stopped: true } : {}
		};
	}
};
// src/train/training-run.ts
var TrainingRun = class {
	#events = new EventStream();
	#stop = new AbortController();
	#result;
	#hasReader = false;
	constructor(body, signal) {
		const ended = new AbortController();
		const stop = (reason) => {
			ended.abort(reason);
			this.#stop.abort(reason);
		};
		const abort = () => stop(signal.reason);
		if (signal?.aborted) abort();
		else signal?.addEventListener("abort", abort, { once: true });
		const control = {
			emit: (event) => this.#events.emit(event, this.#stop.signal),
			signal: this.#stop.signal,
			whenRead: (step) => this.#events.handled(step, ended.signal),
			stop
		};
		const work = Promise.resolve().then(() => body(control)).finally(() => {
			signal?.removeEventListener("abort", abort);
			this.#events.end(work);
		});
		this.#result = new OutputPromise((resolve) => resolve(work));
		this.#result.catch((error) => {
			if (!this.#hasReader) Promise.reject(error);
		});
		this.#result.onAwait = () => this.#events.awaited();
	}
	get result() {
		this.#hasReader = true;
		return this.#result;
	}
	then(onFulfilled, onRejected) {
		return this.result.then(onFulfilled, onRejected);
	}
	[Symbol.asyncIterator]() {
		this.#hasReader = true;
		return this.#events.open(() => {
			this.#stop.abort(new ReaderLeft());
			return this.#result;
		});
	}
};
var OutputPromise = class extends Promise {
	onAwait;
	static get [Symbol.species]() {
		return Promise;
	}
	then(onFulfilled, onRejected) {
		this.onAwait?.();
		return super.then(onFulfilled, onRejected);
	}
};
// src/train/sft-trainer.ts
const TRAINER_OPTIONS = {
	model: true,
	config: false,
	trainDataset: true,
	evalDataset: false,
	collator: true,
	saveAdapter: false,
	computeMetrics: false,
	callbacks: false
};
const TRAIN_OPTIONS = {
	signal: false,
	resumeFromCheckpoint: false
};
var SftTrainer = class {
	config;
	#options;
	#givenEvalDataset;
	#sampler;
	constructor(options) {
		checkTrainerOptions(options, Object.keys(sftConfigSchema.shape));
		checkNames(options, TRAINER_OPTIONS, "SftTrainer");
		const config = parseSftConfig(options.config);
		this.config = config;
		const trainDataset = asDataset(options.trainDataset, "trainDataset");
		const evalDataset = options.evalDataset && asDataset(options.evalDataset, "evalDataset");
		this.#options = {
			...options,
			trainDataset,
			evalDataset
		};
		this.#givenEvalDataset = options.evalDataset;
		const wantsEvaluations = config.evalStrategy !== "no" ? `\`evalStrategy\` is "${config.evalStrategy}"` : void 0;
		const asked = wantsEvaluations ?? (config.evalOnStart ? "`evalOnStart` is true" : void 0);
		if (asked && !evalDataset?.length) throw new ConfigError(`${asked}, but the evaluation set is missing or empty`, { hint: `Give \`evalDataset\`, or set ${wantsEvaluations ? "`evalStrategy: \"no\"`" : "`evalOnStart: false`"}.` });
		const judge = wantsEvaluations === void 0 ? void 0 : judgeOf(config);
		if (judge && judge.metric !== "evalLoss" && !options.computeMetrics) throw new ConfigError(`\`metricForBestModel\` is "${judge.metric}", but evaluations have the loss alone`, { hint: "Give `computeMetrics`, which returns other metrics by name, or write \"evalLoss\"." });
		const { trainable } = options.model;
		if (trainable.size === 0) throw new TrainingError("the model has no trainable parameters", { hint: "call applyLora(model, config) first" });
		learningRateFactors(trainable, config.loraplusLrRatio);
		requirePrecision(options.model.engine, config.precision);
		const { length } = trainDataset;
		this.#sampler = new Sampler({
			length,
			batchSize: config.perDeviceTrainBatchSize,
			gradientAccumulationSteps: config.gradientAccumulationSteps,
			dropLast: config.dataloaderDropLast,
			seed: config.dataSeed ?? config.seed,
			numTrainEpochs: config.numTrainEpochs,
			maxSteps: config.maxSteps
		});
		const { totalSteps } = this.#sampler;
		if (!Number.isSafeInteger(totalSteps) && this.#sampler.microBatchesPerEpoch > 0) throw new ConfigError(`\`numTrainEpochs\` of ${config.numTrainEpochs} are ${totalSteps} optimizer steps, more than can be counted`, { hint: "A run without an end of its own: set `maxSteps: 1e9`, and leave its loop or abort it." });
		if (this.#sampler.microBatchesPerEpoch === 0) throw new DataError(`the training set has ${length} samples, too few for one micro-batch`, { hint: length > 0 ? "Set `dataloaderDropLast: false`, or a smaller batch size." : "Check where it is read from." });
	}
	get totalSteps() {
		return this.#sampler.totalSteps;
	}
	train(options = {}) {
		if (typeof options === "string") throw new ConfigError(`train: expected an object of options, got ${showValue(options)}`, { hint: "Write train({ resumeFromCheckpoint: … }) to go on from a checkpoint." });
		checkNames(options, TRAIN_OPTIONS, "train");
		requireSignal(options.signal, "train");
		const { resumeFromCheckpoint: resumeFrom } = options;
		if (typeof resumeFrom !== "boolean" && resumeFrom !== void 0) requirePath(resumeFrom, "train: `resumeFromCheckpoint`");
		const from = typeof resumeFrom === "string" ? resolve(resumeFrom) : resumeFrom || void 0;
		const config = {
			...this.config,
			outputDir: resolve(this.config.outputDir)
		};
		return new TrainingRun((control) => this.#runWithCallbacks(control, config, from), options.signal);
	}
	async #runWithCallbacks(control, config, resumeFrom) {
		const { callbacks } = this.#options;
		if (!callbacks?.length) return this.#run(control, config, resumeFrom, void 0);
		const runner = new CallbackRunner(callbacks, control);
		try {
			const output = await this.#run(control, config, resumeFrom, runner);
			await runner.close();
			return output;
		} catch (error) {
			await runner.close(error);
			throw error;
		}
	}
	async #run({ emit, signal, whenRead }, config, resumeFrom, callbacks) {
		const { model } = this.#options;
		const { trainable } = model;
		const where = `a run in ${JSON.stringify(this.config.outputDir)}`;
		let loop;
		const lease = ParameterLease.take(model.engine, trainable, () => {
			return `${where}, ${loop?.globalStep ?? 0} of ${this.totalSteps} steps done`;
		});
		const progress = new Progress(this.config.progress);
		try {
			loop = new TrainingLoop({
				model,
				config,
				sampler: this.#sampler,
				dataset: this.#options.trainDataset,
				evalDataset: this.#options.evalDataset,
				loader: this.#loader(this.#options.trainDataset),
				checkData: (aborted) => this.#checkData(aborted),
				evaluate: (aborted, warn, onBatch) => this.#evaluate(this.#options.evalDataset, {
					signal: aborted,
					warn,
					onBatch,
					onProgress: (done, total) => progress.evaluating(done, total),
					onMetrics: () => progress.measuring()
				}),
				saveAdapter: this.#options.saveAdapter,
				collator: this.#options.collator,
				signal,
				whenRead,
				callbacks,
				lease,
				show: (event) => {
					progress.show(event);
					return callbacks ? callbacks.handle(event).then(() => emit(event)) : emit(event);
				}
			});
			return await loop.run(resumeFrom);
		} finally {
			await progress.close();
			const { unanswered } = loop ?? {};
			if (unanswered) unanswered.then(() => lease.release());
			else lease.release();
		}
	}
	async evaluate(dataset = this.#givenEvalDataset, signal) {
		requireSignal(signal, "evaluate");
		const evaluated = dataset === this.#givenEvalDataset ? this.#options.evalDataset : asDataset(dataset, "evaluate");
		const progress = new Progress(this.config.progress);
		try {
			return await this.#evaluate(evaluated, {
				signal,
				warn: (message) => process.emitWarning(warningLine(message), "EvaluationWarning"),
				onProgress: (done, total) => progress.evaluating(done, total),
				onMetrics: () => progress.measuring()
			});
		} finally {
			progress.clear();
			await progress.close();
		}
	}
	async #checkData(signal) {
		const { trainDataset, evalDataset, collator, model } = this.#options;
		const warnings = await checkLabels(trainDataset, collator, signal, model.config?.eosTokenIds);
		if ((this.config.evalStrategy !== "no" || this.config.evalOnStart) && evalDataset) await checkEvaluationSet(evalDataset, collator, signal);
		return warnings;
	}
	async #evaluate(dataset, { signal, warn, onBatch, onProgress, onMetrics }) {
		if (!dataset?.length) throw new DataError("there is no evaluation set, or it is empty");
		const { model, evalDataset, computeMetrics } = this.#options;
		const { perDeviceEvalBatchSize: batchSize, labelSmoothingFactor: labelSmoothing, sharePrefix } = this.config;
		const onSkipped = (samples) => warn?.(`evaluation: ${describeSkipped(samples)}`);
		const loader = this.#loader(dataset);
		const settings = {
			batchSize,
			labelSmoothing,
			sharePrefix,
			signal
		};
		const parts = {
			loader,
			length: dataset.length,
			...settings,
			onSkipped,
			onBatch,
			onProgress
		};
		const loss = evaluateDataset(model, parts);
		const result = await (signal ? afterAbort(loss, signal, MODEL_GRACE) : loss);
		if (!computeMetrics || dataset !== evalDataset) return result;
		onMetrics?.();
		const metrics = checkMetrics(await orAborted(computeMetrics({ signal }), signal));
		return {
			...result,
			...metrics && { metrics }
		};
	}
	#loader(dataset) {
		const { dataloaderPrefetch, gradientAccumulationSteps } = this.config;
		const prefetch = dataloaderPrefetch ?? Math.max(2, 2 * gradientAccumulationSteps);
		return new DataLoader({
			dataset,
			collator: this.#options.collator,
			prefetch
		});
	}
};
// src/train/abort-on-signals.ts
const SAME_PRESS_MS = 200;
function abortOnSignals(options = {}) {
	checkNames(options, { onStop: false }, "abortOnSignals");
	requireCallback(options.onStop, "abortOnSignals: `onStop`", "e.g. { onStop: (name) => console.error(name) }.", true);
	const controller = new AbortController();
	const outlivesTerminal = isHangupIgnored();
	let received;
	let firstAt = 0;
	let asked;
	const leave = () => {
		for (const name of IMPATIENT) process.off(name, listen);
	};
	const dispose = () => {
		leave();
		process.off("SIGHUP", listen);
	};
	const listen = (signal) => {
		const name = signal;
		if (name === "SIGHUP") {
			if (outlivesTerminal) return;
			closeDeadTerminalsAtExit();
		} else if (asked) {
			if (performance.now() - firstAt > SAME_PRESS_MS) process.exit(exitCode(name));
			return;
		} else {
			asked = name;
			firstAt = performance.now();
			setTimeout(leave, SAME_PRESS_MS).unref();
		}
		if (received) return;
		received = name;
		process.once("exit", () => {
			process.exitCode = exitCode(name);
		});
		guardStandardOutput();
		report(options.onStop, name);
		controller.abort(new DOMException(`stopped by ${name}`, "AbortError"));
	};
	for (const name of IMPATIENT) process.on(name, listen);
	process.on("SIGHUP", listen);
	return {
		signal: controller.signal,
		get received() {
			return received;
		},
		dispose,
		[Symbol.dispose]: dispose
	};
}
const IMPATIENT = [
	"SIGINT",
	"SIGTERM",
	...process.platform === "win32" ? ["SIGBREAK"] : []
];
function report(onStop, name) {
	const failed = (error) => {
		process.emitWarning(`abortOnSignals: \`onStop\` failed: ${reasonOf(error)}`, "SignalWarning");
	};
	try {
		const answer = onStop?.(name);
		if (answer instanceof Promise) answer.catch(failed);
	} catch (error) {
		failed(error);
	}
}
function exitCode(name) {
	return 128 + (name === "SIGBREAK" ? 21 : constants$2.signals[name]);
}
function isHangupIgnored() {
	if (process.platform === "win32") return false;
	const parent = process.ppid > 1 ? process.ppid : void 0;
	if (ignores("self") || parent && ignores(parent) || hasUnreadableInput()) return true;
	return isNohup(process.env["_"]) && !(parent && isNohup(environmentOf(parent).get("_")));
}
function isNohup(command) {
	return basename(command ?? "") === "nohup";
}
function environmentOf(pid) {
	try {
		const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
		return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]));
	} catch {
		return new Map();
	}
}
function ignores(pid) {
	try {
		const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
		return mask !== void 0 && (BigInt(`0x${mask}`) & 1n) === 1n;
	} catch {
		return false;
	}
}
function hasUnreadableInput() {
	try {
		if (fstatSync(0).rdev !== statSync("/dev/null").rdev) return false;
		const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync("/proc/self/fdinfo/0", "latin1"))?.[1];
		return flags !== void 0 && (Number.parseInt(flags, 8) & 3) === 1;
	} catch {
		return false;
	}
}
// src/eval/parse-answer.ts
const LEADING_MARKS = /^(?:\s|#+\s|>\s|[-+*]\s|[*_`~"'“”„‘’«»])+/u;
const TRAILING_MARK = /[\s*_`~"'“”„‘’«».,;:!?…。！？]/u;
function normalizeAnswer(text) {
	const folded = text.normalize("NFC").toLowerCase().trim();
	let end = folded.length;
	while (end > 0 && TRAILING_MARK.test(folded[end - 1])) end--;
	return folded.slice(0, end).replace(LEADING_MARKS, "").replace(/\s+/gu, " ");
}
function createAnswerParser(classNames, mode = "normalized") {
	const exact = indexNames(classNames, (name) => name.trim(), mode);
	if (mode === "exact") return (text) => exact.get(text.trim());
	const normalized = indexNames(classNames, normalizeAnswer, mode);
	return (text) => {
		const key = normalizeAnswer(text);
		return exact.get(text.trim()) ?? (key ? normalized.get(key) : void 0);
	};
}
function indexNames(names, keyOf, mode) {
	if (names.length === 0) throw new ConfigError("classNames: expected at least one class name, got none");
	const index = new Map();
	for (const [i, name] of names.entries()) {
		if (name.trim() === "") throw new ConfigError(`classNames: name ${i} is empty`);
		const key = keyOf(name);
		if (key === "") continue;
		const other = index.get(key);
		if (other !== void 0) throw new ConfigError(`classNames: ${showValue(names[other])} (${other}) and ${showValue(name)} (${i}) read the same in mode '${mode}'`, { hint: "Rename one of them, or use mode 'exact' if they differ only in case or punctuation." });
		index.set(key, i);
	}
	return index;
}
// src/eval/evaluator.ts
const MOST_RESAMPLED = 1e4;
const METRICS_OPTIONS = {
	toExample: true,
	limit: false,
	onProgress: false,
	intervals: false,
	onReport: false
};
var Evaluator = class {
	classNames;
	mode;
	#labels;
	#generate;
	#score;
	#toPrompt;
	#batchSize;
	#answerMode;
	#parse;
	constructor(options) {
		this.mode = requireModeOptions(options);
		requireClassNames(options.classNames);
		if (this.mode === "scored") requireCallback(options.score, "Evaluator: `score`", SCORE_HINT);
		else requireCallback(options.generate, "Evaluator: `generate`", GENERATE_HINT);
		requireCallback(options.toPrompt, "Evaluator: `toPrompt`", "It takes an example and gives the prompt.", true);
		this.classNames = [...options.classNames];
		this.#labels = new Map(this.classNames.map((name, label) => [name, label]));
		this.#generate = options.generate;
		this.#score = options.score;
		this.#toPrompt = options.toPrompt ?? withoutAnswer;
		this.#batchSize = positiveInteger("batchSize", options.batchSize ?? 8);
		this.#answerMode = options.answerMode ?? (this.mode === "free" ? "normalized" : "exact");
		this.#parse = createAnswerParser(this.classNames, this.#answerMode);
	}
	async evaluate(dataset, options) {
		requireEvaluation(dataset, options);
		const samples = [];
		let seconds = 0;
		for await (const progress of this.stream(dataset, options)) {
			samples.push(...progress.samples);
			seconds = progress.seconds;
			options.onProgress?.(progress);
		}
		const report = this.report(samples, {
			datasetLength: dataset.length,
			seconds
		});
		const { intervals = report.count > MOST_RESAMPLED ? false : {}, signal } = options;
		if (intervals === false) return report;
		return {
			...report,
			intervals: await bootstrapIntervals(report.confusion, intervals, signal)
		};
	}
	asMetrics(dataset, options) {
		checkNames(options, METRICS_OPTIONS, "asMetrics");
		const { onReport, ...others } = options;
		requireCallback(onReport, "asMetrics: `onReport`", void 0, true);
		requireEvaluation(dataset, others, "asMetrics");
		requireSamplesToAsk(dataset);
		return async ({ signal } = {}) => {
			const report = await this.evaluate(dataset, {
				intervals: false,
				...others,
				signal
			});
			await onReport?.(report);
			return metricsOf(report);
		};
	}
	stream(dataset, options) {
		requireEvaluation(dataset, options);
		return this.#stream(dataset, options);
	}
	async *#stream(dataset, options) {
		requireSamplesToAsk(dataset);
		const names = dataset.classLabel?.names;
		const indices = evenlySpaced(dataset.length, options.limit);
		const { signal } = options;
		const start = performance.now();
		let correct = 0;
		for (let from = 0; from < indices.length; from += this.#batchSize) {
			if (isTurnDue()) await eventLoopTurn();
			signal?.throwIfAborted();
			const batch = await orAborted(Promise.all(indices.slice(from, from + this.#batchSize).map(async (index) => {
				const item = await dataset.get(index);
				signal?.throwIfAborted();
				requireItem(item, index);
				const label = this.#labelOf(item, index, names);
				const example = requireExample(await options.toExample(item), index, "toExample");
				const prompt = requireExample(this.#toPrompt(example), index, "toPrompt");
				return {
					label,
					id: example.id ?? String(index),
					prompt
				};
			})), signal);
			const samples = await this.#answer(batch, signal);
			correct += samples.filter((one) => one.predicted === one.expected).length;
			const seconds = (performance.now() - start) / 1e3;
			yield {
				done: from + batch.length,
				total: indices.length,
				correct,
				samples,
				seconds
			};
		}
	}
	async #answer(batch, signal) {
		const prompts = batch.map((one) => one.prompt);
		const ids = batch.map((one) => one.id);
		if (this.mode === "scored") {
			const given = await orAborted(this.#score(prompts, this.classNames, signal), signal);
			return requireScores(given, ids, this.classNames.length).map((scores, i) => {
				const predicted = argmax$1(scores);
				const { id, label: expected } = batch[i];
				return {
					id,
					expected,
					predicted,
					answer: this.classNames[predicted],
					scores,
					confidence: softmax$1(scores)[predicted]
				};
			});
		}
		const isConstrained = this.mode === "constrained";
		const answers = await orAborted(isConstrained ? this.#generate(prompts, signal, this.classNames) : this.#generate(prompts, signal), signal);
		requireAnswers(answers, ids);
		const samples = batch.map(({ id, label }, i) => {
			const answer = answers[i];
			return {
				id,
				expected: label,
				predicted: this.#parse(answer) ?? null,
				answer
			};
		});
		if (isConstrained) requireChoices(samples);
		return samples;
	}
	report(samples, run) {
		requireSamples(samples, "evaluator.report: `samples`");
		requireClasses(samples, this.classNames.length, "evaluator.report: `samples`");
		checkNames(run, {
			datasetLength: true,
			seconds: true
		}, "evaluator.report");
		requireInteger(run.datasetLength, "evaluator.report: `datasetLength`", 0);
		if (!Number.isFinite(run.seconds)) throw new ConfigError(`evaluator.report: \`seconds\`: expected a number, got ${describeGiven(run.seconds)}`);
		const { classNames, mode } = this;
		return buildReport(samples, {
			classNames,
			mode,
			answerMode: this.#answerMode,
			...run
		});
	}
	#labelOf(item, index, names) {
		const name = typeof item.className === "string" ? item.className : names?.[item.label];
		if (name === void 0) {
			const { label } = item;
			if (Number.isInteger(label) && label >= 0 && label < this.classNames.length) return label;
			throw new DataError(`evaluation: expected a label from 0 to ${this.classNames.length - 1}, got ${describeGiven(label)} at sample ${index}`, { hint: "The data set and `classNames` must have the same classes in the same order." });
		}
		const label = this.#labels.get(name);
		if (label !== void 0) return label;
		throw new DataError(`evaluation: sample ${index} is of class ${showValue(name)}, which is not in \`classNames\``, {
			hint: `Classes of the evaluator: ${this.classNames.slice(0, 20).map(oneLine).join(", ")}. Load both data sets with the same \`classes\`; names of your own: \`dataset.map\` with another \`className\`.`,
			details: {
				index,
				className: name,
				classNames: this.classNames
			}
		});
	}
};
function withoutAnswer(example) {
	const messages = example.messages.at(-1)?.role === "assistant" ? example.messages.slice(0, -1) : example.messages;
	if (messages.at(-1)?.role !== "user") throw new DataError(`evaluation: expected sample ${oneLine(example.id ?? "(no id)")} to end with a user turn, found ${messages.at(-1)?.role ?? "no turn"}`);
	return {
		...example,
		messages
	};
}
function requireSamplesToAsk({ length }) {
	if (length === 0) throw new DataError("evaluation: the data set is empty");
}
function evenlySpaced(length, limit) {
	const count = limit === void 0 ? length : Math.min(length, limit);
	return Array.from({ length: count }, (_, i) => Math.floor((i + .5) * length / count));
}
function metricsOf(report) {
	const { accuracy, balancedAccuracy, macroPrecision, macroRecall, macroF1, weightedF1, matthewsCorrcoef } = report;
	const { probabilities } = report;
	return {
		accuracy,
		balancedAccuracy,
		macroPrecision,
		macroRecall,
		macroF1,
		weightedF1,
		matthewsCorrcoef,
		validShare: 1 - report.invalidShare,
		...probabilities && {
			logLoss: probabilities.logLoss,
			brierScoreLoss: probabilities.brierScoreLoss
		}
	};
}
function positiveInteger(name, value) {
	requireInteger(value, `Evaluator: \`${name}\``, 1);
	return value;
}
// src/hub/hub-fetch.ts
const PLACEHOLDER = "hf_placeholder";
const UPLOAD_SILENCE_MS = 12e4;
const NO_LIMIT_MS = 2 ** 31 - 1;
function placeholderToken({ token }) {
	return token ? { accessToken: PLACEHOLDER } : {};
}
function hubFetch(connection, subject) {
	const { origin, hostname } = new URL(connection.endpoint);
	return async (input, init = {}) => {
		const url = new URL(input instanceof Request ? input.url : input);
		if (mayBeLoopback(url.hostname) && !mayBeLoopback(hostname)) throw new HubError(`${subject.repoId}: the Hub wants an upload to go to this machine, ${url.host}`, {
			hint: "Nothing was sent. Ask whoever runs the Hub, or a mirror of it, why its storage has such an address.",
			details: {
				repoId: subject.repoId,
				host: url.host
			}
		});
		const { authorization: forHub, ...headers } = Object.fromEntries(new Headers(init.headers));
		const signals = [connection.signal, init.signal].filter((signal) => signal instanceof AbortSignal);
		const signal = signals.length > 0 ? AbortSignal.any(signals) : void 0;
		const privateHeaders = forHub && url.origin === origin ? authorization(connection) : {};
		const request = {
			...requestSettings(connection),
			url,
			method: init.method,
			headers,
			privateHeaders,
			signal
		};
		const { body } = init;
		if (body instanceof Blob) return upload(request, body, connection, init.progressHint?.progressCallback);
		const withBody = typeof body === "string" ? {
			...request,
			body
		} : request;
		if (init.method === "POST" && !forHub) return withRetries(() => send(withBody), connection.retry, signal);
		const isCommit = /\/commit\/[^/]+$/.test(url.pathname);
		try {
			const answer = await requestJson({
				...withBody,
				explain: explainAnswer(connection, subject),
				retry: isCommit ? { maxAttempts: 1 } : connection.retry
			});
			return new Response(JSON.stringify(answer.value), {
				status: answer.status,
				headers: answer.headers
			});
		} catch (error) {
			throw isCommit && mayBeStartedOver(error) ? startOver(error) : error;
		}
	};
}
function upload(request, body, connection, onProgress) {
	const attempt = async () => {
		const stalled = new AbortController();
		const limit = Math.max(connection.timeoutMs, UPLOAD_SILENCE_MS);
		const watch = new SilenceWatch(limit, () => {
			const { host } = new URL(request.url);
			const message = `${host}: the upload has not moved for ${limit / 1e3} s`;
			stalled.abort(new TransferError(message, { isTransient: true }));
		});
		let isOver = false;
		const counted = countedBlob(body, (sent) => {
			if (isOver) return;
			watch.heard();
			onProgress?.(sent / Math.max(1, body.size));
		});
		const signal = AbortSignal.any([stalled.signal, ...request.signal ? [request.signal] : []]);
		try {
			return await send({
				...request,
				body: counted,
				answerTimeoutMs: NO_LIMIT_MS,
				signal
			});
		} catch (error) {
			throw error instanceof TransferError && !error.isTransient ? startOver(error) : error;
		} finally {
			isOver = true;
			watch.stop();
		}
	};
	return withRetries(attempt, connection.retry, request.signal);
}
async function send(request) {
	const answer = await sendRequest(request);
	const error = answer.status >= 400 ? await errorOf(answer, void 0) : void 0;
	if (error) throw error;
	const text = await answer.text(1 << 20);
	return new Response(answer.status === 204 ? null : text, {
		status: answer.status,
		headers: answer.headers
	});
}
function mayBeStartedOver(error) {
	return error instanceof TransferError && (error.isTransient || error.status === 409 || error.status === 412);
}
function startOver(error) {
	return new HubError(error.summary, {
		...error,
		cause: error,
		startOver: true
	});
}
function countedBlob(blob, onRead) {
	const stream = () => {
		let sent = 0;
		const counter = new TransformStream({ transform: (chunk, controller) => {
			sent += chunk.length;
			onRead(sent);
			controller.enqueue(chunk);
		} });
		return blob.stream().pipeThrough(counter);
	};
	return Object.defineProperties(new Blob([]), {
		size: { value: blob.size },
		type: { value: blob.type },
		stream: { value: stream }
	});
}
// src/hub/push-files.ts
const pushFilesSchema = hubConnectionSchema.extend({
	private: boolean().default(false),
	revision: string().min(1).default("main"),
	commitMessage: string().min(1).optional(),
	createPr: boolean().default(false),
	onProgress: callback().optional()
});
async function pushFiles(id, files, options, refuse) {
	const repoId = parseRepoId(id);
	const connection = await connectForPush(repoId, options);
	await Promise.all(files.map(sizeOf));
	const subject = {
		repoId,
		revision: parseRevision(options.revision),
		action: "write"
	};
	let contents;
	const describeAll = () => {
		contents ??= Promise.all(files.map((file) => describe(file, options.signal)));
		return contents;
	};
	const push = {
		connection,
		subject,
		contents: describeAll,
		options,
		refuse
	};
	const budget = new RetryBudget(connection.retry);
	for (;;) try {
		return await attemptPush(push);
	} catch (error) {
		options.signal?.throwIfAborted();
		if (!(error instanceof HubError && error.startOver)) throw asHubError(error);
		await budget.wait(error.with({ isTransient: true }), options.signal);
	}
}
async function ownedRepoId(id, options) {
	const name = parseRepoId(id);
	if (name.includes("/")) return name;
	return withOwner(name, await whoIs(await connectForPush(name, options), name));
}
async function checkPushAccess(id, options = {}) {
	const name = parseRepoId(id);
	const identity = await whoIs(await connectForPush(name, parseOptions(hubConnectionSchema, options, "checkPushAccess")), name);
	if (identity.auth?.accessToken?.role === "read") throw new ConfigError(`${name}: the access token may only read`, { hint: "Make one with the right to write on https://huggingface.co/settings/tokens." });
	return name.includes("/") ? name : withOwner(name, identity);
}
async function whoIs(connection, repoId) {
	const { value } = await askHub(connection, {
		repoId,
		revision: "main",
		action: "write"
	}, `${connection.endpoint}/api/whoami-v2`).catch((error) => {
		throw asHubError(error);
	});
	return value ?? {};
}
function withOwner(name, { name: owner }) {
	if (typeof owner === "string") return parseRepoId(`${owner}/${name}`);
	throw new HubError(`${name}: the Hub does not say whose token this is`, { hint: `Give "OWNER/${name}".` });
}
async function connectForPush(repoId, options) {
	const offline = offlineReason(false);
	if (offline) throw new HubError(`${repoId}: nothing can be pushed, the Hub is not asked: ${offline}`);
	const connection = await connectHub(options);
	if (connection.token) return connection;
	throw new ConfigError(`${repoId}: to push, an access token is needed`, { hint: TOKEN_HINT });
}
const MAX_TEXT_BYTES = 1 << 20;
async function attemptPush(push) {
	const { repoId } = push.subject;
	const parent = await headCommit(push);
	const tree = await listTree(push.connection, push.subject, parent);
	const reason = push.refuse?.([...tree.keys()]);
	if (reason !== void 0) throw new HubError(`${repoId}: ${reason}`, {
		hint: "Nothing was changed. Push into another repository, or delete that file there first.",
		details: { repoId }
	});
	const changed = [];
	const kept = [];
	for (const file of await push.contents()) {
		if (!differs(file, tree)) continue;
		const there = tree.get(file.path);
		const merged = there && file.merge ? await mergedFile(push, file, there, parent) : file;
		if (!merged) kept.push(file.path);
		else if (differs(merged, tree)) changed.push(merged);
	}
	const url = `${push.connection.endpoint}/${repoId}`;
	if (changed.length === 0) return {
		repoId,
		url,
		commit: parent,
		changed: false,
		uploaded: [],
		kept,
		pullRequestUrl: void 0
	};
	const { commit, pullRequestUrl } = await commitFiles(push, changed, parent);
	return {
		repoId,
		url,
		commit,
		changed: true,
		uploaded: changed.map(({ path }) => path),
		kept,
		pullRequestUrl
	};
}
async function mergedFile(push, file, there, commit) {
	if (there.lfs_sha256 !== void 0 || there.size > MAX_TEXT_BYTES) return void 0;
	const text = file.merge(await readText(push, file.path, there, commit));
	return text === void 0 ? void 0 : describe({
		path: file.path,
		text
	});
}
function readText(push, path, there, commit) {
	const { retry, signal } = push.connection;
	const { repoId } = push.subject;
	const attempt = async () => {
		const answer = await sendRequest({
			...requestSettings(push.connection),
			url: fileAddress(push.connection, repoId, commit, path)
		});
		const error = answer.status === 200 ? void 0 : await errorOf(answer, explainAnswer(push.connection, push.subject));
		if (error) throw error;
		const bytes = await answer.bytes(1048577);
		const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
		if (bytes.length === there.size && (git === there.blob_id || there.blob_id.length !== 40)) return bytes.toString();
		throw new HubError(`${repoId}: what came as ${path} is not the file that the Hub lists: ${bytes.length} bytes`, {
			hint: "Nothing was changed. A mirror or a proxy in between may have answered in its place.",
			status: answer.status,
			isTransient: true,
			details: {
				repoId,
				path,
				size: bytes.length,
				expectedSize: there.size
			}
		});
	};
	return withRetries(attempt, retry, signal);
}
async function headCommit(push) {
	try {
		return await resolveRevision(push.connection, push.subject);
	} catch (error) {
		if (!(error instanceof HubError && error.status === 404) || error.errorCode === "RevisionNotFound") throw error;
	}
	await createRepository(push);
	return resolveRevision(push.connection, push.subject);
}
async function createRepository(push) {
	try {
		await createRepo({
			repo: {
				type: "model",
				name: push.subject.repoId
			},
			visibility: push.options.private ? "private" : "public",
			hubUrl: push.connection.endpoint,
			fetch: hubFetch(push.connection, push.subject),
			accessToken: placeholderToken(push.connection).accessToken
		});
	} catch (error) {
		if (!(error instanceof HubError && error.status === 409)) throw error;
	}
}
async function commitFiles(push, files, parent) {
	const { commitMessage, createPr, onProgress, signal } = push.options;
	const { repoId, revision } = push.subject;
	try {
		const events = commitIter({
			repo: {
				type: "model",
				name: repoId
			},
			branch: revision,
			title: commitMessage ?? "Upload with ministral-tune",
			operations: files.map(({ path, content }) => ({
				operation: "addOrUpdate",
				path,
				content
			})),
			parentCommit: parent,
			isPullRequest: createPr,
			useXet: false,
			hubUrl: push.connection.endpoint,
			fetch: hubFetch(push.connection, push.subject),
			...placeholderToken(push.connection),
			...signal ? { abortSignal: signal } : {}
		});
		for (;;) {
			const { done, value } = await events.next();
			if (done) {
				if (!value) throw new HubError(`${repoId}: the Hub says nothing of the commit`);
				const { commit, pullRequestUrl } = value;
				return {
					commit: redact(commit.oid),
					pullRequestUrl: pullRequestUrl && redact(pullRequestUrl)
				};
			}
			if (value.event === "fileProgress" && value.state === "uploading") onProgress?.({
				file: value.path,
				uploaded: value.progress
			});
		}
	} catch (error) {
		signal?.throwIfAborted();
		throw explainFailure(push, error);
	}
}
function explainFailure(push, error) {
	if (error instanceof TransferError) {
		if (!(push.options.createPr && error.status === void 0) || !(error instanceof HubError && error.startOver)) return error;
		return error.with({
			summary: `${error.summary}; the pull request may have been opened all the same`,
			hint: `Look at ${push.connection.endpoint}/${push.subject.repoId}/discussions before you try again.`,
			startOver: false
		});
	}
	const { repoId } = push.subject;
	const status = error instanceof HubApiError ? error.statusCode : void 0;
	const said = reasonOf(error).replaceAll(push.connection.token.value, "***").split(" URL: ")[0];
	return new HubError(`${repoId}: the upload failed: ${said}`, {
		status,
		details: { repoId },
		cause: error
	});
}
function differs({ path, size, sha256, gitSha1 }, tree) {
	const there = tree.get(path);
	if (!there || there.size !== size) return true;
	return there.lfs_sha256 ? there.lfs_sha256 !== sha256 : there.blob_id !== gitSha1;
}
async function sizeOf(file) {
	if ("text" in file) return Buffer.byteLength(file.text);
	try {
		return (await stat(file.source)).size;
	} catch (cause) {
		throw new ConfigError(`${file.source}: there is no such file to push`, {
			details: { path: file.source },
			cause
		});
	}
}
async function describe(file, signal) {
	const { path } = file;
	const text = "text" in file ? Buffer.from(file.text) : void 0;
	const source = "source" in file ? file.source : "";
	const size = await sizeOf(file);
	const [sha256, git] = [createHash("sha256"), createHash("sha1").update(`blob ${size}\0`)];
	for await (const chunk of text ? [text] : createReadStream(source, { highWaterMark: 1 << 20 })) {
		signal?.throwIfAborted();
		sha256.update(chunk);
		git.update(chunk);
	}
	const content = text ? new Blob([text]) : pathToFileURL(source);
	const merge = "merge" in file ? file.merge : void 0;
	return {
		path,
		content,
		size,
		sha256: sha256.digest("hex"),
		gitSha1: git.digest("hex"),
		merge
	};
}
// src/publish/model-card.ts
const text = string().min(1);
const words = array(text);
const modelCardSchema = strictObject({
	title: text.optional(),
	baseModel: text.optional(),
	description: text.optional(),
	warning: text.optional(),
	license: text.optional(),
	language: words.default([]),
	tags: words.default([]),
	datasets: words.default([]),
	data: text.optional(),
	prompt: text.optional(),
	config: record(text, unknown()).default({}),
	metrics: array(strictObject({
		type: text,
		name: text.optional(),
		value: number(),
		before: number().optional()
	})).default([]),
	evaluatedOn: strictObject({
		name: text,
		type: text,
		split: text.optional(),
		samples: int().min(1).optional()
	}).optional(),
	pictures: array(strictObject({
		path: text,
		caption: text
	})).default([])
});
function imagePath(path) {
	return `images/${basename(path)}`;
}
function renderModelCard(card, subject) {
	const { noun, repoId } = subject;
	return `${[
		frontMatter$1(card, subject),
		`# ${escapeMarkdown(card.title ?? repoId.split("/")[1])}`,
		card.warning && `> [!WARNING]\n${card.warning.split("\n").map((line) => `> ${line}`).join("\n")}`,
		subject.introduction,
		card.description,
		results(card),
		...card.pictures.map(({ path, caption }) => {
			return `![${caption.replace(/[[\]\\]/g, "\\$&").replace(/\s+/g, " ")}](${addressOf(imagePath(path))})\n\n*${caption}*`;
		}),
		card.data && `## Data\n\n${card.data}`,
		card.prompt && `## Prompt\n\nThe ${noun} was trained with this prompt, and works best with it:\n\n${fence(card.prompt, "text")}`,
		Object.keys(card.config).length > 0 && `## Training\n\n${settings(card.config)}`,
		...subject.sections
	].filter(Boolean).join("\n\n")}\n`;
}
function frontMatter$1(card, subject) {
	const { baseModel, library, relation, tags, repoId } = subject;
	const types = [...new Set(card.metrics.map(({ type }) => type))];
	return `---\n${[
		baseModel && `base_model: ${yamlString(baseModel)}`,
		baseModel && relation && `base_model_relation: ${relation}`,
		`library_name: ${library}`,
		"pipeline_tag: image-text-to-text",
		card.license && `license: ${yamlString(card.license)}`,
		list("language", card.language),
		list("tags", [...new Set([...tags, ...card.tags])]),
		list("datasets", card.datasets),
		list("metrics", types),
		card.evaluatedOn && card.metrics.length > 0 && modelIndex(card, repoId)
	].filter(Boolean).join("\n")}\n---`;
}
function modelIndex({ metrics, evaluatedOn, title }, repoId) {
	const { name, type, split } = evaluatedOn;
	return [
		"model-index:",
		`  - name: ${yamlString(title ?? repoId.split("/")[1])}`,
		"    results:",
		"      - task:",
		"          type: image-text-to-text",
		"        dataset:",
		`          name: ${yamlString(name)}`,
		`          type: ${yamlString(type)}`,
		...split ? [`          split: ${yamlString(split)}`] : [],
		"        metrics:",
		...metrics.flatMap((metric) => [
			`          - type: ${yamlString(metric.type)}`,
			`            name: ${yamlString(metric.name ?? metric.type)}`,
			`            value: ${metric.value}`
		])
	].join("\n");
}
function results({ metrics, evaluatedOn }) {
	if (metrics.length === 0) return void 0;
	const before = metrics.some((metric) => metric.before !== void 0);
	const number = (value) => value === void 0 ? "" : String(Number(value.toPrecision(4)));
	const rows = metrics.map((metric) => row([
		escapeMarkdown(metric.name ?? metric.type),
		...before ? [number(metric.before)] : [],
		number(metric.value)
	]));
	const head = before ? [
		"",
		"before training",
		"after"
	] : ["", "value"];
	const samples = evaluatedOn?.samples === void 0 ? "" : `, ${evaluatedOn.samples} samples`;
	return `## Results\n\n${(evaluatedOn && `On ${escapeMarkdown(evaluatedOn.name)}${evaluatedOn.split ? `, split ${escapeMarkdown(evaluatedOn.split)}` : ""}${samples}.\n\n`) ?? ""}${row(head)}\n${row(head.map(() => "---"))}\n${rows.join("\n")}`;
}
function settings(config) {
	return `| setting | value |\n| --- | --- |\n${Object.entries(config).map(([name, value]) => row([markdownCode(name), markdownCode(typeof value === "string" ? value : JSON.stringify(value) ?? String(value))])).join("\n")}`;
}
function row(cells) {
	return `| ${cells.join(" | ")} |`;
}
function addressOf(path) {
	return encodeURIComponent(path.replace(/\p{Surrogate}/gu, "�")).replaceAll("%2F", "/").replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
function fence(code, language) {
	const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([ticks]) => ticks.length));
	const ticks = "`".repeat(longest + 1);
	return `${ticks}${language}\n${code}\n${ticks}`;
}
function list(key, values) {
	return values.length === 0 ? void 0 : `${key}:\n${values.map((value) => `  - ${yamlString(value)}`).join("\n")}`;
}
function usageSection(typescript, python) {
	return [
		"## Use",
		"With ministral-tune (TypeScript):",
		fence(typescript.join("\n"), "ts"),
		`With transformers${python.some((line) => line.includes("peft")) ? " and PEFT" : ""} (Python):`,
		fence(python.join("\n"), "python")
	].join("\n\n");
}
function baseLink(baseModel) {
	return baseModel ? `[${baseModel}](https://huggingface.co/${baseModel})` : "a Mistral vision-language model";
}
// src/publish/upload.ts
async function hubName(name, what) {
	if (name === void 0) return void 0;
	const isFolder = await stat(name).then((found) => found.isDirectory(), () => false);
	try {
		if (!isFolder) return parseRepoId(plainRepoName(name));
	} catch {}
	throw new ConfigError(`the ${what}'s base model "${name}" is a folder of this machine, which helps nobody else`, {
		hint: "Give the base model's name on the Hub as `modelCard: { baseModel: ... }`.",
		details: { baseModel: name }
	});
}
// src/publish/adapter-upload.ts
async function adapterUpload(directory, base) {
	const { config, origin } = await readAdapterConfig(directory);
	const baseModel = await hubName(base ?? origin.baseModelNameOrPath, "adapter");
	const contents = await readFacts(directory);
	const vision = contents.layers.vision + contents.layers.projector;
	return {
		files: [
			await configFile(directory, baseModel),
			{
				path: ADAPTER_WEIGHTS_FILE,
				source: join(directory, ADAPTER_WEIGHTS_FILE)
			},
			...await processorFiles(directory)
		],
		warnings: vision > 0 ? [visionServingAdvice(vision, vision + contents.layers.language)] : [],
		subject: (repoId) => adapterSubject({
			repoId,
			baseModel,
			config,
			...contents
		})
	};
}
async function processorFiles(directory) {
	const isThere = await Promise.all(PROCESSOR_FILES.map((name) => stat(join(directory, name)).then((entry) => entry.isFile(), () => false)));
	return PROCESSOR_FILES.filter((_, i) => isThere[i]).map((path) => ({
		path,
		source: join(directory, path)
	}));
}
async function configFile(directory, baseModel) {
	const source = join(directory, ADAPTER_CONFIG_FILE);
	const text = await readFile(source, "utf8");
	const json = JSON.parse(text);
	if ((json.base_model_name_or_path ?? void 0) === baseModel) return {
		path: ADAPTER_CONFIG_FILE,
		text
	};
	const changed = {
		...json,
		base_model_name_or_path: baseModel ?? null
	};
	return {
		path: ADAPTER_CONFIG_FILE,
		text: `${JSON.stringify(changed, null, 2)}\n`
	};
}
async function readFacts(directory) {
	await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
	const file = await SafetensorsFile.open(join(directory, ADAPTER_WEIGHTS_FILE));
	try {
		const layers = {
			language: 0,
			vision: 0,
			projector: 0
		};
		let [maxRank, trainedParameters] = [0, 0];
		const faults = [];
		for (const { name, shape } of file.tensors.values()) {
			const parsed = parseAdapterTensorName(name);
			const part = parsed && modelPart(parsed.module);
			if (!parsed || part === void 0 || part === "other" || shape.length !== 2) {
				faults.push(`${name}: not a LoRA matrix of a linear layer`);
				continue;
			}
			trainedParameters += shape[0] * shape[1];
			if (parsed.factor === "B") continue;
			layers[part]++;
			maxRank = Math.max(maxRank, shape[0]);
		}
		if (maxRank === 0) faults.push("there is no LoRA matrix in it");
		if (faults.length > 0) throw new CheckpointError(`${file.path} is not to be published:\n  - ${faults.join("\n  - ")}`, { details: {
			path: file.path,
			faults
		} });
		return {
			layers,
			maxRank,
			trainedParameters
		};
	} finally {
		await file.close();
	}
}
function adapterSubject(facts) {
	const { repoId, baseModel } = facts;
	return {
		repoId,
		baseModel,
		noun: "adapter",
		introduction: `A LoRA adapter for ${baseLink(baseModel)}, trained with ministral-tune.`,
		library: "peft",
		tags: [
			"lora",
			"peft",
			familyTag(baseModel),
			"ministral-tune",
			...baseModel ? [`base_model:adapter:${baseModel}`] : []
		],
		sections: [
			adapterSection(facts),
			usage(facts),
			serving(facts)
		]
	};
}
function familyTag(baseModel) {
	return /mistral-small/i.test(baseModel ?? "") ? "mistral-small" : "ministral-3";
}
function adapterSection({ config, layers, maxRank, trainedParameters }) {
	const parts = Object.entries(layers).filter(([, count]) => count > 0);
	const scale = config.useRslora ? "alpha / √r (rsLoRA)" : "alpha / r";
	return [
		"## Adapter",
		"",
		"| | |",
		"| --- | --- |",
		row(["rank", config.r === maxRank ? String(config.r) : `${config.r}, in single layers up to ${maxRank}`]),
		row(["alpha", String(config.alpha)]),
		row(["scale", scale]),
		row(["dropout in training", String(config.dropout)]),
		row(["adapted layers", parts.map(([part, count]) => `${count} ${part}`).join(", ")]),
		row(["trained parameters", trainedParameters.toLocaleString("en-US")])
	].join("\n");
}
function usage({ repoId, baseModel }) {
	const base = baseModel ?? "BASE_MODEL";
	return usageSection([
		"import { fromPretrained } from 'ministral-tune';",
		"",
		`const { model, processor, adapter } = await fromPretrained('${repoId}'${baseModel ? "" : ", { baseModel: 'BASE_MODEL' }"});`
	], [
		"from peft import PeftModel",
		"from transformers import AutoModelForImageTextToText, AutoProcessor",
		"",
		`model = AutoModelForImageTextToText.from_pretrained("${base}", dtype="auto", device_map="auto")`,
		`model = PeftModel.from_pretrained(model, "${repoId}")`,
		`processor = AutoProcessor.from_pretrained("${base}")`
	]);
}
const VLLM_RANKS = [
	8,
	16,
	32,
	64,
	128,
	256,
	320,
	512
];
function serving({ repoId, baseModel, layers, maxRank }) {
	const rank = VLLM_RANKS.find((known) => known >= maxRank);
	const vision = layers.vision + layers.projector;
	const flags = [
		`vllm serve ${baseModel ?? "BASE_MODEL"}`,
		"--config-format hf --load-format safetensors --tokenizer-mode hf",
		`--enable-lora --max-lora-rank ${rank ?? maxRank}`,
		...vision > 0 ? ["--enable-tower-connector-lora"] : [],
		`--lora-modules ${repoId.split("/")[1]}=${repoId}`
	];
	const note = vision === 0 ? "Only the language model is adapted, which vLLM serves without further switches. Its names are those of the Hugging Face files: that is what the format flags are for." : `${vision} of the adapted layers belong to the vision tower or the projector. vLLM needs \`--enable-tower-connector-lora\` for them, an experimental switch that not every version has for this model. Where it is refused, merge the adapter into its base model (\`mergeAdapter\`) and serve the result.`;
	const tooHigh = rank === void 0 ? `\n\nvLLM takes ranks up to ${VLLM_RANKS.at(-1)}: this adapter has to be merged first.` : "";
	return `### vLLM\n\n${fence(flags.join(" \\\n  "), "sh")}\n\n${note}${tooHigh}`;
}
// src/publish/card-mark.ts
const MARK = /\n<!-- made by ministral-tune, sha256 ([0-9a-f]{64}); an edited page is kept -->\s*$/;
const CARRIED = "# from the page before:";
function markedCard(card, there = "") {
	const text = withCarried(plain(card), carriedFrom(plain(there)));
	return `${text}\n<!-- made by ministral-tune, sha256 ${digest(text)}; an edited page is kept -->\n`;
}
function isReplaceable(there) {
	const page = plain(there);
	const [, made] = MARK.exec(page) ?? [];
	if (made !== void 0) return digest(page.replace(MARK, "")) === made;
	return metadataAlone(page) !== void 0;
}
function carriedFrom(page) {
	if (MARK.test(page)) {
		const lines = frontMatter(page)?.lines ?? [];
		const at = lines.indexOf(CARRIED);
		return at < 0 ? [] : lines.slice(at + 1);
	}
	return metadataAlone(page) ?? [];
}
function withCarried(card, lines) {
	const own = frontMatter(card);
	if (!own) return card;
	const keys = new Set(own.lines.flatMap((line) => keyOf(line) ?? []));
	const carried = [];
	let isNew = false;
	for (const line of lines) {
		const key = keyOf(line);
		if (key !== void 0) isNew = !keys.has(key);
		if (isNew) carried.push(line);
	}
	if (carried.length === 0) return card;
	return [
		"---",
		...own.lines,
		CARRIED,
		...carried,
		"---",
		own.text
	].join("\n");
}
function metadataAlone(page) {
	if (page.trim() === "") return [];
	const found = frontMatter(page);
	return found && found.text.trim() === "" ? found.lines : void 0;
}
function frontMatter(page) {
	const lines = page.split("\n");
	const end = lines.indexOf("---", 1);
	if (lines[0] !== "---" || end < 0) return void 0;
	return {
		lines: lines.slice(1, end),
		text: lines.slice(end + 1).join("\n")
	};
}
function keyOf(line) {
	return /^["']?([\w-]+)["']?\s*:/.exec(line)?.[1];
}
function plain(page) {
	return page.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
}
function digest(text) {
	return createHash("sha256").update(text).digest("hex");
}
// src/publish/merged-upload.ts
const PUBLISHED = /^((generation_)?config\.json|tekken\.json|SYSTEM_PROMPT\.txt|(LICEN[CS]E|NOTICE).*)$/i;
const WEIGHTS = /^model.*\.safetensors(\.index\.json)?$/;
async function mergedUpload(directory, base) {
	const baseModel = await hubName(base ?? await writtenBase(directory), "model");
	const checkpoint = await ShardedCheckpoint.open(directory);
	try {
		const shards = checkpoint.files.map(({ path }) => basename(path));
		await requireUnchanged(directory, shards);
		const { indexFile } = checkpoint;
		const small = (await smallFiles(checkpoint)).filter(([name]) => name === indexFile || PROCESSOR_FILES.includes(name) || PUBLISHED.test(name));
		const tensors = [...checkpoint.tensors.values()];
		const facts = {
			baseModel,
			parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0),
			dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].sort(),
			bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
		};
		const files = [...small.map(([path, source]) => ({
			path,
			source
		})), ...shards.map((path) => ({
			path,
			source: join(directory, path)
		}))];
		const names = files.map(({ path }) => path);
		return {
			files,
			warnings: [],
			subject: (repoId) => mergedSubject({
				repoId,
				...facts
			}),
			refuse: (paths) => {
				const other = paths.find((path) => path === "adapter_config.json" || path === "adapter_model.safetensors" || WEIGHTS.test(path) && !names.includes(path));
				return other && `it holds ${other}, which would be loaded with or in place of the merged model`;
			}
		};
	} finally {
		await checkpoint.close();
	}
}
async function writtenBase(directory) {
	const page = await readFile(join(directory, "README.md"), "utf8").catch(() => "");
	const [, metadata = ""] = /^---\n([\s\S]*?)\n---\n/.exec(page) ?? [];
	return /^base_model: "?([\w.-]+\/[\w.-]+)"?$/m.exec(metadata)?.[1];
}
function mergedSubject({ repoId, baseModel, parameters, dtypes, bytes }) {
	const model = [
		"## Model",
		"",
		"| | |",
		"| --- | --- |",
		row(["parameters", parameters.toLocaleString("en-US")]),
		row(["stored as", dtypes.join(", ")]),
		row(["size of the weights", formatBytes(bytes)])
	].join("\n");
	const typescript = [
		"import { fromPretrained } from 'ministral-tune';",
		"",
		`const { model, processor } = await fromPretrained('${repoId}');`
	];
	const python = [
		"from transformers import AutoModelForImageTextToText, AutoProcessor",
		"",
		`model = AutoModelForImageTextToText.from_pretrained("${repoId}", dtype="auto", device_map="auto")`,
		`processor = AutoProcessor.from_pretrained("${repoId}")`
	];
	const serve = `vllm serve ${repoId} \\\n  --config-format hf --load-format safetensors --tokenizer-mode hf`;
	return {
		repoId,
		baseModel,
		noun: "model",
		introduction: `${baseModel ? baseLink(baseModel) : "A model"} with a LoRA adapter merged into its weights by ministral-tune.`,
		library: "transformers",
		relation: "finetune",
		tags: ["lora", "ministral-tune"],
		sections: [
			model,
			usageSection(typescript, python),
			`### vLLM\n\n${fence(serve, "sh")}`
		]
	};
}
// src/publish/push-to-hub.ts
const pushToHubSchema = pushFilesSchema.extend({
	modelCard: modelCardSchema.prefault({}),
	overwriteCard: boolean().default(false),
	chatTemplate: chatTemplateFields.chatTemplate,
	processor: chatTemplateFields.processor
});
async function pushToHub(directory, id, options = {}) {
	requirePath(directory, "pushToHub");
	const parsed = parseOptions(pushToHubSchema, options, "pushToHub");
	return whileUploading(directory, parsed, () => push(directory, id, parsed));
}
async function push(directory, id, options) {
	const { modelCard: card, overwriteCard, chatTemplate, processor, ...push } = options;
	const template = chatTemplateText({
		chatTemplate,
		processor
	});
	const isModel = (await describeFolder(directory)).kind === "model" && !await exists(join(directory, "adapter_config.json"));
	const what = isModel ? "merged model" : "adapter";
	const upload = await (isModel ? mergedUpload : adapterUpload)(directory, card.baseModel);
	const repoId = await ownedRepoId(id, push);
	const warn = push.onWarning ?? ((line) => process.emitWarning(line, "LoraWarning"));
	for (const line of upload.warnings) warn(line);
	const files = [
		...upload.files.filter(({ path }) => template === void 0 || path !== "chat_template.jinja"),
		...template === void 0 ? [] : [{
			path: CHAT_TEMPLATE_FILE,
			text: template
		}],
		...card.pictures.map(({ path }) => ({
			path: imagePath(path),
			source: path
		})),
		cardFile(renderModelCard(card, upload.subject(repoId)), overwriteCard)
	];
	const names = files.map(({ path }) => path);
	const twice = names.filter((name, i) => names.indexOf(name) !== i);
	if (twice.length > 0) throw new ConfigError(`pushToHub: several images would become ${[...new Set(twice)].join(", ")}`);
	const commitMessage = push.commitMessage ?? `Upload ${what} with ministral-tune`;
	const result = await pushFiles(repoId, files, {
		...push,
		commitMessage
	}, upload.refuse);
	if (result.kept.length > 0) warn(`${repoId}: README.md on the Hub was edited there and is kept, so it does not show what \`modelCard\` says now; \`overwriteCard: true\` replaces it`);
	return result;
}
function cardFile(card, overwrite) {
	const merge = (there) => overwrite || isReplaceable(there) ? markedCard(card, there) : void 0;
	return {
		path: "README.md",
		text: markedCard(card),
		merge
	};
}
export { ArchiveError, ChatTemplate, CheckpointError, ConfigError, ConversationDataset, DataError, DiskError, EngineError, Evaluator, HubError, HubImageFolder, ImageError, ImageFolder, ImagePool, IndexedDataset, KaggleError, KaggleImageFolder, LAYER_PROJECTIONS, LabelledDataset, LoraConfig, Ministral3, OutOfMemoryError, SftTrainer, TUTORIAL_TEMPLATE, TextError, TrainingError, TransferError, TuneError, VisionLanguageModel, VlmCollator, abortOnSignals, activeAdapter, adaptersOf, applyLora, checkPushAccess, compareReports, countLabels, createEngine, deleteAdapter, formatHubProgress, formatReport, fromPretrained, generate, generateText, generateTokens, loadAdapter, loadMinistral3, loadModel, loadProcessor, loadTfjs, mergeAdapter, pushToHub, randomPermutation, readHistory, saveAdapter, scoreLabels, setAdapter, streamText, verifyAdapter, writeReport };
