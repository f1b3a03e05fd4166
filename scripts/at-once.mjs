/**
 * Runs chains of npm scripts at once, one after the other in each: compilers keep one core busy, and the next has none to
 * do.
 *
 *   node scripts/at-once.mjs "build consumer" "lint types"
 *
 * What a script prints comes as a whole when it has ended. The first one that fails ends its own chain, the others go on
 * to their end, and the exit code is 1.
 */
import { spawn } from 'node:child_process';

/** @returns what it printed, and whether it ended well */
function npmRun(name) {
  // npm's own file: a shell is needed for `npm` on Windows.
  const child = spawn(process.execPath, [process.env.npm_execpath, 'run', name], { stdio: ['ignore', 'pipe', 'pipe'] });
  const pieces = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => pieces.push(piece));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ printed: Buffer.concat(pieces), isFine: code === 0 }));
  });
}

async function chain(names) {
  for (const name of names) {
    const { printed, isFine } = await npmRun(name);
    process.stdout.write(printed);
    if (!isFine) return name;
  }
  return undefined;
}

if (!process.env.npm_execpath) throw new Error('scripts/at-once.mjs: to be started by npm, as in `npm test`');
const failed = (await Promise.all(process.argv.slice(2).map((names) => chain(names.split(' '))))).filter(Boolean);
if (failed.length > 0) {
  console.error(`failed: ${failed.map((name) => `npm run ${name}`).join(', ')}`);
  process.exitCode = 1;
}
