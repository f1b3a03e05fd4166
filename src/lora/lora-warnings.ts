/** Warnings about adapters on their way to the user. */
import { warningLine } from '../messages/one-line.js';

const MAX_REMEMBERED = 1000;
const emitted = new Set<string>();

/** Gives each line to the listener; without one each becomes a warning of the process, once. */
export function warnWith(onWarning: ((line: string) => void) | undefined, lines: readonly string[]): void {
  for (const text of lines) {
    const line = warningLine(text);
    if (onWarning) onWarning(line);
    else if (!emitted.has(line) && emitted.size < MAX_REMEMBERED) {
      emitted.add(line);
      process.emitWarning(line, 'LoraWarning');
    }
  }
}
