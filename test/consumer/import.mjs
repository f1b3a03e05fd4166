/** What an import costs, by what decides its time: files and bytes that Node reads, and schemas that are made. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Parsing takes 4 ms per 100 kB, and a file about as much. */
const MOST = { bytes: 885_000, files: 9 };
/** Of every other door. */
const MOST_OF_OTHERS = { bytes: 925_000, files: 16 };

const manifestPath = createRequire(import.meta.url).resolve('ministral-tune/package.json');
const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'));

function readBy(path, found = new Map()) {
  if (found.has(path)) return found;
  const code = readFileSync(path, 'utf8');
  found.set(path, Buffer.byteLength(code));
  for (const [, file] of code.matchAll(/^(?:import|export)\b[^'"(]*["'](\.\.?\/[^"']+)["']/gm)) {
    readBy(join(dirname(path), file), found);
  }
  return found;
}

let schemas = 0;
globalThis.__zod_globalConfig = { postProcessor: () => schemas++ };
const sizes = [];
for (const [subpath, conditions] of Object.entries(manifest.exports)) {
  if (subpath.endsWith('.json')) continue;
  const files = readBy(join(dirname(manifestPath), conditions.import.default));
  const bytes = [...files.values()].reduce((sum, size) => sum + size, 0);
  const most = subpath === '.' ? MOST : MOST_OF_OTHERS;
  assert.ok(bytes <= most.bytes, `${subpath} reads ${bytes} bytes of code, at most ${most.bytes} are wanted`);
  assert.ok(files.size <= most.files, `${subpath} reads ${files.size} files, at most ${most.files} are wanted`);
  sizes.push({ subpath, bytes, files: files.size });
  const before = schemas;
  await import(join(manifest.name, subpath));
  // A schema costs some 30 µs and there are hundreds: `lazySchema` of src/config.ts makes them with their first use.
  const made = schemas - before;
  assert.equal(made, 0, `the import of ${subpath} makes ${made} schemas`);
}
const { LoraConfig } = await import('ministral-tune');
new LoraConfig();
assert.ok(schemas > 0, 'schemas are not counted');
const [main] = sizes;
// Both towers, the trainer and the templates are there: a walk that found less would prove nothing.
assert.ok(main.bytes > 500_000 && main.files > 3);
console.log(`an import reads ${(main.bytes / 1000).toFixed(0)} kB in ${main.files} files and makes no schema`);
