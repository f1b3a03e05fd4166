import { n as auditSection, t as AUDIT_STYLES } from "./audit-section-DpyhjeXV.js";
import { _ as isKind, d as requireKind, h as requireText, l as requireCallback, m as requireSignal, n as checkNames, o as requirePath, u as requireInteger, v as isObject } from "./config-BAD1VLMT.js";
import { r as MASK_STYLES, t as maskSection, u as requireMaskView } from "./mask-section-B9wx9iJ_.js";
import { b as requireReport, n as compareSamples } from "./report-BTHP2jM-.js";
import { S as printable, b as distinctNames, m as reasonOf, r as DataError, t as CheckpointError, v as redactAddresses, w as warningLine, x as oneLine } from "./errors-D4G-NQir.js";
import { a as imageDataUri, i as jsonForScript, n as Html, r as html, t as renderPage } from "./page-D5lZK2q2.js";
import { n as UPLOT_STYLES, t as UPLOT_SCRIPT } from "./uplot-DkletCpz.js";
import { t as abstainBelow } from "./risk-coverage-Dih9Y-dd.js";
import { t as mostConfused } from "./most-confused-HmBkMIxF.js";
import { r as parseSftConfig } from "./sft-config-CSEWV3ou.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { f as writeNamedFile } from "./atomic-file-D2Hfhe-X.js";
import { i as readJson, n as MAX_CONFIG_BYTES } from "./read-json-BUQErRHs.js";
import { t as VERSION } from "./version-D73A-Uw_.js";
import { r as readRegularFile, t as exists } from "./regular-file-BhWpSxEj.js";
import { a as listCheckpoints, i as isCheckpoint, n as readHistory } from "./history-Bt7Y0Wj4.js";
import { s as decodeImage } from "./image-cells-BdLZPrXr.js";
import { join } from "node:path";
import { readdir, stat } from "node:fs/promises";
import { createHash } from "node:crypto";
// src/page/chart-program.ts
const CHART_PROGRAM = `
(() => {
  'use strict';
  const root = document.documentElement;
  const figures = [...document.querySelectorAll('figure.chart')];
  /** Lines differ without their colours too. */
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 6]];
  const markerOf = ([length]) => (length === undefined ? 'solid' : length < 3 ? 'dotted' : 'dashed');
  const charts = figures.map(prepare);

  function shown(value, suffix) {
    if (value === null || value === undefined || !Number.isFinite(value)) return '–';
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2) + suffix;
    return (size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)))) + suffix;
  }

  /** Ticks of an axis in one style, that of the largest. */
  function ticks(splits, suffix) {
    const largest = Math.max(...splits.map((value) => Math.abs(value ?? 0)));
    const isPlain = largest === 0 || (largest >= 1e-3 && largest < 1e6);
    return splits.map((value) => {
      if (value === null) return '';
      if (value === 0 || isPlain) return String(Number(value.toPrecision(4))) + suffix;
      return value.toExponential(1).replace('.0e', 'e') + suffix;
    });
  }

  /** Places of the ticks of a logarithmic axis: powers of ten, and what lies between if these are few. */
  function logSplits(min, max) {
    const [first, last] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
    const decades = Math.log10(max / min);
    const step = Math.ceil(decades / 8);
    const steps = decades > 3 ? [1] : decades > 1.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    const splits = [];
    for (let power = first; power <= last; power += step) {
      for (const part of steps) splits.push(Number((part * 10 ** power).toPrecision(3)));
    }
    return splits.filter((value) => value >= min && value <= max);
  }

  /** A running mean with decaying weights, without the pull towards 0 at its start. */
  function smooth(values, weight) {
    let sum = 0;
    let norm = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = weight * sum + (1 - weight) * value;
      norm = weight * norm + (1 - weight);
      return sum / norm;
    });
  }

  function prepare(figure) {
    const data = JSON.parse(figure.querySelector('script').textContent);
    const plot = figure.querySelector('.plot');
    const readout = figure.querySelector('.readout');
    const slider = figure.querySelector('.smoothing');
    const logScale = figure.querySelector('.log-scale');
    let chart;

    function draw() {
      const styles = getComputedStyle(root);
      const color = (name) => styles.getPropertyValue('--' + name).trim();
      const isLog = logScale !== null && logScale.checked;
      const weight = slider === null ? 0 : Number(slider.value);
      const columns = [data.x];
      const series = [{ label: data.xLabel, value: (_, x) => (x === null ? '–' : String(Number(x.toPrecision(7)))) }];
      const add = (one, values, more) => {
        columns.push(isLog ? values.map((value) => (value > 0 ? value : null)) : values);
        series.push({
          label: one.name, width: 2, spanGaps: true, value: (_, value) => shown(value, data.suffix), ...more,
        });
      };
      for (const one of data.series) {
        const stroke = color('series-' + one.color);
        const known = one.values.filter((value) => value !== null).length;
        const points = { show: known <= 40, size: 5, fill: stroke };
        const dash = DASHES[one.color - 1] ?? [];
        if (one.isSparse) add(one, one.values, { stroke, dash: [6, 4], points: { show: true, size: 8, fill: stroke } });
        else if (one.canSmooth && weight > 0) {
          add(one, one.values, { stroke: stroke + '99', width: 1, points: { show: false } });
          add({ ...one, name: one.name + ', smoothed' }, smooth(one.values, weight), { stroke, dash, points: { show: false } });
        } else add(one, one.values, { stroke, dash, points });
      }
      const axis = { stroke: color('quiet'), font: '13px system-ui, sans-serif', labelFont: '13px system-ui, sans-serif',
        grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line'), width: 1 } };
      const values = (_, splits) => ticks(splits, data.suffix);
      const yAxis = { ...axis, values, size: (_, texts) => 24 + 8 * Math.max(3, ...(texts || []).map((text) => text.length)) };
      if (isLog) Object.assign(yAxis, { splits: (_, index, min, max) => logSplits(min, max), filter: (_, splits) => splits });
      const options = {
        width: Math.max(200, plot.clientWidth), height: 240, series,
        scales: { x: { time: false }, y: isLog ? { distr: 3, log: 10 } : {} },
        axes: [{ ...axis, size: 32, label: data.xLabel, labelSize: 20, labelGap: 0 }, yAxis],
        legend: { markers: { width: 3, dash: (chart, i) => markerOf(chart.series[i].dash ?? []) } },
        cursor: { y: false, drag: { x: true, y: false }, points: { size: 8 } },
      };
      if (data.x.length === 1) options.scales.x.range = [data.x[0] - 1, data.x[0] + 1];
      const index = chart === undefined ? null : chart.cursor.idx;
      if (chart !== undefined) chart.destroy();
      chart = new uPlot(options, columns, plot);
      if (index !== null && index !== undefined) move(index);
    }

    function move(index) {
      const at = Math.max(0, Math.min(data.x.length - 1, index));
      chart.setCursor({ left: chart.valToPos(data.x[at], 'x'), top: 0 });
      return at;
    }

    plot.addEventListener('keydown', (event) => {
      const step = event.shiftKey ? 10 : 1;
      const idx = chart.cursor.idx;
      const moves = { ArrowLeft: (idx ?? data.x.length) - step, ArrowRight: (idx ?? -1) + step, Home: 0, End: data.x.length - 1 };
      if (!Object.hasOwn(moves, event.key)) return;
      event.preventDefault();
      const at = move(moves[event.key]);
      readout.textContent = data.xLabel + ' ' + data.x[at] + ': ' +
        data.series.map((one) => one.name + ' ' + shown(one.values[at], data.suffix)).join(', ');
    });
    if (slider !== null) slider.addEventListener('input', draw);
    if (logScale !== null) logScale.addEventListener('change', draw);
    let width = 0;
    new ResizeObserver(() => {
      if (plot.clientWidth === width) return;
      width = plot.clientWidth;
      if (width > 0) chart.setSize({ width: Math.max(200, width), height: 240 });
    }).observe(plot);
    draw();
    return draw;
  }

  const redraw = () => { for (const draw of charts) draw(); };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  addEventListener('beforeprint', () => { root.classList.add('on-paper'); redraw(); });
  addEventListener('afterprint', () => { root.classList.remove('on-paper'); redraw(); });
})();
`;
// \0@oxc-project+runtime@0.156.0/helpers/esm/taggedTemplateLiteral.js
function _taggedTemplateLiteral(e, t) {
	return t || (t = e.slice(0)), Object.freeze(Object.defineProperties(e, { raw: { value: Object.freeze(t) } }));
}
// src/page/line-chart.ts
var _templateObject;
const MAX_POINTS = 1500;
const MAX_ROWS$2 = 40;
const MANY_POINTS = 25;
function lineChart(chart) {
	const { suffix, ...shown } = scaled(chart);
	const { x, series, note } = thinned(shown);
	const { title, xLabel, canLog } = chart;
	const canSmooth = x.length > 2 && series.some((one) => one.canSmooth);
	const smoothing = x.length > 200 ? .9 : x.length > MANY_POINTS ? .6 : 0;
	const data = {
		x,
		xLabel,
		suffix,
		series
	};
	const notes = [chart.note, note].filter((text) => text !== void 0);
	return html(_templateObject || (_templateObject = _taggedTemplateLiteral([
		"<figure class=\"chart\">\n<figcaption>",
		"</figcaption>\n<div class=\"tools on-screen\">",
		"",
		"</div>\n<div class=\"plot\" tabindex=\"0\" role=\"group\" aria-label=\"",
		"\"></div>\n<p class=\"hidden readout\" aria-live=\"polite\"></p>\n<script type=\"application/json\">",
		"<\/script>\n",
		"\n<details><summary>Values</summary>",
		"</details>\n</figure>"
	])), title, canSmooth && html`<label>Smoothing <input type="range" class="smoothing" min="0" max="0.99" step="0.01" value="${smoothing}"></label>`, canLog && html`<label><input type="checkbox" class="log-scale"> Logarithmic</label>`, `${title}: ${described(x, series, suffix)} Arrow keys read the values.`, new Html(jsonForScript(data)), notes.length > 0 && html`<p class="quiet">${notes.join(" ")}</p>`, valueTable(title, xLabel, x, series, suffix));
}
const CHART_SCRIPTS = [UPLOT_SCRIPT, CHART_PROGRAM];
const CHART_STYLES = [UPLOT_STYLES, `
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
.chart { min-width: 0; }
.chart.wide { grid-column: 1 / -1; }
.chart figcaption { font-weight: 600; }
.chart .tools { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: center; }
.chart .tools label { display: inline-flex; gap: 0.4rem; align-items: center; min-height: 2rem; }
.chart .plot { min-height: 15rem; }
.chart .uplot, .chart .uplot .u-legend { font: 0.875rem/1.5 system-ui, sans-serif; }
.chart .uplot .u-legend { text-align: left; margin: 0; }
.chart .uplot .u-legend th, .chart .uplot .u-legend td { padding: 0 0.2rem; border: 0; font-weight: normal; }
.chart .u-legend .u-marker { width: 1.75rem; height: 0; border-width: 3px 0 0 !important; vertical-align: middle; }
.chart .u-legend .u-series:first-child .u-marker { display: none; }
.chart p, .chart details { font-size: 0.875rem; margin: 0.25rem 0; }
.chart details .scroll { max-height: 20rem; overflow: auto; }
@media print { .chart { break-inside: avoid; } .chart details { display: none; } }
`];
function scaled({ unit, ...chart }) {
	const most = chart.series.flatMap(({ values }) => values).reduce((highest, value) => Math.max(highest, Math.abs(value ?? 0)), 0);
	const [factor, suffix] = unit === "share" ? [100, " %"] : unit === "bytes" ? most >= 2 ** 30 ? [2 ** -30, " GiB"] : [2 ** -20, " MiB"] : [1, ""];
	const series = chart.series.map((one) => ({
		...one,
		values: one.values.map((value) => value && value * factor)
	}));
	return {
		...chart,
		series,
		suffix
	};
}
function chartValue(value, suffix) {
	if (value === null || value === void 0 || !Number.isFinite(value)) return "–";
	const size = Math.abs(value);
	if (size !== 0 && (size < .001 || size >= 1e6)) return value.toExponential(2) + suffix;
	return (size >= 1e3 ? value.toFixed(0) : String(Number(value.toPrecision(4)))) + suffix;
}
function described(x, series, suffix) {
	return `${series.map(({ name, values }) => {
		const known = values.filter((value) => value !== null);
		if (known.length === 0) return `${name} has no values`;
		const [first, last] = [known[0], known.at(-1)].map((value) => chartValue(value, suffix));
		return `${name} from ${first} to ${last}`;
	}).join(", ")}; ${x.length} points.`;
}
function valueTable(title, xLabel, x, series, suffix) {
	const step = Math.max(1, Math.ceil(x.length / MAX_ROWS$2));
	const rows = x.map((_, i) => i).filter((i) => i % step === 0 || i === x.length - 1);
	return html`<div class="scroll" tabindex="0" role="region" aria-label="${`Values of ${title}`}"><table>
<thead><tr><th scope="col" class="number">${xLabel}</th>${series.map(({ name }) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
<tbody>${rows.map((i) => html`<tr><td class="number">${Number(x[i].toPrecision(7))}</td>${series.map(({ values }) => html`<td class="number">${chartValue(values[i], suffix)}</td>`)}</tr>`)}</tbody></table>${step > 1 && html`<p class="quiet">${`Every ${ordinal(step)} of ${x.length} points.`}</p>`}</div>`;
}
function ordinal(count) {
	return `${count}${count % 100 > 10 && count % 100 < 14 ? "th" : [
		"th",
		"st",
		"nd",
		"rd"
	][count % 10] ?? "th"}`;
}
function thinned({ x, series }) {
	const finite = (value) => Number.isFinite(value);
	const size = Math.ceil(x.length / MAX_POINTS);
	const starts = Array.from({ length: Math.ceil(x.length / size) }, (_, i) => i * size);
	const mean = (values, start) => {
		const known = values.slice(start, start + size).filter(finite);
		return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
	};
	return {
		x: starts.map((start) => x[Math.min(start + size, x.length) - 1]),
		series: series.map((one) => ({
			...one,
			values: starts.map((start) => mean(one.values, start))
		})),
		note: size > 1 ? `Each point is the mean of ${size} values.` : void 0
	};
}
// src/page/matrix-table.ts
const SHADES = 8;
const MAX_NAME = 24;
const MANY_COLUMNS = 16;
function matrixTable({ caption, rowTitle, columnTitle, rowNames, columnNames, values }) {
	const short = shortNames(rowNames);
	const head = columnNames.map((name, c) => html`<th scope="col" ${full(name, short[c])}><span>${short[c] ?? name}</span></th>`);
	const zero = columnNames.length > MANY_COLUMNS ? "·" : "0";
	const rows = rowNames.map((name, r) => {
		const row = values[r];
		const total = row.reduce((a, b) => a + b, 0);
		const cells = row.map((count, c) => {
			const shade = total === 0 ? 0 : Math.ceil(count / total * SHADES);
			return `<td${shade === 0 ? "" : ` class="${r === c ? "g" : "b"}${shade}"`}>${count === 0 ? zero : count}</td>`;
		});
		return html`<tr data-total="${total}"><th scope="row" ${full(name, short[r])}>${short[r]}</th>${new Html(cells.join(""))}</tr>`;
	});
	return html`<figure class="matrix">
<figcaption>${caption}</figcaption>
<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<thead><tr><th class="corner"><span class="quiet">${rowTitle}&nbsp;↓<br>${columnTitle}&nbsp;→</span></th>${head}</tr></thead>
<tbody>${rows}</tbody>
</table></div>
</figure>`;
}
function shortNames(names) {
	if (names.every((name) => [...name].length <= MAX_NAME)) return [...names];
	const start = names.length > 1 ? commonWords(names, (a, b) => a.startsWith(b), (words, n) => words.slice(0, n)) : "";
	const end = names.length > 1 ? commonWords(names, (a, b) => a.endsWith(b), (words, n) => words.slice(-n)) : "";
	const short = names.map((name) => {
		if (name.length <= start.length + end.length) return ends(name);
		const own = ends(name.slice(start.length, name.length - end.length).trim());
		return `${start && "…"}${own}${end && "…"}`;
	});
	const isAlike = (name) => short.indexOf(name) !== short.lastIndexOf(name);
	return short.map((name, i) => isAlike(name) ? names[i] : name);
}
function commonWords(names, has, take) {
	const words = names[0].split(/(?<=\s)/);
	let found = "";
	for (let count = 1; count < words.length; count++) {
		const part = take(words, count).join("");
		if (!names.every((name) => has(name, part))) break;
		found = part;
	}
	return found;
}
function ends(name) {
	const characters = [...name];
	if (characters.length <= MAX_NAME) return name;
	return `${characters.slice(0, MAX_NAME / 2 - 1).join("")}…${characters.slice(-12).join("")}`;
}
function full(name, short) {
	return short !== void 0 && short !== name ? html`title="${name}" aria-label="${name}"` : void 0;
}
function matrixChoice() {
	return html`<fieldset class="matrix-choice on-screen"><legend>Cells show</legend>
<label><input type="radio" name="matrix-cells" value="count" checked> counts</label>
<label><input type="radio" name="matrix-cells" value="share"> share of the row, %</label></fieldset>`;
}
const shades = (name, color) => Array.from({ length: SHADES }, (_, i) => {
	const part = Math.round(8 + i * 34 / 7);
	return `.matrix td.${name}${i + 1} { background: color-mix(in srgb, var(--${color}) ${part}%, var(--page)); color: var(--text); }`;
}).join("\n");
const MATRIX_STYLES = `
.matrices { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr)); }
.matrices.wide { grid-template-columns: minmax(0, 1fr); }
.matrix { min-width: 0; }
.matrix figcaption { font-weight: 600; }
.matrix table { font-size: 0.875rem; }
.matrix td { min-width: 2rem; padding: 0.2rem; text-align: center; color: var(--quiet); font-variant-numeric: tabular-nums;
  border: 1px solid var(--line); }
.matrix thead th { vertical-align: bottom; padding: 0.25rem 0.1rem; font-weight: normal; }
.matrix thead th:not(.corner) span { display: inline-block; writing-mode: vertical-rl; max-height: 12rem; overflow: hidden;
  white-space: nowrap; text-overflow: ellipsis; }
.matrix .corner { max-width: 9rem; }
.matrix .scroll tbody th[scope="row"] { min-width: 6.5rem; max-width: 13rem; padding: 0.2rem 0.4rem 0.2rem 0; font-weight: normal;
  line-height: 1.2; overflow-wrap: anywhere; }
.wide .matrix table { font-size: 0.8125rem; }
.wide .matrix td { min-width: 1.5rem; padding: 0.2rem 0; }
.matrix-choice { border: 0; margin: 0 0 0.75rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.matrix-choice legend { float: left; margin-right: 1rem; }
${shades("g", "good")}
${shades("b", "bad")}
@media (max-width: 40rem) { .matrix .scroll tbody th[scope="row"], .matrix .corner { max-width: 6.5rem; } }
@media print { .matrix td { print-color-adjust: exact; } }
`;
const MATRIX_PROGRAM = `
(() => {
  'use strict';
  const rows = [...document.querySelectorAll('.matrix tbody tr')].map((row) => {
    const cells = [...row.querySelectorAll('td')];
    const texts = cells.map((cell) => cell.textContent);
    return { cells, total: Number(row.dataset.total), texts };
  });
  addEventListener('change', ({ target }) => {
    if (target.name !== 'matrix-cells') return;
    for (const { cells, texts, total } of rows) {
      texts.forEach((text, i) => {
        const count = Number(text);
        cells[i].textContent = target.value === 'count' || !(count > 0) ? text : Math.round((100 * count) / total);
      });
    }
  });
})();
`;
// src/report/figures.ts
function percent(share, digits = 1) {
	if (share === null || share === void 0 || !Number.isFinite(share)) return "–";
	return `${(100 * share).toFixed(digits)}\u00a0%`;
}
function fixed(value, digits = 3) {
	if (value === null || value === void 0 || !Number.isFinite(value)) return "–";
	return (Math.abs(value) < 1e5 ? value.toFixed(digits) : value.toExponential(2)).replace(/^-(0\.?0*$)?/, (_, zero) => zero ?? "−");
}
function signed(text, value) {
	if (!Number.isFinite(value)) return "–";
	const plain = text.replace(/^-/, "");
	return /[1-9]/.test(plain) ? `${value > 0 ? "+" : "−"}${plain}` : plain;
}
function points(before, after) {
	const change = 100 * (after - before);
	return signed(change.toFixed(1), change);
}
function counted(count, word) {
	return `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
}
function duration(seconds) {
	const whole = Math.max(0, Math.round(seconds));
	const two = (value) => String(value).padStart(2, "0");
	if (whole < 60) return `${whole} s`;
	if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
	return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole % 3600 / 60))} min`;
}
const MAX_ANSWER = 300;
function shownAnswer(text) {
	const short = text.length > MAX_ANSWER ? `${text.slice(0, MAX_ANSWER).replace(/[\ud800-\udbff]$/, "")}…` : text;
	return printable(short);
}
function fileName(id) {
	return oneLine(id.slice(Math.max(id.lastIndexOf("/"), id.lastIndexOf("\\")) + 1) || id);
}
function shownSetting(value) {
	const text = typeof value === "string" ? value : JSON.stringify(value) ?? "not set";
	return text.length > 500 ? `${oneLine(text.slice(0, 500))}…` : oneLine(text);
}
// src/report/section.ts
function section(id, title, content) {
	return {
		id,
		title,
		body: html`<section id="${id}"><h2>${title}</h2>${content}</section>`
	};
}
function scrolled(label, table, isTall = false) {
	return html`<div class="${isTall ? "scroll tall" : "scroll"}" tabindex="0" role="region" aria-label="${label}">${table}</div>`;
}
// src/report/calibration-section.ts
function calibrationSection(before, after) {
	const found = [{
		title: "Before training",
		metrics: before?.probabilities
	}, {
		title: "After training",
		metrics: after?.probabilities
	}].filter((one) => one.metrics !== void 0);
	if (found.length === 0) return void 0;
	return section("calibration", "Calibration", [
		html`<p>Of the answers that are given with 80 % confidence, 80 % should be right. The bar is the share of right answers, the mark their mean confidence.</p>`,
		html`<div class="matrices">${found.map(({ title, metrics }) => reliability(title, metrics))}</div>`,
		abstention(after ?? before)
	]);
}
const THRESHOLDS = [
	0,
	.5,
	.6,
	.7,
	.8,
	.9,
	.95,
	.99
];
function abstention({ samples }) {
	if (samples.length === 0 || samples.some(({ confidence }) => confidence === void 0)) return void 0;
	const rows = THRESHOLDS.map((threshold) => {
		const { answered, coverage, risk } = abstainBelow(samples, threshold);
		const right = answered === 0 ? "–" : percent(1 - risk);
		return html`<tr><th scope="row">${`${Math.round(100 * threshold)} %`}</th><td class="number">${answered}</td><td class="number">${percent(coverage)}</td><td class="number">${right}</td></tr>`;
	});
	return html`<h3>Answers withheld below a confidence</h3>${scrolled("Answers withheld below a confidence", html`<table><thead><tr><th scope="col">Least confidence</th><th scope="col" class="number">Answers given</th><th scope="col" class="number">Share of all</th><th scope="col" class="number">Right among them</th></tr></thead><tbody>${rows}</tbody></table>`)}<p class="quiet">A threshold that is chosen on these samples looks better here than it is: choose it on others.</p>`;
}
function reliability(title, metrics) {
	const rows = metrics.calibration.filter(({ count }) => count > 0).map(binRow);
	const error = percent(metrics.expectedCalibrationError);
	return html`<figure class="reliability"><figcaption>${title}</figcaption>
<p>${`Expected calibration error ${error}, largest ${percent(metrics.maximumCalibrationError)}; log loss ${fixed(metrics.logLoss)}; Brier score ${fixed(metrics.brierScoreLoss)}.`}</p>
${scrolled(`Calibration, ${title}`, html`<table><thead><tr><th scope="col">Confidence</th><th scope="col" class="number">Answers</th><th scope="col" class="number">Mean confidence</th><th scope="col" class="number">Right</th></tr></thead><tbody>${rows}</tbody></table>`)}</figure>`;
}
function binRow({ low, high, count, confidence, accuracy }) {
	const [right, sure] = [accuracy ?? 0, confidence ?? 0].map((value) => (100 * value).toFixed(1));
	return html`<tr><th scope="row">${`${Math.round(100 * low)} to ${Math.round(100 * high)} %`}</th><td class="number">${count}</td><td class="number">${percent(confidence)}</td><td class="number"><span class="share-bar" aria-hidden="true"><span style="width: ${right}%"></span><i style="left: ${sure}%"></i></span>${percent(accuracy)}</td></tr>`;
}
// src/report/check-evaluation.ts
function requireSameClasses(before, after, what) {
	if (!before || !after || JSON.stringify(before.classNames) === JSON.stringify(after.classNames)) return;
	const list = ({ classNames }) => `${classNames.slice(0, 20).map(oneLine).join(", ")}${classNames.length > 20 ? `, … ${classNames.length} in all` : ""}`;
	throw new DataError(`${what}: expected evaluations of the same classes, got [${list(before)}] and [${list(after)}]`, { hint: "Evaluate both models with the same `classNames`, in the same order." });
}
// src/report/class-section.ts
function classSection(before, after, names) {
	const report = after ?? before;
	const earlier = before && after ? before : void 0;
	const rows = report.perClass.map(({ support, precision, recall, f1 }, label) => {
		const was = earlier?.perClass[label]?.recall;
		const cell = (text, value) => html`<td class="number" data-value="${value}">${text}</td>`;
		return html`<tr><th scope="row"><bdi>${names[label]}</bdi></th>${cell(support, support)}${was !== void 0 && cell(percent(was), was)}<td class="number" data-value="${recall}">${bar(recall, was)}${percent(recall)}</td>${was !== void 0 && cell(points(was, recall), recall - was)}${cell(percent(precision), precision)}${cell(fixed(f1), f1)}</tr>`;
	});
	const heads = [
		"Samples",
		...earlier ? [
			"Recall before",
			"Recall after",
			"Change, pp"
		] : ["Recall"],
		"Precision",
		"F1"
	];
	const head = (text, name) => html`<th scope="col" class="${name}"><button type="button">${text}<span class="arrow" aria-hidden="true"></span></button></th>`;
	return section("classes", "Classes", [html`<p class="quiet on-screen">A heading sorts the table. Recall is the share of a class that is found; precision the share of right ones among the answers that name it.${earlier && " The mark in a bar is the recall before."}</p>`, scrolled("Classes", html`<table class="sortable"><thead><tr>${head("Class", "")}${heads.map((text) => head(text, "number"))}</tr></thead><tbody>${rows}</tbody></table>`, names.length > 30)]);
}
function bar(value, before) {
	return html`<span class="share-bar" aria-hidden="true"><span style="width: ${(100 * value).toFixed(1)}%"></span>${before !== void 0 && html`<i style="left: ${(100 * before).toFixed(1)}%"></i>`}</span>`;
}
const CLASS_STYLES = `
.sortable thead { position: sticky; top: 0; z-index: 2; background: var(--page); }
.sortable th button { border: 0; padding: 0.2rem; background: none; color: inherit; font-weight: 600; cursor: pointer; text-align: inherit; }
.sortable th .arrow::after { content: ' ↕'; color: var(--quiet); }
.sortable th[aria-sort="ascending"] .arrow::after { content: ' ↑'; }
.sortable th[aria-sort="descending"] .arrow::after { content: ' ↓'; }
.sortable tbody th { font-weight: normal; max-width: 20rem; }
.share-bar { float: left; position: relative; width: 5rem; height: 0.75rem; margin: 0.4rem 0.75rem 0 0;
  background: var(--mark); border: 1px solid var(--edge); border-radius: 2px; print-color-adjust: exact; }
.share-bar span { position: absolute; inset: 0 auto 0 0; background: var(--series-1); print-color-adjust: exact; }
.share-bar i { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1px; background: var(--text); box-shadow: 0 0 0 1px var(--page); print-color-adjust: exact; }
.tall { max-height: 34rem; overflow: auto; }
@media (max-width: 40rem) { .share-bar, .sortable th:not([aria-sort]) .arrow { display: none; } .sortable th button { padding: 0.2rem 0; min-width: 1.5rem; min-height: 1.5rem; } }
@media print { .tall { max-height: none; } .sortable th .arrow { display: none; } .sortable thead { position: static; } }
`;
const SORT_PROGRAM = `
(() => {
  'use strict';
  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const collator = new Intl.Collator(undefined, { numeric: true });
    heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const isDown = head.getAttribute('aria-sort') === 'ascending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
      const compare = (a, b) => {
        const [first, second] = [a.cells[column], b.cells[column]];
        return first.dataset.value === undefined
          ? collator.compare(first.textContent, second.textContent)
          : Number(first.dataset.value) - Number(second.dataset.value);
      };
      const rows = [...body.rows].sort(compare);
      body.append(...(isDown ? rows.reverse() : rows));
    }));
  }
})();
`;
// src/report/confusion-section.ts
const MAX_CLASSES = 40;
const SIDE_BY_SIDE = 12;
const MAX_PAIRS = 20;
function confusionSection(before, after, names) {
	const last = after ?? before;
	const both = [...before ? [{
		title: "Before training",
		report: before
	}] : [], ...after ? [{
		title: "After training",
		report: after
	}] : []];
	const isPart = names.length > MAX_CLASSES;
	const shown = isPart ? mostConfused(last.confusion, MAX_CLASSES) : names.map((_, i) => i);
	const matrices = both.map(({ title, report }) => matrix(title, report.confusion, shown, names));
	const isWide = shown.length > SIDE_BY_SIDE;
	return section("confusion", "Confusion", [
		isPart && html`<p>${`The ${shown.length} of ${names.length} classes with the most wrong answers${both.length > 1 ? " after training" : ""}; answers of other classes are counted in one column.`}</p>`,
		matrixChoice(),
		html`<div class="${isWide ? "matrices wide" : "matrices"}">${matrices}</div>`,
		pairList(before && after ? before : void 0, last, names)
	]);
}
function matrix(title, { counts, unparsed }, shown, names) {
	const isPart = shown.length < names.length;
	const hasUnparsed = unparsed.some((count) => count > 0);
	const sum = (values) => values.reduce((a, b) => a + b, 0);
	const values = shown.map((r) => {
		const row = shown.map((c) => counts[r][c]);
		return [
			...row,
			...isPart ? [sum(counts[r]) - sum(row)] : [],
			...hasUnparsed ? [unparsed[r]] : []
		];
	});
	const rowNames = shown.map((label) => names[label]);
	return matrixTable({
		caption: title,
		rowTitle: "true class",
		columnTitle: "answer",
		rowNames,
		columnNames: [
			...rowNames,
			...isPart ? ["(other classes)"] : [],
			...hasUnparsed ? ["(no class)"] : []
		],
		values
	});
}
function pairList(before, { confusion, perClass }, names) {
	const pairs = confusion.counts.flatMap((row, r) => [...row, confusion.unparsed[r]].flatMap((count, c) => r !== c && count > 0 ? [{
		r,
		c,
		count
	}] : []));
	if (pairs.length === 0) return void 0;
	const top = pairs.sort((a, b) => b.count - a.count || a.r - b.r).slice(0, MAX_PAIRS);
	const earlier = (r, c) => before.confusion.counts[r][c] ?? before.confusion.unparsed[r];
	const rows = top.map(({ r, c, count }) => html`<tr><th scope="row"><bdi>${names[r]}</bdi></th><td><bdi>${names[c] ?? "(no class)"}</bdi></td>${before && html`<td class="number">${earlier(r, c)}</td>`}<td class="number">${count}</td><td class="number">${percent(count / perClass[r].support)}</td></tr>`);
	const more = pairs.length - top.length;
	return html`<h3>Most frequent mistakes</h3>${scrolled("Most frequent mistakes", html`<table><thead><tr><th scope="col">True class</th><th scope="col">Answered as</th>${before && html`<th scope="col" class="number">Before</th>`}<th scope="col" class="number">${before ? "After" : "Samples"}</th><th scope="col" class="number">Share of the class</th></tr></thead><tbody>${rows}</tbody></table>`)}${more > 0 && html`<p class="quiet">${`${more} pairs that are rarer are left out.`}</p>`}`;
}
// src/report/paired-samples.ts
function pairSamples(report, before) {
	const earlier = new Map();
	for (const sample of before?.samples ?? []) {
		const same = earlier.get(sample.id);
		if (same) same.push(sample);
		else earlier.set(sample.id, [sample]);
	}
	const seen = new Map();
	return report.samples.map((sample) => {
		const place = seen.get(sample.id) ?? 0;
		seen.set(sample.id, place + 1);
		const found = earlier.get(sample.id)?.[place];
		const other = found?.expected === sample.expected ? found : void 0;
		return {
			sample,
			before: other,
			isRight: sample.predicted === sample.expected,
			wasRight: other && other.predicted === other.expected
		};
	});
}
function mistakesOf(pairs) {
	return pairs.filter(({ isRight }) => !isRight).sort(byConfidence);
}
function correctedOf(pairs) {
	const corrected = pairs.filter(({ isRight, wasRight }) => isRight && wasRight === false);
	if (corrected.some(({ sample }) => sample.confidence !== void 0)) return corrected.sort(byConfidence);
	const counts = new Map();
	return corrected.map((pair) => {
		const rank = counts.get(pair.sample.expected) ?? 0;
		counts.set(pair.sample.expected, rank + 1);
		return {
			pair,
			rank
		};
	}).sort((a, b) => a.rank - b.rank || a.pair.sample.expected - b.pair.sample.expected).map(({ pair }) => pair);
}
function byConfidence(a, b) {
	const [first, second] = [a, b].map(({ sample, wasRight }) => (sample.confidence ?? -1) + (wasRight ? 1e-9 : 0));
	return second - first;
}
// src/report/provenance-section.ts
const MAX_ROWS$1 = 200;
function provenanceSection(provenance = {}, config) {
	const origin = originRows(provenance);
	const { adapter, settings } = provenance;
	const tables = [
		origin.length > 0 && scrolled("Origin", rowsTable(origin)),
		config && configTables(config),
		adapter && named("Adapter", adapter),
		settings && named("Model and collator", settings)
	].filter((table) => table !== void 0 && table !== false);
	return tables.length === 0 ? void 0 : section("provenance", "Configuration and origin", tables);
}
function originRows({ dataset, evalDataset, command, ...known }) {
	const set = (data) => data && `${data.samples.toLocaleString("en-US")} samples, fingerprint ${data.digest}`;
	return [
		["Base model", known.baseModel],
		["Its commit", known.baseRevision],
		["Engine", known.engine],
		["Training set", set(dataset)],
		["Evaluation set", set(evalDataset)],
		["ministral-tune", known.version],
		["Node.js", known.node],
		["Command", command],
		["Report made", known.date]
	].flatMap(([name, text]) => text === void 0 || text === "" ? [] : [[name, printable(text)]]);
}
function configTables(config) {
	const defaults = parseSftConfig();
	const isDefault = (name) => JSON.stringify(config[name]) === JSON.stringify(defaults[name]);
	const names = Object.keys(config).filter((name) => config[name] !== void 0);
	const rows = (chosen) => chosen.map((name) => [name, shownSetting(config[name])]);
	const [same, set] = [names.filter(isDefault), names.filter((name) => !isDefault(name))];
	return html`<h3>Training configuration</h3>
${set.length > 0 ? scrolled("Training configuration", rowsTable(rows(set))) : html`<p>All options have their defaults.</p>`}
${same.length > 0 && html`<details><summary>${`${same.length} options with their defaults`}</summary>${scrolled("Defaults", rowsTable(rows(same)))}</details>`}`;
}
function named(title, values) {
	const rows = Object.entries(values).flatMap(([name, value]) => value === null || value === void 0 ? [] : [[name, shownSetting(value)]]);
	if (rows.length === 0) return void 0;
	const more = rows.length - MAX_ROWS$1;
	return html`<details><summary>${title}</summary>${scrolled(title, rowsTable(rows.slice(0, MAX_ROWS$1)))}${more > 0 && html`<p class="quiet">${`${more} more are left out.`}</p>`}</details>`;
}
function rowsTable(rows) {
	return html`<table class="settings"><tbody>${rows.map(([name, text]) => html`<tr><th scope="row">${oneLine(name)}</th><td>${text}</td></tr>`)}</tbody></table>`;
}
// src/report/samples-section.ts
const FIRST_MISTAKES = 10;
const FIRST_CORRECTED = 5;
const MAX_ROWS = 2e3;
function mistakesSection(view) {
	const mistakes = mistakesOf(view.pairs);
	if (mistakes.length === 0) return section("mistakes", "Mistakes", html`<p class="good">${`None: all ${view.pairs.length} answers are right.`}</p>`);
	const invalid = mistakes.filter(({ sample }) => sample.predicted === null).length;
	const lost = mistakes.filter(({ wasRight }) => wasRight === true).length;
	const hasConfidence = mistakes.some(({ sample }) => sample.confidence !== void 0);
	const sentence = [
		`${mistakes.length.toLocaleString("en-US")} of ${counted(view.pairs.length, "answer")} are wrong`,
		...view.isPair ? [`${lost === 0 ? "none" : lost} of them ${lost > 1 ? "were" : "was"} right before`] : [],
		...invalid > 0 ? [`${invalid} ${invalid === 1 ? "is" : "are"} no class`] : []
	];
	const order = hasConfidence ? "The most confident come first; the share behind an answer is its confidence." : lost > 0 ? "Those that were right before come first." : "";
	return section("mistakes", "Mistakes", [
		html`<p>${`${sentence.join("; ")}. ${order}`}</p>`,
		filters(view, mistakes, lost, invalid),
		cards(view, mistakes, FIRST_MISTAKES, 240, "mistakes")
	]);
}
function correctedSection(view) {
	const corrected = correctedOf(view.pairs);
	if (corrected.length === 0) return void 0;
	return section("corrected", "Became right", [html`<p>${`${counted(corrected.length, "answer")} ${corrected.length === 1 ? "was" : "were"} wrong before and ${corrected.length === 1 ? "is" : "are"} right now.`}</p>`, cards(view, corrected, FIRST_CORRECTED, 36, "of these")]);
}
function answersSection(view) {
	const { pairs, names, isPair } = view;
	const hasConfidence = pairs.some(({ sample }) => sample.confidence !== void 0);
	const shown = pairs.slice(0, MAX_ROWS);
	const rows = shown.map(({ sample, before, isRight, wasRight }) => {
		const was = isPair && html`<td>${before ? answer(before, names, wasRight === true) : "–"}</td>`;
		const confidence = hasConfidence && html`<td class="number">${percent(sample.confidence)}</td>`;
		return html`<tr><th scope="row">${oneLine(sample.id)}</th><td>${names[sample.expected]}</td>${was}<td>${answer(sample, names, isRight)}</td>${confidence}</tr>`;
	});
	const heads = [
		"Sample",
		"True class",
		...isPair ? ["Before", "After"] : ["Answer"]
	];
	const table = html`<table class="answers"><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}${hasConfidence && html`<th scope="col" class="number">Confidence</th>`}</tr></thead><tbody>${rows}</tbody></table>`;
	const more = pairs.length - shown.length;
	return section("answers", "All answers", [html`<details><summary>${counted(shown.length, "sample")}</summary>${scrolled("All answers", table, true)}</details>`, more > 0 && html`<p class="quiet">${`${more.toLocaleString("en-US")} more are left out of this page.`}</p>`]);
}
function answer(sample, names, isRight) {
	const text = sample.predicted === null ? `no class: ${shownAnswer(sample.answer)}` : names[sample.predicted];
	return html`<span class="${isRight ? "good" : "bad"}"><span aria-hidden="true">${isRight ? "✓" : "✗"}</span><span class="hidden">${isRight ? "right:" : "wrong:"}</span> <bdi>${text}</bdi></span>`;
}
function filters({ names, isPair }, mistakes, lost, invalid) {
	const kinds = [
		...isPair && lost > 0 ? [["lost", `right before (${lost})`]] : [],
		...isPair && lost < mistakes.length ? [["kept", `wrong before too (${mistakes.length - lost})`]] : [],
		...invalid > 0 ? [["invalid", `no class (${invalid})`]] : []
	];
	const counts = new Map();
	for (const { sample } of mistakes) counts.set(sample.expected, (counts.get(sample.expected) ?? 0) + 1);
	const classes = [...counts].sort(([a], [b]) => a - b).map(([label, count]) => [String(label), `${names[label]} (${count})`]);
	const choice = (name, label, options) => html`<label>${label} <select data-filter="${name}"><option value="">all</option>${options.map(([value, text]) => html`<option value="${value}">${text}</option>`)}</select></label>`;
	return html`<div class="filters on-screen">${kinds.length > 0 && choice("kind", "Kind", kinds)}${classes.length > 1 && choice("label", "True class", classes)}<span class="quiet" role="status"></span></div>`;
}
function cards(view, samples, open, most, what) {
	const shown = samples.slice(0, most);
	const [first, rest] = [shown.slice(0, open), shown.slice(open)];
	const without = shown.filter(({ sample }) => !view.images.has(sample.id)).length;
	const notes = [...samples.length > shown.length ? [`${samples.length - shown.length} more are in the table of all answers only.`] : [], ...view.images.size > 0 && without > 0 ? [`${without} of those shown are without an image.`] : []];
	return html`<div class="cards samples">${first.map((one) => card$1(view, one))}</div>${rest.length > 0 && html`<details class="more"><summary>${`${rest.length} more ${what}`}</summary><div class="cards samples">${rest.map((one) => card$1(view, one))}</div></details>`}${notes.length > 0 && html`<p class="quiet">${notes.join(" ")}</p>`}`;
}
function card$1({ names, images, isPair }, { sample, before, isRight, wasRight }) {
	const image = images.get(sample.id);
	const kinds = [...wasRight === true ? ["lost"] : ["kept"], ...sample.predicted === null ? ["invalid"] : []];
	const answerRow = (title, one, isGood) => {
		const mark = html`<dt>${title}</dt><dd>${answer(one, names, isGood)}${one.confidence !== void 0 && html` <span class="quiet">${percent(one.confidence, 0)}</span>`}</dd>`;
		const saysMore = one.predicted !== null && one.answer.trim() !== "" && one.answer.trim() !== names[one.predicted];
		return html`${mark}${saysMore && html`<dd class="quiet said">“<bdi>${shownAnswer(one.answer)}</bdi>”</dd>`}`;
	};
	return html`<article class="card" data-label="${sample.expected}" data-kind="${kinds.join(" ")}">
${image ? html`<img src="${image.uri}" alt="${`Image of sample ${fileName(sample.id)}, true class ${names[sample.expected]}`}" decoding="async">` : images.size > 0 && html`<p class="no-image quiet">no image here</p>`}
<dl><dt>True</dt><dd><bdi>${names[sample.expected]}</bdi></dd>${isPair && before && answerRow("Before", before, wasRight === true)}${answerRow(isPair ? "After" : "Answer", sample, isRight)}</dl>
<p class="quiet id" title="${oneLine(sample.id)}">${fileName(sample.id)}</p>
</article>`;
}
const SAMPLE_STYLES = `
.cards.samples { grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); margin-top: 0.75rem; }
.samples .card { padding: 0.5rem 0.75rem; display: flex; flex-direction: column; }
.samples img, .samples .no-image { display: block; width: 100%; height: 11rem; object-fit: contain; background: #000; border-radius: 0.25rem; }
.samples .no-image { display: grid; place-items: center; margin: 0; background: var(--mark); color: var(--text); }
.samples dl { margin: 0.5rem 0 0; display: grid; grid-template-columns: max-content 1fr; gap: 0 0.6rem; }
.samples dt { color: var(--quiet); }
.samples dd { margin: 0; grid-column: 2; min-width: 0; }
.samples .said { font-size: 0.875rem; max-height: 6rem; overflow-y: auto; }
.samples .id { margin: auto 0 0; padding-top: 0.25rem; font-size: 0.8125rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.filters { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: center; }
.filters label { display: inline-flex; gap: 0.4rem; align-items: center; max-width: 100%; }
.filters select { max-width: min(20rem, 60vw); min-height: 2rem; }
.answers th[scope="row"] { font-weight: normal; }
@media (max-width: 40rem) {
  .cards.samples { gap: 0.5rem; }
  .samples .card { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: 0 0.75rem; align-items: start; }
  .samples .card:not(:has(img, .no-image)) { display: block; }
  .samples img, .samples .no-image { height: 7rem; grid-row: span 2; }
  .samples dl { margin: 0; gap: 0 0.4rem; font-size: 0.875rem; }
  .samples .id { grid-column: 2; }
}
@media print { .samples img { height: 10rem; } .cards.samples { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 0.5rem; } }
`;
const SAMPLE_PROGRAM = `
(() => {
  'use strict';
  const filters = document.querySelector('.filters');
  if (filters === null) return;
  const section = filters.closest('section');
  const cards = [...section.querySelectorAll('.card')];
  const choices = [...filters.querySelectorAll('select')];
  const status = filters.querySelector('[role="status"]');
  filters.addEventListener('change', () => {
    let shown = 0;
    for (const card of cards) {
      const fits = ({ dataset, value }) => value === '' || card.dataset[dataset.filter].split(' ').includes(value);
      card.hidden = !choices.every(fits);
      if (!card.hidden) shown++;
    }
    const isChosen = choices.some(({ value }) => value !== '');
    status.textContent = isChosen ? shown + ' of ' + cards.length + ' shown' : '';
    for (const more of section.querySelectorAll('details.more')) if (isChosen) more.open = true;
  });
})();
`;
// src/report/summary-section.ts
function summarySection(parts) {
	const { before, after, others = [], training } = parts;
	const cards = [...after || before ? evaluationCards(before, after) : [], ...training ? trainingCards(training) : []];
	if (cards.length === 0 && others.length === 0) return void 0;
	return section("summary", "Summary", [
		html`<div class="cards figures">${cards}</div>`,
		before && after ? pairedText(before, after) : void 0,
		before || after ? scrolled("Metrics", metricsTable(before, after)) : void 0,
		others.length > 0 ? scrolled("Other splits", splitsTable(parts, others)) : void 0,
		training?.warnings && training.warnings.length > 0 ? warningList(training.warnings) : void 0
	]);
}
function card(title, figure, lines) {
	const texts = lines.filter((line) => line !== false && line !== void 0);
	return html`<div class="card"><h3>${title}</h3><p class="figure">${figure}</p>${texts.map((line) => html`<p class="quiet">${line}</p>`)}</div>`;
}
function evaluationCards(before, after) {
	const report = after ?? before;
	const pair = before && after;
	const { low, high } = report.accuracyInterval;
	const part = report.count < report.datasetLength ? ` of ${report.datasetLength.toLocaleString("en-US")}` : "";
	const invalid = invalidOf(report);
	return [
		card("Accuracy", pair ? change(percent(before.accuracy), percent(after.accuracy)) : percent(report.accuracy), [
			pair && `${points(before.accuracy, after.accuracy)} percentage points`,
			`95 % interval ${percent(low)} to ${percent(high)}`,
			`${report.correct.toLocaleString("en-US")} of ${report.count.toLocaleString("en-US")} samples right${part && ` (${part.trim()} in the data set)`}`
		]),
		card("Macro F1", pair ? change(fixed(before.macroF1), fixed(after.macroF1)) : fixed(report.macroF1), [
			pair && signed((after.macroF1 - before.macroF1).toFixed(3), after.macroF1 - before.macroF1),
			report.intervals && intervalText(report.intervals.macroF1, report.intervals.confidenceLevel, fixed),
			`${counted(report.classNames.length, "class").replace("classs", "classes")}`
		]),
		card("Answers that are no class", pair ? change(String(invalidOf(before)), String(invalid)) : String(invalid), [`${percent(report.count === 0 ? 0 : invalid / report.count)} of the answers${pair ? " after training" : ""}`, ANSWER_MODES[report.mode ?? "free"]])
	];
}
const ANSWER_MODES = {
	free: "Answers are free text.",
	constrained: "Answers can be class names only.",
	scored: "The most probable class counts."
};
function change(before, after) {
	return html`<span class="quiet">${before}</span> <span aria-hidden="true">→</span><span class="hidden">to</span> ${after}`;
}
function intervalText({ low, high }, level, format) {
	return `${Math.round(100 * level)} % interval ${format(low)} to ${format(high)}`;
}
function trainingCards({ logs, evaluations, steps = [], ...known }) {
	const [first, last] = [logs[0], logs.at(-1)];
	if (!first || !last) return [];
	const done = Math.max(last.step, steps.at(-1)?.step ?? 0, known.stepsDone ?? 0);
	const epochs = last.step > 0 ? last.epoch * done / last.step : last.epoch;
	const finite = (value) => Number.isFinite(value) ? value : 0;
	const [totalSteps, samples, trainableParameters] = [
		known.totalSteps,
		known.samples,
		known.trainableParameters
	].map((value) => typeof value === "number" ? value : void 0);
	const seconds = logs.reduce((sum, entry) => sum + finite(entry.seconds), 0);
	const tokens = logs.reduce((sum, entry) => sum + finite(entry.tokensPerSecond) * finite(entry.seconds), 0);
	const peak = logs.reduce((most, entry) => Math.max(most, finite(entry.peakMemoryBytes)), 0);
	const best = evaluations.map(({ evalLoss }) => evalLoss).filter(Number.isFinite);
	return [
		card("Training loss", first === last ? fixed(last.loss) : change(fixed(first.loss), fixed(last.loss)), [first === last ? `step ${last.step}` : `step ${first.step} to step ${last.step}`, best.length > 0 && `evaluation loss ${fixed(best.at(-1))}, lowest ${fixed(Math.min(...best))}`]),
		card("Steps", totalSteps !== void 0 && totalSteps !== done ? `${done} of ${totalSteps}` : String(done), [`${fixed(epochs, 2)} epochs${samples === void 0 ? "" : ` of ${counted(samples, "sample")}`}`, trainableParameters !== void 0 && `${counted(trainableParameters, "trainable parameter")}`]),
		card("Time in steps", duration(seconds), [seconds > 0 && `${Math.round(tokens / seconds).toLocaleString("en-US")} tokens a second`, peak > 0 && `peak memory ${formatBytes(peak)}`])
	];
}
function pairedText(before, after) {
	const { paired, mismatched, gained, lost, pValue, accuracyDeltaInterval } = compareSamples(before, after);
	const others = mismatched > 0 ? ` ${counted(mismatched, "sample")} of the same id, but with another true class, ${mismatched === 1 ? "is" : "are"} left out: the evaluations may be of other data.` : "";
	if (paired === 0) return html`<p>${`The evaluations share no samples, so the difference cannot be tested.${others}`}</p>`;
	const p = pValue < .001 ? "p < 0.001" : `p = ${pValue.toFixed(3)}`;
	const range = `${points(0, accuracyDeltaInterval.low)} to ${points(0, accuracyDeltaInterval.high)}`;
	const [was, is] = [before, after].map(({ mode }) => ANSWER_MODES[mode ?? "free"]);
	const modes = was === is ? "" : ` Before: ${was} After: ${is}`;
	return html`<p>${`Of ${paired.toLocaleString("en-US")} samples in both evaluations, `}<strong class="good">${`${gained} became right`}</strong> and <strong class="bad">${`${lost} became wrong`}</strong>${` (McNemar's exact test: ${p}). The accuracy changed by ${range} percentage points, with 95 % confidence.${modes}${others}`}</p>`;
}
const METRICS = [
	{
		name: "Accuracy",
		value: (r) => r.accuracy,
		kind: "share",
		interval: (r) => r.accuracyInterval
	},
	{
		name: "Balanced accuracy",
		value: (r) => r.balancedAccuracy,
		kind: "share",
		interval: (r) => r.intervals?.balancedAccuracy
	},
	{
		name: "Macro F1",
		value: (r) => r.macroF1,
		kind: "number",
		interval: (r) => r.intervals?.macroF1
	},
	{
		name: "Weighted F1",
		value: (r) => r.weightedF1,
		kind: "number",
		interval: (r) => r.intervals?.weightedF1
	},
	{
		name: "Matthews correlation",
		value: (r) => r.matthewsCorrcoef,
		kind: "number"
	},
	...[
		1,
		2,
		4
	].map((k) => ({
		name: `Top-${k + 1} accuracy`,
		value: (r) => (r.classNames?.length ?? 0) > k + 1 ? r.probabilities?.topKAccuracy[k] : void 0,
		kind: "share"
	})),
	{
		name: "Log loss",
		value: (r) => r.probabilities?.logLoss,
		kind: "number"
	},
	{
		name: "Calibration error (ECE)",
		value: (r) => r.probabilities?.expectedCalibrationError,
		kind: "share"
	},
	{
		name: "Answers that are no class",
		value: (r) => r.confusion && invalidOf(r),
		kind: "count"
	}
];
function metricsTable(before, after) {
	const report = after ?? before;
	const isPair = before !== void 0 && after !== void 0;
	const rows = METRICS.flatMap(({ name, value, kind, interval }) => {
		const now = value(report);
		if (now === void 0 || now === null) return [];
		const was = isPair ? value(before) : void 0;
		const format = (one) => kind === "share" ? percent(one) : kind === "count" ? String(one ?? "–") : fixed(one);
		const range = interval?.(report);
		const difference = was === void 0 || was === null ? void 0 : now - was;
		const changed = difference === void 0 ? "–" : kind === "share" ? `${points(was, now)} pp` : signed(kind === "count" ? String(difference) : difference.toFixed(3), difference);
		return html`<tr><th scope="row">${name}</th>${isPair && html`<td class="number">${format(was)}</td>`}<td class="number">${format(now)}</td>${isPair && html`<td class="number">${changed}</td>`}<td class="number">${range ? `${format(range.low)} to ${format(range.high)}` : ""}</td></tr>`;
	});
	return html`<table><thead><tr><th scope="col">Metric</th>${(isPair ? [
		"Before",
		"After",
		"Change"
	] : [after ? "After" : "Before"]).map((head) => html`<th scope="col" class="number">${head}</th>`)}<th scope="col" class="number">95 % interval</th></tr></thead>
<tbody>${rows}</tbody></table>${isPair && html`<p class="quiet">Changes of shares are in percentage points (pp). Intervals are those of the evaluation after training.</p>`}`;
}
function invalidOf(report) {
	return report.invalid ?? report.confusion?.unparsed.reduce((a, b) => a + b, 0) ?? 0;
}
function splitsTable({ before, after }, others) {
	const rows = [...before || after ? [{
		name: "test split",
		before,
		after
	}] : [], ...others].map(({ name, before: was, after: is }) => {
		const report = is ?? was;
		const { low, high } = report?.accuracyInterval ?? {
			low: NaN,
			high: NaN
		};
		return html`<tr><th scope="row">${oneLine(name)}</th><td class="number">${report?.count.toLocaleString("en-US")}</td><td class="number">${percent(was?.accuracy)}</td><td class="number">${percent(is?.accuracy)}</td><td class="number">${was && is ? `${points(was.accuracy, is.accuracy)} pp` : "–"}</td><td class="number">${`${percent(low)} to ${percent(high)}`}</td><td class="number">${fixed(report?.macroF1)}</td></tr>`;
	});
	return html`<table><thead><tr><th scope="col">Split</th>${[
		"Samples",
		"Accuracy before",
		"Accuracy after",
		"Change",
		"95 % interval",
		"Macro F1"
	].map((head) => html`<th scope="col" class="number">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table>`;
}
const MAX_WARNINGS$1 = 50;
function warningList(warnings) {
	const more = warnings.length - MAX_WARNINGS$1;
	return html`<details><summary class="warn">${counted(warnings.length, "warning")} of the training</summary><ul>${warnings.slice(0, MAX_WARNINGS$1).map(({ message }) => html`<li>${printable(message).slice(0, 2e3)}</li>`)}</ul>${more > 0 && html`<p class="quiet">${`${more} more are in the log.`}</p>`}</details>`;
}
// src/report/training-section.ts
const STEP = "optimizer step";
const MAX_METRICS = 12;
function trainingSection(course) {
	const [logs, evaluations, steps] = [
		ordered(course.logs),
		ordered(course.evaluations),
		ordered(course.steps ?? [])
	];
	const fine = steps.length > 0 ? steps : logs;
	if (fine.length === 0 && evaluations.length === 0) return void 0;
	const charts = [
		lossChart(fine, evaluations),
		...metricCharts(evaluations),
		...curves(fine, STEP_CURVES),
		...curves(logs, LOG_CURVES)
	];
	return section("training", "Training", html`<div class="charts">${charts.map((chart) => lineChart(chart))}</div>`);
}
function lossChart(logs, evaluations) {
	const x = [...new Set([...logs, ...evaluations].map(({ step }) => step))].sort((a, b) => a - b);
	const at = (entries, value) => {
		const byStep = new Map(entries.map((entry) => [entry.step, finite(value(entry))]));
		return x.map((step) => byStep.get(step) ?? null);
	};
	const training = {
		name: "training",
		values: at(logs, (entry) => entry.loss),
		color: 1,
		canSmooth: true
	};
	const evaluation = {
		name: "evaluation",
		values: at(evaluations, (entry) => entry.evalLoss),
		color: 2,
		isSparse: true
	};
	const series = [...logs.length > 0 ? [training] : [], ...evaluations.length > 0 ? [evaluation] : []];
	return {
		title: "Loss",
		x,
		xLabel: STEP,
		series,
		canLog: true,
		note: "Loss per labelled token, in nats."
	};
}
function metricCharts(evaluations) {
	const names = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics ?? {})))].slice(0, MAX_METRICS);
	const x = evaluations.map(({ step }) => step);
	return names.map((name) => {
		const values = evaluations.map(({ metrics }) => finite(metrics?.[name]));
		return {
			title: oneLine(name),
			x,
			xLabel: STEP,
			series: [{
				name: oneLine(name),
				values,
				color: 2,
				isSparse: true
			}]
		};
	});
}
const STEP_CURVES = [{
	title: "Learning rate",
	lines: [["learning rate", (entry) => entry.learningRate]]
}, {
	title: "Gradient norm",
	lines: [["gradient norm", (entry) => entry.gradNorm]],
	canLog: true,
	canSmooth: true,
	note: "L2 norm of all gradients before clipping."
}];
const LOG_CURVES = [
	{
		title: "Throughput",
		lines: [["tokens a second", (entry) => entry.tokensPerSecond]],
		note: "Evaluation and saving left out."
	},
	{
		title: "Use of time and engine",
		unit: "share",
		lines: [
			["waiting for data", (entry) => entry.dataWaitShare],
			["of the engine’s rate in products", (entry) => entry.modelFlopsUtilization],
			["tokens of shared prefixes", (entry) => entry.sharedTokenShare]
		]
	},
	{
		title: "Memory of the engine",
		unit: "bytes",
		lines: [["between steps", (entry) => entry.memoryBytes], ["peak so far", (entry) => entry.peakMemoryBytes]]
	}
];
function curves(entries, charts) {
	const x = entries.map(({ step }) => step);
	return charts.flatMap(({ lines, canSmooth, ...chart }) => {
		const series = lines.flatMap(([name, value], i) => {
			const values = entries.map((entry) => finite(value(entry)));
			return values.some((one) => one !== null) ? [{
				name,
				values,
				color: i + 1,
				canSmooth
			}] : [];
		});
		return series.length === 0 ? [] : [{
			...chart,
			x,
			xLabel: STEP,
			series
		}];
	});
}
function ordered(entries) {
	return entries.filter(({ step }) => Number.isFinite(step)).sort((a, b) => a.step - b.step);
}
function finite(value) {
	return typeof value === "number" && Number.isFinite(value) ? value : null;
}
// src/report/run-report.ts
const PARTS = {
	title: false,
	description: false,
	before: false,
	after: false,
	others: false,
	images: false,
	training: false,
	audit: false,
	masks: false,
	provenance: false
};
function renderRunReport(parts) {
	checkNames(parts, PARTS, "renderRunReport");
	checkReports(parts);
	if (parts.masks !== void 0) requireMaskView(parts.masks, "renderRunReport: `masks`");
	const { title = "Training run", description, provenance } = parts;
	const sections = sectionsOf(parts);
	const date = provenance?.date?.slice(0, 16).replace("T", " ");
	const body = html`<header><h1>${oneLine(title)}</h1>${description !== void 0 && html`<p>${printable(description)}</p>`}${date !== void 0 && html`<p class="quiet">${`${date} UTC`}</p>`}</header>
<nav aria-label="Sections" class="on-screen"><ul>${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
${sections.length === 0 && html`<p>There is nothing to report.</p>`}
${sections.map((section) => section.body)}`;
	return renderPage({
		title: oneLine(title),
		body,
		styles: [
			...CHART_STYLES,
			MATRIX_STYLES,
			SAMPLE_STYLES,
			CLASS_STYLES,
			AUDIT_STYLES,
			MASK_STYLES,
			REPORT_STYLES
		],
		scripts: [
			...parts.training ? CHART_SCRIPTS : [],
			MATRIX_PROGRAM,
			SAMPLE_PROGRAM,
			SORT_PROGRAM
		]
	});
}
function sectionsOf(parts) {
	const { before, after, training, audit, masks, provenance } = parts;
	const report = after ?? before;
	const names = report ? distinctNames(report.classNames) : [];
	const view = report && {
		pairs: pairSamples(report, after && before),
		names,
		images: parts.images ?? new Map(),
		isPair: after !== void 0 && before !== void 0
	};
	const audited = audit && ("report" in audit ? audit : { report: audit });
	return [
		summarySection(parts),
		view && mistakesSection(view),
		view && correctedSection(view),
		report && confusionSection(before, after, names),
		report && classSection(before, after, names),
		calibrationSection(before, after),
		training && trainingSection(training),
		audited && {
			id: "audit",
			title: "Data",
			body: auditSection(audited.report, { thumbnails: audited.thumbnails })
		},
		masks && {
			id: "masks",
			title: "What is learned",
			body: html`<div id="masks">${maskSection(masks)}</div>`
		},
		provenanceSection(provenance, training?.config),
		view && answersSection(view)
	].filter((section) => section !== void 0);
}
function checkReports({ before, after, others }) {
	const what = "renderRunReport";
	const pairs = [{
		name: "",
		before,
		after
	}, ...others ?? []];
	for (const [i, pair] of pairs.entries()) {
		const place = i === 0 ? "" : `others[${i - 1}].`;
		for (const name of ["before", "after"]) {
			const report = pair[name];
			if (report !== void 0) requireReport(report, `${what}: \`${place}${name}\``);
		}
		requireSameClasses(pair.before, pair.after, what);
	}
}
const REPORT_STYLES = `
header h1 { margin: 0.5rem 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin: 0; padding: 0.5rem 0; list-style: none; }
nav a { display: inline-block; padding: 0.25rem 0; }
section { margin-top: 2.5rem; }
section h2 { border-bottom: 1px solid var(--line); padding-bottom: 0.25rem; }
summary { cursor: pointer; padding: 0.25rem 0; }
.figures .card h3 { margin: 0; font-size: 1rem; }
.figures .card p { margin: 0; }
.figures .figure { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures { grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.reliability { min-width: 0; }
.reliability figcaption { font-weight: 600; }
.settings th { font-weight: normal; color: var(--quiet); vertical-align: top; }
.settings td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
@media print { #provenance details::details-content { content-visibility: visible; block-size: auto; }
  section { margin-top: 1rem; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; } }
`;
// src/report/event-course.ts
const MAX_BYTES = 536870912;
async function readEvents(path) {
	const bytes = await readRegularFile(path, MAX_BYTES);
	const events = bytes.toString().split("\n").flatMap(eventOf);
	if (events.length > 0 || bytes.length === 0) return events;
	throw new DataError(`${path} holds no events of a run`, {
		hint: "Give the file that the callback `jsonLines` wrote.",
		details: { path }
	});
}
function eventOf(line) {
	try {
		const event = line.trim() === "" ? void 0 : JSON.parse(line);
		return isObject(event) && typeof event["type"] === "string" && typeof event["step"] === "number" ? [event] : [];
	} catch {
		return [];
	}
}
function courseOfEvents(events) {
	let logs = [];
	let evaluations = [];
	let steps = [];
	let warnings = [];
	let start;
	let stepsDone;
	for (const event of events) {
		if (event.type === "end") stepsDone = event.step;
		if (event.type === "log") logs.push(event);
		else if (event.type === "evaluate") evaluations.push(event);
		else if (event.type === "warning") warnings.push({
			step: event.step,
			message: String(event.message)
		});
		else if (event.type === "step") {
			const { step, loss, gradNorm, learningRate } = event;
			steps.push({
				step,
				loss,
				gradNorm,
				learningRate
			});
		} else if (event.type === "start") {
			const known = ({ step }) => step <= event.step;
			[logs, evaluations, steps] = [
				logs.filter(known),
				evaluations.filter(known),
				steps.filter(known)
			];
			warnings = event.step === 0 ? [] : warnings;
			start = event;
		}
	}
	return {
		logs,
		evaluations,
		steps,
		warnings,
		...stepsDone !== void 0 && { stepsDone },
		...start && {
			...isObject(start.config) && { config: start.config },
			totalSteps: start.totalSteps,
			samples: start.samples,
			trainableParameters: start.trainableParameters
		}
	};
}
// src/report/read-run.ts
const HISTORY_FILE = "train-log.jsonl";
const EVENTS_FILE = "events.jsonl";
const STATE_FILE = "trainer-state.json";
const ADAPTER_FILE = "adapter_config.json";
const MAX_STATE_BYTES = 134217728;
async function readRun(folder, given) {
	await requireFolder(folder);
	const warnings = [];
	const attempt = async (path, read) => {
		if (!await exists(path)) return void 0;
		return read().catch((error) => {
			warnings.push(warningLine(`left out ${path}: ${reasonOf(error)}`));
		});
	};
	const history = await attempt(join(folder, HISTORY_FILE), () => readHistory(join(folder, HISTORY_FILE)));
	const eventsFile = typeof given === "string" ? given : join(folder, EVENTS_FILE);
	const events = given === void 0 ? await attempt(eventsFile, () => readEvents(eventsFile)) : typeof given === "string" ? await readEvents(given) : given;
	const checkpoint = await isCheckpoint(folder) ? folder : (await listCheckpoints(folder)).at(-1)?.path;
	const statePath = join(checkpoint ?? folder, STATE_FILE);
	const state = await attempt(statePath, () => readFields(statePath, MAX_STATE_BYTES));
	const adapterPath = join(checkpoint ?? folder, ADAPTER_FILE);
	const adapter = await attempt(adapterPath, () => readFields(adapterPath, MAX_CONFIG_BYTES));
	if (!history && !events && !state && warnings.length === 0) throw await noRun(folder);
	const course = events && courseOfEvents(events);
	const logged = state ? logOf(state) : void 0;
	const hasLog = history !== void 0 && history.logs.length + history.evaluations.length > 0;
	const training = {
		...state && settingsOf(state),
		...course,
		...longest([
			hasLog ? history : void 0,
			course,
			logged
		])
	};
	return {
		training: training.logs === void 0 ? void 0 : training,
		provenance: originOf(state, adapter),
		warnings
	};
}
function longest(logs) {
	const size = (log) => log ? log.logs.length + log.evaluations.length : -1;
	const found = logs.reduce((most, log) => size(log) > size(most) ? log : most, void 0);
	return {
		logs: found?.logs ?? [],
		evaluations: found?.evaluations ?? []
	};
}
async function readFields(path, maxBytes) {
	const json = await readJson(path, { maxBytes });
	if (!isObject(json) || Array.isArray(json)) throw new CheckpointError(`${path} is no object of JSON`);
	return json;
}
function logOf(state) {
	const entries = Array.isArray(state["logHistory"]) ? state["logHistory"].filter(isObject) : [];
	const of = (key) => entries.filter((entry) => typeof entry["step"] === "number" && key in entry);
	return {
		logs: of("loss"),
		evaluations: of("evalLoss")
	};
}
function settingsOf({ config, globalStep, totalSteps, dataset, parameters }) {
	const length = isObject(dataset) ? dataset["length"] : void 0;
	const size = (Array.isArray(parameters) ? parameters : []).map((one) => isObject(one) && Array.isArray(one["shape"]) ? one["shape"].reduce((size, edge) => size * Number(edge), 1) : 0).reduce((a, b) => a + b, 0);
	return {
		...isObject(config) && { config },
		...typeof globalStep === "number" && { stepsDone: globalStep },
		...typeof totalSteps === "number" && { totalSteps },
		...typeof length === "number" && { samples: length },
		...size > 0 && { trainableParameters: size }
	};
}
const BASE_MODEL = "model.base";
function originOf(state, adapter) {
	const text = (value) => typeof value === "string" && value !== "" ? value : void 0;
	const settings = isObject(state?.["settings"]) ? state["settings"] : void 0;
	const base = settings?.[BASE_MODEL];
	const found = {
		baseModel: text(adapter?.["base_model_name_or_path"]) ?? text(isObject(base) ? base["name"] : void 0),
		baseRevision: text(adapter?.["revision"]),
		dataset: fingerprint(state?.["dataset"]),
		evalDataset: fingerprint(state?.["evalDataset"]),
		settings,
		adapter
	};
	return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== void 0));
}
function fingerprint(value) {
	if (!isObject(value) || typeof value["length"] !== "number") return void 0;
	const digest = createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
	return {
		samples: value["length"],
		digest
	};
}
async function requireFolder(folder) {
	const found = await stat(folder).catch(() => void 0);
	if (found?.isDirectory()) return;
	throw new DataError(`writeRunReport: expected the folder of a run, ${folder} ${found ? "is a file" : "does not exist"}`, {
		hint: "Give the `outputDir` of the run, or one of its checkpoints.",
		details: { path: folder }
	});
}
async function noRun(folder) {
	const names = await readdir(folder).catch(() => []);
	const inside = [];
	for (const name of names.slice(0, 100)) if (await exists(join(folder, name, HISTORY_FILE))) inside.push(name);
	const there = inside.length > 0 ? ` There is one in ${join(folder, inside[0])}.` : "";
	return new DataError(`writeRunReport: ${folder} holds no run: neither ${HISTORY_FILE} nor a checkpoint`, {
		hint: `Give the \`outputDir\` of the run.${there} Without a folder: renderRunReport.`,
		details: { path: folder }
	});
}
// src/report/report-images.ts
const AT_A_TIME = 4;
const MAX_WARNINGS = 10;
async function reportImages(before, after, source, { maxImages, maxImageBytes, imageEdge, signal }) {
	const report = after ?? before;
	const pairs = report ? pairSamples(report, after && before) : [];
	const wanted = [...mistakesOf(pairs).slice(0, 240), ...correctedOf(pairs).slice(0, 36)];
	const samples = [...new Map(wanted.map(({ sample }) => [sample.id, sample])).values()];
	const images = new Map();
	const faults = [];
	const find = typeof source === "function" ? source : await finder(source, samples, signal);
	const make = async (sample) => {
		try {
			const input = await find(sample);
			if (input === void 0) return void 0;
			const decoded = await decodeImage(input);
			const { width, height } = decoded;
			return {
				uri: await imageDataUri(decoded, imageEdge),
				width,
				height
			};
		} catch (error) {
			faults.push(warningLine(`no image of sample ${sample.id}: ${reasonOf(error)}`));
			return;
		}
	};
	let bytes = 0;
	let seen = 0;
	let isFull = maxImages === 0;
	while (seen < samples.length && !isFull) {
		signal?.throwIfAborted();
		const some = samples.slice(seen, seen + Math.min(AT_A_TIME, maxImages - images.size));
		const made = await Promise.all(some.map(make));
		for (const [i, image] of made.entries()) {
			isFull ||= bytes + (image?.uri.length ?? 0) > maxImageBytes;
			if (isFull) break;
			seen++;
			if (!image) continue;
			bytes += image.uri.length;
			images.set(some[i].id, image);
		}
		isFull ||= images.size === maxImages;
	}
	const more = faults.length - MAX_WARNINGS;
	const warnings = [...faults.slice(0, MAX_WARNINGS), ...more > 0 ? [`${more} more images cannot be read`] : []];
	return {
		images,
		leftOut: samples.length - seen,
		warnings
	};
}
async function finder(dataset, samples, signal) {
	const wanted = new Set(samples.map(({ id }) => id));
	const found = new Map();
	for (let i = 0; i < dataset.length && found.size < wanted.size; i++) {
		signal?.throwIfAborted();
		const item = await dataset.get(i);
		if (!isObject(item) || !isImage(item["image"])) continue;
		const id = [
			item["path"],
			item["id"],
			String(i)
		].find((name) => typeof name === "string" && wanted.has(name));
		if (id !== void 0 && !found.has(id)) found.set(id, item["image"]);
	}
	return ({ id }) => found.get(id);
}
function isImage(value) {
	return typeof value === "string" || value instanceof Uint8Array || isKind(value, "image");
}
// src/report/write-run-report.ts
const OPTIONS = {
	title: false,
	description: false,
	others: false,
	audit: false,
	masks: false,
	file: false,
	before: false,
	after: false,
	images: false,
	maxImages: false,
	maxImageBytes: false,
	imageEdge: false,
	events: false,
	engine: false,
	command: false,
	signal: false
};
const MAX_REPORT_BYTES = 268435456;
async function writeRunReport(folder, options = {}) {
	requirePath(folder, "writeRunReport");
	checkOptions(options);
	const { title, description, others, audit, masks, signal, images: source } = options;
	const { maxImages = 200, maxImageBytes = 6 * 2 ** 20, imageEdge = 256 } = options;
	signal?.throwIfAborted();
	const before = await evaluationOf(options.before, "before");
	const after = await evaluationOf(options.after, "after");
	const run = await readRun(folder, options.events);
	const pictured = source && await reportImages(before, after, source, {
		maxImages,
		maxImageBytes,
		imageEdge,
		signal
	});
	const text = renderRunReport({
		title,
		description,
		before,
		after,
		others,
		audit,
		masks,
		training: run.training,
		images: pictured?.images,
		provenance: {
			...run.provenance,
			...provenanceOf(options)
		}
	});
	signal?.throwIfAborted();
	const path = options.file ?? join(folder, "report.html");
	await writeNamedFile(path, text, "writeRunReport");
	return {
		path,
		bytes: Buffer.byteLength(text),
		images: pictured?.images.size ?? 0,
		imagesLeftOut: pictured?.leftOut ?? 0,
		warnings: [...run.warnings, ...pictured?.warnings ?? []]
	};
}
function checkOptions(options) {
	const what = "writeRunReport";
	checkNames(options, OPTIONS, what, {
		output: "file",
		path: "file",
		outputfile: "file",
		dataset: "images"
	});
	const { file, images, events, engine, command, signal, ...limits } = options;
	if (file !== void 0) requirePath(file, `${what}: \`file\``);
	if (images !== void 0 && !isKind(images, "dataset")) requireCallback(images, `${what}: \`images\``, "Give the data set that was evaluated, or a function of a sample.");
	for (const name of ["maxImages", "maxImageBytes"]) if (limits[name] !== void 0) requireInteger(limits[name], `${what}: \`${name}\``, 0);
	if (limits.imageEdge !== void 0) requireInteger(limits.imageEdge, `${what}: \`imageEdge\``, 16, 4096);
	if (events !== void 0 && !Array.isArray(events)) requirePath(events, `${what}: \`events\``);
	if (engine !== void 0) requireText(engine, `${what}: \`engine\``, "Give `engine.description`.");
	if (command !== void 0 && command !== null) requireText(command, `${what}: \`command\``);
	requireSignal(signal, what);
}
async function evaluationOf(given, name) {
	if (given === void 0) return void 0;
	let report = given;
	if (typeof given === "string") report = await readJson(given, {
		maxBytes: MAX_REPORT_BYTES,
		maxContainers: 2e7
	}).catch((cause) => {
		throw new DataError(`writeRunReport: \`${name}\`: ${given} cannot be read: ${reasonOf(cause)}`, {
			hint: "Give the file that `writeReport` wrote, or the report itself.",
			details: { path: given },
			cause
		});
	});
	requireKind("report", report, `writeRunReport: \`${name}\``);
	requireReport(report, `writeRunReport: \`${name}\``);
	return report;
}
function provenanceOf({ engine, command }) {
	return {
		date: new Date().toISOString(),
		version: VERSION,
		node: `${process.version} on ${process.platform} ${process.arch}`,
		...engine !== void 0 && { engine },
		...command !== null && { command: redactAddresses(command ?? ownCommand(process.argv)) }
	};
}
const SECRET_OPTION = /^--?[\w-]*(token|secret|passw|api-?key|auth|credential)[\w-]*/i;
function ownCommand(argv) {
	return ["node", ...argv.map((text, i) => {
		if (SECRET_OPTION.exec(text)?.[0] !== void 0 && text.includes("=")) return `${text.slice(0, text.indexOf("="))}=***`;
		const before = argv[i - 1] ?? "";
		if (SECRET_OPTION.test(before) && !before.includes("=") && !text.startsWith("-")) return "***";
		return text.replace(/\b(hf_|KGAT_|sk-|ghp_|github_pat_)[\w-]{8,}/g, "***");
	}).slice(1)].map((text) => /^[\w@%+=:,./*-]+$/.test(text) ? text : JSON.stringify(text)).join(" ");
}
export { renderRunReport, writeRunReport };
