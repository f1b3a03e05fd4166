/** Rows of a curve in bounded memory: neighbours are merged when there are too many. Runs in Node and in the browser. */

/** How two neighbours become one value. */
export type Merging = 'last' | 'mean' | 'min' | 'max';

/** A value of a row; null for one that is missing or not finite, as JSON has it. */
export type Cell = number | null;

/** A table as it is sent: what `ThinnedTable.load` reads. */
export interface TableState {
  /** Added rows that make one row; the last row may have fewer. */
  readonly stride: number;
  /** Added rows that each row is made of. */
  readonly counts: readonly number[];
  readonly rows: readonly (readonly Cell[])[];
}

/** At most `maxRows` rows, each made of `stride` of those that were added; the stride doubles when there are too many. */
export class ThinnedTable {
  readonly #mergings: readonly Merging[];
  readonly #maxRows: number;
  #stride = 1;
  #counts: number[] = [];
  #rows: Cell[][] = [];

  constructor(mergings: readonly Merging[], maxRows: number) {
    this.#mergings = mergings;
    this.#maxRows = maxRows;
  }

  get stride(): number {
    return this.#stride;
  }

  get rows(): readonly (readonly Cell[])[] {
    return this.#rows;
  }

  /** Takes a row over. */
  add(row: readonly Cell[]): void {
    const last = this.#rows.length - 1;
    if (last >= 0 && this.#counts[last]! < this.#stride) {
      this.#rows[last] = this.#merge(this.#rows[last]!, row, this.#counts[last]!, 1);
      this.#counts[last]!++;
      return;
    }
    this.#rows.push([...row]);
    this.#counts.push(1);
    if (this.#rows.length > this.#maxRows) this.#halve();
  }

  state(): TableState {
    return { stride: this.#stride, counts: this.#counts, rows: this.#rows };
  }

  load({ stride, counts, rows }: TableState): void {
    this.#stride = stride;
    this.#counts = [...counts];
    this.#rows = rows.map((row) => [...row]);
  }

  /** One column. */
  column(index: number): Cell[] {
    return this.#rows.map((row) => row[index]!);
  }

  #halve(): void {
    const rows: Cell[][] = [];
    const counts: number[] = [];
    for (let i = 0; i < this.#rows.length; i += 2) {
      const [row, next] = [this.#rows[i]!, this.#rows[i + 1]];
      const [count, nextCount] = [this.#counts[i]!, this.#counts[i + 1] ?? 0];
      rows.push(next ? this.#merge(row, next, count, nextCount) : row);
      counts.push(count + nextCount);
    }
    this.#stride *= 2;
    this.#rows = rows;
    this.#counts = counts;
  }

  #merge(a: readonly Cell[], b: readonly Cell[], countA: number, countB: number): Cell[] {
    return this.#mergings.map((merging, i) => {
      const [x, y] = [a[i] ?? null, b[i] ?? null];
      if (x === null || y === null) return y ?? x;
      if (merging === 'last') return y;
      if (merging === 'min') return Math.min(x, y);
      if (merging === 'max') return Math.max(x, y);
      return x + ((y - x) * countB) / (countA + countB);
    });
  }
}
