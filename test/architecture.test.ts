import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');

interface SourceFile {
  /** Path below src/. */
  readonly path: string;
  readonly text: string;
  /** Imported files below src/, and packages. */
  readonly imports: readonly string[];
}

const files: SourceFile[] = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.startsWith('generated/') && !path.includes('/wasm/'))
  .map((path) => {
    const text = readFileSync(join(source, path), 'utf8');
    // Of values and of types, and those that load while the program runs; templates of types count too.
    const found = [
      /^(?:import|export)\b[^;]*?from '([^']+)'/gm,
      /^import '([^']+)'/gm,
      /^(?!\s*(?:\/?\*|\/\/)).*?\bimport\('([^']+)'\)/gm,
    ];
    const imports = found
      .flatMap((pattern) => [...text.matchAll(pattern)].map(([, name]) => name!))
      .map((name) => {
        if (!name.startsWith('.')) return name;
        return relative(source, resolve(dirname(join(source, path)), name)).replace(/\.js$/, '.ts');
      });
    return { path, text, imports };
  });

/** What each folder may import besides itself, types included. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  messages: [],
  async: [],
  files: ['messages', 'async'],
  ownership: ['files', 'messages'],
  formats: ['files', 'messages'],
  transfer: ['files', 'messages', 'ownership'],
  archive: ['files'],
  hub: ['archive', 'files', 'messages', 'transfer'],
  kaggle: ['archive', 'files', 'messages', 'transfer'],
  // Where a name becomes a folder of images, it meets what downloads.
  data: ['archive', 'async', 'files', 'hub', 'kaggle', 'messages', 'transfer'],
  chart: ['data', 'files', 'messages'],
  page: ['data'],
  audit: ['async', 'data', 'files', 'messages', 'page'],
  // What asks the model itself.
  eval: ['async', 'chart', 'data', 'distributed', 'files', 'messages', 'model'],
  // How processes that train together find and hear each other; it knows no engine.
  distributed: ['async', 'files', 'messages', 'ownership'],
  engine: ['async', 'distributed', 'files', 'formats', 'messages'],
  batch: ['data', 'messages'],
  model: ['async', 'batch', 'data', 'engine', 'files', 'formats', 'messages'],
  lora: ['async', 'data', 'engine', 'files', 'formats', 'hub', 'messages', 'model', 'ownership'],
  train: ['async', 'batch', 'data', 'distributed', 'engine', 'files', 'formats', 'messages', 'model', 'ownership'],
  // From sizes alone to memory and time: what trains, without a card.
  plan: ['async', 'batch', 'data', 'engine', 'files', 'formats', 'hub', 'kaggle', 'lora', 'messages', 'model', 'train'],
  // Files alone: nothing here trains.
  demo: ['data', 'files', 'formats', 'messages', 'train'],
  monitor: ['async', 'data', 'files', 'messages', 'page', 'train'],
  report: ['async', 'audit', 'data', 'eval', 'files', 'messages', 'page', 'train'],
  publish: ['files', 'formats', 'hub', 'lora', 'messages', 'model'],
  // Where a name becomes a model with its processor and adapter, the two meet.
  pretrained: ['data', 'engine', 'files', 'formats', 'hub', 'lora', 'messages', 'model'],
  // All of it, put together for a terminal.
  cli: [
    'data',
    'demo',
    'distributed',
    'engine',
    'eval',
    'files',
    'hub',
    'kaggle',
    'lora',
    'messages',
    'model',
    'monitor',
    'plan',
    'pretrained',
    'publish',
    'report',
    'train',
  ],
};
/** Open to all that stand below them: the errors that every folder throws, options, and random numbers. */
const OPEN = ['errors.ts', 'config.ts', 'require-given.ts', 'random.ts'];

/** A declaration that other files can import. */
const EXPORT =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:const enum|const|let|function\*?|class|interface|type|enum) (\w+)/gm;

const readSources = (folder: string): { path: string; text: string }[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.includes('/wasm/'))
    .map((path) => join(folder, path))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));

const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '');

