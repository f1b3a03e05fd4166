import { a as EngineError } from "./errors-D4G-NQir.js";
import { a as foreignCalls, n as libraryNeeds, r as loadLibrary, t as foreignFunctions } from "./library-search-CLzoQ0R6.js";
// src/engine/cuda/inspect-machine.ts
const MAJOR = 75;
const MINOR = 76;
const NAME_BYTES = 256;
function inspectMachine() {
	foreignCalls();
	const libraries = [
		"driver",
		"nvml",
		"nvrtc",
		"cublasLt"
	].map((name) => {
		const { names: fileNames, cure } = libraryNeeds(name);
		try {
			return {
				name,
				fileNames,
				cure,
				path: loadLibrary(name).path,
				folders: []
			};
		} catch (error) {
			return {
				name,
				fileNames,
				cure,
				path: void 0,
				folders: error instanceof EngineError ? error.details.folders : []
			};
		}
	});
	if (libraries[0].path === void 0) return {
		libraries,
		driverVersion: void 0,
		cards: [],
		fault: void 0
	};
	try {
		return {
			libraries,
			...readCards()
		};
	} catch (error) {
		return {
			libraries,
			driverVersion: void 0,
			cards: [],
			fault: error instanceof Error ? error.message : String(error)
		};
	}
}
function readCards() {
	const call = foreignFunctions(loadLibrary("driver").library);
	const integer = (name, types, ...values) => {
		const out = new Int32Array(1);
		const status = call(name, ["void*", ...types])(out, ...values);
		if (status !== 0) throw new EngineError(`${name} gave ${status}`);
		return out[0];
	};
	const driverVersion = integer("cuDriverGetVersion", []);
	const status = call("cuInit", ["uint"])(0);
	if (status === 100) return {
		driverVersion,
		cards: [],
		fault: "the driver shows no card"
	};
	if (status !== 0) return {
		driverVersion,
		cards: [],
		fault: `the driver does not start: cuInit gave ${status}`
	};
	const count = integer("cuDeviceGetCount", []);
	const cards = Array.from({ length: count }, (_, ordinal) => {
		const device = integer("cuDeviceGet", ["int"], ordinal);
		const name = Buffer.alloc(NAME_BYTES);
		const total = new BigUint64Array(1);
		call("cuDeviceGetName", [
			"void*",
			"int",
			"int"
		])(name, NAME_BYTES, device);
		call("cuDeviceTotalMem_v2", ["void*", "int"])(total, device);
		const attribute = (which) => integer("cuDeviceGetAttribute", ["int", "int"], which, device);
		return {
			ordinal,
			name: name.toString("utf8").split("\0")[0],
			totalBytes: Number(total[0]),
			capability: 10 * attribute(MAJOR) + attribute(MINOR)
		};
	});
	return {
		driverVersion,
		cards,
		fault: cards.length === 0 ? "the driver shows no card" : void 0
	};
}
export { inspectMachine };
