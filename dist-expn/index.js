import {
  closeDeadTerminalsAtExit,
  fitPieces,
  formatDuration,
  guardStandardOutput,
  terminalLine
} from "./chunk-2NFZ6ZXP.js";
import {
  BestModelTracker,
  OtherRunError,
  RunLog,
  changedSettings,
  checkpointName,
  claimRunFolder,
  evaluationWarnings,
  explainVanished,
  fingerprintDataset,
  isCheckpoint,
  judgeOf,
  listCheckpoints,
  readCheckpoint,
  readCheckpointParameters,
  readHistory,
  removeCheckpointFolder,
  requireCheckpointOf,
  runSettings,
  savedFingerprints,
  tidyCheckpointFolders,
  writeCheckpoint
} from "./chunk-TUAEKMHA.js";
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_SELECTION,
  ADAPTER_WEIGHTS_FILE,
  ArchiveError,
  CHAT_TEMPLATE_FILE,
  ChatTemplate,
  ConversationDataset,
  HubImageFolder,
  ImageFolder,
  KaggleImageFolder,
  LAYER_PROJECTIONS,
  LOAD_ALIASES,
  LoraConfig,
  PROCESSOR_FILES,
  QuantizedCheckpoint,
  Sampler,
  TUTORIAL_TEMPLATE,
  VisionLanguageModel,
  VlmCollator,
  activeAdapter,
  adapterFolder,
  adapterNameSchema,
  adaptersOf,
  applyLora,
  asTfNamespace,
  baseOf,
  cachedRepo,
  chatTemplateFields,
  chatTemplateText,
  createEngine,
  deleteAdapter,
  describeFolder,
  findImageProcessor,
  isLocalName,
  loadFrom,
  loadModel,
  loadProcessor,
  otherBaseWarning,
  parseQuantization,
  parseQuantizationOption,
  putOn,
  readTogether,
  requireAdapter,
  requireBatch,
  requireEngine,
  requireLoraHost,
  requireModelFolder,
  saveAdapter,
  selectTargetModules,
  setAdapter,
  visionServingAdvice,
  warnWith,
  whileUploading
} from "./chunk-GRMVVBZU.js";
import "./chunk-L7P565ON.js";
import {
  WorkerThreads,
  requireUnchanged
} from "./chunk-WDIWWTAP.js";
import "./chunk-TDTBSBKW.js";
import {
  DataLoader
} from "./chunk-7IT2LZVT.js";
import {
  styled
} from "./chunk-HDH4MICY.js";
import {
  MinistralTokenizer,
  nameSample
} from "./chunk-VFH7E2AA.js";
import "./chunk-IH2E5KFM.js";
import {
  MODEL_GRACE,
  WindowStep,
  evaluateDataset,
  learningRateFactors
} from "./chunk-TBQ3UDN5.js";
import {
  PackedWindow,
  adapterTensorName,
  dequantizedSource,
  exclusively,
  linearModuleName,
  modelPart,
  parseAdapterTensorName,
  requirePrecision,
  toDiskName,
  toMemoryName,
  windowParts
} from "./chunk-KDLJ5W55.js";
import {
  learningRateFactor,
  optimizerKind,
  parseSftConfig,
  resolveSteps,
  scheduleOf,
  scheduleRun,
  scheduleWarnings,
  sftConfigSchema
} from "./chunk-HGMOXDPT.js";
import {
  ParameterLease
} from "./chunk-DZ77V5X3.js";
import {
  IGNORE_INDEX,
  afterAbort,
  orAborted
} from "./chunk-IKDNPGDK.js";
import {
  FILE_DTYPES,
  INDEX_FILE,
  SafetensorsFile,
  ShardedCheckpoint,
  engineDtype,
  readShardIndex,
  writeSafetensors
} from "./chunk-PAQI2PBC.js";
import {
  DTYPE_BYTES,
  float32ToBfloat16,
  float32ToFloat16,
  widen
} from "./chunk-K6IUIOJN.js";
import {
  MODEL_FILES,
  RetryBudget,
  SilenceWatch,
  asHubError,
  askHub,
  authorization,
  connectHub,
  errorOf,
  explainAnswer,
  fileAddress,
  folderOrSnapshot,
  formatHubProgress,
  hubConnectionSchema,
  hubDownloadSchema,
  listTree,
  mayBeLoopback,
  parseRepoId,
  parseRevision,
  plainRepoName,
  requestJson,
  requestSettings,
  resolveRevision,
  sendRequest,
  withRetries
} from "./chunk-2ASCTJQN.js";
import {
  TOKEN_HINT,
  offlineReason
} from "./chunk-A7PJQE4O.js";
import "./chunk-KJBHL2WW.js";
import {
  HeldError,
  OwnerLock,
  describeOwner
} from "./chunk-YI47EYXL.js";
import {
  formatBytes
} from "./chunk-VSPP423R.js";
import {
  readJson
} from "./chunk-BBRBU2CC.js";
import "./chunk-LI7ZAALO.js";
import {
  decodeWithin
} from "./chunk-H6FPVXEN.js";
import "./chunk-HQ42KN2I.js";
import {
  IndexedDataset,
  LabelledDataset,
  imageName,
  requireImage
} from "./chunk-7KTYTFUM.js";
import {
  onAbort
} from "./chunk-D2LTRNTC.js";
import {
  firstLines,
  shortList
} from "./chunk-2FCRM4RN.js";
import "./chunk-7IZMHX3X.js";
import {
  GENERATE_HINT,
  SCORE_HINT,
  argmax,
  bootstrapIntervals,
  buildReport,
  requireAnswers,
  requireChoices,
  requireClassNames,
  requireEvaluation,
  requireExample,
  requireItem,
  requireModeOptions,
  requireScores,
  softmax
} from "./chunk-K6OZUUVR.js";
import "./chunk-Z74CKZ46.js";
import {
  compareReports,
  escapeMarkdown,
  formatReport,
  markdownCode,
  requireClasses,
  requireSamples,
  writeReport,
  yamlString
} from "./chunk-342NUGTI.js";
import {
  flushFolder,
  flushTree,
  writeFileAtomically
} from "./chunk-HYGW4OEJ.js";
import "./chunk-VU5T6OS4.js";
import {
  eventLoopTurn,
  findNotFinite,
  isTurnDue
} from "./chunk-AFLAU3PL.js";
import {
  MersenneTwister,
  randomPermutation
} from "./chunk-LWDR4SPD.js";
import {
  exists,
  readRegularFile
} from "./chunk-4SGRRHUY.js";
import "./chunk-AQMU4HCF.js";
import {
  callback,
  checkNames,
  describeGiven,
  isKind,
  isObject,
  isOptions,
  isPromise,
  parseOptions,
  requireBoolean,
  requireCallback,
  requireInteger,
  requireKind,
  requirePath,
  requireSignal,
  showValue
} from "./chunk-N2SAG2IF.js";
import {
  CheckpointError,
  ConfigError,
  DataError,
  DiskError,
  EngineError,
  HubError,
  ImageError,
  KaggleError,
  OutOfMemoryError,
  TextError,
  TrainingError,
  TransferError,
  TuneError,
  oneLine,
  printable,
  reasonOf,
  redact,
  warningLine
} from "./chunk-55YTAYRT.js";

// src/data/image-pool.ts
import { availableParallelism } from "node:os";
import * as z from "zod";

// src/generated/image-worker.ts
var image_worker_default = '"use strict";\n\n// src/data/image-worker.ts\nvar import_node_worker_threads = require("node:worker_threads");\n\n// src/data/resample.ts\nfunction cubic(distance) {\n  const a = -0.5;\n  const x = Math.abs(distance);\n  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;\n  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;\n  return 0;\n}\nfunction axisWeights(inputSize, outputSize) {\n  const scale = inputSize / outputSize;\n  const support = 2 * Math.max(scale, 1);\n  const inverse = scale >= 1 ? 1 / scale : 1;\n  const capacity = Math.ceil(support) * 2 + 1;\n  const first = new Int32Array(outputSize);\n  const count = new Int32Array(outputSize);\n  const real = new Float64Array(outputSize * capacity);\n  let largest = 0;\n  let taps = 0;\n  for (let i = 0; i < outputSize; i++) {\n    const centre = scale * (i + 0.5);\n    const low = Math.max(Math.trunc(centre - support + 0.5), 0);\n    const high = Math.min(Math.trunc(centre + support + 0.5), inputSize);\n    const used = Math.min(Math.max(high - low, 0), capacity);\n    const row = i * capacity;\n    let total = 0;\n    for (let j = 0; j < used; j++) {\n      const weight = cubic((j + low - centre + 0.5) * inverse);\n      real[row + j] = weight;\n      total += weight;\n    }\n    for (let j = 0; j < used; j++) {\n      const weight = total === 0 ? real[row + j] : real[row + j] / total;\n      real[row + j] = weight;\n      if (weight > largest) largest = weight;\n    }\n    first[i] = low;\n    count[i] = used;\n    if (used > taps) taps = used;\n  }\n  taps = Math.ceil(taps / 4) * 4;\n  let precision = 0;\n  while (precision < 22 && Math.trunc(0.5 + largest * 2 ** (precision + 1)) < 32768) precision++;\n  const one = 2 ** precision;\n  const weights = new Int32Array(outputSize * taps);\n  for (let i = 0; i < outputSize; i++) {\n    for (let j = 0; j < count[i]; j++) {\n      const weight = real[i * capacity + j] * one;\n      weights[i * taps + j] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);\n    }\n  }\n  return { taps, first, count, weights, precision };\n}\nvar CACHED_AXES = 256;\nvar cache = /* @__PURE__ */ new Map();\nfunction cachedAxisWeights(inputSize, outputSize) {\n  const key = `${inputSize}>${outputSize}`;\n  let axis = cache.get(key);\n  if (axis) cache.delete(key);\n  else axis = axisWeights(inputSize, outputSize);\n  cache.set(key, axis);\n  if (cache.size > CACHED_AXES) cache.delete(cache.keys().next().value);\n  return axis;\n}\nfunction horizontalPass(input, height, inputWidth, outputWidth) {\n  const axis = cachedAxisWeights(inputWidth, outputWidth);\n  const bytes = new Uint8Array(height * outputWidth * 3);\n  const output = new Uint8ClampedArray(bytes.buffer);\n  if (axis.taps === 4 && inputWidth >= 4) fourTapRows(input, output, height, inputWidth, outputWidth, axis);\n  else anyTapRows(input, output, height, inputWidth, outputWidth, axis);\n  return bytes;\n}\nfunction anyTapRows(input, output, height, inputWidth, outputWidth, { taps, first, count, weights, precision }) {\n  const half = 1 << precision >> 1;\n  let to = 0;\n  for (let y = 0; y < height; y++) {\n    const rowStart = y * inputWidth * 3;\n    for (let x = 0; x < outputWidth; x++) {\n      let from = rowStart + first[x] * 3;\n      let w = x * taps;\n      const end = w + count[x];\n      let red = half;\n      let green = half;\n      let blue = half;\n      for (; w < end; w++, from += 3) {\n        const weight = weights[w];\n        red += Math.imul(weight, input[from]);\n        green += Math.imul(weight, input[from + 1]);\n        blue += Math.imul(weight, input[from + 2]);\n      }\n      output[to] = red >> precision;\n      output[to + 1] = green >> precision;\n      output[to + 2] = blue >> precision;\n      to += 3;\n    }\n  }\n}\nfunction fourTapRows(input, output, height, inputWidth, outputWidth, { first, count, weights, precision }) {\n  const half = 1 << precision >> 1;\n  const starts = new Int32Array(outputWidth);\n  const shifted = new Int32Array(outputWidth * 4);\n  for (let x = 0; x < outputWidth; x++) {\n    const start = Math.min(first[x], inputWidth - 4);\n    starts[x] = start * 3;\n    for (let j = 0; j < count[x]; j++) shifted[x * 4 + first[x] - start + j] = weights[x * 4 + j];\n  }\n  let to = 0;\n  for (let y = 0; y < height; y++) {\n    const rowStart = y * inputWidth * 3;\n    for (let x = 0; x < outputWidth; x++) {\n      const p = rowStart + starts[x];\n      const w = x << 2;\n      const a = shifted[w];\n      const b = shifted[w + 1];\n      const c = shifted[w + 2];\n      const d = shifted[w + 3];\n      output[to] = half + Math.imul(a, input[p]) + Math.imul(b, input[p + 3]) + Math.imul(c, input[p + 6]) + Math.imul(d, input[p + 9]) >> precision;\n      output[to + 1] = half + Math.imul(a, input[p + 1]) + Math.imul(b, input[p + 4]) + Math.imul(c, input[p + 7]) + Math.imul(d, input[p + 10]) >> precision;\n      output[to + 2] = half + Math.imul(a, input[p + 2]) + Math.imul(b, input[p + 5]) + Math.imul(c, input[p + 8]) + Math.imul(d, input[p + 11]) >> precision;\n      to += 3;\n    }\n  }\n}\nfunction verticalPass(input, inputHeight, outputHeight, stride) {\n  const { taps, first, count, weights, precision } = cachedAxisWeights(inputHeight, outputHeight);\n  const bytes = new Uint8Array(outputHeight * stride);\n  const output = new Uint8ClampedArray(bytes.buffer);\n  const half = 1 << precision >> 1;\n  const sums = new Int32Array(stride);\n  const rows = new Int32Array(4);\n  for (let y = 0; y < outputHeight; y++) {\n    sums.fill(half);\n    const to = y * stride;\n    for (let tap = 0; tap < count[y]; tap += 4) {\n      const last = tap + 4 >= count[y];\n      for (let j = 0; j < 4; j++) rows[j] = Math.min(first[y] + tap + j, inputHeight - 1) * stride;\n      const [a, b, c, d] = rows;\n      const w = y * taps + tap;\n      const w0 = weights[w];\n      const w1 = weights[w + 1];\n      const w2 = weights[w + 2];\n      const w3 = weights[w + 3];\n      for (let x = 0; x < stride; x++) {\n        const upper = Math.imul(w0, input[a + x]) + Math.imul(w1, input[b + x]);\n        const lower = Math.imul(w2, input[c + x]) + Math.imul(w3, input[d + x]);\n        const sum = sums[x] + upper + lower;\n        if (last) output[to + x] = sum >> precision;\n        else sums[x] = sum;\n      }\n    }\n  }\n  return bytes;\n}\nfunction resampleBicubic(image, width, height) {\n  let data = image.data;\n  if (width !== image.width) data = horizontalPass(data, image.height, image.width, width);\n  if (height !== image.height) data = verticalPass(data, image.height, height, width * 3);\n  return data === image.data ? image : { width, height, data };\n}\n\n// src/data/process-pixels.ts\nfunction resizedSize(width, height, { longestEdge, cellSize }) {\n  const ratio = Math.max(height / longestEdge, width / longestEdge);\n  const wholeCells = (side) => (Math.floor(((ratio > 1 ? Math.floor(side / ratio) : side) - 1) / cellSize) + 1) * cellSize;\n  return { width: wholeCells(width), height: wholeCells(height) };\n}\nfunction normalisationTable({ imageMean, imageStd, rescaleFactor }) {\n  const { fround } = Math;\n  const inverse = fround(1 / rescaleFactor);\n  const table = new Float32Array(3 * 256);\n  for (let channel = 0; channel < 3; channel++) {\n    const mean = fround(fround(imageMean[channel]) * inverse);\n    const std = fround(fround(imageStd[channel]) * inverse);\n    for (let level = 0; level < 256; level++) table[channel * 256 + level] = fround(level - mean) / std;\n  }\n  return table;\n}\nfunction processPixels(image, settings2) {\n  const target = resizedSize(image.width, image.height, settings2);\n  const { width, height, data } = resampleBicubic(image, target.width, target.height);\n  const table = normalisationTable(settings2);\n  const [red, green, blue] = [table.subarray(0, 256), table.subarray(256, 512), table.subarray(512)];\n  const plane = width * height;\n  const pixelValues = new Float32Array(3 * plane);\n  for (let i = 0, from = 0; i < plane; i++, from += 3) {\n    pixelValues[i] = red[data[from]];\n    pixelValues[plane + i] = green[data[from + 1]];\n    pixelValues[2 * plane + i] = blue[data[from + 2]];\n  }\n  return { pixelValues, height, width };\n}\n\n// src/data/image-worker.ts\nvar port = import_node_worker_threads.parentPort;\nvar settings = import_node_worker_threads.workerData;\nvar nowhere = new import_node_worker_threads.MessageChannel();\nnowhere.port2.close();\nport?.on("message", (image) => {\n  try {\n    const result = processPixels(image, settings);\n    port.postMessage({ result }, [result.pixelValues.buffer]);\n  } catch (error) {\n    port.postMessage({ error });\n  }\n  nowhere.port1.postMessage(void 0, [image.data.buffer]);\n});\n';

// src/data/image-pool.ts
var imagePoolSchema = z.strictObject({
  /** Worker threads. Default: one for each core, at most 4. */
  workers: z.number().int().min(1).max(64).optional()
});
var ImagePool = class {
  /** Whose settings the workers compute with. */
  processor;
  /** Worker threads at most. */
  workers;
  #waiting = [];
  #decoded = [];
  /** Begun and not yet out of the pool: their pixels may be in memory. */
  #begun = /* @__PURE__ */ new Set();
  #threads;
  #closed = false;
  /** @throws ConfigError */
  constructor(processor, options = {}) {
    requireKind("imageProcessor", processor, "ImagePool");
    this.processor = processor;
    this.workers = parseOptions(imagePoolSchema, options, "ImagePool").workers ?? Math.min(4, Math.max(1, availableParallelism()));
    this.#threads = new WorkerThreads(image_worker_default, this.workers, processor.settings);
  }
  /**
   * As `ImageProcessor.process`. Aborting rejects at once with the signal's reason; an image that is already with a
   * worker is finished there and dropped.
   * @throws ImageError naming the image, DataError if the pool is closed
   */
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
    return new Promise((resolve7, reject) => {
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
        resolve: settle(resolve7),
        reject: settle(reject)
      };
      const forget = onAbort(signal, abort);
      this.#waiting.push(job);
      this.#begin();
    });
  }
  /** Ends the workers. What has not been answered is rejected with a DataError. */
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
  /** The same as `close`. */
  [Symbol.asyncDispose]() {
    return this.close();
  }
  #begin() {
    while (this.#begun.size < 2 * this.workers && this.#waiting.length > 0) {
      const job = this.#waiting.shift();
      this.#begun.add(job);
      void this.#decode(job);
    }
  }
  async #decode(job) {
    try {
      const { image, release } = await decodeWithin(job.input, job.stop.signal);
      job.release = release;
      this.processor.resizedSize(image.width, image.height, job.name);
      if (!job.settled) job.image = { width: image.width, height: image.height, data: image.data.slice() };
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
      void this.#threads.run(image, [image.data.buffer], job.stop.signal, "wait").then(job.resolve, (error) => job.reject(workerError(job, error))).then(() => {
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
  for (let i = 0; i < data.length; i++) {
    if (i % columns !== 0 && mask[i] && mask[i - 1] && data[i] !== IGNORE_INDEX) count++;
  }
  return count;
}

