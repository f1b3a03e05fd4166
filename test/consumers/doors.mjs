/** Every door of the installed package, by `import`; what the cuda engine says here; Node's version and times. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const manifest = createRequire(import.meta.url)('ministral-tune/package.json');
const start = performance.now();
const { createEngine, EngineError } = await import('ministral-tune');
const milliseconds = performance.now() - start;
let doors = 0;
for (const subpath of Object.keys(manifest.exports)) {
  if (subpath.endsWith('.json')) continue;
  await import(`ministral-tune${subpath.slice(1)}`);
  doors++;
}
// CUDA_HOME holds the C library under the driver's name: it is loaded, and then lacks the driver's functions. Where
// optional packages were left out, the one that is missing is named.
const error = await createEngine('cuda').catch((reason) => reason);
assert.ok(error instanceof EngineError, String(error));
if (process.env.CONSUMER_OMITS_OPTIONAL) {
  assert.match(error.message, /optional package @koromix\/koffi-/);
  assert.match(error.hint, /--omit=optional/);
} else {
  assert.match(error.message, /cuInit/);
}
console.log(`${doors} doors, the first in ${milliseconds.toFixed(0)} ms`);
