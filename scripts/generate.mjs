/**
 * Makes src/generated/ (not kept in git) from src/: the WebAssembly kernels as text, and each
 * worker thread's program as one bundled string, so that a worker starts the same way from the sources, from dist
 * and from inside a user's own bundle. Skips what is up to date.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync } from 'node:zlib';
import { kernelLaunchers, withTables } from './kernel-launchers.mjs';
import { wgslKernels } from './wgsl-kernels.mjs';

const scripts = dirname(fileURLToPath(import.meta.url));
const source = join(scripts, '..', 'src');
const target = join(source, 'generated');
mkdirSync(target, { recursive: true });

/** Files under a folder, by ending. */
function filesUnder(folder, ending) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function hashOf(files) {
  const hash = createHash('sha256').update(readFileSync(fileURLToPath(import.meta.url)));
  for (const file of files) hash.update(relative(source, file)).update(readFileSync(file));
  return hash.digest('hex');
}

/** Runs `make` unless the target already carries the hash of its sources. */
async function generate(name, files, make) {
  const path = join(target, name);
  const mark = `// sources: ${hashOf(files)}\n`;
  if (existsSync(path) && readFileSync(path, 'utf8').startsWith(mark)) return;
  const body = await make();
  writeFileSync(`${path}.${process.pid}`, mark + body);
  renameSync(`${path}.${process.pid}`, path);
}

async function compileKernels(relaxed) {
  const asc = (await import('assemblyscript/asc')).default;
  let binary;
  const { error, stderr } = await asc.main(
    [
      join(source, 'engine/cpu/wasm/kernels.ts'),
      '--outFile',
      'kernels.wasm',
      '--baseDir',
      source,
      '-O3',
      '--noAssert',
      '--runtime',
      'stub',
      '--importMemory',
      '--sharedMemory',
      '--initialMemory',
      '16',
      '--maximumMemory',
      '65536',
      '--memoryBase',
      '1024',
      '--enable',
      relaxed ? 'simd,threads,bulk-memory,relaxed-simd' : 'simd,threads,bulk-memory',
    ],
    {
      writeFile: (_, contents) => {
        binary = contents;
      },
    },
  );
  if (error) throw new Error(`the kernels do not compile:\n${stderr.toString()}`);
  return Buffer.from(binary);
}

const kernels = filesUnder(join(source, 'engine/cpu/wasm'), '.ts');
if (kernels.length > 0) {
  await generate('kernels.ts', kernels, async () => {
    const plain = await compileKernels(false);
    const relaxed = await compileKernels(true);
    // Both in one, as they are nearly the same: a fifth of the bytes in the package.
    const both = brotliCompressSync(Buffer.concat([plain, relaxed])).toString('base64');
    return `/** Two WebAssembly modules behind each other, brotli in base64. */\nexport const KERNELS = '${both}';\n/** Bytes of the first; the second uses relaxed SIMD. */\nexport const PLAIN_BYTES = ${plain.length};\n`;
  });
}

// CUDA C is compiled at run time, for the card that is there: its texts travel with the package.
const cudaSources = filesUnder(join(source, 'engine/cuda/kernels'), '.cu').concat(
  filesUnder(join(source, 'engine/cuda/kernels'), '.cuh'),
);
// The marks of what is PTX stay: where there is no card, it is replaced.
const withoutComments = (text) =>
  text
    .replace(/"(?:\\.|[^"\\\n])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (found) =>
      found.startsWith('"') || /^\/\/ PTX (begin|end)\b/.test(found)
        ? found
        : found.startsWith('//')
          ? ''
          : ' '.concat(found.replace(/[^\n]/g, '')),
    )
    .replace(/[ \t]+$/gm, '');
const cudaTexts = Object.fromEntries(cudaSources.map((file) => [basename(file), readFileSync(file, 'utf8')]));
await generate('cuda-kernels.ts', cudaSources, () => {
  const type = 'Readonly<Record<string, string>>';
  // A quarter of the package as plain text. Lines keep their numbers, which the compiler's messages name.
  const bare = Object.fromEntries(Object.entries(cudaTexts).map(([name, text]) => [name, withoutComments(text)]));
  const packed = brotliCompressSync(JSON.stringify(bare)).toString('base64');
  return `import { brotliDecompressSync } from 'node:zlib';\n\n/** Texts of the CUDA kernels by file name. */\nexport const KERNEL_SOURCES: ${type} = JSON.parse(\n  brotliDecompressSync(Buffer.from('${packed}', 'base64')).toString(),\n);\n`;
});
await generate('kernel-launchers.ts', [...cudaSources, join(scripts, 'kernel-launchers.mjs')], () =>
  kernelLaunchers(cudaTexts),
);
const readmePath = join(source, 'engine/cuda/kernels/README.md');
const readme = readFileSync(readmePath, 'utf8');
if (withTables(readme, cudaTexts) !== readme) writeFileSync(readmePath, withTables(readme, cudaTexts));