// src/engine/tfjs/load-tfjs.ts
import { createRequire } from "node:module";
import { resolve } from "node:path";
import * as util from "node:util";
var PACKAGES = {
  "tfjs-node-gpu": "for an NVIDIA card under Linux or Windows on x64, with the libraries of CUDA 11.2 and cuDNN 8.1: those of CUDA 12 and 13 do not serve",
  "tfjs-node": "for the CPU"
};
var NODE_LIMIT = "Node 22 is the newest that they run on.";
var installing = (name) => `npm install @tensorflow/${name} (${PACKAGES[name]})`;
async function loadTfjs(choice = "tfjs", from = process.cwd()) {
  if (choice !== "tfjs" && !Object.hasOwn(PACKAGES, choice)) {
    throw new EngineError(`there is no TensorFlow.js package ${describeGiven(choice)} to load`, {
      hint: "choose one of: tfjs, tfjs-node, tfjs-node-gpu; any other namespace is passed to createEngine as `tf`"
    });
  }
  requirePath(from, "loadTfjs: `from`");
  const load = createRequire(resolve(from, "index.js"));
  const wanted = choice === "tfjs" ? Object.keys(PACKAGES) : [choice];
  const found = wanted.find((name) => isInstalled(load, name));
  if (!found) {
    const packages = wanted.map((one) => `@tensorflow/${one}`).join(" or ");
    throw new EngineError(`${packages} is not installed for ${from}`, {
      hint: `${wanted.map(installing).join(", or ")}. ${NODE_LIMIT}`,
      details: { from, packages: wanted }
    });
  }
  if (typeof util.isNullOrUndefined !== "function") {
    throw new EngineError(
      `@tensorflow/${found} does not run on Node ${process.versions.node}: it calls util.isNullOrUndefined, which Node 23 removed`,
      { hint: "use Node 22 or 20 with engine tfjs, or engine cuda or cpu with this one" }
    );
  }
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

// src/pretrained/from-pretrained.ts
import { readdir as readdir2 } from "node:fs/promises";
import { join as join3, resolve as resolve2 } from "node:path";
import * as z3 from "zod";

// src/lora/adapter-file.ts
import * as z2 from "zod";

// src/lora/read-adapter.ts
import { join as join2 } from "node:path";

// src/lora/foreign-adapter.ts
import { readdir } from "node:fs/promises";
import { join } from "node:path";
var EXPECTED = `Give the folder of an adapter: ${ADAPTER_CONFIG_FILE} and ${ADAPTER_WEIGHTS_FILE}.`;
var MLX_HINT = "mlx keeps lora_a and lora_b transposed and under other names. Fuse it into its model with mlx (fuse --de-quantize), or convert it: lora_A = lora_a\u1D40, lora_B = lora_b\u1D40, keys base_model.model.NAME.lora_A.weight, lora_alpha = scale \xB7 rank.";
async function requireAdapterFolder(directory) {
  if (await exists(join(directory, ADAPTER_CONFIG_FILE))) return;
  const { kind, text: text2, children } = await describeFolder(directory);
  throw new CheckpointError(`cannot read ${join(directory, ADAPTER_CONFIG_FILE)}: the folder ${text2}`, {
    hint: folderHint(kind, children),
    details: { path: directory, kind }
  });
}
function folderHint(kind, children) {
  if (kind === "model") return `That is a model: fromPretrained loads it. ${EXPECTED}`;
  if (kind === "images") return `That is a data set: ImageFolder.fromFolder reads it. ${EXPECTED}`;
  if (kind === "foreign" || kind === "mlx") return `Export it in PEFT's format with the tool that made it. ${EXPECTED}`;
  if (kind === "parent") return `Give the subfolder, e.g. ${children[0]}.`;
  if (kind === "adapter")
    return `Copy ${ADAPTER_CONFIG_FILE} beside the weights: it says their rank, alpha and targets.`;
  if (kind === "none") {
    return `Check the path; for a repository on the Hub, snapshotDownload gives the folder. ${EXPECTED}`;
  }
  return EXPECTED;
}
function refuseForeignConfig(json, path) {
  if (typeof json !== "object" || json === null || Array.isArray(json) || "peft_type" in json) return;
  const has = (...keys) => keys.some((key) => key in json);
  const refuse = (what, hint) => {
    throw new ConfigError(`${path} is ${what}`, { hint, details: { path } });
  };
  if (has("lora_parameters", "lora_layers", "num_layers", "fine_tune_type")) {
    refuse("the configuration of an mlx adapter, not of PEFT", MLX_HINT);
  }
  if (has("rank") && has("alpha", "scale") && !has("r", "lora_alpha")) {
    refuse("the configuration of an mlx-vlm adapter, not of PEFT", MLX_HINT);
  }
  if (has("model_type", "architectures", "text_config")) {
    refuse("a model's config.json, not an adapter's configuration", `Put ${ADAPTER_CONFIG_FILE} of the adapter there.`);
  }
  if (has("base_model", "adapter", "datasets", "sequence_len")) {
    refuse(
      "the configuration of a training tool, not of PEFT",
      `Its output folder holds the ${ADAPTER_CONFIG_FILE} that PEFT wrote.`
    );
  }
}
async function requireAdapterWeights(directory) {
  if (await exists(join(directory, ADAPTER_WEIGHTS_FILE))) return;
  const has = (name) => exists(join(directory, name));
  const refuse = (what, hint) => {
    throw new CheckpointError(`${directory} holds ${what}`, { hint, details: { path: directory } });
  };
  if (await has("adapter_model.bin")) {
    refuse(
      "adapter_model.bin, a Python pickle, which is never read",
      "Load it in PEFT once and save it again: that writes adapter_model.safetensors."
    );
  }
  if (await has("adapters.safetensors")) refuse("adapters.safetensors, the weights of an mlx adapter", MLX_HINT);
  const names = await readdir(directory).catch(() => []);
  const shard = names.find((name) => /^adapter_model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/.test(name));
  if (shard !== void 0) {
    refuse(
      `the weights of an adapter in several files (${shard})`,
      "Save it in PEFT with a larger max_shard_size, so that it is one file."
    );
  }
  const foreign = names.find((name) => /^(adapter_\d+\.pt|lora\.safetensors|pytorch_lora_weights\..*)$/.test(name));
  if (foreign !== void 0) {
    refuse(
      `${foreign}, the weights of an adapter in the layout of another tool (torchtune, mistral-finetune, diffusers)`,
      `Export it in PEFT's format there: ${ADAPTER_WEIGHTS_FILE}.`
    );
  }
  refuse(
    `${ADAPTER_CONFIG_FILE} but no ${ADAPTER_WEIGHTS_FILE}`,
    "The download or the save was not finished, or the weights lie in a checkpoint folder beside it."
  );
}

// src/lora/explain-keys.ts
var KEY_KINDS = [
  { matches: /\.lora_[ab]$/, what: "those of an mlx adapter (lora_a, lora_b)", hint: MLX_HINT },
  { matches: /_proj\.[AB]$/, what: "those of an mlx-vlm adapter (A, B)", hint: MLX_HINT },
  {
    matches: /\.lora_[ab]\.weight$/,
    what: "those of a torchtune adapter (lora_a, lora_b)",
    hint: "torchtune's FullModelHFCheckpointer saves PEFT's format too: adapter_model.safetensors with lora_A and lora_B."
  },
  {
    matches: /(^|\.)layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])\.lora_/,
    what: "those of Mistral\u2019s own layout (attention.wq), as mistral-finetune writes them",
    hint: "Its layers have other names and its rows of wq and wk another order. Merge it there (merge_lora), or train it again on the Hugging Face files."
  },
  {
    matches: /\.(linear_(qkv|proj|fc1|fc2)|adapter)\./,
    what: "those of a NeMo or Megatron model (linear_qkv)",
    hint: "Export it to the Hugging Face layout with that tool: q, k and v are one layer there."
  },
  {
    matches: /^(base_model\.model\.)?(model\.){0,2}layers\.\d+\..*\.lora_[AB]\./,
    what: "those of a text-only model (model.layers\u2026)",
    hint: 'It was trained on the language model alone (a causal-LM class, a text-only Unsloth or mlx run, or a server\u2019s renaming); here the decoder is called model.language_model. If its base is the decoder of this model, write "base_model.model.model.language_model.layers" for "base_model.model.model.layers" in all keys and load it with the option towers: "language"; else train it on the vision-language model.'
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
var NOT_FINITE = {
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
  const shown = [...names].map((name) => name === void 0 ? "one without a name" : `"${name}"`).join(", ");
  return {
    reason: `the file holds several adapters: ${shown}`,
    hint: "PEFT writes each into a folder of its own: model.save_pretrained(folder, selected_adapters=[\u2026])."
  };
}
function explainKeys(unfit, all, known, base) {
  const moduleOf = (key) => parseAdapterTensorName(key)?.module ?? "";
  const heads = unfit.filter((key) => /^(model\.)?lm_head$/.test(moduleOf(key)));
  if (heads.length > 0) {
    return {
      reason: `${heads.length} of ${all} keys are LoRA matrices of the output head (lm_head)`,
      hint: "The output head cannot be adapted on a loaded model. mergeAdapter folds such an adapter into its base checkpoint: load the merged folder then. Or train it without lm_head."
    };
  }
  for (const { matches, what, hint } of KEY_KINDS) {
    const found = unfit.filter((key) => matches.test(key));
    if (found.length > 0) return { reason: `${found.length} of ${all} keys are ${what}, e.g. ${found[0]}`, hint };
  }
  const spelled = explainPrefix(unfit, all, known);
  if (spelled) return spelled;
  const chosen = unfit.filter((key) => known.has(moduleOf(key)));
  if (chosen.length > 0) {
    return {
      reason: `${chosen.length} of ${all} keys are of layers that adapter_config.json does not choose, e.g. ${chosen[0]}`,
      hint: "Name them in its target_modules, as they were in training: the two files belong to different adapters."
    };
  }
  if (unfit.length < all || all === 0) return void 0;
  return {
    reason: `none of its ${all} keys is of a layer of this model, e.g. ${unfit[0]}`,
    hint: `It was trained on another kind of model${base === void 0 ? "" : `, "${base}"`}: load it onto that one.`
  };
}
function explainPrefix(unfit, all, known) {
  const prefixes = /* @__PURE__ */ new Map();
  for (const name of known) {
    const [, prefix2, tail2] = SPLIT.exec(name) ?? [];
    if (tail2 !== void 0) prefixes.set(tail2, prefix2);
  }
  const found = unfit.filter((key) => {
    const [, prefix2, tail2] = SPLIT.exec(parseAdapterTensorName(key)?.module ?? "") ?? [];
    const here = prefixes.get(tail2 ?? "");
    return here !== void 0 && here !== prefix2;
  });
  if (found.length === 0) return void 0;
  const [, prefix, tail] = SPLIT.exec(parseAdapterTensorName(found[0]).module);
  return {
    reason: `${found.length} of ${all} keys spell the layers otherwise: "${prefix}" where this model has "${prefixes.get(tail)}"`,
    hint: `Rename the keys in ${ADAPTER_WEIGHTS_FILE}: PEFT writes base_model.model.${prefixes.get(tail)}\u2026 for this model.`
  };
}
var SPLIT = /^(.*?)(layers\.\d+\..+)$/;

// src/lora/read-adapter.ts
var MAX_LISTED_FAULTS = 40;
var MAX_TEMPLATE_BYTES = 1048576;
var OUTPUT_HEAD = "lm_head";
function readAdapter(directory, linears, options = {}) {
  return readTogether(directory, () => readFiles(directory, linears, options));
}
async function readFiles(directory, linears, options) {
  const { config: stored, origin } = await readAdapterConfig(directory);
  const wanted = options.towers ? stored.with({ towers: options.towers }) : stored;
  const path = join2(directory, ADAPTER_WEIGHTS_FILE);
  await requireSoundWeights(directory);
  const file = await SafetensorsFile.open(path);
  try {
    const faults = [];
    const unfit = [];
    const misfit = (key, why) => {
      unfit.push(key);
      faults.push(`${key}: ${why}`);
    };
    const keys = /* @__PURE__ */ new Map();
    const adapterNames = /* @__PURE__ */ new Set();
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
      ({ matched } = selectTargetModules(
        adaptable.map(({ name }) => name),
        wanted,
        spelling
      ));
    } catch (cause) {
      const known = new Set(adaptable.map(({ name }) => name));
      const others = [...file.tensors.keys()].filter((key) => !known.has(parseAdapterTensorName(key)?.module ?? ""));
      const explained = explainKeys(others, file.tensors.size, known, origin.baseModelNameOrPath);
      if (!explained) throw cause;
      throw new CheckpointError(`${path} does not fit the model; ${explained.reason}`, {
        hint: explained.hint,
        details: { path, reason: explained.reason },
        cause
      });
    }
    const shapes = new Map(adaptable.map(({ name, shape }) => [name, shape]));
    const expected = /* @__PURE__ */ new Map();
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
        if (info.shape.join() !== shape.join()) {
          faults.push(`${key}: shape [${info.shape.join(", ")}], expected [${shape.join(", ")}]`);
        }
      }
    }
    for (const [name, key] of keys) {
      if (expected.has(name)) continue;
      const isInModel = shapes.has(parseAdapterTensorName(key).module);
      misfit(
        key,
        isInModel ? `unexpected, ${ADAPTER_CONFIG_FILE} does not choose this layer` : "unexpected, the model has no such layer"
      );
    }
    const count = { expected: expected.size, found: file.tensors.size, missing };
    if (faults.length > 0) {
      const explained = explainEmpty([...file.tensors.values()]) ?? (isRepeated ? explainNames(adapterNames) : void 0) ?? explainKeys(unfit, file.tensors.size, new Set(shapes.keys()), origin.baseModelNameOrPath);
      throw badTensors(path, faults, count, explained);
    }
    const values = /* @__PURE__ */ new Map();
    for (const name of expected.keys()) {
      const key = keys.get(name);
      const array3 = await file.readFloat32(key);
      const bad = await findNotFinite(array3);
      if (bad >= 0) faults.push(`${key}: element ${bad} is ${array3[bad]}, which is not finite`);
      values.set(name, array3);
    }
    if (faults.length > 0) throw badTensors(path, faults, count, NOT_FINITE);
    const modules = matched.map((name) => {
      const { r, scale } = wanted.forModule(spelling(name));
      const [a, b] = [values.get(adapterTensorName(name, "A")), values.get(adapterTensorName(name, "B"))];
      return { name, r, scale, a, b };
    });
    const config = old ? inCurrentNames(wanted, matched) : wanted;
    return { config, modules, values, origin, warnings: oddNames(path, adapterNames) };
  } finally {
    await file.close();
  }
}
async function adapterData(adapter) {
  const values = await adapter.readValues();
  const modules = adapter.modules.map(({ module, r, a, b }) => {
    const { scale } = adapter.config.forModule(module.name);
    return { name: module.name, r, scale, a: values.get(a.name), b: values.get(b.name) };
  });
  return { config: adapter.config, modules, values, origin: adapter.origin, warnings: [] };
}
async function requireSoundWeights(directory) {
  await requireAdapterWeights(directory);
  await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
}
async function readAdapterConfig(directory) {
  const path = join2(directory, ADAPTER_CONFIG_FILE);
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
  const text2 = (key) => {
    const value = json[key];
    return typeof value === "string" && value.trim() !== "" ? value.trim() : void 0;
  };
  const chatTemplate = await readChatTemplate(directory);
  return {
    config,
    origin: { baseModelNameOrPath: text2("base_model_name_or_path"), revision: text2("revision"), chatTemplate }
  };
}
async function readChatTemplate(directory) {
  const path = join2(directory, CHAT_TEMPLATE_FILE);
  try {
    return (await readRegularFile(path, MAX_TEMPLATE_BYTES)).toString("utf8");
  } catch (cause) {
    if (cause.code === "ENOENT") return void 0;
    throw new CheckpointError(`cannot read ${path}: ${cause.message}`, { cause, details: { path } });
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
  return [
    `${path}: the keys hold the adapter's name (lora_A.${oneLine(inside[0])}.weight), which PEFT's own files never do; it is read as if they did not, and saved again without it`
  ];
}
function badTensors(path, faults, { expected, found, missing }, explained) {
  const listed = firstLines(faults, MAX_LISTED_FAULTS);
  const reason = explained ? `; ${explained.reason}` : "";
  return new CheckpointError(
    `${path}: ${faults.length} bad tensors (${expected} expected, ${found} in the file)${reason}:
  - ${listed.join("\n  - ")}`,
    {
      hint: explained?.hint ?? (faults.length === missing ? "If the adapter was trained on one tower only, say so with the option `towers`." : "The adapter belongs to another model or to another adapter_config.json."),
      details: { path, faults: listed, reason: explained?.reason }
    }
  );
}

// src/lora/adapter-file.ts
var loadAdapterSchema = hubDownloadSchema.extend({
  towers: z2.enum(["both", "language", "vision"]).optional(),
  adapterName: adapterNameSchema.optional()
});
async function loadAdapter(idOrFolder, model, options = {}) {
  const { towers, adapterName, ...download } = parseOptions(loadAdapterSchema, options, "loadAdapter");
  requireLoraHost(model, "loadAdapter");
  const directory = await adapterFolder(idOrFolder, download);
  const adapter = await putFilesOn(directory, model, { towers, adapterName, onWarning: download.onWarning });
  const template = adapter.origin.chatTemplate;
  if (template !== void 0 && template !== await templateOf(model)) {
    warnWith(download.onWarning, [
      `${idOrFolder} has a chat template of its own, which it was trained with: format with new ChatTemplate(adapter.origin.chatTemplate), or load base and adapter with fromPretrained, which does`
    ]);
  }
  return adapter;
}
async function putFilesOn(directory, model, options) {
  const { towers, adapterName, onWarning } = options;
  const linears = model.linearModules.map(({ name, weight }) => ({ name, shape: weight.shape }));
  const { config, values, origin, warnings } = await readAdapter(directory, linears, { towers });
  const applied = { seed: 0, values, adapterName, onWarning };
  const adapter = putOn(model, config, applied, "loadAdapter", origin);
  const other = otherBaseWarning(origin.baseModelNameOrPath, model);
  warnWith(onWarning, other === void 0 ? warnings : [...warnings, other]);
  return adapter;
}
async function templateOf({ folder }) {
  return folder === void 0 ? void 0 : readChatTemplate(folder).catch(() => void 0);
}

// src/pretrained/from-pretrained.ts
var schema = hubDownloadSchema.extend({
  engine: z3.custom((value) => value !== void 0, "expected an engine").optional(),
  baseModel: z3.string().min(1).optional(),
  adapterName: adapterNameSchema.optional(),
  processor: z3.string().min(1).optional(),
  quantization: z3.custom((value) => value !== void 0).optional(),
  onNotice: callback().optional(),
  onLoadProgress: callback().optional()
});
async function fromPretrained(idOrFolder, options = {}) {
  const parsed = parseOptions(schema, options, "fromPretrained", LOAD_ALIASES);
  const {
    engine,
    quantization,
    onNotice,
    onLoadProgress,
    baseModel: _base,
    adapterName: _name,
    processor: from,
    ...download
  } = parsed;
  requireEngine(engine, "fromPretrained");
  parseQuantizationOption(quantization, "fromPretrained");
  const { folder, commit } = await folderOrSnapshot(idOrFolder, download, selectionOf(from));
  const isAdapter = await exists(join3(folder, ADAPTER_CONFIG_FILE));
  if (isAdapter && !await hasModel(folder)) return loadWithAdapter(idOrFolder, folder, commit, parsed);
  if (isAdapter) {
    const notify = onNotice ?? ((line) => process.emitWarning(line, "AdapterBesideModel"));
    notify(
      warningLine(`${folder} holds a model and an adapter: the model is loaded, and loadAdapter puts the adapter on`)
    );
  }
  await requireModelFolder(folder);
  const processor = await processorOf(folder, from, download);
  download.signal?.throwIfAborted();
  const model = await loadFrom(
    folder,
    { engine, quantization, onNotice, onLoadProgress },
    originOf(idOrFolder, commit, download),
    "fromPretrained"
  );
  return { model, processor, adapter: void 0, folder, commit };
}
async function loadWithAdapter(idOrFolder, folder, commit, { engine, quantization, onNotice, onLoadProgress, baseModel, adapterName, processor: from, ...download }) {
  const { origin } = await readAdapterConfig(folder);
  await requireSoundWeights(folder);
  const name = baseModel ?? (origin.baseModelNameOrPath && plainRepoName(origin.baseModelNameOrPath));
  if (name === void 0) {
    throw new ConfigError(`${idOrFolder} is an adapter whose ${ADAPTER_CONFIG_FILE} names no base model`, {
      hint: "Say it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
      details: { folder }
    });
  }
  const isOwn = baseModel === void 0;
  const baseDownload = { ...download, revision: isOwn && origin.revision || "main" };
  const base = await baseFolder(idOrFolder, name, baseDownload, isOwn, baseSelection(from));
  const [processor, own] = await Promise.all([processorOf(base.folder, from, download), ownProcessor(folder)]);
  download.signal?.throwIfAborted();
  const model = await loadFrom(
    base.folder,
    { engine, quantization, onNotice, onLoadProgress },
    originOf(name, base.commit, baseDownload),
    "fromPretrained"
  ).catch((error) => {
    if (!isOwn || !(error instanceof ConfigError || error instanceof CheckpointError)) throw error;
    throw new CheckpointError(`the base model of ${idOrFolder}, "${name}", cannot be loaded: ${error.summary}`, {
      hint: "Say another form of it: fromPretrained(adapter, { baseModel: 'OWNER/NAME' or a folder }).",
      details: error.details,
      cause: error
    });
  });
  try {
    const adapter = await putFilesOn(folder, model, { adapterName, onWarning: download.onWarning });
    return { model, processor: mergedProcessor(processor, own), adapter, folder, commit };
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
      const isFolder = await isLocalName(name);
      const what = isFolder ? "a folder that is not on this machine" : "which is neither a folder nor a name on the Hub";
      throw new ConfigError(`${adapter} is an adapter of "${name}", ${what}${await nearAdapter(name, adapter)}`, {
        hint,
        details: { baseModel: name },
        cause: error
      });
    }
    if (!(error instanceof HubError)) throw error;
    throw error.with({
      summary: `the base model of ${adapter} cannot be had: ${error.summary}`,
      details: { ...error.details, baseModel: name },
      hint: error.hint === void 0 ? hint : `${error.hint} Or: ${hint}`
    });
  });
  if (await exists(join3(found.folder, ADAPTER_CONFIG_FILE)) && !await hasModel(found.folder)) {
    throw new CheckpointError(`${adapter} names "${name}" as its base model, which is an adapter too`, {
      hint: `An adapter on an adapter is not supported: merge that one into its base first. ${hint}`,
      details: { folder: found.folder }
    });
  }
  await requireModelFolder(found.folder);
  return found;
}
async function nearAdapter(name, adapter) {
  if (/^([/\\~]|[A-Za-z]:|\w+:\/\/)/.test(name)) return "";
  const beside = resolve2(adapter, name);
  const from = `; a relative path is read from ${process.cwd()}`;
  return await exists(join3(beside, "config.json")) ? `${from}; seen from the adapter it is ${beside}` : from;
}
function originOf(name, commit, { revision }) {
  return { nameOrPath: name, revision: commit === void 0 || revision === "main" ? void 0 : revision };
}
async function ownProcessor(folder) {
  const hasTokenizer = await exists(join3(folder, "tokenizer.json"));
  const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
    hasTokenizer ? MinistralTokenizer.fromFolder(folder) : void 0,
    findImageProcessor(folder),
    ChatTemplate.findInFolder(folder)
  ]);
  return { tokenizer, imageProcessor, chatTemplate };
}
function mergedProcessor(base, own) {
  const tokenizer = own.tokenizer ?? base.tokenizer;
  const imageProcessor = own.imageProcessor ?? base.imageProcessor;
  const template = own.chatTemplate ?? base.chatTemplate;
  const { bosToken, eosToken } = tokenizer;
  const chatTemplate = template && new ChatTemplate(template.source, { bosToken, eosToken });
  return { tokenizer, imageProcessor, chatTemplate: own.chatTemplate || own.tokenizer ? chatTemplate : template };
}
async function hasModel(folder) {
  const names = await readdir2(folder).catch(() => []);
  return names.includes("config.json") && names.some((name) => /^model.*\.safetensors(\.index\.json)?$/.test(name));
}
var isAdapterRepo = (paths) => paths.includes(ADAPTER_CONFIG_FILE) && !paths.some((path) => /^model.*\.safetensors$/.test(path));
function baseSelection(from) {
  return {
    allowPatterns: MODEL_FILES,
    refuse: (paths) => {
      const has = (pattern) => paths.some((path) => pattern.test(path));
      if (has(/^config\.json$/) && has(/^model.*\.safetensors$/)) {
        return from !== void 0 || has(/^tokenizer\.json$/) || !has(/^tekken\.json$/) ? void 0 : ONLY_TEKKEN;
      }
      if (has(/^adapter_config\.json$/))
        return "it holds an adapter, not a model; an adapter on an adapter is not supported";
      if (has(/^(params\.json|consolidated.*\.safetensors)$/))
        return "it has only the Mistral-native files, which are not read";
      if (has(/\.gguf$/)) return "it has GGUF files, which are not read: take the repository that they were made from";
      return "it has no config.json with model*.safetensors";
    },
    missingFrom: async (folder) => {
      const names = new Set(await readdir2(folder).catch(() => []));
      const missing = ["config.json"].filter((name) => !names.has(name));
      const weights = names.has("model.safetensors") ? [] : await indexedShards(folder);
      const processor = from === void 0 ? await PROCESSOR_SELECTION.missingFrom(folder) : [];
      return [...missing, ...processor, ...weights.filter((name) => !names.has(name))];
    }
  };
}
var ONLY_TEKKEN = "it has no tokenizer.json, only tekken.json, which is not read; say whose tokenizer to take, e.g. for Mistral Small 3.2: fromPretrained(name, { processor: 'mistralai/Mistral-Small-3.1-24B-Instruct-2503' })";
var PROCESSOR_SELECTION = {
  allowPatterns: PROCESSOR_FILES,
  missingFrom: async (folder) => {
    const names = await readdir2(folder).catch(() => []);
    const parts = [["tokenizer.json"], ["processor_config.json", "preprocessor_config.json"]];
    return parts.flatMap((either) => either.some((name) => names.includes(name)) ? [] : either[0]);
  }
};
async function processorOf(folder, from, download) {
  if (from === void 0) return loadProcessor(folder);
  const found = await folderOrSnapshot(from, { ...download, revision: "main" }, PROCESSOR_SELECTION);
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
      const names = await readdir2(folder).catch(() => []);
      return isAdapterRepo(names) ? ADAPTER_SELECTION.missingFrom(folder) : base.missingFrom(folder);
    }
  };
}

// src/model/old-names.ts
var Ministral3 = VisionLanguageModel;
var loadMinistral3 = loadModel;

