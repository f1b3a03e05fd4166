import { h as union, i as boolean, m as string, o as int, p as strictObject, r as array } from "./zod-CVDjCv3S.js";
import { a as parseOptions, b as showValue, f as requireList, g as describeGiven, h as requireText, n as checkNames, o as requirePath, p as requireOptions, t as callback, v as isObject } from "./config-BAD1VLMT.js";
import { S as printable, _ as redact, g as keepSecret, m as reasonOf, n as ConfigError, r as DataError, w as warningLine, x as oneLine, y as redactDeep } from "./errors-D4G-NQir.js";
import { r as writing } from "./disk-errors-BOmEIM_5.js";
import { a as imageDataUri, r as html, t as renderPage } from "./page-D5lZK2q2.js";
import { a as formatDuration, i as guardedOutput, o as fitPieces, t as terminalLine } from "./terminal-line-Bc-vVh7b.js";
import { n as UPLOT_STYLES, t as UPLOT_SCRIPT } from "./uplot-DkletCpz.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { t as Crc } from "./crc-TiVq6-Qt.js";
import { basename, dirname, join, resolve } from "node:path";
import { mkdir, open, readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { BlockList, isIP } from "node:net";
// src/monitor/event-scalars.ts
function scalarsOf(event, every = "log") {
	switch (event.type) {
		case "step": return every === "step" ? learningOf(event) : {};
		case "log": return {
			...every === "log" ? learningOf(event) : {},
			"train/tokens_per_second": event.tokensPerSecond,
			"train/peak_memory_gib": event.peakMemoryBytes / 2 ** 30
		};
		case "evaluate": {
			const own = {
				"eval/loss": event.evalLoss,
				"eval/runtime": event.evalRuntime,
				"eval/samples_per_second": event.evalSamplesPerSecond
			};
			const metrics = Object.entries(event.metrics ?? {}).map(([name, value]) => {
				const tag = `eval/${name}`;
				return [tag in own ? `eval/metrics/${name}` : tag, value];
			});
			return {
				...own,
				...Object.fromEntries(metrics)
			};
		}
		case "end": {
			const { trainLoss, trainRuntime } = event.output.metrics;
			return {
				"train/train_loss": trainLoss,
				"train/train_runtime": trainRuntime
			};
		}
		default: return {};
	}
}
function learningOf(event) {
	return {
		"train/loss": event.loss,
		"train/grad_norm": event.gradNorm,
		"train/learning_rate": event.learningRate,
		"train/epoch": event.epoch
	};
}
// src/monitor/appended-file.ts
var AppendedFile = class AppendedFile {
	path;
	#file;
	#length;
	#saidFull = false;
	constructor(path, file, length) {
		this.path = path;
		this.#file = file;
		this.#length = length;
	}
	static open(path, isNew = false) {
		return writing(path, async () => {
			await mkdir(dirname(path), { recursive: true });
			const file = await open(path, isNew ? "ax+" : "a+");
			const { size } = await file.stat();
			return new AppendedFile(path, file, size);
		});
	}
	async endsLine() {
		if (this.#length === 0) return true;
		const { buffer } = await this.#file.read(Buffer.alloc(1), 0, 1, this.#length - 1);
		return buffer.toString() === "\n";
	}
	async append(piece) {
		const bytes = Buffer.from(piece);
		try {
			await this.#file.appendFile(bytes);
			this.#length += bytes.length;
		} catch (cause) {
			await this.#file.truncate(this.#length).catch(() => void 0);
			if (this.#saidFull) return;
			this.#saidFull = true;
			const message = `${this.path} lacks events from here on: ${reasonOf(cause)}`;
			process.emitWarning(warningLine(message), "TrainerCallbackWarning");
		}
	}
	close() {
		return this.#file.close();
	}
};
// src/monitor/one-run.ts
var OneRun = class {
	#isTaken = false;
	#refused = 0;
	begin(name) {
		if (this.#isTaken) {
			this.#refused++;
			throw new ConfigError(`${name}: this callback follows another run already`, { hint: "Make one for each run." });
		}
		this.#isTaken = true;
	}
	end() {
		if (this.#refused > 0) {
			this.#refused--;
			return false;
		}
		this.#isTaken = false;
		return true;
	}
};
// src/monitor/json-lines.ts
function jsonLines(options = {}) {
	checkNames(options, { path: false }, "jsonLines", {
		file: "path",
		filename: "path",
		folder: "path"
	});
	if (options.path !== void 0) requirePath(options.path, "jsonLines: `path`");
	const path = options.path === void 0 ? void 0 : resolve(options.path);
	let file;
	const run = new OneRun();
	return {
		name: "jsonLines",
		async onStart({ config }) {
			run.begin("jsonLines");
			file = await AppendedFile.open(path ?? join(config.outputDir, "events.jsonl"));
			if (!await file.endsLine()) await file.append("\n");
		},
		async onEvent(event) {
			await file?.append(`${JSON.stringify(lineOf(event))}\n`);
		},
		async onClose() {
			if (!run.end()) return;
			await file?.close();
			file = void 0;
		}
	};
}
function lineOf(event) {
	const { type, ...fields } = event;
	const line = {
		type,
		time: new Date().toISOString(),
		...fields
	};
	if (event.type !== "end") return line;
	const { logHistory: _, ...output } = event.output;
	return {
		...line,
		output
	};
}
// src/monitor/live-access.ts
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");
function isLoopback(address) {
	const family = isIP(address);
	return family !== 0 && LOOPBACK.check(address, family === 6 ? "ipv6" : "ipv4");
}
function randomToken() {
	return randomBytes(32).toString("base64url");
}
var AccessRules = class {
	#names;
	#digest;
	constructor(names, token) {
		this.#names = new Set([
			"localhost",
			hostname(),
			...names
		].map((name) => name.toLowerCase()));
		this.#digest = token === void 0 ? void 0 : digestOf(token);
	}
	refuseOrigin(request) {
		const { host, origin } = request.headers;
		const name = hostName(host);
		if (name === void 0 || isIP(name) === 0 && !this.#names.has(name)) return {
			status: 421,
			message: "This page is not known under that name. Open it as localhost, or name the host in `allowedHosts`."
		};
		const isForeign = origin !== void 0 && origin !== `http://${host}` && origin !== `https://${host}`;
		const site = request.headers["sec-fetch-site"];
		const isLink = request.method === "GET" && request.headers["sec-fetch-mode"] === "navigate";
		if (isForeign || site !== void 0 && site !== "same-origin" && site !== "none" && !isLink) return {
			status: 403,
			message: "Requests of other sites are refused."
		};
	}
	refuseToken(request) {
		if (this.#digest === void 0) return void 0;
		const [, given] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
		if (given !== void 0 && timingSafeEqual(digestOf(given), this.#digest)) return void 0;
		return {
			status: 401,
			message: "The token is missing or wrong. It stands in the address that the run has printed."
		};
	}
};
function digestOf(token) {
	return createHash("sha256").update(token).digest();
}
function hostName(host) {
	const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? "");
	return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, "");
}
// src/monitor/live-protocol.ts
const ACTIONS = [
	"pause",
	"resume",
	"stop"
];
const STEP_COLUMNS = [
	"last",
	"last",
	"mean",
	"min",
	"max",
	"mean",
	"last"
];
const LOG_COLUMNS = [
	"last",
	"mean",
	"last",
	"last",
	"mean"
];
const MAX_ROWS = 2e3;
function addEvaluation(list, point) {
	list.push(point);
	if (list.length <= 400) return;
	const kept = list.filter((_, i) => i % 2 === 0 || i === list.length - 1);
	list.splice(0, list.length, ...kept);
}
function addBounded(list, items, most) {
	list.push(...items);
	if (list.length > most) list.splice(0, list.length - most);
}
// src/monitor/thinned-table.ts
var ThinnedTable = class {
	#mergings;
	#maxRows;
	#stride = 1;
	#counts = [];
	#rows = [];
	constructor(mergings, maxRows) {
		this.#mergings = mergings;
		this.#maxRows = maxRows;
	}
	get stride() {
		return this.#stride;
	}
	get rows() {
		return this.#rows;
	}
	add(row) {
		const last = this.#rows.length - 1;
		if (last >= 0 && this.#counts[last] < this.#stride) {
			this.#rows[last] = this.#merge(this.#rows[last], row, this.#counts[last], 1);
			this.#counts[last]++;
			return;
		}
		this.#rows.push([...row]);
		this.#counts.push(1);
		if (this.#rows.length > this.#maxRows) this.#halve();
	}
	state() {
		return {
			stride: this.#stride,
			counts: this.#counts,
			rows: this.#rows
		};
	}
	load({ stride, counts, rows }) {
		this.#stride = stride;
		this.#counts = [...counts];
		this.#rows = rows.map((row) => [...row]);
	}
	column(index) {
		return this.#rows.map((row) => row[index]);
	}
	#halve() {
		const rows = [];
		const counts = [];
		for (let i = 0; i < this.#rows.length; i += 2) {
			const [row, next] = [this.#rows[i], this.#rows[i + 1]];
			const [count, nextCount] = [this.#counts[i], this.#counts[i + 1] ?? 0];
			rows.push(next ? this.#merge(row, next, count, nextCount) : row);
			counts.push(count + nextCount);
		}
		this.#stride *= 2;
		this.#rows = rows;
		this.#counts = counts;
	}
	#merge(a, b, countA, countB) {
		return this.#mergings.map((merging, i) => {
			const [x, y] = [a[i] ?? null, b[i] ?? null];
			if (x === null || y === null) return y ?? x;
			if (merging === "last") return y;
			if (merging === "min") return Math.min(x, y);
			if (merging === "max") return Math.max(x, y);
			return x + (y - x) * countB / (countA + countB);
		});
	}
};
// src/monitor/live-history.ts
const MAX_METRICS = 24;
const MAX_NOTE = 2e3;
const nothing = () => ({
	steps: [],
	logs: [],
	evaluations: [],
	notes: [],
	samples: []
});
var RunHistory = class {
	#now;
	#facts = null;
	#state = "waiting";
	#reason;
	#checkpoint;
	#step = 0;
	#epoch = 0;
	#firstStep = 0;
	#startTime = 0;
	#lastStepMs = 0;
	#pausedSince;
	#pausedMs = 0;
	#endTime;
	#isLeft = false;
	#steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
	#logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
	#evaluations = [];
	#notes = [];
	#samples = [];
	#pending = nothing();
	#isChanged = false;
	#needsSnapshot = false;
	constructor(now = () => performance.now()) {
		this.#now = now;
	}
	get state() {
		return this.#state;
	}
	get step() {
		return this.#step;
	}
	begin(event, options) {
		const config = redactDeep(event.config, redact);
		this.#facts = {
			title: oneLine(options.title ?? (basename(event.config.outputDir) || "Training run")),
			samples: event.samples,
			totalSteps: event.totalSteps,
			trainableParameters: event.trainableParameters,
			controls: options.controls,
			savesAtStop: event.config.saveStrategy !== "no",
			config: Object.entries(config).map(([name, value]) => [name, showValue(value)])
		};
		this.#state = "running";
		this.#reason = void 0;
		this.#checkpoint = void 0;
		this.#step = this.#firstStep = event.step;
		this.#epoch = 0;
		this.#startTime = this.#now();
		this.#lastStepMs = 0;
		this.#pausedSince = void 0;
		this.#pausedMs = 0;
		this.#endTime = void 0;
		this.#isLeft = false;
		this.#steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
		this.#logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
		this.#evaluations = [];
		this.#notes = [];
		this.#dropPending();
		this.#isChanged = true;
	}
	add(event) {
		this.#isChanged = true;
		switch (event.type) {
			case "start": break;
			case "step": {
				this.#step = event.step;
				this.#epoch = event.epoch;
				this.#lastStepMs = this.#activeMs(this.#now());
				const loss = cell(event.loss);
				const row = [
					event.step,
					event.epoch,
					loss,
					loss,
					loss,
					cell(event.gradNorm),
					cell(event.learningRate)
				];
				this.#steps.add(row);
				this.#pending.steps.push(row);
				if (this.#pending.steps.length > 2e3) this.#dropPending();
				if (event.plan !== void 0) this.#note("info", event.step, event.plan);
				break;
			}
			case "log": {
				const { step, tokensPerSecond, memoryBytes, peakMemoryBytes, dataWaitShare } = event;
				const row = [step, ...[
					tokensPerSecond,
					memoryBytes,
					peakMemoryBytes,
					dataWaitShare
				].map(cell)];
				this.#logs.add(row);
				this.#pending.logs.push(row);
				break;
			}
			case "evaluate": {
				const all = Object.entries(event.metrics ?? {});
				const metrics = all.slice(0, MAX_METRICS);
				const point = {
					step: event.step,
					epoch: event.epoch,
					evalLoss: cell(event.evalLoss),
					metrics: Object.fromEntries(metrics.map(([name, value]) => [oneLine(name), cell(value)])),
					moreMetrics: all.length - metrics.length
				};
				addEvaluation(this.#evaluations, point);
				this.#pending.evaluations.push(point);
				break;
			}
			case "save":
				this.#checkpoint = oneLine(event.path);
				this.#note("save", event.step, `Checkpoint written: ${event.path}`);
				break;
			case "loadBest":
				this.#note("info", event.step, `Best step taken: ${event.step}, ${event.metric} ${event.value.toPrecision(5)}, from ${event.checkpoint ?? "memory"}`);
				break;
			case "pause":
				this.#note("info", event.step, "Paused.");
				break;
			case "resume":
				this.#note("info", event.step, `Resumed after ${event.seconds.toFixed(0)} s.`);
				break;
			case "warning":
				this.#note("warning", event.step, event.message);
				break;
			case "epoch":
				this.#epoch = event.epoch;
				break;
			case "end":
				this.#step = event.step;
				this.#isLeft = event.output.stopped === true;
		}
	}
	addSample(sample) {
		const shown = {
			...sample,
			step: this.#step
		};
		addBounded(this.#samples, [shown], 24);
		addBounded(this.#pending.samples, [shown], 24);
		this.#isChanged = true;
	}
	setPaused(isPaused) {
		if (this.#state !== "running" && this.#state !== "paused") return;
		if (isPaused === (this.#state === "paused")) return;
		this.#state = isPaused ? "paused" : "running";
		const now = this.#now();
		if (isPaused) this.#pausedSince = now;
		else this.#endPause(now);
		this.#isChanged = true;
	}
	setStopping() {
		if (this.#state !== "running" && this.#state !== "paused") return;
		this.#endPause(this.#now());
		this.#state = "stopping";
		this.#isChanged = true;
	}
	finish(error) {
		const now = this.#now();
		this.#endPause(now);
		this.#endTime = now;
		const isAbort = error instanceof Error && error.name === "AbortError";
		this.#state = error === void 0 ? "finished" : isAbort ? "stopped" : "failed";
		if (error === void 0 && this.#isLeft) {
			this.#state = "stopped";
			this.#reason = "its program left the loop over its events";
		}
		if (error !== void 0) this.#reason = printable(redact(reasonOf(error))).slice(0, MAX_NOTE);
		this.#isChanged = true;
	}
	take() {
		if (!this.#isChanged) return void 0;
		this.#isChanged = false;
		const update = Object.entries(this.#pending).filter(([, list]) => list.length > 0);
		this.#pending = nothing();
		if (this.#needsSnapshot) {
			this.#needsSnapshot = false;
			return {
				name: "snapshot",
				data: this.snapshot()
			};
		}
		return {
			name: "update",
			data: {
				status: this.status(),
				...Object.fromEntries(update)
			}
		};
	}
	snapshot() {
		return {
			facts: this.#facts,
			status: this.status(),
			steps: this.#steps.state(),
			logs: this.#logs.state(),
			evaluations: this.#evaluations,
			notes: this.#notes,
			samples: this.#samples
		};
	}
	status() {
		return {
			state: this.#state,
			reason: this.#reason,
			step: this.#step,
			epoch: this.#epoch,
			seconds: this.#activeMs(this.#endTime ?? this.#now()) / 1e3,
			secondsLeft: this.#secondsLeft(),
			checkpoint: this.#checkpoint
		};
	}
	#dropPending() {
		this.#pending = nothing();
		this.#needsSnapshot = true;
	}
	#secondsLeft() {
		const done = this.#step - this.#firstStep;
		const left = (this.#facts?.totalSteps ?? 0) - this.#step;
		if (done <= 0 || left <= 0 || this.#state !== "running" && this.#state !== "paused") return null;
		return this.#lastStepMs / 1e3 * left / done;
	}
	#activeMs(until) {
		if (this.#facts === null) return 0;
		const held = this.#pausedSince === void 0 ? 0 : Math.max(0, until - this.#pausedSince);
		return Math.max(0, until - this.#startTime - this.#pausedMs - held);
	}
	#endPause(now) {
		if (this.#pausedSince !== void 0) this.#pausedMs += now - this.#pausedSince;
		this.#pausedSince = void 0;
	}
	#note(kind, step, text) {
		const note = {
			kind,
			step,
			text: printable(redact(text.slice(0, MAX_NOTE))),
			time: Date.now()
		};
		addBounded(this.#notes, [note], 100);
		addBounded(this.#pending.notes, [note], 100);
	}
};
function cell(value) {
	return Number.isFinite(value) ? value : null;
}
// src/generated/live-page.ts
var live_page_default = "\"use strict\";(()=>{var $=class{#e=\"\";feed(e){let t=(this.#e+e).split(`\n\n`);return this.#e=t.pop(),t.flatMap(s=>{let o=new Map(s.split(`\n`).map(i=>{let a=i.indexOf(\":\");return[i.slice(0,a),i.slice(a+1).replace(/^ /,\"\")]})),r=o.get(\"data\");return r===void 0?[]:[{id:o.get(\"id\")??\"\",name:o.get(\"event\")??\"message\",data:r}]})}};var K=25e3,Y=500,pe=8e3,A=class{#e;token=null;#s=\"\";#i;constructor(e){this.#e=e}async follow(){let e=Y;for(;;){let t=await this.#n(()=>{e=Y});if(this.#e.onState(t),t===\"closed\"||t===\"unauthorized\")return;await new Promise(s=>{this.#i=s,setTimeout(s,e*(.75+Math.random()/2))}),e=Math.min(2*e,pe)}}hurry(){this.#i?.()}async act(e){try{let t={...this.#t(),\"Content-Type\":\"application/json\"},s=await fetch(\"control\",{method:\"POST\",headers:t,body:JSON.stringify({action:e})});if(s.ok)return;let{message:o}=await s.json();return typeof o==\"string\"?o:`The run answered ${s.status}.`}catch{return\"The run cannot be reached.\"}}async image(e){try{let t=await fetch(`images/${e}`,{headers:this.#t()}),s=t.ok?await t.text():\"\";return s.startsWith(\"data:image/\")?s:void 0}catch{return}}#t(){return this.token===null?{}:{Authorization:`Bearer ${this.token}`}}async#n(e){let t=new AbortController,s=setTimeout(()=>t.abort(),K);try{let o={...this.#t(),...this.#s?{\"Last-Event-ID\":this.#s}:{}},r=await fetch(\"events\",{headers:o,cache:\"no-store\",signal:t.signal});if(r.status===401)return\"unauthorized\";if(r.status===503)return\"full\";if(!r.ok||!r.body)return\"lost\";e(),this.#e.onState(\"open\");let i=new $,a=new TextDecoder,l=r.body.getReader();for(;;){let{done:h,value:m}=await l.read();if(h)return\"lost\";clearTimeout(s),s=setTimeout(()=>t.abort(),K);for(let g of i.feed(a.decode(m,{stream:!0})))if(this.#s=g.id,this.#e.onMessage(g),g.name===\"closed\")return\"closed\"}}catch{return\"lost\"}finally{clearTimeout(s),t.abort()}}};var J=[\"last\",\"last\",\"mean\",\"min\",\"max\",\"mean\",\"last\"],y={step:0,epoch:1,loss:2,lossMin:3,lossMax:4,gradNorm:5,learningRate:6},Q=[\"last\",\"mean\",\"last\",\"last\",\"mean\"],b={step:0,tokensPerSecond:1,memoryBytes:2,peakMemoryBytes:3,dataWaitShare:4},D=2e3,fe=400,Z=100,ee=24;function te(n,e){if(n.push(e),n.length<=fe)return;let t=n.filter((s,o)=>o%2===0||o===n.length-1);n.splice(0,n.length,...t)}function H(n,e,t){n.push(...e),n.length>t&&n.splice(0,n.length-t)}var E=class{#e;#s;#i=1;#t=[];#n=[];constructor(e,t){this.#e=e,this.#s=t}get stride(){return this.#i}get rows(){return this.#n}add(e){let t=this.#n.length-1;if(t>=0&&this.#t[t]<this.#i){this.#n[t]=this.#r(this.#n[t],e,this.#t[t],1),this.#t[t]++;return}this.#n.push([...e]),this.#t.push(1),this.#n.length>this.#s&&this.#o()}state(){return{stride:this.#i,counts:this.#t,rows:this.#n}}load({stride:e,counts:t,rows:s}){this.#i=e,this.#t=[...t],this.#n=s.map(o=>[...o])}column(e){return this.#n.map(t=>t[e])}#o(){let e=[],t=[];for(let s=0;s<this.#n.length;s+=2){let[o,r]=[this.#n[s],this.#n[s+1]],[i,a]=[this.#t[s],this.#t[s+1]??0];e.push(r?this.#r(o,r,i,a):o),t.push(i+a)}this.#i*=2,this.#n=e,this.#t=t}#r(e,t,s,o){return this.#e.map((r,i)=>{let[a,l]=[e[i]??null,t[i]??null];return a===null||l===null?l??a:r===\"last\"?l:r===\"min\"?Math.min(a,l):r===\"max\"?Math.max(a,l):a+(l-a)*o/(s+o)})}};function d(n){let e=document.getElementById(n);if(!e)throw new Error(`the page has no #${n}`);return e}function c(n,e={},...t){let s=document.createElement(n);for(let[o,r]of Object.entries(e))s.setAttribute(o,r);return s.append(...t),s}function u(n,e){n.textContent!==e&&(n.textContent=e)}function w(n){if(n==null)return\"–\";if(n===0)return\"0\";let e=Math.abs(n);return e<.001||e>=1e7?n.toExponential(2):e>=1e3?Math.round(n).toLocaleString(\"en-US\"):String(Number(n.toPrecision(4)))}function ne(n,e){let t=n.filter(h=>h!==null),s=Math.max(...t.map(Math.abs),0),o=t.length>1?Math.abs(t[1]-t[0]):s;if(e||o===0)return n.map(h=>h===null?\"\":w(h));let r=-Math.floor(Math.log10(o)+1e-9),i=s<.001||s>=1e7,a=Math.floor(Math.log10(s)),l=h=>{if(h===0)return\"0\";if(i)return`${(h/10**a).toFixed(Math.max(0,r+a))}e${a}`;let m=Math.min(Math.max(0,r),20);return h.toLocaleString(\"en-US\",{minimumFractionDigits:m,maximumFractionDigits:m})};return n.map(h=>h===null?\"\":l(h))}function M(n){return n.toLocaleString(\"en-US\")}function B(n){if(n==null)return\"–\";let e=j(n);return`${Number((n/e.bytes).toPrecision(4))} ${e.name}`}function j(n){let e=[\"B\",\"KiB\",\"MiB\",\"GiB\",\"TiB\"],t=Math.min(Math.floor(Math.log2(Math.max(n??1,1))/10),e.length-1);return{name:e[t],bytes:1024**t}}function se(n){return n==null?\"–\":`${(100*n).toFixed(0)} %`}function z(n){let e=Math.max(0,Math.round(n)),t=s=>String(s).padStart(2,\"0\");return e<60?`${e} s`:e<3600?`${Math.floor(e/60)} min ${t(e%60)} s`:`${Math.floor(e/3600)} h ${t(Math.floor(e%3600/60))} min`}var ge=240,ye=200,be=40,oe=\"12px system-ui, sans-serif\",N=class{element;#e;#s=c(\"div\",{class:\"plot\",tabindex:\"0\",role:\"img\"});#i=c(\"p\",{class:\"quiet\"});#t=[];#n=[];#o;#r;#l=!1;constructor(e){this.#e=e,this.#o=[[],...e.series.map(()=>[])];let t=c(\"ul\",{class:\"legend\"});for(let{label:o,color:r,dash:i,isEdge:a}of e.series){let l=c(\"span\",{class:\"value\"});this.#n.push(l);let h=a?\" shade\":i?.length?\" dashed\":\"\",m=c(\"span\",{class:`swatch${h}`,\"aria-hidden\":\"true\"});a||(m.style.borderColor=`var(${r})`);let g=c(\"li\",{},m,`${o} `,l);this.#t.push(g),t.append(g)}let s=c(\"figcaption\",{},c(\"h3\",{},e.title),t,this.#i);this.element=c(\"figure\",{class:\"card chart\"},s,this.#s),this.#s.addEventListener(\"keydown\",o=>this.#p(o)),new ResizeObserver(()=>this.#c()).observe(this.#s),matchMedia(\"(prefers-color-scheme: dark)\").addEventListener(\"change\",()=>this.#d())}set isLog(e){e!==this.#l&&(this.#l=e,this.#d())}show(e,t=\"\"){this.#o=e,u(this.#i,t),this.#r?this.#r.setData(this.#h()):this.#d(),this.#u(null),this.#s.setAttribute(\"aria-label\",this.#f())}#h(){let[e,...t]=this.#o,s=this.#l?t.map(o=>o.map(r=>typeof r==\"number\"&&r<=0?null:r)):t;return[e,...s]}#d(){if(this.#r?.destroy(),this.#r=void 0,this.#o[0].length===0||this.#s.clientWidth===0)return;let e=getComputedStyle(document.documentElement),t=i=>e.getPropertyValue(i).trim(),s={stroke:t(\"--quiet\"),font:oe,grid:{stroke:t(\"--line\"),width:1},ticks:{stroke:t(\"--line\"),width:1}},{band:o}=this.#e,r={...this.#a(),legend:{show:!1},cursor:{drag:{x:!1,y:!1},points:{size:8}},scales:{x:{time:!1},y:this.#l?{distr:3}:{}},axes:[{...s,size:30,label:\"step\",labelSize:18,labelGap:0,labelFont:oe,values:(i,a)=>a.map(l=>Number.isInteger(l)?l.toLocaleString(\"en-US\"):\"\")},{...s,size:(i,a)=>ve(a),values:(i,a)=>ne(a,this.#l)}],series:[{},...this.#e.series.map(i=>({label:i.label,stroke:i.isEdge?\"transparent\":t(i.color),width:i.width??2,...i.dash?{dash:[...i.dash]}:{},points:{show:i.points?(a,l)=>we(this.#o[l])<=be:!1,size:7,fill:t(i.color)},spanGaps:!1}))],...o?{bands:[{series:[o[0]+1,o[1]+1],fill:`${t(\"--quiet\")}55`}]}:{},hooks:{setCursor:[i=>this.#u(i.cursor.idx??null)]}};this.#r=new uPlot(r,this.#h(),this.#s)}#a(){let e=this.#s.clientWidth;return{width:e,height:e<480?ye:ge}}#c(){this.#r?this.#s.clientWidth>0&&this.#r.setSize(this.#a()):this.#d()}#u(e){for(let[t,s]of this.#n.entries()){let o=this.#o[t+1];this.#e.series[t].isEdge&&(this.#t[t].hidden=F(o)===void 0),u(s,w(e===null?F(o):re(o,e)))}}#p(e){let[t]=this.#o,s=t.length-1;if(!this.#r||s<0)return;let o=this.#r.cursor.idx??s,r=e.shiftKey?Math.max(1,Math.round(s/20)):1,a={ArrowLeft:o-r,ArrowRight:o+r,Home:0,End:s}[e.key];if(a===void 0)return;e.preventDefault();let l=Math.min(Math.max(a,0),s);this.#r.setCursor({left:this.#r.valToPos(t[l],\"x\"),top:0}),this.#e.announce(`Step ${t[l]}: ${this.#m(h=>re(h,l))}`)}#f(){let e=this.#m(F);return`${this.#e.title} by step. ${e?`Last values: ${e}.`:\"No values yet.\"} Arrow keys read values.`}#m(e){return this.#e.series.flatMap(({label:t},s)=>{let o=e(this.#o[s+1]);return typeof o!=\"number\"?[]:[`${t} ${w(o)}`]}).join(\", \")}};function we(n){return n.filter(e=>typeof e==\"number\").length}function F(n){return n.findLast(e=>typeof e==\"number\")}function re(n,e){let t=e;for(;t>0&&n[t]===void 0;)t--;return n[t]}function ve(n){return 22+7*Math.max(3,...(n??[]).map(e=>e.length))}var ie=[\"--series-2\",\"--series-3\",\"--series-4\",\"--series-5\",\"--series-1\"],Se=[[],[8,4],[2,3],[10,3,2,3],[5,5]],[ae,xe]=[0,1],O=class{steps=new E(J,D);logs=new E(Q,D);evaluations=[];window=16;share=1;#e;#s;#i;#t;#n;#o;#r;#l=[];constructor(e){this.#e=e,this.#s=this.#a(\"Loss\",[{label:\"greatest\",color:\"--mark\",isEdge:!0},{label:\"least\",color:\"--mark\",isEdge:!0},{label:\"not smoothed\",color:\"--quiet\",width:1},{label:\"smoothed\",color:\"--series-1\",width:3},{label:\"evaluation\",color:\"--series-2\",dash:[8,4],points:!0}]),this.#s.element.classList.add(\"wide\"),this.#i=this.#a(\"Learning rate\",[{label:\"learning rate\",color:\"--series-1\"}]),this.#t=this.#a(\"Gradient norm\",[{label:\"before clipping\",color:\"--series-4\",width:1}]),this.#n=this.#a(\"Throughput\",[{label:\"tokens a second\",color:\"--series-3\"}]),this.#o=this.#a(\"Memory of the engine\",[{label:\"now\",color:\"--series-1\"},{label:\"most so far\",color:\"--series-2\",dash:[8,4]}])}set isLog(e){this.#s.isLog=e}load(e){this.steps.load(e.steps),this.logs.load(e.logs),this.evaluations.splice(0,this.evaluations.length,...e.evaluations)}add({steps:e=[],logs:t=[],evaluations:s=[]}){for(let o of e)this.steps.add(o);for(let o of t)this.logs.add(o);for(let o of s)te(this.evaluations,o)}get smoothedLoss(){return this.#h().at(-1)??null}draw(){let e=this.steps,t=e.column(y.step),s=e.column(y.loss),o=e.stride>1,r=v=>o?e.column(v):s.map(()=>null),i=o?`Each value is the mean of ${e.stride} steps; the shade reaches from the least to the greatest of them.`:\"\",a=[t,r(y.lossMax),r(y.lossMin),s,this.#h()],l=[this.evaluations.map(({step:v})=>v),this.evaluations.map(({evalLoss:v})=>v)];this.#s.show(this.#c(Ce(a,l)),i),this.#i.show(this.#c([t,e.column(y.learningRate)])),this.#t.show(this.#c([t,e.column(y.gradNorm)]));let h=this.logs.column(b.step);this.#n.show(this.#c([h,this.logs.column(b.tokensPerSecond)]));let[m,g]=[this.logs.column(b.memoryBytes),this.logs.column(b.peakMemoryBytes)],T=j(g.at(-1)),f=v=>v.map(x=>x&&x/T.bytes);this.#o.show(this.#c([h,f(m),f(g)]),h.length>0?`In ${T.name}.`:\"\"),this.#d()}#h(){return Me(this.steps.column(y.loss),(1-1/this.window)**this.steps.stride)}#d(){let e=[...new Set(this.evaluations.flatMap(({metrics:r})=>Object.keys(r)))],t=e.slice(0,ie.length);if(t.join(`\n`)!==this.#l.join(`\n`)){this.#r?.element.remove(),this.#l=t;let r=t.map((i,a)=>({label:i,color:ie[a],dash:Se[a],points:!0}));this.#r=t.length===0?void 0:this.#a(\"Evaluation\",r),this.#r&&this.#s.element.after(this.#r.element)}let s=e.length>t.length?`${e.length-t.length} more are in the table below.`:\"\",o=t.map(r=>this.evaluations.map(({metrics:i})=>i[r]??null));this.#r?.show(this.#c([this.evaluations.map(({step:r})=>r),...o]),s)}#a(e,t){let s=t[ae]?.isEdge?[ae,xe]:void 0,o=new N({title:e,series:t,announce:this.#e,...s?{band:s}:{}});return d(\"charts\").append(o.element),o}#c(e){let t=this.steps.rows[0]?.[y.step]??0,s=this.steps.rows.at(-1)?.[y.step]??0,o=this.share>=1?Number.NEGATIVE_INFINITY:s-(s-t)*this.share,r=e[0].findIndex(i=>i>=o);return r<=0?e:e.map(i=>i.slice(r))}};function Me(n,e){let t=0,s=1;return n.map(o=>o===null?null:(t=e*t+(1-e)*o,s*=e,s<1?t/(1-s):o))}function Ce(n,e){let t=[...new Set([...n[0],...e[0]])].sort((o,r)=>o-r),s=([o,...r])=>{let i=new Map(o.map((a,l)=>[a,l]));return r.map(a=>t.map(l=>i.has(l)?a[i.get(l)]:void 0))};return[t,...s(n),...s(e)]}var G=50,R=class{#e;#s;#i=[];#t=[];#n=new Map;#o=null;constructor(e,t){this.#e=e,this.#s=t}load(e){this.#o=e.facts,this.#i.splice(0,this.#i.length,...e.notes),this.#t.splice(0,this.#t.length,...e.samples),this.#r(),this.#l(),this.#d(),this.#a()}add(e){e.notes&&(H(this.#i,e.notes,Z),this.#d()),e.samples&&(H(this.#t,e.samples,ee),this.#l()),e.evaluations&&this.#a()}showStatus(e){let t=this.#o?.totalSteps??0,s=t>0?e.step/t:0,o=d(\"progress\");o.max=Math.max(1,t),o.value=e.step;let r=e.secondsLeft===null?\"\":`about ${z(e.secondsLeft)} left`,i=[`${(100*s).toFixed(0)} %`,r,`${z(e.seconds)} of training`];u(d(\"progress-text\"),this.#o?i.filter(x=>x!==\"\").join(\" · \"):\"\");let a=this.#o?.title??\"Training run\",l=[\"running\",\"paused\"].includes(e.state)?`${(100*s).toFixed(0)} %`:e.state;document.title=[this.#o?l:\"\",e.state===\"paused\"?\"paused\":r,a].filter(x=>x!==\"\").join(\" – \");let{steps:h,logs:m,evaluations:g}=this.#e,[T,f]=[h.rows.at(-1),m.rows.at(-1)],v={step:this.#o?`${M(e.step)} of ${M(t)}`:\"–\",epoch:this.#o?e.epoch.toFixed(2):\"–\",loss:w(this.#e.smoothedLoss),\"eval-loss\":w(g.at(-1)?.evalLoss),\"learning-rate\":w(T?.[y.learningRate]),throughput:f?`${w(f[b.tokensPerSecond])} tokens/s`:\"–\",memory:f?`${B(f[b.memoryBytes])} (peak ${B(f[b.peakMemoryBytes])})`:\"–\",waiting:se(f?.[b.dataWaitShare])};for(let[x,me]of Object.entries(v))u(d(`value-${x}`),me)}#r(){let e=this.#o;u(d(\"title\"),e?.title??\"Training run\");let t=e?`${M(e.samples)} samples, ${M(e.trainableParameters)} trainable parameters`:\"\";u(d(\"about\"),t);let s=(e?.config??[]).map(([o,r])=>c(\"tr\",{},c(\"th\",{scope:\"row\"},o),c(\"td\",{},r)));d(\"config\").replaceChildren(...s)}#l(){d(\"samples-section\").hidden=this.#t.length===0;let e=new Set(this.#t.map(({index:s})=>s));for(let s of this.#n.keys())e.has(s)||this.#n.delete(s);let t=this.#t.map(s=>{let o=this.#n.get(s.index)??this.#h(s);return this.#n.set(s.index,o),o});d(\"samples\").replaceChildren(...t.reverse())}#h(e){let t=e.correct===void 0?\"\":e.correct?\"right\":\"wrong\",s=[[\"Asked\",e.prompt],[\"Expected\",e.expected],[\"Answered\",e.answer]].flatMap(([a,l])=>l===void 0?[]:[c(\"dt\",{},a),c(\"dd\",{},l)]),o=e.id.slice(Math.max(e.id.lastIndexOf(\"/\"),e.id.lastIndexOf(\"\\\\\"))+1)||e.id,r=c(\"h3\",{title:e.id},o);t&&r.append(\" \",c(\"span\",{class:e.correct?\"good\":\"bad\"},`${e.correct?\"✓\":\"✗\"} ${t}`));let i=c(\"li\",{class:\"card\"},r,c(\"p\",{class:\"quiet\"},`at step ${M(e.step)}`));if(e.image){let{width:a,height:l}=e.image,h=c(\"img\",{alt:`Image of ${e.id}`,width:String(a),height:String(l)});i.append(h),this.#s(e.index).then(m=>{m===void 0?h.replaceWith(c(\"p\",{class:\"quiet\"},\"The image is no longer kept.\")):h.src=m})}return i.append(c(\"dl\",{},...s)),i}#d(){d(\"notes-section\").hidden=this.#i.length===0;let e=this.#i.map(({kind:t,step:s,text:o,time:r})=>{let i=new Date(r),a=c(\"time\",{datetime:i.toISOString(),class:\"quiet\"},i.toLocaleTimeString(\"en-GB\")),l=t===\"warning\"?[c(\"strong\",{class:\"warn\"},\"Warning\"),\" \"]:[],h=c(\"span\",{class:\"note-text\"},o);return c(\"li\",{},a,` step ${M(s)}: `,...l,h)});d(\"notes\").replaceChildren(...e.reverse())}#a(){let{evaluations:e}=this.#e;d(\"evaluations-section\").hidden=e.length===0;let t=[...new Set(e.flatMap(({metrics:a})=>Object.keys(a)))],s=[\"Step\",\"Epoch\",\"Loss\",...t].map(a=>c(\"th\",{scope:\"col\",class:\"number\"},a)),o=e.slice(-G).reverse().map(({step:a,epoch:l,evalLoss:h,metrics:m})=>{let T=[l.toFixed(2),...[h,...t.map(f=>m[f])].map(w)].map(f=>c(\"td\",{class:\"number\"},f));return c(\"tr\",{},c(\"th\",{scope:\"row\",class:\"number\"},M(a)),...T)}),r=e.at(-1)?.moreMetrics??0,i=[...r>0?[`${r} more metrics are not shown.`]:[],...e.length>G?[`The newest ${G} evaluations.`]:[]];u(d(\"evaluations-note\"),i.join(\" \")),d(\"evaluations\").replaceChildren(c(\"thead\",{},c(\"tr\",{},...s)),c(\"tbody\",{},...o))}};var _=\"ministral-tune live page token\",Le=matchMedia(\"(prefers-reduced-motion: reduce)\").matches?3e3:300,Te=n=>u(d(\"announcement\"),n),S=new O(Te),L=new A({onMessage:Ee,onState:ke}),V=new R(S,n=>L.image(n)),p,X=!1,k=!0,C=\"connecting\",de=\"\",W=!1;function Ee({name:n,data:e}){if(n!==\"closed\"){if(n===\"snapshot\"){let t=JSON.parse(e);S.load(t),V.load(t),X=t.facts?.controls??!1,k=t.facts?.savesAtStop??!0,p=t.status}else if(n===\"update\"){let t=JSON.parse(e);S.add(t),V.add(t),p=t.status}ce(),$e()}}function ke(n){if((n===\"lost\"||n===\"full\")&&C!==n&&(de=new Date().toLocaleTimeString(\"en-GB\")),C=n,d(\"token-form\").hidden=n!==\"unauthorized\",n===\"unauthorized\"){sessionStorage.removeItem(_);let e=L.token!==null;u(d(\"token-message\"),e?\"That token is not the right one.\":\"\"),d(\"token\").focus()}ce()}function $e(){W||(W=!0,setTimeout(()=>{W=!1,document.hidden||I()},Le))}function I(){S.draw(),p&&V.showStatus(p)}function ce(){let n=d(\"state\");n.dataset.state=C===\"open\"||C===\"closed\"?p?.state??\"\":\"unknown\",u(n,Ae()),u(d(\"connection\"),Ne());let e=X&&C===\"open\",t=p?.state===\"paused\",s=t||p?.state===\"running\";d(\"controls\").hidden=!X;let o=d(\"hold\");u(o,t?\"Resume\":\"Pause\"),le(o,!e||!s);let r=d(\"stop\");u(r,k?\"Stop and save…\":\"Stop…\"),le(r,!e||!s)}function le(n,e){n.setAttribute(\"aria-disabled\",String(e))}function Ae(){if(!p)return C===\"unauthorized\"?\"Locked\":\"Connecting…\";let n=p.reason?`: ${p.reason}`:\".\",e=p.checkpoint?` Newest checkpoint: ${p.checkpoint}`:\"\";switch(p.state){case\"waiting\":return\"The run has not begun yet.\";case\"running\":return\"Training.\";case\"paused\":return\"Paused: no further step is taken, the parameters stay as they are.\";case\"stopping\":return k?\"Stopping: the last whole step is being saved.\":\"Stopping.\";case\"finished\":return`The run is finished.${e}`;case\"stopped\":return`The run was stopped${n}${e}`;case\"failed\":return`The run failed${n}${e}`}}function Ne(){switch(C){case\"connecting\":return\"Connecting to the run…\";case\"open\":return\"\";case\"lost\":return`No connection since ${de}: the run has ended, or the network is down. What is shown is from before. Trying again…`;case\"full\":return\"Too many pages follow this run. Trying again…\";case\"unauthorized\":return\"This page needs the token of the run.\";case\"closed\":return[\"finished\",\"stopped\",\"failed\"].includes(p?.state??\"\")?\"This page receives nothing more; what is shown stays. Reload it to follow a later run.\":\"The program has closed this page, which receives nothing more; the run goes on.\"}}async function he(n){u(d(\"control-message\"),\"\"),u(d(\"control-message\"),await L.act(n)??\"\")}function U(n,e){let t=d(n);t.addEventListener(\"click\",()=>{t.getAttribute(\"aria-disabled\")!==\"true\"&&e()})}function ue(n){L.token=n,L.follow()}function Oe(){let n=new URLSearchParams(location.hash.slice(1)).get(\"token\");return n!==null&&(sessionStorage.setItem(_,n),history.replaceState(null,\"\",location.pathname)),n??sessionStorage.getItem(_)}var q=d(\"confirm\");U(\"hold\",()=>{he(p?.state===\"paused\"?\"resume\":\"pause\")});U(\"stop\",()=>{d(\"confirm-saves\").hidden=!k,d(\"confirm-loses\").hidden=k,q.showModal()});U(\"confirm-stop\",()=>{q.close(),he(\"stop\")});U(\"confirm-cancel\",()=>q.close());d(\"token-form\").addEventListener(\"submit\",n=>{n.preventDefault();let e=d(\"token\").value.trim().replace(/^.*#token=/,\"\");sessionStorage.setItem(_,e),ue(e)});d(\"log-scale\").addEventListener(\"change\",n=>{S.isLog=n.target.checked});d(\"smoothing\").addEventListener(\"input\",n=>{let e=n.target;S.window=2**Number(e.value);let t=S.window===1?\"none\":`${S.window} steps`;e.setAttribute(\"aria-valuetext\",t),u(d(\"smoothing-value\"),t),I()});d(\"share\").addEventListener(\"change\",n=>{S.share=Number(n.target.value),I()});addEventListener(\"online\",()=>L.hurry());document.addEventListener(\"visibilitychange\",()=>{document.hidden||(L.hurry(),I())});ue(Oe());})();\n";
// src/monitor/live-document.ts
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
	["step", "Step"],
	["epoch", "Epoch"],
	["loss", "Loss, smoothed"],
	["eval-loss", "Evaluation loss"],
	["learning-rate", "Learning rate"],
	["throughput", "Throughput"],
	["memory", "Memory"],
	["waiting", "Waiting for data"]
];
function body() {
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
let made;
function liveDocument() {
	made ??= make();
	return made;
}
function make() {
	const text = renderPage({
		title: "Training run",
		body: body(),
		styles: [UPLOT_STYLES, STYLES],
		scripts: [UPLOT_SCRIPT, live_page_default],
		connect: "'self'"
	});
	const digests = (tag) => [...text.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, "gs"))].map(([, content]) => `'sha256-${createHash("sha256").update(content).digest("base64")}'`).join(" ");
	return {
		text,
		policy: [
			"default-src 'none'",
			`script-src ${digests("script")}`,
			`style-src ${digests("style")}`,
			"img-src data:",
			"connect-src 'self'",
			"base-uri 'none'",
			"form-action 'none'",
			"frame-ancestors 'none'",
			"require-trusted-types-for 'script'",
			"trusted-types 'none'"
		].join("; ")
	};
}
// src/monitor/live-streams.ts
const MAX_UNSENT = 1048576;
const MAX_MISSED = 512;
const MAX_MISSED_LENGTH = 1048576;
const MAX_SILENT_MS = 6e4;
var LiveStreams = class {
	#source;
	#now;
	#name = randomBytes(6).toString("hex");
	#streams = new Set();
	#missable = [];
	#missableLength = 0;
	#index = 0;
	#snapshotText;
	constructor(source, now = () => performance.now()) {
		this.#source = source;
		this.#now = now;
	}
	get size() {
		return this.#streams.size;
	}
	add(response, lastId) {
		response.writeHead(200, {
			"Content-Type": "text/event-stream; charset=utf-8",
			"X-Accel-Buffering": "no"
		});
		response.flushHeaders();
		this.#source.flush();
		const stream = {
			response,
			behindSince: void 0
		};
		this.#streams.add(stream);
		response.on("close", () => this.#streams.delete(stream));
		response.on("drain", () => {
			if (stream.behindSince === void 0) return;
			this.#source.flush();
			stream.behindSince = void 0;
			response.write(this.#everything());
		});
		response.write(this.#missed(lastId)?.join("") ?? this.#everything());
	}
	publish({ name, data }) {
		this.#index++;
		this.#send(this.#remember(this.#text(name, data)));
	}
	beat() {
		for (const stream of this.#streams) {
			const { response, behindSince } = stream;
			if (behindSince === void 0) response.write(": alive\n\n");
			else if (this.#now() - behindSince > MAX_SILENT_MS) response.destroy();
		}
	}
	async end(patienceMs) {
		this.#index++;
		const text = this.#text("closed", {});
		const finished = [...this.#streams].map(({ response, behindSince }) => {
			const written = new Promise((resolve) => response.once("close", resolve).once("finish", resolve));
			response.end(behindSince === void 0 ? text : `${this.#everything()}${text}`);
			return written;
		});
		let timer;
		const late = new Promise((resolve) => {
			timer = setTimeout(resolve, patienceMs);
		});
		await Promise.race([Promise.all(finished), late]);
		clearTimeout(timer);
	}
	#send(text) {
		for (const stream of this.#streams) {
			if (stream.behindSince !== void 0) continue;
			if (stream.response.writableLength > MAX_UNSENT) stream.behindSince = this.#now();
			else stream.response.write(text);
		}
	}
	#remember(text) {
		this.#missable.push({
			index: this.#index,
			text
		});
		this.#missableLength += text.length;
		while (this.#missable.length > MAX_MISSED || this.#missableLength > MAX_MISSED_LENGTH) this.#missableLength -= this.#missable.shift().text.length;
		return text;
	}
	#missed(lastId) {
		const [, name, index] = /^([0-9a-f]+)\.(\d{1,15})$/.exec(lastId ?? "") ?? [];
		if (name !== this.#name) return void 0;
		const last = Number(index);
		const oldest = this.#missable[0]?.index ?? this.#index + 1;
		if (last > this.#index || last + 1 < oldest) return void 0;
		return this.#missable.filter((message) => message.index > last).map(({ text }) => text);
	}
	#everything() {
		if (this.#snapshotText?.index !== this.#index) this.#snapshotText = {
			index: this.#index,
			text: this.#text("snapshot", this.#source.snapshot())
		};
		return this.#snapshotText.text;
	}
	#text(name, data) {
		return `id: ${this.#name}.${this.#index}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
	}
};
// src/monitor/live-server.ts
const FIRST_PORT = 7070;
const LAST_PORT = 7089;
const MAX_BODY = 1024;
const MAX_CONNECTIONS = 64;
const LAST_MESSAGE_MS = 500;
const HEADERS = {
	"Cache-Control": "no-store",
	"Cross-Origin-Opener-Policy": "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy": "no-referrer",
	"X-Content-Type-Options": "nosniff",
	"X-Frame-Options": "DENY"
};
var LiveServer = class LiveServer {
	#options;
	#rules;
	#server;
	address;
	constructor(options, server) {
		this.#options = options;
		this.#rules = new AccessRules([options.host, ...options.allowedHosts], options.token);
		this.#server = server;
		const { address, port } = server.address();
		const name = address === "0.0.0.0" || address === "::" ? hostname() : options.host;
		const fragment = options.token === void 0 ? "" : `#token=${encodeURIComponent(options.token)}`;
		this.address = `http://${name.includes(":") ? `[${name}]` : name}:${port}/${fragment}`;
		server.on("request", (request, response) => {
			this.#answer(request, response).catch(() => response.destroy());
		});
		server.on("connection", (socket) => socket.unref());
		server.on("error", () => {});
	}
	static async listen(options) {
		const { port, host, token } = options;
		const ports = port === void 0 ? range(FIRST_PORT, LAST_PORT) : [port];
		for (const [i, candidate] of ports.entries()) {
			const server = createServer({
				connectionsCheckingInterval: 2e3,
				headersTimeout: 5e3,
				requestTimeout: 1e4,
				keepAliveTimeout: 5e3,
				maxHeaderSize: 8192
			});
			server.maxConnections = MAX_CONNECTIONS;
			server.setTimeout(5e3);
			try {
				await new Promise((resolve, reject) => {
					server.once("error", reject).listen(candidate, host, () => {
						server.off("error", reject);
						resolve();
					});
				});
			} catch (error) {
				if (error.code === "EADDRINUSE" && i < ports.length - 1) continue;
				throw cannotListen(error, host, port);
			}
			const { address } = server.address();
			if (token === void 0 && !isLoopback(address)) {
				server.close();
				throw new ConfigError(`livePage: \`host\` ${JSON.stringify(host)} is ${address}, which other machines reach`, { hint: "Leave `token` at its default, or listen on 127.0.0.1." });
			}
			return new LiveServer(options, server);
		}
		throw new Error("no port was tried");
	}
	hold(isHeld) {
		if (isHeld) this.#server.ref();
		else this.#server.unref();
	}
	async close() {
		this.#server.close();
		await this.#options.streams.end(LAST_MESSAGE_MS);
		this.#server.closeAllConnections();
	}
	async #answer(request, response) {
		request.on("error", () => {});
		response.on("error", () => {});
		for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
		response.setHeader("Content-Security-Policy", liveDocument().policy);
		const refusal = this.#rules.refuseOrigin(request);
		if (refusal) return refuse(response, refusal.status, refusal.message);
		const path = (request.url ?? "").split("?", 1)[0];
		const route = ROUTES.find(({ pattern }) => pattern.test(path));
		if (!route) return refuse(response, 404, "There is nothing here.");
		if (!route.methods.includes(request.method ?? "")) {
			response.setHeader("Allow", route.methods.join(", "));
			return refuse(response, 405, `This takes ${route.methods.join(" and ")} only.`);
		}
		if (route.name === "document") {
			response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
			response.end(request.method === "HEAD" ? void 0 : liveDocument().text);
			return;
		}
		const unknown = this.#rules.refuseToken(request);
		if (unknown) {
			response.setHeader("WWW-Authenticate", "Bearer");
			return refuse(response, unknown.status, unknown.message);
		}
		if (route.name === "events") this.#stream(request, response);
		else if (route.name === "image") this.#image(path, response);
		else await this.#control(request, response);
	}
	#stream(request, response) {
		const { streams } = this.#options;
		if (streams.size >= 16) {
			response.setHeader("Retry-After", "10");
			refuse(response, 503, `16 pages follow this run already. Close one of them.`);
			return;
		}
		request.socket.setNoDelay(true).setTimeout(0).setKeepAlive(true, 3e4);
		const lastId = request.headers["last-event-id"];
		streams.add(response, typeof lastId === "string" ? lastId : void 0);
	}
	#image(path, response) {
		const uri = this.#options.image(Number(path.slice(path.lastIndexOf("/") + 1)));
		if (uri !== void 0) response.writeHead(200, { "Content-Type": "text/plain" }).end(uri);
		else response.writeHead(204).end();
	}
	async #control(request, response) {
		if (!/^application\/json *(;|$)/i.test(request.headers["content-type"] ?? "")) return refuse(response, 415, "Send JSON, with Content-Type: application/json.");
		const body = await readBody(request);
		if (body === void 0) {
			response.setHeader("Connection", "close");
			return refuse(response, 413, `A request has at most ${MAX_BODY} bytes.`);
		}
		const action = actionOf(body);
		if (!action) return refuse(response, 400, `Expected {"action": …}, one of ${ACTIONS.join(", ")}.`);
		const problem = this.#options.act(action);
		if (problem !== void 0) return refuse(response, 409, problem);
		response.writeHead(202, { "Content-Type": "application/json" });
		response.end("{}");
	}
};
const ROUTES = [
	{
		name: "document",
		pattern: /^\/$/,
		methods: ["GET", "HEAD"]
	},
	{
		name: "events",
		pattern: /^\/events$/,
		methods: ["GET"]
	},
	{
		name: "image",
		pattern: /^\/images\/\d{1,12}$/,
		methods: ["GET"]
	},
	{
		name: "control",
		pattern: /^\/control$/,
		methods: ["POST"]
	}
];
function refuse(response, status, message) {
	response.writeHead(status, { "Content-Type": "application/json" });
	response.end(JSON.stringify({ message }));
}
function readBody(request) {
	return new Promise((resolve, reject) => {
		const chunks = [];
		let length = 0;
		request.on("data", (chunk) => {
			length += chunk.length;
			if (length > MAX_BODY) {
				request.pause();
				resolve(void 0);
			} else chunks.push(chunk);
		});
		request.on("end", () => resolve(Buffer.concat(chunks).toString()));
		request.on("close", () => reject(new Error("the request was broken off")));
	});
}
function actionOf(body) {
	try {
		const { action } = JSON.parse(body);
		return ACTIONS.find((known) => known === action);
	} catch {
		return;
	}
}
function cannotListen(error, host, port) {
	const where = `${host}, port ${port ?? `${FIRST_PORT} to ${LAST_PORT}`}`;
	const [problem, hint] = {
		EADDRINUSE: ["is in use", "Give another `port`, 0 for any free one, or none for a free one from 7070 on."],
		EACCES: ["is not allowed to this user", "Give a `port` from 1024 on."],
		EADDRNOTAVAIL: ["is no address of this machine", "Give `host` 127.0.0.1, or 0.0.0.0 for all of its addresses."],
		ENOTFOUND: ["is not known by that name", "Give `host` 127.0.0.1, or 0.0.0.0 for all addresses."]
	}[error.code ?? ""] ?? [`cannot be listened on: ${error.message}`, void 0];
	return new ConfigError(`livePage: ${where} ${problem}`, {
		hint,
		cause: error,
		details: {
			host,
			port
		}
	});
}
function range(first, last) {
	return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
// src/monitor/live-page.ts
const FLUSH_MS = 200;
const BEAT_MS = 1e4;
const LOOK_MS = 1e3;
const IMAGE_EDGE = 320;
const MAX_TEXT = 4e3;
const optionsSchema = strictObject({
	port: int().min(0).max(65535).optional(),
	host: string().min(1).max(255).default("127.0.0.1"),
	token: union([boolean(), string().regex(/^[\x21-\x7e]{16,}$/, "expected at least 16 characters of ASCII without spaces, got another text")]).optional(),
	allowedHosts: array(string().regex(/^[a-z0-9._-]+$/i, "expected a name without scheme and port")).default([]),
	controls: boolean().default(true),
	title: string().min(1).max(200).optional(),
	keepOpen: boolean().default(false),
	onOpen: callback().optional()
});
function livePage(options = {}) {
	return new RunPage(parseOptions(optionsSchema, options, "livePage"));
}
var RunPage = class {
	name = "livePage";
	#options;
	#token;
	#history = new RunHistory();
	#streams = new LiveStreams({
		flush: () => this.#flush(),
		snapshot: () => this.#history.snapshot()
	});
	#images = new Map();
	#samples = 0;
	#samplesShown = Promise.resolve();
	#control;
	#server;
	#address;
	#flushTimer;
	#timers = [];
	#isStopped = false;
	#refused = 0;
	constructor(options) {
		const isLocal = options.host === "localhost" || isLoopback(options.host);
		const { token = !isLocal } = options;
		if (token === false && !isLocal) throw new ConfigError(`livePage: \`token: false\` with \`host\` ${JSON.stringify(options.host)}`, { hint: "Whoever reaches the address could stop the run. Leave `token` out for a random one." });
		this.#options = options;
		this.#token = token === true ? randomToken() : token || void 0;
		if (this.#token !== void 0) keepSecret(this.#token);
	}
	get address() {
		return this.#address;
	}
	async open() {
		this.#server ??= this.#listen();
		return (await this.#server).address;
	}
	async onStart(event, control) {
		if (this.#control) {
			this.#refused++;
			throw new ConfigError("livePage: this page follows another run already", { hint: "Make one page for each run." });
		}
		this.#control = control;
		this.#isStopped = false;
		this.#heedSignals(false);
		this.#history.begin(event, {
			title: this.#options.title,
			controls: this.#options.controls
		});
		await this.open();
		(await this.#server)?.hold(true);
		this.#flush();
	}
	onEvent(event) {
		this.#history.add(event);
		this.#flushSoon();
	}
	async onClose(error) {
		if (this.#refused > 0) {
			this.#refused--;
			return;
		}
		this.#control = void 0;
		await this.#samplesShown;
		this.#history.finish(error);
		this.#flush();
		if (!this.#options.keepOpen || !this.#server) return this.close();
		this.#heedSignals(true);
	}
	showSamples(samples) {
		requireList(samples, "showSamples: `samples`", "samples");
		for (const sample of samples) checkSample(sample);
		const shown = samples.slice(-24);
		const images = shown.map(({ image }) => image && imageDataUri(image, IMAGE_EDGE).catch(() => void 0));
		this.#samplesShown = Promise.all([this.#samplesShown, ...images]).then(([, ...uris]) => {
			for (const [i, sample] of shown.entries()) this.#showSample(sample, uris[i]);
			this.#flushSoon();
		});
	}
	async close() {
		this.#heedSignals(false);
		const opening = this.#server;
		this.#server = void 0;
		if (!opening) return;
		const server = await opening.catch(() => void 0);
		this.#address = void 0;
		for (const timer of this.#timers) clearInterval(timer);
		this.#timers = [];
		this.#flush();
		await server?.close();
	}
	#onSignal = () => void this.close();
	#heedSignals(heeds) {
		for (const signal of ["SIGINT", "SIGTERM"]) {
			process.off(signal, this.#onSignal);
			if (heeds) process.on(signal, this.#onSignal);
		}
	}
	async #listen() {
		const { port, host, allowedHosts, onOpen } = this.#options;
		let server;
		try {
			server = await LiveServer.listen({
				port,
				host,
				allowedHosts,
				token: this.#token,
				streams: this.#streams,
				image: (index) => this.#images.get(index),
				act: (action) => this.#act(action)
			});
			server.hold(false);
			if (onOpen) onOpen(server.address);
			else guardedOutput(process.stderr).write(`live page: ${server.address}\n`);
		} catch (error) {
			this.#server = void 0;
			await server?.close();
			throw error;
		}
		this.#timers = [setInterval(() => this.#streams.beat(), BEAT_MS).unref(), setInterval(() => this.#look(), LOOK_MS).unref()];
		this.#address = server.address;
		return server;
	}
	#act(action) {
		const control = this.#control;
		if (!this.#options.controls) return "This page may only watch the run.";
		if (!control) return this.#history.state === "waiting" ? "The run has not begun." : "The run is over.";
		if (this.#isStopped) return "The run is being stopped.";
		if (action === "pause") control.pause();
		else if (action === "resume") control.resume();
		else {
			this.#isStopped = true;
			control.stop("its button");
			this.#history.setStopping();
		}
		this.#look();
		this.#flush();
	}
	#look() {
		if (this.#control) this.#history.setPaused(this.#control.isPaused);
		this.#flushSoon();
	}
	#showSample(sample, image) {
		const index = ++this.#samples;
		if (image !== void 0) this.#images.set(index, image);
		this.#images.delete(index - 48);
		const { id, answer, expected, correct, prompt } = sample;
		const shown = {
			index,
			id: oneLine(id),
			answer: shortened(answer),
			correct,
			expected: expected === void 0 ? void 0 : shortened(expected),
			prompt: prompt === void 0 ? void 0 : shortened(prompt),
			image: sample.image && image !== void 0 ? shownSize(sample.image) : void 0
		};
		this.#history.addSample(shown);
	}
	#flushSoon() {
		this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
	}
	#flush() {
		clearTimeout(this.#flushTimer);
		this.#flushTimer = void 0;
		const message = this.#history.take();
		if (message) this.#streams.publish(message);
	}
};
function checkSample(sample) {
	checkNames(sample, {
		id: true,
		answer: true,
		expected: false,
		correct: false,
		prompt: false,
		image: false
	}, "showSamples");
	for (const name of [
		"id",
		"answer",
		"expected",
		"prompt"
	]) if (sample[name] !== void 0) requireText(sample[name], `showSamples: \`${name}\``);
	const image = sample.image ?? {};
	if (sample.image !== void 0 && image.data?.length !== image.width * image.height * 3) throw new DataError(`showSamples: the image of ${oneLine(sample.id)} is no RGB image`, { hint: "An image has `width`, `height`, and `data` of width * height * 3 bytes, as decodeImage gives it." });
}
function shortened(text) {
	return printable(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
}
function shownSize({ width, height }) {
	const scale = Math.min(1, IMAGE_EDGE / Math.max(width, height));
	return {
		width: Math.max(1, Math.round(width * scale)),
		height: Math.max(1, Math.round(height * scale))
	};
}
// src/monitor/show-progress.ts
const LINE_MS = 3e4;
function showProgress(label, options = {}) {
	requireText(label, "showProgress: `label`", "e.g. showProgress('weights').");
	requireOptions(options, "showProgress");
	checkNames(options, { stream: false }, "showProgress");
	const line = terminalLine(options.stream);
	let shown;
	return (progress) => {
		const amount = amountOf(progress);
		if (amount.total === 0) return;
		if (shown?.isDone && shown.unit === amount.unit && amount.unit !== "samples" && amount.done === shown.done) return;
		if (shown && (shown.isDone || shown.unit !== amount.unit || amount.done < shown.done)) {
			shown.end();
			shown = void 0;
		}
		shown ??= new ShownWork(oneLine(label), amount, line);
		shown.show(amount);
	};
}
function amountOf(progress) {
	const given = progress;
	if (isObject(given)) {
		const number = (name) => typeof given[name] === "number";
		const { done, total, received, bytesDone, bytesTotal, files, totalFiles, correct } = given;
		if (number("bytesDone") && number("bytesTotal")) return {
			unit: "bytes",
			done: bytesDone,
			total: bytesTotal
		};
		if (number("received")) return {
			unit: "bytes",
			done: received,
			total
		};
		if (number("files") && number("totalFiles")) return {
			unit: "files",
			done: files,
			total: totalFiles
		};
		if (number("done") && number("total")) return {
			unit: "samples",
			done,
			total,
			correct
		};
	}
	throw new ConfigError(`showProgress: expected what an \`onProgress\` receives, got ${describeGiven(progress)}`, { hint: "Write onProgress: showProgress('evaluating'); of your own counts, give { done, total }." });
}
var ShownWork = class {
	unit;
	done = 0;
	isDone = false;
	#label;
	#line;
	#start = performance.now();
	#first;
	#lastLine = this.#start;
	#amount;
	#hasEnded = false;
	constructor(label, amount, line) {
		const { unit, done, total } = amount;
		this.#amount = amount;
		this.#label = label;
		this.unit = unit;
		this.#first = unit === "samples" || done === total ? 0 : done;
		this.#line = line;
		line.hold();
	}
	show(amount) {
		const now = performance.now();
		this.done = amount.done;
		this.isDone = amount.total !== void 0 && amount.done >= amount.total;
		this.#amount = amount;
		if (this.isDone) this.end();
		else if (this.#line.isLive) {
			const share = amount.total === void 0 ? void 0 : amount.done / amount.total;
			this.#line.draw(this.#fitted(this.#pieces(amount, now), share), now);
		} else if (now - this.#lastLine >= LINE_MS) {
			this.#lastLine = now;
			this.#print(this.#pieces(amount, now));
		}
	}
	end() {
		if (this.#hasEnded) return;
		this.#hasEnded = true;
		const amount = this.#amount;
		if (this.isDone || amount.total === void 0) this.#print([
			{
				text: `${this.#label}: ${this.#count(amount.done)}`,
				rank: 0
			},
			...this.#right(amount),
			{
				text: `in ${formatDuration((performance.now() - this.#start) / 1e3)}`,
				rank: 1
			}
		]);
		this.#line.release();
	}
	#pieces(amount, now) {
		const { done, total } = amount;
		const rate = (done - this.#first) / Math.max((now - this.#start) / 1e3, 1e-9);
		const left = total === void 0 || rate <= 0 ? void 0 : (total - done) / rate;
		return [
			{
				text: this.#label,
				rank: 2
			},
			{
				text: total === void 0 ? this.#count(done) : this.#countOf(done, total),
				rank: 1
			},
			...this.#right(amount),
			...this.unit === "bytes" ? [{
				text: `${formatBytes(Math.round(rate))}/s`,
				rank: 4
			}] : [],
			...left === void 0 ? [] : [{
				text: `${formatDuration(left)} left`,
				rank: 0,
				style: "cyan"
			}]
		];
	}
	#right({ correct, done }) {
		return correct === void 0 || done === 0 ? [] : [{
			text: `${(100 * correct / done).toFixed(1)} % right`,
			rank: 3
		}];
	}
	#count(amount) {
		if (this.unit === "bytes") return formatBytes(amount);
		return this.unit === "files" ? `${amount} files` : `${amount} done`;
	}
	#countOf(done, total) {
		return this.unit === "bytes" ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done}/${total}`;
	}
	#fitted(pieces, share) {
		const { columns, usesColor } = this.#line;
		return fitPieces(pieces, {
			columns,
			share,
			usesColor
		});
	}
	#print(pieces) {
		this.#line.print(this.#fitted(pieces));
	}
};
// src/monitor/protobuf-message.ts
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
var ProtobufMessage = class ProtobufMessage {
	#parts = [];
	integer(field, value) {
		this.#parts.push(varint(tag(field, VARINT)), varint(value));
		return this;
	}
	double(field, value) {
		const bytes = Buffer.alloc(8);
		bytes.writeDoubleLE(value);
		this.#parts.push(varint(tag(field, FIXED64)), bytes);
		return this;
	}
	float(field, value) {
		const bytes = Buffer.alloc(4);
		bytes.writeFloatLE(value);
		this.#parts.push(varint(tag(field, FIXED32)), bytes);
		return this;
	}
	bytes(field, value) {
		const bytes = value instanceof ProtobufMessage ? value.encode() : Buffer.from(value);
		this.#parts.push(varint(tag(field, LENGTH_DELIMITED)), varint(bytes.length), bytes);
		return this;
	}
	encode() {
		return Buffer.concat(this.#parts);
	}
};
function tag(field, wireType) {
	return field * 8 + wireType;
}
function varint(value) {
	const bytes = [];
	let rest = value;
	for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(rest % 128 + 128);
	bytes.push(rest);
	return Uint8Array.from(bytes);
}
// src/monitor/event-record.ts
const FILE_VERSION = "brain.Event:2";
const SESSION_START = 1;
const STRING_TYPE = 7;
function versionRecord(time) {
	return record(new ProtobufMessage().double(1, time).bytes(3, FILE_VERSION));
}
function purgeRecord(time, step) {
	const session = new ProtobufMessage().integer(1, SESSION_START);
	return record(eventAt(time, step).bytes(7, session));
}
function scalarsRecord(time, step, scalars) {
	const summary = new ProtobufMessage();
	for (const [tag, value] of scalars) summary.bytes(1, new ProtobufMessage().bytes(1, tag).float(2, value));
	return record(eventAt(time, step).bytes(5, summary));
}
function textRecord(time, step, tag, text) {
	const plugin = new ProtobufMessage().bytes(1, "text");
	const metadata = new ProtobufMessage().bytes(1, plugin);
	const shape = new ProtobufMessage().bytes(2, new ProtobufMessage().integer(1, 1));
	const tensor = new ProtobufMessage().integer(1, STRING_TYPE).bytes(2, shape).bytes(8, text);
	const value = new ProtobufMessage().bytes(1, `${tag}/text_summary`).bytes(8, tensor).bytes(9, metadata);
	return record(eventAt(time, step).bytes(5, new ProtobufMessage().bytes(1, value)));
}
function eventAt(time, step) {
	return new ProtobufMessage().double(1, time).integer(2, step);
}
function record(event) {
	const content = event.encode();
	const head = Buffer.alloc(12);
	head.writeBigUInt64LE(BigInt(content.length));
	head.writeUInt32LE(maskedCrc(head.subarray(0, 8)), 8);
	const tail = Buffer.alloc(4);
	tail.writeUInt32LE(maskedCrc(content));
	return Buffer.concat([
		head,
		content,
		tail
	]);
}
function maskedCrc(bytes) {
	const crc = new Crc("crc32c").update(bytes).value;
	return (crc >>> 15 | crc << 17) + 2726488792 >>> 0;
}
// src/monitor/tensorboard.ts
function tensorBoard(options = {}) {
	checkNames(options, {
		folder: false,
		every: false
	}, "tensorBoard", {
		logdir: "folder",
		loggingdir: "folder",
		path: "folder"
	});
	const { every = "log" } = options;
	if (options.folder !== void 0) requirePath(options.folder, "tensorBoard: `folder`");
	if (every !== "log" && every !== "step") throw new ConfigError(`tensorBoard: \`every\`: expected "log" or "step", got ${showValue(every)}`);
	const folder = options.folder === void 0 ? void 0 : resolve(options.folder);
	let file;
	const run = new OneRun();
	return {
		name: "tensorBoard",
		async onStart({ config, step }) {
			run.begin("tensorBoard");
			file = await newEventFile(folder ?? join(config.outputDir, "runs"));
			const time = now();
			const purged = step === 0 ? 0 : step + 1;
			const text = asCode(JSON.stringify(config, void 0, 2));
			await file.append(Buffer.concat([
				versionRecord(time),
				purgeRecord(time, purged),
				textRecord(time, step, "config", text)
			]));
		},
		async onEvent(event) {
			if (event.type === "warning") await file?.append(textRecord(now(), event.step, "warnings", asCode(event.message)));
			const scalars = Object.entries(scalarsOf(event, every));
			if (scalars.length > 0) await file?.append(scalarsRecord(now(), event.step, scalars));
		},
		async onClose() {
			if (!run.end()) return;
			await file?.close();
			file = void 0;
		}
	};
}
const now = () => Date.now() / 1e3;
const EVENT_FILE = /^events\.out\.tfevents\.(\d{10})\./;
async function newEventFile(folder) {
	const others = (await writing(folder, async () => {
		await mkdir(folder, { recursive: true });
		return readdir(folder);
	})).map((name) => Number(EVENT_FILE.exec(name)?.[1] ?? 0));
	const seconds = Math.max(Math.floor(now()), ...others.map((second) => second + 1));
	const host = hostname().replace(/[^\w.-]/g, "_");
	const unique = `${process.pid}.${randomBytes(3).toString("hex")}`;
	return AppendedFile.open(join(folder, `events.out.tfevents.${String(seconds).padStart(10, "0")}.${host}.${unique}`), true);
}
function asCode(text) {
	return text.replace(/^/gm, "    ");
}
export { jsonLines, livePage, scalarsOf, showProgress, tensorBoard };
