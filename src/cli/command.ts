/** How a command's options are described and read. */
import { Command as Program } from 'commander';
import { type Command, type Output, UsageError } from './usage.js';

/** What a command is made of. */
interface CommandParts<Values> {
  /** One word. */
  readonly name: string;
  /** In a sentence or two. */
  readonly description: string;
  /** Adds arguments and options: `values` has them by their names in camelCase. */
  readonly define: (program: Program) => Program;
  /** Shown behind the options: what the exit code says, and examples. */
  readonly epilogue: string;
  readonly run: (values: Values, output: Output) => Promise<number>;
}

/** Of help. */
const WIDTH = 80;

/** @param parts `values` are those that were given, options and arguments alike */
export function defineCommand<Values extends object>(parts: CommandParts<Values>): Command {
  const make = (): Program => {
    const program = new Program(`ministral-tune ${parts.name}`)
      .description(parts.description)
      .exitOverride()
      .configureOutput({ getOutHelpWidth: () => WIDTH, getOutHasColors: () => false, writeErr: () => undefined });
    return parts.define(program).helpOption('-h, --help', 'this text').addHelpText('after', `\n${parts.epilogue}`);
  };
  return {
    get help() {
      let text = '';
      make()
        .configureOutput({ writeOut: (piece) => (text += piece) })
        .outputHelp();
      return text.trimEnd();
    },
    check: (args) => readArguments(make(), args),
    async run(args, output) {
      if (args.some((arg) => arg === '--help' || arg === '-h')) {
        output.print(this.help);
        return 0;
      }
      const program = make();
      readArguments(program, args);
      const named = program.registeredArguments.map((argument, i) => [argument.name(), program.processedArgs[i]]);
      return parts.run({ ...Object.fromEntries(named), ...program.opts() } as Values, output);
    },
  };
}

/** @throws UsageError for an unknown option, one without its value, or a text that belongs to none */
function readArguments(program: Program, args: readonly string[]): void {
  let said = '';
  program.configureOutput({ outputError: (text) => (said = text) });
  try {
    program.parse([...args], { from: 'user' });
  } catch (cause) {
    if (said === '') throw cause;
    // `error: unknown option '--modell'`, and in a second line what may have been meant, in parentheses.
    const [text, near] = said
      .replace(/^error: /, '')
      .trim()
      .split('\n');
    throw new UsageError(text!, { hint: near?.replace(/^\((.*)\)$/, '$1'), cause });
  }
}
