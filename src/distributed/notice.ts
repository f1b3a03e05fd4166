/** What a rank says of its group while it waits. */
import { writeSync } from 'node:fs';

/** Straight to the descriptor: in a thread other ways wait for the main thread. */
export function notice(text: string): void {
  try {
    writeSync(2, `ministral-tune: ${text}\n`);
  } catch {
    // Nobody reads it.
  }
}
