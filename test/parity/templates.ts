/**
 * Renders all chat templates of a folder with a grid of conversations, in Python with jinja2 and here, and counts how
 * they compare. A template may be refused by name, but never gives another text. Exits with 1 if one does.
 *
 *   npm run parity:templates -- FOLDER [FOLDER…]
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BoundedTemplate } from '../../src/data/bounded-jinja.js';
import { JinjaError } from '../../src/data/jinja/error.js';
import { TextError } from '../../src/errors.js';
import { conversationGrid } from './conversation-grid.js';

type Verdict = 'equal' | 'both raise' | 'refused by name' | 'different';
type Reference = { text: string; generation: [number, number][] } | { error: string };

const here = fileURLToPath(new URL('.', import.meta.url));

/** The files of a folder, at any depth. */
function templatesIn(folder: string): [string, string][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:jinja2?|j2)$/.test(name))
    .sort()
    .map((name) => [join(folder, name), readFileSync(join(folder, name), 'utf8')]);
}

function renderInPython(templates: readonly string[], inputs: readonly unknown[]): Reference[][] {
  const { status, stdout, stderr, error } = spawnSync('python3', [join(here, 'templates.py')], {
    input: JSON.stringify({ templates, inputs }),
    maxBuffer: 2 ** 30,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`python3 with jinja2 is needed: ${error?.message ?? stderr}`);
  return JSON.parse(stdout) as Reference[][];
}

/** Compares one rendering; gives what to show if it differs, or the name of what was refused. */
function judge(source: string, input: Record<string, unknown>, reference: Reference): [Verdict, string] {
  try {
    const { text, generation } = new BoundedTemplate(source).renderTracked(input);
    if ('error' in reference) return ['different', `Python raises ${reference.error}`];
    if (text !== reference.text) return ['different', `${JSON.stringify(text)}, not ${JSON.stringify(reference.text)}`];
    const isSame = JSON.stringify(generation) === JSON.stringify(reference.generation);
    return isSame ? ['equal', ''] : ['different', `ranges ${JSON.stringify(generation)}`];
  } catch (error) {
    const message = (error as Error).message.split('\n')[0]!;
    if (error instanceof TextError) return ['refused by name', message];
    if (error instanceof JinjaError && 'error' in reference) return ['both raise', message];
    return ['different', `raises: ${message}`];
  }
}

function main(folders: readonly string[]): number {
  if (folders.length === 0) {
    console.error('usage: npm run parity:templates -- FOLDER [FOLDER…]');
    return 2;
  }
  const templates = folders.flatMap(templatesIn);
  const inputs = conversationGrid();
  const references = renderInPython(
    templates.map(([, source]) => source),
    inputs,
  );
  const counts = new Map<Verdict, number>();
  const refused = new Map<string, number>();
  templates.forEach(([name, source], i) => {
    inputs.forEach((input, j) => {
      const [verdict, why] = judge(source, input, references[i]![j]!);
      counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
      if (verdict === 'refused by name') refused.set(why, (refused.get(why) ?? 0) + 1);
      if (verdict === 'different') console.log(`${name}, conversation ${j}: ${why.slice(0, 2000)}`);
    });
  });
  for (const [why, count] of refused) console.log(`${count} × ${why}`);
  const columns: Verdict[] = ['equal', 'both raise', 'refused by name', 'different'];
  const list = columns.map((verdict) => `${counts.get(verdict) ?? 0} ${verdict}`).join(', ');
  console.log(`${templates.length} templates × ${inputs.length} conversations: ${list}`);
  return counts.get('different') ? 1 : 0;
}

process.exitCode = main(process.argv.slice(2));
