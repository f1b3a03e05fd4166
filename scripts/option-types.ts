/**
 * The options types that the doors give, read from their interfaces in src: what docs/options.md shows, and what tests
 * compare with the schemas. Text is read as it is written; nothing is compiled.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src');

/** Names of options types; those of {@link OTHERS} end alike. */
const OPTIONS = /(?:Options|Input|Kwargs|Settings|Parts)$|^ModelCard|^KaggleLogin$/;
const OTHERS =
  /ErrorOptions$|^(?:DatasetParts|PeakParts|AuditInput|ImageInput|AuditSettings|NoKwargs|LrSchedulerKwargs|LrScheduleOptions)$/;

export interface Option {
  readonly name: string;
  /** As it is written, without `undefined` if the option may be left out. */
  readonly type: string;
  readonly isRequired: boolean;
  /** Whether the comment says so. */
  readonly saysRequired: boolean;
  /** What it means, without the default. */
  readonly meaning: string;
  /** What the comment says behind `Default:`, without the full stop. */
  readonly default: string | undefined;
  /** Why not to use it. */
  readonly deprecated: string | undefined;
  /** Place of the interface that has it. */
  readonly file: string;
}

export interface OptionsType {
  readonly name: string;
  /** What to import it from, as `ministral-tune/types`. */
  readonly door: string;
  readonly summary: string;
  /** Path below the repository. */
  readonly file: string;
  /** Its own, and those of bases that no door gives. */
  readonly options: readonly Option[];
  /** Names of the options types whose options it has as well, with what is left out or chosen of them. */
  readonly bases: readonly { readonly name: string; readonly without: readonly string[]; readonly only?: string[] }[];
}

const files = new Map<string, ts.SourceFile>();

function parsed(path: string): ts.SourceFile {
  let file = files.get(path);
  if (!file) {
    file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
    files.set(path, file);
  }
  return file;
}

/** Every options type of the doors, in the order of their exports. */
export function optionTypes(): OptionsType[] {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: Record<string, object> };
  const doors = Object.keys(manifest.exports).filter((door) => !door.endsWith('.json'));
  const found = doors.flatMap((door) =>
    exportsOf(door).map((one) => ({ ...one, door: `ministral-tune${door.slice(1)}` })),
  );
  const given = new Map(found.map((one) => [`${one.path}#${one.local}`, one.name]));
  return found
    .filter(({ name }) => OPTIONS.test(name) && !OTHERS.test(name))
    .flatMap(({ name, local, path, door }) => {
      const declaration = find(path, local);
      if (!declaration) return [];
      const file = relative(root, declaration.file.fileName);
      const { options, bases } = contentOf(declaration, given);
      return [{ name, door, summary: commentOf(declaration.node).text, file, options, bases }];
    })
    .filter(({ options, bases }) => options.length + bases.length > 0);
}

interface Export {
  readonly name: string;
  readonly local: string;
  readonly path: string;
}

function exportsOf(door: string): Export[] {
  const path = join(source, `${door === '.' ? 'index' : door.slice(2)}.ts`);
  return parsed(path).statements.flatMap((statement) => {
    if (!ts.isExportDeclaration(statement) || !statement.exportClause || !statement.moduleSpecifier) return [];
    if (!ts.isNamedExports(statement.exportClause)) return [];
    const target = pathOf(path, statement.moduleSpecifier);
    return statement.exportClause.elements.map(({ name, propertyName }) => ({
      name: name.text,
      local: (propertyName ?? name).text,
      path: target,
    }));
  });
}

const pathOf = (from: string, specifier: ts.Expression): string =>
  resolve(dirname(from), (specifier as ts.StringLiteral).text.replace(/\.js$/, '.ts'));

interface Declaration {
  readonly node: ts.InterfaceDeclaration | ts.TypeAliasDeclaration;
  readonly file: ts.SourceFile;
}

