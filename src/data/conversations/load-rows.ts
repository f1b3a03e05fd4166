/** Reads all rows once: their form, their faults and their images are known before anything is trained. */

import { DataError, ImageError } from '../../errors.js';
import { nearestName } from '../../messages/nearest-name.js';
import { oneLine, warningLine } from '../../messages/one-line.js';
import { forEachConcurrently } from '../folder-tree.js';
import { meantKey } from '../known-keys.js';
import type { ImageInput, SkippedSample, TrainingExample } from '../types.js';
import type { ConversationForm } from './form-names.js';
import { type ImageCellOptions, readImageCell } from './image-cells.js';
import { describeNote, type RowContext, type RowNote } from './row-context.js';
import { RowFault } from './row-fault.js';
import { readRow } from './row-forms.js';
import { ImageChecks } from './row-images.js';

/** Faults that one error lists; more of them are hardly of another kind. */
const MAX_FAULTS = 10;
const MAX_COLUMNS = 1000;
const ROWS_AT_ONCE = 64;

export interface ReadOptions extends ImageCellOptions {
  readonly form?: ConversationForm | undefined;
  readonly imageMarker: string | undefined;
  readonly ignoreColumns: ReadonlySet<string>;
  readonly verify: boolean;
}

export interface LoadedRows {
  /** Positions of the rows that are samples, rising. */
  readonly indices: readonly number[];
  readonly counts: ReadonlyMap<ConversationForm, number>;
  readonly notes: readonly string[];
  /** Those among the notes that may be a mistake. */
  readonly warnings: readonly string[];
  readonly skipped: readonly SkippedSample[];
}

/** The sample of a row. @throws DataError naming the row */
export function sampleOf(row: unknown, name: string, options: ReadOptions): TrainingExample {
  const context = contextOf(name, options, [], () => {});
  try {
    const { example } = readRow(row, options.form, context);
    return example.id === undefined ? { ...example, id: name } : example;
  } catch (error) {
    if (error instanceof RowFault) throw faultyRows([{ name, error }], false);
    throw error;
  }
}

function contextOf(name: string, options: ReadOptions, images: ImageInput[], note: RowContext['note']): RowContext {
  return {
    imageMarker: options.imageMarker,
    ignored: options.ignoreColumns,
    image(cell, where) {
      const image = readImageCell(cell, where, name, options);
      images.push(image);
      return image;
    },
    note,
  };
}

export class RowLoader {
  readonly #what: string;
  readonly #options: ReadOptions;
  readonly #checks: ImageChecks;
  readonly #indices: number[] = [];
  readonly #counts = new Map<ConversationForm, number>();
  readonly #notes = new Map<RowNote, { rows: number; first: string; readonly spelled: string | undefined }>();
  readonly #unknown = new Map<string, { rows: number; first: string; near: string | undefined }>();
  readonly #columns = new Set<string>();
  readonly #faults: { name: string; error: RowFault }[] = [];
  readonly #bad: { name: string; sampleId: string; reason: string }[] = [];
  #badImages = 0;
  #unchecked: { index: number; name: string; sampleId: string; images: ImageInput[] }[] = [];

  /** @param what how messages call the file */
  constructor(what: string, options: ReadOptions) {
    this.#what = what;
    this.#options = options;
    this.#checks = new ImageChecks(options.verify);
  }

