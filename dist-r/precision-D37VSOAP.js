import { a as EngineError, d as TrainingError, l as OutOfMemoryError, m as reasonOf, n as ConfigError, r as DataError, t as CheckpointError, x as oneLine } from "./errors-D4G-NQir.js";
import { r as counterHash } from "./random-BGUvVUOv.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { t as firstLines } from "./short-list-DyTENnB8.js";
import { n as orAborted, r as IGNORE_INDEX } from "./or-aborted-C0Ixy3mg.js";
import { a as isTurnDue, n as eventLoopTurn } from "./event-loop-Cd695Vob.js";
import { o as widen, s as DTYPE_BYTES, u as sizeOf } from "./half-precision-CIC2zd88.js";
import { c as dequantizeRun, n as largestPass, o as dequantizeNf4, r as reserveFor, s as expandAbsmax, t as LESS_MEMORY, u as readScale } from "./reserve-D5uVrLtm.js";
import { createHash } from "node:crypto";
// src/data/pad-batch.ts
const unpadded = new WeakMap();
function unpaddedImages(batch) {
	return unpadded.get(batch);
}
function padBatch(samples, padTokenId, side, skipped = []) {
	const B = samples.length;
	const T = Math.max(0, ...samples.map((sample) => sample.inputIds.length));
	const inputIds = new Int32Array(B * T).fill(padTokenId);
	const attentionMask = new Int32Array(B * T);
	const labels = samples.every((sample) => sample.labels) ? new Int32Array(B * T).fill(IGNORE_INDEX) : void 0;
	samples.forEach((sample, b) => {
		const start = b * T + (side === "left" ? T - sample.inputIds.length : 0);
		inputIds.set(sample.inputIds, start);
		attentionMask.fill(1, start, start + sample.inputIds.length);
		if (sample.labels) labels?.set(sample.labels, start);
	});
	const images = samples.flatMap((sample) => sample.images);
	const batch = {
		inputIds: {
			data: inputIds,
			shape: [B, T]
		},
		attentionMask: {
			data: attentionMask,
			shape: [B, T]
		},
		...labels && { labels: {
			data: labels,
			shape: [B, T]
		} },
		sampleIds: samples.map((sample) => sample.id),
		...skipped.length > 0 && { skipped }
	};
	return images.length > 0 ? withImages(batch, images) : batch;
}
function withImages(batch, images) {
	const sizes = Int32Array.from(images.flatMap(({ height, width }) => [height, width]));
	let pixelValues;
	unpadded.set(batch, images);
	return Object.defineProperties(batch, {
		imageSizes: {
			value: {
				data: sizes,
				shape: [images.length, 2]
			},
			enumerable: true
		},
		pixelValues: {
			get: () => {
				const images = unpadded.get(batch);
				if (images) pixelValues = padImages(images);
				unpadded.delete(batch);
				return pixelValues;
			},
			enumerable: true
		}
	});
}
function padImages(images) {
	const N = images.length;
	const H = Math.max(...images.map((image) => image.height));
	const W = Math.max(...images.map((image) => image.width));
	const pixels = new Float32Array(N * 3 * H * W);
	images.forEach(({ pixelValues, height, width }, n) => {
		for (let c = 0; c < 3; c++) for (let y = 0; y < height; y++) {
			const from = (c * height + y) * width;
			pixels.set(pixelValues.subarray(from, from + width), ((n * 3 + c) * H + y) * W);
		}
	});
	return {
		data: pixels,
		shape: [
			N,
			3,
			H,
			W
		]
	};
}
// src/formats/held-source.ts
function dequantizedSource(source) {
	if (source.dtype === "f8_e4m3") return dequantizedE4m3(source);
	if (source.dtype === "nf4") return dequantizedNf4(source);
	return source;
}
function dequantizedE4m3(source) {
	const { name, shape, stack, byteLength } = source;
	requireWhole(source, sizeOf(shape));
	let scale;
	const tables = [];
	const read = async (target, offset = 0) => {
		scale ??= readScale(source);
		const factors = await scale;
		const codes = new Uint8Array(target.length / 2);
		await source.read(codes, offset / 2);
		const values = new Uint16Array(target.buffer, target.byteOffset, codes.length);
		dequantizeRun(codes, offset / 2, values, source, factors, tables);
	};
	return {
		name,
		shape,
		dtype: "bf16",
		byteLength: 2 * byteLength,
		stack,
		read
	};
}
function dequantizedNf4(source) {
	const { name, shape, stack, quantState } = source;
	const size = sizeOf(shape);
	requireWhole(source, Math.ceil(size / 2));
	if (!quantState) throw new CheckpointError(`${name}: 4-bit values came without their quant state`);
	let absmax;
	const read = async (target, offset = 0) => {
		absmax ??= quantState.read().then(expandAbsmax);
		const factors = await absmax;
		const values = new Uint16Array(target.buffer, target.byteOffset, target.length / 2);
		const start = offset / 2;
		const codes = new Uint8Array(Math.ceil((start + values.length) / 2) - Math.floor(start / 2));
		await source.read(codes, Math.floor(start / 2));
		if (start + values.length >= size) absmax = void 0;
		dequantizeNf4(codes, factors, quantState.blockSize, start, values);
	};
	return {
		name,
		shape,
		dtype: "bf16",
		byteLength: 2 * size,
		stack,
		read
	};
}
function requireWhole({ name, shape, dtype, byteLength }, needed) {
	if (byteLength === needed) return;
	throw new CheckpointError(`${name} has ${byteLength} bytes, [${shape.join(", ")}] of ${dtype} needs ${needed}`);
}
// src/model/tensor-names.ts
const PREFIXES = [
	["language_model.model.", "model.language_model."],
	["language_model.lm_head.", "lm_head."],
	["vision_tower.", "model.vision_tower."],
	["multi_modal_projector.", "model.multi_modal_projector."]
];
const ADAPTER_PREFIX = "base_model.model.";
function toMemoryName(name) {
	const found = PREFIXES.find(([disk]) => name.startsWith(disk));
	return found ? found[1] + name.slice(found[0].length) : name;
}
function toDiskName(name) {
	const found = PREFIXES.find(([, memory]) => name.startsWith(memory));
	return found ? found[0] + name.slice(found[1].length) : name;
}
function indexByMemoryName(storedNames) {
	const index = new Map();
	const repeated = [];
	for (const stored of storedNames) {
		const name = toMemoryName(stored);
		if (index.has(name)) repeated.push(oneLine(`${index.get(name)} and ${stored}`));
		index.set(name, stored);
	}
	if (repeated.length > 0) throw new CheckpointError(`tensors stored under both spellings of their name: ${repeated.join("; ")}`);
	return index;
}
function modelPart(name) {
	if (name.startsWith("model.language_model.")) return "language";
	if (name.startsWith("model.vision_tower.")) return "vision";
	if (name.startsWith("model.multi_modal_projector.")) return "projector";
	return "other";
}
function linearModuleName(tensorName, shape) {
	const name = toMemoryName(tensorName);
	if (!name.endsWith(".weight") || shape.length !== 2 || name.endsWith(".embed_tokens.weight")) return void 0;
	return name.slice(0, -7);
}
function adapterTensorName(moduleName, factor) {
	return `${ADAPTER_PREFIX}${moduleName}.lora_${factor}.weight`;
}
function parseAdapterTensorName(key) {
	const match = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.([^.]+))?\.weight$/.exec(key);
	if (!match) return void 0;
	const module = toMemoryName(match[1]);
	return {
		module,
		factor: match[2],
		old: module !== match[1],
		adapterName: match[3]
	};
}
// src/batch/dropout-keys.ts
const KINDS = {
	tokens: 608135816,
	patches: 2242054355,
	features: 320440878
};
function dropoutKeys({ seed, firstSample = 0 }, starts, images) {
	const samples = new Int32Array(starts.at(-1));
	const seeds = [];
	for (let b = 0; b + 1 < starts.length; b++) {
		samples.fill(b, starts[b], starts[b + 1]);
		seeds.push(counterHash(seed, firstSample + b));
	}
	const key = (kind, sample, place) => counterHash(seeds[sample] ^ KINDS[kind], place);
	const keyOfToken = (kind, row) => key(kind, samples[row], row - starts[samples[row]]);
	const patches = new Int32Array(images?.starts.at(-1) ?? 0);
	if (images) {
		const patchesOfToken = patches.length / images.tokenRows.length;
		let first = 0;
		for (let n = 0; n + 1 < images.starts.length; n++) {
			const [from, to] = [images.starts[n], images.starts[n + 1]];
			const sampleAt = (patch) => samples[images.tokenRows[patch / patchesOfToken]];
			if (sampleAt(from) !== sampleAt(first)) first = from;
			for (let p = from; p < to; p++) patches[p] = key("patches", sampleAt(from), p - first);
		}
	}
	return {
		tokens: Int32Array.from(samples, (_, row) => keyOfToken("tokens", row)),
		patches,
		features: Int32Array.from(images?.tokenRows ?? [], (row) => keyOfToken("features", row))
	};
}
// src/batch/packed-images.ts
function packImages(batch, tokenRows, { patchSize, mergeSize }) {
	const sizes = batch.imageSizes;
	const images = sizes && imagesOf(batch);
	if (!images) {
		if (tokenRows.length > 0) throw new DataError(`the text has ${tokenRows.length} image tokens but the batch has no pixelValues and imageSizes`);
		return;
	}
	const count = images.length;
	const side = patchSize * mergeSize;
	checkShape("imageSizes", sizes.shape, [count, 2]);
	const grids = new Int32Array(count * 2);
	const starts = new Int32Array(count + 1);
	let features = 0;
	for (const [n, { height, width }] of images.entries()) {
		const [h, w] = [sizes.data[2 * n], sizes.data[2 * n + 1]];
		if (h <= 0 || w <= 0 || h % side !== 0 || w % side !== 0 || h > height || w > width) throw new DataError(`image ${n} is ${h}×${w} (height×width): expected multiples of ${side} within pixelValues of ${height}×${width}`, { hint: "process images with the ImageProcessor of the same checkpoint" });
		grids[2 * n] = h / patchSize;
		grids[2 * n + 1] = w / patchSize;
		starts[n + 1] = starts[n] + h / patchSize * (w / patchSize);
		features += h / side * (w / side);
	}
	if (features !== tokenRows.length) throw new DataError(`${tokenRows.length} image tokens in the text, but the images give ${features} features`, { hint: `each image needs (height/${side})·(width/${side}) image tokens; truncation must not cut them` });
	return {
		images,
		patchSize,
		grids,
		starts,
		tokenRows
	};
}
function imagesOf(batch) {
	const unpadded = unpaddedImages(batch);
	if (unpadded) return unpadded.map(({ pixelValues, height, width }) => {
		return {
			pixels: pixelValues,
			offset: 0,
			channels: 3,
			height,
			width
		};
	});
	if (!batch.pixelValues) return void 0;
	const { data, shape } = batch.pixelValues;
	const [count, channels, height, width] = shape;
	return Array.from({ length: count }, (_, n) => {
		return {
			pixels: data,
			offset: n * channels * height * width,
			channels,
			height,
			width
		};
	});
}
function sliceImages({ images, patchSize, grids, starts, tokenRows, rowKeys, mergedRowKeys }, [first, end], [firstFeature, endFeature], firstToken) {
	const from = starts[first];
	return {
		images: images.slice(first, end),
		patchSize,
		grids: grids.subarray(2 * first, 2 * end),
		starts: starts.slice(first, end + 1).map((start) => start - from),
		tokenRows: tokenRows.subarray(firstFeature, endFeature).map((row) => row - firstToken),
		rowKeys: rowKeys?.subarray(from, starts[end]),
		mergedRowKeys: mergedRowKeys?.subarray(firstFeature, endFeature)
	};
}
function patchesLength({ images, patchSize, starts }) {
	return starts.at(-1) * (images[0]?.channels ?? 0) * patchSize ** 2;
}
function writePatches({ images, patchSize, grids }, patches) {
	let first = 0;
	for (const [n, { pixels, offset, channels, height, width }] of images.entries()) {
		const [rows, columns] = [grids[2 * n], grids[2 * n + 1]];
		const length = channels * patchSize ** 2;
		for (let c = 0; c < channels; c++) for (let y = 0; y < rows * patchSize; y++) {
			const row = Math.floor(y / patchSize);
			let from = offset + (c * height + y) * width;
			let to = first + row * columns * length + (c * patchSize + (y - row * patchSize)) * patchSize;
			for (let column = 0; column < columns; column++, to += length) for (let x = 0; x < patchSize; x++) patches[to + x] = pixels[from++];
		}
		first += rows * columns * length;
	}
}
function isSameImage(a, n, b, m) {
	const [rows, columns] = [a.grids[2 * n], a.grids[2 * n + 1]];
	if (a.patchSize !== b.patchSize || rows !== b.grids[2 * m] || columns !== b.grids[2 * m + 1]) return false;
	const [x, y] = [a.images[n], b.images[m]];
	if (x.name !== void 0) return x.name === y.name;
	if (x.channels !== y.channels) return false;
	if (x.height === y.height && x.width === y.width && x.pixels === y.pixels && x.offset === y.offset) return true;
	const [height, width] = [rows * a.patchSize, columns * a.patchSize];
	for (let c = 0; c < x.channels; c++) for (let row = 0; row < height; row++) {
		const line = ({ pixels, offset, height, width: stride }) => {
			const from = pixels.byteOffset + 4 * (offset + (c * height + row) * stride);
			return Buffer.from(pixels.buffer, from, 4 * width);
		};
		if (!line(x).equals(line(y))) return false;
	}
	return true;
}
function checkShape(name, shape, expected) {
	if (shape.length !== expected.length || shape.some((extent, i) => extent !== expected[i])) throw new DataError(`${name} has shape [${shape.join(", ")}], expected [${expected.join(", ")}]`);
}
// src/batch/packed-batch.ts
function packBatch(batch, options, dropout) {
	const [rows, columns] = batch.inputIds.shape;
	checkShape("attentionMask", batch.attentionMask.shape, [rows, columns]);
	if (batch.labels) checkShape("labels", batch.labels.shape, [rows, columns]);
	const inputIds = batch.inputIds.data;
	const mask = batch.attentionMask.data;
	const ids = [];
	const positions = [];
	const starts = new Int32Array(rows + 1);
	const labelRows = [];
	const labelTargets = [];
	const tokenRows = [];
	for (let b = 0; b < rows; b++) {
		for (let t = 0; t < columns; t++) {
			const at = b * columns + t;
			if (!mask[at]) continue;
			const id = inputIds[at];
			if (id < 0 || id >= options.vocabSize) throw new DataError(`token id ${id} of ${nameOf(batch, b)} is outside the model's vocabulary of ${options.vocabSize}`, { hint: "use the tokenizer of the same checkpoint" });
			const position = ids.length - starts[b];
			if (position > 0 && !mask[at - 1]) throw new DataError(`attentionMask of ${nameOf(batch, b)} has a hole before column ${t}; padding belongs to one side`);
			const label = batch.labels?.data[at] ?? -100;
			if (label !== -100 && position > 0) {
				if (label < 0 || label >= options.vocabSize) throw new DataError(`label ${label} of ${nameOf(batch, b)} is outside the model's vocabulary of ${options.vocabSize}`);
				labelRows.push(ids.length - 1);
				labelTargets.push(label);
			}
			if (id === options.imageTokenId) tokenRows.push(ids.length);
			ids.push(id);
			positions.push(position);
		}
		starts[b + 1] = ids.length;
	}
	const images = packImages(batch, Int32Array.from(tokenRows), options);
	const keys = dropout && dropoutKeys(dropout, starts, images);
	return {
		ids: Int32Array.from(ids),
		positions: Int32Array.from(positions),
		starts,
		labelRows: Int32Array.from(labelRows),
		labelTargets: Int32Array.from(labelTargets),
		rowKeys: keys?.tokens,
		images: images && {
			...images,
			rowKeys: keys?.patches,
			mergedRowKeys: keys?.features
		}
	};
}
function joinPacked(parts) {
	if (parts.length === 1) return parts[0];
	for (const part of parts) requireUnshared(part);
	const tokenOffsets = offsetsOf(parts.map(({ ids }) => ids.length));
	const shift = (values, by) => values.map((value) => value + by);
	const images = parts.flatMap((part, i) => part.images ? [{
		...part.images,
		offset: tokenOffsets[i]
	}] : []);
	const patchOffsets = offsetsOf(images.map(({ starts }) => starts.at(-1)));
	const joinStarts = (starts, offsets) => joinIntegers([Int32Array.of(0), ...starts.map((part, i) => shift(part.subarray(1), offsets[i]))]);
	return {
		ids: joinIntegers(parts.map(({ ids }) => ids)),
		positions: joinIntegers(parts.map(({ positions }) => positions)),
		starts: joinStarts(parts.map(({ starts }) => starts), tokenOffsets),
		labelRows: joinIntegers(parts.map(({ labelRows }, i) => shift(labelRows, tokenOffsets[i]))),
		labelTargets: joinIntegers(parts.map(({ labelTargets }) => labelTargets)),
		rowKeys: joinKeys(parts.map(({ rowKeys }) => rowKeys)),
		images: images.length === 0 ? void 0 : {
			images: images.flatMap((part) => part.images),
			patchSize: images[0].patchSize,
			grids: joinIntegers(images.map(({ grids }) => grids)),
			starts: joinStarts(images.map(({ starts }) => starts), patchOffsets),
			tokenRows: joinIntegers(images.map(({ tokenRows, offset }) => shift(tokenRows, offset))),
			rowKeys: joinKeys(images.map(({ rowKeys }) => rowKeys)),
			mergedRowKeys: joinKeys(images.map(({ mergedRowKeys }) => mergedRowKeys))
		}
	};
}
function requireUnshared({ sharedKeys }) {
	if (sharedKeys) throw new DataError("expected a packed batch in which each sample has its own tokens, got shared tokens");
}
function offsetsOf(lengths) {
	let sum = 0;
	return lengths.map((length) => {
		sum += length;
		return sum - length;
	});
}
function joinIntegers(parts) {
	const joined = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
	const offsets = offsetsOf(parts.map(({ length }) => length));
	for (const [i, part] of parts.entries()) joined.set(part, offsets[i]);
	return joined;
}
function joinKeys(parts) {
	const known = parts.filter((part) => part !== void 0);
	if (known.length === 0) return void 0;
	if (known.length === parts.length) return joinIntegers(known);
	throw new DataError(`${known.length} of ${parts.length} batches of a pass have dropout keys, expected all or none`);
}
function embeddingNoise(packed, alpha, columns) {
	const { rowKeys, starts } = packed;
	if (!alpha || !rowKeys) return void 0;
	requireUnshared(packed);
	const bounds = new Float32Array(rowKeys.length);
	for (let b = 0; b + 1 < starts.length; b++) {
		const [first, end] = [starts[b], starts[b + 1]];
		bounds.fill(alpha / Math.sqrt((end - first) * columns), first, end);
	}
	return {
		rowKeys,
		bounds
	};
}
function nameOf(batch, index) {
	return `sample ${oneLine(batch.sampleIds?.[index] ?? String(index))}`;
}
const NOTHING = {
	tokens: 0,
	patches: 0,
	features: 0,
	labels: 0
};
var SharedPrefixes = class {
	#samples;
	#extents;
	#common;
	#shareable;
	#sizes = new Map();
	isEmpty;
	constructor(samples) {
		const count = samples.length;
		this.#extents = samples.map(extentsOf);
		const common = new Int32Array(count * count);
		let most = 0;
		for (let b = 1; b < count; b++) for (let a = 0; a < b; a++) {
			const [one, other] = a === 0 ? [0, 0] : [common[a * count], common[b * count]];
			const length = one === other ? this.#compare(samples, a, b, one) : Math.min(one, other);
			common[b * count + a] = length;
			most = Math.max(most, length);
		}
		this.#common = common;
		this.isEmpty = most < 16;
		this.#shareable = common.map((length, at) => this.#shareableOf(samples, Math.floor(at / count), length));
		this.#samples = this.isEmpty ? samples : this.#withCommonKeys(samples);
	}
	sizeIn(pass) {
		const sum = { ...NOTHING };
		for (const [at, sample] of pass.entries()) {
			const shared = this.#sizeOf(sample, this.#sourceOf(sample, pass, at));
			sum.tokens += shared.tokens;
			sum.patches += shared.patches;
			sum.features += shared.features;
			sum.labels += shared.labels;
		}
		return sum;
	}
	join(pass) {
		const starts = new Int32Array(pass.length + 1);
		const rows = [];
		const labels = new LabelSet();
		let own = 0;
		let shared = 0;
		const joined = {
			...joinPacked(pass.map((sample, at) => {
				const whole = this.#samples[sample];
				const source = this.#sourceOf(sample, pass, at);
				const { tokens } = this.#sizeOf(sample, source);
				const keys = Int32Array.from(whole.ids, (_, t) => own + t - tokens);
				if (tokens > 0) keys.set(rows[pass.indexOf(source)].subarray(0, tokens));
				rows.push(keys);
				for (const [i, row] of whole.labelRows.entries()) labels.add(keys[row], whole.labelTargets[i]);
				own += whole.ids.length - tokens;
				shared += tokens;
				starts[at + 1] = starts[at] + keys.length;
				return this.#withoutFirst(sample, tokens);
			})),
			...labels.sorted()
		};
		if (shared === 0) return joined;
		const all = new Int32Array(starts.at(-1));
		for (const [at, keys] of rows.entries()) all.set(keys, starts[at]);
		return {
			...joined,
			sharedKeys: {
				rows: all,
				starts
			}
		};
	}
	#sourceOf(sample, pass, at) {
		let best;
		let most = 0;
		const row = sample * this.#samples.length;
		for (let i = 0; i < at; i++) {
			const tokens = this.#shareable[row + pass[i]];
			if (tokens <= most) continue;
			best = pass[i];
			most = tokens;
		}
		return best;
	}
	#sizeOf(sample, source) {
		if (source === void 0) return NOTHING;
		const key = sample * this.#samples.length + source;
		let size = this.#sizes.get(key);
		if (!size) {
			size = this.#measure(sample, source);
			this.#sizes.set(key, size);
		}
		return size;
	}
	#shareableOf(samples, sample, common) {
		if (common < 16) return 0;
		const most = Math.min(common, samples[sample].ids.length - 1);
		const cut = this.#extents[sample].find(({ firstToken, lastToken }) => firstToken < most && most <= lastToken);
		const tokens = cut ? cut.firstToken : most;
		return tokens < 16 ? 0 : tokens;
	}
	#measure(sample, source) {
		const tokens = this.#shareable[sample * this.#samples.length + source];
		if (tokens === 0) return NOTHING;
		const { labelRows, labelTargets } = this.#samples[sample];
		const last = this.#extents[sample].findLast(({ lastToken }) => lastToken < tokens);
		const other = this.#samples[source];
		const targets = new Map(Array.from(other.labelRows, (row, i) => [row, other.labelTargets[i]]));
		let labels = 0;
		for (let i = 0; i < labelRows.length && labelRows[i] < tokens; i++) if (targets.get(labelRows[i]) === labelTargets[i]) labels++;
		return {
			tokens,
			patches: last?.patches ?? 0,
			features: last?.features ?? 0,
			labels
		};
	}
	#withoutFirst(sample, tokens) {
		const whole = this.#samples[sample];
		const none = new Int32Array(0);
		if (tokens === 0) return {
			...whole,
			labelRows: none,
			labelTargets: none
		};
		const { images } = whole;
		const extents = this.#extents[sample];
		const first = extents.filter(({ lastToken }) => lastToken < tokens).length;
		const features = [extents[first - 1]?.features ?? 0, extents.at(-1)?.features ?? 0];
		return {
			ids: whole.ids.subarray(tokens),
			positions: whole.positions.subarray(tokens),
			starts: Int32Array.of(0, whole.ids.length - tokens),
			labelRows: none,
			labelTargets: none,
			rowKeys: whole.rowKeys?.subarray(tokens),
			images: images && first < extents.length ? sliceImages(images, [first, extents.length], features, tokens) : void 0
		};
	}
	#compare(samples, a, b, from) {
		const [one, other] = [samples[a], samples[b]];
		const most = Math.min(one.ids.length, other.ids.length);
		let length = from;
		while (length < most && one.ids[length] === other.ids[length]) length++;
		for (const [n, { firstToken, lastToken }] of this.#extents[b].entries()) {
			if (firstToken < from) continue;
			if (firstToken >= length) break;
			if (lastToken >= length || !isSameImage(one.images, n, other.images, n)) return firstToken;
		}
		return length;
	}
	#withCommonKeys(samples) {
		const known = [];
		for (const [b, sample] of samples.entries()) {
			const { rowKeys, images } = sample;
			const row = this.#common.subarray(b * samples.length, b * samples.length + b);
			const length = row.reduce((most, value) => Math.max(most, value), 0);
			if (!rowKeys || length < 16) {
				known.push(sample);
				continue;
			}
			const source = known[row.indexOf(length)];
			const last = this.#extents[b].findLast(({ lastToken }) => lastToken < length);
			const taken = (keys, from, count = 0) => {
				if (!keys || !from) return keys;
				const copy = keys.slice();
				copy.set(from.subarray(0, count));
				return copy;
			};
			known.push({
				...sample,
				rowKeys: taken(rowKeys, source.rowKeys, length),
				images: images && {
					...images,
					rowKeys: taken(images.rowKeys, source.images?.rowKeys, last?.patches),
					mergedRowKeys: taken(images.mergedRowKeys, source.images?.mergedRowKeys, last?.features)
				}
			});
		}
		return known;
	}
};
function extentsOf({ images }) {
	if (!images) return [];
	const { starts, tokenRows } = images;
	const patchesOfFeature = starts.at(-1) / tokenRows.length;
	return images.images.map((_, n) => {
		const patches = starts[n + 1];
		const features = patches / patchesOfFeature;
		return {
			firstToken: tokenRows[starts[n] / patchesOfFeature],
			lastToken: tokenRows[features - 1],
			patches,
			features
		};
	});
}
var LabelSet = class {
	#labels = [];
	#byRow = new Map();
	add(row, target) {
		const present = this.#byRow.get(row) ?? [];
		const same = present.find((label) => label.target === target);
		if (same) {
			same.weight++;
			return;
		}
		const label = {
			row,
			target,
			weight: 1
		};
		this.#labels.push(label);
		this.#byRow.set(row, [...present, label]);
	}
	sorted() {
		const sorted = this.#labels.sort((a, b) => a.row - b.row);
		const weights = sorted.some(({ weight }) => weight > 1) ? { labelWeights: Float32Array.from(sorted, ({ weight }) => weight) } : {};
		return {
			labelRows: Int32Array.from(sorted, ({ row }) => row),
			labelTargets: Int32Array.from(sorted, ({ target }) => target),
			...weights
		};
	}
};
// src/batch/packed-window.ts
function sizeOfPacked({ ids, labelRows, images }) {
	return {
		tokens: ids.length,
		patches: images?.starts.at(-1) ?? 0,
		features: images?.tokenRows.length ?? 0,
		labels: labelRows.length
	};
}
function sumOfSizes(sizes) {
	const sum = {
		tokens: 0,
		patches: 0,
		features: 0,
		labels: 0
	};
	for (const size of sizes) {
		sum.tokens += size.tokens;
		sum.patches += size.patches;
		sum.features += size.features;
		sum.labels += size.labels;
	}
	return sum;
}
const LARGEST_PART = 64;
function windowParts(samples) {
	if (samples.length <= LARGEST_PART) return [samples];
	const size = Math.ceil(samples.length / Math.ceil(samples.length / LARGEST_PART));
	const parts = [[]];
	for (let at = 0; at < samples.length;) {
		const { microBatch } = samples[at];
		let end = at + 1;
		while (end < samples.length && end - at < size && samples[end].microBatch === microBatch) end++;
		const { length } = parts.at(-1);
		if (length >= size || length + end - at > LARGEST_PART) parts.push([]);
		for (; at < end; at++) parts.at(-1).push(samples[at]);
	}
	return parts;
}
var PackedWindow = class {
	samples;
	#microBatches;
	#parts;
	#firsts;
	#shared;
	constructor(microBatches, { sharePrefix = false, isOnePass = false } = {}) {
		this.#microBatches = microBatches;
		this.#parts = microBatches.map(splitPacked);
		this.samples = this.#parts.flatMap((parts, microBatch) => parts.map((part, row) => ({
			microBatch,
			row,
			size: sizeOfPacked(part)
		})));
		let count = 0;
		this.#firsts = this.#parts.map((parts) => {
			count += parts.length;
			return count - parts.length;
		});
		const all = this.#parts.flat();
		let end = 0;
		const shared = (isOnePass ? [this.samples] : windowParts(this.samples)).map(({ length }) => {
			end += length;
			return {
				first: end - length,
				end,
				prefixes: new SharedPrefixes(sharePrefix ? all.slice(end - length, end) : [])
			};
		});
		this.#shared = shared.some(({ prefixes }) => !prefixes.isEmpty) ? shared : [];
	}
	get size() {
		return sumOfSizes(this.samples.map(({ size }) => size));
	}
	sizeOf(samples) {
		const sum = sumOfSizes(samples.map(({ size }) => size));
		const shared = this.#sharing(samples, (prefixes, places) => prefixes.sizeIn(places));
		if (!shared || shared.tokens === 0) return sum;
		return {
			tokens: sum.tokens - shared.tokens,
			patches: sum.patches - shared.patches,
			features: sum.features - shared.features,
			labels: sum.labels - shared.labels,
			keys: sum.tokens
		};
	}
	join(samples) {
		const shared = this.#sharing(samples, (prefixes, places) => prefixes.join(places));
		if (shared) return shared;
		const first = samples[0];
		const whole = this.#microBatches[first.microBatch];
		return samples.length === this.#parts[first.microBatch].length && samples.every(({ microBatch }) => microBatch === first.microBatch) ? whole : joinPacked(samples.map(({ microBatch, row }) => this.#parts[microBatch][row]));
	}
	#sharing(samples, ask) {
		if (this.#shared.length === 0 || samples.length === 0) return void 0;
		const places = samples.map(({ microBatch, row }) => this.#firsts[microBatch] + row);
		const { first, end, prefixes } = this.#shared.find((part) => places[0] < part.end);
		if (places.some((place) => place < first || place >= end)) throw new TrainingError("expected samples of one part of the window in a pass, got samples of several parts");
		return ask(prefixes, places.map((place) => place - first));
	}
};
function sharePrefixes(packed) {
	if (packed.starts.length <= 2) return packed;
	const window = new PackedWindow([packed], {
		sharePrefix: true,
		isOnePass: true
	});
	return window.join(window.samples);
}
function splitPacked(packed) {
	requireUnshared(packed);
	const { ids, positions, starts, labelRows, labelTargets, rowKeys, images } = packed;
	const patchesOfFeature = images ? images.starts.at(-1) / images.tokenRows.length : 1;
	let label = 0;
	let image = 0;
	let feature = 0;
	return Array.from({ length: starts.length - 1 }, (_, b) => {
		const [first, end] = [starts[b], starts[b + 1]];
		const firstLabel = label;
		while (label < labelRows.length && labelRows[label] < end) label++;
		const [firstImage, firstFeature] = [image, feature];
		while (images && image < images.starts.length - 1 && images.tokenRows[feature] < end) {
			feature += (images.starts[image + 1] - images.starts[image]) / patchesOfFeature;
			image++;
		}
		return {
			ids: ids.subarray(first, end),
			positions: positions.subarray(first, end),
			starts: Int32Array.of(0, end - first),
			labelRows: labelRows.subarray(firstLabel, label).map((row) => row - first),
			labelTargets: labelTargets.subarray(firstLabel, label),
			rowKeys: rowKeys?.subarray(first, end),
			images: images && image > firstImage ? sliceImages(images, [firstImage, image], [firstFeature, feature], first) : void 0
		};
	});
}
// src/engine/tape.ts
const STRETCH = 16;
const OPERATIONS = {
	attentionBlock: 4,
	gatedBlock: 4
};
var Tape = class Tape {
	engine;
	#record;
	#entries = [];
	#needsGradient = new Set();
	#regions = [[]];
	constructor(engine, options = {}) {
		this.engine = engine;
		this.#record = options.record ?? true;
	}
	apply(name, inputs, attributes) {
		const entry = this.engine.operations[name];
		if ("compose" in entry) return runAtOnce(this.applySteps(name, inputs, attributes));
		return this.#run(entry, name, inputs, attributes);
	}
	*applySteps(name, inputs, attributes) {
		const entry = this.engine.operations[name];
		if (!("compose" in entry)) return this.#run(entry, name, inputs, attributes);
		if (this.#record) this.#isRecorded(name, inputs, attributes);
		return yield* entry.compose(this, inputs, attributes);
	}
	#run(entry, name, inputs, attributes) {
		const record = this.#record && this.#isRecorded(name, inputs, attributes);
		const { outputs, saved } = entry.forward(inputs, attributes, record);
		for (const output of outputs) this.own(output);
		if (!record) return outputs;
		const needs = inputs.map((input) => this.#needsGradient.has(input.id));
		for (const tensor of saved) this.engine.retain(tensor);
		for (const output of outputs) this.#needsGradient.add(output.id);
		this.#entries.push({
			operations: OPERATIONS[name] ?? 1,
			inputs,
			needs,
			outputs,
			saved,
			backward: (gradients) => entry.backward(saved, gradients, attributes, needs)
		});
		return outputs;
	}
	#isRecorded(name, inputs, attributes) {
		const isRecorded = inputs.some((input) => this.#needsGradient.has(input.id)) || hasTrainable(name, attributes);
		if (isRecorded && attributes.cache) throw new EngineError(`${name}: no gradient flows through a key/value cache`, { hint: "Give the cache to a pass on a tape that does not record." });
		return isRecorded;
	}
	own(tensor) {
		this.#regions[this.#regions.length - 1].push(tensor);
		return tensor;
	}
	forget(tensor) {
		const region = this.#regions[this.#regions.length - 1];
		const at = region.lastIndexOf(tensor);
		if (at < 0) return;
		region.splice(at, 1);
		this.engine.release(tensor);
	}
	needsGradient(tensor) {
		return this.#needsGradient.has(tensor.id);
	}
	region(inputs, body, options = {}) {
		const steps = function* (tape, given) {
			return body(tape, given);
		};
		return runAtOnce(this.regionSteps(inputs, steps, options));
	}
	*regionSteps(inputs, body, options = {}) {
		if (!options.recompute || !this.#record) {
			this.#regions.push([]);
			let kept = [];
			try {
				kept = yield* body(this, inputs);
				return kept;
			} finally {
				this.#closeRegion(kept);
			}
		}
		const inner = new Tape(this.engine, { record: false });
		const outputs = yield* inner.regionSteps(inputs, body);
		for (const output of inner.#regions[0]) this.own(output);
		for (const output of outputs) this.#needsGradient.add(output.id);
		for (const input of inputs) this.engine.retain(input);
		const needs = inputs.map((input) => this.#needsGradient.has(input.id));
		const { engine } = this;
		const backward = function* (gradients) {
			const again = new Tape(engine);
			try {
				for (const [i, input] of inputs.entries()) if (needs[i]) again.#needsGradient.add(input.id);
				const repeated = yield* again.regionSteps(inputs, body);
				const steps = again.#propagate(repeated, gradients, inputs, needs);
				for (let next = steps.next();; next = steps.next()) {
					if (next.done) return next.value;
					if (isTurnDue()) yield 0;
				}
			} finally {
				again.dispose();
			}
		};
		const { offload: offloaded = [] } = options;
		this.#entries.push({
			operations: STRETCH,
			inputs,
			needs,
			outputs,
			saved: inputs,
			offloaded,
			backward
		});
		for (const tensor of offloaded) engine.moveToHost?.(tensor);
		return outputs;
	}
	backward(loss) {
		runAtOnce(this.#backwardSteps(loss));
	}
	async backwardInStretches(loss, pause) {
		let done = 0;
		for (const operations of this.#backwardSteps(loss)) {
			done += operations;
			if (done < STRETCH && !isTurnDue()) continue;
			done = 0;
			await pause();
		}
	}
	*#backwardSteps(loss) {
		const one = this.engine.fromArray(Float32Array.of(1), loss.shape);
		try {
			yield* this.#propagate([loss], [one], [], []);
		} finally {
			this.engine.release(one);
		}
	}
	dispose() {
		for (const entry of this.#entries) for (const tensor of entry.saved) this.engine.release(tensor);
		for (const region of this.#regions) for (const tensor of region) this.engine.release(tensor);
		this.#entries = [];
		this.#regions.splice(0, this.#regions.length, []);
		this.#needsGradient.clear();
	}
	#closeRegion(kept) {
		const made = this.#regions.pop();
		const outer = this.#regions[this.#regions.length - 1];
		const keep = new Set(kept);
		for (const tensor of made) if (keep.has(tensor)) outer.push(tensor);
		else this.engine.release(tensor);
	}
	*#propagate(outputs, outputGradients, inputs, needs) {
		const engine = this.engine;
		const gradients = new Map();
		const borrowed = new Set();
		const add = (target, gradient) => {
			const present = gradients.get(target.id);
			if (!present) {
				gradients.set(target.id, gradient);
				return;
			}
			let holders = 0;
			for (const other of gradients.values()) if (other.id === present.id) holders++;
			if (holders > 1 || borrowed.has(present.id)) {
				gradients.set(target.id, engine.operations.add.forward([present, gradient], {}, false).outputs[0]);
				engine.release(present);
			} else engine.addInPlace(present, gradient);
			engine.release(gradient);
		};
		try {
			for (const [i, gradient] of outputGradients.entries()) {
				if (!gradient) continue;
				engine.retain(gradient);
				borrowed.add(gradient.id);
				add(outputs[i], gradient);
			}
			while (this.#entries.length > 0) {
				const entry = this.#entries.pop();
				try {
					for (const tensor of this.#entries.at(-1)?.offloaded ?? []) engine.prefetch?.(tensor);
					const incoming = entry.outputs.map((output) => gradients.get(output.id));
					if (incoming.some((gradient) => gradient !== void 0)) {
						const made = entry.backward(incoming);
						const results = isSteps(made) ? yield* made : made;
						for (const output of entry.outputs) {
							const used = gradients.get(output.id);
							if (used && !inputs.includes(output)) {
								gradients.delete(output.id);
								engine.release(used);
							}
						}
						for (const [i, gradient] of results.entries()) if (gradient) add(entry.inputs[i], gradient);
					}
				} finally {
					for (const tensor of entry.saved) engine.release(tensor);
				}
				yield entry.operations;
			}
			return inputs.map((input, i) => {
				const gradient = needs[i] ? gradients.get(input.id) : void 0;
				if (gradient) gradients.delete(input.id);
				return gradient;
			});
		} finally {
			for (const gradient of gradients.values()) engine.release(gradient);
			this.dispose();
		}
	}
};
function runAtOnce(steps) {
	for (;;) {
		const { done, value } = steps.next();
		if (done) return value;
	}
}
function isSteps(made) {
	return typeof made.next === "function";
}
function hasTrainable(name, attributes) {
	const has = (parts) => parts.some((part) => part.lora !== void 0);
	if (name === "linear") return has(attributes.parts);
	if (name === "attentionBlock") return has(attributes.projections);
	if (name !== "gatedBlock") return false;
	const { gateUp, down } = attributes;
	return has([...gateUp, down]);
}
// src/engine/computation.ts
const ends = new WeakMap();
async function exclusively(engine, signal, body) {
	signal?.throwIfAborted();
	const before = ends.get(engine);
	let end;
	const own = new Promise((resolve) => {
		end = resolve;
	});
	const last = before ? before.then(() => own) : own;
	ends.set(engine, last);
	try {
		if (before) await orAborted(before, signal);
		return await body();
	} finally {
		end();
		if (ends.get(engine) === last) ends.delete(engine);
	}
}
async function runPass(engine, options, body) {
	const pass = new Pass(engine, options);
	try {
		pass.requireParts();
		await body(pass);
		pass.tape.dispose();
	} catch (error) {
		pass.abandon();
		throw error;
	}
}
async function infer(engine, options, body, read = (result) => engine.read(result)) {
	const result = await exclusively(engine, options.signal, async () => {
		const pass = new Pass(engine, options);
		const steps = body(pass.tape);
		try {
			pass.requireParts();
			let next = steps.next();
			for (; !next.done; next = steps.next()) await pass.pause();
			engine.retain(next.value);
			pass.tape.dispose();
			return next.value;
		} catch (error) {
			pass.abandon(steps);
			throw error;
		}
	});
	try {
		return await read(result);
	} finally {
		engine.release(result);
	}
}
var Pass = class {
	tape;
	#engine;
	#options;
	constructor(engine, options) {
		this.#engine = engine;
		this.#options = options;
		this.tape = new Tape(engine, { record: options.record ?? false });
	}
	requireParts() {
		this.#options.signal?.throwIfAborted();
		this.#options.requireParts?.();
	}
	async run(steps) {
		try {
			let next = steps.next();
			for (; !next.done; next = steps.next()) await this.pause();
			return next.value;
		} catch (error) {
			this.abandon(steps);
			throw error;
		}
	}
	backward(loss) {
		return this.tape.backwardInStretches(loss, () => this.pause());
	}
	async pause() {
		await this.#engine.keepPace?.();
		await eventLoopTurn();
		this.requireParts();
	}
	abandon(steps) {
		try {
			steps?.return(void 0);
			this.tape.dispose();
		} catch {}
	}
};
// src/model/network/base-digest.ts
const PIECES = 16;
const PIECE_ELEMENTS = 512;
var BaseDigest = class {
	#tensors = new Map();
	#isWhole = true;
	watch(source) {
		const { name, shape, dtype, byteLength } = source;
		const width = DTYPE_BYTES[dtype];
		const pieces = piecesOf(dtype === "nf4" ? sizeOf(shape) : byteLength / width, width);
		const seen = blockOf(pieces.map(({ bytes }) => bytes.length));
		const read = async (target, offset = 0) => {
			await source.read(target, offset);
			for (const [i, { from, bytes }] of pieces.entries()) {
				const start = Math.max(from, offset);
				const end = Math.min(from + bytes.length, offset + target.length);
				if (start >= end) continue;
				bytes.set(target.subarray(start - offset, end - offset), start - from);
				seen[i].fill(1, start - from, end - from);
			}
		};
		const done = async () => {
			if (new Uint8Array(seen[0].buffer).includes(0)) {
				this.#isWhole = false;
				return;
			}
			try {
				this.#tensors.set(name, await digest());
			} catch {
				this.#isWhole = false;
			}
		};
		const digest = async () => {
			const hash = createHash("sha256").update(JSON.stringify(shape));
			const stored = dequantizedSource({
				...source,
				read: (target, offset) => copy(pieces, target, offset)
			});
			const held = DTYPE_BYTES[stored.dtype];
			const values = blockOf(pieces.map(({ count }) => count * held));
			for (const [i, { element }] of pieces.entries()) await stored.read(values[i], element * held);
			hash.update(new Uint8Array(widen(new Uint8Array(values[0].buffer), stored.dtype).buffer));
			return hash.digest("hex");
		};
		return {
			source: {
				...source,
				read
			},
			done
		};
	}
	digests(tied) {
		if (!this.#isWhole || this.#tensors.size === 0) return void 0;
		const tensors = new Map(this.#tensors);
		const embedding = tensors.get("model.language_model.embed_tokens.weight");
		if (tied && embedding !== void 0) tensors.set("lm_head.weight", embedding);
		const parts = {};
		for (const name of [...tensors.keys()].sort()) {
			const part = modelPart(name);
			parts[part] ??= createHash("sha256");
			parts[part].update(`${name} ${tensors.get(name)}\n`);
		}
		return Object.fromEntries(Object.entries(parts).map(([part, hash]) => [part, hash.digest("hex").slice(0, 16)]));
	}
};
function configDigest(config) {
	const { eosTokenIds: _, quantization: __, mayTieEmbeddings: ___, text, ...others } = config;
	const { maxPositions: ____, ...decoder } = text;
	return createHash("sha256").update(JSON.stringify({
		...others,
		text: decoder
	})).digest("hex").slice(0, 16);
}
function piecesOf(elements, width) {
	const isWhole = elements <= PIECES * PIECE_ELEMENTS;
	const count = isWhole ? elements : PIECE_ELEMENTS;
	const places = Array.from({ length: isWhole ? 1 : PIECES }, (_, i) => {
		const element = isWhole ? 0 : Math.floor(i * (elements - count) / 15);
		return {
			element,
			from: Math.floor(element * width),
			end: Math.ceil((element + count) * width)
		};
	});
	const bytes = blockOf(places.map(({ from, end }) => end - from));
	return places.map(({ element, from }, i) => ({
		element,
		count,
		from,
		bytes: bytes[i]
	}));
}
function blockOf(lengths) {
	const block = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
	let end = 0;
	return lengths.map((length) => {
		end += length;
		return block.subarray(end - length, end);
	});
}
async function copy(pieces, target, offset = 0) {
	const piece = pieces.find(({ from, bytes }) => from <= offset && offset + target.length <= from + bytes.length);
	target.set(piece.bytes.subarray(offset - piece.from, offset - piece.from + target.length));
}
// src/model/network/load-weights.ts
const MOST_AT_ONCE = 32;
async function loadWeights(engine, provider, wanted, digest, trainingBytes = () => 0) {
	const sources = inFileOrder(provider, checkedSources(provider, wanted));
	engine.placeWeights?.(sources, trainingBytes);
	const weights = new Map();
	const running = new Set();
	let failure;
	const bytesTotal = sources.reduce((sum, { byteLength }) => sum + byteLength, 0);
	let bytesDone = 0;
	for (const source of sources) {
		if (running.size >= MOST_AT_ONCE) await Promise.race(running);
		if (failure) break;
		const loading = load(engine, source, digest).then((weight) => {
			weights.set(source.name, weight);
			bytesDone += source.byteLength;
			provider.onProgress?.({
				tensor: source.name,
				bytesDone,
				bytesTotal
			});
		}).catch((error) => {
			failure ??= { error };
		}).finally(() => running.delete(loading));
		running.add(loading);
	}
	await Promise.all(running);
	if (failure) {
		for (const weight of weights.values()) engine.releaseWeight(weight);
		throw failure.error;
	}
	return weights;
}
async function load(engine, source, digest) {
	const watched = digest?.watch(source);
	const weight = await engine.loadWeight(watched?.source ?? source);
	await watched?.done();
	return weight;
}
function checkedSources(provider, wanted) {
	const faults = [];
	const hints = new Set();
	const fault = (text, hint) => {
		faults.push(text);
		hints.add(hint);
	};
	const sources = [];
	for (const { name, shape, view, stack, usage } of wanted) {
		if (!provider.has(name)) {
			fault(`${name}: missing, expected [${shape.join(", ")}]`);
			continue;
		}
		try {
			const source = provider.source(name);
			if (source.shape.join() !== shape.join()) {
				fault(`${name}: shape [${source.shape.join(", ")}], expected [${shape.join(", ")}]`);
				continue;
			}
			const { dtype, byteLength, scale, quantState, hold } = source;
			const read = (target, offset) => source.read(target, offset);
			sources.push({
				name,
				shape: view,
				dtype,
				byteLength,
				scale,
				quantState,
				hold,
				stack,
				usage,
				read
			});
		} catch (error) {
			if (!(error instanceof CheckpointError)) throw error;
			fault(`${name}: ${error.summary}`, error.hint);
		}
	}
	const known = new Set(wanted.map(({ name }) => name));
	const unread = [...provider.required ?? []].filter((name) => !known.has(name));
	if (unread.length > 0) throw badCheckpoint(provider.description, faults, unread);
	if (faults.length > 0) throw badCheckpoint(provider.description, faults, [], hints.size === 1 ? [...hints][0] : void 0);
	return withoutMixedStacks(sources);
}
function withoutMixedStacks(sources) {
	const formats = new Map();
	for (const source of sources) {
		if (!source.stack) continue;
		const found = formats.get(source.stack.name) ?? new Set();
		formats.set(source.stack.name, found.add(heldFormatOf(source)));
	}
	return sources.map((source) => source.stack && formats.get(source.stack.name).size > 1 ? {
		...source,
		stack: void 0
	} : source);
}
function heldFormatOf({ dtype, hold, quantState, scale, shape }) {
	if (dtype === "nf4") return `nf4 ${quantState?.blockSize}`;
	if (hold?.format === "nf4") return `nf4 ${hold.blockSize} ${hold.doubleQuantization}`;
	if (!hold) return "";
	return scale !== void 0 && scale.block.join() !== shape.join() && scale.block[1] !== shape[1] ? `f8_e4m3 ${scale.block}` : "f8_e4m3";
}
function inFileOrder(provider, sources) {
	const places = new Map([...provider.order ?? []].map((name, place) => [name, place]));
	const place = ({ name }) => places.get(name) ?? places.size;
	return [...sources].sort((a, b) => place(a) - place(b));
}
function badCheckpoint(description, faults, unread = [], hint) {
	const groups = [];
	if (faults.length > 0) groups.push(`${faults.length} tensors are wrong:\n  - ${listed(faults)}`);
	if (unread.length > 0) groups.push(`${unread.length} stored tensors belong to nothing that it describes${inLayers(unread)}:\n  - ${listed(unread)}`);
	const isTextOnly = unread.some((name) => name.startsWith("model.layers."));
	return new CheckpointError(`${description} does not fit its config.json, ${groups.join("\n")}`, {
		details: {
			faults: [...faults],
			unread: unread.slice(0, MAX_DETAILS)
		},
		hint: isTextOnly ? "names such as model.layers.0 are those of a text-only model: take the vision-language checkpoint" : unread.length > 0 ? "check that config.json and the safetensors files belong to the same checkpoint, above all num_hidden_layers" : hint ?? "check that config.json and the safetensors files belong to the same checkpoint"
	});
}
const MAX_SHOWN = 12;
const MAX_DETAILS = 1e3;
function listed(lines) {
	return firstLines(lines, MAX_SHOWN).join("\n  - ");
}
function inLayers(names) {
	const layers = new Map();
	for (const name of names) {
		const [, tower, layer] = /^(.*?)\.layers\.(\d+)\./.exec(name) ?? [];
		if (tower !== void 0) layers.set(tower, [...layers.get(tower) ?? [], Number(layer)]);
	}
	if (layers.size === 0) return "";
	return `, in ${[...layers].slice(0, MAX_SHOWN).map(([tower, numbers]) => {
		const [first, last] = numbers.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n)], [Number.POSITIVE_INFINITY, 0]);
		return `${first === last ? `layer ${first}` : `layers ${first} to ${last}`} of ${tower}`;
	}).join(" and ")}`;
}
// src/model/network/modules.ts
function modulesOf({ attention, gate, up, down }) {
	return [
		attention.q,
		attention.k,
		attention.v,
		attention.o,
		gate,
		up,
		down
	];
}
var Assembler = class {
	linear = [];
	usage;
	#take;
	constructor(take) {
		this.#take = take;
	}
	weight(name, shape, view = shape, stack) {
		return this.#take({
			name,
			shape,
			view,
			stack,
			usage: this.usage
		});
	}
	linearModule(name, out, input, options = {}) {
		const shape = [out, input];
		const module = {
			name,
			index: this.linear.length,
			weight: this.weight(`${name}.weight`, shape, shape, options.stack),
			bias: options.bias ? this.weight(`${name}.bias`, [out]) : void 0,
			lora: void 0
		};
		this.linear.push(module);
		return module;
	}
	stackedModules(prefix, widths, input) {
		const parts = Object.entries(widths);
		const rows = parts.reduce((sum, [, out]) => sum + out, 0);
		const modules = [];
		let row = 0;
		for (const [name, out] of parts) {
			const stack = {
				name: `${prefix}.${parts.map(([part]) => part).join("+")}`,
				row,
				rows
			};
			modules.push(this.linearModule(`${prefix}.${name}`, out, input, { stack }));
			row += out;
		}
		return modules;
	}
};
function wantedWeights(config, tied) {
	const wanted = [];
	assemble(config, tied, (one) => {
		wanted.push(one);
		return {
			name: one.name,
			shape: one.view,
			dtype: "f32"
		};
	});
	return wanted;
}
async function loadModules(engine, config, provider, trainingBytes, digest = new BaseDigest()) {
	const tied = !provider.has("lm_head.weight") && config.mayTieEmbeddings;
	const wanted = [];
	const planned = assemble(config, tied, (one) => {
		wanted.push(one);
		return {
			name: one.name,
			shape: one.view,
			dtype: "f32"
		};
	});
	const estimate = engine.placeWeights && trainingBytes?.(planned);
	const weights = await loadWeights(engine, provider, wanted, digest || void 0, estimate);
	return {
		modules: assemble(config, tied, ({ name }) => weights.get(name)),
		digests: digest ? digest.digests(tied) : void 0
	};
}
function assemble(config, tied, take) {
	const { text, vision } = config;
	const load = new Assembler(take);
	const layer = (prefix, names, { hiddenSize: hidden, intermediateSize: inner }, query, keyValue) => {
		const attention = `${prefix}.${names.attention}`;
		const mlp = `${prefix}.${names.mlp}`;
		const attentionNorm = load.weight(`${prefix}.${names.attentionNorm}.weight`, [hidden]);
		const [q, k, v] = load.stackedModules(attention, {
			q_proj: query,
			k_proj: keyValue,
			v_proj: keyValue
		}, hidden);
		const o = load.linearModule(`${attention}.o_proj`, hidden, query);
		const mlpNorm = load.weight(`${prefix}.${names.mlpNorm}.weight`, [hidden]);
		const [gate, up] = load.stackedModules(mlp, {
			gate_proj: inner,
			up_proj: inner
		}, hidden);
		const down = load.linearModule(`${mlp}.down_proj`, hidden, inner);
		return {
			attentionNorm,
			attention: {
				q,
				k,
				v,
				o
			},
			mlpNorm,
			gate,
			up,
			down
		};
	};
	const tower = "model.vision_tower";
	const patchLength = 3 * vision.patchSize ** 2;
	const patchConv = load.weight(`${tower}.patch_conv.weight`, [
		vision.hiddenSize,
		3,
		vision.patchSize,
		vision.patchSize
	], [vision.hiddenSize, patchLength]);
	const lnPre = load.weight(`${tower}.ln_pre.weight`, [vision.hiddenSize]);
	const visionLayers = Array.from({ length: vision.layers }, (_, i) => {
		return layer(`${tower}.transformer.layers.${i}`, {
			attentionNorm: "attention_norm",
			attention: "attention",
			mlpNorm: "ffn_norm",
			mlp: "feed_forward"
		}, vision, vision.hiddenSize, vision.hiddenSize);
	});
	const projector = "model.multi_modal_projector";
	const projectorNorm = load.weight(`${projector}.norm.weight`, [vision.hiddenSize]);
	const merged = vision.hiddenSize * config.spatialMergeSize ** 2;
	const mergingLayer = load.linearModule(`${projector}.patch_merger.merging_layer`, vision.hiddenSize, merged);
	const bias = config.projectorBias;
	const linear1 = load.linearModule(`${projector}.linear_1`, text.hiddenSize, vision.hiddenSize, { bias });
	const linear2 = load.linearModule(`${projector}.linear_2`, text.hiddenSize, text.hiddenSize, { bias });
	const decoder = "model.language_model";
	load.usage = tied ? void 0 : "lookup";
	const embedTokens = load.weight(`${decoder}.embed_tokens.weight`, [text.vocabSize, text.hiddenSize]);
	const norms = {
		attentionNorm: "input_layernorm",
		mlpNorm: "post_attention_layernorm"
	};
	const textLayers = Array.from({ length: text.layers }, (_, i) => {
		load.usage = { layer: i };
		const names = {
			...norms,
			attention: "self_attn",
			mlp: "mlp"
		};
		return layer(`${decoder}.layers.${i}`, names, text, text.heads * text.headDim, text.kvHeads * text.headDim);
	});
	load.usage = void 0;
	return {
		patchConv,
		lnPre,
		visionLayers,
		projectorNorm,
		mergingLayer,
		linear1,
		linear2,
		embedTokens,
		textLayers,
		norm: load.weight(`${decoder}.norm.weight`, [text.hiddenSize]),
		lmHead: tied ? embedTokens : load.weight("lm_head.weight", [text.vocabSize, text.hiddenSize]),
		tied,
		linear: load.linear
	};
}
// src/model/network/pass-costs.ts
const OPERATIONS_PER_SAVED_BYTE = 1e3;
const OPERATIONS_PER_STREAMED_BYTE = 8e3;
const INPUTS_ON_DEVICE = 2;
const RANK_MULTIPLE = 16;
const SLACK = 1.01;
var PassCosts = class {
	#storage;
	#config;
	#text;
	#vision;
	#towers = {
		text: [],
		vision: []
	};
	#projectorSaved;
	#adapterBytes;
	constructor(config, modules, storage, precision = "bf16") {
		this.#config = config;
		this.#storage = storage;
		const { text, vision, visionFeatureLayer } = config;
		const b = storage.elementBytes;
		const visionWidths = {
			...vision,
			hidden: vision.hiddenSize,
			inner: vision.intermediateSize
		};
		const tower = modules.visionLayers.slice(0, visionFeatureLayer);
		const [query, keyValue] = [text.heads * text.headDim, text.kvHeads * text.headDim];
		const first = layersCosts(tower, {
			...visionWidths,
			query: vision.hiddenSize,
			keyValue: vision.hiddenSize
		}, storage, false);
		this.#vision = first.costs;
		const projector = [
			modules.mergingLayer,
			modules.linear1,
			modules.linear2
		];
		const inputs = [
			vision.hiddenSize * config.spatialMergeSize ** 2,
			vision.hiddenSize,
			text.hiddenSize
		];
		let needs = first.needs;
		let projectorSaved = 0;
		for (const [i, module] of projector.entries()) {
			if (module.lora) {
				projectorSaved += inputs[i] * b + lowRank([module], inputs[i], storage);
				needs = true;
			}
			if (i === 1 && needs) projectorSaved += text.hiddenSize * b;
		}
		this.#projectorSaved = projectorSaved;
		this.#adapterBytes = modules.linear.reduce((sum, { lora }) => lora ? sum + b * padded(lora) * lora.a.shape[1] : sum, 0);
		const widths = {
			query,
			keyValue,
			hidden: text.hiddenSize,
			inner: text.intermediateSize,
			heads: text.heads
		};
		const { costs } = layersCosts(modules.textLayers, widths, storage, needs);
		this.#text = precision === "bf16" ? costs : costs.map((cost) => withOperands(cost, text.intermediateSize));
	}
	get layers() {
		return {
			vision: this.#vision.length,
			text: this.#text.length
		};
	}
	peakBytes(size, recompute) {
		const { moments } = this.#moments(size, recompute);
		return SLACK * Math.max(...moments) + this.#storage.scratchBytes + this.#adapterBytes;
	}
	partsOf(size, recompute) {
		const { moments, head, headBytes } = this.#moments(size, recompute);
		return {
			headBytes: Math.max(...moments) <= head ? SLACK * headBytes : 0,
			workspaceBytes: this.#storage.scratchBytes + this.#adapterBytes
		};
	}
	workOf({ tokens, patches }, { text, vision }) {
		const operations = (layers, recomputed) => {
			const once = (of) => of.reduce((sum, { saved, operations: own }) => saved > 0 ? sum + own : sum, 0);
			const unsaved = layers.reduce((sum, { saved, operations: own }) => saved > 0 ? sum : sum + own, 0);
			return 2 * once(layers) + unsaved + once(layers.slice(0, recomputed));
		};
		const bytes = (layers, recomputed) => layers.reduce((sum, { saved }, i) => sum + (i < recomputed ? 1.5 : 1) * saved, 0);
		return {
			textOperations: operations(this.#text, text) * tokens,
			visionOperations: operations(this.#vision, vision) * patches,
			savedBytes: bytes(this.#text, text) * tokens + bytes(this.#vision, vision) * patches
		};
	}
	#moments(size, recompute) {
		const { text, vision, spatialMergeSize } = this.#config;
		const { elementBytes: b, logits } = this.#storage;
		const { tokens: T, patches: P, features: M, labels: L, keys = T } = size;
		const [C, Cv] = [text.hiddenSize * b, vision.hiddenSize * b];
		const inputs = recompute.offloadInputs ? INPUTS_ON_DEVICE : Number.POSITIVE_INFINITY;
		const onText = this.#tower("text", recompute.text, inputs);
		const onVision = this.#tower("vision", recompute.vision, inputs);
		const tables = 4 * text.headDim * T + 4 * vision.headDim * P;
		const copies = keys > T ? this.#keyCopies(keys, T, recompute.text) : {
			kept: 0,
			running: 0
		};
		const kept = onText.kept * T + onVision.kept * P + this.#projectorSaved * M + tables + copies.kept;
		const pixels = 3 * vision.patchSize ** 2 * b;
		const blocks = Math.ceil(L / Math.max(1, Math.floor(logits.most / text.vocabSize)));
		const rowsOfLogits = blocks > 0 ? Math.ceil(L / blocks) : 0;
		const headBytes = 5 * C * L + logits.bytes * text.vocabSize * rowsOfLogits;
		const head = kept + headBytes;
		return {
			moments: [
				onVision.kept * P - onVision.last * P + (onVision.forward + pixels + 2 * Cv) * P + C * T,
				onVision.kept * P + (pixels + 4 * Cv) * P + (Cv * (spatialMergeSize ** 2 + 1) + 3 * C) * M + C * T,
				kept - onText.last * T + onText.forward * T + copies.running + 2 * C * T + C * M,
				head,
				kept + onText.backward * T + 2 * copies.running + 2 * C * T + 2 * C * L,
				onVision.kept * P + onVision.backward * P + 3 * C * T + tables
			],
			head,
			headBytes
		};
	}
	#keyCopies(keys, tokens, recomputed) {
		const { elementBytes, rematerializes } = this.#storage;
		const { kvHeads, headDim } = this.#config.text;
		const running = 2 * elementBytes * kvHeads * headDim * keys;
		const layers = this.#text.filter(({ saved }, i) => saved > 0 && i >= recomputed).length;
		return {
			kept: rematerializes ? 0 : running * layers * (keys - tokens) / keys,
			running
		};
	}
	weight({ tokens, patches }) {
		return this.#tower("text", 0).kept * tokens + this.#tower("vision", 0).kept * patches + tokens;
	}
	#tower(name, recomputed, inputs = Number.POSITIVE_INFINITY) {
		const known = this.#towers[name];
		const at = 2 * recomputed + (inputs === Number.POSITIVE_INFINITY ? 0 : 1);
		known[at] ??= tower(name === "text" ? this.#text : this.#vision, recomputed, inputs);
		return known[at];
	}
	recomputeTime(size, recompute) {
		const { text, vision } = recompute;
		const { tokens, patches } = size;
		const moved = 2 * this.hostBytes(size, recompute) * OPERATIONS_PER_STREAMED_BYTE;
		return timeOf(this.#text.slice(0, text)) * tokens + timeOf(this.#vision.slice(0, vision)) * patches + moved;
	}
	hostBytes({ tokens, patches }, { text, vision, offloadInputs = false }) {
		if (!offloadInputs) return 0;
		return inputsOf(this.#text.slice(0, text)) * tokens + inputsOf(this.#vision.slice(0, vision)) * patches;
	}
	tileTime({ tokens, patches }) {
		const { rowTile } = this.#storage;
		const empty = (rows) => Math.ceil(rows / rowTile) * rowTile - rows;
		return timeOf(this.#text) * empty(tokens) + timeOf(this.#vision) * empty(patches);
	}
	get passTime() {
		const streamed = 2 * (this.#storage.streamedBytes ?? 0) * OPERATIONS_PER_STREAMED_BYTE;
		return 280 * timeOf(this.#text) + streamed;
	}
};
function trainingFlops(config, modules, { tokens, patches, features, labels }) {
	const visionLinears = modules.visionLayers.slice(0, config.visionFeatureLayer).flatMap(modulesOf);
	const projector = [
		modules.mergingLayer,
		modules.linear1,
		modules.linear2
	];
	const count = (linears, flows) => (flows ? 4 : 2) * linears.reduce((sum, { weight }) => sum + weight.shape[0] * weight.shape[1], 0);
	const isTrained = (linears) => linears.some(({ lora }) => lora !== void 0);
	const throughVision = isTrained(visionLinears);
	const throughProjector = throughVision || isTrained(projector);
	const textLinears = modules.textLayers.flatMap(modulesOf);
	const [vocabulary, hidden] = modules.lmHead.shape;
	return count(visionLinears, throughVision) * patches + count(projector, throughProjector) * features + count(textLinears, throughProjector || isTrained(textLinears)) * tokens + 4 * vocabulary * hidden * labels;
}
function withOperands(costs, inner) {
	return {
		...costs,
		forward: costs.forward + inner,
		backward: costs.backward + 2 * inner
	};
}
function timeOf(layers) {
	return layers.reduce((sum, { saved, time }) => saved > 0 ? sum + time : sum, 0);
}
function inputsOf(layers) {
	return layers.reduce((sum, { saved, input }) => saved > 0 ? sum + input : sum, 0);
}
function tower(layers, recomputed, most = Number.POSITIVE_INFINITY) {
	let kept = 0;
	let inputs = 0;
	for (const [i, { saved, input }] of layers.entries()) {
		if (saved === 0) continue;
		if (i >= recomputed) kept += saved;
		else if (inputs++ < most) kept += input;
	}
	const largest = (value) => layers.reduce((max, layer) => Math.max(max, value(layer)), 0);
	const last = layers.at(-1);
	const isRecomputed = recomputed >= layers.length;
	return {
		kept,
		last: last && !isRecomputed ? last.saved : 0,
		forward: largest(({ forward }) => forward),
		backward: largest(({ backward }) => backward) + (isRecomputed ? largest(({ saved }) => saved) : 0)
	};
}
function layersCosts(layers, widths, storage, inputNeeds) {
	let needs = inputNeeds;
	return {
		costs: layers.map((layer) => {
			needs ||= modulesOf(layer).some((module) => module.lora !== void 0);
			return layerCosts(layer, widths, storage, needs);
		}),
		needs
	};
}
function layerCosts(layer, { hidden: C, query: Q, keyValue: K, inner: F, heads }, storage, isRecorded) {
	const { elementBytes: b, rematerializes, temporaries } = storage;
	const { attention, gate, up, down } = layer;
	const groups = [
		[[
			attention.q,
			attention.k,
			attention.v
		], C],
		[[attention.o], Q],
		[[gate, up], C],
		[[down], F]
	];
	const low = groups.reduce((sum, [modules, input]) => sum + lowRank(modules, input, storage), 0);
	const has = (i) => groups[i][0].some(({ lora }) => lora !== void 0);
	const inputs = rematerializes ? 0 : (has(0) ? C : 0) + (has(2) ? C : 0) + (has(3) ? F : 0);
	const weights = C * (2 * Q + 2 * K) + 3 * C * F;
	const saved = b * (2 * C + 2 * Q + 2 * K + 2 * F + inputs) + 8 + 4 * heads + low;
	const beside = b * temporaries * Math.max(F, Q, C);
	return {
		saved: isRecorded ? saved : 0,
		input: C * b,
		forward: b * (8 * C + 3 * Q + 4 * K + 3 * F) + low + beside,
		backward: b * Math.max(C + 3 * F, 4 * C + 2 * F, 3 * C + 3 * Q + 3 * K) + low + 4 * heads + beside,
		time: 2 * weights + OPERATIONS_PER_SAVED_BYTE * saved,
		operations: 2 * weights
	};
}
function lowRank(modules, input, storage) {
	const { elementBytes: b, keepsMasks } = storage;
	const adapted = modules.flatMap(({ lora }) => lora ? [lora] : []);
	const columns = adapted.reduce((sum, lora) => sum + padded(lora), 0);
	const masks = keepsMasks && adapted.some(({ dropout }) => dropout > 0) ? modules.length * 4 * Math.ceil(input / 32) : 0;
	return 2 * columns * b + masks;
}
function padded({ a }) {
	return RANK_MULTIPLE * Math.ceil(a.shape[0] / RANK_MULTIPLE);
}
// src/train/describe-plan.ts
function describePlan({ plan, costs, storage, freeBytes, next }) {
	const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
	const free = Number.isFinite(freeBytes) ? ` of ${formatBytes(freeBytes)} free` : "";
	const { streamedBytes = 0, nextStreamedBytes = 0 } = storage;
	const parts = [`${chosen(plan, costs)}, at most ${formatBytes(most)} per pass${free}`];
	if (streamedBytes > 0) {
		const copies = 2 * plan.passes.length * streamedBytes * OPERATIONS_PER_STREAMED_BYTE;
		parts.push(`${formatBytes(streamedBytes)} of weights are streamed from host memory in each forward and each backward: copies that take about ${percent(copies / computation(plan, costs))} of the time of the computation, and overlap with it`);
	}
	const less = `with ${percent(1 - LESS_MEMORY)} less memory`;
	parts.push("passes" in next ? `${less}: ${chosen(next, costs)}` : `${less}: no plan that the options allow`);
	if (nextStreamedBytes > streamedBytes) parts.push(`a model loaded ${less} would have ${formatBytes(nextStreamedBytes)} of weights streamed`);
	return parts.join("; ");
}
function chosen({ passes }, costs) {
	const count = passes.length === 1 ? "1 pass" : `${passes.length} passes`;
	const recomputed = passes.map(({ recompute }) => recompute);
	const vision = Math.max(...recomputed.map((layers) => layers.vision));
	const text = Math.max(...recomputed.map((layers) => layers.text));
	if (vision + text === 0) return `${count}, nothing recomputed`;
	const extra = recomputation(passes, costs);
	const { layers } = costs;
	const hostBytes = Math.max(...passes.map(({ size, recompute }) => costs.hostBytes(size, recompute)));
	const moved = hostBytes > 0 ? `, up to ${formatBytes(hostBytes)} of their inputs offloaded to host memory` : "";
	return `${count}, up to ${vision} of ${layers.vision} vision and ${text} of ${layers.text} decoder layers recomputed${moved} (about ${percent(extra / (computation({ passes }, costs) - extra))} more time)`;
}
function computation({ passes }, costs) {
	return 2 * passes.reduce((sum, { size }) => sum + costs.recomputeTime(size, costs.layers), 0) + recomputation(passes, costs);
}
function recomputation(passes, costs) {
	return passes.reduce((sum, { size, recompute }) => sum + costs.recomputeTime(size, recompute), 0);
}
function percent(share) {
	return `${Math.round(100 * share)} %`;
}
// src/train/pass-plan.ts
const NO_LAYERS = {
	vision: 0,
	text: 0
};
const ON_HOST = { offloadInputs: true };
const UNEVENNESS = 1.06;
function planPasses(samples, costs, options) {
	if (samples.length === 0) return {
		passes: [],
		microBatchSize: 0
	};
	const parts = windowParts(samples);
	if (parts.length === 1) return planPart(samples, costs, options);
	let microBatchSize = written(samples);
	const passes = [];
	let misfit;
	for (const part of parts) {
		const result = planPart(part, costs, options);
		if (isPlan(result)) {
			passes.push(...result.passes);
			if (result.microBatchSize < written(part)) microBatchSize = Math.min(microBatchSize, result.microBatchSize);
		} else if (!misfit || result.neededBytes > misfit.neededBytes) misfit = result;
	}
	return misfit ?? {
		passes,
		microBatchSize
	};
}
function rowsOf(samples) {
	const rows = new Map();
	for (const { microBatch } of samples) rows.set(microBatch, (rows.get(microBatch) ?? 0) + 1);
	return rows;
}
function written(samples) {
	return Math.max(...rowsOf(samples).values());
}
function planPart(samples, costs, options) {
	const rows = rowsOf(samples);
	const { sizeOf = sumOfSamples } = options;
	const together = sizeOf(samples);
	const chain = together.tokens < sumOfSamples(samples).tokens ? chainBySharing(samples, sizeOf) : void 0;
	const preferred = preferredPasses(samples, rows.size, chain, costs, options);
	let from = preferred;
	let misfit;
	for (let microBatchSize = written(samples); microBatchSize >= 1; microBatchSize = Math.floor(microBatchSize / 2)) {
		const count = [...rows.values()].reduce((sum, size) => sum + Math.ceil(size / microBatchSize), 0);
		let best;
		for (let n = from; n <= Math.max(count, preferred); n++) {
			let least = Number.POSITIVE_INFINITY;
			for (const parts of partitions(samples, n, chain, costs, sizeOf, options.tokensPerPass === 0 && n === rows.size)) {
				const passes = parts.map((part) => planPass(part, costs, options));
				const time = passes.reduce((sum, pass) => sum + costs.recomputeTime(pass.size, pass.recompute), 0);
				const around = n * costs.passTime + repeatedTime(passes, together, costs);
				const total = time + around;
				least = Math.min(least, around);
				const largest = passes.reduce((max, pass) => pass.bytes > max.bytes ? pass : max);
				if (largest.bytes > options.budgetBytes) misfit = {
					neededBytes: largest.bytes,
					size: largest.size,
					samples: largest.samples.length
				};
				else if (!best || total < best.time) best = {
					plan: {
						passes,
						microBatchSize
					},
					time: total
				};
			}
			if (best && (options.gradientCheckpointing !== "auto" || best.time <= least)) break;
		}
		if (best) return best.plan;
		if (!options.autoMicroBatch) break;
		from = Math.max(count, preferred) + 1;
	}
	return misfit;
}
function isPlan(result) {
	return "passes" in result;
}
function sumOfSamples(samples) {
	return sumOfSizes(samples.map(({ size }) => size));
}
function preferredPasses(samples, microBatches, chain, costs, { tokensPerPass, sizeOf = sumOfSamples }) {
	if (tokensPerPass === 0) return microBatches;
	let passes = Math.max(1, Math.ceil(sizeOf(samples).tokens / tokensPerPass));
	if (!chain) return Math.min(samples.length, passes);
	for (; passes > 1 && passes < samples.length; passes++) {
		const fits = (parts) => parts.reduce((sum, part) => sum + sizeOf(part).tokens, 0) <= passes * tokensPerPass;
		if (fits(cut(chain, passes)) || fits(evenly(samples, passes, costs, sizeOf))) break;
	}
	return Math.min(samples.length, passes);
}
function repeatedTime(passes, together, costs) {
	const { tokens, patches } = sumOfSizes(passes.map(({ size }) => size));
	const repeated = {
		...together,
		tokens: tokens - together.tokens,
		patches: patches - together.patches
	};
	return 2 * costs.recomputeTime(repeated, costs.layers);
}
function partitions(samples, n, chain, costs, sizeOf, asWritten) {
	const even = [evenly(samples, n, costs, sizeOf, true), ...chain && n > 1 && n < samples.length ? [cut(chain, n)] : []];
	if (!asWritten) return even;
	const byBatch = new Map();
	for (const sample of samples) {
		const batch = byBatch.get(sample.microBatch);
		if (batch) batch.push(sample);
		else byBatch.set(sample.microBatch, [sample]);
	}
	return [[...byBatch.values()], ...even];
}
function chainBySharing(samples, sizeOf) {
	const left = [...samples];
	const chain = left.splice(0, 1);
	while (left.length > 0) {
		const last = chain.at(-1);
		const gain = left.map((sample) => sample.size.tokens - sizeOf([last, sample].sort(inWindow)).tokens);
		chain.push(...left.splice(gain.indexOf(Math.max(...gain)), 1));
	}
	return chain;
}
function cut(chain, n) {
	const all = sumOfSamples(chain).tokens;
	const passes = Array.from({ length: n }, () => []);
	let before = 0;
	for (const sample of chain) {
		const middle = before + sample.size.tokens / 2;
		passes[Math.min(n - 1, Math.floor(n * middle / all))].push(sample);
		before += sample.size.tokens;
	}
	return passes.filter((pass) => pass.length > 0).map((pass) => pass.sort(inWindow));
}
function inWindow(a, b) {
	return a.microBatch - b.microBatch || a.row - b.row;
}
function evenly(samples, n, costs, sizeOf, fills = false) {
	const order = samples.map((sample, at) => ({
		sample,
		at,
		weight: costs.weight(sample.size)
	}));
	order.sort((a, b) => b.weight - a.weight || a.at - b.at);
	const deal = (members) => {
		const size = sizeOf(inOrder(members));
		return {
			members,
			weight: costs.weight(size),
			time: costs.tileTime(size)
		};
	};
	const passes = Array.from({ length: n }, () => ({
		members: [],
		weight: 0,
		time: 0
	}));
	for (const entry of order) {
		const grown = passes.map(({ members }) => deal([...members, entry]));
		const lightest = grown.reduce((least, pass) => pass.weight < least.weight ? pass : least);
		passes[grown.indexOf(lightest)] = lightest;
	}
	if (fills) fillTiles(passes, deal);
	const filled = passes.filter(({ members }) => members.length > 0);
	const first = ({ members }) => Math.min(...members.map(({ at }) => at));
	filled.sort((a, b) => first(a) - first(b));
	return filled.map(({ members }) => inOrder(members));
}
function inOrder(members) {
	return [...members].sort((a, b) => a.at - b.at).map(({ sample }) => sample);
}
function exchange({ members }, removed, added) {
	const others = members.filter((member) => member !== removed);
	return added ? [...others, added] : others;
}
function fillTiles(passes, deal) {
	const most = UNEVENNESS * Math.max(...passes.map(({ weight }) => weight));
	for (let i = 0; i < passes.length; i++) for (let j = i + 1; j < passes.length; j++) {
		let [a, b] = [passes[i], passes[j]];
		let time = a.time + b.time;
		for (const x of [void 0, ...a.members]) for (const y of [void 0, ...b.members]) {
			if (x && !a.members.includes(x) || y && !b.members.includes(y)) continue;
			const [fromMembers, toMembers] = [exchange(a, x, y), exchange(b, y, x)];
			if (fromMembers.length === 0 || toMembers.length === 0) continue;
			const from = deal(fromMembers);
			if (from.weight > most || from.time >= time) continue;
			const to = deal(toMembers);
			if (to.weight > most || from.time + to.time >= time) continue;
			time = from.time + to.time;
			[a, b] = [from, to];
			[passes[i], passes[j]] = [a, b];
		}
	}
}
function planPass(samples, costs, options) {
	const { budgetBytes, gradientCheckpointing, offloadsInputs, sizeOf = sumOfSamples } = options;
	const size = sizeOf(samples);
	const pass = (recompute) => {
		return {
			samples,
			size,
			recompute,
			bytes: costs.peakBytes(size, recompute)
		};
	};
	const places = offloadsInputs === "always" ? [ON_HOST] : offloadsInputs === "auto" ? [{}, ON_HOST] : [{}];
	const fits = ({ bytes }) => bytes <= budgetBytes;
	if (gradientCheckpointing === true) {
		const passes = places.map((place) => pass({
			...costs.layers,
			...place
		}));
		return passes.find(fits) ?? passes.at(-1);
	}
	const none = pass(NO_LAYERS);
	if (gradientCheckpointing === false || fits(none)) return none;
	for (const place of places) {
		let best;
		let bestTime = Number.POSITIVE_INFINITY;
		for (let vision = 0; vision <= costs.layers.vision; vision++) {
			const text = fewest(costs.layers.text, (n) => fits(pass({
				vision,
				text: n,
				...place
			})));
			if (text === void 0) continue;
			const recompute = {
				vision,
				text,
				...place
			};
			const time = costs.recomputeTime(size, recompute);
			if (time < bestTime) [best, bestTime] = [pass(recompute), time];
		}
		if (best) return best;
	}
	return leastBytes(costs.layers, (layers) => pass({
		...layers,
		...places.at(-1)
	}));
}
function leastBytes({ vision, text }, pass) {
	const counts = (layers) => [layers, Math.max(0, layers - 1)];
	return counts(vision).flatMap((v) => counts(text).map((t) => pass({
		vision: v,
		text: t
	}))).reduce((least, one) => one.bytes < least.bytes ? one : least);
}
function fewest(most, fits) {
	let low = 0;
	let high = most;
	while (low < high) {
		const middle = low + high >>> 1;
		if (fits(middle)) high = middle;
		else low = middle + 1;
	}
	return fits(low) ? low : void 0;
}
// src/train/pass-planner.ts
const TIGHTER = .85;
var PassPlanner = class {
	#engine;
	#ceiling = Number.POSITIVE_INFINITY;
	#warnedMicroBatch = Number.POSITIVE_INFINITY;
	constructor(engine) {
		this.#engine = engine;
	}
	plan(samples, costs, options) {
		const { gradientCheckpointing, autoMicroBatch = false } = options;
		const free = this.#freeBytes(options.memoryBudget);
		const { tokensPerPass, storage } = this.#engine;
		const { offloadsInputs } = storage;
		const result = planPasses(samples, costs, {
			budgetBytes: Math.min(free, this.#ceiling),
			tokensPerPass,
			gradientCheckpointing,
			autoMicroBatch,
			offloadsInputs,
			sizeOf: options.sizeOf
		});
		if (!isPlan(result)) throw withLessMemory(this.#tooLarge(result, Math.min(free, this.#ceiling), options), "step");
		const written = Math.max(...samples.map(({ row }) => row + 1));
		const { microBatchSize } = result;
		if (microBatchSize < written && microBatchSize < this.#warnedMicroBatch) {
			this.#warnedMicroBatch = microBatchSize;
			options.onWarning?.(`micro-batches of ${written} samples do not fit into the ${formatBytes(Math.min(free, this.#ceiling))} that are free: micro-batches of at most ${microBatchSize} are run instead, so many more of them that the effective batch and its result stay the same`);
		}
		return result;
	}
	describe(plan, samples, costs, options) {
		const { autoMicroBatch = false } = options;
		const { tokensPerPass, storage } = this.#engine;
		const freeBytes = Math.min(this.#freeBytes(options.memoryBudget), this.#ceiling);
		const most = Math.max(...plan.passes.map(({ bytes }) => bytes));
		const budgetBytes = LESS_MEMORY * Math.min(freeBytes, most);
		const { offloadsInputs } = storage;
		return describePlan({
			plan,
			costs,
			storage,
			freeBytes,
			next: planPasses(samples, costs, {
				...options,
				budgetBytes,
				tokensPerPass,
				autoMicroBatch,
				offloadsInputs
			})
		});
	}
	planSmaller(failed, failure, samples, costs, options) {
		const largest = Math.max(...failed.passes.map(({ bytes }) => bytes));
		this.#ceiling = TIGHTER * Math.min(this.#ceiling, largest);
		let plan;
		try {
			plan = this.plan(samples, costs, options);
		} catch {
			throw withLessMemory(failure, "step");
		}
		options.onWarning?.(`${reasonOf(failure)}; the step is begun again in ${plan.passes.length} passes of at most ${formatBytes(this.#ceiling)} each, and so are later ones`);
		return plan;
	}
	#freeBytes(memoryBudget = Number.POSITIVE_INFINITY) {
		const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#engine.memory();
		const limit = Math.min(limitBytes, memoryBudget - overheadBytes);
		return largestPass(this.#engine.storage, limit - bytesInUse);
	}
	#tooLarge({ neededBytes, size, samples }, free, options) {
		const { gradientCheckpointing, memoryBudget } = options;
		const recomputed = gradientCheckpointing === false ? "without recomputation" : "with every layer recomputed";
		const { bytesInUse, limitBytes, overheadBytes = 0 } = this.#engine.memory();
		const budget = Math.min(limitBytes + overheadBytes, memoryBudget ?? Number.POSITIVE_INFINITY);
		const reserveBytes = reserveFor(this.#engine.storage, neededBytes);
		const smallest = Math.ceil(overheadBytes + bytesInUse + neededBytes + reserveBytes);
		const beside = overheadBytes > 0 ? `, code and context ${formatBytes(overheadBytes)}` : "";
		return new OutOfMemoryError(`out of memory: ${samples} ${samples === 1 ? "sample" : "samples"} of ${size.tokens} tokens and ${size.patches} image patches need ${formatBytes(neededBytes)} ${recomputed}, ${formatBytes(free)} are free: of ${formatBytes(budget)}, weights and training state hold ${formatBytes(bytesInUse)}${beside}, and ${formatBytes(reserveBytes)} are left alone because free memory lies in pieces`, {
			hint: `Or raise memoryBudget to at least ${formatBytes(smallest)}.`,
			neededBytes: Math.ceil(neededBytes),
			freeBytes: Math.floor(free),
			limitBytes: budget,
			details: {
				heldBytes: bytesInUse,
				smallestBudgetBytes: smallest,
				tokens: size.tokens,
				patches: size.patches,
				samples
			}
		});
	}
};
const LESS = {
	step: "Set gradientCheckpointing: \"auto\" or true, autoMicroBatch: true, or lower perDeviceTrainBatchSize (and raise gradientAccumulationSteps as much), ",
	evaluation: "Lower perDeviceEvalBatchSize, "
};
function withLessMemory(error, work) {
	if (!(error instanceof OutOfMemoryError)) return error;
	const hint = `${LESS[work]}the collator's maxLength or the image processor's longestEdge.`;
	return error.with({ hint: error.hint === void 0 ? hint : `${hint} ${error.hint}` });
}
// src/train/precision.ts
const prepared = new WeakMap();
function requirePrecision({ name, description, precisions = [] }, precision) {
	if (precision === "bf16" || precisions.includes(precision)) return;
	const others = precisions.map((other) => `, "${other}"`).join("");
	throw new ConfigError(`\`precision\` is "${precision}", which the ${name} engine does not support here`, {
		hint: `It supports "bf16"${others}: leave \`precision\` out or set it to "bf16". e4m3 products need the cuda engine and a card of compute capability 8.9 or more.`,
		details: {
			precision,
			engine: description
		}
	});
}
function preparePrecision(model, precision) {
	requirePrecision(model.engine, precision);
	if ((prepared.get(model) ?? "bf16") === precision) return;
	model.preparePrecision?.(precision);
	prepared.set(model, precision);
}
export { toDiskName as A, sliceImages as C, linearModuleName as D, indexByMemoryName as E, dequantizedSource as M, padBatch as N, modelPart as O, patchesLength as S, adapterTensorName as T, sharePrefixes as _, PassCosts as a, joinPacked as b, modulesOf as c, exclusively as d, infer as f, PackedWindow as g, runAtOnce as h, withLessMemory as i, toMemoryName as j, parseAdapterTensorName as k, wantedWeights as l, Tape as m, requirePrecision as n, trainingFlops as o, runPass as p, PassPlanner as r, loadModules as s, preparePrecision as t, configDigest as u, windowParts as v, writePatches as w, packBatch as x, embeddingNoise as y };
