import { b as showValue, g as describeGiven, h as requireText, i as nearestName, o as requirePath, s as isOptions, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { m as reasonOf, n as ConfigError, t as CheckpointError } from "./errors-D4G-NQir.js";
import { d as writeFileAtomically } from "./atomic-file-D2Hfhe-X.js";
import { i as readJson } from "./read-json-BUQErRHs.js";
import { n as openRegularFile } from "./regular-file-BhWpSxEj.js";
import { t as firstLines } from "./short-list-DyTENnB8.js";
import { n as float16ToFloat32, t as bfloat16ToFloat32, u as sizeOf } from "./half-precision-CIC2zd88.js";
import { basename, join } from "node:path";
import { readdir, stat } from "node:fs/promises";
import { endianness } from "node:os";
// src/formats/safetensors-scanner.ts
const MAX_TENSORS = 131072;
const MAX_DIMENSIONS = 64;
const MAX_METADATA_BYTES = 16777216;
const MAX_METADATA_KEYS = 4096;
const MAX_SKIPPED_DEPTH = 128;
const MAX_SKIPPED_BYTES = 16777216;
const MAX_WORD = 1024;
const WORD = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;
const WORD_BYTES = new Set(Buffer.from("truefalsn0123456789.+-E"));
const KNOWN_KEYS = [
	"dtype",
	"shape",
	"data_offsets"
];
function scanHeader(bytes) {
	return new Scanner(bytes).header();
}
const [QUOTE, BACKSLASH, COMMA, COLON, MINUS] = [
	34,
	92,
	44,
	58,
	45
];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [
	91,
	93,
	123,
	125
];
const [ZERO, NINE, LETTER_N] = [
	48,
	57,
	110
];
var Scanner = class {
	#bytes;
	#utf8 = new TextDecoder("utf-8", {
		fatal: true,
		ignoreBOM: true
	});
	#numbersRead = [];
	#at = 0;
	#skipped = 0;
	constructor(bytes) {
		this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
	}
	header() {
		const entries = [];
		const names = new Set();
		let metadata;
		this.#object((name) => {
			if (name === "__metadata__") {
				if (metadata) throw this.#fault("the name \"__metadata__\" comes more than once");
				metadata = this.#metadata();
				return;
			}
			if (names.has(name)) throw this.#fault(`the name ${quoted(name)} comes more than once`);
			if (names.size === MAX_TENSORS) throw this.#fault(`there are more than ${MAX_TENSORS} tensors`);
			names.add(name);
			entries.push(this.#entry(name));
		});
		if (this.#peek() !== void 0) throw this.#expected("nothing after the object");
		return {
			entries,
			metadata: metadata ?? new Map()
		};
	}
	#metadata() {
		const start = this.#at;
		const metadata = new Map();
		if (this.#peek() === LETTER_N) {
			if (this.#bytes.toString("latin1", this.#at, this.#at + 4) !== "null") throw this.#expected("an object");
			this.#at += 4;
			return metadata;
		}
		this.#object((key) => {
			if (metadata.has(key)) throw this.#fault(`the key ${quoted(key)} of __metadata__ comes more than once`);
			metadata.set(key, this.#string(() => "`__metadata__` to be an object of strings"));
			if (this.#at - start > MAX_METADATA_BYTES || metadata.size > MAX_METADATA_KEYS) throw this.#fault("`__metadata__` is too long");
		});
		return metadata;
	}
	#entry(name) {
		let dtype;
		let shape;
		let offsets;
		this.#object((key) => {
			if (key === "dtype" && dtype === void 0) dtype = this.#string(() => `the dtype of ${quoted(name)}`);
			else if (key === "shape" && !shape) shape = this.#numbers(() => `the shape of ${quoted(name)}`);
			else if (key === "data_offsets" && !offsets) offsets = this.#numbers(() => `data_offsets of ${quoted(name)}`);
			else if (KNOWN_KEYS.includes(key)) throw this.#fault(`${quoted(name)} has ${quoted(key)} again`);
			else this.#skipValue();
		});
		if (dtype === void 0 || !shape || !offsets) throw this.#fault(`${quoted(name)} lacks one of dtype, shape and data_offsets`);
		return {
			name,
			dtype,
			shape,
			offsets
		};
	}
	#object(member) {
		this.#take(OPEN_OBJECT, () => "an object");
		if (this.#peek() === CLOSE_OBJECT) {
			this.#at++;
			return;
		}
		for (;;) {
			const key = this.#string(() => "a name in quotes");
			this.#take(COLON, () => "a colon");
			member(key);
			if (this.#peek() !== COMMA) break;
			this.#at++;
		}
		this.#take(CLOSE_OBJECT, () => "a comma or the end of the object");
	}
	#skipValue() {
		const start = this.#at;
		let depth = 0;
		const closing = [];
		do {
			const byte = this.#peek();
			if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
				if (++depth > MAX_SKIPPED_DEPTH) throw this.#fault(`an unknown key nests more than ${MAX_SKIPPED_DEPTH} levels`);
				this.#at++;
				const close = byte === OPEN_LIST ? CLOSE_LIST : CLOSE_OBJECT;
				if (this.#peek() === close) {
					this.#at++;
					depth--;
				} else {
					closing.push(close);
					if (close === CLOSE_OBJECT) this.#skipKey();
					continue;
				}
			} else if (byte === QUOTE) this.#string(() => "a string");
			else this.#skipWord();
			while (depth > 0 && this.#peek() === closing.at(-1)) {
				closing.pop();
				this.#at++;
				depth--;
			}
			if (this.#skipped + this.#at - start > MAX_SKIPPED_BYTES) throw this.#fault("its unknown keys are too long");
			if (depth === 0) break;
			this.#take(COMMA, () => "a comma or the end of a value");
			if (closing.at(-1) === CLOSE_OBJECT) this.#skipKey();
		} while (depth > 0);
		this.#skipped += this.#at - start;
	}
	#skipKey() {
		this.#string(() => "a name in quotes");
		this.#take(COLON, () => "a colon");
	}
	#skipWord() {
		const start = this.#at;
		while (WORD_BYTES.has(this.#bytes[this.#at])) this.#at++;
		if (!(this.#at - start <= MAX_WORD) || !WORD.test(this.#bytes.toString("latin1", start, this.#at))) {
			this.#at = start;
			throw this.#expected("a JSON value");
		}
	}
	#numbers(what) {
		let count = 0;
		const expected = () => `${what()} to be a list of whole numbers`;
		this.#take(OPEN_LIST, expected);
		if (this.#peek() === CLOSE_LIST) {
			this.#at++;
			return [];
		}
		for (;;) {
			if (count === MAX_DIMENSIONS) throw this.#expected(`at most ${MAX_DIMENSIONS} numbers`);
			this.#numbersRead[count++] = this.#number(expected);
			if (this.#peek() !== COMMA) break;
			this.#at++;
		}
		this.#take(CLOSE_LIST, expected);
		return this.#numbersRead.slice(0, count);
	}
	#number(expected) {
		const start = this.#peek() === MINUS ? -1 : this.#at;
		let value = 0;
		let digits = 0;
		for (;;) {
			const byte = this.#bytes[this.#at];
			if (!(byte >= ZERO && byte <= NINE)) break;
			value = value * 10 + (byte - ZERO);
			digits++;
			this.#at++;
		}
		const hasZeroInFront = digits > 1 && this.#bytes[start] === ZERO;
		if (digits === 0 || hasZeroInFront || !Number.isSafeInteger(value)) throw this.#expected(expected());
		return value;
	}
	#string(expected) {
		this.#take(QUOTE, expected);
		const start = this.#at;
		let isAscii = true;
		let hasEscapes = false;
		for (;;) {
			const byte = this.#bytes[this.#at];
			if (byte === void 0) throw this.#expected("the end of a name");
			if (byte === QUOTE) break;
			if (byte === BACKSLASH) {
				hasEscapes = true;
				this.#at++;
			} else if (byte < 32) throw this.#fault("a control character in a name");
			else if (byte >= 128) isAscii = false;
			this.#at++;
		}
		const end = this.#at++;
		if (isAscii && !hasEscapes) return this.#bytes.toString("latin1", start, end);
		try {
			if (!hasEscapes) return this.#utf8.decode(this.#bytes.subarray(start, end));
			return JSON.parse(this.#utf8.decode(this.#bytes.subarray(start - 1, end + 1)));
		} catch {
			throw this.#fault("a name that is no valid UTF-8 or has a bad escape");
		}
	}
	#peek() {
		for (;;) {
			const byte = this.#bytes[this.#at];
			if (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9) return byte;
			this.#at++;
		}
	}
	#take(byte, expected) {
		if (this.#peek() !== byte) throw this.#expected(expected());
		this.#at++;
	}
	#expected(what) {
		const byte = this.#bytes[this.#at];
		const found = byte === void 0 ? "the end of the header" : quoted(String.fromCharCode(byte));
		return this.#fault(`expected ${what}, found ${found}`);
	}
	#fault(why) {
		return new SyntaxError(`${why} (byte ${this.#at})`);
	}
};
function quoted(name) {
	return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
// src/formats/safetensors-header.ts
const DTYPE_BITS = {
	F64: 64,
	I64: 64,
	U64: 64,
	C64: 64,
	F32: 32,
	I32: 32,
	U32: 32,
	F16: 16,
	BF16: 16,
	I16: 16,
	U16: 16,
	F8_E4M3: 8,
	F8_E5M2: 8,
	F8_E8M0: 8,
	F8_E4M3FNUZ: 8,
	F8_E5M2FNUZ: 8,
	I8: 8,
	U8: 8,
	BOOL: 8,
	F6_E2M3: 6,
	F6_E3M2: 6,
	F4: 4
};
const MAX_HEADER_BYTES = 1e8;
const MAX_LISTED_FAULTS$1 = 20;
function tensorByteLength(dtype, shape) {
	const bits = sizeOf(shape) * DTYPE_BITS[dtype];
	return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : void 0;
}
function parseHeader(json, dataLength, path) {
	let scanned;
	try {
		scanned = scanHeader(json);
	} catch (cause) {
		throw new CheckpointError(`${path}: bad safetensors header: ${cause.message}`, {
			hint: "The file is damaged, or no safetensors file; download or write it again.",
			details: { path },
			cause
		});
	}
	const faults = [];
	const infos = [];
	for (const entry of scanned.entries) {
		const info = readEntry(entry);
		if (typeof info === "string") faults.push(`"${entry.name}": ${info}`);
		else infos.push(info);
	}
	infos.sort((a, b) => a.dataOffset - b.dataOffset || a.byteLength - b.byteLength);
	if (faults.length === 0) addRangeFaults(infos, dataLength, faults);
	if (faults.length > 0) {
		const listed = firstLines(faults, MAX_LISTED_FAULTS$1);
		throw new CheckpointError(`${path}: bad safetensors header:\n  - ${listed.join("\n  - ")}`, {
			hint: "The file is damaged or was cut off; download or write it again.",
			details: {
				path,
				faults: listed
			}
		});
	}
	return {
		tensors: new Map(infos.map((info) => [info.name, info])),
		metadata: Object.fromEntries(scanned.metadata)
	};
}
function serializeHeader(tensors, metadata) {
	const entries = tensors.map(({ name, dtype, shape, dataOffset, byteLength }) => {
		const entry = {
			dtype,
			shape,
			data_offsets: [dataOffset, dataOffset + byteLength]
		};
		return `${JSON.stringify(name)}:${JSON.stringify(entry)}`;
	});
	if (Object.keys(metadata).length > 0) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
	const json = new TextEncoder().encode(`{${entries.join(",")}}`);
	const length = Math.ceil(json.length / 8) * 8;
	if (length > 1e8) throw new CheckpointError(`the header takes ${length} bytes; safetensors allows ${MAX_HEADER_BYTES}`);
	const bytes = new Uint8Array(8 + length).fill(32);
	new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
	bytes.set(json, 8);
	return bytes;
}
function layOut(tensors) {
	const sorted = [...tensors].sort((a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
	let dataOffset = 0;
	return sorted.map(({ name, dtype, shape }) => {
		const byteLength = DTYPE_BITS[dtype] && isShape(shape) ? tensorByteLength(dtype, shape) : void 0;
		if (byteLength === void 0) throw new CheckpointError(`"${name}": ${dtype} [${shape}] cannot be stored in a safetensors file`);
		const info = {
			name,
			dtype,
			shape,
			byteLength,
			dataOffset
		};
		dataOffset += byteLength;
		return info;
	});
}
function isShape(value) {
	return Array.isArray(value) && value.every((extent) => Number.isSafeInteger(extent) && extent >= 0);
}
function readEntry({ name, dtype, shape, offsets }) {
	if (!Object.hasOwn(DTYPE_BITS, dtype)) return `unknown dtype ${showValue(dtype)}`;
	const [begin, end] = offsets;
	if (begin === void 0 || end === void 0 || offsets.length !== 2 || begin > end) return `bad data_offsets ${showValue(offsets)}`;
	const known = dtype;
	const byteLength = tensorByteLength(known, shape);
	if (byteLength === void 0) return `${dtype} [${shape}] is not a whole number of bytes or is too large`;
	if (byteLength !== end - begin) return `${dtype} [${shape}] takes ${byteLength} bytes, data_offsets give ${end - begin}`;
	return {
		name,
		dtype: known,
		shape,
		byteLength,
		dataOffset: begin
	};
}
function addRangeFaults(infos, dataLength, faults) {
	let end = 0;
	for (const { name, dataOffset, byteLength } of infos) {
		if (dataOffset < end) faults.push(`"${name}" starts at byte ${dataOffset}, inside the tensor that ends at ${end}`);
		else if (dataOffset > end) faults.push(`bytes ${end} to ${dataOffset}, before "${name}", belong to no tensor`);
		end = Math.max(end, dataOffset + byteLength);
	}
	if (end !== dataLength) faults.push(`the tensors take ${end} bytes, the file holds ${dataLength} after its header`);
}
const TENSOR_HINT = "Write [{ name, dtype: \"F32\", shape: [2, 3], data: new Float32Array(6) }].";
function checkTensors(tensors, metadata) {
	if (!(typeof tensors !== "string" && typeof tensors?.[Symbol.iterator] === "function")) throw new ConfigError(`writeSafetensors: expected a list of tensors, got ${describeGiven(tensors)}`, { hint: TENSOR_HINT });
	const wrong = isObject(metadata) ? Object.entries(metadata).find(([, text]) => typeof text !== "string") : void 0;
	if (isOptions(metadata) && wrong === void 0) return;
	const came = wrong ? `${describeGiven(wrong[1])} as ${showValue(wrong[0])}` : describeGiven(metadata);
	throw new ConfigError(`writeSafetensors: \`metadata\`: expected an object of names and texts, got ${came}`);
}
function checkTensor(tensor) {
	const { name, dtype, shape, data, chunks } = isObject(tensor) ? tensor : {};
	const isShape = Array.isArray(shape) && shape.every((extent) => typeof extent === "number");
	const isKnown = typeof dtype === "string" && Object.hasOwn(DTYPE_BITS, dtype);
	if (typeof name === "string" && isKnown && isShape && (ArrayBuffer.isView(data) || typeof chunks === "function")) return;
	throw new ConfigError(`writeSafetensors: expected a tensor, got ${describeGiven(tensor)}`, { hint: TENSOR_HINT });
}
// src/formats/safetensors.ts
const FILE_DTYPES = {
	f32: "F32",
	bf16: "BF16",
	f16: "F16"
};
function engineDtype(dtype) {
	return Object.keys(FILE_DTYPES).find((key) => FILE_DTYPES[key] === dtype);
}
const INDEX_FILE = "model.safetensors.index.json";
const MAX_INDEX_BYTES = 33554432;
const MAX_SHARDS = 2e3;
const MAX_LISTED_FAULTS = 20;
const READ_CHUNK = 33554432;
const ARRAY_TYPES = {
	F64: Float64Array,
	F32: Float32Array,
	I64: BigInt64Array,
	U64: BigUint64Array,
	I32: Int32Array,
	U32: Uint32Array,
	I16: Int16Array,
	U16: Uint16Array,
	I8: Int8Array
};
var SafetensorsFile = class SafetensorsFile {
	path;
	tensors;
	metadata;
	#file;
	#dataStart;
	constructor(path, header, file, dataStart) {
		this.path = path;
		this.tensors = header.tensors;
		this.metadata = header.metadata;
		this.#file = file;
		this.#dataStart = dataStart;
	}
	static async open(path) {
		requirePath(path, "SafetensorsFile.open");
		if (endianness() !== "LE") throw new CheckpointError("safetensors files need a little-endian machine");
		const { file, size } = await openRegularFile(path).catch((cause) => {
			throw new CheckpointError(`cannot open ${path}: ${cause.message}`, {
				cause,
				details: { path }
			});
		});
		try {
			if (size < 8) throw damaged(path, `${size} bytes are too few for a safetensors file`);
			const prefix = new Uint8Array(8);
			await readFully(file, prefix, 0, path);
			const length = new DataView(prefix.buffer).getBigUint64(0, true);
			if (length > BigInt(1e8) || Number(length) > size - 8) {
				const other = OTHER_STARTS[new TextDecoder("latin1").decode(prefix)];
				if (other !== void 0) throw damaged(path, other[0], { hint: other[1] });
				throw damaged(path, `its header would take ${length} bytes, the file has ${size - 8} after the length field`);
			}
			const json = new Uint8Array(Number(length));
			await readFully(file, json, 8, path);
			const dataStart = 8 + json.length;
			return new SafetensorsFile(path, parseHeader(json, size - dataStart, path), file, dataStart);
		} catch (error) {
			await file.close();
			throw error;
		}
	}
	info(name) {
		return lookUp(this.tensors, name, this.path);
	}
	source(name) {
		const { dtype, shape, byteLength } = this.info(name);
		const held = engineDtype(dtype);
		if (!held) throw new CheckpointError(`${this.path}: "${name}" is stored as ${dtype}; expected F32, BF16 or F16`, {
			hint: dtype.startsWith("F8") ? "This is a quantised checkpoint. Use an FP8 one (F8_E4M3) or the model in bfloat16, e.g. the repository whose name ends in -BF16." : "Convert the checkpoint to bfloat16 first.",
			details: {
				path: this.path,
				name,
				dtype
			}
		});
		const read = (target, offset = 0) => this.readBytes(name, target, offset);
		return {
			name,
			shape,
			dtype: held,
			byteLength,
			read
		};
	}
	async readBytes(name, target, offset = 0) {
		const { dataOffset, byteLength } = this.info(name);
		if (typeof offset !== "number") requireInteger(offset, "readBytes: `offset`", 0);
		if (!(target instanceof Uint8Array)) throw new ConfigError(`readBytes: \`target\`: expected a Uint8Array to be filled, got ${describeGiven(target)}`);
		if (!Number.isSafeInteger(offset) || offset < 0 || offset + target.length > byteLength) {
			const range = `bytes ${offset} to ${offset + target.length}`;
			throw new CheckpointError(`${this.path}: "${name}" has ${byteLength} bytes, ${range} were asked for`);
		}
		const position = this.#dataStart + dataOffset + offset;
		try {
			await readFully(this.#file, target, position, this.path);
		} catch (cause) {
			if (cause instanceof CheckpointError) throw cause;
			throw new CheckpointError(`${this.path}: "${name}" cannot be read: ${cause.message}`, {
				cause,
				details: {
					path: this.path,
					name
				}
			});
		}
	}
	async readFloat32(name) {
		const { dtype } = this.info(name);
		if (!engineDtype(dtype) && dtype !== "F64") throw new CheckpointError(`${this.path}: "${name}" is stored as ${dtype}; expected F32, BF16, F16 or F64`);
		const array = await this.readArray(name);
		return array instanceof Float32Array ? array : Float32Array.from(array);
	}
	async readArray(name) {
		const { dtype, byteLength } = this.info(name);
		const bytes = new Uint8Array(byteLength);
		await this.readBytes(name, bytes);
		if (dtype === "BF16") return bfloat16ToFloat32(new Uint16Array(bytes.buffer));
		if (dtype === "F16") return float16ToFloat32(new Uint16Array(bytes.buffer));
		const type = ARRAY_TYPES[dtype];
		return type ? new type(bytes.buffer) : bytes;
	}
	async close() {
		await this.#file.close();
	}
};
var ShardedCheckpoint = class ShardedCheckpoint {
	directory;
	files;
	tensors;
	indexFile;
	#fileOf;
	constructor(directory, files, indexFile) {
		this.directory = directory;
		this.files = files;
		this.indexFile = indexFile;
		this.tensors = new Map(files.flatMap((file) => [...file.tensors]));
		this.#fileOf = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file])));
	}
	static async open(directory) {
		requirePath(directory, "ShardedCheckpoint.open");
		const single = join(directory, "model.safetensors");
		if (await isFile(single)) return new ShardedCheckpoint(directory, [await SafetensorsFile.open(single)], void 0);
		const indexFile = INDEX_FILE;
		const weightMap = await readShardIndex(directory);
		const faults = [];
		const files = new Map();
		const shards = [...new Set(weightMap.values())].sort();
		if (shards.length > MAX_SHARDS) throw new CheckpointError(`${directory}: ${indexFile} names ${shards.length} files, at most ${MAX_SHARDS} are read`);
		for (const name of shards) try {
			files.set(name, await SafetensorsFile.open(join(directory, name)));
		} catch (error) {
			faults.push(`shard ${name}: ${error instanceof CheckpointError ? error.summary : reasonOf(error)}`);
		}
		for (const [tensor, name] of weightMap) {
			const file = files.get(name);
			if (file && !file.tensors.has(tensor)) faults.push(`"${tensor}" is not in ${name}, where the index puts it`);
		}
		const seen = new Map();
		for (const [name, file] of files) for (const tensor of file.tensors.keys()) if (seen.has(tensor)) faults.push(`"${tensor}" is both in ${seen.get(tensor)} and in ${name}`);
		else seen.set(tensor, name);
		if (faults.length > 0) {
			await Promise.all([...files.values()].map((file) => file.close()));
			const listed = firstLines(faults, MAX_LISTED_FAULTS);
			throw new CheckpointError(`${directory}: the checkpoint is not complete:\n  - ${listed.join("\n  - ")}`, {
				hint: "Download the missing or damaged shards again.",
				details: {
					directory,
					faults: listed
				}
			});
		}
		return new ShardedCheckpoint(directory, [...files.values()], indexFile);
	}
	fileOf(name) {
		return lookUp(this.#fileOf, name, this.directory);
	}
	source(name) {
		return this.fileOf(name).source(name);
	}
	async readFloat32(name) {
		return this.fileOf(name).readFloat32(name);
	}
	async close() {
		await Promise.all(this.files.map((file) => file.close()));
	}
};
function writeSafetensors(path, tensors, metadata = {}) {
	return writeTensorFile(path, tensors, metadata, true);
}
async function writeTensorFile(path, tensors, metadata, flush) {
	requirePath(path, "writeSafetensors");
	checkTensors(tensors, metadata);
	const byName = new Map();
	for (const tensor of tensors) {
		checkTensor(tensor);
		if (byName.has(tensor.name) || tensor.name === "__metadata__") throw new CheckpointError(`${path}: the tensor name "${tensor.name}" is ${byName.has(tensor.name) ? "given twice" : "reserved"}`);
		byName.set(tensor.name, tensor);
	}
	const infos = layOut([...byName.values()]);
	if ((await stat(path).catch(() => void 0))?.isDirectory()) throw new CheckpointError(`writeSafetensors: ${path} is a folder`, { hint: "Give the path of a file." });
	const write = async (file) => {
		await writeFully(file, serializeHeader(infos, metadata));
		for (const { name, byteLength } of infos) {
			const tensor = byName.get(name);
			let written = 0;
			for await (const chunk of "data" in tensor ? [bytesOf(tensor.data)] : tensor.chunks()) {
				written += chunk.length;
				if (written > byteLength) break;
				await writeFully(file, chunk);
			}
			if (written !== byteLength) {
				const came = written > byteLength ? "more" : `${written}`;
				throw new CheckpointError(`${path}: "${name}" [${tensor.shape}] takes ${byteLength} bytes, ${came} came`);
			}
		}
	};
	await writeFileAtomically(path, write, { flush });
}
function bytesOf(view) {
	return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
const OTHER_STARTS = {
	"version ": ["it is a pointer of Git LFS, not the file itself", "Fetch the file with `git lfs pull`."],
	"<!DOCTYP": ["it is a web page", "The download was answered by a page, such as a login: download the file again."],
	"<!doctyp": ["it is a web page", "The download was answered by a page, such as a login: download the file again."]
};
function damaged(path, reason, options = {}) {
	return new CheckpointError(`${path} is not a whole safetensors file: ${reason}`, {
		hint: "Download or write the file again.",
		details: { path },
		...options
	});
}
function lookUp(map, name, where) {
	requireText(name, `${where}: name of a tensor`);
	const found = map.get(name);
	if (found !== void 0) return found;
	const near = nearestName(name, [...map.keys()]);
	throw new CheckpointError(`${where} has no tensor "${name}"${near ? `; the nearest name is "${near}"` : ""}`, { details: {
		where,
		name
	} });
}
async function readFully(file, target, position, path) {
	for (let done = 0; done < target.length;) {
		const { bytesRead } = await file.read(target, done, Math.min(READ_CHUNK, target.length - done), position + done);
		if (bytesRead === 0) throw damaged(path, `it ends at byte ${position + done}, inside a tensor`);
		done += bytesRead;
	}
}
async function writeFully(file, bytes) {
	for (let done = 0; done < bytes.length;) {
		const { bytesWritten } = await file.write(bytes, done, Math.min(READ_CHUNK, bytes.length - done));
		done += bytesWritten;
	}
}
async function isFile(path) {
	return stat(path).then((entry) => entry.isFile(), () => false);
}
const MISTRAL_NATIVE_HINT = "This folder has only the Mistral-native files (params.json, consolidated*.safetensors); download config.json and the model*.safetensors files too.";
async function isMistralNative(directory) {
	return (await readdir(directory).catch(() => [])).some((name) => name === "params.json" || /^consolidated.*\.safetensors$/.test(name));
}
async function missingWeightsHint(directory) {
	if (await isMistralNative(directory)) return MISTRAL_NATIVE_HINT;
	const names = await readdir(directory).catch(() => []);
	if (names.some((name) => /^model-\d+-of-\d+\.safetensors$/.test(name))) return `It has the shards but not their index: download ${INDEX_FILE} too.`;
	const pickle = names.find((name) => /^pytorch_model.*\.bin$/.test(name));
	if (pickle !== void 0) return `${pickle} is a Python pickle, which is never read: take the model as safetensors.`;
	if (names.some((name) => name.endsWith(".gguf"))) return "GGUF files are not read: take the model as safetensors.";
	return "Give the folder of a downloaded model.";
}
async function readShardIndex(directory) {
	const path = join(directory, INDEX_FILE);
	if (!await isFile(path)) throw new CheckpointError(`${directory} holds neither model.safetensors nor ${INDEX_FILE}`, {
		hint: await missingWeightsHint(directory),
		details: { directory }
	});
	let index;
	try {
		index = await readJson(path, {
			maxBytes: MAX_INDEX_BYTES,
			anyKey: true
		});
	} catch (cause) {
		const reason = cause.message;
		throw new CheckpointError(`${path} is no index of shards: ${reason}`, {
			cause,
			details: { path }
		});
	}
	const weightMap = index?.weight_map;
	const entries = typeof weightMap === "object" && weightMap !== null ? Object.entries(weightMap) : [];
	const bad = entries.filter(([, file]) => typeof file !== "string" || basename(file) !== file || /^\.|[\\/\0]/.test(file));
	if (entries.length === 0 || bad.length > 0) {
		const names = bad.slice(0, 5).map(([name, file]) => `${showValue(name)}: ${showValue(file)}`);
		throw new CheckpointError(`${path}: expected a \`weight_map\` of tensor names to file names${names.length ? `; bad: ${names.join(", ")}` : ""}`);
	}
	return new Map(entries);
}
export { ShardedCheckpoint as a, writeSafetensors as c, SafetensorsFile as i, writeTensorFile as l, INDEX_FILE as n, engineDtype as o, MISTRAL_NATIVE_HINT as r, readShardIndex as s, FILE_DTYPES as t };
