/** Each door of the built package is found by its name, and what several of them use exists once. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TuneError } from 'ministral-tune';
import manifest from 'ministral-tune/package.json' with { type: 'json' };

const doors = new Map();
for (const subpath of Object.keys(manifest.exports)) {
  if (subpath.endsWith('.json')) continue;
  doors.set(subpath, await import(join(manifest.name, subpath)));
}
assert.deepEqual(Object.keys(doors.get('./types')), []);
// Where Node can require modules, programs in CommonJS have the same ones.
if (process.features.require_module) {
  const require = createRequire(import.meta.url);
  for (const [subpath, door] of doors) {
    const required = require(join(manifest.name, subpath));
    for (const name of Object.keys(door)) if (name !== 'default') assert.equal(required[name], door[name]);
  }
}
const { SafetensorsFile } = doors.get('./safetensors');
const { escapeMarkdown, barChart } = doors.get('./charts');
assert.equal(escapeMarkdown('*'), '\\*');
assert.throws(() => barChart({}), TuneError);
assert.throws(() => new (doors.get('./data').MersenneTwister)('1'), TuneError);
await assert.rejects(doors.get('./hub').snapshotDownload(5), TuneError);
assert.equal(typeof doors.get('./engine').Tape, 'function');
const folder = await mkdtemp(join(tmpdir(), 'consumer-'));
try {
  await writeFile(join(folder, 'a.safetensors'), 'x');
  await assert.rejects(SafetensorsFile.open(join(folder, 'a.safetensors')), TuneError);
} finally {
  await rm(folder, { recursive: true });
}
console.log(`${doors.size} doors`);
