import { n as ConfigError } from "./errors-D4G-NQir.js";
import { t as exists } from "./regular-file-BhWpSxEj.js";
import { n as writeError, r as writing } from "./disk-errors-BOmEIM_5.js";
import { d as writeFileAtomically } from "./atomic-file-D2Hfhe-X.js";
import { dirname, join, resolve } from "node:path";
import { mkdir, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { randomUUID } from "node:crypto";
// src/kaggle/credentials.ts
const CREDENTIALS_HINT = "Make a token on https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN, or save it as ~/.kaggle/access_token; a user name and key go into KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json.";
async function findKaggleCredentials(login, search = {
	env: process.env,
	home: homedir(),
	onWarning: () => void 0
}) {
	if (login) return "token" in login ? bearer(login.token, "the option `login`") : basic(login.username, login.key, "the option `login`");
	const { env, home } = search;
	if (env["KAGGLE_KERNEL_RUN_TYPE"] && env["KAGGLE_API_V1_TOKEN"]) {
		const path = env["KAGGLE_API_V1_TOKEN"];
		const token = await readToken(path);
		if (token) return bearer(token, `${path}, named by KAGGLE_API_V1_TOKEN`);
	}
	const given = env["KAGGLE_API_TOKEN"]?.trim();
	if (given) {
		const found = await stat(given).catch(() => void 0);
		if (!found || found.isDirectory()) return bearer(given, "KAGGLE_API_TOKEN");
		const token = await readToken(given, search);
		if (token) return bearer(token, `${given}, named by KAGGLE_API_TOKEN`);
	}
	for (const name of ["access_token", "access_token.txt"]) {
		const path = join(home, ".kaggle", name);
		const token = await readToken(path, search);
		if (token) return bearer(token, path);
	}
	const { KAGGLE_USERNAME: username, KAGGLE_KEY: key } = env;
	if (username && key) return basic(username, key, "KAGGLE_USERNAME and KAGGLE_KEY");
	if (username || key) search.onWarning(`${username ? "KAGGLE_USERNAME" : "KAGGLE_KEY"} is set alone and not used: both are needed`);
	return await readKaggleJson(await kaggleJsonPath(search), search) ?? readLogin(search);
}
async function readLogin(search) {
	const path = join(search.home, ".kaggle", "credentials.json");
	const content = await readSecretJson(path, search);
	if (content === void 0) return void 0;
	const { access_token: token, access_token_expiration: end } = content;
	const login = "run `kaggle auth login`, or make a token: see the settings of your account";
	if (typeof token !== "string" || token === "") {
		search.onWarning(`${path}: no "access_token" in it, it is not used; ${login}`);
		return;
	}
	if (typeof end === "string" && Date.parse(end) <= Date.now()) {
		search.onWarning(`${path}: its token ended on ${new Date(end).toISOString()}, it is not used; ${login}`);
		return;
	}
	return bearer(token, path);
}
function bearer(token, source) {
	if (!/^[\x21-\x7e]+$/.test(token)) throw new ConfigError(`${source}: no Kaggle token: it has white space or characters beyond ASCII in it`, {
		hint: CREDENTIALS_HINT,
		details: { source }
	});
	return {
		authorization: `Bearer ${token}`,
		source,
		secrets: [token]
	};
}
function basic(username, key, source) {
	const encoded = Buffer.from(`${username}:${key}`).toString("base64");
	return {
		authorization: `Basic ${encoded}`,
		source,
		secrets: [key, encoded]
	};
}
async function readToken(path, search) {
	const text = (await readIfThere(path))?.trim();
	if (text && search) await warnIfReadable(path, search);
	return text || void 0;
}
async function kaggleJsonPath({ env, home }) {
	if (env["KAGGLE_CONFIG_DIR"]) return join(env["KAGGLE_CONFIG_DIR"], "kaggle.json");
	const folder = join(home, ".kaggle");
	if (process.platform !== "linux" || await exists(folder)) return join(folder, "kaggle.json");
	return join(env["XDG_CONFIG_HOME"] || join(home, ".config"), "kaggle", "kaggle.json");
}
async function readKaggleJson(path, search) {
	const content = await readSecretJson(path, search);
	if (content === void 0) return void 0;
	const { username, key } = content;
	if (username === void 0 && key === void 0 && Object.keys(content).length > 0) {
		const login = await readLogin(search);
		if (login) return login;
	}
	const missing = Object.entries({
		username,
		key
	}).filter(([, value]) => typeof value !== "string" || value === "");
	if (missing.length > 0) throw new ConfigError(`${path}: no ${missing.map(([name]) => `"${name}"`).join(" and no ")} in it`, {
		hint: "Expected {\"username\": \"...\", \"key\": \"...\"}, as Kaggle writes the file.",
		details: { path }
	});
	return basic(username, key, path);
}
async function readSecretJson(path, search) {
	const text = await readIfThere(path);
	if (text === void 0) return void 0;
	await warnIfReadable(path, search);
	try {
		const content = JSON.parse(text);
		return typeof content === "object" && content !== null ? content : {};
	} catch {
		throw new ConfigError(`${path}: no valid JSON`, {
			hint: CREDENTIALS_HINT,
			details: { path }
		});
	}
}
async function readIfThere(path) {
	try {
		return await readFile(path, "utf8");
	} catch (cause) {
		const { code = "" } = cause;
		if ([
			"ENOENT",
			"ENOTDIR",
			"EISDIR",
			"ENAMETOOLONG",
			"ERR_INVALID_ARG_VALUE"
		].includes(code)) return void 0;
		throw new ConfigError(`${path}: the credentials cannot be read: ${code}`, {
			details: { path },
			cause
		});
	}
}
async function warnIfReadable(path, { onWarning }) {
	if (process.platform === "win32") return;
	const { mode } = await stat(path);
	if (mode & 63) onWarning(`${path}: others on this machine may read these credentials; run: chmod 600 ${path}`);
}
// src/kaggle/dataset-cache.ts
function kaggleCacheFolder(option, env = process.env) {
	return resolve(option || env["KAGGLEHUB_CACHE"] || join(homedir(), ".cache", "kagglehub"));
}
var CachePlace = class {
	folder;
	archive;
	lock;
	#marker;
	#temporary;
	constructor(root, source) {
		const [folder, files, name] = "competition" in source ? [
			join(root, "competitions"),
			"",
			source.competition
		] : [
			datasetFolder(root, source),
			"versions",
			String(source.version)
		];
		this.folder = join(folder, files, name);
		this.archive = join(folder, `.${name}.zip`);
		this.lock = join(folder, `.${name}.lock`);
		this.#marker = join(folder, `${name}.complete`);
		this.#temporary = files === "" ? `.${name}.unpacking.` : `.${name}.`;
	}
	async isComplete() {
		return (await stat(this.#marker).catch(() => void 0) && await stat(this.folder).catch(() => void 0))?.isDirectory() ?? false;
	}
	async replace(fill) {
		const parent = dirname(this.folder);
		await writing(this.folder, async () => {
			await mkdir(parent, { recursive: true });
			for (const name of await readdir(parent)) if (name.startsWith(this.#temporary)) await rm(join(parent, name), {
				recursive: true,
				force: true
			});
		});
		const temporary = join(parent, `${this.#temporary}${randomUUID()}`);
		try {
			await fill(temporary);
			await rm(this.#marker, { force: true });
			await rm(this.folder, {
				recursive: true,
				force: true
			});
			await rename(temporary, this.folder);
			await writeFileAtomically(this.#marker, "");
		} catch (cause) {
			await rm(temporary, {
				recursive: true,
				force: true
			});
			throw writeError(cause, this.folder);
		}
	}
};
async function latestComplete(root, dataset) {
	const versions = (await readdir(datasetFolder(root, dataset)).catch(() => [])).flatMap((name) => /^(\d+)\.complete$/.exec(name)?.[1] ?? []).map(Number);
	for (const version of versions.sort((a, b) => b - a)) if (await new CachePlace(root, {
		...dataset,
		version
	}).isComplete()) return version;
}
async function nameInCache(root, source) {
	if ("competition" in source) return { competition: await sameName(join(root, "competitions"), source.competition) };
	const owner = await sameName(join(root, "datasets"), source.owner);
	return {
		...source,
		owner,
		dataset: await sameName(join(root, "datasets", owner), source.dataset)
	};
}
async function sameName(folder, name) {
	const names = await readdir(folder).catch(() => []);
	if (names.includes(name)) return name;
	return names.find((other) => other.toLowerCase() === name.toLowerCase()) ?? name;
}
function datasetFolder(root, { owner, dataset }) {
	return join(root, "datasets", owner, dataset);
}
export { CREDENTIALS_HINT as a, nameInCache as i, kaggleCacheFolder as n, findKaggleCredentials as o, latestComplete as r, CachePlace as t };
