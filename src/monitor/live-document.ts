/** The document of the live page. It holds nothing of the run: all of that comes by the stream. */
import { createHash } from 'node:crypto';
import PROGRAM from '../generated/live-page.js';
import { UPLOT_SCRIPT, UPLOT_STYLES } from '../generated/uplot.js';
import { type Html, html } from '../page/html.js';
import { renderPage } from '../page/page.js';

const STYLES = `
header { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; align-items: baseline; }
header h1 { margin: 0; font-size: 1.5rem; }
.state { margin: 0.5rem 0; padding: 0.5rem 0.75rem; border-left: 0.4rem solid var(--line); background: var(--card); }
.state[data-state=running] { border-color: var(--accent); }
.state[data-state=paused], .state[data-state=stopping], .state[data-state=unknown] { border-color: var(--warn); }
.state[data-state=finished], .state[data-state=stopped] { border-color: var(--good); }
.state[data-state=failed] { border-color: var(--bad); }
#evaluations-note:empty, #connection:empty, #control-message:empty, #token-message:empty, .chart p:empty { display: none; }
#connection { font-weight: 600; }
progress { display: block; width: 100%; height: 1.25rem; accent-color: var(--accent); }
#progress-text { margin: 0.25rem 0 0.75rem; font-variant-numeric: tabular-nums; }
button, select, input[type=password] { font: inherit; min-height: 2.75rem; padding: 0.35rem 1rem; border-radius: 0.5rem;
  border: 1px solid var(--quiet); background: var(--page); color: var(--text); }
button { cursor: pointer; }
button:hover { background: var(--mark); }
button.danger { border-color: var(--bad); color: var(--bad); }
button[aria-disabled=true] { color: var(--quiet); border-color: var(--line); cursor: not-allowed; background: var(--card); }
.row { display: flex; flex-wrap: wrap; gap: 0.5rem 1.25rem; align-items: center; }
.row output { white-space: nowrap; }
#curves-title + .row { margin-bottom: 0.75rem; }
.row label { display: inline-flex; gap: 0.5rem; align-items: center; min-height: 2.75rem; }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; accent-color: var(--accent); }
input[type=range] { accent-color: var(--accent); width: 10rem; max-width: 45vw; }
.values { display: grid; gap: 0.5rem; grid-template-columns: repeat(auto-fill, minmax(8.25rem, 1fr)); margin: 1rem 0; }
.values div { padding: 0.5rem 0.75rem; border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card); }
.values dt { color: var(--quiet); font-size: 0.875rem; }
.values dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
#charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
.chart { min-width: 0; }
.chart.wide { grid-column: 1 / -1; }
.chart h3 { margin: 0; font-size: 1rem; }
.chart p { margin: 0; font-size: 0.875rem; }
.plot { min-height: 12.5rem; overflow: hidden; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; margin: 0.25rem 0; padding: 0; list-style: none; font-size: 0.875rem; }
.swatch { display: inline-block; width: 1.5rem; border-top: 3px solid; vertical-align: middle; }
.swatch { margin-right: 0.35rem; }
.swatch.shade { height: 0.7rem; border: 0; background: var(--quiet); opacity: 0.4; }
.swatch.dashed { border-top-style: dashed; }
.legend .value { font-weight: 600; font-variant-numeric: tabular-nums; }
ul.cards, #notes { padding: 0; list-style: none; }
#samples { grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.cards h3 { margin: 0; font-size: 1rem; }
.cards p, .cards dl { margin: 0.25rem 0; }
.cards dt { color: var(--quiet); font-size: 0.875rem; }
.cards dd { margin: 0 0 0.25rem; white-space: pre-wrap; }
#samples h3 { font-size: 0.875rem; }
#samples img { display: block; width: 100%; height: 11rem; object-fit: contain; background: #000; border-radius: 0.25rem; }
#evaluations { white-space: nowrap; }
#evaluations tbody th[scope=row] { min-width: 0; }
#evaluations th { max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
.note-text { white-space: pre-wrap; }
#notes { max-height: 20rem; overflow-y: auto; }
dialog { max-width: 32rem; border: 1px solid var(--line); border-radius: 0.5rem; background: var(--page); color: var(--text); }
dialog::backdrop { background: rgb(0 0 0 / 0.6); }
.away { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; scroll-behavior: auto; } }
`;

