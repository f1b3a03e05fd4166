import { expect, it, vi } from 'vitest';
import { runCommand } from '../../src/cli/run-command.js';

vi.mock('../../src/cli/plan-command.js', () => {
  throw new Error('no binary');
});

it('says what keeps a command from loading, and runs the others', async () => {
  let err = '';
  const output = {
    print: () => undefined,
    printError: (text: string) => {
      err += text;
    },
  };
  expect(await runCommand(['plan', '--help'], output)).toBe(1);
  expect(err).toMatch(/^ministral-tune plan cannot be loaded: .*\n {2}hint: Reinstall/s);
  expect(await runCommand(['doctor', '--help'], output)).toBe(0);
});
