/** What is wrong with a row, before its file and line are known. */
import { describeKind, findUnknownKey, isRecord, unknownKey } from '../known-keys.js';

export class RowFault extends Error {
  override readonly name = 'RowFault';
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

export function mismatch(where: string, expected: string, value: unknown, hint: string): RowFault {
  return new RowFault(`${where}: expected ${expected}, got ${describeKind(value)}`, hint);
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
  if (!isRecord(value)) throw mismatch(where, 'an object', value, hint);
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
