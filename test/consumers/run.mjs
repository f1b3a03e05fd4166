/**
 * The packed package as its users install it: package managers, versions of Node, Deno, TypeScript and bundlers, each in
 * a folder of its own, with nothing in PATH but Node and a shell. Needs the npm registry, and Linux.
 *
 *   npm run consumers -- [--tarball FILE] [--only TEXT] [--keep]
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BUNDLERS, bundle } from './bundlers.mjs';
import { checkTypes, TYPESCRIPTS } from './typescripts.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const { values: asked } = parseArgs({
  options: { tarball: { type: 'string' }, only: { type: 'string', default: '' }, keep: { type: 'boolean' } },
});
const NODES = ['20.10.0', '20', '22', '24'];
const work = mkdtempSync(join(tmpdir(), 'ministral-tune-consumers-'));
const rows = [];

/** Runs a program; throws with the end of its output. */
function run(command, args, options) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 600_000,
    ...options,
  });
  if (error) throw error;
  if (status !== 0)
    throw new Error(`status ${status}: ${`${stdout}\n${stderr}`.trim().split('\n').slice(-12).join('\n')}`);
  return stdout.trim();
}

/** One line of the table. */
function step(name, what, body) {
  const start = performance.now();
  let said = '';
  let isOk = true;
  try {
    said = body() ?? '';
  } catch (error) {
    isOk = false;
    said = error.message;
  }
  rows.push({ name, what, isOk, seconds: (performance.now() - start) / 1000, said: said.split('\n').at(-1) ?? '' });
  console.log(
    `${isOk ? 'ok  ' : 'FAIL'} ${name}: ${what}, ${rows.at(-1).seconds.toFixed(1)} s${said ? `: ${said}` : ''}`,
  );
  return isOk;
}

function folderOf(name, manifest = {}) {
  const folder = join(work, name.replace(/[^a-z0-9.]+/gi, '-'));
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'app', private: true, type: 'module', ...manifest }),
  );
  return folder;
}

const tarball = resolve(
  asked.tarball ?? join(work, run('npm', ['pack', '--pack-destination', work], { cwd: root }).split('\n').at(-1)),
);
const system = `${process.platform}-${process.arch}`;
const tools = folderOf('tools');
const managers = ['npm@11', 'pnpm@12', 'pnpm@10', '@yarnpkg/cli-dist@4', 'yarn@1.22'];
const aliases = [
  ...managers.map((name, i) => `manager${i}@npm:${name}`),
  ...NODES.map((version) => `node${version}@npm:node-${system}@${version}`),
  'deno@2',
];
run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', ...aliases], { cwd: tools });
const tool = (path) => join(tools, 'node_modules', path);
const manager = (name) => tool(`manager${managers.indexOf(name)}`);

/** A folder that stands for the machine: PATH has this Node, a shell and what shells take for granted. */
function machine(version) {
  const bin = join(work, `bin-${version}`);
  mkdirSync(bin, { recursive: true });
  const programs = [
    'sh',
    'env',
    'uname',
    'cat',
    'sed',
    'dirname',
    'basename',
    'ls',
    'mkdir',
    'rm',
    'cp',
    'chmod',
    'tr',
  ];
  for (const name of programs) link(join('/usr/bin', name), join(bin, name));
  link(tool(`node${version}/bin/node`), join(bin, 'node'));
  const cuda = join(work, 'cuda/lib64');
  mkdirSync(cuda, { recursive: true });
  link(cLibrary(), join(cuda, 'libcuda.so.1'));
  const { HOME, LANG, npm_config_registry, NPM_CONFIG_REGISTRY, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS } = process.env;
  const kept = { HOME, LANG, npm_config_registry, NPM_CONFIG_REGISTRY, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS };
  const given = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
  return { ...given, PATH: bin, CUDA_HOME: dirname(cuda), CI: '1', YARN_ENABLE_TELEMETRY: '0' };
}

