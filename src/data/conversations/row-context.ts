/** What turning a row into a sample needs beside the row, and what it reports. */
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

/** What is reported once for the whole file, with the number of its rows. */
export type RowNote =
  | 'imagesFirst'
  | 'imagesFirstMarked'
  | 'markersPlaced'
  | 'markerIsText'
  | 'strayMarker'
  | 'foreignMarker'
  | 'imageInAnswer'
  | 'brokenText'
  | 'userName'
  | 'nullArguments'
  | 'detail'
  | 'parallelToolCalls'
  | 'history'
  | 'emptyAnswer'
  | 'otherForm'
  | 'plainText';
