import { i as boolean, l as number, m as string, n as _instanceof, o as int, p as strictObject, r as array, t as _enum } from "./zod-CVDjCv3S.js";
import { C as tableCell, b as distinctNames, m as reasonOf, n as ConfigError, p as TuneError, r as DataError, s as ImageError, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { n as shortList } from "./short-list-DyTENnB8.js";
import { _ as isKind, a as parseOptions, g as describeGiven, r as functionOption, t as callback, v as isObject } from "./config-BAD1VLMT.js";
import { r as imageSource } from "./image-digest-B3cEY8GR.js";
import { t as decodeWithin } from "./decode-budget-DsPqpzwm.js";
import { m as readHeader, p as DEFAULT_MAX_PIXELS } from "./image-cells-BdLZPrXr.js";
import { t as loadSharp } from "./load-sharp-D7OC_wjO.js";
import { C as pathOf, S as factsOf, _ as requireSplitNames, a as ISSUE_TITLES, b as distribution, c as groupLine, d as sampleLines, f as share, g as requireSplit, h as requireSamples, i as imageKey, l as grouped, m as requireAuditReport, n as auditSection, o as copiesLine, p as sizesLine, r as shownImages$1, s as counted$1, t as AUDIT_STYLES, u as leakLines, v as selected, x as findIssues, y as ISSUE_KINDS } from "./audit-section-DpyhjeXV.js";
import { a as isTurnDue, n as eventLoopTurn } from "./event-loop-Cd695Vob.js";
import { t as displayWidth } from "./display-width-D3AspX99.js";
import { n as wrapText, t as splitText } from "./wrap-text-DMjKL7h-.js";
import { a as imageDataUri, r as html, t as renderPage } from "./page-D5lZK2q2.js";
import { posix, sep, win32 } from "node:path";
import { availableParallelism } from "node:os";
import { createHash } from "node:crypto";
// src/audit/audit-options.ts
const auditSchema = strictObject({
	nearDuplicates: boolean().default(true),
	transforms: boolean().default(true),
	minCorrelation: number().min(.3).max(1).default(.85),
	tinyEdge: number().nonnegative().default(64),
	maxAspectRatio: number().min(1).default(5),
	maxSizeFactor: number().min(1).default(16),
	darkLevel: number().min(0).max(255).default(64),
	blankRange: number().min(0).max(255).default(10),
	maxBlur: number().min(0).max(1).default(.75),
	images: functionOption().optional(),
	label: functionOption().optional(),
	onProgress: callback().optional(),
	signal: _instanceof(AbortSignal, { error: "expected an AbortSignal" }).optional()
});
const ALIASES = {
	threshold: "minCorrelation",
	rotations: "transforms",
	flips: "transforms",
	minsize: "tinyEdge"
};
function parseAuditOptions(options) {
	const { images, label, onProgress, signal, ...settings } = parseOptions(auditSchema, options, "auditDataset", ALIASES);
	return {
		settings,
		rest: {
			images,
			label,
			onProgress,
			signal
		}
	};
}
function splitsOf(data, what) {
	const hint = "Give an ImageFolder, a data set, or splits by name: { train, test }.";
	if (isKind(data, "dataset")) return [["train", data]];
	if (!isObject(data) || Array.isArray(data) || isKind(data, "promise")) throw new ConfigError(`${what}: expected data sets, got ${describeGiven(data)}`, { hint: Array.isArray(data) ? "IndexedDataset.from(array) makes a data set of it." : hint });
	const splits = data.splits;
	const named = splits instanceof Map ? [...splits] : Object.entries(data);
	if (named.length === 0) throw new ConfigError(`${what}: no data set is given`, { hint });
	for (const [name, dataset] of named) {
		if (isKind(dataset, "dataset")) continue;
		throw new ConfigError(`${what}: \`${name}\`: expected a data set, got ${describeGiven(dataset)}`, { hint });
	}
	return named;
}
const DETAIL_RADIUS = 3;
const NOISE_VARIANCE = 64;
const LEVELS = [
	{
		edge: 16,
		steps: 8,
		least: .85,
		leastDetail: .7,
		strict: .8,
		start: 0
	},
	{
		edge: 32,
		steps: 5,
		least: .85,
		leastDetail: .65,
		strict: .88,
		start: 0
	},
	{
		edge: 64,
		steps: 4,
		least: .8,
		leastDetail: 0,
		strict: 0,
		start: .8
	}
];
const EARLY = {
	steps: 3,
	least: .8
};
const LEAST_DETAIL = .05;
const MAX_SLANT = .25;
const LEAST_OVERLAP = .4;
function pyramidOf(thumb) {
	const fine = Float32Array.from(thumb);
	const middle = halved(fine, 64);
	return { levels: [
		halved(middle, 32),
		middle,
		fine
	] };
}
function halved(image, edge) {
	const half = edge / 2;
	const out = new Float32Array(half * half);
	for (let y = 0; y < half; y++) for (let x = 0; x < half; x++) {
		const at = 2 * y * edge + 2 * x;
		out[y * half + x] = (image[at] + image[at + 1] + image[at + edge] + image[at + edge + 1]) / 4;
	}
	return out;
}
function alignImages(a, b, isStrict = false) {
	let map = [
		1,
		0,
		0,
		0,
		1,
		0
	];
	let [correlation, covered] = [0, 0];
	for (const [i, { edge, steps, least, leastDetail, strict, start }] of LEVELS.entries()) {
		if (isStrict && start > 0) {
			warp(b.levels[i], edge, map);
			if (detailCorrelation(a.levels[i], edge) < start) return "alike";
		}
		const found = refine(a.levels[i], b.levels[i], edge, map, steps, i === 0);
		if (!found || found.correlation < least) return void 0;
		map = found.map;
		covered = warp(b.levels[i], edge, map) / edge ** 2;
		correlation = detailCorrelation(a.levels[i], edge);
		if (correlation < leastDetail) return void 0;
		if (isStrict && correlation < strict) return i === 0 ? void 0 : "alike";
	}
	if (Math.abs(map[1]) > MAX_SLANT || Math.abs(map[3]) > MAX_SLANT) return void 0;
	const overlap = Math.min(covered, covered * Math.abs(map[0] * map[4] - map[1] * map[3]), 1);
	const detail = sharedDetail();
	return overlap < LEAST_OVERLAP || detail < LEAST_DETAIL ? void 0 : {
		correlation,
		overlap,
		detail
	};
}
const warped = new Float32Array(4096);
const mask = new Uint8Array(4096);
function warp(image, edge, map) {
	const half = (edge - 1) / 2;
	const last = edge - 1;
	let count = 0;
	for (let y = 0, at = 0; y < edge; y++) {
		const v = (y - half) / half;
		let px = (-map[0] + map[1] * v + map[2]) * half + half;
		let py = (-map[3] + map[4] * v + map[5]) * half + half;
		for (let x = 0; x < edge; x++, at++, px += map[0], py += map[3]) {
			if (!(px >= -.001 && py >= -.001 && px <= last + .001 && py <= last + .001)) {
				mask[at] = 0;
				continue;
			}
			const x0 = Math.min(Math.max(px, 0) | 0, last - 1);
			const y0 = Math.min(Math.max(py, 0) | 0, last - 1);
			const fx = px - x0;
			const fy = py - y0;
			const from = y0 * edge + x0;
			const top = image[from] + (image[from + 1] - image[from]) * fx;
			const bottom = image[from + edge] + (image[from + edge + 1] - image[from + edge]) * fx;
			warped[at] = top + (bottom - top) * fy;
			mask[at] = 1;
			count++;
		}
	}
	return count;
}
function fitOf(a, b, length) {
	let count = 0;
	let sumA = 0;
	let sumB = 0;
	let sumAA = 0;
	let sumBB = 0;
	let sumAB = 0;
	for (let i = 0; i < length; i++) {
		if (mask[i] === 0) continue;
		const va = a[i];
		const vb = b[i];
		count++;
		sumA += va;
		sumB += vb;
		sumAA += va * va;
		sumBB += vb * vb;
		sumAB += va * vb;
	}
	const covariance = sumAB - sumA * sumB / count;
	const varianceA = sumAA - sumA * sumA / count;
	const varianceB = sumBB - sumB * sumB / count;
	const isFlat = !(varianceA > .001 * count && varianceB > .001 * count);
	return {
		correlation: isFlat ? 0 : covariance / Math.sqrt(varianceA * varianceB),
		gain: isFlat ? 0 : covariance / varianceB,
		meanA: sumA / count,
		meanB: sumB / count
	};
}
function refine(a, b, edge, start, steps, isCoarsest) {
	const length = edge * edge;
	let map = start;
	let best;
	for (let step = 0;; step++) {
		if (warp(b, edge, map) < LEAST_OVERLAP * length) return best;
		const fit = fitOf(a, warped, length);
		if (best && fit.correlation < best.correlation - .02) return best;
		const gained = fit.correlation - (best?.correlation ?? -1);
		if (gained > 0) best = {
			map,
			correlation: fit.correlation
		};
		if (step === steps || step > 0 && Math.abs(gained) < 1e-4) return best;
		if (isCoarsest && step === EARLY.steps && best.correlation < EARLY.least) return void 0;
		const change = gaussNewtonStep(a, edge, fit);
		if (!change) return best;
		map = composed(map, change);
	}
}
function composed(map, change) {
	const [a, b, c, d, e, f] = [
		1 + change[0],
		change[1],
		change[2],
		change[3],
		1 + change[4],
		change[5]
	];
	return [
		map[0] * a + map[1] * d,
		map[0] * b + map[1] * e,
		map[0] * c + map[1] * f + map[2],
		map[3] * a + map[4] * d,
		map[3] * b + map[4] * e,
		map[3] * c + map[4] * f + map[5]
	];
}
const hessian = new Float64Array(36);
const slope = new Float64Array(6);
function gaussNewtonStep(a, edge, { gain, meanA, meanB }) {
	const half = (edge - 1) / 2;
	hessian.fill(0);
	slope.fill(0);
	const scale = gain * half / 2;
	for (let y = 1; y < edge - 1; y++) {
		let xx0 = 0;
		let xx1 = 0;
		let xx2 = 0;
		let xy0 = 0;
		let xy1 = 0;
		let xy2 = 0;
		let yy0 = 0;
		let yy1 = 0;
		let yy2 = 0;
		let ex0 = 0;
		let ex1 = 0;
		let ey0 = 0;
		let ey1 = 0;
		for (let x = 1; x < edge - 1; x++) {
			const at = y * edge + x;
			if (!(mask[at] & mask[at - 1] & mask[at + 1] & mask[at - edge] & mask[at + edge])) continue;
			const gx = (warped[at + 1] - warped[at - 1]) * scale;
			const gy = (warped[at + edge] - warped[at - edge]) * scale;
			const error = a[at] - meanA - gain * (warped[at] - meanB);
			const u = (x - half) / half;
			const xx = gx * gx;
			const xy = gx * gy;
			const yy = gy * gy;
			xx0 += xx;
			xx1 += xx * u;
			xx2 += xx * u * u;
			xy0 += xy;
			xy1 += xy * u;
			xy2 += xy * u * u;
			yy0 += yy;
			yy1 += yy * u;
			yy2 += yy * u * u;
			ex0 += gx * error;
			ex1 += gx * error * u;
			ey0 += gy * error;
			ey1 += gy * error * u;
		}
		const v = (y - half) / half;
		addBlock(0, 0, xx0, xx1, xx2, v);
		addBlock(0, 3, xy0, xy1, xy2, v);
		addBlock(3, 3, yy0, yy1, yy2, v);
		slope[0] += ex1;
		slope[1] += ex0 * v;
		slope[2] += ex0;
		slope[3] += ey1;
		slope[4] += ey0 * v;
		slope[5] += ey0;
	}
	for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) hessian[(3 + j) * 6 + i] = hessian[i * 6 + 3 + j];
	for (let i = 0; i < 6; i++) hessian[i * 6 + i] = hessian[i * 6 + i] * 1.001 + 1e-6;
	return solved();
}
function addBlock(row, column, s0, s1, s2, v) {
	const at = row * 6 + column;
	hessian[at] += s2;
	hessian[at + 1] += s1 * v;
	hessian[at + 2] += s1;
	hessian[at + 6] += s1 * v;
	hessian[at + 7] += s0 * v * v;
	hessian[at + 8] += s0 * v;
	hessian[at + 12] += s1;
	hessian[at + 13] += s0 * v;
	hessian[at + 14] += s0;
}
function solved() {
	const n = 6;
	for (let j = 0; j < n; j++) for (let i = j; i < n; i++) {
		let sum = hessian[i * n + j];
		for (let k = 0; k < j; k++) sum -= hessian[i * n + k] * hessian[j * n + k];
		if (i === j) {
			if (!(sum > 1e-9)) return void 0;
			hessian[i * n + i] = Math.sqrt(sum);
		} else hessian[i * n + j] = sum / hessian[j * n + j];
	}
	for (let i = 0; i < n; i++) {
		for (let k = 0; k < i; k++) slope[i] -= hessian[i * n + k] * slope[k];
		slope[i] /= hessian[i * n + i];
	}
	for (let i = 5; i >= 0; i--) {
		for (let k = i + 1; k < n; k++) slope[i] -= hessian[k * n + i] * slope[k];
		slope[i] /= hessian[i * n + i];
	}
	return slope;
}
const detailA = new Float32Array(4096);
const detailB = new Float32Array(4096);
const SUMS = 65;
const counts = new Float64Array(SUMS ** 2);
const sums = new Float64Array(SUMS ** 2);
const squares = new Float64Array(SUMS ** 2);
function sharedDetail() {
	let [sumA, sumB, count] = [
		0,
		0,
		0
	];
	for (let i = 0; i < detailA.length; i++) {
		if (mask[i] === 0) continue;
		sumA += detailA[i] ** 2;
		sumB += detailB[i] ** 2;
		count++;
	}
	return Math.min(sumA, sumB) / count;
}
function detailCorrelation(a, edge) {
	normaliseLocally(a, edge, detailA);
	normaliseLocally(warped, edge, detailB);
	return fitOf(detailA, detailB, edge * edge).correlation;
}
function normaliseLocally(image, edge, out) {
	for (let y = 0; y < edge; y++) for (let x = 0; x < edge; x++) {
		const at = y * edge + x;
		const to = (y + 1) * SUMS + x + 1;
		const above = to - SUMS;
		const value = mask[at] ? image[at] : 0;
		counts[to] = counts[to - 1] + counts[above] - counts[above - 1] + mask[at];
		sums[to] = sums[to - 1] + sums[above] - sums[above - 1] + value;
		squares[to] = squares[to - 1] + squares[above] - squares[above - 1] + value * value;
	}
	for (let y = 0; y < edge; y++) {
		const top = Math.max(0, y - DETAIL_RADIUS) * SUMS;
		const bottom = Math.min(edge, y + DETAIL_RADIUS + 1) * SUMS;
		for (let x = 0; x < edge; x++) {
			const at = y * edge + x;
			if (mask[at] === 0) continue;
			const left = Math.max(0, x - DETAIL_RADIUS);
			const right = Math.min(edge, x + DETAIL_RADIUS + 1);
			const count = counts[bottom + right] - counts[top + right] - counts[bottom + left] + counts[top + left];
			const sum = sums[bottom + right] - sums[top + right] - sums[bottom + left] + sums[top + left];
			const square = squares[bottom + right] - squares[top + right] - squares[bottom + left] + squares[top + left];
			const mean = sum / count;
			const variance = Math.max(0, square / count - mean * mean);
			out[at] = (image[at] - mean) / Math.sqrt(variance + NOISE_VARIANCE);
		}
	}
}
// src/audit/blur-effect.ts
const STRIDE = 4;
const REACH = 4;
function blurEffect(luminance, width, height) {
	return Math.max(alongLines(luminance, width, height, 1, width), alongLines(luminance, height, width, width, 1));
}
function alongLines(luminance, length, lines, step, line) {
	let total = 0;
	let lost = 0;
	for (let row = 0; row < lines; row += STRIDE) for (let i = 5; i < length - REACH; i++) {
		const at = row * line + i * step;
		const contrast = Math.abs(luminance[at] - luminance[at - step]);
		const blurred = Math.abs(luminance[at + REACH * step] - luminance[at - 5 * step]) / 9;
		total += contrast;
		if (contrast > blurred) lost += contrast - blurred;
	}
	return total === 0 ? 0 : (total - lost) / total;
}
// src/audit/measure-image.ts
const MEASURED_EDGE = 512;
const SMALL_EDGE = 40;
const MAX_FAST_PIXELS = 5e7;
const MAX_SECONDS = 30;
const COLOR_LEVELS = 8;
async function measureImage(input, signal) {
	let header;
	let digest;
	await loadSharp();
	try {
		header = await headerOf(input);
		digest = header && digestOf(header.bytes);
		const decoded = (header && await decodeSmall(header)) ?? await decodeWhole(input, signal);
		return {
			...describe(header),
			width: decoded.width,
			height: decoded.height,
			digest: digest ?? decoded.digest,
			fault: void 0,
			damage: decoded.damage,
			content: contentOf(decoded.image)
		};
	} catch (error) {
		signal?.throwIfAborted();
		const [width, height] = header ? sizeOf(header) : [0, 0];
		const fault = error instanceof ImageError ? error.reason : reasonOf(error);
		return {
			...describe(header),
			width,
			height,
			digest,
			fault,
			content: void 0
		};
	}
}
async function headerOf(input) {
	const source = imageSource(input);
	const encoded = source.kind === "file" ? source.path : source.kind === "bytes" ? source.bytes : void 0;
	if (encoded === void 0) return void 0;
	try {
		return await readHeader(encoded, "image", {});
	} catch (error) {
		if (error instanceof ImageError && "maxPixels" in error.details) return void 0;
		throw error;
	}
}
const digestOf = (bytes) => createHash("sha256").update(bytes).digest("base64");
function sizeOf({ width, height, orientation }) {
	return orientation >= 5 ? [height, width] : [width, height];
}
function describe(header) {
	if (!header) return {
		format: void 0,
		mode: void 0
	};
	const { format, metadata } = header;
	if (!metadata) return {
		format,
		mode: "RGB"
	};
	const { space, hasAlpha, depth, pages = 1 } = metadata;
	const isGrey = /^(b-w|grey16)$/.test(space ?? "");
	return {
		format,
		mode: `${depth === "ushort" ? "16-bit " : ""}${space === "cmyk" ? "CMYK" : isGrey ? "grey" : "RGB"}${hasAlpha ? " with alpha" : ""}${pages > 1 ? ", several frames" : ""}`
	};
}
async function decodeSmall(header) {
	const { bytes, format, metadata, orientation } = header;
	if (!(/^(jpeg|png|webp)$/.test(format) && metadata?.depth === "uchar" && /^(srgb|b-w)$/.test(metadata.space ?? "") && !metadata.hasAlpha && (metadata.pages ?? 1) === 1 && (metadata.orientation ?? 1) === orientation) || header.width * header.height > MAX_FAST_PIXELS) return void 0;
	const [width, height] = sizeOf(header);
	const sharp = await loadSharp();
	const decode = (failOn) => {
		return small(sharp(bytes, {
			autoOrient: true,
			ignoreIcc: true,
			failOn,
			limitInputPixels: DEFAULT_MAX_PIXELS
		}).timeout({ seconds: MAX_SECONDS }));
	};
	try {
		if (format !== "jpeg") return {
			image: await decode("error"),
			digest: void 0,
			width,
			height
		};
		const [image, damage] = await decode("warning").then((whole) => [whole, void 0], async (error) => [await decode("error"), lostPixels(reasonOf(error))]);
		return {
			image,
			digest: void 0,
			width,
			height,
			damage
		};
	} catch (cause) {
		const reason = `the image does not decode: ${reasonOf(cause)}`;
		throw new ImageError(reason, {
			reason,
			cause
		});
	}
}
function lostPixels(damage) {
	return /extraneous bytes/.test(damage) ? void 0 : damage;
}
async function decodeWhole(input, signal) {
	const { image, release } = await decodeWithin(input, signal);
	try {
		const { width, height, data } = image;
		const digest = digestOf(Buffer.concat([Buffer.from(`${width} ${height} `), data]));
		const isSmall = Math.max(width, height) <= MEASURED_EDGE;
		const sharp = await loadSharp();
		return {
			image: isSmall ? image : await small(sharp(data, {
				raw: {
					width,
					height,
					channels: 3
				},
				limitInputPixels: false
			})),
			digest,
			width,
			height
		};
	} finally {
		release();
	}
}
async function small(pipeline) {
	const { data, info } = await pipeline.resize({
		width: MEASURED_EDGE,
		height: MEASURED_EDGE,
		fit: "inside",
		withoutEnlargement: true,
		kernel: "linear"
	}).toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
	return {
		width: info.width,
		height: info.height,
		data
	};
}
function contentOf({ width, height, data }) {
	const pixels = width * height;
	const luminance = new Uint8Array(pixels);
	const histogram = new Uint32Array(256);
	let difference = 0;
	for (let i = 0, at = 0; i < pixels; i++, at += 3) {
		const r = data[at];
		const g = data[at + 1];
		const b = data[at + 2];
		const level = 77 * r + 150 * g + 29 * b + 128 >> 8;
		luminance[i] = level;
		histogram[level]++;
		difference += Math.abs(r - g) + Math.abs(g - b);
	}
	const inner = withoutBorders(luminance, width, height);
	const isWhole = inner.width === width && inner.height === height;
	const thumb = squareThumb(luminance, width, {
		left: 0,
		top: 0,
		width,
		height
	});
	return {
		thumb,
		inner: isWhole ? thumb : squareThumb(luminance, width, inner),
		isSmall: Math.min(width, height) < SMALL_EDGE,
		low: quantile(histogram, .01 * pixels),
		high: quantile(histogram, .99 * pixels),
		blur: blurEffect(luminance, width, height),
		isColored: difference / pixels > COLOR_LEVELS
	};
}
function quantile(histogram, rank) {
	let count = 0;
	for (let level = 0; level < 256; level++) {
		count += histogram[level];
		if (count >= rank) return level;
	}
	return 255;
}
const BORDER_RANGE = 16;
const MAX_BORDER = .35;
function withoutBorders(luminance, width, height) {
	const top = borderOf(luminance, height, width, width, 1, false);
	const bottom = borderOf(luminance, height, width, width, 1, true);
	const left = borderOf(luminance, width, height, 1, width, false);
	const right = borderOf(luminance, width, height, 1, width, true);
	return {
		left,
		top,
		width: width - left - right,
		height: height - top - bottom
	};
}
function borderOf(luminance, lines, length, line, step, isFar) {
	const most = Math.floor(lines * MAX_BORDER);
	for (let count = 0; count < most; count++) {
		const start = (isFar ? lines - 1 - count : count) * line;
		let low = 255;
		let high = 0;
		for (let i = 0, at = start; i < length; i++, at += step) {
			const level = luminance[at];
			if (level < low) low = level;
			if (level > high) high = level;
			if (high - low > BORDER_RANGE) return count;
		}
	}
	return most;
}
function squareThumb(luminance, rowLength, { left, top, width, height }) {
	const edge = 64;
	const columns = spans(width);
	const narrow = new Float32Array(edge * height);
	for (let y = 0; y < height; y++) {
		const row = (top + y) * rowLength + left;
		for (let x = 0; x < edge; x++) {
			const { from, weights } = columns[x];
			let sum = 0;
			for (let i = 0; i < weights.length; i++) sum += luminance[row + from + i] * weights[i];
			narrow[y * edge + x] = sum;
		}
	}
	const thumb = new Uint8Array(4096);
	const rows = spans(height);
	for (let y = 0; y < edge; y++) {
		const { from, weights } = rows[y];
		for (let x = 0; x < edge; x++) {
			let sum = 0;
			for (let i = 0; i < weights.length; i++) sum += narrow[(from + i) * edge + x] * weights[i];
			thumb[y * edge + x] = Math.round(sum);
		}
	}
	return thumb;
}
function spans(length) {
	const scale = length / 64;
	return Array.from({ length: 64 }, (_, i) => {
		const [start, end] = [i * scale, (i + 1) * scale];
		const from = Math.min(Math.floor(start + 1e-9), length - 1);
		const to = Math.max(from + 1, Math.min(length, Math.ceil(end - 1e-9)));
		const weights = Float32Array.from({ length: to - from }, (_, k) => {
			return Math.max(0, Math.min(end, from + k + 1) - Math.max(start, from + k));
		});
		const total = weights.reduce((sum, weight) => sum + weight, 0);
		return {
			from,
			weights: weights.map((weight) => weight / total)
		};
	});
}
// src/audit/collect-images.ts
async function collectImages(splits, options) {
	const total = splits.reduce((sum, [, { length }]) => sum + length, 0);
	const byPath = new Map();
	const read = [];
	let done = 0;
	for (const [, dataset] of splits) {
		const samples = new Array(dataset.length);
		let next = 0;
		const work = async () => {
			while (next < dataset.length) {
				const index = next++;
				options.signal?.throwIfAborted();
				samples[index] = await readSample(dataset, index, byPath, options);
				options.onProgress(++done, total);
			}
		};
		await Promise.all(Array.from({ length: 2 * availableParallelism() }, work));
		read.push(samples);
	}
	return arrange(read);
}
async function readSample(dataset, index, byPath, { images, label, signal }) {
	let sample;
	try {
		sample = await dataset.get(index);
	} catch (error) {
		if (!(error instanceof TuneError) || error.code !== "IMAGE" && error.code !== "DATA") throw error;
		return {
			label: void 0,
			question: "",
			id: void 0,
			images: [{
				path: void 0,
				measured: lost(reasonOf(error))
			}]
		};
	}
	const facts = factsOf(sample, index, {
		images,
		label
	});
	const measure = (image) => {
		const path = pathOf(image);
		if (path === void 0 || imageSource(image).kind !== "file") return measureImage(image, signal);
		const before = byPath.get(path);
		if (before) return before;
		const measured = measureImage(image, signal);
		byPath.set(path, measured);
		return measured;
	};
	const measured = await Promise.all(facts.images.map(async (image) => ({
		path: pathOf(image),
		measured: await measure(image)
	})));
	const question = createHash("sha1").update(facts.question).digest("base64");
	const whole = measured.length === 0 ? `${question} ${facts.label ?? ""}` : question;
	return {
		label: facts.label,
		question: whole,
		id: facts.id,
		images: measured
	};
}
const lost = (fault) => ({
	width: 0,
	height: 0,
	format: void 0,
	mode: void 0,
	digest: void 0,
	content: void 0,
	fault
});
function arrange(read) {
	const folder = commonFolder(read.flat().flatMap(({ images }) => images.flatMap(({ path }) => path ?? [])));
	const samples = [];
	const images = [];
	for (const [split, list] of read.entries()) {
		const known = new Map();
		for (const [index, { label, question, id, images: own }] of list.entries()) {
			const names = own.map(({ path }) => path === void 0 ? id ?? `sample ${index}` : path.slice(folder.length));
			const places = own.map(({ measured }, position) => {
				const before = known.get(measured);
				if (before !== void 0) return before;
				known.set(measured, images.length);
				return images.push({
					split,
					index,
					position,
					name: names[position],
					measured
				}) - 1;
			});
			samples.push({
				split,
				index,
				name: names[0] ?? id ?? `sample ${index}`,
				label,
				question,
				images: places
			});
		}
	}
	return {
		samples,
		images
	};
}
function commonFolder(paths) {
	const [first = ""] = paths;
	let { length } = first;
	for (const path of paths) {
		let same = 0;
		while (same < length && path[same] === first[same]) same++;
		length = same;
	}
	if (length === 0) return "";
	const separators = sep === win32.sep ? [win32.sep, posix.sep] : [posix.sep];
	return first.slice(0, Math.max(...separators.map((one) => first.lastIndexOf(one, length - 1) + 1)));
}
// src/audit/copy-groups.ts
var DisjointSets = class {
	#parents;
	constructor(count) {
		this.#parents = Int32Array.from({ length: count }, (_, i) => i);
	}
	rootOf(one) {
		let root = one;
		while (this.#parents[root] !== root) root = this.#parents[root];
		for (let at = one; at !== root;) {
			const next = this.#parents[at];
			this.#parents[at] = root;
			at = next;
		}
		return root;
	}
	join(a, b) {
		const [first, second] = [this.rootOf(a), this.rootOf(b)].sort((x, y) => x - y);
		this.#parents[second] = first;
	}
};
function pairsWithin(classes, nearOf) {
	const first = new Map();
	const pairs = [];
	for (const [place, one] of classes.entries()) {
		const earlier = first.get(one);
		if (earlier === void 0) first.set(one, place);
		else pairs.push({
			a: earlier,
			b: place,
			near: void 0
		});
	}
	for (const [one, place] of first) for (const [other, near] of nearOf(one)) {
		const to = first.get(other);
		if (to !== void 0 && place < to) pairs.push({
			a: place,
			b: to,
			near
		});
	}
	return pairs.sort((x, y) => x.a - y.a || x.b - y.b);
}
function groupedBy(items, keyOf) {
	const groups = new Map();
	for (const item of items) {
		const key = keyOf(item);
		const group = groups.get(key);
		if (group) group.push(item);
		else groups.set(key, [item]);
	}
	return groups;
}
// src/audit/find-copies.ts
function exactClasses({ images }) {
	const byDigest = new Map();
	let count = 0;
	return images.map(({ measured: { digest } }) => {
		const known = digest === void 0 ? void 0 : byDigest.get(digest);
		if (known !== void 0) return known;
		if (digest !== void 0) byDigest.set(digest, count);
		return count++;
	});
}
function findCopies(data, classes, near, shown, splitNames) {
	const sets = new DisjointSets(classes.reduce((count, one) => Math.max(count, one + 1), 0));
	for (const { a, b } of near) sets.join(a, b);
	const nearOf = new Map();
	for (const pair of near) for (const [one, other] of [[pair.a, pair.b], [pair.b, pair.a]]) {
		const others = nearOf.get(one) ?? new Map();
		nearOf.set(one, others.set(other, pair));
	}
	const rootOf = (image) => sets.rootOf(classes[image]);
	const groups = [...groupedBy(data.images.keys(), rootOf)].filter(([, members]) => members.length > 1);
	const { duplicateSamples, conflicts } = groupSamples(data, splitNames, classes, rootOf, nearOf);
	const duplicates = groups.map(([root, members]) => {
		const pairs = pairsWithin(members.map((image) => classes[image]), (one) => nearOf.get(one) ?? []).map(shownPair);
		return {
			root,
			images: members.map((image) => shown[image]),
			pairs,
			isExact: pairs.every(({ kind }) => kind === "exact"),
			splits: splitNames.filter((_, split) => members.some((image) => data.images[image].split === split)),
			labels: [...new Set(members.flatMap((image) => shown[image].label ?? []))],
			isConflict: conflicts.has(root)
		};
	});
	const urgency = (group) => (group.isConflict ? 2 : 0) + (group.splits.length > 1 ? 1 : 0);
	duplicates.sort((a, b) => urgency(b) - urgency(a));
	const placeOf = new Map(duplicates.map(({ root }, place) => [root, place]));
	return {
		duplicates: duplicates.map(({ root: _, ...group }) => group),
		duplicateSamples,
		leaks: findLeaks(data, (image) => placeOf.get(rootOf(image)), duplicates, splitNames)
	};
}
function shownPair({ a, b, near }) {
	if (!near) return {
		a,
		b,
		kind: "exact",
		correlation: 1,
		transform: "none",
		overlap: 1
	};
	const { correlation, transform, overlap } = near;
	return {
		a,
		b,
		kind: "near",
		correlation,
		transform,
		overlap
	};
}
function groupSamples({ samples }, splitNames, classes, rootOf, nearOf) {
	const conflicts = new Set();
	const keyOf = ({ images, question }) => `${images.map(rootOf).join(" ")}\n${question}`;
	return {
		duplicateSamples: [...groupedBy(samples, keyOf).values()].filter((members) => members.length > 1).map((members) => {
			const isConflict = new Set(members.flatMap(({ label }) => label ?? [])).size > 1;
			if (isConflict) for (const image of members[0].images) conflicts.add(rootOf(image));
			return {
				samples: members.map(({ split, index, name, label }) => {
					return {
						split: splitNames[split],
						index,
						name,
						label: label ?? null
					};
				}),
				pairs: samplePairs(members, classes, nearOf),
				isConflict
			};
		}),
		conflicts
	};
}
function samplePairs(members, classes, nearOf) {
	const kinds = [...groupedBy(members, ({ images }) => images.map((image) => classes[image]).join(" "))];
	const ids = new Map(kinds.map(([key], id) => [key, id]));
	const lists = kinds.map(([, [first]]) => first.images.map((image) => classes[image]));
	const byFirst = groupedBy(lists.keys(), (id) => lists[id][0]);
	const near = (a) => {
		const own = lists[a];
		const first = own[0];
		if (first === void 0) return [];
		return [first, ...nearOf.get(first)?.keys() ?? []].flatMap((one) => byFirst.get(one) ?? []).flatMap((b) => {
			if (a === b) return [];
			const other = lists[b];
			const pairs = own.map((one, place) => nearOf.get(one)?.get(other[place]));
			const areCopies = pairs.every((pair, place) => pair !== void 0 || own[place] === other[place]);
			const pair = pairs.find((one) => one !== void 0);
			return areCopies && pair ? [[b, pair]] : [];
		});
	};
	const idOf = ({ images }) => ids.get(images.map((image) => classes[image]).join(" "));
	return pairsWithin(members.map(idOf), near).map(({ a, b, near: pair }) => ({
		a,
		b,
		kind: pair ? "near" : "exact"
	}));
}
function findLeaks({ samples }, groupOf, duplicates, splitNames) {
	const bySplit = groupedBy(samples, (sample) => sample.split);
	return splitNames.flatMap((split, s) => splitNames.flatMap((other) => {
		if (split === other) return [];
		const found = (bySplit.get(s) ?? []).flatMap(({ index, images }) => {
			const group = images.map(groupOf).find((one) => one !== void 0 && duplicates[one].splits.includes(other));
			return group === void 0 ? [] : [{
				index,
				group
			}];
		});
		if (found.length === 0) return [];
		return [{
			split,
			other,
			samples: found.map(({ index }) => index),
			groups: found.map(({ group }) => group)
		}];
	}));
}
// src/audit/coarse-shape.ts
const MAX_FREQUENCY = 7;
const WHITENING = .5;
const SAMPLES = 32;
const FREQUENCIES = Array.from({ length: 64 }, (_, i) => ({
	u: Math.floor(i / 8),
	v: i % 8
})).filter(({ u, v }) => u + v >= 1 && u + v <= MAX_FREQUENCY).sort((a, b) => groupOf(a) - groupOf(b));
function groupOf({ u, v }) {
	return u % 2 * 2 + v % 2;
}
const GROUP_ENDS = [
	0,
	1,
	2,
	3
].map((group) => FREQUENCIES.filter((one) => groupOf(one) <= group).length);
const EXCHANGED = FREQUENCIES.map(({ u, v }) => FREQUENCIES.findIndex((other) => other.u === v && other.v === u));
const WEIGHTS = FREQUENCIES.map(({ u, v }) => (u * u + v * v) ** (WHITENING / 2));
const COSINES = Array.from({ length: 8 }, (_, frequency) => Float64Array.from({ length: SAMPLES }, (_, x) => Math.cos(Math.PI * (x + .5) * frequency / SAMPLES)));
const SHAPE_LENGTH = FREQUENCIES.length;
function coarseShape(thumb, out) {
	const factor = 64 / SAMPLES;
	const rows = COSINES.map((cosine) => {
		const sums = new Float64Array(SAMPLES);
		for (let y = 0; y < 64; y++) {
			let sum = 0;
			for (let x = 0; x < 64; x++) sum += thumb[y * 64 + x] * cosine[x / factor | 0];
			sums[y / factor | 0] += sum;
		}
		return sums;
	});
	let norm = 0;
	for (const [i, { u, v }] of FREQUENCIES.entries()) {
		const row = rows[v];
		const cosine = COSINES[u];
		let sum = 0;
		for (let y = 0; y < SAMPLES; y++) sum += row[y] * cosine[y];
		out[i] = sum * WEIGHTS[i];
		norm += out[i] ** 2;
	}
	const scale = norm > 0 ? 1 / Math.sqrt(norm) : 0;
	for (let i = 0; i < out.length; i++) out[i] *= scale;
}
const LEAST_LIKENESS = .82;
const PER_IMAGE = 32;
const TURNS = 8;
function* candidates({ shapes, turns, limit }) {
	const count = shapes.length / SHAPE_LENGTH;
	const norms = groupNorms(shapes, count);
	const best = new BestOfEach(count);
	const exchanged = new Float32Array(SHAPE_LENGTH);
	const likenesses = new Float32Array(TURNS);
	for (let a = 0; a < count; a++) {
		const own = shapes.subarray(a * SHAPE_LENGTH, (a + 1) * SHAPE_LENGTH);
		for (let i = 0; i < SHAPE_LENGTH; i++) exchanged[i] = own[EXCHANGED[i]];
		const n0 = norms[a * 4];
		const n1 = norms[a * 4 + 1];
		const n2 = norms[a * 4 + 2];
		const n3 = norms[a * 4 + 3];
		for (let b = a + 1; b < count; b++) {
			const at = b * 4;
			const outer = n0 * norms[at] + n3 * norms[at + 3];
			const straight = outer + n1 * norms[at + 1] + n2 * norms[at + 2] >= LEAST_LIKENESS;
			const crossed = turns && outer + n1 * norms[at + 2] + n2 * norms[at + 1] >= LEAST_LIKENESS;
			if (straight) fourLikenesses(own, shapes, b * SHAPE_LENGTH, likenesses, 0);
			if (crossed) fourLikenesses(exchanged, shapes, b * SHAPE_LENGTH, likenesses, 4);
			for (let turn = straight ? 0 : 4; turn < (crossed ? TURNS : turns ? 4 : straight ? 1 : 0); turn++) if (likenesses[turn] >= LEAST_LIKENESS) best.add({
				a,
				b,
				turn,
				likeness: likenesses[turn]
			});
		}
		yield;
	}
	const kept = best.all();
	return kept.length > limit ? kept.sort((x, y) => y.likeness - x.likeness).slice(0, limit) : kept;
}
function groupNorms(shapes, count) {
	const norms = new Float32Array(count * 4);
	for (let image = 0; image < count; image++) for (let i = 0; i < SHAPE_LENGTH; i++) norms[image * 4 + groupOf(FREQUENCIES[i])] += shapes[image * SHAPE_LENGTH + i] ** 2;
	return norms.map(Math.sqrt);
}
function fourLikenesses(own, shapes, from, out, to) {
	const end0 = GROUP_ENDS[0];
	const end1 = GROUP_ENDS[1];
	const end2 = GROUP_ENDS[2];
	let i = 0;
	let even = 0;
	for (; i < end0; i++) even += own[i] * shapes[from + i];
	let across = 0;
	for (; i < end1; i++) across += own[i] * shapes[from + i];
	let down = 0;
	for (; i < end2; i++) down += own[i] * shapes[from + i];
	let both = 0;
	for (; i < SHAPE_LENGTH; i++) both += own[i] * shapes[from + i];
	out[to] = even + across + down + both;
	out[to + 1] = even - across + down - both;
	out[to + 2] = even + across - down - both;
	out[to + 3] = even - across - down + both;
}
var BestOfEach = class {
	#lists;
	constructor(count) {
		this.#lists = Array.from({ length: count }, () => []);
	}
	add(candidate) {
		for (const image of [candidate.a, candidate.b]) {
			const list = this.#lists[image];
			list.push(candidate);
			if (list.length < 64) continue;
			list.sort((x, y) => y.likeness - x.likeness);
			list.length = PER_IMAGE;
		}
	}
	all() {
		const kept = new Set();
		for (const list of this.#lists) {
			list.sort((x, y) => y.likeness - x.likeness);
			for (const one of list.slice(0, PER_IMAGE)) kept.add(one);
		}
		return [...kept].sort((x, y) => x.a - y.a || x.b - y.b || x.turn - y.turn);
	}
};
function turned(thumb, turn) {
	if (turn === 0) return thumb;
	const last = 63;
	const out = new Uint8Array(thumb.length);
	for (let y = 0; y < 64; y++) for (let x = 0; x < 64; x++) {
		const row = turn & 4 ? x : y;
		const column = turn & 4 ? y : x;
		out[y * 64 + x] = thumb[(turn & 2 ? last - row : row) * 64 + (turn & 1 ? last - column : column)];
	}
	return out;
}
const FEW = 3;
const MOST = 32;
var Lookalikes = class {
	#others;
	constructor(count) {
		this.#others = new Array(count);
	}
	add(a, b) {
		for (const [one, other] of [[a, b], [b, a]]) {
			this.#others[one] ??= new Set();
			if (this.#others[one].size < MOST) this.#others[one].add(other);
		}
	}
	delete(a, b) {
		this.#others[a]?.delete(b);
		this.#others[b]?.delete(a);
	}
	fullness(a, b) {
		const count = Math.max(this.#others[a]?.size ?? 0, this.#others[b]?.size ?? 0);
		return Math.min(1, Math.max(0, (count - FEW) / 3));
	}
};
const CHAIN = 10;
const CENTRE_SHARE = 1 / 3;
function kinOf(pairs, fullness) {
	const degrees = new Map();
	const sets = new DisjointSets(pairs.reduce((count, { b }) => Math.max(count, b + 1), 0));
	for (const { a, b } of pairs) {
		for (const image of [a, b]) degrees.set(image, (degrees.get(image) ?? 0) + 1);
		sets.join(a, b);
	}
	const groups = new Map();
	for (const [image, degree] of degrees) {
		const { size, most } = groups.get(sets.rootOf(image)) ?? {
			size: 0,
			most: 0
		};
		groups.set(sets.rootOf(image), {
			size: size + 1,
			most: Math.max(most, degree)
		});
	}
	return (image) => {
		const group = degrees.has(image) ? groups.get(sets.rootOf(image)) : void 0;
		return group !== void 0 && group.size >= CHAIN && group.most < CENTRE_SHARE * group.size ? 1 : fullness(image);
	};
}
// src/audit/near-duplicates.ts
const MAX_CANDIDATES = 5e5;
const KEPT_PYRAMIDS = 4096;
const TRANSFORMS = [
	"none",
	"mirrored",
	"mirrored, rotated by 180°",
	"rotated by 180°",
	"mirrored, rotated by 270°",
	"rotated by 270°",
	"rotated by 90°",
	"mirrored, rotated by 90°"
];
async function findNearDuplicates(search) {
	const { views, minCorrelation, transforms, onProgress, signal } = search;
	const compared = [...views.keys()].filter((i) => views[i] !== void 0);
	const turn = async () => {
		if (isTurnDue()) await eventLoopTurn();
		signal?.throwIfAborted();
	};
	const find = async (thumbOf) => {
		const shapes = new Float32Array(compared.length * SHAPE_LENGTH);
		for (const [place, i] of compared.entries()) coarseShape(thumbOf(views[i]), shapes.subarray(place * SHAPE_LENGTH, (place + 1) * SHAPE_LENGTH));
		const steps = candidates({
			shapes,
			turns: transforms,
			limit: MAX_CANDIDATES
		});
		let step = steps.next();
		for (; !step.done; step = steps.next()) await turn();
		return step.value.sort((x, y) => x.a - y.a || x.b - y.b || x.turn - y.turn);
	};
	const whole = await find(({ thumb }) => thumb);
	const hasBorder = (place) => views[compared[place]].inner !== views[compared[place]].thumb;
	const inner = compared.some((_, place) => hasBorder(place)) ? (await find((one) => one.inner)).filter(({ a, b }) => hasBorder(a) || hasBorder(b)) : [];
	const best = new Map();
	const lookalikes = new Lookalikes(compared.length);
	const places = new Map(compared.map((image, place) => [image, place]));
	let done = 0;
	const compare = async (found, thumbOf) => {
		const pyramids = new PyramidCache((place) => thumbOf(views[compared[place]]));
		for (const { a, b, turn: bits } of found) {
			const isSmall = views[compared[a]].isSmall || views[compared[b]].isSmall;
			const isStrict = isSmall || lookalikes.fullness(a, b) === 1;
			const aligned = alignImages(pyramids.of(a), pyramids.of(b, bits), isStrict);
			const alignment = aligned === "alike" ? void 0 : aligned;
			const before = best.get(`${a} ${b}`);
			if (alignment && alignment.correlation >= requiredCorrelation(minCorrelation, alignment.detail, isSmall)) {
				lookalikes.delete(a, b);
				if (!before || alignment.correlation > before.correlation + .001) {
					const { correlation, overlap } = alignment;
					const transform = TRANSFORMS[bits];
					best.set(`${a} ${b}`, {
						a: compared[a],
						b: compared[b],
						correlation,
						overlap,
						transform
					});
				}
			} else if (!before && (aligned === "alike" || alignment && alignment.correlation >= .6)) lookalikes.add(a, b);
			if (++done % 64 > 0) continue;
			onProgress(done, whole.length + inner.length);
			await turn();
		}
	};
	await compare(whole, ({ thumb }) => thumb);
	await compare(inner, (one) => one.inner);
	onProgress(done, done);
	const kin = kinOf([...best.values()], (image) => lookalikes.fullness(places.get(image), places.get(image)));
	const pairs = [...best.values()].filter(({ a, b, correlation }) => correlation >= raised(minCorrelation, Math.max(kin(a), kin(b)))).sort((x, y) => x.a - y.a || x.b - y.b);
	const family = compared.filter((image) => kin(image) === 1).length;
	return {
		pairs,
		isCut: whole.length === MAX_CANDIDATES || inner.length === MAX_CANDIDATES,
		family
	};
}
const SMALL_CORRELATION = .97;
const FULL_CORRELATION = .95;
const SOME_DETAIL = .45;
function requiredCorrelation(least, detail, isSmall) {
	const required = raised(least, Math.min(1, Math.max(0, (detail - SOME_DETAIL) / .14999999999999997)));
	return isSmall ? Math.max(required, SMALL_CORRELATION) : required;
}
function raised(least, share) {
	return least + Math.max(0, FULL_CORRELATION - least) * share;
}
var PyramidCache = class {
	#kept = new Map();
	#thumbOf;
	constructor(thumbOf) {
		this.#thumbOf = thumbOf;
	}
	of(place, turn = 0) {
		if (turn > 0) return pyramidOf(turned(this.#thumbOf(place), turn));
		let pyramid = this.#kept.get(place);
		if (!pyramid) {
			if (this.#kept.size >= KEPT_PYRAMIDS) this.#kept.clear();
			pyramid = pyramidOf(this.#thumbOf(place));
			this.#kept.set(place, pyramid);
		}
		return pyramid;
	}
};
// src/audit/audit-dataset.ts
const MAX_LABEL = 80;
const MAX_CLASSES = 1e3;
const SAMPLES_PER_CLASS = 4;
async function auditDataset(data, options = {}) {
	const start = performance.now();
	const { settings, rest } = parseAuditOptions(options);
	const splits = splitsOf(data, "auditDataset");
	const { signal, onProgress } = rest;
	const collected = await collectImages(splits, {
		images: rest.images,
		label: rest.label,
		onProgress: (done, total) => onProgress?.({
			phase: "images",
			done,
			total
		}),
		signal
	});
	const splitNames = splits.map(([name]) => name);
	const shown = shownImages(collected, splitNames);
	const classes = exactClasses(collected);
	const first = [];
	for (const [i, one] of classes.entries()) first[one] ??= collected.images[i].measured;
	const isCompared = (low, high) => high - low >= settings.blankRange;
	const { pairs, isCut, family } = settings.nearDuplicates ? await findNearDuplicates({
		views: first.map(({ content }) => content && isCompared(content.low, content.high) ? content : void 0),
		minCorrelation: settings.minCorrelation,
		transforms: settings.transforms,
		onProgress: (done, total) => onProgress?.({
			phase: "pairs",
			done,
			total
		}),
		signal
	}) : {
		pairs: [],
		isCut: false,
		family: 0
	};
	const copies = findCopies(collected, classes, pairs, shown, splitNames);
	const classNames = classNamesOf(splits, collected);
	const measured = collected.images.map((image) => image.measured);
	const auditedSplits = splits.map(([name, { length }], s) => {
		const samples = collected.samples.filter(({ split }) => split === s);
		const byLabel = groupedBy(samples, ({ label }) => label);
		return {
			name,
			samples: length,
			images: samples.reduce((sum, { images }) => sum + images.length, 0),
			classCounts: classNames.map((one) => byLabel.get(one)?.length ?? 0)
		};
	});
	return {
		version: 1,
		splits: auditedSplits,
		classNames,
		sizes: sizesOf(measured.filter(({ width }) => width > 0)),
		modes: counted(measured.flatMap(({ mode }) => mode ?? [])),
		formats: counted(measured.flatMap(({ format, fault }) => format ?? (fault === void 0 ? "pixels" : []))),
		...copies,
		issues: findIssues(shown, measured, settings),
		notes: notesOf(auditedSplits, classNames, isCut, family),
		settings,
		seconds: (performance.now() - start) / 1e3
	};
}
function shownImages({ samples, images }, splitNames) {
	const labels = groupedBy(samples, ({ split }) => split);
	return images.map(({ split, index, position, name, measured: { width, height } }) => {
		const label = labels.get(split)[index].label ?? null;
		const isLong = label !== null && label.length > MAX_LABEL;
		return {
			split: splitNames[split],
			index,
			position,
			name,
			label: isLong ? `${label.slice(0, MAX_LABEL)}…` : label,
			width,
			height
		};
	});
}
function classNamesOf(splits, { samples }) {
	const known = splits.map(([, dataset]) => dataset.classLabel?.names);
	const labels = new Set(samples.flatMap(({ label }) => label ?? []));
	const named = known.find((names) => Array.isArray(names));
	if (named && [...labels].every((label) => named.includes(label))) return named;
	const isFew = labels.size <= MAX_CLASSES && labels.size * SAMPLES_PER_CLASS <= samples.length;
	const isShort = [...labels].every((label) => label.length <= MAX_LABEL);
	return isFew && isShort ? [...labels].sort() : [];
}
function sizesOf(measured) {
	if (measured.length === 0) return null;
	return {
		width: distribution(measured.map(({ width }) => width)),
		height: distribution(measured.map(({ height }) => height)),
		aspectRatio: distribution(measured.map(({ width, height }) => Math.max(width, height) / Math.min(width, height)))
	};
}
function counted(names) {
	return [...groupedBy(names, (name) => name)].map(([name, all]) => ({
		name,
		images: all.length
	})).sort((a, b) => b.images - a.images);
}
const UNBALANCED = 10;
function notesOf(splits, classNames, isCut, family) {
	const notes = [];
	for (const { name, classCounts, samples } of splits) {
		const missing = classNames.filter((_, i) => classCounts[i] === 0);
		if (missing.length > 0 && samples > 0) notes.push(`${name} has no sample of ${shortList(missing, 5, oneLine)}`);
		const present = classCounts.filter((count) => count > 0);
		const [most, least] = [Math.max(...present), Math.min(...present)];
		if (present.length > 1 && most > UNBALANCED * least) notes.push(`the largest class of ${name} has ${(most / least).toFixed(0)} times the samples of the smallest`);
	}
	if (isCut) notes.push("there are more images alike than are compared: near copies that are cropped may be missing");
	if (family > 0) notes.push(`${family} images resemble many others in their details, as drawings of one template do: only near copies that correlate by 0.95 count among them`);
	return notes.map(warningLine);
}
// src/audit/copy-relation.ts
var CopyRelation = class {
	#samples;
	#exact;
	#near = new Map();
	constructor({ samples, pairs }, kind) {
		this.#samples = samples;
		this.#exact = Int32Array.from(samples, (_, i) => i);
		for (const pair of pairs) if (pair.kind === "exact") this.#exact[pair.b] = pair.a;
		for (const pair of pairs) {
			if (pair.kind === "exact" || kind === "exact") continue;
			for (const [one, other] of [[pair.a, pair.b], [pair.b, pair.a]]) this.#near.set(one, [...this.#near.get(one) ?? [], other]);
		}
	}
	components(split) {
		const own = [...this.#samples.keys()].filter((i) => this.#samples[i].split === split);
		const firsts = new Set(own.map((i) => this.#exact[i]));
		const sets = new DisjointSets(this.#samples.length);
		for (const first of firsts) for (const other of this.#near.get(first) ?? []) if (firsts.has(other)) sets.join(first, other);
		return [...groupedBy(own, (i) => sets.rootOf(this.#exact[i])).values()].filter((members) => members.length > 1).map((members) => this.#component(members));
	}
	#component(places) {
		const members = places.map((i) => this.#samples[i]);
		return {
			members,
			isConflict: new Set(members.flatMap(({ label }) => label ?? [])).size > 1,
			copies: () => this.#copies(places),
			conflicting: () => members.map((member) => {
				const copyOf = members.find(({ label }) => label !== member.label) ?? members.find((one) => one !== member);
				return {
					...member,
					copyOf,
					reason: "conflict"
				};
			})
		};
	}
	#copies(places) {
		const kept = new Map();
		const removed = [];
		for (const i of places) {
			const sample = this.#samples[i];
			const first = this.#exact[i];
			const exact = kept.get(first);
			const near = (this.#near.get(first) ?? []).map((other) => kept.get(other)).find((one) => one !== void 0);
			const copyOf = exact ?? near;
			if (copyOf) removed.push({
				...sample,
				copyOf,
				reason: exact ? "exact" : "near"
			});
			else kept.set(first, sample);
		}
		return removed;
	}
};
// src/audit/deduplicate.ts
const deduplicateSchema = strictObject({
	kind: _enum(["near", "exact"]).default("near"),
	conflicts: _enum([
		"remove",
		"keep",
		"first"
	]).optional(),
	splits: array(string()).optional()
});
async function deduplicate(data, report, options = {}) {
	requireAuditReport(report, "deduplicate");
	const { kind, conflicts, splits: chosen } = parseOptions(deduplicateSchema, options, "deduplicate");
	const splits = splitsOf(data, "deduplicate");
	for (const [name, dataset] of splits) requireSplit(report, name, dataset, "deduplicate");
	requireSplitNames(chosen ?? [], report, "deduplicate: `splits`");
	const names = splits.map(([name]) => name).filter((name) => !chosen || chosen.includes(name));
	const groups = report.duplicateSamples.map((group) => new CopyRelation(group, kind));
	const removed = [];
	for (const name of names) for (const component of groups.flatMap((group) => group.components(name))) if (!component.isConflict || conflicts === "first") removed.push(...component.copies());
	else if (conflicts === "remove") removed.push(...component.conflicting());
	else if (conflicts === void 0) throw conflictError(report, component);
	const result = [];
	const bySplit = groupedBy(removed, ({ split }) => split);
	for (const [name, dataset] of splits) {
		const own = bySplit.get(name) ?? [];
		await requireSamples(dataset, own, "deduplicate");
		const gone = new Set(own.map(({ index }) => index));
		const kept = Array.from({ length: dataset.length }, (_, index) => index).filter((index) => !gone.has(index));
		if (kept.length === 0 && own.length > 0) throw new DataError(`deduplicate: nothing is left of ${oneLine(name)}: all of its samples are copies in conflict`, {
			hint: "Look at `report.duplicates`, or keep the first of each group: `conflicts: 'first'`.",
			details: {
				split: name,
				samples: own.length
			}
		});
		result.push([name, selected(dataset, kept)]);
	}
	const order = names.flatMap((name) => bySplit.get(name)?.sort((a, b) => a.index - b.index) ?? []);
	return {
		splits: Object.fromEntries(result),
		removed: order
	};
}
function conflictError(report, { members }) {
	const shown = shortList(members, 4, ({ name, label }) => `${oneLine(name)} (${oneLine(label ?? "no label")})`);
	const count = report.duplicateSamples.filter(({ isConflict }) => isConflict).length;
	return new DataError(`deduplicate: copies have different labels: ${shown}; such groups in all: ${count}`, {
		hint: "Say what becomes of them: `conflicts: 'remove'` all, 'keep' all, or keep the 'first' of each group.",
		details: { samples: members.map(({ name }) => name) }
	});
}
// src/audit/leak-free-split.ts
const leakFreeSchema = strictObject({
	split: string().default("test"),
	against: array(string()).optional()
});
async function leakFreeSplit(dataset, report, options = {}) {
	requireAuditReport(report, "leakFreeSplit");
	const { split, against } = parseOptions(leakFreeSchema, options, "leakFreeSplit");
	if (!isKind(dataset, "dataset")) throw new ConfigError(`leakFreeSplit: expected a data set, got ${describeGiven(dataset)}`, { hint: "Give the split itself, e.g. `data.test`." });
	requireSplitNames([split, ...against ?? []], report, "leakFreeSplit");
	requireSplit(report, split, dataset, "leakFreeSplit");
	const removed = new Map();
	for (const leak of report.leaks) {
		if (leak.split !== split || against && !against.includes(leak.other)) continue;
		for (const [i, index] of leak.samples.entries()) {
			const group = report.duplicates[leak.groups[i]];
			const found = leakedSample(index, split, leak.other, group);
			const before = removed.get(index);
			if (!before || before.reason === "indirect" && found.reason !== "indirect") removed.set(index, found);
		}
	}
	const rising = [...removed.values()].sort((a, b) => a.index - b.index);
	await requireSamples(dataset, rising, "leakFreeSplit");
	const kept = Array.from({ length: dataset.length }, (_, index) => index).filter((index) => !removed.has(index));
	if (kept.length === 0 && rising.length > 0) throw emptySplit(split, rising.length);
	return {
		dataset: selected(dataset, kept),
		removed: rising
	};
}
function emptySplit(split, samples) {
	return new DataError(`leakFreeSplit: nothing is left of ${oneLine(split)}: each of its ${samples} samples has a copy in other splits`, {
		hint: "Look at `report.leaks`, and test on other images; `against` names the splits that count.",
		details: {
			split,
			samples
		}
	});
}
function leakedSample(index, split, other, group) {
	const { images, pairs } = group;
	const isOwn = (place) => images[place].split === split && images[place].index === index;
	const owns = images.some((_, place) => isOwn(place)) ? isOwn : (place) => images[place].split === split;
	const exactOf = new Map(pairs.flatMap(({ a, b, kind }) => kind === "exact" ? [[b, a]] : []));
	const firstOf = (place) => exactOf.get(place) ?? place;
	const copies = images.flatMap((image, place) => image.split === other ? [place] : []);
	const places = images.flatMap((_, place) => owns(place) ? [place] : []);
	const own = images[places[0]];
	const sample = {
		split,
		index,
		name: own.name,
		label: own.label
	};
	for (const place of places) {
		const exact = copies.find((copy) => firstOf(copy) === firstOf(place));
		if (exact === void 0) continue;
		return {
			...sample,
			copy: images[exact],
			reason: "exact",
			correlation: 1,
			transform: "none"
		};
	}
	const near = pairs.flatMap((pair) => {
		if (pair.kind === "exact") return [];
		const [mine, others] = [[pair.a, pair.b], [pair.b, pair.a]].map(([x, y]) => [places.find((p) => firstOf(p) === x), copies.find((c) => firstOf(c) === y)]).find(([x, y]) => x !== void 0 && y !== void 0) ?? [void 0, void 0];
		return mine === void 0 || others === void 0 ? [] : [{
			pair,
			copy: others
		}];
	}).sort((x, y) => y.pair.correlation - x.pair.correlation)[0];
	if (!near) return {
		...sample,
		copy: images[copies[0]],
		reason: "indirect",
		correlation: null,
		transform: null
	};
	const { correlation, transform } = near.pair;
	return {
		...sample,
		copy: images[near.copy],
		reason: "near",
		correlation,
		transform
	};
}
// src/audit/format-audit.ts
const COLUMNS = 80;
const MAX_MEMBERS = 4;
const limit = (count) => int().nonnegative().default(count);
const formatSchema = strictObject({
	maxGroups: limit(10),
	maxIssues: limit(3),
	maxClasses: limit(30)
});
function formatAudit(report, options = {}) {
	requireAuditReport(report, "formatAudit");
	const { maxGroups, maxIssues, maxClasses } = parseOptions(formatSchema, options, "formatAudit");
	const samples = report.splits.reduce((sum, split) => sum + split.samples, 0);
	const images = report.splits.reduce((sum, split) => sum + split.images, 0);
	const perSplit = report.splits.map((split) => `${oneLine(split.name)} ${grouped(split.samples)}`).join(", ");
	return [
		wrapped([
			`Data audit: ${counted$1(samples, "sample")} (${perSplit}), ${counted$1(images, "image")}, in ${report.seconds.toFixed(1)} s`,
			sizesLine(report),
			...report.notes.map((note) => `Note: ${tableCell(note)}`)
		]),
		classTable(report, maxClasses),
		wrapped([
			...leakLines(report, oneLine),
			copiesLine(report),
			...sampleLines(report)
		]),
		groupList(report, maxGroups),
		...issueLists(report, maxIssues)
	].filter((lines) => lines.length > 0).map((lines) => lines.join("\n")).join("\n\n");
}
function wrapped(sentences) {
	return sentences.flatMap((sentence) => wrapText(sentence, COLUMNS));
}
function classTable({ classNames, splits }, most) {
	if (classNames.length === 0) return [];
	const shown = splits.slice(0, 3);
	const rows = distinctNames(classNames).map((name, i) => {
		const cells = shown.map(({ classCounts, samples }) => {
			const count = classCounts[i];
			return `${grouped(count).padStart(8)} ${(samples > 0 ? share(count, samples) : "").padStart(7)}`;
		});
		return `${fitted(name, NAME_COLUMNS, "start")}${cells.join("")}`;
	});
	const head = `${"class".padEnd(NAME_COLUMNS)}${shown.map(({ name }) => ` ${fittedRight(tableCell(name), 15)}`).join("")}`;
	const left = [rows.length - most, splits.length - shown.length];
	const more = [...left[0] > 0 ? [`and ${counted$1(left[0], "more class", "more classes")}`] : [], ...left[1] > 0 ? [`and ${counted$1(left[1], "more split")}`] : []];
	return [
		head,
		"─".repeat(NAME_COLUMNS + 16 * shown.length),
		...rows.slice(0, most),
		...more
	];
}
const NAME_COLUMNS = 30;
function groupList(report, most) {
	const lines = report.duplicates.slice(0, most).flatMap((group, i) => {
		const number = `${i + 1}.`;
		const indent = " ".repeat(number.length + 1);
		const [first = "", ...others] = wrapText(groupLine(group, oneLine), COLUMNS - indent.length);
		const members = group.images.slice(0, MAX_MEMBERS).map((image) => imageLine(image, indent));
		const left = group.images.length - MAX_MEMBERS;
		return [
			`${number} ${first}`,
			...others.map((line) => indent + line),
			...members,
			...left > 0 ? [`${indent}and ${counted$1(left, "more image")}`] : []
		];
	});
	const left = report.duplicates.length - most;
	return [...lines, ...left > 0 && most > 0 ? [`and ${counted$1(left, "more group")} of copies`] : []];
}
function imageLine(image, indent) {
	const label = image.label === null ? "" : `${shortened(tableCell(image.label), 24)}: `;
	const before = `${indent}${shortened(tableCell(image.split), 12)} ${label}`;
	return before + shortened(tableCell(image.name), Math.max(16, COLUMNS - displayWidth(before)), "end");
}
function issueLists(report, most) {
	return ISSUE_KINDS.flatMap((kind) => {
		const found = report.issues.filter((issue) => issue.kind === kind);
		if (found.length === 0) return [];
		const left = found.length - most;
		return [[
			`${ISSUE_TITLES[kind]}: ${counted$1(found.length, "image")}`,
			...found.slice(0, most).flatMap(({ image, reason }) => [imageLine(image, "  "), ...wrapText(tableCell(reason), 76).slice(0, 3).map((line) => `    ${line}`)]),
			...left > 0 && most > 0 ? [`  and ${grouped(left)} more`] : []
		]];
	});
}
function shortened(text, width, keep = "start") {
	if (displayWidth(text) <= width) return text;
	if (keep === "start") return `${splitText(text, width - 1)[0]}…`;
	const characters = [...new Intl.Segmenter("en", { granularity: "grapheme" }).segment(text)].map((one) => one.segment);
	let rest = "";
	for (const character of characters.reverse()) {
		if (displayWidth(rest) + displayWidth(character) > width - 1) break;
		rest = character + rest;
	}
	return `…${rest}`;
}
function fitted(text, width, keep) {
	const short = shortened(text, width, keep);
	return short + " ".repeat(Math.max(0, width - displayWidth(short)));
}
function fittedRight(text, width) {
	const short = shortened(text, width);
	return " ".repeat(Math.max(0, width - displayWidth(short))) + short;
}
// src/audit/audit-thumbnails.ts
const thumbnailSchema = strictObject({
	maxGroups: int().nonnegative().default(40),
	maxIssues: int().nonnegative().default(12),
	longestEdge: int().positive().max(1024).default(200),
	images: functionOption().optional(),
	signal: _instanceof(AbortSignal, { error: "expected an AbortSignal" }).optional()
});
async function auditThumbnails(data, report, options = {}) {
	requireAuditReport(report, "auditThumbnails");
	const { maxGroups, maxIssues, longestEdge, images, signal } = parseOptions(thumbnailSchema, options, "auditThumbnails");
	const splits = new Map(splitsOf(data, "auditThumbnails"));
	for (const [name, dataset] of splits) requireSplit(report, name, dataset, "auditThumbnails");
	const wanted = [...new Map(shownImages$1(report, {
		maxGroups,
		maxIssues
	}).map((one) => [imageKey(one), one])).values()];
	const uris = [];
	let next = 0;
	const work = async () => {
		while (next < wanted.length) {
			const place = next++;
			signal?.throwIfAborted();
			uris[place] = await thumbnailOf(wanted[place]);
		}
	};
	const thumbnailOf = async ({ split, index, position }) => {
		try {
			const sample = await splits.get(split)?.get(index);
			const image = sample === void 0 ? void 0 : factsOf(sample, index, { images }).images[position];
			if (image === void 0) return void 0;
			const held = await decodeWithin(image, signal);
			try {
				return await imageDataUri(held.image, longestEdge);
			} finally {
				held.release();
			}
		} catch {
			signal?.throwIfAborted();
			return;
		}
	};
	await Promise.all(Array.from({ length: 4 }, work));
	return Object.fromEntries(wanted.flatMap((one, i) => uris[i] === void 0 ? [] : [[imageKey(one), uris[i]]]));
}
// src/audit/audit-page.ts
function renderAuditPage(report, { title = "Data audit", ...options } = {}) {
	const section = auditSection(report, options);
	return renderPage({
		title,
		body: html`<h1>${title}</h1>${section}`,
		styles: [AUDIT_STYLES]
	});
}
export { AUDIT_STYLES, auditDataset, auditSection, auditThumbnails, deduplicate, formatAudit, imageKey, leakFreeSplit, renderAuditPage };
