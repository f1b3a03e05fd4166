/** The program that `npx ministral-tune` starts, as it was built. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { where } from '../where.js';

const program = fileURLToPath(new URL(`../../${manifest.bin['ministral-tune']}`, import.meta.url));

function start(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
  });
}

where(existsSync(program), 'needs `npm run build`').it('runs as it was built', async () => {
  const [version, help, wrong, missing] = await Promise.all([
    start('--version'),
    start('train', '--help'),
    start('train', '--modell', '3B'),
    start('train', '--data', '/no/such/folder', '--model', '3B'),
  ]);
  expect(version).toEqual({ code: 0, out: `${manifest.version}\n`, err: '' });
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining('Usage: ministral-tune train') });
  expect(wrong).toMatchObject({ code: 2, out: '', err: expect.stringContaining('Did you mean --model?') });
  expect(missing).toMatchObject({ code: 1, out: '', err: expect.stringContaining('there is no file or folder') });
  expect(missing.err).not.toMatch(/^\s+at /m);
});
