/** `npx ministral-tune doctor`: what this machine has and lacks. */
import { displayWidth } from '../messages/display-width.js';
import { usesColor } from '../messages/terminal-color.js';
import { styled } from '../messages/terminal-style.js';
import { defineCommand } from './command.js';
import { type Check, doctorChecks } from './doctor-checks.js';

const WIDTH = 80;
const NAME_WIDTH = 16;

export const doctorCommand = defineCommand<{ readonly json?: boolean }>({
  name: 'doctor',
  description:
    'Tells what this machine has and lacks: Node, driver, CUDA libraries, cards, disk space of the caches, tokens of ' +
    'the Hub and of Kaggle (whether there are any; they are never shown), optional packages; and how to get what is ' +
    'missing.',
  define: (program) => program.option('--json', 'the same as JSON'),
  epilogue: `Exit code: 0 nothing is broken (without a card the cpu engine trains), 1
something is broken, 2 the command line was not understood.`,
  async run({ json }, { print }) {
    const checks = await doctorChecks();
    print(json ? JSON.stringify(checks, null, 2) : formatChecks(checks));
    return checks.some(({ state }) => state === 'missing') ? 1 : 0;
  },
});

const MARKS = { ok: ['green', 'ok'], optional: ['yellow', '--'], missing: ['red', '!!'] } as const;

export function formatChecks(checks: readonly Check[]): string {
  const lines = checks.flatMap(({ name, state, found, cure }) => {
    const [color, mark] = MARKS[state];
    const indent = ' '.repeat(NAME_WIDTH + 4);
    const [first, ...rest] = wrap(found, WIDTH - indent.length);
    // A long name has a line of its own.
    const isLong = name.length >= NAME_WIDTH;
    const begin = `${styled(color, mark, usesColor(process.stdout))}  ${name.padEnd(NAME_WIDTH)}`;
    const texts = isLong ? [begin, `${indent}${first}`] : [`${begin}${first}`];
    return [
      ...texts,
      ...rest.map((line) => `${indent}${line}`),
      ...wrap(cure === undefined ? '' : `→ ${cure}`, WIDTH - indent.length)
        .filter((line) => line !== '')
        .map((line) => `${indent}${line}`),
    ];
  });
  const broken = checks.filter(({ state }) => state === 'missing').length;
  const hasCard = checks.some(({ name, state }) => name.startsWith('card ') && state === 'ok');
  const needs = ['NVIDIA driver', 'NVRTC', 'cuBLASLt'];
  const hasLibraries = needs.every((need) => checks.some(({ name, state }) => name === need && state === 'ok'));
  const hasGpu = checks.some(({ name, state }) => name === 'webgpu engine' && state === 'ok');
  const engine =
    hasCard && hasLibraries
      ? 'The cuda engine can run here.'
      : `The cuda engine cannot run here; the ${hasGpu ? 'webgpu' : 'cpu'} engine can.`;
  const verdict = broken === 0 ? 'Nothing is broken.' : `${broken} ${broken === 1 ? 'thing is' : 'things are'} broken.`;
  return [...lines, '', `${engine} ${verdict}`].join('\n');
}

/** Paths are not broken: they may be longer than the width. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && displayWidth(line) + 1 + displayWidth(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
