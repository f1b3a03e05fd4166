import { a as EngineError, m as reasonOf } from "./errors-D4G-NQir.js";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
// src/engine/cuda/foreign-calls.ts
const FOREIGN_CALLS_VERSION = "3.3.4";
const FOREIGN_CALLS_PACKAGES = {
	"linux-x64": "@koromix/koffi-linux-x64",
	"linux-arm64": "@koromix/koffi-linux-arm64"
};
let loaded;
function foreignCalls() {
	loaded ??= load(`${process.platform}-${process.arch}`, requireFrom);
	return loaded;
}
function load(system, require) {
	const name = FOREIGN_CALLS_PACKAGES[system];
	if (name === void 0) {
		const systems = Object.keys(FOREIGN_CALLS_PACKAGES).join(" and ");
		throw new EngineError(`the cuda engine runs on ${systems}; this is ${system}`, { hint: "Use the cpu engine here: createEngine('cpu')." });
	}
	const cure = `Install again without --omit=optional (--no-optional), or add it: npm install ${name}@${FOREIGN_CALLS_VERSION}`;
	let calls;
	try {
		calls = require(name);
	} catch (cause) {
		throw new EngineError(`the cuda engine needs the optional package ${name}, which cannot be loaded: ${reasonOf(cause).split("\n")[0]}`, {
			hint: `${cure}.`,
			cause
		});
	}
	if (calls.version !== "3.3.4") throw new EngineError(`the cuda engine needs version ${FOREIGN_CALLS_VERSION} of the package ${name}, but found ${calls.version}`, { hint: `${cure}.` });
	return calls;
}
function requireFrom(name) {
	try {
		return createRequire(import.meta.url)(name);
	} catch (error) {
		const program = process.argv[1];
		if (program === void 0) throw error;
		try {
			return createRequire(pathToFileURL(program))(name);
		} catch {
			throw error;
		}
	}
}
// src/engine/cuda/library-search.ts
function foreignFunctions(library) {
	const known = new Map();
	return (name, parameters) => {
		let found = known.get(name);
		if (!found) {
			found = library.func(name, "int", [...parameters]);
			known.set(name, found);
		}
		return found;
	};
}
function outHandle(body) {
	const out = new BigUint64Array(1);
	body(out);
	return Number(out[0]);
}
const LIBRARIES = {
	driver: {
		names: ["libcuda.so.1"],
		cure: "install the NVIDIA driver; in a container, start it with GPU access (docker run --gpus all)"
	},
	nvml: {
		names: ["libnvidia-ml.so.1"],
		cure: "it comes with the NVIDIA driver; in a container, allow the utility capability"
	},
	nvrtc: {
		names: ["libnvrtc.so.13", "libnvrtc.so.12"],
		cure: "install the CUDA toolkit (cuda-nvrtc), or `pip install nvidia-cuda-nvrtc`, or set CUDA_HOME to a toolkit"
	},
	cublasLt: {
		names: ["libcublasLt.so.13", "libcublasLt.so.12"],
		cure: "install the CUDA toolkit (libcublas), or `pip install nvidia-cublas`, or set CUDA_HOME to a toolkit"
	}
};
function libraryNeeds(name) {
	return LIBRARIES[name];
}
function libraryFolders(environment = process.env) {
	const folders = [];
	const add = (...paths) => {
		for (const path of paths) if (existsSync(path) && !folders.includes(path)) folders.push(path);
	};
	const targets = ["targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];
	const toolkit = (root) => add(...[
		"lib64",
		"lib",
		...targets
	].map((folder) => join(root, folder)));
	for (const name of ["CUDA_HOME", "CUDA_PATH"]) if (environment[name]) toolkit(environment[name]);
	for (const root of list("/usr/local", /^cuda/)) add(...["lib64", ...targets].map((folder) => join(root, folder)));
	add("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib");
	add("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64");
	if (environment.CONDA_PREFIX) toolkit(environment.CONDA_PREFIX);
	for (const root of pythonRoots(environment)) for (const version of list(join(root, "lib"), /^python3/)) for (const packages of ["site-packages", "dist-packages"]) add(...list(join(version, packages, "nvidia"), /./).map((wheel) => join(wheel, "lib")));
	return folders;
}
function pythonRoots(environment) {
	const roots = [environment.VIRTUAL_ENV, environment.CONDA_PREFIX].filter((root) => root !== void 0);
	for (const folder of (environment.PATH ?? "").split(delimiter)) {
		const python = join(folder, "python3");
		if (!existsSync(python)) continue;
		roots.push(dirname(folder), dirname(dirname(realpathSync(python))));
		break;
	}
	return roots;
}
function list(folder, pattern) {
	try {
		return readdirSync(folder).filter((name) => pattern.test(name)).sort().reverse().map((name) => join(folder, name));
	} catch {
		return [];
	}
}
let isStackSet = false;
function enlargeCallStack(calls) {
	if (isStackSet) return;
	isStackSet = true;
	try {
		calls.config({
			sync_stack_size: 16 << 20,
			async_stack_size: 16 << 20
		});
	} catch {}
}
function loadLibrary(name) {
	const calls = foreignCalls();
	enlargeCallStack(calls);
	const { names, cure } = LIBRARIES[name];
	const attempts = [];
	const folders = libraryFolders();
	const inFolders = folders.flatMap((folder) => names.map((file) => join(folder, file)));
	for (const path of [...names, ...inFolders.filter((candidate) => existsSync(candidate))]) try {
		return {
			library: calls.load(path),
			path
		};
	} catch (error) {
		attempts.push(`${path}: ${reasonOf(error)}`);
	}
	const tried = attempts.join("\n    ");
	const places = folders.join("\n    ");
	throw new EngineError(`the cuda engine needs ${names.join(" or ")}, which was not found.\n  tried:\n    ${tried}\n  looked for it in:\n    ${places}`, {
		hint: cure,
		details: {
			library: name,
			attempts,
			folders
		}
	});
}
export { foreignCalls as a, outHandle as i, libraryNeeds as n, loadLibrary as r, foreignFunctions as t };
