import { t as loadSharp } from "./load-sharp-D7OC_wjO.js";
// src/data/image-data-uri.ts
async function imageDataUri(image, longestEdge) {
	const { width, height, data } = image;
	return `data:image/webp;base64,${(await (await loadSharp())(data, { raw: {
		width,
		height,
		channels: 3
	} }).resize({
		width: longestEdge,
		height: longestEdge,
		fit: "inside",
		withoutEnlargement: true
	}).webp({ quality: 80 }).toBuffer()).toString("base64")}`;
}
// src/page/html.ts
var Html = class {
	markup;
	constructor(markup) {
		this.markup = markup;
	}
};
const ENTITIES = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	"\"": "&quot;",
	"'": "&#39;"
};
function escapeHtml(text) {
	return text.replace(/[&<>"']/g, (character) => ENTITIES[character]);
}
function html(texts, ...values) {
	return new Html(texts.reduce((all, text, i) => all + markupOf(values[i - 1]) + text));
}
function markupOf(value) {
	if (value instanceof Html) return value.markup;
	if (value === void 0 || value === null || value === false) return "";
	if (typeof value === "string" || typeof value === "number") return escapeHtml(String(value));
	return value.map(markupOf).join("");
}
function jsonForScript(data) {
	return JSON.stringify(data).replace(/[<>&\u2028\u2029]/g, (character) => {
		return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
	});
}
const THEME = `
:root, :root.on-paper { color-scheme: light;
  --page: #ffffff; --card: #f6f7f9; --line: #c9ced6; --text: #1c2330; --quiet: #56606f;
  --accent: #1d5fbf; --good: #1a7340; --bad: #b3261e; --warn: #8a5a00; --mark: #e3ecfa; --edge: #7a8494;
  --series-1: #1d5fbf; --series-2: #b3541e; --series-3: #1a7340; --series-4: #7a3fb0; --series-5: #8a5a00; }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark;
  --page: #12161d; --card: #1b212b; --line: #3f4957; --text: #e8ecf2; --quiet: #a9b3c1;
  --accent: #7fb0ff; --good: #6fd08c; --bad: #ff8f85; --warn: #f0c05a; --mark: #22324c; --edge: #8591a3;
  --series-1: #7fb0ff; --series-2: #ffa066; --series-3: #6fd08c; --series-4: #c79bff; --series-5: #f0c05a; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; }
a { color: var(--accent); }
button, input, select { font: inherit; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.quiet { color: var(--quiet); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.warn { color: var(--warn); }
.scroll { position: relative; overflow-x: auto; background: linear-gradient(to left, var(--under, var(--page)) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to left, color-mix(in srgb, var(--text) 30%, transparent), transparent) right / 0.9rem 100% no-repeat scroll; }
.scroll tbody th[scope="row"] { position: sticky; left: 0; z-index: 1; background: var(--under, var(--page)); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
table { border-collapse: collapse; }
th[scope="row"] { min-width: 7rem; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; overflow-wrap: break-word; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 0; }
img { max-width: 100%; height: auto; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); }
.card { padding: 0.75rem; border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card); --under: var(--card); }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; }
@media (max-width: 40rem) { th, td { padding: 0.25rem 0.35rem; } .scroll table { font-size: 0.875rem; }
  th.number { white-space: normal; } th[scope="row"] { min-width: 5.5rem; }
  .scroll tbody th[scope="row"] { max-width: 42vw; } }
@media print { :root, body { font-size: 12px; } body { max-width: none; padding: 0; } .card { break-inside: avoid; } .scroll { overflow: visible; background: none; }
  .scroll tbody th[scope="row"] { position: static; }
  .skip, .on-screen { display: none !important; } }
`;
// src/page/page.ts
function scriptText(script) {
	return script.replace(/<(?=\/script|!--)/gi, "\\x3c");
}
function renderPage({ title, body, styles = [], scripts = [], connect }) {
	const policy = [
		"default-src 'none'",
		`img-src data:${connect ? ` ${connect}` : ""}`,
		"style-src 'unsafe-inline'",
		...scripts.length > 0 ? ["script-src 'unsafe-inline'"] : [],
		...connect ? [`connect-src ${connect}`] : [],
		"base-uri 'none'",
		"form-action 'none'"
	];
	const inline = scripts.map((script) => `<script>${scriptText(script)}<\/script>`);
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy.join("; ")}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${[THEME, ...styles].join("\n")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<main id="content" tabindex="-1">
${body.markup}
</main>
${inline.join("\n")}
</body>
</html>
`;
}
export { imageDataUri as a, jsonForScript as i, Html as n, html as r, renderPage as t };
