/**
 * Compiles the code of the documents and runs it on a tiny model, without a network:
 *
 *     npm run snippets                                  all of README.md, docs/, and the examples in docstrings
 *     npm run snippets -- docs/guides/first-run.md      one page, or several; `--output` shows what its code prints
 *
 * A ```ts block is a module of its own. `ts continued` goes on in the module of the block before it; `ts compile` is not
 * run, as it needs a card or a service; `ts given` may use what given-names.ts lists. ```sh blocks: scripts and options
 * of `npm run` and `npx ministral-tune` exist. What fails is named by file and line.
 */
import { fork } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { transform } from 'esbuild';
import { compileSnippets } from './compile-snippets.js';
import { checkShellLines } from './shell-lines.js';
import { makeSnippetWorld, type SnippetWorld } from './snippet-world.js';
import { pages, readBlocks, root, type Snippet, snippetsOf } from './snippets.js';

/** Longer than any page takes; one that hangs is ended. Seconds. */
const LIMIT = 120;

const args = process.argv.slice(2);
const showsOutput = args.includes('--output');
const asked = args.filter((arg) => !arg.startsWith('--')).map((path) => relative(root, path).replaceAll('\\', '/'));
const all = pages();
const unknown = asked.find((page) => !all.includes(page));
if (unknown) throw new Error(`${unknown}: no page with code; they are README.md, docs/**/*.md and src/**/*.ts`);

const blocks = (asked.length > 0 ? asked : all).map(readBlocks);
const failures = blocks.flatMap((own) => checkShellLines(own));
const snippets = blocks.flatMap((own) => snippetsOf(own));
const complaints = compileSnippets(snippets);
failures.push(...[...complaints.values()].flat());

/** Pages of their own, and the examples of docstrings in one. */
const groups = new Map<string, Snippet[]>();
for (const snippet of snippets.filter((one) => one.isRun && !complaints.has(one))) {
  const page = snippet.file.endsWith('.ts') ? 'src' : snippet.file;
  groups.set(page, [...(groups.get(page) ?? []), snippet]);
}
let passed = snippets.filter((one) => !one.isRun && !complaints.has(one)).length;
if (groups.size > 0) {
  const world = await makeSnippetWorld();
  try {
    const waiting = [...groups];
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await runPage(world, ...next);
    };
    await Promise.all([work(), work()]);
  } finally {
    await world.close();
  }
}
for (const failure of failures) console.error(`\n${failure}`);
console.log(`snippets: ${passed} passed, ${snippets.length - passed} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;

async function runPage(world: SnippetWorld, page: string, modules: readonly Snippet[]): Promise<void> {
  const folder = await world.workingFolder(page);
  const code = join(world.dir, 'code', page.replace(/\W+/g, '-'));
  await mkdir(code, { recursive: true });
  const byPath = new Map<string, Snippet>();
  for (const [i, snippet] of modules.entries()) {
    const path = join(code, `${i}.mjs`);
    const source = snippet.code.replace("'#given'", "'../../given.mjs'");
    const { code: js } = await transform(source, {
      ...{ loader: 'ts', format: 'esm', target: 'node20' },
      ...{ sourcefile: join(root, snippet.file), sourcemap: 'inline' },
    });
    await writeFile(path, js);
    byPath.set(path, snippet);
  }
  const given = join(world.dir, 'given.mjs');
  const child = fork(join(root, 'test/docs/run-page.mjs'), [JSON.stringify({ modules: [...byPath.keys()], given })], {
    ...{ cwd: folder, env: world.env, execArgv: ['--enable-source-maps'], silent: true },
  });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (piece: Buffer) => (output += piece));
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT * 1000);
  const fault = (snippet: Snippet, what: string): void => {
    failures.push(`${snippet.file}:${snippet.line}: ${what}\n--- it printed ---\n${output.slice(-3000)}`);
  };
  child.on('message', ({ path, seconds, failure }: { path: string; seconds: number; failure?: string }) => {
    const snippet = byPath.get(path)!;
    byPath.delete(path);
    if (showsOutput) console.log(`--- ${snippet.file}:${snippet.line} (${seconds.toFixed(1)} s)\n${output}`);
    if (failure === undefined) passed++;
    else fault(snippet, failure);
    output = '';
  });
  const code_ = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  const [unfinished] = byPath.values();
  if (unfinished) fault(unfinished, `the process ended (status ${code_}) before the code had`);
}
