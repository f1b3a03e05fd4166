/**
 * A live page in a process of its own, which says on standard output what it has done and then only waits for the page.
 *
 *   node live-child.mjs open|followed|run|keep
 */
import { livePage } from '../../src/monitor/live-page.js';
import { begin, stepEvent } from './scripted-run.js';

const [way] = process.argv.slice(2);
const page = livePage({ port: 0, keepOpen: way === 'keep' });
// The parent goes on when it follows.
const isFollowed = async (): Promise<void> => {
  await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.unref();
};
if (way === 'open' || way === 'followed') {
  await page.open();
  if (way === 'followed') await isFollowed();
} else {
  await begin(page);
  page.onEvent?.(stepEvent(1));
  await isFollowed();
  await page.onClose?.();
}
console.log('over');
