import { a as custom, l as number, m as string, p as strictObject, r as array, s as literal, t as _enum } from "./zod-CVDjCv3S.js";
import { _ as isKind, a as parseOptions, f as requireList, g as describeGiven, h as requireText, n as checkNames, o as requirePath, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { b as distinctNames, m as reasonOf, n as ConfigError, s as ImageError, x as oneLine } from "./errors-D4G-NQir.js";
import { t as loadSharp } from "./load-sharp-D7OC_wjO.js";
import { f as writeNamedFile } from "./atomic-file-D2Hfhe-X.js";
import { H as sum, a as reportMarkdown, l as escapeMarkdown, m as headline, r as comparisonMarkdown, y as requireMatrix, z as normalizeConfusion } from "./report-BTHP2jM-.js";
import { t as mostConfused } from "./most-confused-HmBkMIxF.js";
// src/chart/svg-values.ts
function format(value) {
	return String(Math.round(value * 1e3) / 1e3);
}
function escapeXml(value) {
	const names = {
		"&": "&amp;",
		"<": "&lt;",
		">": "&gt;",
		"\"": "&quot;"
	};
	return value.replace(/[\t\n\r]/g, " ").replace(/[\p{Cc}\p{Cs}\ufffe\uffff\u202a-\u202e\u2066-\u2069]/gu, "").replace(/[&<>"]/g, (c) => names[c]);
}
function unescapeXml(value) {
	const characters = {
		"&amp;": "&",
		"&lt;": "<",
		"&gt;": ">",
		"&quot;": "\""
	};
	return value.replace(/&(amp|lt|gt|quot);/g, (name) => characters[name]);
}
// src/chart/system-text.ts
function systemText(x, y, width, content, options) {
	const { size, anchor, align, rotate, colour, weight } = options;
	const line = {
		x,
		y,
		width,
		size,
		anchor,
		align,
		rotate,
		colour,
		weight
	};
	const turn = rotate ? ` rotate(${format(rotate)})` : "";
	const down = align === "middle" ? ` translate(0 ${format(size * .35)})` : "";
	return `<text data-line="${escapeXml(JSON.stringify(line))}" transform="translate(${format(x)} ${format(y)})${turn}${down}" font-family="sans-serif" font-size="${format(size)}" font-weight="${weight === "bold" ? 700 : 400}" text-anchor="${anchor}" fill="${colour}">${escapeXml(content)}</text>`;
}
function estimateWidth(content) {
	let ems = 0;
	for (const character of content) {
		if (/[\p{M}\p{Cf}\p{Cc}]/u.test(character)) continue;
		ems += /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Extended_Pictographic}\u3000-\u303f\uff01-\uff60]/u.test(character) && character > "ÿ" ? 1 : /\p{Lu}|[mwMWшщжюЖШЩЮ@%]/u.test(character) ? .78 : /[\s.,:;'!|ijlI()[\]-]/.test(character) ? .4 : .63;
	}
	return ems;
}
// src/chart/font.ts
const EM = 20;
const CAP_HEIGHT = 14 / EM;
const BOWL = "M0-5a4 5 0 1 1 8 0a4 5 0 1 1-8 0";
const GLYPHS = {
	" ": [2.2, ""],
	"!": [0, "M0-14v9.4M0-.3h.01"],
	"\"": [3.4, "M0-14v4M3.4-14v4"],
	"#": [9, "M3-13l-1.6 12M7.6-13l-1.6 12M.6-9h8.4M0-5h8.4"],
	$: [8, "M7.6-10.6q-.9-2-3.7-2q-3.6 0-3.6 2.7q0 2.2 3.7 2.9t4 3.2q0 3-4 3q-3 0-4-2.2M4-14.6v16.2"],
	"%": [12, "M10.5-14l-9 14M0-11.2a2.5 2.8 0 1 1 5 0a2.5 2.8 0 1 1-5 0M7-2.8a2.5 2.8 0 1 1 5 0a2.5 2.8 0 1 1-5 0"],
	"&": [10.4, "M10.4 0l-7.6-8.6q-1.2-1.4-1.2-2.6a2.8 2.8 0 0 1 5.6 0q0 1.7-2.6 3.1q-4.6 2.3-4.6 4.7q0 3.4 3.9 3.4q4.5 0 5.9-6"],
	"'": [0, "M0-14v4"],
	"(": [3, "M3-15.4q-3 3.4-3 8.7t3 8.7"],
	")": [3, "M0-15.4q3 3.4 3 8.7t-3 8.7"],
	"*": [6.4, "M3.2-14v7.2M.1-12.2l6.2 3.6M6.3-12.2l-6.2 3.6"],
	"+": [8, "M4-10v8M0-6h8"],
	",": [1, "M.9-.4l-1.1 3"],
	"-": [5, "M0-5.6h5"],
	".": [0, "M0-.3h.01"],
	"/": [6, "M6-15l-6 16.6"],
	"0": [8, "M0-7c0-9.3 8-9.3 8 0s-8 9.3-8 0z"],
	"1": [8, "M1.2-11.2l3.4-2.8V0M1.2 0h6.6"],
	"2": [8, "M.3-10.6q.5-3.4 3.7-3.4q3.6 0 3.6 3.5q0 2-2.2 4.4l-5.4 6.1h8"],
	"3": [8, "M.3-11.4q.8-2.6 3.6-2.6a3.3 3.3 0 0 1 0 6.6h-1.3h1.5a3.7 3.7 0 0 1 0 7.4q-3.1 0-4.1-2.8"],
	"4": [8, "M6 0v-14l-6 10h8.4"],
	"5": [8, "M7.2-14h-6l-.7 6.4q1.3-1.2 3.3-1.2a4.2 4.4 0 0 1 0 8.8q-3 0-3.8-2.6"],
	"6": [8, "M6.4-14q-6.4 2.6-6.4 9.6M0-4.4a4 4.4 0 1 1 8 0a4 4.4 0 1 1-8 0"],
	"7": [8, "M0-14h8l-5 14"],
	"8": [8, "M.6-10.6a3.4 3.4 0 1 1 6.8 0a3.4 3.4 0 1 1-6.8 0M0-3.6a4 3.6 0 1 1 8 0a4 3.6 0 1 1-8 0"],
	"9": [8, "M1.6 0q6.4-2.6 6.4-9.6M0-9.6a4 4.4 0 1 1 8 0a4 4.4 0 1 1-8 0"],
	":": [0, "M0-8.6h.01M0-.3h.01"],
	";": [1, "M.9-8.6h.01M.9-.4l-1.1 3"],
	"<": [7.4, "M7.4-10l-7.4 4l7.4 4"],
	"=": [8, "M0-8h8M0-4h8"],
	">": [7.4, "M0-10l7.4 4l-7.4 4"],
	"?": [6.8, "M0-11.2q.6-2.8 3.4-2.8q3.4 0 3.4 3q0 1.7-1.8 3.1q-1.7 1.3-1.7 3.3M3.3-.3h.01"],
	"@": [14, "M9.8-9v4.4q0 2 1.9 2t2.3-3.4a7 7.3 0 1 0-3.6 6.6M4.2-5.9a2.8 3.1 0 1 1 5.6 0a2.8 3.1 0 1 1-5.6 0"],
	A: [10.4, "M0 0l5.2-14l5.2 14M1.8-4.7h6.8"],
	B: [8.6, "M0-7.4h4.8a3.3 3.3 0 0 0 0-6.6h-4.8V0h4.9a3.7 3.7 0 0 0 0-7.4"],
	C: [9.6, "M9.6-10.9q-1.2-3.1-4.5-3.1c-6.8 0-6.8 14 0 14q3.3 0 4.5-3.1"],
	D: [9.4, "M0-14V0h3.4c8 0 8-14 0-14z"],
	E: [7.6, "M7.6-14h-7.6V0h7.6M0-7.3h6.6"],
	F: [7.4, "M7.4-14h-7.4V0M0-7h6.4"],
	G: [10, "M9.6-11q-1.2-3-4.5-3c-6.8 0-6.8 14 0 14q4.9 0 4.9-4.6v-1.9h-4.4"],
	H: [9.4, "M0-14V0M9.4-14V0M0-7.2h9.4"],
	I: [0, "M0-14V0"],
	J: [6, "M6-14v10.2q0 3.8-3.2 3.8q-2.3 0-2.8-2"],
	K: [8.8, "M0-14V0M8.4-14l-8.4 9M3.3-8.5l5.5 8.5"],
	L: [7, "M0-14V0h7"],
	M: [11.6, "M0 0v-14l5.8 9.6l5.8-9.6V0"],
	N: [9.4, "M0 0v-14l9.4 14v-14"],
	O: [11, "M0-7c0-9.4 11-9.4 11 0s-11 9.4-11 0z"],
	P: [8.4, "M0 0v-14h4.6a3.8 3.8 0 0 1 0 7.6h-4.6"],
	Q: [11, "M0-7c0-9.4 11-9.4 11 0s-11 9.4-11 0zM6.6-3.4l4.2 4.6"],
	R: [8.8, "M0 0v-14h4.6a3.7 3.7 0 0 1 0 7.4h-4.6M4.8-6.6l4 6.6"],
	S: [8.4, "M8-11.3q-.9-2.7-3.9-2.7q-3.7 0-3.7 3.3q0 2.6 3.9 3.4q4.1.9 4.1 3.8q0 3.5-4.1 3.5q-3.4 0-4.3-2.9"],
	T: [9.6, "M0-14h9.6M4.8-14V0"],
	U: [9.2, "M0-14v9.2q0 4.8 4.6 4.8t4.6-4.8v-9.2"],
	V: [10, "M0-14l5 14l5-14"],
	W: [14.4, "M0-14l3.6 14l3.6-13l3.6 13l3.6-14"],
	X: [9.2, "M.2-14l8.8 14M9-14l-8.8 14"],
	Y: [9.4, "M0-14l4.7 7.4l4.7-7.4M4.7-6.6V0"],
	Z: [8.8, "M.2-14h8.4l-8.6 14h8.8"],
	"[": [3, "M3-15.4h-3v17.4h3"],
	"\\": [6, "M0-15l6 16.6"],
	"]": [3, "M0-15.4h3v17.4h-3"],
	"^": [7, "M0-9l3.5-5l3.5 5"],
	_: [8, "M0 2h8"],
	"`": [2.4, "M0-14.2l2.4 2.6"],
	a: [7.4, "M.5-8q.8-2 3.2-2q3.7 0 3.7 3.6V0M7.4-5.7h-4q-3.4 0-3.4 2.9q0 2.8 3.1 2.8q4.3 0 4.3-4.6"],
	b: [8, `M0-14V0${BOWL}`],
	c: [7.4, "M7.4-7.9q-1-2.1-3.5-2.1c-5.2 0-5.2 10 0 10q2.5 0 3.5-2.1"],
	d: [8, `M8-14V0${BOWL}`],
	e: [8, "M0-5.2h7.9q0-4.8-3.9-4.8a4 5 0 0 0 0 10q2.7 0 3.6-2.1"],
	f: [5, "M5.4-13.9q-3.4-.7-3.4 3V0M0-9.8h5"],
	g: [8, `M8-10v9.8q0 4.2-4 4.2q-2.6 0-3.6-1.7${BOWL}`],
	h: [7.8, "M0-14V0M0-6q0-4 3.9-4t3.9 4V0"],
	i: [0, "M0-10V0"],
	j: [2.4, "M2.4-10v11.2q0 2.8-2.6 2.8"],
	k: [7.2, "M0-14V0M6.8-10l-6.8 6.4M2.6-6l4.8 6"],
	l: [1.8, "M0-14v11.6q0 2.4 2.2 2.4"],
	m: [13, "M0-10V0M0-6.2q0-3.8 3.25-3.8t3.25 3.8V0M6.5-6.2q0-3.8 3.25-3.8t3.25 3.8V0"],
	n: [7.8, "M0-10V0M0-6q0-4 3.9-4t3.9 4V0"],
	o: [8.2, "M0-5c0-6.7 8.2-6.7 8.2 0s-8.2 6.7-8.2 0z"],
	p: [8, `M0-10v14${BOWL}`],
	q: [8, `M8-10v14${BOWL}`],
	r: [4.6, "M0-10V0M0-5.8q0-4.2 4.6-4"],
	s: [6.8, "M6.4-8.1q-.8-1.9-3.1-1.9q-2.9 0-2.9 2.4q0 1.9 3 2.4q3.4.6 3.4 2.7q0 2.5-3.3 2.5q-2.7 0-3.5-2.1"],
	t: [5, "M2-13v10.2q0 3.1 3.2 2.7M0-9.8h5"],
	u: [7.8, "M0-10v6q0 4 3.9 4t3.9-4M7.8-10V0"],
	v: [8, "M0-10l4 10l4-10"],
	w: [12, "M0-10l3 10l3-9.4l3 9.4l3-10"],
	x: [7.4, "M.1-10l7.2 10M7.3-10l-7.2 10"],
	y: [8, "M0-10l4.1 9.6M8-10l-4.8 11.6q-1 2.4-3.2 2.2"],
	z: [7, "M.2-10h6.6l-6.8 10h7.2"],
	"{": [4, "M4-15.4q-2.4 0-2.4 2.6v3.8q0 2.4-1.6 2.4q1.6 0 1.6 2.4v3.6q0 2.6 2.4 2.6"],
	"|": [0, "M0-15.4v17.6"],
	"}": [4, "M0-15.4q2.4 0 2.4 2.6v3.8q0 2.4 1.6 2.4q-1.6 0-1.6 2.4v3.6q0 2.6-2.4 2.6"],
	"~": [8, "M0-5q.6-2 2.2-2q1 0 1.9.9t1.9.9q1.5 0 2-2"]
};
const ACCENTS = {
	"̀": "M-1.6-2.6l2.4 2",
	"́": "M1.6-2.6l-2.4 2",
	"̂": "M-2.2-.6l2.2-2.2l2.2 2.2",
	"̃": "M-2.6-1q.6-1.6 1.6-1.6t2 .8t1.6-.8",
	"̈": "M-2-1.6h.01M2-1.6h.01",
	"̊": "M-1.5-2a1.5 1.5 0 1 1 3 0a1.5 1.5 0 1 1-3 0",
	"̌": "M-2.2-2.8l2.2 2.2l2.2-2.2"
};
const REPLACEMENTS = {
	"‘": "'",
	"’": "'",
	"“": "\"",
	"”": "\"",
	"„": "\"",
	"–": "-",
	"—": "-",
	"−": "-",
	"…": "...",
	"×": "x",
	"·": ".",
	ß: "ss",
	"	": " ",
	"\n": " ",
	"\r": " ",
	"\xA0": " "
};
const SIDE = {
	straight: 1.9,
	round: 1.45,
	open: .9
};
const STROKE = {
	regular: 1.65,
	bold: 2.35
};
const ROUND_LEFT = new Set("acdegoqsCGOQS02356890@&$(<");
const ROUND_RIGHT = new Set("beopsBDOQS0235689@$)>");
const OPEN_LEFT = new Set("AJTVWXYZfjtvwxyz147/\\^~*+=-_)]}'");
const OPEN_RIGHT = new Set("AFKLPTVWXYZcfkrtvwxyz47/\\^~*+=-_([{'");
function text(x, y, content, options = {}) {
	const all = {
		...DEFAULTS,
		...options
	};
	if (!hasStrokes(content)) return systemText(x, y, measureText(content, all.size, all.weight), content, all);
	const { size, anchor, align, rotate, colour, weight } = all;
	const { path, width } = layOut(content, weight);
	if (path === "") return "";
	const dx = anchor === "start" ? 0 : anchor === "middle" ? -width / 2 : -width;
	const dy = align === "middle" ? CAP_HEIGHT * EM / 2 : 0;
	const scale = size / EM;
	const place = [
		`translate(${format(x)} ${format(y)})`,
		rotate ? `rotate(${format(rotate)})` : "",
		`scale(${format(scale)})`,
		dx || dy ? `translate(${format(dx)} ${format(dy)})` : ""
	];
	return `<path fill="none" ${`stroke="${colour}" stroke-width="${STROKE[weight]}"`} stroke-linecap="round" stroke-linejoin="round" transform="${place.filter(Boolean).join(" ")}" d="${path}"/>`;
}
const DEFAULTS = {
	size: 14,
	anchor: "start",
	align: "baseline",
	rotate: 0,
	colour: "#1f2933",
	weight: "regular"
};
function measureText(content, size = 14, weight = "regular") {
	if (!hasStrokes(content)) return estimateWidth(content) * size * (weight === "bold" ? 1.08 : 1);
	return layOut(content, weight).width * size / EM;
}
const MAX_LETTERS = 600;
function fitText(content, width, size = 14) {
	if (content.length <= 4 * MAX_LETTERS && measureText(content, size) <= width) return content;
	const letters = [...content.slice(0, 2 * MAX_LETTERS)].slice(0, MAX_LETTERS);
	const cut = (count) => `${letters.slice(0, count).join("").trimEnd()}...`;
	let [fits, tooMany] = [0, letters.length + 1];
	while (tooMany - fits > 1) {
		const count = fits + tooMany >> 1;
		if (measureText(cut(count), size) <= width) fits = count;
		else tooMany = count;
	}
	return cut(fits);
}
function wordsOf(paragraph, width, size) {
	return paragraph.slice(0, 40 * MAX_LETTERS).split(/\s+/).filter(Boolean).flatMap((word) => /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u.test(word) && measureText(word, size) > width ? [...word].map((character, i) => i === 0 ? character : `\0${character}`) : [word]);
}
function wrapText(content, width, size = 14, maxLines = Infinity) {
	const lines = [];
	for (const paragraph of content.split("\n")) {
		if (lines.length > maxLines) break;
		let line = "";
		for (const word of wordsOf(paragraph, width, size)) {
			const longer = word.startsWith("\0") ? line + word.slice(1) : line ? `${line} ${word}` : word;
			if (line && measureText(longer, size) > width) {
				lines.push(line);
				line = word.replace("\0", "");
				if (lines.length > maxLines) break;
			} else line = longer;
		}
		lines.push(line);
	}
	return (lines.length > maxLines ? [...lines.slice(0, maxLines - 1), lines.slice(maxLines - 1).join(" ")] : lines).map((line) => fitText(line, width, size));
}
function lettersOf$1(content) {
	return [...content.normalize("NFD")].flatMap((one) => [...Object.hasOwn(REPLACEMENTS, one) ? REPLACEMENTS[one] : one]);
}
function isKnown(character) {
	return Object.hasOwn(GLYPHS, character) || /[\p{M}\p{Cc}\p{Cf}\p{Cs}]/u.test(character);
}
function hasStrokes(content) {
	return lettersOf$1(content).every(isKnown);
}
function layOut(content, weight) {
	let path = "";
	let cursor = 0;
	const tracking = STROKE[weight] - STROKE.regular;
	let centre = 0;
	let top = -10;
	const characters = lettersOf$1(content);
	for (const [i, character] of characters.entries()) {
		const accent = ACCENTS[character];
		if (accent !== void 0) {
			path += move(accent, centre, top - 1.8);
			continue;
		}
		if (!Object.hasOwn(GLYPHS, character)) continue;
		const [width, strokes] = GLYPHS[character];
		const isDotted = (character === "i" || character === "j") && !ACCENTS[characters[i + 1] ?? ""];
		const left = cursor + side$1(character, ROUND_LEFT, OPEN_LEFT);
		path += move(isDotted ? `${strokes}${dot(width)}` : strokes, left, 0);
		centre = left + width / 2;
		top = /[a-z]/.test(character) ? -10 : -14;
		cursor = left + width + side$1(character, ROUND_RIGHT, OPEN_RIGHT) + tracking;
	}
	return {
		path,
		width: cursor
	};
}
function side$1(character, round, open) {
	return round.has(character) ? SIDE.round : open.has(character) ? SIDE.open : SIDE.straight;
}
function dot(x) {
	return `M${x}-13.6h.01`;
}
function move(strokes, dx, dy) {
	return strokes.replace(/M(-?\d*\.?\d+) ?(-?\d*\.?\d+)/g, (_, x, y) => `M${format(Number(x) + dx)} ${format(Number(y) + dy)}`);
}
// src/chart/svg.ts
const PALETTE = [
	"#0072b2",
	"#e69f00",
	"#009e73",
	"#d55e00",
	"#cc79a7",
	"#56b4e9"
];
const COLOURS = {
	background: "#ffffff",
	ink: "#1f2933",
	muted: "#5f6b7a",
	grid: "#e3e8ee",
	axis: "#9aa5b1"
};
const TITLE_SIZE = 22;
function seriesColour(i) {
	return PALETTE[i % PALETTE.length];
}
function svgDocument(width, height, title, body) {
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" ${`width="${Math.ceil(width)}" height="${Math.ceil(height)}"`} viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" role="img">`,
		`<title>${escapeXml(title)}</title>`,
		rect(0, 0, Math.ceil(width), Math.ceil(height), COLOURS.background),
		...body.filter(Boolean),
		"</svg>"
	].join("\n");
}
function rect(x, y, width, height, fill, radius = 0) {
	const round = radius > 0 ? ` rx="${format(radius)}"` : "";
	return `<rect x="${format(x)}" y="${format(y)}" width="${format(width)}" height="${format(height)}" fill="${fill}"${round}/>`;
}
function line(x1, y1, x2, y2, colour, width = 1) {
	return `<path d="M${format(x1)} ${format(y1)}L${format(x2)} ${format(y2)}" stroke="${colour}" stroke-width="${width}" fill="none"/>`;
}
function heading(x, title, subtitle) {
	const parts = [text(x, 42, title, {
		size: TITLE_SIZE,
		weight: "bold"
	})];
	if (!subtitle) return {
		parts,
		bottom: 62
	};
	parts.push(text(x, 68, subtitle, {
		size: 15,
		colour: COLOURS.muted
	}));
	return {
		parts,
		bottom: 88
	};
}
function legend(x, y, width, names) {
	const parts = [];
	let cursor = x;
	let middle = y + 10;
	for (const [i, name] of names.entries()) {
		const needed = 20 + measureText(name, 15);
		if (cursor > x && cursor + needed > x + width) {
			cursor = x;
			middle += 24;
		}
		parts.push(rect(cursor, middle - 6, 13, 13, seriesColour(i), 3));
		parts.push(text(cursor + 20, middle, name, {
			size: 15,
			align: "middle",
			colour: COLOURS.ink
		}));
		cursor += needed + 26;
	}
	return {
		parts,
		bottom: middle + 20
	};
}
function niceTicks(low, high, count = 5) {
	if (!(high > low)) {
		const spread = Math.abs(low) || 1;
		return niceTicks(low - spread / 2, low + spread / 2, count);
	}
	const raw = (high - low) / count;
	const power = 10 ** Math.floor(Math.log10(raw));
	const step = power * ([
		1,
		2,
		5
	].find((factor) => factor * power >= raw * .999) ?? 10);
	const first = Math.floor(low / step + 1e-9);
	const last = Math.ceil(high / step - 1e-9);
	return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}
function logTicks(low, high) {
	const factors = Math.log10(high / low) > 4 ? [1] : [
		1,
		2,
		5
	];
	const ticks = [];
	for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)) + 1; power++) for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
	const first = ticks.findLastIndex((tick) => tick <= low * (1 + 1e-9));
	const last = ticks.findIndex((tick) => tick >= high * (1 - 1e-9));
	return last > first ? ticks.slice(first, last + 1) : ticks.slice(first, first + 2);
}
function tickLabel(value) {
	const size = Math.abs(value);
	if (size === 0) return "0";
	if (size >= 1e9 || size < .001) return value.toExponential(3).replace(/\.?0*e\+?/, "e");
	if (size >= 1e6) return `${trimmed(value / 1e6)}M`;
	if (size >= 1e4) return `${trimmed(value / 1e3)}k`;
	return trimmed(value);
}
function trimmed(value) {
	return String(Number(value.toPrecision(6)));
}
// src/chart/bar-chart.ts
const MARGIN$3 = 36;
const optionsSchema$1 = strictObject({
	title: string(),
	subtitle: string().optional(),
	labels: array(string()),
	series: array(strictObject({
		name: string(),
		values: array(custom((value) => typeof value === "number", "expected a number"))
	})),
	xLabel: string().optional(),
	width: number().min(100).max(32767).optional()
});
const THIN = 60;
const MAX_LABELS = 200;
const SHOWN_EACH = 60;
function barChart(options) {
	parseOptions(optionsSchema$1, options, "barChart");
	checkBars(options.labels, options.series);
	const { title, subtitle, labels, series, width = 1e3 } = boundedBars(options);
	const isThin = labels.length >= THIN;
	const barHeight = (series.length === 1 ? 20 : 14) - (isThin ? 5 : 0);
	const groupHeight = barHeight * series.length + (isThin ? 7 : 16);
	const widest = labels.reduce((most, label) => Math.max(most, measureText(label, 15)), 0);
	const labelWidth = Math.min(widest, width * .35);
	const left = MARGIN$3 + labelWidth + 14;
	const right = width - MARGIN$3 - 46;
	const ticks = niceTicks(0, Math.max(...series.flatMap((one) => one.values)) || 1, 7);
	const scale = (right - left) / ticks.at(-1);
	const head = heading(MARGIN$3, title, subtitle);
	const names = series.map((one) => one.name);
	const key = series.length > 1 ? legend(MARGIN$3, head.bottom, width - 72, names) : head;
	const top = key.bottom + 10;
	const bottom = top + groupHeight * labels.length;
	const body = [...head.parts, ...key === head ? [] : key.parts];
	for (const tick of ticks) {
		const x = left + tick * scale;
		body.push(line(x, top, x, bottom, tick === 0 ? COLOURS.axis : COLOURS.grid));
		body.push(text(x, bottom + 20, tickLabel(tick), {
			size: 13,
			anchor: "middle",
			colour: COLOURS.muted
		}));
	}
	for (const [row, label] of labels.entries()) {
		const middle = top + groupHeight * (row + .5);
		const name = fitText(label, labelWidth, 15);
		body.push(text(left - 12, middle, name, {
			size: 15,
			anchor: "end",
			align: "middle"
		}));
		for (const [i, { values }] of series.entries()) {
			const y = middle + (i - series.length / 2) * barHeight;
			const end = left + values[row] * scale;
			body.push(bar(left, y + 1, end - left, barHeight - 2, seriesColour(i)));
			const count = tickLabel(values[row]);
			body.push(text(end + 6, y + barHeight / 2, count, {
				size: 13,
				align: "middle",
				colour: COLOURS.muted
			}));
		}
	}
	if (options.xLabel) body.push(text((left + right) / 2, bottom + 46, options.xLabel, {
		size: 15,
		anchor: "middle"
	}));
	return svgDocument(width, bottom + (options.xLabel ? 66 : 42), title, body);
}
function boundedBars(options) {
	const { labels, series } = options;
	if (labels.length <= MAX_LABELS) return options;
	const sums = labels.map((_, i) => series.reduce((total, { values }) => total + values[i], 0));
	const ranked = labels.map((_, i) => i).sort((a, b) => sums[b] - sums[a] || a - b);
	const shown = [...ranked.slice(0, SHOWN_EACH), ...ranked.slice(-60)];
	const count = labels.length.toLocaleString("en");
	const part = `The ${SHOWN_EACH} largest and the ${SHOWN_EACH} smallest of ${count}`;
	return {
		...options,
		subtitle: options.subtitle ? `${options.subtitle}; ${part.toLowerCase()}` : part,
		labels: shown.map((i) => labels[i]),
		series: series.map(({ name, values }) => ({
			name,
			values: shown.map((i) => values[i])
		}))
	};
}
function bar(x, y, width, height, colour) {
	if (width <= 0) return "";
	if (width < 6) return rect(x, y, width, height, colour);
	return `<path fill="${colour}" d="${`M${format(x)} ${format(y)}h${format(width - 3)}`}q3 0 3 3v${format(height - 6)}q0 3-3 3h${format(3 - width)}z"/>`;
}
function checkBars(labels, series) {
	if (labels.length === 0 || series.length === 0) throw new ConfigError(`barChart: expected labels and series, got ${labels.length} labels and ${series.length} series`);
	for (const { name, values } of series) {
		if (values.length !== labels.length) throw new ConfigError(`barChart: expected ${labels.length} values in series ${JSON.stringify(name)}, one for each label, got ${values.length}`);
		const wrong = values.findIndex((value) => !(value >= 0 && value < Infinity));
		if (wrong >= 0) throw new ConfigError(`barChart: expected values of at least 0 in series ${JSON.stringify(name)}, got ${values[wrong]} at ${wrong}`);
	}
}
// src/chart/transliterate.ts
const CYRILLIC = {
	а: "a",
	б: "b",
	в: "v",
	г: "g",
	д: "d",
	е: "e",
	ж: "zh",
	з: "z",
	и: "i",
	к: "k",
	л: "l",
	м: "m",
	н: "n",
	о: "o",
	п: "p",
	р: "r",
	с: "s",
	т: "t",
	у: "u",
	ф: "f",
	х: "kh",
	ц: "ts",
	ч: "ch",
	ш: "sh",
	щ: "shch",
	ъ: "\"",
	ы: "y",
	ь: "'",
	э: "e",
	ю: "yu",
	я: "ya",
	і: "i",
	є: "ye",
	ґ: "g",
	ђ: "dj",
	ј: "j",
	љ: "lj",
	њ: "nj",
	ћ: "c",
	џ: "dz",
	ѕ: "dz",
	ў: "u",
	қ: "q",
	ғ: "gh",
	ң: "ng",
	ү: "u",
	ұ: "u",
	һ: "h",
	ә: "a",
	ө: "o"
};
const GREEK = {
	α: "a",
	β: "b",
	γ: "g",
	δ: "d",
	ε: "e",
	ζ: "z",
	η: "i",
	θ: "th",
	ι: "i",
	κ: "k",
	λ: "l",
	μ: "m",
	ν: "n",
	ξ: "x",
	ο: "o",
	π: "p",
	ρ: "r",
	σ: "s",
	ς: "s",
	τ: "t",
	υ: "y",
	φ: "f",
	χ: "ch",
	ψ: "ps",
	ω: "o"
};
const LATIN = {
	ø: "o",
	æ: "ae",
	œ: "oe",
	ł: "l",
	đ: "d",
	ð: "d",
	þ: "th",
	ı: "i",
	ħ: "h",
	ŋ: "ng",
	ŧ: "t",
	ə: "e",
	µ: "u",
	"°": "o",
	"²": "2",
	"³": "3",
	"±": "+-",
	"≤": "<=",
	"≥": ">=",
	"≠": "!=",
	"→": "->",
	"←": "<-",
	"•": "-",
	"«": "\"",
	"»": "\"",
	"、": ",",
	"。": ".",
	"（": "(",
	"）": ")",
	"：": ":",
	"，": ",",
	"№": "No"
};
const LETTERS = {
	...CYRILLIC,
	...GREEK,
	...LATIN
};
function transliterate(content) {
	let latin = "";
	let isCode = false;
	for (const character of content.normalize("NFC")) {
		const known = hasStrokes(character) ? character : lettersOf(character);
		if (known === void 0 && latin !== "" && !latin.endsWith(" ")) latin += " ";
		else if (known !== void 0 && isCode && known !== " ") latin += " ";
		latin += known ?? character.codePointAt(0).toString(16).toUpperCase();
		isCode = known === void 0;
	}
	return latin;
}
function lettersOf(character) {
	const [base = "", ...marks] = character.normalize("NFD");
	if (!marks.every((mark) => /\p{M}/u.test(mark))) return void 0;
	const lower = base.toLowerCase();
	if (!Object.hasOwn(LETTERS, lower)) return void 0;
	const found = LETTERS[lower];
	return (lower === base ? found : found[0].toUpperCase() + found.slice(1)) + marks.join("");
}
// src/chart/drawable-text.ts
const MAX_PROBED = 400;
const PROBE_SIZE = 40;
const PROBE_CELL = 80;
const PROBE_COLUMNS = 20;
const UNASSIGNED = "͸";
const SMALLEST = .6;
const OVERHANG = 2.2;
const ELEMENT = /<text data-line="([^"]*)"[^>]*>([^<]*)<\/text>/g;
const known = new Map();
let hasWarned = false;
async function drawableText(svg, hasFont = probeFonts, warn = (line) => process.emitWarning(line, "ChartWarning")) {
	const wanted = new Set();
	for (const [, , content] of svg.matchAll(ELEMENT)) for (const character of unescapeXml(content)) if (isProbed(character)) wanted.add(character);
	if (wanted.size === 0) return svg;
	const asked = [...wanted].slice(0, MAX_PROBED);
	const answers = await hasFont(asked);
	const missing = new Set(asked.filter((_, i) => !answers[i]));
	if (missing.size === 0) return svg;
	const names = [];
	const drawn = svg.replace(ELEMENT, (element, line, content) => {
		const name = unescapeXml(content);
		if (![...name].some((character) => missing.has(character))) return element;
		names.push(name);
		return latinLine(name, JSON.parse(unescapeXml(line)));
	});
	if (!hasWarned || hasFont !== probeFonts) {
		hasWarned = true;
		warn(`no font of this machine has the characters of ${names.length} texts (e.g. "${oneLine(names[0])}"): they are drawn in Latin letters or as code points. Install a font for them, e.g. fonts-noto and fonts-noto-cjk on Debian and Ubuntu`);
	}
	return drawn;
}
function latinLine(name, { x, y, width, ...options }) {
	const latin = transliterate(name);
	const wanted = options.size ?? 14;
	const size = Math.max(SMALLEST * wanted, Math.min(wanted, wanted * width / measureText(latin, wanted)));
	return text(x, y, fitText(latin, OVERHANG * width, size), {
		...options,
		size
	});
}
function isProbed(character) {
	return character > "" && !/[\p{M}\p{Cf}\p{Cc}\p{Zs}]/u.test(character);
}
async function probeFonts(characters) {
	const unseen = characters.filter((character) => !known.has(character));
	if (unseen.length > 0) {
		const boxes = await inkOf([UNASSIGNED, ...unseen]);
		const blank = boxes[0];
		for (const [i, character] of unseen.entries()) {
			const box = boxes[i + 1];
			const isMissing = box.width === 0 || box.isFramed && box.width === blank.width && box.height === blank.height && blank.isFramed;
			known.set(character, !isMissing);
		}
	}
	return characters.map((character) => known.get(character));
}
async function inkOf(characters) {
	const width = 1600;
	const height = Math.ceil(characters.length / PROBE_COLUMNS) * PROBE_CELL;
	const place = (i) => [i % PROBE_COLUMNS * PROBE_CELL, Math.floor(i / PROBE_COLUMNS) * PROBE_CELL];
	const page = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#fff"/>${characters.map((character, i) => {
		const [x, y] = place(i);
		return `<text x="${x + 12}" y="${y + 55}" font-family="sans-serif" font-size="${PROBE_SIZE}">${escapeXml(character)}</text>`;
	}).join("")}</svg>`;
	const { data, info } = await (await loadSharp())(Buffer.from(page), { density: 72 }).toColourspace("b-w").removeAlpha().raw().toBuffer({ resolveWithObject: true });
	const isInk = (x, y) => data[(y * info.width + x) * info.channels] < 128;
	return characters.map((_, i) => measureInk(place(i), isInk));
}
function measureInk([left, top], isInk) {
	let [x1, x2, y1, y2] = [
		Infinity,
		-1,
		Infinity,
		-1
	];
	for (let y = top; y < top + PROBE_CELL; y++) for (let x = left; x < left + PROBE_CELL; x++) {
		if (!isInk(x, y)) continue;
		x1 = Math.min(x1, x);
		x2 = Math.max(x2, x);
		y1 = Math.min(y1, y);
		y2 = Math.max(y2, y);
	}
	if (x2 < 0) return {
		width: 0,
		height: 0,
		isFramed: false
	};
	let isFramed = true;
	for (let x = x1; x <= x2; x++) isFramed &&= isInk(x, y1) && isInk(x, y2);
	for (let y = y1; y <= y2; y++) isFramed &&= isInk(x1, y) && isInk(x2, y);
	return {
		width: x2 - x1 + 1,
		height: y2 - y1 + 1,
		isFramed
	};
}
// src/chart/contact-sheet.ts
const MAX_SIDE = 32767;
const MARGIN$2 = 36;
const GUTTER = 22;
const CAPTION_SIZE = 15;
const LINE_HEIGHT = 21;
const RIGHT = "#009e73";
const WRONG = "#d55e00";
async function contactSheet(items, options = {}) {
	requireList(items, "contactSheet", "images with captions", "Write [{ image, caption }].");
	checkNames(options, SHEET_OPTIONS, "contactSheet");
	for (const name of ["title", "subtitle"]) if (options[name] !== void 0) requireText(options[name], `contactSheet: \`${name}\``);
	if (items.length === 0) throw new ConfigError("contactSheet: expected at least one image, got none");
	const columns = wholeNumber("columns", options.columns ?? Math.min(4, items.length));
	const cell = wholeNumber("cell", options.cell ?? 260);
	const maxLines = wholeNumber("captionLines", options.captionLines ?? 3);
	items.forEach(checkItem);
	const captions = items.map((item) => wrapText(item.caption, cell - (item.correct === void 0 ? 0 : 26), CAPTION_SIZE, maxLines));
	const head = options.title ? heading(MARGIN$2, options.title, options.subtitle) : {
		parts: [],
		bottom: MARGIN$2
	};
	const width = 72 + columns * cell + (columns - 1) * GUTTER;
	const rowTops = [head.bottom];
	for (let from = 0; from < items.length; from += columns) {
		const lines = Math.max(...captions.slice(from, from + columns).map((one) => one.length));
		rowTops.push(rowTops.at(-1) + cell + 14 + LINE_HEIGHT * lines + GUTTER);
	}
	const height = rowTops.at(-1) - GUTTER + MARGIN$2;
	if (Math.max(width, height) > MAX_SIDE) throw new ConfigError(`contactSheet: ${items.length} images in ${columns} columns make ${width} × ${height} pixels, of at most ${MAX_SIDE} a side`, { hint: "Show fewer of them, write several sheets, or give more `columns` or a smaller `cell`." });
	const body = [...head.parts];
	const overlays = [];
	for (const [i, item] of items.entries()) {
		const x = MARGIN$2 + i % columns * (cell + GUTTER);
		const y = rowTops[Math.floor(i / columns)];
		overlays.push(await fitImage(item.image, x, y, cell, i));
		body.push(rect(x, y, cell, cell, "#14181d"));
		body.push(...captionParts(x, y + cell, cell, captions[i], item.correct));
	}
	const title = options.title ?? `${items.length} images`;
	const page = Buffer.from(await drawableText(svgDocument(width, height, title, body)));
	return (await loadSharp())(page, { density: 72 }).composite(overlays).png().toBuffer();
}
async function writeContactSheet(items, path, options = {}) {
	requirePath(path, "writeContactSheet: `path`");
	await writeNamedFile(path, await contactSheet(items, options), "writeContactSheet");
}
const SHEET_OPTIONS = {
	title: false,
	subtitle: false,
	columns: false,
	cell: false,
	captionLines: false
};
function checkItem(item, index) {
	const what = `contactSheet: \`items[${index}]\``;
	if (!isObject(item) || !isObject(item.image)) {
		const hint = isKind(item, "image") ? "Write [{ image, caption }]." : "Decode its image: await sample.image.decode().";
		throw new ConfigError(`${what}: expected { image, caption }, got ${describeGiven(item)}`, { hint });
	}
	const { image } = item;
	if (!(image.data instanceof Uint8Array)) {
		const hint = isKind(image, "promise") ? "Await it." : "Decode it first: await image.decode(), or await decodeImage(path).";
		throw new ImageError(`${what}: expected the pixels { width, height, data }, got ${describeGiven(image)}`, { hint });
	}
	requireText(item.caption, `${what}: \`caption\``);
}
async function fitImage(image, x, y, cell, index) {
	const { width, height, data } = image;
	if (!(width > 0 && height > 0) || data.length !== width * height * 3) throw new ImageError(`contactSheet: expected ${width} × ${height} × 3 bytes for image ${index}, got ${data.length}`, { details: { index } });
	const scale = Math.min(cell / width, cell / height);
	const fitted = [width, height].map((side) => Math.max(1, Math.min(cell, Math.round(side * scale))));
	return {
		input: await (await loadSharp())(data, { raw: {
			width,
			height,
			channels: 3
		} }).resize(fitted[0], fitted[1], { fit: "fill" }).png().toBuffer(),
		left: x + (cell - fitted[0] >> 1),
		top: y + (cell - fitted[1] >> 1)
	};
}
function captionParts(x, y, cell, lines, correct) {
	const parts = [];
	let indent = 0;
	if (correct !== void 0) {
		const colour = correct ? RIGHT : WRONG;
		parts.push(rect(x, y + 3, cell, 5, colour));
		const mark = correct ? "l4.5 4.5l8-10" : "m1-5l10 10m0-10l-10 10";
		const start = `M${format(x + 2)} ${format(y + 24)}`;
		parts.push(`<path fill="none" stroke="${colour}" stroke-width="3" stroke-linecap="round" d="${start}${mark}"/>`);
		indent = 26;
	}
	for (const [i, content] of lines.entries()) parts.push(text(x + indent, y + 29 + i * LINE_HEIGHT, content, {
		size: CAPTION_SIZE,
		colour: i === 0 ? COLOURS.ink : COLOURS.muted
	}));
	return parts;
}
function wholeNumber(name, value) {
	requireInteger(value, `contactSheet: \`${name}\``, 1);
	return value;
}
// src/chart/line-chart.ts
const isPoint = (value) => Array.isArray(value) && value.length === 2 && typeof value[0] === "number" && typeof value[1] === "number";
const side = number().min(100).max(32767).optional();
const optionsSchema = strictObject({
	title: string(),
	subtitle: string().optional(),
	xLabel: string(),
	yLabel: string(),
	series: array(strictObject({
		name: string(),
		points: array(custom(isPoint, "expected [x, y], two numbers"))
	})),
	yScale: _enum(["linear", "log"]).optional(),
	yFrom: _enum([
		"auto",
		"zero",
		"values"
	]).optional(),
	width: side,
	height: side
});
const MARGIN$1 = 36;
const DOTTED = 40;
function lineChart(options) {
	parseOptions(optionsSchema, options, "lineChart");
	const { title, series, yScale = "linear", width = 1e3, height = 560 } = options;
	const canDraw = ([x, y]) => Number.isFinite(x) && Number.isFinite(y) && (yScale === "linear" || y > 0);
	const all = series.flatMap((one) => one.points.filter(canDraw));
	if (all.length === 0) throw new ConfigError(`lineChart: expected at least one point that can be drawn on a ${yScale} axis, got none in ${series.length} series`);
	const [xLow, xHigh] = extent(all.map(([x]) => x));
	const xTicks = niceTicks(xLow, xHigh, 8);
	const [yLow, yHigh] = extent(all.map(([, y]) => y));
	const yTicks = yScale === "log" ? logTicks(yLow, yHigh) : niceTicks(...linearRange(yLow, yHigh, options.yFrom), 6);
	const head = heading(MARGIN$1, title, options.subtitle);
	const names = series.map((one) => one.name);
	const key = series.length > 1 ? legend(MARGIN$1, head.bottom, width - 72, names) : head;
	const left = 72 + Math.max(...yTicks.map((tick) => measureText(tickLabel(tick), 13)));
	const right = width - MARGIN$1;
	const top = key.bottom + 12;
	const bottom = height - 72;
	const [xFrom, xTo] = xHigh > xLow ? [xLow, xHigh] : [xTicks[0], xTicks.at(-1)];
	const toX = (x) => left + (x - xFrom) / (xTo - xFrom) * (right - left);
	const fold = yScale === "log" ? Math.log : (y) => y;
	const [yFrom, yTo] = [fold(yTicks[0]), fold(yTicks.at(-1))];
	const toY = (y) => bottom - (fold(y) - yFrom) / (yTo - yFrom) * (bottom - top);
	const body = [...head.parts, ...key === head ? [] : key.parts];
	for (const tick of yTicks) {
		body.push(line(left, toY(tick), right, toY(tick), COLOURS.grid));
		const options = {
			size: 13,
			anchor: "end",
			align: "middle",
			colour: COLOURS.muted
		};
		body.push(text(left - 10, toY(tick), tickLabel(tick), options));
	}
	body.push(line(left, bottom, right, bottom, COLOURS.axis));
	for (const tick of xTicks.filter((one) => one >= xFrom && one <= xTo)) {
		body.push(line(toX(tick), bottom, toX(tick), bottom + 5, COLOURS.axis));
		body.push(text(toX(tick), bottom + 21, tickLabel(tick), {
			size: 13,
			anchor: "middle",
			colour: COLOURS.muted
		}));
	}
	for (const [i, { points }] of series.entries()) body.push(curve(points, canDraw, toX, toY, seriesColour(i)));
	body.push(text((left + right) / 2, height - 22, options.xLabel, {
		size: 15,
		anchor: "middle"
	}));
	const middle = (top + bottom) / 2;
	body.push(text(40, middle, options.yLabel, {
		size: 15,
		anchor: "middle",
		align: "middle",
		rotate: -90
	}));
	return svgDocument(width, height, title, body);
}
function curve(points, canDraw, toX, toY, colour) {
	let path = "";
	let dots = "";
	for (const [i, point] of points.entries()) {
		if (!canDraw(point)) continue;
		const place = `${format(toX(point[0]))} ${format(toY(point[1]))}`;
		const before = i > 0 && canDraw(points[i - 1]);
		const after = i + 1 < points.length && canDraw(points[i + 1]);
		path += `${before ? "L" : "M"}${place}`;
		if (points.length <= DOTTED || !(before || after)) dots += `M${place}h.01`;
	}
	const stroke = `fill="none" stroke="${colour}" stroke-linejoin="round" stroke-linecap="round"`;
	return `<path ${stroke} stroke-width="2.5" d="${path}"/>${dots && `<path ${stroke} stroke-width="7" d="${dots}"/>`}`;
}
function linearRange(low, high, from = "auto") {
	return (from === "zero" || from === "auto" && low <= 2 * (high - low)) && low > 0 ? [0, high] : [low, high];
}
function extent(values) {
	return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}
// src/chart/render.ts
async function svgToPng(svg, options = {}) {
	checkNames(options, { scale: false }, "renderPng");
	const scale = options.scale ?? 1;
	if (!(typeof scale === "number" && scale > 0 && scale <= 20)) throw new ConfigError(`render: \`scale\`: expected a number above 0, up to 20, got ${describeGiven(scale)}`);
	if (typeof svg !== "string" || !svg.includes("<")) throw new ImageError(`renderPng: expected an SVG document, got ${describeGiven(svg)}`, { hint: "barChart, lineChart and confusionChart give one: await renderPng(barChart({ … }), path)." });
	const sharp = await loadSharp();
	try {
		return await sharp(Buffer.from(await drawableText(svg)), { density: 72 * scale }).png({ compressionLevel: 9 }).toBuffer();
	} catch (cause) {
		throw new ImageError(`render: the SVG cannot be drawn: ${reasonOf(cause)}`, { cause });
	}
}
async function renderPng(svg, path, options = {}) {
	requirePath(path, "renderPng: `path`");
	await writeNamedFile(path, await svgToPng(svg, options), "renderPng");
}
// src/chart/matrix-chart.ts
const MARGIN = 36;
const LABEL_LIMIT = 230;
const SMALLEST_NUMBERED = 24;
const NUMBERED = 48;
const DENSE_SIDE = 1500;
const SMALLEST_CELL = 2;
const LARGEST_DENSE_CELL = 20;
const LEVELS = 24;
const SMALLEST_LABEL = 9;
const SHADES = [[
	255,
	255,
	255
], [
	0,
	84,
	144
]];
function matrixChart(options) {
	const { title, rowLabels, columnLabels, values } = options;
	checkValues(rowLabels, columnLabels, values);
	const count = Math.max(rowLabels.length, columnLabels.length);
	const cell = options.cell ?? cellFor(count, columnLabels.length);
	const isNumbered = cell >= SMALLEST_NUMBERED;
	const labelSize = isNumbered ? 15 : Math.max(SMALLEST_LABEL, Math.min(15, cell - 2));
	const every = Math.ceil((labelSize + 1) / cell);
	const rows = rowLabels.map((label) => fitText(label, LABEL_LIMIT, labelSize));
	const columns = columnLabels.map((label) => fitText(label, LABEL_LIMIT, labelSize));
	const widest = (labels) => labels.reduce((width, label) => Math.max(width, measureText(label, labelSize)), 0);
	const head = heading(MARGIN, title, options.subtitle);
	const lean = Math.SQRT1_2 * (widest(columns) + labelSize);
	const left = MARGIN + (options.rowTitle ? 30 : 0) + widest(rows) + 14;
	const top = head.bottom + (options.columnTitle ? 30 : 0) + lean + 10;
	const right = left + cell * columns.length;
	const bottom = top + cell * rows.length;
	const body = [...head.parts];
	if (options.columnTitle) body.push(text((left + right) / 2, head.bottom + 16, options.columnTitle, {
		size: 15,
		anchor: "middle",
		weight: "bold"
	}));
	if (options.rowTitle) body.push(text(42, (top + bottom) / 2, options.rowTitle, {
		size: 15,
		anchor: "middle",
		align: "middle",
		rotate: -90,
		weight: "bold"
	}));
	for (const [c, label] of columns.entries()) {
		if (c % every > 0) continue;
		body.push(text(left + cell * (c + .5), top - 12, label, {
			size: labelSize,
			align: "middle",
			rotate: -45
		}));
	}
	for (const [r, label] of rows.entries()) {
		if (r % every > 0) continue;
		body.push(text(left - 12, top + cell * (r + .5), label, {
			size: labelSize,
			anchor: "end",
			align: "middle"
		}));
	}
	const largest = values.reduce((most, row) => row.reduce((a, b) => Math.max(a, b), most), 0);
	const shares = (row) => {
		const whole = options.shading === "largest" ? largest : row.reduce((a, b) => a + b, 0);
		return row.map((value) => whole > 0 ? value / whole : 0);
	};
	body.push(...(isNumbered ? numberedCells : denseCells)(values, shares, left, top, cell));
	const headWidth = Math.max(measureText(title, 22, "bold"), measureText(options.subtitle ?? "", 15));
	const overhang = Math.SQRT1_2 * measureText(columns.at(-1), labelSize) - cell / 2 + 8;
	return svgDocument(Math.max(right + Math.max(0, overhang), MARGIN + headWidth) + MARGIN, bottom + MARGIN, title, body);
}
function cellFor(count, columns) {
	if (count <= NUMBERED) return Math.max(30, Math.min(54, Math.floor(760 / columns)));
	return Math.max(SMALLEST_CELL, Math.min(LARGEST_DENSE_CELL, Math.floor(DENSE_SIDE / count)));
}
const numberedCells = (values, shares, left, top, cell) => {
	const body = [];
	const numberSize = Math.min(16, cell * .32);
	for (const [r, row] of values.entries()) {
		const y = top + cell * r;
		const shareOf = shares(row);
		for (const [c, value] of row.entries()) {
			const share = shareOf[c];
			body.push(rect(left + cell * c + 1, y + 1, cell - 2, cell - 2, value > 0 ? shade(share) : "#f4f6f8", 3));
			const colour = value === 0 ? "#b4bdc7" : share > .5 ? "#ffffff" : COLOURS.ink;
			const centre = left + cell * (c + .5);
			body.push(text(centre, y + cell / 2, tickLabel(value), {
				size: numberSize,
				anchor: "middle",
				align: "middle",
				colour
			}));
		}
	}
	return body;
};
const denseCells = (values, shares, left, top, cell) => {
	const paths = Array.from({ length: 25 }, () => []);
	for (const [r, row] of values.entries()) {
		const y = format(top + cell * r);
		for (const [c, share] of shares(row).entries()) {
			if (share === 0) continue;
			paths[Math.ceil(Math.min(1, share) * LEVELS)].push(`M${format(left + cell * c)} ${y}h${cell}v${cell}h-${cell}z`);
		}
	}
	return [rect(left, top, cell * values[0].length, cell * values.length, "#f4f6f8"), ...paths.flatMap((path, level) => path.length > 0 ? [`<path fill="${shade(level / LEVELS)}" d="${path.join("")}"/>`] : [])];
};
function shade(share) {
	const weight = .1 + .9 * Math.min(1, share);
	const [from, to] = SHADES;
	return `#${from.map((channel, i) => Math.round(channel + (to[i] - channel) * weight)).map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;
}
function checkValues(rows, columns, values) {
	if (rows.length === 0 || columns.length === 0) throw new ConfigError(`matrixChart: expected labels, got ${rows.length} rows and ${columns.length} columns`);
	if (!(values.length === rows.length && values.every((row) => row.length === columns.length))) throw new ConfigError(`matrixChart: expected values [${rows.length}][${columns.length}] after the labels, got ${values.length} rows of [${values.slice(0, 12).map((row) => row.length).join(", ")}${values.length > 12 ? ", ..." : ""}]`);
	for (const row of values) {
		const wrong = row.find((value) => !(value >= 0 && value < Infinity));
		if (wrong !== void 0) throw new ConfigError(`matrixChart: expected values of at least 0, got ${wrong}`);
	}
}
// src/eval/confusion-chart.ts
const confusionChartSchema = strictObject({ normalize: literal("true").optional() });
const MAX_DRAWN_CLASSES = 150;
const MOST_CONFUSED = 40;
function confusionChart(report, title = "Confusion matrix", options = {}) {
	requireMatrix(report, "confusionChart");
	requireText(title, "confusionChart: `title`");
	const { normalize } = parseOptions(confusionChartSchema, options, "confusionChart");
	const { classNames } = report;
	const { counts, unparsed } = normalize === "true" ? percentages(report.confusion) : report.confusion;
	const isPart = classNames.length > MAX_DRAWN_CLASSES;
	const drawn = isPart ? mostConfused(report.confusion, MOST_CONFUSED) : classNames.map((_, i) => i);
	const shown = distinctNames(classNames);
	const names = drawn.map((i) => shown[i]);
	const hasUnparsed = report.confusion.unparsed.some((count) => count > 0);
	const rows = drawn.map((r) => {
		const values = drawn.map((c) => counts[r][c]);
		const others = isPart ? [sum(counts[r]) - sum(values)] : [];
		return [
			...values,
			...others,
			...hasUnparsed ? [unparsed[r]] : []
		];
	});
	const part = `the ${names.length} of ${classNames.length.toLocaleString("en")} classes with the most wrong answers`;
	return matrixChart({
		title,
		subtitle: `${headline(report)[0]}${isPart ? `; ${part}` : ""}${normalize === "true" ? "; percent of each true class" : ""}`,
		rowLabels: names,
		columnLabels: [
			...names,
			...isPart ? ["(other classes)"] : [],
			...hasUnparsed ? ["(no class)"] : []
		],
		rowTitle: "true class",
		columnTitle: "answer",
		values: rows
	});
}
function percentages(confusion) {
	const { counts, unparsed } = normalizeConfusion(confusion);
	const percent = (shares) => shares.map((share) => Math.round(100 * share));
	return {
		counts: counts.map(percent),
		unparsed: percent(unparsed)
	};
}
export { barChart, comparisonMarkdown, confusionChart, contactSheet, escapeMarkdown, lineChart, renderPng, reportMarkdown, writeContactSheet };
