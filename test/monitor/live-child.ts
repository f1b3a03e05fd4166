/**
 * A live page in a process of its own, which says on standard output what it has done and then only waits for the page.
 *
 *   node live-child.mjs open|run|keep
 */
import { livePage } from '../../src/monitor/live-page.js';
import { begin, stepEvent } from './scripted-run.js';

const [way] = process.argv.slice(2);
const page = livePage({ port: 0, keepOpen: way === 'keep' });
if (way === 'open') await page.open();
else {
  await begin(page);
  page.onEvent?.(stepEvent(1));
  // The parent goes on when it follows.
  await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.unref();
  await page.onClose?.();
}
console.log('over');
