/**
 * Images of the live page for the README, in light and dark: `npm run live:images -- ADDRESS [FOLDER]`, of a run that
 * is under way; without Chromium nothing is made.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { Chromium, findChromium } from '../chromium.js';

const WIDTH = 1240;
const MAX_BYTES = 250_000;

const [address, folder = 'docs/images'] = process.argv.slice(2);
const program = findChromium();
if (!address || program === undefined) {
  console.error(address ? 'no Chromium was found: set CHROMIUM to its path' : 'usage: npm run live:images -- ADDRESS');
  process.exit(1);
}
const chromium = new Chromium(program);
for (const scheme of ['light', 'dark']) {
  const page = await chromium.open(address, { width: WIDTH, isDark: scheme === 'dark' });
  const canvases = '[...document.querySelectorAll(".chart canvas")]';
  while (!(await page.evaluate<boolean>(`${canvases}.length > 0`))) await new Promise((go) => setTimeout(go, 100));
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 1000))');
  // From the top to the end of the second row of charts.
  const height = await page.evaluate<number>(
    'Math.round(document.querySelectorAll(".chart")[2].getBoundingClientRect().bottom + scrollY + 16)',
  );
  const shot = await page.screenshot({ x: 0, y: 0, width: WIDTH, height });
  const image = await sharp(shot).png({ palette: true, quality: 90, effort: 10 }).toBuffer();
  const target = join(folder, `live-page-${scheme}.png`);
  if (image.length > MAX_BYTES) throw new Error(`${target} would have ${image.length} bytes`);
  await writeFile(target, image);
  console.log(`${target}: ${image.length} bytes`);
  if (page.faults.length > 0) throw new Error(`the page has faults: ${page.faults.join('; ')}`);
  await page.close();
}
await chromium.close();
