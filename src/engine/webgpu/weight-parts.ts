/** Where a matrix that no single binding holds is cut. */

/** Rows that belong together. */
export interface RowUnit {
  readonly columns: number;
  /** A part begins at a multiple of so many rows. */
  readonly rows: number;
  /** Whether a unit that is larger than a binding may be cut: its rows then share one row of factors. */
  readonly mayDivide: boolean;
}

/** The fewest rows that hold whole blocks of so many values each, a power of two, as a block must not be divided. */
export function wholeRows(columns: number, blockValues: number): RowUnit {
  let rows = blockValues;
  while (rows > 1 && ((rows / 2) * columns) % blockValues === 0) rows /= 2;
  return { columns, rows, mayDivide: false };
}

/**
 * Parts of at most `most` rows, as few as there can be.
 * @returns a part of 0 rows where no part can be made
 */
export function* partRows(rows: number, unit: RowUnit, most: number): Generator<{ first: number; count: number }> {
  for (let first = 0; first < rows; ) {
    let end = Math.min(rows, first + most);
    const inUnit = first % unit.rows;
    // Rows of one unit share their factors, and those of the next begin with its own.
    if (inUnit > 0) end = Math.min(end, first - inUnit + unit.rows);
    else if (end < rows) {
      const whole = end - (end % unit.rows);
      end = whole > first || !unit.mayDivide ? whole : end;
    }
    const count = Math.max(0, end - first);
    yield { first, count };
    if (count === 0) return;
    first = end;
  }
}
