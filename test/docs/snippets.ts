/** The code of the documents: blocks of Markdown, and of the examples in docstrings, as modules that can be run. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freeNames, importLines } from '../../scripts/docs/example-imports.mjs';
import { GIVEN_NAMES } from './given-names.js';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Block {
  /** Below the root, with slashes. */
  readonly file: string;
  /** Of its first line of code, from 1. */
  readonly line: number;
  readonly language: string;
  /** Words behind the language: `continued`, `compile`, `given`. */
  readonly words: readonly string[];
  readonly code: string;
}

/** Blocks that make one module: one that begins, and those that continue it. */
export interface Snippet {
  readonly file: string;
  readonly line: number;
  /** Lines are those of the file, so that messages name them. */
  readonly code: string;
  /** Whether it is also run. */
  readonly isRun: boolean;
}

const WORDS = ['continued', 'compile', 'given'];

/** Blocks of a Markdown text. */
export function blocksOf(file: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const [, indent, fence, info] = /^( *)(`{3,})(.*)$/.exec(lines[i]!) ?? [];
    if (fence === undefined) continue;
    const start = i + 1;
    while (++i < lines.length && lines[i]!.trim() !== fence);
    if (i === lines.length) throw new Error(`${file}:${start}: the block does not end`);
    const [language = '', ...words] = info!.trim().split(/[\s,]+/);
    const code = lines.slice(start, i).map((line) => line.slice(Math.min(indent!.length, line.search(/\S|$/))));
    blocks.push({ file, line: start + 1, language, words, code: code.join('\n') });
  }
  return blocks;
}

/** A source file's comments as Markdown, each line in its place; all else is left empty. */
export function docstringsOf(text: string): string {
  let isInside = false;
  const lines = text.split('\n').map((line) => {
    if (/^\s*\/\*\*/.test(line)) isInside = true;
    const shown = isInside ? line.replace(/^\s*(\/\*\*|\*(?!\/)) ?/, '').replace(/\*\/.*$/, '') : '';
    if (line.includes('*/')) isInside = false;
    return shown.replaceAll('*\\/', '*/');
  });
  return lines.join('\n');
}

/** The pages with code: README, documents, and sources with examples. */
export function pages(): string[] {
  const documents = filesBelow(root, 'docs').filter((path) => path.endsWith('.md'));
  const sources = filesBelow(root, 'src').filter((path) => path.endsWith('.ts') && !path.startsWith('src/generated/'));
  return ['README.md', ...documents, ...sources];
}

/** Files at any depth of a folder, by their paths from `dir`, with slashes, in order. */
export function filesBelow(dir: string, folder: string): string[] {
  return readdirSync(join(dir, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'))
    .sort();
}

export function readBlocks(file: string): Block[] {
  const text = readFileSync(join(root, file), 'utf8');
  if (!file.endsWith('.ts')) return blocksOf(file, text);
  return text.includes('```') ? blocksOf(file, docstringsOf(text)) : [];
}

/** The modules of a page. @throws Error for a word behind `ts` that means nothing */
export function snippetsOf(blocks: readonly Block[]): Snippet[] {
  const modules: Block[][] = [];
  for (const block of blocks.filter(({ language }) => language === 'ts')) {
    const unknown = block.words.find((word) => !WORDS.includes(word));
    if (unknown) throw new Error(`${block.file}:${block.line}: "${unknown}": expected ${WORDS.join(', ')}`);
    if (!block.words.includes('continued')) modules.push([block]);
    else if (modules.length > 0) modules.at(-1)!.push(block);
    else throw new Error(`${block.file}:${block.line}: there is nothing before that it continues`);
  }
  return modules.map((parts) => {
    const { file, line } = parts[0]!;
    const lines: string[] = [];
    for (const part of parts) {
      while (lines.length < part.line - 1) lines.push('');
      lines.push(...part.code.split('\n'));
    }
    const has = (word: string): boolean => parts.some(({ words }) => words.includes(word));
    const code = lines.join('\n');
    // A docstring stands in the package: it imports nothing, and says with its text what it takes for granted.
    const isDocstring = file.endsWith('.ts');
    const free = freeNames(code);
    const given: string[] = has('given') || isDocstring ? GIVEN_NAMES.filter((name) => free.has(name)) : [];
    // A model that is given has its adapter where the code trains without making one.
    const trains = free.has('SftTrainer') && !free.has('applyLora') && !given.includes('adapter');
    if (given.includes('model') && trains) given.push('adapter');
    // On the line of the fence, so that the lines of the code keep their numbers.
    const list = given.map((name) => `'${name}'`).join(', ');
    const taken = `import { given as $given } from '#given'; const { ${given.join(', ')} } = await $given(${list});`;
    const imports = isDocstring ? importLines(code).replaceAll('\n', ' ') : '';
    lines[line - 2] = `${imports} ${given.length > 0 ? taken : ''} export {};`;
    return { file, line, code: lines.join('\n'), isRun: !has('compile') };
  });
}
