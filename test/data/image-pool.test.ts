import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ImagePool } from '../../src/data/image-pool.js';
import { ImageProcessor } from '../../src/data/image-processor.js';
import type { LazyImage, RgbImage } from '../../src/data/types.js';
import { ConfigError, DataError, ImageError } from '../../src/errors.js';
import { noiseImage } from './noise-image.js';

const processor = new ImageProcessor({ longestEdge: 140 });

/** An image whose decoding waits until it is let go. */
function gated(path: string, image: RgbImage): LazyImage & { started: boolean; open: () => void } {
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    path,
    started: false,
    open,
    async decode() {
      this.started = true;
      await gate;
      return image;
    },
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => Buffer.from(buffer, byteOffset, byteLength);
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('ImagePool', () => {
  it('gives what the processor gives, for more images than workers', async () => {
    await using pool = new ImagePool(processor, { workers: 2 });
    const images = Array.from({ length: 12 }, (_, i) => noiseImage(20 + 17 * i, 200 - 13 * i));
    const kept = images.map(({ data }) => data.slice());
    const results = await Promise.all(images.map((image) => pool.process(image)));
    for (const [i, image] of images.entries()) {
      const { pixelValues, width, height } = await processor.process(image);
      expect([results[i]!.width, results[i]!.height]).toEqual([width, height]);
      expect(Buffer.compare(bytesOf(results[i]!.pixelValues), bytesOf(pixelValues))).toBe(0);
    }
    // The caller's pixels were not moved away.
    expect(images.every(({ data }, i) => Buffer.compare(data, kept[i]!) === 0)).toBe(true);
  });

  it('names the image that fails and goes on with the others', async () => {
    await using pool = new ImagePool(processor, { workers: 1 });
    const broken: LazyImage = { path: 'broken.png', decode: () => Promise.reject(new ImageError('broken.png: cut')) };
    const results = await Promise.allSettled([
      pool.process(noiseImage(30, 30)),
      pool.process(broken),
      pool.process('/no/such/file.png'),
      pool.process({ path: 'thin.png', decode: async () => noiseImage(2000, 1) }),
      pool.process(noiseImage(31, 29)),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled']);
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason.message)] : []));
    expect(reasons[0]).toContain('broken.png');
    expect(reasons[1]).toContain('/no/such/file.png: cannot read the image: no such file');
    expect(reasons[2]).toContain('thin.png: 2000 × 1 pixels');
  });

  it('begins no more images than it has room for', async () => {
    await using pool = new ImagePool(processor, { workers: 1 });
    const inputs = Array.from({ length: 5 }, (_, i) => gated(`${i}.png`, noiseImage(10, 10)));
    const results = inputs.map((input) => pool.process(input));
    await turn();
    expect(inputs.map(({ started }) => started)).toEqual([true, true, false, false, false]);
    inputs[0]!.open();
    await results[0];
    await turn();
    expect(inputs.map(({ started }) => started)).toEqual([true, true, true, false, false]);
    for (const input of inputs) input.open();
    await Promise.all(results);
  });

  it('rejects at once when aborted, and forgets what waits', async () => {
    await using pool = new ImagePool(processor, { workers: 1 });
    const inputs = Array.from({ length: 4 }, (_, i) => gated(`${i}.png`, noiseImage(10, 10)));
    const controllers = inputs.map(() => new AbortController());
    const results = inputs.map((input, i) => pool.process(input, { signal: controllers[i]!.signal }));
    await turn();
    const [running, waiting] = [new Error('running'), new Error('waiting')];
    controllers[0]!.abort(running);
    controllers[2]!.abort(waiting);
    await expect(results[0]).rejects.toBe(running);
    await expect(results[2]).rejects.toBe(waiting);
    for (const input of inputs) input.open();
    expect((await results[1])!.width).toBe(28);
    expect((await results[3])!.width).toBe(28);
    expect(inputs[2]!.started).toBe(false);
    await expect(pool.process(noiseImage(5, 5), { signal: AbortSignal.abort(waiting) })).rejects.toBe(waiting);
  });

  it('rejects what is left when it is closed, and everything after', async () => {
    const pool = new ImagePool(processor, { workers: 1 });
    const input = gated('late.png', noiseImage(10, 10));
    const results = [pool.process(input), pool.process(noiseImage(9, 9)), pool.process(noiseImage(8, 8))];
    const settled = Promise.allSettled(results);
    await pool.close();
    await pool.close();
    input.open();
    for (const result of await settled) {
      expect(result.status).toBe('rejected');
      expect((result as PromiseRejectedResult).reason).toBeInstanceOf(DataError);
    }
    await expect(pool.process(noiseImage(5, 5))).rejects.toThrow('the image pool is closed');
  });

  it('checks its options', () => {
    expect(() => new ImagePool(processor, { workers: 0 })).toThrow(ConfigError);
    expect(() => new ImagePool(processor, { worker: 2 } as never)).toThrow('did you mean `workers`');
    const pool = new ImagePool(processor);
    expect(pool.workers).toBeGreaterThanOrEqual(1);
    expect(pool.workers).toBeLessThanOrEqual(4);
  });

  it('lets the process end while it is idle, and keeps it alive while it works', async () => {
    const source = new URL('../../src/data/', import.meta.url);
    const script = `
      import { ImagePool } from '${new URL('image-pool.ts', source)}';
      import { ImageProcessor } from '${new URL('image-processor.ts', source)}';
      const pool = new ImagePool(new ImageProcessor(), { workers: 2 });
      const image = { width: 90, height: 60, data: new Uint8Array(90 * 60 * 3) };
      const results = await Promise.all([pool.process(image), pool.process(image), pool.process(image)]);
      console.log(results.map(({ width, height }) => width + 'x' + height).join(' '));
    `;
    const run = promisify(execFile);
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
    const { stdout } = await run(process.execPath, args, { timeout: 30_000 });
    expect(stdout.trim()).toBe('112x84 112x84 112x84');
  });
});
