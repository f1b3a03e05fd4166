/**
 * Makes the declarations of dist/ serve `require` as well as `import`: tsup writes those of ECMAScript modules, which
 * TypeScript before 5.8 does not let a program in CommonJS require, though Node does. So they become those of CommonJS,
 * which both may use, and a door for `import` passes them on: each class is declared once.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

for (const name of readdirSync(dist)) {
  if (!name.endsWith('.d.ts')) continue;
  const text = readFileSync(join(dist, name), 'utf8');
  const required = text.replace(/(['"]\.\/[^'"\n]+)\.js(['"])/g, '$1.cjs$2');
  writeFileSync(join(dist, name.replace(/\.d\.ts$/, '.d.cts')), required);
  rmSync(join(dist, name));
}
for (const door of Object.values(manifest.exports)) {
  if (typeof door === 'string') continue;
  const code = door.require.default.replace('./dist/', './');
  writeFileSync(join(root, door.import.types), `export * from '${code}';\n`);
}
