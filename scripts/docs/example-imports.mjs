/** Imports of an example in a docstring: written by nobody there, as editors add them, and shown on the site. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const source = fileURLToPath(new URL('../../src', import.meta.url));

/** The door of each exported name; the main one first. */
let doors;
function doorsByName() {
  if (doors) return doors;
  doors = new Map();
  const files = readdirSync(source).filter((name) => name.endsWith('.ts'));
  for (const file of ['index.ts', ...files.filter((name) => name !== 'index.ts')]) {
    const door = file === 'index.ts' ? 'ministral-tune' : `ministral-tune/${file.slice(0, -'.ts'.length)}`;
    const { statements } = ts.createSourceFile(file, readFileSync(join(source, file), 'utf8'), ts.ScriptTarget.Latest);
    for (const { exportClause, isTypeOnly } of statements.filter(ts.isExportDeclaration)) {
      for (const { name, isTypeOnly: isType } of exportClause?.elements ?? []) {
        if (!doors.has(name.text)) doors.set(name.text, { door, isType: isTypeOnly || isType });
      }
    }
  }
  return doors;
}

/** The place of each exported name, as the doors list them. */
export function exportOrder() {
  return new Map([...doorsByName().keys()].map((name, i) => [name, i]));
}

/** Names that a code uses and does not declare. */
export function freeNames(code) {
  const used = new Set();
  const declared = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isOwn =
        (ts.isVariableDeclaration(parent) ||
          ts.isBindingElement(parent) ||
          ts.isParameter(parent) ||
          ts.isFunctionDeclaration(parent) ||
          ts.isImportSpecifier(parent) ||
          ts.isImportClause(parent) ||
          ts.isNamespaceImport(parent)) &&
        parent.name === node;
      const isMember =
        (ts.isPropertyAccessExpression(parent) ||
          ts.isPropertyAssignment(parent) ||
          ts.isMethodDeclaration(parent) ||
          ts.isPropertySignature(parent)) &&
        parent.name === node;
      const isRenamed = ts.isBindingElement(parent) && parent.propertyName === node;
      if (isOwn) declared.add(node.text);
      else if (!isMember && !isRenamed) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true));
  return new Set([...used].filter((name) => !declared.has(name)));
}

/** Import declarations for the names of this package that a code uses, one line for each door; '' if there are none. */
export function importLines(code) {
  const byDoor = new Map();
  for (const name of freeNames(code)) {
    const { door, isType } = doorsByName().get(name) ?? {};
    if (door) byDoor.set(door, [...(byDoor.get(door) ?? []), isType ? `type ${name}` : name]);
  }
  return [...byDoor]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([door, names]) => `import { ${names.sort().join(', ')} } from '${door}';`)
    .join('\n');
}
