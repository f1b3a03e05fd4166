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
  spelled: string | undefined,
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
    foreignMarker: [
      `${spelled} in a text, as others mark the place of an image: it stays text. Write ${marker} there, or name it as \`imageMarker\``,
      true,
    ],
    imageInAnswer: ['an image in an answer, which no model writes: it is shown there and not learned', true],
    brokenText: ['half a character (a lone surrogate) in a text: it is read as \ufffd', true],
    userName: ['`name` of a user or system message is not used: chat templates do not show it', true],
    nullArguments: ['arguments of calls are null, as tables fill up what others have: they are learned as null', true],
    detail: ['`detail` is not used: the image processor decides the size', true],
    parallelToolCalls: ['`parallel_tool_calls` is an option of a server and not used', false],
    history: ['the answers of `history` are learned too', false],
    emptyAnswer: ['an answer without text: nothing is learned of it, or white space alone', true],
    otherForm: ['columns of other forms are left out, as `form` says', false],
    plainText: ['plain text: all of it is learned', false],
  }[kind] as [string, boolean];
  return { text: `${text}: ${counted}`, isWarning };
}
