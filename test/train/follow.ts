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

/** The messages of the warnings among events. */
export function warningsOf(events: readonly TrainingEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
}
