import { a as custom, o as int, p as strictObject } from "./zod-CVDjCv3S.js";
import { _ as isKind, a as parseOptions, b as showValue, g as describeGiven, v as isObject } from "./config-BAD1VLMT.js";
import { C as tableCell, b as distinctNames, n as ConfigError, r as DataError, x as oneLine } from "./errors-D4G-NQir.js";
import { r as html } from "./page-D5lZK2q2.js";
import { T as IndexedDataset } from "./image-cells-BdLZPrXr.js";
// src/audit/sample-images.ts
function factsOf(sample, index, readers) {
	const known = knownFacts(sample);
	if (!known && !readers.images) throw new DataError(`sample ${index}: expected an image or a training sample, got ${describeGiven(sample)}`, {
		hint: "Say where its images are: auditDataset(data, { images: (sample) => sample.photo }).",
		details: { index }
	});
	const given = readers.images?.(sample, index);
	return {
		images: given === void 0 ? known?.images ?? [] : Array.isArray(given) ? given : [given],
		label: readers.label ? nameOf$1(readers.label(sample, index)) : known?.label,
		question: known?.question ?? "",
		id: known?.id
	};
}
function knownFacts(sample) {
	if (typeof sample === "string" || sample instanceof Uint8Array || isKind(sample, "image")) return {
		images: [sample],
		label: void 0,
		question: "",
		id: void 0
	};
	if (!isObject(sample)) return void 0;
	const { messages, prompt, completion, text, image, label, className } = sample;
	const id = typeof sample.id === "string" ? sample.id : void 0;
	if (messages !== void 0 || prompt !== void 0 || completion !== void 0 || typeof text === "string") {
		const turns = [
			...turnsOf(messages, "user"),
			...turnsOf(prompt, "user"),
			...turnsOf(completion, "assistant")
		];
		const isAnswer = ({ role }) => role === "assistant";
		const answers = turns.filter(isAnswer).map(textOf).join("\n");
		const beside = Array.isArray(sample.images) ? sample.images : [];
		return {
			images: [...turns.flatMap(imagesOf), ...beside],
			label: answers === "" ? void 0 : plain(answers),
			question: plain([...turns.filter((turn) => !isAnswer(turn)).map(textOf), text].join("\n")),
			id
		};
	}
	if (image === void 0 || image === null) return void 0;
	return {
		images: [image],
		label: nameOf$1(typeof className === "string" ? className : label),
		question: "",
		id
	};
}
const nameOf$1 = (label) => typeof label === "string" || typeof label === "number" ? String(label) : void 0;
function turnsOf(list, role) {
	if (typeof list === "string") return [{
		role,
		content: list
	}];
	return Array.isArray(list) ? list.filter((one) => isObject(one)) : [];
}
function partsOf({ content }) {
	return Array.isArray(content) ? content.filter((one) => isObject(one)) : [];
}
function textOf(message) {
	if (typeof message.content === "string") return message.content;
	return partsOf(message).map((part) => part.type === "text" ? part.text : "").join("\n");
}
function imagesOf(message) {
	return partsOf(message).flatMap((part) => part.type === "image" && part.image !== void 0 ? [part.image] : []);
}
const plain = (text) => text.replace(/\s+/g, " ").trim();
function pathOf(image) {
	if (typeof image === "string") return image;
	return isObject(image) && typeof image.path === "string" ? image.path : void 0;
}
// src/audit/image-issues.ts
const ISSUE_KINDS = [...[
	"damaged",
	"blank",
	"dark",
	"bright",
	"blurred",
	"tiny"
], ...[
	"odd-aspect",
	"odd-size",
	"odd-mode"
]];
const RARE_SHARE = .02;
const ENOUGH_IMAGES = 50;
function findIssues(images, measured, settings) {
	const areas = measured.map(({ width, height }) => width * height).filter((area) => area > 0);
	const median = areas.length > 0 ? distribution(areas).median : 0;
	const rare = rareKinds(measured);
	const all = measured.flatMap((one, i) => {
		const found = [...ofContent(one, settings), ...ofSize(one, median, settings)];
		const mode = kindsOf(one).find((kind) => rare.has(kind));
		if (mode !== void 0) {
			const reason = `${mode}, as ${rare.get(mode)} of ${measured.length} images`;
			found.push({
				kind: "odd-mode",
				reason,
				value: null,
				rank: 0
			});
		}
		return found.map((issue) => ({
			...issue,
			image: images[i]
		}));
	});
	return ISSUE_KINDS.flatMap((kind) => all.filter((issue) => issue.kind === kind).sort((a, b) => b.rank - a.rank).map(({ reason, value, image }) => ({
		kind,
		image,
		reason,
		value
	})));
}
function ofContent(image, settings) {
	const { content, fault, damage } = image;
	if (fault !== void 0) return [{
		kind: "damaged",
		reason: fault,
		value: null,
		rank: 1
	}];
	if (damage !== void 0) return [{
		kind: "damaged",
		reason: `it decodes, and a part of it is wrong: ${damage}`,
		value: null,
		rank: 0
	}, ...ofContent({
		...image,
		damage: void 0
	}, settings)];
	const { low, high, blur } = content;
	const range = high - low;
	if (range < settings.blankRange) return [{
		kind: "blank",
		reason: `luminance from ${low} to ${high}`,
		value: range,
		rank: -range
	}];
	const found = [];
	if (high < settings.darkLevel) found.push({
		kind: "dark",
		reason: `99 % of the pixels below ${high + 1} of 255`,
		value: high,
		rank: -high
	});
	if (low > 255 - settings.darkLevel) found.push({
		kind: "bright",
		reason: `99 % of the pixels above ${low - 1} of 255`,
		value: 255 - low,
		rank: low
	});
	if (blur > settings.maxBlur) found.push({
		kind: "blurred",
		reason: `blur effect ${blur.toFixed(2)}`,
		value: blur,
		rank: blur
	});
	return found;
}
function ofSize({ width, height }, median, settings) {
	if (width === 0) return [];
	const found = [];
	const size = `${width} × ${height} pixels`;
	const shorter = Math.min(width, height);
	if (shorter < settings.tinyEdge) found.push({
		kind: "tiny",
		reason: size,
		value: shorter,
		rank: -shorter
	});
	const ratio = Math.max(width, height) / shorter;
	if (ratio > settings.maxAspectRatio) found.push({
		kind: "odd-aspect",
		reason: `${size}, ${ratio.toFixed(1)} to 1`,
		value: ratio,
		rank: ratio
	});
	const share = width * height / median;
	const factor = Math.max(share, 1 / share);
	if (factor > settings.maxSizeFactor) {
		const relation = `${factor.toFixed(0)} times ${share > 1 ? "more" : "fewer"} pixels than the median`;
		found.push({
			kind: "odd-size",
			reason: `${size}, ${relation}`,
			value: factor,
			rank: factor
		});
	}
	return found;
}
function kindsOf({ mode, content }) {
	return [mode, content && (content.isColored ? "in colour" : "without colour")].filter((kind) => kind !== void 0);
}
function rareKinds(measured) {
	const counts = new Map();
	for (const kind of measured.flatMap(kindsOf)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
	if (measured.length < ENOUGH_IMAGES) return new Map();
	return new Map([...counts].filter(([, count]) => count < RARE_SHARE * measured.length));
}
function distribution(values) {
	const sorted = [...values].sort((a, b) => a - b);
	const at = (share) => {
		const place = share * (sorted.length - 1);
		const low = sorted[Math.floor(place)];
		return low + (sorted[Math.ceil(place)] - low) * (place - Math.floor(place));
	};
	return {
		min: at(0),
		q1: at(.25),
		median: at(.5),
		q3: at(.75),
		max: at(1)
	};
}
// src/audit/checked-report.ts
const LISTS = [
	"splits",
	"classNames",
	"duplicates",
	"duplicateSamples",
	"leaks",
	"issues",
	"notes"
];
function requireAuditReport(report, what) {
	const isReport = isObject(report) && LISTS.every((name) => Array.isArray(report[name]));
	if (isReport && report.version === 1) return;
	const came = isReport ? `version ${showValue(report.version)} of one` : describeGiven(report);
	throw new ConfigError(`${what}: expected the report of an audit, got ${came}`, { hint: "await auditDataset(data) gives one; from a file it is JSON.parse of its text." });
}
function requireSplit(report, name, dataset, what) {
	if (report.splits.find((one) => one.name === name)?.samples === dataset.length) return;
	const known = report.splits.map((one) => `${oneLine(one.name)} (${one.samples} samples)`).join(", ");
	throw new DataError(`${what}: the report is about other data: ${oneLine(name)} has ${dataset.length} samples, the report ${known}`, {
		hint: "Audit the data sets that you give here, under the same names.",
		details: { split: name }
	});
}
function requireSplitNames(names, report, what) {
	const known = report.splits.map(({ name }) => name);
	const unknown = names.find((name) => !known.includes(name));
	if (unknown === void 0) return;
	throw new ConfigError(`${what}: the report has no split ${showValue(unknown)}; splits: ${known.map(oneLine).join(", ")}`);
}
async function requireSamples(dataset, samples, what) {
	for (const { split, index, name } of samples) {
		const now = nameOf(await dataset.get(index).catch(() => void 0));
		if (now === void 0 || now === name || now.endsWith(name)) continue;
		throw new DataError(`${what}: the report is about other data: sample ${index} of ${oneLine(split)} is ${oneLine(now)}, was ${oneLine(name)}`, {
			hint: "Audit the data sets as they are now.",
			details: {
				split,
				index
			}
		});
	}
}
function nameOf(sample) {
	if (typeof sample === "string") return sample;
	return isObject(sample) && "image" in sample ? pathOf(sample.image) : void 0;
}
function selected(dataset, indices) {
	if (isKind(dataset, "dataset") && typeof dataset.select === "function") return dataset.select(indices);
	return new IndexedDataset(indices.length, (i) => dataset.get(indices[i]));
}
// src/audit/describe-audit.ts
const ISSUE_TITLES = {
	damaged: "Damaged: the image does not decode, or not all of it",
	blank: "Blank: next to no contrast",
	dark: "Dark",
	bright: "Bright",
	blurred: "Blurred",
	tiny: "Tiny",
	"odd-aspect": "Odd aspect ratio",
	"odd-size": "Odd size, beside the others",
	"odd-mode": "Odd mode: channels or colours that few images have"
};
const grouped = (count) => count.toLocaleString("en");
function counted(count, one, many = `${one}s`) {
	return `${grouped(count)} ${count === 1 ? one : many}`;
}
function share(part, whole) {
	return `${(100 * part / whole).toFixed(1)} %`;
}
function leakLines(report, clean) {
	return report.leaks.map(({ split, other, samples }) => {
		const all = report.splits.find(({ name }) => name === split).samples;
		const verb = samples.length === 1 ? "has" : "have";
		return `${`${grouped(samples.length)} of ${counted(all, "sample")} of ${clean(split)} (${share(samples.length, all)})`} ${verb} a copy in ${clean(other)}`;
	});
}
function copiesLine({ duplicates }) {
	if (duplicates.length === 0) return "No copies among the images";
	const count = (test) => grouped(duplicates.filter(test).length);
	const images = duplicates.reduce((sum, group) => sum + group.images.length, 0);
	return `${counted(duplicates.length, "group")} of copies, of ${grouped(images)} images: ${count(({ isExact }) => isExact)} exact; ${count(({ splits }) => splits.length > 1)} across splits; ${count(({ isConflict }) => isConflict)} with different labels`;
}
function sampleLines({ duplicates, duplicateSamples }) {
	const conflicts = duplicateSamples.filter(({ isConflict }) => isConflict).length;
	const said = duplicates.filter(({ isConflict }) => isConflict).length;
	if (duplicateSamples.length === duplicates.length && conflicts === said) return [];
	return [`${counted(duplicateSamples.length, "group")} of samples with the same images and the same question: ${grouped(conflicts)} with different answers`];
}
function groupLine(group, clean) {
	const parts = [];
	if (group.isConflict) parts.push("different labels");
	if (group.splits.length > 1) parts.push(`across ${group.splits.map(clean).join(" and ")}`);
	if (group.isExact) return [...parts, "exact copies"].join("; ");
	const near = group.pairs.filter(({ kind }) => kind === "near");
	const least = near.reduce((low, { correlation }) => Math.min(low, correlation), 1);
	const transforms = new Set(near.map(({ transform }) => transform).filter((one) => one !== "none"));
	const isCropped = near.some(({ overlap }) => overlap < CROPPED);
	const changes = [...transforms, ...isCropped ? ["cropped"] : []];
	parts.push([`near copies, correlation ${least.toFixed(3)}`, ...changes].join(", "));
	return parts.join("; ");
}
const CROPPED = .95;
function sizesLine({ sizes }) {
	if (!sizes) return "No image has a readable header";
	const { width, height, aspectRatio } = sizes;
	return `Width ${width.min} to ${width.max} pixels (median ${Math.round(width.median)}), height ${height.min} to ${height.max} (median ${Math.round(height.median)}), aspect ratio ${aspectRatio.min.toFixed(1)} to ${aspectRatio.max.toFixed(1)}`;
}
// src/audit/audit-report.ts
function imageKey({ split, index, position }) {
	return `${split}/${index}/${position}`;
}
// src/audit/shown-images.ts
const MAX_SHOWN_MEMBERS = 6;
function shownMembers({ images }) {
	const firstOf = (key) => [...new Map([...images].reverse().map((image) => [key(image), image])).values()];
	const chosen = new Set([
		...firstOf(({ split }) => split).reverse(),
		...firstOf(({ label }) => JSON.stringify(label)).reverse(),
		...images
	]);
	const shown = new Set([...chosen].slice(0, MAX_SHOWN_MEMBERS));
	return images.filter((image) => shown.has(image));
}
function issuesByKind(report) {
	return ISSUE_KINDS.map((kind) => report.issues.filter((issue) => issue.kind === kind)).filter((issues) => issues.length > 0);
}
function shownImages(report, { maxGroups, maxIssues }) {
	const members = report.duplicates.slice(0, maxGroups).flatMap(shownMembers);
	const issues = issuesByKind(report).flatMap((found) => found.slice(0, maxIssues).map(({ image }) => image));
	return [...members, ...issues];
}
// src/audit/audit-section.ts
const sectionSchema = strictObject({
	thumbnails: custom((value) => typeof value === "object" && value !== null, "expected what auditThumbnails gives").default({}),
	maxGroups: int().nonnegative().default(40),
	maxIssues: int().nonnegative().default(12)
});
const FIRST_GROUPS = 6;
const AUDIT_STYLES = `
.audit-classes { width: 100%; max-width: 60rem; }
.audit-classes .bar { display: block; height: 0.7em; min-width: 1px; margin: 0.15rem 0; print-color-adjust: exact; }
.audit-classes .bars { width: 40%; min-width: 5rem; }
.audit-classes th[scope="row"] { min-width: 7rem; }
.audit-classes .number { white-space: nowrap; }
.audit-classes .swatch { display: inline-block; width: 0.7em; height: 0.7em; }
.audit-tall { max-height: 34rem; overflow: auto; }
.audit-groups { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0.75rem 0; }
.audit-group { max-width: 100%; }
.audit-group h4 { width: 0; min-width: 100%; margin: 0 0 0.5rem; font-size: 1rem; }
.audit-images { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0; padding: 0; list-style: none; }
.audit-images li { flex: 0 1 10rem; min-width: 8rem; }
.audit-images li:not(:has(img)) { flex: 1 1 18rem; }
.audit-images img { display: block; width: 100%; height: 10rem; object-fit: contain; margin: 0 0 0.25rem; background: #000; border-radius: 0.25rem; }
.audit-images figcaption { font-size: 0.875rem; overflow-wrap: anywhere; }
.audit-images strong { display: block; }
@media print { .audit-tall { max-height: none; } }
`;
function auditSection(report, options = {}) {
	requireAuditReport(report, "auditSection");
	const { thumbnails, maxGroups, maxIssues } = parseOptions(sectionSchema, options, "auditSection");
	const samples = report.splits.reduce((sum, split) => sum + split.samples, 0);
	const perSplit = report.splits.map((split) => `${tableCell(split.name)} ${grouped(split.samples)}`).join(", ");
	const leaks = leakLines(report, tableCell);
	return html`<section id="audit">
<h2>Data</h2>
<p>${counted(samples, "sample")}: ${perSplit}. ${sizesLine(report)}.</p>
${report.notes.map((note) => html`<p class="warn">${tableCell(note)}.</p>`)}
${leaks.map((line) => html`<p class="warn"><strong>${line}.</strong></p>`)}
${classTable(report)}
<h3>Copies</h3>
<p>${copiesLine(report)}.</p>
${sampleLines(report).map((line) => html`<p>${line}.</p>`)}
${groupCards(report.duplicates.slice(0, maxGroups), thumbnails)}
${leftOut(report.duplicates.length - maxGroups, "more group")}
${issuesByKind(report).map((issues) => issueList(issues, maxIssues, thumbnails))}
${report.issues.length === 0 && html`<p>No image is damaged, blank, dark, blurred, tiny or odd.</p>`}
</section>`;
}
function leftOut(count, what) {
	return count > 0 && html`<p class="quiet">${counted(count, what)} not shown.</p>`;
}
function classTable({ classNames, splits }) {
	if (classNames.length === 0) return false;
	const scale = 100 / (Math.max(...splits.flatMap(({ classCounts, samples }) => classCounts.map((n) => n / samples || 0))) || 1);
	const rows = distinctNames(classNames).map((name, i) => {
		const cells = splits.map(({ classCounts, samples }) => {
			const count = classCounts[i];
			const part = samples > 0 ? share(count, samples) : "";
			return html`<td class="number${count === 0 && " bad"}">${grouped(count)}</td><td class="number quiet">${part}</td>`;
		});
		const bars = splits.map(({ classCounts, samples }, s) => {
			const width = samples > 0 ? (scale * classCounts[i] / samples).toFixed(1) : "0";
			return html`<span class="bar" style="width: ${width}%; background: ${colorOf(s)}"></span>`;
		});
		return html`<tr><th scope="row">${name}</th>${cells}<td class="bars" aria-hidden="true">${bars}</td></tr>`;
	});
	const heads = splits.map(({ name }, s) => {
		const swatch = html`<span class="swatch" style="background: ${colorOf(s)}" aria-hidden="true"></span>`;
		return html`<th scope="col" class="number" colspan="2">${tableCell(name)} ${swatch}</th>`;
	});
	return html`<h3>Classes</h3>
<div class="scroll${classNames.length > 30 && " audit-tall"}" tabindex="0" role="region" aria-label="Samples of each class"><table class="audit-classes">
<thead><tr><th scope="col">Class</th>${heads}<th scope="col">Share of the split</th></tr></thead>
<tbody>${rows}</tbody>
</table></div>`;
}
const colorOf = (split) => `var(--series-${split % 5 + 1})`;
function groupCards(groups, thumbnails) {
	const cards = groups.map((group) => groupCard(group, thumbnails));
	const rest = cards.slice(FIRST_GROUPS);
	return html`<div class="audit-groups">${cards.slice(0, FIRST_GROUPS)}</div>${rest.length > 0 && html`<details><summary>${counted(rest.length, "more group")}</summary><div class="audit-groups">${rest}</div></details>`}`;
}
function groupCard(group, thumbnails) {
	const left = group.images.length - shownMembers(group).length;
	const tone = group.isConflict ? "bad" : group.splits.length > 1 ? "warn" : "";
	return html`<article class="card audit-group">
<h4 class="${tone}">${groupLine(group, tableCell)}</h4>
<ul class="audit-images">${shownMembers(group).map((image) => imageItem(image, thumbnails))}</ul>
${leftOut(left, "more image")}
</article>`;
}
function issueList(issues, most, thumbnails) {
	return html`<h3>${ISSUE_TITLES[issues[0].kind]}</h3>
<p>${counted(issues.length, "image")}.</p>
<ul class="audit-images">${issues.slice(0, most).map(({ image, reason }) => imageItem(image, thumbnails, reason))}</ul>
${leftOut(issues.length - most, "more image")}`;
}
function imageItem(image, thumbnails, reason) {
	const key = imageKey(image);
	const uri = Object.hasOwn(thumbnails, key) ? thumbnails[key] : void 0;
	const name = tableCell(image.name);
	const size = `${image.width} × ${image.height}`;
	const facts = [image.width > 0 && !reason?.startsWith(size) && size, reason !== void 0 && tableCell(reason)];
	return html`<li><figure>${isImageUri(uri) && html`<img src="${uri}" alt="${name}">`}
<figcaption><strong>${tableCell(image.split)}${image.label !== null && `: ${tableCell(image.label)}`}</strong>
<span class="quiet">${name}${facts.map((fact) => fact && html`<br>${fact}`)}</span></figcaption></figure></li>`;
}
const isImageUri = (uri) => typeof uri === "string" && /^data:image\/(webp|png|jpeg);base64,/.test(uri);
export { pathOf as C, factsOf as S, requireSplitNames as _, ISSUE_TITLES as a, distribution as b, groupLine as c, sampleLines as d, share as f, requireSplit as g, requireSamples as h, imageKey as i, grouped as l, requireAuditReport as m, auditSection as n, copiesLine as o, sizesLine as p, shownImages as r, counted as s, AUDIT_STYLES as t, leakLines as u, selected as v, findIssues as x, ISSUE_KINDS as y };
