/**
 * Prompts with the tokens of several answers behind each: the answers attend to the prompt's rows, which are there once,
 * and common beginnings of answers are computed once as well.
 */
import type { PackedBatch } from './packed-batch.js';

/** A place in a tree of answers. */
interface Branches {
  /** By token. */
  readonly next: ReadonlyMap<number, Branches>;
  /** Index of the answer that ends here; others may go on. */
  readonly answer?: number | undefined;
}

/** The answers to one prompt. */
export interface AnswersOfPrompt {
  readonly tree: Branches;
  readonly count: number;
  /** The token that closes each. */
  readonly end: number;
}

/** A batch with answers in it, all of whose tokens are labels. */
interface AnsweredBatch {
  readonly packed: PackedBatch;
  /** Indices of an answer's labels in `packed.labelTargets`, its end's last; by sample and answer. */
  readonly labels: readonly (readonly (readonly number[])[])[];
}

/** @param packed prompts without labels; they may share prefixes */
export function withAnswers(packed: PackedBatch, answers: readonly AnswersOfPrompt[]): AnsweredBatch {
  const builder = new AnswerRows();
  const labels = answers.map((ofPrompt, sample) => builder.add(packed, sample, ofPrompt));
  return { packed: builder.join(packed), labels };
}

/** A part of the batch that attends as one: the last of its keys are rows of its own. */
interface Segment {
  readonly keys: number[];
  own: number;
}

/** The labels up to a place, last first. */
interface Path {
  readonly label: number;
  readonly before: Path | undefined;
}

interface Place {
  readonly node: Branches;
  readonly segment: Segment;
  readonly path: Path | undefined;
}

/** A place whose row is not there yet. */
interface Waiting extends Place {
  readonly id: number;
}

class AnswerRows {
  readonly #ids: number[] = [];
  readonly #positions: number[] = [];
  readonly #segments: Segment[] = [];
  readonly #labelRows: number[] = [];
  readonly #labelTargets: number[] = [];
  /** Row here of each row of the prompts. */
  readonly #rowOf: number[] = [];

  /** @returns the labels of each answer */
  add(packed: PackedBatch, sample: number, { tree, count, end }: AnswersOfPrompt): number[][] {
    const [first, stop] = [packed.starts[sample]!, packed.starts[sample + 1]!];
    for (let row = first; row < stop; row++) this.#rowOf.push(this.#push(packed.ids[row]!, packed.positions[row]!));
    const { rows, starts } = packed.sharedKeys ?? {};
    const before = starts ? rows!.subarray(starts[sample]!, starts[sample + 1]!) : range(first, stop);
    const segment = { keys: Array.from(before, (row) => this.#rowOf[row]!), own: stop - first };
    this.#segments.push(segment);
    const labels: number[][] = Array.from({ length: count }, () => []);
    // The first branch of a place goes on in its segment, one row after the other; the others have segments of their own.
    const waiting: Waiting[] = [];
    for (let place: Place | undefined = { node: tree, segment, path: undefined }; place; ) {
      const { node, path } = place;
      const { keys } = place.segment;
      const row = keys.at(-1)!;
      if (node.answer !== undefined) labels[node.answer] = labelsOf(this.#label(row, end, path));
      const branches = Array.from(node.next, ([id, next], i): Waiting => {
        const own = i === 0 ? place!.segment : { keys: [...keys], own: 0 };
        return { id, node: next, segment: own, path: this.#label(row, id, path) };
      });
      waiting.push(...branches.reverse());
      const next = waiting.pop();
      if (next) this.#extend(next);
      place = next;
    }
    return labels;
  }

  /** The prompts' images with the rows of the answers among theirs. */
  join({ images }: PackedBatch): PackedBatch {
    const segments = this.#segments;
    return {
      ids: Int32Array.from(this.#ids),
      positions: Int32Array.from(this.#positions),
      starts: offsets(segments.map(({ own }) => own)),
      labelRows: Int32Array.from(this.#labelRows),
      labelTargets: Int32Array.from(this.#labelTargets),
      sharedKeys: {
        rows: Int32Array.from(segments.flatMap(({ keys }) => keys)),
        starts: offsets(segments.map(({ keys }) => keys.length)),
      },
      images: images && { ...images, tokenRows: images.tokenRows.map((row) => this.#rowOf[row]!) },
    };
  }

  #label(row: number, target: number, before: Path | undefined): Path {
    this.#labelRows.push(row);
    return { label: this.#labelTargets.push(target) - 1, before };
  }

  /** The branch's token becomes the last row of its segment. */
  #extend({ id, segment }: Waiting): void {
    if (segment.own === 0) this.#segments.push(segment);
    segment.keys.push(this.#push(id, this.#positions[segment.keys.at(-1)!]! + 1));
    segment.own++;
  }

  #push(id: number, position: number): number {
    this.#positions.push(position);
    return this.#ids.push(id) - 1;
  }
}

function labelsOf(path: Path): number[] {
  const labels: number[] = [];
  for (let at: Path | undefined = path; at; at = at.before) labels.push(at.label);
  return labels.reverse();
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function offsets(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1);
  for (const [i, length] of lengths.entries()) starts[i + 1] = starts[i]! + length;
  return starts;
}