// src/model/answer-text.ts
var AnswerText = class {
  #decoder;
  #stops;
  /** What may become a stop string. */
  #held = "";
  #isStopped = false;
  constructor(tokenizer, stopStrings = []) {
    this.#decoder = tokenizer.streamingDecoder({ skipSpecialTokens: true });
    this.#stops = stopStrings;
  }
  /** Whether a stop string has come: there is no more text. */
  get isStopped() {
    return this.#isStopped;
  }
  /** The text that a token makes certain. */
  push(id) {
    return this.#isStopped ? "" : this.#release(this.#decoder.push(id));
  }
  /** What is left when no token follows. */
  end() {
    if (this.#isStopped) return "";
    const text2 = this.#release(this.#decoder.end());
    if (this.#isStopped) return text2;
    const rest = this.#held;
    this.#held = "";
    return text2 + rest;
  }
  #release(added) {
    if (this.#stops.length === 0) return added;
    const text2 = this.#held + added;
    const stop = firstStop(text2, this.#stops);
    if (stop !== void 0) {
      this.#isStopped = true;
      this.#held = "";
      return text2.slice(0, stop);
    }
    const held = heldLength(text2, this.#stops);
    this.#held = text2.slice(text2.length - held);
    return text2.slice(0, text2.length - held);
  }
};
function firstStop(text2, stops) {
  let [start, end] = [Infinity, Infinity];
  for (const stop of stops) {
    const at = text2.indexOf(stop);
    if (at < 0 || at + stop.length > end) continue;
    start = at + stop.length < end ? at : Math.min(start, at);
    end = at + stop.length;
  }
  return start === Infinity ? void 0 : start;
}
function heldLength(text2, stops) {
  let most = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text2.length); length > most; length--) {
      if (text2.endsWith(stop.slice(0, length))) most = length;
    }
  }
  return most;
}

// src/model/answer-tree.ts
function answerTree(answers) {
  const root = { next: /* @__PURE__ */ new Map() };
  for (const [i, ids] of answers.entries()) {
    let node = root;
    for (const id of ids) {
      let next = node.next.get(id);
      if (!next) {
        next = { next: /* @__PURE__ */ new Map() };
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
var NEAR = 64;
var NO_FRAME = { before: "", after: "" };
function promptAnswers(tokenizer, prompts, texts, { config, eosTokenId }, what) {
  const known = /* @__PURE__ */ new Map();
  const [rows, columns] = prompts.inputIds.shape;
  return Array.from({ length: rows }, (_, b) => {
    const ids = prompts.inputIds.data.subarray(b * columns, (b + 1) * columns);
    const mask = prompts.attentionMask.data.subarray(b * columns, (b + 1) * columns);
    const real = ids.filter((_2, t) => mask[t]);
    const tail = Array.from(real.subarray(real.findLastIndex((id) => tokenizer.specialTokenIds.has(id)) + 1));
    const frame = prompts.answerFrames?.[b] ?? NO_FRAME;
    const key = JSON.stringify([tail, frame]);
    let answers = known.get(key);
    if (!answers) {
      const found = texts.map((text2) => tokensBehind(tokenizer, tail, `${frame.before}${text2}${frame.after}`));
      const close = eosTokenId ?? frame.end ?? config.eosTokenIds[0] ?? tokenizer.eosTokenId;
      requireKnown([...found.flat(), close], config.text.vocabSize, what);
      requireDistinct(found, texts, close, what);
      answers = { ids: found, tree: answerTree(found), end: close };
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
  const seen = /* @__PURE__ */ new Map();
  for (const [i, text2] of texts.entries()) {
    if (typeof text2 !== "string" || text2 === "") {
      throw new ConfigError(
        `${what}: expected texts, got ${text2 === "" ? "an empty one" : describeGiven(text2)} at ${i}`
      );
    }
    const first = seen.get(text2);
    if (first !== void 0) {
      throw new ConfigError(`${what}: ${showValue(text2)} is listed twice, at ${first} and ${i}`, {
        hint: "Each answer stands for one class; give each once."
      });
    }
    seen.set(text2, i);
  }
}
function tokensBehind(tokenizer, tail, text2) {
  for (const end of tail.length > NEAR ? [tail.slice(-NEAR), tail] : [tail]) {
    const ids = tokenizer.encode(tokenizer.decode(end) + text2);
    if (ids.length > end.length && end.every((id, i) => id === ids[i])) return ids.slice(end.length);
  }
  return tokenizer.encode(text2);
}
function requireKnown(ids, vocabSize, what) {
  const wrong2 = ids.find((id) => id >= vocabSize);
  if (wrong2 === void 0) return;
  throw new DataError(`${what}: token id ${wrong2} is outside the model's vocabulary of ${vocabSize}`, {
    hint: "Use the tokenizer of the same checkpoint."
  });
}
function requireDistinct(answers, texts, end, what) {
  const seen = /* @__PURE__ */ new Map();
  for (const [i, ids] of answers.entries()) {
    if (ids.includes(end)) {
      throw new ConfigError(`${what}: ${showValue(texts[i])} contains token ${end}, which closes an answer`, {
        hint: "Set the token that closes answers (`eosTokenId`, `eosTokenIds`) to one that none of them contains."
      });
    }
    const key = ids.join();
    const first = seen.get(key);
    if (first !== void 0) {
      throw new ConfigError(
        `${what}: ${showValue(texts[first])} and ${showValue(texts[i])} are the same tokens for this tokenizer`,
        { hint: "No answer could tell them apart; rename one." }
      );
    }
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
  throw new ConfigError(
    `${name}: \`prompts\`: expected a batch of prompts, got one to train on, with the answers in it`,
    { hint: "Write collator.collatePrompts(samples) in place of collator.collate(samples)." }
  );
}

// src/model/choices.ts
var ChoiceState = class {
  /** Tokens of the longest answer, its end included. */
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
  /** The tokens that may come next; none after the end. */
  get allowed() {
    return this.#allowed;
  }
  /** The only token that may come next, if there is only one. */
  get forced() {
    return this.#allowed.length === 1 ? this.#allowed[0] : void 0;
  }
  /** @returns the answer that the token completes, else nothing */
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
  const settings2 = { config: model.config, eosTokenId: eosTokenIds?.[0] };
  return promptAnswers(tokenizer, prompts, choices, settings2, "generation: `choices`").map((answers) => {
    const state = new ChoiceState(answers, choices);
    const { longest } = state;
    if (longest > maxNewTokens) {
      throw new ConfigError(
        `generation: \`choices\`: the longest takes ${longest} tokens with its end, more than \`maxNewTokens\` ${maxNewTokens}`,
        { hint: "Raise `maxNewTokens`: an answer that is cut is none of them." }
      );
    }
    return state;
  });
}

// src/model/sampling.ts
import * as z4 from "zod";
var tokenId = z4.int().min(0);
var DEFAULT_TOP_K = 50;
var generationFields = z4.strictObject({
  /** Stop after this many generated tokens. Default 256. */
  maxNewTokens: z4.int().min(1).default(256),
  /** No end-of-sequence token before this many generated tokens. Default 0. */
  minNewTokens: z4.int().min(0).default(0),
  /** Draw from the distribution instead of taking the likeliest token. Default false: greedy. */
  doSample: z4.boolean().default(false),
  /** Scores are divided by this before sampling; above 1 is flatter. Default 1. */
  temperature: z4.number().refine((value) => value > 0 && value < Infinity, {
    message: "expected a number above 0; for the likeliest token every time use `doSample: false` and no temperature"
  }).default(1),
  /** Keep the k highest scores, and those that tie with the k-th. 0 turns it off. Default 50. */
  topK: z4.int().min(0).default(DEFAULT_TOP_K),
  /** Keep the likeliest tokens until their probabilities reach this. 0 keeps one, 1 turns it off. Default 1. */
  topP: z4.number().min(0).max(1).default(1),
  /** Keep tokens at least this fraction as likely as the likeliest. 0 turns it off. Default 0. */
  minP: z4.number().min(0).max(1).default(0),
  /** Scores of tokens seen in the prompt or the answer are divided by this (multiplied when negative). Default 1: off. */
  repetitionPenalty: z4.number().positive().finite().default(1),
  /** Any of these ends the answer. Default: those of the model's generation_config.json and the prompts' `stopTokenIds`. */
  eosTokenIds: z4.array(tokenId).readonly().optional(),
  /**
   * The answer ends with the token that completes one of these in its text, the prompt aside. Texts end before it; ids
   * have all tokens, as in transformers. One that names a control token (`</s>`) ends at that token. Default: none.
   */
  stopStrings: z4.array(z4.string().min(1)).readonly().optional(),
  /**
   * The answer is one of these texts and the token that closes it: tokens that lead to none are never chosen. Greedy takes
   * the likeliest token at each step; `scoreLabels` compares whole answers. Default: any answer.
   */
  choices: z4.array(z4.string().min(1)).min(1).readonly().optional(),
  /** Without effect: answers are not padded here. Taken because calls of transformers' `generate` have it. */
  padTokenId: tokenId.optional(),
  /** Seed of the generator that draws the tokens. Default 42. */
  seed: z4.int().min(0).max(4294967295).default(42)
});
var generationConfigSchema = generationFields.superRefine((config, context) => {
  if (config.minNewTokens > config.maxNewTokens)
    context.addIssue({
      code: "custom",
      path: ["minNewTokens"],
      message: `${config.minNewTokens} is more than \`maxNewTokens\` ${config.maxNewTokens}`
    });
  if (config.choices) {
    const clashing = [
      ["minNewTokens", config.minNewTokens > 0],
      ["stopStrings", config.stopStrings !== void 0]
    ];
    for (const [name, isSet] of clashing)
      if (isSet)
        context.addIssue({
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
  for (const [name, isSet] of idle)
    if (isSet) context.addIssue({ code: "custom", path: [name], message: "does nothing without `doSample: true`" });
});
var OTHER_NAMES = {
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
  return parseOptions(generationConfigSchema, options, what, OTHER_NAMES);
}
function applyRepetitionPenalty(logits, tokens, penalty) {
  const scores = logits.slice();
  const factor = Math.fround(penalty);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const score = logits[token];
    if (score === void 0)
      throw new EngineError(`repetition penalty: token ${token} is outside the vocabulary of ${logits.length}`);
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
    if (score === void 0)
      throw new EngineError(`allowed tokens: token ${token} is outside the vocabulary of ${logits.length}`);
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
  const ascending = softmax2(sorted);
  const border = Math.fround(1 - p);
  let removed = 0;
  for (let sum = ascending[0]; removed < sorted.length - 1 && Math.fround(sum) <= border; sum += ascending[removed])
    removed++;
  const threshold = sorted[removed];
  let tiesToRemove = removed - sorted.indexOf(threshold);
  return logits.map((score) => score < threshold || score === threshold && tiesToRemove-- > 0 ? -Infinity : score);
}
function applyMinP(logits, minP) {
  const likelihood = softmax2(logits);
  const threshold = Math.fround(Math.fround(minP) * likelihood[argmax2(logits)]);
  return logits.map((score, i) => likelihood[i] < threshold ? -Infinity : score);
}
function softmax2(logits) {
  const max = logits[argmax2(logits)];
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
function argmax2(logits) {
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
    } else {
      return requireLargest(i, score, length);
    }
  }
  return requireLargest(best, bestScore, length);
}
function requireLargest(index, score, length) {
  if (score - score === 0) return index;
  if (Number.isNaN(score)) {
    throw new EngineError(`logits: expected finite scores, found NaN at token ${index} of ${length}`, {
      hint: "The weights or the adapter may be damaged, or activations overflowed.",
      details: { token: index }
    });
  }
  throw new EngineError(
    score < 0 ? `logits: expected at least one finite score among ${length}, found none` : `logits: expected finite scores, found infinity at token ${index}`
  );
}
function processLogits(logits, config, state = {}) {
  let scores = logits.slice();
  if (config.repetitionPenalty !== 1)
    scores = applyRepetitionPenalty(scores, state.tokens ?? [], config.repetitionPenalty);
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
  if (!(total > 0 && total < Infinity))
    throw new EngineError(`sample: expected probabilities with a positive, finite sum, found a sum of ${total}`);
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
  if (takesLargest(config, state)) return argmax2(logits);
  if (state.allowed?.length === 1) return state.allowed[0];
  const scores = processLogits(logits, config, state);
  return config.doSample ? sample(softmax2(scores), generator) : argmax2(scores);
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
  const checked = checkCall("generateTokens", model, prompts, options);
  return tokensOf(model, prompts, checked, true);
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
  const capacities = sequences.map(
    ({ promptLength, choice }) => promptLength + (choice?.longest ?? config.maxNewTokens)
  );
  const adapter = model.adapterView();
  const window = new PackedWindow([packed], { sharePrefix, isOnePass: true });
  const waiting = [sequences.map((_, i) => i)];
  let active = [];
  const cache = await exclusively(model.engine, signal, () => model.createCache(capacities));
  let isComputing = false;
  const abort = () => {
    if (!isComputing) cache.dispose();
  };
  signal?.addEventListener("abort", abort, { once: true });
  const take = (index, id) => {
    const { tokens, promptLength, choice, text: text2 } = sequences[index];
    tokens.push(id);
    const isEnd = ends.includes(id);
    const isFull = tokens.length - promptLength === config.maxNewTokens;
    if (choice) {
      const answer = choice.advance(id);
      return { sequence: index, id, text: answer, last: answer !== "" };
    }
    if (!text2) return { sequence: index, id, last: isEnd || isFull };
    const isHidden = (isEnd || isFull) && prompts.stopTokenIds?.includes(id);
    const piece = isHidden ? "" : text2.push(id);
    const last = isEnd || isFull || text2.isStopped;
    return { sequence: index, id, text: last ? piece + text2.end() : piece, last };
  };
  try {
    while (waiting.length > 0 || active.length > 0) {
      signal?.throwIfAborted();
      const prefilled = waiting.shift();
      const computed = prefilled ?? active;
      const step = prefilled ? promptStep(window, prefilled) : nextStep(sequences, active);
      isComputing = true;
      const rows = Int32Array.from(computed, (sequence) => step.starts[sequence + 1] - 1);
      const passOptions = { cache, adapter, signal };
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
      const ended = /* @__PURE__ */ new Set();
      for (const [i, index] of computed.entries()) {
        const scores = logits?.subarray(i * size, (i + 1) * size);
        const sequence = sequences[index];
        sequence.computed = sequence.tokens.length;
        let id = scores ? nextToken(scores, config, stateOf(sequence), generator) : requireLargest(maxima.indices[i], maxima.values[i], size);
        for (; id !== void 0; id = withLogits ? void 0 : sequence.choice?.forced) {
          const token = take(index, id);
          if (token.last) ended.add(index);
          await onToken?.({ sequence: index, id, text: token.text ?? "", last: token.last });
          yield scores ? { ...token, logits: scores } : token;
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
  return { tokens, newTokenCount: tokens.length - promptLength, allowed: choice?.allowed };
}
function withEnds(parsed, model, prompts, tokenizer) {
  const own = parsed.eosTokenIds ?? [...model.config.eosTokenIds, ...prompts.stopTokenIds ?? []];
  const named = (parsed.stopStrings ?? []).flatMap((stop) => {
    const id = tokenizer?.tokenToId(stop);
    return id !== void 0 && tokenizer?.specialTokenIds.has(id) ? id : [];
  });
  return { ...parsed, eosTokenIds: [.../* @__PURE__ */ new Set([...own, ...named])] };
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
  for await (const { sequence, text: text2 } of tokensOf(model, prompts, checked)) texts[sequence] += text2;
  return texts;
}
function streamText(model, tokenizer, prompts, options = {}) {
  return piecesOf(model, prompts, checkCall("streamText", model, prompts, options, tokenizer));
}
async function* piecesOf(model, prompts, checked) {
  for await (const { sequence, text: text2 } of tokensOf(model, prompts, checked)) if (sequence === 0 && text2) yield text2;
}
function checkCall(name, model, prompts, options, ...given) {
  const isText = given.length > 0;
  const call = `${name}(model, ${isText ? "tokenizer, " : ""}await collator.collatePrompts([{ messages }]), { maxNewTokens: 20 })`;
  requirePrompts(name, call, { model, prompts, ...isText && { tokenizer: given[0] } });
  const { signal, sharePrefix = true, tokenizer: own, onToken, ...rest } = isOptions(options) ? options : {};
  requireSignal(signal, name);
  requireBoolean(sharePrefix, `${name}: \`sharePrefix\``);
  requireCallback(onToken, `${name}: \`onToken\``, "It takes { sequence, id, text, last }.", true);
  const parsed = parseGenerationConfig(isOptions(options) ? rest : options, name);
  if (own !== void 0) requireKind("tokenizer", own, `${name}: \`tokenizer\``);
  const tokenizer = isText ? given[0] : own;
  if (!tokenizer) requireNoTexts(name, { onToken, ...parsed });
  if (parsed.choices) requireTexts(parsed.choices, `${name}: \`choices\``);
  return { signal, sharePrefix, parsed, tokenizer, onToken };
}
function requireNoTexts(name, options) {
  const wanting = ["stopStrings", "choices", "onToken"].find((option) => options[option] !== void 0);
  if (!wanting) return;
  throw new ConfigError(
    `${name}: \`${wanting}\` is about texts: expected \`tokenizer\` among the options, got nothing`,
    {
      hint: `${name}(model, prompts, { tokenizer: processor.tokenizer, \u2026 }); generateText and streamText have it already.`
    }
  );
}
function promptStep(window, range2) {
  const joined = window.join(range2.map((i) => window.samples[i]));
  const count = window.samples.length;
  if (range2.length === count) return joined;
  const first = range2[0];
  const ofAll = (starts) => {
    return Int32Array.from({ length: count + 1 }, (_, i) => starts[Math.min(Math.max(0, i - first), range2.length)]);
  };
  const { sharedKeys } = joined;
  return {
    ...joined,
    starts: ofAll(joined.starts),
    sharedKeys: sharedKeys && { ...sharedKeys, starts: ofAll(sharedKeys.starts) }
  };
}
function nextStep(sequences, active) {
  const added = sequences.map(() => 0);
  for (const i of active) added[i] = sequences[i].tokens.length - sequences[i].computed;
  const starts = new Int32Array(sequences.length + 1);
  for (const [i, count] of added.entries()) starts[i + 1] = starts[i] + count;
  return {
    ids: Int32Array.from(active.flatMap((i) => sequences[i].tokens.slice(sequences[i].computed))),
    positions: Int32Array.from(
      active.flatMap((i) => Array.from({ length: added[i] }, (_, t) => sequences[i].computed + t))
    ),
    starts,
    labelRows: new Int32Array(0),
    labelTargets: new Int32Array(0),
    images: void 0
  };
}

// src/model/score-labels.ts
import * as z5 from "zod";

// src/batch/answer-branches.ts
function withAnswers(packed, answers) {
  const builder = new AnswerRows();
  const labels = answers.map((ofPrompt, sample2) => builder.add(packed, sample2, ofPrompt));
  return { packed: builder.join(packed), labels };
}
var AnswerRows = class {
  #ids = [];
  #positions = [];
  #segments = [];
  #labelRows = [];
  #labelTargets = [];
  /** Row here of each row of the prompts. */
  #rowOf = [];
  /** @returns the labels of each answer */
  add(packed, sample2, { tree, count, end }) {
    const [first, stop] = [packed.starts[sample2], packed.starts[sample2 + 1]];
    for (let row2 = first; row2 < stop; row2++) this.#rowOf.push(this.#push(packed.ids[row2], packed.positions[row2]));
    const { rows, starts } = packed.sharedKeys ?? {};
    const before = starts ? rows.subarray(starts[sample2], starts[sample2 + 1]) : range(first, stop);
    const segment = { keys: Array.from(before, (row2) => this.#rowOf[row2]), own: stop - first };
    this.#segments.push(segment);
    const labels = Array.from({ length: count }, () => []);
    const waiting = [];
    for (let place = { node: tree, segment, path: void 0 }; place; ) {
      const { node, path } = place;
      const { keys } = place.segment;
      const row2 = keys.at(-1);
      if (node.answer !== void 0) labels[node.answer] = labelsOf(this.#label(row2, end, path));
      const branches = Array.from(node.next, ([id, next2], i) => {
        const own = i === 0 ? place.segment : { keys: [...keys], own: 0 };
        return { id, node: next2, segment: own, path: this.#label(row2, id, path) };
      });
      waiting.push(...branches.reverse());
      const next = waiting.pop();
      if (next) this.#extend(next);
      place = next;
    }
    return labels;
  }
  /** The prompts' images with the rows of the answers among theirs. */
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
      images: images && { ...images, tokenRows: images.tokenRows.map((row2) => this.#rowOf[row2]) }
    };
  }
  #label(row2, target, before) {
    this.#labelRows.push(row2);
    return { label: this.#labelTargets.push(target) - 1, before };
  }
  /** The branch's token becomes the last row of its segment. */
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
var optionsSchema = z5.strictObject({
  normalizeLength: z5.boolean().default(false),
  eosTokenId: z5.int().min(0).optional(),
  sharePrefix: z5.boolean().default(true)
});
var OTHER_NAMES2 = {
  lengthnormalization: "normalizeLength",
  normalize: "normalizeLength",
  eostokenids: "eosTokenId"
};
var TOKENS_PER_PASS = 2048;
var LARGEST_FACTOR = 4;
var SHARE_OF_FREE = 0.5;
var KEYS_PER_TOKEN = 32;
async function scoreLabels(model, tokenizer, prompts, labels, options = {}) {
  const call = "scoreLabels(model, tokenizer, await collator.collatePrompts(examples), classNames)";
  requirePrompts("scoreLabels", call, { model, prompts, tokenizer });
  requireTexts(labels, "scoreLabels: `labels`");
  const { signal, ...rest } = isOptions(options) ? options : {};
  requireSignal(signal, "scoreLabels");
  const parsed = parseOptions(optionsSchema, isOptions(options) ? rest : options, "scoreLabels options", OTHER_NAMES2);
  const settings2 = { config: model.config, eosTokenId: parsed.eosTokenId };
  const answers = promptAnswers(tokenizer, prompts, labels, settings2, "scoreLabels: `labels`");
  const window = new PackedWindow([model.pack(prompts)], { sharePrefix: parsed.sharePrefix });
  requirePositions(model, window, answers, prompts);
  const most = tokensOfPass(model);
  const adapter = model.adapterView();
  const scores = answers.map(() => new Array(labels.length));
  for (const [from, to] of labelGroups(window, answers, most)) {
    const ofGroup = answers.map((all) => partOf(all, from, to));
    const waiting = passesOf(window, ofGroup, most).map((pass) => ({ pass, from, to }));
    for (let work = waiting.shift(); work; work = waiting.shift()) {
      const { pass, from: first, to: end } = work;
      const answered = withAnswers(
        window.join(pass),
        pass.map(({ row: row2 }) => partOf(answers[row2], first, end))
      );
      const losses = await model.labelLosses(answered.packed, { signal, adapter }).catch((error) => {
        if (!(error instanceof OutOfMemoryError)) throw error;
        waiting.unshift(...halvesOf(work, error));
      });
      if (!losses) continue;
      requireFinite(losses);
      for (const [i, ofPrompt] of answered.labels.entries()) {
        for (const [k, ofLabel] of ofPrompt.entries()) {
          const sum = ofLabel.reduce((total, at) => total - losses[at], 0);
          scores[pass[i].row][first + k] = parsed.normalizeLength ? sum / ofLabel.length : sum;
        }
      }
    }
  }
  return scores;
}
function halvesOf({ pass, from, to }, error) {
  if (pass.length > 1) {
    const half2 = Math.ceil(pass.length / 2);
    return [
      { pass: pass.slice(0, half2), from, to },
      { pass: pass.slice(half2), from, to }
    ];
  }
  if (to - from < 2) throw error;
  const half = Math.ceil((from + to) / 2);
  return [
    { pass, from, to: half },
    { pass, from: half, to }
  ];
}
function partOf({ ids: all, end }, from, to) {
  const ids = all.slice(from, to);
  const tokens = ids.reduce((sum, { length }) => sum + length, 0);
  return { tree: answerTree(ids), count: ids.length, end, tokens };
}
function tokensOfPass({ engine, config }) {
  const { tokensPerPass, storage } = engine;
  if (tokensPerPass === 0) return TOKENS_PER_PASS;
  const { bytesInUse, limitBytes } = engine.memory();
  const { text: text2, vision, spatialMergeSize } = config;
  const row2 = (hidden, inner, heads) => storage.elementBytes * (8 * hidden + (3 + storage.temporaries) * inner + 4 * heads);
  const ofImage = spatialMergeSize ** 2 * row2(vision.hiddenSize, vision.intermediateSize, vision.hiddenSize);
  const ofKeys = KEYS_PER_TOKEN * 2 * storage.elementBytes * text2.kvHeads * text2.headDim;
  const ofToken = row2(text2.hiddenSize, text2.intermediateSize, text2.heads * text2.headDim) + ofImage + ofKeys;
  const fitting = Math.floor(SHARE_OF_FREE * (limitBytes - bytesInUse) / ofToken);
  return Math.max(tokensPerPass, TOKENS_PER_PASS, Math.min(LARGEST_FACTOR * tokensPerPass, fitting));
}
function labelGroups({ samples }, answers, most) {
  const { length } = answers[0]?.ids ?? [];
  const longest = Math.max(...answers.map(longestOf));
  const prompt = Math.max(...samples.map(({ size }) => size.tokens));
  const atOnce = Math.max(
    1,
    Math.min(Math.floor(most / longest), Math.floor(KEYS_PER_TOKEN * most / (prompt + longest)))
  );
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
    const added = pass.reduce((sum, { row: row2 }) => sum + answers[row2].tokens, 0);
    const copies = pass.reduce((sum, { row: row2, size }) => sum + (answers[row2].count - 1) * size.tokens, 0);
    return tokens + added <= most && keys + copies + added <= KEYS_PER_TOKEN * most;
  };
  const cut = (part, atMost) => {
    const passes = [[]];
    for (const sample2 of part) {
      const pass = passes.at(-1);
      if (pass.length === 0 || pass.length < atMost && fits([...pass, sample2])) pass.push(sample2);
      else passes.push([sample2]);
    }
    return passes;
  };
  return windowParts(window.samples).flatMap((part) => {
    return cut(part, Math.ceil(part.length / cut(part, part.length).length));
  });
}
function requirePositions({ config }, { samples }, answers, { sampleIds }) {
  const { maxPositions } = config.text;
  for (const { row: row2, size } of samples) {
    const length = size.tokens + longestOf(answers[row2]);
    if (length <= maxPositions) continue;
    const name = oneLine(sampleIds?.[row2] ?? String(row2));
    throw new DataError(
      `scoreLabels: sample ${name} has ${length} tokens with its longest label, more than the model's ${maxPositions} positions`
    );
  }
}
function requireFinite(losses) {
  const at = losses.findIndex((loss) => !Number.isFinite(loss));
  if (at < 0) return;
  throw new EngineError(`scoreLabels: expected finite log-probabilities, found ${-losses[at]}`, {
    hint: "The weights or the adapter may be damaged, or activations overflowed."
  });
}

// src/lora/verify-adapter.ts
var TOLERANCE = 0.01;
async function verifyAdapter(model, directory, batch) {
  requireLoraHost(model, "verifyAdapter");
  requirePath(directory, "verifyAdapter: `directory`");
  requireKind(
    "batch",
    batch,
    "verifyAdapter: `batch`",
    "verifyAdapter(model, directory, await collator.collate(samples))"
  );
  const own = model.linearModules.map(({ lora }) => lora);
  const trained = own.some((lora) => lora) ? await model.lastLogits(batch) : void 0;
  for (const module of model.linearModules) module.lora = void 0;
  try {
    const base = await model.lastLogits(batch);
    const { engine, linearModules } = model;
    const copy = await loadAdapter(directory, { engine, linearModules }, { onWarning: () => void 0 });
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
        ...isOther && {
          hint: "Are these the files of the active adapter? setAdapter or disable changes which one is compared."
        },
        details: { directory, modules, maxChange, maxDeviation }
      });
    }
    return { modules, maxChange, maxDeviation };
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
    if (Number.isNaN(difference)) return Number.NaN;
    largest = Math.max(largest, difference);
  }
  return largest;
}

// src/lora/merge-adapter.ts
import { copyFile, readdir as readdir5 } from "node:fs/promises";
import { availableParallelism as availableParallelism2 } from "node:os";
import { basename as basename4, join as join7, resolve as resolve4 } from "node:path";
import * as z6 from "zod";

// src/generated/merge-worker.ts
var merge_worker_default = '"use strict";\n\n// src/lora/merge-worker.ts\nvar import_node_worker_threads = require("node:worker_threads");\n\n// src/formats/half-precision.ts\nvar scratch = new Float32Array(1);\nvar scratchBits = new Uint32Array(scratch.buffer);\nfunction bfloat16Bits(bits) {\n  if ((bits & 2147483647) > 2139095040) return bits >>> 16 | 64;\n  return bits + 32767 + (bits >>> 16 & 1) >>> 16 & 65535;\n}\nfunction float16Bits(bits) {\n  const sign = bits >>> 16 & 32768;\n  const magnitude = bits & 2147483647;\n  if (magnitude > 2139095040) return sign | 32256 | magnitude >>> 13 & 511;\n  if (magnitude >= 1199566848) return sign | 31744;\n  if (magnitude >= 947912704) return sign | magnitude - 939524096 + 4095 + (magnitude >>> 13 & 1) >>> 13;\n  if (magnitude <= 855638016) return sign;\n  const shift = 126 - (magnitude >>> 23);\n  const mantissa = magnitude & 8388607 | 8388608;\n  const quotient = mantissa >>> shift;\n  const rest = mantissa & (1 << shift) - 1;\n  const half = 1 << shift - 1;\n  return sign | quotient + (rest > half || rest === half && (quotient & 1) === 1 ? 1 : 0);\n}\nfunction bitsOf(values) {\n  return new Uint32Array(values.buffer, values.byteOffset, values.length);\n}\nfunction float32ToBfloat16(values, target = new Uint16Array(values.length)) {\n  const bits = bitsOf(values);\n  for (let i = 0; i < bits.length; i++) target[i] = bfloat16Bits(bits[i]);\n  return target;\n}\nfunction bfloat16ToFloat32(values, target = new Float32Array(values.length)) {\n  const bits = bitsOf(target);\n  for (let i = 0; i < values.length; i++) bits[i] = values[i] << 16;\n  return target;\n}\nfunction float32ToFloat16(values, target = new Uint16Array(values.length)) {\n  const bits = bitsOf(values);\n  for (let i = 0; i < bits.length; i++) target[i] = float16Bits(bits[i]);\n  return target;\n}\nfunction float16ToFloat32(values, target = new Float32Array(values.length)) {\n  const bits = bitsOf(target);\n  for (let i = 0; i < values.length; i++) {\n    const half = values[i];\n    const sign = (half & 32768) << 16;\n    const exponent = half >>> 10 & 31;\n    const mantissa = half & 1023;\n    if (exponent === 0) {\n      scratch[0] = mantissa * 2 ** -24;\n      bits[i] = scratchBits[0] | sign;\n    } else {\n      bits[i] = sign | (exponent === 31 ? 255 : exponent + 112) << 23 | mantissa << 13;\n    }\n  }\n  return target;\n}\nfunction widen({ buffer, byteOffset, byteLength }, dtype) {\n  if (dtype === "f32") return new Float32Array(buffer, byteOffset, byteLength / 4);\n  return (dtype === "bf16" ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(buffer, byteOffset, byteLength / 2));\n}\n\n// src/lora/merged-weight.ts\nfunction mergedWeight(weight, inFeatures, lora) {\n  const { scale } = lora;\n  const merged = new Float32Array(weight.length);\n  const rows = weight.length / inFeatures;\n  const padded = padRanks(lora, rows);\n  const sums = Array.from({ length: 4 }, () => new Float64Array(inFeatures));\n  for (let row = 0; row < rows; row += 4) {\n    for (const sum of sums) sum.fill(0);\n    for (let k = 0; k < padded.r; k += 4) addFourRanks(sums, padded, row, k, rows - 1);\n    for (let j = 0; j < 4 && row + j < rows; j++) {\n      const sum = sums[j];\n      for (let i = 0, at = (row + j) * inFeatures; i < inFeatures; i++, at++) {\n        merged[at] = weight[at] + Math.fround(scale * sum[i]);\n      }\n    }\n  }\n  return merged;\n}\nfunction padRanks({ r, a, b }, rows) {\n  const padded = Math.ceil(r / 4) * 4;\n  const wideA = new Float64Array(a.length / r * padded);\n  wideA.set(a);\n  const wideB = new Float64Array(rows * padded);\n  for (let row = 0; row < rows; row++) wideB.set(b.subarray(row * r, (row + 1) * r), row * padded);\n  return { r: padded, a: wideA, b: wideB };\n}\nfunction addFourRanks(sums, { r, a, b }, row, k, last) {\n  const [s0, s1, s2, s3] = sums;\n  const length = s0.length;\n  const at = (j) => Math.min(row + j, last) * r + k;\n  const [m, n, o, p] = [at(0), at(1), at(2), at(3)];\n  const [m0, m1, m2, m3] = [b[m], b[m + 1], b[m + 2], b[m + 3]];\n  const [n0, n1, n2, n3] = [b[n], b[n + 1], b[n + 2], b[n + 3]];\n  const [o0, o1, o2, o3] = [b[o], b[o + 1], b[o + 2], b[o + 3]];\n  const [p0, p1, p2, p3] = [b[p], b[p + 1], b[p + 2], b[p + 3]];\n  const first = k * length;\n  const [second, third, fourth] = [first + length, first + 2 * length, first + 3 * length];\n  for (let i = 0; i < length; i++) {\n    const a0 = a[first + i];\n    const a1 = a[second + i];\n    const a2 = a[third + i];\n    const a3 = a[fourth + i];\n    s0[i] += m0 * a0 + m1 * a1 + m2 * a2 + m3 * a3;\n    s1[i] += n0 * a0 + n1 * a1 + n2 * a2 + n3 * a3;\n    s2[i] += o0 * a0 + o1 * a1 + o2 * a2 + o3 * a3;\n    s3[i] += p0 * a0 + p1 * a1 + p2 * a2 + p3 * a3;\n  }\n}\nfunction mergeRows({ bytes, dtype, lora }) {\n  const merged = mergedWeight(widen(bytes, dtype), lora.a.length / lora.r, lora);\n  const beyond = firstBeyond(merged, ROUNDS_TO_INFINITY[dtype]);\n  return beyond === void 0 ? { bytes: narrow(merged, dtype) } : { beyond };\n}\nvar ROUNDS_TO_INFINITY = {\n  f32: Number.POSITIVE_INFINITY,\n  bf16: 2 ** 128 - 2 ** 119,\n  f16: 65520\n};\nfunction firstBeyond(values, bound) {\n  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]) < bound)) return values[i];\n  return void 0;\n}\nfunction narrow(values, dtype) {\n  const stored = dtype === "f32" ? values : (dtype === "bf16" ? float32ToBfloat16 : float32ToFloat16)(values);\n  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);\n}\n\n// src/lora/merge-worker.ts\nvar port = import_node_worker_threads.parentPort;\nport?.on("message", (rows) => {\n  try {\n    const result = mergeRows(rows);\n    port.postMessage({ result }, "bytes" in result ? [result.bytes.buffer] : []);\n  } catch (error) {\n    port.postMessage({ error });\n  }\n});\n';

// src/lora/merge-files.ts
import { readdir as readdir3, realpath, stat } from "node:fs/promises";
import { basename, dirname, join as join4, resolve as resolve3, sep } from "node:path";
async function requireCheckpoint(directory) {
  const { kind, text: text2, children } = await describeFolder(directory);
  if (["model", "other", "mistral"].includes(kind)) return requireUnquantized(directory);
  const subfolder = kind === "parent" ? `Give the subfolder, e.g. ${children[0]}.` : void 0;
  throw new CheckpointError(`mergeAdapter: \`checkpointDir\`, ${directory}, is no model: it ${text2}`, {
    hint: subfolder ?? "Give the folder of the base model; `adapterDir` is that of the adapter.",
    details: { path: directory, kind }
  });
}
async function requireUnquantized(directory) {
  const path = join4(directory, "config.json");
  const json = await readJson(path).catch(() => void 0);
  const method = json?.quantization_config?.quant_method;
  if (method === void 0 || method === "fp8" || method === "bitsandbytes") return;
  throw new CheckpointError(
    `${path}: the weights are quantised (${showValue(method)}), a method that cannot be merged into`,
    {
      hint: "Merge into the base model in 16 bits, FP8 or NF4: its shapes are the same, and the adapter fits it.",
      details: { path }
    }
  );
}
var NOT_COPIED = /\.(safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx|npz)$|\.index\.json$|^(params\.json|README\.md|adapter_config\.json|\..*)$/i;
async function smallFiles({ directory, indexFile }) {
  const names = (await readdir3(directory)).filter((name) => !NOT_COPIED.test(name) || name === indexFile);
  return ownFiles(directory, names);
}
async function ownFiles(directory, wanted) {
  const home = await realpath(directory);
  const stores = [home, resolve3(home, "..", "..", "blobs")];
  const files = [];
  for (const entry of await readdir3(directory, { withFileTypes: true })) {
    const { name } = entry;
    if (!wanted.includes(name)) continue;
    const path = join4(directory, name);
    if (entry.isFile()) files.push([name, path]);
    if (!entry.isSymbolicLink()) continue;
    const real = await realpath(path).catch((cause) => {
      throw new CheckpointError(`${path}: a symbolic link that cannot be followed: ${cause.message}`, { cause });
    });
    if (!stores.some((store) => real.startsWith(store + sep))) {
      throw new CheckpointError(`${path}: a symbolic link to ${real}, which does not belong to the checkpoint`, {
        hint: "Remove the link, or put the file itself in its place if it is to be part of the merged model.",
        details: { path, real }
      });
    }
    if ((await stat(real)).isFile()) files.push([name, real]);
  }
  return files;
}
async function freeFolder(outputDir, sources) {
  const output = await realParent(outputDir);
  for (const source of sources) {
    const real = await realpath(source).catch(() => resolve3(source));
    if (output === real || output.startsWith(real + sep)) {
      throw new CheckpointError(`${outputDir} lies in the source folder ${source}`, {
        hint: "Give a folder of its own for the merged model."
      });
    }
  }
  const entries = await readdir3(outputDir).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw new CheckpointError(`${outputDir} is not a folder`, { cause: error });
  });
  if (entries.length > 0) {
    throw new CheckpointError(`${outputDir} is not empty: it holds ${entries.slice(0, 5).map(oneLine).join(", ")}`, {
      hint: "Give a new folder, so that files of two models cannot mix."
    });
  }
  return output;
}
async function realParent(path) {
  const real = await realpath(path).catch(() => void 0);
  if (real !== void 0) return real;
  const parent = dirname(path);
  return parent === path ? path : join4(await realParent(parent), basename(path));
}
function baseName(adapter, { origin }, checkpointDir) {
  const names = [
    cachedRepo(resolve3(checkpointDir))?.name,
    adapter && baseOf(adapter.model).name,
    origin.baseModelNameOrPath
  ];
  return names.find((name) => name !== void 0 && /^[\w.-]+\/[\w.-]+$/.test(name));
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
    '  - "ministral-tune"',
    "---",
    "",
    `[${base}](https://huggingface.co/${base}) with a LoRA adapter merged into its weights by ministral-tune.`,
    ""
  ].join("\n");
}

// src/lora/merge-output.ts
import { basename as basename2, join as join5 } from "node:path";
var MergeOutput = class _MergeOutput {
  /** By name, in the order of the base. */
  tensors;
  #checkpoint;
  #quantized;
  /** The changed config.json; undefined if it stays as it is. */
  #config;
  /** Shard of each tensor, by file name. */
  #shards = /* @__PURE__ */ new Map();
  #changesIndex;
  #untied;
  constructor(checkpoint, config, quantized, isQuantized, untied) {
    this.#checkpoint = checkpoint;
    this.#config = config;
    this.#quantized = quantized;
    this.#changesIndex = isQuantized || untied !== void 0;
    const tensors = /* @__PURE__ */ new Map();
    for (const { name, dtype, shape, byteLength } of checkpoint.tensors.values()) {
      if (isQuantized && quantized.isCompanion(name)) continue;
      this.#shards.set(name, basename2(checkpoint.fileOf(name).path));
      if (quantized.formatOf(name) || isQuantized && (dtype === "U8" || dtype === "I8")) {
        const held = this.source(name);
        const { shape: shape2, byteLength: byteLength2, read } = held;
        tensors.set(name, { name, dtype: FILE_DTYPES[held.dtype], shape: shape2, byteLength: byteLength2, read });
      } else {
        const file = checkpoint.fileOf(name);
        const read = (target, offset) => file.readBytes(name, target, offset);
        tensors.set(name, { name, dtype, shape, byteLength, read });
      }
    }
    if (untied) {
      tensors.set(untied.name, { ...tensors.get(untied.embedding), name: untied.name });
      this.#shards.set(untied.name, this.#shards.get(untied.embedding));
    }
    this.tensors = tensors;
    this.#untied = untied;
  }
  /**
   * @param head whether the output head changes, which then is no longer that of the embedding
   * @throws CheckpointError if 8-bit or 4-bit weights are stored in an unsupported way
   */
  static async of(checkpoint, head = { changes: false }) {
    const plain2 = await QuantizedCheckpoint.of(checkpoint, void 0);
    const isQuantized = plain2.isQuantized;
    if (!isQuantized && !head.changes) return new _MergeOutput(checkpoint, void 0, plain2, false, void 0);
    const path = join5(checkpoint.directory, "config.json");
    const what = isQuantized ? "how the weights are quantised" : "whether embedding and output head are tied";
    const json = await readJson(path).catch((cause) => {
      const reason = `cannot be read as JSON: ${cause.message}`;
      throw new CheckpointError(`${path}, which says ${what}, ${reason}`, { cause });
    });
    if (typeof json !== "object" || json === null) throw new CheckpointError(`${path} holds no JSON object`);
    const config = json;
    const faults = [];
    const quantization = isQuantized ? parseQuantization(config.quantization_config, faults) : void 0;
    if (faults.length > 0) throw new CheckpointError(`${path} cannot be used:
  - ${faults.join("\n  - ")}`);
    const quantized = isQuantized ? await QuantizedCheckpoint.of(checkpoint, quantization) : plain2;
    const { quantization_config: _, ...others } = config;
    const changed = { ...isQuantized ? others : config, ...head.changes ? untie(config) : {} };
    return new _MergeOutput(checkpoint, changed, quantized, isQuantized, head.untied);
  }
  /** Tensors of one file of the base, as they are written, in its order. */
  inFile(path) {
    const shard = basename2(path);
    return [...this.tensors.values()].filter(({ name }) => this.#shards.get(name) === shard);
  }
  /** Bytes of all tensors. */
  get bytes() {
    return [...this.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }
  /** A weight in the format in which it is merged and written. */
  source(name) {
    const stored = name === this.#untied?.name ? this.#untied.embedding : name;
    const source = dequantizedSource(this.#quantized.source(stored));
    return stored === name ? source : { ...source, name };
  }
  /** Writes over config.json and the index of the shards where they no longer hold. */
  async writeJson(folder) {
    if (!this.#config) return;
    const write = (name, value) => (
      // In place of a copy that may be read-only, as its original.
      writeFileAtomically(join5(folder, name), `${JSON.stringify(value, null, 2)}
`)
    );
    await write("config.json", this.#config);
    const { indexFile } = this.#checkpoint;
    if (indexFile === void 0 || !this.#changesIndex) return;
    const weightMap = Object.fromEntries([...this.tensors.keys()].map((name) => [name, this.#shards.get(name)]));
    await write(indexFile, { metadata: { total_size: this.bytes }, weight_map: weightMap });
  }
};
function untie(config) {
  const text2 = config.text_config;
  const nested = typeof text2 === "object" && text2 !== null && "tie_word_embeddings" in text2;
  return {
    tie_word_embeddings: false,
    ...nested ? { text_config: { ...text2, tie_word_embeddings: false } } : {}
  };
}

// src/lora/merge-place.ts
import { randomBytes } from "node:crypto";
import { mkdir, readdir as readdir4, rename, rm, rmdir } from "node:fs/promises";
import { basename as basename3, dirname as dirname2, join as join6 } from "node:path";
var LOCK = /^\.(.+)\.merge\.lock$/;
var PARTIAL = /^\.(.+)\.[0-9a-f]{8}\.partial$/;
var MergePlace = class {
  #outputDir;
  #parent;
  #name;
  #options;
  #lock;
  #partial;
  constructor(outputDir, options) {
    this.#outputDir = outputDir;
    this.#parent = dirname2(outputDir);
    this.#name = basename3(outputDir);
    this.#options = options;
  }
  /**
   * Gives the folder to fill, after removing what killed merges left beside it.
   * @throws CheckpointError if another merge writes to the same target, or nothing can be written there
   */
  async open() {
    const { onWarning, signal } = this.#options;
    const say = (text2) => warnWith(onWarning, [`mergeAdapter: ${this.#outputDir} ${text2}`]);
    try {
      this.#lock = await OwnerLock.take(this.#lockOf(this.#name), {
        what: "merge",
        whenHeld: "refuse",
        signal,
        onWait: (owner) => say(`was left by ${describeOwner(owner)}; waiting to see whether it still lives`)
      });
      await this.#removePartials(this.#name);
      await this.#tidyOthers();
      const partial = join6(this.#parent, `.${this.#name}.${randomBytes(4).toString("hex")}.partial`);
      await mkdir(partial);
      this.#partial = partial;
      return partial;
    } catch (cause) {
      throw signal?.aborted ? cause : this.#explained(cause);
    }
  }
  /** The folder is whole: it takes its name. */
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
  /**
   * What to throw for an error on the way: that the folder is another merge's is the better reason, and that the disk is
   * full belongs to the folder.
   */
  async reasonOf(error) {
    if (this.#partial === void 0 || this.#options.signal?.aborted) return error;
    const lost = await this.#requireOwned().catch((cause) => cause);
    if (lost instanceof CheckpointError) return lost;
    return error.syscall === void 0 ? error : this.#explained(error);
  }
  /** Leaves nothing of a merge that has not finished. */
  async close() {
    if (this.#partial !== void 0) await rm(this.#partial, { recursive: true, force: true });
    this.#partial = void 0;
    await this.#lock?.release();
  }
  /** A merge that was suspended for minutes may have been taken for dead. */
  async #requireOwned() {
    const lost = await this.#lock.check();
    if (lost === void 0) return;
    throw new CheckpointError(`${this.#outputDir} is no longer this merge's: ${lost}`, {
      hint: "The process was suspended for too long. Merge again, into a folder that no other merge writes to.",
      details: { path: this.#outputDir }
    });
  }
  /** Merges into other targets that were killed on this host leave gigabytes, and may never be tried again. */
  async #tidyOthers() {
    for (const file of await readdir4(this.#parent)) {
      const [, name] = LOCK.exec(file) ?? [];
      if (name === void 0 || name === this.#name || !await OwnerLock.isDead(this.#lockOf(name))) continue;
      const options = { what: "merge", whenHeld: "refuse" };
      const lock = await OwnerLock.take(this.#lockOf(name), options).catch(() => void 0);
      if (!lock) continue;
      await this.#removePartials(name).finally(() => lock.release());
    }
  }
  async #removePartials(name) {
    for (const entry of await readdir4(this.#parent, { withFileTypes: true })) {
      if (!entry.isDirectory() || PARTIAL.exec(entry.name)?.[1] !== name) continue;
      await rm(join6(this.#parent, entry.name), { recursive: true, force: true });
    }
  }
  #lockOf(name) {
    return join6(this.#parent, `.${name}.merge.lock`);
  }
  #explained(cause) {
    const details = { path: this.#outputDir };
    if (cause instanceof HeldError) {
      return new CheckpointError(`${this.#outputDir} is being written by ${describeOwner(cause.owner)}`, {
        hint: "Wait until that merge has ended, or give another `outputDir`.",
        details
      });
    }
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
  for (let row2 = 0; row2 < rows; row2 += 4) {
    for (const sum of sums) sum.fill(0);
    for (let k = 0; k < padded.r; k += 4) addFourRanks(sums, padded, row2, k, rows - 1);
    for (let j = 0; j < 4 && row2 + j < rows; j++) {
      const sum = sums[j];
      for (let i = 0, at = (row2 + j) * inFeatures; i < inFeatures; i++, at++) {
        merged[at] = weight[at] + Math.fround(scale * sum[i]);
      }
    }
  }
  return merged;
}
function padRanks({ r, a, b }, rows) {
  const padded = Math.ceil(r / 4) * 4;
  const wideA = new Float64Array(a.length / r * padded);
  wideA.set(a);
  const wideB = new Float64Array(rows * padded);
  for (let row2 = 0; row2 < rows; row2++) wideB.set(b.subarray(row2 * r, (row2 + 1) * r), row2 * padded);
  return { r: padded, a: wideA, b: wideB };
}
function addFourRanks(sums, { r, a, b }, row2, k, last) {
  const [s0, s1, s2, s3] = sums;
  const length = s0.length;
  const at = (j) => Math.min(row2 + j, last) * r + k;
  const [m, n, o, p] = [at(0), at(1), at(2), at(3)];
  const [m0, m1, m2, m3] = [b[m], b[m + 1], b[m + 2], b[m + 3]];
  const [n0, n1, n2, n3] = [b[n], b[n + 1], b[n + 2], b[n + 3]];
  const [o0, o1, o2, o3] = [b[o], b[o + 1], b[o + 2], b[o + 3]];
  const [p0, p1, p2, p3] = [b[p], b[p + 1], b[p + 2], b[p + 3]];
  const first = k * length;
  const [second, third, fourth] = [first + length, first + 2 * length, first + 3 * length];
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
var ROUNDS_TO_INFINITY = {
  f32: Number.POSITIVE_INFINITY,
  bf16: 2 ** 128 - 2 ** 119,
  f16: 65520
};
function firstBeyond(values, bound) {
  for (let i = 0; i < values.length; i++) if (!(Math.abs(values[i]) < bound)) return values[i];
  return void 0;
}
function narrow(values, dtype) {
  const stored = dtype === "f32" ? values : (dtype === "bf16" ? float32ToBfloat16 : float32ToFloat16)(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

// src/lora/merge-adapter.ts
var OPTIONS = {
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
var WORKERS = Math.min(16, availableParallelism2());
var CHUNK_BYTES = 8 * 1024 * 1024;
var MERGE_CHUNK_BYTES = 4 * 1024 * 1024;
async function mergeAdapter(options) {
  checkNames(options, OPTIONS, "mergeAdapter");
  const { checkpointDir, adapterDir, adapter } = options;
  if (adapterDir === void 0 === (adapter === void 0)) {
    const both = adapter !== void 0 ? "both" : "neither";
    throw new ConfigError(`mergeAdapter: give either \`adapterDir\` or \`adapter\`, got ${both}`);
  }
  requirePath(checkpointDir, "mergeAdapter: `checkpointDir`");
  requirePath(options.outputDir, "mergeAdapter: `outputDir`");
  if (adapter === void 0) requirePath(adapterDir, "mergeAdapter: `adapterDir`");
  else requireAdapter(adapter, "mergeAdapter", "mergeAdapter({ adapter, checkpointDir, outputDir })");
  const { chatTemplate, processor } = options;
  const parsedTemplate = parseOptions(z6.strictObject(chatTemplateFields), { chatTemplate, processor }, "mergeAdapter");
  const sources = [checkpointDir, ...adapterDir === void 0 ? [] : [adapterDir]];
  const outputDir = await freeFolder(resolve4(options.outputDir), sources);
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
    const output = await MergeOutput.of(checkpoint, { changes, untied: changes ? untied : void 0 });
    const small = new Map(await smallFiles(checkpoint));
    if (adapterDir !== void 0) {
      for (const [name, path] of await ownFiles(adapterDir, PROCESSOR_FILES)) small.set(name, path);
    }
    const trainedOn = (adapter && baseOf(adapter.model).name) ?? data.origin.baseModelNameOrPath;
    const other = otherBaseWarning(trainedOn, { nameOrPath: resolve4(checkpointDir) });
    warnWith(options.onWarning, other === void 0 ? data.warnings : [...data.warnings, other]);
    const template = chatTemplateText(parsedTemplate) ?? data.origin.chatTemplate;
    const partial = await place.open();
    await freeFolder(outputDir, sources);
    const bytesTotal = output.bytes;
    let bytesDone = 0;
    const progress = ({ name, byteLength }) => {
      bytesDone += byteLength;
      options.onProgress?.({ tensor: name, bytesDone, bytesTotal });
    };
    for (const file of checkpoint.files) {
      const tensors = output.inFile(file.path).map((tensor) => {
        const { name, dtype, shape } = tensor;
        const chunks = async function* () {
          const module = merged.get(name);
          yield* module ? mergedRows(output.source(name), module, threads, options.signal) : copiedBytes(tensor, options.signal);
          progress(tensor);
        };
        return { name, dtype, shape, chunks };
      });
      await writeSafetensors(join7(partial, basename4(file.path)), tensors, file.metadata);
    }
    for (const [name, path] of small) await copyFile(path, join7(partial, name));
    await output.writeJson(partial);
    if (template !== void 0) await writeFileAtomically(join7(partial, CHAT_TEMPLATE_FILE), template);
    const card = mergedCard(baseName(adapter, data, checkpointDir));
    if (card !== void 0) await writeFileAtomically(join7(partial, "README.md"), card);
    await place.finish();
    return {
      outputDir,
      mergedModules: merged.size,
      tensors: output.tensors.size,
      bytes: bytesTotal,
      files: (await readdir5(outputDir)).sort()
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
  const linears = /* @__PURE__ */ new Map();
  let untied;
  for (const tensor of checkpoint.tensors.keys()) {
    const shape = quantized.shapeOf(tensor);
    const name = linearModuleName(tensor, shape);
    if (name !== void 0) linears.set(name, { name, shape, tensor });
  }
  const embedding = [...checkpoint.tensors.values()].find(
    ({ name, shape }) => toMemoryName(name) === EMBEDDING && shape.length === 2
  );
  if (embedding && !linears.has(OUTPUT_HEAD)) {
    const isOld = embedding.name !== EMBEDDING;
    untied = { name: isOld ? toDiskName(`${OUTPUT_HEAD}.weight`) : `${OUTPUT_HEAD}.weight`, embedding: embedding.name };
    linears.set(OUTPUT_HEAD, { name: OUTPUT_HEAD, shape: embedding.shape, tensor: untied.name });
  }
  return { linears, untied };
}
var EMBEDDING = "model.language_model.embed_tokens.weight";
function modulesByTensor(data, linears, checkpoint, quantized) {
  const merged = /* @__PURE__ */ new Map();
  const faults = [];
  for (const module of data.modules) {
    const linear = linears.get(module.name);
    if (!linear) {
      faults.push(`${module.name}: the checkpoint has no such layer`);
      continue;
    }
    const [out, inner] = linear.shape;
    const dtype = checkpoint.tensors.get(linear.tensor)?.dtype ?? "F32";
    if (module.a.length !== module.r * inner || module.b.length !== out * module.r) {
      faults.push(`${module.name}: the adapter was made for another shape than [${out}, ${inner}]`);
    } else if (!engineDtype(dtype) && !quantized.formatOf(linear.tensor)) {
      faults.push(`${linear.tensor}: stored as ${dtype}, expected F32, BF16, F16, F8_E4M3 or NF4 of bitsandbytes`);
    }
    merged.set(linear.tensor, module);
  }
  if (faults.length > 0) {
    throw new CheckpointError(`${checkpoint.directory}: the adapter cannot be merged:
  - ${faults.join("\n  - ")}`, {
      hint: "Merge into the base model that the adapter was trained on.",
      details: { faults }
    });
  }
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
    const rows = { bytes, dtype, lora: { r, scale, a, b: b.slice(first * r, end * r) } };
    const result = byteLength < MERGE_CHUNK_BYTES ? mergeRows(rows) : await threads.run(rows, [bytes.buffer], signal);
    if ("bytes" in result) return result.bytes;
    throw beyondError(source, result.beyond);
  };
  const ahead = [];
  for (let offset = 0; offset < byteLength || ahead.length > 0; ) {
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

// src/train/sft-trainer.ts
import { resolve as resolve6 } from "node:path";

// src/train/callback-runner.ts
var LAST_CALL_MS = 3e4;
var LONG_MS = 2 ** 30;
var CallbackRunner = class {
  #listed;
  #run;
  #failure;
  /** Nothing is left that an error could end. */
  #isOver = false;
  /** Settles with the call before. */
  #turn = Promise.resolve();
  /** Events that came before `start`: a run that waits for its folder says so. */
  #early = [];
  #resumed;
  /** @param run its signal, and what ends it */
  constructor(callbacks, run) {
    this.#listed = callbacks.map((callback2, i) => {
      return { callback: callback2, name: callback2.name ? `"${oneLine(callback2.name)}"` : `callbacks[${i}]`, hasFailed: false };
    });
    this.#run = run;
  }
  /** Settles when every callback has handled the event, and never rejects: an error ends the run through its signal. */
  handle(event) {
    this.#turn = this.#turn.then(async () => {
      if (event.type === "start") await this.#start(event);
      else if (this.#early) this.#early.push(event);
      else await this.#deliver(event);
    });
    return this.#turn;
  }
  /** Whether the run is to be held before its next optimizer step. */
  get isPaused() {
    return this.#resumed !== void 0;
  }
  /** Settles when the run may go on. @throws the reason of the run's signal */
  async whenResumed() {
    const alive = setInterval(() => void 0, LONG_MS);
    try {
      await orAborted(this.#resumed?.promise ?? Promise.resolve(), this.#run.signal);
    } finally {
      clearInterval(alive);
    }
  }
  /**
   * To be called when the last step is done: errors are warnings from here on.
   * @throws TrainingError if a callback has failed
   */
  requireSound() {
    if (this.#failure) throw this.#failure;
    this.#isOver = true;
  }
  /** The run is over. Never rejects. @param error what ended it, if something did */
  async close(error) {
    await this.#turn;
    this.#isOver = true;
    this.#resume();
    for (const listed of this.#listed) await this.#call(listed, "onClose", (callback2) => callback2.onClose?.(error));
  }
  async #start(event) {
    for (const listed of this.#listed) {
      const control = this.#controlOf(listed);
      await this.#call(listed, "onStart", (callback2) => callback2.onStart?.(event, control));
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
      if (typeof answer?.then === "function") {
        await this.#answered(answer);
      }
    } catch (error) {
      listed.hasFailed = true;
      this.#fail(listed, where, error);
    }
  }
  /** Waits for a callback. @throws what it rejects with; TrainingError if it never answers */
  async #answered(answer) {
    let strand = () => {
    };
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
  #fail({ callback: callback2, name }, where, error) {
    const message = `the callback ${name} failed in ${where}: ${reasonOf(error)}`;
    if (this.#isOver || this.#run.signal.aborted) {
      process.emitWarning(printable(message), "TrainerCallbackWarning");
      return;
    }
    const own = error instanceof TuneError ? error.hint : void 0;
    this.#failure = new TrainingError(message, {
      hint: own ?? "Mend it or leave it out of `callbacks`; `resumeFromCheckpoint` goes on from the last whole step.",
      details: { callback: callback2.name ?? name, where },
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
var STRANDED = "A callback must not wait for the run itself: the run waits for the callback.";
function withResolvers() {
  let resolve7 = () => {
  };
  const promise = new Promise((settle) => {
    resolve7 = settle;
  });
  return { promise, resolve: resolve7 };
}

// src/train/label-check.ts
var PROBES = 1e4;
var LISTED = 10;
var PER_TURN = 64;
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
  throw new DataError(
    `there is nothing to learn in ${unlabelled.length} of ${count} samples, no token of which carries a label: ` + shortList(unlabelled, LISTED, oneLine),
    {
      hint: "Each needs an assistant message with text, and a template that renders it. Repair them or filter them out.",
      details: { samples: unlabelled }
    }
  );
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
    hint: 'Raise `maxLength`, or set `overlong` of the collator to "drop" or "truncateText".',
    details: { length, maxLength }
  });
}
function allTooLong(which, count, longest) {
  return new DataError(
    `all ${count} samples of ${which} are longer than \`maxLength\`, and \`overlong: "drop"\` leaves them out; the longest has at least ${longest} tokens`,
    { hint: 'Raise `maxLength`, or set `overlong: "truncateText"`.', details: { samples: count, longest } }
  );
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
  #open = /* @__PURE__ */ new Map();
  #strange = /* @__PURE__ */ new Map();
  #spelled = /* @__PURE__ */ new Map();
  #promptFaults = /* @__PURE__ */ new Set();
  #leftOut = /* @__PURE__ */ new Map();
  #tooLong = /* @__PURE__ */ new Map();
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
    for (const end of endTokens) {
      if (this.#stopTokenIds && !this.#stopTokenIds.has(end.id))
        tally(this.#strange, `${end.token} (${end.id})`, 1, id);
    }
    for (const [token, times] of Object.entries(spelledTokens)) tally(this.#spelled, token, times, id);
    for (const what of leftOut) tally(this.#leftOut, what, 1, id);
  }
  /** @throws DataError if all samples are dropped */
  requireOneThatFits(count) {
    if (count > 0 && this.#dropped === count) throw allTooLong("the training set", count, this.#longest);
  }
  warnings() {
    const of = ({ samples, first }) => `in ${samples} of ${this.#looked} samples (first: ${oneLine(first)})`;
    const lines = [];
    for (const [what, { samples, first }] of this.#tooLong) {
      lines.push(
        `${samples} of ${this.#looked} samples are longer than ${what} (first: ${first}), by their text alone`
      );
    }
    for (const [reason, found] of this.#open) {
      lines.push(
        `the end of the answer is not learned ${of(found)}. Of the chat template: ${reason}. A model that never learns to stop answers without end; let the template write {{ eos_token }} after each answer`
      );
    }
    for (const fault of this.#promptFaults) {
      lines.push(
        `generation asks in another way than training shows. Of the chat template: ${fault}. Let it write the same in both, the prompt by {% if add_generation_prompt %}`
      );
    }
    for (const [token, found] of this.#strange) {
      const known = [...this.#stopTokenIds].join(", ") || "none";
      lines.push(
        `answers end with ${token} ${of(found)}, which is none of the model\u2019s end-of-sequence tokens (${known}): prompts of the collator stop at both; for other programs put it into eos_token_id of generation_config.json`
      );
    }
    if (this.#spelled.size > 0) {
      const tokens = Array.from(this.#spelled, ([token, { count, samples, first }]) => {
        const often = count === 1 ? "once" : `${count} times`;
        return `${token} ${often} in ${samples} ${samples === 1 ? "sample" : "samples"} (first: ${oneLine(first)})`;
      });
      lines.push(
        `texts spell control tokens, which stay text: ${tokens.join("; ")}. If they are meant as such, give messages and images as parts, or set \`parseSpecialTokens\` for plain strings`
      );
    }
    for (const [what, found] of this.#leftOut) {
      lines.push(`the chat template does not show ${what} ${of(found)}: nothing of them is seen or learned`);
    }
    return lines;
  }
};
function tally(found, name, count, first) {
  const known = found.get(name) ?? { count: 0, samples: 0, first };
  known.count += count;
  known.samples++;
  found.set(name, known);
}

// src/train/progress.ts
var LINE_MS = 3e4;
var Progress = class {
  #line;
  #style;
  #now;
  #totalSteps = 0;
  #firstStep = 0;
  #startTime = 0;
  #tokens = 0;
  #saidShared = false;
  /** When the evaluation under way began, and when it was last shown. */
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
        this.#print(
          `training: ${event.samples} samples, ${event.totalSteps} steps${event.step > 0 ? ` (${event.step} done)` : ""}, ${event.trainableParameters.toLocaleString("en-US")} trainable parameters`
        );
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
        this.#print(
          `took the best step, ${event.step} (${event.metric} ${event.value.toPrecision(5)}), from ${event.checkpoint ?? "memory"}`
        );
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
        this.#print(
          `done: ${event.step} steps in ${formatDuration(trainRuntime)}, mean loss ${trainLoss.toFixed(4)}, ${trainTokensPerSecond.toFixed(0)} tok/s`,
          "bold"
        );
        break;
      }
      case "epoch":
        break;
    }
  }
  /** An evaluation is under way. @param done samples of `total` */
  evaluating(done, total) {
    if (this.#style === "none") return;
    const now = this.#now();
    this.#evaluation ??= { start: now, shown: now };
    const evaluation = this.#evaluation;
    const seconds = (now - evaluation.start) / 1e3;
    const left = done > 0 ? [{ text: `${formatDuration(seconds / done * (total - done))} left`, rank: 0 }] : [];
    const pieces = [{ text: "evaluating", rank: 1 }, { text: `${done}/${total}`, rank: 1 }, ...left];
    if (this.#style === "bar") {
      this.#line.draw(this.#fitted(pieces, done / total), now, done === 0);
    } else if (now - evaluation.shown >= LINE_MS) {
      evaluation.shown = now;
      this.#printPieces(pieces);
    }
  }
  /** The loss of an evaluation is known, and its metrics are not: how long they take is not known. */
  measuring() {
    if (this.#style !== "bar") return;
    const pieces = [
      { text: "evaluating", rank: 1 },
      { text: "computing metrics", rank: 0 }
    ];
    this.#line.draw(this.#fitted(pieces, 1), this.#now(), true);
  }
  /** Takes the drawn line away. */
  clear() {
    if (this.#style === "bar") this.#line.clear();
  }
  /** Leaves the terminal with a fresh line, after an error too. Call it once. */
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
    const pieces = logPieces({ ...event, tokensPerSecond: rate }, this.#totalSteps, this.#secondsLeft(event.step));
    this.#line.draw(this.#fitted(pieces, event.step / this.#totalSteps), now, event.step === this.#totalSteps);
  }
  /** What takes a while between two steps. */
  #drawWork(step, text2) {
    if (this.#style !== "bar") return;
    const pieces = [positionPiece(step, this.#totalSteps), { text: text2, rank: 0 }];
    this.#line.draw(this.#fitted(pieces, step / this.#totalSteps), this.#now(), true);
  }
  #fitted(pieces, share) {
    const { columns, usesColor } = this.#line;
    return fitPieces(pieces, { columns, share, usesColor });
  }
  #printPieces(pieces) {
    this.#line.print(this.#fitted(pieces));
  }
  #print(text2, style) {
    this.#line.print(styled(style, printable(text2), this.#line.usesColor));
  }
};
function logPieces(entry, totalSteps, secondsLeft, use = []) {
  return [
    positionPiece(entry.step, totalSteps),
    { text: `epoch ${entry.epoch.toFixed(2)}`, rank: 6 },
    { text: `loss ${entry.loss.toFixed(4)}`, rank: 2, style: "bold" },
    { text: `lr ${entry.learningRate.toExponential(2)}`, rank: 5 },
    { text: `grad ${entry.gradNorm.toPrecision(3)}`, rank: 7 },
    { text: `${entry.tokensPerSecond.toFixed(0)} tok/s`, rank: 3 },
    ...use,
    { text: `${formatDuration(secondsLeft)} left`, rank: 0, style: "cyan" }
  ];
}
function usePieces(entry) {
  const { modelTflops, modelFlopsUtilization, dataWaitShare, peakMemoryBytes } = entry;
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const rate = modelTflops === void 0 ? [] : [`${formatRate(modelTflops)}FLOP/s`];
  if (modelFlopsUtilization !== void 0) rate.push(`(${percent(modelFlopsUtilization)})`);
  return [
    ...rate.length > 0 ? [{ text: rate.join(" "), rank: 8 }] : [],
    { text: `data ${percent(dataWaitShare)}`, rank: 9 },
    { text: formatBytes(peakMemoryBytes), rank: 4 }
  ];
}
function formatRate(tera) {
  return tera >= 1 ? `${tera.toFixed(0)} T` : `${(1e3 * tera).toPrecision(3)} G`;
}
function evalLine(entry, totalSteps, usesColor) {
  const metrics = Object.entries(entry.metrics ?? {}).map(
    ([name, value]) => `${oneLine(name)} ${value.toPrecision(4)}`
  );
  return [
    positionPiece(entry.step, totalSteps).text,
    `epoch ${entry.epoch.toFixed(2)}`,
    styled("bold", `eval loss ${entry.evalLoss.toFixed(4)}`, usesColor),
    ...metrics,
    formatDuration(entry.evalRuntime)
  ].join("  ");
}
function positionPiece(step, totalSteps) {
  return { text: `step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}`, rank: 1 };
}

// src/train/trainer-parts.ts
var OTHER_NAMES3 = {
  args: "config",
  dataCollator: "collator",
  data_collator: "collator",
  dataset: "trainDataset"
};
var isDataset = (value) => isKind(value, "dataset");
var isImageFolder = (value) => !isDataset(value) && isKind(value, "imageFolder");
function checkTrainerOptions(options, configNames) {
  if (isPromise(options)) throw wrong("SftTrainer", "an object of options", "a promise", "Await it.");
  if (isKind(options, "model")) {
    const hint = "Write new SftTrainer({ model, trainDataset, collator, config }).";
    throw wrong("SftTrainer", "one object of options", "a model", hint);
  }
  if (!isObject(options)) return;
  const misplaced = configNames.filter((name) => name in options);
  if (misplaced.length > 0) {
    const names = misplaced.map((name) => `\`${name}\``).join(", ");
    throw new ConfigError(`SftTrainer: ${names}: ${misplaced.length === 1 ? "an option" : "options"} of \`config\``, {
      hint: `Write new SftTrainer({ model, trainDataset, collator, config: { ${misplaced[0]}: \u2026 } }).`,
      details: { misplaced }
    });
  }
  for (const [other, name] of Object.entries(OTHER_NAMES3)) {
    if (other in options) throw new ConfigError(`SftTrainer: \`${other}\` is called \`${name}\` here`);
  }
  const { model, collator, config, saveAdapter: saveAdapter2, computeMetrics, callbacks } = options;
  if (model !== void 0) requireModel(model);
  if (collator !== void 0) requireCollator(collator);
  if (isPromise(config)) throw wrong("SftTrainer: `config`", "an object of options", "a promise", "Await it.");
  const save = "Write saveAdapter: (directory) => saveAdapter(adapter, directory).";
  requireFunction(saveAdapter2, "saveAdapter", save);
  requireFunction(computeMetrics, "computeMetrics", "It returns values by name, such as { accuracy: 0.9 }.");
  if (callbacks !== void 0) requireCallbacks(callbacks);
}
var CALLBACK_METHODS = ["onStart", "onEvent", "onClose"];
function requireCallbacks(callbacks) {
  const what = "SftTrainer: `callbacks`";
  if (!Array.isArray(callbacks)) {
    const hint = isPromise(callbacks) ? "Await it." : "Write one as [one].";
    throw wrong(what, "a list of callbacks", isPromise(callbacks) ? "a promise" : describe(callbacks), hint);
  }
  for (let i = 0; i < callbacks.length; i++) {
    const callback2 = callbacks[i];
    const one = `${what}[${i}]`;
    const expected = "a callback";
    if (isPromise(callback2)) throw wrong(one, expected, "a promise", "Await it.");
    if (typeof callback2 === "function") {
      throw wrong(one, expected, "a function", "Call it, if it makes one; else write { onEvent: (event) => \u2026 }.");
    }
    if (!isObject(callback2)) throw wrong(one, expected, describe(callback2), "Write { onEvent: (event) => \u2026 }.");
    const given = CALLBACK_METHODS.filter((name) => callback2[name] !== void 0);
    if (given.length === 0) {
      const hint = "It has `onStart`, `onEvent` or `onClose`: what `event.type` tells apart all goes to `onEvent`.";
      throw wrong(one, expected, `an object without ${CALLBACK_METHODS.join(", ")}`, hint);
    }
    for (const name of given) {
      if (typeof callback2[name] !== "function")
        throw wrong(`${one}.${name}`, "a function", describe(callback2[name]), "Leave it out, or write a function.");
    }
    if (callback2.name !== void 0 && typeof callback2.name !== "string") {
      throw wrong(`${one}.name`, "a text", describe(callback2.name), "It is the name in messages.");
    }
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
  if (isImageFolder(model) || isDataset(model)) {
    throw wrong(what, expected, isDataset(model) ? "a data set" : "an image folder", "It belongs to `trainDataset`.");
  }
  if (isObject(model)) {
    const hint = "Give the model itself; its adapter is on it.";
    if (isKind(model.model, "model")) throw wrong(what, expected, "an object that holds one", "Give its `model`.");
    if (isKind(model, "adapter")) throw wrong(what, expected, "an adapter", hint);
  }
  throw wrong(what, expected, describe(model), "Load one with fromPretrained and call applyLora.");
}
function requireCollator(collator) {
  const what = "SftTrainer: `collator`";
  const hint = "Write new VlmCollator({ ...processor }), with the processor of fromPretrained.";
  if (isObject(collator) && typeof collator.collate === "function") return;
  if (isPromise(collator)) throw wrong(what, "a VlmCollator", "a promise", "Await it.");
  if (typeof collator === "function") {
    throw wrong(what, "a VlmCollator", "a function", "An own collator is an object with the method `collate`.");
  }
  if (isObject(collator) && "tokenizer" in collator) throw wrong(what, "a VlmCollator", "a processor", hint);
  throw wrong(what, "a VlmCollator", describe(collator), hint);
}
function requireFunction(value, name, hint) {
  if (value === void 0 || typeof value === "function") return;
  throw wrong(`SftTrainer: \`${name}\``, "a function", isPromise(value) ? "a promise" : describe(value), hint);
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
    const split2 = isDataset(test) && (name !== "trainDataset" || !isDataset(train)) ? "test" : "train";
    throw wrong(what, expected, "an image folder", `Write ${name}: folder.${split2}.map(toExample).`);
  }
  if (typeof given === "string") {
    throw wrong(what, expected, showValue(given), "Read the file or the folder first.");
  }
  if (typeof given === "function") throw wrong(what, expected, "a function", "Call it.");
  if (isObject(given) && Symbol.iterator in given) {
    throw wrong(what, expected, "an iterable", "Samples are read by index: write [...samples].");
  }
  if (isObject(given) && Symbol.asyncIterator in given) {
    const hint2 = "Samples are read by index: collect them in an array with `for await`.";
    throw wrong(what, expected, "an asynchronous iterable", hint2);
  }
  if (isObject(given) && "messages" in given) throw wrong(what, expected, "a single sample", "Write [sample].");
  const split = isObject(given) && ["train", "test", "validation"].find((key) => Array.isArray(given[key]));
  if (split) throw wrong(what, expected, `an object of ${Object.keys(given).join(", ")}`, `Give its \`${split}\`.`);
  const hint = "A data set has `length` and `get(index)`, as those of ConversationDataset and ImageFolder have.";
  throw wrong(what, expected, describe(given), hint);
}
function checkMetrics(given) {
  if (given === void 0 || given === null) return void 0;
  const what = "`computeMetrics`";
  const expected = "numbers by name, such as { accuracy: 0.9 }";
  if (given instanceof Map) throw wrong(what, expected, "a Map", "Write Object.fromEntries(map).");
  if (!isObject(given) || Array.isArray(given) || ArrayBuffer.isView(given)) {
    throw wrong(what, expected, describe(given), "Give each value a name.");
  }
  const bad = Object.entries(given).find(([, value]) => typeof value !== "number");
  if (!bad) return { ...given };
  throw wrong(`${what}: \`${bad[0]}\``, "a number", describe(bad[1]), "Leave out what is none, or write Number(\u2026).");
}
function runWarnings(config, sampler) {
  const { totalSteps } = sampler;
  const warnings = scheduleWarnings(scheduleOf(config), scheduleRun(config, totalSteps));
  if (config.warmupRatio > 0) {
    warnings.push(`\`warmupRatio\` is the older name: write \`warmupSteps: ${config.warmupRatio}\`, a share below 1`);
  }
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
    const sample2 = await this.#given.get(index);
    checkSample(sample2, `${this.#name}[${index}]`);
    return sample2;
  }
  async *[Symbol.asyncIterator]() {
    for (let index = 0; index < this.length; index++) yield await this.get(index);
  }
};
function checkSample(sample2, where) {
  const fault = (came, hint) => new DataError(`${where}: expected a sample { messages: [\u2026] }, got ${came}`, { hint, details: { where } });
  if (isPromise(sample2)) throw fault("a promise", "Await all of them: await Promise.all(samples).");
  if (!isObject(sample2)) {
    const hint = sample2 === void 0 ? "Does the function that makes it return it?" : "See `TrainingExample`.";
    throw fault(describe(sample2), hint);
  }
  if ("messages" in sample2) return;
  if ("image" in sample2 && "label" in sample2) {
    throw fault("one of an image folder", "Map it to its messages: map(toExample).");
  }
  if (Array.isArray(sample2)) throw fault("an array", "A list of messages is a sample as { messages }.");
}
function describe(value) {
  if (typeof value === "function") return "a function";
  return showValue(value);
}
function wrong(what, expected, came, hint) {
  return new ConfigError(`${what}: expected ${expected}, got ${came}`, { hint });
}

// src/train/checkpoint-adapter.ts
var ADAPTER_PATIENCE = 3e4;
var AdapterWriter = class {
  /** For checkpoints. */
  write;
  /** `saveAdapter` did not answer in time: from then on checkpoints are written without it. */
  isSilent = false;
  constructor({ model, collator, saveAdapter: saveAdapter2, signal }) {
    const { engine, trainable } = model;
    const writeOwn = model.writeAdapter?.bind(model);
    const save = async (directory) => {
      await afterAbort(saveAdapter2(directory), signal, ADAPTER_PATIENCE, () => {
        this.isSilent = true;
        const seconds = ADAPTER_PATIENCE / 1e3;
        return new CheckpointError(`\`saveAdapter\` has not answered within ${seconds} s after the run was to stop`);
      });
    };
    this.write = async (folder, parameters, isCurrent) => {
      if (saveAdapter2 && !this.isSilent && isCurrent) await save(folder);
      else if (saveAdapter2 && !this.isSilent) {
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
import { basename as basename5, dirname as dirname3, join as join8, resolve as resolve5 } from "node:path";
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
  /** The newest checkpoint of the run, which may be the one that it was resumed from. */
  get latest() {
    return this.#latest;
  }
  /** Checkpoints of the run in its output folder, oldest first. */
  get paths() {
    return this.#kept.map(({ path }) => path);
  }
  /** Where a step is or would be saved. */
  pathOf(step) {
    return join8(this.#run.config.outputDir, checkpointName(step));
  }
  /**
   * Reads the checkpoint to go on from.
   * @param from its folder, or true for the newest in the output folder that can be read
   * @throws CheckpointError if there is none, it cannot be read, or it belongs to another run
   */
  async open(from) {
    const { outputDir } = this.#run.config;
    if (from !== true) {
      if (!await isCheckpoint(from)) await tidyCheckpointFolders(dirname3(resolve5(from)));
      return this.#opened(from, []).catch(async (error) => {
        throw await isCheckpoint(from) ? error : await explainVanished(from, error);
      });
    }
    const candidates = (await listCheckpoints(outputDir)).reverse();
    const damaged = [];
    let first;
    for (const { path } of candidates) {
      try {
        return await this.#opened(path, damaged, true);
      } catch (error) {
        if (!(error instanceof CheckpointError) || error instanceof OtherRunError) throw error;
        first ??= error;
        damaged.push(reasonOf(error));
      }
    }
    if (first) throw first;
    throw new CheckpointError(`\`resumeFromCheckpoint: true\`, but ${outputDir} holds no checkpoint`, {
      hint: "Start without it, or give the path of a checkpoint folder.",
      details: { outputDir }
    });
  }
  /** For a new run: what lies in its folder already may be what a later resume takes up. */
  async warnOfOthers() {
    const { outputDir, saveStrategy } = this.#run.config;
    const newest = saveStrategy === "no" ? void 0 : (await listCheckpoints(outputDir)).at(-1);
    if (!newest) return [];
    return [
      `${outputDir} holds checkpoints of an earlier run, up to step ${newest.step}: \`resumeFromCheckpoint: true\` would take the newest; remove them or use another folder`
    ];
  }
  /** @param isByName its name alone says that it is the newest */
  async #opened(path, damaged, isByName = false) {
    const { outputDir } = this.#run.config;
    const read = await readCheckpoint(path, this.#run, this.#course);
    const step = read.state.globalStep;
    if (isByName && basename5(path) !== checkpointName(step)) {
      throw new CheckpointError(`${path} holds step ${step}: somebody has renamed it`, {
        hint: `Name it ${checkpointName(step)} again, or give the path of the checkpoint to go on from.`,
        details: { path, step }
      });
    }
    this.#latest = { path, step };
    if (resolve5(dirname3(path)) === resolve5(outputDir)) {
      this.#kept = (await listCheckpoints(outputDir)).filter((checkpoint) => checkpoint.step <= step);
    }
    return { ...read, damaged };
  }
  /**
   * Finds the best step's checkpoint of a resumed run, with `loadBestModelAtEnd` its parameters too; where it is gone the
   * best of the saved ones takes its place. @returns warnings
   */
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
    tracker.lost(other === void 0 ? void 0 : { ...saved, checkpoint: other });
    const why = faults.length > 0 ? ` (${faults.join("; ")})` : "";
    const instead = tracker.best ? `; the best of the others is step ${tracker.best.step}, ${tracker.best.metric} ${tracker.best.value}` : "; the best is chosen anew from here";
    return [`the checkpoint of the best step so far, ${before.step}, is gone${why}${instead}`, ...warnings];
  }
  /** The checkpoint of a step: beside the one that was opened, or where it was written. */
  async #findStep({ step, value, checkpoint }, size, faults, warnings) {
    const beside = this.#latest && join8(this.#latest.path, "..", checkpointName(step));
    for (const path of /* @__PURE__ */ new Set([beside, checkpoint])) {
      if (!path || !await isCheckpoint(path)) continue;
      const judged = { run: this.#run, step, value };
      try {
        if (!this.#run.config.loadBestModelAtEnd) {
          await requireCheckpointOf(path, judged);
          return path;
        }
        const read = await readCheckpointParameters(path, size, judged);
        this.#best = { step, parameters: read.parameters };
        warnings.push(...read.warnings);
        return path;
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        faults.push(reasonOf(error));
      }
    }
    return void 0;
  }
  /**
   * The parameters of the best step: [size], from its checkpoint if that is sound, else from memory with the `fault`.
   * @throws CheckpointError if they are in neither
   */
  async readBest(best, size) {
    const copy = this.#best?.step === best.step ? this.#best.parameters : void 0;
    if (best.checkpoint === void 0) {
      if (copy) return { parameters: copy, fault: "it could not be saved" };
      throw new CheckpointError(`the parameters of step ${best.step} were not saved`);
    }
    try {
      const { parameters } = await readCheckpointParameters(best.checkpoint, size, { run: this.#run, ...best });
      return { parameters, fault: void 0 };
    } catch (error) {
      if (!copy || !(error instanceof CheckpointError)) throw error;
      return { parameters: copy, fault: reasonOf(error) };
    }
  }
  /** The best step, if it is in memory alone. */
  get unsavedBest() {
    return this.#best?.unsaved && this.#best.step;
  }
  /**
   * Writes a checkpoint, then removes those beyond `saveTotalLimit`: only ones that this run wrote or grew from, and
   * neither the newest nor the best. Where it cannot be written and is the best step, it stays in memory for `saveBest`.
   * @returns what was written and removed, and why one could not be removed
   * @throws CheckpointError if it cannot be written; nothing is removed then
   */
  async save(progress, tensors) {
    const step = progress.globalStep;
    const { loadBestModelAtEnd, saveStrategy } = this.#run.config;
    if (progress.best?.best?.step === step && (loadBestModelAtEnd || saveStrategy === "best")) {
      const unsaved = { progress: { ...progress, logHistory: [...progress.logHistory] }, tensors };
      this.#best = { step, parameters: tensors.parameters, unsaved };
    }
    const path = await this.#write(progress, tensors, true);
    this.#latest = { path, step };
    this.#nowSaved(step);
    return { path, step, ...await this.#removeSurplus(progress.best) };
  }
  /** Tries again to write the best step's checkpoint, if that failed before; undefined if nothing was written. */
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
      return void 0;
    }
    this.#latest ??= { path, step };
    this.#nowSaved(step);
    return { path, step, ...await this.#removeSurplus({ ...best, best: { ...best.best, checkpoint: path } }) };
  }
  async #write(progress, tensors, isCurrent) {
    const { outputDir } = this.#run.config;
    const write = this.#writeAdapter;
    const path = await writeCheckpoint(
      outputDir,
      { ...this.#run, ...progress },
      tensors,
      (folder) => Promise.resolve(write?.(folder, tensors.parameters, isCurrent))
    );
    const step = progress.globalStep;
    const others = this.#kept.filter((checkpoint) => checkpoint.step !== step);
    this.#kept = [...others, { path, step }].sort((a, b) => a.step - b.step);
    return path;
  }
  /** What is on the disk needs no second place; the parameters stay, for a disk may fail later. */
  #nowSaved(step) {
    if (this.#best?.step !== step) return;
    const { parameters } = this.#best;
    this.#best = this.#run.config.loadBestModelAtEnd ? { step, parameters } : void 0;
  }
  async #removeSurplus(state) {
    const { saveTotalLimit } = this.#run.config;
    const removed = [];
    let notRemoved;
    if (saveTotalLimit === void 0) return { removed, notRemoved };
    const { best, saved } = state ?? {};
    const safe = /* @__PURE__ */ new Set([this.#latest?.step, best?.step]);
    if (best?.checkpoint === void 0) safe.add(saved?.step);
    const others = this.#kept.filter(({ step }) => !safe.has(step));
    const surplus = others.slice(0, Math.max(0, this.#kept.length - saveTotalLimit));
    for (const old of surplus) {
      try {
        await removeCheckpointFolder(old.path);
        removed.push(old.path);
      } catch (error) {
        notRemoved ??= `cannot remove ${old.path}: ${error.message}`;
      }
      this.#kept = this.#kept.filter((checkpoint) => checkpoint !== old);
    }
    return { removed, notRemoved };
  }
};

// src/train/checkpoint-saver.ts
var CheckpointSaver = class {
  #parts;
  constructor(parts) {
    this.#parts = parts;
  }
  /** Puts what a checkpoint holds into the engine. @throws CheckpointError if it is of another optimizer */
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
  /** Saves where the run is, everything settled. Gives whether it succeeded. */
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
        const isBest = checkpoints.unsavedBest === step;
        const more = isBest ? "; this is the best step so far, and is kept in memory until then" : "";
        await log.warn(step, `${reasonOf(error)}
  The run goes on; ${kept}; the next save tries again${more}.`);
        return false;
      }
    });
  }
  async #report({ path, step, removed, notRemoved }) {
    const { log } = this.#parts;
    await log.emit({ type: "save", step, path, removed });
    if (notRemoved) await log.warn(step, notRemoved);
  }
  /** Writes the best step's checkpoint, where that failed when it was the newest. Another failure is no news. */
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
  /** For a run that is stopped: its memory goes with it. @param step optimizer steps done */
  async rescueBest(step) {
    const { log, checkpoints } = this.#parts;
    await this.retryBest();
    const lost = checkpoints.unsavedBest;
    if (lost === void 0) return;
    await log.warn(step, `the best step, ${lost}, could not be saved and ends with this process`);
  }
  /** The best step's parameters instead of the last one's. @param step optimizer steps done */
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
      await log.warn(step, `${why}
  Save the adapter now: it is the only copy.`);
    }
    await log.emit({ type: "loadBest", ...tracker.best });
  }
};

// src/train/event-readers.ts
import { AsyncLocalStorage } from "node:async_hooks";
var FIRST_EVENT_PATIENCE = 3e4;
var ReaderLeft = class extends Error {
  constructor() {
    super("a reader left the events of the run");
  }
};
var loops = new AsyncLocalStorage();
var EventStream = class {
  events = [];
  #readers = /* @__PURE__ */ new Set();
  /** The run that is waiting for its readers. */
  #held = [];
  /** Undefined as long as there may be more events. */
  outcome;
  #isAwaited = false;
  /**
   * Hands an event to all readers and waits until they ask for the next one.
   * @param signal once it is aborted nobody is waited for: the run only ends from there on
   */
  async emit(event, signal) {
    this.events.push(event);
    for (const reader of this.#readers) reader.serve();
    if (event.type !== "end") await this.handled(event.step, signal);
  }
  /**
   * Waits until all readers have handled what they were given.
   * @param step of the run, for the warning of one that never asks again
   * @param signal once it is aborted nobody is waited for
   */
  async handled(step, signal) {
    if (signal?.aborted || !this.#isHeld) return;
    let resume = () => {
    };
    const stranded = () => this.#goOnWithout(step, () => true);
    const patience = setTimeout(() => {
      if (this.#isAwaited || this.#readers.size > 1) this.#goOnWithout(step, ({ taken }) => taken === 1);
    }, FIRST_EVENT_PATIENCE);
    patience.unref();
    await new Promise((resolve7) => {
      resume = resolve7;
      this.#held.push(resume);
      signal?.addEventListener("abort", resume, { once: true });
      process.once("beforeExit", stranded);
    });
    clearTimeout(patience);
    process.off("beforeExit", stranded);
    signal?.removeEventListener("abort", resume);
    this.#held = this.#held.filter((waiting) => waiting !== resume);
  }
  /** There are no more events. @param outcome settled: readers throw where it is rejected */
  end(outcome) {
    this.outcome = outcome;
    for (const reader of this.#readers) reader.serve();
  }
  /** From the first event on. @param onLeave called if it leaves before the end; must end the run */
  open(onLeave) {
    loops.run(loops.getStore() ?? [], () => void 0);
    const reader = new EventReader(this, onLeave);
    this.#readers.add(reader);
    return reader;
  }
  /**
   * To be called by whoever is about to wait for the run: lets it go on without the readers in whose loops that is. Where a
   * reader has taken a single event its context is not known yet, so it counts as one.
   */
  awaited() {
    this.#isAwaited = true;
    this.letGoOfLoops();
    for (const reader of this.#readers) if (reader.isBusy && reader.taken === 1) reader.letGo();
  }
  /** For readers, and for those who wait: the run goes on without the readers in whose loops this is called. */
  letGoOfLoops() {
    for (const reader of loops.getStore() ?? []) if (this.#readers.has(reader) && reader.isBusy) reader.letGo();
  }
  /** For readers: one asks, leaves or lets go. */
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
    if (readers.length > 0) this.events.push({ type: "warning", step, message });
    for (const reader of this.#readers) reader.serve();
    for (const reader of readers) reader.letGo();
  }
  /** Whether a reader is at work, or has not come to the last event yet. */
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
  /** It has caught up with the run, which waits for it from then on. */
  #isLive = false;
  /** Events that it was given. */
  taken = 0;
  constructor(stream, onLeave) {
    this.#stream = stream;
    this.#onLeave = onLeave;
  }
  /** Whether the run waits for it: it is at work on an event, or one has come since. */
  get holds() {
    return this.#isLive && (this.#asked.length === 0 || this.taken < this.#stream.events.length);
  }
  /** Whether it was given an event and has not asked for the next one. */
  get isBusy() {
    return this.#asked.length === 0 && this.taken > 0;
  }
  next() {
    if (!this.isOpen) return Promise.resolve({ done: true, value: void 0 });
    if (this.taken > 0) this.#markLoop();
    return new Promise((resolve7, reject) => {
      this.#asked.push({ resolve: resolve7, reject });
      this.serve();
      if (this.#asked.length > 0) this.#stream.letGoOfLoops();
    });
  }
  /** Leaves the run, which stops: settles when it has ended, and throws what it failed with. */
  async return() {
    if (this.isOpen) {
      this.#close();
      this.#stream.awaited();
      await (this.#stream.outcome ?? this.#onLeave());
    }
    return { done: true, value: void 0 };
  }
  /** As `return`, and throws the error. */
  async throw(error) {
    await this.return().catch(() => {
    });
    throw error;
  }
  [Symbol.asyncIterator]() {
    return this;
  }
  /** For the stream: answers what was asked as far as events go. */
  serve() {
    while (this.#asked.length > 0) {
      if (this.taken < this.#stream.events.length) {
        this.#asked.shift().resolve({ done: false, value: this.#stream.events[this.taken++] });
        continue;
      }
      const { outcome } = this.#stream;
      if (!outcome) {
        this.#isLive = true;
        break;
      }
      const { resolve: resolve7, reject } = this.#asked.shift();
      outcome.then(() => resolve7({ done: true, value: void 0 }), reject);
      this.#close();
      return;
    }
    this.#stream.changed();
  }
  /** The run goes on without waiting for it, until it has caught up again. */
  letGo() {
    this.#isLive = false;
    this.#stream.changed();
  }
  #close() {
    this.isOpen = false;
    for (const { resolve: resolve7 } of this.#asked.splice(0)) resolve7({ done: true, value: void 0 });
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
  /** As a checkpoint holds them. */
  #sums;
  #maxSkippedSteps;
  #tokensSinceLog = 0;
  #sharedSinceLog = 0;
  #waitSinceLog = 0;
  /** Not a number once a step did not count. */
  #flopsSinceLog = 0;
  #lastLog = performance.now();
  #last;
  #failure;
  /** Real tokens of this call. */
  tokens = 0;
  /** @param maxSkippedSteps steps that may be left out because they are not finite; the next one is an error */
  constructor(maxSkippedSteps, restored) {
    this.#maxSkippedSteps = maxSkippedSteps;
    const none = { totalLoss: 0, totalSteps: 0, lossSinceLog: 0, stepsSinceLog: 0, skippedSteps: 0 };
    this.#sums = { ...none, ...restored };
  }
  add(step) {
    this.#queue.push({ ...step, loss: once(step.loss), gradNorm: once(step.gradNorm) });
  }
  /**
   * Fetches losses and norms of all steps that are under way, and reports each. Waits for the engine only here.
   * @param wait waits for a value, as long as that is wanted
   * @throws TrainingError naming the samples, if a loss or a norm is not finite and no step may be left out, and at every
   *   later call
   */
  async settle(lastCheckpoint, emit, wait) {
    if (this.#failure) throw this.#failure;
    while (this.#queue.length > 0) {
      const { loss, gradNorm, dataWait, flops, sampleIds, ...known } = this.#queue[0];
      const event = { type: "step", ...known, loss: await wait(loss()), gradNorm: await wait(gradNorm()) };
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
      this.#flopsSinceLog += flops ?? Number.NaN;
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
      const count = `step ${this.#sums.skippedSteps} of at most ${this.#maxSkippedSteps} that are left out`;
      return emit({ type: "warning", step, message: `step ${step}: ${what}; nothing was learned from it (${count})` });
    }
    const where = lastCheckpoint ? `last checkpoint: ${lastCheckpoint}` : "no checkpoint was written yet";
    const others = this.#sums.skippedSteps > 0 ? ` after ${this.#sums.skippedSteps} steps that were left out` : "";
    this.#failure = new TrainingError(`step ${step}: ${what}${others}; ${where}`, {
      hint: 'Look at these samples, then resume from the checkpoint; `onNonFiniteLoss: "skip"` leaves out a few such steps. If losses grew before, start anew with a lower `learningRate`.',
      details: { step, loss: event.loss, gradNorm: event.gradNorm, sampleIds, lastCheckpoint }
    });
    throw this.#failure;
  }
  /**
   * The values since the last log, with which a new interval begins; undefined if no step was taken in it. Call with
   * everything settled.
   * @param matrixTflops rate of the engine's matrix products, for the utilisation
   */
  takeLog({ bytesInUse, peakBytes }, matrixTflops) {
    if (!this.#last || this.#sums.stepsSinceLog === 0) return void 0;
    const { step, epoch, gradNorm, learningRate } = this.#last;
    const seconds = (performance.now() - this.#lastLog) / 1e3;
    const modelTflops = this.#flopsSinceLog / Math.max(seconds, 1e-9) / 1e12;
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
  /** Runs work, such as an evaluation, whose time counts for no step. */
  async outside(work) {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#lastLog += performance.now() - start;
    }
  }
  /** Mean of the losses of all steps, those before a resume included; 0 without steps. */
  get meanLoss() {
    return this.#sums.totalSteps === 0 ? 0 : this.#sums.totalLoss / this.#sums.totalSteps;
  }
  /** Steps that were taken, those before a resume included. */
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
var LISTED2 = 5;
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
    unlabelled.push(...unlabelledRows(batch).map((row2) => oneLine(ids[row2])));
    labelCount += countLabels(batch);
    for (const real of batch.attentionMask.data) tokens += real;
  });
  if (batches.length === 0) return void 0;
  if (labelCount === 0) {
    throw new TrainingError(`step ${plan.step + 1}: no token of its ${sampleIds.length} samples carries a label`, {
      hint: "Each sample needs an assistant message; an over-long prompt may have pushed the answer out.",
      details: { step: plan.step + 1, sampleIds }
    });
  }
  return { batches, dropoutSlots, labelCount, tokens, sampleIds, unlabelled };
}
function skippedSamples(collated) {
  return collated.flatMap(({ skipped }) => skipped ?? []);
}
function describeSkipped(samples) {
  const shown = shortList(samples, LISTED2, ({ sampleId, reason }) => `${oneLine(sampleId)} (${oneLine(reason)})`);
  const subject = samples.length === 1 ? "a sample cannot be read and is" : `${samples.length} samples cannot be read and are`;
  return `${subject} left out: ${shown}`;
}
function unlabelledRows(batch) {
  const [rows, columns] = batch.inputIds.shape;
  const found = [];
  for (let row2 = 0; row2 < rows; row2++) {
    const labels = batch.labels?.data.subarray(row2 * columns + 1, (row2 + 1) * columns);
    if (!labels?.some((label) => label !== IGNORE_INDEX)) found.push(row2);
  }
  return found;
}
var MAX_UNREADABLE_STEPS = 3;
var LeftOutSteps = class {
  #unreadableInRow = 0;
  #unreadable = 0;
  #dropped = 0;
  /**
   * Takes in the micro-batches of a step.
   * @param isEmpty whether no sample is left in them
   * @returns warnings
   */
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
  /** @throws TrainingError if no sample of several steps in a row can be read */
  requireReadable(step, collated) {
    if (this.#unreadableInRow < MAX_UNREADABLE_STEPS) return;
    const skipped = skippedSamples(collated);
    throw new TrainingError(
      `step ${step}: no sample of ${MAX_UNREADABLE_STEPS} steps in a row can be read; ${describeSkipped(skipped)}`,
      {
        hint: "Is the folder of the images still there? Then go on with `resumeFromCheckpoint`.",
        details: { step, skipped }
      }
    );
  }
  /**
   * For a run, or an epoch of it, that has learned nothing at all.
   * @param notFinite steps that were left out because of their loss or norm
   */
  nothingLearned(step, notFinite) {
    const count = (steps) => steps === 1 ? "of 1 step" : `of ${steps} steps`;
    const reasons = [
      ...this.#dropped > 0 ? [`the collator dropped all samples ${count(this.#dropped)}`] : [],
      ...this.#unreadable > 0 ? [`no sample ${count(this.#unreadable)} can be read`] : [],
      ...notFinite > 0 ? [`the loss or gradient norm ${count(notFinite)} was not finite`] : []
    ];
    const hints = [
      ...this.#dropped > 0 ? [
        'Samples longer than `maxLength` are dropped by `overlong: "drop"`: raise it, use "truncateText", or smaller images.'
      ] : [],
      ...this.#unreadable > 0 ? ["Are the image files still there? `verify: true` reads them all beforehand."] : [],
      ...notFinite > 0 ? ["Try a lower `learningRate`, and check the base model by an evaluation."] : []
    ];
    return new TrainingError(`nothing was learned, up to step ${step} of the run: ${reasons.join("; ")}`, {
      hint: hints.join(" "),
      details: { step, droppedSteps: this.#dropped, unreadableSteps: this.#unreadable, notFiniteSteps: notFinite }
    });
  }
};

// src/train/training-loop.ts
var ENGINE_PATIENCE = 6e4;
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
  /** The model's when the run began: its adapter may be switched off meanwhile. */
  #trainable;
  /** Optimizer steps done; then epochs done. */
  #globalStep = 0;
  #epoch = 0;
  #firstStep = 0;
  #samples = 0;
  #matrixTflops;
  #saidUnlabelled = false;
  /** An evaluation is due, or was due when the checkpoint was written, and is not done. */
  #evaluationDue = false;
  /** The last step is counted, and what follows it is not reported yet. */
  #isStepOpen = false;
  /** Stopped or failed: only the last save remains, which the signal does not end. */
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
  /** Gradients that the model is still computing though the run has given up waiting for them. */
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
    await this.#log.emit({ type: "end", step: this.#globalStep, output });
    return output;
  }
  async #begin(resumeFrom) {
    const { model, config, sampler, dataset, signal } = this.#options;
    signal.throwIfAborted();
    const onWait = (message) => void this.#log.warn(0, message).catch(() => void 0);
    this.#folder = await claimRunFolder(config.outputDir, { signal, onWait });
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
    const warnings = /* @__PURE__ */ new Set([...runWarnings(config, sampler), ...doubts, ...found]);
    for (const message of warnings) await this.#log.warn(this.#firstStep, message);
  }
  /** Makes the optimizer's state, or takes up that of a checkpoint. Gives warnings for when the run has begun. */
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
      parameters: trainable.parameters.map(({ name, shape }) => ({ name, shape }))
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
      ...{ model, trainable, optimizer: this.#optimizer, config, lease, signal },
      answer: (value) => this.#answer(value)
    });
    const maxSkippedSteps = config.onNonFiniteLoss === "skip" ? config.maxSkippedSteps : 0;
    this.#metrics = new StepMetrics(maxSkippedSteps, resumed?.state.metrics);
    this.#best = judge && new BestModelTracker(judge, config, resumed?.state.best);
    this.#saver = new CheckpointSaver({
      ...{ engine, trainable, optimizer: this.#optimizer, totalSteps: sampler.totalSteps, log: this.#log },
      ...{ metrics: this.#metrics, best: this.#best, checkpoints: this.#checkpoints },
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
    this.#metrics.add({ step, epoch, learningRate, tokens, labels: labelCount, sampleIds, dataWait, ...taken });
    if (config.onNonFiniteLoss === "skip") await this.#settle();
    for (const message of warnings) await this.#log.warn(step, message);
  }
  /** Waits as long as a callback holds the run; the time counts for no step. */
  async #holdIfPaused() {
    const { callbacks, signal } = this.#options;
    const step = this.#globalStep;
    while (callbacks?.isPaused && !signal.aborted) {
      await this.#metrics.outside(async () => {
        const start = performance.now();
        await this.#log.emit({ type: "pause", step });
        await callbacks.whenResumed();
        await this.#log.emit({ type: "resume", step, seconds: (performance.now() - start) / 1e3 });
      });
    }
  }
  #count(step, epoch) {
    this.#globalStep = step;
    this.#epoch = epoch;
    this.#isStepOpen = true;
  }
  /** The engine's answer: given up once the run is to stop, and for the last save when it takes too long. */
  #answer(value) {
    const { signal } = this.#options;
    if (!this.#isEnding) return afterAbort(value, signal, MODEL_GRACE);
    return afterAbort(value, AbortSignal.abort(), ENGINE_PATIENCE, () => {
      return new TrainingError(`the engine has not answered within ${ENGINE_PATIENCE / 1e3} s`);
    });
  }
  /**
   * What is due after a step: log, evaluate, save; a save by steps goes before an evaluation by epochs. A run that was
   * stopped in here begins anew with the evaluation.
   */
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
      await this.#log.emit({ type: "epoch", step, epoch: this.#epoch });
    }
  }
  /** Logs the last step, and decides whether its evaluation is due. */
  async #closeStep() {
    const { config, model } = this.#options;
    const step = this.#globalStep;
    const isLogged = this.#isEvery(config.loggingSteps) || step === 1 && config.loggingFirstStep;
    if (isLogged) await this.#settle();
    this.#isStepOpen = false;
    const isLate = config.evalDelay <= (config.evalStrategy === "epoch" ? this.#epoch : step);
    this.#evaluationDue = isLate && this.#isDue(config.evalStrategy, config.evalSteps ?? config.loggingSteps);
    const entry = isLogged && this.#metrics.takeLog(model.engine.memory(), this.#matrixTflops);
    if (entry) await this.#log.emit({ type: "log", ...entry });
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
  /** Gives whether the step is the best so far. @param isJudged whether it may be, and counts for early stopping */
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
      const best = isJudged ? this.#best : void 0;
      const isBest = best?.judge(step, this.#checkpoints.pathOf(step), result) ?? false;
      await this.#log.emit({ type: "evaluate", step, epoch: this.#epoch, ...result });
      return isBest;
    });
  }
  /** Gives whether it succeeded: a disk that is full is no reason to lose the run. */
  async #save() {
    await this.#settle();
    return this.#saver.save({
      globalStep: this.#globalStep,
      epoch: this.#epoch,
      ...this.#evaluationDue ? { evaluationDue: true } : {}
    });
  }
  /**
   * Whatever stopped the run: gives up the window under way and saves the last whole step, so that no work is lost.
   * Not after a broken step.
   */
  async #rescue(error) {
    const { model, config } = this.#options;
    const made = this.#optimizer;
    if (!made) return;
    this.#isEnding = true;
    try {
      model.engine.zeroGradients(this.#trainable);
      await this.#settle();
      if (this.#isStepOpen) await this.#closeStep();
      const isNew = this.#globalStep > this.#firstStep && this.#metrics.learnedSteps > 0;
      const unsaved = () => isNew && this.#checkpoints.latest?.step !== this.#globalStep;
      if (config.saveStrategy === "no") return;
      if (unsaved()) {
        const isSaved = await this.#save() || this.#adapter.isSilent && await this.#save();
        if (isSaved && this.#adapter.isSilent) {
          const message = "`saveAdapter` does not answer; this save was made without what it writes";
          await this.#log.warn(this.#globalStep, message);
        }
      }
      if (!(this.#options.signal.reason instanceof ReaderLeft)) await this.#saver.rescueBest(this.#globalStep);
    } catch (fault) {
      const message = `cannot save the last step: ${reasonOf(fault)}`;
      if (fault !== error) await this.#log.warn(this.#globalStep, message);
    }
  }
  /** Reports all steps that are under way. */
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
      // None if a reader left before the run had begun.
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
  /**
   * @param body does the work
   * @param signal the caller's: aborts the body's
   */
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
    this.#result = new OutputPromise((resolve7) => resolve7(work));
    this.#result.catch((error) => {
      if (!this.#hasReader) void Promise.reject(error);
    });
    this.#result.onAwait = () => this.#events.awaited();
  }
  /** Settles with the run: the same as awaiting the run itself. */
  get result() {
    this.#hasReader = true;
    return this.#result;
  }
  // biome-ignore lint/suspicious/noThenProperty: awaiting the run is the point
  then(onFulfilled, onRejected) {
    return this.result.then(onFulfilled, onRejected);
  }
  /** From the first event on, whenever it is called; throws what the run failed with. Leaving it stops the run. */
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
  /** What `then` gives is a plain promise. */
  static get [Symbol.species]() {
    return Promise;
  }
  // biome-ignore lint/suspicious/noThenProperty: overrides that of a promise
  then(onFulfilled, onRejected) {
    this.onAwait?.();
    return super.then(onFulfilled, onRejected);
  }
};

// src/train/sft-trainer.ts
var TRAINER_OPTIONS = {
  model: true,
  config: false,
  trainDataset: true,
  evalDataset: false,
  collator: true,
  saveAdapter: false,
  computeMetrics: false,
  callbacks: false
};
var TRAIN_OPTIONS = { signal: false, resumeFromCheckpoint: false };
var SftTrainer = class {
  /** Every default filled in. */
  config;
  #options;
  /** As it was given, to be recognised. */
  #givenEvalDataset;
  #sampler;
  /**
   * @throws ConfigError for bad options, parts that are something else, or evaluations without a data set
   * @throws DataError if the training set gives no micro-batch
   * @throws TrainingError if the model has nothing to train
   */
  constructor(options) {
    checkTrainerOptions(options, Object.keys(sftConfigSchema.shape));
    checkNames(options, TRAINER_OPTIONS, "SftTrainer");
    const config = parseSftConfig(options.config);
    this.config = config;
    const trainDataset = asDataset(options.trainDataset, "trainDataset");
    const evalDataset = options.evalDataset && asDataset(options.evalDataset, "evalDataset");
    this.#options = { ...options, trainDataset, evalDataset };
    this.#givenEvalDataset = options.evalDataset;
    const wantsEvaluations = config.evalStrategy !== "no" ? `\`evalStrategy\` is "${config.evalStrategy}"` : void 0;
    const asked = wantsEvaluations ?? (config.evalOnStart ? "`evalOnStart` is true" : void 0);
    if (asked && !evalDataset?.length) {
      throw new ConfigError(`${asked}, but the evaluation set is missing or empty`, {
        hint: `Give \`evalDataset\`, or set ${wantsEvaluations ? '`evalStrategy: "no"`' : "`evalOnStart: false`"}.`
      });
    }
    const judge = wantsEvaluations === void 0 ? void 0 : judgeOf(config);
    if (judge && judge.metric !== "evalLoss" && !options.computeMetrics) {
      throw new ConfigError(`\`metricForBestModel\` is "${judge.metric}", but evaluations have the loss alone`, {
        hint: 'Give `computeMetrics`, which returns other metrics by name, or write "evalLoss".'
      });
    }
    const { trainable } = options.model;
    if (trainable.size === 0) {
      throw new TrainingError("the model has no trainable parameters", { hint: "call applyLora(model, config) first" });
    }
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
    if (!Number.isSafeInteger(totalSteps) && this.#sampler.microBatchesPerEpoch > 0) {
      throw new ConfigError(
        `\`numTrainEpochs\` of ${config.numTrainEpochs} are ${totalSteps} optimizer steps, more than can be counted`,
        { hint: "A run without an end of its own: set `maxSteps: 1e9`, and leave its loop or abort it." }
      );
    }
    if (this.#sampler.microBatchesPerEpoch === 0) {
      throw new DataError(`the training set has ${length} samples, too few for one micro-batch`, {
        hint: length > 0 ? "Set `dataloaderDropLast: false`, or a smaller batch size." : "Check where it is read from."
      });
    }
  }
  /** Optimizer steps of a run. */
  get totalSteps() {
    return this.#sampler.totalSteps;
  }
  /**
   * Starts a run: await it, iterate its events, or both; it waits for whoever iterates, and leaving the loop stops it: see
   * {@link TrainingRun}. It fails with
   * - DataError or TextError, before it begins: samples in which there is nothing to learn or, of the evaluation set, to
   *   measure, and those that are malformed
   * - TrainingError: a loss or gradient norm that is not finite, a step without labels, nothing that gets a gradient, an
   *   epoch of which no sample could be learned, a run that trains the same parameters already, an `outputDir` that
   *   another run took over while this one was suspended
   * - CheckpointError: a checkpoint to resume from that cannot be read, or belongs to another run; an `outputDir` that
   *   another run is using, on this or another host, or that cannot be written to
   * - what the data set, the collator, `computeMetrics` and the model throw, and the signal's reason
   * - a callback that fails, as a TrainingError that names it, or that stops the run, as a DOMException `AbortError`
   *
   * A checkpoint that cannot be written is a warning: the run goes on and later saves try again.
   */
  train(options = {}) {
    if (typeof options === "string") {
      throw new ConfigError(`train: expected an object of options, got ${showValue(options)}`, {
        hint: "Write train({ resumeFromCheckpoint: \u2026 }) to go on from a checkpoint."
      });
    }
    checkNames(options, TRAIN_OPTIONS, "train");
    requireSignal(options.signal, "train");
    const { resumeFromCheckpoint: resumeFrom } = options;
    if (typeof resumeFrom !== "boolean" && resumeFrom !== void 0) {
      requirePath(resumeFrom, "train: `resumeFromCheckpoint`");
    }
    const from = typeof resumeFrom === "string" ? resolve6(resumeFrom) : resumeFrom || void 0;
    const config = { ...this.config, outputDir: resolve6(this.config.outputDir) };
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
          ...{ signal: aborted, warn, onBatch },
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
      if (unanswered) void unanswered.then(() => lease.release());
      else lease.release();
    }
  }
  /**
   * Mean loss of a labelled token over a data set, by default the evaluation set, with dropout and noise off; for the
   * evaluation set also what `computeMetrics` gives. The terminal shows how far it is, as `progress` of the configuration
   * says.
   * @param dataset may be an array, as the trainer's own
   * @param signal heard though a data set, the collator or `computeMetrics` does not answer
   * @throws DataError if there is no data set, or nothing in it is labelled; the signal's reason
   */
  async evaluate(dataset = this.#givenEvalDataset, signal) {
    requireSignal(signal, "evaluate");
    const isOwn = dataset === this.#givenEvalDataset;
    const evaluated = isOwn ? this.#options.evalDataset : asDataset(dataset, "evaluate");
    const progress = new Progress(this.config.progress);
    try {
      return await this.#evaluate(evaluated, {
        signal,
        // No run has events for it.
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
    const isEvaluated = this.config.evalStrategy !== "no" || this.config.evalOnStart;
    if (isEvaluated && evalDataset) await checkEvaluationSet(evalDataset, collator, signal);
    return warnings;
  }
  async #evaluate(dataset, { signal, warn, onBatch, onProgress, onMetrics }) {
    if (!dataset?.length) throw new DataError("there is no evaluation set, or it is empty");
    const { model, evalDataset, computeMetrics } = this.#options;
    const { perDeviceEvalBatchSize: batchSize, labelSmoothingFactor: labelSmoothing, sharePrefix } = this.config;
    const onSkipped = (samples) => warn?.(`evaluation: ${describeSkipped(samples)}`);
    const loader = this.#loader(dataset);
    const settings2 = { batchSize, labelSmoothing, sharePrefix, signal };
    const parts = { loader, length: dataset.length, ...settings2, onSkipped, onBatch, onProgress };
    const loss = evaluateDataset(model, parts);
    const result = await (signal ? afterAbort(loss, signal, MODEL_GRACE) : loss);
    if (!computeMetrics || dataset !== evalDataset) return result;
    onMetrics?.();
    const metrics = checkMetrics(await orAborted(computeMetrics({ signal }), signal));
    return { ...result, ...metrics && { metrics } };
  }
  #loader(dataset) {
    const { dataloaderPrefetch, gradientAccumulationSteps } = this.config;
    const prefetch = dataloaderPrefetch ?? Math.max(2, 2 * gradientAccumulationSteps);
    return new DataLoader({ dataset, collator: this.#options.collator, prefetch });
  }
};

// src/train/abort-on-signals.ts
import { fstatSync, readFileSync, statSync } from "node:fs";
import { constants } from "node:os";
import { basename as basename6 } from "node:path";
var SAME_PRESS_MS = 200;
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
var IMPATIENT = [
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
  const number4 = name === "SIGBREAK" ? 21 : constants.signals[name];
  return 128 + number4;
}
function isHangupIgnored() {
  if (process.platform === "win32") return false;
  const parent = process.ppid > 1 ? process.ppid : void 0;
  if (ignores("self") || parent && ignores(parent) || hasUnreadableInput()) return true;
  return isNohup(process.env["_"]) && !(parent && isNohup(environmentOf(parent).get("_")));
}
function isNohup(command) {
  return basename6(command ?? "") === "nohup";
}
function environmentOf(pid) {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]));
  } catch {
    return /* @__PURE__ */ new Map();
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
var LEADING_MARKS = /^(?:\s|#+\s|>\s|[-+*]\s|[*_`~"'“”„‘’«»])+/u;
var TRAILING_MARK = /[\s*_`~"'“”„‘’«».,;:!?…。！？]/u;
function normalizeAnswer(text2) {
  const folded = text2.normalize("NFC").toLowerCase().trim();
  let end = folded.length;
  while (end > 0 && TRAILING_MARK.test(folded[end - 1])) end--;
  return folded.slice(0, end).replace(LEADING_MARKS, "").replace(/\s+/gu, " ");
}
function createAnswerParser(classNames, mode = "normalized") {
  const exact = indexNames(classNames, (name) => name.trim(), mode);
  if (mode === "exact") return (text2) => exact.get(text2.trim());
  const normalized = indexNames(classNames, normalizeAnswer, mode);
  return (text2) => {
    const key = normalizeAnswer(text2);
    return exact.get(text2.trim()) ?? (key ? normalized.get(key) : void 0);
  };
}
function indexNames(names, keyOf2, mode) {
  if (names.length === 0) throw new ConfigError("classNames: expected at least one class name, got none");
  const index = /* @__PURE__ */ new Map();
  for (const [i, name] of names.entries()) {
    if (name.trim() === "") throw new ConfigError(`classNames: name ${i} is empty`);
    const key = keyOf2(name);
    if (key === "") continue;
    const other = index.get(key);
    if (other !== void 0)
      throw new ConfigError(
        `classNames: ${showValue(names[other])} (${other}) and ${showValue(name)} (${i}) read the same in mode '${mode}'`,
        { hint: "Rename one of them, or use mode 'exact' if they differ only in case or punctuation." }
      );
    index.set(key, i);
  }
  return index;
}

// src/eval/evaluator.ts
var MOST_RESAMPLED = 1e4;
var METRICS_OPTIONS = {
  toExample: true,
  limit: false,
  onProgress: false,
  intervals: false,
  onReport: false
};
var Evaluator = class {
  /** Index = label; a copy of the option. */
  classNames;
  /** How the model is asked. */
  mode;
  #labels;
  #generate;
  #score;
  #toPrompt;
  #batchSize;
  #answerMode;
  #parse;
  /**
   * @throws ConfigError for class names that cannot be told apart, a batch size below 1, or a mode without its function
   */
  constructor(options) {
    this.mode = requireModeOptions(options);
    requireClassNames(options.classNames);
    if (this.mode === "scored") {
      requireCallback(options.score, "Evaluator: `score`", SCORE_HINT);
    } else requireCallback(options.generate, "Evaluator: `generate`", GENERATE_HINT);
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
  /**
   * Answers every sample, then counts.
   * @throws DataError for an empty data set, a label or class name that is no class of `classNames`, or answers that do
   *   not match the prompts
   */
  async evaluate(dataset, options) {
    requireEvaluation(dataset, options);
    const samples = [];
    let seconds = 0;
    for await (const progress of this.stream(dataset, options)) {
      samples.push(...progress.samples);
      seconds = progress.seconds;
      options.onProgress?.(progress);
    }
    const report2 = this.report(samples, { datasetLength: dataset.length, seconds });
    const { intervals = report2.count > MOST_RESAMPLED ? false : {}, signal } = options;
    if (intervals === false) return report2;
    return { ...report2, intervals: await bootstrapIntervals(report2.confusion, intervals, signal) };
  }
  /**
   * `computeMetrics` of a trainer: evaluates the model as it is then, and gives `accuracy`, `balancedAccuracy`,
   * `macroPrecision`, `macroRecall`, `macroF1`, `weightedF1`, `matthewsCorrcoef`, `validShare` (of answers that are a class),
   * and in mode `scored` `logLoss` and `brierScoreLoss`. `metricForBestModel` may name any of them: the greater the
   * better, but for names that end in Loss. Bootstrap intervals are made only if `intervals` is given.
   * @example
   * new SftTrainer({
   *   …, computeMetrics: evaluator.asMetrics(validation, { toExample }),
   *   config: { evalStrategy: 'epoch', metricForBestModel: 'accuracy', loadBestModelAtEnd: true },
   * });
   */
  asMetrics(dataset, options) {
    checkNames(options, METRICS_OPTIONS, "asMetrics");
    const { onReport, ...others } = options;
    requireCallback(onReport, "asMetrics: `onReport`", void 0, true);
    requireEvaluation(dataset, others, "asMetrics");
    requireSamplesToAsk(dataset);
    return async ({ signal } = {}) => {
      const report2 = await this.evaluate(dataset, { intervals: false, ...others, signal });
      await onReport?.(report2);
      return metricsOf(report2);
    };
  }
  /** The same, batch by batch, for those who would rather iterate; `onProgress` is not called. */
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
      const batch = await orAborted(
        Promise.all(
          indices.slice(from, from + this.#batchSize).map(async (index) => {
            const item = await dataset.get(index);
            signal?.throwIfAborted();
            requireItem(item, index);
            const label = this.#labelOf(item, index, names);
            const example = requireExample(await options.toExample(item), index, "toExample");
            const prompt = requireExample(this.#toPrompt(example), index, "toPrompt");
            return { label, id: example.id ?? String(index), prompt };
          })
        ),
        signal
      );
      const samples = await this.#answer(batch, signal);
      correct += samples.filter((one) => one.predicted === one.expected).length;
      const seconds = (performance.now() - start) / 1e3;
      yield { done: from + batch.length, total: indices.length, correct, samples, seconds };
    }
  }
  async #answer(batch, signal) {
    const prompts = batch.map((one) => one.prompt);
    const ids = batch.map((one) => one.id);
    if (this.mode === "scored") {
      const given = await orAborted(this.#score(prompts, this.classNames, signal), signal);
      return requireScores(given, ids, this.classNames.length).map((scores, i) => {
        const predicted = argmax(scores);
        const { id, label: expected } = batch[i];
        const answer = this.classNames[predicted];
        return { id, expected, predicted, answer, scores, confidence: softmax(scores)[predicted] };
      });
    }
    const isConstrained = this.mode === "constrained";
    const answers = await orAborted(
      isConstrained ? this.#generate(prompts, signal, this.classNames) : this.#generate(prompts, signal),
      signal
    );
    requireAnswers(answers, ids);
    const samples = batch.map(({ id, label }, i) => {
      const answer = answers[i];
      return { id, expected: label, predicted: this.#parse(answer) ?? null, answer };
    });
    if (isConstrained) requireChoices(samples);
    return samples;
  }
  /**
   * Counts samples that are already answered, e.g. collected from `stream`, or read with `readPredictions`. Intervals are
   * what `bootstrapIntervals(report.confusion)` gives.
   */
  report(samples, run) {
    requireSamples(samples, "evaluator.report: `samples`");
    requireClasses(samples, this.classNames.length, "evaluator.report: `samples`");
    checkNames(run, { datasetLength: true, seconds: true }, "evaluator.report");
    requireInteger(run.datasetLength, "evaluator.report: `datasetLength`", 0);
    if (!Number.isFinite(run.seconds)) {
      throw new ConfigError(`evaluator.report: \`seconds\`: expected a number, got ${describeGiven(run.seconds)}`);
    }
    const { classNames, mode } = this;
    return buildReport(samples, { classNames, mode, answerMode: this.#answerMode, ...run });
  }
  #labelOf(item, index, names) {
    const name = typeof item.className === "string" ? item.className : names?.[item.label];
    if (name === void 0) {
      const { label: label2 } = item;
      if (Number.isInteger(label2) && label2 >= 0 && label2 < this.classNames.length) return label2;
      throw new DataError(
        `evaluation: expected a label from 0 to ${this.classNames.length - 1}, got ${describeGiven(label2)} at sample ${index}`,
        { hint: "The data set and `classNames` must have the same classes in the same order." }
      );
    }
    const label = this.#labels.get(name);
    if (label !== void 0) return label;
    throw new DataError(`evaluation: sample ${index} is of class ${showValue(name)}, which is not in \`classNames\``, {
      hint: `Classes of the evaluator: ${this.classNames.slice(0, 20).map(oneLine).join(", ")}. Load both data sets with the same \`classes\`; names of your own: \`dataset.map\` with another \`className\`.`,
      details: { index, className: name, classNames: this.classNames }
    });
  }
};
function withoutAnswer(example) {
  const messages = example.messages.at(-1)?.role === "assistant" ? example.messages.slice(0, -1) : example.messages;
  if (messages.at(-1)?.role !== "user")
    throw new DataError(
      `evaluation: expected sample ${oneLine(example.id ?? "(no id)")} to end with a user turn, found ${messages.at(-1)?.role ?? "no turn"}`
    );
  return { ...example, messages };
}
function requireSamplesToAsk({ length }) {
  if (length === 0) throw new DataError("evaluation: the data set is empty");
}
function evenlySpaced(length, limit) {
  const count = limit === void 0 ? length : Math.min(length, limit);
  return Array.from({ length: count }, (_, i) => Math.floor((i + 0.5) * length / count));
}
function metricsOf(report2) {
  const { accuracy, balancedAccuracy, macroPrecision, macroRecall, macroF1, weightedF1, matthewsCorrcoef } = report2;
  const { probabilities } = report2;
  return {
    ...{ accuracy, balancedAccuracy, macroPrecision, macroRecall, macroF1, weightedF1, matthewsCorrcoef },
    validShare: 1 - report2.invalidShare,
    ...probabilities && { logLoss: probabilities.logLoss, brierScoreLoss: probabilities.brierScoreLoss }
  };
}
function positiveInteger(name, value) {
  requireInteger(value, `Evaluator: \`${name}\``, 1);
  return value;
}

// src/hub/push-files.ts
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat as stat2 } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { commitIter, createRepo, HubApiError } from "@huggingface/hub";
import * as z7 from "zod";

// src/hub/hub-fetch.ts
var PLACEHOLDER = "hf_placeholder";
var UPLOAD_SILENCE_MS = 12e4;
var NO_LIMIT_MS = 2 ** 31 - 1;
function placeholderToken({ token }) {
  return token ? { accessToken: PLACEHOLDER } : {};
}
function hubFetch(connection, subject) {
  const { origin, hostname } = new URL(connection.endpoint);
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (mayBeLoopback(url.hostname) && !mayBeLoopback(hostname)) {
      throw new HubError(`${subject.repoId}: the Hub wants an upload to go to this machine, ${url.host}`, {
        hint: "Nothing was sent. Ask whoever runs the Hub, or a mirror of it, why its storage has such an address.",
        details: { repoId: subject.repoId, host: url.host }
      });
    }
    const { authorization: forHub, ...headers } = Object.fromEntries(new Headers(init.headers));
    const signals = [connection.signal, init.signal].filter((signal2) => signal2 instanceof AbortSignal);
    const signal = signals.length > 0 ? AbortSignal.any(signals) : void 0;
    const privateHeaders = forHub && url.origin === origin ? authorization(connection) : {};
    const request = { ...requestSettings(connection), url, method: init.method, headers, privateHeaders, signal };
    const { body } = init;
    if (body instanceof Blob) return upload(request, body, connection, init.progressHint?.progressCallback);
    const withBody = typeof body === "string" ? { ...request, body } : request;
    if (init.method === "POST" && !forHub) {
      return withRetries(() => send(withBody), connection.retry, signal);
    }
    const isCommit = /\/commit\/[^/]+$/.test(url.pathname);
    try {
      const answer = await requestJson({
        ...withBody,
        explain: explainAnswer(connection, subject),
        retry: isCommit ? { maxAttempts: 1 } : connection.retry
      });
      return new Response(JSON.stringify(answer.value), { status: answer.status, headers: answer.headers });
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
      return await send({ ...request, body: counted, answerTimeoutMs: NO_LIMIT_MS, signal });
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
  const text2 = await answer.text(1 << 20);
  return new Response(answer.status === 204 ? null : text2, { status: answer.status, headers: answer.headers });
}
function mayBeStartedOver(error) {
  return error instanceof TransferError && (error.isTransient || error.status === 409 || error.status === 412);
}
function startOver(error) {
  return new HubError(error.summary, { ...error, cause: error, startOver: true });
}
function countedBlob(blob, onRead) {
  const stream = () => {
    let sent = 0;
    const counter = new TransformStream({
      transform: (chunk, controller) => {
        sent += chunk.length;
        onRead(sent);
        controller.enqueue(chunk);
      }
    });
    return blob.stream().pipeThrough(counter);
  };
  return Object.defineProperties(new Blob([]), {
    size: { value: blob.size },
    type: { value: blob.type },
    stream: { value: stream }
  });
}

// src/hub/push-files.ts
var pushFilesSchema = hubConnectionSchema.extend({
  /** Whether the repository is private, if it is made now; one that exists stays as it is. Default false. */
  private: z7.boolean().default(false),
  /** Branch. Default `main`. */
  revision: z7.string().min(1).default("main"),
  /** First line of the commit's message. */
  commitMessage: z7.string().min(1).optional(),
  /** Open a pull request instead of committing to the branch. Default false. */
  createPr: z7.boolean().default(false),
  /** Called while files are uploaded. Default: none. */
  onProgress: callback().optional()
});
async function pushFiles(id, files, options, refuse) {
  const repoId = parseRepoId(id);
  const connection = await connectForPush(repoId, options);
  await Promise.all(files.map(sizeOf));
  const revision = parseRevision(options.revision);
  const subject = { repoId, revision, action: "write" };
  let contents;
  const describeAll = () => {
    contents ??= Promise.all(files.map((file) => describe2(file, options.signal)));
    return contents;
  };
  const push2 = { connection, subject, contents: describeAll, options, refuse };
  const budget = new RetryBudget(connection.retry);
  for (; ; ) {
    try {
      return await attemptPush(push2);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof HubError && error.startOver)) throw asHubError(error);
      await budget.wait(error.with({ isTransient: true }), options.signal);
    }
  }
}
async function ownedRepoId(id, options) {
  const name = parseRepoId(id);
  if (name.includes("/")) return name;
  return withOwner(name, await whoIs(await connectForPush(name, options), name));
}
async function checkPushAccess(id, options = {}) {
  const name = parseRepoId(id);
  const connection = await connectForPush(name, parseOptions(hubConnectionSchema, options, "checkPushAccess"));
  const identity = await whoIs(connection, name);
  if (identity.auth?.accessToken?.role === "read") {
    throw new ConfigError(`${name}: the access token may only read`, {
      hint: "Make one with the right to write on https://huggingface.co/settings/tokens."
    });
  }
  return name.includes("/") ? name : withOwner(name, identity);
}
async function whoIs(connection, repoId) {
  const subject = { repoId, revision: "main", action: "write" };
  const { value } = await askHub(connection, subject, `${connection.endpoint}/api/whoami-v2`).catch(
    (error) => {
      throw asHubError(error);
    }
  );
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
var MAX_TEXT_BYTES = 1 << 20;
async function attemptPush(push2) {
  const { repoId } = push2.subject;
  const parent = await headCommit(push2);
  const tree = await listTree(push2.connection, push2.subject, parent);
  const reason = push2.refuse?.([...tree.keys()]);
  if (reason !== void 0) {
    throw new HubError(`${repoId}: ${reason}`, {
      hint: "Nothing was changed. Push into another repository, or delete that file there first.",
      details: { repoId }
    });
  }
  const changed = [];
  const kept = [];
  for (const file of await push2.contents()) {
    if (!differs(file, tree)) continue;
    const there = tree.get(file.path);
    const merged = there && file.merge ? await mergedFile(push2, file, there, parent) : file;
    if (!merged) kept.push(file.path);
    else if (differs(merged, tree)) changed.push(merged);
  }
  const url = `${push2.connection.endpoint}/${repoId}`;
  if (changed.length === 0) {
    return { repoId, url, commit: parent, changed: false, uploaded: [], kept, pullRequestUrl: void 0 };
  }
  const { commit, pullRequestUrl } = await commitFiles(push2, changed, parent);
  const uploaded = changed.map(({ path }) => path);
  return { repoId, url, commit, changed: true, uploaded, kept, pullRequestUrl };
}
async function mergedFile(push2, file, there, commit) {
  if (there.lfs_sha256 !== void 0 || there.size > MAX_TEXT_BYTES) return void 0;
  const text2 = file.merge(await readText(push2, file.path, there, commit));
  return text2 === void 0 ? void 0 : describe2({ path: file.path, text: text2 });
}
function readText(push2, path, there, commit) {
  const { retry, signal } = push2.connection;
  const { repoId } = push2.subject;
  const attempt = async () => {
    const answer = await sendRequest({
      ...requestSettings(push2.connection),
      url: fileAddress(push2.connection, repoId, commit, path)
    });
    const error = answer.status === 200 ? void 0 : await errorOf(answer, explainAnswer(push2.connection, push2.subject));
    if (error) throw error;
    const bytes = await answer.bytes(MAX_TEXT_BYTES + 1);
    const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    if (bytes.length === there.size && (git === there.blob_id || there.blob_id.length !== 40)) return bytes.toString();
    throw new HubError(`${repoId}: what came as ${path} is not the file that the Hub lists: ${bytes.length} bytes`, {
      hint: "Nothing was changed. A mirror or a proxy in between may have answered in its place.",
      status: answer.status,
      isTransient: true,
      details: { repoId, path, size: bytes.length, expectedSize: there.size }
    });
  };
  return withRetries(attempt, retry, signal);
}
async function headCommit(push2) {
  try {
    return await resolveRevision(push2.connection, push2.subject);
  } catch (error) {
    if (!(error instanceof HubError && error.status === 404) || error.errorCode === "RevisionNotFound") throw error;
  }
  await createRepository(push2);
  return resolveRevision(push2.connection, push2.subject);
}
async function createRepository(push2) {
  try {
    await createRepo({
      repo: { type: "model", name: push2.subject.repoId },
      visibility: push2.options.private ? "private" : "public",
      hubUrl: push2.connection.endpoint,
      fetch: hubFetch(push2.connection, push2.subject),
      accessToken: placeholderToken(push2.connection).accessToken
    });
  } catch (error) {
    if (!(error instanceof HubError && error.status === 409)) throw error;
  }
}
async function commitFiles(push2, files, parent) {
  const { commitMessage, createPr, onProgress, signal } = push2.options;
  const { repoId, revision } = push2.subject;
  try {
    const events = commitIter({
      repo: { type: "model", name: repoId },
      branch: revision,
      title: commitMessage ?? "Upload with ministral-tune",
      operations: files.map(({ path, content }) => ({ operation: "addOrUpdate", path, content })),
      parentCommit: parent,
      isPullRequest: createPr,
      // Plain large-file storage: this package's `fetch` can repeat it piece by piece.
      useXet: false,
      hubUrl: push2.connection.endpoint,
      fetch: hubFetch(push2.connection, push2.subject),
      ...placeholderToken(push2.connection),
      ...signal ? { abortSignal: signal } : {}
    });
    for (; ; ) {
      const { done, value } = await events.next();
      if (done) {
        if (!value) throw new HubError(`${repoId}: the Hub says nothing of the commit`);
        const { commit, pullRequestUrl } = value;
        return { commit: redact(commit.oid), pullRequestUrl: pullRequestUrl && redact(pullRequestUrl) };
      }
      if (value.event === "fileProgress" && value.state === "uploading") {
        onProgress?.({ file: value.path, uploaded: value.progress });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw explainFailure(push2, error);
  }
}
function explainFailure(push2, error) {
  if (error instanceof TransferError) {
    const unclear = push2.options.createPr && error.status === void 0;
    if (!unclear || !(error instanceof HubError && error.startOver)) return error;
    return error.with({
      summary: `${error.summary}; the pull request may have been opened all the same`,
      hint: `Look at ${push2.connection.endpoint}/${push2.subject.repoId}/discussions before you try again.`,
      startOver: false
    });
  }
  const { repoId } = push2.subject;
  const status = error instanceof HubApiError ? error.statusCode : void 0;
  const said = reasonOf(error).replaceAll(push2.connection.token.value, "***").split(" URL: ")[0];
  return new HubError(`${repoId}: the upload failed: ${said}`, { status, details: { repoId }, cause: error });
}
function differs({ path, size, sha256, gitSha1 }, tree) {
  const there = tree.get(path);
  if (!there || there.size !== size) return true;
  return there.lfs_sha256 ? there.lfs_sha256 !== sha256 : there.blob_id !== gitSha1;
}
async function sizeOf(file) {
  if ("text" in file) return Buffer.byteLength(file.text);
  try {
    return (await stat2(file.source)).size;
  } catch (cause) {
    throw new ConfigError(`${file.source}: there is no such file to push`, { details: { path: file.source }, cause });
  }
}
async function describe2(file, signal) {
  const { path } = file;
  const text2 = "text" in file ? Buffer.from(file.text) : void 0;
  const source = "source" in file ? file.source : "";
  const size = await sizeOf(file);
  const [sha256, git] = [createHash("sha256"), createHash("sha1").update(`blob ${size}\0`)];
  for await (const chunk of text2 ? [text2] : createReadStream(source, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    sha256.update(chunk);
    git.update(chunk);
  }
  const content = text2 ? new Blob([text2]) : pathToFileURL(source);
  const merge = "merge" in file ? file.merge : void 0;
  return { path, content, size, sha256: sha256.digest("hex"), gitSha1: git.digest("hex"), merge };
}

// src/publish/push-to-hub.ts
import { join as join11 } from "node:path";
import * as z9 from "zod";

// src/publish/adapter-upload.ts
import { readFile, stat as stat4 } from "node:fs/promises";
import { join as join9 } from "node:path";

// src/publish/model-card.ts
import { basename as basename7 } from "node:path";
import * as z8 from "zod";
var text = z8.string().min(1);
var words = z8.array(text);
var modelCardSchema = z8.strictObject({
  /** Heading, as text. Default: the repository's name. */
  title: text.optional(),
  /** The base model's name on the Hub. Default: what the adapter was saved with, or merged into. */
  baseModel: text.optional(),
  /** What the adapter or model does, in Markdown. */
  description: text.optional(),
  /** Shown first, set off: what it must not be used for. */
  warning: text.optional(),
  /** Its licence, in the Hub's spelling, e.g. `apache-2.0`. */
  license: text.optional(),
  /** Language codes, e.g. `en`. */
  language: words.default([]),
  /** Beyond those that are always there. */
  tags: words.default([]),
  /** Data sets on the Hub, by name; others belong into `data`. */
  datasets: words.default([]),
  /** What it was trained on, in Markdown: source, size, licence, known flaws. */
  data: text.optional(),
  /** The prompt that it was trained with. */
  prompt: text.optional(),
  /** Settings of the training, shown as they are. */
  config: z8.record(text, z8.unknown()).default({}),
  /** Results on data that was not trained on. */
  metrics: z8.array(
    z8.strictObject({
      /** What the Hub calls it, e.g. `accuracy`, `f1`. */
      type: text,
      /** What people call it. Default: `type`. */
      name: text.optional(),
      /** After training; four digits of it in the text, all in the metadata. */
      value: z8.number(),
      /** The same before training. */
      before: z8.number().optional()
    })
  ).default([]),
  /** Where `metrics` were measured. */
  evaluatedOn: z8.strictObject({
    /** What people call the data set. */
    name: text,
    /** A name on the Hub, or any other. */
    type: text,
    /** Part of the data set, e.g. `test`. */
    split: text.optional(),
    /** How many were evaluated. */
    samples: z8.int().min(1).optional()
  }).optional(),
  /** PNG or JPEG files, uploaded below `images/`. */
  pictures: z8.array(
    z8.strictObject({
      /** On this machine; the file keeps its name, which no other image may have. */
      path: text,
      /** Below the image, and in its place where it is not shown; Markdown. */
      caption: text
    })
  ).default([])
});
function imagePath(path) {
  return `images/${basename7(path)}`;
}
function renderModelCard(card, subject) {
  const { noun, repoId } = subject;
  const sections = [
    frontMatter(card, subject),
    `# ${escapeMarkdown(card.title ?? repoId.split("/")[1])}`,
    card.warning && `> [!WARNING]
${card.warning.split("\n").map((line) => `> ${line}`).join("\n")}`,
    subject.introduction,
    card.description,
    results(card),
    ...card.pictures.map(({ path, caption }) => {
      const alternative = caption.replace(/[[\]\\]/g, "\\$&").replace(/\s+/g, " ");
      return `![${alternative}](${addressOf(imagePath(path))})

*${caption}*`;
    }),
    card.data && `## Data

${card.data}`,
    card.prompt && `## Prompt

The ${noun} was trained with this prompt, and works best with it:

${fence(card.prompt, "text")}`,
    Object.keys(card.config).length > 0 && `## Training

${settings(card.config)}`,
    ...subject.sections
  ];
  return `${sections.filter(Boolean).join("\n\n")}
`;
}
function frontMatter(card, subject) {
  const { baseModel, library, relation, tags, repoId } = subject;
  const types = [...new Set(card.metrics.map(({ type }) => type))];
  const lines = [
    baseModel && `base_model: ${yamlString(baseModel)}`,
    baseModel && relation && `base_model_relation: ${relation}`,
    `library_name: ${library}`,
    "pipeline_tag: image-text-to-text",
    card.license && `license: ${yamlString(card.license)}`,
    list("language", card.language),
    list("tags", [.../* @__PURE__ */ new Set([...tags, ...card.tags])]),
    list("datasets", card.datasets),
    list("metrics", types),
    card.evaluatedOn && card.metrics.length > 0 && modelIndex(card, repoId)
  ];
  return `---
${lines.filter(Boolean).join("\n")}
---`;
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
  const number4 = (value) => value === void 0 ? "" : String(Number(value.toPrecision(4)));
  const rows = metrics.map(
    (metric) => row([escapeMarkdown(metric.name ?? metric.type), ...before ? [number4(metric.before)] : [], number4(metric.value)])
  );
  const head = before ? ["", "before training", "after"] : ["", "value"];
  const samples = evaluatedOn?.samples === void 0 ? "" : `, ${evaluatedOn.samples} samples`;
  const where = evaluatedOn && `On ${escapeMarkdown(evaluatedOn.name)}${evaluatedOn.split ? `, split ${escapeMarkdown(evaluatedOn.split)}` : ""}${samples}.

`;
  return `## Results

${where ?? ""}${row(head)}
${row(head.map(() => "---"))}
${rows.join("\n")}`;
}
function settings(config) {
  const rows = Object.entries(config).map(
    ([name, value]) => row([
      markdownCode(name),
      markdownCode(typeof value === "string" ? value : JSON.stringify(value) ?? String(value))
    ])
  );
  return `| setting | value |
| --- | --- |
${rows.join("\n")}`;
}
function row(cells) {
  return `| ${cells.join(" | ")} |`;
}
function addressOf(path) {
  return encodeURIComponent(path.replace(new RegExp("\\p{Surrogate}", "gu"), "\uFFFD")).replaceAll("%2F", "/").replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
function fence(code, language) {
  const longest = Math.max(2, ...[...code.matchAll(/`+/g)].map(([ticks2]) => ticks2.length));
  const ticks = "`".repeat(longest + 1);
  return `${ticks}${language}
${code}
${ticks}`;
}
function list(key, values) {
  return values.length === 0 ? void 0 : `${key}:
${values.map((value) => `  - ${yamlString(value)}`).join("\n")}`;
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
import { stat as stat3 } from "node:fs/promises";
async function hubName(name, what) {
  if (name === void 0) return void 0;
  const isFolder = await stat3(name).then(
    (found) => found.isDirectory(),
    () => false
  );
  try {
    if (!isFolder) return parseRepoId(plainRepoName(name));
  } catch {
  }
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
      { path: ADAPTER_WEIGHTS_FILE, source: join9(directory, ADAPTER_WEIGHTS_FILE) },
      ...await processorFiles(directory)
    ],
    warnings: vision > 0 ? [visionServingAdvice(vision, vision + contents.layers.language)] : [],
    subject: (repoId) => adapterSubject({ repoId, baseModel, config, ...contents })
  };
}
async function processorFiles(directory) {
  const isThere = await Promise.all(
    PROCESSOR_FILES.map(
      (name) => stat4(join9(directory, name)).then(
        (entry) => entry.isFile(),
        () => false
      )
    )
  );
  return PROCESSOR_FILES.filter((_, i) => isThere[i]).map((path) => ({ path, source: join9(directory, path) }));
}
async function configFile(directory, baseModel) {
  const source = join9(directory, ADAPTER_CONFIG_FILE);
  const text2 = await readFile(source, "utf8");
  const json = JSON.parse(text2);
  if ((json.base_model_name_or_path ?? void 0) === baseModel) return { path: ADAPTER_CONFIG_FILE, text: text2 };
  const changed = { ...json, base_model_name_or_path: baseModel ?? null };
  return { path: ADAPTER_CONFIG_FILE, text: `${JSON.stringify(changed, null, 2)}
` };
}
async function readFacts(directory) {
  await requireUnchanged(directory, [ADAPTER_WEIGHTS_FILE]);
  const file = await SafetensorsFile.open(join9(directory, ADAPTER_WEIGHTS_FILE));
  try {
    const layers = { language: 0, vision: 0, projector: 0 };
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
    if (faults.length > 0) {
      throw new CheckpointError(`${file.path} is not to be published:
  - ${faults.join("\n  - ")}`, {
        details: { path: file.path, faults }
      });
    }
    return { layers, maxRank, trainedParameters };
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
    sections: [adapterSection(facts), usage(facts), serving(facts)]
  };
}
function familyTag(baseModel) {
  return /mistral-small/i.test(baseModel ?? "") ? "mistral-small" : "ministral-3";
}
function adapterSection({ config, layers, maxRank, trainedParameters }) {
  const parts = Object.entries(layers).filter(([, count]) => count > 0);
  const scale = config.useRslora ? "alpha / \u221Ar (rsLoRA)" : "alpha / r";
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
  const more = baseModel ? "" : ", { baseModel: 'BASE_MODEL' }";
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    "",
    `const { model, processor, adapter } = await fromPretrained('${repoId}'${more});`
  ];
  const python = [
    "from peft import PeftModel",
    "from transformers import AutoModelForImageTextToText, AutoProcessor",
    "",
    `model = AutoModelForImageTextToText.from_pretrained("${base}", dtype="auto", device_map="auto")`,
    `model = PeftModel.from_pretrained(model, "${repoId}")`,
    `processor = AutoProcessor.from_pretrained("${base}")`
  ];
  return usageSection(typescript, python);
}
var VLLM_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];
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
  const tooHigh = rank === void 0 ? `

vLLM takes ranks up to ${VLLM_RANKS.at(-1)}: this adapter has to be merged first.` : "";
  return `### vLLM

${fence(flags.join(" \\\n  "), "sh")}

${note}${tooHigh}`;
}

// src/publish/card-mark.ts
import { createHash as createHash2 } from "node:crypto";
var MARK = /\n<!-- made by ministral-tune, sha256 ([0-9a-f]{64}); an edited page is kept -->\s*$/;
var CARRIED = "# from the page before:";
function markedCard(card, there = "") {
  const text2 = withCarried(plain(card), carriedFrom(plain(there)));
  return `${text2}
<!-- made by ministral-tune, sha256 ${digest(text2)}; an edited page is kept -->
`;
}
function isReplaceable(there) {
  const page = plain(there);
  const [, made] = MARK.exec(page) ?? [];
  if (made !== void 0) return digest(page.replace(MARK, "")) === made;
  return metadataAlone(page) !== void 0;
}
function carriedFrom(page) {
  if (MARK.test(page)) {
    const lines = frontMatter2(page)?.lines ?? [];
    const at = lines.indexOf(CARRIED);
    return at < 0 ? [] : lines.slice(at + 1);
  }
  return metadataAlone(page) ?? [];
}
function withCarried(card, lines) {
  const own = frontMatter2(card);
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
  return ["---", ...own.lines, CARRIED, ...carried, "---", own.text].join("\n");
}
function metadataAlone(page) {
  if (page.trim() === "") return [];
  const found = frontMatter2(page);
  return found && found.text.trim() === "" ? found.lines : void 0;
}
function frontMatter2(page) {
  const lines = page.split("\n");
  const end = lines.indexOf("---", 1);
  if (lines[0] !== "---" || end < 0) return void 0;
  return { lines: lines.slice(1, end), text: lines.slice(end + 1).join("\n") };
}
function keyOf(line) {
  return /^["']?([\w-]+)["']?\s*:/.exec(line)?.[1];
}
function plain(page) {
  return page.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
}
function digest(text2) {
  return createHash2("sha256").update(text2).digest("hex");
}

// src/publish/merged-upload.ts
import { readFile as readFile2 } from "node:fs/promises";
import { basename as basename8, join as join10 } from "node:path";
var PUBLISHED = /^((generation_)?config\.json|tekken\.json|SYSTEM_PROMPT\.txt|(LICEN[CS]E|NOTICE).*)$/i;
var WEIGHTS = /^model.*\.safetensors(\.index\.json)?$/;
async function mergedUpload(directory, base) {
  const baseModel = await hubName(base ?? await writtenBase(directory), "model");
  const checkpoint = await ShardedCheckpoint.open(directory);
  try {
    const shards = checkpoint.files.map(({ path }) => basename8(path));
    await requireUnchanged(directory, shards);
    const { indexFile } = checkpoint;
    const small = (await smallFiles(checkpoint)).filter(
      ([name]) => name === indexFile || PROCESSOR_FILES.includes(name) || PUBLISHED.test(name)
    );
    const tensors = [...checkpoint.tensors.values()];
    const facts = {
      baseModel,
      parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0),
      dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].sort(),
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0)
    };
    const files = [
      ...small.map(([path, source]) => ({ path, source })),
      ...shards.map((path) => ({ path, source: join10(directory, path) }))
    ];
    const names = files.map(({ path }) => path);
    return {
      files,
      warnings: [],
      subject: (repoId) => mergedSubject({ repoId, ...facts }),
      // Loaders put an adapter that they find onto the model, and prefer one file of weights to an index.
      refuse: (paths) => {
        const other = paths.find(
          (path) => path === ADAPTER_CONFIG_FILE || path === ADAPTER_WEIGHTS_FILE || WEIGHTS.test(path) && !names.includes(path)
        );
        return other && `it holds ${other}, which would be loaded with or in place of the merged model`;
      }
    };
  } finally {
    await checkpoint.close();
  }
}
async function writtenBase(directory) {
  const page = await readFile2(join10(directory, "README.md"), "utf8").catch(() => "");
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
  const serve = `vllm serve ${repoId} \\
  --config-format hf --load-format safetensors --tokenizer-mode hf`;
  return {
    repoId,
    baseModel,
    noun: "model",
    introduction: `${baseModel ? baseLink(baseModel) : "A model"} with a LoRA adapter merged into its weights by ministral-tune.`,
    library: "transformers",
    // The Hub's `merge` is several models made one.
    relation: "finetune",
    tags: ["lora", "ministral-tune"],
    sections: [model, usageSection(typescript, python), `### vLLM

${fence(serve, "sh")}`]
  };
}

// src/publish/push-to-hub.ts
var pushToHubSchema = pushFilesSchema.extend({
  /** What the page says. Default: what the files alone say. */
  modelCard: modelCardSchema.prefault({}),
  /**
   * Replace a README.md on the Hub that people have edited. Default false: it is kept as it is, with a warning, and
   * `kept` of the result names it.
   */
  overwriteCard: z9.boolean().default(false),
  /**
   * The chat template that the adapter was trained with, or its Jinja source: uploaded as chat_template.jinja. Default:
   * that of `processor`, else the folder's.
   */
  chatTemplate: chatTemplateFields.chatTemplate,
  /** What `fromPretrained` gave: its chat template is taken. */
  processor: chatTemplateFields.processor
});
async function pushToHub(directory, id, options = {}) {
  requirePath(directory, "pushToHub");
  const parsed = parseOptions(pushToHubSchema, options, "pushToHub");
  return whileUploading(directory, parsed, () => push(directory, id, parsed));
}
async function push(directory, id, options) {
  const { modelCard: card, overwriteCard, chatTemplate, processor, ...push2 } = options;
  const template = chatTemplateText({ chatTemplate, processor });
  const isModel = (await describeFolder(directory)).kind === "model" && !await exists(join11(directory, ADAPTER_CONFIG_FILE));
  const what = isModel ? "merged model" : "adapter";
  const upload2 = await (isModel ? mergedUpload : adapterUpload)(directory, card.baseModel);
  const repoId = await ownedRepoId(id, push2);
  const warn = push2.onWarning ?? ((line) => process.emitWarning(line, "LoraWarning"));
  for (const line of upload2.warnings) warn(line);
  const files = [
    ...upload2.files.filter(({ path }) => template === void 0 || path !== CHAT_TEMPLATE_FILE),
    ...template === void 0 ? [] : [{ path: CHAT_TEMPLATE_FILE, text: template }],
    ...card.pictures.map(({ path }) => ({ path: imagePath(path), source: path })),
    cardFile(renderModelCard(card, upload2.subject(repoId)), overwriteCard)
  ];
  const names = files.map(({ path }) => path);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0)
    throw new ConfigError(`pushToHub: several images would become ${[...new Set(twice)].join(", ")}`);
  const commitMessage = push2.commitMessage ?? `Upload ${what} with ministral-tune`;
  const result = await pushFiles(repoId, files, { ...push2, commitMessage }, upload2.refuse);
  if (result.kept.length > 0) {
    warn(
      `${repoId}: README.md on the Hub was edited there and is kept, so it does not show what \`modelCard\` says now; \`overwriteCard: true\` replaces it`
    );
  }
  return result;
}
function cardFile(card, overwrite) {
  const merge = (there) => overwrite || isReplaceable(there) ? markedCard(card, there) : void 0;
  return { path: "README.md", text: markedCard(card), merge };
}
export {
  ArchiveError,
  ChatTemplate,
  CheckpointError,
  ConfigError,
  ConversationDataset,
  DataError,
  DiskError,
  EngineError,
  Evaluator,
  HubError,
  HubImageFolder,
  ImageError,
  ImageFolder,
  ImagePool,
  IndexedDataset,
  KaggleError,
  KaggleImageFolder,
  LAYER_PROJECTIONS,
  LabelledDataset,
  LoraConfig,
  Ministral3,
  OutOfMemoryError,
  SftTrainer,
  TUTORIAL_TEMPLATE,
  TextError,
  TrainingError,
  TransferError,
  TuneError,
  VisionLanguageModel,
  VlmCollator,
  abortOnSignals,
  activeAdapter,
  adaptersOf,
  applyLora,
  checkPushAccess,
  compareReports,
  countLabels,
  createEngine,
  deleteAdapter,
  formatHubProgress,
  formatReport,
  fromPretrained,
  generate,
  generateText,
  generateTokens,
  loadAdapter,
  loadMinistral3,
  loadModel,
  loadProcessor,
  loadTfjs,
  mergeAdapter,
  pushToHub,
  randomPermutation,
  readHistory,
  saveAdapter,
  scoreLabels,
  setAdapter,
  streamText,
  verifyAdapter,
  writeReport
};