  /** @throws DataError once there are too many faults to go on */
  async add(row: unknown, index: number, name: string): Promise<void> {
    const images: ImageInput[] = [];
    const noted = new Map<RowNote, string | undefined>();
    if (typeof row === 'object' && row !== null && this.#columns.size < MAX_COLUMNS) {
      for (const key of Object.keys(row)) this.#columns.add(key);
    }
    try {
      const context = contextOf(name, this.#options, images, (kind, spelled) => {
        if (!noted.has(kind)) noted.set(kind, spelled);
      });
      const { example, form, unknown, known } = readRow(row, this.#options.form, context);
      for (const key of unknown) this.#addUnknown(key, name, known);
      this.#counts.set(form, (this.#counts.get(form) ?? 0) + 1);
      for (const [kind, spelled] of noted) {
        const seen = this.#notes.get(kind) ?? { rows: 0, first: name, spelled };
        seen.rows++;
        this.#notes.set(kind, seen);
      }
      this.#unchecked.push({ index, name, sampleId: example.id ?? name, images });
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      this.#faults.push({ name, error });
      if (this.#faults.length > MAX_FAULTS) throw faultyRows(this.#faults, true, this.#what);
    }
    if (this.#unchecked.length >= ROWS_AT_ONCE) await this.#lookAtImages();
  }

  /** @throws DataError or ImageError for everything that is wrong */
  async finish(): Promise<LoadedRows> {
    await this.#lookAtImages();
    if (this.#faults.length > 0) throw faultyRows(this.#faults, false, this.#what);
    this.#refuseUnknown();
    this.#refuseMixture();
    this.#refuseStrayMarkers();
    this.#refuseNeedlessColumns();
    if (this.#bad.length > 0 && (this.#options.onBadImage === 'error' || this.#indices.length === 0))
      throw this.#badError();
    if (this.#indices.length === 0) {
      throw new DataError(`${this.#what}: there are no rows`, {
        hint: 'expected one object a line, or a list of objects',
      });
    }
    const skipped = this.#bad.map(({ sampleId, reason }) => ({ sampleId, reason }));
    const notes = [...this.#notes].map(([kind, { rows, first, spelled }]) =>
      describeNote(kind, rows, first, spelled, this.#options),
    );
    const said = notes.map(({ text }) => text);
    const warnings = notes.filter(({ isWarning }) => isWarning).map(({ text }) => text);
    if (skipped.length > 0) {
      const [{ sampleId, reason }] = skipped as [SkippedSample];
      const text = `${skipped.length} ${skipped.length === 1 ? 'row is' : 'rows are'} left out, as an image cannot be read: ${oneLine(sampleId)} (${reason})${skipped.length > 1 ? ' and others' : ''}`;
      said.push(text);
      warnings.push(text);
    }
    const lines = { notes: said.map(warningLine), warnings: warnings.map(warningLine) };
    return { indices: this.#indices, counts: this.#counts, ...lines, skipped };
  }

  #addUnknown(key: string, name: string, known: readonly string[]): void {
    const seen = this.#unknown.get(key) ?? { rows: 0, first: name, near: meantKey(key, known) };
    seen.rows++;
    if (this.#unknown.size < 1000) this.#unknown.set(key, seen);
  }

  async #lookAtImages(): Promise<void> {
    const rows = this.#unchecked;
    this.#unchecked = [];
    const faults = new Map<number, string>();
    const images = rows.flatMap((row) => row.images.map((image) => ({ row, image })));
    await forEachConcurrently(images, 8, async ({ row, image }) => {
      const fault = await this.#checks.faultOf(image);
      if (fault === undefined) return;
      this.#badImages++;
      if (!faults.has(row.index)) faults.set(row.index, fault);
    });
    for (const { index, name, sampleId } of rows) {
      const reason = faults.get(index);
      if (reason === undefined) this.#indices.push(index);
      else this.#bad.push({ name, sampleId, reason });
    }
  }

  #refuseUnknown(): void {
    if (this.#unknown.size === 0) return;
    const found = [...this.#unknown];
    const shown = found.slice(0, 30).map(([key, { rows, first, near }]) => {
      const where = `${rows} ${rows === 1 ? 'row' : 'rows'}, first ${first}`;
      return `unknown key \`${oneLine(key)}\`${near ? `; did you mean \`${near}\`?` : ''} (${where})`;
    });
    const names = found.slice(0, 30).map(([key]) => `'${oneLine(key)}'`);
    throw new DataError(`${this.#what}: ${shown.length === 1 ? shown[0] : `\n  - ${shown.join('\n  - ')}`}`, {
      hint: `rename it, or leave columns out with \`ignoreColumns: [${names.join(', ')}]\``,
      details: { unknown: found.map(([key]) => key) },
    });
  }

  /** Plain text is learned as a whole, of conversations the answers alone: one file does not mean both. */
  #refuseMixture(): void {
    const text = this.#counts.get('text') ?? 0;
    const others = [...this.#counts].filter(([form]) => form !== 'text');
    if (text === 0 || others.length === 0) return;
    const counted = others.map(([form, rows]) => `${rows} of the form ${form}`).join(', ');
    throw new DataError(`${this.#what}: ${text} rows of plain text, of which everything is learned, among ${counted}`, {
      hint: 'put them into files of their own',
      details: { counts: Object.fromEntries(this.#counts) },
    });
  }

  #refuseStrayMarkers(): void {
    const stray = this.#notes.get('strayMarker');
    const placed = this.#notes.get('markersPlaced');
    if (!stray || !placed) return;
    const { imageMarker } = this.#options;
    throw new DataError(
      `${this.#what}: ${stray.rows} ${stray.rows === 1 ? 'row has' : 'rows have'} ${imageMarker} in the text but no image, first ${stray.first}`,
      {
        hint: `${placed.rows} other rows have an image for each: add \`images\`, or leave the rows out`,
        details: { rows: stray.rows, first: stray.first },
      },
    );
  }

  #refuseNeedlessColumns(): void {
    const columns = [...this.#columns];
    if (columns.length >= MAX_COLUMNS) return;
    const missing = [...this.#options.ignoreColumns].filter((name) => !name.includes('.') && !this.#columns.has(name));
    if (missing.length === 0 || columns.length === 0) return;
    const near = nearestName(missing[0]!, columns);
    throw new DataError(`${this.#what}: no row has the column \`${missing[0]}\` of \`ignoreColumns\``, {
      hint: near ? `did you mean \`${near}\`?` : `columns: ${columns.slice(0, 30).map(oneLine).join(', ')}`,
      details: { missing },
    });
  }

  #badError(): ImageError {
    const shown = this.#bad.slice(0, 10).map(({ name, reason }) => {
      return `\n  - ${reason.startsWith(name) ? reason : `${name}: ${reason}`}`;
    });
    const more = this.#bad.length > shown.length ? `\n  and ${this.#bad.length - shown.length} more rows` : '';
    const isAll = this.#indices.length === 0;
    const rows = this.#bad.length;
    const count = `${isAll ? 'all ' : ''}${rows === 1 ? 'the images of 1 row' : `the images of ${rows} rows`} cannot be read`;
    return new ImageError(`${this.#what}: ${count}${shown.join('')}${more}`, {
      hint: isAll
        ? `paths are relative to ${this.#options.imageRoot}: give another folder as \`imageRoot\``
        : "correct the rows, or load with `onBadImage: 'skip'` to leave them out; `imageRoot` is what paths are relative to",
      details: { files: this.#bad.slice(0, 1000), images: this.#badImages },
    });
  }
}

function faultyRows(faults: readonly { name: string; error: RowFault }[], isOpen: boolean, what?: string): DataError {
  const [first] = faults;
  const details = { rows: faults.map(({ name }) => name), sample: first!.name };
  if (faults.length === 1) {
    return new DataError(`${first!.name}: ${first!.error.message}`, { hint: first!.error.hint, details });
  }
  const shown = faults.slice(0, MAX_FAULTS).map(({ name, error }) => `\n  - ${name}: ${error.message}`);
  const count = isOpen ? `more than ${MAX_FAULTS}` : `${faults.length}`;
  return new DataError(`${what}: ${count} rows are wrong${shown.join('')}`, { hint: first!.error.hint, details });
}
