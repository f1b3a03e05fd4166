import { d as TrainingError, t as CheckpointError } from "./errors-D4G-NQir.js";
import { c as matrixShape, r as float32ToBfloat16 } from "./half-precision-CIC2zd88.js";
// src/engine/parameter-lease.ts
const leases = new WeakMap();
const atWork = new WeakMap();
const changes = new WeakMap();
var ParameterLease = class ParameterLease {
	#engine;
	#set;
	#calls = new WeakSet();
	describe;
	constructor(engine, set, describe) {
		this.#engine = engine;
		this.#set = set;
		this.describe = describe;
	}
	static take(engine, set, describe) {
		const present = leases.get(set);
		if (present) throw new TrainingError(`train: the model is training already: ${present.describe()}`, { hint: "Its parameters belong to that run until it ends: await it first, or abort it by its signal." });
		const lease = new ParameterLease(engine, set, describe);
		leases.set(set, lease);
		const others = atWork.get(engine) ?? new Set();
		atWork.set(engine, others.add(lease));
		return lease;
	}
	own(options) {
		this.#calls.add(options);
		return options;
	}
	isOwn(options) {
		return this.#calls.has(options);
	}
	release() {
		if (leases.get(this.#set) === this) leases.delete(this.#set);
		atWork.get(this.#engine)?.delete(this);
	}
};
function requireNotTraining(set, what) {
	const lease = set && leases.get(set);
	if (lease) throw refusal(`${what} is being trained`, lease);
}
function requireIdleEngine(engine, what) {
	const [lease] = atWork.get(engine) ?? [];
	if (lease) throw refusal(`${what}: a run is training on this engine`, lease);
}
function requireOwnCall(set, options, what) {
	const lease = leases.get(set);
	if (lease && !lease.isOwn(options)) throw refusal(`${what}: a run is training these parameters`, lease);
}
function noteChange(set) {
	changes.set(set, changesOf(set) + 1);
}
function changesOf(set) {
	return changes.get(set) ?? 0;
}
function refusal(what, lease) {
	return new TrainingError(`${what}: ${lease.describe()}`, { hint: "Nothing was changed, and the run goes on. Do this after it: await it first, or abort it by its signal." });
}
// src/formats/bit-view.ts
var BitView = class {
	floats;
	bits;
	constructor(length) {
		this.floats = new Float32Array(length);
		this.bits = new Uint32Array(this.floats.buffer);
	}
};
// src/formats/nearest-code.ts
function firstCodes(midpoints) {
	const codes = new Uint8Array(65536);
	const view = new BitView(1);
	for (let upper = 0; upper < codes.length; upper++) {
		view.bits[0] = upper < 32768 ? upper << 16 : (upper << 16 | 65535) >>> 0;
		const x = view.floats[0];
		let code = 0;
		while (x > midpoints[code]) code++;
		codes[upper] = code;
	}
	return codes;
}
// src/formats/dynamic-map.ts
const DECADES = 7;
var DynamicMap = class {
	values;
	midpoints;
	firstCode;
	constructor(signed) {
		this.values = buildValues(signed);
		this.midpoints = new Float32Array(256).fill(Infinity);
		for (let i = 0; i < 255; i++) this.midpoints[i] = (this.values[i] + this.values[i + 1]) / 2;
		this.firstCode = firstCodes(this.midpoints);
	}
	encode(source, count, codes, start) {
		const { midpoints, firstCode } = this;
		const { floats, bits } = source;
		for (let i = 0; i < count; i++) {
			const x = floats[i];
			let code = firstCode[bits[i] >>> 16];
			while (x > midpoints[code]) code++;
			codes[start + i] = code;
		}
	}
};
function buildValues(signed) {
	const { fround } = Math;
	const low = fround(.1);
	const values = [0, 1];
	for (let i = 0; i < DECADES; i++) {
		const cells = 2 ** (signed ? i : i + 1);
		const cellWidth = fround(fround(1 - low) / cells);
		const scale = fround(10 ** (i - 6));
		const edge = (k) => fround(k < cells / 2 ? low + cellWidth * k : 1 - cellWidth * (cells - k));
		for (let cell = 0; cell < cells; cell++) {
			const value = fround(scale * fround(fround(edge(cell) + edge(cell + 1)) / 2));
			values.push(value);
			if (signed) values.push(-value);
		}
	}
	return Float32Array.from(values).sort();
}
// src/formats/float8.ts
const E4M3_MAX = 448;
function e4m3ToNumber(code) {
	const exponent = code >>> 3 & 15;
	const mantissa = code & 7;
	if (isNaNCode(code)) return NaN;
	const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
	return code & 128 ? -magnitude : magnitude;
}
function e4m3OfBits(bits) {
	const sign = bits >>> 24 & 128;
	const magnitude = bits & 2147483647;
	if (magnitude > 2139095040) return 127;
	if (magnitude >= 1138753536) return sign | 126;
	if (magnitude >= 1015021568) return sign | magnitude - 1006632960 + 524287 + (magnitude >>> 20 & 1) >>> 20;
	const shift = 141 - (magnitude >>> 23);
	if (shift > 24) return sign;
	const mantissa = magnitude & 8388607 | 8388608;
	const quotient = mantissa >>> shift;
	const rest = mantissa & (1 << shift) - 1;
	const half = 1 << shift - 1;
	return sign | quotient + (rest > half || rest === half && (quotient & 1) === 1 ? 1 : 0);
}
function quantizeRows(name, values, columns, codes, scales) {
	const { floats, bits } = new BitView(columns);
	for (let row = 0, start = 0; start < values.length; row++, start += columns) {
		let top = 0;
		let areFinite = true;
		for (let i = 0; i < columns; i++) {
			const magnitude = Math.abs(values[start + i]);
			if (magnitude > top) top = magnitude;
			if (magnitude - magnitude !== 0) areFinite = false;
		}
		if (!areFinite) throw new CheckpointError(`${name}: a value is not finite, so it cannot be quantised`, {
			hint: "The checkpoint is damaged: download it again.",
			details: { name }
		});
		const scale = Math.fround(top / E4M3_MAX) || 1;
		scales[row] = scale;
		for (let i = 0; i < columns; i++) floats[i] = values[start + i] / scale;
		for (let i = 0; i < columns; i++) codes[start + i] = e4m3OfBits(bits[i]);
	}
}
function isNaNCode(code) {
	return (code & 127) === 127;
}
function tableOf(factor) {
	return float32ToBfloat16(Float32Array.from({ length: 256 }, (_, code) => e4m3ToNumber(code) * factor));
}
function lookUp(values, codes, table, start, end) {
	let isWhole = true;
	for (let i = start; i < end; i++) {
		const code = codes[i];
		if (isNaNCode(code)) isWhole = false;
		values[i] = table[code];
	}
	return isWhole;
}
async function readScale(source) {
	const { name, scale, shape } = source;
	const [rows, columns] = matrixShape(shape);
	if (!scale) throw new CheckpointError(`${name}: 8-bit floats came without their scale`);
	const [blockRows, blockColumns] = scale.block;
	const across = Math.ceil(columns / blockColumns);
	const needed = across * Math.ceil(rows / blockRows);
	const factors = await scale.read();
	if (factors.length !== needed) throw new CheckpointError(`${name}: ${factors.length} scale factors for [${shape.join(", ")}] in blocks of ${blockRows} × ${blockColumns}, expected ${needed}`);
	const bad = factors.find((factor) => !Number.isFinite(factor));
	if (bad !== void 0) throw new CheckpointError(`${name}: a scale factor is ${bad}`, { hint: DAMAGED });
	return {
		factors,
		block: scale.block,
		across
	};
}
const DAMAGED = "The quantised checkpoint is damaged: download it again, or use the bfloat16 one.";
function refuseNaN(name) {
	throw new CheckpointError(`${name}: its 8-bit floats hold the code 0x7f or 0xff, which is NaN`, {
		hint: DAMAGED,
		details: { name }
	});
}
function dequantizeRun(codes, start, values, source, { factors, block, across }, tables) {
	const [, columns] = matrixShape(source.shape);
	for (let i = 0; i < codes.length;) {
		const row = Math.floor((start + i) / columns);
		const column = (start + i) % columns;
		const run = Math.min(columns - column, block[1] - column % block[1], codes.length - i);
		const index = Math.floor(row / block[0]) * across + Math.floor(column / block[1]);
		tables[index] ??= tableOf(factors[index]);
		if (!lookUp(values, codes, tables[index], i, i + run)) refuseNaN(source.name);
		i += run;
	}
}
// src/formats/nf4.ts
const NF4_VALUES = Float32Array.of(...[
	-1,
	-.6961928009986877,
	-.5250730514526367,
	-.39491748809814453,
	-.28444138169288635,
	-.18477343022823334
], ...[
	-.09105003625154495,
	0,
	.07958029955625534,
	.16093020141124725,
	.24611230194568634,
	.33791524171829224
], ...[
	.44070982933044434,
	.5626170039176941,
	.7229568362236023,
	1
]);
const MIDPOINTS = Float32Array.of(...[
	-.8480964004993439,
	-.6106329262256622,
	-.4599952697753906,
	-.33967943489551544,
	-.23460740596055984
], ...[
	-.13791173323988914,
	-.045525018125772476,
	.03979014977812767,
	.1202552504837513,
	.2035212516784668
], ...[
	.2920137718319893,
	.3893125355243683,
	.5016634166240692,
	.6427869200706482,
	.8614784181118011,
	Infinity
]);
let codesByBits;
let nestedMap;
var Nf4Quantizer = class {
	codes;
	absmax;
	#name;
	#size;
	#block;
	#done = 0;
	#filled = 0;
	constructor(name, size, blockSize, codes = new Uint8Array(Math.ceil(size / 2))) {
		this.#name = name;
		this.#size = size;
		this.#block = new BitView(blockSize);
		this.codes = codes;
		this.absmax = new Float32Array(Math.ceil(size / blockSize));
	}
	push(values) {
		const { floats } = this.#block;
		for (let i = 0; i < values.length;) {
			const count = Math.min(values.length - i, floats.length - this.#filled);
			for (let k = 0; k < count; k++) floats[this.#filled + k] = values[i + k];
			this.#filled += count;
			i += count;
			if (this.#filled === floats.length || this.#done + this.#filled === this.#size) this.#finishBlock();
		}
	}
	finish(doubleQuantization) {
		return doubleQuantization ? quantizeAbsmax(this.absmax) : { absmax: this.absmax };
	}
	#finishBlock() {
		const { floats, bits } = this.#block;
		const { codes } = this;
		codesByBits ??= firstCodes(MIDPOINTS);
		const count = this.#filled;
		let top = 0;
		let at = 0;
		for (let i = 0; i < count; i++) {
			const magnitude = bits[i] & 2147483647;
			if (magnitude > top) [top, at] = [magnitude, i];
		}
		if (top >= 2139095040) {
			const bad = this.#done + floats.subarray(0, count).findIndex((value) => !Number.isFinite(value));
			throw new CheckpointError(`${this.#name}: value ${bad} is not finite, so it cannot be quantised`, {
				hint: "The checkpoint is damaged: download it again.",
				details: { name: this.#name }
			});
		}
		const absmax = Math.abs(floats[at]);
		this.absmax[this.#done / floats.length] = absmax;
		const reciprocal = Math.fround(1 / absmax);
		if (count % 2 !== 0) floats[count] = 0;
		const padded = count + count % 2;
		for (let i = 0; i < padded; i++) floats[i] = floats[i] * reciprocal;
		for (let i = 0, byte = this.#done / 2; i < padded; i += 2, byte++) {
			let high = codesByBits[bits[i] >>> 16];
			while (floats[i] > MIDPOINTS[high]) high++;
			let low = codesByBits[bits[i + 1] >>> 16];
			while (floats[i + 1] > MIDPOINTS[low]) low++;
			codes[byte] = high << 4 | low;
		}
		this.#done += count;
		this.#filled = 0;
	}
};
function quantizeAbsmax(absmax) {
	nestedMap ??= new DynamicMap(true);
	let sum = 0;
	for (let i = 0; i < absmax.length; i++) sum += absmax[i];
	const offset = Math.fround(absmax.length === 0 ? 0 : sum / absmax.length);
	const codes = new Uint8Array(absmax.length);
	const nestedAbsmax = new Float32Array(Math.ceil(absmax.length / 256));
	const block = new BitView(256);
	const { floats } = block;
	for (let start = 0; start < absmax.length; start += 256) {
		const count = Math.min(256, absmax.length - start);
		let top = 0;
		for (let i = 0; i < count; i++) {
			floats[i] = absmax[start + i] - offset;
			top = Math.max(top, Math.abs(floats[i]));
		}
		nestedAbsmax[start / 256] = top;
		const reciprocal = Math.fround(1 / top);
		for (let i = 0; i < count; i++) floats[i] = floats[i] * reciprocal;
		nestedMap.encode(block, count, codes, start);
	}
	return {
		codes,
		map: nestedMap.values,
		nestedAbsmax,
		nestedBlockSize: 256,
		offset
	};
}
function expandAbsmax(state) {
	if ("absmax" in state) return state.absmax;
	const { codes, map, nestedAbsmax, nestedBlockSize, offset } = state;
	const absmax = new Float32Array(codes.length);
	for (let i = 0; i < codes.length; i++) {
		const nested = nestedAbsmax[Math.floor(i / nestedBlockSize)];
		absmax[i] = Math.fround(map[codes[i]] * nested) + offset;
	}
	return absmax;
}
function dequantizeNf4(codes, absmax, blockSize, start, values) {
	const products = new Float32Array(16);
	const table = new Uint16Array(16);
	const first = start - start % 2;
	for (let i = 0; i < values.length;) {
		const element = start + i;
		const factor = absmax[Math.floor(element / blockSize)];
		for (let code = 0; code < 16; code++) products[code] = NF4_VALUES[code] * factor;
		float32ToBfloat16(products, table);
		const end = Math.min(values.length, i + blockSize - element % blockSize);
		for (; i < end; i++) {
			const at = start + i - first;
			const pair = codes[at >>> 1];
			values[i] = table[(at & 1) === 0 ? pair >>> 4 : pair & 15];
		}
	}
}
// src/engine/reserve.ts
const LESS_MEMORY = .85;
function reserveFor({ reserveBytes, smallReserve }, passBytes) {
	if (!smallReserve) return reserveBytes;
	return Math.min(reserveBytes, Math.ceil(smallReserve.bytes + smallReserve.share * passBytes));
}
function largestPass({ reserveBytes, smallReserve }, freeBytes) {
	const whole = freeBytes - reserveBytes;
	const small = smallReserve ? (freeBytes - smallReserve.bytes) / (1 + smallReserve.share) : whole;
	return Math.max(0, whole, Math.floor(small));
}
export { requireIdleEngine as _, Nf4Quantizer as a, dequantizeRun as c, refuseNaN as d, DynamicMap as f, noteChange as g, changesOf as h, NF4_VALUES as i, quantizeRows as l, ParameterLease as m, largestPass as n, dequantizeNf4 as o, BitView as p, reserveFor as r, expandAbsmax as s, LESS_MEMORY as t, readScale as u, requireNotTraining as v, requireOwnCall as y };
