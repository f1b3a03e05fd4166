import { describe, expect, it } from 'vitest';
import { type Merging, ThinnedTable } from '../../src/monitor/thinned-table.js';

const MERGINGS: Merging[] = ['last', 'mean', 'min', 'max'];

describe('thinned tables', () => {
  it('hold every row as long as there are few', () => {
    const table = new ThinnedTable(MERGINGS, 4);
    for (let i = 1; i <= 4; i++) table.add([i, i, i, i]);
    expect([table.stride, table.column(1)]).toEqual([1, [1, 2, 3, 4]]);
    table.add([5, 5, 5, 5]);
    expect(table.stride).toBe(2);
    expect(table.rows).toEqual([
      [2, 1.5, 1, 2],
      [4, 3.5, 3, 4],
      [5, 5, 5, 5],
    ]);
    table.add([6, 7, 6, 9]);
    expect(table.rows.at(-1)).toEqual([6, 6, 5, 9]);
  });

  it('keep means, extremes and the newest step of any number of rows', () => {
    const table = new ThinnedTable(MERGINGS, 100);
    const values = Array.from({ length: 12_345 }, (_, i) => Math.sin(i * 12.9898) * 43_758);
    for (const [i, value] of values.entries()) table.add([i + 1, value, value, value]);
    const { counts, stride } = table.state();
    expect(table.rows.length).toBeLessThanOrEqual(100);
    expect(table.rows.length).toBeGreaterThan(50);
    expect(counts.reduce((sum, count) => sum + count)).toBe(values.length);
    expect(counts.slice(0, -1).every((count) => count === stride)).toBe(true);
    let start = 0;
    for (const [i, count] of counts.entries()) {
      const part = values.slice(start, start + count);
      start += count;
      const [step, mean, least, most] = table.rows[i]!;
      expect([step, least, most]).toEqual([start, Math.min(...part), Math.max(...part)]);
      expect(mean).toBeCloseTo(part.reduce((sum, value) => sum + value, 0) / count, 6);
    }
  });

  it('go on as the one whose state they have loaded, through JSON', () => {
    const [whole, first] = [new ThinnedTable(MERGINGS, 10), new ThinnedTable(MERGINGS, 10)];
    const row = (i: number) => [i, i % 7, i % 5, i % 3];
    for (let i = 0; i < 37; i++) for (const table of [whole, first]) table.add(row(i));
    const second = new ThinnedTable(MERGINGS, 10);
    second.load(JSON.parse(JSON.stringify(first.state())));
    for (let i = 37; i < 90; i++) for (const table of [whole, second]) table.add(row(i));
    expect(second.state()).toEqual(whole.state());
  });

  it('pass over values that are not finite', () => {
    const table = new ThinnedTable(MERGINGS, 1);
    table.add([1, null, 3, null]);
    table.add([2, 4, null, null]);
    expect(table.rows).toEqual([[2, 4, 3, null]]);
  });
});
