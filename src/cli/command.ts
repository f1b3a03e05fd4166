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
  /** Whether what follows the first argument belongs to another program, as with commander's `passThroughOptions`. */
  readonly passesOn?: boolean;
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
      const program = make();
      const own = parts.passesOn ? args.slice(0, args.length - passedOn(program, args)) : args;
      if (own.some((arg) => arg === '--help' || arg === '-h')) {
        output.print(this.help);
        return 0;
      }
      readArguments(program, args);
      const named = program.registeredArguments.map((argument, i) => [argument.name(), program.processedArgs[i]]);
      return parts.run({ ...Object.fromEntries(named), ...program.opts() } as Values, output);
    },
  };
}

/** How many arguments at the end are another program's. */
function passedOn(program: Program, args: readonly string[]): number {
  for (let i = 0; i < args.length; i++) {
    const option = program.options.find(({ long, short }) => [long, short].includes(args[i]!));
    if (option?.required) i++;
    else if (!args[i]!.startsWith('-')) return args.length - i;
  }
  return 0;
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
