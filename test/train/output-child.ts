/**
 * A run of the small model in a process of its own, whose output its parent breaks.
 *
 *   node --import tsx output-child.ts DIR STEPS [chat] [slow] [bar]
 *
 * Appends a line to DIR/said for each thing that happens. `chat` prints every event too, by both ways to standard
 * output; `slow` saves until there is a file DIR/go, and says the first of each signal; `bar` shows the bar.
 */
import { appendFileSync, existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { abortOnSignals } from '../../src/train/abort-on-signals.js';
import { linearModel, linearTrainer } from './linear-model.js';

const [dir, steps, ...ways] = process.argv.slice(2);
const say = (line: string): void => appendFileSync(join(dir!, 'said'), `${line}\n`);
process.on('uncaughtException', (error) => {
  say(`uncaught ${error.message}`);
  process.exit(99);
});
const model = linearModel();
model.onWindow = () => sleep(20);
const before = process.stderr.listenerCount('error');
say(`listeners ${before}`);
const stop = abortOnSignals({
  onStop: (name) => {
    say(`stopped ${name}`);
    console.error(`stopping: ${name}`);
  },
});
const isSlow = ways.includes('slow');
// Once: a listener that stayed would keep the second signal from its effect.
for (const name of isSlow ? (['SIGHUP', 'SIGINT', 'SIGTERM'] as const) : [])
  process.once(name, () => say(`heard ${name}`));
const trainer = linearTrainer(
  model,
  {
    outputDir: join(dir!, 'out'),
    maxSteps: Number(steps),
    loggingSteps: 1,
    saveSteps: 1000,
    progress: ways.includes('bar') ? 'bar' : 'lines',
  },
  {
    saveAdapter: async (folder) => {
      say('saving');
      while (isSlow && !existsSync(join(dir!, 'go'))) await sleep(10);
      await mkdir(folder, { recursive: true });
    },
  },
);
try {
  for await (const event of trainer.train({ signal: stop.signal })) {
    say(`${event.type} ${'step' in event ? event.step : ''}`);
    if (!ways.includes('chat')) continue;
    console.log(event.type);
    process.stdout.write(`${event.type}\n`);
  }
} catch (error) {
  if (!stop.received) throw error;
  console.error('stopped');
  process.exit();
}
stop.dispose();
// A reader that is slow to take the last lines delays it.
for (let tries = 0; tries < 100 && process.stderr.listenerCount('error') !== before; tries++) await sleep(50);
say(`listeners ${process.stderr.listenerCount('error')}`);
