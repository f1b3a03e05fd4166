/**
 * Makes dist/: the code of every door and of the program, with what they share in chunks, so that a class exists once
 * and little has to be read; doors for `require`; and the notices of the packages whose code is in it. The declarations
 * are tsup's and scripts/declarations.mjs's.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import ts from 'typescript';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const doors = Object.keys(manifest.exports)
  .filter((subpath) => !subpath.endsWith('.json'))
  .map((subpath) => (subpath === '.' ? 'index' : subpath.slice(2)));

// Those of the package are the user's to install; others become part of it.
const { dependencies, optionalDependencies, peerDependencies } = manifest;
const installed = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });

/**
 * Doors that make a chunk each of what the main door loads too, in this order, each without those before: a program reads
 * few files, and a door little that it does not need. The rest is left to the bundler.
 */
const CHUNKS = ['hub', 'engine', 'eval', 'data', 'monitor', 'report', 'index'];
/** What this many doors load is a chunk of its own. */
const COMMON = 3;

/** A chunk takes what its modules import along, unless one before it has that. */
const groups = ['common', ...CHUNKS].map((name, i) => ({
  name: (id, graph) => {
    chunks ??= chooseChunks((module) => graph.getModuleInfo(module));
    return chunks.get(id) === name ? `${name}-code` : null;
  },
  priority: 100 - i,
  debugName: name,
}));

let chunks;
function chooseChunks(getModuleInfo) {
  const loaded = new Map(doors.map((door) => [door, new Set()]));
  for (const [door, modules] of loaded) {
    const visit = (id) => {
      const info = getModuleInfo(id);
      if (!info || modules.has(id) || installed.some((name) => id.startsWith(name))) return;
      modules.add(id);
      for (const imported of info.importedIds) visit(imported);
    };
    for (const imported of getModuleInfo(join(root, `src/${door}.ts`)).importedIds) visit(imported);
  }
  return new Map(
    [...loaded.get('index')].map((id) => {
      const users = doors.filter((door) => loaded.get(door).has(id));
      return [id, users.length >= COMMON ? 'common' : CHUNKS.find((door) => users.includes(door))];
    }),
  );
}

/**
 * In doors, an async function becomes one that loads its code with the first call: a program that imports a door does not
 * read what it never calls, and it waits for an async function anyway.
 */
const loadAsyncFunctionsLater = {
  name: 'load-async-functions-later',
  transform: {
    filter: { id: doors.map((door) => join(root, `src/${door}.ts`)) },
    handler(code) {
      return code.replace(/^export \{([^}]*)\} from '(\.[^']+)';/gm, (_, list, from) => {
        const source = readFileSync(join(root, 'src', from.replace(/\.js$/, '.ts')), 'utf8');
        const names = list.split(',').flatMap((name) => name.replace(/^\s*type .*/, '').trim() || []);
        const later = names.filter((name) => new RegExp(`^export async function ${name}\\b[^*]`, 'm').test(source));
        const now = names.filter((name) => !later.includes(name));
        const functions = later.map(
          (name) => `export async function ${name}(...values) {
  return (await import('${from}')).${name}(...values);
}`,
        );
        return [...(now.length > 0 ? [`export { ${now.join(', ')} } from '${from}';`] : []), ...functions].join('\n');
      });
    },
  },
};

/** zod makes JSON Schemas of its schemas too, which nothing here asks for: a twentieth of what an import would read. */
const leaveOutJsonSchemas = {
  name: 'leave-out-json-schemas',
  transform: {
    filter: { id: /zod[\\/]v4[\\/]core[\\/](to-json-schema|json-schema-processors)\.js$/ },
    handler(code) {
      const names = [...code.matchAll(/^export (?:function|const) (\w+)/gm)].map(([, name]) => `leftOut as ${name}`);
      const renamed = [...code.matchAll(/^export \{ \w+ as (\w+) \}/gm)].map(([, name]) => `leftOut as ${name}`);
      return `const leftOut = () => () => {
  throw new Error('JSON Schema is left out of this copy of zod');
};
export { ${[...names, ...renamed].join(', ')} };`;
    },
  },
};

