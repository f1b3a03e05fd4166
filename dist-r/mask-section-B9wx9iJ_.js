import { o as int, p as strictObject, r as array } from "./zod-CVDjCv3S.js";
import { S as printable, n as ConfigError, p as TuneError, r as DataError, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { _ as isKind, a as parseOptions, d as requireKind, g as describeGiven, m as requireSignal, v as isObject, y as isPromise } from "./config-BAD1VLMT.js";
import { a as imageDataUri, r as html, t as renderPage } from "./page-D5lZK2q2.js";
import { n as tokenBytes } from "./byte-alphabet-DPuatloH.js";
import { r as IGNORE_INDEX } from "./or-aborted-C0Ixy3mg.js";
import { createHash } from "node:crypto";
// src/data/mask-images.ts
async function maskImage(image, position, cellSize, settings, edge) {
	const { width, height } = image;
	const pixels = levelsOf(image, settings);
	return {
		width,
		height,
		rows: height / cellSize,
		columns: width / cellSize,
		cellSize,
		position,
		brightness: brightnessOf(pixels, cellSize),
		...edge > 0 && { uri: await imageDataUri(pixels, edge) }
	};
}
function levelsOf({ pixelValues, width, height }, settings) {
	const { imageMean, imageStd, rescaleFactor } = settings;
	const isKnown = isTriple(imageMean) && isTriple(imageStd) && typeof rescaleFactor === "number";
	let [low, high] = [0, 1];
	if (!isKnown) {
		low = Number.POSITIVE_INFINITY;
		high = Number.NEGATIVE_INFINITY;
		for (const value of pixelValues) {
			low = Math.min(low, value);
			high = Math.max(high, value);
		}
	}
	const plane = width * height;
	const data = new Uint8Array(3 * plane);
	for (let c = 0; c < 3; c++) {
		const scale = isKnown ? imageStd[c] / rescaleFactor : 255 / Math.max(high - low, Number.MIN_VALUE);
		const shift = isKnown ? imageMean[c] / rescaleFactor : -low * scale;
		for (let i = 0; i < plane; i++) {
			const level = Math.round(pixelValues[c * plane + i] * scale + shift);
			data[3 * i + c] = Math.min(255, Math.max(0, level));
		}
	}
	return {
		width,
		height,
		data
	};
}
function isTriple(value) {
	return Array.isArray(value) && value.length === 3;
}
function brightnessOf({ width, height, data }, cellSize) {
	const columns = width / cellSize;
	const sums = new Float64Array(height / cellSize * columns);
	for (let y = 0, from = 0; y < height; y++) {
		const row = Math.floor(y / cellSize) * columns;
		for (let x = 0; x < width; x++, from += 3) {
			const luma = .299 * data[from] + .587 * data[from + 1] + .114 * data[from + 2];
			sums[row + Math.floor(x / cellSize)] += luma;
		}
	}
	return Array.from(sums, (sum) => Math.round(sum / cellSize ** 2));
}
// src/data/token-texts.ts
const UTF8 = new TextDecoder("utf-8", {
	fatal: true,
	ignoreBOM: true
});
function tokenTexts(tokenizer, ids) {
	const texts = [];
	let run = [];
	const flush = () => {
		texts.push(...runTexts(run));
		run = [];
	};
	for (let i = 0; i < ids.length; i++) {
		const id = ids[i];
		const token = tokenizer.idToToken(id);
		if (token === void 0 || tokenizer.specialTokenIds.has(id)) {
			flush();
			texts.push({ text: token === void 0 ? `<${id}>` : visible(token) });
		} else run.push(tokenBytes(token) ?? Buffer.from(token));
	}
	flush();
	return texts;
}
function runTexts(tokens) {
	const bytes = Buffer.concat(tokens);
	const texts = [];
	let open = "";
	let openEnd = 0;
	let end = 0;
	for (const token of tokens) {
		let at = end;
		end += token.length;
		let text = "";
		let partOf = "";
		if (at < openEnd) {
			const stop = Math.min(openEnd, end);
			text += hexOf(bytes.subarray(at, stop));
			partOf = open;
			at = stop;
		}
		let whole = "";
		while (at < end) {
			const length = characterLength(bytes, at);
			if (length > 0 && at + length <= end) {
				whole += UTF8.decode(bytes.subarray(at, at + length));
				at += length;
				continue;
			}
			text += visible(whole);
			whole = "";
			if (length === 0) text += hexOf(bytes.subarray(at, ++at));
			else {
				open = visible(UTF8.decode(bytes.subarray(at, at + length)));
				openEnd = at + length;
				text += hexOf(bytes.subarray(at, end));
				partOf += open;
				at = end;
			}
		}
		text += visible(whole);
		texts.push(partOf === "" ? { text } : {
			text,
			partOf
		});
	}
	return texts;
}
function characterLength(bytes, at) {
	const first = bytes[at];
	const length = first < 128 ? 1 : first < 194 ? 0 : first < 224 ? 2 : first < 240 ? 3 : first < 245 ? 4 : 0;
	if (length <= 1) return length;
	try {
		UTF8.decode(bytes.subarray(at, at + length));
		return length;
	} catch {
		return 0;
	}
}
function hexOf(bytes) {
	return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
const WRITTEN_OUT = /(?! )\p{Zs}|[·↵⇥◌│]/gu;
function visible(text) {
	const written = text.replace(WRITTEN_OUT, (character) => {
		return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
	});
	return printable(written.replaceAll("\r", "\\r")).replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("	", "⇥").replace(/^\p{M}/u, "◌$&");
}
// src/data/mask-tokens.ts
function placeTokens({ inputIds, labels, images }, tokenizer) {
	const texts = tokenTexts(tokenizer, inputIds);
	const spans = [];
	const cellSizes = [];
	let [row, column, columns, rows] = [
		0,
		0,
		0,
		0
	];
	return {
		tokens: inputIds.map((id, i) => {
			const label = labels?.[i] ?? -100;
			const about = {
				id,
				label,
				isLearned: i > 0 && label !== -100,
				...texts[i]
			};
			if (row === rows) {
				const isText = !tokenizer.specialTokenIds.has(id);
				if (id !== tokenizer.imageTokenId) return {
					...about,
					kind: isText ? "text" : "control"
				};
				const { width, height } = images[spans.length];
				columns = 0;
				while (inputIds[i + columns] === id) columns++;
				cellSizes.push(width / columns);
				[row, column, rows] = [
					0,
					0,
					height * columns / width
				];
				spans.push({
					first: i,
					last: i + rows * (columns + 1) - 2
				});
			}
			const cell = {
				image: spans.length - 1,
				row,
				column
			};
			if (column++ < columns) return {
				...about,
				kind: "cell",
				cell
			};
			column = 0;
			return {
				...about,
				kind: ++row === rows ? "end" : "break",
				cell
			};
		}),
		spans,
		cellSizes
	};
}
function rowOf(placed, padding, side, shared, tokenizer) {
	const id = tokenizer.padTokenId;
	const [padText] = tokenTexts(tokenizer, [id]);
	const pad = {
		id,
		kind: "padding",
		label: IGNORE_INDEX,
		isLearned: false,
		isShared: false,
		...padText
	};
	const pads = new Array(padding).fill(pad);
	const own = placed.map((token, i) => ({
		...token,
		isShared: i < shared
	}));
	return (side === "left" ? [...pads, ...own] : [...own, ...pads]).map((token, position) => ({
		position,
		...token
	}));
}
// src/data/shared-prefix.ts
const FEWEST_TOKENS = 16;
function sharedPrefixLength({ inputIds: ids, spans, digests }, earlier) {
	let length = 0;
	while (length < ids.length && ids[length] === earlier.inputIds[length]) length++;
	for (const [n, { first, last }] of spans.entries()) {
		if (first >= length) break;
		if (last >= length || digests[n] !== earlier.digests[n]) length = first;
	}
	if (length < FEWEST_TOKENS) return 0;
	const most = Math.min(length, ids.length - 1);
	const cut = spans.find(({ first, last }) => first < most && most <= last);
	const tokens = cut ? cut.first : most;
	return tokens < FEWEST_TOKENS ? 0 : tokens;
}
function imageDigest({ pixelValues, height, width }) {
	const bytes = new Uint8Array(pixelValues.buffer, pixelValues.byteOffset, pixelValues.byteLength);
	return `${height} ${width} ${createHash("sha256").update(bytes).digest("base64")}`;
}
// src/data/mask-view.ts
const maskViewSchema = strictObject({
	indices: array(int().nonnegative()).readonly().optional(),
	imageEdge: int().nonnegative().max(4096).default(768)
});
const SHOWN = 4;
async function maskView(samples, collator, options = {}) {
	const { signal, ...plain } = options ?? {};
	requireKind("collator", collator, "maskView: `collator`", "maskView(samples, collator)");
	requireSignal(signal, "maskView");
	const { indices, imageEdge } = parseOptions(maskViewSchema, plain, "maskView");
	const named = await namedSamples(samples, indices);
	const traced = [];
	for (let i = 0; i < named.length; i += AT_ONCE) {
		signal?.throwIfAborted();
		const some = named.slice(i, i + AT_ONCE);
		traced.push(...await Promise.all(some.map((one) => traceSample(one, collator, imageEdge, signal))));
	}
	const { paddingSide, maxLength } = collator.options;
	const inBatch = traced.filter(({ trace }) => trace.status === "learned");
	const length = Math.max(0, ...inBatch.map(({ tokens }) => tokens.length));
	const earlier = [];
	return {
		samples: traced.map((sample) => {
			const { id, trace, images, inspection, tokens } = sample;
			const isInBatch = trace.status === "learned";
			const shared = isInBatch ? Math.max(0, ...earlier.map((other) => sharedPrefixLength(sample, other))) : 0;
			if (isInBatch) earlier.push(sample);
			const padding = isInBatch ? length - tokens.length : 0;
			const row = rowOf(tokens, padding, paddingSide, shared, collator.tokenizer);
			const start = paddingSide === "left" ? padding : 0;
			return {
				id,
				status: trace.status,
				...trace.reason !== void 0 && { reason: trace.reason },
				tokens: row,
				images: images.map((image) => ({
					...image,
					position: image.position + start
				})),
				length: tokens.length,
				labels: row.filter(({ isLearned }) => isLearned).length,
				sharedPrefix: shared,
				...trace.cut && { truncated: trace.cut },
				...inspection && { inspection }
			};
		}),
		length,
		paddingSide,
		...maxLength !== void 0 && { maxLength }
	};
}
const AT_ONCE = 4;
async function traceSample({ id, example }, collator, imageEdge, signal) {
	const { sample, ...trace } = await collator.trace(example, { ...signal && { signal } });
	const inspection = inspected(collator, example);
	const { inputIds = [], images = [] } = sample ?? {};
	const placed = sample ? placeTokens(sample, collator.tokenizer) : {
		tokens: [],
		spans: [],
		cellSizes: []
	};
	const shown = images.map((image, n) => maskImage(image, placed.spans[n].first, placed.cellSizes[n], collator.settings, imageEdge));
	return {
		id,
		trace,
		inspection,
		inputIds,
		digests: images.map(imageDigest),
		...placed,
		images: await Promise.all(shown)
	};
}
async function namedSamples(samples, indices) {
	if (isKind(samples, "dataset")) {
		const dataset = samples;
		const outside = indices?.find((index) => index >= dataset.length);
		if (outside !== void 0) throw new DataError(`maskView: \`indices\`: there is no sample ${outside} in a data set of ${dataset.length}`);
		const shown = indices ?? Array.from({ length: Math.min(SHOWN, dataset.length) }, (_, i) => i);
		return Promise.all(shown.map(async (index) => {
			const example = await dataset.get(index);
			return {
				id: example?.id ?? String(index),
				example
			};
		}));
	}
	if (indices !== void 0) throw new DataError("maskView: `indices` choose samples of a data set", { hint: "Leave them out, and give the samples that are to be shown." });
	if (Array.isArray(samples)) return samples.map((example, i) => ({
		id: example?.id ?? `${i} of the batch`,
		example
	}));
	if (isKind(samples, "folderSample") || typeof samples !== "object" || samples === null || isKind(samples, "promise")) throw new DataError(`maskView: expected a sample, a list of samples or a data set, got ${describeGiven(samples)}`, { hint: isKind(samples, "promise") ? "Await it." : "Write maskView({ messages }, collator), or maskView(dataset.map(toExample), collator)." });
	const example = samples;
	return [{
		id: example.id ?? "0 of the batch",
		example
	}];
}
function inspected(collator, example) {
	try {
		return collator.inspect(example);
	} catch (error) {
		if (error instanceof TuneError) return void 0;
		throw error;
	}
}
function requireMaskView(view, what) {
	if (isObject(view) && Array.isArray(view.samples) && "paddingSide" in view) return;
	throw new ConfigError(`${what}: expected a mask view, got ${describeGiven(view)}`, { hint: isPromise(view) ? "Await it." : "await maskView(samples, collator) gives one." });
}
// src/data/mask-notes.ts
const SHOWN_CUT = 60;
function maskTitle({ samples }, index) {
	return `Sample ${index + 1} of ${samples.length}: ${oneLine(endOfPath(samples[index].id))}`;
}
function endOfPath(id) {
	if (!/^(?:\/|[a-z]:[\\/]|\\\\)/i.test(id)) return id;
	const parts = id.split(/[\\/]+/);
	if (parts.length <= 4) return id;
	return `…/${parts.slice(-3).join("/")}`;
}
function maskSummary(sample) {
	const { length, labels, images, sharedPrefix, tokens } = sample;
	if (length === 0) return "no tokens";
	const parts = [`${labels} of ${counted(length, "token")} learned (${share(labels, length)})`];
	const ofImages = tokens.filter(({ cell }) => cell).length;
	if (ofImages > 0) parts.push(`${ofImages} for ${counted(images.length, "image")}`);
	if (sharedPrefix > 0) parts.push(`the first ${sharedPrefix} shared with an earlier sample`);
	const padding = tokens.length - length;
	if (padding > 0) parts.push(`${padding} padding`);
	return parts.join(", ");
}
function maskWarnings({ status, reason = "", truncated, length, inspection }) {
	const lines = [];
	if (status === "empty" || status === "failed") lines.push(`stops the run: ${reason}`);
	if (status === "dropped" || status === "skipped") lines.push(`left out: ${reason}`);
	if (truncated) {
		const { text } = truncated;
		const start = text.length > SHOWN_CUT ? `${text.slice(0, SHOWN_CUT)}…` : text;
		lines.push(`cut from ${truncated.length} to ${counted(length, "token")}: ${counted(text.length, "character")} of user text are missing, beginning with "${oneLine(start)}"`);
	}
	if (inspection) {
		const { openAnswers, openReason, promptFault, spelledTokens, leftOut } = inspection;
		if (openAnswers > 0) lines.push(`the end of the answer is not learned: ${openReason ?? "nothing closes it"}`);
		if (promptFault !== void 0) lines.push(`generation asks in another way than training shows: ${promptFault}`);
		const spelled = Object.entries(spelledTokens).map(([token, count]) => `${token} ${count} ×`);
		if (spelled.length > 0) lines.push(`texts spell control tokens, which stay text: ${spelled.join(", ")}`);
		if (leftOut.length > 0) lines.push(`the chat template does not show ${leftOut.join(", ")}`);
	}
	return lines.map(warningLine);
}
function beginsTurn(token, before) {
	return token.kind === "control" && before?.kind === "control" && before.position > 0;
}
function viewSummary({ samples, length, maxLength }) {
	const learned = samples.filter(({ status }) => status === "learned");
	const tokens = learned.reduce((sum, sample) => sum + sample.length, 0);
	const labels = learned.reduce((sum, sample) => sum + sample.labels, 0);
	const limit = maxLength === void 0 ? "" : `, at most ${maxLength} a sample`;
	const missing = samples.length - learned.length;
	return `${counted(samples.length, "sample")}, ${counted(tokens, "token")}${limit}, ${labels} of them learned (${share(labels, tokens)})` + (learned.length > 1 ? `, rows of ${length} with padding` : "") + (missing > 0 ? `; ${missing} not learned` : "");
}
function share(part, whole) {
	return whole === 0 ? "0 %" : `${(100 * part / whole).toFixed(1)} %`;
}
function counted(count, what) {
	return `${count} ${what}${count === 1 ? "" : "s"}`;
}
// src/page/mask-cells.ts
const CELL = 24;
const MAX_HEIGHT = 840;
function imageCells(tokens, image, index) {
	const { width, height, rows, columns, cellSize, uri } = image;
	const first = tokens[0].position;
	const last = first + tokens.length - 1;
	const side = Math.min(CELL, Math.floor(MAX_HEIGHT / rows));
	const size = `${width} × ${height} pixels, ${columns} × ${rows} cells of ${cellSize} pixels`;
	const name = `Image ${index + 1}: ${size}, tokens ${first} to ${last}`;
	const lines = Array.from({ length: rows }, (_, row) => cellRow(tokens, image, row));
	const style = `--id: "${tokens[0].id}"; --width: ${columns * side}px; --ratio: ${columns} / ${rows}; counter-reset: mask-token ${first - 1} mask-row -1`;
	return html`<figure class="mask-image"><figcaption>${name}</figcaption>
<div class="mask-cells" style="${style}">${uri !== void 0 && html`<img src="${uri}" alt="">`}<div class="mask-grid">${lines}</div></div></figure>`;
}
function cellRow(tokens, { columns, brightness, uri }, row) {
	const start = row * (columns + 1);
	const own = tokens.slice(start, start + columns);
	const close = tokens[start + columns];
	const { position, id, text } = own[0];
	const learned = close.isLearned ? `${close.text} is learned` : "not learned";
	const about = `tokens ${position} to ${close.position}: row ${row}, ${columns} × ${text} (id ${id}) and ${close.text} (id ${close.id}), ${learned}`;
	const cells = own.map((_, column) => uri === void 0 ? html`<i style="--level: ${brightness[row * columns + column]}"></i>` : CELL_MARK);
	const end = html`<b${close.isLearned && html` class="learned"`} data-about="${`token ${close.position}: ${close.text}, id ${close.id}, ${close.isLearned ? "learned" : "not learned"}`}"></b>`;
	return html`<div class="mask-row" role="img" tabindex="0" aria-label="${about}">${cells}${end}</div>`;
}
const CELL_MARK = html`<i></i>`;
// src/page/mask-styles.ts
const MASK_STYLES = `
:root { scroll-padding-bottom: 5rem; }
main > .masks { padding-bottom: 5rem; }
.mask-sample { margin-top: 1rem; }
.mask-sample h3 { margin: 0; font-size: 1rem; }
.mask-sample p { margin: 0.25rem 0; }
.mask-legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
.tokens { margin: 0.5rem 0; line-height: 1.9; }
.token { unicode-bidi: isolate; padding: 0.1em 0.15em; border: 1px solid var(--line); border-radius: 0.2em;
  background: var(--page); color: var(--text); font: 0.875rem/1.2 ui-monospace, monospace; margin-right: 1px;
  display: inline-block; max-width: 100%; }
.token small { margin-left: 0.3em; color: var(--quiet); }
.token.learned small { color: var(--text); }
.token.control { border: 1px dashed var(--quiet); color: var(--quiet); }
.token.padding { color: var(--quiet); }
.token.shared { border-bottom: 2px dotted var(--quiet); }
.token.learned { background: var(--mark); color: var(--text); border-color: var(--accent);
  border-bottom: 3px solid var(--accent); font-weight: 700; }
.token[tabindex]:hover { outline: 2px solid var(--accent); }
.token[tabindex]:hover::after, .token[tabindex]:focus::after, .mask-row:focus::after, .mask-row i:hover::after,
.mask-row b:hover::after {
  content: attr(data-about); position: fixed; z-index: 2; left: 0; right: 0; bottom: 0; padding: 0.6rem 1rem;
  background: var(--text); color: var(--page); font: 1rem/1.4 system-ui, sans-serif; text-align: left; pointer-events: none; }
.token[tabindex]:hover::after, .mask-row i:hover::after, .mask-row b:hover::after { z-index: 3; }
.mask-row:focus::after { content: attr(aria-label); }
.mask-image { margin: 0.75rem 0; }
.mask-image figcaption { margin-bottom: 0.25rem; color: var(--quiet); }
.mask-cells { position: relative; width: calc(var(--width) + 0.75rem); max-width: 100%; padding-right: 0.75rem; }
.mask-cells::before { content: ""; display: block; aspect-ratio: var(--ratio); }
.mask-cells img { position: absolute; left: 0; top: 0; width: calc(100% - 0.75rem); height: 100%; max-width: none; }
.mask-grid { position: absolute; inset: 0; display: flex; flex-direction: column; }
.mask-row { flex: 1 1 0; min-height: 0; display: flex; counter-increment: mask-row; counter-reset: mask-column -1; }
.mask-row i { flex: 1 1 0; min-width: 0; counter-increment: mask-token mask-column;
  background: rgb(var(--level, 0) var(--level, 0) var(--level, 0) / var(--shown, 0));
  box-shadow: inset 0 0 0 0.5px rgb(255 255 255 / 0.5), inset 0 0 0 1px rgb(0 0 0 / 0.4); }
.mask-row i[style] { --shown: 1; }
.mask-row b { flex: 0 0 calc(0.75rem - 2px); margin: 1px 0 1px 2px; counter-increment: mask-token; border: 1px dashed var(--quiet); }
.mask-row b.learned { border: 1px solid var(--accent); background: var(--accent); }
.mask-row i:hover::after { content: "token " counter(mask-token) ": id " var(--id) ", row " counter(mask-row) ", column " counter(mask-column) ", not learned"; }
.mask-row i:hover, .mask-row b:hover { position: relative; z-index: 1; outline: 2px solid #fff; box-shadow: 0 0 0 4px #000; }
.mask-row:focus-visible { position: relative; z-index: 1; outline: 3px solid var(--accent); box-shadow: 0 0 0 5px #fff; }
.mask-sample details summary { cursor: pointer; padding: 0.25rem 0; }
.mask-table { max-height: 30rem; overflow: auto; }
.mask-table table { font-size: 0.875rem; }
@media print { main > .masks { padding-bottom: 0; } .mask-image { break-inside: avoid; } }
@media (forced-colors: active) { .token.learned { border-bottom: 3px solid Highlight; } }
`;
// src/page/mask-table.ts
function tokenTable({ tokens }, index) {
	const lines = [];
	for (let i = 0; i < tokens.length;) {
		const token = tokens[i];
		let end = i + 1;
		while (isSame(token, tokens[end])) end++;
		lines.push(line(token, end - i));
		i = end;
	}
	return html`<div class="scroll mask-table" tabindex="0" role="region" aria-label="Tokens of sample ${index + 1}"><table>
<thead><tr><th scope="col" class="number">Position</th><th scope="col" class="number">Id</th><th scope="col" class="number">Label</th><th scope="col">Token</th><th scope="col">Place</th></tr></thead>
<tbody>${lines}</tbody></table></div>`;
}
function isSame({ kind, cell }, other) {
	if (kind !== other?.kind || kind !== "padding" && kind !== "cell") return false;
	return cell?.image === other.cell?.image && cell?.row === other.cell?.row;
}
function line({ position, id, label, text, isLearned, kind, cell, partOf }, count) {
	const positions = count > 1 ? `${position}–${position + count - 1}` : String(position);
	const shown = count > 1 ? `${text} × ${count}` : text;
	const place = cell ? `image ${cell.image + 1}, row ${cell.row}` : partOf !== void 0 ? `bytes of ${partOf}` : kind === "text" ? "" : kind;
	const token = isLearned ? html`<mark class="token learned">${shown}</mark>` : html`<span class="token">${shown}</span>`;
	return html`<tr><td class="number">${positions}</td><td class="number">${id}</td><td class="number">${label}</td><td>${token}</td><td>${place}</td></tr>`;
}
// src/page/mask-section.ts
const HEAD = 200;
const TAIL = 50;
const FOLDED = 100;
function maskSection(view) {
	const { samples } = view;
	return html`<section class="masks"><h2>What is learned</h2>
<p>${viewSummary(view)}.</p>
${legend(samples.flatMap(({ tokens }) => tokens))}
${samples.map((sample, i) => sampleCard(sample, i, maskTitle(view, i)))}
</section>`;
}
function renderMaskPage(view) {
	requireMaskView(view, "renderMaskPage");
	return renderPage({
		title: "What is learned",
		body: maskSection(view),
		styles: [MASK_STYLES]
	});
}
function legend(tokens) {
	const has = (test) => tokens.some(test);
	return html`<ul class="mask-legend" aria-label="Signs">
<li><mark class="token learned">learned</mark></li>
<li><span class="token">not learned</span></li>
${has(({ kind }) => kind === "control") && html`<li><span class="token control">control token</span></li>`}
${has(({ isShared }) => isShared) && html`<li><span class="token shared">shared with an earlier sample</span></li>`}
${has(({ cell }) => cell !== void 0) && html`<li>cells of an image: a token each, and one behind each row</li>`}
<li><span class="token">·</span> space</li><li><span class="token">↵</span> line end</li>
${has(({ partOf }) => partOf !== void 0) && html`<li><span class="token">\\xe6</span> a byte of a character</li>`}
</ul>
<p class="quiet">Point at a token, tap it, or move to it with the Tab key: its position and id are shown at the bottom.</p>`;
}
function sampleCard(sample, index, title) {
	const { tokens } = sample;
	const end = `mask-${index}-end`;
	return html`<article class="card mask-sample">
<h3>${title}</h3>
<p>${maskSummary(sample)}</p>
${maskWarnings(sample).map((line) => html`<p class="warn">${line}</p>`)}
${tokens.length > 0 && html`<a class="skip" href="#${end}">Skip the tokens of this sample</a>
${blocks(sample)}
<details id="${end}"><summary>The tokens as a table</summary>${tokenTable(sample, index)}</details>`}
</article>`;
}
function blocks({ tokens, images }) {
	const found = [];
	for (let i = 0; i < tokens.length;) {
		const { cell } = tokens[i];
		let end = i + 1;
		while (end < tokens.length && tokens[end].cell?.image === cell?.image) end++;
		const part = tokens.slice(i, end);
		found.push(...cell ? [imageCells(part, images[cell.image], cell.image)] : textBlocks(part));
		i = end;
	}
	return found;
}
function textBlocks(tokens) {
	const found = [];
	let open = [];
	const close = () => {
		if (open.length > 0) found.push(html`<div class="tokens">${open}</div>`);
		open = [];
	};
	for (let i = 0; i < tokens.length;) {
		let end = i + 1;
		const { isLearned, kind } = tokens[i];
		const isPadding = kind === "padding";
		while (tokens[end]?.isLearned === isLearned && tokens[end].kind === "padding" === isPadding) end++;
		const stretch = tokens.slice(i, end);
		const folded = stretch.length - HEAD - TAIL;
		if (isPadding) open.push(mark(tokens[i], stretch.length));
		else if (isLearned || folded <= FOLDED) open.push(...marks(stretch));
		else {
			open.push(...marks(stretch.slice(0, HEAD)));
			close();
			const rest = marks(stretch.slice(HEAD, -50));
			found.push(html`<details class="tokens"><summary>${folded} further tokens, none of them learned</summary>${rest}</details>`);
			open.push(...marks(stretch.slice(-50)));
		}
		i = end;
	}
	close();
	return found;
}
function marks(tokens) {
	return tokens.map((token, i) => html`${beginsTurn(token, tokens[i - 1]) && html`<br>`}${mark(token, 1)}`);
}
function mark(token, count) {
	const { text, partOf, position, isLearned, isShared, kind } = token;
	const name = [
		"token",
		isLearned && "learned",
		isShared && "shared",
		kind !== "text" && kind
	].filter(Boolean).join(" ");
	const about = `${count > 1 ? `tokens ${position} to ${position + count - 1}` : `token ${position}`}: ${facts(token).join(", ")}`;
	const shown = count > 1 ? `${text} × ${count}` : html`${text}${partOf !== void 0 && html`<small>${partOf}</small>`}`;
	const lineEnd = text.endsWith("↵") && kind === "text" && html`<br>`;
	return isLearned ? html`<mark class="${name}" tabindex="0" data-about="${about}">${shown}</mark>${lineEnd}` : html`<span class="${name}" tabindex="0" data-about="${about}">${shown}</span>${lineEnd}`;
}
function facts({ id, kind, label, isLearned, isShared, partOf }) {
	const found = [`id ${id}`];
	if (kind === "control") found.push("control token");
	if (partOf !== void 0) found.push(`bytes of ${partOf}`);
	if (kind === "padding") found.push("padding");
	else if (isLearned) found.push("learned");
	else found.push(label === id ? "not learned, as nothing predicts the first token" : "not learned");
	if (isShared) found.push("shared with an earlier sample");
	return found;
}
export { maskSummary as a, viewSummary as c, beginsTurn as i, maskView as l, renderMaskPage as n, maskTitle as o, MASK_STYLES as r, maskWarnings as s, maskSection as t, requireMaskView as u };
