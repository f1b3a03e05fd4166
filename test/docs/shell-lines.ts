/** Commands in the documents: what they call exists, and takes the options that they give. */
import manifest from '../../package.json' with { type: 'json' };
import { demoCommand } from '../../src/cli/demo-command.js';
import { doctorCommand } from '../../src/cli/doctor-command.js';
import { evaluateCommand } from '../../src/cli/evaluate-command.js';
import { launchCommand } from '../../src/cli/launch-command.js';
import { mergeCommand } from '../../src/cli/merge-command.js';
import { planCommand } from '../../src/cli/plan-command.js';
import { pushCommand } from '../../src/cli/push-command.js';
import { trainCommand } from '../../src/cli/train-command.js';
import type { Command } from '../../src/cli/usage.js';
import type { Block } from './snippets.js';

const COMMANDS: Readonly<Record<string, Command>> = {
  ...{ demo: demoCommand, doctor: doctorCommand, evaluate: evaluateCommand, merge: mergeCommand, plan: planCommand },
  ...{ launch: launchCommand, push: pushCommand, train: trainCommand },
};

/** Complaints about the ```sh blocks of a page. */
export function checkShellLines(blocks: readonly Block[]): string[] {
  const complaints: string[] = [];
  for (const { file, line, language, code } of blocks) {
    if (language !== 'sh') continue;
    // A line that ends with a backslash goes on in the next.
    const lines = code.replace(/\\\n/g, () => ' ').split('\n');
    for (const [i, text] of lines.entries()) {
      for (const words of commandsOf(text)) {
        const fault = faultOf(words);
        if (fault) complaints.push(`${file}:${line + i}: ${fault}`);
      }
    }
  }
  return complaints;
}

/** Words of each command of a line, without comments and what follows a redirection. */
function commandsOf(line: string): string[][] {
  const words = line.match(/"[^"]*"|'[^']*'|&&|\|\||[|;<>]|[^\s"'|;<>]+/g) ?? [];
  const end = words.findIndex((word) => word.startsWith('#'));
  const commands: string[][] = [[]];
  let isTarget = false;
  for (const word of end < 0 ? words : words.slice(0, end)) {
    if (/^(&&|\|\||[|;])$/.test(word)) commands.push([]);
    else if (/^[<>]$/.test(word)) isTarget = true;
    else if (isTarget) isTarget = false;
    else commands.at(-1)!.push(word.replace(/^(["'])(.*)\1$/, '$2'));
  }
  return commands;
}

function faultOf(words: readonly string[]): string | undefined {
  const [program, call, ...args] = words.filter((word, i) => i > 0 || !/^\w+=/.test(word));
  if (program === 'npm' && call === 'run' && !Object.hasOwn(manifest.scripts, args[0] ?? '')) {
    return `package.json has no script "${args[0]}"`;
  }
  if (program !== 'npx' || call !== manifest.name) return undefined;
  const [name = '--help', ...options] = args;
  if (name.startsWith('-')) return undefined;
  if (!Object.hasOwn(COMMANDS, name)) return `ministral-tune has no command "${name}"`;
  try {
    COMMANDS[name]!.check(options);
    return undefined;
  } catch (error) {
    return `ministral-tune ${name}: ${(error as Error).message}`;
  }
}
