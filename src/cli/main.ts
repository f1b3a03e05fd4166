#!/usr/bin/env node
/** `npx ministral-tune COMMAND`. */
import { runCommand } from './run-command.js';

// That nobody reads the output any more is no fault: `| head -1`.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
process.exitCode = await runCommand(process.argv.slice(2), {
  print: (text) => process.stdout.write(`${text}\n`),
  printError: (text) => process.stderr.write(`${text}\n`),
});
