/** Batches of an evaluation that several processes answer: each its share, and all of them get all answers, in order. */
import { decodeValue, encodeValue } from '../distributed/messages.js';
import type { ProcessGroup } from '../distributed/process-group.js';
import { rankPlace } from '../distributed/rank-place.js';
import { DistributedError } from '../errors.js';
import type { EvaluatedSample } from './evaluation-report.js';

/** Batches of each process between two messages: the processes wait for the slowest. */
const PER_MESSAGE = 4;

/** What a batch has come to. */
export interface AnsweredBatch {
  readonly samples: readonly EvaluatedSample[];
  /** Since the evaluation began, on the process that answered it. */
  readonly seconds: number;
}

/** The processes that were started together; undefined for one that works alone. */
export async function evaluationGroup(
  given: ProcessGroup | undefined,
  signal: AbortSignal | undefined,
): Promise<ProcessGroup | undefined> {
  if (given || !rankPlace()) return given;
  const { processGroup } = await import('../distributed/join-group.js');
  return processGroup({ signal });
}

/**
 * Answers batches, dealt round robin, and yields them all in order on each process.
 * @param count batches of all processes
 * @param answer answers the batch of that place
 * @param signal heard while this process waits for the others
 * @throws what `answer` throws; DistributedError where another process fails or is lost
 */
export async function* answerTogether(
  group: ProcessGroup,
  count: number,
  answer: (batch: number) => Promise<AnsweredBatch>,
  signal?: AbortSignal,
): AsyncGenerator<AnsweredBatch, void, void> {
  const { rank, worldSize } = group;
  const scope = group.begin('evaluation');
  try {
    for (let from = 0; from < count; from += PER_MESSAGE * worldSize) {
      const end = Math.min(count, from + PER_MESSAGE * worldSize);
      const own: AnsweredBatch[] = [];
      for (let batch = from + rank; batch < end; batch += worldSize) {
        group.failure.throwIfAborted();
        own.push(await answer(batch));
      }
      const told = await group.allGatherBytes(`answers from batch ${from} on`, encodeValue(own), signal);
      const all = told.map((bytes) => decodeValue(bytes) as AnsweredBatch[]);
      for (let batch = from; batch < end; batch++) {
        yield all[(batch - from) % worldSize]![Math.floor((batch - from) / worldSize)]!;
      }
    }
  } catch (error) {
    if (group.failure.aborted) {
      const { reason } = group.failure as { readonly reason: DistributedError };
      throw reason.rank === rank ? error : reason;
    }
    if (!(error instanceof DistributedError)) group.fail(error);
    throw error;
  } finally {
    scope.end();
  }
}
