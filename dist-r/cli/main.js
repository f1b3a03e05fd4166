#!/usr/bin/env node
import { i as nearestName } from "../config-BAD1VLMT.js";
import { S as printable, m as reasonOf, p as TuneError, x as oneLine } from "../errors-D4G-NQir.js";
import { t as VERSION } from "../version-D73A-Uw_.js";
import { t as UsageError } from "../command-B-eBreRv.js";
// src/cli/run-command.ts
const COMMANDS = {
	plan: async () => (await import("../plan-command-CVRx4eXo.js")).planCommand,
	doctor: async () => (await import("../doctor-command-CTkZclvT.js")).doctorCommand
};
const HELP = `ministral-tune COMMAND [options]

plan     what a run takes before a card is rented: tokens, memory, time, cards
doctor   what this machine has and lacks: driver, libraries, card, disk, tokens

ministral-tune COMMAND --help tells the options of a command, --version the
version of this package.`;
async function runCommand([name = "--help", ...args], output) {
	if (name === "--help" || name === "-h" || name === "help") {
		output.print(HELP);
		return 0;
	}
	if (name === "--version" || name === "-v") {
		output.print(VERSION);
		return 0;
	}
	const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : void 0;
	if (!command) {
		const near = nearestName(name, Object.keys(COMMANDS));
		output.printError(`unknown command ${JSON.stringify(oneLine(name))}${near ? `; did you mean ${near}?` : ""}\n\n${HELP}`);
		return 2;
	}
	let loaded;
	try {
		loaded = await command();
	} catch (error) {
		output.printError(`ministral-tune ${name} cannot be loaded: ${printable(reasonOf(error))}
  hint: Reinstall with \`npm install\`, for this system and without --omit=optional.`);
		return 1;
	}
	try {
		return await loaded.run(args, output);
	} catch (error) {
		if (!(error instanceof TuneError)) throw error;
		output.printError(error.message);
		if (!(error instanceof UsageError)) return 1;
		output.printError(`\`ministral-tune ${name} --help\` tells the options.`);
		return 2;
	}
}
// src/cli/main.ts
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => void 0);
process.exitCode = await runCommand(process.argv.slice(2), {
	print: (text) => process.stdout.write(`${text}\n`),
	printError: (text) => process.stderr.write(`${text}\n`)
});
export {};
