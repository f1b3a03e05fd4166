/** An app with the built package inside one bundle of esbuild or vite: it trains a step where no package is installed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as esbuild } from 'esbuild';
import { build as vite } from 'vite';

const entry = fileURLToPath(new URL('../consumers/train.mjs', import.meta.url));
const external = ['sharp'];
const folder = await mkdtemp(join(tmpdir(), 'consumer-bundles-'));
try {
  const outfile = join(folder, 'esbuild/app.mjs');
  await esbuild({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', external });
  await vite({
    configFile: false,
    logLevel: 'error',
    ssr: { noExternal: true, external },
    build: { ssr: entry, outDir: join(folder, 'vite'), rollupOptions: { output: { entryFileNames: 'app.mjs' } } },
  });
  for (const name of ['esbuild', 'vite']) {
    const output = execFileSync(process.execPath, ['app.mjs'], { cwd: join(folder, name), encoding: 'utf8' });
    assert.match(output, /trained 1 step/);
  }
} finally {
  await rm(folder, { recursive: true });
}
console.log('bundles of esbuild and vite');
