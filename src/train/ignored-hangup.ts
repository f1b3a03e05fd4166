/** Whether whoever started the process wants it to outlive its terminal. */
import { fstatSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';

/**
 * Whether SIGHUP was ignored when the process was started, as `nohup` and `trap '' HUP` do. Node gives ignored signals
 * their default effect again, so it is told by what is left: the parent that ignores it too, the shell's name for the
 * command, and the input that nohup makes unreadable.
 */
export function isHangupIgnored(): boolean {
  if (process.platform === 'win32') return false;
  // A parent that has died left another in its place.
  const parent = process.ppid > 1 ? process.ppid : undefined;
  if (ignores('self') || (parent && ignores(parent)) || hasUnreadableInput()) return true;
  // Handed on by a parent that was started so itself, it says nothing of this process.
  return isNohup(process.env['_']) && !(parent && isNohup(environmentOf(parent).get('_')));
}

function isNohup(command: string | undefined): boolean {
  return basename(command ?? '') === 'nohup';
}

function environmentOf(pid: number): ReadonlyMap<string, string> {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
  } catch {
    return new Map();
  }
}

/** Linux alone has these files. */
function ignores(pid: number | 'self'): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false;
  }
}

/** GNU's nohup opens /dev/null for writing alone in the place of a terminal. */
function hasUnreadableInput(): boolean {
  try {
    if (fstatSync(0).rdev !== statSync('/dev/null').rdev) return false;
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & 3) === 1;
  } catch {
    return false;
  }
}
