/** What turning a row into a sample needs beside the row, and what it reports: once for the file, with the number of rows. */
import type { ImageInput } from '../types.js';

export interface RowContext {
  /** Text that marks the place of an image, or undefined if none does. */
  readonly imageMarker: string | undefined;
  /** Columns that are left out; those of messages as `messages.name`, those of parts as `messages.content.name`. */
  readonly ignored: ReadonlySet<string>;
  /** An image cell of the row. `where` names its place in the row. @throws RowFault */
  image(cell: unknown, where: string): ImageInput;
  /** Something that happened to the row and that the user should know, counted by kind. `spelled`: what it is about. */
  note(kind: RowNote, spelled?: string): void;
}

export type RowNote = keyof ReturnType<typeof noteTexts>;

/** By kind: the text, and whether it may be a mistake. */
const noteTexts = (marker: string | undefined, spelled: string | undefined) => ({
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
});

export function describeNote(
  kind: RowNote,
  rows: number,
  first: string,
  spelled: string | undefined,
  { imageMarker }: { readonly imageMarker: string | undefined },
): { readonly text: string; readonly isWarning: boolean } {
  const [text, isWarning] = noteTexts(imageMarker, spelled)[kind] as [string, boolean];
  return { text: `${text}: ${rows} ${rows === 1 ? 'row' : 'rows'} (first ${first})`, isWarning };
}
