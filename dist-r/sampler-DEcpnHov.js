import { a as custom, c as looseObject, f as record, h as union, i as boolean, l as number, m as string, n as _instanceof, o as int$1, p as strictObject, r as array, s as literal, t as _enum, u as object } from "./zod-CVDjCv3S.js";
import { a as EngineError, c as KaggleError, d as TrainingError, f as TransferError, i as DiskError, l as OutOfMemoryError, m as reasonOf$1, n as ConfigError, p as TuneError, r as DataError, s as ImageError, t as CheckpointError, u as TextError, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { _ as isKind, a as parseOptions, b as showValue, c as requireBoolean, d as requireKind, g as describeGiven, h as requireText, i as nearestName, l as requireCallback, m as requireSignal, n as checkNames, o as requirePath, p as requireOptions, r as functionOption, t as callback, u as requireInteger, v as isObject, y as isPromise } from "./config-BAD1VLMT.js";
import { a as dropoutScale, i as dropoutMask, l as uniformNoise, o as dropoutThreshold, r as counterHash, s as packedPermutation, t as MersenneTwister } from "./random-BGUvVUOv.js";
import { C as imageFormatOf, E as LabelledDataset, S as describeFormat, T as IndexedDataset, _ as findUnknownKey, a as readRecord, b as unknownKey, c as imageName, f as DepthWatch, g as describeKind, h as aliases, i as mismatch, l as imageSize, n as readImageCell, o as ImageFile, r as RowFault, t as EmbeddedImage, v as isRecord, w as ClassLabel, x as READ_FORMATS, y as meantKey } from "./image-cells-BdLZPrXr.js";
import { n as openRegularFile, r as readRegularFile, t as exists } from "./regular-file-BhWpSxEj.js";
import { i as readJson, n as MAX_CONFIG_BYTES, r as parseJson, t as JsonFault } from "./read-json-BUQErRHs.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { a as nothingToLearn, c as readTextFile, d as checkMessage, f as checkSample, i as nameSample, l as withinTime, n as MinistralTokenizer, o as configuredToken, r as SkippableImage, s as readJsonFile, t as ImageProcessor, u as checkKeysOfRole } from "./image-processor-DWu-OBnR.js";
import { t as decodeWithin } from "./decode-budget-DsPqpzwm.js";
import { D as parseDatasetName, E as cacheName, F as decoded, I as isLoopback, M as hubDownloadSchema, R as patternsSchema, T as nameKey, b as statusFields, g as downloadFile, h as withLock, m as requestJson, n as datasetSnapshot, r as folderOrSnapshot, v as googleDigests, w as nameFault, x as statusLine, z as selectPaths } from "./snapshot-download-D96EO7UI.js";
import { a as hubCacheFolder } from "./token-0RQ7dBdg.js";
import { t as Crc } from "./crc-TiVq6-Qt.js";
import { n as writeError, r as writing, t as requireSpace } from "./disk-errors-BOmEIM_5.js";
import { n as shortList, t as firstLines } from "./short-list-DyTENnB8.js";
import { d as writeFileAtomically, l as sweepTemporariesOf, o as replaceTogether } from "./atomic-file-D2Hfhe-X.js";
import { n as OwnerLock, r as describeOwner } from "./owner-lock-DpVSmANJ.js";
import { a as CREDENTIALS_HINT, i as nameInCache, n as kaggleCacheFolder, o as findKaggleCredentials, r as latestComplete, t as CachePlace } from "./dataset-cache-__ys7vwA.js";
import { o as forgetDigests } from "./file-digests-DzAwU2JM.js";
import { r as IGNORE_INDEX } from "./or-aborted-C0Ixy3mg.js";
import { A as toDiskName, C as sliceImages, D as linearModuleName, E as indexByMemoryName, M as dequantizedSource, N as padBatch, O as modelPart, S as patchesLength, T as adapterTensorName, _ as sharePrefixes, a as PassCosts, c as modulesOf, f as infer, h as runAtOnce, j as toMemoryName, o as trainingFlops, s as loadModules, u as configDigest, w as writePatches, x as packBatch, y as embeddingNoise } from "./precision-D37VSOAP.js";
import { a as isTurnDue, i as findNotFinite, n as eventLoopTurn, t as copyInTurns } from "./event-loop-Cd695Vob.js";
import { a as roundToDtype, l as requireBytes, n as float16ToFloat32, o as widen, s as DTYPE_BYTES, t as bfloat16ToFloat32, u as sizeOf$1 } from "./half-precision-CIC2zd88.js";
import { A as requireFilled, C as requireOwnSet, D as CountedTensor, E as learningRateOf, O as CountedTensors, S as layOut, T as sizeOfAll, _ as checkRows, a as applyAdamW, b as rowKeysOf, c as gradientNorm, d as rotaryByTensor, f as rotaryHeads, g as checkRowWeights, h as checkNoise, i as adamFactors, k as CountingEngine, m as checkDistinctRows, n as HeldWeights, o as applyAdamW8bit, p as checkAttention, r as AdamW8bitState, s as clipScale, t as memoryBudgetSchema, u as requireArrays, v as patchOrder, w as requireValues, y as repeatedPlaces } from "./memory-budget-B2X9g68d.js";
import { _ as requireIdleEngine, a as Nf4Quantizer, d as refuseNaN, g as noteChange, i as NF4_VALUES, l as quantizeRows, r as reserveFor, u as readScale, v as requireNotTraining, y as requireOwnCall } from "./reserve-D5uVrLtm.js";
import { a as ShardedCheckpoint, c as writeSafetensors, i as SafetensorsFile, r as MISTRAL_NATIVE_HINT } from "./safetensors-Cc_Zl7Xi.js";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { copyFile, mkdir, open, readdir, realpath, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { statSync } from "node:fs";
import * as zlib from "node:zlib";
import { createInflateRaw } from "node:zlib";
import { availableParallelism, freemem, homedir, totalmem } from "node:os";
import { createHash, randomUUID } from "node:crypto";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import yauzl from "yauzl";
import { setTimeout } from "node:timers/promises";
import { MessageChannel, Worker, receiveMessageOnPort } from "node:worker_threads";
// src/data/conversations/json-fault.ts
function findJsonFault(text) {
	let at = 0;
	class Found extends Error {}
	let expected = "a value";
	const stop = (what) => {
		expected = what;
		throw new Found();
	};
	const space = () => {
		while (at < text.length && " 	\n\r".includes(text[at])) at++;
	};
	const value = () => {
		space();
		const start = text[at];
		if (start === "{") list("}", "\"name\": value", member);
		else if (start === "[") list("]", "a value", value);
		else if (start === "\"") string();
		else scalarValue();
	};
	const member = () => {
		if (text[at] !== "\"") stop("a name in double quotes");
		string();
		space();
		if (text[at] !== ":") stop("\":\"");
		at++;
		value();
	};
	const scalarValue = () => {
		const scalar = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/y;
		scalar.lastIndex = at;
		const found = scalar.exec(text);
		if (!found) stop(text[at] === void 0 ? "more: the text ends here" : "a value");
		else at += found[0].length;
	};
	const list = (end, what, item) => {
		at++;
		space();
		if (text[at] === end) {
			at++;
			return;
		}
		for (;;) {
			space();
			if (text[at] === void 0) stop("more: the text ends here");
			if (text[at] === end) stop(`${what} after the comma`);
			item();
			space();
			if (text[at] === end) {
				at++;
				return;
			}
			if (text[at] !== ",") stop(text[at] === void 0 ? "more: the text ends here" : `"," or "${end}"`);
			at++;
		}
	};
	const string = () => {
		for (at++;; at++) {
			const character = text[at];
			if (character === void 0) stop("the closing quote of a text");
			if (character === "\"") break;
			if (character < " ") stop("a text on one line: line ends and tabs in it are written \\n and \\t");
			if (character !== "\\") continue;
			at++;
			if (text[at] === "u" && /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) at += 4;
			else if (!"\"\\/bfnrt".includes(text[at] ?? " ")) stop("a known escape: a backslash is written \\\\");
		}
		at++;
	};
	try {
		value();
		space();
		return {
			at,
			expected: at < text.length ? "nothing more: one value a row" : "another text"
		};
	} catch (error) {
		if (error instanceof Found) return {
			at,
			expected
		};
		throw error;
	}
}
// src/data/conversations/json-scan.ts
const isSpace$1 = (byte) => byte === 32 || byte >= 9 && byte <= 13;
async function* scanLines(chunks, { start, maxBytes }) {
	let pieces = [];
	let held = 0;
	let line = 1;
	let lineStart = start;
	const take = () => {
		const bytes = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
		const isEmpty = bytes.every(isSpace$1);
		const extent = {
			start: lineStart,
			end: lineStart + bytes.length,
			line
		};
		return isEmpty ? void 0 : {
			bytes,
			extent,
			column: 0
		};
	};
	for await (const chunk of chunks) for (let at = 0; at < chunk.length;) {
		const found = chunk.indexOf(10, at);
		const end = found < 0 ? chunk.length : found;
		pieces.push(chunk.subarray(at, end));
		held += end - at;
		if (held > maxBytes) {
			yield {
				fault: "size",
				line,
				column: 0
			};
			return;
		}
		if (found < 0) break;
		const row = take();
		if (row) yield row;
		lineStart += held + 1;
		line++;
		pieces = [];
		held = 0;
		at = found + 1;
	}
	const last = take();
	if (last) yield last;
}
async function* scanValues(chunks, { start, maxBytes, isList }) {
	let position = start;
	let line = 1;
	let lineStart = start;
	let state = isList ? "open" : "value";
	let isFirst = true;
	let depth = 0;
	let inText = false;
	let escaped = false;
	let pieces = [];
	let held = 0;
	let at = {
		start: 0,
		line: 1,
		column: 0
	};
	const fault = (what) => ({
		fault: what,
		line,
		column: position - lineStart
	});
	const take = () => {
		const bytes = Buffer.concat(pieces);
		pieces = [];
		held = 0;
		state = isList ? "comma" : "value";
		isFirst = false;
		return {
			bytes,
			extent: {
				start: at.start,
				end: at.start + bytes.length,
				line: at.line
			},
			column: at.column
		};
	};
	for await (const chunk of chunks) {
		let from = 0;
		for (let i = 0; i < chunk.length; i++, position++) {
			const byte = chunk[i];
			if (state === "inside") {
				let ends = false;
				let takesByte = true;
				if (inText) {
					if (escaped) escaped = false;
					else if (byte === 92) escaped = true;
					else if (byte === 34) {
						inText = false;
						ends = depth === 0;
					}
				} else if (byte === 34) inText = true;
				else if (byte === 123 || byte === 91) depth++;
				else if ((byte === 125 || byte === 93) && depth > 0) ends = --depth === 0;
				else if (depth === 0 && (isSpace$1(byte) || byte === 44 || byte === 93)) {
					ends = true;
					takesByte = false;
				}
				if (ends) {
					pieces.push(chunk.subarray(from, takesByte ? i + 1 : i));
					yield take();
				}
				if (!ends || takesByte) {
					if (byte === 10) {
						line++;
						lineStart = position + 1;
					}
					continue;
				}
			}
			if (byte === 10) {
				line++;
				lineStart = position + 1;
			}
			if (isSpace$1(byte)) continue;
			if (state === "open") state = "value";
			else if (state === "comma" && byte === 44) state = "value";
			else if ((state === "comma" || state === "value" && isFirst) && isList && byte === 93) state = "done";
			else if (state === "comma") {
				yield fault("expected \",\" or \"]\" behind a row of the list");
				return;
			} else if (state === "done") {
				yield fault("there is more behind the end of the list");
				return;
			} else if (byte === 44 || byte === 93 || byte === 125 || byte === 58) {
				yield fault("expected a row");
				return;
			} else {
				state = "inside";
				at = {
					start: position,
					line,
					column: position - lineStart
				};
				from = i;
				depth = byte === 123 || byte === 91 ? 1 : 0;
				inText = byte === 34;
				escaped = false;
			}
		}
		if (state === "inside") {
			pieces.push(chunk.subarray(from));
			held += chunk.length - from;
			if (held > maxBytes) {
				yield {
					fault: "size",
					line: at.line,
					column: at.column
				};
				return;
			}
		}
	}
	if (state === "inside") {
		yield take();
		return;
	}
	if (isList && state !== "done") yield fault("the list has no end");
}
// src/data/conversations/json-rows.ts
const MAX_ROW_BYTES = 268435456;
const CHUNK_BYTES$1 = 1048576;
const KEPT_BYTES = 67108864;
const FOREIGN = [
	[
		"PAR1",
		"a Parquet file",
		"write it as JSON Lines, in Python: Dataset.from_parquet(path).to_json('rows.jsonl')"
	],
	[
		"ARROW1",
		"an Arrow file",
		"write it as JSON Lines, in Python: Dataset.from_file(path).to_json('rows.jsonl')"
	],
	[
		"",
		"compressed with gzip",
		"unpack it first"
	],
	[
		"(µ/ý",
		"compressed with zstd",
		"unpack it first"
	],
	[
		"PK",
		"a zip archive",
		"unpack it first"
	],
	[
		"ÿþ",
		"UTF-16",
		"save it as UTF-8"
	],
	[
		"þÿ",
		"UTF-16",
		"save it as UTF-8"
	],
	[
		"version https://git-lfs",
		"a pointer of Git LFS, not the file itself",
		"fetch the file with `git lfs pull`"
	]
];
var JsonRowFile = class JsonRowFile {
	path;
	#extents = [];
	#size;
	#modified;
	#content;
	constructor(path, size, modified) {
		this.path = path;
		this.#size = size;
		this.#modified = modified;
	}
	get length() {
		return this.#extents.length;
	}
	nameOf(index) {
		return `${oneLine(basename(this.path))}:${this.#extents[index].line}`;
	}
	static async scan(path, visit, keptBytes = KEPT_BYTES) {
		const shown = oneLine(path);
		const { file: handle, size } = await openRegularFile(path).catch((cause) => {
			const why = cause.code === "ENOENT" ? "no such file" : cause.message;
			throw new DataError(`${shown}: cannot read the conversations: ${why}`, {
				hint: "give the path of a .jsonl or .json file",
				details: { path },
				cause
			});
		});
		try {
			const { mtimeMs } = await handle.stat();
			const rows = new JsonRowFile(path, size, mtimeMs);
			const head = Buffer.alloc(64);
			const { bytesRead } = await handle.read(head, 0, head.length, 0);
			const start = head.subarray(0, bytesRead);
			refuseForeign(start, shown, path);
			const skip = start.subarray(0, 3).equals(Buffer.from([
				239,
				187,
				191
			])) ? 3 : 0;
			if (size <= keptBytes) rows.#content = await readAll(handle, 0, size);
			const content = rows.#content;
			const chunks = async function* () {
				for (let at = skip; at < size;) {
					const end = Math.min(at + CHUNK_BYTES$1, size);
					const chunk = content?.subarray(at, end) ?? await readAll(handle, at, end);
					if (chunk.length === 0) return;
					at += chunk.length;
					yield chunk;
				}
			};
			const isList = await startsWithList(chunks());
			const scan = isList || !await firstLineIsWhole(chunks(), path) ? scanValues : scanLines;
			for await (const item of scan(chunks(), {
				start: skip,
				maxBytes: MAX_ROW_BYTES,
				isList
			})) {
				if ("fault" in item) throw faultAt(rows, item.line, item.column, item.fault);
				const { bytes, extent, column } = item;
				const row = parseRow(bytes, rows, extent.line, column);
				rows.#extents.push(extent);
				await visit(row, rows.length - 1, rows);
			}
			return rows;
		} finally {
			await handle.close();
		}
	}
	async read(index) {
		const { start, end, line } = this.#extents[index];
		if (this.#content) return parseRow(this.#content.subarray(start, end), this, line, 0);
		const file = await open(this.path).catch((cause) => {
			throw new DataError(`${oneLine(this.path)}: cannot be read any more: ${cause.message}`, {
				hint: "leave the file in its place while its rows are used",
				details: { path: this.path },
				cause
			});
		});
		try {
			const { size, mtimeMs } = await file.stat();
			if (size !== this.#size || mtimeMs !== this.#modified) throw new DataError(`${oneLine(this.path)}: the file was changed after it was loaded`, {
				hint: "load it again",
				details: { path: this.path }
			});
			return parseRow(await readAll(file, start, end), this, line, 0);
		} finally {
			await file.close();
		}
	}
};
async function readAll(file, start, end) {
	const bytes = Buffer.allocUnsafe(end - start);
	let done = 0;
	while (done < bytes.length) {
		const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
		if (bytesRead === 0) break;
		done += bytesRead;
	}
	return bytes.subarray(0, done);
}
function refuseForeign(start, shown, path) {
	const text = start.toString("latin1");
	const found = FOREIGN.find(([begin]) => text.startsWith(begin));
	if (!found) return;
	throw new DataError(`${shown}: expected JSON Lines or a JSON list, got ${found[1]}`, {
		hint: found[2],
		details: { path }
	});
}
async function startsWithList(chunks) {
	for await (const chunk of chunks) for (const byte of chunk) if (byte > 32) return byte === 91;
	return false;
}
async function firstLineIsWhole(chunks, path) {
	if (!path.toLowerCase().endsWith(".json")) return true;
	for await (const item of scanLines(chunks, {
		start: 0,
		maxBytes: MAX_ROW_BYTES,
		isList: false
	})) {
		if ("fault" in item) return false;
		try {
			parseJson(item.bytes, { anyKey: true });
			return true;
		} catch {
			return false;
		}
	}
	return true;
}
function parseRow(bytes, file, line, column) {
	try {
		return parseJson(bytes);
	} catch (cause) {
		if (cause instanceof JsonFault) throw faultAt(file, line, column, cause.message, cause);
		const text = Buffer.from(bytes).toString("utf8");
		const { at, expected } = findJsonFault(text);
		const before = text.slice(0, at).split("\n");
		const here = before.length === 1 ? column + at : before.at(-1).length;
		const found = at < text.length ? `, found ${JSON.stringify(text.slice(at, at + 12))}` : "";
		throw faultAt(file, line + before.length - 1, here, `expected ${expected}${found}`, cause);
	}
}
function faultAt(file, line, column, fault, cause) {
	const why = fault === "size" ? `a row of more than ${formatBytes(MAX_ROW_BYTES)}` : fault;
	return new DataError(`${oneLine(file.path)}: line ${line}, column ${column + 1}: no JSON: ${why}`, {
		hint: "expected one object a line (.jsonl), or one list of objects (.json)",
		details: {
			path: file.path,
			line,
			column: column + 1
		},
		cause
	});
}
async function isFolder(path) {
	return stat(path).then((entry) => entry.isDirectory(), () => false);
}
// src/data/folder-tree.ts
const MAX_VISITS = 16;
const SYSTEM_NAMES = new Set("__macosx|__pycache__|@eadir|#recycle|@recycle|@recently-snapshot|#snapshot|$recycle.bin|recycler|system volume information|lost+found".split("|"));
const IMAGE_ENDING = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|avif)$/i;
async function readFolderTree(dir) {
	const root = resolve(dir);
	let real;
	try {
		real = await realpath(root);
		if (!(await stat(root)).isDirectory()) throw new DataError(`${oneLine(root)}: a file, where a folder of images was expected`, {
			hint: "Give the folder of the images; a table of their classes is read by `ImageFolder.fromTable`.",
			details: { path: root }
		});
	} catch (cause) {
		if (cause instanceof DataError) throw cause;
		throw folderError(root, cause);
	}
	const candidates = [];
	const node = await readFolder(root, "", [real], {
		candidates,
		visits: new Map()
	});
	const nonImages = new Set();
	await forEachConcurrently(candidates, 32, async ({ file, named }) => {
		const fault = file.fault ?? await faultOf$1(file.path);
		if (fault === void 0) return;
		if (named) file.fault = fault;
		else {
			nonImages.add(file);
			if (/\bDICOM\b/.test(fault)) file.isDicom = true;
		}
	});
	prune$1(node, nonImages);
	return node;
}
async function forEachConcurrently(items, limit, work) {
	let next = 0;
	const lane = async () => {
		while (next < items.length) {
			const item = items[next++];
			try {
				await work(item);
			} catch (error) {
				next = items.length;
				throw error;
			}
		}
	};
	await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
}
async function readFolder(path, key, lineage, walk) {
	const visits = (walk.visits.get(lineage.at(-1)) ?? 0) + 1;
	walk.visits.set(lineage.at(-1), visits);
	if (visits > MAX_VISITS) throw manyWaysError(path);
	const node = {
		name: basename(path),
		path,
		images: [],
		others: [],
		folders: [],
		total: 0
	};
	const entries = await readdir(path, { withFileTypes: true }).catch((cause) => {
		throw folderError(path, cause);
	});
	for (const entry of entries) {
		if (entry.name.startsWith(".") || SYSTEM_NAMES.has(entry.name.toLowerCase())) continue;
		const file = {
			path: join(path, entry.name),
			key: key ? `${key}/${entry.name}` : entry.name
		};
		const named = IMAGE_ENDING.test(entry.name);
		let kind = entry;
		if (entry.isSymbolicLink()) try {
			kind = await stat(file.path);
		} catch (cause) {
			if (cause.code === "ELOOP") throw loopError(file.path);
			if (!named) continue;
			file.fault = "a symbolic link that leads nowhere";
		}
		if (kind.isDirectory()) {
			const real = entry.isSymbolicLink() ? await realpath(file.path) : join(lineage.at(-1), entry.name);
			if (lineage.includes(real)) throw loopError(file.path);
			node.folders.push(await readFolder(file.path, file.key, [...lineage, real], walk));
		} else if (kind.isFile() || file.fault !== void 0) {
			node.images.push(file);
			walk.candidates.push({
				file,
				named
			});
		} else if (named) {
			file.fault = "a pipe, a socket or a device, not a file";
			node.images.push(file);
			walk.candidates.push({
				file,
				named
			});
		}
	}
	return node;
}
async function faultOf$1(path) {
	try {
		const { file: handle } = await openRegularFile(path);
		try {
			const { bytesRead, buffer } = await handle.read(Buffer.alloc(512), 0, 512, 0);
			if (bytesRead === 0) return "the file is empty";
			const start = buffer.subarray(0, bytesRead);
			return imageFormatOf(start) ? void 0 : `the content is no ${READ_FORMATS} image, but ${describeFormat(start)}`;
		} finally {
			await handle.close();
		}
	} catch (cause) {
		return `cannot be read: ${cause.message}`;
	}
}
function prune$1(node, nonImages) {
	node.others = node.images.filter((file) => nonImages.has(file));
	node.images = node.images.filter((file) => !nonImages.has(file));
	node.total = node.images.length;
	for (const folder of node.folders) {
		prune$1(folder, nonImages);
		node.total += folder.total;
	}
}
function loopError(path) {
	return new DataError(`${oneLine(path)}: a symbolic link that leads back to a folder above it`, {
		hint: "Remove the link, or load the folder that it points to.",
		details: { path }
	});
}
function manyWaysError(path) {
	return new DataError(`${oneLine(path)}: symbolic links lead to this folder by more than ${MAX_VISITS} ways`, {
		hint: "Remove the links, or load the folder that they point to.",
		details: { path }
	});
}
function folderError(path, cause) {
	const code = cause.code;
	const why = code === "ENOENT" ? "no such folder" : code === "EACCES" || code === "EPERM" ? "no permission to read this folder" : code === "ELOOP" ? "a loop of symbolic links" : `cannot read this folder: ${cause.message}`;
	return new DataError(`${oneLine(path)}: ${why}`, {
		...code === "ENOENT" && { hint: "Give the folder that holds the class folders, or download the data set first." },
		details: { path },
		cause
	});
}
// src/data/conversations/row-context.ts
const noteTexts = (marker, spelled) => ({
	imagesFirst: ["images go before the text of the first user message", false],
	imagesFirstMarked: [`images without a ${marker} marker: they go before the text of the first user message`, true],
	markersPlaced: [`images stand where ${marker} marks their places`, false],
	markerIsText: [`${marker} in a text beside images that have their places: it stays text`, true],
	strayMarker: [`${marker} in a text without images: it stays text`, true],
	foreignMarker: [`${spelled} in a text, as others mark the place of an image: it stays text. Write ${marker} there, or name it as \`imageMarker\``, true],
	imageInAnswer: ["an image in an answer, which no model writes: it is shown there and not learned", true],
	brokenText: ["half a character (a lone surrogate) in a text: it is read as �", true],
	userName: ["`name` of a user or system message is not used: chat templates do not show it", true],
	nullArguments: ["arguments of calls are null, as tables fill up what others have: they are learned as null", true],
	detail: ["`detail` is not used: the image processor decides the size", true],
	parallelToolCalls: ["`parallel_tool_calls` is an option of a server and not used", false],
	history: ["the answers of `history` are learned too", false],
	emptyAnswer: ["an answer without text: nothing is learned of it, or white space alone", true],
	otherForm: ["columns of other forms are left out, as `form` says", false],
	plainText: ["plain text: all of it is learned", false]
});
function describeNote(kind, rows, first, spelled, { imageMarker }) {
	const [text, isWarning] = noteTexts(imageMarker, spelled)[kind];
	return {
		text: `${text}: ${rows} ${rows === 1 ? "row" : "rows"} (first ${first})`,
		isWarning
	};
}
// src/data/sft-messages.ts
function attachImages(example) {
	checkSample(example);
	if (!Array.isArray(example.messages) || example.messages.length === 0) {
		const { messages } = example;
		const got = messages === void 0 ? `an object with ${Object.keys(example).map(oneLine).join(", ") || "no keys"}` : describeKind(messages);
		throw new DataError(`expected { messages: [...], images? } with at least one message, got ${got}`, { hint: "let the data set yield samples in the form of SftExample" });
	}
	let messages = example.messages.map(withoutEmptyKeys);
	messages.forEach(checkMessage);
	const given = example.images ?? [];
	const hasImageParts = messages.some(({ content }) => partsOf$2(content).some((part) => part.type === "image"));
	const firstUser = messages.findIndex((message) => message.role === "user");
	const question = messages[firstUser];
	if (given.length > 0 && !hasImageParts && question) {
		const { content } = question;
		const placed = [...given.map(() => ({ type: "image" })), ...partsOf$2(content)];
		messages = messages.with(firstUser, {
			...question,
			content: placed
		});
	}
	let used = 0;
	const attached = messages.map((message) => {
		const { content } = message;
		if (typeof content === "string") return message;
		return {
			...message,
			content: content.map((part) => {
				if (part.type !== "image" || (part.image ?? void 0) !== void 0) return part;
				const image = given[used++];
				return image === void 0 ? part : {
					type: "image",
					image
				};
			})
		};
	});
	if (used !== given.length) throw new DataError(`${given.length} images in \`images\` for ${used} image parts without one of their own`, {
		hint: "give as many `images` as the messages have image parts that hold no `image`",
		details: {
			images: given.length,
			imageParts: used
		}
	});
	return attached;
}
function partsOf$2(content) {
	return typeof content === "string" ? [{
		type: "text",
		text: content
	}] : content;
}
function textOf$1(part) {
	return part.type === "text" ? part.text : part.type === "thinking" ? part.thinking : void 0;
}
function withoutEmptyKeys(message) {
	if (!isRecord(message)) return message;
	const entries = Object.entries(message);
	const hasCalls = Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
	if (!entries.some(([, value]) => value === null || value === void 0) && !(hasCalls && !("content" in message))) return message;
	const filled = entries.filter(([key, value]) => key === "content" || value !== null && value !== void 0);
	const kept = Object.fromEntries(filled);
	return hasCalls && (kept.content ?? null) === null ? {
		...kept,
		content: ""
	} : kept;
}
function promptOf(messages) {
	const continued = messages.at(-1)?.prefix === true;
	const end = messages.findLastIndex((message) => message.role !== "assistant") + 1;
	if (end === 0) throw new DataError("there is no question to answer: no user message");
	if (continued) return [...messages];
	return messages.slice(0, end);
}
function userText(messages) {
	let all = "";
	mapUserText(messages, (text) => {
		all += text;
		return text;
	});
	return all;
}
function keepUserText(messages, keep) {
	let left = keep;
	return mapUserText(messages, (text) => {
		let end = Math.min(left, text.length);
		left -= end;
		if (end > 0 && end < text.length && text.codePointAt(end - 1) > 65535) end--;
		return text.slice(0, end);
	});
}
function mapUserText(messages, change) {
	return messages.map((message) => {
		if (message.role !== "user") return message;
		const { content } = message;
		if (typeof content === "string") return {
			...message,
			content: change(content)
		};
		return {
			...message,
			content: content.map((part) => part.type === "text" ? {
				...part,
				text: change(part.text)
			} : part)
		};
	});
}
// src/data/conversations/image-markers.ts
function placeImages(messages, images, marked, context) {
	const hasImages = count(messages, (part) => part.type === "image") > 0;
	const slots = count(messages, (part) => part.type === "image" && part.image === void 0);
	const { imageMarker: marker } = context;
	const inAnswers = marker === void 0 ? 0 : markersIn(messages, marker, (role) => role === "assistant");
	const inQuestions = marker === void 0 ? 0 : markersIn(messages, marker, (role) => role !== "assistant");
	const total = inAnswers + inQuestions;
	if (slots > 0) {
		if (slots !== images.length) throw new RowFault(`${images.length} images in \`images\` for ${slots} image parts without one of their own`, "give as many `images` as the messages have empty image parts");
		if (total > 0) context.note("markerIsText");
		let next = 0;
		return mapParts(messages, (part) => part.type === "image" && part.image === void 0 ? [{
			type: "image",
			image: images[next++]
		}] : [part]);
	}
	if (images.length === 0) {
		if (total > 0) context.note(hasImages ? "markerIsText" : "strayMarker");
		return [...messages];
	}
	if (inQuestions === images.length || total === images.length) {
		const everywhere = inQuestions !== images.length;
		if (!everywhere && inAnswers > 0) context.note("markerIsText");
		context.note("markersPlaced");
		let next = 0;
		return messages.map((message) => {
			if (message.role === "assistant" && !everywhere) return message;
			return withParts(message, (part) => part.type === "text" ? splitAt(part.text, marker, () => images[next++]) : [part]);
		});
	}
	if (inQuestions > 0) {
		const markers = `${total} ${marker} ${total === 1 ? "marker" : "markers"}`;
		throw new RowFault(`${images.length} ${images.length === 1 ? "image" : "images"} for ${markers} in the text`, "give one image for each marker; where the text only spells it, load with `imageMarker: false`");
	}
	if (hasImages) throw new RowFault(`${images.length} ${images.length === 1 ? "image" : "images"} beside image parts that all have one of their own`, "leave out `images`, or the images of the parts");
	if (inAnswers > 0) context.note("markerIsText");
	return inFront(messages, images, marked, context);
}
function inFront(messages, images, marked, context) {
	const first = messages.findIndex(({ role }) => role === "user");
	if (first < 0) throw new RowFault("images, but no user message to show them in", "add the question that they belong to");
	context.note(marked ? "imagesFirstMarked" : "imagesFirst");
	const { content } = messages[first];
	const text = content === "" ? [] : partsOf$2(content);
	const parts = [...images.map((image) => ({
		type: "image",
		image
	})), ...text];
	return messages.map((message, i) => i === first ? {
		...message,
		content: parts
	} : message);
}
function splitAt(text, marker, next) {
	return text.split(marker).flatMap((piece, i) => [...i > 0 ? [{
		type: "image",
		image: next()
	}] : [], ...textPart(piece)]);
}
const textPart = (text) => text === "" ? [] : [{
	type: "text",
	text
}];
function mapParts(messages, change) {
	return messages.map((message) => typeof message.content === "string" ? message : withParts(message, change));
}
function withParts(message, change) {
	const { content } = message;
	if (typeof content !== "string") return {
		...message,
		content: content.flatMap(change)
	};
	const parts = change({
		type: "text",
		text: content
	});
	return parts.some((part) => part.type !== "text") ? {
		...message,
		content: parts
	} : message;
}
function count(messages, test) {
	return messages.reduce((sum, { content }) => sum + partsOf$2(content).filter(test).length, 0);
}
function markersIn(messages, marker, ofRole) {
	let sum = 0;
	for (const { role, content } of messages) {
		if (!ofRole(role)) continue;
		for (const part of partsOf$2(content)) if (part.type === "text") sum += part.text.split(marker).length - 1;
	}
	return sum;
}
const FOREIGN_MARKER = /<\|?(?:image|img)[ _-]?\d{1,3}\|?>|<\|(?:image|image_pad|img|vision_start|vision_end)\|>|<(?:start|end)_of_image>|<image_(?:soft_token|placeholder|pad|token)>|<\/?img>|<\/image>|<(?:IMAGE|Image|IMG|Img|ImageHere|picture)>|\[img-\d{1,3}\]/g;
function foreignMarkersIn(text) {
	return text.includes("<") || text.includes("[img-") ? text.match(FOREIGN_MARKER) ?? [] : [];
}
// src/data/conversations/tools.ts
const TOOL_HINT = "write tools: [{ \"type\": \"function\", \"function\": { \"name\", \"description\", \"parameters\" } }]";
const CALL_HINT = "write tool_calls: [{ \"id\", \"type\": \"function\", \"function\": { \"name\", \"arguments\" } }]";
const NONE = new Set();
function readTools(value) {
	const tools = typeof value === "string" ? value.trim() === "" ? [] : parseText(value, "`tools`") : value;
	if (!Array.isArray(tools)) throw mismatch("`tools`", "a list", tools, TOOL_HINT);
	return tools.map((tool, i) => {
		const where = `\`tools[${i}]\``;
		const described = isRecord(tool) && "function" in tool ? tool["function"] : tool;
		if (!isRecord(described) || typeof described["name"] !== "string") throw mismatch(where, "a tool", tool, TOOL_HINT);
		if (described !== tool) {
			const { type } = readRecord(tool, where, ["type", "function"], NONE, "tools", TOOL_HINT);
			if (type !== void 0 && type !== "function") throw new RowFault(`${where}: its type is no function`, TOOL_HINT);
		}
		const known = [
			"name",
			"description",
			"parameters",
			"strict",
			...described === tool ? ["type"] : []
		];
		const { type: _, ...plain } = readRecord(described, where, known, NONE, "tools", TOOL_HINT);
		return {
			type: "function",
			function: plain
		};
	});
}
function readToolCalls(value, where) {
	if (!Array.isArray(value)) throw mismatch(where, "a list", value, CALL_HINT);
	return value.map((call, i) => readToolCall(call, `${where}[${i}]`));
}
function readToolCall(value, where) {
	const isWrapped = isRecord(value) && isRecord(value["function"]);
	const known = [
		"id",
		"type",
		"index",
		...isWrapped ? ["function"] : ["name", "arguments"]
	];
	const call = readRecord(value, where, known, NONE, "tool_calls", CALL_HINT);
	const { name, arguments: given = {} } = isWrapped ? readRecord(call["function"], where, ["name", "arguments"], NONE, "function", CALL_HINT) : call;
	if (typeof name !== "string" || name === "") throw new RowFault(`${where}: the call has no \`name\``, CALL_HINT);
	if (call["type"] !== void 0 && call["type"] !== "function") throw new RowFault(`${where}: its type is no function`, CALL_HINT);
	if (call["id"] !== void 0 && typeof call["id"] !== "string") throw new RowFault(`${where}: its \`id\` is no text`, CALL_HINT);
	if (typeof given !== "string" && !isRecord(given)) throw new RowFault(`${where}: \`arguments\` are ${describeKind(given)}`, "give an object, or JSON text of one");
	if (typeof given === "string") parseText(given, `${where}: \`arguments\``);
	return {
		...typeof call["id"] === "string" && { id: call["id"] },
		type: "function",
		function: {
			name,
			arguments: given
		}
	};
}
function parseText(text, where) {
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw new RowFault(`${where}: the text is no JSON: ${cause.message}`, "write it as JSON, or as it is without quotes");
	}
}
// src/data/conversations/content-parts.ts
const PART_HINT = "parts are { \"type\": \"text\", \"text\" }, { \"type\": \"image_url\", \"image_url\" } and { \"type\": \"image\", \"image\" }";
function readContent(content, place, context, seen) {
	if (typeof content === "string") return content;
	if (Array.isArray(content)) return content.map((part, i) => readPart(part, `${place.where}, part ${i}`, place, context, seen));
	if (content === void 0 && place.hasCalls) return "";
	if (content === void 0) {
		const what = place.role === "assistant" ? "the text of the answer" : "its text";
		throw new RowFault(`${place.where}: \`content\` is missing`, `write ${what}; "" beside tool_calls`);
	}
	throw mismatch(`${place.where}: \`content\``, "text or a list of parts", content, PART_HINT);
}
function readPart(value, where, place, context, seen) {
	if (!isRecord(value)) throw mismatch(where, "an object", value, typeof value === "string" ? "write { \"type\": \"text\", \"text\": \"...\" }" : PART_HINT);
	const record = (...keys) => readRecord(value, where, ["type", ...keys], context.ignored, `${place.path}.content`, PART_HINT);
	const { type } = value;
	switch (type) {
		case "text": {
			const { text } = record("text");
			if (typeof text === "string") return {
				type,
				text
			};
			throw mismatch(`${where}: \`text\``, "text", text, PART_HINT);
		}
		case "image_url": return {
			type: "image",
			image: context.image(readAddress(record("image_url"), where, context, seen), where)
		};
		case "image": {
			seen.trl = true;
			const part = record("image", "url", "path", "base64", "source", "index");
			const keys = [
				"image",
				"url",
				"path",
				"base64",
				"source"
			].filter((key) => part[key] !== void 0);
			if (keys.length > 1) throw new RowFault(`${where}: ${keys.join(" and ")} for one image`, "keep one of them");
			if (keys.length === 0) {
				requireInOrder(part["index"], where, seen);
				return { type };
			}
			const cell = keys[0] === "source" ? readSource(part["source"], where, context) : part[keys[0]];
			return {
				type,
				image: context.image(keys[0] === "base64" ? { bytes: cell } : cell, where)
			};
		}
		case "thinking": {
			seen.mistral = true;
			requireThinker(place.role, where);
			const { thinking, closed } = record("thinking", "closed");
			if (closed !== void 0 && typeof closed !== "boolean") throw mismatch(`${where}: \`closed\``, "true or false", closed, "write it without quotes");
			return {
				type,
				thinking: thinkingText(thinking, where),
				...closed !== void 0 && { closed }
			};
		}
		default: throw unknownType(value, where);
	}
}
function requireInOrder(index, where, seen) {
	const slot = seen.slots ?? 0;
	seen.slots = slot + 1;
	if (index === void 0 || index === slot) return;
	throw new RowFault(`${where}: \`index\` is ${showValue(index)} on image part ${slot} of the row: images are taken in the order of their parts`, "put `images` into that order, and leave the key out with `ignoreColumns: ['messages.content.index']`");
}
function readSource(source, where, context) {
	const hint = "write \"source\": { \"type\": \"base64\", \"media_type\", \"data\" }";
	const { type, data, url } = readRecord(source, `${where}, source`, [
		"type",
		"media_type",
		"data",
		"url"
	], context.ignored, "source", hint);
	if (type === "base64") return { bytes: data };
	if (type === "url") return url;
	throw new RowFault(`${where}: \`source\` is of the type ${showValue(type)}, expected base64`, hint);
}
function readAddress(part, where, context, seen) {
	const { image_url: address } = part;
	if (typeof address === "string") {
		seen.mistral = true;
		return address;
	}
	seen.openai = true;
	if (address === void 0) throw new RowFault(`${where}: \`image_url\` is missing`, "write \"image_url\": { \"url\": \"...\" }");
	const { url, detail } = readRecord(address, `${where}, image_url`, ["url", "detail"], context.ignored, "image_url", PART_HINT);
	if (detail !== void 0) {
		if (![
			"auto",
			"low",
			"high"
		].includes(detail)) throw mismatch(`${where}: \`detail\``, "auto, low or high", detail, "leave it out");
		if (detail !== "auto") context.note("detail");
	}
	if (typeof url === "string") return url;
	throw mismatch(`${where}: \`url\``, "text", url, "write a path or a data: URL");
}
function readThinking(reasoning, content, where, seen) {
	if (reasoning === void 0 || reasoning === "") return content;
	if (typeof reasoning !== "string") throw mismatch(`${where}: \`reasoning_content\``, "text", reasoning, "give it as text");
	seen.mistral = true;
	const parts = typeof content !== "string" ? content : content === "" ? [] : [{
		type: "text",
		text: content
	}];
	if (parts.some((part) => part.type === "thinking")) throw new RowFault(`${where}: \`reasoning_content\` beside \`thinking\` parts`, "keep one of them");
	return [{
		type: "thinking",
		thinking: reasoning
	}, ...parts];
}
function thinkingText(thinking, where) {
	if (typeof thinking === "string") return thinking;
	const hint = "write { \"type\": \"thinking\", \"thinking\": \"...\" } or a list of text parts";
	if (!Array.isArray(thinking)) throw mismatch(`${where}: \`thinking\``, "text", thinking, hint);
	return thinking.map((chunk) => {
		if (isRecord(chunk) && chunk["type"] === "text" && typeof chunk["text"] === "string") return chunk["text"];
		throw new RowFault(`${where}: \`thinking\` holds ${describeKind(chunk)}`, hint);
	}).join("");
}
function requireThinker(role, where) {
	if (role === "assistant" || role === "system") return;
	throw new RowFault(`${where}: only an assistant’s or a system message thinks`, "correct the role, or give it as text");
}
const OTHER_TYPES$1 = {
	input_text: "write \"type\": \"text\"",
	output_text: "write \"type\": \"text\"",
	input_image: "write { \"type\": \"image_url\", \"image_url\": \"...\" }",
	refusal: "to learn it, write its text as a text part",
	tool_use: "write `tool_calls` beside the content",
	tool_result: "write a message with the role \"tool\""
};
function unknownType(part, where) {
	const { type } = part;
	if (type === void 0 || type === null) return new RowFault(`${where}: \`type\` is missing; it has ${Object.keys(part).map(oneLine).join(", ") || "no keys"}`, PART_HINT);
	const other = typeof type === "string" && Object.hasOwn(OTHER_TYPES$1, type) ? OTHER_TYPES$1[type] : PART_HINT;
	if (typeof type === "string" && /audio|video|file|document/.test(type)) return new RowFault(`${where}: \`${oneLine(type)}\` is not supported: the models take text and images`, "leave the row out");
	return new RowFault(`${where}: unknown type ${showValue(type)}`, other);
}
// src/data/conversations/turns.ts
const ROLE_KEYS = "role content tool_calls tool_call_id name weight train prefix reasoning_content refusal annotations audio function_call".split(" ");
const FROM_KEYS = [
	"from",
	"value",
	"weight",
	"train"
];
const ROLES = aliases({
	system: "system developer",
	user: "user human",
	assistant: "assistant gpt chatgpt bing bard claude bot chatbot model ai",
	tool: "tool observation tool_response function_response",
	call: "function_call tool_call"
});
const TURN_HINT = "a turn is { \"role\", \"content\" }, or { \"from\", \"value\" } as ShareGPT has it";
function readTurns(value, path, context, seen) {
	if (!Array.isArray(value)) {
		const why = typeof value === "string" ? "the list itself, not its text" : "a list of turns";
		throw mismatch(`\`${path}\``, "a list", value, `write ${why}`);
	}
	if (value.length === 0) throw new RowFault(`\`${path}\` is empty`, "a sample needs at least one question and its answer");
	return value.map((turn, i) => readTurn(turn, i, path, context, seen));
}
function readTurn(value, index, path, context, seen) {
	const place = `message ${index}`;
	if (!isRecord(value)) throw mismatch(place, "an object", value, TURN_HINT);
	const isShareGpt = !("role" in value) && ("from" in value || "value" in value);
	const turn = readRecord(value, place, isShareGpt ? FROM_KEYS : ROLE_KEYS, context.ignored, path, TURN_HINT);
	const given = turn[isShareGpt ? "from" : "role"];
	if (typeof given !== "string") throw new RowFault(`${place}: \`${isShareGpt ? "from" : "role"}\` is ${given === void 0 ? "missing" : showValue(given)}`, TURN_HINT);
	const where = `${place} (${oneLine(given)})`;
	const role = roleOf(given, where);
	if (isShareGpt) {
		seen.shareGpt = true;
		return fromShareGpt(turn, role, where, path);
	}
	if (role === "call") return fromShareGpt({
		...turn,
		value: turn["content"]
	}, role, where, path);
	return fromRole(turn, role, where, path, context, seen);
}
function fromShareGpt(turn, role, where, path) {
	const { value } = turn;
	if (typeof value !== "string") throw new RowFault(`${where}: its text is ${value === void 0 ? "missing" : describeKind(value)}`, "give it as text");
	checkKeys(turn, role === "call" ? "assistant" : role, where, path);
	if (role !== "call") return {
		role,
		content: value,
		...learningOf(turn)
	};
	const calls = parseText(value, where);
	return {
		role: "assistant",
		content: "",
		tool_calls: (Array.isArray(calls) ? calls : [calls]).map((call) => readToolCall(call, where)),
		...learningOf(turn)
	};
}
function fromRole(turn, role, where, path, context, seen) {
	refuseLegacy(turn, where);
	const calls = turn["tool_calls"] === void 0 ? [] : readToolCalls(turn["tool_calls"], `${where}: \`tool_calls\``);
	if (turn["name"] !== void 0 && (role === "user" || role === "system")) {
		context.note("userName");
		const { name: _, ...rest } = turn;
		return fromRole(rest, role, where, path, context, seen);
	}
	if (calls.some(({ function: { arguments: given } }) => hasNull(given))) context.note("nullArguments");
	checkKeys({
		...turn,
		tool_calls: calls.length > 0 ? calls : void 0
	}, role, where, path);
	if (turn["prefix"] === true) seen.mistral = true;
	const content = readContent(turn["content"], {
		role,
		where,
		path,
		hasCalls: calls.length > 0
	}, context, seen);
	return {
		role,
		content: readThinking(turn["reasoning_content"], content, where, seen),
		...calls.length > 0 && { tool_calls: calls },
		...turn["tool_call_id"] !== void 0 && { tool_call_id: turn["tool_call_id"] },
		...turn["name"] !== void 0 && { name: turn["name"] },
		...learningOf(turn),
		...turn["prefix"] === true && { prefix: true }
	};
}
function hasNull(given) {
	return typeof given !== "string" && Object.values(given).includes(null);
}
function refuseLegacy(turn, where) {
	const isEmpty = (value) => value === void 0 || value === "" || Array.isArray(value) && value.length === 0;
	if (turn["function_call"] !== void 0) throw new RowFault(`${where}: \`function_call\` is the older way to write a call`, "write \"tool_calls\": [{ \"id\", \"type\": \"function\", \"function\": { \"name\", \"arguments\" } }]");
	if (!isEmpty(turn["refusal"])) throw new RowFault(`${where}: it is a \`refusal\``, "to learn it, write its text as `content`");
	if (!isEmpty(turn["audio"])) throw new RowFault(`${where}: \`audio\` is not supported`, "leave the row out");
	if (!isEmpty(turn["annotations"])) throw new RowFault(`${where}: \`annotations\` are not supported`, "leave them out with `ignoreColumns: ['messages.annotations']`");
}
function roleOf(given, where) {
	const plain = given.trim().toLowerCase().replaceAll("-", "_");
	const role = ROLES.get(plain);
	if (role !== void 0) return role;
	const hint = plain === "function" ? "write \"tool\" for what a function gave back, with `tool_call_id`; an assistant’s call goes into `tool_calls`" : "roles: system, user, assistant, tool; or ShareGPT’s human, gpt, function_call, observation";
	const near = plain === "function" ? void 0 : nearestName(plain, [...ROLES.keys()]);
	throw new RowFault(`${where}: there is no role ${showValue(given)}${near ? `; did you mean "${near}"?` : ""}`, hint);
}
function checkKeys(turn, role, where, path) {
	checkKeysOfRole(turn, role, (message, hint = "", key) => {
		const leaveOut = key === void 0 ? "" : `; or leave the key out with \`ignoreColumns: ['${path}.${key}']\``;
		return new RowFault(`${where}: ${message}`, hint + leaveOut);
	});
}
function learningOf({ weight, train }) {
	return {
		...weight !== void 0 && { weight },
		...train !== void 0 && { train }
	};
}
// src/data/conversations/row-forms.ts
const FORMS$2 = [
	"messages",
	"openai",
	"mistral",
	"trl",
	"prompt-completion",
	"text",
	"sharegpt",
	"alpaca"
];
const FAMILIES$1 = {
	messages: {
		needs: ["messages"],
		may: [
			"system",
			"tools",
			"parallel_tool_calls"
		]
	},
	conversations: {
		needs: ["conversations"],
		may: [
			"system",
			"tools",
			"parallel_tool_calls"
		]
	},
	"prompt-completion": {
		needs: ["prompt", "completion"],
		may: ["tools"]
	},
	text: {
		needs: ["text"],
		may: []
	},
	alpaca: {
		needs: ["instruction", "output"],
		may: [
			"input",
			"system",
			"history",
			"tools"
		]
	}
};
const COMMON = [
	"images",
	"image",
	"id",
	"conversation_id"
];
const FORM_FAMILIES = {
	messages: ["messages", "conversations"],
	openai: ["messages"],
	mistral: ["messages"],
	trl: ["messages", "prompt-completion"],
	"prompt-completion": ["prompt-completion"],
	text: ["text"],
	sharegpt: ["conversations", "messages"],
	alpaca: ["alpaca"]
};
const LONE_SURROGATE = /\p{Surrogate}/u;
const FAMILY_COLUMNS = Object.values(FAMILIES$1).flatMap(({ needs, may }) => [...needs, ...may]);
function readRow(value, form, context) {
	if (!isRecord(value)) {
		const hint = Array.isArray(value) ? "wrap the turns: { \"messages\": [...] }" : "each row is an object, for example { \"messages\": [...] }";
		throw new RowFault(`expected an object, got ${describeKind(value)}`, hint);
	}
	const row = Object.fromEntries(Object.entries(value).filter(([key, cell]) => cell !== null && cell !== void 0 && !context.ignored.has(key)));
	const family = familyOf$1(row, form);
	const { needs, may } = FAMILIES$1[family];
	const known = [
		...needs,
		...may,
		...COMMON
	];
	const others = new Set(form === void 0 ? [] : FAMILY_COLUMNS);
	if (Object.keys(row).some((key) => !known.includes(key) && others.has(key))) context.note("otherForm");
	const unknown = Object.keys(row).filter((key) => !known.includes(key) && !others.has(key) && !refuseMedia(key, row[key]));
	const seen = {};
	const example = READERS[family](row, context, seen);
	if (hasEmptyAnswer(example)) context.note("emptyAnswer");
	if (hasImageInAnswer(example)) context.note("imageInAnswer");
	for (const text of textsOf$1(example)) noteText(text, context);
	const id = row["id"] ?? row["conversation_id"];
	const name = typeof id === "string" || typeof id === "number" ? { id: String(id) } : {};
	return {
		example: {
			...example,
			...name
		},
		form: formOf$1(family, row, seen),
		unknown,
		known
	};
}
function hasImageInAnswer(example) {
	if (!("messages" in example)) return false;
	return example.messages.some(({ role, content }) => role === "assistant" && partsOf$2(content).some(({ type }) => type === "image"));
}
function textsOf$1(example) {
	if ("text" in example) return [example.text];
	if (!("messages" in example)) return [example.prompt, example.completion].filter((text) => typeof text === "string");
	return example.messages.flatMap(({ content }) => partsOf$2(content).flatMap((part) => textOf$1(part) ?? []));
}
function noteText(text, context) {
	if (LONE_SURROGATE.test(text)) context.note("brokenText");
	if (context.imageMarker === void 0) return;
	const foreign = foreignMarkersIn(text).find((found) => found !== context.imageMarker);
	if (foreign !== void 0) context.note("foreignMarker", foreign);
}
function hasEmptyAnswer(example) {
	const isBlank = (text) => typeof text === "string" && text.trim() === "";
	if (!("messages" in example)) return "completion" in example && isBlank(example.completion);
	return example.messages.some(({ role, content, tool_calls, weight, train }) => {
		return partsOf$2(content).every((part) => isBlank(textOf$1(part))) && role === "assistant" && !tool_calls && weight !== 0 && train !== false;
	});
}
function familyOf$1(row, form) {
	const found = (form === void 0 ? Object.keys(FAMILIES$1) : FORM_FAMILIES[form]).filter((family) => FAMILIES$1[family].needs.every((key) => row[key] !== void 0));
	if (row["chosen"] !== void 0 || row["rejected"] !== void 0) throw new RowFault("it is a row of preferences (`chosen`, `rejected`), which supervised fine-tuning does not read", "keep the conversation of `chosen`, as { \"messages\": [...] }");
	if (found.length === 1) return found[0];
	const keys = Object.keys(row);
	if (found.length > 1) {
		const named = found.map((family) => `${family} (${FAMILIES$1[family].needs.join(", ")})`).join(" and ");
		const [first, ...rest] = found.map((family) => FAMILIES$1[family].needs[0]);
		const dropped = rest.concat(first).map((key) => `'${key}'`);
		throw new RowFault(`it has the columns of two forms: ${named}`, `leave out those that are not to be read with \`ignoreColumns\`, for example [${dropped[0]}]`);
	}
	throw noForm(row, keys, form);
}
function noForm(row, keys, form) {
	if (["role", "from"].some((key) => typeof row[key] === "string")) return new RowFault("it is a turn, not a conversation", "wrap the turns: a row is { \"messages\": [...] }");
	const turns = keys.find((key) => {
		const first = Array.isArray(row[key]) ? row[key][0] : void 0;
		return isRecord(first) && ["role", "from"].some((name) => typeof first[name] === "string");
	});
	if (turns !== void 0 && form === void 0) {
		const name = isRecord(row[turns][0]) && "from" in row[turns][0] ? "conversations" : "messages";
		return new RowFault(`no known form: its turns are in the column \`${oneLine(turns)}\`, expected in \`${name}\``, `rename the column to \`${name}\``);
	}
	const shown = keys.length === 0 ? "no columns" : `the columns ${keys.slice(0, 30).map(oneLine).join(", ")}`;
	const wrapped = keys.find((key) => Array.isArray(row[key]) && isRecord(row[key][0]) && keys.length <= 3);
	const missing = Object.values(FAMILIES$1).flatMap(({ needs }) => {
		const lacking = needs.filter((key) => row[key] === void 0);
		return lacking.length < needs.length ? lacking : [];
	});
	const half = missing.map((key) => `\`${key}\` is missing`);
	const names = missing.length > 0 ? missing : Object.values(FAMILIES$1).flatMap(({ needs }) => needs);
	const near = keys.flatMap((key) => {
		const meant = FAMILY_COLUMNS.includes(key) ? void 0 : meantKey(key, names);
		return meant === void 0 ? [] : [`did you mean \`${meant}\` by \`${oneLine(key)}\`?`];
	});
	const wanted = form === void 0 ? "no known form" : `not of the form ${form}`;
	const facts = [...half, ...near];
	return new RowFault(`${wanted}: it has ${shown}${facts.length > 0 ? `; ${facts.join("; ")}` : ""}`, wrapped !== void 0 && near.length === 0 && half.length === 0 ? `if the rows are in the list \`${oneLine(wrapped)}\`, let the file hold that list alone` : "forms: messages; conversations (ShareGPT); prompt, completion; instruction, output (alpaca); text. Rename the columns");
}
function refuseMedia(key, cell) {
	if (!/^(videos?|audios?)$/.test(key)) return false;
	if (Array.isArray(cell) && cell.length === 0 || cell === "") return true;
	throw new RowFault(`\`${key}\` is not supported: the models take text and images`, `leave the row out`);
}
function formOf$1(family, row, seen) {
	if (family === "alpaca" || family === "text") return family;
	if (family === "prompt-completion") return typeof row["prompt"] === "string" ? family : "trl";
	if (seen.shareGpt) return "sharegpt";
	if (seen.mistral) return "mistral";
	if (seen.openai) return "openai";
	if (seen.trl || row["images"] !== void 0 || row["image"] !== void 0) return "trl";
	return (row["messages"] ?? row["conversations"]).some((turn) => isRecord(turn) && ((turn["weight"] ?? null) !== null || isFilled(turn["tool_calls"]))) || row["parallel_tool_calls"] !== void 0 ? "openai" : "messages";
}
const isEmptyList = (value) => Array.isArray(value) && value.length === 0;
const isFilled = (value) => Array.isArray(value) && value.length > 0;
const READERS = {
	messages: (row, context, seen) => readConversation(row, "messages", context, seen),
	conversations: (row, context, seen) => readConversation(row, "conversations", context, seen),
	"prompt-completion": readPromptCompletion,
	text: readText$1,
	alpaca: readAlpaca
};
function readConversation(row, column, context, seen) {
	if (row["functions"] !== void 0) throw new RowFault("`functions` is the older way to describe tools", "write \"tools\": [{ \"type\": \"function\", \"function\": { ... } }]");
	if (row["parallel_tool_calls"] !== void 0) context.note("parallelToolCalls");
	return finish$1(withSystem(row["system"], readTurns(row[column], column, context, seen)), row, seen.shareGpt === true, context);
}
function readPromptCompletion(row, context, seen) {
	const { prompt, completion } = row;
	if (typeof prompt === "string" && typeof completion === "string") {
		if (row["tools"] !== void 0) throw new RowFault("`tools` beside a prompt that is text", "write prompt and completion as lists of messages");
		refuseImages(row, "write `prompt` and `completion` as lists of messages, the prompt with an image part");
		return {
			prompt,
			completion
		};
	}
	if (!Array.isArray(prompt) || !Array.isArray(completion)) throw new RowFault(`\`prompt\` is ${describeKind(prompt)} and \`completion\` ${describeKind(completion)}`, "both are texts, or both lists of messages");
	const asked = readTurns(prompt, "prompt", context, seen).map((message) => {
		if (message.role !== "assistant") return message;
		const { weight: _, ...rest } = message;
		return {
			...rest,
			train: false
		};
	});
	const answered = readTurns(completion, "completion", context, seen);
	if (!answered.some(({ role }) => role === "assistant")) throw new RowFault("no assistant’s message in `completion`", "the completion is what is learned: an answer");
	return finish$1([...asked, ...answered], row, false, context);
}
function readText$1(row, context) {
	const { text } = row;
	if (typeof text !== "string") throw mismatch("`text`", "text", text, "give it as text");
	context.note("plainText");
	refuseImages(row, "write the row as { \"messages\": [...] }, with the image in the question");
	return { text };
}
function refuseImages(row, hint) {
	const key = ["images", "image"].find((name) => row[name] !== void 0 && !isEmptyList(row[name]));
	if (key !== void 0) throw new RowFault(`\`${key}\` beside plain text, which has no place for an image`, hint);
}
function readAlpaca(row, context) {
	const text = (key) => {
		const value = row[key] ?? "";
		if (typeof value === "string") return value;
		throw mismatch(`\`${key}\``, "text", value, "give it as text");
	};
	const history = row["history"] ?? [];
	const isPair = (pair) => Array.isArray(pair) && pair.length === 2 && pair.every((turn) => typeof turn === "string");
	if (!Array.isArray(history) || !history.every(isPair)) throw new RowFault("`history`: expected pairs of texts", "write \"history\": [[\"question\", \"answer\"], ...]");
	if (history.length > 0) context.note("history");
	const earlier = history.flatMap(([question, answer]) => [{
		role: "user",
		content: question
	}, {
		role: "assistant",
		content: answer
	}]);
	const question = [text("instruction"), text("input")].filter((piece) => piece !== "").join("\n");
	const messages = [
		...earlier,
		{
			role: "user",
			content: question
		},
		{
			role: "assistant",
			content: text("output")
		}
	];
	return finish$1(withSystem(row["system"], messages), row, true, context);
}
function withSystem(system, messages) {
	if (system === void 0 || system === "") return messages;
	if (typeof system !== "string") throw mismatch("`system`", "text", system, "give it as text");
	if (messages[0]?.role === "system") throw new RowFault("`system` beside a system message", "keep one of them: `ignoreColumns: ['system']` leaves the column out");
	return [{
		role: "system",
		content: system
	}, ...messages];
}
function finish$1(messages, row, marked, context) {
	const { images = [] } = imagesBeside(row, context);
	const tools = row["tools"] === void 0 ? [] : readTools(row["tools"]);
	return {
		messages: placeImages(messages, images, marked, context),
		...tools.length > 0 && { tools }
	};
}
function imagesBeside(row, context) {
	const columns = ["images", "image"].filter((name) => row[name] !== void 0 && !isEmptyList(row[name]));
	const [key] = columns;
	if (key === void 0) return {};
	if (columns.length > 1) throw new RowFault("`image` beside `images`", "keep one of them");
	const cells = row[key];
	if (!Array.isArray(cells)) return { images: [context.image(cells, key)] };
	return { images: cells.map((cell, i) => context.image(cell, `${key}[${i}]`)) };
}
// src/data/conversations/row-images.ts
const rowImageShape = {
	onBadImage: _enum(["error", "skip"]).default("error"),
	verify: boolean().optional(),
	maxPixels: number().int().positive().optional()
};
var ImageChecks = class {
	#decodes;
	#faults = new Map();
	constructor(decodes) {
		this.#decodes = decodes;
	}
	async faultOf(image) {
		if (image instanceof EmbeddedImage) {
			if (image.fault) return `${image.path}: ${image.fault}`;
			return this.#decodes ? faultOfDecoding(image) : void 0;
		}
		if (!(image instanceof ImageFile)) return this.#decodes ? faultOfDecoding(image) : void 0;
		let fault = this.#faults.get(image.path);
		if (fault === void 0) {
			fault = this.#decodes ? faultOfDecoding(image) : faultOfFile(image.path);
			this.#faults.set(image.path, fault);
		}
		return fault;
	}
};
async function faultOfDecoding(image) {
	try {
		(await decodeWithin(image)).release();
		return;
	} catch (error) {
		if (error instanceof ImageError) return error.summary;
		throw error;
	}
}
async function faultOfFile(path) {
	const shown = oneLine(path);
	try {
		const { file } = await openRegularFile(path);
		try {
			const head = Buffer.alloc(512);
			const { bytesRead } = await file.read(head, 0, head.length, 0);
			if (bytesRead === 0) return `${shown}: the file is empty`;
			return imageFormatOf(head) ? void 0 : `${shown}: not a JPEG, PNG, WebP or GIF image`;
		} finally {
			await file.close();
		}
	} catch (cause) {
		const { code, message } = cause;
		const slash = path.includes("\\") && sep === "/" ? " (folders are parted by /, not by a backslash)" : "";
		return `${shown}: ${code === "ENOENT" ? `no such file${slash}` : message}`;
	}
}
// src/data/conversations/load-rows.ts
const MAX_FAULTS = 10;
const MAX_COLUMNS$2 = 1e3;
const ROWS_AT_ONCE = 64;
function sampleOf(row, name, options) {
	const context = contextOf(name, options, [], () => {});
	try {
		const { example } = readRow(row, options.form, context);
		return example.id === void 0 ? {
			...example,
			id: name
		} : example;
	} catch (error) {
		if (error instanceof RowFault) throw faultyRows([{
			name,
			error
		}], false);
		throw error;
	}
}
function contextOf(name, options, images, note) {
	return {
		imageMarker: options.imageMarker,
		ignored: options.ignoreColumns,
		image(cell, where) {
			const image = readImageCell(cell, where, name, options);
			images.push(image);
			return image;
		},
		note
	};
}
var RowLoader = class {
	#what;
	#options;
	#checks;
	#indices = [];
	#counts = new Map();
	#notes = new Map();
	#unknown = new Map();
	#columns = new Set();
	#faults = [];
	#bad = [];
	#badImages = 0;
	#unchecked = [];
	constructor(what, options) {
		this.#what = what;
		this.#options = options;
		this.#checks = new ImageChecks(options.verify);
	}
	async add(row, index, name) {
		const images = [];
		const noted = new Map();
		if (typeof row === "object" && row !== null && this.#columns.size < MAX_COLUMNS$2) for (const key of Object.keys(row)) this.#columns.add(key);
		try {
			const context = contextOf(name, this.#options, images, (kind, spelled) => {
				if (!noted.has(kind)) noted.set(kind, spelled);
			});
			const { example, form, unknown, known } = readRow(row, this.#options.form, context);
			for (const key of unknown) this.#addUnknown(key, name, known);
			this.#counts.set(form, (this.#counts.get(form) ?? 0) + 1);
			for (const [kind, spelled] of noted) {
				const seen = this.#notes.get(kind) ?? {
					rows: 0,
					first: name,
					spelled
				};
				seen.rows++;
				this.#notes.set(kind, seen);
			}
			this.#unchecked.push({
				index,
				name,
				sampleId: example.id ?? name,
				images
			});
		} catch (error) {
			if (!(error instanceof RowFault)) throw error;
			this.#faults.push({
				name,
				error
			});
			if (this.#faults.length > MAX_FAULTS) throw faultyRows(this.#faults, true, this.#what);
		}
		if (this.#unchecked.length >= ROWS_AT_ONCE) await this.#lookAtImages();
	}
	async finish() {
		await this.#lookAtImages();
		if (this.#faults.length > 0) throw faultyRows(this.#faults, false, this.#what);
		this.#refuseUnknown();
		this.#refuseMixture();
		this.#refuseStrayMarkers();
		this.#refuseNeedlessColumns();
		if (this.#bad.length > 0 && (this.#options.onBadImage === "error" || this.#indices.length === 0)) throw this.#badError();
		if (this.#indices.length === 0) throw new DataError(`${this.#what}: there are no rows`, { hint: "expected one object a line, or a list of objects" });
		const skipped = this.#bad.map(({ sampleId, reason }) => ({
			sampleId,
			reason
		}));
		const notes = [...this.#notes].map(([kind, { rows, first, spelled }]) => describeNote(kind, rows, first, spelled, this.#options));
		const said = notes.map(({ text }) => text);
		const warnings = notes.filter(({ isWarning }) => isWarning).map(({ text }) => text);
		if (skipped.length > 0) {
			const [{ sampleId, reason }] = skipped;
			const text = `${skipped.length} ${skipped.length === 1 ? "row is" : "rows are"} left out, as an image cannot be read: ${oneLine(sampleId)} (${reason})${skipped.length > 1 ? " and others" : ""}`;
			said.push(text);
			warnings.push(text);
		}
		const lines = {
			notes: said.map(warningLine),
			warnings: warnings.map(warningLine)
		};
		return {
			indices: this.#indices,
			counts: this.#counts,
			...lines,
			skipped
		};
	}
	#addUnknown(key, name, known) {
		const seen = this.#unknown.get(key) ?? {
			rows: 0,
			first: name,
			near: meantKey(key, known)
		};
		seen.rows++;
		if (this.#unknown.size < 1e3) this.#unknown.set(key, seen);
	}
	async #lookAtImages() {
		const rows = this.#unchecked;
		this.#unchecked = [];
		const faults = new Map();
		await forEachConcurrently(rows.flatMap((row) => row.images.map((image) => ({
			row,
			image
		}))), 8, async ({ row, image }) => {
			const fault = await this.#checks.faultOf(image);
			if (fault === void 0) return;
			this.#badImages++;
			if (!faults.has(row.index)) faults.set(row.index, fault);
		});
		for (const { index, name, sampleId } of rows) {
			const reason = faults.get(index);
			if (reason === void 0) this.#indices.push(index);
			else this.#bad.push({
				name,
				sampleId,
				reason
			});
		}
	}
	#refuseUnknown() {
		if (this.#unknown.size === 0) return;
		const found = [...this.#unknown];
		const shown = found.slice(0, 30).map(([key, { rows, first, near }]) => {
			const where = `${rows} ${rows === 1 ? "row" : "rows"}, first ${first}`;
			return `unknown key \`${oneLine(key)}\`${near ? `; did you mean \`${near}\`?` : ""} (${where})`;
		});
		const names = found.slice(0, 30).map(([key]) => `'${oneLine(key)}'`);
		throw new DataError(`${this.#what}: ${shown.length === 1 ? shown[0] : `\n  - ${shown.join("\n  - ")}`}`, {
			hint: `rename it, or leave columns out with \`ignoreColumns: [${names.join(", ")}]\``,
			details: { unknown: found.map(([key]) => key) }
		});
	}
	#refuseMixture() {
		const text = this.#counts.get("text") ?? 0;
		const others = [...this.#counts].filter(([form]) => form !== "text");
		if (text === 0 || others.length === 0) return;
		const counted = others.map(([form, rows]) => `${rows} of the form ${form}`).join(", ");
		throw new DataError(`${this.#what}: ${text} rows of plain text, of which everything is learned, among ${counted}`, {
			hint: "put them into files of their own",
			details: { counts: Object.fromEntries(this.#counts) }
		});
	}
	#refuseStrayMarkers() {
		const stray = this.#notes.get("strayMarker");
		const placed = this.#notes.get("markersPlaced");
		if (!stray || !placed) return;
		const { imageMarker } = this.#options;
		throw new DataError(`${this.#what}: ${stray.rows} ${stray.rows === 1 ? "row has" : "rows have"} ${imageMarker} in the text but no image, first ${stray.first}`, {
			hint: `${placed.rows} other rows have an image for each: add \`images\`, or leave the rows out`,
			details: {
				rows: stray.rows,
				first: stray.first
			}
		});
	}
	#refuseNeedlessColumns() {
		const columns = [...this.#columns];
		if (columns.length >= MAX_COLUMNS$2) return;
		const missing = [...this.#options.ignoreColumns].filter((name) => !name.includes(".") && !this.#columns.has(name));
		if (missing.length === 0 || columns.length === 0) return;
		const near = nearestName(missing[0], columns);
		throw new DataError(`${this.#what}: no row has the column \`${missing[0]}\` of \`ignoreColumns\``, {
			hint: near ? `did you mean \`${near}\`?` : `columns: ${columns.slice(0, 30).map(oneLine).join(", ")}`,
			details: { missing }
		});
	}
	#badError() {
		const shown = this.#bad.slice(0, 10).map(({ name, reason }) => {
			return `\n  - ${reason.startsWith(name) ? reason : `${name}: ${reason}`}`;
		});
		const more = this.#bad.length > shown.length ? `\n  and ${this.#bad.length - shown.length} more rows` : "";
		const isAll = this.#indices.length === 0;
		const rows = this.#bad.length;
		const count = `${isAll ? "all " : ""}${rows === 1 ? "the images of 1 row" : `the images of ${rows} rows`} cannot be read`;
		return new ImageError(`${this.#what}: ${count}${shown.join("")}${more}`, {
			hint: isAll ? `paths are relative to ${this.#options.imageRoot}: give another folder as \`imageRoot\`` : "correct the rows, or load with `onBadImage: 'skip'` to leave them out; `imageRoot` is what paths are relative to",
			details: {
				files: this.#bad.slice(0, 1e3),
				images: this.#badImages
			}
		});
	}
};
function faultyRows(faults, isOpen, what) {
	const [first] = faults;
	const details = {
		rows: faults.map(({ name }) => name),
		sample: first.name
	};
	if (faults.length === 1) return new DataError(`${first.name}: ${first.error.message}`, {
		hint: first.error.hint,
		details
	});
	const shown = faults.slice(0, MAX_FAULTS).map(({ name, error }) => `\n  - ${name}: ${error.message}`);
	const count = isOpen ? `more than ${MAX_FAULTS}` : `${faults.length}`;
	return new DataError(`${what}: ${count} rows are wrong${shown.join("")}`, {
		hint: first.error.hint,
		details
	});
}
// src/data/conversations/conversation-dataset.ts
const conversationOptionsSchema = strictObject({
	form: _enum(FORMS$2).optional(),
	imageRoot: string().min(1).optional(),
	imageMarker: union([string().min(1), literal(false)]).default("<image>"),
	ignoreColumns: array(string().min(1)).default([]),
	...rowImageShape,
	onWarning: callback().optional()
});
const FORM_NAMES = {
	messages: "messages of role and text",
	openai: "OpenAI messages",
	mistral: "Mistral messages",
	trl: "TRL messages with images or completions",
	"prompt-completion": "prompt and completion",
	text: "plain text",
	sharegpt: "ShareGPT conversations",
	alpaca: "alpaca instructions"
};
var ConversationDataset = class ConversationDataset extends IndexedDataset {
	form;
	forms;
	description;
	notes;
	skipped;
	constructor(what, loaded, form, make) {
		super(loaded.indices.length, (index) => make(loaded.indices[index]));
		const byCount = [...loaded.counts].sort(([, a], [, b]) => b - a);
		const shown = byCount.filter(([name]) => name !== "messages" || byCount.length === 1);
		this.form = form ?? shown[0][0];
		this.forms = new Map(byCount);
		this.notes = loaded.notes;
		this.skipped = loaded.skipped;
		const forms = byCount.length === 1 || form !== void 0 ? FORM_NAMES[this.form] : byCount.map(([name, rows]) => `${FORM_NAMES[name]} (${rows})`).join(", ");
		const samples = `${this.length} ${this.length === 1 ? "sample" : "samples"}`;
		this.description = [`${what}: ${samples}, ${forms}`, ...this.notes].join("; ");
	}
	static async fromFile(path, options = {}) {
		requirePath(path, "ConversationDataset.fromFile");
		const parsed = parseOptions(conversationOptionsSchema, options, "ConversationDataset.fromFile", ALIASES$1);
		const file = resolve(path);
		if (await isFolder(file)) throw new DataError(`${oneLine(file)}: a folder, not a file of conversations`, {
			hint: "give the .jsonl or .json file in it; `ImageFolder` reads folders of images",
			details: { path: file }
		});
		const settings = settingsOf(parsed, dirname(file));
		const loader = new RowLoader(oneLine(file), settings);
		const rows = await JsonRowFile.scan(file, (row, index, scanned) => loader.add(row, index, scanned.nameOf(index)));
		const loaded = await loader.finish();
		warn(loaded, oneLine(file), parsed.onWarning);
		return new ConversationDataset(oneLine(file), loaded, parsed.form, async (index) => sampleOf(await rows.read(index), rows.nameOf(index), settings));
	}
	static async fromRows(rows, options = {}) {
		if (!Array.isArray(rows)) throw new ConfigError("ConversationDataset.fromRows: expected a list of rows", { hint: "for a file: `ConversationDataset.fromFile(path)`" });
		const parsed = parseOptions(conversationOptionsSchema, options, "ConversationDataset.fromRows", ALIASES$1);
		const settings = settingsOf(parsed, process.cwd());
		const loader = new RowLoader("the rows", settings);
		const nameOf = (index) => `row ${index}`;
		for (const [index, row] of rows.entries()) await loader.add(row, index, nameOf(index));
		const loaded = await loader.finish();
		warn(loaded, "conversations", parsed.onWarning);
		return new ConversationDataset("rows", loaded, parsed.form, (index) => sampleOf(rows[index], nameOf(index), settings));
	}
};
const ALIASES$1 = {
	removecolumns: "ignoreColumns",
	imagefolder: "imageRoot",
	imagedir: "imageRoot",
	mediadir: "imageRoot",
	basedir: "imageRoot",
	formatting: "form",
	format: "form"
};
function settingsOf(parsed, folder) {
	const { form, imageRoot, imageMarker, ignoreColumns, onBadImage, verify, maxPixels } = parsed;
	return {
		form,
		imageRoot: imageRoot === void 0 ? folder : resolve(imageRoot),
		imageMarker: imageMarker === false ? void 0 : imageMarker,
		ignoreColumns: new Set(ignoreColumns),
		onBadImage,
		verify: verify ?? onBadImage === "skip",
		maxPixels
	};
}
function warn(loaded, what, onWarning) {
	const report = onWarning ?? ((line) => process.emitWarning(line, "ConversationWarning"));
	for (const warning of loaded.warnings) report(warningLine(`${what}: ${warning}`));
}
// src/archive/foreign-archive.ts
const HEAD_BYTES$1 = 512;
const EXPECTED$1 = ", where a zip archive was expected";
const KINDS = [
	[
		"",
		"a gzip file",
		"Unpack it by `tar -xzf`, or `gunzip` if it is a single file."
	],
	[
		"BZh",
		"a bzip2 file",
		"Unpack it by `tar -xjf`."
	],
	[
		"ý7zXZ\0",
		"an xz file",
		"Unpack it by `tar -xJf`."
	],
	[
		"(µ/ý",
		"a Zstandard file",
		"Unpack it by `tar --zstd -xf`."
	],
	[
		"7z¼¯'",
		"a 7z archive",
		"Unpack it by `7z x`."
	],
	[
		"Rar!\x07",
		"a RAR archive",
		"Unpack it by `unrar x`."
	],
	[
		"PNG",
		"a PNG image",
		"A single image is no data set."
	],
	[
		"ÿØÿ",
		"a JPEG image",
		"A single image is no data set."
	],
	[
		"PAR1",
		"a Parquet file",
		"A table of that form is not read: save its images as files."
	],
	[
		"HDF",
		"an HDF5 file",
		"Save its images as files."
	],
	[
		"SQLite format 3",
		"an SQLite database",
		"Save its images as files."
	]
];
async function sniffArchive(file) {
	const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES$1), 0, HEAD_BYTES$1, 0);
	const head = buffer.toString("latin1", 0, bytesRead);
	const found = KINDS.find(([begin]) => head.startsWith(begin));
	if (found) return {
		what: `${found[1]}${EXPECTED$1}`,
		isContent: true,
		advice: found[2]
	};
	if (head.slice(257, 262) === "ustar") return {
		what: `a tar archive${EXPECTED$1}`,
		isContent: true,
		advice: "Unpack it by `tar -xf`."
	};
	if (head === "") return {
		what: `an empty file${EXPECTED$1}`,
		isContent: false,
		advice: ""
	};
	const text = head.trimStart();
	if (/^<(!|\?|[a-z])/i.test(text)) return {
		what: `a web page${EXPECTED$1}`,
		isContent: false,
		advice: ""
	};
	if (text.startsWith("{")) return {
		what: `JSON${EXPECTED$1}`,
		isContent: false,
		advice: ""
	};
	if (isTable(head)) return {
		what: `a table of text (CSV)${EXPECTED$1}`,
		isContent: true,
		advice: "A table alone has no images; one that names image files is read by `ImageFolder.fromTable`."
	};
	return head.startsWith("PK") ? void 0 : {
		what: "no zip archive",
		isContent: false,
		advice: ""
	};
}
function isTable(head) {
	if (/[\0-\x08\x0e-\x1f]/.test(head)) return false;
	const [first = "", second = ""] = head.split(/\r?\n/);
	const count = (line) => line.split(/[,;\t]/).length;
	return count(first) > 1 && (second === "" || !head.includes("\n", first.length + 2) || count(second) > 1);
}
// src/archive/zip-directory.ts
var ArchiveError = class extends DataError {
	name = "ArchiveError";
	fault;
	reason;
	constructor(message, options) {
		super(message, options);
		this.fault = options.fault;
		this.reason = this.safe(options.reason);
	}
};
const SMALL$1 = 67108864;
const FILE_TYPES = 61440;
const REGULAR = 32768;
const FOLDER = 16384;
async function readZipDirectory(file, path, limits = {}) {
	const { size: archiveBytes } = await file.stat();
	const zip = await openZip(file, archiveBytes, path);
	try {
		const maxEntries = limits.maxEntries ?? 1e6;
		if (zip.entryCount > maxEntries) {
			const isDamaged = zip.entryCount * RECORD_BYTES > archiveBytes;
			throw zipError(path, `${zip.entryCount} entries; at most ${maxEntries} are taken`, { fault: isDamaged ? "damaged" : "limits" });
		}
		const directoryStart = Number(zip.readEntryCursor);
		const listed = [];
		for await (const entry of zip.eachEntry()) listed.push(checkEntry(entry, path));
		const totalBytes = listed.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
		requireWithinLimits(totalBytes, archiveBytes, limits, path);
		const conflicts = findConflicts(listed, path, limits.allowCaseConflicts ?? false);
		listed.sort((a, b) => a.entry.relativeOffsetOfLocalHeader - b.entry.relativeOffsetOfLocalHeader);
		const files = [];
		let free = 0;
		for (const { name, entry } of listed) {
			const start = entry.relativeOffsetOfLocalHeader;
			const header = await zip.readLocalFileHeaderPromise(entry);
			const end = header.fileDataStart + entry.compressedSize;
			if (!header.fileName.equals(entry.fileNameRaw)) throw zipError(path, "two names for one file", { entry: name });
			if (start < free || end > directoryStart) throw zipError(path, "files that overlap", { entry: name });
			free = end;
			if (name.endsWith("/")) continue;
			files.push({
				name,
				size: entry.uncompressedSize,
				crc32: entry.crc32,
				deflated: entry.compressionMethod === 8,
				start: header.fileDataStart,
				end
			});
		}
		return {
			files,
			folders: listed.flatMap(({ name }) => name.endsWith("/") ? [name] : []),
			totalBytes,
			conflicts
		};
	} catch (cause) {
		throw cause instanceof ArchiveError ? cause : zipError(path, reasonOf$1(cause), {
			fault: faultOf(cause),
			cause
		});
	} finally {
		zip.close();
	}
}
function checkEntry(entry, path) {
	const raw = entry.fileNameRaw;
	const name = yauzl.getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, true);
	const refuse = (why, fault) => zipError(path, why, {
		entry: name,
		fault
	});
	const wrongName = nameFault(name);
	if (wrongName) throw refuse(wrongName, "names");
	if (entry.generalPurposeBitFlag & 8257) throw refuse("an encrypted file", "encrypted");
	const type = entry.externalFileAttributes >>> 16 & FILE_TYPES;
	const isFolder = name.endsWith("/");
	if (type !== 0 && type !== REGULAR && type !== FOLDER) throw refuse(type === 40960 ? "a symbolic link" : "a device, pipe or socket", "links");
	if (type === FOLDER && !isFolder || isFolder && entry.uncompressedSize > 0) throw refuse("a folder and a file at once", "names");
	if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) throw refuse(`compression method ${entry.compressionMethod}; stored and deflated are known`, "method");
	if (![
		entry.uncompressedSize,
		entry.compressedSize,
		entry.relativeOffsetOfLocalHeader
	].every(Number.isSafeInteger)) throw refuse("sizes beyond all measure", "damaged");
	return {
		name,
		entry
	};
}
function requireWithinLimits(totalBytes, archiveBytes, limits, path) {
	const { maxTotalBytes = 2 ** 40, maxRatio = 200 } = limits;
	const most = Math.min(maxTotalBytes, Math.max(SMALL$1, maxRatio * archiveBytes));
	if (totalBytes <= most) return;
	throw zipError(path, `${archiveBytes} bytes that unpack to ${totalBytes}; at most ${most} are taken`, { fault: "limits" });
}
function findConflicts(listed, path, areAllowed) {
	const files = new Map();
	const exact = new Set();
	const conflicts = [];
	for (const { name } of listed) {
		if (name.endsWith("/")) continue;
		const key = nameKey(name);
		const other = files.get(key);
		if (other !== void 0 && (!areAllowed || exact.has(name))) {
			const isCase = !exact.has(name);
			throw zipError(path, `the same file as "${shown$1(other)}"${isCase ? " on some systems" : ""}`, {
				entry: name,
				fault: isCase ? "case" : "names"
			});
		}
		if (other !== void 0) conflicts.push(name);
		files.set(key, name);
		exact.add(name);
	}
	if (files.size === 0) return conflicts;
	const seen = new Set();
	for (const { name } of listed) for (let slash = name.indexOf("/"); slash !== -1; slash = name.indexOf("/", slash + 1)) {
		const folder = name.slice(0, slash);
		if (seen.has(folder)) continue;
		seen.add(folder);
		if (!files.has(nameKey(folder))) continue;
		const why = slash === name.length - 1 ? "a folder and a file at once" : "a file below another file";
		if (exact.has(folder)) throw zipError(path, why, {
			entry: name,
			fault: "names"
		});
		if (!areAllowed) throw zipError(path, `${why} on some systems`, {
			entry: name,
			fault: "case"
		});
		conflicts.push(name);
	}
	return conflicts;
}
async function openZip(file, size, path) {
	try {
		const zip = await yauzl.fromRandomAccessReaderPromise(new HandleReader(file, size), size, {
			decodeStrings: false,
			autoClose: false
		});
		zip.on("error", () => void 0);
		return zip;
	} catch (cause) {
		const foreign = await sniffArchive(file);
		if (foreign) throw zipError(path, foreign.what, {
			fault: foreign.isContent ? "not-zip" : "damaged",
			foreign,
			cause
		});
		throw zipError(path, reasonOf$1(cause), {
			fault: faultOf(cause),
			cause
		});
	}
}
const RECORD_BYTES = 46;
var HandleReader = class extends yauzl.RandomAccessReader {
	#file;
	#size;
	constructor(file, size) {
		super();
		this.#file = file;
		this.#size = size;
	}
	read(buffer, offset, length, position, callback) {
		if (!Number.isSafeInteger(position) || position < 0 || position + length > this.#size) {
			setImmediate(callback, new Error("an offset outside of the archive"));
			return;
		}
		this.#file.read(buffer, offset, length, position).then(({ bytesRead }) => {
			const record = buffer.subarray(offset, offset + bytesRead);
			if (length === RECORD_BYTES && position + RECORD_BYTES + variableBytes(record) > this.#size) callback(new Error("a directory record that is longer than the archive"));
			else callback(null, bytesRead);
		}, (error) => callback(error));
	}
	_readStreamForRange() {
		return Readable.from([]);
	}
};
function variableBytes(record) {
	if (record.length < RECORD_BYTES) return 0;
	return record.readUInt16LE(28) + record.readUInt16LE(30) + record.readUInt16LE(32);
}
function faultOf(cause) {
	const message = reasonOf$1(cause);
	if (/encrypt/i.test(message)) return "encrypted";
	return /multi-disk|unsupported/i.test(message) ? "method" : "damaged";
}
const HINTS$1 = {
	damaged: "The archive is damaged.",
	case: "A disk that distinguishes capital and small letters holds both files; others hold one of them. `allowCaseConflicts: true` unpacks both where the disk can.",
	names: "Such a name may lead out of the folder, or be no name on this system. Look at the archive before you trust it.",
	encrypted: "Unpack it with its password.",
	method: "Unpack it with a program that knows this form, such as 7-Zip.",
	limits: "It would take more room than such a file should. Look at it before you trust it.",
	links: "Links and devices are not made from an archive. Look at it before you trust it.",
	"not-zip": ""
};
function zipError(path, why, facts = {}) {
	const { entry, fault = "damaged", foreign, cause } = facts;
	const reason = `${entry === void 0 ? "" : `entry "${shown$1(entry)}": `}${why}`;
	return new ArchiveError(`${path}: ${reason}`, {
		hint: foreign?.advice || HINTS$1[fault] || HINTS$1.damaged,
		fault,
		reason,
		details: {
			path,
			...entry === void 0 ? {} : { entry }
		},
		cause
	});
}
function shown$1(name) {
	const plain = JSON.stringify(name).slice(1, -1);
	return plain.length > 120 ? `${plain.slice(0, 120)}…` : plain;
}
// src/archive/extract-zip.ts
const CHUNK_BYTES = 65536;
async function extractZip(archive, dir, options = {}) {
	const { signal, onProgress } = options;
	signal?.throwIfAborted();
	const file = await open(archive);
	try {
		const { files, folders, totalBytes, conflicts } = await readZipDirectory(file, archive, options);
		await requireSpace(dir, totalBytes);
		await writing(dir, () => mkdir(dir));
		if (conflicts.length > 0 && !await distinguishesNames(dir)) throw zipError(archive, `the disk of ${dir} takes it for another file of the archive${conflicts.length > 1 ? `, and ${conflicts.length - 1} more like it` : ""}`, {
			entry: conflicts[0],
			fault: "case"
		});
		const made = new Set([dir]);
		const ensureFolder = async (path) => {
			if (made.has(path)) return;
			await writing(path, () => mkdir(path, { recursive: true }));
			made.add(path);
		};
		for (const folder of folders) await ensureFolder(join(dir, folder));
		let bytes = 0;
		for (const [index, entry] of files.entries()) {
			signal?.throwIfAborted();
			const path = join(dir, entry.name);
			await ensureFolder(dirname(path));
			await extractEntry(file, archive, entry, path, signal);
			bytes += entry.size;
			onProgress?.({
				files: index + 1,
				totalFiles: files.length,
				bytes,
				totalBytes
			});
		}
	} finally {
		await file.close();
	}
}
async function distinguishesNames(dir) {
	const probe = join(dir, ".case-é");
	const others = [".CASE-É", ".case-é"].map((name) => join(dir, name));
	try {
		await writing(probe, async () => (await open(probe, "wx")).close());
		return !(await Promise.all(others.map(exists))).includes(true);
	} finally {
		await rm(probe, { force: true });
	}
}
async function extractEntry(file, archive, entry, path, signal) {
	const target = await writing(path, () => open(path, "wx"));
	const crc = new Crc("crc32");
	let size = 0;
	const receive = async (chunk) => {
		size += chunk.length;
		if (size > entry.size) throw zipError(archive, `more than the ${entry.size} bytes declared`, { entry: entry.name });
		crc.update(chunk);
		await writing(path, async () => {
			for (let done = 0; done < chunk.length;) done += (await target.write(chunk, done, chunk.length - done)).bytesWritten;
		});
	};
	const source = readRange(file, entry);
	try {
		if (entry.deflated) {
			const write = (chunk, _encoding, done) => {
				receive(chunk).then(() => done(), done);
			};
			const inflate = createInflateRaw({ chunkSize: chunkSizeFor(entry) });
			await pipeline(source, inflate, new Writable({ write }), signal ? { signal } : {});
		} else for await (const chunk of source) await receive(chunk);
	} catch (cause) {
		signal?.throwIfAborted();
		if (cause instanceof TuneError || !(cause instanceof Error)) throw cause;
		throw zipError(archive, reasonOf$1(cause), {
			entry: entry.name,
			cause
		});
	} finally {
		await target.close();
	}
	if (size !== entry.size) throw zipError(archive, `${size} of ${entry.size} bytes`, { entry: entry.name });
	if (crc.value !== entry.crc32) throw zipError(archive, "the checksum does not match", { entry: entry.name });
}
function chunkSizeFor({ size, start, end }) {
	return Math.min(CHUNK_BYTES, Math.max(64, size), Math.max(1024, 2 * (end - start)));
}
async function* readRange(file, { start, end }) {
	for (let position = start; position < end;) {
		const length = Math.min(CHUNK_BYTES, end - position);
		const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, position);
		if (bytesRead === 0) return;
		position += bytesRead;
		yield buffer.subarray(0, bytesRead);
	}
}
// src/data/folder-evidence.ts
const SPLIT_WORDS = aliases({
	train: "train training trainval",
	test: "test testing",
	validation: "val valid validation validate"
});
const WEAK_SPLIT_WORDS = aliases({
	validation: "dev eval",
	test: "evaluation holdout"
});
const words = (text) => new Set(text.split(" "));
const CONTAINER_WORDS = words("image images img imgs jpegimages picture pictures pic pics photo photos frame frames jpg jpeg jpegs png pngs input inputs data dataset datasets set files file raw original originals");
const NEUTRAL_WORDS = words("seg split splits folder folders dir sample samples resized cropped new final processed preprocessed cls classification of to for the labeled labelled my full");
const MASK_WORDS = words("mask masks label labels annotation annotations annot annots segmentation segmentations segmentationclass segmentationobject groundtruth gt trimap trimaps xml xmls bbox bboxes overlay overlays boxes imagesets");
const PART_WORDS = words("part parts batch chunk shard archive volume fold");
const UNSEEN = /[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;
function seenName(name) {
	return name.normalize("NFC").replaceAll(UNSEEN, "").replaceAll(/\s+/g, " ").trim();
}
function plainName$1(name) {
	return seenName(name).normalize("NFKC").toLowerCase();
}
function wordsOf(name) {
	return name.normalize("NFKC").replaceAll(/(\p{Ll})(\p{Lu})/gu, "$1 $2").toLowerCase().split(/[^\p{L}\p{N}]+|(?<=\p{L})(?=\p{N})|(?<=\p{N})(?=\p{L})/u).filter((word) => word !== "");
}
const GLUED = /^(train|training|test|testing|val|valid|validation)(sets?|data|dataset|images?|imgs?|folder)$/;
function splitWordOf(name, vocabulary) {
	const all = wordsOf(name).map((word) => GLUED.exec(word)?.[1] ?? word);
	const found = all.filter((word) => vocabulary.has(word));
	const isTrainVal = found.length === 2 && found[0] === "train" && vocabulary.get(found[1]) === "validation";
	if (found.length !== 1 && !isTrainVal) return void 0;
	const rest = all.filter((word) => !vocabulary.has(word));
	const isPlain = rest.every((word) => CONTAINER_WORDS.has(word) || NEUTRAL_WORDS.has(word) || /^\p{N}+$/u.test(word));
	return {
		split: vocabulary.get(found[0]),
		rest: rest.join(" "),
		isPlain
	};
}
function splitsAmong(names, given = {}) {
	const own = new Map(Object.entries(given).map(([name, split]) => [plainName$1(name), split]));
	const splits = new Map();
	const found = names.map((name) => ({
		name,
		word: splitWordOf(name, SPLIT_WORDS)
	}));
	for (const { name, word } of found) {
		const said = own.get(plainName$1(name));
		const hasTwin = () => found.some((other) => other.word && other.word.rest === word.rest && other.word.split !== word.split);
		if (said === false) continue;
		if (!said && wordsOf(name).some((one) => MASK_WORDS.has(one))) continue;
		if (said) splits.set(name, said);
		else if (word && (word.isPlain || hasTwin())) splits.set(name, word.split);
	}
	if (![...splits.values()].includes("train")) return splits;
	for (const name of names) {
		const word = splitWordOf(name, WEAK_SPLIT_WORDS);
		if (word?.isPlain && !splits.has(name) && !own.has(plainName$1(name))) splits.set(name, word.split);
	}
	return splits;
}
function splitInName(name) {
	return splitWordOf(name.replace(/\.[^.]*$/, ""), SPLIT_WORDS)?.split;
}
function splitOfCell(text) {
	const [word, ...others] = wordsOf(text);
	return others.length > 0 || word === void 0 ? void 0 : SPLIT_WORDS.get(word) ?? WEAK_SPLIT_WORDS.get(word);
}
const consistsOf = (name, vocabularies) => {
	const all = wordsOf(name);
	const isNumber = (word) => /^\p{N}+$/u.test(word);
	const whole = all.join("");
	if (vocabularies.some((vocabulary) => vocabulary.has(whole))) return true;
	return all.some((word) => !isNumber(word)) && all.every((word) => isNumber(word) || vocabularies.some((v) => v.has(word)));
};
function isContainer(name) {
	return consistsOf(name, [CONTAINER_WORDS, PART_WORDS]);
}
function isMaskFolder(name) {
	const all = wordsOf(name);
	return consistsOf(name, [
		MASK_WORDS,
		CONTAINER_WORDS,
		new Set(SPLIT_WORDS.keys()),
		words("ground truth")
	]) && (MASK_WORDS.has(all.join("")) || all.some((word) => MASK_WORDS.has(word) || word === "truth"));
}
function arePartNames(names) {
	if (names.length < 2) return false;
	const stems = new Set(names.map((name) => wordsOf(name).filter((word) => !/^\p{N}+$/u.test(word)).join(" ")));
	const [stem] = stems;
	const isPart = (word) => PART_WORDS.has(word) || CONTAINER_WORDS.has(word);
	return stems.size === 1 && names.every((name) => /\p{N}/u.test(name)) && stem.split(" ").some(isPart);
}
const OPPOSITES = [
	["positive", words("negative")],
	["pos", words("neg")],
	["benign", words("malignant")],
	["normal", words("abnormal")],
	["healthy", words("unhealthy diseased sick infected")],
	["good", words("bad defect defective broken")],
	["yes", words("no")],
	["true", words("false")],
	["real", words("fake")],
	["live", words("spoof")],
	["valid", words("invalid")]
];
function oppositesAmong(names) {
	const byWord = new Map();
	for (const name of names) for (const word of wordsOf(name)) byWord.set(word, name);
	for (const [one, others] of OPPOSITES) {
		const other = [...others].find((word) => byWord.has(word));
		if (byWord.has(one) && other !== void 0) return [byWord.get(one), byWord.get(other)];
	}
}
function maskFiles(files) {
	const stemOf = ({ path }) => path.replace(/\.[^./\\]+$/, "");
	const stems = new Set(files.map(stemOf));
	return files.filter((file) => {
		const base = /^(.+?)[ _-](?:mask|seg|segmentation|groundtruth|gt)s?(?:[ _-]?\d+)?$/i.exec(stemOf(file))?.[1];
		return base !== void 0 && stems.has(base);
	});
}
function ignoreFilter(patterns) {
	const expressions = patterns.map((pattern) => {
		const source = pattern.replaceAll("\\", "/").replace(/^\.?\//, "").replace(/\/$/, "").split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&")).join("[^/]*");
		return new RegExp(`^${source}$`, "iu");
	});
	return (name, key) => expressions.some((one) => one.test(name) || one.test(key));
}
function listNames(names, shown = 4) {
	return shortList(names, names.length === shown + 1 ? shown + 1 : shown, (name) => `\`${oneLine(name)}\``);
}
function imagesBelow(folder) {
	return [...folder.images, ...folder.folders.flatMap(imagesBelow)];
}
function othersBelow(folder) {
	return [...folder.others, ...folder.folders.flatMap(othersBelow)];
}
function filled(folder) {
	return folder.folders.filter(({ total }) => total > 0);
}
function splitsOf$1(folders, { splits }) {
	const names = splitsAmong(folders.map(({ name }) => name), splits);
	return new Map(folders.flatMap((folder) => names.has(folder.name) ? [[folder, names.get(folder.name)]] : []));
}
// src/data/parquet/image-columns.ts
const IMAGE_NAMES = /^(image|img|picture|photo|jpg|jpeg|png|pixel_values)$/i;
const LABEL_NAMES$1 = /^(labels?|class|classes|category|target|fine_label|diagnosis|class_?name|label_?name)$/i;
function findImageColumns(file, chosen) {
	const features = featuresOf(file);
	const tops = [...new Set([...file.columns.keys()].map((path) => path.split(".")[0]))];
	const ofType = (type) => tops.filter((name) => features.get(name)?._type === type);
	const isImage = (name) => file.columns.has(`${name}.bytes`);
	const images = ofType("Image").length > 0 ? ofType("Image") : tops.filter(isImage);
	const image = choose(file, chosen.imageColumn, images.length > 0 ? images : tops.filter((name) => IMAGE_NAMES.test(name)), {
		what: "images",
		option: "imageColumn",
		tops
	});
	const bytes = file.columns.get(`${image}.bytes`) ?? file.columns.get(image);
	if (!bytes || bytes.type !== 6 && bytes.type !== 7) throw columnError(file, `the column "${image}" holds ${[...file.columns.values()].some(({ path, isRepeated }) => isRepeated && path.startsWith(`${image}.`)) ? "lists, where one image a row is expected" : "no encoded images"}`, tops, "imageColumn");
	const others = tops.filter((name) => name !== image);
	const labels = ofType("ClassLabel").length > 0 ? ofType("ClassLabel") : others.filter((name) => LABEL_NAMES$1.test(name));
	const name = choose(file, chosen.labelColumn, labels, {
		what: "classes",
		option: "labelColumn",
		tops
	});
	const label = file.columns.get(name);
	if (!label || ![
		1,
		2,
		6,
		0
	].includes(label.type)) throw columnError(file, `the column "${name}" holds neither texts nor whole numbers`, tops, "labelColumn");
	const names = features.get(name)?.names;
	const isNames = Array.isArray(names) && names.every((one) => typeof one === "string") && label.type !== 6;
	return {
		bytes,
		path: file.columns.get(`${image}.path`),
		label,
		classNames: isNames ? names : void 0
	};
}
function choose(file, given, found, choice) {
	const { what, option, tops } = choice;
	if (given !== void 0) {
		if (tops.includes(given)) return given;
		throw columnError(file, `no column "${given}"`, tops, option);
	}
	if (found.length === 1) return found[0];
	throw columnError(file, found.length === 0 ? `no column of ${what} by its name` : `several columns of ${what}: ${listNames(found)}`, tops, option);
}
function featuresOf({ notes }) {
	try {
		const note = JSON.parse(notes.get("huggingface") ?? "{}");
		return new Map(Object.entries(note.info?.features ?? {}));
	} catch {
		return new Map();
	}
}
function columnError({ path }, why, tops, option) {
	return new DataError(`${oneLine(path)}: ${oneLine(why)}; its columns: ${listNames(tops)}`, {
		hint: `Name it by the option \`${option}\`.`,
		details: {
			path,
			columns: tops
		}
	});
}
// src/data/parquet/decompress.ts
const NAMES = [
	"none",
	"Snappy",
	"gzip",
	"LZO",
	"Brotli",
	"LZ4",
	"Zstandard",
	"LZ4 (raw)"
];
const MAX_RATIO$1 = {
	0: 1,
	1: 22,
	2: 1040,
	4: 2e3,
	6: 2e3
};
function decompress(codec, bytes, size) {
	const ratio = MAX_RATIO$1[codec];
	if (ratio === void 0) throw new Error(`${NAMES[codec] ?? `unknown (${codec})`} compression, which is not read here`);
	if (size > 64 + ratio * bytes.length) throw new Error(`${bytes.length} bytes that claim to become ${size}`);
	const limit = { maxOutputLength: Math.max(1, size) };
	const whole = (() => {
		switch (codec) {
			case 0: return bytes;
			case 1: return unsnappy(bytes, size);
			case 2: return zlib.gunzipSync(bytes, limit);
			case 4: return zlib.brotliDecompressSync(bytes, limit);
			default: {
				const unzstd = zlib.zstdDecompressSync;
				if (!unzstd) throw new Error("Zstandard compression, which Node has from 22.15 on");
				return unzstd(bytes, limit);
			}
		}
	})();
	if (whole.length !== size) throw new Error(`${whole.length} of ${size} bytes`);
	return whole;
}
function unsnappy(bytes, size) {
	let at = 0;
	let announced = 0;
	for (let shift = 0;; shift += 7) {
		const byte = bytes[at++];
		if (byte === void 0 || shift > 28) throw new Error("no Snappy data");
		announced += (byte & 127) * 2 ** shift;
		if (byte < 128) break;
	}
	if (announced !== size) throw new Error(`${announced} bytes for ${size}`);
	const out = Buffer.allocUnsafe(size);
	let end = 0;
	while (at < bytes.length) {
		const tag = bytes[at++];
		const kind = tag & 3;
		if (kind === 0) {
			let length = tag >> 2;
			if (length >= 60) {
				const width = length - 59;
				if (at + width > bytes.length) throw new Error("Snappy data that break off");
				length = bytes.readUIntLE(at, width);
				at += width;
			}
			length++;
			if (at + length > bytes.length || end + length > size) throw new Error("Snappy data that break off");
			bytes.copy(out, end, at, at + length);
			at += length;
			end += length;
			continue;
		}
		const width = kind === 3 ? 4 : kind;
		if (at + width > bytes.length) throw new Error("Snappy data that break off");
		const low = bytes.readUIntLE(at, width);
		at += width;
		const length = kind === 1 ? (tag >> 2 & 7) + 4 : (tag >> 2) + 1;
		const offset = kind === 1 ? tag >> 5 << 8 | low : low;
		if (offset === 0 || offset > end || end + length > size) throw new Error("a Snappy copy of nothing");
		for (let i = 0; i < length; i++) out[end + i] = out[end + i - offset];
		end += length;
	}
	if (end !== size) throw new Error(`${end} of ${size} bytes`);
	return out;
}
const DICTIONARY = [2, 8];
const ENCODING_NAMES = {
	3: "RLE",
	4: "BIT_PACKED",
	5: "DELTA_BINARY_PACKED",
	6: "DELTA_LENGTH_BYTE_ARRAY",
	7: "DELTA_BYTE_ARRAY",
	9: "BYTE_STREAM_SPLIT"
};
function decodeValues(bytes, count, encoding, column, dictionary) {
	if (encoding === 0) return plainValues(bytes, count, column);
	if (!DICTIONARY.includes(encoding)) throw new Error(`the encoding ${ENCODING_NAMES[encoding] ?? encoding}, which is not read here`);
	if (!dictionary) throw new Error("a page without its dictionary");
	if (count === 0) return [];
	const places = decodeRuns(bytes.subarray(1), bytes[0] ?? 0, count);
	return Array.from(places, (place) => {
		const value = dictionary[place];
		if (value === void 0) throw new Error(`entry ${place} of a dictionary of ${dictionary.length}`);
		return value;
	});
}
function decodeRuns(bytes, width, count) {
	if (width > 32) throw new Error(`numbers of ${width} bits`);
	const out = new Uint32Array(count);
	const mask = width === 32 ? 4294967295 : 2 ** width - 1;
	let [at, end] = [0, 0];
	while (end < count) {
		let head = 0;
		for (let shift = 0;; shift += 7) {
			const byte = bytes[at++];
			if (byte === void 0 || shift > 28) throw new Error("runs that break off");
			head += (byte & 127) * 2 ** shift;
			if (byte < 128) break;
		}
		const length = Math.floor(head / 2);
		if (head % 2 === 0) {
			const size = Math.ceil(width / 8);
			if (at + size > bytes.length || length === 0) throw new Error("runs that break off");
			const value = size === 0 ? 0 : bytes.readUIntLE(at, size);
			at += size;
			out.fill(value, end, Math.min(count, end + length));
			end += length;
			continue;
		}
		const stop = at + length * width;
		if (length === 0) throw new Error("runs that break off");
		let [buffer, bits] = [0, 0];
		for (let i = 0; i < length * 8 && end < count; i++) {
			while (bits < width) {
				if (at >= bytes.length) throw new Error("runs that break off");
				buffer += bytes[at++] * 2 ** bits;
				bits += 8;
			}
			out[end++] = width === 32 ? buffer % 2 ** 32 : buffer & mask & 4294967295;
			buffer = Math.floor(buffer / 2 ** width);
			bits -= width;
		}
		at = stop;
	}
	return out;
}
function plainValues(bytes, count, { type, length }) {
	if (count > bytes.length * 8) throw new Error(`${count} values in ${bytes.length} bytes`);
	const values = [];
	const fixed = (width, read) => {
		if (width <= 0 || count * width > bytes.length) throw new Error(`${count} values in ${bytes.length} bytes`);
		for (let i = 0; i < count; i++) values.push(read(i * width));
		return values;
	};
	switch (type) {
		case 0:
			for (let i = 0; i < count; i++) values.push((bytes[i >> 3] >> (i & 7) & 1) === 1);
			return values;
		case 1: return fixed(4, (at) => bytes.readInt32LE(at));
		case 2: return fixed(8, (at) => bytes.readBigInt64LE(at));
		case 4: return fixed(4, (at) => bytes.readFloatLE(at));
		case 5: return fixed(8, (at) => bytes.readDoubleLE(at));
		case 7: return fixed(length, (at) => bytes.subarray(at, at + length));
		case 6: break;
		default: throw new Error(`values of type ${type}, which are not read here`);
	}
	for (let i = 0, at = 0; i < count; i++) {
		if (at + 4 > bytes.length) throw new Error(`${i} of ${count} values`);
		const size = bytes.readUInt32LE(at);
		at += 4;
		if (at + size > bytes.length) throw new Error(`${i} of ${count} values`);
		values.push(bytes.subarray(at, at + size));
		at += size;
	}
	return values;
}
// src/data/parquet/thrift.ts
const MAX_DEPTH$3 = 24;
const MAX_ELEMENTS = 4e6;
var ThriftReader = class {
	#bytes;
	#at = 0;
	#elements = 0;
	constructor(bytes) {
		this.#bytes = bytes;
	}
	get position() {
		return this.#at;
	}
	struct(depth = 0) {
		if (depth > MAX_DEPTH$3) throw new Error("metadata nested too deeply");
		const fields = new Map();
		for (let id = 0;;) {
			const head = this.#byte();
			if (head === 0) return fields;
			const type = head & 15;
			id = head >> 4 === 0 ? Number(this.#zigzag()) : id + (head >> 4);
			fields.set(id, type === 1 || type === 2 ? type === 1 : this.#value(type, depth));
		}
	}
	#value(type, depth) {
		if (++this.#elements > MAX_ELEMENTS) throw new Error("more metadata than images need");
		switch (type) {
			case 1:
			case 2: return this.#byte() === 1;
			case 3: return this.#byte() << 24 >> 24;
			case 4:
			case 5:
			case 6: {
				const value = this.#zigzag();
				const number = Number(value);
				return Number.isSafeInteger(number) ? number : value;
			}
			case 7: return this.#take(8).readDoubleLE();
			case 8: return this.#take(this.#length());
			case 9:
			case 10: {
				const head = this.#byte();
				const count = head >> 4 === 15 ? this.#length() : head >> 4;
				const items = [];
				for (let i = 0; i < count; i++) items.push((head & 15) === 12 ? this.struct(depth + 1) : this.#value(head & 15, depth + 1));
				return items;
			}
			case 11: {
				const count = this.#length();
				const kinds = count > 0 ? this.#byte() : 0;
				for (let i = 0; i < 2 * count; i++) this.#value(i % 2 === 0 ? kinds >> 4 : kinds & 15, depth + 1);
				return [];
			}
			case 12: return this.struct(depth + 1);
			default: throw new Error(`metadata of an unknown type ${type}`);
		}
	}
	#byte() {
		if (this.#at >= this.#bytes.length) throw new Error("metadata that breaks off");
		return this.#bytes[this.#at++];
	}
	#take(length) {
		if (length > this.#bytes.length - this.#at) throw new Error("metadata that breaks off");
		this.#at += length;
		return this.#bytes.subarray(this.#at - length, this.#at);
	}
	#length() {
		const length = Number(this.#varint());
		if (length > this.#bytes.length) throw new Error("metadata that breaks off");
		return length;
	}
	#varint() {
		let value = 0n;
		for (let shift = 0n; shift < 70n; shift += 7n) {
			const byte = this.#byte();
			value |= BigInt(byte & 127) << shift;
			if (byte < 128) return value;
		}
		throw new Error("a number that does not end");
	}
	#zigzag() {
		const value = this.#varint();
		return value >> 1n ^ -(value & 1n);
	}
};
function numberIn(struct, id) {
	const value = struct?.get(id);
	return typeof value === "number" ? value : void 0;
}
function structIn(struct, id) {
	const value = struct?.get(id);
	return value instanceof Map ? value : void 0;
}
function textIn(struct, id) {
	const value = struct?.get(id);
	return Buffer.isBuffer(value) ? value.toString("utf8") : void 0;
}
function listIn(struct, id) {
	const value = struct?.get(id);
	return Array.isArray(value) ? value : [];
}
// src/data/parquet/parquet-file.ts
const MAX_FOOTER = 64 << 20;
const MAX_PAGE = 1 << 30;
const MAX_PAGE_VALUES = 1 << 22;
const MAX_COLUMNS$1 = 1e4;
const HEADER_BYTES$2 = [
	256,
	65536,
	16 << 20
];
var ParquetFile = class ParquetFile {
	path;
	columns;
	rows;
	notes;
	size;
	#handle;
	#groups;
	constructor(path, handle, size, footer) {
		this.path = path;
		this.#handle = handle;
		this.size = size;
		this.columns = columnsOf(listIn(footer, 2));
		this.rows = numberIn(footer, 3) ?? 0;
		this.#groups = listIn(footer, 4).filter((group) => group instanceof Map);
		this.notes = new Map(listIn(footer, 5).flatMap((note) => {
			const [key, value] = note instanceof Map ? [textIn(note, 1), textIn(note, 2)] : [];
			return key === void 0 || value === void 0 ? [] : [[key, value]];
		}));
	}
	static async open(path) {
		const { file: handle, size } = await openRegularFile(path);
		try {
			const tail = await readAt(handle, Math.max(0, size - 8), Math.min(8, size));
			const mark = tail.toString("latin1", 4);
			if (size < 12 || mark !== "PAR1") throw new Error(mark === "PARE" ? "an encrypted file" : "no Parquet file");
			const length = tail.readUInt32LE(0);
			if (length > Math.min(MAX_FOOTER, size - 12)) throw new Error(`metadata of ${length} bytes`);
			const footer = new ThriftReader(await readAt(handle, size - 8 - length, length)).struct();
			return new ParquetFile(path, handle, size, footer);
		} catch (cause) {
			await handle.close();
			throw parquetError(path, cause);
		}
	}
	close() {
		return this.#handle.close();
	}
	bytesOf(column) {
		return this.#groups.reduce((sum, group) => sum + (numberIn(this.#chunk(group, column), 6) ?? 0), 0);
	}
	async *values(column) {
		for (const [index, group] of this.#groups.entries()) {
			const rows = numberIn(group, 3) ?? 0;
			try {
				if (column.isRepeated) throw new Error("a list, where one value is expected");
				const chunk = this.#chunk(group, column);
				if (!chunk) throw new Error("no such column");
				let count = 0;
				for await (const page of this.#pages(chunk, column)) {
					count += page.length;
					yield* page;
				}
				if (count !== rows) throw new Error(`${count} values in ${rows} rows`);
			} catch (cause) {
				throw parquetError(this.path, cause, `row group ${index + 1}, column "${oneLine(column.path)}"`);
			}
		}
	}
	#chunk(group, column) {
		for (const chunk of listIn(group, 1)) {
			if (!(chunk instanceof Map)) continue;
			const meta = structIn(chunk, 3);
			if (listIn(meta, 3).map((part) => Buffer.isBuffer(part) ? part.toString("utf8") : "").join(".") === column.path) return meta;
		}
	}
	async *#pages(chunk, column) {
		const wanted = numberIn(chunk, 5) ?? 0;
		const codec = numberIn(chunk, 4) ?? 0;
		const first = numberIn(chunk, 9) ?? -1;
		const dictionaryAt = numberIn(chunk, 11) ?? 0;
		let at = dictionaryAt > 0 && dictionaryAt < first ? dictionaryAt : first;
		const end = at + (numberIn(chunk, 7) ?? 0);
		if (at < 4 || end > this.size || end < at) throw new Error("pages outside of the file");
		let dictionary;
		for (let count = 0; count < wanted;) {
			const { header, length } = await this.#pageHeader(at, end);
			const [kind, size, stored] = [
				numberIn(header, 1),
				numberIn(header, 2) ?? -1,
				numberIn(header, 3) ?? -1
			];
			at += length;
			if (size < 0 || stored < 0 || size > MAX_PAGE || at + stored > end) throw new Error("a page of impossible size");
			const body = await readAt(this.#handle, at, stored);
			at += stored;
			if (kind === 2) {
				const values = numberIn(structIn(header, 7), 1) ?? 0;
				dictionary = decodeValues(decompress(codec, body, size), values, 0, column, void 0);
			} else if (kind === 0 || kind === 3) {
				const page = kind === 0 ? this.#pageV1(header, body, codec, size) : this.#pageV2(header, body, codec, size);
				if (page.count < 0 || page.count > Math.min(wanted - count, MAX_PAGE_VALUES)) throw new Error("more values than announced");
				count += page.count;
				yield present(page, column, dictionary);
			}
		}
	}
	async #pageHeader(at, end) {
		for (const [i, most] of HEADER_BYTES$2.entries()) {
			const reader = new ThriftReader(await readAt(this.#handle, at, Math.max(0, Math.min(most, end - at))));
			try {
				return {
					header: reader.struct(),
					length: reader.position
				};
			} catch (error) {
				if (i === HEADER_BYTES$2.length - 1 || most >= end - at) throw error;
			}
		}
		throw new Error("no page header");
	}
	#pageV1(header, body, codec, size) {
		const facts = structIn(header, 5);
		const whole = decompress(codec, body, size);
		return {
			count: numberIn(facts, 1) ?? -1,
			encoding: numberIn(facts, 2) ?? -1,
			levels: void 0,
			bytes: whole
		};
	}
	#pageV2(header, body, codec, size) {
		const facts = structIn(header, 8);
		const [levels, repeats] = [numberIn(facts, 5) ?? 0, numberIn(facts, 6) ?? 0];
		if (levels < 0 || repeats !== 0 || levels > body.length) throw new Error("levels outside of the page");
		const values = body.subarray(levels);
		const isCompressed = facts?.get(7) !== false;
		return {
			count: numberIn(facts, 1) ?? -1,
			encoding: numberIn(facts, 4) ?? -1,
			levels: body.subarray(0, levels),
			bytes: isCompressed && values.length > 0 ? decompress(codec, values, size - levels) : values
		};
	}
};
function present({ count, encoding, levels, bytes }, column, dictionary) {
	if (column.optionalLevels === 0) return decodeValues(bytes, count, encoding, column, dictionary);
	let [runs, values] = [levels, bytes];
	if (!runs) {
		const length = bytes.length >= 4 ? bytes.readUInt32LE(0) : -1;
		if (length < 0 || 4 + length > bytes.length) throw new Error("levels outside of the page");
		[runs, values] = [bytes.subarray(4, 4 + length), bytes.subarray(4 + length)];
	}
	const width = Math.ceil(Math.log2(column.optionalLevels + 1));
	const presence = decodeRuns(runs, width, count);
	const presentCount = presence.reduce((sum, level) => sum + (level === column.optionalLevels ? 1 : 0), 0);
	const decoded = decodeValues(values, presentCount, encoding, column, dictionary);
	let next = 0;
	return Array.from(presence, (level) => level === column.optionalLevels ? decoded[next++] : null);
}
function columnsOf(elements) {
	if (elements.length > MAX_COLUMNS$1) throw new Error(`${elements.length} columns`);
	const columns = new Map();
	let at = 0;
	const walk = (path, optionalLevels, isRepeated) => {
		const element = elements[at++];
		if (!element || path.length > 40) throw new Error("a list of columns that breaks off");
		const isRoot = at === 1;
		const repetition = isRoot ? 0 : numberIn(element, 3) ?? 0;
		const name = [...path, ...isRoot ? [] : [textIn(element, 4) ?? ""]];
		const levels = optionalLevels + (repetition === 0 ? 0 : 1);
		const repeated = isRepeated || repetition === 2;
		const children = numberIn(element, 5) ?? 0;
		if (children > 0) {
			for (let i = 0; i < children; i++) walk(name, levels, repeated);
			return;
		}
		columns.set(name.join("."), {
			path: name.join("."),
			type: numberIn(element, 1) ?? -1,
			length: numberIn(element, 2) ?? 0,
			isText: numberIn(element, 6) === 0 || structIn(element, 10)?.has(1) === true,
			optionalLevels: levels,
			isRepeated: repeated
		});
	};
	if (elements.length > 0) walk([], 0, false);
	return columns;
}
async function readAt(handle, position, length) {
	const buffer = Buffer.allocUnsafe(length);
	for (let done = 0; done < length;) {
		const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
		if (bytesRead === 0) throw new Error("a file that breaks off");
		done += bytesRead;
	}
	return buffer;
}
function parquetError(path, cause, where) {
	if (cause instanceof DataError) return cause;
	return new DataError(`${oneLine(path)}: ${where ? `${where}: ` : ""}${reasonOf$1(cause)}`, {
		hint: "Is the file whole? Data sets that are written otherwise: save the images as files, with load_dataset in Python.",
		details: { path },
		cause
	});
}
// src/data/parquet/export-images.ts
const MAX_RATIO = 200;
const SMALL = 64 << 20;
async function exportImages(sources, dir, options) {
	const splits = splitsOf(sources);
	await mkdir(dir, { recursive: true });
	for (const [shard, source] of sources.entries()) {
		const file = await ParquetFile.open(source.path);
		try {
			const columns = findImageColumns(file, options);
			const folder = join(dir, splits[shard]);
			await mkdir(folder, { recursive: true });
			await requireSpace(join(folder, "image"), file.bytesOf(columns.bytes));
			const table = await open(join(folder, "metadata.jsonl"), "a");
			try {
				await exportFile(file, columns, {
					folder,
					shard,
					table,
					key: source.key,
					signal: options.signal
				});
			} finally {
				await table.close();
			}
		} finally {
			await file.close();
		}
	}
}
async function exportFile(file, columns, target) {
	const values = (column) => file.values(column)[Symbol.asyncIterator]();
	const [images, labels, paths] = [
		values(columns.bytes),
		values(columns.label),
		columns.path && values(columns.path)
	];
	const most = Math.max(SMALL, MAX_RATIO * file.size);
	let written = 0;
	for (let row = 0;; row++) {
		target.signal?.throwIfAborted();
		const [image, label, path] = [
			await images.next(),
			await labels.next(),
			await paths?.next()
		];
		if (image.done) return;
		const fault = (why, hint) => new DataError(`${oneLine(target.key)}: row ${row + 1}: ${why}`, {
			hint,
			details: {
				path: file.path,
				row
			}
		});
		const bytes = image.value;
		if (bytes === null) {
			const named = Buffer.isBuffer(path?.value) ? path.value.toString("utf8").slice(0, 200) : void 0;
			throw fault(named === void 0 ? "no image" : `the image ${JSON.stringify(named)} is not in the file, its path alone is`, "Save the data set with its images: load_dataset in Python embeds them.");
		}
		written += bytes.length;
		if (written > most) throw fault(`more than ${most} bytes of images`, "Look at the file before you trust it.");
		const name = `${pad$1(target.shard, 5)}-${pad$1(row, 8)}${endingOf$1(bytes)}`;
		await writeFile(join(target.folder, name), bytes, { flag: "wx" });
		const line = {
			file_name: name,
			label: classOf(label.value ?? null, columns, fault)
		};
		await target.table.write(`${JSON.stringify(line)}\n`);
	}
}
function classOf(value, { classNames, label }, fault) {
	if (value === null) return null;
	if (Buffer.isBuffer(value)) return value.toString("utf8");
	if (!classNames) return String(value);
	const number = Number(value);
	if (number === -1) return null;
	const name = classNames[number];
	if (name !== void 0) return name;
	throw fault(`class ${number} of ${classNames.length}`, `The names of "${label.path}" are noted in the file.`);
}
const pad$1 = (number, width) => String(number).padStart(width, "0");
function endingOf$1(bytes) {
	const format = imageFormatOf(bytes.subarray(0, 512));
	return format === void 0 || format === "jpeg" ? ".jpg" : `.${format}`;
}
function splitsOf(sources) {
	const found = sources.map(({ key }) => {
		const folder = dirname(key);
		const own = splitInName(basename(key));
		const above = folder === "." ? void 0 : splitInName(`${basename(folder)}.`);
		return {
			split: own ?? above,
			config: own === void 0 && above !== void 0 ? dirname(folder) : folder
		};
	});
	const configs = [...new Set(found.map(({ config }) => config))];
	if (configs.length > 1) throw new DataError(`Parquet files in several folders: ${configs.map((one) => JSON.stringify(one)).join(", ")}`, {
		hint: "They may be several forms of one data set. Name the folder that is meant: `dataDir`.",
		details: { folders: configs }
	});
	const named = found.filter(({ split }) => split !== void 0).length;
	if (named > 0 && named < found.length) {
		const other = sources.filter((_, i) => found[i].split === void 0).map(({ key }) => key);
		throw new DataError(`no split in the names of ${other.slice(0, 5).map(oneLine).join(", ")}`, {
			hint: "Leave them out: `ignorePatterns`.",
			details: { files: other }
		});
	}
	return found.map(({ split }) => split ?? "train");
}
// src/data/hub-image-files.ts
const IMAGE_ENDINGS = "jpg jpeg jfif png webp gif bmp tif tiff heic avif".split(" ");
const OTHER_ENDINGS = "csv tsv jsonl ndjson json txt zip parquet".split(" ");
async function downloadImageFiles(repoId, download, options) {
	const dataDir = folderIn(options.dataDir);
	const within = dataDir === "" ? "" : `${escapePattern(dataDir)}/`;
	const { folder, commit } = await fetchAfterLook(repoId, download, {
		allowPatterns: [...IMAGE_ENDINGS, ...OTHER_ENDINGS].map((ending) => `${within}*.${anyCase(ending)}`),
		ignorePatterns: options.ignorePatterns,
		within: dataDir === "" ? void 0 : dataDir,
		refuse: (paths) => refuse(paths, dataDir)
	}, options);
	const root = join(folder, ...dataDir.split("/"));
	const paths = await filesBelow(root);
	const unpacking = new Unpacking(join(hubCacheFolder(download.cacheDir), cacheName(`datasets/${repoId}`), "unpacked"), `${repoId} ${commit}`, download, options);
	const tables = paths.filter(isImageTable);
	if (tables.length > 0) {
		const others = paths.filter((path) => IMAGE_ENDING.test(path) || isZip(path)).length;
		const warn = download.onWarning ?? ((line) => process.emitWarning(line, "HubWarning"));
		if (others > 0) warn(`${repoId}: its Parquet files are read, and ${others} images and archives beside them are not`);
		return unpacking.exportTables(root, tables);
	}
	return paths.some(isZip) ? unpacking.run(root, paths) : root;
}
const isZip = (path) => /\.zip$/i.test(path);
const isImageTable = (path) => /\.parquet$/i.test(path) && !/(^|\/)metadata\.parquet$/i.test(path);
async function fetchAfterLook(repoId, download, selection, columns) {
	let first;
	let refusal;
	let revision;
	const refuseOnce = (paths, commit) => {
		revision = commit;
		refusal = selection.refuse?.(paths, commit);
		first = selectPaths(paths, selection.allowPatterns, selection.ignorePatterns).filter(isImageTable).sort()[0];
		return refusal ?? (first === void 0 ? void 0 : "one of its Parquet files is looked at first");
	};
	try {
		return await datasetSnapshot(repoId, download, {
			...selection,
			refuse: refuseOnce
		});
	} catch (error) {
		if (first === void 0 || revision === void 0 || refusal !== void 0) throw error;
		const { folder } = await datasetSnapshot(repoId, {
			...download,
			revision
		}, {
			allowPatterns: escapePattern(first),
			within: selection.within
		});
		const file = await ParquetFile.open(join(folder, ...first.split("/")));
		try {
			findImageColumns(file, columns);
		} finally {
			await file.close();
		}
		return datasetSnapshot(repoId, download, selection);
	}
}
function folderIn(dataDir) {
	const parts = (dataDir ?? "").replaceAll("\\", "/").split("/").filter((part) => part !== "" && part !== ".");
	if (!parts.includes("..") && !/^[A-Za-z]:$/.test(parts[0] ?? "")) return parts.join("/");
	throw new ConfigError("HubImageFolder.download: `dataDir` leads out of the repository", { hint: "Give a folder of the repository, as in `dataDir: \"data/images\"`." });
}
const anyCase = (ending) => [...ending].map((letter) => `[${letter}${letter.toUpperCase()}]`).join("");
const escapePattern = (path) => path.replace(/[[*?]/g, "[$&]");
const FORMS$1 = [
	[
		/\.arrow$/i,
		"Arrow files",
		"load_dataset in Python reads them, and writes images"
	],
	[
		/\.tar$/i,
		"tar archives (WebDataset)",
		"unpack them"
	],
	[
		/\.(tgz|tar\.\w+|7z|rar|gz|bz2|xz|zst)$/i,
		"archives other than zip",
		"unpack them"
	],
	[
		/\.(tfrecords?|npz|npy|h5|hdf5|pkl|pt|mat)(-\d.*)?$/i,
		"arrays",
		"save them as images"
	],
	[
		/\.(dcm|dicom|nii)$/i,
		"medical volumes (DICOM, NIfTI)",
		"convert them to PNG with a chosen window"
	]
];
function refuse(paths, dataDir) {
	const inside = dataDir === "" ? paths : paths.filter((path) => path.startsWith(`${dataDir}/`));
	if (inside.length === 0) {
		const folders = [...new Set(paths.flatMap((path) => path.includes("/") ? [path.split("/")[0]] : []))];
		return `it has no folder "${dataDir}"${folders.length > 0 ? `, but ${list$1(folders)}` : ""}`;
	}
	const count = (pattern) => inside.filter((path) => pattern.test(path)).length;
	const images = count(IMAGE_ENDING);
	if (inside.some(isImageTable)) return void 0;
	if (count(/\.arrow$/i) === 0 && (images > 0 || inside.some(isZip))) return void 0;
	const where = dataDir === "" ? "it" : `its folder "${dataDir}"`;
	for (const [ending, what, advice] of FORMS$1) {
		const found = count(ending);
		if (found === 0) continue;
		return `${where} has its data in ${found} ${what}, which are not read here; ${advice}, then ImageFolder.load(folder)` + (images > 0 ? `. The ${images} image files beside them are read with \`dataDir\`` : "");
	}
	if (inside.some((path) => path.endsWith(".py"))) return `${where} has no images, but a loading script in Python, which is never run`;
	return `${where} has no images, but ${list$1(inside)}`;
}
function list$1(names) {
	return shortList(names, 5, (name) => JSON.stringify(name.slice(0, 100)));
}
async function filesBelow(dir, prefix = "") {
	const entries = await readdir(join(dir, prefix), { withFileTypes: true });
	const found = [];
	for (const entry of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
		if (entry.name.startsWith(".")) continue;
		const path = prefix ? `${prefix}/${entry.name}` : entry.name;
		if (entry.isDirectory()) found.push(...await filesBelow(dir, path));
		else found.push(path);
	}
	return found;
}
var Unpacking = class {
	#cache;
	#name;
	#download;
	#options;
	constructor(cache, name, download, options) {
		this.#cache = cache;
		this.#name = name;
		this.#download = download;
		this.#options = options;
	}
	async exportTables(root, paths) {
		const { imageColumn, labelColumn } = this.#options;
		const sources = [];
		const key = createHash("sha256").update(JSON.stringify([
			1,
			imageColumn,
			labelColumn
		]));
		for (const path of paths) {
			const real = await realpath(join(root, path));
			key.update(`${path}\0${this.#digest(path, real)}\0`);
			sources.push({
				path: real,
				key: path
			});
		}
		const { signal } = this.#download;
		return this.#make(`images-${key.digest("hex").slice(0, 40)}`, (dir) => exportImages(sources, dir, {
			imageColumn,
			labelColumn,
			signal
		}));
	}
	async run(root, paths) {
		const links = new Map();
		const taken = new Set(paths.flatMap((path) => path.split("/").map((_, i, parts) => parts.slice(0, i).join("/"))));
		for (const path of paths) {
			const real = await realpath(join(root, path));
			if (!isZip(path)) {
				links.set(path, {
					target: real,
					isFolder: false
				});
				continue;
			}
			const place = path.replace(/\.zip$/i, "");
			links.set(taken.has(place) ? path : place, {
				target: await this.#unpack(path, real),
				isFolder: true
			});
		}
		const key = createHash("sha256").update(this.#name).update("\0");
		for (const [path, { target }] of links) key.update(`${path}\0${target}\0`);
		return this.#make(`all-${key.digest("hex").slice(0, 40)}`, async (dir) => {
			for (const [path, { target, isFolder }] of links) await link$1(target, join(dir, ...path.split("/")), isFolder);
		});
	}
	#digest(path, real) {
		if (/^[0-9a-f]{40,64}$/.test(basename(real))) return basename(real);
		return createHash("sha256").update(`${this.#name}\0${path}`).digest("hex");
	}
	async #unpack(path, real) {
		return this.#make(this.#digest(path, real), async (dir) => {
			try {
				const { signal } = this.#download;
				await extractZip(real, dir, {
					signal,
					allowCaseConflicts: this.#options.allowCaseConflicts
				});
			} catch (error) {
				if (!(error instanceof ArchiveError)) throw error;
				throw error.with({
					summary: `${this.#name.split(" ")[0]}: ${oneLine(path)}: ${error.reason}`,
					hint: `${error.hint} The archive is kept at ${real}: unpack it by other means and read the folder by ImageFolder.load.`,
					details: {
						...error.details,
						archive: real
					}
				});
			}
		});
	}
	async #make(name, fill) {
		const folder = join(this.#cache, name);
		const exists = async () => (await stat(folder).catch(() => void 0))?.isDirectory() ?? false;
		if (await exists()) return folder;
		const { signal, onWarning } = this.#download;
		const onWait = () => onWarning?.(`${this.#name.split(" ")[0]}: another process unpacks it; waiting`);
		const work = async () => {
			if (await exists()) return;
			const beginning = `.${name}.unpacking.`;
			for (const left of await readdir(this.#cache)) if (left.startsWith(beginning)) await rm(join(this.#cache, left), {
				recursive: true,
				force: true
			});
			const temporary = join(this.#cache, `${beginning}${randomUUID()}`);
			try {
				await fill(temporary);
				await rename(temporary, folder);
			} catch (error) {
				await rm(temporary, {
					recursive: true,
					force: true
				});
				throw writeError(error, folder);
			}
		};
		await withLock(join(this.#cache, `.${name}.lock`), work, {
			signal,
			onWait
		});
		return folder;
	}
};
async function link$1(target, path, isFolder) {
	await mkdir(dirname(path), { recursive: true });
	try {
		await symlink(target, path, isFolder ? "junction" : "file");
	} catch (error) {
		if (isFolder) throw error;
		await copyFile(target, path);
	}
}
// src/data/csv.ts
const TABLE_ENDING = /\.(csv|tsv|jsonl|ndjson|json|txt)$/i;
const MAX_TABLE_BYTES = 268435456;
const HEAD_BYTES = 262144;
const MAX_COLUMNS = 2e4;
async function readTable(path, options = {}) {
	let bytes;
	try {
		bytes = options.headOnly ? await readHead(path) : await readRegularFile(path, MAX_TABLE_BYTES);
	} catch (cause) {
		const why = cause.code === "ENOENT" ? "no such file" : cause.message;
		throw new DataError(`${oneLine(path)}: cannot read the table: ${why}`, {
			details: { path },
			cause
		});
	}
	if (bytes.subarray(0, 4).toString("latin1") === "PAR1") throw new DataError(`${oneLine(path)}: a Parquet file, which is not read here`, {
		hint: "Write it as CSV or JSON Lines, e.g. `df.to_json('metadata.jsonl', orient='records', lines=True)`.",
		details: { path }
	});
	if (["504b0304", "d0cf11e0"].includes(bytes.subarray(0, 4).toString("hex"))) throw new DataError(`${oneLine(path)}: an Excel file or an archive, which is not read here`, {
		hint: "Save the table as CSV in UTF-8, e.g. by `df.to_csv(…, index=False)`.",
		details: { path }
	});
	const text = decodeText(bytes, path);
	if (/\.(jsonl|ndjson)$/i.test(path)) return jsonLines(text, path);
	if (/\.json$/i.test(path)) return jsonTable(bytes, text, path);
	return separated(text, path, options);
}
async function readHead(path) {
	const { file, size } = await openRegularFile(path);
	try {
		const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, HEAD_BYTES)), 0, void 0, 0);
		const bytes = buffer.subarray(0, bytesRead);
		return bytesRead === size ? bytes : bytes.subarray(0, bytes.lastIndexOf(10) + 1);
	} finally {
		await file.close();
	}
}
function decodeText(bytes, path) {
	const encoding = bytes[0] === 255 && bytes[1] === 254 ? "utf-16le" : "utf-8";
	try {
		return new TextDecoder(encoding, { fatal: true }).decode(bytes);
	} catch (cause) {
		throw new DataError(`${oneLine(path)}: the table is not UTF-8 text`, {
			hint: "Save it as UTF-8, e.g. `iconv -f latin1 -t utf-8`.",
			details: { path },
			cause
		});
	}
}
function separated(text, path, options) {
	const [said, own] = /^"?sep=([^"\r\n])"?\r?\n/i.exec(text) ?? [""];
	const fields = text.slice(said.length);
	const separator = options.separator ?? own ?? separatorOf(fields, path);
	const records = parseRecords(fields, separator, path, said === "" ? 1 : 2);
	const first = ((options.header ?? true) && dropCount(records) ? withIndexColumn(records) : records)[0]?.cells;
	if (!first) throw new DataError(`${oneLine(path)}: the table is empty`, { details: { path } });
	if (first.length > MAX_COLUMNS) throw rowError(path, 1, `more than ${MAX_COLUMNS} columns`);
	const hasHeader = options.header ?? true;
	const columns = hasHeader ? columnNames(first, path) : first.map((_, i) => String(i));
	const isWhole = ({ cells }) => cells.length >= Math.min(columns.length, 2) && cells.slice(columns.length).every((cell) => cell === "");
	const body = records.slice(hasHeader ? 1 : 0);
	const broken = body.filter((record) => !isWhole(record));
	if (broken.length > 0 && !(options.headOnly && broken.length < body.length / 2)) {
		const [{ cells, line }] = broken;
		const count = broken.length > 1 ? `, in this and ${broken.length - 1} other rows of ${body.length}` : "";
		throw rowError(path, line, `${cells.length} fields where ${columns.length} were expected${count}`, broken.length < body.length / 2 ? `A ${separator === "," ? "comma" : "separator"} inside a field must stand in quotes ("a${separator} b"): mend or remove such rows.` : void 0);
	}
	return {
		path,
		columns,
		rows: body.filter(isWhole).map(({ cells }) => Object.fromEntries(columns.map((name, i) => [name, (cells[i] ?? "").trim()])))
	};
}
function dropCount(records) {
	const [first, names] = records;
	if (first?.cells.length !== 1 || Number(first.cells[0]) !== records.length - 2 || names.cells.length < 2) return false;
	records.shift();
	return true;
}
function withIndexColumn(records) {
	const [first, ...rows] = records;
	return rows.length > 0 && rows.every(({ cells }) => cells.length === first.cells.length + 1) ? [{
		...first,
		cells: ["", ...first.cells]
	}, ...rows] : records;
}
function columnNames(cells, path) {
	const names = cells.map((cell, i) => cell.trim() || String(i));
	const twice = names.find((name, i) => names.indexOf(name) !== i);
	if (twice === void 0) return names;
	throw new DataError(`${oneLine(path)}: two columns are called ${JSON.stringify(twice)}`, { details: { path } });
}
function separatorOf(text, path) {
	if (/\.tsv$/i.test(path)) return "	";
	const end = text.search(/[\r\n]/);
	const line = (end < 0 ? text : text.slice(0, end)).slice(0, 1e5).replaceAll(/"[^"]*"/g, "");
	const count = (separator) => line.split(separator).length;
	const best = [
		",",
		";",
		"	",
		"|"
	].reduce((a, b) => count(b) > count(a) ? b : a);
	return count(best) === 1 && /\.txt$/i.test(path) && isListOfTwo(text) ? " " : best;
}
function isListOfTwo(text) {
	const lines = (text.length > 1e5 ? text.slice(0, text.lastIndexOf("\n", 1e5)) : text).split(/\r?\n/, 100).filter((line) => line.trim() !== "");
	const isCounted = lines.length > 2 && /^\s*\d+\s*$/.test(lines[0]);
	const counts = lines.slice(isCounted ? 2 : 0).map((line) => line.trim().split(/\s+/).length);
	return counts.length > 0 && counts[0] >= 2 && counts.every((count) => count === counts[0]);
}
function parseRecords(text, separator, path, firstLine = 1) {
	const records = [];
	let line = firstLine;
	let i = 0;
	while (i < text.length) {
		const start = line;
		const cells = [];
		for (;;) {
			let cell;
			if (text[i] === "\"") {
				const from = i + 1;
				let end = text.indexOf("\"", from);
				while (end >= 0 && text[end + 1] === "\"") end = text.indexOf("\"", end + 2);
				if (end < 0) throw rowError(path, start, "a quote that is never closed");
				const quoted = text.slice(from, end);
				line += quoted.split("\n").length - 1;
				cell = quoted.replaceAll("\"\"", "\"");
				i = end + 1;
				while (i < text.length && !text.startsWith(separator, i) && text[i] !== "\n" && text[i] !== "\r") cell += text[i++];
			} else {
				const from = i;
				while (i < text.length && !text.startsWith(separator, i) && text[i] !== "\n" && text[i] !== "\r") i++;
				cell = text.slice(from, i);
			}
			if (!(separator === " " && cell === "")) cells.push(cell);
			if (i < text.length && text.startsWith(separator, i)) i += separator.length;
			else break;
		}
		if (text[i] === "\r") i++;
		if (text[i] === "\n" || text[i - 1] === "\r") {
			if (text[i] === "\n") i++;
			line++;
		}
		if (cells.some((cell) => cell.trim() !== "")) records.push({
			line: start,
			cells
		});
	}
	return records;
}
function jsonLines(text, path) {
	const objects = [];
	for (const [i, line] of text.split(/\r?\n/).entries()) {
		if (line.trim() === "") continue;
		try {
			objects.push(parseJson(Buffer.from(line)));
		} catch (cause) {
			throw rowError(path, i + 1, `no JSON: ${cause.message}`);
		}
	}
	return tableOf(objects, path);
}
function jsonTable(bytes, text, path) {
	let value;
	try {
		value = parseJson(bytes);
	} catch (cause) {
		if (/^\s*\{[^\n]*\}\r?\n\s*\{/.test(text)) return jsonLines(text, path);
		throw new DataError(`${oneLine(path)}: no JSON: ${cause.message}`, {
			details: { path },
			cause
		});
	}
	if (Array.isArray(value)) return tableOf(value, path);
	const entries = Object.entries(value ?? {});
	if (entries.length > 0 && entries.every(([, label]) => typeof label === "string" || typeof label === "number")) return tableOf(entries.map(([file, label]) => ({
		file,
		label
	})), path);
	throw new DataError(`${oneLine(path)}: expected a list of objects, one for each image`, {
		hint: "As in `[{\"file_name\": \"1.jpg\", \"label\": \"cat\"}, …]`, or `{\"1.jpg\": \"cat\", …}`.",
		details: { path }
	});
}
function tableOf(objects, path) {
	const columns = new Set();
	const rows = objects.map((object, i) => {
		if (typeof object !== "object" || object === null || Array.isArray(object)) throw rowError(path, i + 1, "expected an object with a file and a label");
		const row = {};
		for (const [key, value] of Object.entries(object)) {
			columns.add(key);
			row[key] = typeof value === "string" ? value.trim() : value === null ? "" : JSON.stringify(value);
		}
		return row;
	});
	if (rows.length === 0) throw new DataError(`${oneLine(path)}: the table is empty`, { details: { path } });
	return {
		path,
		columns: [...columns],
		rows: rows.map((row) => ({
			...blank(columns),
			...row
		}))
	};
}
function blank(columns) {
	return Object.fromEntries([...columns].map((name) => [name, ""]));
}
function rowError(path, line, why, hint = "Give `separator` if the fields are not separated by comma, semicolon, tab or bar.") {
	return new DataError(`${oneLine(path)}, line ${line}: ${why}`, {
		hint,
		details: {
			path,
			line
		}
	});
}
// src/data/folder-classes.ts
function mergeEqualNames(placed, warnings) {
	const groups = new Map();
	for (const { className } of placed) {
		const key = plainName$1(className);
		groups.set(key, (groups.get(key) ?? new Set()).add(className));
	}
	const renamed = new Map();
	for (const names of groups.values()) {
		if (names.size < 2) continue;
		const splitsOf = (name) => new Set(placed.filter(({ className }) => seenName(className) === seenName(name)).map(({ split }) => split));
		const shown = [...names].map((name) => JSON.stringify(name)).join(" and ");
		const spellings = [...new Set([...names].map(seenName))];
		const together = spellings.some((one, i) => spellings.slice(i + 1).some((other) => [...splitsOf(one)].some((split) => splitsOf(other).has(split))));
		if (spellings.length > 1 && together) {
			const [first] = names;
			warnings.push(`the classes ${shown} differ in letter case or in forms of letters alone and are kept apart; as one: \`classes: { ${[...names].map((name) => `${JSON.stringify(name)}: ${JSON.stringify(first)}`).join(", ")}, … }\``);
		}
		const trained = placed.find(({ className, split }) => split === "train" && names.has(className))?.className;
		for (const name of names) {
			const target = spellings.length > 1 && together ? seenName(name) : seenName(trained ?? [...names][0]);
			if (target !== name) renamed.set(name, target);
		}
		if (renamed.size > 0 && !(spellings.length > 1 && together)) warnings.push(`the class names ${shown} differ in letter case, Unicode form or outer spaces alone and are taken as one class`);
	}
	if (renamed.size === 0) return [...placed];
	return placed.map((one) => ({
		...one,
		className: renamed.get(one.className) ?? one.className
	}));
}
function chooseClasses(placed, order, classes, root) {
	const found = new Set(placed.map(({ className }) => className));
	if (classes === void 0) {
		const sorted = [...found].sort();
		return {
			placed: [...placed],
			names: order ? order.filter((name) => found.has(name)) : sorted
		};
	}
	const isList = Array.isArray(classes);
	const named = new Map(isList ? classes.map((name) => [name, name]) : Object.entries(classes));
	const unknown = [...named.keys()].filter((name) => !found.has(name));
	const unnamed = [...found].filter((name) => !named.has(name));
	const near = unknown.map((name) => nearestName(name, unnamed)).find((name) => name !== void 0);
	const isForeign = isList && unknown.length < named.size && near === void 0;
	if (unknown.length > 0 && !isForeign) throw new DataError(`${oneLine(root)}: \`classes\`: there is no class ${listNames(unknown)}`, {
		hint: near ? `Did you mean ${JSON.stringify(near)}? Classes: ${listNames([...found], 20)}.` : `Classes: ${listNames([...found], 20)}.`,
		details: {
			path: root,
			unknown,
			found: [...found]
		}
	});
	return {
		placed: placed.flatMap((one) => {
			const className = named.get(one.className);
			return className === void 0 ? [] : [{
				...one,
				className
			}];
		}),
		names: [...new Set(named.values())]
	};
}
function warnAboutClasses(placed, names, warnings) {
	const counts = new Map(names.map((name) => [name, {
		train: 0,
		test: 0,
		validation: 0
	}]));
	for (const { className, split } of placed) counts.get(className)[split]++;
	if (names.length === 1) warnings.push(`there is one class only, \`${oneLine(names[0])}\`: nothing is told apart. If it is none: \`classOf\`, or \`ImageFolder.fromTable\``);
	const isTrained = [...counts.values()].some(({ train }) => train > 0);
	const unseen = [...counts].filter(([, { train, test, validation }]) => isTrained && train === 0 && test + validation > 0);
	if (unseen.length > 0) {
		const shown = unseen.slice(0, 8).map(([name, { test, validation }]) => {
			const where = [test > 0 ? `${test} in test` : "", validation > 0 ? `${validation} in validation` : ""];
			return `\`${oneLine(name)}\` (${where.filter(Boolean).join(", ")})`;
		});
		warnings.push(`${unseen.length === 1 ? "class" : `${unseen.length} classes`} without a training image: ${shown.join(", ")}${unseen.length > 8 ? ", …" : ""}`);
	}
	const empty = [...counts].filter(([, { train, test, validation }]) => train + test + validation === 0);
	if (empty.length > 0) warnings.push(`classes without an image: ${listNames(empty.map(([name]) => name), 8)}`);
}
const COMPANION$1 = /\.(txt|md|csv|tsv|jsonl?|xml|ya?ml|html?|pdf|ini|db|log|py|ipynb|xlsx?|docx?|rtf|cfg|names|license)$|(?:^|[/\\])(?:thumbs\.db|desktop\.ini|_ds_store)$/i;
function warnAboutFiles(tree, placement, tables, warnings) {
	const pathOf = (folder) => oneLine(folder.path.slice(tree.path.length + 1).replaceAll("\\", "/")) || folder.name;
	for (const folder of placement.unlabelled) {
		const own = othersBelow(folder).filter(({ path }) => TABLE_ENDING.test(path));
		const table = tables.find(({ covers }) => covers(folder))?.path ?? own[0]?.path;
		const source = table === void 0 ? "" : `; classes may be in ${oneLine(table.slice(tree.path.length + 1))}: \`ImageFolder.fromTable\``;
		warnings.push(`\`${pathOf(folder)}\`: ${folder.total} images without class folders, left out${source}`);
	}
	const left = new Map();
	const isSeveral = placement.classFolders.length > 1;
	for (const folder of placement.classFolders) {
		const others = othersBelow(folder);
		if (folder.total === 0 && isSeveral) {
			const endings = [...new Set(others.map(endingOf))];
			warnings.push(others.length === 0 ? `class folder \`${pathOf(folder)}\` is empty` : `class \`${pathOf(folder)}\` has ${others.length} files and none that can be read (${endings.slice(0, 4).join(", ")})`);
			continue;
		}
		for (const file of others) {
			if (COMPANION$1.test(file.path)) continue;
			const ending = endingOf(file);
			const same = left.get(ending);
			if (same) same.push(file);
			else left.set(ending, [file]);
		}
	}
	const parts = [...left].map(([ending, files]) => `${files.length} ${ending} (${oneLine(files[0].key)}${files.length > 1 ? ", …" : ""})`);
	if (parts.length > 0) warnings.push(`files in class folders that are no readable images, left out: ${parts.slice(0, 6).join(", ")}`);
}
function endingOf({ path, isDicom }) {
	const ending = isDicom ? ".dcm" : /\.[^./\\]{1,12}$/.exec(path)?.[0].toLowerCase();
	return ending === void 0 ? "without an ending" : ending === ".dcm" ? ".dcm, DICOM" : oneLine(ending);
}
// src/data/folder-doubts.ts
const LAYOUTS = "Layouts: <class>/<split>/*, <split>/<class>/*, or <class>/*, below any number of wrapping folders.";
function layoutError(folder, why, hints = []) {
	return new DataError(`${oneLine(folder.path)}: ${why}`, {
		hint: [...hints.filter((one) => one !== ""), LAYOUTS].join(" "),
		details: { path: folder.path }
	});
}
const COMPARED_FILES = 64;
function dropCopies(top, unwrap, warnings) {
	const folders = filled(top);
	const drop = (folder, other) => {
		warnings.push(`\`${oneLine(folder.name)}\`: a copy of ${other}, left out with its ${folder.total} images`);
		top.folders.splice(top.folders.indexOf(folder), 1);
		top.total -= folder.total;
		return dropCopies(unwrap(top), unwrap, warnings);
	};
	for (const folder of folders) {
		const others = folders.filter((one) => one !== folder);
		if (top.images.length === 0 && 2 * folder.total === top.total) {
			const rest = new Map(others.flatMap((one) => [...below(one, one.name)]));
			if (areSame(namesBelow(unwrap(folder)), rest)) return drop(folder, "what lies beside it");
		}
		const inner = unwrap(folder);
		if (filled(inner).length === 0) continue;
		const isNamed = (one, other) => namesOnTheWay(one).includes(plainName$1(other.name));
		const twin = others.find((one) => one.total === folder.total && (isNamed(one, folder) || isNamed(folder, one)));
		const isLater = twin && (depthOf(folder) - depthOf(twin) || (folder.name < twin.name ? 1 : -1)) > 0;
		if (twin && isLater && areSame(namesBelow(inner), namesBelow(unwrap(twin)))) return drop(folder, `\`${oneLine(twin.name)}\``);
	}
	return top;
}
function depthOf(folder) {
	return Math.max(0, ...filled(folder).map((inner) => 1 + depthOf(inner)));
}
function namesOnTheWay(folder) {
	const [only, ...others] = filled(folder);
	const inner = only && others.length === 0 && folder.images.length === 0 ? namesOnTheWay(only) : [];
	return [plainName$1(folder.name), ...inner];
}
function* below(folder, prefix) {
	for (const file of folder.images) yield [`${prefix}/${file.key.split("/").at(-1)}`, file];
	for (const inner of folder.folders) yield* below(inner, `${prefix}/${inner.name}`);
}
function namesBelow(folder) {
	return new Map([...below(folder, "")].map(([name, file]) => [name.slice(1), file]));
}
function areSame(one, other) {
	if (one.size !== other.size) return false;
	for (const name of one.keys()) if (!other.has(name)) return false;
	const step = Math.ceil(one.size / COMPARED_FILES);
	return [...one].every(([name, { path }], i) => i % step > 0 || sizeOf(path) === sizeOf(other.get(name).path));
}
function sizeOf(path) {
	return statSync(path, { throwIfNoEntry: false })?.size;
}
function checkClassFolders(parent, folders, unwrap, warnings) {
	const names = folders.map(({ name }) => name);
	if (arePartNames(names)) throw partsError(parent, names);
	const inner = folders.flatMap((folder) => foldersBelow(folder));
	const opposites = oppositesAmong(names) ? void 0 : oppositesAmong(inner.map(({ name }) => name));
	if (opposites) {
		const example = inner.find(({ name }) => name === opposites[0]);
		throw layoutError(parent, `are the classes ${listNames(names)}, or what folders below them say (${listNames(opposites)}, as in ${pathBelow(parent, example)})?`, ["Write `layout: 'class'` for the former, with the splits that there are, as in `layout: 'split/class'`;", `for the latter e.g. \`classOf: (path) => /${opposites.map(outcomeIn).join("|")}/.exec(path)?.[0]\`.`]);
	}
	refuseEqualChildren(parent, folders, unwrap);
	const deep = folders.flatMap(filled).flatMap(filled);
	const isDeep = folders.every((folder) => folder.images.length === 0 && filled(folder).every(({ images }) => images.length === 0));
	const kinds = folders.flatMap(filled).filter(({ name }) => !isContainer(name) && !isMaskFolder(name));
	const stems = new Set(kinds.map(({ name }) => plainName$1(name).replaceAll(/[^\p{L}]+|(?<!\p{L})\p{L}(?!\p{L})/gu, " ").trim()));
	if (folders.length < 6 && folders.every((folder) => folder.images.length === 0 && filled(folder).length > 1) && deep.length === 0 && kinds.length > folders.length && stems.size > 2) warnings.push(`the classes ${listNames(names)} hold folders (${listNames(kinds.map(({ name }) => name))}); if those are the classes: \`layout: '*/class'\``);
	if (folders.length > 0 && isDeep && deep.length > 0) warnings.push(`images lie two and more folders below the classes ${listNames(names)}, e.g. in ${pathBelow(parent, deep[0])}; if other folders are the classes, give \`layout\` or \`classOf\``);
}
function partsError(parent, names) {
	return layoutError(parent, `${listNames(names)} look like parts of an archive, not like classes`, ["If a table has the classes: `ImageFolder.fromTable(…)`; if class folders lie in them: `layout: '*/class'`; if they are classes: `layout: 'class'`."]);
}
function outcomeIn(name) {
	return /[\p{L}]+$/u.exec(name)?.[0] ?? name;
}
function refuseEqualChildren(parent, folders, unwrap) {
	const first = folders[0] && JSON.stringify(pathBelow(parent, folders[0]));
	const nested = folders.map((folder) => {
		const inner = unwrap(folder);
		const names = inner.images.length > 0 ? [] : filled(inner).map(({ name }) => plainName$1(name));
		return names.every((name) => isContainer(name) || isMaskFolder(name)) ? [] : names;
	}).filter((names) => names.length > 0);
	const union = new Set(nested.flat());
	if (nested.length < 2 || nested.length < folders.length * .7 || union.size < 2) return;
	if (nested.reduce((sum, names) => sum + names.length, 0) / (nested.length * union.size) < .7) return;
	if (splitsAmong([...union]).size === union.size) throw layoutError(parent, `the folders ${listNames(folders.map(({ name }) => name))} hold splits each (${listNames([...union])}), which may be other divisions of the same images`, [`Load one of them alone, e.g. ${first}, or write \`layout: '*/split/class'\` if they hold different images.`]);
	throw layoutError(parent, `the folders ${listNames(folders.map(({ name }) => name))} hold folders of equal names (${listNames([...union])}): which of them are the classes?`, [`Load one of the former alone, e.g. ${first}, or write \`layout: '*/class'\` for the names below, \`layout: 'class'\` for those above. Where the former are splits: \`splits: { ${JSON.stringify(folders[0].name)}: 'train', … }\`.`]);
}
function pathBelow(parent, folder) {
	return oneLine(relative(parent.path, folder.path).replaceAll("\\", "/"));
}
function foldersBelow(folder) {
	return filled(folder).flatMap((inner) => [inner, ...foldersBelow(inner)]);
}
function withoutMasks(folder, left) {
	const count = (name, images) => {
		const { folders, images: before } = left.get(name) ?? {
			folders: 0,
			images: 0
		};
		left.set(name, {
			folders: folders + 1,
			images: before + images
		});
	};
	const masks = new Set(maskFiles(folder.images));
	if (masks.size > 0) count("*_mask.*", masks.size);
	const inner = filled(folder);
	const aside = inner.filter(({ name }) => isMaskFolder(name));
	const isSorted = (folder.images.length > 0 || aside.length < inner.length) && inner.every(({ name }) => isContainer(name) || isMaskFolder(name));
	return [...folder.images.filter((file) => !masks.has(file)), ...inner.flatMap((one) => {
		if (!isSorted || !aside.includes(one)) return withoutMasks(one, left);
		count(one.name, one.total);
		return [];
	})];
}
function detectionEvidence(root) {
	const found = new Set();
	const walk = (folder) => {
		if (isMaskFolder(folder.name) && folder.images.length > 0) found.add(`masks in \`${oneLine(folder.name)}\``);
		for (const { key } of folder.others) {
			const name = key.split("/").at(-1).toLowerCase();
			const above = key.split("/").slice(0, -1).find(isMaskFolder);
			if (name.endsWith(".txt") && above !== void 0) found.add(`YOLO's \`${oneLine(above)}/*.txt\``);
			else if (name.endsWith(".xml")) found.add(`Pascal VOC's \`${oneLine(folder.name)}/*.xml\``);
			else if (/^(data|dataset)\.ya?ml$/.test(name)) found.add(`\`${oneLine(name)}\``);
			else if (/coco\.json$|^instances?_.*\.json$|^_?annotations.*\.(json|csv)$/.test(name)) found.add(`\`${oneLine(name)}\``);
		}
		for (const inner of folder.folders) walk(inner);
	};
	walk(root);
	return found.size > 0 ? [...found].slice(0, 4).join(", ") : void 0;
}
const PREFIX = /^(\p{L}.*?[^\d._ -])[._ -]*\(?\d+\)?$/u;
function prefixesOf(images) {
	const prefixes = new Map();
	for (const { key } of images) {
		const stem = key.split("/").at(-1).slice(0, 255).replace(/\.[^.]*$/, "");
		const prefix = PREFIX.exec(stem)?.[1];
		if (prefix !== void 0) prefixes.set(prefix, (prefixes.get(prefix) ?? 0) + 1);
	}
	return prefixes;
}
function namesHoldClasses(images) {
	const counts = [...prefixesOf(images).values()];
	const covered = counts.reduce((a, b) => a + b, 0);
	return counts.length >= 2 && covered >= .5 * images.length && counts.every((count) => count >= 2);
}
function fileNameHint(images) {
	const prefixes = [...prefixesOf(images)].sort((a, b) => b[1] - a[1]).map(([name]) => name);
	if (prefixes.length < 2 || prefixes.length > Math.max(4, images.length / 2)) return "If a table has the classes: `ImageFolder.fromTable(…)`; if a name tells them: `classOf: (path) => …`.";
	return `If the file name tells the class (${listNames(prefixes)}): \`classOf: (path) => /([^/]*[^/\\d._ -])[._ -]*\\d+\\.\\w+$/.exec(path)?.[1]\`.`;
}
function refuseLooseImages(folder) {
	const [loose] = folder.images;
	if (!loose) return;
	throw new DataError(`${oneLine(loose.path)}: an image outside of any class folder, one of ${folder.images.length} in ${oneLine(folder.path)}`, {
		hint: `Move it into its class, or leave it out: \`ignore: [${JSON.stringify(loose.key.split("/").at(-1))}]\`. ${LAYOUTS}`,
		details: { path: loose.path }
	});
}
function maskWarnings(left) {
	return [...left].map(([name, { folders, images }]) => `\`${oneLine(name)}\` in ${folders} class folders: ${images} images left out as masks; to learn from them, give \`classOf\``);
}
// src/data/folder-splits.ts
function isFlat(folder) {
	return filled(folder).length === 0;
}
function isContainerOrMask({ name }) {
	return isContainer(name) || isMaskFolder(name);
}
function wordCount(name) {
	return name.trim().split(/[^\p{L}\p{N}]+/u).length;
}
var SplitReading = class {
	#options;
	constructor(options) {
		this.#options = options;
	}
	splits(folders) {
		return splitsOf$1(folders, this.#options);
	}
	unwrap(folder) {
		const [only, ...others] = filled(folder);
		if (!only || others.length > 0 || folder.images.length > 0) return folder;
		return this.splits([only]).size > 0 && this.splits(only.folders).size === 0 ? folder : this.unwrap(only);
	}
	hasSplits(folder) {
		const folders = filled(folder);
		const { size } = this.splits(folders);
		return size > 0 && (size > 1 || size === folders.length);
	}
	repeatsSplits(splits) {
		return [...splits].every(([folder, split]) => {
			const inner = this.splits(filled(folder));
			return inner.size === 1 && [...inner.values()][0] === split;
		});
	}
	isClassCalledSplit(folders, splits) {
		const [folder] = splits.keys();
		const others = folders.filter((one) => one !== folder && !isContainerOrMask(one));
		if (wordCount(folder.name) > 1 || others.length === 0) return false;
		if (!isFlat(folder) || !others.every(isFlat)) return false;
		if (others.length > 1 || oppositesAmong(folders.map(({ name }) => name))?.includes(folder.name)) return true;
		throw layoutError(folder, `a split, or a class beside ${listNames(others.map(({ name }) => name))}?`, [`\`splits: { ${folder.name}: false }\` makes it a class.`]);
	}
	isRepeatedFlat(folder) {
		const [only, ...others] = filled(folder);
		return only !== void 0 && others.length === 0 && isFlat(only) && this.splits([only]).size > 0;
	}
	setBesideImages(top, folders, splits) {
		const [set, ...others] = folders.filter((folder) => !splits.has(folder));
		if (!set || others.length > 0 || splits.size === 0 || top.images.length > 0) return void 0;
		const isLoose = ([folder, split]) => split !== "train" && (isFlat(folder) || this.isRepeatedFlat(folder));
		const inner = this.unwrap(set);
		const own = this.splits(filled(inner));
		return [...own.values()].includes("train") && own.size === filled(inner).length && inner.images.length === 0 && [...splits].every(isLoose) ? set : void 0;
	}
	splitBelow(folder) {
		const splits = this.splits(filled(folder));
		for (const inner of filled(folder)) {
			const found = splits.has(inner) ? inner : this.splitBelow(inner);
			if (found) return found;
		}
	}
	classParent(folder, all) {
		const [only, ...others] = filled(folder);
		if (!only || others.length > 0 || folder.images.length > 0 || isFlat(only) || only.images.length > 0) return folder;
		const isRepeated = plainName$1(only.name) === plainName$1(folder.name) || this.splits([only]).size > 0;
		const twins = all.filter((one) => one !== folder).map((one) => filled(one));
		const names = new Set(filled(only).map(({ name }) => plainName$1(name)));
		const isWrapper = twins.some(([twin, ...more]) => twin && more.length === 0 && filled(twin).some(({ name }) => names.has(plainName$1(name))));
		const isShared = twins.some((twin) => twin.some(({ name }) => names.has(plainName$1(name))));
		return isRepeated || isContainer(only.name) || isWrapper && names.size > 1 || isShared ? this.classParent(only, []) : folder;
	}
};
// src/data/said-layout.ts
function placeByCallback(root, classOf, options) {
	const placed = [];
	let without = 0;
	const walk = (folder, split) => {
		const splits = splitsOf$1(filled(folder), options);
		for (const file of folder.images) {
			const className = classOf(file.key);
			if (className === void 0) without++;
			else if (typeof className === "string" && className !== "") placed.push({
				file,
				className,
				split: split ?? "train"
			});
			else throw new DataError(`${oneLine(file.path)}: \`classOf\` gave ${showValue(className)}, no class name`, {
				hint: "Return a name, or undefined for an image to leave out.",
				details: { path: file.path }
			});
		}
		for (const inner of filled(folder)) walk(inner, split ?? splits.get(inner));
	};
	walk(root, void 0);
	if (placed.length === 0) {
		const [first] = imagesBelow(root);
		throw new DataError(`${oneLine(root.path)}: \`classOf\` gave no class for any of ${without} images`, {
			hint: `It is called with paths below the folder, such as ${JSON.stringify(first?.key)}.`,
			details: { path: root.path }
		});
	}
	return {
		placed,
		warnings: without > 0 ? [`\`classOf\` gave no class for ${without} images; they are left out`] : [],
		unlabelled: [],
		classFolders: []
	};
}
function placeByPattern(root, pattern, options) {
	const placed = [];
	const classFolders = [];
	const masks = new Map();
	const descend = (folder, [segment, ...rest], className, split) => {
		if (segment === void 0) {
			for (const file of withoutMasks(folder, masks)) placed.push({
				file,
				className,
				split
			});
			return;
		}
		refuseLooseImages(folder);
		const splits = splitsOf$1(filled(folder), options);
		for (const inner of filled(folder)) {
			if (segment === "class") classFolders.push(inner);
			if (segment === "split" && !splits.has(inner)) {
				const name = JSON.stringify(inner.name);
				throw layoutError(inner, "a split folder was expected here by `layout`", [`Write \`splits: { ${name}: 'train' }\` (or 'test', 'validation'), or \`ignore: [${name}]\`.`]);
			}
			const [innerClass, innerSplit] = [segment === "class" ? inner.name : className, segment === "split" ? splits.get(inner) : split];
			descend(inner, rest, innerClass, innerSplit);
		}
	};
	descend(unwrapFor(root, pattern, options), pattern, void 0, "train");
	return {
		placed,
		warnings: maskWarnings(masks),
		unlabelled: [],
		classFolders
	};
}
function unwrapFor(root, pattern, options) {
	let top = root;
	for (;;) {
		const [only, ...others] = filled(top);
		if (!only || others.length > 0 || top.images.length > 0) return top;
		if (pattern[0] === "split" && splitsOf$1([only], options).size > 0) return top;
		if (depthOf(only) < pattern.length) return top;
		top = only;
	}
}
// src/data/folder-layout.ts
function placeFolderImages(root, options = {}) {
	if (options.classOf) return placeByCallback(root, options.classOf, options);
	if (options.layout !== void 0) return placeByPattern(root, options.layout.split("/"), options);
	return new Placing(root, options).byEvidence();
}
function emptySplitFolders(root, split, options = {}) {
	const splits = splitsOf$1(root.folders, options);
	return root.folders.flatMap((folder) => [...splits.get(folder) === split && folder.total === 0 ? [folder.path] : [], ...emptySplitFolders(folder, split, options)]);
}
var Placing = class {
	placed = [];
	warnings = [];
	unlabelled = [];
	classFolders = [];
	#root;
	#options;
	#reading;
	#masks = new Map();
	constructor(root, options) {
		this.#root = root;
		this.#options = options;
		this.#reading = new SplitReading(options);
	}
	byEvidence() {
		this.#place();
		this.warnings.push(...maskWarnings(this.#masks));
		return this;
	}
	#place() {
		const top = dropCopies(this.#reading.unwrap(this.#root), (folder) => this.#reading.unwrap(folder), this.warnings);
		let folders = filled(top);
		let splits = this.#reading.splits(folders);
		const set = this.#reading.setBesideImages(top, folders, splits);
		if (set) {
			this.unlabelled.push(...folders.filter((folder) => folder !== set));
			folders = filled(this.#reading.unwrap(set));
			this.#placeSplits(folders, this.#reading.splits(folders));
			return;
		}
		if (folders.length > 1 && splits.size === 0 && folders.every(isContainerOrMask)) {
			const inner = this.#onlyContainer(top, folders);
			if (inner) {
				this.#placeClasses(inner, "train", true);
				return;
			}
		}
		if (splits.size === 1 && this.#reading.isClassCalledSplit(folders, splits)) splits = new Map();
		const hasInnerSplits = folders.filter((folder) => this.#reading.hasSplits(folder));
		if (splits.size === 0 || hasInnerSplits.length === folders.length && !this.#reading.repeatsSplits(splits)) {
			if (folders.length === 0) {
				this.#placeLone(top);
				return;
			}
			refuseLooseImages(top);
			if (hasInnerSplits.length > 0) {
				const hollow = top.folders.find((folder) => folder.total === 0 && splitsOf$1(folder.folders, this.#options).size > 0);
				if (hollow) throw layoutError(hollow, "this class folder holds no images");
				this.#placeClassesWithSplits(folders);
				return;
			}
			this.#placeClasses(top, "train", true);
			return;
		}
		if (folders.every(({ images }) => images.length > 0) && folders.every(isFlat)) {
			if (splits.size === folders.length && top !== this.#root && !isContainerOrMask(top) && !namesHoldClasses(imagesBelow(top))) {
				this.classFolders.push(top);
				this.#placeClassesWithSplits([top]);
				return;
			}
			const others = folders.filter((folder) => !splits.has(folder) && !isContainerOrMask(folder));
			if (others.length > 0) {
				const names = (list) => listNames(list.map(({ name }) => name));
				throw layoutError(top, `${names([...splits.keys()])}: splits, or classes beside ${names(others)}?`, ["If all of them are classes: `layout: 'class'`."]);
			}
			throw this.#noClassFolders(top, folders);
		}
		refuseLooseImages(top);
		folders = folders.filter((folder) => splits.has(folder) || !this.#isBesideSplits(folder));
		this.#placeSplits(folders, splits);
		this.#warnRepeated(splits);
	}
	#warnRepeated(splits) {
		for (const split of new Set(splits.values())) {
			const [least, ...others] = [...splits].flatMap(([folder, own]) => own === split ? [folder] : []).filter((folder) => !this.unlabelled.includes(folder)).sort((a, b) => a.total - b.total);
			if (!least || others.length === 0) continue;
			this.warnings.push(`${listNames([least, ...others].map(({ name }) => name))} are taken together as ${split}; if one repeats another: \`ignore: [${JSON.stringify(least.name)}]\``);
		}
	}
	#placeLone(top) {
		if (top === this.#root || isContainerOrMask(top) || namesHoldClasses(top.images)) throw this.#noClassFolders(top, []);
		this.classFolders.push(top);
		this.#placeAll(top, top.name, "train");
	}
	#onlyContainer(parent, folders) {
		if (!folders.some(({ name }) => isMaskFolder(name))) refuseEqualChildren(parent, folders, (folder) => this.#reading.unwrap(folder));
		const containers = folders.filter(({ name }) => isContainer(name) && !isMaskFolder(name));
		const [container] = containers;
		const others = folders.filter((folder) => folder !== container);
		const hasClasses = containers.length === 1 && filled(container).length > 0 && container.images.length === 0;
		if (arePartNames(folders.map(({ name }) => name))) return void 0;
		if (!hasClasses) throw this.#noClassFolders(parent, folders);
		const total = others.reduce((sum, folder) => sum + folder.total, 0);
		this.warnings.push(`${listNames(others.map(({ name }) => name))} beside \`${oneLine(container.name)}\`: ${total} images left out as masks or annotations`);
		return container;
	}
	#isBesideSplits(folder) {
		const inner = this.#reading.unwrap(folder);
		if (isMaskFolder(folder.name)) {
			this.warnings.push(`\`${oneLine(folder.name)}\` beside the splits: ${folder.total} images left out as masks or annotations`);
			return true;
		}
		const [only] = filled(folder);
		const isChain = isFlat(folder) || plainName$1(only.name) === plainName$1(folder.name) || isContainer(only.name);
		if (!isFlat(inner) || !isChain) return false;
		this.unlabelled.push(folder);
		return true;
	}
	#placeSplits(folders, splits) {
		const inner = new Map(folders.map((folder) => [folder, this.#reading.classParent(folder, folders)]));
		const hasClasses = (folder) => filled(inner.get(folder)).some(({ name }) => !isContainerOrMask({ name })) || filled(inner.get(folder)).length > 1;
		const train = folders.filter((folder) => splits.get(folder) === "train");
		const isTrained = (train.length > 0 ? train : folders).some(hasClasses);
		const trained = new Set(train.flatMap((folder) => filled(inner.get(folder)).map(({ name }) => plainName$1(name))));
		for (const folder of folders) {
			const split = splits.get(folder);
			if (!split) throw layoutError(folder, "this folder stands beside train or test folders and is none", [`Write \`splits: { ${JSON.stringify(folder.name)}: '${splitInName(folder.name) ?? "test"}' }\` or \`ignore: [${JSON.stringify(folder.name)}]\`.`]);
			const parent = inner.get(folder);
			const isUnlabelled = (isFlat(this.#reading.unwrap(parent)) || this.#reading.isRepeatedFlat(parent)) && !filled(parent).some(({ name }) => trained.has(plainName$1(name)));
			const isNamedUnlabelled = filled(parent).every(({ name }) => isContainerOrMask({ name }) || plainName$1(name) === plainName$1(folder.name) || /^(unknown|unlabell?ed|none)$/i.test(name.trim()) || this.#reading.splits(filled(parent)).size > 0);
			if (split !== "train" && isTrained && isUnlabelled && isNamedUnlabelled) this.unlabelled.push(folder);
			else this.#placeClasses(parent, split, folder === folders.find((one) => hasClasses(one)));
		}
	}
	#placeClasses(parent, split, isFirst) {
		refuseLooseImages(parent);
		const folders = filled(parent);
		const splits = this.#reading.splits(folders);
		const [stray] = splits.size === 1 && folders.length > 1 && this.#reading.isClassCalledSplit(folders, splits) ? [] : splits.keys();
		if (stray) throw layoutError(stray, "a split folder where a class folder was expected", [`If it is a class: \`splits: { ${JSON.stringify(stray.name)}: false }\`.`]);
		if (folders.length > 0 && folders.every(isContainerOrMask)) {
			const inner = folders.length === 1 ? void 0 : this.#onlyContainer(parent, folders);
			if (!inner) throw this.#noClassFolders(parent, folders);
			this.#placeClasses(inner, split, isFirst);
			return;
		}
		const deeper = folders.map((folder) => this.#reading.splitBelow(folder)).find((folder) => folder !== void 0);
		if (deeper) {
			const above = folders.find(({ path }) => deeper.path.startsWith(path));
			throw layoutError(deeper, "this split folder lies deeper than those of a single data set", [`Load ${JSON.stringify(dirname(deeper.path))} alone, or leave it out: \`ignore: [${JSON.stringify(above.name)}]\`.`]);
		}
		const [lone] = folders;
		if (folders.length === 1 && plainName$1(lone.name) === plainName$1(parent.name) && splitInName(lone.name) !== void 0) throw this.#noClassFolders(parent, folders);
		if (isFirst) checkClassFolders(parent, folders, (folder) => this.#reading.unwrap(folder), this.warnings);
		this.classFolders.push(...parent.folders.filter((folder) => folder.total > 0 || folder.others.length > 0 || folder.folders.length === 0));
		for (const folder of folders) this.#placeAll(folder, folder.name, split);
	}
	#placeClassesWithSplits(folders) {
		this.classFolders.push(...folders);
		const insides = [];
		const divided = folders.find((folder) => this.#reading.splits(filled(folder)).size > 0);
		for (const folder of folders) {
			if (isFlat(folder) && divided !== void 0 && folders.length > 1) throw layoutError(folder, `images without a split, beside \`${oneLine(divided.name)}\`, which has ${listNames(filled(divided).map(({ name }) => name))}`, [`Move them into \`${oneLine(folder.name)}/train\`, or leave one out: \`ignore: [${JSON.stringify(folder.name)}]\` or \`ignore: [${JSON.stringify(divided.name)}]\`.`]);
			refuseLooseImages(folder);
			const splits = this.#reading.splits(filled(folder));
			for (const inner of filled(folder)) {
				const split = splits.get(inner);
				if (!split && isMaskFolder(inner.name)) {
					this.warnings.push(`\`${oneLine(folder.name)}/${oneLine(inner.name)}\`: ${inner.total} images left out as masks or annotations`);
					continue;
				}
				if (!split) throw layoutError(inner, "this folder stands where the other classes have train or test folders");
				insides.push(inner);
				this.#placeAll(inner, folder.name, split);
			}
		}
		const [nested] = insides.filter(({ images }) => images.length === 0);
		const isDoubtful = insides.some((one) => filled(one).some((inner) => !isContainerOrMask(inner))) && insides.every(({ images }) => images.length === 0) && insides.some((one) => filled(one).length > 1);
		if (nested && isDoubtful) throw layoutError(nested, `folders in each split (${listNames([...new Set(insides.flatMap((one) => filled(one).map(({ name }) => name)))])}): are these the classes, or ${listNames(folders.map(({ name }) => name))}?`, ["Write `layout: '*/split/class'` or `layout: 'class/split'`, or load one of the folders alone."]);
	}
	#placeAll(folder, className, split) {
		for (const file of withoutMasks(folder, this.#masks)) this.placed.push({
			file,
			className,
			split
		});
	}
	#noClassFolders(top, folders) {
		const detection = detectionEvidence(this.#root);
		if (detection) return layoutError(top, `looks like a detection or segmentation data set (${detection}): there are no class folders`, ["Cut out one image for each box, or give classes by `classOf: (path) => …` or a table: `ImageFolder.fromTable(…)`.", namesHoldClasses(top.images) || folders.some(({ images }) => namesHoldClasses(images)) ? fileNameHint(imagesBelow(top)) : ""]);
		const names = folders.map(({ name }) => name);
		if (arePartNames(names) && folders.some((folder) => filled(folder).length > 0)) return partsError(top, names);
		const images = imagesBelow(top);
		const where = folders.length === 0 ? "directly in this folder" : `directly in ${listNames(names)}`;
		const splits = this.#reading.splits(folders).size > 0;
		return layoutError(top, `no class folders: ${images.length} images lie ${where}${splits ? ", which are splits" : ""}`, [fileNameHint(images)]);
	}
};
// src/data/class-cells.ts
async function nameMap(tree, tables, labels, warnings) {
	const dirs = new Set([tree.path, ...tables.map((path) => dirname(path))]);
	const candidates = [];
	const walk = (folder) => {
		if (dirs.has(folder.path)) candidates.push(...folder.others.map(({ path }) => path).filter((path) => /\.json$/i.test(path)));
		for (const inner of folder.folders) walk(inner);
	};
	walk(tree);
	const fitting = [];
	for (const path of candidates.slice(0, 20)) {
		const value = await readJson(path, { maxBytes: MAX_CONFIG_BYTES }).catch(() => void 0);
		if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
		for (const isInverse of [false, true]) {
			const pairs = Object.entries(value).map(([key, one]) => isInverse ? [String(one), key] : [key, one]);
			const names = new Map(pairs.filter((pair) => typeof pair[1] === "string"));
			if ([...labels].every((label) => names.has(wholeNumber(label)))) fitting.push({
				path,
				names
			});
		}
	}
	const [only, ...others] = fitting;
	if (only && others.length === 0) return only.names;
	if (only) warnings.push(`${listNames(fitting.map(({ path }) => basename(path)))} all give names to the numbers; none is used, write \`classes\``);
}
const wholeNumber = (text) => text.replace(/\.0+$/, "");
const MISSING = /^(?:nan|<na>|n\/a|#n\/a|null|na)$/i;
function listOf(cell) {
	if (!cell.startsWith("[") || !cell.endsWith("]")) return void 0;
	try {
		const list = JSON.parse(cell);
		return Array.isArray(list) ? list.map((one) => typeof one === "string" ? one : JSON.stringify(one)) : void 0;
	} catch {
		return cell.slice(1, -1).split(",").map((one) => one.trim().replace(/^(['"])(.*)\1$/, "$2")).filter((one) => one !== "");
	}
}
function firstKey(object) {
	try {
		return Object.entries(JSON.parse(object)).find(([, value]) => typeof value === "string")?.[0];
	} catch {
		return;
	}
}
// src/data/file-index.ts
const fold = (text) => text.normalize("NFC").toLowerCase();
const stemOf = (name) => IMAGE_ENDING.test(name) ? name.replace(IMAGE_ENDING, "") : name.replace(/\.[^.]*$/, "");
const withoutZeros = (digits) => digits.replace(/^0+(?=\d)/, "");
function pathOf(cell) {
	if (!/^(?:https?|s3|gs|file):\/\//i.test(cell)) return cell;
	return decoded(cell.replace(/[?#].*$/, "").replace(/^[a-z0-9]+:\/\//i, ""));
}
var FileIndex = class {
	files;
	#root;
	#byKey;
	#byName = new Map();
	#byStem = new Map();
	#byNumber = new Map();
	#tablePath = "";
	#tableDir = "";
	constructor(root, files) {
		this.#root = root;
		this.files = files;
		this.#byKey = new Map(this.files.map((file) => [file.key.normalize("NFC"), file]));
		for (const file of this.files) {
			const name = fold(file.key.split("/").at(-1));
			push(this.#byName, name, file);
			const stem = stemOf(name);
			push(this.#byStem, stem, file);
			if (/^0*\d+$/.test(stem)) push(this.#byNumber, withoutZeros(stem), file);
		}
	}
	find(cell, tablePath) {
		const segments = pathOf(cell).normalize("NFC").replaceAll("\\", "/").split("/").filter((segment) => segment !== "" && segment !== ".");
		const name = segments.at(-1);
		if (name === void 0) return [];
		const path = segments.join("/");
		if (tablePath !== this.#tablePath) {
			this.#tablePath = tablePath;
			this.#tableDir = relative(this.#root, dirname(tablePath)).replaceAll("\\", "/");
		}
		const tableDir = this.#tableDir;
		const exact = this.#byKey.get(tableDir ? `${tableDir}/${path}` : path) ?? this.#byKey.get(path);
		if (exact) return [exact];
		const folded = fold(name);
		const found = IMAGE_ENDING.test(name) ? this.#byName.get(folded) ?? this.#byStem.get(stemOf(folded)) : this.#byStem.get(folded) ?? this.#byName.get(folded) ?? (/^[1-9]\d*$/.test(name) ? this.#byNumber.get(name) : void 0);
		if (!found || found.length < 2) return found ?? [];
		const agreement = (file) => {
			const own = file.key.split("/").slice(0, -1).map(fold);
			const wanted = segments.slice(0, -1).map(fold);
			let equal = 0;
			while (equal < own.length && equal < wanted.length && own.at(-1 - equal) === wanted.at(-1 - equal)) equal++;
			return equal;
		};
		const most = Math.max(...found.map(agreement));
		const nearest = found.filter((file) => agreement(file) === most);
		const sameCase = nearest.filter(({ key }) => key.split("/").at(-1).startsWith(stemOf(name)));
		return sameCase.length > 0 ? sameCase : nearest;
	}
};
function push(map, key, file) {
	const list = map.get(key);
	if (list) list.push(file);
	else map.set(key, [file]);
}
// src/data/table-columns.ts
const plain$1 = (name) => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "");
const FILE_NAMES = new Set("file filename filepath filepaths path paths image images imageid imageindex imagename imagepath img imgid imgname imgpath id idcode isicid picture photo name uuid".split(" "));
const LABEL_NAMES = ["label labels labelname class classes classname classid category categoryname categoryid target 标签 类别 分类 ラベル クラス класс метка clase etiqueta classe étiquette klasse", "diagnosis dx breed species disease findinglabels findings finding condition type tag tags caption y"].map((names) => new Set(names.split(" ")));
const SPLIT_NAMES = new Set("split set subset dataset phase partition usage".split(" "));
const TEXT_NAMES = new Set("text caption captions description prompt title sentence report question answer comment url".split(" "));
const PART_NAMES = new Set("partition fold kfold istest istrain isval isvalid isvalidation isholdout".split(" "));
const SAMPLED_ROWS = 500;
const sample = ({ rows, columns }) => rows.slice(0, Math.max(20, Math.min(SAMPLED_ROWS, Math.floor(5e4 / columns.length))));
async function readTableOf(files, path, options) {
	const table = await readTable(path, options);
	const isNamed = (name) => IMAGE_ENDING.test(name) && files.find(name, path).length > 0;
	const isHeaderless = options.header === void 0 && !/\.(jsonl?|ndjson)$/i.test(path) && table.columns.some(isNamed);
	return {
		table: isHeaderless ? await readTable(path, {
			...options,
			header: false
		}) : table,
		isHeaderless
	};
}
function fileColumnOf(table, files) {
	const [best] = table.columns.map((column) => {
		const values = sample(table).map((row) => row[column]).filter((value) => value !== "");
		const found = values.filter((value) => files.find(value, table.path).length > 0).length / (values.length || 1);
		const distinct = new Set(values).size / (values.length || 1);
		const hasEndings = values.some((value) => IMAGE_ENDING.test(value)) ? .3 : 0;
		return {
			column,
			found,
			score: found + (FILE_NAMES.has(plain$1(column)) ? .3 : 0) + .2 * distinct + hasEndings
		};
	}).filter(({ found }) => found >= .3).sort((a, b) => b.score - a.score);
	return best?.column;
}
function splitColumnOf(table) {
	return table.columns.find((column) => {
		if (!SPLIT_NAMES.has(plain$1(column))) return false;
		const values = sample(table).flatMap((row) => row[column] === "" ? [] : [row[column]]);
		return values.filter((value) => splitOfCell(value)).length > values.length / 2;
	});
}
function doubtfulSplit(table) {
	const column = table.columns.find((name) => PART_NAMES.has(plain$1(name)));
	if (column === void 0) return void 0;
	const values = [...new Set(sample(table).map((row) => row[column]))].filter((value) => value !== "");
	return values.length > 1 && values.length <= 20 ? {
		column,
		values
	} : void 0;
}
function isText(rows, column) {
	return TEXT_NAMES.has(plain$1(column)) && 2 * new Set(rows.map((row) => row[column])).size > rows.length;
}
function labelColumnsOf(table, used, onDoubt = "throw") {
	const rows = sample(table);
	const others = table.columns.filter((column) => !used.includes(column) && !PART_NAMES.has(plain$1(column)) && rows.some((row) => row[column] !== ""));
	const oneHot = others.filter((column) => rows.every((row) => /^(?:[01](?:\.0+)?)?$/.test(row[column])));
	for (const names of LABEL_NAMES) {
		const known = others.filter((column) => names.has(plain$1(column)) && !isText(rows, column));
		if (known.length === 0 || known.length === 1 && oneHot.length > 2 && oneHot.includes(known[0])) continue;
		const isNumeric = (column) => rows.every((row) => /^-?[\d.]*$/.test(row[column]));
		const column = known.find((one) => !isNumeric(one)) ?? known[0];
		const other = known.find((one) => one !== column && !sayTheSame(rows, one, column));
		if (other === void 0 || onDoubt === "first") return { column };
		throw new DataError(`${oneLine(table.path)}: the classes may be in \`${oneLine(column)}\` or in \`${oneLine(other)}\``, {
			hint: `Write \`labelColumn: ${JSON.stringify(column)}\` for \`ImageFolder.fromTable\`.`,
			details: {
				path: table.path,
				columns: table.columns
			}
		});
	}
	const single = rows.filter((row) => onesOf(row, oneHot).length === 1).length;
	if (oneHot.length >= 2 && single >= .5 * rows.length) return { oneHot };
	const [only, ...more] = others;
	return only !== void 0 && more.length === 0 && !isText(rows, only) && !holdsObjects(rows, only) ? { column: only } : void 0;
}
function holdsObjects(rows, column) {
	return rows.some((row) => /^(?:\{.*\}|\[[[{].*\])$/s.test(row[column]));
}
function onesOf(row, columns) {
	return columns.filter((column) => Number(row[column]) === 1);
}
function sayTheSame(rows, one, other) {
	const pairs = new Set(rows.map((row) => `${row[one]}\0${row[other]}`)).size;
	return pairs === new Set(rows.map((row) => row[one])).size && pairs === new Set(rows.map((row) => row[other])).size;
}
function columnNamed(table, wanted, option) {
	const column = table.columns.find((name) => name === wanted) ?? table.columns[Number(wanted)];
	if (column !== void 0 && (typeof wanted === "number" || table.columns.includes(wanted))) return column;
	throw new DataError(`${oneLine(table.path)}: \`${option}\`: there is no column ${JSON.stringify(wanted)}`, {
		hint: `Columns: ${listNames(table.columns, 20)}. A table without a line of names: \`header: false\`, and columns by position.`,
		details: {
			path: table.path,
			columns: table.columns
		}
	});
}
// src/data/image-table.ts
async function placeByTables(tree, paths, options) {
	const files = new FileIndex(tree.path, imagesBelow(tree));
	const others = new FileIndex(tree.path, othersBelow(tree));
	const warnings = [];
	const placed = new Map();
	const folderSplits = splitsByFile(tree, options);
	for (const path of paths) {
		const { table, isHeaderless } = await readTableOf(files, path, options);
		if (isHeaderless) warnings.push(`${oneLine(basename(path))}: the first line names an image and no columns, which are counted from 0: \`header: false\``);
		const rows = new TableReader(table, {
			files,
			others,
			options,
			folderSplits,
			isOneOfSeveral: paths.length > 1
		}).read(warnings);
		for (const one of rows) {
			const other = placed.get(one.file);
			if (other && (other.className !== one.className || other.split !== one.split)) throw new DataError(`${oneLine(one.file.path)}: ${other.row} says ${JSON.stringify(other.className)} (${other.split}), ${one.row} says ${JSON.stringify(one.className)} (${one.split})`, {
				hint: "An image can have one class: remove a row, or choose by `labelOf: (row) => …`.",
				details: { path: one.file.path }
			});
			placed.set(one.file, one);
		}
	}
	const names = new Set([...placed.values()].map(({ className }) => className));
	const isNumeric = [...names].every((name) => /^-?\d+(?:\.0+)?$/.test(name));
	const byNumber = isNumeric && !options.labelOf ? await nameMap(tree, paths, names, warnings) : void 0;
	const numbers = [...new Set([...names].map(wholeNumber))].sort((a, b) => Number(a) - Number(b));
	const classOrder = isNumeric ? numbers.map((number) => byNumber?.get(number) ?? number) : void 0;
	if (isNumeric && !byNumber && !options.isNamed) warnings.push(`the classes are numbers (${listNames(numbers)}), and so are the answers that a model learns; names: \`classes: { ${numbers[0]}: '…', … }\``);
	const all = [...placed.values()].map(({ file, className, split }) => ({
		file,
		split,
		className: byNumber?.get(wholeNumber(className)) ?? (isNumeric ? wholeNumber(className) : className)
	}));
	warnUnnamed(files, placed, warnings);
	return {
		placed: all,
		warnings,
		unlabelled: [],
		classFolders: [],
		...classOrder && { classOrder: [...new Set(classOrder)] }
	};
}
var TableReader = class {
	#table;
	#around;
	#name;
	constructor(table, around) {
		this.#table = table;
		this.#around = around;
		this.#name = oneLine(basename(table.path));
	}
	read(warnings) {
		const fileColumn = this.#fileColumn();
		const { splitColumn: wanted } = this.#around.options;
		const splitColumn = wanted === void 0 ? splitColumnOf(this.#table) : columnNamed(this.#table, wanted, "splitColumn");
		const labelOf = this.#around.options.labelOf ?? this.#labelReader(fileColumn, splitColumn);
		const split = splitInName(basename(this.#table.path)) ?? (this.#around.isOneOfSeveral ? splitInName(basename(dirname(this.#table.path))) : void 0);
		const missing = [];
		const foreign = [];
		const unlabelled = [];
		const seen = new Map();
		let repeated = 0;
		const placed = this.#table.rows.flatMap((row, i) => {
			const cell = row[fileColumn];
			const label = labelOf(row);
			if (label !== void 0 && typeof label !== "string") throw this.#error(`\`labelOf\` gave ${showValue(label)} for row ${i + 1}`, "Return a class name, or undefined to leave the row out.");
			if (label === void 0 || label === "") {
				unlabelled.push(cell);
				return [];
			}
			const file = this.#fileOf(cell, split);
			if (!file) {
				const [other] = this.#around.others.find(cell, this.#table.path);
				if (other) foreign.push(basename(other.path));
				else missing.push(cell);
				return [];
			}
			if (seen.get(file) === label) repeated++;
			seen.set(file, label);
			const own = this.#splitOf(row, splitColumn, i);
			const ofTable = this.#around.isOneOfSeveral ? split ?? this.#around.folderSplits.get(file) : this.#around.folderSplits.get(file) ?? split;
			return [{
				file,
				className: label,
				split: own ?? ofTable ?? "train",
				row: `row ${i + 1} of ${this.#name}`
			}];
		});
		if (placed.length === 0) {
			const example = missing[0] ?? foreign[0] ?? this.#table.rows[0]?.[fileColumn] ?? "";
			throw this.#error(missing.length > 0 ? `none of ${missing.length + foreign.length} files of column \`${oneLine(fileColumn)}\` is there, e.g. ${JSON.stringify(example)}` : foreign.length > 0 ? `none of ${foreign.length} files can be read as an image, e.g. ${JSON.stringify(example)}` : "no row has a label", `Images lie e.g. at ${JSON.stringify(this.#around.files.files[0]?.key)}. Give \`imageDir\`, the folder of the images, or \`fileColumn\`.`);
		}
		const report = (count, what, examples) => {
			if (count > 0) warnings.push(`${this.#name}: ${count} ${what}${examples.length > 0 ? `, e.g. ${listNames(examples.slice(0, 3))}` : ""}`);
		};
		report(missing.length, `of ${this.#table.rows.length} rows name files that are not there; they are left out`, missing);
		report(foreign.length, `of ${this.#table.rows.length} rows name files that are no readable images; they are left out`, foreign);
		report(unlabelled.length, `of ${this.#table.rows.length} rows have no label; they are left out`, unlabelled);
		report(repeated, "rows repeat an earlier one", []);
		const doubt = this.#around.options.splitOf || splitColumn !== void 0 ? void 0 : doubtfulSplit(this.#table);
		if (doubt) {
			const { column, values } = doubt;
			const all = values.map((value) => `${JSON.stringify(value)}: '…'`);
			warnings.push(`${this.#name}: column \`${oneLine(column)}\` (${listNames(values)}) may divide the images and is not used; if so: \`splitColumn: ${JSON.stringify(column)}, splits: { ${all.slice(0, 5).join(", ")} }\``);
		}
		if (2 * new Set(placed.map(({ className }) => className)).size > placed.length && placed.length >= 20) warnings.push(`${this.#name}: ${new Set(placed.map(({ className }) => className)).size} classes for ${placed.length} images, as texts and measures are and classes are not; another column: \`labelColumn\``);
		return placed;
	}
	#fileColumn() {
		const { fileColumn } = this.#around.options;
		if (fileColumn !== void 0) return columnNamed(this.#table, fileColumn, "fileColumn");
		const found = fileColumnOf(this.#table, this.#around.files);
		if (found !== void 0) return found;
		const [first] = this.#table.rows;
		throw this.#error(`no column names images of this folder; columns: ${listNames(this.#table.columns, 12)}, first row ${showValue(first)}`, `Give \`fileColumn\`, and \`imageDir\` if the images lie elsewhere. Images here: ${JSON.stringify(this.#around.files.files[0]?.key)}.`);
	}
	#labelReader(fileColumn, splitColumn) {
		const { labelColumn } = this.#around.options;
		const labels = typeof labelColumn === "object" ? { oneHot: labelColumn.map((name) => columnNamed(this.#table, name, "labelColumn")) } : labelColumn !== void 0 ? { column: columnNamed(this.#table, labelColumn, "labelColumn") } : labelColumnsOf(this.#table, [fileColumn, splitColumn]);
		if (!labels) throw this.#error(`which column holds the class? Columns: ${listNames(this.#table.columns, 20)}`, "Write `labelColumn: '…'`; for one column of 0 and 1 for each class, a list of their names.");
		if ("oneHot" in labels) {
			const { oneHot } = labels;
			const several = this.#table.rows.filter((row) => onesOf(row, oneHot).length > 1);
			if (several.length > 0) throw this.#multiLabelError(several.length, onesOf(several[0], oneHot).join(", "), `columns ${listNames(oneHot)}`, `row.${oneHot[0]} === '1' ? … : undefined`);
			return (row) => onesOf(row, oneHot)[0];
		}
		const { column } = labels;
		const read = this.#classReader(column);
		return (row) => read(row[column]);
	}
	#classReader(column) {
		const key = JSON.stringify(column);
		const values = this.#table.rows.map((row) => row[column]);
		const object = values.find((value) => value.startsWith("{") && value.endsWith("}"));
		if (object !== void 0) {
			const name = firstKey(object);
			throw this.#error(`column \`${oneLine(column)}\` holds JSON objects, not classes, e.g. ${oneLine(object.slice(0, 100))}`, `Choose what of it is the class: \`labelOf: (row) => JSON.parse(row[${key}])${name === void 0 ? "…" : `[${JSON.stringify(name)}]`}\`.`);
		}
		const lists = values.map(listOf);
		if (lists.some((list) => list !== void 0)) {
			const several = lists.flatMap((list, i) => list && list.length > 1 ? [values[i]] : []);
			if (several.length === 0) return (value) => (listOf(value) ?? [value])[0] ?? "";
			throw this.#multiLabelError(several.length, several[0], `column \`${oneLine(column)}\``, `JSON.parse(row[${key}])[0]`);
		}
		const single = new Set(values);
		for (const mark of [
			"|",
			";",
			",",
			" "
		]) {
			const several = values.filter((value) => {
				const parts = value.split(mark).map((part) => part.trim());
				return parts.length > 1 && (mark === "|" ? parts.some((part) => single.has(part)) : parts.every((part) => part !== "" && single.has(part)));
			});
			if (several.length > 0) throw this.#multiLabelError(several.length, several[0], `column \`${oneLine(column)}\``, `row[${key}].includes(${JSON.stringify(mark)}) ? undefined : row[${key}]`, ` Where each is one name: \`labelOf: (row) => row[${key}]\`.`);
		}
		const measure = values.find((value) => /^-?\d*\.\d*[1-9]\d*$/.test(value));
		if (measure !== void 0) throw this.#error(`column \`${oneLine(column)}\` holds measures such as ${measure}, not classes`, "Give another `labelColumn`, or make classes of it: `labelOf: (row) => …`.");
		return (value) => MISSING.test(value) ? "" : value;
	}
	#multiLabelError(count, example, where, code, more = "") {
		return this.#error(`${count} of ${this.#table.rows.length} rows have several labels in ${where}, e.g. ${JSON.stringify(example)}; an image can have one class`, `Choose one, or leave such rows out: \`labelOf: (row) => ${code}\`.${more}`);
	}
	#fileOf(cell, split) {
		const found = this.#around.files.find(cell, this.#table.path);
		if (found.length < 2) return found[0];
		const ofSplit = split === void 0 ? [] : found.filter((file) => this.#around.folderSplits.get(file) === split);
		if (ofSplit.length === 1) return ofSplit[0];
		throw this.#error(`${JSON.stringify(cell)} may be ${found.slice(0, 3).map(({ key }) => oneLine(key)).join(" or ")}`, "Give `imageDir`, the folder whose images the table names, or leave the others out by `ignore`.");
	}
	#splitOf(row, column, index) {
		const { splitOf, splits } = this.#around.options;
		if (splitOf) return splitOf(row);
		const cell = column === void 0 ? "" : row[column];
		if (cell === "") return void 0;
		const split = (splits && Object.hasOwn(splits, cell) ? splits[cell] : void 0) || splitOfCell(cell);
		if (split) return split;
		throw this.#error(`row ${index + 1}: ${JSON.stringify(cell)} in column \`${oneLine(column ?? "")}\` is no split`, `Write \`splits: { ${JSON.stringify(cell)}: 'test' }\`.`);
	}
	#error(why, hint) {
		return new DataError(`${oneLine(this.#table.path)}: ${why}`, {
			hint,
			details: {
				path: this.#table.path,
				columns: this.#table.columns
			}
		});
	}
};
function splitsByFile(root, { splits }) {
	const found = new Map();
	const walk = (folder, split) => {
		if (split) for (const file of folder.images) found.set(file, split);
		const own = splitsOf$1(folder.folders, { splits });
		for (const inner of folder.folders) walk(inner, split ?? own.get(inner));
	};
	walk(root, void 0);
	return found;
}
function warnUnnamed(files, placed, warnings) {
	const byFolder = new Map();
	for (const file of files.files) {
		if (placed.has(file)) continue;
		const folder = file.key.split("/").slice(0, -1).join("/") || ".";
		byFolder.set(folder, (byFolder.get(folder) ?? 0) + 1);
	}
	if (byFolder.size === 0) return;
	const total = [...byFolder.values()].reduce((a, b) => a + b, 0);
	const where = [...byFolder].map(([folder, count]) => `${oneLine(folder)}: ${count}`);
	warnings.push(`${total} images are named by no row and left out (${where.slice(0, 4).join(", ")}${where.length > 4 ? ", …" : ""})`);
}
// src/data/table-evidence.ts
const PLACE_COLUMN = /folder|dir|path|part|archive|batch|split|set\b/i;
const MAX_TABLES = 40;
const BOX_COLUMN = /^(bbox.*|x_?min|y_?min|x1|y1|xcenter|x_center)\b/i;
async function findTables(tree) {
	const candidates = othersBelow(tree).filter(({ key }) => /\.(csv|tsv|jsonl|ndjson)$/i.test(key));
	candidates.sort((a, b) => a.key.split("/").length - b.key.split("/").length || (a.key < b.key ? -1 : 1));
	if (candidates.length === 0) return [];
	const files = new FileIndex(tree.path, imagesBelow(tree));
	const found = [];
	for (const { path } of candidates.slice(0, MAX_TABLES)) {
		const { table, isHeaderless } = await readTableOf(files, path, { headOnly: true }).catch(() => NO_TABLE);
		if (!table || table.rows.length === 0 || table.columns.some((name) => BOX_COLUMN.test(name))) continue;
		const fileColumn = fileColumnOf(table, files);
		if (fileColumn !== void 0) found.push({
			...evidenceOf(table, fileColumn, files),
			isHeaderless
		});
	}
	return found;
}
const NO_TABLE = {
	table: void 0,
	isHeaderless: false
};
function evidenceOf(table, fileColumn, files) {
	const labels = /submission/i.test(basename(table.path)) ? void 0 : labelColumnsOf(table, [fileColumn, splitColumnOf(table)], "first");
	const named = new Map();
	const cells = new Map();
	for (const row of table.rows.slice(0, 2e3)) {
		const label = !labels ? "" : "column" in labels ? row[labels.column] : onesOf(row, labels.oneHot)[0] ?? "";
		for (const file of files.find(row[fileColumn], table.path)) {
			named.set(file, label);
			cells.set(file, table.columns.flatMap((column) => PLACE_COLUMN.test(column) ? [] : [row[column]]));
		}
	}
	const { path, columns } = table;
	const covers = (folder) => labels !== void 0 && imagesBelow(folder).some((file) => named.has(file));
	return {
		path,
		columns,
		fileColumn,
		labels,
		named,
		cells,
		covers
	};
}
function metadataOf(tree, tables, warnings) {
	const isMetadata = ({ path }) => /^metadata\.(csv|jsonl)$/i.test(basename(path));
	const metadata = tables.filter(isMetadata);
	const parquet = othersBelow(tree).find(({ path }) => basename(path).toLowerCase() === "metadata.parquet");
	if (parquet && metadata.length === 0) throw new DataError(`${oneLine(parquet.path)}: this table may hold the classes, and Parquet is not read here`, {
		hint: "Write it as metadata.jsonl, e.g. `df.to_json('metadata.jsonl', orient='records', lines=True)`, or leave it out: `ignore: ['metadata.parquet']`.",
		details: { path: parquet.path }
	});
	const mute = metadata.filter(({ labels }) => !labels);
	for (const { path, columns } of mute) warnings.push(`${oneLine(basename(path))} has no column of classes (${listNames(columns, 8)}); folders are taken as classes. If one is: \`ImageFolder.fromTable(…, { labelColumn: '…' })\``);
	return metadata.filter(({ labels }) => labels).map(({ path }) => path);
}
function callFor(tree, { path, fileColumn, labels, isHeaderless }) {
	const show = (column) => isHeaderless ? column : JSON.stringify(column);
	const label = !labels ? "'…'" : "column" in labels ? show(labels.column) : JSON.stringify(labels.oneHot.slice(0, 12));
	const options = `{ imageDir: ${JSON.stringify(tree.path)}, ${isHeaderless ? "header: false, " : ""}fileColumn: ${show(fileColumn)}, labelColumn: ${label} }`;
	return `\`ImageFolder.fromTable(${JSON.stringify(path)}, ${options})\``;
}
const saidBy = (table) => `${oneLine(basename(table.path))} (columns ${listNames(table.columns, 10)}) names images`;
function offerTable(error, tree, tables) {
	const labelled = tables.filter(({ labels }) => labels);
	const table = labelled.find(({ path }) => splitInName(basename(path)) === "train") ?? labelled[0] ?? tables.find(({ path, columns }) => columns.length > 1 && !/submission/i.test(basename(path)));
	if (!table) return error;
	const { hint = LAYOUTS } = error;
	const call = labelled.length > 1 && tablesToRead(tree, tables, tree.path, false).length > 1 ? `\`ImageFolder.fromTable(${JSON.stringify(tree.path)})\`` : callFor(tree, table);
	return error.with({
		summary: `${error.summary}; ${saidBy(table)}`,
		hint: `${table.labels ? "Read the classes from the table" : "If a column of the table holds classes"}: ${call}. ${hint}`,
		details: {
			...error.details,
			table: table.path,
			columns: table.columns
		}
	});
}
function checkTables(tree, placement, tables) {
	const folderOf = new Map(placement.placed.map(({ file, className }) => [file, className]));
	for (const table of tables) {
		if (!table.labels) continue;
		const placed = [...table.cells].filter(([file]) => folderOf.has(file));
		const says = ([file, cells]) => cells.some((cell) => isAlike(folderOf.get(file), cell, true));
		if (placed.filter(says).length >= .95 * placed.length) continue;
		const pairs = [...table.named].flatMap(([file, label]) => {
			const folder = folderOf.get(file);
			return folder === void 0 || label === "" ? [] : [{
				folder,
				label
			}];
		});
		if (pairs.length === 0 || agree(pairs)) continue;
		const odd = pairs.find(({ folder, label }) => !isAlike(folder, label));
		const folders = [...new Set(pairs.map(({ folder }) => folder))];
		const labels = [...new Set(pairs.map(({ label }) => label))];
		throw new DataError(`${oneLine(tree.path)}: folders and table give different classes: the folders are ${listNames(folders)}, but ${saidBy(table)} as ${listNames(labels)}, e.g. ${JSON.stringify(odd?.label)} in \`${odd?.folder}\``, {
			hint: `Take the table: ${callFor(tree, table)}; or the folders: \`ignore: [${JSON.stringify(basename(table.path))}]\`.`,
			details: {
				path: tree.path,
				table: table.path,
				columns: table.columns
			}
		});
	}
}
const letters = (name) => plainName$1(name).replaceAll(/[^\p{L}\p{N}]/gu, "").replace(/^0+(?=\d)/, "");
function isAlike(folder, label, isExact = false) {
	const [a, b] = [letters(folder), letters(label)];
	if (a === b) return true;
	return !isExact && a.length > 2 && b.length > 2 && (a.includes(b) || b.includes(a));
}
function agree(pairs) {
	if (pairs.filter(({ folder, label }) => isAlike(folder, label)).length >= .95 * pairs.length) return true;
	const labelsOf = new Map();
	for (const { folder, label } of pairs) {
		const counts = labelsOf.get(folder) ?? new Map();
		labelsOf.set(folder, counts.set(label, (counts.get(label) ?? 0) + 1));
	}
	return [...labelsOf.values()].reduce((sum, counts) => sum + Math.max(...counts.values()), 0) >= .95 * pairs.length && new Set(pairs.map(({ label }) => label)).size > 1 && pairs.length >= 3 * labelsOf.size;
}
function tablesToRead(tree, tables, dir, mustFind = true) {
	const metadata = tables.filter(({ path }) => /^metadata\.(csv|jsonl)$/i.test(basename(path)));
	if (metadata.length > 0) return metadata.map(({ path }) => path);
	const labelled = tables.filter(({ labels }) => labels);
	const splits = new Set(labelled.map(({ path }) => splitInName(path.slice(tree.path.length))));
	if (labelled.length === 1 || labelled.length > 1 && splits.size === labelled.length && !splits.has(void 0)) return labelled.map(({ path }) => path);
	if (!mustFind) return [];
	if (labelled.length > 1) throw new DataError(`${oneLine(dir)}: which table has the classes: ${listNames(labelled.map(({ path }) => basename(path)), 8)}?`, {
		hint: `Name it, e.g. ${callFor(tree, labelled[0])}.`,
		details: {
			path: dir,
			tables: labelled.map(({ path }) => path)
		}
	});
	const all = othersBelow(tree).filter(({ path }) => /\.(csv|tsv|jsonl|ndjson|txt|json)$/i.test(path));
	throw new DataError(`${oneLine(dir)}: no table that names the images of this folder${all.length > 0 ? `; there are ${listNames(all.map(({ key }) => key), 6)}` : ""}`, {
		hint: "Name the table, and its columns by `fileColumn` and `labelColumn`.",
		details: { path: dir }
	});
}
// src/data/read-image-folder.ts
const splitName = _enum([
	"train",
	"test",
	"validation"
]);
const reading = {
	onBadImage: _enum(["error", "skip"]).default("error"),
	verify: boolean().optional(),
	maxPixels: number().int().positive().optional(),
	maxAspectRatio: number().min(1).default(1540),
	bitDepth: number().int().min(8).max(16).optional(),
	ignore: array(string().min(1)).optional(),
	splits: record(string(), union([splitName, literal(false)])).optional(),
	classes: union([array(string().min(1)).min(1), record(string(), string().min(1))]).optional(),
	onWarning: callback().optional()
};
const imageFolderSchema = strictObject({
	...reading,
	layout: string().regex(/^(class|split|\*)(\/(class|split|\*))*$/, "expected folders from the top, as in 'split/class': class, split or *").refine((layout) => layout.split("/").filter((one) => one === "class").length === 1, "expected `class` once").refine((layout) => layout.split("/").filter((one) => one === "split").length <= 1, "expected `split` once at most").optional(),
	classOf: functionOption().optional()
});
const column = union([string().min(1), int$1().nonnegative()]);
const imageTableSchema = strictObject({
	...reading,
	imageDir: string().min(1).optional(),
	fileColumn: column.optional(),
	labelColumn: union([column, array(string().min(1)).min(2)]).optional(),
	splitColumn: column.optional(),
	labelOf: functionOption().optional(),
	splitOf: functionOption().optional(),
	separator: string().min(1).optional(),
	header: boolean().optional()
});
async function readImageFolder(dir, options = {}) {
	requirePath(dir, "ImageFolder.load");
	const parsed = parseOptions(imageFolderSchema, options, "ImageFolder");
	if (parsed.layout !== void 0 && parsed.classOf) throw new ConfigError("ImageFolder: give `layout` or `classOf`, not both");
	const warnings = [];
	const tree = await readTree(dir, parsed, warnings);
	const isSaid = parsed.layout !== void 0 || parsed.classOf !== void 0;
	const tables = isSaid ? [] : await findTables(tree);
	const metadata = metadataOf(tree, tables, warnings);
	let placement;
	if (!isSaid && metadata.length > 0) {
		placement = await placeByTables(tree, metadata, {
			splits: parsed.splits,
			isNamed: parsed.classes !== void 0
		});
		warnOfFolders(tree, parsed, tables, warnings);
	} else placement = placeByFolders(tree, parsed, tables);
	return finish(tree, placement, parsed, [...warnings, ...placement.warnings], tables);
}
async function readImageTable(path, options = {}) {
	const paths = typeof path === "string" ? [path] : path;
	if (!Array.isArray(paths) || paths.length === 0) throw new ConfigError("ImageFolder.fromTable: expected a table or a list of them");
	for (const one of paths) requirePath(one, "ImageFolder.fromTable");
	const parsed = parseOptions(imageTableSchema, options, "ImageFolder.fromTable");
	const absolute = paths.map((one) => resolve(one));
	const isDir = absolute.length === 1 && (await stat(absolute[0]).catch(() => void 0))?.isDirectory();
	for (const one of absolute) if (!await exists(one)) await readTable(one);
	const warnings = [];
	const tree = await readTree(parsed.imageDir ?? (isDir ? absolute[0] : commonDir(absolute)), parsed, warnings);
	const placement = await placeByTables(tree, isDir ? tablesToRead(tree, await findTables(tree), absolute[0]) : absolute, {
		...parsed,
		isNamed: parsed.classes !== void 0
	});
	return finish(tree, placement, parsed, [...warnings, ...placement.warnings], []);
}
function commonDir(paths) {
	let dir = dirname(paths[0]);
	while (!paths.every((path) => path.startsWith(dir)) && dirname(dir) !== dir) dir = dirname(dir);
	return dir;
}
async function readTree(dir, options, warnings) {
	const root = resolve(dir);
	const tree = await readFolderTree(root);
	for (const pattern of options.ignore ?? []) if (prune(tree, ignoreFilter([pattern]), "") === 0) warnings.push(`\`ignore\`: nothing is called ${JSON.stringify(pattern)}`);
	if (tree.total > 0) return tree;
	const endings = endingsOf(tree);
	throw new DataError(`${oneLine(root)}: no images in this folder or below${endings ? `, but ${endings}` : ""}`, {
		hint: /DICOM/.test(endings) ? "Convert them to PNG with a chosen window, the same for all files." : /\.(arrow|parquet|tfrecords?|npz|npy|h5|pkl|zip|tar|gz|rar)\b/.test(endings) ? "Images inside archives and arrays are not read: unpack them, or save them as PNG or JPEG files." : `Expected class folders of ${READ_FORMATS} files. Is the path right, the archive unpacked?`,
		details: { path: root }
	});
}
function endingsOf(tree) {
	const counts = new Map();
	for (const { path, isDicom } of othersBelow(tree)) {
		const ending = isDicom ? "DICOM files" : /\.[^./\\]{1,12}$/.exec(path)?.[0].toLowerCase() ?? "files without an ending";
		counts.set(ending, (counts.get(ending) ?? 0) + 1);
	}
	return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([ending, count]) => `${count} ${oneLine(ending)}`).join(", ");
}
function prune(folder, fits, key) {
	const below = (name) => key ? `${key}/${name}` : name;
	const isKept = ({ path }) => !fits(basename(path), below(basename(path)));
	const before = folder.images.length + folder.others.length + folder.folders.length;
	folder.images = folder.images.filter(isKept);
	folder.others = folder.others.filter(isKept);
	const kept = folder.folders.filter(isKept);
	folder.folders.splice(0, folder.folders.length, ...kept);
	let taken = before - folder.images.length - folder.others.length - kept.length;
	for (const inner of kept) taken += prune(inner, fits, below(inner.name));
	folder.total = folder.images.length + kept.reduce((sum, { total }) => sum + total, 0);
	return taken;
}
function placeByFolders(tree, options, tables) {
	let placement;
	try {
		placement = placeFolderImages(tree, options);
	} catch (error) {
		throw error instanceof DataError ? offerTable(error, tree, tables) : error;
	}
	checkTables(tree, placement, tables);
	return placement;
}
function warnOfFolders(tree, options, tables, warnings) {
	let names = [];
	try {
		const placement = placeFolderImages(tree, options);
		names = [...new Set(placement.placed.map(({ className }) => className))];
		checkTables(tree, placement, tables);
	} catch {
		if (names.length > 1) warnings.push(`classes are taken from metadata, not from the folders ${listNames(names)}; those: \`layout\`, as 'class' or 'split/class'`);
	}
}
async function finish(tree, placement, options, warnings, tables) {
	const root = tree.path;
	const { placed, names } = chooseClasses(options.classes ? placement.placed : mergeEqualNames(placement.placed, warnings), placement.classOrder, options.classes, root);
	const depths = new DepthWatch(options.bitDepth, options.onWarning);
	const limits = {
		maxPixels: options.maxPixels,
		maxAspectRatio: options.maxAspectRatio,
		bitDepth: options.bitDepth,
		onBrightestSample: (name, brightest) => depths.note(name, brightest)
	};
	const bad = await depths.during(() => findBadImages(placed, options, limits));
	if (bad.length > 0 && options.onBadImage === "error") throw badImagesError(bad, root);
	const badPaths = new Set(bad.map(({ path }) => path));
	warnAboutFiles(tree, placement, tables, warnings);
	const good = placed.filter(({ file }) => !badPaths.has(file.path));
	warnAboutClasses(good, names, warnings);
	if (bad.length > 0) {
		const shown = shortList(bad, 3, ({ path, reason }) => `${oneLine(path)} (${reason})`);
		warnings.push(`${bad.length === 1 ? "an unreadable image is" : `${bad.length} unreadable images are`} left out: ${shown}`);
	}
	const classLabel = new ClassLabel(names);
	const splits = new Map();
	for (const name of [
		"train",
		"test",
		"validation"
	]) {
		const ofSplit = placed.filter((image) => image.split === name);
		const goodOnes = good.filter((image) => image.split === name);
		const empty = placement.classFolders.length > 0 ? emptySplitFolders(tree, name, options) : [];
		if (goodOnes.length > 0) splits.set(name, datasetOf(goodOnes, classLabel, {
			...limits,
			onBadImage: options.onBadImage
		}));
		else if (ofSplit.length > 0 || empty.length > 0) {
			const paths = new Set(ofSplit.map(({ file }) => file.path));
			throw emptySplitError(root, name, bad.filter(({ path }) => paths.has(path)), empty);
		}
	}
	const warn = options.onWarning ?? ((line) => process.emitWarning(line, "ImageFolderWarning"));
	const lines = warnings.map(warningLine);
	for (const line of lines) warn(`${oneLine(root)}: ${line}`);
	return {
		dir: root,
		classLabel,
		splits,
		skipped: bad,
		warnings: lines
	};
}
function datasetOf(images, classLabel, options) {
	const sorted = images.map((image) => ({
		...image,
		label: classLabel.str2int(image.className)
	})).sort((a, b) => a.label - b.label || byCodeUnit(a.file.key, b.file.key));
	const labels = sorted.map(({ label }) => label);
	return new LabelledDataset(classLabel, labels, (index) => {
		const { className, file } = sorted[index];
		return {
			image: new ImageFile(file.path, options),
			label: labels[index],
			className,
			path: file.path
		};
	});
}
async function findBadImages(images, options, limits) {
	const bad = [];
	const whole = [];
	for (const { file } of images) if (file.fault === void 0) whole.push(file.path);
	else bad.push({
		path: file.path,
		reason: file.fault
	});
	if (options.verify ?? options.onBadImage === "skip") await forEachConcurrently(whole, 4, async (path) => {
		try {
			(await decodeWithin(new ImageFile(path, limits))).release();
		} catch (error) {
			if (!(error instanceof ImageError)) throw error;
			bad.push({
				path,
				reason: error.reason
			});
		}
	});
	return bad.sort((a, b) => byCodeUnit(a.path, b.path));
}
function badImagesError(bad, root) {
	const shown = bad.slice(0, 10).map(({ path, reason }) => `\n  - ${oneLine(path)}: ${reason}`);
	const more = bad.length > shown.length ? `\n  and ${bad.length - shown.length} more` : "";
	return new ImageError(`${oneLine(root)}: ${bad.length === 1 ? "a file is" : `${bad.length} files are`} no readable image${shown.join("")}${more}`, {
		hint: "Repair or remove them, or load with `onBadImage: 'skip'` to leave them out.",
		details: {
			path: bad[0].path,
			files: bad
		}
	});
}
function emptySplitError(root, name, skipped, folders) {
	const [first] = skipped;
	const why = first ? `all ${skipped.length} of its images were skipped, ${oneLine(first.path)} because ${first.reason}` : `no image in ${folders.map(oneLine).join(", ")}`;
	return new DataError(`${oneLine(root)}: the ${name} split is empty: ${why}`, {
		hint: `Put images there, or remove the ${name} folders if there is no such split.`,
		details: {
			path: root,
			split: name
		}
	});
}
function byCodeUnit(a, b) {
	return a < b ? -1 : a > b ? 1 : 0;
}
// src/data/image-folder.ts
var ImageFolder = class ImageFolder {
	dir;
	classLabel;
	splits;
	skipped;
	warnings;
	constructor(content) {
		if (!isObject(content) || typeof content.dir !== "string" || !(content.splits instanceof Map)) throw new ConfigError(`ImageFolder: expected what was read of a folder, got ${describeGiven(content)}`, { hint: "Write await ImageFolder.load(folder); `new` is for those who read folders themselves." });
		this.dir = content.dir;
		this.classLabel = content.classLabel;
		this.splits = content.splits;
		this.skipped = content.skipped;
		this.warnings = content.warnings ?? [];
	}
	static async load(dir, options = {}) {
		return new ImageFolder(await readImageFolder(dir, options));
	}
	static async fromTable(path, options = {}) {
		return new ImageFolder(await readImageTable(path, options));
	}
	async split(options) {
		const present = ["test", "validation"].find((name) => options?.[name] !== void 0 && this.splits.has(name));
		if (present) throw new DataError(`${oneLine(this.dir)}: there is a ${present} split already, of ${this.splits.get(present).length} images`, {
			hint: `Use it, or divide the images of one split: \`data.train.split(…)\`.`,
			details: { path: this.dir }
		});
		const { train, test, validation } = await this.train.split(options);
		const splits = new Map(this.splits).set("train", train);
		if (test) splits.set("test", test);
		if (validation) splits.set("validation", validation);
		const { dir, classLabel, skipped } = this;
		const warnings = [...this.warnings];
		for (const [name, part] of Object.entries({
			test,
			validation
		})) {
			const counts = part?.classCounts();
			const missing = counts ? [...train.classCounts()].filter(([one, n]) => n > 0 && counts.get(one) === 0) : [];
			if (missing.length === 0) continue;
			const names = listNames(missing.map(([one]) => one));
			warnings.push(warningLine(`the split left no image of ${names} in ${name}`));
			process.emitWarning(`${oneLine(dir)}: ${warnings.at(-1)}`, "ImageFolderWarning");
		}
		const order = [
			"train",
			"test",
			"validation"
		].filter((name) => splits.has(name));
		return new ImageFolder({
			dir,
			classLabel,
			skipped,
			warnings,
			splits: new Map(order.map((name) => [name, splits.get(name)]))
		});
	}
	get classNames() {
		return this.classLabel.names;
	}
	get train() {
		return this.#split("train");
	}
	get test() {
		return this.#split("test");
	}
	get validation() {
		return this.#split("validation");
	}
	#split(name) {
		const split = this.splits.get(name);
		if (split) return split;
		const known = [...this.splits.keys()];
		throw new DataError(`${oneLine(this.dir)}: no ${name} split; found: ${known.join(", ")}`, {
			hint: name === "train" ? "`splits.has(name)` tells." : `\`splits.has(name)\` tells. To hold out a part of train: \`await data.split({ ${name}: 0.2 })\`.`,
			details: {
				path: this.dir,
				splits: known
			}
		});
	}
};
// src/data/hub-image-folder.ts
const ownSchema = strictObject({
	dataDir: string().min(1).optional(),
	ignorePatterns: patternsSchema.optional(),
	allowCaseConflicts: boolean().default(false),
	imageColumn: string().min(1).optional(),
	labelColumn: string().min(1).optional()
});
const schema$1 = hubDownloadSchema.extend(imageFolderSchema.shape).extend(ownSchema.shape);
var HubImageFolder = class HubImageFolder extends ImageFolder {
	static async download(name, options = {}) {
		const parsed = parseOptions(schema$1, options, "HubImageFolder.download");
		requirePath(name, "HubImageFolder.download");
		const named = parseDatasetName(name);
		const of = (shape) => Object.fromEntries(Object.entries(parsed).filter(([key]) => Object.hasOwn(shape, key)));
		const ofFolder = of(imageFolderSchema.shape);
		const download = hubDownloadSchema.parse({
			...of(hubDownloadSchema.shape),
			...said("revision", options.revision, named.revision, name)
		});
		const { dataDir } = {
			dataDir: parsed.dataDir,
			...said("dataDir", parsed.dataDir, named.folder, name)
		};
		const { ignorePatterns, allowCaseConflicts, imageColumn, labelColumn } = parsed;
		const columns = {
			imageColumn,
			labelColumn
		};
		const dir = await downloadImageFiles(named.repoId, download, {
			dataDir,
			ignorePatterns,
			allowCaseConflicts,
			...columns
		});
		return new HubImageFolder(await readImageFolder(dir, ofFolder));
	}
	static async fromFolder(dir, options = {}) {
		requirePath(dir, "HubImageFolder.fromFolder");
		return new HubImageFolder(await readImageFolder(dir, options));
	}
};
function said(option, given, named, text) {
	if (named === void 0 || given === named) return {};
	if (given === void 0) return { [option]: named };
	throw new ConfigError(`HubImageFolder.download: \`${option}\` is "${given}", and the address says "${named}"`, {
		hint: "Give one of them.",
		details: { given: text }
	});
}
// src/kaggle/handle.ts
const KAGGLE = "https://www.kaggle.com";
function formatKaggleHandle(source) {
	if ("competition" in source) return `competitions/${source.competition}`;
	const { owner, dataset, version } = source;
	return `${owner}/${dataset}${version === void 0 ? "" : `/versions/${version}`}`;
}
function kagglePage(source) {
	if ("competition" in source) return `${KAGGLE}/competitions/${source.competition}`;
	return `${KAGGLE}/datasets/${source.owner}/${source.dataset}`;
}
// src/kaggle/kaggle-api.ts
function kaggleEndpoint(value) {
	if (!value) return KAGGLE;
	const url = URL.canParse(value) ? new URL(value) : void 0;
	const encrypted = url?.protocol === "https:" || url?.protocol === "http:" && isLoopback(url.hostname);
	if (!url || !encrypted || url.username || url.password || url.search || url.hash) throw new ConfigError("the endpoint is no address that data sets can be fetched from", {
		hint: "Expected https://HOST, or http://localhost:PORT on this machine, without user, password or query.",
		details: url ? {
			protocol: url.protocol,
			host: url.host
		} : {}
	});
	return `${url.origin}${url.pathname}`.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
}
const viewSchema = looseObject({ currentVersionNumber: number().int().positive() });
var KaggleApi = class {
	#options;
	constructor(options) {
		this.#options = options;
	}
	async currentVersion(dataset) {
		const url = this.#url(`datasets/view/${dataset.owner}/${dataset.dataset}`);
		const { value } = await requestJson({
			...this.#settings({
				...dataset,
				version: void 0
			}),
			url
		});
		const view = viewSchema.safeParse(value);
		if (view.success) return view.data.currentVersionNumber;
		throw new KaggleError(`${url}: the answer does not name the current version of the data set`, {
			hint: `Name one: ${dataset.owner}/${dataset.dataset}/versions/N.`,
			url,
			cause: view.error
		});
	}
	downloadArchive(source, path, onProgress) {
		const [url, query, version] = "competition" in source ? [
			this.#url(`competitions/data/download-all/${source.competition}`),
			"",
			""
		] : [
			this.#url(`datasets/download/${source.owner}/${source.dataset}`),
			`?dataset_version_number=${source.version}`,
			`/versions/${source.version}`
		];
		return downloadFile({
			...this.#settings(source),
			url: `${url}${query}`,
			path,
			source: `${url}${version}`,
			readDigests: googleDigests,
			suspectTypes: ["application/json", "text/html"],
			onProgress
		});
	}
	#url(path) {
		return `${this.#options.endpoint}/api/v1/${path}`;
	}
	#settings(source) {
		const { credentials, timeoutMs, retry, signal } = this.#options;
		const privateHeaders = credentials ? { authorization: credentials.authorization } : {};
		const explain = (answer) => this.#explain(answer, source);
		return {
			privateHeaders,
			explain,
			answerTimeoutMs: timeoutMs,
			silenceTimeoutMs: timeoutMs,
			retry,
			signal
		};
	}
	#explain(answer, source) {
		const body = readErrorBody(answer.text);
		const hidden = new URL(answer.url).pathname.startsWith("/account/login") ? 401 : body?.code ?? 0;
		const status = answer.status >= 400 ? answer.status : hidden;
		if (status < 400) return void 0;
		const { credentials } = this.#options;
		const name = formatKaggleHandle(source);
		const page = kagglePage(source);
		const isCompetition = "competition" in source;
		let said = body?.message ?? "";
		for (const secret of credentials?.secrets ?? []) said = said.replaceAll(secret, "***");
		const who = credentials ? `the credentials from ${credentials.source}` : "no credentials";
		const [what, hint] = (() => {
			switch (status) {
				case 401: return credentials ? [`Kaggle does not accept ${who}`, `They may have expired or been revoked. ${CREDENTIALS_HINT}`] : ["Kaggle wants to know who asks, and no credentials were found", isCompetition ? `Accept the rules on ${page}/rules. ${CREDENTIALS_HINT}` : CREDENTIALS_HINT];
				case 403: return [`Kaggle does not allow this download with ${who}`, (isCompetition ? `The rules of the competition must be accepted first: open ${page}/rules signed in. ` : `The data set may be private, or its terms want to be accepted first: open ${page} signed in. `) + (credentials ? "The account may also lack a verified phone number." : CREDENTIALS_HINT)];
				case 404: return [isCompetition ? "Kaggle has no such competition, or one without files" : source.version === void 0 ? "Kaggle has no such data set" : "Kaggle has no such data set, or no such version of it", `Does ${page} exist?${credentials ? "" : ` A private one needs credentials. ${CREDENTIALS_HINT}`}`];
				case 429: return ["Kaggle was asked too often", "Wait some minutes. With credentials more requests are allowed."];
				default: return [`Kaggle answered ${statusLine(status)}`, void 0];
			}
		})();
		return new KaggleError(`${name}: ${what} (${status})${said ? `. It says: ${said}` : ""}`, {
			...statusFields(status, answer.headers, answer.url),
			hint,
			details: { handle: name }
		});
	}
};
function readErrorBody(text) {
	let body;
	try {
		body = JSON.parse(text);
	} catch {
		return;
	}
	if (typeof body !== "object" || body === null) return void 0;
	const { code, message } = body;
	const number = typeof code === "number" || typeof code === "string" ? Number(code) : NaN;
	return {
		code: Number.isInteger(number) && number >= 400 && number < 600 ? number : void 0,
		message: typeof message === "string" ? message.replace(/\s+/g, " ").trim().slice(0, 300) : ""
	};
}
// src/kaggle/kept-archive.ts
const noteSchema = object({
	size: int$1().nonnegative(),
	modified: number(),
	verified: boolean(),
	downloads: int$1().positive(),
	damage: string().optional()
});
var KeptArchive = class KeptArchive {
	path;
	#note;
	constructor(path) {
		this.path = path;
	}
	static async open(path) {
		const archive = new KeptArchive(path);
		const found = await stat(path).catch(() => void 0);
		if (!found) return archive;
		if (!found.isFile()) throw new DiskError(`${path}: a folder, a pipe or a device lies where the archive is kept`, {
			hint: "Remove it.",
			details: { path }
		});
		const note = await readNote(path);
		if (note?.size === found.size && note.modified === found.mtimeMs) archive.#note = note;
		else {
			const downloads = note ? MOST_DOWNLOADS : 1;
			archive.#note = {
				size: found.size,
				modified: found.mtimeMs,
				verified: false,
				downloads
			};
		}
		return archive;
	}
	get isThere() {
		return this.#note !== void 0;
	}
	get damage() {
		return this.#note?.damage;
	}
	get isWorthAnother() {
		return this.#note !== void 0 && !this.#note.verified && this.#note.downloads < MOST_DOWNLOADS;
	}
	async arrived(verified) {
		const { size, mtimeMs } = await stat(this.path);
		const downloads = (this.#note?.downloads ?? 0) + 1;
		this.#note = {
			size,
			modified: mtimeMs,
			verified,
			downloads
		};
		if (downloads > 1) await this.#write();
	}
	async foundDamaged(damage) {
		if (this.#note) this.#note = {
			...this.#note,
			damage
		};
		await this.#write();
	}
	async forget() {
		this.#note = void 0;
		await rm(`${this.path}.json`, { force: true }).catch(() => void 0);
	}
	async remove() {
		await rm(this.path, { force: true });
		await rm(`${this.path}.json`, { force: true });
	}
	refusal(error) {
		const isDamaged = error.fault === "damaged";
		const whole = this.#note?.verified ? "It is as the server has it, by its digest, and" : "It";
		const kept = `${isDamaged ? `${whole} is not downloaded again by itself; \`forceDownload: true\` does.` : "The archive is kept and not downloaded again."} It lies at ${this.path}: unpack it by other means and read the folder by KaggleImageFolder.fromFolder, or delete it.`;
		return error.with({
			hint: error.hint ? `${error.hint} ${kept}` : kept,
			details: {
				...error.details,
				archive: this.path,
				verified: this.#note?.verified ?? false
			}
		});
	}
	async #write() {
		await writeFileAtomically(`${this.path}.json`, `${JSON.stringify(this.#note)}\n`).catch(() => void 0);
	}
};
const MOST_DOWNLOADS = 2;
async function readNote(path) {
	try {
		return noteSchema.parse(await readJson(`${path}.json`));
	} catch {
		return;
	}
}
// src/kaggle/pasted-handle.ts
const EXPECTED = "Expected owner/dataset, or owner/dataset/versions/N for a certain version; competitions/NAME for a competition.";
const SLUG = /^[A-Za-z0-9_-]{1,100}$/;
const VERSION = /^[1-9]\d{0,8}$/;
const OTHER_PAGES = [
	[/^(models|model-instances)$/, "a Kaggle model, not a data set"],
	[/^(code|kernels|notebooks|scripts)$/, "a Kaggle notebook, not a data set"],
	[/^discussions?$/, "a discussion on Kaggle, not a data set"],
	[/^writeups$/, "an article on Kaggle, not a data set"],
	[/^benchmarks$/, "a Kaggle benchmark, not a data set"],
	[/^learn$/, "a Kaggle course, not a data set"],
	[/^organizations$/, "an organisation's page on Kaggle, not a data set"],
	[/^(settings|account|work)$/, "a page of your Kaggle account, not a data set"],
	[/^search$/, "a search on Kaggle, not a data set"],
	[/^docs$/, "a page of documentation, not a data set"],
	[/^rankings$/, "a ranking on Kaggle, not a data set"],
	[/^t$/, "an invitation to a competition: open it, the address that it leads to has its name"]
];
const otherPage = (first) => OTHER_PAGES.find(([pattern]) => pattern.test(first))?.[1];
const DATASET_PAGES = /^(code|data|discussions?|metadata|settings|suggestions|activity|croissant|download|notebooks|usability|versions)$/i;
function parseKaggleHandle(handle) {
	if (typeof handle !== "string") throw new ConfigError(`expected the name of a Kaggle data set, got ${describeGiven(handle)}`, { hint: isPromise(handle) ? "Await it." : EXPECTED });
	if (handle.length > 2e3) throw notAHandle(handle);
	const text = handle.trim();
	return parsePlain(fromPython(text, handle) ?? fromCommand(text, handle) ?? text, handle);
}
function fromPython(text, given) {
	for (const [, module, name = "", rest = ""] of text.matchAll(/\b(\w+)\.(\w+)\(([^)]*)/g)) {
		const texts = [...rest.matchAll(/(\w+\s*=\s*)?(["'])([^"']*)\2/g)].map(([, key, , value]) => ({
			key: key?.replace(/\W/g, ""),
			value
		}));
		const first = texts.find(({ key }) => key === void 0 || /^(handle|dataset|competition)$/.test(key))?.value;
		if (first === void 0) continue;
		if (module === "kagglehub" && texts.some(({ key }) => key === "path")) throw singleFile(given);
		if (name.startsWith("competition")) return /^[\w-]+$/.test(first) ? `competitions/${first}` : first;
		if (name.startsWith("model")) throw other(given, otherPage("models"));
		if (/^(notebook|kernel)/.test(name)) throw other(given, "the output of a Kaggle notebook, not a data set");
		return first;
	}
}
function fromCommand(text, given) {
	const words = text.replace(/\\\r?\n|\]\(/g, " ").split(/\s+/).map((word) => word.replace(/^["'<(]+|["'>),;]+$/g, ""));
	if (words.length === 1) return words[0] === text ? void 0 : words[0];
	const at = words.findIndex((word) => /^[!%$]?kaggle$/.test(word));
	if (at < 0) {
		const addresses = words.filter((word) => /^https?:\/\//i.test(word));
		return addresses.length === 1 ? addresses[0] : void 0;
	}
	const [group = "", action = "", ...rest] = words.slice(at + 1);
	if (/^(kernels?|k)$/.test(group)) throw other(given, otherPage("kernels"));
	if (/^(models?|m)$/.test(group)) throw other(given, otherPage("models"));
	const isCompetition = /^(competitions?|c)$/.test(group);
	if (!isCompetition && !/^(datasets?|d)$/.test(group) || action !== "download") return void 0;
	let name;
	for (let i = 0; i < rest.length; i++) {
		const [, flag, joined] = /^(-{1,2}[a-z-]+)(?:=(.*))?$/.exec(rest[i]) ?? [];
		if (flag === void 0) name ??= rest[i];
		else if (flag === "-f" || flag === "--file") throw singleFile(given);
		else if (/^(-d|--dataset|-c|--competition)$/.test(flag)) name = joined ?? rest[++i];
		else if (/^(-p|--path|-v|--version)$/.test(flag) && joined === void 0) i++;
	}
	return isCompetition && name !== void 0 && !name.includes("/") ? `competitions/${name}` : name;
}
function parsePlain(text, given) {
	const address = /^(?:([a-z][a-z0-9+.-]*):\/\/)?((?:[\w-]+\.)+[a-z]{2,})(?::\d+)?(?=[/?#]|$)(.*)$/is.exec(text);
	if (address || /^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return parseAddress(address, text, given);
	if (/^hf:/i.test(text)) throw onTheHub(text, given);
	if (/^([./~\\]|[A-Za-z]:[\\/])/.test(text) && text !== "/") throw aPath(text, given);
	return parseParts(partsOf$1(text), void 0, false, given);
}
function parseAddress(address, text, given) {
	const [, scheme = "https", host = "", rest = ""] = address ?? [];
	if (/^hf$/i.test(scheme) || /^hf:/i.test(text)) throw onTheHub(text, given);
	if (/^(www\.)?(huggingface\.co|hf\.co)$/i.test(host)) throw onTheHub(`${host}${rest}`, given);
	if (!/^https?$/i.test(scheme) || !/^([a-z]+\.)?kaggle\.com$/i.test(host)) throw notAHandle(given, `${host || text.slice(0, 40)} is not Kaggle.`);
	let [parts, version] = [partsOf$1(rest), versionOf(rest)];
	if (parts[0] === "api" && parts[1] === "v1") {
		const [group, call] = [parts[2], parts[3]];
		if (group === "datasets" && (call === "download" || call === "view")) parts = ["datasets", ...parts.slice(4)];
		else if (group === "competitions" && call === "data" && parts[4] === "download-all") parts = ["competitions", ...parts.slice(5)];
		else if (group === "competitions" && call === "data") throw singleFile(given);
		else throw other(given, "an address of Kaggle's service that gives no data set");
		if (parts.length > 3 || /[?&](file_name|fileName)=/.test(rest)) throw singleFile(given);
	}
	return parseParts(parts, version, true, given);
}
function parseParts(parts, version, isAddress, given) {
	const [first = ""] = parts;
	const group = first.toLowerCase();
	if (group === "competitions" || group === "c") {
		const [, competition = "", page] = parts;
		if (!SLUG.test(competition)) throw other(given, "no certain competition");
		if (page !== void 0 && !isAddress) throw notAHandle(given);
		return { competition };
	}
	const rest = group === "datasets" ? parts.slice(1) : parts;
	const otherKind = otherPage(group);
	if (otherKind !== void 0) throw other(given, otherKind);
	const [owner = "", dataset = "", page, ...more] = rest;
	const isPage = isAddress || group === "datasets";
	if (isPage && rest.length < 2) throw other(given, rest.length === 0 ? "no certain data set" : "a user's page on Kaggle");
	if (rest.length === 1 && SLUG.test(owner)) throw notAHandle(given, `The name of a competition? Give "competitions/${owner}".`);
	if (!SLUG.test(owner) || !SLUG.test(dataset)) throw notAHandle(given);
	let number = version;
	if (page?.toLowerCase() === "versions" && more.length > 0) {
		if (more.length > 1 && !isPage) throw notAHandle(given);
		number = more[0];
	} else if (page !== void 0 && more.length === 0 && /^\d+$/.test(page)) number = page;
	else if (page !== void 0 && !(isPage && DATASET_PAGES.test(page))) throw page.includes(".") ? singleFile(given) : notAHandle(given);
	else if (page?.toLowerCase() === "versions" && !isPage) throw notAHandle(given);
	if (number !== void 0 && !VERSION.test(number)) throw notAHandle(given, `"${number.slice(0, 20)}" is no version: they are counted from 1.`);
	return {
		owner,
		dataset,
		version: number === void 0 ? void 0 : Number(number)
	};
}
function partsOf$1(path) {
	const parts = path.replace(/[?#].*$/s, "").split("/");
	while (parts[0] === "") parts.shift();
	while (parts.at(-1) === "") parts.pop();
	return parts;
}
function versionOf(rest) {
	return /[?&](?:dataset_?version_?number)=([^&#]*)/i.exec(rest)?.[1];
}
function refused$2(given, what, hint = EXPECTED) {
	return new ConfigError(`${showValue(given)} ${what}`, {
		hint,
		details: { handle: given }
	});
}
function notAHandle(given, more = "") {
	return refused$2(given, "names no Kaggle data set", more ? `${more} ${EXPECTED}` : EXPECTED);
}
function other(given, what) {
	return refused$2(given, `names no Kaggle data set, but ${what}`);
}
function singleFile(given) {
	return refused$2(given, "names a single file; data sets are downloaded as a whole", "Give owner/dataset; the option `ignore` leaves out files and folders when they are read.");
}
function onTheHub(text, given) {
	const name = /datasets\/([\w.-]+\/[\w.-]+)/i.exec(text)?.[1];
	const model = /^(?:[\w.]+\/|hf:\/\/)([\w.-]+\/[\w.-]+)/i.exec(text)?.[1];
	const hint = `${model ? `Models are loaded by fromPretrained('${model}'), image` : "Image"} data sets by HubImageFolder.download('owner/name').`;
	return refused$2(given, "is on the Hugging Face Hub, not on Kaggle", name ? `Use HubImageFolder.download('${name}').` : hint);
}
function aPath(text, given) {
	return refused$2(given, "is a path, and names no Kaggle data set", `A folder on this machine is read by KaggleImageFolder.fromFolder(${showValue(text)}). ${EXPECTED}`);
}
// src/kaggle/download-dataset.ts
const kaggleDownloadSchema = strictObject({
	cacheDir: string().min(1).optional(),
	forceDownload: boolean().default(false),
	allowCaseConflicts: boolean().default(false),
	login: union([strictObject({ token: string().min(1) }), strictObject({
		username: string().min(1),
		key: string().min(1)
	})]).optional(),
	endpoint: string().min(1).optional(),
	maxAttempts: number().int().min(1).max(100).default(7),
	retryDelayMs: number().min(0).default(500),
	timeoutMs: number().positive().default(3e4),
	onProgress: callback().optional(),
	onWarning: callback().optional(),
	signal: _instanceof(AbortSignal).optional()
});
async function downloadKaggleDataset(name, input = {}) {
	return download(name, input).catch((error) => {
		if (!(error instanceof TransferError) || error instanceof KaggleError) throw error;
		throw new KaggleError(error.summary, {
			...error,
			cause: error
		});
	});
}
async function download(name, input) {
	const options = parseOptions(kaggleDownloadSchema, input, "KaggleImageFolder.download");
	const emit = options.onWarning ?? ((line) => process.emitWarning(line, "KaggleWarning"));
	const warn = (line) => emit(warningLine(line));
	const endpoint = kaggleEndpoint(options.endpoint ?? process.env["KAGGLE_API_ENDPOINT"]);
	const root = kaggleCacheFolder(options.cacheDir);
	const source = parseKaggleHandle(name);
	const cached = await nameInCache(root, source);
	const isWanted = async (place) => options.forceDownload || !await place.isComplete();
	options.signal?.throwIfAborted();
	const at = (version) => new CachePlace(root, "competition" in cached ? cached : {
		...cached,
		version: version ?? cached.version
	});
	if ("competition" in source || source.version !== void 0) {
		const place = at();
		if (!await isWanted(place)) return place.folder;
	}
	const search = {
		env: process.env,
		home: homedir(),
		onWarning: warn
	};
	const credentials = await findKaggleCredentials(options.login, search);
	const api = (maxAttempts, signal = options.signal) => new KaggleApi({
		endpoint,
		credentials,
		timeoutMs: options.timeoutMs,
		retry: {
			maxAttempts,
			baseDelayMs: options.retryDelayMs,
			onRetry: warn
		},
		signal
	});
	let exact = source;
	if ("dataset" in source && source.version === void 0 && "dataset" in cached) {
		const kept = options.forceDownload ? void 0 : await latestComplete(root, cached);
		exact = {
			...source,
			version: await currentVersion(source, kept, options, api, warn)
		};
	}
	const place = at("dataset" in exact ? exact.version : void 0);
	if (!await isWanted(place)) return place.folder;
	const onWait = () => warn(`${formatKaggleHandle(exact)}: another process downloads it; waiting`);
	const fetchOnce = async (signal) => {
		if (!await isWanted(place)) return;
		await fetchFiles(exact, place, {
			...options,
			signal
		}, api(options.maxAttempts, signal), warn);
	};
	await withLock(place.lock, fetchOnce, {
		signal: options.signal,
		onWait
	});
	return place.folder;
}
async function currentVersion(dataset, kept, options, api, warn) {
	try {
		return await api(kept === void 0 ? options.maxAttempts : Math.min(2, options.maxAttempts)).currentVersion(dataset);
	} catch (error) {
		if (kept === void 0 || !(error instanceof TransferError && error.isTransient)) throw error;
		warn(`${formatKaggleHandle(dataset)}: using version ${kept} from the cache, perhaps not the current one: ${error.summary}`);
		return kept;
	}
}
async function fetchFiles(source, place, options, api, warn) {
	const { onProgress } = options;
	const archive = await KeptArchive.open(place.archive);
	if (options.forceDownload) await archive.forget();
	const fetch = async () => {
		const report = onProgress && (({ received, total }) => onProgress({
			phase: "download",
			received,
			total
		}));
		const { digest } = await api.downloadArchive(source, archive.path, report);
		await archive.arrived(digest !== void 0);
	};
	if (!archive.isThere) await fetch();
	for (;;) try {
		if (archive.damage !== void 0) throw zipError(archive.path, archive.damage);
		await place.replace((dir) => unpack$1(archive.path, dir, options));
		await archive.remove();
		return;
	} catch (error) {
		if (!(error instanceof ArchiveError)) throw error;
		const isDamaged = error.fault === "damaged";
		if (!isDamaged || !archive.isWorthAnother) {
			if (isDamaged) await archive.foundDamaged(error.reason);
			throw archive.refusal(error);
		}
		warn(`${formatKaggleHandle(source)}: the archive is damaged, it is downloaded once more: ${error.summary}`);
		await fetch();
	}
}
async function unpack$1(archive, dir, options) {
	const { signal, onProgress, allowCaseConflicts } = options;
	let reported = Number.NEGATIVE_INFINITY;
	await extractZip(archive, dir, {
		signal,
		allowCaseConflicts,
		onProgress: ({ files, totalFiles }) => {
			const now = performance.now();
			if (!onProgress || now < reported + 100 && files < totalFiles) return;
			reported = now;
			onProgress({
				phase: "extract",
				files,
				totalFiles
			});
		}
	});
}
// src/data/kaggle-image-folder.ts
const downloadSchema = kaggleDownloadSchema.extend(imageFolderSchema.shape);
var KaggleImageFolder = class KaggleImageFolder extends ImageFolder {
	static async download(handle, options = {}) {
		const parsed = parseOptions(downloadSchema, options, "KaggleImageFolder.download");
		const ofFolder = new Set(Object.keys(imageFolderSchema.shape));
		const pick = (isOfFolder) => Object.fromEntries(Object.entries(parsed).filter(([name]) => ofFolder.has(name) === isOfFolder));
		const { onWarning } = parsed;
		const dir = await downloadKaggleDataset(handle, {
			...pick(false),
			onWarning
		});
		return KaggleImageFolder.fromFolder(dir, pick(true));
	}
	static async fromFolder(dir, options = {}) {
		requirePath(dir, "KaggleImageFolder.fromFolder");
		return new KaggleImageFolder(await readImageFolder(dir, options));
	}
};
// src/data/assistant-spans.ts
function openedByTemplate(pieces) {
	const seen = new Set();
	return pieces.flatMap(({ leaf }) => {
		const index = leaf?.messageIndex;
		if (index === void 0 || leaf.role !== "assistant" || seen.has(index)) return [];
		seen.add(index);
		return leaf.kind === "text" ? [] : [index];
	});
}
function assignOwners(pieces, headerOf) {
	const begun = new Set();
	const owned = [];
	let before;
	let offset = 0;
	pieces.forEach((piece, i) => {
		const { text, leaf } = piece;
		const next = pieces[i + 1]?.leaf;
		const isAssistants = next?.role === "assistant" && next.messageIndex !== void 0;
		if (leaf) {
			if (leaf.messageIndex !== void 0) begun.add(leaf.messageIndex);
			owned.push({
				...piece,
				...leaf.messageIndex !== void 0 && { owner: leaf.messageIndex },
				...callOf(leaf)
			});
			before = leaf.messageIndex;
		} else if (isAssistants && before === next.messageIndex) owned.push({
			text,
			owner: before,
			...callOf(next)
		});
		else if (isAssistants && !begun.has(next.messageIndex)) {
			const start = headerOf(next.messageIndex, text, offset);
			if (start > 0) owned.push({ text: text.slice(0, start) });
			if (start < text.length) owned.push({
				text: text.slice(start),
				owner: next.messageIndex,
				...callOf(next)
			});
		} else owned.push({ text });
		offset += text.length;
	});
	return owned;
}
function callOf(leaf) {
	return leaf.role === "assistant" && (leaf.kind === "call" || leaf.kind === "detail") ? { isCall: true } : {};
}
function commonLength(a, b) {
	let length = 0;
	while (length < a.length && a[length] === b[length]) length++;
	return length;
}
function gapsBefore(pieces, isWanted) {
	const gaps = new Map();
	pieces.forEach((piece, i) => {
		const index = piece.leaf?.messageIndex;
		if (index === void 0 || gaps.has(index) || !isWanted(piece)) return;
		const before = pieces[i - 1];
		gaps.set(index, before && !before.leaf ? before.text : "");
	});
	return gaps;
}
function cutAtRanges(pieces, ranges) {
	if (ranges.length === 0) return pieces.map((piece) => ({
		...piece,
		inRange: false
	}));
	const borders = [...new Set(ranges.flat())].sort((a, b) => a - b);
	const cut = [];
	let offset = 0;
	for (const piece of pieces) {
		const end = offset + piece.text.length;
		const stops = [...borders.filter((border) => border > offset && border < end), end];
		let start = offset;
		for (const stop of stops) {
			const range = ranges.findIndex(([from, to]) => from <= start && stop <= to);
			const text = piece.text.slice(start - offset, stop - offset);
			cut.push({
				...piece,
				text,
				inRange: range >= 0,
				...range >= 0 && { range }
			});
			start = stop;
		}
		offset = end;
	}
	return cut.map(({ range, ...piece }, i) => {
		if (range === void 0 || piece.owner !== void 0) return piece;
		const isHere = (other) => other?.range === range && other.owner !== void 0;
		const owner = cut.slice(0, i).findLast(isHere)?.owner ?? cut.slice(i).find(isHere)?.owner;
		return {
			...piece,
			...owner !== void 0 && { owner }
		};
	});
}
function missingLeaves(pieces, leaves, isExpected) {
	const shown = new Set(pieces.map((piece) => piece.leaf));
	return leaves.filter((leaf) => leaf.kind !== "detail" && !shown.has(leaf) && isExpected(leaf));
}
function requireOrder(pieces) {
	const order = pieces.flatMap(({ leaf }) => leaf?.messageIndex === void 0 || leaf.role === "system" || leaf.kind === "detail" ? [] : leaf.messageIndex);
	const swapped = order.findIndex((messageIndex, i) => i > 0 && messageIndex < order[i - 1]);
	if (swapped <= 0) return;
	throw new TextError(`the chat template puts message ${order[swapped - 1]} before message ${order[swapped]}`, {
		hint: "it is made for a single turn; use the template of the model for longer conversations",
		details: { order }
	});
}
// src/data/jinja/error.ts
var JinjaError = class extends Error {
	name = "JinjaError";
};
var OperandError = class extends JinjaError {
	types;
	constructor(message, types) {
		super(message);
		this.types = types;
	}
};
var OutOfBoundsError = class extends TextError {};
function unsupported(what) {
	return new TextError(`the chat template uses ${what}, which is not supported`, { hint: "templates render as Python renders them or not at all: write it without, or use a plain template" });
}
function outOfBounds(why) {
	return new OutOfBoundsError(`the chat template is out of bounds: ${why}`, { hint: "templates run with limits of time and memory, as they come with untrusted files; use a plain one" });
}
// src/data/marked-texts.ts
const LEAK = "keyOfAPart";
const PRIVATE = /[\ue000-\uf8ff]/;
const HARMLESS = /^[\w .,:-]*$/;
const LONGEST_NUMBER = 400;
const NUMBER = /^[\d._+-]+(?:e[+-]?\d+)?$|^[+-]?(?:nan|inf|infinity)$/i;
function isUnmarked(text) {
	return !PRIVATE.test(text) && !text.includes(LEAK);
}
function unusedMarks(text) {
	const used = PRIVATE.test(text) ? new Set(text) : new Set();
	const free = [];
	for (let code = 57344; code <= 63743 && free.length < 3; code++) {
		const char = String.fromCharCode(code);
		if (!used.has(char)) free.push(char);
	}
	const [open, middle, close] = free;
	if (!open || !middle || !close) throw new TextError("the conversation uses every private-use character, none is left to mark its parts");
	let leak = LEAK;
	while (text.includes(leak)) leak += "x";
	return {
		open,
		middle,
		close,
		leak
	};
}
function marker({ open, middle, close }, { keepEnds, tools }, leaves) {
	return (leaf) => {
		const { kind, text } = leaf;
		const isTools = kind === "tool" || kind === "detail" && leaf.messageIndex === void 0;
		const core = keepEnds ? text : text.trim();
		const isPlain = kind === "detail" && HARMLESS.test(text) || kind === "result" && isNumber(text);
		if (core === "" || isPlain || isTools && !tools) return text;
		const start = text.indexOf(core);
		leaves.push({
			...leaf,
			text: core
		});
		const wrapped = `${open}${leaves.length - 1}${middle}${core}${close}`;
		return text.slice(0, start) + wrapped + text.slice(start + core.length);
	};
}
function isNumber(text) {
	return text.length <= LONGEST_NUMBER && NUMBER.test(text.trim());
}
function cutAtMarks(rendered, marks, leaves) {
	const pieces = [];
	let position = 0;
	while (position < rendered.length) {
		const open = rendered.indexOf(marks.open, position);
		const end = open < 0 ? rendered.length : open;
		if (end > position) pieces.push({ text: rendered.slice(position, end) });
		if (open < 0) break;
		const middle = rendered.indexOf(marks.middle, open);
		const close = rendered.indexOf(marks.close, middle);
		const leaf = leaves[Number(rendered.slice(open + 1, middle))];
		if (middle < 0 || close < 0 || !leaf) return void 0;
		const text = rendered.slice(middle + 1, close);
		if (!isWriting(text, leaf.text)) return void 0;
		pieces.push({
			text,
			leaf
		});
		position = close + 1;
	}
	return pieces.every(({ text, leaf }) => leaf || !text.includes(marks.close)) ? pieces : void 0;
}
function isWriting(text, string) {
	let inner = text;
	for (let depth = 0; inner !== void 0 && depth < 3; depth++) {
		if (inner === string) return true;
		inner = unescaped(inner);
	}
	return text.includes("&") && text.replaceAll(/&(?:amp|lt|gt|#34|#39);/g, (name) => HTML[name]) === string;
}
const HTML = {
	"&amp;": "&",
	"&lt;": "<",
	"&gt;": ">",
	"&#34;": "\"",
	"&#39;": "'"
};
function unescaped(text) {
	if (!text.includes("\\")) return void 0;
	try {
		const inner = JSON.parse(`"${text}"`);
		return typeof inner === "string" ? inner : void 0;
	} catch {
		return;
	}
}
function looksLikeToken(text) {
	return /\[[^\s[\]]+\]|<[^\s<>]+>/.test(text);
}
// src/data/template-view.ts
const MAX_DEPTH$2 = 100;
const FORMS = [
	{
		user: "given",
		others: "given"
	},
	{
		user: "string",
		others: "string"
	},
	{
		user: "list",
		others: "list"
	},
	{
		user: "list",
		others: "string"
	},
	{
		user: "string",
		others: "list"
	}
];
function changesNothing({ messages }, forms) {
	return messages.every((message) => {
		const form = formOf(message, forms);
		return shaped(message.content, form) === message.content && !isReasoning(message, forms);
	});
}
function changesLists({ messages }, forms) {
	return messages.some(({ content, role }) => {
		return typeof content !== "string" && (role === "user" ? forms.user : forms.others) === "string";
	});
}
function viewOf({ messages, tools }, forms, leak, put) {
	return {
		messages: messages.map((message, i) => viewOfMessage(message, i, forms, leak, put)),
		tools: tools?.map((tool) => mapStrings(tool, toolPut(put))) ?? null,
		documents: null
	};
}
function formOf({ role }, forms) {
	return role === "user" ? forms.user : forms.others;
}
function shaped(content, form) {
	if (form === "list" && typeof content === "string") return content === "" ? [] : [{
		type: "text",
		text: content
	}];
	const isText = typeof content !== "string" && content.every((part) => part.type === "text");
	return form === "string" && isText ? content.map((part) => part.text).join("") : content;
}
function isReasoning({ role, content }, forms) {
	if (!forms.reasoning || forms.others !== "string" || role !== "assistant" || typeof content === "string") return false;
	const texts = content.findIndex((part) => part.type === "text");
	const last = content.findLastIndex((part) => part.type === "thinking" && part.closed !== false);
	return last >= 0 && (texts < 0 || last < texts) && content.every((part) => part.type !== "image");
}
function viewOfMessage(message, messageIndex, forms, leak, put) {
	const { role, tool_calls, tool_call_id, name } = message;
	const of = (kind, text) => put({
		kind,
		messageIndex,
		role,
		text
	});
	const textKind = role === "tool" ? "result" : "text";
	const part = (given) => {
		if (given.type === "text") return {
			type: "text",
			text: of(textKind, given.text),
			[leak]: ""
		};
		if (given.type === "image") return {
			type: "image",
			[leak]: ""
		};
		const closed = given.closed === void 0 ? {} : { closed: given.closed };
		return {
			type: "thinking",
			thinking: of("thinking", given.thinking),
			...closed,
			[leak]: ""
		};
	};
	const content = shaped(message.content, formOf(message, forms));
	const join = (parts, kind) => {
		return parts.flatMap((given) => given.type === kind ? String(part(given)[kind]) : []).join("");
	};
	return {
		role,
		...isReasoning(message, forms) && typeof content !== "string" ? {
			content: join(content, "text"),
			reasoning_content: join(content, "thinking")
		} : { content: typeof content === "string" ? of(textKind, content) : content.map(part) },
		...tool_calls && { tool_calls: tool_calls.map((call) => viewOfCall(call, of)) },
		...tool_call_id !== void 0 && { tool_call_id: of("detail", tool_call_id) },
		...name !== void 0 && { name: of("detail", name) }
	};
}
function viewOfCall(call, of) {
	const entries = Object.entries(call).map(([key, value]) => {
		if (key !== "function") return [key, mapStrings(value, (text) => of("detail", text))];
		const inner = Object.entries(value).map(([name, part]) => [name, mapStrings(part, (text) => of("call", text), (text) => of("detail", text))]);
		return [key, Object.fromEntries(inner)];
	});
	return Object.fromEntries(entries.filter(([, value]) => value !== void 0));
}
function toolPut(put) {
	return (text, path) => put({
		kind: path.join(".") === "function.name" ? "tool" : "detail",
		text
	});
}
function mapStrings(value, change, changeKey = (text) => change(text, [""]), path = []) {
	if (typeof value === "string") return change(value, path);
	if (typeof value !== "object" || value === null) return value;
	if (path.length > MAX_DEPTH$2) throw new TextError(`tools or arguments lie more than ${MAX_DEPTH$2} deep in one another`, { hint: "no template takes that: keep JSON Schemas and arguments flatter" });
	if (Array.isArray(value)) return value.map((item) => mapStrings(item, change, changeKey, [...path, "[]"]));
	return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== void 0).map(([key, item]) => [changeKey(key), mapStrings(item, change, changeKey, [...path, key])]));
}
function isLearned({ role, weight, train }) {
	return role === "assistant" && weight !== 0 && train !== false;
}
// src/data/template-faults.ts
const formFaults = new WeakSet();
function isAboutForm(error) {
	return formFaults.has(error);
}
function isAboutType(error) {
	const { cause } = error;
	return isAboutForm(error) && (!(cause instanceof Error) || cause instanceof OperandError);
}
function aboutForm(message, options) {
	const error = new TextError(message, options);
	formFaults.add(error);
	return error;
}
function refused$1(cause, messages) {
	if (messages.some(({ content }) => typeof content !== "string") && cause instanceof OperandError && cause.types.includes("list")) return leaked(messages, cause);
	return aboutForm(`the chat template refuses the conversation: ${warningLine(cause.message)}`, {
		hint: refusalHint(messages),
		details: { roles: messages.map((message) => message.role) },
		cause
	});
}
function refusalHint(messages) {
	const own = "the message is the template’s own; check roles and their order";
	const has = (type) => messages.some(({ content }) => typeof content !== "string" && content.some((part) => part.type === type));
	if (has("thinking")) return `${own}; thoughts need a template that knows them, as that of a Reasoning checkpoint`;
	if (has("image")) return `${own}; images need a template for vision models, whose user messages may be lists of parts`;
	if (messages.some(({ tool_calls }) => tool_calls)) return `${own}, and that it takes calls of tools: some want an id of nine characters, others arguments as an object`;
	return own;
}
function leaked(messages, cause) {
	const special = messages.findIndex(({ content }) => typeof content !== "string" && content.some((part) => part.type !== "text"));
	const index = special >= 0 ? special : messages.findIndex(({ content }) => typeof content !== "string");
	const types = messages.flatMap(({ content }) => typeof content === "string" ? [] : content.map(({ type }) => type));
	const others = [...new Set(types)].filter((type) => type !== "text");
	return aboutForm(`the chat template takes strings as content: it ${cause ? "cannot join" : "would write as data"} the list of parts of message ${index} (${messages[index]?.role})${others.length > 0 ? `, and has no place for ${others.join(" and ")} parts` : ""}`, {
		hint: "use a template that goes through the parts of a message, as that of a vision model or TUTORIAL_TEMPLATE",
		details: {
			index,
			role: messages[index]?.role,
			types: [...new Set(types)]
		},
		...cause && { cause }
	});
}
function requireComplete(pieces, leaves, request) {
	const { messages, addGenerationPrompt } = request;
	const lastAsked = messages.findLastIndex((message) => message.role !== "assistant");
	const lastUser = messages.findLastIndex((message) => message.role === "user");
	const [missing] = missingLeaves(pieces, leaves, ({ kind, messageIndex }) => {
		if (messageIndex === void 0) return false;
		if (kind !== "text" && messageIndex < lastUser) return false;
		return !(addGenerationPrompt && messageIndex > lastAsked);
	});
	if (!missing) return;
	const { kind, messageIndex, role, text } = missing;
	const error = new TextError(`the chat template leaves out ${{
		text: "text",
		thinking: "a thought",
		call: "a tool call",
		result: "the tool’s answer"
	}[kind]} of message ${messageIndex} (${role})`, {
		hint: kind === "text" ? "use a template that knows this role and kind of content" : "use the template of a checkpoint that knows tools and thoughts (those of Ministral 3 know both)",
		details: {
			messageIndex,
			role,
			text: text.slice(0, 200)
		}
	});
	if (kind === "thinking") formFaults.add(error);
	throw error;
}
function requireHarmless({ tools }) {
	const strings = [];
	viewOf({
		messages: [],
		tools
	}, FORMS[0], "leak", ({ text }) => {
		strings.push(text);
		return text;
	});
	const bad = strings.find(looksLikeToken);
	if (bad === void 0) return;
	throw new TextError("the chat template changes the tools, and one of their texts could pass for a control token", {
		hint: "take names in square or angle brackets out of the descriptions of the tools",
		details: { text: bad.slice(0, 200) }
	});
}
// src/data/arrange-template.ts
const asIs = ({ text }) => text;
const PROBE$1 = "x";
var TemplateArranger = class {
	#template;
	#names;
	#text;
	#isUnmarked;
	#forms;
	#marksAnswers;
	#prompt;
	constructor(template, names, source, marksAnswers) {
		this.#template = template;
		this.#names = names;
		this.#text = source + Object.values(names).join("");
		const reasoning = source.includes("reasoning_content");
		this.#forms = reasoning ? FORMS.map((forms) => ({
			...forms,
			reasoning
		})) : FORMS;
		this.#isUnmarked = isUnmarked(this.#text);
		this.#marksAnswers = marksAnswers;
	}
	render(request) {
		const given = FORMS[0];
		const { leak } = this.#marksFor(request);
		let text;
		let failure;
		try {
			text = this.#run(request, given, leak, asIs).text;
		} catch (error) {
			if (error instanceof OutOfBoundsError) throw error;
			failure = error;
		}
		const leaks = text?.includes(leak) ?? false;
		if (text !== void 0 && !leaks && !lacksText(text, request.messages)) return text;
		try {
			return this.#cut(request).text;
		} catch (error) {
			if (text === void 0) throw failure;
			if (leaks) throw error;
			return text;
		}
	}
	arrange(request) {
		const cut = this.#cut(request);
		const { text, pieces, ranges } = cut;
		const opened = this.#marksAnswers ? [] : openedByTemplate(pieces);
		const headers = opened.length > 0 ? this.#headers(request, cut, opened) : void 0;
		return {
			text,
			pieces: cutAtRanges(assignOwners(pieces, (index, gap, offset) => {
				if (this.#marksAnswers) return gap.length;
				if (headers && opened.includes(index)) return this.#startOf(request, cut, headers, index, gap, offset);
				const { prompt, lead } = this.#generationPrompt();
				const found = prompt === "" ? -1 : gap.lastIndexOf(prompt);
				if (found >= 0) return found + prompt.length;
				return prompt === "" && gap.endsWith(lead) ? gap.length - lead.length : gap.length;
			}), ranges)
		};
	}
	continuation({ messages, tools }) {
		const last = messages.at(-1);
		const index = messages.length - 1;
		if (last?.role !== "assistant" || (last.tool_calls?.length ?? 0) > 0) {
			const found = last === void 0 ? "no message" : last.role === "assistant" ? "one that calls tools" : last.role;
			throw new TextError(`the last message cannot be continued: expected text of the assistant, got ${found}`, { hint: "an answer begins with a last message { role: \"assistant\", content: \"…\", prefix: true }" });
		}
		const { content } = last;
		const end = typeof content === "string" ? void 0 : content.at(-1);
		const isClosed = end?.type === "thinking" && end.closed !== false;
		const probe = {
			type: "text",
			text: PROBE$1
		};
		const probed = isClosed ? messages.with(-1, {
			...last,
			content: [...content, probe]
		}) : messages;
		const { pieces } = this.arrange({
			messages: probed,
			addGenerationPrompt: false,
			...tools && { tools }
		});
		const stop = pieces.findLastIndex((piece) => piece.leaf?.messageIndex === index);
		if (stop < 0) throw new TextError("the last message cannot be continued: it has no text", { hint: "leave it out, and the answer begins anew" });
		const kept = pieces.slice(0, isClosed ? stop : stop + 1);
		return {
			text: kept.map(({ text }) => text).join(""),
			pieces: kept
		};
	}
	#marksFor({ messages, tools }) {
		return this.#isUnmarked && !tools && messages.every(hasPlainTexts) ? unusedMarks("") : unusedMarks(this.#text + JSON.stringify(viewOf({
			messages,
			tools
		}, FORMS[0], "leak", asIs)));
	}
	#run(request, forms, leak, put, tracked = false) {
		const items = {
			...viewOf(request, forms, leak, put),
			add_generation_prompt: request.addGenerationPrompt,
			...this.#names
		};
		try {
			if (!tracked) return {
				text: this.#template.render(items),
				ranges: []
			};
			const { text, generation } = this.#template.renderTracked(items);
			return {
				text,
				ranges: generation
			};
		} catch (cause) {
			if (cause instanceof TextError) throw cause;
			throw refused$1(cause, request.messages);
		}
	}
	#cut(request) {
		const marks = this.#marksFor(request);
		let first;
		let reported;
		for (const [i, forms] of this.#forms.entries()) {
			if (i > 0 && changesNothing(request, forms)) continue;
			if (first && !isAboutForm(first) && changesLists(request, forms)) continue;
			try {
				return this.#cutAs(request, forms, marks);
			} catch (error) {
				if (!(error instanceof TextError) || error instanceof OutOfBoundsError) throw error;
				first ??= error;
				if (!reported || isAboutType(reported) && !isAboutForm(error)) reported = error;
			}
		}
		throw reported;
	}
	#cutAs(request, forms, marks) {
		const { text, ranges } = this.#run(request, forms, marks.leak, asIs, this.#marksAnswers);
		if (text.includes(marks.leak)) throw leaked(request.messages);
		const markings = [
			{
				keepEnds: true,
				tools: true
			},
			{
				keepEnds: false,
				tools: true
			},
			...request.tools?.length ? [true, false].map((keepEnds) => ({
				keepEnds,
				tools: false
			})) : []
		];
		for (const marking of markings) {
			const leaves = [];
			const rendered = this.#tryRun(request, forms, marks, marker(marks, marking, leaves));
			const pieces = rendered === void 0 ? void 0 : cutAtMarks(rendered, marks, leaves);
			if (!pieces || pieces.map((piece) => piece.text).join("") !== text) continue;
			if (!marking.tools) requireHarmless(request);
			requireComplete(pieces, leaves, request);
			requireOrder(pieces);
			return {
				text,
				pieces,
				ranges,
				forms,
				keepEnds: marking.keepEnds
			};
		}
		throw new TextError("the chat template changes the texts of messages, so text and markup cannot be told apart", { hint: "filters such as `upper`, `replace` or `truncate` on message content are not supported; `trim` is" });
	}
	#tryRun(request, forms, marks, put) {
		try {
			const { text } = this.#run(request, forms, marks.leak, put);
			return text.includes(marks.leak) ? void 0 : text;
		} catch (error) {
			if (!(error instanceof TextError) || error instanceof OutOfBoundsError) throw error;
			return;
		}
	}
	#headers(request, { forms, keepEnds }, opened) {
		const headers = new Map();
		for (const keepsCalls of [true, false]) {
			const messages = request.messages.map((message, i) => {
				if (!opened.includes(i) || headers.has(i)) return message;
				const { content, tool_calls, ...rest } = message;
				const probed = typeof content === "string" ? PROBE$1 : [{
					type: "text",
					text: PROBE$1
				}, ...keepsCalls ? content : []];
				return {
					...rest,
					content: probed,
					...keepsCalls && tool_calls && { tool_calls }
				};
			});
			const marks = this.#marksFor({
				...request,
				messages
			});
			const leaves = [];
			const put = marker(marks, {
				keepEnds,
				tools: true
			}, leaves);
			const rendered = this.#tryRun({
				...request,
				messages
			}, forms, marks, put);
			const pieces = rendered === void 0 ? void 0 : cutAtMarks(rendered, marks, leaves);
			const isProbe = ({ leaf, text }) => leaf?.kind === "text" && text === PROBE$1 && opened.includes(leaf.messageIndex);
			for (const [index, gap] of gapsBefore(pieces ?? [], isProbe)) if (!headers.has(index)) headers.set(index, gap);
			if (opened.every((index) => headers.has(index))) break;
		}
		return headers;
	}
	promptFault() {
		return this.#generationPrompt().fault;
	}
	#generationPrompt() {
		this.#prompt ??= this.#findPrompt();
		return this.#prompt;
	}
	#findPrompt() {
		const question = {
			role: "user",
			content: "a"
		};
		const of = (messages, addGenerationPrompt) => unlessRefused(() => this.render({
			messages,
			addGenerationPrompt
		}));
		const open = of([question], true);
		const closed = of([question], false);
		if (open === void 0) return {
			prompt: "",
			lead: ""
		};
		const prompt = closed && open.startsWith(closed) ? open.slice(closed.length) : "";
		const answered = of([question, {
			role: "assistant",
			content: PROBE$1
		}], false);
		if (answered === void 0) return {
			prompt,
			lead: ""
		};
		if (!answered.startsWith(open.trimEnd())) return {
			prompt,
			lead: "",
			fault: `it ends a prompt with ${JSON.stringify((prompt || open.slice(commonLength(open, answered))).slice(-60))}, which does not stand before an answer`
		};
		const end = answered.startsWith(open) ? answered.indexOf(PROBE$1, open.length) : -1;
		const lead = end < 0 ? "" : answered.slice(open.length, end);
		if (prompt !== "" || lead.trim() === "") return {
			prompt,
			lead
		};
		return {
			prompt,
			lead: "",
			fault: `it writes ${JSON.stringify(lead.slice(0, 60))} before an answer, but not at the end of a prompt`
		};
	}
	#startOf(request, { text, forms }, headers, index, gap, offset) {
		const header = headers.get(index);
		if (header !== void 0) return commonLength(gap, header);
		const before = {
			...request,
			messages: request.messages.slice(0, index)
		};
		const { leak } = this.#marksFor(request);
		const run = (addGenerationPrompt) => unlessRefused(() => this.#run({
			...before,
			addGenerationPrompt
		}, forms, leak, asIs).text);
		const [open, closed] = [run(true), run(false)];
		if (open !== void 0 && text.startsWith(open) && open.length >= offset) return open.length - offset;
		const prompt = closed !== void 0 && open?.startsWith(closed) ? open.slice(closed.length) : "";
		const found = prompt === "" ? -1 : gap.lastIndexOf(prompt);
		if (found >= 0) return found + prompt.length;
		throw new TextError(`it cannot be told where the answer of message ${index} begins in the chat template`, {
			hint: "put {% generation %} and {% endgeneration %} around what the template writes for the assistant",
			details: {
				index,
				before: gap.slice(0, 200)
			}
		});
	}
};
function unlessRefused(render) {
	try {
		return render();
	} catch {
		return;
	}
}
function hasPlainTexts({ content, tool_calls, tool_call_id, name }) {
	if (tool_calls || tool_call_id !== void 0 || name !== void 0) return false;
	return partsOf$2(content).every((part) => part.type === "image" || part.type === "text" && isUnmarked(part.text));
}
function lacksText(rendered, messages) {
	return messages.some(({ content }) => partsOf$2(content).some((part) => part.type === "text" && !rendered.includes(part.text.trim())));
}
// src/data/jinja/budget.ts
const MAX_VALUE = 262144;
const MAX_TOTAL = 16777216;
const MAX_CALLS = 120;
var Budget = class {
	#maxValue = Number.POSITIVE_INFINITY;
	#left = Number.POSITIVE_INFINITY;
	#calls = 0;
	constructor(inputSize, total = Number.POSITIVE_INFINITY) {
		this.#maxValue = MAX_VALUE + 4 * inputSize;
		this.#left = Math.min(MAX_TOTAL + 256 * inputSize, total);
	}
	get isSpent() {
		return this.#left < 0;
	}
	spend(units) {
		this.#left -= units;
		if (!(this.#left >= 0)) {
			this.#left = -1;
			throw outOfBounds("a loop, a macro or a filter multiplies without end");
		}
	}
	expect(size) {
		if (!(size <= this.#maxValue)) throw outOfBounds(`a value would have ${Math.ceil(size)} characters`);
		this.spend(size);
	}
	checkSize(size) {
		if (!(size <= this.#maxValue)) throw outOfBounds(`a value would have ${Math.ceil(size)} characters`);
	}
	call(run) {
		if (++this.#calls > MAX_CALLS) throw outOfBounds(`macros call one another more than ${MAX_CALLS} deep`);
		this.spend(256);
		const result = run();
		this.#calls--;
		return result;
	}
};
// src/data/jinja/python-text.ts
const SURROGATE = /[\ud800-\udfff]/;
function isPlain(text) {
	return !SURROGATE.test(text);
}
function characters(text) {
	return isPlain(text) ? text.split("") : Array.from(text);
}
function textLength(text) {
	if (isPlain(text)) return text.length;
	let length = 0;
	for (const _ of text) length++;
	return length;
}
function isSpace(code) {
	if (code < 128) return code === 32 || code >= 9 && code <= 13 || code >= 28 && code <= 31;
	return code === 133 || code === 160 || code === 5760 || code >= 8192 && code <= 8202 || code === 8232 || code === 8233 || code === 8239 || code === 8287 || code === 12288;
}
function firstKept(text, chars) {
	let start = 0;
	if (chars === void 0) {
		while (start < text.length && isSpace(text.charCodeAt(start))) start++;
		return start;
	}
	const set = new Set(characters(chars));
	while (start < text.length) {
		const char = String.fromCodePoint(text.codePointAt(start));
		if (!set.has(char)) break;
		start += char.length;
	}
	return start;
}
function lastKept(text, chars, from) {
	let end = text.length;
	if (chars === void 0) {
		while (end > from && isSpace(text.charCodeAt(end - 1))) end--;
		return end;
	}
	const set = new Set(characters(chars));
	while (end > from) {
		const pair = end - 2 >= from ? text.codePointAt(end - 2) : 0;
		const char = pair > 65535 ? String.fromCodePoint(pair) : text[end - 1];
		if (!set.has(char)) break;
		end -= char.length;
	}
	return end;
}
function stripStart(text, chars) {
	return text.slice(firstKept(text, chars));
}
function stripEnd(text, chars) {
	return text.slice(0, lastKept(text, chars, 0));
}
function strip(text, chars) {
	const start = firstKept(text, chars);
	return text.slice(start, lastKept(text, chars, start));
}
function compareText(a, b) {
	if (a === b) return 0;
	if (isPlain(a) || isPlain(b)) {
		if (isPlain(a) && isPlain(b)) return a < b ? -1 : 1;
	}
	const [left, right] = [Array.from(a), Array.from(b)];
	for (let i = 0; i < left.length && i < right.length; i++) {
		const difference = left[i].codePointAt(0) - right[i].codePointAt(0);
		if (difference !== 0) return difference;
	}
	return left.length - right.length;
}
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;
function splitLines(text, keepEnds = false) {
	const lines = [];
	let start = 0;
	for (const match of text.matchAll(LINE_END)) {
		const end = match.index + match[0].length;
		lines.push(text.slice(start, keepEnds ? end : match.index));
		start = end;
	}
	if (start < text.length) lines.push(text.slice(start));
	return lines;
}
function split(text, separator, max, fromEnd) {
	if (separator === void 0) return fromEnd ? splitSpaceFromEnd(text, max) : splitSpace(text, max);
	if (max < 0) return text.split(separator);
	const parts = [];
	if (fromEnd) {
		let end = text.length;
		while (parts.length < max) {
			const at = end - separator.length < 0 ? -1 : text.lastIndexOf(separator, end - separator.length);
			if (at < 0) break;
			parts.unshift(text.slice(at + separator.length, end));
			end = at;
		}
		return [text.slice(0, end), ...parts];
	}
	let start = 0;
	while (parts.length < max) {
		const at = text.indexOf(separator, start);
		if (at < 0) break;
		parts.push(text.slice(start, at));
		start = at + separator.length;
	}
	return [...parts, text.slice(start)];
}
function splitSpace(text, max) {
	const parts = [];
	let at = 0;
	for (;;) {
		while (at < text.length && isSpace(text.charCodeAt(at))) at++;
		if (at >= text.length) return parts;
		if (max >= 0 && parts.length >= max) {
			parts.push(text.slice(at));
			return parts;
		}
		const start = at;
		while (at < text.length && !isSpace(text.charCodeAt(at))) at++;
		parts.push(text.slice(start, at));
	}
}
function splitSpaceFromEnd(text, max) {
	const parts = [];
	let end = text.length;
	for (;;) {
		while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
		if (end === 0) break;
		if (max >= 0 && parts.length >= max) {
			parts.push(text.slice(0, end));
			break;
		}
		let start = end;
		while (start > 0 && !isSpace(text.charCodeAt(start - 1))) start--;
		parts.push(text.slice(start, end));
		end = start;
	}
	return parts.reverse();
}
const ESCAPED = /['\\\p{C}\p{Z}]/gu;
function quote(text) {
	const mark = text.includes("'") && !text.includes("\"") ? "\"" : "'";
	return mark + text.replace(ESCAPED, (char) => {
		if (char === "'") return mark === "'" ? "\\'" : "'";
		if (char === " ") return " ";
		const short = {
			"\\": "\\\\",
			"\n": "\\n",
			"\r": "\\r",
			"	": "\\t"
		}[char];
		if (short) return short;
		const code = char.codePointAt(0);
		const hex = code.toString(16);
		return code < 256 ? `\\x${hex.padStart(2, "0")}` : code < 65536 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
	}) + mark;
}
function titled(char) {
	const upper = char.toUpperCase();
	if (char === "ß") return "Ss";
	if (upper.length > char.length || /[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff\u1f80-\u1fff]/.test(char)) throw unsupported(`the title case of ${char}`);
	return upper;
}
function capitalize(text) {
	const first = characters(text)[0];
	return first === void 0 ? "" : titled(first) + lowered(text, first.length);
}
function lowered(text, start) {
	const rest = text.slice(start);
	if (rest.includes("Σ")) throw unsupported("the lower case of a sigma within a word");
	return rest.toLowerCase();
}
function titleCase(text) {
	if (text.includes("Σ")) throw unsupported("the title case of a sigma");
	let result = "";
	let isInWord = false;
	for (const char of text) {
		const isCased = /[\p{Uppercase}\p{Lowercase}\p{Lt}]/u.test(char);
		result += isInWord || !isCased ? char.toLowerCase() : titled(char);
		isInWord = isCased;
	}
	return result;
}
// src/data/jinja/python-numbers.ts
function formatFloat(value) {
	if (Number.isNaN(value)) return "nan";
	if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
	if (Object.is(value, -0)) return "-0.0";
	const [mantissa, exponent] = value.toExponential().split("e");
	const power = Number(exponent);
	if (power < -4 || power >= 16) return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
	return Number.isInteger(value) ? `${value}.0` : String(value);
}
function checkInteger(value) {
	if (!Number.isSafeInteger(value)) throw unsupported("integers beyond 2 ** 53");
	return value === 0 ? 0 : value;
}
function toFixed(value, decimals) {
	if (Math.abs(value) >= 1e21 || decimals > 60) throw unsupported("such a large number in a format");
	const exact = Math.abs(value).toFixed(100);
	const cut = exact.indexOf(".") + 1 + decimals;
	const rest = exact.slice(cut);
	const sign = value < 0 || Object.is(value, -0) ? "-" : "";
	if (!/^50*$/.test(rest)) return sign + Math.abs(value).toFixed(decimals);
	const down = exact.slice(0, cut).replace(/\.$/, "");
	return sign + (Number(down.at(-1)) % 2 === 0 ? down : Math.abs(value).toFixed(decimals));
}
function roundFloat(value, decimals) {
	if (!Number.isFinite(value) || decimals > 22) return value;
	if (decimals >= 0) return Number(toFixed(value, decimals));
	throw unsupported("rounding a float to tens");
}
function roundInteger(value, decimals) {
	if (decimals >= 0) return value;
	if (decimals < -15) return 0;
	const unit = 10 ** -decimals;
	const rest = (value % unit + unit) % unit;
	const down = value - rest;
	return checkInteger(rest * 2 > unit || rest * 2 === unit && down / unit % 2 !== 0 ? down + unit : down);
}
function parseInteger(text, base = 10) {
	const match = /^([+-]?)(0[bB]_?|0[oO]_?|0[xX]_?)?([\da-zA-Z]+(?:_[\da-zA-Z]+)*)$/.exec(strip(text));
	if (!match) {
		if (/\P{ASCII}/u.test(text) && /^\s*[+-]?[\p{Nd}_]+\s*$/u.test(text)) throw unsupported("digits beyond ASCII");
		return;
	}
	const [, sign, prefix = "", rest] = match;
	const named = {
		b: 2,
		o: 8,
		x: 16
	}[prefix[1]?.toLowerCase() ?? ""];
	let digits = rest.replaceAll("_", "");
	let radix = base;
	if (named !== void 0 && (base === 0 || base === named)) radix = named;
	else if (prefix) digits = prefix.replaceAll("_", "") + digits;
	else if (base === 0) {
		radix = 10;
		if (/^0/.test(digits) && /[^0]/.test(digits)) return void 0;
	}
	if (prefix.endsWith("_") && radix === base && named !== base) return void 0;
	if (radix < 2 || radix > 36) throw new JinjaError("int() base must be >= 2 and <= 36, or 0");
	let value = 0;
	for (const digit of digits.toLowerCase()) {
		const number = Number.parseInt(digit, 36);
		if (Number.isNaN(number) || number >= radix) return void 0;
		value = checkInteger(value * radix + number);
	}
	return sign === "-" ? checkInteger(-value) : value;
}
const FLOAT$1 = /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i;
function parseFloatText(text) {
	const plain = strip(text);
	if (FLOAT$1.test(plain)) return Number(plain.replaceAll("_", ""));
	const word = /^([+-]?)(inf|infinity|nan)$/i.exec(plain);
	if (word) return word[2].toLowerCase() === "nan" ? NaN : word[1] === "-" ? -Infinity : Infinity;
	if (/(?![0-9])\p{Nd}/u.test(plain)) throw unsupported("digits beyond ASCII");
}
// src/data/jinja/python-values.ts
var PyFloat = class {
	value;
	constructor(value) {
		this.value = value;
	}
};
var PyTuple = class {
	items;
	names;
	constructor(items, names = []) {
		this.items = items;
		this.names = names;
	}
};
var PyRange = class {
	start;
	stop;
	step;
	length;
	constructor(start, stop, step) {
		this.start = start;
		this.stop = stop;
		this.step = step;
		this.length = Math.max(0, Math.ceil((stop - start) / step));
	}
	at(index) {
		return this.start + index * this.step;
	}
};
var PyView = class {
	kind;
	dict;
	constructor(kind, dict) {
		this.kind = kind;
		this.dict = dict;
	}
	*[Symbol.iterator]() {
		if (this.kind === "keys") yield* this.dict.keys();
		else if (this.kind === "values") yield* this.dict.values();
		else for (const [key, value] of this.dict) yield new PyTuple([key, value]);
	}
};
var PyIterator = class {
	iterator;
	constructor(iterator) {
		this.iterator = iterator;
	}
};
var PyFunction = class {
	name;
	call;
	constructor(name, call) {
		this.name = name;
		this.call = call;
	}
};
var PyObject = class {
	kind;
	attribute;
	call;
	print;
	constructor(kind, attribute, call, print) {
		this.kind = kind;
		this.attribute = attribute;
		this.call = call;
		this.print = print;
	}
};
var Namespace = class extends PyObject {
	attributes;
	constructor(attributes) {
		super("Namespace", (name) => attributes.get(name), void 0, (budget, depth) => `<Namespace ${repr(attributes, budget, depth)}>`);
		this.attributes = attributes;
	}
};
var Markup = class {
	text;
	constructor(text) {
		this.text = text;
	}
};
var Undefined = class {
	message;
	constructor(message) {
		this.message = message;
	}
	fail() {
		return new JinjaError(this.message);
	}
};
function typeName(value) {
	if (value === null) return "NoneType";
	if (typeof value === "boolean") return "bool";
	if (typeof value === "number") return "int";
	if (typeof value === "string") return "str";
	if (value instanceof PyFloat) return "float";
	if (Array.isArray(value)) return "list";
	if (value instanceof Map) return "dict";
	if (value instanceof PyTuple) return "tuple";
	if (value instanceof PyRange) return "range";
	if (value instanceof PyView) return `dict_${value.kind}`;
	if (value instanceof PyIterator) return "generator";
	if (value instanceof PyFunction) return "builtin_function_or_method";
	if (value instanceof PyObject) return value.kind;
	return value instanceof Markup ? "Markup" : "Undefined";
}
function isTrue(value) {
	if (typeof value === "boolean") return value;
	if (value === null || value === "" || value === 0) return false;
	if (typeof value === "string" || typeof value === "number") return true;
	if (Array.isArray(value)) return value.length > 0;
	if (value instanceof Map) return value.size > 0;
	if (value instanceof Undefined) return false;
	if (value instanceof PyFloat) return value.value !== 0;
	if (value instanceof PyTuple) return value.items.length > 0;
	if (value instanceof PyRange) return value.length > 0;
	if (value instanceof PyView) return value.dict.size > 0;
	if (value instanceof Markup) return value.text !== "";
	if (value instanceof PyObject && value.kind === "LoopContext") return isTrue(value.attribute("length"));
	return true;
}
function asNumber(value) {
	if (typeof value === "number") return value;
	if (typeof value === "boolean") return value ? 1 : 0;
	return value instanceof PyFloat ? value.value : void 0;
}
function asInteger(value) {
	if (typeof value === "boolean") return value ? 1 : 0;
	return typeof value === "number" ? value : void 0;
}
function asText(value) {
	if (typeof value === "string") return value;
	return value instanceof Markup ? value.text : void 0;
}
function asItems(value) {
	if (Array.isArray(value)) return value;
	return value instanceof PyTuple ? value.items : void 0;
}
function lengthOf(value) {
	const items = asItems(value);
	if (items) return items.length;
	const text = asText(value);
	if (text !== void 0) return textLength(text);
	if (value instanceof Map) return value.size;
	if (value instanceof PyRange) return value.length;
	if (value instanceof PyView) return value.dict.size;
	if (value instanceof Undefined) return 0;
	if (value instanceof PyObject && value.kind === "LoopContext") return value.attribute("length");
	throw new JinjaError(`object of type '${typeName(value)}' has no len()`);
}
function iterate(value, budget) {
	const items = asItems(value);
	if (items) return items.values();
	const text = asText(value);
	if (text !== void 0) {
		budget.spend(text.length);
		return characters(text).values();
	}
	if (value instanceof Map) return value.keys();
	if (value instanceof PyRange) return rangeItems(value);
	if (value instanceof PyView) return value[Symbol.iterator]();
	if (value instanceof PyIterator) return value.iterator;
	if (value instanceof Undefined) return [].values();
	if (value instanceof PyObject && value.kind === "LoopContext") throw unsupported("a loop over `loop`");
	throw new JinjaError(`'${typeName(value)}' object is not iterable`);
}
function* rangeItems(range) {
	for (let i = 0; i < range.length; i++) yield range.at(i);
}
function toList(value, budget) {
	const list = [];
	const iterator = iterate(value, budget);
	for (let step = iterator.next(); !step.done; step = iterator.next()) {
		budget.spend(16);
		list.push(step.value);
	}
	return list;
}
function toText(value, budget) {
	if (typeof value === "string") return value;
	if (value instanceof Undefined) return "";
	if (value instanceof Markup) return value.text;
	return repr(value, budget, 0);
}
function repr(value, budget, depth) {
	if (value === null) return "None";
	if (typeof value === "boolean") return value ? "True" : "False";
	if (typeof value === "number") return String(value);
	if (typeof value === "string") {
		budget.spend(value.length);
		return quote(value);
	}
	if (value instanceof PyFloat) return formatFloat(value.value);
	if (value instanceof Undefined) return "Undefined";
	if (value instanceof Markup) return `Markup(${quote(value.text)})`;
	if (depth >= 64) throw outOfBounds(`lists and objects lie more than 64 deep in one another`);
	const items = asItems(value);
	if (items) {
		budget.spend(16 * (1 + items.length));
		const text = items.map((item) => repr(item, budget, depth + 1)).join(", ");
		return Array.isArray(value) ? `[${text}]` : `(${text}${items.length === 1 ? "," : ""})`;
	}
	if (value instanceof Map) {
		budget.spend(16 * (1 + value.size));
		return `{${[...value].map(([key, item]) => `${repr(key, budget, depth + 1)}: ${repr(item, budget, depth + 1)}`).join(", ")}}`;
	}
	if (value instanceof PyRange) return `range(${value.start}, ${value.stop}${value.step === 1 ? "" : `, ${value.step}`})`;
	if (value instanceof PyView) return `dict_${value.kind}(${repr(toList(value, budget), budget, depth + 1)})`;
	if (value instanceof PyObject && value.print) return value.print(budget, depth + 1);
	throw unsupported(`the printed form of a ${typeName(value)}, which holds an address in Python,`);
}
function isEqual(a, b, budget, depth = 0) {
	if (a === b) return true;
	const [left, right] = [asNumber(a), asNumber(b)];
	if (left !== void 0 || right !== void 0) return left === right;
	const [text, other] = [asText(a), asText(b)];
	if (text !== void 0 || other !== void 0) return text === other;
	if (a instanceof Undefined || b instanceof Undefined) return a instanceof Undefined && b instanceof Undefined;
	if (a === null || b === null) return false;
	if (depth >= 64) throw outOfBounds(`lists and objects lie more than 64 deep in one another`);
	const [items, others] = [asItems(a), asItems(b)];
	if (items && others) {
		if (Array.isArray(a) !== Array.isArray(b) || items.length !== others.length) return false;
		budget.spend(items.length);
		return items.every((item, i) => isEqual(item, others[i], budget, depth + 1));
	}
	if (a instanceof Map && b instanceof Map) {
		if (a.size !== b.size) return false;
		budget.spend(a.size);
		for (const [key, item] of a) {
			const match = b.get(key);
			if (match === void 0 || !isEqual(item, match, budget, depth + 1)) return false;
		}
		return true;
	}
	if (a instanceof PyRange && b instanceof PyRange) {
		if (a.length !== b.length) return false;
		return a.length === 0 || a.start === b.start && (a.length === 1 || a.step === b.step);
	}
	if (a instanceof PyView && b instanceof PyView) throw unsupported("a comparison of the views of two dicts");
	if (a instanceof PyFunction && b instanceof PyFunction) throw unsupported("a comparison of two functions");
	return false;
}
function toKey(value) {
	if (typeof value === "string" || typeof value === "number" || value === null) return value;
	if (value instanceof Markup) return value.text;
	if (Array.isArray(value) || value instanceof Map) throw new JinjaError(`unhashable type: '${typeName(value)}'`);
	throw unsupported(`a ${typeName(value)} as key of a dict`);
}
// src/data/jinja/python-arguments.ts
const NO_KWARGS = new Map();
function bind(callee, names, args, kwargs = NO_KWARGS) {
	if (args.length > names.length) throw new JinjaError(`${callee}() takes ${names.length} arguments, got ${args.length}`);
	const values = names.map((_, i) => args[i]);
	for (const [name, value] of kwargs) {
		const at = names.findIndex((known) => known.replace("!", "") === name);
		if (at < 0) throw new JinjaError(`${callee}() got an unexpected keyword argument '${name}'`);
		if (at < args.length) throw new JinjaError(`${callee}() got multiple values for argument '${name}'`);
		values[at] = value;
	}
	names.forEach((name, i) => {
		if (values[i] === void 0 && name.includes("!")) throw new JinjaError(`${callee}() misses the argument '${name}'`);
	});
	return values;
}
function textOf(value, callee) {
	const text = asText(value);
	if (text === void 0) throw new JinjaError(`${callee}() expects a str, got ${typeName(value)}`);
	return text;
}
function integerOf(value, callee) {
	if (value instanceof Undefined) throw value.fail();
	const integer = asInteger(value);
	if (integer === void 0) throw new JinjaError(`${callee}() expects an int, got ${typeName(value)}`);
	return integer;
}
// src/data/jinja/python-format.ts
const MAX_WIDTH$1 = 1e4;
function padded(text, width, align, fill, budget) {
	if (width > MAX_WIDTH$1) throw outOfBounds(`a format of ${width} characters`);
	const missing = width - textLength(text);
	if (missing <= 0) return text;
	budget.expect(text.length + missing);
	if (align === "<") return text + fill.repeat(missing);
	if (align === ">") return fill.repeat(missing) + text;
	if (align === "=") {
		const sign = /^[-+ ]?(?:0[xXob])?/.exec(text)[0];
		return sign + fill.repeat(missing) + text.slice(sign.length);
	}
	const before = Math.floor(missing / 2);
	return fill.repeat(before) + text + fill.repeat(missing - before);
}
const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([hlL]?)([\s\S]?)/gu;
function percentFormat(text, values, budget) {
	const list = values instanceof PyTuple ? values.items : [values];
	const dict = values instanceof Map ? values : void 0;
	let used = 0;
	let isNamed = false;
	const result = text.replace(CONVERSION, (whole, name, flags, width, precision, _length, type) => {
		if (width === "*" || precision === "*") throw unsupported("* in a % format");
		const hasPrecision = /\./.test(whole.slice(1 + (name === void 0 ? 0 : name.length + 2)));
		if (type === "") throw new JinjaError("incomplete format");
		if (type === "%" && name === void 0 && whole === "%%") return "%";
		if (type === "%") throw unsupported(`the % format ${whole}`);
		let value;
		if (name !== void 0) {
			if (!dict) throw new JinjaError("format requires a mapping");
			isNamed = true;
			value = dict.get(name);
			if (value === void 0) throw new JinjaError(`KeyError: ${name}`);
		} else {
			value = list[used++];
			if (value === void 0) throw new JinjaError("not enough arguments for format string");
		}
		const digits = hasPrecision ? Number(precision ?? 0) : void 0;
		const body = converted(value, type, flags, digits, budget);
		const isNumber = !"sra".includes(type) && type !== "c";
		const align = flags.includes("-") ? "<" : isNumber && flags.includes("0") ? "=" : ">";
		return padded(body, Number(width ?? 0), align, align === "=" ? "0" : " ", budget);
	});
	if (!isNamed && used < list.length && (values instanceof PyTuple || !(dict || Array.isArray(values) || values instanceof PyRange))) throw new JinjaError("not all arguments converted during string formatting");
	budget.expect(result.length);
	return result;
}
function converted(value, type, flags, precision, budget) {
	if (type === "s" || type === "r") {
		const text = type === "s" ? toText(value, budget) : repr(value, budget, 0);
		return precision === void 0 ? text : characters(text).slice(0, precision).join("");
	}
	if (flags.includes("#") || !"diufFxXo".includes(type)) throw unsupported(`the % format ${flags}${type}`);
	const number = asNumber(value);
	if (number === void 0) throw new JinjaError(`%${type} format: a real number is required, not ${typeName(value)}`);
	let digits;
	if (type === "f" || type === "F") digits = finite(number, precision ?? 6);
	else {
		const whole = value instanceof PyFloat ? Math.trunc(number) : number;
		if (value instanceof PyFloat && (type === "x" || type === "X" || type === "o")) throw new JinjaError(`%${type} format: an integer is required, not float`);
		if (!Number.isSafeInteger(whole)) throw unsupported("integers beyond 2 ** 53 in a format");
		digits = Math.abs(whole).toString(type === "o" ? 8 : type === "x" || type === "X" ? 16 : 10);
		if (type === "X") digits = digits.toUpperCase();
		digits = (whole < 0 ? "-" : "") + digits.padStart(precision ?? 0, "0");
	}
	if (!digits.startsWith("-")) {
		if (flags.includes("+")) return `+${digits}`;
		if (flags.includes(" ")) return ` ${digits}`;
	}
	return digits;
}
function finite(number, precision) {
	if (!Number.isFinite(number)) throw unsupported("inf or nan in a format");
	return toFixed(number, precision);
}
const FIELD = /^([^.[!:{}]*)((?:\.[^.[!:{}]+|\[[^\]{}]+\])*)(?:!([rs]))?(?::([\s\S]*))?$/u;
const PART = /\.([^.[]+)|\[([^\]]+)\]/gu;
function braceFormat(text, args, kwargs, access, budget) {
	let next = 0;
	let mode;
	let result = "";
	for (let at = 0; at < text.length;) {
		const char = text[at];
		if ((char === "{" || char === "}") && text[at + 1] === char) {
			result += char;
			at += 2;
			continue;
		}
		if (char === "}") throw new JinjaError("Single '}' encountered in format string");
		if (char !== "{") {
			result += char;
			at++;
			continue;
		}
		const end = text.indexOf("}", at);
		if (end < 0) throw new JinjaError("Single '{' encountered in format string");
		const field = text.slice(at + 1, end);
		if (field.includes("{")) throw unsupported("a format field within a format field");
		const match = FIELD.exec(field);
		if (!match) throw unsupported(`the format field {${field}}`);
		const [, name = "", path = "", conversion, spec = ""] = match;
		let value;
		if (name === "" || /^\d+$/.test(name)) {
			const kind = name === "" ? "auto" : "manual";
			if (mode && mode !== kind) throw new JinjaError("cannot switch between automatic and manual field numbering");
			mode = kind;
			value = args[name === "" ? next++ : Number(name)];
			if (value === void 0) throw new JinjaError("Replacement index out of range for positional args tuple");
		} else {
			value = kwargs.get(name);
			if (value === void 0) throw new JinjaError(`KeyError: '${name}'`);
		}
		for (const [, attribute, key] of path.matchAll(PART)) value = attribute ? access.attribute(value, attribute) : access.element(value, /^\d+$/.test(key) ? Number(key) : key);
		if (conversion) value = conversion === "r" ? repr(value, budget, 0) : toText(value, budget);
		result += formatted(value, spec, budget);
		budget.expect(result.length);
		at = end + 1;
	}
	return result;
}
const SPEC = /^(?:([\s\S])?([<>=^]))?([-+ ])?(0)?(\d+)?(,)?(?:\.(\d+))?([dfsFxXob])?$/u;
function formatted(value, spec, budget) {
	if (spec === "") return toText(value, budget);
	if (value instanceof Undefined) throw unsupported("a format of an undefined value");
	const match = SPEC.exec(spec);
	if (!match) throw unsupported(`the format ${spec}`);
	const [, givenFill, givenAlign, sign = "", zero, width, comma, precision, type] = match;
	const text = asText(value);
	if (text !== void 0) {
		if (sign || comma || zero || givenAlign === "=" || type && type !== "s") throw unsupported(`the format ${spec} of a text`);
		return padded(precision === void 0 ? text : characters(text).slice(0, Number(precision)).join(""), Number(width ?? 0), givenAlign ?? "<", givenFill ?? " ", budget);
	}
	const number = asNumber(value);
	if (number === void 0 || typeof value === "boolean" || type === "s") throw unsupported(`the format ${spec} of a ${typeName(value)}`);
	let digits;
	if (type === "f" || type === "F") digits = finite(Math.abs(number), Number(precision ?? 6));
	else if (asInteger(value) === void 0 || precision !== void 0) throw unsupported(`the format ${spec} of a number`);
	else digits = Math.abs(number).toString(type === "x" || type === "X" ? 16 : type === "o" ? 8 : type === "b" ? 2 : 10);
	if (type === "X") digits = digits.toUpperCase();
	if (comma) {
		if (type && !"dfF".includes(type)) throw unsupported(`the format ${spec}`);
		if (zero) throw unsupported(`the format ${spec}`);
		const [whole, rest] = digits.split(".");
		digits = whole.replace(/\B(?=(?:\d{3})+$)/g, ",") + (rest === void 0 ? "" : `.${rest}`);
	}
	return padded((number < 0 || Object.is(number, -0) ? "-" : sign === "-" ? "" : sign) + digits, Number(width ?? 0), givenAlign ?? (zero ? "=" : ">"), givenFill ?? (zero ? "0" : " "), budget);
}
// src/data/jinja/python-operations.ts
function binary(operator, a, b, budget) {
	if (typeof a === "number" && typeof b === "number") return integers(operator, a, b);
	if (a instanceof Undefined) throw a.fail();
	if (b instanceof Undefined && !(operator === "%" && typeof a === "string")) throw b.fail();
	const [left, right] = [asNumber(a), asNumber(b)];
	if (left !== void 0 && right !== void 0) {
		if (!(a instanceof PyFloat) && !(b instanceof PyFloat)) return integers(operator, left, right);
		return new PyFloat(floats(operator, left, right));
	}
	if (a instanceof Markup || b instanceof Markup) return withMarkup(operator, a, b, budget);
	if (operator === "%" && typeof a === "string") return percentFormat(a, b, budget);
	if (operator === "+") {
		if (typeof a === "string" && typeof b === "string") {
			budget.expect(a.length + b.length);
			return a + b;
		}
		const [items, others] = [asItems(a), asItems(b)];
		if (items && others && Array.isArray(a) === Array.isArray(b)) {
			budget.spend(16 * (items.length + others.length));
			return Array.isArray(a) ? [...items, ...others] : new PyTuple([...items, ...others]);
		}
	} else if (operator === "*") {
		const repeated = repeat(a, asInteger(b), budget) ?? repeat(b, asInteger(a), budget);
		if (repeated !== void 0) return repeated;
	}
	if (operator === "-" && a instanceof PyView && b instanceof PyView) throw unsupported("a difference of dict views");
	const types = [typeName(a), typeName(b)];
	throw new OperandError(`unsupported operand type(s) for ${operator}: '${types[0]}' and '${types[1]}'`, types);
}
function withMarkup(operator, a, b, budget) {
	if (operator !== "+") throw unsupported(`${operator} with what \`safe\` or \`escape\` gave`);
	const [left, right] = [a, b].map((part) => typeof part === "string" ? escapeHtml(part, budget).text : asText(part));
	if (left === void 0 || right === void 0) {
		const type = typeName(left === void 0 ? a : b);
		throw new OperandError(`can only concatenate str to str, not ${type}`, [type]);
	}
	budget.expect(left.length + right.length);
	return new Markup(left + right);
}
const ESCAPES$1 = {
	"&": "&amp;",
	">": "&gt;",
	"<": "&lt;",
	"'": "&#39;",
	"\"": "&#34;"
};
function escapeHtml(text, budget) {
	budget.expect(text.length * 5);
	return new Markup(text.replace(/[&><'"]/g, (char) => ESCAPES$1[char]));
}
function repeat(value, count, budget) {
	if (count === void 0) return void 0;
	const times = Math.max(0, count);
	if (typeof value === "string") {
		budget.expect(value.length * times);
		return value.repeat(value === "" ? 0 : times);
	}
	const items = asItems(value);
	if (!items) return void 0;
	budget.spend(16 * items.length * times);
	const list = items.length === 0 ? [] : Array.from({ length: times }, () => items).flat();
	return Array.isArray(value) ? list : new PyTuple(list);
}
function integers(operator, a, b) {
	switch (operator) {
		case "+": return checkInteger(a + b);
		case "-": return checkInteger(a - b);
		case "*": return checkInteger(a * b);
		case "**": return power(a, b);
		default: if (b === 0) throw new JinjaError(operator === "/" ? "division by zero" : "integer division or modulo by zero");
	}
	if (operator === "/") return new PyFloat(a / b);
	const rest = (a % b + b) % b;
	return checkInteger(operator === "%" ? rest : (a - rest) / b);
}
function power(a, b) {
	if (b >= 0) {
		if (Math.abs(a) <= 1) return b === 0 ? 1 : b % 2 === 0 ? a * a : a;
		if (b > 53) throw unsupported("integers beyond 2 ** 53");
		return checkInteger(Number(BigInt(a) ** BigInt(b)));
	}
	if (a === 0) throw new JinjaError("0.0 cannot be raised to a negative power");
	throw unsupported("a power of a float or with a negative exponent");
}
function floats(operator, a, b) {
	switch (operator) {
		case "+": return a + b;
		case "-": return a - b;
		case "*": return a * b;
		case "**": throw unsupported("a power of a float or with a negative exponent");
		default: if (b === 0) throw new JinjaError(operator === "%" ? "float modulo" : "float division by zero");
	}
	if (operator === "/") return a / b;
	let rest = a % b;
	let quotient = (a - rest) / b;
	if (rest !== 0) {
		if (b < 0 !== rest < 0) {
			rest += b;
			quotient -= 1;
		}
	} else rest = b < 0 ? -0 : 0;
	if (operator === "%") return rest;
	if (quotient === 0) return Object.is(a / b, -0) || a / b < 0 ? -0 : 0;
	const floor = Math.floor(quotient);
	return quotient - floor > .5 ? floor + 1 : floor;
}
function signed(isNegative, value) {
	if (value instanceof Undefined) throw value.fail();
	const number = asNumber(value);
	if (number === void 0) {
		const type = typeName(value);
		throw new OperandError(`bad operand type for unary ${isNegative ? "-" : "+"}: '${type}'`, [type]);
	}
	if (value instanceof PyFloat) return new PyFloat(isNegative ? -number : number);
	return isNegative && number !== 0 ? -number : number;
}
function compare(operator, a, b, budget) {
	switch (operator) {
		case "==": return isEqual(a, b, budget);
		case "!=": return !isEqual(a, b, budget);
		case "in": return contains(b, a, budget);
		case "not in": return !contains(b, a, budget);
		default: {
			const order = orderOf(operator, a, b, budget);
			if (Number.isNaN(order)) return false;
			if (operator === "<") return order < 0;
			if (operator === ">") return order > 0;
			return operator === "<=" ? order <= 0 : order >= 0;
		}
	}
}
function orderOf(operator, a, b, budget, depth = 0) {
	if (a instanceof Undefined) throw a.fail();
	if (b instanceof Undefined) throw b.fail();
	const [left, right] = [asNumber(a), asNumber(b)];
	if (left !== void 0 && right !== void 0) return left === right ? 0 : left - right;
	const [text, other] = [asText(a), asText(b)];
	if (text !== void 0 && other !== void 0) {
		budget.spend(Math.min(text.length, other.length) / 8);
		return compareText(text, other);
	}
	const [items, others] = [asItems(a), asItems(b)];
	if (items && others && Array.isArray(a) === Array.isArray(b)) {
		if (depth >= 64) throw outOfBounds(`lists lie more than 64 deep in one another`);
		budget.spend(Math.min(items.length, others.length));
		for (let i = 0; i < items.length && i < others.length; i++) if (!isEqual(items[i], others[i], budget)) return orderOf(operator, items[i], others[i], budget, depth + 1);
		return items.length - others.length;
	}
	if (a instanceof PyView && b instanceof PyView) throw unsupported("a comparison of the views of two dicts");
	throw new JinjaError(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}
function contains(container, item, budget) {
	const text = asText(container);
	if (text !== void 0) {
		const part = asText(item);
		if (part === void 0) throw new JinjaError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
		budget.spend(text.length / 4);
		if (!isPlain(part) && part.length === 1) throw unsupported("a lone surrogate");
		return text.includes(part);
	}
	if (container instanceof Map) return item instanceof Undefined ? false : container.has(toKey(numberKey(item)));
	if (container instanceof PyView && container.kind === "keys") return contains(container.dict, item, budget);
	const items = asItems(container);
	if (items) {
		for (const element of items) {
			budget.spend(2);
			if (isEqual(element, item, budget)) return true;
		}
		return false;
	}
	const iterator = iterate(container, budget);
	for (let step = iterator.next(); !step.done; step = iterator.next()) {
		budget.spend(2);
		if (isEqual(step.value, item, budget)) return true;
	}
	return false;
}
function numberKey(value) {
	if (typeof value === "boolean") return Number(value);
	return value instanceof PyFloat && Number.isSafeInteger(value.value) ? value.value : value;
}
function subscript(object, key) {
	if (object instanceof Map) {
		if (key instanceof Undefined || Array.isArray(key) || key instanceof Map) return void 0;
		if (key instanceof PyTuple || key instanceof PyFunction || key instanceof PyObject) return void 0;
		const plain = numberKey(key);
		return plain instanceof PyFloat || typeof plain === "object" && plain !== null && !(plain instanceof Markup) ? void 0 : object.get(toKey(plain));
	}
	const index = asInteger(key);
	if (index === void 0) return void 0;
	const items = asItems(object);
	if (items) return items[index < 0 ? index + items.length : index];
	const text = asText(object);
	if (text !== void 0) {
		const all = isPlain(text) ? text : characters(text);
		const char = all[index < 0 ? index + all.length : index];
		return char !== void 0 && object instanceof Markup ? new Markup(char) : char;
	}
	if (object instanceof PyRange) {
		const at = index < 0 ? index + object.length : index;
		return at >= 0 && at < object.length ? object.at(at) : void 0;
	}
}
function slice$2(object, bounds, budget) {
	if (object instanceof Undefined) throw object.fail();
	const text = asText(object);
	const items = asItems(object);
	if (text === void 0 && !items && !(object instanceof PyRange)) throw unsupported(`a slice of a ${typeName(object)}`);
	const [start, stop, step] = bounds.map((bound) => {
		if (bound === void 0 || bound === null) return void 0;
		const index = asInteger(bound);
		if (index !== void 0) return index;
		throw new JinjaError("slice indices must be integers or None or have an __index__ method");
	});
	if (step === 0) throw new JinjaError("slice step cannot be zero");
	const sequence = text !== void 0 ? isPlain(text) ? text : characters(text) : items ?? object;
	const { length } = sequence;
	const by = step ?? 1;
	const clamp = (index, fallback) => {
		if (index === void 0) return fallback;
		const at = index < 0 ? index + length : index;
		return by > 0 ? Math.min(Math.max(at, 0), length) : Math.min(Math.max(at, -1), length - 1);
	};
	const from = clamp(start, by > 0 ? 0 : length - 1);
	const to = clamp(stop, by > 0 ? length : -1);
	if (text !== void 0) {
		budget.spend(text.length / 4);
		let result = "";
		if (by === 1 && typeof sequence === "string") result = sequence.slice(from, Math.max(from, to));
		else for (let i = from; by > 0 ? i < to : i > to; i += by) result += sequence[i];
		return object instanceof Markup ? new Markup(result) : result;
	}
	if (object instanceof PyRange) return new PyRange(object.at(from), object.at(to), object.step * by);
	const result = [];
	for (let i = from; by > 0 ? i < to : i > to; i += by) result.push(items[i]);
	budget.spend(16 * result.length);
	return Array.isArray(object) ? result : new PyTuple(result);
}
function sorted(items, key, isReversed, budget) {
	budget.spend(16 * items.length * (1 + Math.ceil(Math.log2(items.length + 1))));
	const keyed = items.map((item) => [key(item), item]);
	const order = (a, b) => {
		const difference = orderOf("<", a[0], b[0], budget);
		if (Number.isNaN(difference)) throw unsupported("sorting NaN");
		return isReversed ? -difference : difference;
	};
	if (keyed.length === 1) return [...items];
	return keyed.sort(order).map(([, item]) => item);
}
// src/data/jinja/python-str.ts
const MAX_WIDTH = 1e4;
const plain = (change) => (text, args, kwargs, budget) => {
	bind("str method", [], args, kwargs);
	budget.spend(text.length);
	return change(text);
};
const stripping = (change) => (text, args, kwargs) => {
	const [chars] = bind("strip", ["/chars"], args, kwargs);
	return chars === void 0 || chars === null ? change(text) : change(text, textOf(chars, "strip"));
};
const splitting = (fromEnd) => (text, args, kwargs, budget) => {
	const [separator, max] = bind("split", ["sep", "maxsplit"], args, kwargs);
	const by = separator === void 0 || separator === null ? void 0 : textOf(separator, "split");
	if (by === "") throw new JinjaError("empty separator");
	budget.spend(text.length);
	const parts = split(text, by, max === void 0 ? -1 : integerOf(max, "split"), fromEnd);
	budget.spend(16 * parts.length);
	return parts;
};
const partitioning = (fromEnd) => (text, args, kwargs) => {
	const [value] = bind("partition", ["/!sep"], args, kwargs);
	const separator = textOf(value, "partition");
	if (separator === "") throw new JinjaError("empty separator");
	const at = fromEnd ? text.lastIndexOf(separator) : text.indexOf(separator);
	if (at < 0) return new PyTuple(fromEnd ? [
		"",
		"",
		text
	] : [
		text,
		"",
		""
	]);
	return new PyTuple([
		text.slice(0, at),
		separator,
		text.slice(at + separator.length)
	]);
};
function range$1(text, start, end) {
	if ((start === void 0 || start === null) && (end === void 0 || end === null)) return [
		text,
		0,
		true
	];
	if (!isPlain(text)) throw unsupported("positions in a text with characters beyond the basic plane");
	const clamp = (value, fallback) => {
		if (value === void 0 || value === null) return fallback;
		const index = integerOf(value, "find");
		return index < 0 ? Math.max(0, index + text.length) : index;
	};
	const from = clamp(start, 0);
	const to = Math.min(clamp(end, text.length), text.length);
	return [
		text.slice(from, Math.max(from, to)),
		from,
		from <= to
	];
}
const affix = (name, test) => (text, args, kwargs) => {
	const [part, start, end] = bind(name, [
		"/!prefix",
		"/start",
		"/end"
	], args, kwargs);
	const [within, , isInside] = range$1(text, start, end);
	return (part instanceof PyTuple ? part.items : [part]).map((item) => textOf(item, name)).some((item) => isInside && test(within, item));
};
const finding = (name, fromEnd, mustFind) => (text, args, kwargs, budget) => {
	const [part, start, end] = bind(name, [
		"/!sub",
		"/start",
		"/end"
	], args, kwargs);
	const [within, offset, isInside] = range$1(text, start, end);
	const wanted = textOf(part, name);
	budget.spend(text.length / 4);
	const at = !isInside ? -1 : fromEnd ? within.lastIndexOf(wanted) : within.indexOf(wanted);
	if (at < 0 && mustFind) throw new JinjaError("substring not found");
	return at < 0 ? -1 : offset + textLength(within.slice(0, at));
};
function replaceText(text, from, to, count, budget) {
	if (from === "") {
		const chars = characters(text);
		const times = Math.min(count < 0 ? Number.POSITIVE_INFINITY : count, chars.length + 1);
		budget.expect(text.length + times * to.length);
		let result = "";
		chars.forEach((char, i) => {
			result += (i < times ? to : "") + char;
		});
		return result + (times > chars.length ? to : "");
	}
	if (to.length > from.length) budget.expect(text.length + text.length / from.length * (to.length - from.length));
	else budget.expect(text.length);
	if (count < 0) return text.replaceAll(from, () => to);
	return split(text, from, count, false).join(to);
}
const aligned = (place) => (text, args, kwargs, budget) => {
	const [width, fill] = bind("center", ["/!width", "/fillchar"], args, kwargs);
	const char = fill === void 0 ? " " : textOf(fill, "center");
	if (textLength(char) !== 1) throw new JinjaError("The fill character must be exactly one character long");
	const missing = integerOf(width, "center") - textLength(text);
	if (missing > MAX_WIDTH) throw outOfBounds(`a text padded by ${missing} characters`);
	if (missing <= 0) return text;
	budget.expect(text.length + missing);
	return place(text, missing, char);
};
function centered(text, missing, fill) {
	const width = textLength(text) + missing;
	const left = Math.floor(missing / 2) + (missing & width & 1);
	return fill.repeat(left) + text + fill.repeat(missing - left);
}
const every = (pattern) => plain((text) => {
	if (/[^\0-\x7f\p{L}\p{M}\p{P}\p{Z}\p{S}\p{Nd}\p{C}]/u.test(text)) throw unsupported("a test of unusual digits");
	return pattern.test(text);
});
const join$1 = (text, args, kwargs, budget) => {
	const [iterable] = bind("join", ["/!iterable"], args, kwargs);
	const parts = [];
	const iterator = iterate(iterable, budget);
	for (let step = iterator.next(); !step.done; step = iterator.next()) {
		if (typeof step.value !== "string") throw new JinjaError(`sequence item ${parts.length}: expected str instance, ${typeName(step.value)} found`);
		budget.expect(step.value.length + text.length);
		parts.push(step.value);
	}
	budget.expect(parts.reduce((sum, part) => sum + part.length + text.length, 0));
	return parts.join(text);
};
const STR_METHODS = new Map(Object.entries({
	upper: plain((text) => text.toUpperCase()),
	lower: plain((text) => text.toLowerCase()),
	title: plain(titleCase),
	capitalize: plain(capitalize),
	strip: stripping(strip),
	lstrip: stripping(stripStart),
	rstrip: stripping(stripEnd),
	split: splitting(false),
	rsplit: splitting(true),
	partition: partitioning(false),
	rpartition: partitioning(true),
	startswith: affix("startswith", (text, part) => text.startsWith(part)),
	endswith: affix("endswith", (text, part) => text.endsWith(part)),
	find: finding("find", false, false),
	rfind: finding("rfind", true, false),
	index: finding("index", false, true),
	rindex: finding("rindex", true, true),
	ljust: aligned((text, missing, fill) => text + fill.repeat(missing)),
	rjust: aligned((text, missing, fill) => fill.repeat(missing) + text),
	center: aligned(centered),
	isdigit: every(/^\p{Nd}+$/u),
	isdecimal: every(/^\p{Nd}+$/u),
	isalpha: every(/^\p{L}+$/u),
	isalnum: every(/^[\p{L}\p{Nd}]+$/u),
	isascii: plain((text) => /^[\0-\x7f]*$/.test(text)),
	isspace: plain((text) => text !== "" && strip(text) === ""),
	isupper: plain(isUpper),
	islower: plain(isLower),
	isidentifier: plain((text) => /^[\p{XID_Start}_][\p{XID_Continue}]*$/u.test(text)),
	join: join$1,
	count: (text, args, kwargs, budget) => {
		const [part, start, end] = bind("count", [
			"/!sub",
			"/start",
			"/end"
		], args, kwargs);
		const [within, , isInside] = range$1(text, start, end);
		const wanted = textOf(part, "count");
		budget.spend(text.length);
		if (!isInside) return 0;
		return wanted === "" ? textLength(within) + 1 : within.split(wanted).length - 1;
	},
	replace: (text, args, kwargs, budget) => {
		const [from, to, count] = bind("replace", [
			"/!old",
			"/!new",
			"/count"
		], args, kwargs);
		const times = count === void 0 ? -1 : integerOf(count, "replace");
		return replaceText(text, textOf(from, "replace"), textOf(to, "replace"), times, budget);
	},
	splitlines: (text, args, kwargs, budget) => {
		const [keepEnds] = bind("splitlines", ["keepends"], args, kwargs);
		const lines = splitLines(text, keepEnds !== void 0 && integerOf(keepEnds, "splitlines") !== 0);
		budget.spend(text.length + 16 * lines.length);
		return lines;
	},
	removeprefix: (text, args, kwargs) => {
		const prefix = textOf(bind("removeprefix", ["/!prefix"], args, kwargs)[0], "removeprefix");
		return text.startsWith(prefix) ? text.slice(prefix.length) : text;
	},
	removesuffix: (text, args, kwargs) => {
		const suffix = textOf(bind("removesuffix", ["/!suffix"], args, kwargs)[0], "removesuffix");
		return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
	},
	zfill: (text, args, kwargs, budget) => {
		const missing = integerOf(bind("zfill", ["/!width"], args, kwargs)[0], "zfill") - textLength(text);
		if (missing > MAX_WIDTH) throw outOfBounds(`a text padded by ${missing} characters`);
		if (missing <= 0) return text;
		budget.expect(text.length + missing);
		const sign = /^[-+]/.test(text) ? text[0] : "";
		return sign + "0".repeat(missing) + text.slice(sign.length);
	}
}));
const OTHER_STR_METHODS = new Set("casefold encode expandtabs format_map isnumeric isprintable istitle maketrans swapcase translate".split(" "));
function isUpper(text) {
	return /\p{Uppercase}/u.test(text) && !/\p{Lowercase}|\p{Lt}/u.test(text);
}
function isLower(text) {
	return /\p{Lowercase}/u.test(text) && !/\p{Uppercase}|\p{Lt}/u.test(text);
}
// src/data/jinja/python-attributes.ts
function getAttribute(object, name, budget) {
	if (object instanceof Undefined) {
		if (name.startsWith("__") && name.endsWith("__")) throw unsupported(`the attribute ${name}`);
		throw object.fail();
	}
	const attribute = attributeOf(object, name, budget);
	if (attribute !== void 0) return attribute;
	const element = subscript(object, name);
	return element !== void 0 ? element : missing(object, name);
}
function getItem(object, key, budget) {
	if (object instanceof Undefined) throw object.fail();
	const element = subscript(object, key);
	if (element !== void 0) return element;
	if (key instanceof Markup) throw unsupported("a text from `safe` or `escape` as a key");
	if (typeof key !== "string") return missing(object, key);
	const attribute = attributeOf(object, key, budget);
	return attribute !== void 0 ? attribute : missing(object, key);
}
function missing(object, key) {
	const name = typeof key === "string" || typeof key === "number" ? `'${key}'` : `of type ${typeName(key)}`;
	return new Undefined(`'${typeName(object)} object' has no attribute or element ${name}`);
}
const CHANGES_LIST = new Set([
	"append",
	"reverse",
	"insert",
	"sort",
	"extend",
	"remove"
]);
const CHANGES_DICT = new Set([
	"clear",
	"pop",
	"popitem",
	"setdefault",
	"update"
]);
const NUMBER_ATTRIBUTES = new Set("as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer numerator real to_bytes".split(" "));
const OTHERS = {
	range: new Set([
		"count",
		"index",
		"start",
		"stop",
		"step"
	]),
	dict_keys: new Set(["isdisjoint", "mapping"]),
	dict_items: new Set(["isdisjoint", "mapping"]),
	dict_values: new Set(["mapping"]),
	generator: new Set([
		"close",
		"gi_code",
		"gi_frame",
		"gi_running",
		"gi_suspended",
		"gi_yieldfrom",
		"send",
		"throw"
	])
};
function attributeOf(object, name, budget) {
	if (name.startsWith("_")) return void 0;
	if (typeof object === "string") return strAttribute(object, name, budget);
	if (object instanceof Map) return dictAttribute(object, name);
	if (object instanceof PyObject) return object.attribute(name);
	if (Array.isArray(object)) {
		if (name === "pop" || name === "clear") throw unsupported(`the method ${name} of list`);
		if (CHANGES_LIST.has(name)) return unsafe(object, name);
		if (name !== "copy") return listAttribute(object, name, budget);
		return new PyFunction("copy", (args, kwargs) => {
			bind("copy", [], args, kwargs);
			return object;
		});
	}
	if (object instanceof PyTuple) {
		const at = object.names.indexOf(name);
		return at >= 0 ? object.items[at] : listAttribute(object, name, budget);
	}
	if (typeof object === "number" || typeof object === "boolean" || object instanceof PyFloat) {
		if (NUMBER_ATTRIBUTES.has(name)) throw unsupported(`the attribute ${name} of a ${typeName(object)}`);
	}
	if (object instanceof Markup) {
		if (STR_METHODS.has(name) || OTHER_STR_METHODS.has(name) || /^(?:format|unescape|striptags|escape)$/.test(name)) throw unsupported(`${name} of what \`safe\` or \`escape\` gave`);
		return;
	}
	if (object instanceof PyRange || object instanceof PyView || typeName(object) === "generator") {
		if (OTHERS[typeName(object)].has(name)) throw unsupported(`the attribute ${name} of a ${typeName(object)}`);
	}
}
function unsafe(object, name) {
	return new Undefined(`access to attribute '${name}' of '${typeName(object)}' object is unsafe.`);
}
function strAttribute(text, name, budget) {
	const method = STR_METHODS.get(name);
	if (method) return new PyFunction(name, (args, kwargs) => method(text, args, kwargs, budget));
	if (name === "format") {
		const access = {
			attribute: (object, key) => getAttribute(object, key, budget),
			element: (object, key) => getItem(object, key, budget)
		};
		return new PyFunction(name, (args, kwargs) => braceFormat(text, args, kwargs, access, budget));
	}
	if (OTHER_STR_METHODS.has(name)) throw unsupported(`the method ${name} of str`);
}
function dictAttribute(dict, name) {
	switch (name) {
		case "keys":
		case "values":
		case "items": return new PyFunction(name, (args, kwargs) => {
			bind(name, [], args, kwargs);
			return new PyView(name, dict);
		});
		case "get": return new PyFunction(name, (args, kwargs) => {
			const [key, fallback] = bind(name, ["/!key", "/default"], args, kwargs);
			if (Array.isArray(key) || key instanceof Map) toKey(key);
			const value = subscript(dict, key);
			return value !== void 0 ? value : fallback ?? null;
		});
		case "copy": return new PyFunction(name, (args, kwargs) => {
			bind(name, [], args, kwargs);
			return dict;
		});
		case "fromkeys": throw unsupported("the method fromkeys of dict");
		default: return CHANGES_DICT.has(name) ? unsafe(dict, name) : void 0;
	}
}
function listAttribute(object, name, budget) {
	const items = asItems(object);
	if (name === "count") return new PyFunction(name, (args, kwargs) => {
		const [value] = bind(name, ["/!value"], args, kwargs);
		budget.spend(16 * items.length);
		return items.filter((item) => isEqual(item, value, budget)).length;
	});
	if (name !== "index") return void 0;
	return new PyFunction(name, (args, kwargs) => {
		const [value] = bind(name, ["/!value"], args, kwargs);
		budget.spend(16 * items.length);
		const at = items.findIndex((item) => isEqual(item, value, budget));
		if (at < 0) throw new JinjaError("the value is not in the list");
		return at;
	});
}
// src/data/jinja/python-json.ts
const MAX_INDENT$1 = 16;
const SPECIAL = /["\\\u0000-\u001f]/g;
const NOT_PRINTABLE_ASCII = /[^ -~]/g;
const SHORT = {
	"\"": "\\\"",
	"\\": "\\\\",
	"\n": "\\n",
	"\r": "\\r",
	"	": "\\t",
	"\f": "\\f",
	"\b": "\\b"
};
function unicodeEscape(char) {
	return SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
function toJson(value, options, budget) {
	const isAscii = isTrue(options.isAscii);
	const sortsKeys = isTrue(options.sortKeys);
	const indent = indentOf(options.indent);
	let [between, colon] = [indent === void 0 ? ", " : ",", ": "];
	if (options.separators !== null) {
		const parts = asItems(options.separators)?.map(asText);
		if (parts?.length !== 2 || parts[0] === void 0 || parts[1] === void 0) throw new JinjaError("tojson: separators must be two texts");
		[between, colon] = parts;
	}
	const text = (content) => {
		budget.spend(content.length);
		const escaped = content.replace(SPECIAL, unicodeEscape);
		return `"${isAscii ? escaped.replace(NOT_PRINTABLE_ASCII, unicodeEscape) : escaped}"`;
	};
	const enclose = (open, parts, close, depth) => {
		if (parts.length === 0) return open + close;
		const size = parts.reduce((sum, part) => sum + part.length + between.length, 2);
		const lineEnd = indent === void 0 ? "" : `\n${indent.repeat(depth + 1)}`;
		budget.expect(size + parts.length * lineEnd.length);
		const end = indent === void 0 ? "" : `\n${indent.repeat(depth)}`;
		return open + lineEnd + parts.join(between + lineEnd) + end + close;
	};
	const write = (item, depth) => {
		if (item === null) return "null";
		if (typeof item === "boolean" || typeof item === "number") return String(item);
		if (item instanceof PyFloat) return jsonFloat(item.value);
		const content = asText(item);
		if (content !== void 0) return text(content);
		if (depth >= 64) throw outOfBounds(`lists and objects lie more than 64 deep in one another`);
		const items = asItems(item);
		if (items) {
			budget.spend(16 * items.length);
			return enclose("[", items.map((element) => write(element, depth + 1)), "]", depth);
		}
		if (!(item instanceof Map)) throw new JinjaError(`Object of type ${typeName(item)} is not JSON serializable`);
		budget.spend(16 * item.size);
		let entries = [...item];
		if (sortsKeys) entries = sortedEntries(entries);
		const pairs = entries.map(([key, element]) => text(key === null ? "null" : String(key)) + colon + write(element, depth + 1));
		return enclose("{", pairs, "}", depth);
	};
	return write(value, 0);
}
function sortedEntries(entries) {
	if (entries.length > 1 && new Set(entries.map(([key]) => typeof key)).size > 1) throw new JinjaError("tojson: keys of different types cannot be sorted");
	if (entries.length > 1 && entries[0][0] === null) throw new JinjaError("tojson: None cannot be sorted");
	return entries.sort(([a], [b]) => typeof a === "string" ? compareText(a, b) : Number(a) - Number(b));
}
function indentOf(value) {
	if (value === null) return void 0;
	const content = asText(value);
	const spaces = asInteger(value);
	if (content === void 0 && spaces === void 0) throw unsupported(`tojson with a ${typeName(value)} as indent`);
	const width = content?.length ?? spaces;
	if (width > MAX_INDENT$1) throw outOfBounds(`tojson by ${width} spaces, at most ${MAX_INDENT$1} are allowed`);
	return content ?? " ".repeat(Math.max(0, width));
}
function jsonFloat(value) {
	if (Number.isNaN(value)) return "NaN";
	if (!Number.isFinite(value)) return value < 0 ? "-Infinity" : "Infinity";
	return formatFloat(value);
}
// src/data/jinja/sequence-filters.ts
const withoutArguments = (name, apply) => (value, args, kwargs, { budget }) => {
	bind(name, [], args, kwargs);
	return apply(value, budget);
};
function attributeParts(attribute) {
	if (attribute === null) return [];
	if (typeof attribute !== "string") return [attribute];
	return attribute.split(".").map((part) => /^\d+$/.test(part) ? Number(part) : part);
}
function getter(attribute, budget, ignoresCase = false, fallback = null) {
	const parts = attributeParts(attribute);
	return (item) => {
		let value = item;
		for (const part of parts) {
			budget.spend(8);
			value = getItem(value, part, budget);
			if (fallback !== null && value instanceof Undefined) value = fallback;
		}
		return ignoresCase ? lowerCase$1(value) : value;
	};
}
function lowerCase$1(value) {
	if (value instanceof Markup) throw unsupported("sorting what `safe` or `escape` gave");
	return typeof value === "string" ? value.toLowerCase() : value;
}
function multiGetter(attribute, budget, ignoresCase) {
	const getters = (typeof attribute === "string" ? attribute.split(",") : [attribute]).map((name) => getter(name, budget, ignoresCase));
	return (item) => getters.map((get) => get(item));
}
function iteratorOf(generate) {
	return new PyIterator(generate());
}
function* each(value, budget) {
	const iterator = iterate(value, budget);
	for (let step = iterator.next(); !step.done; step = iterator.next()) {
		budget.spend(16);
		yield step.value;
	}
}
const selecting = (wanted, byAttribute) => (value, args, kwargs, { budget, callTest }) => iteratorOf(function* () {
	if (!isTrue(value)) return;
	if (byAttribute && args.length === 0) throw new JinjaError("Missing parameter for attribute name");
	const get = byAttribute ? getter(args[0], budget) : (item) => item;
	const [test, ...rest] = args.slice(byAttribute ? 1 : 0);
	for (const item of each(value, budget)) {
		const tested = get(item);
		if ((test === void 0 ? isTrue(tested) : callTest(test, tested, rest, kwargs)) === wanted) yield item;
	}
});
const map = (value, args, kwargs, context) => iteratorOf(function* () {
	if (!isTrue(value)) return;
	const apply = mapped(args, kwargs, context);
	for (const item of each(value, context.budget)) yield apply(item);
});
function mapped(args, kwargs, { budget, callFilter }) {
	if (args.length === 0 && kwargs.has("attribute")) {
		const [attribute, fallback = null] = bind("map", ["!attribute", "default"], [], kwargs);
		return getter(attribute, budget, false, fallback);
	}
	const [name, ...rest] = args;
	if (name === void 0) throw new JinjaError("map requires a filter argument");
	return (item) => callFilter(name, item, rest, kwargs);
}
const extreme = (name, operator) => (value, args, kwargs, { budget }) => {
	const [sensitive = false, attribute = null] = bind(name, ["case_sensitive", "attribute"], args, kwargs);
	const key = getter(attribute, budget, !isTrue(sensitive));
	let best;
	for (const item of each(value, budget)) {
		const entry = [key(item), item];
		if (best) {
			const order = orderOf(operator, entry[0], best[0], budget);
			if (operator === "<" ? order < 0 : order > 0) best = entry;
		} else best = entry;
	}
	return best ? best[1] : new Undefined("No aggregated item, sequence was empty.");
};
function hashKey(value, budget) {
	const text = asText(value);
	if (text !== void 0) return `s${text}`;
	const number = asNumber(value);
	if (number !== void 0) return `n${number === 0 ? 0 : number}`;
	if (value === null) return "none";
	if (value instanceof Undefined) return "undefined";
	if (value instanceof PyTuple) {
		budget.spend(16 * (1 + value.items.length));
		const key = `t${value.items.map((item) => hashKey(item, budget)).map((part) => `${part.length}:${part}`).join("")}`;
		budget.expect(key.length);
		return key;
	}
	if (Array.isArray(value) || value instanceof Map) throw new JinjaError(`unhashable type: '${typeName(value)}'`);
	throw unsupported(`a ${typeName(value)} in a set`);
}
const groupby = (value, args, kwargs, { budget }) => {
	const [attribute, fallback = null, sensitive = false] = bind("groupby", [
		"!attribute",
		"default",
		"case_sensitive"
	], args, kwargs);
	const key = getter(attribute, budget, !isTrue(sensitive), fallback);
	const original = getter(attribute, budget, false, fallback);
	const groups = [];
	for (const item of sorted(toList(value, budget), key, false, budget)) {
		const name = key(item);
		const last = groups.at(-1);
		if (last && isEqual(last.key, name, budget)) last.items.push(item);
		else groups.push({
			key: name,
			items: [item]
		});
	}
	return groups.map(({ key: name, items }) => {
		return new PyTuple([isTrue(sensitive) ? name : original(items[0]), items], ["grouper", "list"]);
	});
};
const sum = (value, args, kwargs, { budget }) => {
	const [attribute = null, start = 0] = bind("sum", ["attribute", "start"], args, kwargs);
	if (asText(start) !== void 0) throw new JinjaError("sum() can't sum strings [use ''.join(seq) instead]");
	const get = getter(attribute, budget);
	let total = start;
	for (const item of each(value, budget)) {
		const next = get(item);
		if (total instanceof PyFloat && next instanceof PyFloat && !Number.isInteger(total.value * 4 + next.value * 4)) throw unsupported("a sum of several floats");
		total = binary("+", total, next, budget);
	}
	return total;
};
const reverse = withoutArguments("reverse", (value, budget) => {
	if (value instanceof Markup) throw unsupported("the filter reverse after `safe` or `escape`");
	if (typeof value === "string") {
		budget.expect(value.length);
		return [...characters(value)].reverse().join("");
	}
	if (value instanceof PyObject || value === null || asNumber(value) !== void 0) throw new JinjaError("argument must be iterable");
	const items = toList(value, budget).reverse();
	return value instanceof PyIterator ? items : new PyIterator(items.values());
});
const batch = (value, args, kwargs, { budget }) => {
	const [count, fill = null] = bind("batch", ["!linecount", "fill_with"], args, kwargs);
	return iteratorOf(function* () {
		let items = [];
		for (const item of each(value, budget)) {
			if (isEqual(items.length, count, budget)) {
				yield items;
				items = [];
			}
			items.push(item);
		}
		if (items.length === 0) return;
		if (fill !== null && orderOf("<", items.length, count, budget) < 0) {
			const missing = integerOf(count, "batch") - items.length;
			budget.spend(16 * missing);
			items.push(...Array.from({ length: missing }, () => fill));
		}
		yield items;
	});
};
const slice$1 = (value, args, kwargs, { budget }) => {
	const [given, fill = null] = bind("slice", ["!slices", "fill_with"], args, kwargs);
	return iteratorOf(function* () {
		const items = toList(value, budget);
		const count = integerOf(given, "slice");
		if (count === 0) throw new JinjaError("integer division or modulo by zero");
		if (count < 0) return;
		const each = Math.floor(items.length / count);
		const withExtra = items.length % count;
		for (let i = 0, start = 0; i < count; i++) {
			const end = start + each + (i < withExtra ? 1 : 0);
			budget.spend(16 * (1 + end - start));
			yield [...items.slice(start, end), ...fill !== null && i >= withExtra ? [fill] : []];
			start = end;
		}
	});
};
const SEQUENCE_FILTERS = {
	select: selecting(true, false),
	reject: selecting(false, false),
	selectattr: selecting(true, true),
	rejectattr: selecting(false, true),
	map,
	min: extreme("min", "<"),
	max: extreme("max", ">"),
	groupby,
	sum,
	reverse,
	batch,
	slice: slice$1,
	join: (value, args, kwargs, { budget }) => {
		const [separator = "", attribute = null] = bind("join", ["d", "attribute"], args, kwargs);
		const get = attribute === null ? void 0 : getter(attribute, budget);
		const by = toText(separator, budget);
		let result = "";
		let isFirst = true;
		for (const item of each(value, budget)) {
			const text = toText(get ? get(item) : item, budget);
			budget.expect(result.length + by.length + text.length);
			result += isFirst ? text : by + text;
			isFirst = false;
		}
		return result;
	},
	list: withoutArguments("list", toList),
	items: withoutArguments("items", (value) => iteratorOf(function* () {
		if (value instanceof Undefined) return;
		if (!(value instanceof Map)) throw new JinjaError("Can only get item pairs from a mapping.");
		yield* new PyView("items", value);
	})),
	first: withoutArguments("first", (value, budget) => {
		const step = iterate(value, budget).next();
		return step.done ? new Undefined("No first item, sequence was empty.") : step.value;
	}),
	last: withoutArguments("last", (value, budget) => {
		if (!(asText(value) !== void 0 || asItems(value) || value instanceof Map || value instanceof Undefined) && !(value instanceof PyRange) && !(value instanceof PyView)) throw new JinjaError(`'${typeName(value)}' object is not reversible`);
		const items = toList(value, budget);
		return items.length === 0 ? new Undefined("No last item, sequence was empty.") : items.at(-1);
	}),
	sort: (value, args, kwargs, { budget }) => {
		const [isReversed = false, sensitive = false, attribute = null] = bind("sort", [
			"reverse",
			"case_sensitive",
			"attribute"
		], args, kwargs);
		const key = multiGetter(attribute, budget, !isTrue(sensitive));
		return sorted(toList(value, budget), key, isTrue(isReversed), budget);
	},
	dictsort: (value, args, kwargs, { budget }) => {
		const [sensitive = false, by = "key", isReversed = false] = bind("dictsort", [
			"case_sensitive",
			"by",
			"reverse"
		], args, kwargs);
		if (by !== "key" && by !== "value") throw new JinjaError("You can only sort by either \"key\" or \"value\"");
		if (value instanceof Undefined) throw value.fail();
		if (!(value instanceof Map)) throw new JinjaError(`'${typeName(value)}' object has no attribute 'items'`);
		const pairs = toList(new PyView("items", value), budget);
		const key = (pair) => {
			const part = pair.items[by === "key" ? 0 : 1];
			return isTrue(sensitive) ? part : lowerCase$1(part);
		};
		return sorted(pairs, key, isTrue(isReversed), budget);
	},
	unique: (value, args, kwargs, { budget }) => {
		const [sensitive = false, attribute = null] = bind("unique", ["case_sensitive", "attribute"], args, kwargs);
		const key = getter(attribute, budget, !isTrue(sensitive));
		return iteratorOf(function* () {
			const seen = new Set();
			for (const item of each(value, budget)) {
				const hash = hashKey(key(item), budget);
				if (seen.has(hash)) continue;
				seen.add(hash);
				yield item;
			}
		});
	}
};
// src/data/jinja/filters.ts
const MAX_INDENT = 16;
function soft(value, name, budget) {
	if (value instanceof Markup) throw unsupported(`the filter ${name} after \`safe\` or \`escape\``);
	const text = toText(value, budget);
	budget.expect(text.length);
	return text;
}
const changing = (name, change) => withoutArguments(name, (value, budget) => {
	if (value instanceof Markup) return new Markup(change(soft(value.text, name, budget)));
	return change(soft(value, name, budget));
});
function title(text) {
	return text.split(/([-\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000({[<]+)/).map((item) => {
		if (item === "") return "";
		const first = String.fromCodePoint(item.codePointAt(0));
		const rest = item.slice(first.length);
		if (rest.includes("Σ")) throw unsupported("the lower case of a sigma within a word");
		return first.toUpperCase() + rest.toLowerCase();
	}).join("");
}
const defaulting = (value, args, kwargs) => {
	const [fallback, forFalse] = bind("default", ["default_value", "boolean"], args, kwargs);
	if (!(value instanceof Undefined || forFalse !== void 0 && isTrue(forFalse) && !isTrue(value))) return value;
	return fallback === void 0 ? "" : fallback;
};
const length = withoutArguments("len", lengthOf);
const indent = (value, args, kwargs, { budget }) => {
	const [width = 4, first = false, blank = false] = bind("indent", [
		"width",
		"first",
		"blank"
	], args, kwargs);
	if (value instanceof Undefined) throw value.fail();
	if (value instanceof Markup) throw unsupported("the filter indent after `safe` or `escape`");
	const text = textOf(value, "indent");
	const given = asText(width);
	const spaces = given?.length ?? integerOf(width, "indent");
	if (spaces > MAX_INDENT) throw outOfBounds(`indent by ${spaces} spaces, at most ${MAX_INDENT} are allowed`);
	const indention = given ?? " ".repeat(Math.max(0, spaces));
	const lines = splitLines(`${text}\n`);
	budget.expect(text.length + (lines.length + 1) * (indention.length + 1));
	const rest = lines.slice(1).map((line) => line || isTrue(blank) ? indention + line : line);
	return (isTrue(first) ? indention : "") + [lines[0], ...rest].join("\n");
};
const int = (value, args, kwargs) => {
	const [fallback = 0, base = 10] = bind("int", ["default", "base"], args, kwargs);
	if (value instanceof Undefined) throw value.fail();
	const text = asText(value);
	const number = asNumber(value);
	if (text !== void 0) {
		const parsed = parseInteger(text, integerOf(base, "int"));
		if (parsed !== void 0) return parsed;
		const float = parseFloatText(text);
		if (float === void 0 || Number.isNaN(float)) return fallback;
		if (!Number.isFinite(float)) throw unsupported("the integer of an infinity");
		return checkInteger(Math.trunc(float));
	}
	if (number === void 0) return fallback;
	if (Number.isNaN(number)) return fallback;
	if (!Number.isFinite(number)) throw new JinjaError("cannot convert float infinity to integer");
	return checkInteger(Math.trunc(number));
};
const float = (value, args, kwargs) => {
	const [fallback = new PyFloat(0)] = bind("float", ["default"], args, kwargs);
	if (value instanceof Undefined) throw value.fail();
	const text = asText(value);
	const number = text === void 0 ? asNumber(value) : parseFloatText(text);
	return number === void 0 ? fallback : new PyFloat(number);
};
const round = (value, args, kwargs) => {
	const [digits = 0, method = "common"] = bind("round", ["precision", "method"], args, kwargs);
	if (method !== "common" && method !== "ceil" && method !== "floor") throw new JinjaError("method must be common, ceil or floor");
	if (value instanceof Undefined) throw value.fail();
	const number = asNumber(value);
	if (number === void 0) throw new JinjaError(`type ${typeName(value)} doesn't define __round__ method`);
	if (method === "common") {
		if (digits === null) return value instanceof PyFloat ? checkInteger(Number(roundFloat(number, 0))) : number;
		const decimals = integerOf(digits, "round");
		return value instanceof PyFloat ? new PyFloat(roundFloat(number, decimals)) : roundInteger(number, decimals);
	}
	const decimals = integerOf(digits, "round");
	if (decimals < 0) throw unsupported("rounding up or down to tens");
	if (decimals > 15 || !Number.isSafeInteger(Math.trunc(number * 10 ** decimals))) throw unsupported("rounding so large a number");
	const scaled = number * 10 ** decimals;
	return new PyFloat((method === "ceil" ? Math.ceil(scaled) + 0 : Math.floor(scaled)) / 10 ** decimals);
};
const truncate = (value, args, kwargs, { budget }) => {
	const [length = 255, killwords = false, end = "...", leeway = null] = bind("truncate", [
		"length",
		"killwords",
		"end",
		"leeway"
	], args, kwargs);
	if (value instanceof Undefined) return value;
	if (value instanceof Markup) throw unsupported("the filter truncate after `safe` or `escape`");
	const mark = textOf(end, "truncate");
	const limit = integerOf(length, "truncate");
	const slack = leeway === null ? 5 : integerOf(leeway, "truncate");
	if (limit < textLength(mark) || slack < 0) throw new JinjaError("truncate: expected length >= the end, leeway >= 0");
	if (lengthOf(value) <= limit + slack) return value;
	if (typeof value !== "string") throw unsupported(`the filter truncate of a ${typeName(value)}`);
	const text = value;
	const chars = characters(text);
	budget.expect(text.length);
	const kept = chars.slice(0, limit - textLength(mark)).join("");
	if (isTrue(killwords)) return kept + mark;
	const space = kept.lastIndexOf(" ");
	return (space < 0 ? kept : kept.slice(0, space)) + mark;
};
const TEXT_FILTERS = {
	upper: changing("upper", (text) => text.toUpperCase()),
	lower: changing("lower", (text) => text.toLowerCase()),
	title: withoutArguments("title", (value, budget) => title(toText(value, budget))),
	capitalize: changing("capitalize", capitalize),
	wordcount: withoutArguments("wordcount", (value, budget) => toText(value, budget).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
	string: withoutArguments("string", (value, budget) => value instanceof Markup ? value : toText(value, budget)),
	safe: withoutArguments("safe", (value, budget) => new Markup(toText(value, budget))),
	escape: withoutArguments("escape", (value, budget) => value instanceof Markup ? value : escapeHtml(toText(value, budget), budget)),
	forceescape: withoutArguments("forceescape", (value, budget) => escapeHtml(toText(value, budget), budget)),
	trim: (value, args, kwargs, { budget }) => {
		const [chars = null] = bind("trim", ["chars"], args, kwargs);
		if (value instanceof Markup && chars === null) return new Markup(strip(value.text));
		const text = soft(value, "trim", budget);
		return chars === null ? strip(text) : strip(text, textOf(chars, "strip"));
	},
	replace: (value, args, kwargs, { budget }) => {
		const [from, to, count = null] = bind("replace", [
			"!old",
			"!new",
			"count"
		], args, kwargs);
		const times = count === null ? -1 : integerOf(count, "replace");
		return replaceText(toText(value, budget), toText(from, budget), toText(to, budget), times, budget);
	},
	center: (value, args, kwargs, { budget }) => {
		const [width = 80] = bind("center", ["width"], args, kwargs);
		const text = soft(value, "center", budget);
		const missing = integerOf(width, "center") - textLength(text);
		if (missing > 1e4) throw outOfBounds(`a text padded by ${missing} characters`);
		return missing <= 0 ? text : centered(text, missing, " ");
	},
	format: (value, args, kwargs, { budget }) => {
		if (args.length && kwargs.size) throw new JinjaError("can't handle positional and keyword arguments at the same time");
		return percentFormat(soft(value, "format", budget), kwargs.size ? kwargs : new PyTuple(args), budget);
	},
	tojson: (value, args, kwargs, { budget }) => {
		const [isAscii = false, indent = null, separators = null, sortKeys = false] = bind("tojson", [
			"ensure_ascii",
			"indent",
			"separators",
			"sort_keys"
		], args, kwargs);
		return toJson(value, {
			isAscii,
			indent,
			separators,
			sortKeys
		}, budget);
	},
	abs: withoutArguments("abs", (value) => {
		if (value instanceof Undefined) throw value.fail();
		const number = asNumber(value);
		if (number === void 0) throw new OperandError(`bad operand type for abs(): '${typeName(value)}'`, [typeName(value)]);
		return value instanceof PyFloat ? new PyFloat(Math.abs(number)) : Math.abs(number);
	}),
	attr: (value, args, kwargs, { budget }) => {
		const [name] = bind("attr", ["!name"], args, kwargs);
		if (value instanceof Undefined) throw value.fail();
		if (typeof name !== "string") throw unsupported("the filter attr with no str");
		const attribute = attributeOf(value, name, budget);
		return attribute === void 0 ? new Undefined(`'${typeName(value)}' has no attribute '${name}'`) : attribute;
	},
	default: defaulting,
	d: defaulting,
	length,
	count: length,
	indent,
	int,
	float,
	round,
	truncate
};
const FILTERS = new Map([
	...Object.entries(TEXT_FILTERS),
	["e", TEXT_FILTERS["escape"]],
	...Object.entries(SEQUENCE_FILTERS)
]);
const OTHER_FILTERS = new Set("filesizeformat pprint random striptags urlencode urlize wordwrap xmlattr".split(" "));
const FILTER_NAMES = new Set([...FILTERS.keys(), ...OTHER_FILTERS]);
// src/data/jinja/runtime.ts
var Activation = class {
	rendering;
	context;
	up;
	slots;
	constructor(scope, rendering, context, up) {
		this.rendering = rendering;
		this.context = context;
		this.up = up;
		rendering.budget.spend(8 * scope.size);
		this.slots = new Array(scope.size).fill(void 0);
	}
	resolve(name) {
		const value = this.context.vars.get(name);
		return value !== void 0 ? value : this.context.given.get(name);
	}
};
function callValue(callee, args, kwargs, budget) {
	budget.spend(32 + 8 * args.length);
	if (callee instanceof PyFunction) return callee.call(args, kwargs);
	if (callee instanceof Undefined) throw callee.fail();
	if (callee instanceof PyObject && callee.call) return callee.call(args, kwargs);
	throw new JinjaError(`'${typeName(callee)}' object is not callable`);
}
function unpack(value, count, budget) {
	const items = asItems(value) ?? [];
	if (!asItems(value)) {
		const iterator = iterate(value, budget);
		const list = items;
		for (let step = iterator.next(); !step.done && list.length <= count; step = iterator.next()) list.push(step.value);
	}
	if (items.length > count) throw new JinjaError(`too many values to unpack (expected ${count})`);
	if (items.length < count) throw new JinjaError(`not enough values to unpack (expected ${count}, got ${items.length})`);
	return items;
}
var LoopState = class {
	iterable;
	budget;
	object;
	index0 = -1;
	#iterator;
	#length;
	#after;
	#current;
	#before;
	#changed;
	constructor(iterable, budget, depth, recurse) {
		this.iterable = iterable;
		this.budget = budget;
		this.#iterator = iterate(iterable, budget);
		const attribute = (name) => {
			switch (name) {
				case "index0": return this.index0;
				case "index": return this.index0 + 1;
				case "length": return this.#count();
				case "revindex0": return this.#count() - this.index0 - 1;
				case "revindex": return this.#count() - this.index0;
				case "first": return this.index0 === 0;
				case "last": return this.#peek() === void 0;
				case "previtem": return this.index0 === 0 ? new Undefined("there is no previous item") : this.#before;
				case "nextitem": {
					const after = this.#peek();
					return after === void 0 ? new Undefined("there is no next item") : after;
				}
				case "depth": return depth + 1;
				case "depth0": return depth;
				case "cycle": return new PyFunction("cycle", (args, kwargs) => {
					if (kwargs.size || args.length === 0) throw new JinjaError("no items for cycling given");
					return args[this.index0 % args.length];
				});
				case "changed": return new PyFunction("changed", (args) => this.#hasChanged(new PyTuple(args)));
				default: return;
			}
		};
		const call = (args) => {
			if (!recurse) throw new JinjaError("The loop must have the 'recursive' marker to be called recursively.");
			if (args.length !== 1) throw new JinjaError("loop() takes one argument");
			return recurse(args[0]);
		};
		const print = () => `<LoopContext ${this.index0 + 1}/${this.#count()}>`;
		this.object = new PyObject("LoopContext", attribute, call, print);
	}
	next() {
		let value = this.#after;
		if (value !== void 0) this.#after = void 0;
		else {
			const step = this.#iterator.next();
			if (step.done) return void 0;
			value = step.value;
		}
		this.index0++;
		this.#before = this.#current;
		this.#current = value;
		return value;
	}
	#peek() {
		if (this.#after !== void 0) return this.#after;
		const step = this.#iterator.next();
		if (!step.done) this.#after = step.value;
		return this.#after;
	}
	#count() {
		if (this.#length !== void 0) return this.#length;
		const { iterable } = this;
		if (asText(iterable) !== void 0 || asItems(iterable) || iterable instanceof Map || iterable instanceof PyRange || iterable instanceof PyView || iterable instanceof Undefined) this.#length = lengthOf(iterable);
		else {
			const rest = [];
			for (let step = this.#iterator.next(); !step.done; step = this.#iterator.next()) {
				this.budget.spend(16);
				rest.push(step.value);
			}
			this.#iterator = rest.values();
			this.#length = rest.length + this.index0 + 1 + (this.#after === void 0 ? 0 : 1);
		}
		return this.#length;
	}
	#hasChanged(value) {
		if (this.#changed !== void 0 && isEqual(this.#changed, value, this.budget)) return false;
		this.#changed = value;
		return true;
	}
};
function bindMacro(shape, slots, args, given) {
	const kwargs = new Map(given);
	const label = `macro '${shape.name ?? "None"}'`;
	const hasExplicitCaller = shape.params.includes("caller");
	shape.params.forEach((name, i) => {
		if (i < args.length) slots[shape.slots[i].slot] = args[i];
		else {
			slots[shape.slots[i].slot] = kwargs.get(name);
			kwargs.delete(name);
		}
	});
	if (shape.caller && !hasExplicitCaller) {
		const caller = kwargs.get("caller") ?? null;
		kwargs.delete("caller");
		slots[shape.caller.slot] = caller ?? new Undefined("No caller defined");
	}
	if (shape.kwargs) slots[shape.kwargs.slot] = kwargs;
	else if (kwargs.size) throw new JinjaError(`${label} takes no keyword argument '${[...kwargs.keys()][0]}'`);
	if (shape.varargs) slots[shape.varargs.slot] = new PyTuple(args.slice(shape.params.length));
	else if (args.length > shape.params.length) throw new JinjaError(`${label} takes not more than ${shape.params.length} argument(s)`);
}
function macroObject(shape, call, name) {
	const attributes = new Map([
		["name", name ?? null],
		["arguments", new PyTuple(shape.params)],
		["catch_kwargs", shape.kwargs !== void 0],
		["catch_varargs", shape.varargs !== void 0],
		["caller", shape.caller !== void 0],
		["explicit_caller", shape.params.includes("caller")]
	]);
	const print = () => `<Macro ${name === void 0 ? "anonymous" : `'${name}'`}>`;
	return new PyObject("Macro", (key) => attributes.get(key), call, print);
}
function checkNamespace(value) {
	if (!(value instanceof Namespace)) throw new JinjaError("cannot assign attribute on non-namespace object");
}
// src/data/jinja/value-tests.ts
const unary = (test) => (value, args, kwargs, budget) => {
	bind("test", [], args, kwargs);
	return test(value, budget);
};
const binaryTest = (name, test) => (value, args, kwargs, budget) => test(value, bind("test", [`!${name}`], args, kwargs)[0], budget);
const modulo = (value, by, budget) => binary("%", value, by, budget);
function isSame(a, b) {
	if (a instanceof Undefined || b instanceof Undefined) {
		if (a instanceof Undefined && b instanceof Undefined) throw unsupported("sameas of undefined values");
		return false;
	}
	if (typeof a !== typeof b) return false;
	if (a === b && (typeof a === "boolean" || a === null || typeof a === "number" && a >= -5 && a <= 256)) return true;
	if (a instanceof PyFunction && b instanceof PyFunction) throw unsupported("sameas of functions");
	if (a === b || a instanceof PyFloat && b instanceof PyFloat && a.value === b.value) {
		if (typeof a === "object" && !(a instanceof PyFloat) && !(a instanceof Markup)) return true;
		throw unsupported(`sameas of equal values of type ${typeName(a)}`);
	}
	const [items, others] = [asItems(a), asItems(b)];
	if (items?.length === 0 && others?.length === 0 && !Array.isArray(a)) throw unsupported("sameas of tuples");
	return false;
}
const equals = binaryTest("other", (value, other, budget) => isEqual(value, other, budget));
const differs = binaryTest("other", (value, other, budget) => !isEqual(value, other, budget));
const order = (operator) => binaryTest("other", (value, other, budget) => compare(operator, value, other, budget));
function isIterable(value) {
	if (asText(value) !== void 0 || asItems(value) || value instanceof Map || value instanceof Undefined) return true;
	return value instanceof PyRange || value instanceof PyView || value instanceof PyIterator || value instanceof PyObject && value.kind === "LoopContext";
}
const ENTRIES = {
	odd: unary((value, budget) => isEqual(modulo(value, 2, budget), 1, budget)),
	even: unary((value, budget) => isEqual(modulo(value, 2, budget), 0, budget)),
	divisibleby: binaryTest("num", (value, other, budget) => isEqual(modulo(value, other, budget), 0, budget)),
	defined: unary((value) => !(value instanceof Undefined)),
	undefined: unary((value) => value instanceof Undefined),
	none: unary((value) => value === null),
	boolean: unary((value) => typeof value === "boolean"),
	false: unary((value) => value === false),
	true: unary((value) => value === true),
	integer: unary((value) => typeof value === "number"),
	float: unary((value) => value instanceof PyFloat),
	number: unary((value) => asNumber(value) !== void 0),
	string: unary((value) => asText(value) !== void 0),
	mapping: unary((value) => value instanceof Map),
	sequence: unary((value) => asText(value) !== void 0 || asItems(value) !== void 0 || value instanceof Map || value instanceof PyRange || value instanceof Undefined),
	iterable: unary(isIterable),
	callable: unary((value) => {
		if (value instanceof PyFunction || value instanceof Undefined) return true;
		return value instanceof PyObject && value.call !== void 0;
	}),
	lower: unary((value, budget) => isLower(toText(value, budget))),
	upper: unary((value, budget) => isUpper(toText(value, budget))),
	escaped: unary((value) => value instanceof Markup),
	sameas: binaryTest("other", isSame),
	in: binaryTest("seq", (value, other, budget) => contains(other, value, budget)),
	"==": equals,
	eq: equals,
	equalto: equals,
	"!=": differs,
	ne: differs,
	">": order(">"),
	gt: order(">"),
	greaterthan: order(">"),
	">=": order(">="),
	ge: order(">="),
	"<": order("<"),
	lt: order("<"),
	lessthan: order("<"),
	"<=": order("<="),
	le: order("<=")
};
const TESTS = new Map(Object.entries(ENTRIES));
function callTest(name, value, args, kwargs, budget, filters) {
	if (name === "filter" || name === "test") {
		bind("test", [], args, kwargs);
		if (typeof value !== "string") throw unsupported(`the test ${name} of a ${typeName(value)}`);
		return name === "filter" ? filters.has(value) : value === "filter" || value === "test" || TESTS.has(value);
	}
	const test = typeof name === "string" ? TESTS.get(name) : void 0;
	if (!test) throw new JinjaError(`No test named '${toText(name, budget)}'.`);
	budget.spend(16);
	return test(value, args, kwargs ?? NO_KWARGS, budget);
}
// src/data/jinja/expression-compiler.ts
function slotReader(ref, from) {
	let hops = 0;
	for (let scope = from; scope !== ref.scope; scope = scope.parent, hops++) if (!scope.parent) throw new JinjaError(`the name '${ref.name}' is not known where it is used`);
	const { slot } = ref;
	if (hops === 0) return (activation) => activation.slots[slot];
	if (hops === 1) return (activation) => activation.up.slots[slot];
	return (activation) => {
		let at = activation;
		for (let i = 0; i < hops; i++) at = at.up;
		return at.slots[slot];
	};
}
var ExpressionCompiler = class {
	nodes = 0;
	expression(node, frame) {
		this.nodes++;
		switch (node.kind) {
			case "const": {
				const value = node.isFloat ? new PyFloat(node.value) : node.value;
				return () => value;
			}
			case "name": return this.#name(node.name, frame);
			case "tuple":
			case "list": {
				const items = node.items.map((item) => this.expression(item, frame));
				const isList = node.kind === "list";
				return (activation) => {
					activation.rendering.budget.spend(16 * items.length);
					const values = items.map((item) => item(activation));
					return isList ? values : new PyTuple(values);
				};
			}
			case "dict": return this.#dict(node.items, frame);
			case "if": {
				const soft = {
					...frame,
					isSoft: true
				};
				const [test, then] = [this.expression(node.test, soft), this.expression(node.yes, soft)];
				const orElse = node.no ? this.expression(node.no, soft) : noElse;
				return (activation) => isTrue(test(activation)) ? then(activation) : orElse(activation);
			}
			case "and":
			case "or": {
				const [left, right] = [this.expression(node.left, frame), this.expression(node.right, frame)];
				const goesOn = node.kind === "and";
				return (activation) => {
					const value = left(activation);
					return isTrue(value) === goesOn ? right(activation) : value;
				};
			}
			case "not": {
				const operand = this.expression(node.operand, frame);
				return (activation) => !isTrue(operand(activation));
			}
			case "negative":
			case "positive": {
				const operand = this.expression(node.operand, frame);
				const isNegative = node.kind === "negative";
				return (activation) => signed(isNegative, operand(activation));
			}
			case "binary": {
				const [left, right] = [this.expression(node.left, frame), this.expression(node.right, frame)];
				const { operator } = node;
				return (activation) => binary(operator, left(activation), right(activation), activation.rendering.budget);
			}
			case "concat": {
				const items = node.items.map((item) => this.expression(item, frame));
				return (activation) => {
					const { budget } = activation.rendering;
					const values = items.map((item) => item(activation));
					let text = "";
					for (const value of values) {
						text += toText(value, budget);
						budget.expect(text.length);
					}
					return text;
				};
			}
			case "compare": return this.#compare(node, frame);
			case "attribute": {
				const object = this.expression(node.object, frame);
				const { name } = node;
				return (activation) => getAttribute(object(activation), name, activation.rendering.budget);
			}
			case "item": {
				const [object, key] = [this.expression(node.object, frame), this.expression(node.key, frame)];
				return (activation) => getItem(object(activation), key(activation), activation.rendering.budget);
			}
			case "slice": {
				const object = this.expression(node.object, frame);
				const bounds = [
					node.start,
					node.stop,
					node.step
				].map((bound) => bound && this.expression(bound, frame));
				return (activation) => {
					return slice$2(object(activation), bounds.map((bound) => bound?.(activation)), activation.rendering.budget);
				};
			}
			case "call": {
				const callee = this.expression(node.callee, frame);
				const given = this.arguments(node.arguments, frame);
				return (activation) => {
					const called = callee(activation);
					const [args, kwargs] = given(activation);
					return callValue(called, args, kwargs, activation.rendering.budget);
				};
			}
			case "filter": return this.filter(node, frame, node.operand && this.expression(node.operand, frame));
			case "test": return this.#test(node, frame);
			default: throw new JinjaError(`unexpected ${node.kind}`);
		}
	}
	#name(name, frame) {
		const read = slotReader(frame.symbols.ref(name), frame.scope);
		return (activation) => {
			const value = read(activation);
			return value === void 0 ? new Undefined(`'${name}' is undefined`) : value;
		};
	}
	#dict(items, frame) {
		const pairs = items.map(([key, value]) => [this.expression(key, frame), this.expression(value, frame)]);
		return (activation) => {
			activation.rendering.budget.spend(32 * pairs.length);
			const dict = new Map();
			for (const [key, value] of pairs) {
				const name = toKey(key(activation));
				dict.set(name, value(activation));
			}
			return dict;
		};
	}
	#compare(node, frame) {
		const first = this.expression(node.first, frame);
		const rest = node.rest.map(([operator, operand]) => [operator, this.expression(operand, frame)]);
		return (activation) => {
			let left = first(activation);
			for (const [operator, operand] of rest) {
				const right = operand(activation);
				if (!compare(operator, left, right, activation.rendering.budget)) return false;
				left = right;
			}
			return true;
		};
	}
	arguments(node, frame) {
		const args = node.args.map((arg) => this.expression(arg, frame));
		const kwargs = node.kwargs.map(([name, value]) => [name, this.expression(value, frame)]);
		const rest = node.rest && this.expression(node.rest, frame);
		const keywords = node.keywords && this.expression(node.keywords, frame);
		return (activation) => {
			const values = args.map((arg) => arg(activation));
			if (rest) values.push(...toList(rest(activation), activation.rendering.budget));
			if (!kwargs.length && !keywords) return [values, NO_KWARGS];
			const named = new Map();
			for (const [name, value] of kwargs) named.set(name, value(activation));
			if (keywords) addKeywords(named, keywords(activation));
			return [values, named];
		};
	}
	filter(node, frame, operand) {
		const { name } = node;
		const apply = FILTERS.get(name);
		if (OTHER_FILTERS.has(name)) throw unsupported(`the filter ${name} in line ${node.line}`);
		if (!apply && !frame.isSoft) throw new JinjaError(`No filter named '${name}'. (line ${node.line})`);
		const given = this.arguments(node.arguments, frame);
		if (!operand) throw new JinjaError(`the filter ${name} has nothing to filter`);
		return (activation) => {
			if (!apply) throw new JinjaError(`No filter named '${name}' found.`);
			const value = operand(activation);
			const [args, kwargs] = given(activation);
			activation.rendering.budget.spend(16);
			return apply(value, args, kwargs, activation.rendering);
		};
	}
	#test(node, frame) {
		const { name } = node;
		const exists = TESTS.has(name) || name === "filter" || name === "test";
		if (!exists && !frame.isSoft) throw new JinjaError(`No test named '${name}'. (line ${node.line})`);
		const operand = this.expression(node.operand, frame);
		const given = this.arguments(node.arguments, frame);
		return (activation) => {
			if (!exists) throw new JinjaError(`No test named '${name}' found.`);
			const value = operand(activation);
			const [args, kwargs] = given(activation);
			return activation.rendering.callTest(name, value, args, kwargs);
		};
	}
};
function noElse() {
	return new Undefined("the inline if-expression evaluated to false and no else section was defined.");
}
function addKeywords(named, value) {
	if (!(value instanceof Map)) throw new JinjaError(`argument after ** must be a mapping, not ${typeName(value)}`);
	for (const [key, item] of value) {
		if (typeof key !== "string") throw new JinjaError("keywords must be strings");
		if (named.has(key)) throw new JinjaError(`got multiple values for keyword argument '${key}'`);
		named.set(key, item);
	}
}
// src/data/jinja/scope.ts
var FunctionScope = class {
	parent;
	#refs = new Map();
	constructor(parent) {
		this.parent = parent;
	}
	get size() {
		return this.#refs.size;
	}
	ref(level, name) {
		const key = `${level} ${name}`;
		let ref = this.#refs.get(key);
		if (!ref) {
			ref = {
				scope: this,
				slot: this.#refs.size,
				name
			};
			this.#refs.set(key, ref);
		}
		return ref;
	}
	unnamed() {
		return this.ref(-1, String(this.#refs.size));
	}
};
var Symbols = class Symbols {
	scope;
	parent;
	level;
	refs;
	loads;
	stores;
	constructor(scope, parent, level = (parent?.level ?? -1) + 1, copied) {
		this.scope = scope;
		this.parent = parent;
		this.level = level;
		this.refs = new Map(copied?.refs);
		this.loads = new Map(copied?.loads);
		this.stores = new Set(copied?.stores);
	}
	find(name) {
		return this.refs.get(name) ?? this.parent?.find(name);
	}
	ref(name) {
		const ref = this.find(name);
		if (!ref) throw new JinjaError(`the name '${name}' is not known where it is used`);
		return ref;
	}
	#define(name, load) {
		const ref = this.scope.ref(this.level, name);
		this.refs.set(name, ref);
		this.loads.set(ref, load);
		return ref;
	}
	declareParameter(name) {
		this.stores.add(name);
		return this.#define(name, { kind: "parameter" });
	}
	load(name) {
		if (!this.find(name)) this.#define(name, {
			kind: "resolve",
			name
		});
	}
	store(name) {
		this.stores.add(name);
		if (this.refs.has(name)) return;
		const outer = this.parent?.find(name);
		this.#define(name, outer ? {
			kind: "alias",
			from: outer
		} : { kind: "undefined" });
	}
	copy() {
		return new Symbols(this.scope, this.parent, this.level, this);
	}
	merge(branches) {
		const stores = new Set(branches.flatMap((branch) => [...branch.stores]).filter((name) => !this.stores.has(name)));
		for (const branch of branches) {
			for (const [name, ref] of branch.refs) this.refs.set(name, ref);
			for (const [ref, load] of branch.loads) this.loads.set(ref, load);
			for (const name of branch.stores) this.stores.add(name);
		}
		for (const name of stores) {
			const outer = this.parent?.find(name);
			this.loads.set(this.ref(name), outer ? {
				kind: "alias",
				from: outer
			} : {
				kind: "resolve",
				name
			});
		}
	}
	allStores() {
		const refs = new Map();
		for (let symbols = this; symbols; symbols = symbols.parent) for (const name of symbols.stores) if (!refs.has(name)) refs.set(name, this.ref(name));
		return refs;
	}
	readAll(expressions) {
		for (const expression of expressions) this.read(expression);
	}
	read(expression) {
		if (!expression) return;
		if (expression.kind === "name" || expression.kind === "namespace") this.load(expression.name);
		else this.readAll(childrenOf(expression));
	}
	set(target, isParameter = false) {
		if (target.kind === "tuple") for (const item of target.items) this.set(item, isParameter);
		else if (target.kind === "namespace") this.load(target.name);
		else if (target.kind === "name") {
			if (isParameter) this.declareParameter(target.name);
			else this.store(target.name);
		}
	}
	visit(statements) {
		for (const statement of statements) this.#visit(statement);
	}
	#visit(node) {
		switch (node.kind) {
			case "output":
				this.readAll(node.items.filter((item) => typeof item !== "string"));
				return;
			case "for":
				this.read(node.iterable);
				return;
			case "if": {
				this.read(node.test);
				const branches = [
					node.body,
					node.elifs,
					node.orElse
				].map((body) => {
					const copy = this.copy();
					copy.visit(body);
					return copy;
				});
				this.merge(branches);
				return;
			}
			case "set":
				this.read(node.value);
				this.set(node.target);
				return;
			case "set block":
				this.set(node.target);
				return;
			case "macro":
				this.store(node.name);
				return;
			case "call block":
				this.read(node.call);
				return;
			case "filter block":
				this.read(node.filter);
				return;
			case "with":
				this.readAll(node.values);
				return;
		}
	}
};
function argumentsOf({ args, kwargs, rest, keywords }) {
	return [
		...args,
		...kwargs.map(([, value]) => value),
		rest,
		keywords
	];
}
function childrenOf(node) {
	switch (node.kind) {
		case "const":
		case "name":
		case "namespace": return [];
		case "tuple":
		case "list":
		case "concat": return node.items;
		case "dict": return node.items.flat();
		case "if": return [
			node.test,
			node.yes,
			node.no
		];
		case "and":
		case "or":
		case "binary": return [node.left, node.right];
		case "not":
		case "negative":
		case "positive": return [node.operand];
		case "compare": return [node.first, ...node.rest.map(([, operand]) => operand)];
		case "attribute": return [node.object];
		case "item": return [node.object, node.key];
		case "slice": return [
			node.object,
			node.start,
			node.stop,
			node.step
		];
		case "call": return [node.callee, ...argumentsOf(node.arguments)];
		case "filter":
		case "test": return [node.operand, ...argumentsOf(node.arguments)];
	}
}
// src/data/jinja/frame-compiler.ts
var FrameCompiler = class extends ExpressionCompiler {
	enter(frame) {
		const { scope } = frame;
		const steps = [...frame.symbols.loads].flatMap(([{ slot }, load]) => {
			if (load.kind === "parameter") return [];
			if (load.kind === "resolve") return [(activation) => {
				activation.slots[slot] = activation.resolve(load.name);
			}];
			const read = load.kind === "alias" ? slotReader(load.from, scope) : () => void 0;
			return [(activation) => {
				activation.slots[slot] = read(activation);
			}];
		});
		return (activation) => {
			for (const step of steps) step(activation);
		};
	}
	leave(frame) {
		const slots = [...frame.symbols.loads.keys()].map(({ slot }) => slot);
		return (activation) => {
			for (const slot of slots) activation.slots[slot] = void 0;
		};
	}
	inner(frame, symbols = new Symbols(frame.scope, frame.symbols)) {
		return {
			symbols,
			scope: symbols.scope,
			isTop: false,
			isSoft: false,
			loops: frame.loops
		};
	}
	scoped(frame, body, wrap) {
		const run = wrap(body);
		const [enter, leave] = [this.enter(frame), this.leave(frame)];
		return (activation, out) => {
			enter(activation);
			const signal = run(activation, out);
			leave(activation);
			return signal;
		};
	}
	write(value, { rendering }, out) {
		const text = toText(value, rendering.budget);
		rendering.budget.spend(text.length);
		out.text += text;
		rendering.budget.checkSize(out.text.length);
	}
	namespaceCheck(target, frame) {
		if (target.kind !== "namespace") return void 0;
		const read = slotReader(frame.symbols.ref(target.name), frame.scope);
		return (activation) => checkNamespace(read(activation));
	}
	assign(target, frame) {
		if (target.kind === "tuple") {
			const parts = target.items.map((item) => this.assign(item, frame));
			return (activation, value) => {
				const items = unpack(value, parts.length, activation.rendering.budget);
				for (const [i, assign] of parts.entries()) assign(activation, items[i]);
			};
		}
		if (target.kind === "namespace") {
			const read = slotReader(frame.symbols.ref(target.name), frame.scope);
			return (activation, value) => {
				const namespace = read(activation);
				checkNamespace(namespace);
				namespace.attributes.set(target.attribute, value);
			};
		}
		const { name } = target;
		const { slot, scope } = frame.symbols.ref(name);
		if (scope !== frame.scope) throw new JinjaError(`the name '${name}' is not known where it is set`);
		return (activation, value) => {
			activation.slots[slot] = value;
			if (frame.isTop) activation.context.vars.set(name, value);
		};
	}
};
// src/data/jinja/searches.ts
function readNames(statements, names) {
	const wanted = new Set(names);
	const found = new Set();
	const read = (node) => {
		if (!node) return;
		if (node.kind === "name" && wanted.has(node.name)) found.add(node.name);
		for (const child of childrenOf(node)) read(child);
	};
	const store = (target) => {
		if (target.kind === "name") wanted.delete(target.name);
		else if (target.kind === "tuple") target.items.forEach(store);
	};
	const visit = (node) => {
		switch (node.kind) {
			case "output":
				for (const item of node.items) if (typeof item !== "string") read(item);
				return;
			case "for":
				store(node.target);
				read(node.iterable);
				node.body.forEach(visit);
				node.orElse.forEach(visit);
				read(node.test);
				return;
			case "if":
				read(node.test);
				for (const body of [
					node.body,
					node.elifs,
					node.orElse
				]) body.forEach(visit);
				return;
			case "set":
				store(node.target);
				read(node.value);
				return;
			case "set block":
				store(node.target);
				read(node.filter);
				node.body.forEach(visit);
				return;
			case "call block":
				read(node.call);
				for (const param of node.signature.params) wanted.delete(param);
				node.signature.defaults.forEach(read);
				node.body.forEach(visit);
				return;
			case "macro":
				for (const param of node.signature.params) wanted.delete(param);
				node.signature.defaults.forEach(read);
				node.body.forEach(visit);
				return;
			case "filter block":
				node.body.forEach(visit);
				read(node.filter);
				return;
			case "with":
				node.targets.forEach(store);
				node.values.forEach(read);
				node.body.forEach(visit);
				return;
			case "generation":
				node.body.forEach(visit);
				return;
		}
	};
	statements.forEach(visit);
	return found;
}
function bodiesOf(node) {
	return [
		"body" in node ? node.body : [],
		"orElse" in node ? node.orElse : [],
		"elifs" in node ? node.elifs : []
	];
}
function hasScopedBlock(body) {
	return body.some((node) => node.kind === "block" && node.isScoped || bodiesOf(node).some(hasScopedBlock));
}
function rejectLoopTarget(node) {
	const check = (target) => {
		if (target.kind === "tuple") target.items.forEach(check);
		if (target.kind === "name" && target.name === "loop") throw new JinjaError("Can't assign to special loop variable in for-loop target");
	};
	if (node.kind === "for" || node.kind === "set" || node.kind === "set block") check(node.target);
	bodiesOf(node).flat().forEach(rejectLoopTarget);
}
// src/data/jinja/compiler.ts
const MAX_LOOPS = 18;
function compileTemplate(body) {
	return new Compiler().program(body);
}
var Compiler = class extends FrameCompiler {
	#blocks = new Map();
	#compiledBlocks = new Map();
	program(body) {
		this.#collectBlocks(body);
		const root = this.#function(body, true);
		for (const [name, block] of this.#blocks) this.#compiledBlocks.set(name, this.#block(block));
		return (rendering, context) => {
			root(new Activation(root.scope, rendering, context), rendering.root);
		};
	}
	#collectBlocks(body) {
		for (const node of body) {
			if (node.kind === "block") {
				if (this.#blocks.has(node.name)) throw new JinjaError(`block '${node.name}' defined twice (line ${node.line})`);
				this.#blocks.set(node.name, node);
			}
			this.#collectBlocks(bodiesOf(node).flat());
		}
	}
	#function(body, isTop) {
		const scope = new FunctionScope();
		const symbols = new Symbols(scope);
		const self = readNames(body, ["self"]).size ? symbols.declareParameter("self") : void 0;
		symbols.visit(body);
		const frame = {
			symbols,
			scope,
			isTop,
			isSoft: false,
			loops: 0
		};
		const enter = this.enter(frame);
		const execute = this.#statements(body, frame);
		const run = (activation, out) => {
			if (self) activation.slots[self.slot] = this.#self(activation);
			enter(activation);
			return execute(activation, out);
		};
		return Object.assign(run, { scope });
	}
	#block(block) {
		const run = this.#function(block.body, false);
		return (activation, context, out) => {
			activation.rendering.budget.call(() => run(new Activation(run.scope, activation.rendering, context), out));
		};
	}
	#self(activation) {
		return new PyObject("TemplateReference", (name) => {
			const block = this.#compiledBlocks.get(name);
			if (!block) return void 0;
			return new PyFunction(name, () => {
				const out = { text: "" };
				block(activation, activation.context, out);
				return out.text;
			});
		});
	}
	#statements(body, frame) {
		const list = body.map((statement) => {
			const before = this.nodes++;
			const execute = this.#statement(statement, frame);
			const cost = 8 * ("body" in statement ? 4 : this.nodes - before);
			return (activation, out) => {
				activation.rendering.budget.spend(cost);
				return execute(activation, out);
			};
		});
		if (list.length === 1) return list[0];
		return (activation, out) => {
			for (const execute of list) {
				const signal = execute(activation, out);
				if (signal) return signal;
			}
		};
	}
	#statement(node, frame) {
		switch (node.kind) {
			case "output": return this.#output(node.items, frame);
			case "for": return this.#for(node, frame);
			case "if": return this.#if(node, frame);
			case "set": {
				const value = this.expression(node.value, frame);
				const assign = this.assign(node.target, frame);
				const check = this.namespaceCheck(node.target, frame);
				return (activation) => {
					check?.(activation);
					assign(activation, value(activation));
				};
			}
			case "set block": return this.#setBlock(node, frame);
			case "macro": {
				const create = this.#macro(node.signature, node.body, frame, node.name);
				const assign = this.assign({
					kind: "name",
					name: node.name,
					line: 0
				}, frame);
				return (activation) => {
					assign(activation, create(activation));
				};
			}
			case "call block": {
				if (node.call.arguments.kwargs.some(([name]) => name === "caller")) throw new JinjaError("keyword argument repeated: caller");
				const create = this.#macro(node.signature, node.body, frame, void 0);
				const callee = this.expression(node.call.callee, frame);
				const given = this.arguments(node.call.arguments, frame);
				return (activation, out) => {
					const caller = create(activation);
					const called = callee(activation);
					const [args, kwargs] = given(activation);
					const { budget } = activation.rendering;
					this.write(callValue(called, args, new Map([...kwargs, ["caller", caller]]), budget), activation, out);
				};
			}
			case "generation": {
				const create = this.#macro({
					params: [],
					defaults: []
				}, node.body, frame, void 0);
				return (activation, out) => {
					const { budget, root, generation } = activation.rendering;
					const text = callValue(create(activation), [], new Map(), budget);
					generation.push([root.text.length, root.text.length + text.length]);
					this.write(text, activation, out);
				};
			}
			case "filter block": {
				const inner = this.inner(frame);
				inner.symbols.visit(node.body);
				inner.symbols.read(node.filter);
				const text = inner.scope.unnamed();
				return this.scoped(inner, this.#captured(node.body, inner, text), (body) => {
					const filter = this.#filters(node.filter, inner, text);
					return (activation, out) => {
						const signal = body(activation, out);
						if (!signal) this.write(filter(activation), activation, out);
						return signal;
					};
				});
			}
			case "with": {
				const inner = this.inner(frame);
				for (const target of node.targets) inner.symbols.set(target, true);
				inner.symbols.visit(node.body);
				const values = node.values.map((value) => this.expression(value, frame));
				const assigns = node.targets.map((target) => this.assign(target, inner));
				return this.scoped(inner, this.#statements(node.body, inner), (body) => (activation, out) => {
					for (const [i, assign] of assigns.entries()) assign(activation, values[i](activation));
					return body(activation, out);
				});
			}
			case "block": return this.#callBlock(node, frame);
			default:
				if (frame.loops === 0) throw new JinjaError(`'${node.kind}' outside loop (line ${node.line})`);
				return () => node.kind;
		}
	}
	#captured(body, frame, text) {
		const execute = this.#statements(body, frame);
		return (activation) => {
			const buffer = { text: "" };
			const signal = execute(activation, buffer);
			activation.slots[text.slot] = buffer.text;
			return signal;
		};
	}
	#filters(node, frame, text) {
		const operand = node.operand?.kind === "filter" ? this.#filters(node.operand, frame, text) : slotReader(text, frame.scope);
		return this.filter(node, frame, operand);
	}
	#output(nodes, frame) {
		const items = nodes.map((node) => typeof node === "string" ? node : this.expression(node, frame));
		return (activation, out) => {
			for (const item of items) this.write(typeof item === "string" ? item : item(activation), activation, out);
		};
	}
	#if(node, frame) {
		const soft = {
			...frame,
			isSoft: true
		};
		const branches = [node, ...node.elifs].map(({ test, body }) => [this.expression(test, soft), this.#statements(body, soft)]);
		const orElse = this.#statements(node.orElse, soft);
		return (activation, out) => {
			for (const [test, body] of branches) if (isTrue(test(activation))) return body(activation, out);
			return orElse(activation, out);
		};
	}
	#setBlock(node, frame) {
		const inner = this.inner(frame);
		inner.symbols.visit(node.body);
		const text = inner.scope.unnamed();
		const assign = this.assign(node.target, frame);
		return this.scoped(inner, this.#captured(node.body, inner, text), (body) => {
			const value = node.filter ? this.#filters(node.filter, inner, text) : slotReader(text, inner.scope);
			return (activation, out) => {
				const signal = body(activation, out);
				if (!signal) assign(activation, value(activation));
				return signal;
			};
		});
	}
	#macro({ params, defaults }, body, frame, name) {
		const scope = new FunctionScope(frame.scope);
		const symbols = new Symbols(scope, frame.symbols);
		const analyze = () => {
			for (const param of params) symbols.declareParameter(param);
			symbols.readAll(defaults);
			symbols.visit(body);
		};
		analyze();
		const special = readNames(body, [
			"caller",
			"kwargs",
			"varargs"
		]);
		const caller = params.indexOf("caller");
		if (special.has("caller") && caller >= 0 && caller < params.length - defaults.length) throw new JinjaError("the special \"caller\" argument of a macro must be omitted or be given a default");
		const declare = (key) => special.has(key) && !params.includes(key) ? symbols.declareParameter(key) : void 0;
		const shape = {
			name,
			params,
			caller: declare("caller"),
			kwargs: declare("kwargs"),
			varargs: declare("varargs"),
			slots: params.map((param) => symbols.ref(param))
		};
		analyze();
		const inner = {
			symbols,
			scope,
			isTop: false,
			isSoft: false,
			loops: 0
		};
		const missing = params.length - defaults.length;
		const fallbacks = params.map((_, i) => i < missing ? void 0 : this.expression(defaults[i - missing], inner));
		const execute = this.#statements(body, inner);
		const enter = this.enter(inner);
		return (defined) => {
			const call = (args, kwargs) => defined.rendering.budget.call(() => {
				const activation = new Activation(scope, defined.rendering, defined.context, defined);
				bindMacro(shape, activation.slots, args, kwargs);
				enter(activation);
				params.forEach((param, i) => {
					const { slot } = shape.slots[i];
					if (activation.slots[slot] !== void 0) return;
					const fallback = fallbacks[i]?.(activation);
					activation.slots[slot] = fallback === void 0 ? new Undefined(`parameter '${param}' was not provided`) : fallback;
				});
				const out = { text: "" };
				execute(activation, out);
				return out.text;
			});
			defined.rendering.budget.spend(256);
			return macroObject(shape, call, name);
		};
	}
	#callBlock(node, frame) {
		const locals = node.isScoped ? [...frame.symbols.allStores()].map(([name, ref]) => [name, slotReader(ref, frame.scope)]) : [];
		return (activation, out) => {
			let { context } = activation;
			if (node.isScoped) {
				const given = new Map([...context.given, ...context.vars]);
				activation.rendering.budget.spend(16 * given.size);
				for (const [name, read] of locals) {
					const value = read(activation);
					if (value !== void 0) given.set(name, value);
				}
				context = {
					vars: new Map(),
					given
				};
			}
			this.#compiledBlocks.get(node.name)(activation, context, out);
		};
	}
	#for(node, frame) {
		if (frame.loops >= MAX_LOOPS) throw outOfBounds(`its loops lie more than ${MAX_LOOPS} deep in one another`);
		rejectLoopTarget(node);
		const scope = node.isRecursive ? new FunctionScope(frame.scope) : frame.scope;
		const symbols = new Symbols(scope, frame.symbols);
		const loop = node.isRecursive || readNames(node.body, ["loop"]).size > 0 || hasScopedBlock([node]) ? symbols.declareParameter("loop") : void 0;
		symbols.set(node.target, true);
		symbols.visit(node.body);
		const inner = {
			...this.inner(frame, symbols),
			loops: (node.isRecursive ? 0 : frame.loops) + 1
		};
		const elseFrame = {
			...this.inner(frame, new Symbols(scope, frame.symbols)),
			loops: node.isRecursive ? 0 : frame.loops
		};
		elseFrame.symbols.visit(node.orElse);
		const select = node.test && this.#loopFilter(node.target, node.test, frame, scope);
		const iterable = this.expression(node.iterable, frame);
		const assign = this.assign(node.target, inner);
		const body = this.#statements(node.body, inner);
		const orElse = this.scoped(elseFrame, this.#statements(node.orElse, elseFrame), (execute) => execute);
		const [enter, leave] = [this.enter(inner), this.leave(inner)];
		const run = (activation, out, given, depth, recurse) => {
			const { budget } = activation.rendering;
			const source = select ? select(activation, given) : given;
			const state = loop && new LoopState(source, budget, depth, recurse);
			const iterator = state ? void 0 : iterate(source, budget);
			let isEmpty = true;
			for (;;) {
				let item;
				if (state) item = state.next();
				else {
					const step = iterator.next();
					item = step.done ? void 0 : step.value;
				}
				if (item === void 0) break;
				budget.spend(64);
				assign(activation, item);
				if (loop) activation.slots[loop.slot] = state.object;
				enter(activation);
				const signal = body(activation, out);
				if (signal === "break") break;
				if (signal !== "continue") isEmpty = false;
			}
			leave(activation);
			return isEmpty && node.orElse.length ? orElse(activation, out) : void 0;
		};
		if (!node.isRecursive) return (activation, out) => run(activation, out, iterable(activation), 0);
		return (activation, out) => {
			const render = (given, depth) => activation.rendering.budget.call(() => {
				const own = new Activation(scope, activation.rendering, activation.context, activation);
				const buffer = { text: "" };
				run(own, buffer, given, depth, (next) => render(next, depth + 1));
				return buffer.text;
			});
			this.write(render(iterable(activation), 0), activation, out);
		};
	}
	#loopFilter(target, test, frame, around) {
		const scope = new FunctionScope(around);
		const symbols = new Symbols(scope, frame.symbols);
		symbols.set(target, true);
		symbols.read(test);
		const inner = {
			symbols,
			scope,
			isTop: false,
			isSoft: false,
			loops: 0
		};
		const assign = this.assign(target, inner);
		const holds = this.expression(test, inner);
		const enter = this.enter(inner);
		return (activation, given) => {
			const { rendering, context } = activation;
			const select = function* () {
				const own = new Activation(scope, rendering, context, activation);
				enter(own);
				const iterator = iterate(given, rendering.budget);
				for (let step = iterator.next(); !step.done; step = iterator.next()) {
					rendering.budget.spend(64);
					assign(own, step.value);
					if (isTrue(holds(own))) yield step.value;
				}
			};
			return new PyIterator(select());
		};
	}
};
// src/data/jinja/strftime.ts
const DAYS = [
	"Sunday",
	"Monday",
	"Tuesday",
	"Wednesday",
	"Thursday",
	"Friday",
	"Saturday"
];
const MONTHS = "January February March April May June July August September October November December".split(" ");
const pad = (number, width = 2, fill = "0") => String(number).padStart(width, fill);
function dayOfYear(time) {
	return Math.round((Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - Date.UTC(time.getFullYear(), 0, 1)) / 864e5);
}
function isoWeek(time) {
	const thursday = new Date(Date.UTC(time.getFullYear(), time.getMonth(), time.getDate() + 4 - (time.getDay() || 7)));
	const year = thursday.getUTCFullYear();
	return [Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / 6048e5) + 1, year];
}
const hour12 = (time) => time.getHours() % 12 || 12;
const DIRECTIVES = {
	Y: (time) => [time.getFullYear(), 1],
	C: (time) => [Math.floor(time.getFullYear() / 100), 2],
	y: (time) => [time.getFullYear() % 100, 2],
	G: (time) => [isoWeek(time)[1], 1],
	g: (time) => [isoWeek(time)[1] % 100, 2],
	m: (time) => [time.getMonth() + 1, 2],
	d: (time) => [time.getDate(), 2],
	e: (time) => [
		time.getDate(),
		2,
		" "
	],
	H: (time) => [time.getHours(), 2],
	k: (time) => [
		time.getHours(),
		2,
		" "
	],
	I: (time) => [hour12(time), 2],
	l: (time) => [
		hour12(time),
		2,
		" "
	],
	M: (time) => [time.getMinutes(), 2],
	S: (time) => [time.getSeconds(), 2],
	j: (time) => [dayOfYear(time) + 1, 3],
	u: (time) => [time.getDay() || 7, 1],
	w: (time) => [time.getDay(), 1],
	U: (time) => [Math.floor((dayOfYear(time) + 7 - time.getDay()) / 7), 2],
	W: (time) => [Math.floor((dayOfYear(time) + 7 - (time.getDay() + 6) % 7) / 7), 2],
	V: (time) => [isoWeek(time)[0], 2],
	b: (time) => MONTHS[time.getMonth()].slice(0, 3),
	h: (time) => MONTHS[time.getMonth()].slice(0, 3),
	B: (time) => MONTHS[time.getMonth()],
	a: (time) => DAYS[time.getDay()].slice(0, 3),
	A: (time) => DAYS[time.getDay()],
	p: (time) => time.getHours() < 12 ? "AM" : "PM",
	P: (time) => time.getHours() < 12 ? "am" : "pm",
	z: () => "",
	Z: () => "",
	n: () => "\n",
	t: () => "	",
	"%": () => "%"
};
const COMPOSED = {
	c: "%a %b %e %H:%M:%S %Y",
	D: "%m/%d/%y",
	x: "%m/%d/%y",
	F: "%Y-%m-%d",
	T: "%H:%M:%S",
	X: "%H:%M:%S",
	R: "%H:%M",
	r: "%I:%M:%S %p"
};
function formatTime(time, format) {
	return format.replace(/%([-_0^#]*)(\d*)([\s\S]?)/gu, (whole, flags, width, name) => {
		if (name === "") return whole;
		const composed = COMPOSED[name];
		if (composed && !flags && !width) return formatTime(time, composed);
		const directive = DIRECTIVES[name];
		if (!directive && !/[a-zA-Z+]/.test(name) && !flags && !width) return whole;
		if (!directive && /[qQJKLNOiovf]/.test(name) && name !== "f" && name !== "O" && !flags && !width) return whole;
		if (!directive || width || /[\^#]/.test(flags) || flags.length > 1) throw unsupported(`the directive ${whole} of strftime_now`);
		const part = directive(time);
		if (typeof part === "string") {
			if (flags) throw unsupported(`the directive ${whole} of strftime_now`);
			return part;
		}
		const [number, digits, fill = "0"] = part;
		if (flags === "-") return String(number);
		return pad(number, digits, flags === "_" ? " " : flags === "0" ? "0" : fill);
	});
}
// src/data/jinja/globals.ts
const MAX_RANGE = 1e5;
function globalsOf(budget) {
	return Object.entries({
		raise_exception: (args, kwargs) => {
			const [message] = bind("raise_exception", ["!message"], args, kwargs);
			throw new JinjaError(toText(message, budget));
		},
		strftime_now: (args, kwargs) => {
			const [format] = bind("strftime_now", ["!format"], args, kwargs);
			const text = textOf(format, "strftime_now");
			budget.expect(1024 + text.length);
			return formatTime(new Date(), text);
		},
		range: (args, kwargs) => {
			if (kwargs.size || args.length < 1 || args.length > 3) throw new JinjaError("range expects 1 to 3 arguments");
			const bounds = args.map((arg) => integerOf(arg, "range"));
			const [start, stop] = bounds.length > 1 ? [bounds[0], bounds[1]] : [0, bounds[0]];
			if (bounds[2] === 0) throw new JinjaError("range() arg 3 must not be zero");
			const range = new PyRange(start, stop, bounds[2] ?? 1);
			if (range.length > MAX_RANGE) throw outOfBounds(`a range of ${range.length} integers, at most ${MAX_RANGE} are allowed`);
			return range;
		},
		dict: (args, kwargs) => dictOf("dict", args, kwargs, budget),
		namespace: (args, kwargs) => new Namespace(dictOf("namespace", args, kwargs, budget)),
		joiner: (args, kwargs) => {
			const [separator = ", "] = bind("joiner", ["sep"], args, kwargs);
			let isUsed = false;
			return new PyObject("Joiner", (name) => {
				if (name === "sep" || name === "used") throw unsupported("attributes of a joiner");
			}, (given, named) => {
				bind("joiner", [], given, named);
				if (isUsed) return separator;
				isUsed = true;
				return "";
			});
		},
		cycler: (args, kwargs) => {
			if (kwargs.size || args.length === 0) throw new JinjaError("at least one item has to be provided");
			let at = 0;
			const methods = new Map([["next", new PyFunction("next", () => args[at++ % args.length])], ["reset", new PyFunction("reset", () => {
				at = 0;
				return null;
			})]]);
			return new PyObject("Cycler", (name) => {
				if (name === "current") return args[at % args.length];
				if (name === "items" || name === "pos") throw unsupported("the attributes items and pos of a cycler");
				return methods.get(name);
			});
		},
		lipsum: () => {
			throw unsupported("the function lipsum");
		}
	}).map(([name, call]) => [name, new PyFunction(name, call)]);
}
function dictOf(callee, args, kwargs, budget) {
	if (args.length > 1) throw new JinjaError(`${callee} expected at most 1 argument, got ${args.length}`);
	const dict = new Map();
	const [source] = args;
	if (source instanceof Map) for (const [key, value] of source) dict.set(key, value);
	else if (source !== void 0) {
		const iterator = iterate(source, budget);
		for (let step = iterator.next(); !step.done; step = iterator.next()) {
			const [key, value] = unpack(step.value, 2, budget);
			dict.set(toKey(key), value);
		}
	}
	for (const [key, value] of kwargs) dict.set(key, value);
	budget.spend(16 * (1 + dict.size));
	return dict;
}
// src/data/jinja/expression-parser.ts
const MAX_DEPTH$1 = 60;
const NO_ARGUMENTS = {
	args: [],
	kwargs: [],
	rest: void 0,
	keywords: void 0
};
const COMPARISONS = new Set([
	"==",
	"!=",
	"<",
	"<=",
	">",
	">="
]);
var ExpressionParser = class {
	#tokens;
	#at = 0;
	#depth = 0;
	constructor(tokens) {
		this.#tokens = tokens;
	}
	get current() {
		return this.#tokens[this.#at];
	}
	get following() {
		return this.#tokens[this.#at + 1] ?? this.current;
	}
	next() {
		const token = this.current;
		if (this.#at < this.#tokens.length - 1) this.#at++;
		return token;
	}
	is(type, value) {
		const token = this.current;
		return token.type === type && (value === void 0 || token.value === value);
	}
	skipIf(type, value) {
		if (!this.is(type, value)) return false;
		this.next();
		return true;
	}
	expect(type, value) {
		if (!this.is(type, value)) throw this.fail(`expected ${value ?? type}, got ${this.#describe()}`);
		return this.next();
	}
	fail(why) {
		return new JinjaError(`${why} (line ${this.current.line})`);
	}
	#describe() {
		const { type, value } = this.current;
		return type === "end" ? `the end of the ${value}` : type === "eof" ? "the end of the template" : `'${value}'`;
	}
	expression(withConditional = true) {
		if (++this.#depth > MAX_DEPTH$1) throw outOfBounds(`its expressions lie more than ${MAX_DEPTH$1} deep in one another`);
		const expression = withConditional ? this.#conditional() : this.#or();
		this.#depth--;
		return expression;
	}
	#conditional() {
		let node = this.#or();
		while (this.skipIf("name", "if")) {
			const test = this.#or();
			const orElse = this.skipIf("name", "else") ? this.expression() : void 0;
			node = {
				kind: "if",
				test,
				yes: node,
				no: orElse
			};
		}
		return node;
	}
	#or() {
		let left = this.#and();
		while (this.skipIf("name", "or")) left = {
			kind: "or",
			left,
			right: this.#and()
		};
		return left;
	}
	#and() {
		let left = this.#not();
		while (this.skipIf("name", "and")) left = {
			kind: "and",
			left,
			right: this.#not()
		};
		return left;
	}
	#not() {
		if (!this.is("name", "not")) return this.#compare();
		this.next();
		return this.#nested(() => ({
			kind: "not",
			operand: this.#not()
		}));
	}
	#nested(parse) {
		if (++this.#depth > MAX_DEPTH$1) throw outOfBounds(`its expressions lie more than ${MAX_DEPTH$1} deep in one another`);
		const expression = parse();
		this.#depth--;
		return expression;
	}
	#compare() {
		const first = this.#sum();
		const rest = [];
		for (;;) if (this.current.type === "op" && COMPARISONS.has(this.current.value)) rest.push([this.next().value, this.#sum()]);
		else if (this.skipIf("name", "in")) rest.push(["in", this.#sum()]);
		else if (this.is("name", "not") && this.following.type === "name" && this.following.value === "in") {
			this.next();
			this.next();
			rest.push(["not in", this.#sum()]);
		} else break;
		return rest.length ? {
			kind: "compare",
			first,
			rest
		} : first;
	}
	#leftToRight(operators, operand) {
		let left = operand();
		while (this.current.type === "op" && operators.includes(this.current.value)) left = {
			kind: "binary",
			operator: this.next().value,
			left,
			right: operand()
		};
		return left;
	}
	#sum() {
		return this.#leftToRight(["+", "-"], () => this.#concat());
	}
	#concat() {
		const items = [this.#product()];
		while (this.skipIf("op", "~")) items.push(this.#product());
		return items.length === 1 ? items[0] : {
			kind: "concat",
			items
		};
	}
	#product() {
		return this.#leftToRight([
			"*",
			"/",
			"//",
			"%"
		], () => this.#leftToRight(["**"], () => this.#unary(true)));
	}
	#unary(withFilter) {
		let node;
		if (this.is("op", "-") || this.is("op", "+")) {
			const kind = this.next().value === "-" ? "negative" : "positive";
			node = this.#nested(() => ({
				kind,
				operand: this.#unary(false)
			}));
		} else node = this.primary();
		node = this.#postfix(node);
		return withFilter ? this.#filters(node) : node;
	}
	primary(withNamespace = false) {
		const token = this.current;
		if (token.type === "name") return this.#name(withNamespace);
		if (token.type === "string") {
			let value = "";
			while (this.current.type === "string") value += this.next().value;
			return {
				kind: "const",
				value
			};
		}
		if (token.type === "integer" || token.type === "float") {
			this.next();
			const isFloat = token.type === "float";
			const value = Number(isFloat || !/^0+$/.test(token.value) ? token.value : "0");
			if (!isFloat && !Number.isSafeInteger(value)) throw unsupported("integers beyond 2 ** 53");
			return {
				kind: "const",
				value,
				isFloat
			};
		}
		if (token.type === "op") {
			if (token.value === "[") return this.#list();
			if (token.value === "{") return this.#dict();
			if (token.value === "(") {
				this.next();
				const node = this.tuple({ isExplicit: true });
				this.expect("op", ")");
				return node;
			}
		}
		throw this.fail(`unexpected ${this.#describe()}`);
	}
	#name(withNamespace) {
		const { value: name, line } = this.next();
		if (name === "true" || name === "True") return {
			kind: "const",
			value: true
		};
		if (name === "false" || name === "False") return {
			kind: "const",
			value: false
		};
		if (name === "none" || name === "None") return {
			kind: "const",
			value: null
		};
		if (!withNamespace || !this.skipIf("op", ".")) return {
			kind: "name",
			name,
			line
		};
		return {
			kind: "namespace",
			name,
			attribute: this.expect("name").value,
			line
		};
	}
	tuple({ simplified = false, conditional = true, isExplicit = false, withNamespace = false, endAt = "" }) {
		const { line } = this.current;
		const items = [];
		let isTuple = false;
		for (;;) {
			if (items.length) this.expect("op", ",");
			if (this.is("end") || this.is("op", ")") || endAt && this.is("name", endAt)) break;
			items.push(simplified ? this.primary(withNamespace) : this.expression(conditional));
			if (!this.is("op", ",")) break;
			isTuple = true;
		}
		if (!isTuple && items.length) return items[0];
		if (!isTuple && !isExplicit) throw this.fail(`expected an expression, got ${this.#describe()}`);
		return {
			kind: "tuple",
			items,
			line
		};
	}
	#list() {
		const { line } = this.next();
		const items = [];
		while (!this.is("op", "]")) {
			if (items.length) this.expect("op", ",");
			if (this.is("op", "]")) break;
			items.push(this.expression());
		}
		this.next();
		return {
			kind: "list",
			items,
			line
		};
	}
	#dict() {
		this.next();
		const items = [];
		while (!this.is("op", "}")) {
			if (items.length) this.expect("op", ",");
			if (this.is("op", "}")) break;
			const key = this.expression();
			this.expect("op", ":");
			items.push([key, this.expression()]);
		}
		this.next();
		return {
			kind: "dict",
			items
		};
	}
	#postfix(start) {
		let node = start;
		for (;;) if (this.is("op", ".")) node = this.#attribute(node);
		else if (this.is("op", "[")) node = this.#subscript(node);
		else if (this.is("op", "(")) node = {
			kind: "call",
			callee: node,
			arguments: this.callArguments()
		};
		else return node;
	}
	#filters(start) {
		let node = start;
		for (;;) if (this.skipIf("op", "|")) node = this.filter(node);
		else if (this.is("name", "is")) node = this.#test(node);
		else if (this.is("op", "(")) node = {
			kind: "call",
			callee: node,
			arguments: this.callArguments()
		};
		else return node;
	}
	#attribute(object) {
		this.next();
		const token = this.next();
		if (token.type === "name") return {
			kind: "attribute",
			object,
			name: token.value
		};
		if (token.type !== "integer") throw this.fail("expected name or number");
		return {
			kind: "item",
			object,
			key: {
				kind: "const",
				value: Number(token.value)
			}
		};
	}
	#subscript(object) {
		const { line } = this.next();
		const items = [];
		let slice;
		while (!this.is("op", "]")) {
			if (slice) throw unsupported("a slice among other subscripts");
			if (items.length) this.expect("op", ",");
			const part = this.#subscribed(object);
			if (part.isSlice) slice = part.node;
			else items.push(part.node);
		}
		this.next();
		if (slice) {
			if (items.length) throw unsupported("a slice among other subscripts");
			return slice;
		}
		return {
			kind: "item",
			object,
			key: items.length === 1 ? items[0] : {
				kind: "tuple",
				items,
				line
			}
		};
	}
	#subscribed(object) {
		let start;
		if (!this.is("op", ":")) {
			start = this.expression();
			if (!this.is("op", ":")) return {
				node: start,
				isSlice: false
			};
		}
		this.next();
		const ends = () => this.is("op", ":") || this.is("op", "]") || this.is("op", ",");
		const stop = ends() ? void 0 : this.expression();
		let step;
		if (this.skipIf("op", ":")) step = this.is("op", "]") || this.is("op", ",") ? void 0 : this.expression();
		return {
			node: {
				kind: "slice",
				object,
				start,
				stop,
				step
			},
			isSlice: true
		};
	}
	callArguments() {
		this.expect("op", "(");
		const args = [];
		const kwargs = [];
		let rest;
		let keywords;
		const ensure = (valid) => {
			if (!valid) throw this.fail("invalid syntax for function call expression");
		};
		for (let isFirst = true; !this.is("op", ")"); isFirst = false) {
			if (!isFirst) {
				this.expect("op", ",");
				if (this.is("op", ")")) break;
			}
			if (this.is("op", "*")) {
				ensure(!rest && !keywords);
				this.next();
				rest = this.expression();
			} else if (this.is("op", "**")) {
				ensure(!keywords);
				this.next();
				keywords = this.expression();
			} else if (this.is("name") && this.following.type === "op" && this.following.value === "=") {
				ensure(!keywords);
				const key = this.next().value;
				this.next();
				if (kwargs.some(([name]) => name === key)) throw this.fail(`keyword argument repeated: ${key}`);
				kwargs.push([key, this.expression()]);
			} else {
				ensure(!rest && !keywords && kwargs.length === 0);
				args.push(this.expression());
			}
		}
		this.next();
		return {
			args,
			kwargs,
			rest,
			keywords
		};
	}
	filter(operand) {
		const { line } = this.current;
		return {
			kind: "filter",
			operand,
			name: this.#dottedName(),
			arguments: this.is("op", "(") ? this.callArguments() : NO_ARGUMENTS,
			line
		};
	}
	#dottedName() {
		let name = this.expect("name").value;
		while (this.skipIf("op", ".")) name += `.${this.expect("name").value}`;
		return name;
	}
	#test(operand) {
		const { line } = this.next();
		const isNegated = this.skipIf("name", "not");
		const name = this.#dottedName();
		let args = NO_ARGUMENTS;
		if (this.is("op", "(")) args = this.callArguments();
		else if (this.#startsArgument()) {
			if (this.is("name", "is")) throw this.fail("You cannot chain multiple tests with is");
			args = {
				...NO_ARGUMENTS,
				args: [this.#postfix(this.primary())]
			};
		}
		const test = {
			kind: "test",
			operand,
			name,
			arguments: args,
			line
		};
		return isNegated ? {
			kind: "not",
			operand: test
		} : test;
	}
	#startsArgument() {
		const { type, value } = this.current;
		if (type === "name") return value !== "else" && value !== "or" && value !== "and";
		return type === "string" || type === "integer" || type === "float" || type === "op" && (value === "[" || value === "{");
	}
};
// src/data/jinja/lexer.ts
const OPENING = /\{[{%#]/g;
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{N}_]+/uy;
const IDENTIFIER = /^[\p{XID_Start}_][\p{XID_Continue}]*$/u;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+*/%~[\](){}<>=.:|,;]/y;
const CLOSERS = {
	"(": ")",
	"[": "]",
	"{": "}"
};
function tokenize(source) {
	return new Lexer(source.replace(/\r\n?/g, "\n").replace(/\n$/, "")).run();
}
var Lexer = class {
	#text;
	#tokens = [];
	#position = 0;
	#line = 1;
	#lineCountedTo = 0;
	#startsLine = true;
	constructor(text) {
		this.#text = text;
	}
	run() {
		while (this.#position < this.#text.length) {
			OPENING.lastIndex = this.#position;
			const opening = OPENING.exec(this.#text);
			const end = opening ? opening.index : this.#text.length;
			const data = this.#text.slice(this.#position, end);
			if (!opening) {
				this.#push("data", data);
				break;
			}
			const kind = this.#text[end + 1];
			const sign = this.#text[end + 2];
			this.#push("data", this.#before(data, sign, kind !== "{"));
			this.#position = end + 2 + (sign === "-" || sign === "+" ? 1 : 0);
			if (kind === "#") this.#comment();
			else if (kind === "%" && !this.#raw()) this.#tag("block", "%}");
			else if (kind === "{") this.#tag("variable", "}}");
		}
		this.#push("eof", "");
		return this.#tokens;
	}
	#push(type, value) {
		if (type === "data" && value === "") return;
		for (; this.#lineCountedTo < this.#position; this.#lineCountedTo++) if (this.#text[this.#lineCountedTo] === "\n") this.#line++;
		this.#tokens.push({
			type,
			value,
			line: this.#line
		});
	}
	#fail(why) {
		this.#push("op", "");
		return new JinjaError(`${why} (line ${this.#line})`);
	}
	#before(data, sign, isBlock) {
		if (sign === "-") return stripEnd(data);
		if (sign === "+" || !isBlock) return data;
		const start = data.lastIndexOf("\n") + 1;
		if (start === 0 && !this.#startsLine) return data;
		for (let i = start; i < data.length; i++) if (!isSpace(data.charCodeAt(i))) return data;
		return data.slice(0, start);
	}
	#close(at, sign, length, trims) {
		let next = at + sign.length + length;
		if (sign === "-") while (next < this.#text.length && isSpace(this.#text.charCodeAt(next))) next++;
		else if (trims && sign === "" && this.#text[next] === "\n") next++;
		this.#startsLine = this.#text[next - 1] === "\n";
		this.#position = next;
	}
	#comment() {
		const end = this.#text.indexOf("#}", this.#position);
		if (end < 0) throw this.#fail("Missing end of comment tag");
		const last = end > this.#position ? this.#text[end - 1] : "";
		const sign = last === "-" || last === "+" ? last : "";
		this.#close(end - sign.length, sign, 2, true);
	}
	#raw() {
		const begin = /\s*raw\s*(?:(-)%\}|%\})/y;
		begin.lastIndex = this.#position;
		const match = begin.exec(this.#text);
		if (!match) return false;
		this.#close(begin.lastIndex - 2 - (match[1] ? 1 : 0), match[1] ?? "", 2, false);
		const ending = /\{%([-+]?)\s*endraw\s*(\+%\}|-%\}|%\})/g;
		ending.lastIndex = this.#position;
		const end = ending.exec(this.#text);
		if (!end) throw this.#fail("Missing end of raw directive");
		this.#push("data", this.#before(this.#text.slice(this.#position, end.index), end[1], true));
		const sign = end[2].length === 3 ? end[2][0] : "";
		this.#close(ending.lastIndex - 2 - sign.length, sign, 2, true);
		return true;
	}
	#tag(kind, close) {
		this.#push("begin", kind);
		const open = [];
		const text = this.#text;
		for (;;) {
			while (this.#position < text.length && isSpace(text.charCodeAt(this.#position))) this.#position++;
			if (this.#position >= text.length) return;
			if (open.length === 0) {
				const sign = /[-+]/.test(text[this.#position]) ? text[this.#position] : "";
				if (text.startsWith(close, this.#position + sign.length) && (sign !== "+" || kind === "block")) {
					this.#push("end", kind);
					this.#close(this.#position, sign, 2, kind === "block");
					return;
				}
			}
			this.#token(open);
		}
	}
	#token(open) {
		const text = this.#text;
		const char = text[this.#position];
		if (text[this.#position - 1] !== ".") {
			const float = this.#match(FLOAT);
			if (float !== void 0) {
				this.#push("float", float.replaceAll("_", ""));
				return;
			}
		}
		const integer = this.#match(INTEGER);
		if (integer !== void 0) {
			this.#push("integer", integer.replaceAll("_", ""));
			return;
		}
		const name = this.#match(NAME);
		if (name !== void 0) {
			if (!IDENTIFIER.test(name)) throw this.#fail(`invalid character in the identifier ${name}`);
			if (name.normalize("NFKC") !== name) throw unsupported(`the identifier ${name}`);
			this.#push("name", name);
			return;
		}
		if (char === "'" || char === "\"") {
			this.#string(char);
			return;
		}
		const operator = this.#match(OPERATOR);
		if (operator === void 0) throw this.#fail(`unexpected character ${JSON.stringify(char)}`);
		if (operator in CLOSERS) open.push(CLOSERS[operator]);
		else if (operator === ")" || operator === "]" || operator === "}") {
			if (open.pop() !== operator) throw this.#fail(`unexpected '${operator}'`);
		}
		this.#push("op", operator);
	}
	#match(pattern) {
		pattern.lastIndex = this.#position;
		const match = pattern.exec(this.#text)?.[0];
		if (match) this.#position += match.length;
		return match;
	}
	#string(quote) {
		const text = this.#text;
		let end = this.#position + 1;
		for (; end < text.length && text[end] !== quote; end++) if (text[end] === "\\") end++;
		if (end >= text.length) throw this.#fail(`unexpected character ${quote}`);
		const inner = text.slice(this.#position + 1, end);
		this.#position = end + 1;
		this.#push("string", inner.includes("\\") ? unescapeText(inner) : inner);
	}
};
const ESCAPES = {
	"\n": "",
	"\\": "\\",
	"'": "'",
	"\"": "\"",
	a: "\x07",
	b: "\b",
	f: "\f",
	n: "\n",
	r: "\r",
	t: "	",
	v: "\v"
};
function unescapeText(text) {
	return text.replace(/\\(?:([0-7]{1,3})|x([0-9a-fA-F]{0,2})|u([0-9a-fA-F]{0,4})|U([0-9a-fA-F]{0,8})|([\s\S]))/gu, (whole, octal, x, u, U, other) => {
		if (octal !== void 0) return String.fromCodePoint(Number.parseInt(octal, 8));
		const hex = x ?? u ?? U;
		if (hex !== void 0) {
			const code = Number.parseInt(hex, 16);
			if (hex.length !== (x !== void 0 ? 2 : u !== void 0 ? 4 : 8) || code > 1114111) throw new JinjaError(`the escape ${whole} in a string is cut off or out of range`);
			return String.fromCodePoint(code);
		}
		if (other === "N") throw unsupported("a character by its name (\\N) in a string");
		if (other in ESCAPES) return ESCAPES[other];
		if (other.codePointAt(0) < 128) return `\\${other}`;
		const code = other.codePointAt(0);
		const [letter, width] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
		return `\\${letter}${code.toString(16).padStart(width, "0")}`;
	});
}
// src/data/jinja/parser.ts
const MAX_BLOCKS = 80;
function parseTemplate(source) {
	return new Parser$1(tokenize(source)).template();
}
var Parser$1 = class extends ExpressionParser {
	#depth = 0;
	template() {
		return this.#body([]);
	}
	#body(ends) {
		const body = [];
		let items = [];
		const flush = () => {
			if (items.length) body.push({
				kind: "output",
				items
			});
			items = [];
		};
		while (!this.is("eof")) if (this.is("data")) items.push(this.next().value);
		else if (this.is("begin", "variable")) {
			this.next();
			items.push(this.tuple({}));
			this.expect("end", "variable");
		} else {
			flush();
			this.expect("begin", "block");
			if (this.is("name") && ends.includes(this.current.value)) return body;
			body.push(this.#statement());
			this.expect("end", "block");
		}
		flush();
		if (ends.length) throw this.fail(`the template ends where ${ends.join(" or ")} is missing`);
		return body;
	}
	#block(...ends) {
		if (++this.#depth > MAX_BLOCKS) throw outOfBounds(`its blocks lie more than ${MAX_BLOCKS} deep in one another`);
		this.skipIf("op", ":");
		this.expect("end", "block");
		const body = this.#body(ends);
		this.#depth--;
		return body;
	}
	#closedBlock(end) {
		const body = this.#block(end);
		this.next();
		return body;
	}
	#statement() {
		if (!this.is("name")) throw this.fail("tag name expected");
		const { value: tag, line } = this.current;
		switch (tag) {
			case "for": return this.#for();
			case "if": return this.#if();
			case "set": return this.#set();
			case "with": return this.#with();
			case "macro":
				this.next();
				return {
					kind: "macro",
					name: this.#newName(),
					signature: this.#signature(),
					body: this.#closedBlock("endmacro")
				};
			case "call": return this.#call();
			case "filter":
				this.next();
				return {
					kind: "filter block",
					filter: this.#filterChain(this.filter(void 0)),
					body: this.#closedBlock("endfilter")
				};
			case "generation":
				this.next();
				return {
					kind: "generation",
					body: this.#closedBlock("endgeneration")
				};
			case "block": return this.#namedBlock();
			case "print": {
				this.next();
				const items = [];
				while (!this.is("end", "block")) {
					if (items.length) this.expect("op", ",");
					items.push(this.expression());
				}
				return {
					kind: "output",
					items
				};
			}
			case "break":
			case "continue":
				this.next();
				return {
					kind: tag,
					line
				};
			case "extends":
			case "include":
			case "import":
			case "from":
			case "autoescape": throw unsupported(`the tag ${tag} in line ${line}`);
			default: throw this.fail(`Encountered unknown tag '${tag}'`);
		}
	}
	#filterChain(start) {
		let node = start;
		while (this.skipIf("op", "|")) node = this.filter(node);
		return node;
	}
	#target(endAt = "", withNamespace = false) {
		const target = this.tuple({
			simplified: true,
			endAt,
			withNamespace
		});
		this.#checkTarget(target);
		return target;
	}
	#checkTarget(target, isInTuple = false) {
		if (target.kind === "tuple") for (const item of target.items) this.#checkTarget(item, true);
		else if (target.kind === "namespace") {
			if (isInTuple) throw unsupported("an attribute of a namespace among several targets of set");
		} else if (target.kind !== "name") throw this.fail(`can't assign to '${target.kind}'`);
	}
	#for() {
		const { line } = this.next();
		const target = this.#target("in");
		this.expect("name", "in");
		return {
			kind: "for",
			target,
			iterable: this.tuple({
				conditional: false,
				endAt: "recursive"
			}),
			test: this.skipIf("name", "if") ? this.expression() : void 0,
			isRecursive: this.skipIf("name", "recursive"),
			body: this.#block("endfor", "else"),
			orElse: this.next().value === "else" ? this.#closedBlock("endfor") : [],
			line
		};
	}
	#if() {
		const branch = () => {
			this.next();
			return {
				kind: "if",
				test: this.tuple({ conditional: false }),
				body: this.#block("elif", "else", "endif")
			};
		};
		const first = branch();
		const elifs = [];
		while (this.is("name", "elif")) elifs.push({
			...branch(),
			elifs: [],
			orElse: []
		});
		const orElse = this.next().value === "else" ? this.#closedBlock("endif") : [];
		return {
			...first,
			elifs,
			orElse
		};
	}
	#set() {
		this.next();
		const target = this.#target("", true);
		if (this.skipIf("op", "=")) return {
			kind: "set",
			target,
			value: this.tuple({})
		};
		return {
			kind: "set block",
			target,
			filter: this.is("op", "|") ? this.#filterChain(void 0) : void 0,
			body: this.#closedBlock("endset")
		};
	}
	#with() {
		this.next();
		const targets = [];
		const values = [];
		while (!this.is("end", "block")) {
			if (targets.length) this.expect("op", ",");
			targets.push(this.#target());
			this.expect("op", "=");
			values.push(this.expression());
		}
		return {
			kind: "with",
			targets,
			values,
			body: this.#closedBlock("endwith")
		};
	}
	#call() {
		this.next();
		const signature = this.is("op", "(") ? this.#signature() : {
			params: [],
			defaults: []
		};
		const call = this.expression();
		if (call.kind !== "call") throw this.fail("expected call");
		return {
			kind: "call block",
			signature,
			call,
			body: this.#closedBlock("endcall")
		};
	}
	#signature() {
		this.expect("op", "(");
		const params = [];
		const defaults = [];
		while (!this.is("op", ")")) {
			if (params.length) this.expect("op", ",");
			const param = this.#newName();
			if (params.includes(param)) throw this.fail(`duplicate argument '${param}'`);
			if (this.skipIf("op", "=")) defaults.push(this.expression());
			else if (defaults.length) throw this.fail("non-default argument follows default argument");
			params.push(param);
		}
		this.next();
		return {
			params,
			defaults
		};
	}
	#newName() {
		const { value } = this.expect("name");
		if (/^(?:[Tt]rue|[Ff]alse|[Nn]one)$/.test(value)) throw this.fail(`can't assign to '${value}'`);
		return value;
	}
	#namedBlock() {
		this.next();
		const { value: name, line } = this.expect("name");
		const isScoped = this.skipIf("name", "scoped");
		const isRequired = this.skipIf("name", "required");
		const body = this.#closedBlock("endblock");
		if (isRequired) throw unsupported("a required block");
		this.skipIf("name", name);
		return {
			kind: "block",
			name,
			isScoped,
			body,
			line
		};
	}
};
// src/data/bounded-jinja.ts
const MAX_SOURCE = 262144;
const QUICK_SOURCE = 32768;
const QUICK_TOTAL = 1e5;
const MAX_MILLISECONDS$1 = 700;
const CHARACTERS_A_MILLISECOND = 100;
var BoundedTemplate = class {
	#program;
	constructor(source) {
		if (source.length > MAX_SOURCE) throw outOfBounds(`it has ${source.length} characters, at most ${MAX_SOURCE} are read`);
		const parse = () => compileTemplate(parseTemplate(source));
		this.#program = source.length <= QUICK_SOURCE ? withinStack(parse) : withinTime(MAX_MILLISECONDS$1, () => withinStack(parse), () => outOfBounds("parsing it takes too long"));
	}
	render(items) {
		return this.renderTracked(items).text;
	}
	renderTracked(items) {
		const reader = new InputReader();
		const given = new Map();
		for (const [name, value] of Object.entries(items)) if (value !== void 0) given.set(name, reader.read(value, 0));
		const budget = new Budget(reader.size, QUICK_TOTAL);
		try {
			return this.#run(given, budget);
		} catch (error) {
			if (!budget.isSpent) throw error;
		}
		const limit = MAX_MILLISECONDS$1 + Math.ceil(reader.size / CHARACTERS_A_MILLISECOND);
		const run = () => this.#run(given, new Budget(reader.size));
		return withinTime(limit, run, () => outOfBounds("it does not come to an end"));
	}
	#run(items, budget) {
		const rendering = {
			budget,
			root: { text: "" },
			generation: [],
			callTest: (name, value, args, kwargs) => callTest(name, value, args, kwargs, budget, FILTER_NAMES),
			callFilter: (name, value, args, kwargs) => {
				const filter = typeof name === "string" ? FILTERS.get(name) : void 0;
				if (typeof name === "string" && OTHER_FILTERS.has(name)) throw unsupported(`the filter ${name}`);
				if (!filter) throw new JinjaError(`No filter named '${toText(name, budget)}'.`);
				budget.spend(16);
				return filter(value, args, kwargs, rendering);
			}
		};
		const given = new Map([...globalsOf(budget), ...items]);
		return withinStack(() => {
			this.#program(rendering, {
				vars: new Map(),
				given
			});
			return {
				text: rendering.root.text,
				generation: rendering.generation
			};
		});
	}
};
function withinStack(run) {
	try {
		return run();
	} catch (error) {
		if (error instanceof RangeError && /call stack/.test(error.message)) throw outOfBounds("it recurses too deeply");
		throw error;
	}
}
var InputReader = class {
	size = 0;
	read(value, depth) {
		this.size += 16;
		switch (typeof value) {
			case "string":
				this.size += value.length;
				return value;
			case "boolean": return value;
			case "number":
				if (!Number.isInteger(value)) return new PyFloat(value);
				if (!Number.isSafeInteger(value)) throw unsupported(`the number ${value} in its input, beyond 2 ** 53,`);
				return value === 0 ? 0 : value;
			case "undefined": return null;
			case "object": break;
			default: throw unsupported(`a ${typeof value} in its input`);
		}
		if (value === null) return null;
		if (depth >= 64) throw outOfBounds(`lists and objects lie more than 64 deep in one another`);
		if (Array.isArray(value)) return value.map((item) => this.read(item, depth + 1));
		const entries = value instanceof Map ? [...value] : Object.entries(value);
		const dict = new Map();
		for (const [key, item] of entries) {
			if (item === void 0) continue;
			this.size += key.length;
			dict.set(key, this.read(item, depth + 1));
		}
		return dict;
	}
};
// src/data/chat-template.ts
const TUTORIAL_TEMPLATE = `{{ bos_token }}[INST]
{% for turn in messages -%}
  {%- if turn.role == 'user' -%}
    {%- if turn.content is string -%}
      {{ turn.content }}
    {%- else -%}
      {%- for part in turn.content -%}
        {%- if part.type == 'image' -%} [IMG]
        {%- elif part.type == 'text' -%} {{ part.text }}
        {%- endif -%}
      {%- endfor -%}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
[/INST]
{%- if not add_generation_prompt -%}
  {%- for turn in messages -%}
    {%- if turn.role == 'assistant' -%}
      {%- if turn.content is string -%} {{ turn.content }} {%- else -%} {{ turn.content[0].text }} {%- endif -%}
      {{ eos_token }}
    {%- endif -%}
  {%- endfor -%}
{%- endif -%}`;
var ChatTemplate = class ChatTemplate {
	source;
	bosToken;
	eosToken;
	marksAnswers;
	#arranger;
	#answerTail;
	constructor(source, options = {}) {
		if (typeof source !== "string") throw new TextError(`ChatTemplate: expected the source of a Jinja template, got ${showValue(source)}`, { hint: "e.g. TUTORIAL_TEMPLATE; ChatTemplate.fromFolder reads the template of a model folder." });
		checkTokens(options);
		this.source = source.replace(/\r\n?/g, "\n");
		this.bosToken = options.bosToken ?? "<s>";
		this.eosToken = options.eosToken ?? "</s>";
		this.marksAnswers = /\{%[-+]?\s*generation\s*[-+]?%\}/.test(this.source);
		try {
			const template = new BoundedTemplate(this.source);
			const { bosToken: bos_token, eosToken: eos_token, source: text, marksAnswers } = this;
			this.#arranger = new TemplateArranger(template, {
				bos_token,
				eos_token
			}, text, marksAnswers);
		} catch (cause) {
			if (cause instanceof TextError) throw cause;
			throw new TextError(`the chat template cannot be parsed: ${cause.message}`, {
				hint: "check its {% %} and {{ }} pairs; the template must be the one of the Hugging Face repository",
				cause
			});
		}
	}
	static async fromFolder(dir) {
		const template = await ChatTemplate.findInFolder(dir);
		if (template) return template;
		throw new TextError(`no chat template in ${dir}`, {
			hint: "base models have none: pass `new ChatTemplate(TUTORIAL_TEMPLATE)` or a template of your own",
			details: { path: dir }
		});
	}
	static async findInFolder(dir) {
		requirePath(dir, "ChatTemplate.fromFolder");
		const config = await readJsonFile(dir, "tokenizer_config.json");
		const source = await readTextFile(dir, "chat_template.jinja") ?? templateOf(await readJsonFile(dir, "chat_template.json")) ?? templateOf(config);
		if (source === void 0) return void 0;
		const bosToken = configuredToken(config, "bos_token");
		const eosToken = configuredToken(config, "eos_token");
		return new ChatTemplate(source, {
			...bosToken && { bosToken },
			...eosToken && { eosToken }
		});
	}
	render(messages, options = {}) {
		checkRequest(messages, options, "chatTemplate.render");
		if (options.continueFinalMessage) return this.segments(messages, options).map(({ text }) => text).join("");
		return this.#arranger.render(requestOf(messages, options));
	}
	segments(messages, options = {}) {
		checkRequest(messages, options, "chatTemplate.segments");
		const learned = messages.map(isLearned);
		const { pieces } = options.continueFinalMessage ? this.#arranger.continuation(requestOf(messages, options)) : this.#arranger.arrange(requestOf(messages, options));
		return pieces.map(({ text, leaf, owner, isCall, inRange }) => {
			const role = leaf?.role;
			const isOwn = owner !== void 0 && messages[owner]?.role === "assistant" && learned[owner];
			const isMasked = owner !== void 0 && messages[owner]?.role === "assistant" && !learned[owner];
			return {
				text,
				fromTemplate: !leaf,
				...leaf?.messageIndex !== void 0 && { messageIndex: leaf.messageIndex },
				...role !== void 0 && { role },
				isAssistantText: role === "assistant",
				isLearned: this.marksAnswers ? inRange && !isMasked : isOwn,
				...owner !== void 0 && messages[owner]?.role === "assistant" && { answerIndex: owner },
				...isCall && { isCall: true }
			};
		});
	}
	promptFault() {
		return this.#arranger.promptFault();
	}
	answerTail() {
		this.#answerTail ??= tailOf((messages) => this.#arranger.arrange({
			messages,
			addGenerationPrompt: false
		}));
		return this.#answerTail;
	}
};
function checkTokens(options) {
	if (!isKind(options, "tokenizer")) checkNames(options, {
		bosToken: false,
		eosToken: false
	}, "ChatTemplate");
	for (const name of ["bosToken", "eosToken"]) if (options[name] !== void 0) requireText(options[name], `ChatTemplate: \`${name}\``);
}
function checkRequest(messages, options, what) {
	if (!Array.isArray(messages)) throw new TextError(`${what}: expected a list of messages, got ${describeGiven(messages)}`, { hint: isKind(messages, "sample") ? "Give its `messages`." : "Write [{ role: 'user', content: 'What is it?' }]." });
	checkNames(options, RENDER_OPTIONS, what);
	messages.forEach(checkMessage);
}
const RENDER_OPTIONS = {
	addGenerationPrompt: false,
	continueFinalMessage: false,
	tools: false
};
function requestOf(messages, options) {
	const { addGenerationPrompt = false, tools } = options;
	return {
		messages,
		addGenerationPrompt,
		...tools && { tools }
	};
}
function tailOf(arrange) {
	const question = {
		role: "user",
		content: "a"
	};
	const answer = {
		role: "assistant",
		content: "b"
	};
	for (const messages of [[question, answer], [
		{
			role: "system",
			content: "c"
		},
		question,
		answer
	]]) try {
		const { pieces } = arrange(messages);
		const end = pieces.findLastIndex(({ leaf }) => leaf?.role === "assistant");
		return pieces.slice(end + 1).map(({ text }) => text).join("");
	} catch (error) {
		if (!(error instanceof TextError)) throw error;
	}
	return "";
}
function templateOf(config) {
	const value = config?.chat_template;
	if (typeof value === "string") return value;
	if (!Array.isArray(value)) return void 0;
	const named = value.filter((entry) => typeof entry?.template === "string");
	return (named.find((entry) => entry?.name === "default") ?? named[0])?.template;
}
// src/data/check-collate.ts
const COLLATE_OPTIONS = {
	signal: false,
	paddingSide: false
};
function checkCall(examples, options, name) {
	const what = `collator.${name}`;
	checkNames(options, COLLATE_OPTIONS, what);
	requireSignal(options.signal, what);
	const { paddingSide } = options;
	if (paddingSide !== void 0 && paddingSide !== "left" && paddingSide !== "right") throw new ConfigError(`${what}: \`paddingSide\`: expected "left" or "right", got ${describeGiven(paddingSide)}`);
	if (Array.isArray(examples)) return;
	const hint = isPromise(examples) ? "Await it." : isKind(examples, "sample") ? `Write ${name}([sample]).` : isKind(examples, "dataset") ? `Write ${name}([await dataset.get(0)]), or let a DataLoader make the batches.` : `Write ${name}([{ messages: [{ role: 'user', content: 'What is it?' }] }]).`;
	throw new DataError(`${what}: expected a list of samples, got ${describeGiven(examples)}`, { hint });
}
function requireNoneMasked(example) {
	const { messages = [] } = example;
	const index = messages.findIndex(({ weight, train }) => weight === 0 || train === false);
	if (index < 0) return;
	const { role, weight } = messages[index];
	throw new DataError(`message ${index} (${role}) has \`${weight === 0 ? "weight: 0" : "train: false"}\`, but \`maskPrompt: false\` labels every message`, {
		hint: "leave `maskPrompt` at true, where only answers are learned that no such key masks, or remove the key; files of `prompt` and `completion` have it on the answers of the prompt",
		details: {
			index,
			role
		}
	});
}
// src/data/collator-options.ts
const vlmCollatorOptionsSchema = strictObject({
	maxLength: int$1().positive().optional(),
	overlong: _enum([
		"error",
		"drop",
		"truncateText"
	]).default("error"),
	paddingSide: _enum(["right", "left"]).default("right"),
	maskPrompt: boolean().default(true),
	maskHistory: boolean().default(false),
	parseSpecialTokens: boolean().default(false)
});
// src/data/encode-conversation.ts
function encodeConversation(tokenizer, template, messages, options = {}) {
	requireSameNames(tokenizer, template);
	const { parseSpecialTokens, ...rendering } = options;
	const segments = template.segments(messages, rendering);
	const units = segments.flatMap(({ text, fromTemplate, isLearned, isCall = false, answerIndex }) => {
		const about = {
			isAnswer: isLearned,
			isCall,
			answerIndex
		};
		if (!fromTemplate && !parseSpecialTokens) return [{
			text,
			fromTemplate,
			...about
		}];
		return tokenizer.splitControlTokens(text).map((piece) => piece.id === void 0 ? {
			text: piece.text,
			fromTemplate,
			...about
		} : {
			id: piece.id,
			...about
		});
	});
	if (!template.marksAnswers) closeAnswers(units, closingIds(tokenizer, template), messages);
	const ids = [];
	const isAnswer = [];
	for (let i = 0; i < units.length;) {
		const unit = units[i];
		if (unit.id !== void 0) {
			ids.push(unit.id);
			isAnswer.push(unit.isAnswer);
			i++;
			continue;
		}
		const run = [];
		for (let next = units[i]; next && next.id === void 0; next = units[++i]) run.push(next);
		encodeRun(tokenizer, run, ids, isAnswer);
	}
	requireImageOrder(segments, messages, tokenizer);
	requireOneBos(ids, isAnswer, tokenizer);
	const imagePositions = ids.flatMap((id, i) => id === tokenizer.imageTokenId ? i : []);
	for (const position of imagePositions) isAnswer[position] = false;
	return {
		ids,
		isAnswer,
		imagePositions,
		leftOut: leftOut(segments, messages, options)
	};
}
const knownEnds = new WeakMap();
function endsOf(tokenizer, template) {
	const known = knownEnds.get(template);
	if (known?.tokenizer === tokenizer) return known;
	const ids = tokenizer.splitControlTokens(template.answerTail()).flatMap(({ id }) => id ?? []);
	const { eosTokenId, bosTokenId } = tokenizer;
	const ends = ids.includes(eosTokenId) ? [eosTokenId] : ids.filter((id) => id !== bosTokenId).slice(0, 1);
	const found = {
		tokenizer,
		ends,
		closing: new Set([eosTokenId, ...ends])
	};
	knownEnds.set(template, found);
	return found;
}
function answerEndIds(tokenizer, template) {
	return endsOf(tokenizer, template).ends;
}
function answerFrame(tokenizer, template) {
	const known = endsOf(tokenizer, template);
	known.frame ??= frameOf(tokenizer, template, known);
	return known.frame;
}
function frameOf(tokenizer, template, { ends, closing }) {
	const [first, second] = tokenizer.splitControlTokens(template.answerTail());
	const isClosed = second?.id !== void 0 && closing.has(second.id);
	const [end] = ends;
	return {
		before: leadOf(template),
		after: first && first.id === void 0 && isClosed ? first.text : "",
		...end !== void 0 && { end }
	};
}
const PROBE = "";
function leadOf(template) {
	const question = {
		role: "user",
		content: "a"
	};
	try {
		const prompt = template.render([question], { addGenerationPrompt: true });
		const answered = template.render([question, {
			role: "assistant",
			content: PROBE
		}]);
		const end = answered.startsWith(prompt) ? answered.indexOf(PROBE, prompt.length) : -1;
		const lead = answered.slice(prompt.length, Math.max(prompt.length, end));
		return lead.trim() === "" ? lead : "";
	} catch (error) {
		if (error instanceof TextError) return "";
		throw error;
	}
}
function closingIds(tokenizer, template) {
	return endsOf(tokenizer, template).closing;
}
function closeAnswers(units, closing, messages) {
	const inARow = (first, second) => {
		if (first.answerIndex === void 0 || second.answerIndex === void 0) return true;
		return messages.slice(first.answerIndex, second.answerIndex).every(({ role }) => role === "assistant");
	};
	for (let i = 0; i < units.length; i++) {
		const unit = units[i];
		if (!unit.isAnswer || unit.id !== void 0 && !unit.isCall) continue;
		let end = i + 1;
		while (end < units.length && isTemplateText(units[end])) end++;
		const next = units[end];
		if (next && next.id !== void 0 && closing.has(next.id) || next && next.id === void 0 && next.isAnswer && inARow(unit, next)) for (let j = i + 1; j <= end; j++) units[j].isAnswer = true;
		else if (unit.isCall) {
			let last = end;
			while (last < units.length && isOpenTemplate(units[last]) && !closing.has(units[last].id ?? -1)) last++;
			const isClosed = closing.has(units[last]?.id ?? -1) && !units[last].isAnswer;
			const isAlone = next === void 0 || next.id !== void 0;
			const stop = isClosed ? last + 1 : isAlone ? end : i;
			for (let j = i + 1; j < stop; j++) units[j].isAnswer = true;
		}
	}
}
function isTemplateText(unit) {
	return unit.id === void 0 && unit.fromTemplate && !unit.isAnswer;
}
function isOpenTemplate(unit) {
	return !unit.isAnswer && (unit.id !== void 0 || unit.fromTemplate);
}
function leftOut(segments, messages, { tools }) {
	const shows = (index, test) => segments.some((segment) => segment.messageIndex === index && test(segment));
	const found = [];
	const text = tools?.length ? segments.map((segment) => segment.text).join("") : "";
	if (tools?.length && tools.every((tool) => !text.includes(tool.function.name))) found.push("the tools");
	if (messages.some(({ tool_calls }, i) => tool_calls?.length && !shows(i, ({ isCall }) => !!isCall))) found.push("calls of tools in earlier turns");
	if (messages.some(({ content, role }, i) => {
		if (typeof content === "string" || role !== "assistant") return false;
		return content.flatMap((part) => part.type === "thinking" ? part.thinking.trim() : []).some((thought) => thought !== "" && !shows(i, (segment) => segment.text.trim() === thought));
	})) found.push("thoughts of earlier turns");
	return found;
}
function encodeRun(tokenizer, run, ids, isAnswer) {
	const { ids: runIds, byteEnds } = tokenizer.encodeText(run.map((piece) => piece.text).join(""));
	let piece = 0;
	let pieceEnd = Buffer.byteLength(run[0].text);
	let start = 0;
	for (let t = 0; t < runIds.length; t++) {
		while (pieceEnd <= start) pieceEnd += Buffer.byteLength(run[++piece].text);
		let answer = run[piece].isAnswer;
		for (let p = piece + 1, at = pieceEnd; at < byteEnds[t]; at += Buffer.byteLength(run[p++].text)) answer ||= run[p].isAnswer;
		ids.push(runIds[t]);
		isAnswer.push(answer);
		start = byteEnds[t];
	}
}
function requireImageOrder(segments, messages, tokenizer) {
	const counts = messages.map(({ content }) => partsOf$2(content).filter((part) => part.type === "image").length);
	if (counts.every((count) => count === 0)) return;
	const sums = [0];
	for (const count of counts) sums.push(sums.at(-1) + count);
	const images = segments.map(({ text, fromTemplate }) => {
		return fromTemplate ? tokenizer.splitControlTokens(text).filter(({ id }) => id === tokenizer.imageTokenId).length : 0;
	});
	if (images.reduce((sum, count) => sum + count, 0) !== sums.at(-1)) return;
	let seen = 0;
	for (const [i, { messageIndex, role }] of segments.entries()) {
		seen += images[i];
		if (messageIndex === void 0 || role === "system") continue;
		if (seen >= sums[messageIndex] && seen <= sums[messageIndex + 1]) continue;
		const isEarly = seen > sums[messageIndex + 1];
		throw new TextError(`the chat template puts an image of ${isEarly ? "a later" : "an earlier"} message ${isEarly ? "before" : "behind"} message ${messageIndex} (${role})`, {
			hint: "it is made for a single turn, or gives no image its place; use the template of the model",
			details: {
				index: messageIndex,
				role
			}
		});
	}
}
function requireSameNames(tokenizer, template) {
	for (const name of ["bosToken", "eosToken"]) {
		if (template[name] === tokenizer[name]) continue;
		throw new TextError(`${name} is "${template[name]}" in the chat template, "${tokenizer[name]}" in the tokenizer`, {
			hint: "load both from the same folder, or pass `{ bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken }`",
			details: {
				name,
				template: template[name],
				tokenizer: tokenizer[name]
			}
		});
	}
}
function requireOneBos(ids, isAnswer, tokenizer) {
	const first = ids.indexOf(tokenizer.bosTokenId);
	if (first < 0) {
		ids.unshift(tokenizer.bosTokenId);
		isAnswer.unshift(false);
		return;
	}
	const count = ids.filter((id) => id === tokenizer.bosTokenId).length;
	if (count > 1 || first > 0) throw new TextError(count > 1 ? `the chat template emits ${tokenizer.bosToken} ${count} times, expected once` : `the chat template emits ${tokenizer.bosToken} at token ${first}, expected it in front`, {
		hint: "let the template begin with {{ bos_token }} and use it nowhere else",
		details: {
			count,
			first
		}
	});
}
// src/data/sample-inspection.ts
const MARKERS = ["<image>"];
function inspectConversation(tokenizer, template, { ids, isAnswer, leftOut }, maskPrompt) {
	const closing = closingIds(tokenizer, template);
	const labels = ids.filter((id, i) => i > 0 && (maskPrompt ? isAnswer[i] : id !== tokenizer.imageTokenId)).length;
	const ends = new Set();
	let openAnswers = 0;
	ids.forEach((id, i) => {
		if (!isAnswer[i] || isAnswer[i + 1] || ids[i + 1] === tokenizer.imageTokenId) return;
		const end = closing.has(id) ? id : maskPrompt ? void 0 : ids[i + 1];
		if (end !== void 0 && closing.has(end)) ends.add(end);
		else openAnswers++;
	});
	const reason = openAnswers > 0 ? reasonOf(tokenizer, template) : void 0;
	const promptFault = template.promptFault();
	return {
		labels,
		openAnswers,
		...reason && { openReason: reason },
		...promptFault !== void 0 && { promptFault },
		endTokens: Array.from(ends, (id) => ({
			id,
			token: tokenizer.idToToken(id) ?? String(id)
		})),
		leftOut
	};
}
function reasonOf(tokenizer, template) {
	const tail = template.answerTail();
	if (tail.trim() === "") return `it writes nothing after an answer, where ${tokenizer.eosToken} should stand`;
	const shown = JSON.stringify(tail.trim().slice(0, 60));
	if (tokenizer.splitControlTokens(tail).every(({ id }) => id === void 0)) return `it closes an answer with ${shown}, which this tokenizer takes for ordinary text`;
	if (template.marksAnswers) return `its {% generation %} block ends before what closes an answer, ${shown}`;
	return `what it writes after an answer is ${shown}`;
}
function spelledTokens(tokenizer, messages, tools) {
	const counts = {};
	const add = (token) => {
		counts[token] = (counts[token] ?? 0) + 1;
	};
	for (const text of textsOf(messages, tools)) {
		for (const { id } of tokenizer.splitControlTokens(text)) if (id !== void 0 && tokenizer.specialTokenIds.has(id)) add(tokenizer.idToToken(id));
		for (const marker of foreignMarkersIn(text)) if (tokenizer.tokenToId(marker) === void 0) add(marker);
		for (const marker of MARKERS) {
			if (tokenizer.tokenToId(marker) !== void 0) continue;
			for (let at = text.indexOf(marker); at >= 0; at = text.indexOf(marker, at + marker.length)) add(marker);
		}
	}
	return counts;
}
function textsOf(messages, tools) {
	const texts = [];
	const walk = (value) => {
		if (typeof value === "string") texts.push(value);
		else if (typeof value === "object" && value !== null) for (const [key, inner] of Object.entries(value)) {
			if (!Array.isArray(value)) texts.push(key);
			walk(inner);
		}
	};
	for (const { content, tool_calls } of messages) {
		texts.push(...partsOf$2(content).flatMap((part) => textOf$1(part) ?? []));
		walk(tool_calls?.map((call) => call.function));
	}
	walk(tools);
	return texts;
}
// src/data/sample-trace.ts
async function traceSample({ prepare, expand, shorten }, example, maxLength, signal) {
	let sample;
	let cut;
	const ending = (status, reason) => ({
		status,
		...reason !== void 0 && { reason },
		...sample && { sample },
		...cut && { cut }
	});
	try {
		const prepared = await prepare();
		const { conversation, images, messages } = prepared;
		const about = {
			id: example.id ?? "",
			images
		};
		sample = {
			...about,
			...expand(conversation, prepared)
		};
		const fitting = shorten(prepared);
		if (fitting.keptText !== void 0) {
			cut = {
				length: sample.inputIds.length,
				text: userText(messages).slice(fitting.keptText.length)
			};
			sample = {
				...about,
				...expand(fitting.conversation, prepared)
			};
		}
		if (!hasLabels(sample.labels)) return ending("empty", nothingToLearn(messages).summary);
	} catch (error) {
		if (signal?.aborted) throw error;
		if (error instanceof SkippableImage) return ending("skipped", error.message);
		if (!(error instanceof TuneError)) throw error;
		return ending("failed", error.summary);
	}
	const { length } = sample.inputIds;
	if (maxLength === void 0 || length <= maxLength) return ending("learned");
	return ending("dropped", `${length} tokens; maxLength is ${maxLength}`);
}
function hasLabels(labels) {
	return labels.some((label, i) => i > 0 && label !== -100);
}
// src/data/training-rows.ts
const PLAIN_TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{% if not add_generation_prompt %}{{ eos_token }}{% endif %}";
function rowOf(example, names, forPrompt) {
	const { messages, prompt, completion, text } = example ?? {};
	if (messages && prompt === void 0 && completion === void 0 && text === void 0) return conversationRow(example);
	const given = example ?? {};
	const has = (key) => given[key] !== void 0 && given[key] !== null;
	const forms = [
		"messages",
		"prompt",
		"text"
	].filter((form) => has(form) || form === "prompt" && has("completion"));
	if (forms.length > 1) throw new DataError(`the sample has ${forms.map((form) => `\`${form}\``).join(" and ")}: which is to be learned?`, {
		hint: "keep one of { messages }, { prompt, completion } and { text }",
		details: { forms }
	});
	if (forms[0] === "text") return textRow(given, names, forPrompt);
	if (forms[0] === "prompt") return promptRow(given, names, forPrompt);
	return conversationRow(example);
}
function conversationRow(example) {
	const messages = attachImages(example);
	return example.tools ? {
		messages,
		tools: example.tools,
		isPlain: false
	} : {
		messages,
		isPlain: false
	};
}
function textRow(row, names, forPrompt) {
	requireKeys(row, ["text", "id"]);
	const { text } = row;
	if (typeof text !== "string") throw new DataError(`\`text\`: expected a string, got ${describeKind(text)}`);
	if (forPrompt) throw new DataError("a sample of plain `text` has no question to answer", { hint: "give what is to be continued as { prompt, completion: \"\" }" });
	return {
		messages: [{
			role: "assistant",
			content: withoutEos(withoutBos(text, names), names)
		}],
		isPlain: true
	};
}
function promptRow(row, names, forPrompt) {
	const { prompt, completion = forPrompt ? Array.isArray(prompt) ? [] : "" : void 0 } = row;
	if (Array.isArray(prompt) && Array.isArray(completion)) {
		requireKeys(row, [
			"prompt",
			"completion",
			"images",
			"tools",
			"id"
		]);
		const { id, images, tools } = row;
		return rowOf({
			messages: [...prompt.map((message) => message?.role === "assistant" ? unlearned(message) : message), ...completion],
			images,
			tools,
			id
		}, names, forPrompt);
	}
	if (typeof prompt !== "string" || typeof completion !== "string") throw new DataError(`\`prompt\` and \`completion\`: expected two strings or two lists of messages, got ${describeKind(prompt)} and ${describeKind(completion)}`, { hint: "e.g. { prompt: \"Which?\", completion: \" cat\" }" });
	requireKeys(row, [
		"prompt",
		"completion",
		"id"
	]);
	const content = withoutEos(completion, names);
	return {
		messages: [{
			role: "user",
			content: withoutBos(prompt, names)
		}, {
			role: "assistant",
			content
		}],
		isPlain: true
	};
}
function isPlainSample(example) {
	const { messages, prompt } = example;
	return !messages && !Array.isArray(prompt);
}
function unlearned(message) {
	const { weight: _, ...rest } = message;
	return {
		...rest,
		train: false
	};
}
function requireKeys(row, known) {
	for (const key of [
		"images",
		"image",
		"tools"
	]) {
		const value = row[key];
		if (known.includes(key) || value === void 0 || value === null) continue;
		if (Array.isArray(value) && value.length === 0) continue;
		throw new DataError(`\`${key}\`: a sample of plain strings has no place for ${key === "tools" ? key : "images"}`, { hint: "give it as { messages: [{ role: \"user\", content: [{ type: \"image\", image }, { type: \"text\", text }] }, …] }" });
	}
	const rest = Object.fromEntries(Object.entries(row).filter(([, value]) => !Array.isArray(value) || value.length > 0));
	const unknown = findUnknownKey(rest, known);
	if (unknown !== void 0) throw new DataError(unknownKey(unknown, known), { hint: "take keys that are not part of the sample out of it" });
}
function withoutBos(text, { bosToken }) {
	return text.startsWith(bosToken) ? text.slice(bosToken.length) : text;
}
function withoutEos(text, { eosToken }) {
	return text.endsWith(eosToken) ? text.slice(0, -eosToken.length) : text;
}
// src/data/vlm-collator.ts
const KEPT_CONVERSATIONS = 256;
const LONGEST_KEPT = 65536;
var VlmCollator = class {
	options;
	settings;
	#tokenizer;
	#chatTemplate;
	#plainTemplate;
	#images;
	#processor;
	#cellSize;
	#onDropped;
	#encoded;
	constructor(options) {
		const { tokenizer, chatTemplate, imageProcessor, imagePool, onDropped, ...plain } = options ?? {};
		const missing = Object.entries({
			tokenizer,
			chatTemplate,
			imageProcessor
		}).filter(([, part]) => !part);
		if (missing.length > 0) throw new ConfigError(`VlmCollator: missing ${missing.map(([name]) => `\`${name}\``).join(", ")}`, { hint: "loadProcessor gives all three; a checkpoint without a chat template needs one of your own." });
		requireKind("tokenizer", tokenizer, "VlmCollator: `tokenizer`");
		requireKind("chatTemplate", chatTemplate, "VlmCollator: `chatTemplate`");
		requireKind("imageProcessor", imageProcessor, "VlmCollator: `imageProcessor`");
		if (imagePool !== void 0 && typeof imagePool?.process !== "function") requireKind("imagePool", imagePool, "VlmCollator: `imagePool`");
		requireCallback(onDropped, "VlmCollator: `onDropped`", void 0, true);
		this.options = parseOptions(vlmCollatorOptionsSchema, plain, "VlmCollator options");
		if (this.options.maskHistory && !this.options.maskPrompt) throw new ConfigError("VlmCollator options: `maskHistory` masks earlier answers, `maskPrompt: false` labels everything", { hint: "leave `maskPrompt` at true to learn the last answer alone" });
		const template = createHash("sha256").update(chatTemplate.source).digest("hex").slice(0, 16);
		const { maskHistory, parseSpecialTokens, ...others } = this.options;
		const set = {
			...others,
			...maskHistory && { maskHistory },
			...parseSpecialTokens && { parseSpecialTokens }
		};
		const pool = imagePool?.processor;
		this.settings = {
			...set,
			chatTemplate: template,
			...imageProcessor.settings,
			...pool?.settings
		};
		this.#tokenizer = tokenizer;
		this.#chatTemplate = chatTemplate;
		this.#plainTemplate = new ChatTemplate(PLAIN_TEMPLATE, tokenizer);
		this.#images = imagePool ?? imageProcessor;
		this.#processor = pool ?? imageProcessor;
		this.#cellSize = imageProcessor.patchSize * imageProcessor.spatialMergeSize;
		this.#onDropped = onDropped;
		this.#encoded = chatTemplate.source.includes("strftime_now") ? void 0 : new Map();
	}
	get chatTemplate() {
		return this.#chatTemplate;
	}
	get tokenizer() {
		return this.#tokenizer;
	}
	get tokenizerDigest() {
		return this.#tokenizer.digest;
	}
	async collate(examples, options = {}) {
		checkCall(examples, options, "collate");
		const skipped = [];
		const kept = (await this.#encodeAll(examples, false, options.signal, skipped)).filter((sample) => !this.#drops(sample));
		return padBatch(kept, this.#tokenizer.padTokenId, this.options.paddingSide, skipped);
	}
	hasLabels(example) {
		const { messages, row } = this.#messagesOf(example, false);
		const { ids, isAnswer } = this.#encodeMessages(messages, row, false);
		const { maskPrompt } = this.options;
		return ids.some((id, i) => i > 0 && (maskPrompt ? isAnswer[i] : id !== this.#tokenizer.imageTokenId));
	}
	inspect(example) {
		const { messages, row } = this.#messagesOf(example, false);
		const encoded = this.#encodeMessages(messages, row, false);
		const template = this.#templateOf(row);
		const isParsed = row.isPlain && this.options.parseSpecialTokens;
		const { maxLength, overlong } = this.options;
		const { length } = encoded.ids;
		return {
			...maxLength !== void 0 && length > maxLength && overlong !== "truncateText" && { tooLong: {
				length,
				maxLength,
				isDropped: overlong === "drop"
			} },
			...inspectConversation(this.#tokenizer, template, encoded, this.options.maskPrompt),
			spelledTokens: isParsed ? {} : spelledTokens(this.#tokenizer, messages, row.tools)
		};
	}
	async collatePrompts(examples, options = {}) {
		checkCall(examples, options, "collatePrompts");
		const samples = await this.#encodeAll(examples, true, options.signal);
		const batch = padBatch(samples, this.#tokenizer.padTokenId, options.paddingSide ?? "left");
		const templates = examples.map((example) => isPlainSample(example) ? this.#plainTemplate : this.#chatTemplate);
		const ends = [...new Set(templates)].flatMap((template) => answerEndIds(this.#tokenizer, template));
		const answerFrames = templates.map((template, i) => {
			const frame = answerFrame(this.#tokenizer, template);
			return frame.before !== "" && isBegun(examples[i]) ? {
				...frame,
				before: ""
			} : frame;
		});
		return Object.assign(batch, {
			stopTokenIds: [...new Set(ends)],
			answerFrames
		});
	}
	async trace(example, options = {}) {
		const prepare = () => this.#prepare(example, false, options.signal, (input) => this.#process(input, options.signal));
		const expand = (conversation, { blocks }) => this.#expand(conversation, blocks);
		const shorten = (prepared) => this.#fit(prepared, false);
		return traceSample({
			prepare,
			expand,
			shorten
		}, example, this.options.maxLength, options.signal);
	}
	async measure(example, options = {}) {
		checkNames(options, { signal: false }, "collator.measure");
		const { signal } = options;
		requireSignal(signal, "collator.measure");
		const sampleId = example?.id ?? "0 of the batch";
		const sizeOf = async (input) => {
			const { resizedSize } = this.#processor;
			if (!resizedSize) return {
				...extentsOf(await this.#process(input, signal)),
				input
			};
			const { width, height } = await imageSize(input).catch((error) => {
				throw skippable(input, error);
			});
			signal?.throwIfAborted();
			return {
				...extentsOf(this.#processor.resizedSize(width, height, imageName(input))),
				input
			};
		};
		try {
			return await this.#encode(example, sampleId, false, signal, sizeOf);
		} catch (error) {
			if (signal?.aborted) throw error;
			if (error instanceof SkippableImage) return {
				sampleId,
				reason: error.message
			};
			throw nameSample(error, sampleId);
		}
	}
	async encode(example, options = {}) {
		checkNames(options, COLLATE_OPTIONS, "collator.encode");
		const [sample] = await this.#encodeAll([example], false, options.signal);
		return sample;
	}
	async #encodeAll(examples, prompt, signal, skipped) {
		return (await Promise.all(examples.map(async (example, i) => {
			const sampleId = example?.id ?? `${i} of the batch`;
			try {
				return await this.#encode(example, sampleId, prompt, signal, (input) => this.#process(input, signal));
			} catch (error) {
				if (signal?.aborted) throw error;
				if (skipped && error instanceof SkippableImage) return {
					sampleId,
					reason: error.message
				};
				throw nameSample(error instanceof SkippableImage ? error.cause : error, sampleId);
			}
		}))).filter((sample) => {
			if ("inputIds" in sample) return true;
			skipped.push(sample);
			return false;
		});
	}
	async #encode(example, id, prompt, signal, read) {
		const prepared = await this.#prepare(example, prompt, signal, read);
		const { images } = prepared;
		const { inputIds, labels } = this.#expand(this.#fit(prepared, prompt).conversation, prepared.blocks);
		if (prompt) return {
			id,
			inputIds,
			images
		};
		if (!hasLabels(labels)) throw nothingToLearn(prepared.messages);
		return {
			id,
			inputIds,
			labels,
			images
		};
	}
	async #prepare(example, prompt, signal, read) {
		signal?.throwIfAborted();
		const { messages, row } = this.#messagesOf(example, prompt);
		const inputs = imagesOf(messages);
		const conversation = this.#encodeMessages(messages, row, prompt);
		const images = await Promise.all(inputs.map(read));
		return {
			messages,
			row,
			conversation,
			images,
			blocks: images.map((image) => this.#imageTokens(image))
		};
	}
	#messagesOf(example, prompt) {
		const row = rowOf(example, this.#tokenizer, prompt);
		if (prompt) return {
			messages: promptOf(row.messages),
			row
		};
		const continued = row.messages.findIndex((message) => message.prefix === true);
		if (continued >= 0) throw new DataError(`message ${continued} has \`prefix: true\`: the rest of its answer is missing`, {
			hint: "to learn it as a whole answer take `prefix` off; to continue it give the sample to collatePrompts",
			details: { index: continued }
		});
		if (!this.options.maskPrompt) requireNoneMasked(example);
		if (!this.options.maskHistory) return {
			messages: row.messages,
			row
		};
		const last = row.messages.findLastIndex((message) => message.role === "assistant");
		const isEarlier = ({ role }, i) => role === "assistant" && i < last;
		return {
			messages: row.messages.map((turn, i) => isEarlier(turn, i) ? unlearned(turn) : turn),
			row
		};
	}
	#templateOf(row) {
		return row.isPlain ? this.#plainTemplate : this.#chatTemplate;
	}
	#encodeMessages(messages, row, prompt) {
		const conversation = this.#conversationOf(messages, row, prompt);
		const places = conversation.imagePositions.length;
		const imageCount = imagesOf(messages).length;
		if (places !== imageCount) throw new DataError(`${imageCount} images for ${places} image tokens in the rendered conversation`, {
			hint: "the chat template must write one image token for each image part, and the tokenizer must know it",
			details: {
				images: imageCount,
				imageTokens: places
			}
		});
		return conversation;
	}
	#conversationOf(messages, row, prompt) {
		const { tools, isPlain } = row;
		const begun = prompt && messages.at(-1)?.prefix === true ? messages.at(-1) : void 0;
		const isContinued = begun !== void 0 && begun.content.length > 0;
		const asked = begun && !isContinued ? messages.slice(0, -1) : messages;
		const encode = () => encodeConversation(this.#tokenizer, this.#templateOf(row), asked, {
			addGenerationPrompt: prompt && !isContinued,
			continueFinalMessage: isContinued,
			parseSpecialTokens: isPlain && this.options.parseSpecialTokens,
			...tools && { tools }
		});
		if (!this.#encoded) return encode();
		const seen = asked.map(seenOf);
		const key = `${prompt} ${isPlain} ${isContinued} ${JSON.stringify(tools ? [seen, tools] : seen)}`;
		const conversation = this.#encoded.get(key) ?? encode();
		this.#encoded.delete(key);
		if (key.length <= LONGEST_KEPT) this.#encoded.set(key, conversation);
		if (this.#encoded.size > KEPT_CONVERSATIONS) this.#encoded.delete(this.#encoded.keys().next().value);
		return conversation;
	}
	async #process(input, signal) {
		const image = await this.#images.process(input, signal && { signal }).catch((error) => {
			throw skippable(input, error);
		});
		const { pixelValues, height, width } = image;
		const cell = this.#cellSize;
		if (pixelValues.length !== 3 * height * width || height % cell !== 0 || width % cell !== 0) throw new ImageError(`the image processor gave ${pixelValues.length} values for ${height} x ${width} pixels; expected 3 for each pixel, and sides that are multiples of ${cell}`, { details: {
			height,
			width,
			cellSize: cell
		} });
		return image;
	}
	#imageTokens({ height, width }) {
		const { imageTokenId, imageBreakTokenId, imageEndTokenId } = this.#tokenizer;
		if (imageTokenId === void 0 || imageBreakTokenId === void 0 || imageEndTokenId === void 0) throw new DataError("the tokenizer has no image tokens", { hint: "use the tokenizer of a vision model" });
		const row = [...new Array(width / this.#cellSize).fill(imageTokenId), imageBreakTokenId];
		const tokens = new Array(height / this.#cellSize).fill(row).flat();
		tokens[tokens.length - 1] = imageEndTokenId;
		return tokens;
	}
	#fit({ conversation, messages, row, blocks }, prompt) {
		const { maxLength, overlong } = this.options;
		const extra = blocks.reduce((sum, block) => sum + block.length - 1, 0);
		const length = conversation.ids.length + extra;
		if (maxLength === void 0 || length <= maxLength || overlong === "drop" && !prompt) return { conversation };
		const details = {
			length,
			maxLength,
			imageTokens: extra + blocks.length
		};
		if (overlong !== "truncateText") throw new DataError(`${length} tokens, ${details.imageTokens} of them for images; maxLength is ${maxLength}`, {
			hint: "raise maxLength, use smaller images, or set overlong to \"drop\" or \"truncateText\"; a run that this stopped can be resumed with any of them",
			details
		});
		let best;
		let low = 0;
		let high = userText(messages).length - 1;
		while (low <= high) {
			const keep = best === void 0 && low === 0 ? 0 : low + high + 1 >> 1;
			const kept = keepUserText(messages, keep);
			const shorter = this.#encodeMessages(kept, row, prompt);
			if (shorter.ids.length + extra <= maxLength) {
				best = {
					conversation: shorter,
					keptText: userText(kept)
				};
				low = keep + 1;
			} else high = keep - 1;
		}
		if (best) return best;
		throw new DataError(`${length} tokens, and more than maxLength ${maxLength} even without any user text`, {
			hint: "images, answers and the template itself are never cut: raise maxLength, use smaller images, or set overlong to \"drop\"",
			details
		});
	}
	#expand({ ids, isAnswer, imagePositions }, blocks) {
		const inputIds = [];
		const labels = [];
		const { imageTokenId } = this.#tokenizer;
		const { maskPrompt } = this.options;
		let next = 0;
		ids.forEach((id, i) => {
			const tokens = i === imagePositions[next] ? blocks[next++] : [id];
			for (const token of tokens) {
				const learned = maskPrompt ? isAnswer[i] : token !== imageTokenId;
				inputIds.push(token);
				labels.push(learned ? token : IGNORE_INDEX);
			}
		});
		return {
			inputIds,
			labels
		};
	}
	#drops(sample) {
		const { maxLength } = this.options;
		const length = sample.inputIds.length;
		if (maxLength === void 0 || length <= maxLength) return false;
		this.#onDropped?.({
			sampleId: sample.id,
			length,
			maxLength
		});
		return true;
	}
};
function skippable(input, error) {
	return error instanceof ImageError && typeof input === "object" && "onBadImage" in input && input.onBadImage === "skip" ? new SkippableImage(error) : error;
}
function extentsOf({ height, width }) {
	return {
		height,
		width
	};
}
function isBegun(example) {
	const { messages, prompt } = example;
	const last = [messages, prompt].find(Array.isArray)?.at(-1);
	return last?.prefix === true && last.content.length > 0;
}
function seenOf(message) {
	const { role, content, tool_calls, tool_call_id, name, weight, train } = message;
	const seen = typeof content === "string" ? content : content.map((part) => {
		if (part.type === "text") return [part.text];
		return part.type === "image" ? 0 : {
			thinking: part.thinking,
			closed: part.closed
		};
	});
	const isMasked = weight === 0 || train === false;
	if (!tool_calls && tool_call_id === void 0 && name === void 0 && !isMasked) return [role, seen];
	return [
		role,
		seen,
		{
			tool_calls,
			tool_call_id,
			name,
			isMasked
		}
	];
}
function imagesOf(messages) {
	return messages.flatMap(({ content }) => partsOf$2(content).flatMap((part) => part.type === "image" ? part.image : []));
}
// src/generated/kernels.ts
const KERNELS = "AGFzbQEAAAABVwpgA39/fwBgBn9/f39/fwBgCH9/f39/f39/AGAFf39/f38AYAd/f39/f39/AGALf39/f39/f39/f38AYAF8AXxgCX9/f39/f39/fwBgA39/fwF9YAF/AAIiAgRob3N0CGNvcHlSb3dzAAEDZW52Bm1lbW9yeQIDEICABAMoJwUCAwYBBwIIAAQECQAAAAAAAAAAAAAAAAEAAwAAAAAAAAAAAAAAAAYGAX8BQQALB/kCHApzZXRTY3JhdGNoAAwQZ2F0aGVyV2VpZ2h0Um93cwAJC21hdG11bFRpbGVzABoNcmVnaXN0ZXJCbG9jawAFCXRyYW5zcG9zZQAYCm1hdG11bERvdHMAHANhZGQAIghhY3RpdmF0ZQAkEGFjdGl2YXRlQmFja3dhcmQAIw1nYXRlZEFjdGl2YXRlAB8VZ2F0ZWRBY3RpdmF0ZUJhY2t3YXJkAB4HZHJvcG91dAAgB2FkZEJpYXMAIQhtdWx0aXBseQAdB3Jtc05vcm0AFw9ybXNOb3JtQmFja3dhcmQAFgZyb3RhcnkAEwpnYXRoZXJSb3dzABILc2NhdHRlclJvd3MAEAdzdW1Sb3dzAA4MbWVyZ2VQYXRjaGVzABEMc3BsaXRQYXRjaGVzAA8Lc29mdG1heExvc3MADQlhdHRlbnRpb24AJxFhdHRlbnRpb25CYWNrd2FyZAAmBWFkYW1XABUMc3VtT2ZTcXVhcmVzABQGbWVtb3J5AgAMAQIK0+4BJ+AFAg5/C3sgAEF8cSIMBEADQCANQQhqIAFMBEAgDUECdCEWQQAhDgNAIAwgDkoEQCADIAQgDmxqIQsgBiAWaiEP/QwAAAAAAAAAAAAAAAAAAAAAIRr9DAAAAAAAAAAAAAAAAAAAAAAhG/0MAAAAAAAAAAAAAAAAAAAAACEc/QwAAAAAAAAAAAAAAAAAAAAAIR39DAAAAAAAAAAAAAAAAAAAAAAhHv0MAAAAAAAAAAAAAAAAAAAAACEf/QwAAAAAAAAAAAAAAAAAAAAAISAgCCAJIA5saiAWaiIQIAlqIhEgCWoiEiAJaiETIAoEeyAQ/QAEECEaIBH9AAQAIRsgEf0ABBAhHCAS/QAEACEdIBL9AAQQIR4gE/0ABAAhHyAT/QAEECEgIBD9AAQABf0MAAAAAAAAAAAAAAAAAAAAAAshGSAEQQF0IhcgBGohGEEAIRUDQCACIBVKBEAgC/0JAgAiIiAP/QAEACIh/eYBIBn95AEhGSAiIA/9AAQQIiL95gEgGv3kASEaIAQgC2r9CQIAIiMgIf3mASAb/eQBIRsgIyAi/eYBIBz95AEhHCALIBdq/QkCACIjICH95gEgHf3kASEdICMgIv3mASAe/eQBIR4gCyAYav0JAgAiIyAh/eYBIB/95AEhHyAjICL95gEgIP3kASEgIAUgC2ohCyAHIA9qIQ8gFUEBaiEVDAELCyAQIBn9CwQAIBAgGv0LBBAgESAb/QsEACARIBz9CwQQIBIgHf0LBAAgEiAe/QsEECATIB/9CwQAIBMgIP0LBBAgDkEEaiEODAELCyANQQhqIQ0MAQsLIAEgDUoEQANAIAwgFEoEQCABIA1rIAIgAyAEIBRsaiAFIA1BAnQiCyAGaiAHIAggCSAUbGogC2ogChAHIBRBAWohFAwBCwsLCwNAIAAgDEoEQCABIAIgAyAEIAxsaiAFIAYgByAIIAkgDGxqIAoQByAMQQFqIQwMAQsLC4EGAgR7An8gAQRAIAFBA0YEQCAAQQBBAUEAQeAIIAYQACAGKAIEIQEgBigCACIMQQFxBH9BAQVBAUGA4AAgAXQgDG0iASABQQBMGwshDEEAIQEDQCABIANIBEAgACABIAJqIAwgAyABayINIAwgDUgbIAQgBSAGIAcgASAFbEECdGoQCiABIAxqIQEMAQsLBSABQQRGBEAgACACIAMgBCAFIAYgBxALBSAAIAIgAyAEQQF0IAVBAXQgBhAAIAMgBWwhACABQQFGIQJBACEBA0AgASAAQQhrTARAIAb9AAQAIgj9qQEhCSAI/aoBIQogByACBHsgCUEQ/asBBSAJ/Qz/fwAA/38AAP9/AAD/fwAA/U4iCEEN/asBIgv9DAAAgH8AAIB/AACAfwAAgH/9UCAL/QwAAIB3AACAdwAAgHcAAIB3/eYBIAj9DP97AAD/ewAA/3sAAP97AAD9O/1SIAn9DACAAAAAgAAAAIAAAACAAAD9TkEQ/asB/VAL/QsEACAHIAIEeyAKQRD9qwEFIAr9DP9/AAD/fwAA/38AAP9/AAD9TiIIQQ39qwEiCf0MAACAfwAAgH8AAIB/AACAf/1QIAn9DAAAgHcAAIB3AACAdwAAgHf95gEgCP0M/3sAAP97AAD/ewAA/3sAAP07/VIgCv0MAIAAAACAAAAAgAAAAIAAAP1OQRD9qwH9UAv9CwQQIAZBEGohBiAHQSBqIQcgAUEIaiEBDAELCwNAIAAgAUoEQCAGLwEA/REhCCAHIAIEeyAIQRD9qwEFIAj9DP9/AAD/fwAA/38AAP9/AAD9TiIJQQ39qwEiCv0MAACAfwAAgH8AAIB/AACAf/1QIAr9DAAAgHcAAIB3AACAdwAAgHf95gEgCf0M/3sAAP97AAD/ewAA/3sAAP07/VIgCP0MAIAAAACAAAAAgAAAAIAAAP1OQRD9qwH9UAv9HwA4AgAgBkECaiEGIAdBBGohByABQQFqIQEMAQsLCwsFIAAgAiADIARBAnQgBUECdCAHEAALC6QEAgl/BnsgAkEHakF4cSEHA0AgC0EEaiACTARAIAAgASALbGoiCiABaiIJIAFqIgggAWohDSAEIAtBAnRqIQxBACEFA0AgBUEEaiIGIANMBEAgDCAKIAVBAnQiBWr9AAQAIhIgBSAJav0ABAAiE/0NAAECAxAREhMEBQYHFBUWFyIRIAUgCGr9AAQAIhAgBSANav0ABAAiD/0NAAECAxAREhMEBQYHFBUWFyIO/Q0AAQIDBAUGBxAREhMUFRYX/QsEACAMQYACaiARIA79DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAxBgARqIBIgE/0NCAkKCxgZGhsMDQ4PHB0eHyIOIBAgD/0NCAkKCxgZGhsMDQ4PHB0eHyIP/Q0AAQIDBAUGBxAREhMUFRYX/QsEACAMQYAGaiAOIA/9DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAxBgAhqIQwgBiEFDAELCwNAIAMgBUoEQCAMIAogBUECdCIGaioCADgCACAMIAYgCWoqAgA4AgQgDCAGIAhqKgIAOAIIIAwgBiANaioCADgCDCAMQYACaiEMIAVBAWohBQwBCwsgC0EEaiELDAELCwNAIAcgC0oEQCAAIAEgC2xqIQggBCALQQJ0aiEFQQAhBgNAIAMgBkoEQCAFIAIgC0oEfSAIIAZBAnRqKgIABUMAAAAACzgCACAFQYACaiEFIAZBAWohBgwBCwsgC0EBaiELDAELCwvSBAMCfgJ/A3wCfCAAvSIBQoCAgICAgID3P31CgICAgICgwgFUBEAgAEQAAAAAAADwv6AiACAAoiIFIACiIgYgAETL/f/////Pv6JEd1VVVVVV1T+gIAVEDN2VmZmZyT+ioCAGIABEMN5EoyRJwj+iRKdFZ1VVVcW/oCAFRGU9QqT//7+/oqAgBiAARP9osEPrmbm/okTK1ioohHG8P6AgBUSF0K/3goG3P6KgIAZEzUXRdRNStb+ioKKgoqCiIAAgACAAIABEAAAAAAAAoEGiIgWgIAWhIgUgBaJEAAAAAAAA4L+iIgagIgehIAagIAAgBaFEAAAAAAAA4L+iIAUgAKCioKAgB6AMAQsgAUIwiKciA0EQa0Hg/wFPBEBEAAAAAAAA8L8gACAAoqMgAUIBhlANARogACABQoCAgICAgID4/wBRDQEaQQEgA0Hw/wFxQfD/AUYgA0GAgAJxGwRAIAAgAKEiACAAowwCCyAARAAAAAAAADBDor1CgICAgICAgKADfSEBCyABQoCAgICAgIDzP30iAkItiEL/AIOnQQR0IgNBgAhqIQQgAkI0h7kiAEQAOPr+Qi7mP6IgBCsDCKAiBSABIAJCgICAgICAgHiDfb8gA0GAGGoiAysDAKEgAysDCKEgBCsDAKIiBqAhByAFIAehIAagIABEMGfHk1fzLj2ioCAGIAaiIgBEAQAAAAAA4L+ioCAGIACiIAZEkEXr////z7+iRFswUVVVVdU/oCAAIAZEn8gG5XVVxb+iRBEB8SSzmck/oKKgoqAgB6ALC+EDAg97BH8gACABQQEgAkEBayIYIBhBAUobbGohAiAAIAFBAiAYIBhBAkobbGohFSAAIAFBAyAYIBhBA0obbGohFiAAIAFBBCAYIBhBBEobbGohFyAAIAEgGGxqIQEgAyAEQQV0aiEEA0AgAyAESQRAIAD9CQIAIhMgA/0ABAAiBv3mASAH/eQBIQcgEyAD/QAEECIT/eYBIAj95AEhCCAC/QkCACIUIAb95gEgCf3kASEJIBQgE/3mASAK/eQBIQogFf0JAgAiFCAG/eYBIAv95AEhCyAUIBP95gEgDP3kASEMIBb9CQIAIhQgBv3mASAN/eQBIQ0gFCAT/eYBIA795AEhDiAX/QkCACIUIAb95gEgD/3kASEPIBQgE/3mASAQ/eQBIRAgAf0JAgAiFCAG/eYBIBH95AEhESAUIBP95gEgEv3kASESIABBBGohACACQQRqIQIgFUEEaiEVIBZBBGohFiAXQQRqIRcgAUEEaiEBIANBIGohAwwBCwsgBSAH/QsEACAFIAj9CwQQIAUgCf0LBCAgBSAK/QsEMCAFIAv9CwRAIAUgDP0LBFAgBSAN/QsEYCAFIA79CwRwIAUgD/0LBIABIAUgEP0LBJABIAUgEf0LBKABIAUgEv0LBLABC9gDAwJ/BHsDfSAAKgJAIREgCAR9IAAqAkQFQwAAgD8LIRADQCADIApKBEAgASEAIAQhCEEAIQn9DAAAAAAAAAAAAAAAAAAAAAAhC/0MAAAAAAAAAAAAAAAAAAAAACEM/QwAAAAAAAAAAAAAAAAAAAAAIQ39DAAAAAAAAAAAAAAAAAAAAAAhDgNAIAkgBUEQa0wEQCAA/QAEACAI/QAEAP3mASAL/eQBIQsgAP0ABBAgCP0ABBD95gEgDP3kASEMIAD9AAQgIAj9AAQg/eYBIA395AEhDSAA/QAEMCAI/QAEMP3mASAO/eQBIQ4gAEFAayEAIAhBQGshCCAJQRBqIQkMAQsLA0AgCSAFQQRrTARAIAD9AAQAIAj9AAQA/eYBIAv95AEhCyAAQRBqIQAgCEEQaiEIIAlBBGohCQwBCwsgCyAM/eQBIA0gDv3kAf3kASIL/R8AIAv9HwGSIAv9HwIgC/0fA5KSIQ8DQCAFIAlKBEAgDyAAKgIAIAgqAgCUkiEPIABBBGohACAIQQRqIQggCUEBaiEJDAELCyARIA+UIQ8gBiAQQwAAAABcBH0gDyAGKgIAIBCUkgUgDws4AgAgASACaiEBIAYgB2ohBiAKQQFqIQoMAQsLC6IGAwV/CXsBfQNAIAtBIGogAEwEQCALQQJ0IgggBmohDCAEIAhqIQogAiEI/QwAAAAAAAAAAAAAAAAAAAAAIQ79DAAAAAAAAAAAAAAAAAAAAAAhD/0MAAAAAAAAAAAAAAAAAAAAACEQ/QwAAAAAAAAAAAAAAAAAAAAAIRH9DAAAAAAAAAAAAAAAAAAAAAAhEv0MAAAAAAAAAAAAAAAAAAAAACET/QwAAAAAAAAAAAAAAAAAAAAAIRQgBwR7IAz9AAQQIQ4gDP0ABCAhDyAM/QAEMCEQIAz9AARAIREgDP0ABFAhEiAM/QAEYCETIAz9AARwIRQgDP0ABAAF/QwAAAAAAAAAAAAAAAAAAAAACyENQQAhCQNAIAEgCUoEQCAI/QkCACIVIAr9AAQA/eYBIA395AEhDSAVIAr9AAQQ/eYBIA795AEhDiAVIAr9AAQg/eYBIA/95AEhDyAVIAr9AAQw/eYBIBD95AEhECAVIAr9AARA/eYBIBH95AEhESAVIAr9AARQ/eYBIBL95AEhEiAVIAr9AARg/eYBIBP95AEhEyAVIAr9AARw/eYBIBT95AEhFCADIAhqIQggBSAKaiEKIAlBAWohCQwBCwsgDCAN/QsEACAMIA79CwQQIAwgD/0LBCAgDCAQ/QsEMCAMIBH9CwRAIAwgEv0LBFAgDCAT/QsEYCAMIBT9CwRwIAtBIGohCwwBCwsDQCALQQRqIABMBEAgC0ECdCIIIAZqIQwgBCAIaiEJIAIhCCAHBHsgDP0ABAAF/QwAAAAAAAAAAAAAAAAAAAAACyENQQAhCgNAIAEgCkoEQCAI/QkCACAJ/QAEAP3mASAN/eQBIQ0gAyAIaiEIIAUgCWohCSAKQQFqIQoMAQsLIAwgDf0LBAAgC0EEaiELDAELCwNAIAAgC0oEQCALQQJ0IgggBmohDCAEIAhqIQkgAiEIIAcEfSAMKgIABUMAAAAACyEWQQAhCgNAIAEgCkoEQCAWIAgqAgAgCSoCAJSSIRYgAyAIaiEIIAUgCWohCSAKQQFqIQoMAQsLIAwgFjgCACALQQFqIQsMAQsLC6oBAwN/AnsBfQNAIANBCGoiBCACTARAIANBAnQiBSAAaiID/QAEACABIAVqIgX9AAQA/eYBIAb95AEhBiAD/QAEECAF/QAEEP3mASAH/eQBIQcgBCEDDAELCyAGIAf95AEiBv0fACAG/R8BkiAG/R8CIAb9HwOSkiEIA0AgAiADSgRAIAggA0ECdCIEIABqKgIAIAEgBGoqAgCUkiEIIANBAWohAwwBCwsgCAujAQEIfyAAKAIAIQQgACgCBCEFIAAoAgghBiAAKAIMIQcgACgCECEDIAAoAhQhCANAIAEgAkgEQCAEBH8gBCABQQJ0aigCAAUgASAFagshCUEAIQADQCAAIANIBEAgBiAHIAlBASAAQYCACCADIABrIgogCkGAgAhKGyMAIAggASADbCAAakECdGoQAiAAQYCACGohAAwBCwsgAUEBaiEBDAELCwu0CwQOfwV7CH4BfSAFKAIIIQogBSgCDCEOIAU0AhAhHSAFKgIUISJBASAFNAIEIh6ndEEBayEQIAVB4AhqIghBQGshCyADrCAFNAIAIiAgAax+fCIbp0EBcSIHIARqQQFqQQF1IQwgAkEBRgRAIABBAEEBIBtCAYinQeAIaiAMIAsQAAUgACABIAIgA0EBdUHgCGogDCALEAALIAsgAiAMbGpBA2pBfHEiDSAErCAbIAJBAWusICB+fHxCAX0gHoggGyAeiCIafadBAWoiAWpBA2pBfHEhESAaIB2IIR8gDgRAIABBAEEBIAogGqdqIAEgDRAAIABBAEEBIA4gH6dBAnRqIBogAax8QgF9IB2IIB99p0EBakECdCAREAAFIABBAEEBIAogGqdBAnRqIAFBAnQgDRAACwNAIAIgCUoEQCAbIAmsICB+fCEcIAsgCSAMbGohDyAHIQAgBiAEIAlsQQJ0aiIDIARBAnRqIRIDQCADIBJJBEAgEiADa0ECdiIBIBBBAWogHKcgEHFrIgogASAKSBshEyAcIB6IIiEgGn2nIQEgBUEgaiIK/QAEACAOBH0gBUHgAGogASANai0AAEECdGoqAgAgESAhIB2IIB99p0ECdGoqAgCUICKSBSANIAFBAnRqKgIAC/0TIhX95gEiFiAWQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1OIRYgCv0ABBAgFf3mASIXIBdBEP2tAf0MAQAAAAEAAAABAAAAAQAAAP1O/Qz/fwAA/38AAP9/AAD/fwAA/a4B/a4B/QwAAP//AAD//wAA//8AAP///U4hFyAK/QAEICAV/eYBIhggGEEQ/a0B/QwBAAAAAQAAAAEAAAABAAAA/U79DP9/AAD/fwAA/38AAP9/AAD9rgH9rgH9DAAA//8AAP//AAD//wAA///9TiEYIAr9AAQwIBX95gEiFSAVQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1OIRUgCCAW/QsEACAIIBf9CwQQIAggGP0LBCAgCCAV/QsEMCAWIBf9DQIGCg4SFhoeAwcLDxMXGx8iFiAYIBX9DQIGCg4SFhoeAwcLDxMXGx8iFf0NAAECAwQFBgcQERITFBUWFyEXIBYgFf0NCAkKCwwNDg8YGRobHB0eHyEWIA8gACAAQQFxIgEgE0EASnEEfyADIAggDyAAQQF1ai0AACIKQQ9xIApBBHYgARtBAnRqKgIAOAIAQQEFQQALIgFqQQF1aiEKA0AgASATQRBrTARAIAMgAUECdGoiFP0MAAAAAAAAAAAAAAAAAAAAACAXIAr9XQMAIhVBBP1tIBX9DA8PDw8PDw8PDw8PDw8PDw/9Tv0NABABEQISAxMEFAUVBhYHFyIV/Q4iGCAWIBX9DiIZ/Q0AEAERAhIDEwQUBRUGFgcXIhX9DQABEBECAxITBAUUFQYHFhf9CwQAIBT9DAAAAAAAAAAAAAAAAAAAAAAgFf0NCAkYGQoLGhsMDRwdDg8eH/0LBBAgFP0MAAAAAAAAAAAAAAAAAAAAACAYIBn9DQgYCRkKGgsbDBwNHQ4eDx8iFf0NAAEQEQIDEhMEBRQVBgcWF/0LBCAgFP0MAAAAAAAAAAAAAAAAAAAAACAV/Q0ICRgZCgsaGwwNHB0ODx4f/QsEMCAKQQhqIQogAUEQaiEBDAELCwNAIAEgE0gEQCADIAFBAnRqIAggDyAAIAFqIgpBAXVqLQAAIhRBD3EgFEEEdiAKQQFxG0ECdGoqAgA4AgAgAUEBaiEBDAELCyAAIBNqIQAgHCATrHwhHCADIBNBAnRqIQMMAQsLIAlBAWohCQwBCwsL2ggCEn8EeyAAQQBBAUEAQRAgBRAAIAUoAgAhDCAFKAIEIRIgBSgCDCEUIAVBEGohDUEBQYDgACAFKAIIIg5tQQFrIgUgBUEATBshDwNAIAIgCEoEQCAAQQBBASAUIAEgCGoiByAMbSITIA5sQQJ0aiAHIA8gAiAIayIFIAUgD0obIhBqQQFrIAxtIBNrQQFqIA5sQQJ0IgUgDRAAIAAgByAQIANBEGogBCAFIA1qIhUQAEEAIQkDQCAJIBBIBEAgDSABIAhqIAlqIAxtIBNrIA5sQQJ0aiEWIBUgBCAJbGohCiAGIAggCWogBGxBAnRqIQsgBCADIgVqIREDQCAFIBFIBEAgESAFIBJtIgdBAWogEmwiFyARIBdIGyAFayEXIBYgB0ECdGoqAgD9EyEZQQAhBwNAIAcgF0EQa0wEQCALIAdBAnRqIhggByAKav0ABAAiG/2HASIa/acBQRT9qwH9DAAA8IcAAPCHAADwhwAA8If9Tv0MAACAewAAgHsAAIB7AACAe/3mASAZ/eYBIhwgHEEQ/a0B/QwBAAAAAQAAAAEAAAABAAAA/U79DP9/AAD/fwAA/38AAP9/AAD9rgH9rgH9DAAA//8AAP//AAD//wAA///9Tv0LBAAgGCAa/agBQRT9qwH9DAAA8IcAAPCHAADwhwAA8If9Tv0MAACAewAAgHsAAIB7AACAe/3mASAZ/eYBIhogGkEQ/a0B/QwBAAAAAQAAAAEAAAABAAAA/U79DP9/AAD/fwAA/38AAP9/AAD9rgH9rgH9DAAA//8AAP//AAD//wAA///9Tv0LBBAgGCAb/YgBIhr9pwFBFP2rAf0MAADwhwAA8IcAAPCHAADwh/1O/QwAAIB7AACAewAAgHsAAIB7/eYBIBn95gEiGyAbQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1O/QsEICAYIBr9qAFBFP2rAf0MAADwhwAA8IcAAPCHAADwh/1O/QwAAIB7AACAewAAgHsAAIB7/eYBIBn95gEiGiAaQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1O/QsEMCAHQRBqIQcMAQsLA0AgByAXSARAIAsgB0ECdGogByAKaiwAAP0RQRT9qwH9DAAA8IcAAPCHAADwhwAA8If9Tv0MAACAewAAgHsAAIB7AACAe/3mASAZ/eYBIhogGkEQ/a0B/QwBAAAAAQAAAAEAAAABAAAA/U79DP9/AAD/fwAA/38AAP9/AAD9rgH9rgH9DAAA//8AAP//AAD//wAA///9Tv0fADgCACAHQQFqIQcMAQsLIAogF2ohCiALIBdBAnRqIQsgBSAXaiEFDAELCyAJQQFqIQkMAQsLIAggD2ohCAwBCwsLBgAgACQAC5cNBAh/BHwDewN9IABBEGooAgBBAEchCCAAQRRqKAIAIQlEAAAAAAAA8D8gAEEcaioCALsiDaEhDiAAQQRqKAIAIgdBfHEhAyABIQUDQCACIAVKBEAgACgCACAFIAdsQQJ0aiEGIAkEfSAAQRhqKgIAIAkgBUECdGoqAgCUBSAAQRhqKgIACyETIABBCGooAgAgBUECdGooAgAhCv0MAACA/wAAgP8AAID/AACA/yEPQQAhAQNAIAEgA0gEQCAPIAYgAUECdGr9AAQA/ekBIQ8gAUEEaiEBDAELCyAP/R8AIA/9HwGXIA/9HwIgD/0fA5eXIRIgAyEBA0AgASAHSARAIBIgBiABQQJ0aioCAJchEiABQQFqIQEMAQsLIAYgCkECdGoqAgC7IQsgDUQAAAAAAAAAAGIEQEEAIQH9DAAAAAAAAAAAAAAAAAAAAAAhDwNAIAFBBGoiBCAHTARAIA8gBiABQQJ0av0ABAAiD/1fIA8gD/0NCAkKCwwNDg8ICQoLDA0OD/1f/fAB/fABIQ8gBCEBDAELCyAP/SEAIA/9IQGgIQwDQCABIAdIBEAgDCAGIAFBAnRqKgIAu6AhDCABQQFqIQEMAQsLIA4gC6IgDSAMIAe3o6KgIQsLIBL9EyEQ/QwAAAAAAAAAAAAAAAAAAAAAIQ9BACEBA0AgASADSARAIA8gBiABQQJ0aiIE/QAEACAQ/eUB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIg/9DDuquD87qrg/O6q4PzuquD/95gH9aiIR/QyDgF45g4BeOYOAXjmDgF45/eYBIBH9DACAMb8AgDG/AIAxvwCAMb/95gEgD/3kAf3kASIPIA/95gH9DD/atjo/2rY6P9q2Oj/atjogD/3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAP/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBIA/95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgD/3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAP/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIBH9+AEiD0EB/awBIhH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAPIBH9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASIR/V8gESAR/Q0ICQoLDA0ODwgJCgsMDQ4P/V/98AH98AEhDyAIBEAgBCAR/QsEAAsgAUEEaiEBDAELCyAP/SEAIA/9IQGgIQwgAyEBA0AgASAHSARAIAwgBiABQQJ0aiIEKgIAIBKT/RP9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiD/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIhD9DIOAXjmDgF45g4BeOYOAXjn95gEgEP0MAIAxvwCAMb8AgDG/AIAxv/3mASAP/eQB/eQBIg8gD/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAP/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIA/95gH9DC+qKj0vqio9L6oqPS+qKj395AEgD/3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAP/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIA/95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgEP34ASIPQQH9rAEiEP0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIA8gEP2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/R8AIhS7oCEMIAgEQCAEIBQ4AgALIAFBAWohAQwBCwsgAEEMaigCACAFQQJ0aiASuyALoSAMEASgtjgCACAIBEAgE7sgDKO2IhL9EyEPQQAhAQNAIAEgA0gEQCAGIAFBAnRqIgQgBP0ABAAgD/3mAf0LBAAgAUEEaiEBDAELCwNAIAEgB0gEQCAGIAFBAnRqIgQgBCoCACASlDgCACABQQFqIQEMAQsLIA1EAAAAAAAAAABiBEBBACEBIBO7IA2iIAe3o7YiEv0TIQ8DQCABQQRqIgQgB0wEQCAGIAFBAnRqIgEgAf0ABAAgD/3lAf0LBAAgBCEBDAELCwNAIAEgB0gEQCAGIAFBAnRqIgQgBCoCACASkzgCACABQQFqIQEMAQsLCyAGIApBAnRqIgEgASoCACATuyAOoraTOAIACyAFQQFqIQUMAQsLC/sBAQl/IABBEGooAgAiB0ECdCEGIAEhBANAIAIgBEoEQCAAQQRqKAIAIARBAnRqIgEoAgQhCiAAQQxqKAIAIAQgBmxqIghBACAG/AsAIAEoAgAhBQNAIAUgCkgEQCAAKAIAIABBCGooAgAgBUECdGooAgAgBmxqIQlBACEBA0AgAUEEaiIDIAdMBEAgAUECdCIBIAhqIgsgC/0ABAAgASAJav0ABAD95AH9CwQAIAMhAQwBCwsDQCABIAdIBEAgAUECdCIDIAhqIgsgCyoCACADIAlqKgIAkjgCACABQQFqIQEMAQsLIAVBAWohBQwBCwsgBEEBaiEEDAELCwuzAQEGfyAAQQxqKAIAIQYgAEEQaigCACEFA0AgASACSARAIAAoAgAgASAFbCAGbEECdGohB0EAIQMDQCADIAVIBEAgAEEIaigCACAAQQRqKAIAIAEgBWwgA2pBAnRqKAIAIAZsQQJ0aiEIQQAhBANAIAQgBkgEQCAIIARBAnRqIAcgBCAFbCADakECdGoqAgA4AgAgBEEBaiEEDAELCyADQQFqIQMMAQsLIAFBAWohAQwBCwsLbgEEfyAAKAIAIQQgAEEEaigCACEGIABBDGooAgBBAnQhAwNAIAEgAkgEQCAAQQhqKAIAIAYgAUECdGooAgAgA2xqIQUgBARAIAUgBCABIANsaiAD/AoAAAUgBUEAIAP8CwALIAFBAWohAQwBCwsLswEBBn8gAEEMaigCACEGIABBEGooAgAhBQNAIAEgAkgEQCAAQQhqKAIAIAEgBWwgBmxBAnRqIQdBACEDA0AgAyAFSARAIAAoAgAgAEEEaigCACABIAVsIANqQQJ0aigCACAGbEECdGohCEEAIQQDQCAEIAZIBEAgByAEIAVsIANqQQJ0aiAIIARBAnRqKgIAOAIAIARBAWohBAwBCwsgA0EBaiEDDAELCyABQQFqIQEMAQsLC1cBAn8gAEEEaigCACEEIABBDGooAgBBAnQhAwNAIAEgAkgEQCAAQQhqKAIAIAEgA2xqIAAoAgAgBCABQQJ0aigCACADbGogA/wKAAAgAUEBaiEBDAELCwvgAwMMfwZ9BnsgAEEQaigCACEJIABBFGooAgAhCiAAQRxqKgIAIQ8gAEEYaigCAEEBdSIHQXxxIQ0gB0ECdCEGA0AgASACSARAIAEgCmwgB2xBA3QiAyAAKAIAaiEEIABBBGooAgAgA2ohBSABIAdsQQJ0IgMgAEEIaigCAGohCyAAQQxqKAIAIANqIQwgCQR9IAkgAUECdGoqAgAFQwAAgD8LIhD9EyEVIA/9EyEXQQAhCANAIAggCkgEQEEAIQMDQCADIA1IBEAgCyADQQJ0Ig5q/QAEACEWIAUgDmogBCAOav0ABAAiGCAW/eYBIAQgBmogDmr9AAQAIhkgDCAOav0ABAAgF/3mASIa/eYB/eUBIBX95gH9CwQAIAUgBmogDmogGSAW/eYBIBggGv3mAf3kASAV/eYB/QsEACADQQRqIQMMAQsLA0AgAyAHSARAIAsgA0ECdCIOaioCACERIAUgDmogBCAOaioCACISIBGUIAQgBmogDmoqAgAiEyAMIA5qKgIAIA+UIhSUkyAQlDgCACAFIAZqIA5qIBMgEZQgEiAUlJIgEJQ4AgAgA0EBaiEDDAELCyAGQQF0IgMgBGohBCADIAVqIQUgCEEBaiEIDAELCyABQQFqIQEMAQsLC5kCAwR/AXwDeyAAKAIAIQYDQCABIAJIBEAgAUEBakEMdCIDIABBCGooAgAiBCADIARIGyEF/QwAAAAAAAAAAAAAAAAAAAAAIQr9DAAAAAAAAAAAAAAAAAAAAAAhCSABQQx0IQMDQCADQQRqIgQgBUwEQCAKIAYgA0ECdGr9AAQAIgj9XyIKIAr98gH98AEhCiAJIAggCP0NCAkKCwwNDg8ICQoLDA0OD/1fIgggCP3yAf3wASEJIAQhAwwBCwsgCiAJ/fABIgj9IQAgCP0hAaAhBwNAIAMgBUgEQCAHIAYgA0ECdGoqAgC7IgcgB6KgIQcgA0EBaiEDDAELCyAAQQRqKAIAIAFBA3RqIAc5AwAgAUEBaiEBDAELCwu6BQIMewV/IAJBDHQiAiAAQRBqKAIAIg8gAiAPSBshESAAQRRqKgIA/RMhBCAAQRhqKgIA/RMhBSAAQRxqKgIA/RMhBiAAQSBqKgIA/RMhAyAAQSRqKgIA/RMhByAAQShqKgIA/RMhCCAAQSxqKgIA/RMhCSAAQTBqKgIA/RMhCiABQQ50IhIgACgCAGohDyASIABBBGooAgBqIRAgEiAAQQhqKAIAaiECIBIgAEEMaigCAGohACABQQx0IQEDQCABIBFIBEAgAUEEaiARTCISBHsgEP0ABAAFIBD9XAIACyAE/eYBIgwgEgR7IAL9AAQABSAC/VwCAAsiC/3lASENIAkgC/1fIAP9XyAN/V/98gH98AH9XiALIAv9DQgJCgsMDQ4PCAkKCwwNDg/9XyADIAP9DQgJCgsMDQ4PCAkKCwwNDg/9XyANIA39DQgJCgsMDQ4PCAkKCwwNDg/9X/3yAf3wAf1e/Q0AAQIDBAUGBxAREhMUFRYXIg395gEgEgR7IAD9AAQABSAA/VwCAAsgBv3mASIL/V8gByAM/eYBIg79XyAM/V/98gH98AH9XiALIAv9DQgJCgsMDQ4PCAkKCwwNDg/9XyAOIA79DQgJCgsMDQ4PCAkKCwwNDg/9XyAMIAz9DQgJCgsMDQ4PCAkKCwwNDg/9X/3yAf3wAf1e/Q0AAQIDBAUGBxAREhMUFRYXIgv94wEgCv3nASAI/eQB/ecBIQwgEgRAIAIgDf0LBAAFIAIgDf1aAgAACyASBEAgACAL/QsEAAUgACAL/VoCAAALIBIEeyAP/QAEAAUgD/1cAgALIAX95gEgDP3kASELIBIEQCAPIAv9CwQABSAPIAv9WgIAAAtBEEEEIBIbIhMgD2ohDyAQIBNqIRAgAiATaiECIAAgE2ohACABQQRBASASG2ohAQwBCwsLqgQECX8DewF8A30gAEEQaigCACEGIABBGGooAgAiB0F8cSEEA0AgASACSARAIAEgB2xBAnQiBSAAKAIAaiEIIABBBGooAgAiAwR/IAMgBWoFQQALIQkgAEEIaigCACAFaiEKIABBFGooAgAgBWohCyAAQQxqKAIAIAFBAnRqKgIAIRD9DAAAAAAAAAAAAAAAAAAAAAAhDEEAIQMDQCADIARIBEAgDCADQQJ0IgUgCGr9AAQAIAUgBmr9AAQA/eYBIAUgCmr9AAQA/eYBIgz9XyAMIAz9DQgJCgsMDQ4PCAkKCwwNDg/9X/3wAf3wASEMIANBBGohAwwBCwsgDP0hACAM/SEBoCEPIAQhAwNAIAMgB0gEQCAPIANBAnQiBSAIaioCACAFIAZqKgIAlCAFIApqKgIAlLugIQ8gA0EBaiEDDAELCyAPIAe3oyAQuyIPoiAPorYiEv0TIQ4gEP0TIQ1BACEDA0AgAyAESARAIA0gCCADQQJ0IgVq/QAEACAFIAZq/QAEAP3mASAFIApq/QAEACAO/eYB/eUB/eYBIQwgBSALaiAJBHsgDCAFIAlq/QAEAP3kAQUgDAv9CwQAIANBBGohAwwBCwsDQCADIAdIBEAgECAIIANBAnQiBWoqAgAgBSAGaioCAJQgBSAKaioCACASlJOUIREgBSALaiAJBH0gESAFIAlqKgIAkgUgEQs4AgAgA0EBaiEDDAELCyABQQFqIQEMAQsLC8oEBAl/AnsCfAF9IABBHGoqAgC7IQ8gAEEIaigCACEJIABBGGooAgAiCkF8cSEDIAEhBANAIAIgBEoEQCAEIApsQQJ0IgYgACgCAGohASAAQQxqKAIAIAZqIQggAEEEaigCACIFBEAgBSAGaiEHIABBEGooAgAgBmohBkEAIQsDQCADIAtKBEAgC0ECdCIFIAZqIAEgBWr9AAQAIAUgB2r9AAQA/eQB/QsEACALQQRqIQsMAQsLA0AgCiALSgRAIAtBAnQiBSAGaiABIAVqKgIAIAUgB2oqAgCSOAIAIAtBAWohCwwBCwsgBiEBC/0MAAAAAAAAAAAAAAAAAAAAACEMQQAhBQNAIAMgBUoEQCAMIAEgBUECdGr9AAQAIg39XyIMIAz98gEgDSAN/Q0ICQoLDA0ODwgJCgsMDQ4P/V8iDCAM/fIB/fAB/fABIQwgBUEEaiEFDAELCyAM/SEAIAz9IQGgIQ4gAyEFA0AgBSAKSARAIA4gASAFQQJ0aioCALsiDiAOoqAhDiAFQQFqIQUMAQsLRAAAAAAAAPA/IA4gCrejIA+gn6O2IRAgAEEUaigCACIFBEAgBSAEQQJ0aiAQOAIACyAQ/RMhDEEAIQUDQCADIAVKBEAgCCAFQQJ0IgZqIAEgBmr9AAQAIAz95gEgBiAJav0ABAD95gH9CwQAIAVBBGohBQwBCwsDQCAFIApIBEAgCCAFQQJ0IgZqIAEgBmoqAgAgEJQgBiAJaioCAJQ4AgAgBUEBaiEFDAELCyAEQQFqIQQMAQsLC9cEAgt/BnsgACgCACEIIAAoAgRBAnQhBiAAKAIIIQsgACgCDCEMIAAoAhAhCSAAKAIUQQJ0IQcgASEFA0AgAiAFSgRAIAwgBUEEdCIEQRBqIgAgACAMShshCkEAIQADQCAAIAtBBGtMBEAgBCEBA0AgASAKQQRrTARAIAkgASAHbGogAEECdGoiAyAIIAAgBmxqIAFBAnRqIg39AAQAIhAgBiANav0ABAAiEf0NAAECAxAREhMEBQYHFBUWFyISIA0gBkEBdGr9AAQAIhMgDSAGQQNsav0ABAAiDv0NAAECAxAREhMEBQYHFBUWFyIP/Q0AAQIDBAUGBxAREhMUFRYX/QsEACADIAdqIBIgD/0NCAkKCwwNDg8YGRobHB0eH/0LBAAgAyAHQQF0aiAQIBH9DQgJCgsYGRobDA0ODxwdHh8iDyATIA79DQgJCgsYGRobDA0ODxwdHh8iDv0NAAECAwQFBgcQERITFBUWF/0LBAAgAyAHQQNsaiAPIA79DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAFBBGohAQwBCwsDQCABIApIBEAgACEDIABBBGohDQNAIAMgDUgEQCAJIAEgB2xqIANBAnRqIAggAyAGbGogAUECdGoqAgA4AgAgA0EBaiEDDAELCyABQQFqIQEMAQsLIABBBGohAAwBCwsDQCAEIApIBEAgACEBA0AgASALSARAIAkgBCAHbGogAUECdGogCCABIAZsaiAEQQJ0aioCADgCACABQQFqIQEMAQsLIARBAWohBAwBCwsgBUEBaiEFDAELCwv5CQIJfwZ7IAJFBEAPCyAAKAIIIQYgACgCDEECdCEJIAAoAiQhCyAAKAIoBEAgBiAAKAIsIAAoAjAgAyABIAsbaiAEIAIgCxsgACgCNCABIAMgCxtqIAIgBCALGyIAIwBBgIAwaiMAQYCAGGoiChACIABBAnQhCQUgCwR/IAYgAyAJbCABQQJ0amoFIAYgASAJbCADQQJ0amoLIQoLQQAhAyALRQRAA0AgAyAEQSBrTARAIAogA0ECdGohASAFIgAgAkEFdCIHaiIGIQwgByAGIAdqIghqIQcDQCAAIAxJBEAgACAB/QAEAP0LBAAgACAB/QAEEP0LBBAgBiAB/QAEIP0LBAAgBiAB/QAEMP0LBBAgCCAB/QAEQP0LBAAgCCAB/QAEUP0LBBAgByAB/QAEYP0LBAAgByAB/QAEcP0LBBAgASAJaiEBIABBIGohACAGQSBqIQYgCEEgaiEIIAdBIGohBwwBCwsgBSACQQd0aiEFIANBIGohAwwBCwsLA0AgAyAESARAQQggBCADayIAIABBCEobIQwgCwRAIAogAyAJbGohBiAFIQBBACEIIAxBCEYEQANAIAggAkEEa0wEQCAAIAb9AAQAIg8gBiAJav0ABAAiEP0NAAECAxAREhMEBQYHFBUWFyIRIAlBAXQiDSAGav0ABAAiEiAJQQNsIg4gBmr9AAQAIhP9DQABAgMQERITBAUGBxQVFhciFP0NAAECAwQFBgcQERITFBUWF/0LBAAgAEEgaiARIBT9DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIABBQGsgDyAQ/Q0ICQoLGBkaGwwNDg8cHR4fIg8gEiAT/Q0ICQoLGBkaGwwNDg8cHR4fIhD9DQABAgMEBQYHEBESExQVFhf9CwQAIABB4ABqIA8gEP0NCAkKCwwNDg8YGRobHB0eH/0LBAAgAEEQaiIBIAYgCUECdGoiB/0ABAAiDyAHIAlq/QAEACIQ/Q0AAQIDEBESEwQFBgcUFRYXIhEgByANav0ABAAiEiAHIA5q/QAEACIT/Q0AAQIDEBESEwQFBgcUFRYXIhT9DQABAgMEBQYHEBESExQVFhf9CwQAIAFBIGogESAU/Q0ICQoLDA0ODxgZGhscHR4f/QsEACABQUBrIA8gEP0NCAkKCxgZGhsMDQ4PHB0eHyIPIBIgE/0NCAkKCxgZGhsMDQ4PHB0eHyIQ/Q0AAQIDBAUGBxAREhMUFRYX/QsEACABQeAAaiAPIBD9DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAZBEGohBiAAQYABaiEAIAhBBGohCAwBCwsLA0AgAiAISgRAQQAhBwNAIAdBCEkEQCAAIAdBAnRqIAcgDEkEfSAGIAcgCWxqKgIABUMAAAAACzgCACAHQQFqIQcMAQsLIAZBBGohBiAAQSBqIQAgCEEBaiEIDAELCwUCQCAKIANBAnRqIQYgBSIAIAJBBXRqIQEgDEEIRgRAA0AgACABSQRAIAAgBv0ABAD9CwQAIAAgBv0ABBD9CwQQIABBIGohACAGIAlqIQYMAQsLDAELA0AgACABSQRAQQAhCANAIAhBCEkEQCAIQQJ0IgcgAGogCCAMSQR9IAYgB2oqAgAFQwAAAAALOAIAIAhBAWohCAwBCwsgAEEgaiEAIAYgCWohBgwBCwsLCyAFIAJBBXRqIQUgA0EIaiEDDAELCwt3AQl/IAAoAhghCCAAKAI4IQQgACgCPCIDIAAoAhwiCWpBAWsgA20hBQNAIAEgAkgEQCAIIAEgBW0gBGwiCmshBiAJIAEgBW8gA2wiC2shByAAIAogBCAGIAQgBkgbIAsgAyAHIAMgB0gbEBsgAUEBaiEBDAELCwvRBAMTfwR9BHsgACgCACAAKAIEQQJ0Ig4gAWxqIRMgACgCECAAKAIUQQJ0IgsgAWxqIANBAnRqIRQgACoCQCEZIAAqAkQhGyMAIQ8jAEGAgDxqIQVBBEEBIAAoAiAiDEH/AmpBgANtIgEgAUEATBsiASAMakEBayABbUEDakF8cSIBIAFBBEgbIQ0DQCAHRSAHIAxIcgRAIAAgByANIAwgB2siASABIA1KGyIQIAMgBCAPEBlDAACAPyAbIAcbIRhBACEIA0AgAiAISgRAQQYgAiAIayIBIAFBBkobIREgEyAIIA5saiAHQQJ0aiEVQQAhCQNAIAQgCUoEQCAVIA4gESAPIAkgEEECdGxqIBAgBRAFIBQgCCALbGogCUECdGohBiAFIgEgEUEFdGohEgJAQQggBCAJayIKIApBCEobIhZBCEYEQCAZ/RMhHSAY/RMhHgNAIAEgEkkEQCAB/QAEACAd/eYBIR8gAf0ABBAgHf3mASEcIAYgGEMAAAAAXAR7IBwgBv0ABBAgHv3mAf3kASEcIB8gBv0ABAAgHv3mAf3kAQUgHwv9CwQAIAYgHP0LBBAgAUEgaiEBIAYgC2ohBgwBCwsMAQsDQCABIBJJBEBBACEKA0AgCiAWSQRAIBkgCkECdCIXIAFqKgIAlCEaIAYgF2oiFyAYQwAAAABcBH0gGiAXKgIAIBiUkgUgGgs4AgAgCkEBaiEKDAELCyABQSBqIQEgBiALaiEGDAELCwsgCUEIaiEJDAELCyAIQQZqIQgMAQsLIAcgDWohBwwBCwsL9QIBEX8gACgCACEIIAAoAgRBAnQhCSAAKAIIIQogACgCDEECdCEDIAAoAhAhCyAAKAIUQQJ0IQwgACgCGCENIAAoAiAhBCAAKAIoRQRAA0AgASACSARAIAAgCCAJIA0gCiABIANsaiAEIAsgAUECdGogDEEBEAYgAUEBaiEBDAELCw8LIAAoAiwhECAAKAIwIREgACgCNCESQYCAASAEIARBgIABThshBkEBQYCAAUEBIAQgBEEATBttIgMgA0EATBshByMAQYCAGGohEwNAIAEgAkgEQCAHIAIgAWsiAyADIAdKGyEOQQAhAwNAIAMgBEgEQCAKIBAgASARaiAOIAMgEmogBiAEIANrIgUgBSAGShsiDyATIwAQAkEAIQUDQCAFIA5IBEAgACAIIANBAnRqIAkgDSMAIAUgD2xBAnRqIA8gCyABIAVqQQJ0aiAMIANFEAYgBUEBaiEFDAELCyADIAZqIQMMAQsLIAEgB2ohAQwBCwsLpwECAnsEfyAAQQRqKAIAIQUgAEEIaigCACEGIABBDGoqAgD9EyEEIAJBDHQiAiAAKAIAIgAgACACShshAiABQQx0IQADQCAAIAJIBEAgBiAAQQJ0IgFqIQcgASAFaiEIIABBBGogAkwiAQR7IAj9AAQABSAI/VwCAAsgBP3mASEDIAEEQCAHIAP9CwQABSAHIAP9WgIAAAsgAEEEQQEgARtqIQAMAQsLC+MUAgR7CH8gAEEEaigCACEKIABBCGooAgAhCyAAQQxqKAIAIQwgAEEQaigCACEIIABBFGooAgAhCSAAQRhqKAIAIQcgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAKIABBAnQiAWohDSAAQQRqIAJMIg4EeyAN/QAEAAUgDf1cAgALIQMgASAMaiENIA4EeyAN/QAEAAUgDf1cAgALIQQCeyAHRQRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgb9DIOAXjmDgF45g4BeOYOAXjn95gEgBv0MAIAxvwCAMb8AgDG/AIAxv/3mASAF/eQB/eQBIgUgBf3mAf0MP9q2Oj/atjo/2rY6P9q2OiAF/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAX95gH9DC+qKj0vqio9L6oqPS+qKj395AEgBf3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAF/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAX95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBv34ASIFQQH9rAEiBv0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAUgBv2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAdBAUYEQCADIAP95gH9DAAAAL8AAAC/AAAAvwAAAL/95gH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgb9DIOAXjmDgF45g4BeOYOAXjn95gEgBv0MAIAxvwCAMb8AgDG/AIAxv/3mASAF/eQB/eQBIgUgBf3mAf0MP9q2Oj/atjo/2rY6P9q2OiAF/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAX95gH9DC+qKj0vqio9L6oqPS+qKj395AEgBf3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAF/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAX95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBv34ASIFQQH9rAEiBv0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAUgBv2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/QwAAIA/AACAPwAAgD8AAIA/IAP94AH9DAAAcEEAAHBBAABwQQAAcEH96AH9DAAAgD4AAIA+AACAPgAAgD795gH9DAAAgD8AAIA/AACAPwAAgD/95AH95wEiBf3mAf0Mz9CHPM/QhzzP0Ic8z9CHPCAF/eYB/QyJl4C9iZeAvYmXgL2Jl4C9/eQBIAX95gH9DOqJUz3qiVM96olTPeqJUz395AEgBf3mAf0MpwXpPKcF6TynBek8pwXpPP3kASAF/eYB/Qw6JlA8OiZQPDomUDw6JlA8/eQBIAX95gH9DCp7sT0qe7E9KnuxPSp7sT395AEgBf3mAf0Mx3OTPcdzkz3Hc5M9x3OTPf3kASAF/eYB/QzhncM94Z3DPeGdwz3hncM9/eQBIAX95gH9DL3Cyz29wss9vcLLPb3Cyz395AEgBf3mAf0MoUjMPaFIzD2hSMw9oUjMPf3kAf3mASIF/QwAAIA/AACAPwAAgD8AAIA/IAX95QEgA/0MAAAAAAAAAAAAAAAAAAAAAP1D/VIMAQsgB0ECRgRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP9DCpCzD8qQsw/KkLMPypCzD/95gEgAyAD/eYB/QwTJzc9Eyc3PRMnNz0TJzc9/eYB/QwAAIA/AACAPwAAgD8AAIA//eQB/eYB/eEB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgX9DDuquD87qrg/O6q4PzuquD/95gH9aiIG/QyDgF45g4BeOYOAXjmDgF45/eYBIAb9DACAMb8AgDG/AIAxvwCAMb/95gEgBf3kAf3kASIFIAX95gH9DD/atjo/2rY6P9q2Oj/atjogBf3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAF/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBIAX95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgBf3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAF/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIAb9+AEiBUEB/awBIgb9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAFIAb9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf3kAf3nAQwBCyAD/QwAAAAAAAAAAAAAAAAAAAAA/UT9DAAAgD8AAIA/AACAPwAAgD/9TgshBSAJBEAgASAJaiENIAQgAyAF/eYB/eYBIQYgDgRAIA0gBv0LBAAFIA0gBv1aAgAACwsgCARAIAEgCGohDSABIAtqIQEgBAJ7IAUgA/0MAACAPwAAgD8AAIA/AACAPyAF/eUB/eYB/QwAAIA/AACAPwAAgD8AAIA//eQB/eYBIAdFDQAaIAdBAUYEQCADIAMgA/3mAf0MAAAAvwAAAL8AAAC/AAAAv/3mAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASID/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBP0Mg4BeOYOAXjmDgF45g4BeOf3mASAE/QwAgDG/AIAxvwCAMb8AgDG//eYBIAP95AH95AEiAyAD/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAP95gH9DMkdCTzJHQk8yR0JPMkdCTz95AEgA/3mAf0ML6oqPS+qKj0vqio9L6oqPf3kASAD/eYB/QxHqio+R6oqPkeqKj5Hqio+/eQBIAP95gH9DAAAAD8AAAA/AAAAPwAAAD/95AH95gEgA/3kAf0MAACAPwAAgD8AAIA/AACAP/3kASAE/fgBIgNBAf2sASIE/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgAyAE/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9DCpCzD4qQsw+KkLMPipCzD795gH95gEgBf3kAQwBCyAF/QwAAIA/AACAPwAAgD8AAIA/IAX95QH95gEgA/0MKkLMPypCzD8qQsw/KkLMP/3mASADIAP95gH9DE5dCT5OXQk+Tl0JPk5dCT795gH9DAAAgD8AAIA/AACAPwAAgD/95AH95gH95gEgBf3kASAHQQJGDQAaIAULIA4EeyAB/QAEAAUgAf1cAgAL/eYB/eYBIQMgDgRAIA0gA/0LBAAFIA0gA/1aAgAACwsgAEEEQQEgDhtqIQAMAQsLC5cPAgN7B38gAEEEaigCACEHIABBCGooAgAhCCAAQQxqKAIAIQkgAEEQaigCACEGIAJBDHQiAiAAKAIAIgAgACACShshAiABQQx0IQADQCAAIAJIBEAgByAAQQJ0IgFqIQogASAJaiELIAEgCGohDCAAQQRqIAJMIgEEeyAK/QAEAAUgCv1cAgALIgMCeyAGRQRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiA/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgT9DIOAXjmDgF45g4BeOYOAXjn95gEgBP0MAIAxvwCAMb8AgDG/AIAxv/3mASAD/eQB/eQBIgMgA/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAD/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAP95gH9DC+qKj0vqio9L6oqPS+qKj395AEgA/3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAD/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAP95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBP34ASIDQQH9rAEiBP0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAMgBP2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAZBAUYEQCADIAP95gH9DAAAAL8AAAC/AAAAvwAAAL/95gH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBP0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgX9DIOAXjmDgF45g4BeOYOAXjn95gEgBf0MAIAxvwCAMb8AgDG/AIAxv/3mASAE/eQB/eQBIgQgBP3mAf0MP9q2Oj/atjo/2rY6P9q2OiAE/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAT95gH9DC+qKj0vqio9L6oqPS+qKj395AEgBP3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAE/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAT95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBf34ASIEQQH9rAEiBf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAQgBf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/QwAAIA/AACAPwAAgD8AAIA/IAP94AH9DAAAcEEAAHBBAABwQQAAcEH96AH9DAAAgD4AAIA+AACAPgAAgD795gH9DAAAgD8AAIA/AACAPwAAgD/95AH95wEiBP3mAf0Mz9CHPM/QhzzP0Ic8z9CHPCAE/eYB/QyJl4C9iZeAvYmXgL2Jl4C9/eQBIAT95gH9DOqJUz3qiVM96olTPeqJUz395AEgBP3mAf0MpwXpPKcF6TynBek8pwXpPP3kASAE/eYB/Qw6JlA8OiZQPDomUDw6JlA8/eQBIAT95gH9DCp7sT0qe7E9KnuxPSp7sT395AEgBP3mAf0Mx3OTPcdzkz3Hc5M9x3OTPf3kASAE/eYB/QzhncM94Z3DPeGdwz3hncM9/eQBIAT95gH9DL3Cyz29wss9vcLLPb3Cyz395AEgBP3mAf0MoUjMPaFIzD2hSMw9oUjMPf3kAf3mASIE/QwAAIA/AACAPwAAgD8AAIA/IAT95QEgA/0MAAAAAAAAAAAAAAAAAAAAAP1D/VIMAQsgBkECRgRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP9DCpCzD8qQsw/KkLMPypCzD/95gEgAyAD/eYB/QwTJzc9Eyc3PRMnNz0TJzc9/eYB/QwAAIA/AACAPwAAgD8AAIA//eQB/eYB/eEB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgP9DDuquD87qrg/O6q4PzuquD/95gH9aiIE/QyDgF45g4BeOYOAXjmDgF45/eYBIAT9DACAMb8AgDG/AIAxvwCAMb/95gEgA/3kAf3kASIDIAP95gH9DD/atjo/2rY6P9q2Oj/atjogA/3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAD/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBIAP95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgA/3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAD/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIAT9+AEiA0EB/awBIgT9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASADIAT9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf3kAf3nAQwBCyAD/QwAAAAAAAAAAAAAAAAAAAAA/UT9DAAAgD8AAIA/AACAPwAAgD/9Tgv95gEgAQR7IAz9AAQABSAM/VwCAAv95gEhAyABBEAgCyAD/QsEAAUgCyAD/VoCAAALIABBBEEBIAEbaiEADAELCwveBAMLfwR7An0gAEEMaigCACEEIABBEGooAgAhCiAAQRRqKAIAQRB0IQUgAEEYaigCAEEARyEGIABBHGoqAgAhEgNAIAEgAkgEQCAKIABBCGooAgAgAUECdGooAgAiA3MiB0EQdiAHc0Gt6qz/B2wiB0EPdiAHc0GLzbKjeGwiB0EQdiAHcyILQbnz3fF5bCADc0EBciEHIAEgBGxBAnQiAyAAKAIAaiEIIABBBGooAgAgA2ohCSAL/REgB/0R/QwAAAAAAQAAAAIAAAADAAAA/bUB/a4BIQ5BACEDA0AgA0EIaiAETARAIA4gDkEP/a0B/VH9DIumbISLpmyEi6ZshIumbIT9tQEiECAQQRD9qwH9rgEhESAQIBH9DQgJCgsYGRobDA0ODxwdHh8hDyAJIANBAnQiDGohDSAIIAxq/QAEACAS/RP95gEgECAR/Q0AAQIDEBESEwQFBgcUFRYXIAX9Ef1A/U4hECANIAYEeyAQIA39AAQA/eQBBSAQC/0LBAAgCCAMakEQav0ABAAgEv0T/eYBIA8gBf0R/UD9TiEPIAkgDGpBEGoiDCAGBHsgDyAM/QAEAP3kAQUgDwv9CwQAIA4gB0ECdP0R/a4BIQ4gA0EIaiEDDAELCwNAIAMgBEgEQCADQQJ0IQwgCyADQQF1IAdsaiINQQ92IA1zQYvNsqN4bCINQRB0IA1qIA0gA0EBcRsgBU8EfSAIIAxqKgIAIBKUBUMAAAAACyETIAkgDGoiDCAGBH0gDCoCACATkgUgEws4AgAgA0EBaiEDDAELCyABQQFqIQEMAQsLC60BAQZ/IABBBGooAgAhBiAAQQhqKAIAIQUgASEEA0AgAiAESgRAIAAoAgAgBCAFbEECdGohB0EAIQEDQCABQQRqIgMgBUwEQCABQQJ0IgEgB2oiCCAI/QAEACABIAZq/QAEAP3kAf0LBAAgAyEBDAELCwNAIAEgBUgEQCABQQJ0IgMgB2oiCCAIKgIAIAMgBmoqAgCSOAIAIAFBAWohAQwBCwsgBEEBaiEEDAELCwu8AQIBewZ/IABBBGooAgAhBCAAQQhqKAIAIQUgAEEMaigCACEGIAJBDHQiAiAAKAIAIgAgACACShshAiABQQx0IQADQCAAIAJIBEAgBiAAQQJ0IgFqIQcgASAEaiEIIAEgBWohCSAAQQRqIAJMIgEEeyAI/QAEAAUgCP1cAgALIAEEeyAJ/QAEAAUgCf1cAgAL/eQBIQMgAQRAIAcgA/0LBAAFIAcgA/1aAgAACyAAQQRBASABG2ohAAwBCwsL+xMCA3sGfyAAQQRqKAIAIQcgAEEIaigCACEIIABBDGooAgAhCSAAQRBqKAIAIQYgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAHIABBAnQiCmohCyAAQQRqIAJMIgEEeyAL/QAEAAUgC/1cAgALIQMCewJ7IAZFBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/3hAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIE/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBf0Mg4BeOYOAXjmDgF45g4BeOf3mASAF/QwAgDG/AIAxvwCAMb8AgDG//eYBIAT95AH95AEiBCAE/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAT95gH9DMkdCTzJHQk8yR0JPMkdCTz95AEgBP3mAf0ML6oqPS+qKj0vqio9L6oqPf3kASAE/eYB/QxHqio+R6oqPkeqKj5Hqio+/eQBIAT95gH9DAAAAD8AAAA/AAAAPwAAAD/95AH95gEgBP3kAf0MAACAPwAAgD8AAIA/AACAP/3kASAF/fgBIgRBAf2sASIF/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBCAF/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH95AH95wEMAQsgBkEBRgRAIAMgA/3mAf0MAAAAvwAAAL8AAAC/AAAAv/3mAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIE/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBf0Mg4BeOYOAXjmDgF45g4BeOf3mASAF/QwAgDG/AIAxvwCAMb8AgDG//eYBIAT95AH95AEiBCAE/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAT95gH9DMkdCTzJHQk8yR0JPMkdCTz95AEgBP3mAf0ML6oqPS+qKj0vqio9L6oqPf3kASAE/eYB/QxHqio+R6oqPkeqKj5Hqio+/eQBIAT95gH9DAAAAD8AAAA/AAAAPwAAAD/95AH95gEgBP3kAf0MAACAPwAAgD8AAIA/AACAP/3kASAF/fgBIgRBAf2sASIF/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBCAF/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9DAAAgD8AAIA/AACAPwAAgD8gA/3gAf0MAABwQQAAcEEAAHBBAABwQf3oAf0MAACAPgAAgD4AAIA+AACAPv3mAf0MAACAPwAAgD8AAIA/AACAP/3kAf3nASIE/eYB/QzP0Ic8z9CHPM/QhzzP0Ic8IAT95gH9DImXgL2Jl4C9iZeAvYmXgL395AEgBP3mAf0M6olTPeqJUz3qiVM96olTPf3kASAE/eYB/QynBek8pwXpPKcF6TynBek8/eQBIAT95gH9DDomUDw6JlA8OiZQPDomUDz95AEgBP3mAf0MKnuxPSp7sT0qe7E9KnuxPf3kASAE/eYB/QzHc5M9x3OTPcdzkz3Hc5M9/eQBIAT95gH9DOGdwz3hncM94Z3DPeGdwz395AEgBP3mAf0MvcLLPb3Cyz29wss9vcLLPf3kASAE/eYB/QyhSMw9oUjMPaFIzD2hSMw9/eQB/eYBIgT9DAAAgD8AAIA/AACAPwAAgD8gBP3lASAD/QwAAAAAAAAAAAAAAAAAAAAA/UP9UgwBCyAGQQJGBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/0MKkLMPypCzD8qQsw/KkLMP/3mASADIAP95gH9DBMnNz0TJzc9Eyc3PRMnNz395gH9DAAAgD8AAIA/AACAPwAAgD/95AH95gH94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBP0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgX9DIOAXjmDgF45g4BeOYOAXjn95gEgBf0MAIAxvwCAMb8AgDG/AIAxv/3mASAE/eQB/eQBIgQgBP3mAf0MP9q2Oj/atjo/2rY6P9q2OiAE/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAT95gH9DC+qKj0vqio9L6oqPS+qKj395AEgBP3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAE/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAT95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBf34ASIEQQH9rAEiBf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAQgBf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAP9DAAAAAAAAAAAAAAAAAAAAAD9RP0MAACAPwAAgD8AAIA/AACAP/1OCyIEIAP9DAAAgD8AAIA/AACAPwAAgD8gBP3lAf3mAf0MAACAPwAAgD8AAIA/AACAP/3kAf3mASAGRQ0AGiAGQQFGBEAgAyADIAP95gH9DAAAAL8AAAC/AAAAvwAAAL/95gH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiA/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgX9DIOAXjmDgF45g4BeOYOAXjn95gEgBf0MAIAxvwCAMb8AgDG/AIAxv/3mASAD/eQB/eQBIgMgA/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAD/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBIAP95gH9DC+qKj0vqio9L6oqPS+qKj395AEgA/3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAD/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBIAP95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgBf34ASIDQQH9rAEiBf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAMgBf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/QwqQsw+KkLMPipCzD4qQsw+/eYB/eYBIAT95AEMAQsgBP0MAACAPwAAgD8AAIA/AACAPyAE/eUB/eYBIAP9DCpCzD8qQsw/KkLMPypCzD/95gEgAyAD/eYB/QxOXQk+Tl0JPk5dCT5OXQk+/eYB/QwAAIA/AACAPwAAgD8AAIA//eQB/eYB/eYBIAT95AEgBkECRg0AGiAECyEDIAkgCmohCyAIIApqIQogAQR7IAr9AAQABSAK/VwCAAsgA/3mASEDIAEEQCALIAP9CwQABSALIAP9WgIAAAsgAEEEQQEgARtqIQAMAQsLC/EOAgN7BX8gAEEEaigCACEHIABBCGooAgAhCCAAQQxqKAIAIQYgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAHIABBAnQiAWohCSABIAhqIQogAEEEaiACTCIBBHsgCf0ABAAFIAn9XAIACyIDAnsgBkUEQP0MAACAPwAAgD8AAIA/AACAP/0MAACAPwAAgD8AAIA/AACAPyAD/eEB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgP9DDuquD87qrg/O6q4PzuquD/95gH9aiIE/QyDgF45g4BeOYOAXjmDgF45/eYBIAT9DACAMb8AgDG/AIAxvwCAMb/95gEgA/3kAf3kASIDIAP95gH9DD/atjo/2rY6P9q2Oj/atjogA/3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAD/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBIAP95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgA/3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAD/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIAT9+AEiA0EB/awBIgT9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASADIAT9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf3kAf3nAQwBCyAGQQFGBEAgAyAD/eYB/QwAAAC/AAAAvwAAAL8AAAC//eYB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgT9DDuquD87qrg/O6q4PzuquD/95gH9aiIF/QyDgF45g4BeOYOAXjmDgF45/eYBIAX9DACAMb8AgDG/AIAxvwCAMb/95gEgBP3kAf3kASIEIAT95gH9DD/atjo/2rY6P9q2Oj/atjogBP3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAE/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBIAT95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgBP3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAE/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBIAX9+AEiBEEB/awBIgX9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAEIAX9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf0MAACAPwAAgD8AAIA/AACAPyAD/eAB/QwAAHBBAABwQQAAcEEAAHBB/egB/QwAAIA+AACAPgAAgD4AAIA+/eYB/QwAAIA/AACAPwAAgD8AAIA//eQB/ecBIgT95gH9DM/QhzzP0Ic8z9CHPM/QhzwgBP3mAf0MiZeAvYmXgL2Jl4C9iZeAvf3kASAE/eYB/QzqiVM96olTPeqJUz3qiVM9/eQBIAT95gH9DKcF6TynBek8pwXpPKcF6Tz95AEgBP3mAf0MOiZQPDomUDw6JlA8OiZQPP3kASAE/eYB/Qwqe7E9KnuxPSp7sT0qe7E9/eQBIAT95gH9DMdzkz3Hc5M9x3OTPcdzkz395AEgBP3mAf0M4Z3DPeGdwz3hncM94Z3DPf3kASAE/eYB/Qy9wss9vcLLPb3Cyz29wss9/eQBIAT95gH9DKFIzD2hSMw9oUjMPaFIzD395AH95gEiBP0MAACAPwAAgD8AAIA/AACAPyAE/eUBIAP9DAAAAAAAAAAAAAAAAAAAAAD9Q/1SDAELIAZBAkYEQP0MAACAPwAAgD8AAIA/AACAP/0MAACAPwAAgD8AAIA/AACAPyAD/QwqQsw/KkLMPypCzD8qQsw//eYBIAMgA/3mAf0MEyc3PRMnNz0TJzc9Eyc3Pf3mAf0MAACAPwAAgD8AAIA/AACAP/3kAf3mAf3hAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASID/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBP0Mg4BeOYOAXjmDgF45g4BeOf3mASAE/QwAgDG/AIAxvwCAMb8AgDG//eYBIAP95AH95AEiAyAD/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAP95gH9DMkdCTzJHQk8yR0JPMkdCTz95AEgA/3mAf0ML6oqPS+qKj0vqio9L6oqPf3kASAD/eYB/QxHqio+R6oqPkeqKj5Hqio+/eQBIAP95gH9DAAAAD8AAAA/AAAAPwAAAD/95AH95gEgA/3kAf0MAACAPwAAgD8AAIA/AACAP/3kASAE/fgBIgNBAf2sASIE/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgAyAE/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH95AH95wEMAQsgA/0MAAAAAAAAAAAAAAAAAAAAAP1E/QwAAIA/AACAPwAAgD8AAIA//U4L/eYBIQMgAQRAIAogA/0LBAAFIAogA/1aAgAACyAAQQRBASABG2ohAAwBCwsL9xADJ38FewF9IABBQGsoAgAhGCAAQcQAaigCAEEARyEOIABB0ABqKgIAIS8gAEE8aigCACIKQQJ0Ig0gAEE0aigCACIDbCEMIABBOGooAgAiBSANbCEQIAFBAnQiASAAQShqKAIAaiIGKAIAIQQgASAAQSxqKAIAaigCACEfIAEgAEEwaigCAGooAgAiGSAGKAIEIARrIhNrIQ8gAkEBaiADbCAFakEBayAFbSEaIA1BBnQiESMAIhtqIRQgESAUaiIVIBFqIhwgEWoiFkGAgAFqIRIgAEEYaigCAEEARyEgIABBHGooAgBBAEchHSAAQSBqKAIAQQBHIR4gAiADbCAFakEBayAFbSIFIQMDQCADIBpIBEAgBCEBA0AgASAEIBNqSARAIABBJGooAgAgAyAYbCABakECdGogASAMbCADIA1saiIGIABBDGooAgBqIAYgAEEUaigCAGogChAIOAIAIAFBAWohAQwBCwsgA0EBaiEDDAELCwNAIAsgGUgEQCALIB9qIBBsIAIgDWxqIhcgAEEEaigCAGogEEHAACAZIAtrIgEgAUHAAEobIgYgCiAbEAMgFyAAQQhqKAIAaiAQIAYgCiAUEAMgFUEAIBFBAXT8CwAgBSEDA0AgAyAaSARAIA4EfyALIA9rIgFBACABQQBOGwVBAAshCQNAIAkgE0gEQEHAACATIAlrIgEgAUHAAEobISEgBCAJaiAMbCADIA1saiIiIAAoAgBqISUgIiAAQRRqKAIAaiEmQQAhCANAIAggIUgEQEEIICEgCGsiASABQQhKGyIBIAggCWpqQQFrIQcgASAOBH8gBiAHIA9qQQFqIAtrIgcgBiAHSBsiB0EAIAdBAE4bBSAGC0EHakF4cSIHIAogCCAMbCIjICVqIAxBBCAbQYACIAhBCHQiJCAWakGAAkEAEAEgASAHIAogIyAmaiAMQQQgFEGAAiASICRqQYACQQAQASAIQQhqIQgMAQsLIAMgGGwgBGogCWpBAnQhJ0EAIQgDQCAIICFIBEAgCCAJaiEBIA4EfyAGIAEgD2pBAWogC2siASABIAZKGyIBQQAgAUEAThsFIAYLIQEgISAIQXhxQQhqIgcgByAhShtBAWsgCWohByAOBH8gBiAHIA9qQQFqIAtrIgcgBiAHSBsiB0EAIAdBAE4bBSAGC0EHakF4cSEoIAhBAnQiByAnIABBEGooAgBqaioCAP0TISsgJyAAQSRqKAIAaiAHaioCAP0TISwgCEEIdCIHIBZqISMgByASaiEpQQAhBwNAIAcgKEgEQCAjIAdBAnQiJGr9AAQAIC/9EyIt/eYBICv95QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiKv0MO6q4PzuquD87qrg/O6q4P/3mAf1qIi79DIOAXjmDgF45g4BeOYOAXjn95gEgLv0MAIAxvwCAMb8AgDG/AIAxv/3mASAq/eQB/eQBIiogKv3mAf0MP9q2Oj/atjo/2rY6P9q2OiAq/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBICr95gH9DC+qKj0vqio9L6oqPS+qKj395AEgKv3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAq/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBICr95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgLv34ASIqQQH9rAEiLv0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBICogLv2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBISogJCApav0ABAAgLP3lASAt/eYBIS0gB0EEaiABSgRAICogB/0R/QwAAAAAAQAAAAIAAAADAAAA/a4BIAH9Ef05/U4hKgsgIyAkaiAq/QsEACAkIClqICogLf3mAf0LBAAgB0EEaiEHDAELCyAIQQFqIQgMAQsLQQAhCANAIAYgCEoEQCAOBH8gCCALaiAPayAJayIBQQAgAUEAThsFQQALIgEgIUgEQEEIIAYgCGsiByAHQQhKGyEHIAFBCHQgCEECdGohIyAhIAFrISQgASAMbCEBIAggDWwhJyAeBEAgByAKICQgFiAjakEEQYACIAEgJmogDCAcICdqIA1BARABCyAdBEAgByAKICQgEiAjakEEQYACIAEgJWogDCAVICdqIA1BARABCyAIQQhqIQgMAgsLCyAgBEAgFyAAQQRqKAIAaiEBICIgAEEYaigCAGohB0EAIQgDQCAIICFIBEBBCCAhIAhrIiIgIkEIShsiIiAIIAlqakEBayEjICIgCiAOBH8gBiAPICNqQQFqIAtrIiIgBiAiSBsiIkEAICJBAE4bBSAGCyASIAhBCHRqQYACQQQgASAQIAcgCCAMbGogDEEBEAEgCEEIaiEIDAELCwsgCUFAayEJDAELCyADQQFqIQMMAQsLQQAhCQNAIAYgCUoEQCAJIA1sIQcgFyAJIBBsaiEIIB0EQCAIIABBHGooAgBqISEgByAVaiEiQQAhAwNAIANBBGoiASAKTARAIANBAnQiAyAhaiIjICP9AAQAIAMgImr9AAQA/eQB/QsEACABIQMMAQsLA0AgAyAKSARAIANBAnQiASAhaiIjICMqAgAgASAiaioCAJI4AgAgA0EBaiEDDAELCwsgHgRAIAggAEEgaigCAGohCCAHIBxqIQdBACEDA0AgA0EEaiIBIApMBEAgA0ECdCIDIAhqIiEgIf0ABAAgAyAHav0ABAD95AH9CwQAIAEhAwwBCwsDQCADIApIBEAgA0ECdCIBIAhqIiEgISoCACABIAdqKgIAkjgCACADQQFqIQMMAQsLCyAJQQFqIQkMAQsLIAtBQGshCwwBCwsLbgEFfyAAQThqKAIAIQQgAEHMAGooAgAhBQNAIAEgAkgEQCABIARtIAVsIgMgBWoiBiAAQcgAaigCACIHIAYgB0gbIQYDQCADIAZIBEAgACADIAEgBG8QJSADQQFqIQMMAQsLIAFBAWohAQwBCwsLzBQEHn8DfQF8BHsgAEEwaigCACENIABBNGooAgBBAEchGiAAQThqKgIAISMgAEEsaigCACIcQQJ0Ih4gAEEkaigCACIRbCEQIABBKGooAgAiDCAebCEbIwAiDyAeQQZ0IgNqIQ4gAyADIA5qIhZBgIABaiIVaiIUQYACaiEZIAEhBwNAIAIgB0oEQCAHIBFvIRMgAEEUaigCACAHIBFtQQN0aiIBKAIAQQJ0IgYgAEEcaigCAGooAgAhBUHAACAGIABBGGooAgBqIgQoAgQiAyABKAIEIhJrIgEgAUHAAEobIR0gBiAAQSBqKAIAaigCACIGIAMgBCgCACIBa2shGCASIAFrIRcgGgRAIAYgFyAdaiAYaiIBIAEgBkobIgFBACABQQBOGyEGCyAAKAIAIBAgEmxqIBMgHmxqIQkgDCATbCARbSAebCIDIAUgG2wiASAAQQRqKAIAamohCyAAQQhqKAIAIAFqIANqIQpBACEEA0AgBCAdSARAIA8gBCAebGohCCAJIAQgEGxqIQVBACEBA0AgAUEEaiIDIBxMBEAgAUECdCIBIAhqIAEgBWr9AAQAICP9E/3mAf0LBAAgAyEBDAELCwNAIAEgHEgEQCABQQJ0IgMgCGogAyAFaioCACAjlDgCACABQQFqIQEMAQsLIBQgBEECdGpDAACA/zgCACAZIARBA3RqRAAAAAAAAAAAOQMAIARBAWohBAwBCwsgFUEAIB0gHmz8CwBBACEfA0AgBiAfSgRAQcAAIAYgH2siASABQcAAShshBSALIBsgH2xqIQMgHUEESARAQQAhAQNAIAEgHUgEQEEAIQQDQCAEIAVIBEAgFiABQQh0aiAEQQJ0aiAPIAEgHmxqIAMgBCAbbGogHBAIOAIAIARBAWohBAwBCwsgAUEBaiEBDAELCwUgAyAbIAUgHCAOEANBACEBA0AgASAdSARAQQggHSABayIDIANBCEobIgQgASAXampBAWshAyAEIBoEfyAFIAMgGGpBAWogH2siAyADIAVKGyIDQQAgA0EAThsFIAULQQdqQXhxIBwgDyABIB5saiAeQQQgDkGAAiAWIAFBCHRqQYACQQAQASABQQhqIQEMAQsLC0EAISADQCAdICBKBEAgFiAgQQh0aiEIIBcgIGohASAaBH8gBSABIBhqQQFqIB9rIgEgASAFShsiAUEAIAFBAE4bBSAFCyEDIB0gIEF4cUEIaiIBIAEgHUobQQFrIBdqIQEgGgR/IAUgASAYakEBaiAfayIBIAEgBUobIgFBACABQQBOGwUgBQtBB2pBeHEhBAJAIANFBEAgCEEAIARBAnT8CwAMAQv9DAAAgP8AAID/AACA/wAAgP8hKEEAIQEDQCABIARIBEAgCCABQQJ0aiIJ/QAEACElIAFBBGogA0oEQCAJICX9DAAAgP8AAID/AACA/wAAgP8gAf0R/QwAAAAAAQAAAAIAAAADAAAA/a4BIAP9Ef05/VIiJf0LBAALICggJf3pASEoIAFBBGohAQwBCwsgFCAgQQJ0aioCACIhICj9HwAgKP0fAZcgKP0fAiAo/R8Dl5eXIiL9EyEn/QwAAAAAAAAAAAAAAAAAAAAAIShBACEBA0AgASAESARAIAggAUECdGoiA/0ABAAgJ/3lAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIl/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiJv0Mg4BeOYOAXjmDgF45g4BeOf3mASAm/QwAgDG/AIAxvwCAMb8AgDG//eYBICX95AH95AEhJSADICUgJf3mAf0MP9q2Oj/atjo/2rY6P9q2OiAl/eYB/QzJHQk8yR0JPMkdCTzJHQk8/eQBICX95gH9DC+qKj0vqio9L6oqPS+qKj395AEgJf3mAf0MR6oqPkeqKj5Hqio+R6oqPv3kASAl/eYB/QwAAAA/AAAAPwAAAD8AAAA//eQB/eYBICX95AH9DAAAgD8AAIA/AACAPwAAgD/95AEgJv34ASImQQH9rAEiJf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBICYgJf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIiX9CwQAICggJf3kASEoIAFBBGohAQwBCwsgKP0fACAo/R8BkiAo/R8CICj9HwOSkrshJCAZICBBA3RqICEgIl0EfCAVIB4gIGxqIQQgISAik/0T/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIiX9DDuquD87qrg/O6q4PzuquD/95gH9aiIm/QyDgF45g4BeOYOAXjmDgF45/eYBICb9DACAMb8AgDG/AIAxvwCAMb/95gEgJf3kAf3kASIlICX95gH9DD/atjo/2rY6P9q2Oj/atjogJf3mAf0MyR0JPMkdCTzJHQk8yR0JPP3kASAl/eYB/Qwvqio9L6oqPS+qKj0vqio9/eQBICX95gH9DEeqKj5Hqio+R6oqPkeqKj795AEgJf3mAf0MAAAAPwAAAD8AAAA/AAAAP/3kAf3mASAl/eQB/QwAAIA/AACAPwAAgD8AAIA//eQBICb9+AEiJkEB/awBIiX9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAmICX9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf0fACEhQQAhAQNAIAFBBGoiAyAcTARAIAFBAnQgBGoiASAB/QAEACAh/RP95gH9CwQAIAMhAQwBCwsDQCABIBxIBEAgAUECdCAEaiIDIAMqAgAgIZQ4AgAgAUEBaiEBDAELCyAUICBBAnRqICI4AgAgJCAZICBBA3RqKwMAICG7oqAFICQgGSAgQQN0aisDAKALOQMACyAgQQFqISAMAQsLQQAhAQNAIAEgHUgEQEEIIB0gAWsiAyADQQhKGyIEIAEgF2pqQQFrIQMgBCAcIBoEfyAFIAMgGGpBAWogH2siAyADIAVKGyIDQQAgA0EAThsFIAULIBYgAUEIdGpBgAJBBCAKIBsgH2xqIBsgFSABIB5saiAeQQEQASABQQhqIQEMAQsLIB9BQGshHwwBCwtBACEBA0AgASAdSARAIABBDGooAgAgASASaiAQbGogEyAebGohBiAVIAEgHmxqIQUgGSABQQN0aisDACIkRAAAAAAAAAAAYgR9RAAAAAAAAPA/ICSjtgVDAAAAAAshIUEAIQQDQCAEQQRqIgMgHEwEQCAEQQJ0IgQgBmogBCAFav0ABAAgIf0T/eYB/QsEACADIQQMAQsLA0AgBCAcSARAIARBAnQiAyAGaiADIAVqKgIAICGUOAIAIARBAWohBAwBCwsgAEEQaigCACIDBEAgAyANIBNsIBJqIAFqQQJ0aiAkRAAAAAAAAAAAYgR9IBQgAUECdGoqAgC7ICQQBKC2BUMAAIB/CzgCAAsgAUEBaiEBDAELCyAHQQFqIQcMAQsLCwuPIAIAQYAIC4AQn97gw/A09z8AkOZ5f8zXvx/pLGp4E/c/AAANwu5v17+gtfoIYPL2PwDgURPjE9e/fYwTH6bR9j8AeCg4W7jWv9G0xQtJsfY/AHiAkFVd1r+6DC8zR5H2PwAAGHbQAta/I0IiGJ9x9j8AkJCGyqjVv9kepZlPUvY/AFADVkNP1b/EJI+qVjP2PwBAa8M39tS/FNyda7MU9j8AUKj9p53Uv0xcxlJk9vU/AKiJOZJF1L9PLJG1Z9j1PwC4sDn07dO/3pBby7y69T8AcI9EzpbTv3ga2fJhnfU/AKC9Fx5A07+HVkYSVoD1PwCARu/i6dK/02vnzpdj9T8A4DA4G5TSv5N/p+IlR/U/AIjajMU+0r+DRQZC/yr1PwCQJynh6dG/372y2yIP9T8A+EgrbZXRv9feNEeP8/Q/APi5mmdB0b9AKN7PQ9j0PwCY75TQ7dC/yKN4wD699D8AENsYpZrQv4ol4MN/ovQ/ALhjUuZH0L80hNQkBYj0PwDwhkUi68+/Cy0ZG85t9D8AsBd1SkfPv1QYOdPZU/Q/ADAQPUSkzr9ahLREJzr0PwCw6UQNAs6/+/gVQbUg9D8A8HcpomDNv7H0PtqCB/Q/AJCVBAHAzL+P/lddj+7zPwAQiVYpIMy/6UwLoNnV8z8AEIGNF4HLvyvBEMBgvfM/ANDTzMniyr+42nUrJKXzPwCQEi5ARcq/AtCfzSKN8z8A8B1od6jJvxx6hMVbdfM/ADBIaW0Myb/iNq1Jzl3zPwDARaYgcci/QNRNmHlG8z8AMBS0j9bHvyTL/85cL/M/AHBiPLg8x79JDaF1dxjzPwBgN5uao8a/kDk+N8gB8z8AoLdUMQvGv0H4lbtO6/I/ADAkdn1zxb/RqRkCCtXyPwAwwo973MS/Kv23qPm+8j8AANJRLEbEv6sbDHocqfI/AACDvIqww78wtRRgcpPyPwAASWuZG8O/9aFXV/p98j8AQKSQVIfCv787HZuzaPI/AKB5+Lnzwb+99Y+DnVPyPwCgLCXIYMG/OwjJqrc+8j8AIPdXf87Av7ZAqSsBKvI/AKD+Sdw8wL8yQcyWeRXyPwCAS7y9V7+/m/zSHSAB8j8AQECWCDe+vwtITUn07PE/AED5PpgXvb9pZY9S9djxPwCg2E5n+bu/fH5XESPF8T8AYC8gedy6v+kmy3R8sfE/AIAo58PAub+2GiwMAZ7xPwDAcrNGpri/vXC2e7CK8T8AAKyzAY23v7a87yWKd/E/AAA4RfF0tr/aMUw1jWTxPwCAh20OXrW/3V8nkLlR8T8A4KHeXEi0v0zSMqQOP/E/AKBqTdkzs7/a+RByiyzxPwBgxfh5ILK/MbXsKDAa8T8AIGKYRg6xv680hNr7B/E/AADSamz6r7+za04P7vXwPwBAd0qN2q2/zp8qXQbk8D8AAIXk7LyrvyGlLGNE0vA/AMASQImhqb8amOJ8p8DwPwDAAjNYiKe/0TbGgy+v8D8AgNZnXnGlvzkToJjbnfA/AIBlSYpco7/f51Kvq4zwPwBAFWTjSaG/+yhOL5978D8AgOuCwHKevxmPNYy1avA/AIBSUvFVmr8s+eyl7lnwPwCAgc9iPZa/kCzRzUlJ8D8AAKqM+yiSv6mt8MbGOPA/AAD5IHsxjL+pMnkTZSjwPwAAql01GYS/SHPqJyQY8D8AAOzCAxJ4v5WxFAYECPA/AAAkeQkEYL8a+ib3H+DvPwAAkITz728/dOphwhyh7z8AAD01QdyHPy6ZgbAQY+8/AIDCxKPOkz/Nre489iXvPwAAiRTBn5s/5xORA8jp7j8AABHO2LChP6uxy3iAru4/AMAB0FuKpT+bDJ2iGnTuPwCA2ECDXKk/tZkKg5E67j8AgFfvaietP1aaYAngAe4/AMCY5Zh1sD+Yu3flAcrtPwAgDeP1U7I/A5F8C/KS7T8AADiL3S60P85c+2asXO0/AMBXh1kGtj+d3l6qLCftPwAAajV22rc/zSxrPm7y7D8AYBxOQ6u5PwJ5p6Jtvuw/AGANu8d4uz9tCDdtJovsPwAg5zITQ70/BFhdvZRY7D8AYN5xMQq/P4yfuzO1Juw/AECRKxVnwD8/5+zug/XrPwCwkoKFR8E/wZbbdf3E6z8AMMrNbibCPyhKhgweles/AFDFptcDwz8sPu/F4mXrPwAQMzzD38M/i4jJZ0g36z8AgHprNrrEP0owHSFLCes/APDRKDmTxT9+7/KF6NvqPwDwGCTNasY/oj1gMR2v6j8AkGbs+EDHP6dY0z/mguo/APAa9cAVyD+LcwnvQFfqPwCA9lQp6cg/J0urkCos6j8AQPgCNrvJP9HykxOgAeo/AAAsHO2Lyj8bPNskn9fpPwDQAVxRW8s/kLHHBSWu6T8AwLzMZynMPy/Ol/Iuhek/AGBI1TX2zD91S6TuulzpPwDARjS9wc0/OEjnncY06T8A4M+4AYzOP+ZSZy9PDek/AJAXwAlVzz+d1/+OUuboPwC4HxJsDtA/fADMn86/6D8A0JMOuHHQPw7DvtrAmeg/AHCGnmvU0D/7FyOqJ3ToPwDQSzOHNtE/CJqzrABP6D8ASCNnDZjRP1U+ZehJKug/AIDM4P/40T9gAvSVAQboPwBoY9dfWdI/KaPgYyXi5z8AqBQJMLnSP6213Hezvuc/AGBDEHIY0z/CJZdnqpvnPwAY7G0md9M/VwYX8gd55z8AMK/7T9XTPwwT1tvKVuc/AOAv4+4y1D8AQYAYC4AQa7ZPAQAQ5j88W0KRbAJ+PJW0TQMAMOY/QV0ASOq/jTx41JQNAFDmP7el1oanf448rW9OBwBw5j9MJVRr6vxhPK4P3/7/j+Y//Q5ZTCd+fLy8xWMHALDmPwHa3EhowYq89sFcHgDQ5j8Rk0mdHD+DPD72Bev/7+Y/Uy3iGgSAfryAl4YOABDnP1J5CXFm/3s8Euln/P8v5z8kh70m4gCMPGoRgd//T+c/0gHxbpECbryQnGcPAHDnP3ScVM1x/Ge8Nch++v+P5z+DBPWewb6BPObCIP7/r+c/ZWTMKRd+cLwAyT/t/8/nPxyLewhygIC8dhom6f/v5z+u+Z1tKMCNPOijnAQAEOg/M0zlUdJ/iTyPLJMXADDoP4HzMLbp/oq8nHMzBgBQ6D+8NWVrv7+JPMaJQiAAcOg/dXsR82W/i7wEefXr/4/oP1fLPaJuAIm83wS8IgCw6D8KS+A43wB9vIobDOX/z+g/BZ//RnEAiLxDjpH8/+/oPzhwetB7gYM8x1/6HgAQ6T8DtN92kT6JPLl7RhMAMOk/dgKYS06AfzxvB+7m/0/pPy5i/9nwfo+80RI83v9v6T+6OCaWqoJwvA2KRfT/j+k/76hkkRuAh7w+Lpjd/6/pPzeTWorgQIe8ZvtJ7f/P6T8A4JvBCM4/PFGc8SAA8Ok/CluIJ6o/irwGsEURABDqP1baWJlI/3Q8+va7BwAw6j8YbSuKq76MPHkdlxAAUOo/MHl43cr+iDxILvUdAHDqP9ur2D12QY+8UjNZHACQ6j8SdsKEAr+OvEs+TyoAsOo/Xz//PAT9abzRHq7X/8/qP7RwkBLnPoK8eARR7v/v6j+j3g7gPgZqPFsNZdv/D+s/uQofOMgGWjxXyqr+/y/rPx08I3QeAXm83LqV2f9P6z+fKoZoEP95vJxlniQAcOs/Pk+G0EX/ijxAFof5/4/rP/nDwpZ3/nw8T8sE0v+v6z/EK/LuJ/9jvEVcQdL/z+s/Ieo77rf/bLzfCWP4/+/rP1wLLpcDQYG8U3a14f8P7D8ZareUZMGLPONX+vH/L+w/7cYwje/+ZLwk5L/c/0/sP3VH7LxoP4S897lU7f9v7D/s4FPwo36EPNWPmev/j+w/8ZL5jQaDczyaISUhALDsPwQOGGSO/Wi8nEaU3f/P7D9y6sccvn6OPHbE/er/7+w//oifrTm+jjwr+JoWABDtP3FauaiRfXU8HfcPDQAw7T/ax3BpkMGJPMQPeer/T+0/DP5YxTcOWLzlh9wuAHDtP0QPwU3WgH+8qoLcIQCQ7T9cXP2Uj3x0vIMCa9j/r+0/fmEhxR1/jDw5R2wpANDtP1Ox/7KeAYg89ZBE5f/v7T+JzFLG0gBuPJT2q83/D+4/0mktIECDf7zdyFLb/y/uP2QIG8rBAHs87xZC8v9P7j9Rq5SwqP9yPBFeiuj/b+4/Wb7vsXP2V7wN/54RAJDuPwHIC16NgIS8RBel3/+v7j+1IEPVBgB4PKF/EhoA0O4/klxWYPgCULzEvLoHAPDuPxHmNV1EQIW8Ao169f8P7z8Fke85MftPvMeK5R4AMO8/VRFz8qyBijyUNIL1/0/vP0PH19RBP4o8a0yp/P9v7z91eJgc9AJivEHE+eH/j+8/S+d39NF9dzx+4+DS/6/vPzGjfJoZAW+8nuR3HADQ7z+xrM5L7oFxPDHD4Pf/7+8/WodwATcFbrxuYGX0/w/wP9oKHEmtfoq8WHqG8/8v8D/gsvzDaX+XvBcN/P3/T/A/W5TLNP6/lzyCTc0DAHDwP8tW5MCDAII86Mvy+f+P8D8adTe+3/9tvGXaDAEAsPA/6ybmrn8/kbw406QBANDwP/efSHn6fYA8/f3a+v/v8D/Aa9ZwBQR3vJb9ugsAEPE/YgtthNSAjjxd9OX6/y/xP+82/WT6v5082ZrVDQBQ8T+uUBJwdwCaPJpVIQ8AcPE/7t7j4vn9jTwmVCf8/4/xP3NyO9wwAJE8WTw9EgCw8T+IAQOAeX+ZPLeeKfj/z/E/Z4yfqzL5ZbwA1Ir0/+/xP+tbp52/f5M8pIaLDAAQ8j8iW/2Ra4CfPANDhQMAMPI/M7+f68L/kzyE9rz//0/yP3IuLn7nAXY82SEp9f9v8j9hDH92u/x/PDw6kxQAkPI/K0ECPMoCcrwTY1UUALDyPwIf8jOCgJK8O1L+6//P8j/y3E84fv+IvJatuAsA8PI/xUEwUFH/hbyv4nr7/w/zP50oXohxAIG8f1+s/v8v8z8Vt7c/Xf+RvFZnpgwAUPM/vYKLIoJ/lTwh9/sRAHDzP8zVDcS6AIA8uS9Z+f+P8z9Rp7ItnT+UvELS3QQAsPM/4Th2cGt/hTxXybL1/8/zPzESvxA6Ano8GLSw6v/v8z+wUrFmbX+YPPSvMhUAEPQ/JIUZXzf4Zzwpi0cXADD0P0NR3HLmAYM8Y7SV5/9P9D9aibK4af+JPOB1BOj/b/Q/VPLCm7HAlbznwW/v/4/0P3IqOvIJQJs8BKe+5f+v9D9FfQ2/t/+UvN4nEBcA0PQ/PWrccWTAmbziPvAPAPD0PxxThQuJf5c80UvcEgAQ9T82pGZxZQRgPHonBRYAMPU/CTIjzs6/lrxMcNvs/0/1P9ehBQVyAom8qVRf7/9v9T8SZMkO5r+bPBIQ5hcAkPU/kO+vgcV+iDySPskDALD1P8AMvwoIQZ+8vBlJHQDQ9T8pRyX7KoGYvIl6uOf/7/U/BGntgLd+lLw=";
const KERNELS_RELAXED = "AGFzbQEAAAABVwpgA39/fwBgBn9/f39/fwBgCH9/f39/f39/AGAFf39/f38AYAd/f39/f39/AGALf39/f39/f39/f38AYAF8AXxgCX9/f39/f39/fwBgA39/fwF9YAF/AAIiAgRob3N0CGNvcHlSb3dzAAEDZW52Bm1lbW9yeQIDEICABAMoJwUCAwYBBwIIAAQECQAAAAAAAAAAAAAAAAEAAwAAAAAAAAAAAAAAAAYGAX8BQQALB/kCHApzZXRTY3JhdGNoAAwQZ2F0aGVyV2VpZ2h0Um93cwAJC21hdG11bFRpbGVzABoNcmVnaXN0ZXJCbG9jawAFCXRyYW5zcG9zZQAYCm1hdG11bERvdHMAHANhZGQAIghhY3RpdmF0ZQAkEGFjdGl2YXRlQmFja3dhcmQAIw1nYXRlZEFjdGl2YXRlAB8VZ2F0ZWRBY3RpdmF0ZUJhY2t3YXJkAB4HZHJvcG91dAAgB2FkZEJpYXMAIQhtdWx0aXBseQAdB3Jtc05vcm0AFw9ybXNOb3JtQmFja3dhcmQAFgZyb3RhcnkAEwpnYXRoZXJSb3dzABILc2NhdHRlclJvd3MAEAdzdW1Sb3dzAA4MbWVyZ2VQYXRjaGVzABEMc3BsaXRQYXRjaGVzAA8Lc29mdG1heExvc3MADQlhdHRlbnRpb24AJxFhdHRlbnRpb25CYWNrd2FyZAAmBWFkYW1XABUMc3VtT2ZTcXVhcmVzABQGbWVtb3J5AgAMAQIKvukBJ8gFAg5/C3sgAEF8cSIMBEADQCANQQhqIAFMBEAgDUECdCEWQQAhDgNAIAwgDkoEQCADIAQgDmxqIQsgBiAWaiEP/QwAAAAAAAAAAAAAAAAAAAAAIRr9DAAAAAAAAAAAAAAAAAAAAAAhG/0MAAAAAAAAAAAAAAAAAAAAACEc/QwAAAAAAAAAAAAAAAAAAAAAIR39DAAAAAAAAAAAAAAAAAAAAAAhHv0MAAAAAAAAAAAAAAAAAAAAACEf/QwAAAAAAAAAAAAAAAAAAAAAISAgCCAJIA5saiAWaiIQIAlqIhEgCWoiEiAJaiETIAoEeyAQ/QAEECEaIBH9AAQAIRsgEf0ABBAhHCAS/QAEACEdIBL9AAQQIR4gE/0ABAAhHyAT/QAEECEgIBD9AAQABf0MAAAAAAAAAAAAAAAAAAAAAAshGSAEQQF0IhcgBGohGEEAIRUDQCACIBVKBEAgC/0JAgAiIiAP/QAEACIhIBn9hQIhGSAiIA/9AAQQIiIgGv2FAiEaIAQgC2r9CQIAIiMgISAb/YUCIRsgIyAiIBz9hQIhHCALIBdq/QkCACIjICEgHf2FAiEdICMgIiAe/YUCIR4gCyAYav0JAgAiIyAhIB/9hQIhHyAjICIgIP2FAiEgIAUgC2ohCyAHIA9qIQ8gFUEBaiEVDAELCyAQIBn9CwQAIBAgGv0LBBAgESAb/QsEACARIBz9CwQQIBIgHf0LBAAgEiAe/QsEECATIB/9CwQAIBMgIP0LBBAgDkEEaiEODAELCyANQQhqIQ0MAQsLIAEgDUoEQANAIAwgFEoEQCABIA1rIAIgAyAEIBRsaiAFIA1BAnQiCyAGaiAHIAggCSAUbGogC2ogChAHIBRBAWohFAwBCwsLCwNAIAAgDEoEQCABIAIgAyAEIAxsaiAFIAYgByAIIAkgDGxqIAoQByAMQQFqIQwMAQsLC4EGAgR7An8gAQRAIAFBA0YEQCAAQQBBAUEAQeAIIAYQACAGKAIEIQEgBigCACIMQQFxBH9BAQVBAUGA4AAgAXQgDG0iASABQQBMGwshDEEAIQEDQCABIANIBEAgACABIAJqIAwgAyABayINIAwgDUgbIAQgBSAGIAcgASAFbEECdGoQCiABIAxqIQEMAQsLBSABQQRGBEAgACACIAMgBCAFIAYgBxALBSAAIAIgAyAEQQF0IAVBAXQgBhAAIAMgBWwhACABQQFGIQJBACEBA0AgASAAQQhrTARAIAb9AAQAIgj9qQEhCSAI/aoBIQogByACBHsgCUEQ/asBBSAJ/Qz/fwAA/38AAP9/AAD/fwAA/U4iCEEN/asBIgv9DAAAgH8AAIB/AACAfwAAgH/9UCAL/QwAAIB3AACAdwAAgHcAAIB3/eYBIAj9DP97AAD/ewAA/3sAAP97AAD9O/1SIAn9DACAAAAAgAAAAIAAAACAAAD9TkEQ/asB/VAL/QsEACAHIAIEeyAKQRD9qwEFIAr9DP9/AAD/fwAA/38AAP9/AAD9TiIIQQ39qwEiCf0MAACAfwAAgH8AAIB/AACAf/1QIAn9DAAAgHcAAIB3AACAdwAAgHf95gEgCP0M/3sAAP97AAD/ewAA/3sAAP07/VIgCv0MAIAAAACAAAAAgAAAAIAAAP1OQRD9qwH9UAv9CwQQIAZBEGohBiAHQSBqIQcgAUEIaiEBDAELCwNAIAAgAUoEQCAGLwEA/REhCCAHIAIEeyAIQRD9qwEFIAj9DP9/AAD/fwAA/38AAP9/AAD9TiIJQQ39qwEiCv0MAACAfwAAgH8AAIB/AACAf/1QIAr9DAAAgHcAAIB3AACAdwAAgHf95gEgCf0M/3sAAP97AAD/ewAA/3sAAP07/VIgCP0MAIAAAACAAAAAgAAAAIAAAP1OQRD9qwH9UAv9HwA4AgAgBkECaiEGIAdBBGohByABQQFqIQEMAQsLCwsFIAAgAiADIARBAnQgBUECdCAHEAALC6QEAgl/BnsgAkEHakF4cSEHA0AgC0EEaiACTARAIAAgASALbGoiCiABaiIJIAFqIgggAWohDSAEIAtBAnRqIQxBACEFA0AgBUEEaiIGIANMBEAgDCAKIAVBAnQiBWr9AAQAIhIgBSAJav0ABAAiE/0NAAECAxAREhMEBQYHFBUWFyIRIAUgCGr9AAQAIhAgBSANav0ABAAiD/0NAAECAxAREhMEBQYHFBUWFyIO/Q0AAQIDBAUGBxAREhMUFRYX/QsEACAMQYACaiARIA79DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAxBgARqIBIgE/0NCAkKCxgZGhsMDQ4PHB0eHyIOIBAgD/0NCAkKCxgZGhsMDQ4PHB0eHyIP/Q0AAQIDBAUGBxAREhMUFRYX/QsEACAMQYAGaiAOIA/9DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAxBgAhqIQwgBiEFDAELCwNAIAMgBUoEQCAMIAogBUECdCIGaioCADgCACAMIAYgCWoqAgA4AgQgDCAGIAhqKgIAOAIIIAwgBiANaioCADgCDCAMQYACaiEMIAVBAWohBQwBCwsgC0EEaiELDAELCwNAIAcgC0oEQCAAIAEgC2xqIQggBCALQQJ0aiEFQQAhBgNAIAMgBkoEQCAFIAIgC0oEfSAIIAZBAnRqKgIABUMAAAAACzgCACAFQYACaiEFIAZBAWohBgwBCwsgC0EBaiELDAELCwvSBAMCfgJ/A3wCfCAAvSIBQoCAgICAgID3P31CgICAgICgwgFUBEAgAEQAAAAAAADwv6AiACAAoiIFIACiIgYgAETL/f/////Pv6JEd1VVVVVV1T+gIAVEDN2VmZmZyT+ioCAGIABEMN5EoyRJwj+iRKdFZ1VVVcW/oCAFRGU9QqT//7+/oqAgBiAARP9osEPrmbm/okTK1ioohHG8P6AgBUSF0K/3goG3P6KgIAZEzUXRdRNStb+ioKKgoqCiIAAgACAAIABEAAAAAAAAoEGiIgWgIAWhIgUgBaJEAAAAAAAA4L+iIgagIgehIAagIAAgBaFEAAAAAAAA4L+iIAUgAKCioKAgB6AMAQsgAUIwiKciA0EQa0Hg/wFPBEBEAAAAAAAA8L8gACAAoqMgAUIBhlANARogACABQoCAgICAgID4/wBRDQEaQQEgA0Hw/wFxQfD/AUYgA0GAgAJxGwRAIAAgAKEiACAAowwCCyAARAAAAAAAADBDor1CgICAgICAgKADfSEBCyABQoCAgICAgIDzP30iAkItiEL/AIOnQQR0IgNBgAhqIQQgAkI0h7kiAEQAOPr+Qi7mP6IgBCsDCKAiBSABIAJCgICAgICAgHiDfb8gA0GAGGoiAysDAKEgAysDCKEgBCsDAKIiBqAhByAFIAehIAagIABEMGfHk1fzLj2ioCAGIAaiIgBEAQAAAAAA4L+ioCAGIACiIAZEkEXr////z7+iRFswUVVVVdU/oCAAIAZEn8gG5XVVxb+iRBEB8SSzmck/oKKgoqAgB6ALC70DAg97BH8gACABQQEgAkEBayIYIBhBAUobbGohAiAAIAFBAiAYIBhBAkobbGohFSAAIAFBAyAYIBhBA0obbGohFiAAIAFBBCAYIBhBBEobbGohFyAAIAEgGGxqIQEgAyAEQQV0aiEEA0AgAyAESQRAIAD9CQIAIhMgA/0ABAAiBiAH/YUCIQcgEyAD/QAEECITIAj9hQIhCCAC/QkCACIUIAYgCf2FAiEJIBQgEyAK/YUCIQogFf0JAgAiFCAGIAv9hQIhCyAUIBMgDP2FAiEMIBb9CQIAIhQgBiAN/YUCIQ0gFCATIA79hQIhDiAX/QkCACIUIAYgD/2FAiEPIBQgEyAQ/YUCIRAgAf0JAgAiFCAGIBH9hQIhESAUIBMgEv2FAiESIABBBGohACACQQRqIQIgFUEEaiEVIBZBBGohFiAXQQRqIRcgAUEEaiEBIANBIGohAwwBCwsgBSAH/QsEACAFIAj9CwQQIAUgCf0LBCAgBSAK/QsEMCAFIAv9CwRAIAUgDP0LBFAgBSAN/QsEYCAFIA79CwRwIAUgD/0LBIABIAUgEP0LBJABIAUgEf0LBKABIAUgEv0LBLABC8kDAwJ/BHsDfSAAKgJAIREgCAR9IAAqAkQFQwAAgD8LIRADQCADIApKBEAgASEAIAQhCEEAIQn9DAAAAAAAAAAAAAAAAAAAAAAhC/0MAAAAAAAAAAAAAAAAAAAAACEM/QwAAAAAAAAAAAAAAAAAAAAAIQ39DAAAAAAAAAAAAAAAAAAAAAAhDgNAIAkgBUEQa0wEQCAA/QAEACAI/QAEACAL/YUCIQsgAP0ABBAgCP0ABBAgDP2FAiEMIAD9AAQgIAj9AAQgIA39hQIhDSAA/QAEMCAI/QAEMCAO/YUCIQ4gAEFAayEAIAhBQGshCCAJQRBqIQkMAQsLA0AgCSAFQQRrTARAIAD9AAQAIAj9AAQAIAv9hQIhCyAAQRBqIQAgCEEQaiEIIAlBBGohCQwBCwsgCyAM/eQBIA0gDv3kAf3kASIL/R8AIAv9HwGSIAv9HwIgC/0fA5KSIQ8DQCAFIAlKBEAgDyAAKgIAIAgqAgCUkiEPIABBBGohACAIQQRqIQggCUEBaiEJDAELCyARIA+UIQ8gBiAQQwAAAABcBH0gDyAGKgIAIBCUkgUgDws4AgAgASACaiEBIAYgB2ohBiAKQQFqIQoMAQsLC4cGAwV/CXsBfQNAIAtBIGogAEwEQCALQQJ0IgggBmohDCAEIAhqIQogAiEI/QwAAAAAAAAAAAAAAAAAAAAAIQ79DAAAAAAAAAAAAAAAAAAAAAAhD/0MAAAAAAAAAAAAAAAAAAAAACEQ/QwAAAAAAAAAAAAAAAAAAAAAIRH9DAAAAAAAAAAAAAAAAAAAAAAhEv0MAAAAAAAAAAAAAAAAAAAAACET/QwAAAAAAAAAAAAAAAAAAAAAIRQgBwR7IAz9AAQQIQ4gDP0ABCAhDyAM/QAEMCEQIAz9AARAIREgDP0ABFAhEiAM/QAEYCETIAz9AARwIRQgDP0ABAAF/QwAAAAAAAAAAAAAAAAAAAAACyENQQAhCQNAIAEgCUoEQCAI/QkCACIVIAr9AAQAIA39hQIhDSAVIAr9AAQQIA79hQIhDiAVIAr9AAQgIA/9hQIhDyAVIAr9AAQwIBD9hQIhECAVIAr9AARAIBH9hQIhESAVIAr9AARQIBL9hQIhEiAVIAr9AARgIBP9hQIhEyAVIAr9AARwIBT9hQIhFCADIAhqIQggBSAKaiEKIAlBAWohCQwBCwsgDCAN/QsEACAMIA79CwQQIAwgD/0LBCAgDCAQ/QsEMCAMIBH9CwRAIAwgEv0LBFAgDCAT/QsEYCAMIBT9CwRwIAtBIGohCwwBCwsDQCALQQRqIABMBEAgC0ECdCIIIAZqIQwgBCAIaiEJIAIhCCAHBHsgDP0ABAAF/QwAAAAAAAAAAAAAAAAAAAAACyENQQAhCgNAIAEgCkoEQCAI/QkCACAJ/QAEACAN/YUCIQ0gAyAIaiEIIAUgCWohCSAKQQFqIQoMAQsLIAwgDf0LBAAgC0EEaiELDAELCwNAIAAgC0oEQCALQQJ0IgggBmohDCAEIAhqIQkgAiEIIAcEfSAMKgIABUMAAAAACyEWQQAhCgNAIAEgCkoEQCAWIAgqAgAgCSoCAJSSIRYgAyAIaiEIIAUgCWohCSAKQQFqIQoMAQsLIAwgFjgCACALQQFqIQsMAQsLC6QBAwN/AnsBfQNAIANBCGoiBCACTARAIANBAnQiBSAAaiID/QAEACABIAVqIgX9AAQAIAb9hQIhBiAD/QAEECAF/QAEECAH/YUCIQcgBCEDDAELCyAGIAf95AEiBv0fACAG/R8BkiAG/R8CIAb9HwOSkiEIA0AgAiADSgRAIAggA0ECdCIEIABqKgIAIAEgBGoqAgCUkiEIIANBAWohAwwBCwsgCAujAQEIfyAAKAIAIQQgACgCBCEFIAAoAgghBiAAKAIMIQcgACgCECEDIAAoAhQhCANAIAEgAkgEQCAEBH8gBCABQQJ0aigCAAUgASAFagshCUEAIQADQCAAIANIBEAgBiAHIAlBASAAQYCACCADIABrIgogCkGAgAhKGyMAIAggASADbCAAakECdGoQAiAAQYCACGohAAwBCwsgAUEBaiEBDAELCwu2CwQOfwV7CH4BfSAFKAIIIQogBSgCDCEOIAU0AhAhHSAFKgIUISJBASAFNAIEIh6ndEEBayEQIAVB4AhqIghBQGshCyADrCAFNAIAIiAgAax+fCIbp0EBcSIHIARqQQFqQQF1IQwgAkEBRgRAIABBAEEBIBtCAYinQeAIaiAMIAsQAAUgACABIAIgA0EBdUHgCGogDCALEAALIAsgAiAMbGpBA2pBfHEiDSAErCAbIAJBAWusICB+fHxCAX0gHoggGyAeiCIafadBAWoiAWpBA2pBfHEhESAaIB2IIR8gDgRAIABBAEEBIAogGqdqIAEgDRAAIABBAEEBIA4gH6dBAnRqIBogAax8QgF9IB2IIB99p0EBakECdCAREAAFIABBAEEBIAogGqdBAnRqIAFBAnQgDRAACwNAIAIgCUoEQCAbIAmsICB+fCEcIAsgCSAMbGohDyAHIQAgBiAEIAlsQQJ0aiIDIARBAnRqIRIDQCADIBJJBEAgEiADa0ECdiIBIBBBAWogHKcgEHFrIgogASAKSBshEyAcIB6IIiEgGn2nIQEgBUEgaiIK/QAEACAOBH0gBUHgAGogASANai0AAEECdGoqAgAgESAhIB2IIB99p0ECdGoqAgCUICKSBSANIAFBAnRqKgIAC/0TIhX95gEiFiAWQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1OIRYgCv0ABBAgFf3mASIXIBdBEP2tAf0MAQAAAAEAAAABAAAAAQAAAP1O/Qz/fwAA/38AAP9/AAD/fwAA/a4B/a4B/QwAAP//AAD//wAA//8AAP///U4hFyAK/QAEICAV/eYBIhggGEEQ/a0B/QwBAAAAAQAAAAEAAAABAAAA/U79DP9/AAD/fwAA/38AAP9/AAD9rgH9rgH9DAAA//8AAP//AAD//wAA///9TiEYIAr9AAQwIBX95gEiFSAVQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1OIRUgCCAW/QsEACAIIBf9CwQQIAggGP0LBCAgCCAV/QsEMCAWIBf9DQIGCg4SFhoeAwcLDxMXGx8iFiAYIBX9DQIGCg4SFhoeAwcLDxMXGx8iFf0NAAECAwQFBgcQERITFBUWFyEXIBYgFf0NCAkKCwwNDg8YGRobHB0eHyEWIA8gACAAQQFxIgEgE0EASnEEfyADIAggDyAAQQF1ai0AACIKQQ9xIApBBHYgARtBAnRqKgIAOAIAQQEFQQALIgFqQQF1aiEKA0AgASATQRBrTARAIAMgAUECdGoiFP0MAAAAAAAAAAAAAAAAAAAAACAXIAr9XQMAIhVBBP1tIBX9DA8PDw8PDw8PDw8PDw8PDw/9Tv0NABABEQISAxMEFAUVBhYHFyIV/YACIhggFiAV/YACIhn9DQAQARECEgMTBBQFFQYWBxciFf0NAAEQEQIDEhMEBRQVBgcWF/0LBAAgFP0MAAAAAAAAAAAAAAAAAAAAACAV/Q0ICRgZCgsaGwwNHB0ODx4f/QsEECAU/QwAAAAAAAAAAAAAAAAAAAAAIBggGf0NCBgJGQoaCxsMHA0dDh4PHyIV/Q0AARARAgMSEwQFFBUGBxYX/QsEICAU/QwAAAAAAAAAAAAAAAAAAAAAIBX9DQgJGBkKCxobDA0cHQ4PHh/9CwQwIApBCGohCiABQRBqIQEMAQsLA0AgASATSARAIAMgAUECdGogCCAPIAAgAWoiCkEBdWotAAAiFEEPcSAUQQR2IApBAXEbQQJ0aioCADgCACABQQFqIQEMAQsLIAAgE2ohACAcIBOsfCEcIAMgE0ECdGohAwwBCwsgCUEBaiEJDAELCwvaCAISfwR7IABBAEEBQQBBECAFEAAgBSgCACEMIAUoAgQhEiAFKAIMIRQgBUEQaiENQQFBgOAAIAUoAggiDm1BAWsiBSAFQQBMGyEPA0AgAiAISgRAIABBAEEBIBQgASAIaiIHIAxtIhMgDmxBAnRqIAcgDyACIAhrIgUgBSAPShsiEGpBAWsgDG0gE2tBAWogDmxBAnQiBSANEAAgACAHIBAgA0EQaiAEIAUgDWoiFRAAQQAhCQNAIAkgEEgEQCANIAEgCGogCWogDG0gE2sgDmxBAnRqIRYgFSAEIAlsaiEKIAYgCCAJaiAEbEECdGohCyAEIAMiBWohEQNAIAUgEUgEQCARIAUgEm0iB0EBaiASbCIXIBEgF0gbIAVrIRcgFiAHQQJ0aioCAP0TIRlBACEHA0AgByAXQRBrTARAIAsgB0ECdGoiGCAHIApq/QAEACIb/YcBIhr9pwFBFP2rAf0MAADwhwAA8IcAAPCHAADwh/1O/QwAAIB7AACAewAAgHsAAIB7/eYBIBn95gEiHCAcQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1O/QsEACAYIBr9qAFBFP2rAf0MAADwhwAA8IcAAPCHAADwh/1O/QwAAIB7AACAewAAgHsAAIB7/eYBIBn95gEiGiAaQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1O/QsEECAYIBv9iAEiGv2nAUEU/asB/QwAAPCHAADwhwAA8IcAAPCH/U79DAAAgHsAAIB7AACAewAAgHv95gEgGf3mASIbIBtBEP2tAf0MAQAAAAEAAAABAAAAAQAAAP1O/Qz/fwAA/38AAP9/AAD/fwAA/a4B/a4B/QwAAP//AAD//wAA//8AAP///U79CwQgIBggGv2oAUEU/asB/QwAAPCHAADwhwAA8IcAAPCH/U79DAAAgHsAAIB7AACAewAAgHv95gEgGf3mASIaIBpBEP2tAf0MAQAAAAEAAAABAAAAAQAAAP1O/Qz/fwAA/38AAP9/AAD/fwAA/a4B/a4B/QwAAP//AAD//wAA//8AAP///U79CwQwIAdBEGohBwwBCwsDQCAHIBdIBEAgCyAHQQJ0aiAHIApqLAAA/RFBFP2rAf0MAADwhwAA8IcAAPCHAADwh/1O/QwAAIB7AACAewAAgHsAAIB7/eYBIBn95gEiGiAaQRD9rQH9DAEAAAABAAAAAQAAAAEAAAD9Tv0M/38AAP9/AAD/fwAA/38AAP2uAf2uAf0MAAD//wAA//8AAP//AAD///1O/R8AOAIAIAdBAWohBwwBCwsgCiAXaiEKIAsgF0ECdGohCyAFIBdqIQUMAQsLIAlBAWohCQwBCwsgCCAPaiEIDAELCwsGACAAJAAL7QwECH8EfAN7A30gAEEQaigCAEEARyEIIABBFGooAgAhCUQAAAAAAADwPyAAQRxqKgIAuyINoSEOIABBBGooAgAiB0F8cSEDIAEhBQNAIAIgBUoEQCAAKAIAIAUgB2xBAnRqIQYgCQR9IABBGGoqAgAgCSAFQQJ0aioCAJQFIABBGGoqAgALIRMgAEEIaigCACAFQQJ0aigCACEK/QwAAID/AACA/wAAgP8AAID/IQ9BACEBA0AgASADSARAIA8gBiABQQJ0av0ABAD96QEhDyABQQRqIQEMAQsLIA/9HwAgD/0fAZcgD/0fAiAP/R8Dl5chEiADIQEDQCABIAdIBEAgEiAGIAFBAnRqKgIAlyESIAFBAWohAQwBCwsgBiAKQQJ0aioCALshCyANRAAAAAAAAAAAYgRAQQAhAf0MAAAAAAAAAAAAAAAAAAAAACEPA0AgAUEEaiIEIAdMBEAgDyAGIAFBAnRq/QAEACIP/V8gDyAP/Q0ICQoLDA0ODwgJCgsMDQ4P/V/98AH98AEhDyAEIQEMAQsLIA/9IQAgD/0hAaAhDANAIAEgB0gEQCAMIAYgAUECdGoqAgC7oCEMIAFBAWohAQwBCwsgDiALoiANIAwgB7ejoqAhCwsgEv0TIRD9DAAAAAAAAAAAAAAAAAAAAAAhD0EAIQEDQCABIANIBEAgDyAGIAFBAnRqIgT9AAQAIBD95QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiD/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIhH9DIOAXjmDgF45g4BeOYOAXjkgEf0MAIAxvwCAMb8AgDG/AIAxvyAP/YUC/YUCIg8gD/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAP/QzJHQk8yR0JPMkdCTzJHQk8/YUCIA/9DC+qKj0vqio9L6oqPS+qKj39hQIgD/0MR6oqPkeqKj5Hqio+R6oqPv2FAiAP/QwAAAA/AAAAPwAAAD8AAAA//YUCIA/9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgEf34ASIPQQH9rAEiEf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIA8gEf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIhH9XyARIBH9DQgJCgsMDQ4PCAkKCwwNDg/9X/3wAf3wASEPIAgEQCAEIBH9CwQACyABQQRqIQEMAQsLIA/9IQAgD/0hAaAhDCADIQEDQCABIAdIBEAgDCAGIAFBAnRqIgQqAgAgEpP9E/0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIP/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiEP0Mg4BeOYOAXjmDgF45g4BeOSAQ/QwAgDG/AIAxvwCAMb8AgDG/IA/9hQL9hQIiDyAP/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IA/9DMkdCTzJHQk8yR0JPMkdCTz9hQIgD/0ML6oqPS+qKj0vqio9L6oqPf2FAiAP/QxHqio+R6oqPkeqKj5Hqio+/YUCIA/9DAAAAD8AAAA/AAAAPwAAAD/9hQIgD/2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAQ/fgBIg9BAf2sASIQ/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgDyAQ/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9HwAiFLugIQwgCARAIAQgFDgCAAsgAUEBaiEBDAELCyAAQQxqKAIAIAVBAnRqIBK7IAuhIAwQBKC2OAIAIAgEQCATuyAMo7YiEv0TIQ9BACEBA0AgASADSARAIAYgAUECdGoiBCAE/QAEACAP/eYB/QsEACABQQRqIQEMAQsLA0AgASAHSARAIAYgAUECdGoiBCAEKgIAIBKUOAIAIAFBAWohAQwBCwsgDUQAAAAAAAAAAGIEQEEAIQEgE7sgDaIgB7ejtiIS/RMhDwNAIAFBBGoiBCAHTARAIAYgAUECdGoiASAB/QAEACAP/eUB/QsEACAEIQEMAQsLA0AgASAHSARAIAYgAUECdGoiBCAEKgIAIBKTOAIAIAFBAWohAQwBCwsLIAYgCkECdGoiASABKgIAIBO7IA6itpM4AgALIAVBAWohBQwBCwsL+wEBCX8gAEEQaigCACIHQQJ0IQYgASEEA0AgAiAESgRAIABBBGooAgAgBEECdGoiASgCBCEKIABBDGooAgAgBCAGbGoiCEEAIAb8CwAgASgCACEFA0AgBSAKSARAIAAoAgAgAEEIaigCACAFQQJ0aigCACAGbGohCUEAIQEDQCABQQRqIgMgB0wEQCABQQJ0IgEgCGoiCyAL/QAEACABIAlq/QAEAP3kAf0LBAAgAyEBDAELCwNAIAEgB0gEQCABQQJ0IgMgCGoiCyALKgIAIAMgCWoqAgCSOAIAIAFBAWohAQwBCwsgBUEBaiEFDAELCyAEQQFqIQQMAQsLC7MBAQZ/IABBDGooAgAhBiAAQRBqKAIAIQUDQCABIAJIBEAgACgCACABIAVsIAZsQQJ0aiEHQQAhAwNAIAMgBUgEQCAAQQhqKAIAIABBBGooAgAgASAFbCADakECdGooAgAgBmxBAnRqIQhBACEEA0AgBCAGSARAIAggBEECdGogByAEIAVsIANqQQJ0aioCADgCACAEQQFqIQQMAQsLIANBAWohAwwBCwsgAUEBaiEBDAELCwtuAQR/IAAoAgAhBCAAQQRqKAIAIQYgAEEMaigCAEECdCEDA0AgASACSARAIABBCGooAgAgBiABQQJ0aigCACADbGohBSAEBEAgBSAEIAEgA2xqIAP8CgAABSAFQQAgA/wLAAsgAUEBaiEBDAELCwuzAQEGfyAAQQxqKAIAIQYgAEEQaigCACEFA0AgASACSARAIABBCGooAgAgASAFbCAGbEECdGohB0EAIQMDQCADIAVIBEAgACgCACAAQQRqKAIAIAEgBWwgA2pBAnRqKAIAIAZsQQJ0aiEIQQAhBANAIAQgBkgEQCAHIAQgBWwgA2pBAnRqIAggBEECdGoqAgA4AgAgBEEBaiEEDAELCyADQQFqIQMMAQsLIAFBAWohAQwBCwsLVwECfyAAQQRqKAIAIQQgAEEMaigCAEECdCEDA0AgASACSARAIABBCGooAgAgASADbGogACgCACAEIAFBAnRqKAIAIANsaiAD/AoAACABQQFqIQEMAQsLC+ADAwx/Bn0GeyAAQRBqKAIAIQkgAEEUaigCACEKIABBHGoqAgAhDyAAQRhqKAIAQQF1IgdBfHEhDSAHQQJ0IQYDQCABIAJIBEAgASAKbCAHbEEDdCIDIAAoAgBqIQQgAEEEaigCACADaiEFIAEgB2xBAnQiAyAAQQhqKAIAaiELIABBDGooAgAgA2ohDCAJBH0gCSABQQJ0aioCAAVDAACAPwsiEP0TIRUgD/0TIRdBACEIA0AgCCAKSARAQQAhAwNAIAMgDUgEQCALIANBAnQiDmr9AAQAIRYgBSAOaiAEIA5q/QAEACIYIBb95gEgBCAGaiAOav0ABAAiGSAMIA5q/QAEACAX/eYBIhr95gH95QEgFf3mAf0LBAAgBSAGaiAOaiAZIBb95gEgGCAa/eYB/eQBIBX95gH9CwQAIANBBGohAwwBCwsDQCADIAdIBEAgCyADQQJ0Ig5qKgIAIREgBSAOaiAEIA5qKgIAIhIgEZQgBCAGaiAOaioCACITIAwgDmoqAgAgD5QiFJSTIBCUOAIAIAUgBmogDmogEyARlCASIBSUkiAQlDgCACADQQFqIQMMAQsLIAZBAXQiAyAEaiEEIAMgBWohBSAIQQFqIQgMAQsLIAFBAWohAQwBCwsLmQIDBH8BfAN7IAAoAgAhBgNAIAEgAkgEQCABQQFqQQx0IgMgAEEIaigCACIEIAMgBEgbIQX9DAAAAAAAAAAAAAAAAAAAAAAhCv0MAAAAAAAAAAAAAAAAAAAAACEJIAFBDHQhAwNAIANBBGoiBCAFTARAIAogBiADQQJ0av0ABAAiCP1fIgogCv3yAf3wASEKIAkgCCAI/Q0ICQoLDA0ODwgJCgsMDQ4P/V8iCCAI/fIB/fABIQkgBCEDDAELCyAKIAn98AEiCP0hACAI/SEBoCEHA0AgAyAFSARAIAcgBiADQQJ0aioCALsiByAHoqAhByADQQFqIQMMAQsLIABBBGooAgAgAUEDdGogBzkDACABQQFqIQEMAQsLC7oFAgx7BX8gAkEMdCICIABBEGooAgAiDyACIA9IGyERIABBFGoqAgD9EyEEIABBGGoqAgD9EyEFIABBHGoqAgD9EyEGIABBIGoqAgD9EyEDIABBJGoqAgD9EyEHIABBKGoqAgD9EyEIIABBLGoqAgD9EyEJIABBMGoqAgD9EyEKIAFBDnQiEiAAKAIAaiEPIBIgAEEEaigCAGohECASIABBCGooAgBqIQIgEiAAQQxqKAIAaiEAIAFBDHQhAQNAIAEgEUgEQCABQQRqIBFMIhIEeyAQ/QAEAAUgEP1cAgALIAT95gEiDCASBHsgAv0ABAAFIAL9XAIACyIL/eUBIQ0gCSAL/V8gA/1fIA39X/3yAf3wAf1eIAsgC/0NCAkKCwwNDg8ICQoLDA0OD/1fIAMgA/0NCAkKCwwNDg8ICQoLDA0OD/1fIA0gDf0NCAkKCwwNDg8ICQoLDA0OD/1f/fIB/fAB/V79DQABAgMEBQYHEBESExQVFhciDf3mASASBHsgAP0ABAAFIAD9XAIACyAG/eYBIgv9XyAHIAz95gEiDv1fIAz9X/3yAf3wAf1eIAsgC/0NCAkKCwwNDg8ICQoLDA0OD/1fIA4gDv0NCAkKCwwNDg8ICQoLDA0OD/1fIAwgDP0NCAkKCwwNDg8ICQoLDA0OD/1f/fIB/fAB/V79DQABAgMEBQYHEBESExQVFhciC/3jASAK/ecBIAj95AH95wEhDCASBEAgAiAN/QsEAAUgAiAN/VoCAAALIBIEQCAAIAv9CwQABSAAIAv9WgIAAAsgEgR7IA/9AAQABSAP/VwCAAsgBf3mASAM/eQBIQsgEgRAIA8gC/0LBAAFIA8gC/1aAgAAC0EQQQQgEhsiEyAPaiEPIBAgE2ohECACIBNqIQIgACATaiEAIAFBBEEBIBIbaiEBDAELCwuqBAQJfwN7AXwDfSAAQRBqKAIAIQYgAEEYaigCACIHQXxxIQQDQCABIAJIBEAgASAHbEECdCIFIAAoAgBqIQggAEEEaigCACIDBH8gAyAFagVBAAshCSAAQQhqKAIAIAVqIQogAEEUaigCACAFaiELIABBDGooAgAgAUECdGoqAgAhEP0MAAAAAAAAAAAAAAAAAAAAACEMQQAhAwNAIAMgBEgEQCAMIANBAnQiBSAIav0ABAAgBSAGav0ABAD95gEgBSAKav0ABAD95gEiDP1fIAwgDP0NCAkKCwwNDg8ICQoLDA0OD/1f/fAB/fABIQwgA0EEaiEDDAELCyAM/SEAIAz9IQGgIQ8gBCEDA0AgAyAHSARAIA8gA0ECdCIFIAhqKgIAIAUgBmoqAgCUIAUgCmoqAgCUu6AhDyADQQFqIQMMAQsLIA8gB7ejIBC7Ig+iIA+itiIS/RMhDiAQ/RMhDUEAIQMDQCADIARIBEAgDSAIIANBAnQiBWr9AAQAIAUgBmr9AAQA/eYBIAUgCmr9AAQAIA795gH95QH95gEhDCAFIAtqIAkEeyAMIAUgCWr9AAQA/eQBBSAMC/0LBAAgA0EEaiEDDAELCwNAIAMgB0gEQCAQIAggA0ECdCIFaioCACAFIAZqKgIAlCAFIApqKgIAIBKUk5QhESAFIAtqIAkEfSARIAUgCWoqAgCSBSARCzgCACADQQFqIQMMAQsLIAFBAWohAQwBCwsLygQECX8CewJ8AX0gAEEcaioCALshDyAAQQhqKAIAIQkgAEEYaigCACIKQXxxIQMgASEEA0AgAiAESgRAIAQgCmxBAnQiBiAAKAIAaiEBIABBDGooAgAgBmohCCAAQQRqKAIAIgUEQCAFIAZqIQcgAEEQaigCACAGaiEGQQAhCwNAIAMgC0oEQCALQQJ0IgUgBmogASAFav0ABAAgBSAHav0ABAD95AH9CwQAIAtBBGohCwwBCwsDQCAKIAtKBEAgC0ECdCIFIAZqIAEgBWoqAgAgBSAHaioCAJI4AgAgC0EBaiELDAELCyAGIQEL/QwAAAAAAAAAAAAAAAAAAAAAIQxBACEFA0AgAyAFSgRAIAwgASAFQQJ0av0ABAAiDf1fIgwgDP3yASANIA39DQgJCgsMDQ4PCAkKCwwNDg/9XyIMIAz98gH98AH98AEhDCAFQQRqIQUMAQsLIAz9IQAgDP0hAaAhDiADIQUDQCAFIApIBEAgDiABIAVBAnRqKgIAuyIOIA6ioCEOIAVBAWohBQwBCwtEAAAAAAAA8D8gDiAKt6MgD6Cfo7YhECAAQRRqKAIAIgUEQCAFIARBAnRqIBA4AgALIBD9EyEMQQAhBQNAIAMgBUoEQCAIIAVBAnQiBmogASAGav0ABAAgDP3mASAGIAlq/QAEAP3mAf0LBAAgBUEEaiEFDAELCwNAIAUgCkgEQCAIIAVBAnQiBmogASAGaioCACAQlCAGIAlqKgIAlDgCACAFQQFqIQUMAQsLIARBAWohBAwBCwsL1wQCC38GeyAAKAIAIQggACgCBEECdCEGIAAoAgghCyAAKAIMIQwgACgCECEJIAAoAhRBAnQhByABIQUDQCACIAVKBEAgDCAFQQR0IgRBEGoiACAAIAxKGyEKQQAhAANAIAAgC0EEa0wEQCAEIQEDQCABIApBBGtMBEAgCSABIAdsaiAAQQJ0aiIDIAggACAGbGogAUECdGoiDf0ABAAiECAGIA1q/QAEACIR/Q0AAQIDEBESEwQFBgcUFRYXIhIgDSAGQQF0av0ABAAiEyANIAZBA2xq/QAEACIO/Q0AAQIDEBESEwQFBgcUFRYXIg/9DQABAgMEBQYHEBESExQVFhf9CwQAIAMgB2ogEiAP/Q0ICQoLDA0ODxgZGhscHR4f/QsEACADIAdBAXRqIBAgEf0NCAkKCxgZGhsMDQ4PHB0eHyIPIBMgDv0NCAkKCxgZGhsMDQ4PHB0eHyIO/Q0AAQIDBAUGBxAREhMUFRYX/QsEACADIAdBA2xqIA8gDv0NCAkKCwwNDg8YGRobHB0eH/0LBAAgAUEEaiEBDAELCwNAIAEgCkgEQCAAIQMgAEEEaiENA0AgAyANSARAIAkgASAHbGogA0ECdGogCCADIAZsaiABQQJ0aioCADgCACADQQFqIQMMAQsLIAFBAWohAQwBCwsgAEEEaiEADAELCwNAIAQgCkgEQCAAIQEDQCABIAtIBEAgCSAEIAdsaiABQQJ0aiAIIAEgBmxqIARBAnRqKgIAOAIAIAFBAWohAQwBCwsgBEEBaiEEDAELCyAFQQFqIQUMAQsLC/kJAgl/BnsgAkUEQA8LIAAoAgghBiAAKAIMQQJ0IQkgACgCJCELIAAoAigEQCAGIAAoAiwgACgCMCADIAEgCxtqIAQgAiALGyAAKAI0IAEgAyALG2ogAiAEIAsbIgAjAEGAgDBqIwBBgIAYaiIKEAIgAEECdCEJBSALBH8gBiADIAlsIAFBAnRqagUgBiABIAlsIANBAnRqagshCgtBACEDIAtFBEADQCADIARBIGtMBEAgCiADQQJ0aiEBIAUiACACQQV0IgdqIgYhDCAHIAYgB2oiCGohBwNAIAAgDEkEQCAAIAH9AAQA/QsEACAAIAH9AAQQ/QsEECAGIAH9AAQg/QsEACAGIAH9AAQw/QsEECAIIAH9AARA/QsEACAIIAH9AARQ/QsEECAHIAH9AARg/QsEACAHIAH9AARw/QsEECABIAlqIQEgAEEgaiEAIAZBIGohBiAIQSBqIQggB0EgaiEHDAELCyAFIAJBB3RqIQUgA0EgaiEDDAELCwsDQCADIARIBEBBCCAEIANrIgAgAEEIShshDCALBEAgCiADIAlsaiEGIAUhAEEAIQggDEEIRgRAA0AgCCACQQRrTARAIAAgBv0ABAAiDyAGIAlq/QAEACIQ/Q0AAQIDEBESEwQFBgcUFRYXIhEgCUEBdCINIAZq/QAEACISIAlBA2wiDiAGav0ABAAiE/0NAAECAxAREhMEBQYHFBUWFyIU/Q0AAQIDBAUGBxAREhMUFRYX/QsEACAAQSBqIBEgFP0NCAkKCwwNDg8YGRobHB0eH/0LBAAgAEFAayAPIBD9DQgJCgsYGRobDA0ODxwdHh8iDyASIBP9DQgJCgsYGRobDA0ODxwdHh8iEP0NAAECAwQFBgcQERITFBUWF/0LBAAgAEHgAGogDyAQ/Q0ICQoLDA0ODxgZGhscHR4f/QsEACAAQRBqIgEgBiAJQQJ0aiIH/QAEACIPIAcgCWr9AAQAIhD9DQABAgMQERITBAUGBxQVFhciESAHIA1q/QAEACISIAcgDmr9AAQAIhP9DQABAgMQERITBAUGBxQVFhciFP0NAAECAwQFBgcQERITFBUWF/0LBAAgAUEgaiARIBT9DQgJCgsMDQ4PGBkaGxwdHh/9CwQAIAFBQGsgDyAQ/Q0ICQoLGBkaGwwNDg8cHR4fIg8gEiAT/Q0ICQoLGBkaGwwNDg8cHR4fIhD9DQABAgMEBQYHEBESExQVFhf9CwQAIAFB4ABqIA8gEP0NCAkKCwwNDg8YGRobHB0eH/0LBAAgBkEQaiEGIABBgAFqIQAgCEEEaiEIDAELCwsDQCACIAhKBEBBACEHA0AgB0EISQRAIAAgB0ECdGogByAMSQR9IAYgByAJbGoqAgAFQwAAAAALOAIAIAdBAWohBwwBCwsgBkEEaiEGIABBIGohACAIQQFqIQgMAQsLBQJAIAogA0ECdGohBiAFIgAgAkEFdGohASAMQQhGBEADQCAAIAFJBEAgACAG/QAEAP0LBAAgACAG/QAEEP0LBBAgAEEgaiEAIAYgCWohBgwBCwsMAQsDQCAAIAFJBEBBACEIA0AgCEEISQRAIAhBAnQiByAAaiAIIAxJBH0gBiAHaioCAAVDAAAAAAs4AgAgCEEBaiEIDAELCyAAQSBqIQAgBiAJaiEGDAELCwsLIAUgAkEFdGohBSADQQhqIQMMAQsLC3cBCX8gACgCGCEIIAAoAjghBCAAKAI8IgMgACgCHCIJakEBayADbSEFA0AgASACSARAIAggASAFbSAEbCIKayEGIAkgASAFbyADbCILayEHIAAgCiAEIAYgBCAGSBsgCyADIAcgAyAHSBsQGyABQQFqIQEMAQsLC9EEAxN/BH0EeyAAKAIAIAAoAgRBAnQiDiABbGohEyAAKAIQIAAoAhRBAnQiCyABbGogA0ECdGohFCAAKgJAIRkgACoCRCEbIwAhDyMAQYCAPGohBUEEQQEgACgCICIMQf8CakGAA20iASABQQBMGyIBIAxqQQFrIAFtQQNqQXxxIgEgAUEESBshDQNAIAdFIAcgDEhyBEAgACAHIA0gDCAHayIBIAEgDUobIhAgAyAEIA8QGUMAAIA/IBsgBxshGEEAIQgDQCACIAhKBEBBBiACIAhrIgEgAUEGShshESATIAggDmxqIAdBAnRqIRVBACEJA0AgBCAJSgRAIBUgDiARIA8gCSAQQQJ0bGogECAFEAUgFCAIIAtsaiAJQQJ0aiEGIAUiASARQQV0aiESAkBBCCAEIAlrIgogCkEIShsiFkEIRgRAIBn9EyEdIBj9EyEeA0AgASASSQRAIAH9AAQAIB395gEhHyAB/QAEECAd/eYBIRwgBiAYQwAAAABcBHsgHCAG/QAEECAe/eYB/eQBIRwgHyAG/QAEACAe/eYB/eQBBSAfC/0LBAAgBiAc/QsEECABQSBqIQEgBiALaiEGDAELCwwBCwNAIAEgEkkEQEEAIQoDQCAKIBZJBEAgGSAKQQJ0IhcgAWoqAgCUIRogBiAXaiIXIBhDAAAAAFwEfSAaIBcqAgAgGJSSBSAaCzgCACAKQQFqIQoMAQsLIAFBIGohASAGIAtqIQYMAQsLCyAJQQhqIQkMAQsLIAhBBmohCAwBCwsgByANaiEHDAELCwv1AgERfyAAKAIAIQggACgCBEECdCEJIAAoAgghCiAAKAIMQQJ0IQMgACgCECELIAAoAhRBAnQhDCAAKAIYIQ0gACgCICEEIAAoAihFBEADQCABIAJIBEAgACAIIAkgDSAKIAEgA2xqIAQgCyABQQJ0aiAMQQEQBiABQQFqIQEMAQsLDwsgACgCLCEQIAAoAjAhESAAKAI0IRJBgIABIAQgBEGAgAFOGyEGQQFBgIABQQEgBCAEQQBMG20iAyADQQBMGyEHIwBBgIAYaiETA0AgASACSARAIAcgAiABayIDIAMgB0obIQ5BACEDA0AgAyAESARAIAogECABIBFqIA4gAyASaiAGIAQgA2siBSAFIAZKGyIPIBMjABACQQAhBQNAIAUgDkgEQCAAIAggA0ECdGogCSANIwAgBSAPbEECdGogDyALIAEgBWpBAnRqIAwgA0UQBiAFQQFqIQUMAQsLIAMgBmohAwwBCwsgASAHaiEBDAELCwunAQICewR/IABBBGooAgAhBSAAQQhqKAIAIQYgAEEMaioCAP0TIQQgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAGIABBAnQiAWohByABIAVqIQggAEEEaiACTCIBBHsgCP0ABAAFIAj9XAIACyAE/eYBIQMgAQRAIAcgA/0LBAAFIAcgA/1aAgAACyAAQQRBASABG2ohAAwBCwsL4hMCBHsIfyAAQQRqKAIAIQogAEEIaigCACELIABBDGooAgAhDCAAQRBqKAIAIQggAEEUaigCACEJIABBGGooAgAhByACQQx0IgIgACgCACIAIAAgAkobIQIgAUEMdCEAA0AgACACSARAIAogAEECdCIBaiENIABBBGogAkwiDgR7IA39AAQABSAN/VwCAAshAyABIAxqIQ0gDgR7IA39AAQABSAN/VwCAAshBAJ7IAdFBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/3hAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIF/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBv0Mg4BeOYOAXjmDgF45g4BeOSAG/QwAgDG/AIAxvwCAMb8AgDG/IAX9hQL9hQIiBSAF/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAX9DMkdCTzJHQk8yR0JPMkdCTz9hQIgBf0ML6oqPS+qKj0vqio9L6oqPf2FAiAF/QxHqio+R6oqPkeqKj5Hqio+/YUCIAX9DAAAAD8AAAA/AAAAPwAAAD/9hQIgBf2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAG/fgBIgVBAf2sASIG/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBSAG/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH95AH95wEMAQsgB0EBRgRAIAMgA/3mAf0MAAAAvwAAAL8AAAC/AAAAv/3mAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIF/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBv0Mg4BeOYOAXjmDgF45g4BeOSAG/QwAgDG/AIAxvwCAMb8AgDG/IAX9hQL9hQIiBSAF/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAX9DMkdCTzJHQk8yR0JPMkdCTz9hQIgBf0ML6oqPS+qKj0vqio9L6oqPf2FAiAF/QxHqio+R6oqPkeqKj5Hqio+/YUCIAX9DAAAAD8AAAA/AAAAPwAAAD/9hQIgBf2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAG/fgBIgVBAf2sASIG/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBSAG/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9DAAAgD8AAIA/AACAPwAAgD8gA/3gAf0MAABwQQAAcEEAAHBBAABwQf3oAf0MAACAPgAAgD4AAIA+AACAPv0MAACAPwAAgD8AAIA/AACAP/2FAv3nASIF/eYB/QzP0Ic8z9CHPM/QhzzP0Ic8IAX9DImXgL2Jl4C9iZeAvYmXgL39hQIgBf0M6olTPeqJUz3qiVM96olTPf2FAiAF/QynBek8pwXpPKcF6TynBek8/YUCIAX9DDomUDw6JlA8OiZQPDomUDz9hQIgBf0MKnuxPSp7sT0qe7E9KnuxPf2FAiAF/QzHc5M9x3OTPcdzkz3Hc5M9/YUCIAX9DOGdwz3hncM94Z3DPeGdwz39hQIgBf0MvcLLPb3Cyz29wss9vcLLPf2FAiAF/QyhSMw9oUjMPaFIzD2hSMw9/YUC/eYBIgX9DAAAgD8AAIA/AACAPwAAgD8gBf3lASAD/QwAAAAAAAAAAAAAAAAAAAAA/UP9UgwBCyAHQQJGBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/0MKkLMPypCzD8qQsw/KkLMP/3mASADIAP95gH9DBMnNz0TJzc9Eyc3PRMnNz39DAAAgD8AAIA/AACAPwAAgD/9hQL95gH94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgb9DIOAXjmDgF45g4BeOYOAXjkgBv0MAIAxvwCAMb8AgDG/AIAxvyAF/YUC/YUCIgUgBf3mAf0MP9q2Oj/atjo/2rY6P9q2OiAF/QzJHQk8yR0JPMkdCTzJHQk8/YUCIAX9DC+qKj0vqio9L6oqPS+qKj39hQIgBf0MR6oqPkeqKj5Hqio+R6oqPv2FAiAF/QwAAAA/AAAAPwAAAD8AAAA//YUCIAX9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgBv34ASIFQQH9rAEiBv0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAUgBv2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAP9DAAAAAAAAAAAAAAAAAAAAAD9RP0MAACAPwAAgD8AAIA/AACAP/1OCyEFIAkEQCABIAlqIQ0gBCADIAX95gH95gEhBiAOBEAgDSAG/QsEAAUgDSAG/VoCAAALCyAIBEAgASAIaiENIAEgC2ohASAEAnsgBSAD/QwAAIA/AACAPwAAgD8AAIA/IAX95QH9DAAAgD8AAIA/AACAPwAAgD/9hQL95gEgB0UNABogB0EBRgRAIAMgAyAD/eYB/QwAAAC/AAAAvwAAAL8AAAC//eYB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgP9DDuquD87qrg/O6q4PzuquD/95gH9aiIE/QyDgF45g4BeOYOAXjmDgF45IAT9DACAMb8AgDG/AIAxvwCAMb8gA/2FAv2FAiIDIAP95gH9DD/atjo/2rY6P9q2Oj/atjogA/0MyR0JPMkdCTzJHQk8yR0JPP2FAiAD/Qwvqio9L6oqPS+qKj0vqio9/YUCIAP9DEeqKj5Hqio+R6oqPkeqKj79hQIgA/0MAAAAPwAAAD8AAAA/AAAAP/2FAiAD/YUC/QwAAIA/AACAPwAAgD8AAIA//eQBIAT9+AEiA0EB/awBIgT9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASADIAT9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf0MKkLMPipCzD4qQsw+KkLMPv3mASAF/YUCDAELIAX9DAAAgD8AAIA/AACAPwAAgD8gBf3lAf3mASAD/QwqQsw/KkLMPypCzD8qQsw//eYBIAMgA/3mAf0MTl0JPk5dCT5OXQk+Tl0JPv0MAACAPwAAgD8AAIA/AACAP/2FAv3mASAF/YUCIAdBAkYNABogBQsgDgR7IAH9AAQABSAB/VwCAAv95gH95gEhAyAOBEAgDSAD/QsEAAUgDSAD/VoCAAALCyAAQQRBASAOG2ohAAwBCwsLtw4CA3sHfyAAQQRqKAIAIQcgAEEIaigCACEIIABBDGooAgAhCSAAQRBqKAIAIQYgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAHIABBAnQiAWohCiABIAlqIQsgASAIaiEMIABBBGogAkwiAQR7IAr9AAQABSAK/VwCAAsiAwJ7IAZFBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/3hAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASID/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBP0Mg4BeOYOAXjmDgF45g4BeOSAE/QwAgDG/AIAxvwCAMb8AgDG/IAP9hQL9hQIiAyAD/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAP9DMkdCTzJHQk8yR0JPMkdCTz9hQIgA/0ML6oqPS+qKj0vqio9L6oqPf2FAiAD/QxHqio+R6oqPkeqKj5Hqio+/YUCIAP9DAAAAD8AAAA/AAAAPwAAAD/9hQIgA/2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAE/fgBIgNBAf2sASIE/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgAyAE/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH95AH95wEMAQsgBkEBRgRAIAMgA/3mAf0MAAAAvwAAAL8AAAC/AAAAv/3mAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIE/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBf0Mg4BeOYOAXjmDgF45g4BeOSAF/QwAgDG/AIAxvwCAMb8AgDG/IAT9hQL9hQIiBCAE/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAT9DMkdCTzJHQk8yR0JPMkdCTz9hQIgBP0ML6oqPS+qKj0vqio9L6oqPf2FAiAE/QxHqio+R6oqPkeqKj5Hqio+/YUCIAT9DAAAAD8AAAA/AAAAPwAAAD/9hQIgBP2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAF/fgBIgRBAf2sASIF/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBCAF/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9DAAAgD8AAIA/AACAPwAAgD8gA/3gAf0MAABwQQAAcEEAAHBBAABwQf3oAf0MAACAPgAAgD4AAIA+AACAPv0MAACAPwAAgD8AAIA/AACAP/2FAv3nASIE/eYB/QzP0Ic8z9CHPM/QhzzP0Ic8IAT9DImXgL2Jl4C9iZeAvYmXgL39hQIgBP0M6olTPeqJUz3qiVM96olTPf2FAiAE/QynBek8pwXpPKcF6TynBek8/YUCIAT9DDomUDw6JlA8OiZQPDomUDz9hQIgBP0MKnuxPSp7sT0qe7E9KnuxPf2FAiAE/QzHc5M9x3OTPcdzkz3Hc5M9/YUCIAT9DOGdwz3hncM94Z3DPeGdwz39hQIgBP0MvcLLPb3Cyz29wss9vcLLPf2FAiAE/QyhSMw9oUjMPaFIzD2hSMw9/YUC/eYBIgT9DAAAgD8AAIA/AACAPwAAgD8gBP3lASAD/QwAAAAAAAAAAAAAAAAAAAAA/UP9UgwBCyAGQQJGBED9DAAAgD8AAIA/AACAPwAAgD/9DAAAgD8AAIA/AACAPwAAgD8gA/0MKkLMPypCzD8qQsw/KkLMP/3mASADIAP95gH9DBMnNz0TJzc9Eyc3PRMnNz39DAAAgD8AAIA/AACAPwAAgD/9hQL95gH94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiA/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgT9DIOAXjmDgF45g4BeOYOAXjkgBP0MAIAxvwCAMb8AgDG/AIAxvyAD/YUC/YUCIgMgA/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAD/QzJHQk8yR0JPMkdCTzJHQk8/YUCIAP9DC+qKj0vqio9L6oqPS+qKj39hQIgA/0MR6oqPkeqKj5Hqio+R6oqPv2FAiAD/QwAAAA/AAAAPwAAAD8AAAA//YUCIAP9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgBP34ASIDQQH9rAEiBP0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAMgBP2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAP9DAAAAAAAAAAAAAAAAAAAAAD9RP0MAACAPwAAgD8AAIA/AACAP/1OC/3mASABBHsgDP0ABAAFIAz9XAIAC/3mASEDIAEEQCALIAP9CwQABSALIAP9WgIAAAsgAEEEQQEgARtqIQAMAQsLC94EAwt/BHsCfSAAQQxqKAIAIQQgAEEQaigCACEKIABBFGooAgBBEHQhBSAAQRhqKAIAQQBHIQYgAEEcaioCACESA0AgASACSARAIAogAEEIaigCACABQQJ0aigCACIDcyIHQRB2IAdzQa3qrP8HbCIHQQ92IAdzQYvNsqN4bCIHQRB2IAdzIgtBufPd8XlsIANzQQFyIQcgASAEbEECdCIDIAAoAgBqIQggAEEEaigCACADaiEJIAv9ESAH/RH9DAAAAAABAAAAAgAAAAMAAAD9tQH9rgEhDkEAIQMDQCADQQhqIARMBEAgDiAOQQ/9rQH9Uf0Mi6ZshIumbISLpmyEi6ZshP21ASIQIBBBEP2rAf2uASERIBAgEf0NCAkKCxgZGhsMDQ4PHB0eHyEPIAkgA0ECdCIMaiENIAggDGr9AAQAIBL9E/3mASAQIBH9DQABAgMQERITBAUGBxQVFhcgBf0R/UD9TiEQIA0gBgR7IBAgDf0ABAD95AEFIBAL/QsEACAIIAxqQRBq/QAEACAS/RP95gEgDyAF/RH9QP1OIQ8gCSAMakEQaiIMIAYEeyAPIAz9AAQA/eQBBSAPC/0LBAAgDiAHQQJ0/RH9rgEhDiADQQhqIQMMAQsLA0AgAyAESARAIANBAnQhDCALIANBAXUgB2xqIg1BD3YgDXNBi82yo3hsIg1BEHQgDWogDSADQQFxGyAFTwR9IAggDGoqAgAgEpQFQwAAAAALIRMgCSAMaiIMIAYEfSAMKgIAIBOSBSATCzgCACADQQFqIQMMAQsLIAFBAWohAQwBCwsLrQEBBn8gAEEEaigCACEGIABBCGooAgAhBSABIQQDQCACIARKBEAgACgCACAEIAVsQQJ0aiEHQQAhAQNAIAFBBGoiAyAFTARAIAFBAnQiASAHaiIIIAj9AAQAIAEgBmr9AAQA/eQB/QsEACADIQEMAQsLA0AgASAFSARAIAFBAnQiAyAHaiIIIAgqAgAgAyAGaioCAJI4AgAgAUEBaiEBDAELCyAEQQFqIQQMAQsLC7wBAgF7Bn8gAEEEaigCACEEIABBCGooAgAhBSAAQQxqKAIAIQYgAkEMdCICIAAoAgAiACAAIAJKGyECIAFBDHQhAANAIAAgAkgEQCAGIABBAnQiAWohByABIARqIQggASAFaiEJIABBBGogAkwiAQR7IAj9AAQABSAI/VwCAAsgAQR7IAn9AAQABSAJ/VwCAAv95AEhAyABBEAgByAD/QsEAAUgByAD/VoCAAALIABBBEEBIAEbaiEADAELCwv6EgIDewZ/IABBBGooAgAhByAAQQhqKAIAIQggAEEMaigCACEJIABBEGooAgAhBiACQQx0IgIgACgCACIAIAAgAkobIQIgAUEMdCEAA0AgACACSARAIAcgAEECdCIKaiELIABBBGogAkwiAQR7IAv9AAQABSAL/VwCAAshAwJ7AnsgBkUEQP0MAACAPwAAgD8AAIA/AACAP/0MAACAPwAAgD8AAIA/AACAPyAD/eEB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgT9DDuquD87qrg/O6q4PzuquD/95gH9aiIF/QyDgF45g4BeOYOAXjmDgF45IAX9DACAMb8AgDG/AIAxvwCAMb8gBP2FAv2FAiIEIAT95gH9DD/atjo/2rY6P9q2Oj/atjogBP0MyR0JPMkdCTzJHQk8yR0JPP2FAiAE/Qwvqio9L6oqPS+qKj0vqio9/YUCIAT9DEeqKj5Hqio+R6oqPkeqKj79hQIgBP0MAAAAPwAAAD8AAAA/AAAAP/2FAiAE/YUC/QwAAIA/AACAPwAAgD8AAIA//eQBIAX9+AEiBEEB/awBIgX9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAEIAX9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf3kAf3nAQwBCyAGQQFGBEAgAyAD/eYB/QwAAAC/AAAAvwAAAL8AAAC//eYB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgT9DDuquD87qrg/O6q4PzuquD/95gH9aiIF/QyDgF45g4BeOYOAXjmDgF45IAX9DACAMb8AgDG/AIAxvwCAMb8gBP2FAv2FAiIEIAT95gH9DD/atjo/2rY6P9q2Oj/atjogBP0MyR0JPMkdCTzJHQk8yR0JPP2FAiAE/Qwvqio9L6oqPS+qKj0vqio9/YUCIAT9DEeqKj5Hqio+R6oqPkeqKj79hQIgBP0MAAAAPwAAAD8AAAA/AAAAP/2FAiAE/YUC/QwAAIA/AACAPwAAgD8AAIA//eQBIAX9+AEiBEEB/awBIgX9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASAEIAX9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf0MAACAPwAAgD8AAIA/AACAPyAD/eAB/QwAAHBBAABwQQAAcEEAAHBB/egB/QwAAIA+AACAPgAAgD4AAIA+/QwAAIA/AACAPwAAgD8AAIA//YUC/ecBIgT95gH9DM/QhzzP0Ic8z9CHPM/QhzwgBP0MiZeAvYmXgL2Jl4C9iZeAvf2FAiAE/QzqiVM96olTPeqJUz3qiVM9/YUCIAT9DKcF6TynBek8pwXpPKcF6Tz9hQIgBP0MOiZQPDomUDw6JlA8OiZQPP2FAiAE/Qwqe7E9KnuxPSp7sT0qe7E9/YUCIAT9DMdzkz3Hc5M9x3OTPcdzkz39hQIgBP0M4Z3DPeGdwz3hncM94Z3DPf2FAiAE/Qy9wss9vcLLPb3Cyz29wss9/YUCIAT9DKFIzD2hSMw9oUjMPaFIzD39hQL95gEiBP0MAACAPwAAgD8AAIA/AACAPyAE/eUBIAP9DAAAAAAAAAAAAAAAAAAAAAD9Q/1SDAELIAZBAkYEQP0MAACAPwAAgD8AAIA/AACAP/0MAACAPwAAgD8AAIA/AACAPyAD/QwqQsw/KkLMPypCzD8qQsw//eYBIAMgA/3mAf0MEyc3PRMnNz0TJzc9Eyc3Pf0MAACAPwAAgD8AAIA/AACAP/2FAv3mAf3hAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIE/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBf0Mg4BeOYOAXjmDgF45g4BeOSAF/QwAgDG/AIAxvwCAMb8AgDG/IAT9hQL9hQIiBCAE/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAT9DMkdCTzJHQk8yR0JPMkdCTz9hQIgBP0ML6oqPS+qKj0vqio9L6oqPf2FAiAE/QxHqio+R6oqPkeqKj5Hqio+/YUCIAT9DAAAAD8AAAA/AAAAPwAAAD/9hQIgBP2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAF/fgBIgRBAf2sASIF/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgBCAF/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH95AH95wEMAQsgA/0MAAAAAAAAAAAAAAAAAAAAAP1E/QwAAIA/AACAPwAAgD8AAIA//U4LIgQgA/0MAACAPwAAgD8AAIA/AACAPyAE/eUB/QwAAIA/AACAPwAAgD8AAIA//YUC/eYBIAZFDQAaIAZBAUYEQCADIAMgA/3mAf0MAAAAvwAAAL8AAAC/AAAAv/3mAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASID/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiBf0Mg4BeOYOAXjmDgF45g4BeOSAF/QwAgDG/AIAxvwCAMb8AgDG/IAP9hQL9hQIiAyAD/eYB/Qw/2rY6P9q2Oj/atjo/2rY6IAP9DMkdCTzJHQk8yR0JPMkdCTz9hQIgA/0ML6oqPS+qKj0vqio9L6oqPf2FAiAD/QxHqio+R6oqPkeqKj5Hqio+/YUCIAP9DAAAAD8AAAA/AAAAPwAAAD/9hQIgA/2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAF/fgBIgNBAf2sASIF/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgAyAF/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gH9DCpCzD4qQsw+KkLMPipCzD795gEgBP2FAgwBCyAE/QwAAIA/AACAPwAAgD8AAIA/IAT95QH95gEgA/0MKkLMPypCzD8qQsw/KkLMP/3mASADIAP95gH9DE5dCT5OXQk+Tl0JPk5dCT79DAAAgD8AAIA/AACAPwAAgD/9hQL95gEgBP2FAiAGQQJGDQAaIAQLIQMgCSAKaiELIAggCmohCiABBHsgCv0ABAAFIAr9XAIACyAD/eYBIQMgAQRAIAsgA/0LBAAFIAsgA/1aAgAACyAAQQRBASABG2ohAAwBCwsLkQ4CA3sFfyAAQQRqKAIAIQcgAEEIaigCACEIIABBDGooAgAhBiACQQx0IgIgACgCACIAIAAgAkobIQIgAUEMdCEAA0AgACACSARAIAcgAEECdCIBaiEJIAEgCGohCiAAQQRqIAJMIgEEeyAJ/QAEAAUgCf1cAgALIgMCeyAGRQRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP94QH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiA/0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgT9DIOAXjmDgF45g4BeOYOAXjkgBP0MAIAxvwCAMb8AgDG/AIAxvyAD/YUC/YUCIgMgA/3mAf0MP9q2Oj/atjo/2rY6P9q2OiAD/QzJHQk8yR0JPMkdCTzJHQk8/YUCIAP9DC+qKj0vqio9L6oqPS+qKj39hQIgA/0MR6oqPkeqKj5Hqio+R6oqPv2FAiAD/QwAAAA/AAAAPwAAAD8AAAA//YUCIAP9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgBP34ASIDQQH9rAEiBP0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAMgBP2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/eQB/ecBDAELIAZBAUYEQCADIAP95gH9DAAAAL8AAAC/AAAAvwAAAL/95gH9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiBP0MO6q4PzuquD87qrg/O6q4P/3mAf1qIgX9DIOAXjmDgF45g4BeOYOAXjkgBf0MAIAxvwCAMb8AgDG/AIAxvyAE/YUC/YUCIgQgBP3mAf0MP9q2Oj/atjo/2rY6P9q2OiAE/QzJHQk8yR0JPMkdCTzJHQk8/YUCIAT9DC+qKj0vqio9L6oqPS+qKj39hQIgBP0MR6oqPkeqKj5Hqio+R6oqPv2FAiAE/QwAAAA/AAAAPwAAAD8AAAA//YUCIAT9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgBf34ASIEQQH9rAEiBf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBIAQgBf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/QwAAIA/AACAPwAAgD8AAIA/IAP94AH9DAAAcEEAAHBBAABwQQAAcEH96AH9DAAAgD4AAIA+AACAPgAAgD79DAAAgD8AAIA/AACAPwAAgD/9hQL95wEiBP3mAf0Mz9CHPM/QhzzP0Ic8z9CHPCAE/QyJl4C9iZeAvYmXgL2Jl4C9/YUCIAT9DOqJUz3qiVM96olTPeqJUz39hQIgBP0MpwXpPKcF6TynBek8pwXpPP2FAiAE/Qw6JlA8OiZQPDomUDw6JlA8/YUCIAT9DCp7sT0qe7E9KnuxPSp7sT39hQIgBP0Mx3OTPcdzkz3Hc5M9x3OTPf2FAiAE/QzhncM94Z3DPeGdwz3hncM9/YUCIAT9DL3Cyz29wss9vcLLPb3Cyz39hQIgBP0MoUjMPaFIzD2hSMw9oUjMPf2FAv3mASIE/QwAAIA/AACAPwAAgD8AAIA/IAT95QEgA/0MAAAAAAAAAAAAAAAAAAAAAP1D/VIMAQsgBkECRgRA/QwAAIA/AACAPwAAgD8AAIA//QwAAIA/AACAPwAAgD8AAIA/IAP9DCpCzD8qQsw/KkLMPypCzD/95gEgAyAD/eYB/QwTJzc9Eyc3PRMnNz0TJzc9/QwAAIA/AACAPwAAgD8AAIA//YUC/eYB/eEB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIgP9DDuquD87qrg/O6q4PzuquD/95gH9aiIE/QyDgF45g4BeOYOAXjmDgF45IAT9DACAMb8AgDG/AIAxvwCAMb8gA/2FAv2FAiIDIAP95gH9DD/atjo/2rY6P9q2Oj/atjogA/0MyR0JPMkdCTzJHQk8yR0JPP2FAiAD/Qwvqio9L6oqPS+qKj0vqio9/YUCIAP9DEeqKj5Hqio+R6oqPkeqKj79hQIgA/0MAAAAPwAAAD8AAAA/AAAAP/2FAiAD/YUC/QwAAIA/AACAPwAAgD8AAIA//eQBIAT9+AEiA0EB/awBIgT9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mASADIAT9sQH9DH8AAAB/AAAAfwAAAH8AAAD9rgFBF/2rAf3mAf3kAf3nAQwBCyAD/QwAAAAAAAAAAAAAAAAAAAAA/UT9DAAAgD8AAIA/AACAPwAAgD/9Tgv95gEhAyABBEAgCiAD/QsEAAUgCiAD/VoCAAALIABBBEEBIAEbaiEADAELCwviEAMnfwV7AX0gAEFAaygCACEYIABBxABqKAIAQQBHIQ4gAEHQAGoqAgAhLyAAQTxqKAIAIgpBAnQiDSAAQTRqKAIAIgNsIQwgAEE4aigCACIFIA1sIRAgAUECdCIBIABBKGooAgBqIgYoAgAhBCABIABBLGooAgBqKAIAIR8gASAAQTBqKAIAaigCACIZIAYoAgQgBGsiE2shDyACQQFqIANsIAVqQQFrIAVtIRogDUEGdCIRIwAiG2ohFCARIBRqIhUgEWoiHCARaiIWQYCAAWohEiAAQRhqKAIAQQBHISAgAEEcaigCAEEARyEdIABBIGooAgBBAEchHiACIANsIAVqQQFrIAVtIgUhAwNAIAMgGkgEQCAEIQEDQCABIAQgE2pIBEAgAEEkaigCACADIBhsIAFqQQJ0aiABIAxsIAMgDWxqIgYgAEEMaigCAGogBiAAQRRqKAIAaiAKEAg4AgAgAUEBaiEBDAELCyADQQFqIQMMAQsLA0AgCyAZSARAIAsgH2ogEGwgAiANbGoiFyAAQQRqKAIAaiAQQcAAIBkgC2siASABQcAAShsiBiAKIBsQAyAXIABBCGooAgBqIBAgBiAKIBQQAyAVQQAgEUEBdPwLACAFIQMDQCADIBpIBEAgDgR/IAsgD2siAUEAIAFBAE4bBUEACyEJA0AgCSATSARAQcAAIBMgCWsiASABQcAAShshISAEIAlqIAxsIAMgDWxqIiIgACgCAGohJSAiIABBFGooAgBqISZBACEIA0AgCCAhSARAQQggISAIayIBIAFBCEobIgEgCCAJampBAWshByABIA4EfyAGIAcgD2pBAWogC2siByAGIAdIGyIHQQAgB0EAThsFIAYLQQdqQXhxIgcgCiAIIAxsIiMgJWogDEEEIBtBgAIgCEEIdCIkIBZqQYACQQAQASABIAcgCiAjICZqIAxBBCAUQYACIBIgJGpBgAJBABABIAhBCGohCAwBCwsgAyAYbCAEaiAJakECdCEnQQAhCANAIAggIUgEQCAIIAlqIQEgDgR/IAYgASAPakEBaiALayIBIAEgBkobIgFBACABQQBOGwUgBgshASAhIAhBeHFBCGoiByAHICFKG0EBayAJaiEHIA4EfyAGIAcgD2pBAWogC2siByAGIAdIGyIHQQAgB0EAThsFIAYLQQdqQXhxISggCEECdCIHICcgAEEQaigCAGpqKgIA/RMhKyAnIABBJGooAgBqIAdqKgIA/RMhLCAIQQh0IgcgFmohIyAHIBJqISlBACEHA0AgByAoSARAICMgB0ECdCIkav0ABAAgL/0TIi395gEgK/3lAf0MAACyQgAAskIAALJCAACyQv3oAf0MAADRwgAA0cIAANHCAADRwv3pASIq/Qw7qrg/O6q4PzuquD87qrg//eYB/WoiLv0Mg4BeOYOAXjmDgF45g4BeOSAu/QwAgDG/AIAxvwCAMb8AgDG/ICr9hQL9hQIiKiAq/eYB/Qw/2rY6P9q2Oj/atjo/2rY6ICr9DMkdCTzJHQk8yR0JPMkdCTz9hQIgKv0ML6oqPS+qKj0vqio9L6oqPf2FAiAq/QxHqio+R6oqPkeqKj5Hqio+/YUCICr9DAAAAD8AAAA/AAAAPwAAAD/9hQIgKv2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAu/fgBIipBAf2sASIu/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgKiAu/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEhKiAkIClq/QAEACAs/eUBIC395gEhLSAHQQRqIAFKBEAgKiAH/RH9DAAAAAABAAAAAgAAAAMAAAD9rgEgAf0R/Tn9TiEqCyAjICRqICr9CwQAICQgKWogKiAt/eYB/QsEACAHQQRqIQcMAQsLIAhBAWohCAwBCwtBACEIA0AgBiAISgRAIA4EfyAIIAtqIA9rIAlrIgFBACABQQBOGwVBAAsiASAhSARAQQggBiAIayIHIAdBCEobIQcgAUEIdCAIQQJ0aiEjICEgAWshJCABIAxsIQEgCCANbCEnIB4EQCAHIAogJCAWICNqQQRBgAIgASAmaiAMIBwgJ2ogDUEBEAELIB0EQCAHIAogJCASICNqQQRBgAIgASAlaiAMIBUgJ2ogDUEBEAELIAhBCGohCAwCCwsLICAEQCAXIABBBGooAgBqIQEgIiAAQRhqKAIAaiEHQQAhCANAIAggIUgEQEEIICEgCGsiIiAiQQhKGyIiIAggCWpqQQFrISMgIiAKIA4EfyAGIA8gI2pBAWogC2siIiAGICJIGyIiQQAgIkEAThsFIAYLIBIgCEEIdGpBgAJBBCABIBAgByAIIAxsaiAMQQEQASAIQQhqIQgMAQsLCyAJQUBrIQkMAQsLIANBAWohAwwBCwtBACEJA0AgBiAJSgRAIAkgDWwhByAXIAkgEGxqIQggHQRAIAggAEEcaigCAGohISAHIBVqISJBACEDA0AgA0EEaiIBIApMBEAgA0ECdCIDICFqIiMgI/0ABAAgAyAiav0ABAD95AH9CwQAIAEhAwwBCwsDQCADIApIBEAgA0ECdCIBICFqIiMgIyoCACABICJqKgIAkjgCACADQQFqIQMMAQsLCyAeBEAgCCAAQSBqKAIAaiEIIAcgHGohB0EAIQMDQCADQQRqIgEgCkwEQCADQQJ0IgMgCGoiISAh/QAEACADIAdq/QAEAP3kAf0LBAAgASEDDAELCwNAIAMgCkgEQCADQQJ0IgEgCGoiISAhKgIAIAEgB2oqAgCSOAIAIANBAWohAwwBCwsLIAlBAWohCQwBCwsgC0FAayELDAELCwtuAQV/IABBOGooAgAhBCAAQcwAaigCACEFA0AgASACSARAIAEgBG0gBWwiAyAFaiIGIABByABqKAIAIgcgBiAHSBshBgNAIAMgBkgEQCAAIAMgASAEbxAlIANBAWohAwwBCwsgAUEBaiEBDAELCwuiFAQefwN9AXwEeyAAQTBqKAIAIQ0gAEE0aigCAEEARyEaIABBOGoqAgAhIyAAQSxqKAIAIhxBAnQiHiAAQSRqKAIAIhFsIRAgAEEoaigCACIMIB5sIRsjACIPIB5BBnQiA2ohDiADIAMgDmoiFkGAgAFqIhVqIhRBgAJqIRkgASEHA0AgAiAHSgRAIAcgEW8hEyAAQRRqKAIAIAcgEW1BA3RqIgEoAgBBAnQiBiAAQRxqKAIAaigCACEFQcAAIAYgAEEYaigCAGoiBCgCBCIDIAEoAgQiEmsiASABQcAAShshHSAGIABBIGooAgBqKAIAIgYgAyAEKAIAIgFrayEYIBIgAWshFyAaBEAgBiAXIB1qIBhqIgEgASAGShsiAUEAIAFBAE4bIQYLIAAoAgAgECASbGogEyAebGohCSAMIBNsIBFtIB5sIgMgBSAbbCIBIABBBGooAgBqaiELIABBCGooAgAgAWogA2ohCkEAIQQDQCAEIB1IBEAgDyAEIB5saiEIIAkgBCAQbGohBUEAIQEDQCABQQRqIgMgHEwEQCABQQJ0IgEgCGogASAFav0ABAAgI/0T/eYB/QsEACADIQEMAQsLA0AgASAcSARAIAFBAnQiAyAIaiADIAVqKgIAICOUOAIAIAFBAWohAQwBCwsgFCAEQQJ0akMAAID/OAIAIBkgBEEDdGpEAAAAAAAAAAA5AwAgBEEBaiEEDAELCyAVQQAgHSAebPwLAEEAIR8DQCAGIB9KBEBBwAAgBiAfayIBIAFBwABKGyEFIAsgGyAfbGohAyAdQQRIBEBBACEBA0AgASAdSARAQQAhBANAIAQgBUgEQCAWIAFBCHRqIARBAnRqIA8gASAebGogAyAEIBtsaiAcEAg4AgAgBEEBaiEEDAELCyABQQFqIQEMAQsLBSADIBsgBSAcIA4QA0EAIQEDQCABIB1IBEBBCCAdIAFrIgMgA0EIShsiBCABIBdqakEBayEDIAQgGgR/IAUgAyAYakEBaiAfayIDIAMgBUobIgNBACADQQBOGwUgBQtBB2pBeHEgHCAPIAEgHmxqIB5BBCAOQYACIBYgAUEIdGpBgAJBABABIAFBCGohAQwBCwsLQQAhIANAIB0gIEoEQCAWICBBCHRqIQggFyAgaiEBIBoEfyAFIAEgGGpBAWogH2siASABIAVKGyIBQQAgAUEAThsFIAULIQMgHSAgQXhxQQhqIgEgASAdShtBAWsgF2ohASAaBH8gBSABIBhqQQFqIB9rIgEgASAFShsiAUEAIAFBAE4bBSAFC0EHakF4cSEEAkAgA0UEQCAIQQAgBEECdPwLAAwBC/0MAACA/wAAgP8AAID/AACA/yEoQQAhAQNAIAEgBEgEQCAIIAFBAnRqIgn9AAQAISUgAUEEaiADSgRAIAkgJf0MAACA/wAAgP8AAID/AACA/yAB/RH9DAAAAAABAAAAAgAAAAMAAAD9rgEgA/0R/Tn9UiIl/QsEAAsgKCAl/ekBISggAUEEaiEBDAELCyAUICBBAnRqKgIAIiEgKP0fACAo/R8BlyAo/R8CICj9HwOXl5ciIv0TISf9DAAAAAAAAAAAAAAAAAAAAAAhKEEAIQEDQCABIARIBEAgCCABQQJ0aiID/QAEACAn/eUB/QwAALJCAACyQgAAskIAALJC/egB/QwAANHCAADRwgAA0cIAANHC/ekBIiX9DDuquD87qrg/O6q4PzuquD/95gH9aiIm/QyDgF45g4BeOYOAXjmDgF45ICb9DACAMb8AgDG/AIAxvwCAMb8gJf2FAv2FAiElIAMgJSAl/eYB/Qw/2rY6P9q2Oj/atjo/2rY6ICX9DMkdCTzJHQk8yR0JPMkdCTz9hQIgJf0ML6oqPS+qKj0vqio9L6oqPf2FAiAl/QxHqio+R6oqPkeqKj5Hqio+/YUCICX9DAAAAD8AAAA/AAAAPwAAAD/9hQIgJf2FAv0MAACAPwAAgD8AAIA/AACAP/3kASAm/fgBIiZBAf2sASIl/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEgJiAl/bEB/Qx/AAAAfwAAAH8AAAB/AAAA/a4BQRf9qwH95gEiJf0LBAAgKCAl/eQBISggAUEEaiEBDAELCyAo/R8AICj9HwGSICj9HwIgKP0fA5KSuyEkIBkgIEEDdGogISAiXQR8IBUgHiAgbGohBCAhICKT/RP9DAAAskIAALJCAACyQgAAskL96AH9DAAA0cIAANHCAADRwgAA0cL96QEiJf0MO6q4PzuquD87qrg/O6q4P/3mAf1qIib9DIOAXjmDgF45g4BeOYOAXjkgJv0MAIAxvwCAMb8AgDG/AIAxvyAl/YUC/YUCIiUgJf3mAf0MP9q2Oj/atjo/2rY6P9q2OiAl/QzJHQk8yR0JPMkdCTzJHQk8/YUCICX9DC+qKj0vqio9L6oqPS+qKj39hQIgJf0MR6oqPkeqKj5Hqio+R6oqPv2FAiAl/QwAAAA/AAAAPwAAAD8AAAA//YUCICX9hQL9DAAAgD8AAIA/AACAPwAAgD/95AEgJv34ASImQQH9rAEiJf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYBICYgJf2xAf0MfwAAAH8AAAB/AAAAfwAAAP2uAUEX/asB/eYB/R8AISFBACEBA0AgAUEEaiIDIBxMBEAgAUECdCAEaiIBIAH9AAQAICH9E/3mAf0LBAAgAyEBDAELCwNAIAEgHEgEQCABQQJ0IARqIgMgAyoCACAhlDgCACABQQFqIQEMAQsLIBQgIEECdGogIjgCACAkIBkgIEEDdGorAwAgIbuioAUgJCAZICBBA3RqKwMAoAs5AwALICBBAWohIAwBCwtBACEBA0AgASAdSARAQQggHSABayIDIANBCEobIgQgASAXampBAWshAyAEIBwgGgR/IAUgAyAYakEBaiAfayIDIAMgBUobIgNBACADQQBOGwUgBQsgFiABQQh0akGAAkEEIAogGyAfbGogGyAVIAEgHmxqIB5BARABIAFBCGohAQwBCwsgH0FAayEfDAELC0EAIQEDQCABIB1IBEAgAEEMaigCACABIBJqIBBsaiATIB5saiEGIBUgASAebGohBSAZIAFBA3RqKwMAIiREAAAAAAAAAABiBH1EAAAAAAAA8D8gJKO2BUMAAAAACyEhQQAhBANAIARBBGoiAyAcTARAIARBAnQiBCAGaiAEIAVq/QAEACAh/RP95gH9CwQAIAMhBAwBCwsDQCAEIBxIBEAgBEECdCIDIAZqIAMgBWoqAgAgIZQ4AgAgBEEBaiEEDAELCyAAQRBqKAIAIgMEQCADIA0gE2wgEmogAWpBAnRqICREAAAAAAAAAABiBH0gFCABQQJ0aioCALsgJBAEoLYFQwAAgH8LOAIACyABQQFqIQEMAQsLIAdBAWohBwwBCwsLC48gAgBBgAgLgBCf3uDD8DT3PwCQ5nl/zNe/H+ksangT9z8AAA3C7m/Xv6C1+ghg8vY/AOBRE+MT1799jBMfptH2PwB4KDhbuNa/0bTFC0mx9j8AeICQVV3Wv7oMLzNHkfY/AAAYdtAC1r8jQiIYn3H2PwCQkIbKqNW/2R6lmU9S9j8AUANWQ0/Vv8Qkj6pWM/Y/AEBrwzf21L8U3J1rsxT2PwBQqP2nndS/TFzGUmT29T8AqIk5kkXUv08skbVn2PU/ALiwOfTt07/ekFvLvLr1PwBwj0TOltO/eBrZ8mGd9T8AoL0XHkDTv4dWRhJWgPU/AIBG7+Lp0r/Ta+fOl2P1PwDgMDgblNK/k3+n4iVH9T8AiNqMxT7Sv4NFBkL/KvU/AJAnKeHp0b/fvbLbIg/1PwD4SCttldG/1940R4/z9D8A+LmaZ0HRv0Ao3s9D2PQ/AJjvlNDt0L/Io3jAPr30PwAQ2xilmtC/iiXgw3+i9D8AuGNS5kfQvzSE1CQFiPQ/APCGRSLrz78LLRkbzm30PwCwF3VKR8+/VBg509lT9D8AMBA9RKTOv1qEtEQnOvQ/ALDpRA0Czr/7+BVBtSD0PwDwdymiYM2/sfQ+2oIH9D8AkJUEAcDMv4/+V12P7vM/ABCJVikgzL/pTAug2dXzPwAQgY0Xgcu/K8EQwGC98z8A0NPMyeLKv7jadSskpfM/AJASLkBFyr8C0J/NIo3zPwDwHWh3qMm/HHqExVt18z8AMEhpbQzJv+I2rUnOXfM/AMBFpiBxyL9A1E2YeUbzPwAwFLSP1se/JMv/zlwv8z8AcGI8uDzHv0kNoXV3GPM/AGA3m5qjxr+QOT43yAHzPwCgt1QxC8a/QfiVu07r8j8AMCR2fXPFv9GpGQIK1fI/ADDCj3vcxL8q/beo+b7yPwAA0lEsRsS/qxsMehyp8j8AAIO8irDDvzC1FGByk/I/AABJa5kbw7/1oVdX+n3yPwBApJBUh8K/vzsdm7No8j8AoHn4ufPBv731j4OdU/I/AKAsJchgwb87CMmqtz7yPwAg91d/zsC/tkCpKwEq8j8AoP5J3DzAvzJBzJZ5FfI/AIBLvL1Xv7+b/NIdIAHyPwBAQJYIN76/C0hNSfTs8T8AQPk+mBe9v2llj1L12PE/AKDYTmf5u798flcRI8XxPwBgLyB53Lq/6SbLdHyx8T8AgCjnw8C5v7YaLAwBnvE/AMBys0amuL+9cLZ7sIrxPwAArLMBjbe/trzvJYp38T8AADhF8XS2v9oxTDWNZPE/AICHbQ5etb/dXyeQuVHxPwDgod5cSLS/TNIypA4/8T8AoGpN2TOzv9r5EHKLLPE/AGDF+Hkgsr8xtewoMBrxPwAgYphGDrG/rzSE2vsH8T8AANJqbPqvv7NrTg/u9fA/AEB3So3arb/OnypdBuTwPwAAheTsvKu/IaUsY0TS8D8AwBJAiaGpvxqY4nynwPA/AMACM1iIp7/RNsaDL6/wPwCA1mdecaW/OROgmNud8D8AgGVJilyjv9/nUq+rjPA/AEAVZONJob/7KE4vn3vwPwCA64LAcp6/GY81jLVq8D8AgFJS8VWavyz57KXuWfA/AICBz2I9lr+QLNHNSUnwPwAAqoz7KJK/qa3wxsY48D8AAPkgezGMv6kyeRNlKPA/AACqXTUZhL9Ic+onJBjwPwAA7MIDEni/lbEUBgQI8D8AACR5CQRgvxr6Jvcf4O8/AACQhPPvbz906mHCHKHvPwAAPTVB3Ic/LpmBsBBj7z8AgMLEo86TP82t7jz2Je8/AACJFMGfmz/nE5EDyOnuPwAAEc7YsKE/q7HLeICu7j8AwAHQW4qlP5sMnaIadO4/AIDYQINcqT+1mQqDkTruPwCAV+9qJ60/VppgCeAB7j8AwJjlmHWwP5i7d+UByu0/ACAN4/VTsj8DkXwL8pLtPwAAOIvdLrQ/zlz7Zqxc7T8AwFeHWQa2P53eXqosJ+0/AABqNXbatz/NLGs+bvLsPwBgHE5Dq7k/Anmnom2+7D8AYA27x3i7P20IN20mi+w/ACDnMhNDvT8EWF29lFjsPwBg3nExCr8/jJ+7M7Um7D8AQJErFWfAPz/n7O6D9es/ALCSgoVHwT/Bltt1/cTrPwAwys1uJsI/KEqGDB6V6z8AUMWm1wPDPyw+78XiZes/ABAzPMPfwz+LiMlnSDfrPwCAems2usQ/SjAdIUsJ6z8A8NEoOZPFP37v8oXo2+o/APAYJM1qxj+iPWAxHa/qPwCQZuz4QMc/p1jTP+aC6j8A8Br1wBXIP4tzCe9AV+o/AID2VCnpyD8nS6uQKizqPwBA+AI2u8k/0fKTE6AB6j8AACwc7YvKPxs82ySf1+k/ANABXFFbyz+QsccFJa7pPwDAvMxnKcw/L86X8i6F6T8AYEjVNfbMP3VLpO66XOk/AMBGNL3BzT84SOedxjTpPwDgz7gBjM4/5lJnL08N6T8AkBfACVXPP53X/45S5ug/ALgfEmwO0D98AMyfzr/oPwDQkw64cdA/DsO+2sCZ6D8AcIaea9TQP/sXI6ondOg/ANBLM4c20T8ImrOsAE/oPwBII2cNmNE/VT5l6Ekq6D8AgMzg//jRP2AC9JUBBug/AGhj119Z0j8po+BjJeLnPwCoFAkwudI/rbXcd7O+5z8AYEMQchjTP8Ill2eqm+c/ABjsbSZ30z9XBhfyB3nnPwAwr/tP1dM/DBPW28pW5z8A4C/j7jLUPwBBgBgLgBBrtk8BABDmPzxbQpFsAn48lbRNAwAw5j9BXQBI6r+NPHjUlA0AUOY/t6XWhqd/jjytb04HAHDmP0wlVGvq/GE8rg/f/v+P5j/9DllMJ358vLzFYwcAsOY/AdrcSGjBirz2wVweANDmPxGTSZ0cP4M8PvYF6//v5j9TLeIaBIB+vICXhg4AEOc/UnkJcWb/ezwS6Wf8/y/nPySHvSbiAIw8ahGB3/9P5z/SAfFukQJuvJCcZw8AcOc/dJxUzXH8Z7w1yH76/4/nP4ME9Z7BvoE85sIg/v+v5z9lZMwpF35wvADJP+3/z+c/HIt7CHKAgLx2Gibp/+/nP675nW0owI086KOcBAAQ6D8zTOVR0n+JPI8skxcAMOg/gfMwtun+irycczMGAFDoP7w1ZWu/v4k8xolCIABw6D91exHzZb+LvAR59ev/j+g/V8s9om4AibzfBLwiALDoPwpL4DjfAH28ihsM5f/P6D8Fn/9GcQCIvEOOkfz/7+g/OHB60HuBgzzHX/oeABDpPwO033aRPok8uXtGEwAw6T92AphLToB/PG8H7ub/T+k/LmL/2fB+j7zREjze/2/pP7o4JpaqgnC8DYpF9P+P6T/vqGSRG4CHvD4umN3/r+k/N5NaiuBAh7xm+0nt/8/pPwDgm8EIzj88UZzxIADw6T8KW4gnqj+KvAawRREAEOo/VtpYmUj/dDz69rsHADDqPxhtK4qrvow8eR2XEABQ6j8weXjdyv6IPEgu9R0AcOo/26vYPXZBj7xSM1kcAJDqPxJ2woQCv468Sz5PKgCw6j9fP/88BP1pvNEertf/z+o/tHCQEuc+grx4BFHu/+/qP6PeDuA+Bmo8Ww1l2/8P6z+5Ch84yAZaPFfKqv7/L+s/HTwjdB4BebzcupXZ/0/rP58qhmgQ/3m8nGWeJABw6z8+T4bQRf+KPEAWh/n/j+s/+cPClnf+fDxPywTS/6/rP8Qr8u4n/2O8RVxB0v/P6z8h6jvut/9svN8JY/j/7+s/XAsulwNBgbxTdrXh/w/sPxlqt5RkwYs841f68f8v7D/txjCN7/5kvCTkv9z/T+w/dUfsvGg/hLz3uVTt/2/sP+zgU/CjfoQ81Y+Z6/+P7D/xkvmNBoNzPJohJSEAsOw/BA4YZI79aLycRpTd/8/sP3Lqxxy+fo48dsT96v/v7D/+iJ+tOb6OPCv4mhYAEO0/cVq5qJF9dTwd9w8NADDtP9rHcGmQwYk8xA956v9P7T8M/ljFNw5YvOWH3C4AcO0/RA/BTdaAf7yqgtwhAJDtP1xc/ZSPfHS8gwJr2P+v7T9+YSHFHX+MPDlHbCkA0O0/U7H/sp4BiDz1kETl/+/tP4nMUsbSAG48lParzf8P7j/SaS0gQIN/vN3IUtv/L+4/ZAgbysEAezzvFkLy/0/uP1GrlLCo/3I8EV6K6P9v7j9Zvu+xc/ZXvA3/nhEAkO4/AcgLXo2AhLxEF6Xf/6/uP7UgQ9UGAHg8oX8SGgDQ7j+SXFZg+AJQvMS8ugcA8O4/EeY1XURAhbwCjXr1/w/vPwWR7zkx+0+8x4rlHgAw7z9VEXPyrIGKPJQ0gvX/T+8/Q8fX1EE/ijxrTKn8/2/vP3V4mBz0AmK8QcT54f+P7z9L53f00X13PH7j4NL/r+8/MaN8mhkBb7ye5HccANDvP7GszkvugXE8McPg9//v7z9ah3ABNwVuvG5gZfT/D/A/2gocSa1+irxYeobz/y/wP+Cy/MNpf5e8Fw38/f9P8D9blMs0/r+XPIJNzQMAcPA/y1bkwIMAgjzoy/L5/4/wPxp1N77f/228ZdoMAQCw8D/rJuaufz+RvDjTpAEA0PA/959Iefp9gDz9/dr6/+/wP8Br1nAFBHe8lv26CwAQ8T9iC22E1ICOPF305fr/L/E/7zb9ZPq/nTzZmtUNAFDxP65QEnB3AJo8mlUhDwBw8T/u3uPi+f2NPCZUJ/z/j/E/c3I73DAAkTxZPD0SALDxP4gBA4B5f5k8t54p+P/P8T9njJ+rMvllvADUivT/7/E/61unnb9/kzykhosMABDyPyJb/ZFrgJ88A0OFAwAw8j8zv5/rwv+TPIT2vP//T/I/ci4ufucBdjzZISn1/2/yP2EMf3a7/H88PDqTFACQ8j8rQQI8ygJyvBNjVRQAsPI/Ah/yM4KAkrw7Uv7r/8/yP/LcTzh+/4i8lq24CwDw8j/FQTBQUf+FvK/ievv/D/M/nSheiHEAgbx/X6z+/y/zPxW3tz9d/5G8VmemDABQ8z+9gosign+VPCH3+xEAcPM/zNUNxLoAgDy5L1n5/4/zP1Gnsi2dP5S8QtLdBACw8z/hOHZwa3+FPFfJsvX/z/M/MRK/EDoCejwYtLDq/+/zP7BSsWZtf5g89K8yFQAQ9D8khRlfN/hnPCmLRxcAMPQ/Q1HccuYBgzxjtJXn/0/0P1qJsrhp/4k84HUE6P9v9D9U8sKbscCVvOfBb+//j/Q/cio68glAmzwEp77l/6/0P0V9Db+3/5S83icQFwDQ9D89atxxZMCZvOI+8A8A8PQ/HFOFC4l/lzzRS9wSABD1PzakZnFlBGA8eicFFgAw9T8JMiPOzr+WvExw2+z/T/U/16EFBXICibypVF/v/2/1PxJkyQ7mv5s8EhDmFwCQ9T+Q76+BxX6IPJI+yQMAsPU/wAy/CghBn7y8GUkdAND1PylHJfsqgZi8iXq45//v9T8Eae2At36UvA==";
// src/engine/cpu/heap.ts
const PAGE = 65536;
const ALIGN = 64;
const MAX_HEAP_PAGES = 65535;
var Heap = class {
	memory;
	#limit;
	#used = new Map();
	#bins = Array.from({ length: 130 }, () => new Set());
	#last;
	#end = PAGE;
	#bytesInUse = 0;
	#peakBytes = 0;
	#f32 = new Float32Array(0);
	#i32 = new Int32Array(0);
	#u8 = new Uint8Array(0);
	constructor(maxBytes = MAX_HEAP_PAGES * PAGE) {
		const maximum = Math.max(2, Math.min(MAX_HEAP_PAGES, Math.floor(maxBytes / PAGE)));
		this.#limit = maximum * PAGE;
		try {
			this.memory = new WebAssembly.Memory({
				initial: Math.min(16, maximum),
				maximum,
				shared: true
			});
		} catch (cause) {
			throw new EngineError(`cannot reserve ${formatBytes(this.#limit)} of address space for the cpu engine`, {
				cause,
				hint: "Raise the limit on virtual memory (ulimit -v), or give the engine a smaller maxBytes."
			});
		}
		this.#refresh();
		this.#extend(this.memory.buffer.byteLength - PAGE);
	}
	get bytesInUse() {
		return this.#bytesInUse;
	}
	get peakBytes() {
		return this.#peakBytes;
	}
	get limitBytes() {
		return this.#limit - PAGE;
	}
	resetPeak() {
		this.#peakBytes = this.#bytesInUse;
	}
	get f32() {
		return this.#f32;
	}
	get i32() {
		return this.#i32;
	}
	get u8() {
		return this.#u8;
	}
	alloc(bytes) {
		if (!Number.isInteger(bytes) || bytes < 0) throw new EngineError(`cannot allocate ${bytes} bytes`);
		const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
		let block = this.#take(size);
		if (!block) {
			this.#grow(size, bytes);
			block = this.#take(size);
			if (!block) throw this.#exhausted(bytes);
		}
		if (block.size > size) {
			const rest = {
				ptr: block.ptr + size,
				size: block.size - size,
				free: true,
				before: block,
				after: block.after
			};
			if (block.after) block.after.before = rest;
			else this.#last = rest;
			block.after = rest;
			block.size = size;
			this.#bins[binOf(rest.size)].add(rest);
		}
		block.free = false;
		this.#used.set(block.ptr, block);
		this.#bytesInUse += size;
		if (this.#bytesInUse > this.#peakBytes) this.#peakBytes = this.#bytesInUse;
		return block.ptr;
	}
	free(ptr) {
		const block = this.#used.get(ptr);
		if (!block) throw new EngineError(`free(${ptr}): not a block in use`);
		this.#used.delete(ptr);
		this.#bytesInUse -= block.size;
		this.#release(block);
	}
	#take(size) {
		const bin = binOf(size);
		let looked = 0;
		for (const block of this.#bins[bin]) {
			if (block.size >= size) return this.#unbin(block, bin);
			if (++looked === 16) break;
		}
		for (let b = bin + 1; b < this.#bins.length; b++) for (const block of this.#bins[b]) return this.#unbin(block, b);
		for (const block of this.#bins[bin]) if (block.size >= size) return this.#unbin(block, bin);
	}
	#unbin(block, bin) {
		this.#bins[bin].delete(block);
		return block;
	}
	#release(block) {
		let whole = block;
		const { before, after } = block;
		if (after?.free) {
			this.#bins[binOf(after.size)].delete(after);
			this.#join(whole, after);
		}
		if (before?.free) {
			this.#bins[binOf(before.size)].delete(before);
			this.#join(before, whole);
			whole = before;
		}
		whole.free = true;
		this.#bins[binOf(whole.size)].add(whole);
	}
	#join(first, second) {
		first.size += second.size;
		first.after = second.after;
		if (second.after) second.after.before = first;
		else this.#last = first;
	}
	#grow(size, asked) {
		const tail = this.#last?.free ? this.#last.size : 0;
		const needed = Math.ceil((size - tail) / PAGE) * PAGE;
		const room = this.#limit - this.#end;
		if (needed > room) throw this.#exhausted(asked);
		const bytes = Math.min(room, Math.max(needed, Math.ceil(this.#end / 8 / PAGE) * PAGE));
		try {
			this.memory.grow(bytes / PAGE);
		} catch (cause) {
			throw this.#exhausted(asked, cause);
		}
		this.#refresh();
		this.#extend(bytes);
	}
	#extend(bytes) {
		const block = {
			ptr: this.#end,
			size: bytes,
			free: false,
			before: this.#last,
			after: void 0
		};
		if (this.#last) this.#last.after = block;
		this.#last = block;
		this.#end += bytes;
		this.#release(block);
	}
	#refresh() {
		const { buffer } = this.memory;
		this.#f32 = new Float32Array(buffer);
		this.#i32 = new Int32Array(buffer);
		this.#u8 = new Uint8Array(buffer);
	}
	#exhausted(asked, cause) {
		return new OutOfMemoryError(`the cpu engine is out of memory: ${formatBytes(asked)} asked, ${formatBytes(this.#bytesInUse)} in use of ${formatBytes(this.#limit)}`, {
			cause,
			neededBytes: asked,
			freeBytes: this.#limit - this.#bytesInUse,
			limitBytes: this.#limit,
			hint: "Fewer tokens and images at a time take less."
		});
	}
};
function binOf(size) {
	const octave = 31 - Math.clz32(size);
	return octave * 4 + (size >>> octave - 2 & 3);
}
// src/engine/cpu/matmul.ts
const MR = 6;
const NR = 8;
const MAX_TILE_COLUMNS = 256;
const FEW_ROWS = {
	heap: 4,
	frozen: 8
};
const SMALL_PRODUCT = 15e4;
const TILES_PER_THREAD = 4;
const TILE_WORK = 2e5;
function matmul(pool, heap, product) {
	const { m, n, k, transA = false, transB = false, alpha = 1, beta = 0 } = product;
	const frozen = typeof product.b === "number" ? void 0 : product.b;
	const { lda = transA ? m : k, ldc = n, bRow = 0, bColumn = 0 } = product;
	const ldb = frozen ? frozen.columns : product.ldb ?? (transB ? k : n);
	check(product, lda, ldb, ldc);
	if (m === 0 || n === 0) return;
	const b = frozen ? frozen.id : product.b;
	const format = frozen ? frozen.kernelFormat : 0;
	const shared = [
		b,
		ldb,
		product.c,
		ldc,
		m,
		n,
		k,
		+transB,
		+(frozen !== void 0),
		format,
		bRow,
		bColumn
	];
	const work = m * n * k;
	if (m <= (frozen ? FEW_ROWS.frozen : FEW_ROWS.heap) && transB && !transA) {
		const grain = Math.ceil(SMALL_PRODUCT / 4 / (m * Math.max(1, k)));
		pool.run("matmulDots", n, grain, [
			product.a,
			lda,
			...shared,
			0,
			0
		], [alpha, beta]);
		return;
	}
	const [tileM, tileN] = tiles(m, n, k, work < SMALL_PRODUCT ? 1 : pool.threads, frozen !== void 0 && !transB);
	const count = Math.ceil(m / tileM) * Math.ceil(n / tileN);
	const grain = work < SMALL_PRODUCT ? count : 1;
	if (!transA) {
		pool.run("matmulTiles", count, grain, [
			product.a,
			lda,
			...shared,
			tileM,
			tileN
		], [alpha, beta]);
		return;
	}
	const row = (Math.ceil(k / 16) | 1) * 16;
	const ptr = heap.alloc(4 * row * m);
	try {
		pool.run("transpose", Math.ceil(m / 16), Math.ceil(8e3 / k), [
			product.a,
			lda,
			k,
			m,
			ptr,
			row
		], []);
		pool.run("matmulTiles", count, grain, [
			ptr,
			row,
			...shared,
			tileM,
			tileN
		], [alpha, beta]);
	} finally {
		heap.free(ptr);
	}
}
function tiles(m, n, k, threads, wide) {
	const widest = wide ? MAX_TILE_COLUMNS : MAX_TILE_COLUMNS / 2;
	if (threads === 1) return [m, Math.min(widest, n)];
	const wanted = Math.max(Math.min(threads * TILES_PER_THREAD, Math.ceil(m * n * k / TILE_WORK)), threads);
	const share = Math.ceil(n / wanted / NR) * NR;
	const tileN = Math.min(widest, Math.max(share, wide ? 128 : 64), n);
	const split = Math.max(1, Math.floor(wanted / Math.ceil(n / tileN)));
	const tileM = Math.ceil(Math.max(m / split, 48) / MR) * MR;
	return [Math.min(tileM, m), tileN];
}
function check(product, lda, ldb, ldc) {
	const { m, n, k, transA, transB, b, bRow = 0, bColumn = 0 } = product;
	const bRows = transB ? n : k;
	const bColumns = transB ? k : n;
	const fault = [
		m,
		n,
		k
	].some((extent) => !Number.isInteger(extent) || extent < 0) ? "extents must be integers of at least 0" : lda < (transA ? m : k) ? `lda ${lda} is shorter than a row of a` : ldc < n ? `ldc ${ldc} is shorter than a row of c` : typeof b === "number" ? ldb < bColumns && `ldb ${ldb} is shorter than a row of b` : (bRow + bRows > b.rows || bColumn + bColumns > b.columns) && `rows ${bRow}..${bRow + bRows}, columns ${bColumn}..${bColumn + bColumns} do not lie in ${b.name} [${b.shape}]`;
	if (fault) throw new EngineError(`matmul of m ${m}, n ${n}, k ${k}: ${fault}`);
}
// src/generated/pool-worker.ts
var pool_worker_default = "\"use strict\";\nvar __defProp = Object.defineProperty;\nvar __getOwnPropDesc = Object.getOwnPropertyDescriptor;\nvar __getOwnPropNames = Object.getOwnPropertyNames;\nvar __hasOwnProp = Object.prototype.hasOwnProperty;\nvar __copyProps = (to, from, except, desc) => {\n  if (from && typeof from === \"object\" || typeof from === \"function\") {\n    for (let key of __getOwnPropNames(from))\n      if (!__hasOwnProp.call(to, key) && key !== except)\n        __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });\n  }\n  return to;\n};\nvar __toCommonJS = (mod) => __copyProps(__defProp({}, \"__esModule\", { value: true }), mod);\n\n// src/engine/cpu/pool-worker.ts\nvar pool_worker_exports = {};\nmodule.exports = __toCommonJS(pool_worker_exports);\nvar import_node_worker_threads = require(\"node:worker_threads\");\n\n// src/engine/cpu/control.ts\nvar STATE = 0;\nvar KERNEL = 1;\nvar COUNT = 2;\nvar CHUNK = 3;\nvar NEXT = 4;\nvar LEFT = 5;\nvar FAILED = 6;\nvar WEIGHTS = 7;\nvar SLEEPERS = 8;\nvar JOINED_MASK = 1023;\nvar OPEN = 1024;\nvar EPOCH_STEP = 2048;\nvar WAITING = 0;\nvar OUTSIDE = 1;\nvar INSIDE = 2;\nvar ARGS = 256;\nvar CONTROL_WORDS = 16;\nvar SCRATCH_BYTES = 1 << 20;\nfunction runChunks(control2, kernel) {\n  const count = control2[COUNT];\n  const chunk = control2[CHUNK];\n  for (; ; ) {\n    const start = Atomics.add(control2, NEXT, chunk);\n    if (start >= count) return;\n    kernel(ARGS, start, Math.min(count, start + chunk));\n  }\n}\n\n// src/engine/cpu/kernel-instance.ts\nvar KernelInstance = class {\n  #memory;\n  #exports;\n  #weights = /* @__PURE__ */ new Map();\n  #heap;\n  constructor(module3, memory2, scratch2) {\n    this.#memory = memory2;\n    this.#heap = new Uint8Array(memory2.buffer);\n    const copyRows = this.#copyRows.bind(this);\n    const abort = () => {\n      throw new Error(\"a kernel aborted\");\n    };\n    this.#exports = new WebAssembly.Instance(module3, { env: { memory: memory2, abort }, host: { copyRows } }).exports;\n    this.#exports.setScratch(scratch2);\n  }\n  kernel(name) {\n    const found = this.#exports[name];\n    return typeof found === \"function\" ? found : void 0;\n  }\n  addWeight(weight) {\n    this.#weights.set(weight.id, { bytes: new Uint8Array(weight.buffer), rowBytes: weight.rowBytes });\n  }\n  dropWeight(id) {\n    this.#weights.delete(id);\n  }\n  /** Called by the kernels: `bytes` bytes from byte `start` of each of `rows` rows, one after the other, to `target`. */\n  #copyRows(id, row, rows, start, bytes, target) {\n    const weight = this.#weights.get(id);\n    if (!weight) throw new Error(`frozen weight ${id} is not registered with this thread`);\n    let to = target >>> 0;\n    const end = to + rows * bytes;\n    if (end > this.#heap.length) this.#heap = new Uint8Array(this.#memory.buffer);\n    let from = row * weight.rowBytes + start;\n    if (from < 0 || from + (rows - 1) * weight.rowBytes + bytes > weight.bytes.length) {\n      throw new Error(`row ${row} of frozen weight ${id} does not exist`);\n    }\n    if (bytes === weight.rowBytes) {\n      this.#heap.set(weight.bytes.subarray(from, from + rows * bytes), to);\n      return;\n    }\n    for (; to < end; to += bytes, from += weight.rowBytes) {\n      this.#heap.set(weight.bytes.subarray(from, from + bytes), to);\n    }\n  }\n};\nfunction kernelNames(module3) {\n  return WebAssembly.Module.exports(module3).filter((entry) => entry.kind === \"function\").map((entry) => entry.name);\n}\n\n// src/engine/cpu/pool-worker.ts\nvar { module: module2, memory, scratch, port, spins, places, index } = import_node_worker_threads.workerData;\nvar control = new Int32Array(memory.buffer, 0, CONTROL_WORDS);\nvar instance = new KernelInstance(module2, memory, scratch);\nvar kernels = kernelNames(module2).map((name) => instance.kernel(name));\nvar announced = 0;\nfunction receiveWeights() {\n  const wanted = Atomics.load(control, WEIGHTS);\n  while (announced !== wanted) {\n    const received = (0, import_node_worker_threads.receiveMessageOnPort)(port);\n    if (!received) continue;\n    const { message } = received;\n    if (\"add\" in message) instance.addWeight(message.add);\n    else instance.dropWeight(message.drop);\n    announced = announced + 1 | 0;\n  }\n}\nfunction work() {\n  try {\n    receiveWeights();\n    runChunks(control, kernels[control[KERNEL]]);\n  } catch (error) {\n    report(error);\n    Atomics.store(control, FAILED, 1);\n  }\n  Atomics.sub(control, STATE, 1);\n  Atomics.add(control, LEFT, 1);\n  Atomics.notify(control, LEFT);\n}\nfunction report(error) {\n  try {\n    port.postMessage(error);\n  } catch {\n    port.postMessage(new Error(String(error)));\n  }\n}\nfunction run() {\n  let epoch = -1;\n  for (; ; ) {\n    let state = Atomics.load(control, STATE);\n    for (let i = 0; i < spins && !isNew(state, epoch); i++) state = Atomics.load(control, STATE);\n    if (!isNew(state, epoch)) {\n      Atomics.add(control, SLEEPERS, 1);\n      Atomics.wait(control, STATE, state);\n      Atomics.sub(control, SLEEPERS, 1);\n    } else {\n      Atomics.store(places, index, INSIDE);\n      if (Atomics.compareExchange(control, STATE, state, state + 1) === state) {\n        epoch = epochOf(state);\n        work();\n      }\n      Atomics.store(places, index, OUTSIDE);\n    }\n  }\n}\nfunction epochOf(state) {\n  return state & ~(EPOCH_STEP - 1);\n}\nfunction isNew(state, epoch) {\n  return (state & OPEN) !== 0 && epochOf(state) !== epoch && (state & JOINED_MASK) < JOINED_MASK;\n}\nsetImmediate(() => {\n  import_node_worker_threads.parentPort.postMessage(\"ready\");\n  Atomics.wait(places, index, WAITING);\n  run();\n});\n";
const OPEN = 1024;
const EPOCH_STEP = 2048;
const SCRATCH_BYTES = 1 << 20;
function runChunks(control, kernel) {
	const count = control[2];
	const chunk = control[3];
	for (;;) {
		const start = Atomics.add(control, 4, chunk);
		if (start >= count) return;
		kernel(256, start, Math.min(count, start + chunk));
	}
}
// src/engine/cpu/kernel-instance.ts
var KernelInstance = class {
	#memory;
	#exports;
	#weights = new Map();
	#heap;
	constructor(module, memory, scratch) {
		this.#memory = memory;
		this.#heap = new Uint8Array(memory.buffer);
		const copyRows = this.#copyRows.bind(this);
		const abort = () => {
			throw new Error("a kernel aborted");
		};
		this.#exports = new WebAssembly.Instance(module, {
			env: {
				memory,
				abort
			},
			host: { copyRows }
		}).exports;
		this.#exports.setScratch(scratch);
	}
	kernel(name) {
		const found = this.#exports[name];
		return typeof found === "function" ? found : void 0;
	}
	addWeight(weight) {
		this.#weights.set(weight.id, {
			bytes: new Uint8Array(weight.buffer),
			rowBytes: weight.rowBytes
		});
	}
	dropWeight(id) {
		this.#weights.delete(id);
	}
	#copyRows(id, row, rows, start, bytes, target) {
		const weight = this.#weights.get(id);
		if (!weight) throw new Error(`frozen weight ${id} is not registered with this thread`);
		let to = target >>> 0;
		const end = to + rows * bytes;
		if (end > this.#heap.length) this.#heap = new Uint8Array(this.#memory.buffer);
		let from = row * weight.rowBytes + start;
		if (from < 0 || from + (rows - 1) * weight.rowBytes + bytes > weight.bytes.length) throw new Error(`row ${row} of frozen weight ${id} does not exist`);
		if (bytes === weight.rowBytes) {
			this.#heap.set(weight.bytes.subarray(from, from + rows * bytes), to);
			return;
		}
		for (; to < end; to += bytes, from += weight.rowBytes) this.#heap.set(weight.bytes.subarray(from, from + bytes), to);
	}
};
function kernelNames(module) {
	return WebAssembly.Module.exports(module).filter((entry) => entry.kind === "function").map((entry) => entry.name);
}
// src/engine/cpu/pool.ts
const CHUNKS_PER_THREAD = 4;
const LOOK_MS = 200;
const LOST_HINT = "What it computed is lost. Make another engine, load the model again and go on from the last checkpoint (`resumeFromCheckpoint`). Threads end where memory runs out: fewer `threads` and smaller batches take less.";
var Pool = class {
	threads;
	ready;
	#main;
	#control;
	#slots;
	#floatSlots;
	#names;
	#workers = [];
	#places;
	#spins;
	#lost;
	#disposed = false;
	constructor(module, heap, options) {
		const { buffer } = heap.memory;
		this.threads = options.threads;
		this.#spins = options.spins;
		this.#control = new Int32Array(buffer, 0, 16);
		this.#slots = new Int32Array(buffer, 256, 192);
		this.#floatSlots = new Float32Array(buffer, 256, 192);
		this.#names = new Map(kernelNames(module).map((name, i) => [name, i]));
		this.#main = new KernelInstance(module, heap.memory, heap.alloc(SCRATCH_BYTES));
		this.#places = new Int32Array(new SharedArrayBuffer(4 * Math.max(1, options.threads - 1)));
		const starting = [];
		for (let i = 1; i < options.threads; i++) starting.push(this.#start(module, heap, i - 1));
		this.ready = Promise.all(starting).then(() => void 0);
		this.ready.catch(() => void 0);
	}
	addWeight(weight) {
		this.#main.addWeight(weight);
		this.#announce({ add: weight });
	}
	dropWeight(id) {
		this.#main.dropWeight(id);
		this.#announce({ drop: id });
	}
	run(name, count, grain, ints, floats) {
		const kernel = this.#main.kernel(name);
		if (!kernel) throw new EngineError(`there is no kernel named ${name}`);
		if (ints.length + floats.length > 192) throw new EngineError(`kernel ${name}: more than 192 arguments`);
		if (this.#disposed) throw new EngineError(`kernel ${name}: the engine was disposed`, { hint: "Call engine.dispose() after the last use of its models, or make another engine and load the model on it." });
		if (this.#lost) throw this.#lost;
		if (count <= 0) return;
		for (let i = 0; i < ints.length; i++) this.#slots[i] = ints[i];
		for (let i = 0; i < floats.length; i++) this.#floatSlots[ints.length + i] = floats[i];
		if (this.#workers.length === 0 || count <= grain) {
			try {
				kernel(256, 0, count);
			} catch (cause) {
				throw failed(name, "failed", cause);
			}
			return;
		}
		const control = this.#control;
		control[1] = this.#names.get(name);
		control[2] = count;
		control[3] = Math.max(1, grain, Math.ceil(count / (this.threads * CHUNKS_PER_THREAD)));
		control[4] = 0;
		const chunks = Math.ceil(count / control[3]);
		const state = (Atomics.load(control, 0) & -2048) + EPOCH_STEP;
		Atomics.store(control, 0, state | OPEN);
		if (Atomics.load(control, 8) > 0) Atomics.notify(control, 0, Math.min(chunks - 1, this.#workers.length));
		let failure;
		try {
			runChunks(control, kernel);
		} catch (error) {
			failure = error;
			Atomics.store(control, 4, count);
		}
		this.#close(name);
		const failures = control[6] === 0 ? [] : this.#failures();
		if (failure !== void 0) throw failed(name, "failed", failure);
		if (failures.length > 0) throw failed(name, "failed in a worker thread", failures[0]);
	}
	async dispose() {
		if (this.#disposed) return;
		this.#disposed = true;
		const alive = setInterval(() => void 0, 6e4);
		try {
			await Promise.all(this.#workers.map(({ worker }) => worker.terminate()));
		} finally {
			clearInterval(alive);
		}
		for (const { port } of this.#workers) port.close();
		this.#workers.length = 0;
	}
	#close(name) {
		const control = this.#control;
		Atomics.and(control, 0, -1025);
		for (let i = 0; i < this.#spins; i++) if ((Atomics.load(control, 0) & 1023) === 0) return;
		let hasEnded = false;
		for (;;) {
			const left = Atomics.load(control, 5);
			if ((Atomics.load(control, 0) & 1023) === 0) return;
			if (Atomics.wait(control, 5, left, LOOK_MS) !== "timed-out") continue;
			const inside = this.#workers.filter((_, i) => Atomics.load(this.#places, i) === 2);
			const dead = inside.filter(hasDied);
			if (dead.length === 0 || dead.length < inside.length) hasEnded = false;
			else if (!hasEnded) hasEnded = true;
			else throw this.#lose(`it was in kernel ${name}`);
		}
	}
	#lose(cause) {
		this.#lost ??= new EngineError(`a thread of the cpu engine ended: ${reasonOf$1(cause)}`, {
			cause,
			hint: LOST_HINT
		});
		return this.#lost;
	}
	#failures() {
		this.#control[6] = 0;
		const failures = [];
		for (const { port } of this.#workers) for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) failures.push(got.message);
		return failures;
	}
	#announce(message) {
		for (const { port } of this.#workers) port.postMessage(message);
		Atomics.add(this.#control, 7, 1);
	}
	#start(module, heap, index) {
		const { port1, port2 } = new MessageChannel();
		const workerData = {
			module,
			memory: heap.memory,
			scratch: heap.alloc(SCRATCH_BYTES),
			port: port2,
			spins: this.#spins,
			places: this.#places,
			index
		};
		let worker;
		try {
			worker = new Worker(pool_worker_default, {
				eval: true,
				workerData,
				transferList: [port2],
				name: "cpu engine"
			});
		} catch (cause) {
			port1.close();
			this.dispose();
			throw new EngineError(`thread ${index + 2} of ${this.threads} of the cpu engine does not start: ${reasonOf$1(cause)}`, {
				cause,
				hint: "The system allows this process no more threads, or has no memory for them. Ask for fewer `threads`."
			});
		}
		const thread = {
			worker,
			port: port1,
			isWatched: false
		};
		this.#workers.push(thread);
		port1.unref();
		return new Promise((resolve, reject) => {
			worker.once("message", () => {
				if (!this.#disposed) worker.unref();
				thread.isWatched = worker.performance.eventLoopUtilization().active > 0;
				Atomics.store(this.#places, index, 1);
				Atomics.notify(this.#places, index);
				resolve();
			});
			const lose = (cause) => {
				if (this.#disposed) resolve();
				else reject(this.#lose(cause));
			};
			worker.on("error", lose);
			worker.once("exit", (code) => lose(`exit code ${code}`));
		});
	}
};
function hasDied({ worker, isWatched }) {
	if (!isWatched) return false;
	const { idle, active } = worker.performance.eventLoopUtilization();
	return idle < 0 || active === 0;
}
function failed(kernel, how, cause) {
	return new EngineError(`kernel ${kernel} ${how}: ${reasonOf$1(cause)}`, { cause });
}
// src/engine/cpu/cpu-runtime.ts
var CpuRuntime = class {
	heap;
	threads;
	relaxedSimd;
	ready;
	#pool;
	#weightBytes = 0;
	constructor(options = {}) {
		const threads = options.threads ?? availableParallelism();
		if (!Number.isInteger(threads) || threads < 1 || threads > 512) throw new ConfigError(`threads must be an integer from 1 to 512, not ${threads}`);
		const relaxed = Buffer.from(KERNELS_RELAXED, "base64");
		this.relaxedSimd = WebAssembly.validate(relaxed);
		const module = new WebAssembly.Module(this.relaxedSimd ? relaxed : Buffer.from(KERNELS, "base64"));
		this.threads = threads;
		this.heap = new Heap(options.maxBytes);
		this.#pool = new Pool(module, this.heap, {
			threads,
			spins: options.spins ?? 4e4
		});
		this.ready = this.#pool.ready;
	}
	get weightBytes() {
		return this.#weightBytes;
	}
	alloc(bytes) {
		return this.heap.alloc(bytes);
	}
	free(ptr) {
		this.heap.free(ptr);
	}
	f32(ptr, length) {
		return this.heap.f32.subarray(ptr >>> 2, (ptr >>> 2) + length);
	}
	f64(ptr, length) {
		return new Float64Array(this.heap.memory.buffer, ptr, length);
	}
	u8(ptr, length) {
		return this.heap.u8.subarray(ptr, ptr + length);
	}
	allocI32(values) {
		const ptr = this.alloc(4 * values.length);
		this.heap.i32.set(values, ptr >>> 2);
		return ptr;
	}
	parallel(kernel, count, grain, ints, floats = []) {
		this.#pool.run(kernel, count, grain, ints, floats);
	}
	matmul(product) {
		matmul(this.#pool, this.heap, product);
	}
	addWeight({ id, buffer, rowBytes }) {
		this.#pool.addWeight({
			id,
			buffer,
			rowBytes
		});
		this.#weightBytes += buffer.byteLength;
	}
	dropWeight({ id, buffer }) {
		this.#pool.dropWeight(id);
		this.#weightBytes -= buffer.byteLength;
	}
	async dispose() {
		await this.#pool.dispose();
	}
};
// src/engine/cpu/operations/cross-entropy.ts
const OPERATION$9 = "crossEntropy";
const MAX_LOGITS = 1 << 24;
function crossEntropy$1(store) {
	return {
		forward([input], { head, targets, scale, smoothing = 0, weights }, record) {
			const hidden = store.matrix(input, OPERATION$9, "hidden");
			const [rows, columns] = hidden.shape;
			const weight = store.weights.useMatrix(head, columns, OPERATION$9);
			const vocabulary = weight.rows;
			if (targets.length !== rows) throw new EngineError(`${OPERATION$9}: ${targets.length} targets for ${rows} rows`);
			checkRows(targets, vocabulary, OPERATION$9);
			checkRowWeights(weights, rows, OPERATION$9);
			const loss = store.create([1]);
			const rowLoss = store.create([rows]);
			const gradient = record ? store.saved(store.create(hidden.shape)) : void 0;
			const block = Math.max(1, Math.min(rows, Math.floor(MAX_LOGITS / vocabulary)));
			const logits = store.create([block, vocabulary]);
			const factors = weights && store.create([rows]);
			if (factors) store.values(factors).set(weights);
			store.withTable(targets, (table) => {
				for (let row = 0; row < rows; row += block) {
					const m = Math.min(block, rows - row);
					const a = hidden.ptr + 4 * row * columns;
					weight.product(m, a, logits.ptr);
					const factor = factors ? factors.ptr + 4 * row : 0;
					const ints = [
						logits.ptr,
						vocabulary,
						table + 4 * row,
						rowLoss.ptr + 4 * row,
						gradient ? 1 : 0,
						factor
					];
					store.byRows("softmaxLoss", m, 8 * vocabulary, ints, [scale, smoothing]);
					if (!gradient) continue;
					weight.transposedProduct(m, logits.ptr, gradient.ptr + 4 * row * columns);
				}
			});
			store.release(logits);
			if (factors) store.release(factors);
			const total = store.values(rowLoss).reduce((sum, value, row) => sum + (weights ? weights[row] * value : value), 0);
			store.values(loss)[0] = scale * total;
			return {
				outputs: [loss, rowLoss],
				saved: gradient ? [gradient] : []
			};
		},
		backward([saved], [lossGradient], _attributes, needs) {
			if (!lossGradient || !needs[0]) return [void 0];
			const gradient = store.use(saved, OPERATION$9);
			const factor = store.values(store.use(lossGradient, OPERATION$9))[0];
			const dx = store.create(gradient.shape);
			store.elementwise("multiply", gradient.size, [gradient.ptr, dx.ptr], [factor]);
			return [dx];
		}
	};
}
// src/engine/cpu/operations/rows.ts
function gather$1(store, source, rows) {
	const columns = source.shape[1];
	const out = store.create([rows.length, columns]);
	store.withTable(rows, (table) => {
		store.byRows("gatherRows", rows.length, columns, [
			source.ptr,
			table,
			out.ptr,
			columns
		]);
	});
	return out;
}
function scatter(store, source, rows, target) {
	const columns = target.shape[1];
	store.withTable(rows, (table) => {
		store.byRows("scatterRows", rows.length, columns, [
			source?.ptr ?? 0,
			table,
			target.ptr,
			columns
		]);
	});
}
function sumRows$1(store, dy, { starts, places }) {
	const [rows, columns] = [starts.length - 1, dy.shape[1]];
	const dx = store.create([rows, columns]);
	store.withTable([...starts, ...places], (table) => {
		const ints = [
			dy.ptr,
			table,
			table + 4 * starts.length,
			dx.ptr,
			columns
		];
		store.byRows("sumRows", rows, columns * Math.ceil(places.length / Math.max(1, rows)), ints);
	});
	return dx;
}
function addNoise(values, noise) {
	const added = uniformNoise(noise, values.length / noise.rowKeys.length);
	for (let i = 0; i < values.length; i++) values[i] += added[i];
}
function embedding$1(store) {
	return {
		forward(_inputs, { table, ids, noise }) {
			const weight = store.weights.use(table, "embedding");
			checkRows(ids, weight.rows, "embedding");
			if (noise) checkNoise(noise, ids.length);
			const out = store.create([ids.length, weight.columns]);
			weight.gatherRows(ids, out.ptr);
			if (noise) addNoise(store.values(out), noise);
			return {
				outputs: [out],
				saved: []
			};
		},
		backward: () => []
	};
}
function gatherRows$1(store) {
	return {
		forward([input], { rows }, record) {
			const x = store.matrix(input, "gatherRows", "x");
			checkRows(rows, x.shape[0], "gatherRows");
			return {
				outputs: [gather$1(store, x, rows)],
				saved: record ? [store.saved(store.create([0, x.shape[0]]))] : []
			};
		},
		backward([shape], [gradient], { rows }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const dy = store.matrix(gradient, "gatherRows", "output gradient", { rows: rows.length });
			const count = shape.shape[1];
			const repeated = repeatedPlaces(rows, count, "gatherRows");
			if (repeated) return [sumRows$1(store, dy, repeated)];
			const dx = store.zeros([count, dy.shape[1]]);
			scatter(store, dy, rows, dx);
			return [dx];
		}
	};
}
function scatterRows$1(store) {
	return {
		forward(inputs, { rows }) {
			const base = store.matrix(inputs[0], "scatterRows", "base");
			const source = store.matrix(inputs[1], "scatterRows", "source", {
				rows: rows.length,
				columns: base.shape[1]
			});
			checkDistinctRows(rows, base.shape[0], "scatterRows");
			const out = store.create(base.shape);
			store.values(out).set(store.values(base));
			scatter(store, source, rows, out);
			return {
				outputs: [out],
				saved: []
			};
		},
		backward(_saved, [gradient], { rows }, needs) {
			if (!gradient) return [void 0, void 0];
			const dy = store.matrix(gradient, "scatterRows", "output gradient");
			let dBase;
			if (needs[0]) {
				dBase = store.create(dy.shape);
				store.values(dBase).set(store.values(dy));
				scatter(store, void 0, rows, dBase);
			}
			return [dBase, needs[1] ? gather$1(store, dy, rows) : void 0];
		}
	};
}
function mergePatches$1(store) {
	return {
		forward([input], attributes) {
			const x = store.matrix(input, "mergePatches", "x");
			const [patches, columns] = x.shape;
			const block = attributes.merge ** 2;
			const order = patchOrder(attributes, patches);
			const out = store.create([patches / block, columns * block]);
			store.withTable(order, (table) => {
				const ints = [
					x.ptr,
					table,
					out.ptr,
					columns,
					block
				];
				store.byRows("mergePatches", patches / block, columns * block * 4, ints);
			});
			return {
				outputs: [out],
				saved: []
			};
		},
		backward(_saved, [gradient], attributes, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const dy = store.matrix(gradient, "mergePatches", "output gradient");
			const block = attributes.merge ** 2;
			const [rows, wide] = dy.shape;
			const dx = store.create([rows * block, wide / block]);
			store.withTable(patchOrder(attributes, rows * block), (table) => {
				store.byRows("splitPatches", rows, wide * 4, [
					dy.ptr,
					table,
					dx.ptr,
					wide / block,
					block
				]);
			});
			return [dx];
		}
	};
}
// src/engine/compositions.ts
const COMPOSITIONS = {
	attentionBlock: { *compose(runner, inputs, { norm, projections, rotary, attention, cache, keyRows }) {
		const [normed, ...sum] = runner.apply("rmsNorm", inputs, norm);
		const [q, k, v] = runner.apply("linear", [normed], { parts: projections });
		if (isTurnDue()) yield 0;
		const [rotatedQ, rotatedK] = runner.apply("rotary", [q, k], rotary);
		const [ownK, ownV] = keyRows ? [rotatedK, v].map((x) => gather(runner, x, keyRows)) : [rotatedK, v];
		const keysAndValues = cache ? append(runner, cache, ownK, ownV) : [ownK, ownV];
		const [attended] = runner.apply("attention", [rotatedQ, ...keysAndValues], attention);
		return [attended, ...sum];
	} },
	gatedBlock: { *compose(runner, inputs, { norm, gateUp, activation, down }) {
		const [normed, ...sum] = runner.apply("rmsNorm", inputs, norm);
		const gateAndUp = runner.apply("linear", [normed], { parts: gateUp });
		if (isTurnDue()) yield 0;
		const gated = runner.apply("gatedActivation", gateAndUp, { activation });
		const [y] = runner.apply("linear", gated, { parts: [down] });
		return [y, ...sum];
	} }
};
function gather(runner, x, rows) {
	return runner.apply("gatherRows", [x], { rows })[0];
}
function append({ engine }, { keys, values, rows }, k, v) {
	engine.writeRows(keys, k, rows);
	engine.writeRows(values, v, rows);
	return [keys, values];
}
// src/engine/cpu/operations/attention.ts
const OPERATION$8 = "attention";
const TILE_ROWS = 64;
const MAX_HEAD_DIM = 512;
const GRAIN = 2e5;
function tilesOf({ queryStarts, keyStarts }) {
	const tiles = [];
	for (let s = 0; s < keyStarts.length; s++) for (let row = queryStarts[s]; row < queryStarts[s + 1]; row += TILE_ROWS) tiles.push(s, row);
	return tiles;
}
function overlaps({ keyStarts, keyLengths }) {
	const order = [...keyStarts.keys()].filter((s) => keyLengths[s] > 0).sort((a, b) => keyStarts[a] - keyStarts[b]);
	return order.some((s, i) => i > 0 && keyStarts[order[i - 1]] + keyLengths[order[i - 1]] > keyStarts[s]);
}
function grainOf(multiplications, items) {
	return Math.max(1, Math.floor(GRAIN * items / Math.max(1, multiplications)));
}
function pairsOf({ queryStarts, keyLengths }) {
	return keyLengths.reduce((sum, length, s) => sum + length * (queryStarts[s + 1] - queryStarts[s]), 0);
}
function attention$1(store) {
	return {
		forward(inputs, attributes, record) {
			const { heads, kvHeads, headDim, scale, causal, segments } = attributes;
			const q = store.matrix(inputs[0], OPERATION$8, "q", { columns: heads * headDim });
			const k = store.matrix(inputs[1], OPERATION$8, "k", { columns: kvHeads * headDim });
			const v = store.matrix(inputs[2], OPERATION$8, "v", {
				rows: k.shape[0],
				columns: kvHeads * headDim
			});
			const rows = q.shape[0];
			checkAttention(attributes, rows, k.shape[0], MAX_HEAD_DIM);
			const { queryStarts, keyStarts, keyLengths } = segments;
			const tiles = tilesOf(segments);
			const items = tiles.length / 2 * heads;
			const out = store.create(q.shape);
			const lse = record ? store.saved(store.create([heads, rows])) : void 0;
			store.withTable([
				...tiles,
				...queryStarts,
				...keyStarts,
				...keyLengths
			], (table) => {
				const starts = table + 4 * tiles.length;
				const keys = starts + 4 * queryStarts.length;
				const tables = [
					table,
					starts,
					keys,
					keys + 4 * keyStarts.length
				];
				const pointers = [
					q.ptr,
					k.ptr,
					v.ptr,
					out.ptr,
					lse?.ptr ?? 0,
					...tables
				];
				const grain = grainOf(2 * pairsOf(segments) * heads * headDim, items);
				store.runtime.parallel("attention", items, grain, [
					...pointers,
					heads,
					kvHeads,
					headDim,
					rows,
					causal ? 1 : 0
				], [scale]);
			});
			return {
				outputs: [out],
				saved: lse ? [
					q,
					k,
					v,
					out,
					lse
				] : []
			};
		},
		backward(saved, [gradient], attributes, needs) {
			if (!gradient || !needs.includes(true)) return [
				void 0,
				void 0,
				void 0
			];
			const { heads, kvHeads, headDim, scale, causal, segments } = attributes;
			const { queryStarts, keyStarts, keyLengths } = segments;
			const tensors = saved.map((tensor) => store.use(tensor, OPERATION$8));
			const rows = tensors[0].shape[0];
			const dout = store.matrix(gradient, OPERATION$8, "output gradient", {
				rows,
				columns: heads * headDim
			});
			const results = [
				0,
				1,
				2
			].map((i) => needs[i] ? store.zeros(tensors[i].shape) : void 0);
			const rowSums = store.create([heads, rows]);
			const count = keyStarts.length;
			const perItem = overlaps(segments) ? count : 1;
			const items = Math.ceil(count / perItem) * kvHeads;
			store.withTable([
				...queryStarts,
				...keyStarts,
				...keyLengths
			], (table) => {
				const keys = table + 4 * queryStarts.length;
				const pointers = [
					...tensors,
					dout,
					...results,
					rowSums
				].map((tensor) => tensor?.ptr ?? 0);
				const tables = [
					table,
					keys,
					keys + 4 * count
				];
				const sizes = [
					heads,
					kvHeads,
					headDim,
					rows,
					causal ? 1 : 0,
					count,
					perItem
				];
				const grain = grainOf(5 * pairsOf(segments) * heads * headDim, items);
				store.runtime.parallel("attentionBackward", items, grain, [
					...pointers,
					...tables,
					...sizes
				], [scale]);
			});
			store.release(rowSums);
			return results;
		}
	};
}
// src/engine/cpu/operations/elementwise.ts
const KIND = {
	silu: 0,
	gelu: 1,
	gelu_tanh: 2,
	relu: 3
};
function activation$1(store) {
	return {
		forward([input], { activation: kind }, record) {
			const x = store.use(input, "activation");
			const y = store.create(x.shape);
			store.elementwise("activate", x.size, [
				x.ptr,
				y.ptr,
				KIND[kind]
			]);
			return {
				outputs: [y],
				saved: record ? [x] : []
			};
		},
		backward([input], [gradient], { activation: kind }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const x = store.use(input, "activation");
			const dy = store.like(gradient, x, "activation", "output gradient");
			const dx = store.create(x.shape);
			store.elementwise("activateBackward", x.size, [
				x.ptr,
				dy.ptr,
				dx.ptr,
				KIND[kind]
			]);
			return [dx];
		}
	};
}
function gatedActivation$1(store) {
	const operation = "gatedActivation";
	return {
		forward(inputs, { activation: kind }, record) {
			const gate = store.use(inputs[0], operation);
			const up = store.like(inputs[1], gate, operation, "up");
			const y = store.create(gate.shape);
			store.elementwise("gatedActivate", gate.size, [
				gate.ptr,
				up.ptr,
				y.ptr,
				KIND[kind]
			]);
			return {
				outputs: [y],
				saved: record ? [gate, up] : []
			};
		},
		backward(saved, [gradient], { activation: kind }, needs) {
			if (!gradient || !needs.includes(true)) return [void 0, void 0];
			const [gate, up] = saved.map((tensor) => store.use(tensor, operation));
			const dy = store.like(gradient, gate, operation, "output gradient");
			const dGate = needs[0] ? store.create(gate.shape) : void 0;
			const dUp = needs[1] ? store.create(gate.shape) : void 0;
			const pointers = [
				gate.ptr,
				up.ptr,
				dy.ptr,
				dGate?.ptr ?? 0,
				dUp?.ptr ?? 0
			];
			store.elementwise("gatedActivateBackward", gate.size, [...pointers, KIND[kind]]);
			return [dGate, dUp];
		}
	};
}
function add$1(store) {
	return {
		forward(inputs) {
			const a = store.use(inputs[0], "add");
			const b = store.like(inputs[1], a, "add", "b");
			const sum = store.create(a.shape);
			store.elementwise("add", a.size, [
				a.ptr,
				b.ptr,
				sum.ptr
			]);
			return {
				outputs: [sum],
				saved: []
			};
		},
		backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs)
	};
}
// src/engine/cpu/operations/linear.ts
const OPERATION$7 = "linear";
function loraOf(store, lora, weight) {
	const rank = lora.a.shape[0] ?? 0;
	store.matrix(lora.a.value, OPERATION$7, `A of ${weight.name}`, {
		rows: rank,
		columns: weight.columns
	});
	store.matrix(lora.b.value, OPERATION$7, `B of ${weight.name}`, {
		rows: weight.rows,
		columns: rank
	});
	return {
		rank,
		a: store.use(lora.a.value, OPERATION$7).ptr,
		b: store.use(lora.b.value, OPERATION$7).ptr
	};
}
function dropout$1(store, lora, x, out, accumulate) {
	const [rows, columns] = x.shape;
	store.withTable(lora.rowKeys, (keys) => {
		const ints = [
			x.ptr,
			out.ptr,
			keys,
			columns,
			lora.seed,
			dropoutThreshold(lora.dropout),
			accumulate ? 1 : 0
		];
		store.byRows("dropout", rows, columns, ints, [dropoutScale(lora.dropout)]);
	});
}
function withDropped(store, lora, x, body) {
	if (lora.dropout === 0) body(x);
	else {
		const dropped = store.create(x.shape);
		dropout$1(store, lora, x, dropped, false);
		body(dropped);
		store.release(dropped);
	}
}
function forwardPart$1(store, x, part) {
	const [m, k] = x.shape;
	const weight = store.weights.useMatrix(part.weight, k, OPERATION$7);
	const n = weight.rows;
	const lora = part.lora;
	const pair = lora && loraOf(store, lora, weight);
	const bias = part.bias && store.vector(part.bias, n, OPERATION$7);
	const y = store.create([m, n]);
	weight.product(m, x.ptr, y.ptr);
	if (bias !== void 0) store.byRows("addBias", m, n, [
		y.ptr,
		bias,
		n
	]);
	if (!lora || !pair) return {
		y,
		low: void 0
	};
	const { runtime } = store;
	const { rank, a, b } = pair;
	const low = store.saved(store.create([m, rank]));
	withDropped(store, lora, x, (dropped) => {
		runtime.matmul({
			m,
			n: rank,
			k,
			a: dropped.ptr,
			b: a,
			transB: true,
			c: low.ptr
		});
	});
	runtime.matmul({
		m,
		n,
		k: rank,
		a: low.ptr,
		b,
		transB: true,
		c: y.ptr,
		alpha: lora.scale,
		beta: 1
	});
	return {
		y,
		low
	};
}
function backwardLora$1(store, x, low, dy, weight, lora, dx) {
	const [m, k] = x.shape;
	const n = weight.rows;
	const { runtime } = store;
	const { rank, a, b } = loraOf(store, lora, weight);
	const dLow = store.create([m, rank]);
	runtime.matmul({
		m,
		n: rank,
		k: n,
		a: dy.ptr,
		b,
		c: dLow.ptr,
		alpha: lora.scale
	});
	const [gradA, gradB] = [lora.a.grad, lora.b.grad].map((grad) => {
		const tensor = store.use(grad, OPERATION$7);
		tensor.isTouched = true;
		return tensor.ptr;
	});
	runtime.matmul({
		m: n,
		n: rank,
		k: m,
		a: dy.ptr,
		transA: true,
		b: low.ptr,
		c: gradB,
		alpha: lora.scale,
		beta: 1
	});
	withDropped(store, lora, x, (dropped) => {
		runtime.matmul({
			m: rank,
			n: k,
			k: m,
			a: dLow.ptr,
			transA: true,
			b: dropped.ptr,
			c: gradA,
			beta: 1
		});
	});
	if (dx && lora.dropout === 0) runtime.matmul({
		m,
		n: k,
		k: rank,
		a: dLow.ptr,
		b: a,
		c: dx.ptr,
		beta: 1
	});
	else if (dx) {
		const share = store.create(x.shape);
		runtime.matmul({
			m,
			n: k,
			k: rank,
			a: dLow.ptr,
			b: a,
			c: share.ptr
		});
		dropout$1(store, lora, share, dx, true);
		store.release(share);
	}
	store.release(dLow);
}
function linear$2(store) {
	return {
		forward(inputs, { parts }, record) {
			const x = store.matrix(inputs[0], OPERATION$7, "x");
			rowKeysOf(parts, x.shape[0]);
			const results = parts.map((part) => forwardPart$1(store, x, part));
			const saved = [];
			if (record && results.some(({ low }) => low)) saved.push(x);
			for (const { low } of results) if (low && record) saved.push(low);
			else if (low) store.release(low);
			return {
				outputs: results.map(({ y }) => y),
				saved
			};
		},
		backward(saved, outputGradients, { parts }, needs) {
			const gradients = outputGradients.map((dy) => dy && store.matrix(dy, OPERATION$7, "output gradient"));
			const known = gradients.find((dy) => dy);
			if (!known) return [void 0];
			const m = known.shape[0];
			let dx;
			let low = 1;
			for (const [i, part] of parts.entries()) {
				const u = part.lora ? saved[low++] : void 0;
				const dy = gradients[i];
				if (!dy) continue;
				const weight = store.weights.use(part.weight, OPERATION$7);
				const k = weight.columns;
				if (needs[0]) {
					const beta = dx ? 1 : 0;
					dx ??= store.create([m, k]);
					weight.transposedProduct(m, dy.ptr, dx.ptr, beta);
				}
				if (!part.lora) continue;
				backwardLora$1(store, store.matrix(saved[0], OPERATION$7, "saved x", {
					rows: m,
					columns: k
				}), store.matrix(u, OPERATION$7, "saved u", { rows: m }), dy, weight, part.lora, dx);
			}
			return [dx];
		}
	};
}
// src/engine/cpu/operations/rms-norm.ts
const OPERATION$6 = "rmsNorm";
function rmsNorm$1(store) {
	return {
		forward(inputs, { weight, eps }, record) {
			const x = store.matrix(inputs[0], OPERATION$6, "x");
			const [rows, columns] = x.shape;
			const residual = inputs[1] && store.matrix(inputs[1], OPERATION$6, "residual", {
				rows,
				columns
			});
			const scale = store.vector(weight, columns, OPERATION$6);
			const y = store.create(x.shape);
			const sum = residual && store.create(x.shape);
			const rstd = record ? store.saved(store.create([rows])) : void 0;
			const ints = [
				x.ptr,
				residual?.ptr ?? 0,
				scale,
				y.ptr,
				sum?.ptr ?? 0,
				rstd?.ptr ?? 0,
				columns
			];
			store.byRows("rmsNorm", rows, columns, ints, [eps]);
			return {
				outputs: sum ? [y, sum] : [y],
				saved: rstd ? [sum ?? x, rstd] : []
			};
		},
		backward(saved, [dy, dSum], { weight }, needs) {
			const sum = store.matrix(saved[0], OPERATION$6, "saved sum");
			const [rows, columns] = sum.shape;
			const direct = dSum && store.matrix(dSum, OPERATION$6, "gradient of the sum", {
				rows,
				columns
			});
			if (!needs.includes(true)) return needs.map(() => void 0);
			let dx = direct;
			if (dy) {
				const gradient = store.matrix(dy, OPERATION$6, "gradient of y", {
					rows,
					columns
				});
				const rstd = store.use(saved[1], OPERATION$6);
				const scale = store.vector(weight, columns, OPERATION$6);
				dx = store.create(sum.shape);
				const ints = [
					gradient.ptr,
					direct?.ptr ?? 0,
					sum.ptr,
					rstd.ptr,
					scale,
					dx.ptr,
					columns
				];
				store.byRows("rmsNormBackward", rows, columns, ints);
			}
			return store.shared(dx, needs, dy ? 1 : 0);
		}
	};
}
// src/engine/cpu/operations/rotary.ts
const OPERATION$5 = "rotary";
function turn$1(store, input, attributes, isQuery, sign) {
	const { headDim, cos, sin, queryScale } = attributes;
	const x = store.matrix(input, OPERATION$5, isQuery ? "q" : "k");
	const [rows, columns] = x.shape;
	const heads = rotaryHeads(columns, headDim);
	const tables = [cos, sin].map((table) => store.matrix(table, OPERATION$5, "cos or sin", {
		rows,
		columns: headDim / 2
	}).ptr);
	const scale = isQuery && queryScale ? store.use(queryScale, OPERATION$5) : void 0;
	if (scale && scale.size !== rows) throw new EngineError(`${OPERATION$5}: queryScale has ${scale.size} of ${rows} rows`);
	const out = store.create(x.shape);
	const ints = [
		x.ptr,
		out.ptr,
		...tables,
		scale?.ptr ?? 0,
		heads,
		headDim
	];
	store.byRows("rotary", rows, columns, ints, [sign]);
	return out;
}
function rotary$1(store) {
	return rotaryByTensor((...given) => turn$1(store, ...given));
}
// src/engine/cpu/operations.ts
function cpuOperations(store) {
	return {
		...COMPOSITIONS,
		embedding: embedding$1(store),
		linear: linear$2(store),
		rmsNorm: rmsNorm$1(store),
		rotary: rotary$1(store),
		attention: attention$1(store),
		gatedActivation: gatedActivation$1(store),
		activation: activation$1(store),
		add: add$1(store),
		mergePatches: mergePatches$1(store),
		gatherRows: gatherRows$1(store),
		scatterRows: scatterRows$1(store),
		crossEntropy: crossEntropy$1(store)
	};
}
// src/engine/cpu/stored-weight.ts
const KERNEL_FORMATS = {
	f32: 0,
	bf16: 1,
	f16: 2
};
const PIECE_BYTES = 4 << 20;
const MAX_WIDENED = 65536;
let nextId = 1;
var StoredWeight = class StoredWeight {
	id = nextId++;
	name;
	shape;
	dtype;
	held;
	rows;
	columns;
	kernelFormat;
	rowBytes;
	byteLength;
	buffer;
	bytes;
	widened;
	#runtime;
	constructor(runtime, name, shape, dtype, layout) {
		this.#runtime = runtime;
		this.name = name;
		this.shape = shape;
		this.dtype = dtype;
		this.held = layout?.held;
		this.columns = shape.at(-1) ?? 1;
		this.rows = sizeOf$1(shape.slice(0, -1));
		this.kernelFormat = layout?.kernelFormat ?? KERNEL_FORMATS[dtype];
		this.rowBytes = layout?.rowBytes ?? this.columns * DTYPE_BYTES[dtype];
		this.byteLength = layout?.byteLength ?? this.rows * this.rowBytes;
		try {
			this.buffer = new SharedArrayBuffer(this.byteLength);
		} catch (cause) {
			throw new EngineError(`cannot allocate ${this.byteLength} bytes for the weight ${name}`, {
				cause,
				hint: "The machine has too little free memory for this model."
			});
		}
		this.bytes = new Uint8Array(this.buffer);
		runtime.addWeight(this);
	}
	static async load(runtime, stored) {
		const source = dequantizedSource(stored);
		requireBytes(source);
		return new StoredWeight(runtime, source.name, source.shape, source.dtype).fill(source);
	}
	async fill(source) {
		const { rows, columns, shape } = this;
		try {
			await this.read(source);
			if (shape.length === 1 || rows * columns <= MAX_WIDENED) {
				this.widened = this.#runtime.alloc(4 * rows * columns);
				this.widenRows(0, rows, this.widened);
			}
			return this;
		} catch (error) {
			this.release();
			throw error;
		}
	}
	read(source) {
		return readPieces(source, this.rowBytes, (bytes, at) => this.bytes.set(bytes, at));
	}
	product(m, x, y) {
		const { rows: n, columns: k } = this;
		this.#runtime.matmul({
			m,
			n,
			k,
			a: x,
			b: this.widened ?? this,
			transB: true,
			c: y
		});
	}
	transposedProduct(m, dy, dx, beta = 0) {
		const { rows: k, columns: n } = this;
		this.#runtime.matmul({
			m,
			n,
			k,
			a: dy,
			b: this.widened ?? this,
			c: dx,
			beta
		});
	}
	gatherRows(ids, target) {
		for (let i = 0; i < ids.length; i++) if (!(ids[i] >= 0 && ids[i] < this.rows)) throw this.#outside(ids[i]);
		const table = this.#runtime.allocI32(ids);
		try {
			this.#widen(table, 0, ids.length, target);
		} finally {
			this.#runtime.free(table);
		}
	}
	widenRows(start, end, target) {
		if (start < 0 || end > this.rows) throw this.#outside(start, end);
		this.#widen(0, start, end - start, target);
	}
	release() {
		this.#runtime.dropWeight(this);
		if (this.widened !== void 0) this.#runtime.free(this.widened);
		this.widened = void 0;
	}
	#widen(ids, first, rows, target) {
		const { id, kernelFormat, columns } = this;
		const grain = Math.ceil(4e4 / Math.max(1, columns));
		this.#runtime.parallel("gatherWeightRows", rows, grain, [
			ids,
			first,
			id,
			kernelFormat,
			columns,
			target
		]);
	}
	#outside(...rows) {
		return new EngineError(`${this.name} [${this.shape}] has no rows ${rows.join(" to ")}`);
	}
};
async function readPieces(source, unitBytes, take) {
	const { byteLength } = source;
	if (unitBytes === 0) return;
	const pieceBytes = unitBytes * Math.max(1, Math.floor(PIECE_BYTES / unitBytes));
	const memory = new Uint8Array(Math.min(pieceBytes, byteLength));
	for (let offset = 0; offset < byteLength; offset += pieceBytes) {
		const piece = memory.subarray(0, Math.min(pieceBytes, byteLength - offset));
		await source.read(piece, offset);
		take(piece, offset);
	}
}
// src/engine/cpu/e4m3-weight.ts
const KERNEL_FORMAT$1 = 4;
const HEADER_BYTES$1 = 16;
var E4m3Weight = class E4m3Weight extends StoredWeight {
	#scales;
	#scalesAt;
	constructor(runtime, source, scales) {
		const { name, shape, dtype } = source;
		const scalesAt = 4 * Math.ceil((HEADER_BYTES$1 + sizeOf$1(shape)) / 4);
		super(runtime, name, shape, dtype === "f32" || dtype === "f16" ? dtype : "bf16", {
			held: "f8_e4m3",
			kernelFormat: KERNEL_FORMAT$1,
			rowBytes: shape.at(-1),
			byteLength: scalesAt + 4 * scales.factors.length
		});
		this.#scales = scales;
		this.#scalesAt = scalesAt;
	}
	static async load(runtime, stored) {
		const source = stored.dtype === "f8_e4m3" ? stored : dequantizedSource(stored);
		requireBytes(source);
		return new E4m3Weight(runtime, source, await scalesOf(source)).fill(source);
	}
	async read(source) {
		const { name, dtype, columns } = this;
		const { factors, block, across } = this.#scales;
		const codes = this.bytes.subarray(HEADER_BYTES$1, HEADER_BYTES$1 + sizeOf$1(this.shape));
		if (source.dtype === "f8_e4m3") await readPieces(source, 1, (piece, at) => {
			if (piece.some((code) => (code & 127) === 127)) refuseNaN(name);
			codes.set(piece, at);
		});
		else {
			const rowBytes = columns * DTYPE_BYTES[dtype];
			await readPieces(source, rowBytes, (piece, at) => {
				const row = at / rowBytes;
				quantizeRows(name, widen(piece, dtype), columns, codes.subarray(row * columns), factors.subarray(row));
			});
		}
		new Int32Array(this.buffer, 0, 4).set([
			...block,
			across,
			this.#scalesAt
		]);
		new Float32Array(this.buffer, this.#scalesAt).set(factors);
	}
};
async function scalesOf(source) {
	if (source.dtype === "f8_e4m3") return readScale(source);
	const columns = source.shape.at(-1);
	return {
		factors: new Float32Array(sizeOf$1(source.shape.slice(0, -1))),
		block: [1, columns],
		across: 1
	};
}
// src/engine/cpu/nf4-weight.ts
const KERNEL_FORMAT = 3;
const HEADER_BYTES = 1120;
var Nf4Weight = class Nf4Weight extends StoredWeight {
	#blocks;
	#stored;
	constructor(runtime, source, blocks, stored) {
		const { name, shape, dtype } = source;
		requireBlocks(name, blocks);
		super(runtime, name, shape, dtype === "f32" || dtype === "f16" ? dtype : "bf16", {
			held: "nf4",
			kernelFormat: KERNEL_FORMAT,
			rowBytes: Math.floor(shape.at(-1) / 2),
			byteLength: layoutOf(sizeOf$1(shape), blocks).byteLength
		});
		this.#blocks = blocks;
		this.#stored = stored;
	}
	static async load(runtime, source) {
		if (source.dtype !== "nf4") {
			const { blockSize, doubleQuantization } = source.hold;
			const blocks = {
				blockSize,
				nestedBlockSize: doubleQuantization ? 256 : 0
			};
			const values = dequantizedSource(source);
			requireBytes(values);
			return new Nf4Weight(runtime, values, blocks).fill(values);
		}
		requireBytes(source);
		const { name, shape, quantState } = source;
		if (!quantState) throw new EngineError(`loadWeight: ${name} has 4-bit values but no quant state`);
		const stored = await quantState.read();
		const nestedBlockSize = "absmax" in stored ? 0 : stored.nestedBlockSize;
		const blocks = {
			blockSize: quantState.blockSize,
			nestedBlockSize
		};
		const { count, nested } = layoutOf(sizeOf$1(shape), blocks);
		const [given, givenNested] = "absmax" in stored ? [stored.absmax.length, 0] : [stored.codes.length, stored.nestedAbsmax.length];
		if (given !== count || givenNested !== nested) throw new EngineError(`loadWeight: ${name} [${shape.join(", ")}] came with ${given} absmax and ${givenNested} nested ones, expected ${count} and ${nested} in blocks of ${blocks.blockSize} and ${nestedBlockSize}`);
		return new Nf4Weight(runtime, source, blocks, stored).fill(source);
	}
	async read(source) {
		const { codesEnd } = layoutOf(sizeOf$1(this.shape), this.#blocks);
		const codes = this.bytes.subarray(HEADER_BYTES, codesEnd);
		if (this.#stored) {
			await readPieces(source, 1, (piece, at) => codes.set(piece, at));
			this.#writeFactors(this.#stored);
			return;
		}
		const quantizer = new Nf4Quantizer(this.name, sizeOf$1(this.shape), this.#blocks.blockSize, codes);
		await readPieces(source, 4, (piece) => quantizer.push(widen(piece, this.dtype)));
		this.#writeFactors(quantizer.finish(this.#blocks.nestedBlockSize > 0));
	}
	#writeFactors(absmax) {
		const { blockSize, nestedBlockSize } = this.#blocks;
		const { absmaxAt, nestedAt } = layoutOf(sizeOf$1(this.shape), this.#blocks);
		const fields = new Int32Array(this.buffer, 0, 8);
		const values = new Float32Array(this.buffer, 0, HEADER_BYTES / 4);
		fields.set([
			this.columns,
			Math.log2(blockSize),
			absmaxAt,
			nestedAt
		]);
		values.set(NF4_VALUES, 8);
		if ("absmax" in absmax) {
			new Float32Array(this.buffer, absmaxAt).set(absmax.absmax);
			return;
		}
		fields[4] = Math.log2(nestedBlockSize);
		values[5] = absmax.offset;
		values.set(absmax.map, 24);
		this.bytes.set(absmax.codes, absmaxAt);
		new Float32Array(this.buffer, nestedAt).set(absmax.nestedAbsmax);
	}
};
function requireBlocks(name, { blockSize, nestedBlockSize }) {
	const isPower = (size) => Number.isInteger(Math.log2(size));
	if (blockSize >= 32 && blockSize <= 4096 && isPower(blockSize)) {
		if (nestedBlockSize === 0 || nestedBlockSize <= 65536 && isPower(nestedBlockSize)) return;
	}
	throw new EngineError(`loadWeight: ${name} in blocks of ${blockSize} values and ${nestedBlockSize} absmax: expected powers of two, the first from 32 to 4096`);
}
function layoutOf(size, { blockSize, nestedBlockSize }) {
	const count = Math.ceil(size / blockSize);
	const codesEnd = HEADER_BYTES + Math.ceil(size / 2);
	const absmaxAt = 4 * Math.ceil(codesEnd / 4);
	if (nestedBlockSize === 0) return {
		count,
		nested: 0,
		codesEnd,
		absmaxAt,
		nestedAt: 0,
		byteLength: absmaxAt + 4 * count
	};
	const nested = Math.ceil(count / nestedBlockSize);
	const nestedAt = absmaxAt + 4 * Math.ceil(count / 4);
	return {
		count,
		nested,
		codesEnd,
		absmaxAt,
		nestedAt,
		byteLength: nestedAt + 4 * nested
	};
}
// src/engine/cpu/tensor-store.ts
const HELD_FORMATS = {
	nf4: Nf4Weight,
	f8_e4m3: E4m3Weight
};
var CpuTensor = class extends CountedTensor {
	ptr;
	constructor(shape, ptr, isParameter) {
		super(shape, isParameter);
		this.ptr = ptr;
	}
};
const ELEMENTWISE_BLOCK = 4096;
var TensorStore$1 = class extends CountedTensors {
	runtime;
	weights = new HeldWeights();
	constructor(runtime) {
		super(CpuTensor);
		this.runtime = runtime;
	}
	create(shape) {
		const tensor = new CpuTensor([...shape], this.runtime.alloc(4 * sizeOf$1(shape)), false);
		this.live.add(tensor);
		return tensor;
	}
	createLasting(shape) {
		return this.keep(this.zeros(shape));
	}
	zeros(shape) {
		const tensor = this.create(shape);
		this.values(tensor).fill(0);
		return tensor;
	}
	values(tensor) {
		return this.runtime.f32(tensor.ptr, tensor.size);
	}
	drop({ ptr }) {
		this.runtime.free(ptr);
	}
	async loadWeight(source) {
		const { hold, dtype, shape } = source;
		const held = dtype === "nf4" ? hold?.format ?? dtype : hold?.format;
		const format = held && shape.length > 1 ? HELD_FORMATS[held] : StoredWeight;
		return this.weights.add(await format.load(this.runtime, source));
	}
	vector(weight, length, operation) {
		return this.weights.useVector(weight, length, operation).widened;
	}
	elementwise(kernel, n, ints, floats = []) {
		this.byBlocks(kernel, n, [n, ...ints], floats);
	}
	byBlocks(kernel, n, ints, floats = []) {
		this.runtime.parallel(kernel, Math.ceil(n / ELEMENTWISE_BLOCK), 4, ints, floats);
	}
	byRows(kernel, rows, columns, ints, floats = []) {
		this.runtime.parallel(kernel, rows, Math.max(1, Math.floor(32768 / columns)), ints, floats);
	}
	withTable(values, body) {
		const ptr = this.runtime.allocI32(values);
		try {
			body(ptr);
		} finally {
			this.runtime.free(ptr);
		}
	}
};
// src/engine/cpu/cpu-engine.ts
var CpuParameterSet = class {
	parameters;
	size;
	values;
	gradients;
	constructor(parameters, values, gradients) {
		this.parameters = parameters;
		this.size = values.size;
		this.values = values;
		this.gradients = gradients;
	}
	get isReleased() {
		return this.values.isFreed;
	}
};
function runs(values, factors) {
	const found = [];
	for (let i = 0; i < values.length; i++) {
		const last = found.at(-1);
		if (last && values[i] === values[i - 1] && (!factors || factors[i] === factors[i - 1])) last.end = i + 1;
		else found.push({
			start: i,
			end: i + 1
		});
	}
	return found;
}
var CpuEngine = class extends CountingEngine {
	name = "cpu";
	tokensPerPass = 0;
	heldFormats = ["nf4", "f8_e4m3"];
	storage;
	description;
	operations;
	#runtime;
	#store;
	#states = new WeakMap();
	#torn = new WeakSet();
	constructor(options = {}) {
		const runtime = new CpuRuntime(options);
		const store = new TensorStore$1(runtime);
		super(store);
		this.#runtime = runtime;
		this.#store = store;
		this.operations = cpuOperations(this.#store);
		this.storage = {
			elementBytes: 4,
			rematerializes: false,
			keepsMasks: false,
			logits: {
				most: MAX_LOGITS,
				bytes: 4
			},
			temporaries: 1,
			scratchBytes: 1 << 17,
			rowTile: 1,
			reserveBytes: Math.round(.08 * this.#runtime.heap.limitBytes)
		};
		const { threads, relaxedSimd } = this.#runtime;
		const kernels = relaxedSimd ? "WebAssembly relaxed SIMD" : "WebAssembly SIMD";
		this.description = `cpu: float32, ${threads} ${threads === 1 ? "thread" : "threads"}, ${kernels}`;
	}
	fromArray(data, shape) {
		requireFilled(data, shape, "fromArray");
		const tensor = this.#store.create(shape);
		this.#store.values(tensor).set(data);
		return tensor;
	}
	zeros(shape) {
		return this.#store.zeros(shape);
	}
	async read(tensor) {
		return this.#store.values(this.#store.use(tensor, "read")).slice();
	}
	addInPlace(target, source) {
		const to = this.#store.use(target, "addInPlace");
		const from = this.#store.like(source, target, "addInPlace", "source");
		to.isTouched = true;
		this.#store.elementwise("add", to.size, [
			to.ptr,
			from.ptr,
			to.ptr
		]);
	}
	writeRows(target, source, rows) {
		const to = this.#store.matrix(target, "writeRows", "target");
		const from = this.#store.matrix(source, "writeRows", "source", {
			rows: rows.length,
			columns: to.shape[1]
		});
		checkDistinctRows(rows, to.shape[0], "writeRows");
		scatter(this.#store, from, rows, to);
	}
	loadWeight(source) {
		return this.#store.loadWeight(source);
	}
	async readWeight(weight) {
		const known = this.#store.weights.use(weight, "readWeight");
		const wide = new Float32Array(known.rows * known.columns);
		const block = Math.max(1, Math.min(known.rows, Math.floor((1 << 22) / known.columns)));
		const rows = this.#store.create([block, known.columns]);
		for (let row = 0; row < known.rows; row += block) {
			const end = Math.min(known.rows, row + block);
			known.widenRows(row, end, rows.ptr);
			const count = (end - row) * known.columns;
			wide.set(this.#store.values(rows).subarray(0, count), row * known.columns);
		}
		this.#store.release(rows);
		return wide;
	}
	releaseWeight(weight) {
		this.#store.weights.take(weight, "releaseWeight").release();
	}
	createParameters(specs) {
		const size = sizeOfAll(specs);
		const values = this.#store.createLasting([size]);
		let gradients;
		try {
			gradients = this.#store.createLasting([size]);
		} catch (error) {
			this.#store.release(values);
			throw error;
		}
		return new CpuParameterSet(layOut(specs, ({ shape, initial }, offset) => {
			const [value, grad] = [values, gradients].map((flat) => new CpuTensor([...shape], flat.ptr + 4 * offset, true));
			this.#store.values(value).set(initial);
			return {
				value,
				grad
			};
		}), values, gradients);
	}
	async readParameters(set, inTurns = false) {
		const known = this.#set(set);
		this.#requireWhole(known);
		const values = this.#store.values(known.values);
		if (!inTurns) return values.slice();
		const [copy] = await copyInTurns([values]);
		this.#set(set);
		this.#requireWhole(known);
		return copy;
	}
	writeParameters(set, values) {
		const known = this.#set(set);
		requireValues(known, values);
		noteChange(set);
		this.#store.values(known.values).set(values);
		this.#torn.delete(known);
	}
	async readGradients(set) {
		return this.#store.values(this.#set(set).gradients).slice();
	}
	zeroGradients(set) {
		noteChange(set);
		const { parameters, gradients } = this.#set(set);
		this.#store.values(gradients).fill(0);
		for (const { grad } of parameters) grad.isTouched = false;
	}
	releaseParameters(set) {
		requireNotTraining(set, "releaseParameters: the set");
		const { parameters, values, gradients } = this.#set(set);
		for (const { value, grad } of parameters) {
			value.isFreed = true;
			grad.isFreed = true;
		}
		this.#store.release(values);
		this.#store.release(gradients);
	}
	createOptimizerState(set, kind) {
		const known = this.#set(set);
		const { parameters, size } = known;
		const steps = new Float32Array(parameters.length);
		const state = {
			adamw: () => ({
				kind: "adamw",
				steps,
				...this.#newMoments(size)
			}),
			adamw8bit: () => ({
				kind: "adamw8bit",
				steps,
				moments: new AdamW8bitState(parameters.map((parameter) => parameter.size))
			})
		}[kind]();
		this.#states.set(state, known);
		return state;
	}
	releaseOptimizerState(_set, state) {
		if (!this.#states.delete(state)) return;
		const own = state;
		if (own.kind === "adamw") for (const moment of [own.m, own.v]) this.#store.release(moment);
	}
	optimizerStep(set, state, options) {
		requireOwnCall(set, options, "optimizerStep");
		const known = this.#set(set);
		const own = this.#state(known, state);
		if (own.kind !== options.kind) throw new EngineError(`optimizerStep: the state is of ${own.kind}, the step of ${options.kind}`);
		this.#requireWhole(known);
		this.#requireWhole(own);
		const norm = this.#gradientNorm(known.gradients);
		this.#torn.add(known).add(own);
		const scale = clipScale(norm, options.maxGradNorm);
		const steps = new Float32Array(own.steps.length);
		if (!Number.isNaN(scale)) {
			for (const [i, { grad }] of known.parameters.entries()) if (grad.isTouched) steps[i] = ++own.steps[i];
		}
		if (own.kind === "adamw8bit") {
			const [values, gradients] = [known.values, known.gradients].map((flat) => this.#store.values(flat));
			applyAdamW8bit(values, gradients, own.moments, {
				...options,
				step: 0
			}, scale, steps);
		} else {
			const flat = [
				known.values,
				known.gradients,
				own.m,
				own.v
			].map((tensor) => this.#store.use(tensor, "optimizerStep"));
			for (const { start, end } of runs(steps, options.learningRateFactors)) {
				const value = steps[start];
				if (value === 0) continue;
				const first = known.parameters[start].offset;
				const last = known.parameters[end - 1];
				const n = last.offset + last.size - first;
				const { decay, keep2, take1, take2, eps, stepSize, correction2 } = adamFactors({
					...options,
					learningRate: learningRateOf(options, start),
					step: value
				});
				const pointers = flat.map(({ ptr }) => ptr + 4 * first);
				const factors = [
					scale,
					decay,
					keep2,
					take1,
					take2,
					eps,
					stepSize,
					correction2
				];
				this.#store.byBlocks("adamW", n, [...pointers, n], factors);
			}
		}
		this.#torn.delete(known);
		this.#torn.delete(own);
		return () => Promise.resolve(norm);
	}
	async readOptimizerState(set, state) {
		const own = this.#state(this.#set(set), state);
		this.#requireWhole(own);
		const moments = own.kind === "adamw" ? this.#moments(own) : own.moments.toArrays();
		const arrays = {
			steps: own.steps,
			...moments
		};
		const copies = await copyInTurns(Object.values(arrays));
		this.#state(this.#set(set), state);
		this.#requireWhole(own);
		return Object.fromEntries(Object.keys(arrays).map((name, i) => [name, copies[i]]));
	}
	writeOptimizerState(set, state, arrays) {
		const own = this.#state(this.#set(set), state);
		const targets = own.kind === "adamw" ? {
			steps: own.steps,
			...this.#moments(own)
		} : { steps: own.steps };
		requireArrays(arrays, targets);
		if (own.kind === "adamw8bit") own.moments.fromArrays(arrays);
		for (const [name, target] of Object.entries(targets)) target.set(arrays[name]);
		this.#torn.delete(own);
	}
	memory() {
		const { heap, weightBytes } = this.#runtime;
		const [bytesInUse, peakBytes, limitBytes] = [
			heap.bytesInUse,
			heap.peakBytes,
			heap.limitBytes
		].map((bytes) => bytes + weightBytes);
		return {
			bytesInUse,
			peakBytes,
			limitBytes
		};
	}
	resetPeak() {
		this.#runtime.heap.resetPeak();
	}
	async dispose() {
		requireIdleEngine(this, "engine.dispose");
		await this.#runtime.dispose();
	}
	#newMoments(size) {
		const m = this.#store.createLasting([size]);
		try {
			return {
				m,
				v: this.#store.createLasting([size])
			};
		} catch (error) {
			this.#store.release(m);
			throw error;
		}
	}
	#moments({ m, v }) {
		const [first, second] = [m, v].map((moment) => this.#store.values(this.#store.use(moment, "optimizer state")));
		return {
			m: first,
			v: second
		};
	}
	#gradientNorm(gradients) {
		const sums = this.#runtime.alloc(8 * Math.ceil(gradients.size / ELEMENTWISE_BLOCK));
		try {
			this.#store.byBlocks("sumOfSquares", gradients.size, [
				gradients.ptr,
				sums,
				gradients.size
			]);
			const count = Math.ceil(gradients.size / ELEMENTWISE_BLOCK);
			return Math.sqrt(this.#runtime.f64(sums, count).reduce((sum, part) => sum + part, 0));
		} finally {
			this.#runtime.free(sums);
		}
	}
	#set(set) {
		return requireOwnSet(set, CpuParameterSet);
	}
	#requireWhole(one) {
		if (!this.#torn.has(one)) return;
		throw new EngineError("an optimizer step failed half-way: parameters and moments are of no whole step", { hint: "Go on from the last checkpoint (`resumeFromCheckpoint`)." });
	}
	#state(set, state) {
		if (this.#states.get(state) === set) return state;
		throw new EngineError("the optimizer state is released, or belongs to another parameter set or engine");
	}
};
function createCpuEngine(options = {}) {
	return new CpuEngine(options);
}
// src/engine/tfjs/tf-namespace.ts
const FUNCTIONS = [
	...[
		"ready",
		"getBackend",
		"memory",
		"tidy",
		"keep",
		"tensor",
		"zeros",
		"matMul",
		"add",
		"sub",
		"mul",
		"div",
		"exp"
	],
	...[
		"log",
		"rsqrt",
		"square",
		"sigmoid",
		"tanh",
		"erf",
		"relu",
		"step",
		"sum",
		"mean",
		"max",
		"reshape",
		"transpose"
	],
	...[
		"slice",
		"concat",
		"gather",
		"unstack",
		"stack"
	]
];
function asTfNamespace(given) {
	const missingIn = (space) => FUNCTIONS.filter((name) => typeof space[name] !== "function");
	const { default: inner } = given;
	const space = typeof inner === "object" && inner !== null && missingIn(given).length > 0 ? inner : given;
	const missing = missingIn(space);
	if (missing.length === 0) return space;
	throw new EngineError(`tf is not the TensorFlow.js namespace: it has no ${missing.join(", ")}`, { hint: "pass what `import * as tf from '@tensorflow/tfjs-node'` gives" });
}
function product(tf, a, b, transA = false, transB = false) {
	if (tf.getBackend() !== "wasm") return tf.matMul(a, b, transA, transB);
	if (a.shape.length === 3) {
		const right = tf.unstack(b);
		return tf.stack(tf.unstack(a).map((left, i) => product(tf, left, right[i], transA, transB)));
	}
	const turned = (x, trans) => trans ? tf.transpose(x, [1, 0]) : x;
	return tf.matMul(turned(a, transA), turned(b, transB), false, false);
}
function takeRows(tf, x, rows) {
	if (rows.length === 0) return tf.zeros([0, ...x.shape.slice(1)]);
	return tf.gather(x, tf.tensor(rows, [rows.length], "int32"));
}
// src/engine/tfjs/float32-weight.ts
const PIECE_ELEMENTS = 1 << 23;
function float32Bytes(shape) {
	return DTYPE_BYTES.f32 * sizeOf$1(shape);
}
var Float32Weight = class {
	name;
	shape;
	dtype;
	rows;
	columns;
	bytes;
	#tf;
	#data;
	constructor(tf, { name, shape, dtype }, data) {
		this.#tf = tf;
		this.name = name;
		this.shape = shape;
		this.dtype = dtype;
		this.rows = sizeOf$1(shape.slice(0, -1));
		this.columns = shape.at(-1) ?? 1;
		this.bytes = float32Bytes(shape);
		this.#data = data;
	}
	product(x) {
		return product(this.#tf, x, this.#data, false, true);
	}
	transposedProduct(dy) {
		return product(this.#tf, dy, this.#data);
	}
	gatherRows(ids) {
		return takeRows(this.#tf, this.#data, ids);
	}
	values() {
		return this.#data;
	}
	dispose() {
		this.#data.dispose();
	}
};
async function readWide(source) {
	const wide = new Float32Array(sizeOf$1(source.shape));
	const bytesEach = DTYPE_BYTES[source.dtype];
	for (let at = 0; at < wide.length; at += PIECE_ELEMENTS) {
		const target = wide.subarray(at, at + PIECE_ELEMENTS);
		if (source.dtype === "f32") {
			await source.read(new Uint8Array(target.buffer, target.byteOffset, target.byteLength), bytesEach * at);
			continue;
		}
		const stored = new Uint16Array(target.length);
		await source.read(new Uint8Array(stored.buffer), bytesEach * at);
		if (source.dtype === "bf16") bfloat16ToFloat32(stored, target);
		else float16ToFloat32(stored, target);
	}
	return wide;
}
// src/engine/tfjs/float32-needs.ts
const TENSOR_BYTES_TRAINED = 8;
const HOST_BYTES_TRAINED = 16;
function float32Needs({ weights, linear }, options) {
	const bytes = weights.map(float32Bytes);
	const trained = linear.reduce((sum, [out, input]) => sum + options.rank * (out + input), 0);
	return {
		weights: bytes.reduce((sum, one) => sum + one, 0),
		adapter: trained * (TENSOR_BYTES_TRAINED + (options.onHost ? HOST_BYTES_TRAINED : 0)),
		temporaries: bytes.reduce((most, one) => Math.max(most, one), 16 * options.blockElements)
	};
}
function hostMemory() {
	return Math.min(totalmem(), containerLimit());
}
function freeHostMemory() {
	return Math.min(freemem(), containerLimit() - process.memoryUsage.rss());
}
function containerLimit() {
	return process.constrainedMemory() || Number.POSITIVE_INFINITY;
}
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`;
function requireFloat32Room(needs, room, place, rank) {
	const { weights, adapter, temporaries } = needs;
	const total = weights + adapter + temporaries;
	if (total <= room) return;
	const parts = [
		`${gigabytes(weights)} for the weights alone (${(weights / DTYPE_BYTES.f32 / 1e9).toFixed(2)} billion values of 4 bytes)`,
		...adapter > 0 ? [`${gigabytes(adapter)} to train an adapter of rank ${rank} on every linear layer`] : [],
		`at least ${gigabytes(temporaries)} for temporaries`
	];
	const smaller = adapter > 0 && total - adapter <= room ? ", or tfjs: { adapterRank: 0 } to generate only" : "";
	throw new OutOfMemoryError(`the model does not fit: the tfjs engine holds every value as float32 and needs ${parts.join(", ")}; ${place} ${gigabytes(room)}`, {
		hint: `use engine cuda (${gigabytes(weights * DTYPE_BYTES.bf16 / DTYPE_BYTES.f32)} of weights, as bfloat16) or cpu (weights as they are stored), or a smaller model${smaller}`,
		neededBytes: total,
		freeBytes: room,
		details: {
			...needs,
			room
		}
	});
}
// src/engine/tfjs/host-optimizer.ts
var HostOptimizer = class {
	kind;
	#steps;
	#moments;
	parameters;
	constructor(kind, parameters) {
		this.kind = kind;
		this.parameters = parameters;
		this.#steps = new Float32Array(parameters.length);
		const size = parameters.reduce((sum, parameter) => sum + parameter.size, 0);
		const moments = {
			adamw: () => ({
				m: new Float32Array(size),
				v: new Float32Array(size)
			}),
			adamw8bit: () => new AdamW8bitState(parameters.map((parameter) => parameter.size))
		};
		this.#moments = moments[kind]();
	}
	step(values, gradients, touched, options) {
		if (options.kind !== this.kind) throw new EngineError(`optimizerStep: the state is of ${this.kind}, the step of ${options.kind}`);
		const norm = gradientNorm(gradients);
		const scale = clipScale(norm, options.maxGradNorm);
		if (Number.isNaN(scale)) return {
			norm,
			changed: false
		};
		const steps = this.#steps.map((_, i) => touched[i] ? ++this.#steps[i] : 0);
		if (this.#moments instanceof AdamW8bitState) applyAdamW8bit(values, gradients, this.#moments, {
			...options,
			step: 0
		}, scale, steps);
		else {
			const { m, v } = this.#moments;
			for (const [i, { offset, size }] of this.parameters.entries()) {
				if (steps[i] === 0) continue;
				const part = (flat) => flat.subarray(offset, offset + size);
				const step = {
					...options,
					learningRate: learningRateOf(options, i),
					step: steps[i]
				};
				applyAdamW(part(values), part(gradients), part(m), part(v), step, scale);
			}
		}
		return {
			norm,
			changed: true
		};
	}
	toArrays() {
		const moments = this.#moments instanceof AdamW8bitState ? this.#moments.toArrays() : this.#moments;
		return Object.fromEntries(Object.entries({
			steps: this.#steps,
			...moments
		}).map(([name, a]) => [name, a.slice()]));
	}
	fromArrays(arrays) {
		const targets = {
			steps: this.#steps,
			...this.#moments instanceof AdamW8bitState ? {} : this.#moments
		};
		requireArrays(arrays, targets);
		if (this.#moments instanceof AdamW8bitState) this.#moments.fromArrays(arrays);
		for (const [name, target] of Object.entries(targets)) target.set(arrays[name]);
	}
};
// src/engine/tfjs/operations/rows.ts
function replaceRows(tf, base, source, rows) {
	const count = base.shape[0];
	const from = Int32Array.from({ length: count }, (_, i) => i);
	for (const [i, row] of rows.entries()) from[row] = count + i;
	return takeRows(tf, tf.concat([base, source], 0), from);
}
function sumRows(store, x, { starts, places }) {
	const { tf } = store;
	const [count, columns] = x.shape;
	const padded = tf.concat([x, tf.zeros([1, columns])], 0);
	const times = starts.subarray(1).map((end, row) => end - starts[row]);
	const layers = times.reduce((a, b) => Math.max(a, b), 0);
	let sum;
	for (let layer = 0; layer < layers; layer++) {
		const from = times.map((own, row) => layer < own ? places[starts[row] + layer] : count);
		const before = sum;
		[sum] = store.part(() => {
			const rows = takeRows(tf, padded, from);
			return [before ? tf.add(before, rows) : rows];
		});
		before?.dispose();
	}
	return sum ?? tf.zeros([times.length, columns]);
}
function embedding(store) {
	return {
		forward(_inputs, { table, ids, noise }) {
			const weight = store.weights.use(table, "embedding");
			checkRows(ids, weight.rows, "embedding");
			if (noise) checkNoise(noise, ids.length);
			const shape = [ids.length, weight.columns];
			return {
				outputs: [store.one("embedding", (tf) => {
					const taken = weight.gatherRows(ids);
					return noise ? tf.add(taken, tf.tensor(uniformNoise(noise, shape[1]), shape, "float32")) : taken;
				})],
				saved: []
			};
		},
		backward: () => []
	};
}
function gatherRows(store) {
	const operation = "gatherRows";
	return {
		forward([input], { rows }, record) {
			const x = store.matrix(input, operation, "x");
			const count = x.shape[0];
			checkRows(rows, count, operation);
			const [y, shape] = store.run(operation, (tf) => [takeRows(tf, x.data, rows), ...record ? [tf.zeros([0, count])] : []]);
			return {
				outputs: [y],
				saved: shape ? [store.saved(shape)] : []
			};
		},
		backward([shape], [gradient], { rows }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const dy = store.matrix(gradient, operation, "output gradient", { rows: rows.length });
			const count = shape.shape[1];
			const repeated = repeatedPlaces(rows, count, operation);
			if (repeated) return [store.one(operation, () => sumRows(store, dy.data, repeated))];
			const from = new Int32Array(count).fill(rows.length);
			for (const [i, row] of rows.entries()) from[row] = i;
			return [store.one(operation, (tf) => takeRows(tf, tf.concat([dy.data, tf.zeros([1, dy.shape[1]])], 0), from))];
		}
	};
}
function scatterRows(store) {
	const operation = "scatterRows";
	return {
		forward(inputs, { rows }) {
			const base = store.matrix(inputs[0], operation, "base");
			const source = store.matrix(inputs[1], operation, "source", {
				rows: rows.length,
				columns: base.shape[1]
			});
			checkDistinctRows(rows, base.shape[0], operation);
			return {
				outputs: [store.one(operation, (tf) => replaceRows(tf, base.data, source.data, rows))],
				saved: []
			};
		},
		backward(_saved, [gradient], { rows }, needs) {
			if (!gradient) return [void 0, void 0];
			const dy = store.matrix(gradient, operation, "output gradient");
			const [count, columns] = dy.shape;
			const dBase = (tf) => replaceRows(tf, dy.data, tf.zeros([rows.length, columns]), rows);
			checkRows(rows, count, operation);
			const made = store.run(operation, (tf) => [...needs[0] ? [dBase(tf)] : [], ...needs[1] ? [takeRows(tf, dy.data, rows)] : []]);
			return needs.map((need) => need ? made.shift() : void 0);
		}
	};
}
function mergePatches(store) {
	const operation = "mergePatches";
	return {
		forward([input], attributes) {
			const x = store.matrix(input, operation, "x");
			const [patches, columns] = x.shape;
			const block = attributes.merge ** 2;
			const order = patchOrder(attributes, patches);
			return {
				outputs: [store.one(operation, (tf) => {
					const blocks = tf.reshape(takeRows(tf, x.data, order), [
						patches / block,
						block,
						columns
					]);
					return tf.reshape(tf.transpose(blocks, [
						0,
						2,
						1
					]), [patches / block, columns * block]);
				})],
				saved: []
			};
		},
		backward(_saved, [gradient], attributes, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const dy = store.matrix(gradient, operation, "output gradient");
			const block = attributes.merge ** 2;
			const [rows, wide] = dy.shape;
			const patches = rows * block;
			const back = new Int32Array(patches);
			for (const [i, patch] of patchOrder(attributes, patches).entries()) back[patch] = i;
			return [store.one(operation, (tf) => {
				const blocks = tf.transpose(tf.reshape(dy.data, [
					rows,
					wide / block,
					block
				]), [
					0,
					2,
					1
				]);
				return takeRows(tf, tf.reshape(blocks, [patches, wide / block]), back);
			})];
		}
	};
}
// src/engine/tfjs/operations/attention.ts
const OPERATION$4 = "attention";
const HIDDEN = -1e30;
function blocksOf({ heads, causal, segments }, maxScores) {
	const { queryStarts, keyStarts, keyLengths } = segments;
	const blocks = [];
	for (let segment = 0; segment < keyStarts.length; segment++) {
		const length = keyLengths[segment];
		if (length === 0) continue;
		const end = queryStarts[segment + 1];
		const step = Math.max(1, Math.floor(maxScores / (heads * length)));
		const sighted = causal ? Math.max(queryStarts[segment], end - length) : queryStarts[segment];
		for (let firstRow = sighted; firstRow < end; firstRow += step) {
			const rows = Math.min(step, end - firstRow);
			const keys = causal ? length - (end - firstRow - rows) : length;
			blocks.push({
				segment,
				firstRow,
				rows,
				firstKey: keyStarts[segment],
				keys
			});
		}
	}
	return blocks;
}
function rowsOf(tf, x, first, count) {
	return count === x.shape[0] ? x : tf.slice(x, [first, 0], [count, x.shape[1]]);
}
function splitHeads(tf, x, kvHeads, headDim) {
	const [rows, columns] = x.shape;
	const group = columns / (kvHeads * headDim);
	if (group === 1) return tf.transpose(tf.reshape(x, [
		rows,
		kvHeads,
		headDim
	]), [
		1,
		0,
		2
	]);
	const turned = tf.transpose(tf.reshape(x, [
		rows,
		kvHeads,
		group,
		headDim
	]), [
		1,
		2,
		0,
		3
	]);
	return tf.reshape(turned, [
		kvHeads,
		group * rows,
		headDim
	]);
}
function joinHeads(tf, x, rows) {
	const [kvHeads, stacked, headDim] = x.shape;
	const group = stacked / rows;
	const turned = group === 1 ? tf.transpose(x, [
		1,
		0,
		2
	]) : tf.transpose(tf.reshape(x, [
		kvHeads,
		group,
		rows,
		headDim
	]), [
		2,
		0,
		1,
		3
	]);
	return tf.reshape(turned, [rows, kvHeads * group * headDim]);
}
function scoresOf(tf, q, k, block, { heads, causal }) {
	const { rows, keys } = block;
	const scores = tf.reshape(product(tf, q, k, false, true), [
		heads,
		rows,
		keys
	]);
	if (!causal || rows === 1) return scores;
	const mask = new Float32Array(rows * keys);
	for (let row = 0; row < rows; row++) mask.fill(HIDDEN, row * keys + keys - rows + row + 1, (row + 1) * keys);
	return tf.add(scores, tf.tensor(mask, [rows, keys], "float32"));
}
function assemble(tf, pieces, rows, columns) {
	let rest = [...pieces].sort((a, b) => a.start - b.start);
	let total;
	while (rest.length > 0) {
		const layer = [];
		const later = [];
		let at = 0;
		for (const piece of rest) {
			if (piece.start < at) {
				later.push(piece);
				continue;
			}
			if (piece.start > at) layer.push(tf.zeros([piece.start - at, columns]));
			layer.push(piece.data);
			at = piece.start + piece.data.shape[0];
		}
		if (at < rows) layer.push(tf.zeros([rows - at, columns]));
		const joined = layer.length === 1 ? layer[0] : tf.concat(layer, 0);
		total = total ? tf.add(total, joined) : joined;
		rest = later;
	}
	return total ?? tf.zeros([rows, columns]);
}
function attention(store, maxScores) {
	return {
		forward(inputs, attributes, record) {
			const { heads, kvHeads, headDim, scale } = attributes;
			const q = store.matrix(inputs[0], OPERATION$4, "q", { columns: heads * headDim });
			const k = store.matrix(inputs[1], OPERATION$4, "k", { columns: kvHeads * headDim });
			const v = store.matrix(inputs[2], OPERATION$4, "v", {
				rows: k.shape[0],
				columns: kvHeads * headDim
			});
			const rows = q.shape[0];
			checkAttention(attributes, rows, k.shape[0]);
			const [out, ...sums] = store.run(OPERATION$4, (tf) => {
				const pieces = [];
				const sums = [];
				for (const block of blocksOf(attributes, maxScores)) {
					const [data, lse] = store.part(() => {
						const part = (x) => splitHeads(tf, rowsOf(tf, x, block.firstKey, block.keys), kvHeads, headDim);
						const scores = scoresOf(tf, tf.mul(splitHeads(tf, rowsOf(tf, q.data, block.firstRow, block.rows), kvHeads, headDim), scale), part(k.data), block, attributes);
						const peak = tf.max(scores, 2, true);
						const exponentials = tf.exp(tf.sub(scores, peak));
						const total = tf.sum(exponentials, 2, true);
						const stacked = [kvHeads, heads / kvHeads * block.rows];
						const mixed = product(tf, tf.reshape(exponentials, [...stacked, block.keys]), part(v.data));
						const out = joinHeads(tf, tf.div(mixed, tf.reshape(total, [...stacked, 1])), block.rows);
						return record ? [out, tf.add(tf.log(total), peak)] : [out];
					});
					pieces.push({
						start: block.firstRow,
						data
					});
					if (lse) sums.push(lse);
				}
				return [assemble(tf, pieces, rows, heads * headDim), ...sums];
			});
			return {
				outputs: [out],
				saved: record ? [
					q,
					k,
					v,
					out,
					...sums.map((lse) => store.saved(lse))
				] : []
			};
		},
		backward(saved, [gradient], attributes, needs) {
			if (!gradient || !needs.includes(true)) return [
				void 0,
				void 0,
				void 0
			];
			const { heads, kvHeads, headDim, scale } = attributes;
			const [q, k, v, out, ...sums] = saved.map((tensor) => store.use(tensor, OPERATION$4).data);
			const [rows, keyRows] = [q.shape[0], k.shape[0]];
			const dout = store.matrix(gradient, OPERATION$4, "output gradient", {
				rows,
				columns: heads * headDim
			}).data;
			const made = store.run(OPERATION$4, (tf) => {
				const queryPieces = [];
				const keyPieces = [new Map(), new Map()];
				for (const [i, block] of blocksOf(attributes, maxScores).entries()) {
					const parts = [...store.part(() => {
						const stacked = [
							kvHeads,
							heads / kvHeads * block.rows,
							block.keys
						];
						const byRow = (x) => splitHeads(tf, rowsOf(tf, x, block.firstRow, block.rows), kvHeads, headDim);
						const byKey = (x) => splitHeads(tf, rowsOf(tf, x, block.firstKey, block.keys), kvHeads, headDim);
						const [query, key, dOut] = [
							tf.mul(byRow(q), scale),
							byKey(k),
							byRow(dout)
						];
						const scores = scoresOf(tf, query, key, block, attributes);
						const weights = tf.reshape(tf.exp(tf.sub(scores, sums[i])), stacked);
						const dv = needs[2] ? [joinHeads(tf, product(tf, weights, dOut, true, false), block.keys)] : [];
						if (!needs[0] && !needs[1]) return dv;
						const rowSum = tf.sum(tf.mul(dOut, byRow(out)), 2, true);
						const dScores = tf.mul(weights, tf.sub(product(tf, dOut, byKey(v), false, true), rowSum));
						const dq = needs[0] ? [joinHeads(tf, tf.mul(product(tf, dScores, key), scale), block.rows)] : [];
						const dk = needs[1] ? [joinHeads(tf, product(tf, dScores, query, true, false), block.keys)] : [];
						return [
							...dq,
							...dk,
							...dv
						];
					})];
					if (needs[0]) queryPieces.push({
						start: block.firstRow,
						data: parts.shift()
					});
					for (const [j, pieces] of keyPieces.entries()) {
						if (!needs[j + 1]) continue;
						const data = parts.shift();
						const before = pieces.get(block.segment);
						const both = before ? store.part(() => [addToFirstRows(tf, data, before.data)])[0] : data;
						if (before) for (const tensor of [before.data, data]) tensor.dispose();
						pieces.set(block.segment, {
							start: block.firstKey,
							data: both
						});
					}
				}
				const dq = needs[0] ? [assemble(tf, queryPieces, rows, heads * headDim)] : [];
				const others = keyPieces.flatMap((pieces, j) => needs[j + 1] ? [assemble(tf, [...pieces.values()], keyRows, kvHeads * headDim)] : []);
				return [...dq, ...others];
			});
			return needs.map((need) => need ? made.shift() : void 0);
		}
	};
}
function addToFirstRows(tf, a, b) {
	const [rows, columns] = a.shape;
	const missing = rows - b.shape[0];
	return tf.add(a, missing === 0 ? b : tf.concat([b, tf.zeros([missing, columns])], 0));
}
// src/engine/tfjs/operations/cross-entropy.ts
const OPERATION$3 = "crossEntropy";
function crossEntropy(store, maxLogits) {
	const { tf } = store;
	const block = (hidden, head, targets, smoothing, record) => {
		const rows = targets.length;
		const vocabulary = head.rows;
		const logits = head.product(hidden);
		const shifted = tf.sub(logits, tf.max(logits, 1, true));
		const exponentials = tf.exp(shifted);
		const total = tf.sum(exponentials, 1, true);
		const places = targets.map((target, row) => row * vocabulary + target);
		const smooth = (own, mean) => smoothing === 0 ? own : tf.add(tf.mul(own, 1 - smoothing), tf.mul(mean(), smoothing));
		const chosen = smooth(takeRows(tf, tf.reshape(shifted, [rows * vocabulary]), places), () => tf.mean(shifted, 1, false));
		const losses = tf.sub(tf.reshape(tf.log(total), [rows]), chosen);
		if (!record) return [losses];
		const mean = tf.div(head.transposedProduct(exponentials), total);
		return [losses, tf.sub(mean, smooth(head.gatherRows(targets), () => head.transposedProduct(tf.tensor(new Float32Array(vocabulary).fill(1 / vocabulary), [1, vocabulary], "float32"))))];
	};
	return {
		forward([input], { head, targets, scale, smoothing = 0, weights }, record) {
			const hidden = store.matrix(input, OPERATION$3, "hidden");
			const [rows, columns] = hidden.shape;
			const weight = store.weights.useMatrix(head, columns, OPERATION$3);
			const vocabulary = weight.rows;
			if (targets.length !== rows) throw new EngineError(`${OPERATION$3}: ${targets.length} targets for ${rows} rows`);
			checkRows(targets, vocabulary, OPERATION$3);
			checkRowWeights(weights, rows, OPERATION$3);
			const step = Math.max(1, Math.floor(maxLogits / vocabulary));
			const [loss, rowLoss, gradient] = store.run(OPERATION$3, () => {
				const losses = [];
				const gradients = [];
				for (let row = 0; row < rows; row += step) {
					const m = Math.min(step, rows - row);
					const [loss, gradient] = store.part(() => {
						const part = m === rows ? hidden.data : tf.slice(hidden.data, [row, 0], [m, columns]);
						return block(part, weight, targets.subarray(row, row + m), smoothing, record);
					});
					losses.push(loss);
					if (gradient) gradients.push(gradient);
				}
				if (rows === 0) return [
					tf.zeros([1]),
					tf.zeros([0]),
					...record ? [tf.zeros([0, columns])] : []
				];
				const rowLoss = tf.concat(losses, 0);
				const counted = weights ? tf.mul(rowLoss, tf.tensor(weights, [rows], "float32")) : rowLoss;
				const loss = tf.reshape(tf.mul(tf.sum(counted, 0, false), scale), [1]);
				if (!record) return [loss, rowLoss];
				const factor = weights ? tf.tensor(weights.map((weight) => scale * weight), [rows, 1], "float32") : scale;
				return [
					loss,
					rowLoss,
					tf.mul(tf.concat(gradients, 0), factor)
				];
			});
			return {
				outputs: [loss, rowLoss],
				saved: gradient ? [store.saved(gradient)] : []
			};
		},
		backward([saved], [lossGradient], _attributes, needs) {
			if (!lossGradient || !needs[0]) return [void 0];
			const gradient = store.use(saved, OPERATION$3, "saved gradient");
			const factor = store.use(lossGradient, OPERATION$3, "gradient of the loss");
			return [store.one(OPERATION$3, () => tf.mul(gradient.data, factor.data))];
		}
	};
}
// src/engine/tfjs/operations/elementwise.ts
const TANH_SCALE = Math.sqrt(2 / Math.PI);
const TANH_CUBIC = .044715;
function normalCdf(tf, x) {
	return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), .5);
}
function tanhOf(tf, x) {
	const cubic = tf.add(tf.mul(tf.square(x), TANH_CUBIC * TANH_SCALE), TANH_SCALE);
	return tf.tanh(tf.mul(cubic, x));
}
const CURVES = {
	silu: {
		value: (tf, x) => tf.mul(x, tf.sigmoid(x)),
		slope: (tf, x) => {
			const sigmoid = tf.sigmoid(x);
			return tf.mul(tf.add(tf.mul(tf.sub(1, sigmoid), x), 1), sigmoid);
		}
	},
	gelu: {
		value: (tf, x) => tf.mul(x, normalCdf(tf, x)),
		slope: (tf, x) => {
			const density = tf.mul(tf.exp(tf.mul(tf.square(x), -.5)), 1 / Math.sqrt(2 * Math.PI));
			return tf.add(normalCdf(tf, x), tf.mul(x, density));
		}
	},
	gelu_tanh: {
		value: (tf, x) => tf.mul(x, tf.mul(tf.add(tanhOf(tf, x), 1), .5)),
		slope: (tf, x) => {
			const t = tanhOf(tf, x);
			const inner = tf.add(tf.mul(tf.square(x), 1.5 * TANH_CUBIC * TANH_SCALE), .5 * TANH_SCALE);
			const bend = tf.mul(tf.mul(tf.sub(1, tf.square(t)), inner), x);
			return tf.add(tf.mul(tf.add(t, 1), .5), bend);
		}
	},
	relu: {
		value: (tf, x) => tf.relu(x),
		slope: (tf, x) => tf.step(x)
	}
};
function activation(store) {
	const operation = "activation";
	return {
		forward([input], { activation: kind }, record) {
			const x = store.use(input, operation, "x");
			return {
				outputs: [store.one(operation, (tf) => CURVES[kind].value(tf, x.data))],
				saved: record ? [x] : []
			};
		},
		backward([input], [gradient], { activation: kind }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const x = store.use(input, operation, "saved x");
			const dy = store.like(gradient, x, operation, "output gradient");
			return [store.one(operation, (tf) => tf.mul(CURVES[kind].slope(tf, x.data), dy.data))];
		}
	};
}
function gatedActivation(store) {
	const operation = "gatedActivation";
	return {
		forward(inputs, { activation: kind }, record) {
			const gate = store.use(inputs[0], operation, "gate");
			const up = store.like(inputs[1], gate, operation, "up");
			return {
				outputs: [store.one(operation, (tf) => tf.mul(CURVES[kind].value(tf, gate.data), up.data))],
				saved: record ? [gate, up] : []
			};
		},
		backward(saved, [gradient], { activation: kind }, needs) {
			if (!gradient || !needs.includes(true)) return [void 0, void 0];
			const gate = store.use(saved[0], operation, "saved gate");
			const up = store.use(saved[1], operation, "saved up");
			const dy = store.like(gradient, gate, operation, "output gradient");
			const made = store.run(operation, (tf) => [...needs[0] ? [tf.mul(tf.mul(CURVES[kind].slope(tf, gate.data), up.data), dy.data)] : [], ...needs[1] ? [tf.mul(CURVES[kind].value(tf, gate.data), dy.data)] : []]);
			return needs.map((need) => need ? made.shift() : void 0);
		}
	};
}
function add(store) {
	return {
		forward(inputs) {
			const a = store.use(inputs[0], "add", "a");
			const b = store.like(inputs[1], a, "add", "b");
			return {
				outputs: [store.one("add", (tf) => tf.add(a.data, b.data))],
				saved: []
			};
		},
		backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs)
	};
}
// src/engine/tfjs/operations/linear.ts
const OPERATION$2 = "linear";
function pairOf(store, lora, weight) {
	const { name, rows: out, columns: inner } = weight;
	const rank = lora.a.shape[0] ?? 0;
	return {
		a: store.matrix(lora.a.value, OPERATION$2, `A of ${name}`, {
			rows: rank,
			columns: inner
		}).data,
		b: store.matrix(lora.b.value, OPERATION$2, `B of ${name}`, {
			rows: out,
			columns: rank
		}).data
	};
}
function dropout(tf, x, { dropout: p, seed, rowKeys }) {
	if (p === 0) return x;
	return tf.mul(x, tf.tensor(dropoutMask(rowKeys, x.shape[1], seed, p), x.shape, "float32"));
}
function forwardPart(store, tf, x, { weight: frozen, bias, lora }) {
	const weight = store.weights.useMatrix(frozen, x.shape[1], OPERATION$2);
	let y = weight.product(x);
	if (bias) y = tf.add(y, store.vector(bias, weight.rows, OPERATION$2));
	if (!lora) return {
		y,
		low: void 0
	};
	const { a, b } = pairOf(store, lora, weight);
	const low = product(tf, dropout(tf, x, lora), a, false, true);
	return {
		y: tf.add(y, product(tf, tf.mul(low, lora.scale), b, false, true)),
		low
	};
}
function backwardLora(store, tf, x, low, dy, { weight: frozen, lora }, needsInput) {
	const { a, b } = pairOf(store, lora, store.weights.use(frozen, OPERATION$2));
	const dLow = tf.mul(product(tf, dy, b), lora.scale);
	const db = product(tf, dy, tf.mul(low, lora.scale), true, false);
	return {
		da: product(tf, dLow, dropout(tf, x, lora), true, false),
		db,
		dx: needsInput ? dropout(tf, product(tf, dLow, a), lora) : void 0
	};
}
function linear$1(store) {
	return {
		forward(inputs, { parts }, record) {
			const x = store.matrix(inputs[0], OPERATION$2, "x");
			rowKeysOf(parts, x.shape[0]);
			const made = store.run(OPERATION$2, (tf) => {
				const results = parts.map((part) => forwardPart(store, tf, x.data, part));
				const lows = record ? results.flatMap(({ low }) => low ? [low] : []) : [];
				return [...results.map(({ y }) => y), ...lows];
			});
			const lows = made.splice(parts.length);
			return {
				outputs: made,
				saved: lows.length > 0 ? [x, ...lows.map((low) => store.saved(low))] : []
			};
		},
		backward(saved, outputGradients, { parts }, needs) {
			const needsInput = needs[0] === true;
			const gradients = [];
			const made = store.run(OPERATION$2, (tf) => {
				let dx;
				const results = [];
				let at = 1;
				for (const [i, part] of parts.entries()) {
					const { lora } = part;
					const low = lora ? saved[at++] : void 0;
					const gradient = outputGradients[i];
					if (!gradient) continue;
					const weight = store.weights.use(part.weight, OPERATION$2);
					const dy = store.matrix(gradient, OPERATION$2, "output gradient", { columns: weight.rows }).data;
					const include = (share) => dx ? tf.add(dx, share) : share;
					if (needsInput) dx = include(weight.transposedProduct(dy));
					if (!lora) continue;
					const rows = dy.shape[0];
					const x = store.matrix(saved[0], OPERATION$2, "saved x", {
						rows,
						columns: weight.columns
					}).data;
					const u = store.matrix(low, OPERATION$2, "saved u", { rows }).data;
					const { da, db, dx: share } = backwardLora(store, tf, x, u, dy, {
						...part,
						lora
					}, needsInput);
					if (share) dx = include(share);
					gradients.push(lora.a.grad, lora.b.grad);
					results.push(da, db);
				}
				return dx ? [dx, ...results] : results;
			});
			const dx = made.length > gradients.length ? made.shift() : void 0;
			for (const [i, addition] of made.entries()) store.accumulate(gradients[i], addition, OPERATION$2);
			return [dx];
		}
	};
}
// src/engine/tfjs/operations/rms-norm.ts
const OPERATION$1 = "rmsNorm";
function rmsNorm(store) {
	return {
		forward(inputs, { weight, eps }, record) {
			const x = store.matrix(inputs[0], OPERATION$1, "x");
			const [rows, columns] = x.shape;
			const residual = inputs[1] && store.matrix(inputs[1], OPERATION$1, "residual", {
				rows,
				columns
			});
			const scale = store.vector(weight, columns, OPERATION$1);
			const made = store.run(OPERATION$1, (tf) => {
				const sum = residual && tf.add(x.data, residual.data);
				const s = sum ?? x.data;
				const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(s), 1, true), eps));
				return [
					tf.mul(tf.mul(s, rstd), scale),
					...sum ? [sum] : [],
					...record ? [rstd] : []
				];
			});
			const rstd = record ? made.pop() : void 0;
			if (!rstd) return {
				outputs: made,
				saved: []
			};
			return {
				outputs: made,
				saved: [made[1] ?? x, store.saved(rstd)]
			};
		},
		backward(saved, [dy, dSum], { weight }, needs) {
			const sum = store.matrix(saved[0], OPERATION$1, "saved sum");
			const [rows, columns] = sum.shape;
			const direct = dSum && store.matrix(dSum, OPERATION$1, "gradient of the sum", {
				rows,
				columns
			});
			if (!needs.includes(true)) return needs.map(() => void 0);
			let dx = direct;
			if (dy) {
				const gradient = store.matrix(dy, OPERATION$1, "gradient of y", {
					rows,
					columns
				});
				const rstd = store.matrix(saved[1], OPERATION$1, "saved 1/rms", {
					rows,
					columns: 1
				});
				const scale = store.vector(weight, columns, OPERATION$1);
				dx = store.one(OPERATION$1, (tf) => {
					const g = tf.mul(gradient.data, scale);
					const share = tf.mul(tf.mean(tf.mul(g, sum.data), 1, true), tf.square(rstd.data));
					const through = tf.mul(tf.sub(g, tf.mul(sum.data, share)), rstd.data);
					return direct ? tf.add(through, direct.data) : through;
				});
			}
			return store.shared(dx, needs, dy ? 1 : 0);
		}
	};
}
// src/engine/tfjs/operations/rotary.ts
const OPERATION = "rotary";
function turn(store, input, attributes, isQuery, sign) {
	const { headDim } = attributes;
	const x = store.matrix(input, OPERATION, isQuery ? "q" : "k");
	const [rows, columns] = x.shape;
	const heads = rotaryHeads(columns, headDim);
	const half = headDim / 2;
	const cos = store.matrix(attributes.cos, OPERATION, "cos", {
		rows,
		columns: half
	}).data;
	const sin = store.matrix(attributes.sin, OPERATION, "sin", {
		rows,
		columns: half
	}).data;
	const scale = isQuery && attributes.queryScale ? store.use(attributes.queryScale, OPERATION) : void 0;
	if (scale && scale.size !== rows) throw new EngineError(`${OPERATION}: queryScale has ${scale.size} of ${rows} rows`);
	return store.one(OPERATION, (tf) => {
		const table = (first, second) => {
			const joined = tf.concat([first, second], 1);
			const scaled = scale ? tf.mul(joined, tf.reshape(scale.data, [rows, 1])) : joined;
			return tf.reshape(scaled, [
				rows,
				1,
				headDim
			]);
		};
		const split = tf.reshape(x.data, [
			rows,
			heads,
			headDim
		]);
		const first = tf.slice(split, [
			0,
			0,
			0
		], [
			rows,
			heads,
			half
		]);
		const second = tf.slice(split, [
			0,
			0,
			half
		], [
			rows,
			heads,
			half
		]);
		const straight = tf.mul(split, table(cos, cos));
		const crossed = tf.mul(tf.concat([second, first], 2), table(tf.mul(sin, -sign), tf.mul(sin, sign)));
		return tf.reshape(tf.add(straight, crossed), [rows, columns]);
	});
}
function rotary(store) {
	return rotaryByTensor((...given) => turn(store, ...given));
}
// src/engine/tfjs/operations.ts
function tfjsOperations(store, blockElements) {
	return {
		...COMPOSITIONS,
		embedding: embedding(store),
		linear: linear$1(store),
		rmsNorm: rmsNorm(store),
		rotary: rotary(store),
		attention: attention(store, blockElements),
		gatedActivation: gatedActivation(store),
		activation: activation(store),
		add: add(store),
		mergePatches: mergePatches(store),
		gatherRows: gatherRows(store),
		scatterRows: scatterRows(store),
		crossEntropy: crossEntropy(store, blockElements)
	};
}
// src/engine/tfjs/tensor-store.ts
var TfjsTensor = class extends CountedTensor {
	data;
	constructor(data, isParameter = false) {
		super(data.shape, isParameter);
		this.data = data;
	}
};
const gibibytes = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
var TensorStore = class extends CountedTensors {
	tf;
	memoryBudget;
	bytesInUse = 0;
	peakBytes = 0;
	weights = new HeldWeights();
	#reading = Promise.resolve();
	constructor(tf, memoryBudget) {
		super(TfjsTensor);
		this.tf = tf;
		this.memoryBudget = memoryBudget;
	}
	run(operation, body) {
		const { tf } = this;
		const before = tf.memory().numBytes;
		const kept = [];
		try {
			tf.tidy(() => {
				const results = body(tf);
				this.#note(operation, tf.memory().numBytes - before);
				for (const result of results) kept.push(tf.keep(result));
			});
		} catch (cause) {
			if (cause instanceof TuneError) throw cause;
			throw new EngineError(`${operation}: TensorFlow.js failed: ${reasonOf$1(cause)}`, { cause });
		}
		return kept.map((data) => this.#adopt(new TfjsTensor(data)));
	}
	one(operation, body) {
		return this.run(operation, (tf) => [body(tf)])[0];
	}
	part(body) {
		let results = [];
		const { tf } = this;
		tf.tidy(() => {
			results = body().map((tensor) => tf.keep(tensor));
		});
		return results.map((kept) => {
			const handed = tf.reshape(kept, kept.shape);
			kept.dispose();
			return handed;
		});
	}
	#adopt(tensor) {
		this.live.add(tensor);
		this.#hold(4 * tensor.size);
		return tensor;
	}
	#hold(bytes) {
		this.bytesInUse += bytes;
		this.peakBytes = Math.max(this.peakBytes, this.bytesInUse);
	}
	drop({ data }) {
		this.bytesInUse -= 4 * data.size;
		data.dispose();
	}
	#note(what, moreBytes) {
		const needed = this.bytesInUse + moreBytes;
		this.peakBytes = Math.max(this.peakBytes, needed);
		if (needed <= this.memoryBudget) return;
		throw new OutOfMemoryError(`${what} needs ${gibibytes(moreBytes)} beside the ${gibibytes(this.bytesInUse)} held: more than the ${gibibytes(this.memoryBudget)} that the tfjs engine may use`, {
			hint: "tfjs holds every value as float32: use the cpu or cuda engine, a smaller model, fewer tokens and images at a time, or a larger `memoryBudget` of the engine",
			neededBytes: moreBytes,
			freeBytes: this.memoryBudget - this.bytesInUse,
			limitBytes: this.memoryBudget
		});
	}
	fromArray(data, shape, isParameter = false) {
		this.#note(`a tensor [${shape.join(", ")}]`, 4 * data.length);
		return this.#adopt(new TfjsTensor(this.#make(data.slice(), shape), isParameter));
	}
	async loadWeight(stored) {
		const { name, hold, shape } = stored;
		if (hold && shape.length > 1) throw new EngineError(`loadWeight: ${name} should be held as ${hold.format}, but the tfjs engine holds float32 only`, { hint: "Use the engine cuda or cpu, or load the model without `quantization`." });
		const source = dequantizedSource(stored);
		requireBytes(source);
		const added = this.#reading.then(() => this.#addWeight(source));
		this.#reading = added.catch(() => void 0);
		return added;
	}
	async #addWeight(source) {
		const { name, shape } = source;
		this.#note(`the weight ${name} (${shape.join(" × ")} values of 4 bytes)`, float32Bytes(shape));
		const values = await readWide(source);
		const use = (tensor) => this.tf.reshape(tensor, [...shape]);
		const weight = this.weights.add(new Float32Weight(this.tf, source, this.#make(values, shape, use)));
		this.#hold(weight.bytes);
		return weight;
	}
	#make(data, shape, use = (tensor) => tensor) {
		try {
			let made;
			this.tf.tidy(() => {
				made = this.tf.keep(use(this.tf.tensor(data, [...shape], "float32")));
			});
			return made;
		} catch (cause) {
			const message = `TensorFlow.js cannot hold [${shape.join(", ")}], ${gibibytes(4 * data.length)}`;
			throw new EngineError(`${message}: ${reasonOf$1(cause)}`, { cause });
		}
	}
	replace(target, make, operation) {
		const fresh = this.one(operation, (tf) => make(tf, target.data));
		const old = target.data;
		target.data = fresh.data;
		fresh.data = old;
		this.free(fresh);
	}
	accumulate(gradient, addition, operation) {
		const target = this.like(gradient, addition, operation, "parameter gradient");
		if (target.isTouched) this.replace(target, (tf, old) => tf.add(old, addition.data), operation);
		else {
			const zeros = target.data;
			target.data = addition.data;
			addition.data = zeros;
			target.isTouched = true;
		}
		this.release(addition);
	}
	releaseWeight(weight) {
		this.#dropWeight(this.weights.take(weight, "releaseWeight"));
	}
	#dropWeight(weight) {
		this.bytesInUse -= weight.bytes;
		weight.dispose();
	}
	vector(weight, length, operation) {
		return this.weights.useVector(weight, length, operation).values();
	}
	dispose() {
		for (const tensor of [...this.live]) this.free(tensor);
		for (const weight of this.weights.takeAll()) this.#dropWeight(weight);
	}
};
// src/engine/tfjs/tfjs-engine.ts
const WASM_BYTES = 3 * 2 ** 30;
const BLOCK_ELEMENTS = 1 << 24;
const optionsSchema = strictObject({
	memoryBudget: memoryBudgetSchema.optional(),
	adapterRank: int$1().nonnegative().optional(),
	blockElements: int$1().positive().optional()
});
var TfjsParameterSet = class {
	parameters;
	size;
	values;
	isReleased = false;
	constructor(parameters, values) {
		this.parameters = parameters;
		this.size = values.length;
		this.values = values;
	}
};
var TfjsEngine = class extends CountingEngine {
	name = "tfjs";
	tokensPerPass = 0;
	storage;
	description;
	operations;
	#store;
	#settings;
	constructor(tf, settings) {
		const store = new TensorStore(tf, settings.memoryBudget);
		super(store);
		this.#store = store;
		this.#settings = settings;
		this.operations = tfjsOperations(this.#store, settings.blockElements);
		this.storage = {
			elementBytes: 4,
			rematerializes: false,
			keepsMasks: false,
			logits: {
				most: settings.blockElements,
				bytes: 16
			},
			temporaries: 4,
			scratchBytes: 16 * settings.blockElements,
			rowTile: 1,
			reserveBytes: Math.round(.1 * settings.memoryBudget)
		};
		const { version } = tf;
		const release = version?.tfjs ?? version?.["tfjs-core"];
		const backend = `backend ${tf.getBackend()}${whereOf(tf)}`;
		const budget = Number.isFinite(settings.memoryBudget) ? `up to ${(settings.memoryBudget / 1e9).toFixed(1)} GB` : "memory unknown: set memoryBudget for an error before it runs out";
		this.description = `tfjs: float32, TensorFlow.js${release ? ` ${release}` : ""}, ${backend}, ${budget}`;
	}
	fromArray(data, shape) {
		requireFilled(data, shape, "fromArray");
		return this.#store.fromArray(data, shape);
	}
	zeros(shape) {
		return this.#store.one("zeros", (tf) => tf.zeros([...shape]));
	}
	async read(tensor) {
		return new Float32Array(await this.#store.use(tensor, "read").data.data());
	}
	addInPlace(target, source) {
		const to = this.#store.use(target, "addInPlace", "target");
		const from = this.#store.like(source, to, "addInPlace", "source");
		this.#store.replace(to, (tf, old) => tf.add(old, from.data), "addInPlace");
		to.isTouched = true;
	}
	writeRows(target, source, rows) {
		const to = this.#store.matrix(target, "writeRows", "target");
		const from = this.#store.matrix(source, "writeRows", "source", {
			rows: rows.length,
			columns: to.shape[1]
		});
		checkDistinctRows(rows, to.shape[0], "writeRows");
		this.#store.replace(to, (tf, old) => replaceRows(tf, old, from.data, rows), "writeRows");
	}
	requireRoom(model) {
		const { place, memoryBudget, isBudgetGiven, adapterRank, blockElements } = this.#settings;
		const needs = float32Needs(model, {
			rank: adapterRank,
			blockElements,
			onHost: place === "host"
		});
		const budgeted = memoryBudget - this.#store.bytesInUse;
		const free = isBudgetGiven || place !== "host" ? Number.POSITIVE_INFINITY : freeHostMemory();
		if (free < budgeted) requireFloat32Room(needs, free, "the host has free", adapterRank);
		else requireFloat32Room(needs, budgeted, "the memory budget leaves", adapterRank);
	}
	async loadWeight(source) {
		return this.#store.loadWeight(source);
	}
	async readWeight(weight) {
		return new Float32Array(await this.#store.weights.use(weight, "readWeight").values().data());
	}
	releaseWeight(weight) {
		this.#store.releaseWeight(weight);
	}
	createParameters(specs) {
		const values = new Float32Array(sizeOfAll(specs));
		return new TfjsParameterSet(layOut(specs, ({ shape, initial }, offset) => {
			values.set(initial, offset);
			return {
				value: this.#store.fromArray(initial, shape, true),
				grad: this.#store.fromArray(new Float32Array(initial.length), shape, true)
			};
		}), values);
	}
	async readParameters(set) {
		return this.#set(set).values.slice();
	}
	writeParameters(set, values) {
		const known = this.#set(set);
		requireValues(known, values);
		noteChange(set);
		known.values.set(values);
		for (const { value, offset, size } of known.parameters) this.#upload(value, values.subarray(offset, offset + size));
	}
	async readGradients(set) {
		return this.#gradients(this.#set(set));
	}
	zeroGradients(set) {
		noteChange(set);
		for (const { grad } of this.#set(set).parameters) {
			if (!grad.isTouched) continue;
			this.#store.replace(grad, (tf) => tf.zeros([...grad.shape]), "zeroGradients");
			grad.isTouched = false;
		}
	}
	releaseParameters(set) {
		requireNotTraining(set, "releaseParameters: the set");
		const known = this.#set(set);
		known.isReleased = true;
		for (const { value, grad } of known.parameters) {
			this.#store.free(value);
			this.#store.free(grad);
		}
	}
	createOptimizerState(set, kind) {
		return new HostOptimizer(kind, this.#set(set).parameters);
	}
	releaseOptimizerState() {}
	optimizerStep(set, state, options) {
		requireOwnCall(set, options, "optimizerStep");
		const known = this.#set(set);
		const touched = known.parameters.map(({ grad }) => grad.isTouched);
		const { norm, changed } = this.#state(known, state).step(known.values, this.#gradients(known), touched, options);
		for (const [i, { value, offset, size }] of known.parameters.entries()) if (changed && touched[i]) this.#upload(value, known.values.subarray(offset, offset + size));
		return () => Promise.resolve(norm);
	}
	async readOptimizerState(set, state) {
		return this.#state(this.#set(set), state).toArrays();
	}
	writeOptimizerState(set, state, arrays) {
		this.#state(this.#set(set), state).fromArrays(arrays);
	}
	memory() {
		const { bytesInUse, peakBytes, memoryBudget } = this.#store;
		return {
			bytesInUse,
			peakBytes,
			limitBytes: memoryBudget
		};
	}
	resetPeak() {
		this.#store.peakBytes = this.#store.bytesInUse;
	}
	async dispose() {
		requireIdleEngine(this, "engine.dispose");
		this.#store.dispose();
	}
	#upload(target, values) {
		this.#store.replace(target, (tf) => tf.tensor(values.slice(), [...target.shape], "float32"), "upload");
	}
	#gradients(set) {
		const flat = new Float32Array(set.size);
		for (const { grad, offset } of set.parameters) if (grad.isTouched) flat.set(grad.data.dataSync(), offset);
		return flat;
	}
	#state(set, state) {
		if (state instanceof HostOptimizer && state.parameters === set.parameters) return state;
		throw new EngineError("the optimizer state belongs to another parameter set or engine");
	}
	#set(set) {
		return requireOwnSet(set, TfjsParameterSet);
	}
};
async function createTfjsEngine(options) {
	const { tf: namespace, ...others } = options;
	const given = parseOptions(optionsSchema, others, "tfjs engine");
	const tf = asTfNamespace(namespace);
	await tf.ready();
	const place = placeOf$1(tf);
	const known = {
		host: hostMemory(),
		wasm: WASM_BYTES,
		device: Number.POSITIVE_INFINITY
	};
	const { memoryBudget = known[place], adapterRank = 16, blockElements = BLOCK_ELEMENTS } = given;
	return new TfjsEngine(tf, {
		place,
		memoryBudget,
		isBudgetGiven: given.memoryBudget !== void 0,
		adapterRank,
		blockElements
	});
}
function nativeBackend(tf) {
	return tf.backend?.() ?? {};
}
function placeOf$1(tf) {
	const name = tf.getBackend();
	if (name === "wasm") return "wasm";
	return name === "cpu" || name === "tensorflow" && !nativeBackend(tf).isUsingGpuDevice ? "host" : "device";
}
function whereOf(tf) {
	if (tf.getBackend() !== "tensorflow") return "";
	const { isGPUPackage, isUsingGpuDevice } = nativeBackend(tf);
	if (isUsingGpuDevice) return " on a GPU";
	return isGPUPackage ? " on the CPU, because it found no GPU or not the libraries of CUDA 11.2" : " on the CPU";
}
// src/engine/create-engine.ts
const OPTIONS = {
	threads: false,
	onChoice: false,
	cuda: false,
	tf: false,
	tfjs: false
};
async function createEngine(choice = "auto", options = {}) {
	requireChoice(choice);
	checkNames(options, OPTIONS, "createEngine");
	requireCallback(options.onChoice, "createEngine: `onChoice`", "e.g. { onChoice: console.log }.", true);
	for (const name of ["cuda", "tfjs"]) requireOptions(options[name], `createEngine: \`${name}\``);
	if (options.threads !== void 0) requireInteger(options.threads, "createEngine: `threads`", 1, MAX_THREADS);
	switch (choice) {
		case "auto": return automatic(options);
		case "cpu": return cpu(options);
		case "cuda": {
			const { createCudaEngine } = await import("./cuda-engine-CRRhl4YA.js");
			return createCudaEngine(options.cuda);
		}
		case "tfjs":
			if (!options.tf) throw new EngineError("the tfjs engine needs a TensorFlow.js namespace", { hint: "install @tensorflow/tfjs-node-gpu or tfjs-node and pass it: createEngine('tfjs', { tf: await loadTfjs() })" });
			return createTfjsEngine({
				...options.tfjs,
				tf: options.tf
			});
	}
}
const MAX_THREADS = 1024;
const CHOICES = [
	"auto",
	"cpu",
	"cuda",
	"tfjs"
];
const OTHER_NAMES = {
	gpu: "cuda",
	nvidia: "cuda",
	wasm: "cpu",
	tensorflow: "tfjs"
};
function requireChoice(choice) {
	if (CHOICES.includes(choice)) return;
	if (isObject(choice) && !isPromise(choice)) throw new EngineError(`createEngine: expected the name of an engine, got ${describeGiven(choice)}`, { hint: "options come second: createEngine('auto', { … }). Names: auto, cpu, cuda, tfjs" });
	const near = typeof choice === "string" ? OTHER_NAMES[choice.toLowerCase()] ?? nearestName(choice, CHOICES) : void 0;
	throw new EngineError(`there is no engine ${describeGiven(choice)}${near ? `; did you mean "${near}"?` : ""}`, { hint: "choose one of: auto, cpu, cuda, tfjs" });
}
function cpu(options) {
	return createCpuEngine(options.threads === void 0 ? {} : { threads: options.threads });
}
async function automatic(options) {
	let reason = `there is no cuda engine for ${process.platform}`;
	if (process.platform === "linux") try {
		const { createCudaEngine } = await import("./cuda-engine-CRRhl4YA.js");
		const engine = createCudaEngine(options.cuda);
		options.onChoice?.("auto: cuda, because a card and its libraries were found");
		return engine;
	} catch (error) {
		if (error instanceof ConfigError) throw error;
		reason = reasonOf$1(error);
	}
	options.onChoice?.(`auto: cpu, because ${reason}`);
	return cpu(options);
}
// src/lora/adapter-folder.ts
const ADAPTER_CONFIG_FILE = "adapter_config.json";
const ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors";
async function adapterFolder(idOrFolder, options) {
	return (await folderOrSnapshot(idOrFolder, options, ADAPTER_SELECTION)).folder;
}
const CHAT_TEMPLATE_FILE = "chat_template.jinja";
const PROCESSOR_FILES = [
	"tokenizer.json",
	"tokenizer_config.json",
	"special_tokens_map.json",
	"processor_config.json",
	"preprocessor_config.json",
	CHAT_TEMPLATE_FILE,
	"chat_template.json"
];
const ADAPTER_SELECTION = {
	allowPatterns: [
		ADAPTER_CONFIG_FILE,
		ADAPTER_WEIGHTS_FILE,
		CHAT_TEMPLATE_FILE
	],
	refuse: (paths) => {
		if (paths.includes("adapters.safetensors")) return "it holds an adapter of mlx, whose layout is another";
		if (!paths.includes("adapter_config.json")) return `it holds no adapter: there is no ${ADAPTER_CONFIG_FILE}`;
		if (paths.includes("adapter_model.safetensors")) return void 0;
		if (!paths.includes("adapter_model.bin")) return `it has no ${ADAPTER_WEIGHTS_FILE}`;
		return "it holds adapter_model.bin, a Python pickle, which is never read; saved again by PEFT it is safetensors";
	},
	missingFrom: async (folder) => {
		const names = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE];
		const there = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => void 0)));
		return names.filter((_, i) => !there[i]);
	}
};
// src/lora/lora-host.ts
function requireLoraHost(model, what) {
	if (!Array.isArray(model?.linearModules)) {
		const expected = `${what}: expected a model, as loadModel and fromPretrained give it`;
		if (isPretrained(model)) throw new ConfigError(`${expected}, got all that fromPretrained gives`, { hint: "Take the model out of it: const { model, processor } = await fromPretrained(…)." });
		throw new ConfigError(`${expected}, got ${describeValue(model)}`);
	}
	if (model.isDisposed) throw new ConfigError(`${what}: the model is disposed of: its weights are gone`, { hint: "Call model.dispose() after the last use, or load the model again." });
}
function isPretrained(value) {
	const { model, processor } = value ?? {};
	return typeof model === "object" && model !== null && processor !== void 0;
}
function describeValue(value) {
	return value instanceof Promise ? "a promise: await it" : describeGiven(value);
}
const MAX_REMEMBERED = 1e3;
const emitted = new Set();
function warnWith(onWarning, lines) {
	for (const text of lines) {
		const line = warningLine(text);
		if (onWarning) onWarning(line);
		else if (!emitted.has(line) && emitted.size < MAX_REMEMBERED) {
			emitted.add(line);
			process.emitWarning(line, "LoraWarning");
		}
	}
}
// src/lora/adapter-lock.ts
const ADAPTER_LOCK = ".ministral-tune-adapter.lock";
const READ_ATTEMPTS = 5;
async function whileWriting(directory, onWarning, work) {
	const lock = await take(directory, "save of an adapter", onWarning).catch((cause) => {
		throw new CheckpointError(`cannot write into ${directory}: ${cause.message}`, {
			hint: "Choose a folder that can be written to, on a disk with free space.",
			details: {
				path: directory,
				code: cause.code
			},
			cause
		});
	});
	const requireOwned = async () => {
		const lost = await lock.check();
		if (lost === void 0) return;
		throw new CheckpointError(`${directory} is no longer this save's: ${lost}. Nothing of this save was put there`, {
			hint: "The process was suspended for too long. Save again, into a folder of its own.",
			details: { path: directory }
		});
	};
	try {
		return await work(requireOwned).catch(async (error) => {
			await requireOwned();
			throw error;
		});
	} finally {
		await lock.release();
	}
}
async function whileUploading(directory, { onWarning, signal }, work) {
	const lock = await exists(join(directory, "adapter_config.json")) ? await take(directory, "upload of an adapter", onWarning, signal).catch(() => void 0) : void 0;
	try {
		return await work();
	} finally {
		await lock?.release();
	}
}
async function readTogether(directory, read) {
	for (let attempt = 1;; attempt++) {
		const before = await stateOf(directory);
		const result = await read().then((value) => ({ value }), (error) => ({ error }));
		const isSame = await stateOf(directory) === before;
		if (isSame && "value" in result) return result.value;
		const isWritten = !isSame || await OwnerLock.ownerOf(resolve(directory, ".ministral-tune-adapter.lock")) !== void 0;
		if (attempt === READ_ATTEMPTS || !isWritten) {
			if ("error" in result) throw result.error;
			throw new CheckpointError(`${directory}: its files change while they are read`, {
				hint: "Another process saves into this folder again and again: load the adapter when it is done.",
				details: { path: directory }
			});
		}
		await setTimeout(100 * attempt);
	}
}
function take(directory, what, onWarning, signal) {
	return OwnerLock.take(resolve(directory, ADAPTER_LOCK), {
		what,
		whenHeld: "wait",
		signal,
		onWait: (owner) => warnWith(onWarning, [`${directory} is in use by ${describeOwner(owner)}; waiting for it`])
	});
}
async function stateOf(directory) {
	const files = [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE].map(async (name) => {
		const found = await stat(join(directory, name)).catch(() => void 0);
		return found && `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`;
	});
	return (await Promise.all(files)).join();
}
// src/lora/base-model.ts
function cachedRepo(path) {
	const [, repo, commit] = /(?:^|[\\/])models--([\w.-]+)[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]*$/.exec(path) ?? [];
	return repo && commit ? {
		name: repo.split("--").join("/"),
		revision: commit
	} : void 0;
}
function baseOf({ nameOrPath, revision }) {
	return (nameOrPath === void 0 ? void 0 : cachedRepo(nameOrPath)) ?? {
		name: nameOrPath,
		revision
	};
}
async function isLocalName(name) {
	if (/^\w+:\/\//.test(name)) return false;
	if (/^([./\\~]|[A-Za-z]:[\\/])|\\|\/.*\//.test(name)) return true;
	return stat(name).then((found) => found.isDirectory(), () => false);
}
function otherBaseWarning(trainedOn, model) {
	const here = baseOf(model).name;
	if (trainedOn === void 0 || here === void 0 || plainName(trainedOn) === plainName(here)) return void 0;
	return `the adapter was trained on "${trainedOn}" and is put onto "${here}": its shapes fit, but unless these are the same weights its answers are not those of its training`;
}
function plainName(name) {
	let plain = (cachedRepo(name)?.name ?? name).replace(/[\\/]+$/, "").split(/[\\/]/).at(-1).toLowerCase();
	for (let before = ""; before !== plain;) {
		before = plain;
		plain = plain.replace(/[-_.](bf16|bfloat16|f16|fp16|f32|fp32|fp8|gguf|awq|gptq|(bnb-)?[48]bit|bnb|unsloth|dynamic|hf)$/, "");
	}
	return plain;
}
// src/lora/chat-template-option.ts
const isSource = (value) => typeof value === "string" ? /\{[{%]/.test(value) : isTemplate(value);
const isTemplate = (value) => typeof value?.source === "string";
const isHolder = (value) => {
	if (typeof value !== "object" || value === null) return false;
	const { chatTemplate } = value;
	return chatTemplate === void 0 || isTemplate(chatTemplate);
};
const chatTemplateFields = {
	chatTemplate: custom(isSource, "expected a ChatTemplate or the Jinja source of one (not the path of a file)").optional(),
	processor: custom(isHolder, "expected a processor, as fromPretrained gives it").optional()
};
function chatTemplateText(options) {
	const { chatTemplate, processor } = options;
	return typeof chatTemplate === "string" ? chatTemplate : (chatTemplate ?? processor?.chatTemplate)?.source;
}
// src/lora/lora-adapter.ts
var LoraAdapter = class {
	name;
	config;
	engine;
	parameters;
	modules;
	warnings;
	origin;
	model;
	#slots;
	#weights;
	#isOff = false;
	#holds = 0;
	#isDisposed = false;
	constructor(parts) {
		this.name = parts.name;
		this.config = parts.config;
		this.model = parts.model;
		this.engine = parts.model.engine;
		this.parameters = parts.parameters;
		this.modules = parts.modules;
		this.warnings = parts.warnings;
		this.origin = parts.origin;
		this.#slots = parts.slots;
		this.#weights = parts.weights;
	}
	get description() {
		const counts = new Map();
		for (const { module } of this.modules) {
			const part = modelPart(module.name);
			counts.set(part, (counts.get(part) ?? 0) + 1);
		}
		const parts = [...counts].map(([part, count]) => `${count} ${part}`).join(", ");
		const endings = [...new Set(this.modules.map(({ module }) => module.name.split(".").at(-1)))].join(", ");
		const count = this.parameters.size.toLocaleString("en-US");
		return `LoRA on ${this.modules.length} linear layers (${parts}: ${endings}), ${count} trainable parameters`;
	}
	get isActive() {
		return this.#slots.active === this;
	}
	get isEnabled() {
		return !this.#isDisposed && !this.#isOff && this.#holds === 0;
	}
	get isDisposed() {
		return this.#isDisposed;
	}
	async readValues() {
		this.requireLive("readValues");
		const flat = await this.engine.readParameters(this.parameters);
		const values = new Map();
		for (const { name, offset, size } of this.parameters.parameters) {
			if (isTurnDue()) await eventLoopTurn();
			values.set(name, flat.slice(offset, offset + size));
		}
		return values;
	}
	disable() {
		this.requireLive("disable");
		this.#isOff = true;
		this.#slots.update();
	}
	enable() {
		this.requireLive("enable");
		this.#isOff = false;
		this.#slots.update();
	}
	async withDisabled(work) {
		this.requireLive("withDisabled");
		if (typeof work !== "function") throw new ConfigError(`withDisabled: expected a function to run meanwhile, got ${describeValue(work)}`, { hint: "e.g. await adapter.withDisabled(() => model.lastLogits(batch))." });
		this.#holds++;
		this.#slots.update();
		try {
			return await work();
		} finally {
			this.#holds--;
			this.#slots.update();
		}
	}
	dispose() {
		if (this.#isDisposed) return;
		requireNotTraining(this.parameters, `dispose: the adapter "${this.name}"`);
		this.#isDisposed = true;
		this.#slots.remove(this);
		for (const weights of this.#weights) weights.isReleased = true;
		if (this.model.isDisposed && this.model.ownsEngine) return;
		this.engine.releaseParameters(this.parameters);
	}
	attach(isOn) {
		for (const [i, { module }] of this.modules.entries()) module.lora = isOn ? this.#weights[i] : void 0;
	}
	requireLive(what) {
		if (!this.#isDisposed) return;
		throw new ConfigError(`${what}: the adapter "${this.name}" is disposed of: its values are gone`, { hint: "Save it before dispose(), and load it with loadAdapter." });
	}
};
function requireAdapter(adapter, what, call) {
	if (adapter instanceof LoraAdapter) {
		adapter.requireLive(what);
		return;
	}
	const expected = `${what}: expected the adapter that applyLora or loadAdapter returned`;
	if (Array.isArray(adapter?.linearModules)) throw new ConfigError(`${expected}, got the model`, { hint: `const adapter = applyLora(model, config); … ${call}; the weights of the model itself are not trained.` });
	throw new ConfigError(`${expected}, got ${describeValue(adapter)}`, { hint: `e.g. ${call}.` });
}
// src/lora/python-regexp-tokens.ts
var Tokens = class {
	#tokens = [];
	index = 0;
	constructor(source) {
		const characters = Array.from(source);
		for (let i = 0; i < characters.length; i++) if (characters[i] !== "\\") this.#tokens.push(characters[i]);
		else if (++i < characters.length) this.#tokens.push(`\\${characters[i]}`);
		else throw new SyntaxError("bad escape at the end");
	}
	get next() {
		return this.#tokens[this.index];
	}
	take() {
		return this.#tokens[this.index++];
	}
	accept(token) {
		if (this.next !== token) return false;
		this.index++;
		return true;
	}
	takeWhile(characters, most = Number.POSITIVE_INFINITY) {
		let taken = "";
		while (taken.length < most && this.next?.length === 1 && characters.includes(this.next)) taken += this.take();
		return taken;
	}
	takeUntil(end, what) {
		let taken = "";
		for (;;) {
			const token = this.take();
			if (token === void 0) throw new SyntaxError(`missing ${end} after the ${what}`);
			if (token === end) break;
			taken += token;
		}
		if (taken === "") throw new SyntaxError(`missing ${what}`);
		return taken;
	}
};
const DIGITS = "0123456789";
const OCTAL = "01234567";
const HEXADECIMAL = "0123456789abcdefABCDEF";
const HIGHEST_OCTAL = 255;
const HIGHEST_CODE = 1114111;
const HIGHEST_ASCII = 127;
const NEWLINE$1 = 10;
const SIMPLE_ESCAPES = {
	"\\a": 7,
	"\\b": 8,
	"\\t": 9,
	"\\n": NEWLINE$1,
	"\\v": 11,
	"\\f": 12,
	"\\r": 13,
	"\\\\": 92
};
const character = (code) => String.fromCodePoint(code);
const ascii = (pattern) => (code) => code <= HIGHEST_ASCII && pattern.test(character(code));
const unicode = (pattern) => (code) => pattern.test(character(code));
const CATEGORIES = {
	d: [unicode(/\p{Nd}/u), ascii(/[0-9]/)],
	w: [unicode(/[\p{L}\p{N}_]/u), ascii(/[A-Za-z0-9_]/)],
	s: [unicode(/[\t-\r\x1c-\x20\x85\xa0\u2028\u2029\p{Zs}]/u), ascii(/[\t-\r ]/)]
};
function category(token, flags) {
	if (!/^\\[dwsDWS]$/.test(token)) return void 0;
	const letter = token[1];
	const test = CATEGORIES[letter.toLowerCase()][flags.has("a") ? 1 : 0];
	return letter === letter.toLowerCase() ? test : (code) => !test(code);
}
const isWord = (code, flags) => CATEGORIES.w[flags.has("a") ? 1 : 0](code);
function anyCharacter(flags) {
	return flags.has("s") ? () => true : (code) => code !== NEWLINE$1;
}
const lowerCase = (code) => code >= 65 && code <= 90 ? code + 32 : code;
const upperCase = (code) => code >= 97 && code <= 122 ? code - 32 : code;
function range(low, high, flags) {
	const within = (code) => code >= low && code <= high;
	if (!flags.has("i")) return within;
	if (high > HIGHEST_ASCII) throw new SyntaxError("the flag i with characters beyond ASCII is not supported");
	return (code) => within(lowerCase(code)) || within(upperCase(code));
}
function escapedCode(token, tokens) {
	const letter = token.slice(1);
	const simple = SIMPLE_ESCAPES[token];
	if (simple !== void 0) return simple;
	const length = {
		x: 2,
		u: 4,
		U: 8
	}[letter];
	if (length !== void 0) {
		const digits = tokens.takeWhile(HEXADECIMAL, length);
		const code = Number.parseInt(digits, 16);
		if (digits.length !== length || code > HIGHEST_CODE) throw new SyntaxError(`incomplete escape ${token}${digits}`);
		return code;
	}
	if (letter === "N") throw new SyntaxError("\\N{…}, a character by its name, is not supported: write the character");
	if (/^[A-Za-z0-9]$/.test(letter)) return void 0;
	return letter.codePointAt(0);
}
function octalInSet(token, tokens) {
	return checkedOctal(token[1] + tokens.takeWhile(OCTAL, 2));
}
function octalOutsideSet(token, tokens) {
	if (token === "\\0") return Number.parseInt(`0${tokens.takeWhile(OCTAL, 2)}`, 8);
	const start = tokens.index;
	const digits = token[1] + tokens.takeWhile(OCTAL, 2);
	if (digits.length === 3 && OCTAL.includes(digits[0])) return checkedOctal(digits);
	tokens.index = start;
}
function checkedOctal(digits) {
	const code = Number.parseInt(digits, 8);
	if (code > HIGHEST_OCTAL) throw new SyntaxError(`octal escape \\${digits} is above \\377`);
	return code;
}
function parseSet(tokens, flags) {
	const negated = tokens.accept("^");
	const tests = [];
	const member = (token) => {
		if (token[0] !== "\\") return token.codePointAt(0);
		if (token.length === 2 && OCTAL.includes(token[1])) return octalInSet(token, tokens);
		const found = category(token, flags) ?? escapedCode(token, tokens);
		if (found === void 0) throw new SyntaxError(`bad escape ${token} in a set`);
		return found;
	};
	const take = () => {
		const token = tokens.take();
		if (token === void 0) throw new SyntaxError("unterminated character set");
		return token;
	};
	const add = (found) => {
		tests.push(typeof found === "number" ? range(found, found, flags) : found);
	};
	for (;;) {
		const token = take();
		if (token === "]" && tests.length > 0) break;
		const low = member(token);
		if (!tokens.accept("-")) {
			add(low);
			continue;
		}
		const end = take();
		if (end === "]") {
			add(low);
			add(45);
			break;
		}
		const high = member(end);
		if (typeof low !== "number" || typeof high !== "number" || high < low) throw new SyntaxError(`bad character range ${token}-${end}`);
		tests.push(range(low, high, flags));
	}
	return (code) => tests.some((test) => test(code)) !== negated;
}
// src/lora/python-regexp-syntax.ts
const MAX_REPEAT = 4294967295;
const MAX_DEPTH = 200;
const NEWLINE = 10;
const NOTHING = [0, 0];
function parsePython(source) {
	return new Parser(source).parse();
}
var Parser = class {
	#tokens;
	#names = new Map();
	#widths = [NOTHING];
	#asked = [];
	#globalFlags = new Set();
	#ignoresCase = false;
	#lookBehindFrom;
	constructor(source) {
		this.#tokens = new Tokens(source);
	}
	parse() {
		const root = this.#choice(this.#globalFlags, 0);
		if (this.#tokens.next !== void 0) throw new SyntaxError("unbalanced parenthesis )");
		for (const group of this.#asked) if (group >= this.#widths.length) throw new SyntaxError(`no group ${group}`);
		return {
			root,
			names: this.#names,
			groups: this.#widths.length,
			ignoresCase: this.#ignoresCase
		};
	}
	#choice(flags, depth) {
		if (depth > MAX_DEPTH) throw new SyntaxError(`groups nested more than ${MAX_DEPTH} deep are not supported`);
		const pieces = [this.#sequence(flags, depth, depth === 0)];
		while (this.#tokens.accept("|")) pieces.push(this.#sequence(depth === 0 ? this.#globalFlags : flags, depth));
		return pieces.length === 1 ? pieces[0] : either(pieces);
	}
	#sequence(outerFlags, depth, mayHaveFlags = false) {
		const tokens = this.#tokens;
		const pieces = [];
		let flags = outerFlags;
		for (;;) {
			const token = tokens.next;
			if (token === void 0 || token === "|" || token === ")") return sequence(pieces);
			tokens.index++;
			if (flags.has("x")) {
				if (/^[ \t\n\r\v\f]$/.test(token)) continue;
				if (token === "#") {
					while (tokens.next !== void 0 && tokens.take() !== "\n");
					continue;
				}
			}
			if (token[0] === "\\") pieces.push(this.#escape(token, flags));
			else if (token === "[") pieces.push(characterOf(parseSet(tokens, flags)));
			else if (token === ".") pieces.push(characterOf(anyCharacter(flags)));
			else if (token === "^") pieces.push(placeOf(startOfLine(flags)));
			else if (token === "$") pieces.push(placeOf(endOfLine(flags)));
			else if ("?*+{".includes(token)) {
				if (!this.#repeat(token, pieces)) pieces.push(this.#literal(token, flags));
			} else if (token === "(") {
				const found = this.#group(flags, depth, mayHaveFlags && pieces.length === 0);
				if (found === "flags") flags = this.#globalFlags;
				else if (found !== "comment") pieces.push(found);
			} else pieces.push(this.#literal(token, flags));
		}
	}
	#literal(token, flags) {
		const code = token.codePointAt(0);
		return {
			...characterOf(range(code, code, flags)),
			literal: `${code}${flags.has("i") ? "i" : ""}`
		};
	}
	#escape(token, flags) {
		const letter = token.slice(1);
		const place = PLACES[letter];
		if (place) return placeOf(place(flags));
		const test = category(token, flags);
		if (test) return characterOf(test);
		if (letter.length === 1 && "0123456789".includes(letter)) {
			const octal = octalOutsideSet(token, this.#tokens);
			if (octal !== void 0) return characterOf(range(octal, octal, flags));
			return this.#reference(Number(letter + this.#tokens.takeWhile(DIGITS, 1)), flags);
		}
		const code = escapedCode(token, this.#tokens);
		if (code === void 0) throw new SyntaxError(`bad escape ${token}`);
		return this.#literal(String.fromCodePoint(code), flags);
	}
	#reference(group, flags) {
		if (group >= this.#widths.length) throw new SyntaxError(`no group ${group} to refer to`);
		this.#requireClosed(group);
		return {
			kind: "reference",
			group,
			ignoreCase: flags.has("i"),
			width: this.#widths[group]
		};
	}
	#requireClosed(group) {
		if (this.#widths[group] === void 0) throw new SyntaxError(`cannot refer to the open group ${group}`);
		this.#requireOutside(group);
	}
	#requireOutside(group) {
		if (this.#lookBehindFrom === void 0) return;
		if (this.#widths[group] === void 0) throw new SyntaxError(`cannot refer to the open group ${group}`);
		if (group >= this.#lookBehindFrom) throw new SyntaxError(`cannot refer to group ${group} of the same look-behind`);
	}
	#repeat(token, pieces) {
		const bounds = token === "{" ? this.#bounds() : {
			"?": [0, 1],
			"*": [0, MAX_REPEAT],
			"+": [1, MAX_REPEAT]
		}[token];
		if (!bounds) return false;
		const [least, most] = bounds;
		const body = pieces.at(-1);
		if (!body || body.kind === "place") throw new SyntaxError(`nothing to repeat before ${token}`);
		if (body.kind === "repeat") throw new SyntaxError(`two repetitions in a row, ${token} being the second`);
		const mode = this.#tokens.accept("?") ? "lazy" : this.#tokens.accept("+") ? "possessive" : "greedy";
		const [low, high] = body.width;
		const longest = high === 0 ? 0 : most === MAX_REPEAT ? Number.POSITIVE_INFINITY : high * most;
		pieces[pieces.length - 1] = {
			kind: "repeat",
			least,
			most,
			mode,
			body,
			width: [low * least, longest]
		};
		return true;
	}
	#bounds() {
		const tokens = this.#tokens;
		const start = tokens.index;
		if (tokens.next === "}") return void 0;
		const low = tokens.takeWhile(DIGITS);
		const high = tokens.accept(",") ? tokens.takeWhile(DIGITS) : low;
		if (!tokens.accept("}")) {
			tokens.index = start;
			return;
		}
		const [least, most] = [Number(low || 0), high === "" ? MAX_REPEAT : Number(high)];
		if (low !== "" && least >= MAX_REPEAT || high !== "" && most >= MAX_REPEAT) throw new SyntaxError("the number of repetitions is too large");
		if (most < least) throw new SyntaxError(`{${low},${high}} repeats at most less often than at least`);
		return [least, most];
	}
	#group(flags, depth, mayHaveFlags) {
		const tokens = this.#tokens;
		if (!tokens.accept("?")) return this.#capture(void 0, flags, depth);
		const kind = tokens.take();
		if (kind === void 0) throw new SyntaxError("the expression ends after (?");
		switch (kind) {
			case "P": return this.#named(flags, depth);
			case ":": return this.#closed({
				kind: "group",
				index: void 0
			}, flags, depth);
			case ">": return this.#closed({ kind: "atomic" }, flags, depth);
			case "#":
				tokens.index--;
				tokens.takeUntil(")", "comment");
				return "comment";
			case "=":
			case "!": return this.#closed({
				kind: "look",
				behind: false,
				negative: kind === "!"
			}, flags, depth);
			case "<": return this.#lookBehind(flags, depth);
			case "(": return this.#conditional(flags, depth);
			default: return this.#flagGroup(kind, flags, depth, mayHaveFlags);
		}
	}
	#close() {
		if (!this.#tokens.accept(")")) throw new SyntaxError("missing )");
	}
	#closed(head, flags, depth) {
		const body = this.#choice(flags, depth + 1);
		this.#close();
		return {
			...head,
			body,
			width: head.kind === "look" ? NOTHING : body.width
		};
	}
	#capture(name, flags, depth) {
		const index = this.#widths.length;
		this.#widths.push(void 0);
		if (name !== void 0) {
			if (this.#names.has(name)) throw new SyntaxError(`two groups are called ${name}`);
			this.#names.set(name, index);
		}
		const body = this.#choice(flags, depth + 1);
		this.#close();
		this.#widths[index] = body.width;
		return {
			kind: "group",
			index,
			body,
			width: body.width
		};
	}
	#named(flags, depth) {
		if (this.#tokens.accept("<")) return this.#capture(groupName(this.#tokens.takeUntil(">", "name")), flags, depth);
		if (!this.#tokens.accept("=")) throw new SyntaxError(`unknown group (?P${this.#tokens.next ?? ""}`);
		const name = groupName(this.#tokens.takeUntil(")", "name"));
		const group = this.#names.get(name);
		if (group === void 0) throw new SyntaxError(`no group is called ${name}`);
		return this.#reference(group, flags);
	}
	#lookBehind(flags, depth) {
		const sign = this.#tokens.take();
		if (sign !== "=" && sign !== "!") throw new SyntaxError(`unknown group (?<${sign ?? ""}: Python writes (?P<name>…), (?<=…) and (?<!…)`);
		const outer = this.#lookBehindFrom;
		this.#lookBehindFrom ??= this.#widths.length;
		const piece = this.#closed({
			kind: "look",
			behind: true,
			negative: sign === "!"
		}, flags, depth);
		this.#lookBehindFrom = outer;
		const [low, high] = piece.body.width;
		if (low !== high) throw new SyntaxError("a look-behind needs a pattern of one length");
		return piece;
	}
	#conditional(flags, depth) {
		const tokens = this.#tokens;
		const name = tokens.takeUntil(")", "group");
		let group;
		if (/^[0-9]+$/.test(name)) {
			group = Number(name);
			if (group === 0) throw new SyntaxError("there is no group 0 to ask for");
			this.#asked.push(group);
		} else {
			group = this.#names.get(groupName(name));
			if (group === void 0) throw new SyntaxError(`no group is called ${name}`);
		}
		this.#requireOutside(group);
		if (depth > MAX_DEPTH) throw new SyntaxError(`groups nested more than ${MAX_DEPTH} deep are not supported`);
		const yes = this.#sequence(flags, depth + 1);
		const no = tokens.accept("|") ? this.#sequence(flags, depth + 1) : void 0;
		if (tokens.next === "|") throw new SyntaxError("a conditional group has more than two branches");
		this.#close();
		const [low, high] = no?.width ?? NOTHING;
		const width = [Math.min(yes.width[0], low), Math.max(yes.width[1], high)];
		return {
			kind: "conditional",
			group,
			yes,
			no,
			width
		};
	}
	#flagGroup(first, flags, depth, mayHaveFlags) {
		const tokens = this.#tokens;
		const on = [];
		const off = [];
		let letter = first;
		for (; letter !== ")" && letter !== ":" && letter !== "-"; letter = tokens.take()) on.push(flagLetter(letter));
		if (on.includes("a") && on.includes("u")) throw new SyntaxError("the flags a and u exclude each other");
		if (letter === ")") {
			if (!mayHaveFlags) throw new SyntaxError(`the flags (?${on.join("")}) are not at the start`);
			const all = new Set([...this.#globalFlags, ...on]);
			if (all.has("a") && all.has("u")) throw new SyntaxError("the flags a and u exclude each other");
			this.#globalFlags = this.#changed(all, [], []);
			return "flags";
		}
		if (letter === "-") {
			letter = tokens.take();
			do {
				off.push(flagLetter(letter));
				letter = tokens.take();
			} while (letter !== ":");
		}
		if (off.some((flag) => flag === "a" || flag === "u")) throw new SyntaxError("the flags a and u cannot be turned off");
		if (on.some((flag) => off.includes(flag))) throw new SyntaxError("a flag is turned on and off at once");
		return this.#closed({
			kind: "group",
			index: void 0
		}, this.#changed(flags, on, off), depth);
	}
	#changed(flags, on, off) {
		const changed = new Set(flags);
		if (on.includes("u")) changed.delete("a");
		for (const flag of on) changed.add(flag);
		for (const flag of off) changed.delete(flag);
		this.#ignoresCase ||= changed.has("i");
		return changed;
	}
};
function flagLetter(letter) {
	if (letter?.length === 1 && "aimsux".includes(letter)) return letter;
	if (letter === "L") throw new SyntaxError("the flag L is for bytes, not for text");
	throw new SyntaxError(`unknown group or flag (?${letter ?? ""}`);
}
function groupName(name) {
	if (/^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(name)) return name;
	throw new SyntaxError(`bad character in the name of the group ${JSON.stringify(name)}`);
}
function sequence(pieces) {
	const sum = (side) => pieces.reduce((total, piece) => total + piece.width[side], 0);
	return {
		kind: "sequence",
		pieces,
		width: [sum(0), sum(1)]
	};
}
function either(pieces) {
	const low = pieces.reduce((least, piece) => Math.min(least, piece.width[0]), Number.POSITIVE_INFINITY);
	const high = pieces.reduce((most, piece) => Math.max(most, piece.width[1]), 0);
	return {
		kind: "choice",
		pieces: withSharedStarts(pieces),
		width: [low, high]
	};
}
function withSharedStarts(branches) {
	const shared = [];
	for (let first = 0; first < branches.length;) {
		let end = first + 1;
		let length = literalAt(branches[first], 0) === void 0 ? 0 : Number.POSITIVE_INFINITY;
		while (length > 0 && end < branches.length) {
			const common = commonStart(branches[end - 1], branches[end], length);
			if (common === 0) break;
			length = common;
			end++;
		}
		const group = branches.slice(first, end);
		if (group.length === 1) shared.push(group[0]);
		else {
			const rest = group.map(({ pieces }) => sequence(pieces.slice(length)));
			shared.push(sequence([...group[0].pieces.slice(0, length), either(rest)]));
		}
		first = end;
	}
	return shared;
}
function literalAt(piece, at) {
	const found = piece.kind === "sequence" ? piece.pieces[at] : void 0;
	return found?.kind === "character" ? found.literal : void 0;
}
function commonStart(a, b, most) {
	let length = 0;
	while (length < most && literalAt(a, length) !== void 0 && literalAt(a, length) === literalAt(b, length)) length++;
	return length;
}
const characterOf = (test) => ({
	kind: "character",
	test,
	width: [1, 1]
});
const placeOf = (test) => ({
	kind: "place",
	test,
	width: NOTHING
});
const atStart = (_, at) => at === 0;
const atEnd = (text, at) => at === text.length;
function startOfLine(flags) {
	return flags.has("m") ? (text, at) => at === 0 || text[at - 1] === NEWLINE : atStart;
}
function endOfLine(flags) {
	if (flags.has("m")) return (text, at) => at === text.length || text[at] === NEWLINE;
	return (text, at) => at === text.length || at === text.length - 1 && text[at] === NEWLINE;
}
function wordBoundary(flags, wanted) {
	const word = (code) => code !== void 0 && isWord(code, flags);
	return (text, at) => text.length > 0 && word(text[at - 1]) !== word(text[at]) === wanted;
}
const PLACES = {
	A: () => atStart,
	Z: () => atEnd,
	z: () => atEnd,
	b: (flags) => wordBoundary(flags, true),
	B: (flags) => wordBoundary(flags, false)
};
// src/lora/python-regexp.ts
var PythonRegExp = class {
	#syntax;
	#run;
	#prefix;
	#whole;
	constructor(source) {
		this.#syntax = parsePython(source);
		const unset = () => new Array(this.#syntax.groups).fill(-1);
		this.#run = {
			text: [],
			starts: unset(),
			ends: unset()
		};
		this.#prefix = compile(this.#syntax.root, this.#run, () => true);
		this.#whole = compile(this.#syntax.root, this.#run, (at) => at === this.#run.text.length);
	}
	match(text) {
		return this.#match(text, this.#prefix);
	}
	fullMatch(text) {
		return this.#match(text, this.#whole);
	}
	#match(text, step) {
		const codes = codesOf(text);
		if (this.#syntax.ignoresCase && codes.some((code) => code > 127)) throw new SyntaxError("the flag i with names beyond ASCII is not supported");
		const run = this.#run;
		run.text = codes;
		run.starts.fill(-1);
		run.ends.fill(-1);
		if (!step(0)) return void 0;
		const groups = Object.create(null);
		for (const [name, group] of this.#syntax.names) groups[name] = isSet(run, group) ? slice(codes, run.starts[group], run.ends[group]) : void 0;
		return { groups };
	}
};
let lastText = "";
let lastCodes = [];
function codesOf(text) {
	if (text !== lastText) {
		lastCodes = Array.from(text, (character) => character.codePointAt(0));
		lastText = text;
	}
	return lastCodes;
}
const slice = (codes, start, end) => codes.slice(start, end).map((code) => String.fromCodePoint(code)).join("");
const isSet = ({ starts, ends }, group) => starts[group] >= 0 && ends[group] >= starts[group];
function compile(piece, run, next) {
	switch (piece.kind) {
		case "character": return (at) => at < run.text.length && piece.test(run.text[at]) && next(at + 1);
		case "place": return (at) => piece.test(run.text, at) && next(at);
		case "sequence": return piece.pieces.reduceRight((rest, one) => compile(one, run, rest), next);
		case "choice": {
			const branches = piece.pieces.map((one) => compile(one, run, next));
			return (at) => branches.some((branch) => branch(at));
		}
		case "group": return piece.index === void 0 ? compile(piece.body, run, next) : compileGroup(piece.index, piece.body, run, next);
		case "atomic": {
			const once = compileOnce(piece.body, run);
			return (at) => {
				const restore = savedGroups(run);
				const end = once(at);
				if (end >= 0 && next(end)) return true;
				restore();
				return false;
			};
		}
		case "look": return compileLook(piece, run, next);
		case "repeat": return compileRepeat(piece, run, next);
		case "reference": return compileReference(piece, run, next);
		case "conditional": {
			const yes = compile(piece.yes, run, next);
			const no = piece.no ? compile(piece.no, run, next) : next;
			return (at) => isSet(run, piece.group) ? yes(at) : no(at);
		}
	}
}
function compileGroup(index, body, run, next) {
	const { starts, ends } = run;
	const inside = compile(body, run, (at) => {
		const before = ends[index];
		ends[index] = at;
		if (next(at)) return true;
		ends[index] = before;
		return false;
	});
	return (at) => {
		const before = starts[index];
		starts[index] = at;
		if (inside(at)) return true;
		starts[index] = before;
		return false;
	};
}
function compileOnce(body, run) {
	let end = -1;
	const inside = compile(body, run, (at) => {
		end = at;
		return true;
	});
	return (at) => inside(at) ? end : -1;
}
function savedGroups(run) {
	const [starts, ends] = [run.starts.slice(), run.ends.slice()];
	return () => {
		for (let i = 1; i < starts.length; i++) {
			run.starts[i] = starts[i];
			run.ends[i] = ends[i];
		}
	};
}
function compileLook(piece, run, next) {
	const once = compileOnce(piece.body, run);
	const back = piece.behind ? piece.body.width[0] : 0;
	return (at) => {
		const restore = savedGroups(run);
		const found = at >= back && once(at - back) >= 0;
		if (piece.negative) restore();
		if (found !== piece.negative && next(at)) return true;
		restore();
		return false;
	};
}
function compileRepeat(piece, run, next) {
	const { body, least, most } = piece;
	if (piece.mode === "possessive") return compilePossessive(piece, run, next);
	if (body.kind === "character") return compileCharacters(body.test, piece, run, next);
	let count = 0;
	let last = -1;
	const more = (at, from) => {
		const before = last;
		count++;
		last = from;
		if (inside(at)) return true;
		count--;
		last = before;
		return false;
	};
	const leave = (at) => {
		const turns = count;
		const before = last;
		if (next(at)) return true;
		count = turns;
		last = before;
		return false;
	};
	const loop = (at) => {
		if (count < least) return more(at, last);
		const mayGoOn = count < most && at !== last;
		if (piece.mode === "lazy") return leave(at) || mayGoOn && more(at, at);
		return mayGoOn && more(at, at) || leave(at);
	};
	const inside = compile(body, run, loop);
	return (at) => {
		const turns = count;
		const before = last;
		count = 0;
		last = -1;
		if (loop(at)) return true;
		count = turns;
		last = before;
		return false;
	};
}
function compileCharacters(test, { least, most, mode }, run, next) {
	return (at) => {
		const end = Math.min(run.text.length, at + most);
		const first = at + least;
		let reached = at;
		if (mode === "greedy") {
			while (reached < end && test(run.text[reached])) reached++;
			for (; reached >= first; reached--) if (next(reached)) return true;
			return false;
		}
		for (;; reached++) {
			if (reached >= first && next(reached)) return true;
			if (reached >= end || !test(run.text[reached])) return false;
		}
	};
}
function compilePossessive({ body, least, most }, run, next) {
	const once = compileOnce(body, run);
	return (start) => {
		const restore = savedGroups(run);
		let at = start;
		for (let count = 0, last = -1; count < most && at !== last; count++) {
			const end = once(at);
			if (end < 0) {
				if (count >= least) break;
				restore();
				return false;
			}
			if (count >= least) last = at;
			at = end;
		}
		if (next(at)) return true;
		restore();
		return false;
	};
}
function compileReference(piece, run, next) {
	const same = piece.ignoreCase ? (a, b) => lowerCase(a) === lowerCase(b) : (a, b) => a === b;
	return (at) => {
		if (!isSet(run, piece.group)) return false;
		const start = run.starts[piece.group];
		const length = run.ends[piece.group] - start;
		if (at + length > run.text.length) return false;
		for (let i = 0; i < length; i++) if (!same(run.text[start + i], run.text[at + i])) return false;
		return next(at + length);
	};
}
// src/lora/peft-rules.ts
const MAX_MILLISECONDS = 700;
function withPatterns(options, work) {
	const hint = "Use a list of names, or a pattern without nested repetitions.";
	const refuse = (why, cause) => new ConfigError(`a regular expression of ${options} ${why}`, {
		hint,
		cause
	});
	const timeIsOver = refuse("takes too long to match the names of layers");
	const start = process.cpuUsage();
	const attempt = (milliseconds) => {
		try {
			return withinTime(milliseconds, work, () => timeIsOver);
		} catch (error) {
			const wasStarved = process.cpuUsage(start).user / 1e3 < MAX_MILLISECONDS / 2;
			if (error === timeIsOver && milliseconds === MAX_MILLISECONDS && wasStarved) return attempt(2 * milliseconds);
			if (error instanceof TuneError) throw error;
			if (error instanceof RangeError) throw refuse("has too many parts to match the names of layers", error);
			throw refuse(`cannot be used: ${error.message}`, error);
		}
	};
	return attempt(MAX_MILLISECONDS);
}
function hasPatterns({ targetModules, excludeModules, layersPattern }) {
	if (typeof targetModules === "string" && !isAllLinear(targetModules)) return true;
	return typeof excludeModules === "string" || layersPattern !== void 0 && layersPattern.length > 0;
}
const MAX_CACHED = 1 << 20;
const compiled = new Map();
let cachedCharacters = 0;
function pythonRegExp(source) {
	const known = compiled.get(source);
	if (known) return known;
	const made = new PythonRegExp(source);
	cachedCharacters += source.length;
	if (cachedCharacters > MAX_CACHED) {
		compiled.clear();
		cachedCharacters = source.length;
	}
	compiled.set(source, made);
	return made;
}
const WITHIN = {
	targetModules: (pattern) => pattern,
	excludeModules: (pattern) => pattern,
	layersPattern: (pattern) => `(?:^|.*?\\.)${pattern}\\.(?P<idx>\\d+)\\.`,
	rankPattern: (pattern) => `(.*\\.)?(${pattern})$`,
	alphaPattern: (pattern) => `(.*\\.)?(${pattern})$`
};
function checkPattern(option, pattern) {
	pythonRegExp(WITHIN[option](pattern));
}
function matchingPattern(patterns, name) {
	const found = patterns.find((pattern) => endsWithPlain(pattern, name) !== false);
	if (found === void 0 || endsWithPlain(found, name)) return found;
	const matches = (pattern) => endsWithPlain(pattern, name) ?? pythonRegExp(WITHIN.rankPattern(pattern)).match(name) !== void 0;
	return withPatterns("rankPattern or alphaPattern", () => patterns.find(matches));
}
function endsWithPlain(pattern, name) {
	if (!/^(?:\w|\\?\.)+$/.test(pattern) || !/^[\w.]*$/.test(name)) return void 0;
	let at = name.length;
	for (let i = pattern.length - 1; i >= 0; i--) {
		const character = pattern[i];
		const isEscaped = pattern[i - 1] === "\\";
		at--;
		if (at < 0 || name[at] !== character && (character !== "." || isEscaped)) return false;
		if (isEscaped) i--;
	}
	return at === 0 || name[at - 1] === ".";
}
function isAllLinear(target) {
	return typeof target === "string" && target.toLowerCase() === "all-linear";
}
function isExcluded({ excludeModules }, name) {
	return excludeModules !== void 0 && matchesNames(excludeModules, name);
}
function isTarget(rules, name) {
	return !isExcluded(rules, name) && matchesTarget(rules, name);
}
function matchesTarget(rules, name) {
	const { targetModules } = rules;
	if (isAllLinear(targetModules)) return name.split(".").at(-1) !== "lm_head";
	if (typeof targetModules === "string") return matchesNames(targetModules, name);
	if (targetModules.includes(name)) return true;
	return matchesNames(targetModules, name) && inLayers(rules, name);
}
function matchesNames(rule, name) {
	if (typeof rule === "string") return rule !== "" && pythonRegExp(rule).fullMatch(name) !== void 0;
	return rule.some((entry) => endsWithName(name, entry));
}
function endsWithName(name, ending) {
	return name === ending || name.endsWith(`.${ending}`);
}
const ANY_LAYER = ".*?\\.[^.]*\\.(?P<idx>\\d+)\\.";
function inLayers({ layersToTransform, layersPattern }, name) {
	if (layersToTransform === void 0) return true;
	if (typeof layersToTransform !== "number" && layersToTransform.length === 0) return true;
	const patterns = layersPattern === void 0 || layersPattern.length === 0 ? [ANY_LAYER] : [layersPattern].flat().map(WITHIN.layersPattern);
	let match;
	for (const pattern of patterns) {
		match = pythonRegExp(pattern).match(name);
		if (match) break;
	}
	const index = match?.groups.idx;
	return index !== void 0 && [layersToTransform].flat().includes(Number(index));
}
// src/lora/peft-targets.ts
function peftTargets(config, matched, all) {
	const own = config.toPeft();
	const endings = [...new Set(matched.map((name) => name.split(".").at(-1)))].sort();
	const none = {
		exclude_modules: null,
		layers_to_transform: null,
		layers_pattern: null
	};
	const isAny = isAllLinear(own.target_modules);
	const plain = {
		excludeModules: void 0,
		layersToTransform: void 0,
		layersPattern: void 0
	};
	const candidates = [isAny ? {
		...own,
		target_modules: endings
	} : own, ...[
		"both",
		"language",
		"vision"
	].map((towers) => {
		return config.with({
			...plain,
			targetModules: endings,
			towers
		}).toPeft();
	})].map(({ target_modules, exclude_modules, layers_to_transform, layers_pattern }) => {
		return {
			target_modules,
			exclude_modules,
			layers_to_transform,
			layers_pattern
		};
	});
	const modules = moduleNames(all);
	const wanted = new Set(matched);
	const fits = (targets) => {
		const rules = {
			targetModules: targets.target_modules,
			excludeModules: targets.exclude_modules ?? void 0,
			layersToTransform: targets.layers_to_transform ?? void 0,
			layersPattern: targets.layers_pattern ?? void 0
		};
		return modules.every((name) => isTarget(rules, name) === wanted.has(name));
	};
	const found = candidates.find((targets) => {
		try {
			return withPatterns("targetModules, excludeModules or layersPattern", () => fits(targets));
		} catch {
			return false;
		}
	});
	if (!found) return {
		...none,
		target_modules: [...matched]
	};
	if (typeof found.target_modules === "string") return found;
	return withoutUnused(found, modules, fits);
}
function withoutUnused(targets, all, fits) {
	const used = targets.target_modules.filter((target) => all.some((name) => name === target || name.endsWith(`.${target}`)));
	const fewer = {
		...targets,
		target_modules: used
	};
	return used.length > 0 && fits(fewer) ? fewer : targets;
}
const OTHER_MODULES = [
	"lm_head",
	"model.language_model.embed_tokens",
	"model.language_model.norm",
	"model.language_model.rotary_emb",
	"model.vision_tower.patch_conv",
	"model.vision_tower.ln_pre",
	"model.vision_tower.patch_positional_embedding",
	"model.multi_modal_projector.norm",
	"model.multi_modal_projector.act"
];
const OTHER_PARTS = [
	[/^model\.language_model\.layers\.\d+$/, ["input_layernorm", "post_attention_layernorm"]],
	[/^model\.vision_tower\.transformer\.layers\.\d+$/, ["attention_norm", "ffn_norm"]],
	[/\.(mlp|feed_forward)$/, ["act_fn"]]
];
function moduleNames(linears) {
	const names = new Set([...linears, ...OTHER_MODULES]);
	for (const name of [...names]) for (let end = name.lastIndexOf("."); end > 0; end = name.lastIndexOf(".", end - 1)) names.add(name.slice(0, end));
	for (const name of [...names]) for (const [pattern, parts] of OTHER_PARTS) if (pattern.test(name)) for (const part of parts) names.add(`${name}.${part}`);
	return [...names];
}
// src/lora/write-adapter.ts
const saveAdapterSchema = strictObject({
	baseModelNameOrPath: string().min(1).optional(),
	revision: string().min(1).optional(),
	...chatTemplateFields,
	onWarning: callback().optional()
});
async function saveAdapter(adapter, directory, options = {}) {
	requireAdapter(adapter, "saveAdapter", "saveAdapter(adapter, 'folder')");
	if (typeof directory !== "string" || directory === "") {
		const given = directory === "" ? "an empty one" : describeValue(directory);
		throw new ConfigError(`saveAdapter: expected a path, got ${given}`, { hint: "Say where it is saved: saveAdapter(adapter, 'folder')." });
	}
	const parsed = parseOptions(saveAdapterSchema, options, "saveAdapter", { basemodel: "baseModelNameOrPath" });
	await writeAdapter(adapter, await adapter.readValues(), directory, parsed);
}
async function writeIntoCheckpoint(adapter, directory, parameters, maker) {
	if ((await ADAPTER_SELECTION.missingFrom(directory)).length === 0) return;
	const values = new Map(adapter.parameters.parameters.map(({ name, offset, size }) => [name, parameters.subarray(offset, offset + size)]));
	const { data } = chatTemplateFields.processor.safeParse(maker);
	await writeAdapter(adapter, values, directory, {
		processor: data,
		onWarning: () => void 0
	});
}
async function writeAdapter(adapter, values, directory, options) {
	for (const [name, array] of values) {
		if (isTurnDue()) await eventLoopTurn();
		const bad = await findNotFinite(array);
		if (bad < 0) continue;
		throw new CheckpointError(`${name} holds ${array[bad]}: the adapter is not saved, nobody could use it`, {
			hint: "Its training has diverged; go on from an earlier checkpoint, with a lower learning rate.",
			details: { name }
		});
	}
	await mkdir(directory, { recursive: true }).catch((cause) => {
		const why = cause.code === "EEXIST" || cause.code === "ENOTDIR" ? "a file is in its place" : cause.message;
		throw new CheckpointError(`cannot make the folder ${directory}: ${why}`, {
			hint: "An adapter is saved into a folder of its own.",
			details: { path: directory },
			cause
		});
	});
	const template = chatTemplateText(options) ?? adapter.origin.chatTemplate;
	const base = await baseToWrite(adapter, options);
	const json = JSON.stringify(peftConfig(adapter, base), null, 2);
	const files = new Map([[ADAPTER_WEIGHTS_FILE, (path) => writeValues(adapter, values, path, directory)]]);
	if (template !== void 0) files.set(CHAT_TEMPLATE_FILE, (path) => writeFileAtomically(path, template));
	files.set(ADAPTER_CONFIG_FILE, (path) => writeFileAtomically(path, `${json}\n`));
	await whileWriting(directory, options.onWarning, async (requireOwned) => {
		await sweepTemporariesOf(directory, [...files.keys()]);
		await forgetDigests(directory, [
			ADAPTER_WEIGHTS_FILE,
			ADAPTER_CONFIG_FILE,
			CHAT_TEMPLATE_FILE
		]);
		await replaceTogether(directory, files, requireOwned);
	});
}
async function writeValues(adapter, values, path, directory) {
	const tensors = adapter.parameters.parameters.map(({ name, shape }) => ({
		name,
		shape,
		dtype: "F32",
		data: values.get(name)
	}));
	await writeSafetensors(path, tensors, { format: "pt" });
	const file = await SafetensorsFile.open(path);
	try {
		const faults = [];
		for (const { name, shape, data } of tensors) {
			const info = file.tensors.get(name);
			if (!info) faults.push(`"${name}" is missing`);
			else if (info.dtype !== "F32" || info.shape.join() !== shape.join()) faults.push(`"${name}" is ${info.dtype} [${info.shape}], expected F32 [${shape}]`);
			else if (!sameBits(await file.readFloat32(name), data)) faults.push(`"${name}" holds other values`);
		}
		if (file.tensors.size !== tensors.length) faults.push(`it holds ${file.tensors.size} tensors, expected ${tensors.length}`);
		if (faults.length > 0) {
			const target = join(directory, ADAPTER_WEIGHTS_FILE);
			throw new CheckpointError(`${target} was not written faithfully:\n  - ${faults.join("\n  - ")}`, {
				hint: "The disk may be full or failing; save again elsewhere.",
				details: {
					path: target,
					faults
				}
			});
		}
	} finally {
		await file.close();
	}
}
async function baseToWrite({ model, origin }, options) {
	if (options.baseModelNameOrPath !== void 0) return {
		name: options.baseModelNameOrPath,
		revision: options.revision ?? null
	};
	const own = baseOf(model);
	const { name, revision } = own.name === void 0 ? {
		name: origin.baseModelNameOrPath,
		revision: origin.revision
	} : own;
	if (name !== void 0 && await isLocalName(name)) warnWith(options.onWarning, [`the adapter names "${name}", a folder of this machine, as its base model: nobody else can load that; the option baseModelNameOrPath of saveAdapter gives its name on the Hub`]);
	return {
		name: name ?? null,
		revision: options.revision ?? revision ?? null
	};
}
function peftConfig(adapter, { name, revision }) {
	const matched = adapter.modules.map(({ module }) => module.name);
	const all = adapter.model.linearModules.map((module) => module.name);
	return {
		...adapter.config.toPeft(name),
		...peftTargets(adapter.config, matched, all),
		revision
	};
}
function sameBits(a, b) {
	const [left, right] = [a, b].map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
	return left.equals(right);
}
const all = new WeakMap();
var AdapterSlots = class AdapterSlots {
	adapters = new Map();
	#model;
	#active;
	#attached;
	constructor(model) {
		this.#model = model;
	}
	static of(model) {
		const slots = all.get(model) ?? new AdapterSlots(model);
		all.set(model, slots);
		return slots;
	}
	get active() {
		return this.#active;
	}
	add(adapter) {
		const isFirst = this.adapters.size === 0;
		this.adapters.set(adapter.name, adapter);
		if (isFirst) this.activate(adapter);
	}
	activate(adapter) {
		this.#active = adapter;
		this.update();
	}
	remove(adapter) {
		this.adapters.delete(adapter.name);
		if (this.#active === adapter) this.#active = void 0;
		this.update();
	}
	update() {
		const wanted = this.#active?.isEnabled ? this.#active : void 0;
		if (wanted === this.#attached) return;
		this.#attached?.attach(false);
		wanted?.attach(true);
		this.#attached = wanted;
		const write = wanted && ((directory, parameters, maker) => writeIntoCheckpoint(wanted, directory, parameters, maker));
		this.#model.setTrainable?.(wanted?.parameters, write);
	}
	get(name, what) {
		const found = this.adapters.get(name);
		if (found) return found;
		const names = [...this.adapters.keys()];
		const near = typeof name === "string" ? nearestName(name, names) : void 0;
		throw new ConfigError(`${what}: the model has no adapter ${typeof name === "string" ? showValue(name) : describeValue(name)}; ` + (names.length > 0 ? `it has ${names.map((known) => `"${known}"`).join(", ")}` : "it has none"), { hint: near ? `Did you mean "${near}"?` : "loadAdapter(folder, model, { adapterName: 'NAME' }) adds one." });
	}
};
function setAdapter(model, name) {
	requireLoraHost(model, "setAdapter");
	const slots = AdapterSlots.of(model);
	const adapter = slots.get(name, "setAdapter");
	const { active } = slots;
	if (active && active !== adapter) requireNotTraining(active.parameters, `setAdapter: the adapter "${active.name}"`);
	slots.activate(adapter);
	adapter.enable();
	return adapter;
}
function activeAdapter(model) {
	requireLoraHost(model, "activeAdapter");
	return AdapterSlots.of(model).active;
}
function adaptersOf(model) {
	requireLoraHost(model, "adaptersOf");
	return new Map(AdapterSlots.of(model).adapters);
}
function deleteAdapter(model, name) {
	requireLoraHost(model, "deleteAdapter");
	AdapterSlots.of(model).get(name, "deleteAdapter").dispose();
}
// src/lora/peft-fields.ts
const field = (value, use) => ({
	default: value,
	use
});
const refused = (value, what) => field(value, { refused: what });
const PEFT_FIELDS = {
	alora_invocation_tokens: refused(null, "the adapter acts only after these tokens"),
	alpha_pattern: field({}, "read"),
	arrow_config: refused(null, "the adapter is chosen anew for each token"),
	auto_mapping: field(null, "ignored"),
	base_model_name_or_path: field(null, "read"),
	bias: field("none", "read"),
	corda_config: field(null, "ignored"),
	ensure_weight_tying: field(false, "read"),
	eva_config: field(null, "ignored"),
	exclude_modules: field(null, "read"),
	fan_in_fan_out: refused(false, "the weights are stored transposed"),
	inference_mode: field(true, "ignored"),
	init_lora_weights: field(true, "read"),
	kasa_config: refused(null, "singular values are taken off the base weights"),
	layer_replication: refused(null, "layers of the base model are repeated"),
	layers_pattern: field(null, "read"),
	layers_to_transform: field(null, "read"),
	loftq_config: field({}, "ignored"),
	lora_alpha: field(8, "read"),
	lora_bias: refused(false, "B has a bias"),
	lora_dropout: field(0, "read"),
	lora_ga_config: field(null, "ignored"),
	megatron_config: refused(null, "the layers are those of Megatron"),
	megatron_core: field("megatron.core", "ignored"),
	modules_to_save: refused(null, "whole modules are trained beside the adapter"),
	monteclora_config: refused(null, "the matrices are drawn at random in training"),
	peft_type: field("LORA", "read"),
	peft_version: field("0.21.0", "ignored"),
	qalora_group_size: field(16, "ignored"),
	r: field(8, "read"),
	rank_pattern: field({}, "read"),
	revision: field(null, "ignored"),
	target_modules: field(null, "read"),
	target_parameters: refused(null, "parameters are adapted instead of layers"),
	task_type: field(null, "read"),
	trainable_token_indices: refused(null, "rows of the embedding are trained beside the adapter"),
	use_bdlora: refused(null, "the matrices are block-diagonal"),
	use_dora: refused(false, "the weights are split into direction and magnitude (DoRA)"),
	use_qalora: refused(false, "the layers' inputs are averaged in groups"),
	use_rslora: field(false, "read"),
	velora_config: refused(null, "gradients are computed from compressed inputs")
};
const ON_WHEN_EMPTY = new Set([
	"alora_invocation_tokens",
	"arrow_config",
	"kasa_config",
	"monteclora_config",
	"use_bdlora",
	"velora_config"
]);
const IGNORED_ELSEWHERE = new Set([
	"runtime_config",
	"merge_weights",
	"lora_dtype",
	"lorap_lr_ratio",
	"lorap_emb_lr",
	"torch_dtype"
]);
const IS_NOTE = /^_|_version$|^(library_name|created_at|license|tags|comment|description|notes?)$/;
const HARMLESS_INITS = [
	void 0,
	null,
	true,
	false,
	"gaussian",
	"orthogonal",
	"eva",
	"mica"
];
const CHANGES_BASE = /^(pissa(_niter_\d+)?|olora|corda|loftq|lora_ga)$/i;
const OTHER_TYPES = [
	...[
		"ADALORA",
		"ADAMSS",
		"ADAPTION_PROMPT",
		"BEFT",
		"BOFT",
		"BONE",
		"C3A",
		"CARTRIDGE",
		"CPT",
		"DEFT",
		"DELORA"
	],
	...[
		"FOURIERFT",
		"FROD",
		"GLORA",
		"GRALORA",
		"HIRA",
		"HRA",
		"IA3",
		"LILY",
		"LN_TUNING",
		"LOHA",
		"LOKR",
		"MISS"
	],
	...[
		"MULTITASK_PROMPT_TUNING",
		"OFT",
		"OSF",
		"PEANUT",
		"POLY",
		"PREFIX_TUNING",
		"PROMPT_TUNING",
		"PSOFT",
		"PVERA"
	],
	...[
		"P_TUNING",
		"RANDLORA",
		"ROAD",
		"SHADOW",
		"SHIRA",
		"SUPERTUNING",
		"TINYLORA",
		"TRAINABLE_TOKENS",
		"UNILORA"
	],
	...[
		"VBLORA",
		"VERA",
		"WAVEFT",
		"XLORA"
	]
];
const TIED_NAMES = ["embed_tokens", "lm_head"];
const MAX_UNKNOWN = 20;
function unsupportedSettings(peft) {
	const faults = [];
	const show = (key) => `${key}: ${showValue(peft[key])}`;
	if (peft.peft_type !== "LORA") faults.push(peftTypeFault(peft.peft_type));
	if ((peft.bias ?? "none") !== "none") faults.push(`${show("bias")}, only "none" is supported`);
	for (const [key, { use }] of Object.entries(PEFT_FIELDS)) {
		const isOff = ON_WHEN_EMPTY.has(key) ? (peft[key] ?? false) === false : isEmpty(peft[key]);
		if (typeof use === "object" && !isOff) faults.push(`${show(key)} is not supported: ${use.refused}`);
	}
	const init = peft.init_lora_weights;
	if (typeof init === "string" && CHANGES_BASE.test(init)) faults.push(`${show("init_lora_weights")} changes the base weights and is not supported: save it in PEFT with path_initial_model_for_weight_conversion, which makes a plain adapter of it`);
	else if (!HARMLESS_INITS.includes(init)) faults.push(`${show("init_lora_weights")} is not known, so what it does to the base weights is not either`);
	if (isEmpty(peft.target_modules)) faults.push(`target_modules is ${peft.target_modules === void 0 ? "missing" : "empty"}: expected names of layers`);
	if (!isEmpty(peft.ensure_weight_tying) && [peft.target_modules].flat().some(isTied)) faults.push(`${show("ensure_weight_tying")} is not supported: one adapter serves the embedding and the output head`);
	const unknownFaults = Object.keys(peft).filter((key) => !Object.hasOwn(PEFT_FIELDS, key) && !IGNORED_ELSEWHERE.has(key) && !IS_NOTE.test(key) && !isEmpty(peft[key])).map((key) => unknownFault(key, show(key)));
	return [...faults, ...firstLines(unknownFaults, MAX_UNKNOWN, "unknown settings")];
}
function unknownFault(key, shown) {
	const near = nearestName(key, Object.keys(PEFT_FIELDS));
	return `${shown} is unknown, and may change what the adapter computes${near ? `; did you mean ${near}?` : ""} (take it out of the file if it only steered the training)`;
}
function peftTypeFault(type) {
	const shown = `peft_type: ${showValue(type)}, expected "LORA"`;
	if (type === void 0) return `${shown}: this is no file of PEFT, or not of an adapter`;
	if (typeof type !== "string") return shown;
	if (OTHER_TYPES.includes(type.toUpperCase())) return `${shown}: adapters of this kind compute something else than LoRA`;
	const near = nearestName(type, ["LORA", ...OTHER_TYPES]);
	return `${shown}${near ? `; did you mean "${near}"?` : ""}`;
}
const isTied = (target) => typeof target === "string" && TIED_NAMES.some((name) => target.split(".").at(-1) === name || target.endsWith(name));
function isEmpty(value) {
	if (typeof value !== "object" || value === null) return !value;
	return Object.keys(value).length === 0;
}
// src/lora/lora-config.ts
const LAYER_PROJECTIONS = [
	"q_proj",
	"k_proj",
	"v_proj",
	"o_proj",
	"gate_proj",
	"up_proj",
	"down_proj"
];
const MAX_RANK = 65536;
const MAX_RULES = 4096;
const MAX_PATTERN = 4096;
const MAX_NAMES_PATTERN = 262144;
const pattern = string().max(MAX_PATTERN);
const fewRules = (rules) => Object.keys(rules).length <= MAX_RULES;
const tooManyRules = `expected at most ${MAX_RULES} entries`;
const namesUpTo = (longest) => union([string().min(1).max(longest), array(pattern.min(1)).min(1).max(MAX_RULES)], { error: "expected a list of module names, or a string with a regular expression for whole names" });
const layerIndex = int$1().min(0);
const TASK_TYPES = [
	"CAUSAL_LM",
	"FEATURE_EXTRACTION",
	"QUESTION_ANS",
	"SEQ_2_SEQ_LM",
	"SEQ_CLS",
	"TOKEN_CLS"
];
const loraConfigSchema = strictObject({
	r: int$1().min(1).max(MAX_RANK).default(8),
	alpha: number().positive().default(8),
	dropout: number().min(0).lt(1).default(0),
	useRslora: boolean().default(false),
	bias: literal("none").default("none"),
	targetModules: namesUpTo(MAX_PATTERN).default([...LAYER_PROJECTIONS]),
	excludeModules: namesUpTo(MAX_NAMES_PATTERN).optional(),
	towers: _enum([
		"both",
		"language",
		"vision"
	]).default("both"),
	layersToTransform: union([layerIndex, array(layerIndex).max(MAX_RULES)]).optional(),
	layersPattern: union([pattern, array(pattern).max(MAX_RULES)]).optional(),
	rankPattern: record(pattern.min(1), int$1().min(1).max(MAX_RANK)).refine(fewRules, tooManyRules).default({}),
	alphaPattern: record(pattern.min(1), number().positive()).refine(fewRules, tooManyRules).default({}),
	initLoraWeights: union([literal(true), literal("gaussian")]).default(true),
	taskType: _enum(TASK_TYPES).nullable().default("CAUSAL_LM")
}).superRefine((options, context) => {
	const fault = (path, message) => {
		context.addIssue({
			code: "custom",
			path: [path],
			message
		});
	};
	const check = (path, patterns) => {
		const characters = patterns.reduce((sum, pattern) => sum + pattern.length, 0);
		if (characters > MAX_NAMES_PATTERN) fault(path, `expected patterns of at most ${MAX_NAMES_PATTERN} characters in all`);
		for (const pattern of characters > MAX_NAMES_PATTERN ? [] : patterns) try {
			checkPattern(path, pattern);
		} catch (error) {
			fault(path, `${showValue(pattern)} is not a regular expression of Python: ${error.message}`);
		}
	};
	for (const path of ["targetModules", "excludeModules"]) {
		const rule = options[path];
		if (typeof rule === "string") check(path, [rule]);
	}
	for (const path of ["rankPattern", "alphaPattern"]) check(path, Object.keys(options[path]));
	if (options.layersToTransform !== void 0 && [options.layersToTransform].flat().length > 0) check("layersPattern", [options.layersPattern ?? []].flat());
	for (const message of scaleFaults(options)) fault(...message);
	if (typeof options.targetModules === "string") {
		for (const path of ["layersToTransform", "layersPattern"]) if (options[path] !== void 0) fault(path, "needs targetModules to be a list, not a string");
	} else if (options.layersPattern?.length && options.layersToTransform === void 0) fault("layersPattern", "needs layersToTransform");
});
const MAX_SCALE = 1e6;
const MIN_SCALE = 1e-9;
function scaleFaults(options) {
	const ranks = [options.r, ...Object.values(options.rankPattern)];
	const fault = (alpha, name) => {
		const rank = ranks.find((r) => {
			const scale = scaleOf$1(alpha, r, options.useRslora);
			return alpha > 0 && r > 0 && !(scale >= MIN_SCALE && scale <= MAX_SCALE);
		});
		if (rank === void 0) return void 0;
		return `${name}${alpha} with r ${rank} makes the scale ${options.useRslora ? "alpha / √r" : "alpha / r"} = ${scaleOf$1(alpha, rank, options.useRslora)}, expected ${MIN_SCALE} to ${MAX_SCALE}: the adapter would overflow or do nothing`;
	};
	const own = fault(options.alpha, "");
	const found = own === void 0 ? [] : [["alpha", own]];
	for (const [pattern, alpha] of Object.entries(options.alphaPattern)) {
		const message = fault(alpha, `${showValue(pattern)}: `);
		if (message !== void 0) found.push(["alphaPattern", message]);
	}
	return found;
}
const scaleOf$1 = (alpha, r, useRslora) => alpha / (useRslora ? Math.sqrt(r) : r);
const NAMES_ELSEWHERE = {
	rank: "r",
	lorar: "r",
	lorarank: "r",
	loraalpha: "alpha",
	loradropout: "dropout"
};
const NAMES_IN_PEFT = {
	alpha: "lora_alpha",
	dropout: "lora_dropout",
	useRslora: "use_rslora",
	targetModules: "target_modules",
	excludeModules: "exclude_modules",
	layersToTransform: "layers_to_transform",
	layersPattern: "layers_pattern",
	rankPattern: "rank_pattern",
	alphaPattern: "alpha_pattern",
	initLoraWeights: "init_lora_weights",
	taskType: "task_type"
};
var LoraConfig = class LoraConfig {
	r;
	alpha;
	dropout;
	useRslora;
	bias;
	targetModules;
	excludeModules;
	towers;
	layersToTransform;
	layersPattern;
	rankPattern;
	alphaPattern;
	initLoraWeights;
	taskType;
	constructor(options = {}, what = "LoraConfig", shown = {}) {
		const resolved = parseOptions(loraConfigSchema, options, what, NAMES_ELSEWHERE, shown);
		Object.assign(this, resolved);
	}
	forModule(name) {
		const rankKey = matchingPattern(Object.keys(this.rankPattern), name);
		const alphaKey = matchingPattern(Object.keys(this.alphaPattern), name);
		const r = rankKey === void 0 ? this.r : this.rankPattern[rankKey];
		const alpha = alphaKey === void 0 ? this.alpha : this.alphaPattern[alphaKey];
		return {
			r,
			alpha,
			scale: scaleOf$1(alpha, r, this.useRslora)
		};
	}
	with(changes) {
		return new LoraConfig({
			...this,
			...changes
		});
	}
	static fromPeft(json, what = "adapter_config.json") {
		if (typeof json !== "object" || json === null || Array.isArray(json)) throw new ConfigError(`${what}: expected a JSON object, got ${showValue(json)}`);
		const peft = json;
		const faults = unsupportedSettings(peft);
		if (faults.length > 0) throw new ConfigError(`${what}: this adapter is not a plain LoRA adapter:\n  - ${faults.join("\n  - ")}`, {
			hint: "Train it without these settings, or merge it into its base model with PEFT.",
			details: { faults }
		});
		const tower = ["language", "vision"].find((side) => peft.exclude_modules === OTHER_SIDE[side]);
		const options = {
			r: peft.r,
			alpha: peft.lora_alpha,
			dropout: peft.lora_dropout,
			useRslora: peft.use_rslora ?? void 0,
			targetModules: peft.target_modules,
			excludeModules: tower || isEmpty(peft.exclude_modules) ? void 0 : peft.exclude_modules,
			towers: tower,
			layersToTransform: peft.layers_to_transform ?? void 0,
			layersPattern: peft.layers_pattern ?? void 0,
			rankPattern: peft.rank_pattern ?? void 0,
			alphaPattern: peft.alpha_pattern ?? void 0,
			initLoraWeights: peft.init_lora_weights === "gaussian" ? "gaussian" : true,
			taskType: peft.task_type ?? null
		};
		return new LoraConfig(options, what, NAMES_IN_PEFT);
	}
	toPeft(baseModelNameOrPath = null) {
		return {
			...Object.fromEntries(Object.entries(PEFT_FIELDS).map(([key, field]) => [key, field.default])),
			alpha_pattern: this.alphaPattern,
			base_model_name_or_path: baseModelNameOrPath,
			bias: this.bias,
			exclude_modules: this.#peftExcludeModules(),
			init_lora_weights: this.initLoraWeights,
			layers_pattern: this.layersPattern ?? null,
			layers_to_transform: this.layersToTransform ?? null,
			lora_alpha: this.alpha,
			lora_dropout: this.dropout,
			r: this.r,
			rank_pattern: this.rankPattern,
			target_modules: isAllLinear(this.targetModules) ? "all-linear" : this.targetModules,
			task_type: this.taskType,
			use_rslora: this.useRslora
		};
	}
	#peftExcludeModules() {
		const own = this.excludeModules;
		if (this.towers === "both") return own ?? null;
		const otherSide = OTHER_SIDE[this.towers];
		if (own === void 0) return otherSide;
		return `(?:${typeof own === "string" ? ownGroup(own) : `(?:.*\\.)?(?:${own.map(escapeRegExp).join("|")})`})|(?:${otherSide})`;
	}
};
const OTHER_SIDE = {
	language: "(?:.*\\.)?(?:vision_tower|multi_modal_projector|lm_head)(?:\\..*)?",
	vision: "(?:.*\\.)?(?:language_model|lm_head)(?:\\..*)?"
};
function ownGroup(pattern) {
	const [start, flags] = /^\(\?([aimsux]+)\)/.exec(pattern) ?? ["", ""];
	if (start === "") return pattern;
	return `(?${flags}:${ownGroup(pattern.slice(start.length))}${flags.includes("x") ? "\n" : ""})`;
}
function escapeRegExp(text) {
	return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
// src/lora/target-modules.ts
const TOWER_PARTS = {
	both: [
		"language",
		"vision",
		"projector",
		"other"
	],
	language: ["language"],
	vision: ["vision", "projector"]
};
function selectTargetModules(names, rules, spelling = (name) => name) {
	const work = () => select(names, rules, spelling);
	return hasPatterns(rules) ? withPatterns("targetModules, excludeModules or layersPattern", work) : work();
}
function select(names, rules, spelling) {
	const spelled = names.map(spelling);
	const inTowers = (name) => TOWER_PARTS[rules.towers].includes(modelPart(name));
	const matched = names.filter((name, i) => inTowers(name) && isTarget(rules, spelled[i]));
	if (matched.length === 0) throw noMatch(spelled, rules);
	const warnings = [];
	if (typeof rules.targetModules !== "string") {
		const unknown = rules.targetModules.filter((target) => !spelled.some((name) => endsWithName(name, target))).filter((target) => !NOT_ADAPTABLE.some((name) => endsWithName(name, target)));
		if (unknown.length > 0) warnings.push(`targetModules: no linear layer is called ${quoted(unknown)}`);
	}
	const beside = isAllLinear(rules.targetModules) ? [] : NOT_ADAPTABLE.filter((name) => isTarget(rules, name));
	if (beside.length > 0) warnings.push("targetModules: output head and embeddings cannot be adapted here: the adapter is trained and saved without " + beside.map((name) => name.split(".").at(-1)).join(", "));
	if (rules.excludeModules !== void 0 && !spelled.some((name) => isExcluded(rules, name))) warnings.push(`excludeModules: ${quoted([rules.excludeModules].flat())} excludes nothing`);
	const vision = matched.filter((name) => modelPart(name) === "vision" || modelPart(name) === "projector").length;
	return {
		matched,
		warnings,
		advice: vision > 0 ? [visionServingAdvice(vision, matched.length)] : []
	};
}
const NOT_ADAPTABLE = ["lm_head", "model.language_model.embed_tokens"];
function visionServingAdvice(vision, all) {
	return `${vision} of the ${all} adapted layers belong to the vision tower or the projector: vLLM serves them only with --enable-tower-connector-lora, where its version supports that for this model, and ignores them or refuses the adapter without; a merged model needs no switch, and towers: "language" leaves these layers out`;
}
const MAX_LISTED = 20;
const MAX_SHOWN = 60;
function noMatch(names, rules) {
	const targets = [rules.targetModules].flat();
	const endings = [...new Set(names.map((name) => name.split(".").at(-1)))].sort();
	const near = targets.slice(0, MAX_LISTED).map((target) => [target, nearestName(target, endings) ?? nearestName(target, names)]).filter(([target, name]) => name !== void 0 && name !== target).map(([target, name]) => `"${target}" is near "${name}"`);
	const narrowed = [
		rules.excludeModules === void 0 ? "" : `excludeModules ${quoted([rules.excludeModules].flat())}`,
		rules.towers === "both" ? "" : `towers "${rules.towers}"`,
		rules.layersToTransform === void 0 ? "" : `layersToTransform [${[rules.layersToTransform].flat()}]`
	].filter(Boolean);
	const regular = typeof rules.targetModules === "string" && !isAllLinear(rules.targetModules);
	return new ConfigError(`targetModules ${quoted(targets)}${narrowed.length > 0 ? `, with ${narrowed.join(" and ")},` : ""} ${regular ? "(a regular expression for the whole name) " : ""}match none of the model's ${names.length} linear layers${near.length > 0 ? `; ${near.join(", ")}` : ""}`, {
		hint: `Endings that exist: ${endings.join(", ")}; a full name: ${names[0] ?? "(the model has none)"}.`,
		details: {
			targetModules: rules.targetModules,
			endings
		}
	});
}
function quoted(names) {
	return shortList(names, MAX_LISTED, (name) => `"${oneLine(name.slice(0, MAX_SHOWN))}"`);
}
// src/lora/apply-lora.ts
const adapterNameSchema = string().regex(/^[^/\\\p{Cc}]{1,100}$/u, "expected a name of at most 100 characters, without slashes");
const applyLoraSchema = strictObject({
	seed: number().default(42),
	values: custom((value) => value instanceof Map, "expected a Map").optional(),
	adapterName: adapterNameSchema.optional(),
	onWarning: callback().optional()
});
function applyLora(model, config, options = {}) {
	const parsed = parseOptions(applyLoraSchema, options, "applyLora");
	const adapter = putOn(model, config, parsed, "applyLora");
	if (!adapter.isActive) {
		const active = AdapterSlots.of(model).active;
		warnWith(parsed.onWarning, [`the adapter "${adapter.name}" is on the model but not active: ${active ? `"${active.name}" is` : "none is"}; setAdapter(model, "${adapter.name}") switches to it`]);
	}
	return adapter;
}
function putOn(model, config, options, what, origin = {}) {
	requireLoraHost(model, what);
	const { seed, values } = options;
	const lora = config instanceof LoraConfig ? config : new LoraConfig(config);
	const byName = new Map(model.linearModules.map((module) => [module.name, module]));
	const selection = selectTargetModules([...byName.keys()], lora);
	const chosen = selection.matched.map((name) => byName.get(name));
	const slots = AdapterSlots.of(model);
	const name = freeName(model, slots, options.adapterName);
	const outputs = chosen.map((module) => lora.forModule(module.name).r * module.weight.shape[0]);
	const zeros = new Float32Array(values ? 0 : Math.max(0, ...outputs));
	const specs = chosen.flatMap((module) => {
		const { r } = lora.forModule(module.name);
		const [out, inner] = module.weight.shape;
		const a = {
			name: adapterTensorName(module.name, "A"),
			shape: [r, inner]
		};
		const b = {
			name: adapterTensorName(module.name, "B"),
			shape: [out, r]
		};
		if (values) return [a, b].map((spec) => ({
			...spec,
			initial: givenValue(values, spec)
		}));
		return [{
			...a,
			initial: initialA(module, r, lora.initLoraWeights, seed)
		}, {
			...b,
			initial: zeros.subarray(0, out * r)
		}];
	});
	if (values && values.size !== specs.length) {
		const known = new Set(specs.map((spec) => spec.name));
		const extra = [...values.keys()].filter((key) => !known.has(key));
		throw new ConfigError(`values for parameters that the configuration does not make: ${extra.join(", ")}`);
	}
	const parameters = model.engine.createParameters(specs);
	const weights = [];
	const modules = chosen.map((module, i) => {
		const { r, alpha, scale } = lora.forModule(module.name);
		const [a, b] = [parameters.parameters[2 * i], parameters.parameters[2 * i + 1]];
		weights.push({
			a,
			b,
			scale,
			dropout: lora.dropout
		});
		return {
			module,
			a,
			b,
			r,
			alpha
		};
	});
	const ineffective = [...selection.warnings, ...unusedPatterns(lora, selection.matched)];
	const adapter = new LoraAdapter({
		name,
		config: lora,
		model,
		slots,
		parameters,
		modules,
		weights,
		warnings: [...ineffective, ...selection.advice],
		origin
	});
	slots.add(adapter);
	warnWith(options.onWarning, ineffective);
	return adapter;
}
function freeName(model, { adapters }, wanted) {
	const name = wanted ?? "default";
	const adapted = model.linearModules.filter((module) => module.lora).length;
	const isTaken = adapters.has(name);
	if (!isTaken && (adapters.size === 0 ? adapted === 0 : wanted !== void 0)) return name;
	const names = [...adapters].map(([known, { modules }]) => `"${known}" on ${modules.length} layers`);
	throw new ConfigError(isTaken && wanted !== void 0 ? `the model has an adapter "${name}" already: ${names.join(", ")}` : `the model has an adapter already, ${names.length > 1 ? names.join(", ") : `on ${adapted || [...adapters.values()][0].modules.length} layers`}`, {
		hint: "Call dispose() on that adapter first, load the model anew, or keep several on it by a name each: the option adapterName: 'NAME', then setAdapter(model, 'NAME').",
		details: { adapters: [...adapters.keys()] }
	});
}
function givenValue(values, { name, shape }) {
	const value = values.get(name);
	const size = shape[0] * shape[1];
	if (value?.length === size) return value;
	throw new ConfigError(`values: "${name}" [${shape}] needs ${size} values, got ${value ? value.length : "none"}`);
}
function initialA(module, r, init, seed) {
	const inner = module.weight.shape[1];
	const generator = new MersenneTwister(counterHash(seed, hashName(module.name)));
	const values = new Float32Array(r * inner);
	const bound = 1 / Math.sqrt(inner);
	if (init === "gaussian") for (let i = 0; i < values.length; i++) values[i] = generator.nextNormal() / r;
	else {
		generator.fillFloats(values);
		for (let i = 0; i < values.length; i++) values[i] = (2 * values[i] - 1) * bound;
	}
	return roundToDtype(values, module.weight.dtype);
}
function hashName(name) {
	let hash = 2166136261;
	for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
	return hash >>> 0;
}
function unusedPatterns(config, names) {
	return ["rankPattern", "alphaPattern"].flatMap((option) => {
		const keys = Object.keys(config[option]);
		const used = new Set(names.map((name) => matchingPattern(keys, name)));
		const unused = keys.filter((key) => !used.has(key));
		return unused.length > 0 ? [`${option}: no adapted layer takes its value from ${unused.join(", ")}`] : [];
	});
}
// src/files/describe-folder.ts
const MAX_ENTRIES = 2e3;
const MAX_FOLDERS = 50;
const MAX_NAMED = 5;
const IMAGE = /\.(jpe?g|png|webp|gif|bmp|tiff?|dcm)$/i;
async function describeFolder(directory) {
	const entries = await list(directory);
	const answer = (kind, text, children = []) => ({
		kind,
		text,
		children
	});
	if (!entries) return answer("none", "does not exist or cannot be read");
	const names = entries.map(({ name }) => name);
	const kind = kindOf(names);
	if (kind) return answer(kind.kind, kind.text);
	const folders = entries.filter((entry) => entry.isDirectory()).slice(0, MAX_FOLDERS);
	const inside = await Promise.all(folders.map(async ({ name }) => {
		const below = await list(join(directory, name)) ?? [];
		return {
			name,
			names: below.map((entry) => entry.name),
			folders: below.filter((entry) => entry.isDirectory())
		};
	}));
	const useful = inside.filter((folder) => ["model", "adapter"].includes(kindOf(folder.names)?.kind ?? ""));
	if (useful.length > 0) {
		const children = useful.map(({ name }) => name);
		const what = [...new Set(useful.map((folder) => kindOf(folder.names).kind))].join(" or ");
		return answer("parent", `has its files in subfolders: ${shown(children)} (${what})`, children);
	}
	const images = [names, ...inside.map((folder) => folder.names)].flat().filter((name) => IMAGE.test(name)).length;
	if (images > 0) return answer("images", `holds images (${images} found), as a data set does`);
	if (inside.some((folder) => folder.folders.length > 0 && folder.names.length === folder.folders.length)) {
		const deeper = await Promise.all(inside.flatMap(({ name, folders: below }) => below.slice(0, MAX_NAMED).map(async (folder) => {
			const path = join(name, folder.name);
			const deep = (await list(join(directory, path)) ?? []).map((entry) => entry.name);
			return {
				path,
				kind: kindOf(deep)?.kind,
				hasImages: deep.some((entry) => IMAGE.test(entry))
			};
		})));
		const found = deeper.filter(({ kind }) => kind === "model" || kind === "adapter").map(({ path }) => path);
		if (found.length > 0) return answer("parent", `has its files in subfolders: ${shown(found)}`, found);
		if (deeper.some(({ hasImages }) => hasImages)) return answer("images", "holds folders of images, as a data set does");
	}
	if (names.length === 0) return answer("empty", "is empty");
	return answer("other", `holds ${shown(names)}`);
}
const FOREIGN_ADAPTERS = [
	[/^adapters\.safetensors$/, "an adapter of mlx (adapters.safetensors)"],
	[/^lora\.safetensors$/, "an adapter of mistral-finetune (lora.safetensors), in Mistral’s own layout"],
	[/^pytorch_lora_weights\./, "an adapter of diffusers (pytorch_lora_weights), for another kind of model"],
	[/^adapter_\d+\.pt$/, "an adapter of torchtune (adapter_N.pt), a Python pickle"],
	[/\.nemo$/, "a NeMo archive"]
];
function kindOf(names) {
	const has = (pattern) => names.some((name) => pattern.test(name));
	if (has(/^config\.json$/) && has(/^model.*\.safetensors(\.index\.json)?$/)) return {
		kind: "model",
		text: "holds a model (config.json and model*.safetensors)"
	};
	if (has(/^adapter_config\.json$/)) {
		if (has(/^adapters\.safetensors$/)) return {
			kind: "mlx",
			text: "holds an adapter of mlx (adapters.safetensors)"
		};
		return {
			kind: "adapter",
			text: "holds an adapter (adapter_config.json)"
		};
	}
	if (has(/^adapter_model\.(safetensors|bin)$/)) return {
		kind: "adapter",
		text: "holds the weights of an adapter but no adapter_config.json"
	};
	const foreign = FOREIGN_ADAPTERS.find(([pattern]) => has(pattern));
	if (foreign && !has(/^consolidated.*\.safetensors$/)) return {
		kind: "foreign",
		text: `holds ${foreign[1]}`
	};
	if (has(/^(params\.json|consolidated.*\.safetensors)$/)) return {
		kind: "mistral",
		text: "holds Mistral-native files (params.json, consolidated*.safetensors), which are not read"
	};
	if (has(/\.gguf$/i)) return {
		kind: "gguf",
		text: "holds GGUF files, which are not read"
	};
	if (has(/^pytorch_model.*\.bin(\.index\.json)?$/)) return {
		kind: "pickle",
		text: "holds pytorch_model*.bin, Python pickles, which are never read"
	};
	if (has(/^config\.json$/)) return {
		kind: "other",
		text: `holds a config.json but no model*.safetensors`
	};
}
async function list(directory) {
	return (await readdir(directory, { withFileTypes: true }).catch(() => void 0))?.slice(0, MAX_ENTRIES);
}
function shown(names) {
	return shortList([...names].sort(), MAX_NAMED, oneLine);
}
// src/formats/bnb-checkpoint.ts
const STATE = /^(.+\.weight)\.quant_state\.bitsandbytes__(\w+)$/;
const COMPANION = /^(.+\.weight)\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)$|^(.+)\.(?:SCB|weight_format)$/;
const MAX_STATE_BYTES = 65536;
const HINT = "Use a 4-bit checkpoint as bitsandbytes writes it (NF4), or the model in bfloat16 with the option quantization: \"nf4\".";
function bnbWeightOf(name) {
	const [, fourBit, eightBit] = COMPANION.exec(name) ?? [];
	return fourBit ?? (eightBit === void 0 ? void 0 : `${eightBit}.weight`);
}
function parseBitsAndBytes(json, faults) {
	const fault = (field, expected) => {
		faults.push(`quantization_config.${field}: expected ${expected}, got ${showValue(json[field])}; ${INSTEAD}`);
	};
	if (json["load_in_8bit"] === true) fault("load_in_8bit", "false: LLM.int8 is not read");
	if (!["nf4", void 0].includes(json["bnb_4bit_quant_type"])) fault("bnb_4bit_quant_type", "\"nf4\"");
	if (!["uint8", void 0].includes(json["bnb_4bit_quant_storage"])) fault("bnb_4bit_quant_storage", "\"uint8\"");
	return { method: "bitsandbytes" };
}
const INSTEAD = "use an NF4 checkpoint, or the model in bfloat16, which the option quantization: \"nf4\" quantises";
async function readBnbStates(checkpoint) {
	const states = new Map();
	for (const name of checkpoint.tensors.keys()) {
		const [, weight, type] = STATE.exec(name) ?? [];
		if (weight === void 0 || checkpoint.tensors.get(weight)?.dtype !== "U8") continue;
		const state = states.has(weight) ? refusal(checkpoint, weight, "has two quant states") : void 0;
		states.set(weight, state ?? await readState(checkpoint, weight, name, type));
	}
	return states;
}
function bnbSource(checkpoint, name, state) {
	const file = checkpoint.fileOf(name);
	const { dtype, byteLength } = file.info(name);
	if (state instanceof CheckpointError) throw state;
	if (!state) throw refusal(checkpoint, name, dtype === "I8" ? "is stored as I8, as LLM.int8 does (load_in_8bit), which is not read" : `is stored as ${dtype} without "${name}.quant_state.bitsandbytes__nf4"`);
	const { shape, blockSize, nested } = state;
	const size = sizeOf$1(shape);
	const blocks = Math.ceil(size / blockSize);
	const require = (suffix, type, length) => {
		const part = `${name}${suffix}`;
		const info = checkpoint.tensors.get(part);
		if (!info) throw refusal(checkpoint, name, `is stored in 4 bits without "${part}"`);
		if (info.dtype !== type || sizeOf$1(info.shape) !== length) throw refusal(checkpoint, name, `has "${part}" as ${`${info.dtype} [${info.shape.join(", ")}]`}, expected ${length} values of ${type}`);
		return part;
	};
	if (byteLength !== Math.ceil(size / 2)) throw refusal(checkpoint, name, `has ${byteLength} bytes, ${`[${shape.join(", ")}] in 4 bits needs ${Math.ceil(size / 2)}`}`);
	const map = require(".quant_map", "F32", 16);
	const absmax = require(".absmax", nested ? "U8" : "F32", blocks);
	const nestedParts = nested && {
		map: require(".nested_quant_map", "F32", 256),
		absmax: require(".nested_absmax", "F32", Math.ceil(blocks / nested.blockSize))
	};
	const readFinite = async (part) => {
		const values = await checkpoint.readFloat32(part);
		const bad = values.findIndex((value) => !Number.isFinite(value));
		if (bad >= 0) throw refusal(checkpoint, name, `has the value ${values[bad]} in "${part}"`);
		return values;
	};
	const readAbsmax = async () => {
		if ((await checkpoint.readFloat32(map)).some((value, i) => value !== NF4_VALUES[i])) throw refusal(checkpoint, name, `has other values in "${map}" than those of NF4`);
		if (!nested || !nestedParts) return { absmax: await readFinite(absmax) };
		const codes = new Uint8Array(blocks);
		await checkpoint.fileOf(absmax).readBytes(absmax, codes);
		return {
			codes,
			map: await readFinite(nestedParts.map),
			nestedAbsmax: await readFinite(nestedParts.absmax),
			nestedBlockSize: nested.blockSize,
			offset: nested.offset
		};
	};
	const read = (target, offset = 0) => file.readBytes(name, target, offset);
	return {
		name,
		shape,
		dtype: "nf4",
		byteLength,
		quantState: {
			blockSize,
			read: readAbsmax
		},
		read
	};
}
async function readState(checkpoint, weight, name, type) {
	const refuse = (reason) => refusal(checkpoint, weight, `has ${reason}`);
	if (type !== "nf4") return refuse(`the quant state of ${type}, expected nf4`);
	const file = checkpoint.fileOf(name);
	const { dtype, byteLength } = file.info(name);
	if (dtype !== "U8" || byteLength > MAX_STATE_BYTES) return refuse(`${byteLength} bytes of ${dtype} in "${name}"`);
	const bytes = new Uint8Array(byteLength);
	await file.readBytes(name, bytes);
	let json;
	try {
		json = parseJson(bytes);
	} catch (error) {
		if (!(error instanceof SyntaxError || error instanceof JsonFault)) throw error;
		return refuse(`no JSON in "${name}": ${error.message}`);
	}
	if (typeof json !== "object" || json === null || Array.isArray(json)) return refuse(`no JSON object in "${name}"`);
	const state = json;
	const wrong = (field, expected) => refuse(`${field} ${showValue(state[field])} in its quant state, expected ${expected}`);
	const { quant_type, blocksize, shape, dtype: computed } = state;
	if (quant_type !== "nf4") return wrong("quant_type", "\"nf4\"");
	if (!isPowerOfTwo(blocksize) || blocksize < 32 || blocksize > 4096) return wrong("blocksize", "a power of two from 32 to 4096");
	if (![
		"bfloat16",
		"float16",
		"float32"
	].includes(computed)) return wrong("dtype", "\"bfloat16\", \"float16\" or \"float32\"");
	if (!(Array.isArray(shape) && shape.length === 2 && shape.every((extent) => Number.isSafeInteger(extent) && extent > 0) && Number.isSafeInteger(shape[0] * shape[1]))) return wrong("shape", "rows and columns of a matrix");
	const result = {
		shape: [shape[0], shape[1]],
		blockSize: blocksize
	};
	const { nested_blocksize: nestedSize, nested_offset: offset, nested_dtype: nestedDtype } = state;
	if (nestedSize === void 0 && offset === void 0) return {
		...result,
		nested: void 0
	};
	if (!isPowerOfTwo(nestedSize)) return wrong("nested_blocksize", "a power of two");
	if (typeof offset !== "number" || !Number.isFinite(Math.fround(offset))) return wrong("nested_offset", "a number");
	if (nestedDtype !== void 0 && nestedDtype !== "float32") return wrong("nested_dtype", "\"float32\"");
	return {
		...result,
		nested: {
			blockSize: nestedSize,
			offset: Math.fround(offset)
		}
	};
}
function isPowerOfTwo(value) {
	return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}
function refusal({ directory }, name, reason) {
	return new CheckpointError(`${directory}: "${name}" ${reason}`, {
		hint: HINT,
		details: { name }
	});
}
// src/formats/fp8-checkpoint.ts
const SCALE_SUFFIX = "_scale_inv";
function fp8WeightOf(name) {
	const [, module] = /^(.+)\.(?:weight_scale_inv|activation_scale)$/.exec(name) ?? [];
	return module === void 0 ? void 0 : `${module}.weight`;
}
function parseFp8(json, faults) {
	const { weight_block_size: size } = json;
	if (size === void 0 || size === null) return {
		method: "fp8",
		blockSize: void 0
	};
	if (Array.isArray(size) && size.length === 2 && size.every((extent) => Number.isInteger(extent) && extent > 0 && extent <= 2 ** 24)) return {
		method: "fp8",
		blockSize: [size[0], size[1]]
	};
	faults.push(`quantization_config.weight_block_size: expected null or two positive whole numbers, got ${showValue(size)}`);
}
function fp8Source(checkpoint, name, blockSize) {
	const file = checkpoint.fileOf(name);
	const { shape, byteLength } = file.info(name);
	const read = (target, offset = 0) => file.readBytes(name, target, offset);
	return {
		name,
		shape,
		dtype: "f8_e4m3",
		byteLength,
		scale: scaleOf(checkpoint, name, shape, blockSize),
		read
	};
}
function scaleOf(checkpoint, name, shape, size) {
	const scaleName = `${name}${SCALE_SUFFIX}`;
	const info = checkpoint.tensors.get(scaleName);
	const fail = (message) => new CheckpointError(`${checkpoint.directory}: "${name}" is stored as F8_E4M3 [${shape.join(", ")}] ${message}`, {
		hint: "Use an FP8 checkpoint of the published layout, or the model in bfloat16, e.g. the repository whose name ends in -BF16.",
		details: { name }
	});
	const [rows, columns] = shape;
	if (!info) throw fail(`without "${scaleName}"`);
	if (shape.length !== 2) throw fail("but only matrices may be");
	if (![
		"F32",
		"BF16",
		"F16"
	].includes(info.dtype)) throw fail(`and "${scaleName}" as ${info.dtype}, expected F32, BF16 or F16`);
	const read = () => checkpoint.readFloat32(scaleName);
	const block = size ?? [rows, columns];
	const blocks = [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
	if (info.shape.every((extent) => extent === 1)) return {
		block: [rows, columns],
		read
	};
	if (!size || info.shape.join() !== blocks.join()) {
		const expected = size ? `[${blocks.join(", ")}] for blocks of ${size.join(" × ")}` : "one number";
		throw fail(`with "${scaleName}" [${info.shape.join(", ")}], expected ${expected}`);
	}
	return {
		block,
		read
	};
}
// src/formats/quantized-checkpoint.ts
function parseQuantization(json, faults) {
	if (json === void 0 || json === null) return void 0;
	if (typeof json !== "object" || Array.isArray(json)) {
		faults.push(`quantization_config: expected an object, got ${showValue(json)}`);
		return;
	}
	const fields = json;
	const { quant_method: method } = fields;
	if (method === "fp8") return parseFp8(fields, faults);
	const isUnnamed = method === void 0 && (fields["load_in_4bit"] ?? fields["load_in_8bit"]) === true;
	if (method === "bitsandbytes" || isUnnamed) return parseBitsAndBytes(fields, faults);
	faults.push(`quantization_config.quant_method: expected "fp8" or "bitsandbytes", got ${showValue(method)}; use an FP8 checkpoint, a 4-bit one of bitsandbytes (NF4), or the model in bfloat16, e.g. the repository whose name ends in -BF16`);
}
var QuantizedCheckpoint = class QuantizedCheckpoint {
	#checkpoint;
	#quantization;
	#states;
	constructor(checkpoint, quantization, states) {
		this.#checkpoint = checkpoint;
		this.#quantization = quantization;
		this.#states = states;
	}
	static async of(checkpoint, quantization) {
		return new QuantizedCheckpoint(checkpoint, quantization, await readBnbStates(checkpoint));
	}
	get isQuantized() {
		return [...this.#checkpoint.tensors.keys()].some((name) => this.formatOf(name) !== void 0);
	}
	formatOf(name) {
		if (this.#checkpoint.tensors.get(name)?.dtype === "F8_E4M3") return "f8_e4m3";
		return this.#states.has(name) ? "nf4" : void 0;
	}
	bytesOf(name) {
		const { tensors } = this.#checkpoint;
		return [
			"",
			".absmax",
			".nested_absmax",
			"_scale_inv"
		].reduce((sum, part) => sum + (tensors.get(`${name}${part}`)?.byteLength ?? 0), 0);
	}
	shapeOf(name) {
		const state = this.#states.get(name);
		return state && "shape" in state ? state.shape : this.#checkpoint.fileOf(name).info(name).shape;
	}
	isCompanion(name) {
		const dtypeOf = (weight) => weight === void 0 ? void 0 : this.#checkpoint.tensors.get(weight)?.dtype;
		return dtypeOf(fp8WeightOf(name)) === "F8_E4M3" || ["U8", "I8"].includes(dtypeOf(bnbWeightOf(name)) ?? "");
	}
	source(name) {
		const file = this.#checkpoint.fileOf(name);
		const { dtype } = file.info(name);
		if (dtype === "F8_E4M3") {
			const quantization = this.#quantization;
			return fp8Source(this.#checkpoint, name, quantization?.method === "fp8" ? quantization.blockSize : void 0);
		}
		return this.#states.has(name) || ["U8", "I8"].includes(dtype) && name.endsWith(".weight") ? bnbSource(this.#checkpoint, name, this.#states.get(name)) : file.source(name);
	}
};
// src/batch/require-batch.ts
const ARRAYS = {
	inputIds: [Int32Array, 2],
	attentionMask: [Int32Array, 2],
	labels: [Int32Array, 2],
	pixelValues: [Float32Array, 4],
	imageSizes: [Int32Array, 2]
};
function requireBatch(batch, what, call) {
	requireKind("batch", batch, what, call);
	const { stopTokenIds } = batch;
	if (stopTokenIds !== void 0 && !(Array.isArray(stopTokenIds) && stopTokenIds.every(Number.isSafeInteger))) throw new ConfigError(`${what}: \`stopTokenIds\`: expected a list of token ids, got ${describeGiven(stopTokenIds)}`);
	for (const [name, [arrayClass, rank]] of Object.entries(ARRAYS)) {
		if (Object.getOwnPropertyDescriptor(batch, name)?.get) continue;
		const array = batch[name];
		if (array === void 0 && name !== "inputIds" && name !== "attentionMask") continue;
		const { data, shape } = isObject(array) ? array : {};
		const size = Array.isArray(shape) && shape.length === rank && shape.every((extent) => Number.isSafeInteger(extent)) ? shape.reduce((product, extent) => product * extent, 1) : void 0;
		if (data instanceof arrayClass && data.length === size) continue;
		const expected = `{ data, shape } of ${arrayClass.name} and ${rank} extents`;
		throw new ConfigError(`${what}: \`${name}\`: expected ${expected}, got ${describeGiven(array)}`, { hint: "Take the batch as collator.collate or collator.collatePrompts gives it." });
	}
}
// src/batch/image-groups.ts
function imageGroups(packed, maxPatches) {
	const { images, starts, tokenRows } = packed;
	const patches = starts.at(-1);
	const tokenOf = (image) => starts[image] * tokenRows.length / patches;
	const groups = [];
	const add = (from, to) => {
		groups.push(sliceImages(packed, [from, to], [tokenOf(from), tokenOf(to)], 0));
	};
	let from = 0;
	for (let n = 1; n < images.length; n++) {
		if (starts[n + 1] - starts[from] <= maxPatches) continue;
		add(from, n);
		from = n;
	}
	add(from, images.length);
	return groups;
}
// src/model/network/layers.ts
const LAYER_SEED = 2752067618;
function linearPart(module, rowKeys, adapter, precision) {
	const { weight, bias } = module;
	const lora = adapter ? adapter[module.index] : module.lora;
	if (!lora) return {
		weight,
		bias,
		precision
	};
	const { a, b, scale } = lora;
	return {
		weight,
		bias,
		precision,
		lora: {
			a,
			b,
			scale,
			dropout: rowKeys ? lora.dropout : 0,
			seed: counterHash(LAYER_SEED, module.index),
			rowKeys
		}
	};
}
const knownParts = new WeakMap();
function partsOf(layer, adapter, { rowKeys, keys, precision }) {
	const isKept = !rowKeys && !precision;
	let known = isKept ? knownParts.get(adapter) : void 0;
	let parts = known?.get(layer);
	if (parts) return parts;
	const { q, k, v, o } = layer.attention;
	const before = (module) => linearPart(module, rowKeys, adapter, precision);
	const behind = (module) => linearPart(module, keys, adapter, precision);
	parts = {
		projections: [
			before(q),
			before(k),
			before(v)
		],
		output: [behind(o)],
		gateUp: [behind(layer.gate), behind(layer.up)],
		down: behind(layer.down)
	};
	if (!isKept) return parts;
	if (!known) {
		known = new Map();
		knownParts.set(adapter, known);
	}
	known.set(layer, parts);
	return parts;
}
function linear(tape, x, modules, rowKeys, adapter, precision) {
	return tape.apply("linear", [x], { parts: modules.map((module) => linearPart(module, rowKeys, adapter, precision)) });
}
function hasLora(layer, adapter) {
	return modulesOf(layer).some((module) => adapter[module.index] !== void 0);
}
function recomputedLayers({ recompute }, tower) {
	if (typeof recompute === "object") return recompute[tower];
	return recompute ? Number.POSITIVE_INFINITY : 0;
}
function* runLayers(tape, x, layers, shape, options, name) {
	const recomputed = recomputedLayers(options, name === "vision_tower" ? "vision" : "text");
	const offloads = typeof options.recompute === "object" && options.recompute.offloadInputs === true;
	let stream = [x];
	const tables = [
		shape.cos,
		shape.sin,
		...shape.queryScale ? [shape.queryScale] : []
	];
	for (const [i, layer] of layers.entries()) {
		const trained = hasLora(layer, shape.adapter) || stream.some((tensor) => tape.needsGradient(tensor));
		const recompute = i < recomputed && trained;
		const width = stream.length;
		const before = stream;
		stream = yield* tape.regionSteps([...stream, ...tables], (inner, inputs) => {
			const rows = i === layers.length - 1 ? shape.resultRows : void 0;
			return runLayer(inner, inputs.slice(0, width), i, layer, shape, options, name, rows, recompute);
		}, {
			recompute,
			offload: offloads ? before : []
		});
		for (const tensor of before) if (tensor !== x && !stream.includes(tensor)) tape.forget(tensor);
	}
	return stream;
}
function* runLayer(tape, stream, index, layer, shape, options, name, rows, recompute) {
	const { heads, kvHeads, headDim, causal, segments, keyRows, cos, sin, queryScale } = shape;
	const { rowKeys, adapter, eps, activation } = shape;
	const precision = name === "language_model" ? options.precision : void 0;
	const parts = partsOf(layer, adapter, {
		rowKeys,
		keys: rows && rowKeys ? rows.map((row) => rowKeys[row]) : rowKeys,
		precision
	});
	const [attended, sum = stream[0]] = yield* tape.applySteps("attentionBlock", normInputs(stream), {
		norm: {
			weight: layer.attentionNorm,
			eps
		},
		projections: parts.projections,
		rotary: {
			headDim,
			cos,
			sin,
			queryScale
		},
		attention: {
			heads,
			kvHeads,
			headDim,
			scale: headDim ** -.5,
			causal,
			segments
		},
		cache: shape.cache?.layer(index),
		keyRows
	});
	options.observe?.(`${name}.${index}`, sum);
	if (isTurnDue()) yield 0;
	const chosen = (tensor) => rows ? tape.apply("gatherRows", [tensor], { rows })[0] : tensor;
	const x = chosen(sum);
	const [attentionOutput] = tape.apply("linear", [chosen(attended)], { parts: parts.output });
	if (isTurnDue()) yield 0;
	const [mlpOutput, middle] = yield* tape.applySteps("gatedBlock", [attentionOutput, x], {
		norm: {
			weight: layer.mlpNorm,
			eps
		},
		gateUp: parts.gateUp,
		activation,
		down: parts.down
	});
	if (isTurnDue()) yield 0;
	return recompute ? tape.apply("add", [middle, mlpOutput], {}) : [middle, mlpOutput];
}
function normInputs([residual, addition]) {
	return addition ? [addition, residual] : [residual];
}
function addNorm(tape, stream, weight, eps) {
	const [normed, sum = stream[0]] = tape.apply("rmsNorm", normInputs(stream), {
		weight,
		eps
	});
	return [normed, sum];
}
// src/model/network/rope.ts
const f = Math.fround;
function plainFrequencies(theta, headDim) {
	return Float32Array.from({ length: headDim / 2 }, (_, i) => f(1 / f(theta ** f(2 * i / headDim))));
}
function textFrequencies(rope, headDim) {
	if (rope.type === "default") return plainFrequencies(rope.theta, headDim);
	const dimensionOf = (rotations) => headDim * Math.log(rope.originalMaxPositions / (rotations * 2 * Math.PI)) / (2 * Math.log(rope.theta));
	const round = (value, down) => rope.truncate ? down ? Math.floor(value) : Math.ceil(value) : value;
	const low = Math.max(round(dimensionOf(rope.betaFast), true), 0);
	let high = Math.min(round(dimensionOf(rope.betaSlow), false), headDim - 1);
	if (low === high) high += .001;
	return Float32Array.from({ length: headDim / 2 }, (_, i) => {
		const period = f(rope.theta ** f(2 * i / headDim));
		const extrapolated = f(1 / period);
		const interpolated = f(1 / f(rope.factor * period));
		const keep = f(1 - Math.min(Math.max(f((i - low) / (high - low)), 0), 1));
		return f(f(interpolated * f(1 - keep)) + f(extrapolated * keep));
	});
}
function textRotary(rope, frequencies, positions) {
	const half = frequencies.length;
	const cos = new Float32Array(positions.length * half);
	const sin = new Float32Array(positions.length * half);
	const firstRows = new Map();
	for (let t = 0; t < positions.length; t++) {
		const first = firstRows.get(positions[t]);
		if (first !== void 0) {
			cos.copyWithin(t * half, first * half, (first + 1) * half);
			sin.copyWithin(t * half, first * half, (first + 1) * half);
			continue;
		}
		firstRows.set(positions[t], t);
		turnRow(cos.subarray(t * half), sin.subarray(t * half), frequencies, positions[t], rope.attentionFactor);
	}
	return {
		cos,
		sin
	};
}
function turnRow(cos, sin, frequencies, position, factor) {
	for (let i = 0; i < frequencies.length; i++) {
		const angle = f(position * frequencies[i]);
		cos[i] = f(Math.cos(angle)) * factor;
		sin[i] = f(Math.sin(angle)) * factor;
	}
}
function queryScale(rope, positions) {
	if (rope.queryScalingBeta === 0 || positions.every((position) => position < rope.originalMaxPositions)) return void 0;
	return Float32Array.from(positions, (position) => f(1 + f(rope.queryScalingBeta * f(Math.log(1 + Math.floor(f(position / rope.originalMaxPositions)))))));
}
function visionRotary(theta, headDim, grids) {
	const all = plainFrequencies(theta, headDim);
	const half = all.length;
	const evens = Math.ceil(half / 2);
	let patches = 0;
	for (let n = 0; n < grids.length; n += 2) patches += grids[n] * grids[n + 1];
	const cos = new Float32Array(patches * half);
	const sin = new Float32Array(patches * half);
	let extent = 0;
	for (const size of grids) extent = Math.max(extent, size);
	const rows = anglesOf(extent, all.filter((_, i) => i % 2 === 0));
	const columns = anglesOf(extent, all.filter((_, i) => i % 2 === 1));
	let at = 0;
	for (let n = 0; n < grids.length; n += 2) for (let row = 0; row < grids[n]; row++) for (let column = 0; column < grids[n + 1]; column++, at += half) {
		const [ofRow, ofColumn] = [row * rows.count, column * columns.count];
		for (let i = 0; i < rows.count; i++) {
			cos[at + i] = rows.cos[ofRow + i];
			sin[at + i] = rows.sin[ofRow + i];
		}
		for (let i = 0; i < columns.count; i++) {
			cos[at + evens + i] = columns.cos[ofColumn + i];
			sin[at + evens + i] = columns.sin[ofColumn + i];
		}
	}
	return {
		cos,
		sin
	};
}
function anglesOf(extent, frequencies) {
	const count = frequencies.length;
	const angles = Float32Array.from({ length: extent * count }, (_, i) => Math.floor(i / count) * frequencies[i % count]);
	return {
		cos: angles.map(Math.cos),
		sin: angles.map(Math.sin),
		count
	};
}
// src/model/network/forward.ts
const PATCHES_AT_ONCE = 16384;
const VISION_NORM_EPS = 1e-5;
var Forward = class {
	#engine;
	#config;
	#modules;
	#frequencies;
	#patches = new Float32Array(0);
	constructor(engine, config, modules) {
		this.#engine = engine;
		this.#config = config;
		this.#modules = modules;
		this.#frequencies = textFrequencies(config.text.rope, config.text.headDim);
	}
	adapter() {
		return this.#modules.linear.map(({ lora }) => lora);
	}
	clear() {
		this.#patches = new Float32Array(0);
	}
	rowLogits(packed, rows, options, cache) {
		const forward = this;
		const ofHidden = Int32Array.from(rows.keys());
		const isWhole = rows.length === packed.ids.length && rows.every((row, i) => row === i);
		return function* (tape) {
			const hidden = yield* forward.hidden(tape, packed, options, cache, isWhole ? void 0 : rows);
			return forward.logits(tape, hidden, ofHidden);
		};
	}
	*loss(tape, packed, scale, options) {
		if (packed.labelRows.length === 0) return void 0;
		const labelled = yield* this.hidden(tape, packed, options, void 0, packed.labelRows);
		return tape.apply("crossEntropy", [labelled], {
			head: this.#modules.lmHead,
			targets: packed.labelTargets,
			weights: packed.labelWeights,
			scale,
			smoothing: options.labelSmoothing
		})[0];
	}
	rowLosses(packed, options) {
		const forward = this;
		return function* (tape) {
			const labelled = yield* forward.hidden(tape, packed, options, void 0, packed.labelRows);
			const head = forward.#modules.lmHead;
			return tape.apply("crossEntropy", [labelled], {
				head,
				targets: packed.labelTargets,
				scale: 1
			})[1];
		};
	}
	logits(tape, hidden, rows) {
		return tape.region([hidden], (inner, inputs) => {
			const gathered = rows.length === hidden.shape[0] && rows.every((row, i) => row === i) ? inputs : inner.apply("gatherRows", inputs, { rows });
			return inner.apply("linear", gathered, { parts: [{ weight: this.#modules.lmHead }] });
		})[0];
	}
	*hidden(tape, packed, options, cache, rows) {
		const { text } = this.#config;
		const modules = this.#modules;
		const engine = this.#engine;
		const frequencies = this.#frequencies;
		requirePrecision(engine, options);
		const adapter = options.adapter ?? this.adapter();
		const embed = (inner) => this.#embed(inner, packed, {
			...options,
			adapter
		}, cache !== void 0);
		const [result] = yield* tape.regionSteps([], function* (inner) {
			const x = yield* embed(inner);
			const { cos, sin } = textRotary(text.rope, frequencies, packed.positions);
			const half = [packed.ids.length, text.headDim / 2];
			const scale = queryScale(text.rope, packed.positions);
			const shape = {
				...text,
				eps: text.normEps,
				causal: true,
				segments: cache ? cache.segments(packed.starts, packed.sharedKeys?.starts) : segmentsOf(packed.starts, packed.sharedKeys?.starts),
				keyRows: packed.sharedKeys?.rows,
				cos: inner.own(engine.fromArray(cos, half)),
				sin: inner.own(engine.fromArray(sin, half)),
				queryScale: scale && inner.own(engine.fromArray(scale, [packed.ids.length])),
				rowKeys: packed.rowKeys,
				cache,
				adapter,
				resultRows: rows
			};
			const [normed] = addNorm(inner, yield* runLayers(inner, x, modules.textLayers, shape, options, "language_model"), modules.norm, text.normEps);
			options.observe?.("language_model.norm", normed);
			return [normed];
		});
		return result;
	}
	*imageFeatures(tape, images, options) {
		const { vision, text, spatialMergeSize, projectorActivation, visionFeatureLayer } = this.#config;
		const modules = this.#modules;
		const engine = this.#engine;
		const adapter = options.adapter ?? this.adapter();
		const count = images.starts[images.starts.length - 1];
		const upload = () => engine.imagePatches?.(images) ?? engine.fromArray(this.#patchesOf(images), [count, patchesLength(images) / count]);
		const [result] = yield* tape.regionSteps([], function* (inner) {
			const pixels = inner.own(upload());
			const [patches] = inner.apply("linear", [pixels], { parts: [{ weight: modules.patchConv }] });
			const [x] = inner.apply("rmsNorm", [patches], {
				weight: modules.lnPre,
				eps: VISION_NORM_EPS
			});
			if (isTurnDue()) yield 0;
			const { cos, sin } = visionRotary(vision.ropeTheta, vision.headDim, images.grids);
			const half = [count, vision.headDim / 2];
			const shape = {
				...vision,
				kvHeads: vision.heads,
				eps: VISION_NORM_EPS,
				causal: false,
				segments: segmentsOf(images.starts),
				cos: inner.own(engine.fromArray(cos, half)),
				sin: inner.own(engine.fromArray(sin, half)),
				queryScale: void 0,
				rowKeys: images.rowKeys,
				adapter
			};
			const layers = modules.visionLayers.slice(0, visionFeatureLayer);
			const [normed, features] = addNorm(inner, yield* runLayers(inner, x, layers, shape, options, "vision_tower"), modules.projectorNorm, text.normEps);
			options.observe?.(`vision_tower.${layers.length}`, features);
			const [merged] = inner.apply("mergePatches", [normed], {
				grids: images.grids,
				merge: spatialMergeSize
			});
			const keys = images.mergedRowKeys;
			const [merging] = linear(inner, merged, [modules.mergingLayer], keys, adapter);
			const [first] = linear(inner, merging, [modules.linear1], keys, adapter);
			const [activated] = inner.apply("activation", [first], { activation: projectorActivation });
			const projected = linear(inner, activated, [modules.linear2], keys, adapter);
			options.observe?.("image_features", projected[0]);
			if (isTurnDue()) yield 0;
			return projected;
		});
		return result;
	}
	#patchesOf(images) {
		const length = patchesLength(images);
		if (this.#patches.length < length) this.#patches = new Float32Array(length);
		const patches = this.#patches.subarray(0, length);
		writePatches(images, patches);
		return patches;
	}
	*#embed(tape, packed, options, inGroups) {
		const noise = embeddingNoise(packed, options.neftuneNoiseAlpha, this.#config.text.hiddenSize);
		const lookup = {
			table: this.#modules.embedTokens,
			ids: packed.ids,
			...noise ? { noise } : {}
		};
		const [embedded] = tape.apply("embedding", [], lookup);
		if (!packed.images) return embedded;
		let result = embedded;
		for (const images of inGroups ? imageGroups(packed.images, PATCHES_AT_ONCE) : [packed.images]) {
			const features = yield* this.imageFeatures(tape, images, options);
			const [next] = tape.apply("scatterRows", [result, features], { rows: images.tokenRows });
			if (result !== embedded) for (const tensor of [result, features]) tape.forget(tensor);
			result = next;
		}
		return result;
	}
};
function segmentsOf(queryStarts, keyStarts = queryStarts) {
	const keyLengths = Int32Array.from({ length: keyStarts.length - 1 }, (_, i) => keyStarts[i + 1] - keyStarts[i]);
	return {
		queryStarts,
		keyStarts: keyStarts.slice(0, -1),
		keyLengths
	};
}
function requirePrecision({ name, precisions = [] }, { precision = "bf16" }) {
	if (precision === "bf16" || precisions.includes(precision)) return;
	throw new EngineError(`precision '${precision}': the ${name} engine supports ${["bf16", ...precisions].join(", ")} here`, { hint: "Leave precision out, or set it to 'bf16'." });
}
// src/model/network/kv-cache.ts
var KvCache = class {
	#engine;
	#keys;
	#values;
	#capacities;
	#starts;
	#lengths;
	#rows = new Int32Array(0);
	constructor(engine, layers, width, capacities) {
		this.#engine = engine;
		this.#capacities = capacities;
		this.#starts = new Int32Array(capacities.length);
		for (let i = 1; i < capacities.length; i++) this.#starts[i] = this.#starts[i - 1] + capacities[i - 1];
		this.#lengths = new Int32Array(capacities.length);
		const rows = capacities.reduce((sum, capacity) => sum + capacity, 0);
		this.#keys = Array.from({ length: layers }, () => engine.zeros([rows, width]));
		this.#values = Array.from({ length: layers }, () => engine.zeros([rows, width]));
	}
	segments(queryStarts, newStarts = queryStarts) {
		const rows = new Int32Array(newStarts[newStarts.length - 1]);
		let at = 0;
		for (let s = 0; s < this.#capacities.length; s++) {
			const added = newStarts[s + 1] - newStarts[s];
			if (this.#lengths[s] + added > this.#capacities[s]) throw new DataError(`the key/value cache of sequence ${s} holds ${this.#capacities[s]} tokens, ${this.#lengths[s] + added} are needed`);
			for (let i = 0; i < added; i++) rows[at++] = this.#starts[s] + this.#lengths[s] + i;
			this.#lengths[s] += added;
		}
		this.#rows = rows;
		return {
			queryStarts,
			keyStarts: this.#starts,
			keyLengths: this.#lengths.slice()
		};
	}
	layer(index) {
		return {
			keys: this.#keys[index],
			values: this.#values[index],
			rows: this.#rows
		};
	}
	clear(sequences) {
		for (const s of sequences) this.#lengths[s] = 0;
	}
	dispose() {
		for (const tensor of [...this.#keys.splice(0), ...this.#values.splice(0)]) this.#engine.release(tensor);
	}
};
// src/model/network/training-bytes.ts
const RANK = 16;
const DROPOUT = .05;
const PARAMETER_BYTES = 12.1;
const SHARES = {
	patches: 2.5,
	features: .625,
	labels: .1
};
function trainingBytes(config, modules, { storage }) {
	const layers = (of) => of.map((layer) => {
		const { attention, gate, up, down } = layer;
		const { q, k, v, o } = attention;
		return {
			...layer,
			attention: {
				q: adapted(q),
				k: adapted(k),
				v: adapted(v),
				o: adapted(o)
			},
			gate: adapted(gate),
			up: adapted(up),
			down: adapted(down)
		};
	});
	const all = {
		...modules,
		visionLayers: layers(modules.visionLayers),
		textLayers: layers(modules.textLayers),
		mergingLayer: adapted(modules.mergingLayer),
		linear1: adapted(modules.linear1),
		linear2: adapted(modules.linear2),
		linear: modules.linear.map(adapted)
	};
	const costs = new PassCosts(config, all, storage);
	let parameters = 0;
	for (const { weight } of modules.linear) parameters += RANK * (weight.shape[0] + weight.shape[1]);
	return (tokens, offloadInputs = false) => {
		const { patches, features, labels } = SHARES;
		const size = {
			tokens,
			patches: patches * tokens,
			features: features * tokens,
			labels: Math.ceil(labels * tokens)
		};
		const pass = costs.peakBytes(size, {
			...costs.layers,
			offloadInputs
		});
		return PARAMETER_BYTES * parameters + pass + reserveFor(storage, pass);
	};
}
function adapted(module) {
	const [out, input] = module.weight.shape;
	const parameter = (shape) => ({
		shape,
		size: shape[0] * shape[1]
	});
	const lora = {
		a: parameter([RANK, input]),
		b: parameter([out, RANK]),
		scale: 1,
		dropout: DROPOUT
	};
	return {
		...module,
		lora
	};
}
// src/model/network/vision-language-model.ts
var VisionLanguageModel = class VisionLanguageModel {
	engine;
	config;
	modules;
	nameOrPath;
	folder;
	revision;
	quantization;
	ownsEngine;
	sharesPrefixes = true;
	#forward;
	baseModel;
	writeAdapter;
	#trainable;
	#lastTrainable;
	#isDisposed = false;
	constructor(engine, config, { modules, digests }, origin) {
		this.engine = engine;
		this.baseModel = digests && {
			...digests,
			config: configDigest(config)
		};
		this.nameOrPath = origin.nameOrPath;
		this.folder = origin.folder;
		this.revision = origin.revision;
		this.quantization = origin.quantization;
		this.ownsEngine = origin.ownsEngine ?? false;
		this.config = config;
		this.modules = modules;
		this.#forward = new Forward(engine, config, modules);
	}
	static async load(engine, config, provider, origin = {}) {
		const loaded = await loadModules(engine, config, provider, (modules) => trainingBytes(config, modules, engine));
		return new VisionLanguageModel(engine, config, loaded, origin);
	}
	get isDisposed() {
		return this.#isDisposed;
	}
	get linearModules() {
		return this.modules.linear;
	}
	get trainable() {
		this.#requireWeights();
		if (!this.#trainable) throw new TrainingError("the model has nothing to train", { hint: "call applyLora(model, config) first; an adapter that is switched off or not active is not trained" });
		return this.#trainable;
	}
	get trainingSettings() {
		const adapted = this.linearModules.flatMap(({ lora }) => lora ?? []);
		const oneOrAll = (values) => new Set(values).size <= 1 ? values[0] : values.join(" ");
		return {
			loraScale: oneOrAll(adapted.map(({ scale }) => scale)),
			loraDropout: oneOrAll(adapted.map(({ dropout }) => dropout)),
			...this.quantization !== void 0 && { quantization: this.quantization }
		};
	}
	setTrainable(set, write) {
		this.#trainable = set;
		if (set) this.#lastTrainable = set;
		this.writeAdapter = write;
	}
	pack(batch, dropout) {
		this.#requireWeights();
		requireBatch(batch, "the model");
		const options = {
			patchSize: this.config.vision.patchSize,
			mergeSize: this.config.spatialMergeSize,
			imageTokenId: this.config.imageTokenId,
			vocabSize: this.config.text.vocabSize
		};
		return packBatch(batch, options, dropout);
	}
	passCosts(precision) {
		return new PassCosts(this.config, this.modules, this.engine.storage, precision);
	}
	preparePrecision(precision) {
		this.#requireWeights();
		const linears = this.modules.textLayers.flatMap(modulesOf);
		this.engine.preparePrecision?.(linears.map(({ weight }) => weight), precision);
	}
	trainingFlops(size) {
		return trainingFlops(this.config, this.modules, size);
	}
	lossSteps(tape, packed, scale, options) {
		this.#requireWeights();
		return this.#forward.loss(tape, packed, scale, options);
	}
	logits(tape, hidden, rows) {
		return this.#forward.logits(tape, hidden, rows);
	}
	async lastLogits(batch, options = {}) {
		checkNames(options, {
			sharePrefix: false,
			signal: false
		}, "lastLogits");
		const { sharePrefix = true, signal } = options;
		requireSignal(signal, "lastLogits");
		requireBoolean(sharePrefix, "lastLogits: `sharePrefix`");
		const packed = sharePrefix ? sharePrefixes(this.pack(batch)) : this.pack(batch);
		const rows = packed.starts.slice(1).map((end) => end - 1);
		return this.rowLogits(packed, rows, { signal });
	}
	rowLogits(packed, rows, options = {}) {
		return this.#ofRows(packed, rows, options, (logits) => this.engine.read(logits));
	}
	rowMaxima(packed, rows, options = {}) {
		if (!this.engine.rowMaxima) return void 0;
		return this.#ofRows(packed, rows, options, (logits) => this.engine.rowMaxima(logits));
	}
	labelLosses(packed, { signal, adapter } = {}) {
		const view = adapter ?? this.#forward.adapter();
		const requireParts = () => this.requireParts(view);
		return infer(this.engine, {
			signal,
			requireParts
		}, this.#forward.rowLosses(packed, { adapter: view }));
	}
	#ofRows(packed, rows, { cache, signal, adapter = this.#forward.adapter() }, read) {
		const requireParts = () => this.requireParts(adapter);
		const body = this.#forward.rowLogits(packed, rows, { adapter }, cache);
		return infer(this.engine, {
			signal,
			requireParts
		}, body, read);
	}
	adapterView() {
		return this.#forward.adapter();
	}
	requireParts(adapter) {
		this.#requireWeights();
		if (!adapter.some((lora) => lora?.isReleased)) return;
		throw new EngineError("the adapter that a computation began with was deleted before it ended", { hint: "Await what computes with it before deleteAdapter or dispose." });
	}
	hidden(tape, packed, options, cache, rows) {
		this.#requireWeights();
		return runAtOnce(this.#forward.hidden(tape, packed, options, cache, rows));
	}
	createCache(capacities) {
		this.#requireWeights();
		const { text } = this.config;
		for (const capacity of capacities) if (capacity > text.maxPositions) throw new DataError(`a sequence of ${capacity} tokens is longer than the model's ${text.maxPositions} positions`);
		return new KvCache(this.engine, text.layers, text.kvHeads * text.headDim, capacities);
	}
	dispose() {
		if (this.#isDisposed) return Promise.resolve();
		requireNotTraining(this.#lastTrainable, "model.dispose: its adapter");
		if (this.ownsEngine) requireIdleEngine(this.engine, "model.dispose");
		this.#isDisposed = true;
		const { modules, engine } = this;
		this.#forward.clear();
		const norms = [...modules.visionLayers, ...modules.textLayers].flatMap(({ attentionNorm, mlpNorm }) => [attentionNorm, mlpNorm]);
		const single = [
			modules.patchConv,
			modules.lnPre,
			modules.projectorNorm,
			modules.embedTokens,
			modules.norm
		];
		for (const weight of [...norms, ...single]) engine.releaseWeight(weight);
		if (!modules.tied) engine.releaseWeight(modules.lmHead);
		for (const module of modules.linear) {
			engine.releaseWeight(module.weight);
			if (module.bias) engine.releaseWeight(module.bias);
		}
		return this.ownsEngine ? engine.dispose() : Promise.resolve();
	}
	[Symbol.asyncDispose]() {
		return this.dispose();
	}
	#requireWeights() {
		if (!this.#isDisposed) return;
		const name = this.nameOrPath ? ` ${this.nameOrPath}` : "";
		throw new EngineError(`the model${name} is disposed of: its weights are gone`, { hint: "Call dispose() after the last use, or load the model again." });
	}
};
// src/model/config-fields.ts
const MOST = {
	layers: 1024,
	width: 262144,
	heads: 4096,
	vocabulary: 4194304,
	positions: 2 ** 31 - 1,
	patch: 128,
	merge: 16,
	eosTokens: 64
};
const ACTIVATIONS = {
	silu: "silu",
	swish: "silu",
	gelu: "gelu",
	gelu_pytorch_tanh: "gelu_tanh",
	gelu_new: "gelu_tanh",
	relu: "relu"
};
var ConfigFields = class {
	#object;
	#where;
	#faults;
	constructor(object, where, faults) {
		const valid = typeof object === "object" && object !== null && !Array.isArray(object);
		if (!valid && object !== void 0) faults.push(`${where || "config.json"}: expected an object, got ${showValue(object)}`);
		this.#object = valid ? object : {};
		this.#where = where ? `${where}.` : "";
		this.#faults = faults;
	}
	has(key) {
		return Object.hasOwn(this.#object, key);
	}
	raw(key) {
		const value = this.has(key) ? this.#object[key] : void 0;
		return value === null ? void 0 : value;
	}
	fault(key, expected) {
		this.#faults.push(`${this.#where}${key}: expected ${expected}, got ${showValue(this.raw(key))}`);
	}
	number(key, fallback, accept, expected) {
		const value = this.raw(key);
		if (value === void 0) return fallback;
		if (typeof value === "number" && Number.isFinite(value) && accept(value)) return value;
		this.fault(key, expected);
		return fallback;
	}
	count(key, fallback, most) {
		const accept = (value) => Number.isInteger(value) && value > 0 && value <= most;
		return this.number(key, fallback, accept, `a whole number from 1 to ${most}`);
	}
	positive(key, fallback) {
		return this.number(key, fallback, (value) => value > 0, "a positive number");
	}
	boolean(key, fallback) {
		const value = this.raw(key);
		if (value === void 0) return fallback;
		if (typeof value === "boolean") return value;
		this.fault(key, "true or false");
		return fallback;
	}
	activation(key, fallback) {
		const value = this.raw(key);
		if (value === void 0) return fallback;
		if (typeof value === "string" && Object.hasOwn(ACTIVATIONS, value)) return ACTIVATIONS[value];
		this.fault(key, `one of ${Object.keys(ACTIVATIONS).join(", ")}`);
		return fallback;
	}
	only(key, ...allowed) {
		const value = this.raw(key);
		if (value !== void 0 && !allowed.includes(value)) this.fault(key, `${allowed.map(showValue).join(" or ") || "null"} (nothing else is supported)`);
	}
};
// src/model/families.ts
const FAMILIES = [{
	name: "Ministral 3",
	modelType: "mistral3",
	textModelType: "ministral3",
	example: "mistralai/Ministral-3-3B-Instruct-2512-BF16",
	textDefaults: {
		vocabSize: 131072,
		layers: 34,
		headDim: 128,
		normEps: 1e-5,
		maxPositions: 262144,
		hasQueryScaling: true,
		rope: {
			rope_type: "yarn",
			rope_theta: 1e6,
			factor: 16,
			original_max_position_embeddings: 16384,
			mscale: 1,
			mscale_all_dim: 1,
			llama_4_scaling_beta: .1
		}
	}
}, {
	name: "Mistral Small 3.1 and 3.2",
	modelType: "mistral3",
	textModelType: "mistral",
	example: "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
	textDefaults: {
		vocabSize: 32e3,
		layers: 32,
		normEps: 1e-6,
		maxPositions: 131072,
		hasQueryScaling: false,
		rope: {},
		slidingWindow: 4096
	}
}];
function familyOf(top, text, path) {
	const modelType = top.raw("model_type") ?? "mistral3";
	const textModelType = text.raw("model_type") ?? "mistral";
	const outer = FAMILIES.filter((family) => family.modelType === modelType);
	const found = outer.find((family) => family.textModelType === textModelType);
	if (found) return found;
	const isTextOnly = FAMILIES.some((family) => family.textModelType === modelType);
	const [field, value] = outer.length > 0 ? ["text_config.model_type", textModelType] : ["model_type", modelType];
	const supported = FAMILIES.map((family) => `${family.name} ("${family.modelType}" around "${family.textModelType}", e.g. ${family.example})`);
	throw new ConfigError(`${path}: ${field} ${showValue(value)} is not supported`, {
		hint: `${isTextOnly ? "That is a model for text alone: take its vision-language checkpoint. " : ""}Supported are ${supported.join(" and ")}.`,
		details: {
			path,
			modelType,
			textModelType,
			supported: FAMILIES.map((family) => [family.modelType, family.textModelType])
		}
	});
}
// src/model/text-config.ts
const DEFAULT_THETA = 1e4;
function readText(fields, defaults, faults) {
	fields.only("attention_dropout", 0);
	fields.only("sliding_window");
	if (defaults.slidingWindow !== void 0 && !fields.has("sliding_window")) faults.push(`text_config.sliding_window: expected null, got nothing, which means a window of ${defaults.slidingWindow} tokens`);
	fields.only("attention_bias", false);
	fields.only("mlp_bias", false);
	fields.only("partial_rotary_factor", 1);
	const layerTypes = fields.raw("layer_types");
	if (Array.isArray(layerTypes) && layerTypes.some((type) => type !== "full_attention")) fields.fault("layer_types", "only \"full_attention\"");
	const hiddenSize = fields.count("hidden_size", 4096, MOST.width);
	const heads = fields.count("num_attention_heads", 32, MOST.heads);
	const kvHeads = fields.count("num_key_value_heads", fields.has("num_key_value_heads") ? heads : 8, MOST.heads);
	const headDim = fields.count("head_dim", defaults.headDim ?? Math.floor(hiddenSize / heads), MOST.width);
	if (heads % kvHeads !== 0) fields.fault("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
	if (headDim % 2 !== 0) fields.fault("head_dim", "an even number");
	const maxPositions = fields.count("max_position_embeddings", defaults.maxPositions, MOST.positions);
	return {
		vocabSize: fields.count("vocab_size", defaults.vocabSize, MOST.vocabulary),
		hiddenSize,
		intermediateSize: fields.count("intermediate_size", 14336, MOST.width),
		layers: fields.count("num_hidden_layers", defaults.layers, MOST.layers),
		heads,
		kvHeads,
		headDim,
		activation: fields.activation("hidden_act", "silu"),
		normEps: fields.positive("rms_norm_eps", defaults.normEps),
		maxPositions,
		rope: readRope(fields, maxPositions, defaults, faults)
	};
}
function readRope(text, maxPositions, defaults, faults) {
	const keys = ["rope_parameters", "rope_scaling"].filter((name) => text.raw(name) !== void 0);
	if (JSON.stringify(text.raw("rope_scaling")) === "{}") keys.pop();
	if (keys.length > 1) text.fault("rope_scaling", "none beside rope_parameters: only one of them can be meant");
	const [key] = keys;
	const rope = new ConfigFields(key ? text.raw(key) : defaults.rope, `text_config.${key ?? "rope_parameters"}`, faults);
	const type = rope.raw("rope_type") ?? rope.raw("type") ?? "default";
	if (type !== "yarn" && type !== "default") rope.fault(rope.raw("rope_type") === void 0 ? "type" : "rope_type", "\"yarn\" or \"default\"");
	rope.only("partial_rotary_factor", 1);
	if (!defaults.hasQueryScaling) rope.only("llama_4_scaling_beta", 0);
	const originalMaxPositions = rope.count("original_max_position_embeddings", maxPositions, MOST.positions);
	if (type === "yarn") text.only("original_max_position_embeddings", originalMaxPositions);
	const factor = rope.positive("factor", maxPositions / originalMaxPositions);
	const atLeastZero = (name) => rope.number(name, 0, (value) => value >= 0, "a number of at least 0");
	const mscale = atLeastZero("mscale");
	const mscaleAllDim = atLeastZero("mscale_all_dim");
	const gain = (m) => factor <= 1 ? 1 : .1 * m * Math.log(factor) + 1;
	const inferred = mscale && mscaleAllDim ? gain(mscale) / gain(mscaleAllDim) : gain(1);
	return {
		type: type === "yarn" ? "yarn" : "default",
		theta: (rope.raw("rope_theta") === void 0 ? text : rope).positive("rope_theta", DEFAULT_THETA),
		factor,
		originalMaxPositions,
		betaFast: atLeastZero("beta_fast") || 32,
		betaSlow: atLeastZero("beta_slow") || 1,
		truncate: rope.boolean("truncate", true),
		attentionFactor: type === "yarn" ? rope.positive("attention_factor", inferred) : 1,
		queryScalingBeta: atLeastZero("llama_4_scaling_beta")
	};
}
// src/model/parse-config.ts
function parseModelConfig(json, path = "config.json") {
	const faults = [];
	const top = new ConfigFields(json, "", faults);
	const textFields = new ConfigFields(top.raw("text_config"), "text_config", faults);
	const family = familyOf(top, textFields, path);
	if (faults.length === 0 && top.raw("text_config") === void 0) faults.push("text_config: missing");
	const text = readText(textFields, family.textDefaults, faults);
	const vision = parseVision(top.raw("vision_config"), faults);
	const imageToken = top.raw("image_token_index");
	if (typeof imageToken === "number") top.only("image_token_id", imageToken);
	const config = {
		text,
		vision,
		imageTokenId: top.number(top.raw("image_token_index") === void 0 ? "image_token_id" : "image_token_index", 10, (value) => Number.isInteger(value) && value >= 0 && value < text.vocabSize, "a token id"),
		spatialMergeSize: top.count("spatial_merge_size", 2, MOST.merge),
		projectorActivation: top.activation("projector_hidden_act", "gelu"),
		projectorBias: top.boolean("multimodal_projector_bias", false),
		visionFeatureLayer: parseFeatureLayer(top, vision.layers, faults),
		mayTieEmbeddings: top.boolean("tie_word_embeddings", true),
		eosTokenIds: parseEos(textFields),
		quantization: parseQuantization(top.raw("quantization_config"), faults)
	};
	if (faults.length > 0) throw new ConfigError(`${path} cannot be used:\n  - ${faults.join("\n  - ")}`, {
		details: {
			path,
			faults
		},
		hint: `It was read as that of ${family.name}, e.g. ${family.example}: take the config.json of the checkpoint as it was published.`
	});
	return config;
}
function parseVision(json, faults) {
	const fields = new ConfigFields(json, "vision_config", faults);
	if (json === void 0) faults.push("vision_config: missing");
	fields.only("model_type", "pixtral");
	fields.only("attention_dropout", 0);
	fields.only("num_channels", 3);
	fields.only("rope_scaling");
	const hiddenSize = fields.count("hidden_size", 1024, MOST.width);
	const heads = fields.count("num_attention_heads", 16, MOST.heads);
	if (hiddenSize % heads !== 0 || hiddenSize / heads % 4 !== 0) fields.fault("num_attention_heads", `a number that splits hidden_size ${hiddenSize} into heads of a multiple of 4`);
	const rope = new ConfigFields(fields.raw("rope_parameters"), "vision_config.rope_parameters", faults);
	rope.only("rope_type", "default", "axial");
	return {
		hiddenSize,
		intermediateSize: fields.count("intermediate_size", 4096, MOST.width),
		layers: fields.count("num_hidden_layers", 24, MOST.layers),
		heads,
		headDim: hiddenSize / heads,
		activation: fields.activation("hidden_act", "gelu"),
		patchSize: fields.count("patch_size", 16, MOST.patch),
		ropeTheta: rope.raw("rope_theta") === void 0 ? fields.positive("rope_theta", 1e4) : rope.positive("rope_theta", 1e4)
	};
}
function parseEos(fields) {
	const ids = [fields.raw("eos_token_id") ?? 2].flat();
	if (ids.every((id) => typeof id === "number" && Number.isSafeInteger(id) && id >= 0) && ids.length > 0 && ids.length <= MOST.eosTokens) return ids;
	fields.fault("eos_token_id", "a token id or a list of them");
	return [];
}
function parseFeatureLayer(top, layers, faults) {
	const raw = top.raw("vision_feature_layer") ?? -1;
	if (Array.isArray(raw) && raw.length > 1) {
		faults.push(`vision_feature_layer: ${showValue(raw)} concatenates several layers, which the projector's norm of one layer's width cannot take (transformers fails on it too)`);
		return layers;
	}
	const value = Array.isArray(raw) ? raw[0] : raw;
	if (typeof value !== "number" || !Number.isInteger(value) || value < -(layers + 1) || value > layers) {
		top.fault("vision_feature_layer", `a whole number from ${-(layers + 1)} to ${layers}`);
		return layers;
	}
	return value < 0 ? layers + 1 + value : value;
}
// src/model/quantization.ts
const METHODS = [
	"nf4",
	"fp8",
	"none"
];
const schema = strictObject({
	method: _enum(METHODS),
	doubleQuantization: boolean().optional(),
	blockSize: int$1().refine((size) => size >= 32 && size <= 4096 && Number.isInteger(Math.log2(size)), { message: "expected a power of two from 32 to 4096" }).optional(),
	skipModules: array(string().min(1)).readonly().optional()
});
const LOAD_ALIASES = {
	loadin4bit: "quantization",
	loadin8bit: "quantization",
	quantizationconfig: "quantization"
};
const ALIASES = {
	bnb4bitusedoublequant: "doubleQuantization",
	bnb4bitquanttype: "method",
	loadin4bit: "method",
	loadin8bit: "method",
	bnb4bitblocksize: "blockSize",
	llmint8skipmodules: "skipModules",
	modulestonotconvert: "skipModules"
};
const METHOD_ALIASES = {
	"4bit": "nf4",
	int4: "nf4",
	fp4: "nf4",
	bnb: "nf4",
	bnb4bit: "nf4",
	bitsandbytes: "nf4",
	loadin4bit: "nf4",
	"8bit": "fp8",
	int8: "fp8",
	e4m3: "fp8",
	f8e4m3: "fp8",
	float8: "fp8",
	loadin8bit: "fp8",
	"16bit": "none",
	bf16: "none",
	bfloat16: "none",
	no: "none",
	off: "none"
};
function parseQuantizationOption(given, what) {
	if (given === void 0) return void 0;
	const name = `${what}: \`quantization\``;
	if (typeof given === "object" && given !== null) {
		const parsed = parseOptions(schema, given, name, ALIASES);
		const { method, doubleQuantization, blockSize, skipModules } = parsed;
		const unused = namesOfGiven({
			...method !== "nf4" && {
				doubleQuantization,
				blockSize
			},
			...method === "none" && { skipModules }
		});
		if (unused.length > 0) throw new ConfigError(`${name}: the method ${showValue(method)} has no ${unused.join(", ")}`, { hint: `Leave ${unused.length === 1 ? "it" : "them"} out, or quantise with the method "nf4".` });
		return parsed;
	}
	if (METHODS.includes(given)) return { method: given };
	const plain = String(given).toLowerCase().replaceAll(/[^a-z\d]/g, "");
	const near = Object.hasOwn(METHOD_ALIASES, plain) ? METHOD_ALIASES[plain] : nearestName(String(given), METHODS);
	throw new ConfigError(`${name}: expected one of ${METHODS.map((method) => `"${method}"`).join(", ")} or an object with a \`method\`, got ${showValue(given)}${near ? `; did you mean "${near}"?` : ""}`);
}
function namesOfGiven(options) {
	return Object.entries(options).flatMap(([name, value]) => value === void 0 ? [] : `\`${name}\``);
}
// src/model/quantization-plan.ts
const DEFAULT_SKIPPED = [
	"vision_tower",
	"multi_modal_projector",
	"lm_head"
];
var QuantizationPlan = class {
	#held = new Map();
	notice;
	description;
	constructor(engine, tensors, option, what) {
		const matrices = tensors.filter(({ name, shape }) => linearModuleName(name, shape) !== void 0);
		const has = (format) => matrices.some(({ stored }) => stored === format);
		const isHeld = (format) => engine.heldFormats?.includes(format) ?? false;
		const method = option?.method;
		const format = method === "nf4" ? "nf4" : "f8_e4m3";
		requireConsistent(option, has("nf4"), what);
		if ((method === "nf4" || method === "fp8") && !isHeld(format)) throw unheld(engine, method, what);
		const skips = skipRule(option?.skipModules, matrices, what);
		const hold = method === "nf4" ? {
			format: "nf4",
			blockSize: option?.blockSize ?? 64,
			doubleQuantization: option?.doubleQuantization ?? true
		} : { format: "f8_e4m3" };
		const staysPlain = has("nf4") || has("f8_e4m3") && method === "fp8";
		for (const { name, stored } of matrices) if (stored === "nf4") this.#held.set(name, { as: method === "none" || !isHeld("nf4") ? "widened" : "stored" });
		else if (method === "nf4" || method === "fp8") {
			if ((stored === "f8_e4m3" && method === "fp8" ? !option?.skipModules || !skips(name) : !skips(name)) && (stored !== void 0 || !staysPlain)) this.#held.set(name, {
				as: "held",
				hold
			});
		}
		if (option?.skipModules && ![...this.#held.values()].some(({ as }) => as === "held")) throw new ConfigError(`${what}: \`quantization.skipModules\` leaves no matrix to be held in ${method}`, { hint: "Skip fewer modules, or leave the option `quantization` out." });
		this.notice = noticeOf(matrices, this.#held, engine);
		const changed = matrices.filter(({ name, stored }) => {
			const held = this.#held.get(name);
			return held?.as === "held" && held.hold.format !== stored;
		});
		if (changed.length > 0) this.description = `${describeHold(hold)}, ${changed.length} matrices`;
	}
	apply(name, source) {
		const held = this.#held.get(name);
		if (held?.as === "widened" || !held && source.dtype === "nf4") return dequantizedSource(source);
		return held?.as === "held" ? {
			...source,
			hold: held.hold
		} : source;
	}
};
function requireConsistent(option, isNf4, what) {
	if (!isNf4 || !option || option.method === "none") return;
	if (option.method === "fp8") throw new ConfigError(`${what}: \`quantization\` is "fp8", but the checkpoint is stored in 4 bits (bitsandbytes)`, { hint: "Leave the option out to hold it in 4 bits, or set it to \"none\" for 16 bits; for 8 bits take the FP8 checkpoint or the one in bfloat16." });
	const { doubleQuantization, blockSize, skipModules } = option;
	const given = namesOfGiven({
		doubleQuantization,
		blockSize,
		skipModules
	});
	if (given.length === 0) return;
	throw new ConfigError(`${what}: ${given.join(", ")} of \`quantization\`: the checkpoint is already quantised to 4 bits (bitsandbytes)`, { hint: "Leave it out, or take the checkpoint in bfloat16." });
}
function unheld({ name, heldFormats }, method, what) {
	const known = heldFormats?.map((format) => format === "nf4" ? "nf4" : "fp8") ?? [];
	return new EngineError(`${what}: the ${name} engine does not hold matrices in ${method}; below 16 bits it holds ${known.join(", ") || "none"}`, { hint: "Use the engine cuda or cpu, or leave the option `quantization` out." });
}
function skipRule(given, matrices, what) {
	const skipped = given ?? DEFAULT_SKIPPED;
	const matches = (weight, module) => [weight, toDiskName(weight)].some((name) => `.${name}`.includes(`.${module}.`));
	const unknown = given?.find((module) => !["lm_head", "embed_tokens"].includes(toMemoryName(`${module}.`).split(".").at(-2) ?? "") && !matrices.some(({ name }) => matches(name, module)));
	if (unknown !== void 0) {
		const modules = matrices.map(({ name }) => name.replace(/\.weight$/, ""));
		const parts = modules.flatMap((name) => name.split(".").filter((part) => /^[a-z]/.test(part)));
		const near = nearestName(unknown, [...new Set([...modules, ...parts])]);
		throw new ConfigError(`${what}: \`quantization.skipModules\`: no linear layer is called ${showValue(unknown)}${near ? `; did you mean "${near}"?` : ""}`, { hint: "Give names of modules or parts of them between dots, no patterns: vision_tower, o_proj, layers.0." });
	}
	return (name) => skipped.some((module) => matches(name, module));
}
function noticeOf(matrices, plan, { name: engine, heldFormats = [] }) {
	const groups = new Map();
	let widened8 = 0;
	let widened4 = 0;
	for (const { name, stored, shape, bytes: storedBytes } of matrices) {
		const held = plan.get(name);
		const kept = held?.as === "held" ? describeHold(held.hold) : held?.as === "stored" ? "nf4, as stored" : "";
		if (kept === "") {
			if (stored === "f8_e4m3") widened8++;
			if (stored === "nf4") widened4++;
			continue;
		}
		const group = groups.get(kept) ?? {
			count: 0,
			bytes: 0,
			plain: 0
		};
		const size = sizeOf$1(shape);
		const bytes = held?.as === "held" && held.hold.format !== stored ? bytesOf(held.hold, shape) : storedBytes;
		groups.set(kept, {
			count: group.count + 1,
			bytes: group.bytes + bytes,
			plain: group.plain + 2 * size
		});
	}
	const lines = [...groups].map(([kept, { count, bytes, plain }]) => {
		const sizes = `${formatBytes(bytes)} instead of ${formatBytes(plain)} in 16 bits`;
		return `${count} of ${matrices.length} matrices are held as ${kept}: ${sizes}`;
	});
	if (widened8 > 0) lines.push(`${widened8} FP8 matrices are dequantised to bfloat16 and take as much memory as those of the BF16 checkpoint${heldFormats.includes("f8_e4m3") && groups.size === 0 ? "; the option quantization: \"fp8\" keeps them in 8 bits" : ""}`);
	if (widened4 > 0) lines.push(`${widened4} NF4 matrices are dequantised to bfloat16 and take as much memory as those of the BF16 checkpoint${heldFormats.includes("nf4") ? "" : `, for the ${engine} engine does not hold 4 bits`}`);
	return lines.length === 0 ? void 0 : lines.join("; ");
}
function describeHold(hold) {
	if (hold.format === "f8_e4m3") return "e4m3";
	return `nf4${hold.blockSize === 64 ? "" : ` in blocks of ${hold.blockSize}`}${hold.doubleQuantization ? " with double quantisation" : ""}`;
}
function bytesOf(hold, shape) {
	const size = sizeOf$1(shape);
	if (hold.format === "f8_e4m3") return size + 4 * (shape[0] ?? 1);
	const blocks = Math.ceil(size / hold.blockSize);
	return Math.ceil(size / 2) + (hold.doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks);
}
// src/model/load.ts
async function loadModel(dir, options = {}) {
	checkNames(options, {
		engine: false,
		quantization: false,
		onNotice: false,
		onLoadProgress: false
	}, "loadModel", LOAD_ALIASES);
	requireCallback(options.onLoadProgress, "loadModel: `onLoadProgress`", "e.g. { onLoadProgress: showProgress('weights') }.", true);
	return loadFrom(dir, options, { nameOrPath: dir }, "loadModel");
}
async function loadFrom(dir, { engine: given, quantization, onNotice, onLoadProgress }, origin, what) {
	requirePath(dir, what);
	requireEngine(given, what);
	const option = parseQuantizationOption(quantization, what);
	const config = await readConfig(dir);
	const { engine, ownsEngine } = await engineOf(given);
	try {
		return await loadInto(engine, dir, config, {
			option,
			onNotice,
			onLoadProgress,
			what
		}, {
			...origin,
			folder: dir,
			ownsEngine
		});
	} catch (error) {
		if (ownsEngine) await engine.dispose();
		throw error;
	}
}
async function loadInto(engine, dir, config, { option, onNotice, onLoadProgress, what }, origin) {
	const checkpoint = await ShardedCheckpoint.open(dir);
	try {
		const stored = indexByMemoryName(checkpoint.tensors.keys());
		const quantized = await QuantizedCheckpoint.of(checkpoint, config.quantization);
		const tensors = tensorsOf(stored, quantized);
		engine.requireRoom?.(shapesOf(tensors));
		const plan = new QuantizationPlan(engine, tensors, option, what);
		if (plan.notice !== void 0) {
			const warn = (line) => process.emitWarning(line, "QuantizedCheckpoint");
			(onNotice ?? (option ? () => {} : warn))(`${dir}: ${plan.notice}`);
		}
		const provider = {
			description: dir,
			has: (name) => stored.has(name),
			source: (name) => plan.apply(name, quantized.source(stored.get(name))),
			order: stored.keys(),
			required: tensors.map(({ name }) => name).filter((name) => !isComputedTable(name)),
			onProgress: onLoadProgress
		};
		return await VisionLanguageModel.load(engine, config, provider, {
			...origin,
			quantization: plan.description
		});
	} finally {
		await checkpoint.close();
	}
}
async function engineOf(given = "auto") {
	if (typeof given !== "string") return {
		engine: given,
		ownsEngine: false
	};
	return {
		engine: await createEngine(given),
		ownsEngine: true
	};
}
function requireEngine(engine, what) {
	if (engine === void 0 || typeof engine?.loadWeight === "function") return;
	if (typeof engine === "string" && ENGINE_CHOICES.includes(engine)) return;
	const given = engine instanceof Promise ? "a promise: await createEngine(…)" : showValue(engine);
	throw new ConfigError(`${what}: \`engine\` must be an engine or one of ${ENGINE_CHOICES.join(", ")}, got ${given}`);
}
const ENGINE_CHOICES = [
	"auto",
	"cpu",
	"cuda",
	"tfjs"
];
function tensorsOf(stored, quantized) {
	return [...stored].flatMap(([name, file]) => {
		if (quantized.isCompanion(file)) return [];
		return [{
			name,
			stored: quantized.formatOf(file),
			shape: quantized.shapeOf(file),
			bytes: quantized.bytesOf(file)
		}];
	});
}
function isComputedTable(name) {
	return /\.(inv_freq|original_inv_freq|position_ids)$/.test(name);
}
function shapesOf(tensors) {
	const isAdaptable = (name, shape) => ![void 0, "lm_head"].includes(linearModuleName(name, shape));
	return {
		weights: tensors.map(({ shape }) => shape),
		linear: tensors.filter(({ name, shape }) => isAdaptable(name, shape)).map(({ shape }) => shape)
	};
}
async function loadProcessor(dir) {
	requirePath(dir, "loadProcessor");
	const [tokenizer, imageProcessor, chatTemplate] = await Promise.all([
		MinistralTokenizer.fromFolder(dir),
		findImageProcessor(dir),
		ChatTemplate.findInFolder(dir)
	]);
	if (imageProcessor) return {
		tokenizer,
		imageProcessor,
		chatTemplate
	};
	throw new CheckpointError(`${dir} has no processor_config.json with an image_processor, and no preprocessor_config.json`, { hint: "these files say how images are resized and normalised; copy them from the original checkpoint" });
}
async function findImageProcessor(dir) {
	const [processor, preprocessor] = await Promise.all(["processor_config.json", "preprocessor_config.json"].map((name) => readOptionalJson(join(dir, name))));
	if (typeof processor === "object" && processor !== null && "image_processor" in processor) return ImageProcessor.fromConfig(processor);
	return preprocessor === void 0 ? void 0 : ImageProcessor.fromConfig(preprocessor, { processorConfig: processor });
}
async function readOptionalJson(path) {
	return await exists(path) ? readConfigFile(path) : void 0;
}
async function requireModelFolder(dir) {
	const folder = await stat(dir).catch(() => void 0);
	if (!folder?.isDirectory()) throw new CheckpointError(`${dir} is not a folder`, {
		hint: folder ? "it is a file: give the folder that holds config.json, the tokenizer and the safetensors files" : "give the folder that holds config.json, the tokenizer and the safetensors files of a checkpoint; fromPretrained takes a name on the Hub, \"owner/name\", as well",
		details: { path: dir }
	});
	if (await exists(join(dir, "config.json"))) return;
	const { kind, text, children } = await describeFolder(dir);
	throw new CheckpointError(`${dir} holds no config.json, so it is no model: it ${text}`, {
		hint: HINTS[kind]?.(children[0]) ?? "give the folder that holds config.json and model*.safetensors of a checkpoint",
		details: {
			path: dir,
			kind
		}
	});
}
const HINTS = {
	adapter: () => "fromPretrained(folder) loads an adapter with its base model; loadAdapter(folder, model) puts it onto a model that is loaded",
	foreign: () => "export it in the Hugging Face layout with the tool that made it (an adapter: in that of PEFT)",
	mlx: () => "an adapter of mlx has another layout: fuse it into its model with mlx first",
	mistral: () => MISTRAL_NATIVE_HINT,
	images: () => "an image folder is read by ImageFolder.fromFolder or KaggleImageFolder.fromFolder",
	parent: (child) => `give the subfolder, e.g. ${child}`
};
async function readConfig(dir) {
	const path = join(dir, "config.json");
	await requireModelFolder(dir);
	const config = parseModelConfig(await readConfigFile(path), path);
	const generationPath = join(dir, "generation_config.json");
	const generation = await readOptionalJson(generationPath) ?? {};
	const eos = [generation.eos_token_id ?? config.eosTokenIds].flat();
	if (!eos.every((id) => typeof id === "number" && Number.isSafeInteger(id) && id >= 0) || eos.length === 0) throw new CheckpointError(`${generationPath}: eos_token_id is ${showValue(generation.eos_token_id)}, expected token ids`);
	return {
		...config,
		eosTokenIds: eos
	};
}
async function readConfigFile(path) {
	try {
		return await readJson(path);
	} catch (cause) {
		if (cause instanceof SyntaxError) throw new CheckpointError(`${path} is not JSON of a configuration: ${cause.message}`, { cause });
		throw new CheckpointError(`${path} cannot be read: ${cause.message}`, {
			cause,
			hint: "is this the folder of a complete checkpoint?"
		});
	}
}
// src/train/sampler.ts
var Sampler = class {
	options;
	microBatchesPerEpoch;
	stepsPerEpoch;
	totalSteps;
	#orders = new Map();
	constructor(options) {
		this.options = options;
		const batches = options.length / options.batchSize;
		this.microBatchesPerEpoch = options.dropLast ? Math.floor(batches) : Math.ceil(batches);
		this.stepsPerEpoch = Math.ceil(this.microBatchesPerEpoch / options.gradientAccumulationSteps);
		this.totalSteps = options.maxSteps > 0 ? options.maxSteps : Math.ceil(options.numTrainEpochs * this.stepsPerEpoch);
	}
	#order(epoch) {
		let order = this.#orders.get(epoch);
		if (!order) {
			order = packedPermutation(this.options.length, this.options.seed + epoch);
			for (const old of this.#orders.keys()) if (Math.abs(old - epoch) > 1) this.#orders.delete(old);
			this.#orders.set(epoch, order);
		}
		return order;
	}
	place(step) {
		const epoch = Math.floor(step / this.stepsPerEpoch);
		const { first, last } = this.#range(step);
		return {
			step,
			epoch,
			epochAfter: epoch + last / this.microBatchesPerEpoch,
			endsEpoch: last === this.microBatchesPerEpoch,
			firstMicroBatch: epoch * this.microBatchesPerEpoch + first
		};
	}
	window(step) {
		const { batchSize } = this.options;
		const place = this.place(step);
		const { first, last } = this.#range(step);
		const order = this.#order(place.epoch);
		const microBatches = [];
		for (let i = first; i < last; i++) microBatches.push([...order.subarray(i * batchSize, (i + 1) * batchSize)]);
		return {
			...place,
			microBatches
		};
	}
	*microBatches(step) {
		for (let next = step; next < this.totalSteps; next++) yield* this.window(next).microBatches;
	}
	#range(step) {
		const { gradientAccumulationSteps } = this.options;
		const first = step % this.stepsPerEpoch * gradientAccumulationSteps;
		return {
			first,
			last: Math.min(first + gradientAccumulationSteps, this.microBatchesPerEpoch)
		};
	}
};
export { HubImageFolder as $, requireAdapter as A, warnWith as B, LAYER_PROJECTIONS as C, deleteAdapter as D, adaptersOf as E, isLocalName as F, PROCESSOR_FILES as G, ADAPTER_SELECTION as H, otherBaseWarning as I, asTfNamespace as J, adapterFolder as K, readTogether as L, chatTemplateText as M, baseOf as N, setAdapter as O, cachedRepo as P, KaggleImageFolder as Q, whileUploading as R, visionServingAdvice as S, activeAdapter as T, ADAPTER_WEIGHTS_FILE as U, ADAPTER_CONFIG_FILE as V, CHAT_TEMPLATE_FILE as W, ChatTemplate as X, VlmCollator as Y, TUTORIAL_TEMPLATE as Z, describeFolder as _, loadProcessor as a, putOn as b, QuantizationPlan as c, parseModelConfig as d, ImageFolder as et, VisionLanguageModel as f, parseQuantization as g, QuantizedCheckpoint as h, loadModel as i, chatTemplateFields as j, saveAdapter as k, LOAD_ALIASES as l, requireBatch as m, findImageProcessor as n, ConversationDataset as nt, requireEngine as o, trainingBytes as p, createEngine as q, loadFrom as r, requireModelFolder as s, Sampler as t, ArchiveError as tt, parseQuantizationOption as u, adapterNameSchema as v, LoraConfig as w, selectTargetModules as x, applyLora as y, requireLoraHost as z };
