import { h as union, i as boolean, o as int, p as strictObject, s as literal } from "./zod-CVDjCv3S.js";
import { a as parseOptions } from "./config-BAD1VLMT.js";
import { a as EngineError, l as OutOfMemoryError, t as CheckpointError } from "./errors-D4G-NQir.js";
import { l as requireBytes, o as widen, s as DTYPE_BYTES, u as sizeOf } from "./half-precision-CIC2zd88.js";
import { A as requireFilled, C as requireOwnSet, D as CountedTensor, E as learningRateOf, O as CountedTensors, S as layOut, T as sizeOfAll, _ as checkRows, b as rowKeysOf, f as rotaryHeads, g as checkRowWeights, h as checkNoise, j as requireMatrix, k as CountingEngine, l as requireArray, n as HeldWeights, p as checkAttention, r as AdamW8bitState, t as memoryBudgetSchema, v as patchOrder, w as requireValues$1, x as rowPlaces, y as repeatedPlaces } from "./memory-budget-B2X9g68d.js";
import { _ as requireIdleEngine, d as refuseNaN, f as DynamicMap, g as noteChange, t as LESS_MEMORY, u as readScale, v as requireNotTraining, y as requireOwnCall } from "./reserve-D5uVrLtm.js";
import { a as writeCheckedFile, i as writeCacheFile, n as readCacheJson, r as readCheckedFile, t as kernelCacheFolder } from "./cache-file-D-EUg_Fi.js";
import { a as foreignCalls, i as outHandle, r as loadLibrary, t as foreignFunctions } from "./library-search-CLzoQ0R6.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { a as dropoutScale, n as NOISE_SEED, o as dropoutThreshold, t as MersenneTwister } from "./random-BGUvVUOv.js";
import { join } from "node:path";
import { createHash } from "node:crypto";
var Span = class {
	address;
	bytes;
	isFree;
	previous;
	next;
	constructor(address, bytes, isFree) {
		this.address = address;
		this.bytes = bytes;
		this.isFree = isFree;
	}
};
var Arena = class {
	#free = [];
	#last;
	#bytesInUse = 0;
	#capacity = 0;
	get bytesInUse() {
		return this.#bytesInUse;
	}
	get capacity() {
		return this.#capacity;
	}
	get largestFree() {
		return this.#free.at(-1)?.bytes ?? 0;
	}
	get freeAtEnd() {
		return this.#last?.isFree ? this.#last.bytes : 0;
	}
	allocate(bytes) {
		const size = roundUp(Math.max(1, bytes), 512);
		const span = this.#free[this.#firstNotBelow(size, 0)];
		if (!span) return void 0;
		this.#forget(span);
		span.isFree = false;
		if (span.bytes > size) {
			const rest = new Span(span.address + size, span.bytes - size, true);
			span.bytes = size;
			this.#insertAfter(span, rest);
			this.#remember(rest);
		}
		this.#bytesInUse += size;
		return span;
	}
	free(block) {
		let span = block;
		if (span.isFree) throw new Error("a block was freed twice");
		this.#bytesInUse -= span.bytes;
		span.isFree = true;
		const { previous, next } = span;
		if (next?.isFree) {
			this.#forget(next);
			this.#join(span, next);
		}
		if (previous?.isFree) {
			this.#forget(previous);
			this.#join(previous, span);
			span = previous;
		}
		this.#remember(span);
	}
	grow(address, bytes, isApart = false) {
		this.#capacity += bytes;
		const last = this.#last;
		const span = new Span(address, bytes, true);
		const isContiguous = !isApart && last !== void 0 && last.address + last.bytes === address;
		if (isContiguous && last.isFree) {
			this.#forget(last);
			last.bytes += bytes;
			this.#remember(last);
			return;
		}
		if (isContiguous) this.#insertAfter(last, span);
		this.#last = span;
		this.#remember(span);
	}
	takeOut(address, bytes) {
		const span = this.#free.find((free) => free.address <= address && free.address + free.bytes >= address + bytes);
		if (!span) return false;
		this.#forget(span);
		this.#capacity -= bytes;
		const before = address - span.address;
		const after = span.address + span.bytes - address - bytes;
		const hole = new Span(address, bytes, false);
		if (before > 0) {
			span.bytes = before;
			this.#insertAfter(span, hole);
			this.#remember(span);
		} else {
			hole.previous = span.previous;
			hole.next = span.next;
			if (span.previous) span.previous.next = hole;
			if (span.next) span.next.previous = hole;
			if (this.#last === span) this.#last = hole;
		}
		if (after > 0) {
			const rest = new Span(address + bytes, after, true);
			this.#insertAfter(hole, rest);
			this.#remember(rest);
		}
		return true;
	}
	#insertAfter(span, added) {
		added.previous = span;
		added.next = span.next;
		if (span.next) span.next.previous = added;
		span.next = added;
		if (this.#last === span) this.#last = added;
	}
	#join(first, second) {
		first.bytes += second.bytes;
		first.next = second.next;
		if (second.next) second.next.previous = first;
		if (this.#last === second) this.#last = first;
	}
	#remember(span) {
		const at = this.#firstNotBelow(span.bytes, span.address);
		const free = this.#free;
		free.push(span);
		for (let i = free.length - 1; i > at; i--) free[i] = free[i - 1];
		free[at] = span;
	}
	#forget(span) {
		const free = this.#free;
		for (let i = this.#firstNotBelow(span.bytes, span.address) + 1; i < free.length; i++) free[i - 1] = free[i];
		free.pop();
	}
	#firstNotBelow(bytes, address) {
		let low = 0;
		let high = this.#free.length;
		while (low < high) {
			const middle = low + high >>> 1;
			const span = this.#free[middle];
			if (span.bytes < bytes || span.bytes === bytes && span.address < address) low = middle + 1;
			else high = middle;
		}
		return low;
	}
};
function roundUp(value, multiple) {
	return Math.ceil(value / multiple) * multiple;
}
// src/engine/cuda/pinned-arena.ts
const SLAB_BYTES = 128 << 20;
const SLAB_STRIDE = 2 ** 40;
var PinnedArena = class {
	#driver;
	#slabBytes;
	#arena = new Arena();
	#slabs = [];
	constructor(driver, slabBytes = SLAB_BYTES) {
		this.#driver = driver;
		this.#slabBytes = slabBytes;
	}
	get bytesInUse() {
		return this.#arena.bytesInUse;
	}
	take(bytes) {
		const block = this.#arena.allocate(bytes) ?? this.#grow(bytes);
		const slab = this.#slabs[Math.floor(block.address / SLAB_STRIDE)];
		const at = block.address % SLAB_STRIDE;
		return {
			bytes: slab.bytes.subarray(at, at + bytes),
			block
		};
	}
	giveBack({ block }) {
		this.#arena.free(block);
	}
	dispose() {
		for (const slab of this.#slabs.splice(0)) slab.free();
	}
	#grow(bytes) {
		const size = roundUp(bytes, this.#slabBytes);
		const slab = this.#driver.allocatePinned(size);
		this.#arena.grow(this.#slabs.length * SLAB_STRIDE, size, true);
		this.#slabs.push(slab);
		return this.#arena.allocate(bytes);
	}
};
// src/engine/cuda/launch.ts
function offset(pointer, bytes) {
	return pointer + bytes;
}
function grid2(rows, columns) {
	return [Math.ceil(columns / 1024), Math.min(rows, 65535)];
}
function plainProgram(...files) {
	return {
		files,
		defines: {},
		sharedBytes: 0,
		isSpecific: false
	};
}
function ofWidth(family, width) {
	const kernel = family[width];
	if (kernel) return kernel;
	const known = Object.values(family);
	throw new EngineError(`${known[0].name.replace(/_\d+$/, "")} has the widths ${Object.keys(family)}, not ${width}`);
}
const HIGH_WORD = 2 ** 32;
var ParameterBlock = class {
	bytes = new Uint8Array(512);
	#u32 = new Uint32Array(this.bytes.buffer);
	#i32 = new Int32Array(this.bytes.buffer);
	#f32 = new Float32Array(this.bytes.buffer);
	pointer(at, value) {
		this.i64(at, value ?? 0);
	}
	i64(at, value) {
		this.#u32[2 * at] = value;
		this.#u32[2 * at + 1] = value / HIGH_WORD;
	}
	i32(at, value) {
		this.#i32[2 * at] = value;
	}
	u32(at, value) {
		this.#u32[2 * at] = value;
	}
	f32(at, value) {
		this.#f32[2 * at] = value;
	}
	pointers(at, values, from, count) {
		requireValues(values, from + count);
		for (let i = 0; i < count; i++) this.pointer(at + i, values[from + i]);
	}
	i32s(at, values, from, count) {
		requireValues(values, from + count);
		for (let i = 0; i < count; i++) this.i32(at + i, values[from + i]);
	}
	u32s(at, values, from, count) {
		requireValues(values, from + count);
		for (let i = 0; i < count; i++) this.u32(at + i, values[from + i]);
	}
	f32s(at, values, from, count) {
		requireValues(values, from + count);
		for (let i = 0; i < count; i++) this.f32(at + i, values[from + i]);
	}
};
function requireValues(values, count) {
	if (values.length < count) throw new EngineError(`a kernel takes a list of ${count} values, got ${values.length}`);
}
// src/engine/cuda/tensors.ts
const ELEMENT_BYTES = {
	bf16: 2,
	f32: 4
};
function rowRange({ address, ld, columns, type }, first, count) {
	return {
		address: offset(address, ELEMENT_BYTES[type] * first * ld),
		ld,
		rows: count,
		columns,
		type
	};
}
var Storage = class {
	block;
	users = 0;
	constructor(block) {
		this.block = block;
	}
};
var CudaTensor = class extends CountedTensor {
	rows;
	columns;
	type;
	storage;
	address;
	ld;
	spare = 0;
	hostCopy;
	constructor(shape, type, storage, address, ld, isParameter = false) {
		super(shape, isParameter);
		this.columns = shape.at(-1) ?? 1;
		this.rows = shape.length === 2 ? shape[0] : sizeOf(shape.slice(0, -1));
		this.type = type;
		this.storage = storage;
		this.address = address;
		this.ld = ld;
		if (storage) storage.users++;
	}
};
// src/engine/cuda/activation-offload.ts
var ActivationOffload = class {
	#driver;
	#allocator;
	#host;
	#events = [];
	#order;
	#leaving;
	constructor(driver, allocator, slabBytes) {
		this.#driver = driver;
		this.#allocator = allocator;
		this.#host = new PinnedArena(driver, slabBytes);
	}
	get hostBytes() {
		return this.#host.bytesInUse;
	}
	moveToHost(tensor) {
		const { storage } = tensor;
		if (tensor.hostCopy || !storage || storage.users > 1 || tensor.address !== storage.block.address) return;
		const bytes = ELEMENT_BYTES[tensor.type] * tensor.rows * tensor.ld;
		if (bytes === 0) return;
		let piece;
		try {
			piece = this.#host.take(bytes);
		} catch (error) {
			if (error instanceof OutOfMemoryError) return;
			throw error;
		}
		const { copyStream } = this.#driver;
		if (this.#leaving) this.#leave(this.#leaving);
		const event = this.#events.pop() ?? this.#driver.createEvent();
		this.#copyAfterCompute();
		this.#driver.downloadAsync(piece.bytes, tensor.address, copyStream);
		this.#driver.recordEvent(event, copyStream);
		this.#leaving = {
			piece,
			event,
			storage
		};
		tensor.hostCopy = this.#leaving;
		tensor.storage = void 0;
	}
	prefetch({ hostCopy }) {
		if (!hostCopy || hostCopy.storage) return;
		const { copyStream } = this.#driver;
		const storage = new Storage(this.#allocator.allocate(hostCopy.piece.block.bytes));
		storage.users = 1;
		hostCopy.storage = storage;
		this.#copyAfterCompute();
		this.#driver.upload(storage.block.address, hostCopy.piece.bytes, copyStream);
		this.#driver.recordEvent(hostCopy.event, copyStream);
	}
	bringBack(tensor) {
		this.prefetch(tensor);
		const hostCopy = tensor.hostCopy;
		this.#driver.waitEvent(hostCopy.event);
		tensor.storage = hostCopy.storage;
		tensor.address = hostCopy.storage.block.address;
		this.#forget(tensor, hostCopy);
	}
	drop(tensor) {
		const { hostCopy } = tensor;
		if (!hostCopy) return;
		if (hostCopy.storage) this.#leave(hostCopy);
		this.#forget(tensor, hostCopy);
	}
	dispose() {
		this.#host.dispose();
		if (this.#order !== void 0) this.#events.push(this.#order);
		this.#order = void 0;
		for (const event of this.#events.splice(0)) this.#driver.destroyEvent(event);
	}
	#leave(hostCopy) {
		this.#driver.waitEvent(hostCopy.event);
		this.#allocator.free(hostCopy.storage.block);
		hostCopy.storage = void 0;
		if (this.#leaving === hostCopy) this.#leaving = void 0;
	}
	#forget(tensor, hostCopy) {
		if (this.#leaving === hostCopy) this.#leaving = void 0;
		tensor.hostCopy = void 0;
		this.#host.giveBack(hostCopy.piece);
		this.#events.push(hostCopy.event);
	}
	#copyAfterCompute() {
		const { stream, copyStream } = this.#driver;
		this.#order ??= this.#driver.createEvent();
		this.#driver.recordEvent(this.#order, stream);
		this.#driver.waitEvent(this.#order, copyStream);
	}
};
// src/generated/kernel-launchers.ts
function gatedActivationForward(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.gate);
	to.pointer(2, of.up);
	to.i32(3, of.rows);
	to.i32(4, of.columns);
	to.i32(5, of.ldo);
	to.i32(6, of.ldgate);
	to.i32(7, of.ldup);
	to.i32(8, of.kind);
}
function gatedActivationBackward(to, of) {
	to.pointer(0, of.dgate);
	to.pointer(1, of.dup);
	to.pointer(2, of.gate);
	to.pointer(3, of.up);
	to.pointer(4, of.dy);
	to.i32(5, of.rows);
	to.i32(6, of.columns);
	to.i32(7, of.lddgate);
	to.i32(8, of.lddup);
	to.i32(9, of.ldgate);
	to.i32(10, of.ldup);
	to.i32(11, of.lddy);
	to.i32(12, of.kind);
}
function activationForward(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
	to.i32(6, of.kind);
}
function activationBackward(to, of) {
	to.pointer(0, of.dx);
	to.pointer(1, of.x);
	to.pointer(2, of.dy);
	to.i32(3, of.rows);
	to.i32(4, of.columns);
	to.i32(5, of.lddx);
	to.i32(6, of.ldx);
	to.i32(7, of.lddy);
	to.i32(8, of.kind);
}
function add$1(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.a);
	to.pointer(2, of.b);
	to.i32(3, of.rows);
	to.i32(4, of.columns);
	to.i32(5, of.ldo);
	to.i32(6, of.lda);
	to.i32(7, of.ldb);
}
function addBias(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.bias);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldy);
}
function scale(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.pointer(2, of.factorPointer);
	to.f32(3, of.factor);
	to.i32(4, of.rows);
	to.i32(5, of.columns);
	to.i32(6, of.ldo);
	to.i32(7, of.ldx);
}
function attentionBackwardKeyValue(to, of) {
	to.pointer(0, of.keyGradient);
	to.pointer(1, of.valueGradient);
	to.pointer(2, of.outputGradient);
	to.pointer(3, of.query);
	to.pointer(4, of.key);
	to.pointer(5, of.value);
	to.pointer(6, of.logSum);
	to.pointer(7, of.delta);
	to.pointer(8, of.work);
	to.i32(9, of.keyGradientStride);
	to.i32(10, of.valueGradientStride);
	to.i32(11, of.outputGradientStride);
	to.i32(12, of.queryStride);
	to.i32(13, of.keyStride);
	to.i32(14, of.valueStride);
	to.i32(15, of.heads);
	to.i32(16, of.queryRows);
	to.f32(17, of.scale);
	to.i32(18, of.causal);
}
function attentionBackwardDelta(to, of) {
	to.pointer(0, of.delta);
	to.pointer(1, of.outputGradient);
	to.pointer(2, of.output);
	to.i32(3, of.outputGradientStride);
	to.i32(4, of.outputStride);
	to.i32(5, of.heads);
	to.i32(6, of.queryRows);
}
function attentionBackwardQuery(to, of) {
	to.pointer(0, of.queryGradient);
	to.pointer(1, of.outputGradient);
	to.pointer(2, of.query);
	to.pointer(3, of.key);
	to.pointer(4, of.value);
	to.pointer(5, of.logSum);
	to.pointer(6, of.delta);
	to.pointer(7, of.work);
	to.i32(8, of.queryGradientStride);
	to.i32(9, of.outputGradientStride);
	to.i32(10, of.queryStride);
	to.i32(11, of.keyStride);
	to.i32(12, of.valueStride);
	to.i32(13, of.kvHeads);
	to.i32(14, of.queryRows);
	to.f32(15, of.scale);
	to.i32(16, of.causal);
}
function attentionDecode(to, of) {
	to.pointer(0, of.output);
	to.pointer(1, of.partialOutput);
	to.pointer(2, of.partialLogSum);
	to.pointer(3, of.query);
	to.pointer(4, of.key);
	to.pointer(5, of.value);
	to.pointer(6, of.work);
	to.pointer(7, of.shares);
	to.pointer(8, of.arrived);
	to.pointer(9, of.newKey);
	to.pointer(10, of.newValue);
	to.pointer(11, of.cosine);
	to.pointer(12, of.sine);
	to.pointer(13, of.queryScale);
	to.i32(14, of.outputStride);
	to.i32(15, of.queryStride);
	to.i32(16, of.keyStride);
	to.i32(17, of.valueStride);
	to.i32(18, of.newKeyStride);
	to.i32(19, of.newValueStride);
	to.i32(20, of.heads);
	to.f32(21, of.scale);
}
function attentionForward(to, of) {
	to.pointer(0, of.output);
	to.pointer(1, of.logSum);
	to.pointer(2, of.query);
	to.pointer(3, of.key);
	to.pointer(4, of.value);
	to.pointer(5, of.work);
	to.i32(6, of.outputStride);
	to.i32(7, of.queryStride);
	to.i32(8, of.keyStride);
	to.i32(9, of.valueStride);
	to.i32(10, of.kvHeads);
	to.i32(11, of.queryRows);
	to.f32(12, of.scale);
	to.i32(13, of.causal);
}
function copyBf16(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
}
function f32ToBf16(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
}
function imagePatches$1(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.size);
	to.i32(6, of.across);
}
function f16ToBf16(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
}
function e4m3ToBf16(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
	to.pointer(6, of.factors);
	to.i32(7, of.first);
	to.i32(8, of.blockRows);
	to.i32(9, of.blockColumns);
	to.i32(10, of.across);
	to.pointer(11, of.flag);
}
function bf16ToF32(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
}
function addF32(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.a);
	to.pointer(2, of.b);
	to.i64(3, of.n);
}
function crossEntropyChunk(to, of) {
	to.pointer(0, of.rowMax);
	to.pointer(1, of.rowSum);
	to.pointer(2, of.targetLogit);
	to.pointer(3, of.logits);
	to.pointer(4, of.targets);
	to.i32(5, of.rows);
	to.i32(6, of.n);
	to.i32(7, of.ld);
	to.i32(8, of.firstColumn);
	to.i32(9, of.isFirst);
	to.i32(10, of.kind);
}
function largestLogit(to, of) {
	to.pointer(0, of.largestValue);
	to.pointer(1, of.largestIndex);
	to.pointer(2, of.logits);
	to.i32(3, of.n);
	to.i32(4, of.ld);
	to.i32(5, of.kind);
}
function crossEntropySmooth(to, of) {
	to.pointer(0, of.targetLogit);
	to.pointer(1, of.logits);
	to.i32(2, of.rows);
	to.i32(3, of.n);
	to.i32(4, of.ld);
	to.f32(5, of.own);
	to.f32(6, of.each);
	to.i32(7, of.kind);
}
function crossEntropyFinish(to, of) {
	to.pointer(0, of.rowLoss);
	to.pointer(1, of.loss);
	to.pointer(2, of.rowMax);
	to.pointer(3, of.rowSum);
	to.pointer(4, of.targetLogit);
	to.pointer(5, of.weights);
	to.i32(6, of.rows);
	to.f32(7, of.scale);
}
function crossEntropyGradient(to, of) {
	to.pointer(0, of.dlogits);
	to.pointer(1, of.logits);
	to.pointer(2, of.rowMax);
	to.pointer(3, of.rowSum);
	to.pointer(4, of.targets);
	to.pointer(5, of.weights);
	to.pointer(6, of.lossGradient);
	to.i32(7, of.rows);
	to.i32(8, of.n);
	to.i32(9, of.ldd);
	to.i32(10, of.ld);
	to.i32(11, of.firstColumn);
	to.f32(12, of.scale);
	to.i32(13, of.kind);
	to.f32(14, of.own);
	to.f32(15, of.other);
}
function addNoise$1(to, of) {
	to.pointer(0, of.x);
	to.pointer(1, of.rowKeys);
	to.pointer(2, of.bounds);
	to.i32(3, of.rows);
	to.i32(4, of.K);
	to.i32(5, of.ld);
	to.u32(6, of.seed);
}
function gatedActivationE4m3(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.codes);
	to.pointer(2, of.scales);
	to.pointer(3, of.gate);
	to.pointer(4, of.up);
	to.i32(5, of.rows);
	to.i32(6, of.columns);
	to.i32(7, of.ldo);
	to.i32(8, of.ldcodes);
	to.i32(9, of.ldgate);
	to.i32(10, of.ldup);
	to.i32(11, of.kind);
}
function rmsNormE4m3(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.codes);
	to.pointer(2, of.scales);
	to.pointer(3, of.sum);
	to.pointer(4, of.rstd);
	to.pointer(5, of.x);
	to.pointer(6, of.residual);
	to.pointer(7, of.weight);
	to.i32(8, of.rows);
	to.i32(9, of.columns);
	to.i32(10, of.ldy);
	to.i32(11, of.ldcodes);
	to.i32(12, of.ldsum);
	to.i32(13, of.ldx);
	to.i32(14, of.ldresidual);
	to.f32(15, of.eps);
}
function transposeLowRank(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.b);
	to.i32(2, of.n);
	to.i32(3, of.ldb);
}
function quantizeLowRank(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.scales);
	to.pointer(2, of.du);
	to.pointer(3, of.x);
	to.pointer(4, of.factors);
	to.pointer(5, of.most);
	to.pointer(6, of.b);
	to.i32(7, of.rows);
	to.i32(8, of.n);
	to.i32(9, of.ldcodes);
	to.i32(10, of.lddu);
	to.i32(11, of.ldx);
}
function quantizeAdapted(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.scales);
	to.pointer(2, of.du);
	to.pointer(3, of.x);
	to.pointer(4, of.factors);
	to.pointer(5, of.b);
	to.i32(6, of.rows);
	to.i32(7, of.columns);
	to.i32(8, of.ldcodes);
	to.i32(9, of.lddu);
	to.i32(10, of.ldx);
	to.i32(11, of.ldb);
}
function lowRankUp$1(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.u);
	to.pointer(2, of.b);
	to.i32(3, of.rows);
	to.i32(4, of.columns);
	to.i32(5, of.ldy);
	to.i32(6, of.ldu);
	to.i32(7, of.ldb);
}
function quantizeE4m3(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.scales);
	to.pointer(2, of.x);
	to.pointer(3, of.factors);
	to.pointer(4, of.most);
	to.i32(5, of.rows);
	to.i32(6, of.columns);
	to.i32(7, of.ldcodes);
	to.i32(8, of.ldx);
}
function tensorAmax(to, of) {
	to.pointer(0, of.most);
	to.pointer(1, of.x);
	to.pointer(2, of.factors);
	to.i32(3, of.rows);
	to.i32(4, of.columns);
	to.i32(5, of.ldx);
}
function transposeBytes(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.i32(5, of.ldx);
}
function scaleColumns(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.factors);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldy);
}
function gatedBackwardLora(to, of) {
	to.pointer(0, of.dgate);
	to.pointer(1, of.dup);
	to.pointer(2, of.gradA);
	to.pointer(3, of.partialA);
	to.pointer(4, of.partialB);
	to.pointer(5, of.counters);
	to.pointer(6, of.gate);
	to.pointer(7, of.up);
	to.pointer(8, of.dy);
	to.pointer(9, of.du);
	to.pointer(10, of.a);
	to.pointer(11, of.bits);
	to.pointer(12, of.u);
	to.i32(13, of.rows);
	to.i32(14, of.columns);
	to.i32(15, of.lddgate);
	to.i32(16, of.lddup);
	to.i32(17, of.ldgate);
	to.i32(18, of.ldup);
	to.i32(19, of.lddy);
	to.i32(20, of.lddu);
	to.i32(21, of.lda);
	to.i32(22, of.kb);
	to.i32(23, of.ldu);
	to.i32(24, of.splitRows);
	to.i32(25, of.rankA);
	to.f32(26, of.keep);
	to.i32(27, of.kind);
}
function gatedBackwardAmax(to, of) {
	to.pointer(0, of.dgate);
	to.pointer(1, of.dup);
	to.pointer(2, of.gradA);
	to.pointer(3, of.partialA);
	to.pointer(4, of.partialB);
	to.pointer(5, of.counters);
	to.pointer(6, of.gate);
	to.pointer(7, of.up);
	to.pointer(8, of.dy);
	to.pointer(9, of.du);
	to.pointer(10, of.a);
	to.pointer(11, of.bits);
	to.pointer(12, of.u);
	to.i32(13, of.rows);
	to.i32(14, of.columns);
	to.i32(15, of.lddgate);
	to.i32(16, of.lddup);
	to.i32(17, of.ldgate);
	to.i32(18, of.ldup);
	to.i32(19, of.lddy);
	to.i32(20, of.lddu);
	to.i32(21, of.lda);
	to.i32(22, of.kb);
	to.i32(23, of.ldu);
	to.i32(24, of.splitRows);
	to.i32(25, of.rankA);
	to.f32(26, of.keep);
	to.i32(27, of.kind);
	to.pointer(28, of.most);
	to.pointer(29, of.factors);
}
function smallLinearNf4(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.codes);
	to.pointer(3, of.absmaxCodes);
	to.pointer(4, of.absmax);
	to.pointers(5, of.tables, 0, 4);
	to.pointer(9, of.a);
	to.pointer(10, of.b);
	to.pointer(11, of.low);
	to.pointer(12, of.ready);
	to.i32(13, of.first);
	to.i32(14, of.nestedShift);
	to.i32s(15, of.partRows, 1, 3);
	to.i32s(18, of.partBlocks, 0, 4);
	to.i32(22, of.M);
	to.i32(23, of.N);
	to.i32(24, of.K);
	to.i32(25, of.E);
	to.i32(26, of.ldy);
	to.i32(27, of.ldx);
	to.i32(28, of.lda);
	to.i32(29, of.ldb);
	to.i32(30, of.activation);
	to.u32(31, of.target);
}
function smallLinearNormNf4(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.codes);
	to.pointer(3, of.absmaxCodes);
	to.pointer(4, of.absmax);
	to.pointers(5, of.tables, 0, 4);
	to.pointer(9, of.a);
	to.pointer(10, of.b);
	to.pointer(11, of.low);
	to.pointer(12, of.ready);
	to.pointer(13, of.sum);
	to.pointer(14, of.residual);
	to.pointer(15, of.normWeight);
	to.i32(16, of.first);
	to.i32(17, of.nestedShift);
	to.i32s(18, of.partRows, 1, 3);
	to.i32s(21, of.partBlocks, 0, 4);
	to.i32(25, of.N);
	to.i32(26, of.K);
	to.i32(27, of.E);
	to.i32(28, of.lda);
	to.i32(29, of.ldb);
	to.i32(30, of.activation);
	to.u32(31, of.target);
	to.f32(32, of.eps);
}
function smallLinearE4m3(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.codes);
	to.pointer(3, of.scales);
	to.pointer(4, of.a);
	to.pointer(5, of.b);
	to.pointer(6, of.low);
	to.pointer(7, of.ready);
	to.i32(8, of.M);
	to.i32(9, of.N);
	to.i32(10, of.K);
	to.i32(11, of.E);
	to.i32(12, of.ldy);
	to.i32(13, of.ldx);
	to.i32(14, of.ldc);
	to.i32(15, of.lda);
	to.i32(16, of.ldb);
	to.i32(17, of.activation);
	to.u32(18, of.target);
}
function smallLinearNormE4m3(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.codes);
	to.pointer(3, of.scales);
	to.pointer(4, of.a);
	to.pointer(5, of.b);
	to.pointer(6, of.low);
	to.pointer(7, of.ready);
	to.pointer(8, of.sum);
	to.pointer(9, of.residual);
	to.pointer(10, of.normWeight);
	to.i32(11, of.N);
	to.i32(12, of.K);
	to.i32(13, of.E);
	to.i32(14, of.ldc);
	to.i32(15, of.lda);
	to.i32(16, of.ldb);
	to.i32(17, of.activation);
	to.u32(18, of.target);
	to.f32(19, of.eps);
}
function smallLinear(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.w);
	to.pointer(3, of.a);
	to.pointer(4, of.low);
	to.pointer(5, of.ready);
	to.i32(6, of.M);
	to.i32(7, of.N);
	to.i32(8, of.K);
	to.i32(9, of.E);
	to.i32(10, of.ldy);
	to.i32(11, of.ldx);
	to.i32(12, of.ldw);
	to.i32(13, of.lda);
	to.i32(14, of.activation);
	to.u32(15, of.target);
}
function smallLinearNorm(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.x);
	to.pointer(2, of.w);
	to.pointer(3, of.a);
	to.pointer(4, of.low);
	to.pointer(5, of.ready);
	to.pointer(6, of.sum);
	to.pointer(7, of.residual);
	to.pointer(8, of.normWeight);
	to.i32(9, of.N);
	to.i32(10, of.K);
	to.i32(11, of.E);
	to.i32(12, of.ldw);
	to.i32(13, of.lda);
	to.i32(14, of.activation);
	to.u32(15, of.target);
	to.f32(16, of.eps);
}
function loraBackward(to, of) {
	to.pointers(0, of.grads, 0, 4);
	to.pointer(4, of.partial);
	to.pointer(5, of.counters);
	to.pointer(6, of.dx);
	to.pointer(7, of.x);
	to.pointer(8, of.rstd);
	to.pointer(9, of.weight);
	to.pointer(10, of.du);
	to.pointer(11, of.a);
	to.pointer(12, of.bits);
	to.i32(13, of.rows);
	to.i32(14, of.K);
	to.i32(15, of.lddx);
	to.i32(16, of.ldx);
	to.i32(17, of.lddu);
	to.i32(18, of.lda);
	to.i32(19, of.kb);
	to.i32s(20, of.starts, 1, 3);
	to.i32s(23, of.ranks, 0, 4);
	to.i32(27, of.splitRows);
	to.f32s(28, of.keeps, 0, 4);
}
function loraGradientA$1(to, of) {
	to.pointers(0, of.grads, 0, 4);
	to.pointer(4, of.partial);
	to.pointer(5, of.counters);
	to.pointer(6, of.du);
	to.pointer(7, of.x);
	to.pointer(8, of.bits);
	to.i32(9, of.rows);
	to.i32(10, of.K);
	to.i32(11, of.E);
	to.i32(12, of.lddu);
	to.i32(13, of.ldx);
	to.i32(14, of.kb);
	to.i32s(15, of.starts, 1, 3);
	to.i32s(18, of.ranks, 0, 4);
	to.i32(22, of.splitRows);
	to.f32s(23, of.keeps, 0, 4);
}
function loraGradientB$1(to, of) {
	to.pointers(0, of.grads, 0, 4);
	to.pointer(4, of.partial);
	to.pointer(5, of.counters);
	to.pointer(6, of.u);
	to.pointer(7, of.dy);
	to.i32(8, of.rows);
	to.i32(9, of.N);
	to.i32(10, of.width);
	to.i32(11, of.ldu);
	to.i32(12, of.lddy);
	to.i32s(13, of.firstColumns, 1, 3);
	to.i32s(16, of.starts, 1, 3);
	to.i32(19, of.E);
	to.i32s(20, of.ranks, 0, 4);
	to.i32(24, of.splitRows);
	to.f32s(25, of.factors, 0, 4);
}
function loraFinishB(to, of) {
	to.pointers(0, of.grads, 0, 4);
	to.pointer(4, of.partial);
	to.i32(5, of.N);
	to.i32(6, of.width);
	to.i32(7, of.splits);
	to.i32s(8, of.firstColumns, 1, 3);
	to.i32s(11, of.ranks, 0, 4);
	to.f32s(15, of.factors, 0, 4);
}
function loraRefresh(to, of) {
	to.pointer(0, of.values);
	to.pointer(1, of.table);
	to.i32(2, of.entries);
}
function loraDown$1(to, of) {
	to.pointer(0, of.u);
	to.pointer(1, of.saved);
	to.pointer(2, of.partial);
	to.pointer(3, of.counters);
	to.pointer(4, of.x);
	to.pointer(5, of.a);
	to.pointer(6, of.bits);
	to.pointer(7, of.rowKeys);
	to.i32(8, of.rows);
	to.i32(9, of.K);
	to.i32(10, of.E);
	to.i32(11, of.ldu);
	to.i32(12, of.ldsaved);
	to.i32(13, of.ldx);
	to.i32(14, of.lda);
	to.i32(15, of.kb);
	to.i32(16, of.splitColumns);
	to.i32s(17, of.starts, 1, 3);
	to.u32s(20, of.seeds, 0, 4);
	to.u32s(24, of.thresholds, 0, 4);
	to.f32s(28, of.keeps, 0, 4);
}
function loraInputGradient$1(to, of) {
	to.pointer(0, of.dx);
	to.pointer(1, of.du);
	to.pointer(2, of.a);
	to.pointer(3, of.bits);
	to.i32(4, of.rows);
	to.i32(5, of.K);
	to.i32(6, of.E);
	to.i32(7, of.lddx);
	to.i32(8, of.lddu);
	to.i32(9, of.lda);
	to.i32(10, of.kb);
	to.i32s(11, of.starts, 1, 3);
	to.f32s(14, of.keeps, 0, 4);
}
function rmsNormForward(to, of) {
	to.pointer(0, of.y);
	to.pointer(1, of.sum);
	to.pointer(2, of.rstd);
	to.pointer(3, of.x);
	to.pointer(4, of.residual);
	to.pointer(5, of.weight);
	to.i32(6, of.rows);
	to.i32(7, of.columns);
	to.i32(8, of.ldy);
	to.i32(9, of.ldsum);
	to.i32(10, of.ldx);
	to.i32(11, of.ldresidual);
	to.f32(12, of.eps);
}
function rmsNormBackward(to, of) {
	to.pointer(0, of.dx);
	to.pointer(1, of.dy);
	to.pointer(2, of.direct);
	to.pointer(3, of.s);
	to.pointer(4, of.rstd);
	to.pointer(5, of.weight);
	to.i32(6, of.rows);
	to.i32(7, of.columns);
	to.i32(8, of.lddx);
	to.i32(9, of.lddy);
	to.i32(10, of.lddirect);
	to.i32(11, of.lds);
}
function squaredNorm(to, of) {
	to.pointer(0, of.partials);
	to.pointer(1, of.grads);
	to.i64(2, of.n);
}
function largestMagnitude(to, of) {
	to.pointer(0, of.largest);
	to.pointer(1, of.x);
	to.pointer(2, of.chunks);
}
function clipScale(to, of) {
	to.pointer(0, of.norm);
	to.pointer(1, of.partials);
	to.i32(2, of.count);
	to.f32(3, of.maxNorm);
}
function adamw(to, of) {
	to.pointer(0, of.values);
	to.pointer(1, of.grads);
	to.pointer(2, of.m);
	to.pointer(3, of.v);
	to.pointer(4, of.chunks);
	to.pointer(5, of.settings);
	to.pointer(6, of.norm);
	to.f32(7, of.take1);
	to.f32(8, of.beta2);
	to.f32(9, of.take2);
	to.f32(10, of.eps);
}
function adamw8bit(to, of) {
	to.pointer(0, of.values);
	to.pointer(1, of.grads);
	to.pointer(2, of.codesM);
	to.pointer(3, of.codesV);
	to.pointer(4, of.scalesM);
	to.pointer(5, of.scalesV);
	to.pointer(6, of.m);
	to.pointer(7, of.v);
	to.pointer(8, of.maps);
	to.pointer(9, of.chunks);
	to.pointer(10, of.settings);
	to.pointer(11, of.norm);
	to.f32(12, of.beta1);
	to.f32(13, of.beta2);
}
function nf4Quantize(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.absmax);
	to.pointer(2, of.x);
	to.i64(3, of.n);
	to.i32(4, of.kind);
	to.i32(5, of.blockSize);
	to.pointer(6, of.factors);
	to.i32(7, of.first);
	to.i32(8, of.columns);
	to.i32(9, of.blockRows);
	to.i32(10, of.blockColumns);
	to.i32(11, of.across);
	to.pointer(12, of.flag);
}
function absmaxMean(to, of) {
	to.pointer(0, of.mean);
	to.pointer(1, of.x);
	to.i32(2, of.n);
}
function absmaxQuantize(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.nested);
	to.pointer(2, of.absmax);
	to.pointer(3, of.table);
	to.pointer(4, of.midpoints);
	to.i32(5, of.n);
	to.i32(6, of.blockSize);
}
function e4m3Quantize(to, of) {
	to.pointer(0, of.codes);
	to.pointer(1, of.scales);
	to.pointer(2, of.x);
	to.i32(3, of.kind);
	to.i32(4, of.columns);
	to.i32(5, of.ldc);
	to.pointer(6, of.flag);
}
function e4m3Copy(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.i32(2, of.rows);
	to.i32(3, of.columns);
	to.i32(4, of.ldo);
	to.pointer(5, of.flag);
}
function expandScales(to, of) {
	to.pointer(0, of.scales);
	to.pointer(1, of.factors);
	to.i32(2, of.rows);
	to.i32(3, of.blockRows);
}
function rotary$1(to, of) {
	to.pointer(0, of.qOut);
	to.pointer(1, of.kOut);
	to.pointer(2, of.q);
	to.pointer(3, of.k);
	to.pointer(4, of.cos);
	to.pointer(5, of.sin);
	to.pointer(6, of.queryScale);
	to.i32(7, of.rows);
	to.i32(8, of.heads);
	to.i32(9, of.kvHeads);
	to.i32(10, of.D);
	to.i32(11, of.ldqOut);
	to.i32(12, of.ldkOut);
	to.i32(13, of.ldq);
	to.i32(14, of.ldk);
	to.f32(15, of.sign);
}
function gatherRows$1(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.pointer(2, of.index);
	to.i32(3, of.n);
	to.i32(4, of.columns);
	to.i32(5, of.ldo);
	to.i32(6, of.ldx);
}
function scatterRows$1(to, of) {
	to.pointer(0, of.target);
	to.pointer(1, of.source);
	to.pointer(2, of.index);
	to.i32(3, of.n);
	to.i32(4, of.columns);
	to.i32(5, of.ldt);
	to.i32(6, of.lds);
}
function selectRows(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.base);
	to.pointer(2, of.source);
	to.pointer(3, of.map);
	to.i32(4, of.rows);
	to.i32(5, of.columns);
	to.i32(6, of.ldo);
	to.i32(7, of.ldb);
	to.i32(8, of.lds);
}
function gatherKeyValue(to, of) {
	to.pointer(0, of.keyOut);
	to.pointer(1, of.valueOut);
	to.pointer(2, of.key);
	to.pointer(3, of.value);
	to.pointer(4, of.from);
	to.pointer(5, of.to);
	to.i32(6, of.n);
	to.i32(7, of.columns);
	to.i32(8, of.ldkeyOut);
	to.i32(9, of.ldvalueOut);
	to.i32(10, of.ldkey);
	to.i32(11, of.ldvalue);
}
function sumRows$1(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.secondOut);
	to.pointer(2, of.x);
	to.pointer(3, of.second);
	to.pointer(4, of.starts);
	to.pointer(5, of.places);
	to.i32(6, of.rows);
	to.i32(7, of.columns);
	to.i32(8, of.ldo);
	to.i32(9, of.ldsecondOut);
	to.i32(10, of.ldx);
	to.i32(11, of.ldsecond);
}
function mergePatchesForward(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.x);
	to.pointer(2, of.order);
	to.i32(3, of.outRows);
	to.i32(4, of.columns);
	to.i32(5, of.block);
	to.i32(6, of.ldo);
	to.i32(7, of.ldx);
}
function mergePatchesBackward(to, of) {
	to.pointer(0, of.dx);
	to.pointer(1, of.dy);
	to.pointer(2, of.order);
	to.i32(3, of.outRows);
	to.i32(4, of.columns);
	to.i32(5, of.block);
	to.i32(6, of.lddx);
	to.i32(7, of.lddy);
}
function widenNf4(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.codes);
	to.pointer(2, of.absmaxCodes);
	to.pointer(3, of.absmax);
	to.pointers(4, of.tables, 0, 4);
	to.pointer(8, of.index);
	to.pointer(9, of.b);
	to.i32(10, of.first);
	to.i32(11, of.rows);
	to.i32(12, of.K);
	to.i32(13, of.E);
	to.i32(14, of.ldo);
	to.i32(15, of.ldb);
	to.i32(16, of.blockShift);
	to.i32(17, of.nestedShift);
	to.i32s(18, of.partRows, 0, 4);
	to.i32s(22, of.partBlocks, 0, 4);
}
function widenE4m3(to, of) {
	to.pointer(0, of.out);
	to.pointer(1, of.codes);
	to.pointers(2, of.factors, 0, 4);
	to.pointer(6, of.index);
	to.pointer(7, of.b);
	to.i32(8, of.first);
	to.i32(9, of.rows);
	to.i32(10, of.K);
	to.i32(11, of.E);
	to.i32(12, of.ldo);
	to.i32(13, of.ldc);
	to.i32(14, of.ldb);
	to.i32s(15, of.partRows, 0, 4);
	to.i32s(19, of.blockHeights, 0, 4);
	to.i32s(23, of.blockWidths, 0, 4);
	to.i32s(27, of.widths, 0, 4);
}
const PROGRAMS = {
	activation: plainProgram("common.cu", "activation.cu"),
	convert: plainProgram("common.cu", "stored-values.cuh", "convert.cu"),
	crossEntropy: plainProgram("common.cu", "cross-entropy.cu"),
	dropout: plainProgram("common.cu", "dropout-helpers.cuh", "dropout.cu"),
	e4m3Fused: plainProgram("common.cu", "e4m3-helpers.cuh", "e4m3-fused.cu"),
	e4m3LowRank: plainProgram("common.cu", "e4m3-helpers.cuh", "e4m3-low-rank.cu"),
	e4m3: plainProgram("common.cu", "e4m3-helpers.cuh", "e4m3.cu"),
	gatedBackward: plainProgram("common.cu", "lora-helpers.cuh", "gated-backward.cu"),
	generationHeld: plainProgram("common.cu", "generation-helpers.cuh", "held-lanes.cuh", "generation-held.cu"),
	generation: plainProgram("common.cu", "generation-helpers.cuh", "generation.cu"),
	loraBackward: plainProgram("common.cu", "lora-helpers.cuh", "lora-backward.cu"),
	loraGradient: plainProgram("common.cu", "lora-helpers.cuh", "lora-gradient.cu"),
	lora: plainProgram("common.cu", "lora-helpers.cuh", "dropout-helpers.cuh", "lora.cu"),
	normalization: plainProgram("common.cu", "normalization.cu"),
	optimizer: plainProgram("common.cu", "optimizer.cu"),
	quantization: plainProgram("common.cu", "stored-values.cuh", "quantization.cu"),
	rotary: plainProgram("common.cu", "rotary.cu"),
	rows: plainProgram("common.cu", "rows.cu"),
	widening: plainProgram("common.cu", "stored-values.cuh", "widening.cu")
};
const KERNELS = {
	gatedActivationForward: {
		name: "gated_activation_forward",
		program: PROGRAMS.activation,
		block: 128,
		pack: gatedActivationForward
	},
	gatedActivationBackward: {
		name: "gated_activation_backward",
		program: PROGRAMS.activation,
		block: 128,
		pack: gatedActivationBackward
	},
	activationForward: {
		name: "activation_forward",
		program: PROGRAMS.activation,
		block: 128,
		pack: activationForward
	},
	activationBackward: {
		name: "activation_backward",
		program: PROGRAMS.activation,
		block: 128,
		pack: activationBackward
	},
	add: {
		name: "add",
		program: PROGRAMS.activation,
		block: 128,
		pack: add$1
	},
	addBias: {
		name: "add_bias",
		program: PROGRAMS.activation,
		block: 128,
		pack: addBias
	},
	scale: {
		name: "scale",
		program: PROGRAMS.activation,
		block: 128,
		pack: scale
	},
	attentionBackwardKeyValue: {
		name: "attention_backward_key_value",
		pack: attentionBackwardKeyValue
	},
	attentionBackwardDelta: {
		name: "attention_backward_delta",
		pack: attentionBackwardDelta
	},
	attentionBackwardQuery: {
		name: "attention_backward_query",
		pack: attentionBackwardQuery
	},
	attentionDecode: {
		name: "attention_decode",
		pack: attentionDecode
	},
	attentionForward: {
		name: "attention_forward",
		pack: attentionForward
	},
	copyBf16: {
		name: "copy_bf16",
		program: PROGRAMS.convert,
		block: 128,
		pack: copyBf16
	},
	f32ToBf16: {
		name: "f32_to_bf16",
		program: PROGRAMS.convert,
		block: 128,
		pack: f32ToBf16
	},
	imagePatches: {
		name: "image_patches",
		program: PROGRAMS.convert,
		block: 128,
		pack: imagePatches$1
	},
	f16ToBf16: {
		name: "f16_to_bf16",
		program: PROGRAMS.convert,
		block: 128,
		pack: f16ToBf16
	},
	e4m3ToBf16: {
		name: "e4m3_to_bf16",
		program: PROGRAMS.convert,
		block: 128,
		pack: e4m3ToBf16
	},
	bf16ToF32: {
		name: "bf16_to_f32",
		program: PROGRAMS.convert,
		block: 128,
		pack: bf16ToF32
	},
	addF32: {
		name: "add_f32",
		program: PROGRAMS.convert,
		block: 256,
		pack: addF32
	},
	crossEntropyChunk: {
		name: "cross_entropy_chunk",
		program: PROGRAMS.crossEntropy,
		block: 512,
		pack: crossEntropyChunk
	},
	largestLogit: {
		name: "largest_logit",
		program: PROGRAMS.crossEntropy,
		block: 1024,
		pack: largestLogit
	},
	crossEntropySmooth: {
		name: "cross_entropy_smooth",
		program: PROGRAMS.crossEntropy,
		block: 512,
		pack: crossEntropySmooth
	},
	crossEntropyFinish: {
		name: "cross_entropy_finish",
		program: PROGRAMS.crossEntropy,
		block: 1024,
		pack: crossEntropyFinish
	},
	crossEntropyGradient: {
		name: "cross_entropy_gradient",
		program: PROGRAMS.crossEntropy,
		block: 128,
		pack: crossEntropyGradient
	},
	addNoise: {
		name: "add_noise",
		program: PROGRAMS.dropout,
		block: 128,
		pack: addNoise$1
	},
	gatedActivationE4m3: {
		2: {
			name: "gated_activation_e4m3_2",
			program: PROGRAMS.e4m3Fused,
			block: 512,
			pack: gatedActivationE4m3
		},
		4: {
			name: "gated_activation_e4m3_4",
			program: PROGRAMS.e4m3Fused,
			block: 512,
			pack: gatedActivationE4m3
		},
		8: {
			name: "gated_activation_e4m3_8",
			program: PROGRAMS.e4m3Fused,
			block: 512,
			pack: gatedActivationE4m3
		}
	},
	rmsNormE4m3: {
		name: "rms_norm_e4m3",
		program: PROGRAMS.e4m3Fused,
		block: 512,
		pack: rmsNormE4m3
	},
	transposeLowRank: {
		16: {
			name: "transpose_low_rank_16",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: transposeLowRank
		},
		32: {
			name: "transpose_low_rank_32",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: transposeLowRank
		}
	},
	quantizeLowRank: {
		16: {
			name: "quantize_low_rank_16",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: quantizeLowRank
		},
		32: {
			name: "quantize_low_rank_32",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: quantizeLowRank
		}
	},
	quantizeAdapted: {
		16: {
			name: "quantize_adapted_16",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: quantizeAdapted
		},
		32: {
			name: "quantize_adapted_32",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: quantizeAdapted
		}
	},
	lowRankUp: {
		16: {
			name: "low_rank_up_16",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: lowRankUp$1
		},
		32: {
			name: "low_rank_up_32",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: lowRankUp$1
		},
		64: {
			name: "low_rank_up_64",
			program: PROGRAMS.e4m3LowRank,
			block: 256,
			pack: lowRankUp$1
		}
	},
	quantizeE4m3: {
		2: {
			name: "quantize_e4m3_2",
			program: PROGRAMS.e4m3,
			block: 512,
			pack: quantizeE4m3
		},
		4: {
			name: "quantize_e4m3_4",
			program: PROGRAMS.e4m3,
			block: 512,
			pack: quantizeE4m3
		},
		8: {
			name: "quantize_e4m3_8",
			program: PROGRAMS.e4m3,
			block: 512,
			pack: quantizeE4m3
		}
	},
	tensorAmax: {
		name: "tensor_amax",
		program: PROGRAMS.e4m3,
		block: 512,
		pack: tensorAmax
	},
	transposeBytes: {
		name: "transpose_bytes",
		program: PROGRAMS.e4m3,
		block: 256,
		pack: transposeBytes
	},
	scaleColumns: {
		name: "scale_columns",
		program: PROGRAMS.e4m3,
		block: 128,
		pack: scaleColumns
	},
	gatedBackwardLora: {
		16: {
			name: "gated_backward_lora_16",
			program: PROGRAMS.gatedBackward,
			block: 256,
			pack: gatedBackwardLora
		},
		32: {
			name: "gated_backward_lora_32",
			program: PROGRAMS.gatedBackward,
			block: 256,
			pack: gatedBackwardLora
		}
	},
	gatedBackwardAmax: {
		16: {
			name: "gated_backward_amax_16",
			program: PROGRAMS.gatedBackward,
			block: 256,
			pack: gatedBackwardAmax
		},
		32: {
			name: "gated_backward_amax_32",
			program: PROGRAMS.gatedBackward,
			block: 256,
			pack: gatedBackwardAmax
		}
	},
	smallLinearNf4: {
		4: {
			name: "small_linear_nf4_4",
			program: PROGRAMS.generationHeld,
			block: 256,
			pack: smallLinearNf4
		},
		8: {
			name: "small_linear_nf4_8",
			program: PROGRAMS.generationHeld,
			block: 256,
			pack: smallLinearNf4
		},
		16: {
			name: "small_linear_nf4_16",
			program: PROGRAMS.generationHeld,
			block: 256,
			pack: smallLinearNf4
		}
	},
	smallLinearNormNf4: {
		name: "small_linear_norm_nf4",
		program: PROGRAMS.generationHeld,
		block: 256,
		pack: smallLinearNormNf4
	},
	smallLinearE4m3: {
		8: {
			name: "small_linear_e4m3_8",
			program: PROGRAMS.generationHeld,
			block: 256,
			pack: smallLinearE4m3
		},
		16: {
			name: "small_linear_e4m3_16",
			program: PROGRAMS.generationHeld,
			block: 256,
			pack: smallLinearE4m3
		}
	},
	smallLinearNormE4m3: {
		name: "small_linear_norm_e4m3",
		program: PROGRAMS.generationHeld,
		block: 256,
		pack: smallLinearNormE4m3
	},
	smallLinear: {
		8: {
			name: "small_linear_8",
			program: PROGRAMS.generation,
			block: 128,
			pack: smallLinear
		},
		16: {
			name: "small_linear_16",
			program: PROGRAMS.generation,
			block: 128,
			pack: smallLinear
		}
	},
	smallLinearNorm: {
		name: "small_linear_norm",
		program: PROGRAMS.generation,
		block: 128,
		pack: smallLinearNorm
	},
	loraBackward: {
		16: {
			name: "lora_backward_16",
			program: PROGRAMS.loraBackward,
			block: 256,
			pack: loraBackward
		},
		32: {
			name: "lora_backward_32",
			program: PROGRAMS.loraBackward,
			block: 256,
			pack: loraBackward
		},
		48: {
			name: "lora_backward_48",
			program: PROGRAMS.loraBackward,
			block: 256,
			pack: loraBackward
		},
		64: {
			name: "lora_backward_64",
			program: PROGRAMS.loraBackward,
			block: 256,
			pack: loraBackward
		}
	},
	loraGradientA: {
		name: "lora_gradient_a",
		program: PROGRAMS.loraGradient,
		block: 256,
		pack: loraGradientA$1
	},
	loraGradientB: {
		name: "lora_gradient_b",
		program: PROGRAMS.loraGradient,
		block: 256,
		pack: loraGradientB$1
	},
	loraFinishB: {
		name: "lora_finish_b",
		program: PROGRAMS.loraGradient,
		block: 256,
		pack: loraFinishB
	},
	loraRefresh: {
		name: "lora_refresh",
		program: PROGRAMS.loraGradient,
		block: 256,
		pack: loraRefresh
	},
	loraDown: {
		16: {
			name: "lora_down_16",
			program: PROGRAMS.lora,
			block: 256,
			pack: loraDown$1
		},
		32: {
			name: "lora_down_32",
			program: PROGRAMS.lora,
			block: 256,
			pack: loraDown$1
		},
		48: {
			name: "lora_down_48",
			program: PROGRAMS.lora,
			block: 256,
			pack: loraDown$1
		},
		64: {
			name: "lora_down_64",
			program: PROGRAMS.lora,
			block: 256,
			pack: loraDown$1
		}
	},
	loraInputGradient: {
		name: "lora_input_gradient",
		program: PROGRAMS.lora,
		block: 256,
		pack: loraInputGradient$1
	},
	rmsNormForward: {
		name: "rms_norm_forward",
		program: PROGRAMS.normalization,
		block: 1024,
		pack: rmsNormForward
	},
	rmsNormBackward: {
		8192: {
			name: "rms_norm_backward_8192",
			program: PROGRAMS.normalization,
			block: 1024,
			pack: rmsNormBackward
		},
		16384: {
			name: "rms_norm_backward_16384",
			program: PROGRAMS.normalization,
			block: 1024,
			pack: rmsNormBackward
		}
	},
	squaredNorm: {
		name: "squared_norm",
		program: PROGRAMS.optimizer,
		block: 256,
		pack: squaredNorm
	},
	largestMagnitude: {
		name: "largest_magnitude",
		program: PROGRAMS.optimizer,
		block: 256,
		pack: largestMagnitude
	},
	clipScale: {
		name: "clip_scale",
		program: PROGRAMS.optimizer,
		block: 256,
		pack: clipScale
	},
	adamw: {
		name: "adamw",
		program: PROGRAMS.optimizer,
		block: 256,
		pack: adamw
	},
	adamw8bit: {
		name: "adamw8bit",
		program: PROGRAMS.optimizer,
		block: 256,
		pack: adamw8bit
	},
	nf4Quantize: {
		name: "nf4_quantize",
		program: PROGRAMS.quantization,
		block: 256,
		pack: nf4Quantize
	},
	absmaxMean: {
		name: "absmax_mean",
		program: PROGRAMS.quantization,
		block: 1024,
		pack: absmaxMean
	},
	absmaxQuantize: {
		name: "absmax_quantize",
		program: PROGRAMS.quantization,
		block: 256,
		pack: absmaxQuantize
	},
	e4m3Quantize: {
		name: "e4m3_quantize",
		program: PROGRAMS.quantization,
		block: 256,
		pack: e4m3Quantize
	},
	e4m3Copy: {
		name: "e4m3_copy",
		program: PROGRAMS.quantization,
		block: 128,
		pack: e4m3Copy
	},
	expandScales: {
		name: "expand_scales",
		program: PROGRAMS.quantization,
		block: 256,
		pack: expandScales
	},
	rotary: {
		name: "rotary",
		program: PROGRAMS.rotary,
		block: 256,
		pack: rotary$1
	},
	gatherRows: {
		name: "gather_rows",
		program: PROGRAMS.rows,
		block: 128,
		pack: gatherRows$1
	},
	scatterRows: {
		name: "scatter_rows",
		program: PROGRAMS.rows,
		block: 128,
		pack: scatterRows$1
	},
	selectRows: {
		name: "select_rows",
		program: PROGRAMS.rows,
		block: 128,
		pack: selectRows
	},
	gatherKeyValue: {
		name: "gather_key_value",
		program: PROGRAMS.rows,
		block: 128,
		pack: gatherKeyValue
	},
	sumRows: {
		name: "sum_rows",
		program: PROGRAMS.rows,
		block: 128,
		pack: sumRows$1
	},
	mergePatchesForward: {
		name: "merge_patches_forward",
		program: PROGRAMS.rows,
		block: 128,
		pack: mergePatchesForward
	},
	mergePatchesBackward: {
		name: "merge_patches_backward",
		program: PROGRAMS.rows,
		block: 128,
		pack: mergePatchesBackward
	},
	widenNf4: {
		name: "widen_nf4",
		program: PROGRAMS.widening,
		block: 256,
		pack: widenNf4
	},
	widenE4m3: {
		name: "widen_e4m3",
		program: PROGRAMS.widening,
		block: 256,
		pack: widenE4m3
	}
};
const RANK_MULTIPLE = 16;
const REFRESH_BLOCK = 4096;
const ENTRY_WORDS = 8;
const COPY_BYTES = ELEMENT_BYTES.bf16;
var CudaParameterSet = class {
	parameters;
	size;
	values;
	gradients;
	version = 1;
	groups = new Set();
	#store;
	#table;
	constructor(store, specs) {
		this.#store = store;
		this.size = sizeOfAll(specs);
		this.values = flat(store, this.size, "parameters");
		try {
			this.gradients = flat(store, this.size, "gradients");
		} catch (error) {
			store.release(this.values);
			throw error;
		}
		this.parameters = layOut(specs, ({ shape, initial }, first) => {
			store.staging.upload(offset(this.values.address, 4 * first), initial);
			return {
				value: parameterView(this.values, shape, first),
				grad: parameterView(this.gradients, shape, first)
			};
		});
		this.zeroGradients();
	}
	get isReleased() {
		return this.values.isFreed;
	}
	zeroGradients() {
		this.#store.driver.fillBytes(this.gradients.address, 0, 4 * this.size);
		for (const { grad } of this.parameters) grad.isTouched = false;
	}
	refresh(group) {
		if (group.version === this.version) return;
		if (![...this.groups].some((other) => other !== group && other.version !== this.version)) {
			const { words, blocks } = refreshTable([group]);
			this.#store.withTable(words, (table) => this.#launch(table, words.length / ENTRY_WORDS, blocks));
			group.version = this.version;
			return;
		}
		if (!this.#table) {
			const { words, blocks } = refreshTable([...this.groups]);
			this.#table = {
				block: this.#store.table(words),
				entries: words.length / ENTRY_WORDS,
				blocks
			};
		}
		this.#launch(this.#table.block.address, this.#table.entries, this.#table.blocks);
		for (const each of this.groups) each.version = this.version;
	}
	forgetTable() {
		if (this.#table) this.#store.allocator.free(this.#table.block);
		this.#table = void 0;
	}
	release() {
		for (const group of [...this.groups]) group.dispose();
		this.forgetTable();
		for (const { value, grad } of this.parameters) {
			value.isFreed = true;
			grad.isFreed = true;
		}
		this.#store.release(this.values);
		this.#store.release(this.gradients);
	}
	#launch(table, entries, blocks) {
		this.#store.kernels.launch(KERNELS.loraRefresh, [blocks], {
			values: this.values.address,
			table,
			entries
		});
	}
};
function flat(store, size, holder) {
	const block = store.allocator.allocate(4 * size, holder);
	return new CudaTensor([size], "f32", new Storage(block), block.address, size);
}
function parameterView(of, shape, first) {
	return new CudaTensor([...shape], "f32", void 0, offset(of.address, 4 * first), shape.at(-1) ?? 1, true);
}
var AdapterGroup = class AdapterGroup {
	set;
	parts;
	ranks;
	starts;
	columns;
	width;
	lda;
	version = 0;
	#store;
	#matrix;
	#block;
	#isDisposed = false;
	constructor(store, matrix, set, parts) {
		this.#store = store;
		this.#matrix = matrix;
		this.set = set;
		this.parts = parts;
		this.ranks = Array.from({ length: 4 }, (_, i) => parts[i]?.lora?.a.shape[0] ?? 0);
		const padded = this.ranks.map((rank) => roundUp(rank, RANK_MULTIPLE));
		const starts = [0];
		for (const rank of padded) starts.push(starts.at(-1) + rank);
		this.starts = starts;
		this.columns = this.starts[4];
		this.width = Math.max(...padded);
		this.lda = matrix.paddedColumns;
		matrix.reserveAdapter(this.columns);
		const bytes = COPY_BYTES * this.columns * this.lda;
		this.#block = store.allocator.allocate(bytes, "adapters");
		store.driver.fillBytes(this.#block.address, 0, bytes);
		const [first, last] = [parts[0], parts.at(-1)];
		const { address, ld } = matrix.adapterAt(first.row);
		store.driver.clearRows(address, COPY_BYTES * ld, COPY_BYTES * this.columns, last.row + last.rows - first.row);
		matrix.adapters.get(first.row)?.dispose();
		matrix.adapters.set(first.row, this);
		set.groups.add(this);
		set.forgetTable();
	}
	static of(matrix, row) {
		const adapter = matrix.adapters.get(row);
		return adapter instanceof AdapterGroup ? adapter : void 0;
	}
	get a() {
		return this.#block.address;
	}
	fits(parts) {
		return parts.length === this.parts.length && parts.every(({ row, rows, lora }, i) => {
			const own = this.parts[i];
			return row === own.row && rows === own.rows && lora?.a === own.lora?.a && lora?.b === own.lora?.b && lora?.scale === own.lora?.scale;
		});
	}
	invalidate() {
		this.version = 0;
		this.set.forgetTable();
	}
	copies() {
		const matrix = this.#matrix;
		return this.parts.flatMap(({ row, rows, lora }, i) => {
			if (!lora) return [];
			const [rank, start] = [this.ranks[i], this.starts[i]];
			const b = matrix.adapterAt(row);
			return [[
				this.a + COPY_BYTES * start * this.lda,
				lora.a.offset,
				rank,
				matrix.columns,
				this.lda,
				1
			], [
				b.address + COPY_BYTES * start,
				lora.b.offset,
				rows,
				rank,
				b.ld,
				lora.scale
			]];
		});
	}
	dispose() {
		if (this.#isDisposed) return;
		this.#isDisposed = true;
		this.#store.allocator.free(this.#block);
		const row = this.parts[0].row;
		if (this.#matrix.adapters.get(row) === this) this.#matrix.adapters.delete(row);
		this.set.groups.delete(this);
		this.set.forgetTable();
	}
};
function refreshTable(groups) {
	const copies = groups.flatMap((group) => group.copies());
	const words = new Int32Array(ENTRY_WORDS * copies.length);
	const floats = new Float32Array(words.buffer);
	let blocks = 0;
	for (const [i, [address, first, rows, columns, ld, factor]] of copies.entries()) {
		const low = address % 4294967296;
		words.set([
			low,
			(address - low) / 4294967296,
			first,
			rows,
			columns,
			ld,
			0,
			blocks
		], ENTRY_WORDS * i);
		floats[ENTRY_WORDS * i + 6] = factor;
		blocks += Math.ceil(rows * columns / REFRESH_BLOCK);
	}
	return {
		words,
		blocks
	};
}
// src/engine/cuda/compiler.ts
const WARPGROUP_TRIAL = "extern \"C\" __global__ void trial() { asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\"); }";
var KernelCompiler = class {
	version;
	#function;
	#newest;
	#hasWarpgroups;
	#prepared = new Map();
	constructor() {
		const { library, path } = loadLibrary("nvrtc");
		this.#function = foreignFunctions(library);
		for (const name of builtinsBeside(path)) try {
			foreignCalls().load(name, { global: true });
			break;
		} catch {}
		const version = [new Int32Array(1), new Int32Array(1)];
		this.#call("nvrtcVersion", ["void*", "void*"], version[0], version[1]);
		this.version = `${version[0][0]}.${version[1][0]}`;
		const count = new Int32Array(1);
		this.#call("nvrtcGetNumSupportedArchs", ["void*"], count);
		const architectures = new Int32Array(count[0]);
		this.#call("nvrtcGetSupportedArchs", ["void*"], architectures);
		this.#newest = Math.max(...architectures);
	}
	get hasWarpgroups() {
		if (process.env.MINISTRAL_TUNE_WARPGROUPS === "off") return false;
		if (this.#hasWarpgroups === void 0) try {
			this.compile("warpgroup-trial", WARPGROUP_TRIAL, 90, {}, true);
			this.#hasWarpgroups = true;
		} catch (error) {
			if (!(error instanceof EngineError)) throw error;
			this.#hasWarpgroups = false;
		}
		return this.#hasWarpgroups;
	}
	compile(...request) {
		const job = this.#job(...request);
		const known = this.#prepared.get(job.path) ?? readCheckedFile(job.path);
		if (known) return known;
		const { program, options } = this.#start(job);
		try {
			const code = this.#finish(job, program, this.#compileCall(program[0], options.length, options.pointers));
			writeCheckedFile(job.path, code);
			return code;
		} finally {
			this.#call("nvrtcDestroyProgram", ["void*"], program);
		}
	}
	async prepare(...request) {
		const job = this.#job(...request);
		if (this.#prepared.has(job.path) || readCheckedFile(job.path)) return;
		const { program, options } = this.#start(job);
		try {
			const status = await new Promise((resolve, reject) => {
				const done = (error, result) => error ? reject(error) : resolve(result);
				this.#compileCall.async(program[0], options.length, options.pointers, done);
			});
			const code = this.#finish(job, program, status);
			this.#prepared.set(job.path, code);
			writeCheckedFile(job.path, code);
		} finally {
			this.#call("nvrtcDestroyProgram", ["void*"], program);
		}
	}
	#job(...[name, source, capability, defines = {}, isSpecific = false]) {
		const isNative = isSpecific || capability <= this.#newest;
		const options = [
			`--gpu-architecture=${isNative ? `sm_${capability}${isSpecific ? "a" : ""}` : `compute_${this.#newest}`}`,
			"--std=c++17",
			"--use_fast_math",
			"-default-device",
			...Object.entries(defines).map(([key, value]) => `-D${key}=${value}`)
		];
		const content = JSON.stringify([
			source,
			options,
			this.version
		]);
		const key = createHash("sha256").update(content).digest("hex").slice(0, 32);
		return {
			name,
			source,
			options,
			isNative,
			path: join(kernelCacheFolder(), `${name}-sm${capability}-${key}.kernel`)
		};
	}
	#start({ name, source, options }) {
		const program = new BigUint64Array(1);
		this.#call("nvrtcCreateProgram", [
			"void*",
			"str",
			"str",
			"int",
			"void*",
			"void*"
		], program, source, `${name}.cu`, 0, null, null);
		const texts = options.map((option) => Buffer.from(`${option}\0`));
		return {
			program,
			options: {
				texts,
				pointers: BigUint64Array.from(texts, (text) => foreignCalls().address(text)),
				length: options.length
			}
		};
	}
	get #compileCall() {
		return this.#function("nvrtcCompileProgram", [
			"uint64",
			"int",
			"void*"
		]);
	}
	#finish({ name, options, isNative }, program, status) {
		if (status !== 0) {
			const log = this.#bytes(program[0], "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
			const text = Buffer.from(log).toString().replace(/\0+$/, "");
			throw new EngineError(`CUDA kernel ${name}.cu does not compile (NVRTC ${this.version}, ${options.join(" ")}):\n${text}`, { status });
		}
		if (isNative) return this.#bytes(program[0], "nvrtcGetCUBINSize", "nvrtcGetCUBIN");
		return this.#bytes(program[0], "nvrtcGetPTXSize", "nvrtcGetPTX");
	}
	#bytes(program, sizeCall, dataCall) {
		const size = new BigUint64Array(1);
		this.#call(sizeCall, ["uint64", "void*"], program, size);
		const bytes = new Uint8Array(Number(size[0]));
		this.#call(dataCall, ["uint64", "void*"], program, bytes);
		return bytes;
	}
	#call(name, parameters, ...values) {
		const status = this.#function(name, parameters)(...values);
		if (status !== 0) throw new EngineError(`NVRTC: ${name} failed with status ${status}`, { status });
	}
};
function builtinsBeside(path) {
	const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
	const major = /\.so\.(\d+)/.exec(path)?.[1] ?? "13";
	return Array.from({ length: 10 }, (_, minor) => `${folder}libnvrtc-builtins.so.${major}.${minor}`);
}
// src/engine/cuda/cublas-lt.ts
const DATA_TYPE = {
	f32: 0,
	bf16: 14,
	e4m3: 28
};
const COMPUTE_32F = 68;
const DESCRIPTOR = {
	transA: 3,
	transB: 4,
	scaleA: 17,
	scaleB: 18,
	fastAccumulation: 25,
	scaleModeA: 31,
	scaleModeB: 32
};
const OUTER_VECTOR = 3;
const PREFERENCE = {
	workspaceBytes: 1,
	alignmentA: 5,
	alignmentB: 6,
	alignmentC: 7,
	alignmentD: 8
};
const RESULT_BYTES = 96;
const ALGORITHM_BYTES = 64;
const MATMUL_TYPES = [...[
	"uint64",
	"uint64",
	"void*",
	"uint64",
	"uint64",
	"uint64",
	"uint64",
	"void*"
], ...[
	"uint64",
	"uint64",
	"uint64",
	"uint64",
	"void*",
	"uint64",
	"size_t",
	"uint64"
]];
var CublasLt = class {
	version;
	#function;
	#handle;
	#matmul;
	#descriptors = new Map();
	#pointer = new BigUint64Array(1);
	#alpha = new Float32Array(1);
	#beta = new Float32Array(1);
	constructor() {
		const { library } = loadLibrary("cublasLt");
		this.#function = foreignFunctions(library);
		this.version = Number(library.func("cublasLtGetVersion", "size_t", [])());
		this.#handle = outHandle((out) => this.#call("cublasLtCreate", ["void*"], out));
		this.#matmul = this.#function("cublasLtMatmul", MATMUL_TYPES);
	}
	descriptor(transA, transB) {
		return this.#known(`${transA},${transB}`, (descriptor) => {
			this.#setDescriptor(descriptor, DESCRIPTOR.transA, Int32Array.of(transA ? 1 : 0));
			this.#setDescriptor(descriptor, DESCRIPTOR.transB, Int32Array.of(transB ? 1 : 0));
		});
	}
	e4m3Descriptor(scales, isFast) {
		return this.#known(`e4m3,${scales},${isFast}`, (descriptor) => {
			this.#setDescriptor(descriptor, DESCRIPTOR.transA, Int32Array.of(1));
			this.#setDescriptor(descriptor, DESCRIPTOR.fastAccumulation, Int8Array.of(isFast ? 1 : 0));
			if (scales === "tensor") return;
			this.#setDescriptor(descriptor, DESCRIPTOR.scaleModeA, Int32Array.of(OUTER_VECTOR));
			this.#setDescriptor(descriptor, DESCRIPTOR.scaleModeB, Int32Array.of(OUTER_VECTOR));
		});
	}
	setScales(descriptor, a, b) {
		for (const [attribute, address] of [[DESCRIPTOR.scaleA, a], [DESCRIPTOR.scaleB, b]]) {
			this.#pointer[0] = BigInt(address);
			this.#setDescriptor(descriptor, attribute, this.#pointer);
		}
	}
	#known(key, set) {
		let descriptor = this.#descriptors.get(key);
		if (descriptor === void 0) {
			const types = [
				"void*",
				"int",
				"int"
			];
			descriptor = outHandle((out) => this.#call("cublasLtMatmulDescCreate", types, out, COMPUTE_32F, DATA_TYPE.f32));
			set(descriptor);
			this.#descriptors.set(key, descriptor);
		}
		return descriptor;
	}
	createLayout(type, rows, columns, ld) {
		const types = [
			"void*",
			"int",
			"uint64",
			"uint64",
			"int64"
		];
		return outHandle((out) => this.#call("cublasLtMatrixLayoutCreate", types, out, DATA_TYPE[type], rows, columns, ld));
	}
	destroyLayout(layout) {
		this.#call("cublasLtMatrixLayoutDestroy", ["uint64"], layout);
	}
	firstChoice(product, workspaceBytes, alignments) {
		const preference = outHandle((out) => this.#call("cublasLtMatmulPreferenceCreate", ["void*"], out));
		const set = (attribute, value) => {
			this.#call("cublasLtMatmulPreferenceSetAttribute", [
				"uint64",
				"int",
				"void*",
				"size_t"
			], preference, attribute, value, value.byteLength);
		};
		try {
			set(PREFERENCE.workspaceBytes, BigUint64Array.of(BigInt(workspaceBytes)));
			set(PREFERENCE.alignmentA, Uint32Array.of(alignments[0]));
			set(PREFERENCE.alignmentB, Uint32Array.of(alignments[1]));
			set(PREFERENCE.alignmentC, Uint32Array.of(alignments[2]));
			set(PREFERENCE.alignmentD, Uint32Array.of(alignments[2]));
			const result = new Uint8Array(RESULT_BYTES);
			const found = new Int32Array(1);
			const { descriptor, a, b, d } = product;
			return this.#function("cublasLtMatmulAlgoGetHeuristic", [...[
				"uint64",
				"uint64",
				"uint64",
				"uint64",
				"uint64",
				"uint64",
				"uint64",
				"int",
				"void*",
				"void*"
			]])(this.#handle, descriptor, a, b, d, d, preference, 1, result, found) === 0 && found[0] === 1 ? readResult(result)?.algorithm : void 0;
		} finally {
			this.#call("cublasLtMatmulPreferenceDestroy", ["uint64"], preference);
		}
	}
	check(product, algorithm) {
		const { descriptor, a, b, d } = product;
		const result = new Uint8Array(RESULT_BYTES);
		if (this.#function("cublasLtMatmulAlgoCheck", [
			"uint64",
			"uint64",
			"uint64",
			"uint64",
			"uint64",
			"uint64",
			"void*",
			"void*"
		])(this.#handle, descriptor, a, b, d, d, algorithm, result) !== 0) return void 0;
		return readResult(result)?.workspaceBytes;
	}
	matmul(product, algorithm, alpha, a, b, beta, d, workspace, workspaceBytes, stream) {
		this.#alpha[0] = alpha;
		this.#beta[0] = beta;
		const { descriptor, a: layoutA, b: layoutB, d: layoutD } = product;
		return this.#matmul(this.#handle, descriptor, this.#alpha, a, layoutA, b, layoutB, this.#beta, d, layoutD, d, layoutD, algorithm, workspace, workspaceBytes, stream);
	}
	dispose() {
		for (const descriptor of this.#descriptors.values()) this.#call("cublasLtMatmulDescDestroy", ["uint64"], descriptor);
		this.#descriptors.clear();
		this.#call("cublasLtDestroy", ["uint64"], this.#handle);
	}
	#setDescriptor(descriptor, attribute, value) {
		this.#call("cublasLtMatmulDescSetAttribute", [
			"uint64",
			"int",
			"void*",
			"size_t"
		], descriptor, attribute, value, value.byteLength);
	}
	#call(name, parameters, ...values) {
		const status = this.#function(name, parameters)(...values);
		if (status !== 0) throw new EngineError(`cuBLASLt: ${name} failed with status ${status}`, { status });
	}
};
function readResult(result) {
	const view = new DataView(result.buffer, result.byteOffset, RESULT_BYTES);
	if (view.getInt32(72, true) !== 0) return void 0;
	return {
		algorithm: new BigUint64Array(result.slice(0, ALGORITHM_BYTES).buffer),
		workspaceBytes: Number(view.getBigUint64(ALGORITHM_BYTES, true))
	};
}
// src/engine/cuda/process-memory.ts
const PROCESS_BYTES = 24;
const MOST_PROCESSES = 256;
const NOT_AVAILABLE = 2n ** 64n - 1n;
function ownEntry(pid, before, now) {
	const own = now.find((entry) => entry.pid === pid);
	if (own) return own;
	const added = now.filter((entry) => before.every((other) => other.pid !== entry.pid));
	return added.length === 1 ? added[0] : void 0;
}
const ownIds = new Map();
var NvmlProcess = class {
	#busId;
	#call;
	#device = 0n;
	#before;
	#usedBefore;
	#context;
	constructor(busId) {
		this.#busId = busId;
		this.#call = this.#open();
		this.#before = this.#list() ?? [];
		this.#usedBefore = this.#cardUsed();
	}
	usedBytes() {
		const list = this.#list();
		if (!list) return void 0;
		const known = ownIds.get(this.#busId);
		const own = known === void 0 ? ownEntry(process.pid, this.#before, list) : list.find(({ pid }) => pid === known);
		if (own && known === void 0) ownIds.set(this.#busId, own.pid);
		return own && own.bytes > 0 ? own.bytes : void 0;
	}
	noteContext() {
		const [before, after] = [this.#usedBefore, this.#cardUsed()];
		if (before !== void 0 && after !== void 0 && after > before) this.#context = after - before;
	}
	get contextBytes() {
		return this.#context;
	}
	#open() {
		try {
			const call = foreignFunctions(loadLibrary("nvml").library);
			const out = new BigUint64Array(1);
			if (call("nvmlInit_v2", [])() !== 0) return void 0;
			if (call("nvmlDeviceGetHandleByPciBusId_v2", ["str", "void*"])(this.#busId, out) !== 0) return void 0;
			this.#device = out[0];
			return call;
		} catch {
			return;
		}
	}
	#list() {
		for (const version of ["_v3", "_v2"]) {
			const entries = this.#listBy(`nvmlDeviceGetComputeRunningProcesses${version}`);
			if (entries) return entries;
		}
	}
	#listBy(name) {
		if (!this.#call) return void 0;
		const count = Uint32Array.of(MOST_PROCESSES);
		const infos = new DataView(new ArrayBuffer(PROCESS_BYTES * MOST_PROCESSES));
		try {
			if (this.#call(name, [
				"uint64",
				"void*",
				"void*"
			])(this.#device, count, infos) !== 0) return void 0;
		} catch {
			return;
		}
		return Array.from({ length: count[0] }, (_, i) => {
			const bytes = infos.getBigUint64(PROCESS_BYTES * i + 8, true);
			return {
				pid: infos.getUint32(PROCESS_BYTES * i, true),
				bytes: bytes === NOT_AVAILABLE ? 0 : Number(bytes)
			};
		});
	}
	#cardUsed() {
		if (!this.#call) return void 0;
		const memory = new BigUint64Array(3);
		return this.#call("nvmlDeviceGetMemoryInfo", ["uint64", "void*"])(this.#device, memory) === 0 ? Number(memory[2]) : void 0;
	}
};
const ASSUMED_BYTES = 640 << 20;
const LATER_BYTES = 128 << 20;
const STEP_BYTES = 32 << 20;
const FRESH = 1e3;
var Overhead = class {
	#process;
	#measured;
	#counted;
	#at = Number.NEGATIVE_INFINITY;
	constructor(process, contextBytes = ASSUMED_BYTES) {
		this.#process = process;
		this.#measured = process ? process.usedBytes() ?? contextBytes : 0;
		this.#counted = process ? stepped(this.#measured) + LATER_BYTES : 0;
	}
	get bytes() {
		return this.#measured;
	}
	get counted() {
		return this.#counted;
	}
	measure(poolBytes, now = performance.now()) {
		if (!this.#process || now - this.#at < FRESH) return;
		this.#at = now;
		const used = this.#process.usedBytes();
		if (used === void 0 || used < poolBytes) return;
		this.#measured = used - poolBytes;
		this.#counted = Math.max(this.#counted, stepped(this.#measured));
	}
};
function stepped(bytes) {
	return Math.ceil(bytes / STEP_BYTES) * STEP_BYTES;
}
// src/engine/cuda/driver.ts
const CUDA_ERROR_OUT_OF_MEMORY = 2;
const CUDA_ERROR_NOT_READY = 600;
const ATTRIBUTES = {
	multiprocessors: 16,
	major: 75,
	minor: 76,
	virtualMemory: 102
};
const FUNC_MAX_DYNAMIC_SHARED = 8;
const STREAM_NON_BLOCKING = 1;
const EVENT_DISABLE_TIMING = 2;
const MEMORY_HOST = 1;
const MEMORY_DEVICE = 2;
const LAUNCH_TYPES = [
	"uint64",
	"uint",
	"uint",
	"uint",
	"uint",
	"uint",
	"uint",
	"uint",
	"uint64",
	"void*",
	"void*"
];
var CudaDriver = class {
	device;
	stream;
	copyStream;
	process;
	launches = 0;
	#function;
	#deviceHandle;
	parameters = new ParameterBlock();
	#pointers;
	#launch;
	#copyBlock = new DataView(new ArrayBuffer(128));
	constructor(ordinal = 0) {
		this.#function = foreignFunctions(loadLibrary("driver").library);
		this.call("cuInit", ["uint"], 0);
		const device = this.#outInt((out) => this.call("cuDeviceGet", ["void*", "int"], out, ordinal));
		this.#deviceHandle = device;
		this.process = new NvmlProcess(this.#busId(device));
		const context = outHandle((out) => this.call("cuDevicePrimaryCtxRetain", ["void*", "int"], out, device));
		this.call("cuCtxSetCurrent", ["uint64"], context);
		this.device = this.#describe(device, ordinal);
		this.stream = this.createStream();
		this.copyStream = this.createStream();
		this.process.noteContext();
		const { bytes } = this.parameters;
		const base = foreignCalls().address(bytes);
		this.#pointers = BigUint64Array.from({ length: bytes.length / 8 }, (_, i) => base + BigInt(8 * i));
		this.#launch = this.#function("cuLaunchKernel", LAUNCH_TYPES);
	}
	createStream() {
		return outHandle((out) => this.call("cuStreamCreate", ["void*", "uint"], out, STREAM_NON_BLOCKING));
	}
	allocate(bytes) {
		return outHandle((out) => this.call("cuMemAlloc_v2", ["void*", "size_t"], out, bytes));
	}
	free(pointer) {
		this.call("cuMemFree_v2", ["uint64"], pointer);
	}
	allocatePinned(bytes) {
		const types = [
			"void*",
			"size_t",
			"uint"
		];
		const address = outHandle((out) => this.call("cuMemHostAlloc", types, out, bytes, 0));
		return {
			bytes: new Uint8Array(foreignCalls().view(BigInt(address), bytes)),
			free: () => this.call("cuMemFreeHost", ["uint64"], address)
		};
	}
	memoryInfo() {
		const out = [new BigUint64Array(1), new BigUint64Array(1)];
		this.call("cuMemGetInfo_v2", ["void*", "void*"], out[0], out[1]);
		return {
			free: Number(out[0][0]),
			total: Number(out[1][0])
		};
	}
	upload(target, source, stream = this.stream) {
		if (source.byteLength === 0) return;
		this.call("cuMemcpyHtoDAsync_v2", [
			"uint64",
			"void*",
			"size_t",
			"uint64"
		], target, source, source.byteLength, stream);
	}
	uploadRows(target, pitch, source, rowBytes, rows, stream = this.stream) {
		if (rows === 0 || rowBytes === 0) return;
		this.#copy2D(MEMORY_HOST, Number(foreignCalls().address(source)), rowBytes, target, pitch, rowBytes, rows, stream);
	}
	copyRows(target, targetPitch, source, sourcePitch, rowBytes, rows) {
		if (rows === 0 || rowBytes === 0) return;
		if (targetPitch === rowBytes && sourcePitch === rowBytes) this.copy(target, source, rowBytes * rows);
		else this.#copy2D(MEMORY_DEVICE, source, sourcePitch, target, targetPitch, rowBytes, rows, this.stream);
	}
	downloadAsync(target, source, stream = this.stream) {
		if (target.byteLength === 0) return;
		this.call("cuMemcpyDtoHAsync_v2", [
			"void*",
			"uint64",
			"size_t",
			"uint64"
		], target, source, target.byteLength, stream);
	}
	copy(target, source, bytes) {
		if (bytes === 0) return;
		this.call("cuMemcpyDtoDAsync_v2", [
			"uint64",
			"uint64",
			"size_t",
			"uint64"
		], target, source, bytes, this.stream);
	}
	fillBytes(target, value, bytes) {
		if (bytes === 0) return;
		this.call("cuMemsetD8Async", [
			"uint64",
			"uint8",
			"size_t",
			"uint64"
		], target, value, bytes, this.stream);
	}
	clearRows(target, pitch, rowBytes, rows) {
		if (rows === 0 || rowBytes === 0) return;
		this.call("cuMemsetD2D8Async", [
			"uint64",
			"size_t",
			"uint8",
			"size_t",
			"size_t",
			"uint64"
		], target, pitch, 0, rowBytes, rows, this.stream);
	}
	synchronize(stream = this.stream) {
		this.call("cuStreamSynchronize", ["uint64"], stream);
	}
	createEvent(timing = false) {
		const flags = timing ? 0 : EVENT_DISABLE_TIMING;
		return outHandle((out) => this.call("cuEventCreate", ["void*", "uint"], out, flags));
	}
	recordEvent(event, stream = this.stream) {
		this.call("cuEventRecord", ["uint64", "uint64"], event, stream);
	}
	waitEvent(event, stream = this.stream) {
		this.call("cuStreamWaitEvent", [
			"uint64",
			"uint64",
			"uint"
		], stream, event, 0);
	}
	eventDone(event) {
		const status = this.#function("cuEventQuery", ["uint64"])(event);
		if (status === 0) return true;
		if (status === CUDA_ERROR_NOT_READY) return false;
		throw this.#failure("cuEventQuery", status);
	}
	synchronizeEvent(event) {
		this.call("cuEventSynchronize", ["uint64"], event);
	}
	elapsedMilliseconds(start, end) {
		const out = new Float32Array(1);
		this.call("cuEventElapsedTime", [
			"void*",
			"uint64",
			"uint64"
		], out, start, end);
		return out[0];
	}
	destroyEvent(event) {
		this.call("cuEventDestroy_v2", ["uint64"], event);
	}
	loadModule(code) {
		return outHandle((out) => this.call("cuModuleLoadData", ["void*", "void*"], out, code));
	}
	kernel(module, name, dynamicSharedBytes = 0) {
		const types = [
			"void*",
			"uint64",
			"str"
		];
		const handle = outHandle((out) => this.call("cuModuleGetFunction", types, out, module, name));
		if (dynamicSharedBytes > 49152) this.call("cuFuncSetAttribute", [
			"uint64",
			"int",
			"int"
		], handle, FUNC_MAX_DYNAMIC_SHARED, dynamicSharedBytes);
		return {
			name,
			handle
		};
	}
	launch(kernel, grid, block, sharedBytes) {
		const x = grid[0];
		const y = grid[1] ?? 1;
		const z = grid[2] ?? 1;
		if (x === 0 || y === 0 || z === 0) return;
		this.launches++;
		const status = this.#launch(kernel.handle, x, y, z, block, 1, 1, sharedBytes, this.stream, this.#pointers, null);
		if (status !== 0) throw this.#failure(`launch of ${kernel.name}, grid ${grid.join("×")}, block ${block}`, status);
	}
	dispose() {
		this.synchronize();
		for (const stream of [this.stream, this.copyStream]) this.call("cuStreamDestroy_v2", ["uint64"], stream);
		this.call("cuDevicePrimaryCtxRelease_v2", ["int"], this.#deviceHandle);
	}
	call(name, parameters, ...values) {
		const status = this.#function(name, parameters)(...values);
		if (status !== 0) throw this.#failure(name, status);
	}
	#copy2D(sourceType, source, sourcePitch, target, targetPitch, rowBytes, rows, stream) {
		const isHost = sourceType === MEMORY_HOST;
		const source8 = [
			0,
			0,
			sourceType,
			isHost ? source : 0,
			isHost ? 0 : source,
			0,
			sourcePitch
		];
		const target8 = [
			0,
			0,
			MEMORY_DEVICE,
			0,
			target,
			0,
			targetPitch
		];
		for (const [i, value] of [
			...source8,
			...target8,
			rowBytes,
			rows
		].entries()) {
			this.#copyBlock.setUint32(8 * i, value % 4294967296, true);
			this.#copyBlock.setUint32(8 * i + 4, Math.floor(value / 4294967296), true);
		}
		this.call("cuMemcpy2DAsync_v2", ["void*", "uint64"], this.#copyBlock, stream);
	}
	#busId(device) {
		const text = new Uint8Array(32);
		this.call("cuDeviceGetPCIBusId", [
			"void*",
			"int",
			"int"
		], text, text.length, device);
		return Buffer.from(text.subarray(0, text.indexOf(0))).toString();
	}
	#describe(device, ordinal) {
		const name = new Uint8Array(128);
		this.call("cuDeviceGetName", [
			"void*",
			"int",
			"int"
		], name, name.length, device);
		const attribute = (id) => this.#outInt((out) => this.call("cuDeviceGetAttribute", [
			"void*",
			"int",
			"int"
		], out, id, device));
		return {
			ordinal,
			name: Buffer.from(name.subarray(0, name.indexOf(0))).toString(),
			capability: 10 * attribute(ATTRIBUTES.major) + attribute(ATTRIBUTES.minor),
			multiprocessors: attribute(ATTRIBUTES.multiprocessors),
			totalBytes: outHandle((out) => this.call("cuDeviceTotalMem_v2", ["void*", "int"], out, device)),
			driverVersion: this.#outInt((out) => this.call("cuDriverGetVersion", ["void*"], out)),
			hasVirtualMemory: attribute(ATTRIBUTES.virtualMemory) === 1
		};
	}
	#failure(what, status) {
		const message = new BigUint64Array(1);
		let text = `error ${status}`;
		if (this.#function("cuGetErrorString", ["int", "void*"])(status, message) === 0 && message[0]) text = `${status} (${foreignCalls().decode(message, "str")})`;
		const Class = status === CUDA_ERROR_OUT_OF_MEMORY ? OutOfMemoryError : EngineError;
		const hint = status === 100 ? "no NVIDIA card is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES" : void 0;
		return new Class(`CUDA: ${what} failed: ${text}`, {
			hint,
			status
		});
	}
	#outInt(body) {
		const out = new Int32Array(1);
		body(out);
		return out[0];
	}
};
// src/engine/cuda/e4m3-rows.ts
const VECTORS = [
	2,
	4,
	8
];
const MAX_THREADS = 512;
function quantizeShape(columns) {
	const vectors = VECTORS.find((count) => 8 * MAX_THREADS * count >= columns) ?? 8;
	return {
		threads: Math.min(MAX_THREADS, 32 * Math.ceil(columns / (256 * vectors))),
		vectors
	};
}
function quantizeRows(store, { address, ld, rows, columns }, to, factors, most) {
	const { threads, vectors } = quantizeShape(columns);
	store.kernels.launch(ofWidth(KERNELS.quantizeE4m3, vectors), [rows], {
		codes: to.codes,
		scales: to.scales,
		x: address,
		factors,
		most,
		rows,
		columns,
		ldcodes: to.ld,
		ldx: ld
	}, threads);
}
function operandRoom(store, rows, columns) {
	const bytes = rows * columns;
	const block = store.allocator.allocate(bytes + 4 * Math.max(2, rows), "e4m3 operands");
	return {
		block,
		codes: block.address,
		ld: columns,
		scales: offset(block.address, bytes)
	};
}
function withQuantized(store, x, scales, factors, body) {
	const { rows, columns } = x;
	const operand = operandRoom(store, rows, columns);
	try {
		let most;
		if (scales === "tensor") {
			most = offset(operand.scales, 4);
			store.driver.fillBytes(most, 0, 4);
			const parameters = {
				most,
				x: x.address,
				factors,
				rows,
				columns,
				ldx: x.ld
			};
			const threads = Math.min(MAX_THREADS, 32 * Math.ceil(columns / 512));
			store.kernels.launch(KERNELS.tensorAmax, [rows], parameters, threads);
		}
		quantizeRows(store, x, operand, factors, most);
		body(operand);
	} finally {
		store.allocator.free(operand.block);
	}
}
const UP_WIDTHS = [
	16,
	32,
	64
];
const ADAPTED_WIDTHS = [16, 32];
function withQuantizedLowRank(store, x, factors, most, { b, rank, du }, body) {
	const { kernels } = store;
	const { rows, columns } = x;
	const n = columns / 2;
	const transposed = store.create([rank, columns]);
	const operand = operandRoom(store, rows, columns);
	try {
		const parameters = {
			out: transposed.address,
			b: b.address,
			n,
			ldb: b.ld
		};
		kernels.launch(ofWidth(KERNELS.transposeLowRank, rank), [Math.ceil(columns / 256)], parameters);
		kernels.launch(ofWidth(KERNELS.quantizeLowRank, rank), [Math.ceil(rows / 16), 2], {
			codes: operand.codes,
			scales: operand.scales,
			du: du.address,
			x: x.address,
			factors,
			most,
			b: transposed.address,
			rows,
			n,
			ldcodes: operand.ld,
			lddu: du.ld,
			ldx: x.ld
		});
		store.release(transposed);
		body(operand);
	} finally {
		store.allocator.free(operand.block);
	}
}
function quantizesAdapted(columns) {
	return ADAPTED_WIDTHS.includes(columns);
}
function hasLowRankUp(columns) {
	return UP_WIDTHS.includes(columns);
}
function withQuantizedAdapted(store, x, factors, { b, du }, body) {
	const { rows, columns } = x;
	const operand = operandRoom(store, rows, columns);
	try {
		store.kernels.launch(ofWidth(KERNELS.quantizeAdapted, du.columns), [Math.ceil(rows / 8)], {
			codes: operand.codes,
			scales: operand.scales,
			du: du.address,
			x: x.address,
			factors,
			b: b.address,
			rows,
			columns,
			ldcodes: operand.ld,
			lddu: du.ld,
			ldx: x.ld,
			ldb: b.ld
		});
		body(operand);
	} finally {
		store.allocator.free(operand.block);
	}
}
function lowRankUp(store, y, u, b) {
	const { rows, columns } = y;
	store.kernels.launch(ofWidth(KERNELS.lowRankUp, u.columns), [Math.ceil(columns / 256), Math.ceil(rows / 64)], {
		y: y.address,
		u: u.address,
		b: b.address,
		rows,
		columns,
		ldy: y.ld,
		ldu: u.ld,
		ldb: b.ld
	});
}
const HOLDER$1 = "e4m3 copies of weights";
var E4m3Copies = class E4m3Copies {
	#store;
	#matrix;
	#codes;
	#transposed;
	constructor(store, matrix) {
		this.#store = store;
		this.#matrix = matrix;
	}
	static of(store, matrix) {
		if (!(matrix.copies instanceof E4m3Copies)) matrix.copies = new E4m3Copies(store, matrix);
		return matrix.copies;
	}
	get hasCodes() {
		return this.#codes !== void 0 || this.#matrix.e4m3Rows(0) !== void 0;
	}
	get hasTransposed() {
		return this.#transposed !== void 0;
	}
	transposedScales(row) {
		return this.#transposed && offset(this.#transposed.scales, 4 * row);
	}
	get copyBytes() {
		const { rows, columns } = this.#matrix;
		return roundUp(rows, 16) * columns + 4 * rows;
	}
	keepCodes() {
		if (this.hasCodes) return;
		const { rows, columns } = this.#matrix;
		this.#codes = this.#room("weights", rows, columns);
		this.#quantize(this.#codes, 0, rows);
	}
	keepTransposed() {
		if (this.#transposed) return;
		const { rows } = this.#matrix;
		const made = this.#room("weights", rows, roundUp(rows, 16));
		try {
			this.withCodes(0, rows, (codes) => {
				this.#transpose(made, codes, rows);
				this.#store.driver.copy(made.scales, codes.scales, 4 * rows);
			});
		} catch (error) {
			this.#store.allocator.free(made.block);
			throw error;
		}
		this.#transposed = made;
	}
	withCodes(row, rows, body) {
		const own = this.#codes ? rowsFrom(this.#codes, row) : this.#matrix.e4m3Rows(row);
		if (own) {
			body(own);
			return;
		}
		const made = this.#room("tensors", rows, this.#matrix.columns);
		try {
			this.#quantize(made, row, rows);
			body(made);
		} finally {
			this.#store.allocator.free(made.block);
		}
	}
	withTransposed(row, rows, body) {
		const known = this.#transposed;
		if (known) {
			const { codes, ld, scales } = known;
			body({
				codes: offset(codes, row),
				ld,
				scales: offset(scales, 4 * row)
			});
			return;
		}
		this.withCodes(row, rows, (codes) => {
			const made = this.#room("tensors", rows, roundUp(rows, 16));
			try {
				this.#transpose(made, codes, rows);
				body({
					...made,
					scales: codes.scales
				});
			} finally {
				this.#store.allocator.free(made.block);
			}
		});
	}
	free() {
		for (const made of [this.#codes, this.#transposed]) if (made) this.#store.allocator.free(made.block);
		this.#codes = void 0;
		this.#transposed = void 0;
	}
	#room(pool, rows, ld) {
		const bytes = roundUp(rows, 16) * this.#matrix.columns;
		const block = this.#store.allocator.allocate(bytes + 4 * rows, HOLDER$1, pool);
		return {
			block,
			codes: block.address,
			ld,
			scales: offset(block.address, bytes)
		};
	}
	#quantize(to, row, rows) {
		const own = this.#matrix.bf16Rows(row, rows);
		const wide = own ?? this.#matrix.readRows(row, rows);
		quantizeRows(this.#store, wide, to);
		if (!own) this.#store.release(wide);
	}
	#transpose(to, from, rows) {
		const { columns } = this.#matrix;
		const grid = [Math.ceil(columns / 64), Math.ceil(rows / 64)];
		const parameters = {
			out: to.codes,
			x: from.codes,
			rows,
			columns,
			ldo: to.ld,
			ldx: from.ld
		};
		this.#store.kernels.launch(KERNELS.transposeBytes, grid, parameters);
	}
};
function rowsFrom({ codes, ld, scales }, row) {
	return {
		codes: offset(codes, ld * row),
		ld,
		scales: offset(scales, 4 * row)
	};
}
// src/engine/cuda/memory.ts
const PIECE_BYTES$3 = 32 << 20;
const BUDGET_PIECES = 512;
const SMALLEST_PIECE_BYTES = 4 << 20;
const GROWTH_BYTES = {
	weights: 2 << 20,
	tensors: 32 << 20
};
const RESERVED_TIMES = 16;
const MARGIN_SHARE = .02;
var Pool = class {
	arena = new Arena();
	#memory;
	#growthBytes;
	#pieceBytes;
	#pieces = [];
	#end = 0;
	constructor(memory, growthBytes, pieceBytes = PIECE_BYTES$3) {
		this.#memory = memory;
		this.#growthBytes = roundUp(growthBytes, memory.granularity);
		this.#pieceBytes = roundUp(memory.isVirtual ? pieceBytes : PIECE_BYTES$3, memory.granularity);
		if (memory.isVirtual) this.#end = memory.reserve(RESERVED_TIMES * memory.memoryInfo().total);
	}
	allocate(bytes, room) {
		return this.arena.allocate(bytes) ?? (this.#grow(bytes, room()) ? this.arena.allocate(bytes) : void 0);
	}
	#grow(bytes, room) {
		if (!this.#memory.isVirtual) return this.#growBySlab(bytes, room);
		const missing = () => roundUp(bytes - this.arena.freeAtEnd, this.#memory.granularity);
		const wanted = roundUp(missing(), this.#growthBytes);
		let available = room;
		if (missing() > available) this.#moveHoles(missing() - available);
		let left = wanted <= available ? wanted : missing();
		while (left > 0) {
			if (left > available) return false;
			const size = Math.min(left, this.#pieceBytes);
			try {
				this.#add(this.#memory.map(this.#end, size).handle, size);
				available -= size;
				left -= size;
			} catch (error) {
				if (!(error instanceof OutOfMemoryError)) throw error;
				this.#moveHoles(missing());
				return this.arena.freeAtEnd >= bytes;
			}
		}
		return true;
	}
	#growBySlab(bytes, room) {
		for (const size of [roundUp(bytes, this.#pieceBytes), roundUp(bytes, this.#memory.granularity)]) {
			if (size > room) continue;
			try {
				const { address, handle } = this.#memory.map(0, size);
				this.#pieces.push({
					address,
					bytes: size,
					handle
				});
				this.arena.grow(address, size, true);
				return true;
			} catch (error) {
				if (!(error instanceof OutOfMemoryError)) throw error;
			}
		}
		return false;
	}
	#moveHoles(bytes) {
		let moved = 0;
		let isIdle = false;
		const tail = this.#end - this.arena.freeAtEnd;
		for (const piece of [...this.#pieces].sort((a, b) => a.address - b.address)) {
			if (moved >= bytes) break;
			if (piece.address + piece.bytes > tail || !this.arena.takeOut(piece.address, piece.bytes)) continue;
			if (!isIdle) this.#memory.synchronize();
			isIdle = true;
			this.#memory.move(piece.handle, piece.address, this.#end, piece.bytes);
			this.arena.grow(this.#end, piece.bytes);
			piece.address = this.#end;
			this.#end += piece.bytes;
			moved += piece.bytes;
		}
		return moved;
	}
	#add(handle, bytes) {
		this.#pieces.push({
			address: this.#end,
			bytes,
			handle
		});
		this.arena.grow(this.#end, bytes);
		this.#end += bytes;
	}
	dispose() {
		for (const piece of this.#pieces.splice(0)) this.#memory.release(piece);
	}
};
const CACHE = "cached index lists";
const SCRATCH = "widened weights";
function pieceBytesOf(budget) {
	return Math.max(SMALLEST_PIECE_BYTES, Math.min(PIECE_BYTES$3, Math.floor(budget / BUDGET_PIECES)));
}
var DeviceAllocator = class {
	#memory;
	#pools;
	#budget;
	#overhead;
	#cardBytes;
	#byHolder = new Map();
	#peak = 0;
	constructor(memory, budget = Number.POSITIVE_INFINITY, overhead = new Overhead()) {
		this.#memory = memory;
		this.#budget = budget;
		this.#overhead = overhead;
		const { free, total } = memory.memoryInfo();
		this.#cardBytes = Math.floor(free - MARGIN_SHARE * total);
		this.#pools = {
			weights: new Pool(memory, GROWTH_BYTES.weights),
			tensors: new Pool(memory, GROWTH_BYTES.tensors, pieceBytesOf(budget))
		};
	}
	allocate(bytes, holder = "tensors", pool = "tensors") {
		const inner = this.#pools[pool].allocate(Math.max(1, bytes), () => this.#room());
		if (!inner) throw this.#outOfMemory(bytes, holder);
		this.#byHolder.set(holder, (this.#byHolder.get(holder) ?? 0) + inner.bytes);
		this.#peak = Math.max(this.#peak, this.#bytesInUse);
		return {
			address: inner.address,
			bytes: inner.bytes,
			pool,
			holder,
			inner
		};
	}
	free(block) {
		this.#byHolder.set(block.holder, this.#byHolder.get(block.holder) - block.inner.bytes);
		this.#pools[block.pool].arena.free(block.inner);
	}
	memory() {
		this.#overhead.measure(this.#capacity);
		const cached = this.#byHolder.get("cached index lists") ?? 0;
		return {
			bytesInUse: this.#bytesInUse - cached - (this.#byHolder.get("widened weights") ?? 0),
			peakBytes: this.#peak - cached,
			limitBytes: this.#limit,
			overheadBytes: this.#overhead.counted,
			deviceBytes: this.#capacity + this.#overhead.bytes
		};
	}
	resetPeak() {
		this.#peak = this.#bytesInUse;
	}
	dispose() {
		for (const pool of Object.values(this.#pools)) pool.dispose();
		this.#memory.dispose();
	}
	get #limit() {
		return Math.max(0, Math.min(this.#budget - this.#overhead.counted, this.#cardBytes));
	}
	#room() {
		if (!Number.isFinite(this.#budget)) return this.#budget;
		this.#overhead.measure(this.#capacity);
		return Math.max(0, this.#budget - this.#overhead.counted - this.#capacity);
	}
	get #bytesInUse() {
		return this.#pools.weights.arena.bytesInUse + this.#pools.tensors.arena.bytesInUse;
	}
	get #capacity() {
		return this.#pools.weights.arena.capacity + this.#pools.tensors.arena.capacity;
	}
	#outOfMemory(bytes, holder) {
		const card = this.#memory.memoryInfo();
		const holders = [...this.#byHolder].filter(([, held]) => held > 0).sort(([, a], [, b]) => b - a);
		const held = holders.map(([name, size]) => `${name} ${formatBytes(size)}`).join(", ") || "nothing";
		const isBudget = Number.isFinite(this.#budget);
		const { counted } = this.#overhead;
		const beside = counted > 0 ? `, of which code and context take ${formatBytes(counted)}` : "";
		const limit = isBudget ? `the budget is ${formatBytes(this.#budget)}${beside}, ` : "";
		const free = this.#capacity - this.#bytesInUse;
		return new OutOfMemoryError(`out of device memory: ${formatBytes(bytes)} needed for ${holder}; ${limit}${formatBytes(free)} of the engine's memory is free (largest hole ${formatBytes(this.#pools.tensors.arena.largestFree)}), ${formatBytes(card.free)} of ${formatBytes(card.total)} on the card; held: ${held}`, {
			hint: `Fewer tokens and images at a time take less; other programs on the card count too (nvidia-smi)${isBudget ? ", and `memoryBudget` of the engine may be raised" : ""}.`,
			neededBytes: bytes,
			freeBytes: free,
			limitBytes: this.#limit,
			details: {
				cardFreeBytes: card.free,
				heldBytes: Object.fromEntries(holders)
			}
		});
	}
};
// src/engine/cuda/e4m3-products.ts
const LEAST_CAPABILITY = 89;
const ROW_SCALES_CAPABILITY = 90;
const ROW_SCALES_VERSION = 120900;
const COPIES_SHARE = 1 / 3;
const PASS_BYTES = 4 * 2 ** 30;
function e4m3ScalesOf(capability, libraryVersion) {
	if (capability < LEAST_CAPABILITY) return void 0;
	return capability === ROW_SCALES_CAPABILITY && libraryVersion >= ROW_SCALES_VERSION ? "rows" : "tensor";
}
var E4m3Products = class {
	scales;
	#store;
	#capability;
	#ones;
	#scratchBytes = 0;
	constructor(store, scales, capability) {
		this.#store = store;
		this.scales = scales;
		this.#capability = capability;
	}
	get scratchBytes() {
		return this.#scratchBytes;
	}
	takes(precision, isBackward, { matrix, row, rows }) {
		if (precision === "bf16" || precision === "fp8-backward" && !isBackward) return false;
		this.#require(precision);
		return [
			matrix.columns,
			row,
			rows
		].every((extent) => extent % 16 === 0);
	}
	get accumulates() {
		return this.scales === "rows";
	}
	product({ matrix, row, rows }, x, y, beta = 0, operand) {
		const { scales } = this;
		if (!scales || x.rows === 0) return;
		const store = this.#store;
		const multiply = (a) => {
			E4m3Copies.of(store, matrix).withCodes(row, rows, (b) => {
				store.products.run({
					m: x.rows,
					n: rows,
					k: x.columns,
					a: a.codes,
					lda: a.ld,
					b: b.codes,
					ldb: b.ld,
					transB: true,
					d: y.address,
					ldd: y.ld,
					beta,
					e4m3: {
						scales,
						a: a.scales,
						b: scales === "rows" ? b.scales : this.#one(1),
						isFast: true
					}
				});
				if (scales === "rows") return;
				const parameters = {
					y: y.address,
					factors: b.scales,
					rows: x.rows,
					columns: rows,
					ldy: y.ld
				};
				store.kernels.launch(KERNELS.scaleColumns, grid2(x.rows, rows), parameters);
			});
		};
		if (operand) multiply(operand);
		else withQuantized(store, x, scales, void 0, multiply);
	}
	gradientFactors({ matrix, row }) {
		return this.scales === "rows" ? E4m3Copies.of(this.#store, matrix).transposedScales(row) : void 0;
	}
	hasLowRankUp(columns) {
		return this.scales === "rows" && hasLowRankUp(columns);
	}
	takesLowRank(columns) {
		return this.scales === "rows" && quantizesAdapted(columns);
	}
	transposedProduct({ matrix, row, rows }, dy, dx, low, most) {
		const { scales } = this;
		if (!scales || dy.rows === 0) return;
		const store = this.#store;
		const { columns } = matrix;
		E4m3Copies.of(store, matrix).withTransposed(row, rows, (b) => {
			const multiply = (a) => {
				store.products.run({
					m: dy.rows,
					n: columns,
					k: rows,
					a: a.codes,
					lda: a.ld,
					b: b.codes,
					ldb: b.ld,
					transB: true,
					d: dx.address,
					ldd: dx.ld,
					e4m3: {
						scales,
						a: a.scales,
						b: this.#one(scales === "rows" ? columns : 1),
						isFast: false
					}
				});
			};
			if (low && most !== void 0) withQuantizedLowRank(store, dy, b.scales, most, low, multiply);
			else if (low) withQuantizedAdapted(store, dy, b.scales, low, multiply);
			else withQuantized(store, dy, scales, b.scales, multiply);
		});
	}
	prepare(weights, precision) {
		const store = this.#store;
		const isTaken = ({ rows, columns }) => [rows, columns].every((extent) => extent % 16 === 0);
		const matrices = [...new Set(weights.map(({ matrix }) => matrix))].filter(isTaken);
		this.#scratchBytes = 0;
		if (precision === "bf16") {
			for (const { copies } of matrices) copies?.free();
			return;
		}
		this.#require(precision);
		const all = matrices.map((matrix) => E4m3Copies.of(store, matrix));
		const { limitBytes, bytesInUse } = store.allocator.memory();
		const free = limitBytes - bytesInUse;
		let room = Math.min(COPIES_SHARE * free, free - PASS_BYTES);
		const keep = (copies, make) => {
			if (copies.copyBytes > room) return;
			try {
				make();
				room -= copies.copyBytes;
			} catch (error) {
				if (!(error instanceof OutOfMemoryError)) throw error;
				room = 0;
			}
		};
		if (precision === "fp8") {
			for (const copies of all) if (!copies.hasCodes) keep(copies, () => copies.keepCodes());
		}
		for (const copies of all) if (!copies.hasTransposed) keep(copies, () => copies.keepTransposed());
		const missing = all.map((copies) => {
			const made = copies.hasTransposed ? 0 : copies.copyBytes;
			const isNeeded = precision === "fp8" || !copies.hasTransposed;
			return made + (copies.hasCodes || !isNeeded ? 0 : copies.copyBytes);
		});
		this.#scratchBytes = Math.max(0, ...missing);
	}
	dispose() {
		if (this.#ones) this.#store.allocator.free(this.#ones.block);
		this.#ones = void 0;
	}
	#one(count) {
		if (!this.#ones || this.#ones.count < count) {
			this.dispose();
			const block = this.#store.allocator.allocate(4 * count, CACHE);
			this.#store.staging.upload(block.address, new Float32Array(count).fill(1));
			this.#ones = {
				block,
				count
			};
		}
		return this.#ones.block.address;
	}
	#require(precision) {
		if (this.scales) return;
		throw new EngineError(`precision '${precision}' needs compute capability 8.9 or more, this card has ${(this.#capability / 10).toFixed(1)}`, { hint: "Set precision to 'bf16'." });
	}
};
// src/engine/cuda/kernel-loading.ts
const RELAXED = 2;
var KernelLoader = class {
	#driver;
	#stream;
	#isSupported = true;
	constructor(driver) {
		this.#driver = driver;
	}
	load(queue) {
		if (!this.#isSupported) return;
		try {
			this.#stream ??= this.#driver.createStream();
			const graph = new BigUint64Array(1);
			this.#driver.call("cuStreamBeginCapture_v2", ["uint64", "int"], this.#stream, RELAXED);
			try {
				queue(this.#stream);
			} finally {
				this.#driver.call("cuStreamEndCapture", ["uint64", "void*"], this.#stream, graph);
				if (graph[0]) this.#driver.call("cuGraphDestroy", ["uint64"], graph[0]);
			}
		} catch {
			this.#isSupported = false;
		}
	}
	dispose() {
		if (this.#stream !== void 0) this.#driver.call("cuStreamDestroy_v2", ["uint64"], this.#stream);
		this.#stream = void 0;
	}
};
// src/generated/cuda-kernels.ts
const KERNEL_SOURCES = {
	"activation.cu": "// Element by element over [rows, columns]: a thread has 8 columns, blocks step over the rows. fp32, one rounding.\n// Launch: grid2(rows, columns).\n\nKERNEL __launch_bounds__(128) gated_activation_forward(bf16* out, const bf16* gate, const bf16* up, int rows,\n                                                       int columns, int ldo, int ldgate, int ldup, int kind) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float g[8], u[8];\n    const uint4 packed = load8(row_of(gate, row, ldgate), c, columns);\n    load8(row_of(up, row, ldup), c, columns, u);\n    unpack8(packed, g);\n#define CALL(KIND) gated_forward<KIND>(g, u)\n    BY_KIND(CALL)\n#undef CALL\n    store8(row_of(out, row, ldo), c, columns, g);\n  }\n}\n\nKERNEL __launch_bounds__(128)\n    gated_activation_backward(bf16* NULLABLE dgate, bf16* NULLABLE dup, const bf16* gate, const bf16* up,\n                              const bf16* dy, int rows, int columns, int lddgate, int lddup, int ldgate, int ldup,\n                              int lddy, int kind) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float g[8], u[8], d[8];\n    const uint4 packed_gate = load8(row_of(gate, row, ldgate), c, columns);\n    const uint4 packed_up = load8(row_of(up, row, ldup), c, columns);\n    load8(row_of(dy, row, lddy), c, columns, d);\n    unpack8(packed_gate, g);\n    unpack8(packed_up, u);\n#define CALL(KIND) gated_backward<KIND>(g, u, d)\n    BY_KIND(CALL)\n#undef CALL\n    if (dgate) store8(row_of(dgate, row, lddgate), c, columns, g);\n    if (dup) store8(row_of(dup, row, lddup), c, columns, u);\n  }\n}\n\ntemplate <int KIND>\nDEVICE void plain_forward(float (&x)[8]) {\n#pragma unroll\n  for (int i = 0; i < 8; i++) x[i] *= gate_of<KIND>(x[i]);\n}\n\nKERNEL __launch_bounds__(128)\n    activation_forward(bf16* out, const bf16* x, int rows, int columns, int ldo, int ldx, int kind) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8];\n    load8(row_of(x, row, ldx), c, columns, v);\n#define CALL(KIND) plain_forward<KIND>(v)\n    BY_KIND(CALL)\n#undef CALL\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n\ntemplate <int KIND>\nDEVICE void plain_backward(float (&x)[8], const float (&d)[8]) {\n#pragma unroll\n  for (int i = 0; i < 8; i++) x[i] = d[i] * slope_of<KIND>(x[i], gate_of<KIND>(x[i]));\n}\n\nKERNEL __launch_bounds__(128) activation_backward(bf16* dx, const bf16* x, const bf16* dy, int rows, int columns,\n                                                  int lddx, int ldx, int lddy, int kind) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8], d[8];\n    load8(row_of(x, row, ldx), c, columns, v);\n    load8(row_of(dy, row, lddy), c, columns, d);\n#define CALL(KIND) plain_backward<KIND>(v, d)\n    BY_KIND(CALL)\n#undef CALL\n    store8(row_of(dx, row, lddx), c, columns, v);\n  }\n}\n\nKERNEL __launch_bounds__(128)\n    add(bf16* out, const bf16* a, const bf16* b, int rows, int columns, int ldo, int lda, int ldb) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8], w[8];\n    load8(row_of(a, row, lda), c, columns, v);\n    load8(row_of(b, row, ldb), c, columns, w);\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] += w[i];\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n\nKERNEL __launch_bounds__(128) add_bias(bf16* y, const bf16* bias, int rows, int columns, int ldy) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  float w[8];\n  load8(bias, c, columns, w);\n  FOR_ROWS(row, rows) {\n    float v[8];\n    load8(row_of(y, row, ldy), c, columns, v);\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] += w[i];\n    store8(row_of(y, row, ldy), c, columns, v);\n  }\n}\n\nKERNEL __launch_bounds__(128) scale(bf16* out, const bf16* x, const float* NULLABLE factor_pointer, float factor,\n                                    int rows, int columns, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  if (factor_pointer) factor *= *factor_pointer;\n  FOR_ROWS(row, rows) {\n    float v[8];\n    load8(row_of(x, row, ldx), c, columns, v);\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] *= factor;\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n",
	"attention-backward-key-value.cu": "// Attention, backward, the key side: one block for a tile of key rows of one key/value head. It passes over all query\n// tiles that see the keys, of all H/K query heads of the group, so dk and dv are each written once, with no atomics.\n//\n//   p = exp(scale · s - lse),  dv = pᵀ·do,  dp = do·vᵀ,  ds = p ⊙ (dp - delta),  dk = scale · dsᵀ·q\n//   with s = q·kᵀ recomputed and delta = rowsum(do ⊙ o) from attention_backward_delta.\n//\n// Everything is computed transposed (keys are the rows): pᵀ and dsᵀ come out of the tensor cores in the layout in which\n// they go in again as left operands, so neither passes through shared memory. 4 products of the 7 of this backward.\n// Query rows past the end are zeros in q and do and add nothing; key rows past the end are not stored.\n//\n// Memory rule: as in attention-forward.cu. lse and delta are fp32 [H, Tq]. Key ranges of the segments must not overlap\n// (each would write its own dk, dv); key rows outside every segment are not written.\n//\n// HEAD_SPLIT > 1: the warps form that many teams, each with all key rows of the tile and every HEAD_SPLIT-th part of\n// the group's heads; the teams' sums are added in order at the end. So the longest block is that much shorter.\n//\n// Launch: grid (K, work items), block 32 · WARPS · HEAD_SPLIT, dynamic shared bytes\n// 2 · own_tile · row_bytes + HEAD_SPLIT · (4 · row_bytes + 16) · STREAM_TILE; own_tile counts key rows, STREAM_TILE\n// query rows. H/K must be a multiple of HEAD_SPLIT.\n// work: int4 (first key row of the tile, end of its segment's key rows, first query row, end of its query rows),\n// heaviest first (buildAttentionKeyWork). H must be a multiple of K.\n\nstatic_assert(HEAD_SPLIT == 1 ||\n                  2 * own_tile * row_bytes + HEAD_SPLIT * (4 * row_bytes + 16) * STREAM_TILE >= own_tile * head_pad * 8,\n              \"a team's sums must fit where the tiles were\");\n\nconstexpr int sums_of_lane = ROW_FRAGMENTS * head_pad / 2;\n\ntemplate <class F>\nDEVICE void visit_sums(float (&sum)[ROW_FRAGMENTS][head_pad / 8][4], F visit) {\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n    for (int n = 0; n < head_pad / 8; n++) {\n#pragma unroll\n      for (int i = 0; i < 4; i++) visit((f * (head_pad / 8) + n) * 4 + i, sum[f][n][i]);\n    }\n  }\n}\n\nextern \"C\" __global__ void __launch_bounds__(threads* HEAD_SPLIT, MIN_BLOCKS)\n    attention_backward_key_value(bf16* __restrict__ key_gradient, bf16* __restrict__ value_gradient,\n                                 const bf16* __restrict__ output_gradient, const bf16* __restrict__ query,\n                                 const bf16* __restrict__ key, const bf16* __restrict__ value,\n                                 const float* __restrict__ log_sum, const float* __restrict__ delta,\n                                 const int4* __restrict__ work, int key_gradient_stride, int value_gradient_stride,\n                                 int output_gradient_stride, int query_stride, int key_stride, int value_stride,\n                                 int heads, int query_rows, float scale, int causal) {\n  const int4 item = work[blockIdx.y];\n  const int key_first = item.x, key_end = item.y, query_end = item.w;\n  const int kv_head = blockIdx.x;\n  const int team_heads = heads / (int)gridDim.x / HEAD_SPLIT;\n  const int team = threadIdx.x / threads;\n  const int thread = threadIdx.x % threads, lane = thread % 32, warp = thread / 32;\n  // Row r sees the keys up to and including r + diagonal, so these keys are seen from row key_first - diagonal on.\n  const int diagonal = key_end - query_end;\n  const int query_first = causal ? max(item.z, key_first - diagonal) : item.z;\n  const int head_steps = query_end > query_first ? (query_end - query_first + stream_tile - 1) / stream_tile : 0;\n  const int steps = team_heads * head_steps;\n\n  constexpr u32 own_bytes = own_tile * row_bytes;\n  constexpr u32 half_stage = stream_tile * row_bytes;\n  constexpr u32 stage_bytes = 2 * half_stage + 8 * stream_tile;  // q, do, lse, delta\n  const u32 key_tile = shared_address(shared_memory);\n  const u32 value_tile = key_tile + own_bytes;\n  constexpr u32 team_bytes = 2 * stage_bytes;\n  const u32 stages = value_tile + own_bytes + team * team_bytes;\n  // The copies run one step ahead of the products and keep their own place in (head, query tile).\n  int load_head = (kv_head * HEAD_SPLIT + team) * team_heads, load_row = query_first;\n  auto load_step = [&](int step) {\n    const u32 stage = stages + (step & 1) * stage_bytes;\n    const int valid = query_end - load_row;\n    copy_tile<stream_tile, threads>(stage, query + (long long)load_row * query_stride + load_head * HEAD_DIM,\n                                    query_stride, valid, thread);\n    copy_tile<stream_tile, threads>(\n        stage + half_stage, output_gradient + (long long)load_row * output_gradient_stride + load_head * HEAD_DIM,\n        output_gradient_stride, valid, thread);\n    const long long statistics = (long long)load_head * query_rows + load_row;\n    for (int i = thread; i < 2 * stream_tile; i += threads) {\n      const int row = i % stream_tile;\n      copy_4_bytes(stage + 2 * half_stage + 4 * i, (i < stream_tile ? log_sum : delta) + statistics + row, row < valid);\n    }\n    close_copy_group();\n    load_row += stream_tile;\n    if (load_row >= query_end) {\n      load_row = query_first;\n      load_head++;\n    }\n  };\n  const int valid_keys = key_end - key_first;\n  copy_tile<own_tile, threads * HEAD_SPLIT>(key_tile, key + (long long)key_first * key_stride + kv_head * HEAD_DIM,\n                                            key_stride, valid_keys, threadIdx.x);\n  copy_tile<own_tile, threads * HEAD_SPLIT>(value_tile,\n                                            value + (long long)key_first * value_stride + kv_head * HEAD_DIM,\n                                            value_stride, valid_keys, threadIdx.x);\n  if (steps > 0) load_step(0);\n\n  const int warp_offset = warp * warp_rows;\n  const int warp_first = key_first + warp_offset;\n  const u32 key_warp = key_tile + warp_offset * row_bytes + row_major_lane(lane);\n  const float factor = scale * LOG2_E;\n  float key_sum[ROW_FRAGMENTS][head_pad / 8][4], value_sum[ROW_FRAGMENTS][head_pad / 8][4];\n  clear(key_sum);\n  clear(value_sum);\n  int tile_row = query_first;\n\n#pragma unroll 1\n  for (int step = 0; step < steps; step++) {\n    // The barrier makes this step's rows visible and says that all warps are through with the other stage.\n    wait_copy_groups<0>();\n    __syncthreads();\n    if (step + 1 < steps) load_step(step + 1);\n    const int step_first = tile_row;\n    tile_row = tile_row + stream_tile < query_end ? tile_row + stream_tile : query_first;\n    if (causal && warp_first > step_first + stream_tile - 1 + diagonal) continue;\n    const u32 stage = (step & 1) * stage_bytes;\n    const u32 query_tile = stages + stage;\n    const u32 gradient_tile = query_tile + half_stage;\n    const float* statistics =\n        (const float*)(shared_memory + 2 * own_bytes + team * team_bytes + stage + 2 * half_stage) + lane % 4 * 2;\n\n    float p[ROW_FRAGMENTS][stream_tile / 8][4];\n    clear(p);\n    multiply_transposed<ROW_FRAGMENTS, stream_tile>(p, key_warp, query_tile + column_major_lane(lane));\n#pragma unroll\n    for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n      for (int j = 0; j < 2; j++) {\n        const float offset = statistics[n * 8 + j] * LOG2_E;\n#pragma unroll\n        for (int f = 0; f < ROW_FRAGMENTS; f++) {\n          p[f][n][j] = exp2_fast(p[f][n][j] * factor - offset);\n          p[f][n][j + 2] = exp2_fast(p[f][n][j + 2] * factor - offset);\n        }\n      }\n    }\n    if (causal && warp_first + warp_rows - 1 > step_first + diagonal) {\n#pragma unroll\n      for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          // The first column of this tile that sees the key of this row.\n          const int limit = warp_first + f * 16 + half * 8 + lane / 4 - diagonal - step_first - lane % 4 * 2;\n#pragma unroll\n          for (int n = 0; n < stream_tile / 8; n++) {\n            if (n * 8 < limit) p[f][n][2 * half] = 0.0f;\n            if (n * 8 + 1 < limit) p[f][n][2 * half + 1] = 0.0f;\n          }\n        }\n      }\n    }\n    u32 packed[ROW_FRAGMENTS][stream_tile / 16][4];\n    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, p);\n    multiply_packed<ROW_FRAGMENTS, stream_tile>(value_sum, packed, gradient_tile + row_major_lane(lane));\n\n    float ds[ROW_FRAGMENTS][stream_tile / 8][4];\n    clear(ds);\n    multiply_transposed<ROW_FRAGMENTS, stream_tile>(ds, key_warp + own_bytes, gradient_tile + column_major_lane(lane));\n#pragma unroll\n    for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n      for (int j = 0; j < 2; j++) {\n        const float mean = statistics[stream_tile + n * 8 + j];\n#pragma unroll\n        for (int f = 0; f < ROW_FRAGMENTS; f++) {\n          ds[f][n][j] = p[f][n][j] * (ds[f][n][j] - mean);\n          ds[f][n][j + 2] = p[f][n][j + 2] * (ds[f][n][j + 2] - mean);\n        }\n      }\n    }\n    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, ds);\n    multiply_packed<ROW_FRAGMENTS, stream_tile>(key_sum, packed, query_tile + row_major_lane(lane));\n  }\n\n  if (steps == 0) {\n    wait_copy_groups<0>();\n    __syncthreads();\n  }\n  if constexpr (HEAD_SPLIT > 1) {\n    // Lane by lane, so that what a thread adds are the same elements of another team.\n    float* exchange = (float*)shared_memory + thread;\n#pragma unroll 1\n    for (int from = 1; from < HEAD_SPLIT; from++) {\n      __syncthreads();\n      if (team == from) {\n        visit_sums(key_sum, [&](int i, float& x) { exchange[i * threads] = x; });\n        visit_sums(value_sum, [&](int i, float& x) { exchange[(sums_of_lane + i) * threads] = x; });\n      }\n      __syncthreads();\n      if (team == 0) {\n        visit_sums(key_sum, [&](int i, float& x) { x += exchange[i * threads]; });\n        visit_sums(value_sum, [&](int i, float& x) { x += exchange[(sums_of_lane + i) * threads]; });\n      }\n    }\n    // All are through with the sums before the first team lays its rows over them.\n    __syncthreads();\n    if (team != 0) return;\n  }\n  float key_factor[ROW_FRAGMENTS][2], value_factor[ROW_FRAGMENTS][2];\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) {\n    key_factor[f][0] = key_factor[f][1] = scale;\n    value_factor[f][0] = value_factor[f][1] = 1.0f;\n  }\n  unsigned char* staging = shared_memory + warp_offset * row_bytes;\n  store_rows<ROW_FRAGMENTS>(key_gradient + (long long)warp_first * key_gradient_stride + kv_head * HEAD_DIM,\n                            key_gradient_stride, key_end - warp_first, key_sum, key_factor, staging, lane);\n  store_rows<ROW_FRAGMENTS>(value_gradient + (long long)warp_first * value_gradient_stride + kv_head * HEAD_DIM,\n                            value_gradient_stride, key_end - warp_first, value_sum, value_factor, staging + own_bytes,\n                            lane);\n}\n",
	"attention-backward-query.cu": "// Attention, backward, the query side: the row sums delta, then dq with one block for a tile of query rows of one head.\n//\n//   delta = rowsum(do ⊙ o) by head\n//   p = exp(scale · s - lse),  dp = do·vᵀ,  ds = p ⊙ (dp - delta),  dq = scale · ds·k      with s = q·kᵀ recomputed\n//\n// s and dp are made here a second time (3 products of 7, where one kernel with fp32 atomics on dq would need 5): the\n// price of a result that does not depend on timing, and of dq without an fp32 buffer and its conversion.\n//\n// Memory rule: as in attention-forward.cu. delta is fp32 [H, Tq], written before both gradient kernels run.\n//\n// Launch of attention_backward_delta: grid ceil(Tq · H · delta_lanes / 256), block 256, no dynamic shared memory;\n// delta_lanes = D / 8 rounded up to a power of two.\n// Launch of attention_backward_query: grid (H, work items), block 32 · WARPS, dynamic shared bytes\n// (2 · own_tile + 4 · STREAM_TILE) · row_bytes; own_tile counts query rows, STREAM_TILE key rows. work as in the\n// forward.\n\nconstexpr int delta_lanes = HEAD_DIM > 64 ? 16 : HEAD_DIM > 32 ? 8 : HEAD_DIM > 16 ? 4 : HEAD_DIM > 8 ? 2 : 1;\n\nextern \"C\" __global__ void __launch_bounds__(256)\n    attention_backward_delta(float* __restrict__ delta, const bf16* __restrict__ output_gradient,\n                             const bf16* __restrict__ output, int output_gradient_stride, int output_stride, int heads,\n                             int query_rows) {\n  const long long index = ((long long)blockIdx.x * 256 + threadIdx.x) / delta_lanes;\n  const int unit = threadIdx.x % delta_lanes;\n  const int head = index % heads;\n  const long long row = index / heads;\n  float sum = 0.0f;\n  if (row < query_rows && unit < HEAD_DIM / 8) {\n    const uint4 a = *(const uint4*)(output_gradient + row * output_gradient_stride + head * HEAD_DIM + unit * 8);\n    const uint4 b = *(const uint4*)(output + row * output_stride + head * HEAD_DIM + unit * 8);\n    sum = bf16_low(a.x) * bf16_low(b.x) + bf16_high(a.x) * bf16_high(b.x);\n    sum += bf16_low(a.y) * bf16_low(b.y) + bf16_high(a.y) * bf16_high(b.y);\n    sum += bf16_low(a.z) * bf16_low(b.z) + bf16_high(a.z) * bf16_high(b.z);\n    sum += bf16_low(a.w) * bf16_low(b.w) + bf16_high(a.w) * bf16_high(b.w);\n  }\n#pragma unroll\n  for (int step = delta_lanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);\n  if (row < query_rows && unit == 0) delta[(long long)head * query_rows + row] = sum;\n}\n\nextern \"C\" __global__ void __launch_bounds__(threads, MIN_BLOCKS)\n    attention_backward_query(bf16* __restrict__ query_gradient, const bf16* __restrict__ output_gradient,\n                             const bf16* __restrict__ query, const bf16* __restrict__ key,\n                             const bf16* __restrict__ value, const float* __restrict__ log_sum,\n                             const float* __restrict__ delta, const int4* __restrict__ work, int query_gradient_stride,\n                             int output_gradient_stride, int query_stride, int key_stride, int value_stride,\n                             int kv_heads, int query_rows, float scale, int causal) {\n  const int4 item = work[blockIdx.y];\n  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;\n  const int head = blockIdx.x;\n  const int kv_head = head * kv_heads / (int)gridDim.x;\n  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;\n  // Row r sees the keys up to and including r + diagonal.\n  const int diagonal = key_end - query_end;\n  const int tile_end = min(query_first + own_tile, query_end);\n  const int seen_end = causal ? min(key_end, tile_end + diagonal) : key_end;\n\n  constexpr u32 own_bytes = own_tile * row_bytes;\n  constexpr u32 half_stage = stream_tile * row_bytes;\n  const u32 query_tile = shared_address(shared_memory);\n  const u32 stages = query_tile + 2 * own_bytes;\n  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;\n  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;\n  auto load_step = [&](int first, int parity) {\n    const u32 stage = stages + parity * 2 * half_stage;\n    copy_tile<stream_tile, threads>(stage, next_key, key_stride, key_end - first, thread);\n    copy_tile<stream_tile, threads>(stage + half_stage, next_value, value_stride, key_end - first, thread);\n    close_copy_group();\n    next_key += stream_tile * key_stride;\n    next_value += stream_tile * value_stride;\n  };\n  const int valid_rows = query_end - query_first;\n  copy_tile<own_tile, threads>(query_tile, query + (long long)query_first * query_stride + head * HEAD_DIM,\n                               query_stride, valid_rows, thread);\n  copy_tile<own_tile, threads>(query_tile + own_bytes,\n                               output_gradient + (long long)query_first * output_gradient_stride + head * HEAD_DIM,\n                               output_gradient_stride, valid_rows, thread);\n  if (key_first < seen_end) load_step(key_first, 0);\n\n  const int warp_offset = warp * warp_rows;\n  const int warp_first = query_first + warp_offset;\n  const u32 query_warp = query_tile + warp_offset * row_bytes + row_major_lane(lane);\n  const float factor = scale * LOG2_E;\n  float sum[ROW_FRAGMENTS][head_pad / 8][4];\n  float offset[ROW_FRAGMENTS][2], mean[ROW_FRAGMENTS][2];\n  clear(sum);\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      const int row = warp_first + f * 16 + half * 8 + lane / 4;\n      const long long place = (long long)head * query_rows + row;\n      offset[f][half] = row < query_end ? log_sum[place] * LOG2_E : 0.0f;\n      mean[f][half] = row < query_end ? delta[place] : 0.0f;\n    }\n  }\n\n  int parity = 0;\n#pragma unroll 1\n  for (int step_first = key_first; step_first < seen_end; step_first += stream_tile, parity ^= 1) {\n    // The barrier makes this step's rows visible and says that all warps are through with the other stage.\n    wait_copy_groups<0>();\n    __syncthreads();\n    if (step_first + stream_tile < seen_end) load_step(step_first + stream_tile, parity ^ 1);\n    if (causal && step_first > warp_first + warp_rows - 1 + diagonal) continue;\n    const u32 key_tile = stages + parity * 2 * half_stage;\n    const u32 value_tile = key_tile + half_stage;\n\n    float p[ROW_FRAGMENTS][stream_tile / 8][4], ds[ROW_FRAGMENTS][stream_tile / 8][4];\n    clear(p);\n    multiply_transposed<ROW_FRAGMENTS, stream_tile>(p, query_warp, key_tile + column_major_lane(lane));\n    clear(ds);\n    multiply_transposed<ROW_FRAGMENTS, stream_tile>(ds, query_warp + own_bytes, value_tile + column_major_lane(lane));\n    // Keys past the end or not seen: their exp could overflow, so p is set, not multiplied.\n    const bool partial =\n        step_first + stream_tile > key_end || (causal && step_first + stream_tile - 1 > warp_first + diagonal);\n#pragma unroll\n    for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        const int row = warp_first + f * 16 + half * 8 + lane / 4;\n        const int limit =\n            partial ? (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2 : stream_tile;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n          for (int j = 0; j < 2; j++) {\n            const int c = 2 * half + j;\n            const float seen = n * 8 + j < limit ? exp2_fast(p[f][n][c] * factor - offset[f][half]) : 0.0f;\n            ds[f][n][c] = seen * (ds[f][n][c] - mean[f][half]);\n          }\n        }\n      }\n    }\n    u32 packed[ROW_FRAGMENTS][stream_tile / 16][4];\n    pack_tiles<ROW_FRAGMENTS, stream_tile>(packed, ds);\n    multiply_packed<ROW_FRAGMENTS, stream_tile>(sum, packed, key_tile + row_major_lane(lane));\n  }\n\n  if (key_first >= seen_end) {\n    wait_copy_groups<0>();\n    __syncthreads();\n  }\n  float result_factor[ROW_FRAGMENTS][2];\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) result_factor[f][0] = result_factor[f][1] = scale;\n  store_rows<ROW_FRAGMENTS>(query_gradient + (long long)warp_first * query_gradient_stride + head * HEAD_DIM,\n                            query_gradient_stride, query_end - warp_first, sum, result_factor,\n                            shared_memory + warp_offset * row_bytes, lane);\n}\n",
	"attention-decode.cu": "// Attention for one query row of a sequence over its cached keys, the H/K query heads of a key/value head at once.\n//\n//   s = q·kᵀ,  p = softmax(scale · s),  o = p·v\n//\n// The work is reading k and v once: a block takes a range of keys of one (query row, key/value head); its warps take\n// turns at tiles of STREAM_TILE keys, each with copies of its own one tile ahead, and never wait for each other until\n// their sums are merged at the end. The heads of the group are the rows of the 16-row tensor-core tile. A long range is\n// split over several blocks, which leave fp32 partial results; the last one to end adds them, in order.\n//\n// The same launch may turn q and k by their positions and append k and v to the cache (with a new_key): the block whose\n// item ends with the newest key turns it, puts it into its tile and writes it and the value to the last key row.\n//\n// Memory rule: q, o, k, v as in attention-forward.cu. partial_output fp32 [slots, H, D], partial_log_sum fp32 [slots,\n// H] (log2 of the scaled sums). cosine and sine fp32 [query rows, D/2], query_scale fp32 [query rows] or null. arrived:\n// u32 [slots, K], zeros before and after every launch.\n//\n// Launch of attention_decode: grid (K, work items), block 32 · WARPS, dynamic shared bytes\n// WARPS · 4 · STREAM_TILE · row_bytes. ROW_FRAGMENTS must be 1, H/K at most 16, H a multiple of K.\n// work: int4 (query row, + 2^30 if the range ends with the newest key; first key row; end of key rows; slot or -1): -1\n// writes bf16 o (buildDecodeWork). shares: int2 by slot (first slot of the same query row, their number).\n\nstatic_assert(ROW_FRAGMENTS == 1 && own_tile == 16 * WARPS, \"the heads of a group are one fragment of 16 rows\");\nstatic_assert(4 * STREAM_TILE * row_bytes >= 16 * (head_pad + 4) * 4, \"a warp's sums must fit where its tiles were\");\n\n/** Two neighbouring columns of a head, turned: `other` are those half a head away. */\nDEVICE u32 turn(u32 own, u32 other, bool upper, float2 cosine, float2 sine, float factor) {\n  const float sign = upper ? 1.0f : -1.0f;\n  return pack_bf16((bf16_low(own) * cosine.x + bf16_low(other) * (sine.x * sign)) * factor,\n                   (bf16_high(own) * cosine.y + bf16_high(other) * (sine.y * sign)) * factor);\n}\n\nextern \"C\" __global__ void __launch_bounds__(threads, MIN_BLOCKS)\n    attention_decode(bf16* __restrict__ output, float* partial_output, float* partial_log_sum,\n                     const bf16* __restrict__ query, bf16* key, bf16* value, const int4* __restrict__ work,\n                     const int2* __restrict__ shares, u32* NULLABLE arrived, const bf16* __restrict__ NULLABLE new_key,\n                     const bf16* __restrict__ NULLABLE new_value, const float* __restrict__ NULLABLE cosine,\n                     const float* __restrict__ NULLABLE sine, const float* __restrict__ NULLABLE query_scale,\n                     int output_stride, int query_stride, int key_stride, int value_stride, int new_key_stride,\n                     int new_value_stride, int heads, float scale) {\n  constexpr int half_head = HEAD_DIM / 2;\n  const int4 item = work[blockIdx.y];\n  const int row = item.x & 0x3fffffff, key_first = item.y, key_end = item.z, slot = item.w;\n  const bool appends = new_key && item.x >> 30;\n  const int kv_head = blockIdx.x;\n  const int group = heads / (int)gridDim.x;\n  const int head_first = kv_head * group;\n  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;\n  const int tiles = key_end > key_first ? (key_end - key_first + stream_tile - 1) / stream_tile : 0;\n\n  constexpr u32 half_stage = stream_tile * row_bytes;\n  unsigned char* warp_memory = shared_memory + warp * 4 * half_stage;\n  const u32 stages = shared_address(warp_memory);\n  const bf16* key_head = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;\n  const bf16* value_head = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;\n  auto load_tile = [&](int tile, int stage_index) {\n    const int first = tile * stream_tile;\n    // The newest key is not in the cache yet.\n    const int valid = key_end - key_first - first - (appends ? 1 : 0);\n    const u32 stage = stages + stage_index * 2 * half_stage;\n    copy_tile<stream_tile, 32>(stage, key_head + (long long)first * key_stride, key_stride, valid, lane);\n    copy_tile<stream_tile, 32>(stage + half_stage, value_head + (long long)first * value_stride, value_stride, valid,\n                               lane);\n  };\n  if (warp < tiles) load_tile(warp, 0);\n  close_copy_group();\n\n  // The newest key and value in pairs of columns: lane i has columns 2i and those half a head on.\n  const bool owns_newest = appends && warp == (tiles - 1) % WARPS && lane * 2 < half_head;\n  u32 newest[4];\n  if (owns_newest) {\n    const bf16* from_key = new_key + (long long)row * new_key_stride + kv_head * HEAD_DIM + lane * 2;\n    const bf16* from_value = new_value + (long long)row * new_value_stride + kv_head * HEAD_DIM + lane * 2;\n    const u32 lower = *(const u32*)from_key, upper = *(const u32*)(from_key + half_head);\n    const float2 c = *(const float2*)(cosine + row * half_head + lane * 2),\n                 s = *(const float2*)(sine + row * half_head + lane * 2);\n    newest[0] = turn(lower, upper, false, c, s, 1.0f);\n    newest[1] = turn(upper, lower, true, c, s, 1.0f);\n    newest[2] = *(const u32*)from_value;\n    newest[3] = *(const u32*)(from_value + half_head);\n    bf16* to_key = key + (long long)(key_end - 1) * key_stride + kv_head * HEAD_DIM + lane * 2;\n    bf16* to_value = value + (long long)(key_end - 1) * value_stride + kv_head * HEAD_DIM + lane * 2;\n    *(u32*)to_key = newest[0];\n    *(u32*)(to_key + half_head) = newest[1];\n    *(u32*)to_value = newest[2];\n    *(u32*)(to_value + half_head) = newest[3];\n  }\n\n  // The left operand straight from global memory: row g of the fragment is head g of the group.\n  u32 query_fragments[head_pad / 16][4];\n#pragma unroll\n  for (int d = 0; d < head_pad / 16; d++) {\n#pragma unroll\n    for (int part = 0; part < 4; part++) {\n      const int head = lane / 4 + part % 2 * 8;\n      const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;\n      query_fragments[d][part] =\n          head < group && column < HEAD_DIM\n              ? *(const u32*)(query + (long long)row * query_stride + (head_first + head) * HEAD_DIM + column)\n              : 0u;\n    }\n  }\n  if (new_key) {\n    const float* c_row = cosine + row * half_head;\n    const float* s_row = sine + row * half_head;\n    const float stretch = query_scale ? query_scale[row] : 1.0f;\n    if constexpr (half_head % 16 == 0) {\n      constexpr int apart = half_head / 16;  // a lane has both columns of every pair\n#pragma unroll\n      for (int d = 0; d < apart; d++) {\n#pragma unroll\n        for (int part = 0; part < 4; part++) {\n          const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;\n          const float2 c = *(const float2*)(c_row + column), s = *(const float2*)(s_row + column);\n          const u32 lower = query_fragments[d][part], upper = query_fragments[d + apart][part];\n          query_fragments[d][part] = turn(lower, upper, false, c, s, stretch);\n          query_fragments[d + apart][part] = turn(upper, lower, true, c, s, stretch);\n        }\n      }\n    } else {\n#pragma unroll\n      for (int d = 0; d < head_pad / 16; d++) {\n#pragma unroll\n        for (int part = 0; part < 4; part++) {\n          const int head = lane / 4 + part % 2 * 8;\n          const int column = d * 16 + lane % 4 * 2 + part / 2 * 8;\n          if (head >= group || column >= HEAD_DIM) continue;\n          const bool upper = column >= half_head;\n          const int i = upper ? column - half_head : column;\n          const u32 other = *(const u32*)(query + (long long)row * query_stride + (head_first + head) * HEAD_DIM +\n                                          (upper ? i : i + half_head));\n          query_fragments[d][part] = turn(query_fragments[d][part], other, upper, *(const float2*)(c_row + i),\n                                          *(const float2*)(s_row + i), stretch);\n        }\n      }\n    }\n  }\n  const float factor = scale * LOG2_E;\n  float sum[1][head_pad / 8][4];\n  float maximum[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, total[2] = {0.0f, 0.0f};\n  clear(sum);\n\n  int stage_index = 0;\n#pragma unroll 1\n  for (int tile = warp; tile < tiles; tile += WARPS, stage_index ^= 1) {\n    // All lanes are through with the other stage before it is filled again.\n    __syncwarp();\n    if (tile + WARPS < tiles) load_tile(tile + WARPS, stage_index ^ 1);\n    close_copy_group();\n    wait_copy_groups<1>();\n    __syncwarp();\n    if (appends && tile == tiles - 1) {\n      if (owns_newest) {\n        unsigned char* place = warp_memory + stage_index * 2 * half_stage +\n                               (key_end - 1 - key_first - tile * stream_tile) * row_bytes + lane * 4;\n        *(u32*)place = newest[0];\n        *(u32*)(place + 2 * half_head) = newest[1];\n        *(u32*)(place + half_stage) = newest[2];\n        *(u32*)(place + half_stage + 2 * half_head) = newest[3];\n      }\n      __syncwarp();\n    }\n    const u32 key_tile = stages + stage_index * 2 * half_stage + column_major_lane(lane);\n    const u32 value_tile = stages + stage_index * 2 * half_stage + half_stage + row_major_lane(lane);\n    float score[1][stream_tile / 8][4];\n    clear(score);\n#pragma unroll\n    for (int d = 0; d < head_pad / 16; d++) {\n#pragma unroll\n      for (int n = 0; n < stream_tile / 16; n++) {\n        u32 b[4];\n        load_matrices(b, key_tile + n * 16 * row_bytes + d * 32);\n        multiply_add(score[0][2 * n], query_fragments[d], b[0], b[1]);\n        multiply_add(score[0][2 * n + 1], query_fragments[d], b[2], b[3]);\n      }\n    }\n    const int limit = key_end - key_first - tile * stream_tile - lane % 4 * 2;\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      float largest = NEGATIVE_INFINITY;\n#pragma unroll\n      for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n        for (int j = 0; j < 2; j++) {\n          if (n * 8 + j >= limit) score[0][n][2 * half + j] = NEGATIVE_INFINITY;\n          largest = fmaxf(largest, score[0][n][2 * half + j]);\n        }\n      }\n      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));\n      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));\n      // A tile has at least one key, so the new maximum is finite.\n      largest = fmaxf(largest, maximum[half]);\n      const float correction = exp2_fast((maximum[half] - largest) * factor);\n      maximum[half] = largest;\n      total[half] *= correction;\n#pragma unroll\n      for (int n = 0; n < head_pad / 8; n++) {\n        sum[0][n][2 * half] *= correction;\n        sum[0][n][2 * half + 1] *= correction;\n      }\n#pragma unroll\n      for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n        for (int j = 2 * half; j < 2 * half + 2; j++) {\n          score[0][n][j] = exp2_fast(score[0][n][j] * factor - largest * factor);\n          total[half] += score[0][n][j];\n        }\n      }\n    }\n    u32 probability[1][stream_tile / 16][4];\n    pack_tiles<1, stream_tile>(probability, score);\n    multiply_packed<1, stream_tile>(sum, probability, value_tile);\n  }\n\n  // Merge: each warp leaves its rows [16][head_pad + 4] in fp32 (the sums, then maximum and total) over its own tiles.\n  wait_copy_groups<0>();\n  __syncwarp();\n  constexpr int merge_stride = head_pad + 4;\n#pragma unroll\n  for (int half = 0; half < 2; half++) {\n    float all = total[half];\n    all += __shfl_xor_sync(0xffffffffu, all, 1);\n    all += __shfl_xor_sync(0xffffffffu, all, 2);\n    float* target = (float*)warp_memory + (lane / 4 + half * 8) * merge_stride;\n#pragma unroll\n    for (int n = 0; n < head_pad / 8; n++) {\n      target[n * 8 + lane % 4 * 2] = sum[0][n][2 * half];\n      target[n * 8 + lane % 4 * 2 + 1] = sum[0][n][2 * half + 1];\n    }\n    if (lane % 4 == 0) {\n      target[head_pad] = maximum[half] * factor;\n      target[head_pad + 1] = all;\n    }\n  }\n  __syncthreads();\n  for (int index = thread; index < group * HEAD_DIM; index += threads) {\n    const int head = index / HEAD_DIM;\n    const int column = index % HEAD_DIM;\n    const float* first = (const float*)shared_memory + head * merge_stride;\n    float largest = NEGATIVE_INFINITY, all = 0.0f, result = 0.0f;\n    for (int w = 0; w < WARPS; w++) largest = fmaxf(largest, first[w * half_stage + head_pad]);\n    for (int w = 0; w < WARPS; w++) {\n      const float share =\n          first[w * half_stage + head_pad + 1] > 0.0f ? exp2_fast(first[w * half_stage + head_pad] - largest) : 0.0f;\n      all += share * first[w * half_stage + head_pad + 1];\n      result += share * first[w * half_stage + column];\n    }\n    result = all > 0.0f ? result / all : 0.0f;\n    const int target_head = head_first + head;\n    if (slot < 0) {\n      output[(long long)row * output_stride + target_head * HEAD_DIM + column] = (bf16)pack_bf16(result, 0.0f);\n    } else {\n      partial_output[((long long)slot * heads + target_head) * HEAD_DIM + column] = result;\n      if (column == 0)\n        partial_log_sum[(long long)slot * heads + target_head] =\n            all > 0.0f ? largest + log2_fast(all) : NEGATIVE_INFINITY;\n    }\n  }\n  if (slot < 0) return;\n\n  // The last block of a query row to come here adds the shares, in the order of their slots.\n  __shared__ bool is_last;\n  const int2 share = shares[slot];\n  __threadfence();\n  __syncthreads();\n  if (thread == 0) is_last = atomicInc(arrived + share.x * (int)gridDim.x + kv_head, share.y - 1) == (u32)share.y - 1;\n  __syncthreads();\n  if (!is_last) return;\n  __threadfence();\n  for (int index = thread; index < group * HEAD_DIM; index += threads) {\n    const int head = head_first + index / HEAD_DIM;\n    const int column = index % HEAD_DIM;\n    float largest = NEGATIVE_INFINITY, all = 0.0f, result = 0.0f;\n    for (int i = 0; i < share.y; i++)\n      largest = fmaxf(largest, __ldcg(partial_log_sum + (long long)(share.x + i) * heads + head));\n    for (int i = 0; i < share.y; i++) {\n      const long long place = (long long)(share.x + i) * heads + head;\n      const float part = largest == NEGATIVE_INFINITY ? 0.0f : exp2_fast(__ldcg(partial_log_sum + place) - largest);\n      all += part;\n      result += part * __ldcg(partial_output + place * HEAD_DIM + column);\n    }\n    output[(long long)row * output_stride + head * HEAD_DIM + column] =\n        (bf16)pack_bf16(all > 0.0f ? result / all : 0.0f, 0.0f);\n  }\n}\n",
	"attention-forward.cu": "// Attention, forward: one block for a tile of query rows of one head.\n//\n//   s = q·kᵀ,  p = softmax(scale · s) over the keys of the row's segment,  o = p·v,  lse = ln Σ exp(scale · s)\n//\n// The keys pass by in tiles with a running maximum m and sum l of each row (online softmax), in powers of two:\n// 2^(c·s - c·m) with c = scale · log2(e) is one multiply-add and one ex2. A row's m follows only when the new maximum\n// is more than 2^8 times larger: p stays below 256, where bf16 and fp32 lose nothing, and the rescaling of o is rare.\n// A row that sees no key (causal, more queries than keys) gives o = 0 and lse = -infinity.\n//\n// Memory rule: q, k, v, o are bf16 rows with any stride that is a multiple of 8 elements, 16-byte aligned; head h is\n// the columns h·D..h·D + D. lse is fp32 [H, Tq]; null means do not save it. Every output element of every row in `work`\n// is written once by one thread: the result does not depend on timing.\n//\n// Launch: grid (H, work items), block 32 · WARPS, dynamic shared bytes (own_tile + 4 · STREAM_TILE) · row_bytes.\n// work: int4 (first query row of the tile, end of its segment's query rows, first key row, end of its key rows), in\n// absolute rows, heaviest first (buildAttentionWork). Macros: see attention-tiles.cuh.\n\nconstexpr float rescale_threshold = 8.0f;\n\nextern \"C\" __global__ void __launch_bounds__(threads, MIN_BLOCKS)\n    attention_forward(bf16* __restrict__ output, float* __restrict__ NULLABLE log_sum, const bf16* __restrict__ query,\n                      const bf16* __restrict__ key, const bf16* __restrict__ value, const int4* __restrict__ work,\n                      int output_stride, int query_stride, int key_stride, int value_stride, int kv_heads,\n                      int query_rows, float scale, int causal) {\n  const int4 item = work[blockIdx.y];\n  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;\n  const int head = blockIdx.x;\n  const int kv_head = head * kv_heads / (int)gridDim.x;\n  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;\n  // Row r sees the keys up to and including r + diagonal.\n  const int diagonal = key_end - query_end;\n  const int tile_end = min(query_first + own_tile, query_end);\n  const int seen_end = causal ? min(key_end, tile_end + diagonal) : key_end;\n\n  const u32 query_tile = shared_address(shared_memory);\n  const u32 stages = query_tile + own_tile * row_bytes;\n  constexpr u32 stage_bytes = 2 * stream_tile * row_bytes;\n  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;\n  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;\n  auto load_step = [&](int first, int parity) {\n    const u32 stage = stages + parity * stage_bytes;\n    copy_tile<stream_tile, threads>(stage, next_key, key_stride, key_end - first, thread);\n    copy_tile<stream_tile, threads>(stage + stream_tile * row_bytes, next_value, value_stride, key_end - first, thread);\n    close_copy_group();\n    next_key += stream_tile * key_stride;\n    next_value += stream_tile * value_stride;\n  };\n  copy_tile<own_tile, threads>(query_tile, query + (long long)query_first * query_stride + head * HEAD_DIM,\n                               query_stride, query_end - query_first, thread);\n  if (key_first < seen_end) load_step(key_first, 0);\n\n  const int warp_first = query_first + warp * warp_rows;\n  const u32 query_warp = query_tile + warp * warp_rows * row_bytes + row_major_lane(lane);\n  const float factor = scale * LOG2_E;\n  float sum[ROW_FRAGMENTS][head_pad / 8][4];\n  float maximum[ROW_FRAGMENTS][2], total[ROW_FRAGMENTS][2];  // rows g and g + 8 of each fragment\n  clear(sum);\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) {\n    maximum[f][0] = maximum[f][1] = NEGATIVE_INFINITY;\n    total[f][0] = total[f][1] = 0.0f;\n  }\n\n  int parity = 0;\n#pragma unroll 1\n  for (int step_first = key_first; step_first < seen_end; step_first += stream_tile, parity ^= 1) {\n    // The barrier makes this step's rows visible and says that all warps are through with the other stage.\n    wait_copy_groups<0>();\n    __syncthreads();\n    if (step_first + stream_tile < seen_end) load_step(step_first + stream_tile, parity ^ 1);\n    if (causal && step_first > warp_first + warp_rows - 1 + diagonal) continue;\n    const u32 key_tile = stages + parity * stage_bytes;\n    const u32 value_tile = key_tile + stream_tile * row_bytes;\n\n    float score[ROW_FRAGMENTS][stream_tile / 8][4];\n    clear(score);\n    multiply_transposed<ROW_FRAGMENTS, stream_tile>(score, query_warp, key_tile + column_major_lane(lane));\n\n    if (step_first + stream_tile > key_end || (causal && step_first + stream_tile - 1 > warp_first + diagonal)) {\n#pragma unroll\n      for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          const int row = warp_first + f * 16 + half * 8 + lane / 4;\n          const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;\n#pragma unroll\n          for (int n = 0; n < stream_tile / 8; n++) {\n            if (n * 8 >= limit) score[f][n][2 * half] = NEGATIVE_INFINITY;\n            if (n * 8 + 1 >= limit) score[f][n][2 * half + 1] = NEGATIVE_INFINITY;\n          }\n        }\n      }\n    }\n\n#pragma unroll\n    for (int f = 0; f < ROW_FRAGMENTS; f++) {\n      float correction[2] = {1.0f, 1.0f};\n      bool moved = false;\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        float largest = NEGATIVE_INFINITY;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++)\n          largest = fmaxf(largest, fmaxf(score[f][n][2 * half], score[f][n][2 * half + 1]));\n        // The four lanes of a row hold its columns between them.\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));\n        // False for -infinity against -infinity (their difference is NaN): a row without keys so far.\n        if ((largest - maximum[f][half]) * factor > rescale_threshold) {\n          correction[half] = exp2_fast((maximum[f][half] - largest) * factor);\n          maximum[f][half] = largest;\n          moved = true;\n        }\n      }\n      if (__any_sync(0xffffffffu, moved)) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          total[f][half] *= correction[half];\n#pragma unroll\n          for (int n = 0; n < head_pad / 8; n++) {\n            sum[f][n][2 * half] *= correction[half];\n            sum[f][n][2 * half + 1] *= correction[half];\n          }\n        }\n      }\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        const float offset = maximum[f][half] == NEGATIVE_INFINITY ? 0.0f : maximum[f][half] * factor;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n          for (int j = 2 * half; j < 2 * half + 2; j++) {\n            score[f][n][j] = exp2_fast(score[f][n][j] * factor - offset);\n            total[f][half] += score[f][n][j];\n          }\n        }\n      }\n    }\n    u32 probability[ROW_FRAGMENTS][stream_tile / 16][4];\n    pack_tiles<ROW_FRAGMENTS, stream_tile>(probability, score);\n    multiply_packed<ROW_FRAGMENTS, stream_tile>(sum, probability, value_tile + row_major_lane(lane));\n  }\n\n  if (key_first >= seen_end) {\n    // The copy of the query tile must not land on the staged rows.\n    wait_copy_groups<0>();\n    __syncthreads();\n  }\n  float inverse[ROW_FRAGMENTS][2];\n#pragma unroll\n  for (int f = 0; f < ROW_FRAGMENTS; f++) {\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      float all = total[f][half];\n      all += __shfl_xor_sync(0xffffffffu, all, 1);\n      all += __shfl_xor_sync(0xffffffffu, all, 2);\n      inverse[f][half] = all > 0.0f ? 1.0f / all : 0.0f;\n      const int row = warp_first + f * 16 + half * 8 + lane / 4;\n      if (log_sum != nullptr && lane % 4 == 0 && row < query_end) {\n        log_sum[(long long)head * query_rows + row] =\n            all > 0.0f ? maximum[f][half] * scale + log2_fast(all) * LN_2 : NEGATIVE_INFINITY;\n      }\n    }\n  }\n  store_rows<ROW_FRAGMENTS>(output + (long long)warp_first * output_stride + head * HEAD_DIM, output_stride,\n                            query_end - warp_first, sum, inverse, shared_memory + warp * warp_rows * row_bytes, lane);\n}\n",
	"attention-warpgroup-backward-key-value.cu": "// Attention, backward, the key side, with warpgroup products: what attention-backward-key-value.cu does, for head sizes\n// 64 and 128 on sm_90a. The parameters and the formulas are the same; the order of the work is not:\n//\n//   step j:  dp = v·do_jᵀ in the background of  p = exp part of s_j;\n//            then  dv += p·do_j  in that of  ds = p ⊙ (dp - delta);\n//            then, one behind the other:  dk += ds·q_j,  s_(j+1) = k·q_(j+1)ᵀ\n//\n// Query rows and their gradients pass through STAGES stages. TEAMS 2: two teams of WARPS warps, each with all key rows\n// of the tile and every other step, whose sums are added at the end: so the longest block is half as long. Teams do not\n// wait for each other before.\n//\n// Launch: grid (K, work items), block 32 · WARPS · TEAMS, dynamic shared bytes\n// own_tile · 4 · D + TEAMS · STAGES · STREAM_TILE · (4 · D + 8). H/K must be a multiple of GROUP.\n// work: as in attention-backward-key-value.cu with own_tile key rows a tile. Macros: see warpgroup-tiles.cuh.\n\n// dv's product over the last 16 query rows comes late: four registers less where they are fewest.\nconstexpr int packed_first = stream_tile / 16 - 1;\nconstexpr int stream_positions = stream_tile / GROUP;\nstatic_assert(TEAMS == 1 || TEAMS == 2, \"the sums of two teams are exchanged\");\nstatic_assert(TEAMS == 1 || own_tile * 4 * HEAD_DIM + TEAMS * STAGES * stream_tile * (4 * HEAD_DIM + 8) >=\n                                own_tile * 8 * HEAD_DIM,\n              \"a team's sums must fit where the tiles were\");\n\nextern \"C\" __global__ void __launch_bounds__(threads* TEAMS, MIN_BLOCKS)\n    attention_backward_key_value(bf16* __restrict__ key_gradient, bf16* __restrict__ value_gradient,\n                                 const bf16* __restrict__ output_gradient, const bf16* __restrict__ query,\n                                 const bf16* __restrict__ key, const bf16* __restrict__ value,\n                                 const float* __restrict__ log_sum, const float* __restrict__ delta,\n                                 const int4* __restrict__ work, int key_gradient_stride, int value_gradient_stride,\n                                 int output_gradient_stride, int query_stride, int key_stride, int value_stride,\n                                 int heads, int query_rows, float scale, int causal) {\n  const int4 item = work[blockIdx.y];\n  const int key_first = item.x, key_end = item.y, query_end = item.w;\n  const int kv_head = blockIdx.x, group_heads = heads / (int)gridDim.x;\n  const int team = TEAMS == 1 ? 0 : __shfl_sync(0xffffffffu, threadIdx.x / threads, 0);\n  const int thread = threadIdx.x % threads, lane = thread % 32, warp = __shfl_sync(0xffffffffu, thread / 32, 0);\n  // Row r sees the keys up to and including r + diagonal, so these keys are seen from row key_first - diagonal on.\n  const int diagonal = key_end - query_end;\n  const int query_first = causal ? max(item.z, key_first - diagonal) : item.z;\n  const int head_tiles = max(0, (query_end - query_first + stream_positions - 1) / stream_positions);\n  const int steps = (group_heads / GROUP * head_tiles - team + TEAMS - 1) / TEAMS;\n\n  constexpr u32 own_bytes = own_tile * HEAD_DIM * 2;\n  constexpr u32 half_stage = stream_tile * HEAD_DIM * 2;  // query rows, then their gradients\n  constexpr u32 statistics_bytes = 8 * stream_tile;       // lse, delta\n  const u32 key_tile = shared_address(shared_memory);\n  const u32 stages = key_tile + 2 * own_bytes + team * (STAGES * 2 * half_stage);\n  constexpr u32 all_statistics = 2 * own_bytes + TEAMS * STAGES * 2 * half_stage;\n  const u32 statistics_offset = all_statistics + team * (STAGES * statistics_bytes);\n  // A step's place among the heads' query tiles; the copies are ahead of the products and keep their own.\n  auto advance = [&](int& row) {\n    row += TEAMS * stream_positions;\n    int heads_on = 0;\n    while (row >= query_end) {\n      row -= head_tiles * stream_positions;\n      heads_on += GROUP;\n    }\n    return heads_on;\n  };\n  auto following = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == 2 ? 0 : stage + 1; };\n  int load_row = query_first + (team - TEAMS) * stream_positions, load_head = kv_head * group_heads;\n  auto load_step = [&](int step, int stage) {\n    if (step < steps) {\n      load_head += advance(load_row);\n      const u32 rows = stages + stage * (2 * half_stage);\n      const int valid = query_end - load_row;\n      copy_rows<stream_tile, GROUP, threads>(rows, query + (long long)load_row * query_stride + load_head * HEAD_DIM,\n                                             query_stride, valid, thread);\n      copy_rows<stream_tile, GROUP, threads>(\n          rows + half_stage, output_gradient + (long long)load_row * output_gradient_stride + load_head * HEAD_DIM,\n          output_gradient_stride, valid, thread);\n      const u32 statistics = key_tile + statistics_offset + stage * statistics_bytes;\n      const long long first = (long long)load_head * query_rows + load_row;\n#pragma unroll\n      for (int i = 0; i < (2 * stream_tile + threads - 1) / threads; i++) {\n        const int index = i * threads + thread, m = index % stream_tile;\n        if (2 * stream_tile % threads == 0 || index < 2 * stream_tile) {\n          copy_4_bytes(\n              statistics + 4 * index,\n              (index < stream_tile ? log_sum : delta) + first + (long long)(m % GROUP) * query_rows + m / GROUP,\n              m / GROUP < valid);\n        }\n      }\n    }\n    close_copy_group();\n  };\n  const int valid_keys = key_end - key_first;\n  copy_rows<own_tile, 1, threads * TEAMS>(key_tile, key + (long long)key_first * key_stride + kv_head * HEAD_DIM,\n                                          key_stride, valid_keys, threadIdx.x);\n  copy_rows<own_tile, 1, threads * TEAMS>(key_tile + own_bytes,\n                                          value + (long long)key_first * value_stride + kv_head * HEAD_DIM,\n                                          value_stride, valid_keys, threadIdx.x);\n  load_step(0, 0);\n  if (STAGES == 3) load_step(1, 1);\n\n  const int group_first = key_first + warp / 4 * 64;\n  const int row_first = key_first + warp * 16 + lane / 4;  // and eight rows on\n  const float factor = scale * LOG2_E;\n  float key_sum[HEAD_DIM / 8][4], value_sum[HEAD_DIM / 8][4];\n  float p[stream_tile / 8][4];\n  clear(key_sum);\n  clear(value_sum);\n  const u64 rows = describe_rows(stages, stream_tile * 128);\n\n  wait_copy_groups<STAGES - 2>();\n  publish_rows();\n  __syncthreads();\n  const u64 keys = describe_rows(key_tile + warp / 4 * (64 * 128), own_tile * 128);\n  auto multiply_keys = [&](u64 queries) { multiply_transposed<own_tile>(p, keys, queries); };\n  auto multiply_values = [&](float(&ds)[stream_tile / 8][4], u64 gradients) {\n    multiply_transposed<own_tile>(ds, keys + own_bytes / 16, gradients);\n  };\n  if (steps > 0) {\n    fence_products();\n    multiply_keys(rows);\n    close_products();\n    wait_products<0>();\n    hold(p);\n  }\n  int tile_row = query_first + (team - TEAMS) * stream_positions, stage = 0;\n\n#pragma unroll 1\n  for (int step = 0; step < steps; step++) {\n    const u64 queries = rows + stage * (2 * half_stage / 16), gradients = queries + half_stage / 16;\n    const float* statistics =\n        (const float*)(shared_memory + statistics_offset + stage * statistics_bytes) + lane % 4 * 2;\n    advance(tile_row);\n    // Made anew in each step, so that no register carries what is not needed.\n    float ds[stream_tile / 8][4];\n    u32 packed_p[packed_first][4], packed_last[1][4], packed_ds[stream_tile / 16][4];\n    fence_products();\n    multiply_values(ds, gradients);\n    close_products();\n    if (STAGES == 2) {\n      // The last step's rows are not read any more once every warp is here.\n      synchronize_threads<threads>(team);\n      load_step(step + 1, stage ^ 1);\n    }\n#pragma unroll\n    for (int n = 0; n < stream_tile / 8; n++) {\n      const float2 log_sums = *(const float2*)(statistics + n * 8);\n      const float even = log_sums.x * LOG2_E, odd = log_sums.y * LOG2_E;\n      p[n][0] = exp2_fast(p[n][0] * factor - even);\n      p[n][1] = exp2_fast(p[n][1] * factor - odd);\n      p[n][2] = exp2_fast(p[n][2] * factor - even);\n      p[n][3] = exp2_fast(p[n][3] * factor - odd);\n    }\n    if (causal && group_first + 63 > tile_row + diagonal) {\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        // The first column of this tile that sees the key of this row.\n        const int limit = (row_first + half * 8 - diagonal - tile_row) * GROUP - lane % 4 * 2;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++) {\n          if (n * 8 < limit) p[n][2 * half] = 0.0f;\n          if (n * 8 + 1 < limit) p[n][2 * half + 1] = 0.0f;\n        }\n      }\n    }\n    pack_tiles(packed_p, p);\n    hold(packed_p);\n    fence_products();\n    multiply_packed(value_sum, packed_p, gradients);\n    close_products();\n\n    wait_products<1>();\n    hold(ds);\n#pragma unroll\n    for (int n = 0; n < stream_tile / 8; n++) {\n      const float2 means = *(const float2*)(statistics + stream_tile + n * 8);\n      ds[n][0] = p[n][0] * (ds[n][0] - means.x);\n      ds[n][1] = p[n][1] * (ds[n][1] - means.y);\n      ds[n][2] = p[n][2] * (ds[n][2] - means.x);\n      ds[n][3] = p[n][3] * (ds[n][3] - means.y);\n    }\n    wait_products<0>();\n    hold(value_sum);\n    hold(ds);\n    pack_tiles<packed_first>(packed_last, p);\n    pack_tiles(packed_ds, ds);\n\n    wait_copy_groups<0>();\n    publish_rows();\n    synchronize_threads<threads>(team);\n    if (STAGES == 3) load_step(step + 2, following(following(stage)));\n    stage = following(stage);\n    hold(packed_last);\n    hold(packed_ds);\n    if (step + 1 < steps) {\n      fence_products();\n      multiply_packed(value_sum, packed_last, gradients + packed_first * 128);\n      multiply_packed(key_sum, packed_ds, queries);\n      multiply_keys(rows + stage * (2 * half_stage / 16));\n      close_products();\n      wait_products<0>();\n      hold(value_sum);\n      hold(key_sum);\n      hold(p);\n    } else {\n      fence_products();\n      multiply_packed(value_sum, packed_last, gradients + packed_first * 128);\n      multiply_packed(key_sum, packed_ds, queries);\n      close_products();\n      wait_products<0>();\n      hold(value_sum);\n      hold(key_sum);\n    }\n  }\n  // Nothing is under way and nobody reads the tiles any more.\n  wait_copy_groups<0>();\n  __syncthreads();\n\n  const float key_factor[2] = {scale, scale}, value_factor[2] = {1.0f, 1.0f};\n  const int warp_first = key_first + warp * 16;\n  unsigned char* staging = shared_memory + (TEAMS == 1 ? 0 : team * own_bytes) + warp * 16 * HEAD_DIM * 2;\n  auto store_keys = [&]() {\n    store_rows<1>(key_gradient + (long long)warp_first * key_gradient_stride + kv_head * HEAD_DIM, key_gradient_stride,\n                  key_end - warp_first, key_sum, key_factor, staging, lane);\n  };\n  auto store_values = [&]() {\n    store_rows<1>(value_gradient + (long long)warp_first * value_gradient_stride + kv_head * HEAD_DIM,\n                  value_gradient_stride, key_end - warp_first, value_sum, value_factor, staging, lane);\n  };\n  if constexpr (TEAMS == 1) {\n    store_keys();\n    store_values();\n  } else {\n    // The first team finishes dk, the second dv: each gives the other its sums, lane by lane.\n    float* exchange = (float*)shared_memory + thread;\n    constexpr int other = HEAD_DIM / 2 * threads;\n    if (team == 0) {\n      visit_results(value_sum, [&](int i, float& x) { exchange[i * threads] = x; });\n    } else {\n      visit_results(key_sum, [&](int i, float& x) { exchange[other + i * threads] = x; });\n    }\n    __syncthreads();\n    if (team == 0) {\n      visit_results(key_sum, [&](int i, float& x) { x += exchange[other + i * threads]; });\n    } else {\n      visit_results(value_sum, [&](int i, float& x) { x = exchange[i * threads] + x; });\n    }\n    __syncthreads();\n    if (team == 0) {\n      store_keys();\n    } else {\n      store_values();\n    }\n  }\n}\n",
	"attention-warpgroup-backward-query.cu": "// Attention, backward, the query side, with warpgroup products: what attention-backward-query.cu does after the row\n// sums delta, for head sizes 64 and 128 on sm_90a. The parameters and the formulas are the same; the order of the work\n// is not:\n//\n//   step j:  dp = do·v_jᵀ in the background of  p = exp part of s_j;  ds = p ⊙ (dp - delta);\n//            then, one behind the other:  dq += ds·k_j,  s_(j+1) = q·k_(j+1)ᵀ\n//\n// Keys and values pass through STAGES stages. With 2 the warps meet twice a step; with more they report at its start\n// what they have read and copied, and early ones go on until the products that need it.\n//\n// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes (own_tile + STAGES · STREAM_TILE) · 4 ·\n// D. work: as in attention-forward.cu with own_tile / GROUP query rows a tile. Macros: see warpgroup-tiles.cuh.\n\nconstexpr int own_positions = own_tile / GROUP;\n\nextern \"C\" __global__ void __launch_bounds__(threads, MIN_BLOCKS)\n    attention_backward_query(bf16* __restrict__ query_gradient, const bf16* __restrict__ output_gradient,\n                             const bf16* __restrict__ query, const bf16* __restrict__ key,\n                             const bf16* __restrict__ value, const float* __restrict__ log_sum,\n                             const float* __restrict__ delta, const int4* __restrict__ work, int query_gradient_stride,\n                             int output_gradient_stride, int query_stride, int key_stride, int value_stride,\n                             int kv_heads, int query_rows, float scale, int causal) {\n  __shared__ Arrivals arrivals;\n  const int4 item = work[blockIdx.y];\n  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;\n  const int head_first = blockIdx.x * GROUP;\n  const int kv_head = blockIdx.x * kv_heads / (int)gridDim.x;\n  const int thread = threadIdx.x, lane = thread % 32, warp = __shfl_sync(0xffffffffu, thread / 32, 0);\n  // Row r sees the keys up to and including r + diagonal.\n  const int diagonal = key_end - query_end;\n  const int seen_end = causal ? min(key_end, min(query_first + own_positions, query_end) + diagonal) : key_end;\n  const int steps = max(0, (seen_end - key_first + stream_tile - 1) / stream_tile);\n  // A warpgroup may see less than the block, or have no rows at all.\n  const int group_first = query_first + warp / 4 * (64 / GROUP);\n  const int group_seen = causal ? min(seen_end, group_first + 64 / GROUP + diagonal) : seen_end;\n  const int group_steps =\n      group_first < query_end ? max(0, (group_seen - key_first + stream_tile - 1) / stream_tile) : 0;\n\n  constexpr u32 own_bytes = own_tile * HEAD_DIM * 2;\n  constexpr u32 half_stage = stream_tile * HEAD_DIM * 2;  // keys, then values\n  const u32 query_tile = shared_address(shared_memory);\n  const u32 stages = query_tile + 2 * own_bytes;\n  auto load_step = [&](int step, int stage) {\n    if (step < steps) {\n      const int first = key_first + step * stream_tile;\n      const u32 rows = stages + stage * (2 * half_stage);\n      copy_rows<stream_tile, 1, threads>(rows, key + (long long)first * key_stride + kv_head * HEAD_DIM, key_stride,\n                                         key_end - first, thread);\n      copy_rows<stream_tile, 1, threads>(rows + half_stage,\n                                         value + (long long)first * value_stride + kv_head * HEAD_DIM, value_stride,\n                                         key_end - first, thread);\n    }\n    close_copy_group();\n  };\n  auto following = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == STAGES - 1 ? 0 : stage + 1; };\n  copy_rows<own_tile, GROUP, threads>(query_tile, query + (long long)query_first * query_stride + head_first * HEAD_DIM,\n                                      query_stride, query_end - query_first, thread);\n  copy_rows<own_tile, GROUP, threads>(\n      query_tile + own_bytes, output_gradient + (long long)query_first * output_gradient_stride + head_first * HEAD_DIM,\n      output_gradient_stride, query_end - query_first, thread);\n#pragma unroll\n  for (int step = 0; step < STAGES - 1; step++) load_step(step, step);\n  if (STAGES > 2 && thread == 0) prepare(arrivals, WARPS);\n\n  float offset[2], mean[2];  // rows g and g + 8\n#pragma unroll\n  for (int half = 0; half < 2; half++) {\n    const int m = warp * 16 + half * 8 + lane / 4, row = query_first + m / GROUP;\n    const long long place = (long long)(head_first + m % GROUP) * query_rows + row;\n    const float sum = row < query_end ? log_sum[place] : 0.0f;\n    // A row without keys has only scores of -infinity.\n    offset[half] = sum == NEGATIVE_INFINITY ? 0.0f : sum * LOG2_E;\n    mean[half] = row < query_end ? delta[place] : 0.0f;\n  }\n  const float factor = scale * LOG2_E;\n  float sum[HEAD_DIM / 8][4], p[stream_tile / 8][4];\n  clear(sum);\n  const u64 rows = describe_rows(stages, stream_tile * 128);\n\n  wait_copy_groups<STAGES - 2>();\n  publish_rows();\n  __syncthreads();\n  const u64 queries = describe_rows(query_tile + warp / 4 * (64 * 128), own_tile * 128);\n  auto multiply_queries = [&](u64 keys) { multiply_transposed<own_tile>(p, queries, keys); };\n  auto multiply_gradients = [&](float(&ds)[stream_tile / 8][4], u64 values) {\n    multiply_transposed<own_tile>(ds, queries + own_bytes / 16, values);\n  };\n  if (group_steps > 0) {\n    fence_products();\n    multiply_queries(rows);\n    close_products();\n    wait_products<0>();\n    hold(p);\n  }\n\n  int stage = 0;\n#pragma unroll 1\n  for (int step = 0; step < steps; step++) {\n    const u64 keys = rows + stage * (2 * half_stage / 16);\n    u32 packed[stream_tile / 16][4];\n    if (STAGES == 2) {\n      // The last step's rows are not read any more once every warp is here.\n      __syncthreads();\n      load_step(step + 1, stage ^ 1);\n    } else {\n      // The last step's rows are not read any more by this warp, and what it copied of the next step's has come.\n      wait_copy_groups<(STAGES > 2 ? STAGES - 3 : 0)>();\n      publish_rows();\n      __syncwarp();\n      if (lane == 0) arrive(arrivals);\n    }\n    if (step < group_steps) {\n      float ds[stream_tile / 8][4];\n      fence_products();\n      multiply_gradients(ds, keys + half_stage / 16);\n      close_products();\n      const int step_first = key_first + step * stream_tile;\n      if (step_first + stream_tile > key_end ||\n          (causal && step_first + stream_tile - 1 > query_first + warp * 16 / GROUP + diagonal)) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          const int row = query_first + (warp * 16 + half * 8 + lane / 4) / GROUP;\n          const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;\n#pragma unroll\n          for (int n = 0; n < stream_tile / 8; n++) {\n            if (n * 8 >= limit) p[n][2 * half] = NEGATIVE_INFINITY;\n            if (n * 8 + 1 >= limit) p[n][2 * half + 1] = NEGATIVE_INFINITY;\n          }\n        }\n      }\n#pragma unroll\n      for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n        for (int j = 0; j < 4; j++) p[n][j] = exp2_fast(p[n][j] * factor - offset[j / 2]);\n      }\n      wait_products<0>();\n      hold(ds);\n#pragma unroll\n      for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n        for (int j = 0; j < 4; j++) ds[n][j] = p[n][j] * (ds[n][j] - mean[j / 2]);\n      }\n      pack_tiles(packed, ds);\n    }\n\n    if (STAGES == 2) {\n      wait_copy_groups<0>();\n      publish_rows();\n      __syncthreads();\n    } else {\n      await(arrivals, step);\n      load_step(step + STAGES - 1, stage == 0 ? STAGES - 1 : stage - 1);\n    }\n    stage = following(stage);\n    if (step + 1 < group_steps) {\n      hold(packed);\n      fence_products();\n      multiply_packed(sum, packed, keys);\n      multiply_queries(rows + stage * (2 * half_stage / 16));\n      close_products();\n      wait_products<0>();\n      hold(sum);\n      hold(p);\n    } else if (step < group_steps) {\n      hold(packed);\n      fence_products();\n      multiply_packed(sum, packed, keys);\n      close_products();\n      wait_products<0>();\n      hold(sum);\n    }\n  }\n\n  // Nothing is under way and nobody reads the tiles any more.\n  wait_copy_groups<0>();\n  __syncthreads();\n  const float result_factor[2] = {scale, scale};\n  const int warp_first = query_first + warp * 16 / GROUP;\n  store_rows<GROUP>(\n      query_gradient + (long long)warp_first * query_gradient_stride + (head_first + warp * 16 % GROUP) * HEAD_DIM,\n      query_gradient_stride, query_end - warp_first, sum, result_factor, shared_memory + warp * 16 * HEAD_DIM * 2,\n      lane);\n}\n",
	"attention-warpgroup-forward.cu": "// Attention, forward, with warpgroup products: what attention-forward.cu does, for head sizes 64 and 128 on sm_90a. The\n// parameters, the statistics and the rescaling rule are the same; the order of the work is not:\n//\n//   step j:  p = softmax part of s_j;  then in the background, one behind the other:  o += p·v_j,  s_(j+1) = q·k_(j+1)ᵀ\n//\n// so a warpgroup waits once a step, and the tensor cores are fed by the warpgroups that are not in their exponentials.\n// Keys run one step ahead of values, each through STAGES stages of its own. With 2 stages warps meet before the\n// products; with more they report at the start of a step what they have read and copied, and early ones go on for\n// half a step.\n//\n// Launch: grid (H / GROUP, work items), block 32 · WARPS, dynamic shared bytes\n// (own_tile + 2 · STAGES · STREAM_TILE) · 2 · D. work: as in attention-forward.cu with own_tile / GROUP query rows a\n// tile. Macros: see warpgroup-tiles.cuh.\n\nconstexpr float rescale_threshold = 8.0f;\nconstexpr int own_positions = own_tile / GROUP;\nconstexpr int ahead = STAGES - 1;  // steps that copies of values are ahead, those of keys one more\n\nextern \"C\" __global__ void __launch_bounds__(threads, MIN_BLOCKS)\n    attention_forward(bf16* __restrict__ output, float* __restrict__ NULLABLE log_sum, const bf16* __restrict__ query,\n                      const bf16* __restrict__ key, const bf16* __restrict__ value, const int4* __restrict__ work,\n                      int output_stride, int query_stride, int key_stride, int value_stride, int kv_heads,\n                      int query_rows, float scale, int causal) {\n  __shared__ Arrivals arrivals;\n  const int4 item = work[blockIdx.y];\n  const int query_first = item.x, query_end = item.y, key_first = item.z, key_end = item.w;\n  const int head_first = blockIdx.x * GROUP;\n  const int kv_head = blockIdx.x * kv_heads / (int)gridDim.x;\n  const int thread = threadIdx.x, lane = thread % 32, warp = __shfl_sync(0xffffffffu, thread / 32, 0);\n  // Row r sees the keys up to and including r + diagonal.\n  const int diagonal = key_end - query_end;\n  const int seen_end = causal ? min(key_end, min(query_first + own_positions, query_end) + diagonal) : key_end;\n  const int steps = max(0, (seen_end - key_first + stream_tile - 1) / stream_tile);\n  // A warpgroup may see less than the block, or have no rows at all.\n  const int group_first = query_first + warp / 4 * (64 / GROUP);\n  const int group_seen = causal ? min(seen_end, group_first + 64 / GROUP + diagonal) : seen_end;\n  const int group_steps =\n      group_first < query_end ? max(0, (group_seen - key_first + stream_tile - 1) / stream_tile) : 0;\n\n  constexpr u32 stage_bytes = stream_tile * HEAD_DIM * 2;\n  const u32 query_tile = shared_address(shared_memory);\n  const u32 key_stages = query_tile + own_tile * HEAD_DIM * 2;\n  const u32 value_stages = key_stages + STAGES * stage_bytes;\n  const bf16* next_key = key + (long long)key_first * key_stride + kv_head * HEAD_DIM;\n  const bf16* next_value = value + (long long)key_first * value_stride + kv_head * HEAD_DIM;\n  auto following = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == STAGES - 1 ? 0 : stage + 1; };\n  auto preceding = [](int stage) { return STAGES == 2 ? stage ^ 1 : stage == 0 ? STAGES - 1 : stage - 1; };\n  auto load_keys = [&](int step, int stage) {\n    if (step < steps)\n      copy_rows<stream_tile, 1, threads>(key_stages + stage * stage_bytes, next_key, key_stride,\n                                         key_end - key_first - step * stream_tile, thread);\n    next_key += (long long)stream_tile * key_stride;\n  };\n  auto load_values = [&](int step, int stage) {\n    if (step < steps)\n      copy_rows<stream_tile, 1, threads>(value_stages + stage * stage_bytes, next_value, value_stride,\n                                         key_end - key_first - step * stream_tile, thread);\n    next_value += (long long)stream_tile * value_stride;\n  };\n  copy_rows<own_tile, GROUP, threads>(query_tile, query + (long long)query_first * query_stride + head_first * HEAD_DIM,\n                                      query_stride, query_end - query_first, thread);\n  load_keys(0, 0);\n  close_copy_group();\n#pragma unroll\n  for (int step = 0; step < ahead; step++) {\n    load_values(step, step);\n    load_keys(step + 1, following(step));\n    close_copy_group();\n  }\n  if (STAGES > 2 && thread == 0) prepare(arrivals, WARPS);\n\n  const u64 keys = describe_rows(key_stages, stream_tile * 128);\n  const u64 values = describe_rows(value_stages, stream_tile * 128);\n  const float factor = scale * LOG2_E;\n  float score[stream_tile / 8][4], sum[HEAD_DIM / 8][4];\n  float maximum[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, total[2] = {0.0f, 0.0f};  // rows g and g + 8\n  clear(sum);\n\n  wait_copy_groups<ahead>();\n  publish_rows();\n  __syncthreads();\n#if OWN_IN_REGISTERS\n  u32 query_left[head_steps][4];\n  load_left<own_tile>(query_left, query_tile, warp * 16, lane);\n  auto multiply_keys = [&](int stage) { multiply_transposed(score, query_left, keys + stage * (stage_bytes / 16)); };\n#else\n  const u64 query_left = describe_rows(query_tile + warp / 4 * (64 * 128), own_tile * 128);\n  auto multiply_keys = [&](int stage) {\n    multiply_transposed<own_tile>(score, query_left, keys + stage * (stage_bytes / 16));\n  };\n#endif\n  if (group_steps > 0) {\n    fence_products();\n    multiply_keys(0);\n    close_products();\n    wait_products<0>();\n    hold(score);\n  }\n\n  int stage = 0;\n#pragma unroll 1\n  for (int step = 0; step < steps; step++) {\n    if (STAGES > 2) {\n      wait_copy_groups<ahead - 1>();\n      publish_rows();\n      __syncwarp();\n      if (lane == 0) arrive(arrivals);\n    }\n    u32 probability[stream_tile / 16][4];\n    if (step < group_steps) {\n      const int step_first = key_first + step * stream_tile;\n      if (step_first + stream_tile > key_end ||\n          (causal && step_first + stream_tile - 1 > query_first + warp * 16 / GROUP + diagonal)) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          const int row = query_first + (warp * 16 + half * 8 + lane / 4) / GROUP;\n          const int limit = (causal ? min(key_end, row + diagonal + 1) : key_end) - step_first - lane % 4 * 2;\n#pragma unroll\n          for (int n = 0; n < stream_tile / 8; n++) {\n            if (n * 8 >= limit) score[n][2 * half] = NEGATIVE_INFINITY;\n            if (n * 8 + 1 >= limit) score[n][2 * half + 1] = NEGATIVE_INFINITY;\n          }\n        }\n      }\n      float correction[2] = {1.0f, 1.0f};\n      bool moved = false;\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        float even = NEGATIVE_INFINITY, odd = NEGATIVE_INFINITY;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++) {\n          even = fmaxf(even, score[n][2 * half]);\n          odd = fmaxf(odd, score[n][2 * half + 1]);\n        }\n        float largest = fmaxf(even, odd);\n        // The four lanes of a row hold its columns between them.\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));\n        // False for -infinity against -infinity (their difference is NaN): a row without keys so far.\n        if ((largest - maximum[half]) * factor > rescale_threshold) {\n          correction[half] = exp2_fast((maximum[half] - largest) * factor);\n          maximum[half] = largest;\n          moved = true;\n        }\n      }\n      if (__any_sync(0xffffffffu, moved)) {\n#pragma unroll\n        for (int half = 0; half < 2; half++) {\n          total[half] *= correction[half];\n#pragma unroll\n          for (int n = 0; n < HEAD_DIM / 8; n++) {\n            sum[n][2 * half] *= correction[half];\n            sum[n][2 * half + 1] *= correction[half];\n          }\n        }\n      }\n#pragma unroll\n      for (int half = 0; half < 2; half++) {\n        const float offset = maximum[half] == NEGATIVE_INFINITY ? 0.0f : maximum[half] * factor;\n#pragma unroll\n        for (int n = 0; n < stream_tile / 8; n++) {\n#pragma unroll\n          for (int j = 2 * half; j < 2 * half + 2; j++) {\n            score[n][j] = exp2_fast(score[n][j] * factor - offset);\n            total[half] += score[n][j];\n          }\n        }\n      }\n      pack_tiles(probability, score);\n    }\n\n    // After the barrier the next keys and these values have arrived; no warpgroup still reads the last values or keys.\n    if (STAGES > 2) {\n      await(arrivals, step);\n    } else {\n      wait_copy_groups<0>();\n      publish_rows();\n      __syncthreads();\n    }\n    load_values(step + ahead, preceding(stage));\n    load_keys(step + ahead + 1, stage);\n    close_copy_group();\n    if (step + 1 < group_steps) {\n      hold(probability);\n      hold(sum);\n      fence_products();\n      multiply_packed(sum, probability, values + stage * (stage_bytes / 16));\n      multiply_keys(following(stage));\n      close_products();\n      wait_products<0>();\n      hold(sum);\n      hold(score);\n    } else if (step < group_steps) {\n      hold(probability);\n      hold(sum);\n      fence_products();\n      multiply_packed(sum, probability, values + stage * (stage_bytes / 16));\n      close_products();\n      wait_products<0>();\n      hold(sum);\n    }\n    stage = following(stage);\n  }\n\n  float inverse[2];\n#pragma unroll\n  for (int half = 0; half < 2; half++) {\n    float all = total[half];\n    all += __shfl_xor_sync(0xffffffffu, all, 1);\n    all += __shfl_xor_sync(0xffffffffu, all, 2);\n    inverse[half] = all > 0.0f ? 1.0f / all : 0.0f;\n    const int m = warp * 16 + half * 8 + lane / 4;\n    const int row = query_first + m / GROUP;\n    if (log_sum != nullptr && lane % 4 == 0 && row < query_end) {\n      log_sum[(long long)(head_first + m % GROUP) * query_rows + row] =\n          all > 0.0f ? maximum[half] * scale + log2_fast(all) * LN_2 : NEGATIVE_INFINITY;\n    }\n  }\n  // The copies of the query tile, which are waited for in the loop where there is one, must not land on the staged\n  // rows.\n  wait_copy_groups<0>();\n  __syncthreads();\n  const int warp_first = query_first + warp * 16 / GROUP;\n  store_rows<GROUP>(output + (long long)warp_first * output_stride + (head_first + warp * 16 % GROUP) * HEAD_DIM,\n                    output_stride, query_end - warp_first, sum, inverse, shared_memory + warp * 16 * HEAD_DIM * 2,\n                    lane);\n}\n",
	"common.cu": "// Shared helpers, put before every kernel file as text: NVRTC sees no #include. Data are bf16, arithmetic is fp32.\n//\n// Lane layout (g = lane / 4, t = lane % 4) of mma.m16n8k16, from the PTX reference:\n//   a[0..3]: rows g, g+8, g, g+8; depths 2t, 2t, 2t+8, 2t+8 (two neighbours a register)\n//   b[0..1]: depths 2t, 2t+8 of column g\n//   c[0..3]: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)\n\ntypedef unsigned char u8;\ntypedef unsigned short bf16;  // the bits of a bfloat16\ntypedef unsigned int u32;\ntypedef long long i64;\ntypedef unsigned long long u64;\n\n#define DEVICE __device__ __forceinline__\n#define NULLABLE  // marks the pointers of a kernel that may be null\n#define KERNEL extern \"C\" __global__ void\n#define INFINITY_F __int_as_float(0x7f800000)\n// A pass over [rows, columns]: the first of a thread's 8 columns, and its rows.\n#define COLUMN ((int)(blockIdx.x * blockDim.x + threadIdx.x) * 8)\n#define FOR_ROWS(row, rows) for (int row = blockIdx.y; row < rows; row += gridDim.y)\n\n// PTX begin: the CPU emulation replaces what lies up to \"PTX end\".\n\n/** Two floats to bf16, round to nearest even; the first in the low half. */\nDEVICE u32 pack_bf16(float low, float high) {\n  u32 packed;\n  asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(packed) : \"f\"(high), \"f\"(low));\n  return packed;\n}\nDEVICE bf16 to_bf16(float x) {\n  bf16 y;\n  asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(y) : \"f\"(x));\n  return y;\n}\nDEVICE float half_to_float(unsigned short x) {\n  float y;\n  asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(y) : \"h\"(x));\n  return y;\n}\n\n/** 16 bytes that are read once: not kept in L1. */\nDEVICE uint4 load_once(const void* p) {\n  uint4 v;\n  asm volatile(\"ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];\"\n               : \"=r\"(v.x), \"=r\"(v.y), \"=r\"(v.z), \"=r\"(v.w)\n               : \"l\"(p));\n  return v;\n}\n\n/** Global to shared in the background. Where not valid, the source is not read and zeros are written. */\nDEVICE void copy_16_bytes(void* shared, const void* source, bool valid) {\n  asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" ::\"r\"((u32)__cvta_generic_to_shared(shared)),\n               \"l\"(__cvta_generic_to_global(source)), \"r\"(valid ? 16 : 0)\n               : \"memory\");\n}\nDEVICE void close_copy_group() { asm volatile(\"cp.async.commit_group;\" ::: \"memory\"); }\n/** Waits until at most PENDING of this thread's newest groups are still under way. */\ntemplate <int PENDING>\nDEVICE void wait_copy_groups() {\n  asm volatile(\"cp.async.wait_group %0;\" ::\"n\"(PENDING) : \"memory\");\n}\n\n/** Loads 8 bytes that are read only once. */\nDEVICE uint2 load_once8(const void* p) {\n  uint2 v;\n  asm volatile(\"ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0,%1}, [%2];\" : \"=r\"(v.x), \"=r\"(v.y) : \"l\"(p));\n  return v;\n}\n\n/** Elementwise product of two packed bf16 pairs. */\nDEVICE u32 multiply_bf16(u32 a, u32 b) {\n  u32 r;\n  asm(\"fma.rn.bf16x2 %0, %1, %2, %3;\" : \"=r\"(r) : \"r\"(a), \"r\"(b), \"r\"(0x80008000u));\n  return r;\n}\n\n/** Bytes of a and b picked by the four nibbles of `selector`; a nibble of 8 + i gives byte i's sign eight times. */\nDEVICE u32 permute_bytes(u32 a, u32 b, u32 selector) {\n  u32 r;\n  asm(\"prmt.b32 %0, %1, %2, %3;\" : \"=r\"(r) : \"r\"(a), \"r\"(b), \"r\"(selector));\n  return r;\n}\n\n/** Four 8 × 8 matrices of bf16, each transposed; lane i gives the address of row i % 8 of matrix i / 8. */\nDEVICE void load_matrices_transposed(u32 (&r)[4], const void* shared) {\n  asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\"\n               : \"=r\"(r[0]), \"=r\"(r[1]), \"=r\"(r[2]), \"=r\"(r[3])\n               : \"r\"((u32)__cvta_generic_to_shared(shared))\n               : \"memory\");\n}\n\n/** c [16 × 8] += a [16 × 16] · b [16 × 8], fp32 sums. */\nDEVICE void multiply_add(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {\n  asm(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\"\n      : \"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3])\n      : \"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3), \"r\"(b0), \"r\"(b1));\n}\n/** Counts up by one after all that this block has written (the caller has synchronised it). */\nDEVICE void count_up(u32* count) {\n  asm volatile(\"fence.acq_rel.gpu;\" ::: \"memory\");\n  asm volatile(\"red.release.gpu.global.add.u32 [%0], 1;\" ::\"l\"(count) : \"memory\");\n}\n/**\n * Until a count has come to `target`; it may pass through 2^32. What was written before the counts is seen from here\n * on.\n */\nDEVICE void await_count(const u32* count, u32 target) {\n  u32 now;\n  do asm volatile(\"ld.acquire.gpu.global.u32 %0, [%1];\" : \"=r\"(now) : \"l\"(count) : \"memory\");\n  while ((int)(now - target) < 0);\n}\n/** 16 bytes that other blocks of this kernel wrote. */\nDEVICE float4 load_fresh(const float* p) {\n  float4 v;\n  asm volatile(\"ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];\"\n               : \"=f\"(v.x), \"=f\"(v.y), \"=f\"(v.z), \"=f\"(v.w)\n               : \"l\"(p)\n               : \"memory\");\n  return v;\n}\n// PTX end\n\nDEVICE float bf16_low(u32 packed) { return __uint_as_float(packed << 16); }\nDEVICE float bf16_high(u32 packed) { return __uint_as_float(packed & 0xffff0000u); }\nDEVICE float from_bf16(bf16 x) { return __uint_as_float((u32)x << 16); }\nDEVICE float round_bf16(float x) { return from_bf16(to_bf16(x)); }\n\n/** Element (row, 0) of a strided matrix. */\ntemplate <class E>\nDEVICE E* row_of(E* base, i64 row, int ld) {\n  return base + row * ld;\n}\n\nDEVICE uint4 zero16() { return make_uint4(0, 0, 0, 0); }\n\nDEVICE void unpack8(uint4 packed, float (&v)[8]) {\n  const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};\n#pragma unroll\n  for (int i = 0; i < 4; i++) {\n    v[2 * i] = bf16_low(words[i]);\n    v[2 * i + 1] = bf16_high(words[i]);\n  }\n}\nDEVICE uint4 pack8(const float (&v)[8]) {\n  return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));\n}\n\n/** The first n elements, none if n <= 0; zeros after them. */\nDEVICE uint4 first8(uint4 v, int n) {\n  const u32 full = 0xffffffffu;\n  v.x &= n >= 2 ? full : n > 0 ? 0xffffu : 0;\n  v.y &= n >= 4 ? full : n > 2 ? 0xffffu : 0;\n  v.z &= n >= 6 ? full : n > 4 ? 0xffffu : 0;\n  v.w &= n >= 8 ? full : n > 6 ? 0xffffu : 0;\n  return v;\n}\n/** Elements c .. c+7 of a row of columns > c, zeros from columns on. Rows have room for whole vectors. */\nDEVICE uint4 load8(const bf16* row, int c, int columns) {\n  const uint4 v = *(const uint4*)(row + c);\n  return c + 8 <= columns ? v : first8(v, columns - c);\n}\n/**\n * Start of the last 16 bytes that hold elements of a row of columns: loads past the end go there and their result is\n * dropped.\n */\nDEVICE int last8(int columns) { return (columns - 1) & ~7; }\nDEVICE void load8(const bf16* row, int c, int columns, float (&v)[8]) { unpack8(load8(row, c, columns), v); }\n\nDEVICE void store8(bf16* row, int c, int columns, uint4 packed) {\n  if (c + 8 <= columns) {\n    *(uint4*)(row + c) = packed;\n    return;\n  }\n  const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};\n#pragma unroll\n  for (int i = 0; i < 8; i++) {\n    if (c + i < columns) row[c + i] = (bf16)(words[i / 2] >> (16 * (i % 2)));\n  }\n}\nDEVICE void store8(bf16* row, int c, int columns, const float (&v)[8]) { store8(row, c, columns, pack8(v)); }\n\nDEVICE float warp_sum(float x) {\n#pragma unroll\n  for (int mask = 16; mask > 0; mask >>= 1) x += __shfl_xor_sync(0xffffffffu, x, mask);\n  return x;\n}\nDEVICE float warp_max(float x) {\n#pragma unroll\n  for (int mask = 16; mask > 0; mask >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, mask));\n  return x;\n}\n\n/** Sum over the block, in every thread; whole warps, at most 32. */\nDEVICE float block_sum(float x) {\n  __shared__ float partial[32];\n  const int lane = threadIdx.x & 31;\n  x = warp_sum(x);\n  __syncthreads();\n  if (lane == 0) partial[threadIdx.x >> 5] = x;\n  __syncthreads();\n  return warp_sum(lane < (int)(blockDim.x >> 5) ? partial[lane] : 0.0f);\n}\n\n/**\n * Whether this is the last of `count` blocks to come here, which then sees all that they wrote before. The counter is 0\n * before and after. Who is last depends on timing, so what it does must not.\n */\nDEVICE bool is_last_block(u32* counter, u32 count) {\n  __shared__ bool is_last;\n  __threadfence();\n  __syncthreads();\n  if (threadIdx.x == 0) {\n    is_last = atomicAdd(counter, 1u) == count - 1;\n    if (is_last) *counter = 0;\n  }\n  __syncthreads();\n  __threadfence();\n  return is_last;\n}\n/** Partial sums that other blocks wrote, `stride` apart, in their order. */\nDEVICE float sum_of_splits(const float* partial, int splits, i64 stride) {\n  float sum = 0.0f;\n#pragma unroll 4\n  for (int split = 0; split < splits; split++) sum += __ldcg(partial + split * stride);\n  return sum;\n}\n\n/** The code nearest to x, the lower at a tie: the number of midpoints below x. */\nDEVICE int nearest_code(const float* midpoints, float x) {\n  int code = 0;\n#pragma unroll\n  for (int step = 128; step > 0; step /= 2) {\n    if (x > midpoints[code + step - 1]) code += step;\n  }\n  return code;\n}\n\n/** Clears the elements whose bit in `bits` (element 0 lowest) is 0. */\nDEVICE uint4 keep8(uint4 v, u32 bits) {\n  // Bits 2j and 2j + 1 reach the signs of the two low bytes after a shift by 2j.\n  const u32 spread = (bits << 7) | (bits << 14);\n  v.x &= permute_bytes(spread, 0, 0x9988);\n  v.y &= permute_bytes(spread >> 2, 0, 0x9988);\n  v.z &= permute_bytes(spread >> 4, 0, 0x9988);\n  v.w &= permute_bytes(spread >> 6, 0, 0x9988);\n  return v;\n}\n\n// Activations are written as x·g(x): silu has g = sigmoid(x), gelu g = Φ(x), gelu_tanh g = sigmoid(2u), relu g = [x >\n// 0].\n\n#define SILU 0\n#define GELU 1\n#define GELU_TANH 2\n#define TANH_SCALE 0.7978845608f  // √(2/π)\n#define TANH_CUBE 0.044715f\n\nDEVICE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }\n\ntemplate <int KIND>\nDEVICE float gate_of(float x) {\n  if (KIND == SILU) return sigmoid(x);\n  if (KIND == GELU) return 0.5f * erfcf(-0.7071067812f * x);\n  if (KIND == GELU_TANH) return sigmoid(2.0f * TANH_SCALE * x * (1.0f + TANH_CUBE * x * x));\n  return x > 0.0f ? 1.0f : 0.0f;\n}\n\n/** d(x·g)/dx, given g. */\ntemplate <int KIND>\nDEVICE float slope_of(float x, float g) {\n  if (KIND == SILU) return g * (1.0f + x * (1.0f - g));\n  if (KIND == GELU) return g + x * 0.3989422804f * __expf(-0.5f * x * x);\n  if (KIND == GELU_TANH) return g + g * (1.0f - g) * 2.0f * TANH_SCALE * x * (1.0f + 3.0f * TANH_CUBE * x * x);\n  return g;\n}\n\n/** CALL(kind) with the run-time kind as a compile-time one. */\n#define BY_KIND(CALL)         \\\n  if (kind == SILU)           \\\n    CALL(SILU);               \\\n  else if (kind == GELU)      \\\n    CALL(GELU);               \\\n  else if (kind == GELU_TANH) \\\n    CALL(GELU_TANH);          \\\n  else                        \\\n    CALL(3);\n\n/** g → activation(g) ⊙ u */\ntemplate <int KIND>\nDEVICE void gated_forward(float (&g)[8], const float (&u)[8]) {\n#pragma unroll\n  for (int i = 0; i < 8; i++) g[i] = g[i] * gate_of<KIND>(g[i]) * u[i];\n}\n\n/** g → dgate, u → dup, d → the forward's output. */\ntemplate <int KIND>\nDEVICE void gated_backward(float (&g)[8], float (&u)[8], float (&d)[8]) {\n#pragma unroll\n  for (int i = 0; i < 8; i++) {\n    const float x = g[i], gradient = d[i], opening = gate_of<KIND>(x);\n    d[i] = x * opening * u[i];\n    g[i] = gradient * u[i] * slope_of<KIND>(x, opening);\n    u[i] = gradient * (x * opening);\n  }\n}\n",
	"convert.cu": "// Prepended: common.cu, stored-values.cuh\n// Copies between number formats over [rows, columns], and flat fills. Sources (and fp32 targets) may have any stride\n// and alignment: rows of a file lie where they lie. bf16 targets are aligned as everywhere.\n// Launch: grid2(rows, columns).\n\nDEVICE bool aligned16(const void* p) { return ((u64)p & 15) == 0; }\n\n/** Elements c .. c+7 of a row in any format; one wide load for each 16 bytes where aligned. */\ntemplate <class S>\nDEVICE void load8_any(const S* row, int c, int columns, float (&v)[8]) {\n  const S* p = row + c;\n  if (c + 8 <= columns && aligned16(p) && sizeof(S) > 1) {\n    S held[8];\n#pragma unroll\n    for (int i = 0; i < (int)sizeof(held) / 16; i++) ((uint4*)held)[i] = ((const uint4*)p)[i];\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] = widen(held[i]);\n    return;\n  }\n#pragma unroll\n  for (int i = 0; i < 8; i++) v[i] = c + i < columns ? widen(p[i]) : 0.0f;\n}\n\ntemplate <class S>\nDEVICE void to_bf16_rows(bf16* out, const S* x, int rows, int columns, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8];\n    load8_any(row_of(x, row, ldx), c, columns, v);\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n\nKERNEL __launch_bounds__(128) copy_bf16(bf16* out, const bf16* x, int rows, int columns, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    const bf16* from = row_of(x, row, ldx);\n    bf16* to = row_of(out, row, ldo);\n    if (aligned16(from) && c + 8 <= columns) {\n      store8(to, c, columns, load8(from, c, columns));\n    } else {\n      for (int i = c; i < min(columns, c + 8); i++) to[i] = from[i];\n    }\n  }\n}\n\nKERNEL __launch_bounds__(128) f32_to_bf16(bf16* out, const float* x, int rows, int columns, int ldo, int ldx) {\n  to_bf16_rows(out, x, rows, columns, ldo, ldx);\n}\n/**\n * Patches of an image x [columns / size^2, rows / across * size, across * size], `across` of them side by side: row r\n * of out is patch r by channel, row and column.\n */\nKERNEL __launch_bounds__(128)\n    image_patches(bf16* out, const float* x, int rows, int columns, int ldo, int size, int across) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  const int area = size * size;\n  const int width = across * size;\n  i64 places[8];\n#pragma unroll\n  for (int i = 0; i < 8; i++) {\n    const int channel = (c + i) / area;\n    const int y = (c + i) % area / size;\n    places[i] = (i64)channel * rows * area + y * width + (c + i) % size;\n  }\n  FOR_ROWS(row, rows) {\n    const float* corner = x + (i64)(row / across) * size * width + row % across * size;\n    float v[8];\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] = c + i < columns ? corner[places[i]] : 0.0f;\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\nKERNEL __launch_bounds__(128) f16_to_bf16(bf16* out, const Half* x, int rows, int columns, int ldo, int ldx) {\n  to_bf16_rows(out, x, rows, columns, ldo, ldx);\n}\n/** Each number times the factor of its block of block_rows × block_columns; row 0 of x is row `first` of the matrix. */\nKERNEL __launch_bounds__(128)\n    e4m3_to_bf16(bf16* out, const E4M3* x, int rows, int columns, int ldo, int ldx, const float* factors, int first,\n                 int block_rows, int block_columns, int across, int* flag) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    const float* line = factors + (i64)((first + row) / block_rows) * across;\n    float v[8];\n    load8_any(row_of(x, row, ldx), c, columns, v);\n    bool whole = true;\n#pragma unroll\n    for (int i = 0; i < 8; i++) {\n      whole &= (__float_as_uint(v[i]) & 0x7fffffffu) <= 0x7f800000u;\n      if (c + i < columns) v[i] *= line[(c + i) / block_columns];\n    }\n    if (!whole) *flag = 1;\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n\nKERNEL __launch_bounds__(128) bf16_to_f32(float* out, const bf16* x, int rows, int columns, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8];\n    load8_any(row_of(x, row, ldx), c, columns, v);\n    float* to = row_of(out, row, ldo) + c;\n    if (c + 8 <= columns && aligned16(to)) {\n      ((float4*)to)[0] = make_float4(v[0], v[1], v[2], v[3]);\n      ((float4*)to)[1] = make_float4(v[4], v[5], v[6], v[7]);\n    } else {\n#pragma unroll\n      for (int i = 0; i < 8; i++) {\n        if (c + i < columns) to[i] = v[i];\n      }\n    }\n  }\n}\n\n#define FOR_FLAT(i, n) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x)\n\n/** Launch: grid [min(4096, ceil(n/1024))]. */\nKERNEL __launch_bounds__(256) add_f32(float* out, const float* a, const float* b, i64 n) {\n  FOR_FLAT(i, n) out[i] = a[i] + b[i];\n}\n",
	"cross-entropy.cu": "// Cross-entropy over a vocabulary that comes in chunks of logits [rows, n]: a running maximum and sum of exponentials\n// by row, then the loss, then the gradient of a chunk. Logits are bf16 (kind 0) or fp32 (kind 1).\n// Launch: grid [rows].\n\n#define LOWEST -3.0e38f\n\ntemplate <class L>\nDEVICE void load_logits(const L* row, int c, int n, float (&v)[8]);\ntemplate <>\nDEVICE void load_logits<bf16>(const bf16* row, int c, int n, float (&v)[8]) {\n  load8(row, c, n, v);\n}\ntemplate <>\nDEVICE void load_logits<float>(const float* row, int c, int n, float (&v)[8]) {\n  if (c + 8 <= n) {\n    *(float4*)v = *(const float4*)(row + c);\n    *(float4*)(v + 4) = *(const float4*)(row + c + 4);\n  } else {\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] = c + i < n ? row[c + i] : 0.0f;\n  }\n}\nDEVICE float logit_at(const bf16* row, int c) { return from_bf16(row[c]); }\nDEVICE float logit_at(const float* row, int c) { return row[c]; }\n\ntemplate <class L>\nDEVICE void chunk(float* row_max, float* row_sum, float* target_logit, const L* logits, const int* targets, int n,\n                  int ld, int first_column, int is_first) {\n  __shared__ float peaks[32];\n  const int row = blockIdx.x;\n  logits = row_of(logits, row, ld);\n  float peak = LOWEST, sum = 0.0f;\n  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {\n    float v[8];\n    load_logits(logits, c, n, v);\n    float high = peak;\n#pragma unroll\n    for (int i = 0; i < 8; i++) {\n      if (c + i >= n) v[i] = -INFINITY_F;\n      high = fmaxf(high, v[i]);\n    }\n    sum *= __expf(peak - high);\n    peak = high;\n#pragma unroll\n    for (int i = 0; i < 8; i++) sum += __expf(v[i] - peak);\n  }\n  const float warp_peak = warp_max(peak);\n  if ((threadIdx.x & 31) == 0) peaks[threadIdx.x >> 5] = warp_peak;\n  __syncthreads();\n  const float top = warp_max((threadIdx.x & 31) < blockDim.x >> 5 ? peaks[threadIdx.x & 31] : LOWEST);\n  const float total = block_sum(sum * __expf(peak - top));\n  if (threadIdx.x != 0) return;\n  const float before = is_first ? LOWEST : row_max[row];\n  const float now = fmaxf(before, top);\n  row_max[row] = now;\n  row_sum[row] = (is_first ? 0.0f : row_sum[row] * __expf(before - now)) + total * __expf(top - now);\n  const int local = targets[row] - first_column;\n  if (local >= 0 && local < n) target_logit[row] = logit_at(logits, local);\n}\n\nKERNEL __launch_bounds__(512)\n    cross_entropy_chunk(float* row_max, float* row_sum, float* target_logit, const void* logits, const int* targets,\n                        int rows, int n, int ld, int first_column, int is_first, int kind) {\n  if (kind)\n    chunk(row_max, row_sum, target_logit, (const float*)logits, targets, n, ld, first_column, is_first);\n  else\n    chunk(row_max, row_sum, target_logit, (const bf16*)logits, targets, n, ld, first_column, is_first);\n}\n\n/** Whether a value precedes another: NaN first, then the larger, then the lower index. */\nDEVICE bool comes_first(float value, int index, float other, int other_index) {\n  const bool is_nan = (__float_as_uint(value) & 0x7fffffffu) > 0x7f800000u;\n  const bool is_other_nan = (__float_as_uint(other) & 0x7fffffffu) > 0x7f800000u;\n  if (is_nan || is_other_nan) return is_nan && (!is_other_nan || index < other_index);\n  return value > other || (value == other && index < other_index);\n}\n\n/** fp32 rows need not be 16-byte aligned. */\nDEVICE void load_row(const bf16* row, int c, int n, float (&v)[8]) { load_logits(row, c, n, v); }\nDEVICE void load_row(const float* row, int c, int n, float (&v)[8]) {\n#pragma unroll\n  for (int i = 0; i < 8; i++) v[i] = row[min(c + i, n - 1)];\n}\n\ntemplate <class L>\nDEVICE void largest(float* largest_value, int* largest_index, const L* logits, int n, int ld) {\n  __shared__ float values[32];\n  __shared__ int indices[32];\n  const int row = blockIdx.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;\n  logits = row_of(logits, row, ld);\n  float value = -INFINITY_F;\n  int index = n;\n  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {\n    float v[8];\n    load_row(logits, c, n, v);\n#pragma unroll\n    for (int i = 0; i < 8; i++) {\n      if (c + i >= n || !comes_first(v[i], c + i, value, index)) continue;\n      value = v[i];\n      index = c + i;\n    }\n  }\n  auto reduce = [&]() {\n#pragma unroll\n    for (int mask = 16; mask > 0; mask >>= 1) {\n      const float other = __shfl_xor_sync(0xffffffffu, value, mask);\n      const int other_index = __shfl_xor_sync(0xffffffffu, index, mask);\n      if (!comes_first(other, other_index, value, index)) continue;\n      value = other;\n      index = other_index;\n    }\n  };\n  reduce();\n  if (lane == 0) {\n    values[warp] = value;\n    indices[warp] = index;\n  }\n  __syncthreads();\n  if (warp > 0) return;\n  const bool is_warp = lane < (int)(blockDim.x >> 5);\n  value = is_warp ? values[lane] : -INFINITY_F;\n  index = is_warp ? indices[lane] : n;\n  reduce();\n  if (lane > 0) return;\n  largest_value[row] = value;\n  largest_index[row] = index;\n}\n\n/** The largest value of each row and its lowest index; the first NaN where there is one. */\nKERNEL __launch_bounds__(1024)\n    largest_logit(float* largest_value, int* largest_index, const void* logits, int n, int ld, int kind) {\n  if (kind)\n    largest(largest_value, largest_index, (const float*)logits, n, ld);\n  else\n    largest(largest_value, largest_index, (const bf16*)logits, n, ld);\n}\n\ntemplate <class L>\nDEVICE float sum_of_row(const L* logits, int n) {\n  float sum = 0.0f;\n  for (int c = threadIdx.x * 8; c < n; c += blockDim.x * 8) {\n    float v[8];\n    load_logits(logits, c, n, v);\n    sum += ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));\n  }\n  return block_sum(sum);\n}\n\n/**\n * Label smoothing, for logits that hold the whole vocabulary: target_logit = own · target_logit + each · Σ logits, by\n * row.\n */\nKERNEL __launch_bounds__(512) cross_entropy_smooth(float* target_logit, const void* logits, int rows, int n, int ld,\n                                                   float own, float each, int kind) {\n  const int row = blockIdx.x;\n  const float sum =\n      kind ? sum_of_row(row_of((const float*)logits, row, ld), n) : sum_of_row(row_of((const bf16*)logits, row, ld), n);\n  if (threadIdx.x == 0) target_logit[row] = own * target_logit[row] + each * sum;\n}\n\n/**\n * One block: row_loss = max + log(sum) - target logit; loss = scale · Σ weight · row_loss, added in a fixed order in\n * double. Default weight: 1. Launch: grid [1].\n */\nKERNEL __launch_bounds__(1024)\n    cross_entropy_finish(float* row_loss, float* loss, const float* row_max, const float* row_sum,\n                         const float* target_logit, const float* NULLABLE weights, int rows, float scale) {\n  __shared__ double sums[1024];\n  double sum = 0.0;\n  for (int row = threadIdx.x; row < rows; row += blockDim.x) {\n    const double value = (double)row_max[row] - (double)target_logit[row] + log((double)row_sum[row]);\n    row_loss[row] = (float)value;\n    sum += weights ? (double)weights[row] * value : value;\n  }\n  sums[threadIdx.x] = sum;\n  for (int half = blockDim.x / 2; half > 0; half /= 2) {\n    __syncthreads();\n    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];\n  }\n  if (threadIdx.x == 0) *loss = (float)(sums[0] * (double)scale);\n}\n\ntemplate <class L>\nDEVICE void gradient(bf16* dlogits, const L* logits, const float* row_max, const float* row_sum, const int* targets,\n                     const float* weights, int rows, int n, int ldd, int ld, int first_column, float whole_scale,\n                     float own, float other) {\n  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 8;\n  if (c >= n) return;\n  for (int row = blockIdx.y; row < rows; row += gridDim.y) {\n    float v[8];\n    load_logits(row_of(logits, row, ld), c, n, v);\n    const float scale = weights ? whole_scale * weights[row] : whole_scale;\n    const float peak = row_max[row], factor = scale / row_sum[row];\n    const int target = targets[row] - first_column - c;\n    const float hit = scale * own, miss = scale * other;\n#pragma unroll\n    for (int i = 0; i < 8; i++) v[i] = __expf(v[i] - peak) * factor - (i == target ? hit : miss);\n    store8(row_of(dlogits, row, ldd), c, n, v);\n  }\n}\n\n/**\n * dlogits = (softmax - wanted) · scale · weight of the row · (*loss_gradient), wanted: `own` for the target, `other`\n * for the others (1, 0).\n * Launch: grid2(rows, n).\n */\nKERNEL __launch_bounds__(128)\n    cross_entropy_gradient(bf16* dlogits, const void* logits, const float* row_max, const float* row_sum,\n                           const int* targets, const float* NULLABLE weights, const float* NULLABLE loss_gradient,\n                           int rows, int n, int ldd, int ld, int first_column, float scale, int kind, float own,\n                           float other) {\n  if (loss_gradient) scale *= *loss_gradient;\n  if (kind)\n    gradient(dlogits, (const float*)logits, row_max, row_sum, targets, weights, rows, n, ldd, ld, first_column, scale,\n             own, other);\n  else\n    gradient(dlogits, (const bf16*)logits, row_max, row_sum, targets, weights, rows, n, ldd, ld, first_column, scale,\n             own, other);\n}\n",
	"dropout.cu": "// Prepended: common.cu, dropout-helpers.cuh\n// Noise of embeddings, made of the bits of dropout.\n\n/**\n * x += bound · (2·bits - 65535) / 65536 of the row: `uniformNoise` of random.ts. A thread does 8 columns.\n * Launch: grid2(rows, K).\n */\nKERNEL __launch_bounds__(128)\n    add_noise(bf16* x, const u32* row_keys, const float* bounds, int rows, int K, int ld, u32 seed) {\n  const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 8;\n  if (c >= K) return;\n  for (int row = blockIdx.y; row < rows; row += gridDim.y) {\n    const RowHash hash = row_hash(row_keys[row], seed);\n    const float unit = bounds[row] / 65536.0f;\n    u32 z = hash.key + (u32)(c / 2) * hash.step;\n    float v[8];\n    load8(row_of(x, row, ld), c, K, v);\n#pragma unroll\n    for (int i = 0; i < 8; i += 2, z += hash.step) {\n      const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;\n      v[i] += unit * (float)(2 * (int)(h >> 16) - 65535);\n      v[i + 1] += unit * (float)(2 * (int)(h * 0x10001u >> 16) - 65535);\n    }\n    store8(row_of(x, row, ld), c, K, v);\n  }\n}\n",
	"e4m3-fused.cu": "// Prepended: common.cu, e4m3-helpers.cuh\n// Kernels that quantise to e4m3 what they compute, or compute something else from what they quantise. Codes, scales and\n// other outputs have the same bits as those of the separate kernels.\n\n/** out = activation(gate) ⊙ up as in gated_activation_forward, and its codes. columns <= 4096·VECTORS. */\ntemplate <int VECTORS>\nDEVICE void quantize_gated_row(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int columns,\n                               int kind) {\n  uint4 held[VECTORS];\n  float amax = 0.0f;\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    float g[8], u[8];\n    unpack8(load_once(gate + c), g);\n    unpack8(load_once(up + c), u);\n#define CALL(KIND) gated_forward<KIND>(g, u)\n    BY_KIND(CALL)\n#undef CALL\n    held[i] = pack8(g);\n    *(uint4*)(out + c) = held[i];\n    amax = largest8(held[i], nullptr, c, amax);\n  }\n  amax = fmaxf(block_max(amax), LEAST_AMAX);\n  if (threadIdx.x == 0) *scales = __fdiv_rn(amax, E4M3_MAX);\n  const float inverse = __fdiv_rn(E4M3_MAX, amax);\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c < columns) quantize8(codes, held[i], nullptr, c, inverse);\n  }\n}\n\n/**\n * gated_activation_forward with the codes of out and a scale per row. columns <= 4096·W.\n * Launch: grid [rows], block min(512, 32·ceil(columns/(256·W))).\n */\n#define GATED_ACTIVATION_E4M3(W)                                                                                       \\\n  KERNEL __launch_bounds__(512)                                                                                        \\\n      gated_activation_e4m3_##W(bf16* out, u8* codes, float* scales, const bf16* gate, const bf16* up, int rows,       \\\n                                int columns, int ldo, int ldcodes, int ldgate, int ldup, int kind) {                   \\\n    const int row = blockIdx.x;                                                                                        \\\n    quantize_gated_row<W>(row_of(out, row, ldo), row_of(codes, row, ldcodes), scales + row, row_of(gate, row, ldgate), \\\n                          row_of(up, row, ldup), columns, kind);                                                       \\\n  }\nGATED_ACTIVATION_E4M3(2)\nGATED_ACTIVATION_E4M3(4)\nGATED_ACTIVATION_E4M3(8)\n\n#define NORM_VECTORS 4  // 8 elements each, by at most 512 threads: 16384 columns\n\n/**\n * rms_norm_forward with the codes of y and a scale per row. columns: a multiple of 16.\n * Launch: grid [rows], block min(512, 32·ceil(columns/512)).\n */\nKERNEL __launch_bounds__(512)\n    rms_norm_e4m3(bf16* y, u8* codes, float* scales, bf16* NULLABLE sum, float* NULLABLE rstd, const bf16* x,\n                  const bf16* NULLABLE residual, const bf16* weight, int rows, int columns, int ldy, int ldcodes,\n                  int ldsum, int ldx, int ldresidual, float eps) {\n  const int row = blockIdx.x;\n  x = row_of(x, row, ldx);\n  uint4 held[NORM_VECTORS];\n  float squares = 0.0f;\n#pragma unroll\n  for (int i = 0; i < NORM_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    held[i] = c < columns ? *(const uint4*)(x + c) : zero16();\n  }\n  if (residual) {\n    residual = row_of(residual, row, ldresidual);\n#pragma unroll\n    for (int i = 0; i < NORM_VECTORS; i++) {\n      const int c = (threadIdx.x + i * blockDim.x) * 8;\n      if (c >= columns) continue;\n      float a[8], b[8];\n      unpack8(held[i], a);\n      unpack8(*(const uint4*)(residual + c), b);\n#pragma unroll\n      for (int j = 0; j < 8; j++) a[j] += b[j];\n      held[i] = pack8(a);\n    }\n  }\n  if (sum) sum = row_of(sum, row, ldsum);\n#pragma unroll\n  for (int i = 0; i < NORM_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    if (sum) *(uint4*)(sum + c) = held[i];\n    float s[8];\n    unpack8(held[i], s);\n#pragma unroll\n    for (int j = 0; j < 8; j++) squares += s[j] * s[j];\n  }\n  const float scale = rsqrtf(block_sum(squares) / (float)columns + eps);\n  if (rstd && threadIdx.x == 0) rstd[row] = scale;\n  y = row_of(y, row, ldy);\n  float amax = 0.0f;\n#pragma unroll\n  for (int i = 0; i < NORM_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    float s[8], w[8];\n    unpack8(held[i], s);\n    unpack8(*(const uint4*)(weight + c), w);\n#pragma unroll\n    for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];\n    held[i] = pack8(s);\n    *(uint4*)(y + c) = held[i];\n    amax = largest8(held[i], nullptr, c, amax);\n  }\n  amax = fmaxf(block_max(amax), LEAST_AMAX);\n  if (threadIdx.x == 0) scales[row] = __fdiv_rn(amax, E4M3_MAX);\n  const float inverse = __fdiv_rn(E4M3_MAX, amax);\n  codes = row_of(codes, row, ldcodes);\n#pragma unroll\n  for (int i = 0; i < NORM_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c < columns) quantize8(codes, held[i], nullptr, c, inverse);\n  }\n}\n",
	"e4m3-low-rank.cu": "// Prepended: common.cu, e4m3-helpers.cuh\n// The low-rank parts of e4m3 products: what the product of codes lacks, taken where its operand is quantised.\n\n/**\n * out [R, 2·n] = b [2·n, ...]ᵀ of two stacked parts: row e of the columns of part i is b's column i·R + e.\n * Launch: grid [ceil(2·n/256)].\n */\n#define TRANSPOSE_LOW_RANK(R)                                                                      \\\n  KERNEL __launch_bounds__(256) transpose_low_rank_##R(bf16* out, const bf16* b, int n, int ldb) { \\\n    const int row = blockIdx.x * 256 + threadIdx.x;                                                \\\n    if (row >= 2 * n) return;                                                                      \\\n    const bf16* from = row_of(b, row, ldb) + (row < n ? 0 : R);                                    \\\n    _Pragma(\"unroll\") for (int e = 0; e < R; e += 8) {                                             \\\n      const uint4 v = *(const uint4*)(from + e);                                                   \\\n      const u32 words[4] = {v.x, v.y, v.z, v.w};                                                   \\\n      _Pragma(\"unroll\") for (int j = 0; j < 8; j++) {                                              \\\n        out[(e + j) * 2 * n + row] = (bf16)(words[j / 2] >> (16 * (j % 2)));                       \\\n      }                                                                                            \\\n    }                                                                                              \\\n  }\nTRANSPOSE_LOW_RANK(16)\nTRANSPOSE_LOW_RANK(32)\n\n#define LOW_WARPS 8\n\n/**\n * A block has 16 rows of one part; its warps take every 8th run of 64 columns. The order of the depths within a run\n * does not matter as long as both operands agree: lane t takes columns 8t .. 8t+7 of either half, one wide load each.\n */\ntemplate <int TILES>\nDEVICE void quantize_low_rank(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const u32* most,\n                              const bf16* b, int rows, int n, int ldcodes, int lddu, int ldx) {\n#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890  // cards with e4m3 products\n  __shared__ float partial[LOW_WARPS][16][8 * TILES + 2];\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  int row[2];  // g and g + 8; past the end it is the last row, again\n  float inverse[2];\n#pragma unroll\n  for (int i = 0; i < 2; i++) {\n    row[i] = min((int)blockIdx.x * 16 + i * 8 + g, rows - 1);\n    inverse[i] = __fdiv_rn(E4M3_MAX, fmaxf(__uint_as_float(most[row[i]]), LEAST_AMAX));\n  }\n  const int part = blockIdx.y;\n  float sums[TILES][4] = {};\n  uint4 ahead[2][2];\n  const auto fetch = [&](int half, int run) {\n    const int c = run * 64 + half * 32 + t * 8;\n#pragma unroll\n    for (int i = 0; i < 2; i++) ahead[half][i] = c < n ? load_once(row_of(x, row[i], ldx) + part * n + c) : zero16();\n  };\n  fetch(0, warp);\n  fetch(1, warp);\n#pragma unroll 1\n  for (int run = warp; run * 64 < n; run += LOW_WARPS) {\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      const int c = run * 64 + half * 32 + t * 8, column = part * n + c;\n      const uint4 held[2] = {ahead[half][0], ahead[half][1]};\n      uint4 v[TILES];\n      const int from = g * 2 * n + part * n + min(c, n - 8);\n#pragma unroll\n      for (int tile = 0; tile < TILES; tile++) v[tile] = *(const uint4*)(b + (from + tile * 16 * n));\n      const float4 low = *(const float4*)(factors + part * n + min(c, n - 8)),\n                   high = *(const float4*)(factors + part * n + min(c, n - 8) + 4);\n      fetch(half, run + LOW_WARPS);\n#pragma unroll\n      for (int tile = 0; tile < TILES; tile++) {\n        multiply_add(sums[tile], held[0].x, held[1].x, held[0].y, held[1].y, v[tile].x, v[tile].y);\n        multiply_add(sums[tile], held[0].z, held[1].z, held[0].w, held[1].w, v[tile].z, v[tile].w);\n      }\n#pragma unroll\n      for (int i = 0; i < 2; i++) {\n        if (c >= n) continue;\n        float scaled[8];\n        unpack8(held[i], scaled);\n        scaled[0] *= low.x, scaled[1] *= low.y, scaled[2] *= low.z, scaled[3] *= low.w;\n        scaled[4] *= high.x, scaled[5] *= high.y, scaled[6] *= high.z, scaled[7] *= high.w;\n        store_e4m3(row_of(codes, row[i], ldcodes) + column, scaled, inverse[i]);\n      }\n    }\n  }\n  __syncthreads();\n#pragma unroll\n  for (int tile = 0; tile < TILES; tile++) {\n#pragma unroll\n    for (int i = 0; i < 4; i++) partial[warp][g + i / 2 * 8][tile * 8 + t * 2 + i % 2] = sums[tile][i];\n  }\n  __syncthreads();\n  // In the order of the warps.\n  for (int i = threadIdx.x; i < 16 * 8 * TILES; i += 32 * LOW_WARPS) {\n    const int local = i / (8 * TILES), e = i % (8 * TILES), r = blockIdx.x * 16 + local;\n    float sum = 0.0f;\n#pragma unroll\n    for (int w = 0; w < LOW_WARPS; w++) sum += partial[w][local][e];\n    if (r < rows) row_of(du, r, lddu)[part * 8 * TILES + e] = to_bf16(sum);\n  }\n  const int r = blockIdx.x * 16 + threadIdx.x;\n  if (part == 0 && threadIdx.x < 16 && r < rows)\n    scales[r] = __fdiv_rn(fmaxf(__uint_as_float(most[r]), LEAST_AMAX), E4M3_MAX);\n#endif\n}\n\n/**\n * For x [T, 2·n], the gradient of two stacked parts: codes of x ⊙ factors with a scale per row, computed from `most`\n * (bits of the largest magnitude of each row), and du [T, 2·R] = x·b, b [R, 2·n] of transpose_low_rank.\n * Launch: grid [ceil(rows/16), 2].\n */\n#define QUANTIZE_LOW_RANK(R)                                                                                          \\\n  KERNEL __launch_bounds__(256, 3)                                                                                    \\\n      quantize_low_rank_##R(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const u32* most, \\\n                            const bf16* b, int rows, int n, int ldcodes, int lddu, int ldx) {                         \\\n    quantize_low_rank<R / 8>(codes, scales, du, x, factors, most, b, rows, n, ldcodes, lddu, ldx);                    \\\n  }\nQUANTIZE_LOW_RANK(16)\nQUANTIZE_LOW_RANK(32)\n\n/**\n * A block has 8 rows, which are the columns of the products' right operand; a warp takes every 8th run of 32 columns,\n * lane (g, t) columns 8t .. 8t+7 of row g. On the left is bᵀ: lane g has columns 2·TILES·g .. of b, of which the even\n * ones are rows g of its tiles and the odd ones rows g + 8. The second pass finds x in the caches.\n */\ntemplate <int TILES>\nDEVICE void quantize_adapted(u8* codes, float* scales, bf16* du, const bf16* x, const float* factors, const bf16* b,\n                             int rows, int columns, int ldcodes, int lddu, int ldx, int ldb) {\n#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890\n  constexpr int width = 16 * TILES;\n  __shared__ float partial[LOW_WARPS][8][width + 1];\n  __shared__ float largest[LOW_WARPS][8];\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int first = blockIdx.x * 8;\n  const bf16* own = row_of(x, min(first + g, rows - 1), ldx);\n  float sums[TILES][4] = {}, amax = 0.0f;\n#pragma unroll 2\n  for (int run = warp * 32; run < columns; run += LOW_WARPS * 32) {\n    const int c = run + t * 8, from = min(c, columns - 8);\n    const uint4 held = c < columns ? *(const uint4*)(own + from) : zero16();\n    amax = largest8(held, factors, from, amax);\n    const u32 right[4] = {held.x, held.y, held.z, held.w};\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      u32 v[4][TILES];\n#pragma unroll\n      for (int i = 0; i < 4; i++) {\n        const u32* at = (const u32*)row_of(b, from + half * 4 + i, ldb) + g * TILES;\n        if (TILES == 2) {\n          const uint2 words = *(const uint2*)at;\n          v[i][0] = words.x, v[i][TILES - 1] = words.y;\n        } else {\n          v[i][0] = *at;\n        }\n      }\n#pragma unroll\n      for (int tile = 0; tile < TILES; tile++) {\n        multiply_add(sums[tile], permute_bytes(v[0][tile], v[1][tile], 0x5410),\n                     permute_bytes(v[0][tile], v[1][tile], 0x7632), permute_bytes(v[2][tile], v[3][tile], 0x5410),\n                     permute_bytes(v[2][tile], v[3][tile], 0x7632), right[half * 2], right[half * 2 + 1]);\n      }\n    }\n  }\n  amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, 1));\n  amax = fmaxf(amax, __shfl_xor_sync(0xffffffffu, amax, 2));\n  if (t == 0) largest[warp][g] = amax;\n#pragma unroll\n  for (int tile = 0; tile < TILES; tile++) {\n#pragma unroll\n    for (int i = 0; i < 4; i++) partial[warp][t * 2 + i % 2][(g * TILES + tile) * 2 + i / 2] = sums[tile][i];\n  }\n  __syncthreads();\n  for (int i = threadIdx.x; i < 8 * width; i += 32 * LOW_WARPS) {\n    const int local = i / width, e = i % width;\n    float sum = 0.0f;\n#pragma unroll\n    for (int w = 0; w < LOW_WARPS; w++) sum += partial[w][local][e];\n    if (first + local < rows) row_of(du, first + local, lddu)[e] = to_bf16(sum);\n  }\n  const int row = first + warp;\n  if (row >= rows) return;\n  amax = LEAST_AMAX;\n#pragma unroll\n  for (int w = 0; w < LOW_WARPS; w++) amax = fmaxf(amax, largest[w][warp]);\n  if (lane == 0) scales[row] = __fdiv_rn(amax, E4M3_MAX);\n  const float inverse = __fdiv_rn(E4M3_MAX, amax);\n  x = row_of(x, row, ldx), codes = row_of(codes, row, ldcodes);\n#pragma unroll 4\n  for (int c = lane * 8; c < columns; c += 256) quantize8(codes, *(const uint4*)(x + c), factors, c, inverse);\n#endif\n}\n\n/**\n * codes [T, columns] of x ⊙ factors with a scale per row, as in quantize_e4m3, and du [T, E] = x·b, b [columns, E].\n * Launch: grid [ceil(rows/8)].\n */\n#define QUANTIZE_ADAPTED(E)                                                                                  \\\n  KERNEL __launch_bounds__(256, 3)                                                                           \\\n      quantize_adapted_##E(u8* codes, float* scales, bf16* du, const bf16* x, const float* NULLABLE factors, \\\n                           const bf16* b, int rows, int columns, int ldcodes, int lddu, int ldx, int ldb) {  \\\n    quantize_adapted<E / 16>(codes, scales, du, x, factors, b, rows, columns, ldcodes, lddu, ldx, ldb);      \\\n  }\nQUANTIZE_ADAPTED(16)\nQUANTIZE_ADAPTED(32)\n\n/**\n * A warp has 64 rows by 32 columns. The order of the depths does not matter as long as both operands agree; column n of\n * tile j is the one that makes lane t's results columns 8t .. 8t+7.\n */\ntemplate <int DEPTHS>\nDEVICE void low_rank_up(bf16* y, const bf16* u, const bf16* b, int rows, int columns, int ldy, int ldu, int ldb) {\n#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900  // cards with row scales\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int group = blockIdx.x * 256 + warp * 32, c = group + t * 8;\n  if (group >= columns) return;\n  uint2 right[4][DEPTHS];\n#pragma unroll\n  for (int j = 0; j < 4; j++) {\n    const uint2* from = (const uint2*)row_of(b, min(group + (g >> 1) * 8 + j * 2 + (g & 1), columns - 1), ldb) + t;\n#pragma unroll\n    for (int k = 0; k < DEPTHS; k++) right[j][k] = from[k * 4];\n  }\n#pragma unroll\n  for (int tile = 0; tile < 4; tile++) {\n    const int row = blockIdx.y * 64 + tile * 16 + g;\n    const uint2 *low = (const uint2*)row_of(u, min(row, rows - 1), ldu) + t,\n                *high = (const uint2*)row_of(u, min(row + 8, rows - 1), ldu) + t;\n    float sums[4][4] = {};\n#pragma unroll\n    for (int k = 0; k < DEPTHS; k++) {\n      const uint2 p = low[k * 4], q = high[k * 4];\n#pragma unroll\n      for (int j = 0; j < 4; j++) multiply_add(sums[j], p.x, q.x, p.y, q.y, right[j][k].x, right[j][k].y);\n    }\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      float v[8];\n#pragma unroll\n      for (int j = 0; j < 8; j++) v[j] = sums[j / 2][i * 2 + j % 2];\n      if (row + i * 8 < rows && c < columns) *(uint4*)(row_of(y, row + i * 8, ldy) + c) = pack8(v);\n    }\n  }\n#endif\n}\n\n/**\n * y [T, columns] = u·bᵀ, u [T, E], b [columns, E]. columns: a multiple of 8.\n * Launch: grid [ceil(columns/256), ceil(rows/64)].\n */\n#define LOW_RANK_UP(E)                                                                                           \\\n  KERNEL __launch_bounds__(256)                                                                                  \\\n      low_rank_up_##E(bf16* y, const bf16* u, const bf16* b, int rows, int columns, int ldy, int ldu, int ldb) { \\\n    low_rank_up<E / 16>(y, u, b, rows, columns, ldy, ldu, ldb);                                                  \\\n  }\nLOW_RANK_UP(16)\nLOW_RANK_UP(32)\nLOW_RANK_UP(64)\n",
	"e4m3.cu": "// Prepended: common.cu, e4m3-helpers.cuh\n// Operands of e4m3 products: quantises bf16 rows, transposes codes of weights, scales results.\n// value = code · scale, scale = amax / 448; columns, rows of codes and their strides are multiples of 16.\n\n/** A thread keeps VECTORS vectors of 8 elements in registers between the two passes; further ones are read again. */\ntemplate <int VECTORS>\nDEVICE void quantize_row(u8* codes, float* scales, const bf16* x, const float* factors, const u32* most, int columns) {\n  const int row = blockIdx.x, step = blockDim.x * 8, first = threadIdx.x * 8;\n  // Rows bypass L1, which keeps the factors.\n  uint4 held[VECTORS];\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = first + i * step;\n    held[i] = c < columns ? load_once(x + c) : zero16();\n  }\n  float amax = 0.0f;\n  if (most) {\n    amax = __uint_as_float(*most);\n  } else {\n#pragma unroll\n    for (int i = 0; i < VECTORS; i++) {\n      const int c = first + i * step;\n      if (c < columns) amax = largest8(held[i], factors, c, amax);\n    }\n    for (int c = first + VECTORS * step; c < columns; c += step) {\n      amax = largest8(load_once(x + c), factors, c, amax);\n    }\n    amax = block_max(amax);\n  }\n  amax = fmaxf(amax, LEAST_AMAX);\n  if (threadIdx.x == 0 && (!most || row == 0)) scales[row] = __fdiv_rn(amax, E4M3_MAX);\n  const float inverse = __fdiv_rn(E4M3_MAX, amax);\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = first + i * step;\n    if (c < columns) quantize8(codes, held[i], factors, c, inverse);\n  }\n  for (int c = first + VECTORS * step; c < columns; c += step) {\n    quantize8(codes, load_once(x + c), factors, c, inverse);\n  }\n}\n\n/**\n * codes [rows, columns] of x ⊙ factors with a scale per row; with `most` (bits of the largest magnitude, from\n * tensor_amax) one scale for all. NaN and infinity become NaN. W vectors of 8 elements a thread.\n * Launch: grid [rows], block min(512, 32·ceil(columns/(256·W))).\n */\n#define QUANTIZE_E4M3(W)                                                                                             \\\n  KERNEL __launch_bounds__(512)                                                                                      \\\n      quantize_e4m3_##W(u8* codes, float* scales, const bf16* x, const float* NULLABLE factors,                      \\\n                        const u32* NULLABLE most, int rows, int columns, int ldcodes, int ldx) {                     \\\n    quantize_row<W>(row_of(codes, blockIdx.x, ldcodes), scales, row_of(x, blockIdx.x, ldx), factors, most, columns); \\\n  }\nQUANTIZE_E4M3(2)\nQUANTIZE_E4M3(4)\nQUANTIZE_E4M3(8)\n\n/**\n * Raises *most, the bits of a non-negative float, to the largest magnitude of x ⊙ factors.\n * Launch: grid [rows], block min(512, 32·ceil(columns/512)).\n */\nKERNEL __launch_bounds__(512)\n    tensor_amax(u32* most, const bf16* x, const float* NULLABLE factors, int rows, int columns, int ldx) {\n  x = row_of(x, blockIdx.x, ldx);\n  float amax = 0.0f;\n  for (int c = threadIdx.x * 8; c < columns; c += blockDim.x * 8) {\n    amax = largest8(load_once(x + c), factors, c, amax);\n  }\n  amax = block_max(amax);\n  if (threadIdx.x == 0) atomicMax(most, __float_as_uint(amax));\n}\n\n#define BYTE_TILE 64\n\n/** out [columns, rows] = x [rows, columns]ᵀ, bytes. Launch: grid [ceil(columns/64), ceil(rows/64)]. */\nKERNEL __launch_bounds__(256) transpose_bytes(u8* out, const u8* x, int rows, int columns, int ldo, int ldx) {\n  __shared__ __align__(16) u8 tile[BYTE_TILE][BYTE_TILE + 4];\n  const int column = blockIdx.x * BYTE_TILE, row = blockIdx.y * BYTE_TILE;\n  const int across = threadIdx.x % 16 * 4, down = threadIdx.x / 16;\n#pragma unroll\n  for (int i = down; i < BYTE_TILE; i += 16) {\n    if (row + i < rows && column + across < columns) {\n      *(u32*)&tile[i][across] = *(const u32*)(row_of(x, row + i, ldx) + column + across);\n    }\n  }\n  __syncthreads();\n#pragma unroll\n  for (int i = down; i < BYTE_TILE; i += 16) {\n    if (column + i >= columns || row + across >= rows) continue;\n    u32 word = 0;\n#pragma unroll\n    for (int j = 0; j < 4; j++) word |= (u32)tile[across + j][i] << (8 * j);\n    *(u32*)(row_of(out, column + i, ldo) + row + across) = word;\n  }\n}\n\n/** y ⊙= factors, by column. Launch: grid2(rows, columns). */\nKERNEL __launch_bounds__(128) scale_columns(bf16* y, const float* factors, int rows, int columns, int ldy) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    float v[8];\n    factored8(*(const uint4*)(row_of(y, row, ldy) + c), factors, c, v);\n    store8(row_of(y, row, ldy), c, columns, v);\n  }\n}\n",
	"gated-backward.cu": "// Prepended: common.cu, lora-helpers.cuh\n// Backward of y = act(gate)·up between adapted linear layers, all that passes over [T, columns] at once: the low-rank\n// part of y's gradient is added, dgate and dup are made and written, and the products of the rows that the gradients of\n// the adapters need are taken on the way: duᵀ·(mask⊙y) for A behind y, uᵀ·dgate and uᵀ·dup for the two B before it.\n// Every number is rounded as the separate kernels round it.\n\n/** The largest magnitude of 8 bf16, each times a factor, and of `most`. */\nDEVICE float largest_factored(uint4 packed, const float* factors, float most) {\n  float v[8];\n  unpack8(packed, v);\n#pragma unroll\n  for (int i = 0; i < 8; i += 4) {\n    const float4 by = *(const float4*)(factors + i);\n    most = fmaxf(most, fmaxf(fabsf(v[i] * by.x), fabsf(v[i + 1] * by.y)));\n    most = fmaxf(most, fmaxf(fabsf(v[i + 2] * by.z), fabsf(v[i + 3] * by.w)));\n  }\n  return most;\n}\n\n/**\n * A block owns 64 columns and a range of rows, 64 at a time. A warp makes 16 rows by 32 columns of them: lane (g, t)\n * has rows g and g + 8, columns 8t .. 8t+7, and fetches the next ones as soon as it has used these. For the products,\n * warps take 16 columns each and half of the rows (rank 16) or of the ranks (rank 32).\n */\ntemplate <int TILES, bool AMAX>\nDEVICE void gated_backward_lora(bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b,\n                                u32* counters, const bf16* gate, const bf16* up, const bf16* dy, const bf16* du,\n                                const bf16* a, const u8* bits, const bf16* u, int rows, int columns, int lddgate,\n                                int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,\n                                int split_rows, int rank_a, float keep, int kind, u32* most, const float* factors) {\n  constexpr int padded_rank = 16 * TILES, depth_steps = TILES == 1 ? 2 : 4;\n  __shared__ __align__(16) bf16 right[3][64][64];  // mask⊙y, dgate, dup: [row][column]\n  __shared__ __align__(16)\n      bf16 left[64][3 * padded_rank + 8];  // [row][du, u of gate, u of up]: odd multiples of 16 bytes\n  __shared__ uint2 fragments[2][4 * TILES][32];\n  __shared__ __align__(16) float factor[AMAX ? 2 : 1][AMAX ? 64 : 1];  // of the columns of dgate and dup\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);\n  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;\n  const int c = blockIdx.x * 64 + vector * 8;\n  // Rows and columns past the end are read from the last ones: rows meet zeros on the left, columns are not written.\n  const int from = min(c, columns - 8);\n\n  // A as it is multiplied with du: lane g's column n of tile j is the one that lane g / 2 has as its 2j + g % 2 th.\n  uint2* matrix = &fragments[warp >> 2][0][lane];\n  for (int i = warp & 3; i < 4 * TILES; i += 4) {\n    const bf16* at = a + min((int)blockIdx.x * 64 + (warp >> 2) * 32 + (g >> 1) * 8 + i % 4 * 2 + (g & 1), columns - 1);\n    const int e = i / 4 * 16 + t * 2;\n    matrix[i * 32].x = *row_of(at, e, lda) | (u32)*row_of(at, e + 1, lda) << 16;\n    matrix[i * 32].y = *row_of(at, e + 8, lda) | (u32)*row_of(at, e + 9, lda) << 16;\n  }\n  if (AMAX && threadIdx.x < 128) {\n    const int column = blockIdx.x * 64 + threadIdx.x % 64;\n    factor[threadIdx.x / 64][threadIdx.x % 64] = column < columns ? factors[threadIdx.x / 64 * columns + column] : 0.0f;\n  }\n  __syncthreads();\n\n  uint4 held_gate[2], held_up[2], held_gradient[2], held_u[TILES];\n  u32 kept[2], low[TILES][4];\n  const auto fetch = [&](int i, int r0) {\n    const i64 r = min(r0 + local_row + i * 8, end - 1);\n    held_gate[i] = load_once(row_of(gate, r, ldgate) + from);\n    held_up[i] = load_once(row_of(up, r, ldup) + from);\n    held_gradient[i] = load_once(row_of(dy, r, lddy) + from);\n    kept[i] = bits ? bits[r * kb + from / 8] : 0xffu;\n  };\n  const auto fetch_left = [&](int r0) {\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      const int r = r0 + local_row + i * 8;\n      const u32* source = (const u32*)row_of(du, min(r, end - 1), lddu) + t;\n#pragma unroll\n      for (int k = 0; k < TILES; k++) {\n        low[k][i] = r < end ? source[k * 8] : 0;\n        low[k][2 + i] = r < end ? source[k * 8 + 4] : 0;\n      }\n    }\n#pragma unroll\n    for (int i = 0; i < TILES; i++) {\n      const int at = threadIdx.x + i * 256, r = r0 + at / (4 * TILES);\n      held_u[i] = *(const uint4*)(row_of(u, min(r, end - 1), ldu) + at % (4 * TILES) * 8);\n      if (r >= end) held_u[i] = zero16();\n    }\n  };\n\n  float sums[3][2][4] = {};\n  fetch_left(begin);\n  fetch(0, begin);\n  fetch(1, begin);\n#pragma unroll 1\n  for (int r0 = begin; r0 < end; r0 += 64) {\n    const bool is_last = r0 + 64 >= end;\n    if (warp < 4) {\n#pragma unroll\n      for (int k = 0; k < TILES; k++) {\n#pragma unroll\n        for (int i = 0; i < 4; i++) *(u32*)&left[local_row + (i & 1) * 8][k * 16 + (i >> 1) * 8 + t * 2] = low[k][i];\n      }\n    }\n#pragma unroll\n    for (int i = 0; i < TILES; i++) {\n      const int at = threadIdx.x + i * 256;\n      *(uint4*)&left[at / (4 * TILES)][padded_rank + at % (4 * TILES) * 8] = held_u[i];\n    }\n    float added[4][4] = {};\n#pragma unroll\n    for (int k = 0; k < TILES; k++) {\n#pragma unroll\n      for (int j = 0; j < 4; j++) {\n        const uint2 b = matrix[(k * 4 + j) * 32];\n        multiply_add(added[j], low[k][0], low[k][1], low[k][2], low[k][3], b.x, b.y);\n      }\n    }\n    if (!is_last) fetch_left(r0 + 64);\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      const int local = local_row + i * 8, r = r0 + local;\n      const u32 mask = kept[i];\n      float x[8], v[8], d[8];\n      unpack8(held_gate[i], x);\n      unpack8(held_up[i], v);\n      unpack8(held_gradient[i], d);\n      if (!is_last) fetch(i, r0 + 64);\n#pragma unroll\n      for (int j = 0; j < 8; j++) {\n        if ((mask >> j) & 1) d[j] += __fmul_rn(added[j / 2][i * 2 + j % 2], keep);\n      }\n      unpack8(pack8(d), d);\n#define CALL(KIND) gated_backward<KIND>(x, v, d)\n      BY_KIND(CALL)\n#undef CALL\n      const uint4 d_gate = pack8(x), d_up = pack8(v);\n      if (AMAX) {  // of the 32 columns of the warp; a maximum does not depend on the order of the atomics\n        float largest = largest_factored(d_gate, &factor[0][vector * 8], 0.0f);\n        largest = largest_factored(d_up, &factor[1][vector * 8], largest);\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));\n        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));\n        if (t == 0 && r < end) atomicMax(most + r, __float_as_uint(largest));\n      }\n      const int at = place_of(local, vector);\n      *(uint4*)&right[0][local][at] = keep8(pack8(d), mask);\n      *(uint4*)&right[1][local][at] = d_gate;\n      *(uint4*)&right[2][local][at] = d_up;\n      if (r < end && c < columns) {\n        *(uint4*)(row_of(dgate, r, lddgate) + c) = d_gate;\n        *(uint4*)(row_of(dup, r, lddup) + c) = d_up;\n      }\n    }\n    __syncthreads();\n    const int depth = TILES == 1 ? (warp >> 2) * 32 : 0, tile = TILES == 1 ? 0 : (warp >> 2) * 16;\n#pragma unroll\n    for (int step = 0; step < depth_steps; step++) {\n      const int left_row = depth + step * 16 + (lane >> 4) * 8 + (lane & 7),\n                right_row = depth + step * 16 + (lane & 15);\n      const int at = place_of(right_row, (warp & 3) * 2 + (lane >> 4));\n#pragma unroll\n      for (int which = 0; which < 3; which++) {\n        u32 p[4], q[4];\n        load_matrices_transposed(p, &left[left_row][which * padded_rank + tile + (lane & 8)]);\n        load_matrices_transposed(q, &right[which][right_row][at]);\n        multiply_add(sums[which][0], p[0], p[1], p[2], p[3], q[0], q[1]);\n        multiply_add(sums[which][1], p[0], p[1], p[2], p[3], q[2], q[3]);\n      }\n    }\n    __syncthreads();\n  }\n\n  if (TILES == 1) {  // the halves of the rows\n    float* exchange = (float*)right + (warp & 3) * 24 * 32 + lane;\n    if (warp >= 4) {\n#pragma unroll\n      for (int i = 0; i < 24; i++) exchange[i * 32] = sums[i / 8][i / 4 % 2][i % 4];\n    }\n    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < 24; i++) sums[i / 8][i / 4 % 2][i % 4] += warp < 4 ? exchange[i * 32] : 0.0f;\n  }\n#pragma unroll\n  for (int i = 0; i < 24; i++) {\n    const int which = i / 8, e = (TILES == 1 ? 0 : (warp >> 2) * 16) + i % 4 / 2 * 8 + g;\n    const int column = blockIdx.x * 64 + (warp & 3) * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;\n    if (column >= columns || (TILES == 1 && warp >= 4)) continue;\n    const i64 split = blockIdx.y;\n    const float sum = sums[which][i / 4 % 2][i % 4];\n    if (which == 0)\n      partial_a[(split * padded_rank + e) * columns + column] = sum;\n    else\n      partial_b[((split * 2 + which - 1) * columns + column) * padded_rank + e] = sum;\n  }\n  if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;\n  for (int i = threadIdx.x; i < rank_a * 64; i += 256) {\n    const int e = i / 64, column = blockIdx.x * 64 + i % 64;\n    if (column < columns)\n      grad_a[(i64)e * columns + column] +=\n          keep * sum_of_splits(partial_a + (i64)e * columns + column, gridDim.y, (i64)padded_rank * columns);\n  }\n}\n\n/** Launch: grid [ceil(columns/64), splits]. */\n#define GATED_BACKWARD_LORA(RANK)                                                                                      \\\n  KERNEL __launch_bounds__(256, 2) gated_backward_lora_##RANK(                                                         \\\n      bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b, u32* counters, const bf16* gate,      \\\n      const bf16* up, const bf16* dy, const bf16* du, const bf16* a, const u8* NULLABLE bits, const bf16* u, int rows, \\\n      int columns, int lddgate, int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,         \\\n      int split_rows, int rank_a, float keep, int kind) {                                                              \\\n    gated_backward_lora<RANK / 16, false>(dgate, dup, grad_a, partial_a, partial_b, counters, gate, up, dy, du, a,     \\\n                                          bits, u, rows, columns, lddgate, lddup, ldgate, ldup, lddy, lddu, lda, kb,   \\\n                                          ldu, split_rows, rank_a, keep, kind, 0, 0);                                  \\\n  }\nGATED_BACKWARD_LORA(16)\nGATED_BACKWARD_LORA(32)\n\n/**\n * gated_backward_lora that also raises most[row], the bits of a non-negative float, to the largest magnitude of\n * [dgate | dup] ⊙ factors. Launch: grid [ceil(columns/64), splits].\n */\n#define GATED_BACKWARD_AMAX(RANK)                                                                                      \\\n  KERNEL __launch_bounds__(256, 2) gated_backward_amax_##RANK(                                                         \\\n      bf16* dgate, bf16* dup, float* grad_a, float* partial_a, float* partial_b, u32* counters, const bf16* gate,      \\\n      const bf16* up, const bf16* dy, const bf16* du, const bf16* a, const u8* NULLABLE bits, const bf16* u, int rows, \\\n      int columns, int lddgate, int lddup, int ldgate, int ldup, int lddy, int lddu, int lda, int kb, int ldu,         \\\n      int split_rows, int rank_a, float keep, int kind, u32* most, const float* factors) {                             \\\n    gated_backward_lora<RANK / 16, true>(dgate, dup, grad_a, partial_a, partial_b, counters, gate, up, dy, du, a,      \\\n                                         bits, u, rows, columns, lddgate, lddup, ldgate, ldup, lddy, lddu, lda, kb,    \\\n                                         ldu, split_rows, rank_a, keep, kind, most, factors);                          \\\n  }\nGATED_BACKWARD_AMAX(16)\nGATED_BACKWARD_AMAX(32)\n",
	"generation-held.cu": "// Prepended: common.cu, generation-helpers.cuh, held-lanes.cuh\n// Decoding from weights held in 4 or 8 bits: products with a few rows of x, bound by reading the codes once.\n//\n// A thread block has 16 rows of a matrix, the rows of the left mma operand; its warps split K in chunks of 64\n// columns, of 128 for NF4 and at most 4 rows of x. Lane t of a row holds a quarter of a chunk, in both operands. What\n// a lane does with its codes is in held-lanes.cuh.\n//   NF4: a byte gives two values, packed bf16, from a table of all 256 bytes in shared memory; each lane has a copy in\n//     its own bank. Three instructions for two values, one of them a load, and an mma for eight. absmax multiplies the\n//     sums of a quantised block instead of its values. Bound by loads of all kinds: lookups, codes, absmax.\n//   e4m3: sign, exponent and mantissa are shifted into a bf16 whose exponent is 120 too small; one exact multiplication\n//     corrects two values. The scale of a row multiplies its sum.\n// Asking for codes ahead in the second-level cache was measured to be slower.\n\n#define HELD_THREADS 256\n#define HELD_WARPS (HELD_THREADS / 32)\n#define HELD_ROWS 16\n#define HELD_NORM_COLUMNS 5632  // most columns with a fused norm: the row shares memory with the NF4 table\n\n/** Parameters of a product other than the weight. */\nstruct Around {\n  bf16* y;\n  const bf16* x;\n  const bf16* a;\n  const bf16* b;\n  float* low;\n  u32* ready;\n  int M, N, K, E, ldy, ldx, lda, ldb, activation;\n  u32 target;\n};\n\n/** Range of columns of x that a block takes for its part of u. */\nstruct LowShare {\n  int begin, end;\n  DEVICE LowShare(int K) {\n    const int share = ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31;\n    begin = (int)blockIdx.x % LOW_SPLITS * share;\n    end = min(K, begin + share);\n  }\n};\n\n#define LOW_RUNS 4  // 16-byte loads of A under way\n\n/** Columns of A from c0 on, for the 8 rows of a block; what lies after the share is to be dropped. */\nDEVICE void load_low(const Around& p, const LowShare& share, int c0, uint4 (&b)[LOW_RUNS]) {\n  const int lane = threadIdx.x & 31;\n  const bf16* row = row_of(p.a, blockIdx.x / LOW_SPLITS * 8 + lane / 4, p.lda);\n#pragma unroll\n  for (int i = 0; i < LOW_RUNS; i++)\n    b[i] = load_once(row + min(c0 + i * HELD_WARPS * 32 + lane % 4 * 8, last8(share.end)));\n}\n\n/** Part of u = x·Aᵀ: 8 columns, over K/LOW_SPLITS columns of x. `partial` [warps][8 · HALVES][8]; `b` are the first. */\ntemplate <int HALVES>\nDEVICE void low_rank_part(const Around& p, const LowShare& share, uint4 (&b)[LOW_RUNS],\n                          const bf16* const (&from)[HALVES], float* partial) {\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int split = blockIdx.x % LOW_SPLITS, first = blockIdx.x / LOW_SPLITS * 8, last = last8(share.end);\n  float sums[4] = {};\n  for (int c0 = share.begin + warp * 32; c0 < share.end;) {\n#pragma unroll\n    for (int i = 0; i < LOW_RUNS; i++) {\n      const int c = c0 + i * HELD_WARPS * 32 + t * 8;\n      const uint4 factors = first8(b[i], share.end - c);\n      uint4 v[2] = {zero16(), zero16()};\n#pragma unroll\n      for (int h = 0; h < HALVES; h++) v[h] = first8(*(const uint4*)(from[h] + min(c, last)), share.end - c);\n      multiply_add(sums, v[0].x, v[1].x, v[0].y, v[1].y, factors.x, factors.y);\n      multiply_add(sums, v[0].z, v[1].z, v[0].w, v[1].w, factors.z, factors.w);\n    }\n    c0 += HELD_WARPS * LOW_RUNS * 32;\n    if (c0 < share.end) load_low(p, share, c0, b);\n  }\n#pragma unroll\n  for (int h = 0; h < HALVES; h++) {\n    float* own = partial + (warp * HALVES * 8 + h * 8 + g) * 8 + t * 2;\n    own[0] = sums[h * 2];\n    own[1] = sums[h * 2 + 1];\n  }\n  __syncthreads();\n  const int m = threadIdx.x / 8, n = threadIdx.x % 8;\n  if (m < p.M) {\n    float sum = 0.0f;\n#pragma unroll\n    for (int i = 0; i < HELD_WARPS; i++) sum += partial[(i * HALVES * 8 + m) * 8 + n];\n    p.low[((i64)split * p.M + m) * p.E + first + n] = sum;\n  }\n  __syncthreads();\n  if (threadIdx.x == 0) count_up(p.ready);\n}\n\n/**\n * y [M, N] = x·Wᵀ + u·Bᵀ with u = bf16(x·Aᵀ), for M <= 8·HALVES, and all else as small_product in generation.cu: the\n * first blocks make u, an activation takes gate and up from one block (its upper and its lower 8 rows), NORM\n * normalises the one row of x.\n */\ntemplate <class Lane, int HALVES, bool NORM>\nDEVICE void held_product(const typename Lane::Format& format, const Around& p, const RowNorm& norm) {\n  constexpr int batch = Lane::batch, width = Lane::width;\n  __shared__ uint4 table[Lane::has_table ? 2048 : 1];\n  __shared__ uint4 normed[NORM ? HELD_NORM_COLUMNS / 8 : 1];\n  __shared__ float partial[HELD_WARPS * HALVES * 8 / (Lane::is_split ? 2 : 1) * HELD_ROWS];\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int low_blocks = p.E / 8 * LOW_SPLITS;\n  const bool is_low = (int)blockIdx.x < low_blocks, is_gated = p.activation >= 0;\n  const int own = is_gated ? HELD_ROWS / 2 : HELD_ROWS;\n  Lane weights(format);\n  const int chunks = (p.K + width - 1) / width, share = (chunks + HELD_WARPS - 1) / HELD_WARPS;\n  const int begin = warp * share, end = min(chunks, begin + share);\n  typename Lane::Piece pieces[batch][2];\n  int first = ((int)blockIdx.x - low_blocks) * own;\n  // Rows past the end are read from the last one: their results are not written.\n  int rows[2];\n  auto start = [&]() {\n    rows[0] = min(first + g, p.N - 1);\n    rows[1] = is_gated ? rows[0] + p.N : min(first + 8 + g, p.N - 1);\n    weights.start(rows, p.K);\n#pragma unroll\n    for (int i = 0; i < batch; i++) weights.load(pieces[i], min(begin + i, chunks - 1));\n    weights.load_scales(min(begin, chunks - 1), chunks - 1);\n  };\n  const LowShare low_share(p.K);\n  uint4 low_rows[LOW_RUNS];\n  if (!is_low) {\n    start();\n    if (Lane::has_table) fill_table<HELD_THREADS>(table);\n  } else {\n    load_low(p, low_share, low_share.begin + warp * 32, low_rows);\n  }\n  if (NORM)\n    normalize_row<HELD_THREADS>((bf16*)normed, p.x, norm, p.K, norm.sum && (int)blockIdx.x == low_blocks);\n  else if (Lane::has_table)\n    __syncthreads();\n  if (is_low) {\n    const bf16* from[HALVES];\n#pragma unroll\n    for (int h = 0; h < HALVES; h++) from[h] = NORM ? (const bf16*)normed : row_of(p.x, min(g + 8 * h, p.M - 1), p.ldx);\n    return low_rank_part<HALVES>(p, low_share, low_rows, from, partial);\n  }\n  // Row of x in column g of the right operand, and whether this lane has a part of it.\n  const bool has_x = !Lane::is_split || (g / 2 < p.M && g % 2 == t / 2);\n  const bf16* from[HALVES];\n#pragma unroll\n  for (int h = 0; h < HALVES; h++) {\n    const int row = min(Lane::is_split ? g / 2 : g + 8 * h, p.M - 1);\n    from[h] = (NORM ? (const bf16*)normed : row_of(p.x, row, p.ldx)) + t * (width / 4);\n  }\n  const bool has_low = warp * 16 < p.E;\n  // u stays in registers and B comes before the codes, where a lane has registers left.\n  constexpr bool keeps_low = Lane::is_split || !Lane::has_table;\n  uint2 low[HALVES];\n  // Depths e .. e+3 of u.\n  auto take_low = [&](int e) {\n#pragma unroll\n    for (int h = 0; h < HALVES; h++) {\n      const int row = Lane::is_split ? g / 2 : g + 8 * h;\n      const float* part = p.low + min(row, p.M - 1) * p.E + e;\n      float4 u = {0.0f, 0.0f, 0.0f, 0.0f};\n#pragma unroll\n      for (int s = 0; s < LOW_SPLITS; s++, part += p.M * p.E) {\n        const float4 share_of_u = load_fresh(part);\n        u.x += share_of_u.x;\n        u.y += share_of_u.y;\n        u.z += share_of_u.z;\n        u.w += share_of_u.w;\n      }\n      low[h] = make_uint2(pack_bf16(u.x, u.y), pack_bf16(u.z, u.w));\n      if (Lane::is_split && g % 2) low[h] = make_uint2(0, 0);\n    }\n  };\n\n  for (bool is_next = false;; is_next = true) {\n    // Lane t has depths 4t .. 4t+3 of 16 columns of u and B.\n    uint2 factors[2];\n    if (keeps_low && has_low) {\n#pragma unroll\n      for (int i = 0; i < 2; i++) factors[i] = load_once8(row_of(p.b, rows[i], p.ldb) + warp * 16 + t * 4);\n    }\n    float sums[HALVES][4] = {};\n    for (int c = begin; c < end; c += batch) {\n      weights.take_scales();\n      if (c + batch < end) weights.load_scales(c + batch, end - 1);\n#pragma unroll\n      for (int i = 0; i < batch; i++) {\n        if (c + i >= end) continue;\n        const int column = (c + i) * width;\n        const bool is_inside = has_x && (Lane::is_split || column + t * (width / 4) < p.K);\n        uint4 v[HALVES][width / 32];\n#pragma unroll\n        for (int h = 0; h < HALVES; h++) {\n#pragma unroll\n          for (int j = 0; j < width / 32; j++)\n            v[h][j] = is_inside ? *(const uint4*)(from[h] + column + j * 8) : zero16();\n        }\n        float own[HALVES][4] = {};\n#pragma unroll\n        for (int j = 0; j < width / 16; j++) {\n          u32 left[2], right[2];\n          weights.expand(pieces[i][0], j, (const u32*)table, left[0], left[1]);\n          weights.expand(pieces[i][1], j, (const u32*)table, right[0], right[1]);\n#pragma unroll\n          for (int h = 0; h < HALVES; h++) {\n            const uint4 x = v[h][j / 2];\n            multiply_add(own[h], left[0], right[0], left[1], right[1], j % 2 ? x.z : x.x, j % 2 ? x.w : x.y);\n          }\n        }\n#pragma unroll\n        for (int h = 0; h < HALVES; h++) weights.add(sums[h], own[h], i);\n        if (c + i + batch < end) weights.load(pieces[i], c + i + batch);\n      }\n    }\n#pragma unroll\n    for (int h = 0; h < HALVES; h++) weights.finish(sums[h]);\n    // The next rows are prefetched while these are reduced.\n    const int own_first = first, own_rows[2] = {rows[0], rows[1]};\n    first += ((int)gridDim.x - low_blocks) * own;\n    const bool is_last = first >= p.N;\n    if (!is_last) start();\n\n    if (has_low) {\n      if (!is_next) await_count(p.ready, p.target);\n#pragma unroll 1\n      for (int e = warp * 16 + t * 4; e < p.E; e += HELD_WARPS * 16) {\n        if (!keeps_low || e >= HELD_WARPS * 16) {\n#pragma unroll\n          for (int i = 0; i < 2; i++) factors[i] = load_once8(row_of(p.b, own_rows[i], p.ldb) + e);\n        }\n        if (!keeps_low || !is_next || p.E > HELD_WARPS * 16) take_low(e);\n#pragma unroll\n        for (int h = 0; h < HALVES; h++)\n          multiply_add(sums[h], factors[0].x, factors[1].x, factors[0].y, factors[1].y, low[h].x, low[h].y);\n      }\n    }\n\n    // Those of the rows before are added up.\n    if (is_next) __syncthreads();\n#pragma unroll\n    for (int h = 0; h < HALVES; h++) {\n      if (Lane::is_split) {\n        float* to = partial + (warp * 4 + t) * HELD_ROWS + g;\n        to[0] = sums[h][0];\n        to[8] = sums[h][2];\n      } else {\n        float* to = partial + (warp * HALVES * 8 + h * 8 + t * 2) * HELD_ROWS + g;\n        to[0] = sums[h][0];\n        to[HELD_ROWS] = sums[h][1];\n        to[8] = sums[h][2];\n        to[HELD_ROWS + 8] = sums[h][3];\n      }\n    }\n    __syncthreads();\n    const int m = threadIdx.x / HELD_ROWS, n = threadIdx.x % HELD_ROWS;\n    if (m < p.M) {\n      float sum = 0.0f, up = 0.0f;\n#pragma unroll\n      for (int i = 0; i < HELD_WARPS; i++) {\n        const float* row = partial + (i * (Lane::is_split ? 4 : HALVES * 8) + m) * HELD_ROWS;\n        sum += row[n];\n        up += row[n % 8 + 8];\n      }\n      bf16* y = row_of(p.y, m, p.ldy) + own_first;\n      if (is_gated) {\n        sum = round_bf16(sum);\n        float opening = 0.0f;\n#define CALL(KIND) opening = gate_of<KIND>(sum)\n        const int kind = p.activation;\n        BY_KIND(CALL)\n#undef CALL\n        if (n < 8 && own_first + n < p.N) y[n] = to_bf16(sum * opening * round_bf16(up));\n      } else if (own_first + n < p.N) {\n        y[n] = to_bf16(sum);\n      }\n    }\n    if (is_last) return;\n  }\n}\n\ntemplate <int ROWS>\nstruct Nf4Choice {\n  typedef Nf4Lane Lane;\n};\ntemplate <>\nstruct Nf4Choice<4> {\n  typedef Nf4Wide Lane;\n};\ntemplate <int ROWS>\nusing Nf4For = typename Nf4Choice<ROWS>::Lane;\n\n/** Launch: grid [4·E/8 + ceil(N/16)], N/8 in place of N/16 with an activation, or fewer: they take rows in turns. */\n#define SMALL_LINEAR_NF4(ROWS)                                                                                        \\\n  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 4   ? 3                                                              \\\n                                         : ROWS == 8 ? 4                                                              \\\n                                                     : 2)                                                             \\\n      small_linear_nf4_##ROWS(bf16* y, const bf16* x, const u8* codes, const u8* NULLABLE absmax_codes,               \\\n                              const float* absmax, const float* NULLABLE table0, const float* NULLABLE table1,        \\\n                              const float* NULLABLE table2, const float* NULLABLE table3, const bf16* NULLABLE a,     \\\n                              const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, int first,            \\\n                              int nested_shift, int part_row1, int part_row2, int part_row3, int part_block0,         \\\n                              int part_block1, int part_block2, int part_block3, int M, int N, int K, int E, int ldy, \\\n                              int ldx, int lda, int ldb, int activation, u32 target) {                                \\\n    const Nf4 format = {codes,       absmax_codes, absmax,       table0,     table1,    table2,                       \\\n                        table3,      first,        nested_shift, part_row1,  part_row2, part_row3,                    \\\n                        part_block0, part_block1,  part_block2,  part_block3};                                        \\\n    const Around p = {y, x, a, b, low, ready, M, N, K, E, ldy, ldx, lda, ldb, activation, target};                    \\\n    held_product<Nf4For<ROWS>, (ROWS + 7) / 8, false>(format, p, RowNorm());                                          \\\n  }\nSMALL_LINEAR_NF4(4)\nSMALL_LINEAR_NF4(8)\nSMALL_LINEAR_NF4(16)\n/** x and residual are one row; sum may be null. Launch: as small_linear_nf4. */\nKERNEL __launch_bounds__(HELD_THREADS, 3)\n    small_linear_norm_nf4(bf16* y, const bf16* x, const u8* codes, const u8* NULLABLE absmax_codes, const float* absmax,\n                          const float* NULLABLE table0, const float* NULLABLE table1, const float* NULLABLE table2,\n                          const float* NULLABLE table3, const bf16* NULLABLE a, const bf16* NULLABLE b,\n                          float* NULLABLE low, u32* NULLABLE ready, bf16* NULLABLE sum, const bf16* NULLABLE residual,\n                          const bf16* norm_weight, int first, int nested_shift, int part_row1, int part_row2,\n                          int part_row3, int part_block0, int part_block1, int part_block2, int part_block3, int N,\n                          int K, int E, int lda, int ldb, int activation, u32 target, float eps) {\n  const Nf4 format = {codes,       absmax_codes, absmax,       table0,     table1,    table2,\n                      table3,      first,        nested_shift, part_row1,  part_row2, part_row3,\n                      part_block0, part_block1,  part_block2,  part_block3};\n  const Around p = {y, x, a, b, low, ready, 1, N, K, E, N, K, lda, ldb, activation, target};\n  held_product<Nf4Wide, 1, true>(format, p, RowNorm{sum, residual, norm_weight, eps});\n}\n\n/** Launch: as small_linear_nf4. */\n#define SMALL_LINEAR_E4M3(ROWS)                                                                                       \\\n  KERNEL __launch_bounds__(HELD_THREADS, ROWS == 8 ? 4 : 2)                                                           \\\n      small_linear_e4m3_##ROWS(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,  \\\n                               const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, int M, int N, int K, \\\n                               int E, int ldy, int ldx, int ldc, int lda, int ldb, int activation, u32 target) {      \\\n    const Around p = {y, x, a, b, low, ready, M, N, K, E, ldy, ldx, lda, ldb, activation, target};                    \\\n    held_product<E4m3Lane, ROWS / 8, false>(E4m3{codes, scales, ldc}, p, RowNorm());                                  \\\n  }\nSMALL_LINEAR_E4M3(8)\nSMALL_LINEAR_E4M3(16)\n/** x and residual are one row; sum may be null. Launch: as small_linear_nf4. */\nKERNEL __launch_bounds__(HELD_THREADS, 4)\n    small_linear_norm_e4m3(bf16* y, const bf16* x, const u8* codes, const float* scales, const bf16* NULLABLE a,\n                           const bf16* NULLABLE b, float* NULLABLE low, u32* NULLABLE ready, bf16* NULLABLE sum,\n                           const bf16* NULLABLE residual, const bf16* norm_weight, int N, int K, int E, int ldc,\n                           int lda, int ldb, int activation, u32 target, float eps) {\n  const Around p = {y, x, a, b, low, ready, 1, N, K, E, N, K, lda, ldb, activation, target};\n  held_product<E4m3Lane, 1, true>(E4m3{codes, scales, ldc}, p, RowNorm{sum, residual, norm_weight, eps});\n}\n",
	"generation.cu": "// Prepended: common.cu, generation-helpers.cuh\n// Decoding: products with a few rows of x, bound by reading the weight once.\n\n#define PRODUCT_THREADS 128\n#define PRODUCT_WARPS (PRODUCT_THREADS / 32)\n#define NORM_COLUMNS 8192  // most columns of a row that is normalised on the way\n\n/**\n * y [M, N] = x·Wᵀ + u·Bᵀ with u = bf16(x·Aᵀ), for M <= 8·HALVES. B [N, E] lies in the columns of w from roundup(K, 8)\n * on. A block has 8 rows of a matrix (the columns of the matrix instruction); its warps split K. Lane t takes columns\n * 8t .. 8t+7 of a run for both operands: the order of the depths within a run does not matter.\n *\n * The first E/8 · LOW_SPLITS blocks make u: each leaves a part of the sums for 8 of its columns in `low` (fp32\n * [LOW_SPLITS, M, E]) and counts itself in `ready`, which never goes back. The others stream W meanwhile and take u\n * at the end, when `ready` has come to `target`. Blocks start in the order of their indices, so those that are waited\n * for run already.\n *\n * Blocks take rows in turns: the next weights are on their way while sums are added up, and a row is normalised once a\n * block. Nothing is prefetched into the second-level cache: that was measured to be slower.\n *\n * With an activation (>= 0), w has 2N rows, gate above up: a block has 4 of each, and y = bf16(act(gate)·up).\n * With NORM, M is 1 and x is normalised first, by every block for itself while its first weights arrive; one writes the\n * sum.\n */\ntemplate <int HALVES, bool NORM>\nDEVICE void small_product(bf16* y, const bf16* x, const bf16* w, const bf16* a, float* low, u32* ready,\n                          const RowNorm& norm, int M, int N, int K, int E, int ldy, int ldx, int ldw, int lda,\n                          int activation, u32 target) {\n  constexpr int run_count = 4 / HALVES;  // of 32 columns that a warp has under way, twice\n  constexpr int step = PRODUCT_WARPS * run_count * 32;\n  __shared__ float partial[PRODUCT_WARPS][HALVES * 8][8];\n  __shared__ uint4 normed[NORM ? NORM_COLUMNS / 8 : 1];\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int low_blocks = E / 8 * LOW_SPLITS;\n  const bool is_low = (int)blockIdx.x < low_blocks, is_gated = activation >= 0 && !is_low;\n  const int split = is_low ? blockIdx.x % LOW_SPLITS : 0;\n  const int share = is_low ? ((K + LOW_SPLITS - 1) / LOW_SPLITS + 31) & ~31 : K;\n  const int begin = split * share, end = min(K, begin + share);\n  int first = is_low ? blockIdx.x / LOW_SPLITS * 8 : (blockIdx.x - low_blocks) * (is_gated ? 4 : 8);\n  const int last = last8(end);\n  const bf16* weight;\n  int c0;\n  uint4 b[run_count];\n  auto start = [&]() {\n    // Rows past the end are read from the last one: their results are not written.\n    const int own_row = is_gated ? min(first + g % 4, N - 1) + g / 4 * N : min(first + g, N - 1);\n    weight = is_low ? row_of(a, first + g, lda) : row_of(w, own_row, ldw);\n    c0 = begin + warp * run_count * 32 + t * 8;\n#pragma unroll\n    for (int i = 0; i < run_count; i++) b[i] = load_once(weight + min(c0 + i * 32, last));\n  };\n  start();\n  if (NORM) normalize_row<PRODUCT_THREADS>((bf16*)normed, x, norm, K, norm.sum && (int)blockIdx.x == low_blocks);\n\n  const bf16* from[HALVES];\n#pragma unroll\n  for (int h = 0; h < HALVES; h++) from[h] = NORM ? (const bf16*)normed : row_of(x, min(g + 8 * h, M - 1), ldx);\n  for (bool is_next = false;; is_next = true) {\n    float sums[4] = {};\n    // At least once, as any warp may have to wait for u.\n    bool is_last;\n    do {\n      is_last = c0 - t * 8 + step >= end;\n      uint4 following[run_count], v[HALVES][run_count];\n      if (!is_last) {\n#pragma unroll\n        for (int i = 0; i < run_count; i++) following[i] = load_once(weight + min(c0 + step + i * 32, last));\n      } else if (!is_low && !is_next && warp * 32 < E) {\n        // While the last weights arrive.\n        await_count(ready, target);\n      }\n#pragma unroll\n      for (int h = 0; h < HALVES; h++) {\n#pragma unroll\n        for (int i = 0; i < run_count; i++) v[h][i] = *(const uint4*)(from[h] + min(c0 + i * 32, last));\n      }\n      if (c0 - t * 8 + run_count * 32 > end) {\n#pragma unroll\n        for (int i = 0; i < run_count; i++) {\n          const int left = end - (c0 + i * 32);\n          b[i] = first8(b[i], left);\n#pragma unroll\n          for (int h = 0; h < HALVES; h++) v[h][i] = first8(v[h][i], left);\n        }\n      }\n#pragma unroll\n      for (int i = 0; i < run_count; i++) {\n        const uint4 lower = v[0][i], upper = HALVES == 2 ? v[HALVES - 1][i] : zero16();\n        multiply_add(sums, lower.x, upper.x, lower.y, upper.y, b[i].x, b[i].y);\n        multiply_add(sums, lower.z, upper.z, lower.w, upper.w, b[i].z, b[i].w);\n        b[i] = following[i];\n      }\n      c0 += step;\n    } while (!is_last);\n    if (!is_low) {\n      const bf16* narrow = weight + ((K + 7) & ~7);\n      for (int e0 = warp * 32; e0 < E; e0 += PRODUCT_THREADS) {\n        const int e = e0 + t * 8;\n        const uint4 factors = e < E ? load_once(narrow + e) : zero16();\n        uint4 u[2] = {zero16(), zero16()};\n#pragma unroll\n        for (int h = 0; h < HALVES; h++) {\n          float total[8] = {};\n          const float* part = low + (i64)min(g + 8 * h, M - 1) * E + e;\n#pragma unroll 4\n          for (int s = 0; s < (e < E ? LOW_SPLITS : 0); s++, part += M * E) {\n            const float4 left = load_fresh(part), right = load_fresh(part + 4);\n            total[0] += left.x;\n            total[1] += left.y;\n            total[2] += left.z;\n            total[3] += left.w;\n            total[4] += right.x;\n            total[5] += right.y;\n            total[6] += right.z;\n            total[7] += right.w;\n          }\n          u[h] = pack8(total);\n        }\n        multiply_add(sums, u[0].x, u[1].x, u[0].y, u[1].y, factors.x, factors.y);\n        multiply_add(sums, u[0].z, u[1].z, u[0].w, u[1].w, factors.z, factors.w);\n      }\n    }\n\n    const int own_first = first;\n    if (!is_low) first += ((int)gridDim.x - low_blocks) * (is_gated ? 4 : 8);\n    const bool is_end = is_low || first >= N;\n    if (!is_end) start();\n    if (is_next) __syncthreads();\n#pragma unroll\n    for (int h = 0; h < HALVES; h++) {\n      partial[warp][h * 8 + g][t * 2] = sums[h * 2];\n      partial[warp][h * 8 + g][t * 2 + 1] = sums[h * 2 + 1];\n    }\n    __syncthreads();\n    const int row = threadIdx.x / 8, n = threadIdx.x % 8;\n    if (row < M) {\n      float sum = 0.0f, up = 0.0f;\n#pragma unroll\n      for (int i = 0; i < PRODUCT_WARPS; i++) {\n        sum += partial[i][row][n];\n        up += partial[i][row][n % 4 + 4];\n      }\n      if (is_low) {\n        low[((i64)split * M + row) * E + own_first + n] = sum;\n      } else if (is_gated) {\n        sum = round_bf16(sum);\n        float opening = 0.0f;\n#define CALL(KIND) opening = gate_of<KIND>(sum)\n        const int kind = activation;\n        BY_KIND(CALL)\n#undef CALL\n        if (n < 4 && own_first + n < N) row_of(y, row, ldy)[own_first + n] = to_bf16(sum * opening * round_bf16(up));\n      } else if (own_first + n < N) {\n        row_of(y, row, ldy)[own_first + n] = to_bf16(sum);\n      }\n    }\n    if (is_end) break;\n  }\n  if (!is_low) return;\n  __syncthreads();\n  if (threadIdx.x == 0) count_up(ready);\n}\n\n/**\n * Launch: grid [4·E/8 + ceil(N/8)], N/4 in place of N/8 with an activation, or fewer after the first 4·E/8: they take\n * rows in turns.\n */\n#define SMALL_LINEAR(ROWS)                                                                                            \\\n  KERNEL __launch_bounds__(PRODUCT_THREADS, 6) small_linear_##ROWS(                                                   \\\n      bf16* y, const bf16* x, const bf16* w, const bf16* NULLABLE a, float* NULLABLE low, u32* NULLABLE ready, int M, \\\n      int N, int K, int E, int ldy, int ldx, int ldw, int lda, int activation, u32 target) {                          \\\n    small_product<ROWS / 8, false>(y, x, w, a, low, ready, RowNorm(), M, N, K, E, ldy, ldx, ldw, lda, activation,     \\\n                                   target);                                                                           \\\n  }\nSMALL_LINEAR(8)\nSMALL_LINEAR(16)\n/** x and residual are one row; sum may be null. Launch: as small_linear. */\nKERNEL __launch_bounds__(PRODUCT_THREADS, 6)\n    small_linear_norm(bf16* y, const bf16* x, const bf16* w, const bf16* NULLABLE a, float* NULLABLE low,\n                      u32* NULLABLE ready, bf16* NULLABLE sum, const bf16* NULLABLE residual, const bf16* norm_weight,\n                      int N, int K, int E, int ldw, int lda, int activation, u32 target, float eps) {\n  small_product<1, true>(y, x, w, a, low, ready, RowNorm{sum, residual, norm_weight, eps}, 1, N, K, E, N, K, ldw, lda,\n                         activation, target);\n}\n",
	"lora-backward.cu": "// Prepended: common.cu, lora-helpers.cuh\n// What the gradient of an adapted layer's input and that of A have in common, in one pass over [T, K]: for each part of\n// the layer, dx += keep·mask⊙(du·A) and grad += keep·duᵀ·(mask⊙x). x may be a norm's result, which is recomputed on the\n// way.\n\n/** bf16(bf16(s·scale)·weight), as rms_norm_forward makes it. */\nDEVICE uint4 normalized(uint4 s, float scale, uint4 weight) {\n  const auto pair = [&](u32 values, u32 weights) {\n    return multiply_bf16(pack_bf16(bf16_low(values) * scale, bf16_high(values) * scale), weights);\n  };\n  return make_uint4(pair(s.x, weight.x), pair(s.y, weight.y), pair(s.z, weight.z), pair(s.w, weight.w));\n}\n\n/**\n * A block owns 64 columns and a range of rows, 64 at a time. A warp makes 16 rows by 32 columns of dx: lane (g, t) has\n * rows g and g + 8, columns 8t .. 8t+7, and fetches the next ones as soon as it has used these. For dA, warps take 16\n * columns each and half of the rows (16 columns of du) or every other 16 columns of du. At most 3 parts have ranks.\n */\ntemplate <int TILES>\nDEVICE void lora_backward(float* grad0, float* grad1, float* grad2, float* grad3, float* partial, u32* counters,\n                          bf16* dx, const bf16* x, const float* rstd, const bf16* weight, const bf16* du, const bf16* a,\n                          const u8* bits, int rows, int K, int lddx, int ldx, int lddu, int lda, int kb, int start1,\n                          int start2, int start3, int rank0, int rank1, int rank2, int rank3, int split_rows,\n                          float keep0, float keep1, float keep2, float keep3) {\n  constexpr int E = 16 * TILES, max_slots = TILES < 3 ? TILES : 3, depth_steps = TILES == 1 ? 2 : 4,\n                own_tiles = (TILES + 1) / 2;\n  __shared__ __align__(16) bf16 right[max_slots][64][64];  // mask⊙x by part: [row][column]\n  __shared__ __align__(16) bf16 left[64][E + 8];           // du: [row][e]\n  __shared__ uint2 fragments[2][4 * TILES][32];\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);\n  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;\n  const int first_column = blockIdx.x * 64, c = first_column + vector * 8;\n  // Rows and columns past the end are read from the last ones: rows meet zeros on the left, columns are not written.\n  const int from = min(c, last8(K));\n\n  // A as it is multiplied with du: lane g's column n of tile j is the one that lane g / 2 has as its 2j + g % 2 th.\n  uint2* matrix = &fragments[warp >> 2][0][lane];\n  for (int i = warp & 3; i < 4 * TILES; i += 4) {\n    const bf16* at = a + min(first_column + (warp >> 2) * 32 + (g >> 1) * 8 + i % 4 * 2 + (g & 1), K - 1);\n    const int e = i / 4 * 16 + t * 2;\n    matrix[i * 32].x = *row_of(at, e, lda) | (u32)*row_of(at, e + 1, lda) << 16;\n    matrix[i * 32].y = *row_of(at, e + 8, lda) | (u32)*row_of(at, e + 9, lda) << 16;\n  }\n  // Which part the masks of a slot are of, and the slot of each 16 columns of du.\n  int slots = 0, previous = -1, mask_part = 0;\n  u32 slot_of = 0;\n#pragma unroll\n  for (int k = 0; k < TILES; k++) {\n    const int part = part_of(k * 16, start1, start2, start3);\n    if (part != previous) {\n      if (slots == min(t, 2)) mask_part = part;\n      slots++;\n    }\n    previous = part;\n    slot_of |= (u32)(slots - 1) << (4 * k);\n  }\n  const bool is_one = bits == 0;  // one copy of x serves all\n  if (t >= slots) mask_part = previous;\n  const u8* masks = bits + (i64)mask_part * rows * kb + min((first_column + (warp >> 2) * 32) / 8, kb - 4);\n  const uint4 scales = rstd ? load8(weight, from, K) : zero16();\n  __syncthreads();\n\n  uint4 held_gradient[2], held_x[2];\n  u32 words[2], low[TILES][4];\n  float held_scale[2];\n  const auto fetch = [&](int i, int first) {\n    const i64 r = min(first + local_row + i * 8, end - 1);\n    held_gradient[i] = *(const uint4*)(row_of(dx, r, lddx) + from);\n    held_x[i] = load_once(row_of(x, r, ldx) + from);\n    // Lane t of each group of four reads slot t's word, 32 columns.\n    words[i] = is_one ? 0xffffffffu : *(const u32*)(masks + r * kb);\n    held_scale[i] = rstd ? rstd[r] : 0.0f;\n  };\n  const auto fetch_left = [&](int first) {\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      const int r = first + local_row + i * 8;\n      const u32* source = (const u32*)row_of(du, min(r, end - 1), lddu) + t;\n#pragma unroll\n      for (int k = 0; k < TILES; k++) {\n        low[k][i] = r < end ? source[k * 8] : 0;\n        low[k][2 + i] = r < end ? source[k * 8 + 4] : 0;\n      }\n    }\n  };\n\n  float sums[own_tiles][2][4] = {};\n  fetch_left(begin);\n  fetch(0, begin);\n  fetch(1, begin);\n#pragma unroll 1\n  for (int first = begin; first < end; first += 64) {\n    const bool is_last = first + 64 >= end;\n    if (warp < 4) {\n#pragma unroll\n      for (int k = 0; k < TILES; k++) {\n#pragma unroll\n        for (int i = 0; i < 4; i++) *(u32*)&left[local_row + (i & 1) * 8][k * 16 + (i >> 1) * 8 + t * 2] = low[k][i];\n      }\n    }\n    u32 kept[2] = {0, 0};  // a byte for each slot\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n#pragma unroll\n      for (int slot = 0; slot < max_slots; slot++) {\n        kept[i] |= ((__shfl_sync(0xffffffffu, words[i], (lane & 28) | slot) >> (8 * t)) & 0xffu) << (8 * slot);\n      }\n    }\n    float total[2][8] = {}, added[4][4];\n#pragma unroll\n    for (int k = 0; k < TILES; k++) {\n      const int part = part_of(k * 16, start1, start2, start3);\n      // Zeros right before the first product cost nothing.\n      if (k == 0 || part_of(k * 16 - 16, start1, start2, start3) != part) {\n#pragma unroll\n        for (int j = 0; j < 16; j++) added[j / 4][j % 4] = 0.0f;\n      }\n#pragma unroll\n      for (int j = 0; j < 4; j++) {\n        const uint2 b = matrix[(k * 4 + j) * 32];\n        multiply_add(added[j], low[k][0], low[k][1], low[k][2], low[k][3], b.x, b.y);\n      }\n      if (k + 1 < TILES && part_of(k * 16 + 16, start1, start2, start3) == part) continue;\n      const float keep = pick(part, keep0, keep1, keep2, keep3);\n      const int shift = 8 * ((slot_of >> (4 * k)) & 15);\n#pragma unroll\n      for (int i = 0; i < 2; i++) {\n        const u32 byte = kept[i] >> shift;\n#pragma unroll\n        for (int j = 0; j < 8; j++) {\n          if ((byte >> j) & 1) total[i][j] += added[j / 2][i * 2 + j % 2] * keep;\n        }\n      }\n    }\n    if (!is_last) fetch_left(first + 64);\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      const int local = local_row + i * 8, r = first + local;\n      float v[8];\n      unpack8(held_gradient[i], v);\n      const uint4 own = rstd ? normalized(held_x[i], held_scale[i], scales) : held_x[i];\n      if (!is_last) fetch(i, first + 64);\n#pragma unroll\n      for (int j = 0; j < 8; j++) v[j] += total[i][j];\n      if (r < end && c < K) store8(row_of(dx, r, lddx), c, K, v);\n      const int at = place_of(local, vector);\n#pragma unroll\n      for (int slot = 0; slot < max_slots; slot++) {\n        if (slot == 0 || (slot < slots && !is_one)) {\n          *(uint4*)&right[slot][local][at] = keep8(own, (kept[i] >> (8 * slot)) & 0xffu);\n        }\n      }\n    }\n    __syncthreads();\n    const int depth = TILES == 1 ? (warp >> 2) * 32 : 0;\n#pragma unroll\n    for (int step = 0; step < depth_steps; step++) {\n      const int left_row = depth + step * 16 + (lane >> 4) * 8 + (lane & 7),\n                right_row = depth + step * 16 + (lane & 15);\n      const int at = place_of(right_row, (warp & 3) * 2 + (lane >> 4));\n#pragma unroll\n      for (int i = 0; i < own_tiles; i++) {\n        const int tile = TILES == 1 ? 0 : (warp >> 2) + i * 2;\n        if (tile >= TILES) break;\n        u32 p[4], q[4];\n        load_matrices_transposed(p, &left[left_row][tile * 16 + (lane & 8)]);\n        load_matrices_transposed(q, &right[is_one ? 0 : (slot_of >> (4 * tile)) & 15][right_row][at]);\n        multiply_add(sums[i][0], p[0], p[1], p[2], p[3], q[0], q[1]);\n        multiply_add(sums[i][1], p[0], p[1], p[2], p[3], q[2], q[3]);\n      }\n    }\n    __syncthreads();\n  }\n\n  if (TILES == 1) {  // the halves of the rows\n    float* exchange = (float*)right + (warp & 3) * 8 * 32 + lane;\n    if (warp >= 4) {\n#pragma unroll\n      for (int i = 0; i < 8; i++) exchange[i * 32] = sums[0][i / 4][i % 4];\n    }\n    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < 8; i++) sums[0][i / 4][i % 4] += warp < 4 ? exchange[i * 32] : 0.0f;\n  }\n#pragma unroll\n  for (int i = 0; i < own_tiles * 8; i++) {\n    const int tile = TILES == 1 ? 0 : (warp >> 2) + i / 8 * 2;\n    const int e = tile * 16 + i % 4 / 2 * 8 + g,\n              column = first_column + (warp & 3) * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;\n    if (e >= E || column >= K || (TILES == 1 && warp >= 4)) continue;\n    partial[((i64)blockIdx.y * E + e) * K + column] = sums[i / 8][i / 4 % 2][i % 4];\n  }\n  if (!is_last_block(counters + blockIdx.x, gridDim.y)) return;\n  for (int i = threadIdx.x; i < E * 64; i += 256) {\n    const int e = i / 64, column = first_column + i % 64;\n    const int part = part_of(e, start1, start2, start3), local = e - pick(part, 0, start1, start2, start3);\n    float* grad = pick(part, grad0, grad1, grad2, grad3);\n    if (column >= K || !grad || local >= pick(part, rank0, rank1, rank2, rank3)) continue;\n    grad[(i64)local * K + column] +=\n        pick(part, keep0, keep1, keep2, keep3) * sum_of_splits(partial + (i64)e * K + column, gridDim.y, (i64)E * K);\n  }\n}\n\n/** Launch: grid [ceil(K/64), splits]. */\n#define LORA_BACKWARD(COLUMNS)                                                                                         \\\n  KERNEL __launch_bounds__(256, 2) lora_backward_##COLUMNS(                                                            \\\n      float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3, float* partial,      \\\n      u32* counters, bf16* dx, const bf16* x, const float* NULLABLE rstd, const bf16* NULLABLE weight, const bf16* du, \\\n      const bf16* a, const u8* NULLABLE bits, int rows, int K, int lddx, int ldx, int lddu, int lda, int kb,           \\\n      int start1, int start2, int start3, int rank0, int rank1, int rank2, int rank3, int split_rows, float keep0,     \\\n      float keep1, float keep2, float keep3) {                                                                         \\\n    lora_backward<COLUMNS / 16>(grad0, grad1, grad2, grad3, partial, counters, dx, x, rstd, weight, du, a, bits, rows, \\\n                                K, lddx, ldx, lddu, lda, kb, start1, start2, start3, rank0, rank1, rank2, rank3,       \\\n                                split_rows, keep0, keep1, keep2, keep3);                                               \\\n  }\nLORA_BACKWARD(16)\nLORA_BACKWARD(32)\nLORA_BACKWARD(48)\nLORA_BACKWARD(64)\n",
	"lora-gradient.cu": "// Prepended: common.cu, lora-helpers.cuh\n// Gradients of A and B and their way back into the frozen weights' extra columns. Both gradients are products over the\n// rows, left [T, e]ᵀ · right [T, columns]: blocks take a range of rows and write fp32 partials; the last block of the\n// same columns adds these in their order, so the result does not depend on timing.\n\n#define STRIDE 72  // of a shared row of 64: rows of 144 bytes meet no bank twice in ldmatrix\n\nstruct Tiles {\n  __align__(16) bf16 right[4][64][STRIDE];  // by mask: [row][column]\n  __align__(16) bf16 left[64][STRIDE];      // [row][e]\n};\n\n/**\n * 64 e by 64 columns over rows begin .. end. `slots` <= SLOTS masked copies of the right tile (SLOTS 0: one, without a\n * mask); e-tile m (16 wide) uses copy slot_of[m], whose bits start at bits + part·rows·kb. Warps 0-3 take rows 0-31 of\n * a step, 4-7 rows 32-63.\n */\ntemplate <int SLOTS>\nDEVICE void product_of_rows(Tiles& tiles, float (&sums)[4][2][4], const bf16* left, const bf16* right, const u8* bits,\n                            int begin, int end, int width, int ldleft, int ldright, int column, int column_end,\n                            int rows, int kb, int slots, u32 slot_of, u32 part_of_slot) {\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;\n  const int vector = (threadIdx.x & 7) * 8, local_row = threadIdx.x >> 3;\n  const int depth = (warp >> 2) * 32, local_column = (warp & 3) * 16;\n  const int c = min(column + vector, (column_end - 1) & ~7), left_column = min(vector, width - 8);\n  uint4 next_left[2], next_right[2];\n  u32 next_bits[2][SLOTS + 1];\n  for (int r0 = begin - 64; r0 < end; r0 += 64) {\n    if (r0 >= begin) {\n#pragma unroll\n      for (int i = 0; i < 2; i++) {\n        const int r = local_row + i * 32;\n        *(uint4*)&tiles.left[r][vector] = next_left[i];\n        if (SLOTS == 0) *(uint4*)&tiles.right[0][r][vector] = next_right[i];\n#pragma unroll\n        for (int slot = 0; slot < SLOTS; slot++) {\n          if (slot < slots) *(uint4*)&tiles.right[slot][r][vector] = keep8(next_right[i], next_bits[i][slot]);\n        }\n      }\n    }\n    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      // Columns past the end give results that are not written; rows past the end meet zeros on the left.\n      const int r = r0 + 64 + local_row + i * 32;\n      const int from = min(r, end - 1);\n      next_right[i] = load_once(row_of(right, from, ldright) + c);\n      next_left[i] = *(const uint4*)(row_of(left, from, ldleft) + left_column);\n      if (r >= end) next_left[i] = zero16();\n#pragma unroll\n      for (int slot = 0; slot < SLOTS; slot++) {\n        const int part = (part_of_slot >> (8 * min(slot, slots - 1))) & 0xffu;\n        next_bits[i][slot] = bits[((i64)part * rows + from) * kb + c / 8];\n      }\n    }\n    if (r0 >= begin) {\n      u32 b[2][4];  // [depth step][tile 0 low, high depths, tile 1 low, high]\n      int current = -1;\n#pragma unroll\n      for (int m = 0; m < 4; m++) {\n        if (m * 16 >= width) break;\n        const int slot = (slot_of >> (8 * m)) & 0xffu;\n        if (slot != current) {\n          current = slot;\n#pragma unroll\n          for (int step = 0; step < 2; step++) {\n            load_matrices_transposed(\n                b[step], &tiles.right[slot][depth + step * 16 + (lane & 15)][local_column + (lane >> 4) * 8]);\n          }\n        }\n#pragma unroll\n        for (int step = 0; step < 2; step++) {\n          u32 a[4];\n          load_matrices_transposed(a,\n                                   &tiles.left[depth + step * 16 + (lane >> 4) * 8 + (lane & 7)][m * 16 + (lane & 8)]);\n          multiply_add(sums[m][0], a[0], a[1], a[2], a[3], b[step][0], b[step][1]);\n          multiply_add(sums[m][1], a[0], a[1], a[2], a[3], b[step][2], b[step][3]);\n        }\n      }\n    }\n    __syncthreads();\n  }\n}\n\n/** Adds the two halves of the block and writes its sums, element (e, column) at e·stride_e + column·stride_c. */\nDEVICE void write_partial(Tiles& tiles, float (&sums)[4][2][4], float* partial, int width, int column, int column_end,\n                          i64 stride_e, i64 stride_c) {\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  float* exchange = (float*)tiles.right + (warp & 3) * 32 * 32 + lane;\n  if (warp >= 4) {\n#pragma unroll\n    for (int i = 0; i < 32; i++) exchange[i * 32] = sums[i / 8][i / 4 % 2][i % 4];\n  }\n  __syncthreads();\n  if (warp >= 4) return;\n#pragma unroll\n  for (int i = 0; i < 32; i++) {\n    const int e = i / 8 * 16 + i % 4 / 2 * 8 + g;\n    const int c = column + warp * 16 + i / 4 % 2 * 8 + t * 2 + i % 2;\n    if (e < width && c < column_end)\n      partial[e * stride_e + c * stride_c] = sums[i / 8][i / 4 % 2][i % 4] + exchange[i * 32];\n  }\n}\n\n/**\n * grad_i [r_i, K] += factor_i · Σ rows du[row][s_i + e]·mask⊙x[row][k], by way of partial [splits][E][K].\n * Launch: grid [ceil(K/64), splits, ceil(E/64)].\n */\nKERNEL __launch_bounds__(256, 3)\n    lora_gradient_a(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,\n                    float* partial, u32* counters, const bf16* du, const bf16* x, const u8* NULLABLE bits, int rows,\n                    int K, int E, int lddu, int ldx, int kb, int start1, int start2, int start3, int rank0, int rank1,\n                    int rank2, int rank3, int split_rows, float keep0, float keep1, float keep2, float keep3) {\n  __shared__ Tiles tiles;\n  float sums[4][2][4] = {};\n  const int first_e = blockIdx.z * 64, width = min(64, E - first_e), column = blockIdx.x * 64;\n  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);\n  if (bits) {\n    int slots = 0, last = -1;\n    u32 slot_of = 0, part_of_slot = 0;\n    for (int m = 0; m * 16 < width; m++) {\n      const int part = part_of(first_e + m * 16, start1, start2, start3);\n      if (part != last) part_of_slot |= (u32)part << (8 * slots++);\n      last = part;\n      slot_of |= (u32)(slots - 1) << (8 * m);\n    }\n    if (slots == 1)\n      product_of_rows<1>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0,\n                         part_of_slot);\n    else\n      product_of_rows<4>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, slots,\n                         slot_of, part_of_slot);\n  } else {\n    product_of_rows<0>(tiles, sums, du + first_e, x, bits, begin, end, width, lddu, ldx, column, K, rows, kb, 1, 0, 0);\n  }\n  write_partial(tiles, sums, partial + ((i64)blockIdx.y * E + first_e) * K, width, column, K, K, 1);\n  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;\n  for (int i = threadIdx.x; i < width * 64; i += 256) {\n    const int e = first_e + i / 64, k = column + i % 64;\n    const int part = part_of(e, start1, start2, start3), local = e - pick(part, 0, start1, start2, start3);\n    float* grad = pick(part, grad0, grad1, grad2, grad3);\n    if (k >= K || !grad || local >= pick(part, rank0, rank1, rank2, rank3)) continue;\n    grad[(i64)local * K + k] +=\n        pick(part, keep0, keep1, keep2, keep3) * sum_of_splits(partial + (i64)e * K + k, gridDim.y, (i64)E * K);\n  }\n}\n\n/**\n * grad_i [columns of part i, r_i] += factor_i · Σ rows dy[row][n]·u[row][s_i + e], by way of partial\n * [splits][N][width].\n * Launch: grid [Σ ceil(columns of a part/64), splits, ceil(width/64)].\n */\nKERNEL __launch_bounds__(256, 3)\n    lora_gradient_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,\n                    float* partial, u32* counters, const bf16* u, const bf16* dy, int rows, int N, int width, int ldu,\n                    int lddy, int first_column1, int first_column2, int first_column3, int start1, int start2,\n                    int start3, int E, int rank0, int rank1, int rank2, int rank3, int split_rows, float factor0,\n                    float factor1, float factor2, float factor3) {\n  __shared__ Tiles tiles;\n  float sums[4][2][4] = {};\n  int tile = blockIdx.x, part = 0;\n  for (; part < 3; part++) {\n    const int count = (pick(part, first_column1, first_column2, first_column3, N) -\n                       pick(part, 0, first_column1, first_column2, first_column3) + 63) /\n                      64;\n    if (tile < count) break;\n    tile -= count;\n  }\n  const int first_column = pick(part, 0, first_column1, first_column2, first_column3),\n            column = first_column + tile * 64, column_end = pick(part, first_column1, first_column2, first_column3, N);\n  const int first_local = blockIdx.z * 64, first_e = pick(part, 0, start1, start2, start3) + first_local;\n  const int part_width = min(min(64, width - first_local), pick(part, start1, start2, start3, E) - first_e);\n  float* grad = pick(part, grad0, grad1, grad2, grad3);\n  if (part_width <= 0 || !grad) return;\n  const int begin = blockIdx.y * split_rows, end = min(rows, begin + split_rows);\n  product_of_rows<0>(tiles, sums, u + first_e, dy, 0, begin, end, part_width, ldu, lddy, column, column_end, rows, 0, 1,\n                     0, 0);\n  write_partial(tiles, sums, partial + (i64)blockIdx.y * N * width + first_local, part_width, column, column_end, 1,\n                width);\n  if (!is_last_block(counters + blockIdx.z * gridDim.x + blockIdx.x, gridDim.y)) return;\n  const int rank = pick(part, rank0, rank1, rank2, rank3);\n  const float factor = pick(part, factor0, factor1, factor2, factor3);\n  for (int i = threadIdx.x; i < part_width * 64; i += 256) {\n    const int n = column + i / part_width, local = first_local + i % part_width;\n    if (n >= column_end || local >= rank) continue;\n    grad[(i64)(n - first_column) * rank + local] +=\n        factor * sum_of_splits(partial + (i64)n * width + local, gridDim.y, (i64)N * width);\n  }\n}\n\n/**\n * The end of lora_gradient_b alone, for partial sums that another kernel has made.\n * Launch: grid [ceil(N·width/1024)].\n */\nKERNEL __launch_bounds__(256)\n    lora_finish_b(float* NULLABLE grad0, float* NULLABLE grad1, float* NULLABLE grad2, float* NULLABLE grad3,\n                  const float* partial, int N, int width, int splits, int first_column1, int first_column2,\n                  int first_column3, int rank0, int rank1, int rank2, int rank3, float factor0, float factor1,\n                  float factor2, float factor3) {\n#pragma unroll\n  for (int turn = 0; turn < 4; turn++) {\n    const i64 i = ((i64)blockIdx.x * 4 + turn) * 256 + threadIdx.x;\n    const int n = i / width, local = i % width;\n    const int part = part_of(n, first_column1, first_column2, first_column3),\n              rank = pick(part, rank0, rank1, rank2, rank3);\n    float* grad = pick(part, grad0, grad1, grad2, grad3);\n    if (n >= N || local >= rank || !grad) continue;\n    grad[(i64)(n - pick(part, 0, first_column1, first_column2, first_column3)) * rank + local] +=\n        pick(part, factor0, factor1, factor2, factor3) * sum_of_splits(partial + i, splits, (i64)N * width);\n  }\n}\n\n/**\n * Table entries of 8 words: target address (2), first value, rows, columns, target stride, factor bits, first block.\n * Launch: grid [Σ ceil(elements of an entry/4096)].\n */\nKERNEL __launch_bounds__(256) lora_refresh(const float* values, const int* table, int entries) {\n  int low = 0, high = entries;  // the last entry whose first block is not past this one\n  while (high - low > 1) {\n    const int middle = (low + high) / 2;\n    if (table[middle * 8 + 7] <= (int)blockIdx.x)\n      low = middle;\n    else\n      high = middle;\n  }\n  const int* entry = table + low * 8;\n  bf16* target = (bf16*)((u64)(u32)entry[0] | ((u64)(u32)entry[1] << 32));\n  const float* source = values + (u32)entry[2];\n  const u32 columns = entry[4], count = (u32)entry[3] * columns;\n  const int stride = entry[5];\n  const float factor = __int_as_float(entry[6]);\n  const u32 first = ((int)blockIdx.x - entry[7]) * 4096u + threadIdx.x;\n#pragma unroll 4\n  for (u32 i = first; i < first - threadIdx.x + 4096u; i += 256) {\n    if (i >= count) break;\n    const u32 r = i / columns;\n    row_of(target, r, stride)[i - r * columns] = to_bf16(factor * source[i]);\n  }\n}\n",
	"lora.cu": "// Prepended: common.cu, lora-helpers.cuh, dropout-helpers.cuh\n// The low-rank path's products with x: u = dropout(x)·Aᵀ, and dx += mask⊙(du·A). Parts of a stacked layer own column\n// ranges of u that start at 0, start1, start2, start3, multiples of 16. The way down makes the masks, a bit an element,\n// [part][row][kb bytes], bit i of byte b for column 8b + i, 1 = kept; backward reads them.\n\n/**\n * Keep words of up to four parts, first .. last: lane t of each group of four reads the row and place that `at` gives\n * it (one word is 32 columns), so that a quarter of the loads does; `share_byte` hands a lane its own byte of lane i's\n * word.\n */\nDEVICE void load_keeps(u32 (&words)[4], const u8* at, int first, int last, i64 stride) {\n#pragma unroll\n  for (int i = 0; i < 4; i++) words[i] = i == 0 || last > first ? *(const u32*)(at + min(first + i, last) * stride) : 0;\n}\nDEVICE u32 share_byte(u32 word, int i) {\n  const int lane = threadIdx.x & 31;\n  return (__shfl_sync(0xffffffffu, word, (lane & 28) | i) >> (8 * (lane & 3))) & 0xffu;\n}\n\n#define DOWN_ROWS 64\n\n/** Shared place of vector v (8 columns) of a row of 64, so that the lanes of a load meet no bank twice. */\nDEVICE int down_place(int row, int vector) { return row * 8 + (vector ^ ((row & 1) << 2)); }\n\n/**\n * 64 rows by 8·TILES columns of u a block, over a range of columns of x, 64 at a time: a warp has 16 rows and 32\n * columns. The order of the depths within these 32 does not matter as long as both operands agree: lane t takes columns\n * 8t .. 8t+7, and makes the bits of just these. The last block of the same rows adds up the sums of the ranges.\n */\ntemplate <int TILES>\nDEVICE void lora_down(bf16* u, bf16* saved, float* partial, u32* counters, const bf16* x, const bf16* a, u8* bits,\n                      const u32* row_keys, int rows, int K, int E, int ldu, int ldsaved, int ldx, int lda, int kb,\n                      int split_columns, int start1, int start2, int start3, u32 seed0, u32 seed1, u32 seed2, u32 seed3,\n                      u32 threshold0, u32 threshold1, u32 threshold2, u32 threshold3, float keep0, float keep1,\n                      float keep2, float keep3) {\n  constexpr int stages = TILES > 6 ? 2 : TILES > 2 ? 3 : 4, lines = DOWN_ROWS + TILES * 8, width = TILES * 8;\n  __shared__ uint4 tiles[stages][lines * 8];  // rows of x, then those of A\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int first_row = blockIdx.x * DOWN_ROWS, first_e = blockIdx.y * width;\n  const int begin = blockIdx.z * split_columns, end = min(K, begin + split_columns), last = last8(K);\n  const int local_row = (warp & 3) * 16 + g, vector = (warp >> 2) * 4 + t;\n\n  // Rows past the end are the last one again; columns past the end are zeros.\n  const auto fetch = [&](int stage, int first) {\n#pragma unroll\n    for (int i = 0; i < (lines * 8 + 255) / 256; i++) {\n      const int at = threadIdx.x + i * 256, line = at >> 3, c = first + (at & 7) * 8;\n      if (lines * 8 % 256 != 0 && at >= lines * 8) break;\n      const bf16* from = line < DOWN_ROWS ? row_of(x, min(first_row + line, rows - 1), ldx)\n                                          : row_of(a, min(first_e + line - DOWN_ROWS, E - 1), lda);\n      copy_16_bytes(&tiles[stage][down_place(line, at & 7)], from + min(c, last), c < K);\n    }\n  };\n#pragma unroll\n  for (int i = 0; i < stages - 1; i++) {\n    if (begin + i * 64 < end) fetch(i, begin + i * 64);\n    close_copy_group();\n  }\n  RowHash hashes[TILES / 2][2];  // by 16 columns of u; rows g, g+8\n  if (row_keys) {\n#pragma unroll\n    for (int k = 0; k < TILES / 2; k++) {\n      const u32 seed = pick(part_of(first_e + k * 16, start1, start2, start3), seed0, seed1, seed2, seed3);\n#pragma unroll\n      for (int h = 0; h < 2; h++) hashes[k][h] = row_hash(row_keys[min(first_row + local_row + h * 8, rows - 1)], seed);\n    }\n  }\n\n  float sums[TILES][4] = {};\n  int stage = 0;\n#pragma unroll 1\n  for (int first = begin; first < end; first += 64) {\n    wait_copy_groups<stages - 2>();\n    __syncthreads();\n    const int ahead = first + (stages - 1) * 64;\n    if (ahead < end) fetch(stage == 0 ? stages - 1 : stage - 1, ahead);\n    close_copy_group();\n    const uint4* tile = tiles[stage];\n    const int c = first + vector * 8;\n    uint4 raw[2], kept[2];\n#pragma unroll\n    for (int h = 0; h < 2; h++) {\n      raw[h] = tile[down_place(local_row + h * 8, vector)];\n      if (first + 64 > K) raw[h] = first8(raw[h], K - c);\n      kept[h] = raw[h];\n    }\n    int current = -1;\n#pragma unroll\n    for (int n = 0; n < TILES; n++) {\n      const int part = part_of(first_e + n * 8, start1, start2, start3);\n      if (n % 2 == 0 && row_keys && part != current && first_e + n * 8 < E) {\n        current = part;\n        const u32 threshold = pick(part, threshold0, threshold1, threshold2, threshold3);\n#pragma unroll\n        for (int h = 0; h < 2; h++) {\n          u32 byte = keep_byte(hashes[n / 2][h], c, threshold);\n          kept[h] = keep8(raw[h], byte);\n          const int r = first_row + local_row + h * 8;\n          if (c + 8 > K) byte &= c < K ? (1u << (K - c)) - 1 : 0;\n          if (bits && r < rows && c / 8 < kb) bits[((i64)part * rows + r) * kb + c / 8] = (u8)byte;\n        }\n      }\n      const uint4 b = tile[down_place(DOWN_ROWS + n * 8 + g, vector)];\n      multiply_add(sums[n], kept[0].x, kept[1].x, kept[0].y, kept[1].y, b.x, b.y);\n      multiply_add(sums[n], kept[0].z, kept[1].z, kept[0].w, kept[1].w, b.z, b.w);\n    }\n    stage = stage == stages - 1 ? 0 : stage + 1;\n  }\n\n  // Both halves of the columns, then all ranges.\n  wait_copy_groups<0>();\n  __syncthreads();\n  float* exchange = (float*)tiles + (warp & 3) * TILES * 4 * 32 + lane;\n  if (warp >= 4) {\n#pragma unroll\n    for (int i = 0; i < TILES * 4; i++) exchange[i * 32] = sums[i / 4][i % 4];\n  }\n  __syncthreads();\n  const auto keep_of = [&](int e) { return pick(part_of(e, start1, start2, start3), keep0, keep1, keep2, keep3); };\n  const bool is_whole = gridDim.z == 1;\n  if (warp < 4) {\n#pragma unroll\n    for (int i = 0; i < TILES * 2; i++) {  // column pairs of rows g, g+8\n      const int r = first_row + local_row + i % 2 * 8, e = first_e + i / 2 * 8 + t * 2;\n      if (r >= rows || e >= E) continue;\n      const float low = sums[i / 2][i % 2 * 2] + exchange[i * 64],\n                  high = sums[i / 2][i % 2 * 2 + 1] + exchange[i * 64 + 32];\n      if (is_whole) {\n        const float keep = keep_of(e);\n        const u32 pair = pack_bf16(low * keep, high * keep);\n        *(u32*)(row_of(u, r, ldu) + e) = pair;\n        if (saved) *(u32*)(row_of(saved, r, ldsaved) + e) = pair;\n      } else {\n        *(float2*)(partial + ((i64)blockIdx.z * rows + r) * E + e) = make_float2(low, high);\n      }\n    }\n  }\n  if (is_whole || !is_last_block(counters + blockIdx.y * gridDim.x + blockIdx.x, gridDim.z)) return;\n#pragma unroll\n  for (int i = 0; i < DOWN_ROWS * width / 4 / 256; i++) {\n    const int at = threadIdx.x + i * 256, r = first_row + at / (width / 4), e = first_e + at % (width / 4) * 4;\n    if (r >= rows || e >= E) continue;\n    const float* from = partial + (i64)r * E + e;\n    float4 sum = load_fresh(from);\n#pragma unroll 4\n    for (int split = 1; split < (int)gridDim.z; split++) {\n      const float4 more = load_fresh(from + (i64)split * rows * E);\n      sum = make_float4(sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w);\n    }\n    const float keep = keep_of(e);\n    const uint2 packed = make_uint2(pack_bf16(sum.x * keep, sum.y * keep), pack_bf16(sum.z * keep, sum.w * keep));\n    *(uint2*)(row_of(u, r, ldu) + e) = packed;\n    if (saved) *(uint2*)(row_of(saved, r, ldsaved) + e) = packed;\n  }\n}\n\n/** Launch: grid [ceil(rows/64), ceil(E/W), splits], W = min(E, 64). */\n#define LORA_DOWN(COLUMNS)                                                                                             \\\n  KERNEL __launch_bounds__(256, 3) lora_down_##COLUMNS(                                                                \\\n      bf16* u, bf16* NULLABLE saved, float* NULLABLE partial, u32* NULLABLE counters, const bf16* x, const bf16* a,    \\\n      u8* NULLABLE bits, const u32* NULLABLE row_keys, int rows, int K, int E, int ldu, int ldsaved, int ldx, int lda, \\\n      int kb, int split_columns, int start1, int start2, int start3, u32 seed0, u32 seed1, u32 seed2, u32 seed3,       \\\n      u32 threshold0, u32 threshold1, u32 threshold2, u32 threshold3, float keep0, float keep1, float keep2,           \\\n      float keep3) {                                                                                                   \\\n    lora_down<COLUMNS / 8>(u, saved, partial, counters, x, a, bits, row_keys, rows, K, E, ldu, ldsaved, ldx, lda, kb,  \\\n                           split_columns, start1, start2, start3, seed0, seed1, seed2, seed3, threshold0, threshold1,  \\\n                           threshold2, threshold3, keep0, keep1, keep2, keep3);                                        \\\n  }\nLORA_DOWN(16)\nLORA_DOWN(32)\nLORA_DOWN(48)\nLORA_DOWN(64)\n\n/**\n * dx += Σ parts keep·mask⊙(du·A). 64 rows by 128 columns a block, 16 by 64 a warp. Columns of a run of 32 are permuted\n * on the way into shared memory (8t + 2j + i to 8j + 2t + i), so that a lane's results of four tiles are 8 neighbours.\n * Launch: grid [ceil(K/128), ceil(rows/64)].\n */\nKERNEL __launch_bounds__(256, 2)\n    lora_input_gradient(bf16* dx, const bf16* du, const bf16* a, const u8* NULLABLE bits, int rows, int K, int E,\n                        int lddx, int lddu, int lda, int kb, int start1, int start2, int start3, float keep0,\n                        float keep1, float keep2, float keep3) {\n  __shared__ __align__(16) bf16 tile_a[64][136];  // [e][column]\n  __shared__ __align__(16) bf16 tile_u[64][72];   // [row][e]\n  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;\n  const int first_row = blockIdx.y * 64, first_column = blockIdx.x * 128;\n  const int local_row = (warp & 3) * 16 + g, local_column = (warp >> 2) * 64;\n  // Rows and columns past the end are read from the last ones: their results are not written.\n  const int last = last8(K);\n  uint4 held[2][2];  // [row g, g+8][run]\n#pragma unroll\n  for (int h = 0; h < 2; h++) {\n#pragma unroll\n    for (int run = 0; run < 2; run++) {\n      const int r = min(first_row + local_row + h * 8, rows - 1), c = first_column + local_column + run * 32 + t * 8;\n      held[h][run] = *(const uint4*)(row_of(dx, r, lddx) + min(c, last));\n    }\n  }\n  u32 keeps[4];  // lane t reads row g + 8·(t / 2), run t % 2\n  if (bits) {\n    const int r = min(first_row + local_row + (t >> 1) * 8, rows - 1);\n    const int byte = min((first_column + local_column) / 8 + (t & 1) * 4, kb - 4);\n    load_keeps(keeps, bits + (i64)r * kb + byte, 0, part_of(E - 1, start1, start2, start3), (i64)rows * kb);\n  }\n  float total[8][4] = {}, sums[8][4] = {};\n  for (int first_e = 0; first_e < E; first_e += 64) {\n    const int width = min(64, E - first_e);\n    __syncthreads();\n    for (int i = threadIdx.x; i < width * 16; i += 256) {\n      const int e = i / 16, c = i % 16 * 8;\n      const uint4 v = *(const uint4*)(row_of(a, first_e + e, lda) + min(first_column + c, last));\n      u32* to = (u32*)&tile_a[e][c / 32 * 32 + c % 32 / 8 * 2];\n      to[0] = v.x;\n      to[4] = v.y;\n      to[8] = v.z;\n      to[12] = v.w;\n    }\n    for (int i = threadIdx.x; i < 64 * (width / 8); i += 256) {\n      const int r = i / (width / 8), e = i % (width / 8) * 8;\n      *(uint4*)&tile_u[r][e] = *(const uint4*)(row_of(du, min(first_row + r, rows - 1), lddu) + first_e + e);\n    }\n    __syncthreads();\n    for (int e = 0; e < width; e += 16) {\n      const u32* low = (const u32*)&tile_u[local_row][e + t * 2];\n      const u32* high = (const u32*)&tile_u[local_row + 8][e + t * 2];\n#pragma unroll\n      for (int n = 0; n < 8; n += 2) {\n        u32 b[4];\n        load_matrices_transposed(b, &tile_a[e + (lane & 15)][local_column + n * 8 + (lane >> 4) * 8]);\n        multiply_add(sums[n], low[0], high[0], low[4], high[4], b[0], b[1]);\n        multiply_add(sums[n + 1], low[0], high[0], low[4], high[4], b[2], b[3]);\n      }\n      const int part = part_of(first_e + e, start1, start2, start3);\n      if (first_e + e + 16 < E && part_of(first_e + e + 16, start1, start2, start3) == part) continue;\n      const float keep = pick(part, keep0, keep1, keep2, keep3);\n#pragma unroll\n      for (int h = 0; h < 2; h++) {\n#pragma unroll\n        for (int run = 0; run < 2; run++) {\n          const u32 byte = bits ? share_byte(pick(part, keeps[0], keeps[1], keeps[2], keeps[3]), h * 2 + run) : 0xff;\n#pragma unroll\n          for (int j = 0; j < 8; j++) {\n            float& sum = sums[run * 4 + j / 2][h * 2 + j % 2];\n            if ((byte >> j) & 1) total[run * 4 + j / 2][h * 2 + j % 2] += sum * keep;\n            sum = 0.0f;\n          }\n        }\n      }\n    }\n  }\n#pragma unroll\n  for (int h = 0; h < 2; h++) {\n#pragma unroll\n    for (int run = 0; run < 2; run++) {\n      const int r = first_row + local_row + h * 8, c = first_column + local_column + run * 32 + t * 8;\n      if (r >= rows || c >= K) continue;\n      float v[8];\n      unpack8(held[h][run], v);\n#pragma unroll\n      for (int j = 0; j < 8; j++) v[j] += total[run * 4 + j / 2][h * 2 + j % 2];\n      store8(row_of(dx, r, lddx), c, K, v);\n    }\n  }\n}\n",
	"normalization.cu": "// RMSNorm by row with the residual addition before it. One block a row; a row stays in registers between the passes.\n// Launch: grid [rows], block min(1024, 32·ceil(columns/256)).\n\n#define MAX_VECTORS 2  // 8 elements each, by at most 1024 threads: 16384 columns\n\n/** sum = bf16(x + residual); y = bf16(bf16(sum·rstd)·weight), as transformers rounds it. */\nKERNEL __launch_bounds__(1024) rms_norm_forward(bf16* y, bf16* NULLABLE sum, float* NULLABLE rstd, const bf16* x,\n                                                const bf16* NULLABLE residual, const bf16* weight, int rows,\n                                                int columns, int ldy, int ldsum, int ldx, int ldresidual, float eps) {\n  const int row = blockIdx.x;\n  x = row_of(x, row, ldx);\n  if (residual) residual = row_of(residual, row, ldresidual);\n  uint4 held[MAX_VECTORS], more[MAX_VECTORS];\n  float squares = 0.0f;\n#pragma unroll\n  for (int i = 0; i < MAX_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    held[i] = c < columns ? load8(x, c, columns) : zero16();\n    more[i] = residual && c < columns ? load8(residual, c, columns) : zero16();\n  }\n  if (residual) {\n#pragma unroll\n    for (int i = 0; i < MAX_VECTORS; i++) {\n      float a[8], b[8];\n      unpack8(held[i], a);\n      unpack8(more[i], b);\n#pragma unroll\n      for (int j = 0; j < 8; j++) a[j] += b[j];\n      held[i] = pack8(a);\n    }\n  }\n  if (sum) sum = row_of(sum, row, ldsum);\n#pragma unroll\n  for (int i = 0; i < MAX_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    if (sum) store8(sum, c, columns, held[i]);\n    float s[8];\n    unpack8(held[i], s);\n#pragma unroll\n    for (int j = 0; j < 8; j++) squares += s[j] * s[j];\n  }\n  const float scale = rsqrtf(block_sum(squares) / (float)columns + eps);\n  if (rstd && threadIdx.x == 0) rstd[row] = scale;\n  y = row_of(y, row, ldy);\n#pragma unroll\n  for (int i = 0; i < MAX_VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    float s[8], w[8];\n    unpack8(held[i], s);\n    load8(weight, c, columns, w);\n#pragma unroll\n    for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];\n    store8(y, c, columns, s);\n  }\n}\n\n/** With g = dy·weight: dx = rstd·(g - s·rstd²·mean(g·s)) + direct. */\ntemplate <int VECTORS>\nDEVICE void rms_norm_backward(bf16* dx, const bf16* dy, const bf16* direct, const bf16* s, const float* rstd,\n                              const bf16* weight, int columns, int lddx, int lddy, int lddirect, int lds) {\n  const int row = blockIdx.x;\n  dy = row_of(dy, row, lddy);\n  s = row_of(s, row, lds);\n  dx = row_of(dx, row, lddx);\n  if (direct) direct = row_of(direct, row, lddirect);\n  uint4 held_gradient[VECTORS], held_sum[VECTORS], held_direct[VECTORS], held_weight[VECTORS];\n  float products = 0.0f;\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    held_gradient[i] = held_sum[i] = held_direct[i] = held_weight[i] = zero16();\n    if (c >= columns) continue;\n    held_gradient[i] = load8(dy, c, columns);\n    held_sum[i] = load8(s, c, columns);\n    if (direct) held_direct[i] = load8(direct, c, columns);\n    held_weight[i] = load8(weight, c, columns);\n  }\n  const float scale = rstd[row];\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    float g[8], v[8], w[8];\n    unpack8(held_gradient[i], g);\n    unpack8(held_sum[i], v);\n    unpack8(held_weight[i], w);\n#pragma unroll\n    for (int j = 0; j < 8; j++) products += g[j] * w[j] * v[j];\n  }\n  const float pull = block_sum(products) / (float)columns * scale * scale;\n#pragma unroll\n  for (int i = 0; i < VECTORS; i++) {\n    const int c = (threadIdx.x + i * blockDim.x) * 8;\n    if (c >= columns) continue;\n    float g[8], v[8], w[8], d[8];\n    unpack8(held_gradient[i], g);\n    unpack8(held_sum[i], v);\n    unpack8(held_weight[i], w);\n    unpack8(held_direct[i], d);\n#pragma unroll\n    for (int j = 0; j < 8; j++) d[j] += scale * (g[j] * w[j] - v[j] * pull);\n    store8(dx, c, columns, d);\n  }\n}\n\n/** For as many columns: few vectors leave registers for other blocks beside this one. */\nKERNEL __launch_bounds__(1024)\n    rms_norm_backward_8192(bf16* dx, const bf16* dy, const bf16* NULLABLE direct, const bf16* s, const float* rstd,\n                           const bf16* weight, int rows, int columns, int lddx, int lddy, int lddirect, int lds) {\n  rms_norm_backward<1>(dx, dy, direct, s, rstd, weight, columns, lddx, lddy, lddirect, lds);\n}\nKERNEL __launch_bounds__(1024)\n    rms_norm_backward_16384(bf16* dx, const bf16* dy, const bf16* NULLABLE direct, const bf16* s, const float* rstd,\n                            const bf16* weight, int rows, int columns, int lddx, int lddy, int lddirect, int lds) {\n  rms_norm_backward<2>(dx, dy, direct, s, rstd, weight, columns, lddx, lddy, lddirect, lds);\n}\n",
	"optimizer.cu": "// Gradient norm, clipping and AdamW over flat fp32 buffers, each one launch for all parameters. A chunk is up to 2048\n// elements of one parameter: {parameter, first element, elements, quantised, first element of the state, first block of\n// scales, 0, 0}. Settings are four floats a parameter, made new each step; the last is 0 where torch would skip it.\n// Roundings are written out, since the compiler's fast maths would change them.\n// Launch: grid [chunks].\n\n#define CHUNK_WORDS 8\n#define BLOCK 256  // consecutive elements with one scale\n\n/** Sum of squares of what this block sees, in double. Launch: grid [G], G = min(1024, ceil(n/1024)). */\nKERNEL __launch_bounds__(256) squared_norm(double* partials, const float* grads, i64 n) {\n  __shared__ double sums[256];\n  double sum = 0.0;\n  for (i64 i = (i64)blockIdx.x * 256 + threadIdx.x; i < n; i += (i64)gridDim.x * 256)\n    sum += (double)grads[i] * grads[i];\n  sums[threadIdx.x] = sum;\n  for (int half = 128; half > 0; half /= 2) {\n    __syncthreads();\n    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];\n  }\n  if (threadIdx.x == 0) partials[blockIdx.x] = sums[0];\n}\n\n/** largest[chunk] = max |x|, NaN if one is: a number's bits without the sign are in the order of its magnitude. */\nKERNEL __launch_bounds__(256) largest_magnitude(float* largest, const float* x, const int* chunks) {\n  __shared__ u32 tops[256];\n  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;\n  const u32 first = chunk[1], count = chunk[2];\n  u32 top = 0;\n  for (u32 i = threadIdx.x; i < count; i += 256) {\n    const u32 bits = __float_as_uint(x[first + i]) & 0x7fffffffu;\n    if (bits > top) top = bits;\n  }\n  tops[threadIdx.x] = top;\n  for (int half = 128; half > 0; half /= 2) {\n    __syncthreads();\n    if ((int)threadIdx.x < half && tops[threadIdx.x + half] > tops[threadIdx.x])\n      tops[threadIdx.x] = tops[threadIdx.x + half];\n  }\n  if (threadIdx.x == 0) ((u32*)largest)[blockIdx.x] = tops[0];\n}\n\n/**\n * norm[0] = √Σ partials; norm[1] = what gradients are multiplied with, NaN if the norm is not finite.\n * Launch: grid [1].\n */\nKERNEL __launch_bounds__(256) clip_scale(float* norm, const double* partials, int count, float max_norm) {\n  __shared__ double sums[256];\n  double sum = 0.0;\n  for (int i = threadIdx.x; i < count; i += 256) sum += partials[i];\n  sums[threadIdx.x] = sum;\n  for (int half = 128; half > 0; half /= 2) {\n    __syncthreads();\n    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];\n  }\n  if (threadIdx.x != 0) return;\n  const double total = sqrt(sums[0]);\n  double clip = 1.0;\n  if (max_norm != 0.0f) clip = fmin(1.0, (double)max_norm / (total + 1e-6));\n  const bool finite = total - total == 0.0;\n  norm[0] = (float)total;\n  norm[1] = finite ? (float)clip : __int_as_float(0x7fc00000);\n}\n\nDEVICE bool is_nan(float x) { return (__float_as_uint(x) & 0x7fffffffu) > 0x7f800000u; }\nDEVICE bool is_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }\n\n/** torch.optim.AdamW: decay first. take1 and take2 are 1 - beta, rounded once: 1 - (float)beta is off by 1e-5. */\nDEVICE void adamw_element(float& value, float gradient, float& m, float& v, float4 setting, float take1, float beta2,\n                          float take2, float eps) {\n  m = __fmaf_rn(take1, __fsub_rn(gradient, m), m);\n  v = __fmaf_rn(__fmul_rn(take2, gradient), gradient, __fmul_rn(v, beta2));\n  const float divisor = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), setting.y), eps);\n  value = __fadd_rn(__fmul_rn(value, setting.z), __fdiv_rn(__fmul_rn(setting.x, m), divisor));\n}\n\nKERNEL __launch_bounds__(256)\n    adamw(float* values, const float* grads, float* m, float* v, const int* chunks, const float* settings,\n          const float* norm, float take1, float beta2, float take2, float eps) {\n  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;\n  const float4 setting = ((const float4*)settings)[chunk[0]];\n  const float clip = norm[1];\n  if (setting.w == 0.0f || is_nan(clip)) return;\n  const u32 first = chunk[1];\n  const int count = chunk[2];\n  if (first % 4 == 0 && count % 4 == 0) {\n    for (int i = threadIdx.x; i < count / 4; i += 256) {\n      float4* at[3] = {(float4*)(values + first) + i, (float4*)(m + first) + i, (float4*)(v + first) + i};\n      float4 value = *at[0], one = *at[1], two = *at[2];\n      const float4 g = ((const float4*)(grads + first))[i];\n      adamw_element(value.x, __fmul_rn(g.x, clip), one.x, two.x, setting, take1, beta2, take2, eps);\n      adamw_element(value.y, __fmul_rn(g.y, clip), one.y, two.y, setting, take1, beta2, take2, eps);\n      adamw_element(value.z, __fmul_rn(g.z, clip), one.z, two.z, setting, take1, beta2, take2, eps);\n      adamw_element(value.w, __fmul_rn(g.w, clip), one.w, two.w, setting, take1, beta2, take2, eps);\n      *at[0] = value;\n      *at[1] = one;\n      *at[2] = two;\n    }\n    return;\n  }\n  for (u32 i = first + threadIdx.x; i < first + count; i += 256) {\n    adamw_element(values[i], __fmul_rn(grads[i], clip), m[i], v[i], setting, take1, beta2, take2, eps);\n  }\n}\n\n/**\n * bitsandbytes' AdamW: decay after the update. A gradient that is not finite keeps the value and clears the moments.\n */\nDEVICE void adamw8bit_element(float& value, float gradient, float& m, float& v, float4 setting, float beta1,\n                              float take1, float beta2, float take2) {\n  if (!is_finite(gradient)) {\n    m = 0.0f;\n    v = 0.0f;\n    return;\n  }\n  m = __fmaf_rn(beta1, m, __fmul_rn(take1, gradient));\n  v = __fmaf_rn(beta2, v, __fmul_rn(__fmul_rn(take2, gradient), gradient));\n  const float update = __fdiv_rn(__fmul_rn(setting.x, m), __fadd_rn(__fsqrt_rn(v), setting.y));\n  value = __fmul_rn(__fadd_rn(value, update), setting.z);\n}\n\n/**\n * The code nearest to x as `nearest_code` has it, by midpoints in the order of a search tree: node i is followed by 2i\n * and 2i + 1. Lanes that are at one level read neighbours, where those of the sorted list would meet in a few banks.\n */\nDEVICE int code_in_tree(const float* tree, float x) {\n  int node = 1;\n#pragma unroll\n  for (int level = 0; level < 8; level++) node = 2 * node + (x > tree[node] ? 1 : 0);\n  return node - 256;\n}\n/** Index of the midpoint at node i >= 1. */\nDEVICE int midpoint_of(int i) {\n  const int level = 31 - __clz(i);\n  return (i - (1 << level)) * (256 >> level) + (128 >> level) - 1;\n}\n\n/** A warp has 256 elements, a lane every 32nd of them. maps: signed values, midpoints, unsigned values, midpoints. */\nKERNEL __launch_bounds__(256) adamw8bit(float* values, const float* grads, u8* codes_m, u8* codes_v, float* scales_m,\n                                        float* scales_v, float* m, float* v, const float* maps, const int* chunks,\n                                        const float* settings, const float* norm, float beta1, float beta2) {\n  __shared__ float map[1024];\n  const int* chunk = chunks + (i64)blockIdx.x * CHUNK_WORDS;\n  const float4 setting = ((const float4*)settings)[chunk[0]];\n  const float clip = norm[1];\n  if (setting.w == 0.0f || is_nan(clip)) return;\n  const float take1 = (float)(1.0 - (double)beta1), take2 = (float)(1.0 - (double)beta2);\n  const u32 first = chunk[1], state = chunk[4];\n  const int count = chunk[2];\n  if (chunk[3] == 0) {\n    for (int i = threadIdx.x; i < count; i += 256) {\n      adamw8bit_element(values[first + i], __fmul_rn(grads[first + i], clip), m[state + i], v[state + i], setting,\n                        beta1, take1, beta2, take2);\n    }\n    return;\n  }\n#pragma unroll\n  for (int i = 0; i < 1024; i += 256) {\n    const bool is_tree = i % 512 != 0 && threadIdx.x > 0;\n    map[i + threadIdx.x] = maps[i + (is_tree ? midpoint_of(threadIdx.x) : threadIdx.x)];\n  }\n  __syncthreads();\n  const int begin = (threadIdx.x >> 5) * BLOCK + (threadIdx.x & 31);\n  const u32 block = chunk[5] + (threadIdx.x >> 5);\n  if (begin - (int)(threadIdx.x & 31) >= count) return;\n  const float scale_m = scales_m[block], scale_v = scales_v[block];\n  float one[8], two[8];\n  float top_m = 0.0f, top_v = 0.0f;\n#pragma unroll\n  for (int j = 0; j < 8; j++) {\n    const int i = begin + 32 * j;\n    one[j] = two[j] = 0.0f;\n    if (i >= count) continue;\n    one[j] = __fmul_rn(map[codes_m[state + i]], scale_m);\n    two[j] = __fmul_rn(map[512 + codes_v[state + i]], scale_v);\n    float value = values[first + i];\n    adamw8bit_element(value, __fmul_rn(grads[first + i], clip), one[j], two[j], setting, beta1, take1, beta2, take2);\n    values[first + i] = value;\n    top_m = fmaxf(top_m, fabsf(one[j]));\n    top_v = fmaxf(top_v, two[j]);\n  }\n  top_m = warp_max(top_m);\n  top_v = warp_max(top_v);\n  if ((threadIdx.x & 31) == 0) {\n    scales_m[block] = top_m;\n    scales_v[block] = top_v;\n  }\n#pragma unroll\n  for (int j = 0; j < 8; j++) {\n    const int i = begin + 32 * j;\n    // No `continue` here: NVRTC then keeps the loop, and one and two in memory.\n    if (i < count && top_m > 0.0f) {\n      int code = code_in_tree(map + 256, __fdiv_rn(one[j], top_m));\n      // A moment keeps its sign: below zero it takes the smallest negative value.\n      if (one[j] < 0.0f && map[code] == 0.0f) code--;\n      codes_m[state + i] = (u8)code;\n    }\n    if (i < count && top_v > 0.0f) codes_v[state + i] = (u8)code_in_tree(map + 768, __fdiv_rn(two[j], top_v));\n  }\n}\n",
	"quantization.cu": "// Prepended: common.cu, stored-values.cuh\n// Quantises stored rows while they are loaded: to NF4 with the roundings of bitsandbytes, and to e4m3 with a scale per\n// row. kind of stored values: 0 f32, 1 bf16, 2 half, 3 e4m3 with factors\n// as in convert.cu, rounded to bf16.\n\n#define F32 0\n#define BF16 1\n#define F16 2\n\n/** Stored values by row-major index in the piece. */\nstruct Stored {\n  const void* x;\n  int kind;\n  const float* factors;\n  int first, columns, block_rows, block_columns, across;\n  DEVICE float at(i64 i) const {\n    if (kind == F32) return ((const float*)x)[i];\n    if (kind == BF16) return widen(((const bf16*)x)[i]);\n    if (kind == F16) return widen(((const Half*)x)[i]);\n    const int row = (int)((u32)i / (u32)columns), c = (int)((u32)i - (u32)row * (u32)columns);\n    const float factor = factors[(i64)((first + row) / block_rows) * across + c / block_columns];\n    return round_bf16(widen(((const E4M3*)x)[i]) * factor);\n  }\n};\nDEVICE bool is_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }\n\n/** Number of midpoints between neighbouring values below x. */\nDEVICE u32 nf4_code(float x) {\n  return (x > -0.8480964004993439f) + (x > -0.6106329262256622f) + (x > -0.4599952697753906f) +\n         (x > -0.33967943489551544f) + (x > -0.23460740596055984f) + (x > -0.13791173323988914f) +\n         (x > -0.045525018125772476f) + (x > 0.03979014977812767f) + (x > 0.1202552504837513f) +\n         (x > 0.2035212516784668f) + (x > 0.2920137718319893f) + (x > 0.3893125355243683f) + (x > 0.5016634166240692f) +\n         (x > 0.6427869200706482f) + (x > 0.8614784181118011f);\n}\n\n/**\n * Codes of n values, starting at a block boundary, two per byte, the even one high; and the absmax of each block. flag\n * becomes 1 where a value is not finite. A warp has a block.\n * Launch: grid [ceil(blocks/8)].\n */\nKERNEL __launch_bounds__(256) nf4_quantize(u8* codes, float* absmax, const void* x, i64 n, int kind, int block_size,\n                                           const float* NULLABLE factors, int first, int columns, int block_rows,\n                                           int block_columns, int across, int* flag) {\n  const Stored stored = {x, kind, factors, first, columns, block_rows, block_columns, across};\n  const i64 block = (i64)blockIdx.x * 8 + (threadIdx.x >> 5), begin = block * block_size;\n  if (begin >= n) return;\n  const int lane = threadIdx.x & 31, count = (int)min((i64)block_size, n - begin);\n  float top = 0.0f;\n  for (int j = lane; j < count; j += 32) {\n    const float value = stored.at(begin + j);\n    if (!is_finite(value)) *flag = 1;\n    top = fmaxf(top, fabsf(value));\n  }\n  top = warp_max(top);\n  const float inverse = __fdiv_rn(1.0f, top);\n  for (int j = 2 * lane; j < count; j += 64) {\n    const u32 high = nf4_code(__fmul_rn(stored.at(begin + j), inverse));\n    const u32 low = nf4_code(__fmul_rn(j + 1 < count ? stored.at(begin + j + 1) : 0.0f, inverse));\n    codes[(begin + j) / 2] = (u8)(high << 4 | low);\n  }\n  if (lane == 0) absmax[block] = top;\n}\n\n/** mean = Σ x / n, summed in double. Launch: grid [1]. */\nKERNEL __launch_bounds__(1024) absmax_mean(float* mean, const float* x, int n) {\n  __shared__ double sums[1024];\n  double sum = 0.0;\n  for (int i = threadIdx.x; i < n; i += 1024) sum += x[i];\n  sums[threadIdx.x] = sum;\n  for (int half = 512; half > 0; half /= 2) {\n    __syncthreads();\n    if ((int)threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];\n  }\n  if (threadIdx.x == 0) *mean = (float)(sums[0] / n);\n}\n\n/**\n * Quantises absmax - offset to 8 bits, in blocks with a nested absmax each. table: values of the map [256], then the\n * offset; midpoints as in optimizer.cu. A warp has a block.\n * Launch: grid [ceil(blocks/8)].\n */\nKERNEL __launch_bounds__(256) absmax_quantize(u8* codes, float* nested, const float* absmax, const float* table,\n                                              const float* midpoints, int n, int block_size) {\n  __shared__ float middle[256];\n  middle[threadIdx.x] = midpoints[threadIdx.x];\n  __syncthreads();\n  const int block = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;\n  const i64 begin = (i64)block * block_size;\n  if (begin >= n) return;\n  const int end = (int)min((i64)n, begin + block_size);\n  const float offset = table[256];\n  float top = 0.0f;\n  for (int i = (int)begin + lane; i < end; i += 32) top = fmaxf(top, fabsf(__fsub_rn(absmax[i], offset)));\n  top = warp_max(top);\n  const float inverse = __fdiv_rn(1.0f, top);\n  for (int i = (int)begin + lane; i < end; i += 32)\n    codes[i] = (u8)nearest_code(middle, __fmul_rn(__fsub_rn(absmax[i], offset), inverse));\n  if (lane == 0) nested[block] = top;\n}\n\n/** Rounds to nearest even, saturating; subnormal below 2^-6. */\nDEVICE u32 to_e4m3(float x) {\n  const u32 bits = __float_as_uint(x), sign = bits >> 24 & 0x80u, magnitude = bits & 0x7fffffffu;\n  if (magnitude > 0x7f800000u) return sign | 0x7fu;\n  if (magnitude < 0x3c800000u) return sign | (u32)rintf(__uint_as_float(magnitude) * 512.0f);\n  const u32 rounded = (magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20;\n  return sign | min(rounded - (120u << 3), 0x7eu);\n}\n\n/**\n * scale = max |row| / 448, 1 for zeros; codes of x / scale. x is contiguous, kind not e4m3. flag becomes 1 where a\n * value is not finite.\n * Launch: grid [rows].\n */\nKERNEL __launch_bounds__(256)\n    e4m3_quantize(u8* codes, float* scales, const void* x, int kind, int columns, int ldc, int* flag) {\n  const Stored stored = {x, kind, nullptr, 0, columns, 1, 1, 0};\n  __shared__ float tops[8];\n  const i64 begin = (i64)blockIdx.x * columns;\n  float top = 0.0f;\n  for (int c = threadIdx.x; c < columns; c += 256) {\n    const float value = stored.at(begin + c);\n    if (!is_finite(value)) *flag = 1;\n    top = fmaxf(top, fabsf(value));\n  }\n  top = warp_max(top);\n  if ((threadIdx.x & 31) == 0) tops[threadIdx.x >> 5] = top;\n  __syncthreads();\n  for (int i = 0; i < 8; i++) top = fmaxf(top, tops[i]);\n  const float quotient = __fdiv_rn(top, 448.0f), scale = quotient > 0.0f ? quotient : 1.0f;\n  if (threadIdx.x == 0) scales[blockIdx.x] = scale;\n  for (int c = threadIdx.x; c < columns; c += 256)\n    codes[(i64)blockIdx.x * ldc + c] = (u8)to_e4m3(__fdiv_rn(stored.at(begin + c), scale));\n}\n\n/** Whether one of four codes is NaN. */\nDEVICE bool has_nan(u32 codes) {\n  // Adding 1 to the seven bits of a magnitude reaches the eighth for 127 alone.\n  return (((codes & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u) != 0;\n}\n\n/** flag becomes 1 where a code is NaN. x is contiguous, of any alignment. Launch: grid2(rows, columns). */\nKERNEL __launch_bounds__(128) e4m3_copy(u8* out, const u8* x, int rows, int columns, int ldo, int* flag) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    const u8* from = x + (i64)row * columns + c;\n    u8* to = out + (i64)row * ldo + c;\n    if (c + 8 <= columns && ((u64)from & 7) == 0) {\n      const uint2 codes = *(const uint2*)from;\n      if (has_nan(codes.x) || has_nan(codes.y)) *flag = 1;\n      *(uint2*)to = codes;\n    } else {\n      for (int i = 0; i < min(8, columns - c); i++) {\n        if (has_nan(from[i])) *flag = 1;\n        to[i] = from[i];\n      }\n    }\n  }\n}\n\n/** The factor of each row from those of blocks of rows. Launch: grid [ceil(rows/256)]. */\nKERNEL __launch_bounds__(256) expand_scales(float* scales, const float* factors, int rows, int block_rows) {\n  const int row = blockIdx.x * 256 + threadIdx.x;\n  if (row < rows) scales[row] = factors[row / block_rows];\n}\n",
	"rotary.cu": "// Rotary position embedding, half-split, of queries and keys in one launch: (a, b) → (a·cos - b·sin, b·cos + a·sin)\n// with b half a head away; sign -1 turns back (the gradient). Queries are multiplied by query_scale. fp32, one\n// rounding.\n// Launch: grid [rows], block min(256, 32·ceil((heads + kv_heads)·ceil(D/16)/32)).\n\nDEVICE void turn8(bf16* out, const bf16* x, const float* cos, const float* sin, int half, float scale, float sign) {\n  float a[8], b[8], c[8], s[8];\n  unpack8(*(const uint4*)x, a);\n  unpack8(*(const uint4*)(x + half), b);\n#pragma unroll\n  for (int i = 0; i < 8; i += 4) {\n    *(float4*)(c + i) = *(const float4*)(cos + i);\n    *(float4*)(s + i) = *(const float4*)(sin + i);\n  }\n#pragma unroll\n  for (int i = 0; i < 8; i++) {\n    const float near = (a[i] * c[i] - b[i] * (s[i] * sign)) * scale;\n    b[i] = (b[i] * c[i] + a[i] * (s[i] * sign)) * scale;\n    a[i] = near;\n  }\n  *(uint4*)out = pack8(a);\n  *(uint4*)(out + half) = pack8(b);\n}\n\nDEVICE void turn1(bf16* out, const bf16* x, const float* cos, const float* sin, int half, float scale, float sign) {\n  const float a = from_bf16(*x), b = from_bf16(x[half]);\n  const float c = *cos, s = *sin * sign;\n  *out = to_bf16((a * c - b * s) * scale);\n  out[half] = to_bf16((b * c + a * s) * scale);\n}\n\nKERNEL __launch_bounds__(256)\n    rotary(bf16* NULLABLE q_out, bf16* NULLABLE k_out, const bf16* NULLABLE q, const bf16* NULLABLE k, const float* cos,\n           const float* sin, const float* NULLABLE query_scale, int rows, int heads, int kv_heads, int D, int ldq_out,\n           int ldk_out, int ldq, int ldk, float sign) {\n  const int row = blockIdx.x;\n  const int half = D / 2;\n  const bool fast = half % 8 == 0;\n  const int pieces = fast ? half / 8 : half;  // of half a head\n  const int query_items = heads * pieces;\n  const float scale = query_scale ? query_scale[row] : 1.0f;\n  cos = row_of(cos, row, half);\n  sin = row_of(sin, row, half);\n  for (int item = threadIdx.x; item < query_items + kv_heads * pieces; item += blockDim.x) {\n    const bool query = item < query_items;\n    const int local = query ? item : item - query_items;\n    const int head = local / pieces;\n    const int i = (local - head * pieces) * (fast ? 8 : 1);\n    const bf16* from = (query ? row_of(q, row, ldq) : row_of(k, row, ldk)) + head * D + i;\n    bf16* to = (query ? row_of(q_out, row, ldq_out) : row_of(k_out, row, ldk_out)) + head * D + i;\n    if (fast)\n      turn8(to, from, cos + i, sin + i, half, query ? scale : 1.0f, sign);\n    else\n      turn1(to, from, cos + i, sin + i, half, query ? scale : 1.0f, sign);\n  }\n}\n",
	"rows.cu": "// Moving whole rows: gather, scatter, replace, sums of repeated rows, and the patch merger's blocks. Rows that are\n// written are distinct.\n\n/** out[i] = x[index[i]]. Launch: grid2(n, columns). */\nKERNEL __launch_bounds__(128)\n    gather_rows(bf16* out, const bf16* x, const int* index, int n, int columns, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(i, n) store8(row_of(out, i, ldo), c, columns, load8(row_of(x, index[i], ldx), c, columns));\n}\n\n/** target[index[i]] = source[i], or zeros without a source. Launch: grid2(n, columns). */\nKERNEL __launch_bounds__(128)\n    scatter_rows(bf16* target, const bf16* NULLABLE source, const int* index, int n, int columns, int ldt, int lds) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(i, n) {\n    const uint4 v = source ? load8(row_of(source, i, lds), c, columns) : zero16();\n    store8(row_of(target, index[i], ldt), c, columns, v);\n  }\n}\n\n/** out[r] = map[r] >= 0 ? source[map[r]] : base[r]; zeros for what is missing. Launch: grid2(rows, columns). */\nKERNEL __launch_bounds__(128) select_rows(bf16* out, const bf16* NULLABLE base, const bf16* NULLABLE source,\n                                          const int* map, int rows, int columns, int ldo, int ldb, int lds) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    const int from = map[row];\n    uint4 v = zero16();\n    if (from >= 0) {\n      if (source) v = load8(row_of(source, from, lds), c, columns);\n    } else if (base) {\n      v = load8(row_of(base, row, ldb), c, columns);\n    }\n    store8(row_of(out, row, ldo), c, columns, v);\n  }\n}\n\n/**\n * key_out[to[i]] = key[from[i]], and the same of the values, of as many columns; without `to` row i.\n * Launch: grid2(n, columns).\n */\nKERNEL __launch_bounds__(128) gather_key_value(bf16* key_out, bf16* value_out, const bf16* key, const bf16* value,\n                                               const int* from, const int* NULLABLE to, int n, int columns,\n                                               int ldkey_out, int ldvalue_out, int ldkey, int ldvalue) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(i, n) {\n    const int source = from[i], target = to ? to[i] : i;\n    const uint4 k = load8(row_of(key, source, ldkey), c, columns);\n    const uint4 v = load8(row_of(value, source, ldvalue), c, columns);\n    store8(row_of(key_out, target, ldkey_out), c, columns, k);\n    store8(row_of(value_out, target, ldvalue_out), c, columns, v);\n  }\n}\n\nDEVICE void sum_row(bf16* out, const bf16* x, const int* places, int count, int c, int columns, int ldx) {\n  float sum[8] = {};\n  for (int i = 0; i < count; i++) {\n    float v[8];\n    load8(row_of(x, places[i], ldx), c, columns, v);\n#pragma unroll\n    for (int j = 0; j < 8; j++) sum[j] += v[j];\n  }\n  store8(out, c, columns, sum);\n}\n\n/**\n * out[r] = Σ x[places[i]], i from starts[r] to starts[r + 1], in this order, rounded once; zeros where there is none.\n * The same of a second matrix of as many columns where it is given. Launch: grid2(rows, columns).\n */\nKERNEL __launch_bounds__(128)\n    sum_rows(bf16* out, bf16* NULLABLE second_out, const bf16* x, const bf16* NULLABLE second, const int* starts,\n             const int* places, int rows, int columns, int ldo, int ldsecond_out, int ldx, int ldsecond) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(row, rows) {\n    const int first = starts[row], count = starts[row + 1] - first;\n    sum_row(row_of(out, row, ldo), x, places + first, count, c, columns, ldx);\n    if (second) sum_row(row_of(second_out, row, ldsecond_out), second, places + first, count, c, columns, ldsecond);\n  }\n}\n\n/** out[i][c·block + j] = x[order[i·block + j]][c]. Launch: grid2(out_rows, columns). */\nKERNEL __launch_bounds__(128) merge_patches_forward(bf16* out, const bf16* x, const int* order, int out_rows,\n                                                    int columns, int block, int ldo, int ldx) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(i, out_rows) {\n    bf16* to = row_of(out, i, ldo);\n    if (block == 4 && c + 8 <= columns) {\n      bf16 in[4][8], merged[32];\n#pragma unroll\n      for (int j = 0; j < 4; j++) *(uint4*)in[j] = *(const uint4*)(row_of(x, order[i * 4 + j], ldx) + c);\n#pragma unroll\n      for (int e = 0; e < 32; e++) merged[e] = in[e % 4][e / 4];\n#pragma unroll\n      for (int j = 0; j < 4; j++) ((uint4*)(to + c * 4))[j] = ((uint4*)merged)[j];\n      continue;\n    }\n    for (int j = 0; j < block; j++) {\n      const bf16* from = row_of(x, order[i * block + j], ldx);\n      for (int e = c; e < min(columns, c + 8); e++) to[e * block + j] = from[e];\n    }\n  }\n}\n\n/** The way back: dx[order[i·block + j]][c] = dy[i][c·block + j]. Launch: grid2(out_rows, columns). */\nKERNEL __launch_bounds__(128) merge_patches_backward(bf16* dx, const bf16* dy, const int* order, int out_rows,\n                                                     int columns, int block, int lddx, int lddy) {\n  const int c = COLUMN;\n  if (c >= columns) return;\n  FOR_ROWS(i, out_rows) {\n    const bf16* from = row_of(dy, i, lddy);\n    if (block == 4 && c + 8 <= columns) {\n      bf16 out[4][8], merged[32];\n#pragma unroll\n      for (int j = 0; j < 4; j++) ((uint4*)merged)[j] = ((const uint4*)(from + c * 4))[j];\n#pragma unroll\n      for (int e = 0; e < 32; e++) out[e % 4][e / 4] = merged[e];\n#pragma unroll\n      for (int j = 0; j < 4; j++) *(uint4*)(row_of(dx, order[i * 4 + j], lddx) + c) = *(uint4*)out[j];\n      continue;\n    }\n    for (int j = 0; j < block; j++) {\n      bf16* to = row_of(dx, order[i * block + j], lddx);\n      for (int e = c; e < min(columns, c + 8); e++) to[e] = from[e * block + j];\n    }\n  }\n}\n",
	"widening.cu": "// Prepended: common.cu, stored-values.cuh\n// Dequantises rows held in 4 or 8 bits to bf16 rows [W | zeros up to a multiple of 8 | scale·B]. Row i of the result is\n// row first + i of the matrix, or first + index[i]. A thread computes 16 columns of a row.\n// Launch: grid [ceil(rows·(ceil(K/16) + E/16)/256)].\n\n/** The row of a thread, and its first column 16·unit, of W or of scale·B. */\nstruct Unit {\n  int row, unit;\n  bool is_low;\n};\nDEVICE Unit own_unit(int K, int E) {\n  const u32 wide = (K + 15) / 16, units = wide + E / 16;\n  const u32 i = blockIdx.x * 256u + threadIdx.x, row = i / units, unit = i - row * units;\n  return {(int)row, (int)(unit < wide ? unit : unit - wide), unit >= wide};\n}\nDEVICE void copy_low(bf16* to, const bf16* b) {\n  const uint4 left = ((const uint4*)b)[0], right = ((const uint4*)b)[1];\n  ((uint4*)to)[0] = left;\n  ((uint4*)to)[1] = right;\n}\n/** Columns c .. c+15 of a row, or the first 8 where the padded row ends with them. */\nDEVICE void store16(bf16* row, int c, int padded, const u32 (&words)[8]) {\n  uint4* to = (uint4*)(row + c);\n  to[0] = make_uint4(words[0], words[1], words[2], words[3]);\n  if (c + 8 < padded) to[1] = make_uint4(words[4], words[5], words[6], words[7]);\n}\n\n/** The stacked weights of a matrix. Unused parts start after the last row. */\n#define PART_OF(row) (((row) >= part_row1) + ((row) >= part_row2) + ((row) >= part_row3))\n#define OF_PART(part, name) ((part) == 0 ? name##0 : (part) == 1 ? name##1 : (part) == 2 ? name##2 : name##3)\n\n/**\n * Values of a part lie row-major from block part_block on, 2 codes a byte, the even one high. With absmax_codes, the\n * absmax of a block is map[code]·absmax[block >> nested_shift] + offset, of the part's table {map [256], offset}.\n */\nKERNEL __launch_bounds__(256)\n    widen_nf4(bf16* out, const u8* codes, const u8* NULLABLE absmax_codes, const float* absmax,\n              const float* NULLABLE table0, const float* NULLABLE table1, const float* NULLABLE table2,\n              const float* NULLABLE table3, const int* NULLABLE index, const bf16* NULLABLE b, int first, int rows,\n              int K, int E, int ldo, int ldb, int block_shift, int nested_shift, int part_row0, int part_row1,\n              int part_row2, int part_row3, int part_block0, int part_block1, int part_block2, int part_block3) {\n  __shared__ float values[16];\n  if (threadIdx.x < 16) values[threadIdx.x] = NF4_VALUES[threadIdx.x];\n  __syncthreads();\n  const Unit own = own_unit(K, E);\n  if (own.row >= rows) return;\n  const int padded = (K + 7) & ~7, c = 16 * own.unit;\n  const int row = first + (index ? index[own.row] : own.row);\n  bf16* to = row_of(out, own.row, ldo);\n  if (own.is_low) return copy_low(to + padded + c, row_of(b, row, ldb) + c);\n  const int part = PART_OF(row);\n  const int part_row = OF_PART(part, part_row);\n  const float* table = OF_PART(part, table);\n  const i64 flat = ((i64)OF_PART(part, part_block) << block_shift) + (i64)(row - part_row) * K + c;\n  auto absmax_of = [&](i64 block) {\n    if (!absmax_codes) return absmax[block];\n    return __fadd_rn(__fmul_rn(table[absmax_codes[block]], absmax[block >> nested_shift]), table[256]);\n  };\n  u32 words[8];\n  if (K % 16 == 0) {\n    const uint2 packed = *(const uint2*)(codes + flat / 2);\n    const float factor = absmax_of(flat >> block_shift);\n#pragma unroll\n    for (int i = 0; i < 8; i++) {\n      const u32 pair = (i < 4 ? packed.x : packed.y) >> (8 * (i % 4));\n      words[i] = pack_bf16(values[pair >> 4 & 15] * factor, values[pair & 15] * factor);\n    }\n  } else {\n    float factor = 0.0f, v[2];\n#pragma unroll\n    for (int i = 0; i < 16; i++) {\n      const i64 at = flat + i;\n      if (i == 0 || (at & ((1 << block_shift) - 1)) == 0) factor = c + i < K ? absmax_of(at >> block_shift) : 0.0f;\n      v[i % 2] = c + i < K ? values[codes[at / 2] >> (at % 2 ? 0 : 4) & 15] * factor : 0.0f;\n      if (i % 2) words[i / 2] = pack_bf16(v[0], v[1]);\n    }\n  }\n  store16(to, c, padded, words);\n}\n\n/**\n * codes [rows of the matrix, ldc], zeros after column K, ldc a multiple of 16. Element (r, c) of a part, r counted from\n * its first row, is multiplied by factor[r / block_height · width + c / block_width].\n */\nKERNEL __launch_bounds__(256)\n    widen_e4m3(bf16* out, const u8* codes, const float* NULLABLE factor0, const float* NULLABLE factor1,\n               const float* NULLABLE factor2, const float* NULLABLE factor3, const int* NULLABLE index,\n               const bf16* NULLABLE b, int first, int rows, int K, int E, int ldo, int ldc, int ldb, int part_row0,\n               int part_row1, int part_row2, int part_row3, int block_height0, int block_height1, int block_height2,\n               int block_height3, int block_width0, int block_width1, int block_width2, int block_width3, int width0,\n               int width1, int width2, int width3) {\n  const Unit own = own_unit(K, E);\n  if (own.row >= rows) return;\n  const int padded = (K + 7) & ~7, c = 16 * own.unit;\n  const int row = first + (index ? index[own.row] : own.row);\n  bf16* to = row_of(out, own.row, ldo);\n  if (own.is_low) return copy_low(to + padded + c, row_of(b, row, ldb) + c);\n  const int part = PART_OF(row);\n  const int part_row = OF_PART(part, part_row);\n  const int block_width = OF_PART(part, block_width);\n  const float* factors =\n      OF_PART(part, factor) + (i64)((row - part_row) / OF_PART(part, block_height)) * OF_PART(part, width);\n  const uint4 packed = *(const uint4*)(codes + (i64)row * ldc + c);\n  const u32 quads[4] = {packed.x, packed.y, packed.z, packed.w};\n  const bool is_even = block_width % 16 == 0 || block_width >= K;\n  float factor = factors[c / block_width];\n  u32 words[8];\n#pragma unroll\n  for (int i = 0; i < 8; i++) {\n    // Two codes, each shifted into a half whose exponent is 8 too small.\n    const u32 pair = permute_bytes(quads[i / 2], 0, i % 2 ? 0x3424 : 0x1404);\n    const u32 halves = (pair & 0x80008000u) | ((pair & 0x7f007f00u) >> 1);\n    float v[2] = {half_to_float((unsigned short)halves), half_to_float((unsigned short)(halves >> 16))};\n#pragma unroll\n    for (int j = 0; j < 2; j++) {\n      if (!is_even) factor = factors[min(c + 2 * i + j, K - 1) / block_width];\n      v[j] = (v[j] * 256.0f) * factor;\n    }\n    words[i] = pack_bf16(v[0], v[1]);\n  }\n  store16(to, c, padded, words);\n}\n",
	"attention-tiles.cuh": "// Tiles of the attention kernels: rows of one head in shared memory, products of tiles, rows back to global memory.\n// Prepended as text after mma-helpers.cuh.\n//\n// Macros (attention-work.ts has the tested table):\n//   HEAD_DIM       D, a multiple of 8 up to 128\n//   WARPS          warps a block\n//   ROW_FRAGMENTS  16-row fragments a warp: the block's own tile has WARPS · ROW_FRAGMENTS · 16 rows\n//   STREAM_TILE    rows of the other side that a step of the loop brings in, a multiple of 16\n//   MIN_BLOCKS     blocks that should fit on a multiprocessor (the register budget)\n//   HEAD_SPLIT     teams of warps that share the query heads of a key head (backward, key side); default 1\n//\n// Memory rule: a tile row takes 2 · HEAD_PAD + 16 bytes, an odd number of 16-byte units, so that the eight rows of an\n// ldmatrix fall into different banks with no swizzle and every offset is a constant. Columns D..HEAD_PAD are zeros.\n\n#if HEAD_DIM % 8 != 0 || HEAD_DIM > 128\n#error HEAD_DIM must be a multiple of 8 up to 128\n#endif\n\n#ifndef HEAD_SPLIT\n#define HEAD_SPLIT 1\n#endif\n\nconstexpr int head_pad = (HEAD_DIM + 15) / 16 * 16;\nconstexpr int row_bytes = 2 * head_pad + 16;\nconstexpr int threads = 32 * WARPS;\nconstexpr int warp_rows = 16 * ROW_FRAGMENTS;\nconstexpr int own_tile = WARPS * warp_rows;\nconstexpr int stream_tile = STREAM_TILE;\n\nextern __shared__ __align__(16) unsigned char shared_memory[];\n\n/** This lane's byte offset for a left operand [row][depth], or, transposed, a right operand stored [depth][column]. */\nDEVICE u32 row_major_lane(int lane) { return (lane & 15) * row_bytes + (lane >> 4) * 16; }\n/** This lane's byte offset for a right operand stored [column][depth]. */\nDEVICE u32 column_major_lane(int lane) { return ((lane & 7) + (lane >> 4) * 8) * row_bytes + ((lane >> 3) & 1) * 16; }\n\n/** Starts the copy of ROWS rows, of which `valid` exist; the others become zeros. LOADERS threads take part. */\ntemplate <int ROWS, int LOADERS>\nDEVICE void copy_tile(u32 target, const bf16* source, int stride, int valid, int loader) {\n  constexpr int units = head_pad / 8;\n  if constexpr (LOADERS % units == 0 && ROWS % (LOADERS / units) == 0) {\n    // A loader keeps its column and walks down the rows.\n    constexpr int step = LOADERS / units;\n    const int row = loader / units, unit = loader % units;\n    const bool column = HEAD_DIM == head_pad || unit < HEAD_DIM / 8;\n    const bf16* place = source + (long long)row * stride + unit * 8;\n    target += row * row_bytes + unit * 16;\n#pragma unroll\n    for (int i = 0; i < ROWS / step; i++) {\n      copy_16_bytes(target + i * step * row_bytes, place, column && row + i * step < valid);\n      place += step * stride;\n    }\n  } else {\n    for (int index = loader; index < ROWS * units; index += LOADERS) {\n      const int row = index / units, unit = index % units;\n      copy_16_bytes(target + row * row_bytes + unit * 16, source + (long long)row * stride + unit * 8,\n                    row < valid && unit < HEAD_DIM / 8);\n    }\n  }\n}\n\n/** c [16·FRAGMENTS × COLUMNS] += rows [16·FRAGMENTS × D] · tile [COLUMNS × D]ᵀ, both in shared memory. */\ntemplate <int FRAGMENTS, int COLUMNS>\nDEVICE void multiply_transposed(float (&c)[FRAGMENTS][COLUMNS / 8][4], u32 rows, u32 tile) {\n#pragma unroll\n  for (int depth = 0; depth < head_pad / 16; depth++) {\n    u32 a[FRAGMENTS][4];\n#pragma unroll\n    for (int f = 0; f < FRAGMENTS; f++) load_matrices(a[f], rows + f * 16 * row_bytes + depth * 32);\n#pragma unroll\n    for (int n = 0; n < COLUMNS / 16; n++) {\n      u32 b[4];\n      load_matrices(b, tile + n * 16 * row_bytes + depth * 32);\n#pragma unroll\n      for (int f = 0; f < FRAGMENTS; f++) {\n        multiply_add(c[f][2 * n], a[f], b[0], b[1]);\n        multiply_add(c[f][2 * n + 1], a[f], b[2], b[3]);\n      }\n    }\n  }\n}\n\n/** sum [16·FRAGMENTS × D] += left [16·FRAGMENTS × DEPTH], packed in registers, · tile [DEPTH × D] in shared memory. */\ntemplate <int FRAGMENTS, int DEPTH>\nDEVICE void multiply_packed(float (&sum)[FRAGMENTS][head_pad / 8][4], const u32 (&left)[FRAGMENTS][DEPTH / 16][4],\n                            u32 tile) {\n#pragma unroll\n  for (int depth = 0; depth < DEPTH / 16; depth++) {\n#pragma unroll\n    for (int n = 0; n < head_pad / 16; n++) {\n      u32 b[4];\n      load_matrices_transposed(b, tile + depth * 16 * row_bytes + n * 32);\n#pragma unroll\n      for (int f = 0; f < FRAGMENTS; f++) {\n        multiply_add(sum[f][2 * n], left[f][depth], b[0], b[1]);\n        multiply_add(sum[f][2 * n + 1], left[f][depth], b[2], b[3]);\n      }\n    }\n  }\n}\n\n/** Result tiles to a left operand in bf16. */\ntemplate <int FRAGMENTS, int COLUMNS>\nDEVICE void pack_tiles(u32 (&packed)[FRAGMENTS][COLUMNS / 16][4], const float (&c)[FRAGMENTS][COLUMNS / 8][4]) {\n#pragma unroll\n  for (int f = 0; f < FRAGMENTS; f++) {\n#pragma unroll\n    for (int n = 0; n < COLUMNS / 8; n++) {\n      packed[f][n / 2][n % 2 * 2] = pack_bf16(c[f][n][0], c[f][n][1]);\n      packed[f][n / 2][n % 2 * 2 + 1] = pack_bf16(c[f][n][2], c[f][n][3]);\n    }\n  }\n}\n\ntemplate <int FRAGMENTS, int TILES>\nDEVICE void clear(float (&c)[FRAGMENTS][TILES][4]) {\n#pragma unroll\n  for (int f = 0; f < FRAGMENTS; f++) {\n#pragma unroll\n    for (int n = 0; n < TILES; n++) c[f][n][0] = c[f][n][1] = c[f][n][2] = c[f][n][3] = 0.0f;\n  }\n}\n\n/**\n * A warp's rows to global memory as bf16, each multiplied by its factor, by way of the warp's own rows of a tile in\n * shared memory that no other warp reads: 16-byte stores of whole rows.\n */\ntemplate <int FRAGMENTS>\nDEVICE void store_rows(bf16* target, int stride, int valid, const float (&sum)[FRAGMENTS][head_pad / 8][4],\n                       const float (&factor)[FRAGMENTS][2], unsigned char* staging, int lane) {\n  __syncwarp();\n#pragma unroll\n  for (int f = 0; f < FRAGMENTS; f++) {\n#pragma unroll\n    for (int half = 0; half < 2; half++) {\n      unsigned char* row = staging + (f * 16 + half * 8 + lane / 4) * row_bytes + lane % 4 * 4;\n#pragma unroll\n      for (int n = 0; n < head_pad / 8; n++) {\n        *(u32*)(row + n * 16) =\n            pack_bf16(sum[f][n][2 * half] * factor[f][half], sum[f][n][2 * half + 1] * factor[f][half]);\n      }\n    }\n  }\n  __syncwarp();\n  constexpr int units = HEAD_DIM / 8;\n  for (int index = lane; index < FRAGMENTS * 16 * units; index += 32) {\n    const int row = index / units;\n    const int unit = index % units;\n    if (row < valid)\n      *(uint4*)(target + (long long)row * stride + unit * 8) = *(const uint4*)(staging + row * row_bytes + unit * 16);\n  }\n}\n",
	"dropout-helpers.cuh": "// The bits of random.ts, by row and layer. Prepended as text after common.cu: NVRTC sees no #include.\n\n/** `mix` of random.ts. */\nDEVICE u32 mix_bits(u32 x) {\n  x = (x ^ (x >> 16)) * 0x7feb352du;\n  x = (x ^ (x >> 15)) * 0x846ca68bu;\n  return x ^ (x >> 16);\n}\n\nstruct RowHash {\n  u32 key, step;\n};\n\nDEVICE RowHash row_hash(u32 row_key, u32 seed) {\n  const u32 key = mix_bits(row_key ^ seed);\n  return {key, (key * 0x9e3779b9u ^ row_key) | 1u};\n}\n\n/**\n * Bits of columns c .. c+7, 1 = kept; c is even. The threshold, round(p·2¹⁶), is in the upper half, so that 16 bits are\n * compared without a shift: the lower half of the other side cannot change the outcome.\n */\nDEVICE u32 keep_byte(RowHash hash, int c, u32 threshold) {\n  u32 z = hash.key + (u32)(c / 2) * hash.step, byte = 0;\n#pragma unroll\n  for (int i = 0; i < 8; i += 2, z += hash.step) {\n    const u32 h = (z ^ (z >> 15)) * 0x846ca68bu;\n    if (h >= threshold) byte |= 1u << i;\n    if (h * 0x10001u >= threshold) byte |= 2u << i;\n  }\n  return byte;\n}\n",
	"e4m3-helpers.cuh": "// Shared by kernels that make e4m3 operands. Prepended as text after common.cu: NVRTC sees no #include.\n\n#define E4M3_MAX 448.0f\n// Lower bound of amax, as 448 / amax must be finite: rows below it lose precision instead of overflowing.\n#define LEAST_AMAX 1e-30f\n\n#if __CUDA_ARCH__ >= 890 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ > 0))\n/** Two floats to e4m3, the first in the low byte: nearest even, saturating, NaN stays NaN. */\nDEVICE u32 pack_e4m3(float low, float high) {\n  unsigned short packed;\n  asm(\"cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;\" : \"=h\"(packed) : \"f\"(high), \"f\"(low));\n  return packed;\n}\n#else\nDEVICE u32 to_e4m3(float x) {\n  const u32 bits = __float_as_uint(x), sign = bits >> 24 & 0x80u;\n  if ((bits & 0x7fffffffu) > 0x7f800000u) return sign | 0x7fu;\n  const float magnitude = fminf(fabsf(x), E4M3_MAX);\n  if (magnitude < 0.015625f) return sign | (u32)rintf(magnitude * 512.0f);\n  const u32 b = __float_as_uint(magnitude);\n  return sign | ((b + 0x7ffffu + (b >> 20 & 1u)) >> 20) - 960u;\n}\nDEVICE u32 pack_e4m3(float low, float high) { return to_e4m3(low) | to_e4m3(high) << 8; }\n#endif\n\n/** Maximum over the block, returned to every thread; whole warps, at most 32. */\nDEVICE float block_max(float x) {\n  __shared__ float partial[32];\n  const int lane = threadIdx.x & 31;\n  x = warp_max(x);\n  __syncthreads();\n  if (lane == 0) partial[threadIdx.x >> 5] = x;\n  __syncthreads();\n  return warp_max(lane < (int)(blockDim.x >> 5) ? partial[lane] : 0.0f);\n}\n\n/** Elements c .. c+7 times the factors of their columns. */\nDEVICE void factored8(uint4 packed, const float* factors, int c, float (&v)[8]) {\n  unpack8(packed, v);\n  if (!factors) return;\n  const float4 a = *(const float4*)(factors + c), b = *(const float4*)(factors + c + 4);\n  v[0] *= a.x, v[1] *= a.y, v[2] *= a.z, v[3] *= a.w;\n  v[4] *= b.x, v[5] *= b.y, v[6] *= b.z, v[7] *= b.w;\n}\nDEVICE float largest8(uint4 packed, const float* factors, int c, float most) {\n  float v[8];\n  factored8(packed, factors, c, v);\n#pragma unroll\n  for (int j = 0; j < 8; j++) most = fmaxf(most, fabsf(v[j]));\n  return most;\n}\nDEVICE void store_e4m3(u8* codes, float (&v)[8], float inverse) {\n#pragma unroll\n  for (int j = 0; j < 8; j++) v[j] *= inverse;\n  *(uint2*)codes = make_uint2(pack_e4m3(v[0], v[1]) | pack_e4m3(v[2], v[3]) << 16,\n                              pack_e4m3(v[4], v[5]) | pack_e4m3(v[6], v[7]) << 16);\n}\nDEVICE void quantize8(u8* codes, uint4 packed, const float* factors, int c, float inverse) {\n  float v[8];\n  factored8(packed, factors, c, v);\n  store_e4m3(codes + c, v, inverse);\n}\n",
	"generation-helpers.cuh": "// Shared by products with a few rows of x, for all weight formats.\n\n#define LOW_SPLITS 4  // u = x·Aᵀ is split along K, a thread block per part\n\n/** RMS norm of the single row of x, fused before the product. */\nstruct RowNorm {\n  bf16* sum;\n  const bf16* residual;\n  const bf16* weight;\n  float eps;\n};\n\n/**\n * normed = bf16(bf16(s·rstd)·weight) with s = bf16(x + residual), as rms_norm_forward rounds it; zeros up to a multiple\n * of 8.\n */\ntemplate <int THREADS>\nDEVICE void normalize_row(bf16* normed, const bf16* x, const RowNorm& norm, int columns, bool writes_sum) {\n  constexpr int batch = 640 / THREADS, stride = THREADS * 8;  // 16-byte loads under way at once\n  uint4 weights[batch];\n  auto load_weights = [&](int from) {\n#pragma unroll\n    for (int i = 0; i < batch; i++)\n      weights[i] = from + i * stride < columns ? load8(norm.weight, from + i * stride, columns) : zero16();\n  };\n  const int own = threadIdx.x * 8;\n  float squares = 0.0f;\n  for (int from = own; from < columns; from += batch * stride) {\n    uint4 held[batch], added[batch];\n#pragma unroll\n    for (int i = 0; i < batch; i++) {\n      const int c = from + i * stride;\n      held[i] = c < columns ? load8(x, c, columns) : zero16();\n      added[i] = norm.residual && c < columns ? load8(norm.residual, c, columns) : zero16();\n    }\n#pragma unroll\n    for (int i = 0; i < batch; i++) {\n      const int c = from + i * stride;\n      if (c >= columns) continue;\n      float s[8], r[8];\n      unpack8(held[i], s);\n      unpack8(added[i], r);\n#pragma unroll\n      for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] + r[j]);\n#pragma unroll\n      for (int j = 0; j < 8; j++) squares += s[j] * s[j];\n      const uint4 packed = pack8(s);\n      *(uint4*)(normed + c) = packed;\n      if (writes_sum) store8(norm.sum, c, columns, packed);\n    }\n  }\n  load_weights(own);\n  const float scale = rsqrtf(block_sum(squares) / (float)columns + norm.eps);\n  for (int from = own; from < columns; from += batch * stride) {\n    if (from > own) load_weights(from);\n#pragma unroll\n    for (int i = 0; i < batch; i++) {\n      const int c = from + i * stride;\n      if (c >= columns) continue;\n      float s[8], w[8];\n      unpack8(*(const uint4*)(normed + c), s);\n      unpack8(weights[i], w);\n#pragma unroll\n      for (int j = 0; j < 8; j++) s[j] = round_bf16(s[j] * scale) * w[j];\n      *(uint4*)(normed + c) = pack8(s);\n    }\n  }\n  __syncthreads();\n}\n",
	"held-lanes.cuh": "// What a lane does with codes of 4 or 8 bits, for products with a few rows of x: see generation-held.cu.\n\n#define CHUNK 64\n#define TABLE_SCALE 1.437006f\n\n/** bf16(value · TABLE_SCALE) by code; this scale minimises the rounding error. */\n__constant__ u32 NF4_TABLE[16] = {0xbfb8, 0xbf80, 0xbf41, 0xbf11, 0xbed1, 0xbe88, 0xbe06, 0x0000,\n                                  0x3dea, 0x3e6d, 0x3eb5, 0x3ef9, 0x3f22, 0x3f4f, 0x3f85, 0x3fb8};\n\n/** Layout of widen_nf4, blocks of 64, K a multiple of 64. Row 0 of the product is row `first` of the matrix. */\nstruct Nf4 {\n  const u8* codes;\n  const u8* absmax_codes;\n  const float* absmax;\n  const float* table0;\n  const float* table1;\n  const float* table2;\n  const float* table3;\n  int first, nested_shift, part_row1, part_row2, part_row3, part_block0, part_block1, part_block2, part_block3;\n\n  /** First block of a row of the product. */\n  DEVICE int block(int of, int K) const {\n    const int row = first + of;\n    int from = 0, block = part_block0;\n    if (row >= part_row1) from = part_row1, block = part_block1;\n    if (row >= part_row2) from = part_row2, block = part_block2;\n    if (row >= part_row3) from = part_row3, block = part_block3;\n    return block + (row - from) * (K / CHUNK);\n  }\n  DEVICE const float* table(int of) const {\n    const int row = first + of;\n    return row >= part_row3 ? table3 : row >= part_row2 ? table2 : row >= part_row1 ? table1 : table0;\n  }\n};\nstruct E4m3 {\n  const u8* codes;\n  const float* scales;  // [rows]\n  int ld;\n};\n\n/** A lane's two rows in NF4. */\nstruct Nf4Lane {\n  typedef Nf4 Format;\n  typedef uint2 Piece;              // the codes of a lane in a chunk\n  static constexpr int width = 64;  // columns of a chunk\n  static constexpr int batch = 4;   // chunks in flight per warp\n  static constexpr bool is_split = false;\n  static constexpr bool has_table = true;\n  const Format& format;\n  const u8* from[2];\n  // absmax of a batch: lanes 0 and 1 decode two chunks each of the upper row, 2 and 3 of the lower one.\n  int block;\n  const float* table;\n  float raw[2], nested[2], scales[2];\n  int lane;\n\n  DEVICE Nf4Lane(const Nf4& format) : format(format), lane(threadIdx.x & 31) {}\n  DEVICE void start(const int (&rows)[2], int K) {\n    const int blocks[2] = {format.block(rows[0], K), format.block(rows[1], K)};\n#pragma unroll\n    for (int i = 0; i < 2; i++) from[i] = format.codes + (u64)(u32)blocks[i] * (CHUNK / 2) + lane % 4 * 8;\n    block = (lane % 4 < 2 ? blocks[0] : blocks[1]) + lane % 2 * 2;\n    table = format.table(lane % 4 < 2 ? rows[0] : rows[1]);\n  }\n  DEVICE void load(Piece (&pieces)[2], int chunk) const {\n#pragma unroll\n    for (int j = 0; j < 2; j++) pieces[j] = load_once8(from[j] + chunk * (CHUNK / 2));\n  }\n  /** Loads absmax of the batch that starts at `chunk`. */\n  DEVICE void load_scales(int chunk, int last) {\n#pragma unroll\n    for (int j = 0; j < 2; j++) {\n      const int own = min(chunk + j, last - lane % 2 * 2);\n      if (format.absmax_codes) {\n        raw[j] = __uint_as_float(format.absmax_codes[block + own]);\n        nested[j] = format.absmax[(block + own) >> format.nested_shift];\n      } else {\n        raw[j] = format.absmax[block + own];\n      }\n    }\n  }\n  /** Decodes what load_scales loaded, for the current batch. */\n  DEVICE void take_scales() {\n#pragma unroll\n    for (int j = 0; j < 2; j++) {\n      const float absmax = format.absmax_codes ? table[__float_as_uint(raw[j])] * nested[j] + table[256] : raw[j];\n      scales[j] = absmax * (1.0f / TABLE_SCALE);\n    }\n  }\n  static DEVICE u32 pair(const u32* pairs, u32 bytes) { return *(const u32*)((const u8*)pairs + bytes); }\n  /** Values 4i .. 4i+3 of a piece. `pairs` has 128 bytes per code byte, one word per lane. */\n  DEVICE void expand(const Piece& piece, int i, const u32* pairs, u32& first, u32& second) const {\n    const u32 word = i < 2 ? piece.x : piece.y;\n    const u32 left = i % 2 == 0 ? word << 7 : word >> 9, right = i % 2 == 0 ? word >> 1 : word >> 17;\n    first = pair(pairs, (left & 0x7f80u) | (u32)lane * 4);\n    second = pair(pairs, (right & 0x7f80u) | (u32)lane * 4);\n  }\n  DEVICE void add(float (&sums)[4], const float (&own)[4], int i) const {\n    const float upper = __shfl_sync(0xffffffffu, scales[i % 2], (lane & ~3) + i / 2);\n    const float lower = __shfl_sync(0xffffffffu, scales[i % 2], (lane & ~3) + 2 + i / 2);\n    sums[0] += own[0] * upper;\n    sums[1] += own[1] * upper;\n    sums[2] += own[2] * lower;\n    sums[3] += own[3] * lower;\n  }\n  DEVICE void finish(float (&)[4]) const {}\n};\n\n/**\n * A lane's two rows in NF4 for at most 4 rows of x, K a multiple of 128. A chunk is two blocks: lanes 0 and 1 of a\n * row have the first, 2 and 3 the second, 32 codes each. Columns 2m and 2m + 1 of the right operand are row m of x,\n * the one with zeros in place of the second block, the other in place of the first, so that a sum belongs to one block.\n */\nstruct Nf4Wide {\n  typedef Nf4 Format;\n  typedef uint4 Piece;\n  static constexpr int width = 128;\n  static constexpr int batch = 2;\n  static constexpr bool has_table = true;\n  static constexpr bool is_split = true;\n  const Format& format;\n  u32 from[2];  // first block of a row\n  // absmax of two chunks: lane 2r + i has both blocks of chunk i of row r of the 16.\n  int block;\n  const float* table;\n  u32 raw[2];\n  float nested, scales[2];\n  int lane;\n\n  DEVICE Nf4Wide(const Format& format) : format(format), lane(threadIdx.x & 31) {}\n  DEVICE void start(const int (&rows)[2], int K) {\n#pragma unroll\n    for (int i = 0; i < 2; i++) from[i] = format.block(rows[i], K);\n    const int of = lane / 2 % 8 * 4;\n    const int upper = __shfl_sync(0xffffffffu, rows[0], of), lower = __shfl_sync(0xffffffffu, rows[1], of);\n    const int row = lane < 16 ? upper : lower;\n    block = format.block(row, K);\n    table = format.table(row);\n  }\n  DEVICE void load(Piece (&pieces)[2], int chunk) const {\n    const int code = chunk * 64 + lane % 4 * 16;\n#pragma unroll\n    for (int j = 0; j < 2; j++) pieces[j] = load_once(format.codes + ((u64)from[j] * 32 + code));\n  }\n  /** Loads absmax of the two chunks from `chunk` on. */\n  DEVICE void load_scales(int chunk, int last) {\n    const int own = block + min(chunk + lane % 2, last) * 2;\n    if (format.absmax_codes) {\n      raw[0] = *(const unsigned short*)(format.absmax_codes + own);\n      nested = format.absmax[own >> format.nested_shift];\n    } else {\n      const uint2 both = *(const uint2*)(format.absmax + own);\n      raw[0] = both.x;\n      raw[1] = both.y;\n    }\n  }\n  DEVICE void take_scales() {\n#pragma unroll\n    for (int j = 0; j < 2; j++) {\n      const float absmax =\n          format.absmax_codes ? table[raw[0] >> 8 * j & 0xffu] * nested + table[256] : __uint_as_float(raw[j]);\n      scales[j] = absmax * (1.0f / TABLE_SCALE);\n    }\n  }\n  DEVICE void expand(const Piece& piece, int i, const u32* pairs, u32& first, u32& second) const {\n    const u32 word = i < 2 ? piece.x : i < 4 ? piece.y : i < 6 ? piece.z : piece.w;\n    const u32 left = i % 2 == 0 ? word << 7 : word >> 9, right = i % 2 == 0 ? word >> 1 : word >> 17;\n    first = Nf4Lane::pair(pairs, (left & 0x7f80u) | (u32)lane * 4);\n    second = Nf4Lane::pair(pairs, (right & 0x7f80u) | (u32)lane * 4);\n  }\n  DEVICE void add(float (&sums)[4], const float (&own)[4], int i) const {\n    const int of = lane / 4 * 2 + i % 2;\n#pragma unroll\n    for (int j = 0; j < 2; j++) {\n      sums[0] += own[j] * __shfl_sync(0xffffffffu, scales[j], of);\n      sums[2] += own[2 + j] * __shfl_sync(0xffffffffu, scales[j], of + 16);\n    }\n  }\n  DEVICE void finish(float (&)[4]) const {}\n};\n\n/** A lane's two rows in e4m3; K a multiple of 16. */\nstruct E4m3Lane {\n  typedef E4m3 Format;\n  typedef uint4 Piece;\n  static constexpr int width = 64;\n  static constexpr int batch = 2;\n  static constexpr bool is_split = false;\n  static constexpr bool has_table = false;\n  const Format& format;\n  const u8* from[2];\n  float scales[2];\n  int K, column;\n\n  DEVICE E4m3Lane(const E4m3& format) : format(format), column((threadIdx.x & 3) * 16) {}\n  DEVICE void start(const int (&rows)[2], int columns) {\n    K = columns;\n#pragma unroll\n    for (int i = 0; i < 2; i++) {\n      from[i] = format.codes + (i64)rows[i] * format.ld;\n      scales[i] = format.scales[rows[i]];\n    }\n  }\n  DEVICE void load(Piece (&pieces)[2], int chunk) const {\n    const int c = chunk * CHUNK + column;\n#pragma unroll\n    for (int j = 0; j < 2; j++) pieces[j] = c < K ? load_once(from[j] + c) : zero16();\n  }\n  DEVICE void load_scales(int, int) {}\n  DEVICE void take_scales() {}\n  static DEVICE u32 widen2(u32 spread) {\n    return multiply_bf16((spread & 0x80008000u) | ((spread >> 4) & 0x07f007f0u), 0x7b807b80u);\n  }\n  DEVICE void expand(const Piece& piece, int i, const u32*, u32& first, u32& second) const {\n    const u32 word = i == 0 ? piece.x : i == 1 ? piece.y : i == 2 ? piece.z : piece.w;\n    first = widen2(permute_bytes(word, 0, 0x1404));\n    second = widen2(permute_bytes(word, 0, 0x3424));\n  }\n  DEVICE void add(float (&sums)[4], const float (&own)[4], int) const {\n#pragma unroll\n    for (int j = 0; j < 4; j++) sums[j] += own[j];\n  }\n  DEVICE void finish(float (&sums)[4]) const {\n    sums[0] *= scales[0];\n    sums[1] *= scales[0];\n    sums[2] *= scales[1];\n    sums[3] *= scales[1];\n  }\n};\n\n/** Fills the table: the two values of each byte, once per lane. */\ntemplate <int THREADS>\nDEVICE void fill_table(uint4* pairs) {\n  const u32 own = NF4_TABLE[threadIdx.x & 15];\n#pragma unroll\n  for (int i = threadIdx.x; i < 2048; i += THREADS) {\n    const int byte = i / 8;\n    const u32 both = __shfl_sync(0xffffffffu, own, byte >> 4) | __shfl_sync(0xffffffffu, own, byte & 15) << 16;\n    pairs[i] = make_uint4(both, both, both, both);\n  }\n}\n",
	"lora-helpers.cuh": "// What the kernels of the low-rank path share. Prepended as text after common.cu: NVRTC sees no #include.\n\n/** The part of a stacked layer that owns column e of u: parts start at 0, start1, start2, start3. */\nDEVICE int part_of(int e, int start1, int start2, int start3) { return (e >= start1) + (e >= start2) + (e >= start3); }\n\n/** The value of part i. */\ntemplate <class V>\nDEVICE V pick(int i, V v0, V v1, V v2, V v3) {\n  return i == 0 ? v0 : i == 1 ? v1 : i == 2 ? v2 : v3;\n}\n\n/**\n * A vector of 8 columns goes to another place in its row of 64, so that neither the rows written (two by four vectors\n * at a time) nor the ones read (eight of one column) meet a bank twice.\n */\nDEVICE int place_of(int row, int vector) { return (vector ^ ((row & 1) * 4 + ((row >> 1) & 3))) * 8; }\n",
	"mma-helpers.cuh": "// Thin wrappers around the tensor-core instructions of sm_80 and up. All inline PTX of the attention kernels is here,\n// so that a CPU emulation can replace this one file. Prepended as text: NVRTC sees no #include.\n//\n// Lane layout (g = lane / 4, t = lane % 4) of mma.m16n8k16, from the PTX reference:\n//   a[0..3]: rows g, g+8, g, g+8; depths 2t, 2t, 2t+8, 2t+8 (two neighbours a register)\n//   b[0..1]: depths 2t, 2t+8 of column g\n//   c[0..3]: (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)\n// So a result tile, packed to bf16, is a left operand as it stands: scores never pass through shared memory.\n\ntypedef unsigned short bf16;  // the bits of a bfloat16\ntypedef unsigned int u32;\n\n#define DEVICE __device__ __forceinline__\n#define NULLABLE  // marks the pointers of a kernel that may be null\n#define NEGATIVE_INFINITY __int_as_float(0xff800000)\n#define LOG2_E 1.4426950408889634f\n#define LN_2 0.6931471805599453f\n\n/** Byte address inside the shared window, as ldmatrix and cp.async want it. */\nDEVICE u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }\n\n/** Two floats to bf16, round to nearest even; the first in the low half. */\nDEVICE u32 pack_bf16(float low, float high) {\n  u32 packed;\n  asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(packed) : \"f\"(high), \"f\"(low));\n  return packed;\n}\nDEVICE float bf16_low(u32 packed) { return __uint_as_float(packed << 16); }\nDEVICE float bf16_high(u32 packed) { return __uint_as_float(packed & 0xffff0000u); }\n\nDEVICE float exp2_fast(float x) {\n  float y;\n  asm(\"ex2.approx.ftz.f32 %0, %1;\" : \"=f\"(y) : \"f\"(x));\n  return y;\n}\nDEVICE float log2_fast(float x) {\n  float y;\n  asm(\"lg2.approx.ftz.f32 %0, %1;\" : \"=f\"(y) : \"f\"(x));\n  return y;\n}\n\n/** Four 8 × 8 matrices of bf16; lane i gives the address of row i % 8 of matrix i / 8. */\nDEVICE void load_matrices(u32 (&r)[4], u32 address) {\n  asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\"\n               : \"=r\"(r[0]), \"=r\"(r[1]), \"=r\"(r[2]), \"=r\"(r[3])\n               : \"r\"(address)\n               : \"memory\");\n}\n/** The same, each matrix transposed. */\nDEVICE void load_matrices_transposed(u32 (&r)[4], u32 address) {\n  asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\"\n               : \"=r\"(r[0]), \"=r\"(r[1]), \"=r\"(r[2]), \"=r\"(r[3])\n               : \"r\"(address)\n               : \"memory\");\n}\n\n/** c [16 × 8] += a [16 × 16] · b [16 × 8], fp32 sums. */\nDEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {\n  asm(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\"\n      : \"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3])\n      : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b0), \"r\"(b1));\n}\n\n/** Global to shared in the background. Where not valid, the source is not read and zeros are written. */\nDEVICE void copy_16_bytes(u32 target, const void* source, bool valid) {\n  asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" ::\"r\"(target), \"l\"(__cvta_generic_to_global(source)),\n               \"r\"(valid ? 16 : 0)\n               : \"memory\");\n}\nDEVICE void copy_4_bytes(u32 target, const void* source, bool valid) {\n  asm volatile(\"cp.async.ca.shared.global [%0], [%1], 4, %2;\" ::\"r\"(target), \"l\"(__cvta_generic_to_global(source)),\n               \"r\"(valid ? 4 : 0)\n               : \"memory\");\n}\nDEVICE void close_copy_group() { asm volatile(\"cp.async.commit_group;\" ::: \"memory\"); }\n/** Waits until at most PENDING of this thread's newest groups are still under way. */\ntemplate <int PENDING>\nDEVICE void wait_copy_groups() {\n  asm volatile(\"cp.async.wait_group %0;\" ::\"n\"(PENDING) : \"memory\");\n}\n",
	"stored-values.cuh": "// Values in the formats of checkpoints and frozen matrices.\n\nDEVICE float widen(bf16 x) { return from_bf16(x); }\nDEVICE float widen(float x) { return x; }\nstruct Half {\n  unsigned short bits;\n};\nDEVICE float widen(Half x) { return half_to_float(x.bits); }\nstruct E4M3 {\n  u8 bits;\n};\n/** As a half, the exponent is 8 too small; 0x7f and 0xff are NaN. */\nDEVICE float widen(E4M3 x) {\n  const u32 sign = x.bits & 0x80u, magnitude = x.bits & 0x7fu;\n  if (magnitude == 0x7fu) return __int_as_float(0x7fc00000);\n  return half_to_float((unsigned short)((sign << 8) | (magnitude << 7))) * 256.0f;\n}\n\n/** NF4: values of the codes 0 to 15, to be multiplied by the absmax of the block. */\n__constant__ float NF4_VALUES[16] = {\n    -1.0f,\n    -0.6961928009986877f,\n    -0.5250730514526367f,\n    -0.39491748809814453f,\n    -0.28444138169288635f,\n    -0.18477343022823334f,\n    -0.09105003625154495f,\n    0.0f,\n    0.07958029955625534f,\n    0.16093020141124725f,\n    0.24611230194568634f,\n    0.33791524171829224f,\n    0.44070982933044434f,\n    0.5626170039176941f,\n    0.7229568362236023f,\n    1.0f,\n};\n",
	"warpgroup-helpers.cuh": "// Thin wrappers around the warpgroup matrix products of Hopper (sm_90a). All inline PTX that the warpgroup kernels need\n// beyond mma-helpers.cuh is here, so that a CPU emulation can replace the two files. Prepended as text after\n// mma-helpers.cuh.\n//\n// A warpgroup is four warps; warp w has rows 16·w .. 16·w + 15 of a product of 64 rows, in the lane layout of\n// mma.m16n8k16 (mma-helpers.cuh): left operands a[4] by 16 depths, results c[N / 8][4]. The products run in the\n// background: fence_products() before the first (after all writes to their registers), close_products() after the last,\n// and nothing of their registers and shared rows may be touched before wait_products(), after which hold() keeps the\n// compiler from having read the results earlier.\n\ntypedef unsigned long long u64;\n\nDEVICE void fence_products() { asm volatile(\"wgmma.fence.sync.aligned;\" ::: \"memory\"); }\nDEVICE void close_products() { asm volatile(\"wgmma.commit_group.sync.aligned;\" ::: \"memory\"); }\n/** Waits until at most PENDING of the newest closed groups are still under way. */\ntemplate <int PENDING>\nDEVICE void wait_products() {\n  asm volatile(\"wgmma.wait_group.sync.aligned %0;\" ::\"n\"(PENDING) : \"memory\");\n}\n/** Rows that this thread wrote or copied become visible to products, after the next barrier those of all threads. */\nDEVICE void publish_rows() { asm volatile(\"fence.proxy.async.shared::cta;\" ::: \"memory\"); }\n\n/** Waits for all threads of a team; the number says which one of the block's. */\ntemplate <int THREADS>\nDEVICE void synchronize_threads(int team) {\n  asm volatile(\"bar.sync %0, %1;\" ::\"r\"(team + 1), \"n\"(THREADS) : \"memory\");\n}\n\n/** A barrier in two halves, in shared memory: who has arrived goes on, and waits for the others later. */\nstruct Arrivals {\n  u64 state;\n};\nDEVICE void prepare(Arrivals& arrivals, int count) {\n  asm volatile(\"mbarrier.init.shared::cta.b64 [%0], %1;\" ::\"r\"(shared_address(&arrivals)), \"r\"(count) : \"memory\");\n}\n/** What this thread wrote, copied and published is seen by all after await(). */\nDEVICE void arrive(Arrivals& arrivals) {\n  asm volatile(\"mbarrier.arrive.shared::cta.b64 _, [%0];\" ::\"r\"(shared_address(&arrivals)) : \"memory\");\n}\n/** Waits for all arrivals of a round; rounds count from 0, and nobody may be more than one behind. */\nDEVICE void await(Arrivals& arrivals, int round) {\n  asm volatile(\"{.reg .pred p; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @!p bra AGAIN;}\" ::\"r\"(\n                   shared_address(&arrivals)),\n               \"r\"(round & 1)\n               : \"memory\");\n}\n\n/** Results are read after this point, and written before. */\ntemplate <int TILES>\nDEVICE void hold(float (&c)[TILES][4]) {\n#pragma unroll\n  for (int n = 0; n < TILES; n++)\n    asm volatile(\"\" : \"+f\"(c[n][0]), \"+f\"(c[n][1]), \"+f\"(c[n][2]), \"+f\"(c[n][3])::\"memory\");\n}\ntemplate <int STEPS>\nDEVICE void hold(u32 (&a)[STEPS][4]) {\n#pragma unroll\n  for (int d = 0; d < STEPS; d++)\n    asm volatile(\"\" : \"+r\"(a[d][0]), \"+r\"(a[d][1]), \"+r\"(a[d][2]), \"+r\"(a[d][3])::\"memory\");\n}\n\n// Operands of the assembler text: the N / 2 results first, what follows counts on from there.\n#define FOUR(n) \"+f\"(c[n][0]), \"+f\"(c[n][1]), \"+f\"(c[n][2]), \"+f\"(c[n][3])\n#define SIXTEEN(n) FOUR(n), FOUR(n + 1), FOUR(n + 2), FOUR(n + 3)\n#define RESULTS_32 \"%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15\"\n#define RESULTS_64 RESULTS_32 \",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31\"\n#define RESULTS_96 RESULTS_64 \",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47\"\n#define RESULTS_128 RESULTS_96 \",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63\"\n\n#define DEFINE_MULTIPLY(N, R0, R1, R2, R3, R4, R5, R6, ...)                                                          \\\n  template <int TRANSPOSED>                                                                                          \\\n  DEVICE void multiply(float(&c)[N / 8][4], const u32(&a)[4], u64 b, int add) {                                      \\\n    asm volatile(\"{.reg .pred p; setp.ne.b32 p, %\" #R5                                                               \\\n                 \", 0; \"                                                                                             \\\n                 \"wgmma.mma_async.sync.aligned.m64n\" #N \"k16.f32.bf16.bf16 {\" RESULTS_##N                            \\\n                 \"}, {%\" #R0 \",%\" #R1 \",%\" #R2 \",%\" #R3 \"}, %\" #R4 \", p, 1, 1, %\" #R6 \";}\"                           \\\n                 : __VA_ARGS__                                                                                       \\\n                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b), \"r\"(add), \"n\"(TRANSPOSED));                   \\\n  }                                                                                                                  \\\n  template <int TRANSPOSED>                                                                                          \\\n  DEVICE void multiply(float(&c)[N / 8][4], u64 a, u64 b, int add) {                                                 \\\n    asm volatile(\"{.reg .pred p; setp.ne.b32 p, %\" #R2                                                               \\\n                 \", 0; \"                                                                                             \\\n                 \"wgmma.mma_async.sync.aligned.m64n\" #N \"k16.f32.bf16.bf16 {\" RESULTS_##N \"}, %\" #R0 \", %\" #R1       \\\n                                                                                          \", p, 1, 1, 0, %\" #R3 \";}\" \\\n                 : __VA_ARGS__                                                                                       \\\n                 : \"l\"(a), \"l\"(b), \"r\"(add), \"n\"(TRANSPOSED));                                                       \\\n  }\n\n// c [64 x N] = (add ? c : 0) + a [64 x 16] · b [16 x N]. The left operand is in registers or in shared memory, there\n// stored [row][depth]. TRANSPOSED 1: the right operand is stored [depth][column], 0: [column][depth].\nDEFINE_MULTIPLY(32, 16, 17, 18, 19, 20, 21, 22, SIXTEEN(0))\nDEFINE_MULTIPLY(64, 32, 33, 34, 35, 36, 37, 38, SIXTEEN(0), SIXTEEN(4))\nDEFINE_MULTIPLY(96, 48, 49, 50, 51, 52, 53, 54, SIXTEEN(0), SIXTEEN(4), SIXTEEN(8))\nDEFINE_MULTIPLY(128, 64, 65, 66, 67, 68, 69, 70, SIXTEEN(0), SIXTEEN(4), SIXTEEN(8), SIXTEEN(12))\n",
	"warpgroup-tiles.cuh": "// Tiles of the warpgroup attention kernels: rows of one key head in shared memory, products of tiles, rows back to\n// global memory. Prepended as text after warpgroup-helpers.cuh.\n//\n// Macros (attention-work.ts has the tested table):\n//   HEAD_DIM     D, 64 or 128\n//   WARPS        warps a block, a multiple of 4; each has 16 rows of the block's own tile\n//   STREAM_TILE  rows of the other side that a step of the loop brings in: 32, 64, 96 or 128\n//   MIN_BLOCKS   blocks that should fit on a multiprocessor (the register budget)\n//   GROUP        query heads of a key head whose rows share a tile: row m of the tile is head m % GROUP of position\n//                m / GROUP. A divisor of 64. So a tile covers fewer positions: less is computed beyond the diagonal.\n//   OWN_IN_REGISTERS  1: the block's own rows are left operands in registers, 0: in shared memory\n//   STAGES       tiles of the other side in shared memory at a time, 2 or more; the key side's backward: 2 or 3\n//   TEAMS        backward, key side: teams of WARPS warps that share the steps of a tile\n//\n// Memory rule: rows in shared memory take 128 bytes (64 columns), eight of them a swizzle atom of 1024 bytes, atoms one\n// behind the other from a multiple of 1024; 16-byte unit u of row r lies at place u ^ (r % 8). The same rows serve as a\n// right operand stored [column][depth] (depth along the row) and, transposed, as one stored [depth][column]. A tile of\n// R rows of D columns is D / 64 parts of R · 128 bytes.\n\n#if HEAD_DIM != 64 && HEAD_DIM != 128\n#error HEAD_DIM must be 64 or 128\n#endif\n\nconstexpr int threads = 32 * WARPS;\nconstexpr int own_tile = 16 * WARPS;\nconstexpr int stream_tile = STREAM_TILE;\nconstexpr int row_units = HEAD_DIM / 8;\nconstexpr int head_steps = HEAD_DIM / 16;\n\nextern __shared__ __align__(1024) unsigned char shared_memory[];\n\n/** Byte offset of a 16-byte unit. */\nDEVICE u32 swizzled(int row, int unit) { return row * 128 + ((unit ^ (row & 7)) << 4); }\n\n/**\n * Descriptor of rows for multiply. As [column][depth] the groups of eight columns are an atom apart. As [depth][column]\n * the groups of eight depths are an atom apart and the parts of 64 columns `part_bytes`, which otherwise has no\n * meaning. The address is in the low bits in units of 16 bytes: to add bytes / 16 is to move on.\n */\nDEVICE u64 describe_rows(u32 address, u32 part_bytes) {\n  const u32 low = (address & 0x3ffffu) >> 4 | (part_bytes >> 4) << 16;\n  const u32 high = 1024u >> 4 | 1u << 30;  // bits 62 and 63: 1 is the 128-byte swizzle\n  return (u64)high << 32 | low;\n}\n\n/**\n * Starts the copy of ROWS rows, those of `valid` positions; the others become zeros. SHARED heads of a position, one\n * behind the other in memory, are neighbouring rows. LOADERS threads take part.\n */\ntemplate <int ROWS, int SHARED, int LOADERS>\nDEVICE void copy_rows(u32 target, const bf16* source, int stride, int valid, int loader) {\n  constexpr int step = LOADERS / row_units;\n  static_assert(LOADERS % row_units == 0 && step % 8 == 0 && step % SHARED == 0,\n                \"a loader keeps its column and its place in the swizzle\");\n  const int first = loader / row_units, unit = loader % row_units;\n  const bf16* place = source + (long long)(first / SHARED) * stride + first % SHARED * HEAD_DIM + unit * 8;\n  target += unit / 8 * (ROWS * 128) + swizzled(first, unit % 8);\n#pragma unroll\n  for (int i = 0; i < (ROWS + step - 1) / step; i++) {\n    const int row = first + i * step;\n    if (ROWS % step == 0 || row < ROWS) copy_16_bytes(target + i * step * 128, place, row / SHARED < valid);\n    place += (long long)(step / SHARED) * stride;\n  }\n}\n\n/** A warp's 16 rows of a tile of ROWS rows as left operands. */\ntemplate <int ROWS>\nDEVICE void load_left(u32 (&a)[head_steps][4], u32 tile, int first, int lane) {\n#pragma unroll\n  for (int d = 0; d < head_steps; d++) {\n    load_matrices(a[d], tile + d / 4 * (ROWS * 128) + swizzled(first + (lane & 15), d % 4 * 2 + (lane >> 4)));\n  }\n}\n\n/** c [64 x COLUMNS] = left [64 x D] · tile [COLUMNS x D]ᵀ. */\ntemplate <int TILES>\nDEVICE void multiply_transposed(float (&c)[TILES][4], const u32 (&left)[head_steps][4], u64 tile) {\n#pragma unroll\n  for (int d = 0; d < head_steps; d++)\n    multiply<0>(c, left[d], tile + d / 4 * (TILES * 8 * 128 / 16) + d % 4 * 2, d > 0);\n}\n/** The same with the left operand in shared memory: rows of a tile of ROWS. */\ntemplate <int ROWS, int TILES>\nDEVICE void multiply_transposed(float (&c)[TILES][4], u64 left, u64 tile) {\n#pragma unroll\n  for (int d = 0; d < head_steps; d++) {\n    multiply<0>(c, left + d / 4 * (ROWS * 128 / 16) + d % 4 * 2, tile + d / 4 * (TILES * 8 * 128 / 16) + d % 4 * 2,\n                d > 0);\n  }\n}\n\n/** sum [64 x D] += left [64 x DEPTH] · tile [DEPTH x D]. */\ntemplate <int STEPS>\nDEVICE void multiply_packed(float (&sum)[HEAD_DIM / 8][4], const u32 (&left)[STEPS][4], u64 tile) {\n#pragma unroll\n  for (int d = 0; d < STEPS; d++) multiply<1>(sum, left[d], tile + d * (16 * 128 / 16), 1);\n}\n\n/** Results, from 16 · FIRST columns on, to left operands in bf16. */\ntemplate <int FIRST = 0, int STEPS, int TILES>\nDEVICE void pack_tiles(u32 (&packed)[STEPS][4], const float (&c)[TILES][4]) {\n  static_assert(2 * (FIRST + STEPS) <= TILES, \"columns that there are\");\n#pragma unroll\n  for (int n = 0; n < 2 * STEPS; n++) {\n    packed[n / 2][n % 2 * 2] = pack_bf16(c[2 * FIRST + n][0], c[2 * FIRST + n][1]);\n    packed[n / 2][n % 2 * 2 + 1] = pack_bf16(c[2 * FIRST + n][2], c[2 * FIRST + n][3]);\n  }\n}\n\ntemplate <int TILES, class F>\nDEVICE void visit_results(float (&c)[TILES][4], F visit) {\n#pragma unroll\n  for (int n = 0; n < TILES; n++) {\n#pragma unroll\n    for (int i = 0; i < 4; i++) visit(n * 4 + i, c[n][i]);\n  }\n}\n\ntemplate <int TILES>\nDEVICE void clear(float (&c)[TILES][4]) {\n#pragma unroll\n  for (int n = 0; n < TILES; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0f;\n}\n\n/**\n * A warp's 16 rows to global memory as bf16, each multiplied by its factor, by way of 16 rows of D columns in shared\n * memory, 1024-byte aligned, that nobody else touches. `valid` counts positions of SHARED rows.\n */\ntemplate <int SHARED>\nDEVICE void store_rows(bf16* target, int stride, int valid, const float (&sum)[HEAD_DIM / 8][4],\n                       const float (&factor)[2], unsigned char* staging, int lane) {\n  __syncwarp();\n#pragma unroll\n  for (int half = 0; half < 2; half++) {\n#pragma unroll\n    for (int n = 0; n < HEAD_DIM / 8; n++) {\n      *(u32*)(staging + n / 8 * 2048 + swizzled(half * 8 + lane / 4, n % 8) + lane % 4 * 4) =\n          pack_bf16(sum[n][2 * half] * factor[half], sum[n][2 * half + 1] * factor[half]);\n    }\n  }\n  __syncwarp();\n#pragma unroll\n  for (int i = 0; i < 16 * row_units / 32; i++) {\n    const int row = (i * 32 + lane) / row_units, unit = lane % row_units;\n    if (row / SHARED < valid) {\n      *(uint4*)(target + (long long)(row / SHARED) * stride + row % SHARED * HEAD_DIM + unit * 8) =\n          *(const uint4*)(staging + unit / 8 * 2048 + swizzled(row, unit % 8));\n    }\n  }\n}\n"
};
// src/engine/cuda/kernels.ts
const PLAIN_PROGRAMS = Object.values(PROGRAMS);
function nameOf(files) {
	return files.at(-1).replace(/\.cu$/, "");
}
function sourceOf(files) {
	return files.map((file) => {
		const text = KERNEL_SOURCES[file];
		if (text === void 0) throw new EngineError(`the CUDA source ${file} is not in this build`);
		return text;
	}).join("\n");
}
var Kernels = class {
	multiprocessors;
	#driver;
	#compiler;
	#modules = new Map();
	#functions = new Map();
	constructor(driver, compiler) {
		this.#driver = driver;
		this.#compiler = compiler;
		this.multiprocessors = driver.device.multiprocessors;
	}
	get hasWarpgroups() {
		return this.#driver.device.capability === 90 && this.#compiler.hasWarpgroups;
	}
	launch(kernel, grid, parameters, block = kernel.block) {
		const { name, program } = kernel;
		let known = this.#functions.get(kernel);
		if (!known) {
			known = this.#driver.kernel(this.#module(program), name, program.sharedBytes);
			this.#functions.set(kernel, known);
		}
		kernel.pack(this.#driver.parameters, parameters);
		this.#driver.launch(known, grid, block, program.sharedBytes);
	}
	async prepare(programs) {
		const { capability } = this.#driver.device;
		await Promise.all(programs.map(({ files, defines, isSpecific }) => this.#compiler.prepare(nameOf(files), sourceOf(files), capability, defines, isSpecific).catch(() => void 0)));
	}
	#module({ files, defines, isSpecific }) {
		const name = nameOf(files);
		const key = `${name} ${JSON.stringify(defines)}`;
		let module = this.#modules.get(key);
		if (module === void 0) {
			const { capability } = this.#driver.device;
			const code = this.#compiler.compile(name, sourceOf(files), capability, defines, isSpecific);
			module = this.#driver.loadModule(code);
			this.#modules.set(key, module);
		}
		return module;
	}
	dispose() {
		for (const module of this.#modules.values()) this.#driver.call("cuModuleUnload", ["uint64"], module);
		this.#modules.clear();
		this.#functions.clear();
	}
};
// src/engine/cuda/matrix-products.ts
const FLAGS = {
	transA: 1,
	transB: 2,
	f32: 4,
	beta: 8,
	e4m3: 16,
	isFast: 32,
	rows: 64
};
const WORKSPACE_BYTES = 64 << 20;
const MAX_PLANS = 4096;
const ALIGNED = 8421504;
const TILE_ROWS = 128;
const LARGEST_SMALL = 1024;
const SMALL_BUCKETS = 8 * Math.log2(LARGEST_SMALL);
function sizeBucket(size) {
	if (size > LARGEST_SMALL) return SMALL_BUCKETS + Math.ceil((size - LARGEST_SMALL) / TILE_ROWS);
	return Math.ceil(8 * Math.log2(Math.max(1, size)));
}
function largestOf(bucket) {
	if (bucket > SMALL_BUCKETS) return LARGEST_SMALL + (bucket - SMALL_BUCKETS) * TILE_ROWS;
	return Math.floor(2 ** (bucket / 8));
}
var MatrixProducts = class {
	#driver;
	#library;
	#workspace;
	#firsts = new Map();
	#isAsked = false;
	used = new Map();
	#plans = new Map();
	constructor(driver, library, allocator) {
		this.#driver = driver;
		this.#library = library;
		this.#workspace = allocator.allocate(WORKSPACE_BYTES, "matrix product workspace", "weights").address;
	}
	run(product) {
		const { m, n, k, a, lda, b, ldb, d, ldd, transA = false, transB = false, type = "bf16", beta = 0 } = product;
		const { e4m3 } = product;
		if (m === 0 || n === 0 || k === 0) return;
		const alignment = alignmentOf(a) * 65536 + alignmentOf(b) * 256 + alignmentOf(d);
		const scales = e4m3?.scales === "rows" ? FLAGS.rows : 0;
		const kind = e4m3 ? FLAGS.e4m3 + (e4m3.isFast ? FLAGS.isFast : 0) + scales : 0;
		const flags = (transA ? FLAGS.transA : 0) + (transB ? FLAGS.transB : 0) + (type === "f32" ? FLAGS.f32 : 0) + (beta !== 0 ? FLAGS.beta : 0) + kind;
		if (e4m3) this.#library.setScales(this.#descriptor(product), e4m3.b, e4m3.a);
		const key = `${m},${n},${k},${lda},${ldb},${ldd},${flags},${alignment}`;
		let plan = this.#plans.get(key);
		if (plan) this.#plans.delete(key);
		else plan = this.#plan(product, alignment, flags);
		this.#plans.set(key, plan);
		const { alpha = 1 } = product;
		const [workspace, stream] = [this.#workspace, this.#driver.stream];
		this.#driver.launches++;
		const { handles, algorithm } = plan;
		const status = this.#library.matmul(handles, algorithm, alpha, b, a, beta, d, workspace, WORKSPACE_BYTES, stream);
		if (status !== 0) throw productError(product, `status ${status}`);
	}
	#runs(handles, algorithm) {
		const needed = this.#library.check(handles, algorithm);
		return needed !== void 0 && needed <= 67108864;
	}
	#plan(product, alignment, flags) {
		if (this.#plans.size >= MAX_PLANS) this.#forgetOldest();
		const handles = this.#handles(product);
		const algorithm = this.#choose(product, handles, alignment, flags);
		const key = `${flags},${algorithm.join()}`;
		const { m, n, k, lda, ldb, ldd } = product;
		if (!this.used.has(key)) this.used.set(key, {
			sizes: [
				m,
				n,
				k,
				lda,
				ldb,
				ldd,
				flags
			],
			algorithm
		});
		return {
			handles,
			algorithm
		};
	}
	load({ sizes, algorithm }, load) {
		const [m, n, k, lda, ldb, ldd, flags] = sizes;
		const has = (flag) => (flags & flag) !== 0;
		const operand = this.#workspace;
		const product = {
			m,
			n,
			k,
			lda,
			ldb,
			ldd,
			a: operand,
			b: operand,
			d: operand,
			transA: has(FLAGS.transA),
			transB: has(FLAGS.transB),
			type: has(FLAGS.f32) ? "f32" : "bf16",
			...has(FLAGS.e4m3) && { e4m3: {
				scales: has(FLAGS.rows) ? "rows" : "tensor",
				a: operand,
				b: operand,
				isFast: has(FLAGS.isFast)
			} }
		};
		const handles = this.#handles(product);
		if (product.e4m3) this.#library.setScales(handles.descriptor, operand, operand);
		if (!this.#isAsked) this.#first(handles, ALIGNED);
		this.#isAsked = true;
		if (this.#runs(handles, algorithm)) {
			const beta = has(FLAGS.beta) ? 1 : 0;
			load((stream) => {
				const at = this.#workspace;
				this.#library.matmul(handles, algorithm, 1, at, at, beta, at, at, WORKSPACE_BYTES, stream);
			});
		}
		this.#releaseLayouts(handles);
	}
	#handles(product) {
		const { m, n, k, lda, ldb, ldd, transA = false, transB = false, type = "bf16", e4m3 } = product;
		const operand = e4m3 ? "e4m3" : "bf16";
		return {
			descriptor: this.#descriptor(product),
			a: transB ? this.#library.createLayout(operand, k, n, ldb) : this.#library.createLayout(operand, n, k, ldb),
			b: transA ? this.#library.createLayout(operand, m, k, lda) : this.#library.createLayout(operand, k, m, lda),
			d: this.#library.createLayout(type, n, m, ldd)
		};
	}
	#descriptor({ transA = false, transB = false, e4m3 }) {
		if (!e4m3) return this.#library.descriptor(transB, transA);
		return this.#library.e4m3Descriptor(e4m3.scales, e4m3.isFast);
	}
	#choose(product, handles, alignment, flags) {
		const { m, n, k, lda, ldb, ldd, transA = false } = product;
		const bucket = sizeBucket(transA ? k : m);
		const key = [
			...transA ? [m, n] : [n, k],
			bucket,
			flags,
			alignment,
			lda,
			ldb,
			ldd
		].join();
		const known = this.#firsts.get(key);
		if (known && this.#runs(handles, known)) return known;
		const largest = largestOf(bucket);
		const whole = this.#handles({
			...product,
			...transA ? { k: largest } : { m: largest }
		});
		const first = known ? void 0 : this.#first(whole, alignment);
		this.#releaseLayouts(whole);
		if (first) this.#firsts.set(key, first);
		if (first && this.#runs(handles, first)) return first;
		const own = this.#first(handles, alignment);
		if (!own) throw productError(product, "no algorithm");
		return own;
	}
	#first(handles, alignment) {
		const bytes = [
			alignment >> 8,
			alignment >> 16,
			alignment
		].map((value) => value & 255).map((value) => Math.max(1, value));
		return this.#library.firstChoice(handles, WORKSPACE_BYTES, bytes);
	}
	#forgetOldest() {
		const [key, plan] = this.#plans.entries().next().value;
		this.#plans.delete(key);
		this.#releaseLayouts(plan.handles);
	}
	#releaseLayouts(handles) {
		for (const layout of [
			handles.a,
			handles.b,
			handles.d
		]) this.#library.destroyLayout(layout);
	}
	dispose() {
		for (const { handles } of this.#plans.values()) this.#releaseLayouts(handles);
		this.#plans.clear();
		this.#library.dispose();
	}
};
function alignmentOf(value) {
	if (value % 128 === 0) return 128;
	const low = value % 128;
	return low & -low;
}
function productError({ m, n, k }, what) {
	return new EngineError(`cuBLASLt: product of [${m}, ${k}] and [${k}, ${n}]: ${what}`);
}
// src/engine/cuda/matrix-rate.ts
const [M, N, K] = [
	4096,
	8192,
	8192
];
const RUNS = 10;
const MAX_TFLOPS = 1e5;
const ROUNDS = 3;
const RANDOM_VALUES = 1060920;
function matrixRate(context, device, version) {
	const name = `matrix-rate-${device.replace(/[^A-Za-z0-9]+/g, "-")}-${version}.json`;
	const path = join(kernelCacheFolder(), name);
	const known = readCacheJson(path)?.tflops;
	if (typeof known === "number" && known > 0 && known < MAX_TFLOPS) return known;
	try {
		const tflops = measure(context);
		writeCacheFile(path, JSON.stringify({
			tflops,
			product: [
				M,
				N,
				K
			]
		}));
		return tflops;
	} catch (error) {
		if (error instanceof OutOfMemoryError) return void 0;
		throw error;
	}
}
function measure({ driver, allocator, products, staging }) {
	const blocks = [];
	const events = [];
	try {
		const allocate = (elements) => {
			const block = allocator.allocate(2 * elements, "rate of matrix products");
			blocks.push(block);
			return block;
		};
		const [random, a, b, d] = [
			RANDOM_VALUES,
			M * K,
			N * K,
			M * N
		].map(allocate);
		staging.upload(random.address, randomBf16());
		for (const [block, elements] of [[a, M * K], [b, N * K]]) for (let at = 0; at < elements; at += RANDOM_VALUES) driver.copy(offset(block.address, 2 * at), random.address, 2 * Math.min(RANDOM_VALUES, elements - at));
		const product = {
			m: M,
			n: N,
			k: K,
			a: a.address,
			lda: K,
			b: b.address,
			ldb: K,
			transB: true,
			d: d.address,
			ldd: N
		};
		products.run(product);
		const [start, end] = [driver.createEvent(true), driver.createEvent(true)];
		events.push(start, end);
		let best = Number.POSITIVE_INFINITY;
		for (let round = 0; round < ROUNDS; round++) {
			driver.recordEvent(start);
			for (let run = 0; run < RUNS; run++) products.run(product);
			driver.recordEvent(end);
			driver.synchronizeEvent(end);
			best = Math.min(best, driver.elapsedMilliseconds(start, end) / RUNS);
		}
		return 2 * M * N * K / (best / 1e3) / 0xe8d4a51000;
	} finally {
		for (const event of events) driver.destroyEvent(event);
		for (const block of blocks) allocator.free(block);
	}
}
function randomBf16() {
	const random = new MersenneTwister(1);
	const values = new Float32Array(RANDOM_VALUES);
	for (let i = 0; i < values.length; i++) values[i] = (random.nextUint32() / 2 ** 31 - 1) * Math.sqrt(3);
	const bits = new Uint32Array(values.buffer);
	return Uint16Array.from(bits, (word) => word >>> 16);
}
// src/engine/cuda/operations/attention-work.ts
const tiles = (WARPS, ROW_FRAGMENTS, STREAM_TILE, MIN_BLOCKS, HEAD_SPLIT = 1) => ({
	WARPS,
	ROW_FRAGMENTS,
	STREAM_TILE,
	MIN_BLOCKS,
	HEAD_SPLIT
});
const TILES = {
	forward: {
		large: [tiles(4, 2, 64, 2), tiles(4, 2, 64, 2)],
		middle: [tiles(4, 2, 64, 2), tiles(4, 2, 32, 2)],
		small: [tiles(8, 1, 32, 1), tiles(8, 1, 32, 1)]
	},
	backwardQuery: {
		large: [tiles(4, 2, 32, 2), tiles(4, 2, 32, 2)],
		middle: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
		small: [tiles(8, 1, 32, 1), tiles(8, 1, 16, 1)]
	},
	backwardKeyValue: {
		large: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
		middle: [tiles(4, 2, 32, 2), tiles(8, 1, 32, 1)],
		small: [tiles(8, 1, 32, 1), tiles(8, 1, 16, 1)]
	},
	decode: {
		large: [tiles(4, 1, 16, 3), tiles(4, 1, 16, 3)],
		middle: [tiles(4, 1, 16, 3), tiles(4, 1, 16, 2)],
		small: [tiles(4, 1, 16, 2), tiles(4, 1, 16, 1)]
	}
};
const warpgroupTiles = (WARPS, STREAM_TILE, MIN_BLOCKS, GROUP, OWN_IN_REGISTERS, TEAMS = 1, STAGES = 2) => ({
	WARPS,
	STREAM_TILE,
	MIN_BLOCKS,
	GROUP,
	OWN_IN_REGISTERS,
	TEAMS,
	STAGES
});
const WARPGROUP_TILES = {
	forward: {
		64: warpgroupTiles(16, 64, 1, 1, 1, 1, 3),
		128: warpgroupTiles(8, 32, 2, 4, 0, 1, 3)
	},
	backwardQuery: {
		64: warpgroupTiles(8, 64, 2, 1, 0, 1, 4),
		128: warpgroupTiles(8, 64, 1, 4, 0, 1, 3)
	},
	backwardKeyValue: {
		64: warpgroupTiles(4, 64, 3, 1, 0, 1, 3),
		128: warpgroupTiles(4, 64, 1, 4, 0, 2, 3)
	}
};
function attentionWarpgroupTiles(kernel, headDim, group) {
	const found = WARPGROUP_TILES[kernel]?.[headDim];
	return found && group % found.GROUP === 0 ? found : void 0;
}
function attentionTiles(kernel, capability, headDim, group) {
	const size = capability >= 90 && capability < 120 ? "large" : capability === 80 || capability === 87 ? "middle" : "small";
	const found = TILES[kernel][size][headDim > 64 ? 1 : 0];
	if (kernel !== "backwardKeyValue" || size !== "large" || headDim <= 64 || group % 2 !== 0) return found;
	return tiles(4, 1, 32, 1, 2);
}
function attentionTileRows(kernel, of) {
	if ("GROUP" in of) return 16 * of.WARPS / (kernel === "backwardKeyValue" ? 1 : of.GROUP);
	return 16 * of.WARPS * of.ROW_FRAGMENTS;
}
function warpgroupSharedBytes(kernel, of, headDim) {
	const own = 16 * of.WARPS;
	const streamed = of.TEAMS * of.STAGES * of.STREAM_TILE;
	if (kernel === "forward") return (own + 2 * streamed) * 2 * headDim;
	return (own + streamed) * 4 * headDim + (kernel === "backwardKeyValue" ? 8 * streamed : 0);
}
function attentionSharedBytes(kernel, of, headDim) {
	if ("GROUP" in of) return warpgroupSharedBytes(kernel, of, headDim);
	const rowBytes = 2 * Math.ceil(headDim / 16) * 16 + 16;
	const own = attentionTileRows(kernel, of);
	switch (kernel) {
		case "forward": return (own + 4 * of.STREAM_TILE) * rowBytes;
		case "backwardQuery": return (2 * own + 4 * of.STREAM_TILE) * rowBytes;
		case "backwardKeyValue": return 2 * own * rowBytes + of.HEAD_SPLIT * (4 * rowBytes + 16) * of.STREAM_TILE;
		case "decode": return of.WARPS * 4 * of.STREAM_TILE * rowBytes;
	}
}
function rangesOf({ queryStarts, keyStarts, keyLengths }) {
	return Array.from(keyStarts, (keyStart, s) => {
		return {
			queryStart: queryStarts[s],
			queryEnd: queryStarts[s + 1],
			keyStart,
			keyEnd: keyStart + keyLengths[s]
		};
	});
}
function buildAttentionWork(segments, tileRows, causal) {
	const items = [];
	for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) for (let first = queryStart; first < queryEnd; first += tileRows) {
		const last = Math.min(first + tileRows, queryEnd);
		const seen = causal ? Math.min(keyEnd, last + keyEnd - queryEnd) : keyEnd;
		items.push([
			first,
			queryEnd,
			keyStart,
			keyEnd,
			Math.max(0, seen - keyStart)
		]);
	}
	return heaviestFirst(items);
}
function buildAttentionKeyWork(segments, tileRows, causal) {
	const items = [];
	for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) for (let first = keyStart; first < keyEnd; first += tileRows) {
		const seenFrom = causal ? Math.max(queryStart, first - (keyEnd - queryEnd)) : queryStart;
		items.push([
			first,
			keyEnd,
			queryStart,
			queryEnd,
			Math.max(0, queryEnd - seenFrom)
		]);
	}
	return heaviestFirst(items);
}
const LAST_KEY = 2 ** 30;
const SPLIT_KEYS = 64;
function buildDecodeWork(segments, kvHeads, causal, blocks) {
	const rows = segments.queryStarts[segments.keyStarts.length];
	const wanted = Math.max(1, Math.floor(blocks / Math.max(1, rows * kvHeads)));
	const items = [];
	const shares = [];
	let slots = 0;
	for (const { queryStart, queryEnd, keyStart, keyEnd } of rangesOf(segments)) for (let row = queryStart; row < queryEnd; row++) {
		const end = Math.max(keyStart, causal ? keyEnd - (queryEnd - 1 - row) : keyEnd);
		const length = Math.max(SPLIT_KEYS, SPLIT_KEYS * Math.ceil((end - keyStart) / wanted / SPLIT_KEYS));
		const count = Math.max(1, Math.ceil((end - keyStart) / length));
		const firstSlot = slots;
		for (let i = 0; i < count; i++) {
			const first = keyStart + i * length;
			const last = Math.min(end, first + length);
			const mark = last === keyEnd && last > first ? LAST_KEY : 0;
			items.push([
				row + mark,
				first,
				last,
				count > 1 ? slots++ : -1,
				last - first
			]);
			if (count > 1) shares.push(firstSlot, count);
		}
	}
	return {
		items: heaviestFirst(items),
		shares: Int32Array.from(shares),
		slots
	};
}
function heaviestFirst(items) {
	items.sort((a, b) => b[4] - a[4]);
	const out = new Int32Array(4 * items.length);
	for (const [i, item] of items.entries()) out.set(item.slice(0, 4), 4 * i);
	return out;
}
// src/engine/cuda/operations/attention-kernels.ts
const ATTENTION_FILES = {
	forward: "attention-forward.cu",
	backwardQuery: "attention-backward-query.cu",
	backwardKeyValue: "attention-backward-key-value.cu",
	decode: "attention-decode.cu"
};
const HELPERS = ["mma-helpers.cuh", "attention-tiles.cuh"];
const WARPGROUP_FILES = {
	forward: "attention-warpgroup-forward.cu",
	backwardQuery: "attention-warpgroup-backward-query.cu",
	backwardKeyValue: "attention-warpgroup-backward-key-value.cu"
};
const WARPGROUP_HELPERS = [
	"mma-helpers.cuh",
	"warpgroup-helpers.cuh",
	"warpgroup-tiles.cuh"
];
const KEPT_SEGMENTS = 8;
const MAX_DECODE_GROUP = 16;
const DELTA_THREADS = 256;
const DECODE_BLOCKS = 3;
function attentionProgram(kernel, capability, headDim, group, hasWarpgroups) {
	const warpgroups = hasWarpgroups ? attentionWarpgroupTiles(kernel, headDim, group) : void 0;
	const tiles = warpgroups ?? attentionTiles(kernel, capability, headDim, group);
	return {
		files: warpgroups ? [...WARPGROUP_HELPERS, WARPGROUP_FILES[kernel]] : [...HELPERS, ATTENTION_FILES[kernel]],
		defines: {
			HEAD_DIM: headDim,
			...tiles
		},
		sharedBytes: attentionSharedBytes(kernel, tiles, headDim),
		isSpecific: warpgroups !== void 0,
		tiles
	};
}
function deltaProgram(capability, headDim) {
	return attentionProgram("backwardQuery", capability, headDim, 1, false);
}
const USUAL_HEADS = [[128, 4], [64, 1]];
function usualAttentionPrograms(capability, hasWarpgroups) {
	return USUAL_HEADS.flatMap(([headDim, group]) => {
		const programs = Object.keys(ATTENTION_FILES).filter((kernel) => kernel !== "decode" || group > 1).map((kernel) => attentionProgram(kernel, capability, headDim, group, hasWarpgroups));
		return hasWarpgroups ? [...programs, deltaProgram(capability, headDim)] : programs;
	});
}
const TEMPLATES = {
	forward: KERNELS.attentionForward,
	backwardQuery: KERNELS.attentionBackwardQuery,
	backwardKeyValue: KERNELS.attentionBackwardKeyValue,
	decode: KERNELS.attentionDecode
};
var AttentionKernels = class {
	#store;
	#capability;
	#lists = new Map();
	#variants = new Map();
	#deltas = new Map();
	constructor(store, capability) {
		this.#store = store;
		this.#capability = capability;
	}
	forward({ out, lse, q, k, v }, { heads, kvHeads, headDim, scale, causal, segments }) {
		const variant = this.#variant("forward", headDim, heads / kvHeads);
		const work = this.#work(segments, `q${variant.tileRows}${causal}`, () => buildAttentionWork(segments, variant.tileRows, causal));
		this.#store.kernels.launch(variant.kernel, [heads / variant.heads, work.items], {
			output: out.address,
			outputStride: out.ld,
			logSum: lse?.address,
			work: work.block.address,
			query: q.address,
			queryStride: q.ld,
			key: k.address,
			keyStride: k.ld,
			value: v.address,
			valueStride: v.ld,
			kvHeads,
			queryRows: q.rows,
			scale,
			causal: causal ? 1 : 0
		});
	}
	delta(delta, dOut, out, { heads, headDim }) {
		let kernel = this.#deltas.get(headDim);
		if (!kernel) {
			const program = deltaProgram(this.#capability, headDim);
			kernel = {
				...KERNELS.attentionBackwardDelta,
				program,
				block: DELTA_THREADS
			};
			this.#deltas.set(headDim, kernel);
		}
		const lanes = 2 ** Math.ceil(Math.log2(headDim / 8));
		this.#store.kernels.launch(kernel, [Math.ceil(out.rows * heads * lanes / DELTA_THREADS)], {
			delta: delta.address,
			outputGradient: dOut.address,
			outputGradientStride: dOut.ld,
			output: out.address,
			outputStride: out.ld,
			heads,
			queryRows: out.rows
		});
	}
	backwardQuery({ dq, dOut, q, k, v, lse, delta }, { heads, kvHeads, headDim, scale, causal, segments }) {
		const variant = this.#variant("backwardQuery", headDim, heads / kvHeads);
		const work = this.#work(segments, `q${variant.tileRows}${causal}`, () => buildAttentionWork(segments, variant.tileRows, causal));
		this.#store.kernels.launch(variant.kernel, [heads / variant.heads, work.items], {
			queryGradient: dq.address,
			queryGradientStride: dq.ld,
			outputGradient: dOut.address,
			outputGradientStride: dOut.ld,
			query: q.address,
			queryStride: q.ld,
			key: k.address,
			keyStride: k.ld,
			value: v.address,
			valueStride: v.ld,
			logSum: lse.address,
			delta: delta.address,
			work: work.block.address,
			kvHeads,
			queryRows: q.rows,
			scale,
			causal: causal ? 1 : 0
		});
	}
	backwardKeyValue({ dk, dv, dOut, q, k, v, lse, delta }, { heads, kvHeads, headDim, scale, causal, segments }) {
		const variant = this.#variant("backwardKeyValue", headDim, heads / kvHeads);
		const work = this.#work(segments, `k${variant.tileRows}${causal}`, () => buildAttentionKeyWork(segments, variant.tileRows, causal));
		this.#store.kernels.launch(variant.kernel, [kvHeads, work.items], {
			keyGradient: dk.address,
			keyGradientStride: dk.ld,
			valueGradient: dv.address,
			valueGradientStride: dv.ld,
			outputGradient: dOut.address,
			outputGradientStride: dOut.ld,
			query: q.address,
			queryStride: q.ld,
			key: k.address,
			keyStride: k.ld,
			value: v.address,
			valueStride: v.ld,
			logSum: lse.address,
			delta: delta.address,
			work: work.block.address,
			heads,
			queryRows: q.rows,
			scale,
			causal: causal ? 1 : 0
		});
	}
	isDecode({ queryStarts, keyStarts }, heads, kvHeads) {
		if (heads / kvHeads > MAX_DECODE_GROUP) return false;
		return keyStarts.every((_, s) => queryStarts[s + 1] - queryStarts[s] <= 1);
	}
	decode({ out, q, k, v }, { heads, kvHeads, headDim, scale, causal, segments }, newest) {
		const store = this.#store;
		const { kernel } = this.#variant("decode", headDim, 1);
		const { items, shares, slots } = this.#decodeLists(segments, kvHeads, causal);
		const partial = store.createF32([slots, heads * headDim]);
		const logSum = store.createF32([slots, heads]);
		store.kernels.launch(kernel, [kvHeads, items.items], {
			output: out.address,
			outputStride: out.ld,
			partialOutput: partial.address,
			partialLogSum: logSum.address,
			query: q.address,
			queryStride: q.ld,
			key: k.address,
			keyStride: k.ld,
			value: v.address,
			valueStride: v.ld,
			work: items.block.address,
			shares: shares.block.address,
			arrived: slots > 0 ? store.counters(slots * kvHeads) : void 0,
			newKey: newest?.k.address,
			newKeyStride: newest?.k.ld ?? 0,
			newValue: newest?.v.address,
			newValueStride: newest?.v.ld ?? 0,
			cosine: newest?.cos,
			sine: newest?.sin,
			queryScale: newest?.queryScale,
			heads,
			scale
		});
		store.release(partial);
		store.release(logSum);
	}
	dispose() {
		for (const segments of [...this.#lists.keys()]) this.#forget(segments);
	}
	#variant(use, headDim, group) {
		const known = this.#variants.get(use) ?? new Map();
		this.#variants.set(use, known);
		const key = 1024 * headDim + group;
		let variant = known.get(key);
		if (!variant) {
			const { hasWarpgroups } = this.#store.kernels;
			const program = attentionProgram(use, this.#capability, headDim, group, hasWarpgroups);
			const { tiles } = program;
			const block = 32 * tiles.WARPS * ("HEAD_SPLIT" in tiles ? tiles.HEAD_SPLIT : tiles.TEAMS);
			variant = {
				kernel: {
					...TEMPLATES[use],
					program,
					block
				},
				tileRows: attentionTileRows(use, tiles),
				heads: "GROUP" in tiles ? tiles.GROUP : 1
			};
			known.set(key, variant);
		}
		return variant;
	}
	#work(segments, key, build) {
		const lists = this.#listsOf(segments);
		let list = lists.get(key);
		if (!list) {
			list = this.#upload(build());
			lists.set(key, list);
		}
		return list;
	}
	#decodeLists(segments, kvHeads, causal) {
		const lists = this.#listsOf(segments);
		const key = `d${kvHeads}${causal}`;
		let list = lists.get(key);
		if (!list) {
			const { items, shares, slots } = buildDecodeWork(segments, kvHeads, causal, DECODE_BLOCKS * this.#store.kernels.multiprocessors);
			list = {
				items: this.#upload(items),
				shares: this.#upload(shares),
				slots
			};
			lists.set(key, list);
		}
		return list;
	}
	#upload(words) {
		return {
			block: this.#store.table(words),
			items: words.length / 4
		};
	}
	#listsOf(segments) {
		const known = this.#lists.get(segments);
		const lists = known ?? new Map();
		if (known) this.#lists.delete(segments);
		else if (this.#lists.size >= KEPT_SEGMENTS) this.#forget(this.#lists.keys().next().value);
		this.#lists.set(segments, lists);
		return lists;
	}
	#forget(segments) {
		for (const list of this.#lists.get(segments)?.values() ?? []) {
			const parts = "slots" in list ? [list.items, list.shares] : [list];
			for (const { block } of parts) this.#store.allocator.free(block);
		}
		this.#lists.delete(segments);
	}
};
// src/engine/cuda/operations/cross-entropy.ts
const OPERATION$9 = "crossEntropy";
const MAX_LOGITS = 1 << 27;
const KIND_F32 = 1;
function crossEntropy(store, weights) {
	return {
		forward([input], { head, targets, scale, smoothing = 0, weights: rowWeights }, record) {
			const hidden = store.matrix(input, OPERATION$9, "hidden");
			const { rows, columns } = hidden;
			const { matrix, row: headRow, rows: vocabulary } = weights.useMatrix(head, columns, OPERATION$9);
			if (targets.length !== rows) throw new EngineError(`${OPERATION$9}: ${targets.length} targets for ${rows} rows`);
			checkRows(targets, vocabulary, OPERATION$9);
			checkRowWeights(rowWeights, rows, OPERATION$9);
			const loss = store.createF32([1]);
			const rowLoss = store.createF32([rows]);
			const gradient = record ? store.saved(store.create(hidden.shape)) : void 0;
			if (rows === 0) {
				store.driver.fillBytes(loss.address, 0, 4);
				return {
					outputs: [loss, rowLoss],
					saved: gradient ? [gradient] : []
				};
			}
			const most = Math.max(1, Math.floor(MAX_LOGITS / vocabulary));
			const block = Math.ceil(rows / Math.ceil(rows / most));
			const logits = store.createF32([block, Math.ceil(vocabulary / 4) * 4]);
			const dLogits = gradient && store.create([block, vocabulary]);
			const running = store.createF32([3, rows]);
			const [maximum, sum, logit] = [
				0,
				1,
				2
			].map((i) => offset(running.address, 4 * i * rows));
			const wanted = {
				own: 1 - smoothing + smoothing / vocabulary,
				other: smoothing / vocabulary
			};
			const rowFactors = rowWeights && store.createF32([rows]);
			if (rowFactors) store.staging.upload(rowFactors.address, rowWeights);
			store.withTable(targets, (table) => {
				for (let row = 0; row < rows; row += block) {
					const m = Math.min(block, rows - row);
					const at = 4 * row;
					const [rowMax, rowSum, targetLogit] = [
						maximum,
						sum,
						logit
					].map((of) => offset(of, at));
					const chunk = {
						logits: logits.address,
						rows: m,
						n: vocabulary,
						ld: logits.ld,
						kind: KIND_F32
					};
					const rowTargets = offset(table, at);
					matrix.product(headRow, rowRange(hidden, row, m), {
						...rowRange(logits, 0, m),
						columns: vocabulary
					});
					store.kernels.launch(KERNELS.crossEntropyChunk, [m], {
						...chunk,
						rowMax,
						rowSum,
						targetLogit,
						targets: rowTargets,
						firstColumn: 0,
						isFirst: 1
					});
					if (smoothing !== 0) {
						const shares = {
							own: 1 - smoothing,
							each: smoothing / vocabulary
						};
						store.kernels.launch(KERNELS.crossEntropySmooth, [m], {
							...chunk,
							...shares,
							targetLogit
						});
					}
					if (!gradient || !dLogits) continue;
					store.kernels.launch(KERNELS.crossEntropyGradient, grid2(m, vocabulary), {
						...chunk,
						...wanted,
						rowMax,
						rowSum,
						targets: rowTargets,
						firstColumn: 0,
						weights: rowFactors && offset(rowFactors.address, at),
						dlogits: dLogits.address,
						ldd: dLogits.ld,
						lossGradient: void 0,
						scale
					});
					matrix.transposedProduct(headRow, rowRange(dLogits, 0, m), rowRange(gradient, row, m));
				}
			});
			store.kernels.launch(KERNELS.crossEntropyFinish, [1], {
				rowLoss: rowLoss.address,
				loss: loss.address,
				rowMax: maximum,
				rowSum: sum,
				targetLogit: logit,
				weights: rowFactors?.address,
				rows,
				scale
			});
			for (const tensor of [
				logits,
				dLogits,
				running,
				rowFactors
			]) if (tensor) store.release(tensor);
			store.readAhead(loss);
			return {
				outputs: [loss, rowLoss],
				saved: gradient ? [gradient] : []
			};
		},
		backward([saved], [lossGradient], _attributes, needs) {
			if (!lossGradient || !needs[0]) return [void 0];
			const gradient = store.use(saved, OPERATION$9);
			const { rows, columns } = gradient;
			const dx = store.create(gradient.shape);
			store.withF32(lossGradient, OPERATION$9, (factor) => {
				store.kernels.launch(KERNELS.scale, grid2(rows, columns), {
					out: dx.address,
					x: gradient.address,
					factorPointer: factor,
					factor: 1,
					rows,
					columns,
					ldo: dx.ld,
					ldx: gradient.ld
				});
			});
			return [dx];
		}
	};
}
// src/engine/image-patches.ts
function* unpaddedPixels({ images, patchSize, grids }, n) {
	const { pixels, offset, channels, height, width } = images[n];
	const [rows, columns] = [grids[2 * n] * patchSize, grids[2 * n + 1] * patchSize];
	if (columns === width && rows === height) {
		yield pixels.subarray(offset, offset + channels * height * width);
		return;
	}
	for (let c = 0; c < channels; c++) {
		const first = offset + c * height * width;
		if (columns === width) yield pixels.subarray(first, first + rows * width);
		else for (let y = 0; y < rows; y++) yield pixels.subarray(first + y * width, first + y * width + columns);
	}
}
// src/engine/cuda/operations/image-patches.ts
function imagePatches(store, of) {
	const { images, patchSize, grids } = of;
	const columns = (images[0]?.channels ?? 0) * patchSize ** 2;
	const rows = images.map((_, n) => grids[2 * n] * grids[2 * n + 1]);
	const count = rows.reduce((sum, value) => sum + value, 0);
	const pixels = store.createF32([count, columns]);
	const pieces = function* () {
		for (const n of images.keys()) yield* unpaddedPixels(of, n);
	};
	store.staging.uploadJoined(pixels.address, ELEMENT_BYTES.f32 * pixels.size, pieces());
	const out = store.createInput([count, columns]);
	let first = 0;
	for (const [n, patches] of rows.entries()) {
		store.kernels.launch(KERNELS.imagePatches, grid2(patches, columns), {
			out: offset(out.address, ELEMENT_BYTES.bf16 * first * out.ld),
			x: offset(pixels.address, ELEMENT_BYTES.f32 * first * columns),
			rows: patches,
			columns,
			ldo: out.ld,
			size: patchSize,
			across: grids[2 * n + 1]
		});
		first += patches;
	}
	store.release(pixels);
	return out;
}
// src/engine/cuda/operations/largest.ts
async function rowMaxima(store, matrix) {
	const { address, rows, columns, ld, type } = store.use(matrix, "rowMaxima");
	const out = store.createF32([2, Math.max(1, rows)]);
	const kind = type === "f32" ? 1 : 0;
	store.kernels.launch(KERNELS.largestLogit, [rows], {
		largestValue: out.address,
		largestIndex: offset(out.address, 4 * rows),
		logits: address,
		n: columns,
		ld,
		kind
	});
	const download = store.staging.download(out.address, 8 * rows);
	store.release(out);
	const bytes = await download.arrive();
	return {
		values: new Float32Array(bytes, 0, rows),
		indices: new Int32Array(bytes, 4 * rows, rows)
	};
}
// src/engine/cuda/operations/rows.ts
function inverseOf(rows, count, operation) {
	checkRows(rows, count, operation);
	const inverse = new Int32Array(count).fill(-1);
	for (const [i, row] of rows.entries()) {
		if (inverse[row] >= 0) throw new EngineError(`${operation}: row ${row} is listed twice`);
		inverse[row] = i;
	}
	return inverse;
}
function select(store, inverse, columns, base, source) {
	const rows = inverse.length;
	const out = store.create([rows, columns]);
	store.withTable(inverse, (map) => {
		store.kernels.launch(KERNELS.selectRows, grid2(rows, columns), {
			out: out.address,
			base: base?.address,
			source: source?.address,
			map,
			rows,
			columns,
			ldo: out.ld,
			ldb: base?.ld ?? 0,
			lds: source?.ld ?? 0
		});
	});
	return out;
}
function placeWords({ starts, places }) {
	return Int32Array.from([...starts, ...places]);
}
function sumRows(store, [out, secondOut], [x, second], table) {
	const { rows, columns } = out;
	store.kernels.launch(KERNELS.sumRows, grid2(rows, columns), {
		out: out.address,
		ldo: out.ld,
		secondOut: secondOut?.address,
		ldsecondOut: secondOut?.ld ?? 0,
		x: x.address,
		ldx: x.ld,
		second: second?.address,
		ldsecond: second?.ld ?? 0,
		starts: table,
		places: offset(table, 4 * (rows + 1)),
		rows,
		columns
	});
}
function writeRows(store, target, source, rows) {
	inverseOf(rows, target.rows, "writeRows");
	store.withTable(rows, (table) => {
		const { columns } = source;
		store.kernels.launch(KERNELS.scatterRows, grid2(rows.length, columns), {
			target: target.address,
			source: source.address,
			index: table,
			n: rows.length,
			columns,
			ldt: target.ld,
			lds: source.ld
		});
	});
}
function addNoise(store, { address, rows, columns, ld }, noise) {
	const bounds = new Int32Array(noise.bounds.buffer, noise.bounds.byteOffset, noise.bounds.length);
	store.withTable(noise.rowKeys, (keys) => {
		store.withTable(bounds, (limits) => {
			const parameters = {
				x: address,
				rowKeys: keys,
				bounds: limits,
				rows,
				K: columns,
				ld,
				seed: NOISE_SEED
			};
			store.kernels.launch(KERNELS.addNoise, grid2(rows, columns), parameters);
		});
	});
}
function embedding(store, weights) {
	return {
		forward(_inputs, { table, ids, noise }) {
			const weight = weights.use(table, "embedding");
			checkRows(ids, weight.rows, "embedding");
			if (noise) checkNoise(noise, ids.length);
			const out = weight.matrix.gatherRows(weight.row, ids);
			if (noise) addNoise(store, out, noise);
			return {
				outputs: [out],
				saved: []
			};
		},
		backward: () => []
	};
}
function gatherRows(store) {
	return {
		forward([input], { rows }, record) {
			const x = store.matrix(input, "gatherRows", "x");
			checkRows(rows, x.rows, "gatherRows");
			return {
				outputs: [store.gather(x, rows)],
				saved: record ? [store.shapeOf(x)] : []
			};
		},
		backward([mark], [gradient], { rows }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const [count, columns] = mark.shape;
			const dy = store.matrix(gradient, "gatherRows", "output gradient", {
				rows: rows.length,
				columns
			});
			const repeated = repeatedPlaces(rows, count, "gatherRows");
			if (repeated) {
				const dx = store.create([count, columns]);
				store.withTable(placeWords(repeated), (table) => sumRows(store, [dx], [dy], table));
				return [dx];
			}
			return [select(store, inverseOf(rows, count, "gatherRows"), columns, void 0, dy)];
		}
	};
}
function scatterRows(store) {
	return {
		forward(inputs, { rows }) {
			const base = store.matrix(inputs[0], "scatterRows", "base");
			const source = store.matrix(inputs[1], "scatterRows", "source", {
				rows: rows.length,
				columns: base.columns
			});
			return {
				outputs: [select(store, inverseOf(rows, base.rows, "scatterRows"), base.columns, base, source)],
				saved: []
			};
		},
		backward(_saved, [gradient], { rows }, needs) {
			if (!gradient) return [void 0, void 0];
			const dy = store.matrix(gradient, "scatterRows", "output gradient");
			const inverse = inverseOf(rows, dy.rows, "scatterRows");
			return [needs[0] ? select(store, inverse, dy.columns, dy, void 0) : void 0, needs[1] ? store.gather(dy, rows) : void 0];
		}
	};
}
function mergePatches(store) {
	return {
		forward([input], attributes) {
			const x = store.matrix(input, "mergePatches", "x");
			const { rows: patches, columns } = x;
			const block = attributes.merge ** 2;
			const order = patchOrder(attributes, patches);
			const out = store.createInput([patches / block, columns * block]);
			store.withTable(order, (table) => {
				store.kernels.launch(KERNELS.mergePatchesForward, grid2(out.rows, columns), {
					out: out.address,
					x: x.address,
					order: table,
					outRows: out.rows,
					columns,
					block,
					ldo: out.ld,
					ldx: x.ld
				});
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
			const columns = dy.columns / block;
			const dx = store.create([dy.rows * block, columns]);
			store.withTable(patchOrder(attributes, dx.rows), (table) => {
				store.kernels.launch(KERNELS.mergePatchesBackward, grid2(dy.rows, columns), {
					dx: dx.address,
					dy: dy.address,
					order: table,
					outRows: dy.rows,
					columns,
					block,
					lddx: dx.ld,
					lddy: dy.ld
				});
			});
			return [dx];
		}
	};
}
// src/engine/cuda/operations/attention.ts
const OPERATION$8 = "attention";
function coversKeys({ keyStarts, keyLengths }, keyRows) {
	let next = 0;
	for (const [s, start] of keyStarts.entries()) {
		if (start !== next) return false;
		next += keyLengths[s];
	}
	return next === keyRows;
}
function resizeHeads(store, x, heads, from, to) {
	const isWider = to > from;
	const out = isWider ? store.create([x.rows, heads * to]) : store.createInput([x.rows, heads * to]);
	if (isWider) store.driver.fillBytes(out.address, 0, 2 * out.rows * out.ld);
	for (let head = 0; head < heads; head++) {
		const [target, source] = [offset(out.address, 2 * head * to), offset(x.address, 2 * head * from)];
		store.driver.copyRows(target, 2 * out.ld, source, 2 * x.ld, 2 * Math.min(from, to), x.rows);
	}
	return out;
}
function withoutOverlap(segments) {
	const { queryStarts, keyStarts, keyLengths } = segments;
	const groups = [];
	const meets = (a, b) => keyStarts[a] < keyStarts[b] + keyLengths[b] && keyStarts[b] < keyStarts[a] + keyLengths[a];
	for (const s of keyStarts.keys()) {
		const group = groups.find((members) => !members.some((other) => meets(s, other)));
		if (group) group.push(s);
		else groups.push([s]);
	}
	if (groups.length <= 1) return [segments];
	return groups.map((members) => ({
		queryStarts,
		keyStarts,
		keyLengths: keyLengths.map((length, s) => members.includes(s) ? length : 0)
	}));
}
var AttentionOperation = class {
	#store;
	kernels;
	constructor(store, capability) {
		this.#store = store;
		this.kernels = new AttentionKernels(store, capability);
	}
	forward(inputs, attributes, record) {
		const store = this.#store;
		const { heads, kvHeads, headDim, segments } = attributes;
		const q = store.matrix(inputs[0], OPERATION$8, "q", { columns: heads * headDim });
		const k = store.matrix(inputs[1], OPERATION$8, "k", { columns: kvHeads * headDim });
		const v = store.matrix(inputs[2], OPERATION$8, "v", {
			rows: k.rows,
			columns: kvHeads * headDim
		});
		checkAttention(attributes, q.rows, k.rows, 128);
		if (headDim % 8 !== 0) return this.#paddedForward(q, k, v, attributes, record);
		const value = record ? store.compact(v) : v;
		const out = store.createInput(q.shape);
		if (!record && this.kernels.isDecode(segments, heads, kvHeads)) {
			this.kernels.decode({
				out,
				q,
				k,
				v: value
			}, attributes);
			return {
				outputs: [out],
				saved: []
			};
		}
		const lse = record ? store.saved(store.createF32([heads, q.rows])) : void 0;
		this.kernels.forward({
			out,
			lse,
			q,
			k,
			v: value
		}, attributes);
		if (!lse) return {
			outputs: [out],
			saved: []
		};
		if (value === v) store.release(value);
		else store.saved(value);
		return {
			outputs: [out],
			saved: [
				q,
				k,
				value,
				out,
				lse
			]
		};
	}
	backward(saved, [gradient], attributes, needs, dvInto) {
		const none = [
			void 0,
			void 0,
			void 0
		];
		if (!gradient || !needs.includes(true)) return none;
		const store = this.#store;
		const { heads, headDim } = attributes;
		const tensors = saved.map((tensor) => store.use(tensor, OPERATION$8));
		const dOut = store.matrix(gradient, OPERATION$8, "output gradient", {
			rows: tensors[0].rows,
			columns: heads * headDim
		});
		if (headDim % 8 !== 0) return this.#paddedBackward(tensors, dOut, attributes, needs);
		return this.#gradients(tensors, dOut, attributes, needs, dvInto);
	}
	dispose() {
		this.kernels.dispose();
	}
	#gradients([q, k, v, out, lse], dOut, attributes, needs, dvInto) {
		const store = this.#store;
		const { segments } = attributes;
		const delta = store.createF32([attributes.heads, q.rows]);
		const common = {
			q,
			k,
			v,
			lse,
			dOut,
			delta
		};
		this.kernels.delta(delta, dOut, out, attributes);
		const dq = needs[0] ? store.create(q.shape) : void 0;
		if (dq) this.kernels.backwardQuery({
			...common,
			dq
		}, attributes);
		let dk;
		let dv;
		if (needs[1] || needs[2]) {
			const groups = withoutOverlap(segments);
			const isWhole = groups.length === 1 && coversKeys(segments, k.rows);
			for (const group of groups) {
				const keys = store.create(k.shape);
				const values = !dv && dvInto || store.create(v.shape);
				if (!isWhole) for (const of of [keys, values]) store.driver.clearRows(of.address, 2 * of.ld, 2 * of.columns, of.rows);
				this.kernels.backwardKeyValue({
					...common,
					dk: keys,
					dv: values
				}, {
					...attributes,
					segments: group
				});
				if (dk && dv) {
					store.add(dk, dk, keys);
					store.add(dv, dv, values);
					store.release(keys);
					store.release(values);
				} else [dk, dv] = [keys, values];
			}
		}
		store.release(delta);
		if (dk && !needs[1]) store.release(dk);
		if (dv && !needs[2]) store.release(dv);
		return [
			dq,
			needs[1] ? dk : void 0,
			needs[2] ? dv : void 0
		];
	}
	#paddedForward(q, k, v, attributes, record) {
		const store = this.#store;
		const { heads, kvHeads, headDim } = attributes;
		const wide = 8 * Math.ceil(headDim / 8);
		const packed = [
			q,
			k,
			v
		].map((of, i) => resizeHeads(store, of, i === 0 ? heads : kvHeads, headDim, wide));
		const result = this.forward(packed, {
			...attributes,
			headDim: wide
		}, record);
		const out = resizeHeads(store, result.outputs[0], heads, wide, headDim);
		for (const tensor of [...packed, result.outputs[0]]) if (record) store.saved(tensor);
		else store.release(tensor);
		return {
			outputs: [out],
			saved: result.saved
		};
	}
	#paddedBackward(saved, dOut, attributes, needs) {
		const store = this.#store;
		const { heads, kvHeads, headDim } = attributes;
		const wide = 8 * Math.ceil(headDim / 8);
		const packed = resizeHeads(store, dOut, heads, headDim, wide);
		const results = this.#gradients(saved, packed, {
			...attributes,
			headDim: wide
		}, needs).map((gradient, i) => {
			const narrow = gradient && resizeHeads(store, gradient, i === 0 ? heads : kvHeads, wide, headDim);
			if (gradient) store.release(gradient);
			return narrow;
		});
		store.release(packed);
		return results;
	}
};
// src/engine/cuda/operations/rotary.ts
const OPERATION$7 = "rotary";
function headsOf(x, headDim) {
	return x ? rotaryHeads(x.columns, headDim) : 0;
}
function turn(store, [q, k], [qOut, kOut], attributes, sign) {
	const { headDim } = attributes;
	const rows = (q ?? k).rows;
	const [heads, kvHeads] = [headsOf(q, headDim), headsOf(k, headDim)];
	const units = (heads + kvHeads) * Math.ceil(headDim / 16);
	const block = Math.min(256, 32 * Math.ceil(units / 32));
	withTables(store, attributes, rows, (tables) => {
		const parameters = {
			qOut: qOut?.address,
			kOut: kOut?.address,
			q: q?.address,
			k: k?.address,
			ldqOut: qOut?.ld ?? 0,
			ldkOut: kOut?.ld ?? 0,
			ldq: q?.ld ?? 0,
			ldk: k?.ld ?? 0,
			...tables,
			rows,
			heads,
			kvHeads,
			D: headDim,
			sign
		};
		store.kernels.launch(KERNELS.rotary, [rows], parameters, block);
	});
}
function withTables(store, { headDim, cos, sin, queryScale }, rows, body) {
	for (const table of [cos, sin]) requireMatrix(store.use(table, OPERATION$7), OPERATION$7, "cos or sin", {
		rows,
		columns: headDim / 2
	});
	if (queryScale && queryScale.size !== rows) throw new EngineError(`${OPERATION$7}: queryScale has ${queryScale.size} of ${rows} rows`);
	store.withF32(cos, OPERATION$7, (cosines) => {
		store.withF32(sin, OPERATION$7, (sines) => {
			const run = (scale) => body({
				cos: cosines,
				sin: sines,
				queryScale: scale
			});
			if (queryScale) store.withF32(queryScale, OPERATION$7, run);
			else run();
		});
	});
}
function tablesOf({ cos, sin, queryScale }) {
	return [
		cos,
		sin,
		...queryScale ? [queryScale] : []
	];
}
function rotary(store) {
	return {
		forward(inputs, attributes, record) {
			const q = store.matrix(inputs[0], OPERATION$7, "q");
			const k = store.matrix(inputs[1], OPERATION$7, "k", { rows: q.rows });
			const outputs = [store.create(q.shape), store.create(k.shape)];
			turn(store, [q, k], outputs, attributes, 1);
			return {
				outputs,
				saved: record ? tablesOf(attributes) : []
			};
		},
		backward(_saved, gradients, attributes, needs) {
			const wanted = [0, 1].map((i) => {
				const gradient = needs[i] ? gradients[i] : void 0;
				return gradient && store.matrix(gradient, OPERATION$7, "output gradient");
			});
			if (!wanted.some((gradient) => gradient)) return [void 0, void 0];
			const results = wanted.map((gradient) => gradient && store.create(gradient.shape));
			turn(store, wanted, results, attributes, -1);
			return results;
		}
	};
}
// src/engine/cuda/operations/cached-attention.ts
const OPERATION$6 = "attentionBlock";
function decodeCached(store, { kernels }, [q, k, v], cache, rotary, attention) {
	const { heads, kvHeads, headDim, causal, segments } = attention;
	if (!causal || headDim % 8 !== 0 || !kernels.isDecode(segments, heads, kvHeads)) return void 0;
	const extents = {
		rows: q.rows,
		columns: kvHeads * headDim
	};
	requireMatrix(q, OPERATION$6, "q", {
		rows: q.rows,
		columns: heads * headDim
	});
	requireMatrix(k, OPERATION$6, "k", extents);
	requireMatrix(v, OPERATION$6, "v", extents);
	const keys = store.matrix(cache.keys, OPERATION$6, "cached keys", { columns: k.columns });
	const values = store.matrix(cache.values, OPERATION$6, "cached values", {
		rows: keys.rows,
		columns: v.columns
	});
	checkAttention(attention, q.rows, keys.rows, 128);
	const { queryStarts, keyStarts, keyLengths } = segments;
	for (let s = 0; s < keyStarts.length; s++) {
		const row = queryStarts[s];
		if (queryStarts[s + 1] === row) continue;
		if (cache.rows[row] !== keyStarts[s] + keyLengths[s] - 1) throw new EngineError(`${OPERATION$6}: row ${row} goes to cache row ${cache.rows[row]}, not to its last key`);
	}
	let out;
	withTables(store, rotary, q.rows, (tables) => {
		out = store.createInput(q.shape);
		kernels.decode({
			out,
			q,
			k: keys,
			v: values
		}, attention, {
			k,
			v,
			...tables
		});
	});
	return out;
}
var TensorStore = class extends CountedTensors {
	driver;
	kernels;
	allocator;
	products;
	staging;
	#activations;
	rematerialize;
	#spare = new Map();
	#counters;
	#scratch;
	#ahead = new WeakMap();
	constructor(context, options) {
		super(CudaTensor);
		this.driver = context.driver;
		this.kernels = context.kernels;
		this.allocator = context.allocator;
		this.products = context.products;
		this.staging = context.staging;
		this.#activations = context.activations;
		this.rematerialize = options.rematerialize;
	}
	create(shape, spare = 0) {
		const ld = roundUp(shape.at(-1) ?? 1, 8) + spare;
		const tensor = this.#create(shape, "bf16", ld);
		tensor.spare = spare;
		return tensor;
	}
	createInput(shape) {
		return this.create(shape, this.#spare.get(shape.at(-1) ?? 1) ?? 0);
	}
	wantSpare(width, columns) {
		if ((this.#spare.get(width) ?? 0) < columns) this.#spare.set(width, columns);
	}
	createF32(shape) {
		return this.#create(shape, "f32", shape.at(-1) ?? 1);
	}
	#create(shape, type, ld) {
		const rows = shape.length === 2 ? shape[0] : sizeOf(shape.slice(0, -1));
		const block = this.allocator.allocate(ELEMENT_BYTES[type] * rows * ld);
		return this.#adopt(new CudaTensor([...shape], type, new Storage(block), block.address, ld));
	}
	#adopt(tensor) {
		this.live.add(tensor);
		return tensor;
	}
	use(tensor, operation, what) {
		const known = this.known(tensor, operation, what);
		if (known.hostCopy) this.#activations.bringBack(known);
		return known;
	}
	moveToHost(tensor) {
		this.#activations?.moveToHost(this.known(tensor, "moveToHost"));
	}
	prefetch(tensor) {
		this.#activations?.prefetch(this.known(tensor, "prefetch"));
	}
	drop(tensor) {
		if (tensor.hostCopy) this.#activations.drop(tensor);
		this.#leave(tensor.storage);
		this.forgetAhead(tensor);
	}
	#leave(storage) {
		if (storage && --storage.users === 0) this.allocator.free(storage.block);
	}
	zeros(shape) {
		const tensor = shape.length < 2 ? this.createF32(shape) : this.create(shape);
		this.driver.fillBytes(tensor.address, 0, tensor.rows * tensor.ld * ELEMENT_BYTES[tensor.type]);
		return tensor;
	}
	view(of, column, columns, rows = of.rows) {
		const address = offset(of.address, column * ELEMENT_BYTES[of.type]);
		return this.#adopt(new CudaTensor([rows, columns], of.type, of.storage, address, of.ld));
	}
	shapeOf(tensor) {
		return this.saved(this.#adopt(new CudaTensor([...tensor.shape], "bf16", void 0, 0, 0)));
	}
	reader(saved, operation) {
		let at = 0;
		return {
			next: () => this.use(saved[at++], operation),
			rest: () => saved.slice(at).map((tensor) => this.use(tensor, operation))
		};
	}
	readAhead(tensor) {
		this.#ahead.set(tensor, this.staging.download(tensor.address, 4 * tensor.size));
	}
	forgetAhead(tensor) {
		this.#ahead.get(tensor)?.discard();
		this.#ahead.delete(tensor);
	}
	async read(tensor) {
		const known = this.use(tensor, "read");
		const ahead = this.#ahead.get(known);
		if (ahead) return new Float32Array((await ahead.arrive()).slice(0));
		const wide = known.type === "f32" ? known : this.toF32(known);
		const download = this.staging.download(wide.address, 4 * wide.size);
		if (wide !== known) this.release(wide);
		return new Float32Array(await download.arrive());
	}
	matrix(tensor, operation, what, extents) {
		return this.asBf16(super.matrix(tensor, operation, what, extents));
	}
	like(tensor, model, operation, what) {
		return this.asBf16(super.like(tensor, model, operation, what));
	}
	asBf16(tensor) {
		if (tensor.type === "bf16" || !tensor.storage) return tensor;
		const narrow = this.keep(this.createInput(tensor.shape));
		const { rows, columns } = tensor;
		const parameters = {
			out: narrow.address,
			x: tensor.address,
			rows,
			columns,
			ldo: narrow.ld,
			ldx: tensor.ld
		};
		this.kernels.launch(KERNELS.f32ToBf16, grid2(rows, columns), parameters);
		this.#leave(tensor.storage);
		tensor.type = "bf16";
		tensor.storage = narrow.storage;
		tensor.address = narrow.address;
		tensor.ld = narrow.ld;
		tensor.spare = narrow.spare;
		return tensor;
	}
	withF32(tensor, operation, body) {
		const known = this.use(tensor, operation);
		if (known.type === "f32") body(known.address);
		else {
			const wide = this.toF32(known);
			body(wide.address);
			this.release(wide);
		}
	}
	toF32(tensor) {
		const wide = this.createF32(tensor.shape);
		const { rows, columns } = tensor;
		if (tensor.type === "f32") this.driver.copy(wide.address, tensor.address, 4 * tensor.size);
		else {
			const parameters = {
				out: wide.address,
				x: tensor.address,
				rows,
				columns,
				ldo: columns,
				ldx: tensor.ld
			};
			this.kernels.launch(KERNELS.bf16ToF32, grid2(rows, columns), parameters);
		}
		return wide;
	}
	copyInto(target, source) {
		const { rows, columns } = source;
		const parameters = {
			out: target.address,
			x: source.address,
			rows,
			columns,
			ldo: target.ld,
			ldx: source.ld
		};
		this.kernels.launch(KERNELS.copyBf16, grid2(rows, columns), parameters);
	}
	compact(tensor) {
		if (tensor.ld < 2 * tensor.columns) {
			this.retain(tensor);
			return tensor;
		}
		const copy = this.create(tensor.shape);
		this.copyInto(copy, tensor);
		return copy;
	}
	gather({ address, ld, columns }, rows) {
		const out = this.create([rows.length, columns]);
		this.withTable(rows, (table) => {
			this.kernels.launch(KERNELS.gatherRows, grid2(rows.length, columns), {
				out: out.address,
				x: address,
				index: table,
				n: rows.length,
				columns,
				ldo: out.ld,
				ldx: ld
			});
		});
		return out;
	}
	add(out, a, b) {
		const { rows, columns } = a;
		this.kernels.launch(KERNELS.add, grid2(rows, columns), {
			out: out.address,
			a: a.address,
			b: b.address,
			rows,
			columns,
			ldo: out.ld,
			lda: a.ld,
			ldb: b.ld
		});
	}
	addF32(target, source, count) {
		const blocks = Math.min(4096, Math.ceil(count / 1024));
		this.kernels.launch(KERNELS.addF32, [blocks], {
			out: target,
			a: target,
			b: source,
			n: count
		});
	}
	withTable(values, body) {
		const block = this.table(values, "index lists");
		try {
			body(block.address);
		} finally {
			this.allocator.free(block);
		}
	}
	counters(count) {
		if (!this.#counters || this.#counters.count < count) {
			if (this.#counters) this.allocator.free(this.#counters.block);
			const size = roundUp(count, 1024);
			const block = this.allocator.allocate(4 * size, CACHE);
			this.driver.fillBytes(block.address, 0, 4 * size);
			this.#counters = {
				block,
				count: size
			};
		}
		return this.#counters.block.address;
	}
	scratch(bytes) {
		if (!this.#scratch || this.#scratch.bytes < bytes) {
			this.freeScratch();
			this.#scratch = this.allocator.allocate(bytes, SCRATCH);
		}
		return this.#scratch.address;
	}
	freeScratch() {
		if (this.#scratch) this.allocator.free(this.#scratch);
		this.#scratch = void 0;
	}
	table(values, holder = CACHE) {
		const block = this.allocator.allocate(4 * Math.max(1, values.length), holder);
		this.staging.upload(block.address, values);
		return block;
	}
};
// src/engine/cuda/operations/fused-group.ts
const OPERATION$5 = "linear";
const knownGroups = new WeakMap();
function fusedGroups(store, weights, sets, parts, columns) {
	const known = knownGroups.get(parts);
	if (known && known.columns === columns && known.groups.every((group) => isCurrent(group, weights))) {
		for (const { adapter } of known.groups) adapter?.set.refresh(adapter);
		return known.groups;
	}
	const groups = makeGroups(store, weights, sets, parts, columns);
	knownGroups.set(parts, {
		columns,
		groups
	});
	return groups;
}
function isCurrent({ parts, weights: own, adapter }, weights) {
	for (const { weight } of parts) weights.use(weight, OPERATION$5);
	if (!adapter) return true;
	const { matrix, row } = own[0];
	return matrix.adapters.get(row) === adapter && !adapter.set.isReleased;
}
function makeGroups(store, weights, sets, parts, columns) {
	const known = parts.map((part) => weights.useMatrix(part.weight, columns, OPERATION$5));
	const groups = [];
	for (const [i, weight] of known.entries()) {
		const group = groups.at(-1);
		const before = known[i - 1];
		const { precision = "bf16" } = parts[i];
		if (group !== void 0 && before !== void 0 && group.parts.length < 4 && group.precision === precision && before.matrix === weight.matrix && before.row + before.rows === weight.row && group.n % 8 === 0) {
			group.columns.push(group.n);
			group.parts.push(parts[i]);
			group.weights.push(weight);
			group.n += weight.rows;
		} else {
			const n = weight.rows;
			groups.push({
				first: i,
				parts: [parts[i]],
				weights: [weight],
				precision,
				n,
				columns: [0],
				adapter: void 0
			});
		}
	}
	for (const group of groups) group.adapter = adapterOf(store, sets, group, columns);
	return groups;
}
function matrixRows({ weights, n }) {
	const { matrix, row } = weights[0];
	return {
		matrix,
		row,
		rows: n
	};
}
function hasDropout({ parts }) {
	return parts.some(({ lora }) => lora !== void 0 && lora.dropout > 0);
}
function splitParts(store, y, { columns, weights }) {
	if (weights.length === 1) return [y];
	const parts = weights.map((weight, i) => store.view(y, columns[i], weight.rows));
	store.release(y);
	return parts;
}
function gradientRoom(store, groups, rows) {
	const whole = groups.map(({ n }) => store.create([rows, n]));
	return {
		whole,
		parts: groups.flatMap(({ weights, columns }, g) => weights.map((weight, i) => store.view(whole[g], columns[i], weight.rows)))
	};
}
function adapterOf(store, sets, { parts, weights }, columns) {
	const adapted = parts.find((part) => part.lora);
	if (!adapted) return void 0;
	const set = parameterSetOf(sets, adapted);
	const places = weights.map(({ row, rows }, i) => ({
		row,
		rows,
		lora: parts[i].lora
	}));
	const { matrix, row } = weights[0];
	let group = AdapterGroup.of(matrix, row);
	if (!group || group.set !== set || !group.fits(places)) {
		for (const part of parts) {
			checkLora(part, columns);
			if (part.lora && parameterSetOf(sets, part) !== set) throw new EngineError(`${OPERATION$5}: the adapters of stacked layers are of different parameter sets`);
		}
		group = new AdapterGroup(store, matrix, set, places);
		store.wantSpare(columns, group.columns);
	}
	set.refresh(group);
	return group;
}
function parameterSetOf(sets, part) {
	const set = sets.get(part.lora.a);
	if (!set || sets.get(part.lora.b) !== set) throw new EngineError(`${OPERATION$5}: A and B of ${part.weight.name} are not of one parameter set of this engine`);
	return set;
}
function checkLora({ lora, weight }, columns) {
	if (!lora) return;
	const rank = lora.a.shape[0] ?? 0;
	requireMatrix(lora.a, OPERATION$5, `A of ${weight.name}`, {
		rows: rank,
		columns
	});
	requireMatrix(lora.b, OPERATION$5, `B of ${weight.name}`, {
		rows: weight.shape[0],
		columns: rank
	});
}
// src/engine/cuda/operations/key-rows.ts
const OPERATION$4 = "attentionBlock: keyRows";
const KEPT_LISTS = 4;
var KeyRows = class {
	#store;
	#tables = new Map();
	constructor(store) {
		this.#store = store;
	}
	gather([k, v], rows) {
		const copies = [this.#store.create([rows.length, k.columns]), this.#store.create([rows.length, v.columns])];
		this.#copy(copies, [k, v], rows);
		return copies;
	}
	append(cache, from, rows, to) {
		this.#store.withTable(to, (places) => this.#copy(cache, from, rows, places));
	}
	sum(into, gradients, rows) {
		const table = offset(this.#table(rows, into[0].rows), 4 * rows.length);
		sumRows(this.#store, into, gradients, table);
	}
	dispose() {
		for (const { block } of this.#tables.values()) this.#store.allocator.free(block);
		this.#tables.clear();
	}
	#copy([keys, values], [k, v], rows, to) {
		const from = this.#table(rows, k.rows);
		const { columns } = k;
		this.#store.kernels.launch(KERNELS.gatherKeyValue, grid2(rows.length, columns), {
			keyOut: keys.address,
			ldkeyOut: keys.ld,
			valueOut: values.address,
			ldvalueOut: values.ld,
			key: k.address,
			ldkey: k.ld,
			value: v.address,
			ldvalue: v.ld,
			from,
			to,
			n: rows.length,
			columns
		});
	}
	#table(rows, count) {
		let known = this.#tables.get(rows);
		if (known) this.#tables.delete(rows);
		if (known && known.count !== count) {
			this.#store.allocator.free(known.block);
			known = void 0;
		}
		if (!known) {
			const words = placeWords(rowPlaces(rows, count, OPERATION$4));
			known = {
				block: this.#store.table(Int32Array.from([...rows, ...words])),
				count
			};
		}
		this.#tables.set(rows, known);
		if (this.#tables.size > KEPT_LISTS) this.#forgetOldest();
		return known.block.address;
	}
	#forgetOldest() {
		const [rows, { block }] = this.#tables.entries().next().value;
		this.#store.allocator.free(block);
		this.#tables.delete(rows);
	}
};
// src/engine/cuda/operations/attention-block.ts
const OPERATION$3 = "attentionBlock";
var AttentionBlock = class {
	#store;
	#normed;
	#attention;
	#keyRows;
	constructor(store, normed, attention) {
		this.#store = store;
		this.#normed = normed;
		this.#attention = attention;
		this.#keyRows = new KeyRows(store);
	}
	dispose() {
		this.#keyRows.dispose();
	}
	forward(inputs, attributes, record) {
		const store = this.#store;
		const { norm, projections, rotary, cache } = attributes;
		const opened = this.#normed.open(inputs, norm, projections, record);
		const { ys, saved } = this.#normed.forward(opened);
		const qkv = opened.groups.flatMap((group, i) => splitParts(store, ys[i], group));
		const attended = cache ? this.#attendCached(qkv, attributes, cache) : this.#attend(qkv, attributes, record);
		const [out] = attended.outputs;
		const { sum } = opened.norm;
		return {
			outputs: sum ? [out, sum] : [out],
			saved: record ? [
				...saved,
				...tablesOf(rotary),
				...attended.saved
			] : []
		};
	}
	backward(saved, [gradient, gradientOfSum], { norm, projections, rotary, attention, keyRows }, needs) {
		const store = this.#store;
		const all = store.reader(saved, OPERATION$3);
		const normed = this.#normed.take(all.next, norm, projections);
		for (const _ of tablesOf(rotary)) all.next();
		const tensors = all.rest();
		const extents = { rows: normed.sum.rows };
		const dSum = gradientOfSum && store.matrix(gradientOfSum, OPERATION$3, "gradient of the sum", extents);
		if (!gradient) return this.#normed.backward(normed, void 0, dSum, needs);
		const room = gradientRoom(store, normed.groups, normed.sum.rows);
		const [qInto, kInto, vInto] = room.parts;
		const kept = keyRows && this.#isShared(attention) ? this.#copied(tensors, keyRows) : tensors;
		const needsAll = [
			true,
			true,
			true
		];
		const into = keyRows ? void 0 : vInto;
		const [dq, dk, dv] = this.#attention.backward(kept, [gradient], attention, needsAll, into);
		if (kept !== tensors) for (const copy of kept.slice(1, 3)) store.release(copy);
		if (keyRows) this.#keyRows.sum([kInto, vInto], [dk, dv], keyRows);
		else if (dv !== vInto) store.copyInto(vInto, dv);
		turn(store, [dq, keyRows ? kInto : dk], [qInto, kInto], rotary, -1);
		for (const tensor of new Set([
			dq,
			dk,
			dv,
			...room.parts
		])) store.release(tensor);
		const gradients = room.whole.map((dy) => ({ dy }));
		return this.#normed.backward(normed, gradients, dSum, needs);
	}
	#attend([q, k, v], { rotary, attention, keyRows }, record) {
		const store = this.#store;
		const rotated = this.#rotate(q, k, rotary);
		store.release(q);
		store.release(k);
		if (keyRows) return this.#attendShared(rotated[0], [rotated[1], v], keyRows, attention, record);
		return this.#attended([...rotated, v], attention, record);
	}
	#attendShared(q, [k, v], keyRows, attention, record) {
		const store = this.#store;
		const copies = this.#keyRows.gather([k, v], keyRows);
		if (!record || !this.#isShared(attention)) {
			store.release(k);
			store.release(v);
			return this.#attended([q, ...copies], attention, record);
		}
		const value = store.compact(v);
		store.release(v);
		const { outputs, saved } = this.#attention.forward([q, ...copies], attention, record);
		for (const copy of copies) store.release(copy);
		for (const tensor of [
			q,
			k,
			value
		]) store.saved(tensor);
		return {
			outputs,
			saved: [
				q,
				k,
				value,
				...saved.slice(3)
			]
		};
	}
	#isShared({ headDim }) {
		return this.#store.rematerialize && headDim % 8 === 0;
	}
	#copied([q, k, v, ...rest], keyRows) {
		return [
			q,
			...this.#keyRows.gather([k, v], keyRows),
			...rest
		];
	}
	#attended(qkv, attention, record) {
		const store = this.#store;
		const attended = this.#attention.forward(qkv, attention, record);
		for (const tensor of qkv) if (attended.saved.includes(tensor)) store.saved(tensor);
		else store.release(tensor);
		return attended;
	}
	#attendCached([q, k, v], { rotary, attention, keyRows }, cache) {
		const store = this.#store;
		const release = (...tensors) => {
			for (const tensor of tensors) store.release(tensor);
		};
		const decoded = keyRows ? void 0 : decodeCached(store, this.#attention, [
			q,
			k,
			v
		], cache, rotary, attention);
		if (decoded) {
			release(q, k, v);
			return {
				outputs: [decoded],
				saved: []
			};
		}
		const rotated = this.#rotate(q, k, rotary);
		const extents = { columns: k.columns };
		const keys = store.matrix(cache.keys, OPERATION$3, "cached keys", extents);
		const values = store.matrix(cache.values, OPERATION$3, "cached values", extents);
		if (keyRows) {
			if (keyRows.length !== cache.rows.length) throw new EngineError(`${OPERATION$3}: ${keyRows.length} key rows for ${cache.rows.length} rows of the cache`);
			inverseOf(cache.rows, Math.min(keys.rows, values.rows), OPERATION$3);
			this.#keyRows.append([keys, values], [rotated[1], v], keyRows, cache.rows);
		} else {
			writeRows(store, keys, rotated[1], cache.rows);
			writeRows(store, values, v, cache.rows);
		}
		release(q, k, v);
		const attended = this.#attention.forward([
			rotated[0],
			keys,
			values
		], attention, false);
		release(...rotated);
		return attended;
	}
	#rotate(q, k, rotary) {
		const rotated = [this.#store.create(q.shape), this.#store.create(k.shape)];
		turn(this.#store, [q, k], rotated, rotary, 1);
		return rotated;
	}
};
// src/engine/cuda/operations/elementwise.ts
const ACTIVATIONS = {
	silu: 0,
	gelu: 1,
	gelu_tanh: 2,
	relu: 3
};
function activation(store) {
	return {
		forward([input], { activation: kind }, record) {
			const x = store.asBf16(store.use(input, "activation"));
			const { rows, columns } = x;
			const y = store.createInput(x.shape);
			store.kernels.launch(KERNELS.activationForward, grid2(rows, columns), {
				out: y.address,
				x: x.address,
				rows,
				columns,
				ldo: y.ld,
				ldx: x.ld,
				kind: ACTIVATIONS[kind]
			});
			return {
				outputs: [y],
				saved: record ? [x] : []
			};
		},
		backward([input], [gradient], { activation: kind }, needs) {
			if (!gradient || !needs[0]) return [void 0];
			const x = store.asBf16(store.use(input, "activation"));
			const { rows, columns } = x;
			const dy = store.like(gradient, x, "activation", "output gradient");
			const dx = store.create(x.shape);
			store.kernels.launch(KERNELS.activationBackward, grid2(rows, columns), {
				dx: dx.address,
				x: x.address,
				dy: dy.address,
				rows,
				columns,
				lddx: dx.ld,
				ldx: x.ld,
				lddy: dy.ld,
				kind: ACTIVATIONS[kind]
			});
			return [dx];
		}
	};
}
function gatedRows(store, gate, up, kind) {
	const { rows, columns } = gate;
	const y = store.createInput(gate.shape);
	store.kernels.launch(KERNELS.gatedActivationForward, grid2(rows, columns), {
		out: y.address,
		gate: gate.address,
		up: up.address,
		rows,
		columns,
		ldo: y.ld,
		ldgate: gate.ld,
		ldup: up.ld,
		kind
	});
	return y;
}
function gatedRowsE4m3(store, gate, up, kind) {
	const { rows, columns } = gate;
	const y = store.createInput(gate.shape);
	const operand = operandRoom(store, rows, columns);
	const { threads, vectors } = quantizeShape(columns);
	store.kernels.launch(ofWidth(KERNELS.gatedActivationE4m3, vectors), [rows], {
		out: y.address,
		codes: operand.codes,
		scales: operand.scales,
		gate: gate.address,
		up: up.address,
		rows,
		columns,
		ldo: y.ld,
		ldcodes: operand.ld,
		ldgate: gate.ld,
		ldup: up.ld,
		kind
	}, threads);
	return {
		y,
		operand
	};
}
function gatedGradients(store, { gate, up, dy, dGate, dUp }, kind) {
	const { rows, columns } = gate;
	store.kernels.launch(KERNELS.gatedActivationBackward, grid2(rows, columns), {
		dgate: dGate?.address,
		dup: dUp?.address,
		gate: gate.address,
		up: up.address,
		dy: dy.address,
		rows,
		columns,
		lddgate: dGate?.ld ?? 0,
		lddup: dUp?.ld ?? 0,
		ldgate: gate.ld,
		ldup: up.ld,
		lddy: dy.ld,
		kind
	});
}
function gatedActivation(store) {
	const operation = "gatedActivation";
	return {
		forward(inputs, { activation: kind }, record) {
			const gate = store.asBf16(store.use(inputs[0], operation));
			const up = store.like(inputs[1], gate, operation, "up");
			return {
				outputs: [gatedRows(store, gate, up, ACTIVATIONS[kind])],
				saved: record ? [gate, up] : []
			};
		},
		backward(saved, [gradient], { activation: kind }, needs) {
			if (!gradient || !needs.includes(true)) return [void 0, void 0];
			const [gate, up] = saved.map((tensor) => store.asBf16(store.use(tensor, operation)));
			const dy = store.like(gradient, gate, operation, "output gradient");
			const [dGate, dUp] = needs.map((need) => need ? store.create(gate.shape) : void 0);
			gatedGradients(store, {
				gate,
				up,
				dy,
				dGate,
				dUp
			}, ACTIVATIONS[kind]);
			return [dGate, dUp];
		}
	};
}
function add(store) {
	return {
		forward(inputs) {
			const first = store.use(inputs[0], "add");
			if (first.shape.length < 2 && first.type === "f32") {
				const sum = store.toF32(first);
				store.withF32(inputs[1], "add", (b) => store.addF32(sum.address, b, sum.size));
				return {
					outputs: [sum],
					saved: []
				};
			}
			const a = store.asBf16(first);
			const b = store.like(inputs[1], a, "add", "b");
			const sum = store.create(a.shape);
			store.add(sum, a, b);
			return {
				outputs: [sum],
				saved: []
			};
		},
		backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs)
	};
}
// src/engine/cuda/operations/dropout-masks.ts
const KEPT_TABLES = 6;
function byPart(parts, value, otherwise) {
	const at = (i) => {
		const lora = parts[i]?.lora;
		return lora ? value(lora) : otherwise;
	};
	return [
		at(0),
		at(1),
		at(2),
		at(3)
	];
}
function maskBytes(columns) {
	return 4 * Math.ceil(columns / 32);
}
var DropoutMasks = class {
	#store;
	#tables = new Map();
	constructor(store) {
		this.#store = store;
	}
	open({ rows, columns }, rowKeys, parts, isKept) {
		const words = parts.length * rows * maskBytes(columns) / 4;
		const bits = isKept ? this.#store.createF32([words]) : void 0;
		return {
			rowKeys: this.#table(rowKeys).address,
			bits
		};
	}
	dispose() {
		for (const rowKeys of [...this.#tables.keys()]) this.#forget(rowKeys);
	}
	#table(rowKeys) {
		const known = this.#tables.get(rowKeys);
		if (known) this.#tables.delete(rowKeys);
		else if (this.#tables.size >= KEPT_TABLES) this.#forget(this.#tables.keys().next().value);
		const table = known ?? this.#store.table(rowKeys);
		this.#tables.set(rowKeys, table);
		return table;
	}
	#forget(rowKeys) {
		const table = this.#tables.get(rowKeys);
		if (table) this.#store.allocator.free(table);
		this.#tables.delete(rowKeys);
	}
};
// src/engine/cuda/operations/row-splits.ts
const TILE$3 = 64;
function splitRows(store, rows, strips, blocksPerMultiprocessor, partialCost) {
	const slots = blocksPerMultiprocessor * store.kernels.multiprocessors;
	const tiles = Math.max(1, Math.ceil(rows / TILE$3));
	let best = {
		rows: TILE$3 * tiles,
		splits: 1
	};
	let least = Number.POSITIVE_INFINITY;
	for (let wanted = 1; wanted <= Math.min(tiles, 32); wanted++) {
		const depth = Math.ceil(tiles / wanted);
		const splits = Math.ceil(tiles / depth);
		const cost = Math.ceil(strips * splits / slots) * (depth + 2) + splits * strips * partialCost / slots;
		if (cost < least) [best, least] = [{
			rows: TILE$3 * depth,
			splits
		}, cost];
	}
	return best;
}
// src/engine/cuda/operations/low-rank.ts
const FEW_ROWS = 512;
const TILE$2 = 64;
const BLOCKS = 3;
function keepScales(parts) {
	return byPart(parts, ({ dropout }) => dropoutScale(dropout), 1);
}
function loraDown(store, { u, ldu, saved, x, dropout, room, group, parts }) {
	const { rows, columns, ld } = x;
	if (!dropout && rows <= FEW_ROWS) {
		const operands = {
			a: x.address,
			lda: ld,
			b: group.a,
			ldb: group.lda,
			transB: true,
			d: u,
			ldd: ldu
		};
		store.products.run({
			m: rows,
			n: group.columns,
			k: columns,
			...operands
		});
		if (saved) {
			const copy = {
				out: saved.address,
				x: u,
				rows,
				columns: group.columns,
				ldo: saved.ld,
				ldx: ldu
			};
			store.kernels.launch(KERNELS.copyBf16, grid2(rows, group.columns), copy);
		}
		return;
	}
	const width = Math.min(group.columns, 64);
	const tiles = [Math.ceil(rows / TILE$2), Math.ceil(group.columns / width)];
	const count = tiles[0] * tiles[1];
	const split = splitRows(store, columns, count, BLOCKS, 512 * width / (128 * (TILE$2 + width)));
	const hasRoom = room !== void 0 && room.ld >= 2 * split.splits * group.columns;
	const made = split.splits > 1 && !hasRoom ? store.createF32([
		split.splits,
		rows,
		group.columns
	]) : void 0;
	const partial = split.splits > 1 ? made ?? room : void 0;
	store.kernels.launch(ofWidth(KERNELS.loraDown, width), [...tiles, split.splits], {
		u,
		ldu,
		saved: saved?.address,
		ldsaved: saved?.ld ?? 0,
		partial: partial?.address,
		counters: partial && store.counters(count),
		x: x.address,
		ldx: ld,
		a: group.a,
		lda: group.lda,
		bits: dropout?.bits?.address,
		rowKeys: dropout?.rowKeys,
		kb: maskBytes(columns),
		rows,
		K: columns,
		E: group.columns,
		splitColumns: split.rows,
		starts: group.starts,
		seeds: byPart(parts, ({ seed }) => seed, 0),
		thresholds: byPart(parts, ({ dropout }) => dropoutThreshold(dropout) * 65536, 0),
		keeps: keepScales(parts)
	});
	if (made) store.release(made);
}
// src/engine/cuda/operations/low-rank-gradients.ts
const TILE$1 = 64;
const GRADIENT_BLOCKS = 3;
const MAX_COLUMNS = 64;
const MAX_RANKED = 3;
function savedInput(store, x) {
	const rematerialize = () => {
		store.retain(x);
		return x;
	};
	return {
		rows: x.rows,
		rematerialize
	};
}
function targets(store, { parts, isWanted }, which) {
	const at = (i) => {
		const lora = parts[i]?.lora;
		if (!lora || !isWanted[i]) return void 0;
		const gradient = store.use(lora[which].grad, "linear");
		gradient.isTouched = true;
		return gradient.address;
	};
	return [
		at(0),
		at(1),
		at(2),
		at(3)
	];
}
function loraInputGradients(store, dx, low, x) {
	const { rows, columns } = dx;
	const { du, lddu, bits, group, parts } = low;
	const { starts, ranks } = group;
	if (!(group.columns <= MAX_COLUMNS && ranks.filter((rank) => rank > 0).length <= MAX_RANKED) || rows === 0) {
		loraInputGradient(store, dx, low);
		loraGradientA(store, low, x);
		return;
	}
	const { norm } = x;
	const values = norm ? norm.sum : x.rematerialize();
	const strips = Math.ceil(columns / TILE$1);
	const split = splitRows(store, rows, strips, 2, 8 * group.columns / 384);
	const partial = store.createF32([
		split.splits,
		group.columns,
		columns
	]);
	store.kernels.launch(ofWidth(KERNELS.loraBackward, group.columns), [strips, split.splits], {
		grads: targets(store, low, "a"),
		partial: partial.address,
		counters: store.counters(strips),
		dx: dx.address,
		lddx: dx.ld,
		x: values.address,
		ldx: values.ld,
		rstd: norm?.rstd.address,
		weight: norm?.weight,
		du,
		lddu,
		a: group.a,
		lda: group.lda,
		bits: bits?.address,
		kb: maskBytes(columns),
		rows,
		K: columns,
		starts,
		ranks,
		splitRows: split.rows,
		keeps: keepScales(parts)
	});
	store.release(partial);
	if (!norm) store.release(values);
}
function loraInputGradient(store, dx, low) {
	const { rows, columns } = dx;
	const { du, lddu, bits, group, parts } = low;
	const grid = [Math.ceil(columns / 128), Math.ceil(rows / 64)];
	store.kernels.launch(KERNELS.loraInputGradient, grid, {
		dx: dx.address,
		lddx: dx.ld,
		du,
		lddu,
		a: group.a,
		lda: group.lda,
		bits: bits?.address,
		kb: maskBytes(columns),
		rows,
		K: columns,
		E: group.columns,
		starts: group.starts,
		keeps: keepScales(parts)
	});
}
function loraGradientA(store, low, x) {
	const { du, lddu, bits, group, parts } = low;
	if (x.rows === 0) return;
	const values = x.rematerialize();
	const { rows, columns } = values;
	const { starts, ranks, columns: width } = group;
	const tiles = [Math.ceil(columns / TILE$1), Math.ceil(width / TILE$1)];
	const split = splitRows(store, rows, tiles[0] * tiles[1], GRADIENT_BLOCKS, 8 * Math.min(width, TILE$1) / 128);
	const partial = store.createF32([
		split.splits,
		width,
		columns
	]);
	store.kernels.launch(KERNELS.loraGradientA, [
		tiles[0],
		split.splits,
		tiles[1]
	], {
		grads: targets(store, low, "a"),
		partial: partial.address,
		counters: store.counters(tiles[0] * tiles[1]),
		du,
		lddu,
		x: values.address,
		ldx: values.ld,
		bits: bits?.address,
		kb: maskBytes(columns),
		rows,
		K: columns,
		E: width,
		starts,
		ranks,
		splitRows: split.rows,
		keeps: keepScales(parts)
	});
	store.release(partial);
	store.release(values);
}
function loraGradientB(store, low) {
	const { u, dy, group, parts } = low;
	const { rows, columns: n } = dy;
	if (rows === 0) return;
	const { starts, ranks, width } = group;
	const firsts = firstColumns(low, n);
	const tiles = parts.reduce((sum, _, i) => sum + Math.ceil((firsts[i + 1] - firsts[i]) / TILE$1), 0);
	const deep = Math.ceil(width / TILE$1);
	const split = splitRows(store, rows, tiles * deep, GRADIENT_BLOCKS, 8 * Math.min(width, TILE$1) / 128);
	const partial = store.createF32([
		split.splits,
		n,
		width
	]);
	store.kernels.launch(KERNELS.loraGradientB, [
		tiles,
		split.splits,
		deep
	], {
		grads: targets(store, low, "b"),
		partial: partial.address,
		counters: store.counters(tiles * deep),
		u: u.address,
		ldu: u.ld,
		dy: dy.address,
		lddy: dy.ld,
		rows,
		N: n,
		width,
		E: group.columns,
		firstColumns: firsts,
		starts,
		ranks,
		splitRows: split.rows,
		factors: scales(parts)
	});
	store.release(partial);
}
function finishB(store, low, partial) {
	const [splits, n, width] = partial.shape;
	store.kernels.launch(KERNELS.loraFinishB, [Math.ceil(n * width / 1024)], {
		grads: targets(store, low, "b"),
		partial: partial.address,
		N: n,
		width,
		splits,
		firstColumns: firstColumns(low, n),
		ranks: low.group.ranks,
		factors: scales(low.parts)
	});
}
function scales(parts) {
	return byPart(parts, ({ scale }) => scale, 0);
}
function firstColumns({ columns }, n) {
	return [
		columns[0] ?? n,
		columns[1] ?? n,
		columns[2] ?? n,
		columns[3] ?? n,
		n
	];
}
// src/engine/cuda/operations/gated-backward.ts
const RANKS = [16, 32];
const TILE = 64;
function fusesGatedBackward(before, down, columns) {
	const rank = down.adapter?.columns ?? 0;
	const adapter = before.length === 1 ? before[0].adapter : void 0;
	const isAlike = adapter?.width === rank && adapter.starts[1] === rank && adapter.columns === 2 * rank;
	return RANKS.includes(rank) && isAlike && columns % 8 === 0;
}
function gatedBackward(store, { gate, up, deferred, u, kind, factors }) {
	const { wide, low } = deferred;
	const { rows, columns } = gate;
	const rank = low.group.columns;
	const dy = store.create([rows, 2 * columns]);
	const [dGate, dUp] = [store.view(dy, 0, columns), store.view(dy, columns, columns)];
	const strips = Math.ceil(columns / TILE);
	const split = splitRows(store, rows, strips, 2, 24 * rank / 640);
	const partialA = store.createF32([
		split.splits,
		rank,
		columns
	]);
	const gradients = targets(store, low, "a");
	const partialB = store.createF32([
		split.splits,
		2 * columns,
		rank
	]);
	const parameters = {
		dgate: dGate.address,
		dup: dUp.address,
		gate: gate.address,
		up: up.address,
		dy: wide.address,
		lddgate: dGate.ld,
		lddup: dUp.ld,
		ldgate: gate.ld,
		ldup: up.ld,
		lddy: wide.ld,
		gradA: gradients[0],
		partialA: partialA.address,
		partialB: partialB.address,
		counters: store.counters(strips),
		du: low.du,
		lddu: low.lddu,
		a: low.group.a,
		lda: low.group.lda,
		bits: low.bits?.address,
		kb: maskBytes(columns),
		u: u.address,
		ldu: u.ld,
		rows,
		columns,
		splitRows: split.rows,
		rankA: low.group.ranks[0],
		keep: keepScales(low.parts)[0],
		kind
	};
	const grid = [strips, split.splits];
	let most;
	if (factors !== void 0) {
		most = store.createF32([rows]);
		store.driver.fillBytes(most.address, 0, 4 * rows);
		store.kernels.launch(ofWidth(KERNELS.gatedBackwardAmax, rank), grid, {
			...parameters,
			most: most.address,
			factors
		});
	} else store.kernels.launch(ofWidth(KERNELS.gatedBackwardLora, rank), grid, parameters);
	for (const tensor of [
		partialA,
		dGate,
		dUp
	]) store.release(tensor);
	return {
		dy,
		partialB,
		most
	};
}
// src/engine/cuda/operations/small-linear.ts
const LOW_SPLITS = 4;
const LOW_COLUMNS = 8;
var SmallLinear = class {
	#store;
	#ready;
	#count = 0;
	constructor(store) {
		this.#store = store;
	}
	takesNorm(x, { matrix }) {
		return x.rows === 1 && x.columns <= matrix.smallNormColumns;
	}
	run({ y, x, weight, n, group, norm, activation = -1 }) {
		const store = this.#store;
		const { rows } = x;
		if (rows === 0) return;
		const width = group ? group.columns : 0;
		const lowBlocks = width / LOW_COLUMNS * LOW_SPLITS;
		const low = group && store.createF32([
			LOW_SPLITS,
			rows,
			width
		]);
		const target = (this.#count + lowBlocks) % 2 ** 32;
		const a = group?.a;
		const lda = group ? group.lda : 0;
		const lowAddress = low?.address;
		const ready = low && this.#counter();
		const normed = norm && {
			sum: norm.sum?.address,
			residual: norm.residual?.address,
			weight: norm.weight,
			eps: norm.eps
		};
		weight.matrix.smallProduct(weight.row, {
			y,
			x,
			n,
			lowBlocks,
			a,
			lda,
			width,
			low: lowAddress,
			ready,
			target,
			activation,
			norm: normed
		});
		this.#count = target;
		if (low) store.release(low);
	}
	#counter() {
		if (!this.#ready) {
			this.#ready = this.#store.allocator.allocate(4, CACHE);
			this.#store.driver.fillBytes(this.#ready.address, 0, 4);
		}
		return this.#ready.address;
	}
};
// src/engine/cuda/operations/linear-layers.ts
function hasBias({ bias }) {
	return bias !== void 0;
}
function packLowRank(saved) {
	return saved ? [saved.u, ...saved.bits ? [saved.bits] : []] : [];
}
function takeLowRank(group, next) {
	return group.adapter && {
		u: next(),
		bits: hasDropout(group) ? next() : void 0
	};
}
var LinearLayers = class {
	#store;
	#weights;
	#sets;
	#small;
	#masks;
	#e4m3;
	constructor(store, weights, sets, e4m3) {
		this.#e4m3 = e4m3;
		this.#store = store;
		this.#weights = weights;
		this.#sets = sets;
		this.#small = new SmallLinear(store);
		this.#masks = new DropoutMasks(store);
	}
	dispose() {
		this.#masks.dispose();
	}
	groups(parts, columns) {
		return fusedGroups(this.#store, this.#weights, this.#sets, parts, columns);
	}
	isSmall(group, rows, { rowKeys, record }) {
		if (group.precision === "fp8") return false;
		if (rows > group.weights[0].matrix.smallRows) return false;
		return !group.adapter || !(record || rowKeys && hasDropout(group));
	}
	takesOperand(group) {
		return this.#e4m3.accumulates && this.#e4m3.takes(group.precision, false, matrixRows(group));
	}
	gradientFactors(group) {
		const all = matrixRows(group);
		return this.#e4m3.takes(group.precision, true, all) ? this.#e4m3.gradientFactors(all) : void 0;
	}
	takesNorm(x, group) {
		return this.#small.takesNorm(x, group.weights[0]);
	}
	forward(x, group, options) {
		if (this.isSmall(group, x.rows, options)) return { y: this.small(x, group, {}) };
		const y = this.#output(x.rows, group.n, group);
		const saved = this.#product(x, y, group, options);
		this.#addBias(y, group);
		return saved ? {
			y,
			saved
		} : { y };
	}
	small(x, group, { norm, activation }) {
		const isGated = activation !== void 0;
		const n = isGated ? group.n / 2 : group.n;
		const y = isGated ? this.#store.createInput([x.rows, n]) : this.#output(x.rows, n, group);
		this.#small.run({
			y,
			x,
			weight: group.weights[0],
			n,
			group: group.adapter,
			norm,
			activation
		});
		if (!isGated) this.#addBias(y, group);
		return y;
	}
	backward(dy, group, saved, x, options) {
		const { needsInput, addTo } = options;
		if (saved && x) {
			const share = this.finish(this.defer(dy, group, saved, options), x, needsInput);
			return share && addTo ? this.#added(addTo, share) : share;
		}
		if (!needsInput) return void 0;
		const { matrix, row } = group.weights[0];
		const all = matrixRows(group);
		if (this.#e4m3.takes(group.precision, true, all)) {
			const share = this.#store.create([dy.rows, matrix.columns]);
			this.#e4m3.transposedProduct(all, dy, share);
			return addTo ? this.#added(addTo, share) : share;
		}
		const dx = addTo ?? this.#store.create([dy.rows, matrix.columns]);
		matrix.transposedProduct(row, dy, dx, 0, addTo ? 1 : 0);
		return dx;
	}
	defer(dy, whole, { u, bits }, { needsInput, isWanted = whole.parts.map(() => true), partialB, most }) {
		const store = this.#store;
		const { weights, columns, parts, adapter } = whole;
		const group = adapter;
		const output = {
			group,
			parts,
			isWanted,
			columns
		};
		if (partialB) finishB(store, output, partialB);
		else loraGradientB(store, {
			...output,
			u,
			dy
		});
		const { matrix, row } = weights[0];
		const { paddedColumns } = matrix;
		const wide = needsInput ? store.create([dy.rows, matrix.columns], group.columns) : store.create([dy.rows, group.columns]);
		const du = offset(wide.address, needsInput ? 2 * paddedColumns : 0);
		if (!needsInput) matrix.adapterProduct(row, dy, wide);
		else if (this.#e4m3.takes(whole.precision, true, matrixRows(whole))) {
			const low = {
				address: du,
				ld: wide.ld,
				rows: dy.rows,
				columns: group.columns,
				type: "bf16"
			};
			const b = matrix.adapterAt(row);
			const isFused = most !== void 0 || this.#e4m3.takesLowRank(group.columns);
			const product = isFused ? {
				b,
				rank: group.width,
				du: low
			} : void 0;
			this.#e4m3.transposedProduct(matrixRows(whole), dy, wide, product, most?.address);
			if (!isFused) matrix.adapterProduct(row, dy, low);
		} else matrix.transposedProduct(row, dy, wide, group.columns);
		return {
			wide,
			low: {
				du,
				lddu: wide.ld,
				bits,
				group,
				parts,
				isWanted
			}
		};
	}
	finish({ wide, low }, x, needsInput) {
		if (needsInput) {
			loraInputGradients(this.#store, wide, low, x);
			return wide;
		}
		loraGradientA(this.#store, low, x);
		this.#store.release(wide);
	}
	#product(x, y, group, options) {
		const { adapter } = group;
		const all = matrixRows(group);
		if (this.#e4m3.takes(group.precision, false, all)) {
			const isFirst = adapter !== void 0 && this.#e4m3.accumulates;
			const saved = isFirst ? this.#lowRank(x, y, group, adapter, options, 0) : void 0;
			this.#e4m3.product(all, x, y, isFirst ? 1 : 0, options.operand);
			return adapter && !isFirst ? this.#lowRank(x, y, group, adapter, options, 1) : saved;
		}
		if (adapter) return this.#adapted(x, y, group, adapter, options);
		all.matrix.product(all.row, x, y);
	}
	#lowRank(x, y, group, adapter, { rowKeys, record }, beta) {
		const store = this.#store;
		const { parts, n } = group;
		const { matrix, row } = group.weights[0];
		const dropout = rowKeys && hasDropout(group) ? this.#masks.open(x, rowKeys, parts, record) : void 0;
		const u = store.create([x.rows, adapter.columns]);
		const room = beta === 0 ? y : void 0;
		loraDown(store, {
			u: u.address,
			ldu: u.ld,
			saved: void 0,
			x,
			dropout,
			room,
			group: adapter,
			parts
		});
		const b = matrix.adapterAt(row);
		if (beta === 0 && this.#e4m3.hasLowRankUp(adapter.columns)) lowRankUp(store, y, u, b);
		else store.products.run({
			m: x.rows,
			n,
			k: adapter.columns,
			a: u.address,
			lda: u.ld,
			b: b.address,
			ldb: b.ld,
			transB: true,
			d: y.address,
			ldd: y.ld,
			beta
		});
		if (record) return {
			u: store.saved(u),
			bits: dropout?.bits && store.saved(dropout.bits)
		};
		store.release(u);
	}
	#added(to, share) {
		this.#store.add(to, to, share);
		this.#store.release(share);
		return to;
	}
	#adapted(x, y, group, adapter, { rowKeys, record }) {
		const store = this.#store;
		const { parts } = group;
		const { matrix, row } = group.weights[0];
		const wide = this.#withSpare(x, matrix.paddedColumns, adapter.columns);
		const dropout = rowKeys && hasDropout(group) ? this.#masks.open(x, rowKeys, parts, record) : void 0;
		const low = offset(wide.address, 2 * matrix.paddedColumns);
		const u = record ? store.saved(store.create([x.rows, adapter.columns])) : void 0;
		loraDown(store, {
			u: low,
			ldu: wide.ld,
			saved: u,
			x: wide,
			dropout,
			room: y,
			group: adapter,
			parts
		});
		matrix.product(row, wide, y, adapter.columns);
		store.release(wide);
		return u && {
			u,
			bits: dropout?.bits && store.saved(dropout.bits)
		};
	}
	#output(rows, columns, { parts }) {
		return parts.length === 1 ? this.#store.createInput([rows, columns]) : this.#store.create([rows, columns]);
	}
	#withSpare(x, padded, columns) {
		const store = this.#store;
		if (x.spare >= columns && padded === x.columns) {
			store.retain(x);
			return x;
		}
		const wide = store.create(x.shape, columns);
		if (padded > x.columns) store.driver.fillBytes(wide.address, 0, 2 * wide.rows * wide.ld);
		store.copyInto(wide, x);
		return wide;
	}
	#addBias(y, { parts, weights, columns }) {
		if (!parts.some(hasBias)) return;
		const store = this.#store;
		for (const [i, { bias }] of parts.entries()) {
			if (!bias) continue;
			const part = store.view(y, columns[i], weights[i].rows);
			const { address, rows, columns: width, ld } = part;
			const parameters = {
				y: address,
				bias: this.#weights.vector(bias, width, "linear"),
				rows,
				columns: width,
				ldy: ld
			};
			store.kernels.launch(KERNELS.addBias, grid2(rows, width), parameters);
			store.release(part);
		}
	}
};
// src/engine/cuda/operations/gated-block.ts
const OPERATION$2 = "gatedBlock";
var GatedBlock = class {
	#store;
	#normed;
	#layers;
	constructor(store, normed, layers) {
		this.#store = store;
		this.#normed = normed;
		this.#layers = layers;
	}
	forward(inputs, { norm, gateUp, activation, down }, record) {
		const store = this.#store;
		const kind = ACTIVATIONS[activation];
		const opened = this.#normed.open(inputs, norm, gateUp, record);
		const { sum } = opened.norm;
		if (!record && this.#isSmallPair(opened)) {
			const [gated] = this.#normed.forward(opened, kind).ys;
			const { y } = this.#down(gated, down, false);
			store.release(gated);
			return {
				outputs: sum ? [y, sum] : [y],
				saved: []
			};
		}
		const { ys, saved } = this.#normed.forward(opened);
		const [gate, up] = opened.groups.flatMap((group, i) => splitParts(store, ys[i], group));
		store.like(up, gate, OPERATION$2, "up");
		const { gated, y, low, group } = this.#gatedDown(gate, up, kind, down, record);
		const isKept = low.length > 0 && this.#keepsGated(group, fusesGatedBackward(opened.groups, group, gate.columns));
		const kept = record ? [
			gate,
			up,
			...isKept ? [gated] : []
		] : [];
		for (const tensor of [
			gate,
			up,
			gated
		]) if (kept.includes(tensor)) store.saved(tensor);
		else store.release(tensor);
		return {
			outputs: sum ? [y, sum] : [y],
			saved: record ? [
				...saved,
				...kept,
				...low
			] : []
		};
	}
	backward(saved, [gradient, gradientOfSum], { norm, gateUp, activation, down }, needs) {
		const store = this.#store;
		const kind = ACTIVATIONS[activation];
		const { next } = store.reader(saved, OPERATION$2);
		const normed = this.#normed.take(next, norm, gateUp);
		const [gate, up] = [next(), next()];
		const { rows, columns } = normed.sum;
		const matrix = (of, what) => of && store.matrix(of, OPERATION$2, `gradient of ${what}`, {
			rows,
			columns
		});
		const dSum = matrix(gradientOfSum, "the sum");
		const dy = matrix(gradient, "y");
		if (!dy) return this.#normed.backward(normed, void 0, dSum, needs);
		const [group] = this.#layers.groups([down], gate.columns);
		const isFused = fusesGatedBackward(normed.groups, group, gate.columns);
		const gated = this.#keepsGated(group, isFused) ? savedInput(store, next()) : {
			rows,
			rematerialize: () => gatedRows(store, gate, up, kind)
		};
		const low = takeLowRank(group, next);
		const needsGates = needs.includes(true) || normed.groups.some(({ adapter }) => adapter);
		let gates;
		if (low) {
			const deferred = this.#layers.defer(dy, group, low, { needsInput: needsGates });
			if (needsGates && isFused && gate.rows > 0) {
				const factors = needs.includes(true) ? this.#layers.gradientFactors(normed.groups[0]) : void 0;
				gates = [gatedBackward(store, {
					gate,
					up,
					deferred,
					u: normed.low[0].u,
					kind,
					factors
				})];
				store.release(deferred.wide);
			} else {
				const dGated = this.#layers.finish(deferred, gated, needsGates);
				gates = dGated && this.#gateGradients(dGated, normed.groups, {
					gate,
					up,
					kind
				});
			}
		} else if (needsGates) {
			const dGated = this.#layers.backward(dy, group, void 0, void 0, { needsInput: true });
			gates = this.#gateGradients(dGated, normed.groups, {
				gate,
				up,
				kind
			});
		}
		return this.#normed.backward(normed, gates, dSum, needs);
	}
	#isSmallPair({ norm, groups, rowKeys, record }) {
		const [group] = groups;
		const [first, second] = group.weights;
		return first?.rows === second?.rows && group.parts.every(({ bias }) => !bias) && this.#layers.isSmall(group, norm.x.rows, {
			rowKeys,
			record
		});
	}
	#down(gated, down, record, group = this.#groupOf(down, gated), operand) {
		const { y, saved } = this.#layers.forward(gated, group, {
			rowKeys: rowKeysOf([down], gated.rows),
			record,
			operand
		});
		return {
			y,
			low: packLowRank(saved),
			group
		};
	}
	#groupOf(down, { columns }) {
		return this.#layers.groups([down], columns)[0];
	}
	#gatedDown(gate, up, kind, down, record) {
		const store = this.#store;
		const group = this.#groupOf(down, gate);
		if (gate.columns > 32768 || !this.#layers.takesOperand(group)) {
			const gated = gatedRows(store, gate, up, kind);
			return {
				gated,
				...this.#down(gated, down, record, group)
			};
		}
		const { y: gated, operand } = gatedRowsE4m3(store, gate, up, kind);
		try {
			return {
				gated,
				...this.#down(gated, down, record, group, operand)
			};
		} finally {
			store.allocator.free(operand.block);
		}
	}
	#keepsGated(down, isFused) {
		return !this.#store.rematerialize && down.adapter !== void 0 && !isFused;
	}
	#gateGradients(dGated, groups, { gate, up, kind }) {
		const store = this.#store;
		const { whole, parts } = gradientRoom(store, groups, gate.rows);
		gatedGradients(store, {
			gate,
			up,
			dy: dGated,
			dGate: parts[0],
			dUp: parts[1]
		}, kind);
		for (const tensor of [dGated, ...parts]) store.release(tensor);
		return whole.map((dy) => ({ dy }));
	}
};
// src/engine/cuda/operations/linear.ts
const OPERATION$1 = "linear";
function linear(store, layers) {
	return {
		forward(inputs, { parts }, record) {
			const x = store.matrix(inputs[0], OPERATION$1, "x");
			const options = {
				rowKeys: rowKeysOf(parts, x.rows),
				record
			};
			const saved = [];
			return {
				outputs: layers.groups(parts, x.columns).flatMap((group) => {
					const product = layers.forward(x, group, options);
					saved.push(...packLowRank(product.saved));
					return splitParts(store, product.y, group);
				}),
				saved: saved.length > 0 ? [x, ...saved] : []
			};
		},
		backward(saved, outputGradients, { parts }, needs) {
			const gradients = outputGradients.map((dy, i) => dy && store.matrix(dy, OPERATION$1, "output gradient", { columns: parts[i].weight.shape[0] }));
			if (!gradients.some((dy) => dy)) return [void 0];
			const { next } = store.reader(saved, OPERATION$1);
			const needsInput = needs[0] === true;
			const groups = layers.groups(parts, parts[0].weight.shape[1]);
			const x = groups.some(({ adapter }) => adapter) ? savedInput(store, next()) : void 0;
			let dx;
			for (const group of groups) {
				const low = takeLowRank(group, next);
				const own = gradients.slice(group.first, group.first + group.parts.length);
				if (!own.some((gradient) => gradient)) continue;
				const dy = join$1(store, own, group);
				const isWanted = own.map((gradient) => gradient !== void 0);
				dx = layers.backward(dy, group, low, x, {
					needsInput,
					isWanted,
					addTo: dx
				});
				store.release(dy);
			}
			return [dx];
		}
	};
}
function join$1(store, gradients, group) {
	const first = gradients.find((dy) => dy);
	if (gradients.length === 1) {
		store.retain(first);
		return first;
	}
	const joined = store.create([first.rows, group.n]);
	for (const [i, weight] of group.weights.entries()) {
		const part = store.view(joined, group.columns[i], weight.rows);
		const dy = gradients[i];
		if (dy) store.copyInto(part, dy);
		else store.driver.clearRows(part.address, 2 * part.ld, 2 * part.columns, part.rows);
		store.release(part);
	}
	return joined;
}
// src/engine/cuda/operations/rms-norm.ts
const OPERATION = "rmsNorm";
function threads(columns) {
	return Math.min(1024, 32 * Math.ceil(columns / 256));
}
function threadsE4m3(columns) {
	return Math.min(512, 32 * Math.ceil(columns / 512));
}
function openNorm(store, weights, inputs, { weight, eps }, record) {
	const x = store.matrix(inputs[0], OPERATION, "x");
	const { rows, columns } = x;
	const residual = inputs[1] && store.matrix(inputs[1], OPERATION, "residual", {
		rows,
		columns
	});
	return {
		x,
		residual,
		weight: weights.vector(weight, columns, OPERATION),
		eps,
		sum: residual && store.create(x.shape),
		rstd: record ? store.saved(store.createF32([rows])) : void 0
	};
}
function normalize(store, { x, residual, sum, rstd, weight, eps }) {
	const y = store.createInput(x.shape);
	const { rows, columns } = x;
	const parameters = {
		y: y.address,
		sum: sum?.address,
		rstd: rstd?.address,
		x: x.address,
		residual: residual?.address,
		weight,
		rows,
		columns,
		ldy: y.ld,
		ldsum: sum?.ld ?? 0,
		ldx: x.ld,
		ldresidual: residual?.ld ?? 0,
		eps
	};
	store.kernels.launch(KERNELS.rmsNormForward, [rows], parameters, threads(columns));
	return y;
}
function normalizeE4m3(store, { x, residual, sum, rstd, weight, eps }) {
	const y = store.createInput(x.shape);
	const { rows, columns } = x;
	const operand = operandRoom(store, rows, columns);
	const parameters = {
		y: y.address,
		codes: operand.codes,
		scales: operand.scales,
		sum: sum?.address,
		rstd: rstd?.address,
		x: x.address,
		residual: residual?.address,
		weight,
		rows,
		columns,
		ldy: y.ld,
		ldcodes: operand.ld,
		ldsum: sum?.ld ?? 0,
		ldx: x.ld,
		ldresidual: residual?.ld ?? 0,
		eps
	};
	store.kernels.launch(KERNELS.rmsNormE4m3, [rows], parameters, threadsE4m3(columns));
	return {
		y,
		operand
	};
}
function normGradients(store, { sum, rstd, weight, dy, dSum }, needs) {
	const { rows, columns } = sum;
	if (!needs.includes(true)) return needs.map(() => void 0);
	let dx = dSum;
	if (dy) {
		dx = store.create(sum.shape);
		const parameters = {
			dx: dx.address,
			dy: dy.address,
			direct: dSum?.address,
			s: sum.address,
			rstd: rstd.address,
			weight,
			rows,
			columns,
			lddx: dx.ld,
			lddy: dy.ld,
			lddirect: dSum?.ld ?? 0,
			lds: sum.ld
		};
		const kernel = ofWidth(KERNELS.rmsNormBackward, columns > 8192 ? 16384 : 8192);
		store.kernels.launch(kernel, [rows], parameters, threads(columns));
	}
	return store.shared(dx, needs, dy ? 1 : 0);
}
function rmsNorm(store, weights) {
	return {
		forward(inputs, attributes, record) {
			const norm = openNorm(store, weights, inputs, attributes, record);
			const { x, sum, rstd } = norm;
			const y = normalize(store, norm);
			return {
				outputs: sum ? [y, sum] : [y],
				saved: rstd ? [sum ?? x, rstd] : []
			};
		},
		backward(saved, [dy, dSum], attributes, needs) {
			const sum = store.matrix(saved[0], OPERATION, "saved sum");
			const { rows, columns } = sum;
			const gradient = (of, what) => of && store.matrix(of, OPERATION, `gradient of ${what}`, {
				rows,
				columns
			});
			const of = {
				dy: gradient(dy, "y"),
				dSum: gradient(dSum, "the sum")
			};
			const weight = weights.vector(attributes.weight, columns, OPERATION);
			return normGradients(store, {
				sum,
				rstd: store.use(saved[1], OPERATION),
				weight,
				...of
			}, needs);
		}
	};
}
// src/engine/cuda/operations/normed-linear.ts
var NormedLinear = class {
	#store;
	#weights;
	#layers;
	constructor(store, weights, layers) {
		this.#store = store;
		this.#weights = weights;
		this.#layers = layers;
	}
	open(inputs, attributes, parts, record) {
		const norm = openNorm(this.#store, this.#weights, inputs, attributes, record);
		const { rows, columns } = norm.x;
		return {
			norm,
			groups: this.#layers.groups(parts, columns),
			rowKeys: rowKeysOf(parts, rows),
			record
		};
	}
	forward({ norm, groups, rowKeys, record }, activation) {
		const store = this.#store;
		const layers = this.#layers;
		const options = {
			rowKeys,
			record
		};
		const { x, sum, rstd } = norm;
		const takesNorm = (group) => layers.isSmall(group, x.rows, options) && layers.takesNorm(x, group);
		if (!record && groups.every(takesNorm)) {
			const small = (group, i) => layers.small(x, group, {
				norm: i === 0 ? norm : {
					...norm,
					sum: void 0
				},
				activation
			});
			return {
				ys: groups.map(small),
				saved: []
			};
		}
		const { y: normed, operand } = groups.every((group) => layers.takesOperand(group)) ? normalizeE4m3(store, norm) : {
			y: normalize(store, norm),
			operand: void 0
		};
		const ys = [];
		const low = [];
		try {
			for (const group of groups) if (activation !== void 0) ys.push(layers.small(normed, group, { activation }));
			else {
				const product = layers.forward(normed, group, {
					...options,
					operand
				});
				ys.push(product.y);
				low.push(...packLowRank(product.saved));
			}
		} finally {
			if (operand) store.allocator.free(operand.block);
		}
		const isKept = low.length > 0 && !store.rematerialize;
		if (isKept) store.saved(normed);
		else store.release(normed);
		return {
			ys,
			saved: rstd ? [
				sum ?? x,
				rstd,
				...isKept ? [normed] : [],
				...low
			] : []
		};
	}
	take(next, attributes, parts) {
		const store = this.#store;
		const [sum, rstd] = [next(), next()];
		const groups = this.#layers.groups(parts, sum.columns);
		const { eps } = attributes;
		const weight = this.#weights.vector(attributes.weight, sum.columns, "rmsNorm");
		const x = !store.rematerialize && groups.some(({ adapter }) => adapter) ? savedInput(store, next()) : {
			rows: sum.rows,
			rematerialize: () => normalize(store, {
				x: sum,
				weight,
				eps
			}),
			norm: {
				sum,
				rstd,
				weight
			}
		};
		return {
			groups,
			low: groups.map((group) => takeLowRank(group, next)),
			sum,
			rstd,
			weight,
			x
		};
	}
	backward({ groups, low, sum, rstd, weight, x }, gradients, dSum, needs) {
		const store = this.#store;
		const needsInput = needs.includes(true);
		let dNormed;
		for (const [i, { dy, partialB, most }] of gradients?.entries() ?? []) {
			const options = {
				needsInput,
				partialB,
				most,
				addTo: dNormed
			};
			dNormed = this.#layers.backward(dy, groups[i], low[i], x, options);
			store.release(dy);
			for (const made of [partialB, most]) if (made) store.release(made);
		}
		const results = normGradients(store, {
			sum,
			rstd,
			weight,
			dy: dNormed,
			dSum
		}, needs);
		if (dNormed) store.release(dNormed);
		return results;
	}
};
// src/engine/cuda/operations.ts
function cudaOperations(store, weights, sets, capability, e4m3) {
	const layers = new LinearLayers(store, weights, sets, e4m3);
	const normed = new NormedLinear(store, weights, layers);
	const attention = new AttentionOperation(store, capability);
	const attentionBlock = new AttentionBlock(store, normed, attention);
	const operations = {
		attentionBlock,
		gatedBlock: new GatedBlock(store, normed, layers),
		embedding: embedding(store, weights),
		linear: linear(store, layers),
		rmsNorm: rmsNorm(store, weights),
		rotary: rotary(store),
		attention,
		gatedActivation: gatedActivation(store),
		activation: activation(store),
		add: add(store),
		mergePatches: mergePatches(store),
		gatherRows: gatherRows(store),
		scatterRows: scatterRows(store),
		crossEntropy: crossEntropy(store, weights)
	};
	const dispose = () => {
		layers.dispose();
		attention.dispose();
		attentionBlock.dispose();
	};
	return {
		operations,
		dispose
	};
}
// src/engine/cuda/optimizer.ts
const CHUNK = 2048;
const CHUNK_WORDS = 8;
const MAX_NORM_BLOCKS = 1024;
const HOLDER = "optimizer state";
var CudaOptimizerState = class {
	kind;
	set;
	steps;
	arrays;
	#store;
	#chunks;
	#chunkCount;
	#maps;
	#norm;
	#blocks = [];
	#isReleased = false;
	constructor(store, set, kind) {
		this.#store = store;
		this.set = set;
		this.kind = kind;
		this.steps = new Float32Array(set.parameters.length);
		const host = kind === "adamw8bit" ? new AdamW8bitState(set.parameters.map(({ size }) => size)) : void 0;
		const chunks = chunkTable(set, host?.slots);
		this.#chunkCount = chunks.length / CHUNK_WORDS;
		const keep = (block) => {
			this.#blocks.push(block);
			return block;
		};
		const allocate = (bytes) => keep(store.allocator.allocate(bytes, HOLDER));
		try {
			const array = (type, length) => {
				const bytes = length * type.BYTES_PER_ELEMENT;
				const block = allocate(bytes);
				store.driver.fillBytes(block.address, 0, bytes);
				return {
					block,
					length,
					type
				};
			};
			this.arrays = Object.fromEntries(host ? Object.entries(host.toArrays()).map(([name, own]) => [name, array(own instanceof Uint8Array ? Uint8Array : Float32Array, own.length)]) : ["m", "v"].map((name) => [name, array(Float32Array, set.size)]));
			this.#chunks = keep(store.table(chunks, HOLDER));
			this.#norm = allocate(8200);
			if (kind === "adamw8bit") {
				const tables = [new DynamicMap(true), new DynamicMap(false)].flatMap(({ values, midpoints }) => [values, midpoints]);
				this.#maps = allocate(4096);
				for (const [i, table] of tables.entries()) store.staging.upload(offset(this.#maps.address, 1024 * i), table);
			}
		} catch (error) {
			this.release();
			throw error;
		}
	}
	step(options) {
		if (this.kind !== options.kind) throw new EngineError(`optimizerStep: the state is of ${this.kind}, the step of ${options.kind}`);
		const { kernels, staging } = this.#store;
		const { values, gradients, size } = this.set;
		const norm = this.#norm.address;
		const partials = offset(norm, 8);
		const blocks = Math.max(1, Math.min(MAX_NORM_BLOCKS, Math.ceil(size / 1024)));
		kernels.launch(KERNELS.squaredNorm, [blocks], {
			partials,
			grads: gradients.address,
			n: size
		});
		kernels.launch(KERNELS.clipScale, [1], {
			norm,
			partials,
			count: blocks,
			maxNorm: options.maxGradNorm
		});
		const { settings, active } = this.#settings(options);
		this.#store.withTable(new Int32Array(settings.buffer), (table) => {
			const at = (name) => this.arrays[name].block.address;
			const { beta1, beta2, eps } = options;
			const common = {
				values: values.address,
				grads: gradients.address,
				m: at("m"),
				v: at("v"),
				chunks: this.#chunks.address,
				settings: table,
				norm,
				beta2
			};
			const grid = [this.#chunkCount];
			({
				adamw: () => kernels.launch(KERNELS.adamw, grid, {
					...common,
					take1: 1 - beta1,
					take2: 1 - beta2,
					eps
				}),
				adamw8bit: () => kernels.launch(KERNELS.adamw8bit, grid, {
					...common,
					codesM: at("codesM"),
					codesV: at("codesV"),
					scalesM: at("scalesM"),
					scalesV: at("scalesV"),
					maps: this.#maps.address,
					beta1
				})
			})[this.kind]();
		});
		this.set.version++;
		const arrival = staging.download(norm, 4);
		let isCounted = false;
		return async () => {
			const result = new Float32Array(await arrival.arrive())[0];
			if (!Number.isFinite(result) && !isCounted) for (const i of active) this.steps[i] -= 1;
			isCounted = true;
			return result;
		};
	}
	#settings(options) {
		const { beta1, beta2, eps, weightDecay } = options;
		const settings = new Float32Array(4 * this.steps.length);
		const active = [];
		for (const [i, { grad }] of this.set.parameters.entries()) {
			if (!grad.isTouched) continue;
			active.push(i);
			const learningRate = learningRateOf(options, i);
			const t = ++this.steps[i];
			const first = 1 - beta1 ** t;
			const second = Math.sqrt(1 - beta2 ** t);
			const decay = 1 - learningRate * weightDecay;
			const factors = {
				adamw: [-learningRate / first, second],
				adamw8bit: [-learningRate * second / first, second * eps]
			};
			settings.set([
				...factors[this.kind],
				decay,
				1
			], 4 * i);
		}
		return {
			settings,
			active
		};
	}
	async read() {
		const entries = Object.entries(this.arrays).map(([name, { block, length, type }]) => {
			const bytes = this.#store.staging.download(block.address, length * type.BYTES_PER_ELEMENT);
			return async () => [name, new type(await bytes.arrive())];
		});
		return {
			steps: this.steps.slice(),
			...Object.fromEntries(await Promise.all(entries.map((entry) => entry())))
		};
	}
	write(arrays) {
		requireArray("steps", arrays.steps, Float32Array, this.steps.length);
		for (const [name, { length, type }] of Object.entries(this.arrays)) requireArray(name, arrays[name], type, length);
		this.steps.set(arrays.steps);
		for (const [name, { block }] of Object.entries(this.arrays)) this.#store.staging.upload(block.address, arrays[name]);
	}
	release() {
		if (this.#isReleased) return;
		this.#isReleased = true;
		for (const block of this.#blocks) this.#store.allocator.free(block);
	}
};
function chunkTable(set, slots) {
	const words = [];
	for (const [parameter, { offset, size }] of set.parameters.entries()) {
		const slot = slots?.[parameter];
		for (let at = 0; at < size; at += CHUNK) {
			const count = Math.min(CHUNK, size - at);
			const state = slot ? [
				slot.quantised ? 1 : 0,
				slot.start + at,
				slot.firstBlock + at / 256
			] : [
				0,
				offset + at,
				0
			];
			words.push(parameter, offset + at, count, ...state, 0, 0);
		}
	}
	return Int32Array.from(words);
}
async function zeroParameters(store, set, of) {
	const chunks = chunkTable(set);
	const count = chunks.length / CHUNK_WORDS;
	const zero = set.parameters.map(() => true);
	if (count === 0) return zero;
	const largest = store.createF32([count]);
	store.withTable(chunks, (table) => {
		const parameters = {
			largest: largest.address,
			x: set[of].address,
			chunks: table
		};
		store.kernels.launch(KERNELS.largestMagnitude, [count], parameters);
	});
	const arrival = store.staging.download(largest.address, 4 * count);
	store.release(largest);
	const magnitudes = new Float32Array(await arrival.arrive());
	for (let i = 0; i < count; i++) if (magnitudes[i] !== 0) zero[chunks[CHUNK_WORDS * i]] = false;
	return zero;
}
// src/engine/cuda/pace.ts
const LAUNCHES_AHEAD = 640;
var Pace = class {
	#driver;
	#staging;
	#marks = [];
	#idle = [];
	#done = 0;
	constructor(driver, staging) {
		this.#driver = driver;
		this.#staging = staging;
	}
	async keep() {
		const { launches } = this.#driver;
		if (launches > (this.#marks.at(-1)?.launches ?? this.#done)) {
			const event = this.#idle.pop() ?? this.#driver.createEvent();
			this.#driver.recordEvent(event);
			this.#marks.push({
				event,
				launches
			});
		}
		for (let mark = this.#marks[0]; mark && launches - this.#done > LAUNCHES_AHEAD; mark = this.#marks[0]) {
			if (mark.launches === launches) break;
			await this.#staging.passed(mark.event);
			if (this.#marks[0] !== mark) continue;
			this.#marks.shift();
			this.#done = mark.launches;
			this.#idle.push(mark.event);
		}
	}
	dispose() {
		for (const event of [...this.#idle.splice(0), ...this.#marks.splice(0).map((mark) => mark.event)]) this.#driver.destroyEvent(event);
	}
};
// src/engine/cuda/physical-memory.ts
const PINNED = 1;
const DEVICE = 1;
const READ_WRITE = 3;
var VirtualMemory = class {
	isVirtual = true;
	granularity;
	#driver;
	#properties;
	#access;
	#ranges = [];
	constructor(driver) {
		this.#driver = driver;
		const { ordinal } = driver.device;
		this.#properties = Int32Array.of(PINNED, 0, DEVICE, ordinal, 0, 0, 0, 0);
		this.#access = Int32Array.of(DEVICE, ordinal, READ_WRITE);
		const types = [
			"void*",
			"void*",
			"int"
		];
		this.granularity = outHandle((out) => driver.call("cuMemGetAllocationGranularity", types, out, this.#properties, 0));
	}
	reserve(bytes) {
		const size = Math.ceil(bytes / this.granularity) * this.granularity;
		const types = [
			"void*",
			"size_t",
			"size_t",
			"uint64",
			"uint64"
		];
		const address = outHandle((out) => this.#driver.call("cuMemAddressReserve", types, out, size, 0, 0, 0));
		this.#ranges.push({
			address,
			bytes: size
		});
		return address;
	}
	map(address, bytes) {
		const types = [
			"void*",
			"size_t",
			"void*",
			"uint64"
		];
		const handle = outHandle((out) => this.#driver.call("cuMemCreate", types, out, bytes, this.#properties, 0));
		this.#attach(handle, address, bytes);
		return {
			address,
			handle
		};
	}
	move(handle, from, to, bytes) {
		this.#driver.call("cuMemUnmap", ["uint64", "size_t"], from, bytes);
		this.#attach(handle, to, bytes);
	}
	release({ address, handle, bytes }) {
		this.#driver.call("cuMemUnmap", ["uint64", "size_t"], address, bytes);
		this.#driver.call("cuMemRelease", ["uint64"], handle);
	}
	dispose() {
		for (const { address, bytes } of this.#ranges.splice(0)) this.#driver.call("cuMemAddressFree", ["uint64", "size_t"], address, bytes);
	}
	synchronize() {
		this.#driver.synchronize();
		this.#driver.synchronize(this.#driver.copyStream);
	}
	memoryInfo() {
		return this.#driver.memoryInfo();
	}
	#attach(handle, address, bytes) {
		this.#driver.call("cuMemMap", [
			"uint64",
			"size_t",
			"size_t",
			"uint64",
			"uint64"
		], address, bytes, 0, handle, 0);
		this.#driver.call("cuMemSetAccess", [
			"uint64",
			"size_t",
			"void*",
			"size_t"
		], address, bytes, this.#access, 1);
	}
};
var SlabMemory = class {
	isVirtual = false;
	granularity = 2 << 20;
	#driver;
	constructor(driver) {
		this.#driver = driver;
	}
	reserve() {
		return 0;
	}
	map(_address, bytes) {
		const address = this.#driver.allocate(bytes);
		return {
			address,
			handle: address
		};
	}
	move() {
		throw new Error("slabs do not move");
	}
	release({ address }) {
		this.#driver.free(address);
	}
	dispose() {}
	synchronize() {
		this.#driver.synchronize();
	}
	memoryInfo() {
		return this.#driver.memoryInfo();
	}
};
function physicalMemory(driver) {
	return driver.device.hasVirtualMemory ? new VirtualMemory(driver) : new SlabMemory(driver);
}
// src/engine/cuda/saved-products.ts
const SIZES = 7;
const MAX_PRODUCTS = 512;
var SavedProducts = class {
	#products;
	#loader;
	#library;
	#counts = new Map();
	constructor(products, loader, library) {
		this.#products = products;
		this.#loader = loader;
		this.#library = library;
	}
	*load(set) {
		const path = this.#path(set);
		for (const product of this.#read(path)) {
			this.#products.load(product, (queue) => this.#loader.load(queue));
			yield;
		}
	}
	save(set) {
		const { used } = this.#products;
		const path = this.#path(set);
		if ((this.#counts.get(path) ?? 0) >= used.size) return;
		this.#counts.set(path, used.size);
		const rows = new Map(this.#read(path).map((product) => [rowOf(product).slice(6).join(), rowOf(product)]));
		for (const product of used.values()) rows.set(rowOf(product).slice(6).join(), rowOf(product));
		writeCheckedFile(path, Buffer.from(JSON.stringify([...rows.values()].slice(-512))));
	}
	#read(path) {
		const bytes = readCheckedFile(path);
		if (!bytes) return [];
		try {
			const rows = JSON.parse(Buffer.from(bytes).toString());
			return Array.isArray(rows) ? rows.filter(isRow).slice(0, MAX_PRODUCTS).map(productOf) : [];
		} catch {
			return [];
		}
	}
	#path({ parameters }) {
		const content = JSON.stringify([this.#library, parameters.map(({ name, shape }) => [name, shape])]);
		const key = createHash("sha256").update(content).digest("hex").slice(0, 32);
		return join(kernelCacheFolder(), `products-${key}.json`);
	}
};
function rowOf({ sizes, algorithm }) {
	return [...sizes, ...Array.from(algorithm, (word) => word.toString(16))];
}
function isRow(row) {
	if (!Array.isArray(row) || row.length !== 15) return false;
	const [sizes, words] = [row.slice(0, SIZES), row.slice(SIZES)];
	return sizes.every((size, i) => Number.isSafeInteger(size) && size >= (i < 6 ? 1 : 0) && size < 2 ** 31) && words.every((word) => typeof word === "string" && /^[0-9a-f]{1,16}$/.test(word));
}
function productOf(row) {
	return {
		sizes: row.slice(0, SIZES),
		algorithm: BigUint64Array.from(row.slice(SIZES), (word) => BigInt(`0x${word}`))
	};
}
// src/engine/cuda/staging.ts
const SMALLEST_BYTES = 4096;
const MAX_BYTES_IN_FLIGHT = 256 << 20;
const QUICK_MILLISECONDS = 25;
const UPLOAD_PIECE = 16 << 20;
const LARGEST_KEPT = 64 << 20;
var Staging = class {
	#driver;
	#queued = new Map();
	#idle = new Map();
	#all = new Set();
	#isDisposed = false;
	constructor(driver) {
		this.#driver = driver;
	}
	upload(target, source) {
		this.uploadJoined(target, source.byteLength, [source]);
	}
	uploadJoined(target, bytes, sources) {
		let block;
		let [at, filled] = [0, 0];
		for (const source of sources) {
			const values = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
			for (let from = 0; from < values.length;) {
				const most = Math.min(UPLOAD_PIECE, bytes - at);
				block ??= this.take(most);
				const part = values.subarray(from, from + most - filled);
				block.pinned.bytes.set(part, filled);
				from += part.length;
				filled += part.length;
				if (filled < most) continue;
				this.#driver.upload(offset(target, at), block.pinned.bytes.subarray(0, filled));
				this.giveBack(block);
				block = void 0;
				[at, filled] = [at + filled, 0];
			}
		}
	}
	download(source, bytes) {
		if (bytes === 0) return {
			arrive: async () => new ArrayBuffer(0),
			discard: () => {}
		};
		const block = this.take(bytes);
		this.#driver.downloadAsync(block.pinned.bytes.subarray(0, bytes), source);
		this.#driver.recordEvent(block.event);
		let result;
		let isDone = false;
		const fetch = async () => {
			await this.passed(block.event);
			this.#requireLive();
			const copy = block.pinned.bytes.slice(0, bytes).buffer;
			if (block.pinned.bytes.length <= LARGEST_KEPT) this.#idleOf(block.pinned.bytes.length).push(block);
			else this.#free(block);
			return copy;
		};
		return {
			arrive: () => {
				isDone = true;
				result ??= fetch();
				return result;
			},
			discard: () => {
				if (!isDone) this.giveBack(block);
				isDone = true;
			}
		};
	}
	async passed(event) {
		const start = performance.now();
		this.#requireLive();
		while (!this.#driver.eventDone(event)) {
			if (performance.now() - start < QUICK_MILLISECONDS) await new Promise((resolve) => setImmediate(resolve));
			else await new Promise((resolve) => setTimeout(resolve, 1));
			this.#requireLive();
		}
	}
	take(bytes) {
		const size = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
		const idle = this.#idleOf(size).pop();
		if (idle) return idle;
		const queued = this.#queued.get(size) ?? [];
		const oldest = queued[0];
		const isFull = queued.length * size >= MAX_BYTES_IN_FLIGHT;
		if (oldest && (isFull || this.#driver.eventDone(oldest.event))) {
			if (isFull) this.#driver.synchronizeEvent(oldest.event);
			return queued.shift();
		}
		const block = {
			pinned: this.#driver.allocatePinned(size),
			event: this.#driver.createEvent()
		};
		this.#all.add(block);
		return block;
	}
	giveBack(block) {
		this.#driver.recordEvent(block.event);
		const size = block.pinned.bytes.length;
		const queued = this.#queued.get(size);
		if (queued) queued.push(block);
		else this.#queued.set(size, [block]);
	}
	dispose() {
		this.#isDisposed = true;
		for (const block of [...this.#all]) this.#free(block);
		this.#queued.clear();
		this.#idle.clear();
	}
	#requireLive() {
		if (this.#isDisposed) throw new EngineError("the engine was disposed while something waited for the device");
	}
	#free(block) {
		this.#all.delete(block);
		block.pinned.free();
		this.#driver.destroyEvent(block.event);
	}
	#idleOf(size) {
		let blocks = this.#idle.get(size);
		if (!blocks) {
			blocks = [];
			this.#idle.set(size, blocks);
		}
		return blocks;
	}
};
// src/engine/cuda/frozen-matrix.ts
function multiplyRows({ products }, dy, { address, ld }, n, d, beta) {
	products.run({
		m: dy.rows,
		n,
		k: dy.columns,
		a: dy.address,
		lda: dy.ld,
		b: address,
		ldb: ld,
		d: d.address,
		ldd: d.ld,
		beta
	});
}
var FrozenMatrix = class {
	rows;
	columns;
	paddedColumns;
	users = 0;
	places = new Set();
	adapters = new Map();
	copies;
	constructor(rows, columns) {
		this.rows = rows;
		this.columns = columns;
		this.paddedColumns = roundUp(columns, 8);
	}
	held;
	get scratchBytes() {
		return 0;
	}
	get smallNormColumns() {
		return 8192;
	}
	bf16Rows(_row, _count) {}
	e4m3Rows(_row) {}
};
var UploadRing = class {
	#driver;
	#staging;
	#allocator;
	blockBytes;
	#blocks = new Set();
	#queued = [];
	#turn = Promise.resolve();
	#wake;
	constructor(driver, staging, allocator, blockBytes) {
		this.blockBytes = blockBytes;
		this.#driver = driver;
		this.#staging = staging;
		this.#allocator = allocator;
	}
	take() {
		const taken = this.#turn.then(() => this.#next());
		this.#turn = taken.then(() => void 0, () => void 0);
		return taken;
	}
	giveBack(block, stream) {
		this.#driver.recordEvent(block.event, stream);
		this.#queued.push(block);
		this.#wake?.();
	}
	scratch(block) {
		if (!block.device) {
			block.device = this.#allocator.allocate(this.blockBytes, "weight conversion");
			this.#driver.recordEvent(block.event, this.#driver.stream);
			this.#driver.waitEvent(block.event, this.#driver.copyStream);
		}
		return block.device.address;
	}
	clear() {
		this.#queued.length = 0;
		for (const block of this.#blocks) {
			this.#driver.synchronizeEvent(block.event);
			if (block.device) this.#allocator.free(block.device);
			block.pinned.free();
			this.#driver.destroyEvent(block.event);
		}
		this.#blocks.clear();
	}
	async #next() {
		for (;;) {
			const oldest = this.#queued[0];
			if (oldest && this.#driver.eventDone(oldest.event)) return this.#queued.shift();
			if (this.#blocks.size < 8) return this.#make();
			if (oldest) await this.#staging.passed(oldest.event);
			else {
				await new Promise((resolve) => {
					this.#wake = resolve;
				});
				this.#wake = void 0;
			}
		}
	}
	#make() {
		const block = {
			pinned: this.#driver.allocatePinned(this.blockBytes),
			event: this.#driver.createEvent(),
			device: void 0
		};
		this.#blocks.add(block);
		return block;
	}
};
// src/engine/cuda/weight-stream.ts
const PIECE_BYTES$2 = 32 << 20;
const SMALL_PART = 1 / 32;
var WeightStream = class {
	#store;
	#driver;
	#staging;
	#ring;
	#active = new Set();
	#order;
	constructor(store, driver, staging, pieceBytes = PIECE_BYTES$2) {
		this.#store = store;
		this.#driver = driver;
		this.#staging = staging;
		this.#ring = new UploadRing(driver, staging, store.allocator, pieceBytes);
	}
	async fill(target, source, keep) {
		const filling = this.#fill(target, source, keep);
		this.#active.add(filling);
		try {
			await filling;
		} finally {
			this.#active.delete(filling);
			if (this.#active.size === 0) this.#ring.clear();
		}
	}
	async dispose() {
		await Promise.allSettled(this.#active);
		if (this.#order !== void 0) this.#driver.destroyEvent(this.#order);
		this.#order = void 0;
	}
	async #fill(target, source, keep) {
		const { name, dtype, byteLength } = source;
		const { allocator } = this.#store;
		let scale;
		let flag;
		try {
			if (dtype === "f8_e4m3") scale = await this.#scale(source);
			if (scale || target.quantizes && !target.holds(dtype)) flag = this.#flag();
			const tables = {
				scale,
				flag: flag?.address
			};
			if (keep || byteLength <= SMALL_PART * this.#ring.blockBytes) await this.#fillAtOnce(target, source, tables, keep);
			else await this.#fillInPieces(target, source, tables);
			target.finish?.(scale);
			if (flag) {
				const [word] = new Int32Array(await this.#staging.download(flag.address, 4).arrive());
				if (word !== 0) refuse(name, dtype);
			}
		} finally {
			target.release?.();
			for (const block of [scale?.factors, flag]) if (block) allocator.free(block);
		}
	}
	async #fillAtOnce(target, source, tables, keep) {
		const { dtype, byteLength } = source;
		if (byteLength === 0) return;
		const block = this.#staging.take(byteLength);
		try {
			const bytes = block.pinned.bytes.subarray(0, byteLength);
			await source.read(bytes, 0);
			keep?.(bytes);
			const { rows, columns } = target;
			if (target.holds(dtype)) {
				target.upload(this.#driver, 0, rows, bytes);
				return;
			}
			const { allocator } = this.#store;
			const stored = allocator.allocate(byteLength, "weight conversion");
			this.#driver.upload(stored.address, bytes);
			target.convert({
				address: stored.address,
				row: 0,
				rows,
				columns,
				dtype,
				...tables
			});
			allocator.free(stored);
		} finally {
			this.#staging.giveBack(block);
		}
	}
	async #fillInPieces(target, source, tables) {
		const { rows, columns, rowMultiple = 1 } = target;
		const { stream, copyStream } = this.#driver;
		const { dtype } = source;
		const rowBytes = columns * DTYPE_BYTES[dtype];
		const pieceRows = rowMultiple * Math.floor(this.#ring.blockBytes / (rowMultiple * rowBytes));
		if (pieceRows === 0) return this.#fillAtOnce(target, source, tables);
		this.#follow(copyStream, stream);
		let hasFailed = false;
		const piece = async (row) => {
			const block = await this.#ring.take();
			let last = copyStream;
			try {
				if (hasFailed) return;
				const count = Math.min(pieceRows, rows - row);
				const bytes = block.pinned.bytes.subarray(0, Math.ceil(count * rowBytes));
				await source.read(bytes, row * rowBytes);
				if (target.holds(dtype)) target.upload(this.#driver, row, count, bytes, copyStream);
				else {
					const stored = this.#ring.scratch(block);
					this.#driver.upload(stored, bytes, copyStream);
					this.#driver.recordEvent(block.event, copyStream);
					this.#driver.waitEvent(block.event, stream);
					last = stream;
					target.convert({
						address: stored,
						row,
						rows: count,
						columns,
						dtype,
						...tables
					});
				}
			} catch (error) {
				hasFailed = true;
				throw error;
			} finally {
				this.#ring.giveBack(block, last);
			}
		};
		const pieces = [];
		for (let row = 0; row < rows; row += pieceRows) pieces.push(piece(row));
		const results = await Promise.allSettled(pieces);
		this.#follow(stream, copyStream);
		const failed = results.find((result) => result.status === "rejected");
		if (failed) throw failed.reason;
	}
	#follow(stream, first) {
		this.#order ??= this.#driver.createEvent();
		this.#driver.recordEvent(this.#order, first);
		this.#driver.waitEvent(this.#order, stream);
	}
	async #scale(source) {
		const { factors, block, across } = await readScale(source);
		const table = this.#store.allocator.allocate(factors.byteLength, "weight conversion");
		this.#staging.upload(table.address, factors);
		return {
			factors: table,
			block,
			across
		};
	}
	#flag() {
		const flag = this.#store.allocator.allocate(4, "weight conversion");
		this.#store.driver.fillBytes(flag.address, 0, 4);
		return flag;
	}
};
function refuse(name, dtype) {
	if (dtype === "f8_e4m3") refuseNaN(name);
	throw new CheckpointError(`${name}: a value is not finite, so it cannot be quantised`, {
		hint: "The checkpoint is damaged: download it again.",
		details: { name }
	});
}
const KINDS = {
	f32: 0,
	bf16: 1,
	f16: 2,
	f8_e4m3: 3
};
function storedSource({ address, row, columns, dtype, scale, flag }) {
	if (dtype === "nf4") throw new EngineError("loadWeight: expected 16- or 32-bit or e4m3 values to quantise, got nf4");
	const [blockRows, blockColumns] = scale?.block ?? [1, 1];
	return {
		x: address,
		kind: KINDS[dtype],
		first: row,
		columns,
		blockRows,
		blockColumns,
		across: scale?.across ?? 0,
		factors: scale?.factors.address,
		flag
	};
}
function convertRows(kernels, target, { address, row, rows, columns, dtype, scale, flag }) {
	const plain = {
		out: target.address,
		x: address,
		rows,
		columns,
		ldo: target.ld,
		ldx: columns
	};
	const grid = grid2(rows, columns);
	if (!scale) kernels.launch(dtype === "f32" ? KERNELS.f32ToBf16 : KERNELS.f16ToBf16, grid, plain);
	else {
		const [blockRows, blockColumns] = scale.block;
		kernels.launch(KERNELS.e4m3ToBf16, grid, {
			...plain,
			factors: scale.factors.address,
			first: row,
			blockRows,
			blockColumns,
			across: scale.across,
			flag
		});
	}
}
// src/engine/cuda/bf16-matrix.ts
const BYTES$2 = ELEMENT_BYTES.bf16;
const BLOCK_ROWS = 8;
const RESIDENT_BLOCKS = 6;
var Bf16Matrix = class extends FrozenMatrix {
	smallRows = 16;
	#store;
	#block;
	#ld;
	constructor(store, rows, columns, spare) {
		super(rows, columns);
		this.#store = store;
		this.#ld = this.paddedColumns + spare;
		this.#block = store.allocator.allocate(BYTES$2 * Math.max(1, rows) * this.#ld, "weights", "weights");
		const unused = BYTES$2 * (this.#ld - columns);
		store.driver.clearRows(offset(this.#block.address, BYTES$2 * columns), BYTES$2 * this.#ld, unused, rows);
	}
	get bytes() {
		return this.#block.bytes;
	}
	address(row) {
		return offset(this.#block.address, BYTES$2 * row * this.#ld);
	}
	product(row, x, y, rank = 0) {
		const k = rank > 0 ? this.paddedColumns + rank : this.columns;
		this.#store.products.run({
			m: x.rows,
			n: y.columns,
			k,
			a: x.address,
			lda: x.ld,
			b: this.address(row),
			ldb: this.#ld,
			transB: true,
			d: y.address,
			ldd: y.ld,
			type: y.type
		});
	}
	transposedProduct(row, dy, dx, rank = 0, beta = 0) {
		const n = rank > 0 ? this.paddedColumns + rank : this.columns;
		multiplyRows(this.#store, dy, {
			address: this.address(row),
			ld: this.#ld
		}, n, dx, beta);
	}
	adapterProduct(row, dy, du) {
		multiplyRows(this.#store, dy, this.adapterAt(row), du.columns, du, 0);
	}
	smallProduct(row, product) {
		const { y, x, n, lowBlocks, a, lda, width, low, ready, target, activation, norm } = product;
		const { kernels } = this.#store;
		const most = Math.max(1, RESIDENT_BLOCKS * kernels.multiprocessors - lowBlocks);
		const blocks = lowBlocks + Math.min(most, Math.ceil((activation < 0 ? n : 2 * n) / BLOCK_ROWS));
		const w = this.address(row);
		const ldw = this.#ld;
		if (norm) kernels.launch(KERNELS.smallLinearNorm, [blocks], {
			y: y.address,
			x: x.address,
			w,
			ldw,
			a,
			lda,
			low,
			ready,
			N: n,
			K: x.columns,
			E: width,
			activation,
			target,
			sum: norm.sum,
			residual: norm.residual,
			normWeight: norm.weight,
			eps: norm.eps
		});
		else kernels.launch(ofWidth(KERNELS.smallLinear, x.rows <= 8 ? 8 : 16), [blocks], {
			y: y.address,
			x: x.address,
			w,
			ldw,
			a,
			lda,
			low,
			ready,
			M: x.rows,
			N: n,
			K: x.columns,
			E: width,
			ldy: y.ld,
			ldx: x.ld,
			activation,
			target
		});
	}
	gatherRows(row, ids) {
		return this.#store.gather({
			address: this.address(row),
			ld: this.#ld,
			columns: this.columns
		}, ids);
	}
	readRows(row, count) {
		const out = this.#store.create([count, this.columns]);
		const pitch = BYTES$2 * this.#ld;
		this.#store.driver.copyRows(out.address, BYTES$2 * out.ld, this.address(row), pitch, BYTES$2 * this.columns, count);
		return out;
	}
	bf16Rows(row, count) {
		return {
			address: this.address(row),
			ld: this.#ld,
			rows: count,
			columns: this.columns,
			type: "bf16"
		};
	}
	target(row, rows) {
		const { columns } = this;
		return {
			rows,
			columns,
			holds: (dtype) => dtype === "bf16",
			upload: (driver, first, count, bytes, stream) => {
				driver.uploadRows(this.address(row + first), BYTES$2 * this.#ld, bytes, BYTES$2 * columns, count, stream);
			},
			convert: (stored) => {
				convertRows(this.#store.kernels, {
					address: this.address(row + stored.row),
					ld: this.#ld
				}, stored);
			}
		};
	}
	uploadAll(driver, bytes, stream) {
		driver.uploadRows(this.#block.address, BYTES$2 * this.#ld, bytes, BYTES$2 * this.columns, this.rows, stream);
	}
	reserveAdapter(columns) {
		if (this.#ld - this.paddedColumns >= columns) return;
		const { allocator, driver } = this.#store;
		const { rows, paddedColumns } = this;
		const ld = paddedColumns + columns;
		const block = allocator.allocate(BYTES$2 * rows * ld, "weights", "weights");
		driver.clearRows(offset(block.address, BYTES$2 * paddedColumns), BYTES$2 * ld, BYTES$2 * columns, rows);
		const [pitch, oldPitch] = [BYTES$2 * ld, BYTES$2 * this.#ld];
		driver.copyRows(block.address, pitch, this.#block.address, oldPitch, BYTES$2 * paddedColumns, rows);
		allocator.free(this.#block);
		this.#block = block;
		this.#ld = ld;
		for (const adapter of this.adapters.values()) adapter.invalidate();
	}
	adapterAt(row) {
		return {
			address: offset(this.address(row), BYTES$2 * this.paddedColumns),
			ld: this.#ld
		};
	}
	free() {
		this.#store.allocator.free(this.#block);
	}
};
// src/engine/cuda/packed-matrix.ts
const BYTES$1 = ELEMENT_BYTES.bf16;
const UNIT = 16;
const THREADS = 256;
const SMALL_BLOCK_ROWS = 16;
const FEWEST_COLUMNS = 512;
var PackedMatrix = class extends FrozenMatrix {
	get smallNormColumns() {
		return 5632;
	}
	store;
	parts = [];
	#maxParts;
	#spare = 0;
	#low;
	constructor(store, rows, columns, maxParts) {
		super(rows, columns);
		this.store = store;
		this.#maxParts = maxParts;
	}
	freeParts() {}
	get bytes() {
		return this.memory.bytes + (this.#low?.bytes ?? 0);
	}
	get scratchBytes() {
		return BYTES$1 * this.rows * this.#wideColumns;
	}
	get #wideColumns() {
		return this.paddedColumns + this.#spare;
	}
	product(row, x, y, rank = 0) {
		const k = rank > 0 ? this.paddedColumns + rank : this.columns;
		const multiply = (first, n) => {
			const d = offset(y.address, ELEMENT_BYTES[y.type] * first);
			const wide = this.#widened(row + first, n, rank);
			this.store.products.run({
				m: x.rows,
				n,
				k,
				a: x.address,
				lda: x.ld,
				...wide,
				transB: true,
				d,
				ldd: y.ld,
				type: y.type
			});
		};
		for (let [first, most] = [0, y.columns]; first < y.columns;) {
			const n = Math.min(most, y.columns - first);
			try {
				multiply(first, n);
				first += n;
			} catch (error) {
				if (!(error instanceof OutOfMemoryError) || most <= FEWEST_COLUMNS) throw error;
				most = roundUp(most / 2, 8);
			}
		}
	}
	transposedProduct(row, dy, dx, rank = 0, beta = 0) {
		const n = rank > 0 ? this.paddedColumns + rank : this.columns;
		const { b, ldb } = this.#widened(row, dy.columns, rank);
		multiplyRows(this.store, dy, {
			address: b,
			ld: ldb
		}, n, dx, beta);
	}
	adapterProduct(row, dy, du) {
		multiplyRows(this.store, dy, this.adapterAt(row), du.columns, du, 0);
	}
	smallGrid({ x, n, lowBlocks, activation }) {
		const resident = this.store.kernels.multiprocessors * this.smallBlocks(x.rows);
		const most = Math.max(1, resident - lowBlocks);
		return [lowBlocks + Math.min(most, Math.ceil((activation < 0 ? n : 2 * n) / SMALL_BLOCK_ROWS))];
	}
	gatherRows(row, ids) {
		const out = this.store.create([ids.length, this.columns]);
		this.store.withTable(ids, (index) => {
			this.#widen({
				out: out.address,
				ldo: out.ld,
				first: row,
				rows: ids.length,
				index,
				rank: 0
			});
		});
		return out;
	}
	readRows(row, count) {
		const out = this.store.create([count, this.columns]);
		this.#widen({
			out: out.address,
			ldo: out.ld,
			first: row,
			rows: count,
			rank: 0
		});
		return out;
	}
	bf16Rows(row, count) {
		const { b, ldb } = this.#widened(row, count, 0);
		return {
			address: b,
			ld: ldb,
			rows: count,
			columns: this.columns,
			type: "bf16"
		};
	}
	reserveAdapter(columns) {
		if (this.#spare >= columns) return;
		const { allocator, driver } = this.store;
		const bytes = BYTES$1 * this.rows * columns;
		const block = allocator.allocate(bytes, "weights", "weights");
		driver.fillBytes(block.address, 0, bytes);
		if (this.#low) allocator.free(this.#low);
		this.#low = block;
		this.#spare = columns;
		for (const adapter of this.adapters.values()) adapter.invalidate();
	}
	adapterAt(row) {
		if (!this.#low) throw new EngineError("no columns are reserved for an adapter: call reserveAdapter first");
		return {
			address: offset(this.#low.address, BYTES$1 * row * this.#spare),
			ld: this.#spare
		};
	}
	free() {
		if (this.#low) this.store.allocator.free(this.#low);
		this.store.freeScratch();
		this.freeParts();
		this.memory.free();
	}
	addPart(part) {
		if (this.parts.length >= this.#maxParts) throw new EngineError(`loadWeight: a stack of ${this.held} weights holds at most ${this.#maxParts}`);
		this.parts.push(part);
		this.parts.sort((a, b) => a.row - b.row);
	}
	ofParts(value, missing) {
		return Array.from({ length: 4 }, (_, i) => this.parts[i] ? value(this.parts[i]) : missing);
	}
	#widened(row, rows, rank) {
		const ldb = this.#wideColumns;
		const b = this.store.scratch(BYTES$1 * rows * ldb);
		this.#widen({
			out: b,
			ldo: ldb,
			first: row,
			rows,
			rank
		});
		return {
			b,
			ldb
		};
	}
	#widen(rows) {
		const units = Math.ceil(this.columns / UNIT) + rows.rank / UNIT;
		const low = rows.rank > 0 ? this.adapterAt(0).address : void 0;
		this.widen(rows, [Math.ceil(rows.rows * units / THREADS)], low, this.#spare);
	}
};
// src/engine/cuda/host-layers.ts
function pinnedForLayer(driver, bytes) {
	try {
		return driver.allocatePinned(Math.max(1, bytes));
	} catch (cause) {
		if (!(cause instanceof OutOfMemoryError)) throw cause;
		throw new OutOfMemoryError(`the host has no ${formatBytes(bytes)} that can be page-locked for a streamed layer`, {
			hint: "Streamed layers need as much host memory as they would take on the card: free some, raise the limit of the container, or raise memoryBudget.",
			neededBytes: bytes,
			cause
		});
	}
}
// src/engine/cuda/packed-memory.ts
var ResidentMemory = class {
	#allocator;
	#block;
	address;
	constructor(allocator, bytes) {
		this.#allocator = allocator;
		this.#block = allocator.allocate(bytes, "weights", "weights");
		this.address = this.#block.address;
	}
	get bytes() {
		return this.#block.bytes;
	}
	fill(body) {
		return body();
	}
	free() {
		this.#allocator.free(this.#block);
	}
};
var StreamedMemory = class {
	layer;
	form;
	bytes;
	#parts;
	#host;
	#filling;
	#isFilled = false;
	constructor(parts, layer, bytes) {
		this.#parts = parts;
		this.layer = layer;
		this.bytes = bytes;
		this.form = `${bytes} bytes`;
		this.#host = pinnedForLayer(parts.driver, bytes);
		try {
			parts.stream.add(this);
		} catch (error) {
			this.#host.free();
			throw error;
		}
	}
	get address() {
		return this.#filling?.address ?? this.#parts.stream.use(this).address;
	}
	makeSlot() {
		return new ResidentMemory(this.#parts.store.allocator, this.bytes);
	}
	copyTo(slot, stream) {
		this.#parts.driver.upload(slot.address, this.#host.bytes, stream);
	}
	fill(body) {
		return this.#parts.weights.inTurn(async () => {
			const { store, driver, weights } = this.#parts;
			const block = store.allocator.allocate(this.bytes, "weight conversion");
			this.#filling = block;
			try {
				if (this.#isFilled) driver.upload(block.address, this.#host.bytes);
				await body();
				await weights.download(this.#host.bytes, block.address);
				this.#isFilled = true;
			} finally {
				this.#filling = void 0;
				store.allocator.free(block);
			}
		});
	}
	free() {
		this.#parts.stream.remove(this);
		this.#host.free();
	}
};
// src/engine/cuda/e4m3-matrix.ts
const ROW_MULTIPLE = 16;
var E4m3Matrix = class extends PackedMatrix {
	held = "f8_e4m3";
	ld;
	memory;
	constructor(store, rows, columns, maxParts, makeMemory = (bytes) => new ResidentMemory(store.allocator, bytes)) {
		super(store, rows, columns, maxParts);
		this.ld = roundUp(columns, ROW_MULTIPLE);
		this.memory = makeMemory((this.ld + 4) * rows);
	}
	codesAt(row) {
		return offset(this.memory.address, row * this.ld);
	}
	scalesAt(row) {
		return this.parts.some(({ block }) => block) ? void 0 : this.#scalesFrom(row);
	}
	get smallRows() {
		return this.columns === this.ld && this.scalesAt(0) ? 16 : 0;
	}
	smallBlocks(rows) {
		return rows <= 8 ? 4 : 2;
	}
	smallProduct(row, product) {
		const { y, x, n, a, lda, width, low, ready, target, activation, norm } = product;
		const { kernels } = this.store;
		const grid = this.smallGrid(product);
		const [codes, scales] = [this.codesAt(row), this.scalesAt(row)];
		const adapter = width > 0 ? this.adapterAt(row) : void 0;
		const [b, ldb] = [adapter?.address, adapter ? adapter.ld : 0];
		if (norm) kernels.launch(KERNELS.smallLinearNormE4m3, grid, {
			y: y.address,
			x: x.address,
			codes,
			scales,
			ldc: this.ld,
			a,
			lda,
			b,
			ldb,
			low,
			ready,
			N: n,
			K: this.columns,
			E: width,
			activation,
			target,
			sum: norm.sum,
			residual: norm.residual,
			normWeight: norm.weight,
			eps: norm.eps
		});
		else kernels.launch(ofWidth(KERNELS.smallLinearE4m3, x.rows <= 8 ? 8 : 16), grid, {
			y: y.address,
			x: x.address,
			codes,
			scales,
			ldc: this.ld,
			a,
			lda,
			b,
			ldb,
			low,
			ready,
			M: x.rows,
			N: n,
			K: this.columns,
			E: width,
			ldy: y.ld,
			ldx: x.ld,
			activation,
			target
		});
	}
	e4m3Rows(row) {
		const scales = this.scalesAt(row);
		return scales && {
			codes: this.codesAt(row),
			ld: this.ld,
			scales
		};
	}
	freeParts() {
		for (const { block } of this.parts) if (block) this.store.allocator.free(block);
	}
	widen({ out, ldo, first, rows, index, rank }, grid, b, ldb) {
		const codes = this.codesAt(0);
		const factors = this.ofParts((part) => this.#factorsOf(part), void 0);
		this.store.kernels.launch(KERNELS.widenE4m3, grid, {
			out,
			ldo,
			b,
			ldb,
			index,
			first,
			rows,
			K: this.columns,
			E: rank,
			codes,
			ldc: this.ld,
			factors,
			partRows: this.ofParts(({ row }) => row, this.rows),
			blockHeights: this.ofParts(({ blockRows }) => blockRows, 1),
			blockWidths: this.ofParts(({ blockColumns }) => blockColumns, 1),
			widths: this.ofParts(({ across }) => across, 1)
		});
	}
	target(row, rows) {
		const part = {
			row,
			rows,
			blockRows: 1,
			blockColumns: this.columns,
			across: 1,
			block: void 0
		};
		this.addPart(part);
		const { ld, columns } = this;
		this.store.driver.clearRows(offset(this.codesAt(row), columns), ld, ld - columns, rows);
		return {
			rows,
			columns,
			quantizes: true,
			holds: () => false,
			upload: () => void 0,
			convert: (stored) => this.#convert(part, stored),
			finish: (scale) => scale && this.#takeScale(part, scale)
		};
	}
	#convert({ row }, stored) {
		const { kernels } = this.store;
		const { rows, columns } = stored;
		const out = this.codesAt(row + stored.row);
		const flag = stored.flag;
		if (stored.scale) {
			const parameters = {
				out,
				x: stored.address,
				rows,
				columns,
				ldo: this.ld,
				flag
			};
			kernels.launch(KERNELS.e4m3Copy, grid2(rows, columns), parameters);
			return;
		}
		const { x, kind } = storedSource(stored);
		const scales = this.#scalesFrom(row + stored.row);
		kernels.launch(KERNELS.e4m3Quantize, [rows], {
			codes: out,
			scales,
			x,
			kind,
			columns,
			ldc: this.ld,
			flag
		});
	}
	#scalesFrom(row) {
		return offset(this.memory.address, this.ld * this.rows + 4 * row);
	}
	#factorsOf({ block, row }) {
		return block?.address ?? this.#scalesFrom(row);
	}
	#takeScale(part, { factors, block: [blockRows, blockColumns], across }) {
		const { allocator, driver, kernels } = this.store;
		if (across === 1) {
			const { rows } = part;
			const parameters = {
				scales: this.#scalesFrom(part.row),
				factors: factors.address,
				rows,
				blockRows
			};
			kernels.launch(KERNELS.expandScales, [Math.ceil(rows / 256)], parameters);
			return;
		}
		const bytes = 4 * across * Math.ceil(part.rows / blockRows);
		part.block = allocator.allocate(bytes, "weights", "weights");
		driver.copy(part.block.address, factors.address, bytes);
		Object.assign(part, {
			blockRows,
			blockColumns,
			across
		});
	}
};
// src/engine/cuda/host-rows.ts
const PIECE_BYTES$1 = 16 << 20;
var HostRows = class extends FrozenMatrix {
	smallRows = 0;
	#parts;
	#rowBytes;
	#host;
	constructor(parts, rows, columns) {
		super(rows, columns);
		this.#parts = parts;
		this.#rowBytes = ELEMENT_BYTES.bf16 * columns;
		this.#host = new Uint8Array(rows * this.#rowBytes);
	}
	get bytes() {
		return this.#host.length;
	}
	load(source, row, rows) {
		return this.#parts.weights.read(source, this.#host.subarray(row * this.#rowBytes, (row + rows) * this.#rowBytes));
	}
	gatherRows(row, ids) {
		const places = new Map();
		const index = ids.map((id) => {
			const place = places.get(id) ?? places.size;
			places.set(id, place);
			return place;
		});
		const rows = this.#upload([...places.keys()].map((id) => row + id));
		const out = this.#parts.store.gather(rows, index);
		this.#parts.store.release(rows);
		return out;
	}
	readRows(row, count) {
		return this.#upload(Array.from({ length: count }, (_, i) => row + i));
	}
	#upload(rows) {
		const { store, driver, staging } = this.#parts;
		const rowBytes = this.#rowBytes;
		const out = store.create([rows.length, this.columns]);
		const most = Math.max(1, Math.floor(PIECE_BYTES$1 / rowBytes));
		for (let first = 0; first < rows.length; first += most) {
			const piece = rows.slice(first, first + most);
			const block = staging.take(piece.length * rowBytes);
			for (const [i, row] of piece.entries()) block.pinned.bytes.set(this.#host.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes);
			const pitch = ELEMENT_BYTES.bf16 * out.ld;
			const bytes = block.pinned.bytes.subarray(0, piece.length * rowBytes);
			driver.uploadRows(offset(out.address, first * pitch), pitch, bytes, rowBytes, piece.length);
			staging.giveBack(block);
		}
		return out;
	}
	free() {
		this.#host = new Uint8Array(0);
	}
	product() {
		throw this.#refusal();
	}
	transposedProduct() {
		throw this.#refusal();
	}
	adapterProduct() {
		throw this.#refusal();
	}
	smallProduct() {
		throw this.#refusal();
	}
	target() {
		throw this.#refusal();
	}
	reserveAdapter() {
		throw this.#refusal();
	}
	adapterAt() {
		throw this.#refusal();
	}
	#refusal() {
		return new EngineError(`a table [${this.rows}, ${this.columns}] in host memory supports row lookups only, not products`, { hint: "It was loaded as an embedding table. createEngine('cuda', { cuda: { offload: 'none' } }) keeps all weights on the card." });
	}
};
// src/engine/cuda/host-weights.ts
const PIECE_BYTES = 32 << 20;
var HostWeights = class {
	#store;
	#driver;
	#staging;
	#stream;
	#turn = Promise.resolve();
	constructor(store, driver, staging, stream) {
		this.#store = store;
		this.#driver = driver;
		this.#staging = staging;
		this.#stream = stream;
	}
	async read(source, target) {
		if (source.dtype === "bf16") {
			for (let at = 0; at < target.length; at += PIECE_BYTES) await source.read(target.subarray(at, at + PIECE_BYTES), at);
			return;
		}
		await this.inTurn(() => this.#convert(source, target));
	}
	inTurn(body) {
		const done = this.#turn.then(body);
		this.#turn = done.catch(() => void 0);
		return done;
	}
	async download(target, from) {
		const event = this.#driver.createEvent();
		try {
			this.#driver.downloadAsync(target, from);
			this.#driver.recordEvent(event);
			await this.#staging.passed(event);
		} finally {
			this.#driver.destroyEvent(event);
		}
	}
	async #convert(source, target) {
		const columns = source.shape.at(-1);
		const rows = sizeOf(source.shape.slice(0, -1));
		const most = source.scale ? rows : Math.max(1, Math.floor(PIECE_BYTES / (DTYPE_BYTES[source.dtype] * columns)));
		for (let row = 0; row < rows; row += most) {
			const count = Math.min(most, rows - row);
			await this.#convertRows(rowsOf(source, row, count), columns, target.subarray(2 * row * columns));
		}
	}
	async #convertRows(source, columns, target) {
		const rows = source.shape[0];
		const matrix = new Bf16Matrix(this.#store, rows, columns, 0);
		const event = this.#driver.createEvent();
		try {
			await this.#stream.fill(matrix.target(0, rows), source);
			const rowBytes = ELEMENT_BYTES.bf16 * columns;
			const isPacked = matrix.paddedColumns === columns;
			const copies = isPacked ? 1 : rows;
			const bytes = isPacked ? rows * rowBytes : rowBytes;
			for (let i = 0; i < copies; i++) this.#driver.downloadAsync(target.subarray(i * rowBytes, i * rowBytes + bytes), matrix.address(i));
			this.#driver.recordEvent(event);
			await this.#staging.passed(event);
		} finally {
			this.#driver.destroyEvent(event);
			matrix.free();
		}
	}
};
function rowsOf(source, row, count) {
	const columns = source.shape.at(-1);
	const first = row * columns * DTYPE_BYTES[source.dtype];
	return {
		...source,
		shape: [count, columns],
		byteLength: count * columns * DTYPE_BYTES[source.dtype],
		read: (target, offset = 0) => source.read(target, first + offset)
	};
}
// src/engine/cuda/layer-stream.ts
var LayerStream = class {
	#driver;
	#slots;
	#layers = new Map();
	#places = new Map();
	#order = [];
	#current;
	#previous;
	#next = new Map();
	#tail;
	constructor(driver, slots) {
		this.#driver = driver;
		this.#tail = driver.createEvent();
		this.#slots = Array.from({ length: slots }, () => ({
			layer: void 0,
			parts: new Map(),
			left: driver.createEvent()
		}));
	}
	get isEmpty() {
		return this.#layers.size === 0;
	}
	get bytes() {
		let sum = 0;
		for (const { bytes } of this.#places.keys()) sum += bytes;
		return sum;
	}
	add(matrix) {
		const layer = this.#layers.get(matrix.layer) ?? new Map();
		let place = matrix.form;
		while (layer.has(place)) place += "'";
		for (const slot of this.#slots) {
			if (slot.parts.has(place)) continue;
			slot.parts.set(place, {
				matrix: matrix.makeSlot(),
				arrived: this.#driver.createEvent(),
				isPending: false
			});
			this.#driver.recordEvent(slot.left);
		}
		layer.set(place, matrix);
		this.#places.set(matrix, place);
		this.#layers.set(matrix.layer, layer);
		this.#order = [...this.#layers.keys()].sort((a, b) => a - b);
	}
	use(matrix) {
		if (matrix.layer !== this.#current) this.#turnTo(matrix.layer);
		const part = this.#slotOf(matrix.layer).parts.get(this.#places.get(matrix));
		if (part.isPending) this.#driver.waitEvent(part.arrived, this.#driver.stream);
		part.isPending = false;
		return part.matrix;
	}
	change(matrix, change) {
		const { stream, copyStream } = this.#driver;
		this.#driver.recordEvent(this.#tail, copyStream);
		this.#driver.waitEvent(this.#tail, stream);
		for (const slot of this.#slots) {
			change(slot.parts.get(this.#places.get(matrix)).matrix);
			slot.layer = void 0;
			this.#driver.recordEvent(slot.left);
		}
		this.#current = void 0;
	}
	remove(matrix) {
		this.#driver.recordEvent(this.#tail, this.#driver.copyStream);
		this.#driver.synchronizeEvent(this.#tail);
		const layer = this.#layers.get(matrix.layer);
		layer?.delete(this.#places.get(matrix));
		this.#places.delete(matrix);
		if (layer?.size === 0) this.#layers.delete(matrix.layer);
		for (const slot of this.#slots) slot.layer = void 0;
		this.#current = void 0;
		this.#order = this.#order.filter((index) => this.#layers.has(index));
		if (this.#layers.size > 0) return;
		for (const { parts } of this.#slots) {
			for (const part of parts.values()) {
				part.matrix.free();
				this.#driver.destroyEvent(part.arrived);
			}
			parts.clear();
		}
	}
	dispose() {
		for (const { left } of this.#slots.splice(0)) this.#driver.destroyEvent(left);
		this.#driver.destroyEvent(this.#tail);
	}
	#slotOf(layer) {
		return this.#slots.find((slot) => slot.layer === layer);
	}
	#turnTo(layer) {
		const [before, current] = [this.#previous, this.#current];
		if (current !== void 0) {
			const slot = this.#slotOf(current);
			if (slot) this.#driver.recordEvent(slot.left);
			this.#next.set(`${before},${current}`, layer);
		}
		this.#previous = current;
		this.#current = layer;
		if (!this.#slotOf(layer)) this.#fill(this.#free([layer]), layer);
		const wanted = [layer];
		let [from, at] = [current, layer];
		while (wanted.length < this.#slots.length) {
			const next = this.#foresee(from, at);
			if (next === void 0 || wanted.includes(next)) break;
			wanted.push(next);
			if (!this.#slotOf(next)) this.#fill(this.#free(wanted), next);
			[from, at] = [at, next];
		}
	}
	#foresee(from, at) {
		const known = this.#next.get(`${from},${at}`);
		if (known !== void 0) return known;
		const step = from === void 0 || from < at ? 1 : -1;
		return this.#order[this.#order.indexOf(at) + step];
	}
	#free(wanted) {
		return this.#slots.find(({ layer }) => layer === void 0) ?? this.#slots.find(({ layer }) => !wanted.includes(layer));
	}
	#fill(slot, layer) {
		const { copyStream } = this.#driver;
		this.#driver.waitEvent(slot.left, copyStream);
		slot.layer = layer;
		for (const [place, matrix] of this.#layers.get(layer)) {
			const part = slot.parts.get(place);
			matrix.copyTo(part.matrix, copyStream);
			this.#driver.recordEvent(part.arrived, copyStream);
			part.isPending = true;
		}
	}
};
// src/engine/cuda/nf4-matrix.ts
const MAP_SIZE = 256;
const TABLE_SIZE = 260;
const BLOCKS_A_LAUNCH = 8;
const ALIGNMENT = 16;
var Nf4Matrix = class extends PackedMatrix {
	held = "nf4";
	format;
	memory;
	#absmaxCodes;
	#absmax;
	#tables;
	#layouts = new Map();
	#taken = 0;
	#blocks;
	constructor(store, rows, columns, { maxParts, format }, makeMemory = (bytes) => new ResidentMemory(store.allocator, bytes)) {
		super(store, rows, columns, maxParts);
		this.format = format;
		const { blockSize, nestedBlockSize } = format;
		const unit = Math.max(1, nestedBlockSize);
		const slack = maxParts > 1 ? maxParts : 0;
		this.#blocks = roundUp(Math.ceil(rows * columns / blockSize), unit) + slack * unit;
		const codeBytes = roundUp(this.#blocks * blockSize / 2, ALIGNMENT);
		const absmaxCodeBytes = nestedBlockSize > 0 ? roundUp(this.#blocks, ALIGNMENT) : 0;
		const absmaxBytes = roundUp(4 * this.#blocks / unit, ALIGNMENT);
		const tableBytes = nestedBlockSize > 0 ? maxParts * 4 * TABLE_SIZE : 0;
		this.#absmaxCodes = codeBytes;
		this.#absmax = codeBytes + absmaxCodeBytes;
		this.#tables = this.#absmax + absmaxBytes;
		this.memory = makeMemory(this.#tables + tableBytes);
	}
	get layout() {
		const { address } = this.memory;
		const known = this.#layouts.get(address);
		if (known) return known;
		const isNested = this.format.nestedBlockSize > 0;
		const layout = {
			codes: address,
			absmaxCodes: isNested ? offset(address, this.#absmaxCodes) : void 0,
			absmax: offset(address, this.#absmax),
			tables: this.ofParts(({ table }) => isNested ? this.#tableAt(address, table) : void 0, void 0),
			partRows: this.ofParts(({ row }) => row, this.rows),
			partBlocks: this.ofParts(({ block }) => block, 0),
			blockShift: Math.log2(this.format.blockSize),
			nestedShift: Math.log2(Math.max(1, this.format.nestedBlockSize))
		};
		this.#layouts.set(address, layout);
		return layout;
	}
	get #pairRows() {
		return this.columns % 128 === 0 && this.format.nestedBlockSize !== 1 ? 4 : 0;
	}
	smallBlocks(rows) {
		return rows <= this.#pairRows ? 3 : rows <= 8 ? 4 : 2;
	}
	get smallNormColumns() {
		return this.#pairRows > 0 ? super.smallNormColumns : 0;
	}
	get smallRows() {
		return this.format.blockSize === 64 && this.columns % 64 === 0 ? 16 : 0;
	}
	smallProduct(row, product) {
		const { y, x, n, a, lda, width, low, ready, target, activation, norm } = product;
		const { kernels } = this.store;
		const grid = this.smallGrid(product);
		const { codes, absmaxCodes, absmax, tables, nestedShift, partRows, partBlocks } = this.layout;
		const adapter = width > 0 ? this.adapterAt(row) : void 0;
		const b = adapter?.address;
		const ldb = adapter ? adapter.ld : 0;
		if (norm) kernels.launch(KERNELS.smallLinearNormNf4, grid, {
			y: y.address,
			x: x.address,
			codes,
			absmaxCodes,
			absmax,
			tables,
			nestedShift,
			partRows,
			partBlocks,
			first: row,
			a,
			lda,
			b,
			ldb,
			low,
			ready,
			N: n,
			K: this.columns,
			E: width,
			activation,
			target,
			sum: norm.sum,
			residual: norm.residual,
			normWeight: norm.weight,
			eps: norm.eps
		});
		else kernels.launch(ofWidth(KERNELS.smallLinearNf4, x.rows <= this.#pairRows ? 4 : x.rows <= 8 ? 8 : 16), grid, {
			y: y.address,
			x: x.address,
			codes,
			absmaxCodes,
			absmax,
			tables,
			nestedShift,
			partRows,
			partBlocks,
			first: row,
			a,
			lda,
			b,
			ldb,
			low,
			ready,
			M: x.rows,
			N: n,
			K: this.columns,
			E: width,
			ldy: y.ld,
			ldx: x.ld,
			activation,
			target
		});
	}
	widen({ out, ldo, first, rows, index, rank }, grid, b, ldb) {
		this.store.kernels.launch(KERNELS.widenNf4, grid, {
			out,
			ldo,
			b,
			ldb,
			index,
			first,
			rows,
			K: this.columns,
			E: rank,
			...this.layout
		});
	}
	target(row, rows, stored) {
		const part = this.#addPart(row, rows);
		return stored ? this.#storedTarget(part, stored) : new QuantizedTarget(this, this.store, part);
	}
	codesAt({ block }, value) {
		return offset(this.memory.address, (block * this.format.blockSize + value) / 2);
	}
	absmaxAt({ block }) {
		const { nestedBlockSize } = this.format;
		return offset(this.memory.address, this.#absmax + 4 * block / Math.max(1, nestedBlockSize));
	}
	absmaxCodesAt({ block }) {
		if (this.format.nestedBlockSize === 0) return void 0;
		return offset(this.memory.address, this.#absmaxCodes + block);
	}
	tableAt({ table }) {
		return this.format.nestedBlockSize > 0 ? this.#tableAt(this.memory.address, table) : void 0;
	}
	#tableAt(address, table) {
		return offset(address, this.#tables + 4 * TABLE_SIZE * table);
	}
	#addPart(row, rows) {
		const { blockSize, nestedBlockSize } = this.format;
		const count = roundUp(Math.ceil(rows * this.columns / blockSize), Math.max(1, nestedBlockSize));
		const part = {
			row,
			rows,
			block: this.#taken,
			table: this.parts.length
		};
		this.addPart(part);
		this.#layouts.clear();
		this.#taken += count;
		return part;
	}
	#storedTarget(part, stored) {
		const { staging } = this.store;
		const { columns } = this;
		const { rows } = part;
		const blocks = Math.ceil(rows * columns / this.format.blockSize);
		if ("absmax" in stored) {
			requireLength(stored.absmax, blocks, "absmax");
			staging.upload(this.absmaxAt(part), stored.absmax);
		} else {
			requireLength(stored.codes, blocks, "codes of absmax");
			requireLength(stored.nestedAbsmax, Math.ceil(blocks / stored.nestedBlockSize), "nested absmax");
			requireLength(stored.map, MAP_SIZE, "values of the map");
			staging.upload(this.absmaxCodesAt(part), stored.codes);
			staging.upload(this.absmaxAt(part), stored.nestedAbsmax);
			staging.upload(this.tableAt(part), Float32Array.of(...stored.map, stored.offset));
		}
		return {
			rows,
			columns,
			rowMultiple: 2,
			holds: () => true,
			upload: (driver, first, _count, bytes, stream) => driver.upload(this.codesAt(part, first * columns), bytes, stream),
			convert: () => void 0
		};
	}
};
function requireLength({ length }, needed, what) {
	if (length === needed) return;
	throw new EngineError(`loadWeight: ${length} ${what} for 4-bit values, expected ${needed}`);
}
let nestedMap;
var QuantizedTarget = class {
	rows;
	columns;
	rowMultiple;
	quantizes = true;
	#matrix;
	#store;
	#part;
	#absmax;
	constructor(matrix, store, part) {
		this.rows = part.rows;
		this.columns = matrix.columns;
		this.#matrix = matrix;
		this.#store = store;
		this.#part = part;
		const { blockSize, nestedBlockSize } = matrix.format;
		this.rowMultiple = blockSize / powerOfTwoIn(this.columns, blockSize);
		if (nestedBlockSize > 0) this.#absmax = store.allocator.allocate(4 * this.#blocks, "weight conversion");
	}
	get #blocks() {
		return Math.ceil(this.rows * this.columns / this.#matrix.format.blockSize);
	}
	holds(_dtype) {
		return false;
	}
	upload() {}
	convert(stored) {
		const { blockSize } = this.#matrix.format;
		const n = stored.rows * stored.columns;
		const first = stored.row * stored.columns;
		const absmax = this.#absmax?.address ?? this.#matrix.absmaxAt(this.#part);
		this.#store.kernels.launch(KERNELS.nf4Quantize, [Math.ceil(n / blockSize / BLOCKS_A_LAUNCH)], {
			...storedSource(stored),
			codes: this.#matrix.codesAt(this.#part, first),
			absmax: offset(absmax, 4 * first / blockSize),
			n,
			blockSize
		});
	}
	finish() {
		const absmax = this.#absmax?.address;
		const table = this.#matrix.tableAt(this.#part);
		if (!absmax || !table) return;
		const { kernels } = this.#store;
		const n = this.#blocks;
		const blockSize = this.#matrix.format.nestedBlockSize;
		nestedMap ??= new DynamicMap(true);
		const map = nestedMap;
		this.#store.staging.upload(table, map.values);
		kernels.launch(KERNELS.absmaxMean, [1], {
			mean: offset(table, 4 * MAP_SIZE),
			x: absmax,
			n
		});
		const midpoints = this.#store.allocator.allocate(map.midpoints.byteLength, "weight conversion");
		this.#store.staging.upload(midpoints.address, map.midpoints);
		kernels.launch(KERNELS.absmaxQuantize, [Math.ceil(n / blockSize / BLOCKS_A_LAUNCH)], {
			codes: this.#matrix.absmaxCodesAt(this.#part),
			nested: this.#matrix.absmaxAt(this.#part),
			absmax,
			table,
			midpoints: midpoints.address,
			n,
			blockSize
		});
		this.#store.allocator.free(midpoints);
	}
	release() {
		if (this.#absmax) this.#store.allocator.free(this.#absmax);
		this.#absmax = void 0;
	}
};
function powerOfTwoIn(value, limit) {
	return Math.min(limit, value & -value);
}
// src/engine/cuda/streamed-matrix.ts
const BYTES = ELEMENT_BYTES.bf16;
var StreamedMatrix = class extends FrozenMatrix {
	smallRows = 16;
	layer;
	form;
	#parts;
	#host;
	#spare;
	#adapters;
	#placed = new Map();
	constructor(parts, layer, rows, columns, spare) {
		super(rows, columns);
		this.#parts = parts;
		this.layer = layer;
		this.form = `${rows}×${columns}`;
		this.#spare = spare;
		this.#host = pinnedForLayer(parts.driver, BYTES * rows * columns);
		try {
			parts.stream.add(this);
		} catch (error) {
			this.#host.free();
			throw error;
		}
	}
	get bytes() {
		return BYTES * this.rows * this.columns;
	}
	makeSlot() {
		return new Bf16Matrix(this.#parts.store, this.rows, this.columns, this.#spare);
	}
	copyTo(slot, stream) {
		slot.uploadAll(this.#parts.driver, this.#host.bytes, stream);
		this.#placed.clear();
	}
	load(source, row, rows) {
		const rowBytes = BYTES * this.columns;
		return this.#parts.weights.read(source, this.#host.bytes.subarray(row * rowBytes, (row + rows) * rowBytes));
	}
	product(row, x, y, rank = 0) {
		this.#copy(row, y.columns, rank).product(row, x, y, rank);
	}
	transposedProduct(row, dy, dx, rank = 0, beta = 0) {
		this.#copy(row, dy.columns, rank).transposedProduct(row, dy, dx, rank, beta);
	}
	adapterProduct(row, dy, du) {
		this.#copy(row, dy.columns, du.columns).adapterProduct(row, dy, du);
	}
	smallProduct(row, product) {
		const rows = product.activation < 0 ? product.n : 2 * product.n;
		this.#copy(row, rows, product.width).smallProduct(row, product);
	}
	gatherRows(row, ids) {
		return this.#parts.stream.use(this).gatherRows(row, ids);
	}
	bf16Rows(row, count) {
		return this.#parts.stream.use(this).bf16Rows(row, count);
	}
	readRows(row, count) {
		const { store, driver } = this.#parts;
		const out = store.create([count, this.columns]);
		const rowBytes = BYTES * this.columns;
		const bytes = this.#host.bytes.subarray(row * rowBytes, (row + count) * rowBytes);
		driver.uploadRows(out.address, BYTES * out.ld, bytes, rowBytes, count);
		return out;
	}
	target() {
		throw new EngineError("a streamed matrix is loaded by `load` into host memory, it has no rows on the device to fill");
	}
	reserveAdapter(columns) {
		if (this.#adapters && this.#spare >= columns) return;
		const { store, stream } = this.#parts;
		const spare = Math.max(this.#spare, columns);
		const block = store.allocator.allocate(BYTES * Math.max(1, this.rows * spare), "weights", "weights");
		if (spare > this.#spare) stream.change(this, (slot) => slot.reserveAdapter(spare));
		if (this.#adapters) store.allocator.free(this.#adapters);
		this.#adapters = block;
		this.#spare = spare;
		for (const adapter of this.adapters.values()) adapter.invalidate();
	}
	adapterAt(row) {
		return {
			address: offset(this.#adapters.address, BYTES * row * this.#spare),
			ld: this.#spare
		};
	}
	free() {
		this.#parts.stream.remove(this);
		if (this.#adapters) this.#parts.store.allocator.free(this.#adapters);
		this.#host.free();
	}
	#copy(row, rows, columns) {
		const { store, stream } = this.#parts;
		const slot = stream.use(this);
		if (columns === 0) return slot;
		const adapter = this.adapters.get(row);
		const placed = this.#placed.get(row);
		if (!adapter || placed?.adapter === adapter && placed.version === adapter.version) return slot;
		const [from, to] = [this.adapterAt(row), slot.adapterAt(row)];
		store.kernels.launch(KERNELS.copyBf16, grid2(rows, columns), {
			out: to.address,
			x: from.address,
			rows,
			columns,
			ldo: to.ld,
			ldx: from.ld
		});
		this.#placed.set(row, {
			adapter,
			version: adapter.version
		});
		return slot;
	}
};
// src/engine/cuda/weight-placement.ts
const SLOTS = 2;
const LEAST_TOKENS = 2560;
const USUAL_TOKENS = 4096;
const SAMPLE_TOKENS = 1024;
function placeWeights(sources, options) {
	const { offload, roomBytes, overheadBytes, trainingBytes } = options;
	const { fixed, lookup, scratch, layers } = sizesOf(sources, options.spareColumns);
	const order = [...layers.keys()].sort((a, b) => a - b);
	const slot = sum(formsOf([...layers.values()]).values());
	const held = (isLookedUpOnHost, streamed) => {
		const chosen = spread(order, streamed);
		let bytes = fixed + (isLookedUpOnHost ? 0 : lookup) + Math.min(streamed, SLOTS) * slot;
		for (const [layer, size] of layers) bytes += chosen.has(layer) ? size.adapters : size.bytes;
		return bytes;
	};
	const training = (tokens, offloadInputs) => scratch + trainingBytes(tokens, offloadInputs);
	if (offload === "none") return {
		embedding: false,
		layers: new Set(),
		slots: 0
	};
	if (offload !== "auto") {
		const { embedding = false, layers: count = 0 } = offload;
		const streamed = Math.min(count, order.length);
		return {
			embedding,
			layers: spread(order, streamed),
			slots: Math.min(SLOTS, streamed)
		};
	}
	const usual = training(USUAL_TOKENS);
	const embedding = held(false, 0) + usual > roomBytes;
	if (held(embedding, 0) + training(LEAST_TOKENS) <= roomBytes) return {
		embedding,
		layers: new Set(),
		slots: 0
	};
	for (let count = 3; count <= order.length; count++) if (held(true, count) + usual <= roomBytes) return {
		embedding: true,
		layers: spread(order, count),
		slots: SLOTS
	};
	const least = held(true, order.length);
	if (least > roomBytes) {
		const trains = Math.ceil(least + overheadBytes + training(SAMPLE_TOKENS, true));
		throw new OutOfMemoryError(`the weights do not fit: they need ${formatBytes(least)} on the card with ${order.length === 0 ? "no layer" : "every decoder layer"} streamed from host memory, and ${formatBytes(roomBytes)} are free`, {
			hint: `The smallest memoryBudget that loads them is ${formatBytes(least + overheadBytes)}; to train on samples of up to ${SAMPLE_TOKENS} tokens, ${formatBytes(trains)}.`,
			neededBytes: least,
			freeBytes: roomBytes,
			limitBytes: roomBytes,
			details: { smallestBudgetBytes: trains }
		});
	}
	const all = order.length > SLOTS ? order.length : 0;
	return {
		embedding: true,
		layers: spread(order, all),
		slots: Math.min(SLOTS, all)
	};
}
function streamedWithLess(sources, options) {
	const { roomBytes, overheadBytes } = options;
	const less = LESS_MEMORY * (roomBytes + overheadBytes) - overheadBytes;
	try {
		const { layers } = placeWeights(sources, {
			...options,
			roomBytes: less
		});
		const sizes = sizesOf(sources, options.spareColumns).layers;
		return sum([...layers].map((layer) => sizes.get(layer).bytes - sizes.get(layer).adapters));
	} catch (error) {
		if (!(error instanceof OutOfMemoryError)) throw error;
		return;
	}
}
function spread(order, count) {
	const share = (i) => Math.floor(i * count / Math.max(1, order.length));
	return new Set(order.filter((_, i) => share(i + 1) > share(i)));
}
function mayLeave(source) {
	const { shape, usage } = source;
	return usage !== void 0 && shape.length > 1 && (usage !== "lookup" || formatOf$1(source) === "bf16");
}
function formatOf$1({ dtype, hold }) {
	return hold?.format ?? (dtype === "nf4" ? "nf4" : "bf16");
}
function sizesOf(sources, spareColumns) {
	const sizes = {
		fixed: 0,
		lookup: 0,
		scratch: 0,
		layers: new Map()
	};
	for (const source of sources) {
		const bytes = bytesOf(source, spareColumns);
		const { usage, shape, stack } = source;
		const format = formatOf$1(source);
		const rows = sizeOf(shape.slice(0, -1));
		const spare = spareOf(source, spareColumns);
		if (format !== "bf16" && shape.length > 1) {
			const columns = roundUp(shape.at(-1), 8) + spare;
			sizes.scratch = Math.max(sizes.scratch, ELEMENT_BYTES.bf16 * (stack?.rows ?? rows) * columns);
		}
		if (usage === void 0 || !mayLeave(source)) sizes.fixed += bytes;
		else if (usage === "lookup") sizes.lookup += bytes;
		else {
			const layer = sizes.layers.get(usage.layer) ?? {
				bytes: 0,
				adapters: 0,
				forms: new Map()
			};
			sizes.layers.set(usage.layer, layer);
			const adapters = ELEMENT_BYTES.bf16 * rows * spare;
			layer.bytes += bytes;
			layer.adapters += adapters;
			let form = `${format} ${shape.join("×")}`;
			while (layer.forms.has(form)) form += "'";
			layer.forms.set(form, format === "bf16" ? bytes : bytes - adapters);
		}
	}
	return sizes;
}
function formsOf(layers) {
	return new Map(layers.flatMap(({ forms }) => [...forms]));
}
function sum(values) {
	return [...values].reduce((total, value) => total + value, 0);
}
const HELD_BYTES = {
	nf4: .5171875,
	f8_e4m3: 1
};
function spareOf({ stack }, spareColumns) {
	return spareColumns * (stack ? 3 : 1);
}
function bytesOf(source, spareColumns) {
	const { shape } = source;
	const columns = shape.at(-1) ?? 1;
	const rows = sizeOf(shape.slice(0, -1));
	if (shape.length < 2) return ELEMENT_BYTES.bf16 * columns;
	const spare = spareOf(source, spareColumns);
	const format = formatOf$1(source);
	if (format === "bf16") return ELEMENT_BYTES.bf16 * rows * (roundUp(columns, 8) + spare);
	return HELD_BYTES[format] * rows * columns + ELEMENT_BYTES.bf16 * rows * (spare + 2);
}
// src/engine/cuda/weights.ts
var DeviceWeight = class {
	name;
	shape;
	dtype;
	held;
	rows;
	columns;
	matrix;
	row;
	vector;
	constructor(name, shape, dtype, matrix, row) {
		this.name = name;
		this.shape = shape;
		this.dtype = dtype;
		this.columns = shape.at(-1) ?? 1;
		this.rows = sizeOf(shape.slice(0, -1));
		this.matrix = matrix;
		this.held = matrix.held;
		this.row = row;
		matrix.users++;
		matrix.places.add(row);
	}
};
var WeightStore = class extends HeldWeights {
	#store;
	#stream;
	#stacks = new Map();
	#spareColumns;
	#driver;
	#staging;
	#host;
	#places = new Map();
	#streams = new Set();
	#nextStreamedBytes;
	constructor(store, driver, staging, adapterRank, pieceBytes) {
		super();
		this.#store = store;
		this.#stream = new WeightStream(store, driver, staging, pieceBytes);
		this.#spareColumns = roundUp(adapterRank, 16);
		this.#driver = driver;
		this.#staging = staging;
		this.#host = new HostWeights(store, driver, staging, this.#stream);
	}
	get streamedBytes() {
		return [...this.#streams].reduce((sum, { bytes }) => sum + bytes, 0);
	}
	get nextStreamedBytes() {
		return this.#nextStreamedBytes;
	}
	place(sources, offload, trainingBytes) {
		const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#store.allocator.memory();
		const options = {
			offload,
			roomBytes: limitBytes - bytesInUse,
			overheadBytes: overheadBytes + bytesInUse,
			spareColumns: this.#spareColumns,
			trainingBytes
		};
		const { embedding, layers, slots } = placeWeights(sources, options);
		this.#nextStreamedBytes = offload === "auto" ? streamedWithLess(sources, options) : void 0;
		const stream = layers.size > 0 ? new LayerStream(this.#driver, slots) : void 0;
		if (stream) this.#streams.add(stream);
		for (const source of sources) {
			const { name, usage } = source;
			this.#places.delete(name);
			if (!mayLeave(source)) continue;
			if (usage === "lookup" && embedding) this.#places.set(name, "host rows");
			else if (typeof usage === "object" && stream && layers.has(usage.layer)) this.#places.set(name, {
				stream,
				layer: usage.layer
			});
		}
		return stream !== void 0;
	}
	async load(source) {
		requireBytes(source);
		const { name, shape, dtype } = source;
		const absmax = await source.quantState?.read();
		const format = formatOf(source, absmax);
		const columns = shape.at(-1) ?? 1;
		const rows = sizeOf(shape.slice(0, -1));
		const stacked = source.stack && this.#stack(source.stack, rows, columns, format, name);
		let matrix;
		if (stacked) matrix = stacked;
		else if (shape.length > 1) matrix = this.#matrix(rows, columns, 1, format, name);
		else matrix = new Bf16Matrix(this.#store, rows, columns, 0);
		const stored = dtype === "f8_e4m3" || dtype === "nf4" ? "bf16" : dtype;
		const weight = new DeviceWeight(name, [...shape], stored, matrix, stacked ? source.stack.row : 0);
		this.add(weight);
		const keep = (bytes) => {
			weight.vector = widen(bytes.slice(), stored);
		};
		this.#places.delete(name);
		try {
			const kept = shape.length === 1 ? keep : void 0;
			if (matrix instanceof StreamedMatrix || matrix instanceof HostRows) await matrix.load(source, weight.row, rows);
			else {
				const fill = () => this.#stream.fill(matrix.target(weight.row, rows, absmax), source, kept);
				await (matrix instanceof PackedMatrix ? matrix.memory.fill(fill) : fill());
			}
			return weight;
		} catch (error) {
			this.release(weight);
			throw error;
		}
	}
	async read(weight) {
		if (weight.vector) return weight.vector.slice();
		const { matrix, rows, columns } = weight;
		const wide = new Float32Array(rows * columns);
		const block = Math.max(1, Math.min(rows, Math.floor((1 << 24) / columns)));
		for (let row = 0; row < rows; row += block) {
			const narrow = matrix.readRows(weight.row + row, Math.min(block, rows - row));
			const part = this.#store.toF32(narrow);
			const values = this.#store.staging.download(part.address, 4 * part.size);
			this.#store.release(narrow);
			this.#store.release(part);
			wide.set(new Float32Array(await values.arrive()), row * columns);
		}
		return wide;
	}
	release(weight) {
		this.held.delete(weight);
		const { matrix } = weight;
		if (--matrix.users > 0) return;
		for (const adapter of [...matrix.adapters.values()]) adapter.dispose();
		for (const [name, stacked] of this.#stacks) if (stacked === matrix) this.#stacks.delete(name);
		matrix.copies?.free();
		matrix.free();
		if (!isStreamed(matrix)) return;
		for (const stream of this.#streams) if (stream.isEmpty && this.#streams.delete(stream)) stream.dispose();
	}
	dispose() {
		return this.#stream.dispose();
	}
	disposeHost() {
		const streamed = new Set([...this.held].map(({ matrix }) => matrix).filter(isStreamed));
		for (const matrix of streamed) matrix.free();
		for (const stream of this.#streams) stream.dispose();
		this.#streams.clear();
	}
	vector(weight, length, operation) {
		return this.useVector(weight, length, operation).matrix.address(0);
	}
	#stack(place, rows, columns, format, name) {
		const named = this.#stacks.get(place.name);
		const known = named?.places.has(place.row) ? void 0 : named;
		if (known && !isOfFormat(known, format)) return void 0;
		const matrix = known ?? this.#matrix(place.rows, columns, 3, format, name);
		if (matrix.columns !== columns || matrix.rows !== place.rows || place.row + rows > place.rows) throw new EngineError(`loadWeight: ${name} [${rows}, ${columns}] does not fit at row ${place.row} of the stack ${place.name} [${matrix.rows}, ${matrix.columns}]`);
		this.#stacks.set(place.name, matrix);
		return matrix;
	}
	get scratchBytes() {
		let most = 0;
		for (const { matrix } of this.held) most = Math.max(most, matrix.scratchBytes);
		return most;
	}
	#matrix(rows, columns, weights, format, name) {
		const spare = weights * this.#spareColumns;
		if (format === "bf16") return this.#wholeMatrix(rows, columns, spare, name);
		const maxParts = weights === 1 ? 1 : 4;
		const memory = this.#streamedMemory(name);
		const matrix = format === "f8_e4m3" ? new E4m3Matrix(this.#store, rows, columns, maxParts, memory) : new Nf4Matrix(this.#store, rows, columns, {
			maxParts,
			format
		}, memory);
		try {
			matrix.reserveAdapter(spare);
			return matrix;
		} catch (error) {
			matrix.free();
			throw error;
		}
	}
	#wholeMatrix(rows, columns, spare, name) {
		const place = this.#places.get(name);
		const shared = this.#shared;
		if (place === "host rows") return new HostRows(shared, rows, columns);
		if (!place) return new Bf16Matrix(this.#store, rows, columns, spare);
		return new StreamedMatrix({
			...shared,
			stream: place.stream
		}, place.layer, rows, columns, spare);
	}
	#streamedMemory(name) {
		const place = this.#places.get(name);
		if (typeof place !== "object") return void 0;
		return (bytes) => new StreamedMemory({
			...this.#shared,
			stream: place.stream
		}, place.layer, bytes);
	}
	get #shared() {
		return {
			store: this.#store,
			driver: this.#driver,
			staging: this.#staging,
			weights: this.#host
		};
	}
};
function isStreamed(matrix) {
	return matrix instanceof StreamedMatrix || matrix instanceof PackedMatrix && matrix.memory instanceof StreamedMemory;
}
function formatOf({ name, shape, dtype, quantState, hold }, absmax) {
	if (shape.length < 2) return "bf16";
	if (dtype === "nf4") {
		if (!quantState || !absmax) throw new EngineError(`loadWeight: ${name}: 4-bit values without a quant state`);
		if (hold && hold.format !== "nf4") throw new EngineError(`loadWeight: ${name} is stored as nf4 and cannot be held as ${hold.format}`);
		return nf4Format(name, quantState.blockSize, "codes" in absmax ? absmax.nestedBlockSize : 0);
	}
	if (hold?.format === "nf4") return nf4Format(name, hold.blockSize, hold.doubleQuantization ? 256 : 0);
	return hold?.format ?? "bf16";
}
function nf4Format(name, blockSize, nestedBlockSize) {
	for (const size of nestedBlockSize > 0 ? [blockSize, nestedBlockSize] : [blockSize]) {
		if (Number.isInteger(Math.log2(size)) && size >= 32 && size <= 4096) continue;
		throw new EngineError(`loadWeight: ${name}: blocks of ${size} values, expected a power of two from 32 to 4096`);
	}
	return {
		blockSize,
		nestedBlockSize
	};
}
function isOfFormat(matrix, format) {
	if (typeof format === "string") return (matrix.held ?? "bf16") === format;
	const { blockSize, nestedBlockSize } = matrix instanceof Nf4Matrix ? matrix.format : {
		...format,
		blockSize: 0
	};
	return blockSize === format.blockSize && nestedBlockSize === format.nestedBlockSize;
}
// src/engine/cuda/cuda-engine.ts
const optionsSchema = strictObject({
	device: int().nonnegative().optional(),
	memoryBudget: memoryBudgetSchema.optional(),
	rematerialize: boolean().optional(),
	tokensPerPass: int().nonnegative().optional(),
	offload: union([literal(["auto", "none"]), strictObject({
		embedding: boolean().optional(),
		layers: int().nonnegative().optional(),
		activations: boolean().optional()
	})]).optional(),
	adapterRank: int().nonnegative().optional()
});
const TOKENS_PER_PASS = 5120;
const STREAMED_TOKENS_PER_PASS = 8192;
var CudaEngine = class extends CountingEngine {
	name = "cuda";
	description;
	operations;
	tokensPerPass;
	heldFormats = ["nf4", "f8_e4m3"];
	precisions;
	e4m3Scales;
	#storage;
	#e4m3;
	#options;
	#parts;
	allocator;
	#staging;
	#activations;
	#products;
	#saved;
	#store;
	#weights;
	#disposeOperations;
	#sets = new Map();
	#matrixTflops;
	#pace;
	#loading = 0;
	#isDisposed = false;
	constructor(parts, options = {}) {
		const { driver, kernels, library, compilerVersion } = parts;
		const allocator = new DeviceAllocator(parts.memory, options.memoryBudget, parts.overhead);
		const staging = new Staging(driver);
		const products = new MatrixProducts(driver, library, allocator);
		const rematerialize = options.rematerialize ?? true;
		const activations = new ActivationOffload(driver, allocator);
		const store = new TensorStore({
			driver,
			kernels,
			allocator,
			products,
			staging,
			activations
		}, { rematerialize });
		super(store);
		this.#parts = parts;
		this.#options = options;
		this.tokensPerPass = options.tokensPerPass ?? TOKENS_PER_PASS;
		this.allocator = allocator;
		this.#staging = staging;
		this.#activations = activations;
		this.#pace = new Pace(driver, staging);
		this.#products = products;
		const made = `${driver.device.name} ${library.version}`;
		this.#saved = parts.loader && new SavedProducts(products, parts.loader, made);
		this.#store = store;
		const { name, capability, totalBytes, driverVersion } = driver.device;
		const { offload = "auto" } = options;
		const moves = typeof offload === "object" && offload.activations ? "always" : void 0;
		this.#storage = {
			elementBytes: 2,
			rematerializes: rematerialize,
			keepsMasks: true,
			logits: {
				most: MAX_LOGITS,
				bytes: 6
			},
			temporaries: 0,
			scratchBytes: 24 << 20,
			rowTile: 256,
			reserveBytes: 320 << 20,
			smallReserve: {
				bytes: 128 << 20,
				share: .1
			},
			offloadsInputs: offload === "auto" ? "auto" : moves
		};
		this.#weights = new WeightStore(store, driver, staging, options.adapterRank ?? 16);
		const scales = parts.e4m3Scales ?? e4m3ScalesOf(capability, library.version);
		this.e4m3Scales = scales;
		this.precisions = scales ? ["fp8-backward", "fp8"] : [];
		this.#e4m3 = new E4m3Products(store, scales, capability);
		const { operations, dispose } = cudaOperations(store, this.#weights, this.#sets, capability, this.#e4m3);
		this.operations = operations;
		this.#disposeOperations = dispose;
		const gigabytes = (totalBytes / 2 ** 30).toFixed(0);
		const cuda = `${Math.floor(driverVersion / 1e3)}.${Math.floor(driverVersion % 1e3 / 10)}`;
		this.description = `cuda: bfloat16, ${name} (sm_${capability}, ${gigabytes} GiB), driver for CUDA ${cuda}, NVRTC ${compilerVersion}, cuBLASLt ${library.version}`;
	}
	get storage() {
		const { streamedBytes, nextStreamedBytes } = this.#weights;
		const scratchBytes = this.#storage.scratchBytes + this.#weights.scratchBytes + this.#e4m3.scratchBytes;
		return {
			...this.#storage,
			scratchBytes,
			nextStreamedBytes,
			...streamedBytes > 0 ? { streamedBytes } : {}
		};
	}
	fromArray(data, shape) {
		requireFilled(data, shape, "fromArray");
		const tensor = this.#store.createF32(shape);
		this.#staging.upload(tensor.address, data);
		return tensor;
	}
	imagePatches(images) {
		return imagePatches(this.#store, images);
	}
	zeros(shape) {
		return this.#store.zeros(shape);
	}
	moveToHost(tensor) {
		this.#store.moveToHost(tensor);
	}
	prefetch(tensor) {
		this.#store.prefetch(tensor);
	}
	read(tensor) {
		return this.#store.read(tensor);
	}
	rowMaxima(matrix) {
		return rowMaxima(this.#store, matrix);
	}
	addInPlace(target, source) {
		const store = this.#store;
		const to = store.use(target, "addInPlace");
		if (to.isParameter || to.shape.length < 2) {
			if (sizeOf(source.shape) !== to.size) store.like(source, to, "addInPlace", "source");
			store.withF32(source, "addInPlace", (from) => store.addF32(to.address, from, to.size));
		} else {
			store.asBf16(to);
			store.add(to, to, store.like(source, to, "addInPlace", "source"));
		}
		store.forgetAhead(to);
		to.isTouched = true;
	}
	writeRows(target, source, rows) {
		const to = this.#store.matrix(target, "writeRows", "target");
		const from = this.#store.matrix(source, "writeRows", "source", {
			rows: rows.length,
			columns: to.columns
		});
		writeRows(this.#store, to, from, rows);
	}
	placeWeights(sources, trainingBytes) {
		const { offload = "auto", tokensPerPass } = this.#options;
		const isStreamed = this.#weights.place(sources, offload, trainingBytes);
		this.tokensPerPass = tokensPerPass ?? (isStreamed ? STREAMED_TOKENS_PER_PASS : this.tokensPerPass);
	}
	async loadWeight(source) {
		this.#loading++;
		let weight;
		try {
			weight = await this.#weights.load(source);
		} finally {
			this.#loading--;
		}
		if (this.#loading === 0) await this.#parts.prepared;
		return weight;
	}
	async readWeight(weight) {
		return this.#weights.read(this.#weights.use(weight, "readWeight"));
	}
	releaseWeight(weight) {
		this.#weights.release(this.#weights.use(weight, "releaseWeight"));
	}
	preparePrecision(weights, precision) {
		const known = weights.map((weight) => this.#weights.use(weight, "preparePrecision"));
		this.#e4m3.prepare(known, precision);
	}
	createParameters(specs) {
		const set = new CudaParameterSet(this.#store, specs);
		for (const parameter of set.parameters) this.#sets.set(parameter, set);
		return set;
	}
	async readParameters(set) {
		return this.read(this.#set(set).values);
	}
	writeParameters(set, values) {
		const known = this.#set(set);
		requireValues$1(known, values);
		noteChange(set);
		this.#staging.upload(known.values.address, values);
		known.version++;
	}
	async readGradients(set) {
		return this.read(this.#set(set).gradients);
	}
	zeroGradients(set) {
		noteChange(set);
		this.#set(set).zeroGradients();
	}
	releaseParameters(set) {
		requireNotTraining(set, "releaseParameters: the set");
		const known = this.#set(set);
		for (const parameter of known.parameters) this.#sets.delete(parameter);
		known.release();
	}
	createOptimizerState(set, kind) {
		return new CudaOptimizerState(this.#store, this.#set(set), kind);
	}
	optimizerStep(set, state, options) {
		requireOwnCall(set, options, "optimizerStep");
		return this.#state(set, state).step(options);
	}
	releaseOptimizerState(set, state) {
		if (!(state instanceof CudaOptimizerState)) return;
		state.release();
		this.#saved?.save(set);
	}
	prepareTraining(set) {
		return this.#saved?.load(set) ?? [];
	}
	readOptimizerState(set, state) {
		return this.#state(set, state).read();
	}
	writeOptimizerState(set, state, arrays) {
		this.#state(set, state).write(arrays);
	}
	areZero(set, of) {
		return zeroParameters(this.#store, this.#set(set), of);
	}
	keepPace() {
		return this.#pace.keep();
	}
	memory() {
		return this.allocator.memory();
	}
	resetPeak() {
		this.allocator.resetPeak();
	}
	matrixTflops() {
		if (this.#matrixTflops === void 0) {
			const { driver, library } = this.#parts;
			const context = {
				driver,
				allocator: this.allocator,
				products: this.#products,
				staging: this.#staging
			};
			this.#matrixTflops = matrixRate(context, driver.device.name, library.version);
		}
		return this.#matrixTflops;
	}
	synchronize() {
		this.#parts.driver.synchronize();
	}
	async dispose() {
		requireIdleEngine(this, "engine.dispose");
		if (this.#isDisposed) return;
		this.#isDisposed = true;
		const { driver, kernels } = this.#parts;
		await this.#weights.dispose();
		driver.synchronize();
		this.#weights.disposeHost();
		this.#disposeOperations();
		this.#e4m3.dispose();
		this.#products.dispose();
		this.#parts.loader?.dispose();
		this.#pace.dispose();
		this.#activations.dispose();
		this.#staging.dispose();
		kernels.dispose();
		this.allocator.dispose();
		driver.dispose();
	}
	#set(set) {
		return requireOwnSet(set, CudaParameterSet);
	}
	#state(set, state) {
		if (state instanceof CudaOptimizerState && state.set === this.#set(set)) return state;
		throw new EngineError("the optimizer state belongs to another parameter set or engine");
	}
};
function requireCudaOptions(options, what) {
	parseOptions(optionsSchema, options, what);
}
function createCudaEngine(options = {}, parts = {}) {
	requireCudaOptions(options, "cuda engine");
	const driver = new CudaDriver(options.device);
	try {
		const compiler = new KernelCompiler();
		const kernels = new Kernels(driver, compiler);
		const library = new CublasLt();
		const attention = usualAttentionPrograms(driver.device.capability, kernels.hasWarpgroups);
		const prepared = kernels.prepare([...PLAIN_PROGRAMS, ...attention]);
		return new CudaEngine({
			driver,
			memory: physicalMemory(driver),
			overhead: new Overhead(driver.process, driver.process.contextBytes),
			kernels,
			library,
			compilerVersion: compiler.version,
			loader: new KernelLoader(driver),
			prepared,
			...parts
		}, options);
	} catch (error) {
		driver.dispose();
		throw error;
	}
}
export { DeviceAllocator as a, placeWeights as i, createCudaEngine as n, Overhead as o, requireCudaOptions as r, roundUp as s, CudaEngine as t };
