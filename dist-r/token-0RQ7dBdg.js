import { n as ConfigError } from "./errors-D4G-NQir.js";
import { join, resolve, sep } from "node:path";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
// src/hub/environment.ts
function hubHome(env = process.env) {
	return expandPath(env["HF_HOME"] || join(env["XDG_CACHE_HOME"] || "~/.cache", "huggingface"), env);
}
function hubCacheFolder(option, env = process.env) {
	const named = env["HF_HUB_CACHE"] || env["HUGGINGFACE_HUB_CACHE"];
	const path = option ? expandHome(option) : named ? expandPath(named, env) : join(hubHome(env), "hub");
	if (path.includes("\0")) throw new ConfigError("the folder of the cache has a NUL character in its name", { hint: "Give another `cacheDir`, or set HF_HUB_CACHE or HF_HOME to another one." });
	return resolve(path);
}
function hubEndpoint(option, env = process.env) {
	const { url } = parseEndpoint(option, env);
	return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}
function parseEndpoint(option, env) {
	const given = option || env["HF_ENDPOINT"] || "https://huggingface.co";
	const source = option ? "`endpoint`" : "HF_ENDPOINT";
	const url = URL.canParse(given) ? new URL(given) : void 0;
	if (url && /^https?:$/.test(url.protocol) && !url.search && !url.hash && isDecodable(url)) return {
		url,
		source
	};
	throw new ConfigError(`${source}: no address of a Hub: ${url ? `${url.protocol}//${url.host}` : "not a URL"}`, { hint: "Expected something like https://huggingface.co or https://mirror.example/hf, without query; a user and password before the host with special characters as %XX." });
}
function isDecodable({ username, password }) {
	try {
		return decodeURIComponent(username + password) !== void 0;
	} catch {
		return false;
	}
}
function offlineReason(localFilesOnly, env = process.env) {
	if (localFilesOnly) return "localFilesOnly is set";
	const name = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].find((key) => env[key]);
	return name && isTrue(env[name]) ? `${name} is set` : void 0;
}
function isTrue(value) {
	return [
		"1",
		"ON",
		"YES",
		"TRUE"
	].includes(value?.toUpperCase() ?? "");
}
function expandPath(path, env) {
	return expandHome(path).replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, bare, braced) => env[bare ?? braced] ?? all);
}
function expandHome(path, home = homedir()) {
	return path === "~" || path.startsWith("~/") || path.startsWith(`~${sep}`) ? join(home, path.slice(1)) : path;
}
// src/hub/token.ts
const TOKEN_HINT = "Make a token on https://huggingface.co/settings/tokens and give it as `token`, in HF_TOKEN, or by `hf auth login`.";
async function findHubToken(given, env = process.env) {
	if (given === false) return void 0;
	if (given !== void 0) return checked(given, "the option `token`");
	if (isTrue(env["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) return void 0;
	for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
		const value = env[name]?.trim();
		if (value) return checked(value, name);
	}
	const path = expandPath(env["HF_TOKEN_PATH"] || join(hubHome(env), "token"), env);
	let text;
	try {
		text = (await readFile(path, "utf8")).trim();
	} catch (cause) {
		const { code } = cause;
		if (code === "ENOENT" || code === "ENOTDIR") return void 0;
		throw new ConfigError(`${path}: the Hub's access token cannot be read: ${code}`, {
			details: { path },
			cause
		});
	}
	return text ? checked(text, path) : void 0;
}
function endpointLogin(option, env = process.env) {
	const { url, source } = parseEndpoint(option, env);
	if (url.username === "" && url.password === "") return void 0;
	const pair = [url.username, url.password].map(decodeURIComponent).join(":");
	return {
		value: Buffer.from(pair).toString("base64"),
		source,
		scheme: "Basic"
	};
}
function checked(value, source) {
	const token = value.trim();
	if (!/^[\x21-\x7e]+$/.test(token)) throw new ConfigError(`${source}: no access token: it is empty, or has white space or characters beyond ASCII in it`, {
		hint: TOKEN_HINT,
		details: { source }
	});
	return {
		value: token,
		source
	};
}
export { hubCacheFolder as a, expandHome as i, endpointLogin as n, hubEndpoint as o, findHubToken as r, offlineReason as s, TOKEN_HINT as t };
