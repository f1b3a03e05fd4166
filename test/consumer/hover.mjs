/**
 * What an editor shows of each option where a user types it: TypeScript's language service is asked for quick info at every
 * option name, in object literals of each options type that a door gives and in the calls of options.ts. Each must show its
 * meaning, its default or that it is required, and the unit of a quantity.
 *
 *   node test/consumer/hover.mjs             # the declarations in dist
 *   node test/consumer/hover.mjs --packed    # those of the tarball, unpacked beside other packages as npm does it
 *   node test/consumer/hover.mjs --list      # every text
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const isPacked = process.argv.includes('--packed');

/** Types of options whose names do not end in one of these words. */
const OPTIONS = /(?:Options|Input|Kwargs|Settings|Parts|DefaultLrSchedule)$|^ModelCard/;
/** Ends alike and holds no options: what an error holds, what a model is made of, data. */
const OTHERS =
  /ErrorOptions$|^(?:DatasetParts|PeakParts|AuditInput|ImageInput|AuditSettings|NoKwargs|LrSchedulerKwargs)$/;
/** Options whose entries have names of the user's. */
const RECORDS = new Set(['rankPattern', 'alphaPattern', 'splits', 'classes']);

/** What a number may count or measure, or what it is where it has no unit. */
const UNIT =
  /\b(?:bytes?|milliseconds|seconds|bits?|pixels?|columns?|characters|degrees|tokens?|samples?|steps?|epochs|batch(?:es)?|lines|card|micro-batches|passes|evaluations|checkpoints|layers?|threads?|attempts|times|values|classes|groups|issues|images|patch(?:es)?|copies|hours?|percent|probabilit(?:y|ies)|share|ratio|fraction|factor|rate|decay|norm|ranks?|effect|scale|scores?|seeds?|ids?|port|levels?|divided|waves|often|exponent|moment|multiplied|noise|unit|width|height|correlation|order|standard deviation|mean)\b/i;

/** What completion must offer where calls.ts has the text of an option, or of an argument of a function. */
const COMPLETIONS = {
  fromPretrained: 'mistralai/Ministral-3-14B-Instruct-2512-BF16',
  targetModules: 'down_proj',
  optim: 'adamw_8bit',
  lrSchedulerType: 'warmup_stable_decay',
  metricForBestModel: 'macroF1',
  layout: 'split/class',
  towers: 'vision',
  overlong: 'truncateText',
};

const folder = isPacked ? unpacked() : root;
try {
  check();
} finally {
  if (isPacked) rmSync(folder, { recursive: true });
}

/** A project that has the tarball in its node_modules, and beside it what the package needs. */
function unpacked() {
  const project = mkdtempSync(join(tmpdir(), 'hover-'));
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  const modules = join(project, 'node_modules');
  mkdirSync(join(modules, 'ministral-tune'), { recursive: true });
  const into = ['--strip-components=1', '-C', join(modules, 'ministral-tune')];
  execFileSync('tar', ['-xzf', join(project, filename), ...into]);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name), 'junction');
  }
  return project;
}

