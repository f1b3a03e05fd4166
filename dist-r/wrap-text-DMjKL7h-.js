import { t as displayWidth } from "./display-width-D3AspX99.js";
// src/messages/wrap-text.ts
function wrapText(text, width) {
	const lines = [];
	let line = "";
	let used = 0;
	const flush = () => {
		lines.push(line.trimEnd());
		line = "";
		used = 0;
	};
	for (const word of text.match(/ +|[^ ]+/g) ?? []) {
		const length = displayWidth(word);
		if (used > 0 && used + length > width) flush();
		if (used === 0 && lines.length > 0 && word.startsWith(" ")) continue;
		for (const piece of splitText(word, width)) {
			if (used > 0 && used + displayWidth(piece) > width) flush();
			line += piece;
			used += displayWidth(piece);
		}
	}
	if (line.trim() !== "" || lines.length === 0) flush();
	return lines;
}
function splitText(text, width) {
	if (displayWidth(text) <= width) return [text];
	const pieces = [];
	let piece = "";
	let used = 0;
	for (const { segment } of new Intl.Segmenter("en", { granularity: "grapheme" }).segment(text)) {
		const length = displayWidth(segment);
		if (used > 0 && used + length > width) {
			pieces.push(piece);
			piece = "";
			used = 0;
		}
		piece += segment;
		used += length;
	}
	return [...pieces, piece];
}
export { wrapText as n, splitText as t };
