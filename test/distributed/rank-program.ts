/** A rank in a process of its own: joins, says so, and does what its argument says. */
import { joinGroup } from '../../src/distributed/join-group.js';
import { rankPlace } from '../../src/distributed/rank-place.js';

const role = process.argv[2]!;
/** Where one is to be found silent, its signs of life are awaited for a moment only. */
const beats = process.env['SHORT_BEATS'] ? { beatMs: 50, lostBeats: 8 } : {};
const times = { ...beats, reactMs: 300, ...(process.env['EARLY_NOTICE'] ? { noticeMs: 50 } : {}) };
const say = (text: string): void => void process.stdout.write(`${text}\n`);

if (role === 'never') throw new Error('before it joined');
const group = await joinGroup(rankPlace()!, { times });
say('joined');
group.failure.addEventListener('abort', () => say(`failure: ${group.failure.reason.summary}`));
if (role === 'gather') {
  // Ends without leaving: what it has given must reach the others.
  const work = group.begin('training');
  say(JSON.stringify(await group.allGather('values', group.rank)));
  work.end();
} else {
  group.begin('training');
  await group.allGather('start', group.rank);
  say('begun');
  if (role === 'throw') throw new TypeError('x is not a function');
  if (role === 'exit') process.exit(7);
  if (role === 'stop') process.kill(process.pid, 'SIGSTOP');
  if (role === 'kill') process.kill(process.pid, 'SIGKILL');
  if (role === 'hang') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  await group.allGather('losses', 1).catch(() => process.exit(4));
}