function check() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const doors = Object.keys(manifest.exports).filter((door) => door !== './package.json');
  const calls = ts.sys.readFile(join(here, 'options.ts'));
  const files = new Map([[join(folder, 'doors.ts'), doors.map((door, i) => importOf(door, i)).join('\n')]]);
  const service = ts.createLanguageService({
    getScriptFileNames: () => [...files.keys()],
    getScriptVersion: (path) => String(files.get(path)?.length ?? 0),
    getScriptSnapshot: (path) => {
      const text = files.get(path) ?? ts.sys.readFile(path);
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
    },
    getCurrentDirectory: () => folder,
    getCompilationSettings: () => ({
      strict: true,
      exactOptionalPropertyTypes: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ['node'],
      noEmit: true,
      skipLibCheck: true,
    }),
    getDefaultLibFileName: (options) => ts.getDefaultLibFilePath(options),
    fileExists: (path) => files.has(path) || ts.sys.fileExists(path),
    readFile: (path) => files.get(path) ?? ts.sys.readFile(path),
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    realpath: ts.sys.realpath,
  });

  files.set(join(folder, 'literals.ts'), literalsOf(service.getProgram(), join(folder, 'doors.ts')));
  files.set(join(folder, 'calls.ts'), calls);
  const faults = [];
  const types = new Set();
  let options = 0;
  let called = 0;
  for (const name of ['literals.ts', 'calls.ts']) {
    const path = join(folder, name);
    const wrong = service.getSemanticDiagnostics(path);
    for (const { messageText } of wrong) faults.push(`${name}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
    for (const { property, owner } of propertiesOf(service.getProgram().getSourceFile(path))) {
      const info = service.getQuickInfoAtPosition(path, property.getStart());
      const shown = ts.displayPartsToString(info?.displayParts);
      const documentation = ts.displayPartsToString(info?.documentation);
      if (process.argv.includes('--list')) console.log(`${owner ?? shown}\n    ${documentation.replaceAll('\n', ' ')}`);
      if (owner) {
        types.add(owner);
        options++;
      } else called++;
      const fault = faultOf(property.getText(), shown, documentation);
      if (fault) faults.push(`${owner ? `${owner}.${property.getText()}` : shown}: ${fault}`);
    }
  }
  const completed = new Set();
  for (const { text, place } of textsOf(service.getProgram().getSourceFile(join(folder, 'calls.ts')))) {
    const wanted = COMPLETIONS[place];
    if (!wanted) continue;
    completed.add(place);
    // As it is while it is typed: empty.
    const typed = join(folder, `${place}.ts`);
    files.set(typed, `${calls.slice(0, text.getStart() + 1)}${calls.slice(text.end - 1)}`);
    const offered = service.getCompletionsAtPosition(typed, text.getStart() + 1, {})?.entries ?? [];
    files.delete(typed);
    if (!offered.some(({ name }) => name === wanted)) faults.push(`${place}: completion does not offer ${wanted}`);
  }
  for (const place of Object.keys(COMPLETIONS)) if (!completed.has(place)) faults.push(`${place}: not in calls.ts`);
  if (faults.length > 0)
    throw new Error(`${faults.length} options are not documented where they are typed:\n${faults.join('\n')}`);
  console.log(
    `hover: ${options} options of ${types.size} types, and ${called} in calls, show meaning, default and unit; ` +
      `${completed.size} places complete names` +
      `${isPacked ? ' from the tarball' : ''}`,
  );
}

function importOf(door, i) {
  return `import * as door${i} from 'ministral-tune${door.slice(1)}'; export { door${i} };`;
}

/** A literal of each options type, with all its options. */
function literalsOf(program, path) {
  const checker = program.getTypeChecker();
  const lines = ['declare const value: never;'];
  const imports = program.getSourceFile(path).statements.filter(ts.isImportDeclaration);
  for (const [i, { moduleSpecifier }] of imports.entries()) {
    lines.push(`import type * as door${i} from ${moduleSpecifier.getText()};`);
    for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(moduleSpecifier))) {
      if (!OPTIONS.test(symbol.name) || OTHERS.test(symbol.name)) continue;
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const type = checker.getDeclaredTypeOfSymbol(target);
      const parameters = (target.declarations?.[0].typeParameters ?? []).map(() => 'any').join(', ');
      const names = checker.getPropertiesOfType(type).map((property) => {
        // A union shows the option of the member that the literal is: by its name, as `lrSchedulerType`.
        const values = type.isUnion() ? checker.getTypeOfSymbol(property) : undefined;
        const [name] = values?.isUnion() ? values.types.filter((one) => one.isStringLiteral()) : [];
        return `  ${property.name}: ${name ? JSON.stringify(name.value) : 'value'},`;
      });
      const written = `door${i}.${symbol.name}${parameters && `<${parameters}>`}`;
      if (names.length > 0) lines.push(`export const ${symbol.name}: ${written} = {\n${names.join('\n')}\n};`);
    }
  }
  return lines.join('\n');
}

/** Names of options in object literals; `owner` where the literal stands for a whole type. */
function* propertiesOf(file) {
  const found = [];
  const visit = (node, owner) => {
    if (ts.isVariableDeclaration(node) && node.type) owner = node.name.getText();
    if (ts.isPropertyAssignment(node) && RECORDS.has(node.name.getText())) return;
    if (ts.isObjectLiteralExpression(node)) {
      for (const { name } of node.properties) if (name) found.push({ property: name, owner });
    }
    ts.forEachChild(node, (child) => visit(child, owner));
  };
  visit(file, undefined);
  yield* found;
}

/** Texts with the option that they are given for, or the function. */
function* textsOf(node, place) {
  if (ts.isPropertyAssignment(node)) place = node.name.getText();
  if (ts.isCallExpression(node)) place = node.expression.getText();
  if (ts.isStringLiteral(node) && place) yield { text: node, place };
  for (const child of node.getChildren()) yield* textsOf(child, place);
}

function faultOf(name, shown, documentation) {
  if (documentation.trim().length < 15) return 'no text';
  const hasDefault = /\bDefault:\s+\S/.test(documentation);
  const isRequired = /\bRequired\b/.test(documentation);
  if (hasDefault === isRequired) return hasDefault ? 'has a default and is required' : 'no default';
  if (/\?: /.test(shown.split('\n')[0]) && isRequired) return 'is not required';
  const isNumber = /: .*\bnumber\b/.test(shown) && !/=>/.test(shown);
  if (isNumber && !UNIT.test(documentation) && !UNIT.test(name)) return `no unit: ${documentation}`;
  return undefined;
}
