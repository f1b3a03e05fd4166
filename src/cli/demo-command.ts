/** `npx ministral-tune demo`: everything on drawn images and a tiny model. */
import { defineCommand } from './command.js';
import type { DemoFlags } from './command-flags.js';
import { oneOf } from './option-values.js';
import { ENGINES } from './train-flags.js';

export const demoCommand = defineCommand<DemoFlags>({
  name: 'demo',
  description:
    'Draws X-rays of ten kinds of fracture, makes a tiny model of random weights, trains it on them and shows its ' +
    'answers before and after. No download, no account, no card; about a minute. It says nothing about real X-rays.',
  define: (program) =>
    program
      .option('--output-dir <dir>', 'images, model, adapter and report (default: ministral-tune-demo)')
      .option('--engine <name>', 'auto, cuda, webgpu, cpu or tfjs (default: cpu)', oneOf('demo: --engine', ENGINES))
      .option('--live', 'a page in the browser shows the run')
      .option('--json', 'the summary as JSON in the last line'),
  epilogue: 'Exit code: 0 trained, 1 failed or stopped, 2 the command line was not understood.',
  async run(flags, output) {
    const { runDemo } = await import('./demo.js');
    return runDemo(flags, output);
  },
});
