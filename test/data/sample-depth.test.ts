import { describe, expect, it } from 'vitest';
import { DepthWatch } from '../../src/data/sample-depth.js';

function watch(bitDepth?: number) {
  const lines: string[] = [];
  return { lines, watch: new DepthWatch(bitDepth, (line) => lines.push(line)) };
}

describe('DepthWatch', () => {
  it('says once, with counts and a name, that 16-bit images look like fewer bits', async () => {
    const { lines, watch: depths } = watch();
    await depths.during(async () => {
      for (let i = 0; i < 30; i++) depths.note(`${i}.png`, 3000 + i);
    });
    depths.note('later.png', 3500);
    expect(lines).toEqual([
      '30 of 30 16-bit images hold no sample above 3,029 (29.png): that looks like 12-bit data, and scaled by 65,535 it ' +
        'comes out nearly black. Give `bitDepth: 12`, or `bitDepth: 16` if it is right so',
    ]);
  });

  it.each([
    [[200], '8-bit'],
    [[1023, 900], '10-bit'],
    [[4095], '12-bit'],
    [[4096, 800], '14-bit'],
  ])('names the depth of samples up to %j', async (brightest, depth) => {
    const { lines, watch: depths } = watch();
    await depths.during(async () => {
      for (const value of brightest) depths.note('a.png', value);
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(depth);
  });

  it('says where depths differ', async () => {
    const { lines, watch: depths } = watch();
    await depths.during(async () => {
      for (let i = 0; i < 5; i++) depths.note(`narrow-${i}.png`, 4000 + i);
      for (let i = 0; i < 7; i++) depths.note(`full-${i}.png`, 60_000 + i);
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('5 hold no sample above 4,004 (narrow-4.png), 7 go up to 60,006 (full-6.png)');
  });

  it('says where images are brighter than the depth that was given', async () => {
    const { lines, watch: depths } = watch(12);
    depths.note('a.png', 4095);
    expect(lines).toEqual([]);
    depths.note('b.png', 5000);
    depths.note('c.png', 6000);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^1 of 2 16-bit images hold samples above 4,095, up to 5,000 \(b\.png\).*`bitDepth` 12/);
  });

  it('has nothing to say of the full range, of one that was given, or of black images', () => {
    const full = watch();
    for (const brightest of [65_535, 40_000, 9000, 0]) full.watch.note('a.png', brightest);
    const given = watch(16);
    given.watch.note('a.png', 900);
    const black = watch();
    black.watch.note('a.png', 0);
    expect([...full.lines, ...given.lines, ...black.lines]).toEqual([]);
  });
});
