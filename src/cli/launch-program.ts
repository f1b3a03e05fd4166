/** What `launch` starts: a program's file, or a command of this package. */
import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { oneLine } from '../messages/one-line.js';
import { UsageError } from './usage.js';

/** Commands that train or evaluate on several GPUs. */
const COMMANDS = ['train', 'evaluate'];
/** The others take one process. */
const ALONE = ['demo', 'merge', 'push', 'plan', 'launch', 'doctor'];
const SCRIPTS = ['.js', '.mjs', '.cjs'];
const TYPED = ['.ts', '.mts', '.cts'];

/**
 * Arguments of `node`.
 * @param main file of this command line
 * @throws UsageError for what is neither a program nor such a command
 */
export function nodeArguments(program: string, args: readonly string[], main: string | undefined): string[] {
  if (COMMANDS.includes(program) && main !== undefined) return [...process.execArgv, main, program, ...args];
  if (ALONE.includes(program) && !existsSync(program)) {
    throw new UsageError(
      `launch: ${program} runs in one process; ${COMMANDS.join(' and ')} alone run on several GPUs`,
      {
        hint: `Without launch: ministral-tune ${program}. A program of your own is named with its ending: train.mjs.`,
      },
    );
  }
  const path = resolve(program);
  const kind = extname(path).toLowerCase();
  const isFile = existsSync(path) && statSync(path).isFile();
  if (!isFile || ![...SCRIPTS, ...TYPED].includes(kind)) {
    const found = !existsSync(path) ? 'is not there' : !isFile ? 'is no file' : 'is none of these';
    throw new UsageError(
      `launch: expected the file of a program (${[...SCRIPTS, ...TYPED].join(', ')}), or ${COMMANDS.join(' or ')}: ` +
        `${oneLine(program)} ${found}`,
    );
  }
  return [...(TYPED.includes(kind) ? typeScriptFlags(path) : []), path, ...args];
}

/** Node takes the types away itself, where it can; else tsx does, if the program has it. */
function typeScriptFlags(path: string): string[] {
  if ('typescript' in process.features && process.features.typescript) return [];
  const flag = '--experimental-strip-types';
  if (process.allowedNodeEnvironmentFlags.has(flag)) return [flag, '--disable-warning=ExperimentalWarning'];
  try {
    return ['--import', pathToFileURL(createRequire(path).resolve('tsx')).href];
  } catch (cause) {
    throw new UsageError(`launch: Node ${process.versions.node} does not run ${oneLine(path)} by itself`, {
      hint: 'Install tsx beside it (npm install tsx), take Node 22.18 or newer, or compile it to JavaScript.',
      cause,
    });
  }
}
