import { t as displayWidth } from "./display-width-D3AspX99.js";
import { n as styled, t as usesColor } from "./terminal-color-B6tTStTQ.js";
import { n as optionsOf } from "./command-B-eBreRv.js";
import { t as kernelCacheFolder } from "./cache-file-D-EUg_Fi.js";
import { m as reasonOf, p as TuneError, x as oneLine } from "./errors-D4G-NQir.js";
import { a as hubCacheFolder, r as findHubToken, t as TOKEN_HINT } from "./token-0RQ7dBdg.js";
import { a as CREDENTIALS_HINT, n as kaggleCacheFolder, o as findKaggleCredentials } from "./dataset-cache-__ys7vwA.js";
import { t as formatBytes } from "./format-bytes-Ci_JMus2.js";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { access, constants, stat, statfs } from "node:fs/promises";
import { availableParallelism, homedir, totalmem } from "node:os";
// src/cli/doctor-checks.ts
const LEAST_NODE = [20, 10];
const LEAST_CAPABILITY = 80;
const E4M3_CAPABILITY = 89;
const WANTED_DISK = 40 * 2 ** 30;
async function doctorChecks(options = {}) {
	const { env = process.env, home = homeFolder(), machine = findMachine } = options;
	return [
		nodeCheck(process.versions.node),
		{
			name: "host",
			state: "ok",
			found: `${availableParallelism()} cores, ${formatBytes(totalmem())} of memory`
		},
		...await cardChecks(machine),
		...await Promise.all([
			diskCheck("Hub cache", () => hubCacheFolder(void 0, env)),
			diskCheck("Kaggle cache", () => kaggleCacheFolder(void 0, env)),
			diskCheck("kernel cache", () => kernelCacheFolder(env)),
			diskCheck("working folder", () => process.cwd()),
			tokenCheck("Hub token", TOKEN_HINT, async () => (await findHubToken(void 0, env))?.source),
			tokenCheck("Kaggle token", CREDENTIALS_HINT, async () => {
				return (await findKaggleCredentials(void 0, {
					env,
					home,
					onWarning: () => void 0
				}))?.source;
			})
		]),
		...peerChecks()
	];
}
function homeFolder() {
	try {
		return homedir();
	} catch {
		return "/";
	}
}
async function findMachine() {
	const { inspectMachine } = await import("./inspect-machine-B4mkzbSO.js");
	return inspectMachine();
}
function nodeCheck(version) {
	const [major = 0, minor = 0] = version.split(".").map(Number);
	const isEnough = major > LEAST_NODE[0] || major === LEAST_NODE[0] && minor >= LEAST_NODE[1];
	const found = `${version}, ${process.platform} ${process.arch}`;
	if (isEnough) return {
		name: "Node",
		state: "ok",
		found
	};
	return {
		name: "Node",
		state: "missing",
		found,
		cure: `install Node ${LEAST_NODE.join(".")} or newer (nodejs.org)`
	};
}
async function cardChecks(machine) {
	if (process.platform !== "linux" && machine === findMachine) return [{
		name: "cuda engine",
		state: "optional",
		found: `runs on Linux, not on ${process.platform}`,
		cure: "use the cpu engine here"
	}];
	let found;
	try {
		found = await machine();
	} catch (error) {
		return [{
			name: "cuda engine",
			state: "optional",
			found: `cannot be looked for: ${oneLine(reasonOf(error))}`,
			cure: "reinstall with `npm install`, for this system and without --omit=optional"
		}];
	}
	const { libraries, driverVersion, cards, fault } = found;
	const version = driverVersion === void 0 ? "" : `, for CUDA ${Math.floor(driverVersion / 1e3)}.${Math.floor(driverVersion % 1e3 / 10)}`;
	const first = libraries.find(({ path }) => path === void 0);
	const checks = libraries.map((library) => {
		return libraryCheck(library === first ? library : {
			...library,
			folders: []
		}, library.name === "driver" ? version : "");
	});
	if (cards.length > 0) return [...checks, ...cards.map(cardCheck)];
	if (libraries[0]?.path === void 0) return checks;
	const cure = "check nvidia-smi and CUDA_VISIBLE_DEVICES; in a container, start it with GPU access (docker run --gpus all)";
	return [...checks, {
		name: "card",
		state: "optional",
		found: oneLine(fault ?? "none"),
		cure
	}];
}
const LIBRARY_TITLES = {
	driver: "NVIDIA driver",
	nvml: "NVML",
	nvrtc: "NVRTC",
	cublasLt: "cuBLASLt"
};
function libraryCheck({ name, fileNames, path, cure, folders }, version) {
	const title = LIBRARY_TITLES[name];
	if (path !== void 0) return {
		name: title,
		state: "ok",
		found: `${oneLine(path)}${version}`
	};
	const places = folders.length > 0 ? `; looked in the loader's path and ${folders.map(oneLine).join(", ")}` : "";
	return {
		name: title,
		state: "optional",
		found: `${fileNames.join(" or ")} not found${places}`,
		cure
	};
}
function cardCheck({ ordinal, name, totalBytes, capability }) {
	const shown = `${Math.floor(capability / 10)}.${capability % 10}`;
	const found = `${oneLine(name)}, ${formatBytes(totalBytes)}, compute capability ${shown}`;
	if (capability < LEAST_CAPABILITY) return {
		name: `card ${ordinal}`,
		state: "optional",
		found,
		cure: "the cuda engine computes in bfloat16, which needs compute capability 8.0 (Ampere) or newer"
	};
	const e4m3 = capability >= E4M3_CAPABILITY ? "bf16 and e4m3 products" : "bf16 products; e4m3 ones need 8.9";
	return {
		name: `card ${ordinal}`,
		state: "ok",
		found: `${found}: ${e4m3}`
	};
}
async function diskCheck(name, folderOf) {
	let folder;
	try {
		folder = folderOf();
	} catch (error) {
		return {
			name,
			state: "missing",
			found: error instanceof TuneError ? error.summary : oneLine(reasonOf(error)),
			cure: error instanceof TuneError ? error.hint : "set HOME to a folder of this user"
		};
	}
	for (let at = resolve(folder);; at = dirname(at)) {
		const disk = await statfs(at).catch(() => void 0);
		if (!disk) {
			if (at === dirname(at)) return {
				name,
				state: "optional",
				found: `${oneLine(folder)}: its disk cannot be asked`
			};
			continue;
		}
		const free = disk.bavail * disk.bsize;
		const fault = await writeFault(at);
		if (fault !== void 0) {
			const cure = `${UNWRITABLE[name] ?? "work in another folder"}; what lies there already can be read`;
			return {
				name,
				state: "optional",
				found: `${oneLine(folder)}: ${oneLine(at)} ${fault}`,
				cure
			};
		}
		const found = `${oneLine(folder)}: ${formatBytes(free)} free`;
		if (free >= WANTED_DISK || name === "kernel cache") return {
			name,
			state: "ok",
			found
		};
		return {
			name,
			state: "optional",
			found,
			cure: `a 14B model in 16 bits takes 28 GB, a checkpoint under 1 GB; ${MOVES[name] ?? "free some of it"}`
		};
	}
}
async function writeFault(folder) {
	if (!(await stat(folder)).isDirectory()) return "is not a folder";
	return access(folder, constants.W_OK | constants.X_OK).then(() => void 0, () => "cannot be written to");
}
const UNWRITABLE = {
	"Hub cache": "downloads need another one: set HF_HUB_CACHE",
	"Kaggle cache": "downloads need another one: set KAGGLEHUB_CACHE",
	"kernel cache": "each start compiles the kernels anew: set MINISTRAL_TUNE_CACHE to a folder that can be written to",
	"working folder": "checkpoints need another one: set outputDir, or start elsewhere"
};
const MOVES = {
	"Hub cache": "HF_HUB_CACHE moves it to a larger disk",
	"Kaggle cache": "KAGGLEHUB_CACHE moves it to a larger disk"
};
async function tokenCheck(name, cure, find) {
	try {
		const source = await find();
		if (source !== void 0) return {
			name,
			state: "ok",
			found: `found: ${oneLine(source)}`
		};
		return {
			name,
			state: "optional",
			found: "none: public names need none",
			cure
		};
	} catch (error) {
		if (error instanceof TuneError) return {
			name,
			state: "missing",
			found: error.summary,
			cure: error.hint ?? cure
		};
		return {
			name,
			state: "optional",
			found: `cannot be looked for: ${error instanceof Error ? error.code ?? error.name : "unknown fault"}; is there a HOME?`,
			cure
		};
	}
}
const PEERS = {
	"@tensorflow/tfjs-node-gpu": "only for the tfjs engine on a card: npm install @tensorflow/tfjs-node-gpu",
	"@tensorflow/tfjs-node": "only for the tfjs engine: npm install @tensorflow/tfjs-node"
};
function peerChecks() {
	const load = createRequire(join(process.cwd(), "index.js"));
	return Object.entries(PEERS).map(([name, cure]) => {
		try {
			load.resolve(name);
			return {
				name,
				state: "ok",
				found: "installed"
			};
		} catch {
			return {
				name,
				state: "optional",
				found: "not installed",
				cure
			};
		}
	});
}
// src/cli/doctor-command.ts
const HELP = `ministral-tune doctor [--json]
Tells what this machine has and lacks: Node, driver, CUDA libraries, cards, disk
space of the caches, tokens of the Hub and of Kaggle (whether there are any;
they are never shown), optional packages; and how to get what is missing.

--json   the same as JSON
--help   this text

Exit code: 0 nothing is broken (without a card the cpu engine trains), 1
something is broken, 2 the command line was not understood.`;
const WIDTH = 80;
const NAME_WIDTH = 16;
const doctorCommand = {
	help: HELP,
	async run(args, { print }) {
		const { json, help } = optionsOf(args, {
			json: { type: "boolean" },
			help: {
				type: "boolean",
				short: "h"
			}
		});
		if (help) {
			print(HELP);
			return 0;
		}
		const checks = await doctorChecks();
		print(json ? JSON.stringify(checks, null, 2) : formatChecks(checks));
		return checks.some(({ state }) => state === "missing") ? 1 : 0;
	}
};
const MARKS = {
	ok: ["green", "ok"],
	optional: ["yellow", "--"],
	missing: ["red", "!!"]
};
function formatChecks(checks) {
	const lines = checks.flatMap(({ name, state, found, cure }) => {
		const [color, mark] = MARKS[state];
		const indent = " ".repeat(20);
		const [first, ...rest] = wrap(found, WIDTH - indent.length);
		const isLong = name.length >= NAME_WIDTH;
		const begin = `${styled(color, mark, usesColor(process.stdout))}  ${name.padEnd(NAME_WIDTH)}`;
		return [
			...isLong ? [begin, `${indent}${first}`] : [`${begin}${first}`],
			...rest.map((line) => `${indent}${line}`),
			...wrap(cure === void 0 ? "" : `→ ${cure}`, WIDTH - indent.length).filter((line) => line !== "").map((line) => `${indent}${line}`)
		];
	});
	const broken = checks.filter(({ state }) => state === "missing").length;
	const hasCard = checks.some(({ name, state }) => name.startsWith("card ") && state === "ok");
	const hasLibraries = [
		"NVIDIA driver",
		"NVRTC",
		"cuBLASLt"
	].every((need) => checks.some(({ name, state }) => name === need && state === "ok"));
	const engine = hasCard && hasLibraries ? "The cuda engine can run here." : "The cuda engine cannot run here; the cpu engine can.";
	const verdict = broken === 0 ? "Nothing is broken." : `${broken} ${broken === 1 ? "thing is" : "things are"} broken.`;
	return [
		...lines,
		"",
		`${engine} ${verdict}`
	].join("\n");
}
function wrap(text, width) {
	const lines = [];
	let line = "";
	for (const word of text.split(" ")) if (line !== "" && displayWidth(line) + 1 + displayWidth(word) > width) {
		lines.push(line);
		line = word;
	} else line = line === "" ? word : `${line} ${word}`;
	return [...lines, line];
}
export { doctorCommand };
