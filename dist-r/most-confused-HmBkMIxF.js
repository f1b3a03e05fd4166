import { H as sum } from "./report-BTHP2jM-.js";
// src/eval/most-confused.ts
function mostConfused({ counts, unparsed }, most) {
	const wrong = counts.map((row, i) => sum(row) - row[i] + unparsed[i]);
	for (const [r, row] of counts.entries()) for (const [c, count] of row.entries()) if (r !== c) wrong[c] += count;
	return wrong.map((_, i) => i).sort((a, b) => wrong[b] - wrong[a] || a - b).slice(0, most).sort((a, b) => a - b);
}
export { mostConfused as t };
