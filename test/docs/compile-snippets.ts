/** Types of the documents' code, as a project of a user checks them, against the sources. */
import { join } from 'node:path';
import ts from 'typescript';
import { root, type Snippet } from './snippets.js';

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  resolveJsonModule: true,
  types: ['node'],
  noEmit: true,
  paths: {
    'ministral-tune': [join(root, 'src/index.ts')],
    'ministral-tune/*': [join(root, 'src/*.ts')],
    '#given': [join(root, 'test/docs/given.ts')],
  },
};

/** Complaints of the compiler by snippet, each with its file and line. */
export function compileSnippets(snippets: readonly Snippet[]): Map<Snippet, string[]> {
  const byPath = new Map(snippets.map((snippet) => [join(root, `${snippet.file}.${snippet.line}.ts`), snippet]));
  const host = ts.createCompilerHost(OPTIONS);
  const { readFile, fileExists } = host;
  host.readFile = (path) => byPath.get(path)?.code ?? readFile.call(host, path);
  host.fileExists = (path) => byPath.has(path) || fileExists.call(host, path);
  host.getSourceFile = (path, version) => {
    const text = host.readFile(path);
    return text === undefined ? undefined : ts.createSourceFile(path, text, version);
  };
  const others = [join(root, 'test/monitor/trackers/wandb-sdk.d.ts')];
  const program = ts.createProgram([...byPath.keys(), ...others], OPTIONS, host);
  const complaints = new Map<Snippet, string[]>();
  for (const [path, snippet] of byPath) {
    const source = program.getSourceFile(path)!;
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    if (found.length === 0) continue;
    const lines = found.map(({ start, messageText }) => {
      const line = source.getLineAndCharacterOfPosition(start ?? 0).line + 1;
      return `${snippet.file}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    complaints.set(snippet, lines);
  }
  return complaints;
}
