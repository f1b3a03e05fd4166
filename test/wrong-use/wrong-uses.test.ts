/** Each wrong use is refused in words; docs/wrong-uses.md and test/consumer/wrong-uses.ts are written from them (`-u`). */
import { homedir } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { TuneError } from '../../src/errors.js';
import { WRONG_USES } from './cases.js';
import { type Refusal, wrongUsesPage, wrongUsesProgram } from './table.js';
import { DOORS, makeWrongUseWorld, runWrongUse, type WrongUseWorld } from './world.js';

let world: WrongUseWorld;
const refusals = new Map<string, Refusal>();

const WAY_ON =
  /expected|did you mean|known:|has it|leave it out|write |needs|at least|does it|go from|is called|whole number|must be|without `|from 0 |--help|no such file|no file or folder|not a file|a folder, not|COMMAND|unknown command/;

beforeAll(async () => {
  world = await makeWrongUseWorld();
});
afterAll(() => world.remove());

it.each(Object.values(WRONG_USES).flatMap((uses) => uses.map(({ code }) => code)))('%s', async (code) => {
  const error = await runWrongUse(code, world);
  expect(error).toBeInstanceOf(TuneError);
  const { summary, hint } = error as TuneError;
  const shown = (text: string): string =>
    text
      .replaceAll(`${world.dir}/`, './')
      .replaceAll(world.dir.slice(1), '…')
      .replaceAll(`"${homedir()}/`, '"/home/you/');
  // Says what to do, what was expected or what there is instead. A file that is not there is said by its path.
  if (hint === undefined) expect(summary).toMatch(WAY_ON);
  refusals.set(code, { summary: shown(summary), hint: hint === undefined ? undefined : shown(hint) });
});

it('are listed in the documents, with the messages that they get', async () => {
  await expect(wrongUsesPage(WRONG_USES, refusals)).toMatchFileSnapshot('../../docs/wrong-uses.md');
});

it('are known to the compiler as far as types can know them', async () => {
  const doors = new Map(Object.entries(DOORS).map(([door, names]) => [door, Object.keys(names)]));
  await expect(wrongUsesProgram(WRONG_USES, doors)).toMatchFileSnapshot('../consumer/wrong-uses.ts');
});