// WGSL goes to the driver as text too; the same brotli for all files, as they are much alike.
const wgslSources = filesUnder(join(source, 'engine/webgpu/kernels'), '.wgsl');
const wgslTexts = Object.fromEntries(wgslSources.map((file) => [basename(file), readFileSync(file, 'utf8')]));
await generate('wgsl-sources.ts', wgslSources, () => {
  const type = 'Readonly<Record<string, string>>';
  // Comments go, directives (`//#`) stay.
  const bare = Object.fromEntries(
    Object.entries(wgslTexts).map(([name, text]) => [
      name,
      text
        .replace(/\/\/(?!#)[^\n]*/g, '')
        .replace(/[ \t]+$/gm, '')
        .replace(/^\n+/gm, ''),
    ]),
  );
  const packed = brotliCompressSync(JSON.stringify(bare)).toString('base64');
  return `import { brotliDecompressSync } from 'node:zlib';\n\n/** Texts of the WebGPU kernels by file name. */\nexport const WGSL_SOURCES: ${type} = JSON.parse(\n  brotliDecompressSync(Buffer.from('${packed}', 'base64')).toString(),\n);\n`;
});
await generate('wgsl-kernels.ts', [...wgslSources, join(scripts, 'wgsl-kernels.mjs')], () => wgslKernels(wgslTexts));

// Pages carry their charts' library with them: they need no network, and the package no dependency.
const chartFiles = ['uPlot.iife.min.js', 'uPlot.min.css'].map((name) =>
  join(scripts, '..', 'node_modules/uplot/dist', name),
);
const chartLicence = join(scripts, '..', 'node_modules/uplot/LICENSE');
await generate('uplot.ts', [...chartFiles, chartLicence], () => {
  const [script, styles] = chartFiles.map((file) => readFileSync(file, 'utf8'));
  const licence = `/*!\n${readFileSync(chartLicence, 'utf8').trim()}\n*/\n`;
  const text = (value) => JSON.stringify(value);
  return `/** uPlot (MIT), for pages: defines the global \`uPlot\`. */\nexport const UPLOT_SCRIPT = ${text(licence + script)};\nexport const UPLOT_STYLES = ${text(licence + styles)};\n`;
});

const manifest = join(scripts, '..', 'package.json');
await generate('version.ts', [manifest], () => {
  const { version, homepage } = JSON.parse(readFileSync(manifest, 'utf8'));
  return (
    `/** Of this package. */\nexport const VERSION = ${JSON.stringify(version)};\n` +
    `/** Of its documentation, with a slash at the end. */\nexport const HOMEPAGE = ${JSON.stringify(homepage)};\n`
  );
});

// The program of the live page, for the browser.
const pageFolder = join(source, 'monitor');
const pageFiles = [
  ...filesUnder(join(pageFolder, 'browser'), '.ts'),
  ...['event-stream-parser.ts', 'live-protocol.ts', 'thinned-table.ts'].map((name) => join(pageFolder, name)),
];
await generate('live-page.ts', pageFiles, async () => {
  const { build } = await import('esbuild');
  const result = await build({
    entryPoints: [join(pageFolder, 'browser/main.ts')],
    bundle: true,
    write: false,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    charset: 'utf8',
    metafile: true,
    absWorkingDir: join(scripts, '..'),
  });
  const others = Object.keys(result.metafile.inputs).filter((path) => !pageFiles.includes(join(scripts, '..', path)));
  if (others.length > 0) throw new Error(`the live page's program also has ${others.join(', ')}`);
  const program = JSON.stringify(result.outputFiles[0].text);
  return `/** Program of the live page; it wants the global \`uPlot\`. */\nexport default ${program};\n`;
});

const sources = filesUnder(source, '.ts').filter((file) => !file.startsWith(target) && !file.endsWith('.d.ts'));
for (const file of sources.filter((path) => path.endsWith('-worker.ts'))) {
  const name = basename(file);
  await generate(name, sources, async () => {
    const { build } = await import('esbuild');
    const result = await build({
      entryPoints: [file],
      bundle: true,
      write: false,
      format: 'cjs',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      // A text in the package; names stay for stacks.
      minifyWhitespace: true,
      minifySyntax: true,
    });
    const program = result.outputFiles[0].text;
    return `/** Program of ${name}, for \`new Worker(program, { eval: true })\`. */\nexport default ${JSON.stringify(program)};\n`;
  });
}