/** A type by its name in a file: declared there, or imported or passed on from another. */
function find(path: string, name: string): Declaration | undefined {
  const file = parsed(path);
  for (const statement of file.statements) {
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
    if (isType && statement.name.text === name) return { node: statement, file };
    const isImport = ts.isImportDeclaration(statement);
    if (!isImport && !ts.isExportDeclaration(statement)) continue;
    const names = isImport ? statement.importClause?.namedBindings : statement.exportClause;
    if (!names || !statement.moduleSpecifier || !(ts.isNamedImports(names) || ts.isNamedExports(names))) continue;
    const element = names.elements.find((one) => one.name.text === name);
    if (!element || !(statement.moduleSpecifier as ts.StringLiteral).text.startsWith('.')) continue;
    return find(pathOf(path, statement.moduleSpecifier), (element.propertyName ?? element.name).text);
  }
  return undefined;
}

interface Content {
  readonly options: readonly Option[];
  readonly bases: OptionsType['bases'];
}

function contentOf({ node, file }: Declaration, given: ReadonlyMap<string, string>): Content {
  const own = ts.isInterfaceDeclaration(node) ? node.members.flatMap((member) => optionOf(member, file)) : [];
  const types: readonly ts.TypeNode[] = ts.isInterfaceDeclaration(node)
    ? (node.heritageClauses ?? []).flatMap(({ types }) => [...types])
    : [node.type];
  const others = types.map((type) => contentOfType(type, file, given));
  // What an interface says anew is its own.
  const names = new Set(own.map(({ name }) => name));
  const inherited = others.flatMap(({ options }) => options).filter(({ name }) => !names.has(name));
  return { options: [...own, ...inherited], bases: others.flatMap(({ bases }) => bases) };
}

function contentOfType(type: ts.TypeNode, file: ts.SourceFile, given: ReadonlyMap<string, string>): Content {
  if (ts.isIntersectionTypeNode(type)) {
    const parts = type.types.map((part) => contentOfType(part, file, given));
    return { options: parts.flatMap(({ options }) => options), bases: parts.flatMap(({ bases }) => bases) };
  }
  // Of a choice the last is described: a schedule without a name, or the most parts.
  if (ts.isUnionTypeNode(type)) {
    const parts = type.types.map((part) => contentOfType(part, file, given));
    const seen = new Map(parts.flatMap(({ options }) => options).map((option) => [option.name, option]));
    return { options: [...seen.values()], bases: [] };
  }
  if (ts.isTypeLiteralNode(type))
    return { options: type.members.flatMap((member) => optionOf(member, file)), bases: [] };
  const [name, parameters] = ts.isTypeReferenceNode(type)
    ? [type.typeName.getText(), type.typeArguments ?? []]
    : ts.isExpressionWithTypeArguments(type)
      ? [type.expression.getText(), type.typeArguments ?? []]
      : [undefined, []];
  if (name === undefined) return { options: [], bases: [] };
  const [inner, keys] = parameters;
  if (inner && ['Omit', 'Pick', 'Partial'].includes(name)) {
    const content = contentOfType(inner, file, given);
    const chosen = keys ? [...keys.getText().matchAll(/'(\w+)'/g)].map(([, key]) => key!) : [];
    if (name === 'Partial') {
      return { ...content, options: content.options.map((option) => ({ ...option, isRequired: false })) };
    }
    const isKept = (option: string): boolean => chosen.includes(option) === (name === 'Pick');
    return {
      options: content.options.filter((option) => isKept(option.name)),
      bases: content.bases.map((base) =>
        name === 'Pick' ? { ...base, only: chosen } : { ...base, without: [...base.without, ...chosen] },
      ),
    };
  }
  const declaration = find(file.fileName, name);
  if (!declaration) return { options: [], bases: [] };
  const listed = given.get(`${declaration.file.fileName}#${declaration.node.name.text}`);
  if (listed && OPTIONS.test(listed) && !OTHERS.test(listed))
    return { options: [], bases: [{ name: listed, without: [] }] };
  return contentOf(declaration, given);
}

function optionOf(member: ts.TypeElement, file: ts.SourceFile): Option[] {
  if (!member.name || !(ts.isPropertySignature(member) || ts.isMethodSignature(member))) return [];
  const { text, deprecated } = commentOf(member);
  const [, meaning, given] = /^(.*?)(?:\s*Default: (.*))?$/s.exec(text) ?? [];
  const isRequired = !member.questionToken;
  const written = ts.isPropertySignature(member) ? writtenType(member.type, file) : 'function';
  const type = written
    .replace(/\s+/g, ' ')
    .replace(/ \| undefined$/, '')
    .replace(/^\| /, '');
  return [
    {
      name: member.name.getText(),
      type: type.replace(/^\((.*)\)$/, '$1'),
      isRequired,
      saysRequired: /\bRequired\.$/.test(text),
      meaning: meaning!.replace(/\s*Required\.$/, ''),
      default: given?.replace(/\.$/, ''),
      deprecated,
      file: relative(root, file.fileName),
    },
  ];
}

