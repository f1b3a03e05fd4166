/** An app with the package inside one bundle, run where no package is installed: it trains a step, on two threads. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const EXTERNAL = ['sharp', '@koromix/koffi-linux-x64', '@koromix/koffi-linux-arm64'];
const external = JSON.stringify(EXTERNAL);

/** Packages that make the bundle, files that say how, and the command. */
const WAYS = {
  esbuild: {
    packages: ['esbuild'],
    program: `import { build } from 'esbuild';
await build({ entryPoints: ['train.mjs'], outfile: 'out/app.mjs', bundle: true, platform: 'node', format: 'esm', external: ${external} });`,
  },
  'esbuild, chunks': {
    packages: ['esbuild'],
    program: `import { build } from 'esbuild';
await build({ entryPoints: { app: 'train.mjs' }, outdir: 'out', outExtension: { '.js': '.mjs' }, bundle: true, splitting: true, platform: 'node', format: 'esm', external: ${external} });`,
  },
  vite: {
    packages: ['vite'],
    program: `import { build } from 'vite';
await build({ logLevel: 'warn', ssr: { noExternal: true, external: ${external} }, build: { ssr: 'train.mjs', outDir: 'out', rollupOptions: { output: { entryFileNames: 'app.mjs', chunkFileNames: '[name]-[hash].mjs' } } } });`,
  },
  webpack: {
    packages: ['webpack'],
    program: `import { resolve } from 'node:path';
import webpack from 'webpack';
const external = ${external};
webpack({
  mode: 'production', target: 'node20', entry: './train.mjs', experiments: { outputModule: true }, externalsType: 'module',
  externals: Object.fromEntries(external.map((name) => [name, name])),
  output: { path: resolve('out'), filename: 'app.mjs', chunkFilename: '[id].mjs', module: true, chunkFormat: 'module', chunkLoading: 'import' },
}, (error, stats) => { if (error || stats.hasErrors()) { console.error(error ?? stats.toString({ colors: false })); process.exitCode = 1; } });`,
  },
  rollup: {
    packages: ['rollup', '@rollup/plugin-node-resolve', '@rollup/plugin-commonjs', '@rollup/plugin-json'],
    program: `import commonjs from '@rollup/plugin-commonjs';
import json from '@rollup/plugin-json';
import resolve from '@rollup/plugin-node-resolve';
import { rollup } from 'rollup';
const bundle = await rollup({ input: 'train.mjs', external: ${external}, plugins: [resolve({ preferBuiltins: true }), commonjs(), json()], onwarn() {} });
await bundle.write({ dir: 'out', format: 'esm', entryFileNames: 'app.mjs', chunkFileNames: '[name]-[hash].mjs' });`,
  },
  tsup: {
    packages: ['tsup', 'typescript@5.9'],
    program: `import { build } from 'tsup';
await build({ config: false, silent: true, entry: { app: 'train.mjs' }, outDir: 'out', format: 'esm', outExtension: () => ({ js: '.mjs' }), platform: 'node', noExternal: [/./], external: ${external} });`,
  },
};

export const BUNDLERS = Object.keys(WAYS);

export function bundle({ work, tarball, here, run, step, folderOf, asked }) {
  for (const [name, { packages, program }] of Object.entries(WAYS)) {
    if (!name.includes(asked.only)) continue;
    const folder = folderOf(`bundle ${name}`);
    cpSync(join(here, 'train.mjs'), join(folder, 'train.mjs'));
    writeFileSync(join(folder, 'build.mjs'), program);
    run('npm', ['install', '--no-audit', '--no-fund', tarball, ...packages], { cwd: folder });
    if (!step(name, 'bundle', () => run('node', ['build.mjs'], { cwd: folder }) && '')) continue;
    // Nothing above this folder has packages.
    const alone = join(work, `alone-${name.replace(/\W+/g, '-')}`);
    mkdirSync(alone);
    cpSync(join(folder, 'out'), alone, { recursive: true });
    step(name, 'train from the bundle', () => run('node', ['app.mjs'], { cwd: alone }));
  }
}
