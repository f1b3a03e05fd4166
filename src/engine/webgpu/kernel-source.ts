/**
 * Texts of kernels from the files that they are made of: `//#include FILE` takes a file in once, and
 * `//#if NAME` or `//#if NAME == VALUE`, `//#elif …`, `//#else`, `//#endif` choose by what is defined. A name that is
 * defined stands as `${NAME}` for its value. `//#for NAME COUNT` … `//#endfor` repeats its lines with NAME from 0 to
 * COUNT - 1: indices are constants then, which Dawn does not clamp, and drivers need not unroll.
 */
import { EngineError } from '../../errors.js';

/** Values by name; a name that is missing is not defined. */
export type Defines = Readonly<Record<string, string | number | boolean>>;

const DIRECTIVE = /^\s*\/\/#(\w+)\s*(.*?)\s*$/;

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
    takeLines(name, text.split('\n'), 0, defines);
  };
  const takeLines = (name: string, texts: readonly string[], first: number, known: Defines): void => {
    const branches: Branch[] = [];
    const isOn = (): boolean => branches.every(({ isTaken }) => isTaken);
    const filled = (line: string): string => line.replace(/\$\{(\w+)\}/g, (_, key: string) => textOf(known, key, name));
    for (let i = 0; i < texts.length; i++) {
      const line = texts[i]!;
      const [, directive, rest = ''] = DIRECTIVE.exec(line) ?? [];
      const fail = (): never => {
        throw new EngineError(`${name}:${first + i + 1}: "${line.trim()}" does not match the directives before it`);
      };
      switch (directive) {
        case undefined:
          if (isOn()) lines.push(filled(line));
          break;
        case 'include':
          if (isOn()) take(filled(rest));
          break;
        case 'for': {
          const end = endOfLoop(texts, i);
          if (end < 0) fail();
          if (isOn()) {
            const [variable = '', count] = filled(rest).split(/\s+/);
            const times = Number(count);
            if (!/^\w+$/.test(variable) || !Number.isSafeInteger(times) || times < 0)
              throw new EngineError(`${name}:${first + i + 1}: "${line.trim()}" needs a name and a count`);
            const body = texts.slice(i + 1, end);
            for (let at = 0; at < times; at++) takeLines(name, body, first + i + 1, { ...known, [variable]: at });
          }
          i = end;
          break;
        }
        case 'if': {
          const holds = conditionHolds(rest, known);
          branches.push({ isTaken: holds, wasTaken: holds });
          break;
        }
        case 'elif':
        case 'else': {
          const branch = branches.at(-1) ?? fail();
          branch.isTaken = !branch.wasTaken && (directive === 'else' || conditionHolds(rest, known));
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

/** Of the `//#for` at this line: its `//#endfor`, or -1. */
function endOfLoop(lines: readonly string[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    const [, directive] = DIRECTIVE.exec(lines[i]!) ?? [];
    if (directive === 'for') depth++;
    else if (directive === 'endfor' && --depth === 0) return i;
  }
  return -1;
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
