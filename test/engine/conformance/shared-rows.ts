/** Packed rows of samples that share prefixes: what a block is given for them. */

/** Samples whose first `prefix` rows are the same. */
export interface Sharing {
  readonly prefix: number;
  /** Rows of each sample behind the prefix. */
  readonly own: readonly number[];
}

export interface SharedLayout {
  readonly rows: number;
  /** Rows of each segment: those of the prefix belong to the first sample of a group. */
  readonly queries: readonly number[];
  readonly keys: readonly number[];
  readonly keyRows: Int32Array;
}

export function sharedLayout(groups: readonly Sharing[]): SharedLayout {
  const queries: number[] = [];
  const keys: number[] = [];
  const keyRows: number[] = [];
  let rows = 0;
  const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);
  for (const { prefix, own } of groups) {
    const first = rows;
    rows += prefix;
    for (const [s, count] of own.entries()) {
      queries.push(s === 0 ? prefix + count : count);
      keys.push(prefix + count);
      keyRows.push(...range(first, prefix), ...range(rows, count));
      rows += count;
    }
  }
  return { rows, queries, keys, keyRows: Int32Array.from(keyRows) };
}

export function describeSharing(groups: readonly Sharing[]): string {
  return groups.map(({ prefix, own }) => `${prefix} before ${own.join('+')}`).join(', ');
}
