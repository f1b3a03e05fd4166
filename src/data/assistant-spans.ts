/** What of a rendering the assistant has to produce, and what of that is learned. */
import { TextError } from '../errors.js';
import type { Piece } from './marked-texts.js';

export interface OwnedPiece extends Piece {
  /** The message that the text is from, or that made the template write it; absent in the template's own text. */
  readonly owner?: number;
  /** Part of a tool call: control tokens may follow before the one that ends the turn. */
  readonly isCall?: boolean;
}

/** Ranges of a rendering, in UTF-16 units. */
export type Ranges = readonly (readonly [number, number])[];

/** Assistant messages whose first string is not the text of an answer: calls and thoughts are opened by the template. */
export function openedByTemplate(pieces: readonly Piece[]): number[] {
  const seen = new Set<number>();
  return pieces.flatMap(({ leaf }) => {
    const index = leaf?.messageIndex;
    if (index === undefined || leaf!.role !== 'assistant' || seen.has(index)) return [];
    seen.add(index);
    return leaf!.kind === 'text' ? [] : [index];
  });
}

/**
 * Gives each stretch of the template that an assistant's message causes to that message: between its strings, and what
 * opens its calls and thoughts.
 * @param headerOf how much of the text before an assistant's message is not the assistant's
 */
export function assignOwners(
  pieces: readonly Piece[],
  headerOf: (messageIndex: number, gap: string, offset: number) => number,
): OwnedPiece[] {
  const begun = new Set<number | undefined>();
  const owned: OwnedPiece[] = [];
  let before: number | undefined;
  let offset = 0;
  pieces.forEach((piece, i) => {
    const { text, leaf } = piece;
    const next = pieces[i + 1]?.leaf;
    const isAssistants = next?.role === 'assistant' && next.messageIndex !== undefined;
    if (leaf) {
      begun.add(leaf.messageIndex);
      owned.push({ ...piece, ...(leaf.messageIndex !== undefined && { owner: leaf.messageIndex }), ...callOf(leaf) });
      before = leaf.messageIndex;
    } else if (isAssistants && before === next.messageIndex) {
      owned.push({ text, owner: before!, ...callOf(next) });
    } else if (isAssistants && !begun.has(next.messageIndex!)) {
      const start = headerOf(next.messageIndex!, text, offset);
      if (start > 0) owned.push({ text: text.slice(0, start) });
      if (start < text.length) owned.push({ text: text.slice(start), owner: next.messageIndex!, ...callOf(next) });
    } else owned.push({ text });
    offset += text.length;
  });
  return owned;
}

function callOf(leaf: { readonly kind: string; readonly role?: string }): { isCall?: true } {
  return leaf.role === 'assistant' && (leaf.kind === 'call' || leaf.kind === 'detail') ? { isCall: true } : {};
}

export function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** The text right before the first string of a kind in each message. */
export function gapsBefore(pieces: readonly Piece[], isWanted: (piece: Piece) => boolean): Map<number, string> {
  const gaps = new Map<number, string>();
  pieces.forEach((piece, i) => {
    const index = piece.leaf?.messageIndex;
    if (index === undefined || gaps.has(index) || !isWanted(piece)) return;
    const before = pieces[i - 1];
    gaps.set(index, before && !before.leaf ? before.text : '');
  });
  return gaps;
}

export function cutAtRanges(pieces: readonly OwnedPiece[], ranges: Ranges): (OwnedPiece & { inRange: boolean })[] {
  if (ranges.length === 0) return pieces.map((piece) => ({ ...piece, inRange: false }));
  const borders = [...new Set(ranges.flat())].sort((a, b) => a - b);
  const cut: (OwnedPiece & { inRange: boolean; range?: number })[] = [];
  let offset = 0;
  for (const piece of pieces) {
    const end = offset + piece.text.length;
    const stops = [...borders.filter((border) => border > offset && border < end), end];
    let start = offset;
    for (const stop of stops) {
      const range = ranges.findIndex(([from, to]) => from <= start && stop <= to);
      const text = piece.text.slice(start - offset, stop - offset);
      cut.push({ ...piece, text, inRange: range >= 0, ...(range >= 0 && { range }) });
      start = stop;
    }
    offset = end;
  }
  // The template's text in a range belongs to the message there, so that a masked turn is masked with all of it.
  return cut.map(({ range, ...piece }, i) => {
    if (range === undefined || piece.owner !== undefined) return piece;
    const isHere = (other: (typeof cut)[number]) => other.range === range && other.owner !== undefined;
    const owner = (cut.slice(0, i).findLast(isHere) ?? cut.find(isHere))?.owner;
    return { ...piece, ...(owner !== undefined && { owner }) };
  });
}

export function missingLeaves(
  pieces: readonly Piece[],
  leaves: readonly NonNullable<Piece['leaf']>[],
  isExpected: (leaf: NonNullable<Piece['leaf']>) => boolean,
): NonNullable<Piece['leaf']>[] {
  const shown = new Set(pieces.map((piece) => piece.leaf));
  return leaves.filter((leaf) => leaf.kind !== 'detail' && !shown.has(leaf) && isExpected(leaf));
}

/**
 * System texts may occur in a later turn, as in the first templates of Mistral.
 * @throws TextError if the turns of user, assistant and tools come in another order
 */
export function requireOrder(pieces: readonly Piece[]): void {
  const order = pieces.flatMap(({ leaf }) =>
    leaf?.messageIndex === undefined || leaf.role === 'system' || leaf.kind === 'detail' ? [] : leaf.messageIndex,
  );
  const swapped = order.findIndex((messageIndex, i) => messageIndex < order[i - 1]!);
  if (swapped < 0) return;
  throw new TextError(`the chat template puts message ${order[swapped - 1]} before message ${order[swapped]}`, {
    hint: 'it is made for a single turn; use the template of the model for longer conversations',
    details: { order },
  });
}