/** A name for a choice of words is written out. */
function writtenType(type: ts.TypeNode | undefined, file: ts.SourceFile): string {
  if (!type) return 'unknown';
  if (ts.isUnionTypeNode(type)) return type.types.map((part) => writtenType(part, file)).join(' | ');
  if (ts.isTypeReferenceNode(type) && ts.isIdentifier(type.typeName) && !type.typeArguments) {
    const found = find(file.fileName, type.typeName.text);
    const text = found && ts.isTypeAliasDeclaration(found.node) ? found.node.type.getText() : '';
    if (/^[\s|()]*'/.test(text))
      return text
        .replace(/\((?!string)|(?<!\{\})\)/g, '')
        .replace(/^\s*\|/, '')
        .trim();
  }
  return type.getText();
}

function commentOf(node: ts.Node): { text: string; deprecated: string | undefined } {
  const comment = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1);
  const plain = (text: string): string => text.replace(/\s+/g, ' ').trim();
  const tag = comment?.tags?.find(({ tagName }) => tagName.text === 'deprecated');
  return {
    text: plain(ts.getTextOfJSDocComment(comment?.comment) ?? ''),
    deprecated: tag && plain(ts.getTextOfJSDocComment(tag.comment) ?? ''),
  };
}

/** Defaults that the schemas of a file below src fill in, as they are written: by the interface's name, then the option's. */
export function schemaDefaults(path: string): Map<string, Map<string, ts.Expression>> {
  const file = parsed(join(source, path));
  const schemas = new Map<string, ts.Expression>();
  const ties = new Map<string, string>();
  for (const statement of file.statements) {
    if (ts.isVariableStatement(statement)) {
      for (const { name, initializer } of statement.declarationList.declarations) {
        if (initializer) schemas.set(name.getText(), initializer);
      }
    } else if (ts.isTypeAliasDeclaration(statement) && /^_(?!Output)/.test(statement.name.text)) {
      // The last name is that of the interface; what is left out of it is in quotes.
      const text = statement.type.getText().replace(/'\w+'/g, '');
      const [, schema] = /typeof (\w+)/.exec(text) ?? [];
      const iface = text.match(/\w+/g)?.at(-1);
      if (schema && iface) ties.set(iface, schema);
    }
  }
  return new Map([...ties].map(([iface, schema]) => [iface, defaultsIn(schemas.get(schema)!, schemas)]));
}

function defaultsIn(schema: ts.Node, schemas: ReadonlyMap<string, ts.Expression>): Map<string, ts.Expression> {
  const found = new Map<string, ts.Expression>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const other = schemas.get(node.text);
      if (other) for (const [name, value] of defaultsIn(other, schemas)) found.set(name, value);
    } else if (ts.isObjectLiteralExpression(node)) {
      for (const property of node.properties) {
        if (ts.isSpreadAssignment(property)) visit(property.expression);
        else if (ts.isPropertyAssignment(property)) {
          const value = defaultOf(property.initializer);
          if (value) found.set(property.name.getText(), value);
        }
      }
    } else if (ts.isCallExpression(node)) {
      visit(node.expression);
      const called = node.expression.getText();
      if (/\.(strictObject|looseObject|object|extend)$|^lazySchema$/.test(called)) node.arguments.forEach(visit);
    } else if (ts.isArrowFunction(node)) visit(node.body);
    else if (ts.isPropertyAccessExpression(node) || ts.isSatisfiesExpression(node)) visit(node.expression);
  };
  visit(schema);
  return found;
}

/** What stands in the `.default(…)` of a chain of calls. */
function defaultOf(node: ts.Expression): ts.Expression | undefined {
  let call: ts.Expression = node;
  while (ts.isCallExpression(call)) {
    const { expression } = call;
    if (!ts.isPropertyAccessExpression(expression)) return undefined;
    if (expression.name.text === 'default') return call.arguments[0];
    call = expression.expression;
  }
  return undefined;
}
