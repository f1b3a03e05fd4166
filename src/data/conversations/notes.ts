/** What the loader did with rows, in words. */
import type { RowNote } from './row-context.js';

interface NoteText {
  readonly text: string;
  /** Whether it may be a mistake. */
  readonly isWarning: boolean;
}

/** @param first the first of the rows */
export function describeNote(
  kind: RowNote,
  rows: number,
  first: string,
  options: { readonly imageMarker: string | undefined },
): NoteText {
  const counted = `${rows} ${rows === 1 ? 'row' : 'rows'} (first ${first})`;
  const marker = options.imageMarker;
  const [text, isWarning] = {
    imagesFirst: ['images go before the text of the first user message', false],
    imagesFirstMarked: [`images without a ${marker} marker: they go before the text of the first user message`, true],
    markersPlaced: [`images stand where ${marker} marks their places`, false],
    markerIsText: [`${marker} in a text beside images that have their places: it stays text`, true],
    strayMarker: [`${marker} in a text without images: it stays text`, true],
    detail: ['`detail` is not used: the image processor decides the size', true],
    parallelToolCalls: ['`parallel_tool_calls` is an option of a server and not used', false],
    history: ['the answers of `history` are learned too', false],
    emptyAnswer: ['an answer without text: only its end is learned', true],
    otherForm: ['columns of other forms are left out, as `form` says', false],
    plainText: ['plain text: all of it is learned', false],
  }[kind] as [string, boolean];
  return { text: `${text}: ${counted}`, isWarning };
}
