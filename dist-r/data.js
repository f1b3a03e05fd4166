import { i as boolean, o as int, p as strictObject, t as _enum } from "./zod-CVDjCv3S.js";
import { l as imageSize, s as decodeImage, w as ClassLabel } from "./image-cells-BdLZPrXr.js";
import { n as MinistralTokenizer, t as ImageProcessor } from "./image-processor-DWu-OBnR.js";
import { t as BYTE_TO_CHAR } from "./byte-alphabet-DPuatloH.js";
import { t as DataLoader } from "./data-loader-BwHdQ5Ss.js";
import { r as IGNORE_INDEX } from "./or-aborted-C0Ixy3mg.js";
import { a as maskSummary, c as viewSummary, i as beginsTurn, l as maskView, n as renderMaskPage, o as maskTitle, s as maskWarnings, u as requireMaskView } from "./mask-section-B9wx9iJ_.js";
import { a as parseOptions } from "./config-BAD1VLMT.js";
import { t as displayWidth } from "./display-width-D3AspX99.js";
import { n as styled, t as usesColor } from "./terminal-color-B6tTStTQ.js";
import { n as wrapText, t as splitText } from "./wrap-text-DMjKL7h-.js";
import { r as counterHash, t as MersenneTwister } from "./random-BGUvVUOv.js";
// src/data/format-mask.ts
const formatMaskSchema = strictObject({
	width: int().min(40).max(1e3).optional(),
	color: boolean().optional(),
	layout: _enum(["text", "table"]).default("text"),
	full: boolean().default(false)
});
function formatMask(view, options = {}) {
	requireMaskView(view, "formatMask");
	const { width, color, layout, full } = parseOptions(formatMaskSchema, options, "formatMask");
	const columns = width ?? Math.min(100, Math.max(40, process.stdout.columns ?? 80));
	const form = new MaskForm(columns, color ?? usesColor(process.stdout));
	const lines = wrapText(viewSummary(view), columns);
	for (const [i, sample] of view.samples.entries()) {
		lines.push("", ...form.heading(maskTitle(view, i)));
		lines.push(...form.indented(maskSummary(sample)));
		for (const warning of maskWarnings(sample)) lines.push(...form.indented(`! ${warning}`, "yellow"));
		lines.push(...layout === "table" ? form.table(sample) : form.text(sample, full));
	}
	if (layout === "text") lines.push("", ...form.legend(view));
	return lines.join("\n");
}
const GUTTER = 7;
const LONGEST = 24;
const HEAD = 12;
const TAIL = 6;
var MaskForm = class {
	#width;
	#color;
	constructor(width, color) {
		this.#width = width;
		this.#color = color && styled("bold", " ", true) !== " ";
	}
	heading(text) {
		return wrapText(text, this.#width).map((line) => this.#styled("bold", line));
	}
	indented(text, style) {
		return wrapText(text, this.#width - 2).map((line) => `  ${this.#styled(style, line)}`);
	}
	text({ tokens, images }, full) {
		const lines = [];
		let quiet = [];
		const settle = () => {
			const left = quiet.length - HEAD - TAIL;
			if (full || quiet.length <= LONGEST) lines.push(...quiet);
			else {
				const note = `${left} more lines, none learned`;
				lines.push(...quiet.slice(0, HEAD), `${" ".repeat(GUTTER)}${this.#styled("dim", note)}`, ...quiet.slice(-6));
			}
			quiet = [];
		};
		let line = [];
		let used = 0;
		let start = 0;
		const room = this.#width - GUTTER;
		const flush = (position) => {
			if (line.some(({ isLearned }) => isLearned)) {
				settle();
				lines.push(...this.#line(line, position));
			} else if (line.length > 0) quiet.push(...this.#line(line, position));
			line = [];
			used = 0;
		};
		for (let i = 0; i < tokens.length;) {
			const token = tokens[i];
			if (token.cell) {
				flush(start);
				settle();
				const image = images[token.cell.image];
				const count = image.rows * (image.columns + 1);
				lines.push(...this.#cells(tokens.slice(i, i + count), image, token.cell.image));
				i += count;
				continue;
			}
			if (beginsTurn(token, tokens[i - 1])) flush(start);
			const count = token.kind === "padding" ? runLength(tokens, i) : 1;
			const shown = count > 1 ? `${token.text} × ${count}` : shownText(token);
			for (const [n, text] of splitText(shown, room).entries()) {
				const length = displayWidth(text);
				if (line.length > 0 && used + 1 + length > room) flush(start);
				if (line.length === 0) start = n === 0 ? token.position : NaN;
				used += length + (line.length > 0 ? 1 : 0);
				line.push({
					text,
					isLearned: token.isLearned,
					...styleOf(token)
				});
			}
			if (token.kind === "text" && token.text.endsWith("↵")) flush(start);
			i += count;
		}
		flush(start);
		settle();
		return lines;
	}
	table({ tokens }) {
		const rows = [];
		const row = (token, position, id, text) => {
			const label = token.isLearned ? "learned" : token.label === token.id ? "first" : "-";
			const front = `${position.padStart(11)}  ${id.padStart(7)}  ${label.padEnd(7)}  `;
			for (const [n, chunk] of splitText(text, this.#width - front.length).entries()) {
				const piece = {
					text: chunk,
					isLearned: token.isLearned,
					...styleOf(token)
				};
				rows.push([{
					text: n === 0 ? front : " ".repeat(front.length),
					isLearned: false
				}, piece]);
			}
		};
		rows.push([{
			text: `${"position".padStart(11)}  ${"id".padStart(7)}  label    token`,
			isLearned: false
		}]);
		for (let i = 0; i < tokens.length;) {
			const token = tokens[i];
			const count = runLength(tokens, i);
			const { cell } = token;
			const last = token.position + count - 1;
			const position = count === 1 ? String(token.position) : `${token.position}-${last}`;
			const place = cell ? `  image ${cell.image + 1}, row ${cell.row}` : "";
			const text = `${shownText(token)}${count > 1 ? ` × ${count}` : ""}${place}`;
			row(token, position, String(token.id), text);
			i += count;
		}
		return rows.map((pieces) => pieces.map((piece) => this.#piece(piece)).join(""));
	}
	legend({ samples }) {
		const tokens = samples.flatMap((sample) => sample.tokens);
		if (tokens.length === 0) return [];
		const has = (test) => tokens.some(test);
		const parts = [
			this.#color ? "green: learned" : "═ below: learned",
			"│ between tokens",
			"· space",
			"↵ line end"
		];
		if (has(({ text }) => text.includes("\\x"))) parts.push("\\xe6 byte of the character in parentheses");
		if (has(({ cell }) => cell !== void 0)) {
			parts.push("image: each cell is a token, from . dark to █ bright", "┤ [IMG_BREAK]", "┘ [IMG_END]");
			if (!this.#color && has(({ kind, isLearned }) => kind === "break" && isLearned)) parts.push("╣ ╝ the same, learned");
		}
		return wrapText(parts.join("; "), this.#width).map((line) => this.#styled("dim", line));
	}
	#cells(tokens, image, index) {
		const { rows, columns, cellSize, brightness, width, height } = image;
		const room = this.#width - GUTTER - 1;
		const each = Math.ceil(columns / room);
		const repeat = 2 * columns <= room ? 2 : 1;
		const size = `${width} × ${height} pixels, ${columns} × ${rows} cells of ${cellSize} pixels`;
		const several = each > 1 ? `, a character for ${each} cells` : "";
		const lines = wrapText(`image ${index + 1}: ${size}${several}`, this.#width - GUTTER).map((line) => {
			return " ".repeat(GUTTER) + this.#styled("dim", line);
		});
		for (let row = 0; row < rows; row++) {
			let drawn = "";
			for (let column = 0; column < columns; column += each) {
				const from = row * columns + column;
				const levels = brightness.slice(from, Math.min(from + each, (row + 1) * columns));
				const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
				drawn += SHADES[Math.min(SHADES.length - 1, Math.floor(mean * SHADES.length / 256))].repeat(repeat);
			}
			const close = tokens[row * (columns + 1) + columns];
			const signs = close.isLearned && !this.#color ? "╣╝" : "┤┘";
			const sign = close.kind === "end" ? signs[1] : signs[0];
			lines.push(this.#gutter(tokens[row * (columns + 1)].position) + drawn + (close.isLearned ? this.#learned(sign) : sign));
		}
		return lines;
	}
	#line(pieces, position = NaN) {
		const separator = this.#styled("dim", "│");
		const text = this.#gutter(position) + pieces.map((piece) => this.#piece(piece)).join(separator);
		if (this.#color || !pieces.some(({ isLearned }) => isLearned)) return [text];
		const marks = pieces.map((piece) => (piece.isLearned ? "═" : " ").repeat(displayWidth(piece.text))).join(" ");
		return [text, " ".repeat(GUTTER) + marks.trimEnd()];
	}
	#gutter(position) {
		const text = Number.isNaN(position) ? "" : String(position);
		return `${this.#styled("dim", text.padStart(6))} `;
	}
	#piece({ text, isLearned, style }) {
		return isLearned ? this.#learned(text) : this.#styled(style, text);
	}
	#learned(text) {
		return this.#styled("bold", this.#styled("green", text));
	}
	#styled(style, text) {
		return styled(style, text, this.#color);
	}
};
const SHADES = [
	".",
	"░",
	"▒",
	"▓",
	"█"
];
function styleOf({ kind }) {
	if (kind === "padding") return { style: "dim" };
	return kind === "text" ? {} : { style: "cyan" };
}
function shownText({ text, partOf }) {
	return partOf === void 0 ? text : `${text}(${partOf})`;
}
function runLength(tokens, from) {
	const { kind, cell } = tokens[from];
	if (kind !== "padding" && kind !== "cell") return 1;
	let end = from + 1;
	while (tokens[end]?.kind === kind && tokens[end].cell?.row === cell?.row && tokens[end].cell?.image === cell?.image) end++;
	return end - from;
}
export { BYTE_TO_CHAR, ClassLabel, DataLoader, IGNORE_INDEX, ImageProcessor, MersenneTwister, MinistralTokenizer, counterHash, decodeImage, formatMask, imageSize, maskView, renderMaskPage };