function link(from, to) {
  try {
    symlinkSync(from, to);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}

function cLibrary() {
  const folders = ['/lib/x86_64-linux-gnu', '/lib/aarch64-linux-gnu', '/lib64', '/lib'];
  const found = folders.flatMap((folder) => {
    try {
      return readdirSync(folder).includes('libc.so.6') ? [join(folder, 'libc.so.6')] : [];
    } catch {
      return [];
    }
  });
  return found[0];
}

const registry = run('npm', ['config', 'get', 'registry'], { cwd: tools });
const NPM = (...more) => ['npm@11', 'bin/npm-cli.js', ['install', '--no-audit', '--no-fund', ...more, tarball]];
const PNPM = (name) => [name, name === 'pnpm@10' ? 'bin/pnpm.cjs' : 'bin/pnpm.mjs', ['add', tarball]];
const YARN = ['@yarnpkg/cli-dist@4', 'bin/yarn.js', ['add', `ministral-tune@file:${tarball}`]];
const yarnrc = (linker) => ({
  '.yarnrc.yml': `nodeLinker: ${linker}\nenableTelemetry: false\nnpmRegistryServer: "${registry}"\nenableGlobalCache: false\n`,
  'yarn.lock': '',
});
const CASES = [
  ...NODES.map((node) => ({ name: `npm 11, Node ${node}`, node, install: NPM() })),
  { name: 'npm 11 --ignore-scripts', node: '22', install: NPM('--ignore-scripts') },
  { name: 'npm 11 --omit=optional', node: '22', install: NPM('--omit=optional'), omits: true },
  { name: 'pnpm 12', node: '22', install: PNPM('pnpm@12') },
  { name: 'pnpm 10', node: '20', install: PNPM('pnpm@10') },
  { name: 'yarn 4, node_modules', node: '22', install: YARN, files: yarnrc('node-modules') },
  { name: 'yarn 4, PnP', node: '22', install: YARN, files: yarnrc('pnp'), prefix: ['node'] },
  { name: 'yarn 1', node: '20', install: ['yarn@1.22', 'bin/yarn.js', ['add', `file:${tarball}`]] },
].filter(({ name }) => name.includes(asked.only));

for (const { name, node, install, files = {}, omits, prefix } of CASES) {
  const folder = folderOf(name);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  for (const file of ['doors.mjs', 'doors.cjs', 'train.mjs']) cpSync(join(here, file), join(folder, file));
  const env = { ...machine(node), ...(omits && { CONSUMER_OMITS_OPTIONAL: '1' }) };
  const options = { cwd: folder, env };
  const binary = join(env.PATH, 'node');
  const [tooled, path, args] = install;
  const program = join(manager(tooled), path);
  if (!step(name, 'install', () => run(binary, [program, ...args], options) && '')) continue;
  const nodeArgs = prefix ? [program, ...prefix] : [];
  for (const file of ['doors.mjs', 'doors.cjs', 'train.mjs']) {
    step(name, file, () => run(binary, [...nodeArgs, file], options));
  }
  // As npx starts it.
  const command = (...given) =>
    prefix
      ? run(binary, [program, 'ministral-tune', ...given], options)
      : run(join(folder, 'node_modules/.bin/ministral-tune'), given, options);
  step(name, '--version', () => command('--version'));
  step(name, 'doctor', () => command('doctor').split('\n')[0]);
  if (!omits) step(name, 'demo', () => command('demo', '--output-dir', 'demo').split('\n').at(-1));
}

if ('Deno'.includes(asked.only)) {
  const folder = folderOf('Deno');
  const env = { ...machine('22'), DENO_DIR: join(work, 'deno-cache'), DENO_NO_UPDATE_CHECK: '1' };
  for (const file of ['doors.mjs', 'train.mjs']) cpSync(join(here, file), join(folder, file));
  const options = { cwd: folder, env };
  run(
    join(env.PATH, 'node'),
    [join(manager('npm@11'), 'bin/npm-cli.js'), 'install', '--no-audit', '--no-fund', tarball],
    options,
  );
  const deno = tool(`@deno/${system}-glibc/deno`);
  for (const file of ['doors.mjs', 'train.mjs'])
    step('Deno', file, () => run(deno, ['run', '-A', '--node-modules-dir=manual', file], options));
}

const shared = () => ({ work, tarball, here, root, run, step, folderOf, asked });
if (TYPESCRIPTS.some((version) => `TypeScript ${version}`.includes(asked.only))) checkTypes(shared());
if (BUNDLERS.some((name) => name.includes(asked.only))) bundle(shared());

const width = Math.max(...rows.map(({ name }) => name.length));
console.log(`\n${basename(tarball)}`);
for (const { name, what, isOk, seconds, said } of rows) {
  console.log(
    `${isOk ? 'ok  ' : 'FAIL'} ${name.padEnd(width)}  ${what.padEnd(22)} ${seconds.toFixed(1).padStart(6)} s  ${said}`,
  );
}
const failed = rows.filter(({ isOk }) => !isOk).length;
console.log(`${rows.length - failed} passed, ${failed} failed`);
if (!asked.keep) rmSync(work, { recursive: true, force: true });
else console.log(work);
process.exitCode = failed > 0 ? 1 : 0;
