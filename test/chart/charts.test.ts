import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { barChart } from '../../src/chart/bar-chart.js';
import { lineChart, type Point } from '../../src/chart/line-chart.js';
import { matrixChart } from '../../src/chart/matrix-chart.js';
import { logTicks, niceTicks, PALETTE, svgDocument, tickLabel } from '../../src/chart/svg.js';
import { ConfigError } from '../../src/errors.js';
import { distance, draw, rgb } from './pixels.js';

const BLUE = PALETTE[0];
const ORANGE = PALETTE[1];

describe('barChart', () => {
  const options = {
    title: 'Counts',
    labels: ['Comminuted fracture', 'b', 'c'],
    series: [
      { name: 'train', values: [100, 50, 0] },
      { name: 'test', values: [25, 75, 10] },
    ],
  };

  it('draws bars whose area follows the values', async () => {
    const image = await draw(barChart(options));
    expect(image.width).toBe(1000);
    // Below the legend, each group has its own band of rows.
    const [top, group] = [100, 44];
    const areas = (colour: string) =>
      [0, 1, 2].map((i) => image.count(colour, { top: top + i * group, bottom: top + (i + 1) * group }));
    const trainAreas = areas(BLUE);
    const testAreas = areas(ORANGE);
    const unit = trainAreas[0]! / 100;
    expect(unit).toBeGreaterThan(50);
    for (const [i, value] of [100, 50, 0].entries()) expect(Math.abs(trainAreas[i]! / unit - value)).toBeLessThan(2);
    for (const [i, value] of [25, 75, 10].entries()) expect(Math.abs(testAreas[i]! / unit - value)).toBeLessThan(2);
  });

  it('grows with the number of labels and keeps long ones inside', async () => {
    const labels = Array.from({ length: 12 }, (_, i) => `${'very long name '.repeat(10)}${i}`);
    const image = await draw(barChart({ title: '', labels, series: [{ name: '', values: labels.map((_, i) => i) }] }));
    expect(image.height).toBeGreaterThan(12 * 30);
    const ink = image.count('#ffffff', { left: 0, right: 30 });
    expect(ink).toBe(30 * image.height);
    expect(image.count(BLUE)).toBeGreaterThan(5000);
  });

  it('draws all zeros', async () => {
    const image = await draw(barChart({ title: 'none', labels: ['a'], series: [{ name: 's', values: [0] }] }));
    expect(image.count(BLUE)).toBe(0);
  });

  it('refuses what does not fit', () => {
    expect(() => barChart({ ...options, labels: ['a'] })).toThrow(/expected 1 values in series "train".* got 3/);
    expect(() => barChart({ ...options, labels: [], series: [] })).toThrow(ConfigError);
    expect(() => barChart({ title: '', labels: ['a'], series: [{ name: 's', values: [-1] }] })).toThrow(/got -1 at 0/);
  });
});

describe('lineChart', () => {
  const draws = (points: readonly Point[], more = {}) =>
    lineChart({ title: '', xLabel: '', yLabel: '', series: [{ name: 's', points }], ...more });

  it('draws a straight line straight, from corner to corner', async () => {
    const points = Array.from({ length: 101 }, (_, i) => [i, i] as const);
    const image = await draw(draws(points));
    const blue: [number, number][] = [];
    for (let y = 0; y < image.height; y++)
      for (let x = 0; x < image.width; x++) if (distance(image.at(x, y), rgb(BLUE)) < 30) blue.push([x, y]);
    const xs = blue.map(([x]) => x);
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    expect(right).toBeGreaterThan(950);
    expect(right - left).toBeGreaterThan(800);
    const yAt = (x: number) => blue.filter(([px]) => px === x).reduce((a, [, y], _, all) => a + y / all.length, 0);
    const [a, b, c] = [left + 10, (left + right) >> 1, right - 10].map(yAt) as [number, number, number];
    expect(a).toBeGreaterThan(b);
    expect(Math.abs(b - (a + c) / 2)).toBeLessThan(2);
    expect(c).toBeLessThan(60 + image.height * 0.15);
  });

  it('draws a power law straight on a logarithmic axis', () => {
    const points = [0, 1, 2, 3].map((i) => [i, 10 ** -i] as const);
    const svg = draws(points, { yScale: 'log' });
    const path = /stroke-width="2.5" d="M([^"]*)"/.exec(svg)![1]!;
    const ys = path.split('L').map((place) => Number(place.split(' ')[1]));
    expect(ys[1]! - ys[0]!).toBeGreaterThan(50);
    expect(ys[2]! - ys[1]!).toBeCloseTo(ys[1]! - ys[0]!, 1);
    expect(ys[3]! - ys[2]!).toBeCloseTo(ys[1]! - ys[0]!, 1);
  });

  it('leaves a gap where there is no number', () => {
    const moves = (points: readonly Point[], more = {}) =>
      /stroke-width="2.5" d="([^"]*)"/.exec(draws(points, more))![1]!.replace(/[^ML]/g, '');
    expect(
      moves([
        [0, 1],
        [1, 2],
        [2, NaN],
        [3, 2],
        [4, 1],
      ]),
    ).toBe('MLML');
    expect(
      moves(
        [
          [0, 1],
          [1, 0],
          [2, 3],
        ],
        { yScale: 'log' },
      ),
    ).toBe('MM');
    expect(
      draws([
        [0, 1],
        [1, 2],
        [2, Infinity],
      ]),
    ).not.toMatch(/NaN|Infinity/);
  });

  it('draws a single point and a flat line', async () => {
    for (const points of [
      [[5, 0.7]],
      [
        [1, 0],
        [2, 0],
      ],
    ] as Point[][])
      expect((await draw(draws(points))).count(BLUE)).toBeGreaterThan(20);
  });

  it('copes with as many points as a long run has', () => {
    const points = Array.from({ length: 200_000 }, (_, i) => [i, Math.sin(i)] as const);
    expect(draws(points)).toContain('</svg>');
  });

  it('refuses to draw nothing', () => {
    expect(() => draws([])).toThrow(ConfigError);
    expect(() => draws([[1, -1]], { yScale: 'log' })).toThrow(/log axis/);
  });
});

