/**
 * Texts of kernels from the files that they are made of: `//#include FILE` takes a file in once, and
 * `//#if NAME` or `//#if NAME == VALUE`, `//#elif …`, `//#else`, `//#endif` choose by what is defined. A name that is
 * defined stands as `${NAME}` for its value.
 */
import { EngineError } from '../../errors.js';

/** Values by name; a name that is missing is not defined. */
export type Defines = Readonly<Record<string, string | number | boolean>>;

interface Branch {
  /** Whether its lines are taken. */
  isTaken: boolean;
  /** Whether an earlier branch of the same condition was. */
  wasTaken: boolean;
}

/** @throws EngineError for a file that is missing, or directives that do not match */
export function kernelSource(sources: Readonly<Record<string, string>>, file: string, defines: Defines = {}): string {
  const included = new Set<string>();
  const lines: string[] = [];
  const take = (name: string): void => {
    if (included.has(name)) return;
    included.add(name);
    const text = sources[name];
    if (text === undefined) throw new EngineError(`the WGSL source ${name} is not in this build`);
    const branches: Branch[] = [];
    const isOn = (): boolean => branches.every(({ isTaken }) => isTaken);
    for (const [i, line] of text.split('\n').entries()) {
      const [, directive, rest = ''] = /^\s*\/\/#(\w+)\s*(.*?)\s*$/.exec(line) ?? [];
      const fail = (): never => {
        throw new EngineError(`${name}:${i + 1}: "${line.trim()}" does not match the directives before it`);
      };
      switch (directive) {
        case undefined:
          if (isOn()) lines.push(line.replace(/\$\{(\w+)\}/g, (_, key: string) => textOf(defines, key, name)));
          break;
        case 'include':
          if (isOn()) take(rest.replace(/\$\{(\w+)\}/g, (_, key: string) => textOf(defines, key, name)));
          break;
        case 'if': {
          const holds = conditionHolds(rest, defines);
          branches.push({ isTaken: holds, wasTaken: holds });
          break;
        }
        case 'elif':
        case 'else': {
          const branch = branches.at(-1) ?? fail();
          branch.isTaken = !branch.wasTaken && (directive === 'else' || conditionHolds(rest, defines));
          branch.wasTaken ||= branch.isTaken;
          break;
        }
        case 'endif':
          if (!branches.pop()) fail();
          break;
        default:
          fail();
      }
    }
    if (branches.length > 0) throw new EngineError(`${name}: an //#if has no //#endif`);
  };
  take(file);
  return lines.join('\n');
}

function conditionHolds(condition: string, defines: Defines): boolean {
  const [name, value] = condition.split(/\s*==\s*/);
  const given = defines[name!];
  return value === undefined ? given !== undefined && given !== false : String(given) === value;
}

function textOf(defines: Defines, key: string, file: string): string {
  const value = defines[key];
  if (value === undefined) throw new EngineError(`${file}: ${key} is not defined`);
  return String(value);
}
