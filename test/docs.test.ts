import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { CONCEPT_IMAGES } from '../scripts/docs/concept-images.mjs';
import { blocksOf, docstringsOf, snippetsOf } from './docs/snippets.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const docs = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
const textOf = (name: string): string => readFileSync(join(root, 'docs', name), 'utf8');

/** Captures of a pattern in all documents, with the name of the document. */
const found = (pattern: RegExp): [document: string, text: string][] =>
  docs.flatMap((name) => [...textOf(name).matchAll(pattern)].map(([, text]): [string, string] => [name, text!]));

describe('the documents', () => {
  it('name files that exist', () => {
    const paths: [string, string][] = [
      ...found(/`((?:src|test|scripts|examples)\/[a-z0-9_./-]+)`/g),
      ...found(/\[([a-z-]+\/[a-z0-9/-]+)\](?!\()/g).map(([name, path]): [string, string] => [name, `src/${path}.ts`]),
    ];
    expect(paths.length).toBeGreaterThan(40);
    // extending.md names files that its reader is to add.
    const missing = paths.filter(
      ([name, path]) => !existsSync(join(root, name === 'extending.md' ? dirname(path) : path)),
    );
    expect(missing).toEqual([]);
  });

  it('link to each other', () => {
    const links = found(/\]\(([\w./-]+)\)/g);
    expect(links.length).toBeGreaterThan(2);
    expect(links.filter(([, path]) => !existsSync(join(root, 'docs', path)))).toEqual([]);
  });

  it('name scripts of package.json', () => {
    const scripts = found(/`npm run ([\w:]+)/g);
    expect(scripts.length).toBeGreaterThan(5);
    expect(scripts.filter(([, script]) => !Object.hasOwn(manifest.scripts, script))).toEqual([]);
  });

  it('say what each folder of the sources holds', () => {
    const [, table = ''] = /\| folder \| holds \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(textOf('design.md')) ?? [];
    const named = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) => cell!.match(/[a-z]+/g) ?? []);
    const folders = readdirSync(join(root, 'src'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'generated')
      .map((entry) => entry.name);
    expect(named.sort()).toEqual(folders.sort());
  });
});

describe('the images of the concepts', () => {
  it('are those that their program draws', () => {
    expect(CONCEPT_IMAGES.size).toBe(5);
    for (const [path, content] of CONCEPT_IMAGES) expect(readFileSync(path, 'utf8')).toBe(content);
  });
});

describe('code of the documents', () => {
  const page = ['# A page', '```ts', 'const a = 1;', '```', '', '```sh', 'npm run docs', '```', '', '```ts continued'];
  const snippets = (text: string) => snippetsOf(blocksOf('docs/page.md', text));

  it('keeps its lines, and goes on where it says so', () => {
    const [first, ...others] = snippets([...page, 'console.log(a);', '```'].join('\n'));
    expect(others).toEqual([]);
    expect(first).toMatchObject({ line: 3, isRun: true });
    const lines = first!.code.split('\n');
    expect([lines[2], lines[10], lines.length]).toEqual(['const a = 1;', 'console.log(a);', 11]);
  });

  it('gets what the text takes for granted, of what it uses and does not make', () => {
    const code = 'const { model } = other;\nconsole.log(model, collator, report.train);';
    const [given] = snippets(`\`\`\`ts given\n${code}\n\`\`\``);
    expect(given!.code).toContain("const { collator, report } = await $given('collator', 'report');");
    expect(snippets(`\`\`\`ts compile\n${code}\n\`\`\``)).toMatchObject([{ isRun: false }]);
  });

  it('is refused where its words mean nothing', () => {
    expect(() => snippets('```ts complie\n```')).toThrow('docs/page.md:2: "complie"');
    expect(() => snippets('```ts continued\n```')).toThrow('nothing before');
    expect(() => snippets('text\n```ts\n')).toThrow('docs/page.md:2: the block does not end');
  });

  it('is found in docstrings, where it imports nothing', () => {
    const source =
      '/**\n * Text.\n * @example\n * ```ts\n * await fromPretrained(name);\n * ```\n */\nexport const x = 1;';
    const [example] = snippetsOf(blocksOf('src/x.ts', docstringsOf(source)));
    expect(example).toMatchObject({ line: 5 });
    expect(example!.code.split('\n')[3]).toContain("import { fromPretrained } from 'ministral-tune';");
  });
});
