import { r as readRegularFile } from "./regular-file-BhWpSxEj.js";
// src/files/read-json.ts
const MAX_CONFIG_BYTES = 1048576;
const MAX_DEPTH = 100;
const MAX_CONTAINERS = 1e6;
var JsonFault = class extends SyntaxError {};
async function readJson(path, options = {}) {
	return parseJson(await readRegularFile(path, options.maxBytes ?? 1048576), options);
}
function parseJson(bytes, options = {}) {
	checkNesting(bytes, options.maxContainers ?? MAX_CONTAINERS);
	let text;
	try {
		text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
	} catch {
		throw new JsonFault("it is not UTF-8");
	}
	if (text.startsWith("version https://git-lfs")) throw new JsonFault("it is a pointer of Git LFS: fetch the file with `git lfs pull`");
	const value = JSON.parse(text);
	if (!options.anyKey && /__proto__|\\u00/i.test(text) && hasProtoKey(value)) throw new JsonFault("it has a key __proto__");
	return value;
}
function checkNesting(bytes, maxContainers) {
	let depth = 0;
	let containers = 0;
	for (let i = 0; i < bytes.length; i++) {
		const byte = bytes[i];
		if (byte === 34) {
			for (i++; i < bytes.length && bytes[i] !== 34; i++) if (bytes[i] === 92) i++;
		} else if (byte === 123 || byte === 91) {
			if (++depth > MAX_DEPTH) throw new JsonFault(`it nests more than ${MAX_DEPTH} deep`);
			if (++containers > maxContainers) throw new JsonFault(`it has more than ${maxContainers} lists and objects`);
		} else if (byte === 125 || byte === 93) depth--;
	}
}
function hasProtoKey(value) {
	if (typeof value !== "object" || value === null) return false;
	return Object.hasOwn(value, "__proto__") || Object.values(value).some(hasProtoKey);
}
export { readJson as i, MAX_CONFIG_BYTES as n, parseJson as r, JsonFault as t };
