/** Finds the rows in the bytes of a file without making anything of them. */

export interface RowExtent {
  /** First byte, counted from the start of the file. */
  readonly start: number;
  /** Behind its last byte. */
  readonly end: number;
  /** From 1. */
  readonly line: number;
}

/** A row, or the place where there is none. `column` counts characters or bytes before it, from 0. */
type ScannedRow =
  | { readonly bytes: Buffer; readonly extent: RowExtent; readonly column: number }
  | { readonly fault: string; readonly line: number; readonly column: number };

interface ScanOptions {
  /** Position of the first byte in the file. */
  readonly start: number;
  /** Most bytes of a row; a longer one is the fault `size`. */
  readonly maxBytes: number;
  /** Whether the values are the elements of one list. */
  readonly isList: boolean;
}

type ScanState = 'open' | 'value' | 'inside' | 'comma' | 'done';

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

export async function* scanLines(
  chunks: AsyncIterable<Buffer>,
  { start, maxBytes }: ScanOptions,
): AsyncGenerator<ScannedRow, void, undefined> {
  let pieces: Buffer[] = [];
  let held = 0;
  let line = 1;
  let lineStart = start;
  const take = (): ScannedRow | undefined => {
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    const isEmpty = bytes.every(isSpace);
    const extent = { start: lineStart, end: lineStart + bytes.length, line };
    return isEmpty ? undefined : { bytes, extent, column: 0 };
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const found = chunk.indexOf(0x0a, at);
      const end = found < 0 ? chunk.length : found;
      pieces.push(chunk.subarray(at, end));
      held += end - at;
      if (held > maxBytes) {
        yield { fault: 'size', line, column: 0 };
        return;
      }
      if (found < 0) break;
      const row = take();
      if (row) yield row;
      lineStart += held + 1;
      line++;
      pieces = [];
      held = 0;
      at = found + 1;
    }
  }
  const last = take();
  if (last) yield last;
}

/** The values of a list, or values one after the other. What lies between brackets and quotes is skipped. */
export async function* scanValues(
  chunks: AsyncIterable<Buffer>,
  { start, maxBytes, isList }: ScanOptions,
): AsyncGenerator<ScannedRow, void, undefined> {
  let position = start;
  let line = 1;
  let lineStart = start;
  let state = (isList ? 'open' : 'value') as ScanState;
  let isFirst = true;
  let depth = 0;
  let inText = false;
  let escaped = false;
  let pieces: Buffer[] = [];
  let held = 0;
  let at = { start: 0, line: 1, column: 0 };
  const fault = (what: string): ScannedRow => ({ fault: what, line, column: position - lineStart });
  const take = (): ScannedRow => {
    const bytes = Buffer.concat(pieces);
    pieces = [];
    held = 0;
    state = isList ? 'comma' : 'value';
    isFirst = false;
    return { bytes, extent: { start: at.start, end: at.start + bytes.length, line: at.line }, column: at.column };
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let i = 0; i < chunk.length; i++, position++) {
      const byte = chunk[i]!;
      if (state === 'inside') {
        let ends = false;
        let takesByte = true;
        if (inText) {
          if (escaped) escaped = false;
          else if (byte === 0x5c) escaped = true;
          else if (byte === 0x22) {
            inText = false;
            ends = depth === 0;
          }
        } else if (byte === 0x22) inText = true;
        else if (byte === 0x7b || byte === 0x5b) depth++;
        else if ((byte === 0x7d || byte === 0x5d) && depth > 0) ends = --depth === 0;
        else if (depth === 0 && (isSpace(byte) || byte === 0x2c || byte === 0x5d)) {
          ends = true;
          takesByte = false;
        }
        if (ends) {
          pieces.push(chunk.subarray(from, takesByte ? i + 1 : i));
          yield take();
        }
        if (!ends || takesByte) {
          if (byte === 0x0a) {
            line++;
            lineStart = position + 1;
          }
          continue;
        }
      }
      if (byte === 0x0a) {
        line++;
        lineStart = position + 1;
      }
      if (isSpace(byte)) continue;
      if (state === 'open') state = 'value';
      else if (state === 'comma' && byte === 0x2c) state = 'value';
      else if ((state === 'comma' || (state === 'value' && isFirst)) && isList && byte === 0x5d) state = 'done';
      else if (state === 'comma') {
        yield fault('expected "," or "]" behind a row of the list');
        return;
      } else if (state === 'done') {
        yield fault('there is more behind the end of the list');
        return;
      } else if (byte === 0x2c || byte === 0x5d || byte === 0x7d || byte === 0x3a) {
        yield fault('expected a row');
        return;
      } else {
        state = 'inside';
        at = { start: position, line, column: position - lineStart };
        from = i;
        depth = byte === 0x7b || byte === 0x5b ? 1 : 0;
        inText = byte === 0x22;
        escaped = false;
      }
    }
    if (state === 'inside') {
      pieces.push(chunk.subarray(from));
      held += chunk.length - from;
      if (held > maxBytes) {
        yield { fault: 'size', line: at.line, column: at.column };
        return;
      }
    }
  }
  if (state === 'inside') {
    // What is missing is found when it is read.
    yield take();
    return;
  }
  if (isList && state !== 'done') yield fault('the list has no end');
}
