/** The token sequences of a set of answers as a tree: common beginnings once. */

/** A place in an answer: what may come next. */
export interface AnswerNode {
  /** By token, in the order of the answers. */
  readonly next: ReadonlyMap<number, AnswerNode>;
  /** The answer that ends here, by its index; others may go on. */
  readonly answer?: number | undefined;
}

interface Growing {
  readonly next: Map<number, Growing>;
  answer?: number;
}

/** @param answers distinct token sequences, without the token that closes them */
export function answerTree(answers: readonly (readonly number[])[]): AnswerNode {
  const root: Growing = { next: new Map() };
  for (const [i, ids] of answers.entries()) {
    let node = root;
    for (const id of ids) {
      let next = node.next.get(id);
      if (!next) {
        next = { next: new Map() };
        node.next.set(id, next);
      }
      node = next;
    }
    node.answer = i;
  }
  return root;
}

/** The tokens that may come at a place. @param end closes an answer */
export function allowedTokens(node: AnswerNode, end: number): number[] {
  return node.answer === undefined ? [...node.next.keys()] : [...node.next.keys(), end];
}