const VALUES = [
  ['step', 'Step'],
  ['epoch', 'Epoch'],
  ['loss', 'Loss, smoothed'],
  ['eval-loss', 'Evaluation loss'],
  ['learning-rate', 'Learning rate'],
  ['throughput', 'Throughput'],
  ['memory', 'Memory'],
  ['waiting', 'Waiting for data'],
] as const;

function body(): Html {
  return html`<noscript><p class="bad">This page needs JavaScript, which the browser has switched off.</p></noscript>
<header><h1 id="title">Training run</h1><span id="about" class="quiet"></span></header>
<div role="status">
<p id="state" class="state">Connecting…</p>
<p id="connection" class="warn"></p>
</div>
<form id="token-form" hidden>
<p>The token stands in the address that the run has printed, behind <code>#token=</code>.</p>
<div class="row"><label>Token <input id="token" type="password" autocomplete="off" required></label>
<button type="submit">Open</button></div>
<p id="token-message" class="bad" role="alert"></p>
</form>
<section aria-label="Progress">
<progress id="progress" max="1" value="0" aria-label="Optimizer steps done"></progress>
<p id="progress-text"></p>
<div id="controls" class="row" hidden>
<button id="hold" type="button" aria-disabled="true">Pause</button>
<button id="stop" type="button" class="danger" aria-disabled="true">Stop and save…</button>
<span id="control-message" class="bad" role="alert"></span>
</div>
<dl class="values">
${VALUES.map(([id, name]) => html`<div><dt>${name}</dt><dd id="value-${id}">–</dd></div>`)}
</dl>
</section>
<section aria-labelledby="curves-title">
<h2 id="curves-title">Curves</h2>
<div class="row">
<label>Smoothing of the loss <input id="smoothing" type="range" min="0" max="10" value="4"
aria-valuetext="16 steps"> <output id="smoothing-value" for="smoothing">16 steps</output></label>
<label><input id="log-scale" type="checkbox"> Logarithmic loss</label>
<label>Show <select id="share"><option value="1">all steps</option><option value="0.5">the last half</option>
<option value="0.1">the last tenth</option></select></label>
</div>
<div id="charts"></div>
<p id="announcement" class="away" aria-live="polite"></p>
</section>
<section id="samples-section" aria-labelledby="samples-title" hidden>
<h2 id="samples-title">Answers</h2>
<ul id="samples" class="cards"></ul>
</section>
<section id="evaluations-section" aria-labelledby="evaluations-title" hidden>
<h2 id="evaluations-title">Evaluations</h2>
<div class="scroll" tabindex="0" role="region" aria-labelledby="evaluations-title"><table id="evaluations"></table></div>
<p id="evaluations-note" class="quiet"></p>
</section>
<section id="notes-section" aria-labelledby="notes-title" hidden>
<h2 id="notes-title">Messages</h2>
<ul id="notes" tabindex="0" aria-labelledby="notes-title"></ul>
</section>
<details>
<summary>Configuration</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Configuration"><table><tbody id="config"></tbody></table></div>
</details>
<dialog id="confirm" aria-labelledby="confirm-title">
<h2 id="confirm-title">Stop the run?</h2>
<p id="confirm-saves">The step under way is given up, a checkpoint of the last whole step is written, and the run ends. It
can be resumed from that checkpoint.</p>
<p id="confirm-loses" hidden>The run ends without a checkpoint, since its <code>saveStrategy</code> is “no”: what it has
learned since the last one is lost.</p>
<div class="row"><button id="confirm-cancel" type="button" autofocus>Go on training</button>
<button id="confirm-stop" type="button" class="danger">Stop</button></div>
</dialog>`;
}

/** The document, and the policy for its header: nothing but its own scripts and styles, and this server. */
interface LiveDocument {
  readonly text: string;
  readonly policy: string;
}

let made: LiveDocument | undefined;

export function liveDocument(): LiveDocument {
  made ??= make();
  return made;
}

function make(): LiveDocument {
  const text = renderPage({
    title: 'Training run',
    body: body(),
    styles: [UPLOT_STYLES, STYLES],
    scripts: [UPLOT_SCRIPT, PROGRAM],
    connect: "'self'",
  });
  const digests = (tag: string): string =>
    [...text.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))]
      .map(([, content]) => `'sha256-${createHash('sha256').update(content!).digest('base64')}'`)
      .join(' ');
  const policy = [
    "default-src 'none'",
    `script-src ${digests('script')}`,
    `style-src ${digests('style')}`,
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  return { text, policy: policy.join('; ') };
}