describe('the structure of the sources', () => {
  it('keeps the directions in which folders may import', () => {
    const wrong = files.flatMap(({ path, imports }) => {
      const folder = folderOf(path);
      if (folder === '') return [];
      return imports
        .filter((name) => name.endsWith('.ts') && ![folder, 'generated'].includes(folderOf(name)))
        .filter((name) => !ALLOWED[folder]!.includes(folderOf(name)) && !OPEN.includes(name))
        .map((name) => `${path} imports ${name}`);
    });
    expect(wrong).toEqual([]);
  });

  it('has no circle among files, nor among folders, types included', () => {
    expect(circles(new Map(files.map(({ path, imports }) => [path, imports])))).toEqual([]);
    const folders = new Map<string, string[]>();
    for (const { path, imports } of files) {
      const folder = folderOf(path);
      if (folder === '') continue;
      const others = imports.filter((name) => name.endsWith('.ts')).map(folderOf);
      folders.set(folder, [...(folders.get(folder) ?? []), ...others.filter((other) => other !== folder)]);
    }
    expect(circles(folders)).toEqual([]);
  });

  it('would find a circle', () => {
    const edges = (text: string) => new Map(text.split(' ').map((edge) => [edge[0]!, edge.slice(1).split('')]));
    expect(circles(edges('abc bd cd d'))).toEqual([]);
    expect(circles(edges('ab bc cb'))).toEqual(['b → c → b']);
    expect(circles(edges('aa'))).toEqual(['a → a']);
  });

  it('lets one folder alone import TensorFlow.js, one the Hub’s client, and one file the zip package', () => {
    const users = (pattern: RegExp): string[] =>
      files.filter(({ imports }) => imports.some((name) => pattern.test(name))).map(({ path }) => path);
    expect(users(/^@tensorflow\//).filter((path) => !path.startsWith('engine/tfjs/'))).toEqual([]);
    expect(users(/^@huggingface\/hub$/).filter((path) => !path.startsWith('hub/'))).toEqual([]);
    expect(users(/^yauzl$/)).toEqual(['archive/zip-directory.ts']);
  });

  it('loads the package that decodes images with the first image', () => {
    const users = files.filter(({ imports }) => imports.includes('sharp'));
    expect(users.map(({ path }) => path)).toContain('data/load-sharp.ts');
    const eager = users.filter(({ text }) => /^import (?!type\b)[^;]*? from 'sharp'/m.test(text));
    expect(eager.map(({ path }) => path)).toEqual([]);
  });

  it('makes folders in one place: recursive mkdir of Node never ends in /proc', () => {
    const users = files.filter(({ text }) => /mkdir(?:Sync)?\([^)]*recursive/.test(text)).map(({ path }) => path);
    expect(users).toEqual([]);
  });

  it('lets no engine name an option of a run', () => {
    const options =
      /gradientCheckpointing|autoMicroBatch|perDevice|gradientAccumulation|maxLength|longestEdge|SftTrainer/;
    const engines = files.filter(({ path }) => path.startsWith('engine/'));
    expect(engines.flatMap(({ path, text }) => (options.test(text) ? [path] : []))).toEqual([]);
  });

  it('decides nothing by the message of an error', () => {
    const parsed =
      /\.message\.(split|startsWith|endsWith|includes|match|replace|slice)\(|\.(test|exec)\([^)]*\.message\)/;
    // V8's overflow of the stack has nothing else that tells.
    const found = files.filter(({ path, text }) => parsed.test(text) && path !== 'data/bounded-jinja.ts');
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  it('exports nothing that nobody else imports', () => {
    const importers = ['test', 'examples'].flatMap((folder) => readSources(join(root, folder)));
    const used = new Set<string>();
    for (const { path, text } of [...readSources(source), ...importers]) {
      for (const [, names, from] of text.matchAll(
        /\b(?:import|export)\s+(?:type\s+)?(?:\w+,\s*)?\{([^}]*)\}\s*from '(\.[^']+)'/g,
      )) {
        for (const name of names!.split(',')) {
          used.add(
            `${resolve(dirname(path), from!)} ${
              name
                .trim()
                .replace(/^type /, '')
                .split(' ')[0]
            }`,
          );
        }
      }
      for (const [, from] of text.matchAll(/(?:import\(|\* as \w+ from )'(\.[^']+)'/g))
        used.add(resolve(dirname(path), from!));
    }
    const unused = files.flatMap(({ path, text }) => {
      const module = join(source, path.replace(/\.ts$/, '.js'));
      if (used.has(module) || path.endsWith('-worker.ts')) return [];
      return [...text.matchAll(EXPORT)]
        .filter(([, name]) => !used.has(`${module} ${name}`))
        .map(([, name]) => `${path}: ${name}`);
    });
    expect(unused).toEqual([]);
  });

  it('has no hooks in modules that several test files import: a process loads these once for all files', () => {
    const loose = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
      .filter((path) => /^(before|after)(All|Each)\(/m.test(readFileSync(join(root, 'test', path), 'utf8')));
    expect(loose).toEqual([]);
  });

  it('keeps files short, named in kebab-case, and none called utils', () => {
    expect(files.length).toBeGreaterThan(40);
    for (const { path, text } of files) {
      expect([path, text.split('\n').length <= 500]).toEqual([path, true]);
      expect(path).toMatch(/^([a-z0-9-]+\/)*[a-z0-9-]+(\.d)?\.ts$/);
      expect(path).not.toMatch(/utils?\.ts$/);
    }
  });
});

/** Each way from a node back to itself; names without an entry lead nowhere. */
function circles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const found = new Set<string>();
  const visit = (node: string, trail: readonly string[]): void => {
    if (trail.includes(node)) found.add([...trail.slice(trail.indexOf(node)), node].join(' → '));
    else if (!done.has(node)) {
      for (const next of edges.get(node) ?? []) visit(next, [...trail, node]);
      done.add(node);
    }
  };
  for (const node of edges.keys()) visit(node, []);
  return [...found];
}
