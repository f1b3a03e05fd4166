import {
  beginsTurn,
  maskSummary,
  maskTitle,
  maskView,
  maskWarnings,
  renderMaskPage,
  requireMaskView,
  viewSummary
} from "./chunk-D6WTSIXO.js";
import {
  DataLoader
} from "./chunk-Q74L5IWF.js";
import {
  styled,
  usesColor
} from "./chunk-HDH4MICY.js";
import {
  ImageProcessor,
  MinistralTokenizer
} from "./chunk-QIYEZVUS.js";
import {
  BYTE_TO_CHAR
} from "./chunk-IH2E5KFM.js";
import {
  IGNORE_INDEX
} from "./chunk-IKDNPGDK.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-DBNN25CT.js";
import "./chunk-2UUUWPES.js";
import {
  splitText,
  wrapText
} from "./chunk-HQ42KN2I.js";
import {
  ClassLabel,
  decodeImage,
  imageSize
} from "./chunk-MJNFEJIN.js";
import "./chunk-D2LTRNTC.js";
import "./chunk-L4JCJ4WG.js";
import {
  MersenneTwister,
  counterHash
} from "./chunk-W56OYVUJ.js";
import "./chunk-4SGRRHUY.js";
import {
  displayWidth
} from "./chunk-AQMU4HCF.js";
import {
  _enum,
  boolean,
  int,
  parseOptions,
  strictObject
} from "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";

