/** The example as a newcomer starts it: a folder of classes, one file of it cut short. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ChildProgram, childProgram } from '../child-program.js';

let dir: string;
let data: string;
let program: ChildProgram;

beforeAll(async () => {
  program = await childProgram('examples/bone-fracture.ts');
  dir = await mkdtemp(join(tmpdir(), 'example-'));
  data = join(dir, 'animals');
  for (const [c, name] of ['cat', 'cow', 'dog'].entries()) {
    await mkdir(join(data, name), { recursive: true });
    for (let i = 0; i < 5; i++) {
      const background = { r: 60 * c, g: 40 * i, b: 90 };
      const jpeg = await sharp({ create: { width: 40, height: 30, channels: 3, background } })
        .jpeg()
        .toBuffer();
      const isCut = name === 'dog' && i === 2;
      await writeFile(join(data, name, `${i}.jpg`), isCut ? jpeg.subarray(0, jpeg.length - 60) : jpeg);
    }
  }
});
afterAll(async () => {
  await program.remove();
  await rm(dir, { recursive: true });
});

function run(...options: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const argv = [program.path, '--engine', 'cpu', '--out', join(dir, 'out'), ...options];
  return new Promise((resolve) => {
    execFile(process.execPath, argv, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

describe('the example on a folder of classes with a damaged file', () => {
  it('runs to its report and names the file', async () => {
    const { code, stdout, stderr } = await run('--data', data, '--holdout', '0.2');
    expect([code, stderr.match(/^\s+at /m)]).toEqual([0, null]);
    expect(stderr).toContain(`an unreadable image is left out: ${join(data, 'dog', '2.jpg')} (`);
    expect(stdout).toMatch(/3 classes, 11 training and 3 test samples/);
    expect(stdout).toMatch(/Of 3 samples in both/);
    const summary = JSON.parse(await readFile(join(dir, 'out', 'summary.json'), 'utf8'));
    expect([summary.samples, summary.testSamples]).toEqual([11, 3]);
  }, 120_000);

  it.each([
    [[], /there are no test images, only: train 14\n.*--holdout 0\.2/],
    [['--holdout', '0.2', '--model', '/no/such/folder'], /no such folder/],
  ])(
    'ends in a message with %j',
    async (options, message) => {
      const { code, stderr, stdout } = await run('--data', data, ...options);
      expect(code).toBeGreaterThan(0);
      expect(stderr).toMatch(message);
      expect(`${stdout}${stderr}`).not.toMatch(/^\s+at .*:\d+:\d+/m);
    },
    120_000,
  );
});
