/**
 * Puts the comments of options into the declarations in dist: an editor shows them where a user types an option. Options
 * are declared in zod schemas, and the compiler writes a schema's type without its comments.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'src');
const dist = join(root, 'dist');

/** Comments by property, of every top-level constant that holds an object literal, by the constant's name. */
const documented = new Map();

for (const name of readdirSync(source, { recursive: true })) {
  if (!name.endsWith('.ts')) continue;
  const path = join(source, name);
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  for (const { name, initializer } of file.statements.filter(ts.isVariableStatement).flatMap(constantsOf)) {
    if (initializer) documented.set(name.getText(), commentsIn(initializer));
  }
}

function constantsOf(statement) {
  return statement.declarationList.declarations;
}

/** The comments of a schema's own properties; those of a schema that it extends or spreads come by its name. */
function commentsIn(node, comments = { own: new Map(), bases: [] }) {
  if (ts.isIdentifier(node)) comments.bases.push(node.text);
  else if (ts.isObjectLiteralExpression(node)) {
    for (const property of node.properties) {
      if (ts.isSpreadAssignment(property)) commentsIn(property.expression, comments);
      else if (property.jsDoc?.length) comments.own.set(property.name.getText(), property.jsDoc.at(-1).getText());
    }
  } else if (ts.isCallExpression(node)) {
    commentsIn(node.expression, comments);
    if (/\.(strictObject|looseObject|object|extend|safeExtend)$/.test(node.expression.getText())) {
      for (const argument of node.arguments) commentsIn(argument, comments);
    }
  } else if (ts.isPropertyAccessExpression(node) || ts.isSatisfiesExpression(node)) {
    commentsIn(node.expression, comments);
  }
  return comments;
}

function commentOf(schema, property, depth = 0) {
  const found = documented.get(schema);
  if (!found || depth > 8) return undefined;
  if (found.own.has(property)) return found.own.get(property);
  for (const base of found.bases) {
    const comment = commentOf(base, property, depth + 1);
    if (comment) return comment;
  }
  return undefined;
}

const missing = [];
for (const name of readdirSync(dist)) if (name.endsWith('.d.ts')) documentTypes(join(dist, name));
if (missing.length > 0) throw new Error(`options without a comment in their schema: ${missing.join(', ')}`);

function documentTypes(path) {
  const text = readFileSync(path, 'utf8');
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const insertions = [];
  for (const { name, type } of file.statements.filter(ts.isVariableStatement).flatMap(constantsOf)) {
    const shape =
      type && ts.isTypeReferenceNode(type) && type.typeName.getText() === 'z.ZodObject' && type.typeArguments?.[0];
    if (!shape || !ts.isTypeLiteralNode(shape)) continue;
    for (const member of shape.members) {
      if (member.jsDoc?.length) continue;
      const comment = commentOf(name.getText(), member.name.getText());
      if (comment) insertions.push({ at: member.getStart(), comment: comment.replace(/\n\s*\*/g, '\n     *') });
      else missing.push(`${name.getText()}.${member.name.getText()}`);
    }
  }
  let written = text;
  for (const { at, comment } of insertions.reverse())
    written = `${written.slice(0, at)}${comment}\n    ${written.slice(at)}`;
  writeFileSync(path, written);
}
