/**
 * How many pictures of a folder are decoded and processed a second.
 *
 *   npm run bench:images -- DIR [--longest-edge 1540] [--workers N]
 */
import { parseArgs } from 'node:util';
import { ImageFolder } from '../../src/data/image-folder.js';
import { ImagePool } from '../../src/data/image-pool.js';
import { ImageProcessor } from '../../src/data/image-processor.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'longest-edge': { type: 'string', default: '1540' }, workers: { type: 'string' } },
});
if (!positionals[0]) {
  console.error('usage: npm run bench:images -- DIR   (a folder of pictures by class)');
  process.exit(2);
}
const folder = await ImageFolder.load(positionals[0]);
const samples = [...folder.splits.values()];
const processor = new ImageProcessor({
  longestEdge: Number(values['longest-edge']),
  patchSize: 14,
  spatialMergeSize: 2,
});
const pool = new ImagePool(processor, values.workers ? { workers: Number(values.workers) } : {});
for (let round = 1; round <= 3; round++) {
  const start = performance.now();
  const cpu = process.cpuUsage();
  let count = 0;
  let pixels = 0;
  for (const split of samples) {
    const images = await Promise.all(
      Array.from({ length: split.length }, async (_, i) => pool.process((await split.get(i)).image)),
    );
    for (const { height, width } of images) pixels += height * width;
    count += images.length;
  }
  const seconds = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  console.log(
    `RESULT ${JSON.stringify({
      round,
      images: count,
      imagesPerSecond: Number((count / seconds).toFixed(1)),
      megapixels: Number((pixels / 1e6).toFixed(1)),
      cpuMillisecondsPerImage: Number(((used.user + used.system) / 1000 / count).toFixed(2)),
      workers: pool.workers,
    })}`,
  );
}
await pool.close();
