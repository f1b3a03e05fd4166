import { a as custom } from "./zod-CVDjCv3S.js";
import { a as EngineError } from "./errors-D4G-NQir.js";
import { b as showValue } from "./config-BAD1VLMT.js";
import { u as sizeOf } from "./half-precision-CIC2zd88.js";
import { f as DynamicMap, p as BitView } from "./reserve-D5uVrLtm.js";
// src/engine/tensor.ts
function requireMatrix({ shape }, operation, what, { rows, columns } = {}) {
	const [r, c] = shape;
	if (shape.length === 2 && r === (rows ?? r) && c === (columns ?? c)) return;
	const expected = `[${rows ?? "any"}, ${columns ?? "any"}]`;
	throw new EngineError(`${operation}: ${what} has shape [${shape.join(", ")}], expected ${expected}`);
}
function requireFilled({ length }, shape, what) {
	if (length === sizeOf(shape)) return;
	throw new EngineError(`${what}: ${length} values do not fill the shape [${shape.join(", ")}]`);
}
// src/engine/counted-tensors.ts
let nextId = 1;
var CountedTensor = class {
	id = nextId++;
	shape;
	size;
	isParameter;
	references = 1;
	isFreed = false;
	isTouched = false;
	constructor(shape, isParameter) {
		this.shape = shape;
		this.size = sizeOf(shape);
		this.isParameter = isParameter;
	}
};
var CountedTensors = class {
	live = new Set();
	#kind;
	constructor(kind) {
		this.#kind = kind;
	}
	get mark() {
		return nextId;
	}
	use(tensor, operation, what) {
		return this.known(tensor, operation, what);
	}
	known(tensor, operation, what = "the tensor") {
		if (!tensor) throw new EngineError(`${operation}: ${what} is missing`);
		if (!(tensor instanceof this.#kind)) throw new EngineError(`${operation}: ${what} belongs to another engine`);
		if (!tensor.isFreed) return tensor;
		const name = `tensor #${tensor.id} [${tensor.shape.join(", ")}]`;
		throw new EngineError(`${operation}: ${name} is used after it was freed`, { hint: "Retain it, or make it outside the tape region that ended." });
	}
	matrix(tensor, operation, what, extents) {
		const known = this.use(tensor, operation, what);
		requireMatrix(known, operation, what, extents);
		return known;
	}
	like(tensor, model, operation, what) {
		const known = this.use(tensor, operation, what);
		if (known.shape.join() === model.shape.join()) return known;
		const expected = model.shape.join(", ");
		throw new EngineError(`${operation}: ${what} has shape [${known.shape.join(", ")}], expected [${expected}]`);
	}
	saved(tensor) {
		tensor.references = 0;
		return tensor;
	}
	shared(gradient, needs, counted = 0) {
		if (!gradient) return needs.map(() => void 0);
		const known = this.use(gradient, "gradient");
		known.references += needs.filter((need) => need).length - counted;
		return needs.map((need) => need ? known : void 0);
	}
	keep(tensor) {
		this.live.delete(tensor);
		return tensor;
	}
	retain(tensor) {
		this.known(tensor, "retain").references++;
	}
	release(tensor) {
		const known = this.known(tensor, "release");
		known.references--;
		if (known.references <= 0 && !known.isParameter) this.free(known);
	}
	releaseSince(id) {
		for (const tensor of [...this.live]) if (!tensor.isParameter && tensor.id >= id) this.free(tensor);
	}
	free(tensor) {
		tensor.isFreed = true;
		this.live.delete(tensor);
		this.drop(tensor);
	}
};
var CountingEngine = class {
	#tensors;
	constructor(tensors) {
		this.#tensors = tensors;
	}
	retain(tensor) {
		this.#tensors.retain(tensor);
	}
	release(tensor) {
		this.#tensors.release(tensor);
	}
	mark() {
		return this.#tensors.mark;
	}
	releaseSince(mark) {
		this.#tensors.releaseSince(mark);
	}
	[Symbol.asyncDispose]() {
		return this.dispose();
	}
};
// src/engine/engine.ts
function learningRateOf({ learningRate, learningRateFactors }, index) {
	return learningRateFactors ? learningRate * learningRateFactors[index] : learningRate;
}
// src/engine/parameter-layout.ts
function sizeOfAll(specs) {
	for (const { name, shape, initial } of specs) requireFilled(initial, shape, `createParameters: ${name}`);
	return specs.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
function layOut(specs, make) {
	let offset = 0;
	return specs.map((spec) => {
		const [shape, size] = [[...spec.shape], sizeOf(spec.shape)];
		const parameter = {
			name: spec.name,
			shape,
			size,
			offset,
			...make(spec, offset)
		};
		offset += size;
		return parameter;
	});
}
function requireOwnSet(set, kind) {
	if (!(set instanceof kind)) throw new EngineError("the parameter set belongs to another engine");
	if (set.isReleased) throw new EngineError("the parameter set is used after it was released");
	return set;
}
function requireValues({ size }, values) {
	if (values.length === size) return;
	throw new EngineError(`writeParameters: ${values.length} values for ${size} parameters`);
}
// src/engine/row-lists.ts
function checkRows(rows, count, operation) {
	for (const [i, row] of rows.entries()) if (row < 0 || row >= count) throw new EngineError(`${operation}: index ${row} at ${i} lies outside 0..${count - 1}`);
}
function checkDistinctRows(rows, count, operation) {
	checkRows(rows, count, operation);
	const seen = new Uint8Array(count);
	for (const row of rows) {
		if (seen[row]) throw new EngineError(`${operation}: row ${row} is listed twice`);
		seen[row] = 1;
	}
}
function repeatedPlaces(rows, count, operation) {
	const times = timesOf(rows, count, operation);
	return times.some((own) => own > 1) ? placesFrom(rows, times) : void 0;
}
function rowPlaces(rows, count, operation) {
	return placesFrom(rows, timesOf(rows, count, operation));
}
function timesOf(rows, count, operation) {
	checkRows(rows, count, operation);
	const times = new Int32Array(count);
	for (const row of rows) times[row]++;
	return times;
}
function placesFrom(rows, times) {
	const starts = new Int32Array(times.length + 1);
	for (const [row, own] of times.entries()) starts[row + 1] = starts[row] + own;
	const next = starts.slice();
	const places = new Int32Array(rows.length);
	for (const [i, row] of rows.entries()) places[next[row]++] = i;
	return {
		starts,
		places
	};
}
function checkRowWeights(weights, rows, operation) {
	if (!weights) return;
	if (weights.length !== rows) throw new EngineError(`${operation}: ${weights.length} weights for ${rows} rows`);
	const row = weights.findIndex((weight) => !Number.isFinite(weight));
	if (row >= 0) throw new EngineError(`${operation}: the weight of row ${row} is ${weights[row]}, expected a finite number`);
}
function checkAttention({ heads, kvHeads, headDim, segments }, queryRows, keyRows, maxHeadDim = Number.POSITIVE_INFINITY) {
	const { queryStarts, keyStarts, keyLengths } = segments;
	const fail = (message) => {
		throw new EngineError(`attention: ${message}`);
	};
	if (headDim < 1 || headDim > maxHeadDim) fail(`headDim is ${headDim}, expected 1 to ${maxHeadDim}`);
	if (kvHeads < 1 || heads % kvHeads !== 0) fail(`${heads} heads cannot share ${kvHeads} key heads evenly`);
	const count = keyStarts.length;
	if (queryStarts.length !== count + 1 || keyLengths.length !== count) fail(`${queryStarts.length} query starts, ${count} key starts and ${keyLengths.length} key lengths do not fit`);
	if (queryStarts[0] !== 0 || queryStarts[count] !== queryRows) fail(`query ranges cover ${queryStarts[0]}..${queryStarts[count]} of 0..${queryRows}`);
	for (let s = 0; s < count; s++) {
		if (queryStarts[s + 1] < queryStarts[s]) fail(`query range ${s} ends before it starts`);
		if (keyStarts[s] < 0 || keyLengths[s] < 0 || keyStarts[s] + keyLengths[s] > keyRows) fail(`key range ${s}, ${keyLengths[s]} rows from ${keyStarts[s]}, lies outside the ${keyRows} rows`);
	}
}
function checkNoise({ rowKeys, bounds }, rows) {
	if (rowKeys.length === rows && bounds.length === rows) return;
	throw new EngineError(`embedding: noise of ${rowKeys.length} keys and ${bounds.length} bounds for ${rows} rows`);
}
function patchOrder({ grids, merge }, patches) {
	const order = new Int32Array(patches);
	let at = 0;
	let first = 0;
	for (let image = 0; image < grids.length / 2; image++) {
		const [height, width] = [grids[2 * image], grids[2 * image + 1]];
		if (height % merge !== 0 || width % merge !== 0 || first + height * width > patches) throw new EngineError(`mergePatches: grid ${image} of ${height} × ${width} from row ${first} does not fit ${patches} rows and blocks of ${merge}`);
		for (let y = 0; y < height; y += merge) for (let x = 0; x < width; x += merge) for (let dy = 0; dy < merge; dy++) for (let dx = 0; dx < merge; dx++) order[at++] = first + (y + dy) * width + x + dx;
		first += height * width;
	}
	if (first !== patches) throw new EngineError(`mergePatches: the grids have ${first} patches, x has ${patches}`);
	return order;
}
function rowKeysOf(parts, rows) {
	let shared;
	for (const { lora, weight } of parts) {
		if (!lora || lora.dropout === 0) continue;
		const { dropout, rowKeys } = lora;
		if (!(dropout > 0 && dropout < 1)) throw new EngineError(`linear: dropout of ${weight.name} is ${dropout}, expected 0 <= p < 1`);
		if (rowKeys?.length !== rows) {
			const found = rowKeys ? `${rowKeys.length} row keys` : "no row keys";
			throw new EngineError(`linear: ${weight.name} has dropout ${dropout} and ${found}, expected ${rows}`, { hint: "Give rowKeys with a key for each row of x, or a dropout of 0." });
		}
		if (shared && shared !== rowKeys) throw new EngineError(`linear: ${weight.name} has other row keys than the parts before it, expected one array`);
		shared = rowKeys;
	}
	return shared;
}
// src/engine/rotary.ts
function rotaryHeads(columns, headDim) {
	if (headDim % 2 === 0 && columns % headDim === 0) return columns / headDim;
	throw new EngineError(`rotary: rows of ${columns} do not hold heads of ${headDim}, an even number`);
}
function rotaryByTensor(turn) {
	return {
		forward([q, k], attributes, record) {
			const outputs = [turn(q, attributes, true, 1), turn(k, attributes, false, 1)];
			const { cos, sin, queryScale } = attributes;
			return {
				outputs,
				saved: record ? [
					cos,
					sin,
					...queryScale ? [queryScale] : []
				] : []
			};
		},
		backward(_saved, [dq, dk], attributes, needs) {
			return [needs[0] && dq ? turn(dq, attributes, true, -1) : void 0, needs[1] && dk ? turn(dk, attributes, false, -1) : void 0];
		}
	};
}
// src/engine/cpu/optimizer.ts
function gradientNorm(grads) {
	let sum = 0;
	for (let i = 0; i < grads.length; i++) sum += grads[i] * grads[i];
	return Math.sqrt(sum);
}
function clipScale(norm, maxNorm) {
	if (!Number.isFinite(norm)) return NaN;
	return maxNorm === 0 ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}
function adamFactors({ step, learningRate, beta1, beta2, eps, weightDecay }) {
	return {
		decay: Math.fround(1 - learningRate * weightDecay),
		keep2: Math.fround(beta2),
		take1: Math.fround(1 - beta1),
		take2: Math.fround(1 - beta2),
		eps: Math.fround(eps),
		stepSize: Math.fround(-learningRate / (1 - beta1 ** step)),
		correction2: Math.fround(Math.sqrt(1 - beta2 ** step))
	};
}
function applyAdamW(values, grads, m, v, options, gradScale) {
	if (Number.isNaN(gradScale)) return;
	const scale = Math.fround(gradScale);
	const { decay, keep2, take1, take2, eps, stepSize, correction2 } = adamFactors(options);
	for (let i = 0; i < values.length; i++) {
		const g = Math.fround(grads[i] * scale);
		const first = Math.fround(m[i] + take1 * Math.fround(g - m[i]));
		const second = Math.fround(Math.fround(v[i] * keep2) + Math.fround(take2 * g) * g);
		const divisor = Math.fround(Math.fround(Math.fround(Math.sqrt(second)) / correction2) + eps);
		m[i] = first;
		v[i] = second;
		values[i] = Math.fround(values[i] * decay) + Math.fround(Math.fround(stepSize * first) / divisor);
	}
}
const BLOCK = 256;
const MIN_8BIT_SIZE = 4096;
let signedMap;
let unsignedMap;
var AdamW8bitState = class {
	slots;
	codesM;
	codesV;
	scalesM;
	scalesV;
	m;
	v;
	constructor(parameterSizes) {
		let codes = 0;
		let blocks = 0;
		let full = 0;
		this.slots = parameterSizes.map((size) => {
			const quantised = size >= MIN_8BIT_SIZE;
			const slot = {
				size,
				quantised,
				start: quantised ? codes : full,
				firstBlock: blocks
			};
			if (quantised) {
				codes += size;
				blocks += Math.ceil(size / BLOCK);
			} else full += size;
			return slot;
		});
		this.codesM = new Uint8Array(codes);
		this.codesV = new Uint8Array(codes);
		this.scalesM = new Float32Array(blocks);
		this.scalesV = new Float32Array(blocks);
		this.m = new Float32Array(full);
		this.v = new Float32Array(full);
	}
	toArrays() {
		const { codesM, codesV, scalesM, scalesV, m, v } = this;
		return {
			codesM,
			codesV,
			scalesM,
			scalesV,
			m,
			v
		};
	}
	fromArrays(arrays) {
		const own = this.toArrays();
		requireArrays(arrays, own);
		for (const [name, target] of Object.entries(own)) target.set(arrays[name]);
	}
};
function requireArrays(arrays, targets) {
	for (const [name, target] of Object.entries(targets)) requireArray(name, arrays[name], target.constructor, target.length);
}
function requireArray(name, array, type, length) {
	if (array instanceof type && array.length === length) return;
	const received = array ? `${array.constructor.name}(${array.length})` : "nothing";
	throw new EngineError(`writeOptimizerState: expected ${name} as ${type.name}(${length}), got ${received}`);
}
function applyAdamW8bit(values, grads, state, options, gradScale, steps) {
	if (Number.isNaN(gradScale)) return;
	signedMap ??= new DynamicMap(true);
	unsignedMap ??= new DynamicMap(false);
	const blockM = new Float32Array(BLOCK);
	const blockV = new Float32Array(BLOCK);
	const scaled = new BitView(BLOCK);
	let offset = 0;
	for (const [i, slot] of state.slots.entries()) {
		const end = offset + slot.size;
		const step = {
			...options,
			learningRate: learningRateOf(options, i),
			step: steps ? steps[i] : options.step
		};
		if (step.step === 0) {
			offset = end;
			continue;
		}
		if (slot.quantised) for (let first = offset, scale = slot.firstBlock; first < end; first += BLOCK, scale++) {
			const count = Math.min(BLOCK, end - first);
			const codes = slot.start + first - offset;
			expand(signedMap, state.codesM, codes, state.scalesM[scale], blockM, count);
			expand(unsignedMap, state.codesV, codes, state.scalesV[scale], blockV, count);
			updateRange(values, grads, first, count, blockM, blockV, 0, step, gradScale);
			state.scalesM[scale] = quantise(signedMap, state.codesM, codes, blockM, count, scaled);
			state.scalesV[scale] = quantise(unsignedMap, state.codesV, codes, blockV, count, scaled);
			keepSigns(signedMap, state.codesM, codes, blockM, count);
		}
		else updateRange(values, grads, offset, slot.size, state.m, state.v, slot.start, step, gradScale);
		offset = end;
	}
}
function updateRange(values, grads, first, count, m, v, from, options, gradScale) {
	const { step, learningRate, beta1, beta2, weightDecay } = options;
	const correction2 = Math.sqrt(1 - beta2 ** step);
	const stepSize = -learningRate * correction2 / (1 - beta1 ** step);
	const eps = correction2 * options.eps;
	const decay = 1 - learningRate * weightDecay;
	for (let i = 0; i < count; i++) {
		const g = Math.fround(grads[first + i] * gradScale);
		if (g - g !== 0) {
			m[from + i] = 0;
			v[from + i] = 0;
			continue;
		}
		const moment = Math.fround(beta1 * m[from + i] + (1 - beta1) * g);
		const second = Math.fround(beta2 * v[from + i] + (1 - beta2) * g * g);
		m[from + i] = moment;
		v[from + i] = second;
		values[first + i] = (values[first + i] + stepSize * moment / (Math.sqrt(second) + eps)) * decay;
	}
}
function expand(map, codes, from, scale, target, count) {
	const { values } = map;
	for (let i = 0; i < count; i++) target[i] = values[codes[from + i]] * scale;
}
function quantise(map, codes, from, source, count, scratch) {
	let scale = 0;
	for (let i = 0; i < count; i++) {
		const magnitude = Math.abs(source[i]);
		if (magnitude > scale) scale = magnitude;
	}
	if (scale === 0) return 0;
	const { floats } = scratch;
	for (let i = 0; i < count; i++) floats[i] = source[i] / scale;
	map.encode(scratch, count, codes, from);
	return scale;
}
function keepSigns(map, codes, from, source, count) {
	const zero = map.values.indexOf(0);
	for (let i = 0; i < count; i++) if (source[i] < 0 && codes[from + i] === zero) codes[from + i] = zero - 1;
}
// src/engine/held-weights.ts
var HeldWeights = class {
	held = new Set();
	add(weight) {
		this.held.add(weight);
		return weight;
	}
	takeAll() {
		const all = [...this.held];
		this.held.clear();
		return all;
	}
	take(weight, operation) {
		const known = this.use(weight, operation);
		this.held.delete(known);
		return known;
	}
	use(weight, operation) {
		if (this.held.has(weight)) return weight;
		throw new EngineError(`${operation}: the weight ${weight.name} is released, or belongs to another engine`);
	}
	useMatrix(weight, columns, operation) {
		const known = this.use(weight, operation);
		requireMatrix(known, operation, known.name, { columns });
		return known;
	}
	useVector(weight, length, operation) {
		const known = this.use(weight, operation);
		const { name, shape } = known;
		if (shape.length === 1 && shape[0] === length) return known;
		throw new EngineError(`${operation}: ${name} has shape [${shape.join(", ")}], expected [${length}]`);
	}
};
// src/engine/memory-budget.ts
const memoryBudgetSchema = custom((bytes) => typeof bytes === "number" && bytes > 0, { error: ({ input }) => `expected a number of bytes above 0, got ${showValue(input)}` });
export { requireFilled as A, requireOwnSet as C, CountedTensor as D, learningRateOf as E, CountedTensors as O, layOut as S, sizeOfAll as T, checkRows as _, applyAdamW as a, rowKeysOf as b, gradientNorm as c, rotaryByTensor as d, rotaryHeads as f, checkRowWeights as g, checkNoise as h, adamFactors as i, requireMatrix as j, CountingEngine as k, requireArray as l, checkDistinctRows as m, HeldWeights as n, applyAdamW8bit as o, checkAttention as p, AdamW8bitState as r, clipScale as s, memoryBudgetSchema as t, requireArrays as u, patchOrder as v, requireValues as w, rowPlaces as x, repeatedPlaces as y };