// src/data/format-mask.ts
var formatMaskSchema = strictObject({
  /** Columns of the terminal. Default: those of the standard output, at most 100; 80 where it is no terminal. */
  width: int().min(40).max(1e3).optional(),
  /** Colours. Default: if the standard output is a terminal, unless NO_COLOR is set. Without them learned tokens are underlined. */
  color: boolean().optional(),
  /** `text` (default): as a text, with the cells of images in place. `table`: a line for each token, with its id. */
  layout: _enum(["text", "table"]).default("text"),
  /** All lines of long texts of which nothing is learned; else of more than 24 the first 12 and the last 6. Default false. */
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
var GUTTER = 7;
var LONGEST = 24;
var HEAD = 12;
var TAIL = 6;
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
        lines.push(...quiet.slice(0, HEAD), `${" ".repeat(GUTTER)}${this.#styled("dim", note)}`, ...quiet.slice(-TAIL));
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
    for (let i = 0; i < tokens.length; ) {
      const token = tokens[i];
      if (token.cell) {
        flush(start);
        settle();
        const image = images[token.cell.image];
        const count2 = image.rows * (image.columns + 1);
        lines.push(...this.#cells(tokens.slice(i, i + count2), image, token.cell.image));
        i += count2;
        continue;
      }
      if (beginsTurn(token, tokens[i - 1])) flush(start);
      const count = token.kind === "padding" ? runLength(tokens, i) : 1;
      const shown = count > 1 ? `${token.text} \xD7 ${count}` : shownText(token);
      for (const [n, text] of splitText(shown, room).entries()) {
        const length = displayWidth(text);
        if (line.length > 0 && used + 1 + length > room) flush(start);
        if (line.length === 0) start = n === 0 ? token.position : Number.NaN;
        used += length + (line.length > 0 ? 1 : 0);
        line.push({ text, isLearned: token.isLearned, ...styleOf(token) });
      }
      if (token.kind === "text" && token.text.endsWith("\u21B5")) flush(start);
      i += count;
    }
    flush(start);
    settle();
    return lines;
  }
  /** A line for each token; of an image a line for each row of cells. */
  table({ tokens }) {
    const rows = [];
    const row = (token, position, id, text) => {
      const label = token.isLearned ? "learned" : token.label === token.id ? "first" : "-";
      const front = `${position.padStart(11)}  ${id.padStart(7)}  ${label.padEnd(7)}  `;
      for (const [n, chunk] of splitText(text, this.#width - front.length).entries()) {
        const piece = { text: chunk, isLearned: token.isLearned, ...styleOf(token) };
        rows.push([{ text: n === 0 ? front : " ".repeat(front.length), isLearned: false }, piece]);
      }
    };
    rows.push([{ text: `${"position".padStart(11)}  ${"id".padStart(7)}  label    token`, isLearned: false }]);
    for (let i = 0; i < tokens.length; ) {
      const token = tokens[i];
      const count = runLength(tokens, i);
      const { cell } = token;
      const last = token.position + count - 1;
      const position = count === 1 ? String(token.position) : `${token.position}-${last}`;
      const place = cell ? `  image ${cell.image + 1}, row ${cell.row}` : "";
      const text = `${shownText(token)}${count > 1 ? ` \xD7 ${count}` : ""}${place}`;
      row(token, position, String(token.id), text);
      i += count;
    }
    return rows.map((pieces) => pieces.map((piece) => this.#piece(piece)).join(""));
  }
  legend({ samples }) {
    const tokens = samples.flatMap((sample) => sample.tokens);
    if (tokens.length === 0) return [];
    const has = (test) => tokens.some(test);
    const parts = [this.#color ? "green: learned" : "\u2550 below: learned", "\u2502 between tokens", "\xB7 space", "\u21B5 line end"];
    if (has(({ text }) => text.includes("\\x"))) parts.push("\\xe6 byte of the character in parentheses");
    if (has(({ cell }) => cell !== void 0)) {
      parts.push("image: each cell is a token, from . dark to \u2588 bright", "\u2524 [IMG_BREAK]", "\u2518 [IMG_END]");
      if (!this.#color && has(({ kind, isLearned }) => kind === "break" && isLearned))
        parts.push("\u2563 \u255D the same, learned");
    }
    return wrapText(parts.join("; "), this.#width).map((line) => this.#styled("dim", line));
  }
  /** Each row of cells is a line; of images that are too wide a character stands for several cells. */
  #cells(tokens, image, index) {
    const { rows, columns, cellSize, brightness, width, height } = image;
    const room = this.#width - GUTTER - 1;
    const each = Math.ceil(columns / room);
    const repeat = 2 * columns <= room ? 2 : 1;
    const size = `${width} \xD7 ${height} pixels, ${columns} \xD7 ${rows} cells of ${cellSize} pixels`;
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
      const signs = close.isLearned && !this.#color ? "\u2563\u255D" : "\u2524\u2518";
      const sign = close.kind === "end" ? signs[1] : signs[0];
      lines.push(
        this.#gutter(tokens[row * (columns + 1)].position) + drawn + (close.isLearned ? this.#learned(sign) : sign)
      );
    }
    return lines;
  }
  #line(pieces, position = Number.NaN) {
    const separator = this.#styled("dim", "\u2502");
    const text = this.#gutter(position) + pieces.map((piece) => this.#piece(piece)).join(separator);
    if (this.#color || !pieces.some(({ isLearned }) => isLearned)) return [text];
    const marks = pieces.map((piece) => (piece.isLearned ? "\u2550" : " ").repeat(displayWidth(piece.text))).join(" ");
    return [text, " ".repeat(GUTTER) + marks.trimEnd()];
  }
  #gutter(position) {
    const text = Number.isNaN(position) ? "" : String(position);
    return `${this.#styled("dim", text.padStart(GUTTER - 1))} `;
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
var SHADES = [".", "\u2591", "\u2592", "\u2593", "\u2588"];
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
  while (tokens[end]?.kind === kind && tokens[end].cell?.row === cell?.row && tokens[end].cell?.image === cell?.image)
    end++;
  return end - from;
}
export {
  BYTE_TO_CHAR,
  ClassLabel,
  DataLoader,
  IGNORE_INDEX,
  ImageProcessor,
  MersenneTwister,
  MinistralTokenizer,
  counterHash,
  decodeImage,
  formatMask,
  imageSize,
  maskView,
  renderMaskPage
};
