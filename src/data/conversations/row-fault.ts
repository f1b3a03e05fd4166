/** What is wrong with a row, before its file and line are known. */
import { findUnknownKey, isRecord, unknownKey } from '../known-keys.js';

/** The fault of one row: the loader puts its place in front. */
export class RowFault extends Error {
  override readonly name = 'RowFault';
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/**
 * The object without the keys that hold null: tables fill them up so.
 * @throws RowFault for another kind of value, or a key that is not known
 */
export function readRecord(
  value: unknown,
  where: string,
  known: readonly string[],
  ignored: ReadonlySet<string>,
  path: string,
  hint: string,
): Record<string, unknown> {
  if (!isRecord(value)) {
    throw new RowFault(`${where}: expected an object, got ${value === null ? 'null' : typeof value}`, hint);
  }
  const kept = Object.entries(value).filter(([key, inner]) => {
    return inner !== null && inner !== undefined && !ignored.has(path === '' ? key : `${path}.${key}`);
  });
  const record = Object.fromEntries(kept);
  const unknown = findUnknownKey(record, known);
  if (unknown !== undefined) {
    const leave = path === '' ? unknown : `${path}.${unknown}`;
    throw new RowFault(
      `${where}: ${unknownKey(unknown, known)}`,
      `rename it, or leave it out with \`ignoreColumns: ['${leave}']\``,
    );
  }
  return record;
}
