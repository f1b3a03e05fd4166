/** Every door by `require`: the same objects as by `import`, or a clear error where Node cannot do that. */
'use strict';
const assert = require('node:assert/strict');

const [major, minor] = process.versions.node.split('.').map(Number);
const canRequire = major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19);
if (!canRequire) {
  assert.throws(() => require('ministral-tune'), /needs Node 20\.19, 22\.12 or newer/);
  console.log('refused with a clear error');
} else {
  const manifest = require('ministral-tune/package.json');
  const subpaths = Object.keys(manifest.exports).filter((subpath) => !subpath.endsWith('.json'));
  Promise.all(
    subpaths.map(async (subpath) => {
      const name = `ministral-tune${subpath.slice(1)}`;
      const required = require(name);
      const imported = await import(name);
      for (const key of Object.keys(imported)) if (key !== 'default') assert.equal(required[key], imported[key]);
    }),
  ).then(() => console.log(`${subpaths.length} doors, the same as by import`));
}