const bundle = await rolldown({
  cwd: root,
  input: Object.fromEntries([...doors, 'cli/main'].map((door) => [door, `src/${door}.ts`])),
  platform: 'node',
  // The same code, without the comments and layout that nobody looks for here.
  resolve: {
    alias: { '@huggingface/tokenizers': join(root, 'node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs') },
  },
  tsconfig: false,
  external: (id) => installed.some((name) => id === name || id.startsWith(`${name}/`)),
  plugins: [loadAsyncFunctionsLater, leaveOutJsonSchemas],
  treeshake: { moduleSideEffects: (id) => id === join(root, 'src/cli/main.ts') },
  transform: { target: 'node20' },
  onwarn(warning) {
    throw new Error(warning.message);
  },
});
rmSync(dist, { recursive: true, force: true });
const { output } = await bundle.write({
  dir: dist,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  comments: false,
  codeSplitting: { groups },
  // A tenth of the package: names of parameters and variables inside of functions. Those that stacks show stay, and lines.
  minify: {
    compress: false,
    mangle: { toplevel: false, keepNames: true },
    codegen: { removeWhitespace: false },
  },
});

for (const { fileName, code } of output) {
  if (code) writeFileSync(join(dist, fileName), withoutIndentation(code));
}

// `require` gives the modules that `import` gives: there is one of each.
mkdirSync(dist, { recursive: true });
for (const door of doors) {
  writeFileSync(
    join(dist, `${door}.cjs`),
    `'use strict';
try {
  module.exports = require('./${door}.js');
} catch (error) {
  if (error.code !== 'ERR_REQUIRE_ESM') throw error;
  throw new Error(
    \`require('${manifest.name}') needs Node 20.19, 22.12 or newer; this is \${process.version}. Use await import('${manifest.name}') here.\`,
    { cause: error },
  );
}
`,
  );
}

/** Folders of the packages whose code is in the output, and of uPlot, which is there as a text. */
const folders = new Set(['node_modules/uplot']);
for (const { moduleIds = [] } of output) {
  for (const id of moduleIds) {
    const found = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(id);
    if (found) folders.add(found[0]);
  }
}
const notices = [...folders].map((folder) => {
  const path = resolve(root, folder);
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  const licence = readdirSync(path).find((file) => /^licen[cs]e/i.test(file));
  if (!licence) throw new Error(`${name} has no licence to keep with its code`);
  const text = license === manifest.license ? 'See LICENSE.' : readFileSync(join(path, licence), 'utf8').trim();
  return `${name} ${version} (${license})\n\n${text}\n`;
});
const head = `Parts of this package are code of others, under their own licences:\n\n`;
writeFileSync(join(dist, 'THIRD-PARTY-NOTICES.txt'), head + notices.sort().join(`\n${'-'.repeat(80)}\n\n`));

const bytes = output.reduce((sum, { code = '' }) => sum + code.length, 0);
console.log(
  `${output.length} files of ${(bytes / 1e6).toFixed(2)} MB, with ${notices.map((one) => one.split('\n')[0]).join(', ')}`,
);

/** Indentation is a fortieth of the package. Lines stay, as Node shows the one that threw, and templates keep theirs. */
function withoutIndentation(code) {
  const file = ts.createSourceFile('chunk.js', code, ts.ScriptTarget.ESNext, false, ts.ScriptKind.JS);
  const templates = [];
  const visit = (node) => {
    if (ts.isTemplateLiteral(node)) templates.push([node.getStart(file), node.end]);
    else ts.forEachChild(node, visit);
  };
  visit(file);
  let at = 0;
  let result = '';
  for (const [start, end] of [...templates, [code.length, code.length]]) {
    result += code.slice(at, start).replace(/\n[\t ]+/g, '\n') + code.slice(start, end);
    at = end;
  }
  return result;
}
