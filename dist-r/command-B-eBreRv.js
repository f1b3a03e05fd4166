import { i as nearestName } from "./config-BAD1VLMT.js";
import { m as reasonOf, n as ConfigError } from "./errors-D4G-NQir.js";
import { parseArgs } from "node:util";
// src/cli/command.ts
var UsageError = class extends ConfigError {};
function optionsOf(args, options) {
	try {
		return parseArgs({
			args: [...args],
			options,
			strict: true,
			allowPositionals: false
		}).values;
	} catch (cause) {
		const [, unknown] = /^--([\w-]+)/.exec(args.find((arg) => /^--[\w-]+/.test(arg) && !(nameOf(arg) in options)) ?? "") ?? [];
		const near = unknown === void 0 ? void 0 : nearestName(unknown, Object.keys(options));
		throw new UsageError(unknown === void 0 ? reasonOf(cause) : `unknown option --${unknown}`, { ...near === void 0 ? {} : { hint: `Did you mean --${near}?` } });
	}
}
function nameOf(arg) {
	return arg.slice(2).split("=")[0];
}
export { optionsOf as n, UsageError as t };
