import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };

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
