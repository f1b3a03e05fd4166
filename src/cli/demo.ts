/** `demo` with what its command line says. */
import { join } from 'node:path';
import { DEMONSTRATION_CONFIG, prepareDemonstration } from '../demo/demonstration.js';
import type { DemoFlags } from './command-flags.js';
import { isFolder } from './open-model.js';
import { checkOutputFolder } from './output-folder.js';
import { settingsOf } from './run-settings.js';
import { nextCommands, shellWord, summaryLines } from './run-summary.js';
import { train } from './train.js';
import { untilStopped } from './until-stopped.js';
import type { Output } from './usage.js';

/** Images of a class: enough to learn most kinds from, few enough for half a minute. */
const COUNTS = { trainPerClass: 120, testPerClass: 10 };

/** @param counts images of each class, fewer for a test @returns the exit code */
export async function runDemo(flags: DemoFlags, output: Output, counts = COUNTS, more: object = {}): Promise<number> {
  const { outputDir = 'ministral-tune-demo', engine = 'cpu', live = false } = flags;
  const { print } = output;
  const work = async (signal: AbortSignal): Promise<number> => {
    // A second demonstration replaces the first, but no other run.
    const way = (await isFolder(join(outputDir, 'tiny-model'))) ? 'overwrite' : 'new';
    await checkOutputFolder(outputDir, way, '--output-dir takes another folder.');
    const { data, model } = await prepareDemonstration({ outputDir, ...counts, onNote: print });
    const settings = settingsOf({ ...DEMONSTRATION_CONFIG, data, model, outputDir, engine, ...more }, 'demo');
    const summary = await train(
      { ...settings, data, model },
      { way, live, title: 'Drawn kinds of bone fractures', signal },
      output,
    );
    print('');
    for (const line of summaryLines(summary)) print(line);
    print('\nThis was a demonstration: drawn images and a tiny random model. It says nothing about real X-rays.');
    const next = [
      'plan --data DIR --model 3B',
      'train --data DIR --model 3B',
      `evaluate --adapter ${shellWord(summary.adapter)}`,
    ];
    for (const line of nextCommands(next)) print(line);
    if (flags.json) print(JSON.stringify(summary));
    return 0;
  };
  return untilStopped(output, work, { stopping: 'stopping', stopped: () => 'stopped' });
}
