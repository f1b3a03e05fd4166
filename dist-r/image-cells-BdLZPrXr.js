import { a as custom, i as boolean, l as number$1, o as int, p as strictObject } from "./zod-CVDjCv3S.js";
import { m as reasonOf, n as ConfigError, r as DataError, s as ImageError, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { _ as isKind, a as parseOptions, b as showValue, f as requireList, g as describeGiven, h as requireText, i as nearestName, l as requireCallback, n as checkNames, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { c as randomPermutation } from "./random-BGUvVUOv.js";
import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
import { t as loadSharp } from "./load-sharp-D7OC_wjO.js";
import { isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";
// src/data/split-dataset.ts
const share = number$1().gt(0, "expected a share above 0 and below 1, e.g. 0.2").lt(1, "expected a share above 0 and below 1, e.g. 0.2");
const splitSchema = strictObject({
	test: share.optional(),
	validation: share.optional(),
	seed: int().nonnegative().max(2 ** 32 - 1).default(42),
	stratify: boolean().optional(),
	groupBy: custom((value) => typeof value === "function", "expected a function").optional()
});
function parseSplitOptions(options) {
	const parsed = parseOptions(splitSchema, options ?? {}, "split");
	const { test = 0, validation = 0 } = parsed;
	if (test + validation === 0) throw new ConfigError("split: give `test`, `validation` or both, e.g. `split({ test: 0.2 })`");
	if (test + validation >= 1) throw new ConfigError(`split: \`test\` ${test} and \`validation\` ${validation} add up to 1 or more: nothing is left to train on`);
	return parsed;
}
function splitIndices({ length, labels, groups, shares, seed }) {
	const blocks = blocksOf(length, groups);
	if (blocks.length <= shares.length) {
		const what = groups ? `${blocks.length} groups` : `${length} samples`;
		throw new DataError(`split: ${what} are too few for ${shares.length + 1} parts`, {
			hint: groups ? "Does `groupBy` give each patient a value of its own?" : "Each part needs at least one sample.",
			details: {
				length,
				groups: blocks.length
			}
		});
	}
	const order = randomPermutation(blocks.length, seed).map((i) => blocks[i]);
	const part = groups ? divideGroups(order, labels, shares) : divideClasses(order, labels, shares);
	const parts = Array.from({ length: shares.length + 1 }, (_, p) => Array.from({ length }, (_, i) => i).filter((i) => part.get(i) === p));
	if (parts.some((one) => one.length === 0)) throw new DataError(`split: a part would be empty: the parts have ${parts.map((one) => one.length).join(", ")} samples`, {
		hint: groups ? "Groups stay whole and training keeps every class: use a larger share, or groups that are smaller." : labels ? "Each class keeps a sample for training. Use a larger share, more samples, or `stratify: false`." : "Use a larger share, more samples, or fewer parts.",
		details: {
			length,
			parts: parts.map((one) => one.length)
		}
	});
	return parts;
}
function blocksOf(length, groups) {
	if (!groups) return Array.from({ length }, (_, i) => [i]);
	const byGroup = new Map();
	for (const [i, group] of groups.entries()) {
		if (![
			"string",
			"number",
			"bigint",
			"boolean"
		].includes(typeof group) || group === "" || Number.isNaN(group)) throw new DataError(`split: \`groupBy\` gave ${showValue(group)} for sample ${i}`, {
			hint: "Return a string or a number that is the same for all samples of a group, e.g. the id of a patient.",
			details: { index: i }
		});
		const members = byGroup.get(group);
		if (members) members.push(i);
		else byGroup.set(group, [i]);
	}
	return [...byGroup.values()];
}
function divideClasses(order, labels, shares) {
	const classes = new Map();
	for (const [i] of order) {
		const label = labels?.[i] ?? 0;
		if (!classes.has(label)) classes.set(label, []);
		classes.get(label).push(i);
	}
	const part = new Map(order.map(([i]) => [i, 0]));
	for (const [p, share] of shares.entries()) {
		const wanted = Math.max(1, Math.round(share * order.length));
		const quotas = [...classes.values()].map((members) => {
			const size = members.length;
			const free = members.filter((i) => part.get(i) === 0);
			const whole = Math.min(Math.floor(share * size + 1e-9), free.length - 1);
			return {
				free,
				take: Math.max(0, whole),
				rest: share * size - Math.floor(share * size + 1e-9)
			};
		});
		let missing = wanted - quotas.reduce((sum, { take }) => sum + take, 0);
		for (const quota of [...quotas].sort((a, b) => b.rest - a.rest)) {
			if (missing <= 0) break;
			if (quota.rest < 1e-9 || quota.take >= quota.free.length - 1) continue;
			quota.take++;
			missing--;
		}
		for (const { free, take } of quotas) for (const i of free.slice(0, take)) part.set(i, p + 1);
	}
	return part;
}
function divideGroups(order, labels, shares) {
	const labelOf = (i) => labels?.[i] ?? 0;
	const total = new Map();
	for (const i of order.flat()) total.set(labelOf(i), (total.get(labelOf(i)) ?? 0) + 1);
	const all = [1 - shares.reduce((a, b) => a + b, 0), ...shares];
	const have = all.map(() => new Map());
	const count = (p, label) => have[p].get(label) ?? 0;
	const placed = all.map(() => []);
	const sorted = order.map((_, b) => b).sort((a, b) => order[b].length - order[a].length);
	for (const b of sorted) {
		const need = all.map((share, p) => {
			let gain = 0;
			for (const i of order[b]) {
				const label = labelOf(i);
				gain += (share * total.get(label) - count(p, label)) / (share * total.get(label));
			}
			return gain;
		});
		const best = need.indexOf(Math.max(...need));
		placed[best].push(b);
		for (const i of order[b]) have[best].set(labelOf(i), count(best, labelOf(i)) + 1);
	}
	for (const label of total.keys()) {
		if (count(0, label) > 0) continue;
		const [smallest] = [...all.keys()].slice(1).flatMap((p) => placed[p].map((b) => ({
			p,
			b
		}))).filter(({ p, b }) => placed[p].length > 1 && order[b].some((i) => labelOf(i) === label)).sort((x, y) => order[x.b].length - order[y.b].length);
		if (!smallest) continue;
		placed[smallest.p] = placed[smallest.p].filter((b) => b !== smallest.b);
		placed[0].push(smallest.b);
		for (const i of order[smallest.b]) have[0].set(labelOf(i), count(0, labelOf(i)) + 1);
	}
	return new Map(placed.flatMap((blocks, p) => blocks.flatMap((b) => order[b].map((i) => [i, p]))));
}
// src/data/dataset.ts
var ClassLabel = class {
	names;
	#labels;
	constructor(names) {
		requireList(names, "ClassLabel: `names`", "class names", "e.g. new ClassLabel([\"cat\", \"dog\"]).");
		names.forEach((name, label) => {
			requireText(name, `ClassLabel: \`names[${label}]\``);
		});
		this.names = [...names];
		this.#labels = new Map(names.map((name, label) => [name, label]));
		if (this.#labels.size < names.length) {
			const twice = names.find((name, index) => names.indexOf(name) !== index);
			throw new DataError(`class name ${JSON.stringify(twice)} is given twice`, { details: { names } });
		}
	}
	get numClasses() {
		return this.names.length;
	}
	int2str(label) {
		const name = this.names[label];
		if (name !== void 0) return name;
		throw new DataError(`no class has the label ${describeGiven(label)}; labels go from 0 to ${this.names.length - 1}`, { details: {
			label,
			names: this.names
		} });
	}
	str2int(name) {
		const label = this.#labels.get(name);
		if (label !== void 0) return label;
		throw new DataError(`${describeGiven(name)} is no class`, {
			hint: `Classes: ${this.names.map(oneLine).join(", ")}.`,
			details: {
				name,
				names: this.names
			}
		});
	}
};
var IndexedDataset = class IndexedDataset {
	length;
	#make;
	constructor(length, make) {
		const hint = "new IndexedDataset(count, (index) => item); of an array: IndexedDataset.from(array).";
		requireInteger(length, "IndexedDataset: `length`", 0);
		requireCallback(make, "IndexedDataset: `make`", hint);
		this.length = length;
		this.#make = make;
	}
	static from(items) {
		requireList(items, "IndexedDataset.from", "items");
		return new IndexedDataset(items.length, (index) => items[index]);
	}
	async get(index) {
		checkIndex(index, this.length);
		return this.#make(index);
	}
	async *[Symbol.asyncIterator]() {
		for (let index = 0; index < this.length; index++) yield await this.get(index);
	}
	map(transform) {
		requireCallback(transform, "map", "e.g. dataset.map((sample) => toExample(sample)).");
		return new IndexedDataset(this.length, async (index) => transform(await this.get(index), index));
	}
	async filter(keep) {
		return this.select(await this.indicesWhere(keep));
	}
	select(indices) {
		const chosen = this.checkIndices(indices);
		return new IndexedDataset(chosen.length, (index) => this.get(chosen[index]));
	}
	shuffle(seed) {
		return this.select(randomPermutation(this.length, checkSeed(seed)));
	}
	async split(options) {
		return this.divide(options, void 0, (indices) => this.select(indices));
	}
	async divide(options, labels, select) {
		const { test, validation, seed, stratify, groupBy } = parseSplitOptions(options);
		if (stratify && !labels) throw new DataError("split: `stratify` needs labels, and this dataset has none", { hint: "Split before `map`, which gives a dataset without labels." });
		const groups = groupBy && await this.groupsBy(groupBy);
		const held = Object.entries({
			test,
			validation
		}).flatMap(([name, share]) => share === void 0 ? [] : [{
			name,
			share
		}]);
		const [train, ...others] = splitIndices({
			length: this.length,
			labels: stratify === false ? void 0 : labels,
			groups,
			shares: held.map(({ share }) => share),
			seed
		});
		return {
			train: select(train),
			...Object.fromEntries(held.map(({ name }, i) => [name, select(others[i])]))
		};
	}
	async groupsBy(groupBy) {
		const groups = [];
		for (let index = 0; index < this.length; index++) groups.push(await groupBy(await this.get(index), index));
		return groups;
	}
	async indicesWhere(keep) {
		requireCallback(keep, "filter", "It returns whether an item stays.");
		const kept = [];
		for (let index = 0; index < this.length; index++) if (await keep(await this.get(index), index)) kept.push(index);
		return kept;
	}
	checkIndices(indices) {
		if (typeof indices === "string" || typeof indices?.[Symbol.iterator] !== "function") throw new DataError(`select: expected a list of indices, got ${describeGiven(indices)}`, { hint: "Write select([0, 1, 2]); one item is await dataset.get(index)." });
		const chosen = [...indices];
		for (const index of chosen) checkIndex(index, this.length);
		return chosen;
	}
};
var LabelledDataset = class LabelledDataset extends IndexedDataset {
	classLabel;
	labels;
	constructor(classLabel, labels, make) {
		if (typeof classLabel?.int2str !== "function") throw new DataError(`LabelledDataset: \`classLabel\`: expected a ClassLabel, got ${describeGiven(classLabel)}`, { hint: "new ClassLabel([\"cat\", \"dog\"]) makes one." });
		requireList(labels, "LabelledDataset: `labels`", "labels");
		super(labels.length, make);
		for (const label of labels) classLabel.int2str(label);
		this.classLabel = classLabel;
		this.labels = labels;
	}
	classCounts() {
		const counts = new Map(this.classLabel.names.map((name) => [name, 0]));
		for (const label of this.labels) {
			const name = this.classLabel.int2str(label);
			counts.set(name, counts.get(name) + 1);
		}
		return counts;
	}
	select(indices) {
		const chosen = this.checkIndices(indices);
		const labels = chosen.map((index) => this.labels[index]);
		return new LabelledDataset(this.classLabel, labels, (index) => this.get(chosen[index]));
	}
	async filter(keep) {
		return this.select(await this.indicesWhere(keep));
	}
	shuffle(seed) {
		return this.select(randomPermutation(this.length, checkSeed(seed)));
	}
	async split(options) {
		return this.divide(options, this.labels, (indices) => this.select(indices));
	}
};
function checkIndex(index, length) {
	if (Number.isInteger(index) && index >= 0 && index < length) return;
	const range = length === 0 ? "the dataset is empty" : `indices go from 0 to ${length - 1}`;
	throw new DataError(`no item at index ${describeGiven(index)}: ${range}`, { details: {
		index,
		length
	} });
}
function checkSeed(seed) {
	if (Number.isSafeInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
	throw new DataError(`shuffle: \`seed\`: expected a whole number from 0 to 4294967295, got ${describeGiven(seed)}`, { details: { seed } });
}
const READ_FORMATS = "JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF";
function imageFormatOf(bytes) {
	if (bytes[0] === 255 && bytes[1] === 216 && bytes[2] === 255) return "jpeg";
	if (ascii(bytes, 0, 8) === "PNG\r\n\n") return "png";
	if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 12) === "WEBP") return "webp";
	if (ascii(bytes, 0, 6) === "GIF87a" || ascii(bytes, 0, 6) === "GIF89a") return "gif";
	if (/^(II[*+]\0|MM\0[*+])/.test(ascii(bytes, 0, 4))) return ascii(bytes, 8, 10) === "CR" ? void 0 : "tiff";
	if (isBmp(bytes)) return "bmp";
	if (/^ftypav(if|is)/.test(ascii(bytes, 4, 12))) return "avif";
	if (/^ftypm(if|sf)1/.test(ascii(bytes, 4, 12)) && /av(if|is)/.test(ascii(bytes, 16, 64))) return "avif";
}
function describeFormat(bytes) {
	const { name, hint } = unreadFormat(bytes);
	return `${name}: ${hint[0].toLowerCase()}${hint.slice(1).replace(/\.$/, "")}`;
}
function unreadFormat(bytes) {
	if (bytes.length === 0) return {
		name: "an empty file",
		hint: "Fetch it again, or leave it out."
	};
	const start = ascii(bytes, 0, 512);
	for (const [pattern, name, hint] of SIGNATURES) if (pattern.test(start)) return {
		name,
		hint
	};
	if (bytes.every((byte) => byte === 0)) return {
		name: "nothing but zero bytes",
		hint: REFETCH
	};
	if (/^\s*[[{]/.test(start) && isText(bytes)) return {
		name: "a JSON file",
		hint: NOT_AN_IMAGE
	};
	if (isText(bytes)) return {
		name: "a text file",
		hint: NOT_AN_IMAGE
	};
	return {
		name: `a file of another kind, whose first bytes are ${[...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}`,
		hint: "The content counts, not the ending of the name. Convert it to PNG or JPEG, or leave it out."
	};
}
const CONVERT = "Convert it to PNG or JPEG first.";
const WINDOW = "Convert it to PNG with a chosen window, the same for all files, and give `bitDepth` if that has 16 bits.";
const VOLUME = "It is a volume: write the slices that you want as PNG files.";
const UNPACK = "Unpack it first.";
const REFETCH = "The download or copy did not finish; fetch the file again.";
const NOT_AN_IMAGE = "Leave it out, or fetch the image that belongs there.";
const PAGE = "A download was answered with a web page, perhaps a login or an error; fetch the image again.";
const RAW = "Develop it to JPEG, PNG or TIFF first.";
const FRAMES = "Write the frames that you want as image files.";
const SIGNATURES = [
	[
		/^version https:\/\/git-lfs/,
		"a Git LFS pointer",
		"Run `git lfs pull` in the repository, or download the files themselves."
	],
	[
		/^(\.\.\/)*[^\n]*\/annex\/objects\//,
		"a git-annex pointer",
		"Run `git annex get` in the repository."
	],
	[
		/^.{128}DICM/s,
		"a DICOM file",
		WINDOW
	],
	[
		/^\x08\0[\0\x05\x08\x12\x16\x18]\0(UL|CS|UI|DA|.\0\0\0)/s,
		"a DICOM file",
		WINDOW
	],
	[
		/^\0\0\0\x0cjP {2}|^\xff\x4f\xff\x51/,
		"a JPEG 2000 image",
		CONVERT
	],
	[
		/^\0\0\0\x0cJXL |^\xff\x0a/,
		"a JPEG XL image",
		CONVERT
	],
	[
		/^.{4}ftypcrx /s,
		"a camera RAW file (CR3)",
		RAW
	],
	[
		/^.{4}ftyp(hei|hev|mif1|msf1)/s,
		"a HEIC image",
		"Convert it to JPEG first; its video codec is not included."
	],
	[
		/^.{4}ftyp/s,
		"a video",
		FRAMES
	],
	[
		/^RIFF.{4}AVI /s,
		"a video",
		FRAMES
	],
	[
		/^\x1a\x45\xdf\xa3/,
		"a video",
		FRAMES
	],
	[
		/^RIFF.{4}WAVE/s,
		"a sound file",
		NOT_AN_IMAGE
	],
	[
		/^(II\*\0|MM\0\*).{4}CR/s,
		"a camera RAW file (CR2)",
		RAW
	],
	[
		/^(IIRO|IIRS|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb)/,
		"a camera RAW file",
		RAW
	],
	[
		/^(\x5c\x01\0\0|\0\0\x01\x5c).{340}n[i+]1\0|^.{4}n[i+]2\0/s,
		"a NIfTI file",
		VOLUME
	],
	[
		/^\x5c\x01\0\0.{36}.\0|^\0\0\x01\x5c.{36}\0/s,
		"an Analyze or NIfTI header",
		VOLUME
	],
	[
		/^NRRD0/,
		"an NRRD file",
		VOLUME
	],
	[
		/^(ObjectType|NDims|Comment)\s*=/,
		"a MetaImage header",
		VOLUME
	],
	[
		/^v\/1\x01/,
		"an OpenEXR image",
		"Convert it to 8-bit PNG with a chosen exposure."
	],
	[
		/^#\?(RADIANCE|RGBE)/,
		"a Radiance HDR image",
		"Convert it to 8-bit PNG with a chosen exposure."
	],
	[
		/^8BPS/,
		"a Photoshop document",
		CONVERT
	],
	[
		/^gimp xcf/,
		"a GIMP document",
		CONVERT
	],
	[
		/^P[1-7][\s#]|^P[fF]\n/,
		"a PNM image (PBM, PGM or PPM)",
		CONVERT
	],
	[
		/^\0\0[\x01\x02]\0[^\0]\0/,
		"a Windows icon",
		CONVERT
	],
	[
		/^DDS /,
		"a DDS texture",
		CONVERT
	],
	[
		/^SIMPLE {2}=/,
		"a FITS file",
		"Convert it to 8-bit PNG with a chosen range."
	],
	[
		/^\x93NUMPY/,
		"a NumPy array",
		"Write its arrays as PNG files."
	],
	[
		/^\x89HDF\r\n/,
		"an HDF5 file",
		"Write its arrays as PNG files."
	],
	[
		/^MATLAB /,
		"a MATLAB file",
		"Write its arrays as PNG files."
	],
	[
		/^(\xef\xbb\xbf)?\s*(<!--((?!-->).)*-->\s*)*<(!doctype html|html|head|body|script)\b/is,
		"an HTML page",
		PAGE
	],
	[
		/^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--((?!-->).)*-->\s*|<!doctype svg[^>]*>\s*)*<(\w+:)?svg\b/is,
		"an SVG drawing",
		CONVERT
	],
	[
		/^(\xef\xbb\xbf)?\s*<\?xml/,
		"an XML document",
		"It may be the error answer of a download; fetch the image again."
	],
	[
		/^%PDF/,
		"a PDF document",
		"Write the pages that you want as PNG files."
	],
	[
		/^%!PS/,
		"a PostScript document",
		CONVERT
	],
	[
		/^PK(\x03\x04|\x05\x06)/,
		"a ZIP archive",
		UNPACK
	],
	[
		/^\x1f\x8b/,
		"a gzip archive",
		"Unpack it first; of a .nii.gz, write the slices that you want as PNG files."
	],
	[
		/^(Rar!|7z\xbc\xaf|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd)/,
		"an archive",
		UNPACK
	],
	[
		/^.{257}ustar/s,
		"a tar archive",
		UNPACK
	],
	[
		/^\0\x05\x16[\0\x07]/,
		"a macOS attribute file (AppleDouble), not the image",
		"Remove it; the image lies beside it."
	],
	[
		/^SQLite format 3/,
		"an SQLite database",
		NOT_AN_IMAGE
	],
	[
		/^\x80[\x02-\x05]/,
		"a Python pickle",
		"Write its arrays as PNG files."
	]
];
function isBmp(bytes) {
	if (bytes[0] !== 66 || bytes[1] !== 77 || bytes.length < 26) return false;
	const headerSize = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(14, true);
	return headerSize === 12 || headerSize >= 16 && headerSize <= 124;
}
function isText(bytes) {
	return bytes.subarray(0, 512).every((byte) => byte >= 32 || byte >= 9 && byte <= 13 || byte === 27);
}
function ascii(bytes, from, to) {
	return String.fromCharCode(...bytes.subarray(from, to));
}
// src/data/known-keys.ts
function aliases(lists) {
	const entries = Object.entries(lists);
	return new Map(entries.flatMap(([key, words]) => words.split(" ").map((word) => [word, key])));
}
const OTHER_NAMES = aliases({
	images: "image img imgs picture pictures photo imagepath imagepaths imagefile imageurl imageurls filename",
	messages: "conversation conversations dialog dialogue chat turns",
	prompt: "query question",
	completion: "response answer",
	tools: "functions",
	tool_calls: "functioncall toolcall toolcalls",
	tool_call_id: "toolid callid",
	reasoning_content: "reasoning",
	role: "from speaker author",
	content: "value body",
	train: "loss learn mask"
});
function meantKey(key, known) {
	const plain = key.toLowerCase().replaceAll(/[_-]/g, "");
	const other = OTHER_NAMES.get(plain);
	return other !== void 0 && known.includes(other) ? other : nearestName(key, known);
}
function unknownKey(key, known) {
	const near = meantKey(key, known);
	return `unknown key \`${showValue(key).slice(1, -1)}\`${near ? `; did you mean \`${near}\`?` : `; known: ${known.join(", ")}`}`;
}
function findUnknownKey(value, known) {
	for (const [key, inner] of Object.entries(value)) if (inner !== void 0 && inner !== null && !known.includes(key)) return key;
}
function describeKind(value) {
	if (value instanceof Promise) return "a promise: await it";
	if (value === void 0 || value === null || typeof value !== "object") return showValue(value);
	return Array.isArray(value) ? `a list of ${value.length}` : `an object with ${Object.keys(value).map(oneLine).join(", ") || "no keys"}`;
}
function isRecord(value) {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}
// src/data/decode-bmp.ts
function readBmpHeader(bytes) {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const size = bytes.length >= 18 ? view.getUint32(14, true) : 0;
	if (size < 12 || 14 + size > bytes.length) throw new Error("the header is cut short");
	const isCore = size === 12;
	const width = isCore ? view.getUint16(18, true) : view.getInt32(18, true);
	const signedHeight = isCore ? view.getUint16(20, true) : view.getInt32(22, true);
	const bits = view.getUint16(isCore ? 24 : 28, true);
	const compression = size >= 20 ? view.getUint32(30, true) : 0;
	const height = Math.abs(signedHeight);
	if (width <= 0 || height === 0) throw new Error(`${width} × ${signedHeight} pixels`);
	if (![
		1,
		4,
		8,
		16,
		24,
		32
	].includes(bits)) throw new Error(`${bits} bits a pixel are not known`);
	const isRunLength = compression === 1 && bits === 8 || compression === 2 && bits === 4;
	const hasFields = (compression === 3 || compression === 6) && (bits === 16 || bits === 32);
	if (compression !== 0 && !isRunLength && !hasFields) throw new Error(`compression ${compression} with ${bits} bits a pixel is not known`);
	let paletteAt = 14 + size;
	let masks = bits === 16 ? [
		31744,
		992,
		31
	] : [
		16711680,
		65280,
		255
	];
	if (hasFields) {
		if (66 > bytes.length) throw new Error("the header is cut short");
		masks = [
			0,
			4,
			8
		].map((at) => view.getUint32(54 + at, true));
		if (size === 40) paletteAt += compression === 6 ? 16 : 12;
	}
	return {
		width,
		height,
		isTopDown: signedHeight < 0,
		bits,
		compression,
		pixelsAt: view.getUint32(10, true),
		palette: bits <= 8 ? readPalette(bytes, view, bits, size, paletteAt) : void 0,
		masks
	};
}
function readPalette(bytes, view, bits, size, at) {
	const palette = new Uint8Array(768).map((_, i) => Math.floor(i / 3));
	const entry = size === 12 ? 3 : 4;
	const declared = size >= 36 ? view.getUint32(46, true) : 0;
	const count = Math.min(declared || 2 ** bits, 256);
	for (let i = 0; i < count && at + i * entry + 3 <= bytes.length; i++) for (let c = 0; c < 3; c++) palette[i * 3 + c] = bytes[at + i * entry + 2 - c];
	return palette;
}
function decodeBmp(bytes, header) {
	const { width, height, bits, isTopDown, palette } = header;
	const isRunLength = header.compression === 1 || header.compression === 2;
	const stride = isRunLength ? width : Math.ceil(width * bits / 32) * 4;
	const needed = stride * (height - 1) + Math.ceil(width * bits / 8);
	if (!isRunLength && header.pixelsAt + needed > bytes.length) throw new Error(`${bytes.length} bytes, where ${header.pixelsAt + needed} were expected`);
	const stored = isRunLength ? unpackRuns(bytes, header) : bytes.subarray(header.pixelsAt);
	const data = new Uint8Array(width * height * 3);
	const color = palette ? void 0 : trueColour(stored, header);
	const perByte = 8 / (isRunLength ? 8 : bits);
	for (let y = 0, to = 0; y < height; y++) {
		const row = (isTopDown ? y : height - 1 - y) * stride;
		for (let x = 0; x < width; x++, to += 3) {
			if (color) {
				color(row, x, data, to);
				continue;
			}
			const byte = stored[row + Math.floor(x / perByte)];
			const index = perByte === 1 ? byte : byte >> 8 - bits * (x % perByte + 1) & 2 ** bits - 1;
			for (let c = 0; c < 3; c++) data[to + c] = palette[index * 3 + c];
		}
	}
	return {
		width,
		height,
		data
	};
}
function trueColour(stored, { bits, masks }) {
	if (bits === 24) return (row, x, data, to) => {
		for (let c = 0; c < 3; c++) data[to + c] = stored[row + x * 3 + 2 - c];
	};
	const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
	const shifts = masks.map((mask) => mask === 0 ? 0 : 31 - Math.clz32(mask & -mask));
	const largest = masks.map((mask, c) => mask >>> shifts[c] || 1);
	return (row, x, data, to) => {
		const value = bits === 16 ? view.getUint16(row + x * 2, true) : view.getUint32(row + x * 4, true);
		for (let c = 0; c < 3; c++) data[to + c] = Math.floor(((value & masks[c]) >>> shifts[c]) * 255 / largest[c]);
	};
}
function unpackRuns(bytes, { width, height, compression, pixelsAt }) {
	const indices = new Uint8Array(width * height);
	let x = 0;
	let y = 0;
	let at = pixelsAt;
	const put = (index) => {
		if (x < width && y < height) indices[y * width + x] = index;
		x++;
	};
	const nibble = (byte, i) => i % 2 === 0 ? byte >> 4 : byte & 15;
	while (y < height) {
		if (at + 2 > bytes.length) throw new Error("the pixels are cut short");
		const count = bytes[at];
		const value = bytes[at + 1];
		at += 2;
		if (count > 0) for (let i = 0; i < count; i++) put(compression === 2 ? nibble(value, i) : value);
		else if (value === 0) {
			x = 0;
			y++;
		} else if (value === 1) break;
		else if (value === 2) {
			if (at + 2 > bytes.length) throw new Error("the pixels are cut short");
			x += bytes[at];
			y += bytes[at + 1];
			at += 2;
		} else {
			const length = compression === 2 ? Math.ceil(value / 2) : value;
			if (at + length > bytes.length) throw new Error("the pixels are cut short");
			for (let i = 0; i < value; i++) put(compression === 2 ? nibble(bytes[at + (i >> 1)], i) : bytes[at + i]);
			at += length + length % 2;
		}
	}
	return indices;
}
// src/data/tiff-tags.ts
const TAG = {
	subfileType: 254,
	orientation: 274,
	subIfds: 330,
	dngVersion: 50706
};
const MAX_ENTRIES = 4096;
function readTiffTags(block) {
	const numbers = new Map();
	const entries = new Map();
	const tags = {
		numbers,
		entries
	};
	const bytes = withoutExifPrefix(block);
	if (bytes.length < 8) return tags;
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const order = view.getUint16(0);
	if (order !== 18761 && order !== 19789) return tags;
	const little = order === 18761;
	const isBig = view.getUint16(2, little) === 43;
	const wide = (at) => Number(view.getBigUint64(at, little));
	if (isBig && bytes.length < 16) return tags;
	const start = isBig ? wide(8) : view.getUint32(4, little);
	const [countSize, entrySize, valueAt] = isBig ? [
		8,
		20,
		12
	] : [
		2,
		12,
		8
	];
	if (start + countSize > bytes.length) return tags;
	const count = Math.min(isBig ? wide(start) : view.getUint16(start, little), MAX_ENTRIES);
	for (let i = 0; i < count; i++) {
		const at = start + countSize + i * entrySize;
		if (at + entrySize > bytes.length) break;
		const tag = view.getUint16(at, little);
		entries.set(tag, at);
		const value = (isBig ? wide(at + 4) : view.getUint32(at + 4, little)) === 1 ? numberAt(view, at, at + valueAt, little, isBig) : void 0;
		if (value === void 0) numbers.delete(tag);
		else numbers.set(tag, value);
	}
	return tags;
}
function withoutOrientation(bytes) {
	const at = readTiffTags(bytes).entries.get(TAG.orientation);
	if (at === void 0) return bytes;
	const changed = Buffer.from(bytes);
	const length = changed[2] === 43 || changed[3] === 43 ? 8 : 4;
	const value = at + 4 + length;
	changed.fill(0, at + 2, value + length);
	const one = changed[0] === 73 ? 0 : 1;
	changed[at + 2 + one] = 3;
	changed[at + 4 + one * (length - 1)] = 1;
	changed[value + one] = 1;
	return changed;
}
function numberAt(view, entry, at, little, isBig) {
	const type = view.getUint16(entry + 2, little);
	if (type === 3) return view.getUint16(at, little);
	if (type === 4) return view.getUint32(at, little);
	if (type === 6) return view.getInt8(at);
	if (type === 8) return view.getInt16(at, little);
	if (type === 9) return view.getInt32(at, little);
	if (type === 16 && isBig) return Number(view.getBigUint64(at, little));
	if (type === 5 || type === 10) {
		const place = isBig ? at : view.getUint32(at, little);
		if (place + 8 > view.byteLength) return void 0;
		return view.getInt32(place, little) / view.getInt32(place + 4, little);
	}
}
function withoutExifPrefix(block) {
	let bytes = block;
	while (bytes.length >= 6 && Buffer.from(bytes.subarray(0, 6)).toString("latin1") === "Exif\0\0") bytes = bytes.subarray(6);
	return bytes;
}
// src/data/image-orientation.ts
const MAX_TEXT = 1048576;
function orientationOf(bytes, format, metadata) {
	if (format === "avif" || format === "bmp" || format === "gif") return 1;
	const png = format === "png" ? readPngMetadata(bytes) : metadata;
	const tags = format === "tiff" ? readTiffTags(bytes) : png.exif ? readTiffTags(png.exif) : void 0;
	const found = tags?.entries.has(TAG.orientation) ? tags.numbers.get(TAG.orientation) : inXmp(png.xmp);
	return found !== void 0 && Number.isInteger(found) && found >= 1 && found <= 8 ? found : 1;
}
function inXmp(xmp) {
	if (!xmp) return void 0;
	const digit = /tiff:Orientation(?:="|>)([0-9])/.exec(Buffer.from(xmp).toString("latin1"))?.[1];
	return digit === void 0 ? void 0 : Number(digit);
}
function readPngMetadata(bytes) {
	const png = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	let exif;
	let rawProfile;
	let xmp;
	for (let at = 8; at + 12 <= png.length;) {
		const length = png.readUInt32BE(at);
		const type = png.toString("latin1", at + 4, at + 8);
		if (type === "IEND") break;
		const data = png.subarray(at + 8, at + 8 + length);
		if (type === "eXIf") exif = data;
		else if (/^[tzi](EXt|TXt)$/.test(type)) {
			const key = data.toString("latin1", 0, Math.max(0, data.subarray(0, 80).indexOf(0)));
			if (key === "Raw profile type exif") rawProfile = textOf(type, data, key)?.toString("latin1") ?? rawProfile;
			if (key === "XML:com.adobe.xmp") xmp = textOf(type, data, key) ?? xmp;
		}
		at += 12 + length;
	}
	return {
		exif: exif ?? fromRawProfile(rawProfile),
		xmp
	};
}
function textOf(type, data, key) {
	let text = data.subarray(key.length + 1);
	let isPacked = type === "zTXt";
	if (isPacked) text = text.subarray(1);
	if (type === "iTXt") {
		isPacked = text[0] !== 0;
		if (isPacked && text[1] !== 0) return void 0;
		text = text.subarray(2);
		for (let i = 0; i < 2; i++) text = text.subarray(text.indexOf(0) + 1);
	}
	if (!isPacked) return text.length <= MAX_TEXT ? text : void 0;
	try {
		return inflateSync(text, { maxOutputLength: MAX_TEXT });
	} catch {
		return;
	}
}
function fromRawProfile(text) {
	return text === void 0 ? void 0 : Buffer.from(text.split("\n").slice(3).join("").replaceAll(/\s/g, ""), "hex");
}
function orient(image, orientation) {
	if (orientation === 1) return image;
	const { width: from, height: rows, data } = image;
	const [width, height] = orientation >= 5 ? [rows, from] : [from, rows];
	const isMirroredX = [
		2,
		3,
		7,
		8
	].includes(orientation);
	const isMirroredY = [
		3,
		4,
		6,
		7
	].includes(orientation);
	const turned = new Uint8Array(data.length);
	for (let y = 0, to = 0; y < height; y++) for (let x = 0; x < width; x++, to += 3) {
		const [column, row] = orientation >= 5 ? [y, x] : [x, y];
		const source = ((isMirroredY ? rows - 1 - row : row) * from + (isMirroredX ? from - 1 - column : column)) * 3;
		turned[to] = data[source];
		turned[to + 1] = data[source + 1];
		turned[to + 2] = data[source + 2];
	}
	return {
		width,
		height,
		data: turned
	};
}
// src/data/image-header.ts
const DEFAULT_MAX_PIXELS = 178956970;
const MAX_PIXEL_BYTES = 8;
const MAX_EXTRA_BYTES = 67108864;
const DAMAGED = "The file is damaged or was not copied to its end; fetch it again, or leave it out.";
const ODD_TIFF = "TIFF has kinds that are not read, e.g. of 12 or 64 bits a sample: write those with 8 or 16 bits.";
async function readHeader(input, name, options) {
	const maxPixels = options.maxPixels ?? 178956970;
	const bytes = typeof input === "string" ? await readImageFile(input, maxPixels) : input;
	const format = imageFormatOf(bytes);
	if (format === void 0) throw unreadError(name, unreadFormat(bytes));
	const sharp = await loadSharp();
	let header;
	try {
		header = await parseHeader(bytes, format, sharp);
	} catch (cause) {
		throw imageError(name, `the header of the image cannot be read: ${reasonOf(cause)}`, {
			hint: format === "tiff" ? `${ODD_TIFF} ${DAMAGED}` : DAMAGED,
			details: { format },
			cause
		});
	}
	const { width, height } = header;
	if (width * height > maxPixels) throw imageError(name, `${width} × ${height} pixels are more than the limit of ${maxPixels.toLocaleString("en")}`, {
		hint: "Shrink the image, or raise `maxPixels` if you trust where it comes from.",
		details: {
			width,
			height,
			maxPixels
		}
	});
	checkAspectRatio(header, name, options.maxAspectRatio);
	if (format === "tiff") checkTiff(header, name);
	return header;
}
async function parseHeader(bytes, format, sharp) {
	if (format === "bmp") {
		const bmp = readBmpHeader(bytes);
		return {
			bytes,
			format,
			width: bmp.width,
			height: bmp.height,
			orientation: 1,
			bmp
		};
	}
	const metadata = await sharp(bytes, {
		limitInputPixels: false,
		failOn: "none"
	}).metadata();
	const orientation = orientationOf(bytes, format, metadata);
	const { width, height } = format === "avif" ? metadata.autoOrient : metadata;
	return {
		bytes: format === "tiff" && orientation === 1 && (readTiffTags(bytes).numbers.get(TAG.orientation) ?? 1) !== 1 ? withoutOrientation(bytes) : bytes,
		format,
		width,
		height,
		orientation,
		metadata
	};
}
function imageError(name, reason, options) {
	return new ImageError(`${name}: ${reason}`, {
		...options,
		reason,
		details: {
			path: name,
			...options.details
		}
	});
}
function unreadError(name, { name: what, hint }) {
	return imageError(name, `not a ${READ_FORMATS} image, but ${what}`, { hint });
}
function checkAspectRatio({ width, height }, name, limit) {
	if (limit === void 0 || Math.max(width, height) <= limit * Math.min(width, height)) return;
	throw imageError(name, `${width} × ${height} pixels: one side is more than ${limit} times the other`, {
		hint: "Shrunk to the longest edge nothing would be left of it. Crop the image, or leave it out.",
		details: {
			width,
			height,
			maxAspectRatio: limit
		}
	});
}
function checkTiff({ bytes, metadata }, name) {
	const { depth, space, channels, pages = 1 } = metadata;
	const tags = readTiffTags(bytes);
	const isPreview = ((tags.numbers.get(TAG.subfileType) ?? 0) & 1) === 1 && tags.entries.has(TAG.subIfds);
	if (tags.entries.has(TAG.dngVersion) || isPreview) throw unreadError(name, {
		name: "a camera RAW file, whose first image is a preview",
		hint: "Develop it to JPEG, PNG or TIFF first."
	});
	if (depth !== "uchar" && depth !== "ushort") throw imageError(name, `a TIFF of ${SAMPLE_KINDS[depth] ?? depth} samples, whose range is not known`, {
		hint: "Write it with 8 or 16 unsigned bits a sample, scaled by the same range for all images.",
		details: { depth }
	});
	if (space === "multiband" || channels > 5) throw imageError(name, `a TIFF of ${channels} channels that are neither grey, RGB nor CMYK`, {
		hint: "Write the three channels that you want as an RGB image.",
		details: { channels }
	});
	if (pages > 1 && !saidPages) {
		saidPages = true;
		process.emitWarning(`${name}: a TIFF of ${pages} pages; of this and of other files only the first page is taken. Write the pages that you want as files of their own`, "ImageWarning");
	}
}
let saidPages = false;
const SAMPLE_KINDS = {
	char: "signed 8-bit",
	short: "signed 16-bit",
	uint: "32-bit",
	int: "32-bit",
	float: "32-bit floating-point",
	double: "64-bit floating-point",
	complex: "complex",
	dpcomplex: "complex"
};
async function readImageFile(path, maxPixels) {
	try {
		return await readRegularFile(path, MAX_PIXEL_BYTES * maxPixels + MAX_EXTRA_BYTES);
	} catch (cause) {
		const code = cause.code;
		const isAddress = /^(https?|data):/i.test(path);
		throw imageError(isAddress ? `${path.slice(0, 80)}${path.length > 80 ? "…" : ""}` : oneLine(path), `cannot read the image: ${code === "ENOENT" ? "no such file" : reasonOf(cause)}`, {
			hint: isAddress ? "A string is a file path. Fetch the address yourself and give the bytes." : void 0,
			cause
		});
	}
}
// src/data/sample-depth.ts
const USUAL_DEPTHS = [
	8,
	10,
	12,
	14
];
const LOOKS_NARROW = 2 ** 14;
const IS_NARROW = 4096;
var DepthWatch = class {
	#bitDepth;
	#warn;
	#said = new Set();
	#seen = {
		narrow: {
			count: 0,
			name: "",
			brightest: 0
		},
		middle: {
			count: 0,
			name: "",
			brightest: 0
		},
		full: {
			count: 0,
			name: "",
			brightest: 0
		},
		clipped: {
			count: 0,
			name: "",
			brightest: 0
		}
	};
	#total = 0;
	#isHeld = false;
	constructor(bitDepth, warn = (line) => process.emitWarning(line, "ImageWarning")) {
		this.#bitDepth = bitDepth;
		this.#warn = warn;
	}
	async during(work) {
		this.#isHeld = true;
		try {
			return await work();
		} finally {
			this.#isHeld = false;
			this.#report();
		}
	}
	note(name, brightest) {
		if (brightest === 0) return;
		const kind = brightest > 2 ** (this.#bitDepth ?? 16) - 1 ? "clipped" : brightest < IS_NARROW ? "narrow" : brightest < LOOKS_NARROW ? "middle" : "full";
		this.#total++;
		const seen = this.#seen[kind];
		seen.count++;
		if (brightest > seen.brightest) Object.assign(seen, {
			name,
			brightest
		});
		if (!this.#isHeld) this.#report();
	}
	#report() {
		const { narrow, middle, full, clipped } = this.#seen;
		if (clipped.count > 0) this.#say("clipped", `${this.#of(clipped.count)} hold samples above ${number(2 ** this.#bitDepth - 1)}, up to ${shown(clipped)}, and come out white there: \`bitDepth\` ${this.#bitDepth} is too small for them, or their depth differs from the others'`);
		if (this.#bitDepth !== void 0) return;
		if (full.count > 0 && narrow.count > 0) this.#say("differ", `16-bit images of different depths: ${narrow.count} hold no sample above ${shown(narrow)}, ${full.count} go up to ${shown(full)}. All are scaled alike, by 65,535, and the first come out nearly black; give all the same depth, or load them apart with \`bitDepth\``);
		else if (full.count === 0 && narrow.count + middle.count > 0) {
			const brightest = middle.count > 0 ? middle : narrow;
			const depth = USUAL_DEPTHS.find((bits) => brightest.brightest < 2 ** bits);
			this.#say("narrow", `${this.#of(narrow.count + middle.count)} hold no sample above ${shown(brightest)}: that looks like ${depth}-bit data, and scaled by 65,535 it comes out nearly black. Give \`bitDepth: ${depth}\`, or \`bitDepth: 16\` if it is right so`);
		}
	}
	#of(count) {
		return `${count} of ${this.#total} 16-bit images`;
	}
	#say(kind, line) {
		if (this.#said.has(kind)) return;
		this.#said.add(kind);
		this.#warn(warningLine(line));
	}
};
const shown = ({ brightest, name }) => `${number(brightest)} (${name})`;
const number = (value) => value.toLocaleString("en");
function narrowSamples(samples, channels, bitDepth) {
	const shift = bitDepth - 8;
	const pixels = samples.length / channels;
	const data = new Uint8Array(pixels * 3);
	let brightest = 0;
	if (channels < 3) for (let i = 0, to = 0; i < pixels; i++, to += 3) {
		const sample = samples[i * channels];
		if (sample > brightest) brightest = sample;
		const level = Math.min(255, sample >> shift);
		data[to] = level;
		data[to + 1] = level;
		data[to + 2] = level;
	}
	else for (let i = 0, from = 0, to = 0; i < pixels; i++, from += channels, to += 3) {
		const red = samples[from];
		const green = samples[from + 1];
		const blue = samples[from + 2];
		brightest = Math.max(brightest, red, green, blue);
		data[to] = Math.min(255, red >> shift);
		data[to + 1] = Math.min(255, green >> shift);
		data[to + 2] = Math.min(255, blue >> shift);
	}
	return {
		data,
		brightest
	};
}
// src/data/decode-image.ts
const MAX_SECONDS = 30;
var ImageFile = class {
	path;
	onBadImage;
	#options;
	constructor(path, { onBadImage, ...options } = {}) {
		this.path = path;
		this.onBadImage = onBadImage;
		this.#options = options;
	}
	get content() {
		return { bitDepth: this.#options.bitDepth };
	}
	decode() {
		return decodeImage(this.path, this.#options);
	}
	open() {
		return openImage(this.path, this.#options);
	}
	size() {
		return imageSize(this.path, this.#options);
	}
};
async function decodeImage(input, options = {}) {
	requireImage(input, "decodeImage");
	checkNames(options, DECODE_OPTIONS, "decodeImage");
	const name = imageName(input, options);
	checkBitDepth(options.bitDepth);
	if (typeof input !== "string" && !(input instanceof Uint8Array)) return checkRgbImage("decode" in input ? await input.decode() : input, name);
	return (await openImage(input, options)).decode();
}
async function openImage(input, options = {}) {
	checkBitDepth(options.bitDepth);
	const name = imageName(input, options);
	const header = await readHeader(input, name, options);
	const decode = async () => {
		try {
			return await decodeBytes(header, name, options);
		} catch (cause) {
			const { format } = header;
			throw imageError(name, `the image does not decode: ${reasonOf(cause)}`, {
				hint: DAMAGED,
				details: { format },
				cause
			});
		}
	};
	return {
		bytes: decodedBytes(header),
		decode
	};
}
function decodedBytes({ width, height, orientation, format, metadata }) {
	const isDeep = metadata?.depth === "ushort" || metadata?.space === "cmyk";
	const isKept = orientation !== 1 || metadata?.isProgressive === true || /^(avif|webp|gif)$/.test(format);
	return width * height * (6 + (isDeep ? 6 : 0) + (isKept ? 4 : 0));
}
async function imageSize(input, options = {}) {
	requireImage(input, "imageSize");
	checkNames(options, DECODE_OPTIONS, "imageSize");
	if (input instanceof ImageFile) return input.size();
	if (typeof input === "string" || input instanceof Uint8Array) {
		const { width, height, orientation } = await readHeader(input, imageName(input, options), options);
		return orientation >= 5 ? {
			width: height,
			height: width
		} : {
			width,
			height
		};
	}
	const { width, height } = await decodeImage(input, options);
	return {
		width,
		height
	};
}
const DECODE_OPTIONS = {
	maxPixels: false,
	maxAspectRatio: false,
	bitDepth: false,
	onBrightestSample: false,
	name: false
};
function requireImage(input, what) {
	if (input instanceof Uint8Array || typeof input === "string" && input !== "") return;
	if (isKind(input, "image") || isObject(input) && ("width" in input || "data" in input)) return;
	const hint = isKind(input, "folderSample") ? "Give its `image`." : isKind(input, "promise") ? "Await it." : "Give a path, encoded bytes, { width, height, data } or a lazy image.";
	throw new ImageError(`${what}: expected an image, got ${describeGiven(input)}`, { hint });
}
function imageName(input, options = {}) {
	if (typeof input === "string") return oneLine(input);
	if (input instanceof Uint8Array) return options.name ?? `image of ${input.byteLength} bytes`;
	if (input !== null && typeof input === "object" && "path" in input) return oneLine(input.path);
	return options.name ?? "image given as pixels";
}
async function decodeBytes(header, name, options) {
	const { bytes, format, orientation, bmp } = header;
	if (bmp) return decodeBmp(bytes, bmp);
	const metadata = header.metadata;
	const isTurnedThere = format === "avif" || (metadata.orientation ?? 1) === orientation;
	const image = await toRgb((await loadSharp())(bytes, {
		autoOrient: isTurnedThere,
		ignoreIcc: true,
		failOn: "error",
		limitInputPixels: options.maxPixels ?? 178956970
	}).timeout({ seconds: MAX_SECONDS }), metadata, name, options);
	return isTurnedThere ? image : orient(image, orientation);
}
async function toRgb(pipeline, { space, format }, name, options) {
	if (space === "cmyk") {
		const { data, info } = await pipeline.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
		return {
			width: info.width,
			height: info.height,
			data: rgbFromCmyk(data, info.channels)
		};
	}
	const is16Bit = (space === "grey16" || space === "rgb16") && (format === "png" || format === "tiff");
	const { bitDepth = 16, onBrightestSample = processWatch(options.bitDepth) } = options;
	const fromSamples = async () => {
		const { data, info } = await pipeline.clone().toColourspace(space).raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
		const narrowed = narrowSamples(new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2), info.channels, bitDepth);
		onBrightestSample(name, narrowed.brightest);
		return {
			width: info.width,
			height: info.height,
			data: narrowed.data
		};
	};
	if (is16Bit && (space === "grey16" || bitDepth !== 16)) return fromSamples();
	const { data, info } = await pipeline.toColourspace("srgb").removeAlpha().raw().toBuffer({ resolveWithObject: true });
	if (info.channels !== 3) throw new Error(`${info.channels} channels instead of 3`);
	if (is16Bit && data.every((level) => level < LOOKS_NARROW >> 8)) return fromSamples();
	return {
		width: info.width,
		height: info.height,
		data: new Uint8Array(data.buffer, data.byteOffset, data.length)
	};
}
function processWatch(bitDepth) {
	const watch = watches.get(bitDepth) ?? new DepthWatch(bitDepth);
	watches.set(bitDepth, watch);
	return (name, brightest) => watch.note(name, brightest);
}
const watches = new Map();
function rgbFromCmyk(cmyk, channels) {
	const pixels = cmyk.length / channels;
	const rgb = new Uint8Array(pixels * 3);
	for (let i = 0; i < pixels; i++) {
		const light = 255 - cmyk[i * channels + 3];
		for (let c = 0; c < 3; c++) {
			const product = cmyk[i * channels + c] * light + 128;
			rgb[i * 3 + c] = Math.max(0, light - ((product >> 8) + product >> 8));
		}
	}
	return rgb;
}
function checkBitDepth(bitDepth) {
	if (bitDepth === void 0 || Number.isInteger(bitDepth) && bitDepth >= 8 && bitDepth <= 16) return;
	throw new ConfigError(`decodeImage: \`bitDepth\`: expected a whole number from 8 to 16, got ${showValue(bitDepth)}`);
}
function checkRgbImage(image, name) {
	const { width, height, data } = image ?? {};
	const fault = !(Number.isInteger(width) && width > 0 && Number.isInteger(height) && height > 0) ? `expected a width and a height of whole pixels, got ${showValue(width)} and ${showValue(height)}` : !(data instanceof Uint8Array) ? `\`data\`: expected a Uint8Array, got ${showValue(data)}` : data.length !== width * height * 3 ? `${width} × ${height} RGB pixels are ${width * height * 3} bytes, but \`data\` has ${data.length}` : void 0;
	if (fault === void 0) return image;
	throw imageError(name, `not an RGB image: ${fault}`, { hint: "Give { width, height, data } with three bytes a pixel, or a path, or encoded bytes." });
}
// src/data/conversations/row-fault.ts
var RowFault = class extends Error {
	name = "RowFault";
	hint;
	constructor(message, hint) {
		super(message);
		this.hint = hint;
	}
};
function mismatch(where, expected, value, hint) {
	return new RowFault(`${where}: expected ${expected}, got ${describeKind(value)}`, hint);
}
function readRecord(value, where, known, ignored, path, hint) {
	if (!isRecord(value)) throw mismatch(where, "an object", value, hint);
	const kept = Object.entries(value).filter(([key, inner]) => {
		return inner !== null && inner !== void 0 && !ignored.has(path === "" ? key : `${path}.${key}`);
	});
	const record = Object.fromEntries(kept);
	const unknown = findUnknownKey(record, known);
	if (unknown !== void 0) {
		const leave = path === "" ? unknown : `${path}.${unknown}`;
		throw new RowFault(`${where}: ${unknownKey(unknown, known)}`, `rename it, or leave it out with \`ignoreColumns: ['${leave}']\``);
	}
	return record;
}
// src/data/conversations/image-cells.ts
const LONGEST_PATH = 4096;
const MAX_EMBEDDED_BYTES = 67108864;
var EmbeddedImage = class {
	path;
	onBadImage;
	fault;
	#bytes;
	#maxPixels;
	constructor(name, bytes, options) {
		this.path = name;
		this.onBadImage = options.onBadImage;
		this.#bytes = bytes;
		this.#maxPixels = options.maxPixels;
		this.fault = imageFormatOf(bytes) ? void 0 : `${bytes.length} bytes that are no JPEG, PNG, WebP or GIF image`;
	}
	get content() {
		return { bytes: this.#bytes };
	}
	async open() {
		if (this.fault) throw new ImageError(`${oneLine(this.path)}: ${this.fault}`, { details: { path: this.path } });
		const { path: name } = this;
		return openImage(this.#bytes, this.#maxPixels === void 0 ? { name } : {
			name,
			maxPixels: this.#maxPixels
		});
	}
	async decode() {
		return (await this.open()).decode();
	}
};
function readImageCell(cell, where, row, options) {
	const name = `${row}, ${where}`;
	if (typeof cell === "string") return ofText(cell, where, name, options);
	if (cell instanceof Uint8Array) return embedded(cell, where, name, options);
	if (isRecord(cell)) {
		if (typeof cell["decode"] === "function" || "data" in cell) return cell;
		const unknown = findUnknownKey(cell, ["bytes", "path"]);
		if (unknown === void 0 && ("bytes" in cell || "path" in cell)) {
			const { bytes, path } = cell;
			if (bytes !== void 0 && bytes !== null) return embedded(bytesOf(bytes, where), where, name, options);
			if (typeof path === "string") return ofText(path, where, name, options);
			throw new RowFault(`${where}: neither \`bytes\` nor \`path\` has a value`, "the row has no image: remove the cell");
		}
		if (unknown !== void 0 && ("bytes" in cell || "path" in cell)) throw new RowFault(`${where}: ${unknownKey(unknown, ["bytes", "path"])}`, "an image cell is { bytes, path }");
	}
	throw mismatch(where, "an image", cell, "write a path relative to the file, a data: URL, or { bytes, path } as Hugging Face data sets have it");
}
function ofText(text, where, name, options) {
	if (text.trim() === "") throw new RowFault(`${where}: the path is empty`, "write the path of the image, or leave it out");
	if (/^data:/i.test(text)) return embedded(bytesOfDataUrl(text, where), where, name, options);
	if (isEncodedImage(text)) return embedded(fromBase64(text, where), where, name, options);
	if (text.length > LONGEST_PATH) throw new RowFault(`${where}: a text of ${text.length} characters is no path: ${shorten(text, 40)}`, "an image within the row is a data: URL (data:image/png;base64,…) or { \"bytes\": its base64 }");
	let path = text;
	if (/^file:/i.test(text)) try {
		path = fileURLToPath(text);
	} catch (cause) {
		throw new RowFault(`${where}: ${shorten(text)} names no file here: ${cause.message}`, "write a path");
	}
	else if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) throw new RowFault(`${where}: ${shorten(text)} is an address, not a file`, "nothing is fetched while data is read: download the images, and write their paths relative to the file");
	const { imageRoot, onBadImage, maxPixels } = options;
	return new ImageFile(isAbsolute(path) ? path : resolve(imageRoot, path), {
		onBadImage,
		...maxPixels !== void 0 && { maxPixels }
	});
}
function isEncodedImage(text) {
	return /^(?:\/9j\/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/]/.test(text) && text.length >= 64 && !/\.\w+$/.test(text);
}
function embedded(bytes, where, name, options) {
	if (bytes.length > MAX_EMBEDDED_BYTES) throw tooLarge(where);
	return new EmbeddedImage(name, bytes, options);
}
function bytesOf(value, where) {
	if (value instanceof Uint8Array) return value;
	if (typeof value === "string") return /^data:/i.test(value) ? bytesOfDataUrl(value, where) : fromBase64(value, where);
	const list = isRecord(value) && value["type"] === "Buffer" ? value["data"] : value;
	if (Array.isArray(list) && list.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256)) return Uint8Array.from(list);
	throw new RowFault(`${where}: \`bytes\` are ${describeKind(value)}`, "expected bytes, or their base64");
}
function bytesOfDataUrl(url, where) {
	const comma = url.indexOf(",");
	const head = comma < 0 || comma > 200 ? "" : url.slice(5, comma).toLowerCase();
	if (/^image\/(jpeg|jpg|png|webp|gif)((?:;[a-z0-9-]+=[^;,]*)*);base64$/.exec(head.replaceAll(" ", ""))) return fromBase64(url.slice(comma + 1), where);
	throw new RowFault(`${where}: ${shorten(url, 60)} is no data: URL of an image that is read here`, "expected data:image/jpeg;base64,… with jpeg, png, webp or gif");
}
function fromBase64(text, where) {
	if (text.length > MAX_EMBEDDED_BYTES * 1.4) throw tooLarge(where);
	const plain = /\s/.test(text) ? text.replaceAll(/\s+/g, "") : text;
	const padded = /^[A-Za-z0-9+/]*={0,2}$/.test(plain) && plain.length % 4 !== 1;
	const urlSafe = !padded && /^[A-Za-z0-9_-]*={0,2}$/.test(plain) && plain.length % 4 !== 1;
	if (plain !== "" && (padded || urlSafe)) return Buffer.from(plain, urlSafe ? "base64url" : "base64");
	throw new RowFault(`${where}: ${plain === "" ? "there is nothing behind the comma" : "it is not base64"}`, "the image was not encoded to its end, or cut: encode it again");
}
function tooLarge(where) {
	return new RowFault(`${where}: an image of more than ${MAX_EMBEDDED_BYTES} bytes in a row`, "write the image to a file, and its path into the row");
}
function shorten(text, length = 100) {
	return oneLine(text.length > length ? `${text.slice(0, length)}…` : text);
}
export { imageFormatOf as C, LabelledDataset as E, describeFormat as S, IndexedDataset as T, findUnknownKey as _, readRecord as a, unknownKey as b, imageName as c, requireImage as d, DepthWatch as f, describeKind as g, aliases as h, mismatch as i, imageSize as l, readHeader as m, readImageCell as n, ImageFile as o, DEFAULT_MAX_PIXELS as p, RowFault as r, decodeImage as s, EmbeddedImage as t, openImage as u, isRecord as v, ClassLabel as w, READ_FORMATS as x, meantKey as y };
