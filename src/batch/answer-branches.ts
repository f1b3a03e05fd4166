/**
 * Prompts with the tokens of several answers behind each: the answers attend to the prompt's rows, which are there once,
 * and common beginnings of answers are computed once as well.
 */
import type { PackedBatch } from './packed-batch.js';

/** A place in a tree of answers. */
export interface Branches {
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
export interface AnsweredBatch {
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
    this.#descend(tree, segment, [], end, labels);
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

  /**
   * Labels what may follow on a place, and goes on with each token that does: the first in the segment, which is written
   * one row after the other, the others in segments of their own.
   * @param path labels up to here
   */
  #descend(node: Branches, segment: Segment, path: readonly number[], end: number, labels: number[][]): void {
    const row = segment.keys.at(-1)!;
    const keys = node.next.size > 1 ? [...segment.keys] : [];
    const position = this.#positions[row]! + 1;
    const label = (target: number): number[] => {
      this.#labelRows.push(row);
      return [...path, this.#labelTargets.push(target) - 1];
    };
    if (node.answer !== undefined) labels[node.answer] = label(end);
    const paths = new Map([...node.next.keys()].map((id) => [id, label(id)]));
    let isFirst = true;
    for (const [id, next] of node.next) {
      const own = isFirst ? segment : { keys: [...keys], own: 0 };
      if (!isFirst) this.#segments.push(own);
      isFirst = false;
      own.keys.push(this.#push(id, position));
      own.own++;
      this.#descend(next, own, paths.get(id)!, end, labels);
    }
  }

  #push(id: number, position: number): number {
    this.#positions.push(position);
    return this.#ids.push(id) - 1;
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function offsets(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1);
  for (const [i, length] of lengths.entries()) starts[i + 1] = starts[i]! + length;
  return starts;
}
