/** What a run says, for tests. */
import type { TrainingEvent } from '../../src/train/events.js';

/** Events up to the end or the error. */
export async function follow(run: AsyncIterable<TrainingEvent>): Promise<{ events: TrainingEvent[]; error: unknown }> {
  const events: TrainingEvent[] = [];
  try {
    for await (const event of run) events.push(event);
  } catch (error) {
    return { events, error };
  }
  return { events, error: undefined };
}

/**
 * What a run says of few samples and steps, and of the high rates that a model of three parameters takes, as most runs of
 * tests have them: `run-warnings.test.ts` reads these.
 */
export const OF_SMALL_RUNS =
  /says little about other data|an epoch is one step|once, at the end|never stops early|so high it diverges|nothing is learned there/;

/** The messages of the warnings among events, but for those about small runs. */
export function warningsOf(events: readonly TrainingEvent[]): string[] {
  const all = events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
  return all.filter((message) => !OF_SMALL_RUNS.test(message));
}