describe('matrixChart', () => {
  const options = {
    title: 'Confusion',
    rowLabels: ['a', 'b'],
    columnLabels: ['a', 'b', '(no class)'],
    values: [
      [9, 1, 0],
      [30, 30, 30],
    ],
  };
  const cells = (svg: string) =>
    [...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" [^>]*rx="3"/g)].map((m) =>
      m.slice(1).map(Number),
    );

  it('shades cells by their share of the row', async () => {
    const svg = matrixChart(options);
    const image = await draw(svg);
    const boxes = cells(svg);
    expect(boxes).toHaveLength(6);
    // Just inside the corner, away from the number.
    const brightness = boxes.map(([x, y]) => image.at(x! + 6, y! + 6)[0]);
    expect(brightness[0]!).toBeLessThan(brightness[3]!);
    expect(brightness[3]!).toBeLessThan(brightness[1]!);
    expect(brightness[1]!).toBeLessThan(brightness[2]!);
    expect(new Set(brightness.slice(3)).size).toBe(1);
    const absolute = matrixChart({ ...options, shading: 'largest' });
    const largest = await draw(absolute);
    const shades = cells(absolute).map(([x, y]) => largest.at(x! + 6, y! + 6)[0]);
    expect(shades[3]!).toBeLessThan(shades[0]!);
  });

  it('writes every number, in white on dark cells', async () => {
    const svg = matrixChart({ ...options, rowLabels: ['a'], columnLabels: ['b'], values: [[8]] });
    const [x, y, side] = cells(svg)[0]! as [number, number, number];
    const image = await draw(svg);
    const box = { left: Math.ceil(x), right: Math.floor(x + side), top: Math.ceil(y), bottom: Math.floor(y + side) };
    expect(image.count('#ffffff', box)).toBeGreaterThan(5);
  });

  it('stays whole with many classes and long names', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `Class number ${i} with a long name of its own`);
    const svg = matrixChart({
      title: 't',
      rowLabels: names,
      columnLabels: names,
      values: names.map(() => names.map(() => 0)),
    });
    const image = await draw(svg);
    expect(image.width).toBeGreaterThan(40 * 30);
    // The margins are empty: nothing is cut off.
    expect(image.count('#ffffff', { left: image.width - 20 })).toBe(20 * image.height);
    expect(image.count('#ffffff', { right: 20 })).toBe(20 * image.height);
  });

  it('refuses values that do not fit the labels', () => {
    expect(() => matrixChart({ ...options, rowLabels: ['a'] })).toThrow(/\[1\]\[3\].*\[3, 3\]/);
    expect(() =>
      matrixChart({
        ...options,
        values: [
          [1, 2, 3],
          [1, NaN, 3],
        ],
      }),
    ).toThrow(/got NaN/);
    expect(() => matrixChart({ ...options, rowLabels: [], values: [] })).toThrow(ConfigError);
  });
});

describe('ticks', () => {
  it('are round, evenly spaced and cover the values', () => {
    const range = fc.tuple(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
    );
    fc.assert(
      fc.property(range, fc.integer({ min: 2, max: 10 }), ([low, spread], count) => {
        const ticks = niceTicks(low, low + spread, count);
        const step = ticks[1]! - ticks[0]!;
        expect(ticks[0]!).toBeLessThanOrEqual(low + step * 1e-6);
        expect(ticks.at(-1)!).toBeGreaterThanOrEqual(low + spread - step * 1e-6);
        expect(ticks.length).toBeGreaterThanOrEqual(2);
        expect(ticks.length).toBeLessThanOrEqual(count + 3);
        const mantissa = step / 10 ** Math.floor(Math.log10(step * 1.0001));
        expect([1, 2, 5].some((factor) => Math.abs(mantissa - factor) < 1e-3)).toBe(true);
      }),
    );
    expect(niceTicks(0, 137, 7)).toEqual([0, 20, 40, 60, 80, 100, 120, 140]);
    expect(niceTicks(0.1, 0.3, 2)).toEqual([0.1, 0.2, 0.3]);
    expect(niceTicks(0, 0).length).toBeGreaterThan(1);
  });

  it('cover the values on a logarithmic axis', () => {
    expect(logTicks(0.3, 4)).toEqual([0.2, 0.5, 1, 2, 5]);
    expect(logTicks(1e-6, 1)).toEqual([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]);
    expect(logTicks(2, 2)).toEqual([2, 5]);
    expect(logTicks(3, 3)).toEqual([2, 5]);
  });

  it('are written short', () => {
    const values = [0, 0.05, 0.1 + 0.2, 1500, 25_000, 2_500_000, 2e-4, 2.5e-5, 1e12, -3];
    expect(values.map(tickLabel)).toEqual(['0', '0.05', '0.3', '1500', '25k', '2.5M', '2e-4', '2.5e-5', '1e12', '-3']);
  });
});

describe('svgDocument', () => {
  it('is valid with any title', async () => {
    const image = await draw(svgDocument(10.2, 20, '<a & "b">\u0000\ud800\ufffe 🙂\n', []));
    expect([image.width, image.height]).toEqual([11, 20]);
  });
});
